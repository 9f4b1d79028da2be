/* SPDX-License-Identifier: MIT */
/* Queues: indices, flags, notices, stops, chains, abort, reset, quiesce and destroy. */
#include "harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER	TDI_BUFFER_ID(3, 1)
#define LONG_NS	3000000000000ULL	/* a WAIT's time-out that doesn't come */

/* --------------------------------------------------------------------------------------------- indices */

/*
 * Every depth, batches of every size up to it, over the wrap and further: one CQE for each command, in order.
 * reap() checks slot, sequence and user data. [QUE-1, QUE-2, QUE-4, QUE-11, CMD-5]
 */
static void test_depths(void **state)
{
	struct host *h = *state;
	uint32_t k;

	for (k = 0; k <= 15; k++) {
		struct queue q;
		uint32_t end, batch = 0;

		queue_open(h, &q, 10, 1, k);
		assert_int_equal(q.first, 0u - 4u * q.depth);
		end = q.first + 5 * q.depth + 3;
		while (q.tail != end) {
			uint32_t i, n = batch++ % q.depth + 1;

			if (k > 8)
				n = q.depth - batch % 7;
			if (n > end - q.tail)
				n = end - q.tail;
			for (i = 0; i < n; i++) {
				struct tdi_sqe command = nop();

				queue_push(&q, &command);
			}
			queue_publish(&q);
			for (i = 0; i < n; i++)
				assert_int_equal(reap(&q), TDI_SC_OK);
			assert_int_equal(fetched(&q), q.tail);
			assert_int_equal(queue_status(&q).completed, q.tail);
		}
		assert_true(q.tail < q.first);
		queue_close(&q);
	}
}

/* Other first indices than that of a new queue, as after a recovery. [QUE-4] */
static void test_first_index(void **state)
{
	static const uint32_t firsts[] = { 0, 1, 5, 0x7ffffffe, 0x80000000, 0xfffffffd, 0xffffffff };
	struct host *h = *state;
	size_t i, j;

	for (i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct tdi_admin_sqe create;
		struct queue q;

		queue_prepare(h, &q, 10, 1, 2);
		q.first = q.head = q.tail = firsts[i];
		q.producer->tail = q.producer->wanted = q.producer->wanted_kernel = q.first;
		q.page->fetched = q.first;
		tenon_ring_init_cq(q.cq, q.depth, q.first);
		create = queue_command(&q);
		admin_ok(h, &create);
		queue_created(&q);
		for (j = 0; j < 11; j++) {
			struct tdi_sqe command = nop();

			assert_int_equal(run(&q, &command), TDI_SC_OK);
		}
		queue_close(&q);
	}
}

/* What was submitted before QUEUE_CREATE is run without a kick. [QUE-9] */
static void test_tail_at_create(void **state)
{
	struct host *h = *state;
	uint32_t n, i;

	for (n = 1; n <= 4; n++) {
		struct tdi_admin_sqe create;
		struct queue q;

		queue_prepare(h, &q, 10, 1, 2);
		for (i = 0; i < n; i++) {
			struct tdi_sqe command = nop();

			queue_push(&q, &command);
		}
		queue_tail(&q);
		create = queue_command(&q);
		admin_ok(h, &create);
		for (i = 0; i < n; i++)
			assert_int_equal(reap(&q), TDI_SC_OK);
		queue_created(&q);
		queue_close(&q);
	}
}

/*
 * Nobody reaps: the device goes on, and the newer lap takes the slots. A command whose slot has a later lap
 * counts as complete. [QUE-7, QUE-26]
 */
static void test_unreaped(void **state)
{
	struct host *h = *state;
	struct queue q;
	uint32_t lap, i;

	queue_open(h, &q, 10, 1, 3);
	for (lap = 0; lap < 6; lap++) {
		for (i = 0; i < q.depth; i++) {
			struct tdi_sqe command = nop();

			queue_push(&q, &command);
		}
		queue_publish(&q);
		until(completed(&q, q.tail - 1));
	}
	for (i = q.first; i != q.tail; i++)
		assert_true(completed(&q, i));
	assert_false(completed(&q, q.tail));
	q.head = q.tail - q.depth;
	for (i = 0; i < q.depth; i++)
		assert_int_equal(reap(&q), TDI_SC_OK);
	queue_close(&q);
}

/* A producer and a reaper in two threads, against a device that polls. [QUE-6, QUE-13, QUE-15, QUE-27] */
#define STREAM 30000

struct stream {
	struct queue *q;
	struct area *memory;
	uint32_t head;		/* atomic, reaper to producer */
};

static void *stream_reaper(void *arg)
{
	struct stream *s = arg;
	const struct queue *q = s->q;
	uint64_t wrong = 0;
	uint32_t i;

	for (i = q->first; i != q->first + STREAM; i++) {
		uint64_t value, since = now_ns();

		while (!completed(q, i))
			if (deadline_over(since))
				return (void *)1;
		/* The whole of the CQE is there with its sequence, and what the command wrote, too. */
		memcpy(&value, s->memory->host + 8 * (i & q->mask), sizeof(value));
		wrong += q->cq[i & q->mask].user_data != i || q->cq[i & q->mask].status != TDI_SC_OK ||
			 q->cq[i & q->mask].units != 1 || value != (uint64_t)i * 0x100000001ULL;
		__atomic_store_n(&s->head, i + 1, __ATOMIC_RELEASE);
	}
	return (void *)(uintptr_t)wrong;
}

static void test_stream(void **state)
{
	struct host *h = *state;
	static struct area memory;	/* they outlive a failure that the reaper hasn't seen */
	static struct queue q;
	static struct stream s = { .q = &q, .memory = &memory };
	pthread_t reaper;
	void *wrong;

	queue_open(h, &q, 10, 1, 6);
	area_open(h, &memory, 8 * q.depth, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, 8 * q.depth);
	s.head = q.first;
	assert_int_equal(pthread_create(&reaper, NULL, stream_reaper, &s), 0);
	while (q.tail != q.first + STREAM) {
		struct tdi_sqe command = fill(BUFFER, 8 * (q.tail & q.mask), 8, q.tail * 0x100000001ULL, 8);
		uint64_t since = now_ns();

		while (q.tail - __atomic_load_n(&s.head, __ATOMIC_ACQUIRE) == q.depth)
			assert_false(deadline_over(since));
		command.user_data = q.tail;
		submit(&q, &command);
	}
	pthread_join(reaper, &wrong);
	assert_null(wrong);
	queue_close(&q);
	area_close(&memory);
}

