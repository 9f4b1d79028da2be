/* SPDX-License-Identifier: MIT */
/*
 * Tenon: what the kernel module and userspace share at /dev/accel/accelN.
 *
 * An open file is a context: buffers and queues belong to it, and their ids and mmap offsets mean nothing in
 * another. open() doesn't talk to the device; the first BUFFER_MAP or QUEUE_CREATE makes the context there.
 * When the last descriptor of the file is closed and its last mapping is gone, so is the context.
 *
 * Besides the ioctls here a node passes VERSION, GET_CAP, GEM_CLOSE and the two PRIME ioctls of <drm/drm.h>;
 * any other ends ENOTTY, on an unplugged device ENODEV.
 *
 * All structures are the same for 32 and 64 bit. They grow at their end, where 0 means what it meant before;
 * DRM_IOCTL_VERSION tells the version. A structure may be longer than the kernel knows if the rest is 0, else
 * E2BIG; one shorter than the first version's ends EINVAL. Reserved members and unknown flags must be 0, else
 * EINVAL. A call that fails has changed nothing, the structure that was passed included.
 *
 * Errors of all calls that talk to the device (BUFFER_MAP, BUFFER_UNMAP, QUEUE_CREATE, QUEUE_DESTROY,
 * CONTEXT_STATUS and QUERY of USAGE and QUEUE_USAGE):
 *
 *  * ENODEV: the device is unplugged
 *  * EIO: the context is dead: its device failed or was reset, or stopped it for a command that ran too long.
 *    What was submitted has ended; open a new one
 *  * ETIMEDOUT: the device didn't answer; it is being reset, and this context is dead
 *  * EPROTO: the device refused what it shouldn't have, or its answer makes no sense
 *  * EINTR: a fatal signal came while the device was at it; what the call was to end ends with the context
 */
#ifndef _UAPI_DRM_TENON_DRM_H
#define _UAPI_DRM_TENON_DRM_H

#include <drm/drm.h>
#include <linux/tdi.h>

