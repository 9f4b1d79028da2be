/* SPDX-License-Identifier: MIT */
/* Who gets the device for how long, and what is charged for it. */
#include "harness.h"

#include <stdlib.h>

#define LONG_NS		3000000000000ULL
#define A		TDI_BUFFER_ID(1, 1)
#define B		TDI_BUFFER_ID(2, 1)

/*
 * The virtual clock's price of a COPY of one unit of 64 KiB, which is one row, and of what any command costs.
 */
#define UNIT		65536
#define UNIT_NS		(UNIT + 32)
#define COMMAND_NS	TN_VIRTUAL_COMMAND_NS

/* Units that a queue runs in a turn: up to the quantum, and the one that is under way then. [ARB-5] */
static uint64_t turn_ns(uint64_t quantum)
{
	return (quantum + UNIT_NS - 1) / UNIT_NS * UNIT_NS;
}

struct memory {
	struct area a, b;
};

/* Buffers A and B of @bytes each, in contexts 1 to @contexts. */
static void memory_open(struct host *h, struct memory *m, size_t bytes, uint32_t contexts)
{
	uint32_t i;

	area_open(h, &m->a, bytes, PROT_READ | PROT_WRITE);
	area_open(h, &m->b, bytes, PROT_READ | PROT_WRITE);
	for (i = 1; i <= contexts; i++) {
		map(h, i, A, RW, &m->a, 0, bytes);
		map(h, i, B, RW, &m->b, 0, bytes);
	}
}

static void memory_close(struct memory *m)
{
	area_close(&m->a);
	area_close(&m->b);
}

static void group_create(struct host *h, uint32_t group, uint64_t quantum)
{
	struct tdi_admin_sqe sqe = cmd_group(TDI_ADMIN_GROUP_CREATE, group);

	sqe.group.quantum_ns = quantum;
	admin_ok(h, &sqe);
}

static void group_modify(struct host *h, uint32_t group, uint64_t quantum)
{
	struct tdi_admin_sqe sqe = cmd_group(TDI_ADMIN_GROUP_MODIFY, group);

	sqe.group.quantum_ns = quantum;
	admin_ok(h, &sqe);
}

/* --------------------------------------------------------------------------------------- turns */

static uint64_t context_busy(struct host *h, uint32_t context)
{
	struct tdi_usage usage;

	context_usage(h, context, &usage);
	return usage.busy_ns;
}

