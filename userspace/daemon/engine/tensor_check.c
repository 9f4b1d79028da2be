// SPDX-License-Identifier: MIT
/* What a tensor command is refused for, in the order of [TEN]. Nothing is read but the private copy. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../mutant.h"
#include "tensor.h"

/* Sets of types; SAME: that of the first input. */
#define F32		(1u << TDI_F32)
#define I8		(1u << TDI_I8)
#define I32		(1u << TDI_I32)
#define I64		(1u << TDI_I64)
#define SAME		1u

/* Attributes that an operator uses. */
#define AXIS		(1u << 0)
#define ALPHA_BETA	(1u << 1)
#define A_ZERO		(1u << 2)
#define B_ZERO		(1u << 3)
#define Y_ZERO		(1u << 4)
#define SCALE		(1u << 5)

static const struct rule {
	uint8_t inputs;		/* at least */
	uint8_t optional;	/* beyond these */
	uint16_t flags;
	uint32_t attributes;
	uint32_t in[3];
	uint32_t out;
} rules[] = {
	[TDI_TENSOR_MATMUL] = { .inputs = 2, .in = { F32, F32 }, .out = F32 },
	[TDI_TENSOR_GEMM] = { .inputs = 2, .optional = 1, .flags = TDI_GEMM_TRANS_A | TDI_GEMM_TRANS_B,
		.attributes = ALPHA_BETA, .in = { F32, F32, F32 }, .out = F32 },
	[TDI_TENSOR_ADD] = { .inputs = 2, .in = { F32 | I32, SAME }, .out = SAME },
	[TDI_TENSOR_RELU] = { .inputs = 1, .attributes = A_ZERO, .in = { F32 | I32 | I8 }, .out = SAME },
	[TDI_TENSOR_SOFTMAX] = { .inputs = 1, .attributes = AXIS, .in = { F32 }, .out = F32 },
	[TDI_TENSOR_GATHER] = { .inputs = 2, .attributes = AXIS, .in = { F32 | I32 | I8, I32 | I64 },
		.out = SAME },
	[TDI_TENSOR_ARGMAX] = { .inputs = 1, .flags = TDI_ARGMAX_LAST, .attributes = AXIS,
		.in = { F32 | I32 | I8 }, .out = I32 | I64 },
	[TDI_TENSOR_MATMUL_INTEGER] = { .inputs = 2, .attributes = A_ZERO | B_ZERO, .in = { I8, I8 },
		.out = I32 },
	[TDI_TENSOR_QLINEAR_MATMUL] = { .inputs = 2, .attributes = A_ZERO | B_ZERO | Y_ZERO | SCALE,
		.in = { I8, I8 }, .out = I8 },
	[TDI_TENSOR_QUANTIZE] = { .inputs = 1, .attributes = Y_ZERO | SCALE, .in = { F32 }, .out = I8 },
	[TDI_TENSOR_DEQUANTIZE] = { .inputs = 1, .attributes = A_ZERO | SCALE, .in = { I8 | I32 },
		.out = F32 },
};

#define RULES (sizeof(rules) / sizeof(rules[0]))

uint64_t tn_tensor_ops(void)
{
	uint64_t ops = 0;
	unsigned int i;

	for (i = 0; i < RULES; i++)
		if (rules[i].inputs)
			ops |= 1ULL << i;
	return ops;
}

uint64_t tn_tensor_dtypes(void)
{
	return F32 | I8 | I32 | I64;
}

static int refuse(struct tn_exec *exec, int status, uint32_t info)
{
	exec->info = info;
	return status;
}

/* [CMD-8] */
#define FIELD(exec, member) \
	refuse(exec, TDI_SC_FIELD, sizeof(struct tdi_sqe) + offsetof(struct tdi_op, member))

static int check_header(struct tn_exec *exec)
{
	const struct tdi_op *op = &exec->tensor.op;
	const struct rule *rule;
	unsigned int i;

	if (op->reserved0)
		return TDI_SC_RESERVED;
	for (i = 0; i < 7; i++)
		if (op->reserved1[i])
			return TDI_SC_RESERVED;
	if (op->op >= RULES || !rules[op->op].inputs)
		return TDI_SC_OP;
	rule = &rules[op->op];
	if (op->inputs < rule->inputs || op->inputs > rule->inputs + rule->optional)
		return FIELD(exec, inputs);
	if (op->outputs != 1)
		return FIELD(exec, outputs);
	return TDI_SC_OK;
}

