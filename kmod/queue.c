// SPDX-License-Identifier: GPL-2.0-only
/*
 * User mode queues: ring pages split by writer, kick, wait, and the kernel as the writer of the CQ when the
 * device is dead. How tenants map them is in queue_mmap.c.
 */
#include <linux/dma-mapping.h>
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

/* The ring protocol is written once; these are its accesses in the kernel's words. */
#define TENON_FULL_BARRIER() smp_mb()
#define tenon_load(p) le32_to_cpu(READ_ONCE(*(p)))
#define tenon_load_acquire(p) le32_to_cpu(smp_load_acquire(p))	/* pairs with the other side's release */
#define tenon_store(p, value) WRITE_ONCE(*(p), cpu_to_le32(value))
#define tenon_store_release(p, value) smp_store_release(p, cpu_to_le32(value))	/* and the other way round */
#include <tenon/ring.h>

#include "tenon.h"
#include "trace.h"

static inline void *area(const struct tenon_queue *q, enum tenon_area_id id)
{
	return page_address(q->area[id].page);
}

static inline struct tdi_producer_page *producer(const struct tenon_queue *q)
{
	return area(q, TENON_AREA_PRODUCER);
}

static inline struct tdi_kernel_page *kernel_page(const struct tenon_queue *q)
{
	return area(q, TENON_AREA_KERNEL);
}

static inline struct tdi_cqe *cq(const struct tenon_queue *q)
{
	return area(q, TENON_AREA_CQ);
}

static inline u32 depth(const struct tenon_queue *q)
{
	return q->mask + 1;
}

static inline bool reached(const struct tenon_queue *q, u32 target)
{
	return tenon_reached(tenon_ring_sequence(cq(q), q->mask, target), target);
}

/* ------------------------------------------------------------------------------------- areas */

static int area_alloc(struct tenon_area *a, int node, size_t bytes, enum dma_data_direction dir)
{
	unsigned int order = get_order(bytes);
	unsigned int i;

	a->page = alloc_pages_node(node, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN, order);
	if (!a->page)
		return -ENOMEM;
	split_page(a->page, order);
	a->count = DIV_ROUND_UP(bytes, PAGE_SIZE);
	for (i = a->count; i < 1U << order; i++)
		__free_page(a->page + i);
	a->dir = dir;
	a->dma = DMA_MAPPING_ERROR;
	return 0;
}

static void area_free(struct tenon_area *a)
{
	unsigned int i;

	for (i = 0; a->page && i < a->count; i++)
		put_page(a->page + i);
	a->page = NULL;
}

static int areas_map(struct tenon_queue *q, struct device *dev)
{
	struct tenon_area *a;

	for (a = q->area; a < q->area + TENON_AREAS; a++) {
		if (a->dir == DMA_NONE)
			continue;
		a->dma = dma_map_page(dev, a->page, 0, (size_t)a->count << PAGE_SHIFT, a->dir);
		if (dma_mapping_error(dev, a->dma)) {
			a->dma = DMA_MAPPING_ERROR;
			return -ENOMEM;
		}
	}
	return 0;
}

static void areas_unmap(struct tenon_queue *q, struct device *dev)
{
	struct tenon_area *a;

	for (a = q->area; a < q->area + TENON_AREAS; a++) {
		if (a->dma == DMA_MAPPING_ERROR)
			continue;
		dma_unmap_page(dev, a->dma, (size_t)a->count << PAGE_SHIFT, a->dir);
		a->dma = DMA_MAPPING_ERROR;
	}
}

/* How many pages the device may access. */
static unsigned int areas_mapped(const struct tenon_queue *q)
{
	unsigned int pages = 0, i;

	for (i = 0; i < TENON_AREAS; i++)
		if (q->area[i].dma != DMA_MAPPING_ERROR)
			pages += q->area[i].count;
	return pages;
}

