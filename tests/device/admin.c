/* SPDX-License-Identifier: MIT */
/*
 * Admin commands: every refusal of each, alone and two at a time, what it leaves behind, and what IDENTIFY
 * tells.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------- running out of memory on demand */

/* In the test's thread: the allocation that counts this down to 0 fails. */
static _Thread_local int fail_alloc;

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__real_reallocarray(void *old, size_t count, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fail_alloc && !--fail_alloc ? NULL : __real_calloc(count, bytes);
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes)
{
	return fail_alloc && !--fail_alloc ? NULL : __real_reallocarray(old, count, bytes);
}

/* --------------------------------------------------------------------------------------- the commands */

/* One valid command of each form; to be made wrong in one or two ways. */
enum form {
	IDENTIFY, LOG_GROUP, LOG_QUEUE, LOG_STATUS, LOG_CONTROLLER, LOG_CONTEXT, KEEP_ALIVE, ABORT, QUIESCE,
	RESUME, GROUP_CREATE, GROUP_MODIFY, GROUP_DESTROY, CONTEXT_CREATE, CONTEXT_DESTROY, CONTEXT_RESET,
	QUEUE_CREATE, QUEUE_DESTROY, QUEUE_RESET, MAP_INLINE, MAP_BLOCKS, UNMAP, FORMS
};

#define GROUP		1	/* with contexts 1, 2 and 3 */
#define GROUP_EMPTY	2
#define GROUP_NEW	3
#define CONTEXT		1	/* with queues 10 and 11 and a buffer at index 3 */
#define CONTEXT_FULL	2	/* with as many queues as there may be */
#define CONTEXT_EMPTY	3
#define CONTEXT_NEW	4
#define QUEUE		10	/* parked at a WAIT, with another command behind it */
#define QUEUE_STOPPED	11
#define QUEUE_NEW	20
#define BUFFER		TDI_BUFFER_ID(3, 1)
#define BUFFER_NEW	TDI_BUFFER_ID(5, 1)
#define NOWHERE		0x10000ULL	/* no memory is at this address */

struct world {
	struct area memory;
	struct queue queue, stopped, new, full[TDI_CONTEXT_QUEUES];
	struct tdi_admin_sqe form[FORMS];
};

static void log_form(struct world *w, enum form form, uint32_t page, uint32_t id, uint32_t generation)
{
	w->form[form] = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_GET_LOG, .generation = generation };
	w->form[form].data.page = page;
	w->form[form].data.id = id;
	w->form[form].data.address = w->memory.address;
	w->form[form].data.bytes = 4096;
}

static void world_open(struct host *h, struct world *w)
{
	struct tdi_admin_sqe sqe = cmd_group(TDI_ADMIN_GROUP_CREATE, GROUP_EMPTY);
	struct tdi_sqe wait = sem_wait(BUFFER, 0, 1, 3000000000000ULL);
	struct tdi_sqe next = nop();
	uint32_t i;

	admin_ok(h, &sqe);
	context_create(h, CONTEXT_FULL, GROUP);
	context_create(h, CONTEXT_EMPTY, GROUP);
	area_open(h, &w->memory, 16 * TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, CONTEXT, BUFFER, RW, &w->memory, 8192, 4096);
	queue_open(h, &w->queue, QUEUE, CONTEXT, 3);
	submit(&w->queue, &wait);
	submit(&w->queue, &next);
	until_parked(&w->queue);
	queue_open(h, &w->stopped, QUEUE_STOPPED, CONTEXT, 3);
	w->stopped.producer->tail += 9;
	queue_kick(&w->stopped);
	until(__atomic_load_n(&w->stopped.stopped, __ATOMIC_ACQUIRE));
	for (i = 0; i < TDI_CONTEXT_QUEUES; i++)
		queue_open(h, &w->full[i], 100 + i, CONTEXT_FULL, 0);
	queue_prepare(h, &w->new, QUEUE_NEW, CONTEXT, 3);

	w->form[IDENTIFY] = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_IDENTIFY };
	w->form[IDENTIFY].data.address = w->memory.address;
	w->form[IDENTIFY].data.bytes = 4096;
	log_form(w, LOG_GROUP, TDI_LOG_GROUP_USAGE, GROUP, GROUP_GEN(GROUP));
	log_form(w, LOG_QUEUE, TDI_LOG_QUEUE_USAGE, QUEUE, QUEUE_GEN(QUEUE));
	log_form(w, LOG_STATUS, TDI_LOG_CONTEXT_STATUS, CONTEXT, CONTEXT_GEN(CONTEXT));
	log_form(w, LOG_CONTROLLER, TDI_LOG_CONTROLLER, 0, 0);
	log_form(w, LOG_CONTEXT, TDI_LOG_CONTEXT_USAGE, CONTEXT, CONTEXT_GEN(CONTEXT));
	w->form[KEEP_ALIVE] = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_KEEP_ALIVE };
	w->form[ABORT] = cmd_abort(QUEUE, w->queue.first);
	w->form[QUIESCE] = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_QUIESCE };
	w->form[RESUME] = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_RESUME };
	w->form[GROUP_CREATE] = cmd_group(TDI_ADMIN_GROUP_CREATE, GROUP_NEW);
	w->form[GROUP_MODIFY] = cmd_group(TDI_ADMIN_GROUP_MODIFY, GROUP);
	w->form[GROUP_MODIFY].group.quantum_ns = 12345;
	w->form[GROUP_DESTROY] = cmd_group(TDI_ADMIN_GROUP_DESTROY, GROUP_EMPTY);
	w->form[CONTEXT_CREATE] = cmd_context(TDI_ADMIN_CONTEXT_CREATE, CONTEXT_NEW);
	w->form[CONTEXT_DESTROY] = cmd_context(TDI_ADMIN_CONTEXT_DESTROY, CONTEXT);
	w->form[CONTEXT_RESET] = cmd_context(TDI_ADMIN_CONTEXT_RESET, CONTEXT);
	w->form[QUEUE_CREATE] = queue_command(&w->new);
	w->form[QUEUE_DESTROY] = cmd_queue(TDI_ADMIN_QUEUE_DESTROY, QUEUE);
	w->form[QUEUE_RESET] = cmd_queue(TDI_ADMIN_QUEUE_RESET, QUEUE);
	w->form[MAP_INLINE] = cmd_map(CONTEXT, BUFFER_NEW, RW, &w->memory, 0, 4096);
	w->form[MAP_BLOCKS] = cmd_map(CONTEXT, BUFFER_NEW, RW, &w->memory, 0, 4096);
	w->form[MAP_BLOCKS].buffer.flags = RW;
	w->form[UNMAP] = cmd_unmap(CONTEXT, BUFFER);
}

