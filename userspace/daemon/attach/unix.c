// SPDX-License-Identifier: MIT
/* Attach point "unix"; see unix.h, and Documentation/socket.rst for the protocol. One thread runs all of this. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "../device.h"
#include "../mutant.h"
#include "listen.h"
#include "unix.h"

/* Where a client's memory begins in its address space, and what is left free behind each piece. */
#define SPACE_BASE	(1ULL << 32)
#define SPACE_END	(1ULL << 62)
#define SPACE_GAP	TDI_PAGE_SIZE

#define PAGE_BASE	TDI_PAGE_SIZE	/* of attach->page in the device's own space */

/* How long it may take to drop what a client sent, and the signal that ends it; by default it is ignored. */
#define DROP_NS		1000000
#define DROP_SIGNAL	SIGURG
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/*
 * As little room for unread replies, or notices, as the kernel allows: about six of them. The descriptors of
 * replies count against the RLIMIT_NOFILE of our user, so a client that doesn't read would use up what others
 * need.
 */
#define REPLY_ROOM	1
#define FDS_UNREAD	(8 * TENON_SOCKET_FDS)

struct buffer {
	uint8_t generation;		/* of the next id in this slot */
	uint32_t id;			/* 0: free */
	uint64_t bytes;			/* rounded up */
	uint64_t address;
	void *host;
};

/* The kernel's side of a queue: its pages and the two ways to wake somebody. */
struct ring {
	uint32_t id;
	uint32_t generation;
	uint32_t depth;
	uint64_t tenant_bytes, device_bytes;
	uint64_t tenant_address, device_address;
	void *tenant, *device;
	int kick;			/* eventfd, shared with the client */
	int notice;			/* our end of a stream socket */
};

/* One connection, one context. */
struct client {
	struct tn_unix *attach;
	struct client *next;
	int fd;
	uid_t uid;
	bool hello;			/* has a context */
	uint32_t context, generation;
	struct tn_space space;
	uint64_t address;		/* next free one; never reused */
	uint64_t memory;
	uint32_t buffers, queues;
	struct buffer *buffer;
	struct ring **ring;
};

struct tn_unix {
	struct tn_unix_options options;
	struct tn_device *device;
	bool has_timer;
	timer_t timer;			/* see dropping() */
	int listen, epoll;
	bool deaf;			/* out of descriptors: not listening until a client is gone */
	uint32_t clients;
	uint64_t memory;		/* of all clients */
	struct client *first;
	struct ring *ring[TN_MAX_QUEUES];	/* by queue id; read by workers while the queue exists */
	uint32_t queue_generation[TN_MAX_QUEUES];
	uint32_t context_generation[TN_MAX_CONTEXTS];
	uint64_t received[TENON_SOCKET_MAX / 8];
	_Alignas(TDI_PAGE_SIZE) uint8_t page[TDI_PAGE_SIZE];	/* for IDENTIFY and GET_LOG */
};

/* A reply on its way: the struct that fits the request, and descriptors. */
struct answer {
	union {
		struct tenon_reply head;
		struct tenon_reply_hello hello;
		struct tenon_reply_buffer_create buffer_create;
		struct tenon_reply_queue_create queue_create;
		struct tenon_reply_status status;
		struct tenon_reply_usage usage;
	};
	size_t bytes;			/* if there is no error */
	int fd[TENON_SOCKET_FDS];
	unsigned int fds;		/* to be closed when sent */
};

/* ---------------------------------------------------------------------- device and workers */

void tn_unix_notice(void *arg, uint32_t queue)
{
	struct tn_unix *attach = arg;
	ssize_t done;

	/*
	 * A full socket is readable already, and a client that closed its end is on its way out. The sender
	 * takes no lock that a reader sleeps with, unlike that of a pipe: this can't be made to block.
	 */
	done = send(attach->ring[queue]->notice, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)done;
}

static struct tdi_kernel_page *kernel_page(const struct ring *ring)
{
	return (struct tdi_kernel_page *)((char *)ring->device + TDI_PAGE_SIZE);
}

