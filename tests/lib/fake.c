/* SPDX-License-Identifier: MIT */
/* See fake.h. */
#undef _FILE_OFFSET_BITS	/* mmap() and mmap64() are both wanted */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <drm/tenon_drm.h>

#define PAGE		((size_t)sysconf(_SC_PAGESIZE))
#define OFFSET(kind, index) (((uint64_t)(kind) << 40) | ((uint64_t)(index) << 32))
#define MAPPINGS	64

enum area { TENANT, DEVICE, DOORBELL, BUFFER };	/* of mmap offsets, + 1 */

struct fake fake = {
	.driver = "tenon",
	.tdi_version = TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR),
	.memory_bytes = FAKE_MEMORY,
};

static struct {
	void *address;
	size_t bytes;
} mapping[MAPPINGS];
static int node = -1;		/* the file that calls came for */


static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "fake: %s\n", what);
	abort();
}

static size_t round_up(size_t bytes)
{
	return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void *plain_mmap(size_t bytes, int fd)
{
	return (void *)syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int memory(size_t bytes)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	must(fd >= 0 && !ftruncate(fd, (off_t)bytes), "no memory");
	return fd;
}

static void buffer_end(struct fake_buffer *b)
{
	if (b->bytes)
		syscall(SYS_close, b->fd);
	b->bytes = 0;
}

static void queue_end(struct fake_queue *q)
{
	int i;

	if (!q->used)
		return;
	for (i = 0; i < 3; i++) {
		if (q->bytes[i])
			syscall(SYS_close, q->fds[i]);
	}
	syscall(SYS_munmap, q->producer, q->bytes[TENANT]);
	syscall(SYS_munmap, q->device, q->bytes[DEVICE]);
	if (q->doorbell)
		syscall(SYS_munmap, q->doorbell, q->bytes[DOORBELL]);
	if (q->eventfd >= 0)
		syscall(SYS_close, q->eventfd);
	q->used = false;
}

static void release(void)
{
	int i;

	for (i = 0; i < FAKE_BUFFERS; i++) {
		buffer_end(&fake.buffer[i]);
		fake.buffer[i].rights = 0;
	}
	for (i = 0; i < FAKE_QUEUES; i++)
		queue_end(&fake.queue[i]);
	fake.handles = 0;
	node = -1;
}

void fake_init(void)
{
	release();
	fake = (struct fake){
		.driver = "tenon",
		.tdi_version = TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR),
		.memory_bytes = FAKE_MEMORY,
	};
	memset(mapping, 0, sizeof(mapping));
}

/* ------------------------------------------------------------------------------- device */

struct fake_queue *fake_device(const struct tenon_queue *queue)
{
	return &fake.queue[tenon_queue_id(queue)];
}

static void complete(struct fake_queue *q, uint16_t status)
{
	struct tdi_cqe cqe = { .user_data = q->sq[q->done & (q->depth - 1)].user_data, .status = status };

	tenon_ring_complete(&q->cq[q->done & (q->depth - 1)], &cqe, q->done + 1);
	q->done++;
}

void fake_complete(struct fake_queue *q, uint32_t count, uint16_t status)
{
	while (count--)
		complete(q, status);
	if (tenon_ring_due(q->producer, q->looked, q->done))
		eventfd_write(q->eventfd, 1);
	q->looked = q->done;
}

static void end_all(struct fake_queue *q)
{
	while (q->done != tenon_load_acquire(&q->producer->tail))
		complete(q, TDI_SC_ABORTED);
}

void fake_take_over(void)
{
	int i;

	for (i = 0; i < FAKE_QUEUES; i++) {
		if (!fake.queue[i].used)
			continue;
		end_all(&fake.queue[i]);
		eventfd_write(fake.queue[i].eventfd, 1);
	}
	__atomic_store_n(&fake.death, RESET, __ATOMIC_RELEASE);
}

void fake_die(enum fake_death how)
{
	int i;

	for (i = 0; i < FAKE_QUEUES; i++)
		if (fake.queue[i].used)
			tenon_store_release(&fake.queue[i].kernel->flags, TDI_KERNEL_DEAD);
	TENON_FULL_BARRIER();
	if (how == RESET || how == UNPLUGGED)
		fake_take_over();
	__atomic_store_n(&fake.death, how, __ATOMIC_RELEASE);
	for (i = 0; i < FAKE_QUEUES; i++)
		if (fake.queue[i].used)
			eventfd_write(fake.queue[i].eventfd, 1);
}

/* ------------------------------------------------------------------------------- calls */

