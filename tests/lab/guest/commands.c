// SPDX-License-Identifier: MIT
/*
 * Commands, honest ones: each kind, by doorbell and by QUEUE_KICK, waited for in the kernel, by eventfd and by
 * polling. If this fails, no tenant can use the device as <drm/tenon_drm.h> says.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tenon.h"

FIXTURE(tenant) {
	int fd;
	int eventfd;
	struct buffer a, b;
	struct queue q;
};

FIXTURE_VARIANT(tenant) {
	bool kick;
};

FIXTURE_VARIANT_ADD(tenant, doorbell) { };

FIXTURE_VARIANT_ADD(tenant, kick) {
	.kick = true,
};

FIXTURE_SETUP(tenant)
{
	self->fd = node_open();
	ASSERT_LE(0, self->fd);
	self->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, buffer_make(self->fd, 3 * PAGE, RW, &self->a));
	ASSERT_EQ(0, buffer_make(self->fd, 3 * PAGE, RW, &self->b));
	ASSERT_EQ(0, queue_make(self->fd, 8, self->eventfd, &self->q));
	/* tenond has doorbells of 4 KiB to 64 KiB each: they can be mapped if pages aren't said to be wider. */
	ASSERT_EQ(!!getenv("NO_DOORBELL"), !self->q.doorbell);
	if (variant->kick)
		self->q.doorbell = NULL;
}

FIXTURE_TEARDOWN(tenant)
{
	close(self->fd);
}

TEST_F(tenant, new_queue)
{
	const struct queue *q = &self->q;

	EXPECT_EQ(TDI_FIRST_INDEX(8), q->made.first);
	EXPECT_EQ(q->made.first, q->producer->tail);
	EXPECT_EQ(q->made.first, q->device->fetched);
	EXPECT_EQ(2 * PAGE, q->made.tenant_bytes);
	EXPECT_EQ(3 * PAGE, q->made.device_bytes);
	EXPECT_EQ(0, q->kernel->flags);
	for (uint32_t i = 0; i < 8; i++)
		EXPECT_EQ(q->made.first + i + 1 - 8, q->cq[i].sequence);
	EXPECT_FALSE(completed(q));
}

TEST_F(tenant, each_command)
{
	struct queue *q = &self->q;
	uint64_t *semaphore = (uint64_t *)(self->b.data + 8);

	put(q, TDI_OP_NOP);
	EXPECT_EQ(TDI_SC_OK, run(q));
	put_fill(q, self->a.id, 5, 9000, 0xa1);
	EXPECT_EQ(TDI_SC_OK, run(q));
	EXPECT_TRUE(all_bytes(self->a.data, 0, 5));
	EXPECT_TRUE(all_bytes(self->a.data + 5, 0xa1, 9000));
	EXPECT_TRUE(all_bytes(self->a.data + 9005, 0, 3 * PAGE - 9005));
	put_copy(q, self->b.id, 4090, self->a.id, 0, 100);
	EXPECT_EQ(TDI_SC_OK, run(q));
	EXPECT_TRUE(all_bytes(self->b.data, 0, 4095));
	EXPECT_TRUE(all_bytes(self->b.data + 4095, 0xa1, 95));
	EXPECT_TRUE(all_bytes(self->b.data + 4190, 0, 3 * PAGE - 4190));
	put_signal(q, self->b.id, 8, 7);
	EXPECT_EQ(TDI_SC_OK, run(q));
	EXPECT_EQ(7, *semaphore);
	put_wait(q, self->b.id, 8, 7, LONG);
	EXPECT_EQ(TDI_SC_OK, run(q));
	put_wait(q, self->b.id, 8, 8, 1000);
	EXPECT_EQ(TDI_SC_TIMEOUT, run(q));
	put(q, 0xee);
	EXPECT_EQ(TDI_SC_OPCODE, run(q));
	EXPECT_EQ(7, *semaphore);
}

/* A map begins and ends at any byte; the device reaches no other. */
TEST_F(tenant, part_of_a_buffer)
{
	struct queue *q = &self->q;

	ASSERT_EQ(0, buffer_map(&self->a, 1000, 5000, RW));
	put_fill(q, self->a.id, 0, 5000, 0x5c);
	EXPECT_EQ(TDI_SC_OK, run(q));
	put_fill(q, self->a.id, 1, 5000, 0x5d);
	EXPECT_EQ(TDI_SC_BUFFER_BOUNDS, run(q));
	EXPECT_TRUE(all_bytes(self->a.data, 0, 1000));
	EXPECT_TRUE(all_bytes(self->a.data + 1000, 0x5c, 5000));
	EXPECT_TRUE(all_bytes(self->a.data + 6000, 0, 3 * PAGE - 6000));
}

