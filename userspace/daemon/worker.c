// SPDX-License-Identifier: MIT
/*
 * Workers: each is an execution unit. It takes the queue that the arbiter names, runs it for a quantum at
 * most in units that the engine bounds, and sleeps in epoll when no queue is polled.
 */
#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "mutant.h"

/* While commands run back to back, kicks of other queues are looked for this often. */
#define EVENTS_NS 20000

#define WAKE UINT64_MAX

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void lock(struct tn_device *device)
{
	/* An administrator would starve behind workers that take the lock again at once. */
	while (__atomic_load_n(&device->waiters, __ATOMIC_RELAXED))
		sched_yield();
	pthread_mutex_lock(&device->lock);
}

/* Take kicks; with the lock, which is dropped to sleep. @timeout_ns as for epoll, -1 for ever. */
static void events(struct tn_device *device, int64_t timeout_ns)
{
	struct timespec timeout = { .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };
	struct epoll_event event[64];
	uint64_t count;
	int i, n;

	pthread_mutex_unlock(&device->lock);
	n = epoll_pwait2(device->epoll, event, 64, timeout_ns < 0 ? NULL : &timeout, NULL);
	lock(device);
	for (i = 0; i < n; i++) {
		uint64_t data = event[i].data.u64;

		if (data != WAKE)
			tn_device_kick(device, (uint32_t)data, (uint32_t)(data >> 32));
		else if (read(device->wake, &count, sizeof(count)) < 0)
			continue;	/* another worker was faster */
	}
}

/* The virtual clock passes by what is done, and by nothing else. */
static void spend(struct tn_device *device, uint64_t cost)
{
	if (device->options.virtual_clock)
		__atomic_fetch_add(&device->virtual_now, cost, __ATOMIC_RELAXED);
}

static int step(struct tn_worker *worker, struct tn_queue *queue)
{
	struct tn_exec *exec = &queue->exec;
	uint64_t before = exec->work;
	int status;

	if (FAULT(stall)) {
		usleep(1000);
		return TN_MORE;
	}
	if (MUTANT(fetch_once))
		exec->sqe = queue->sq[queue->done & queue->mask];
	status = tn_exec_step(&queue->context->table, exec, &worker->scratch);
	spend(worker->device, exec->work - before);
	return status;
}

/* What can't yield ends by itself, when the host wants the unit, or when its time is over. [CMD-24] */
static int hold(struct tn_worker *worker, struct tn_queue *queue)
{
	struct tn_device *device = worker->device;
	uint64_t begin = tn_device_now(device);

	while (!__atomic_load_n(&worker->interrupt, __ATOMIC_RELAXED)) {
		uint64_t ran = queue->charged_ns + tn_device_now(device) - begin;

		if (worker->max_command_ns && ran >= worker->max_command_ns && !MUTANT(command_time))
			return TDI_SC_COMMAND_TIME;
		if (!device->options.virtual_clock)
			usleep(100);
		spend(device, TN_VIRTUAL_COMMAND_NS);
	}
	return TN_MORE;
}

/* One turn of a queue, without the lock; *@busy is what it took. */
static int run(struct tn_worker *worker, struct tn_queue *queue, uint64_t quantum, uint64_t *busy)
{
	struct tn_device *device = worker->device;
	uint64_t start = tn_device_now(device), now = start;

	*busy = 0;

	for (;;) {
		int status = queue->begun ? TN_MORE : tn_queue_begin(queue, now);
		uint64_t then = now;

		if (status == TN_NOTHING)
			return status;
		if (status == TN_MORE)
			status = queue->unyielding ? hold(worker, queue) : step(worker, queue);
		/* Also for one that was refused: else a flood of those would take no time. */
		if (status != TN_MORE && status != TN_PARK &&
		    !(queue->exec.units == 0 && MUTANT(refused_cost)))
			spend(device, TN_VIRTUAL_COMMAND_NS);
		now = tn_device_now(device);
		queue->charged_ns += now - then;
		*busy = now - start;
		if (status == TN_PARK)
			return status;
		if (status != TN_MORE)
			tn_queue_complete(queue, status == TN_SIGNALED ? TDI_SC_OK : status, now);
		if (status == TN_SIGNALED || status == TDI_SC_COMMAND_TIME)
			return status;
		if (__atomic_load_n(&worker->interrupt, __ATOMIC_RELAXED) ||
		    (now - start >= quantum && !MUTANT(quantum)))
			return TN_MORE;
	}
}