void tn_unix_stopped(void *arg, uint32_t queue)
{
	struct tn_unix *attach = arg;

	tenon_store(&kernel_page(attach->ring[queue])->flags, TDI_KERNEL_DEAD);
	TENON_FULL_BARRIER();
	tn_unix_notice(arg, queue);
}

static int admin(struct tn_unix *attach, struct tn_space *space, const struct tdi_admin_sqe *sqe)
{
	struct tdi_admin_cqe cqe;

	tn_admin(attach->device, space, sqe, &cqe);
	switch (cqe.status) {
	case TDI_AS_OK:
		return 0;
	case TDI_AS_LIMIT:
		return -ENOSPC;
	case TDI_AS_NO_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* --------------------------------------------------------------------------- shared memory */

/* A zeroed memfd that can't change its size, seen at *@host; @seals are added after our mapping is made. */
static int share(const char *name, uint64_t bytes, int seals, void **host)
{
	int error, fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes)) {
		error = -errno;
		close(fd);
		return error;
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		error = -errno;
		close(fd);
		return error;
	}
	if (!MUTANT(seal_size))
		seals |= F_SEAL_SHRINK | F_SEAL_GROW;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | seals)) {
		error = -errno;
		munmap(map, bytes);
		close(fd);
		return error;
	}
	*host = map;
	return fd;
}

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + TDI_PAGE_SIZE - 1) & ~(uint64_t)(TDI_PAGE_SIZE - 1);
}

/* Give @host a place in the client's address space. */
static int place(struct client *client, uint64_t bytes, void *host, uint64_t *address)
{
	int error;

	if (bytes > SPACE_END - client->address)
		return -ENOSPC;
	error = tn_space_add(&client->space, client->address, bytes, host);
	if (error)
		return error;
	*address = client->address;
	client->address += bytes + SPACE_GAP;
	return 0;
}

/*
 * The client's space is read by workers that run its commands: keep them out while it changes. Before HELLO
 * there is no context, and nothing to keep out.
 */
static void hold(struct client *client)
{
	struct tn_device *device = client->attach->device;

	tn_device_lock(device);
	tn_context_hold(device->context[client->context]);
	tn_device_unlock(device);
}

static void release(struct client *client)
{
	struct tn_device *device = client->attach->device;

	tn_device_lock(device);
	tn_context_release(device->context[client->context]);
	tn_device_unlock(device);
}

/* --------------------------------------------------------------------------------- buffers */

static int refuse(struct answer *answer, int error, uint64_t needed, uint64_t allowed)
{
	answer->head.needed = needed;
	answer->head.allowed = allowed;
	return error;
}

static void buffer_free(struct client *client, struct buffer *buffer)
{
	tn_space_remove(&client->space, buffer->address);
	munmap(buffer->host, buffer->bytes);
	client->memory -= buffer->bytes;
	client->attach->memory -= buffer->bytes;
	client->buffers--;
	buffer->id = 0;
}

static int buffer_create(struct client *client, const struct tenon_msg_buffer_create *msg,
			 struct answer *answer)
{
	struct tn_unix *attach = client->attach;
	const struct tn_unix_options *options = &attach->options;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_MAP };
	uint64_t bytes = round_up(msg->bytes);
	struct buffer *buffer = client->buffer;
	uint32_t index = 0;
	int error, fd;

	if (msg->reserved || !msg->bytes || bytes < msg->bytes || !msg->rights ||
	    msg->rights & ~(TDI_BUFFER_READ | TDI_BUFFER_WRITE))
		return -EINVAL;
	if (client->buffers >= options->buffers_max && !MUTANT(buffers_max))
		return refuse(answer, -ENOSPC, client->buffers + 1, options->buffers_max);
	if (bytes > options->memory_max - client->memory && !MUTANT(memory_max))
		return refuse(answer, -ENOMEM, bytes > UINT64_MAX - client->memory ? UINT64_MAX :
			      client->memory + bytes, options->memory_max);
	if (bytes > options->memory_total - attach->memory && !MUTANT(memory_total))
		return refuse(answer, -ENOMEM, attach->memory + bytes, options->memory_total);
	while (buffer[index].id)
		index++;
	buffer = &buffer[index];

	fd = share("tenon-buffer", bytes, 0, &buffer->host);
	if (fd < 0)
		return fd;
	buffer->bytes = bytes;
	buffer->generation = buffer->generation == 255 ? 1 : buffer->generation + 1;

	hold(client);
	error = place(client, bytes, buffer->host, &buffer->address);
	release(client);
	if (error)
		goto unshare;
	sqe.buffer.context = client->context;
	sqe.buffer.context_generation = client->generation;
	sqe.buffer.buffer = TDI_BUFFER_ID(index, buffer->generation);
	sqe.buffer.flags = msg->rights | TDI_BUFFER_INLINE;
	sqe.buffer.length = msg->bytes;
	sqe.buffer.address = buffer->address;
	sqe.buffer.shift = 63;
	error = admin(attach, &client->space, &sqe);
	if (error)
		goto unplace;

	buffer->id = sqe.buffer.buffer;
	client->buffers++;
	client->memory += bytes;
	attach->memory += bytes;
	answer->buffer_create.buffer = buffer->id;
	answer->bytes = sizeof(answer->buffer_create);
	answer->fd[answer->fds++] = fd;
	return 0;

