/* SPDX-License-Identifier: MIT */
/*
 * What a tenant can't do by commands: reach another one's memory, go beyond a buffer's end, do what a buffer
 * isn't for, or change a command after it was checked.
 */
#include "attacker.h"

#include <errno.h>
#include <pthread.h>

/* --------------------------------------------------------------------------- ids of others */

/* Every way to name buffer @id ends with @status and that id. */
static void each_use(struct fixture *f, uint32_t id, unsigned int status)
{
	struct tdi_sqe *sqe;

	put_copy(raw_sqe(&f->q), id, 0, f->a.id, 0, 8);
	expect(f, status, id);
	put_copy(raw_sqe(&f->q), f->a.id, 0, id, 0, 8);
	expect(f, status, id);
	put_fill(raw_sqe(&f->q), id, 0, 8, 0xff, 1);
	expect(f, status, id);
	put_signal(raw_sqe(&f->q), id, 0, UINT64_MAX / 2);
	expect(f, status, id);
	put_wait(raw_sqe(&f->q), id, 0, 0, 1000000);
	expect(f, status, id);
	sqe = raw_sqe(&f->q);
	sqe->opcode = TDI_OP_TENSOR;
	sqe->tensor.buffer = id;
	sqe->tensor.bytes = TDI_OP_BYTES(1);
	expect(f, status, id);
}

/* RELU from @x to @y, by a descriptor in the attacker's first buffer. */
static void relu(struct fixture *f, uint32_t x, uint32_t y, unsigned int status, uint32_t info)
{
	struct tdi_tensor tensors[2] = { matrix(x, 0, 8, 8), matrix(y, 256, 8, 8) };
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_RELU, 1);
	struct tdi_sqe *sqe;

	memcpy(f->a.data, &op, sizeof(op));
	memcpy(f->a.data + sizeof(op), tensors, sizeof(tensors));
	sqe = raw_sqe(&f->q);
	sqe->opcode = TDI_OP_TENSOR;
	sqe->tensor.buffer = f->a.id;
	sqe->tensor.bytes = TDI_OP_BYTES(2);
	expect(f, status, info);
	memset(f->a.data, 0xa1, f->a.mapped);
}

/* [BUF-7] An id names the own buffer or none, whatever the same number is to somebody else. */
static void test_foreign_ids(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 4; i < ARRAY_SIZE(f->treasure); i++) {
		each_use(f, f->treasure[i].id, TDI_SC_BUFFER_ID);
		relu(f, f->treasure[i].id, f->b.id, TDI_SC_BUFFER_ID, f->treasure[i].id);
		relu(f, f->b.id, f->treasure[i].id, TDI_SC_BUFFER_ID, f->treasure[i].id);
	}
	untouched(f);

	/* Both have this one, at the same transport address: the first that tenond gives out. [SOC-15] */
	assert_int_equal(f->treasure[0].id, f->a.id);
	put_fill(raw_sqe(&f->q), f->treasure[0].id, 0, 4096, 0x11, 1);
	expect(f, TDI_SC_OK, 0);
	assert_true(all_bytes(f->a.data, 0x11, 4096));
	put_copy(raw_sqe(&f->q), f->b.id, 0, f->treasure[0].id, 0, 4096);
	expect(f, TDI_SC_OK, 0);
	assert_true(all_bytes(f->b.data, 0x11, 4096));
	assert_true(all_bytes(f->treasure[0].data, 0x77, 4096));
}

