/* SPDX-License-Identifier: MIT */
/*
 * What a ring costs beside the bare primitive, in one process and on the same two CPUs, in turns:
 *
 *	ring submit SOCKET	time of the producer for an entry, in batches of 32, beside a single-producer
 *				ring of 64-byte entries with a consuming peer
 *	ring roundtrip SOCKET	from a NOP's submission to its completion, polled, beside a cache line that
 *				two CPUs pass to and fro
 *
 * This process has the first CPU of its affinity, the peer of the primitive the second, where tenond must
 * run. tenond polls only while it has work; the primitive's turn begins when it has parked the queue. Only
 * the producer's own work is timed: waiting for space, on either ring, and reaping are not.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tenon/tenon.h>

#define PAIRS 25		/* runs of each kind, in turns */
#define DEPTH 256
#define BATCH 32
#define BATCHES 400		/* of a run */
#define TRIPS 4000		/* of a run */

struct entry {
	uint64_t word[8];
};

/* The primitives' shared lines: two cache lines each, as in the ring. */
static struct {
	struct entry entry[DEPTH] __attribute__((aligned(4096)));
	__le32 tail __attribute__((aligned(128)));
	__le32 head __attribute__((aligned(128)));
	__le32 ball __attribute__((aligned(128)));
} bare;

static sem_t turn, over;
static uint64_t sink;

static void need(int good, const char *words)
{
	if (good)
		return;
	fprintf(stderr, "ring: %s\n", words);
	exit(1);
}

static uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * Cycles of a constant clock where there is one; nothing before it is done after it, or the other way round.
 */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	uint64_t t;

	__builtin_ia32_lfence();
	t = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return t;
#else
	return nanoseconds();
#endif
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

