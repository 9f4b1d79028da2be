/* SPDX-License-Identifier: MIT */
/* Groups: what they can be set to, several workers for one, and the books of many. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define LONG_NS		3000000000000ULL
#define A		TDI_BUFFER_ID(1, 1)
#define B		TDI_BUFFER_ID(2, 1)
#define BUFFER_BYTES	(1u << 18)

static struct tdi_admin_sqe shares(uint8_t opcode, uint32_t id, uint32_t weight)
{
	struct tdi_admin_sqe sqe = cmd_group(opcode, id);

	sqe.group.weight = (uint16_t)weight;
	sqe.group.priority = TDI_PRIORITY_NORMAL;
	return sqe;
}

/* ---------------------------------------------------------------------------------------- settings */

/* [ADM-34] */
static void test_fields(void **state)
{
	static const struct {
		uint16_t weight;
		uint8_t priority;
		uint32_t units;
		uint64_t busy_max_ns, busy_period_ns;
		int status;
		size_t info;
	} cases[] = {
		{ 0, 1, 0, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.weight) },
		{ 10001, 1, 0, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.weight) },
		{ 65535, 1, 0, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.weight) },
		{ 1, 4, 0, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.priority) },
		{ 1, 255, 0, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.priority) },
		{ 1, 1, 3, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.units) },
		{ 1, 1, 0xffffffff, 0, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.units) },
		{ 1, 1, 0, 1, 0, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.busy_max_ns) },
		{ 1, 1, 0, 0, 1, TDI_AS_FIELD, offsetof(struct tdi_admin_sqe, group.busy_max_ns) },
		{ 1, 0, 0, 0, 0, TDI_AS_OK, 0 },
		{ 10000, 3, 2, 1, ~0ULL, TDI_AS_OK, 0 },
		{ 10000, 3, 1, ~0ULL, 1, TDI_AS_OK, 0 },
		{ 100, 1, 0, ~0ULL, ~0ULL, TDI_AS_OK, 0 },
	};
	static const size_t reserved[] = { offsetof(struct tdi_admin_sqe, group.reserved0),
					   offsetof(struct tdi_admin_sqe, group.reserved1),
					   offsetof(struct tdi_admin_sqe, group.reserved2) + 7 };
	struct snapshot before = { 0 }, after = { 0 };
	struct host *h = *state;
	struct tdi_admin_cqe cqe;
	struct tdi_admin_sqe sqe;
	struct queue q;
	struct tdi_sqe command = nop();
	size_t i, k;

	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (k = 0; k < 2; k++) {
			sqe = shares(k ? TDI_ADMIN_GROUP_MODIFY : TDI_ADMIN_GROUP_CREATE, k ? 1 : 2,
				     cases[i].weight);
			sqe.group.priority = cases[i].priority;
			sqe.group.units = cases[i].units;
			sqe.group.busy_max_ns = cases[i].busy_max_ns;
			sqe.group.busy_period_ns = cases[i].busy_period_ns;
			until(tenon_load(&q.page->flags));
			snapshot(h, &before);
			assert_int_equal(admin(h, &sqe, &cqe), cases[i].status);
			assert_int_equal(cqe.info, cases[i].info);
			snapshot(h, &after);
			assert_int_equal(snapshot_equal(&before, &after), cases[i].status != TDI_AS_OK);
		}
		if (cases[i].status == TDI_AS_OK) {
			sqe = cmd_group(TDI_ADMIN_GROUP_DESTROY, 2);
			admin_ok(h, &sqe);
		}
		/* Whatever is set, it works. */
		assert_int_equal(run(&q, &command), TDI_SC_OK);
	}
	for (i = 0; i < 3; i++) {
		sqe = shares(TDI_ADMIN_GROUP_MODIFY, 1, 1);
		((uint8_t *)&sqe)[reserved[i]] = 1;
		assert_int_equal(admin(h, &sqe, NULL), TDI_AS_RESERVED);
	}
	snapshot_free(&before);
	snapshot_free(&after);
	queue_close(&q);
}

/* ------------------------------------------------------------------------------------- two workers */

/*
 * A group that may have one unit has a command that never ends: its other queue waits, other groups don't.
 * [ARB-11]
 */
