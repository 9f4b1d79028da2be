// SPDX-License-Identifier: MIT
/* How tensor operators reach their operands, and the order in which they walk them; see tensor.h. */
#include <string.h>

#include "../mutant.h"
#include "tensor.h"

void tn_tensor_copy(void *to, uint64_t to_step, const void *from, uint64_t from_step, uint64_t count,
		    uint32_t size)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	if (to_step == size && from_step == size) {
		memcpy(target, source, count * size);
		return;
	}
	switch (size) {
	case 1:
		for (; count; count--, target += to_step, source += from_step)
			*target = *source;
		break;
	case 4:
		for (; count; count--, target += to_step, source += from_step)
			memcpy(target, source, 4);
		break;
	default:
		for (; count; count--, target += to_step, source += from_step)
			memcpy(target, source, 8);
		break;
	}
}

/* What a run costs: a function of the command alone, not of where its buffers lie. */
static void charge(struct tn_exec *exec, uint64_t stride, uint64_t count, uint32_t size)
{
	exec->work += TN_ACCESS_WORK;
	if (!stride)
		exec->work += size;
	else
		exec->work += count * (stride == size ? size : TN_APART_WORK);
}

static void count_bytes(uint64_t *counter, uint64_t bytes)
{
	if (!MUTANT(tensor_bytes))
		*counter += bytes;
}

/* Move @count elements between a buffer and @mine, block by block. */
static int move(const struct tn_table *table, struct tn_exec *exec, uint32_t id, uint64_t offset,
		uint64_t stride, uint64_t count, uint32_t size, uint32_t rights, void *mine)
{
	bool write = rights == TDI_BUFFER_WRITE;
	uint8_t *at = mine;

	while (count) {
		uint64_t whole = (count - 1) * stride + size, bytes = whole, fit = count;
		int status;
		void *host;

		status = tn_mem_span(table, id, offset, rights, &bytes, &host);
		if (!status && bytes < size) {
			/* An element that lies in two blocks: possible where the buffer begins unaligned. */
			fit = 1;
			status = write ? tn_mem_write(table, id, offset, at, size) :
					 tn_mem_read(table, id, offset, at, size);
		} else if (!status) {
			if (bytes < whole)
				fit = (bytes - size) / stride + 1;
			if (write)
				tn_tensor_copy(host, stride, at, size, fit, size);
			else
				tn_tensor_copy(at, size, host, stride, fit, size);
		}
		if (status)
			return tn_no_access(exec, status, id);
		count_bytes(write ? &exec->bytes_written : &exec->bytes_read, fit * size);
		at += fit * size;
		offset += fit * stride;
		count -= fit;
	}
	return TDI_SC_OK;
}

int tn_tensor_load(const struct tn_table *table, struct tn_exec *exec, unsigned int operand, uint64_t offset,
		   uint64_t stride, uint64_t count, void *to)
{
	const struct tdi_tensor *tensor = &exec->tensor.tensor[operand];
	uint32_t size = tn_dtype_bytes(tensor->dtype);
	int status;

	charge(exec, stride, count, size);
	status = move(table, exec, tensor->buffer, offset, stride, stride ? count : 1, size, TDI_BUFFER_READ,
		      to);
	if (!status && !stride)
		tn_tensor_copy((uint8_t *)to + size, size, to, 0, count - 1, size);
	return status;
}

int tn_tensor_store(const struct tn_table *table, struct tn_exec *exec, unsigned int operand, uint64_t offset,
		    uint64_t stride, uint64_t count, const void *from)
{
	const struct tdi_tensor *tensor = &exec->tensor.tensor[operand];
	uint32_t size = tn_dtype_bytes(tensor->dtype);

	charge(exec, stride, count, size);
	return move(table, exec, tensor->buffer, offset, stride, count, size, TDI_BUFFER_WRITE,
		    (void *)(uintptr_t)from);
}

int tn_tensor_load_tile(const struct tn_table *table, struct tn_exec *exec, unsigned int operand,
			uint64_t offset, uint64_t row_stride, uint64_t stride, uint64_t rows, uint64_t count,
			void *to)
{
	const struct tdi_tensor *tensor = &exec->tensor.tensor[operand];
	uint32_t size = tn_dtype_bytes(tensor->dtype);
	uint64_t whole = (rows - 1) * row_stride + (count - 1) * stride + size, bytes = whole, row;
	uint8_t *at = to;
	void *host;
	int status = tn_mem_span(table, tensor->buffer, offset, TDI_BUFFER_READ, &bytes, &host);

	if (status)
		return tn_no_access(exec, status, tensor->buffer);
	for (row = 0; row < rows && !status; row++) {
		if (bytes < whole) {
			status = tn_tensor_load(table, exec, operand, offset + row * row_stride, stride,
						count, at);
		} else {
			charge(exec, stride, count, size);
			count_bytes(&exec->bytes_read, stride ? count * size : size);
			tn_tensor_copy(at, size, (uint8_t *)host + row * row_stride, stride, count, size);
		}
		at += count * size;
	}
	return status;
}

void tn_loop_init(struct tn_loop *loop)
{
	/* A loop without axes has one position. */
	memset(loop, 0, sizeof(*loop));
	loop->rank = 1;
	loop->shape[0] = 1;
}

void tn_loop_axis(struct tn_loop *loop, uint64_t extent, const uint64_t stride[TN_LOOP_OPERANDS])
{
	uint64_t *last = loop->stride[loop->rank - 1];
	uint64_t *shape = &loop->shape[loop->rank - 1];
	uint64_t merged, span;
	unsigned int o;

	if (extent == 1)
		return;
	if (*shape == 1) {
		*shape = extent;
		memcpy(last, stride, sizeof(loop->stride[0]));
		return;
	}
	for (o = 0; o < TN_LOOP_OPERANDS; o++)
		if (__builtin_mul_overflow(stride[o], extent, &span) || span != last[o])
			break;
	if (o < TN_LOOP_OPERANDS || __builtin_mul_overflow(*shape, extent, &merged)) {
		loop->shape[loop->rank] = extent;
		memcpy(loop->stride[loop->rank], stride, sizeof(loop->stride[0]));
		loop->rank++;
		return;
	}
	*shape = merged;
	memcpy(last, stride, sizeof(loop->stride[0]));
}

uint64_t tn_loop_at(const struct tn_loop *loop, uint64_t position, uint64_t offset[TN_LOOP_OPERANDS])
{
	uint64_t left = 0;
	unsigned int i, o;

	for (i = loop->rank; i-- > 0;) {
		uint64_t index = position % loop->shape[i];

		position /= loop->shape[i];
		if (i == loop->rank - 1)
			left = loop->shape[i] - index;
		for (o = 0; o < TN_LOOP_OPERANDS; o++)
			offset[o] += index * loop->stride[i][o];
	}
	return left;
}

uint64_t tn_broadcast_stride(const struct tdi_tensor *tensor, unsigned int rank, unsigned int axis)
{
	unsigned int missing = rank - tensor->rank;

	if (axis < missing || tensor->shape[axis - missing] == 1)
		return 0;
	return tensor->stride[axis - missing];
}