unplace:
	hold(client);
	tn_space_remove(&client->space, buffer->address);
	release(client);
unshare:
	munmap(buffer->host, bytes);
	close(fd);
	return error;
}

static int buffer_destroy(struct client *client, const struct tenon_msg_buffer_destroy *msg,
			  struct answer *answer)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_UNMAP };
	uint32_t index = TDI_BUFFER_INDEX(msg->buffer);
	int error;

	if (msg->reserved)
		return -EINVAL;
	if (!msg->buffer || index >= client->attach->options.buffers_max ||
	    client->buffer[index].id != msg->buffer)
		return -ENOENT;
	sqe.buffer.context = client->context;
	sqe.buffer.context_generation = client->generation;
	sqe.buffer.buffer = msg->buffer;
	error = admin(client->attach, &client->space, &sqe);
	if (error)
		return error;
	/* UNMAP has completed: nothing accesses the memory any more. */
	hold(client);
	buffer_free(client, &client->buffer[index]);
	release(client);
	answer->bytes = sizeof(answer->head);
	return 0;
}

/* ---------------------------------------------------------------------------------- queues */

static void ring_free(struct client *client, struct ring *ring)
{
	struct tn_unix *attach = client->attach;

	if (ring->kick >= 0) {
		tn_device_forget_fd(attach->device, ring->kick);
		close(ring->kick);
	}
	if (ring->notice >= 0)
		close(ring->notice);
	if (ring->tenant) {
		tn_space_remove(&client->space, ring->tenant_address);
		munmap(ring->tenant, ring->tenant_bytes);
	}
	if (ring->device) {
		tn_space_remove(&client->space, ring->device_address);
		munmap(ring->device, ring->device_bytes);
	}
	attach->ring[ring->id] = NULL;
	free(ring);
}

/*
 * What a kernel does after the end of a queue: each command that was submitted and has no CQE gets one. [TKO]
 * The tenant can write the tail, the device alone the rest.
 */
static void ring_takeover(const struct ring *ring)
{
	struct tdi_producer_page *producer = ring->tenant;
	const struct tdi_sqe *sq = (const void *)((char *)ring->tenant + TDI_PAGE_SIZE);
	struct tdi_device_page *page = ring->device;
	struct tdi_cqe *cq = (void *)((char *)ring->device + 2 * TDI_PAGE_SIZE);
	uint32_t mask = ring->depth - 1, first, fetched, tail;
	uint32_t newest = tenon_load_acquire(&cq[0].sequence), walked = 1;

	tenon_store(&kernel_page(ring)->flags, TDI_KERNEL_DEAD);
	TENON_FULL_BARRIER();
	while (walked < ring->depth && tenon_load_acquire(&cq[walked].sequence) == newest + walked)
		walked++;
	first = newest + walked - 1;
	fetched = tenon_load(&page->fetched);
	tail = tenon_load_acquire(&producer->tail);
	if (tail - first > ring->depth || tail - first < fetched - first)
		tail = fetched;		/* it lies; what was fetched ends */
	while (first != tail && !MUTANT(takeover)) {
		struct tdi_cqe cqe = {
			.user_data = sq[first & mask].user_data,
			.status = TDI_SC_ABORTED,
		};

		tenon_ring_complete(&cq[first & mask], &cqe, first + 1);
		first++;
	}
}

