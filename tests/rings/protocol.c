/* SPDX-License-Identifier: MIT */
/*
 * The ring protocol of tenon/ring.h and tenon/tenon.h under CBMC: each function without arguments below is
 * one property, checked over all interleavings and all reorderings of a memory model. Run by cbmc-check.
 *
 * Nothing is modelled twice: the properties call the functions that the library and the daemon use. Only
 * the primitives are CBMC's. Loads and stores are plain, so the model may reorder whatever no fence forbids;
 * release and acquire are the fences that C11 asks for and no more.
 *
 * A sleeper is modelled by what it decided last: it stays asleep if nothing latched a kick (an eventfd, or
 * the socket of notices) since it last emptied the latch. "Lost" is asleep for good with something to do.
 */
void __CPROVER_fence(const char *kind, ...);
void __CPROVER_atomic_begin(void);
void __CPROVER_atomic_end(void);
void __CPROVER_assume(_Bool condition);
void __CPROVER_assert(_Bool condition, const char *words);
unsigned int nondet_uint(void);

#define TENON_FULL_BARRIER() __CPROVER_fence("WWfence", "RRfence", "RWfence", "WRfence", \
					     "WWcumul", "RRcumul", "RWcumul", "WRcumul")
/* The mutants. CBMC's preprocessor can't be given an empty macro with parentheses. */
#ifdef WITHOUT_SUBMIT_BARRIER
#define TENON_SUBMIT_BARRIER()
#endif
#ifdef WITHOUT_PARK_BARRIER
#define TENON_PARK_BARRIER()
#endif
#ifdef WITHOUT_ARM_BARRIER
#define TENON_ARM_BARRIER()
#endif
#ifdef WITHOUT_NOTICE_BARRIER
#define TENON_NOTICE_BARRIER()
#endif

#include <linux/types.h>

static inline __u32 tenon_load(const __le32 *p)
{
	return *p;
}

static inline __u32 tenon_load_acquire(const __le32 *p)
{
	__u32 value = *p;

	__CPROVER_fence("RRfence", "RWfence");
	return value;
}

static inline void tenon_store(__le32 *p, __u32 value)
{
	*p = value;
}

static inline void tenon_store_release(__le32 *p, __u32 value)
{
#ifndef WITHOUT_RELEASE
	__CPROVER_fence("WWfence", "RWfence", "WWcumul", "RWcumul");
#endif
	*p = value;
}

#include <string.h>
/* user_data stands for all of an entry; CBMC takes minutes over the clearing of 64 single bytes. */
#define memset(p, c, n) ((void)(p))
#include <tenon/tenon.h>

/* All properties cross the wrap of the indices. */
#define FIRST ((__u32)-1)
#define DEPTH 2

static struct tdi_producer_page producer_page;
static struct tdi_device_page device_page;
static struct tdi_kernel_page kernel_page;
static struct tdi_cqe cq[DEPTH];
static __u32 kick, ended[2];

/* System calls are full barriers. */
static void latch(__u32 *l)
{
	TENON_FULL_BARRIER();
	*l = 1;
	TENON_FULL_BARRIER();
}

static __u32 take(__u32 *l)
{
	__u32 was;

	TENON_FULL_BARRIER();
	__CPROVER_atomic_begin();
	was = *l;
	*l = 0;
	__CPROVER_atomic_end();
	TENON_FULL_BARRIER();
	return was;
}

static void end(unsigned int i)
{
	latch(&ended[i]);
}

static void join(unsigned int i)
{
	__CPROVER_assume(ended[i]);
	TENON_FULL_BARRIER();
}

static void start(void)
{
	__u32 j;

	producer_page.tail = producer_page.wanted = producer_page.wanted_kernel = FIRST;
	for (j = 0; j < DEPTH; j++)
		cq[(FIRST + j) & (DEPTH - 1)].sequence = FIRST + j + 1 - DEPTH;
	TENON_FULL_BARRIER();
}

/* ------------------------------------------------------------------------------ submit and park */

static __u32 kicked = FIRST;

static void publish_two(void)
{
	__u32 i;

	TENON_FULL_BARRIER();
	for (i = 1; i <= 2; i++) {
		if (tenon_ring_publish(&producer_page, &device_page, &kernel_page, FIRST + i)) {
			latch(&kick);
			kicked = FIRST + i;
		}
	}
	end(0);
}

/* A device never sleeps for good with commands that it hasn't seen. [QUE-5] */
void submit_park(void)
{
	__u32 seen, i;
	int sleeps = 0;

	start();
	device_page.flags = nondet_uint() ? TDI_NEED_KICK : 0;
	__CPROVER_ASYNC_1: publish_two();
	for (i = 0; i < 3 && !sleeps; i++) {
		seen = tenon_load_acquire(&producer_page.tail);
		sleeps = !tenon_ring_park(&producer_page, &device_page, TDI_NEED_KICK, seen);
		if (sleeps)
			sleeps = !take(&kick);
		if (!sleeps)
			tenon_store(&device_page.flags, 0);
	}
	__CPROVER_assume(sleeps);
	join(0);
	__CPROVER_assert(kick || seen == FIRST + 2, "a device asleep has seen the tail or is kicked");
}

/* Whoever sets DEAD sees the tail, or the producer that moved it kicks. [TKO-1] */
void takeover(void)
{
	__u32 seen;

	start();
	__CPROVER_ASYNC_1: publish_two();
	tenon_store(&kernel_page.flags, TDI_KERNEL_DEAD);
	TENON_PARK_BARRIER();
	seen = tenon_load(&producer_page.tail);
	join(0);
	__CPROVER_assert(seen == FIRST + 2 || kicked == FIRST + 2, "the last command was seen or kicked");
}

