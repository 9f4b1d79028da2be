// SPDX-License-Identifier: MIT
/*
 * Rings that lie: tails that jump, entries of garbage, wanted words of any value, doorbells with any number. Only
 * this queue is stopped, each of its commands ends once, and all others go on. If this fails, a tenant stops the
 * device for others, or waits for ever for what he submitted.
 */
#include "bystander.h"

#define DEPTH	8

FIXTURE(rings) {
	struct bystander bystander;
	int fd;
	struct queue q, other;
	struct buffer a;
};

FIXTURE_SETUP(rings)
{
	ASSERT_TRUE(bystander_start(&self->bystander));
	self->fd = node_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, setuid(FOREIGN_UID + 1));
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &self->a));
	ASSERT_EQ(0, queue_make(self->fd, DEPTH, -1, &self->q));
	ASSERT_EQ(0, queue_make(self->fd, DEPTH, -1, &self->other));
	ASSERT_TRUE(bystander_goes_on(&self->bystander, 1));
}

FIXTURE_TEARDOWN(rings)
{
	/* The context's other queue knows nothing of it. */
	put_fill(&self->other, self->a.id, 0, PAGE, 0x66);
	EXPECT_EQ(TDI_SC_OK, run(&self->other));
	EXPECT_TRUE(all_bytes(self->a.data, 0x66, PAGE));
	EXPECT_EQ(0, self->other.kernel->flags);
	EXPECT_TRUE(bystander_goes_on(&self->bystander, 5));
	EXPECT_TRUE(bystander_stop(&self->bystander));
}

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Until the kernel says that the queue is dead. */
static bool dies(struct queue *q)
{
	int64_t end = now_ns() + LONG;

	while (!(__atomic_load_n(&q->kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_DEAD)) {
		if (now_ns() > end)
			return false;
		sleep_ms(1);
	}
	return true;
}

/* Nothing says that it runs. */
static bool not_running(int fd, uint32_t queue)
{
	struct drm_tenon_context_status context;
	struct tdi_context_status status;

	if (context_status(fd, &context, &status) || context.flags)
		return false;
	for (uint32_t i = 0; i < status.queues; i++)
		if (status.queue[i].queue == queue && status.queue[i].state != TDI_QUEUE_STOPPED)
			return false;
	return true;
}

/* A tail of any distance that is beyond the ring: what may be in it ends, the queue is over, and can be destroyed. */
TEST_F(rings, tail_ahead)
{
	static const uint32_t by[] = { DEPTH + 1, DEPTH + 2, 2 * DEPTH, 0x7fffffff, 0x80000000, 0xffffffff };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(by); i++) {
		struct queue q;

		ASSERT_EQ(0, queue_make(self->fd, DEPTH, -1, &q));
		put(&q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(&q));
		tenon_store_release(&q.producer->tail, q.tail + by[i / 2]);
		if (i % 2) {
			ASSERT_EQ(0, queue_kick(self->fd, q.made.queue));
		} else {
			*q.doorbell = q.tail;
		}
		/* One that goes back behind what has been done is as far ahead. */
		ASSERT_TRUE(dies(&q))
			TH_LOG("by %#x", by[i / 2]);
		EXPECT_TRUE(not_running(self->fd, q.made.queue));
		/* A waiter isn't left alone: what it waits for has ended, or isn't there. */
		{
			int error = queue_wait(self->fd, q.made.queue, q.head + 1, now_ns() + LONG);

			EXPECT_TRUE(error == 0 || error == EINVAL);
			EXPECT_EQ(0, queue_kick(self->fd, q.made.queue));
		}
		EXPECT_EQ(0, queue_destroy(self->fd, q.made.queue));
		queue_unmap(&q);
	}
}

