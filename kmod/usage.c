// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's books of what contexts, partitions and controllers have used.
 *
 * A device reports what each context has used since it was made. What came since the last report is added to
 * the books of the context, its partition and its controller under one lock, so that contexts add up to
 * partitions and partitions to the controller, always. Queues whose tenants ask have books of their own.
 * Books never go back, whatever a device says, however often it is reset. No more busy time is believed than
 * has passed on all of its execution units.
 */
#include <linux/device.h>
#include <linux/dmapool.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/math64.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/timekeeping.h>

#include <drm/drm_print.h>

#include "tenon.h"

#define WORDS	(sizeof(struct tdi_usage) / sizeof(__le64))
#define GRAIN_NS 20000		/* clocks of device and host are read one after the other */
#define DRIFT_SHIFT 10		/* and may run apart by a thousandth */

/* -------------------------------------------------------------------------------- arithmetic */

static inline __le64 *words(struct tdi_usage *usage)
{
	return (__le64 *)usage;
}

/*
 * What a context has used since the last report: turns @report into that. False, and nothing is to be added,
 * if a counter went back. @books are the context's: what was reported is in there, but for what was cut.
 */
static bool usage_since(struct tdi_usage *report, struct tenon_books *books)
{
	__le64 *now = words(report), *then = words(&books->sum);
	unsigned int i;

	/* The first isn't in force, the second is the group's to tell. */
	report->energy_nj = 0;
	report->throttled_ns = 0;
	for (i = 0; i < WORDS; i++) {
		u64 was = le64_to_cpu(then[i]);

		if (then + i == &books->sum.busy_ns)
			was += books->cut_ns;
		if (le64_to_cpu(now[i]) < was)
			return false;
		now[i] = cpu_to_le64(le64_to_cpu(now[i]) - was);
	}
	return true;
}

/* They stay where they are at the end of the numbers, rather than go back. */
static void usage_add(struct tenon_books *books, struct tdi_usage *more, u64 cut_ns)
{
	__le64 *to = words(&books->sum), *from = words(more);
	unsigned int i;
	u64 sum;

	for (i = 0; i < WORDS; i++) {
		if (check_add_overflow(le64_to_cpu(to[i]), le64_to_cpu(from[i]), &sum))
			sum = U64_MAX;
		to[i] = cpu_to_le64(sum);
	}
	if (check_add_overflow(books->cut_ns, cut_ns, &books->cut_ns))
		books->cut_ns = U64_MAX;
}

/* How long all units together can have been busy since the limit was set. */
static u64 limit_grown(const struct tenon_limit *limit, u64 now, u32 units)
{
	u64 elapsed = now > limit->at ? now - limit->at : 0, most;

	elapsed += elapsed >> DRIFT_SHIFT;
	if (check_mul_overflow(elapsed, (u64)units, &most) || check_add_overflow(most, limit->ns, &most))
		most = U64_MAX;
	return most;
}

/* How much of @claim_ns can't be, with @sum_ns in the books. */
static u64 limit_excess(const struct tenon_limit *limit, u64 now, u32 units, u64 sum_ns, u64 claim_ns)
{
	u64 most = limit_grown(limit, now, units), room;

	if (check_add_overflow(most, (u64)GRAIN_NS, &most))
		most = U64_MAX;
	room = most > sum_ns ? most - sum_ns : 0;
	return claim_ns > room ? claim_ns - room : 0;
}

/*
 * All that was used before @then is in the books, which have @sum_ns now: who was idle until then gets no
 * credit for it. What was believed beyond the limit stays owed.
 */
static void limit_settle(struct tenon_limit *limit, u64 then, u32 units, u64 sum_ns)
{
	limit->ns = min(limit_grown(limit, then, units), sum_ns);
	limit->at = then;
}

/* ------------------------------------------------------------------------------------ memory */

/* So many bytes for so long. Whole pages, so that a second of all that there may be fits. */
static void memory_advance(struct tenon_memory *m, u64 now)
{
	u64 seconds, ns;

	seconds = div64_u64_rem(now - m->at, NSEC_PER_SEC, &ns);
	m->page_seconds += m->pages * seconds;
	m->rest += m->pages * ns;
	m->page_seconds += div64_u64_rem(m->rest, NSEC_PER_SEC, &m->rest);
	m->at = now;
}

