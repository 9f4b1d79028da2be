// SPDX-License-Identifier: MIT
/*
 * Event queues: how the device tells a host that has no notices of its own [EVQ]. Inert, and without a lock
 * taken, while TDI_F_EVENT_QUEUES isn't in force: then no latch has an event queue.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "mutant.h"

void tn_events_init(struct tn_events *events)
{
	pthread_mutex_init(&events->lock, NULL);
}

void tn_latch_init(struct tn_latch *latch, enum tdi_event_type type, uint32_t id, struct tn_eq *eq,
		   uint32_t moderation_ns)
{
	memset(latch, 0, sizeof(*latch));
	latch->type = (uint8_t)type;
	latch->id = id;
	latch->eq = eq;
	latch->moderation_ns = moderation_ns;
	tn_list_init(&latch->delayed);
}

/* The rest of this part is called with events->lock. */

static void delay(struct tn_events *events, struct tn_latch *latch)
{
	latch->state = TN_LATCH_DELAYED;
	tn_list_add_tail(&latch->eq->delayed, &latch->delayed);
	__atomic_fetch_add(&events->delayed, 1, __ATOMIC_RELAXED);
}

static void undelay(struct tn_events *events, struct tn_latch *latch)
{
	tn_list_del(&latch->delayed);
	__atomic_fetch_sub(&events->delayed, 1, __ATOMIC_RELAXED);
}

/* When the entry of a latch may be written; moderation concerns DUE alone. [EVQ-5] */
static uint64_t entry_at(const struct tn_latch *latch)
{
	if (latch->type != TDI_EVENT_DUE || MUTANT(eq_moderation))
		return 0;
	return latch->next_at > latch->eq->next_at ? latch->next_at : latch->eq->next_at;
}

static void write_entry(struct tn_device *device, struct tn_latch *latch, uint64_t now)
{
	struct tn_eq *eq = latch->eq;
	struct tdi_event *ring = eq->ring.host, *slot;
	bool raise = eq->written == eq->head && !MUTANT(eq_interrupt);

	latch->state = TN_LATCH_OUTSTANDING;
	latch->entry = eq->written;
	latch->next_at = now + latch->moderation_ns;
	eq->next_at = now + eq->moderation_ns;
	/* Its memory is gone: the controller is FATAL, and nobody reads. */
	if (!ring)
		return;
	if (MUTANT(eq_order)) {
		device->options.interrupt(device->options.attach, eq->vector);
		usleep(1000);	/* else it would be seen too seldom */
	}
	slot = &ring[eq->written & eq->mask];
	slot->type = FAULT(event_type) ? (__u16)FAULT_VALUE(event_type) : latch->type;
	slot->reserved = 0;
	slot->id = FAULT(event_id) ? FAULT_VALUE(event_id) : latch->id;
	slot->hint = latch->hint;
	tenon_store_release(&slot->sequence,
			    eq->written + 1 + (FAULT(event_sequence) ? FAULT_VALUE(event_sequence) : 0));
	eq->owner[eq->written & eq->mask] = latch;
	eq->written++;
	/* One interrupt is enough: with entries left, tn_eq_head() raises the next. [EVQ-9] */
	if (raise)
		device->options.interrupt(device->options.attach, eq->vector);
}

static void emit(struct tn_device *device, struct tn_latch *latch, uint64_t now)
{
	if (device->events.paused || entry_at(latch) > now)
		delay(&device->events, latch);
	else
		write_entry(device, latch, now);
}

/* Each of these takes it. */

void tn_latch_set(struct tn_device *device, struct tn_latch *latch, uint32_t hint, uint64_t now)
{
	if (!latch->eq)
		return;
	pthread_mutex_lock(&device->events.lock);
	latch->hint = hint;
	if (latch->state == TN_LATCH_IDLE || (latch->state == TN_LATCH_OUTSTANDING && MUTANT(eq_outstanding)))
		emit(device, latch, now);
	else if (latch->state == TN_LATCH_OUTSTANDING && !MUTANT(eq_due))
		latch->state = TN_LATCH_DUE;
	pthread_mutex_unlock(&device->events.lock);
}

