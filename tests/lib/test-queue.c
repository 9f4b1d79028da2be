/* SPDX-License-Identifier: MIT */
/* libtenon: queues: submitting, reaping, waiting, the wrap of the indices, and the death of the device. */
#include "mock.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL

/* The inline functions are compiled into programs: what they touch stays where it is. */
_Static_assert(
	sizeof(void *) != 8 ||
		(offsetof(struct tenon_queue, sq) == 0 && offsetof(struct tenon_queue, producer) == 8 &&
		 offsetof(struct tenon_queue, device) == 16 && offsetof(struct tenon_queue, kernel) == 24 &&
		 offsetof(struct tenon_queue, mask) == 32 && offsetof(struct tenon_queue, sq_next) == 36 &&
		 offsetof(struct tenon_queue, sq_submitted) == 40 &&
		 offsetof(struct tenon_queue, sq_limit) == 44 && offsetof(struct tenon_queue, cq) == 128 &&
		 offsetof(struct tenon_queue, cq_mask) == 136 &&
		 offsetof(struct tenon_queue, cq_head) == 140 && offsetof(struct tenon_queue, dead) == 144),
	"the layout of struct tenon_queue is ABI");

struct fixture {
	struct mock *mock;
	struct tenon_context *context;
	unsigned int fds;
};

static int setup(void **state)
{
	struct tenon_open_options options = { .size = sizeof(options), .timeout_ms = 2000 };
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || mock_setup((void **)&f->mock))
		return -1;
	*state = f;
	f->fds = count_fds();
	return tenon_open(f->mock->path, &options, &f->context);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int err;

	mock_sync(f->mock);
	tenon_close(f->context);
	mock_settle(f->mock);
	err = count_fds() != f->fds;
	if (mock_teardown((void **)&f->mock))
		err = -1;
	free(f);
	return err;
}

static struct tenon_queue *make(struct fixture *f, uint32_t depth, uint32_t spin_ns)
{
	struct tenon_queue_options options = { .size = sizeof(options), .spin_ns = spin_ns };
	struct tenon_queue *q;

	assert_int_equal(tenon_queue_create(f->context, depth, &options, &q), 0);
	return q;
}

static void submit(struct tenon_queue *q, uint64_t from, unsigned int count)
{
	struct tdi_sqe *sqe;

	while (count--) {
		sqe = tenon_sqe_get(q);
		assert_non_null(sqe);
		tenon_prep_nop(sqe, from++);
	}
	assert_int_equal(tenon_submit(q), 0);
}

