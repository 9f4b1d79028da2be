/* SPDX-License-Identifier: MIT */
/*
 * What tenants get of the device, in virtual time and to the nanosecond. Tenants live in the device's thread:
 * a notice for each of their CQEs lets them count it and submit the next command, so that a queue that should
 * never be idle never is, and the same numbers come out of each run. What a tenant got is what its CQEs tell.
 *
 * With $SCHED_PLOT the shares over time are written there, one line of numbers for each 50 ms. With $SCHED_NATIVE the
 * same runs take place in real time, and their figures are printed and nothing else: a machine that has more to do
 * may have any.
 */
#include "faults.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define US		1000ULL
#define MS		1000000ULL
#define SECOND		1000000000ULL

#define A		TDI_BUFFER_ID(1, 1)
#define B		TDI_BUFFER_ID(2, 1)
#define BUFFER_BYTES	(6u << 20)

#define SLOT_NS		(10 * MS)
#define SLOTS		1000		/* 10 s */
#define WINDOW		50		/* slots: 500 ms */
#define TENANTS		12

/* The longest command of a tenant is a COPY of so many bytes, and costs about as many ns. */
#define LONGEST		4900000u

struct tenant {
	uint32_t id;			/* of group, context and queue */
	uint32_t bytes_max;		/* of its commands */
	struct queue q;
	uint64_t busy, count, longest;
	uint64_t slot[SLOTS];		/* busy_ns of what completed in it */
};

/* One run; the device's thread has it from the first command to @over. */
struct run {
	struct host *h;
	struct area a, b;
	struct tenant tenant[TENANTS];
	uint32_t tenants;
	uint64_t begin, end;
	uint64_t change_at;		/* virtual time since @begin of change(); 0: none */
	void (*change)(struct run *r);
	uint64_t random;
	uint32_t over;			/* atomic */
};

static struct run *run_of;	/* cmocka's tests run one after the other */
static bool native;

static uint64_t now(struct run *r)
{
	return tn_device_now(r->h->device) - r->begin;
}

static uint32_t below(struct run *r, uint32_t limit)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (uint32_t)((r->random >> 32) * limit >> 32);
}

/* Without cmocka: it is called in the device's thread. */
static void must_admin(struct host *h, const struct tdi_admin_sqe *sqe)
{
	struct tdi_admin_cqe cqe;

	tn_admin(h->device, &h->space, sqe, &cqe);
	if (cqe.status) {
		fprintf(stderr, "admin opcode 0x%x ended 0x%x\n", sqe->opcode, cqe.status);
		abort();
	}
}

static struct tdi_admin_sqe shares(uint8_t opcode, uint32_t id, uint32_t weight, uint32_t priority)
{
	struct tdi_admin_sqe sqe = cmd_group(opcode, id);

	sqe.group.weight = (uint16_t)weight;
	sqe.group.priority = (uint8_t)priority;
	return sqe;
}

/* ---------------------------------------------------------------------------------------- tenants */

/* 1 us to 5 ms, short ones as often as long ones. */
static struct tdi_sqe any_command(struct run *r, uint32_t bytes_max)
{
	uint32_t limit = 2u << below(r, 23);
	uint32_t bytes = below(r, limit < bytes_max ? limit : bytes_max);

	return bytes ? copy(A, 0, B, 0, bytes) : nop();
}

static void count(struct run *r, struct tenant *t, const struct tdi_cqe *cqe)
{
	uint64_t at = now(r) / SLOT_NS;

	if (at >= SLOTS || now(r) >= r->end)
		return;
	t->busy += cqe->busy_ns;
	t->slot[at] += cqe->busy_ns;
	t->count++;
	if (cqe->busy_ns > t->longest)
		t->longest = cqe->busy_ns;
}

static void fill_up(struct run *r, struct tenant *t)
{
	while (t->q.tail - t->q.head < t->q.depth && now(r) < r->end) {
		struct tdi_sqe sqe = any_command(r, t->bytes_max);

		queue_push(&t->q, &sqe);
	}
	queue_publish(&t->q);
}

