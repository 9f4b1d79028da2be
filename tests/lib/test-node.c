/* SPDX-License-Identifier: MIT */
/* libtenon at a node: ioctls that work and that fail, doorbells and kicks, waiting, death, finding nodes. */
#include "fake.h"

#include <fcntl.h>
#include <libudev.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <drm/tenon_drm.h>

#include "internal.h"

#define MS 1000000LL
#define RW (TDI_BUFFER_READ | TDI_BUFFER_WRITE)

static struct tenon_context *context;
static unsigned int fds_before;

static unsigned int count_fds(void)
{
	unsigned int count = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int setup(void **state)
{
	fake_init();
	fds_before = count_fds();
	return tenon_open(FAKE_NODE, NULL, &context);
}

/* Nothing is left: no descriptor, no mapping; and the file was closed once. */
static int teardown(void **state)
{
	tenon_close(context);
	return fake.mappings || fake.closed != 1 || count_fds() != fds_before;
}

static int setup_closed(void **state)
{
	fake_init();
	fds_before = count_fds();
	return 0;
}

static int teardown_closed(void **state)
{
	return fake.mappings || count_fds() != fds_before;
}

static struct tenon_queue *make(uint32_t depth, uint32_t spin_ns)
{
	struct tenon_queue_options options = { .size = sizeof(options), .spin_ns = spin_ns };
	struct tenon_queue *q;

	assert_int_equal(tenon_queue_create(context, depth, &options, &q), 0);
	return q;
}

static int put(struct tenon_queue *q, uint64_t from, unsigned int count)
{
	while (count--) {
		struct tdi_sqe *sqe = tenon_sqe_get(q);

		assert_non_null(sqe);
		tenon_prep_nop(sqe, from++);
	}
	return tenon_submit(q);
}

static void reap(struct tenon_queue *q, uint64_t user_data, uint16_t status)
{
	const struct tdi_cqe *cqe = tenon_cqe_peek(q);

	assert_non_null(cqe);
	assert_int_equal(cqe->user_data, user_data);
	assert_int_equal(cqe->status, status);
	tenon_cqe_seen(q);
}

static void fail_next(unsigned int nr, int error)
{
	fake.error[nr] = error;
}

static int64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ------------------------------------------------------------------------------- contexts */

static void test_open(void **state)
{
	struct tdi_context_status status;
	struct tdi_usage usage;
	struct tenon_queue *q;

	assert_string_equal((const char *)tenon_identify(context)->model, "fake");
	assert_int_equal(tenon_limits(context)->memory_bytes, FAKE_MEMORY);
	assert_int_equal(tenon_limits(context)->buffers, FAKE_BUFFERS);
	assert_int_equal(tenon_limits(context)->queues, FAKE_QUEUES);
	assert_int_equal(tenon_limits(context)->depth, FAKE_DEPTH);
	assert_string_equal(tenon_errstr(context), "");

	assert_int_equal(tenon_context_status(context, &status), 0);
	assert_int_equal(status.queues, 1);
	assert_int_equal(status.queue[0].completed, 77);
	assert_int_equal(tenon_context_usage(context, &usage), 0);
	assert_int_equal(usage.busy_ns, 1234);
	q = make(8, 0);
	assert_int_equal(tenon_queue_usage(q, &usage), 0);
	assert_int_equal(usage.busy_ns, 100 + tenon_queue_id(q));
	assert_int_equal(tenon_queue_destroy(q), 0);
	/* A signal that comes on the way is no reason to give up, nor does it repeat what was done. */
	fail_next(DRM_TENON_QUERY, EINTR);
	assert_int_equal(tenon_context_usage(context, &usage), 0);
}

static void test_open_errors(void **state)
{
	struct tenon_context *c;

	fake.driver = "ivpu";
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), -ENODEV);
	assert_string_equal(tenon_errstr(NULL), FAKE_NODE " is not a node of Tenon's driver");
	assert_null(c);
	/* Neither is one whose name only begins the same. */
	fake.driver = "tenon2";
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), -ENODEV);
	assert_int_equal(tenon_open("/dev/zero", NULL, &c), -ENODEV);
	fake.driver = "tenon";

	fail_next(DRM_TENON_QUERY, EINVAL);
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), -EINVAL);
	assert_string_equal(tenon_errstr(NULL), "open: refused by the kernel: Invalid argument");
	fail_next(DRM_TENON_QUERY, ENODEV);
	fake.after[DRM_TENON_QUERY] = 1;
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), -ENODEV);
	assert_string_equal(tenon_errstr(NULL), "open: the device is gone");

	fake.tdi_version++;
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), -EPROTO);
	assert_string_equal(tenon_errstr(NULL), FAKE_NODE " speaks another version of TDI");
	fake.tdi_version--;

	fake.memory_bytes = UINT64_MAX;
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), 0);
	assert_true(tenon_limits(c)->memory_bytes <= INT64_MAX - TDI_PAGE_SIZE);
	tenon_close(c);
}

