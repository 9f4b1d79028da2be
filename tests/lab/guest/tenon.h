/* SPDX-License-Identifier: MIT */
/*
 * For the tests in the guest: a tenant's side of <drm/tenon_drm.h>, call by call. What can fail returns 0 or a
 * positive errno, so that a test may say which one it wants. The harness of the kernel's selftests is in here too.
 */
#ifndef TESTS_TENON_H
#define TESTS_TENON_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/tenon_drm.h>
#include <linux/tdi.h>
#include <tenon/ring.h>

#include "kselftest_harness.h"

/* The one who knows how long a test may take is tests/lab/run. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 18000

#define HELPER		static __attribute__((unused))
#define PAGE		4096
#define RW		(TDI_BUFFER_READ | TDI_BUFFER_WRITE)
#define SECOND		1000000000LL
#define LONG		(100 * SECOND)	/* for what must come: a test that waits so long has failed */
#define FOREIGN_UID	20002

struct buffer {
	int fd;
	uint32_t handle;
	uint32_t id;		/* 0: not mapped for the device */
	uint64_t size;
	uint64_t offset;
	unsigned char *data;
};

struct queue {
	struct drm_tenon_queue_create made;
	int fd;
	uint32_t mask;
	uint32_t tail;		/* index of the next command */
	uint32_t head;		/* index of the next completion */
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	const struct tdi_device_page *device;
	const struct tdi_kernel_page *kernel;
	const struct tdi_cqe *cq;
	volatile uint32_t *doorbell;	/* NULL: QUEUE_KICK */
};

HELPER int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

HELPER void sleep_ms(unsigned int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

HELPER int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

/* ---------------------------------------------------------------------------------- the host */

/* The host has done it when this returns; false if it can't. */
HELPER bool fault(const char *words)
{
	int line = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
	char text[256];
	size_t have;
	bool good;

	snprintf(text, sizeof(text), "FAULT %s\n", words);
	/* The host reads whole lines, and other processes write there, too. */
	if (line < 0 || write(line, text, strlen(text)) != (ssize_t)strlen(text))
		return false;
	do {
		for (have = 0; have < sizeof(text) - 1 && read(line, text + have, 1) == 1; have++)
			if (text[have] == '\n')
				break;
		text[have] = '\0';
	} while (have && text[0] == ' ');
	good = !strncmp(text, "ok", 2);
	if (!good)
		printf("# %s: %s\n", words, text);
	close(line);
	return good;
}

/* ---------------------------------------------------------------------------------- the node */

/* For tests of several nodes: the one that node_open() opens. */
HELPER const char *node_path;

/* The one node, whatever its number: a dead one keeps its own until its last file is closed. Or -1. */
HELPER int node_open(void)
{
	glob_t nodes;
	int fd = -1;

	if (node_path)
		return open(node_path, O_RDWR | O_CLOEXEC);
	if (glob("/dev/accel/accel*", 0, NULL, &nodes)) {
		errno = ENOENT;
		return -1;
	}
	if (nodes.gl_pathc == 1)
		fd = open(nodes.gl_pathv[0], O_RDWR | O_CLOEXEC);
	else
		errno = EEXIST;
	globfree(&nodes);
	return fd;
}

/* A number that the partition shows in sysfs, or -1. */
HELPER long long attribute(const char *name)
{
	char path[128], text[32] = "";
	glob_t found;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/auxiliary/devices/tenon.partition.*/%s", name);
	if (glob(path, 0, NULL, &found))
		return -1;
	fd = open(found.gl_pathv[0], O_RDONLY);
	globfree(&found);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atoll(text);
}

HELPER struct drm_tenon_limits limits(int fd)
{
	struct drm_tenon_limits room = { 0 };
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_LIMITS, .size = sizeof(room), .pointer = (uintptr_t)&room,
	};

	call(fd, DRM_IOCTL_TENON_QUERY, &query);
	return room;
}

/* CONTEXT_STATUS; @status may be NULL. */
HELPER int context_status(int fd, struct drm_tenon_context_status *context, struct tdi_context_status *status)
{
	*context = (struct drm_tenon_context_status){
		.pointer = (uintptr_t)status, .size = status ? sizeof(*status) : 0,
	};
	return call(fd, DRM_IOCTL_TENON_CONTEXT_STATUS, context);
}