#if defined(__cplusplus)
extern "C" {
#endif

enum drm_tenon_ioctl_id {
	DRM_TENON_QUERY = 0,
	DRM_TENON_BUFFER_CREATE,
	DRM_TENON_BUFFER_INFO,
	DRM_TENON_BUFFER_MAP,
	DRM_TENON_BUFFER_UNMAP,
	DRM_TENON_QUEUE_CREATE,
	DRM_TENON_QUEUE_DESTROY,
	DRM_TENON_QUEUE_KICK,
	DRM_TENON_QUEUE_WAIT,
	DRM_TENON_CONTEXT_STATUS,
};

/* What QUERY tells about. */
enum drm_tenon_query_type {
	DRM_TENON_QUERY_DEVICE = 0,	/* struct drm_tenon_device */
	DRM_TENON_QUERY_IDENTIFY = 1,	/* struct tdi_identify of <linux/tdi.h> */
	DRM_TENON_QUERY_LIMITS = 2,	/* struct drm_tenon_limits */
	DRM_TENON_QUERY_USAGE = 3,	/* struct tdi_usage of this context; asks the device */
	DRM_TENON_QUERY_QUEUE_USAGE = 4, /* the same of a queue of it; ENOENT if there is no such */
};

/**
 * struct drm_tenon_query - DRM_IOCTL_TENON_QUERY
 * @type: enum drm_tenon_query_type; EINVAL if unknown
 * @size: in: bytes at @pointer, at most 4096, else E2BIG; out: bytes that the kernel knows of
 * @pointer: where to; 0 to ask for @size alone
 * @id: of QUEUE_USAGE: queue id; else 0
 * @reserved: 0
 *
 * If there is room for less than the kernel knows, that much is written; the rest of a larger room is 0. The
 * first version ended before @id.
 *
 * What queues used adds up to what their context did, those that were destroyed included.
 */
struct drm_tenon_query {
	__u32 type;
	__u32 size;
	__u64 pointer;
	__u32 id;
	__u32 reserved;
};

/**
 * struct drm_tenon_device - of DRM_TENON_QUERY_DEVICE
 * @tdi_version: the device's TDI_VERSION()
 * @reserved: 0
 */
struct drm_tenon_device {
	__u32 tdi_version;
	__u32 reserved;
};

/**
 * struct drm_tenon_limits - of DRM_TENON_QUERY_LIMITS: what this context may have
 * @memory_bytes: all buffers of the partition together, in bytes of whole pages
 * @buffers: mapped buffers
 * @queues: queues
 * @depth: entries of one queue
 * @weight: of the partition beside others of its priority, TDI_WEIGHT_MAX at most; 0: the device shares its
 *	time between contexts alone
 * @priority: enum tdi_priority, of the partition
 * @busy_max: percent of the device's time that the partition may have, 0 for no cap
 *
 * Weight, priority and cap are the operator's to change, at any time.
 */
struct drm_tenon_limits {
	__u64 memory_bytes;
	__u32 buffers;
	__u32 queues;
	__u32 depth;
	__u32 weight;
	__u32 priority;
	__u32 busy_max;
};

/**
 * struct drm_tenon_buffer_create - DRM_IOCTL_TENON_BUFFER_CREATE: zeroed system memory
 * @size: in: bytes, at least 1; out: rounded up to pages
 * @flags: 0
 * @handle: out: GEM handle; GEM_CLOSE ends it
 *
 * Pages are there when they are first mapped, by mmap() or for the device. Errors: EINVAL; ENOMEM, beyond
 * memory_bytes too: CONTEXT_STATUS tells needed and allowed.
 */
struct drm_tenon_buffer_create {
	__u64 size;
	__u32 flags;
	__u32 handle;
};

/**
 * struct drm_tenon_buffer_info - DRM_IOCTL_TENON_BUFFER_INFO
 * @handle: GEM handle
 * @flags: in: 0; out: 0
 * @size: in: 0; out: bytes, a multiple of the page size
 * @offset: in: 0; out: what to give mmap() as its offset to map the buffer, shared
 *
 * Errors: ENOENT no such handle; EINVAL; ENOMEM.
 */
struct drm_tenon_buffer_info {
	__u32 handle;
	__u32 flags;
	__u64 size;
	__u64 offset;
};

/**
 * struct drm_tenon_buffer_map - DRM_IOCTL_TENON_BUFFER_MAP: let the device use a buffer
 * @handle: GEM handle
 * @flags: TDI_BUFFER_READ, TDI_BUFFER_WRITE or both: what the device may do
 * @offset: of the first byte in the buffer
 * @bytes: at least 1; the device's bounds are exact
 * @buffer: in: 0; out: buffer id for commands
 * @reserved: 0
 *
 * Pins the buffer's pages until the map has ended; closing the handle doesn't end it. Errors: ENOENT no such
 * handle; EINVAL; ENOSPC beyond the number of buffers; EFBIG longer than the device's max_buffer_bytes;
 * ENOMEM. CONTEXT_STATUS tells needed and allowed.
 */
struct drm_tenon_buffer_map {
	__u32 handle;
	__u32 flags;
	__u64 offset;
	__u64 bytes;
	__u32 buffer;
	__u32 reserved;
};

/**
 * struct drm_tenon_buffer_unmap - DRM_IOCTL_TENON_BUFFER_UNMAP: end a map
 * @buffer: buffer id
 * @reserved: 0
 *
 * When it returns 0 the device no longer accesses the memory under this id, not even for commands under way,
 * which end TDI_SC_BUFFER_ID. Errors: ENOENT no such id.
 */
struct drm_tenon_buffer_unmap {
	__u32 buffer;
	__u32 reserved;
};

/**
 * struct drm_tenon_queue_create - DRM_IOCTL_TENON_QUEUE_CREATE
 * @flags: 0
 * @depth: entries, a power of two
 * @eventfd: signalled at each notice of the queue and at its death; -1 for none. EBADF or EINVAL if it is
 *	neither
 * @moderation_ns: least time between two notices
 * @queue: in: 0; out: id
 * @first: in: 0; out: first index
 * @tenant_offset: in: 0; out: mmap offset of producer page and SQ, to be read and written
 * @device_offset: in: 0; out: mmap offset of device page, kernel page and CQ, to be read
 * @doorbell_offset: in: 0; out: mmap offset of the doorbell, one page, to be written; 0 if there is none:
 * then
 *	QUEUE_KICK takes its place
 * @tenant_bytes: in: 0; out: bytes to map at @tenant_offset
 * @device_bytes: in: 0; out: bytes to map at @device_offset
 *
 * Each area begins at a multiple of the host's page size, in the order given; a mapping must be shared and
 * cover all, else mmap() ends EINVAL. Mappings aren't inherited by fork(). They stay readable and writable
 * when the queue has ended; the doorbell is then a page that nobody reads. Errors: EINVAL; ENOSPC beyond the
 * number of queues; ENOMEM.
 */
struct drm_tenon_queue_create {
	__u32 flags;
	__u32 depth;
	__s32 eventfd;
	__u32 moderation_ns;
	__u32 queue;
	__u32 first;
	__u64 tenant_offset;
	__u64 device_offset;
	__u64 doorbell_offset;
	__u32 tenant_bytes;
	__u32 device_bytes;
};

/**
 * struct drm_tenon_queue_destroy - DRM_IOCTL_TENON_QUEUE_DESTROY
 * @queue: queue id
 * @reserved: 0
 *
 * When it returns 0 no command of the queue has an effect any more. Waiters end ENOENT. Errors: ENOENT.
 */
struct drm_tenon_queue_destroy {
	__u32 queue;
	__u32 reserved;
};

/**
 * struct drm_tenon_queue_kick - DRM_IOCTL_TENON_QUEUE_KICK: tell the device of a new tail
 * @queue: queue id
 * @reserved: 0
 *
 * If the device is dead, ends what was submitted instead. Doesn't sleep for the device. Errors: ENOENT.
 */
struct drm_tenon_queue_kick {
	__u32 queue;
	__u32 reserved;
};

/**
 * struct drm_tenon_queue_wait - DRM_IOCTL_TENON_QUEUE_WAIT: until a command is complete
 * @queue: queue id
 * @flags: 0
 * @sequence: of the completion, the command's index + 1
 * @reserved: 0
 * @deadline_ns: CLOCK_MONOTONIC; one that has passed looks once
 *
 * Returns 0 when the CQE is there, whoever wrote it. Errors: ENOENT no such queue, or it was destroyed
 * meanwhile; EINVAL that command wasn't submitted; ETIME; EINTR or a restart by a signal.
 */
struct drm_tenon_queue_wait {
	__u32 queue;
	__u32 flags;
	__u32 sequence;
	__u32 reserved;
	__s64 deadline_ns;
};

#define DRM_TENON_CONTEXT_DEAD	(1u << 0)

/**
 * struct drm_tenon_context_status - DRM_IOCTL_TENON_CONTEXT_STATUS
 * @pointer: where a struct tdi_context_status goes; 0 for none: then the device isn't asked
 * @size: bytes at @pointer, as in QUERY; in: 0 without @pointer; out: bytes that the kernel knows of
 * @flags: in: 0; out: DRM_TENON_CONTEXT_*
 * @needed: in: 0; out: what the last call that was refused for a limit would have led to
 * @allowed: in: 0; out: and the limit
 *
 * Of a dead context the queues are told as the kernel knows them, with reason TDI_STOP_HANG if the device has
 * stopped it.
 */
struct drm_tenon_context_status {
	__u64 pointer;
	__u32 size;
	__u32 flags;
	__u64 needed;
	__u64 allowed;
};

/* A structure that the kernel writes to must be writable, else EFAULT, before anything is done. */
#define DRM_TENON_IOW(nr, type) DRM_IOW(DRM_COMMAND_BASE + DRM_TENON_##nr, struct drm_tenon_##type)
#define DRM_TENON_IOWR(nr, type) DRM_IOWR(DRM_COMMAND_BASE + DRM_TENON_##nr, struct drm_tenon_##type)

#define DRM_IOCTL_TENON_QUERY		DRM_TENON_IOWR(QUERY, query)
#define DRM_IOCTL_TENON_BUFFER_CREATE	DRM_TENON_IOWR(BUFFER_CREATE, buffer_create)
#define DRM_IOCTL_TENON_BUFFER_INFO	DRM_TENON_IOWR(BUFFER_INFO, buffer_info)
#define DRM_IOCTL_TENON_BUFFER_MAP	DRM_TENON_IOWR(BUFFER_MAP, buffer_map)
#define DRM_IOCTL_TENON_BUFFER_UNMAP	DRM_TENON_IOW(BUFFER_UNMAP, buffer_unmap)
#define DRM_IOCTL_TENON_QUEUE_CREATE	DRM_TENON_IOWR(QUEUE_CREATE, queue_create)
#define DRM_IOCTL_TENON_QUEUE_DESTROY	DRM_TENON_IOW(QUEUE_DESTROY, queue_destroy)
#define DRM_IOCTL_TENON_QUEUE_KICK	DRM_TENON_IOW(QUEUE_KICK, queue_kick)
#define DRM_IOCTL_TENON_QUEUE_WAIT	DRM_TENON_IOW(QUEUE_WAIT, queue_wait)
#define DRM_IOCTL_TENON_CONTEXT_STATUS	DRM_TENON_IOWR(CONTEXT_STATUS, context_status)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_TENON_DRM_H */
