// SPDX-License-Identifier: GPL-2.0-only
/*
 * A controller's life: bring-up, events, watchdog, reset, removal.
 *
 * A reset ends all contexts: what was submitted completes ABORTED, the contexts are dead, new ones can be
 * opened. (Contexts that live on over a reset need their objects made again; that is not here yet.)
 */
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "tenon.h"
#include "trace.h"

#define WATCHDOG_MS	1000
/* So that the event queue, which has room for all, stays within TDI_DEPTH_LOG2_MAX. */
#define QUEUES_MAX	4096
#define CONTEXTS_MAX	1024

static void set_state(struct tenon_controller *c, enum tenon_state state)
{
	unsigned long flags;

	spin_lock_irqsave(&c->admin_lock, flags);
	c->state = state;
	if (state == TENON_DOWN || state == TENON_GONE)
		c->ops->admin_cancel(c, state == TENON_GONE ? -ENODEV : -EIO);
	spin_unlock_irqrestore(&c->admin_lock, flags);
	wake_up_all(&c->admin_room);
}

/* Neither in the middle of a reset nor of a bring-up. */
bool tenon_controller_settled(struct tenon_controller *c)
{
	unsigned long flags;
	bool settled;

	spin_lock_irqsave(&c->admin_lock, flags);
	settled = c->state != TENON_DOWN && c->state != TENON_STARTING;
	spin_unlock_irqrestore(&c->admin_lock, flags);
	return settled;
}

/* ---------------------------------------------------------------------------------- contexts */

/* The next context at or after @index, with a reference. */
struct tenon_context *tenon_controller_context(struct tenon_controller *c, unsigned long *index)
{
	struct tenon_context *x;

	xa_lock(&c->contexts);
	x = xa_find(&c->contexts, index, ULONG_MAX, XA_PRESENT);
	if (x)
		kref_get(&x->ref);
	xa_unlock(&c->contexts);
	return x;
}

typedef void (*context_fn)(struct tenon_context *x, bool proven);

static void visit_contexts(struct tenon_controller *c, context_fn fn, bool proven)
{
	struct tenon_context *x;
	unsigned long index;

	for (index = 0; (x = tenon_controller_context(c, &index)); index++) {
		mutex_lock(&x->lock);
		fn(x, proven);
		mutex_unlock(&x->lock);
		tenon_context_put(x);
	}
}

static void kill_context(struct tenon_context *x, bool proven)
{
	tenon_context_kill(x);
}

static void forget_context(struct tenon_context *x, bool proven)
{
	tenon_context_forget(x);
}

/*
 * Take the device off memory, and end all contexts. The order is that of [TKO-1] and [EOA-5]: DEAD is set,
 * doorbells are revoked, the device is fenced off, only then the CQs are written and memory goes.
 */
static bool take_down(struct tenon_controller *c, enum tenon_state state)
{
	bool proven;

	set_state(c, state);
	visit_contexts(c, kill_context, false);
	proven = !c->ops->fence_off(c);
	trace_tenon_fence_off(c, proven);
	visit_contexts(c, tenon_context_end, proven);
	if (!proven)
		dev_err(c->dev, "can't be fenced off: %lld pages that it may still access stay allocated\n",
			atomic64_read(&c->unproven));
	return proven;
}

/* All of a partition: it has ended, or it can't be proven for the time being. */
static bool contexts_ended(struct tenon_controller *c, struct tenon_partition *p)
{
	return !atomic64_read(&p->contexts) || READ_ONCE(c->state) >= TENON_FAILED;
}

/* No new ones come. Those that a reset must end, it ends; who waits for it holds no lock that it needs. */
void tenon_controller_end_contexts(struct tenon_controller *c, struct tenon_partition *p)
{
	struct tenon_context *x;
	unsigned long index;

	do {
		for (index = 0; (x = tenon_controller_context(c, &index)); index++) {
			if (x->partition == p) {
				mutex_lock(&x->lock);
				tenon_context_delete(x);
				mutex_unlock(&x->lock);
			}
			tenon_context_put(x);
		}
	} while (!wait_event_timeout(c->admin_room, contexts_ended(c, p), HZ));
}

