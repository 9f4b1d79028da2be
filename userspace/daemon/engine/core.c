// SPDX-License-Identifier: MIT
/* The core command set: NOP, COPY, FILL, SIGNAL and WAIT. Order of checks: [CMD-2]. */
#include <stddef.h>
#include <string.h>

#include "../mutant.h"
#include "engine.h"

/* What one row of a strided copy costs beyond its bytes. */
#define ROW_WORK 32

/* How often SIGNAL tries against a tenant that keeps changing the word, before it yields. */
#define SIGNAL_TRIES 64

static int refuse(struct tn_exec *exec, int status, uint32_t info)
{
	exec->info = info;
	return status;
}

#define FIELD(exec, member) refuse(exec, TDI_SC_FIELD, offsetof(struct tdi_sqe, member))

static int check_buffer(const struct tn_table *table, struct tn_exec *exec, uint32_t id, uint64_t offset,
			uint64_t bytes, uint32_t rights)
{
	int status = tn_mem_check(table, id, offset, bytes, rights);

	return status ? tn_no_access(exec, status, id) : TDI_SC_OK;
}

/* Bytes from the first row's first to the last row's last. With several rows all factors are of 32 bits. */
static uint64_t hull(const struct tdi_copy *copy, uint32_t pitch)
{
	return (uint64_t)(copy->rows - 1) * pitch + copy->row_bytes;
}

static int copy_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_copy *copy = &exec->sqe.copy;
	uint64_t dst_bytes, src_bytes;
	int status;

	if (copy->reserved || (copy->rows == 1 && (copy->dst_pitch || copy->src_pitch)))
		return TDI_SC_RESERVED;
	if (!copy->row_bytes)
		return FIELD(exec, copy.row_bytes);
	if (!copy->rows)
		return FIELD(exec, copy.rows);
	if (copy->rows > 1 && copy->dst_pitch < copy->row_bytes)
		return FIELD(exec, copy.dst_pitch);
	if (copy->rows > 1 && copy->src_pitch < copy->row_bytes)
		return FIELD(exec, copy.src_pitch);
	dst_bytes = hull(copy, copy->dst_pitch);
	src_bytes = hull(copy, copy->src_pitch);
	status = check_buffer(table, exec, copy->dst, copy->dst_offset, dst_bytes, TDI_BUFFER_WRITE);
	if (!status)
		status = check_buffer(table, exec, copy->src, copy->src_offset, src_bytes, TDI_BUFFER_READ);
	if (status)
		return status;
	if (copy->dst == copy->src && copy->dst_offset < copy->src_offset + src_bytes &&
	    copy->src_offset < copy->dst_offset + dst_bytes)
		return refuse(exec, TDI_SC_OVERLAP, copy->dst);
	return TN_MORE;
}

/* @position counts the bytes of all rows, one after the other. */
static int copy_step(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_copy *copy = &exec->sqe.copy;
	uint64_t total = copy->row_bytes * copy->rows;
	uint64_t work = 0;

	while (exec->position < total && (work < TN_UNIT_WORK || MUTANT(copy_unit))) {
		uint64_t row = exec->position / copy->row_bytes;
		uint64_t column = exec->position % copy->row_bytes;
		uint64_t bytes = copy->row_bytes - column;
		void *dst, *src;
		int status;

		if (bytes > TN_UNIT_WORK - work)
			bytes = TN_UNIT_WORK - work;
		status = tn_mem_span(table, copy->dst, copy->dst_offset + row * copy->dst_pitch + column,
				     TDI_BUFFER_WRITE, &bytes, &dst);
		if (status)
			return tn_no_access(exec, status, copy->dst);
		status = tn_mem_span(table, copy->src, copy->src_offset + row * copy->src_pitch + column,
				     TDI_BUFFER_READ, &bytes, &src);
		if (status)
			return tn_no_access(exec, status, copy->src);
		memmove(dst, src, bytes);	/* two ids may name the same memory */
		exec->position += bytes;
		exec->bytes_read += MUTANT(copy_bytes) ? 0 : bytes;
		exec->bytes_written += bytes;
		work += bytes + ROW_WORK;
	}
	exec->work += work;
	return exec->position < total ? TN_MORE : TDI_SC_OK;
}

static int fill_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_fill *fill = &exec->sqe.fill;
	int status;

	if (fill->reserved[0] || fill->reserved[1])
		return TDI_SC_RESERVED;
	if (fill->width != 1 && fill->width != 2 && fill->width != 4 && fill->width != 8)
		return FIELD(exec, fill.width);
	if (!fill->bytes)
		return FIELD(exec, fill.bytes);
	if ((fill->offset | fill->bytes) % fill->width)
		return TDI_SC_ALIGNMENT;
	status = check_buffer(table, exec, fill->dst, fill->offset, fill->bytes, TDI_BUFFER_WRITE);
	return status ? status : TN_MORE;
}

static int fill_step(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	const struct tdi_fill *fill = &exec->sqe.fill;
	uint64_t left = fill->bytes - exec->position;
	uint64_t bytes = left < TN_UNIT_WORK ? left : TN_UNIT_WORK;
	uint64_t i;
	int status;

	/* A unit is a multiple of 8 bytes, so that each begins with the pattern's first byte. */
	for (i = 0; i < bytes; i += fill->width)
		memcpy(&scratch->byte[i], &fill->pattern, fill->width);
	status = tn_mem_write(table, fill->dst, fill->offset + exec->position, scratch->byte, bytes);
	if (status)
		return tn_no_access(exec, status, fill->dst);
	exec->position += bytes;
	exec->bytes_written += bytes;
	exec->work += bytes;
	return bytes < left ? TN_MORE : TDI_SC_OK;
}