/* ------------------------------------------------------------------------------------------------ flags */

/* Kicks are taken in order: when @other has run a command, those that @q got before have had their effect. */
static void settle_kicks(struct queue *q, struct queue *other)
{
	struct tdi_sqe command = nop();

	queue_kick(other);
	assert_int_equal(run(other, &command), TDI_SC_OK);
	until(tenon_load(&q->page->flags));
}

/*
 * The host writes the flags before QUEUE_CREATE; a device that has nothing to do sets them, one that polls
 * has cleared them. [QUE-17, QUE-5, QUE-16]
 */
static void test_flags(void **state)
{
	struct host *h = *state;
	struct tdi_sqe command = nop();
	struct queue q[8];
	int i, round;

	for (i = 0; i < 8; i++) {
		queue_open(h, &q[i], 10 + (uint32_t)i, 1, 2);
		until(tenon_load(&q[i].page->flags) == (TDI_NEED_DOORBELL | TDI_NEED_KICK));
	}
	/* Idle queues have them all, whichever ran last. */
	for (round = 0; round < 50; round++) {
		assert_int_equal(run(&q[round % 8], &command), TDI_SC_OK);
		for (i = 0; i < 8; i++)
			until(tenon_load(&q[i].page->flags) == (TDI_NEED_DOORBELL | TDI_NEED_KICK));
	}
	/* A tail that nobody was told of isn't run, since the device sleeps; a kick is all that it needs. */
	settle_kicks(&q[3], &q[4]);
	queue_push(&q[3], &command);
	queue_tail(&q[3]);
	sleep_ns(2000000);
	assert_false(completed(&q[3], q[3].head));
	queue_kick(&q[3]);
	assert_int_equal(reap(&q[3]), TDI_SC_OK);
	for (i = 0; i < 8; i++)
		queue_close(&q[i]);
}

/* While the flags are 0 a new tail is noticed without a kick. [QUE-15] */
static void test_polled(void **state)
{
	struct host *h = *state;
	struct queue q;
	int i;

	queue_open(h, &q, 10, 1, 2);
	until(!tenon_load(&q.page->flags));
	for (i = 0; i < 200; i++) {
		struct tdi_sqe command = nop();

		queue_push(&q, &command);
		queue_tail(&q);
		assert_int_equal(reap(&q), TDI_SC_OK);
		assert_int_equal(tenon_load(&q.page->flags), 0);
	}
	queue_close(&q);
}

/*
 * No wake-up is lost between a device that goes to sleep and a tenant that submits: one command at a time,
 * with pauses around the time at which a device that doesn't poll has set its flags. [QUE-5, QUE-18, TKO-1]
 */
static void test_no_lost_wakeup(void **state)
{
	struct host *h = *state;
	struct queue q[2];
	uint32_t i, j;

	queue_open(h, &q[0], 10, 1, 2);
	queue_open(h, &q[1], 11, 1, 2);
	for (i = 0; i < 8000; i++) {
		struct queue *one = &q[random_below(2)];
		struct tdi_sqe command = nop();
		uint32_t pause = random_below(1000), index;
		uint64_t since = now_ns();

		for (j = 0; j < pause; j++)
			__asm__ volatile("" ::: "memory");
		index = submit(one, &command);
		while (!completed(one, index))
			assert_false(deadline_over(since));
		assert_int_equal(reap(one), TDI_SC_OK);
	}
	queue_close(&q[0]);
	queue_close(&q[1]);
}

/* FORCE_KICK and DEAD ask for a kick that the device's flags don't. [QUE-18] */
static void test_force_kick(void **state)
{
	static const uint32_t flags[] = { TDI_KERNEL_FORCE_KICK, TDI_KERNEL_DEAD };
	struct host *h = *state;
	struct queue q;
	int i;

	queue_open(h, &q, 10, 1, 2);
	until(!tenon_load(&q.page->flags));
	assert_int_equal(tenon_ring_publish(q.producer, q.page, &q.kernel, q.tail), 0);
	for (i = 0; i < 2; i++) {
		tenon_store(&q.kernel.flags, flags[i]);
		assert_int_equal(tenon_ring_publish(q.producer, q.page, &q.kernel, q.tail), TDI_NEED_KICK);
	}
	queue_close(&q);
}

/* A kick of a queue without new commands, or under another generation, does nothing. [QUE-20] */
static void test_idle_kicks(void **state)
{
	struct host *h = *state;
	struct snapshot before = { 0 }, after = { 0 };
	struct tdi_sqe command = nop();
	struct queue q, other;
	uint32_t index;
	int i;

	queue_open(h, &q, 10, 1, 2);
	queue_open(h, &other, 12, 1, 2);
	assert_int_equal(run(&q, &command), TDI_SC_OK);
	settle_kicks(&q, &other);
	until(tenon_load(&other.page->flags));
	snapshot(h, &before);
	for (i = 0; i < 50; i++) {
		queue_kick(&q);
		tn_device_lock(h->device);
		tn_device_kick(h->device, 11, QUEUE_GEN(11));
		tn_device_kick(h->device, TN_MAX_QUEUES, 0);
		tn_device_kick(h->device, 0xffffffff, 0xffffffff);
		tn_device_unlock(h->device);
	}
	sleep_ns(1000000);
	until(tenon_load(&q.page->flags));
	snapshot(h, &after);
	assert_true(snapshot_equal(&before, &after));
	snapshot_free(&before);
	snapshot_free(&after);
	settle_kicks(&q, &other);

	/* A stale kick, and then a good one given by a call and not by the descriptor. */
	queue_push(&q, &command);
	queue_tail(&q);
	index = q.head;
	tn_device_lock(h->device);
	tn_device_kick(h->device, q.id, QUEUE_GEN(q.id) - 1);
	tn_device_wake(h->device);
	tn_device_unlock(h->device);
	sleep_ns(2000000);
	assert_false(completed(&q, index));
	tn_device_lock(h->device);
	tn_device_kick(h->device, q.id, QUEUE_GEN(q.id));
	tn_device_wake(h->device);
	tn_device_unlock(h->device);
	assert_int_equal(reap(&q), TDI_SC_OK);
	queue_close(&q);
	queue_close(&other);
}

