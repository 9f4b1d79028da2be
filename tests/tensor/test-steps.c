// SPDX-License-Identifier: MIT
/* What may happen between the steps of a tensor command, and how long a step is. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"

static uint8_t *output_of(const struct rig *rig)
{
	uint8_t *bytes = malloc(JOB_BYTES);

	assert_non_null(bytes);
	rig_read(rig, OUT, 0, bytes, JOB_BYTES);
	return bytes;
}

static void clear_output(struct rig *rig)
{
	rig_unmap(rig, OUT);
	rig_map(rig, OUT, NULL, JOB_BYTES, TDI_BUFFER_WRITE);
}

static int finish(struct rig *rig)
{
	int status;

	do
		status = rig_step(rig);
	while (status == TN_MORE);
	return status;
}

/* A buffer is unmapped, or its id names another one, after the first step [BUF-3, BUF-5]. */
static void test_unmapped(void **state)
{
	unsigned int layout, n, how;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		for (n = 0; n <= 3; n++) {
			for (how = 0; how < 4; how++) {
				struct rig *rig;
				struct job job;
				unsigned int index;
				int expected = TDI_SC_BUFFER_ID;

				layout = (op + n + how) % RIG_LAYOUTS;
				rig = job_rig(layout);
				job = long_job_of(rig, op);
				if (n > job.op.inputs) {
					rig_free(rig);
					continue;
				}
				assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
				assert_int_equal(rig_step(rig), TN_MORE);
				index = TDI_BUFFER_INDEX(job.t[n].buffer);
				switch (how) {
				case 0:
					rig_unmap(rig, index);
					break;
				case 1:
					rig->map[index].id = TDI_BUFFER_ID(index, 8);
					break;
				case 2:
					rig->map[index].length = 1;
					expected = TDI_SC_BUFFER_BOUNDS;
					break;
				default:
					rig->map[index].flags ^= TDI_BUFFER_READ | TDI_BUFFER_WRITE;
					expected = TDI_SC_BUFFER_RIGHTS;
					break;
				}
				assert_int_equal(finish(rig), expected);
				assert_int_equal(rig->exec->info, job.t[n].buffer);
				rig_free(rig);
			}
		}
	}
}

/* An entry of a buffer's array leads nowhere [BUF-10, ERR-21]; info says nothing [CMD-7]. */
static void test_no_memory(void **state)
{
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct rig *rig = job_rig(RIG_BLOCKS);
		struct job job = long_job_of(rig, op);

		assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
		assert_int_equal(rig_step(rig), TN_MORE);
		tn_space_remove(&rig->space, rig->buffer[OUT].array);
		assert_int_equal(finish(rig), TDI_SC_DEVICE);
		assert_int_equal(rig->exec->info, 0);
		rig_free(rig);
	}
}

/* What is written to the descriptor after the command has begun has no effect [TEN-1]; nor has its end. */
static void test_descriptor(void **state)
{
	unsigned int change;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct rig *rig = job_rig(RIG_BLOCKS);
		struct job job = long_job_of(rig, op), other = job;
		uint8_t *expected, *got;
		struct {
			uint64_t work, bytes_read, bytes_written;
		} cost;

		clear_output(rig);
		assert_int_equal(rig_run(rig, &job.op, job.t), TDI_SC_OK);
		expected = output_of(rig);
		cost.work = rig->exec->work;
		cost.bytes_read = rig->exec->bytes_read;
		cost.bytes_written = rig->exec->bytes_written;
		for (change = 0; change < 3; change++) {
			uint8_t noise[sizeof(job.op) + sizeof(job.t)];
			uint64_t at;

			clear_output(rig);
			assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
			at = rig->exec->sqe.tensor.offset;
			switch (change) {
			case 0:
				/* As good a command, with another output. */
				job_out(&other)->offset = 64;
				rig_write(rig, RIG_DESCRIPTOR, at + sizeof(other.op), other.t,
					  sizeof(other.t));
				break;
			case 1:
				memset(noise, 0xff, sizeof(noise));
				rig_write(rig, RIG_DESCRIPTOR, at, noise, sizeof(noise));
				break;
			default:
				rig_unmap(rig, RIG_DESCRIPTOR);
				break;
			}
			assert_int_equal(finish(rig), TDI_SC_OK);
			got = output_of(rig);
			assert_memory_equal(got, expected, JOB_BYTES);
			free(got);
			assert_int_equal(rig->exec->work, cost.work);
			assert_int_equal(rig->exec->bytes_read, cost.bytes_read);
			assert_int_equal(rig->exec->bytes_written, cost.bytes_written);
		}
		free(expected);
		rig_free(rig);
	}
}