static uint64_t queue_busy(struct host *h, uint32_t queue)
{
	struct tdi_usage usage;

	queue_usage(h, queue, &usage);
	return usage.busy_ns;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/*
 * Context 1 with eight queues, context 2 with one, context 3 of another group with three: while all have work
 * each gets the same time, to one turn, and so do the queues of a context. [ARB-2, ARB-3, ARB-12, MET-9]
 */
static void test_fair(void **state)
{
	static const struct {
		uint32_t context, depth_log2;
	} queues[] = { { 1, 8 }, { 1, 8 }, { 1, 8 }, { 1, 8 }, { 1, 8 }, { 1, 8 }, { 1, 8 }, { 1, 8 },
		       { 2, 11 }, { 3, 10 }, { 3, 10 }, { 3, 10 } };
	const uint64_t step = UNIT_NS + COMMAND_NS, slack = turn_ns(TN_QUANTUM_NS) + 16 * COMMAND_NS + step;
	struct host *h = *state;
	struct queue q[12];
	struct memory m;
	uint32_t round, i, j, seen = 0;

	group_create(h, 2, 0);
	context_create(h, 2, 1);
	context_create(h, 3, 2);
	memory_open(h, &m, UNIT, 3);
	for (round = 0; round < 8; round++) {
		uint64_t before[4], busy[4], each[12];

		quiesce(h);
		for (i = 1; i <= 3; i++)
			before[i] = context_busy(h, i);
		for (i = 0; i < 12; i++) {
			queue_open(h, &q[i], 10 + i, queues[i].context, queues[i].depth_log2);
			for (j = 0; j < q[i].depth; j++) {
				struct tdi_sqe sqe = copy(A, 0, B, 0, UNIT);

				queue_push(&q[i], &sqe);
			}
			queue_tail(&q[i]);
		}
		resume(h);
		j = q[8].head + 100 + random_below(1500);
		until(completed(&q[8], j));
		quiesce(h);
		for (i = 1; i <= 3; i++)
			busy[i] = context_busy(h, i) - before[i];
		for (i = 0; i < 12; i++)
			each[i] = queue_busy(h, 10 + i);
		/* As long as none has come to its end. */
		for (i = 0; i < 12 && !completed(&q[i], q[i].tail - 1); i++)
			;
		if (i == 12 && busy[2] > 4 * slack) {
			seen++;
			for (i = 1; i <= 3; i++)
				for (j = 1; j < i; j++)
					assert_true(distance(busy[i], busy[j]) <= slack);
			for (i = 0; i < 12; i++)
				for (j = 0; j < i; j++)
					if (queues[i].context == queues[j].context)
						assert_true(distance(each[i], each[j]) <= slack);
		}
		resume(h);
		for (i = 0; i < 12; i++) {
			while (q[i].head != q[i].tail) {
				assert_int_equal(reap(&q[i]), TDI_SC_OK);
				/* The same price whoever else is there. */
				assert_int_equal(q[i].cqe.busy_ns, step);
				assert_int_equal(q[i].cqe.units, 1);
			}
			queue_close(&q[i]);
		}
	}
	assert_true(seen > 0);
	memory_close(&m);
}

/*
 * A COPY of many quanta beside a queue of short commands in another context: each turn is a quantum and the
 * unit under way, to the nanosecond. Refused commands take their time, too. [ARB-4, ARB-5, ADM-35, MET-5]
 */
static void check_quantum(struct host *h, struct memory *m, uint64_t quantum, uint64_t in_force,
			  struct tdi_sqe (*command)(void), int status)
{
	const uint64_t per_turn = (in_force + COMMAND_NS - 1) / COMMAND_NS;
	const uint64_t nops = 3000, turn = turn_ns(in_force);
	const uint64_t turns = (nops + per_turn - 1) / per_turn;
	struct tdi_usage usage;
	struct queue q, other;
	uint64_t i;
	struct tdi_sqe sqe;

	group_modify(h, 1, quantum);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &other, 11, 2, 12);
	/* Both idle, so that RESUME is what makes them ready. */
	until(tenon_load(&q.page->flags) && tenon_load(&other.page->flags));
	quiesce(h);
	sqe = copy(A, 0, B, 0, m->a.bytes);
	queue_push(&q, &sqe);
	queue_tail(&q);
	for (i = 0; i < nops; i++) {
		sqe = command();
		queue_push(&other, &sqe);
	}
	queue_tail(&other);
	resume(h);
	for (i = 0; i < nops; i++) {
		assert_int_equal(reap(&other), status);
		assert_int_equal(other.cqe.busy_ns, COMMAND_NS);
	}
	assert_int_equal(reap(&q), TDI_SC_OK);
	assert_int_equal(q.cqe.units, m->a.bytes / UNIT);
	assert_int_equal(q.cqe.busy_ns, m->a.bytes / UNIT * UNIT_NS + COMMAND_NS);

	queue_usage(h, 11, &usage);
	assert_int_equal(usage.wait_ns, turns * turn);
	assert_int_equal(usage.wait_hist[63 - __builtin_clzll(turn)], turns);
	assert_int_equal(usage.wait_hist[0], nops - turns);
	assert_int_equal(usage.service_hist[9], nops);	/* 1000 ns */
	queue_usage(h, 10, &usage);
	assert_int_equal(usage.wait_ns, 0);
	assert_int_equal(usage.wait_hist[0], 1);
	assert_int_equal(usage.service_hist[63 - __builtin_clzll(q.cqe.busy_ns)], 1);
	queue_close(&q);
	queue_close(&other);
}