/* Bytes from the first of a tensor to its last; false if they don't end below 2^64. */
static bool hull(const struct tdi_tensor *tensor, uint64_t *bytes)
{
	uint64_t end, reach;
	unsigned int i;

	*bytes = tn_dtype_bytes(tensor->dtype);
	for (i = 0; i < tensor->rank; i++)
		if (__builtin_mul_overflow(tensor->stride[i], tensor->shape[i] - 1, &reach) ||
		    __builtin_add_overflow(*bytes, reach, bytes))
			return false;
	return !__builtin_add_overflow(tensor->offset, *bytes, &end);
}

/* One tensor for itself. */
static int check_tensor(struct tn_exec *exec, unsigned int number)
{
	const struct tdi_tensor *tensor = &exec->tensor.tensor[number];
	uint32_t size = tn_dtype_bytes(tensor->dtype);
	uint64_t bytes;
	unsigned int i;

	if (!size)
		return refuse(exec, TDI_SC_DTYPE, number);
	if (tensor->rank > TDI_RANK_MAX)
		return refuse(exec, TDI_SC_SHAPE, number);
	if (tensor->reserved0 || tensor->reserved1[0] || tensor->reserved1[1])
		return TDI_SC_RESERVED;
	for (i = tensor->rank; i < TDI_RANK_MAX; i++)
		if (tensor->shape[i] || tensor->stride[i])
			return TDI_SC_RESERVED;
	for (i = 0; i < tensor->rank; i++)
		if (!tensor->shape[i])
			return refuse(exec, TDI_SC_SHAPE, number);
	for (i = 0; i < tensor->rank; i++)
		if (tensor->stride[i] % size)
			return refuse(exec, TDI_SC_ALIGNMENT, number);
	if (tensor->offset % size)
		return refuse(exec, TDI_SC_ALIGNMENT, number);
	if (!hull(tensor, &bytes))
		return refuse(exec, TDI_SC_SHAPE, number);
	return TDI_SC_OK;
}

/* May every element of the output be written without touching another? Axes nest like boxes. */
static bool is_disjoint(const struct tdi_tensor *tensor)
{
	uint64_t room = tn_dtype_bytes(tensor->dtype);
	uint32_t done = 0;

	for (;;) {
		unsigned int next = TDI_RANK_MAX, i;

		for (i = 0; i < tensor->rank; i++)
			if (tensor->shape[i] > 1 && !(done >> i & 1) &&
			    (next == TDI_RANK_MAX || tensor->stride[i] < tensor->stride[next]))
				next = i;
		if (next == TDI_RANK_MAX)
			return true;
		if (tensor->stride[next] < room)
			return false;
		room += tensor->stride[next] * (tensor->shape[next] - 1);
		done |= 1u << next;
	}
}

static int check_dtypes(struct tn_exec *exec, const struct rule *rule)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	unsigned int i, out = tn_tensor_out(&x->op);

	for (i = 0; i <= out; i++) {
		uint32_t set = i == out ? rule->out : rule->in[i];

		if (set == SAME)
			set = 1u << x->tensor[0].dtype;
		if (!(set >> x->tensor[i].dtype & 1))
			return refuse(exec, TDI_SC_DTYPE, i);
	}
	return TDI_SC_OK;
}

static bool is_zero_point(uint32_t value)
{
	return (int32_t)value >= INT8_MIN && (int32_t)value <= INT8_MAX;
}

/* Values of the attributes that are used, in the order of the fields. */
static int check_attributes(struct tn_exec *exec, const struct rule *rule)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	int32_t axis = (int32_t)x->op.axis, rank = x->tensor[0].rank;
	float scale = tn_f32(x->op.scale);

	if (rule->attributes & AXIS && (axis < -rank || axis >= rank))
		return FIELD(exec, axis);
	if (rule->attributes & A_ZERO && x->tensor[0].dtype == TDI_I8 && !is_zero_point(x->op.a_zero))
		return FIELD(exec, a_zero);
	if (rule->attributes & B_ZERO && !is_zero_point(x->op.b_zero))
		return FIELD(exec, b_zero);
	if (rule->attributes & Y_ZERO && !is_zero_point(x->op.y_zero))
		return FIELD(exec, y_zero);
	if (rule->attributes & SCALE && !(isfinite(scale) && scale > 0))
		return FIELD(exec, scale);
	return TDI_SC_OK;
}