/* Two commands whose steps alternate and share the scratch [ARB-6]. */
static void test_interleaved(void **state)
{
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct rig *rig = job_rig(RIG_INLINE);
		struct job job = long_job_of(rig, op);
		struct tn_exec *one = rig->exec, *two = malloc(sizeof(*two));
		int status[2] = { TN_MORE, TN_MORE };
		uint8_t *alone, *first, *second = malloc(JOB_BYTES);

		assert_non_null(two);
		assert_non_null(second);
		rig_map(rig, 4, NULL, JOB_BYTES, TDI_BUFFER_WRITE);
		clear_output(rig);
		assert_int_equal(rig_run(rig, &job.op, job.t), TDI_SC_OK);
		alone = output_of(rig);
		clear_output(rig);
		assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
		job_out(&job)->buffer = rig->map[4].id;
		rig->exec = two;
		assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
		while (status[0] == TN_MORE || status[1] == TN_MORE) {
			rig->exec = one;
			if (status[0] == TN_MORE)
				status[0] = rig_step(rig);
			rig->exec = two;
			if (status[1] == TN_MORE)
				status[1] = rig_step(rig);
		}
		assert_int_equal(status[0], TDI_SC_OK);
		assert_int_equal(status[1], TDI_SC_OK);
		first = output_of(rig);
		rig_read(rig, 4, 0, second, JOB_BYTES);
		assert_memory_equal(first, alone, JOB_BYTES);
		assert_memory_equal(second, alone, JOB_BYTES);
		rig->exec = one;
		free(two);
		free(alone);
		free(first);
		free(second);
		rig_free(rig);
	}
}

/* Set the strides of a rank 2 tensor. */
static struct tdi_tensor strided(struct tdi_tensor tensor, uint64_t s0, uint64_t s1)
{
	tensor.stride[0] = s0;
	tensor.stride[1] = s1;
	return tensor;
}

/*
 * Shapes for which an operator written without care would run on: rig_step() checks that each step does at
 * least a unit, unless it is the last, and never more than a few [ARB-4]. 2^32 - 1 elements are one that
 * repeats.
 */