static void test_quantum(void **state)
{
	struct host *h = *state;
	struct memory m;

	context_create(h, 2, 1);
	memory_open(h, &m, 16 << 20, 2);
	check_quantum(h, &m, 0, TN_QUANTUM_NS, nop, TDI_SC_OK);
	check_quantum(h, &m, 300000, 300000, nop, TDI_SC_OK);
	check_quantum(h, &m, 2000000, 2000000, nop, TDI_SC_OK);
	check_quantum(h, &m, 0, TN_QUANTUM_NS, bad, TDI_SC_RESERVED);
	memory_close(&m);
}

/* A command that yields after each unit does what it does in one go. [ARB-6, ARB-4, QUE-12] */
static void test_yield(void **state)
{
	struct host *h = *state;
	const size_t bytes = 1 << 20;
	struct queue q[3];
	struct memory m;
	uint32_t i, round;
	size_t at;

	group_modify(h, 1, 1);
	context_create(h, 2, 1);
	memory_open(h, &m, bytes, 2);
	for (i = 0; i < 3; i++)
		queue_open(h, &q[i], 10 + i, 1 + i % 2, 3);
	for (round = 0; round < 10; round++) {
		for (at = 0; at < bytes; at++) {
			m.a.host[at] = (uint8_t)random_u32();
			m.b.host[at] = 0;
		}
		quiesce(h);
		for (i = 0; i < 3; i++) {
			uint32_t third = bytes / 4;
			struct tdi_sqe sqe = copy_rows(B, i * third, 700, A, i * third, 700, 601,
						       third / 700);

			queue_push(&q[i], &sqe);
			sqe = fill(B, 3 * third + 8192 * i, 8192, 0x0101010101010101ULL * (i + 1), 8);
			queue_push(&q[i], &sqe);
			queue_tail(&q[i]);
		}
		resume(h);
		for (i = 0; i < 3; i++) {
			assert_int_equal(reap(&q[i]), TDI_SC_OK);
			assert_true(q[i].cqe.units > 3);
			assert_true(q[i].cqe.busy_ns <= q[i].cqe.units * (uint64_t)TN_GRANULARITY_NS);
			assert_int_equal(reap(&q[i]), TDI_SC_OK);
		}
		for (at = 0; at < bytes; at++) {
			uint32_t third = bytes / 4, part = (uint32_t)(at / third), in = at % third;
			uint8_t wanted = 0;

			if (part < 3 && in / 700 < third / 700 && in % 700 < 601)
				wanted = m.a.host[at];
			else if (part == 3 && in < 3 * 8192)
				wanted = (uint8_t)(in / 8192 + 1);
			if (m.b.host[at] != wanted)
				fail_msg("byte %zu is 0x%x, not 0x%x", at, m.b.host[at], wanted);
		}
	}
	for (i = 0; i < 3; i++)
		queue_close(&q[i]);
	memory_close(&m);
}

/*
 * Two units and a quantum without end: a queue that gets ready is run at once by the unit that has nothing to
 * do, however it got ready. [ARB-1]
 */