/* The tail goes back while a command is under way: that one ends, once. */
TEST_F(rings, tail_behind)
{
	struct queue *q = &self->q;
	struct tdi_cqe cqe, again;

	put_wait(q, self->a.id, 0, 1, LONG);
	put(q, TDI_OP_NOP);
	ASSERT_EQ(0, submit(q));
	while (tenon_load_acquire(&q->device->fetched) == q->head)
		sched_yield();
	tenon_store_release(&q->producer->tail, q->head);
	ASSERT_EQ(0, queue_kick(self->fd, q->made.queue));
	ASSERT_TRUE(dies(q));
	while (!completed(q))
		sleep_ms(1);
	cqe = q->cq[q->head & q->mask];
	EXPECT_EQ(TDI_SC_ABORTED, cqe.status);
	EXPECT_EQ(q->head, cqe.user_data);
	/* With the tail forward again the second ends, too, but by a kick: nothing runs it any more. */
	tenon_store_release(&q->producer->tail, q->tail);
	EXPECT_EQ(0, queue_kick(self->fd, q->made.queue));
	again = take(q);
	EXPECT_EQ(0, memcmp(&cqe, &again, sizeof(cqe)));
	ASSERT_EQ(0, finish(q, &cqe));
	EXPECT_EQ(TDI_SC_ABORTED, cqe.status);
	EXPECT_TRUE(not_running(self->fd, q->made.queue));
	EXPECT_EQ(0, queue_destroy(self->fd, q->made.queue));
	EXPECT_EQ(ENOENT, queue_kick(self->fd, q->made.queue));
}

/* Entries of garbage: each ends with one CQE, its own, with a status that there is. */
TEST_F(rings, garbage)
{
	struct queue *q = &self->q;
	uint64_t seed = 0x9876543;

	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t words[8];
		struct tdi_cqe cqe;

		for (unsigned int j = 0; j < 8; j++)
			words[j] = rnd(&seed) >> rnd(&seed) % 64;
		/* WAITs may last, and nothing may change what the fixture looks at. */
		if ((words[0] & 0xff) == TDI_OP_WAIT)
			words[0] ^= 0xff;
		words[1] = q->tail;
		memcpy(&q->sq[q->tail & q->mask], words, sizeof(words));
		q->tail++;
		ASSERT_EQ(0, submit(q));
		ASSERT_EQ(0, finish(q, &cqe));
		ASSERT_EQ(q->tail - 1, cqe.user_data);
		ASSERT_EQ(q->tail, cqe.sequence);
		ASSERT_EQ(0, cqe.reserved);
		/* Some have LINK. */
		ASSERT_TRUE(cqe.status <= TDI_SC_LIMIT || cqe.status == TDI_SC_CANCELED);
	}
	EXPECT_EQ(0, q->kernel->flags);
}

/*
 * The words that ask for notices, the kernel's too, are the tenant's to write: he may lose his own, no one else's;
 * and with a deadline he comes back, and finds what is there.
 */
TEST_F(rings, wanted)
{
	struct queue *q = &self->q;
	uint64_t seed = 0x5555;

	for (unsigned int i = 0; i < 200; i++) {
		uint32_t id = q->made.queue, tail;

		put(q, TDI_OP_NOP);
		tail = q->tail;
		q->producer->wanted = (uint32_t)rnd(&seed);
		q->producer->wanted_kernel = tail + (uint32_t)(rnd(&seed) % 5) - 2;
		ASSERT_EQ(0, submit(q));
		q->producer->wanted_kernel = (uint32_t)rnd(&seed);
		while (!completed(q))
			sched_yield();
		EXPECT_EQ(0, queue_wait(self->fd, id, tail, 0));
		take(q);
	}
}

/* A doorbell is a hint: any number, at any time. */
TEST_F(rings, doorbell)
{
	struct queue *q = &self->q;
	uint64_t seed = 0x777;

	for (unsigned int i = 0; i < 500; i++) {
		*q->doorbell = i % 2 ? q->tail + (uint32_t)(rnd(&seed) % 16) : (uint32_t)rnd(&seed);
		if (i % 10)
			continue;
		put(q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(q));
	}
	EXPECT_FALSE(completed(q));
	EXPECT_EQ(0, q->kernel->flags);
}

/* Who submits more before he has looked loses what he didn't look at, and nothing else. [QUE-26] */
TEST_F(rings, not_reaped)
{
	struct queue *q = &self->q;

	for (unsigned int lap = 0; lap < 5; lap++) {
		for (unsigned int i = 0; i < DEPTH; i++)
			put(q, TDI_OP_NOP);
		ASSERT_EQ(0, submit(q));
		ASSERT_EQ(0, queue_wait(self->fd, q->made.queue, q->tail, now_ns() + LONG));
	}
	q->head = q->tail - DEPTH;
	while (q->head != q->tail) {
		uint32_t index = q->head;
		struct tdi_cqe cqe;

		ASSERT_TRUE(completed(q));
		cqe = take(q);
		EXPECT_EQ(index, cqe.user_data);
		EXPECT_EQ(index + 1, cqe.sequence);
	}
}

TEST_HARNESS_MAIN
