// SPDX-License-Identifier: MIT
/* The device's side of a queue: poll, fetch, complete, park. The ring protocol itself is in tenon/ring.h. */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "mutant.h"

/* Spinning that was in vain is shortened to this part of the option at least. */
#define SPIN_MIN_SHARE 16

static uint32_t pending(struct tn_queue *queue)
{
	queue->tail = tenon_load_acquire(&queue->producer->tail);
	if (MUTANT(index_wrap) && queue->tail < queue->done)
		return 0;
	return queue->tail - queue->done;
}

void tn_queue_activate(struct tn_queue *queue, uint64_t now)
{
	uint64_t spin_max = queue->context->device->options.spin_ns;
	bool still;

	if (queue->state != TDI_QUEUE_RUNNING)
		return;
	/* Would polling a little longer have found what the kick brings? */
	if (queue->idle_since && now - queue->idle_since <= spin_max)
		queue->spin_ns = 2 * queue->spin_ns < spin_max ? 2 * queue->spin_ns : spin_max;
	/* While quiesced no page is touched: the flags stay set, and the tenant kicks in vain. [ADM-31] */
	still = queue->context->device->fenced || queue->context->device->quiesced;
	if (!still)
		tenon_store(&queue->page->flags, 0);
	/* A command is seen with its kick, not when its turn comes: what lies between is waiting. [MET-5] */
	queue->ready_at = now;
	queue->idle_since = !still && pending(queue) && !MUTANT(wait_from_kick) ? 0 : now;
	tn_arbiter_add(queue);
}

void tn_queue_stop(struct tn_queue *queue, enum tdi_stop_reason reason, uint64_t now)
{
	struct tn_device *device = queue->context->device;

	queue->state = TDI_QUEUE_STOPPED;
	queue->reason = reason;
	if (device->fenced) {
		/* Its CQ can't be reached: the host writes the CQE. */
		queue->begun = false;
		queue->parked = false;
		tn_list_del(&queue->park);
	} else if (!MUTANT(stop_ends)) {
		tn_queue_end_current(queue, TDI_SC_ABORTED, now);
	}
	tn_arbiter_remove(queue);
	if (!MUTANT(log_counts))
		device->log.stopped_queues++;
	if (device->accepted & TDI_F_EVENT_QUEUES)
		tn_latch_set(device, &queue->stopped, 0, now);
	else if (!MUTANT(stop_wakes))
		device->options.stopped(device->options.attach, queue->id);
}

/* What wakes the device: on a transport with registers a doorbell, else a kick. */
static uint32_t tn_need(const struct tn_device *device)
{
	return device->accepted & TDI_F_EVENT_QUEUES ? TDI_NEED_DOORBELL : TDI_NEED_DOORBELL | TDI_NEED_KICK;
}

/* Stop polling a queue that has been idle for long. [QUE-5] */
static void idle(struct tn_queue *queue, uint64_t now)
{
	uint64_t spin_max = queue->context->device->options.spin_ns;

	if (now - queue->idle_since < queue->spin_ns)
		return;
	if (MUTANT(idle_look))
		sched_yield();	/* else what is lost would be lost too seldom */
	if (tenon_ring_park(queue->producer, queue->page, tn_need(queue->context->device), queue->done) &&
	    !MUTANT(idle_look)) {
		tenon_store(&queue->page->flags, 0);
		return;
	}
	tn_arbiter_remove(queue);
	if (queue->spin_ns > spin_max / SPIN_MIN_SHARE)
		queue->spin_ns /= 2;
}

bool tn_queue_poll(struct tn_queue *queue, uint64_t now)
{
	uint32_t count = pending(queue);

	if (count > queue->depth && !MUTANT(tail_ahead)) {
		tn_queue_stop(queue, TDI_STOP_TAIL_AHEAD, now);
		return false;
	}
	if (queue->begun && !count && !MUTANT(tail_behind)) {
		tn_queue_stop(queue, TDI_STOP_TAIL_BEHIND, now);
		return false;
	}
	if (!queue->begun && !count) {
		if (!queue->idle_since)
			queue->idle_since = now;
		idle(queue, now);
		return false;
	}
	if (queue->idle_since) {
		queue->ready_at = now;
		queue->idle_since = 0;
	}
	return true;
}

