/* SPDX-License-Identifier: MIT */
/* See harness.h. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_NS		15000000000ULL
#define DEADLINE_MUTANT_NS	1000000000ULL	/* where hanging is what is expected */

/* What commands of several queues do to one memory at the same time is the tenant's business. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:copy_step\nrace:fill_step\n";
}

static void must(bool condition, const char *what)
{
	if (!condition) {
		perror(what);
		abort();
	}
}

/* ------------------------------------------------------------------------------------ small things */

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&time, NULL);
}

bool deadline_over(uint64_t since)
{
	return now_ns() - since > (getenv("TENON_MUTANT") ? DEADLINE_MUTANT_NS : DEADLINE_NS);
}

#define RANDOM_BEGIN 88172645463325252ULL

static uint64_t random_state = RANDOM_BEGIN;

void random_begin(void)
{
	random_state = RANDOM_BEGIN;
}

uint32_t random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

uint32_t random_below(uint32_t limit)
{
	return (uint32_t)((uint64_t)random_u32() * limit >> 32);
}

/* ------------------------------------------------------------------------------------------ memory */

/* A space may change only while no worker is in a context that uses it. */
static void space_change(struct host *h, bool begin)
{
	uint32_t i;

	if (begin)
		tn_device_lock(h->device);
	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		struct tn_context *context = h->device->context[i];

		if (context && begin)
			tn_context_hold(context);
		else if (context)
			tn_context_release(context);
	}
	if (!begin)
		tn_device_unlock(h->device);
}