/* Requests about what belongs to another connection find nothing. */
static void test_foreign_requests(void **state)
{
	struct fixture *f = *state;
	struct tdi_context_status status;
	struct tdi_usage before, after;
	struct raw_queue other;
	struct tdi_cqe cqe;

	raw_queue(&f->victim, 8, &other);
	raw_usage(&f->victim, &before);
	assert_int_equal(raw_queue_destroy(&f->r, other.id), -ENOENT);
	assert_int_equal(raw_buffer_destroy(&f->r, f->treasure[7].id), -ENOENT);
	raw_status(&f->r, &status);
	assert_int_equal(status.queues, 1);
	assert_int_equal(status.queue[0].queue, f->q.id);
	still_works(f);

	/* [MET-7] */
	raw_usage(&f->victim, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	raw_sqe(&other)->user_data = 5;
	cqe = raw_run(&other);
	assert_int_equal(cqe.status, TDI_SC_OK);
	assert_int_equal(cqe.user_data, 5);
	raw_queue_unmap(&other);
}

/* [BUF-2, BUF-5, EOA-1] A number that was a buffer once is none, also when its place is taken again. */
static void test_stale_ids(void **state)
{
	struct fixture *f = *state;
	struct raw_buffer old, new;
	unsigned int i;

	raw_buffer(&f->r, 4096, RW, &old);
	/* [SOC-16] New memory is zero. */
	assert_true(all_bytes(old.data, 0, 4096));
	memset(old.data, 0xe5, 4096);
	assert_int_equal(raw_buffer_destroy(&f->r, old.id), 0);
	each_use(f, old.id, TDI_SC_BUFFER_ID);

	raw_buffer(&f->r, 4096, RW, &new);
	assert_int_equal(TDI_BUFFER_INDEX(new.id), TDI_BUFFER_INDEX(old.id));
	assert_true(new.id != old.id);
	assert_true(all_bytes(new.data, 0, 4096));
	each_use(f, old.id, TDI_SC_BUFFER_ID);
	assert_int_equal(raw_buffer_destroy(&f->r, old.id), -ENOENT);
	assert_true(all_bytes(new.data, 0, 4096));
	/* The tenant's own mapping of what is destroyed stays, and nobody else writes there. [SOC-17] */
	assert_true(all_bytes(old.data, 0xe5, 4096));
	put_fill(raw_sqe(&f->q), new.id, 0, 4096, 0x66, 1);
	expect(f, TDI_SC_OK, 0);
	assert_true(all_bytes(old.data, 0xe5, 4096));
	untouched(f);

	for (i = 0; i < 256; i++)
		if (i != TDI_BUFFER_GEN(new.id)) {
			put_fill(raw_sqe(&f->q), TDI_BUFFER_ID(TDI_BUFFER_INDEX(new.id), i), 0, 8, 0, 1);
			expect(f, TDI_SC_BUFFER_ID, TDI_BUFFER_ID(TDI_BUFFER_INDEX(new.id), i));
		}
	each_use(f, 0, TDI_SC_BUFFER_ID);
	each_use(f, UINT32_MAX, TDI_SC_BUFFER_ID);
	each_use(f, TDI_BUFFER_ID(4096, 1), TDI_SC_BUFFER_ID);
	each_use(f, TDI_BUFFER_ID(15, 1), TDI_SC_BUFFER_ID);
	untouched(f);
	raw_buffer_unmap(&old);
	raw_buffer_unmap(&new);
}

/* [EOA-1, EOA-4, BUF-5] When DESTROY has answered, no command under way writes to the memory any more. */
static void test_destroy_under_way(void **state)
{
	struct fixture *f = *state;
	struct raw_buffer big;
	struct tdi_cqe cqe;
	unsigned int i, round, cut = 0;
	uint64_t asked;

	for (round = 0; round < 20; round++) {
		raw_buffer(&f->r, 4 << 20, RW, &big);
		for (i = 0; i < 48; i++)
			put_fill(raw_sqe(&f->q), big.id, 0, big.bytes, i, 8);
		raw_submit(&f->q);
		sleep_ns(300000);
		asked = now_ns();
		assert_int_equal(raw_buffer_destroy(&f->r, big.id), 0);
		assert_in_range(now_ns() - asked, 0, LATENCY_NS);
		memset(big.data, 0x3c, big.mapped);
		for (i = 0; i < 48; i++) {
			assert_true(raw_reap(&f->q, &cqe, SOON_NS));
			assert_true(cqe.status == TDI_SC_OK || cqe.status == TDI_SC_BUFFER_ID);
			cut += cqe.status == TDI_SC_BUFFER_ID && cqe.units;
		}
		assert_true(all_bytes(big.data, 0x3c, big.mapped));
		raw_buffer_unmap(&big);
	}
	/* It was really under way in some of the rounds. */
	assert_true(cut);
	untouched(f);
}

/* [EOA-2] The same for a queue: no command of it has an effect after the answer, and no page of it is
 * written. */
static void test_queue_destroy_under_way(void **state)
{
	struct fixture *f = *state;
	struct tdi_usage before, after;
	struct raw_buffer big;
	struct raw_queue q;
	struct tdi_cqe cqe;
	unsigned int i, round, ended, done = 0;

	raw_usage(&f->r, &before);
	raw_buffer(&f->r, 4 << 20, RW, &big);
	for (round = 0; round < 20; round++) {
		raw_queue(&f->r, 64, &q);
		for (i = 0; i < 48; i++)
			put_fill(raw_sqe(&q), big.id, 0, big.bytes, i, 8);
		raw_submit(&q);
		sleep_ns(300000);
		assert_int_equal(raw_queue_destroy(&f->r, q.id), 0);
		memset(big.data, 0x3c, big.mapped);
		/* [SOC-23] Each has its one CQE already; only then the notice socket ended. */
		assert_int_equal(tenon_load(&q.kernel->flags), TDI_KERNEL_DEAD);
		for (ended = 0; raw_reap(&q, &cqe, 0); ended++) {
			assert_true(cqe.status == TDI_SC_OK || cqe.status == TDI_SC_ABORTED);
			done += cqe.status == TDI_SC_OK || cqe.units;
		}
		assert_int_equal(ended, 48);
		sleep_ns(2000000);
		assert_true(all_bytes(big.data, 0x3c, big.mapped));
		raw_queue_unmap(&q);
	}
	raw_buffer_unmap(&big);
	/* [MET-6] What queues did that are gone stays in the books. */
	raw_usage(&f->r, &after);
	assert_int_equal(after.commands[TDI_OP_FILL] - before.commands[TDI_OP_FILL], done);
	still_works(f);
}

/* ---------------------------------------------------------------------------------- bounds */

struct range {
	uint64_t offset, bytes;
};

/* Of a buffer of 5000 bytes. */
static const struct range beyond[] = {
	{ 4999, 2 },
	{ 5000, 1 },
	{ 0, 5001 },
	{ 0, 8192 },
	{ 4992, 16 },
	{ 8192, 8 },
	{ 1ULL << 32, 8 },
	{ 1ULL << 63, 8 },
	{ UINT64_MAX, 1 },
	{ UINT64_MAX, 2 },
	{ UINT64_MAX - 7, 8 },
	{ UINT64_MAX - 7, 16 },
	{ UINT64_MAX - 4095, 8192 },
	{ 8, UINT64_MAX },
	{ 8, UINT64_MAX - 7 },
	{ 0, UINT64_MAX },
	{ 4096, UINT64_MAX - 4095 },
	{ 1ULL << 63, 1ULL << 63 },
	{ 1ULL << 40, 1ULL << 40 },
};

struct rows {
	uint64_t offset, row_bytes;
	uint32_t rows, pitch;
};

static const struct rows rows_beyond[] = {
	{ 0, 1, UINT32_MAX, 1 }, { 0, 1, UINT32_MAX, UINT32_MAX }, { 0, 4, 3, UINT32_MAX },
	{ 0, 1000, 6, 1000 }, { 1, 1000, 5, 1000 }, { 0, 904, 5, 1025 }, { 4999, 1, 2, 1 },
	{ UINT64_MAX, 1, 2, 1 }, { UINT64_MAX - UINT32_MAX, 1, 2, UINT32_MAX },
	{ UINT64_MAX - 0xfffffffe00000000, 1, UINT32_MAX, UINT32_MAX }, { 0, 1, 5001, 1 },
	{ 0x2, UINT32_MAX, UINT32_MAX, UINT32_MAX },
};

/* [BUF-3, BUF-4, CMD-15, SOC-16] Beyond what was asked for, wrapping included. */
static void test_bounds(void **state)
{
	struct fixture *f = *state;
	struct tdi_sqe *sqe;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		put_fill(raw_sqe(&f->q), f->a.id, beyond[i].offset, beyond[i].bytes, 0x22, 1);
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
		put_copy(raw_sqe(&f->q), f->a.id, beyond[i].offset, f->b.id, 0, beyond[i].bytes);
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
		put_copy(raw_sqe(&f->q), f->a.id, 0, f->b.id, beyond[i].offset, beyond[i].bytes);
		/* The destination is looked at first. */
		expect(f, TDI_SC_BUFFER_BOUNDS, beyond[i].bytes > 5000 ? f->a.id : f->b.id);
		if (beyond[i].offset % 8 || beyond[i].offset < 5000)
			continue;
		put_signal(raw_sqe(&f->q), f->a.id, beyond[i].offset, 1);
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
		put_wait(raw_sqe(&f->q), f->a.id, beyond[i].offset, 1, 1000);
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
	}
	for (i = 0; i < ARRAY_SIZE(rows_beyond); i++) {
		const struct rows *r = &rows_beyond[i];

		sqe = raw_sqe(&f->q);
		put_copy(sqe, f->a.id, r->offset, f->b.id, 0, r->row_bytes);
		sqe->copy.rows = r->rows;
		sqe->copy.dst_pitch = sqe->copy.src_pitch = r->pitch;
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
	}
	/* Only the source. */
	sqe = raw_sqe(&f->q);
	put_copy(sqe, f->a.id, 0, f->b.id, 4000, 100);
	sqe->copy.rows = 11;
	sqe->copy.dst_pitch = 100;
	sqe->copy.src_pitch = 100;
	expect(f, TDI_SC_BUFFER_BOUNDS, f->b.id);
	/* [CMD-10] */
	untouched(f);

	/* What is just inside is allowed, and no more is written. */
	put_fill(raw_sqe(&f->q), f->a.id, 4999, 1, 0x22, 1);
	expect(f, TDI_SC_OK, 0);
	put_signal(raw_sqe(&f->q), f->b.id, 4992, 1);
	expect(f, TDI_SC_OK, 0);
	assert_true(all_bytes(f->a.data, 0xa1, 4999) && f->a.data[4999] == 0x22);
	assert_true(all_bytes(f->a.data + 5000, 0xa1, f->a.mapped - 5000));
	assert_true(all_bytes(f->b.data, 0xb2, 4992) &&
		    all_bytes(f->b.data + 5000, 0xb2, f->b.mapped - 5000));
}