static bool take_abort(struct tn_queue *queue)
{
	uint32_t slot = queue->done & queue->mask;
	uint64_t bit = 1ULL << (slot % 64);

	if (!(queue->aborts[slot / 64] & bit) || MUTANT(abort_waiting))
		return false;
	queue->aborts[slot / 64] &= ~bit;
	return true;
}

static unsigned int bucket(uint64_t ns)
{
	unsigned int b = ns ? 63 - (unsigned int)__builtin_clzll(ns) : 0;

	return b < TDI_USAGE_BUCKETS ? b : TDI_USAGE_BUCKETS - 1;
}

int tn_queue_begin(struct tn_queue *queue, uint64_t now)
{
	uint32_t count = queue->tail - queue->done;
	struct tn_exec *exec = &queue->exec;
	uint64_t waited = now - queue->ready_at;

	/* Not at each command: a look takes the line from the producer, who waits for it to come back. */
	if (!count)
		count = pending(queue);
	/* A tail that lies is dealt with by tn_queue_poll(), under the lock. */
	if (!count || (count > queue->depth && !MUTANT(tail_ahead)))
		return TN_NOTHING;

	/* The one look at the entry: from here on only the copy counts. [CMD-1] */
	memcpy(&exec->sqe, &queue->sq[queue->done & queue->mask], sizeof(exec->sqe));
	if (MUTANT(tenant_weight))
		queue->context->group->weight = 1u + exec->sqe.opcode;
	exec->info = 0;
	if (!MUTANT(units))
		exec->units = 0;
	exec->bytes_read = 0;
	exec->bytes_written = 0;
	queue->begun = true;
	queue->unyielding = exec->sqe.opcode == TDI_OP_EXEC && FAULT(hold);
	queue->deadline = 0;
	queue->charged_ns = 0;
	queue->usage.wait_ns += waited;
	queue->usage.wait_hist[bucket(waited)]++;

	/* Before every effect: after a death what was not fetched has had none. [TKO-2] */
	if (!MUTANT(fetched_first))
		tenon_store(&queue->page->fetched, queue->done + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);

	if (take_abort(queue))
		return TDI_SC_ABORTED;
	if (queue->chain_failed && !MUTANT(link))
		return TDI_SC_CANCELED;
	/* A feature that isn't in force is inert. [NEG-3] */
	if (exec->sqe.opcode == TDI_OP_TENSOR && !(queue->context->device->accepted & TDI_F_TENSOR))
		return TDI_SC_OPCODE;
	if (FAULT(cqe_early)) {
		struct tdi_cqe early = { .user_data = exec->sqe.user_data };

		tenon_ring_complete(&queue->cq[queue->done & queue->mask], &early, queue->done + 1);
	}
	return queue->unyielding ? TN_MORE : tn_exec_begin(&queue->context->table, exec);
}

/* Where tdi_usage counts a command. The opcode may be anything, also of one that was never looked at. */
static unsigned int kind(unsigned int opcode, int status)
{
	if (status && status < TDI_SC_CANCELED && !MUTANT(kind_refused))
		return 7;
	return opcode <= TDI_OP_EXEC ? opcode : opcode == TDI_OP_TENSOR ? 6 : 7;
}