/* More than ten laps, with a full queue each; the indices pass 2^32. */
TEST_F(tenant, wrap)
{
	struct queue *q = &self->q;
	bool wrapped = false;

	for (unsigned int lap = 0; lap < 12; lap++) {
		for (unsigned int i = 0; i < 8; i++) {
			wrapped |= !q->tail;
			put_fill(q, self->a.id, 8 * lap + i, 1, (uint8_t)(8 * lap + i));
		}
		ASSERT_EQ(TDI_SC_OK, run(q));
	}
	EXPECT_TRUE(wrapped);
	for (unsigned int i = 0; i < 96; i++)
		EXPECT_EQ(i, self->a.data[i]);
}

TEST_F(tenant, eventfd)
{
	struct queue *q = &self->q;
	struct pollfd wait = { .fd = self->eventfd, .events = POLLIN };
	uint64_t count;

	for (unsigned int i = 0; i < 20; i++) {
		put(q, TDI_OP_NOP);
		put(q, TDI_OP_NOP);
		/* Before the submit, so that the notice is always due. */
		ASSERT_EQ(0, tenon_ring_arm(&q->producer->wanted, q->cq, q->mask, q->tail));
		ASSERT_EQ(0, submit(q));
		ASSERT_EQ(1, poll(&wait, 1, (int)(LONG / 1000000)));
		ASSERT_EQ(sizeof(count), read(self->eventfd, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		ASSERT_TRUE(completed(q));
		take(q);
		ASSERT_TRUE(completed(q));
		take(q);
	}
	/* What nobody has asked for brings no notice. */
	put(q, TDI_OP_NOP);
	ASSERT_EQ(0, submit(q));
	while (!completed(q))
		sched_yield();
	sleep_ms(20);
	EXPECT_EQ(-1, read(self->eventfd, &count, sizeof(count)));
}

/* A WAIT holds its own queue, and a SIGNAL of another lets it go. */
TEST_F(tenant, two_queues)
{
	struct queue *q = &self->q, other;
	struct tdi_cqe cqe;

	ASSERT_EQ(0, queue_make(self->fd, 16, -1, &other));
	ASSERT_NE(q->made.queue, other.made.queue);
	if (variant->kick)
		other.doorbell = NULL;
	for (uint64_t value = 1; value <= 50; value++) {
		put_wait(q, self->b.id, 0, value, LONG);
		put_fill(q, self->a.id, 0, 1, (uint8_t)value);
		ASSERT_EQ(0, submit(q));
		put(&other, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(&other));
		ASSERT_FALSE(completed(q));
		ASSERT_EQ(value - 1, self->a.data[0]);
		ASSERT_EQ(ETIME, queue_wait(self->fd, q->made.queue, q->head + 1, 0));
		put_signal(&other, self->b.id, 0, value);
		ASSERT_EQ(TDI_SC_OK, run(&other));
		ASSERT_EQ(0, finish(q, &cqe));
		ASSERT_EQ(TDI_SC_OK, cqe.status);
		ASSERT_EQ(0, finish(q, &cqe));
		ASSERT_EQ(TDI_SC_OK, cqe.status);
		ASSERT_EQ(value, self->a.data[0]);
	}
}

/* Steady state: the queue is kept full, each completion is looked at. */
TEST_F(tenant, ten_thousand)
{
	struct queue *q = &self->q;
	uint32_t first = q->tail;

	while (q->head != first + 10000) {
		while (q->tail != first + 10000 && q->tail - q->head < 8)
			put_fill(q, self->a.id, 4 * (q->tail % 1024), 4, (uint8_t)q->tail);
		ASSERT_EQ(0, submit(q));
		if (!completed(q))
			ASSERT_EQ(0, queue_wait(self->fd, q->made.queue, q->head + 1, now_ns() + LONG));
		while (q->head != q->tail && completed(q)) {
			uint32_t index = q->head;
			struct tdi_cqe cqe = take(q);

			ASSERT_EQ(index, cqe.user_data);
			ASSERT_EQ(index + 1, cqe.sequence);
			ASSERT_EQ(TDI_SC_OK, cqe.status);
			ASSERT_TRUE(all_bytes(self->a.data + 4 * (index % 1024), (uint8_t)index, 4));
		}
	}
}

/* No system call from the first command to the last: any but exit would kill it. */
static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };
	int fd = node_open();
	struct queue q;

	if (fd < 0 || queue_make(fd, 64, -1, &q) || !q.doorbell || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(1);
	for (unsigned int i = 0; i < 10000; i++) {
		uint32_t need;

		put(&q, TDI_OP_NOP);
		need = tenon_ring_publish(q.producer, q.device, q.kernel, q.tail);
		if (need & TDI_NEED_KICK)
			_exit(2);
		if (need)
			*q.doorbell = q.tail;
		while (!completed(&q))
			;
		if (take(&q).status != TDI_SC_OK)
			_exit(3);
	}
	_exit(0);
}

TEST_F(tenant, no_system_call)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child)
		filtered();
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* The smallest and the largest queue. */
TEST_F(tenant, depths)
{
	uint32_t depths[] = { 1, limits(self->fd).depth };

	for (unsigned int i = 0; i < 2; i++) {
		struct queue q;

		ASSERT_EQ(0, queue_make(self->fd, depths[i], -1, &q));
		if (variant->kick)
			q.doorbell = NULL;
		for (uint32_t n = 0; n < depths[i] && n < 3000; n++)
			put(&q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(&q));
		queue_unmap(&q);
		ASSERT_EQ(0, queue_destroy(self->fd, q.made.queue));
		ASSERT_EQ(ENOENT, queue_destroy(self->fd, q.made.queue));
	}
}

