/* SPDX-License-Identifier: MIT */
/* What a tenant can't do by what it writes to its rings: tails that lie, and entries that are garbage. */
#include "attacker.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

/* ---------------------------------------------------------------------------------- tails */

struct waiter {
	pthread_t thread;
	struct tenon_queue *queue;
	int result;
};

static void *wait_main(void *arg)
{
	struct waiter *w = arg;

	w->result = tenon_wait(w->queue, 1, SOON_NS);
	return NULL;
}

/*
 * [QUE-8, QUE-21, SOC-22] With a WAIT under way the tail becomes @tail - first: the queue stops, its waiter
 * wakes up, each command that was fetched ends once, and nothing else of the context is stopped. [QUE-14]
 */
static void stop_by(uint32_t jump, enum tdi_stop_reason reason)
{
	struct tdi_context_status status;
	struct tenon_context *context;
	struct tenon_buffer *semaphore;
	struct tenon_queue *queue, *other;
	struct waiter waiter;
	const struct tdi_cqe *cqe;
	unsigned int i, aborted = 0;
	uint32_t first;

	assert_int_equal(tenon_open(the_daemon.path, NULL, &context), 0);
	assert_int_equal(tenon_buffer_create(context, 4096, RW, &semaphore), 0);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &queue), 0);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &other), 0);
	first = queue->sq_next;
	tenon_prep_wait(tenon_sqe_get(queue), semaphore, 0, 1, HOUR_NS, 71);
	tenon_prep_signal(tenon_sqe_get(queue), semaphore, 8, 1, TDI_SIGNAL_ADD, 72);
	assert_int_equal(tenon_submit(queue), 0);
	AWAIT(tenon_load(&queue->device->fetched) == first + 1);
	waiter.queue = queue;
	assert_int_equal(pthread_create(&waiter.thread, NULL, wait_main, &waiter), 0);
	sleep_ns(2000000);

	tenon_store_release(&queue->producer->tail, first + jump);
	tenon_queue_kick_(queue);
	assert_int_equal(pthread_join(waiter.thread, NULL), 0);
	assert_true(!waiter.result || waiter.result == -ENODEV);
	assert_int_equal(tenon_context_status(context, &status), 0);
	assert_int_equal(status.queues, 2);
	assert_int_equal(status_of(&status, tenon_queue_id(queue))->state, TDI_QUEUE_STOPPED);
	assert_int_equal(status_of(&status, tenon_queue_id(queue))->reason, reason);
	assert_int_equal(status_of(&status, tenon_queue_id(queue))->completed, first + 1);
	assert_int_equal(status_of(&status, tenon_queue_id(other))->state, TDI_QUEUE_RUNNING);
	assert_true(tenon_load(&queue->kernel->flags) & TDI_KERNEL_DEAD);

	/* A tail that is right again changes nothing. */
	tenon_store_release(&queue->producer->tail, first + 2);
	tenon_queue_kick_(queue);
	for (i = 0; i < 50; i++) {
		struct tdi_sqe *sqe = tenon_sqe_get(other);

		tenon_prep_nop(sqe, i);
		assert_int_equal(tenon_submit(other), 0);
		assert_int_equal(tenon_wait(other, 1, SOON_NS), 0);
		cqe = tenon_cqe_peek(other);
		assert_non_null(cqe);
		assert_int_equal(cqe->status, TDI_SC_OK);
		tenon_cqe_seen(other);
	}
	/* The SIGNAL behind it was not run; the library ends it. */
	assert_int_equal(((uint64_t *)tenon_buffer_data(semaphore))[1], 0);
	assert_int_equal(queue->cq[first & queue->cq_mask].sequence, first + 1);
	assert_int_equal(queue->cq[(first + 1) & queue->cq_mask].sequence, first + 2 - 8);
	assert_int_equal(tenon_wait(queue, 2, SOON_NS), -ENODEV);
	for (; (cqe = tenon_cqe_peek(queue)); aborted++) {
		assert_int_equal(cqe->user_data, 71 + aborted);
		assert_int_equal(cqe->status, TDI_SC_ABORTED);
		tenon_cqe_seen(queue);
	}
	assert_int_equal(aborted, 2);

	/* Only QUEUE_DESTROY follows, and then there is room for another. */
	assert_int_equal(tenon_queue_destroy(queue), 0);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &queue), 0);
	tenon_prep_nop(tenon_sqe_get(queue), 1);
	assert_int_equal(tenon_submit(queue), 0);
	assert_int_equal(tenon_wait(queue, 1, SOON_NS), 0);
	tenon_close(context);
}

static void test_tail_ahead(void **state)
{
	stop_by(9, TDI_STOP_TAIL_AHEAD);
	stop_by(10, TDI_STOP_TAIL_AHEAD);
	stop_by(1u << 16, TDI_STOP_TAIL_AHEAD);
	stop_by(1u << 31, TDI_STOP_TAIL_AHEAD);
	/* Backward, as seen from the device, is far ahead. */
	stop_by(-1u, TDI_STOP_TAIL_AHEAD);
	stop_by(-8u, TDI_STOP_TAIL_AHEAD);
}