static void test_no_idle_unit(void **state)
{
	struct host *h = *state;
	struct endless e;
	struct queue busy, q[3];
	struct memory m;
	struct tdi_sqe sqe;
	uint32_t round, i;

	group_modify(h, 1, LONG_NS);
	context_create(h, 2, 1);
	memory_open(h, &m, 4096, 2);
	endless_open(h, &e, 1, TDI_BUFFER_ID(3, 1));
	queue_open(h, &busy, 10, 1, 3);
	for (i = 0; i < 3; i++)
		queue_open(h, &q[i], 11 + i, 1 + i % 2, 3);
	for (round = 0; round < 25; round++) {
		struct tdi_admin_sqe abort;

		/* By the SIGNAL that the busy queue gives before it is busy. */
		sqe = sem_wait(A, 0, round + 1, LONG_NS);
		for (i = 0; i < 3; i++) {
			submit(&q[i], &sqe);
			until_parked(&q[i]);
		}
		if (round % 2)
			until(tenon_load(&busy.page->flags));	/* all units sleep */
		sqe = sem_signal(A, 0, round + 1, TDI_SIGNAL_MAX);
		queue_push(&busy, &sqe);
		sqe = endless_fill(&e, 1);
		queue_push(&busy, &sqe);
		queue_publish(&busy);
		assert_int_equal(reap(&busy), TDI_SC_OK);
		for (i = 0; i < 3; i++)
			assert_int_equal(reap(&q[i]), TDI_SC_OK);
		/* By kicks. */
		for (i = 0; i < 3; i++) {
			sqe = nop();
			submit(&q[i], &sqe);
		}
		for (i = 0; i < 3; i++)
			assert_int_equal(reap(&q[i]), TDI_SC_OK);
		assert_false(completed(&busy, busy.head));
		abort = cmd_abort(10, busy.head);
		admin_ok(h, &abort);
		assert_int_equal(reap(&busy), TDI_SC_ABORTED);
		/*
		 * All at once, by RESUME; and by tails that nobody was told of, since the queues are polled.
		 */
		quiesce(h);
		sqe = endless_fill(&e, 1);
		submit(&busy, &sqe);
		for (i = 0; i < 3; i++) {
			sqe = nop();
			submit(&q[i], &sqe);
		}
		resume(h);
		for (i = 0; i < 3; i++)
			assert_int_equal(reap(&q[i]), TDI_SC_OK);
		abort = cmd_abort(10, busy.head);
		admin_ok(h, &abort);
		assert_int_equal(reap(&busy), TDI_SC_ABORTED);
	}
	queue_close(&busy);
	for (i = 0; i < 3; i++)
		queue_close(&q[i]);
	endless_close(&e);
	memory_close(&m);
}

/* ----------------------------------------------------------------------------------- what is charged */

/* The sum of what CQEs told. */
struct sums {
	uint64_t busy, errors, count;
	uint64_t commands[TDI_USAGE_KINDS];
	uint64_t service[TDI_USAGE_BUCKETS];
};

static void sums_add(struct sums *s, const struct sums *more)
{
	size_t i;

	for (i = 0; i < sizeof(*s) / 8; i++)
		((uint64_t *)s)[i] += ((const uint64_t *)more)[i];
}

static void account(struct sums *s, const struct tdi_sqe *sqe, const struct tdi_cqe *cqe)
{
	unsigned int bucket = 0, kind = sqe->opcode;

	while (bucket < TDI_USAGE_BUCKETS - 1 && cqe->busy_ns >> (bucket + 1))
		bucket++;
	if (cqe->status >= 0x01 && cqe->status <= 0x1f)
		kind = 7;
	else if (kind > TDI_OP_EXEC)
		kind = sqe->opcode == TDI_OP_TENSOR ? 6 : 7;
	s->busy += cqe->busy_ns;
	s->errors += cqe->status != TDI_SC_OK;
	s->commands[kind]++;
	s->service[bucket]++;
	s->count++;
}

static void reap_and_account(struct queue *q, struct sums *s)
{
	struct tdi_sqe sqe = q->sent[q->head & q->mask];

	reap(q);
	account(s, &sqe, &q->cqe);
}

static void assert_usage(const struct tdi_usage *usage, const struct sums *s)
{
	uint64_t waited = 0;
	int i;

	assert_int_equal(usage->busy_ns, s->busy);
	assert_int_equal(usage->errors, s->errors);
	assert_int_equal(usage->energy_nj, 0);	/* [NEG-3] */
	for (i = 0; i < TDI_USAGE_KINDS; i++)
		assert_int_equal(usage->commands[i], s->commands[i]);
	for (i = 0; i < TDI_USAGE_BUCKETS; i++) {
		assert_int_equal(usage->service_hist[i], s->service[i]);
		waited += usage->wait_hist[i];
	}
	assert_int_equal(waited, s->count);
}

static struct tdi_sqe random_command(void)
{
	struct tdi_sqe sqe = nop();

