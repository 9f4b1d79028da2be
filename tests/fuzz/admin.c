// SPDX-License-Identifier: MIT
/*
 * Fuzz: admin commands. Input: 64-byte commands, run one after the other on a new device whose space has memory
 * at 4096. Each completes with a status, and the device ends without a leak.
 */
#include "fuzz.h"

#define COMMANDS 64

static void nothing(void *attach, uint32_t queue)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tn_device_options options = {
		.virtual_clock = true, .workers = 1, .notice = nothing, .stopped = nothing,
	};
	static struct fuzz_memory memory;
	struct tn_space space = { 0 };
	struct tn_device *device;
	struct tdi_admin_sqe sqe;
	struct tdi_admin_cqe cqe;
	unsigned int i;

	fuzz_memory_init(&memory, NULL, 0);
	need(!tn_device_create(&options, &device));
	need(!tn_space_add(&space, 4096, FUZZ_MEMORY - FUZZ_READ_ONLY, memory.memory + FUZZ_READ_ONLY));
	for (i = 0; i < COMMANDS && size >= sizeof(sqe); i++) {
		memcpy(&sqe, data, sizeof(sqe));
		data += sizeof(sqe);
		size -= sizeof(sqe);
		tn_admin(device, &space, &sqe, &cqe);
		need(cqe.command == sqe.command && cqe.status <= TDI_AS_DEVICE && !cqe.reserved0 && !cqe.reserved1);
		need(!cqe.info || cqe.status == TDI_AS_FIELD);
	}
	tn_device_destroy(device);
	tn_space_free(&space);
	fuzz_memory_check(&memory, NULL, 0);
	return 0;
}
