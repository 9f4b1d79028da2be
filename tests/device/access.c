/* SPDX-License-Identifier: MIT */
/*
 * The end of access: once UNMAP or a DESTROY has completed, the device touches nothing of what ended.
 *
 * Commands run without an end while the host unmaps or destroys. The moment that the admin command is back,
 * the memory is made inaccessible in the device's view: one more access ends the test program.
 */
#include "harness.h"

#include <stdlib.h>

#define ROUNDS	120
#define BUFFER	TDI_BUFFER_ID(3, 1)
#define OTHER	TDI_BUFFER_ID(4, 1)

/* Give a worker that does what it must not the time to do it. */
static void linger(void)
{
	sleep_ns(200000);
}

static void protect(struct endless *e, bool on)
{
	area_protect(&e->block, on ? PROT_NONE : PROT_READ | PROT_WRITE);
	area_protect(&e->array, on ? PROT_NONE : PROT_READ);
}

/* The first bytes have begun to change: the command is in the midst of its work. */
static void until_touched(const struct endless *e, uint8_t pattern)
{
	until(__atomic_load_n(e->block.host, __ATOMIC_ACQUIRE) == pattern);
}

/* An endless FILL, or an endless COPY from or to the endless buffer. */
static struct tdi_sqe long_command(struct endless *e, struct endless *aside, uint32_t kind, uint8_t pattern)
{
	if (kind == 0)
		return endless_fill(e, pattern);
	memset((kind == 1 ? aside : e)->block.host, pattern, aside->block.bytes);
	return kind == 1 ? copy(e->buffer, 0, aside->buffer, 0, e->bytes) :
			   copy(aside->buffer, 0, e->buffer, 0, e->bytes);
}

/*
 * UNMAP under a running command, as destination and as source: it completes at once, the command ends
 * BUFFER_ID, and nothing is touched. [EOA-1, EOA-4, BUF-5, BUF-3]
 */
static void unmap_running(struct host *h, uint32_t queues)
{
	struct endless e, aside;
	struct queue q[2];
	uint32_t i, j;

	endless_open(h, &aside, 1, OTHER);
	endless_open(h, &e, 1, BUFFER);
	for (j = 0; j < queues; j++)
		queue_open(h, &q[j], 10 + j, 1, 2);
	for (i = 0; i < ROUNDS; i++) {
		uint8_t pattern = (uint8_t)(i + 1);
		uint32_t kind = i % 3;
		uint64_t since;

		for (j = 0; j < queues; j++) {
			struct tdi_sqe sqe = long_command(&e, &aside, kind, pattern);

			submit(&q[j], &sqe);
			until_begun(&q[j], q[j].head);
		}
		until_touched(kind == 2 ? &aside : &e, pattern);
		since = now_ns();
		unmap(h, 1, BUFFER);
		protect(&e, true);
		/* Minutes of work were left. */
		assert_true(now_ns() - since < 2000000000);
		linger();
		for (j = 0; j < queues; j++) {
			assert_int_equal(reap(&q[j]), TDI_SC_BUFFER_ID);
			assert_int_equal(q[j].cqe.info, BUFFER);
			assert_true(q[j].cqe.units > 0);
		}
		protect(&e, false);
		map_blocks(h, 1, BUFFER, RW, e.array.address, 0, e.bytes, 22);
	}
	for (j = 0; j < queues; j++)
		queue_close(&q[j]);
	endless_close(&e);
	endless_close(&aside);
}

static void test_unmap(void **state)
{
	unmap_running(*state, 1);
}

static void test_unmap_two(void **state)
{
	unmap_running(*state, 2);
}