static int give(uint64_t pointer, uint32_t *size, const void *from, uint32_t bytes)
{
	if (pointer) {
		if (*size > 4096)
			return E2BIG;
		memset((void *)(uintptr_t)pointer, 0, *size);
		memcpy((void *)(uintptr_t)pointer, from, *size < bytes ? *size : bytes);
	}
	*size = bytes;
	return 0;
}

static int query(struct drm_tenon_query *q)
{
	struct drm_tenon_limits limits = { fake.memory_bytes, FAKE_BUFFERS, FAKE_QUEUES, FAKE_DEPTH, 0, 0, 0 };
	struct tdi_identify identify = { .version = fake.tdi_version };
	struct drm_tenon_device device = { .tdi_version = fake.tdi_version };
	struct tdi_usage usage = { .busy_ns = 1234 };

	strcpy((char *)identify.model, "fake");
	strcpy((char *)identify.serial, "f1");
	switch (q->type) {
	case DRM_TENON_QUERY_DEVICE:
		return give(q->pointer, &q->size, &device, sizeof(device));
	case DRM_TENON_QUERY_IDENTIFY:
		return give(q->pointer, &q->size, &identify, sizeof(identify));
	case DRM_TENON_QUERY_LIMITS:
		return give(q->pointer, &q->size, &limits, sizeof(limits));
	case DRM_TENON_QUERY_USAGE:
		return fake.death ? EIO : give(q->pointer, &q->size, &usage, sizeof(usage));
	case DRM_TENON_QUERY_QUEUE_USAGE:
		usage.busy_ns = 100 + q->id;
		return fake.death ? EIO : give(q->pointer, &q->size, &usage, sizeof(usage));
	}
	return EINVAL;
}

static int buffer_create(struct drm_tenon_buffer_create *a)
{
	uint32_t i;

	if (!a->size || a->flags || a->handle)
		return EINVAL;
	for (i = 0; fake.buffer[i].bytes; i++)
		;
	a->size = fake.buffer[i].bytes = round_up(a->size);
	fake.buffer[i].fd = memory(a->size);
	a->handle = i + 1;
	fake.handles++;
	return 0;
}

static struct fake_buffer *buffer(uint32_t handle)
{
	if (!handle || handle > FAKE_BUFFERS || !fake.buffer[handle - 1].bytes)
		return NULL;
	return &fake.buffer[handle - 1];
}

static int buffer_info(struct drm_tenon_buffer_info *a)
{
	struct fake_buffer *b = buffer(a->handle);

	if (!b)
		return ENOENT;
	if (a->flags || a->size || a->offset)
		return EINVAL;
	a->size = b->bytes;
	a->offset = OFFSET(BUFFER + 1, a->handle - 1);
	return 0;
}

static int buffer_map(struct drm_tenon_buffer_map *a)
{
	struct fake_buffer *b = buffer(a->handle);

	if (!b)
		return ENOENT;
	if (!a->flags || (a->flags & ~(TDI_BUFFER_READ | TDI_BUFFER_WRITE)) || a->buffer || a->reserved ||
	    !a->bytes || a->offset || a->bytes > b->bytes || b->rights)
		return EINVAL;
	if (fake.death)
		return EIO;
	b->rights = a->flags;
	b->mapped = a->bytes;
	a->buffer = TDI_BUFFER_ID(a->handle - 1, 1);
	return 0;
}

static int buffer_unmap(const struct drm_tenon_buffer_unmap *a)
{
	uint32_t index = TDI_BUFFER_INDEX(a->buffer);

	if (a->reserved)
		return EINVAL;
	if (fake.death)
		return EIO;
	if (index >= FAKE_BUFFERS || !fake.buffer[index].rights)
		return ENOENT;
	fake.buffer[index].rights = 0;
	return 0;
}

