// SPDX-License-Identifier: MIT
/* See vmm.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <tenon/ring.h>

#include "vmm.h"

bool vmm_faults;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(void)
{
	usleep(200);
}

/* -------------------------------------------------------------------------------- messages */

void vmm_send(struct vmm *v, const void *data, size_t bytes, const int *fds, unsigned int fd_count)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct iovec vector = { .iov_base = (void *)(uintptr_t)data, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (fd_count) {
		memset(&control, 0, sizeof(control));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, fd_count * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(v->fd, &msg, MSG_NOSIGNAL), bytes);
}

static void receive(struct vmm *v, void *to, size_t bytes)
{
	struct pollfd wait = { .fd = v->fd, .events = POLLIN };

	assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
	assert_int_equal(recv(v->fd, to, bytes, MSG_WAITALL), bytes);
}

/* A DMA message of which the head is read: refuse it, as QEMU does for what isn't mapped. */
static void refuse_dma(struct vmm *v, const struct head *head)
{
	bool write = head->command == DMA_WRITE;
	uint64_t access[2];
	uint32_t data;
	struct head reply = { .id = head->id, .command = head->command, .size = sizeof(reply),
			      .flags = REPLY | FAILED, .error = 19 };

	/* Only a device that lies writes where nothing is. */
	assert_true(head->command == DMA_READ || (write && vmm_faults));
	assert_int_equal(head->size, sizeof(*head) + sizeof(access) + (write ? sizeof(data) : 0));
	receive(v, access, sizeof(access));
	if (write)
		receive(v, &data, sizeof(data));
	assert_int_equal(access[1], 4);
	assert_true(v->asked_count < 64);
	v->asked_write[v->asked_count] = write;
	v->asked[v->asked_count++] = access[0];
	vmm_send(v, &reply, sizeof(reply), NULL, 0);
}

bool vmm_asked(const struct vmm *v, uint64_t address)
{
	unsigned int i;

	for (i = 0; i < v->asked_count; i++)
		if (v->asked[i] == address)
			return true;
	return false;
}

bool vmm_asked_write(const struct vmm *v, uint64_t address)
{
	unsigned int i;

	for (i = 0; i < v->asked_count; i++)
		if (v->asked[i] == address && v->asked_write[i])
			return true;
	return false;
}

int vmm_call(struct vmm *v, unsigned int command, const void *data, size_t bytes, const int *fds,
	     unsigned int fd_count, void *reply, size_t room)
{
	struct head head = {
		.id = ++v->id, .command = (uint16_t)command, .size = (uint32_t)(sizeof(head) + bytes)};
	uint8_t message[8192];

	memcpy(message, &head, sizeof(head));
	if (bytes)
		memcpy(message + sizeof(head), data, bytes);
	vmm_send(v, message, head.size, fds, fd_count);
	for (;;) {
		receive(v, &head, sizeof(head));
		if ((head.flags & 0xf) == REPLY)
			break;
		refuse_dma(v, &head);
	}
	assert_int_equal(head.id, v->id);
	assert_int_equal(head.command, command);
	if (head.flags & FAILED) {
		assert_int_equal(head.size, sizeof(head));
		return -(int)head.error;
	}
	assert_true(head.size - sizeof(head) <= room);
	if (head.size > sizeof(head))
		receive(v, reply, head.size - sizeof(head));
	return (int)(head.size - sizeof(head));
}

void vmm_listen(struct vmm *v, int ms, bool first)
{
	uint64_t end = now_ms() + (uint64_t)ms;
	struct pollfd wait = { .fd = v->fd, .events = POLLIN };
	struct head head;

	while (now_ms() < end) {
		if (poll(&wait, 1, (int)(end - now_ms())) != 1)
			return;
		receive(v, &head, sizeof(head));
		refuse_dma(v, &head);
		if (first)
			return;
	}
}

void vmm_version(struct vmm *v)
{
	struct {
		uint16_t major, minor;
		char json[200];
	} message = { .json = "{\"capabilities\":{\"max_msg_fds\":16}}" };

	assert_true(vmm_call(v, VERSION, &message, sizeof(message), NULL, 0, &message, sizeof(message)) > 4);
	assert_int_equal(message.major, 0);
	assert_int_equal(message.minor, 0);
}

int vmm_map(struct vmm *v, int fd, uint64_t offset, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct dma_map map = {
		.argsz = sizeof(map), .flags = flags, .offset = offset, .iova = iova, .size = size};

	return vmm_call(v, DMA_MAP, &map, sizeof(map), &fd, fd >= 0, NULL, 0);
}