static int ring_pages(struct client *client, struct ring *ring, struct answer *answer)
{
	uint32_t first = TDI_FIRST_INDEX(ring->depth);
	struct tdi_producer_page *producer;
	struct tdi_device_page *page;
	struct tdi_cqe *cq;
	void *map;
	int error, fd;

	ring->tenant_bytes = TDI_PAGE_SIZE + round_up(ring->depth * sizeof(struct tdi_sqe));
	ring->device_bytes = 2 * TDI_PAGE_SIZE + round_up(ring->depth * sizeof(struct tdi_cqe));

	fd = share("tenon-tenant", ring->tenant_bytes, 0, &map);
	if (fd < 0)
		return fd;
	answer->fd[answer->fds++] = fd;
	producer = map;
	tenon_store(&producer->tail, first);
	tenon_store(&producer->wanted, first);
	tenon_store(&producer->wanted_kernel, first);
	error = place(client, ring->tenant_bytes, map, &ring->tenant_address);
	if (error) {
		munmap(map, ring->tenant_bytes);
		return error;
	}
	ring->tenant = map;

	/* No mapping made after this one can be written, and none can be made so by mprotect(). */
	fd = share("tenon-device", ring->device_bytes, MUTANT(seal) ? 0 : F_SEAL_FUTURE_WRITE, &map);
	if (fd < 0)
		return fd;
	answer->fd[answer->fds++] = fd;
	page = map;
	cq = (struct tdi_cqe *)((char *)map + 2 * TDI_PAGE_SIZE);
	tenon_store(&page->fetched, first);
	tenon_store(&page->flags, TDI_NEED_DOORBELL | TDI_NEED_KICK);
	tenon_ring_init_cq(cq, ring->depth, first);
	error = place(client, ring->device_bytes, map, &ring->device_address);
	if (error) {
		munmap(map, ring->device_bytes);
		return error;
	}
	ring->device = map;
	tenon_store(&kernel_page(ring)->generation, 1);
	return 0;
}

static int ring_fds(struct ring *ring, struct answer *answer)
{
	int fd, ends[2], room = REPLY_ROOM;

	ring->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->kick < 0)
		return -errno;
	fd = fcntl(ring->kick, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	answer->fd[answer->fds++] = fd;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return -errno;
	ring->notice = ends[1];
	answer->fd[answer->fds++] = ends[0];
	/* Nothing is taken from the client, and little kept for it. */
	if (shutdown(ring->notice, SHUT_RD) ||
	    setsockopt(ring->notice, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)))
		return -errno;
	return 0;
}

static int queue_create(struct client *client, const struct tenon_msg_queue_create *msg, struct answer *answer)
{
	struct tn_unix *attach = client->attach;
	const struct tn_unix_options *options = &attach->options;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_CREATE };
	struct ring *ring;
	uint32_t slot = 0, id = 0;
	int error;

	if (msg->reserved || !msg->depth || msg->depth & (msg->depth - 1) || msg->depth > options->depth_max)
		return -EINVAL;
	if (client->queues >= options->queues_max && !MUTANT(queues_max))
		return refuse(answer, -ENOSPC, client->queues + 1, options->queues_max);
	while (client->ring[slot])
		slot++;
	while (id < TN_MAX_QUEUES && attach->ring[id])
		id++;
	if (id == TN_MAX_QUEUES)
		return refuse(answer, -ENOSPC, id + 1, id);
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ring->id = id;
	ring->generation = ++attach->queue_generation[id];
	ring->depth = msg->depth;
	ring->kick = -1;
	ring->notice = -1;
	attach->ring[id] = ring;

	hold(client);
	error = ring_pages(client, ring, answer);
	release(client);
	if (!error)
		error = ring_fds(ring, answer);
	if (!error)
		error = tn_device_kick_fd(attach->device, ring->kick, id, ring->generation);
	if (!error) {
		sqe.generation = ring->generation;
		sqe.queue.queue = id;
		sqe.queue.context = client->context;
		sqe.queue.context_generation = client->generation;
		sqe.queue.first = TDI_FIRST_INDEX(ring->depth);
		sqe.queue.depth_log2 = (__u8)__builtin_ctz(ring->depth);
		sqe.queue.producer = ring->tenant_address;
		sqe.queue.sq = ring->tenant_address + TDI_PAGE_SIZE;
		sqe.queue.device = ring->device_address;
		sqe.queue.cq = ring->device_address + 2 * TDI_PAGE_SIZE;
		error = admin(attach, &client->space, &sqe);
	}
	if (error) {
		hold(client);
		ring_free(client, ring);
		release(client);
		return error;
	}
	client->ring[slot] = ring;
	client->queues++;
	answer->queue_create.queue = id;
	answer->queue_create.first = sqe.queue.first;
	answer->queue_create.depth = ring->depth;
	answer->bytes = sizeof(answer->queue_create);
	return 0;
}

