/* SPDX-License-Identifier: MIT */
/*
 * What the files of the tensor command set share.
 *
 * A command is done in pieces, each a fraction of a unit of work; a step does pieces until its unit is
 * full. A piece copies what it needs of the operands to scratch, computes there, and copies the result out:
 * memory that a tenant can change meanwhile is read once, and any layout, contiguous or not, in one block or
 * in many, takes the same path. All state that outlives a piece is in struct tn_tensor_exec.
 */
#ifndef TN_TENSOR_H
#define TN_TENSOR_H

#include "engine.h"

/* Work beside the bytes moved, so that a step is bounded in time for any layout. */
#define TN_ACCESS_WORK		32	/* finding a run of elements */
#define TN_APART_WORK		16	/* moving an element that is not next to the one before */
#define TN_EXP_WORK		16

/* Elements of one axis that a piece takes at most. */
#define TN_RUN			1024

static inline uint32_t tn_dtype_bytes(uint8_t dtype)
{
	switch (dtype) {
	case TDI_I8:
		return 1;
	case TDI_F32:
	case TDI_I32:
		return 4;
	case TDI_I64:
		return 8;
	default:
		return 0;
	}
}

static inline unsigned int tn_tensor_count(const struct tdi_op *op)
{
	return op->inputs + op->outputs;
}

/* The number of the output: no operator has more than one. */
static inline unsigned int tn_tensor_out(const struct tdi_op *op)
{
	return op->inputs;
}

/* @axis, negative ones counted from the end, of a tensor that was checked to have it. */
static inline unsigned int tn_tensor_axis(const struct tdi_op *op, const struct tdi_tensor *tensor)
{
	int32_t axis = (int32_t)op->axis;

	return (unsigned int)(axis < 0 ? axis + tensor->rank : axis);
}

static inline float tn_f32(uint32_t bits)
{
	union {
		uint32_t bits;
		float value;
	} u = { .bits = bits };

	return u.value;
}

/* tensor_check.c: all that can be refused is refused here. */
int tn_tensor_check(const struct tn_table *table, struct tn_exec *exec);

/*
 * tensor_mem.c: elements between operand @operand and private memory, where they lie close together. They
 * count work and bytes, set exec->info, and return TDI_SC_OK or the status that the command ends with.
 */
int tn_tensor_load(const struct tn_table *table, struct tn_exec *exec, unsigned int operand, uint64_t offset,
		   uint64_t stride, uint64_t count, void *to);
int tn_tensor_load_tile(const struct tn_table *table, struct tn_exec *exec, unsigned int operand,
			uint64_t offset, uint64_t row_stride, uint64_t stride, uint64_t rows, uint64_t count,
			void *to);
int tn_tensor_store(const struct tn_table *table, struct tn_exec *exec, unsigned int operand, uint64_t offset,
		    uint64_t stride, uint64_t count, const void *from);
/* @count elements of @size bytes, each @to_step or @from_step bytes after the one before. */
void tn_tensor_copy(void *to, uint64_t to_step, const void *from, uint64_t from_step, uint64_t count,
		    uint32_t size);

/*
 * tensor_mem.c: loops. Axes are added from the outermost to the innermost, with the stride of each operand;
 * tn_loop_at() adds to @offset where position @position of the loop lies, and returns how many positions
 * follow on the innermost axis, this one included.
 */
void tn_loop_init(struct tn_loop *loop);
void tn_loop_axis(struct tn_loop *loop, uint64_t extent, const uint64_t stride[TN_LOOP_OPERANDS]);
uint64_t tn_loop_at(const struct tn_loop *loop, uint64_t position, uint64_t offset[TN_LOOP_OPERANDS]);
/* The stride of @tensor on axis @axis of a result of rank @rank to which it is broadcast. */
uint64_t tn_broadcast_stride(const struct tdi_tensor *tensor, unsigned int rank, unsigned int axis);

/* How an operator is done: setup at begin, then pieces until one returns something else than TN_MORE. */
typedef int tn_tensor_piece(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch);

/* tensor_matmul.c: MATMUL, GEMM, MATMUL_INTEGER, QLINEAR_MATMUL */
void tn_matmul_setup(struct tn_tensor_exec *x);
tn_tensor_piece tn_matmul_piece;

/* tensor_map.c: ADD, RELU, QUANTIZE, DEQUANTIZE */
void tn_map_setup(struct tn_tensor_exec *x);
tn_tensor_piece tn_map_piece;

/* tensor_axis.c: SOFTMAX, ARGMAX, GATHER */
void tn_reduce_setup(struct tn_tensor_exec *x);
void tn_gather_setup(struct tn_tensor_exec *x);
tn_tensor_piece tn_softmax_piece;
tn_tensor_piece tn_argmax_piece;
tn_tensor_piece tn_gather_piece;

/* tensor_map.c: what QUANTIZE and QLINEAR_MATMUL do with a scaled value. */
int8_t tn_quantize(float scaled, int32_t zero);

#endif /* TN_TENSOR_H */
