// SPDX-License-Identifier: MIT
/*
 * Every way to refuse a tensor command: the status and its info [TEN-2, CMD-7, CMD-8], and that nothing was
 * written [CMD-3].
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"

#define SQE_BYTES	20	/* offset of tensor.bytes */
#define OP_FIELD(member) (64 + (uint32_t)offsetof(struct tdi_op, member))

static uint8_t *snapshot(const struct rig *rig)
{
	uint8_t *image = malloc((OUT + 1) * JOB_BYTES);
	unsigned int b;

	assert_non_null(image);
	for (b = 0; b <= OUT; b++)
		if (rig->buffer[b].bytes)
			rig_read(rig, b, 0, image + b * JOB_BYTES, JOB_BYTES);
		else
			memset(image + b * JOB_BYTES, 0, JOB_BYTES);
	return image;
}

#define refused(rig, job, status, info) refused_(rig, job, status, info, __LINE__)

static void refused_(struct rig *rig, const struct job *job, int status, uint32_t info, int line)
{
	uint8_t *before = snapshot(rig), *after;
	int got = rig_run(rig, &job->op, job->t);

	if (got != status || rig->exec->info != info)
		fail_msg("line %d, operator %u: status %#x info %#x, not %#x %#x", line, job->op.op, got,
			 rig->exec->info, status, info);
	after = snapshot(rig);
	assert_memory_equal(before, after, (OUT + 1) * JOB_BYTES);
	assert_int_equal(rig->exec->units, 0);
	assert_int_equal(rig->exec->bytes_written, 0);
	free(before);
	free(after);
}

static void accepted(struct rig *rig, const struct job *job)
{
	int status = rig_run(rig, &job->op, job->t);

	if (status)
		fail_msg("operator %u: status %#x info %#x", job->op.op, status, rig->exec->info);
}

/* The jobs that the other tests change are good ones. */
static void test_accepted(void **state)
{
	struct rig *rig = job_rig(RIG_SHIFTED);
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op), longer = long_job_of(rig, op);

		accepted(rig, &job);
		assert_int_equal(rig->exec->units, 1);
		accepted(rig, &longer);
		assert_true(rig->exec->units > 1);
	}
	rig_free(rig);
}

static int again(struct rig *rig)
{
	rig->exec->info = 77;
	return tn_exec_begin(&rig->table, rig->exec);
}

/* Steps 1 to 3 of [TEN-2]: [ERR-3, ERR-4, ERR-5, ERR-6, ERR-7, ERR-8]. */
static void test_command(void **state)
{
	static const uint32_t wrong[] = { 0, 63, 65, 64 + 127, 64 + 128 * 9, 1u << 31, UINT32_MAX };
	struct rig *rig = job_rig(RIG_INLINE);
	struct job job = job_of(rig, TDI_TENSOR_MATMUL);
	struct tdi_tensor_cmd *cmd = &rig->exec->sqe.tensor, good;
	uint32_t id = rig->map[RIG_DESCRIPTOR].id, writable;
	unsigned int i;

	assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
	good = *cmd;
	assert_int_equal(again(rig), TN_MORE);
	for (i = 0; i < 4; i++) {
		cmd->reserved[i] = 1ULL << 63;
		assert_int_equal(again(rig), TDI_SC_RESERVED);
		assert_int_equal(rig->exec->info, 0);
		*cmd = good;
	}
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cmd->bytes = wrong[i];
		assert_int_equal(again(rig), TDI_SC_FIELD);
		assert_int_equal(rig->exec->info, SQE_BYTES);
	}
	/* The number of tensors is another than that of the descriptor. */
	for (i = 0; i <= TDI_TENSORS_MAX; i++) {
		cmd->bytes = TDI_OP_BYTES(i);
		assert_int_equal(again(rig), i == 3 ? TN_MORE : TDI_SC_FIELD);
		assert_int_equal(rig->exec->info, i == 3 ? 0 : SQE_BYTES);
	}
	*cmd = good;
	for (i = 1; i < 8; i++) {
		cmd->offset = good.offset + i;
		assert_int_equal(again(rig), TDI_SC_ALIGNMENT);
		assert_int_equal(rig->exec->info, 0);
	}
	*cmd = good;
	cmd->buffer = TDI_BUFFER_ID(5, 7);
	assert_int_equal(again(rig), TDI_SC_BUFFER_ID);
	assert_int_equal(rig->exec->info, cmd->buffer);
	cmd->buffer = TDI_BUFFER_ID(RIG_DESCRIPTOR, 6);
	assert_int_equal(again(rig), TDI_SC_BUFFER_ID);
	*cmd = good;
	cmd->offset = rig->map[RIG_DESCRIPTOR].length - good.bytes + 8;
	assert_int_equal(again(rig), TDI_SC_BUFFER_BOUNDS);
	assert_int_equal(rig->exec->info, id);
	cmd->offset = UINT64_MAX - 7;
	assert_int_equal(again(rig), TDI_SC_BUFFER_BOUNDS);
	*cmd = good;
	writable = rig_map(rig, 5, NULL, 4096, TDI_BUFFER_WRITE);
	cmd->buffer = writable;
	cmd->offset = 0;
	assert_int_equal(again(rig), TDI_SC_BUFFER_RIGHTS);
	assert_int_equal(rig->exec->info, writable);
	rig_free(rig);
}

