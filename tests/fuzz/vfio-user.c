// SPDX-License-Identifier: MIT
/*
 * What a VMM sends on a vfio-user socket, and what its guest leaves in memory. The rest is tenond as it is,
 * in this process.
 *
 * Input: steps. The two highest bits of a step's first byte say what it is, and two bytes of length follow:
 *	0  a message with a head that is right: a byte of command, and as many bytes as the length says; its
 *	   highest bit asks for no reply
 *	1  as many bytes as they are: the head is among them, or isn't
 *	2  a store to guest memory: two bytes of where, in 8 bytes, and as many bytes as the length says
 *	3  the answer to the oldest DMA message, with as many bytes; bit 0 says that it was refused
 * With 0 and 1 descriptors come along: bits 0 to 2 say which, bits 3 and 4 how many, less one.
 *
 * Each message gets one reply that fits it, or ends the connection. Memory that is mapped for reading is
 * never written, and nothing is when none is mapped. When the connection is gone, nothing of it is left: no
 * object, no mapping, no descriptor; and the next VMM is served.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/sockios.h>
#include <linux/vfio.h>

#include "attach/pci.h"
#include "attach/vfio-user.h"

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO = 7, SET_IRQS, REGION_READ,
       REGION_WRITE, DMA_READ, DEVICE_RESET = 13, DEVICE_FEATURE = 16 };
enum { REACHED_ASKED = DMA_READ, REACHED_ANSWERED = 12, REACHED_INTERRUPT = 17, REACHED_QUEUE, REACHED_DONE };

#define REPLY		1u
#define NO_REPLY	0x10u
#define FAILED		0x20u

#define RAM_BYTES	(16 * TDI_PAGE_SIZE)
#define ROM_BYTES	(4 * TDI_PAGE_SIZE)
#define ROM_BYTE	0x5c
#define IRQS		4
#define MESSAGE_MAX	8192
#define QUEUES		8		/* that are looked at */
#define SERVES		5		/* after each step: for admin commands and DMA messages */

struct head {
	uint16_t id, command;
	uint32_t size, flags, error;
};

struct connection {
	int fd;
	bool raw;			/* bytes have been sent that may be anything */
	uint16_t id;
	uint16_t asked[16];		/* ids of DMA messages, oldest first */
	unsigned int asked_count;
	unsigned int replies;
	struct head reply;		/* the last one */
	uint8_t body[MESSAGE_MAX];
};

static struct tn_vfu *attach;
static struct tn_device *device;
static char path[64];
static int rom, unsealed, pipe_end, irq[IRQS];
static uint8_t *rom_bytes;
/* Made for each input, since the seal that shows that no mapping is left can't be taken off. */
static int ram;
static uint8_t *ram_bytes;

static int memory(size_t bytes, bool sealed, uint8_t **host)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) ||
	    (sealed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)))
		bug("no memory");
	*host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*host == MAP_FAILED)
		bug("no memory");
	return fd;
}

static void remove_path(void)
{
	unlink(path);
}

static void begin(void)
{
	static struct tn_vfu_options options = { .mode = 0600 };
	struct tn_device_options device_options = {
		.workers = 1, .spin_ns = 1000, .notice = tn_vfu_notice, .stopped = tn_vfu_notice,
		.interrupt = tn_vfu_interrupt, .vectors = TN_PCI_VECTORS, .max_queues = TN_PCI_QUEUES,
	};
	uint8_t *none;
	int ends[2], i;

	snprintf(path, sizeof(path), "/tmp/fuzz-vfio-user.%d", (int)getpid());
	options.path = path;
	atexit(remove_path);
	if (tn_vfu_create(&options, &attach))
		bug("no attach point");
	device_options.attach = attach;
	if (tn_device_create(&device_options, &device) || tn_vfu_start(attach, device))
		bug("no device");
	rom = memory(ROM_BYTES, true, &rom_bytes);
	memset(rom_bytes, ROM_BYTE, ROM_BYTES);
	unsealed = memory(TDI_PAGE_SIZE, false, &none);
	munmap(none, TDI_PAGE_SIZE);
	if (pipe(ends))
		bug("no pipe");
	pipe_end = ends[1];
	for (i = 0; i < IRQS; i++)
		irq[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ------------------------------------------------------------------------------------ a VMM */

static void serve(void)
{
	/* It is behind what is ready before, so that has its turn. */
	int stop = eventfd(1, EFD_CLOEXEC);

	if (stop < 0 || tn_vfu_serve(attach, stop))
		bug("tenond ended");
	close(stop);
}

static bool busy(void)
{
	bool any = false;
	uint32_t i;

	tn_device_lock(device);
	for (i = 0; i < QUEUES; i++)
		any |= device->queue[i] && !device->fenced && !tn_list_empty(&device->queue[i]->active);
	tn_device_unlock(device);
	return any;
}

/* Until it has read all; and what this leads to, but for commands that take long. */
static void serve_all(const struct connection *c)
{
	int unread = 0, i;

	for (i = 0; i < 100; i++) {
		serve();
		if (!ioctl(c->fd, SIOCOUTQ, &unread) && !unread)
			break;
	}
	if (unread)
		bug("%d bytes aren't read", unread);
	for (i = 0; i < SERVES; i++)
		serve();
	for (i = 0; i < 100 && busy(); i++)
		usleep(20);
}

static void open_connection(struct connection *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memset(c, 0, sizeof(*c));
	strcpy(address.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)))
		bug("no connection");
	serve();
}