/* The three ways in which a call tells that the context is at its end; nothing is asked after that. */
static void test_calls_that_end_it(void **state)
{
	static const struct {
		int error, result;
		const char *text;
	} ends[] = {
		{ ENODEV, -ENODEV, "usage: the device is gone" },
		{ EIO, -ENODEV, "usage: the device failed or was reset" },
		{ ETIMEDOUT, -ETIMEDOUT, "usage: the device didn't answer and is being reset" },
	};
	struct tdi_context_status status;
	struct tenon_context *c;
	struct tenon_buffer *b;
	struct tdi_usage usage;
	unsigned int asked;
	size_t i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), 0);
		assert_int_equal(tenon_buffer_create(c, 1, RW, &b), 0);
		fail_next(DRM_TENON_QUERY, ends[i].error);
		assert_int_equal(tenon_context_usage(c, &usage), ends[i].result);
		assert_string_equal(tenon_errstr(c), ends[i].text);
		asked = fake.calls[DRM_TENON_QUERY];
		assert_int_equal(tenon_context_usage(c, &usage), -ENODEV);
		assert_string_equal(tenon_errstr(c), "the device died");
		assert_int_equal(fake.calls[DRM_TENON_QUERY], asked);
		/* The memory goes all the same. */
		assert_int_equal(tenon_buffer_destroy(b), -ENODEV);
		assert_int_equal(fake.handles, 0);
		assert_int_equal(fake.mappings, 0);
		tenon_close(c);
	}
	assert_int_equal(tenon_open(FAKE_NODE, NULL, &c), 0);
	fake.context_dead = true;
	memset(&status, 0xee, sizeof(status));
	assert_int_equal(tenon_context_status(c, &status), -ENODEV);
	assert_int_equal(status.queues, 0xeeeeeeee);
	assert_int_equal(tenon_context_usage(c, &usage), -ENODEV);
	tenon_close(c);
}