	switch (random_below(10)) {
	case 0:
		sqe = copy(A, 0, B, 0, 1 + random_below(200000));
		break;
	case 1:
		sqe = copy_rows(A, 0, 500, B, 0, 400, 300, 1 + random_below(400));
		if (sqe.copy.rows == 1)
			sqe.copy.dst_pitch = sqe.copy.src_pitch = 0;
		break;
	case 2:
		sqe = fill(A, 0, 8 * (1 + random_below(10000)), random_u32(), 8);
		break;
	case 3:
		sqe = sem_signal(B, 0, 1, TDI_SIGNAL_ADD);
		break;
	case 4:
		sqe = sem_wait(B, 0, random_below(2) ? 0 : 1ULL << 40, 1 + random_below(3000));
		break;
	case 5:
		sqe = bad();
		break;
	case 6:
		sqe = fill(A + 1, 0, 8, 0, 8);
		break;
	case 7:
		sqe.opcode = (uint8_t)random_u32();
		break;
	case 8:
		sqe.opcode = TDI_OP_TENSOR;
		break;
	}
	if (sqe.opcode == TDI_OP_TENSOR)
		sqe.flags = 0x80;	/* refused without a descriptor, if it isn't canceled */
	if (random_below(3) == 0)
		sqe.flags |= TDI_SQE_LINK;
	return sqe;
}

/*
 * Random commands in three contexts of two groups, some refused, canceled, timed out or aborted: what the
 * CQEs tell is what usage has, for each queue, context and group, and it stays when queues and contexts go.
 * [MET-2] [MET-3, MET-5, MET-6, MET-7, MET-11]
 */
static void test_books(void **state)
{
	static const uint32_t context_of[] = { 1, 1, 1, 2, 3, 3 };
	struct host *h = *state;
	struct sums queue[6] = { 0 }, context[5] = { 0 }, group[3] = { 0 };
	struct tdi_controller_log log;
	struct tdi_admin_sqe sqe;
	struct tdi_usage usage;
	struct endless e;
	struct queue q[6];
	struct memory m;
	uint32_t i, j, round;
	uint64_t ran[3];

	group_create(h, 2, 50000);
	context_create(h, 2, 1);
	context_create(h, 3, 2);
	context_create(h, 4, 1);
	memory_open(h, &m, 1 << 18, 4);
	endless_open(h, &e, 1, TDI_BUFFER_ID(3, 1));
	for (i = 0; i < 6; i++)
		queue_open(h, &q[i], 10 + i, context_of[i], 4);
	for (round = 0; round < 60; round++) {
		for (i = 0; i < 6; i++) {
			uint32_t n = random_below(16);

			for (j = 0; j < n; j++) {
				struct tdi_sqe command = random_command();

				queue_push(&q[i], &command);
			}
			queue_publish(&q[i]);
		}
		/* Whatever these hit, or don't. */
		for (i = 0; i < 6; i++) {
			sqe = cmd_abort(10 + i, q[i].head + random_below(12));
			admin(h, &sqe, NULL);
		}
		if (round % 10 == 9) {
			sqe = cmd_context(TDI_ADMIN_CONTEXT_RESET, 1 + random_below(3));
			admin_ok(h, &sqe);
		}
		for (i = 0; i < 6; i++)
			while (q[i].head != q[i].tail)
				reap_and_account(&q[i], &queue[i]);
	}
	/* One that has run for long when it is aborted. */
	for (i = 0; i < 3; i++) {
		struct tdi_sqe command = nop();

		submit(&q[i], &command);	/* the end of a chain, perhaps */
		reap_and_account(&q[i], &queue[i]);
		command = endless_fill(&e, 1);
		until_begun(&q[i], submit(&q[i], &command));
		sleep_ns(3000000);
		sqe = cmd_abort(10 + i, q[i].head);
		admin_ok(h, &sqe);
		reap_and_account(&q[i], &queue[i]);
		assert_int_equal(q[i].cqe.status, TDI_SC_ABORTED);
		assert_true(q[i].cqe.units > 1 && q[i].cqe.busy_ns > 0);
	}
	for (i = 0; i < 6; i++) {
		queue_usage(h, 10 + i, &usage);
		assert_usage(&usage, &queue[i]);
		sums_add(&context[context_of[i]], &queue[i]);
		sums_add(&group[context_of[i] == 3 ? 2 : 1], &queue[i]);
	}
	/* All there, then some queues gone, then all, then contexts. */
	for (round = 0; round < 6; round++) {
		for (i = 1; i <= 4; i++) {
			if (round >= 4 && i <= 2)
				continue;
			if (round >= 5 && i == 3)
				continue;
			context_usage(h, i, &usage);
			assert_usage(&usage, &context[i]);
		}
		for (i = 1; i <= 2; i++) {
			group_usage(h, i, &usage);
			assert_usage(&usage, &group[i]);
		}
		get_log(h, TDI_LOG_CONTROLLER, 0, &log, sizeof(log));
		assert_int_equal(log.busy_ns, group[1].busy + group[2].busy);
		assert_int_equal(log.late_completions, 0);
		for (i = 0; i < 6 && round < 3; i++)
			if (i % 3 == round)
				queue_close(&q[i]);
		if (round == 3)
			for (i = 1; i <= 2; i++) {
				sqe = cmd_context(TDI_ADMIN_CONTEXT_DESTROY, i);
				admin_ok(h, &sqe);
			}
		if (round == 4) {
			sqe = cmd_context(TDI_ADMIN_CONTEXT_DESTROY, 3);
			admin_ok(h, &sqe);
		}
	}
	/* The controller's own don't go back when a group does. [MET-1] */
	ran[0] = log.busy_ns;
	sqe = cmd_group(TDI_ADMIN_GROUP_DESTROY, 2);
	admin_ok(h, &sqe);
	get_log(h, TDI_LOG_CONTROLLER, 0, &log, sizeof(log));
	assert_int_equal(log.busy_ns, ran[0]);
	endless_close(&e);
	memory_close(&m);
}