/* Step 4: [ERR-3, ERR-4, ERR-12]. */
static void test_header(void **state)
{
	static const uint16_t unknown[] = { 0, 12, 63, 64, 0x101, 0xffff };
	struct rig *rig = job_rig(RIG_INLINE);
	uint16_t op;
	unsigned int i;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op);
		uint8_t inputs = job.op.inputs;

		job.op.reserved0 = 1;
		refused(rig, &job, TDI_SC_RESERVED, 0);
		job = job_of(rig, op);
		for (i = 0; i < 7; i++) {
			job.op.reserved1[i] = 0x80000000;
			refused(rig, &job, TDI_SC_RESERVED, 0);
			job.op.reserved1[i] = 0;
		}
		/* One too few or too many; GEMM may do without C [TEN-12]. */
		job.op.inputs = op == TDI_TENSOR_GEMM ? 1 : inputs - 1;
		refused(rig, &job, TDI_SC_FIELD, OP_FIELD(inputs));
		job.op.inputs = 0;
		refused(rig, &job, TDI_SC_FIELD, OP_FIELD(inputs));
		job.op.inputs = inputs + 1;
		job.op.outputs = 0;
		refused(rig, &job, TDI_SC_FIELD, OP_FIELD(inputs));
		job.op.inputs = inputs;
		refused(rig, &job, TDI_SC_FIELD, OP_FIELD(outputs));
		if (inputs < 3) {
			job.op.outputs = 2;
			refused(rig, &job, TDI_SC_FIELD, OP_FIELD(outputs));
		}
	}
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct job job = job_of(rig, TDI_TENSOR_ADD);

		job.op.op = unknown[i];
		refused(rig, &job, TDI_SC_OP, 0);
	}
	rig_free(rig);
}

/* Step 5, on each tensor of each operator: [ERR-4, ERR-5, ERR-10, ERR-11]. */
static void test_tensors(void **state)
{
	static const uint8_t unknown[] = { 0, 2, 4, 5, 8, 16, 255 };
	struct rig *rig = job_rig(RIG_INLINE);
	unsigned int n, i;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op);

		for (n = 0; n <= job.op.inputs; n++) {
			struct tdi_tensor *t = &job.t[n], good = *t;
			unsigned int rank = t->rank;
			uint64_t size = t->stride[rank - 1];

			for (i = 0; i < sizeof(unknown); i++) {
				t->dtype = unknown[i];
				refused(rig, &job, TDI_SC_DTYPE, n);
			}
			*t = good;
			t->rank = TDI_RANK_MAX + 1;
			refused(rig, &job, TDI_SC_SHAPE, n);
			t->rank = 255;
			refused(rig, &job, TDI_SC_SHAPE, n);
			*t = good;
			t->reserved0 = 1;
			refused(rig, &job, TDI_SC_RESERVED, 0);
			*t = good;
			t->reserved1[0] = 1;
			refused(rig, &job, TDI_SC_RESERVED, 0);
			*t = good;
			t->reserved1[1] = 1ULL << 32;
			refused(rig, &job, TDI_SC_RESERVED, 0);
			for (i = rank; i < TDI_RANK_MAX; i++) {
				*t = good;
				t->shape[i] = 1;
				refused(rig, &job, TDI_SC_RESERVED, 0);
				*t = good;
				t->stride[i] = 8;
				refused(rig, &job, TDI_SC_RESERVED, 0);
			}
			for (i = 0; i < rank; i++) {
				*t = good;
				t->shape[i] = 0;
				refused(rig, &job, TDI_SC_SHAPE, n);
				if (size == 1)
					continue;
				*t = good;
				t->stride[i] += size / 2;
				refused(rig, &job, TDI_SC_ALIGNMENT, n);
			}
			*t = good;
			t->offset = size / 2;
			if (size > 1)
				refused(rig, &job, TDI_SC_ALIGNMENT, n);
			/* Hulls that end beyond 2^64 [TEN-3]. */
			*t = good;
			t->shape[0] = 3;
			t->stride[0] = 1ULL << 63;
			refused(rig, &job, TDI_SC_SHAPE, n);
			t->shape[0] = UINT32_MAX;
			t->stride[0] = UINT64_MAX - (size - 1);
			refused(rig, &job, TDI_SC_SHAPE, n);
			*t = good;
			t->offset = UINT64_MAX - (size - 1);
			refused(rig, &job, TDI_SC_SHAPE, n);
			*t = good;
			t->shape[0] = 2;
			t->shape[1] = 2;
			t->stride[0] = t->stride[1] = 1ULL << 63;
			refused(rig, &job, TDI_SC_SHAPE, n);
			*t = good;
		}
	}
	rig_free(rig);
}