void area_open(struct host *h, struct area *area, size_t bytes, int prot)
{
	size_t size = (bytes + TDI_PAGE_SIZE - 1) & ~(size_t)(TDI_PAGE_SIZE - 1);
	int fd = memfd_create("area", MFD_CLOEXEC);
	uint8_t *guarded;

	must(fd >= 0 && !ftruncate(fd, (off_t)size), "memfd");
	area->h = h;
	area->bytes = size;
	area->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	guarded = mmap(NULL, size + 2 * TDI_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area->host != MAP_FAILED && guarded != MAP_FAILED, "mmap");
	area->device = mmap(guarded + TDI_PAGE_SIZE, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	must(area->device != MAP_FAILED, "mmap");
	close(fd);

	/* Regions don't touch, so that running over the end of one is seen. */
	area->address = h->next_address;
	h->next_address += size + TDI_PAGE_SIZE;
	space_change(h, true);
	must(!tn_space_add(&h->space, area->address, size, area->device), "tn_space_add");
	space_change(h, false);
}

void area_protect(struct area *area, int prot)
{
	must(!mprotect(area->device, area->bytes, prot), "mprotect");
}

void area_close(struct area *area)
{
	space_change(area->h, true);
	tn_space_remove(&area->h->space, area->address);
	space_change(area->h, false);
	munmap(area->device - TDI_PAGE_SIZE, area->bytes + 2 * TDI_PAGE_SIZE);
	munmap(area->host, area->bytes);
	memset(area, 0, sizeof(*area));
}

/* ------------------------------------------------------------------------------------------- admin */

#define AS(name) (1ull << TDI_AS_##name)

/* The table of [ADM-55]. RESERVED can end all; DEVICE ends none here, since the model doesn't fail. */
static const uint64_t admin_status[256] = {
	[TDI_ADMIN_IDENTIFY] = AS(FIELD) | AS(ADDRESS),
	[TDI_ADMIN_GET_LOG] = AS(FIELD) | AS(ID) | AS(GENERATION) | AS(ADDRESS),
	[TDI_ADMIN_KEEP_ALIVE] = 0,
	[TDI_ADMIN_ABORT] = AS(ID) | AS(GENERATION) | AS(NOT_FOUND),
	[TDI_ADMIN_QUIESCE] = AS(STATE),
	[TDI_ADMIN_RESUME] = AS(STATE),
	[TDI_ADMIN_GROUP_CREATE] = AS(FIELD) | AS(ID) | AS(EXISTS) | AS(NO_MEMORY),
	[TDI_ADMIN_GROUP_MODIFY] = AS(FIELD) | AS(ID) | AS(GENERATION),
	[TDI_ADMIN_GROUP_DESTROY] = AS(FIELD) | AS(ID) | AS(GENERATION) | AS(BUSY) | AS(ADDRESS),
	[TDI_ADMIN_CONTEXT_CREATE] =
		AS(ID) | AS(GENERATION) | AS(EXISTS) | AS(STATE) | AS(LIMIT) | AS(NO_MEMORY),
	[TDI_ADMIN_CONTEXT_DESTROY] = AS(FIELD) | AS(ID) | AS(GENERATION) | AS(ADDRESS),
	[TDI_ADMIN_CONTEXT_RESET] = AS(ID) | AS(GENERATION),
	[TDI_ADMIN_QUEUE_CREATE] =
		AS(FIELD) | AS(ID) | AS(GENERATION) | AS(EXISTS) | AS(LIMIT) | AS(ADDRESS) | AS(NO_MEMORY),
	[TDI_ADMIN_QUEUE_DESTROY] = AS(FIELD) | AS(ID) | AS(GENERATION) | AS(ADDRESS),
	[TDI_ADMIN_QUEUE_RESET] = AS(ID) | AS(GENERATION) | AS(STATE),
	[TDI_ADMIN_BUFFER_MAP] =
		AS(FIELD) | AS(ID) | AS(GENERATION) | AS(EXISTS) | AS(LIMIT) | AS(ADDRESS) | AS(NO_MEMORY),
	[TDI_ADMIN_BUFFER_UNMAP] = AS(ID) | AS(GENERATION),
};

int admin(struct host *h, const struct tdi_admin_sqe *sqe, struct tdi_admin_cqe *cqe)
{
	struct tdi_admin_sqe command = *sqe;
	struct tdi_admin_cqe done;

	memset(&done, 0xa5, sizeof(done));
	command.command = h->command += 257;
	tn_admin(h->device, &h->space, &command, &done);
	/* [ADM-6, ADM-5, CON-3]; no command of this device has a result. */
	assert_int_equal(done.command, command.command);
	if (done.status != TDI_AS_FIELD)
		assert_int_equal(done.info, 0);
	assert_true(done.info < sizeof(command));
	assert_int_equal(done.result, 0);
	assert_int_equal(done.reserved0, 0);
	assert_int_equal(done.reserved1, 0);
	assert_int_equal(done.reserved2, 0);
	/* [ADM-55] */
	if (done.status != TDI_AS_OK && done.status != TDI_AS_OPCODE && done.status != TDI_AS_RESERVED &&
	    !(done.status < 64 && admin_status[command.opcode] >> done.status & 1))
		fail_msg("admin opcode 0x%x must not end with status 0x%x", command.opcode, done.status);
	if (cqe)
		*cqe = done;
	return done.status;
}

void admin_ok(struct host *h, const struct tdi_admin_sqe *sqe)
{
	int status = admin(h, sqe, NULL);

	if (status)
		fail_msg("admin opcode 0x%x ended with status 0x%x", sqe->opcode, status);
}

struct tdi_admin_sqe cmd_group(uint8_t opcode, uint32_t group)
{
	return (struct tdi_admin_sqe){ .opcode = opcode, .generation = GROUP_GEN(group),
				       .group.group = group };
}

struct tdi_admin_sqe cmd_context(uint8_t opcode, uint32_t context)
{
	struct tdi_admin_sqe sqe = { .opcode = opcode, .generation = CONTEXT_GEN(context) };

	sqe.context.context = context;
	if (opcode == TDI_ADMIN_CONTEXT_CREATE) {
		sqe.context.group = 1;
		sqe.context.group_generation = GROUP_GEN(1);
	}
	return sqe;
}

struct tdi_admin_sqe cmd_queue(uint8_t opcode, uint32_t queue)
{
	return (struct tdi_admin_sqe){ .opcode = opcode, .generation = QUEUE_GEN(queue),
				       .queue.queue = queue };
}

struct tdi_admin_sqe cmd_abort(uint32_t queue, uint32_t index)
{
	return (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_ABORT, .generation = QUEUE_GEN(queue),
				       .abort = { .queue = queue, .index = index } };
}

struct tdi_admin_sqe cmd_unmap(uint32_t context, uint32_t buffer)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_UNMAP };

	sqe.buffer.context = context;
	sqe.buffer.context_generation = CONTEXT_GEN(context);
	sqe.buffer.buffer = buffer;
	return sqe;
}