static void close_connection(struct connection *c)
{
	close(c->fd);
	serve();
	serve();
}

/* A DMA message, of which the body is in c->body: 4 bytes of what isn't mapped are read. */
static void check_asked(struct connection *c, const struct head *head, size_t bytes)
{
	const uint64_t *access = (const void *)c->body;

	if (head->command != DMA_READ || head->flags || head->error || bytes != 16 || access[0] % 4 ||
	    access[1] != 4)
		bug("a DMA message that isn't one");
	if (c->asked_count == 16)
		bug("too many DMA messages");
	c->asked[c->asked_count++] = head->id;
	reached(REACHED_ASKED);
}

/* Read what there is; false: the connection has ended. */
static bool receive(struct connection *c)
{
	struct head head;
	ssize_t got;

	c->replies = 0;
	for (;;) {
		got = recv(c->fd, &head, sizeof(head), 0);
		if (got < 0 && errno == EAGAIN)
			return true;
		if (got <= 0)
			return false;
		if (got != sizeof(head) || head.size < sizeof(head) ||
		    head.size - sizeof(head) > sizeof(c->body))
			bug("a message that isn't one");
		head.size -= (uint32_t)sizeof(head);
		if (head.size && recv(c->fd, c->body, head.size, 0) != (ssize_t)head.size)
			bug("half a message");
		if ((head.flags & 0xf) != REPLY) {
			check_asked(c, &head, head.size);
			continue;
		}
		if (head.flags & ~(REPLY | FAILED) || !(head.flags & FAILED) != !head.error ||
		    head.error > 4095 || (head.error && head.size))
			bug("a reply that isn't one");
		c->reply = head;
		c->replies++;
	}
}

/* How many bytes follow the head when @command was done. */
static bool fits(unsigned int command, const uint8_t *sent, size_t bytes)
{
	uint32_t count;

	switch (command) {
	case VERSION:
		return bytes > 4;
	case DMA_UNMAP:
		return bytes == 24;
	case GET_INFO:
	case GET_IRQ_INFO:
	case REGION_WRITE:
		return bytes == 16;
	case GET_REGION_INFO:
		return bytes == 32;
	case REGION_READ:
		memcpy(&count, sent + 12, sizeof(count));
		return bytes == 16 + count;
	case DMA_MAP:
	case SET_IRQS:
	case DEVICE_RESET:
		return !bytes;
	default:
		return false;
	}
}

/* What is sent has been served: its only message is @head, but for bytes that may be anything. */
static bool check_replies(struct connection *c, const struct head *head)
{
	bool lives = receive(c);

	if (c->raw)
		return lives;
	if (c->replies != (lives && !(head->flags & (NO_REPLY | REPLY))))
		bug("%u replies to %u, and the connection %s", c->replies, head->command,
		    lives ? "lives" : "ended");
	if (!c->replies)
		return lives;
	if (c->reply.id != head->id || c->reply.command != head->command)
		bug("a reply to another message");
	if (!c->reply.error && !fits(head->command, (const uint8_t *)(head + 1), c->reply.size))
		bug("a reply of %u bytes to %u", c->reply.size, head->command);
	if (!c->reply.error)
		reached(head->command);
	return lives;
}

