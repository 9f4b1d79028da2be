/* SPDX-License-Identifier: MIT */
/*
 * A buffer table with memory behind it, and tensor commands run on it as a worker of tenond does.
 *
 * Between two steps the scratch is overwritten and the work of the step is checked to be bounded. Memory
 * around a buffer that shares its blocks is checked to stay as it was.
 */
#ifndef RIG_H
#define RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/engine.h"

enum rig_layout {
	RIG_INLINE,	/* one block */
	RIG_BLOCKS,	/* 4 KiB blocks, apart and in no order */
	RIG_SHIFTED,	/* the same, the first byte anywhere in the first block: elements lie in two blocks */
	RIG_LAYOUTS,
};

#define RIG_BUFFERS	12
#define RIG_DESCRIPTOR	(RIG_BUFFERS - 1)	/* the buffer that descriptors are written to */

/* More than this in one step is more than "about" a unit. */
#define RIG_STEP_WORK	(3 * TN_UNIT_WORK)

struct rig_buffer {
	uint64_t bytes;
	uint64_t first;
	uint64_t blocks;	/* 0: inline */
	uint8_t **block;
	uint64_t array;		/* transport address of the array */
	uint64_t *address;
};

struct rig {
	enum rig_layout layout;
	struct tn_space space;
	struct tn_map map[RIG_BUFFERS];
	struct tn_table table;
	struct rig_buffer buffer[RIG_BUFFERS];
	uint64_t next;		/* free transport addresses */
	uint32_t random;
	struct tn_exec *exec;
	struct tn_scratch *scratch;
};

struct rig *rig_new(enum rig_layout layout);
void rig_free(struct rig *rig);

/* Map @bytes bytes with the content @data (NULL: zero) as buffer @index; the id. */
uint32_t rig_map(struct rig *rig, unsigned int index, const void *data, uint64_t bytes, uint32_t rights);
void rig_unmap(struct rig *rig, unsigned int index);
/* What the host sees. */
void rig_read(const struct rig *rig, unsigned int index, uint64_t offset, void *to, uint64_t bytes);
void rig_write(struct rig *rig, unsigned int index, uint64_t offset, const void *from, uint64_t bytes);

/* Write the descriptor and begin; TN_MORE or a status. */
int rig_begin(struct rig *rig, const struct tdi_op *op, const struct tdi_tensor *tensors);
int rig_step(struct rig *rig);
int rig_run(struct rig *rig, const struct tdi_op *op, const struct tdi_tensor *tensors);

/* A dense row-major tensor of up to four axes; extents end with 0. */
struct tdi_tensor rig_tensor(uint32_t buffer, uint8_t dtype, uint64_t offset, const uint32_t *shape);
#define TENSOR(buffer, dtype, offset, ...) \
	rig_tensor(buffer, dtype, offset, (const uint32_t[]){ __VA_ARGS__, 0 })
#define SCALAR(buffer, dtype, offset) rig_tensor(buffer, dtype, offset, (const uint32_t[]){ 0 })

uint32_t rig_f32(float value);

#endif /* RIG_H */