/* ------------------------------------------------------------------------------- arm and notice */

static __u32 notice[2];
static int asleep[2];

#ifdef WITH_ONE_W_FOR_BOTH
/* What won't do: one word for two, changed by compare-and-swap only if complete or later than one's own. */
static int arm(__le32 *wanted, __u32 target)
{
	__u32 w = tenon_load(&producer_page.wanted);

	if (tenon_reached(tenon_ring_sequence(cq, DEPTH - 1, w), w) || !tenon_reached(target, w)) {
		__CPROVER_atomic_begin();
		__CPROVER_assume(producer_page.wanted == w);
		producer_page.wanted = target;
		__CPROVER_atomic_end();
	}
	TENON_FULL_BARRIER();
	return tenon_reached(tenon_ring_sequence(cq, DEPTH - 1, target), target);
}
#else
static int arm(__le32 *wanted, __u32 target)
{
	return tenon_ring_arm(wanted, cq, DEPTH - 1, target);
}
#endif

/* As a waiter does: empty the latch, arm, sleep, and again if a notice came. */
static void wait_for(unsigned int i, __le32 *wanted, __u32 target)
{
	unsigned int round;

	TENON_FULL_BARRIER();
	for (round = 0; round < 3; round++) {
		take(&notice[i]);
		asleep[i] = !arm(wanted, target);
		if (!asleep[i] || nondet_uint())
			break;
		__CPROVER_assume(notice[i] && round < 2);
	}
	end(i);
}

/* One reading of W may serve both completions. */
static void complete_two(void)
{
	__u32 before = FIRST, now;

	for (now = FIRST + 1; now != FIRST + 3; now++) {
		struct tdi_cqe cqe = { .user_data = now };

		tenon_ring_complete(&cq[(now - 1) & (DEPTH - 1)], &cqe, now);
		if (now == FIRST + 1 && nondet_uint())
			continue;
		if (tenon_ring_due(&producer_page, before, now)) {
			latch(&notice[0]);
			latch(&notice[1]);
		}
		before = now;
	}
}

static void tenant_waits(void)
{
	wait_for(0, &producer_page.wanted, FIRST + 1 + nondet_uint() % 2);
}

static void kernel_waits(void)
{
	wait_for(1, &producer_page.wanted_kernel, FIRST + 2);
}

/* A waiter never sleeps for good with its target complete. [WAI-1, WAI-2, WAI-8] */
void arm_notice(void)
{
	start();
	__CPROVER_ASYNC_1: tenant_waits();
	complete_two();
	join(0);
	__CPROVER_assert(!asleep[0] || notice[0], "a waiter asleep is noticed");
}

/* The same for tenant and kernel at once, with targets of their own. [WAI-3] */
void two_waiters(void)
{
	start();
	__CPROVER_ASYNC_1: tenant_waits();
	__CPROVER_ASYNC_2: kernel_waits();
	complete_two();
	join(0);
	join(1);
	__CPROVER_assert(!asleep[0] || notice[0], "the tenant asleep is noticed");
	__CPROVER_assert(!asleep[1] || notice[1], "the kernel asleep is noticed");
}

/* ---------------------------------------------------------------------------------- reuse of slots */

static struct tdi_sqe sq[1];
static struct tenon_queue queue = {
	.sq = sq,
	.producer = &producer_page,
	.device = &device_page,
	.kernel = &kernel_page,
	.sq_next = FIRST,
#ifdef WITHOUT_HEAD
	.sq_limit = FIRST + 2,
#else
	.sq_limit = FIRST + 1,
#endif
	.cq = cq,
	.cq_head = FIRST,
};

static void produce(void)
{
	__u32 i;

	TENON_FULL_BARRIER();
	for (i = 0; i < 2; i++) {
		struct tdi_sqe *sqe = tenon_sqe_get(&queue);

		__CPROVER_assume(sqe != 0);
		tenon_prep_nop(sqe, 7 + i);
		tenon_ring_publish(&producer_page, &device_page, &kernel_page, queue.sq_next);
	}
	end(0);
}

static void execute(void)
{
	__u32 i;

	TENON_FULL_BARRIER();
	for (i = 0; i < 2; i++) {
		struct tdi_cqe cqe = { 0 };

		__CPROVER_assume(tenon_load_acquire(&producer_page.tail) - FIRST > i);
		cqe.user_data = sq[0].user_data;
		__CPROVER_assert(cqe.user_data == 7 + i, "the device reads the entry that was submitted");
		tenon_ring_complete(&cq[0], &cqe, FIRST + i + 1);
	}
	end(1);
}

/* One slot, two commands: nobody sees the payload of the other lap. [QUE-6, QUE-27] */
void reuse(void)
{
	__u32 i;

	producer_page.tail = cq[0].sequence = FIRST;
	TENON_FULL_BARRIER();
	__CPROVER_ASYNC_1: produce();
	__CPROVER_ASYNC_2: execute();
	for (i = 0; i < 2; i++) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(&queue);

		__CPROVER_assume(cqe != 0);
		__CPROVER_assert(cqe->user_data == 7 + i, "the reaper reads the completion of its command");
		tenon_cqe_seen(&queue);
	}
	join(0);
	join(1);
}
