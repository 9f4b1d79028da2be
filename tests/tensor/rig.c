// SPDX-License-Identifier: MIT
/* See rig.h. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define BLOCK 4096
#define NOISE 0xa5

static uint32_t rig_random(struct rig *rig)
{
	rig->random = rig->random * 1664525 + 1013904223;
	return rig->random >> 8;
}

struct rig *rig_new(enum rig_layout layout)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->layout = layout;
	rig->next = 0x10000;
	rig->table = (struct tn_table){ .space = &rig->space, .map = rig->map, .maps = RIG_BUFFERS };
	rig->exec = malloc(sizeof(*rig->exec));
	rig->scratch = aligned_alloc(64, sizeof(*rig->scratch));
	assert_non_null(rig->exec);
	assert_non_null(rig->scratch);
	rig_map(rig, RIG_DESCRIPTOR, NULL, 2 * BLOCK, TDI_BUFFER_READ);
	return rig;
}

void rig_free(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < RIG_BUFFERS; i++)
		if (rig->buffer[i].bytes)
			rig_unmap(rig, i);
	tn_space_free(&rig->space);
	free(rig->exec);
	free(rig->scratch);
	free(rig);
}

/* The host's view of one byte of a buffer, and how much follows it there. */
static uint8_t *view(const struct rig *rig, unsigned int index, uint64_t offset, uint64_t *left)
{
	const struct rig_buffer *b = &rig->buffer[index];
	uint64_t at = b->first + offset;

	if (!b->blocks) {
		*left = b->bytes - offset;
		return b->block[0] + offset;
	}
	*left = BLOCK - at % BLOCK;
	return b->block[at / BLOCK] + at % BLOCK;
}

void rig_read(const struct rig *rig, unsigned int index, uint64_t offset, void *to, uint64_t bytes)
{
	while (bytes) {
		uint64_t left;
		uint8_t *from = view(rig, index, offset, &left);

		left = left < bytes ? left : bytes;
		memcpy(to, from, left);
		to = (uint8_t *)to + left;
		offset += left;
		bytes -= left;
	}
}

void rig_write(struct rig *rig, unsigned int index, uint64_t offset, const void *from, uint64_t bytes)
{
	while (bytes) {
		uint64_t left;
		uint8_t *to = view(rig, index, offset, &left);

		left = left < bytes ? left : bytes;
		memcpy(to, from, left);
		from = (const uint8_t *)from + left;
		offset += left;
		bytes -= left;
	}
}

static void map_inline(struct rig *rig, struct rig_buffer *b, struct tn_map *map)
{
	b->block = malloc(sizeof(*b->block));
	assert_non_null(b->block);
	/* Exactly its size, so that a sanitizer sees what goes beyond. */
	b->block[0] = calloc(1, b->bytes);
	assert_non_null(b->block[0]);
	map->address = rig->next;
	map->flags |= TDI_BUFFER_INLINE;
	map->shift = 63;
	assert_int_equal(tn_space_add(&rig->space, rig->next, b->bytes, b->block[0]), 0);
	rig->next += (b->bytes + 2 * BLOCK - 1) / BLOCK * BLOCK;
}

static void map_blocks(struct rig *rig, struct rig_buffer *b, struct tn_map *map)
{
	uint64_t i, base;

	b->first = rig->layout == RIG_SHIFTED ? rig_random(rig) % BLOCK : 0;
	b->blocks = (b->first + b->bytes + BLOCK - 1) / BLOCK;
	b->block = calloc(b->blocks, sizeof(*b->block));
	b->address = calloc(b->blocks, sizeof(*b->address));
	assert_non_null(b->block);
	assert_non_null(b->address);
	b->array = rig->next;
	assert_int_equal(tn_space_add(&rig->space, b->array, 8 * b->blocks, b->address), 0);
	base = b->array + (8 * b->blocks + BLOCK - 1) / BLOCK * BLOCK;
	for (i = 0; i < b->blocks; i++)
		b->address[i] = base + 2 * i * BLOCK;
	for (i = b->blocks; i-- > 1;) {
		uint64_t other = rig_random(rig) % (i + 1), address = b->address[i];

		b->address[i] = b->address[other];
		b->address[other] = address;
	}
	for (i = 0; i < b->blocks; i++) {
		b->block[i] = aligned_alloc(BLOCK, BLOCK);
		assert_non_null(b->block[i]);
		memset(b->block[i], NOISE, BLOCK);
		assert_int_equal(tn_space_add(&rig->space, b->address[i], BLOCK, b->block[i]), 0);
	}
	map->first = b->first;
	map->address = b->array;
	map->shift = 12;
	rig->next = base + 2 * b->blocks * BLOCK;
}