/* ---------------------------------------------------------------------------------------------- notices */

static uint32_t notices(struct queue *q)
{
	return __atomic_load_n(&q->notices, __ATOMIC_ACQUIRE);
}

/*
 * When the queue's own part of a command is over, its notice is given, since it comes before the next look.
 */
static uint32_t settled_notices(struct queue *q)
{
	queue_status(q);
	return notices(q);
}

/*
 * Each W from before the first to beyond the last command, in each of the two words. [WAI-1, WAI-4, MET-11]
 */
static void test_notice_when_due(void **state)
{
	struct host *h = *state;
	struct tdi_controller_log log;
	struct queue q;
	uint32_t given = 0, total = 0;
	int w, n, i, word;

	queue_open(h, &q, 10, 1, 3);
	for (word = 0; word < 2; word++) {
		for (n = 1; n <= 8; n++) {
			for (w = -3; w <= 11; w++) {
				__le32 *mine = word ? &q.producer->wanted_kernel : &q.producer->wanted;
				__le32 *other = word ? &q.producer->wanted : &q.producer->wanted_kernel;
				uint32_t done = q.tail;

				tenon_store(mine, done + (uint32_t)w);
				tenon_store(other, done);
				for (i = 0; i < n; i++) {
					struct tdi_sqe command = nop();

					queue_push(&q, &command);
				}
				queue_publish(&q);
				for (i = 0; i < n; i++)
					assert_int_equal(reap(&q), TDI_SC_OK);
				/* One-shot: passed once, noticed once. */
				given = settled_notices(&q);
				assert_int_equal(given - total, w >= 1 && w <= n);
				total = given;
			}
		}
	}
	get_log(h, TDI_LOG_CONTROLLER, 0, &log, sizeof(log));
	assert_int_equal(log.notices, total);
	assert_int_equal(q.early, 0);	/* [WAI-6] */
	queue_close(&q);
}

/* Both words at once; and any value at any time does no more than bring notices. [WAI-1, WAI-13] */
static void test_notice_any_value(void **state)
{
	struct host *h = *state;
	struct queue q, innocent;
	uint32_t i, due = 0, before;

	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &innocent, 11, 1, 3);
	for (i = 0; i < 2000; i++) {
		uint32_t w = random_below(2) ? random_u32() : q.tail - 2 + random_below(5);
		uint32_t k = random_below(2) ? random_u32() : q.tail - 2 + random_below(5);
		struct tdi_sqe command = nop();

		tenon_store(&q.producer->wanted, w);
		tenon_store(&q.producer->wanted_kernel, k);
		due += w == q.tail + 1 || k == q.tail + 1;
		assert_int_equal(run(&q, &command), TDI_SC_OK);
		/* The device writes the CQE, then looks at W: not before it has may W be another. */
		assert_int_equal(settled_notices(&q), due);
	}
	assert_true(due > 100);
	assert_int_equal(settled_notices(&innocent), 0);

	/* While commands run, from another's hand as it were. */
	before = q.tail;
	for (i = 0; i < 3000; i++) {
		struct tdi_sqe command = nop();

		if (q.tail - q.head < q.depth)
			submit(&q, &command);
		else
			assert_int_equal(reap(&q), TDI_SC_OK);
		tenon_store(&q.producer->wanted, random_u32());
		tenon_store(&q.producer->wanted_kernel, q.tail + random_below(4));
	}
	while (q.head != q.tail)
		assert_int_equal(reap(&q), TDI_SC_OK);
	assert_true(q.tail != before);
	assert_int_equal(settled_notices(&innocent), 0);
	queue_close(&q);
	queue_close(&innocent);
}

/* A waiter that arms as the text says is never left asleep. [WAI-2, WAI-5, WAI-7, WAI-8] */
static void test_no_lost_notice(void **state)
{
	struct host *h = *state;
	struct queue q;
	uint32_t i, slept = 0;

	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < 4000; i++) {
		uint32_t before = notices(&q), j, n = random_below(4) + 1, target;
		__le32 *word = i & 1 ? &q.producer->wanted_kernel : &q.producer->wanted;
		uint64_t since = now_ns();

		for (j = 0; j < n; j++) {
			struct tdi_sqe command = nop();

			queue_push(&q, &command);
		}
		target = q.tail;
		queue_publish(&q);
		if (!tenon_ring_arm(word, q.cq, q.mask, target)) {
			slept++;
			while (notices(&q) == before)
				assert_false(deadline_over(since));
			assert_true(completed(&q, target - 1));
		}
		for (j = 0; j < n; j++)
			assert_int_equal(reap(&q), TDI_SC_OK);
		settled_notices(&q);
	}
	assert_true(slept > 0);
	assert_int_equal(q.early, 0);	/* [WAI-6] */
	queue_close(&q);
}

/* ------------------------------------------------------------------------------------------------ stops */

static void until_stopped(struct queue *q)
{
	until(__atomic_load_n(&q->stopped, __ATOMIC_ACQUIRE));
}

/* What must hold of a queue that the device has stopped: nothing moves it any more, and all else goes on. */
static void check_stopped(struct queue *q, struct queue *innocent, enum tdi_stop_reason reason, uint32_t done)
{
	struct tdi_admin_sqe reset = cmd_queue(TDI_ADMIN_QUEUE_RESET, q->id);
	struct tdi_admin_sqe abort = cmd_abort(q->id, done);
	struct tdi_queue_status status = queue_status(q);
	struct tdi_sqe command = nop();
	uint32_t i;

	assert_int_equal(status.state, TDI_QUEUE_STOPPED);
	assert_int_equal(status.reason, reason);
	assert_int_equal(status.completed, done);
	assert_int_equal(fetched(q), done);
	/* The tenant repents; too late. */
	for (i = 0; i < q->depth; i++)
		q->sq[i] = command;
	tenon_store_release(&q->producer->tail, done + 1);
	queue_kick(q);
	assert_int_equal(run(innocent, &command), TDI_SC_OK);
	sleep_ns(200000);
	assert_false(completed(q, done));
	assert_int_equal(fetched(q), done);
	/* [ADM-45] */
	assert_int_equal(admin(q->h, &reset, NULL), TDI_AS_STATE);
	assert_int_equal(admin(q->h, &abort, NULL), TDI_AS_NOT_FOUND);
	assert_int_equal(q->stopped, 1);
	assert_int_equal(queue_status(q).state, TDI_QUEUE_STOPPED);
}