static int areas_alloc(struct tenon_queue *q)
{
	int node = q->context->controller->node, ret;

	ret = area_alloc(&q->area[TENON_AREA_PRODUCER], node, PAGE_SIZE, DMA_TO_DEVICE);
	if (!ret)
		ret = area_alloc(&q->area[TENON_AREA_SQ], node, depth(q) * sizeof(struct tdi_sqe),
				 DMA_TO_DEVICE);
	if (!ret)
		ret = area_alloc(&q->area[TENON_AREA_DEVICE], node, PAGE_SIZE, DMA_FROM_DEVICE);
	if (!ret)
		ret = area_alloc(&q->area[TENON_AREA_KERNEL], node, PAGE_SIZE, DMA_NONE);
	if (!ret)
		ret = area_alloc(&q->area[TENON_AREA_CQ], node, depth(q) * sizeof(struct tdi_cqe),
				 DMA_FROM_DEVICE);
	return ret;
}

/* As if the lap before had completed; the device is asleep until it says otherwise. [QUE-4, QUE-17] */
static void areas_init(struct tenon_queue *q)
{
	struct tdi_device_page *device = area(q, TENON_AREA_DEVICE);

	q->first = TDI_FIRST_INDEX(depth(q));
	q->ended = q->first;
	q->armed = q->first;
	tenon_store(&producer(q)->tail, q->first);
	tenon_store(&producer(q)->wanted, q->first);
	tenon_store(&producer(q)->wanted_kernel, q->first);
	tenon_store(&device->fetched, q->first);
	tenon_store(&device->flags, TDI_NEED_DOORBELL);
	tenon_ring_init_cq(cq(q), depth(q), q->first);
}

/* ---------------------------------------------------------------------------------- lifetime */

static void queue_stop(struct work_struct *work);

/* Bytes of all pages, rounded up as they are allocated. */
static u64 areas_bytes(u32 entries)
{
	return 3ULL * PAGE_SIZE + PAGE_ALIGN(entries * sizeof(struct tdi_sqe)) +
	       PAGE_ALIGN(entries * sizeof(struct tdi_cqe));
}

static struct tenon_queue *queue_alloc(struct tenon_context *x, u32 entries)
{
	u64 max = READ_ONCE(x->partition->settings.pinned_max), needed;
	struct tenon_queue *q;
	unsigned int i;

	q = kzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);
	if (!q)
		return ERR_PTR(-ENOMEM);
	needed = tenon_charge(&x->partition->pinned, areas_bytes(entries), max);
	if (needed) {
		kfree(q);
		return ERR_PTR(tenon_context_limit(x, -ENOMEM, needed, max));
	}
	kref_init(&q->ref);
	q->context = x;
	q->partition = tenon_partition_get(x->partition);
	q->mask = entries - 1;
	mutex_init(&q->end_lock);
	mutex_init(&q->doorbell_lock);
	spin_lock_init(&q->wait_lock);
	init_waitqueue_head(&q->wait);
	INIT_WORK(&q->stop, queue_stop);
	for (i = 0; i < TENON_AREAS; i++)
		q->area[i].dma = DMA_MAPPING_ERROR;
	if (areas_alloc(q)) {
		tenon_queue_put(q);
		return ERR_PTR(-ENOMEM);
	}
	areas_init(q);
	return q;
}

static void queue_free(struct kref *ref)
{
	struct tenon_queue *q = container_of(ref, struct tenon_queue, ref);
	unsigned int i;

	/* Never proven that the device is off them: lost on purpose, and counted when that came out. */
	if (!areas_mapped(q))
		atomic64_sub(areas_bytes(depth(q)), &q->partition->pinned);
	for (i = 0; i < TENON_AREAS; i++) {
		if (q->area[i].dma == DMA_MAPPING_ERROR)
			area_free(&q->area[i]);
	}
	if (q->eventfd)
		eventfd_ctx_put(q->eventfd);
	tenon_partition_put(q->partition);
	kfree(q->books);
	kfree(q);
}

void tenon_queue_put(struct tenon_queue *q)
{
	kref_put(&q->ref, queue_free);
}

static struct tenon_queue *queue_get(struct xarray *table, u32 id)
{
	struct tenon_queue *q;

	xa_lock(table);
	q = xa_load(table, id);
	if (q && !kref_get_unless_zero(&q->ref))
		q = NULL;
	xa_unlock(table);
	return q;
}

/* A tenant's queue, with a reference. */
struct tenon_queue *tenon_queue_lookup(struct tenon_context *x, u32 id)
{
	struct tenon_queue *q = queue_get(&x->queues, id);

	if (q && !READ_ONCE(q->listed)) {
		tenon_queue_put(q);
		q = NULL;
	}
	return q;
}

