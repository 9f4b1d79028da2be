// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel as the writer of a CQ: where it goes on, for every state that an honest device leaves behind and
 * for many that none does, and what it writes. A new queue's indices wrap within its first laps.
 */
#include "../../kmod/queue.c"

#include <kunit/test.h>

#include "suites.h"

#define LAPS 6

static void free_partition(struct device *dev)
{
	kfree(container_of(dev, struct tenon_partition, aux.dev));
}

static struct tenon_queue *make(struct kunit *test, u32 entries)
{
	struct tenon_controller *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct tenon_context *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	struct tenon_partition *p = kzalloc(sizeof(*p), GFP_KERNEL);
	struct tenon_queue *q;

	KUNIT_ASSERT_NOT_NULL(test, c);
	KUNIT_ASSERT_NOT_NULL(test, x);
	KUNIT_ASSERT_NOT_NULL(test, p);
	c->node = NUMA_NO_NODE;
	p->settings.pinned_max = S64_MAX;
	p->aux.dev.release = free_partition;
	device_initialize(&p->aux.dev);
	x->controller = c;
	x->partition = p;
	q = queue_alloc(x, entries);
	/* What is left is the queue's. */
	tenon_partition_put(p);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, q);
	return q;
}

static u32 slot(const struct tenon_queue *q, u32 j)
{
	return le32_to_cpu(cq(q)[j].sequence);
}

static void set_slot(struct tenon_queue *q, u32 j, u32 sequence)
{
	cq(q)[j].sequence = cpu_to_le32(sequence);
}

/* The device completes one command after the other. */
static void complete_commands(struct tenon_queue *q, u32 count)
{
	u32 n = q->mask + 1, i;

	for (i = q->first; i != q->first + count; i++)
		set_slot(q, i % n, i + 1);
}

/* Would a CQ hold just this when @next is the index of the first command without a CQE? */
static bool is_state(const struct tenon_queue *q, u32 next)
{
	u32 n = q->mask + 1, back;

	for (back = 1; back <= n; back++)
		if (slot(q, (next - back) % n) != next - back + 1)
			return false;
	return true;
}

/* That index: it is one of the slots' sequences, if there is any. */
static bool state_of(const struct tenon_queue *q, u32 *next)
{
	u32 j;

	for (j = 0; j <= q->mask; j++) {
		*next = slot(q, j);
		if (is_state(q, *next))
			return true;
	}
	return false;
}

static void expect_walk(struct kunit *test, struct tenon_queue *q)
{
	u32 first = 0, next = 0;
	bool honest = state_of(q, &next);

	KUNIT_EXPECT_EQ(test, walk(q, &first), honest);
	if (honest)
		KUNIT_EXPECT_EQ(test, first, next);
}

/* After each number of completions, among them those of a new queue and those around index 0. */
static void walk_honest(struct kunit *test)
{
	u32 entries, done, first;

	for (entries = 1; entries <= 64; entries *= 2) {
		for (done = 0; done <= LAPS * entries; done++) {
			struct tenon_queue *q = make(test, entries);

			complete_commands(q, done);
			KUNIT_EXPECT_TRUE(test, walk(q, &first));
			KUNIT_EXPECT_EQ(test, first, q->first + done);
			tenon_queue_put(q);
		}
	}
}

/* One slot of an honest CQ is wrong. */
static void walk_one_lie(struct kunit *test)
{
	static const u32 off[] = { 1, 2, 3, 4, 8, 16, 0x80000000, 0xffff0000, -1, -2, -3, -4, -8, -16 };
	u32 entries, done, j, i;

	for (entries = 1; entries <= 8; entries *= 2) {
		for (done = 0; done <= LAPS * entries; done++) {
			struct tenon_queue *q = make(test, entries);

			complete_commands(q, done);
			for (j = 0; j < entries; j++) {
				u32 right = slot(q, j);

				for (i = 0; i < ARRAY_SIZE(off); i++) {
					set_slot(q, j, right + off[i]);
					expect_walk(test, q);
				}
				set_slot(q, j, 0);
				expect_walk(test, q);
				set_slot(q, j, right);
			}
			tenon_queue_put(q);
		}
	}
}

/* Every CQ of up to four slots whose sequences are within two laps of index 0. */
static void walk_all(struct kunit *test)
{
	u32 entries, values, states, state, j, rest;
	unsigned int honest = 0;
	struct tenon_queue *q;
	u32 next;

	for (entries = 1; entries <= 4; entries *= 2) {
		values = 4 * entries;
		for (states = 1, j = 0; j < entries; j++)
			states *= values;
		q = make(test, entries);
		for (state = 0; state < states; state++) {
			for (rest = state, j = 0; j < entries; j++, rest /= values)
				set_slot(q, j, rest % values - 2 * entries);
			honest += state_of(q, &next);
			expect_walk(test, q);
		}
		tenon_queue_put(q);
	}
	/* A state is a window of N among the 4 N values: 3 N + 1 each. */
	KUNIT_EXPECT_EQ(test, honest, 4 + 7 + 13);
}

