// SPDX-License-Identifier: MIT
/*
 * Replays what vectors.py wrote: every operator on every layout of memory, against an oracle of its own
 * [TEN-8, TEN-9, TEN-10].
 *
 * The file is a magic word and a count, then cases of: struct head, struct tdi_op, the tensors with the
 * number of their buffer (from 1) for its id, per buffer its length and its bytes padded to 8, then the
 * elements of the output in row-major order, f64 if the output is f32 and else s64, then for each the bound
 * on its error (f64; 0: to the bit).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

struct head {
	char name[32];
	uint32_t op;
	uint32_t status;
	uint32_t info;
	uint32_t buffers;
	uint64_t elements;
};

struct vector {
	struct head head;
	const struct tdi_op *op;
	const struct tdi_tensor *tensors;
	uint64_t length[RIG_BUFFERS];
	const uint8_t *image[RIG_BUFFERS];
	const void *expected;
	const double *bound;
};

/* What a run left, to be the same on every layout [TEN-7]. */
struct outcome {
	uint8_t *image[RIG_BUFFERS];
	uint64_t work, bytes_read, bytes_written;
	uint32_t units;
};

static const uint8_t *file;
static uint64_t count;

static const uint8_t *parse(const uint8_t *at, struct vector *v)
{
	uint32_t i;

	memcpy(&v->head, at, sizeof(v->head));
	at += sizeof(v->head);
	v->op = (const void *)at;
	v->tensors = (const void *)(at + sizeof(*v->op));
	at += TDI_OP_BYTES(v->op->inputs + v->op->outputs);
	for (i = 0; i < v->head.buffers; i++) {
		memcpy(&v->length[i], at, 8);
		v->image[i] = at + 8;
		at += 8 + (v->length[i] + 7) / 8 * 8;
	}
	v->expected = at;
	at += 8 * v->head.elements;
	v->bound = (const void *)at;
	return at + 8 * v->head.elements;
}

static bool is_right(const struct vector *v, uint8_t dtype, uint64_t i, const uint8_t *at, double *got)
{
	double expected, bound = v->bound[i];
	int32_t i32;
	int64_t i64;
	float f32;

	switch (dtype) {
	case TDI_I8:
		*got = *(const int8_t *)at;
		return *(const int8_t *)at == ((const int64_t *)v->expected)[i];
	case TDI_I32:
		memcpy(&i32, at, sizeof(i32));
		*got = i32;
		return i32 == ((const int64_t *)v->expected)[i];
	case TDI_I64:
		memcpy(&i64, at, sizeof(i64));
		*got = (double)i64;
		return i64 == ((const int64_t *)v->expected)[i];
	default:
		memcpy(&f32, at, sizeof(f32));
		*got = f32;
		expected = ((const double *)v->expected)[i];
		if (isnan(expected))
			return isnan(f32);
		if (!(bound > 0) || isinf(expected))
			return rig_f32(f32) == rig_f32((float)expected);
		return fabs(f32 - expected) <= bound;
	}
}

/* Compare the output's elements, and put back what was there: then nothing may have changed [TEN-6]. */
static void check_output(const struct vector *v, uint8_t *image, const uint8_t *before)
{
	const struct tdi_tensor *y = &v->tensors[v->op->inputs];
	uint32_t size = y->dtype == TDI_I8 ? 1 : y->dtype == TDI_I64 ? 8 : 4;
	uint64_t i;

	for (i = 0; i < v->head.elements; i++) {
		uint64_t offset = y->offset, rest = i;
		unsigned int axis;
		double got;

		for (axis = y->rank; axis-- > 0;) {
			offset += rest % y->shape[axis] * y->stride[axis];
			rest /= y->shape[axis];
		}
		if (v->head.status == TDI_SC_OK && !is_right(v, y->dtype, i, image + offset, &got))
			fail_msg("%s: element %llu is %.9g, not %.9g", v->head.name, (unsigned long long)i,
				 got, y->dtype == TDI_F32 ? ((const double *)v->expected)[i] :
						       (double)((const int64_t *)v->expected)[i]);
		memcpy(image + offset, before + offset, size);
	}
}