TEST_F(tenant, usage)
{
	struct queue *q = &self->q;
	struct tdi_usage usage;
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_USAGE, .size = sizeof(usage), .pointer = (uintptr_t)&usage,
	};
	uint64_t busy = 0;

	for (unsigned int i = 0; i < 5; i++) {
		struct tdi_cqe cqe;

		put_fill(q, self->a.id, 0, 1000, 1);
		ASSERT_EQ(0, submit(q));
		ASSERT_EQ(0, finish(q, &cqe));
		busy += cqe.busy_ns;
	}
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_TENON_QUERY, &query));
	EXPECT_EQ(sizeof(usage), query.size);
	EXPECT_EQ(5, usage.commands[TDI_OP_FILL]);
	EXPECT_EQ(0, usage.commands[TDI_OP_NOP]);
	EXPECT_EQ(5000, usage.bytes_written);
	EXPECT_EQ(0, usage.bytes_read);
	EXPECT_EQ(busy, usage.busy_ns);
}

struct waiter {
	struct queue *q;
	uint32_t sequence;
	int error;
	bool back;
	pthread_t thread;
};

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;

	w->error = queue_wait(w->q->fd, w->q->made.queue, w->sequence, now_ns() + LONG);
	__atomic_store_n(&w->back, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Several wait for one queue, each is woken by its own; who leaves doesn't take the others' notices along. [WAI-3] */
TEST_F(tenant, waiters)
{
	struct queue *q = &self->q;
	volatile uint64_t *semaphore = (uint64_t *)self->b.data;

	for (uint64_t value = 0; value < 60; value += 3) {
		struct waiter w[3];

		for (unsigned int i = 0; i < 3; i++)
			put_wait(q, self->b.id, 0, value + i + 1, LONG);
		ASSERT_EQ(0, submit(q));
		/* The earliest last, or first. */
		for (unsigned int n = 0; n < 3; n++) {
			unsigned int i = value % 2 ? n : 2 - n;

			w[i] = (struct waiter){ .q = q, .sequence = q->head + 1 + i };
			ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, wait_thread, &w[i]));
			sleep_ms(3);
		}
		for (unsigned int i = 0; i < 3; i++) {
			for (unsigned int j = i; j < 3; j++)
				EXPECT_FALSE(__atomic_load_n(&w[j].back, __ATOMIC_ACQUIRE));
			*semaphore = value + i + 1;
			/* Who raises it himself rings the queue that waits. [SEM-9] */
			ASSERT_EQ(0, queue_kick(self->fd, q->made.queue));
			ASSERT_EQ(0, pthread_join(w[i].thread, NULL));
			EXPECT_EQ(0, w[i].error);
			take(q);
		}
	}
}

/* Who waits for a queue that is destroyed, or unmaps what a parked command uses, isn't left waiting. */
TEST_F(tenant, ends_under_way)
{
	struct queue *q = &self->q;
	struct waiter w = { .q = q };
	struct tdi_cqe cqe;

	put_wait(q, self->b.id, 0, 1, LONG);
	ASSERT_EQ(0, submit(q));
	ASSERT_EQ(0, buffer_unmap(self->fd, self->b.id));
	ASSERT_EQ(0, finish(q, &cqe));
	EXPECT_EQ(TDI_SC_BUFFER_ID, cqe.status);
	/* The waiter is for the second, which the device doesn't begin. */
	put_wait(q, self->a.id, 0, 1, LONG);
	put(q, TDI_OP_NOP);
	ASSERT_EQ(0, submit(q));
	w.sequence = q->tail;
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, wait_thread, &w));
	/* The device has begun the first, and the waiter sleeps. */
	while (*(volatile uint32_t *)&q->device->fetched == q->tail - 2)
		sleep_ms(1);
	sleep_ms(5);
	ASSERT_EQ(0, queue_destroy(self->fd, q->made.queue));
	ASSERT_EQ(0, pthread_join(w.thread, NULL));
	EXPECT_EQ(ENOENT, w.error);
	EXPECT_EQ(ENOENT, queue_kick(self->fd, q->made.queue));
	EXPECT_EQ(ENOENT, queue_wait(self->fd, q->made.queue, q->tail, 0));
	/* Its mappings stay, and the device ended what it had begun. [SEM-14] */
	ASSERT_TRUE(completed(q));
	EXPECT_EQ(TDI_SC_ABORTED, take(q).status);
	q->producer->tail++;
	EXPECT_EQ(q->tail + 1, q->producer->tail);
	if (q->doorbell)
		*q->doorbell = q->tail + 1;
}

TEST_HARNESS_MAIN