static void world_close(struct world *w)
{
	uint32_t i;

	queue_close(&w->queue);
	queue_close(&w->stopped);
	for (i = 0; i < TDI_CONTEXT_QUEUES; i++)
		queue_close(&w->full[i]);
	queue_forget(&w->new);
	queue_free_areas(&w->new);
	area_close(&w->memory);
}

static struct world *world_make(void **state)
{
	struct world *w = __real_calloc(1, sizeof(*w));

	world_open(*state, w);
	return w;
}

static void world_end(struct world *w)
{
	world_close(w);
	free(w);
}

/* What a refused command must have left as it was: the device, and the memory but for a log's. [ADM-3] */
struct before {
	struct snapshot device;
	uint8_t memory[16 * TDI_PAGE_SIZE];
};

static void look(struct host *h, struct world *w, struct before *b)
{
	uint32_t i;

	/* No queue is polled any more, so nothing changes by itself. */
	until_parked(&w->queue);
	for (i = 0; i < TDI_CONTEXT_QUEUES; i++)
		until(tenon_load(&w->full[i].page->flags));
	snapshot(h, &b->device);
	memcpy(b->memory, w->memory.host, sizeof(b->memory));
}

static void refused(struct host *h, struct world *w, const struct before *b, const struct tdi_admin_sqe *sqe,
		    int status, int info, const char *what)
{
	static struct before after;
	struct tdi_admin_cqe cqe;
	int got = admin(h, sqe, &cqe);

	if (got != status || (info >= 0 && cqe.info != (uint32_t)info))
		fail_msg("opcode 0x%x, %s: status 0x%x info %u, not 0x%x info %d", sqe->opcode, what, got,
			 cqe.info, status, info);
	look(h, w, &after);
	if (!snapshot_equal(&b->device, &after.device))
		fail_msg("opcode 0x%x, %s: refused, but the device is changed", sqe->opcode, what);
	if (memcmp(b->memory, after.memory, sizeof(after.memory)))
		fail_msg("opcode 0x%x, %s: refused, but memory is changed", sqe->opcode, what);
	snapshot_free(&after.device);
}

/* -------------------------------------------------------------------- OPCODE and RESERVED, exhaustively */

#define BYTES_OF(member) sizeof(((struct tdi_admin_sqe *)0)->member)
#define BYTES(member) { offsetof(struct tdi_admin_sqe, member), BYTES_OF(member) }
#define LOG_BYTES BYTES(generation), BYTES(data.page), BYTES(data.id), BYTES(data.address), BYTES(data.bytes)
#define MAP_BYTES BYTES(buffer.context), BYTES(buffer.context_generation), BYTES(buffer.buffer), \
	BYTES(buffer.flags), BYTES(buffer.length), BYTES(buffer.first), BYTES(buffer.address), \
	BYTES(buffer.shift)
#define DESTROY_BYTES BYTES(generation), BYTES(destroy.id), BYTES(destroy.usage)
#define BYTES_MAX 12

/*
 * The fields that each form may use, from the headings of [ADM]; all other bytes are reserved.
 * [ADM-7, ADM-10]
 */
static const struct {
	size_t offset, bytes;
} used[FORMS][BYTES_MAX] = {
	[IDENTIFY] = { BYTES(data.page), BYTES(data.id), BYTES(data.address), BYTES(data.bytes) },
	[LOG_GROUP] = { LOG_BYTES },
	[LOG_QUEUE] = { LOG_BYTES },
	[LOG_STATUS] = { LOG_BYTES },
	[LOG_CONTEXT] = { LOG_BYTES },
	[LOG_CONTROLLER] = { BYTES(data.page), BYTES(data.id), BYTES(data.address), BYTES(data.bytes) },
	[ABORT] = { BYTES(generation), BYTES(abort.queue), BYTES(abort.index) },
	/* Without FAIR its fields are reserved. [NEG-3] */
	[GROUP_CREATE] = { BYTES(generation), BYTES(group.group), BYTES(group.quantum_ns),
			   BYTES(group.max_command_ns) },
	[GROUP_MODIFY] = { BYTES(generation), BYTES(group.group), BYTES(group.quantum_ns),
			   BYTES(group.max_command_ns) },
	[GROUP_DESTROY] = { DESTROY_BYTES },
	[CONTEXT_CREATE] = { BYTES(generation), BYTES(context.context), BYTES(context.group),
			     BYTES(context.group_generation) },
	[CONTEXT_DESTROY] = { DESTROY_BYTES },
	[CONTEXT_RESET] = { BYTES(generation), BYTES(context.context) },
	/* Without EVENT_QUEUES and RESTARTABLE so are eq, moderation_ns and flags. */
	[QUEUE_CREATE] = { BYTES(generation), BYTES(queue.queue), BYTES(queue.context),
			   BYTES(queue.context_generation), BYTES(queue.first), BYTES(queue.depth_log2),
			   BYTES(queue.producer), BYTES(queue.sq), BYTES(queue.device), BYTES(queue.cq) },
	[QUEUE_DESTROY] = { DESTROY_BYTES },
	[QUEUE_RESET] = { BYTES(generation), BYTES(queue.queue) },
	[MAP_INLINE] = { MAP_BYTES },
	[MAP_BLOCKS] = { MAP_BYTES },
	[UNMAP] = { BYTES(buffer.context), BYTES(buffer.context_generation), BYTES(buffer.buffer) },
};

static bool is_used(enum form form, size_t byte)
{
	size_t i;

	if (byte == 0 || byte == 2 || byte == 3)	/* opcode, command */
		return true;
	for (i = 0; i < BYTES_MAX; i++)
		if (byte - used[form][i].offset < used[form][i].bytes)
			return true;
	return false;
}

/* [ERR-28, CON-3, NEG-3, ADM-7] */
static void test_reserved(void **state)
{
	static const uint8_t values[] = { 0x01, 0x80, 0xff };
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;
	size_t byte, i;
	int form;

	look(h, w, &b);
	for (form = 0; form < FORMS; form++) {
		for (byte = 0; byte < sizeof(struct tdi_admin_sqe); byte++) {
			struct tdi_admin_sqe sqe = w->form[form];
			char what[32];

			if (is_used((enum form)form, byte))
				continue;
			snprintf(what, sizeof(what), "reserved byte %zu", byte);
			for (i = 0; i < sizeof(values); i++) {
				((uint8_t *)&sqe)[byte] = values[i];
				refused(h, w, &b, &sqe, TDI_AS_RESERVED, 0, what);
			}
		}
	}
	snapshot_free(&b.device);
	world_end(w);
}