static void reap(struct tenon_queue *q, uint64_t user_data, uint16_t status)
{
	const struct tdi_cqe *cqe = tenon_cqe_peek(q);

	assert_non_null(cqe);
	assert_int_equal(cqe->user_data, user_data);
	assert_int_equal(cqe->status, status);
	tenon_cqe_seen(q);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ------------------------------------------------------------------------------------- set-up */

static void test_create_errors(void **state)
{
	struct tenon_queue_options options = { .size = sizeof(options), .flags = 1 };
	struct fixture *f = *state;
	struct tenon_queue *q;
	unsigned int fds = count_fds();

	assert_int_equal(tenon_queue_create(f->context, 0, NULL, &q), -EINVAL);
	assert_int_equal(tenon_queue_create(f->context, 3, NULL, &q), -EINVAL);
	assert_string_equal(tenon_errstr(f->context), "depth 3 is not a power of two");
	assert_int_equal(tenon_queue_create(f->context, 2 * MOCK_DEPTH, NULL, &q), -EINVAL);
	assert_string_equal(tenon_errstr(f->context), "depth: needed 512, allowed 256");
	assert_int_equal(tenon_queue_create(f->context, 8, &options, &q), -EINVAL);
	assert_string_equal(tenon_errstr(f->context), "unknown option");
	assert_null(q);
	assert_int_equal(f->mock->requests[TENON_MSG_QUEUE_CREATE], 0);

	assert_int_equal(tenon_queue_create(f->context, 8, NULL, &q), 0);
	assert_int_equal((uintptr_t)q % 128, 0);
	assert_int_equal(tenon_queue_destroy(q), 0);
	assert_int_equal(tenon_queue_destroy(NULL), 0);
	assert_int_equal(f->mock->requests[TENON_MSG_QUEUE_DESTROY], 1);
	assert_int_equal(count_fds(), fds);

	q = make(f, 8, 0);
	mock_die(f->mock);
	assert_int_equal(tenon_queue_destroy(q), -ENODEV);
	assert_int_equal(tenon_queue_create(f->context, 8, NULL, &q), -ENODEV);
	assert_null(q);
}

/* ------------------------------------------------------------------------------ submit and reap */

static void test_submit(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 4, 0);
	struct mock_queue *d = mock_device(f->mock, q);
	uint32_t first = TDI_FIRST_INDEX(4);
	struct tdi_sqe *sqe;
	int i;

	assert_null(tenon_cqe_peek(q));
	for (i = 0; i < 4; i++) {
		sqe = tenon_sqe_get(q);
		assert_non_null(sqe);
		assert_true(sqe->opcode == 0 && sqe->user_data == 0);
		tenon_prep_nop(sqe, 10 + i);
	}
	/* Full, and the device knows of none of them yet. */
	assert_null(tenon_sqe_get(q));
	assert_int_equal(d->producer->tail, first);
	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(d->producer->tail, first + 4);
	assert_int_equal(mock_kicks(d), 1);

	/* A completion frees its entry when it has been seen, not before; the entry is zeroed again. */
	mock_complete(d, 2, TDI_SC_OK);
	assert_null(tenon_sqe_get(q));
	assert_non_null(tenon_cqe_peek(q));
	assert_null(tenon_sqe_get(q));
	reap(q, 10, TDI_SC_OK);
	sqe = tenon_sqe_get(q);
	assert_non_null(sqe);
	assert_int_equal(sqe->user_data, 0);
	tenon_prep_nop(sqe, 14);
	assert_null(tenon_sqe_get(q));

	/* An awake device needs no kick; with each of the other flags there is one. [QUE-18] */
	d->device->flags = 0;
	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(mock_kicks(d), 0);
	d->device->flags = TDI_NEED_DOORBELL;
	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(mock_kicks(d), 1);
	d->device->flags = 0;
	d->kernel->flags = TDI_KERNEL_FORCE_KICK;
	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(mock_kicks(d), 1);
	d->kernel->flags = TDI_KERNEL_THROTTLED;
	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(mock_kicks(d), 0);

	reap(q, 11, TDI_SC_OK);
	mock_complete(d, 3, TDI_SC_CANCELED);
	reap(q, 12, TDI_SC_CANCELED);
	reap(q, 13, TDI_SC_CANCELED);
	reap(q, 14, TDI_SC_CANCELED);
	assert_null(tenon_cqe_peek(q));
}

/* A kick counter that is full must not block the caller; a kick is pending anyway. */
static void test_kick_full(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 4, 0);
	struct mock_queue *d = mock_device(f->mock, q);
	uint64_t full = UINT64_MAX - 1;

	assert_int_equal(write(d->kick, &full, sizeof(full)), sizeof(full));
	submit(q, 1, 1);
	assert_int_equal(mock_kicks(d), full);
}

/* [SEM-9], the host's half */
static void test_host_signal(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 4, 0);
	struct mock_queue *d = mock_device(f->mock, q);
	uint64_t semaphore = 0;

	assert_int_equal(tenon_host_signal(q, &semaphore, 7), 0);
	assert_int_equal(semaphore, 7);
	assert_int_equal(mock_kicks(d), 1);
	d->device->flags = 0;
	assert_int_equal(tenon_host_signal(q, &semaphore, 8), 0);
	assert_int_equal(semaphore, 8);
	assert_int_equal(mock_kicks(d), 0);
	d->kernel->flags = TDI_KERNEL_DEAD;
	assert_int_equal(tenon_host_signal(q, &semaphore, 9), -ENODEV);
	assert_int_equal(semaphore, 9);
}