/* Tails that lie, on an idle queue. [QUE-8, QUE-14, QUE-21, MET-11] */
static void test_stop_idle(void **state)
{
	static const uint32_t lies[] = { 9, 10, 100, 0x7fffffff, 0x80000000, 0xffffff00, 0xffffffff };
	struct host *h = *state;
	struct tdi_controller_log log;
	struct queue innocent;
	size_t i, j;

	queue_open(h, &innocent, 20, 1, 2);
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct queue q;

		queue_open(h, &q, 10, 1, 3);
		for (j = 0; j < i; j++) {
			struct tdi_sqe command = nop();

			assert_int_equal(run(&q, &command), TDI_SC_OK);
		}
		tenon_store_release(&q.producer->tail, q.tail + lies[i]);
		queue_kick(&q);
		until_stopped(&q);
		check_stopped(&q, &innocent, TDI_STOP_TAIL_AHEAD, q.tail);
		get_log(h, TDI_LOG_CONTROLLER, 0, &log, sizeof(log));
		assert_int_equal(log.stopped_queues, i + 1);
		queue_close(&q);
	}
	/* As far ahead as can be is no lie. */
	for (i = 0; i < 4; i++) {
		struct tdi_sqe command = nop();

		queue_push(&innocent, &command);
	}
	queue_publish(&innocent);
	for (i = 0; i < 4; i++)
		assert_int_equal(reap(&innocent), TDI_SC_OK);
	queue_close(&innocent);
}

/* The same before QUEUE_CREATE. */
static void test_stop_at_create(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe create;
	struct queue q, innocent;

	queue_open(h, &innocent, 20, 1, 2);
	queue_prepare(h, &q, 10, 1, 3);
	q.producer->tail -= 2;
	create = queue_command(&q);
	h->queue[10] = &q;
	admin_ok(h, &create);
	queue_created(&q);
	until_stopped(&q);
	check_stopped(&q, &innocent, TDI_STOP_TAIL_AHEAD, q.first);
	queue_close(&q);
	queue_close(&innocent);
}

/* And with a command under way, which ends with one CQE. [QUE-8, QUE-11] */
static void stop_with_work(struct host *h, bool parked, uint32_t lie, enum tdi_stop_reason reason)
{
	struct endless e;
	struct queue q, innocent;
	struct tdi_sqe command = nop();

	endless_open(h, &e, 1, BUFFER);
	queue_open(h, &innocent, 20, 1, 2);
	queue_open(h, &q, 10, 1, 3);
	assert_int_equal(run(&q, &command), TDI_SC_OK);
	command = parked ? sem_wait(BUFFER, 0, 1, LONG_NS) : endless_fill(&e, 1);
	submit(&q, &command);
	if (parked)
		until_parked(&q);
	else
		until_begun(&q, q.head);
	tenon_store_release(&q.producer->tail, q.head + lie);
	queue_kick(&q);
	until_stopped(&q);
	assert_int_equal(reap(&q), TDI_SC_ABORTED);
	check_stopped(&q, &innocent, reason, q.head);
	queue_close(&q);
	queue_close(&innocent);
	unmap(h, 1, BUFFER);
	endless_close(&e);
}

static void test_stop_busy(void **state)
{
	int parked;

	for (parked = 0; parked < 2; parked++) {
		stop_with_work(*state, parked, 9, TDI_STOP_TAIL_AHEAD);
		stop_with_work(*state, parked, 0x80000000, TDI_STOP_TAIL_AHEAD);
		stop_with_work(*state, parked, 0xffffffff, TDI_STOP_TAIL_AHEAD);
		/* The command that has begun was taken back. */
		stop_with_work(*state, parked, 0, TDI_STOP_TAIL_BEHIND);
	}
}

/* -------------------------------------------------------------------------------------------- the entry */

/* What is written to the slot after the fetch has no effect. [CMD-1] */
static void test_fetched_once(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	struct tdi_sqe command, other;
	int i;

	area_open(h, &memory, 1 << 20, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, 1 << 20);
	queue_open(h, &q, 10, 1, 1);

	/* A WAIT that parks and looks again: at what it was, and as what it was. */
	command = sem_wait(BUFFER, 0, 1, LONG_NS);
	other = nop();
	submit(&q, &command);
	until_parked(&q);
	q.sq[q.head & q.mask] = other;
	queue_kick(&q);
	sleep_ns(1000000);
	q.sq[q.head & q.mask] = sem_wait(BUFFER, 0, 0, LONG_NS);
	queue_kick(&q);
	sleep_ns(1000000);
	assert_false(completed(&q, q.head));
	memory.host[0] = 1;
	queue_kick(&q);
	assert_int_equal(reap(&q), TDI_SC_OK);

	/* A FILL in many units. */
	for (i = 0; i < 20; i++) {
		size_t at;

		memset(memory.host, 0xcc, memory.bytes);
		command = fill(BUFFER, 4096, (1 << 20) - 8192, 0x1111111111111111ULL, 8);
		submit(&q, &command);
		until_begun(&q, q.head);
		q.sq[q.head & q.mask] = fill(BUFFER, 0, 1 << 20, 0x2222222222222222ULL, 8);
		assert_int_equal(reap(&q), TDI_SC_OK);
		for (at = 0; at < memory.bytes; at++)
			if (memory.host[at] != (at < 4096 || at >= memory.bytes - 4096 ? 0xcc : 0x11))
				fail_msg("byte %zu is 0x%x", at, memory.host[at]);
	}
	queue_close(&q);
	area_close(&memory);
}

