// SPDX-License-Identifier: MIT
/*
 * Admin commands, but for those that only read (log.c): one function each, checks first, then the change; a
 * refused command changes nothing. The order of checks is that of [ADM-4].
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "mutant.h"

/* Entries that an event queue keeps for each object: one for each type of event. [EVQ-8] */
#define EQ_PER_QUEUE	2
#define EQ_PER_CONTEXT	2
#define EQ_CONTROLLER	2

int tn_admin_field(struct admin *admin, size_t offset)
{
	admin->cqe->info = (__u32)offset;
	return TDI_AS_FIELD;
}

bool tn_admin_zero_from(const struct tdi_admin_sqe *sqe, size_t offset)
{
	const __u8 *byte = (const __u8 *)sqe;
	size_t i;

	for (i = offset; i < sizeof(*sqe); i++)
		if (byte[i])
			return false;
	return true;
}

void *tn_admin_find(const struct admin *admin, enum object kind, uint32_t id, uint32_t generation,
		    int *status)
{
	struct tn_device *device = admin->device;
	void *object = NULL;
	uint32_t current = 0;

	switch (kind) {
	case GROUP:
		if (id < TN_MAX_GROUPS && device->group[id].live) {
			object = &device->group[id];
			current = device->group[id].generation;
		}
		break;
	case CONTEXT:
		if (id < TN_MAX_CONTEXTS && device->context[id]) {
			object = device->context[id];
			current = device->context[id]->generation;
		}
		break;
	case QUEUE:
		if (id < TN_MAX_QUEUES && device->queue[id]) {
			object = device->queue[id];
			current = device->queue[id]->generation;
		}
		break;
	}
	*status = TDI_AS_OK;
	if (!object)
		*status = TDI_AS_ID;
	else if (current != generation && !MUTANT(admin_generation))
		*status = TDI_AS_GENERATION;
	return *status ? NULL : object;
}

/* Of GROUP_DESTROY, CONTEXT_DESTROY and QUEUE_DESTROY. */
static int destroy_fields(struct admin *admin)
{
	const struct tdi_admin_destroy *command = &admin->sqe->destroy;

	if (command->reserved0 || !ZERO_AFTER(admin->sqe, destroy.usage))
		return TDI_AS_RESERVED;
	if (command->usage % 8)
		return FIELD(admin, destroy.usage);
	return TDI_AS_OK;
}

/* --------------------------------------------------------------------------------- groups */

static int group_fields(struct admin *admin)
{
	const struct tdi_admin_group *group = &admin->sqe->group;

	if (group->reserved0 || !ZERO_AFTER(admin->sqe, group.units))
		return TDI_AS_RESERVED;
	if (!(admin->device->accepted & TDI_F_FAIR))
		return group->weight || group->priority || group->busy_max_ns || group->busy_period_ns ||
		       group->units ? TDI_AS_RESERVED : TDI_AS_OK;
	if (MUTANT(group_fields))
		return TDI_AS_OK;
	if (!group->weight || group->weight > TDI_WEIGHT_MAX)
		return FIELD(admin, group.weight);
	if (group->priority > TDI_PRIORITY_REALTIME)
		return FIELD(admin, group.priority);
	if (!group->busy_max_ns != !group->busy_period_ns)
		return FIELD(admin, group.busy_max_ns);
	if (group->units > admin->device->options.workers)
		return FIELD(admin, group.units);
	return TDI_AS_OK;
}

static void group_set(struct admin *admin, struct tn_group *group)
{
	const struct tdi_admin_group *to = &admin->sqe->group;
	struct tn_device *device = admin->device;

	group->quantum_ns = to->quantum_ns ? to->quantum_ns : TN_QUANTUM_NS;
	group->max_command_ns = to->max_command_ns;
	if (device->accepted & TDI_F_FAIR) {
		tn_arbiter_set(group, to, tn_device_now(device));
		if (!MUTANT(modify_wake))
			tn_device_wake(device);	/* somebody sleeps for want of tokens, perhaps */
	}
}