uint32_t rig_map(struct rig *rig, unsigned int index, const void *data, uint64_t bytes, uint32_t rights)
{
	struct rig_buffer *b = &rig->buffer[index];
	struct tn_map *map = &rig->map[index];
	uint64_t left;

	assert_true(index < RIG_BUFFERS && !b->bytes && bytes);
	b->bytes = bytes;
	*map = (struct tn_map){ .id = TDI_BUFFER_ID(index, 7), .flags = rights, .length = bytes };
	if (rig->layout == RIG_INLINE)
		map_inline(rig, b, map);
	else
		map_blocks(rig, b, map);
	if (data) {
		rig_write(rig, index, 0, data, bytes);
	} else {
		uint64_t at;

		for (at = 0; at < bytes; at += left) {
			uint8_t *to = view(rig, index, at, &left);

			left = left < bytes - at ? left : bytes - at;
			memset(to, 0, left);
		}
	}
	return map->id;
}

void rig_unmap(struct rig *rig, unsigned int index)
{
	struct rig_buffer *b = &rig->buffer[index];
	uint64_t i, j;

	if (!b->blocks) {
		tn_space_remove(&rig->space, rig->map[index].address);
		free(b->block[0]);
	} else {
		tn_space_remove(&rig->space, b->array);
		for (i = 0; i < b->first; i++)
			assert_int_equal(b->block[0][i], NOISE);
		for (j = b->first + b->bytes; j < b->blocks * BLOCK; j++)
			assert_int_equal(b->block[b->blocks - 1][j % BLOCK], NOISE);
		for (i = 0; i < b->blocks; i++) {
			tn_space_remove(&rig->space, b->address[i]);
			free(b->block[i]);
		}
	}
	free(b->block);
	free(b->address);
	memset(b, 0, sizeof(*b));
	memset(&rig->map[index], 0, sizeof(rig->map[index]));
}

int rig_begin(struct rig *rig, const struct tdi_op *op, const struct tdi_tensor *tensors)
{
	uint32_t bytes = TDI_OP_BYTES(op->inputs + op->outputs);
	uint64_t offset = BLOCK - 8;

	/* It crosses a block. What the command before left in exec means nothing. */
	rig_write(rig, RIG_DESCRIPTOR, offset, op, sizeof(*op));
	rig_write(rig, RIG_DESCRIPTOR, offset + sizeof(*op), tensors, bytes - sizeof(*op));
	memset(rig->exec, 0x5a, sizeof(*rig->exec));
	rig->exec->sqe = (struct tdi_sqe){
		.opcode = TDI_OP_TENSOR,
		.tensor = { .buffer = rig->map[RIG_DESCRIPTOR].id, .bytes = bytes, .offset = offset },
	};
	return tn_exec_begin(&rig->table, rig->exec);
}

int rig_step(struct rig *rig)
{
	uint64_t work = rig->exec->work;
	int status;

	memset(rig->scratch, 0xee, sizeof(*rig->scratch));
	status = tn_exec_step(&rig->table, rig->exec, rig->scratch);
	assert_in_range(rig->exec->work - work, status == TN_MORE ? TN_UNIT_WORK : 0, RIG_STEP_WORK);
	return status;
}

int rig_run(struct rig *rig, const struct tdi_op *op, const struct tdi_tensor *tensors)
{
	int status = rig_begin(rig, op, tensors);

	while (status == TN_MORE)
		status = rig_step(rig);
	return status;
}

struct tdi_tensor rig_tensor(uint32_t buffer, uint8_t dtype, uint64_t offset, const uint32_t *shape)
{
	struct tdi_tensor tensor = { .buffer = buffer, .dtype = dtype, .offset = offset };
	uint64_t step = dtype == TDI_I8 ? 1 : dtype == TDI_I64 ? 8 : 4;
	unsigned int axis;

	while (shape[tensor.rank])
		tensor.rank++;
	for (axis = tensor.rank; axis-- > 0;) {
		tensor.shape[axis] = shape[axis];
		tensor.stride[axis] = step;
		step *= shape[axis];
	}
	return tensor;
}

uint32_t rig_f32(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}