/* `fetched` is there before any effect, and never beyond the head of the queue. [TKO-2, QUE-12] */
static void test_fetched_first(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint32_t i;

	area_open(h, &memory, 65536, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, 65536);
	queue_open(h, &q, 10, 1, 2);
	for (i = 1; i <= 1500; i++) {
		struct tdi_sqe command = fill(BUFFER, 0, 65536, i, 4), next = nop();
		uint64_t since = now_ns();
		uint32_t seen;

		queue_push(&q, &command);
		queue_push(&q, &next);
		queue_publish(&q);
		while (__atomic_load_n((uint32_t *)(void *)memory.host, __ATOMIC_ACQUIRE) != i)
			assert_false(deadline_over(since));
		seen = fetched(&q);
		assert_true(tenon_reached(seen, q.head + 1));
		assert_true(tenon_reached(q.head + 2, seen));
		if (!completed(&q, q.head) && fetched(&q) != q.head + 1)
			assert_true(completed(&q, q.head));
		assert_int_equal(reap(&q), TDI_SC_OK);
		assert_int_equal(reap(&q), TDI_SC_OK);
	}
	/* A parked one has begun; the one behind it hasn't. */
	for (i = 0; i < 2; i++) {
		struct tdi_sqe command = sem_wait(BUFFER, 0, 0x7fffffffffffffffULL, LONG_NS);

		queue_push(&q, &command);
	}
	queue_publish(&q);
	until_parked(&q);
	assert_int_equal(fetched(&q), q.head + 1);
	queue_close(&q);
	area_close(&memory);
}

/*
 * The device reads nothing that it writes, and believes nothing else of what the tenant writes.
 * [QUE-3, QUE-21]
 */
static void test_scribbled(void **state)
{
	struct host *h = *state;
	struct queue q;
	uint32_t i, j;

	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < 500; i++) {
		struct tdi_sqe command = nop();
		uint32_t *page = (void *)q.page;

		/* While the device sleeps: its page but the flags, the CQ, the rest of ours, unused slots. */
		until(tenon_load(&q.page->flags));
		for (j = 0; j < TDI_PAGE_SIZE / 4; j++)
			if (j != offsetof(struct tdi_device_page, flags) / 4)
				page[j] = random_u32();
		for (j = 0; j < q.depth * sizeof(*q.cq) / 4; j++)
			((uint32_t *)(void *)q.cq)[j] = random_u32();
		for (j = 0; j < q.depth; j++)
			q.cq[j].sequence = q.tail;
		for (j = 1; j < TDI_PAGE_SIZE / 4; j++)
			((uint32_t *)(void *)q.producer)[j] = random_u32();
		memset(&q.sq[(q.tail + 1) & q.mask], 0xff, sizeof(*q.sq));
		assert_int_equal(run(&q, &command), TDI_SC_OK);
		assert_int_equal(fetched(&q), q.tail);
		assert_int_equal(q.cqe.units, 1);
	}
	assert_int_equal(queue_status(&q).state, TDI_QUEUE_RUNNING);
	queue_close(&q);
}

/* ----------------------------------------------------------------------------------------------- chains */

/*
 * Chains of every form, in batches and one by one, with an opcode nobody knows among the canceled ones.
 * [CMD-4, CMD-6, ERR-15, MET-3]
 */
static void test_chains(void **state)
{
	struct host *h = *state;
	struct tdi_usage usage;
	struct queue q;
	uint64_t refused = 0, canceled_nops = 0, ok = 0, failed = 0;
	bool chain = false;
	uint32_t i;

	queue_open(h, &q, 10, 1, 4);
	for (i = 0; i < 4000; i++) {
		uint32_t n = random_below(q.depth) + 1, j;
		int wanted[16];

		for (j = 0; j < n; j++) {
			uint32_t what = random_below(8);
			struct tdi_sqe command = what == 0 ? bad() : nop();

			if (what == 1)
				command.opcode = (uint8_t)(0x80 + random_below(128));
			if (what == 2)
				command.opcode = TDI_OP_EXEC;
			if (random_below(3))
				command.flags = TDI_SQE_LINK;
			queue_push(&q, &command);
			if (chain)
				wanted[j] = TDI_SC_CANCELED;
			else
				wanted[j] = what == 0 ? TDI_SC_RESERVED :
					    what <= 2 ? TDI_SC_OPCODE : TDI_SC_OK;
			chain = wanted[j] != TDI_SC_OK && command.flags & TDI_SQE_LINK;
			failed += wanted[j] != TDI_SC_OK;
			if (wanted[j] == TDI_SC_OK)
				ok++;
			else if (wanted[j] != TDI_SC_CANCELED || what == 1)
				refused++;
			else
				canceled_nops += what != 2;
		}
		queue_publish(&q);
		for (j = 0; j < n; j++)
			assert_int_equal(reap(&q), wanted[j]);
		if (i % 50 == 0)
			sleep_ns(100000);	/* a chain may go on long after */
	}
	queue_usage(h, 10, &usage);
	assert_int_equal(usage.errors, failed);
	assert_int_equal(usage.commands[TDI_OP_NOP], ok + canceled_nops);
	assert_int_equal(usage.commands[7], refused);
	assert_int_equal(usage.commands[TDI_OP_NOP] + usage.commands[TDI_OP_EXEC] + usage.commands[7],
			 q.tail - q.first);
	queue_close(&q);
}

/* Each status but OK breaks a chain, and only those of its own queue. [CMD-6] */
static void test_chain_by_status(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q, other;
	int i;

	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, TDI_BUFFER_READ, &memory, 0, TDI_PAGE_SIZE);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &other, 11, 1, 3);
	for (i = 0; i < 4; i++) {
		struct tdi_sqe first = i == 0 ? sem_wait(BUFFER, 0, 1, 1000) :
				       i == 1 ? fill(BUFFER, 0, 8, 0, 8) :
				       i == 2 ? fill(BUFFER + 1, 0, 8, 0, 8) : nop();
		static const int statuses[] = { TDI_SC_TIMEOUT, TDI_SC_BUFFER_RIGHTS, TDI_SC_BUFFER_ID,
						TDI_SC_OK };
		struct tdi_sqe command = nop();

		first.flags |= TDI_SQE_LINK;
		assert_int_equal(run(&q, &first), statuses[i]);
		assert_int_equal(run(&other, &command), TDI_SC_OK);
		assert_int_equal(run(&q, &command), i == 3 ? TDI_SC_OK : TDI_SC_CANCELED);
		assert_int_equal(run(&q, &command), TDI_SC_OK);
	}
	queue_close(&q);
	queue_close(&other);
	area_close(&memory);
}

