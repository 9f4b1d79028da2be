/* SPDX-License-Identifier: MIT */
/*
 * Store-buffer stress of the sleep/wake protocol, natively: two pinned threads run the two sides of
 * tenon/ring.h at the same moment, round after round, until a wake-up is lost or the time is over.
 *
 *	stress submit|arm SECONDS	ends 0 if nothing was lost, 1 if a wake-up was lost, 77 on one CPU
 *
 * Built as it is, it must end 0; built with one of the four barriers empty, it must end 1, or it shows
 * nothing.
 *
 * A processor delays a store while it fetches the line, and a load that hits its own cache overtakes it. So
 * before each round each side reads what it will load: that line is at hand, while the line that it will
 * store to has just been read by the other and has to be fetched.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tenon/ring.h>

static struct {
	struct tdi_producer_page producer;
	struct tdi_device_page device;
	struct tdi_kernel_page kernel;
	struct tdi_cqe cq[1] __attribute__((aligned(128)));
	struct {
		__le32 phase __attribute__((aligned(128)));	/* that this side has come to */
		int sleeps;					/* what it decided in this round */
	} side[2];
	__le32 stop __attribute__((aligned(128)));
	__le32 lost;
} s __attribute__((aligned(4096)));

/* Each says whether it sleeps or leaves the other asleep. */
static int submit(__u32 round)
{
	return !tenon_ring_publish(&s.producer, &s.device, &s.kernel, round);
}

static int park(__u32 round)
{
	return !tenon_ring_park(&s.producer, &s.device, TDI_NEED_KICK, round - 1);
}

static int arm(__u32 round)
{
	return !tenon_ring_arm(&s.producer.wanted, s.cq, 0, round);
}

static int notice(__u32 round)
{
	static const struct tdi_cqe cqe;

	tenon_ring_complete(&s.cq[0], &cqe, round);
	return !tenon_ring_due(&s.producer, round - 1, round);
}

static const struct pattern {
	const char *name;
	int (*act[2])(__u32 round);
} patterns[] = {
	{ "submit", { submit, park } },
	{ "arm", { arm, notice } },
};

static const struct pattern *pattern;

static void meet(int me, __u32 phase)
{
	unsigned int spins = 0;

	tenon_store_release(&s.side[me].phase, phase);
	while (!tenon_reached(tenon_load_acquire(&s.side[!me].phase), phase) && !tenon_load(&s.stop))
		/* Another process may have the other CPU. */
		if (!(++spins % 65536))
			sched_yield();
}

static void *side(void *arg)
{
	int me = (int)(intptr_t)arg;
	__u32 random = 1 + (__u32)me, phase = 0, round;

	for (round = 1;; round++) {
		volatile __u32 delay;

		if (me)
			tenon_store(&s.device.flags, 0);
		meet(me, ++phase);
		tenon_load(me ? &s.producer.tail : &s.device.flags);
		tenon_load(me ? &s.producer.wanted : &s.cq[0].sequence);
		meet(me, ++phase);
		random = random * 1664525 + 1013904223;
		for (delay = random >> 27; delay; delay--)
			;
		s.side[me].sleeps = pattern->act[me](round);
		meet(me, ++phase);
		if (tenon_load(&s.stop))
			break;
		if (s.side[0].sleeps && s.side[1].sleeps) {
			tenon_store(&s.lost, round);
			break;
		}
	}
	return (void *)(uintptr_t)round;
}

static int pin(pthread_attr_t *attr, int number)
{
	cpu_set_t allowed, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !number--)
			break;
	if (cpu == CPU_SETSIZE)
		return -1;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return pthread_attr_setaffinity_np(attr, sizeof(one), &one);
}

int main(int argc, char **argv)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	pthread_t thread[2];
	int ticks, i, err;
	void *rounds;

	for (i = 0; argc == 3 && i < 2; i++)
		if (!strcmp(argv[1], patterns[i].name))
			pattern = &patterns[i];
	if (!pattern) {
		fprintf(stderr, "usage: stress submit|arm SECONDS\n");
		return 2;
	}
	for (i = 0; i < 2; i++) {
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		if (pin(&attr, i)) {
			printf("needs two CPUs");
			return 77;
		}
		err = pthread_create(&thread[i], &attr, side, (void *)(intptr_t)i);
		if (err) {
			fprintf(stderr, "thread: %s\n", strerror(err));
			return 2;
		}
		pthread_attr_destroy(&attr);
	}
	for (ticks = atoi(argv[2]) * 100; ticks > 0 && !tenon_load(&s.lost); ticks--)
		nanosleep(&tick, NULL);
	tenon_store(&s.stop, 1);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], &rounds);
	if (tenon_load(&s.lost))
		printf("wake-up lost in round %u\n", tenon_load(&s.lost));
	else
		printf("none lost in %lu rounds\n", (unsigned long)(uintptr_t)rounds);
	return tenon_load(&s.lost) != 0;
}