static int group_create(struct admin *admin)
{
	const struct tdi_admin_group *command = &admin->sqe->group;
	struct tn_group *group;
	int status = group_fields(admin);

	if (status)
		return status;
	if (command->group >= TN_MAX_GROUPS)
		return TDI_AS_ID;
	group = &admin->device->group[command->group];
	if (group->live)
		return TDI_AS_EXISTS;
	memset(group, 0, sizeof(*group));
	group->live = true;
	group->generation = admin->sqe->generation;
	tn_arbiter_init(admin->device, group);
	group_set(admin, group);
	return TDI_AS_OK;
}

static int group_modify(struct admin *admin)
{
	struct tn_group *group;
	int status = group_fields(admin);

	if (!status)
		group = tn_admin_find(admin, GROUP, admin->sqe->group.group, admin->sqe->generation, &status);
	if (!status)
		group_set(admin, group);
	return status;
}

static int group_destroy(struct admin *admin)
{
	struct tn_group *group;
	int status = destroy_fields(admin);

	if (!status)
		group = tn_admin_find(admin, GROUP, admin->sqe->destroy.id, admin->sqe->generation, &status);
	if (status)
		return status;
	if (group->contexts && !MUTANT(group_busy))
		return TDI_AS_BUSY;
	status = tn_admin_last_usage(admin, &group->usage);
	if (status)
		return status;
	if (!MUTANT(usage_of_group))
		admin->device->log.busy_ns += group->usage.busy_ns; /* the controller's sum never goes back */
	group->live = false;
	return TDI_AS_OK;
}

/* --------------------------------------------------------------------------------- queues */

static void views_close(struct tn_view *view)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		tn_view_close(&view[i]);
}

/* Reach the four areas of a queue, each in one piece. */
static int views_open(struct admin *admin, uint32_t depth, struct tn_view *view)
{
	const struct tdi_admin_queue *command = &admin->sqe->queue;
	const struct {
		uint64_t address, bytes;
		uint32_t rights;
	} area[] = {
		{ command->producer, sizeof(struct tdi_producer_page), TDI_BUFFER_READ },
		{ command->sq, depth * sizeof(struct tdi_sqe), TDI_BUFFER_READ },
		{ command->device, sizeof(struct tdi_device_page), TDI_BUFFER_WRITE },
		{ command->cq, depth * sizeof(struct tdi_cqe), TDI_BUFFER_WRITE },
	};
	unsigned int i;

	memset(view, 0, 4 * sizeof(*view));
	for (i = 0; i < 4; i++) {
		int error = tn_view_open(admin->space, area[i].address, area[i].bytes, area[i].rights,
					 &view[i]);

		if (!error)
			continue;
		views_close(view);
		return error == -ENOMEM ? TDI_AS_NO_MEMORY : TDI_AS_ADDRESS;
	}
	return TDI_AS_OK;
}