/* The indices of every new queue are 4 laps before the wrap. [QUE-2, QUE-7, WAI-9] */
static void test_wrap(void **state)
{
	struct fixture *f = *state;
	uint32_t depth, lap;

	for (depth = 1; depth <= MOCK_DEPTH; depth *= 4) {
		struct tenon_queue *q = make(f, depth, 1000);
		struct mock_queue *d = mock_device(f->mock, q);
		uint64_t next = 100, reaped = 100;

		for (lap = 0; lap < 12; lap++) {
			uint32_t i, batch = depth - lap % (depth > 1 ? 2 : 1);

			submit(q, next, batch);
			next += batch;
			assert_int_equal(tenon_wait(q, batch + 1, 0), -EINVAL);
			assert_int_equal(tenon_wait(q, batch, 0), -ETIMEDOUT);
			mock_complete(d, batch - 1, TDI_SC_OK);
			assert_int_equal(tenon_wait(q, batch, 0), -ETIMEDOUT);
			mock_complete(d, 1, TDI_SC_OK);
			assert_int_equal(tenon_wait(q, batch, -1), 0);
			for (i = 0; i < batch; i++)
				reap(q, reaped++, TDI_SC_OK);
			assert_null(tenon_cqe_peek(q));
		}
		assert_true(d->done < TDI_FIRST_INDEX(depth));
		mock_sync(f->mock);
		assert_int_equal(tenon_queue_destroy(q), 0);
	}
}

/* ---------------------------------------------------------------------------------- waiting */

struct later {
	pthread_t thread;
	struct fixture *fixture;
	struct mock_queue *device;
	int64_t delay_ns;
	void (*act)(struct later *l);
};

static void *later_run(void *arg)
{
	struct later *l = arg;
	struct timespec t = { .tv_nsec = l->delay_ns };

	nanosleep(&t, NULL);
	l->act(l);
	return NULL;
}

static void act_complete(struct later *l)
{
	mock_complete(l->device, 1, TDI_SC_OK);
}

static void act_die(struct later *l)
{
	mock_die(l->fixture->mock);
}

/* The last completion, and no notice of it. */
static void act_complete_and_die(struct later *l)
{
	struct tdi_cqe cqe = { .user_data = 1 };

	tenon_ring_complete(&l->device->cq[l->device->done & (l->device->depth - 1)], &cqe,
			    l->device->done + 1);
	mock_die(l->fixture->mock);
}

static void act_stuck(struct later *l)
{
	struct tdi_usage usage;

	mock_lie(l->fixture->mock, TENON_MSG_USAGE, LIE_STUCK);
	assert_int_equal(tenon_context_usage(l->fixture->context, &usage), -EPROTO);
}

static void act_bad_answer(struct later *l)
{
	struct tdi_usage usage;

	mock_lie(l->fixture->mock, TENON_MSG_USAGE, LIE_ID);
	assert_int_equal(tenon_context_usage(l->fixture->context, &usage), -EPROTO);
}

static void act_flag(struct later *l)
{
	tenon_store_release(&l->device->kernel->flags, TDI_KERNEL_DEAD);
	TENON_FULL_BARRIER();
	assert_int_equal(write(l->device->notice, "", 1), 1);
}

static void start(struct later *l, struct fixture *f, struct tenon_queue *q, int64_t delay_ns,
		  void (*act)(struct later *l))
{
	l->fixture = f;
	l->device = mock_device(f->mock, q);
	l->delay_ns = delay_ns;
	l->act = act;
	assert_int_equal(pthread_create(&l->thread, NULL, later_run, l), 0);
}

static void test_wait(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct mock_queue *d = mock_device(f->mock, q);
	struct later l;
	int64_t begun;

	assert_int_equal(tenon_wait(q, 1, -1), -EINVAL);
	submit(q, 1, 3);
	assert_int_equal(tenon_wait(q, 0, -1), -EINVAL);
	assert_int_equal(tenon_wait(q, 4, -1), -EINVAL);
	assert_int_equal(tenon_wait(q, UINT32_MAX, -1), -EINVAL);
	assert_int_equal(tenon_wait(q, 1, 0), -ETIMEDOUT);
	begun = now();
	assert_int_equal(tenon_wait(q, 1, 20 * MS), -ETIMEDOUT);
	assert_in_range(now() - begun, 20 * MS, 2000 * MS);
	mock_complete(d, 1, TDI_SC_OK);
	assert_int_equal(tenon_wait(q, 1, 0), 0);

	start(&l, f, q, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(q, 2, -1), 0);
	pthread_join(l.thread, NULL);
	start(&l, f, q, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(q, 3, INT64_MAX), 0);
	pthread_join(l.thread, NULL);
	reap(q, 1, TDI_SC_OK);
	reap(q, 2, TDI_SC_OK);
	reap(q, 3, TDI_SC_OK);
}