static int queue_destroy(struct client *client, const struct tenon_msg_queue_destroy *msg,
			 struct answer *answer)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_DESTROY };
	struct ring *ring = NULL;
	uint32_t slot;
	int error;

	if (msg->reserved)
		return -EINVAL;
	for (slot = 0; slot < client->attach->options.queues_max; slot++) {
		ring = client->ring[slot];
		if (ring && ring->id == msg->queue)
			break;
		ring = NULL;
	}
	if (!ring)
		return -ENOENT;
	sqe.generation = ring->generation;
	sqe.queue.queue = ring->id;
	error = admin(client->attach, &client->space, &sqe);
	if (error)
		return error;
	ring_takeover(ring);
	hold(client);
	ring_free(client, ring);
	release(client);
	client->ring[slot] = NULL;
	client->queues--;
	answer->bytes = sizeof(answer->head);
	return 0;
}

/* ----------------------------------------------------------- descriptors that clients send */

static void interrupt(int signal)
{
}

/*
 * Nothing is taken of the descriptors that a client sends. But if the client has closed its own, the kernel
 * ends the file when we receive the message or close the socket, in this thread, and the end of a TCP socket
 * with SO_LINGER sleeps as long as the client asked for. A signal ends that sleep; again and again, since the
 * first may come too early.
 */
static void dropping(struct tn_unix *attach, bool on)
{
	struct itimerspec time = { 0 };

	if (on)
		time.it_value.tv_nsec = time.it_interval.tv_nsec = DROP_NS;
	if (attach->has_timer && !MUTANT(drop_in_time))
		timer_settime(attach->timer, 0, &time, NULL);
}

/* The signals come to the thread that calls this. */
static int timer_begin(struct tn_unix *attach)
{
	struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = DROP_SIGNAL };

	event.sigev_notify_thread_id = gettid();
	if (sigaction(DROP_SIGNAL, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &attach->timer))
		return -errno;
	attach->has_timer = true;
	return 0;
}

static void timer_end(struct tn_unix *attach)
{
	if (attach->has_timer)
		timer_delete(attach->timer);
	attach->has_timer = false;
}

static void drop_socket(struct tn_unix *attach, int fd)
{
	dropping(attach, true);
	close(fd);
	dropping(attach, false);
}

/* ------------------------------------------------------------------------------- contexts */