int vmm_unmap(struct vmm *v, uint64_t iova, uint64_t size)
{
	struct dma_unmap unmap = { .argsz = sizeof(unmap), .iova = iova, .size = size };
	int result = vmm_call(v, DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, &unmap, sizeof(unmap));

	return result < 0 ? result : 0;
}

int vmm_irqs(struct vmm *v, uint32_t index, uint32_t start, uint32_t count, const int *fds,
	     unsigned int fd_count)
{
	struct vfio_irq_set set = { .argsz = sizeof(set), .index = index, .start = start, .count = count,
				    .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER };

	return vmm_call(v, SET_IRQS, &set, sizeof(set), fds, fd_count, NULL, 0);
}

uint64_t vmm_interrupts(struct vmm *v, unsigned int vector, int ms)
{
	struct pollfd wait = { .fd = v->irq[vector], .events = POLLIN };
	uint64_t count;

	if (poll(&wait, 1, ms) != 1)
		return 0;
	assert_int_equal(read(v->irq[vector], &count, sizeof(count)), sizeof(count));
	return count;
}

uint64_t vmm_read(struct vmm *v, uint32_t region, uint64_t offset, uint32_t bytes)
{
	struct {
		uint64_t offset;
		uint32_t region, count;
		uint64_t value;
	} access = { .offset = offset, .region = region, .count = bytes };

	assert_int_equal(vmm_call(v, REGION_READ, &access, 16, NULL, 0, &access, sizeof(access)), 16 + bytes);
	return bytes == 8 ? access.value : access.value & ((1ULL << 8 * bytes) - 1);
}

void vmm_write(struct vmm *v, uint32_t region, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct {
		uint64_t offset;
		uint32_t region, count;
		uint64_t value;
	} access = { .offset = offset, .region = region, .count = bytes, .value = value };

	assert_int_equal(vmm_call(v, REGION_WRITE, &access, 16 + bytes, NULL, 0, &access, sizeof(access)),
			 16);
	assert_int_equal(access.count, bytes);
}

/* ---------------------------------------------------------------------------- start and end */