/*
 * Unknown ones and those of features that aren't in force, whatever else is in them. [ERR-26, NEG-3, ADM-4]
 */
static void test_opcode(void **state)
{
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;
	int opcode, form, tried = 0;

	look(h, w, &b);
	for (opcode = 0; opcode < 256; opcode++) {
		struct tdi_admin_sqe sqe = { .opcode = (uint8_t)opcode };

		for (form = 0; form < FORMS; form++)
			if (w->form[form].opcode == opcode)
				break;
		if (form < FORMS)
			continue;
		refused(h, w, &b, &sqe, TDI_AS_OPCODE, 0, "nothing else wrong");
		memset(&sqe, 0xff, sizeof(sqe));
		sqe.opcode = (uint8_t)opcode;
		refused(h, w, &b, &sqe, TDI_AS_OPCODE, 0, "all else wrong");
		tried++;
	}
	assert_int_equal(tried, 256 - 17);
	snapshot_free(&b.device);
	world_end(w);
}

/* ---------------------------------------------------------------------------------- all other refusals */

/* The order of checks of [ADM-4]. */
enum rank {
	R_RESERVED, R_FIELD, R_ID_1, R_GENERATION_1, R_ID_2, R_GENERATION_2, R_NOT_FOUND, R_STATE, R_BUSY,
	R_LIMIT, R_ADDRESS,
};

#define ANY (-1)	/* info: the field isn't told apart by the text */
#define SET(member, to) { offsetof(struct tdi_admin_sqe, member), BYTES_OF(member), to }
#define OFFSET(member) ((int)offsetof(struct tdi_admin_sqe, member))

/* A way in which a form can be wrong: up to three fields are set. */
struct wrong {
	enum form form;
	enum rank rank;
	int status, info;
	struct {
		size_t offset, bytes;
		uint64_t to;
	} set[3];
};