struct tdi_admin_sqe cmd_map(uint32_t context, uint32_t buffer, uint32_t flags, const struct area *area,
			     uint64_t first, uint64_t length)
{
	struct tdi_admin_sqe sqe = cmd_unmap(context, buffer);

	sqe.opcode = TDI_ADMIN_BUFFER_MAP;
	sqe.buffer.flags = flags | TDI_BUFFER_INLINE;
	sqe.buffer.first = first;
	sqe.buffer.length = length;
	sqe.buffer.address = area->address;
	sqe.buffer.shift = 40;
	return sqe;
}

void context_create(struct host *h, uint32_t context, uint32_t group)
{
	struct tdi_admin_sqe sqe = cmd_context(TDI_ADMIN_CONTEXT_CREATE, context);

	sqe.context.group = group;
	sqe.context.group_generation = GROUP_GEN(group);
	admin_ok(h, &sqe);
}

void map(struct host *h, uint32_t context, uint32_t buffer, uint32_t flags, const struct area *area,
	 uint64_t first, uint64_t length)
{
	struct tdi_admin_sqe sqe = cmd_map(context, buffer, flags, area, first, length);

	admin_ok(h, &sqe);
}

void map_blocks(struct host *h, uint32_t context, uint32_t buffer, uint32_t flags, uint64_t array,
		uint64_t first, uint64_t length, uint32_t shift)
{
	struct tdi_admin_sqe sqe = cmd_unmap(context, buffer);

	sqe.opcode = TDI_ADMIN_BUFFER_MAP;
	sqe.buffer.flags = flags;
	sqe.buffer.first = first;
	sqe.buffer.length = length;
	sqe.buffer.address = array;
	sqe.buffer.shift = shift;
	admin_ok(h, &sqe);
}

void unmap(struct host *h, uint32_t context, uint32_t buffer)
{
	struct tdi_admin_sqe sqe = cmd_unmap(context, buffer);

	admin_ok(h, &sqe);
}

void quiesce(struct host *h)
{
	admin_ok(h, &(struct tdi_admin_sqe){ .opcode = TDI_ADMIN_QUIESCE });
}

void resume(struct host *h)
{
	admin_ok(h, &(struct tdi_admin_sqe){ .opcode = TDI_ADMIN_RESUME });
}

void get_log(struct host *h, uint32_t page, uint32_t id, void *to, size_t bytes)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG,
				     .data = { .page = page, .id = id, .address = h->data.address,
					       .bytes = (uint32_t)bytes } };

	if (page == TDI_LOG_GROUP_USAGE)
		sqe.generation = GROUP_GEN(id);
	else if (page == TDI_LOG_QUEUE_USAGE)
		sqe.generation = QUEUE_GEN(id);
	else if (page != TDI_LOG_CONTROLLER)
		sqe.generation = CONTEXT_GEN(id);
	admin_ok(h, &sqe);
	memcpy(to, h->data.host, bytes);
}

void queue_usage(struct host *h, uint32_t queue, struct tdi_usage *usage)
{
	get_log(h, TDI_LOG_QUEUE_USAGE, queue, usage, sizeof(*usage));
}

void context_usage(struct host *h, uint32_t context, struct tdi_usage *usage)
{
	get_log(h, TDI_LOG_CONTEXT_USAGE, context, usage, sizeof(*usage));
}

void group_usage(struct host *h, uint32_t group, struct tdi_usage *usage)
{
	get_log(h, TDI_LOG_GROUP_USAGE, group, usage, sizeof(*usage));
}