void tn_queue_complete(struct tn_queue *queue, int status, uint64_t now)
{
	struct tn_device *device = queue->context->device;
	struct tn_exec *exec = &queue->exec;
	uint64_t busy = MUTANT(charge) ? queue->charged_ns / 2 : queue->charged_ns;
	struct tdi_cqe cqe = {
		.user_data = exec->sqe.user_data,
		.busy_ns = queue->charged_ns,
		.units = exec->units,
		.info = status ? exec->info : 0,
		.status = (__u16)status,
	};

	queue->usage.commands[kind(exec->sqe.opcode, status)]++;
	queue->usage.busy_ns += busy;
	if (!MUTANT(histogram) || !status)
		queue->usage.service_hist[bucket(queue->charged_ns)]++;
	queue->usage.bytes_read += exec->bytes_read;
	queue->usage.bytes_written += exec->bytes_written;
	queue->usage.errors += status != TDI_SC_OK;

	queue->chain_failed = status != TDI_SC_OK && exec->sqe.flags & TDI_SQE_LINK &&
			      !(status == TDI_SC_CANCELED && MUTANT(link_far));
	queue->begun = false;
	queue->ready_at = now;
	if (MUTANT(notice_order) && tenon_ring_due(queue->producer, queue->noticed, queue->done + 1))
		device->options.notice(device->options.attach, queue->id);
	if (MUTANT(due_order) && tenon_ring_due(queue->producer, queue->noticed, queue->done + 1)) {
		tn_latch_set(device, &queue->due, queue->done + 1, now);
		usleep(1000);	/* else it would be seen too seldom */
	}
	if (FAULT(cqe_user_data))
		cqe.user_data = ~cqe.user_data;
	tenon_ring_complete(&queue->cq[queue->done & queue->mask], &cqe,
			    queue->done + 1 + (FAULT(cqe_sequence) ? FAULT_VALUE(cqe_sequence) : 0));
	queue->done++;
	if (FAULT(cqe_twice))
		tenon_ring_complete(&queue->cq[queue->done & queue->mask], &cqe, queue->done);
	if (FAULT(cqe_unsubmitted))
		tenon_ring_complete(&queue->cq[queue->done & queue->mask], &cqe, queue->done + 1);
	if (tenon_ring_due(queue->producer, queue->noticed, queue->done)) {
		__atomic_fetch_add(&device->log.notices, 1, __ATOMIC_RELAXED);
		if (device->accepted & TDI_F_EVENT_QUEUES)
			tn_latch_set(device, &queue->due, queue->done, now);
		else if (!MUTANT(notice))
			device->options.notice(device->options.attach, queue->id);
	}
	queue->noticed = queue->done;
	if (status == TDI_SC_DEVICE && !MUTANT(fault_event))
		tn_latch_set(device, &queue->context->fault, 0, now);
}

void tn_queue_end_current(struct tn_queue *queue, int status, uint64_t now)
{
	if (!queue->begun)
		return;
	if (queue->parked)
		tn_queue_unpark(queue, now);
	tn_queue_complete(queue, status, now);
}

void tn_queue_park(struct tn_queue *queue, uint64_t now)
{
	struct tn_device *device = queue->context->device;
	int status;

	if (!queue->deadline)
		queue->deadline = now + queue->exec.sqe.wait.timeout_ns / (MUTANT(timeout_early) ? 2 : 1);
	if (now >= queue->deadline) {
		tn_queue_complete(queue, TDI_SC_TIMEOUT, now);
		return;
	}
	tn_arbiter_remove(queue);
	tn_list_add_tail(&device->parked, &queue->park);
	queue->parked = true;
	if (MUTANT(park_look))
		usleep(20);	/* else what is lost would be lost too seldom */
	/* A host that signals reads the flag after its store: set it, barrier, look again. [SEM-4] */
	tenon_ring_park(queue->producer, queue->page,
			MUTANT(park_flags) ? 0 : tn_need(device), 0);
	status = tn_exec_step(&queue->context->table, &queue->exec, NULL);
	if (status != TN_PARK && !MUTANT(park_look)) {
		tn_queue_unpark(queue, now);
		tn_queue_complete(queue, status, now);
	}
}

void tn_queue_unpark(struct tn_queue *queue, uint64_t now)
{
	if (MUTANT(charge_parked))
		queue->charged_ns += now - (queue->deadline - queue->exec.sqe.wait.timeout_ns);
	tn_list_del(&queue->park);
	queue->parked = false;
	tn_queue_activate(queue, now);
}

void tn_usage_add(struct tdi_usage *sum, const struct tdi_usage *usage)
{
	/* All members are counters of 64 bits. */
	const __le64 *from = (const __le64 *)usage;
	__le64 *to = (__le64 *)sum;
	unsigned int i;

	for (i = 0; i < sizeof(*usage) / sizeof(*from); i++)
		to[i] += from[i];
}