static void test_bounded(void **state)
{
	const uint32_t huge = UINT32_MAX;
	unsigned int layout, i, steps;

	for (layout = 0; layout < RIG_LAYOUTS; layout++) {
		struct rig *rig = job_rig(layout);
		uint32_t a = rig->map[0].id, b = rig->map[1].id, y = rig->map[OUT].id;
		const struct {
			struct tdi_op op;
			struct tdi_tensor t[3];
		} jobs[] = {
#define BINARY(number) .op = { .op = number, .inputs = 2, .outputs = 1 }
#define ALONG(number, along) .op = { .op = number, .inputs = 1, .outputs = 1, .axis = along }
			/* many sums of one product, each element apart */
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 16000, 1), 16, 4),
				strided(TENSOR(b, TDI_F32, 0, 1, 1), 4, 4),
				strided(TENSOR(y, TDI_F32, 0, 16000, 1), 16, 4) } },
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 120, 1), 2000, 0),
				strided(TENSOR(b, TDI_F32, 0, 1, 120), 0, 2000),
				strided(TENSOR(y, TDI_F32, 0, 120, 120), 16, 2000) } },
			/* short lines without end, lines across */
			{ ALONG(TDI_TENSOR_ARGMAX, 1), {
				TENSOR(a, TDI_I8, 0, 30000, 2),
				TENSOR(y, TDI_I64, 0, 30000, 1) } },
			{ ALONG(TDI_TENSOR_ARGMAX, 0), {
				TENSOR(a, TDI_F32, 0, 400, 150),
				TENSOR(y, TDI_I32, 0, 1, 150) } },
			{ ALONG(TDI_TENSOR_SOFTMAX, 1), {
				TENSOR(a, TDI_F32, 0, 60000, 1),
				TENSOR(y, TDI_F32, 0, 60000, 1) } },
			{ ALONG(TDI_TENSOR_SOFTMAX, 0), {
				strided(TENSOR(a, TDI_F32, 0, 16000, 2), 16, 8),
				strided(TENSOR(y, TDI_F32, 0, 16000, 2), 16, 8) } },
			{ ALONG(TDI_TENSOR_SOFTMAX, 0), {
				TENSOR(a, TDI_F32, 0, 60000),
				TENSOR(y, TDI_F32, 0, 60000) } },
			/* single elements, long rows */
			{ BINARY(TDI_TENSOR_GATHER), {
				TENSOR(a, TDI_I8, 0, 3),
				TENSOR(b, TDI_I32, 0, 60000),
				TENSOR(y, TDI_I8, 0, 60000) } },
			{ BINARY(TDI_TENSOR_GATHER), {
				TENSOR(a, TDI_F32, 0, 3, 20000),
				TENSOR(b, TDI_I32, 0, 3),
				TENSOR(y, TDI_F32, 0, 3, 20000) } },
			/* rows of two elements that can't be merged, elements apart */
			{ BINARY(TDI_TENSOR_ADD), {
				strided(TENSOR(a, TDI_F32, 0, 16000, 2), 16, 4),
				TENSOR(b, TDI_F32, 0, 16000, 2),
				TENSOR(y, TDI_F32, 0, 16000, 2) } },
			{ ALONG(TDI_TENSOR_RELU, 0), {
				strided(TENSOR(a, TDI_I8, 0, 250, 250), 1, 250),
				TENSOR(y, TDI_I8, 0, 250, 250) } },
			/* an axis without end */
			{ ALONG(TDI_TENSOR_ARGMAX, 1), {
				strided(TENSOR(a, TDI_F32, 0, 2, huge), 4, 0),
				TENSOR(y, TDI_I64, 0, 2, 1) } },
			/* one sum without end, one to many in each direction */
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 1, huge), 0, 0),
				strided(TENSOR(b, TDI_F32, 0, huge, 1), 0, 0),
				TENSOR(y, TDI_F32, 0, 1, 1) } },
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 65536, huge), 4, 0),
				strided(TENSOR(b, TDI_F32, 0, huge, 1), 0, 0),
				TENSOR(y, TDI_F32, 0, 65536, 1) } },
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 1, huge), 4, 0),
				strided(TENSOR(b, TDI_F32, 0, huge, 65536), 0, 4),
				TENSOR(y, TDI_F32, 0, 1, 65536) } },
			{ BINARY(TDI_TENSOR_MATMUL), {
				strided(TENSOR(a, TDI_F32, 0, 256, huge), 40, 0),
				strided(TENSOR(b, TDI_F32, 0, huge, 256), 0, 40),
				TENSOR(y, TDI_F32, 0, 256, 256) } },
			{ BINARY(TDI_TENSOR_MATMUL_INTEGER), {
				strided(TENSOR(a, TDI_I8, 0, 256, huge), 1, 0),
				strided(TENSOR(b, TDI_I8, 0, huge, 256), 0, 1),
				TENSOR(y, TDI_I32, 0, 256, 256) } },
			{ BINARY(TDI_TENSOR_MATMUL_INTEGER), {
				strided(TENSOR(a, TDI_I8, 0, 1, 260000), 0, 1),
				strided(TENSOR(b, TDI_I8, 0, 260000, 65536), 1, 0),
				TENSOR(y, TDI_I32, 0, 1, 65536) } },
#undef BINARY
#undef ALONG
		};

		for (i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
			int status = rig_begin(rig, &jobs[i].op, jobs[i].t);

			for (steps = 0; status == TN_MORE && steps < 100; steps++)
				status = rig_step(rig);
			if (status != TN_MORE && status)
				fail_msg("job %u: status %#x info %#x", i, status, rig->exec->info);
			assert_true(steps > 2);
			assert_int_equal(rig->exec->units, steps);
		}
		rig_free(rig);
	}
}

