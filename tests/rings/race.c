/* SPDX-License-Identifier: MIT */
/*
 * Producer, device and reaper over the inline functions of tenon/ring.h and tenon/tenon.h in one process,
 * sleeping and waking for real, across the wrap of the indices [QUE-2], every payload checked [QUE-27].
 * Built with ThreadSanitizer: an order that this processor merely happens to keep is a report and exit
 * status 66.
 *
 *	race [MUTANT]	ends 0; 1 if a payload was wrong or nobody slept; by SIGALRM if a wake-up is lost
 *
 * A MUTANT takes one order out, to show that it would be seen: see mutants[]. Those but "early" need a build
 * with LOOSE defined.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/types.h>

/* A release or an acquire of a word in here is loose, that is, without an order. */
static const char *loose_begin, *loose_end;
static int loose_loads;

#ifdef LOOSE
/* The primitives of ring.h again. */
#define TENON_FULL_BARRIER() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static inline int loose(const __le32 *p)
{
	return (const char *)p >= loose_begin && (const char *)p < loose_end;
}

static inline __u32 tenon_load(const __le32 *p)
{
	return __atomic_load_n((const __u32 *)p, __ATOMIC_RELAXED);
}

static inline __u32 tenon_load_acquire(const __le32 *p)
{
	return loose_loads && loose(p) ? tenon_load(p) : __atomic_load_n((const __u32 *)p, __ATOMIC_ACQUIRE);
}

static inline void tenon_store(__le32 *p, __u32 value)
{
	__atomic_store_n((__u32 *)p, value, __ATOMIC_RELAXED);
}

static inline void tenon_store_release(__le32 *p, __u32 value)
{
	if (!loose_loads && loose(p))
		tenon_store(p, value);
	else
		__atomic_store_n((__u32 *)p, value, __ATOMIC_RELEASE);
}
#endif

#include <tenon/tenon.h>

#define DEPTH 8
#define TOTAL 200000u
#define FIRST TDI_FIRST_INDEX(DEPTH)

static struct tdi_producer_page producer_page;
static struct tdi_device_page device_page = { .flags = TDI_NEED_KICK };
static struct tdi_kernel_page kernel_page;
static struct tdi_sqe sq[DEPTH];
static struct tdi_cqe cq[DEPTH];
static uint64_t memory[DEPTH];		/* host data that the commands write */
static struct tenon_queue queue = {
	.sq = sq,
	.producer = &producer_page,
	.device = &device_page,
	.kernel = &kernel_page,
	.mask = DEPTH - 1,
	.sq_next = FIRST,
	.sq_submitted = FIRST,
	.sq_limit = FIRST + DEPTH,
	.cq = cq,
	.cq_mask = DEPTH - 1,
	.cq_head = FIRST,
};
static int kick_fd, notice_fd, early;
static unsigned int device_sleeps, reaper_sleeps;

static const struct {
	const char *name;
	const void *begin;
	size_t bytes;
	int loads;
} mutants[] = {
	{ "tail-store", &producer_page.tail, sizeof(__le32), 0 },
	{ "tail-load", &producer_page.tail, sizeof(__le32), 1 },
	{ "sequence-store", cq, sizeof(cq), 0 },
	{ "sequence-load", cq, sizeof(cq), 1 },
	{ "head-store", &queue.cq_head, sizeof(__le32), 0 },
	{ "head-load", &queue.cq_head, sizeof(__le32), 1 },
	{ "early", NULL, 0, 0 },	/* the sequence before the payload */
};

static void check(int good, const char *words, __u32 index)
{
	if (good)
		return;
	fprintf(stderr, "command %#x: %s\n", index, words);
	_exit(1);
}

static void post(int fd)
{
	uint64_t one = 1;

	check(write(fd, &one, sizeof(one)) == sizeof(one), "eventfd", 0);
}

static void drain(int fd)
{
	uint64_t count;

	check(read(fd, &count, sizeof(count)) == sizeof(count) || errno == EAGAIN, "eventfd", 0);
}

static void sleep_on(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	check(poll(&p, 1, -1) == 1, "poll", 0);
}

static unsigned int dice(unsigned int *state, unsigned int sides)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 16) % sides;
}

static uint64_t payload(__u32 index, unsigned int word)
{
	return (index + 1) * 0x9e3779b97f4a7c15 + word;
}

/* The slow ends of tenon.h. */
int tenon_queue_kick_(struct tenon_queue *q)
{
	post(kick_fd);
	return 0;
}

const struct tdi_cqe *tenon_queue_dead_cqe_(struct tenon_queue *q)
{
	return NULL;
}

