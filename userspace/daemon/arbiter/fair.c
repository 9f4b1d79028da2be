// SPDX-License-Identifier: MIT
/*
 * The arbiter: which queue is served next, and for how long.
 *
 *   groups     by priority class [ARB-7], in a class by start-time fair queueing [ARB-8]
 *   contexts   of the group, in turn [ARB-2]: what one gets doesn't depend on how many queues it has
 *   queues     of the context, in turn [ARB-3]
 *
 * A group's start tag is the busy time that it has had, over its weight; the ready group with the least tag
 * is next. v of a class is the tag of the group served last in it: no ready group lies far behind, and one
 * that becomes ready is lifted to v, so that being idle earns nothing.
 *
 * What a turn takes is known at its end. Until then a whole quantum is charged, both to the tag and to the
 * tokens, since other workers choose meanwhile; tn_arbiter_end() puts that right.
 *
 * device->groups has the groups with active queues, in the order in which they are looked at. A queue is
 * active while it is polled, so a group in the list may have nothing to do; the look finds that out.
 */
#include "../device.h"
#include "../mutant.h"

#define GROUP(node) tn_entry(node, struct tn_group, ready)

/* --------------------------------------------------------------------------------- order of groups */

static bool before(const struct tn_group *a, const struct tn_group *b)
{
	if (a->priority != b->priority && !MUTANT(priority))
		return a->priority > b->priority;
	return a->start < b->start;
}

/* Put a group where its priority and tag want it, behind its equals. Most go far back. */
static void place(struct tn_group *group)
{
	struct tn_list *head = &group->device->groups, *at;

	tn_list_del(&group->ready);
	for (at = head->prev; at != head && before(group, GROUP(at)); at = at->prev)
		;
	tn_list_add_tail(at->next, &group->ready);
}

/* b / weight, to the nanosecond: what is left over counts the next time. */
static void charge(struct tn_group *group, uint64_t busy)
{
	uint32_t weight = MUTANT(weight) ? 1 : group->weight;

	group->rest += busy;
	group->start += (int64_t)(group->rest / weight);
	group->rest %= weight;
}

/* ------------------------------------------------------------------------------------------ tokens */

/* At the start of each period the bucket is filled; what was taken too much is owed. [ARB-9] */
static void refill(struct tn_group *group, uint64_t now)
{
	uint64_t periods, wanted;

	if (now < group->period_end)
		return;
	periods = (now - group->period_end) / group->busy_period_ns + 1;
	group->period_end += periods * group->busy_period_ns;
	wanted = ((uint64_t)((int64_t)group->busy_max_ns - group->tokens) + group->busy_max_ns - 1) /
		 group->busy_max_ns;
	if (periods >= wanted || MUTANT(tokens_owed))
		group->tokens = (int64_t)group->busy_max_ns;
	else
		group->tokens += (int64_t)(periods * group->busy_max_ns);
}

static bool has_tokens(struct tn_group *group, uint64_t now)
{
	if (!group->busy_max_ns || MUTANT(tokens))
		return true;
	refill(group, now);
	return group->tokens > 0;
}

/* When a group without tokens has some again: each period pays for a bucketful of what is owed. */
static uint64_t tokens_at(const struct tn_group *group)
{
	uint64_t periods = (uint64_t)-group->tokens / group->busy_max_ns;

	if (periods > TN_AGES_NS / group->busy_period_ns)
		return group->period_end + TN_AGES_NS;
	return group->period_end + periods * group->busy_period_ns;
}

/* @granted was taken beforehand, @busy was needed, up to @now: part of it in the next period, perhaps. */
static void take_tokens(struct tn_group *group, uint64_t granted, uint64_t busy, uint64_t now)
{
	uint64_t late = now > group->period_end ? now - group->period_end : 0;

	if (!group->busy_max_ns)
		return;
	if (late > busy)
		late = busy;
	group->tokens += (int64_t)granted - (int64_t)(busy - late);
	refill(group, now);
	group->tokens -= (int64_t)late;
	if (group->tokens > (int64_t)group->busy_max_ns)
		group->tokens = (int64_t)group->busy_max_ns;
}

/* It would be served now, but has no tokens: the time counts until it has some. [MET-13] */
static void throttle(struct tn_group *group, uint64_t now)
{
	if (group->throttled)
		return;
	group->throttled = true;
	group->throttled_from = now;
	group->throttled_until = tokens_at(group);
}