void tenon_usage_memory(struct tenon_partition *p, s64 bytes)
{
	struct tenon_memory *m = &p->memory;

	spin_lock(&m->lock);
	memory_advance(m, ktime_get_ns());
	m->pages += bytes >> PAGE_SHIFT;
	spin_unlock(&m->lock);
}

static u64 memory_byte_seconds(struct tenon_partition *p)
{
	struct tenon_memory *m = &p->memory;
	u64 sum;

	spin_lock(&m->lock);
	memory_advance(m, ktime_get_ns());
	sum = m->page_seconds << PAGE_SHIFT;
	spin_unlock(&m->lock);
	return sum;
}

/* ----------------------------------------------------------------------------------- reports */

static u32 units(const struct tenon_controller *c)
{
	return max_t(u32, le16_to_cpu(c->identify.units), 1);
}

/*
 * What the device says that a context has used, which is changed here. One after the other for each context:
 * under its lock.
 */
static void report(struct tenon_context *x, struct tdi_usage *usage)
{
	struct tenon_partition *p = x->partition;
	struct tenon_controller *c = x->controller;
	u64 cut = 0, now = ktime_get_ns();
	bool good;

	spin_lock(&c->books_lock);
	good = usage_since(usage, &x->books);
	if (good) {
		cut = limit_excess(&c->limit, now, units(c), le64_to_cpu(c->books.sum.busy_ns),
				   le64_to_cpu(usage->busy_ns));
		le64_add_cpu(&usage->busy_ns, -cut);
		usage_add(&x->books, usage, cut);
		usage_add(&p->books, usage, cut);
		usage_add(&c->books, usage, cut);
	}
	spin_unlock(&c->books_lock);
	if ((!good || cut) && tenon_event_once(&c->usage_flood[good]))
		tenon_event(TENON_EVENT_FAULT, c, p, "context=%u cause=%s cut_ns=%llu", x->id,
			    good ? "usage-beyond-time" : "usage-goes-back", cut);
}

static int get_log(struct tenon_controller *c, u32 page, u32 id, u32 generation, struct tdi_usage *usage)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG };

	sqe.generation = cpu_to_le32(generation);
	sqe.data.page = cpu_to_le32(page);
	sqe.data.id = cpu_to_le32(id);
	return tenon_admin_log(c, &sqe, usage, sizeof(*usage));
}

/* Ask the device about a context, under its lock; @usage is for its answer. */
static int context_update(struct tenon_context *x, struct tdi_usage *usage)
{
	int ret;

	ret = get_log(x->controller, TDI_LOG_CONTEXT_USAGE, x->id, x->generation, usage);
	if (!ret)
		report(x, usage);
	return ret;
}

/* For a tenant: what the books have of the context, which the device knows. */
int tenon_usage_query(struct tenon_context *x, struct tdi_usage *usage)
{
	int ret;

	ret = tenon_context_enter(x);
	if (ret)
		return ret;
	ret = context_update(x, usage);
	spin_lock(&x->controller->books_lock);
	*usage = x->books.sum;
	spin_unlock(&x->controller->books_lock);
	tenon_context_leave(x);
	return ret;
}

/* ------------------------------------------------------------------------------------ queues */

/*
 * What the device says that a queue has used, which is changed here, under the context's lock. No more busy
 * time is believed than the context has in its books, which are younger than @usage, beyond what its queues
 * have in theirs: so whatever was cut there is cut here, and queues never add up to more than their context.
 */
static void report_queue(struct tenon_queue *q, struct tdi_usage *usage)
{
	struct tenon_context *x = q->context;
	struct tenon_controller *c = x->controller;
	u64 claim, room, cut;
	bool good;

	spin_lock(&c->books_lock);
	good = usage_since(usage, q->books);
	if (good) {
		claim = le64_to_cpu(usage->busy_ns);
		room = le64_to_cpu(x->books.sum.busy_ns) - x->queues_busy_ns;
		cut = claim > room ? claim - room : 0;
		x->queues_busy_ns += claim - cut;
		le64_add_cpu(&usage->busy_ns, -cut);
		usage_add(q->books, usage, cut);
	}
	spin_unlock(&c->books_lock);
	if (!good && tenon_event_once(&c->usage_flood[good]))
		tenon_event(TENON_EVENT_FAULT, c, x->partition,
			    "context=%u queue=%u cause=usage-goes-back cut_ns=0", x->id, q->id);
}