/* Descriptors and operands that reach beyond their buffers. [TEN-3] */
static void test_tensor_bounds(void **state)
{
	struct fixture *f = *state;
	const uint64_t far[] = { 4996, 5000, 1ULL << 40, UINT64_MAX - 3, UINT64_MAX - 255 };
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_RELU, 1);
	struct tdi_tensor tensors[2];
	struct tdi_sqe *sqe;
	struct tdi_cqe cqe;
	unsigned int i, which;

	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		if (beyond[i].offset % 8 || (beyond[i].offset < 5000 && beyond[i].offset + 320 <= 5000))
			continue;
		sqe = raw_sqe(&f->q);
		sqe->opcode = TDI_OP_TENSOR;
		sqe->tensor.buffer = f->a.id;
		sqe->tensor.offset = beyond[i].offset;
		sqe->tensor.bytes = TDI_OP_BYTES(2);
		expect(f, TDI_SC_BUFFER_BOUNDS, f->a.id);
	}
	for (i = 0; i < 4 * ARRAY_SIZE(far); i++) {
		which = i & 1;
		tensors[0] = matrix(f->readonly.id, 0, 8, 8);
		tensors[1] = matrix(f->writeonly.id, 0, 8, 8);
		if (i & 2)
			tensors[which].offset = far[i / 4] & ~3ULL;
		else
			tensors[which].stride[0] = far[i / 4] & ~3ULL;
		memcpy(f->a.data, &op, sizeof(op));
		memcpy(f->a.data + sizeof(op), tensors, sizeof(tensors));
		sqe = raw_sqe(&f->q);
		sqe->opcode = TDI_OP_TENSOR;
		sqe->tensor.buffer = f->a.id;
		sqe->tensor.bytes = TDI_OP_BYTES(2);
		cqe = raw_run(&f->q);
		if (cqe.status != TDI_SC_BUFFER_BOUNDS && cqe.status != TDI_SC_SHAPE)
			print_error("operand %u: status %#x\n", i, cqe.status);
		/* Which of the two it is depends on whether the hull has an end at all. */
		assert_true(cqe.status == TDI_SC_BUFFER_BOUNDS || cqe.status == TDI_SC_SHAPE);
		memset(f->a.data, 0xa1, f->a.mapped);
		untouched(f);
	}
}

