// SPDX-License-Identifier: MIT
/*
 * Commands on memory that isn't the tenant's: ids of another context, bounds, rights, and all of these swapped in
 * by a second thread while the command is under way. If this fails, a tenant reads or writes what belongs to
 * another, or to the kernel.
 */
#include <pthread.h>

#include "bystander.h"

#define VICTIM	0x77

FIXTURE(access) {
	struct bystander bystander;
	int fd, victim_fd;
	struct queue q;
	struct buffer a, b, readonly, writeonly, part;
	struct buffer victim[8];
};

FIXTURE_SETUP(access)
{
	ASSERT_TRUE(bystander_start(&self->bystander));
	self->victim_fd = node_open();
	self->fd = node_open();
	ASSERT_LE(0, self->victim_fd);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, setuid(FOREIGN_UID + 1));
	/* More than the attacker has, so that there are ids which he hasn't. */
	for (unsigned int i = 0; i < ARRAY_SIZE(self->victim); i++) {
		ASSERT_EQ(0, buffer_make(self->victim_fd, PAGE, RW, &self->victim[i]));
		memset(self->victim[i].data, VICTIM, PAGE);
	}
	ASSERT_EQ(0, queue_make(self->fd, 16, -1, &self->q));
	ASSERT_EQ(0, buffer_make(self->fd, 2 * PAGE, RW, &self->a));
	ASSERT_EQ(0, buffer_make(self->fd, 2 * PAGE, RW, &self->b));
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, TDI_BUFFER_READ, &self->readonly));
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, TDI_BUFFER_WRITE, &self->writeonly));
	ASSERT_EQ(0, buffer_make(self->fd, 3 * PAGE, 0, &self->part));
	ASSERT_EQ(0, buffer_map(&self->part, PAGE + 100, 200, RW));
	memset(self->readonly.data, 0x33, PAGE);
	memset(self->writeonly.data, 0x44, PAGE);
	memset(self->part.data, 0x55, 3 * PAGE);
	ASSERT_TRUE(bystander_goes_on(&self->bystander, 1));
}

FIXTURE_TEARDOWN(access)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(self->victim); i++)
		EXPECT_TRUE(all_bytes(self->victim[i].data, VICTIM, PAGE));
	EXPECT_TRUE(all_bytes(self->readonly.data, 0x33, PAGE));
	EXPECT_TRUE(all_bytes(self->part.data, 0x55, PAGE + 100));
	EXPECT_TRUE(all_bytes(self->part.data + PAGE + 300, 0x55, 2 * PAGE - 300));
	/* The attacker himself isn't harmed, since he was only refused. */
	put_fill(&self->q, self->a.id, 0, 2 * PAGE, 0x66);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
	EXPECT_TRUE(all_bytes(self->a.data, 0x66, 2 * PAGE));
	EXPECT_TRUE(bystander_goes_on(&self->bystander, 5));
	EXPECT_TRUE(bystander_stop(&self->bystander));
}

/* Each kind of command with one operand at (id, offset, bytes), the others good; what it ended with, and info. */
static int touch(FIXTURE_DATA(access) *self, unsigned int kind, uint32_t id, uint64_t offset, uint64_t bytes,
		 uint32_t *info)
{
	struct queue *q = &self->q;
	struct tdi_cqe cqe;
	int error;

	switch (kind) {
	case 0:
		put_fill(q, id, offset, bytes, 0xee);
		break;
	case 1:
		put_copy(q, id, offset, self->a.id, 0, bytes);
		break;
	case 2:
		put_copy(q, self->a.id, 0, id, offset, bytes);
		break;
	case 3:
		put_signal(q, id, offset, 1);
		break;
	default:
		put_wait(q, id, offset, 0, 1);
		break;
	}
	error = submit(q);
	if (!error)
		error = finish(q, &cqe);
	*info = cqe.info;
	return error ? -error : cqe.status;
}

#define KINDS	5

TEST_F(access, ids_of_another)
{
	const uint32_t other[] = {
		self->victim[6].id, self->victim[7].id, 0, 0xffffffff, self->a.id & 0xffffff,
		self->a.id ^ TDI_BUFFER_ID(0, 1), self->a.id ^ TDI_BUFFER_ID(0, 0xff), TDI_BUFFER_ID(0xffffff, 1),
		self->a.handle, self->victim[7].handle,
	};

	for (unsigned int kind = 0; kind < KINDS; kind++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(other); i++) {
			uint32_t info = 0;

			EXPECT_EQ(TDI_SC_BUFFER_ID, touch(self, kind, other[i], 0, 64, &info))
				TH_LOG("kind %u, id %#x", kind, other[i]);
			EXPECT_EQ(other[i], info);
		}
	}
}