static int hello(struct client *client, const struct tenon_msg_hello *msg, struct answer *answer)
{
	struct tn_unix *attach = client->attach;
	const struct tn_unix_options *options = &attach->options;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_CREATE };
	uint32_t id = 0;
	int error;

	if (msg->reserved || client->hello)
		return -EINVAL;
	if (msg->major != TENON_SOCKET_MAJOR)
		return -EPROTO;
	while (attach->device->context[id])
		id++;
	client->buffer = calloc(options->buffers_max, sizeof(*client->buffer));
	client->ring = calloc(options->queues_max, sizeof(struct ring *));
	sqe.generation = ++attach->context_generation[id];
	sqe.context.context = id;
	sqe.context.group_generation = 1;
	error = client->buffer && client->ring ? admin(attach, &client->space, &sqe) : -ENOMEM;
	if (error) {
		free(client->buffer);
		free(client->ring);
		client->buffer = NULL;
		client->ring = NULL;
		return error;
	}
	client->hello = true;
	client->context = id;
	client->generation = sqe.generation;
	answer->hello.major = TENON_SOCKET_MAJOR;
	answer->hello.minor = TENON_SOCKET_MINOR;
	answer->hello.context = id;
	answer->hello.memory_bytes = options->memory_max;
	answer->hello.buffers = options->buffers_max;
	answer->hello.queues = options->queues_max;
	answer->hello.depth = options->depth_max;
	tn_identify(attach->device, &answer->hello.identify);
	answer->bytes = sizeof(answer->hello);
	return 0;
}

/* A log page of the context, as the device tells it. */
static int context_log(struct client *client, enum tdi_log_page page, void *to, uint32_t bytes)
{
	struct tn_unix *attach = client->attach;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG };
	int error;

	sqe.generation = client->generation;
	sqe.data.page = page;
	sqe.data.id = client->context;
	sqe.data.address = PAGE_BASE;
	sqe.data.bytes = bytes;
	error = admin(attach, &attach->device->space, &sqe);
	if (!error)
		memcpy(to, attach->page, bytes);
	return error;
}

static void client_free(struct client *client)
{
	struct tn_unix *attach = client->attach;
	struct client **link = &attach->first;
	uint32_t i;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	if (client->hello && !MUTANT(context_end)) {
		struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_DESTROY };

		sqe.generation = client->generation;
		sqe.context.context = client->context;
		admin(attach, &client->space, &sqe);
		for (i = 0; i < attach->options.queues_max; i++) {
			if (!client->ring[i])
				continue;
			ring_takeover(client->ring[i]);
			ring_free(client, client->ring[i]);
		}
		for (i = 0; i < attach->options.buffers_max; i++)
			if (client->buffer[i].id)
				buffer_free(client, &client->buffer[i]);
	}
	tn_space_free(&client->space);
	free(client->buffer);
	free(client->ring);
	drop_socket(attach, client->fd);
	free(client);
	attach->clients--;
	if (attach->deaf) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = attach };

		attach->deaf = epoll_ctl(attach->epoll, EPOLL_CTL_MOD, attach->listen, &event) != 0;
	}
}

/* -------------------------------------------------------------------------------- messages */

static int dispatch(struct client *client, size_t bytes, struct answer *answer)
{
	const struct tenon_msg *head = (const void *)client->attach->received;
	static const size_t size[] = {
		[TENON_MSG_HELLO] = sizeof(struct tenon_msg_hello),
		[TENON_MSG_BUFFER_CREATE] = sizeof(struct tenon_msg_buffer_create),
		[TENON_MSG_BUFFER_DESTROY] = sizeof(struct tenon_msg_buffer_destroy),
		[TENON_MSG_QUEUE_CREATE] = sizeof(struct tenon_msg_queue_create),
		[TENON_MSG_QUEUE_DESTROY] = sizeof(struct tenon_msg_queue_destroy),
		[TENON_MSG_STATUS] = sizeof(struct tenon_msg),
		[TENON_MSG_USAGE] = sizeof(struct tenon_msg),
	};

	if (head->reserved || head->size != bytes)
		return -EINVAL;
	if (head->type >= sizeof(size) / sizeof(size[0]) || !size[head->type])
		return -EOPNOTSUPP;
	if (bytes != size[head->type])
		return -EINVAL;
	if (head->type == TENON_MSG_HELLO)
		return hello(client, (const void *)head, answer);
	if (!client->hello && !MUTANT(hello_first))
		return -EPROTO;

	switch (head->type) {
	case TENON_MSG_BUFFER_CREATE:
		return buffer_create(client, (const void *)head, answer);
	case TENON_MSG_BUFFER_DESTROY:
		return buffer_destroy(client, (const void *)head, answer);
	case TENON_MSG_QUEUE_CREATE:
		return queue_create(client, (const void *)head, answer);
	case TENON_MSG_QUEUE_DESTROY:
		return queue_destroy(client, (const void *)head, answer);
	case TENON_MSG_STATUS:
		answer->bytes = sizeof(answer->status);
		return context_log(client, TDI_LOG_CONTEXT_STATUS, &answer->status.status,
				   sizeof(answer->status.status));
	default:
		answer->bytes = sizeof(answer->usage);
		return context_log(client, TDI_LOG_CONTEXT_USAGE, &answer->usage.usage,
				   sizeof(answer->usage.usage));
	}
}

