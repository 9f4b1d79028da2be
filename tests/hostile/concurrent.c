/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, for TSan above all: three workers in tenond; here tenants that each have a producer, a
 * reaper and a thread that makes and destroys buffers and queues, asks for usage, and raises semaphores.
 */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define RW (TDI_BUFFER_READ | TDI_BUFFER_WRITE)
#define TENANTS 3
#define BYTES (64 << 10)
#define RUN_NS 1500000000ULL

struct tenant {
	struct tenon_context *context;
	struct tenon_queue *queue;
	struct tenon_buffer *a, *b, *semaphore;
	pthread_t producer, reaper, setup;
	uint64_t end;
	uint64_t submitted;	/* by the producer, when it is done */
	uint32_t done;		/* atomic: it is */
	uint32_t passing;	/* atomic: id of a buffer that may be gone at any time */
	uint64_t raised;	/* atomic: what the semaphore is to become */
	uint64_t refused;
};

/* Commands on the buffer that comes and goes have this in their user data. */
#define PASSING (1ULL << 63)

static void *produce(void *arg)
{
	struct tenant *t = arg;
	uint64_t i, seed = 0x1234567;

	for (i = 0; now_ns() < t->end; i++) {
		struct tdi_sqe *sqe;

		while (!(sqe = tenon_sqe_get(t->queue)))
			sched_yield();
		switch (rnd(&seed) % 8) {
		case 0:
			tenon_prep_fill(sqe, t->a, 0, BYTES, i, 8, i);
			break;
		case 1:
			tenon_prep_copy(sqe, t->b, 0, t->a, 0, BYTES, i);
			break;
		case 2:
			put_fill(sqe, __atomic_load_n(&t->passing, __ATOMIC_RELAXED), 0, BYTES, i, 8);
			sqe->user_data = i | PASSING;
			break;
		case 3:
			tenon_prep_signal(sqe, t->semaphore, 8, 1, TDI_SIGNAL_ADD, i);
			break;
		case 4:
			tenon_prep_wait(sqe, t->semaphore, 0,
					__atomic_add_fetch(&t->raised, rnd(&seed) % 2, __ATOMIC_RELAXED),
					SOON_NS, i);
			break;
		default:
			tenon_prep_nop(sqe, i);
		}
		if (rnd(&seed) % 3)
			assert_int_equal(tenon_submit(t->queue), 0);
		if (rnd(&seed) % 512 == 0)
			sleep_ns(300000);
	}
	assert_int_equal(tenon_submit(t->queue), 0);
	t->submitted = i;
	__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *reap(void *arg)
{
	struct tenant *t = arg;
	const struct tdi_cqe *cqe;
	uint64_t i = 0;
	int err;

	while (!__atomic_load_n(&t->done, __ATOMIC_ACQUIRE) || i != t->submitted) {
		err = tenon_wait(t->queue, 1, 1000000);
		/* -EINVAL: nothing is submitted just now. */
		assert_true(!err || err == -EINVAL || err == -ETIMEDOUT);
		if (err == -EINVAL)
			sched_yield();
		while ((cqe = tenon_cqe_peek(t->queue))) {
			assert_true((cqe->user_data & ~PASSING) == i);
			if (cqe->user_data & PASSING)
				assert_true(!cqe->status || cqe->status == TDI_SC_BUFFER_ID);
			else
				assert_int_equal(cqe->status, TDI_SC_OK);
			t->refused += cqe->status != TDI_SC_OK;
			tenon_cqe_seen(t->queue);
			i++;
		}
	}
	return NULL;
}

static void *set_up(void *arg)
{
	struct tenant *t = arg;
	uint64_t *semaphore = tenon_buffer_data(t->semaphore);
	struct tdi_context_status status;
	struct tenon_buffer *passing;	/* the first half for the producer, the other for the extra queue */
	struct tenon_queue *extra;
	struct tdi_usage usage, last = { 0 };
	unsigned int i;

	while (!__atomic_load_n(&t->done, __ATOMIC_ACQUIRE)) {
		assert_int_equal(tenon_buffer_create(t->context, 2 * BYTES, RW, &passing), 0);
		__atomic_store_n(&t->passing, tenon_buffer_id(passing), __ATOMIC_RELAXED);
		assert_int_equal(tenon_queue_create(t->context, 16, NULL, &extra), 0);
		for (i = 0; i < 16; i++)
			tenon_prep_fill(tenon_sqe_get(extra), passing, BYTES, BYTES, i, 1, i);
		assert_int_equal(tenon_submit(extra), 0);
		assert_int_equal(tenon_host_signal(t->queue, semaphore,
						   __atomic_load_n(&t->raised, __ATOMIC_RELAXED)), 0);
		assert_int_equal(tenon_context_usage(t->context, &usage), 0);
		assert_true(usage.busy_ns >= last.busy_ns && usage.errors >= last.errors);
		last = usage;
		assert_int_equal(tenon_buffer_destroy(passing), 0);
		assert_int_equal(tenon_context_status(t->context, &status), 0);
		assert_int_equal(status.queues, 2);
		assert_int_equal(tenon_queue_destroy(extra), 0);
	}
	/* For the WAITs that are left. */
	assert_int_equal(tenon_host_signal(t->queue, semaphore, UINT64_MAX / 2), 0);
	return NULL;
}

static void test_concurrent(void **state)
{
	const char *const args[] = { "--workers", "3", NULL };
	struct tenant tenants[TENANTS];
	struct bystander bystander;
	struct daemon d;
	unsigned int i;

	daemon_start(&d, args, 0);
	bystander_start(&bystander, &d);
	memset(tenants, 0, sizeof(tenants));
	for (i = 0; i < TENANTS; i++) {
		struct tenant *t = &tenants[i];

		t->end = now_ns() + RUN_NS;
		assert_int_equal(tenon_open(d.path, NULL, &t->context), 0);
		assert_int_equal(tenon_buffer_create(t->context, BYTES, RW, &t->a), 0);
		assert_int_equal(tenon_buffer_create(t->context, BYTES, RW, &t->b), 0);
		assert_int_equal(tenon_buffer_create(t->context, 16, RW, &t->semaphore), 0);
		assert_int_equal(tenon_queue_create(t->context, 64, NULL, &t->queue), 0);
		assert_int_equal(pthread_create(&t->producer, NULL, produce, t), 0);
		assert_int_equal(pthread_create(&t->reaper, NULL, reap, t), 0);
		assert_int_equal(pthread_create(&t->setup, NULL, set_up, t), 0);
	}
	for (i = 0; i < TENANTS; i++) {
		struct tenant *t = &tenants[i];
		struct tdi_usage usage;

		assert_int_equal(pthread_join(t->producer, NULL), 0);
		assert_int_equal(pthread_join(t->setup, NULL), 0);
		assert_int_equal(pthread_join(t->reaper, NULL), 0);
		assert_true(t->submitted > 100 && t->refused < t->submitted);
		assert_int_equal(tenon_context_usage(t->context, &usage), 0);
		assert_true(usage.commands[TDI_OP_SIGNAL] ==
			    ((uint64_t *)tenon_buffer_data(t->semaphore))[1]);
		tenon_close(t->context);
	}
	bystander_stop(&bystander);
	daemon_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_concurrent) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("concurrent", tests, NULL, NULL);
}