void vmm_connect(struct vmm *v)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, v->path);
	v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(v->fd >= 0);
	assert_int_equal(connect(v->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	v->asked_count = 0;
}

void vmm_expect_end(struct vmm *v)
{
	struct pollfd wait = { .fd = v->fd, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
	/* A reset if it left something unread, else the end of file. */
	assert_true(recv(v->fd, &byte, 1, 0) <= 0);
	close(v->fd);
	v->fd = -1;
	assert_int_equal(waitpid(v->tenond, NULL, WNOHANG), 0);
}

struct vmm *vmm_start(enum vmm_how how, const char *option)
{
	struct vmm *v = calloc(1, sizeof(*v));
	char attach[80], faults[80], line[128] = "";
	const char *args[] = { "tenond", "--attach", attach, "--spin-us", "20", option, NULL, NULL, NULL };
	unsigned int i;
	int out[2];
	bool msi;

	assert_non_null(v);
	snprintf(v->path, sizeof(v->path), "/tmp/vfu-test.%d", (int)getpid());
	snprintf(attach, sizeof(attach), "vfio-user:%s", v->path);
	snprintf(faults, sizeof(faults), "%s.faults", v->path);
	if (vmm_faults) {
		args[option ? 6 : 5] = "--faults";
		args[option ? 7 : 6] = faults;
	}
	assert_int_equal(pipe(out), 0);
	v->tenond = fork();
	assert_true(v->tenond >= 0);
	if (!v->tenond) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execv(TENOND, (char **)(uintptr_t)args);
		_exit(127);
	}
	close(out[1]);
	assert_true(read(out[0], line, sizeof(line) - 1) > 0);
	assert_non_null(strstr(line, "ready on "));
	close(out[0]);

	v->memfd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(v->memfd >= 0);
	assert_int_equal(ftruncate(v->memfd, RAM_BYTES), 0);
	assert_int_equal(fcntl(v->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	v->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, v->memfd, 0);
	assert_ptr_not_equal(v->ram, MAP_FAILED);
	for (i = 0; i < VECTORS; i++)
		v->irq[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vmm_connect(v);
	if (how == VMM_BARE)
		return v;
	vmm_version(v);
	assert_int_equal(vmm_map(v, v->memfd, 0, RAM, RAM_BYTES, 3), 0);
	msi = option && !strcmp(option, "--msi-only");
	assert_int_equal(vmm_irqs(v, msi ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX, 0, VECTORS, v->irq,
				  VECTORS),
			 0);
	v->next = RAM;
	guest_master(v, true);
	return v;
}

void vmm_stop(struct vmm *v)
{
	unsigned int i;
	int status;

	/* It ends cleanly, sanitizers content, also with a guest on it. */
	assert_int_equal(kill(v->tenond, SIGTERM), 0);
	assert_int_equal(waitpid(v->tenond, &status, 0), v->tenond);
	assert_int_equal(status, 0);
	assert_int_not_equal(access(v->path, F_OK), 0);
	if (v->fd >= 0)
		close(v->fd);
	for (i = 0; i < VECTORS; i++)
		close(v->irq[i]);
	munmap(v->ram, RAM_BYTES);
	close(v->memfd);
	free(v);
}

/* ---------------------------------------------------------------------------- guest driver */

uint64_t guest_alloc(struct vmm *v, uint64_t bytes)
{
	uint64_t at = v->next;

	v->next += (bytes + TDI_PAGE_SIZE - 1) & ~(uint64_t)(TDI_PAGE_SIZE - 1);
	assert_true(v->next <= RAM + RAM_BYTES);
	memset(guest_at(v, at), 0, bytes);
	return at;
}

void *guest_at(struct vmm *v, uint64_t address)
{
	return v->ram + (address - RAM);
}

void guest_master(struct vmm *v, bool on)
{
	vmm_write(v, CONFIG, PCI_COMMAND, 2,
		  on ? PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : PCI_COMMAND_MEMORY);
}

bool guest_enable(struct vmm *v, uint64_t features, uint32_t config)
{
	uint32_t depth = 1u << ADMIN_LOG2, first = TDI_FIRST_INDEX(depth);
	uint64_t sq = guest_alloc(v, TDI_PAGE_SIZE), cq = guest_alloc(v, TDI_PAGE_SIZE);
	uint32_t i;

	v->admin_sq = guest_at(v, sq);
	v->admin_cq = guest_at(v, cq);
	v->admin_tail = first;
	for (i = 0; i < depth; i++)
		v->admin_cq[i].sequence = first + i + 1 - depth;
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, features);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_FEATURES_OK);
	vmm_write(v, 0, TDI_REG_ADMIN_DEPTH, 4, ADMIN_LOG2);
	vmm_write(v, 0, TDI_REG_ADMIN_SQ, 8, sq);
	vmm_write(v, 0, TDI_REG_ADMIN_CQ, 8, cq);
	vmm_write(v, 0, TDI_REG_ADMIN_FIRST, 4, first);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, config | TDI_CFG_FEATURES_OK | TDI_CFG_ENABLE);
	return vmm_read(v, 0, TDI_REG_STATUS, 4) == (TDI_STS_READY | TDI_STS_FEATURES_OK);
}

void guest_admin_post(struct vmm *v, const struct tdi_admin_sqe *sqe)
{
	v->admin_sq[v->admin_tail++ & ((1u << ADMIN_LOG2) - 1)] = *sqe;
}

/* The oldest completion that isn't taken: of the last command posted. */
int guest_admin_wait(struct vmm *v)
{
	struct tdi_admin_cqe *cqe = &v->admin_cq[(v->admin_tail - 1) & ((1u << ADMIN_LOG2) - 1)];
	uint64_t end = now_ms() + PATIENCE_MS;

	while (tenon_load_acquire(&cqe->sequence) != v->admin_tail) {
		if (now_ms() > end)
			return -1;
		nap();
	}
	v->cqe = *cqe;
	return cqe->status;
}

int guest_admin(struct vmm *v, const struct tdi_admin_sqe *sqe)
{
	guest_admin_post(v, sqe);
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
	return guest_admin_wait(v);
}

int guest_eq(struct vmm *v, struct eq *eq, uint32_t id, uint32_t depth_log2, uint32_t vector,
	     uint32_t moderation)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_EQ_CREATE };
	uint32_t i;

	eq->v = v;
	eq->id = id;
	eq->depth = 1u << depth_log2;
	eq->head = TDI_FIRST_INDEX(eq->depth);
	eq->at = guest_alloc(v, eq->depth * sizeof(*eq->ring));
	eq->ring = guest_at(v, eq->at);
	for (i = 0; i < eq->depth; i++)
		eq->ring[i].sequence = eq->head + i + 1 - eq->depth;
	sqe.eq.eq = id;
	sqe.eq.depth_log2 = depth_log2;
	sqe.eq.address = eq->at;
	sqe.eq.vector = vector;
	sqe.eq.moderation_ns = moderation;
	return guest_admin(v, &sqe);
}