/* Send and close the descriptors; false: the client doesn't read, or is gone. */
static bool reply(int socket, struct answer *answer)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(answer->fd))];
	} control;
	struct iovec data = { .iov_base = &answer->head, .iov_len = answer->bytes };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1 };
	unsigned int i;
	bool sent;

	answer->head.size = (__u32)answer->bytes;
	if (answer->fds) {
		memset(&control, 0, sizeof(control));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(answer->fds * sizeof(int));
		memcpy(CMSG_DATA(&control.head), answer->fd, answer->fds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(answer->fds * sizeof(int));
	}
	sent = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)answer->bytes;
	for (i = 0; i < answer->fds; i++)
		close(answer->fd[i]);
	return sent;
}

static void drop_fds(struct answer *answer)
{
	while (answer->fds)
		close(answer->fd[--answer->fds]);
}

/* One message, so that a client that floods gets one turn among the others. */
static void serve_client(struct client *client)
{
	const struct tenon_msg *head = (const void *)client->attach->received;
	struct answer answer;
	ssize_t bytes;
	int error;

	/* Without room for control data the kernel drops descriptors that the client sends. */
	dropping(client->attach, true);
	bytes = recv(client->fd, client->attach->received, sizeof(client->attach->received),
		     MSG_DONTWAIT | MSG_TRUNC);
	error = errno;
	dropping(client->attach, false);
	if (bytes < 0 && (error == EAGAIN || error == EINTR))
		return;
	if (bytes < (ssize_t)sizeof(*head) || (size_t)bytes > sizeof(client->attach->received)) {
		client_free(client);
		return;
	}
	memset(&answer, 0, sizeof(answer));
	error = dispatch(client, (size_t)bytes, &answer);
	if (error) {
		drop_fds(&answer);
		answer.bytes = sizeof(answer.head);
	}
	answer.head.type = head->type;
	answer.head.id = head->id;
	answer.head.error = error;
	if ((!reply(client->fd, &answer) && !MUTANT(unread)) || (head->type == TENON_MSG_HELLO && error))
		client_free(client);
}

/* A connection that can't be had: say why, unasked, with the type and id of HELLO. */
static void turn_away(struct tn_unix *attach, int fd, uint64_t needed, uint64_t allowed)
{
	struct answer answer;

	memset(&answer, 0, sizeof(answer));
	answer.bytes = sizeof(answer.head);
	answer.head.type = TENON_MSG_HELLO;
	answer.head.error = refuse(&answer, -EUSERS, needed, allowed);
	reply(fd, &answer);
	drop_socket(attach, fd);
}

int tn_unix_adopt(struct tn_unix *attach, int fd)
{
	const struct tn_unix_options *options = &attach->options;
	struct epoll_event event = { .events = EPOLLIN };
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(peer);
	struct client *client;
	uint32_t same = 1;
	int room = REPLY_ROOM;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
	    (!MUTANT(reply_room) && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)))) {
		drop_socket(attach, fd);
		return -EPERM;
	}
	for (client = attach->first; client; client = client->next)
		same += client->uid == peer.uid;
	if (attach->clients >= options->contexts_max && !MUTANT(contexts_max)) {
		turn_away(attach, fd, attach->clients + 1, options->contexts_max);
		return -EUSERS;
	}
	if (peer.uid && same > options->contexts_per_uid && !MUTANT(contexts_per_uid)) {
		turn_away(attach, fd, same, options->contexts_per_uid);
		return -EUSERS;
	}
	client = calloc(1, sizeof(*client));
	event.data.ptr = client;
	if (!client || epoll_ctl(attach->epoll, EPOLL_CTL_ADD, fd, &event)) {
		free(client);
		drop_socket(attach, fd);
		return -ENOMEM;
	}
	client->attach = attach;
	client->fd = fd;
	client->uid = peer.uid;
	client->address = SPACE_BASE;
	client->next = attach->first;
	attach->first = client;
	attach->clients++;
	return 0;
}