/* DESTROY with a place for the last usage: what it wrote there. */
static void destroy(struct host *h, struct tdi_admin_sqe sqe, struct tdi_usage *usage)
{
	const size_t at = 8;

	memset(h->data.host, 0xee, h->data.bytes);
	sqe.destroy.usage = h->data.address + at;
	admin_ok(h, &sqe);
	memcpy(usage, h->data.host + at, sizeof(*usage));
	assert_int_equal(h->data.host[at - 1], 0xee);
	assert_int_equal(h->data.host[at + sizeof(*usage)], 0xee);
}

/*
 * Queues, context and group are destroyed while commands are under way: the last usage has those, too, as
 * their CQEs tell. [MET-12]
 */
static void test_last_usage(void **state)
{
	struct host *h = *state;
	struct tdi_usage usage;
	struct sums sums[3] = { 0 }, all = { 0 };
	struct endless e;
	struct queue q[3];
	uint32_t i;

	group_create(h, 2, 0);
	context_create(h, 2, 2);
	endless_open(h, &e, 2, TDI_BUFFER_ID(3, 1));
	for (i = 0; i < 3; i++) {
		struct tdi_sqe sqe = bad();

		queue_open(h, &q[i], 10 + i, 2, 3);
		submit(&q[i], &sqe);
		reap_and_account(&q[i], &sums[i]);
		sqe = endless_fill(&e, 1);
		until_begun(&q[i], submit(&q[i], &sqe));
	}
	sleep_ns(3000000);
	destroy(h, cmd_queue(TDI_ADMIN_QUEUE_DESTROY, 10), &usage);
	reap_and_account(&q[0], &sums[0]);
	assert_int_equal(q[0].cqe.status, TDI_SC_ABORTED);
	assert_usage(&usage, &sums[0]);
	destroy(h, cmd_context(TDI_ADMIN_CONTEXT_DESTROY, 2), &usage);
	for (i = 1; i < 3; i++) {
		reap_and_account(&q[i], &sums[i]);
		assert_int_equal(q[i].cqe.status, TDI_SC_ABORTED);
	}
	for (i = 0; i < 3; i++)
		sums_add(&all, &sums[i]);
	assert_usage(&usage, &all);
	destroy(h, cmd_group(TDI_ADMIN_GROUP_DESTROY, 2), &usage);
	assert_usage(&usage, &all);
	for (i = 0; i < 3; i++) {
		queue_forget(&q[i]);
		queue_free_areas(&q[i]);
	}
	endless_close(&e);
}

