// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/tenon-events: what happens to controllers and partitions, one numbered stream of lines, read like
 * /dev/kmsg.
 *
 * Telling never sleeps and allocates nothing, so it works in interrupts and when memory is short. What a
 * tenant can bring about is limited for each partition, so that nobody drives the others' events out of the
 * ring.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string_helpers.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

#include "tenon.h"
#include "trace.h"

#define EVENTS		4096
#define TEXT_BYTES	SZ_1M	/* so that all of them have room, but for the longest */
#define TEXT_MAX	1152
#define LINE_MAX_BYTES	1216		/* number, time, type, text */
#define FLOOD_MAX	10		/* a second, of one type and one partition */

static const char *const names[] = {
	[TENON_EVENT_REFUSED_OPEN] = "refused-open",
	[TENON_EVENT_LIMIT] = "limit",
	[TENON_EVENT_FAULT] = "fault",
	[TENON_EVENT_HANG] = "hang",
	[TENON_EVENT_THROTTLE] = "throttle",
	[TENON_EVENT_RESET] = "reset",
	[TENON_EVENT_USAGE] = "usage",
	[TENON_EVENT_CREATE] = "create",
	[TENON_EVENT_DELETE] = "delete",
	[TENON_EVENT_CHANGE] = "change",
	[TENON_EVENT_RECYCLE] = "recycle",
	[TENON_EVENT_DRAIN] = "drain",
	[TENON_EVENT_CONTROLLER_ADD] = "controller-add",
	[TENON_EVENT_CONTROLLER_REMOVE] = "controller-remove",
};

/**
 * struct event - of the ring, but for its text
 * @time: CLOCK_BOOTTIME
 * @at: where its text is, counted from the first that there was
 * @bytes: of its text
 * @type: of the names above
 */
struct event {
	u64 time;
	u64 at;
	u16 bytes;
	u8 type;
};

/*
 * Number n is in event[n % EVENTS], its text at text[at % TEXT_BYTES], wrapped. Numbers count from 1; those
 * from oldest to next - 1 are there, and end is where the next text goes. All under lock, the innermost.
 */
static struct {
	spinlock_t lock;
	wait_queue_head_t wait;
	u64 oldest;
	u64 next;
	u64 end;
	struct event event[EVENTS];
	char text[TEXT_BYTES];
} ring = {
	.lock = __SPIN_LOCK_UNLOCKED(ring.lock),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(ring.wait),
	.oldest = 1,
	.next = 1,
};

/* ----------------------------------------------------------------------------------- telling */

/* May one more be told of? If so *@suppressed are those that weren't since the last. */
static bool flood_passes(struct tenon_flood *flood, unsigned int max, unsigned int *suppressed)
{
	u64 now = ktime_get_ns();
	unsigned long flags;
	bool passes;

	spin_lock_irqsave(&ring.lock, flags);
	if (!flood->count || now - flood->since >= NSEC_PER_SEC) {
		flood->since = now;
		flood->count = 0;
	}
	passes = flood->count < max;
	if (passes) {
		flood->count++;
		*suppressed = flood->suppressed;
		flood->suppressed = 0;
	} else {
		flood->suppressed++;
	}
	spin_unlock_irqrestore(&ring.lock, flags);
	return passes;
}

/* Once a second at most: for what isn't told of as an event of a partition's alone. */
bool tenon_event_once(struct tenon_flood *flood)
{
	unsigned int suppressed;

	return flood_passes(flood, 1, &suppressed);
}

static void ring_add(enum tenon_event_type type, const char *text, unsigned int bytes)
{
	unsigned int at, first;
	struct event *event;
	unsigned long flags;

	spin_lock_irqsave(&ring.lock, flags);
	at = ring.end % TEXT_BYTES;
	first = min(bytes, TEXT_BYTES - at);
	memcpy(ring.text + at, text, first);
	memcpy(ring.text, text + first, bytes - first);
	event = &ring.event[ring.next % EVENTS];
	event->time = ktime_get_boottime_ns();
	event->at = ring.end;
	event->bytes = bytes;
	event->type = type;
	ring.end += bytes;
	ring.next++;
	while (ring.next - ring.oldest > EVENTS ||
	       ring.end - ring.event[ring.oldest % EVENTS].at > TEXT_BYTES)
		ring.oldest++;
	spin_unlock_irqrestore(&ring.lock, flags);
	wake_up_interruptible_all(&ring.wait);
}