/*
 * Ask the device about a queue that it knows, and then about its context; under the context's lock. When a
 * queue has stopped that is the last time, and what there is for whoever asks later.
 */
int tenon_usage_queue(struct tenon_queue *q)
{
	struct tdi_usage *usage;
	int ret;

	if (!q->books)
		q->books = kzalloc(sizeof(*q->books), GFP_KERNEL_ACCOUNT);
	usage = kmalloc_array(2, sizeof(*usage), GFP_KERNEL);
	ret = q->books && usage ? 0 : -ENOMEM;
	if (!ret)
		ret = get_log(q->context->controller, TDI_LOG_QUEUE_USAGE, q->id, q->generation, &usage[0]);
	if (!ret)
		ret = context_update(q->context, &usage[1]);
	if (!ret)
		report_queue(q, &usage[0]);
	kfree(usage);
	return ret;
}

/* For a tenant: what the books have of the queue. One that the device has stopped uses no more. */
int tenon_usage_query_queue(struct tenon_context *x, u32 id, struct tdi_usage *usage)
{
	struct tenon_queue *q;
	int ret;

	ret = tenon_context_enter(x);
	if (ret)
		return ret;
	q = xa_load(&x->queues, id);
	if (!q || !q->listed)
		ret = -ENOENT;
	else if (tenon_queue_on_device(q))
		ret = tenon_usage_queue(q);
	if (!ret && q->books) {
		spin_lock(&x->controller->books_lock);
		*usage = q->books->sum;
		spin_unlock(&x->controller->books_lock);
	}
	tenon_context_leave(x);
	return ret;
}

/* ------------------------------------------------------------------------- the end of contexts */

/* Where the device writes a context's last report must be there until the context has ended. */
int tenon_usage_open(struct tenon_context *x)
{
	x->last = dma_pool_zalloc(x->controller->last_pool, GFP_KERNEL, &x->last_dma);
	return x->last ? 0 : -ENOMEM;
}

/* CONTEXT_DESTROY has completed. */
void tenon_usage_last(struct tenon_context *x)
{
	struct tdi_usage usage = *x->last;

	report(x, &usage);
}

/* The device has no access any more. */
void tenon_usage_close(struct tenon_context *x)
{
	if (x->last)
		dma_pool_free(x->controller->last_pool, x->last, x->last_dma);
	x->last = NULL;
}

/* -------------------------------------------------------------------------------------- scan */

/* Ask the device about a partition's group: has anything moved since a scan that got to its end? */
static int group_update(struct tenon_partition *p, struct tdi_usage *usage)
{
	struct tenon_controller *c = p->controller;
	u32 generation = READ_ONCE(p->group_generation);
	u64 before, now;
	int ret;

	ret = get_log(c, TDI_LOG_GROUP_USAGE, p->group, generation, usage);
	if (ret)
		return ret;
	/* A reset makes the group anew. */
	if (p->group_seen_generation != generation)
		memset(&p->group_seen, 0, sizeof(p->group_seen));
	p->group_seen_generation = generation;
	p->moved |= memcmp(&p->group_seen, usage, sizeof(*usage));

	before = le64_to_cpu(p->group_seen.throttled_ns);
	now = le64_to_cpu(usage->throttled_ns);
	p->group_seen = *usage;
	if (now > before) {
		struct tdi_usage *more = usage;

		memset(more, 0, sizeof(*more));
		more->throttled_ns = cpu_to_le64(now - before);
		spin_lock(&c->books_lock);
		usage_add(&p->books, more, 0);
		usage_add(&c->books, more, 0);
		spin_unlock(&c->books_lock);
		if (!p->throttled)
			tenon_event(TENON_EVENT_THROTTLE, c, p, "throttled_ns=%llu", now - before);
	}
	p->throttled = now > before;
	c->throttled |= p->throttled;
	return 0;
}

/* Under the context's lock. */
static void tell_queues(struct tenon_context *x, bool throttled)
{
	struct tenon_queue *q;
	unsigned long id;

	x->throttled = throttled;
	xa_for_each(&x->queues, id, q)
		tenon_queue_throttle(q, throttled);
}