uint64_t tn_arbiter_throttled_ns(const struct tn_group *group, uint64_t now)
{
	uint64_t end = now < group->throttled_until ? now : group->throttled_until;

	return group->throttled && !MUTANT(throttled_ns) ? end - group->throttled_from : 0;
}

static void unthrottle(struct tn_group *group, uint64_t now)
{
	group->usage.throttled_ns += tn_arbiter_throttled_ns(group, now);
	group->throttled = false;
}

/* ---------------------------------------------------------------------------------- what changes it */

/* It becomes ready anew when a ready queue and tokens are found in it. */
static void becomes_idle(struct tn_group *group, uint64_t now)
{
	group->idle = true;
	unthrottle(group, now);
}

void tn_arbiter_init(struct tn_device *device, struct tn_group *group)
{
	group->device = device;
	group->weight = 1;
	group->idle = true;
	tn_list_init(&group->turns);
	tn_list_init(&group->ready);
}

void tn_arbiter_set(struct tn_group *group, const struct tdi_admin_group *to, uint64_t now)
{
	int64_t *v = group->device->v;

	/* In another class it is as far ahead as it was in the old one. */
	group->start += v[to->priority] - v[group->priority];
	group->weight = to->weight;
	group->priority = to->priority;
	group->units = to->units;
	if (group->busy_max_ns != to->busy_max_ns || group->busy_period_ns != to->busy_period_ns) {
		unthrottle(group, now);
		group->busy_max_ns = to->busy_max_ns < TN_AGES_NS ? to->busy_max_ns : TN_AGES_NS;
		group->busy_period_ns = to->busy_period_ns < TN_AGES_NS ? to->busy_period_ns : TN_AGES_NS;
		group->tokens = (int64_t)group->busy_max_ns;
		group->period_end = now + group->busy_period_ns;
	}
	if (!tn_list_empty(&group->ready))
		place(group);
}

void tn_arbiter_add(struct tn_queue *queue)
{
	struct tn_context *context = queue->context;
	struct tn_group *group = context->peers;

	if (!tn_list_empty(&queue->active))
		return;
	if (tn_list_empty(&context->active))
		tn_list_add_tail(&group->turns, &context->turn);
	tn_list_add_tail(&context->active, &queue->active);
	if (tn_list_empty(&group->ready))
		place(group);
}

void tn_arbiter_remove(struct tn_queue *queue)
{
	struct tn_context *context = queue->context;
	struct tn_group *group = context->peers;

	if (tn_list_empty(&queue->active))
		return;
	tn_list_del(&queue->active);
	if (!tn_list_empty(&context->active))
		return;
	tn_list_del(&context->turn);
	if (!tn_list_empty(&group->turns))
		return;
	tn_list_del(&group->ready);
	becomes_idle(group, tn_device_now(group->device));
}

/* ------------------------------------------------------------------------------------------ a look */

static bool still(const struct tn_device *device)
{
	return (device->quiesced && !MUTANT(quiesced)) || device->fenced;
}

/* The next ready queue of a context; one without work may drop out. */
static struct tn_queue *ready_in_context(struct tn_context *context, uint64_t now)
{
	struct tn_list *node = context->active.next, *last = context->active.prev;
	bool end = false;

	while (!end) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, active);

		end = node == last;
		node = node->next;
		if (!queue->running && tn_queue_poll(queue, now))
			return queue;
	}
	return NULL;
}

/* The next ready queue of a group. With none it becomes idle, unless some of it couldn't be looked at. */
static struct tn_queue *ready_in_group(struct tn_group *group, uint64_t now)
{
	struct tn_list *node = group->turns.next, *last = group->turns.prev;
	bool end = false, unseen = group->running;

	while (!end) {
		struct tn_context *context = tn_entry(node, struct tn_context, turn);
		struct tn_queue *queue;

		end = node == last;
		node = node->next;
		if (context->holds) {
			unseen = true;
			continue;
		}
		queue = ready_in_context(context, now);
		if (queue)
			return queue;
	}
	if (!unseen)
		becomes_idle(group, now);
	return NULL;
}