static void test_fork(void **state)
{
	struct tenon_queue *q = make(8, 0);
	struct tenon_buffer *b;
	struct tdi_usage usage;
	unsigned char here;
	int status;
	pid_t pid;

	assert_int_equal(tenon_buffer_create(context, 1, RW, &b), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		const void *areas[] = { tenon_buffer_data(b), q->sq, q->cq, fake_device(q)->doorbell };
		struct fake before = fake;
		struct tenon_buffer *b2;
		struct tenon_queue *q2;
		int i;

		for (i = 0; i < 3; i++)
			if (!mincore((void *)((uintptr_t)areas[i] & ~4095ul), 4096, &here))
				_exit(1);
		if (tenon_context_usage(context, &usage) != -ENODEV ||
		    tenon_buffer_create(context, 1, RW, &b2) != -ENODEV ||
		    tenon_queue_create(context, 8, NULL, &q2) != -ENODEV)
			_exit(2);
		/* The file is the parent's too: its objects must stay. */
		if (tenon_buffer_destroy(b) != -ENODEV || tenon_queue_destroy(q) != -ENODEV)
			_exit(3);
		if (memcmp(before.calls, fake.calls, sizeof(fake.calls)) || fake.handles != before.handles ||
		    fake.mappings != before.mappings)
			_exit(4);
		tenon_close(context);
		_exit(fake.closed == 1 ? 0 : 5);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(tenon_context_usage(context, &usage), 0);
	assert_int_equal(put(q, 1, 1), 0);
}

/* Every descriptor that the library holds is closed by exec. */
static void test_exec(void **state)
{
	unsigned int ours = 0;
	bool before[256];
	int fd;

	for (fd = 0; fd < 256; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0 && fd != context->fd;
	fcntl(tenon_queue_fd(make(8, 0)), F_GETFD);
	for (fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (before[fd] || flags < 0 || (flags & FD_CLOEXEC) == 0)
			continue;
		ours++;
	}
	/* The node, the eventfd, and the fake's three of the areas; its copy of the eventfd isn't. */
	assert_int_equal(ours, 5);
	assert_true(fcntl(tenon_queue_fd(&LIST_FIRST(&context->queues)->pub), F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(context->fd, F_GETFD) & FD_CLOEXEC);
}

/* -------------------------------------------------------------------------------- buffers */

static void test_buffer(void **state)
{
	struct tenon_buffer *b, *other;
	unsigned char *data;
	int i;

	assert_int_equal(tenon_buffer_create(context, 5000, TDI_BUFFER_READ, &b), 0);
	assert_int_equal(tenon_buffer_bytes(b), 5000);
	assert_int_equal(tenon_buffer_id(b), TDI_BUFFER_ID(0, 1));
	/* The device's bounds are exact. */
	assert_int_equal(fake.buffer[0].mapped, 5000);
	assert_int_equal(fake.buffer[0].rights, TDI_BUFFER_READ);
	data = tenon_buffer_data(b);
	assert_int_equal((uintptr_t)data % TDI_PAGE_SIZE, 0);
	for (i = 0; i < 8192; i++)
		assert_int_equal(data[i], 0);
	data[8191] = 1;
	assert_int_equal(tenon_buffer_create(context, 1, RW, &other), 0);
	assert_int_equal(fake.buffer[1].rights, RW);
	assert_int_not_equal(tenon_buffer_id(b), tenon_buffer_id(other));
	assert_int_equal(fake.mappings, 2);

	assert_int_equal(tenon_buffer_destroy(b), 0);
	assert_int_equal(fake.buffer[0].rights, 0);
	assert_int_equal(fake.handles, 1);
	assert_int_equal(fake.mappings, 1);

	/* A handle is gone even if the device refuses. */
	fail_next(DRM_TENON_BUFFER_UNMAP, ENOENT);
	assert_int_equal(tenon_buffer_destroy(other), -ENOENT);
	assert_string_equal(tenon_errstr(context),
			    "destroy a buffer: refused by the kernel: No such file or directory");
	assert_int_equal(fake.handles, 0);
	assert_int_equal(fake.mappings, 0);
}

/* Whatever fails on the way, nothing is left of what came before it. */
static void test_buffer_failures(void **state)
{
	static const unsigned int steps[] = { DRM_TENON_BUFFER_CREATE, DRM_TENON_BUFFER_INFO,
					      DRM_TENON_BUFFER_MAP };
	struct tenon_buffer *b;
	size_t i;

	for (i = 0; i < 5; i++) {
		if (i < 3)
			fail_next(steps[i], ENOMEM);
		else if (i == 3)
			fake.fail_mmap = 1;
		else
			fake.fail_madvise = 1;
		assert_int_equal(tenon_buffer_create(context, 1, RW, &b), -ENOMEM);
		assert_null(b);
		assert_string_equal(tenon_errstr(context),
				    i < 3 ? "create a buffer: refused by the kernel: Cannot allocate memory" :
					    "out of address space");
		assert_int_equal(fake.handles, 0);
		assert_int_equal(fake.mappings, 0);
		assert_int_equal(fake.buffer[0].rights, 0);
	}
	/* The context survived. */
	assert_int_equal(tenon_buffer_create(context, 1, RW, &b), 0);
}

static void refuse(unsigned int nr, int error, uint64_t needed, uint64_t allowed)
{
	fail_next(nr, error);
	fake.needed = needed;
	fake.allowed = allowed;
}

static void test_refusals(void **state)
{
	struct tenon_buffer *b;
	struct tenon_queue *q;

	assert_int_equal(tenon_buffer_create(context, FAKE_MEMORY + 1, RW, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(context), "memory: needed 8388609, allowed 8388608");
	assert_int_equal(fake.calls[DRM_TENON_BUFFER_CREATE], 0);

	refuse(DRM_TENON_BUFFER_CREATE, ENOMEM, 12288, 8192);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(context), "memory: needed 12288, allowed 8192");
	refuse(DRM_TENON_BUFFER_MAP, EFBIG, 5000, 4096);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -EFBIG);
	assert_string_equal(tenon_errstr(context), "one buffer: needed 5000, allowed 4096");
	refuse(DRM_TENON_BUFFER_MAP, ENOSPC, 9, 8);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -ENOSPC);
	assert_string_equal(tenon_errstr(context), "buffers: needed 9, allowed 8");
	refuse(DRM_TENON_QUEUE_CREATE, ENOSPC, 5, 4);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), -ENOSPC);
	assert_string_equal(tenon_errstr(context), "queues: needed 5, allowed 4");

	/* Without memory there is no limit to tell, and an earlier refusal's numbers are not this one's. */
	refuse(DRM_TENON_BUFFER_MAP, ENOMEM, 0, 0);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(context),
			    "create a buffer: refused by the kernel: Cannot allocate memory");
	refuse(DRM_TENON_BUFFER_MAP, ENOMEM, 5, 4);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(context),
			    "create a buffer: refused by the kernel: Cannot allocate memory");
	refuse(DRM_TENON_QUEUE_CREATE, ENOMEM, 5, 4);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), -ENOMEM);
	assert_string_equal(tenon_errstr(context),
			    "create a queue: refused by the kernel: Cannot allocate memory");
	refuse(DRM_TENON_BUFFER_MAP, EINVAL, 12288, 8192);
	assert_int_equal(tenon_buffer_create(context, 5000, RW, &b), -EINVAL);
	assert_string_equal(tenon_errstr(context),
			    "create a buffer: refused by the kernel: Invalid argument");
}

