// SPDX-License-Identifier: MIT
/* Tensor operators along one axis: SOFTMAX, ARGMAX and GATHER [TEN]. */
#include <math.h>

#include "../mutant.h"
#include "tensor.h"

/* ------------------------------------------------------------------------- SOFTMAX, ARGMAX */

/* Operand 0 of the loop is the input, 1 the output; a position is a line along the axis. */
void tn_reduce_setup(struct tn_tensor_exec *x)
{
	const struct tdi_tensor *in = &x->tensor[0], *out = &x->tensor[1];
	unsigned int along = tn_tensor_axis(&x->op, in), axis;

	tn_loop_init(&x->loop);
	for (axis = 0; axis < in->rank; axis++) {
		uint64_t stride[TN_LOOP_OPERANDS] = { in->stride[axis], out->stride[axis] };

		if (axis != along)
			tn_loop_axis(&x->loop, in->shape[axis], stride);
	}
	x->extent = in->shape[along];
}

/* The next run of the present line; a line that is one run is loaded once for all phases. */
static int load_run(const struct tn_table *table, struct tn_exec *exec, const uint64_t *offset,
		    uint64_t *count, void *to)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t stride = x->tensor[0].stride[tn_tensor_axis(&x->op, &x->tensor[0])];

	*count = x->extent - x->reduced;
	if (*count > TN_RUN)
		*count = TN_RUN;
	if (*count == x->extent && x->phase)
		return TDI_SC_OK;
	return tn_tensor_load(table, exec, 0, offset[0] + x->reduced * stride, stride, *count, to);
}

enum softmax_phase {
	SOFTMAX_MAX,
	SOFTMAX_SUM,
	SOFTMAX_WRITE,
	SOFTMAX_PHASES,
};

/* One run of one phase. */
static int softmax_run(const struct tn_table *table, struct tn_exec *exec, const uint64_t *offset,
		       float *value)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t stride, count, i;
	int status = load_run(table, exec, offset, &count, value);
	float best, sum;

	if (status)
		return status;
	switch (x->phase) {
	case SOFTMAX_MAX:
		/* A NaN is passed over here and makes the sum one. */
		best = x->reduced ? (float)x->best : -INFINITY;
		for (i = 0; i < count; i++)
			best = value[i] > best ? value[i] : best;
		x->best = best;
		x->sum = 0;
		exec->work += count;
		break;
	case SOFTMAX_SUM:
		for (i = 0; i < count; i++)
			x->sum += expf(value[i] - (float)x->best);
		exec->work += count * TN_EXP_WORK;
		break;
	default:
		sum = (float)x->sum;
		for (i = 0; i < count; i++)
			value[i] = expf(value[i] - (float)x->best) / sum;
		exec->work += count * TN_EXP_WORK;
		stride = x->tensor[1].stride[tn_tensor_axis(&x->op, &x->tensor[0])];
		status = tn_tensor_store(table, exec, 1, offset[1] + x->reduced * stride, stride, count,
					 value);
		if (status)
			return status;
		break;
	}
	x->reduced += count;
	if (x->reduced == x->extent) {
		x->reduced = 0;
		x->phase++;
	}
	return TDI_SC_OK;
}

int tn_softmax_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t offset[TN_LOOP_OPERANDS] = { x->tensor[0].offset, x->tensor[1].offset };
	int status;

	tn_loop_at(&x->loop, x->position, offset);
	do {
		status = softmax_run(table, exec, offset, (float *)(void *)scratch->byte);
		if (status)
			return status;
	} while (x->extent <= TN_RUN && x->phase < SOFTMAX_PHASES);
	if (x->phase < SOFTMAX_PHASES)
		return TN_MORE;
	x->phase = SOFTMAX_MAX;
	x->position++;
	return x->position * x->extent < x->elements ? TN_MORE : TDI_SC_OK;
}

/* Any of the types, without loss. */
static double element(uint8_t dtype, const void *value, uint64_t i)
{
	switch (dtype) {
	case TDI_F32:
		return ((const float *)value)[i];
	case TDI_I32:
		return ((const int32_t *)value)[i];
	default:
		return ((const int8_t *)value)[i];
	}
}

/* Does @value take the place of @best, which comes before it? A NaN is larger than all else. */
static bool larger(double value, double best, bool last)
{
	if (isnan(value) || isnan(best))
		return isnan(value) && (!isnan(best) || last);
	return value > best || (last && value == best);
}