static int check_unused(const struct tn_tensor_exec *x, const struct rule *rule)
{
	const struct tdi_op *op = &x->op;
	uint32_t used = rule->attributes;

	/* RELU has a zero point for i8 only. */
	if (op->op == TDI_TENSOR_RELU && x->tensor[0].dtype != TDI_I8)
		used &= ~A_ZERO;
	if (op->flags & ~rule->flags)
		return TDI_SC_RESERVED;
	if ((!(used & AXIS) && op->axis) || (!(used & ALPHA_BETA) && (op->alpha || op->beta)) ||
	    (!(used & A_ZERO) && op->a_zero) || (!(used & B_ZERO) && op->b_zero) ||
	    (!(used & Y_ZERO) && op->y_zero) || (!(used & SCALE) && op->scale))
		return TDI_SC_RESERVED;
	/* GEMM without C has no beta. */
	if (op->op == TDI_TENSOR_GEMM && op->inputs == 2 && op->beta)
		return TDI_SC_RESERVED;
	return TDI_SC_OK;
}

/* Functions of this form return the number of the first tensor whose shape is wrong, or NONE. */
#define NONE TDI_TENSORS_MAX

static bool same_shape(const struct tdi_tensor *a, const struct tdi_tensor *b)
{
	return a->rank == b->rank && !memcmp(a->shape, b->shape, sizeof(a->shape));
}

static unsigned int matmul_shapes(const struct tdi_tensor *t)
{
	const struct tdi_tensor *a = &t[0], *b = &t[1], *y = &t[2];
	unsigned int rank = a->rank, i;

	if (rank < 2)
		return 0;
	if (b->rank != rank || b->shape[rank - 2] != a->shape[rank - 1])
		return 1;
	for (i = 0; i < rank - 2; i++)
		if (b->shape[i] != a->shape[i])
			return 1;
	if (y->rank != rank || y->shape[rank - 2] != a->shape[rank - 2] ||
	    y->shape[rank - 1] != b->shape[rank - 1])
		return 2;
	for (i = 0; i < rank - 2; i++)
		if (y->shape[i] != a->shape[i])
			return 2;
	return NONE;
}

static unsigned int gemm_shapes(const struct tdi_op *op, const struct tdi_tensor *t)
{
	unsigned int turn_a = !!(op->flags & TDI_GEMM_TRANS_A), turn_b = !!(op->flags & TDI_GEMM_TRANS_B);
	unsigned int out = tn_tensor_out(op), i;
	uint32_t shape[2];

	if (t[0].rank != 2)
		return 0;
	if (t[1].rank != 2 || t[1].shape[turn_b] != t[0].shape[!turn_a])
		return 1;
	shape[0] = t[0].shape[turn_a];
	shape[1] = t[1].shape[!turn_b];
	if (out == 3) {
		const struct tdi_tensor *c = &t[2];

		if (c->rank > 2)
			return 2;
		for (i = 0; i < c->rank; i++)
			if (c->shape[i] != 1 && c->shape[i] != shape[2 - c->rank + i])
				return 2;
	}
	if (t[out].rank != 2 || t[out].shape[0] != shape[0] || t[out].shape[1] != shape[1])
		return out;
	return NONE;
}

/* The extent of axis @axis of a result of rank @rank, as @tensor sees it. */
static uint32_t broadcast_extent(const struct tdi_tensor *tensor, unsigned int rank, unsigned int axis)
{
	return axis < rank - tensor->rank ? 1 : tensor->shape[axis - (rank - tensor->rank)];
}

static unsigned int add_shapes(const struct tdi_tensor *t)
{
	unsigned int rank = t[0].rank > t[1].rank ? t[0].rank : t[1].rank, axis;
	struct tdi_tensor sum = { .rank = (uint8_t)rank };

	for (axis = 0; axis < rank; axis++) {
		uint32_t a = broadcast_extent(&t[0], rank, axis), b = broadcast_extent(&t[1], rank, axis);

		if (a != b && a != 1 && b != 1)
			return 1;
		sum.shape[axis] = a == 1 ? b : a;
	}
	return same_shape(&sum, &t[2]) ? NONE : 2;
}

static unsigned int gather_shapes(const struct tdi_op *op, const struct tdi_tensor *t)
{
	unsigned int along = tn_tensor_axis(op, &t[0]), rank = t[0].rank + t[1].rank - 1u, axis;
	struct tdi_tensor taken = { .rank = (uint8_t)rank };

	if (rank > TDI_RANK_MAX)
		return 2;
	for (axis = 0; axis < rank; axis++) {
		if (axis < along)
			taken.shape[axis] = t[0].shape[axis];
		else if (axis < along + t[1].rank)
			taken.shape[axis] = t[1].shape[axis - along];
		else
			taken.shape[axis] = t[0].shape[axis - t[1].rank + 1];
	}
	return same_shape(&taken, &t[2]) ? NONE : 2;
}

