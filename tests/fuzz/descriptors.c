// SPDX-License-Identifier: MIT
/*
 * One command on the engine alone, twice: with buffers in one piece and with buffers in scattered pages.
 *
 * Input: struct shape; a byte of flags; the SQE; what the buffers contain, descriptors first.
 *
 * A command that is refused has changed nothing; one that is run writes only where it may, in bounded steps,
 * and does the same wherever its buffers are. [CMD-3, CMD-10, BUF-9, ARB-4, TEN-7]
 */
#include "fuzz.h"

#include <string.h>

#define TAKE_AWAY	1	/* flag: a buffer is unmapped after so many steps as the other bits say */
#define MUCH_WORK	(4 << 20)

static struct world world;
static struct tn_scratch scratch;

struct result {
	int status;
	bool refused, whole;
	uint32_t info, units;
	uint8_t content[BUFFERS][BUFFER_MAX];
};

static struct result results[2];

static int step(const struct tn_table *table, struct tn_exec *exec)
{
	uint64_t before = exec->work;
	int status = tn_exec_step(table, exec, &scratch);

	if (exec->work - before >= 3 * TN_UNIT_WORK)
		bug("a step did %llu units of work", (unsigned long long)(exec->work - before));
	return status;
}

static void run(const struct shape *shape, const struct tdi_sqe *sqe, unsigned int flags, bool scattered,
		struct input in, struct result *r)
{
	static struct tn_exec exec;
	struct tn_map map[BUFFERS + 1];
	const struct tn_table table = { .space = &world.space, .map = map, .maps = BUFFERS + 1 };
	unsigned int i, steps = 0;
	uint64_t start;

	world_begin(&world, shape, scattered, in);
	memset(map, 0, sizeof(map));
	/* Two ids of the same memory may differ with where it is. */
	for (i = 0; i < BUFFER_ALIAS; i++)
		map[i + 1] = world.buffer[i].map;
	/* What one command leaves there is no business of the next. */
	memset(&exec, 0xa5, sizeof(exec));
	memset(&scratch, 0x5a, sizeof(scratch));
	exec.sqe = *sqe;
	exec.work = start = 0;
	exec.info = exec.units = 0;
	r->status = tn_exec_begin(&table, &exec);
	r->refused = r->status != TN_MORE;
	if (r->refused && (r->status == TDI_SC_OK || r->status >= TDI_SC_CANCELED))
		bug("begin gave status %#x", r->status);
	start = exec.work;
	while (r->status == TN_MORE && exec.work - start < MUCH_WORK && steps < 4096) {
		if (flags & TAKE_AWAY && steps == flags >> 4)
			memset(&map[1 + (flags >> 1) % BUFFER_ALIAS], 0, sizeof(map[0]));
		r->status = step(&table, &exec);
		steps++;
	}
	r->whole = r->status != TN_MORE;
	if (!r->status || r->status == TN_SIGNALED)
		reached(sqe->opcode == TDI_OP_TENSOR ? 32u + exec.tensor.op.op : sqe->opcode);
	r->info = exec.info;
	r->units = exec.units;
	if (r->whole && r->status != TN_PARK && r->status != TN_SIGNALED &&
	    !known_status((unsigned int)r->status))
		bug("status %#x", r->status);
	if (r->refused)
		world_unchanged(&world);
	else
		world_check(&world);
	for (i = 0; i < BUFFER_ALIAS; i++)
		world_read(&world, i, r->content[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct shape shape;
	struct tdi_sqe sqe;
	unsigned int flags, i;

	if (!world.space.regions)
		world_init(&world);
	take_shape(&in, &shape);
	flags = take_u8(&in);
	take(&in, &sqe, sizeof(sqe));
	for (i = 0; i < 2; i++)
		run(&shape, &sqe, flags, i, in, &results[i]);
	/* When a buffer goes, or patience ends, how far they are may differ. */
	if (flags & TAKE_AWAY || !results[0].whole || !results[1].whole)
		return 0;
	if (results[0].status == TDI_SC_ALIGNMENT || results[1].status == TDI_SC_ALIGNMENT)
		return 0;	/* a semaphore may lie across two blocks */
	if (results[0].status != results[1].status || results[0].info != results[1].info)
		bug("status %#x, info %#x; in scattered pages %#x, %#x", results[0].status, results[0].info,
		    results[1].status, results[1].info);
	if (results[0].status && !results[0].refused)
		return 0;	/* how much was done before it failed may differ, too */
	for (i = 0; i < BUFFER_ALIAS; i++)
		if (memcmp(results[0].content[i], results[1].content[i], shape.length[i]))
			bug("buffer %u differs when its pages are scattered", i);
	return 0;
}
