// SPDX-License-Identifier: MIT
/*
 * Admin commands, to a device of its own for each input, which also runs what is put into queues.
 *
 * Input: how many commands, up to 64; for each a byte of flags and the command, or as much of it as the flags
 * say; then what the transport's memory contains. So rings, buffers and arrays may be anything, and the same
 * memory.
 *
 * Each command ends at once with a status that there is, says with FIELD which field is meant, and nothing is
 * left when the device ends. [ADM-3, ADM-5, ADM-6, ADM-14]
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY_BASE	0x10000ULL
#define MEMORY_BYTES	(16 * TDI_PAGE_SIZE)
#define QUICK_NS	3000000000ULL

static void on_event(void *attach, uint32_t queue)
{
}

static uint64_t real_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void run(struct tn_device *device, struct tn_space *space, const struct tdi_admin_sqe *sqe)
{
	uint64_t start = real_now();
	struct tdi_admin_cqe cqe;

	memset(&cqe, 0xff, sizeof(cqe));
	tn_admin(device, space, sqe, &cqe);
	if (real_now() - start > QUICK_NS)
		bug("admin command %#x took %llu ns", sqe->opcode, (unsigned long long)(real_now() - start));
	if (cqe.status > TDI_AS_NO_MEMORY)
		bug("admin command %#x: status %#x", sqe->opcode, cqe.status);
	if (!cqe.status)
		reached(sqe->opcode);
	if (cqe.command != sqe->command || cqe.reserved0 || cqe.reserved1 || cqe.reserved2)
		bug("admin command %#x: a CQE that isn't its", sqe->opcode);
	if (cqe.status == TDI_AS_FIELD ? !cqe.info || cqe.info >= sizeof(*sqe) : cqe.info)
		bug("admin command %#x: status %#x, info %#x", sqe->opcode, cqe.status, cqe.info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct tn_device_options options = {
		.virtual_clock = true, .workers = 1, .notice = on_event, .stopped = on_event,
	};
	static _Alignas(TDI_PAGE_SIZE) uint8_t memory[MEMORY_BYTES];
	struct input in = { data, size }, content;
	struct tn_device *device;
	struct tdi_admin_sqe sqe[64];
	struct tn_space space = { 0 };
	unsigned int i, count = take_u8(&in) % 64;

	for (i = 0; i < count; i++) {
		/* Most commands are short, and a zero at their end is what is wanted. */
		unsigned int length = 8 + take_u8(&in) % 57;

		memset(&sqe[i], 0, sizeof(sqe[i]));
		take(&in, &sqe[i], length);
	}
	content = in;
	take(&content, memory, sizeof(memory));
	if (tn_device_create(&options, &device) || tn_space_add(&space, MEMORY_BASE, sizeof(memory), memory))
		bug("no device");
	for (i = 0; i < count; i++)
		run(device, &space, &sqe[i]);
	tn_device_destroy(device);
	tn_space_free(&space);
	return 0;
}