/* Done by a task, for itself: not by a device, nor by whoever happens to find out. */
static bool by_task(enum tenon_event_type type)
{
	switch (type) {
	case TENON_EVENT_FAULT:
	case TENON_EVENT_HANG:
	case TENON_EVENT_THROTTLE:
	case TENON_EVENT_USAGE:
		return false;
	default:
		return in_task() && !(current->flags & PF_KTHREAD);
	}
}

/* Who brought it about, if anybody did. */
static unsigned int event_actor(enum tenon_event_type type, const struct tenon_partition *p, char *to,
				size_t size)
{
	const struct tenon_actor *by = NULL;
	struct tenon_actor task;

	if (by_task(type)) {
		task = (struct tenon_actor){ task_tgid_nr(current), current_uid() };
		by = &task;
	} else if (p && (type == TENON_EVENT_CREATE || type == TENON_EVENT_DELETE)) {
		by = p->by && p->by->pid ? p->by : NULL;
	}
	return by ? scnprintf(to, size, " pid=%d uid=%u", by->pid, from_kuid(&init_user_ns, by->uid)) : 0;
}

/*
 * Something has happened to @c, or to its partition @p if that isn't NULL. What follows is "key=value ...",
 * without spaces in a value. From anywhere.
 */
void tenon_event(enum tenon_event_type type, const struct tenon_controller *c, struct tenon_partition *p,
		 const char *format, ...)
{
	unsigned int suppressed = 0, n;
	char text[TEXT_MAX];
	va_list args;

	if (p && type < TENON_EVENT_FLOODS && !flood_passes(&p->flood[type], FLOOD_MAX, &suppressed))
		return;
	n = scnprintf(text, sizeof(text), "controller=%s", dev_name(c->dev));
	if (p)
		n += scnprintf(text + n, sizeof(text) - n, " partition=%s uuid=%pUb device=accel%d", p->name,
			       &p->uuid, p->minor);
	n += event_actor(type, p, text + n, sizeof(text) - n);
	if (suppressed)
		n += scnprintf(text + n, sizeof(text) - n, " suppressed=%u", suppressed);
	n += scnprintf(text + n, sizeof(text) - n, " ");
	va_start(args, format);
	n += vscnprintf(text + n, sizeof(text) - n, format, args);
	va_end(args);
	trace_tenon_event(names[type], text);
	ring_add(type, text, n);
}

/* A device's words as a value: what can't be in one is \xNN. @to has 4 bytes for each and one more. */
void tenon_event_value(char *to, size_t size, const char *from)
{
	int n = string_escape_mem(from, strlen(from), to, size - 1,
				  ESCAPE_NAP | ESCAPE_HEX | ESCAPE_APPEND, " \\");

	to[min_t(size_t, n, size - 1)] = '\0';
}

/* ----------------------------------------------------------------------------------- reading */

/**
 * struct reader - an open file
 * @lock: of what follows
 * @next: number of the event that it reads next
 * @line: that, while it is read
 */
struct reader {
	struct mutex lock;	/* of one reader */
	u64 next;
	char line[LINE_MAX_BYTES];
};

