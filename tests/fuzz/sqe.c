// SPDX-License-Identifier: MIT
/*
 * Fuzz: commands of a queue. Input: a number of commands, so many 64-byte entries, then what the buffers hold
 * (descriptors too). Buffer 1 is read only, 2 both, 3 write only in scattered 4 KiB blocks. Each command ends
 * with one CQE in order, and nothing outside of the buffers changes, nor what is read only.
 */
#include <sched.h>
#include <time.h>

#include "fuzz.h"

#define DEPTH 16

static struct ring {
	_Alignas(4096) struct tdi_producer_page producer;
	_Alignas(4096) struct tdi_sqe sq[DEPTH];
	_Alignas(4096) struct tdi_device_page device;
	_Alignas(4096) struct tdi_cqe cq[DEPTH];
	_Alignas(4096) __le64 blocks[8];
} ring;
static struct fuzz_memory memory;
static struct tn_space space;
static struct tn_device *device;

static void nothing(void *attach, uint32_t queue)
{
}

static void admin(const struct tdi_admin_sqe *sqe)
{
	struct tdi_admin_cqe cqe;

	tn_admin(device, &space, sqe, &cqe);
	need(!cqe.status);
}

static void map(uint32_t index, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_MAP };

	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(index, 1);
	sqe.buffer.flags = flags;
	sqe.buffer.length = length;
	sqe.buffer.address = offset;
	sqe.buffer.shift = flags & TDI_BUFFER_INLINE ? 63 : 12;
	admin(&sqe);
}

static void begin(void)
{
	static const struct tn_device_options options = {
		.virtual_clock = true, .workers = 1, .notice = nothing, .stopped = nothing,
	};
	struct tdi_admin_sqe group = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };
	struct tdi_admin_sqe context = { .opcode = TDI_ADMIN_CONTEXT_CREATE, .generation = 1 };
	unsigned int i;

	need(!tn_device_create(&options, &device));
	need(!tn_space_add(&space, FUZZ_BASE, FUZZ_MEMORY, memory.memory));
	need(!tn_space_add(&space, 4096, sizeof(ring), &ring));
	admin(&group);
	context.context.group_generation = 1;
	admin(&context);
	/* The last half, its blocks in another order. */
	for (i = 0; i < 8; i++)
		ring.blocks[i] = FUZZ_BASE + FUZZ_MEMORY / 2 + 4096 * ((i * 3) % 8);
	map(1, FUZZ_BASE, FUZZ_READ_ONLY, TDI_BUFFER_READ | TDI_BUFFER_INLINE);
	map(2, FUZZ_BASE + FUZZ_READ_ONLY, FUZZ_MEMORY / 4, TDI_BUFFER_READ | TDI_BUFFER_WRITE | TDI_BUFFER_INLINE);
	map(3, 4096 + offsetof(struct ring, blocks), FUZZ_MEMORY / 2, TDI_BUFFER_WRITE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tdi_admin_sqe create = { .opcode = TDI_ADMIN_QUEUE_CREATE, .generation = 1 };
	struct tdi_admin_sqe destroy = { .opcode = TDI_ADMIN_QUEUE_DESTROY, .generation = 1 };
	uint32_t first = TDI_FIRST_INDEX(DEPTH), count, i;
	time_t start = time(NULL);

	if (!device)
		begin();
	count = size ? data[0] % (DEPTH + 1) : 0;
	if (!count || size < 1 + count * sizeof(struct tdi_sqe))
		return 0;
	memcpy(ring.sq, data + 1, count * sizeof(struct tdi_sqe));
	data += 1 + count * sizeof(struct tdi_sqe);
	size -= 1 + count * sizeof(struct tdi_sqe);
	fuzz_memory_init(&memory, data, size);

	memset(&ring.producer, 0, sizeof(ring.producer));
	memset(&ring.device, 0, sizeof(ring.device));
	ring.producer.wanted = first;
	ring.producer.wanted_kernel = first;
	tenon_ring_init_cq(ring.cq, DEPTH, first);
	tenon_store_release(&ring.producer.tail, first + count);
	create.queue.first = first;
	create.queue.context_generation = 1;
	create.queue.depth_log2 = 4;
	create.queue.producer = 4096 + offsetof(struct ring, producer);
	create.queue.sq = 4096 + offsetof(struct ring, sq);
	create.queue.device = 4096 + offsetof(struct ring, device);
	create.queue.cq = 4096 + offsetof(struct ring, cq);
	admin(&create);
	tn_device_wake(device);
	for (i = 0; i < count; i++) {
		const struct tdi_cqe *cqe = &ring.cq[i];

		while (tenon_load_acquire(&cqe->sequence) != first + i + 1) {
			need(time(NULL) - start < 20);
			sched_yield();
		}
		need(!cqe->reserved && cqe->status <= TDI_SC_DEVICE);
	}
	destroy.queue.queue = 0;
	admin(&destroy);
	need(ring.device.fetched == first + count);
	fuzz_memory_check(&memory, data, size);
	return 0;
}