void tn_latch_drop(struct tn_device *device, struct tn_latch *latch)
{
	struct tn_eq *eq = latch->eq;

	if (!eq)
		return;
	pthread_mutex_lock(&device->events.lock);
	if (latch->state == TN_LATCH_DELAYED) {
		undelay(&device->events, latch);
	} else if (latch->state != TN_LATCH_IDLE && eq->ring.host) {
		eq->owner[latch->entry & eq->mask] = NULL;
		eq->orphans++;
	}
	latch->state = TN_LATCH_IDLE;
	pthread_mutex_unlock(&device->events.lock);
}

bool tn_eq_reserve(struct tn_device *device, struct tn_eq *eq, uint32_t entries)
{
	bool room;

	if (!eq)
		return true;
	pthread_mutex_lock(&device->events.lock);
	/* Entries of what is gone still take their slots, until the host has consumed them. */
	room = (uint64_t)eq->reserved + (MUTANT(eq_orphans) ? 0 : eq->orphans) + entries <=
	       (uint64_t)eq->mask + 1;
	if (room)
		eq->reserved += entries;
	pthread_mutex_unlock(&device->events.lock);
	return room;
}

void tn_eq_unreserve(struct tn_device *device, struct tn_eq *eq, uint32_t entries)
{
	if (!eq)
		return;
	pthread_mutex_lock(&device->events.lock);
	eq->reserved -= entries;
	pthread_mutex_unlock(&device->events.lock);
}

void tn_eq_free(struct tn_device *device, struct tn_eq *eq)
{
	struct tn_latch *error = &device->events.error;

	if (error->eq == eq) {
		tn_latch_drop(device, error);
		error->eq = NULL;
	}
	pthread_mutex_lock(&device->events.lock);
	tn_view_close(&eq->ring);
	free(eq->owner);
	memset(eq, 0, sizeof(*eq));
	pthread_mutex_unlock(&device->events.lock);
}

void tn_eq_head(struct tn_device *device, uint32_t id, uint32_t head)
{
	uint64_t now = tn_device_now(device);
	struct tn_eq *eq;
	uint32_t entry;

	if (id >= TN_MAX_EQS)
		return;
	eq = &device->events.eq[id];
	pthread_mutex_lock(&device->events.lock);
	entry = eq->head;
	if (eq->live && eq->ring.host && head - entry <= eq->written - entry + MUTANT(eq_head)) {
		/* First, since entries written below are then the first that aren't consumed. */
		eq->head = head;
		/*
		 * The host looks again after its store. But the store is posted: an entry written while it
		 * was under way came too late for that look, and without an interrupt. [EVQ-9]
		 */
		if (eq->written != head && !MUTANT(eq_late))
			device->options.interrupt(device->options.attach, eq->vector);
		for (; entry != head; entry++) {
			struct tn_latch *latch = eq->owner[entry & eq->mask];

			if (!latch) {
				eq->orphans--;
			} else if (latch->state == TN_LATCH_DUE) {
				emit(device, latch, now);
			} else if (!MUTANT(eq_idle)) {
				latch->state = TN_LATCH_IDLE;
			}
		}
	}
	pthread_mutex_unlock(&device->events.lock);
	if (__atomic_load_n(&device->events.delayed, __ATOMIC_RELAXED))
		tn_device_wake(device);
}

void tn_events_pause(struct tn_device *device, bool paused)
{
	pthread_mutex_lock(&device->events.lock);
	device->events.paused = paused && !MUTANT(eq_paused);
	pthread_mutex_unlock(&device->events.lock);
}

int64_t tn_events_expire(struct tn_device *device, uint64_t now)
{
	int64_t least = -1;
	uint32_t i;

	if (!__atomic_load_n(&device->events.delayed, __ATOMIC_RELAXED))
		return -1;
	pthread_mutex_lock(&device->events.lock);
	for (i = 0; i < TN_MAX_EQS && !device->events.paused; i++) {
		struct tn_eq *eq = &device->events.eq[i];
		struct tn_list *node, *next;

		if (!eq->live)
			continue;
		for (node = eq->delayed.next; node != &eq->delayed; node = next) {
			struct tn_latch *latch = tn_entry(node, struct tn_latch, delayed);
			uint64_t at = entry_at(latch);

			next = node->next;
			if (at <= now) {
				undelay(&device->events, latch);
				write_entry(device, latch, now);
			} else if (least < 0 || (int64_t)(at - now) < least) {
				least = (int64_t)(at - now);
			}
		}
	}
	pthread_mutex_unlock(&device->events.lock);
	return least;
}
