/* SPDX-License-Identifier: MIT */
/*
 * The transport: ioctls of the kernel module at /dev/accel/accelN.
 *
 * Unlike a daemon, the kernel is believed. It watches over the device: what a call can't reach in time it
 * resets, and at a death it writes the completions that are missing.
 */
#include <fcntl.h>
#include <libudev.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include <drm/tenon_drm.h>

#include "internal.h"

#define DRIVER	"tenon"

/* Orders the tail in memory before the doorbell: a device may read the one as soon as it sees the other. */
static inline void doorbell_barrier(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
	__asm__ volatile("dmb oshst" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/* ------------------------------------------------------------------------------ finding */

static bool speaks_tenon(int fd)
{
	drmVersionPtr version = drmGetVersion(fd);
	bool ours = version && !strcmp(version->name, DRIVER);

	drmFreeVersion(version);
	return ours;
}

/*
 * Is the device with this number, at @path, one of the driver's? sysfs tells without opening it, and whether
 * the caller may open it or not. A container may have no sysfs: there the node itself is asked.
 */
bool tenon_node_is_ours(const char *path, dev_t number)
{
	struct udev *udev = udev_new();
	struct udev_device *device = udev ? udev_device_new_from_devnum(udev, 'c', number) : NULL, *d;
	bool ours = false;
	int fd;

	if (device) {
		for (d = device; d && !ours; d = udev_device_get_parent(d)) {
			const char *driver = udev_device_get_driver(d);

			ours = driver && !strcmp(driver, DRIVER);
		}
		udev_device_unref(device);
	} else {
		fd = open(path, O_RDWR | O_CLOEXEC);
		ours = fd >= 0 && speaks_tenon(fd);
		tenon_close_fds(&fd, 1);
	}
	udev_unref(udev);
	return ours;
}

/* ------------------------------------------------------------------------------- calls */

/* A call of set-up. libdrm calls again if a signal came: none of them takes long without the device. */
static int call(struct tenon_context *c, unsigned long request, void *arg, const char *what)
{
	int err = tenon_context_usable(c);

	if (err || !drmIoctl(c->fd, request, arg))
		return err;
	err = -errno;
	if (err == -ENODEV || err == -EIO || err == -ETIMEDOUT)
		tenon_context_kill(c);
	if (err == -ENODEV)
		return tenon_fail(c, err, "%s: the device is gone", what);
	if (err == -EIO)
		return tenon_fail(c, -ENODEV, "%s: the device failed or was reset", what);
	if (err == -ETIMEDOUT)
		return tenon_fail(c, err, "%s: the device didn't answer and is being reset", what);
	return tenon_fail(c, err, "%s: refused by the kernel: %s", what, strerror(-err));
}

/*
 * Of what was refused for a limit the kernel has the numbers. Those that are less than @least, what is needed
 * in any case, are of an earlier refusal: this time the kernel had no memory.
 */
static int limited(struct tenon_context *c, int err, const char *limit, uint64_t least)
{
	struct drm_tenon_context_status s = { 0 };

	if (drmIoctl(c->fd, DRM_IOCTL_TENON_CONTEXT_STATUS, &s) || s.needed <= s.allowed || s.needed < least)
		return err;
	return tenon_fail(c, err, "%s: needed %llu, allowed %llu", limit, (unsigned long long)s.needed,
			  (unsigned long long)s.allowed);
}

static int query_of(struct tenon_context *c, enum drm_tenon_query_type type, uint32_t id, void *to,
		    uint32_t size, const char *what)
{
	struct drm_tenon_query q = { .type = type, .size = size, .pointer = (uintptr_t)to, .id = id };

	return call(c, DRM_IOCTL_TENON_QUERY, &q, what);
}

static int query(struct tenon_context *c, enum drm_tenon_query_type type, void *to, uint32_t size,
		 const char *what)
{
	return query_of(c, type, 0, to, size, what);
}

static int node_open(struct tenon_context *c, const char *path)
{
	struct drm_tenon_limits limits;
	int err;

	c->fd = open(path, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return tenon_fail(c, -errno, "open %s: %s", path, strerror(errno));
	if (!speaks_tenon(c->fd))
		return tenon_fail(c, -ENODEV, "%s is not a node of Tenon's driver", path);
	err = query(c, DRM_TENON_QUERY_IDENTIFY, &c->identify, sizeof(c->identify), "open");
	if (!err)
		err = query(c, DRM_TENON_QUERY_LIMITS, &limits, sizeof(limits), "open");
	if (err)
		return err;
	if (!tenon_version_ok(c->identify.version))
		return tenon_fail(c, -EPROTO, "%s speaks another version of TDI", path);
	c->limits = (struct tenon_limits){
		.memory_bytes = limits.memory_bytes < MEMORY_MAX ? limits.memory_bytes : MEMORY_MAX,
		.buffers = limits.buffers,
		.queues = limits.queues,
		.depth = limits.depth,
	};
	return 0;
}

static int node_status(struct tenon_context *c, struct tdi_context_status *status)
{
	struct tdi_context_status s;
	struct drm_tenon_context_status args = { .pointer = (uintptr_t)&s, .size = sizeof(s) };
	int err = call(c, DRM_IOCTL_TENON_CONTEXT_STATUS, &args, "status");

	if (!err && (args.flags & DRM_TENON_CONTEXT_DEAD)) {
		tenon_context_kill(c);
		err = tenon_fail(c, -ENODEV, "status: the device failed or was reset");
	}
	if (!err)
		*status = s;
	return err;
}

static int node_usage(struct tenon_context *c, const struct queue *q, struct tdi_usage *usage)
{
	struct tdi_usage u;
	int err = q ? query_of(c, DRM_TENON_QUERY_QUEUE_USAGE, q->id, &u, sizeof(u), "usage of a queue") :
		      query(c, DRM_TENON_QUERY_USAGE, &u, sizeof(u), "usage");

	if (!err)
		*usage = u;
	return err;
}

/* ------------------------------------------------------------------------------ buffers */

static int buffer_call(struct tenon_context *c, const struct tenon_buffer *b, unsigned long request,
		       void *arg)
{
	int err = call(c, request, arg, "create a buffer");

	if (err == -ENOMEM)
		return limited(c, err, "memory", page_up(b->bytes));
	if (err == -EFBIG)
		return limited(c, err, "one buffer", b->bytes);
	return err == -ENOSPC ? limited(c, err, "buffers", 1) : err;
}

static int map_buffer(struct tenon_context *c, struct tenon_buffer *b, uint32_t rights)
{
	struct drm_tenon_buffer_info info = { .handle = b->handle };
	struct drm_tenon_buffer_map map = { .handle = b->handle, .flags = rights, .bytes = b->bytes };
	int err;

	err = buffer_call(c, b, DRM_IOCTL_TENON_BUFFER_INFO, &info);
	if (err)
		return err;
	b->mapped = (size_t)info.size;
	err = tenon_map(c, c->fd, info.offset, b->mapped, PROT_READ | PROT_WRITE, &b->data);
	if (err)
		return err;
	err = buffer_call(c, b, DRM_IOCTL_TENON_BUFFER_MAP, &map);
	b->id = map.buffer;
	return err;
}

static int node_buffer_create(struct tenon_context *c, struct tenon_buffer *b, uint32_t rights)
{
	struct drm_tenon_buffer_create create = { .size = b->bytes };
	int err;

	err = buffer_call(c, b, DRM_IOCTL_TENON_BUFFER_CREATE, &create);
	if (err)
		return err;
	b->handle = create.handle;
	err = map_buffer(c, b, rights);
	if (err)
		drmCloseBufferHandle(c->fd, b->handle);
	return err;
}

static int node_buffer_destroy(struct tenon_context *c, struct tenon_buffer *b)
{
	struct drm_tenon_buffer_unmap unmap = { .buffer = b->id };
	int err = call(c, DRM_IOCTL_TENON_BUFFER_UNMAP, &unmap, "destroy a buffer");

	/* A dead context's buffer, too; but a forked child's file is that of its parent. */
	if (c->owner == getpid())
		drmCloseBufferHandle(c->fd, b->handle);
	return err;
}

/* ------------------------------------------------------------------------------- queues */

static int node_queue_destroy(struct queue *q)
{
	struct drm_tenon_queue_destroy destroy = { .queue = q->id };

	return call(q->context, DRM_IOCTL_TENON_QUEUE_DESTROY, &destroy, "destroy a queue");
}

static int map_queue(struct queue *q, const struct drm_tenon_queue_create *create)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct tenon_context *c = q->context;
	int err;

	q->tenant_bytes = create->tenant_bytes;
	q->device_bytes = create->device_bytes;
	q->doorbell_bytes = page;
	err = tenon_map(c, c->fd, create->tenant_offset, q->tenant_bytes, PROT_READ | PROT_WRITE,
			&q->tenant_map);
	if (!err)
		err = tenon_map(c, c->fd, create->device_offset, q->device_bytes, PROT_READ, &q->device_map);
	if (!err && create->doorbell_offset)
		err = tenon_map(c, c->fd, create->doorbell_offset, page, PROT_READ | PROT_WRITE,
				&q->doorbell);
	if (!err && !tenon_queue_rings(q, create->first, create->depth, page))
		err = tenon_fail(c, -EPROTO, "create a queue: its rings are not those of a new queue");
	return err;
}

static int node_queue_create(struct queue *q, uint32_t depth)
{
	struct drm_tenon_queue_create create = { .depth = depth };
	struct tenon_context *c = q->context;
	int err;

	/* A child could make it, but it would be in vain. */
	err = tenon_context_usable(c);
	if (err)
		return err;
	q->notice = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->notice < 0)
		return tenon_fail(c, -errno, "eventfd: %s", strerror(errno));
	create.eventfd = q->notice;
	err = call(c, DRM_IOCTL_TENON_QUEUE_CREATE, &create, "create a queue");
	if (err)
		return err == -ENOSPC ? limited(c, err, "queues", 1) : err;
	q->id = create.queue;
	err = map_queue(q, &create);
	if (err)
		node_queue_destroy(q);
	return err;
}

static int kick_kernel(struct queue *q)
{
	struct drm_tenon_queue_kick kick = { .queue = q->id };

	return drmIoctl(q->context->fd, DRM_IOCTL_TENON_QUEUE_KICK, &kick) ? -ENODEV : 0;
}

/*
 * The flags are read again: what they were when the caller looked is not passed on. If they have changed
 * since, the device has seen the tail or a doorbell is enough. The doorbell is a hint, the tail in it too.
 */
static int node_kick(struct queue *q)
{
	if (!q->doorbell || (tenon_load(&q->pub.device->flags) & TDI_NEED_KICK) ||
	    (tenon_load(&q->kernel->flags) & (TDI_KERNEL_DEAD | TDI_KERNEL_FORCE_KICK)))
		return kick_kernel(q);
	doorbell_barrier();
	tenon_store(q->doorbell, tenon_load((const __le32 *)&q->pub.sq_submitted));
	return 0;
}

/* The kernel page tells. */
static bool node_gone(struct queue *q)
{
	return false;
}

/* After an unplug the kernel may answer no call at all, and then it writes nothing. */
static int node_finish(struct queue *q)
{
	return kick_kernel(q);
}

static int node_drain(struct queue *q)
{
	eventfd_t count;

	/* Nothing there is as good. */
	eventfd_read(q->notice, &count);
	return 0;
}

static int node_sleep(struct queue *q, uint32_t target, int64_t deadline)
{
	struct drm_tenon_queue_wait wait = { .queue = q->id, .sequence = target, .deadline_ns = deadline };

	/* Another thread may be between telling us of its commands and telling the kernel, which refuses. */
	while (!tenon_reached(tenon_load(&q->pub.producer->tail), target)) {
		if (now_ns() >= deadline)
			return -ETIMEDOUT;
		sched_yield();
	}
	if (!ioctl(q->context->fd, DRM_IOCTL_TENON_QUEUE_WAIT, &wait))
		return 0;
	if (errno == ETIME)
		return -ETIMEDOUT;
	return errno == EINTR ? -EINTR : -ENODEV;
}

const struct transport tenon_node = {
	.name = "drm",
	.open = node_open,
	.buffer_create = node_buffer_create,
	.buffer_destroy = node_buffer_destroy,
	.queue_create = node_queue_create,
	.queue_destroy = node_queue_destroy,
	.status = node_status,
	.usage = node_usage,
	.kick = node_kick,
	.gone = node_gone,
	.finish = node_finish,
	.drain = node_drain,
	.sleep = node_sleep,
};