/* ---------------------------------------------------------------------------------- bring-up */

static int identify_check(struct tenon_controller *c, const struct tdi_identify *id, u64 features)
{
	if (le32_to_cpu(id->version) != TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR))
		return -EPROTO;
	/* Names are printed and shown: they end, and all that was not asked for is inert. */
	if (le64_to_cpu(id->features) != features || id->serial[sizeof(id->serial) - 1] ||
	    id->model[sizeof(id->model) - 1] || id->firmware[sizeof(id->firmware) - 1])
		return -EPROTO;
	if (!id->max_groups || !id->max_contexts || !id->max_queues || !id->max_eqs || !id->max_buffers ||
	    le32_to_cpu(id->max_buffers) > TDI_BUFFER_INDEX(~0u) + 1 || !id->max_buffer_bytes ||
	    le16_to_cpu(id->max_depth_log2) > TDI_DEPTH_LOG2_MAX)
		return -EPROTO;
	/* After a reset it must still be the same: tenants were told. */
	if (c->identify.version && memcmp(&c->identify, id, sizeof(*id)))
		return -EPROTO;
	return 0;
}

static int identify(struct tenon_controller *c, u64 features)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };
	struct tdi_identify *id;
	int ret;

	id = kzalloc(sizeof(*id), GFP_KERNEL);
	if (!id)
		return -ENOMEM;
	sqe.data.page = cpu_to_le32(TDI_IDENTIFY_CONTROLLER);
	ret = tenon_admin_log(c, &sqe, id, sizeof(*id));
	if (!ret)
		ret = identify_check(c, id, features);
	if (!ret) {
		c->identify = *id;
		c->max_queues = min3(c->max_queues, le32_to_cpu(id->max_queues), (u32)QUEUES_MAX);
		c->max_contexts = min_t(u32, le32_to_cpu(id->max_contexts), CONTEXTS_MAX);
	}
	kfree(id);
	return ret;
}

/* Groups don't survive a reset; partitions do. */
static int create_groups(struct tenon_controller *c)
{
	struct tenon_partition *p;
	unsigned long group;
	int ret;

	xa_for_each(&c->partitions, group, p) {
		ret = tenon_group_create(p);
		if (ret)
			return ret;
	}
	return 0;
}

/* Under lock. On failure the device may be left enabled: fence_off() follows. */
static int bring_up(struct tenon_controller *c)
{
	u64 features;
	int ret;

	ret = c->ops->enable(c, &features);
	if (ret)
		return ret;
	set_state(c, TENON_STARTING);
	/* What was under way before the reset has been canceled. */
	c->request.busy = false;
	c->ladder.busy = false;
	c->log_request.busy = false;
	ret = identify(c, features);
	if (!ret)
		ret = c->ops->event_arm(c, &c->request, 2 * c->max_queues + 2 * c->max_contexts + 2);
	if (!ret)
		ret = create_groups(c);
	if (!ret) {
		tenon_usage_settle(c, ktime_get_ns());
		set_state(c, TENON_LIVE);
	}
	return ret;
}

/* ------------------------------------------------------------------------------------- reset */

/* Ask a device that is well for the last time what contexts have used. */
static void close_books(struct tenon_controller *c)
{
	if (!c->ops->alive(c))
		tenon_usage_scan(c, NULL);
}

/* As operators see it. */
const char *tenon_controller_health(const struct tenon_controller *c)
{
	switch (READ_ONCE(c->state)) {
	case TENON_LIVE:
		return "ready";
	case TENON_FAILED:
	case TENON_GONE:
		return "failed";
	default:
		return "resetting";
	}
}

/* Who watches the nodes is told how their device is. Under lock. */
static void announce_health(struct tenon_controller *c, const char *state)
{
	struct tenon_partition *p;
	unsigned long group;

	xa_for_each(&c->partitions, group, p)
		tenon_partition_announce(p, "health", state);
}