/* Waiting for less, giving up, then waiting for more, and the other way round. [WAI-3] */
static void test_wait_targets(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct mock_queue *d = mock_device(f->mock, q);
	struct later l;

	submit(q, 1, 8);
	assert_int_equal(tenon_wait(q, 5, 2 * MS), -ETIMEDOUT);
	start(&l, f, q, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(q, 1, 5000 * MS), 0);
	pthread_join(l.thread, NULL);
	assert_int_equal(tenon_wait(q, 2, 2 * MS), -ETIMEDOUT);
	/* The notice of 2 is left in the socket and must not end the wait for 4. [WAI-7] */
	mock_complete(d, 2, TDI_SC_OK);
	assert_int_equal(tenon_wait(q, 4, 2 * MS), -ETIMEDOUT);
	start(&l, f, q, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(q, 4, 5000 * MS), 0);
	pthread_join(l.thread, NULL);
}

static void test_never_sleeps(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, UINT32_MAX);
	struct mock_queue *d = mock_device(f->mock, q);
	struct later l;

	submit(q, 1, 2);
	assert_int_equal(tenon_wait(q, 1, 2 * MS), -ETIMEDOUT);
	start(&l, f, q, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(q, 1, -1), 0);
	pthread_join(l.thread, NULL);
	/* Nothing was armed: the device sends no notice. */
	assert_int_equal(d->producer->wanted, TDI_FIRST_INDEX(8));
	start(&l, f, q, 20 * MS, act_die);
	assert_int_equal(tenon_wait(q, 2, -1), -ENODEV);
	pthread_join(l.thread, NULL);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void test_signal(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct itimerval soon = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 }, never = { 0 };
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);

	submit(q, 1, 1);
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(tenon_wait(q, 1, 5000 * MS), -EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
}

static int poll_ms(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) ? p.revents : 0;
}

static void test_arm(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 0);
	struct mock_queue *d = mock_device(f->mock, q);
	static const char blob[4096];
	int fd = tenon_queue_fd(q), i;

	assert_int_equal(tenon_queue_arm(q, 1), -EINVAL);
	submit(q, 1, 8);
	assert_int_equal(tenon_queue_arm(q, 0), -EINVAL);
	assert_int_equal(tenon_queue_arm(q, 9), -EINVAL);

	/* Not armed: silence. Armed for 3: not by 2. One-shot. */
	assert_false(mock_complete(d, 1, TDI_SC_OK));
	assert_int_equal(poll_ms(fd, 0), 0);
	assert_int_equal(tenon_queue_arm(q, 1), 1);
	assert_int_equal(tenon_queue_arm(q, 3), 0);
	assert_false(mock_complete(d, 1, TDI_SC_OK));
	assert_int_equal(poll_ms(fd, 0), 0);
	assert_true(mock_complete(d, 1, TDI_SC_OK));
	assert_int_equal(poll_ms(fd, 1000), POLLIN);
	assert_false(mock_complete(d, 1, TDI_SC_OK));

	/* It stays readable until it is armed again, which forgets. */
	assert_int_equal(poll_ms(fd, 0), POLLIN);
	assert_int_equal(tenon_queue_arm(q, 5), 0);
	assert_int_equal(poll_ms(fd, 0), 0);
	assert_true(mock_complete(d, 1, TDI_SC_OK));
	assert_int_equal(poll_ms(fd, 1000), POLLIN);
	assert_int_equal(tenon_queue_arm(q, 5), 1);

	/* More than one read takes doesn't hide the end of file behind it. */
	for (i = 0; i < 10; i++)
		assert_int_equal(write(d->notice, blob, sizeof(blob)), sizeof(blob));
	assert_int_equal(tenon_queue_arm(q, 6), 0);
	assert_int_equal(poll_ms(fd, 0), 0);
	mock_die(f->mock);
	assert_true(poll_ms(fd, 1000) & POLLHUP);
	assert_int_equal(tenon_queue_arm(q, 5), 1);
	assert_int_equal(tenon_queue_arm(q, 6), -ENODEV);
}

