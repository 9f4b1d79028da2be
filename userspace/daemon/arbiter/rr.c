// SPDX-License-Identifier: MIT
/*
 * The arbiter: round robin between contexts, then between a context's queues [ARB-2]. Each turn is one
 * quantum at most, so what a context gets doesn't depend on how many queues it has.
 */
#include "../device.h"
#include "../mutant.h"

void tn_arbiter_add(struct tn_queue *queue)
{
	struct tn_context *context = queue->context;

	if (!tn_list_empty(&queue->active))
		return;
	if (tn_list_empty(&context->active))
		tn_list_add_tail(&context->device->turns, &context->turn);
	tn_list_add_tail(&context->active, &queue->active);
}

void tn_arbiter_remove(struct tn_queue *queue)
{
	struct tn_context *context = queue->context;

	if (tn_list_empty(&queue->active))
		return;
	tn_list_del(&queue->active);
	if (tn_list_empty(&context->active))
		tn_list_del(&context->turn);
}

/* The next queue of a context, which then goes behind the others. A queue without work may drop out. */
static struct tn_queue *next_queue(struct tn_context *context, uint64_t now)
{
	struct tn_list *node = context->active.next, *last = context->active.prev;
	bool end = false;

	while (!end) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, active);

		end = node == last;
		node = node->next;
		if (queue->running || !tn_queue_poll(queue, now))
			continue;
		if (!MUTANT(queue_turns)) {
			tn_list_del(&queue->active);
			tn_list_add_tail(&context->active, &queue->active);
		}
		return queue;
	}
	return NULL;
}

struct tn_queue *tn_arbiter_next(struct tn_device *device, uint64_t now)
{
	struct tn_list *node = device->turns.next, *last = device->turns.prev;
	bool end = tn_list_empty(&device->turns) || (device->quiesced && !MUTANT(quiesced)) || device->fenced;

	while (!end) {
		struct tn_context *context = tn_entry(node, struct tn_context, turn);
		struct tn_queue *queue;

		end = node == last;
		node = node->next;
		if (context->holds)
			continue;
		queue = next_queue(context, now);
		if (!queue)
			continue;
		if (!MUTANT(context_turns)) {
			tn_list_del(&context->turn);
			tn_list_add_tail(&device->turns, &context->turn);
		}
		return queue;
	}
	return NULL;
}

bool tn_arbiter_polled(struct tn_device *device)
{
	struct tn_list *turn, *active;

	if ((device->quiesced && !MUTANT(quiesced)) || device->fenced)
		return false;
	for (turn = device->turns.next; turn != &device->turns; turn = turn->next) {
		struct tn_context *context = tn_entry(turn, struct tn_context, turn);

		if (context->holds)
			continue;
		for (active = context->active.next; active != &context->active; active = active->next)
			if (!tn_entry(active, struct tn_queue, active)->running)
				return true;
	}
	return false;
}
