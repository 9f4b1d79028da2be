// SPDX-License-Identifier: MIT
/*
 * The tensor command set [TEN]: a descriptor is fetched once, checked, and worked on in bounded steps.
 * The operators are in tensor_matmul.c, tensor_map.c and tensor_axis.c.
 */
#include <stddef.h>
#include <string.h>

#include "../mutant.h"
#include "tensor.h"

static int fetch(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_tensor_cmd *cmd = &exec->sqe.tensor;
	struct {
		struct tdi_op op;
		struct tdi_tensor tensor[TDI_TENSORS_MAX];
	} descriptor;
	int status = tn_mem_read(table, cmd->buffer, cmd->offset, &descriptor, cmd->bytes);

	if (status)
		return tn_no_access(exec, status, cmd->buffer);
	exec->bytes_read += cmd->bytes;
	exec->tensor.op = descriptor.op;
	memcpy(exec->tensor.tensor, descriptor.tensor, cmd->bytes - sizeof(descriptor.op));
	return TDI_SC_OK;
}

static void setup(struct tn_tensor_exec *x)
{
	const struct tdi_tensor *out = &x->tensor[tn_tensor_out(&x->op)];
	unsigned int i;

	/* No overflow: the output was checked to lie in a buffer without touching itself. */
	x->elements = 1;
	for (i = 0; i < out->rank; i++)
		x->elements *= out->shape[i];
	x->position = 0;
	x->reduced = 0;
	x->phase = 0;
	switch (x->op.op) {
	case TDI_TENSOR_MATMUL:
	case TDI_TENSOR_GEMM:
	case TDI_TENSOR_MATMUL_INTEGER:
	case TDI_TENSOR_QLINEAR_MATMUL:
		tn_matmul_setup(x);
		break;
	case TDI_TENSOR_SOFTMAX:
	case TDI_TENSOR_ARGMAX:
		tn_reduce_setup(x);
		break;
	case TDI_TENSOR_GATHER:
		tn_gather_setup(x);
		break;
	default:
		tn_map_setup(x);
		break;
	}
}

int tn_tensor_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_tensor_cmd *cmd = &exec->sqe.tensor;
	unsigned int i;
	int status;

	for (i = 0; i < 4; i++)
		if (cmd->reserved[i])
			return TDI_SC_RESERVED;
	if (cmd->bytes < TDI_OP_BYTES(0) || cmd->bytes > TDI_OP_BYTES(TDI_TENSORS_MAX) ||
	    (cmd->bytes - TDI_OP_BYTES(0)) % sizeof(struct tdi_tensor)) {
		exec->info = offsetof(struct tdi_sqe, tensor.bytes);
		return TDI_SC_FIELD;
	}
	if (cmd->offset % 8)
		return TDI_SC_ALIGNMENT;
	status = fetch(table, exec);
	if (status)
		return status;
	if (cmd->bytes != TDI_OP_BYTES(tn_tensor_count(&exec->tensor.op))) {
		exec->info = offsetof(struct tdi_sqe, tensor.bytes);
		return TDI_SC_FIELD;
	}
	status = tn_tensor_check(table, exec);
	if (status)
		return status;
	setup(&exec->tensor);
	return TN_MORE;
}

int tn_tensor_step(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	static tn_tensor_piece *const piece[] = {
		[TDI_TENSOR_MATMUL] = tn_matmul_piece,
		[TDI_TENSOR_GEMM] = tn_matmul_piece,
		[TDI_TENSOR_ADD] = tn_map_piece,
		[TDI_TENSOR_RELU] = tn_map_piece,
		[TDI_TENSOR_SOFTMAX] = tn_softmax_piece,
		[TDI_TENSOR_GATHER] = tn_gather_piece,
		[TDI_TENSOR_ARGMAX] = tn_argmax_piece,
		[TDI_TENSOR_MATMUL_INTEGER] = tn_matmul_piece,
		[TDI_TENSOR_QLINEAR_MATMUL] = tn_matmul_piece,
		[TDI_TENSOR_QUANTIZE] = tn_map_piece,
		[TDI_TENSOR_DEQUANTIZE] = tn_map_piece,
	};
	struct tn_tensor_exec *x = &exec->tensor;
	uint64_t start = exec->work;
	int status;

	if (MUTANT(tensor_fetch_once))
		fetch(table, exec);
	do {
		status = piece[x->op.op](table, exec, scratch);
	} while (status == TN_MORE && (exec->work - start < TN_UNIT_WORK || MUTANT(tensor_unit)));
	return status;
}