/* The types that tensor @n of an operator may have, as a set of bits; [TEN-12]. */
static uint32_t types(const struct job *job, unsigned int n)
{
	const uint32_t f32 = 1u << TDI_F32, i8 = 1u << TDI_I8, i32 = 1u << TDI_I32, i64 = 1u << TDI_I64;
	const uint32_t first = 1u << job->t[0].dtype;
	bool out = n == job->op.inputs;

	switch (job->op.op) {
	case TDI_TENSOR_ADD:
		return n ? first : f32 | i32;
	case TDI_TENSOR_RELU:
		return n ? first : f32 | i32 | i8;
	case TDI_TENSOR_GATHER:
		return n == 1 ? i32 | i64 : n ? first : f32 | i32 | i8;
	case TDI_TENSOR_ARGMAX:
		return out ? i32 | i64 : f32 | i32 | i8;
	case TDI_TENSOR_MATMUL_INTEGER:
		return out ? i32 : i8;
	case TDI_TENSOR_QLINEAR_MATMUL:
		return i8;
	case TDI_TENSOR_QUANTIZE:
		return out ? i8 : f32;
	case TDI_TENSOR_DEQUANTIZE:
		return out ? f32 : i8 | i32;
	default:
		return f32;
	}
}

/* Step 6: [ERR-10]. */
static void test_dtypes(void **state)
{
	static const uint8_t all[] = { TDI_F32, TDI_I8, TDI_I32, TDI_I64 };
	struct rig *rig = job_rig(RIG_INLINE);
	unsigned int n, i, axis, refusals = 0;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op);

		/* Strides that suit any type. */
		for (n = 0; n <= job.op.inputs; n++)
			for (axis = 0; axis < job.t[n].rank; axis++)
				job.t[n].stride[axis] *= 8;
		accepted(rig, &job);
		for (n = 0; n <= job.op.inputs; n++) {
			uint8_t good = job.t[n].dtype;

			for (i = 0; i < sizeof(all); i++) {
				job.t[n].dtype = all[i];
				if (types(&job, n) >> all[i] & 1)
					continue;
				refused(rig, &job, TDI_SC_DTYPE, n);
				refusals++;
			}
			job.t[n].dtype = good;
		}
	}
	assert_int_equal(refusals, 77);
	rig_free(rig);
}

/* Step 7: [TEN-13, TEN-14]. */
static void test_attributes(void **state)
{
	static const int32_t zeros[] = { 128, -129, 256, INT32_MIN, INT32_MAX };
	static const float scales[] = { 0.0f, -0.0f, -1.0f, -FLT_MIN, INFINITY, -INFINITY, NAN };
	struct rig *rig = job_rig(RIG_INLINE);
	unsigned int i;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op), good = job;
		int32_t rank = job.t[0].rank;

		if (op == TDI_TENSOR_SOFTMAX || op == TDI_TENSOR_GATHER || op == TDI_TENSOR_ARGMAX) {
			const int32_t axes[] = { rank, -rank - 1, INT32_MIN, INT32_MAX };

			for (i = 0; i < 4; i++) {
				job.op.axis = (uint32_t)axes[i];
				refused(rig, &job, TDI_SC_FIELD, OP_FIELD(axis));
			}
			/* A scalar has no axis. */
			job = good;
			job.t[0] = SCALAR(job.t[0].buffer, job.t[0].dtype, 0);
			for (i = 0; i < 2; i++) {
				job.op.axis = i ? UINT32_MAX : 0;
				refused(rig, &job, TDI_SC_FIELD, OP_FIELD(axis));
			}
			job = good;
		}
		for (i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++) {
			if (job.op.a_zero) {
				job.op.a_zero = (uint32_t)zeros[i];
				refused(rig, &job, TDI_SC_FIELD, OP_FIELD(a_zero));
				job = good;
			}
			if (job.op.b_zero) {
				job.op.b_zero = (uint32_t)zeros[i];
				refused(rig, &job, TDI_SC_FIELD, OP_FIELD(b_zero));
				job = good;
			}
			if (job.op.y_zero) {
				job.op.y_zero = (uint32_t)zeros[i];
				refused(rig, &job, TDI_SC_FIELD, OP_FIELD(y_zero));
				job = good;
			}
		}
		for (i = 0; job.op.scale && i < sizeof(scales) / sizeof(scales[0]); i++) {
			job.op.scale = rig_f32(scales[i]);
			refused(rig, &job, TDI_SC_FIELD, OP_FIELD(scale));
			job.op.scale = good.op.scale;
		}
		if (op == TDI_TENSOR_DEQUANTIZE) {
			/* An i32 zero point may be anything. */
			job.t[0] = TENSOR(rig->map[0].id, TDI_I32, 0, 3, 4);
			job.op.a_zero = (uint32_t)INT32_MIN;
			accepted(rig, &job);
		}
		if (op == TDI_TENSOR_GEMM) {
			job.op.alpha = rig_f32(NAN);
			job.op.beta = rig_f32(INFINITY);
			accepted(rig, &job);
		}
	}
	rig_free(rig);
}

