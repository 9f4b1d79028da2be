/* SPDX-License-Identifier: MIT */
/* Prepared tensor operations: descriptors in buffers that the library makes for them, 64 in each. */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

_Static_assert(OP_SLOTS * OP_SLOT_BYTES % TDI_PAGE_SIZE == 0, "a chunk fills its pages");

struct tdi_tensor tenon_tensor(const struct tenon_buffer *buffer, uint64_t offset, enum tdi_dtype dtype,
			       unsigned int rank, const uint32_t *shape)
{
	uint64_t stride = dtype == TDI_I8 ? 1 : dtype == TDI_I64 ? 8 : 4;
	struct tdi_tensor t;
	unsigned int i;

	memset(&t, 0, sizeof(t));
	t.buffer = tenon_buffer_id(buffer);
	t.dtype = (__u8)dtype;
	/* A rank that can't be is kept, so that the device refuses it. */
	t.rank = rank > UINT8_MAX ? UINT8_MAX : (__u8)rank;
	t.offset = offset;
	for (i = rank < TDI_RANK_MAX ? rank : TDI_RANK_MAX; i-- > 0;) {
		t.shape[i] = shape[i];
		t.stride[i] = stride;
		stride *= shape[i];
	}
	return t;
}

static int chunk_create(struct tenon_context *c, struct op_chunk **chunk)
{
	struct op_chunk *new = calloc(1, sizeof(*new));
	int err;

	if (!new)
		return tenon_fail(c, -ENOMEM, "out of memory");
	err = tenon_buffer_create_locked(c, OP_SLOTS * OP_SLOT_BYTES, TDI_BUFFER_READ, &new->buffer);
	if (err) {
		free(new);
		return err;
	}
	SLIST_INSERT_HEAD(&c->chunks, new, link);
	*chunk = new;
	return 0;
}

static int op_create_locked(struct tenon_context *c, const struct tdi_op *op,
			    const struct tdi_tensor *tensors, struct tenon_op **prepared)
{
	unsigned int count = op->inputs + op->outputs;
	struct op_chunk *chunk;
	struct tenon_op *new;
	int err, slot;

	if (count > TDI_TENSORS_MAX)
		return tenon_fail(c, -EINVAL, "tensors: needed %u, allowed %u", count, TDI_TENSORS_MAX);
	SLIST_FOREACH(chunk, &c->chunks, link)
		if (~chunk->used)
			break;
	if (!chunk) {
		err = chunk_create(c, &chunk);
		if (err)
			return err;
	}
	slot = __builtin_ctzll(~chunk->used);
	chunk->used |= 1ULL << slot;
	new = &chunk->op[slot];
	new->chunk = chunk;
	new->bytes = (uint32_t)TDI_OP_BYTES(count);
	new->descriptor = (struct tdi_op *)((char *)chunk->buffer->data + (size_t)slot * OP_SLOT_BYTES);
	*new->descriptor = *op;
	memcpy(new->descriptor + 1, tensors, count * sizeof(*tensors));
	*prepared = new;
	return 0;
}

int tenon_op_create(struct tenon_context *c, const struct tdi_op *op, const struct tdi_tensor *tensors,
		    struct tenon_op **prepared)
{
	int err;

	*prepared = NULL;
	pthread_mutex_lock(&c->lock);
	err = op_create_locked(c, op, tensors, prepared);
	pthread_mutex_unlock(&c->lock);
	return err;
}

void tenon_op_destroy(struct tenon_op *op)
{
	struct tenon_context *c;

	if (!op)
		return;
	c = op->chunk->buffer->context;
	pthread_mutex_lock(&c->lock);
	/* A command that still names it finds an operator that there isn't. */
	memset(op->descriptor, 0, OP_SLOT_BYTES);
	op->chunk->used &= ~(1ULL << (op - op->chunk->op));
	pthread_mutex_unlock(&c->lock);
}

struct tdi_op *tenon_op_descriptor(const struct tenon_op *op)
{
	return op->descriptor;
}

void tenon_prep_op(struct tdi_sqe *sqe, const struct tenon_op *op, uint64_t user_data)
{
	const struct tenon_buffer *b = op->chunk->buffer;

	sqe->opcode = TDI_OP_TENSOR;
	sqe->user_data = user_data;
	sqe->tensor.buffer = b->id;
	sqe->tensor.bytes = op->bytes;
	sqe->tensor.offset = (uint64_t)((char *)op->descriptor - (char *)b->data);
}