/* Take what has completed, and be told of the next one. */
static void take(struct run *r, struct tenant *t)
{
	while (t->q.head != t->q.tail && completed(&t->q, t->q.head)) {
		struct tdi_cqe cqe = t->q.cq[t->q.head & t->q.mask];

		if (cqe.status || cqe.user_data != t->q.sent[t->q.head & t->q.mask].user_data)
			abort();
		t->q.head++;
		count(r, t, &cqe);
	}
	tenon_store(&t->q.producer->wanted, t->q.head + 1);
}

static void noticed(struct host *h, struct queue *q)
{
	struct run *r = run_of;
	uint32_t i;

	for (i = 0; i < r->tenants; i++)
		if (q == &r->tenant[i].q)
			break;
	if (i == r->tenants)
		return;
	take(r, &r->tenant[i]);
	if (r->change_at && now(r) >= r->change_at) {
		r->change_at = 0;
		r->change(r);
	}
	fill_up(r, &r->tenant[i]);
	if (now(r) >= r->end)
		__atomic_store_n(&r->over, 1, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------------------------------- runs */

static void run_open(struct run *r, void **state)
{
	memset(r, 0, sizeof(*r));
	(native ? setup_fair_real : setup_fair)(state);
	r->h = *state;
	r->random = 88172645463325252ULL;
	area_open(r->h, &r->a, BUFFER_BYTES, PROT_READ | PROT_WRITE);
	area_open(r->h, &r->b, BUFFER_BYTES, PROT_READ | PROT_WRITE);
	run_of = r;
	r->h->noticed = noticed;
	quiesce(r->h);
}

static struct tenant *tenant_open(struct run *r, struct tdi_admin_sqe group, uint32_t bytes_max)
{
	struct tenant *t = &r->tenant[r->tenants++];

	t->id = group.group.group;
	t->bytes_max = bytes_max;
	admin_ok(r->h, &group);
	context_create(r->h, t->id, t->id);
	map(r->h, t->id, A, RW, &r->a, 0, BUFFER_BYTES);
	map(r->h, t->id, B, RW, &r->b, 0, BUFFER_BYTES);
	queue_open(r->h, &t->q, t->id, t->id, 3);
	t->q.producer->wanted = t->q.head + 1;
	return t;
}

/* Let them work for @ns; those with @idle set wait for somebody to fill them up. */
static void run_for(struct run *r, uint64_t ns, uint32_t idle)
{
	uint64_t since = now_ns();
	uint32_t i;

	r->begin = tn_device_now(r->h->device);
	r->end = ns;
	for (i = 0; i < r->tenants; i++)
		if (!(idle >> i & 1))
			fill_up(r, &r->tenant[i]);
	resume(r->h);
	while (!__atomic_load_n(&r->over, __ATOMIC_ACQUIRE)) {
		if (now_ns() - since > (getenv("TENON_MUTANT") ? 60 : 240) * SECOND)
			fail_msg("the virtual clock stands at %llu", (unsigned long long)now(r));
		sleep_ns(1000000);
	}
	for (i = 0; i < r->tenants; i++)
		until(completed(&r->tenant[i].q, r->tenant[i].q.tail - 1));
}

static void run_close(struct run *r, void **state)
{
	uint32_t i;

	for (i = 0; i < r->tenants; i++)
		queue_close(&r->tenant[i].q);
	area_close(&r->a);
	area_close(&r->b);
	teardown(state);
}

/* What there was to get in [from, to) slots: all the time, or natively what there was beside the tenants' own work. */
static double device_ns(const struct run *r, uint32_t from, uint32_t to)
{
	uint64_t busy = 0;
	uint32_t i, s;

	if (!native)
		return (to - from) * (double)SLOT_NS;
	for (i = 0; i < r->tenants; i++)
		for (s = from; s < to; s++)
			busy += r->tenant[i].slot[s];
	return (double)busy;
}

/* Percentage points of [from, to) slots between what a tenant got and its part of @weights. */
static double error_pct(const struct run *r, uint32_t from, uint32_t to, const uint32_t *weights)
{
	double most = 0;
	uint64_t total = 0;
	uint32_t i, s;

	for (i = 0; i < r->tenants; i++)
		total += weights[i];
	for (i = 0; i < r->tenants; i++) {
		double busy = 0, error;

		for (s = from; s < to; s++)
			busy += (double)r->tenant[i].slot[s];
		error = 100 * (busy / device_ns(r, from, to) - (double)weights[i] / (double)total);
		if (error < 0)
			error = -error;
		if (error > most)
			most = error;
	}
	return most;
}

/* The worst window that begins in [from, to - WINDOW]. */
static double window_error_pct(const struct run *r, uint32_t from, uint32_t to, const uint32_t *weights)
{
	double most = 0;

	for (; from + WINDOW <= to; from++) {
		double error = error_pct(r, from, from + WINDOW, weights);

		if (error > most)
			most = error;
	}
	return most;
}

static double window_bar(const struct run *r)
{
	uint64_t longest = 0;
	uint32_t i;

	for (i = 0; i < r->tenants; i++)
		if (r->tenant[i].longest > longest)
			longest = r->tenant[i].longest;
	return 100 * 2 * (double)longest / (WINDOW * (double)SLOT_NS) + 2;
}

static void figure(const char *name, double value, double bar)
{
	if (native) {
		printf("native %s %.4f\n", name, value);
		return;
	}
	print_message("# %s %.4f bar %g\n", name, value, bar);
	assert_true(value <= bar);
}

static void plot(const struct run *r)
{
	const char *path = getenv("SCHED_PLOT");
	FILE *file = path ? fopen(path, "w") : NULL;
	uint32_t i, s, k;

	if (!file)
		return;
	for (s = 0; s < SLOTS; s += 5) {
		fprintf(file, "%g", (double)s * SLOT_NS / (double)SECOND);
		for (i = 0; i < r->tenants; i++) {
			double busy = 0;

			for (k = s; k < s + 5; k++)
				busy += (double)r->tenant[i].slot[k];
			fprintf(file, " %.3f", 100 * busy / (5.0 * SLOT_NS));
		}
		fprintf(file, "\n");
	}
	fclose(file);
}

/* ----------------------------------------------------------------------------------------- weights */

static const uint32_t one_two_four[] = { 1, 2, 4 }, four_two_one[] = { 4, 2, 1 };

static void weigh(struct run *r, uint8_t opcode, const uint32_t *weights)
{
	uint32_t i;

	for (i = 0; i < 3; i++) {
		struct tdi_admin_sqe sqe = shares(opcode, 10 + i, 100 * weights[i], TDI_PRIORITY_NORMAL);

		if (opcode == TDI_ADMIN_GROUP_CREATE)
			tenant_open(r, sqe, LONGEST);
		else
			must_admin(r->h, &sqe);
	}
}

static void turn_round(struct run *r)
{
	weigh(r, TDI_ADMIN_GROUP_MODIFY, four_two_one);
}

static void weights_run(struct run *r, bool change)
{
	void *state;

	run_open(r, &state);
	weigh(r, TDI_ADMIN_GROUP_CREATE, one_two_four);
	r->change = turn_round;
	r->change_at = change ? 5 * SECOND : 0;
	run_for(r, 10 * SECOND, 0);
	run_close(r, &state);
}

/* Weights 1:2:4 with commands of 1 us to 5 ms; twice the same. [ARB-8, MET-9] */
static void test_weights(void **state)
{
	static struct run r, again;
	uint32_t i;

	weights_run(&r, false);
	assert_true(native || window_bar(&r) > 3.5);	/* there were commands of 4 ms and more */
	figure("sched.weight_error_pct", error_pct(&r, 0, SLOTS, one_two_four), 2);
	figure("sched.window_error_pct", window_error_pct(&r, 0, SLOTS, one_two_four), window_bar(&r));
	if (native)
		return;
	weights_run(&again, false);
	for (i = 0; i < 3; i++)
		assert_memory_equal(r.tenant[i].slot, again.tenant[i].slot, sizeof(again.tenant[i].slot));
}

/* Changed while they work. [ADM-35, ARB-8] */
static void test_change(void **state)
{
	static struct run r;

	weights_run(&r, true);
	figure("sched.before_change_error_pct", window_error_pct(&r, 0, SLOTS / 2, one_two_four),
	       window_bar(&r));
	figure("sched.after_change_error_pct", window_error_pct(&r, SLOTS / 2 + 20, SLOTS, four_two_one),
	       window_bar(&r));
	plot(&r);
}

/* Ten of weight 100 and one of 1: that has its thousandth, all the time. [ARB-8] */
static void test_no_starvation(void **unused)
{
	static struct run r;
	uint32_t weights[11], i, second;
	uint64_t least = ~0ULL;
	void *state;

	run_open(&r, &state);
	for (i = 0; i < 11; i++) {
		weights[i] = i ? 100 : 1;
		tenant_open(&r, shares(TDI_ADMIN_GROUP_CREATE, 10 + i, weights[i], TDI_PRIORITY_NORMAL),
			    200000);
	}
	run_for(&r, 10 * SECOND, 0);
	figure("sched.eleven_error_pct", error_pct(&r, 0, SLOTS, weights), 2);
	for (second = 0; second < 8; second++) {
		uint64_t busy = 0;

		for (i = 100 * second; i < 100 * (second + 3); i++)
			busy += r.tenant[0].slot[i];
		if (busy < least)
			least = busy;
	}
	/* 3 ms in 3 s, but for a quantum at each end. */
	print_message("# sched.light_ms_of_3000 %.3f\n", (double)least / MS);
	assert_true(least >= MS);
	run_close(&r, &state);
}

static void start_second(struct run *r)
{
	fill_up(r, &r->tenant[1]);
}

/* One comes 5 s late: it has no credit for that time. [ARB-8] */
static void test_no_credit(void **unused)
{
	static const uint32_t equal[] = { 1, 1 };
	static struct run r;
	void *state;

	run_open(&r, &state);
	tenant_open(&r, shares(TDI_ADMIN_GROUP_CREATE, 10, 1, TDI_PRIORITY_NORMAL), LONGEST);
	tenant_open(&r, shares(TDI_ADMIN_GROUP_CREATE, 11, 1, TDI_PRIORITY_NORMAL), LONGEST);
	r.change = start_second;
	r.change_at = 5 * SECOND;
	run_for(&r, 10 * SECOND, 2);
	figure("sched.late_error_pct", window_error_pct(&r, SLOTS / 2 + 1, SLOTS, equal), window_bar(&r));
	run_close(&r, &state);
}

/* While one of higher priority has work, no other gets anything. [ARB-7] */
static void test_priority(void **unused)
{
	static const uint8_t classes[] = { TDI_PRIORITY_LOW, TDI_PRIORITY_REALTIME, TDI_PRIORITY_HIGH };
	static struct run r;
	uint32_t i;
	void *state;

	run_open(&r, &state);
	for (i = 0; i < 3; i++)
		tenant_open(&r, shares(TDI_ADMIN_GROUP_CREATE, 10 + i, i == 1 ? 1 : 10000, classes[i]),
			    LONGEST);
	run_for(&r, SECOND, 0);
	assert_true(r.tenant[1].busy > 990 * MS);
	assert_int_equal(r.tenant[0].count, 0);
	assert_int_equal(r.tenant[2].count, 0);
	run_close(&r, &state);
}

/* -------------------------------------------------------------------------------------------- caps */

#define PERIOD_NS	(100 * MS)

/* busy_max 20 %; with @others one more tenant that has no cap. */
static void check_cap(uint32_t others, const char *name)
{
	static struct run r;
	struct tdi_admin_sqe sqe = shares(TDI_ADMIN_GROUP_CREATE, 10, 100, TDI_PRIORITY_NORMAL);
	uint64_t most = 0, busy;
	struct tdi_usage usage;
	uint32_t i, k;
	double share;
	void *state;

	run_open(&r, &state);
	sqe.group.busy_max_ns = PERIOD_NS / 5;
	sqe.group.busy_period_ns = PERIOD_NS;
	/* Shorter than a unit, so that a period's CQEs tell what was used in it. */
	tenant_open(&r, sqe, 60000);
	for (i = 0; i < others; i++)
		tenant_open(&r, shares(TDI_ADMIN_GROUP_CREATE, 11 + i, 100, TDI_PRIORITY_NORMAL), LONGEST);
	run_for(&r, 10 * SECOND, 0);
	for (i = 0; i < SLOTS; i += 10) {
		for (k = i, busy = 0; k < i + 10; k++)
			busy += r.tenant[0].slot[k];
		if (busy > most)
			most = busy;
	}
	share = 100.0 * (double)r.tenant[0].busy / (10 * (double)SECOND);
	print_message("# sched.cap_share_pct%s %.4f\n", name, share);
	assert_true(native || (share >= 18 && share <= 20.001));	/* what the last unit took too much */
	figure("sched.cap_error_pct", share > 20 ? share - 20 : 20 - share, 2);
	if (native)
		goto close;
	print_message("# sched.cap_period_ms%s %.4f\n", name, (double)most / MS);
	assert_true(most <= PERIOD_NS / 5 + r.tenant[0].longest);
	group_usage(r.h, 10, &usage);
	if (!others) {
		/* All the time it was busy or throttled. [MET-13] */
		assert_int_equal(usage.busy_ns + usage.throttled_ns, now(&r));
	} else {
		/* The rest is the other's, and the cap stopped nobody else. [ARB-1] */
		assert_true(usage.throttled_ns > 4 * SECOND && usage.throttled_ns < 8 * SECOND);
		assert_true(r.tenant[1].busy > 79 * SECOND / 10);
		group_usage(r.h, 11, &usage);
		assert_int_equal(usage.throttled_ns, 0);
	}
close:
	run_close(&r, &state);
}

/* Alone the device idles for it. [ARB-9] */
static void test_cap(void **state)
{
	check_cap(0, ".alone");
	check_cap(1, ".shared");
}

/* What a unit took beyond the tokens is owed: commands of many times the tokens of a period. [ARB-9] */
static void test_owed(void **unused)
{
	static struct run r;
	struct tdi_admin_sqe sqe = shares(TDI_ADMIN_GROUP_CREATE, 10, 100, TDI_PRIORITY_NORMAL);
	double share;
	void *state;

	run_open(&r, &state);
	sqe.group.busy_max_ns = 10 * US;
	sqe.group.busy_period_ns = 100 * US;
	tenant_open(&r, sqe, LONGEST);
	run_for(&r, 10 * SECOND, 0);
	share = 100.0 * (double)r.tenant[0].busy / (10 * (double)SECOND);
	print_message("# sched.owed_share_pct %.4f\n", share);
	assert_true(share > 9 && share < 10.1);
	run_close(&r, &state);
}

/* --------------------------------------------------------------------------------- noisy neighbour */

/*
 * A light tenant thinks for 0.5 to 5 ms, submits one command of up to 500 us and waits for it. What tells it
 * the time is a WAIT without a signal, in a group of its own that goes before all.
 */
struct light {
	struct run r;			/* tenants: the light one, the clock, and the neighbour's */
	uint64_t due;
	uint32_t jobs;
	uint64_t latency[10000];
};

static void think(struct light *l)
{
	struct queue *timer = &l->r.tenant[1].q;
	struct tdi_sqe sqe = sem_wait(A, 0, 1ULL << 40, 500 * US + below(&l->r, 4500) * US);

	queue_push(timer, &sqe);
	tenon_store(&timer->producer->wanted, timer->head + 1);
	queue_publish(timer);
}

static void light_noticed(struct host *h, struct queue *q)
{
	struct light *l = (struct light *)run_of;
	struct tenant *light = &l->r.tenant[0], *timer = &l->r.tenant[1];

	if (q == &timer->q) {
		struct tdi_sqe sqe = copy(A, 0, B, 0, 100000 + below(&l->r, 400000));

		timer->q.head++;
		if (now(&l->r) >= l->r.end) {
			__atomic_store_n(&l->r.over, 1, __ATOMIC_RELEASE);
			return;
		}
		/* It may have come late, since the neighbour had the device. */
		l->due = h->device->queue[timer->id]->deadline;
		queue_push(&light->q, &sqe);
		tenon_store(&light->q.producer->wanted, light->q.tail);
		queue_publish(&light->q);
	} else if (q == &light->q) {
		light->q.head++;
		if (l->jobs < sizeof(l->latency) / sizeof(l->latency[0]))
			l->latency[l->jobs++] = tn_device_now(h->device) - l->due;
		think(l);
	} else {
		noticed(h, q);
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A product that takes 10 s alone: 256 x K x 256, from a row that is repeated. */
#define MATMUL_K	152600u
#define MATMUL_AT	(5u << 20)	/* its descriptor in A, where no COPY writes; then the product */

static struct tdi_sqe matmul(struct run *r, uint32_t context)
{
	static const struct tdi_tensor in = { .dtype = TDI_F32, .rank = 2 };
	struct {
		struct tdi_op op;
		struct tdi_tensor a, b, y;
	} *d = (void *)(r->a.host + MATMUL_AT);
	struct tdi_sqe sqe = nop();

	d->op = (struct tdi_op){ .op = TDI_TENSOR_MATMUL, .inputs = 2, .outputs = 1 };
	d->a = d->b = d->y = in;
	d->a.buffer = d->b.buffer = B;
	d->y.buffer = A;
	d->a.shape[0] = 256;
	d->a.shape[1] = d->b.shape[0] = MATMUL_K;
	d->b.shape[1] = 256;
	d->a.stride[1] = 4;
	d->b.stride[1] = 4;
	d->y.shape[0] = d->y.shape[1] = 256;
	d->y.offset = MATMUL_AT + 4096;
	d->y.stride[0] = 1024;
	d->y.stride[1] = 4;
	sqe.opcode = TDI_OP_TENSOR;
	sqe.tensor.buffer = A;
	sqe.tensor.bytes = sizeof(*d);
	sqe.tensor.offset = MATMUL_AT;
	return sqe;
}

#ifdef TENON_FAULTS
#define HELD		400		/* contexts, each with an EXEC that doesn't yield */
#define HELD_NS		(10 * MS)	/* until it is stopped, and its context with it */

bool __wrap_tn_fault(enum tn_fault fault);

/* EXEC commands never yield; all else is well. */
bool __wrap_tn_fault(enum tn_fault fault)
{
	return fault == TN_FAULT_hold;
}

static void held_open(struct run *r, struct queue *held)
{
	struct tdi_sqe exec = nop();
	struct tdi_admin_sqe group = shares(TDI_ADMIN_GROUP_CREATE, 12, 100, TDI_PRIORITY_NORMAL);
	uint32_t i;

	exec.opcode = TDI_OP_EXEC;
	group.group.max_command_ns = HELD_NS;
	admin_ok(r->h, &group);
	for (i = 0; i < HELD; i++) {
		context_create(r->h, 20 + i, 12);
		queue_open(r->h, &held[i], 20 + i, 20 + i, 0);
		queue_push(&held[i], &exec);
		queue_publish(&held[i]);
	}
}

static void held_close(struct queue *held)
{
	uint32_t i;

	assert_true(completed(&held[HELD / 4], held[HELD / 4].first));
	assert_int_equal(held[0].cq[held[0].first & held[0].mask].status, TDI_SC_COMMAND_TIME);
	assert_false(completed(&held[HELD - 1], held[HELD - 1].first));	/* there was one all the time */
	for (i = 0; i < HELD; i++)
		queue_close(&held[i]);
}
#else
#define HELD		1
#define held_open(r, held)	((void)(held))
#define held_close(held)	((void)(held))
#endif

enum neighbour {
	NOBODY,
	FLOOD,		/* of copies in one context, and products of 10 s in another of the same group */
	PROGRAMS,	/* that don't yield, in contexts of one group; in a build with faults */
};

/* The 99th percentile of the light tenant's latency, in ns. */
static double light_p99(enum neighbour neighbour, uint32_t priority)
{
	static struct queue held[HELD];
	static struct light l;
	struct run *r = &l.r;
	struct queue big;
	void *state;
	uint32_t i;

	memset(&l, 0, sizeof(l));
	run_open(r, &state);
	r->h->noticed = light_noticed;
	tenant_open(r, shares(TDI_ADMIN_GROUP_CREATE, 10, 100, priority), 0);
	tenant_open(r, shares(TDI_ADMIN_GROUP_CREATE, 11, 100, TDI_PRIORITY_REALTIME), 0);
	if (neighbour == PROGRAMS)
		held_open(r, held);
	if (neighbour == FLOOD) {
		struct tdi_sqe sqe;

		tenant_open(r, shares(TDI_ADMIN_GROUP_CREATE, 12, 100, TDI_PRIORITY_NORMAL), LONGEST);
		context_create(r->h, 13, 12);
		map(r->h, 13, A, RW, &r->a, 0, BUFFER_BYTES);
		map(r->h, 13, B, RW, &r->b, 0, BUFFER_BYTES);
		queue_open(r->h, &big, 13, 13, 3);
		for (i = 0; i < 2; i++) {
			sqe = matmul(r, 13);
			queue_push(&big, &sqe);
		}
		queue_publish(&big);
	}
	think(&l);
	run_for(r, neighbour == PROGRAMS ? 3 * SECOND : 10 * SECOND, 3);
	if (neighbour == PROGRAMS)
		held_close(held);
	if (neighbour == FLOOD) {
		assert_true(native || !completed(&big, big.tail - 1));	/* there was one all the time */
		queue_close(&big);
	}
	assert_true(native || l.jobs > (neighbour == PROGRAMS ? 200 : 1000));
	qsort(l.latency, l.jobs, sizeof(l.latency[0]), by_value);
	run_close(r, &state);
	return (double)l.latency[l.jobs * 99 / 100];
}

/* [ARB-5, ARB-7, ARB-8] */
static void test_noisy(void **state)
{
	double alone = light_p99(NOBODY, TDI_PRIORITY_NORMAL);
	double with = light_p99(FLOOD, TDI_PRIORITY_NORMAL), high = light_p99(FLOOD, TDI_PRIORITY_HIGH);

	print_message("# light p99: alone %.0f, with a neighbour %.0f, at high %.0f ns\n", alone, with, high);
	figure("sched.noisy_p99_ratio", (with - TN_QUANTUM_NS) / alone, 1.3);
	figure("sched.noisy_high_shift_ns", high - alone, TN_QUANTUM_NS);
}

#ifdef TENON_FAULTS
/* Who runs what doesn't yield is bounded by max_command_ns in place of the quantum. [ARB-5, CMD-24] */
static void test_programs(void **state)
{
	double alone = light_p99(NOBODY, TDI_PRIORITY_NORMAL);
	double with = light_p99(PROGRAMS, TDI_PRIORITY_NORMAL), high = light_p99(PROGRAMS, TDI_PRIORITY_HIGH);

	print_message("# light p99: alone %.0f, beside programs %.0f, at high %.0f ns\n", alone, with, high);
	figure("sched.programs_p99_ratio", (with - HELD_NS) / alone, 1.3);
	figure("sched.programs_high_shift_ns", high - alone, HELD_NS);
}
#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_no_starvation),
		cmocka_unit_test(test_no_credit),
		cmocka_unit_test(test_priority),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_owed),
		cmocka_unit_test(test_noisy),
#ifdef TENON_FAULTS
		cmocka_unit_test(test_programs),
#endif
	};

	native = getenv("SCHED_NATIVE");
	if (native) {
		test_weights(NULL);
		test_cap(NULL);
		test_noisy(NULL);
		return 0;
	}
	return run_group("gates", tests, sizeof(tests) / sizeof(tests[0]));
}
