// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: an open file, and what the device knows of it.
 *
 * open() doesn't talk to the device. The first map or queue makes the context there; the last close hands its
 * end to a worker, and ids, memory and charges stay taken until the device has acknowledged it or is fenced
 * off.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "tenon.h"
#include "trace.h"

/* ---------------------------------------------------------------------------- admin commands */

/*
 * A command didn't end in time: help it along, step by step, before the whole controller has to be reset
 * [ADM-18]. 0: it has ended.
 */
static int climb(struct tenon_context *x)
{
	struct tenon_controller *c = x->controller;
	struct tdi_admin_sqe steps[3] = { };
	unsigned int count = 0, i;
	struct tenon_queue *q;
	int ret = -ETIMEDOUT;

	if (x->request.sqe.opcode == TDI_ADMIN_QUEUE_DESTROY) {
		q = xa_load(&x->queues, le32_to_cpu(x->request.sqe.queue.queue));
		if (q && tenon_queue_head(q, &steps[0].abort.index)) {
			steps[count].opcode = TDI_ADMIN_ABORT;
			steps[count].generation = x->request.sqe.generation;
			steps[count++].abort.queue = x->request.sqe.queue.queue;
		}
		memset(&steps[count], 0, sizeof(steps[count]));
		steps[count].opcode = TDI_ADMIN_QUEUE_RESET;
		steps[count].generation = x->request.sqe.generation;
		steps[count++].queue.queue = x->request.sqe.queue.queue;
	}
	if (x->request.sqe.opcode != TDI_ADMIN_CONTEXT_CREATE) {
		steps[count].opcode = TDI_ADMIN_CONTEXT_RESET;
		steps[count].generation = cpu_to_le32(x->generation);
		steps[count++].context.context = cpu_to_le32(x->id);
	}
	mutex_lock(&c->ladder_lock);
	for (i = 0; i < count && ret && !c->ladder.busy; i++) {
		c->ladder.sqe = steps[i];
		if (tenon_admin_submit(c, &c->ladder) || tenon_admin_wait(c, &c->ladder, false))
			break;
		ret = tenon_admin_wait(c, &x->request, false);
	}
	mutex_unlock(&c->ladder_lock);
	return ret;
}

/*
 * One admin command of a context, under its lock. -EINTR (only if @killable) and -ETIMEDOUT: it may still
 * happen, so what it names must be kept until the context ends.
 */
int tenon_context_admin(struct tenon_context *x, const struct tdi_admin_sqe *sqe, bool killable)
{
	struct tenon_controller *c = x->controller;
	struct tenon_request *rq = &x->request;
	int ret;

	/* One that a killed caller left behind. */
	if (rq->busy) {
		ret = tenon_admin_wait(c, rq, killable);
		if (ret == -EINTR)
			return ret;
		if (ret)
			goto reset;
	}
	rq->sqe = *sqe;
	ret = tenon_admin_submit(c, rq);
	if (ret == -ETIMEDOUT)
		goto reset;
	if (ret)
		return ret;
	ret = tenon_admin_wait(c, rq, killable);
	if (ret == -EINTR)
		return ret;
	if (ret && climb(x))
		goto reset;
	return tenon_admin_result(c, rq);
reset:
	tenon_controller_reset(c, "an admin command was not answered");
	return -ETIMEDOUT;
}

/* A call was refused for a limit: kept, so that the tenant can be told by how much. */
int tenon_context_refuse(struct tenon_context *x, int error, u64 needed, u64 allowed)
{
	WRITE_ONCE(x->needed, needed);
	WRITE_ONCE(x->allowed, allowed);
	tenon_event(TENON_EVENT_LIMIT, x->controller, x->partition, "errno=%d needed=%llu allowed=%llu",
		    -error, needed, allowed);
	return error;
}

/* The same for a limit that the operator has set. */
int tenon_context_limit(struct tenon_context *x, int error, u64 needed, u64 allowed)
{
	atomic64_inc(&x->partition->limit_hits);
	return tenon_context_refuse(x, error, needed, allowed);
}