int tn_argmax_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t offset[TN_LOOP_OPERANDS] = { x->tensor[0].offset, x->tensor[1].offset };
	bool last = x->op.flags & TDI_ARGMAX_LAST;
	uint8_t dtype = x->tensor[0].dtype;
	uint64_t count, i;
	int32_t narrow;
	int status;

	tn_loop_at(&x->loop, x->position, offset);
	status = load_run(table, exec, offset, &count, scratch->byte);
	if (status)
		return status;
	for (i = 0; i < count; i++) {
		double value = element(dtype, scratch->byte, i);

		if (!(x->reduced + i) || larger(value, x->best, last)) {
			x->best = value;
			x->best_at = x->reduced + i;
		}
	}
	exec->work += count;
	x->reduced += count;
	if (x->reduced < x->extent)
		return TN_MORE;
	x->reduced = 0;
	narrow = (int32_t)x->best_at;
	status = tn_tensor_store(table, exec, 1, offset[1], 0, 1,
				 x->tensor[1].dtype == TDI_I64 ? (const void *)&x->best_at : &narrow);
	if (status)
		return status;
	return ++x->position < x->elements ? TN_MORE : TDI_SC_OK;
}

/* ----------------------------------------------------------------------------------- GATHER */

/* Operands of the loop; the fourth counts positions in the indices, for the CQE. */
enum gather_operand {
	GATHER_DATA,
	GATHER_INDEX,
	GATHER_OUT,
	GATHER_POSITION,
};

/* The axes of the output: those of the data before the axis, those of the indices, the rest of the data's. */
void tn_gather_setup(struct tn_tensor_exec *x)
{
	const struct tdi_tensor *data = &x->tensor[0], *index = &x->tensor[1], *out = &x->tensor[2];
	unsigned int along = tn_tensor_axis(&x->op, data), axis, i;
	uint64_t positions = 1;

	for (i = 0; i < index->rank; i++)
		positions *= index->shape[i];
	tn_loop_init(&x->loop);
	for (axis = 0; axis < out->rank; axis++) {
		uint64_t stride[TN_LOOP_OPERANDS] = { [GATHER_OUT] = out->stride[axis] };

		if (axis < along) {
			stride[GATHER_DATA] = data->stride[axis];
		} else if (axis < along + index->rank) {
			i = axis - along;
			positions /= index->shape[i];
			stride[GATHER_INDEX] = index->stride[i];
			stride[GATHER_POSITION] = positions;
		} else {
			stride[GATHER_DATA] = data->stride[axis - index->rank + 1];
		}
		tn_loop_axis(&x->loop, out->shape[axis], stride);
	}
	x->extent = data->shape[along];
}

int tn_gather_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t offset[TN_LOOP_OPERANDS] = { x->tensor[0].offset, x->tensor[1].offset, x->tensor[2].offset };
	uint64_t count = tn_loop_at(&x->loop, x->position, offset);
	const uint64_t *stride = x->loop.stride[x->loop.rank - 1];
	uint64_t along = x->tensor[0].stride[tn_tensor_axis(&x->op, &x->tensor[0])];
	union {
		int64_t i64;
		int32_t i32;
	} index;
	int64_t at;
	int status;

	/* One index for a run if the innermost axis belongs to the data. */
	if (stride[GATHER_POSITION])
		count = 1;
	else if (count > TN_RUN)
		count = TN_RUN;
	status = tn_tensor_load(table, exec, 1, offset[GATHER_INDEX], 0, 1, &index);
	if (status)
		return status;
	at = x->tensor[1].dtype == TDI_I64 ? index.i64 : index.i32;
	if (at < 0)
		at += (int64_t)x->extent;
	if ((at < 0 || at >= (int64_t)x->extent) && !MUTANT(tensor_index)) {
		exec->info = (uint32_t)offset[GATHER_POSITION];
		return TDI_SC_INDEX_RANGE;
	}
	offset[GATHER_DATA] += (uint64_t)at * along;
	status = tn_tensor_load(table, exec, 0, offset[GATHER_DATA], stride[GATHER_DATA], count,
				scratch->byte);
	if (status)
		return status;
	status = tn_tensor_store(table, exec, 2, offset[GATHER_OUT], stride[GATHER_OUT], count,
				 scratch->byte);
	if (status)
		return status;
	x->position += count;
	return x->position < x->elements ? TN_MORE : TDI_SC_OK;
}