/* ------------------------------------------------------------------------------------ create */

static int queue_on_device(struct tenon_queue *q, u32 moderation_ns)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_CREATE };
	struct tenon_context *x = q->context;

	q->generation = tenon_generation(x->controller);
	sqe.generation = cpu_to_le32(q->generation);
	sqe.queue.queue = cpu_to_le32(q->id);
	sqe.queue.context = cpu_to_le32(x->id);
	sqe.queue.context_generation = cpu_to_le32(x->generation);
	sqe.queue.first = cpu_to_le32(q->first);
	sqe.queue.moderation_ns = cpu_to_le32(moderation_ns);
	sqe.queue.depth_log2 = ilog2(depth(q));
	sqe.queue.producer = cpu_to_le64(q->area[TENON_AREA_PRODUCER].dma);
	sqe.queue.sq = cpu_to_le64(q->area[TENON_AREA_SQ].dma);
	sqe.queue.device = cpu_to_le64(q->area[TENON_AREA_DEVICE].dma);
	sqe.queue.cq = cpu_to_le64(q->area[TENON_AREA_CQ].dma);
	return tenon_context_admin(x, &sqe, true);
}

/* Until the device has acknowledged that it is gone. */
static void queue_uncharge(struct tenon_queue *q)
{
	if (q->charged)
		atomic64_dec(&q->partition->queues);
	q->charged = false;
}

static void queue_unlist(struct tenon_queue *q)
{
	struct tenon_context *x = q->context;

	queue_uncharge(q);
	xa_erase(&x->controller->queues, q->id);
	xa_erase(&x->queues, q->id);
	x->queue_count--;
}

/* Under the context's lock; takes over @q's reference if it returns 0. */
static int queue_create(struct tenon_context *x, struct tenon_queue *q, u32 moderation_ns)
{
	u64 max = READ_ONCE(x->partition->settings.queues_max), needed;
	struct tenon_controller *c = x->controller;
	int ret;

	if (x->queue_count >= TDI_CONTEXT_QUEUES)
		return tenon_context_refuse(x, -ENOSPC, x->queue_count + 1, TDI_CONTEXT_QUEUES);
	needed = tenon_charge(&x->partition->queues, 1, max);
	if (needed)
		return tenon_context_limit(x, -ENOSPC, needed, max);
	q->charged = true;
	ret = xa_alloc_cyclic(&c->queues, &q->id, q, XA_LIMIT(0, c->max_queues - 1), &c->next_queue,
			      GFP_KERNEL_ACCOUNT);
	if (ret == -EBUSY)
		ret = tenon_context_refuse(x, -ENOSPC, c->max_queues + 1ULL, c->max_queues);
	if (ret < 0)
		goto uncharge;
	ret = xa_insert(&x->queues, q->id, q, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto erase;
	x->queue_count++;
	ret = areas_map(q, c->dev);
	if (ret)
		goto unlist;
	ret = queue_on_device(q, moderation_ns);
	if (!ret) {
		if (x->throttled)
			tenon_queue_throttle(q, true);
		WRITE_ONCE(q->listed, true);
		trace_tenon_queue_create(q);
		return 0;
	}
	/* If the device may yet do it, the queue goes with the context. */
	if (tenon_admin_unknown(ret)) {
		kref_get(&q->ref);
		return ret;
	}
unlist:
	areas_unmap(q, c->dev);
	queue_unlist(q);
	return ret;
erase:
	xa_erase(&c->queues, q->id);
uncharge:
	queue_uncharge(q);
	return ret;
}

int tenon_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_queue_create *args = data;
	struct tenon_queue *q;
	u32 max = 1U << le16_to_cpu(x->controller->identify.max_depth_log2);
	int ret;

	if (args->flags || !is_power_of_2(args->depth) || args->queue || args->first || args->tenant_offset ||
	    args->device_offset || args->doorbell_offset || args->tenant_bytes || args->device_bytes ||
	    args->eventfd < -1)
		return -EINVAL;
	if (args->depth > max)
		return tenon_context_refuse(x, -EINVAL, args->depth, max);
	q = queue_alloc(x, args->depth);
	if (IS_ERR(q))
		return PTR_ERR(q);
	if (args->eventfd >= 0) {
		q->eventfd = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(q->eventfd)) {
			ret = PTR_ERR(q->eventfd);
			q->eventfd = NULL;
			goto put;
		}
	}
	ret = tenon_context_enter(x);
	if (ret)
		goto put;
	ret = queue_create(x, q, args->moderation_ns);
	if (!ret) {
		args->queue = q->id;
		args->first = q->first;
		tenon_queue_offsets(q, args);
	}
	tenon_context_leave(x);
	if (!ret)
		return 0;