static int queue_create(struct admin *admin)
{
	const struct tdi_admin_queue *command = &admin->sqe->queue;
	struct tn_device *device = admin->device;
	struct tn_context *context;
	struct tn_queue *queue;
	struct tn_eq *eq = NULL;
	struct tn_view view[4];
	uint64_t *aborts;
	uint32_t depth;
	int status;

	if (command->flags ||
	    (!(device->accepted & TDI_F_EVENT_QUEUES) && (command->eq || command->moderation_ns)))
		return TDI_AS_RESERVED;
	if (command->depth_log2 > TN_MAX_DEPTH_LOG2)
		return FIELD(admin, queue.depth_log2);
	if (command->producer % TDI_PAGE_SIZE)
		return FIELD(admin, queue.producer);
	if (command->sq % TDI_PAGE_SIZE)
		return FIELD(admin, queue.sq);
	if (command->device % TDI_PAGE_SIZE)
		return FIELD(admin, queue.device);
	if (command->cq % TDI_PAGE_SIZE)
		return FIELD(admin, queue.cq);
	if (command->queue >= device->options.max_queues)
		return TDI_AS_ID;
	if (device->queue[command->queue])
		return TDI_AS_EXISTS;
	context = tn_admin_find(admin, CONTEXT, command->context, command->context_generation, &status);
	if (status)
		return status;
	if (device->accepted & TDI_F_EVENT_QUEUES) {
		if (command->eq >= TN_MAX_EQS || !device->events.eq[command->eq].live)
			return TDI_AS_ID;
		eq = &device->events.eq[command->eq];
	}
	if ((context->queue_count == TDI_CONTEXT_QUEUES && !MUTANT(queue_limit)) ||
	    !tn_eq_reserve(device, eq, EQ_PER_QUEUE))
		return TDI_AS_LIMIT;
	if (MUTANT(queue_context))
		context = device->context[0];

	depth = 1u << command->depth_log2;
	status = views_open(admin, depth, view);
	if (status) {
		tn_eq_unreserve(device, eq, EQ_PER_QUEUE);
		return status;
	}
	queue = calloc(1, sizeof(*queue));
	aborts = calloc((depth + 63) / 64, sizeof(*aborts));
	if (!queue || !aborts) {
		tn_eq_unreserve(device, eq, EQ_PER_QUEUE);
		views_close(view);
		free(aborts);
		free(queue);
		return TDI_AS_NO_MEMORY;
	}
	memcpy(queue->view, view, sizeof(view));
	queue->producer = view[0].host;
	queue->sq = view[1].host;
	queue->page = view[2].host;
	queue->cq = view[3].host;
	queue->aborts = aborts;
	queue->depth = depth;
	queue->context = context;
	queue->id = command->queue;
	queue->generation = admin->sqe->generation;
	queue->mask = depth - 1;
	queue->done = command->first;
	queue->noticed = command->first;
	queue->state = TDI_QUEUE_RUNNING;
	queue->spin_ns = device->options.spin_ns;
	tn_list_init(&queue->active);
	tn_list_init(&queue->park);
	tn_latch_init(&queue->due, TDI_EVENT_DUE, queue->id, eq, command->moderation_ns);
	tn_latch_init(&queue->stopped, TDI_EVENT_STOPPED, queue->id, eq, 0);
	tn_context_hold(context);
	tn_list_add_tail(&context->queues, &queue->member);
	context->queue_count++;
	device->queue[queue->id] = queue;
	/* The tail is read as if a doorbell had rung. [QUE-9] */
	if (!MUTANT(create_tail))
		tn_queue_activate(queue, tn_device_now(device));
	if (context->stopped && !MUTANT(stop_later))
		tn_context_stop(context, tn_device_now(device));
	tn_context_release(context);
	return TDI_AS_OK;
}

/* With the context held. While fenced its CQ can't be reached. */
static void end(struct tn_queue *queue)
{
	struct tn_device *device = queue->context->device;

	if (!device->fenced)
		tn_queue_end_current(queue, TDI_SC_ABORTED, tn_device_now(device));
}

static void end_all(struct tn_context *context)
{
	struct tn_list *node;

	for (node = context->queues.next; node != &context->queues; node = node->next)
		end(tn_entry(node, struct tn_queue, member));
}

/* With the context held. */
static void queue_free(struct tn_queue *queue)
{
	struct tn_context *context = queue->context;

	end(queue);
	tn_list_del(&queue->park);
	tn_arbiter_remove(queue);
	tn_latch_drop(context->device, &queue->due);
	tn_latch_drop(context->device, &queue->stopped);
	tn_eq_unreserve(context->device, queue->due.eq, EQ_PER_QUEUE);
	if (!MUTANT(usage_of_queue))
		tn_usage_add(&context->usage, &queue->usage);
	tn_list_del(&queue->member);
	context->queue_count--;
	context->device->queue[queue->id] = NULL;
	views_close(queue->view);
	free(queue->aborts);
	free(queue);
}

static int queue_destroy(struct admin *admin)
{
	struct tn_context *context;
	struct tn_queue *queue;
	int status = destroy_fields(admin);

	if (!status)
		queue = tn_admin_find(admin, QUEUE, admin->sqe->destroy.id, admin->sqe->generation, &status);
	if (!status)
		status = tn_admin_last_usage(admin, NULL);
	if (status)
		return status;
	context = queue->context;
	if (!MUTANT(destroy_waits))
		tn_context_hold(context);
	if (!MUTANT(last_usage))
		end(queue);
	tn_admin_last_usage(admin, &queue->usage);
	queue_free(queue);
	if (!MUTANT(destroy_waits))
		tn_context_release(context);
	return TDI_AS_OK;
}