/* Step 8: shapes that don't fit, by operator [TEN-15] to [TEN-26]; the wrong tensor. */
static void test_shapes(void **state)
{
	static const struct {
		uint16_t op;
		uint8_t tensor;		/* that is replaced by */
		uint8_t rank;
		uint32_t shape[TDI_RANK_MAX];
		uint8_t wrong;		/* what the status says */
	} cases[] = {
		/* A [2, 3, 4], B [2, 4, 5], Y [2, 3, 5] */
		{ TDI_TENSOR_MATMUL, 0, 0, { 0 }, 0 },
		{ TDI_TENSOR_MATMUL, 0, 1, { 4 }, 0 },
		{ TDI_TENSOR_MATMUL, 0, 2, { 3, 4 }, 1 },
		{ TDI_TENSOR_MATMUL, 0, 3, { 2, 3, 5 }, 1 },
		{ TDI_TENSOR_MATMUL, 0, 3, { 1, 3, 4 }, 1 },
		{ TDI_TENSOR_MATMUL, 0, 3, { 2, 2, 4 }, 2 },
		{ TDI_TENSOR_MATMUL, 1, 3, { 2, 3, 5 }, 1 },
		{ TDI_TENSOR_MATMUL, 1, 3, { 3, 4, 5 }, 1 },
		{ TDI_TENSOR_MATMUL, 1, 2, { 4, 5 }, 1 },
		{ TDI_TENSOR_MATMUL, 1, 3, { 2, 4, 6 }, 2 },
		{ TDI_TENSOR_MATMUL, 2, 3, { 2, 3, 4 }, 2 },
		{ TDI_TENSOR_MATMUL, 2, 3, { 1, 3, 5 }, 2 },
		{ TDI_TENSOR_MATMUL, 2, 2, { 3, 5 }, 2 },
		{ TDI_TENSOR_MATMUL, 2, 4, { 1, 2, 3, 5 }, 2 },
		/* A' [4, 3], B' [5, 4], C [1, 5], Y [3, 5] */
		{ TDI_TENSOR_GEMM, 0, 1, { 3 }, 0 },
		{ TDI_TENSOR_GEMM, 0, 3, { 1, 4, 3 }, 0 },
		{ TDI_TENSOR_GEMM, 0, 2, { 3, 4 }, 1 },
		{ TDI_TENSOR_GEMM, 1, 2, { 4, 5 }, 1 },
		{ TDI_TENSOR_GEMM, 1, 3, { 1, 5, 4 }, 1 },
		{ TDI_TENSOR_GEMM, 1, 2, { 6, 4 }, 2 },
		{ TDI_TENSOR_GEMM, 2, 2, { 5, 1 }, 2 },
		{ TDI_TENSOR_GEMM, 2, 1, { 3 }, 2 },
		{ TDI_TENSOR_GEMM, 2, 3, { 1, 1, 5 }, 2 },
		{ TDI_TENSOR_GEMM, 3, 2, { 5, 3 }, 3 },
		{ TDI_TENSOR_GEMM, 3, 3, { 1, 3, 5 }, 3 },
		/* A [2, 3, 1], B [3, 4], Y [2, 3, 4] */
		{ TDI_TENSOR_ADD, 0, 3, { 2, 2, 1 }, 1 },
		{ TDI_TENSOR_ADD, 0, 3, { 2, 3, 2 }, 1 },
		{ TDI_TENSOR_ADD, 0, 3, { 1, 3, 1 }, 2 },
		{ TDI_TENSOR_ADD, 1, 2, { 2, 4 }, 1 },
		{ TDI_TENSOR_ADD, 1, 2, { 3, 5 }, 2 },
		{ TDI_TENSOR_ADD, 2, 3, { 2, 3, 1 }, 2 },
		{ TDI_TENSOR_ADD, 2, 2, { 3, 4 }, 2 },
		{ TDI_TENSOR_ADD, 2, 4, { 1, 2, 3, 4 }, 2 },
		{ TDI_TENSOR_RELU, 1, 2, { 4, 3 }, 1 },
		{ TDI_TENSOR_RELU, 1, 1, { 12 }, 1 },
		{ TDI_TENSOR_RELU, 0, 2, { 1, 4 }, 1 },
		{ TDI_TENSOR_SOFTMAX, 1, 2, { 4, 3 }, 1 },
		{ TDI_TENSOR_SOFTMAX, 0, 1, { 12 }, 1 },
		/* X [3, 4, 5], I [2, 6], Y [3, 2, 6, 5] */
		{ TDI_TENSOR_GATHER, 0, 3, { 3, 4, 6 }, 2 },
		{ TDI_TENSOR_GATHER, 1, 2, { 6, 2 }, 2 },
		{ TDI_TENSOR_GATHER, 1, 1, { 12 }, 2 },
		{ TDI_TENSOR_GATHER, 1, 7, { 1, 1, 1, 1, 1, 1, 1 }, 2 },
		{ TDI_TENSOR_GATHER, 1, 8, { 1, 1, 1, 1, 1, 1, 1, 1 }, 2 },
		{ TDI_TENSOR_GATHER, 2, 4, { 3, 2, 6, 4 }, 2 },
		{ TDI_TENSOR_GATHER, 2, 4, { 2, 6, 3, 5 }, 2 },
		{ TDI_TENSOR_GATHER, 2, 3, { 3, 12, 5 }, 2 },
		/* X [3, 4, 5], Y [3, 1, 5] */
		{ TDI_TENSOR_ARGMAX, 1, 2, { 3, 5 }, 1 },
		{ TDI_TENSOR_ARGMAX, 1, 3, { 3, 4, 5 }, 1 },
		{ TDI_TENSOR_ARGMAX, 1, 3, { 3, 4, 1 }, 1 },
		/* A [3, 4], B [4, 5], Y [3, 5] */
		{ TDI_TENSOR_MATMUL_INTEGER, 0, 1, { 4 }, 0 },
		{ TDI_TENSOR_MATMUL_INTEGER, 1, 2, { 5, 4 }, 1 },
		{ TDI_TENSOR_MATMUL_INTEGER, 2, 2, { 5, 3 }, 2 },
		{ TDI_TENSOR_QLINEAR_MATMUL, 0, 1, { 4 }, 0 },
		{ TDI_TENSOR_QLINEAR_MATMUL, 1, 2, { 3, 5 }, 1 },
		{ TDI_TENSOR_QLINEAR_MATMUL, 2, 3, { 1, 3, 5 }, 2 },
		{ TDI_TENSOR_QUANTIZE, 1, 2, { 4, 3 }, 1 },
		{ TDI_TENSOR_QUANTIZE, 0, 0, { 0 }, 1 },
		{ TDI_TENSOR_DEQUANTIZE, 1, 2, { 3, 3 }, 1 },
		{ TDI_TENSOR_DEQUANTIZE, 0, 3, { 3, 4, 1 }, 1 },
	};
	struct rig *rig = job_rig(RIG_INLINE);
	struct job job;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t shape[TDI_RANK_MAX + 1] = { 0 };
		struct tdi_tensor *t;

		job = job_of(rig, cases[i].op);
		t = &job.t[cases[i].tensor];
		memcpy(shape, cases[i].shape, cases[i].rank * sizeof(shape[0]));
		*t = rig_tensor(t->buffer, t->dtype, 0, shape);
		refused(rig, &job, TDI_SC_SHAPE, cases[i].wrong);
	}
	/* [TEN-22]: an index beyond i32. */
	job = job_of(rig, TDI_TENSOR_ARGMAX);
	job.op.axis = 0;
	job.t[0] = TENSOR(rig->map[0].id, TDI_F32, 0, 1);
	job.t[0].shape[0] = (1u << 31) + 1;
	job.t[0].stride[0] = 0;
	job.t[1] = TENSOR(rig->map[OUT].id, TDI_I32, 0, 1);
	refused(rig, &job, TDI_SC_SHAPE, 1);
	job.t[0].shape[0]--;
	assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
	job.t[0].shape[0] = UINT32_MAX;
	job.t[1] = TENSOR(rig->map[OUT].id, TDI_I64, 0, 1);
	assert_int_equal(rig_begin(rig, &job.op, job.t), TN_MORE);
	rig_free(rig);
}