/* What was read and written, by commands that did it. [MET-4] */
static void test_bytes(void **state)
{
	struct host *h = *state;
	uint64_t read = 0, written = 0, i;
	struct tdi_usage usage;
	struct memory m;
	struct queue q;

	memory_open(h, &m, 1 << 18, 1);
	queue_open(h, &q, 10, 1, 3);
	for (i = 1; i <= 300; i++) {
		uint32_t bytes = 1 + random_below(200000), rows = 2 + random_below(100);
		struct tdi_sqe sqe;

		sqe = copy(A, 0, B, 0, bytes);
		assert_int_equal(run(&q, &sqe), TDI_SC_OK);
		sqe = copy_rows(A, 0, 500, B, 0, 400, 300, rows);
		assert_int_equal(run(&q, &sqe), TDI_SC_OK);
		read += bytes + 300 * rows;
		written += bytes + 300 * rows;
		sqe = fill(A, 0, bytes, 0, 1);
		assert_int_equal(run(&q, &sqe), TDI_SC_OK);
		written += bytes;
		/* Refused ones didn't. */
		sqe = copy(A, 0, A, 0, bytes);
		assert_int_equal(run(&q, &sqe), TDI_SC_OVERLAP);
		sqe = fill(A, m.a.bytes, bytes, 0, 1);
		assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_BOUNDS);
		queue_usage(h, 10, &usage);
		assert_int_equal(usage.bytes_read, read);
		assert_int_equal(usage.bytes_written, written);
	}
	queue_close(&q);
	memory_close(&m);
}

/* Counters only go up, whoever looks when, and what one does isn't in another's. [MET-1, MET-7] */
static void test_only_up(void **state)
{
	struct host *h = *state;
	struct tdi_usage last[4] = { 0 }, usage[4], idle;
	struct queue q[2];
	struct memory m;
	uint32_t i, j, k, looks = 0;

	context_create(h, 2, 1);
	context_create(h, 3, 1);
	memory_open(h, &m, 1 << 18, 2);
	for (i = 0; i < 2; i++)
		queue_open(h, &q[i], 10 + i, 1 + i, 6);
	for (i = 0; i < 40; i++) {
		for (j = 0; j < 2; j++) {
			for (k = 0; k < 30; k++) {
				struct tdi_sqe sqe = random_command();

				queue_push(&q[j], &sqe);
			}
			queue_publish(&q[j]);
		}
		do {
			for (j = 0; j < 2; j++)
				queue_usage(h, 10 + j, &usage[j]);
			context_usage(h, 1, &usage[2]);
			group_usage(h, 1, &usage[3]);
			for (j = 0; j < 4; j++)
				for (k = 0; k < sizeof(*usage) / 8; k++)
					assert_true(((uint64_t *)&usage[j])[k] >= ((uint64_t *)&last[j])[k]);
			memcpy(last, usage, sizeof(last));
			looks++;
		} while (!completed(&q[0], q[0].tail - 1) || !completed(&q[1], q[1].tail - 1));
		for (j = 0; j < 2; j++)
			while (q[j].head != q[j].tail)
				reap(&q[j]);
	}
	assert_true(looks >= 40);
	context_usage(h, 3, &usage[0]);
	memset(&idle, 0, sizeof(idle));
	assert_memory_equal(&usage[0], &idle, sizeof(idle));
	for (i = 0; i < 2; i++)
		queue_close(&q[i]);
	/* Nor when queues are gone. */
	context_usage(h, 1, &usage[2]);
	group_usage(h, 1, &usage[3]);
	for (j = 2; j < 4; j++)
		for (k = 0; k < sizeof(*usage) / 8; k++)
			assert_true(((uint64_t *)&usage[j])[k] >= ((uint64_t *)&last[j])[k]);
	memory_close(&m);
}