/* ------------------------------------------------------------------------------ on the device */

/* A file that was opened before the partition came to its next tenant stays dead. */
bool tenon_context_recycled(const struct tenon_context *x)
{
	return x->life != READ_ONCE(x->partition->life);
}

/* One of the partition's contexts, unless the door is closed. */
static int context_charge(struct tenon_context *x)
{
	struct tenon_partition *p = x->partition;
	u64 needed = 0, allowed;
	int ret = 0;

	spin_lock(&p->gate);
	allowed = p->settings.contexts_max;
	if (p->gone)
		ret = -ENODEV;
	else if (tenon_context_recycled(x))
		ret = -EIO;
	else if (p->draining)
		ret = -EBUSY;
	else
		needed = tenon_charge(&p->contexts, 1, allowed);
	spin_unlock(&p->gate);
	return needed ? tenon_context_limit(x, -ENOSPC, needed, allowed) : ret;
}

static void context_uncharge(struct tenon_context *x)
{
	atomic64_dec(&x->partition->contexts);
	wake_up_all(&x->controller->admin_room);
}

static int context_create(struct tenon_context *x)
{
	struct tenon_controller *c = x->controller;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_CREATE };
	int ret;

	ret = context_charge(x);
	if (ret)
		return ret;
	ret = tenon_usage_open(x);
	if (ret) {
		context_uncharge(x);
		return ret;
	}
	ret = xa_alloc_cyclic(&c->contexts, &x->id, x, XA_LIMIT(0, c->max_contexts - 1), &c->next_context,
			      GFP_KERNEL);
	if (ret < 0) {
		tenon_usage_close(x);
		context_uncharge(x);
		return ret != -EBUSY ? ret : tenon_context_refuse(x, -ENOSPC, c->max_contexts + 1ULL,
								  c->max_contexts);
	}
	kref_get(&x->ref);
	x->generation = tenon_generation(c);
	sqe.generation = cpu_to_le32(x->generation);
	sqe.context.context = cpu_to_le32(x->id);
	sqe.context.group = cpu_to_le32(x->partition->group);
	sqe.context.group_generation = cpu_to_le32(READ_ONCE(x->partition->group_generation));
	ret = tenon_context_admin(x, &sqe, true);
	if (ret == -EINTR || ret == -ETIMEDOUT) {
		/* Perhaps it is there: so it has to be ended. */
		x->state = TENON_CONTEXT_LIVE;
	} else if (ret) {
		xa_erase(&c->contexts, x->id);
		context_uncharge(x);
		tenon_usage_close(x);
		tenon_context_put(x);
	} else {
		x->state = TENON_CONTEXT_LIVE;
		trace_tenon_context_create(x);
	}
	return ret;
}

/* For calls that need the context on the device; tenon_context_leave() follows if it returns 0. */
int tenon_context_enter(struct tenon_context *x)
{
	struct tenon_controller *c = x->controller;
	int ret;

	/* Who waits here holds no lock that the reset needs. */
	if (wait_event_killable_timeout(c->admin_room, tenon_controller_settled(c),
					msecs_to_jiffies(4 * c->admin_ms)) < 0)
		return -EINTR;
	if (mutex_lock_killable(&x->lock))
		return -EINTR;
	switch (x->state) {
	case TENON_CONTEXT_NEW:
		ret = context_create(x);
		break;
	case TENON_CONTEXT_LIVE:
		ret = 0;
		break;
	default:
		ret = -EIO;
		break;
	}
	if (ret)
		mutex_unlock(&x->lock);
	return ret;
}

void tenon_context_leave(struct tenon_context *x)
{
	mutex_unlock(&x->lock);
}

/* The controller is about to be fenced off: tenants are told, and nobody rings it any more. Under lock. */
void tenon_context_kill(struct tenon_context *x)
{
	struct tenon_queue *q;
	unsigned long id;

	xa_for_each(&x->queues, id, q)
		tenon_queue_kill(q);
	/* Nothing of the device's is waited for: its commands were canceled. */
	x->request.busy = false;
	x->state = TENON_CONTEXT_DEAD;
}