/* Step 8, the output: [TEN-4]. */
static void test_output_strides(void **state)
{
	static const struct {
		uint64_t stride[3];
		bool good;
	} cases[] = {
		/* of f32 [2, 3, 4] */
		{ { 48, 16, 4 }, true },
		{ { 4, 8, 24 }, true },
		{ { 16, 32, 4 }, true },
		{ { 52, 16, 4 }, true },
		{ { 4000, 400, 40 }, true },
		{ { 0, 16, 4 }, false },
		{ { 48, 0, 4 }, false },
		{ { 48, 16, 0 }, false },
		{ { 48, 12, 4 }, false },
		{ { 44, 16, 4 }, false },
		{ { 48, 48, 4 }, false },
		{ { 4, 4, 24 }, false },
		/* Disjoint, but not as boxes within boxes. */
		{ { 4, 12, 8 }, false },
	};
	struct rig *rig = job_rig(RIG_INLINE);
	struct job job = job_of(rig, TDI_TENSOR_ADD);
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(job.t[2].stride, cases[i].stride, sizeof(cases[i].stride));
		if (cases[i].good)
			accepted(rig, &job);
		else
			refused(rig, &job, TDI_SC_SHAPE, 2);
	}
	/* The stride of an axis with one element is not looked at. */
	job.t[0] = TENSOR(rig->map[0].id, TDI_F32, 0, 1, 4);
	job.t[1] = TENSOR(rig->map[1].id, TDI_F32, 0, 1, 4);
	job.t[2] = TENSOR(rig->map[OUT].id, TDI_F32, 0, 1, 4);
	job.t[2].stride[0] = 0;
	accepted(rig, &job);
	job.t[2].stride[0] = UINT64_MAX - 3;
	accepted(rig, &job);
	rig_free(rig);
}