/* A peer that writes the tenant's W for ever holds up nothing that has a time-out. [SOC-28, WAI-13] */
static void *fiddle(void *arg)
{
	struct mock_queue *d = arg;
	uint32_t first = TDI_FIRST_INDEX(8);

	while (!__atomic_load_n(&d->kernel->reserved[0], __ATOMIC_RELAXED))
		tenon_store(&d->producer->wanted,
			    tenon_load(&d->producer->wanted) == first ? first - 1 : first);
	return NULL;
}

static void test_arm_contended(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct mock_queue *d = mock_device(f->mock, q);
	pthread_t thread;
	int i;

	submit(q, 1, 1);
	assert_int_equal(pthread_create(&thread, NULL, fiddle, d), 0);
	for (i = 0; i < 10000; i++)
		assert_int_equal(tenon_queue_arm(q, 1), 0);
	assert_int_equal(tenon_wait(q, 1, 5 * MS), -ETIMEDOUT);
	__atomic_store_n(&d->kernel->reserved[0], 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* ------------------------------------------------------------- both sides at once, sleeping and waking */

struct device {
	struct mock_queue *queue;
	bool stop;
};

/* A device that polls for a moment, then parks and sleeps in poll() on the kick. [QUE-5, WAI-2, WAI-6] */
static void *device_run(void *arg)
{
	struct device *dev = arg;
	struct mock_queue *d = dev->queue;
	uint32_t idle = 0, seen;

	while (!__atomic_load_n(&dev->stop, __ATOMIC_RELAXED)) {
		seen = tenon_load_acquire(&d->producer->tail);
		if (seen != d->done) {
			idle = 0;
			mock_complete(d, 1 + (d->done & 1 && seen - d->done > 1), TDI_SC_OK);
		} else if (++idle > 50) {
			mock_kicks(d);
			if (!tenon_ring_park(d->producer, d->device, TDI_NEED_KICK, seen))
				poll_ms(d->kick, 2000);
			tenon_store(&d->device->flags, 0);
			idle = 0;
		}
	}
	return NULL;
}

static void ping_pong(struct fixture *f, uint32_t depth, uint32_t spin_ns, bool by_fd)
{
	struct tenon_queue *q = make(f, depth, spin_ns);
	struct device dev = { .queue = mock_device(f->mock, q) };
	uint64_t next = 0, reaped = 0;
	int64_t end = now() + 400 * MS;
	unsigned int seed = depth;
	pthread_t thread;
	int r;

	assert_int_equal(pthread_create(&thread, NULL, device_run, &dev), 0);
	while (now() < end) {
		uint32_t batch = 1 + (uint32_t)rand_r(&seed) % depth;
		uint32_t count = 1 + (uint32_t)rand_r(&seed) % batch;

		batch -= (uint32_t)(next - reaped) < batch ? (uint32_t)(next - reaped) : batch - 1;
		submit(q, next, batch);
		next += batch;
		if (count > next - reaped)
			count = (uint32_t)(next - reaped);
		if (by_fd) {
			while (!(r = tenon_queue_arm(q, count)))
				/* A wake-up that is lost shows as 2 s of silence. */
				assert_int_equal(poll_ms(tenon_queue_fd(q), 2000), POLLIN);
			assert_int_equal(r, 1);
		} else {
			assert_int_equal(tenon_wait(q, count, 2000 * MS), 0);
		}
		while (tenon_cqe_peek(q))
			reap(q, reaped++, TDI_SC_OK);
		assert_true(next - reaped < depth);
	}
	while (reaped < next) {
		assert_int_equal(tenon_wait(q, 1, 2000 * MS), 0);
		reap(q, reaped++, TDI_SC_OK);
	}
	__atomic_store_n(&dev.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(tenon_queue_kick_(q), 0);
	pthread_join(thread, NULL);
	print_message("# depth %u, spin %u ns%s: %llu commands\n", depth, spin_ns, by_fd ? ", by fd" : "",
		      (unsigned long long)reaped);
	assert_true(reaped > 100);
	mock_sync(f->mock);
	assert_int_equal(tenon_queue_destroy(q), 0);
}

static void test_both_sides(void **state)
{
	ping_pong(*state, 2, 1, false);
	ping_pong(*state, 16, 1, false);
	ping_pong(*state, 16, 0, false);
	ping_pong(*state, 64, UINT32_MAX, false);
	ping_pong(*state, 2, 0, true);
	ping_pong(*state, 64, 0, true);
}

/* One thread submits, another reaps. */
struct reaper {
	struct tenon_queue *queue;
	uint64_t count;
	uint64_t wrong;
};

static void *reaper_run(void *arg)
{
	struct reaper *r = arg;
	const struct tdi_cqe *cqe;
	uint64_t i;

	for (i = 0; i < r->count; i++) {
		while (!(cqe = tenon_cqe_peek(r->queue)))
			/* -EINVAL: nothing was submitted yet. */
			tenon_wait(r->queue, 1, 2000 * MS);
		r->wrong += cqe->user_data != i;
		tenon_cqe_seen(r->queue);
	}
	return NULL;
}

static void test_two_threads(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 16, 1);
	struct device dev = { .queue = mock_device(f->mock, q) };
	struct reaper r = { .queue = q, .count = 20000 };
	pthread_t device, reaper;
	struct tdi_sqe *sqe;
	uint64_t i;

	assert_int_equal(pthread_create(&device, NULL, device_run, &dev), 0);
	assert_int_equal(pthread_create(&reaper, NULL, reaper_run, &r), 0);
	for (i = 0; i < r.count; i++) {
		while (!(sqe = tenon_sqe_get(q)))
			sched_yield();
		tenon_prep_nop(sqe, i);
		if (tenon_submit(q))
			break;
	}
	pthread_join(reaper, NULL);
	__atomic_store_n(&dev.stop, true, __ATOMIC_RELAXED);
	tenon_queue_kick_(q);
	pthread_join(device, NULL);
	assert_int_equal(i, r.count);
	assert_int_equal(r.wrong, 0);
}

/* ------------------------------------------------------------------------------------ death */

/* What it completed before comes first, then each other command once, in order, ABORTED. [TKO-13] */
static void check_dead(struct tenon_queue *q, uint64_t from, unsigned int completed, unsigned int aborted)
{
	struct tdi_sqe *sqe;
	unsigned int i;

	for (i = 0; i < completed; i++)
		reap(q, from++, TDI_SC_OK);
	for (i = 0; i < aborted; i++) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(q);

		assert_non_null(cqe);
		assert_ptr_equal(tenon_cqe_peek(q), cqe);
		assert_int_equal(cqe->busy_ns, 0);
		assert_int_equal(cqe->info, 0);
		reap(q, from++, TDI_SC_ABORTED);
	}
	assert_null(tenon_cqe_peek(q));
	assert_int_equal(tenon_wait(q, 1, 0), -EINVAL);

	/* What is submitted to a dead queue ends too, over more than a lap. */
	for (i = 0; i < 3 * (q->mask + 1); i++) {
		sqe = tenon_sqe_get(q);
		assert_non_null(sqe);
		tenon_prep_nop(sqe, i);
		assert_null(tenon_cqe_peek(q));
		assert_int_equal(tenon_submit(q), -ENODEV);
		assert_int_equal(tenon_wait(q, 1, -1), -ENODEV);
		reap(q, i, TDI_SC_ABORTED);
	}
}

static void test_death(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);

	submit(q, 1, 7);
	mock_complete(mock_device(f->mock, q), 3, TDI_SC_OK);
	reap(q, 1, TDI_SC_OK);
	/* It was awake: nothing in its pages asks for kicks. */
	mock_device(f->mock, q)->device->flags = 0;
	mock_die(f->mock);
	/* No SIGPIPE, and nothing is known yet: it can still be handed in. */
	submit(q, 8, 1);
	assert_int_equal(tenon_wait(q, 2, -1), 0);
	assert_null(q->dead ? q : NULL);
	assert_int_equal(tenon_wait(q, 3, -1), -ENODEV);
	assert_int_equal(tenon_wait(q, 2, -1), 0);
	check_dead(q, 2, 2, 5);
}