/* SIGNAL changed the word at the queue's exec.address: its waiters look again. */
static void signaled(struct tn_queue *queue, uint64_t now)
{
	struct tn_list *node, *next, *head = &queue->context->device->parked;

	for (node = head->next; node != head; node = next) {
		struct tn_queue *waiter = tn_entry(node, struct tn_queue, park);

		next = node->next;
		if (waiter->exec.address == queue->exec.address &&
		    waiter->context->table.space == queue->context->table.space)
			tn_queue_unpark(waiter, now);
	}
}

static void turn(struct tn_worker *worker, struct tn_queue *queue)
{
	struct tn_device *device = worker->device;
	struct tn_context *context = queue->context;
	uint64_t quantum = tn_arbiter_begin(worker, queue), busy;
	int status;

	worker->max_command_ns = context->group->max_command_ns;
	queue->running = true;
	context->running++;
	worker->context = context;
	/* Whoever finds several queues to poll, or one that gets ready by its work, shares them. [ARB-1] */
	if (device->sleepers && tn_arbiter_polled(device) && !MUTANT(idle_unit))
		tn_device_wake(device);
	__atomic_store_n(&worker->interrupt, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&device->lock);

	status = run(worker, queue, quantum, &busy);

	lock(device);
	tn_arbiter_end(worker, queue, busy, tn_device_now(device));
	worker->context = NULL;
	context->running--;
	queue->running = false;
	if (status == TN_PARK)
		tn_queue_park(queue, tn_device_now(device));
	else if (status == TN_SIGNALED && !MUTANT(signal_wakes))
		signaled(queue, tn_device_now(device));
	if (status == TDI_SC_COMMAND_TIME && MUTANT(stop_other))
		tn_context_stop(device->context[context->id ^ 1], tn_device_now(device));
	else if (status == TDI_SC_COMMAND_TIME || context->stopped)
		tn_context_stop(context, tn_device_now(device));
	if (context->holds && !context->running)
		pthread_cond_broadcast(&device->boundary);
}

/* Let WAITs whose time is over look a last time; how long until the next one's is, -1 for ever. */
static int64_t expire(struct tn_device *device, uint64_t now)
{
	struct tn_list *node, *next;
	int64_t least = -1;

	for (node = device->parked.next; node != &device->parked; node = next) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, park);

		next = node->next;
		if (queue->deadline <= now && MUTANT(last_look))
			tn_queue_end_current(queue, TDI_SC_TIMEOUT, now);
		else if (queue->deadline <= now)
			tn_queue_unpark(queue, now);
		else if (least < 0 || (int64_t)(queue->deadline - now) < least)
			least = (int64_t)(queue->deadline - now);
	}
	return least;
}

void *tn_worker_main(void *arg)
{
	struct tn_worker *worker = arg;
	struct tn_device *device = worker->device;
	uint64_t looked = 0;

	lock(device);
	while (!device->stopping) {
		uint64_t now = tn_device_now(device);
		int64_t left = expire(device, now), tokens, event;
		struct tn_queue *queue = tn_arbiter_next(device, now, &tokens);

		event = tn_events_expire(device, now);
		if (event >= 0 && (left < 0 || event < left))
			left = event;
		if (tokens >= 0 && (left < 0 || tokens < left))
			left = tokens;
		if (queue)
			turn(worker, queue);
		if (!queue && !tn_arbiter_polled(device)) {
			/* Virtual time passes by work alone; without any it jumps to what comes next. */
			if (device->options.virtual_clock && left > 0 && tn_arbiter_waits(device)) {
				spend(device, (uint64_t)left);
				left = 0;
			}
			device->sleepers++;
			events(device, left);
			device->sleepers--;
		} else if (now - looked >= EVENTS_NS || device->options.virtual_clock) {
			looked = now;
			events(device, 0);
		} else if (!queue) {
			pthread_mutex_unlock(&device->lock);
			relax();
			lock(device);
		}
	}
	/* The next worker that sleeps. */
	tn_device_wake(device);
	pthread_mutex_unlock(&device->lock);
	return NULL;
}