/* [BUF-6] */
static void test_rights(void **state)
{
	struct fixture *f = *state;

	put_fill(raw_sqe(&f->q), f->readonly.id, 0, 4096, 0, 8);
	expect(f, TDI_SC_BUFFER_RIGHTS, f->readonly.id);
	put_copy(raw_sqe(&f->q), f->readonly.id, 0, f->a.id, 0, 4096);
	expect(f, TDI_SC_BUFFER_RIGHTS, f->readonly.id);
	put_signal(raw_sqe(&f->q), f->readonly.id, 0, 1);
	expect(f, TDI_SC_BUFFER_RIGHTS, f->readonly.id);
	put_copy(raw_sqe(&f->q), f->a.id, 0, f->writeonly.id, 0, 4096);
	expect(f, TDI_SC_BUFFER_RIGHTS, f->writeonly.id);
	put_wait(raw_sqe(&f->q), f->writeonly.id, 0, 1, 1000);
	expect(f, TDI_SC_BUFFER_RIGHTS, f->writeonly.id);
	relu(f, f->b.id, f->readonly.id, TDI_SC_BUFFER_RIGHTS, f->readonly.id);
	relu(f, f->writeonly.id, f->b.id, TDI_SC_BUFFER_RIGHTS, f->writeonly.id);
	untouched(f);

	put_copy(raw_sqe(&f->q), f->writeonly.id, 0, f->readonly.id, 0, 4096);
	expect(f, TDI_SC_OK, 0);
	assert_true(all_bytes(f->writeonly.data, 0xc3, 4096));
	assert_true(all_bytes(f->readonly.data, 0xc3, 4096));
}