static const struct wrong wrongs[] = {
	{ IDENTIFY, R_FIELD, TDI_AS_FIELD, OFFSET(data.page), { SET(data.page, 1) } },
	{ IDENTIFY, R_FIELD, TDI_AS_FIELD, OFFSET(data.id), { SET(data.id, 1) } },
	{ IDENTIFY, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },

	{ LOG_GROUP, R_FIELD, TDI_AS_FIELD, OFFSET(data.page), { SET(data.page, 0) } },
	{ LOG_GROUP, R_ID_1, TDI_AS_ID, 0, { SET(data.id, GROUP_NEW) } },
	{ LOG_GROUP, R_ID_1, TDI_AS_ID, 0, { SET(data.id, TN_MAX_GROUPS) } },
	{ LOG_GROUP, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, GROUP_GEN(GROUP) + 1) } },
	{ LOG_GROUP, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },
	{ LOG_QUEUE, R_FIELD, TDI_AS_FIELD, OFFSET(data.page), { SET(data.page, 6) } },
	{ LOG_QUEUE, R_ID_1, TDI_AS_ID, 0, { SET(data.id, QUEUE_NEW) } },
	{ LOG_QUEUE, R_ID_1, TDI_AS_ID, 0, { SET(data.id, TN_MAX_QUEUES) } },
	{ LOG_QUEUE, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, 0) } },
	{ LOG_QUEUE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },
	{ LOG_STATUS, R_FIELD, TDI_AS_FIELD, OFFSET(data.page), { SET(data.page, 0xffffffff) } },
	{ LOG_STATUS, R_ID_1, TDI_AS_ID, 0, { SET(data.id, CONTEXT_NEW) } },
	{ LOG_STATUS, R_ID_1, TDI_AS_ID, 0, { SET(data.id, TN_MAX_CONTEXTS) } },
	{ LOG_STATUS, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, ~CONTEXT_GEN(CONTEXT)) } },
	{ LOG_STATUS, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },
	{ LOG_CONTEXT, R_ID_1, TDI_AS_ID, 0, { SET(data.id, CONTEXT_NEW) } },
	{ LOG_CONTEXT, R_ID_1, TDI_AS_ID, 0, { SET(data.id, 0xffffffff) } },
	{ LOG_CONTEXT, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, CONTEXT_GEN(CONTEXT) - 1) } },
	{ LOG_CONTEXT, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },
	{ LOG_CONTROLLER, R_RESERVED, TDI_AS_RESERVED, 0, { SET(generation, 1) } },
	{ LOG_CONTROLLER, R_FIELD, TDI_AS_FIELD, OFFSET(data.id), { SET(data.id, 1) } },
	{ LOG_CONTROLLER, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(data.address, NOWHERE) } },

	{ ABORT, R_ID_1, TDI_AS_ID, 0, { SET(abort.queue, QUEUE_NEW) } },
	{ ABORT, R_ID_1, TDI_AS_ID, 0, { SET(abort.queue, TN_MAX_QUEUES) } },
	{ ABORT, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, QUEUE_GEN(QUEUE) + 1) } },
	{ ABORT, R_NOT_FOUND, TDI_AS_NOT_FOUND, 0, { SET(abort.index, TDI_FIRST_INDEX(8) - 1) } },
	{ ABORT, R_NOT_FOUND, TDI_AS_NOT_FOUND, 0, { SET(abort.index, TDI_FIRST_INDEX(8) + 2) } },
	{ ABORT, R_NOT_FOUND, TDI_AS_NOT_FOUND, 0, { SET(abort.index, TDI_FIRST_INDEX(8) + 0x80000000) } },
	{ ABORT, R_NOT_FOUND, TDI_AS_NOT_FOUND, 0, { SET(abort.queue, QUEUE_STOPPED),
						     SET(generation, QUEUE_GEN(QUEUE_STOPPED)) } },

	{ GROUP_CREATE, R_ID_1, TDI_AS_ID, 0, { SET(group.group, TN_MAX_GROUPS) } },
	{ GROUP_CREATE, R_ID_1, TDI_AS_ID, 0, { SET(group.group, 0xffffffff) } },
	{ GROUP_CREATE, R_ID_1, TDI_AS_EXISTS, 0, { SET(group.group, GROUP) } },
	{ GROUP_CREATE, R_RESERVED, TDI_AS_RESERVED, 0, { SET(group.weight, 1) } },
	{ GROUP_MODIFY, R_ID_1, TDI_AS_ID, 0, { SET(group.group, GROUP_NEW) } },
	{ GROUP_MODIFY, R_ID_1, TDI_AS_ID, 0, { SET(group.group, TN_MAX_GROUPS) } },
	{ GROUP_MODIFY, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, GROUP_GEN(GROUP) + 1) } },
	{ GROUP_MODIFY, R_RESERVED, TDI_AS_RESERVED, 0, { SET(group.priority, 1) } },
	{ GROUP_DESTROY, R_FIELD, TDI_AS_FIELD, OFFSET(destroy.usage), { SET(destroy.usage, NOWHERE + 4) } },
	{ GROUP_DESTROY, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(destroy.usage, NOWHERE) } },
	{ GROUP_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(group.group, GROUP_NEW) } },
	{ GROUP_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(group.group, TN_MAX_GROUPS) } },
	{ GROUP_DESTROY, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, 1) } },
	{ GROUP_DESTROY, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(group.group, GROUP) } },
	{ GROUP_DESTROY, R_BUSY, TDI_AS_BUSY, 0,
	  { SET(group.group, GROUP), SET(generation, GROUP_GEN(GROUP)) } },

	{ CONTEXT_CREATE, R_ID_1, TDI_AS_ID, 0, { SET(context.context, TN_MAX_CONTEXTS) } },
	{ CONTEXT_CREATE, R_ID_1, TDI_AS_EXISTS, 0, { SET(context.context, CONTEXT) } },
	{ CONTEXT_CREATE, R_ID_2, TDI_AS_ID, 0, { SET(context.group, GROUP_NEW) } },
	{ CONTEXT_CREATE, R_ID_2, TDI_AS_ID, 0, { SET(context.group, TN_MAX_GROUPS) } },
	{ CONTEXT_CREATE, R_GENERATION_2, TDI_AS_GENERATION, 0, { SET(context.group_generation, 0) } },
	{ CONTEXT_CREATE, R_RESERVED, TDI_AS_RESERVED, 0, { SET(context.reserved1[4], 1) } },
	{ CONTEXT_DESTROY, R_FIELD, TDI_AS_FIELD, OFFSET(destroy.usage),
	  { SET(destroy.usage, NOWHERE + 4) } },
	{ CONTEXT_DESTROY, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(destroy.usage, NOWHERE) } },
	{ CONTEXT_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(context.context, CONTEXT_NEW) } },
	{ CONTEXT_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(context.context, TN_MAX_CONTEXTS) } },
	{ CONTEXT_DESTROY, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, 0) } },
	{ CONTEXT_DESTROY, R_RESERVED, TDI_AS_RESERVED, 0, { SET(context.group, 1) } },
	{ CONTEXT_RESET, R_ID_1, TDI_AS_ID, 0, { SET(context.context, CONTEXT_NEW) } },
	{ CONTEXT_RESET, R_ID_1, TDI_AS_ID, 0, { SET(context.context, 0xffffffff) } },
	{ CONTEXT_RESET, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, 1) } },
	{ CONTEXT_RESET, R_RESERVED, TDI_AS_RESERVED, 0, { SET(context.group_generation, 1) } },

	{ QUEUE_CREATE, R_RESERVED, TDI_AS_RESERVED, 0, { SET(queue.flags, TDI_QUEUE_RESTARTABLE) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.depth_log2), { SET(queue.depth_log2, 16) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.depth_log2), { SET(queue.depth_log2, 255) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.producer), { SET(queue.producer, NOWHERE + 8) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.sq), { SET(queue.sq, NOWHERE + 64) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.device), { SET(queue.device, NOWHERE + 2048) } },
	{ QUEUE_CREATE, R_FIELD, TDI_AS_FIELD, OFFSET(queue.cq), { SET(queue.cq, NOWHERE + 1) } },
	{ QUEUE_CREATE, R_ID_1, TDI_AS_ID, 0, { SET(queue.queue, TN_MAX_QUEUES) } },
	{ QUEUE_CREATE, R_ID_1, TDI_AS_EXISTS, 0, { SET(queue.queue, QUEUE) } },
	{ QUEUE_CREATE, R_ID_2, TDI_AS_ID, 0, { SET(queue.context, CONTEXT_NEW) } },
	{ QUEUE_CREATE, R_ID_2, TDI_AS_ID, 0, { SET(queue.context, TN_MAX_CONTEXTS) } },
	{ QUEUE_CREATE, R_GENERATION_2, TDI_AS_GENERATION, 0, { SET(queue.context_generation, 0) } },
	{ QUEUE_CREATE, R_LIMIT, TDI_AS_LIMIT, 0,
	  { SET(queue.context, CONTEXT_FULL), SET(queue.context_generation, CONTEXT_GEN(CONTEXT_FULL)) } },
	{ QUEUE_CREATE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(queue.producer, NOWHERE) } },
	{ QUEUE_CREATE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(queue.sq, NOWHERE) } },
	{ QUEUE_CREATE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(queue.device, NOWHERE) } },
	{ QUEUE_CREATE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(queue.cq, 0xfffffffffffff000) } },
	/* The rings would run over the end of their memory. */
	{ QUEUE_CREATE, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(queue.depth_log2, 7) } },
	{ QUEUE_DESTROY, R_FIELD, TDI_AS_FIELD, OFFSET(destroy.usage), { SET(destroy.usage, NOWHERE + 4) } },
	{ QUEUE_DESTROY, R_ADDRESS, TDI_AS_ADDRESS, 0, { SET(destroy.usage, NOWHERE) } },
	{ QUEUE_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(queue.queue, QUEUE_NEW) } },
	{ QUEUE_DESTROY, R_ID_1, TDI_AS_ID, 0, { SET(queue.queue, TN_MAX_QUEUES) } },
	{ QUEUE_DESTROY, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(generation, QUEUE_GEN(QUEUE) + 1) } },
	{ QUEUE_DESTROY, R_RESERVED, TDI_AS_RESERVED, 0, { SET(queue.context, 1) } },
	{ QUEUE_RESET, R_ID_1, TDI_AS_ID, 0, { SET(queue.queue, QUEUE_NEW) } },
	{ QUEUE_RESET, R_ID_1, TDI_AS_ID, 0, { SET(queue.queue, 0xffffffff) } },
	{ QUEUE_RESET, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(queue.queue, QUEUE_STOPPED) } },
	{ QUEUE_RESET, R_STATE, TDI_AS_STATE, 0, { SET(queue.queue, QUEUE_STOPPED),
						   SET(generation, QUEUE_GEN(QUEUE_STOPPED)) } },
	{ QUEUE_RESET, R_RESERVED, TDI_AS_RESERVED, 0, { SET(queue.cq, 1) } },

	{ MAP_INLINE, R_RESERVED, TDI_AS_RESERVED, 0,
	  { SET(buffer.flags, RW | TDI_BUFFER_INLINE | TDI_BUFFER_LOST) } },
	{ MAP_INLINE, R_RESERVED, TDI_AS_RESERVED, 0, { SET(buffer.flags, 0x80000000 | RW) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.flags), { SET(buffer.flags, TDI_BUFFER_INLINE) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.length), { SET(buffer.length, 0) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.shift), { SET(buffer.shift, 11) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.shift), { SET(buffer.shift, 64) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.first), { SET(buffer.first, 1ULL << 63) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, ANY,
	  { SET(buffer.shift, 12), SET(buffer.first, 1), SET(buffer.length, 4096) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, ANY,
	  { SET(buffer.shift, 63), SET(buffer.first, (1ULL << 63) - 1), SET(buffer.length, ~0ULL) } },
	{ MAP_INLINE, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.address), { SET(buffer.address, NOWHERE + 8) } },
	{ MAP_INLINE, R_ID_1, TDI_AS_ID, 0, { SET(buffer.context, CONTEXT_NEW) } },
	{ MAP_INLINE, R_ID_1, TDI_AS_ID, 0, { SET(buffer.context, TN_MAX_CONTEXTS) } },
	{ MAP_INLINE, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(buffer.context_generation, 0) } },
	{ MAP_INLINE, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, TDI_BUFFER_ID(5, 0)) } },
	{ MAP_INLINE, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, TDI_BUFFER_ID(TN_MAX_BUFFERS, 1)) } },
	{ MAP_INLINE, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, 0xffffffff) } },
	{ MAP_INLINE, R_ID_2, TDI_AS_EXISTS, 0, { SET(buffer.buffer, BUFFER) } },
	{ MAP_INLINE, R_ID_2, TDI_AS_EXISTS, 0, { SET(buffer.buffer, TDI_BUFFER_ID(3, 2)) } },
	{ MAP_INLINE, R_LIMIT, TDI_AS_LIMIT, 0, { SET(buffer.shift, 63),
						  SET(buffer.length, TN_MAX_BUFFER_BYTES + 1) } },

	{ MAP_BLOCKS, R_RESERVED, TDI_AS_RESERVED, 0, { SET(buffer.reserved1, 1) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.flags), { SET(buffer.flags, 0) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.length), { SET(buffer.length, 0) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.shift), { SET(buffer.shift, 0) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.shift), { SET(buffer.shift, 0x100000c) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.first), { SET(buffer.first, 1ULL << 63) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, ANY,
	  { SET(buffer.shift, 12), SET(buffer.first, 4095), SET(buffer.length, ~0ULL - 4094) } },
	{ MAP_BLOCKS, R_FIELD, TDI_AS_FIELD, OFFSET(buffer.address), { SET(buffer.address, NOWHERE + 4) } },
	{ MAP_BLOCKS, R_ID_1, TDI_AS_ID, 0, { SET(buffer.context, CONTEXT_NEW) } },
	{ MAP_BLOCKS, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(buffer.context_generation, 1) } },
	{ MAP_BLOCKS, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, 5) } },
	{ MAP_BLOCKS, R_ID_2, TDI_AS_EXISTS, 0, { SET(buffer.buffer, BUFFER) } },
	{ MAP_BLOCKS, R_LIMIT, TDI_AS_LIMIT, 0, { SET(buffer.length, TN_MAX_BUFFER_BYTES + 1) } },

	{ UNMAP, R_RESERVED, TDI_AS_RESERVED, 0, { SET(buffer.flags, 1) } },
	{ UNMAP, R_ID_1, TDI_AS_ID, 0, { SET(buffer.context, CONTEXT_NEW) } },
	{ UNMAP, R_ID_1, TDI_AS_ID, 0, { SET(buffer.context, TN_MAX_CONTEXTS) } },
	{ UNMAP, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(buffer.context_generation, 0) } },
	{ UNMAP, R_GENERATION_1, TDI_AS_GENERATION, 0, { SET(buffer.context, CONTEXT_EMPTY) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, 0) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, TDI_BUFFER_ID(3, 0)) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, TDI_BUFFER_ID(3, 2)) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, TDI_BUFFER_ID(4, 1)) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.buffer, 0xffffffff) } },
	{ UNMAP, R_ID_2, TDI_AS_ID, 0, { SET(buffer.context, CONTEXT_EMPTY),
					 SET(buffer.context_generation, CONTEXT_GEN(CONTEXT_EMPTY)) } },
};