/*
 * The device has ended the context, or was fenced off: end what it left open, and if its access to memory has
 * @proven to be over, let go of all that was kept for it. Under lock; more than once if it wasn't at first.
 */
void tenon_context_end(struct tenon_context *x, bool proven)
{
	struct tenon_controller *c = x->controller;
	struct tenon_queue *q;
	unsigned long id;

	x->state = TENON_CONTEXT_DEAD;
	xa_for_each(&x->queues, id, q)
		tenon_queue_end(q, proven);
	tenon_buffer_end_all(x, proven);
	trace_tenon_context_end(x, proven);
	if (proven && xa_cmpxchg(&c->contexts, x->id, x, NULL, 0) == x) {
		tenon_usage_close(x);
		context_uncharge(x);
		tenon_context_put(x);
	}
}

/* It will never be proven: the pages stay allocated for ever, the rest may go. Under lock. */
void tenon_context_forget(struct tenon_context *x)
{
	/* So are the buffers that they belong to, and what those need. */
	drm_dev_get(x->drm);
	if (xa_cmpxchg(&x->controller->contexts, x->id, x, NULL, 0) == x)
		tenon_context_put(x);
}

static int context_log(struct tenon_context *x, enum tdi_log_page page, void *to, size_t bytes)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG };
	int ret;

	ret = tenon_context_enter(x);
	if (ret)
		return ret;
	sqe.generation = cpu_to_le32(x->generation);
	sqe.data.page = cpu_to_le32(page);
	sqe.data.id = cpu_to_le32(x->id);
	ret = tenon_admin_log(x->controller, &sqe, to, bytes);
	tenon_context_leave(x);
	return ret;
}

/* ------------------------------------------------------------------------------------ status */

/* What the kernel knows of the queues of a dead context; the device may say what it likes. */
static void status_dead(struct tenon_context *x, struct tdi_context_status *status)
{
	struct tenon_queue *q;
	unsigned long id;
	u32 count = 0;

	memset(status, 0, sizeof(*status));
	xa_for_each(&x->queues, id, q) {
		if (q->listed && count < TDI_CONTEXT_QUEUES) {
			status->queue[count].reason = x->reason;
			tenon_queue_status(q, &status->queue[count++]);
		}
	}
	status->queues = cpu_to_le32(count);
}

static int status_get(struct tenon_context *x, struct tdi_context_status *status)
{
	int ret;

	ret = context_log(x, TDI_LOG_CONTEXT_STATUS, status, sizeof(*status));
	if (!ret && le32_to_cpu(status->queues) > TDI_CONTEXT_QUEUES)
		ret = -EPROTO;
	if (ret != -EIO)
		return ret;
	if (mutex_lock_killable(&x->lock))
		return -EINTR;
	if (x->state == TENON_CONTEXT_DEAD) {
		status_dead(x, status);
		ret = 0;
	}
	mutex_unlock(&x->lock);
	return ret;
}

int tenon_context_status_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	struct drm_tenon_context_status *args = data;
	struct tdi_context_status *status;
	u32 size = args->size;
	int ret = 0;

	if (args->flags || args->needed || args->allowed || (size && !args->pointer))
		return -EINVAL;
	if (args->pointer) {
		status = kzalloc(sizeof(*status), GFP_KERNEL);
		if (!status)
			return -ENOMEM;
		ret = status_get(x, status);
		if (!ret)
			ret = tenon_copy_sized(args->pointer, &size, status, sizeof(*status));
		kfree(status);
	} else {
		size = sizeof(*status);
	}
	if (ret)
		return ret;
	args->size = size;
	args->flags = READ_ONCE(x->state) == TENON_CONTEXT_DEAD ? DRM_TENON_CONTEXT_DEAD : 0;
	args->needed = READ_ONCE(x->needed);
	args->allowed = READ_ONCE(x->allowed);
	return 0;
}

/* ---------------------------------------------------------------------------------- lifetime */