/* Step 9: every attribute and flag that an operator has no use for. */
static void test_unused(void **state)
{
	struct rig *rig = job_rig(RIG_INLINE);
	uint16_t op;
	unsigned int i;

	for (op = 1; op <= OPERATORS; op++) {
		struct job job = job_of(rig, op), good = job;
		bool matmul = op == TDI_TENSOR_MATMUL_INTEGER || op == TDI_TENSOR_QLINEAR_MATMUL;
		uint16_t flags = op == TDI_TENSOR_GEMM ? TDI_GEMM_TRANS_A | TDI_GEMM_TRANS_B :
				 op == TDI_TENSOR_ARGMAX ? TDI_ARGMAX_LAST : 0;
		struct {
			bool used;
			__le32 *field;
		} attributes[] = {
			{ op >= TDI_TENSOR_SOFTMAX && op <= TDI_TENSOR_ARGMAX, &job.op.axis },
			{ op == TDI_TENSOR_GEMM, &job.op.alpha },
			{ op == TDI_TENSOR_GEMM, &job.op.beta },
			{ op == TDI_TENSOR_RELU || matmul || op == TDI_TENSOR_DEQUANTIZE, &job.op.a_zero },
			{ matmul, &job.op.b_zero },
			{ op == TDI_TENSOR_QLINEAR_MATMUL || op == TDI_TENSOR_QUANTIZE, &job.op.y_zero },
			{ op >= TDI_TENSOR_QLINEAR_MATMUL, &job.op.scale },
		};

		for (i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
			if (attributes[i].used)
				continue;
			*attributes[i].field = 1;
			refused(rig, &job, TDI_SC_RESERVED, 0);
			job = good;
		}
		for (i = 0; i < 16; i++) {
			if (flags >> i & 1)
				continue;
			job.op.flags = good.op.flags | (uint16_t)(1u << i);
			refused(rig, &job, TDI_SC_RESERVED, 0);
		}
		job = good;
		if (op == TDI_TENSOR_GEMM) {
			/* [TEN-16]: without C there is no beta. */
			job.op.inputs = 2;
			job.t[2] = job.t[3];
			refused(rig, &job, TDI_SC_RESERVED, 0);
			job.op.beta = 0;
			accepted(rig, &job);
		}
		if (op == TDI_TENSOR_RELU) {
			/* A zero point is of i8 alone. */
			for (i = 0; i < 2; i++) {
				job = good;
				job.t[0] = TENSOR(rig->map[0].id, i ? TDI_F32 : TDI_I32, 0, 3, 4);
				job.t[1] = TENSOR(rig->map[OUT].id, job.t[0].dtype, 0, 3, 4);
				refused(rig, &job, TDI_SC_RESERVED, 0);
				job.op.a_zero = 0;
				accepted(rig, &job);
			}
		}
	}
	rig_free(rig);
}