/* ------------------------------------------------------------------------------------------------ abort */

static int abort_command(struct queue *q, uint32_t index)
{
	struct tdi_admin_sqe sqe = cmd_abort(q->id, index);

	return admin(q->h, &sqe, NULL);
}

/* Of a command that runs, or is parked: its CQE is there when the ABORT is done. [ADM-25, ADM-28, ERR-16] */
static void test_abort_begun(void **state)
{
	struct host *h = *state;
	struct endless e;
	struct queue q;
	int parked;

	endless_open(h, &e, 1, BUFFER);
	queue_open(h, &q, 10, 1, 3);
	for (parked = 0; parked < 2; parked++) {
		struct tdi_sqe command = linked(parked ? sem_wait(BUFFER, 8, ~0ULL >> 1, LONG_NS) :
						endless_fill(&e, 1));
		struct tdi_sqe next = linked(nop()), last = nop();
		uint32_t index = submit(&q, &command);

		if (parked)
			until_parked(&q);
		else
			until_begun(&q, index);
		queue_push(&q, &next);
		queue_push(&q, &last);
		queue_publish(&q);
		assert_int_equal(abort_command(&q, index), TDI_AS_OK);
		assert_true(completed(&q, index));
		assert_int_equal(reap(&q), TDI_SC_ABORTED);
		assert_int_equal(reap(&q), TDI_SC_CANCELED);
		assert_int_equal(reap(&q), TDI_SC_CANCELED);
		assert_int_equal(run(&q, &last), TDI_SC_OK);
		/* [ADM-27] */
		assert_int_equal(abort_command(&q, index), TDI_AS_NOT_FOUND);
	}
	queue_close(&q);
	endless_close(&e);
}

/* Of commands that haven't begun: in their turn, and without a trace. [ADM-26, ADM-28, ADM-27, ERR-16] */
static void test_abort_waiting(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint32_t first, i;

	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, TDI_PAGE_SIZE);
	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < 20; i++) {
		struct tdi_sqe command = sem_wait(BUFFER, 0, i + 1, LONG_NS);

		first = submit(&q, &command);
		command = fill(BUFFER, 8, 1, 0xaa, 1);
		submit(&q, &command);
		command = linked(fill(BUFFER, 9, 1, 0xbb, 1));
		submit(&q, &command);
		command = fill(BUFFER, 10, 1, 0xcc, 1);
		submit(&q, &command);
		command = fill(BUFFER, 11, 1, 0xdd, 1);
		submit(&q, &command);
		until_parked(&q);
		memset(memory.host + 8, 0, 8);
		assert_int_equal(abort_command(&q, first + 2), TDI_AS_OK);
		assert_int_equal(abort_command(&q, first + 2), TDI_AS_OK);
		assert_int_equal(abort_command(&q, first + 5), TDI_AS_NOT_FOUND);
		assert_int_equal(abort_command(&q, first - 1), TDI_AS_NOT_FOUND);
		assert_false(completed(&q, first));
		__atomic_store_n((uint64_t *)(void *)memory.host, i + 1, __ATOMIC_RELEASE);
		queue_kick(&q);
		assert_int_equal(reap(&q), TDI_SC_OK);
		assert_int_equal(reap(&q), TDI_SC_OK);
		assert_int_equal(reap(&q), TDI_SC_ABORTED);
		assert_int_equal(q.cqe.units, 0);
		assert_int_equal(reap(&q), TDI_SC_CANCELED);
		assert_int_equal(reap(&q), TDI_SC_OK);
		assert_memory_equal(memory.host + 8, "\xaa\0\0\xdd", 4);
	}
	/* The head itself, submitted and not yet fetched. */
	quiesce(h);
	for (i = 0; i < 3; i++) {
		struct tdi_sqe command = nop();

		submit(&q, &command);
	}
	first = q.head;
	assert_int_equal(abort_command(&q, first), TDI_AS_OK);
	assert_false(completed(&q, first));
	resume(h);
	assert_int_equal(reap(&q), TDI_SC_ABORTED);
	assert_int_equal(reap(&q), TDI_SC_OK);
	assert_int_equal(reap(&q), TDI_SC_OK);
	/* The next lap of that slot isn't meant. */
	for (i = 0; i < 3 * q.depth; i++) {
		struct tdi_sqe command = nop();

		assert_int_equal(run(&q, &command), TDI_SC_OK);
	}
	queue_close(&q);
	area_close(&memory);
}

/* Aborts against a queue that runs: each command ends once, one way or the other. [ADM-25, ADM-26, QUE-11] */
static void test_abort_race(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint32_t i, aborted = 0, accepted = 0;

	area_open(h, &memory, 1 << 20, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, 1 << 20);
	queue_open(h, &q, 10, 1, 4);
	for (i = 0; i < 400; i++) {
		struct tdi_sqe command = fill(BUFFER, 0, 8u << random_below(18), i, 8);
		uint32_t j, first = q.head;
		int expected = 0;

		for (j = 0; j < 8; j++)
			queue_push(&q, &command);
		queue_publish(&q);
		j = random_below(8);
		switch (abort_command(&q, first + j)) {
		case TDI_AS_OK:
			expected = TDI_SC_ABORTED;
			accepted++;
			break;
		case TDI_AS_NOT_FOUND:
			assert_true(completed(&q, first + j));
			break;
		default:
			fail();
		}
		while (q.head != q.tail) {
			uint32_t index = q.head;
			int status = reap(&q);

			assert_int_equal(status, index == first + j ? expected : TDI_SC_OK);
			aborted += status == TDI_SC_ABORTED;
		}
	}
	assert_int_equal(aborted, accepted);
	queue_close(&q);
	area_close(&memory);
}

/* ------------------------------------------------------------------------------------------------ reset */

