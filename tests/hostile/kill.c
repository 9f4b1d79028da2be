/* SPDX-License-Identifier: MIT */
/*
 * Tenants and tenond are killed under load. Tenants: nothing of them is left in tenond, and another one's
 * work goes on. tenond: each command of its tenants ends exactly once.
 *
 *	kill [ROUNDS]	how many rounds of kill -9 of tenants, 200 if not given
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (TDI_BUFFER_READ | TDI_BUFFER_WRITE)
#define HOUR_NS 3600000000000ULL

#define WARM_UP 60		/* rounds until caches and allocators have what they need */
#define IN_FLIGHT 1000
/* An allocator's, and a sanitizer's, own comings and goings. */
#define RSS_SLACK_KIB 256
#define MAPS_SLACK 16

static unsigned int rounds = 200;

/* ----------------------------------------------------------------------- tenants are killed */

static void must(bool ok)
{
	if (!ok)
		_exit(1);
}

/* A quarter of the commands in each of four queues; the first waits for ever with all behind it in flight. */
static _Noreturn void doomed(const struct daemon *d, int ready, uint64_t seed)
{
	struct tenon_context *c;
	struct tenon_buffer *a, *b, *s;
	struct tenon_queue *q[4];
	unsigned int i, k;

	must(!tenon_open(d->path, NULL, &c));
	must(!tenon_buffer_create(c, 4096, RW, &s));
	for (k = 0; k < 4; k++) {
		must(!tenon_buffer_create(c, 256 << 10, RW, &a));
		must(!tenon_buffer_create(c, 256 << 10, RW, &b));
		must(!tenon_queue_create(c, 256, NULL, &q[k]));
		for (i = 0; i < IN_FLIGHT / 4; i++) {
			struct tdi_sqe *sqe = tenon_sqe_get(q[k]);

			if ((!k && !i) || (k == 1 && i == 100))
				tenon_prep_wait(sqe, s, 0, 1, HOUR_NS, i);
			else if (k == 2 || rnd(&seed) % 4 == 0)
				tenon_prep_fill(sqe, a, 0, 256 << 10, i, 8, i);
			else if (rnd(&seed) % 3 == 0)
				tenon_prep_copy(sqe, b, 0, a, 0, 128 << 10, i);
			else
				tenon_prep_nop(sqe, i);
		}
	}
	for (k = 0; k < 4; k++)
		must(!tenon_submit(q[k]));
	must(write(ready, "", 1) == 1);
	for (;;)
		pause();
}