static void pin(unsigned int number)
{
	cpu_set_t one;
	static cpu_set_t allowed;
	int cpu;

	if (!CPU_COUNT(&allowed))
		need(!sched_getaffinity(0, sizeof(allowed), &allowed), "sched_getaffinity");
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !number--)
			break;
	need(cpu < CPU_SETSIZE, "needs two CPUs");
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	need(!sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static void *peer_consume(void *arg)
{
	__u32 head = 0, tail;

	pin(1);
	for (;;) {
		unsigned int left = BATCH * BATCHES, word;

		sem_wait(&turn);
		while (left) {
			tail = tenon_load_acquire(&bare.tail);
			left -= tail - head;
			for (; head != tail; head++)
				for (word = 0; word < 8; word++)
					sink += bare.entry[head % DEPTH].word[word];
			tenon_store_release(&bare.head, head);
		}
		sem_post(&over);
	}
	return arg;
}

static void *peer_return(void *arg)
{
	__u32 i;

	pin(1);
	for (;;) {
		sem_wait(&turn);
		for (i = 1; i <= TRIPS; i++) {
			while (tenon_load_acquire(&bare.ball) != 2 * i - 1)
				;
			tenon_store_release(&bare.ball, 2 * i);
		}
		sem_post(&over);
	}
	return arg;
}

static void parked(struct tenon_queue *queue)
{
	while (!tenon_load(&queue->device->flags))
		sched_yield();
}

static void reap(struct tenon_queue *queue)
{
	const struct tdi_cqe *cqe;

	do
		cqe = tenon_cqe_peek(queue);
	while (!cqe);
	need(cqe->status == TDI_SC_OK, "a command failed");
	tenon_cqe_seen(queue);
}

static void nop(struct tenon_queue *queue)
{
	tenon_prep_nop(tenon_sqe_get(queue), 1);
	need(!tenon_submit(queue), "submit");
}

/* Kick it, and let it get into its stride. */
static void awake(struct tenon_queue *queue)
{
	unsigned int i;

	for (i = 0; i < 200; i++) {
		nop(queue);
		reap(queue);
	}
}

/* Ticks for an entry. */
static double submit_tenon(struct tenon_queue *queue)
{
	uint64_t sum = 0, start;
	unsigned int batch, i;

	for (batch = 0; batch < BATCHES; batch++) {
		while (queue->sq_next - queue->cq_head > DEPTH - BATCH)
			reap(queue);
		start = ticks();
		for (i = 0; i < BATCH; i++)
			tenon_prep_nop(tenon_sqe_get(queue), i);
		tenon_submit(queue);
		sum += ticks() - start;
	}
	while (queue->sq_next != queue->cq_head)
		reap(queue);
	return (double)sum / (BATCH * BATCHES);
}

static double submit_bare(void)
{
	static __u32 tail;
	uint64_t sum = 0, start;
	unsigned int batch, i;

	for (batch = 0; batch < BATCHES; batch++) {
		while (tail - tenon_load_acquire(&bare.head) > DEPTH - BATCH)
			;
		start = ticks();
		for (i = 0; i < BATCH; i++) {
			/* The primitive is at its best, too: what helps Tenon's ring may help this one. */
			tenon_prefetch_write(&bare.entry[tail % DEPTH]);
			bare.entry[tail++ % DEPTH] = (struct entry){ .word = { 0, i } };
		}
		tenon_store_release(&bare.tail, tail);
		sum += ticks() - start;
	}
	return (double)sum / (BATCH * BATCHES);
}

/* Ticks for a round trip, the median of a run. */
static double roundtrip_tenon(struct tenon_queue *queue)
{
	static double trip[TRIPS];
	unsigned int i;

	for (i = 0; i < TRIPS; i++) {
		uint64_t start = ticks();

		nop(queue);
		reap(queue);
		trip[i] = (double)(ticks() - start);
	}
	return median(trip, TRIPS);
}

static double roundtrip_bare(void)
{
	static double trip[TRIPS];
	__u32 i;

	for (i = 1; i <= TRIPS; i++) {
		uint64_t start = ticks();

		tenon_store_release(&bare.ball, 2 * i - 1);
		while (tenon_load_acquire(&bare.ball) != 2 * i)
			;
		trip[i - 1] = (double)(ticks() - start);
	}
	return median(trip, TRIPS);
}

static const struct kind {
	const char *name, *result, *what;
	double bar;
	void *(*peer)(void *arg);
	double (*tenon)(struct tenon_queue *queue);
	double (*bare)(void);
} kinds[] = {
	{ "submit", "ring.submit_ratio", "an entry", 1.5, peer_consume, submit_tenon, submit_bare },
	{ "roundtrip", "ring.noop_roundtrip_ratio", "a round trip", 3, peer_return, roundtrip_tenon,
	  roundtrip_bare },
};

int main(int argc, char **argv)
{
	double tenon[PAIRS], primitive[PAIRS], ratio[PAIRS], value, baseline, per_ns;
	uint64_t start_ns, start_ticks;
	const struct kind *kind = NULL;
	struct tenon_context *context;
	struct tenon_queue *queue;
	pthread_t thread;
	unsigned int i;

	for (i = 0; argc == 3 && i < 2; i++)
		if (!strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind) {
		fprintf(stderr, "usage: ring submit|roundtrip SOCKET\n");
		return 2;
	}
	pin(0);
	need(!tenon_open(argv[2], NULL, &context), "tenon_open");
	need(!tenon_queue_create(context, DEPTH, NULL, &queue), "tenon_queue_create");
	sem_init(&turn, 0, 0);
	sem_init(&over, 0, 0);
	need(!pthread_create(&thread, NULL, kind->peer, NULL), "pthread_create");

	start_ns = nanoseconds();
	start_ticks = ticks();
	for (i = 0; i < PAIRS; i++) {
		awake(queue);
		tenon[i] = kind->tenon(queue);
		parked(queue);
		sem_post(&turn);
		primitive[i] = kind->bare();
		sem_wait(&over);
		ratio[i] = tenon[i] / primitive[i];
	}
	per_ns = (double)(ticks() - start_ticks) / (double)(nanoseconds() - start_ns);

	value = median(ratio, PAIRS);
	baseline = median(primitive, PAIRS) / per_ns;
	printf("{\"name\": \"%s\", \"value\": %.3f, \"unit\": \"ratio\", \"baseline\": %.2f, \"bar\": %g, "
	       "\"note\": \"%s: %.1f ns beside %.1f ns; ratios from %.2f to %.2f in %d pairs of runs\"}\n",
	       kind->result, value, baseline, kind->bar, kind->what, median(tenon, PAIRS) / per_ns, baseline,
	       ratio[0], ratio[PAIRS - 1], PAIRS);
	tenon_close(context);
	return 0;
}