static void reset_queue(struct queue *q)
{
	struct tdi_admin_sqe sqe = cmd_queue(TDI_ADMIN_QUEUE_RESET, q->id);

	admin_ok(q->h, &sqe);
}

static void reset_context(struct queue *q)
{
	struct tdi_admin_sqe sqe = cmd_context(TDI_ADMIN_CONTEXT_RESET, q->context);

	admin_ok(q->h, &sqe);
}

/*
 * A reset ends what has begun; indices, maps and what wasn't fetched are kept, but for the rest of a chain;
 * other queues and contexts notice nothing. [ADM-39, ADM-44, RST-4, RST-5, RST-6]
 */
static void test_reset(void **state)
{
	static void (*const resets[])(struct queue *q) = { reset_queue, reset_context };
	struct host *h = *state;
	struct endless e;
	struct queue q, sister, other;
	int r, parked;

	endless_open(h, &e, 1, BUFFER);
	context_create(h, 2, 1);
	map_blocks(h, 2, BUFFER, RW, e.array.address, 0, e.bytes, 22);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &sister, 11, 1, 3);
	queue_open(h, &other, 12, 2, 3);
	for (r = 0; r < 2; r++) {
		for (parked = 0; parked < 2; parked++) {
			struct tdi_sqe command = linked(parked ? sem_wait(BUFFER, 8, ~0ULL >> 1, LONG_NS) :
							endless_fill(&e, 1));
			struct tdi_sqe wait = sem_wait(BUFFER, 8, ~0ULL >> 1, LONG_NS), plain = nop();

			submit(&sister, &wait);
			submit(&other, &wait);
			until_parked(&sister);
			until_parked(&other);
			submit(&q, &command);
			submit(&q, &plain);
			submit(&q, &plain);
			if (parked)
				until_parked(&q);
			else
				until_begun(&q, q.head);
			resets[r](&q);
			assert_true(completed(&q, q.head));
			assert_int_equal(reap(&q), TDI_SC_ABORTED);
			assert_int_equal(reap(&q), TDI_SC_CANCELED);
			assert_int_equal(reap(&q), TDI_SC_OK);
			assert_int_equal(completed(&sister, sister.head), r == 1);
			assert_false(completed(&other, other.head));
			if (r == 0)
				reset_queue(&sister);
			assert_int_equal(reap(&sister), TDI_SC_ABORTED);
			reset_queue(&other);
			assert_int_equal(reap(&other), TDI_SC_ABORTED);
			/* Nothing to end: nothing happens. The map is still there. */
			resets[r](&q);
			command = fill(BUFFER, 0, 8, 0, 8);
			assert_int_equal(run(&q, &command), TDI_SC_OK);
		}
	}
	/* What wasn't fetched is kept. */
	quiesce(h);
	for (r = 0; r < 3; r++) {
		struct tdi_sqe command = nop();

		submit(&q, &command);
	}
	reset_queue(&q);
	reset_context(&q);
	resume(h);
	for (r = 0; r < 3; r++)
		assert_int_equal(reap(&q), TDI_SC_OK);
	queue_close(&q);
	queue_close(&sister);
	queue_close(&other);
	endless_close(&e);
}

/* With nothing to end, nothing at all is changed. [RST-3, RST-13] */
static void test_reset_keeps(void **state)
{
	struct host *h = *state;
	struct snapshot before = { 0 }, after = { 0 };
	struct area memory;
	struct queue q[2];
	int i;

	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, TDI_PAGE_SIZE);
	for (i = 0; i < 2; i++) {
		struct tdi_sqe command = fill(BUFFER, 0, 4096, 1, 8);

		queue_open(h, &q[i], 10 + (uint32_t)i, 1, 3);
		assert_int_equal(run(&q[i], &command), TDI_SC_OK);
		command = bad();
		assert_int_equal(run(&q[i], &command), TDI_SC_RESERVED);
		until(tenon_load(&q[i].page->flags));
	}
	snapshot(h, &before);
	reset_queue(&q[0]);
	reset_context(&q[0]);
	quiesce(h);
	resume(h);
	for (i = 0; i < 2; i++)
		until(tenon_load(&q[i].page->flags));
	snapshot(h, &after);
	assert_true(snapshot_equal(&before, &after));
	snapshot_free(&before);
	snapshot_free(&after);
	for (i = 0; i < 2; i++)
		queue_close(&q[i]);
	area_close(&memory);
}

/* ---------------------------------------------------------------------------------------------- quiesce */

/* While quiesced nothing is fetched, executed or completed. [ADM-29] */
static void test_quiesced(void **state)
{
	struct host *h = *state;
	struct endless e;
	struct queue busy, idle, late;
	struct tdi_sqe command;
	uint32_t i, seen;

	endless_open(h, &e, 1, BUFFER);
	queue_open(h, &busy, 10, 1, 3);
	queue_open(h, &idle, 11, 1, 3);
	for (i = 0; i < 20; i++) {
		uint64_t before[8];

		command = endless_fill(&e, (uint8_t)(i + 1));
		submit(&busy, &command);
		until_begun(&busy, busy.head);
		quiesce(h);
		/* No memory but the device's own is read or written. */
		area_protect(&e.block, PROT_NONE);
		area_protect(&e.array, PROT_NONE);
		memcpy(before, e.block.host, sizeof(before));
		command = nop();
		submit(&idle, &command);
		queue_kick(&idle);
		queue_kick(&busy);
		seen = fetched(&idle);
		sleep_ns(300000);
		assert_false(completed(&busy, busy.head));
		assert_false(completed(&idle, idle.head));
		assert_int_equal(fetched(&idle), seen);
		area_protect(&e.array, PROT_READ);
		area_protect(&e.block, PROT_READ | PROT_WRITE);
		resume(h);
		/* [ADM-30]: both go on. */
		assert_int_equal(reap(&idle), TDI_SC_OK);
		assert_false(completed(&busy, busy.head));
		assert_int_equal(abort_command(&busy, busy.head), TDI_AS_OK);
		assert_int_equal(reap(&busy), TDI_SC_ABORTED);
	}
	/* A queue that is made while quiesced waits, too. */
	quiesce(h);
	queue_open(h, &late, 12, 1, 3);
	command = nop();
	submit(&late, &command);
	sleep_ns(300000);
	assert_false(completed(&late, late.head));
	resume(h);
	assert_int_equal(reap(&late), TDI_SC_OK);
	queue_close(&busy);
	queue_close(&idle);
	queue_close(&late);
	endless_close(&e);
}