/* --------------------------------------------------------------------------------- queues */

static void test_queue_failures(void **state)
{
	struct tenon_queue *q;
	struct rlimit limit, few;
	int i;

	for (i = 0; i < 6; i++) {
		fake.fail_mmap = i < 3 ? (unsigned int)i + 1 : 0;
		fake.fail_madvise = i < 3 ? 0 : (unsigned int)i - 2;
		assert_int_equal(tenon_queue_create(context, 8, NULL, &q), -ENOMEM);
		assert_null(q);
		assert_string_equal(tenon_errstr(context), "out of address space");
		assert_int_equal(fake.mappings, 0);
		assert_false(fake.queue[0].used);
	}
	fake.wrong_rings = true;
	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), -EPROTO);
	assert_int_equal(fake.mappings, 0);
	assert_false(fake.queue[0].used);
	fake.wrong_rings = false;

	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	few.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &few);
	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_string_equal(tenon_errstr(context), "eventfd: Too many open files");

	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), 0);
	assert_int_equal(fake.mappings, 3);
	assert_int_equal(tenon_queue_destroy(q), 0);
	assert_false(fake.queue[0].used);
	assert_int_equal(fake.mappings, 0);
	fake.no_doorbell = true;
	assert_int_equal(tenon_queue_create(context, 8, NULL, &q), 0);
	assert_int_equal(fake.mappings, 2);
	fail_next(DRM_TENON_QUEUE_DESTROY, ENOENT);
	assert_int_equal(tenon_queue_destroy(q), -ENOENT);
	assert_int_equal(fake.mappings, 0);
}

/* What a submit does about each flag. [QUE-18] */
static void test_doorbell(void **state)
{
	static const struct {
		uint32_t device, kernel;
		bool bell, kick;
	} cases[] = {
		{ 0, 0, false, false },
		{ TDI_NEED_DOORBELL, 0, true, false },
		{ TDI_NEED_KICK, 0, false, true },
		{ TDI_NEED_DOORBELL | TDI_NEED_KICK, 0, false, true },
		{ 0, TDI_KERNEL_FORCE_KICK, false, true },
		{ TDI_NEED_DOORBELL, TDI_KERNEL_FORCE_KICK, false, true },
		{ TDI_NEED_DOORBELL, TDI_KERNEL_THROTTLED, true, false },
	};
	struct tenon_queue *q = make(64, 0);
	struct fake_queue *d = fake_device(q);
	uint64_t semaphore = 0;
	size_t i;

	for (i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = i / 2;

		d->device->flags = cases[n].device;
		d->kernel->flags = cases[n].kernel;
		d->kicks = 0;
		*d->doorbell = 0xdead;
		if (i & 1)
			assert_int_equal(tenon_host_signal(q, &semaphore, i), 0);
		else
			assert_int_equal(put(q, i, 1 + (unsigned int)n), 0);
		assert_int_equal(d->kicks, cases[n].kick);
		assert_int_equal(*d->doorbell, cases[n].bell ? d->producer->tail : 0xdead);
	}
}

static void test_no_doorbell(void **state)
{
	struct fake_queue *d;
	struct tenon_queue *q;

	fake.no_doorbell = true;
	q = make(8, 0);
	d = fake_device(q);
	assert_int_equal(put(q, 1, 1), 0);
	assert_int_equal(d->kicks, 1);
	/* A queue without a doorbell treats NEED_DOORBELL as NEED_KICK. */
	d->device->flags = TDI_NEED_DOORBELL;
	assert_int_equal(put(q, 2, 1), 0);
	assert_int_equal(d->kicks, 2);
	d->device->flags = 0;
	assert_int_equal(put(q, 3, 1), 0);
	assert_int_equal(d->kicks, 2);
	/* A signal that comes during the kick doesn't lose it. */
	d->device->flags = TDI_NEED_KICK;
	fail_next(DRM_TENON_QUEUE_KICK, EINTR);
	assert_int_equal(put(q, 4, 1), 0);
	assert_int_equal(d->kicks, 3);
}