static int queue_reset(struct admin *admin)
{
	struct tn_queue *queue;
	int status;

	if (!ZERO_AFTER(admin->sqe, queue.queue))
		return TDI_AS_RESERVED;
	queue = tn_admin_find(admin, QUEUE, admin->sqe->queue.queue, admin->sqe->generation, &status);
	if (status)
		return status;
	if (queue->state != TDI_QUEUE_RUNNING)
		return TDI_AS_STATE;
	tn_context_hold(queue->context);
	if (MUTANT(reset_alone))
		end_all(queue->context);
	tn_queue_end_current(queue, TDI_SC_ABORTED, tn_device_now(admin->device));
	tn_context_release(queue->context);
	return TDI_AS_OK;
}

static int abort_command(struct admin *admin)
{
	const struct tdi_admin_abort *command = &admin->sqe->abort;
	struct tn_queue *queue;
	uint32_t ahead, submitted;
	int status;

	if (!ZERO_AFTER(admin->sqe, abort.index))
		return TDI_AS_RESERVED;
	queue = tn_admin_find(admin, QUEUE, command->queue, admin->sqe->generation, &status);
	if (status)
		return status;
	tn_context_hold(queue->context);
	ahead = command->index - queue->done;
	/* A stopped queue's pages may be gone. */
	submitted = queue->state == TDI_QUEUE_RUNNING ?
		tenon_load_acquire(&queue->producer->tail) - queue->done : 0;
	if (submitted > queue->depth || ahead >= submitted) {
		status = TDI_AS_NOT_FOUND;
	} else if (!ahead && queue->begun && !MUTANT(abort_begun)) {
		tn_queue_end_current(queue, TDI_SC_ABORTED, tn_device_now(admin->device));
	} else {
		uint32_t slot = command->index & queue->mask;

		queue->aborts[slot / 64] |= 1ULL << (slot % 64);
	}
	tn_context_release(queue->context);
	return status;
}

/* --------------------------------------------------------------------------- event queues */

static int eq_create(struct admin *admin)
{
	const struct tdi_admin_eq *command = &admin->sqe->eq;
	struct tn_device *device = admin->device;
	uint32_t depth = 1u << (command->depth_log2 & 31);
	struct tn_view ring;
	struct tn_eq *eq;
	int error;

	if (admin->sqe->generation || !ZERO_AFTER(admin->sqe, eq.moderation_ns))
		return TDI_AS_RESERVED;
	if (command->depth_log2 > TDI_DEPTH_LOG2_MAX)
		return FIELD(admin, eq.depth_log2);
	if (command->address % TDI_PAGE_SIZE)
		return FIELD(admin, eq.address);
	if (command->vector >= device->options.vectors)
		return FIELD(admin, eq.vector);
	if (command->eq >= TN_MAX_EQS)
		return TDI_AS_ID;
	eq = &device->events.eq[command->eq];
	if (eq->live)
		return TDI_AS_EXISTS;
	if (!command->eq && depth < EQ_CONTROLLER)
		return TDI_AS_LIMIT;
	error = tn_view_open(admin->space, command->address, depth * sizeof(struct tdi_event),
			     TDI_BUFFER_WRITE, &ring);
	if (error)
		return error == -ENOMEM ? TDI_AS_NO_MEMORY : TDI_AS_ADDRESS;
	memset(eq, 0, sizeof(*eq));
	eq->owner = calloc(depth, sizeof(struct tn_latch *));
	if (!eq->owner) {
		tn_view_close(&ring);
		return TDI_AS_NO_MEMORY;
	}
	tn_list_init(&eq->delayed);
	eq->ring = ring;
	eq->mask = depth - 1;
	eq->vector = command->vector;
	eq->moderation_ns = command->moderation_ns;
	eq->head = TDI_FIRST_INDEX(depth);
	eq->written = eq->head;
	if (!command->eq) {
		eq->reserved = EQ_CONTROLLER;
		tn_latch_init(&device->events.error, TDI_EVENT_ERROR, 0, eq, 0);
	}
	eq->live = true;
	return TDI_AS_OK;
}

static int eq_destroy(struct admin *admin)
{
	struct tn_device *device = admin->device;
	uint32_t id = admin->sqe->eq.eq;

	if (admin->sqe->generation || !ZERO_AFTER(admin->sqe, eq.eq))
		return TDI_AS_RESERVED;
	if (id >= TN_MAX_EQS || !device->events.eq[id].live)
		return TDI_AS_ID;
	if (device->events.eq[id].reserved > (id ? 0 : EQ_CONTROLLER))
		return TDI_AS_BUSY;
	tn_eq_free(device, &device->events.eq[id]);
	return TDI_AS_OK;
}

