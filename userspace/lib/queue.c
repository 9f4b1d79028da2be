/* SPDX-License-Identifier: MIT */
/* Queues: making them, the slow ends of submit and reap, waiting, and the death of the device. */
#include <stdlib.h>
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

/* Finds the rings in the two maps, whose areas begin at multiples of @page. Are they as new ones must be? */
bool tenon_queue_rings(struct queue *q, uint32_t first, uint32_t depth, size_t page)
{
	q->pub.producer = q->tenant_map;
	q->pub.sq = (void *)((char *)q->tenant_map + page);
	q->pub.device = q->device_map;
	q->kernel = (void *)((char *)q->device_map + page);
	q->pub.kernel = q->kernel;
	q->pub.cq = (void *)((char *)q->device_map + 2 * page);
	q->pub.mask = q->pub.cq_mask = depth - 1;
	q->pub.sq_next = q->pub.sq_submitted = q->pub.cq_head = first;
	q->pub.sq_limit = first + depth;
	return rings_ok(q, first);
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
	struct queue *q;
	int err;

	q = queue_alloc(c, spin_ns);
	if (!q)
		return tenon_fail(c, -ENOMEM, "out of memory");
	err = c->transport->queue_create(q, depth);
	if (err) {
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
	tenon_unmap(q->context, q->doorbell, q->doorbell_bytes);
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
	err = c->transport->queue_destroy(q);
	tenon_queue_free(q);
	pthread_mutex_unlock(&c->lock);
	return err;
}

int tenon_queue_usage(struct tenon_queue *queue, struct tdi_usage *usage)
{
	struct queue *q = internal(queue);
	struct tenon_context *c = q->context;
	int err;

	pthread_mutex_lock(&c->lock);
	err = c->transport->usage(c, q, usage);
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

void tenon_queue_kill(struct queue *q)
{
	__atomic_store_n(&q->pub.kernel, &dead_page, __ATOMIC_RELAXED);
	tenon_store_release((__le32 *)&q->pub.dead, 1);
}

/* Has the device died? What it completed before is visible after this. */
static bool gone(struct queue *q)
{
	if (!flagged_dead(q) && !q->context->transport->gone(q))
		return false;
	tenon_queue_kill(q);
	return true;
}

/*
 * The queue is dead and peek found nothing: the next command that was submitted ends ABORTED, by the kernel's
 * hand if there is one, else here. First look again: the device may have completed it between that look and
 * its death. [TKO-13]
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
	if (!q->context->transport->finish(q))
		return tenon_reached(tenon_load_acquire(&cqe->sequence), queue->cq_head + 1) ? cqe : NULL;
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
	int err = flagged_dead(q) ? -ENODEV : q->context->transport->kick(q);

	if (err) {
		tenon_queue_kill(q);
		q->context->transport->finish(q);
	}
	return err;
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
static int spin(struct queue *q, uint32_t target, int64_t until)
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
	} while (now < until);
	return 0;
}

/*
 * Why no wake-up is lost [WAI-2]. Notices that came are forgotten first, then W is set, then the CQ is read,
 * then poll() sleeps until there is a notice. The device writes the CQE, then reads W, then gives a notice if
 * W is due. Either its read of W comes after our store: then the notice comes after others were forgotten
 * and poll() returns. Or it comes before: then, by the two full barriers, our read of the CQ finds the CQE.
 * Nobody else writes W or takes notices. One that is left over from an earlier wait wakes once too often;
 * that is all.
 */
int tenon_queue_ask(struct queue *q, uint32_t target)
{
	int err = q->context->transport->drain(q);

	if (err)
		return err;
	err = tenon_ring_arm(&q->pub.producer->wanted, q->pub.cq, q->pub.cq_mask, target);
	/* Who sets DEAD wakes all afterwards; a wake that was forgotten is seen here. */
	if (!err && flagged_dead(q)) {
		tenon_queue_kill(q);
		return -ENODEV;
	}
	return err;
}

static int wait_for(struct queue *q, uint32_t target, int64_t start, int64_t deadline)
{
	int64_t spin_end = q->spin_ns == UINT32_MAX ? deadline : start + q->spin_ns;
	int err;

	if (deadline == start)
		return gone(q) ? -ENODEV : -ETIMEDOUT;
	if (q->spin_ns) {
		err = spin(q, target, spin_end < deadline ? spin_end : deadline);
		if (err)
			return err < 0 ? err : 0;
		if (q->spin_ns == UINT32_MAX)
			return -ETIMEDOUT;
	}
	do
		err = q->context->transport->sleep(q, target, deadline);
	while (!err && !reached(q, target));
	return err;
}

int tenon_wait(struct tenon_queue *queue, uint32_t count, int64_t timeout_ns)
{
	struct queue *q = internal(queue);
	int64_t target = target_of(queue, count), start, deadline;
	int err;

	if (target < 0)
		return -EINVAL;
	if (reached(q, (uint32_t)target))
		return 0;
	start = now_ns();
	deadline = timeout_ns < 0 || timeout_ns > FOR_EVER - start ? FOR_EVER : start + timeout_ns;
	err = flagged_dead(q) ? -ENODEV : wait_for(q, (uint32_t)target, start, deadline);
	if (err == -ENODEV) {
		tenon_queue_kill(q);
		/* The kernel may still be at it. */
		if (!q->context->transport->finish(q) && !reached(q, (uint32_t)target))
			err = q->context->transport->sleep(q, (uint32_t)target, deadline);
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
	err = tenon_queue_ask(q, (uint32_t)target);
	if (err != -ENODEV)
		return err;
	/* A kernel that is still at it gives a notice when it is done. */
	err = q->context->transport->finish(q) ? -ENODEV : 0;
	return reached(q, (uint32_t)target) ? 1 : err;
}