static void test_death_looked_once(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);

	submit(q, 1, 2);
	mock_die(f->mock);
	assert_null(tenon_cqe_peek(q));
	assert_int_equal(tenon_wait(q, 1, 0), -ENODEV);
	check_dead(q, 1, 0, 2);
}

static void test_death_asleep(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct later l;

	submit(q, 1, 8);
	mock_complete(mock_device(f->mock, q), 1, TDI_SC_OK);
	start(&l, f, q, 20 * MS, act_die);
	assert_int_equal(tenon_wait(q, 8, -1), -ENODEV);
	pthread_join(l.thread, NULL);
	check_dead(q, 1, 1, 7);
}

/* A set-up call that gets no proper answer ends the context, also for who sleeps in another thread. */
static void test_death_by_call(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000), *other = make(f, 8, 1000);
	struct later l;

	submit(q, 1, 2);
	submit(other, 1, 2);
	start(&l, f, q, 20 * MS, act_bad_answer);
	assert_int_equal(tenon_wait(q, 2, -1), -ENODEV);
	pthread_join(l.thread, NULL);
	check_dead(q, 1, 0, 2);
	/* Nobody looked at the other one yet, but the library knows. */
	assert_int_equal(tenon_queue_kick_(other), -ENODEV);
	check_dead(other, 1, 0, 2);
}