struct tn_queue *tn_arbiter_next(struct tn_device *device, uint64_t now, int64_t *left)
{
	struct tn_list *node, *next;

	*left = -1;
again:
	for (node = device->groups.next; node != &device->groups && !still(device); node = next) {
		struct tn_group *group = GROUP(node);
		bool tokens = has_tokens(group, now);
		struct tn_queue *queue;

		next = node->next;
		if (tokens && group->throttled)
			becomes_idle(group, now);
		if (group->units && group->running >= group->units && !MUTANT(group_units))
			continue;
		queue = ready_in_group(group, now);
		if (!queue)
			continue;
		if (!tokens) {
			if (!group->running)
				throttle(group, now);
			if (*left < 0 || (int64_t)(tokens_at(group) - now) < *left)
				*left = (int64_t)(tokens_at(group) - now);
			continue;
		}
		if (group->idle) {
			group->idle = false;
			if (group->start < device->v[group->priority] && !MUTANT(idle_credit)) {
				group->start = device->v[group->priority];
				place(group);
				goto again;	/* each group once at most */
			}
		}
		return queue;
	}
	return NULL;
}

/* Without tokens those that are known to be ready need no more looks. */
static bool polled_in_context(const struct tn_context *context, bool tokens)
{
	const struct tn_list *node;

	for (node = context->active.next; node != &context->active; node = node->next) {
		const struct tn_queue *queue = tn_entry(node, struct tn_queue, active);

		if (!queue->running && (tokens || queue->idle_since))
			return true;
	}
	return false;
}

bool tn_arbiter_polled(struct tn_device *device)
{
	struct tn_list *node, *turn;

	for (node = device->groups.next; node != &device->groups && !still(device); node = node->next) {
		struct tn_group *group = GROUP(node);
		bool tokens = has_tokens(group, group->busy_max_ns ? tn_device_now(device) : 0);

		if (group->units && group->running >= group->units && !MUTANT(group_units))
			continue;
		for (turn = group->turns.next; turn != &group->turns; turn = turn->next) {
			struct tn_context *context = tn_entry(turn, struct tn_context, turn);

			if (!context->holds && polled_in_context(context, tokens))
				return true;
		}
	}
	return false;
}

bool tn_arbiter_waits(struct tn_device *device)
{
	struct tn_list *node, *turn;

	for (node = device->groups.next; node != &device->groups; node = node->next) {
		if (has_tokens(GROUP(node), tn_device_now(device)))
			return false;
		for (turn = GROUP(node)->turns.next; turn != &GROUP(node)->turns; turn = turn->next)
			if (tn_entry(turn, struct tn_context, turn)->holds)
				return false;
	}
	return !still(device);
}

/* ------------------------------------------------------------------------------------------ a turn */

uint64_t tn_arbiter_begin(struct tn_worker *worker, struct tn_queue *queue)
{
	struct tn_context *context = queue->context;
	struct tn_group *group = context->peers;
	int64_t *v = &group->device->v[group->priority];
	uint64_t quantum = context->group->quantum_ns;	/* GROUP_MODIFY may change it meanwhile [ADM-35] */

	if (!MUTANT(queue_turns)) {
		tn_list_del(&queue->active);
		tn_list_add_tail(&context->active, &queue->active);
	}
	if (!MUTANT(context_turns)) {
		tn_list_del(&context->turn);
		tn_list_add_tail(&group->turns, &context->turn);
	}
	group->running++;
	if (*v < group->start)
		*v = group->start;
	worker->charged = (int64_t)((quantum < TN_AGES_NS ? quantum : TN_AGES_NS) / group->weight);
	group->start += worker->charged;
	place(group);
	worker->granted = 0;
	if (group->busy_max_ns) {
		if (group->tokens > 0 && quantum > (uint64_t)group->tokens)
			quantum = (uint64_t)group->tokens;
		worker->granted = quantum;
		group->tokens -= (int64_t)quantum;
	}
	return quantum;
}

void tn_arbiter_end(struct tn_worker *worker, struct tn_queue *queue, uint64_t busy, uint64_t now)
{
	struct tn_group *group = queue->context->peers;

	group->running--;
	group->start -= worker->charged;
	charge(group, busy);
	if (!tn_list_empty(&group->ready))
		place(group);
	take_tokens(group, worker->granted, busy, now);
}