/* RESUME reads all tails, and parked WAITs look again, as if all doorbells had rung. [ADM-30] */
static void test_resume_reads_tails(void **state)
{
	struct host *h = *state;
	struct tdi_sqe command = nop(), wait;
	struct area memory;
	struct queue q[3];
	int i;

	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, BUFFER, RW, &memory, 0, TDI_PAGE_SIZE);
	for (i = 0; i < 3; i++)
		queue_open(h, &q[i], 10 + (uint32_t)i, 1, 2);
	wait = sem_wait(BUFFER, 0, 1, LONG_NS);
	submit(&q[2], &wait);
	until_parked(&q[2]);
	for (i = 0; i < 2; i++)
		until(tenon_load(&q[i].page->flags));
	quiesce(h);
	for (i = 0; i < 2; i++) {
		queue_push(&q[i], &command);
		queue_tail(&q[i]);
	}
	memory.host[0] = 1;
	resume(h);
	for (i = 0; i < 3; i++)
		assert_int_equal(reap(&q[i]), TDI_SC_OK);
	for (i = 0; i < 3; i++)
		queue_close(&q[i]);
	area_close(&memory);
}

/* ---------------------------------------------------------------------------------------------- destroy */

/* What has begun ends ABORTED, what hasn't been fetched gets no CQE. [ADM-38, ADM-43] */
static void test_destroy(void **state)
{
	struct host *h = *state;
	struct endless e;
	int parked, context, quiesced;

	endless_open(h, &e, 1, BUFFER);
	for (context = 0; context < 2; context++) {
		for (parked = 0; parked < 2; parked++) {
			for (quiesced = 0; quiesced < 2; quiesced++) {
				struct tdi_sqe command = nop();
				struct tdi_admin_sqe sqe;
				struct queue q;

				queue_open(h, &q, 10, 1, 3);
				assert_int_equal(run(&q, &command), TDI_SC_OK);
				command = parked ? sem_wait(BUFFER, 8, ~0ULL >> 1, LONG_NS) :
						   endless_fill(&e, 1);
				submit(&q, &command);
				command = nop();
				submit(&q, &command);
				if (parked)
					until_parked(&q);
				else
					until_begun(&q, q.head);
				if (quiesced)
					quiesce(h);
				sqe = context ? cmd_context(TDI_ADMIN_CONTEXT_DESTROY, 1) :
						cmd_queue(TDI_ADMIN_QUEUE_DESTROY, 10);
				admin_ok(h, &sqe);
				assert_true(completed(&q, q.head));
				assert_int_equal(reap(&q), TDI_SC_ABORTED);
				assert_false(completed(&q, q.head));
				assert_int_equal(fetched(&q), q.head);
				queue_forget(&q);
				queue_free_areas(&q);
				if (quiesced)
					resume(h);
				if (context) {
					context_create(h, 1, 1);
					map_blocks(h, 1, BUFFER, RW, e.array.address, 0, e.bytes, 22);
				}
			}
		}
	}
	endless_close(&e);
}

/* A queue that is full, stopped, parked, busy or reaped by nobody holds up no other. [QUE-14, SEM-13] */
static void test_no_hold_up(void **state)
{
	struct host *h = *state;
	struct endless e;
	struct queue full, stopped, parked, busy, q;
	struct tdi_sqe command;
	int i;

	endless_open(h, &e, 1, BUFFER);
	queue_open(h, &full, 10, 1, 2);
	queue_open(h, &stopped, 11, 1, 2);
	queue_open(h, &parked, 12, 1, 2);
	queue_open(h, &busy, 13, 1, 2);
	queue_open(h, &q, 14, 1, 2);
	for (i = 0; i < 4; i++) {
		command = nop();
		submit(&full, &command);
	}
	tenon_store_release(&stopped.producer->tail, stopped.tail + 5);
	queue_kick(&stopped);
	until_stopped(&stopped);
	command = sem_wait(BUFFER, 8, ~0ULL >> 1, LONG_NS);
	submit(&parked, &command);
	until_parked(&parked);
	command = endless_fill(&e, 1);
	until_begun(&busy, submit(&busy, &command));
	for (i = 0; i < 50; i++) {
		command = nop();
		assert_int_equal(run(&q, &command), TDI_SC_OK);
	}
	assert_false(completed(&parked, parked.head));
	assert_false(completed(&busy, busy.head));
	queue_close(&full);
	queue_close(&stopped);
	queue_close(&parked);
	queue_close(&busy);
	queue_close(&q);
	endless_close(&e);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_REAL(test_depths),
		TEST_REAL(test_first_index),
		TEST_REAL(test_tail_at_create),
		TEST_REAL(test_unreaped),
		TEST_REAL(test_stream),
		TEST_SLEEPY(test_flags),
		TEST_AWAKE(test_polled),
		TEST_SLEEPY(test_no_lost_wakeup),
		TEST_AWAKE(test_force_kick),
		TEST_SLEEPY(test_idle_kicks),
		TEST_REAL(test_notice_when_due),
		TEST_REAL(test_notice_any_value),
		TEST_REAL(test_no_lost_notice),
		TEST_REAL(test_stop_idle),
		TEST_REAL(test_stop_at_create),
		TEST_REAL(test_stop_busy),
		TEST_REAL(test_fetched_once),
		TEST_REAL(test_fetched_first),
		TEST_SLEEPY(test_scribbled),
		TEST_REAL(test_chains),
		TEST_REAL(test_chain_by_status),
		TEST_REAL(test_abort_begun),
		TEST_REAL(test_abort_waiting),
		TEST_REAL(test_abort_race),
		TEST_REAL(test_reset),
		TEST_REAL(test_reset_keeps),
		TEST_REAL(test_quiesced),
		TEST_SLEEPY(test_resume_reads_tails),
		TEST_REAL(test_destroy),
		TEST_REAL(test_no_hold_up),
	};

	return run_group("ring", tests, sizeof(tests) / sizeof(tests[0]));
}