/* ----------------------------------------------------------- what changes under the device's eyes */

struct changer {
	pthread_t thread;
	uint32_t stop;
	__le64 *word;
	uint64_t good, bad;
};

static void *change(void *arg)
{
	struct changer *c = arg;
	uint64_t seed = 1;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		unsigned int pause = rnd(&seed) % 2000;

		__atomic_store_n(c->word, c->bad, __ATOMIC_RELAXED);
		while (pause--)
			__atomic_load_n(&c->stop, __ATOMIC_RELAXED);
		__atomic_store_n(c->word, c->good, __ATOMIC_RELAXED);
		for (pause = rnd(&seed) % 2000; pause; pause--)
			__atomic_load_n(&c->stop, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void change_start(struct changer *c)
{
	c->stop = 0;
	assert_int_equal(pthread_create(&c->thread, NULL, change, c), 0);
}

static void change_stop(struct changer *c)
{
	__atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(c->thread, NULL), 0);
}

/*
 * [CMD-1] A second thread changes the entry while its command runs: what was checked is what is done. So the
 * command either does all that it said or, refused, nothing. [CMD-3]
 */
static void test_changing_sqe(void **state)
{
	struct fixture *f = *state;
	struct changer changer = { .good = 0, .bad = 1ULL << 40 };
	unsigned int i, done = 0, refused = 0;
	struct raw_buffer big;
	struct tdi_sqe *sqe;
	struct tdi_cqe cqe;

	raw_buffer(&f->r, 1 << 20, RW, &big);
	for (i = 0; i < 1500; i++) {
		memset(big.data, 0x99, big.mapped);
		sqe = raw_sqe(&f->q);
		put_fill(sqe, big.id, 0, big.bytes, 0x10 + i % 16, 1);
		changer.word = &sqe->fill.offset;
		change_start(&changer);
		cqe = raw_run(&f->q);
		change_stop(&changer);
		if (cqe.status) {
			assert_int_equal(cqe.status, TDI_SC_BUFFER_BOUNDS);
			assert_true(all_bytes(big.data, 0x99, big.bytes));
			refused++;
		} else {
			assert_true(all_bytes(big.data, 0x10 + i % 16, big.bytes));
			done++;
		}
		if (done >= 50 && refused >= 50)
			break;
	}
	assert_true(done && refused);
	raw_buffer_unmap(&big);
	untouched(f);
}

/* [TEN-1] The same for a descriptor: MATMUL whose output's offset, then whose inner extent is changed. */
static void test_changing_descriptor(void **state)
{
	struct fixture *f = *state;
	enum { N = 64, BYTES = 4 * N * N };
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_MATMUL, 2);
	struct tdi_tensor *tensors;
	struct changer changer;
	struct raw_buffer data, descriptor;
	unsigned int i, what, done = 0, refused = 0;
	struct tdi_sqe *sqe;
	struct tdi_cqe cqe;
	float *y;

	raw_buffer(&f->r, 4 * BYTES, RW, &data);
	raw_buffer(&f->r, 4096, TDI_BUFFER_READ, &descriptor);
	tensors = (void *)(descriptor.data + sizeof(op));
	for (i = 0; i < 2 * N * N; i++)
		((float *)(void *)data.data)[i] = 1;
	y = (float *)(void *)(data.data + 2 * BYTES);
	for (i = 0; i < 1500; i++) {
		what = i & 1;
		memcpy(descriptor.data, &op, sizeof(op));
		tensors[0] = matrix(data.id, 0, N, N);
		tensors[1] = matrix(data.id, BYTES, N, N);
		tensors[2] = matrix(data.id, 2 * BYTES, N, N);
		memset(y, 0, 2 * BYTES);
		changer.word = what ? &tensors[2].offset : (__le64 *)(void *)&tensors[0].shape[0];
		changer.good = *changer.word;
		changer.bad = what ? UINT64_MAX - 4095 : (1ULL << 63) + N;
		sqe = raw_sqe(&f->q);
		sqe->opcode = TDI_OP_TENSOR;
		sqe->tensor.buffer = descriptor.id;
		sqe->tensor.bytes = TDI_OP_BYTES(3);
		change_start(&changer);
		cqe = raw_run(&f->q);
		change_stop(&changer);
		if (cqe.status) {
			assert_true(cqe.status == TDI_SC_BUFFER_BOUNDS || cqe.status == TDI_SC_SHAPE);
			assert_true(all_bytes(y, 0, 2 * BYTES));
			refused++;
		} else {
			unsigned int k;

			for (k = 0; k < N * N; k++)
				assert_true(y[k] == N);
			assert_true(all_bytes(y + N * N, 0, BYTES));
			done++;
		}
		if (done >= 50 && refused >= 50)
			break;
	}
	assert_true(done && refused);
	raw_buffer_unmap(&data);
	raw_buffer_unmap(&descriptor);
	untouched(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(foreign_ids), TEST(foreign_requests), TEST(stale_ids), TEST(destroy_under_way),
		TEST(queue_destroy_under_way), TEST(bounds), TEST(tensor_bounds), TEST(rights),
		TEST(changing_sqe), TEST(changing_descriptor),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("isolation", tests, group_setup, group_teardown);
}