static void test_units(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe = shares(TDI_ADMIN_GROUP_MODIFY, 1, 100);
	struct tdi_sqe command;
	struct queue q[2], other;
	struct endless e;
	uint32_t i, first;

	sqe.group.units = 1;
	sqe.group.quantum_ns = LONG_NS;
	admin_ok(h, &sqe);
	sqe = shares(TDI_ADMIN_GROUP_CREATE, 2, 100);
	admin_ok(h, &sqe);
	context_create(h, 2, 2);
	endless_open(h, &e, 1, TDI_BUFFER_ID(3, 1));
	/* A queue that is made interrupts the others of its context, which gives them turns. */
	for (i = 0; i < 2; i++)
		queue_open(h, &q[i], 10 + i, 1, 3);
	queue_open(h, &other, 12, 2, 3);
	for (i = 0; i < 2; i++) {
		command = endless_fill(&e, 1);
		submit(&q[i], &command);
	}
	until(fetched(&q[0]) != q[0].first || fetched(&q[1]) != q[1].first);
	first = fetched(&q[0]) != q[0].first ? 0 : 1;
	for (i = 0; i < 100; i++) {
		command = nop();
		assert_int_equal(run(&other, &command), TDI_SC_OK);
		assert_int_equal(fetched(&q[!first]), q[!first].first);
	}
	/* Two at a time from now on. [ADM-35] */
	sqe = shares(TDI_ADMIN_GROUP_MODIFY, 1, 100);
	sqe.group.quantum_ns = LONG_NS;
	admin_ok(h, &sqe);
	until_begun(&q[!first], q[!first].first);
	for (i = 0; i < 2; i++) {
		sqe = cmd_abort(10 + i, q[i].first);
		admin_ok(h, &sqe);
		assert_int_equal(reap(&q[i]), TDI_SC_ABORTED);
		queue_close(&q[i]);
	}
	queue_close(&other);
	endless_close(&e);
}

/*
 * A cap of next to nothing holds a command up, and the time counts while it does; taken away it lets go,
 * though all workers sleep. [ARB-9, ADM-35, MET-13]
 */
static void test_uncap(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe = shares(TDI_ADMIN_GROUP_MODIFY, 1, 100);
	struct tdi_usage before, after;
	struct tdi_sqe command = nop();
	struct queue q;
	uint32_t round;

	queue_open(h, &q, 10, 1, 3);
	for (round = 0; round < 20; round++) {
		sqe.group.busy_max_ns = 1;
		sqe.group.busy_period_ns = LONG_NS;
		admin_ok(h, &sqe);
		assert_int_equal(run(&q, &command), TDI_SC_OK);
		submit(&q, &command);
		do {
			group_usage(h, 1, &before);
			sleep_ns(1000000);
			group_usage(h, 1, &after);
		} while (after.throttled_ns == before.throttled_ns);
		sleep_ns(1000000);
		assert_false(completed(&q, q.head));
		sqe.group.busy_max_ns = 0;
		sqe.group.busy_period_ns = 0;
		admin_ok(h, &sqe);
		assert_int_equal(reap(&q), TDI_SC_OK);
		group_usage(h, 1, &before);
		assert_true(before.throttled_ns >= after.throttled_ns);
		assert_int_equal(run(&q, &command), TDI_SC_OK);
		group_usage(h, 1, &after);
		assert_int_equal(after.throttled_ns, before.throttled_ns);
	}
	queue_close(&q);
}

#define EACH		3	/* queues of a group */

/*
 * Weights 1:3 with two workers, and more queues than workers in each group: by what is charged. A turn in
 * which the worker had no CPU is long, but it is made up for: the parts come near to that. [ARB-8]
 */