static unsigned int carry(const struct connection *c, unsigned int how, int *fds)
{
	const int kind[] = { -1, ram, c->raw ? ram : rom, unsealed, irq[0], pipe_end, ram, irq[0] };
	unsigned int what = how & 7, count = what == 7 ? 20 : 1 + (how >> 3 & 3), i;

	for (i = 0; what && i < count; i++)
		fds[i] = what == 4 ? irq[i % IRQS] : i && what == 6 ? irq[0] : kind[what];
	return what ? count : 0;
}

static bool send_bytes(struct connection *c, const void *data, size_t bytes, const int *fds,
		       unsigned int fd_count)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(20 * sizeof(int))];
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
	if (!bytes || sendmsg(c->fd, &msg, MSG_NOSIGNAL) == (ssize_t)bytes)
		return true;
	if (errno != EPIPE)
		bug("can't send %zu bytes", bytes);
	return false;
}

/* ------------------------------------------------------------------------------------ steps */

static bool step_message(struct connection *c, struct input *in, unsigned int how, uint32_t length)
{
	static _Alignas(8) uint8_t message[MESSAGE_MAX + sizeof(struct head)];
	struct head *head = (void *)message;
	size_t bytes = (length & 0x7fff) % MESSAGE_MAX;
	uint32_t flags;
	int fds[20];

	*head = (struct head){
		.id = ++c->id,
		.command = (uint16_t)take_u8(in),
		.size = (uint32_t)(sizeof(*head) + bytes),
		.flags = length >> 15 ? NO_REPLY : 0,
	};
	take(in, head + 1, bytes);
	if (head->command == DMA_MAP && (how & 7) == 2 && bytes >= 8) {
		memcpy(&flags, message + sizeof(*head) + 4, sizeof(flags));
		flags &= ~(uint32_t)VFIO_DMA_MAP_FLAG_WRITE;
		memcpy(message + sizeof(*head) + 4, &flags, sizeof(flags));
	}
	if (!send_bytes(c, message, head->size, fds, carry(c, how, fds)))
		return false;
	serve_all(c);
	return check_replies(c, head);
}

static bool step_raw(struct connection *c, struct input *in, unsigned int how, uint32_t length)
{
	static uint8_t bytes[MESSAGE_MAX];
	int fds[20];

	length = length % MESSAGE_MAX;
	c->raw = true;
	take(in, bytes, length);
	if (!send_bytes(c, bytes, length, fds, carry(c, how, fds)))
		return false;
	serve_all(c);
	return receive(c);
}

static bool step_answer(struct connection *c, struct input *in, unsigned int how, uint32_t length)
{
	struct {
		struct head head;
		uint8_t data[4096];
	} answer;

	if (!c->asked_count)
		return true;
	length %= sizeof(answer.data);
	answer.head = (struct head){
		.id = c->asked[0],
		.command = DMA_READ,
		.size = (uint32_t)sizeof(answer.head) + length,
		.flags = REPLY | (how & 1 ? FAILED : 0),
		.error = how & 1,
	};
	take(in, answer.data, length);
	memmove(c->asked, c->asked + 1, --c->asked_count * sizeof(c->asked[0]));
	if (!send_bytes(c, &answer, answer.head.size, NULL, 0))
		return false;
	serve_all(c);
	if (check_replies(c, &answer.head))
		reached(REACHED_ANSWERED);
	else if (!c->raw)
		bug("an answer ended the connection");
	return true;
}

static void step_store(struct input *in, uint32_t length)
{
	size_t at = take_u16(in) * 8 % RAM_BYTES;

	take(in, ram_bytes + at, length < RAM_BYTES - at ? length : RAM_BYTES - at);
}

static bool step(struct connection *c, struct input *in)
{
	unsigned int how = take_u8(in);
	uint32_t length = take_u16(in);

	switch (how >> 6) {
	case 0:
		return step_message(c, in, how, length);
	case 1:
		return step_raw(c, in, how, length);
	case 2:
		step_store(in, length);
		return true;
	default:
		return step_answer(c, in, how, length);
	}
}

/* ------------------------------------------------------------------------------------ checks */

