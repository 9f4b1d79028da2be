// SPDX-License-Identifier: MIT
/*
 * What a client owns: memory that it shares, its buffers and its queues; see client.h. The thread of the
 * attach point runs all of this but the two functions that workers call.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../mutant.h"
#include "client.h"

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

int tn_client_admin(struct tn_unix *attach, struct tn_space *space, const struct tdi_admin_sqe *sqe)
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

int tn_client_refuse(struct answer *answer, int error, uint64_t needed, uint64_t allowed)
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

int tn_client_buffer_create(struct client *client, const struct tenon_msg_buffer_create *msg,
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
		return tn_client_refuse(answer, -ENOSPC, client->buffers + 1, options->buffers_max);
	if (bytes > options->memory_max - client->memory && !MUTANT(memory_max))
		return tn_client_refuse(answer, -ENOMEM, bytes > UINT64_MAX - client->memory ? UINT64_MAX :
			      client->memory + bytes, options->memory_max);
	if (bytes > options->memory_total - attach->memory && !MUTANT(memory_total))
		return tn_client_refuse(answer, -ENOMEM, attach->memory + bytes, options->memory_total);
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
	error = tn_client_admin(attach, &client->space, &sqe);
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

int tn_client_buffer_destroy(struct client *client, const struct tenon_msg_buffer_destroy *msg,
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
	error = tn_client_admin(client->attach, &client->space, &sqe);
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

int tn_client_queue_create(struct client *client, const struct tenon_msg_queue_create *msg,
			   struct answer *answer)
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
		return tn_client_refuse(answer, -ENOSPC, client->queues + 1, options->queues_max);
	while (client->ring[slot])
		slot++;
	while (id < TN_MAX_QUEUES && attach->ring[id])
		id++;
	if (id == TN_MAX_QUEUES)
		return tn_client_refuse(answer, -ENOSPC, id + 1, id);
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
		error = tn_client_admin(attach, &client->space, &sqe);
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

static bool find_ring(const struct client *client, uint32_t id, uint32_t *slot)
{
	for (*slot = 0; *slot < client->attach->options.queues_max; (*slot)++)
		if (client->ring[*slot] && client->ring[*slot]->id == id)
			return true;
	return false;
}

int tn_client_queue_usage(struct client *client, const struct tenon_msg_queue_usage *msg, struct answer *answer)
{
	uint32_t slot;

	if (msg->reserved)
		return -EINVAL;
	if (!find_ring(client, msg->queue, &slot))
		return -ENOENT;
	answer->bytes = sizeof(answer->usage);
	return tn_client_log(client, TDI_LOG_QUEUE_USAGE, msg->queue, client->ring[slot]->generation,
			     &answer->usage.usage, sizeof(answer->usage.usage));
}

int tn_client_queue_destroy(struct client *client, const struct tenon_msg_queue_destroy *msg,
			 struct answer *answer)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_DESTROY };
	struct ring *ring;
	uint32_t slot;
	int error;

	if (msg->reserved)
		return -EINVAL;
	if (!find_ring(client, msg->queue, &slot))
		return -ENOENT;
	ring = client->ring[slot];
	sqe.generation = ring->generation;
	sqe.queue.queue = ring->id;
	error = tn_client_admin(client->attach, &client->space, &sqe);
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

void tn_client_end(struct client *client)
{
	struct tn_unix *attach = client->attach;
	uint32_t i;

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
