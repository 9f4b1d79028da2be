// SPDX-License-Identifier: MIT
/*
 * costs NODE ioctl|admin|memory DEVICE: what calls of the node of DEVICE cost, for tests/lab/bench. Prints
 * "RESULT NAME VALUE BASELINE".
 *
 * Under -icount the time-stamp counter counts instructions. A batch may have a timer tick in it, so the batch
 * that counts is the cheapest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/tenon_drm.h>
#include <linux/io_uring.h>
#include <linux/tdi.h>
#include <tenon/ring.h>

#define PAGE	4096u
#define RW	(TDI_BUFFER_READ | TDI_BUFFER_WRITE)
#define LARGE	(2u << 20)
#define DEPTH	128u
#define OBJECTS	900u	/* the device has 1,024 queues and contexts */
#define TRACE	"/sys/kernel/tracing/trace"

#define PARTITIONS 200u
#define CONFIG	"/sys/kernel/config/tenon"

static const char *node, *device;
static int fd;

static void need(bool good, const char *what)
{
	if (good)
		return;
	printf("# costs: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define NEED(condition) need(condition, #condition)

static void result(const char *name, double value, double baseline)
{
	printf("RESULT %s %.6g %.6g\n", name, value, baseline);
}

static uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static void *map(int file, size_t bytes, int prot, int flags, uint64_t offset)
{
	void *at = mmap(NULL, bytes, prot, MAP_SHARED | flags, file, (off_t)offset);

	NEED(at != MAP_FAILED);
	return at;
}

static int node_open(void)
{
	int file = open(node, O_RDWR | O_CLOEXEC);

	NEED(file >= 0);
	return file;
}

static uint32_t buffer_create(int file, uint64_t size)
{
	struct drm_tenon_buffer_create create = { .size = size };

	NEED(!ioctl(file, DRM_IOCTL_TENON_BUFFER_CREATE, &create));
	return create.handle;
}

static uint32_t buffer_map(int file, uint32_t handle, uint64_t bytes)
{
	struct drm_tenon_buffer_map args = { .handle = handle, .flags = RW, .bytes = bytes };

	NEED(!ioctl(file, DRM_IOCTL_TENON_BUFFER_MAP, &args));
	return args.buffer;
}

static struct drm_tenon_queue_create queue_create(int file, uint32_t depth)
{
	struct drm_tenon_queue_create create = { .depth = depth, .eventfd = -1 };

	NEED(!ioctl(file, DRM_IOCTL_TENON_QUEUE_CREATE, &create));
	return create;
}

static void queue_destroy(int file, uint32_t queue)
{
	struct drm_tenon_queue_destroy destroy = { .queue = queue };

	NEED(!ioctl(file, DRM_IOCTL_TENON_QUEUE_DESTROY, &destroy));
}

/* ------------------------------------------------------- calls that don't wait for the device */

#define CALLS	50
#define BATCHES	200

static struct drm_get_cap cap = { .capability = DRM_CAP_PRIME };
static struct drm_tenon_queue_kick kick;
static struct drm_tenon_queue_wait ready;

static double per_call(unsigned long cmd, void *arg)
{
	uint64_t least = UINT64_MAX, start, took;

	NEED(!ioctl(fd, cmd, arg));
	for (unsigned int i = 0; i < BATCHES; i++) {
		start = ticks();
		for (unsigned int j = 0; j < CALLS; j++)
			ioctl(fd, cmd, arg);
		took = ticks() - start;
		least = took < least ? took : least;
	}
	NEED(!ioctl(fd, cmd, arg));
	return (double)least / CALLS;
}

static void write_to(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);

	NEED(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
	close(file);
}

static unsigned int nodes(void)
{
	unsigned int count;
	glob_t found;

	NEED(!glob("/sys/class/accel/accel*", 0, NULL, &found));
	count = (unsigned int)found.gl_pathc;
	globfree(&found);
	return count;
}

/* All but the default one, which is there already, come or go; then the numbers of those that were. */
static void partitions(bool come)
{
	char path[160], number[16];

	for (unsigned int i = 1; i < PARTITIONS; i++) {
		snprintf(path, sizeof(path), CONFIG "/%s/p%u", device, i);
		if (come) {
			NEED(!mkdir(path, 0755));
			strcat(path, "/enable");
			write_to(path, "1");
		} else {
			NEED(!rmdir(path));
		}
	}
	while (nodes() != (come ? PARTITIONS : 1))
		usleep(10000);
	for (unsigned int i = 1; !come && i < PARTITIONS; i++) {
		snprintf(number, sizeof(number), "%u", i);
		write_to(CONFIG "/reap", number);
	}
}

/* A queue whose first command has completed. */
static void bench_ioctl(void)
{
	struct drm_tenon_queue_create q = queue_create(fd, DEPTH);
	void *ring = map(fd, q.tenant_bytes, PROT_READ | PROT_WRITE, 0, q.tenant_offset);
	struct tdi_sqe *sq = (struct tdi_sqe *)((char *)ring + PAGE);
	struct tdi_producer_page *producer = ring;
	struct timespec now;
	double get_cap, one;

	sq[q.first % DEPTH] = (struct tdi_sqe){ .opcode = TDI_OP_NOP };
	tenon_store_release(&producer->tail, q.first + 1);
	kick.queue = q.queue;
	NEED(!ioctl(fd, DRM_IOCTL_TENON_QUEUE_KICK, &kick));
	clock_gettime(CLOCK_MONOTONIC, &now);
	ready = (struct drm_tenon_queue_wait){
		.queue = q.queue, .sequence = q.first + 1, .deadline_ns = (now.tv_sec + 100) * 1000000000LL,
	};
	NEED(!ioctl(fd, DRM_IOCTL_TENON_QUEUE_WAIT, &ready));

	get_cap = per_call(DRM_IOCTL_GET_CAP, &cap);
	one = per_call(DRM_IOCTL_TENON_QUEUE_KICK, &kick);
	result("ioctl.kick_ratio", one / get_cap, get_cap);
	result("ioctl.wait_ready_ratio", per_call(DRM_IOCTL_TENON_QUEUE_WAIT, &ready) / get_cap, get_cap);
	partitions(true);
	result("ioctl.kick_200_partitions_ratio", per_call(DRM_IOCTL_TENON_QUEUE_KICK, &kick) / one, one);
	partitions(false);
}

/* ---------------------------------------------------------- calls with one admin command each */

#define ADMIN_CALLS	4
#define ADMIN_BATCHES	10

struct span {
	uint64_t start;
	uint64_t end;
};

static void clear_trace(void)
{
	int file = open(TRACE, O_WRONLY | O_TRUNC);

	NEED(file >= 0);
	close(file);
}

/* The stamp of the line if it is of this event. */
static bool stamped(const char *line, const char *event, uint64_t *at)
{
	const char *end = strstr(line, event);

	if (!end)
		return false;
	while (end > line && end[-1] >= '0' && end[-1] <= '9')
		end--;
	*at = strtoull(end, NULL, 10);
	return true;
}

/* How long a call waited: from when its command was handed over to the interrupt that brought the answer. */
static void waits(const struct span *calls, uint64_t *wait)
{
	uint64_t at, submit = 0, irq = 0;
	FILE *trace = fopen(TRACE, "r");
	unsigned int call = 0;
	char line[512];

	NEED(trace);
	while (call < ADMIN_CALLS && fgets(line, sizeof(line), trace)) {
		if (stamped(line, ": tenon_admin_submit:", &at)) {
			if (at < calls[call].start)
				continue;
			NEED(!submit && at < calls[call].end);
			submit = at;
			irq = 0;
		} else if (stamped(line, ": irq_handler_entry:", &at)) {
			irq = at;
		} else if (submit && stamped(line, ": tenon_admin_complete:", &at)) {
			NEED(irq > submit && at > irq && at < calls[call].end);
			wait[call++] = irq - submit;
			submit = 0;
		}
	}
	NEED(call == ADMIN_CALLS);
	fclose(trace);
}

/* Instructions of one @call; @undo isn't counted. With the waits for the device taken off if it @waited. */
static double per_object(uint32_t (*call)(void), void (*undo)(uint32_t made), bool waited)
{
	uint64_t least = UINT64_MAX, took, wait[ADMIN_CALLS];
	struct span calls[ADMIN_CALLS];
	uint32_t made[ADMIN_CALLS];

	for (unsigned int i = 0; i < ADMIN_BATCHES; i++) {
		memset(wait, 0, sizeof(wait));
		clear_trace();
		for (unsigned int j = 0; j < ADMIN_CALLS; j++) {
			calls[j].start = ticks();
			made[j] = call();
			calls[j].end = ticks();
		}
		if (waited)
			waits(calls, wait);
		took = 0;
		for (unsigned int j = 0; j < ADMIN_CALLS; j++) {
			took += calls[j].end - calls[j].start - wait[j];
			undo(made[j]);
		}
		least = took < least ? took : least;
	}
	return (double)least / ADMIN_CALLS;
}

static uint32_t make_file(void)
{
	int file = memfd_create("bench", MFD_CLOEXEC);

	NEED(file >= 0 && !ftruncate(file, LARGE));
	return (uint32_t)file;
}

static uint32_t make_io_uring(void)
{
	struct io_uring_params params = { 0 };
	int file = (int)syscall(SYS_io_uring_setup, DEPTH, &params);

	NEED(file >= 0);
	return (uint32_t)file;
}

static void end_file(uint32_t file)
{
	close((int)file);
}

static uint32_t make_buffer(void)
{
	return buffer_create(fd, LARGE);
}

static void end_buffer(uint32_t handle)
{
	NEED(!ioctl(fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = handle }));
}

static uint32_t make_queue(void)
{
	return queue_create(fd, DEPTH).queue;
}

static void end_queue(uint32_t queue)
{
	queue_destroy(fd, queue);
}

static uint32_t large;		/* handle of a buffer whose pages are there */
static int large_file;		/* and a file of that size, likewise */
static void *mapped[ADMIN_CALLS];

static uint32_t make_map(void)
{
	return buffer_map(fd, large, LARGE);
}

static void end_map(uint32_t buffer)
{
	NEED(!ioctl(fd, DRM_IOCTL_TENON_BUFFER_UNMAP, &(struct drm_tenon_buffer_unmap){ .buffer = buffer }));
}

static uint32_t make_cpu_map(void)
{
	static uint32_t next;
	uint32_t i = next++ % ADMIN_CALLS;

	mapped[i] = map(large_file, LARGE, PROT_READ | PROT_WRITE, MAP_POPULATE, 0);
	return i;
}

static void end_cpu_map(uint32_t i)
{
	munmap(mapped[i], LARGE);
}

/* A new buffer as the CPU sees it. */
static unsigned char *buffer_memory(uint32_t handle)
{
	struct drm_tenon_buffer_info info = { .handle = handle };

	NEED(!ioctl(fd, DRM_IOCTL_TENON_BUFFER_INFO, &info));
	return map(fd, info.size, PROT_READ | PROT_WRITE, 0, info.offset);
}

/*
 * The pages that are free first have neighbours in use, so that the large buffer is in as many pieces as can
 * be. Else the cost would tell how the kernel has booted.
 */
#define SINGLES	700

static void bench_admin(void)
{
	static uint32_t single[2 * SINGLES];
	static unsigned char *memory[2 * SINGLES];
	unsigned int i;

	printf("# costs: buffers\n");
	result("buffer.create_2m_instructions", per_object(make_buffer, end_buffer, false),
	       per_object(make_file, end_file, false));
	for (i = 0; i < 2 * SINGLES; i++) {
		single[i] = buffer_create(fd, PAGE);
		memory[i] = buffer_memory(single[i]);
	}
	for (i = 0; i < 2 * SINGLES; i += 2) {
		munmap(memory[i], PAGE);
		end_buffer(single[i]);
	}
	large = buffer_create(fd, LARGE);
	memset(buffer_memory(large), 1, LARGE);
	large_file = (int)make_file();
	memset(map(large_file, LARGE, PROT_READ | PROT_WRITE, 0, 0), 1, LARGE);
	/* Makes the context, which nobody else shall pay for. */
	end_map(make_map());

	result("buffer.map_instructions", per_object(make_map, end_map, true),
	       per_object(make_cpu_map, end_cpu_map, false));
	printf("# costs: queues\n");
	result("queue.create_instructions", per_object(make_queue, end_queue, true),
	       per_object(make_io_uring, end_file, false));
}

/* ------------------------------------------------------------------------------------- memory */

/* Pages that are in use: free ones are in the zones' lists and in those of the one CPU. */
static int64_t pages_free(void)
{
	int64_t sum = 0, count;
	char line[256];
	FILE *file;

	/* What is freed by and by has the time for it. */
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	file = fopen("/proc/sys/vm/stat_refresh", "w");
	NEED(file && fputs("1\n", file) >= 0);
	fclose(file);
	file = fopen("/proc/zoneinfo", "r");
	NEED(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " pages free %" SCNd64, &count) == 1 ||
		    sscanf(line, " count: %" SCNd64, &count) == 1)
			sum += count;
	fclose(file);
	return sum;
}