/* The same with a peer that hangs, so that the pipe tells nothing. */
static void test_death_by_call_stuck(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct later l;
	int64_t begun = now();

	submit(q, 1, 2);
	start(&l, f, q, 20 * MS, act_stuck);
	assert_int_equal(tenon_wait(q, 2, -1), -ENODEV);
	assert_in_range(now() - begun, 0, 1000 * MS);
	pthread_join(l.thread, NULL);
	check_dead(q, 1, 0, 2);
}

static void test_death_after_completion(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct later l;

	submit(q, 1, 3);
	start(&l, f, q, 20 * MS, act_complete_and_die);
	assert_int_equal(tenon_wait(q, 1, -1), 0);
	pthread_join(l.thread, NULL);
	assert_int_equal(tenon_wait(q, 2, -1), -ENODEV);
	check_dead(q, 1, 1, 2);
}

/* One queue alone, by the flag: the kernel's way, and tenond's before it leaves. [SOC-22, WAI-10] */
static void test_death_flag(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000), *other = make(f, 8, 1000), *armed = make(f, 8, 1000);
	struct later l;

	submit(q, 1, 2);
	start(&l, f, q, 20 * MS, act_flag);
	assert_int_equal(tenon_wait(q, 2, -1), -ENODEV);
	pthread_join(l.thread, NULL);
	check_dead(q, 1, 0, 2);

	/* The other queue lives. */
	submit(other, 1, 1);
	start(&l, f, other, 20 * MS, act_complete);
	assert_int_equal(tenon_wait(other, 1, -1), 0);
	pthread_join(l.thread, NULL);
	reap(other, 1, TDI_SC_OK);

	/* A submit sees the flag, and a reaper that only polls then knows too. */
	submit(armed, 1, 1);
	assert_int_equal(tenon_queue_arm(armed, 1), 0);
	mock_device(f->mock, armed)->kernel->flags = TDI_KERNEL_DEAD;
	assert_int_equal(tenon_submit(armed), -ENODEV);
	assert_int_equal(tenon_queue_arm(armed, 1), -ENODEV);
	check_dead(armed, 1, 0, 1);
}

/* The device's last completion was written after the reaper looked and before it learnt of the death. */
static void test_death_last_completion(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q = make(f, 8, 1000);
	struct mock_queue *d = mock_device(f->mock, q);

	submit(q, 1, 2);
	assert_null(tenon_cqe_peek(q));
	mock_complete(d, 1, TDI_SC_OK);
	d->kernel->flags = TDI_KERNEL_DEAD;
	assert_int_equal(tenon_queue_kick_(q), -ENODEV);
	assert_int_equal(tenon_queue_dead_cqe_(q)->status, TDI_SC_OK);
	check_dead(q, 1, 1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_submit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait_targets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_sleeps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arm_contended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_looked_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_asleep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_by_call, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_by_call_stuck, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_after_completion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_flag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_death_last_completion, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