/* A context of a partition that is being scanned. */
static int scan_context(struct tenon_context *x, struct tdi_usage *usage)
{
	struct tenon_partition *p = x->partition;
	struct tenon_controller *c = x->controller;
	int ret = 0;

	if (p->scan != c->scan) {
		p->scan = c->scan;
		p->moved = !c->scanned;
		ret = group_update(p, usage);
	}
	if (ret || (!p->moved && x->throttled == p->throttled))
		return ret;
	if (mutex_lock_killable(&x->lock))
		return -EINTR;
	if (x->throttled != p->throttled)
		tell_queues(x, p->throttled);
	if (x->state == TENON_CONTEXT_LIVE && p->moved)
		ret = context_update(x, usage);
	mutex_unlock(&x->lock);
	return ret;
}

/* Whatever was used before @then, ktime_get_ns(), is in the books or will never be. */
void tenon_usage_settle(struct tenon_controller *c, u64 then)
{
	spin_lock(&c->books_lock);
	limit_settle(&c->limit, then, units(c), le64_to_cpu(c->books.sum.busy_ns));
	spin_unlock(&c->books_lock);
}

/*
 * Bring the books up to date, of all partitions or of one: one question for each, and one for each context if
 * that has moved. It ends early if the device doesn't answer; then the next one asks about all.
 */
void tenon_usage_scan(struct tenon_controller *c, struct tenon_partition *p)
{
	struct tenon_context *x;
	struct tdi_usage *usage;
	unsigned long index;
	int ret = 0;
	u64 then;

	usage = kmalloc(sizeof(*usage), GFP_KERNEL);
	if (!usage)
		return;
	if (mutex_lock_killable(&c->scan_lock))
		goto free;
	then = ktime_get_ns();
	c->scan++;
	if (!p)
		c->throttled = false;
	for (index = 0; !ret && (x = tenon_controller_context(c, &index)); index++) {
		if (!p || x->partition == p)
			ret = scan_context(x, usage);
		tenon_context_put(x);
	}
	if (ret || !p)
		c->scanned = !ret;
	if (!ret && !p)
		tenon_usage_settle(c, then);
	mutex_unlock(&c->scan_lock);
free:
	kfree(usage);
}

int tenon_usage_init(struct tenon_controller *c)
{
	spin_lock_init(&c->books_lock);
	mutex_init(&c->scan_lock);
	c->limit.at = ktime_get_ns();
	c->last_pool = dma_pool_create("tenon-usage", c->dev, sizeof(struct tdi_usage), 64, 0);
	return c->last_pool ? 0 : -ENOMEM;
}

/* If the device may still access it, it stays for ever. */
void tenon_usage_exit(struct tenon_controller *c, bool proven)
{
	if (proven)
		dma_pool_destroy(c->last_pool);
	else
		kmemleak_not_leak(c->last_pool);
	c->last_pool = NULL;
}

void tenon_usage_partition(struct tenon_partition *p)
{
	spin_lock_init(&p->memory.lock);
	p->memory.at = ktime_get_ns();
	p->since = ktime_get_boottime_ns();
}

/* ------------------------------------------------------------------------------------- sysfs */

/*
 * Root's alone: a tenant may see the host's sysfs, and how busy another is isn't for it to know. So nobody
 * who mustn't can have the device asked, and each read does ask, however soon after another: what has
 * completed before a read is in it, which a value that is kept for a while couldn't promise.
 */

static const struct counter {
	const char *name;
	size_t at;
} counters[] = {
	{ "busy_ns", offsetof(struct tdi_usage, busy_ns) },
	{ "wait_ns", offsetof(struct tdi_usage, wait_ns) },
	{ "bytes_read", offsetof(struct tdi_usage, bytes_read) },
	{ "bytes_written", offsetof(struct tdi_usage, bytes_written) },
	{ "errors", offsetof(struct tdi_usage, errors) },
	{ "throttled_ns", offsetof(struct tdi_usage, throttled_ns) },
	{ "commands_nop", offsetof(struct tdi_usage, commands[0]) },
	{ "commands_copy", offsetof(struct tdi_usage, commands[1]) },
	{ "commands_fill", offsetof(struct tdi_usage, commands[2]) },
	{ "commands_signal", offsetof(struct tdi_usage, commands[3]) },
	{ "commands_wait", offsetof(struct tdi_usage, commands[4]) },
	{ "commands_exec", offsetof(struct tdi_usage, commands[5]) },
	{ "commands_tensor", offsetof(struct tdi_usage, commands[6]) },
	{ "commands_refused", offsetof(struct tdi_usage, commands[7]) },
};