/* The semaphore's word. Its alignment is that of the memory, since a buffer may begin anywhere in a block. */
static int semaphore(const struct tn_table *table, struct tn_exec *exec, uint32_t id, uint64_t offset,
		     uint32_t rights, uint64_t **word)
{
	uint64_t bytes = sizeof(**word);
	void *host;
	int status = tn_mem_span(table, id, offset, rights, &bytes, &host);

	if (status)
		return tn_no_access(exec, status, id);
	if (bytes != sizeof(**word) || (uintptr_t)host % sizeof(**word))
		return TDI_SC_ALIGNMENT;
	*word = host;
	return tn_mem_address(table, id, offset, &exec->address);
}

static int signal_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_signal *signal = &exec->sqe.signal;
	uint64_t *word;
	int status;

	if (signal->reserved[0] || signal->reserved[1] || signal->reserved[2])
		return TDI_SC_RESERVED;
	if (signal->mode > TDI_SIGNAL_ADD)
		return FIELD(exec, signal.mode);
	if (signal->mode == TDI_SIGNAL_ADD && exec->sqe.flags & TDI_SQE_IDEMPOTENT)
		return FIELD(exec, flags);
	if (signal->offset % 8)
		return TDI_SC_ALIGNMENT;
	status = semaphore(table, exec, signal->buffer, signal->offset, TDI_BUFFER_WRITE, &word);
	return status ? status : TN_MORE;
}

static int signal_step(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_signal *signal = &exec->sqe.signal;
	uint64_t *word, now;
	int i, status;

	status = semaphore(table, exec, signal->buffer, signal->offset, TDI_BUFFER_WRITE, &word);
	if (status)
		return status;
	exec->work += 8;
	exec->bytes_written += 8;
	if (signal->mode == TDI_SIGNAL_ADD) {
		__atomic_fetch_add(word, signal->value, __ATOMIC_ACQ_REL);
		return TN_SIGNALED;
	}
	now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	for (i = 0; i < SIGNAL_TRIES; i++) {
		if ((int64_t)(signal->value - now) <= 0)
			return TN_SIGNALED;
		if (__atomic_compare_exchange_n(word, &now, signal->value, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return TN_SIGNALED;
	}
	return TN_MORE;
}

static int wait_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_wait *wait = &exec->sqe.wait;
	uint64_t *word;
	int status;

	if (wait->reserved0 || wait->reserved1[0] || wait->reserved1[1])
		return TDI_SC_RESERVED;
	if (!wait->timeout_ns)
		return FIELD(exec, wait.timeout_ns);
	if (wait->timeout_ns > TN_MAX_WAIT_NS)
		return TDI_SC_LIMIT;
	if (wait->offset % 8)
		return TDI_SC_ALIGNMENT;
	status = semaphore(table, exec, wait->buffer, wait->offset, TDI_BUFFER_READ, &word);
	return status ? status : TN_MORE;
}

static int wait_step(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_wait *wait = &exec->sqe.wait;
	uint64_t *word;
	int status = semaphore(table, exec, wait->buffer, wait->offset, TDI_BUFFER_READ, &word);

	if (status)
		return status;
	if ((int64_t)(__atomic_load_n(word, __ATOMIC_ACQUIRE) - wait->ref) >= 0 || MUTANT(wait_holds))
		return TDI_SC_OK;
	return TN_PARK;
}

int tn_exec_begin(const struct tn_table *table, struct tn_exec *exec)
{
	const struct tdi_sqe *sqe = &exec->sqe;
	int i;

	exec->info = 0;
	exec->units = 0;
	exec->work = 0;
	exec->bytes_read = 0;
	exec->bytes_written = 0;
	exec->position = 0;

	if (sqe->opcode > 63 || !(tn_exec_opcodes() >> sqe->opcode & 1))
		return TDI_SC_OPCODE;
	if (sqe->flags & ~(TDI_SQE_LINK | TDI_SQE_IDEMPOTENT) || sqe->reserved0 || sqe->reserved1)
		return TDI_SC_RESERVED;

	switch (sqe->opcode) {
	case TDI_OP_NOP:
		for (i = 0; i < 6; i++)
			if (sqe->raw[i])
				return TDI_SC_RESERVED;
		return TN_MORE;
	case TDI_OP_COPY:
		return copy_begin(table, exec);
	case TDI_OP_FILL:
		return fill_begin(table, exec);
	case TDI_OP_SIGNAL:
		return signal_begin(table, exec);
	case TDI_OP_WAIT:
		return wait_begin(table, exec);
	default:
		return tn_tensor_begin(table, exec);
	}
}

int tn_exec_step(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch)
{
	exec->units++;
	switch (exec->sqe.opcode) {
	case TDI_OP_NOP:
		return TDI_SC_OK;
	case TDI_OP_COPY:
		return copy_step(table, exec);
	case TDI_OP_FILL:
		return fill_step(table, exec, scratch);
	case TDI_OP_SIGNAL:
		return signal_step(table, exec);
	case TDI_OP_WAIT:
		return wait_step(table, exec);
	default:
		return tn_tensor_step(table, exec, scratch);
	}
}

uint64_t tn_exec_opcodes(void)
{
	return 1ULL << TDI_OP_NOP | 1ULL << TDI_OP_COPY | 1ULL << TDI_OP_FILL | 1ULL << TDI_OP_SIGNAL |
	       1ULL << TDI_OP_WAIT | 1ULL << TDI_OP_TENSOR;
}