/* Step 10: [TEN-5, ERR-13]. */
static void test_overlap(void **state)
{
	struct rig *rig = job_rig(RIG_INLINE);
	uint32_t both = rig_map(rig, 5, NULL, 8192, TDI_BUFFER_READ | TDI_BUFFER_WRITE);
	unsigned int n;
	uint16_t op;

	for (op = 1; op <= OPERATORS; op++) {
		struct job good = job_of(rig, op);
		bool in_place = op == TDI_TENSOR_ADD || op == TDI_TENSOR_RELU;

		for (n = 0; n < good.op.inputs; n++) {
			struct job job = good;
			struct tdi_tensor *in = &job.t[n], *out = job_out(&job);
			uint64_t size = out->stride[out->rank - 1], in_bytes = in->stride[0] * in->shape[0];
			static const uint8_t zero[8192];

			rig_write(rig, 5, 0, zero, sizeof(zero));
			in->buffer = both;
			out->buffer = both;
			in->offset = 1024;
			/* It ends where the input begins, then with one element beyond. */
			out->offset = 1024 - out->stride[0] * out->shape[0];
			accepted(rig, &job);
			out->offset += size;
			refused(rig, &job, TDI_SC_OVERLAP, n);
			/* It begins where the input ends. */
			out->offset = (1024 + in_bytes + size - 1) / size * size;
			accepted(rig, &job);
			out->offset = (1024 + in_bytes - 1) / size * size;
			refused(rig, &job, TDI_SC_OVERLAP, n);
			/* The input itself. */
			if (op == TDI_TENSOR_ADD)
				*in = *out;
			in->offset = out->offset = 1024;
			if (in_place)
				accepted(rig, &job);
			else
				refused(rig, &job, TDI_SC_OVERLAP, n);
			if (!in_place)
				continue;
			/* Not quite itself: the other strides are as good, but not the same. */
			in->stride[0] += 64;
			refused(rig, &job, TDI_SC_OVERLAP, n);
			in->stride[0] -= 64;
			in->offset += size;
			refused(rig, &job, TDI_SC_OVERLAP, n);
		}
	}
	/* Hulls count, not elements. */
	{
		struct job job = job_of(rig, TDI_TENSOR_RELU);

		job.op.a_zero = 0;
		job.t[0] = TENSOR(both, TDI_F32, 0, 8);
		job.t[1] = TENSOR(both, TDI_F32, 4, 8);
		job.t[0].stride[0] = job.t[1].stride[0] = 8;
		refused(rig, &job, TDI_SC_OVERLAP, 0);
	}
	rig_free(rig);
}

/* Step 11, for each tensor of each operator: [BUF-2, BUF-3, BUF-4, BUF-6]. */
static void test_buffers(void **state)
{
	unsigned int layout, n;
	uint16_t op;

	for (layout = RIG_INLINE; layout <= RIG_BLOCKS; layout++) {
		struct rig *rig = job_rig(layout);

		for (op = 1; op <= OPERATORS; op++) {
			struct job good = job_of(rig, op);

			for (n = 0; n <= good.op.inputs; n++) {
				struct job job = good;
				struct tdi_tensor *t = &job.t[n];
				unsigned int index = TDI_BUFFER_INDEX(t->buffer);
				uint64_t size = t->stride[t->rank - 1], bytes = t->stride[0] * t->shape[0];
				uint32_t rights = rig->map[index].flags;

				t->buffer = TDI_BUFFER_ID(index, 8);
				refused(rig, &job, TDI_SC_BUFFER_ID, t->buffer);
				t->buffer = TDI_BUFFER_ID(7, 7);
				refused(rig, &job, TDI_SC_BUFFER_ID, t->buffer);
				t->buffer = 0;
				refused(rig, &job, TDI_SC_BUFFER_ID, 0);
				t->buffer = TDI_BUFFER_ID(0xffffff, 7);
				refused(rig, &job, TDI_SC_BUFFER_ID, t->buffer);
				*t = good.t[n];
				/* Up to the last byte, then one element further. */
				t->offset = JOB_BYTES - bytes;
				if (op != TDI_TENSOR_GATHER || n != 1)
					accepted(rig, &job);
				t->offset += size;
				refused(rig, &job, TDI_SC_BUFFER_BOUNDS, t->buffer);
				t->offset = UINT64_MAX - bytes - (8 - bytes % 8) % 8 - 7;
				refused(rig, &job, TDI_SC_BUFFER_BOUNDS, t->buffer);
				t->offset = 0;
				t->stride[t->shape[0] == 1] = 1ULL << 61;
				refused(rig, &job, TDI_SC_BUFFER_BOUNDS, t->buffer);
				*t = good.t[n];
				rig->map[index].flags = rights ^ (TDI_BUFFER_READ | TDI_BUFFER_WRITE);
				refused(rig, &job, TDI_SC_BUFFER_RIGHTS, t->buffer);
				rig->map[index].flags = rights;
			}
		}
		rig_free(rig);
	}
}