struct tdi_queue_status queue_status(struct queue *q)
{
	struct tdi_context_status status;
	uint32_t i;

	get_log(q->h, TDI_LOG_CONTEXT_STATUS, q->context, &status, sizeof(status));
	for (i = 0; i < status.queues; i++)
		if (status.queue[i].queue == q->id)
			return status.queue[i];
	return (struct tdi_queue_status){ .state = TDI_QUEUE_NONE };
}

static void note(struct snapshot *s, const void *from, size_t bytes)
{
	if (s->bytes + bytes > s->room) {
		s->room = 2 * (s->bytes + bytes);
		s->byte = realloc(s->byte, s->room);
		must(s->byte, "realloc");
	}
	if (bytes)
		memcpy(s->byte + s->bytes, from, bytes);
	s->bytes += bytes;
}

#define NOTE(s, value) do { \
		__typeof__(value) copy_ = (value); \
		note(s, &copy_, sizeof(copy_)); \
	} while (0)

static void note_log(struct host *h, struct snapshot *s, uint32_t page, uint32_t id, size_t bytes)
{
	static _Thread_local union {
		struct tdi_usage usage;
		struct tdi_context_status status;
		struct tdi_controller_log log;
	} to;

	get_log(h, page, id, &to, bytes);
	note(s, &to, bytes);
}

void snapshot(struct host *h, struct snapshot *s)
{
	struct tn_device *device = h->device;
	struct tn_list *node;
	uint32_t i;

	s->bytes = 0;
	NOTE(s, device->quiesced);
	note_log(h, s, TDI_LOG_CONTROLLER, 0, sizeof(struct tdi_controller_log));
	for (i = 0; i < TN_MAX_GROUPS; i++) {
		if (!device->group[i].live)
			continue;
		note(s, &device->group[i], offsetof(struct tn_group, usage));
		note_log(h, s, TDI_LOG_GROUP_USAGE, i, sizeof(struct tdi_usage));
	}
	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		struct tn_context *context = device->context[i];

		if (!context)
			continue;
		NOTE(s, context);
		NOTE(s, context->generation);
		NOTE(s, context->group);
		NOTE(s, context->holds);
		note(s, context->table.map, context->table.maps * sizeof(*context->table.map));
		note_log(h, s, TDI_LOG_CONTEXT_STATUS, i, sizeof(struct tdi_context_status));
		note_log(h, s, TDI_LOG_CONTEXT_USAGE, i, sizeof(struct tdi_usage));
		for (node = context->queues.next; node != &context->queues; node = node->next) {
			struct tn_queue *queue = tn_entry(node, struct tn_queue, member);

			NOTE(s, queue);
			NOTE(s, queue->id);
			NOTE(s, queue->generation);
			NOTE(s, queue->parked);
			NOTE(s, queue->done);
			NOTE(s, queue->noticed);
			NOTE(s, queue->begun);
			NOTE(s, queue->chain_failed);
			note(s, queue->aborts, (queue->depth + 63) / 64 * sizeof(*queue->aborts));
			note(s, queue->page, sizeof(*queue->page));
			note(s, queue->cq, queue->depth * sizeof(*queue->cq));
			note_log(h, s, TDI_LOG_QUEUE_USAGE, queue->id, sizeof(struct tdi_usage));
		}
	}
	for (i = 0; i < TN_MAX_QUEUES; i++)
		if (device->queue[i])
			NOTE(s, i);
}

void snapshot_free(struct snapshot *s)
{
	free(s->byte);
	memset(s, 0, sizeof(*s));
}

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
	return a->bytes == b->bytes && !memcmp(a->byte, b->byte, a->bytes);
}

/* ------------------------------------------------------------------------------------------ queues */