static u64 counter(const struct tdi_usage *usage, size_t at)
{
	return le64_to_cpu(*(const __le64 *)((const char *)usage + at));
}

static void books_copy(struct tenon_controller *c, const struct tenon_books *books, struct tenon_books *copy)
{
	spin_lock(&c->books_lock);
	*copy = *books;
	spin_unlock(&c->books_lock);
}

/* The part of the books that an attribute shows, up to date. */
static u64 partition_value(struct device *dev, size_t at)
{
	struct tenon_partition *p = container_of(to_auxiliary_dev(dev), struct tenon_partition, aux);
	u64 value;

	tenon_usage_scan(p->controller, p);
	spin_lock(&p->controller->books_lock);
	value = counter(&p->books.sum, at);
	spin_unlock(&p->controller->books_lock);
	return value;
}

struct usage_attribute {
	struct device_attribute attribute;
	size_t at;
};

static ssize_t usage_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	size_t at = container_of(attribute, struct usage_attribute, attribute)->at;

	return sysfs_emit(buf, "%llu\n", partition_value(dev, at));
}

#define USAGE_ATTR(_name, _member)						\
	static struct usage_attribute usage_##_name = {			\
		.attribute = __ATTR(_name, 0400, usage_show, NULL),	\
		.at = offsetof(struct tdi_usage, _member),		\
	}

USAGE_ATTR(busy_ns, busy_ns);
USAGE_ATTR(wait_ns, wait_ns);
USAGE_ATTR(bytes_read, bytes_read);
USAGE_ATTR(bytes_written, bytes_written);
USAGE_ATTR(errors, errors);
USAGE_ATTR(throttled_ns, throttled_ns);
USAGE_ATTR(commands_nop, commands[0]);
USAGE_ATTR(commands_copy, commands[1]);
USAGE_ATTR(commands_fill, commands[2]);
USAGE_ATTR(commands_signal, commands[3]);
USAGE_ATTR(commands_wait, commands[4]);
USAGE_ATTR(commands_exec, commands[5]);
USAGE_ATTR(commands_tensor, commands[6]);
USAGE_ATTR(commands_refused, commands[7]);

static ssize_t hist_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	struct tenon_partition *p = container_of(to_auxiliary_dev(dev), struct tenon_partition, aux);
	size_t at = container_of(attribute, struct usage_attribute, attribute)->at;
	struct tenon_books *copy;
	unsigned int i;
	int n = 0;

	copy = kmalloc(sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	tenon_usage_scan(p->controller, p);
	books_copy(p->controller, &p->books, copy);
	for (i = 0; i < TDI_USAGE_BUCKETS; i++)
		n += sysfs_emit_at(buf, n, "%llu%c", counter(&copy->sum, at + i * sizeof(__le64)),
				   i + 1 < TDI_USAGE_BUCKETS ? ' ' : '\n');
	kfree(copy);
	return n;
}

static struct usage_attribute usage_wait_hist = {
	.attribute = __ATTR(wait_hist, 0400, hist_show, NULL),
	.at = offsetof(struct tdi_usage, wait_hist),
};

static struct usage_attribute usage_service_hist = {
	.attribute = __ATTR(service_hist, 0400, hist_show, NULL),
	.at = offsetof(struct tdi_usage, service_hist),
};

static ssize_t cut_ns_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	struct tenon_partition *p = container_of(to_auxiliary_dev(dev), struct tenon_partition, aux);
	u64 cut;

	tenon_usage_scan(p->controller, p);
	spin_lock(&p->controller->books_lock);
	cut = p->books.cut_ns;
	spin_unlock(&p->controller->books_lock);
	return sysfs_emit(buf, "%llu\n", cut);
}
static DEVICE_ATTR_ADMIN_RO(cut_ns);

static ssize_t memory_byte_seconds_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	struct tenon_partition *p = container_of(to_auxiliary_dev(dev), struct tenon_partition, aux);

	return sysfs_emit(buf, "%llu\n", memory_byte_seconds(p));
}
static DEVICE_ATTR_ADMIN_RO(memory_byte_seconds);

/* How often the books began anew: for the next tenant, by no reset. */
static ssize_t epoch_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	struct tenon_partition *p = container_of(to_auxiliary_dev(dev), struct tenon_partition, aux);

	return sysfs_emit(buf, "%u\n", READ_ONCE(p->epoch));
}
static DEVICE_ATTR_ADMIN_RO(epoch);