/* What fence_off() didn't prove last time it may prove now. Returns with the lock held. */
void tenon_controller_reset_begin(struct tenon_controller *c)
{
	mutex_lock(&c->lock);
	if (c->state == TENON_GONE)
		return;
	c->resets++;
	announce_health(c, "resetting");
	if (c->state == TENON_LIVE && !READ_ONCE(c->cause))
		close_books(c);
	c->fenced = take_down(c, TENON_DOWN);
}

void tenon_controller_reset_end(struct tenon_controller *c)
{
	char cause[64] = "asked-for";
	unsigned long flags;
	int ret;

	if (c->state == TENON_GONE) {
		mutex_unlock(&c->lock);
		return;
	}
	/* With access unproven ids are still taken. A context that is just being made goes by itself. */
	ret = c->fenced ? bring_up(c) : -EIO;
	spin_lock_irqsave(&c->admin_lock, flags);
	if (c->cause)
		strscpy(cause, c->cause, sizeof(cause));
	c->cause = NULL;
	spin_unlock_irqrestore(&c->admin_lock, flags);
	strreplace(cause, ' ', '-');
	tenon_event(TENON_EVENT_RESET, c, NULL, "cause=%s resets=%u errno=%d", cause, c->resets, -ret);
	if (ret) {
		dev_err(c->dev, "can't be brought up again (%d); a reset of the function may help\n", ret);
		set_state(c, TENON_DOWN);
		c->ops->fence_off(c);
		set_state(c, TENON_FAILED);
	} else {
		dev_info(c->dev, "reset, contexts can be opened again\n");
	}
	announce_health(c, tenon_controller_health(c));
	mutex_unlock(&c->lock);
}

static void reset_work(struct work_struct *work)
{
	struct tenon_controller *c = container_of(work, struct tenon_controller, reset_work);

	tenon_controller_reset_begin(c);
	tenon_controller_reset_end(c);
}

/* Something went wrong that only a reset helps against; it comes later. Any context, interrupts too. */
void tenon_controller_reset(struct tenon_controller *c, const char *why)
{
	unsigned long flags;
	bool first;

	spin_lock_irqsave(&c->admin_lock, flags);
	first = c->state == TENON_LIVE && queue_work(tenon_wq, &c->reset_work);
	if (first)
		c->cause = why;
	spin_unlock_irqrestore(&c->admin_lock, flags);
	if (first)
		dev_err(c->dev, "%s: resetting\n", why);
}

/* --------------------------------------------------------------------------------- watchdog */

/* Has a queue something to do? And may something have been done since the last look? */
static bool outstanding(struct tenon_controller *c, bool *used)
{
	struct tenon_queue *q;
	unsigned long id;
	bool found = false;
	u32 tails = 0;

	xa_lock(&c->queues);
	xa_for_each(&c->queues, id, q) {
		found |= tenon_queue_outstanding(q);
		/* Of this queue: the next one may get to the tail that one before it had. */
		tails = 31 * (31 * tails + q->generation) + tenon_queue_tail(q);
	}
	xa_unlock(&c->queues);
	*used = found || c->outstanding || tails != c->tails || !c->scanned || c->throttled;
	c->outstanding = found;
	c->tails = tails;
	return found;
}

/*
 * A device that is gone or has failed raises no interrupt; one that polled and stopped needs a question to be
 * found out.
 */