static unsigned int argmax_shapes(const struct tdi_op *op, const struct tdi_tensor *t)
{
	unsigned int along = tn_tensor_axis(op, &t[0]);
	struct tdi_tensor reduced = t[0];

	/* An index must fit the output. */
	if (t[1].dtype == TDI_I32 && t[0].shape[along] > (uint32_t)INT32_MAX + 1)
		return 1;
	reduced.shape[along] = 1;
	return same_shape(&reduced, &t[1]) ? NONE : 1;
}

static int check_shapes(struct tn_exec *exec)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	unsigned int out = tn_tensor_out(&x->op), wrong;

	switch (x->op.op) {
	case TDI_TENSOR_MATMUL:
	case TDI_TENSOR_MATMUL_INTEGER:
	case TDI_TENSOR_QLINEAR_MATMUL:
		wrong = matmul_shapes(x->tensor);
		break;
	case TDI_TENSOR_GEMM:
		wrong = gemm_shapes(&x->op, x->tensor);
		break;
	case TDI_TENSOR_ADD:
		wrong = add_shapes(x->tensor);
		break;
	case TDI_TENSOR_GATHER:
		wrong = gather_shapes(&x->op, x->tensor);
		break;
	case TDI_TENSOR_ARGMAX:
		wrong = argmax_shapes(&x->op, x->tensor);
		break;
	default:
		wrong = same_shape(&x->tensor[0], &x->tensor[1]) ? NONE : 1;
		break;
	}
	if (wrong == NONE && !is_disjoint(&x->tensor[out]))
		wrong = out;
	return wrong == NONE ? TDI_SC_OK : refuse(exec, TDI_SC_SHAPE, wrong);
}

/* ADD and RELU read an element before they write it: an input may be the output itself. */
static bool is_in_place(const struct tn_tensor_exec *x, const struct tdi_tensor *in,
			const struct tdi_tensor *out)
{
	return (x->op.op == TDI_TENSOR_ADD || x->op.op == TDI_TENSOR_RELU) && in->offset == out->offset &&
	       same_shape(in, out) && !memcmp(in->stride, out->stride, sizeof(in->stride));
}

static int check_overlap(struct tn_exec *exec)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	unsigned int out = tn_tensor_out(&x->op), i;
	const struct tdi_tensor *y = &x->tensor[out];
	uint64_t bytes, y_bytes;

	hull(y, &y_bytes);
	for (i = 0; i < out; i++) {
		const struct tdi_tensor *in = &x->tensor[i];

		hull(in, &bytes);
		if (in->buffer == y->buffer && in->offset < y->offset + y_bytes &&
		    y->offset < in->offset + bytes && !is_in_place(x, in, y) && !MUTANT(tensor_overlap))
			return refuse(exec, TDI_SC_OVERLAP, i);
	}
	return TDI_SC_OK;
}

static int check_buffers(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	unsigned int out = tn_tensor_out(&x->op), i;

	for (i = 0; i <= out; i++) {
		const struct tdi_tensor *tensor = &x->tensor[i];
		uint64_t bytes;
		int status;

		hull(tensor, &bytes);
		status = tn_mem_check(table, tensor->buffer, tensor->offset, bytes,
				      i == out ? TDI_BUFFER_WRITE : TDI_BUFFER_READ);
		if (status && !MUTANT(tensor_refuse))
			return tn_no_access(exec, status, tensor->buffer);
	}
	return TDI_SC_OK;
}

int tn_tensor_check(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tn_tensor_exec *x = &exec->tensor;
	const struct rule *rule;
	unsigned int i;
	int status;

	status = check_header(exec);
	for (i = 0; !status && i < tn_tensor_count(&x->op); i++)
		status = check_tensor(exec, i);
	if (status)
		return status;
	rule = &rules[x->op.op];
	status = check_dtypes(exec, rule);
	if (!status)
		status = check_attributes(exec, rule);
	if (!status)
		status = check_shapes(exec);
	if (!status)
		status = check_unused(x, rule);
	if (!status)
		status = check_overlap(exec);
	if (!status)
		status = check_buffers(table, exec);
	return status;
}