/* The same id in two contexts is two buffers. */
TEST_F(access, same_id)
{
	uint32_t info;

	ASSERT_EQ(self->victim[0].id, self->a.id);
	EXPECT_EQ(TDI_SC_OK, touch(self, 0, self->victim[0].id, 0, 64, &info));
	EXPECT_TRUE(all_bytes(self->a.data, 0xee, 64));
	EXPECT_TRUE(all_bytes(self->victim[0].data, VICTIM, PAGE));
	/* Its end in one is not its end in the other. */
	ASSERT_EQ(0, buffer_unmap(self->victim_fd, self->victim[0].id));
	EXPECT_EQ(TDI_SC_OK, touch(self, 0, self->a.id, 0, 64, &info));
	ASSERT_EQ(0, buffer_unmap(self->fd, self->part.id));
	EXPECT_EQ(TDI_SC_BUFFER_ID, touch(self, 0, self->part.id, 0, 64, &info));
}

/* A buffer of 200 bytes in the middle of a page; wrapping ones would end in front of it. */
TEST_F(access, bounds)
{
	static const uint64_t range[][2] = {
		{ 0, 208 }, { 200, 8 }, { 192, 16 }, { 0, PAGE }, { PAGE, 8 }, { 1ULL << 32, 8 },
		{ 1ULL << 63, 8 }, { UINT64_MAX - 7, 8 }, { UINT64_MAX - 7, 16 }, { UINT64_MAX - 63, 128 },
		{ 8, UINT64_MAX - 7 }, { 8, UINT64_MAX - 15 }, { 1ULL << 63, 1ULL << 63 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(range); i++) {
		for (unsigned int kind = 0; kind < KINDS; kind++) {
			uint32_t info;

			/* A semaphore is 8 bytes. */
			if (kind > 2 && (range[i][0] + 8 <= 200 || range[i][0] + 100 < 100))
				continue;
			EXPECT_EQ(TDI_SC_BUFFER_BOUNDS, touch(self, kind, self->part.id, range[i][0], range[i][1], &info))
				TH_LOG("kind %u, range %u", kind, i);
			/* Of two operands the first that is wrong: the destination. */
			EXPECT_EQ(kind == 2 && range[i][1] > self->a.size ? self->a.id : self->part.id, info);
		}
	}
	EXPECT_TRUE(all_bytes(self->part.data, 0x55, 3 * PAGE));
}

/* Rows whose sum wraps. */
TEST_F(access, pitches)
{
	static const struct tdi_copy wrong[] = {
		{ .row_bytes = 8, .rows = 0xffffffff, .dst_pitch = 0xffffffff, .src_pitch = 8 },
		{ .row_bytes = 8, .rows = 0xffffffff, .dst_pitch = 8, .src_pitch = 0xffffffff },
		{ .row_bytes = 8, .rows = 2, .dst_pitch = 0xffffffff, .src_pitch = 8 },
		{ .row_bytes = 8, .rows = 0x80000001, .dst_pitch = 0x80000000, .src_pitch = 8, .dst_offset = 1ULL << 62 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct tdi_sqe *sqe = put(&self->q, TDI_OP_COPY);

		sqe->copy = wrong[i];
		sqe->copy.dst = self->part.id;
		sqe->copy.src = self->b.id;
		EXPECT_EQ(TDI_SC_BUFFER_BOUNDS, run(&self->q));
	}
	EXPECT_TRUE(all_bytes(self->part.data, 0x55, 3 * PAGE));
}

TEST_F(access, rights)
{
	uint32_t info;

	for (unsigned int kind = 0; kind < KINDS; kind++) {
		bool writes = kind == 0 || kind == 1 || kind == 3;

		EXPECT_EQ(writes ? TDI_SC_BUFFER_RIGHTS : TDI_SC_OK, touch(self, kind, self->readonly.id, 0, 64, &info));
		EXPECT_EQ(writes ? self->readonly.id : 0, info);
		EXPECT_EQ(writes ? TDI_SC_OK : TDI_SC_BUFFER_RIGHTS, touch(self, kind, self->writeonly.id, 0, 64, &info));
		EXPECT_EQ(writes ? 0 : self->writeonly.id, info);
	}
	EXPECT_TRUE(all_bytes(self->writeonly.data + 64, 0x44, PAGE - 64));
}

struct swapper {
	volatile uint32_t *word;
	uint32_t a, b;
	bool stop;
	pthread_t thread;
};

/* Swaps a word for another and back, as fast as it can. */
static void *swap_thread(void *arg)
{
	struct swapper *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		*s->word = s->a;
		*s->word = s->b;
	}
	*s->word = s->a;
	return NULL;
}

/*
 * A slot whose destination is the tenant's own one moment and the victim's the next, while the device fetches and
 * runs it: it counts what was there when it was fetched, and that once.
 */
TEST_F(access, entry_changed_by_another_thread)
{
	struct queue *q = &self->q;
	struct swapper s = { .a = self->a.id, .b = self->victim[7].id };
	unsigned int ended[2] = { 0, 0 };

	for (unsigned int i = 0; i < 16; i++)
		put_fill(q, self->a.id, 0, 2 * PAGE, (uint8_t)i);
	ASSERT_EQ(TDI_SC_OK, run(q));
	s.word = &q->sq[q->tail & q->mask].fill.dst;
	ASSERT_EQ(0, pthread_create(&s.thread, NULL, swap_thread, &s));
	for (unsigned int i = 0; i < 600; i++) {
		struct tdi_cqe cqe = { 0 };
		unsigned char value = (unsigned char)(i | 1);

		/* The slot has all but the pattern already, and the thread writes the rest. */
		for (unsigned int j = 0; j < 16; j++, q->tail++) {
			q->sq[q->tail & q->mask].user_data = q->tail;
			q->sq[q->tail & q->mask].fill.pattern = value;
		}
		ASSERT_EQ(0, submit(q));
		for (unsigned int j = 0; j < 16; j++) {
			ASSERT_EQ(0, finish(q, &cqe));
			ASSERT_TRUE(cqe.status == TDI_SC_OK ||
				    (!j && cqe.status == TDI_SC_BUFFER_ID && cqe.info == self->victim[7].id));
			ended[j ? 0 : cqe.status != TDI_SC_OK]++;
		}
		ASSERT_TRUE(all_bytes(self->a.data, value, 2 * PAGE));
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(s.thread, NULL);
	/* Else this has shown nothing. */
	EXPECT_LT(0, ended[1]);
	EXPECT_LT(15 * 600, ended[0]);
}

/* The same with the descriptor of a tensor operation, which lies in memory that the tenant may always write. */
TEST_F(access, descriptor_changed_by_another_thread)
{
	const size_t bytes = TDI_OP_BYTES(2);
	struct tdi_op *op = (struct tdi_op *)self->b.data;
	struct tdi_tensor *tensor = (struct tdi_tensor *)(op + 1);
	struct swapper s = { .word = &tensor[1].buffer, .a = self->a.id, .b = self->victim[7].id };
	unsigned int ended[2] = { 0, 0 };

	op->op = TDI_TENSOR_RELU;
	op->inputs = 1;
	op->outputs = 1;
	for (unsigned int i = 0; i < 2; i++) {
		tensor[i].buffer = i ? self->a.id : self->readonly.id;
		tensor[i].dtype = TDI_F32;
		tensor[i].rank = 1;
		tensor[i].shape[0] = PAGE / 4;
		tensor[i].stride[0] = 4;
	}
	ASSERT_EQ(0, pthread_create(&s.thread, NULL, swap_thread, &s));
	for (unsigned int i = 0; i < 2000; i++) {
		struct tdi_sqe *sqe = put(&self->q, TDI_OP_TENSOR);
		int status;

		sqe->tensor = (struct tdi_tensor_cmd){ .buffer = self->b.id, .bytes = bytes };
		status = run(&self->q);
		ASSERT_TRUE(status == TDI_SC_OK || status == TDI_SC_BUFFER_ID);
		ended[status != TDI_SC_OK]++;
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(s.thread, NULL);
	EXPECT_LT(0, ended[0]);
	EXPECT_LT(0, ended[1]);
	EXPECT_TRUE(all_bytes(self->a.data, 0x33, PAGE));
}

TEST_HARNESS_MAIN