/* A command in which everything is wrong, repaired in the order of [TEN-2]. */
static void test_order(void **state)
{
	struct rig *rig = job_rig(RIG_INLINE);
	uint32_t both = rig_map(rig, 5, NULL, 4096, TDI_BUFFER_READ | TDI_BUFFER_WRITE);
	struct job good = job_of(rig, TDI_TENSOR_GATHER), job = good;
	struct tdi_tensor *x = &job.t[0], *y = &job.t[2];

	job.op.reserved1[6] = 1;
	job.op.op = 99;
	job.op.inputs = 1;
	job.op.outputs = 2;
	job.op.axis = 3;
	job.op.flags = 1;
	x->dtype = 9;
	x->rank = 9;
	x->reserved1[1] = 1;
	x->shape[1] = 0;
	x->stride[2] = 5;
	x->offset = 2;
	y->dtype = TDI_I64;
	y->shape[0] = 2;
	y->stride[3] = 0;
	x->buffer = 0;
	job.t[1].buffer = y->buffer = both;
	job.t[1].offset = 8;

	refused(rig, &job, TDI_SC_RESERVED, 0);
	job.op.reserved1[6] = 0;
	refused(rig, &job, TDI_SC_OP, 0);
	job.op.op = TDI_TENSOR_GATHER;
	refused(rig, &job, TDI_SC_FIELD, OP_FIELD(inputs));
	job.op.inputs = 2;
	job.op.outputs = 0;
	refused(rig, &job, TDI_SC_FIELD, OP_FIELD(outputs));
	job.op.outputs = 1;
	refused(rig, &job, TDI_SC_DTYPE, 0);
	x->dtype = TDI_I64;
	refused(rig, &job, TDI_SC_SHAPE, 0);
	x->rank = 3;
	refused(rig, &job, TDI_SC_RESERVED, 0);
	x->reserved1[1] = 0;
	refused(rig, &job, TDI_SC_SHAPE, 0);
	x->shape[1] = 4;
	refused(rig, &job, TDI_SC_ALIGNMENT, 0);
	x->stride[0] = x->stride[1] = x->stride[2] = 8;
	refused(rig, &job, TDI_SC_ALIGNMENT, 0);
	x->offset = UINT64_MAX - 7;
	refused(rig, &job, TDI_SC_SHAPE, 0);
	x->offset = 0;
	/* Tensor 1 is right so far; of tensor 2 the strides are for 4 bytes. */
	refused(rig, &job, TDI_SC_ALIGNMENT, 2);
	y->stride[0] = y->stride[1] = y->stride[2] = 8;
	refused(rig, &job, TDI_SC_DTYPE, 0);
	x->dtype = TDI_F32;
	refused(rig, &job, TDI_SC_DTYPE, 2);
	y->dtype = TDI_F32;
	refused(rig, &job, TDI_SC_FIELD, OP_FIELD(axis));
	job.op.axis = 1;
	refused(rig, &job, TDI_SC_SHAPE, 2);
	y->shape[0] = 3;
	refused(rig, &job, TDI_SC_SHAPE, 2);
	memcpy(y->stride, good.t[2].stride, sizeof(y->stride));
	refused(rig, &job, TDI_SC_RESERVED, 0);
	job.op.flags = 0;
	refused(rig, &job, TDI_SC_OVERLAP, 1);
	y->buffer = TDI_BUFFER_ID(7, 7);
	y->offset = 1ULL << 40;
	refused(rig, &job, TDI_SC_BUFFER_ID, 0);
	x->buffer = rig->map[0].id;
	refused(rig, &job, TDI_SC_BUFFER_ID, y->buffer);
	y->buffer = rig->map[0].id;
	refused(rig, &job, TDI_SC_BUFFER_BOUNDS, y->buffer);
	y->offset = 4096;
	refused(rig, &job, TDI_SC_BUFFER_RIGHTS, y->buffer);
	y->buffer = rig->map[OUT].id;
	accepted(rig, &job);
	rig_free(rig);
}

/* [NEG-5]: what IDENTIFY says is what is there. */
static void test_identify(void **state)
{
	assert_int_equal(tn_tensor_ops(), 0xffe);
	assert_int_equal(tn_tensor_dtypes(), 1 << TDI_F32 | 1 << TDI_I8 | 1 << TDI_I32 | 1 << TDI_I64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_tensors),
		cmocka_unit_test(test_dtypes),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_output_strides),
		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_identify),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tensor refusals", tests, NULL, NULL);
}