/* Under lock, live. */
static void context_destroy(struct tenon_context *x)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_DESTROY };

	sqe.generation = cpu_to_le32(x->generation);
	sqe.destroy.id = cpu_to_le32(x->id);
	sqe.destroy.usage = cpu_to_le64(x->last_dma);
	/* If it fails, a reset is on its way, which ends the context. */
	switch (tenon_context_admin(x, &sqe, false)) {
	case 0:
		tenon_usage_last(x);
		tenon_context_end(x, true);
		break;
	case -EPROTO:
		tenon_controller_reset(x->controller, "a context can't be destroyed");
		break;
	}
}

/* It ends before its file is closed, so its tenants must be told. Under lock. */
void tenon_context_delete(struct tenon_context *x)
{
	struct tenon_queue *q;
	unsigned long id;

	if (x->state != TENON_CONTEXT_LIVE)
		return;
	xa_for_each(&x->queues, id, q)
		tenon_queue_kill(q);
	x->controller->ops->flush(x->controller);
	context_destroy(x);
}

static void context_stop(struct work_struct *work)
{
	struct tenon_context *x = container_of(work, struct tenon_context, stop);

	mutex_lock(&x->lock);
	if (x->state == TENON_CONTEXT_LIVE)
		x->reason = TDI_STOP_HANG;
	tenon_context_delete(x);
	mutex_unlock(&x->lock);
	tenon_context_put(x);
}

/*
 * The device has stopped it, for a command that didn't yield [CMD-25]; its partition goes on. For one that is
 * in the controller's table, under the table's lock.
 */
void tenon_context_stop(struct tenon_context *x)
{
	kref_get(&x->ref);
	if (!queue_work(tenon_wq, &x->stop))
		tenon_context_put(x);	/* not the last: the table has one */
}

/* The file is gone, so nobody can name the context any more. */
static void context_release(struct work_struct *work)
{
	struct tenon_context *x = container_of(work, struct tenon_context, release);

	mutex_lock(&x->lock);
	if (x->state == TENON_CONTEXT_LIVE)
		context_destroy(x);
	mutex_unlock(&x->lock);
	tenon_context_put(x);
}

int tenon_context_open(struct drm_device *drm, struct drm_file *file)
{
	struct tenon_context *x;
	u32 life;
	int ret;

	ret = tenon_partition_enter(to_tenon_node(drm)->partition, &life);
	if (ret)
		return ret;
	x = kzalloc(sizeof(*x), GFP_KERNEL_ACCOUNT);
	if (!x)
		return -ENOMEM;
	x->dummy = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!x->dummy) {
		kfree(x);
		return -ENOMEM;
	}
	kref_init(&x->ref);
	x->partition = to_tenon_node(drm)->partition;
	x->life = life;
	x->controller = x->partition->controller;
	kref_get(&x->controller->ref);
	x->drm = drm;
	drm_dev_get(drm);
	mutex_init(&x->lock);
	tenon_admin_init(&x->request);
	xa_init(&x->queues);
	xa_init_flags(&x->maps, XA_FLAGS_ALLOC);
	x->map_lap = 1;
	INIT_WORK(&x->stop, context_stop);
	INIT_WORK(&x->release, context_release);
	file->driver_priv = x;
	return 0;
}

void tenon_context_close(struct drm_device *drm, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;

	queue_work(tenon_wq, &x->release);
}

static void context_free(struct kref *ref)
{
	struct tenon_context *x = container_of(ref, struct tenon_context, ref);
	struct drm_device *drm = x->drm;
	struct tenon_queue *q;
	unsigned long id;

	xa_for_each(&x->queues, id, q)
		tenon_queue_put(q);
	xa_destroy(&x->queues);
	xa_destroy(&x->maps);
	__free_page(x->dummy);
	tenon_controller_put(x->controller);
	kfree(x);
	/* Nothing of the partition is used after this. */
	drm_dev_put(drm);
}

void tenon_context_put(struct tenon_context *x)
{
	kref_put(&x->ref, context_free);
}