put:
	tenon_queue_put(q);
	return ret;
}

/* --------------------------------------------------------------------------------------- end */

static void queue_wake(struct tenon_queue *q)
{
	wake_up_all(&q->wait);
	if (q->eventfd)
		eventfd_signal(q->eventfd);
}

/* Tell the tenant whether its partition is over its cap; not over DEAD, which comes at any time [QUE-24]. */
void tenon_queue_throttle(struct tenon_queue *q, bool throttled)
{
	__le32 on = cpu_to_le32(TDI_KERNEL_THROTTLED);

	if (throttled)
		cmpxchg(&kernel_page(q)->flags, 0, on);
	else
		cmpxchg(&kernel_page(q)->flags, on, 0);
}

/* Tell the tenant that the device is no longer there for it. */
void tenon_queue_kill(struct tenon_queue *q)
{
	struct tdi_kernel_page *page = kernel_page(q);

	tenon_store(&page->flags, TDI_KERNEL_DEAD);
	/* Pairs with the tenant's in tenon_ring_publish() [TKO-1]. */
	smp_mb();
	tenon_queue_revoke(q);
}

/*
 * The first command without a CQE. All slots hold one lap, or the first of them one and the rest the lap
 * before; what doesn't was not written by an honest device.
 */
static bool walk(const struct tenon_queue *q, u32 *first)
{
	u32 newest = tenon_ring_sequence(cq(q), q->mask, 1), sequence, j;
	bool older = false;

	if ((newest - 1) & q->mask)
		return false;
	*first = newest;
	for (j = 1; j < depth(q); j++) {
		sequence = tenon_load(&cq(q)[j].sequence);
		if (sequence == newest + j && !older)
			*first = sequence;
		else if (sequence == newest + j - depth(q))
			older = true;
		else
			return false;
	}
	return true;
}

/* Complete all that was submitted and has no CQE. Under end_lock, when the kernel is the writer. */
static void end_submitted(struct tenon_queue *q)
{
	const struct tdi_sqe *sq = area(q, TENON_AREA_SQ);
	s32 count = (s32)(tenon_load(&producer(q)->tail) - q->ended);
	struct tdi_cqe cqe = { .status = cpu_to_le16(TDI_SC_ABORTED) };

	/* A tail that is too far ahead is taken for a full ring, one that went back for nothing new. */
	for (count = min_t(s32, count, depth(q)); count > 0; count--, q->ended++) {
		cqe.user_data = READ_ONCE(sq[q->ended & q->mask].user_data);
		tenon_ring_complete(&cq(q)[q->ended & q->mask], &cqe, q->ended + 1);
	}
}

/*
 * The device has no access any more, or can't be kept from it: end what was submitted, and wake all. [TKO-3,
 * TKO-7] If the CQ can't be right, all that the ring can hold is ended.
 */
static void take_over(struct tenon_queue *q)
{
	u32 tail, first;

	mutex_lock(&q->end_lock);
	if (!q->dead) {
		tail = tenon_load(&producer(q)->tail);
		if (!walk(q, &first))
			first = tail - depth(q);
		q->ended = first;
		q->dead = true;
		end_submitted(q);
	}
	mutex_unlock(&q->end_lock);
	queue_wake(q);
}

/* Under the context's lock; again if it was not proven at first. */
void tenon_queue_end(struct tenon_queue *q, bool proven)
{
	struct tenon_controller *c = q->context->controller;

	take_over(q);
	/* The id of one that the device has stopped stays the tenant's until it is destroyed. */
	if (q->context->state == TENON_CONTEXT_DEAD) {
		xa_cmpxchg(&c->queues, q->id, q, NULL, 0);
		if (proven)
			queue_uncharge(q);
	}
	if (!areas_mapped(q))
		return;
	if (proven) {
		if (q->unproven)
			atomic64_sub(areas_mapped(q), &c->unproven);
		trace_tenon_queue_release(q);
		areas_unmap(q, c->dev);
	} else if (!q->unproven) {
		atomic64_add(areas_mapped(q), &c->unproven);
		q->unproven = true;
	}
}