static void watchdog(struct work_struct *work)
{
	struct tenon_controller *c = container_of(to_delayed_work(work), struct tenon_controller, watchdog);
	bool used = false, idle = false;
	u64 now = ktime_get_ns();

	if (!mutex_trylock(&c->lock))
		goto again;
	if (c->state != TENON_LIVE) {
		mutex_unlock(&c->lock);
		goto again;
	}
	switch (c->ops->alive(c)) {
	case 0:
		/* Who waits for a notice that was lost has no command outstanding. */
		c->ops->poll(c);
		idle = !outstanding(c, &used);
		if (!idle) {
			memset(&c->request.sqe, 0, sizeof(c->request.sqe));
			c->request.sqe.opcode = TDI_ADMIN_KEEP_ALIVE;
			tenon_admin(c, &c->request);
		}
		break;
	case -ENODEV:
		tenon_controller_reset(c, "the device is gone");
		break;
	default:
		tenon_controller_reset(c, "the device has failed");
		break;
	}
	mutex_unlock(&c->lock);
	if (used)
		tenon_usage_scan(c, NULL);
	else if (idle)
		tenon_usage_settle(c, now);
again:
	queue_delayed_work(tenon_wq, &c->watchdog, msecs_to_jiffies(WATCHDOG_MS));
}

/* ------------------------------------------------------------------------------------ events */

/* A context has failed, by its own fault or by the device's. Which ids there are is for us to know. */
static void context_failed(struct tenon_controller *c, u32 id, enum tenon_event_type type)
{
	struct tenon_context *x;

	xa_lock(&c->contexts);
	x = xa_load(&c->contexts, id);
	/* Its partition is there while it is in the table. */
	if (x)
		tenon_event(type, c, x->partition, "context=%u", id);
	if (x && type == TENON_EVENT_HANG)
		tenon_context_stop(x);
	xa_unlock(&c->contexts);
}

/* @event is a copy; it is a hint to look at something, nothing more. From the interrupt's thread. */
void tenon_controller_event(struct tenon_controller *c, const struct tdi_event *event)
{
	u32 id = le32_to_cpu(event->id);

	switch (le16_to_cpu(event->type)) {
	case TDI_EVENT_DUE:
		tenon_queue_notice(c, id);
		break;
	case TDI_EVENT_STOPPED:
		tenon_queue_stopped(c, id);
		break;
	case TDI_EVENT_FAULT:
	case TDI_EVENT_HANG:
		dev_warn_ratelimited(c->dev, "context %u: %s\n", id,
				     le16_to_cpu(event->type) == TDI_EVENT_HANG ? "hang" : "fault");
		context_failed(c, id, le16_to_cpu(event->type) == TDI_EVENT_HANG ? TENON_EVENT_HANG :
										   TENON_EVENT_FAULT);
		break;
	case TDI_EVENT_THERMAL:
		dev_warn_ratelimited(c->dev, "too hot\n");
		break;
	case TDI_EVENT_ERROR:
		if (c->ops->alive(c))
			tenon_controller_reset(c, "the device has failed");
		break;
	default:
		dev_warn_ratelimited(c->dev, "event of unknown type %u\n", le16_to_cpu(event->type));
		break;
	}
}

/* ---------------------------------------------------------------------------------- lifetime */

struct tenon_controller *tenon_controller_create(struct device *dev, const struct tenon_transport_ops *ops,
						 void *transport)
{
	struct tenon_controller *c;

	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return NULL;
	c->log = dma_alloc_coherent(dev, TDI_PAGE_SIZE, &c->log_dma, GFP_KERNEL);
	if (!c->log) {
		kfree(c);
		return NULL;
	}
	kref_init(&c->ref);
	c->dev = dev;
	c->node = dev_to_node(dev);
	c->ops = ops;
	c->transport = transport;
	mutex_init(&c->lock);
	mutex_init(&c->log_lock);
	mutex_init(&c->ladder_lock);
	spin_lock_init(&c->admin_lock);
	init_waitqueue_head(&c->admin_room);
	if (tenon_usage_init(c)) {
		dma_free_coherent(dev, TDI_PAGE_SIZE, c->log, c->log_dma);
		kfree(c);
		return NULL;
	}
	c->near = tenon_buffer_mount(c->node);
	xa_init_flags(&c->contexts, XA_FLAGS_ALLOC);
	xa_init_flags(&c->queues, XA_FLAGS_ALLOC);
	tenon_admin_init(&c->request);
	tenon_admin_init(&c->ladder);
	tenon_admin_init(&c->log_request);
	xa_init_flags(&c->partitions, XA_FLAGS_ALLOC);
	mutex_init(&c->partitions_lock);
	INIT_LIST_HEAD(&c->link);
	INIT_WORK(&c->reset_work, reset_work);
	INIT_DELAYED_WORK(&c->watchdog, watchdog);
	return c;
}