static void *produce(void *arg)
{
	unsigned int state = 1, word;
	__u32 i;

	for (i = FIRST; i != FIRST + TOTAL; i++) {
		struct tdi_sqe *sqe;

		while (!(sqe = tenon_sqe_get(&queue))) {
			tenon_submit(&queue);
			sched_yield();
		}
		sqe->user_data = payload(i, 6);
		for (word = 0; word < 6; word++)
			sqe->raw[word] = payload(i, word);
		if (!dice(&state, 3))
			tenon_submit(&queue);
		if (!dice(&state, 200))
			usleep(100);
	}
	tenon_submit(&queue);
	return NULL;
}

static void execute(__u32 i)
{
	struct tdi_cqe cqe = { .busy_ns = payload(i, 7), .units = i }, *slot = &cq[i & (DEPTH - 1)];
	struct tdi_sqe sqe;
	unsigned int word;

	memcpy(&sqe, &sq[i & (DEPTH - 1)], sizeof(sqe));
	for (word = 0; word < 6; word++)
		check(sqe.raw[word] == payload(i, word), "the device read another entry", i);
	cqe.user_data = sqe.user_data;
	memory[i & (DEPTH - 1)] = payload(i, 8);
	if (early) {
		tenon_store_release(&slot->sequence, i + 1);
		slot->user_data = cqe.user_data;
		slot->busy_ns = cqe.busy_ns;
		slot->units = cqe.units;
	} else {
		tenon_ring_complete(slot, &cqe, i + 1);
	}
}

static void *device(void *arg)
{
	unsigned int state = 2, patience = 0;
	__u32 done = FIRST, noticed = FIRST, tail;

	while (done != FIRST + TOTAL) {
		tail = tenon_load_acquire(&producer_page.tail);
		while (done != tail) {
			execute(done++);
			if (done != tail && dice(&state, 2))
				continue;	/* one look at W may serve several completions */
			if (tenon_ring_due(&producer_page, noticed, done))
				post(notice_fd);
			noticed = done;
			patience = dice(&state, 40);
			if (!dice(&state, 200))
				usleep(100);
		}
		if (patience && patience--)
			continue;
		if (tenon_ring_park(&producer_page, &device_page, TDI_NEED_KICK, done) == 0 &&
		    done != FIRST + TOTAL) {
			device_sleeps++;
			sleep_on(kick_fd);
			drain(kick_fd);
		}
		tenon_store(&device_page.flags, 0);
	}
	return NULL;
}

static void *reap(void *arg)
{
	unsigned int state = 3, patience = 0;
	__u32 i = FIRST;

	while (i != FIRST + TOTAL) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(&queue);
		__u32 count = 1 + dice(&state, DEPTH / 2);

		if (cqe) {
			check(cqe->user_data == payload(i, 6) && cqe->busy_ns == payload(i, 7) &&
			      cqe->units == i, "the reaper read another completion", i);
			check(memory[i & (DEPTH - 1)] == payload(i, 8), "the data is late", i);
			tenon_cqe_seen(&queue);
			i++;
			patience = dice(&state, 40);
			continue;
		}
		if (patience && patience--)
			continue;
		if (count > FIRST + TOTAL - i)
			count = 1;
		drain(notice_fd);
		if (!tenon_ring_arm(&producer_page.wanted, cq, DEPTH - 1, i + count)) {
			reaper_sleeps++;
			sleep_on(notice_fd);
		}
	}
	return NULL;
}

static int choose(const char *name)
{
	unsigned int m;

	for (m = 0; m < sizeof(mutants) / sizeof(mutants[0]); m++) {
		if (strcmp(name, mutants[m].name))
			continue;
		early = !mutants[m].begin;
		loose_begin = mutants[m].begin;
		loose_end = loose_begin + mutants[m].bytes;
		loose_loads = mutants[m].loads;
		return 0;
	}
	fprintf(stderr, "no mutant %s\n", name);
	return -1;
}

int main(int argc, char **argv)
{
	void *(*const part[])(void *) = { produce, device, reap };
	pthread_t thread[3];
	int i;

	if (argc > 1 && choose(argv[1]))
		return 2;
	alarm(60);
	kick_fd = eventfd(0, EFD_NONBLOCK);
	notice_fd = eventfd(0, EFD_NONBLOCK);
	check(kick_fd >= 0 && notice_fd >= 0, "eventfd", 0);
	tenon_ring_init_cq(cq, DEPTH, FIRST);
	producer_page.tail = producer_page.wanted = producer_page.wanted_kernel = FIRST;
	for (i = 0; i < 3; i++)
		check(!pthread_create(&thread[i], NULL, part[i], NULL), "thread", 0);
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	printf("%u commands, the device slept %u times, the reaper %u times\n", TOTAL, device_sleeps,
	       reaper_sleeps);
	return !device_sleeps || !reaper_sleeps;
}