/* The device stopped the queue [QUE-8]: once it has destroyed it, the kernel ends the rest. */
static void queue_stop(struct work_struct *work)
{
	struct tenon_queue *q = container_of(work, struct tenon_queue, stop);
	struct tenon_context *x = q->context;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_DESTROY };

	mutex_lock(&x->lock);
	if (x->state == TENON_CONTEXT_LIVE && areas_mapped(q) && !READ_ONCE(q->destroyed)) {
		sqe.generation = cpu_to_le32(q->generation);
		sqe.queue.queue = cpu_to_le32(q->id);
		tenon_queue_kill(q);
		x->controller->ops->flush(x->controller);
		/* It has stopped, so this is all that it used. */
		tenon_usage_queue(q);
		if (!tenon_context_admin(x, &sqe, false))
			tenon_queue_end(q, true);
	}
	mutex_unlock(&x->lock);
	tenon_context_put(x);
	tenon_queue_put(q);
}

void tenon_queue_stopped(struct tenon_controller *c, u32 id)
{
	struct tenon_queue *q;

	xa_lock(&c->queues);
	q = xa_load(&c->queues, id);
	if (q && kref_get_unless_zero(&q->ref))
		kref_get(&q->context->ref);	/* alive while the queue is in the table */
	else
		q = NULL;
	xa_unlock(&c->queues);
	if (q && !queue_work(tenon_wq, &q->stop)) {
		tenon_context_put(q->context);
		tenon_queue_put(q);
	}
}

static int queue_destroy(struct tenon_queue *q)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_DESTROY };
	struct tenon_context *x = q->context;
	int ret;

	WRITE_ONCE(q->listed, false);
	WRITE_ONCE(q->destroyed, true);
	/* [QUE-23] */
	tenon_queue_revoke(q);
	if (areas_mapped(q)) {
		x->controller->ops->flush(x->controller);
		sqe.generation = cpu_to_le32(q->generation);
		sqe.queue.queue = cpu_to_le32(q->id);
		ret = tenon_context_admin(x, &sqe, true);
		trace_tenon_queue_destroy(q, ret);
		if (ret) {
			/* It goes with the context. */
			queue_wake(q);
			return ret;
		}
		trace_tenon_queue_release(q);
		areas_unmap(q, x->controller->dev);
	}
	queue_unlist(q);
	queue_wake(q);
	tenon_queue_put(q);
	return 0;
}

int tenon_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_queue_destroy *args = data;
	struct tenon_queue *q;
	int ret;

	if (args->reserved)
		return -EINVAL;
	ret = tenon_context_enter(x);
	if (ret)
		return ret;
	q = xa_load(&x->queues, args->queue);
	ret = q && q->listed ? queue_destroy(q) : -ENOENT;
	tenon_context_leave(x);
	return ret;
}

/* ------------------------------------------------------------------------------------- kick */

/* Returns whether the queue is dead, with all that was submitted ended. */
static bool end_if_dead(struct tenon_queue *q)
{
	bool dead;

	if (likely(!(tenon_load(&kernel_page(q)->flags) & TDI_KERNEL_DEAD)))
		return false;
	mutex_lock(&q->end_lock);
	dead = q->dead;
	if (dead)
		end_submitted(q);
	mutex_unlock(&q->end_lock);
	return dead;
}

int tenon_queue_kick_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_queue_kick *args = data;
	struct tenon_queue *q;
	int cookie;

	if (args->reserved)
		return -EINVAL;
	q = tenon_queue_lookup(x, args->queue);
	if (!q)
		return -ENOENT;
	if (end_if_dead(q)) {
		queue_wake(q);
	} else if (drm_dev_enter(drm, &cookie)) {
		x->controller->ops->kick(x->controller, q->id, tenon_load(&producer(q)->tail));
		drm_dev_exit(cookie);
	}
	tenon_queue_put(q);
	return 0;
}

/* ------------------------------------------------------------------------------------- wait */