/* All lengths of batches, over the wrap of the indices. [QUE-2, QUE-7] */
static void test_wrap(void **state)
{
	uint32_t depth, lap, i;

	for (depth = 1; depth <= FAKE_DEPTH; depth *= 4) {
		struct tenon_queue *q = make(depth, 1000);
		struct fake_queue *d = fake_device(q);
		uint64_t next = 0, reaped = 0;

		for (lap = 0; lap < 12; lap++) {
			uint32_t batch = depth - lap % (depth > 1 ? 2 : 1);

			assert_int_equal(put(q, next, batch), 0);
			assert_int_equal(*d->doorbell, d->producer->tail);
			next += batch;
			assert_int_equal(tenon_wait(q, batch + 1, 0), -EINVAL);
			fake_complete(d, batch - 1, TDI_SC_OK);
			assert_int_equal(tenon_wait(q, batch, 0), -ETIMEDOUT);
			assert_int_equal(tenon_wait(q, batch, 100000), -ETIMEDOUT);
			fake_complete(d, 1, TDI_SC_OK);
			assert_int_equal(tenon_wait(q, batch, -1), 0);
			for (i = 0; i < batch; i++)
				reap(q, reaped++, TDI_SC_OK);
			assert_null(tenon_cqe_peek(q));
		}
		assert_true(d->done < TDI_FIRST_INDEX(depth));
		assert_int_equal(tenon_queue_destroy(q), 0);
	}
}

/* -------------------------------------------------------------------------------- waiting */

struct later {
	pthread_t thread;
	struct tenon_queue *queue;
	void (*act)(struct tenon_queue *q);
};

static void *later_run(void *arg)
{
	struct timespec t = { .tv_nsec = 20 * MS };
	struct later *l = arg;

	nanosleep(&t, NULL);
	l->act(l->queue);
	return NULL;
}

static void act_complete(struct tenon_queue *q)
{
	fake_complete(fake_device(q), 1, TDI_SC_OK);
}

static void act_reset(struct tenon_queue *q)
{
	fake_die(RESET);
}

static void act_take_over(struct tenon_queue *q)
{
	fake_take_over();
}

static void act_vanish(struct tenon_queue *q)
{
	fake_die(VANISHED);
}

static void act_tail(struct tenon_queue *q)
{
	tenon_store_release(&q->producer->tail, q->sq_submitted);
	fake_complete(fake_device(q), 1, TDI_SC_OK);
}

static void start(struct later *l, struct tenon_queue *q, void (*act)(struct tenon_queue *q))
{
	l->queue = q;
	l->act = act;
	assert_int_equal(pthread_create(&l->thread, NULL, later_run, l), 0);
}

static void test_wait(void **state)
{
	struct tenon_queue *q = make(8, 1000);
	unsigned int *waits = &fake.calls[DRM_TENON_QUEUE_WAIT], before;
	struct later l;
	int64_t begun;

	assert_int_equal(tenon_wait(q, 1, -1), -EINVAL);
	put(q, 1, 3);
	assert_int_equal(tenon_wait(q, 0, -1), -EINVAL);
	assert_int_equal(tenon_wait(q, 4, -1), -EINVAL);
	/* Looking once needs no call. */
	assert_int_equal(tenon_wait(q, 1, 0), -ETIMEDOUT);
	assert_int_equal(*waits, 0);
	begun = clock_ns();
	assert_int_equal(tenon_wait(q, 1, 20 * MS), -ETIMEDOUT);
	assert_in_range(clock_ns() - begun, 20 * MS, 2000 * MS);
	assert_int_equal(*waits, 1);
	act_complete(q);
	assert_int_equal(tenon_wait(q, 1, -1), 0);
	assert_int_equal(*waits, 1);

	start(&l, q, act_complete);
	assert_int_equal(tenon_wait(q, 2, -1), 0);
	pthread_join(l.thread, NULL);
	start(&l, q, act_complete);
	assert_int_equal(tenon_wait(q, 3, INT64_MAX), 0);
	pthread_join(l.thread, NULL);
	assert_int_equal(*waits, 3);
	reap(q, 1, TDI_SC_OK);
	reap(q, 2, TDI_SC_OK);
	reap(q, 3, TDI_SC_OK);

	/* One that never sleeps doesn't call. */
	q = make(8, UINT32_MAX);
	put(q, 1, 1);
	before = *waits;
	start(&l, q, act_complete);
	assert_int_equal(tenon_wait(q, 1, -1), 0);
	pthread_join(l.thread, NULL);
	assert_int_equal(*waits, before);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void test_wait_signal(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct itimerval soon = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 }, never = { 0 };
	struct tenon_queue *q = make(8, 1000);

	put(q, 1, 1);
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(tenon_wait(q, 1, 5000 * MS), -EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(q->dead, 0);
	assert_int_equal(tenon_wait(q, 1, 1 * MS), -ETIMEDOUT);
}

/* The producer's thread has told the library of a command, and not yet the kernel. */
static void test_wait_before_tail(void **state)
{
	struct tenon_queue *q = make(8, 1000);
	struct later l;

	put(q, 1, 1);
	q->producer->tail--;
	assert_int_equal(tenon_wait(q, 1, 5 * MS), -ETIMEDOUT);
	start(&l, q, act_tail);
	assert_int_equal(tenon_wait(q, 1, -1), 0);
	pthread_join(l.thread, NULL);
	reap(q, 1, TDI_SC_OK);
}

static int poll_ms(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) ? p.revents : 0;
}