static void notice(void *arg, uint32_t id)
{
	struct host *h = arg;
	struct queue *q = id < ROOM_QUEUES ? h->queue[id] : NULL;
	uint32_t w, k;

	if (!q)
		return;
	w = tenon_load(&q->producer->wanted);
	k = tenon_load(&q->producer->wanted_kernel);
	/* [WAI-6] */
	if (!tenon_reached(tenon_ring_sequence(q->cq, q->mask, w), w) &&
	    !tenon_reached(tenon_ring_sequence(q->cq, q->mask, k), k))
		__atomic_fetch_add(&q->early, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&q->notices, 1, __ATOMIC_RELEASE);
	if (h->noticed)
		h->noticed(h, q);
}

static void stopped(void *arg, uint32_t id)
{
	struct host *h = arg;

	if (id < ROOM_QUEUES && h->queue[id])
		__atomic_fetch_add(&h->queue[id]->stopped, 1, __ATOMIC_RELEASE);
}

void queue_prepare(struct host *h, struct queue *q, uint32_t id, uint32_t context, uint32_t depth_log2)
{
	uint32_t depth = 1u << depth_log2;

	memset(q, 0, sizeof(*q));
	q->h = h;
	q->id = id;
	q->context = context;
	q->depth_log2 = depth_log2;
	q->depth = depth;
	q->mask = depth - 1;
	q->first = q->head = q->tail = TDI_FIRST_INDEX(depth);
	area_open(h, &q->producer_area, sizeof(*q->producer), PROT_READ);
	area_open(h, &q->sq_area, depth * sizeof(*q->sq), PROT_READ);
	area_open(h, &q->page_area, sizeof(*q->page), PROT_READ | PROT_WRITE);
	area_open(h, &q->cq_area, depth * sizeof(*q->cq), PROT_READ | PROT_WRITE);
	q->producer = (void *)q->producer_area.host;
	q->sq = (void *)q->sq_area.host;
	q->page = (void *)q->page_area.host;
	q->cq = (void *)q->cq_area.host;
	q->producer->tail = q->producer->wanted = q->producer->wanted_kernel = q->first;
	q->page->fetched = q->first;
	q->page->flags = TDI_NEED_DOORBELL | TDI_NEED_KICK;
	tenon_ring_init_cq(q->cq, depth, q->first);
	q->sent = calloc(depth, sizeof(*q->sent));
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(q->sent && q->kick >= 0, "queue");
}

struct tdi_admin_sqe queue_command(const struct queue *q)
{
	struct tdi_admin_sqe sqe = cmd_queue(TDI_ADMIN_QUEUE_CREATE, q->id);

	sqe.queue.context = q->context;
	sqe.queue.context_generation = CONTEXT_GEN(q->context);
	sqe.queue.first = q->first;
	sqe.queue.depth_log2 = (uint8_t)q->depth_log2;
	sqe.queue.producer = q->producer_area.address;
	sqe.queue.sq = q->sq_area.address;
	sqe.queue.device = q->page_area.address;
	sqe.queue.cq = q->cq_area.address;
	return sqe;
}

void queue_created(struct queue *q)
{
	must(!tn_device_kick_fd(q->h->device, q->kick, q->id, QUEUE_GEN(q->id)), "epoll_ctl");
}

void queue_open(struct host *h, struct queue *q, uint32_t id, uint32_t context, uint32_t depth_log2)
{
	struct tdi_admin_sqe sqe;

	queue_prepare(h, q, id, context, depth_log2);
	sqe = queue_command(q);
	if (id < ROOM_QUEUES)
		h->queue[id] = q;
	admin_ok(h, &sqe);
	queue_created(q);
}

void queue_forget(struct queue *q)
{
	if (q->id < ROOM_QUEUES)
		q->h->queue[q->id] = NULL;
	tn_device_forget_fd(q->h->device, q->kick);
	close(q->kick);
	free(q->sent);
	q->sent = NULL;
}

void queue_free_areas(struct queue *q)
{
	area_close(&q->producer_area);
	area_close(&q->sq_area);
	area_close(&q->page_area);
	area_close(&q->cq_area);
}

void queue_close(struct queue *q)
{
	struct tdi_admin_sqe sqe = cmd_queue(TDI_ADMIN_QUEUE_DESTROY, q->id);

	admin_ok(q->h, &sqe);
	queue_forget(q);
	queue_free_areas(q);
}