/* ------------------------------------------------------------------------------- contexts */

static int context_create(struct admin *admin)
{
	const struct tdi_admin_context *command = &admin->sqe->context;
	struct tn_eq *eq = NULL;
	struct tn_context *context;
	struct tn_group *group;
	int status;

	if (!ZERO_AFTER(admin->sqe, context.group_generation))
		return TDI_AS_RESERVED;
	if (command->context >= TN_MAX_CONTEXTS)
		return TDI_AS_ID;
	if (admin->device->context[command->context])
		return TDI_AS_EXISTS;
	group = tn_admin_find(admin, GROUP, command->group, command->group_generation, &status);
	if (status)
		return status;
	if (admin->device->accepted & TDI_F_EVENT_QUEUES) {
		eq = &admin->device->events.eq[0];
		if (!eq->live)
			return TDI_AS_STATE;
		if (!tn_eq_reserve(admin->device, eq, EQ_PER_CONTEXT))
			return TDI_AS_LIMIT;
	}
	context = calloc(1, sizeof(*context));
	if (!context) {
		tn_eq_unreserve(admin->device, eq, EQ_PER_CONTEXT);
		return TDI_AS_NO_MEMORY;
	}
	context->device = admin->device;
	context->id = command->context;
	context->generation = admin->sqe->generation;
	context->group = group;
	context->peers = admin->device->accepted & TDI_F_FAIR || MUTANT(always_fair) ? group :
			 &admin->device->all;
	context->table.space = admin->space;
	tn_latch_init(&context->fault, TDI_EVENT_FAULT, context->id, eq, 0);
	tn_latch_init(&context->hang, TDI_EVENT_HANG, context->id, eq, 0);
	tn_list_init(&context->queues);
	tn_list_init(&context->active);
	tn_list_init(&context->turn);
	group->contexts++;
	admin->device->context[context->id] = context;
	return TDI_AS_OK;
}

/* With the context held. */
static void context_free(struct tn_context *context)
{
	struct tn_device *device = context->device;

	while (!tn_list_empty(&context->queues))
		queue_free(tn_entry(context->queues.next, struct tn_queue, member));
	tn_latch_drop(device, &context->fault);
	tn_latch_drop(device, &context->hang);
	tn_eq_unreserve(device, context->fault.eq, EQ_PER_CONTEXT);
	device->context[context->id] = NULL;
	if (!MUTANT(usage_of_context))
		tn_usage_add(&context->group->usage, &context->usage);
	context->group->contexts--;
	free(context->table.map);
	free(context);
}

static int context_destroy(struct admin *admin)
{
	struct tdi_usage usage = { 0 };
	struct tn_context *context;
	int status = destroy_fields(admin);

	if (!status)
		context = tn_admin_find(admin, CONTEXT, admin->sqe->destroy.id, admin->sqe->generation,
					&status);
	if (!status)
		status = tn_admin_last_usage(admin, NULL);
	if (status)
		return status;
	if (!MUTANT(context_waits))
		tn_context_hold(context);
	end_all(context);
	tn_context_usage(context, &usage);
	tn_admin_last_usage(admin, &usage);
	context_free(context);
	return TDI_AS_OK;
}

static int context_reset(struct admin *admin)
{
	struct tn_context *context;
	int status;

	if (!ZERO_AFTER(admin->sqe, context.context))
		return TDI_AS_RESERVED;
	context = tn_admin_find(admin, CONTEXT, admin->sqe->context.context, admin->sqe->generation, &status);
	if (status)
		return status;
	tn_context_hold(context);
	end_all(context);
	tn_context_release(context);
	return TDI_AS_OK;
}

/* -------------------------------------------------------------------------------- buffers */