static void test_arm(void **state)
{
	struct tenon_queue *q = make(8, 0);
	int fd = tenon_queue_fd(q);

	assert_int_equal(tenon_queue_arm(q, 1), -EINVAL);
	put(q, 1, 8);
	assert_int_equal(tenon_queue_arm(q, 0), -EINVAL);
	assert_int_equal(tenon_queue_arm(q, 9), -EINVAL);

	/* Not armed: silence. Armed for 3: not by 2. One-shot. */
	act_complete(q);
	assert_int_equal(poll_ms(fd, 0), 0);
	assert_int_equal(tenon_queue_arm(q, 1), 1);
	assert_int_equal(tenon_queue_arm(q, 3), 0);
	act_complete(q);
	assert_int_equal(poll_ms(fd, 0), 0);
	act_complete(q);
	assert_int_equal(poll_ms(fd, 0), POLLIN);
	act_complete(q);

	/* It stays readable until it is armed again, which forgets. */
	assert_int_equal(poll_ms(fd, 0), POLLIN);
	assert_int_equal(tenon_queue_arm(q, 5), 0);
	assert_int_equal(poll_ms(fd, 0), 0);
	act_complete(q);
	assert_int_equal(poll_ms(fd, 0), POLLIN);
	assert_int_equal(tenon_queue_arm(q, 5), 1);

	/* Death: readable, and then there is nothing left to wait for. */
	assert_int_equal(tenon_queue_arm(q, 6), 0);
	fake_die(RESET);
	assert_int_equal(poll_ms(fd, 0), POLLIN);
	assert_int_equal(tenon_queue_arm(q, 8), 1);
}

/* ---------------------------------------------------------------------------------- death */

/* What it completed before comes first, then each other command once, in order, ABORTED. [TKO-13] */
static void check_dead(struct tenon_queue *q, uint64_t from, unsigned int completed, unsigned int aborted)
{
	uint64_t i;

	while (completed--)
		reap(q, from++, TDI_SC_OK);
	while (aborted--) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(q);

		assert_non_null(cqe);
		assert_ptr_equal(tenon_cqe_peek(q), cqe);
		reap(q, from++, TDI_SC_ABORTED);
	}
	assert_null(tenon_cqe_peek(q));
	assert_int_equal(tenon_wait(q, 1, 0), -EINVAL);

	/* What is submitted to a dead queue ends too, over more than a lap. */
	for (i = 0; i < 3 * (q->mask + 1); i++) {
		struct tdi_sqe *sqe = tenon_sqe_get(q);
		int err;

		assert_non_null(sqe);
		tenon_prep_nop(sqe, i);
		assert_null(tenon_cqe_peek(q));
		assert_int_equal(tenon_submit(q), -ENODEV);
		err = tenon_wait(q, 1, -1);
		assert_int_equal(err, fake.death == RESET ? 0 : -ENODEV);
		reap(q, i, TDI_SC_ABORTED);
	}
}

/* However it is that the library learns of it. */
static void die(enum fake_death how, int learn)
{
	struct tenon_queue *q = make(8, 1000);
	bool written = how == RESET || how == UNPLUGGED;
	uint32_t flags;
	struct later l;

	assert_int_equal(put(q, 1, 7), 0);
	fake_complete(fake_device(q), 3, TDI_SC_OK);
	reap(q, 1, TDI_SC_OK);
	/* It was awake: nothing in its pages asks for kicks, and the doorbell is a page that nobody reads. */
	fake_device(q)->device->flags = learn == 3 ? TDI_NEED_DOORBELL : 0;
	if (learn == 0) {
		start(&l, q, how == RESET ? act_reset : act_vanish);
		assert_int_equal(tenon_wait(q, 6, -1), how == RESET ? 0 : -ENODEV);
		pthread_join(l.thread, NULL);
		check_dead(q, 2, 2, 4);
		return;
	}
	fake_die(how);
	switch (learn) {
	case 1:
		assert_int_equal(tenon_wait(q, 6, 0), written ? 0 : -ENODEV);
		break;
	case 2:
		assert_int_equal(tenon_queue_arm(q, 6), written ? 1 : -ENODEV);
		break;
	case 3:
		flags = *fake_device(q)->doorbell;
		assert_int_equal(put(q, 8, 1), -ENODEV);
		assert_int_equal(*fake_device(q)->doorbell, flags);
		/* The kernel is told at once, not when somebody reaps. */
		assert_int_equal(fake_device(q)->kicks, how == RESET);
		check_dead(q, 2, 2, 5);
		return;
	}
	check_dead(q, 2, 2, 4);
}

static void test_death(void **state)
{
	int learn;

	for (learn = 0; learn < 4; learn++) {
		fake.death = ALIVE;
		die(RESET, learn);
	}
}

