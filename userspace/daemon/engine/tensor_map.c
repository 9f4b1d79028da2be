// SPDX-License-Identifier: MIT
/* Tensor operators whose every output element comes from one element of each input [TEN]. */
#include <math.h>

#include "tensor.h"

void tn_map_setup(struct tn_tensor_exec *x)
{
	unsigned int out = tn_tensor_out(&x->op), rank = x->tensor[out].rank, axis, i;

	tn_loop_init(&x->loop);
	for (axis = 0; axis < rank; axis++) {
		uint64_t stride[TN_LOOP_OPERANDS] = { 0 };

		for (i = 0; i <= out; i++)
			stride[i] = tn_broadcast_stride(&x->tensor[i], rank, axis);
		tn_loop_axis(&x->loop, x->tensor[out].shape[axis], stride);
	}
}

int8_t tn_quantize(float scaled, int32_t zero)
{
	float value;

	if (isnan(scaled))
		return (int8_t)zero;
	/* Exact below 2^24; beyond it the sum is rounded, and saturates all the same. */
	value = rintf(scaled) + (float)zero;
	if (value <= INT8_MIN)
		return INT8_MIN;
	return value >= INT8_MAX ? INT8_MAX : (int8_t)value;
}

static void add(uint8_t dtype, void *y, const void *a, const void *b, uint64_t count)
{
	uint64_t i;

	if (dtype == TDI_F32)
		for (i = 0; i < count; i++)
			((float *)y)[i] = ((const float *)a)[i] + ((const float *)b)[i];
	else
		for (i = 0; i < count; i++)
			((uint32_t *)y)[i] = ((const uint32_t *)a)[i] + ((const uint32_t *)b)[i];
}

/* In place. A NaN stays one. */
static void relu(uint8_t dtype, void *y, int32_t zero, uint64_t count)
{
	uint64_t i;

	if (dtype == TDI_F32)
		for (i = 0; i < count; i++)
			((float *)y)[i] = ((float *)y)[i] < 0 ? 0 : ((float *)y)[i];
	else if (dtype == TDI_I32)
		for (i = 0; i < count; i++)
			((int32_t *)y)[i] = ((int32_t *)y)[i] < 0 ? 0 : ((int32_t *)y)[i];
	else
		for (i = 0; i < count; i++)
			((int8_t *)y)[i] = ((int8_t *)y)[i] < zero ? (int8_t)zero : ((int8_t *)y)[i];
}

static void quantize(int8_t *y, const float *a, float scale, int32_t zero, uint64_t count)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		y[i] = tn_quantize(a[i] / scale, zero);
}

/* The subtraction wraps. */
static void dequantize(uint8_t dtype, float *y, const void *a, float scale, uint32_t zero, uint64_t count)
{
	const uint32_t *wide = a;
	const int8_t *narrow = a;
	uint64_t i;

	for (i = 0; i < count; i++)
		y[i] = (float)(int32_t)((dtype == TDI_I8 ? (uint32_t)narrow[i] : wide[i]) - zero) * scale;
}

int tn_map_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	unsigned int out = tn_tensor_out(&x->op), i;
	uint64_t offset[TN_LOOP_OPERANDS] = { 0 };
	uint8_t dtype = x->tensor[0].dtype;
	void *operand[TN_LOOP_OPERANDS];
	const uint64_t *stride;
	uint64_t count;
	int status;

	for (i = 0; i <= out; i++) {
		offset[i] = x->tensor[i].offset;
		operand[i] = scratch->byte + i * TN_RUN * sizeof(uint64_t);
	}
	count = tn_loop_at(&x->loop, x->position, offset);
	if (count > TN_RUN)
		count = TN_RUN;
	stride = x->loop.stride[x->loop.rank - 1];
	for (i = 0; i < out; i++) {
		status = tn_tensor_load(table, exec, i, offset[i], stride[i], count, operand[i]);
		if (status)
			return status;
	}
	switch (x->op.op) {
	case TDI_TENSOR_ADD:
		add(dtype, operand[out], operand[0], operand[1], count);
		break;
	case TDI_TENSOR_RELU:
		operand[out] = operand[0];
		relu(dtype, operand[out], (int32_t)x->op.a_zero, count);
		break;
	case TDI_TENSOR_QUANTIZE:
		quantize(operand[out], operand[0], tn_f32(x->op.scale), (int32_t)x->op.y_zero, count);
		break;
	default:
		dequantize(dtype, operand[out], operand[0], tn_f32(x->op.scale), x->op.a_zero, count);
		break;
	}
	exec->work += count;
	status = tn_tensor_store(table, exec, out, offset[out], stride[out], count, operand[out]);
	if (status)
		return status;
	x->position += count;
	return x->position < x->elements ? TN_MORE : TDI_SC_OK;
}