static int queue_create(struct drm_tenon_queue_create *a)
{
	uint32_t i, first = TDI_FIRST_INDEX(a->depth);
	struct fake_queue *q;

	if (a->flags || !a->depth || (a->depth & (a->depth - 1)) || a->moderation_ns || a->queue ||
	    a->first || a->tenant_offset || a->device_offset || a->doorbell_offset || a->tenant_bytes ||
	    a->device_bytes)
		return EINVAL;
	if (fake.death)
		return EIO;
	for (i = 0; fake.queue[i].used; i++)
		;
	q = &fake.queue[i];
	memset(q, 0, sizeof(*q));
	q->used = true;
	q->depth = a->depth;
	q->done = q->looked = first;
	q->eventfd = a->eventfd < 0 ? -1 : dup(a->eventfd);
	q->bytes[TENANT] = PAGE + round_up(a->depth * sizeof(struct tdi_sqe));
	q->bytes[DEVICE] = 2 * PAGE + round_up(a->depth * sizeof(struct tdi_cqe));
	q->bytes[DOORBELL] = fake.no_doorbell ? 0 : PAGE;
	q->fds[TENANT] = memory(q->bytes[TENANT]);
	q->fds[DEVICE] = memory(q->bytes[DEVICE]);
	q->producer = plain_mmap(q->bytes[TENANT], q->fds[TENANT]);
	q->sq = (void *)((char *)q->producer + PAGE);
	q->device = plain_mmap(q->bytes[DEVICE], q->fds[DEVICE]);
	q->kernel = (void *)((char *)q->device + PAGE);
	q->cq = (void *)((char *)q->device + 2 * PAGE);
	q->producer->tail = q->producer->wanted = q->producer->wanted_kernel = first;
	q->device->fetched = first;
	q->device->flags = fake.no_doorbell ? TDI_NEED_DOORBELL | TDI_NEED_KICK : TDI_NEED_DOORBELL;
	tenon_ring_init_cq(q->cq, a->depth, first);
	if (fake.wrong_rings)
		q->cq[0].sequence++;
	if (!fake.no_doorbell) {
		q->fds[DOORBELL] = memory(PAGE);
		q->doorbell = plain_mmap(PAGE, q->fds[DOORBELL]);
		a->doorbell_offset = OFFSET(DOORBELL + 1, i);
	}
	a->queue = i;
	a->first = first;
	a->tenant_offset = OFFSET(TENANT + 1, i);
	a->device_offset = OFFSET(DEVICE + 1, i);
	a->tenant_bytes = (uint32_t)q->bytes[TENANT];
	a->device_bytes = (uint32_t)q->bytes[DEVICE];
	return 0;
}

static int queue_destroy(const struct drm_tenon_queue_destroy *a)
{
	if (a->queue >= FAKE_QUEUES || !fake.queue[a->queue].used)
		return ENOENT;
	if (fake.death)
		return EIO;
	queue_end(&fake.queue[a->queue]);
	return 0;
}

static int queue_kick(const struct drm_tenon_queue_kick *a)
{
	if (a->queue >= FAKE_QUEUES || !fake.queue[a->queue].used)
		return ENOENT;
	fake.queue[a->queue].kicks++;
	if (__atomic_load_n(&fake.death, __ATOMIC_ACQUIRE) == RESET)
		end_all(&fake.queue[a->queue]);
	return 0;
}

static int queue_wait(const struct drm_tenon_queue_wait *a)
{
	struct timespec pause = { .tv_nsec = 200000 }, t;
	struct fake_queue *q = &fake.queue[a->queue];

	if (a->queue >= FAKE_QUEUES || !q->used)
		return ENOENT;
	if (a->flags || a->reserved || !tenon_reached(tenon_load(&q->producer->tail), a->sequence))
		return EINVAL;
	for (;;) {
		if (tenon_reached(tenon_ring_sequence(q->cq, q->depth - 1, a->sequence), a->sequence))
			return 0;
		if (__atomic_load_n(&fake.death, __ATOMIC_ACQUIRE) == VANISHED)
			return ENODEV;
		clock_gettime(CLOCK_MONOTONIC, &t);
		if (t.tv_sec * 1000000000LL + t.tv_nsec >= a->deadline_ns)
			return ETIME;
		if (nanosleep(&pause, NULL))
			return EINTR;
	}
}

static int context_status(struct drm_tenon_context_status *a)
{
	struct tdi_context_status status = { .queues = 1, .queue[0].completed = 77 };

	if (a->flags || a->needed || a->allowed || (a->size && !a->pointer))
		return EINVAL;
	a->flags = fake.context_dead ? DRM_TENON_CONTEXT_DEAD : 0;
	a->needed = fake.needed;
	a->allowed = fake.allowed;
	return give(a->pointer, &a->size, &status, sizeof(status));
}

static void copy_field(char *to, __kernel_size_t *length, const char *from)
{
	if (to)
		memcpy(to, from, *length < strlen(from) ? *length : strlen(from));
	*length = strlen(from);
}

static int version(struct drm_version *v)
{
	fake.versions++;
	copy_field(v->name, &v->name_len, fake.driver);
	copy_field(v->date, &v->date_len, "0");
	copy_field(v->desc, &v->desc_len, "none");
	v->version_major = 0;
	v->version_minor = 1;
	return 0;
}