static void test_unplugged(void **state)
{
	int learn;

	for (learn = 1; learn < 4; learn++) {
		fake.death = ALIVE;
		die(UNPLUGGED, learn);
	}
}

static void test_vanished(void **state)
{
	int learn;

	for (learn = 0; learn < 4; learn++) {
		fake.death = ALIVE;
		die(VANISHED, learn);
	}
}

/* Who only polls finds what the kernel wrote without a call. */
static void test_death_polled(void **state)
{
	struct tenon_queue *q = make(8, 1000);
	unsigned int calls[FAKE_REQUESTS];

	put(q, 1, 3);
	fake_die(RESET);
	memcpy(calls, fake.calls, sizeof(calls));
	reap(q, 1, TDI_SC_ABORTED);
	reap(q, 2, TDI_SC_ABORTED);
	reap(q, 3, TDI_SC_ABORTED);
	assert_null(tenon_cqe_peek(q));
	assert_memory_equal(calls, fake.calls, sizeof(calls));
}

/*
 * The kernel is still at it when the library learns of the death. What it will write must not be made up,
 * since a command could have been completed; who waits gets it, and so does who polls the descriptor.
 */
static void test_death_slow(void **state)
{
	struct tenon_queue *q = make(8, 1000), *armed = make(8, 1000);
	struct later l;

	put(q, 1, 2);
	put(armed, 1, 2);
	fake_die(TAKING_OVER);
	assert_int_equal(put(q, 3, 1), -ENODEV);
	assert_null(tenon_cqe_peek(q));
	assert_int_equal(tenon_wait(q, 3, 0), -ETIMEDOUT);
	assert_int_equal(tenon_wait(q, 3, 2 * MS), -ETIMEDOUT);
	assert_null(tenon_cqe_peek(q));
	assert_int_equal(tenon_queue_arm(armed, 1), 0);
	assert_int_equal(poll_ms(tenon_queue_fd(armed), 0), 0);
	/* A command completes at the last moment. */
	fake_complete(fake_device(q), 1, TDI_SC_OK);

	start(&l, q, act_take_over);
	assert_int_equal(tenon_wait(q, 3, -1), 0);
	pthread_join(l.thread, NULL);
	assert_int_equal(poll_ms(tenon_queue_fd(armed), 0), POLLIN);
	assert_int_equal(tenon_queue_arm(armed, 2), 1);
	check_dead(q, 1, 1, 2);
	check_dead(armed, 1, 0, 2);
}

/* A set-up call that tells of the end tells all queues. */
static void test_death_by_call(void **state)
{
	struct tenon_queue *q = make(8, 1000), *other = make(8, 1000);
	struct tdi_usage usage;

	put(q, 1, 2);
	put(other, 1, 2);
	fake_device(q)->device->flags = 0;
	fail_next(DRM_TENON_QUERY, ETIMEDOUT);
	assert_int_equal(tenon_context_usage(context, &usage), -ETIMEDOUT);
	/* The reset is under way. */
	assert_int_equal(tenon_wait(q, 1, 1 * MS), -ETIMEDOUT);
	fake_die(RESET);
	check_dead(q, 1, 0, 2);
	assert_int_equal(tenon_queue_kick_(other), -ENODEV);
	check_dead(other, 1, 0, 2);
}

/* A kick that fails is the first to tell. */
static void test_death_by_kick(void **state)
{
	struct fake_queue *d;
	struct tenon_queue *q;

	fake.no_doorbell = true;
	q = make(8, 1000);
	d = fake_device(q);
	assert_int_equal(put(q, 1, 1), 0);
	__atomic_store_n(&fake.death, VANISHED, __ATOMIC_RELEASE);
	assert_int_equal(put(q, 2, 1), -ENODEV);
	assert_int_equal(d->kernel->flags, 0);
	check_dead(q, 1, 0, 2);
}

/* ------------------------------------------------------------------------------ devices */

/* sysfs as the tests want it: a device for each number, and its parents' drivers. */
static const char *const ours[] = { NULL, "tenon.partition", "tenon", "pcieport", "" };
static const char *const others[] = { NULL, "intel_vpu", "pcieport", "" };
static bool no_sysfs;

struct udev_device *__wrap_udev_device_new_from_devnum(struct udev *udev, char type, dev_t number);
struct udev_device *__wrap_udev_device_get_parent(struct udev_device *device);
const char *__wrap_udev_device_get_driver(struct udev_device *device);
struct udev_device *__wrap_udev_device_unref(struct udev_device *device);

/* A device is the place in its list of drivers. */
struct udev_device *__wrap_udev_device_new_from_devnum(struct udev *udev, char type, dev_t number)
{
	struct stat st;

	assert_int_equal(type, 'c');
	if (no_sysfs || stat(FAKE_NODE, &st))
		return NULL;
	return (struct udev_device *)(number == st.st_rdev ? ours : others);
}