#define WRONGS (sizeof(wrongs) / sizeof(wrongs[0]))

static void make_wrong(struct tdi_admin_sqe *sqe, const struct wrong *wrong)
{
	size_t i;

	for (i = 0; i < 3; i++)
		memcpy((uint8_t *)sqe + wrong->set[i].offset, &wrong->set[i].to, wrong->set[i].bytes);
}

static bool disjoint(const struct wrong *a, const struct wrong *b)
{
	size_t i, j;

	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++)
			if (a->set[i].bytes && b->set[j].bytes && a->set[i].offset == b->set[j].offset)
				return false;
	return true;
}

/*
 * One thing wrong with a command.
 * [ADM-3, ADM-4, ADM-5, ADM-9, ADM-10, ADM-11, ADM-12, ADM-20, ADM-36, ADM-40]
 * [ADM-41, ADM-42, ADM-45, ADM-46, ADM-47, ADM-49, ADM-55] [ERR-27, ERR-29, ERR-30, ERR-31, ERR-32, ERR-33]
 * [ERR-34, ERR-35, ERR-36]
 */
static void test_wrong(void **state)
{
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;
	size_t i;

	look(h, w, &b);
	for (i = 0; i < WRONGS; i++) {
		struct tdi_admin_sqe sqe = w->form[wrongs[i].form];
		char what[32];

		snprintf(what, sizeof(what), "wrong %zu of the table", i);
		make_wrong(&sqe, &wrongs[i]);
		refused(h, w, &b, &sqe, wrongs[i].status, wrongs[i].info, what);
	}
	snapshot_free(&b.device);
	world_end(w);
}

