/* SPDX-License-Identifier: MIT */
/*
 * The reference engine: what commands do. Plain C that defines correct; it works in bounded units.
 *
 * A command is begun once and then stepped until it has a status. Between two steps the worker may run
 * another queue's commands, or the buffer table may change. Nothing here allocates, locks or sleeps.
 */
#ifndef TN_ENGINE_H
#define TN_ENGINE_H

#include <stdint.h>

#include <linux/tdi.h>

#include "../mem.h"

/* What begin and step return: a status (enum tdi_status), or one of these. */
#define TN_MORE			0x10000	/* call step */
#define TN_PARK			0x10001	/* WAIT: the semaphore isn't there yet */
#define TN_SIGNALED		0x10002	/* SIGNAL is done: waiters of exec->address must look again */

/*
 * Work after which a step ends, in elementary operations: a multiply-add, or a byte moved. A tensor command
 * ends its step with the piece that fills it, so that a step is less than three of these.
 */
#define TN_UNIT_WORK		(64 * 1024)

/* Longest time-out of WAIT: an hour. */
#define TN_MAX_WAIT_NS		3600000000000ULL

#define TN_SCRATCH_BYTES	(256 * 1024)

/* Private memory of a worker, for operands on their way; content is lost between steps. */
struct tn_scratch {
	_Alignas(64) uint8_t byte[TN_SCRATCH_BYTES];
};

#define TN_LOOP_OPERANDS	4

/* The axes that a tensor operator walks, outermost first, merged where all operands allow it. */
struct tn_loop {
	uint32_t rank;			/* at least 1 */
	uint64_t shape[TDI_RANK_MAX];
	uint64_t stride[TDI_RANK_MAX][TN_LOOP_OPERANDS];
};

/* What one matrix multiplication step keeps of its output: sums that are not complete yet. */
#define TN_TILE_SUMS		2048

/* One factor of a matrix product, with the axis that it alone gives to the output. */
struct tn_factor {
	uint32_t operand;	/* number of the tensor */
	uint32_t tile;		/* elements of the axis in one tile */
	uint64_t extent;	/* of the axis */
	uint64_t stride;	/* of the factor along the axis */
	uint64_t inner;		/* of the factor along the axis that is summed */
	uint64_t out;		/* of the output along the axis */
	uint64_t addend;	/* of GEMM's C along the axis */
};

/* The engine's private copy of a tensor descriptor, fetched once [TEN], and how far the command is. */
struct tn_tensor_exec {
	struct tdi_op op;
	struct tdi_tensor tensor[TDI_TENSORS_MAX];
	uint64_t elements;	/* of the output */
	uint64_t position;	/* the next piece's first, as the operator counts */
	struct tn_loop loop;
	uint64_t extent;	/* of the axis that is reduced */
	uint64_t reduced;	/* how much of it is done */
	uint32_t phase;		/* of SOFTMAX */
	double best;		/* of SOFTMAX and ARGMAX: the largest so far */
	uint64_t best_at;
	double sum;		/* of SOFTMAX */
	struct tn_factor factor[2];	/* of matrix products: rows, columns */
	union {
		float f32[TN_TILE_SUMS];
		uint32_t u32[TN_TILE_SUMS];
	} acc;
};

/*
 * A command under way. One belongs to each queue and is reused, so that nothing is allocated per command.
 * @sqe is the private copy: the shared one may change at any time.
 */
struct tn_exec {
	struct tdi_sqe sqe;
	uint32_t info;		/* for the CQE */
	uint32_t units;		/* steps taken */
	uint64_t work;		/* elementary operations done; the virtual clock's cost */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t position;	/* of COPY and FILL */
	uint64_t address;	/* transport address of the semaphore of WAIT and SIGNAL */
	struct tn_tensor_exec tensor;
};

/* A command ends since buffer @id can't be reached. [CMD-7] */
static inline int tn_no_access(struct tn_exec *exec, int status, uint32_t id)
{
	exec->info = status == TDI_SC_DEVICE ? 0 : id;
	return status;
}

/* core.c: all opcodes but TENSOR, to which it hands on. begin returns TN_MORE or refuses. */
uint64_t tn_exec_opcodes(void);
int tn_exec_begin(const struct tn_table *table, struct tn_exec *exec);
int tn_exec_step(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch);

/* tensor.c: begin fetches and checks the descriptor; step does at most about TN_UNIT_WORK. */
int tn_tensor_begin(const struct tn_table *table, struct tn_exec *exec);
int tn_tensor_step(const struct tn_table *table, struct tn_exec *exec, struct tn_scratch *scratch);

/* What IDENTIFY tells of the engine. */
uint64_t tn_tensor_ops(void);
uint64_t tn_tensor_dtypes(void);

#endif /* TN_ENGINE_H */