static int gem_close(const struct drm_gem_close *a)
{
	if (!buffer(a->handle) || a->pad)
		return EINVAL;
	/* What the device may use stays until it is unmapped; here it is enough that the id does. */
	buffer_end(buffer(a->handle));
	fake.handles--;
	return 0;
}

static int answer(unsigned long request, void *arg)
{
	unsigned int nr = _IOC_NR(request) - DRM_COMMAND_BASE;

	if (__atomic_load_n(&fake.death, __ATOMIC_ACQUIRE) >= UNPLUGGED)
		return ENODEV;
	if (request == DRM_IOCTL_VERSION)
		return version(arg);
	if (request == DRM_IOCTL_GEM_CLOSE)
		return gem_close(arg);
	if (nr >= FAKE_REQUESTS)
		return ENOTTY;
	fake.calls[nr]++;
	if (fake.error[nr] && !fake.after[nr]--) {
		int error = fake.error[nr];

		fake.error[nr] = 0;
		fake.after[nr] = 0;
		return error;
	}
	switch (request) {
	case DRM_IOCTL_TENON_QUERY:
		return query(arg);
	case DRM_IOCTL_TENON_BUFFER_CREATE:
		return buffer_create(arg);
	case DRM_IOCTL_TENON_BUFFER_INFO:
		return buffer_info(arg);
	case DRM_IOCTL_TENON_BUFFER_MAP:
		return buffer_map(arg);
	case DRM_IOCTL_TENON_BUFFER_UNMAP:
		return buffer_unmap(arg);
	case DRM_IOCTL_TENON_QUEUE_CREATE:
		return queue_create(arg);
	case DRM_IOCTL_TENON_QUEUE_DESTROY:
		return queue_destroy(arg);
	case DRM_IOCTL_TENON_QUEUE_KICK:
		return queue_kick(arg);
	case DRM_IOCTL_TENON_QUEUE_WAIT:
		return queue_wait(arg);
	case DRM_IOCTL_TENON_CONTEXT_STATUS:
		return context_status(arg);
	}
	return ENOTTY;
}

static bool is_node(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int error;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (_IOC_TYPE(request) != DRM_IOCTL_BASE || !is_node(fd))
		return (int)syscall(SYS_ioctl, fd, request, arg);
	node = fd;
	error = answer(request, arg);
	errno = error;
	return error ? -1 : 0;
}

/* ------------------------------------------------------------------------------- memory */

static bool now(unsigned int *countdown)
{
	return *countdown && !--*countdown;
}

static void *map(size_t bytes, int prot, int flags, uint64_t offset)
{
	unsigned int area = (unsigned int)(offset >> 40) - 1, index = (uint8_t)(offset >> 32), i;
	int fd = area == BUFFER ? fake.buffer[index].fd : fake.queue[index].fds[area];
	size_t all = area == BUFFER ? fake.buffer[index].bytes : fake.queue[index].bytes[area];
	void *p;

	if (now(&fake.fail_mmap)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	errno = EINVAL;
	if (bytes != all || flags != MAP_SHARED || (uint32_t)offset ||
	    (area == DEVICE && (prot & PROT_WRITE)))
		return MAP_FAILED;
	p = (void *)syscall(SYS_mmap, NULL, bytes, prot, flags, fd, 0);
	for (i = 0; mapping[i].address; i++)
		;
	mapping[i].address = p;
	mapping[i].bytes = bytes;
	fake.mappings++;
	return p;
}

void *mmap64(void *address, size_t bytes, int prot, int flags, int fd, off64_t offset)
{
	if (fd >= 0 && fd == node)
		return map(bytes, prot, flags, (uint64_t)offset);
	return (void *)syscall(SYS_mmap, address, bytes, prot, flags, fd, offset);
}

void *mmap(void *address, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	return mmap64(address, bytes, prot, flags, fd, offset);
}

int munmap(void *address, size_t bytes)
{
	int i;

	for (i = 0; i < MAPPINGS; i++) {
		if (!address || mapping[i].address != address)
			continue;
		must(mapping[i].bytes == bytes, "a mapping isn't unmapped as a whole");
		mapping[i].address = NULL;
		fake.mappings--;
	}
	return (int)syscall(SYS_munmap, address, bytes);
}

int madvise(void *address, size_t bytes, int advice)
{
	if (advice == MADV_DONTFORK && now(&fake.fail_madvise)) {
		errno = ENOMEM;
		return -1;
	}
	return (int)syscall(SYS_madvise, address, bytes, advice);
}

int close(int fd)
{
	if (fd >= 0 && fd == node) {
		release();
		fake.closed++;
	}
	return (int)syscall(SYS_close, fd);
}