/* The time for which a WAIT is parked is charged to nobody. [SEM-13, MET-2] */
static void check_parked(struct host *h, uint64_t ns, uint64_t at_most)
{
	struct tdi_usage usage;
	struct memory m;
	struct queue q;
	struct tdi_sqe sqe;

	memory_open(h, &m, 4096, 1);
	queue_open(h, &q, 10, 1, 3);
	sqe = sem_wait(A, 0, 1, ns);
	assert_int_equal(run(&q, &sqe), TDI_SC_TIMEOUT);
	assert_true(q.cqe.busy_ns <= at_most);
	assert_true(q.cqe.units > 0);
	queue_usage(h, 10, &usage);
	assert_int_equal(usage.busy_ns, q.cqe.busy_ns);
	assert_int_equal(usage.service_hist[0] + usage.service_hist[9], at_most == COMMAND_NS);
	queue_close(&q);
	memory_close(&m);
}

static void test_parked_virtual(void **state)
{
	check_parked(*state, 1000000000000, COMMAND_NS);
}

static void test_parked_real(void **state)
{
	check_parked(*state, 100000000, 50000000);
}

/* ------------------------------------------------------------------------------------- the same again */

#define SCENARIO_QUEUES		5
#define SCENARIO_COMMANDS	256

/* All CQEs of a mixed load in virtual time, and the time at its end. */
static uint64_t scenario(struct tdi_cqe *cqe)
{
	static const uint32_t context_of[SCENARIO_QUEUES] = { 1, 1, 1, 2, 3 };
	struct queue q[SCENARIO_QUEUES];
	struct memory m;
	struct host *h;
	uint32_t i, j;
	uint64_t end;
	void *state;

	random_begin();
	setup_virtual(&state);
	h = state;
	group_create(h, 2, 50000);
	context_create(h, 2, 1);
	context_create(h, 3, 2);
	memory_open(h, &m, 1 << 18, 3);
	quiesce(h);
	for (i = 0; i < SCENARIO_QUEUES; i++) {
		queue_open(h, &q[i], 10 + i, context_of[i], 8);
		for (j = 0; j < SCENARIO_COMMANDS; j++) {
			struct tdi_sqe sqe = random_command();

			sqe.user_data = i * SCENARIO_COMMANDS + j;
			queue_push(&q[i], &sqe);
		}
		queue_tail(&q[i]);
	}
	resume(h);
	for (i = 0; i < SCENARIO_QUEUES; i++) {
		for (j = 0; j < SCENARIO_COMMANDS; j++) {
			reap(&q[i]);
			cqe[i * SCENARIO_COMMANDS + j] = q[i].cqe;
		}
	}
	end = tn_device_now(h->device);
	for (i = 0; i < SCENARIO_QUEUES; i++)
		queue_close(&q[i]);
	memory_close(&m);
	teardown(&state);
	return end;
}

/* [MET-9] */
static void test_same_again(void **state)
{
	static struct tdi_cqe first[SCENARIO_QUEUES * SCENARIO_COMMANDS];
	static struct tdi_cqe again[SCENARIO_QUEUES * SCENARIO_COMMANDS];
	uint64_t end = scenario(first), sum = 0;
	int i;

	for (i = 0; i < SCENARIO_QUEUES * SCENARIO_COMMANDS; i++)
		sum += first[i].busy_ns;
	assert_true(sum <= end);
	for (i = 0; i < 3; i++) {
		memset(again, 0, sizeof(again));
		assert_int_equal(scenario(again), end);
		assert_memory_equal(first, again, sizeof(first));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_VIRTUAL(test_fair),
		TEST_VIRTUAL(test_quantum),
		TEST_VIRTUAL(test_yield),
		TEST_TWO(test_no_idle_unit),
		TEST_VIRTUAL(test_books),
		{ "test_books_real", test_books, setup_real, teardown, NULL },
		{ "test_books_two", test_books, setup_two, teardown, NULL },
		TEST_REAL(test_last_usage),
		TEST_REAL(test_bytes),
		TEST_VIRTUAL(test_only_up),
		TEST_VIRTUAL(test_parked_virtual),
		TEST_REAL(test_parked_real),
		cmocka_unit_test(test_same_again),
	};

	return run_group("meter", tests, sizeof(tests) / sizeof(tests[0]));
}