static bool any_memory(void)
{
	bool any;
	uint32_t i;

	tn_device_lock(device);
	any = device->space.regions > 0;
	for (i = 0; i < QUEUES; i++)
		if (device->queue[i]) {
			reached(REACHED_QUEUE);
			if (device->queue[i]->usage.commands[TDI_OP_FILL])
				reached(REACHED_DONE);
		}
	tn_device_unlock(device);
	return any;
}

static void check_memory(const uint8_t *before)
{
	unsigned int i;

	if (memcmp(before, ram_bytes, RAM_BYTES))
		bug("memory that isn't mapped was written");
	for (i = 0; i < ROM_BYTES; i++)
		if (rom_bytes[i] != ROM_BYTE)
			bug("memory that is mapped for reading was written");
}

static uint64_t read_region(struct connection *c, uint32_t region, uint64_t offset, uint32_t bytes)
{
	struct {
		struct head head;
		uint64_t offset;
		uint32_t region, count;
	} message = {
		{ .id = ++c->id, .command = REGION_READ, .size = sizeof(message) }, offset, region, bytes,
	};
	uint64_t value = 0;

	send_bytes(c, &message, sizeof(message), NULL, 0);
	serve_all(c);
	if (!check_replies(c, &message.head) || c->reply.error)
		bug("the next VMM can't read");
	memcpy(&value, c->body + 16, bytes);
	return value;
}

/* The next VMM finds a device as it was at first. */
static void ask_next(void)
{
	struct {
		struct head head;
		uint16_t major, minor;
		char json[4];
	} message = { { .command = VERSION, .size = sizeof(message) }, 0, 0, "{}" };
	struct connection c;

	open_connection(&c);
	send_bytes(&c, &message, sizeof(message), NULL, 0);
	serve_all(&c);
	if (!check_replies(&c, &message.head) || c.reply.error)
		bug("the next VMM isn't served");
	if (read_region(&c, 0, TDI_REG_SIGNATURE, 8) != TDI_SIGNATURE ||
	    read_region(&c, 0, TDI_REG_STATUS, 4) || read_region(&c, 0, TDI_REG_ACCEPT, 8) ||
	    read_region(&c, TN_PCI_CONFIG, PCI_COMMAND, 2))
		bug("the next VMM finds what the one before has left");
	close_connection(&c);
}

static void check_empty(void)
{
	uint32_t i;

	tn_device_lock(device);
	if (device->space.regions)
		bug("memory is left");
	for (i = 0; i < TN_MAX_GROUPS; i++)
		if (device->group[i].live)
			bug("group %u is left", i);
	for (i = 0; i < TN_MAX_CONTEXTS; i++)
		if (device->context[i])
			bug("context %u is left", i);
	for (i = 0; i < TN_MAX_QUEUES; i++)
		if (device->queue[i])
			bug("queue %u is left", i);
	for (i = 0; i < TN_MAX_EQS; i++)
		if (device->events.eq[i].live)
			bug("event queue %u is left", i);
	tn_device_unlock(device);
}

static int first_free_fd(void)
{
	int fd = dup(pipe_end);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t before[RAM_BYTES];
	struct input in = { data, size };
	struct connection c;
	uint64_t count;
	int i, free_fd;
	bool lives = true;

	if (!attach)
		begin();
	ram = memory(RAM_BYTES, true, &ram_bytes);
	free_fd = first_free_fd();
	open_connection(&c);
	while (in.left && lives) {
		bool nothing = !any_memory() && !c.raw, store = *in.at >> 6 == 2;

		if (nothing)
			memcpy(before, ram_bytes, RAM_BYTES);
		lives = step(&c, &in);
		if (nothing && !store && !any_memory() && !c.raw)
			check_memory(before);
	}
	any_memory();
	for (i = 0; i < IRQS; i++)
		if (read(irq[i], &count, sizeof(count)) == sizeof(count))
			reached(REACHED_INTERRUPT);
	close_connection(&c);
	check_empty();
	memcpy(before, ram_bytes, RAM_BYTES);
	ask_next();
	check_memory(before);
	munmap(ram_bytes, RAM_BYTES);
	if (fcntl(ram, F_ADD_SEALS, F_SEAL_WRITE))
		bug("a mapping of guest memory is left");
	if (first_free_fd() != free_fd)
		bug("a descriptor is left");
	close(ram);
	return 0;
}