/*
 * The kernel's wanted word serves all its waiters: it holds the earliest target that isn't complete [WAI-3].
 * Replacing one that is complete may take it from under the device's eyes, so its waiter is woken instead.
 */
static void arm(struct tenon_queue *q, u32 target)
{
	bool wake = false;

	spin_lock(&q->wait_lock);
	if (reached(q, q->armed)) {
		wake = q->armed != target;
		q->armed = target;
	} else if ((s32)(target - q->armed) < 0) {
		q->armed = target;
	}
	tenon_store(&producer(q)->wanted_kernel, q->armed);
	spin_unlock(&q->wait_lock);
	if (wake)
		wake_up_all(&q->wait);
	TENON_ARM_BARRIER();
}

/* One look: 0 complete, -EAGAIN not yet. */
static int wait_look(struct tenon_queue *q, u32 target)
{
	if (reached(q, target))
		return 0;
	if (READ_ONCE(q->destroyed))
		return -ENOENT;
	if (end_if_dead(q) && reached(q, target))
		return 0;
	/* [WAI-9] */
	if (tenon_load(&producer(q)->tail) - target >= depth(q))
		return -EINVAL;
	return -EAGAIN;
}

static int wait_sleep(struct tenon_queue *q, u32 target, ktime_t deadline)
{
	DEFINE_WAIT(entry);
	int ret;

	for (;;) {
		prepare_to_wait(&q->wait, &entry, TASK_INTERRUPTIBLE);
		arm(q, target);
		/* It may sleep if the queue is dead: it is awake then, and this goes round once more. */
		sched_annotate_sleep();
		ret = wait_look(q, target);
		if (ret != -EAGAIN)
			break;
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		if (!schedule_hrtimeout_range(&deadline, current->timer_slack_ns, HRTIMER_MODE_ABS)) {
			ret = wait_look(q, target);
			if (ret == -EAGAIN)
				ret = -ETIME;
			break;
		}
	}
	finish_wait(&q->wait, &entry);
	/* W may have this target still, which is complete: those who are left arm it again [WAI-3]. */
	if (!ret && wq_has_sleeper(&q->wait))
		wake_up_all(&q->wait);
	return ret;
}

int tenon_queue_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_queue_wait *args = data;
	struct tenon_queue *q;
	int ret;

	if (args->flags || args->reserved)
		return -EINVAL;
	q = tenon_queue_lookup(x, args->queue);
	if (!q)
		return -ENOENT;
	ret = wait_look(q, args->sequence);
	if (ret == -EAGAIN)
		/* To the timer a negative time is one that has run over, and never comes. */
		ret = wait_sleep(q, args->sequence, ns_to_ktime(max_t(s64, args->deadline_ns, 0)));
	tenon_queue_put(q);
	return ret;
}

/* The device says that something is complete; who waits looks for himself. */
void tenon_queue_notice(struct tenon_controller *c, u32 id)
{
	struct tenon_queue *q = queue_get(&c->queues, id);

	if (!q)
		return;
	queue_wake(q);
	tenon_queue_put(q);
}

/* ------------------------------------------------------------------------------------ status */

/* Which tells whether something was submitted since. */
u32 tenon_queue_tail(const struct tenon_queue *q)
{
	return tenon_load(&producer(q)->tail);
}

/* Is there a command without a CQE? */
bool tenon_queue_outstanding(struct tenon_queue *q)
{
	u32 tail = tenon_load(&producer(q)->tail);

	return tail != q->first && !reached(q, tail);
}

/* The command that keeps the device busy, as far as its CQEs can be believed. */
bool tenon_queue_head(struct tenon_queue *q, __le32 *index)
{
	u32 first;

	if (!tenon_queue_outstanding(q) || !walk(q, &first))
		return false;
	*index = cpu_to_le32(first);
	return true;
}

/* Does the device still know of it? Not of one that it has stopped. Under the context's lock. */
bool tenon_queue_on_device(const struct tenon_queue *q)
{
	return areas_mapped(q);
}

/* Of a dead one. */
void tenon_queue_status(struct tenon_queue *q, struct tdi_queue_status *status)
{
	mutex_lock(&q->end_lock);
	status->queue = cpu_to_le32(q->id);
	status->state = TDI_QUEUE_STOPPED;
	status->completed = cpu_to_le32(q->ended);
	mutex_unlock(&q->end_lock);
}