void queue_push(struct queue *q, const struct tdi_sqe *sqe)
{
	q->sq[q->tail & q->mask] = *sqe;
	q->sent[q->tail & q->mask] = *sqe;
	q->tail++;
}

void queue_kick(struct queue *q)
{
	uint64_t one = 1;

	must(write(q->kick, &one, sizeof(one)) == sizeof(one), "kick");
}

void queue_publish(struct queue *q)
{
	if (tenon_ring_publish(q->producer, q->page, &q->kernel, q->tail))
		queue_kick(q);
}

void queue_tail(struct queue *q)
{
	tenon_store_release(&q->producer->tail, q->tail);
}

uint32_t submit(struct queue *q, const struct tdi_sqe *sqe)
{
	queue_push(q, sqe);
	queue_publish(q);
	return q->tail - 1;
}

bool completed(const struct queue *q, uint32_t index)
{
	return tenon_reached(tenon_ring_sequence(q->cq, q->mask, index + 1), index + 1);
}

uint32_t fetched(const struct queue *q)
{
	return tenon_load_acquire(&q->page->fetched);
}

#define SC(name) (1ull << TDI_SC_##name)
#define SC_ALL (SC(OK) | SC(RESERVED) | SC(CANCELED) | SC(ABORTED))
#define SC_BUFFER (SC(FIELD) | SC(BUFFER_ID) | SC(BUFFER_BOUNDS) | SC(BUFFER_RIGHTS) | SC(DEVICE))

/* The table of [ERR-22], but for opcodes that have none. */
static uint64_t allowed(uint8_t opcode)
{
	switch (opcode) {
	case TDI_OP_NOP:
		return SC_ALL;
	case TDI_OP_COPY:
		return SC_ALL | SC_BUFFER | SC(OVERLAP);
	case TDI_OP_FILL:
	case TDI_OP_SIGNAL:
		return SC_ALL | SC_BUFFER | SC(ALIGNMENT);
	case TDI_OP_WAIT:
		return SC_ALL | SC_BUFFER | SC(ALIGNMENT) | SC(LIMIT) | SC(TIMEOUT);
	case TDI_OP_TENSOR:
		return ~SC(OPCODE);
	default:
		return SC(OPCODE) | SC(CANCELED) | SC(ABORTED);
	}
}

static void check_info(const struct tdi_cqe *cqe, const struct tdi_sqe *sqe)
{
	uint32_t first = sqe->copy.dst;	/* where all of the core commands have their first buffer */

	switch (cqe->status) {
	case TDI_SC_FIELD:	/* [CMD-8] */
		assert_true(cqe->info && cqe->info < sizeof(*sqe));
		break;
	case TDI_SC_BUFFER_ID:
	case TDI_SC_BUFFER_BOUNDS:
	case TDI_SC_BUFFER_RIGHTS:
		assert_true(cqe->info == first || (sqe->opcode == TDI_OP_COPY && cqe->info == sqe->copy.src));
		break;
	case TDI_SC_OVERLAP:
		assert_int_equal(cqe->info, first);
		break;
	default:
		assert_int_equal(cqe->info, 0);
	}
}

int reap(struct queue *q)
{
	const struct tdi_sqe *sqe = &q->sent[q->head & q->mask];
	uint64_t since = now_ns();

	while (!completed(q, q->head)) {
		if (deadline_over(since))
			fail_msg("queue %u: command %u (opcode 0x%x) never completed", q->id, q->head,
				 sqe->opcode);
		sleep_ns(5000);
	}
	q->cqe = q->cq[q->head & q->mask];
	/* [QUE-1, QUE-11, CMD-5, CON-3] */
	assert_int_equal(q->cqe.sequence, q->head + 1);
	assert_int_equal(q->cqe.user_data, sqe->user_data);
	assert_int_equal(q->cqe.reserved, 0);
	/* [ERR-22] */
	if (q->cqe.status > 63 || !(allowed(sqe->opcode) >> q->cqe.status & 1))
		fail_msg("opcode 0x%x must not end with status 0x%x", sqe->opcode, q->cqe.status);
	if (sqe->opcode != TDI_OP_TENSOR)
		check_info(&q->cqe, sqe);	/* [CMD-7] */
	/* [MET-8]; BUFFER_ID and DEVICE can come on the way. */
	if (q->cqe.status == TDI_SC_OK)
		assert_true(q->cqe.units >= 1);
	else if (q->cqe.status <= TDI_SC_CANCELED && q->cqe.status != TDI_SC_BUFFER_ID)
		assert_int_equal(q->cqe.units, 0);
	q->head++;
	return q->cqe.status;
}