static void per_object_bytes(const char *name, int64_t before, int64_t own_bytes)
{
	int64_t bytes = (before - pages_free()) * PAGE - own_bytes;

	result(name, (double)bytes / OBJECTS, 0);
}

static void bench_memory(void)
{
	struct rlimit files = { 2 * OBJECTS, 2 * OBJECTS };
	static int contexts[OBJECTS];
	static uint32_t queues[OBJECTS];
	struct drm_tenon_queue_create q;
	int64_t before;
	unsigned int i;

	memset(contexts, 1, sizeof(contexts));
	memset(queues, 1, sizeof(queues));
	NEED(!setrlimit(RLIMIT_NOFILE, &files));
	/* One of each first, for all that is made once. */
	q = queue_create(fd, 2);
	buffer_map(fd, buffer_create(fd, PAGE), PAGE);
	queue_destroy(fd, q.queue);
	/* The table of files, too. */
	NEED(dup2(0, OBJECTS + 100) >= 0);
	pages_free();

	printf("# costs: %u contexts\n", OBJECTS);
	before = pages_free();
	for (i = 0; i < OBJECTS; i++) {
		contexts[i] = node_open();
		buffer_map(contexts[i], buffer_create(contexts[i], PAGE), PAGE);
	}
	per_object_bytes("memory.per_context_bytes", before, (int64_t)OBJECTS * PAGE);

	printf("# costs: %u queues\n", OBJECTS);
	before = pages_free();
	for (i = 0; i < OBJECTS; i++) {
		q = queue_create(contexts[i / TDI_CONTEXT_QUEUES], 2);
		queues[i] = q.queue;
	}
	per_object_bytes("memory.per_queue_bytes", before,
			 (int64_t)OBJECTS * (q.tenant_bytes + q.device_bytes));

	for (i = 0; i < OBJECTS; i++)
		queue_destroy(contexts[i / TDI_CONTEXT_QUEUES], queues[i]);
	for (i = 0; i < OBJECTS; i++)
		close(contexts[i]);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	NEED(argc == 4);
	node = argv[1];
	device = argv[3];
	fd = node_open();
	NEED(!mlockall(MCL_CURRENT));
	if (!strcmp(argv[2], "ioctl"))
		bench_ioctl();
	else if (!strcmp(argv[2], "admin"))
		bench_admin();
	else
		bench_memory();
	return 0;
}