static void test_two_workers(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe sqe;
	struct endless e[2];
	struct queue q[2][EACH];
	uint64_t busy[2] = { 0 }, since = now_ns();
	double part;
	uint32_t i, k;

	for (i = 0; i < 2; i++) {
		sqe = shares(TDI_ADMIN_GROUP_CREATE, 10 + i, i ? 300 : 100);
		sqe.group.quantum_ns = 300000;
		admin_ok(h, &sqe);
		context_create(h, 10 + i, 10 + i);
		endless_open(h, &e[i], 10 + i, TDI_BUFFER_ID(3, 1));
	}
	quiesce(h);
	for (i = 0; i < 2; i++)
		for (k = 0; k < EACH; k++) {
			struct tdi_sqe command = endless_fill(&e[i], 1);

			queue_open(h, &q[i][k], 10 + EACH * i + k, 10 + i, 0);
			submit(&q[i][k], &command);
		}
	do {
		assert_false(deadline_over(since));
		resume(h);
		sleep_ns(300000000);
		quiesce(h);
		tn_device_lock(h->device);
		for (i = 0; i < 2; i++)
			for (k = 0, busy[i] = 0; k < EACH; k++)
				busy[i] += h->device->queue[q[i][k].id]->charged_ns;
		tn_device_unlock(h->device);
		part = (double)busy[1] / (double)(busy[0] + busy[1]);
		print_message("# part of three quarters: %.4f\n", part);
	} while (part < 0.72 || part > 0.78);
	for (i = 0; i < 2; i++)
		for (k = 0; k < EACH; k++) {
			sqe = cmd_abort(q[i][k].id, q[i][k].head);
			admin_ok(h, &sqe);
			assert_int_equal(reap(&q[i][k]), TDI_SC_ABORTED);
		}
	resume(h);
	for (i = 0; i < 2; i++) {
		for (k = 0; k < EACH; k++)
			queue_close(&q[i][k]);
		endless_close(&e[i]);
	}
}

/* ------------------------------------------------------------------------------------------- books */

#define GROUPS		3
#define CONTEXTS	6	/* two in each group */
#define QUEUES		12	/* two in each context */
#define COMMANDS	100000

static struct tdi_sqe any_command(void)
{
	struct tdi_sqe sqe = nop();

	switch (random_below(8)) {
	case 0:
		sqe = copy(A, 0, B, 0, 1 + random_below(BUFFER_BYTES));
		break;
	case 1:
		sqe = fill(A, 0, 8 * (1 + random_below(1000)), random_u32(), 8);
		break;
	case 2:
		sqe = sem_wait(B, 0, random_below(2) ? 0 : 1ULL << 40, 1 + random_below(3000));
		break;
	case 3:
		sqe = bad();
		break;
	case 4:
		sqe = fill(A + 1, 0, 8, 0, 8);
		break;
	}
	if (random_below(3) == 0)
		sqe.flags |= TDI_SQE_LINK;
	return sqe;
}

struct books {
	struct queue q[QUEUES];
	uint64_t busy[CONTEXTS];	/* of all CQEs of its queues */
	uint64_t commands, failed, canceled, aborted;
};

/* Take what is there, from the pages: the queue may be gone. */
static void take(struct books *b, uint32_t i)
{
	struct queue *q = &b->q[i];

	while (q->head != q->tail && completed(q, q->head)) {
		reap(q);
		b->busy[i / 2] += q->cqe.busy_ns;
		b->commands++;
		b->failed += q->cqe.status && q->cqe.status < TDI_SC_CANCELED;
		b->canceled += q->cqe.status == TDI_SC_CANCELED;
		b->aborted += q->cqe.status == TDI_SC_ABORTED;
	}
}

/*
 * Commands that end well, fail, are canceled, aborted and killed with their queue: what tenants add up from
 * their CQEs is their bill; contexts add up to groups and these to the device. Nothing that they do changes
 * what the host has set. [MET-2, MET-6, MET-11, MET-12, ARB-10]
 */