static int buffer_fields(struct admin *admin)
{
	const struct tdi_admin_buffer *command = &admin->sqe->buffer;
	uint64_t end, block;

	if (admin->sqe->generation || command->reserved0 || command->reserved1)
		return TDI_AS_RESERVED;
	if (command->flags & ~(TDI_BUFFER_READ | TDI_BUFFER_WRITE | TDI_BUFFER_INLINE))
		return TDI_AS_RESERVED;
	if (!(command->flags & (TDI_BUFFER_READ | TDI_BUFFER_WRITE)))
		return FIELD(admin, buffer.flags);
	if (command->shift < TDI_PAGE_SHIFT || command->shift > 63)
		return FIELD(admin, buffer.shift);
	block = 1ULL << command->shift;
	if (!command->length)
		return FIELD(admin, buffer.length);
	if (command->first >= block || __builtin_add_overflow(command->first, command->length, &end))
		return FIELD(admin, buffer.first);
	if (command->flags & TDI_BUFFER_INLINE && end > block)
		return FIELD(admin, buffer.length);
	if (command->address % (command->flags & TDI_BUFFER_INLINE ? TDI_PAGE_SIZE : 8))
		return FIELD(admin, buffer.address);
	return TDI_AS_OK;
}

static int buffer_map(struct admin *admin)
{
	const struct tdi_admin_buffer *command = &admin->sqe->buffer;
	uint32_t index = TDI_BUFFER_INDEX(command->buffer), maps;
	struct tn_context *context;
	struct tn_map *map;
	int status = buffer_fields(admin);

	if (!status)
		context = tn_admin_find(admin, CONTEXT, command->context, command->context_generation,
					&status);
	if (status)
		return status;
	if (MUTANT(buffer_context))
		context = admin->device->context[1];
	if (!TDI_BUFFER_GEN(command->buffer) || index >= TN_MAX_BUFFERS)
		return TDI_AS_ID;
	if (index < context->table.maps && context->table.map[index].id)
		return TDI_AS_EXISTS;
	if (command->length > TN_MAX_BUFFER_BYTES)
		return TDI_AS_LIMIT;
	tn_context_hold(context);
	maps = context->table.maps;
	if (index >= maps) {
		uint32_t room = maps ? maps : 16;

		while (room <= index)
			room *= 2;
		map = reallocarray(context->table.map, room, sizeof(*map));
		if (!map) {
			tn_context_release(context);
			return TDI_AS_NO_MEMORY;
		}
		memset(&map[maps], 0, (room - maps) * sizeof(*map));
		context->table.map = map;
		context->table.maps = room;
	}
	context->table.map[index] = (struct tn_map){
		.id = command->buffer,
		.flags = command->flags,
		.length = command->length,
		.first = command->first,
		.address = command->address,
		.shift = command->shift,
	};
	tn_context_release(context);
	return TDI_AS_OK;
}

static int buffer_unmap(struct admin *admin)
{
	const struct tdi_admin_buffer *command = &admin->sqe->buffer;
	uint32_t index = TDI_BUFFER_INDEX(command->buffer);
	uint64_t now = tn_device_now(admin->device);
	struct tn_context *context;
	struct tn_list *node;
	int status;

	if (admin->sqe->generation || !ZERO_AFTER(admin->sqe, buffer.buffer))
		return TDI_AS_RESERVED;
	context = tn_admin_find(admin, CONTEXT, command->context, command->context_generation, &status);
	if (status)
		return status;
	if (!command->buffer || index >= context->table.maps ||
	    context->table.map[index].id != command->buffer)
		return TDI_AS_ID;
	/* No worker is in the context after this, so none has a pointer into the buffer. [EOA-1] */
	if (!MUTANT(unmap_waits))
		tn_context_hold(context);
	if (!MUTANT(unmap))
		memset(&context->table.map[index], 0, sizeof(context->table.map[index]));
	/* A WAIT on it must end. */
	for (node = context->queues.next; node != &context->queues; node = node->next) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, member);

		if (queue->parked && !MUTANT(unmap_wakes))
			tn_queue_unpark(queue, now);
	}
	if (!MUTANT(unmap_waits))
		tn_context_release(context);
	return TDI_AS_OK;
}

/* ----------------------------------------------------------------------------- controller */

static int keep_alive(struct admin *admin)
{
	if (admin->sqe->generation || !tn_admin_zero_from(admin->sqe, offsetof(struct tdi_admin_sqe, raw)))
		return TDI_AS_RESERVED;
	return TDI_AS_OK;
}