/* ----------------------------------------------------------------------------------- buffers */

HELPER int buffer_map(struct buffer *b, uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct drm_tenon_buffer_map map = {
		.handle = b->handle, .flags = flags, .offset = offset, .bytes = bytes,
	};
	int error = call(b->fd, DRM_IOCTL_TENON_BUFFER_MAP, &map);

	if (!error)
		b->id = map.buffer;
	return error;
}

HELPER int buffer_unmap(int fd, uint32_t id)
{
	struct drm_tenon_buffer_unmap unmap = { .buffer = id };

	return call(fd, DRM_IOCTL_TENON_BUFFER_UNMAP, &unmap);
}

/* A buffer of whole pages that the CPU can use, and the device, as far as @flags say; 0: not at all. */
HELPER int buffer_make(int fd, uint64_t size, uint32_t flags, struct buffer *b)
{
	struct drm_tenon_buffer_create create = { .size = size };
	struct drm_tenon_buffer_info info = { 0 };
	int error = call(fd, DRM_IOCTL_TENON_BUFFER_CREATE, &create);

	*b = (struct buffer){ .fd = fd, .handle = create.handle, .size = create.size };
	if (error)
		return error;
	info.handle = b->handle;
	error = call(fd, DRM_IOCTL_TENON_BUFFER_INFO, &info);
	if (error)
		return error;
	b->offset = info.offset;
	b->data = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)b->offset);
	if (b->data == MAP_FAILED)
		return errno;
	return flags ? buffer_map(b, 0, b->size, flags) : 0;
}

HELPER void buffer_end(struct buffer *b)
{
	if (b->id)
		buffer_unmap(b->fd, b->id);
	munmap(b->data, b->size);
	call(b->fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = b->handle });
}

HELPER bool all_bytes(const unsigned char *data, unsigned char value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (data[i] != value)
			return false;
	return true;
}

/* ------------------------------------------------------------------------------------ queues */

HELPER int queue_map(struct queue *q)
{
	const struct drm_tenon_queue_create *made = &q->made;
	char *tenant = mmap(NULL, made->tenant_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd,
			    (off_t)made->tenant_offset);
	const char *device = mmap(NULL, made->device_bytes, PROT_READ, MAP_SHARED, q->fd, (off_t)made->device_offset);

	if (tenant == MAP_FAILED || device == MAP_FAILED)
		return errno;
	q->producer = (struct tdi_producer_page *)tenant;
	q->sq = (struct tdi_sqe *)(tenant + PAGE);
	q->device = (const struct tdi_device_page *)device;
	q->kernel = (const struct tdi_kernel_page *)(device + PAGE);
	q->cq = (const struct tdi_cqe *)(device + 2 * PAGE);
	if (made->doorbell_offset) {
		void *doorbell = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, q->fd, (off_t)made->doorbell_offset);

		if (doorbell == MAP_FAILED)
			return errno;
		q->doorbell = doorbell;
	}
	return 0;
}

HELPER int queue_create(int fd, uint32_t depth, int eventfd, struct queue *q)
{
	int error;

	*q = (struct queue){ .fd = fd, .made = { .depth = depth, .eventfd = eventfd } };
	error = call(fd, DRM_IOCTL_TENON_QUEUE_CREATE, &q->made);
	q->mask = depth - 1;
	q->head = q->made.first;
	q->tail = q->made.first;
	return error;
}

HELPER int queue_make(int fd, uint32_t depth, int eventfd, struct queue *q)
{
	int error = queue_create(fd, depth, eventfd, q);

	return error ? error : queue_map(q);
}

HELPER void queue_unmap(struct queue *q)
{
	munmap(q->producer, q->made.tenant_bytes);
	munmap((void *)q->device, q->made.device_bytes);
	if (q->doorbell)
		munmap((void *)q->doorbell, PAGE);
}

HELPER int queue_destroy(int fd, uint32_t queue)
{
	struct drm_tenon_queue_destroy destroy = { .queue = queue };

	return call(fd, DRM_IOCTL_TENON_QUEUE_DESTROY, &destroy);
}