static void controller_free(struct kref *ref)
{
	struct tenon_controller *c = container_of(ref, struct tenon_controller, ref);

	xa_destroy(&c->contexts);
	xa_destroy(&c->queues);
	xa_destroy(&c->partitions);
	if (c->near)
		kern_unmount(c->near);
	kfree(c);
}

void tenon_controller_put(struct tenon_controller *c)
{
	might_sleep();
	kref_put(&c->ref, controller_free);
}

/* If it fails, tenon_controller_remove() follows, too. */
int tenon_controller_start(struct tenon_controller *c)
{
	struct tenon_partition *p;
	struct tenon_settings s;
	const struct tdi_identify *id = &c->identify;
	char serial[4 * sizeof(id->serial) + 1], model[4 * sizeof(id->model) + 1];
	int ret;

	mutex_lock(&c->lock);
	ret = bring_up(c);
	mutex_unlock(&c->lock);
	if (ret)
		return dev_err_probe(c->dev, ret, "can't be brought up\n");
	tenon_event_value(serial, sizeof(serial), id->serial);
	tenon_event_value(model, sizeof(model), id->model);
	tenon_event(TENON_EVENT_CONTROLLER_ADD, c, NULL, "serial=%s model=%s units=%u memory_bytes=%llu",
		    serial, model, le16_to_cpu(id->units), le64_to_cpu(id->memory_bytes));
	c->told = true;
	mutex_lock(&c->partitions_lock);
	/* Configured ones come with a worker. */
	if (tenon_config_bind(c)) {
		tenon_settings_init(&s);
		ret = tenon_partition_create(c, "default", &s, NULL, NULL, &p);
	}
	mutex_unlock(&c->partitions_lock);
	if (ret)
		return dev_err_probe(c->dev, ret, "can't make a partition\n");
	queue_delayed_work(tenon_wq, &c->watchdog, msecs_to_jiffies(WATCHDOG_MS));
	return 0;
}

/* The host goes down or another kernel takes over: the device must be off memory by then. */
void tenon_controller_shutdown(struct tenon_controller *c)
{
	mutex_lock(&c->lock);
	take_down(c, TENON_GONE);
	mutex_unlock(&c->lock);
}

/*
 * End it, before its transport goes. Returns whether the device has certainly no access to memory any more;
 * else nothing that it knows of may ever be used again [EOA-7].
 */
bool tenon_controller_remove(struct tenon_controller *c)
{
	struct tenon_partition *p;
	unsigned long group;
	bool proven;

	tenon_config_unbind(c);
	mutex_lock(&c->partitions_lock);
	c->closing = true;
	/* No new calls, and those that are inside kicks have left. */
	xa_for_each(&c->partitions, group, p)
		tenon_partition_close(p);
	mutex_lock(&c->lock);
	if (c->state == TENON_LIVE)
		close_books(c);
	proven = take_down(c, TENON_GONE);
	if (!proven)
		visit_contexts(c, forget_context, false);
	mutex_unlock(&c->lock);
	xa_for_each(&c->partitions, group, p)
		tenon_partition_free(p);
	mutex_unlock(&c->partitions_lock);
	cancel_delayed_work_sync(&c->watchdog);
	cancel_work_sync(&c->reset_work);
	tenon_usage_exit(c, proven);
	if (c->told)
		tenon_event(TENON_EVENT_CONTROLLER_REMOVE, c, NULL, "resets=%u unproven_pages=%lld",
			    c->resets, atomic64_read(&c->unproven));
	if (proven)
		dma_free_coherent(c->dev, TDI_PAGE_SIZE, c->log, c->log_dma);
	c->log = NULL;
	return proven;
}
