// SPDX-License-Identifier: MIT
/*
 * A queue of commands on the device model, with its worker and its clock of work done.
 *
 * Input: struct shape; how many commands, 1 to 32; their SQEs; what the buffers contain, descriptors first.
 *
 * Each command ends with exactly one CQE, in order, with a status that there is; nothing is written but the
 * buffers that may be, the device page and the CQ. A queue that is busy for long is destroyed, which must be
 * quick: then what was not fetched has no CQE. [QUE-3, QUE-11, CMD-5, CMD-10, ERR-22, EOA-2]
 */
#include "fuzz.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define DEPTH_LOG2	5
#define DEPTH		(1u << DEPTH_LOG2)
#define RING_BASE	0x300000000ULL
#define CONTEXT		1
#define QUEUE		7
#define PATIENCE_NS	200000000
#define QUICK_NS	3000000000ULL

/* Each area has pages of its own, with bytes around it that the device mustn't touch. */
struct rings {
	_Alignas(TDI_PAGE_SIZE) uint8_t guard0[TDI_PAGE_SIZE];
	union {
		struct tdi_producer_page producer;
		uint8_t producer_bytes[TDI_PAGE_SIZE];
	};
	union {
		struct tdi_sqe sq[DEPTH];
		uint8_t sq_bytes[TDI_PAGE_SIZE];
	};
	uint8_t guard1[TDI_PAGE_SIZE];
	union {
		struct tdi_device_page device;
		uint8_t device_bytes[TDI_PAGE_SIZE];
	};
	uint8_t guard2[TDI_PAGE_SIZE];
	union {
		struct tdi_cqe cq[DEPTH];
		uint8_t cq_bytes[TDI_PAGE_SIZE];
	};
	uint8_t guard3[TDI_PAGE_SIZE];
};

static struct world world;
static struct rings rings, before;
static struct tn_device *device;
static uint32_t generation;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t noticed;
static bool notice, stopped;

static void on_notice(void *attach, uint32_t queue)
{
	pthread_mutex_lock(&lock);
	notice = true;
	pthread_cond_signal(&noticed);
	pthread_mutex_unlock(&lock);
}

static void on_stopped(void *attach, uint32_t queue)
{
	stopped = true;
}

static uint64_t real_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Is there a notice within PATIENCE_NS? */
static bool wait_for_notice(void)
{
	struct timespec until;
	bool came;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PATIENCE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	while (!notice && !pthread_cond_timedwait(&noticed, &lock, &until))
		;
	came = notice;
	notice = false;
	pthread_mutex_unlock(&lock);
	return came;
}

static void admin(struct tdi_admin_sqe sqe)
{
	uint64_t start = real_now();
	struct tdi_admin_cqe cqe;

	tn_admin(device, &world.space, &sqe, &cqe);
	if (cqe.status)
		bug("admin command %#x ended %#x", sqe.opcode, cqe.status);
	if (real_now() - start > QUICK_NS)
		bug("admin command %#x took %llu ns", sqe.opcode, (unsigned long long)(real_now() - start));
}

static void begin(void)
{
	static const struct tn_device_options options = {
		.virtual_clock = true, .workers = 1, .notice = on_notice, .stopped = on_stopped,
	};
	pthread_condattr_t clock;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&noticed, &clock);
	world_init(&world);
	if (tn_space_add(&world.space, RING_BASE, sizeof(rings), &rings) ||
	    tn_device_create(&options, &device))
		bug("no device");
	admin((struct tdi_admin_sqe){ .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 });
}

static uint64_t address(const void *at)
{
	return RING_BASE + (uint64_t)((const uint8_t *)at - (const uint8_t *)&rings);
}

/* The rings with @count commands submitted, and a context with the buffers. */
static void submit(struct input *in, unsigned int count)
{
	uint32_t first = TDI_FIRST_INDEX(DEPTH);
	struct tdi_admin_sqe sqe;
	unsigned int i;

	memset(&rings, 0xdd, sizeof(rings));
	for (i = 0; i < count; i++)
		take(in, &rings.sq[i], sizeof(rings.sq[i]));
	rings.producer.tail = first + count;
	rings.producer.wanted = first + count;
	rings.producer.wanted_kernel = first;
	rings.device.fetched = first;
	rings.device.flags = TDI_NEED_KICK;
	tenon_ring_init_cq(rings.cq, DEPTH, first);
	memcpy(&before, &rings, sizeof(rings));

	generation++;
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_CONTEXT_CREATE, .generation = generation };
	sqe.context.context = CONTEXT;
	sqe.context.group_generation = 1;
	admin(sqe);
	for (i = 0; i < BUFFERS; i++) {
		const struct tn_map *map = &world.buffer[i].map;

		sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_BUFFER_MAP };
		sqe.buffer = (struct tdi_admin_buffer){
			.context = CONTEXT, .context_generation = generation, .buffer = map->id,
			.flags = map->flags, .length = map->length, .first = map->first,
			.address = map->address, .shift = map->shift,
		};
		admin(sqe);
	}
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_QUEUE_CREATE, .generation = generation };
	sqe.queue = (struct tdi_admin_queue){
		.queue = QUEUE, .context = CONTEXT, .context_generation = generation, .first = first,
		.depth_log2 = DEPTH_LOG2, .producer = address(&rings.producer), .sq = address(rings.sq),
		.device = address(&rings.device), .cq = address(rings.cq),
	};
	admin(sqe);
}

static void check_rings(unsigned int count, bool all)
{
	uint32_t first = TDI_FIRST_INDEX(DEPTH);
	unsigned int i, done;

	for (done = 0; done < count && rings.cq[done].sequence == first + done + 1; done++) {
		if (rings.cq[done].user_data != before.sq[done].user_data)
			bug("command %u has the user data of another", done);
		if (!known_status(rings.cq[done].status) || rings.cq[done].reserved)
			bug("command %u: status %#x", done, rings.cq[done].status);
		if (!rings.cq[done].status)
			reached(before.sq[done].opcode);
	}
	if (all && done != count)
		bug("%u of %u commands have no CQE", count - done, count);
	if (rings.device.fetched - first < done || rings.device.fetched - first > count)
		bug("fetched is %u with %u of %u commands done", rings.device.fetched - first, done, count);
	for (i = done; i < DEPTH; i++)
		if (memcmp(&rings.cq[i], &before.cq[i], sizeof(rings.cq[i])))
			bug("CQE %u was written, and %u commands are done", i, done);
	if (stopped)
		bug("the queue was stopped");
	before.device.fetched = rings.device.fetched;
	before.device.flags = rings.device.flags;
	memcpy(before.cq, rings.cq, sizeof(rings.cq));
	if (memcmp(&before, &rings, sizeof(rings)))
		bug("something around the rings was written");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size }, content;
	struct tdi_admin_sqe sqe;
	struct shape shape;
	unsigned int count;
	bool all;

	if (!device)
		begin();
	take_shape(&in, &shape);
	count = 1 + take_u8(&in) % DEPTH;
	content = in;
	content.at += count * sizeof(struct tdi_sqe) < in.left ? count * sizeof(struct tdi_sqe) : in.left;
	content.left -= (size_t)(content.at - in.at);
	world_begin(&world, &shape, true, content);
	submit(&in, count);
	all = wait_for_notice();

	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_QUEUE_DESTROY, .generation = generation };
	sqe.queue.queue = QUEUE;
	admin(sqe);
	check_rings(count, all);
	world_check(&world);
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_CONTEXT_DESTROY, .generation = generation };
	sqe.context.context = CONTEXT;
	admin(sqe);
	notice = false;
	return 0;
}