HELPER int queue_kick(int fd, uint32_t queue)
{
	struct drm_tenon_queue_kick kick = { .queue = queue };

	return call(fd, DRM_IOCTL_TENON_QUEUE_KICK, &kick);
}

HELPER int queue_wait(int fd, uint32_t queue, uint32_t sequence, int64_t deadline_ns)
{
	struct drm_tenon_queue_wait wait = { .queue = queue, .sequence = sequence, .deadline_ns = deadline_ns };

	return call(fd, DRM_IOCTL_TENON_QUEUE_WAIT, &wait);
}

/* The next SQE, zeroed but for its user data, which is its index; the caller knows that there is room. */
HELPER struct tdi_sqe *put(struct queue *q, enum tdi_opcode opcode)
{
	struct tdi_sqe *sqe = &q->sq[q->tail & q->mask];

	*sqe = (struct tdi_sqe){ .opcode = opcode, .user_data = q->tail };
	q->tail++;
	return sqe;
}

HELPER struct tdi_sqe *put_fill(struct queue *q, uint32_t dst, uint64_t offset, uint64_t bytes, uint8_t value)
{
	struct tdi_sqe *sqe = put(q, TDI_OP_FILL);

	sqe->fill = (struct tdi_fill){
		.dst = dst, .width = 1, .offset = offset, .bytes = bytes, .pattern = value,
	};
	return sqe;
}

HELPER struct tdi_sqe *put_copy(struct queue *q, uint32_t dst, uint64_t dst_offset, uint32_t src, uint64_t src_offset,
				uint64_t bytes)
{
	struct tdi_sqe *sqe = put(q, TDI_OP_COPY);

	sqe->copy = (struct tdi_copy){
		.dst = dst, .src = src, .dst_offset = dst_offset, .src_offset = src_offset, .row_bytes = bytes, .rows = 1,
	};
	return sqe;
}

HELPER struct tdi_sqe *put_signal(struct queue *q, uint32_t buffer, uint64_t offset, uint64_t value)
{
	struct tdi_sqe *sqe = put(q, TDI_OP_SIGNAL);

	sqe->signal = (struct tdi_signal){ .buffer = buffer, .offset = offset, .value = value };
	return sqe;
}

HELPER struct tdi_sqe *put_wait(struct queue *q, uint32_t buffer, uint64_t offset, uint64_t ref, uint64_t timeout_ns)
{
	struct tdi_sqe *sqe = put(q, TDI_OP_WAIT);

	sqe->wait = (struct tdi_wait){ .buffer = buffer, .offset = offset, .ref = ref, .timeout_ns = timeout_ns };
	return sqe;
}

/* Submit all that was put, and tell the device in the way that it asks for [QUE-18]. */
HELPER int submit(struct queue *q)
{
	uint32_t need = tenon_ring_publish(q->producer, q->device, q->kernel, q->tail);

	if (!need)
		return 0;
	if (!q->doorbell || need & TDI_NEED_KICK)
		return queue_kick(q->fd, q->made.queue);
	*q->doorbell = q->tail;
	return 0;
}

HELPER bool completed(const struct queue *q)
{
	return tenon_reached(tenon_ring_sequence(q->cq, q->mask, q->head + 1), q->head + 1);
}

/* Takes the next CQE, which is there. */
HELPER struct tdi_cqe take(struct queue *q)
{
	return q->cq[q->head++ & q->mask];
}

/* Wait for the next CQE in the kernel, and take it. */
HELPER int finish(struct queue *q, struct tdi_cqe *cqe)
{
	int error = queue_wait(q->fd, q->made.queue, q->head + 1, now_ns() + LONG);

	if (!error)
		*cqe = take(q);
	return error;
}

/* Submit what was put and wait for all of it. The status of the last; -errno, or -EBADMSG if a CQE is another's. */
HELPER int run(struct queue *q)
{
	struct tdi_cqe cqe = { 0 };
	int error = submit(q);

	while (!error && q->head != q->tail) {
		uint32_t index = q->head;

		error = finish(q, &cqe);
		if (!error && (cqe.user_data != index || cqe.sequence != index + 1 || cqe.reserved))
			error = EBADMSG;
	}
	return error ? -error : cqe.status;
}

#endif /* TESTS_TENON_H */
