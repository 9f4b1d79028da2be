// SPDX-License-Identifier: MIT
/*
 * Fuzz: tensor descriptors, on the engine alone. Input: what the buffers hold; the descriptor is at the start of
 * buffer 1. Buffers as in sqe.c. A command ends after a bounded number of steps of bounded work.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_memory memory;
	static struct tn_scratch scratch;
	static struct tn_exec exec;
	static __le64 blocks[8];
	static struct tn_space space;
	static struct tn_map map[4] = {
		[1] = { TDI_BUFFER_ID(1, 1), TDI_BUFFER_READ | TDI_BUFFER_INLINE, FUZZ_READ_ONLY, 0, FUZZ_BASE, 63 },
		[2] = { TDI_BUFFER_ID(2, 1), TDI_BUFFER_READ | TDI_BUFFER_WRITE | TDI_BUFFER_INLINE, FUZZ_MEMORY / 4, 0,
			FUZZ_BASE + FUZZ_READ_ONLY, 63 },
		[3] = { TDI_BUFFER_ID(3, 1), TDI_BUFFER_WRITE, FUZZ_MEMORY / 2, 0, 4096, 12 },
	};
	const struct tn_table table = { .space = &space, .map = map, .maps = 4 };
	unsigned int tensors, steps = 0, i;
	int status;

	if (!space.regions) {
		need(!tn_space_add(&space, FUZZ_BASE, FUZZ_MEMORY, memory.memory));
		need(!tn_space_add(&space, 4096, sizeof(blocks), blocks));
		for (i = 0; i < 8; i++)
			blocks[i] = FUZZ_BASE + FUZZ_MEMORY / 2 + 4096 * ((i * 3) % 8);
	}
	if (size < sizeof(struct tdi_op))
		return 0;
	fuzz_memory_init(&memory, data, size);
	tensors = data[offsetof(struct tdi_op, inputs)] + data[offsetof(struct tdi_op, outputs)];
	memset(&exec.sqe, 0, sizeof(exec.sqe));
	exec.sqe.opcode = TDI_OP_TENSOR;
	exec.sqe.tensor.buffer = TDI_BUFFER_ID(1, 1);
	exec.sqe.tensor.bytes = (__u32)TDI_OP_BYTES(tensors);
	status = tn_exec_begin(&table, &exec);
	/* Strides of 0 let a small input name a large operation; a part of it will do. */
	while (status == TN_MORE && steps++ < 200) {
		uint64_t before = exec.work;

		status = tn_exec_step(&table, &exec, &scratch);
		need(exec.work - before <= 3 * TN_UNIT_WORK);
	}
	need(status == TN_MORE || (status >= 0 && status <= TDI_SC_DEVICE));
	fuzz_memory_check(&memory, data, size);
	return 0;
}