/* An index is judged as it is when it is used: it changes after the first step [TEN-21, ERR-19]. */
static void test_index(void **state)
{
	const int32_t wrong[] = { 4, -5, INT32_MAX, INT32_MIN };
	struct rig *rig = job_rig(RIG_BLOCKS);
	struct job job = long_job_of(rig, TDI_TENSOR_GATHER);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		int32_t good;

		rig_read(rig, 1, 4 * 4321, &good, sizeof(good));
		assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
		assert_int_equal(rig_step(rig), TN_MORE);
		rig_write(rig, 1, 4 * 4321, &wrong[i], sizeof(wrong[i]));
		assert_int_equal(finish(rig), TDI_SC_INDEX_RANGE);
		assert_int_equal(rig->exec->info, 4321);
		rig_write(rig, 1, 4 * 4321, &good, sizeof(good));
	}
	rig_free(rig);
}

static int32_t *flipped;
static int flip;

static void *flipper(void *arg)
{
	while (__atomic_load_n(&flip, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(flipped, 1000, __ATOMIC_RELAXED);
		__atomic_store_n(flipped, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

/* Another thread changes an index all the time: what is out of range is never used [TEN-21]. */
static void test_index_race(void **state)
{
	struct rig *rig = job_rig(RIG_INLINE);
	uint32_t canary = 0xdeadbeef, got;
	struct job job;
	pthread_t thread;
	unsigned int i, j, ok = 0, refused = 0;

	job = job_of(rig, TDI_TENSOR_GATHER);
	job.op.axis = 0;
	job.t[0] = TENSOR(rig->map[0].id, TDI_F32, 0, 4);
	job.t[1] = TENSOR(rig->map[1].id, TDI_I32, 0, 64);
	job.t[2] = TENSOR(rig->map[OUT].id, TDI_F32, 0, 64);
	for (i = 4; i < JOB_BYTES / 4; i++)
		rig_write(rig, 0, 4 * i, &canary, sizeof(canary));
	flipped = (int32_t *)(void *)(rig->buffer[1].block[0] + 4 * 33);
	flip = 1;
	assert_int_equal(pthread_create(&thread, NULL, flipper, NULL), 0);
	for (i = 0; i < 2000000 && (i < 20000 || !ok || !refused); i++) {
		int status = tn_exec_begin(&rig->table, rig->exec);

		if (!i)
			status = rig_begin(rig, &job.op, job.t);
		while (status == TN_MORE)
			status = tn_exec_step(&rig->table, rig->exec, rig->scratch);
		ok += status == TDI_SC_OK;
		refused += status == TDI_SC_INDEX_RANGE && rig->exec->info == 33;
		if (status != TDI_SC_OK && status != TDI_SC_INDEX_RANGE)
			break;
		for (j = 0; j < 64; j++) {
			rig_read(rig, OUT, 4 * j, &got, sizeof(got));
			if (got == canary)
				break;
		}
		if (j < 64)
			break;
	}
	__atomic_store_n(&flip, 0, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(ok + refused, i);
	assert_true(ok && refused);
	rig_free(rig);
}

/* The same numbers in other places give the same bits [TEN-7]; so does a row of a product alone. */
static void test_strides(void **state)
{
	enum { M = 19, K = 301, N = 43 };
	struct rig *rig = rig_new(RIG_INLINE);
	uint32_t id[6], expected[M][N], got[M][N];
	float a[M][K], b[K][N], b_turned[N][K], spaced[M][K][2];
	struct tdi_op matmul = { .op = TDI_TENSOR_MATMUL, .inputs = 2, .outputs = 1 };
	struct tdi_op gemm = { .op = TDI_TENSOR_GEMM, .inputs = 2, .outputs = 1, .alpha = rig_f32(1) };
	struct tdi_tensor t[3];
	unsigned int i, j, seed = 1;

	memset(spaced, 0, sizeof(spaced));
	for (i = 0; i < M; i++)
		for (j = 0; j < K; j++) {
			seed = seed * 1664525 + 1013904223;
			spaced[i][j][0] = a[i][j] = (float)(int)seed / 1e6f;
		}
	for (i = 0; i < K; i++)
		for (j = 0; j < N; j++) {
			seed = seed * 1664525 + 1013904223;
			b_turned[j][i] = b[i][j] = (float)(int)seed / 1e9f;
		}
	id[0] = rig_map(rig, 0, a, sizeof(a), TDI_BUFFER_READ);
	id[1] = rig_map(rig, 1, b, sizeof(b), TDI_BUFFER_READ);
	id[2] = rig_map(rig, 2, b_turned, sizeof(b_turned), TDI_BUFFER_READ);
	id[3] = rig_map(rig, 3, spaced, sizeof(spaced), TDI_BUFFER_READ);
	id[4] = rig_map(rig, 4, NULL, sizeof(got), TDI_BUFFER_WRITE);
	id[5] = rig_map(rig, 5, NULL, 2 * sizeof(got), TDI_BUFFER_WRITE);

	t[0] = TENSOR(id[0], TDI_F32, 0, M, K);
	t[1] = TENSOR(id[1], TDI_F32, 0, K, N);
	t[2] = TENSOR(id[4], TDI_F32, 0, M, N);
	assert_int_equal(rig_run(rig, &matmul, t), TDI_SC_OK);
	rig_read(rig, 4, 0, expected, sizeof(expected));

	t[0] = strided(TENSOR(id[3], TDI_F32, 0, M, K), 8 * K, 8);
	t[1] = strided(TENSOR(id[2], TDI_F32, 0, K, N), 4, 4 * K);
	t[2] = strided(TENSOR(id[5], TDI_F32, 0, M, N), 8, 8 * M);
	assert_int_equal(rig_run(rig, &matmul, t), TDI_SC_OK);
	for (i = 0; i < M; i++)
		for (j = 0; j < N; j++)
			rig_read(rig, 5, 8 * i + 8 * M * j, &got[i][j], 4);
	assert_memory_equal(got, expected, sizeof(got));

	gemm.flags = TDI_GEMM_TRANS_B;
	t[0] = TENSOR(id[0], TDI_F32, 0, M, K);
	t[1] = TENSOR(id[2], TDI_F32, 0, N, K);
	t[2] = TENSOR(id[4], TDI_F32, 0, M, N);
	assert_int_equal(rig_run(rig, &gemm, t), TDI_SC_OK);
	rig_read(rig, 4, 0, got, sizeof(got));
	assert_memory_equal(got, expected, sizeof(got));

	for (i = 0; i < M; i++) {
		t[0] = TENSOR(id[0], TDI_F32, 4 * i * K, 1, K);
		t[1] = TENSOR(id[1], TDI_F32, 0, K, N);
		t[2] = TENSOR(id[4], TDI_F32, 4 * i * N, 1, N);
		assert_int_equal(rig_run(rig, &matmul, t), TDI_SC_OK);
	}
	rig_read(rig, 4, 0, got, sizeof(got));
	assert_memory_equal(got, expected, sizeof(got));
	rig_free(rig);
}

/* Bytes are those of the descriptor and of the operands, each as often as it is read [MET-4]. */
static void test_bytes(void **state)
{
	static const struct {
		uint16_t op;
		uint64_t read, written;
	} cases[] = {
		{ TDI_TENSOR_ADD, 2 * 240000, 240000 },
		{ TDI_TENSOR_RELU, 60000, 60000 },
		{ TDI_TENSOR_QUANTIZE, 240000, 60000 },
		{ TDI_TENSOR_DEQUANTIZE, 60000, 240000 },
		{ TDI_TENSOR_SOFTMAX, 3 * 240000, 240000 },
		{ TDI_TENSOR_ARGMAX, 240000, 8 },
		{ TDI_TENSOR_GATHER, 2 * 20000, 20000 },
		{ TDI_TENSOR_MATMUL, 2 * 240000, 36 },
		{ TDI_TENSOR_QLINEAR_MATMUL, 2 * 60000, 9 },
	};
	struct rig *rig = job_rig(RIG_SHIFTED);
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job job = long_job_of(rig, cases[i].op);

		assert_int_equal(rig_run(rig, &job.op, job.t), TDI_SC_OK);
		assert_int_equal(rig->exec->bytes_read, cases[i].read + TDI_OP_BYTES(job.op.inputs + 1));
		assert_int_equal(rig->exec->bytes_written, cases[i].written);
	}
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_interleaved),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_index_race),
		cmocka_unit_test(test_strides),
		cmocka_unit_test(test_bytes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tensor steps", tests, NULL, NULL);
}