static int quiesce(struct admin *admin)
{
	int status = keep_alive(admin);	/* no fields either */
	uint32_t i;

	if (status)
		return status;
	if (admin->device->quiesced)
		return TDI_AS_STATE;
	admin->device->quiesced = true;
	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		if (!admin->device->context[i])
			continue;
		tn_context_hold(admin->device->context[i]);
		tn_context_release(admin->device->context[i]);
	}
	tn_events_pause(admin->device, true);
	return TDI_AS_OK;
}

static int resume(struct admin *admin)
{
	struct tn_device *device = admin->device;
	int status = keep_alive(admin);
	uint32_t i;

	if (status)
		return status;
	if (!device->quiesced)
		return TDI_AS_STATE;
	device->quiesced = false;
	tn_events_pause(device, device->fenced);
	for (i = 0; i < TN_MAX_QUEUES; i++)
		if (device->queue[i] && !MUTANT(resume_tails))
			tn_device_kick(device, i, device->queue[i]->generation);
	tn_device_wake(device);
	return TDI_AS_OK;
}

/* Opcodes of features that aren't offered are unknown. */
static int (*const handler[])(struct admin *admin) = {
	[TDI_ADMIN_IDENTIFY] = tn_admin_identify,
	[TDI_ADMIN_GET_LOG] = tn_admin_get_log,
	[TDI_ADMIN_KEEP_ALIVE] = keep_alive,
	[TDI_ADMIN_ABORT] = abort_command,
	[TDI_ADMIN_QUIESCE] = quiesce,
	[TDI_ADMIN_RESUME] = resume,
	[TDI_ADMIN_EQ_CREATE] = eq_create,
	[TDI_ADMIN_EQ_DESTROY] = eq_destroy,
	[TDI_ADMIN_GROUP_CREATE] = group_create,
	[TDI_ADMIN_GROUP_MODIFY] = group_modify,
	[TDI_ADMIN_GROUP_DESTROY] = group_destroy,
	[TDI_ADMIN_CONTEXT_CREATE] = context_create,
	[TDI_ADMIN_CONTEXT_DESTROY] = context_destroy,
	[TDI_ADMIN_CONTEXT_RESET] = context_reset,
	[TDI_ADMIN_QUEUE_CREATE] = queue_create,
	[TDI_ADMIN_QUEUE_DESTROY] = queue_destroy,
	[TDI_ADMIN_QUEUE_RESET] = queue_reset,
	[TDI_ADMIN_BUFFER_MAP] = buffer_map,
	[TDI_ADMIN_BUFFER_UNMAP] = buffer_unmap,
};

static int run(struct admin *admin)
{
	unsigned int opcode = admin->sqe->opcode;

	if (opcode >= sizeof(handler) / sizeof(handler[0]) || !handler[opcode])
		return TDI_AS_OPCODE;
	if ((opcode == TDI_ADMIN_EQ_CREATE || opcode == TDI_ADMIN_EQ_DESTROY) &&
	    !(admin->device->accepted & TDI_F_EVENT_QUEUES))
		return TDI_AS_OPCODE;
	if (admin->sqe->reserved)
		return TDI_AS_RESERVED;
	return handler[opcode](admin);
}

void tn_admin(struct tn_device *device, struct tn_space *space, const struct tdi_admin_sqe *sqe,
	      struct tdi_admin_cqe *cqe)
{
	struct admin admin = { .device = device, .space = space, .sqe = sqe, .cqe = cqe };

	memset(cqe, 0, sizeof(*cqe));
	cqe->command = sqe->command;
	tn_device_lock(device);
	cqe->status = (__u16)run(&admin);
	tn_device_unlock(device);
}

void tn_admin_reset(struct tn_device *device)
{
	uint32_t i;

	/*
	 * No command from before has an effect afterwards, and none gets a CQE: that is the host's to write.
	 * [RST-12]
	 */
	tn_device_freeze(device);
	device->fenced = true;
	for (i = 0; i < TN_MAX_CONTEXTS; i++)
		if (device->context[i])
			context_free(device->context[i]);
	memset(device->group, 0, sizeof(device->group));
	for (i = 0; i < TN_MAX_EQS; i++)
		if (device->events.eq[i].live)
			tn_eq_free(device, &device->events.eq[i]);
	memset(&device->log, 0, sizeof(device->log));
	device->quiesced = false;
	device->accepted = 0;
	tn_events_pause(device, true);
	tn_device_thaw(device);
}