int run(struct queue *q, const struct tdi_sqe *sqe)
{
	assert_int_equal(q->head, q->tail);
	submit(q, sqe);
	return reap(q);
}

void until_parked(struct queue *q)
{
	struct tn_device *device = q->h->device;
	uint64_t since = now_ns();
	bool parked;

	for (;;) {
		tn_device_lock(device);
		parked = device->queue[q->id]->parked;
		tn_device_unlock(device);
		if (parked)
			return;
		if (deadline_over(since))
			fail_msg("queue %u never parked", q->id);
		sleep_ns(20000);
	}
}

void until_begun(struct queue *q, uint32_t index)
{
	until(tenon_reached(fetched(q), index + 1));
}

/* ---------------------------------------------------------------------------------------- commands */

static uint64_t next_user_data = 0x1234567800000000ULL;

static struct tdi_sqe command(enum tdi_opcode opcode)
{
	return (struct tdi_sqe){ .opcode = (uint8_t)opcode, .user_data = next_user_data++ };
}

struct tdi_sqe nop(void)
{
	return command(TDI_OP_NOP);
}

struct tdi_sqe copy(uint32_t dst, uint64_t dst_offset, uint32_t src, uint64_t src_offset, uint64_t bytes)
{
	return copy_rows(dst, dst_offset, 0, src, src_offset, 0, bytes, 1);
}

struct tdi_sqe copy_rows(uint32_t dst, uint64_t dst_offset, uint32_t dst_pitch, uint32_t src,
			 uint64_t src_offset, uint32_t src_pitch, uint64_t row_bytes, uint32_t rows)
{
	struct tdi_sqe sqe = command(TDI_OP_COPY);

	sqe.copy = (struct tdi_copy){ .dst = dst, .src = src, .dst_offset = dst_offset,
				      .src_offset = src_offset, .row_bytes = row_bytes, .rows = rows,
				      .dst_pitch = dst_pitch, .src_pitch = src_pitch };
	return sqe;
}

struct tdi_sqe fill(uint32_t dst, uint64_t offset, uint64_t bytes, uint64_t pattern, uint32_t width)
{
	struct tdi_sqe sqe = command(TDI_OP_FILL);

	sqe.fill = (struct tdi_fill){ .dst = dst, .width = width, .offset = offset, .bytes = bytes,
				      .pattern = pattern };
	return sqe;
}

struct tdi_sqe sem_signal(uint32_t buffer, uint64_t offset, uint64_t value, uint32_t mode)
{
	struct tdi_sqe sqe = command(TDI_OP_SIGNAL);

	sqe.signal = (struct tdi_signal){ .buffer = buffer, .mode = mode, .offset = offset, .value = value };
	return sqe;
}

struct tdi_sqe sem_wait(uint32_t buffer, uint64_t offset, uint64_t ref, uint64_t timeout_ns)
{
	struct tdi_sqe sqe = command(TDI_OP_WAIT);

	sqe.wait = (struct tdi_wait){ .buffer = buffer, .offset = offset, .ref = ref,
				      .timeout_ns = timeout_ns };
	return sqe;
}

struct tdi_sqe linked(struct tdi_sqe sqe)
{
	sqe.flags |= TDI_SQE_LINK;
	return sqe;
}

struct tdi_sqe bad(void)
{
	struct tdi_sqe sqe = nop();