/* What isn't unmapped is untouched by it: other buffers, other contexts. [EOA-4, BUF-7] */
static void test_unmap_alone(void **state)
{
	struct host *h = *state;
	struct endless mine, others;
	struct queue q, other;
	struct tdi_sqe sqe;
	struct area memory;
	int i;

	context_create(h, 2, 1);
	endless_open(h, &mine, 1, BUFFER);
	endless_open(h, &others, 2, BUFFER);
	area_open(h, &memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	queue_open(h, &q, 10, 1, 2);
	queue_open(h, &other, 11, 2, 2);
	sqe = endless_fill(&mine, 1);
	until_begun(&q, submit(&q, &sqe));
	sqe = endless_fill(&others, 2);
	until_begun(&other, submit(&other, &sqe));
	for (i = 0; i < 50; i++) {
		map(h, 1, OTHER, RW, &memory, 0, TDI_PAGE_SIZE);
		map(h, 2, OTHER, RW, &memory, 0, TDI_PAGE_SIZE);
		unmap(h, 1, OTHER);
		unmap(h, 2, OTHER);
	}
	unmap(h, 1, BUFFER);
	assert_int_equal(reap(&q), TDI_SC_BUFFER_ID);
	assert_false(completed(&other, other.head));
	/* It does go on. */
	memset(others.block.host, 0, 8);
	until_touched(&others, 2);
	queue_close(&q);
	queue_close(&other);
	endless_close(&mine);
	endless_close(&others);
	area_close(&memory);
}

static void protect_queue(struct queue *q)
{
	area_protect(&q->producer_area, PROT_NONE);
	area_protect(&q->sq_area, PROT_NONE);
	area_protect(&q->page_area, PROT_NONE);
	area_protect(&q->cq_area, PROT_NONE);
}

/* What a queue does when it is destroyed. */
enum occupation { IDLE, FILLING, COPYING, STREAMING, PARKED, OCCUPATIONS };

static void occupy(struct queue *q, struct endless *e, struct endless *aside, enum occupation what,
		   uint8_t pattern)
{
	struct tdi_sqe sqe;

	switch (what) {
	case FILLING:
	case COPYING:
		sqe = long_command(e, aside, what == COPYING, pattern);
		submit(q, &sqe);
		until_begun(q, q->head);
		until_touched(e, pattern);
		break;
	case STREAMING:
		while (q->tail - q->head < q->depth) {
			sqe = fill(e->buffer, 0, 4096, pattern, 1);
			queue_push(q, &sqe);
		}
		queue_publish(q);
		until(completed(q, q->head));
		break;
	case PARKED:
		memset(e->block.host, 0, 8);
		sqe = sem_wait(e->buffer, 0, 1, 3000000000000ULL);
		submit(q, &sqe);
		until_parked(q);
		break;
	default:
		break;
	}
}

/*
 * QUEUE_DESTROY and CONTEXT_DESTROY: neither the rings nor the buffers are touched afterwards, and a kick
 * that is under way hits nothing. [EOA-2, EOA-3, EOA-5, ADM-43]
 */
static void destroy_running(struct host *h, bool context)
{
	struct endless e, aside;
	uint32_t i;

	endless_open(h, &aside, 1, OTHER);
	endless_open(h, &e, 1, BUFFER);
	for (i = 0; i < ROUNDS; i++) {
		struct tdi_admin_sqe sqe = context ? cmd_context(TDI_ADMIN_CONTEXT_DESTROY, 1) :
						     cmd_queue(TDI_ADMIN_QUEUE_DESTROY, 10);
		enum occupation what = (enum occupation)(i % OCCUPATIONS);
		uint64_t since;
		struct queue q;

		queue_open(h, &q, 10, 1, 12);
		occupy(&q, &e, &aside, what, (uint8_t)(i + 1));
		queue_kick(&q);
		since = now_ns();
		admin_ok(h, &sqe);
		protect_queue(&q);
		protect(&e, true);
		assert_true(now_ns() - since < 2000000000);
		queue_kick(&q);
		linger();
		if (what == FILLING || what == COPYING || what == PARKED)
			assert_int_equal(reap(&q), TDI_SC_ABORTED);
		/* No id is held back. */
		protect(&e, false);
		queue_forget(&q);
		queue_free_areas(&q);
		if (context) {
			context_create(h, 1, 1);
			map_blocks(h, 1, BUFFER, RW, e.array.address, 0, e.bytes, 22);
			map_blocks(h, 1, OTHER, RW, aside.array.address, 0, aside.bytes, 22);
		}
	}
	endless_close(&e);
	endless_close(&aside);
}

static void test_queue_destroy(void **state)
{
	destroy_running(*state, false);
}

static void test_context_destroy(void **state)
{
	destroy_running(*state, true);
}

/*
 * The end of the device itself: each command that was begun has its CQE, and then nothing is touched. [EOA-3]
 */
static void test_device_destroy(void **state)
{
	struct host *h = *state;
	struct endless e;
	struct queue q;
	uint32_t i;

	for (i = 0; i < 10; i++) {
		struct tdi_sqe command;

		endless_open(h, &e, 1, BUFFER);
		queue_open(h, &q, 10, 1, 2);
		command = endless_fill(&e, 1);
		until_begun(&q, submit(&q, &command));
		tn_device_destroy(h->device);
		protect_queue(&q);
		protect(&e, true);
		assert_int_equal(reap(&q), TDI_SC_ABORTED);
		device_anew(h);
		queue_forget(&q);
		queue_free_areas(&q);
		endless_close(&e);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_REAL(test_unmap),
		TEST_TWO(test_unmap_two),
		TEST_TWO(test_unmap_alone),
		TEST_REAL(test_queue_destroy),
		TEST_TWO(test_context_destroy),
		TEST_REAL(test_device_destroy),
	};

	return run_group("access", tests, sizeof(tests) / sizeof(tests[0]));
}