static void kill_one(const struct daemon *d, uint64_t *seed)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = spawn();
	if (!pid)
		doomed(d, ready[1], rnd(seed) | 1);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	sleep_ns(rnd(seed) % 2000000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* [SOC-4, RST-11] After any number of deaths tenond has no more memory, mappings, descriptors or threads than
 * before. */
static void test_kill_tenants(void **state)
{
	const char *const args[] = { "--workers", "2", NULL };
	struct daemon_stats before, after;
	struct bystander bystander;
	uint64_t seed = 0xdead;
	struct daemon d;
	unsigned int i;

	daemon_start(&d, args, 0);
	bystander_start(&bystander, &d);
	for (i = 0; i < WARM_UP; i++)
		kill_one(&d, &seed);
	daemon_stats(&d, &before);
	for (i = 0; i < rounds; i++) {
		kill_one(&d, &seed);
		if (i % 50 == 49)
			bystander_check(&bystander);
	}
	daemon_stats(&d, &after);
	print_message("# %u rounds of %u commands; rss %ld -> %ld KiB, %ld -> %ld mappings, %ld -> %ld fds\n",
		      rounds, IN_FLIGHT, before.rss_kib, after.rss_kib, before.maps, after.maps, before.fds,
		      after.fds);
	assert_int_equal(after.fds, before.fds);
	assert_int_equal(after.threads, before.threads);
	assert_in_range(after.maps, 0, before.maps + MAPS_SLACK);
	/* One page that is left of each tenant would be 4 KiB a round. */
	assert_in_range(after.rss_kib, 0, before.rss_kib + RSS_SLACK_KIB + rounds);
	bystander_stop(&bystander);
	daemon_stop(&d);
}

/* ------------------------------------------------------------------------ tenond is killed */

struct tenant {
	struct tenon_context *context;
	struct tenon_buffer *buffer, *semaphore;
	struct tenon_queue *queue, *parked;
	uint64_t submitted, reaped;
	bool died;		/* it was seen that tenond is gone, */
	bool aborted;		/* and a command that it left open */
};

#define PARKED 20

static _Noreturn void complain(const char *what, uint64_t number)
{
	/* In a child: cmocka isn't. */
	fprintf(stderr, "tenant: %s (%llu)\n", what, (unsigned long long)number);
	_exit(1);
}

#define demand(ok, what, number) ((ok) ? (void)0 : complain(what, number))

/* Each in order, done until the first that is not. */
static void reap(struct tenant *t)
{
	const struct tdi_cqe *cqe;

	while ((cqe = tenon_cqe_peek(t->queue))) {
		demand(t->reaped < t->submitted, "a completion of nothing", t->reaped);
		demand(cqe->user_data == t->reaped, "out of order", cqe->user_data);
		if (cqe->status == TDI_SC_ABORTED)
			t->died = t->aborted = true;
		else
			demand(!cqe->status && !t->aborted, "a status that can't be", cqe->status);
		tenon_cqe_seen(t->queue);
		t->reaped++;
	}
}

static void load(struct tenant *t, uint64_t *seed)
{
	unsigned int batch = 1 + rnd(seed) % 32;
	struct tdi_sqe *sqe;
	int err;

	while (batch-- && (sqe = tenon_sqe_get(t->queue))) {
		if (rnd(seed) % 8)
			tenon_prep_nop(sqe, t->submitted);
		else
			tenon_prep_fill(sqe, t->buffer, 0, 64 << 10, t->submitted, 8, t->submitted);
		t->submitted++;
	}
	err = tenon_submit(t->queue);
	demand(!err || err == -ENODEV, "submit", (uint64_t)-err);
	if (err)
		t->died = true;
	if (rnd(seed) % 4 == 0 && t->submitted != t->reaped) {
		err = tenon_wait(t->queue, 1 + rnd(seed) % (t->submitted - t->reaped), (int64_t)SOON_NS);
		demand(!err || err == -ENODEV, "wait", (uint64_t)-err);
		if (err)
			t->died = true;
	}
	reap(t);
}

static void *sleeper(void *arg)
{
	struct tenant *t = arg;

	return (void *)(intptr_t)tenon_wait(t->parked, 1, -1);
}

/* The commands behind a WAIT that was never satisfied. @written: by tenond, before it ended. */
static void check_parked(struct tenant *t, uint32_t first, bool written)
{
	struct pollfd end = { .fd = tenon_queue_fd(t->parked) };
	const struct tdi_cqe *cqe;
	uint32_t i;

	/* Nothing is written after this. */
	demand(poll(&end, 1, (int)(SOON_NS / 1000000)) == 1 && end.revents == POLLHUP, "no end", end.revents);
	for (i = 0; i < PARKED; i++) {
		const struct tdi_cqe *slot = &t->parked->cq[(first + i) & t->parked->cq_mask];

		if (written) {
			demand(slot->sequence == first + i + 1, "tenond wrote no CQE", i);
			demand(slot->status == TDI_SC_ABORTED && slot->user_data == 1000 + i, "tenond's CQE",
			       i);
		} else {
			demand(slot->sequence != first + i + 1, "a CQE of a dead tenond", i);
		}
		cqe = tenon_cqe_peek(t->parked);
		demand(cqe && cqe->user_data == 1000 + i && cqe->status == TDI_SC_ABORTED, "parked command",
		       i);
		tenon_cqe_seen(t->parked);
	}
	demand(!tenon_cqe_peek(t->parked), "one too many", PARKED);
}

/* [TKO-13, SOC-21, SOC-23] A tenant that works until tenond is gone, and knows then what became of each
 * command. */
static _Noreturn void survivor(const struct daemon *d, int ready, uint64_t seed, bool written)
{
	struct tenant t = { 0 };
	struct tdi_usage usage;
	pthread_t thread;
	uint64_t late;
	uint32_t first;
	void *result;
	unsigned int i;

	alarm(60);
	demand(!tenon_open(d->path, NULL, &t.context), "open", 0);
	demand(!tenon_buffer_create(t.context, 64 << 10, RW, &t.buffer), "buffer", 0);
	demand(!tenon_buffer_create(t.context, 8, RW, &t.semaphore), "buffer", 1);
	demand(!tenon_queue_create(t.context, 64, NULL, &t.queue), "queue", 0);
	demand(!tenon_queue_create(t.context, 64, NULL, &t.parked), "queue", 1);
	first = t.parked->sq_next;
	for (i = 0; i < PARKED; i++) {
		struct tdi_sqe *sqe = tenon_sqe_get(t.parked);

		if (i)
			tenon_prep_nop(sqe, 1000 + i);
		else
			tenon_prep_wait(sqe, t.semaphore, 0, 1, HOUR_NS, 1000);
	}
	demand(!tenon_submit(t.parked), "submit", PARKED);
	demand(!pthread_create(&thread, NULL, sleeper, &t), "thread", 0);
	demand(write(ready, "", 1) == 1, "pipe", 0);
	while (!t.died)
		load(&t, &seed);

	/* What is submitted to a dead device ends too. */
	for (late = 0; late < 10; late++)
		load(&t, &seed);
	while (t.reaped != t.submitted) {
		int err = tenon_wait(t.queue, 1, (int64_t)SOON_NS);

		demand(!err || err == -ENODEV, "wait at the end", (uint64_t)-err);
		reap(&t);
	}
	demand(!tenon_cqe_peek(t.queue), "one too many", t.reaped);
	demand(!pthread_join(thread, &result), "join", 0);
	demand((intptr_t)result == -ENODEV || ((intptr_t)result == 0 && written), "the sleeper's result",
	       (uint64_t)(intptr_t)result);
	check_parked(&t, first, written);
	demand(tenon_context_usage(t.context, &usage) == -ENODEV, "usage", 0);
	demand(tenon_queue_destroy(t.queue) == -ENODEV, "destroy", 0);
	demand(tenon_buffer_destroy(t.buffer) == -ENODEV, "destroy", 1);
	tenon_close(t.context);
	_exit(0);
}

static void end_daemon(unsigned int times, bool cleanly)
{
	const char *const args[] = { "--workers", "2", NULL };
	pid_t pid[3];
	uint64_t seed = 0xcafe;
	struct daemon d;
	unsigned int i, k;
	int ready[2];
	char byte;

	for (i = 0; i < times; i++) {
		daemon_start(&d, args, 0);
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		for (k = 0; k < ARRAY_SIZE(pid); k++) {
			pid[k] = spawn();
			if (!pid[k])
				survivor(&d, ready[1], rnd(&seed) | 1, cleanly);
			rnd(&seed);
		}
		for (k = 0; k < ARRAY_SIZE(pid); k++)
			assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		close(ready[1]);
		sleep_ns(rnd(&seed) % 20000000);
		if (cleanly)
			daemon_stop(&d);
		else
			daemon_kill(&d);
		for (k = 0; k < ARRAY_SIZE(pid); k++)
			join(pid[k]);
	}
}

static void test_kill_daemon(void **state)
{
	end_daemon(10 + rounds / 20, false);
}

static void test_terminate_daemon(void **state)
{
	end_daemon(10 + rounds / 20, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_tenants),
		cmocka_unit_test(test_kill_daemon),
		cmocka_unit_test(test_terminate_daemon),
	};
	const char *asan = getenv("ASAN_OPTIONS");
	char options[256];

	if (argc > 1)
		rounds = (unsigned int)strtoul(argv[1], NULL, 10);
	/* What ASan keeps back of freed memory isn't tenond's. */
	snprintf(options, sizeof(options), "%s:quarantine_size_mb=1:thread_local_quarantine_size_kb=64",
		 asan ? asan : "");
	setenv("ASAN_OPTIONS", options, 1);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