void guest_objects(struct vmm *v, struct eq *eq)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };

	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(guest_eq(v, eq, 0, 6, 1, 0), TDI_AS_OK);
	sqe.opcode = TDI_ADMIN_CONTEXT_CREATE;
	sqe.context.group_generation = 1;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
}

int guest_queue_create(struct queue *q, uint32_t depth_log2, uint32_t eq, uint32_t moderation)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_CREATE, .generation = 1 };

	q->producer->tail = q->first;
	q->producer->wanted = q->first;
	q->producer->wanted_kernel = q->first;
	q->page->fetched = q->first;
	q->page->flags = TDI_NEED_DOORBELL;
	tenon_ring_init_cq(q->cq, q->depth, q->first);
	sqe.queue.queue = q->id;
	sqe.queue.context = q->context;
	sqe.queue.context_generation = 1;
	sqe.queue.first = q->first;
	sqe.queue.moderation_ns = moderation;
	sqe.queue.eq = (__u16)eq;
	sqe.queue.depth_log2 = (__u8)depth_log2;
	sqe.queue.producer = q->producer_at;
	sqe.queue.sq = q->sq_at;
	sqe.queue.device = q->page_at;
	sqe.queue.cq = q->cq_at;
	return guest_admin(q->v, &sqe);
}

int guest_queue(struct vmm *v, struct queue *q, uint32_t id, uint32_t depth_log2, uint32_t eq,
		uint32_t moderation)
{
	*q = (struct queue){ .v = v, .id = id, .depth = 1u << depth_log2 };
	q->first = TDI_FIRST_INDEX(q->depth);
	q->tail = q->first;
	q->producer_at = guest_alloc(v, TDI_PAGE_SIZE);
	q->sq_at = guest_alloc(v, q->depth * sizeof(*q->sq));
	q->page_at = guest_alloc(v, TDI_PAGE_SIZE);
	q->cq_at = guest_alloc(v, q->depth * sizeof(*q->cq));
	q->producer = guest_at(v, q->producer_at);
	q->sq = guest_at(v, q->sq_at);
	q->page = guest_at(v, q->page_at);
	q->cq = guest_at(v, q->cq_at);
	return guest_queue_create(q, depth_log2, eq, moderation);
}

int guest_queue_end(struct queue *q)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_DESTROY, .generation = 1 };

	sqe.queue.queue = q->id;
	return guest_admin(q->v, &sqe);
}

int guest_buffer(struct vmm *v, uint32_t id, uint64_t address, uint64_t bytes)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_MAP };

	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = id;
	sqe.buffer.flags = TDI_BUFFER_READ | TDI_BUFFER_WRITE | TDI_BUFFER_INLINE;
	sqe.buffer.length = bytes;
	sqe.buffer.address = address;
	sqe.buffer.shift = 63;
	return guest_admin(v, &sqe);
}

void guest_submit(struct queue *q, const struct tdi_sqe *sqe)
{
	static const struct tdi_kernel_page none;

	q->sq[q->tail & (q->depth - 1)] = *sqe;
	q->tail++;
	if (tenon_ring_publish(q->producer, q->page, &none, q->tail))
		vmm_write(q->v, TDI_DOORBELL_BAR, TDI_DOORBELL(q->id, 0), 4, q->tail);
}

int guest_result(struct queue *q, uint32_t index)
{
	const struct tdi_cqe *cqe = &q->cq[index & (q->depth - 1)];
	uint64_t end = now_ms() + PATIENCE_MS;

	while (!tenon_reached(tenon_load_acquire(&cqe->sequence), index + 1)) {
		if (now_ms() > end)
			return -1;
		nap();
	}
	return cqe->status;
}

struct tdi_event guest_event(struct eq *eq, int ms, bool consume)
{
	const struct tdi_event *slot = &eq->ring[eq->head & (eq->depth - 1)];
	uint64_t end = now_ms() + (uint64_t)ms;
	struct tdi_event event = { 0 };

	while (tenon_load_acquire(&slot->sequence) != eq->head + 1) {
		if (now_ms() >= end)
			return event;
		nap();
	}
	event = *slot;
	if (consume)
		vmm_write(eq->v, 0, TDI_REG_EQ_HEAD(eq->id), 4, ++eq->head);
	return event;
}

struct tdi_sqe fill(uint32_t buffer, uint64_t bytes, uint64_t value)
{
	struct tdi_sqe sqe = { .opcode = TDI_OP_FILL };

	sqe.fill.dst = buffer;
	sqe.fill.width = 8;
	sqe.fill.bytes = bytes;
	sqe.fill.pattern = value;
	return sqe;
}
