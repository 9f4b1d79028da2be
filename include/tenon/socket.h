/* SPDX-License-Identifier: MIT */
/*
 * What libtenon and tenond say to each other over a unix socket (SOCK_SEQPACKET, one message a packet).
 *
 * One connection is one context. The client sends a request and waits for the reply with the same @id.
 * tenond makes all shared memory and passes it by descriptor; descriptors that a client sends are dropped.
 * All fields are in the host's byte order; reserved fields are 0 and checked; a request of the wrong size
 * is refused with -EINVAL, and a refused request changes nothing. See Documentation/socket.rst.
 */
#ifndef TENON_SOCKET_H
#define TENON_SOCKET_H

#include <linux/tdi.h>

#define TENON_SOCKET_DIR	"/run/tenon"
#define TENON_SOCKET_MAJOR	1	/* another major is refused */
#define TENON_SOCKET_MINOR	1	/* replies may grow at their end */
#define TENON_SOCKET_MAX	4096	/* bytes of one message */
#define TENON_SOCKET_FDS	4	/* descriptors of one message */

enum tenon_msg_type {
	TENON_MSG_HELLO		= 1,	/* first on each connection, once */
	TENON_MSG_BUFFER_CREATE	= 2,
	TENON_MSG_BUFFER_DESTROY = 3,
	TENON_MSG_QUEUE_CREATE	= 4,
	TENON_MSG_QUEUE_DESTROY	= 5,
	TENON_MSG_STATUS	= 6,
	TENON_MSG_USAGE		= 7,
	TENON_MSG_QUEUE_USAGE	= 8,
};

/**
 * struct tenon_msg - head of each request
 * @size: of the whole request
 * @type: enum tenon_msg_type
 * @reserved: 0
 * @id: chosen by the client, comes back in the reply
 */
struct tenon_msg {
	__u32 size;
	__u16 type;
	__u16 reserved;
	__u64 id;
};

/**
 * struct tenon_reply - head of each reply
 * @size: of the whole reply; that of this struct if @error is not 0
 * @type: that of the request
 * @reserved: 0
 * @id: that of the request
 * @error: 0 or a negative errno
 * @reserved1: 0
 * @needed: for -ENOMEM, -ENOSPC, -EUSERS: what the request would have led to
 * @allowed: and the limit
 */
struct tenon_reply {
	__u32 size;
	__u16 type;
	__u16 reserved;
	__u64 id;
	__s32 error;
	__u32 reserved1;
	__u64 needed;
	__u64 allowed;
};

struct tenon_msg_hello {
	struct tenon_msg head;
	__u16 major;
	__u16 minor;
	__u32 reserved;
};

struct tenon_reply_hello {
	struct tenon_reply head;
	__u16 major;
	__u16 minor;
	__u32 context;		/* its id on the device, for people */
	__u64 memory_bytes;
	__u32 buffers;
	__u32 queues;
	__u32 depth;
	__u32 reserved;
	struct tdi_identify identify;
};

struct tenon_msg_buffer_create {
	struct tenon_msg head;
	__u64 bytes;
	__u32 rights;		/* TDI_BUFFER_READ, TDI_BUFFER_WRITE */
	__u32 reserved;
};

/* With one descriptor: a memfd of @bytes rounded up to TDI_PAGE_SIZE, sealed against a change of size. */
struct tenon_reply_buffer_create {
	struct tenon_reply head;
	__u32 buffer;
	__u32 reserved;
};

struct tenon_msg_buffer_destroy {
	struct tenon_msg head;
	__u32 buffer;
	__u32 reserved;
};

struct tenon_msg_queue_create {
	struct tenon_msg head;
	__u32 depth;
	__u32 reserved;
};

/* Descriptors of a reply to QUEUE_CREATE, in this order. */
enum tenon_queue_fd {
	TENON_FD_TENANT		= 0,	/* memfd, read and write: producer page, then the SQ */
	TENON_FD_DEVICE		= 1,	/* memfd, read only: device page, kernel page, then the CQ */
	TENON_FD_KICK		= 2,	/* eventfd: write to kick */
	TENON_FD_NOTICE		= 3,	/* socket: readable after a notice; end of file when tenond is gone */
};

/*
 * The ring offsets: TENON_FD_TENANT has the producer page at 0 and the SQ at TDI_PAGE_SIZE;
 * TENON_FD_DEVICE has the device page at 0, the kernel page at TDI_PAGE_SIZE, the CQ at 2 * TDI_PAGE_SIZE.
 * Both sizes are rounded up to TDI_PAGE_SIZE.
 */
struct tenon_reply_queue_create {
	struct tenon_reply head;
	__u32 queue;
	__u32 first;		/* first index */
	__u32 depth;
	__u32 reserved;
};

struct tenon_msg_queue_destroy {
	struct tenon_msg head;
	__u32 queue;
	__u32 reserved;
};

/* STATUS and USAGE have no more than the head. */
struct tenon_reply_status {
	struct tenon_reply head;
	struct tdi_context_status status;
};

struct tenon_msg_queue_usage {
	struct tenon_msg head;
	__u32 queue;
	__u32 reserved;
};

/* Of USAGE and QUEUE_USAGE. */
struct tenon_reply_usage {
	struct tenon_reply head;
	struct tdi_usage usage;
};

#endif /* TENON_SOCKET_H */