static void test_books(void **state)
{
	static const uint32_t weights[] = { 1, 100, 10000 };
	static struct books b;
	struct host *h = *state;
	struct tn_group set[GROUPS];
	struct tdi_controller_log log;
	struct tdi_admin_sqe sqe;
	struct tdi_usage usage;
	struct area area[2];
	uint64_t error = 0, killed = 0, all = 0, group;
	uint32_t i, k, round;

	memset(&b, 0, sizeof(b));
	random_begin();
	for (i = 0; i < 2; i++)
		area_open(h, &area[i], BUFFER_BYTES, PROT_READ | PROT_WRITE);
	for (i = 0; i < GROUPS; i++) {
		sqe = shares(TDI_ADMIN_GROUP_CREATE, 10 + i, weights[i]);
		sqe.group.quantum_ns = 50000;
		if (i == 1) {
			sqe.group.busy_max_ns = 5000000;
			sqe.group.busy_period_ns = 10000000;
		}
		admin_ok(h, &sqe);
		set[i] = h->device->group[10 + i];
	}
	for (i = 0; i < CONTEXTS; i++) {
		context_create(h, 10 + i, 10 + i / 2);
		map(h, 10 + i, A, RW, &area[0], 0, BUFFER_BYTES);
		map(h, 10 + i, B, RW, &area[1], 0, BUFFER_BYTES);
	}
	for (i = 0; i < QUEUES; i++)
		queue_open(h, &b.q[i], 10 + i, 10 + i / 2, 6);
	for (round = 0; b.commands < COMMANDS; round++) {
		for (i = 0; i < QUEUES; i++) {
			take(&b, i);
			for (k = random_below(40); k && b.q[i].tail - b.q[i].head < b.q[i].depth; k--) {
				struct tdi_sqe command = any_command();

				queue_push(&b.q[i], &command);
			}
			queue_publish(&b.q[i]);
		}
		for (i = 0; i < 3; i++) {
			k = random_below(QUEUES);
			sqe = cmd_abort(10 + k, b.q[k].head + random_below(12));
			admin(h, &sqe, NULL);
		}
		if (round % 4 == 0) {
			k = random_below(QUEUES);
			sqe = cmd_queue(TDI_ADMIN_QUEUE_DESTROY, 10 + k);
			admin_ok(h, &sqe);
			take(&b, k);
			killed += b.q[k].tail - b.q[k].head;
			queue_forget(&b.q[k]);
			queue_free_areas(&b.q[k]);
			queue_open(h, &b.q[k], 10 + k, 10 + k / 2, 6);
		}
	}
	for (i = 0; i < QUEUES; i++) {
		until(b.q[i].head == b.q[i].tail || completed(&b.q[i], b.q[i].tail - 1));
		take(&b, i);
		queue_close(&b.q[i]);
	}
	get_log(h, TDI_LOG_CONTROLLER, 0, &log, sizeof(log));
	for (i = 0; i < CONTEXTS; i++) {
		context_usage(h, 10 + i, &usage);
		error += usage.busy_ns > b.busy[i] ? usage.busy_ns - b.busy[i] : b.busy[i] - usage.busy_ns;
		all += b.busy[i];
	}
	for (i = 0; i < GROUPS; i++) {
		group_usage(h, 10 + i, &usage);
		group = b.busy[2 * i] + b.busy[2 * i + 1];
		error += usage.busy_ns > group ? usage.busy_ns - group : group - usage.busy_ns;
		/* [ARB-10] */
		assert_memory_equal(&h->device->group[10 + i].quantum_ns, &set[i].quantum_ns,
				    offsetof(struct tn_group, usage) - offsetof(struct tn_group, quantum_ns));
	}
	error += log.busy_ns > all ? log.busy_ns - all : all - log.busy_ns;
	print_message("# %llu commands, %llu failed, %llu canceled, %llu aborted; %llu lost with a queue\n",
		      (unsigned long long)b.commands, (unsigned long long)b.failed,
		      (unsigned long long)b.canceled, (unsigned long long)b.aborted,
		      (unsigned long long)killed);
	assert_true(b.failed > 1000 && b.canceled > 1000 && b.aborted > 10 && killed > 0);
	print_message("# meter.sum_error_ns %llu bar 0\n", (unsigned long long)error);
	assert_int_equal(error, 0);
	for (i = 0; i < 2; i++)
		area_close(&area[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_FAIR_TWO(test_fields),
		TEST_FAIR_TWO(test_units),
		TEST_FAIR_TWO(test_uncap),
		TEST_FAIR_TWO(test_two_workers),
		{ "test_books", test_books, setup_fair, teardown, NULL },
		{ "test_books_two", test_books, setup_fair_two, teardown, NULL },
	};

	return run_group("groups", tests, sizeof(tests) / sizeof(tests[0]));
}