static void run(const struct vector *v, enum rig_layout layout, struct outcome *first)
{
	struct rig *rig = rig_new(layout);
	struct tdi_tensor tensors[TDI_TENSORS_MAX];
	unsigned int out = v->op->inputs, i;
	int status;

	for (i = 0; i < v->head.buffers; i++) {
		bool written = v->tensors[out].buffer == i + 1, read = false;
		unsigned int t;

		for (t = 0; t < out; t++)
			read |= v->tensors[t].buffer == i + 1;
		rig_map(rig, i, v->image[i], v->length[i],
			(written ? TDI_BUFFER_WRITE : 0u) | (read ? TDI_BUFFER_READ : 0u));
	}
	for (i = 0; i <= out; i++) {
		tensors[i] = v->tensors[i];
		tensors[i].buffer = rig->map[v->tensors[i].buffer - 1].id;
	}
	status = rig_run(rig, v->op, tensors);
	if (status != (int)v->head.status || rig->exec->info != v->head.info)
		fail_msg("%s: status %#x info %#x, not %#x %#x", v->head.name, status, rig->exec->info,
			 v->head.status, v->head.info);

	for (i = 0; i < v->head.buffers; i++) {
		uint8_t *image = malloc(v->length[i]);

		assert_non_null(image);
		rig_read(rig, i, 0, image, v->length[i]);
		if (layout == RIG_INLINE) {
			first->image[i] = malloc(v->length[i]);
			assert_non_null(first->image[i]);
			memcpy(first->image[i], image, v->length[i]);
		} else if (memcmp(first->image[i], image, v->length[i])) {
			fail_msg("%s: another result on layout %d", v->head.name, layout);
		}
		if (v->tensors[out].buffer == i + 1)
			check_output(v, image, v->image[i]);
		if (memcmp(image, v->image[i], v->length[i]))
			fail_msg("%s: wrote beside its output", v->head.name);
		free(image);
	}
	if (layout == RIG_INLINE) {
		first->work = rig->exec->work;
		first->bytes_read = rig->exec->bytes_read;
		first->bytes_written = rig->exec->bytes_written;
		first->units = rig->exec->units;
	}
	/* Cost is a function of the command [MET-9]. */
	assert_int_equal(rig->exec->work, first->work);
	assert_int_equal(rig->exec->bytes_read, first->bytes_read);
	assert_int_equal(rig->exec->bytes_written, first->bytes_written);
	assert_int_equal(rig->exec->units, first->units);
	rig_free(rig);
}

static void test_operator(void **state)
{
	uint32_t op = *(const uint32_t *)*state;
	const uint8_t *at = file + 16;
	uint64_t i, done = 0;

	for (i = 0; i < count; i++) {
		struct outcome first = { 0 };
		unsigned int layout, b;
		struct vector v;

		at = parse(at, &v);
		if (v.head.op != op)
			continue;
		for (layout = 0; layout < RIG_LAYOUTS; layout++)
			run(&v, layout, &first);
		if (v.head.status == TDI_SC_OK) {
			uint8_t dtype = v.tensors[v.op->inputs].dtype;

			assert_int_equal(first.bytes_written,
					 v.head.elements * (dtype == TDI_I8 ? 1 : dtype == TDI_I64 ? 8 : 4));
		}
		assert_true(first.bytes_read > 0 && first.units > 0);
		for (b = 0; b < v.head.buffers; b++)
			free(first.image[b]);
		done++;
	}
	assert_true(done >= 20);
}

int main(void)
{
	static const char *const name[] = {
		[TDI_TENSOR_MATMUL] = "matmul",
		[TDI_TENSOR_GEMM] = "gemm",
		[TDI_TENSOR_ADD] = "add",
		[TDI_TENSOR_RELU] = "relu",
		[TDI_TENSOR_SOFTMAX] = "softmax",
		[TDI_TENSOR_GATHER] = "gather",
		[TDI_TENSOR_ARGMAX] = "argmax",
		[TDI_TENSOR_MATMUL_INTEGER] = "matmul_integer",
		[TDI_TENSOR_QLINEAR_MATMUL] = "qlinear_matmul",
		[TDI_TENSOR_QUANTIZE] = "quantize",
		[TDI_TENSOR_DEQUANTIZE] = "dequantize",
	};
	struct CMUnitTest tests[11] = { 0 };
	static uint32_t op[11];
	FILE *f = fopen(VECTORS, "rb");
	uint8_t *bytes;
	long length;
	int i, failed;

	if (!f || fseek(f, 0, SEEK_END) || (length = ftell(f)) < 16) {
		perror(VECTORS);
		return 2;
	}
	rewind(f);
	bytes = malloc((size_t)length);
	if (!bytes || fread(bytes, 1, (size_t)length, f) != (size_t)length ||
	    memcmp(bytes, "TNVEC\0\0\1", 8)) {
		fprintf(stderr, "%s: not a file of vectors\n", VECTORS);
		return 2;
	}
	fclose(f);
	file = bytes;
	memcpy(&count, file + 8, sizeof(count));
	for (i = 0; i < 11; i++) {
		op[i] = (uint32_t)i + 1;
		tests[i].name = name[i + 1];
		tests[i].test_func = test_operator;
		tests[i].initial_state = &op[i];
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests_name("tensor vectors", tests, NULL, NULL);
	free(bytes);
	return failed;
}