static void test_tail_behind(void **state)
{
	stop_by(0, TDI_STOP_TAIL_BEHIND);
}

/* An idle queue, and one that is polled. */
static void test_tail_of_idle_queue(void **state)
{
	struct fixture *f = *state;
	struct tdi_context_status status;
	struct tdi_cqe cqe;
	struct raw_queue q;
	uint32_t i, jump[] = { 65, 1u << 31, -1u, -64u, 0x55555555 };

	for (i = 0; i < 2 * ARRAY_SIZE(jump); i++) {
		struct pollfd ended = { .events = POLLIN };
		uint64_t start = now_ns();

		raw_queue(&f->r, 64, &q);
		if (i & 1) {
			raw_sqe(&q);
			raw_run(&q);
		}
		tenon_store_release(&q.producer->tail, q.next + jump[i / 2]);
		raw_kick(&q);
		/* The notice comes unasked. [WAI-10] */
		ended.fd = q.fd[TENON_FD_NOTICE];
		assert_int_equal(poll(&ended, 1, (int)(SOON_NS / 1000000)), 1);
		assert_true(tenon_load(&q.kernel->flags) & TDI_KERNEL_DEAD);
		raw_status(&f->r, &status);
		assert_int_equal(status_of(&status, q.id)->state, TDI_QUEUE_STOPPED);
		assert_int_equal(status_of(&status, q.id)->reason, TDI_STOP_TAIL_AHEAD);
		assert_false(raw_reap(&q, &cqe, 1000000));
		assert_int_equal(raw_queue_destroy(&f->r, q.id), 0);
		raw_queue_unmap(&q);
		assert_in_range(now_ns() - start, 0, SOON_NS);
	}
	still_works(f);
}

/* [TKO-2] What is under way is below `fetched` before anything of it can be seen. */
static void test_fetched_first(void **state)
{
	struct fixture *f = *state;
	struct raw_buffer big;
	struct tdi_cqe cqe;
	unsigned int i;
	uint64_t end;
	uint32_t index;

	raw_buffer(&f->r, 4 << 20, RW, &big);
	for (i = 0; i < 100; i++) {
		index = f->q.next;
		big.data[0] = 0;
		put_fill(raw_sqe(&f->q), big.id, 0, i % 2 ? big.bytes : 1, 1, 1);
		raw_submit(&f->q);
		end = now_ns() + SOON_NS;
		while (!__atomic_load_n(&big.data[0], __ATOMIC_ACQUIRE))
			assert_true(now_ns() < end);
		assert_int_equal(tenon_load(&f->q.device->fetched), index + 1);
		assert_true(raw_reap(&f->q, &cqe, SOON_NS));
		assert_int_equal(cqe.status, TDI_SC_OK);
	}
	raw_buffer_unmap(&big);
}

/* ------------------------------------------------------------------------------------ garbage */

static bool known_status(unsigned int status)
{
	return status <= TDI_SC_LIMIT || status == TDI_SC_CANCELED ||
	       (status >= TDI_SC_ABORTED && status <= TDI_SC_INDEX_RANGE);
}

static uint32_t some_id(struct fixture *f, uint64_t *seed)
{
	const uint32_t ids[] = { f->a.id, f->b.id, f->readonly.id, f->writeonly.id, f->treasure[6].id, 0 };
	uint64_t r = rnd(seed);

	return r % 16 < 12 ? ids[r % 16 / 2] : (uint32_t)(r >> 32);
}

static uint64_t some_number(uint64_t *seed)
{
	uint64_t r = rnd(seed);

	switch (r % 8) {
	case 0:
		return rnd(seed);
	case 1:
		return 0 - rnd(seed) % 64;
	case 2:
		return 1ULL << (r >> 8) % 64;
	default:
		return rnd(seed) % 8192;
	}
}