static struct attribute *usage_attrs[] = {
	&usage_busy_ns.attribute.attr,
	&usage_wait_ns.attribute.attr,
	&usage_bytes_read.attribute.attr,
	&usage_bytes_written.attribute.attr,
	&usage_errors.attribute.attr,
	&usage_throttled_ns.attribute.attr,
	&usage_commands_nop.attribute.attr,
	&usage_commands_copy.attribute.attr,
	&usage_commands_fill.attribute.attr,
	&usage_commands_signal.attribute.attr,
	&usage_commands_wait.attribute.attr,
	&usage_commands_exec.attribute.attr,
	&usage_commands_tensor.attribute.attr,
	&usage_commands_refused.attribute.attr,
	&usage_wait_hist.attribute.attr,
	&usage_service_hist.attribute.attr,
	&dev_attr_cut_ns.attr,
	&dev_attr_memory_byte_seconds.attr,
	&dev_attr_epoch.attr,
	NULL
};

/* Of a partition's device. */
const struct attribute_group tenon_usage_group = {
	.name = "usage",
	.attrs = usage_attrs,
};

ssize_t tenon_usage_show_busy(struct tenon_controller *c, char *buf)
{
	u64 busy;

	tenon_usage_scan(c, NULL);
	spin_lock(&c->books_lock);
	busy = le64_to_cpu(c->books.sum.busy_ns);
	spin_unlock(&c->books_lock);
	return sysfs_emit(buf, "%llu\n", busy);
}

ssize_t tenon_usage_show_cut(struct tenon_controller *c, char *buf)
{
	u64 cut;

	tenon_usage_scan(c, NULL);
	spin_lock(&c->books_lock);
	cut = c->books.cut_ns;
	spin_unlock(&c->books_lock);
	return sysfs_emit(buf, "%llu\n", cut);
}

/* ------------------------------------------------------------------------------------ fdinfo */

/* As the books have it, a second old at most: reading this of all processes asks no device. */
void tenon_usage_fdinfo(struct tenon_context *x, struct drm_printer *printer)
{
	u64 busy;

	spin_lock(&x->controller->books_lock);
	busy = le64_to_cpu(x->books.sum.busy_ns);
	spin_unlock(&x->controller->books_lock);
	drm_printf(printer, "drm-engine-compute:\t%llu ns\n", busy);
	drm_printf(printer, "drm-engine-capacity-compute:\t%u\n", units(x->controller));
}

/* ---------------------------------------------------------------------------- the final record */

/* A partition's last context has ended. */
void tenon_usage_final(struct tenon_partition *p)
{
	struct tenon_controller *c = p->controller;
	char serial[4 * sizeof(c->identify.serial) + 1];
	struct tenon_books *copy;
	unsigned int i;
	char *values;
	int n = 0;

	copy = kmalloc(sizeof(*copy), GFP_KERNEL);
	values = (char *)get_zeroed_page(GFP_KERNEL);
	if (copy && values) {
		books_copy(c, &p->books, copy);
		tenon_event_value(serial, sizeof(serial), c->identify.serial);
		for (i = 0; i < ARRAY_SIZE(counters); i++)
			n += scnprintf(values + n, PAGE_SIZE - n, " %s=%llu", counters[i].name,
				       counter(&copy->sum, counters[i].at));
		n += scnprintf(values + n, PAGE_SIZE - n, " memory_byte_seconds=%llu cut_ns=%llu",
			       memory_byte_seconds(p), copy->cut_ns);
		tenon_event(TENON_EVENT_USAGE, c, p, "serial=%s epoch=%u from=%llu to=%llu%s",
			    serial, p->epoch, p->since, ktime_get_boottime_ns(), values);
	}
	free_page((unsigned long)values);
	kfree(copy);
}

/* The books begin anew, for the partition's next tenant; those of its controller go on. */
void tenon_usage_renew(struct tenon_partition *p)
{
	tenon_usage_final(p);
	spin_lock(&p->memory.lock);
	p->memory.page_seconds = 0;
	p->memory.rest = 0;
	spin_unlock(&p->memory.lock);
	spin_lock(&p->controller->books_lock);
	memset(&p->books, 0, sizeof(p->books));
	p->since = ktime_get_boottime_ns();
	WRITE_ONCE(p->epoch, p->epoch + 1);
	spin_unlock(&p->controller->books_lock);
}