/* Two things wrong with a command: the status names the first in order. [ADM-4] */
static void test_order(void **state)
{
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;
	size_t i, j, tried = 0;

	look(h, w, &b);
	for (i = 0; i < WRONGS; i++) {
		for (j = 0; j < WRONGS; j++) {
			const struct wrong *first = &wrongs[i], *second = &wrongs[j];
			struct tdi_admin_sqe sqe = w->form[first->form];
			char what[32];

			if (i == j || first->form != second->form || first->rank > second->rank ||
			    !disjoint(first, second))
				continue;
			snprintf(what, sizeof(what), "wrongs %zu and %zu", i, j);
			make_wrong(&sqe, first);
			make_wrong(&sqe, second);
			refused(h, w, &b, &sqe, first->status,
				first->rank == second->rank ? ANY : first->info, what);
			tried++;
		}
	}
	assert_true(tried > 200);
	snapshot_free(&b.device);
	world_end(w);
}

/* [ADM-30, ERR-35]: in this state already. */
static void test_quiesce_twice(void **state)
{
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;

	look(h, w, &b);
	refused(h, w, &b, &w->form[RESUME], TDI_AS_STATE, 0, "not quiesced");
	quiesce(h);
	snapshot_free(&b.device);
	look(h, w, &b);
	refused(h, w, &b, &w->form[QUIESCE], TDI_AS_STATE, 0, "quiesced already");
	/* [ADM-24] */
	admin_ok(h, &w->form[KEEP_ALIVE]);
	resume(h);
	snapshot_free(&b.device);
	look(h, w, &b);
	refused(h, w, &b, &w->form[RESUME], TDI_AS_STATE, 0, "resumed already");
	snapshot_free(&b.device);
	world_end(w);
}

/* [ERR-37] */
static void test_no_memory(void **state)
{
	static const struct {
		enum form form;
		int allocations;
	} cases[] = { { CONTEXT_CREATE, 1 }, { QUEUE_CREATE, 2 }, { MAP_INLINE, 1 } };
	struct host *h = *state;
	struct world *w = world_make(state);
	static struct before b;
	size_t i;
	int n;

	/* Beyond what the table of the context has room for. */
	w->form[MAP_INLINE].buffer.buffer = TDI_BUFFER_ID(1000, 1);
	look(h, w, &b);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (n = 1; n <= cases[i].allocations; n++) {
			struct tdi_admin_cqe cqe;

			fail_alloc = n;
			tn_admin(h->device, &h->space, &w->form[cases[i].form], &cqe);
			assert_int_equal(fail_alloc, 0);
			assert_int_equal(cqe.status, TDI_AS_NO_MEMORY);
			/* The same again is refused for another reason, and has left the same. */
			fail_alloc = n;
			refused(h, w, &b, &w->form[cases[i].form], TDI_AS_NO_MEMORY, 0, "no memory");
		}
	}
	/* [ADM-4]: ADDRESS comes before NO_MEMORY. */
	w->form[QUEUE_CREATE].queue.cq = NOWHERE;
	fail_alloc = 1;
	refused(h, w, &b, &w->form[QUEUE_CREATE], TDI_AS_ADDRESS, 0, "no memory and no ring");
	fail_alloc = 0;
	snapshot_free(&b.device);
	world_end(w);
}

/* -------------------------------------------------------------------------- what is done when it is OK */

/* Each form is in fact valid, so that the refusals above were for the reason they name. [ERR-25] */
static void test_valid(void **state)
{
	static const enum form order[] = {
		IDENTIFY, LOG_GROUP, LOG_QUEUE, LOG_STATUS, LOG_CONTROLLER, LOG_CONTEXT, KEEP_ALIVE, QUIESCE,
		RESUME, GROUP_CREATE, GROUP_MODIFY, GROUP_DESTROY, CONTEXT_CREATE, QUEUE_CREATE, MAP_BLOCKS,
		QUEUE_RESET, CONTEXT_RESET, QUEUE_DESTROY, UNMAP, MAP_INLINE, CONTEXT_DESTROY,
	};
	struct host *h = *state;
	struct world *w = world_make(state);
	struct tdi_admin_sqe sqe;
	size_t i;

	admin_ok(h, &w->form[ABORT]);
	assert_int_equal(reap(&w->queue), TDI_SC_ABORTED);
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		/* Two maps of the same index: the second needs the first gone. */
		if (order[i] == MAP_INLINE)
			unmap(h, CONTEXT, BUFFER_NEW);
		admin_ok(h, &w->form[order[i]]);
	}
	/* [ADM-35] */
	assert_int_equal(h->device->group[GROUP].quantum_ns, 12345);
	/* [ADM-38]: what CONTEXT_DESTROY ended is gone. */
	sqe = cmd_queue(TDI_ADMIN_QUEUE_RESET, QUEUE_STOPPED);
	assert_int_equal(admin(h, &sqe, NULL), TDI_AS_ID);
	sqe = cmd_queue(TDI_ADMIN_QUEUE_RESET, QUEUE_NEW);
	assert_int_equal(admin(h, &sqe, NULL), TDI_AS_ID);
	assert_int_equal(admin(h, &w->form[LOG_CONTEXT], NULL), TDI_AS_ID);

	queue_forget(&w->queue);
	queue_forget(&w->stopped);
	queue_forget(&w->new);
	for (i = 0; i < TDI_CONTEXT_QUEUES; i++)
		queue_close(&w->full[i]);
	queue_free_areas(&w->queue);
	queue_free_areas(&w->stopped);
	queue_free_areas(&w->new);
	area_close(&w->memory);
	free(w);
}

/* Ids and generations of groups, contexts and queues: a new holder of an id isn't reached by old commands. */
static void test_generations(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe group = cmd_group(TDI_ADMIN_GROUP_CREATE, 5);
	struct tdi_admin_sqe context = cmd_context(TDI_ADMIN_CONTEXT_CREATE, 9);
	struct tdi_admin_sqe create, sqe;
	struct queue q;
	uint32_t generation;

	queue_prepare(h, &q, 30, 9, 2);
	create = queue_command(&q);
	for (generation = 0xfffffffe; generation != 3; generation++) {
		/* [ADM-8] */
		group.opcode = TDI_ADMIN_GROUP_CREATE;
		group.generation = generation;
		admin_ok(h, &group);
		context.opcode = TDI_ADMIN_CONTEXT_CREATE;
		context.generation = generation + 10;
		context.context.group = 5;
		context.context.group_generation = generation;
		admin_ok(h, &context);
		create.generation = generation + 20;
		create.queue.context_generation = generation + 10;
		admin_ok(h, &create);

		/* [ADM-9], with the generation of the former holder. */
		sqe = cmd_queue(TDI_ADMIN_QUEUE_DESTROY, 30);
		sqe.generation = generation + 19;
		assert_int_equal(admin(h, &sqe, NULL), TDI_AS_GENERATION);
		sqe.generation++;
		admin_ok(h, &sqe);
		context.context.group = 0;
		context.context.group_generation = 0;
		context.opcode = TDI_ADMIN_CONTEXT_DESTROY;
		context.generation--;
		assert_int_equal(admin(h, &context, NULL), TDI_AS_GENERATION);
		context.generation++;
		admin_ok(h, &context);
		group.opcode = TDI_ADMIN_GROUP_DESTROY;
		group.generation--;
		assert_int_equal(admin(h, &group, NULL), TDI_AS_GENERATION);
		group.generation++;
		admin_ok(h, &group);
	}
	queue_forget(&q);
	queue_free_areas(&q);
}