/* The next line, as long as it is; 0: there is none; -EPIPE: it is gone, the oldest that is there is next. */
static int next_line(struct reader *r)
{
	unsigned int at, first;
	struct event event;
	int n;

	spin_lock_irq(&ring.lock);
	if (r->next < ring.oldest) {
		r->next = ring.oldest;
		spin_unlock_irq(&ring.lock);
		return -EPIPE;
	}
	if (r->next == ring.next) {
		spin_unlock_irq(&ring.lock);
		return 0;
	}
	event = ring.event[r->next % EVENTS];
	/* Behind the head, the length of which is known after the lock. */
	at = event.at % TEXT_BYTES;
	first = min_t(unsigned int, event.bytes, TEXT_BYTES - at);
	memcpy(r->line + LINE_MAX_BYTES - event.bytes, ring.text + at, first);
	memcpy(r->line + LINE_MAX_BYTES - event.bytes + first, ring.text, event.bytes - first);
	spin_unlock_irq(&ring.lock);

	n = scnprintf(r->line, LINE_MAX_BYTES - event.bytes, "%llu %llu %s ", r->next, event.time,
		      names[event.type]);
	memmove(r->line + n, r->line + LINE_MAX_BYTES - event.bytes, event.bytes);
	r->line[n + event.bytes] = '\n';
	return n + event.bytes + 1;
}

/* One line, or nothing of it: 0 if there is none yet. */
static ssize_t read_line(struct reader *r, char __user *to, size_t room)
{
	ssize_t n;

	if (mutex_lock_interruptible(&r->lock))
		return -ERESTARTSYS;
	n = next_line(r);
	if (n > 0 && n > room)
		n = -EINVAL;
	if (n > 0 && copy_to_user(to, r->line, n))
		n = -EFAULT;
	if (n > 0)
		WRITE_ONCE(r->next, r->next + 1);
	mutex_unlock(&r->lock);
	return n;
}

static ssize_t events_read(struct file *file, char __user *to, size_t room, loff_t *offset)
{
	struct reader *r = file->private_data;
	ssize_t n;

	for (;;) {
		n = read_line(r, to, room);
		if (n)
			return n;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		n = wait_event_interruptible(ring.wait, READ_ONCE(ring.next) != READ_ONCE(r->next));
		if (n)
			return n;
	}
}

static __poll_t events_poll(struct file *file, poll_table *table)
{
	struct reader *r = file->private_data;
	__poll_t ready = 0;
	u64 next;

	poll_wait(file, &ring.wait, table);
	next = READ_ONCE(r->next);
	spin_lock_irq(&ring.lock);
	if (next < ring.oldest)
		ready = EPOLLIN | EPOLLRDNORM | EPOLLERR | EPOLLPRI;
	else if (next != ring.next)
		ready = EPOLLIN | EPOLLRDNORM;
	spin_unlock_irq(&ring.lock);
	return ready;
}

static loff_t events_llseek(struct file *file, loff_t offset, int whence)
{
	struct reader *r = file->private_data;
	loff_t ret = 0;

	if (offset)
		return -ESPIPE;
	mutex_lock(&r->lock);
	spin_lock_irq(&ring.lock);
	switch (whence) {
	case SEEK_SET:
		r->next = ring.oldest;
		break;
	case SEEK_END:
		r->next = ring.next;
		break;
	default:
		ret = -EINVAL;
		break;
	}
	spin_unlock_irq(&ring.lock);
	mutex_unlock(&r->lock);
	return ret;
}

static int events_open(struct inode *inode, struct file *file)
{
	struct reader *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return -ENOMEM;
	mutex_init(&r->lock);
	spin_lock_irq(&ring.lock);
	r->next = ring.oldest;
	spin_unlock_irq(&ring.lock);
	file->private_data = r;
	return 0;
}

static int events_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations events_fops = {
	.owner = THIS_MODULE,
	.open = events_open,
	.release = events_release,
	.read = events_read,
	.poll = events_poll,
	.llseek = events_llseek,
};

static struct miscdevice events_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tenon-events",
	.mode = 0600,
	.fops = &events_fops,
};

int tenon_events_init(void)
{
	BUILD_BUG_ON(TEXT_MAX + 20 + 1 + 20 + 1 + sizeof("controller-remove") + 1 > LINE_MAX_BYTES);
	return misc_register(&events_device);
}

void tenon_events_exit(void)
{
	misc_deregister(&events_device);
}