static void garbage(struct fixture *f, struct tdi_sqe *sqe, uint64_t *seed)
{
	static const uint8_t opcodes[] = { 0, 1, 2, 3, 4, 5, 0x10, 1, 2, 3, 0x10, 0x10 };
	unsigned int i;

	for (i = 0; i < sizeof(sqe->raw) / 8; i++)
		sqe->raw[i] = rnd(seed) % 4 ? some_number(seed) : 0;
	sqe->opcode = rnd(seed) % 8 ? opcodes[rnd(seed) % ARRAY_SIZE(opcodes)] : (uint8_t)rnd(seed);
	sqe->flags = rnd(seed) % 4 ? rnd(seed) % 4 : (uint8_t)rnd(seed);
	sqe->reserved0 = rnd(seed) % 32 ? 0 : 1;
	switch (rnd(seed) % 4 ? sqe->opcode : 0xff) {
	case TDI_OP_COPY:
		sqe->copy.dst = some_id(f, seed);
		sqe->copy.src = some_id(f, seed);
		sqe->copy.rows = rnd(seed) % 2 ? 1 : (uint32_t)some_number(seed);
		sqe->copy.reserved = 0;
		if (sqe->copy.rows == 1)
			sqe->copy.dst_pitch = sqe->copy.src_pitch = 0;
		break;
	case TDI_OP_FILL:
		sqe->fill.dst = some_id(f, seed);
		sqe->fill.width = 1u << rnd(seed) % 4;
		sqe->fill.reserved[0] = sqe->fill.reserved[1] = 0;
		break;
	case TDI_OP_SIGNAL:
		sqe->signal = (struct tdi_signal){ .buffer = some_id(f, seed), .mode = rnd(seed) % 2,
						   .offset = some_number(seed) & ~7ULL, .value = rnd(seed) };
		break;
	case TDI_OP_TENSOR:
		sqe->tensor = (struct tdi_tensor_cmd){ .buffer = some_id(f, seed),
						       .bytes = TDI_OP_BYTES(rnd(seed) % 9),
						       .offset = some_number(seed) & ~7ULL };
		break;
	}
	/* Else the queue would stand still for an hour: that is allowed, and tested elsewhere. */
	if (sqe->opcode == TDI_OP_WAIT) {
		sqe->wait.timeout_ns = rnd(seed) % 50000;
		sqe->wait.reserved0 = 0;
		sqe->wait.reserved1[0] = sqe->wait.reserved1[1] = 0;
		sqe->wait.buffer = some_id(f, seed);
		sqe->wait.offset &= ~7ULL;
	}
}

/*
 * A second of random entries: each ends with exactly one CQE, in order, with a status that there is; nothing
 * is written but where the tenant may have it written; the books are right. [QUE-11, CMD-5, ERR-22, MET-3,
 * BUF-6]
 */
static void test_garbage(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 0x7e40a11, end = now_ns() + 1000000000, sent = 0, ended = 0, errors = 0, sum = 0;
	struct tdi_usage before, after;
	struct tdi_cqe cqe;
	unsigned int i;

	raw_usage(&f->r, &before);
	while (now_ns() < end || ended != sent) {
		while (now_ns() < end && sent - ended < f->q.depth) {
			struct tdi_sqe *sqe = raw_sqe(&f->q);

			garbage(f, sqe, &seed);
			sqe->user_data = 0xfeed0000 + sent++;
		}
		raw_submit(&f->q);
		assert_true(raw_reap(&f->q, &cqe, SOON_NS));
		assert_int_equal(cqe.user_data, 0xfeed0000 + ended);
		if (!known_status(cqe.status))
			print_error("command %llu: status %#x\n", (unsigned long long)ended, cqe.status);
		assert_true(known_status(cqe.status));
		errors += cqe.status != TDI_SC_OK;
		ended++;
	}
	assert_true(sent > 1000 && errors > 100 && errors < sent);
	assert_true(all_bytes(f->a.data + 5000, 0xa1, f->a.mapped - 5000));
	assert_true(all_bytes(f->b.data + 5000, 0xb2, f->b.mapped - 5000));
	assert_true(all_bytes(f->readonly.data, 0xc3, f->readonly.mapped));
	raw_usage(&f->r, &after);
	for (i = 0; i < TDI_USAGE_KINDS; i++) {
		assert_true(after.commands[i] >= before.commands[i]);
		sum += after.commands[i] - before.commands[i];
		/* All were there but EXEC and TENSOR, which were perhaps all refused. */
		assert_true(after.commands[i] > before.commands[i] || i == 5 || i == 6);
	}
	assert_int_equal(sum, sent);
	assert_int_equal(after.errors - before.errors, errors);
	/* The last one may have failed with LINK. */
	raw_sqe(&f->q);
	raw_run(&f->q);
	still_works(f);
}

/* [CMD-6, MET-3] A chain of opcodes that aren't any: the first is refused, the rest canceled unseen, all are
 * counted. */
static void test_canceled_garbage(void **state)
{
	struct fixture *f = *state;
	struct tdi_usage before, after;
	struct tdi_cqe cqe;
	unsigned int i;

	raw_usage(&f->r, &before);
	for (i = 0; i < 64; i++) {
		struct tdi_sqe *sqe = raw_sqe(&f->q);

		sqe->opcode = 0xff - i % 16;
		sqe->flags = TDI_SQE_LINK;
	}
	raw_submit(&f->q);
	for (i = 0; i < 64; i++) {
		assert_true(raw_reap(&f->q, &cqe, SOON_NS));
		assert_int_equal(cqe.status, i ? TDI_SC_CANCELED : TDI_SC_OPCODE);
	}
	raw_usage(&f->r, &after);
	assert_int_equal(after.commands[7] - before.commands[7], 64);
	assert_int_equal(after.errors - before.errors, 64);
	put_fill(raw_sqe(&f->q), f->a.id, 0, 8, 0xa1, 1);
	expect(f, TDI_SC_CANCELED, 0);
	still_works(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tail_ahead), TEST(tail_behind), TEST(tail_of_idle_queue), TEST(fetched_first),
		TEST(garbage), TEST(canceled_garbage),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("rings", tests, group_setup, group_teardown);
}