	sqe.raw[3] = 1;
	return sqe;
}

#define ENDLESS_SHIFT 22

void endless_open(struct host *h, struct endless *e, uint32_t context, uint32_t buffer)
{
	uint64_t entries = TN_MAX_BUFFER_BYTES >> ENDLESS_SHIFT, i;
	uint64_t *entry;

	e->context = context;
	e->buffer = buffer;
	e->bytes = TN_MAX_BUFFER_BYTES;
	area_open(h, &e->block, 1u << ENDLESS_SHIFT, PROT_READ | PROT_WRITE);
	area_open(h, &e->array, entries * sizeof(*entry), PROT_READ);
	entry = (void *)e->array.host;
	for (i = 0; i < entries; i++)
		entry[i] = e->block.address;
	map_blocks(h, context, buffer, RW, e->array.address, 0, e->bytes, ENDLESS_SHIFT);
}

struct tdi_sqe endless_fill(const struct endless *e, uint8_t pattern)
{
	return fill(e->buffer, 0, e->bytes, pattern * 0x0101010101010101ULL, 8);
}

void endless_close(struct endless *e)
{
	area_close(&e->block);
	area_close(&e->array);
}

/* ------------------------------------------------------------------------------------------- tests */

void device_anew(struct host *h)
{
	struct tdi_admin_sqe sqe = cmd_group(TDI_ADMIN_GROUP_CREATE, 1);

	must(!tn_device_create(&h->options, &h->device), "tn_device_create");
	h->device->accepted |= h->features;
	if (h->features & TDI_F_FAIR) {
		sqe.group.weight = 100;
		sqe.group.priority = TDI_PRIORITY_NORMAL;
	}
	admin_ok(h, &sqe);
	context_create(h, 1, 1);
}

static int setup_with(void **state, const struct tn_device_options *options, uint64_t features)
{
	struct host *h = calloc(1, sizeof(*h));

	must(h, "calloc");
	h->features = features;
	h->options = *options;
	h->options.serial = "7";
	h->options.notice = notice;
	h->options.stopped = stopped;
	h->options.attach = h;
	h->next_address = 1ULL << 32;
	device_anew(h);
	area_open(h, &h->data, 2 * TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	*state = h;
	return 0;
}

static int setup(void **state, const struct tn_device_options *options)
{
	return setup_with(state, options, 0);
}

int setup_real(void **state)
{
	return setup(state, &(struct tn_device_options){ .workers = 1, .spin_ns = 20000 });
}

int setup_sleepy(void **state)
{
	return setup(state, &(struct tn_device_options){ .workers = 1 });
}

int setup_awake(void **state)
{
	return setup(state, &(struct tn_device_options){ .workers = 1, .spin_ns = 300000000000ULL });
}

int setup_two(void **state)
{
	return setup(state, &(struct tn_device_options){ .workers = 2, .spin_ns = 20000 });
}

int setup_virtual(void **state)
{
	return setup(state, &(struct tn_device_options){ .workers = 1, .virtual_clock = true });
}

int setup_fair(void **state)
{
	return setup_with(state, &(struct tn_device_options){ .workers = 1, .virtual_clock = true },
			  TDI_F_FAIR);
}

int setup_fair_real(void **state)
{
	return setup_with(state, &(struct tn_device_options){ .workers = 1, .spin_ns = 20000 }, TDI_F_FAIR);
}

int setup_fair_two(void **state)
{
	return setup_with(state, &(struct tn_device_options){ .workers = 2, .spin_ns = 20000 }, TDI_F_FAIR);
}

int teardown(void **state)
{
	struct host *h = *state;

	tn_device_destroy(h->device);
	munmap(h->data.device - TDI_PAGE_SIZE, h->data.bytes + 2 * TDI_PAGE_SIZE);
	munmap(h->data.host, h->data.bytes);
	tn_space_free(&h->space);
	free(h);
	return 0;
}

int run_group(const char *name, const struct CMUnitTest *tests, size_t count)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL) != 0;
}