/* All ids below the limits of IDENTIFY can be had, and can be had again. [ADM-11] */
static void test_limits(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe;
	uint32_t i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < TN_MAX_GROUPS; i++) {
			sqe = cmd_group(TDI_ADMIN_GROUP_CREATE, i);
			assert_int_equal(admin(h, &sqe, NULL), i == 1 ? TDI_AS_EXISTS : TDI_AS_OK);
		}
		for (i = 0; i < TN_MAX_CONTEXTS; i++) {
			sqe = cmd_context(TDI_ADMIN_CONTEXT_CREATE, i);
			assert_int_equal(admin(h, &sqe, NULL), i == 1 ? TDI_AS_EXISTS : TDI_AS_OK);
		}
		for (i = 0; i < TN_MAX_CONTEXTS; i++) {
			sqe = cmd_context(TDI_ADMIN_CONTEXT_DESTROY, i);
			if (i != 1)
				admin_ok(h, &sqe);
		}
		for (i = 0; i < TN_MAX_GROUPS; i++) {
			sqe = cmd_group(TDI_ADMIN_GROUP_DESTROY, i);
			if (i != 1)
				admin_ok(h, &sqe);
		}
	}
}

/* A context that follows on another under the same id has nothing of it. [ADM-37, ADM-38] */
static void test_new_context(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe = cmd_context(TDI_ADMIN_CONTEXT_DESTROY, 1);
	struct tdi_context_status status;
	struct tdi_usage usage;
	struct tdi_sqe command = fill(BUFFER, 0, 8, 1, 8);
	struct area memory;
	struct queue q;

	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, TDI_PAGE_SIZE);
	queue_open(h, &q, 10, 1, 2);
	assert_int_equal(run(&q, &command), TDI_SC_OK);
	admin_ok(h, &sqe);
	queue_forget(&q);
	queue_free_areas(&q);

	context_create(h, 1, 1);
	get_log(h, TDI_LOG_CONTEXT_STATUS, 1, &status, sizeof(status));
	assert_int_equal(status.queues, 0);
	context_usage(h, 1, &usage);
	assert_int_equal(usage.busy_ns, 0);
	assert_int_equal(usage.commands[TDI_OP_FILL], 0);
	sqe = cmd_unmap(1, BUFFER);
	assert_int_equal(admin(h, &sqe, NULL), TDI_AS_ID);
	queue_open(h, &q, 10, 1, 2);
	assert_int_equal(run(&q, &command), TDI_SC_BUFFER_ID);
	queue_close(&q);
	area_close(&memory);
}

/* ------------------------------------------------------------------------------ IDENTIFY and log pages */

static bool zero(const void *from, size_t bytes)
{
	const uint8_t *byte = from;

	while (bytes--)
		if (byte[bytes])
			return false;
	return true;
}

/* NUL padded to the end. */
static void assert_text(const uint8_t *text, size_t room, const char *is)
{
	assert_memory_equal(text, is, strlen(is));
	assert_true(zero(text + strlen(is), room - strlen(is)));
}

/* [VER-1, NEG-4, NEG-6, CON-3] */
static void test_identify(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };
	struct tdi_identify id;

	memset(h->data.host, 0xee, h->data.bytes);
	sqe.data.address = h->data.address;
	sqe.data.bytes = sizeof(id);
	admin_ok(h, &sqe);
	memcpy(&id, h->data.host, sizeof(id));
	assert_int_equal(id.version, 0x00000002);
	assert_int_equal(id.vendor, 0);
	assert_int_equal(id.device, 0);
	assert_int_equal(id.features, TDI_F_TENSOR);
	assert_int_equal(id.opcodes[0], 0x1001f);
	assert_true(zero(&id.opcodes[1], 3 * sizeof(id.opcodes[0])));
	assert_int_equal(id.max_groups, TN_MAX_GROUPS);
	assert_int_equal(id.max_contexts, TN_MAX_CONTEXTS);
	assert_int_equal(id.max_queues, TN_MAX_QUEUES);
	assert_int_equal(id.max_eqs, 0);
	assert_int_equal(id.max_buffers, TN_MAX_BUFFERS);
	assert_int_equal(id.max_depth_log2, 15);
	assert_int_equal(id.units, 1);
	assert_int_equal(id.max_buffer_bytes, TN_MAX_BUFFER_BYTES);
	assert_int_equal(id.max_wait_ns, TN_MAX_WAIT_NS);
	assert_true(id.granularity_ns && id.granularity_ns <= id.quantum_ns);
	assert_int_equal(id.quantum_ns, TN_QUANTUM_NS);
	assert_int_equal(id.memory_bytes, 0);
	assert_text(id.serial, sizeof(id.serial), "7");
	assert_text(id.model, sizeof(id.model), "Tenon reference engine");
	assert_true(id.firmware[0] && !id.firmware[sizeof(id.firmware) - 1]);
	assert_true(zero(id.reserved, sizeof(id.reserved)));
}