static void serve_listen(struct tn_unix *attach)
{
	struct epoll_event none = { .data.ptr = attach };
	int fd = accept4(attach->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		tn_unix_adopt(attach, fd);
	else if ((errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) && attach->clients)
		attach->deaf = !epoll_ctl(attach->epoll, EPOLL_CTL_MOD, attach->listen, &none);
}

static int serve(struct tn_unix *attach)
{
	struct epoll_event event[16];
	int i, n;

	for (;;) {
		n = epoll_wait(attach->epoll, event, 16, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < n; i++) {
			if (!event[i].data.ptr)
				return 0;
			if (event[i].data.ptr == attach)
				serve_listen(attach);
			else
				serve_client(event[i].data.ptr);
		}
	}
}

int tn_unix_serve(struct tn_unix *attach, int stop_fd)
{
	struct epoll_event stop = { .events = EPOLLIN };
	int error = timer_begin(attach);

	if (error)
		return error;
	if (epoll_ctl(attach->epoll, EPOLL_CTL_ADD, stop_fd, &stop))
		error = -errno;
	else
		error = serve(attach);
	timer_end(attach);
	return error;
}

/* ----------------------------------------------------------------------------- start and end */

static int listen_on(struct tn_unix *attach)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = attach };

	attach->listen = tn_listen(attach->options.path, SOCK_SEQPACKET, attach->options.mode);
	if (attach->listen < 0)
		return attach->listen;
	return epoll_ctl(attach->epoll, EPOLL_CTL_ADD, attach->listen, &event) ? -errno : 0;
}

int tn_unix_create(const struct tn_unix_options *options, struct tn_unix **result)
{
	/* Each queue keeps an eventfd and a socket; a context its socket, and what is in replies. */
	rlim_t each = 1 + 2 * (rlim_t)options->queues_max + FDS_UNREAD;
	rlim_t needed = options->contexts_max * each + 64;
	struct tn_unix *attach;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	if (limit.rlim_cur < needed) {
		limit.rlim_cur = needed;
		if (limit.rlim_max < needed)
			limit.rlim_max = needed;
		if (setrlimit(RLIMIT_NOFILE, &limit)) {
			fprintf(stderr, "tenond: needs %llu open files; raise LimitNOFILE or lower --contexts-max\n",
				(unsigned long long)needed);
			return -EMFILE;
		}
	}
	attach = aligned_alloc(TDI_PAGE_SIZE, (sizeof(*attach) + TDI_PAGE_SIZE - 1) & ~(size_t)(TDI_PAGE_SIZE - 1));
	if (!attach)
		return -ENOMEM;
	memset(attach, 0, sizeof(*attach));
	attach->options = *options;
	attach->listen = -1;
	attach->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (attach->epoll < 0) {
		int error = -errno;

		free(attach);
		return error;
	}
	*result = attach;
	return 0;
}

int tn_unix_start(struct tn_unix *attach, struct tn_device *device)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };
	int error;

	attach->device = device;
	error = tn_space_add(&device->space, PAGE_BASE, sizeof(attach->page), attach->page);
	if (!error)
		error = admin(attach, &device->space, &sqe);
	if (!error && attach->options.path)
		error = listen_on(attach);
	return error;
}

void tn_unix_destroy(struct tn_unix *attach)
{
	/* Without a timer a client can delay the end, no more. */
	timer_begin(attach);
	if (attach->listen >= 0) {
		unlink(attach->options.path);
		drop_socket(attach, attach->listen);
		attach->listen = -1;
		attach->deaf = false;
	}
	while (attach->first)
		client_free(attach->first);
	timer_end(attach);
	close(attach->epoll);
	free(attach);
}
