/* SPDX-License-Identifier: MIT */
/* Queues: making them, the slow ends of submit and reap, waiting, and the death of the device. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

_Static_assert(offsetof(struct tenon_queue, cq) % 128 == 0, "producer and reaper share no pair of lines");
_Static_assert(offsetof(struct queue, pub) == 0, "callers have a pointer to the whole");

/* What the inline functions read once the device is gone: every tenon_submit() then asks the library. */
static const struct tdi_kernel_page dead_page = { .flags = TDI_KERNEL_DEAD };

static inline struct queue *internal(const struct tenon_queue *pub)
{
	return (struct queue *)pub;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

/* ------------------------------------------------------------------------ making and freeing */

static int destroy_remote(struct tenon_context *c, uint32_t id)
{
	struct tenon_msg_queue_destroy msg = { .queue = id };
	struct tenon_reply reply;

	return tenon_socket_call(c, TENON_MSG_QUEUE_DESTROY, &msg, sizeof(msg), &reply, sizeof(reply), NULL,
				 0);
}

/*
 * The kick must be something that a write can't raise a signal on or block, whatever the daemon passed: an
 * anonymous inode, which has no type, is neither a pipe nor a socket nor a file. The notice must be a socket:
 * that alone can be read without blocking, whoever else has it.
 */
static bool notices_ok(int kick, int notice)
{
	struct stat st;

	if (fstat(kick, &st) || (st.st_mode & S_IFMT) || fcntl(kick, F_SETFL, O_NONBLOCK))
		return false;
	return !fstat(notice, &st) && S_ISSOCK(st.st_mode);
}

/* As QUEUE_CREATE leaves them: nothing submitted, nothing awaited, the lap before completed. [QUE-4] */
static bool rings_ok(const struct queue *q, uint32_t first)
{
	uint32_t depth = q->pub.mask + 1, j;

	if (tenon_load(&q->pub.producer->tail) != first || tenon_load(&q->pub.producer->wanted) != first ||
	    tenon_load(&q->pub.producer->wanted_kernel) != first)
		return false;
	for (j = 0; j < depth; j++)
		if (tenon_load(&q->pub.cq[(first + j) & q->pub.mask].sequence) != first + j + 1 - depth)
			return false;
	return true;
}

static int queue_map(struct queue *q, const struct tenon_reply_queue_create *reply, uint32_t depth, int *fds)
{
	struct tenon_context *c = q->context;
	int err;

	if (reply->depth != depth || reply->reserved)
		return tenon_socket_bad(c, "depth of the queue");
	q->tenant_bytes = TDI_PAGE_SIZE + page_up(depth * sizeof(struct tdi_sqe));
	q->device_bytes = 2 * TDI_PAGE_SIZE + page_up(depth * sizeof(struct tdi_cqe));
	err = tenon_map(c, fds[TENON_FD_TENANT], q->tenant_bytes, PROT_READ | PROT_WRITE, &q->tenant_map);
	if (!err)
		err = tenon_map(c, fds[TENON_FD_DEVICE], q->device_bytes, PROT_READ, &q->device_map);
	if (err)
		return err;
	q->pub.producer = q->tenant_map;
	q->pub.sq = (void *)((char *)q->tenant_map + TDI_PAGE_SIZE);
	q->pub.device = q->device_map;
	q->kernel = (void *)((char *)q->device_map + TDI_PAGE_SIZE);
	q->pub.kernel = q->kernel;
	q->pub.cq = (void *)((char *)q->device_map + 2 * TDI_PAGE_SIZE);
	q->pub.mask = q->pub.cq_mask = depth - 1;
	q->pub.sq_next = q->pub.sq_submitted = q->pub.cq_head = reply->first;
	q->pub.sq_limit = reply->first + depth;
	if (!rings_ok(q, reply->first))
		return tenon_socket_bad(c, "the rings of a new queue");
	if (!notices_ok(fds[TENON_FD_KICK], fds[TENON_FD_NOTICE]))
		return tenon_socket_bad(c, "the descriptors of a queue");
	q->id = reply->queue;
	q->kick = fds[TENON_FD_KICK];
	q->notice = fds[TENON_FD_NOTICE];
	fds[TENON_FD_KICK] = fds[TENON_FD_NOTICE] = -1;
	return 0;
}

static struct queue *queue_alloc(struct tenon_context *c, uint32_t spin_ns)
{
	struct queue *q = aligned_alloc(_Alignof(struct queue), sizeof(*q));

	if (!q)
		return NULL;
	memset(q, 0, sizeof(*q));
	q->context = c;
	q->kick = q->notice = -1;
	q->spin_ns = spin_ns ? spin_ns : DEFAULT_SPIN_NS;
	/* With one CPU the device can't run while this side polls. */
	if (q->spin_ns != UINT32_MAX && sysconf(_SC_NPROCESSORS_ONLN) == 1)
		q->spin_ns = 0;
	LIST_INSERT_HEAD(&c->queues, q, link);
	return q;
}

static int queue_create_locked(struct tenon_context *c, uint32_t depth, uint32_t spin_ns,
			       struct tenon_queue **queue)
{
	struct tenon_msg_queue_create msg = { .depth = depth };
	struct tenon_reply_queue_create reply;
	int fds[TENON_SOCKET_FDS] = { -1, -1, -1, -1 };
	struct queue *q;
	int err;

	q = queue_alloc(c, spin_ns);
	if (!q)
		return tenon_fail(c, -ENOMEM, "out of memory");
	err = tenon_socket_call(c, TENON_MSG_QUEUE_CREATE, &msg, sizeof(msg), &reply, sizeof(reply), fds,
				TENON_SOCKET_FDS);
	if (!err)
		err = queue_map(q, &reply, depth, fds);
	tenon_close_fds(fds, TENON_SOCKET_FDS);
	if (err) {
		/* The device made it, but there was no room for it on this side. */
		if ((err == -ENOMEM || err == -EMFILE) && !reply.head.error)
			destroy_remote(c, reply.queue);
		tenon_queue_free(q);
		return err;
	}
	*queue = &q->pub;
	return 0;
}

int tenon_queue_create(struct tenon_context *c, uint32_t depth, const struct tenon_queue_options *options,
		       struct tenon_queue **queue)
{
	struct tenon_queue_options o;
	int err;

	*queue = NULL;
	pthread_mutex_lock(&c->lock);
	if (tenon_options_copy(&o, sizeof(o), options) || o.flags)
		err = tenon_fail(c, -EINVAL, "unknown option");
	else if (!depth || (depth & (depth - 1)))
		err = tenon_fail(c, -EINVAL, "depth %u is not a power of two", depth);
	else if (depth > c->limits.depth)
		err = tenon_fail(c, -EINVAL, "depth: needed %u, allowed %u", depth, c->limits.depth);
	else
		err = queue_create_locked(c, depth, o.spin_ns, queue);
	pthread_mutex_unlock(&c->lock);
	return err;
}

void tenon_queue_free(struct queue *q)
{
	LIST_REMOVE(q, link);
	tenon_unmap(q->context, q->tenant_map, q->tenant_bytes);
	tenon_unmap(q->context, q->device_map, q->device_bytes);
	tenon_close_fds((int[]){ q->kick, q->notice }, 2);
	free(q);
}

int tenon_queue_destroy(struct tenon_queue *queue)
{
	struct queue *q = internal(queue);
	struct tenon_context *c;
	int err;

	if (!queue)
		return 0;
	c = q->context;
	pthread_mutex_lock(&c->lock);
	err = destroy_remote(c, q->id);
	tenon_queue_free(q);
	pthread_mutex_unlock(&c->lock);
	return err;
}

uint32_t tenon_queue_id(const struct tenon_queue *queue)
{
	return internal(queue)->id;
}

int tenon_queue_fd(const struct tenon_queue *queue)
{
	return internal(queue)->notice;
}

/* ---------------------------------------------------------------------------------- death */

static void queue_kill(struct queue *q)
{
	__atomic_store_n(&q->pub.kernel, &dead_page, __ATOMIC_RELAXED);
	tenon_store_release((__le32 *)&q->pub.dead, 1);
}

static bool flagged_dead(const struct queue *q)
{
	return tenon_load_acquire((const __le32 *)&q->pub.dead) || context_dead(q->context) ||
	       (tenon_load_acquire(&q->kernel->flags) & TDI_KERNEL_DEAD);
}

/* Has the device died? What it completed before is visible after this. */
static bool gone(struct queue *q)
{
	struct pollfd p[2] = { { .fd = q->notice }, { .fd = q->context->fd } };

	if (!flagged_dead(q)) {
		/* Without events asked for, only an end of file on either shows. */
		if (poll(p, 2, 0) <= 0)
			return false;
		if (p[1].revents)
			tenon_context_kill(q->context);
	}
	queue_kill(q);
	return true;
}

/*
 * The queue is dead and peek found nothing: the next command that was submitted ends ABORTED here. First look
 * again: the device may have completed it between that look and its death. [TKO-13]
 */
const struct tdi_cqe *tenon_queue_dead_cqe_(struct tenon_queue *queue)
{
	struct queue *q = internal(queue);
	const struct tdi_cqe *cqe = &queue->cq[queue->cq_head & queue->cq_mask];

	if (!tenon_load_acquire((const __le32 *)&queue->dead))
		return NULL;
	if (tenon_reached(tenon_load_acquire(&cqe->sequence), queue->cq_head + 1))
		return cqe;
	if (tenon_load_acquire((const __le32 *)&queue->sq_submitted) == queue->cq_head)
		return NULL;
	q->dead_cqe = (struct tdi_cqe){
		.user_data = queue->sq[queue->cq_head & queue->cq_mask].user_data,
		.status = TDI_SC_ABORTED,
		.sequence = queue->cq_head + 1,
	};
	return &q->dead_cqe;
}

/* ---------------------------------------------------------------------------------- kicks */

int tenon_queue_kick_(struct tenon_queue *queue)
{
	struct queue *q = internal(queue);
	uint64_t one = 1;

	if (flagged_dead(q)) {
		queue_kill(q);
		return -ENODEV;
	}
	/* It can't block; if the counter is full, a kick is pending already. */
	if (write(q->kick, &one, sizeof(one)) < 0 && errno != EAGAIN) {
		queue_kill(q);
		return -ENODEV;
	}
	return 0;
}

int tenon_host_signal(struct tenon_queue *queue, uint64_t *semaphore, uint64_t value)
{
	const struct tdi_kernel_page *kernel = __atomic_load_n(&queue->kernel, __ATOMIC_RELAXED);

	/* As a submit: a device that parks the queue sets NEED, then looks at the semaphore again. [SEM-9] */
	__atomic_store_n(semaphore, value, __ATOMIC_RELEASE);
	TENON_SUBMIT_BARRIER();
	if ((tenon_load(&queue->device->flags) & (TDI_NEED_DOORBELL | TDI_NEED_KICK)) ||
	    (tenon_load(&kernel->flags) & (TDI_KERNEL_DEAD | TDI_KERNEL_FORCE_KICK)))
		return tenon_queue_kick_(queue);
	return 0;
}

/* -------------------------------------------------------------------------------- waiting */

static inline bool reached(const struct queue *q, uint32_t target)
{
	return tenon_reached(tenon_ring_sequence(q->pub.cq, q->pub.cq_mask, target), target);
}

/* The sequence that @count completions from the head end with, or -EINVAL. */
static int64_t target_of(const struct tenon_queue *queue, uint32_t count)
{
	uint32_t pending = tenon_load_acquire((const __le32 *)&queue->sq_submitted) - queue->cq_head;

	if (!count || count > pending)
		return -EINVAL;
	return (uint32_t)(queue->cq_head + count);
}

/* Poll until @until. 1: reached; 0: not; -ENODEV. */
static int spin(struct queue *q, uint32_t target, int64_t until, bool for_ever)
{
	int64_t look = now_ns() + 1000000, now;
	int i;

	do {
		for (i = 0; i < 16; i++) {
			if (reached(q, target))
				return 1;
			cpu_relax();
		}
		now = now_ns();
		if (now >= look) {
			if (gone(q))
				return -ENODEV;
			look = now + 1000000;
		}
	} while (for_ever || now < until);
	return 0;
}

/*
 * Empties the socket of notices; -ENODEV at its end. A peer that writes faster than this reads must not hold
 * us here: what is left makes poll() return at once.
 */
static int drain(struct queue *q)
{
	char bytes[4096];
	int tries = 32;
	ssize_t n;

	do
		n = recv(q->notice, bytes, sizeof(bytes), MSG_DONTWAIT);
	while ((n == sizeof(bytes) || (n < 0 && errno == EINTR)) && --tries);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	queue_kill(q);
	return -ENODEV;
}

/*
 * Why no wake-up is lost [WAI-2]. The socket of notices is emptied first, then W is set, then the CQ is read,
 * then poll() sleeps while the socket is empty. The device writes the CQE, then reads W, then sends a byte if
 * W is due. Either its read of W comes after our store: then the byte is sent after the socket was emptied
 * and poll() returns. Or it comes before: then, by the two full barriers, our read of the CQ finds the CQE.
 * Nobody else writes W or reads the socket. A notice that is left over from an earlier wait wakes once too
 * often; that is all.
 */
static int arm(struct queue *q, uint32_t target)
{
	int err = drain(q);

	if (err)
		return err;
	err = tenon_ring_arm(&q->pub.producer->wanted, q->pub.cq, q->pub.cq_mask, target);
	/* Who sets DEAD wakes all afterwards; a wake before the socket was emptied is seen here. */
	if (!err && flagged_dead(q)) {
		queue_kill(q);
		return -ENODEV;
	}
	return err;
}

static int sleep_until(struct queue *q, int64_t deadline, bool for_ever)
{
	struct pollfd p[2] = { { .fd = q->notice, .events = POLLIN }, { .fd = q->context->fd } };
	int64_t left = deadline - now_ns();
	struct timespec t = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
	int n;

	if (!for_ever && left <= 0)
		return -ETIMEDOUT;
	n = ppoll(p, 2, for_ever ? NULL : &t, NULL);
	if (n < 0)
		return -errno;
	/* The socket too: it ends when the context dies by another thread's failed call. */
	if (p[1].revents) {
		tenon_context_kill(q->context);
		queue_kill(q);
		return -ENODEV;
	}
	return 0;
}

static int wait_for(struct queue *q, uint32_t target, int64_t timeout_ns)
{
	int64_t start = now_ns(), deadline, spin_end;
	bool for_ever = timeout_ns < 0 || timeout_ns > INT64_MAX - start;
	int err;

	if (!timeout_ns)
		return gone(q) ? -ENODEV : -ETIMEDOUT;
	deadline = for_ever ? INT64_MAX : start + timeout_ns;
	if (q->spin_ns == UINT32_MAX) {
		err = spin(q, target, deadline, for_ever);
		return err > 0 ? 0 : err ? err : -ETIMEDOUT;
	}
	spin_end = start + q->spin_ns;
	if (q->spin_ns && spin(q, target, spin_end < deadline ? spin_end : deadline, false) > 0)
		return 0;
	do {
		err = arm(q, target);
		if (err > 0)
			return 0;
		if (!err)
			err = sleep_until(q, deadline, for_ever);
	} while (!err);
	return err;
}

int tenon_wait(struct tenon_queue *queue, uint32_t count, int64_t timeout_ns)
{
	struct queue *q = internal(queue);
	int64_t target = target_of(queue, count);
	int err;

	if (target < 0)
		return -EINVAL;
	if (reached(q, (uint32_t)target))
		return 0;
	if (flagged_dead(q)) {
		queue_kill(q);
		err = -ENODEV;
	} else {
		err = wait_for(q, (uint32_t)target, timeout_ns);
	}
	/* It may have come at the last moment, also that of the device's death. */
	return err && reached(q, (uint32_t)target) ? 0 : err;
}

int tenon_queue_arm(struct tenon_queue *queue, uint32_t count)
{
	struct queue *q = internal(queue);
	int64_t target = target_of(queue, count);
	int err;

	if (target < 0)
		return -EINVAL;
	err = arm(q, (uint32_t)target);
	return err == -ENODEV && reached(q, (uint32_t)target) ? 1 : err;
}