/* Pages are cut to what was asked for, and nothing is written beyond them. [ADM-19] */
static void test_cut(void **state)
{
	static const struct {
		uint32_t page, id, generation;
		size_t bytes;
	} pages[] = {
		{ 0, 0, 0, sizeof(struct tdi_identify) },
		{ TDI_LOG_GROUP_USAGE, 1, GROUP_GEN(1), sizeof(struct tdi_usage) },
		{ TDI_LOG_QUEUE_USAGE, 10, QUEUE_GEN(10), sizeof(struct tdi_usage) },
		{ TDI_LOG_CONTEXT_STATUS, 1, CONTEXT_GEN(1), sizeof(struct tdi_context_status) },
		{ TDI_LOG_CONTROLLER, 0, 0, sizeof(struct tdi_controller_log) },
		{ TDI_LOG_CONTEXT_USAGE, 1, CONTEXT_GEN(1), sizeof(struct tdi_usage) },
	};
	struct host *h = *state;
	struct tdi_sqe command = nop();
	struct queue q;
	uint8_t whole[TDI_PAGE_SIZE];
	size_t i, bytes;

	queue_open(h, &q, 10, 1, 2);
	assert_int_equal(run(&q, &command), TDI_SC_OK);
	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		struct tdi_admin_sqe sqe = { .opcode = i ? TDI_ADMIN_GET_LOG : TDI_ADMIN_IDENTIFY,
					     .generation = pages[i].generation,
					     .data = { .page = pages[i].page, .id = pages[i].id,
						       .address = h->data.address, .bytes = 0xffffffff } };

		/* More than the page: no more than the page is written. */
		memset(h->data.host, 0xee, h->data.bytes);
		admin_ok(h, &sqe);
		memcpy(whole, h->data.host, sizeof(whole));
		for (bytes = pages[i].bytes; bytes < h->data.bytes; bytes++)
			assert_int_equal(h->data.host[bytes], 0xee);
		/* Less: a prefix of it, also at an odd address, up to the end of the memory. */
		for (bytes = 0; bytes <= pages[i].bytes; bytes += bytes < 16 ? 1 : 61) {
			sqe.data.bytes = (uint32_t)bytes;
			sqe.data.address = h->data.address + h->data.bytes - bytes;
			memset(h->data.host, 0xee, h->data.bytes);
			admin_ok(h, &sqe);
			assert_memory_equal(h->data.host + h->data.bytes - bytes, whole, bytes);
			assert_int_equal(h->data.host[h->data.bytes - bytes - 1], 0xee);
		}
		/* One byte beyond it. */
		sqe.data.bytes = (uint32_t)pages[i].bytes;
		sqe.data.address = h->data.address + h->data.bytes - pages[i].bytes + 1;
		assert_int_equal(admin(h, &sqe, NULL), TDI_AS_ADDRESS);
	}
	queue_close(&q);
}

/* Each queue once, with its state, reason and index. [ADM-22] */
static void test_context_status(void **state)
{
	struct host *h = *state;
	struct tdi_context_status status;
	struct queue q[5];
	uint32_t i, j;

	for (i = 0; i < 5; i++)
		queue_open(h, &q[i], 40 + i, 1, 3);
	for (i = 0; i < 5; i++) {
		for (j = 0; j < i; j++) {
			struct tdi_sqe command = nop();

			assert_int_equal(run(&q[i], &command), TDI_SC_OK);
		}
	}
	q[2].producer->tail--;
	queue_kick(&q[2]);
	until(__atomic_load_n(&q[2].stopped, __ATOMIC_ACQUIRE));
	queue_close(&q[1]);

	get_log(h, TDI_LOG_CONTEXT_STATUS, 1, &status, sizeof(status));
	assert_int_equal(status.queues, 4);
	assert_int_equal(status.lost_buffers, 0);
	assert_int_equal(status.reserved, 0);
	for (i = 0; i < 5; i++) {
		uint32_t found = 0;

		for (j = 0; j < status.queues; j++) {
			const struct tdi_queue_status *s = &status.queue[j];

			if (s->queue != 40 + i)
				continue;
			found++;
			assert_int_equal(s->state, i == 2 ? TDI_QUEUE_STOPPED : TDI_QUEUE_RUNNING);
			assert_int_equal(s->reason, i == 2 ? TDI_STOP_TAIL_AHEAD : TDI_STOP_NONE);
			assert_int_equal(s->completed, q[i].first + i);
			assert_int_equal(s->reserved0, 0);
			assert_int_equal(s->reserved1, 0);
		}
		assert_int_equal(found, i != 1);
	}
	assert_true(zero(&status.queue[4], sizeof(status) - offsetof(struct tdi_context_status, queue[4])));
	for (i = 0; i < 5; i++)
		if (i != 1)
			queue_close(&q[i]);
}

/* A log page has every command whose CQE could be seen. [ADM-21] */
static void test_log_is_current(void **state)
{
	struct host *h = *state;
	struct tdi_usage queue, context, group;
	struct queue q;
	uint64_t i;

	queue_open(h, &q, 10, 1, 4);
	for (i = 1; i <= 500; i++) {
		struct tdi_sqe command = nop();
		uint32_t index = submit(&q, &command);

		while (!completed(&q, index))
			;
		queue_usage(h, 10, &queue);
		assert_int_equal(queue.commands[TDI_OP_NOP], i);
		context_usage(h, 1, &context);
		assert_int_equal(context.commands[TDI_OP_NOP], i);
		group_usage(h, 1, &group);
		assert_int_equal(group.commands[TDI_OP_NOP], i);
		assert_int_equal(queue_status(&q).completed, index + 1);
		reap(&q);
	}
	queue_close(&q);
}

/* KEEP_ALIVE is answered while the device has all to do, and changes nothing. [ADM-24] */
static void test_keep_alive(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_KEEP_ALIVE };
	struct endless e;
	struct tdi_sqe command;
	struct queue q;
	int i;

	endless_open(h, &e, 1, BUFFER);
	command = endless_fill(&e, 1);
	queue_open(h, &q, 10, 1, 2);
	until_begun(&q, submit(&q, &command));
	for (i = 0; i < 100; i++) {
		uint64_t since = now_ns();

		admin_ok(h, &sqe);
		assert_true(now_ns() - since < 1000000000);
	}
	assert_false(completed(&q, q.head));
	sqe = cmd_abort(10, q.head);
	admin_ok(h, &sqe);
	assert_int_equal(reap(&q), TDI_SC_ABORTED);
	queue_close(&q);
	endless_close(&e);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_REAL(test_reserved),
		TEST_REAL(test_opcode),
		TEST_REAL(test_wrong),
		TEST_REAL(test_order),
		TEST_REAL(test_quiesce_twice),
		TEST_REAL(test_no_memory),
		TEST_REAL(test_valid),
		TEST_REAL(test_generations),
		TEST_REAL(test_limits),
		TEST_REAL(test_new_context),
		TEST_REAL(test_identify),
		TEST_REAL(test_cut),
		TEST_REAL(test_context_status),
		TEST_REAL(test_log_is_current),
		TEST_REAL(test_keep_alive),
	};

	return run_group("admin", tests, sizeof(tests) / sizeof(tests[0]));
}