static void set_tail(struct tenon_queue *q, u32 tail)
{
	producer(q)->tail = cpu_to_le32(tail);
}

/* User data by which a command can be told from those of other laps. */
static u64 data_of(u32 index)
{
	return 0x1000000000000ULL + index;
}

static void submit(struct tenon_queue *q, u32 from, u32 to)
{
	struct tdi_sqe *sq = area(q, TENON_AREA_SQ);
	u32 n = q->mask + 1, i;

	for (i = from; i != to; i++)
		sq[i % n].user_data = cpu_to_le64(data_of(i));
}

/*
 * The device has ended @done commands, the tenant has put its tail @ahead of that, and the kernel takes over.
 * A tail that can't be is clamped to [done, done + N].
 */
static void expect_take_over(struct kunit *test, u32 entries, u32 done, s32 ahead)
{
	u32 count = clamp_t(s32, ahead, 0, entries), i;
	struct tenon_queue *q = make(test, entries);
	u32 next = q->first + done;

	complete_commands(q, done);
	submit(q, next, next + entries);
	set_tail(q, next + ahead);
	for (i = 0; i < entries; i++)
		cq(q)[i].user_data = cpu_to_le64(~0ULL);
	take_over(q);

	KUNIT_EXPECT_TRUE(test, q->dead);
	KUNIT_EXPECT_EQ(test, q->ended, next + count);
	KUNIT_EXPECT_TRUE(test, is_state(q, next + count));
	for (i = 0; i < entries; i++) {
		const struct tdi_cqe *cqe = &cq(q)[(next + i) % entries];

		if (i < count) {
			KUNIT_EXPECT_EQ(test, le64_to_cpu(cqe->user_data), data_of(next + i));
			KUNIT_EXPECT_EQ(test, le16_to_cpu(cqe->status), TDI_SC_ABORTED);
		} else {
			KUNIT_EXPECT_EQ(test, le64_to_cpu(cqe->user_data), ~0ULL);
		}
	}
	tenon_queue_put(q);
}

static void take_over_honest(struct kunit *test)
{
	u32 entries, done;
	s32 ahead;

	for (entries = 1; entries <= 8; entries *= 2) {
		for (done = 0; done <= LAPS * entries; done++) {
			for (ahead = -2; ahead <= (s32)entries + 2; ahead++)
				expect_take_over(test, entries, done, ahead);
			expect_take_over(test, entries, done, S32_MAX);
			expect_take_over(test, entries, done, S32_MIN);
		}
	}
}

/* What a tenant submits afterwards ends by the next kick, once. */
static void submit_when_dead(struct kunit *test)
{
	struct tenon_queue *q = make(test, 4);
	u32 i, tail = q->first;

	take_over(q);
	for (i = 0; i < LAPS * 4; i++, tail++) {
		submit(q, tail, tail + 1);
		set_tail(q, tail + 1);
		end_submitted(q);
		KUNIT_EXPECT_EQ(test, q->ended, tail + 1);
		KUNIT_EXPECT_TRUE(test, is_state(q, tail + 1));
		KUNIT_EXPECT_EQ(test, le64_to_cpu(cq(q)[tail % 4].user_data), data_of(tail));
		cq(q)[tail % 4].user_data = 0;
		end_submitted(q);
		KUNIT_EXPECT_EQ(test, le64_to_cpu(cq(q)[tail % 4].user_data), 0);
	}
	tenon_queue_put(q);
}

/* With a CQ that can't be, all that the ring can hold is ended, up to the tail. [TKO-3, TKO-7] */
static void take_over_lie(struct kunit *test)
{
	u32 entries, lie, i;

	for (entries = 2; entries <= 8; entries *= 2) {
		for (lie = 0; lie < entries; lie++) {
			struct tenon_queue *q = make(test, entries);
			u32 tail = q->first + entries + 1;

			complete_commands(q, 1);
			set_slot(q, lie, slot(q, lie) + 0x1234567);
			submit(q, tail - entries, tail);
			set_tail(q, tail);
			take_over(q);
			KUNIT_EXPECT_EQ(test, q->ended, tail);
			KUNIT_EXPECT_TRUE(test, is_state(q, tail));
			for (i = tail - entries; i != tail; i++)
				KUNIT_EXPECT_EQ(test, le64_to_cpu(cq(q)[i % entries].user_data), data_of(i));
			tenon_queue_put(q);
		}
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(walk_honest),
	KUNIT_CASE(walk_one_lie),
	KUNIT_CASE(walk_all),
	KUNIT_CASE(take_over_honest),
	KUNIT_CASE(take_over_lie),
	KUNIT_CASE(submit_when_dead),
	{ }
};

struct kunit_suite tenon_queue_suite = {
	.name = "tenon-queue",
	.test_cases = cases,
};