struct udev_device *__wrap_udev_device_get_parent(struct udev_device *device)
{
	const char *const *driver = (const char *const *)device + 1;

	return *driver && !**driver ? NULL : (struct udev_device *)driver;
}

const char *__wrap_udev_device_get_driver(struct udev_device *device)
{
	return *(const char *const *)device;
}

struct udev_device *__wrap_udev_device_unref(struct udev_device *device)
{
	return NULL;
}

struct seen {
	char paths[256];
	char transports[64];
};

static int see(const struct tenon_device *device, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(device->size, sizeof(*device));
	strcat(seen->paths, strrchr(device->path, '/'));
	strcat(seen->transports, device->transport);
	return 0;
}

static void make_socket(const char *directory, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void test_devices(void **state)
{
	static const char *const links[][2] = {
		{ "accel10", FAKE_NODE }, { "accel2", FAKE_NODE }, { "accel3", "/dev/zero" },
		{ ".accel4", FAKE_NODE }, { "accel5", "/nonexistent" }, { "by-path", "/" },
	};
	char directory[] = "/tmp/tenon-test-XXXXXX", path[128], list[512];
	struct tenon_context *c;
	struct seen seen;
	size_t i;

	assert_non_null(mkdtemp(directory));
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, links[i][0]);
		assert_int_equal(symlink(links[i][1], path), 0);
	}
	make_socket(directory, "sock");

	/* sysfs tells whose they are, and nothing is opened. */
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices_in(directory, &tenon_node, see, &seen), 0);
	assert_string_equal(seen.paths, "/accel2/accel10");
	assert_string_equal(seen.transports, "drmdrm");
	assert_int_equal(fake.versions, 0);

	/* Without it the nodes are asked. */
	no_sysfs = true;
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices_in(directory, &tenon_node, see, &seen), 0);
	assert_string_equal(seen.paths, "/accel2/accel10");
	assert_true(fake.versions > 0);
	fake.driver = "ivpu";
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices_in(directory, &tenon_node, see, &seen), 0);
	assert_string_equal(seen.paths, "");
	fake.driver = "tenon";
	no_sysfs = false;

	/* Sockets are no nodes, and nodes no sockets; $TENON_DEVICE may have both, in its order. */
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices_in(directory, &tenon_socket, see, &seen), 0);
	assert_string_equal(seen.paths, "/sock");
	assert_string_equal(seen.transports, "socket");
	snprintf(list, sizeof(list), "%s/none:%s/accel10:%s/by-path:%s/sock:%s/accel2", directory, directory,
		 directory, directory, directory);
	setenv("TENON_DEVICE", list, 1);
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices(see, &seen), 0);
	assert_string_equal(seen.paths, "/accel10/sock/accel2");
	assert_string_equal(seen.transports, "drmsocketdrm");
	assert_int_equal(tenon_open(NULL, NULL, &c), 0);
	assert_string_equal((const char *)tenon_identify(c)->model, "fake");
	tenon_close(c);
	/* Links in by-path have colons in their names. */
	snprintf(path, sizeof(path), "%s/pci-0000:04:00.0-a", directory);
	assert_int_equal(symlink("accel2", path), 0);
	snprintf(list, sizeof(list), "%s:%s/accel10:%s:", path, directory, path);
	setenv("TENON_DEVICE", list, 1);
	seen = (struct seen){ 0 };
	assert_int_equal(tenon_devices(see, &seen), 0);
	assert_string_equal(seen.paths, "/pci-0000:04:00.0-a/accel10/pci-0000:04:00.0-a");
	unlink(path);
	unsetenv("TENON_DEVICE");

	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, links[i][0]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/sock", directory);
	unlink(path);
	assert_int_equal(rmdir(directory), 0);
}

#define OPENED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CLOSED(name) cmocka_unit_test_setup_teardown(name, setup_closed, teardown_closed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OPENED(test_open),
		CLOSED(test_open_errors),
		CLOSED(test_calls_that_end_it),
		OPENED(test_fork),
		OPENED(test_exec),
		OPENED(test_buffer),
		OPENED(test_buffer_failures),
		OPENED(test_refusals),
		OPENED(test_queue_failures),
		OPENED(test_doorbell),
		OPENED(test_no_doorbell),
		OPENED(test_wrap),
		OPENED(test_wait),
		OPENED(test_wait_signal),
		OPENED(test_wait_before_tail),
		OPENED(test_arm),
		OPENED(test_death),
		OPENED(test_unplugged),
		OPENED(test_vanished),
		OPENED(test_death_polled),
		OPENED(test_death_slow),
		OPENED(test_death_by_call),
		OPENED(test_death_by_kick),
		CLOSED(test_devices),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
