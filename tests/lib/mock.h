/* SPDX-License-Identifier: MIT */
/*
 * A peer for the tests of libtenon: a thread that speaks socket.h on a socket in a directory of its own,
 * tells one lie when it is asked to, and leaves the device's part of the rings to the test.
 */
#ifndef TENON_TEST_MOCK_H
#define TENON_TEST_MOCK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include <tenon/socket.h>
#include <tenon/tenon.h>

#define MOCK_QUEUES	4
#define MOCK_BUFFERS	8
#define MOCK_MEMORY	(8u << 20)
#define MOCK_DEPTH	256

enum mock_lie {
	LIE_NONE,
	/* about any reply */
	LIE_SHORT,		/* shorter than a head */
	LIE_SIZE,		/* the size in the head isn't that of the packet */
	LIE_TOO_LONG,		/* longer than a message may be */
	LIE_TYPE,
	LIE_ID,
	LIE_RESERVED,
	LIE_RESERVED1,
	LIE_ERROR_POSITIVE,
	LIE_ERROR_RANGE,
	LIE_ERROR_LONG,		/* a refusal with a body */
	LIE_ERROR_FD,		/* a refusal with a descriptor */
	LIE_BODY,		/* the body is cut */
	LIE_EXTRA_FD,
	LIE_MANY_FDS,		/* more than any reply may have */
	LIE_ANY_END,
	/* about what a reply says */
	LIE_NO_FD,
	LIE_FEWER_FDS,
	LIE_MAJOR,
	LIE_TDI,
	LIE_TDI_MINOR,
	LIE_MEMORY,
	LIE_QUEUES,
	LIE_BUFFERS,
	LIE_DEPTH,
	LIE_NO_DEPTH,
	LIE_GENERATION,
	LIE_UNSEALED,		/* memory that can shrink */
	LIE_SMALL,		/* memory smaller than said */
	LIE_LARGE,
	LIE_NO_MEMFD,
	LIE_READ_ONLY,
	LIE_FIRST,
	LIE_TAIL,
	LIE_WANTED,
	LIE_WANTED_KERNEL,
	LIE_CQ,
	LIE_KICK_PIPE,		/* a write to it would raise SIGPIPE */
	LIE_NOTICE_EVENTFD,
	LIE_NOTICE_PIPE,	/* a peer that reads it too could block a read */
	LIE_STATUS_QUEUES,
	/* not answering */
	LIE_SILENT,
	LIE_LATE,		/* after 400 ms */
	LIE_HANG_UP,
	LIE_STUCK,		/* a wrong id, and then nothing for 1.5 s, not even the end of the pipes */
	/* not lies, but as rare */
	REFUSE,			/* with refuse_error, needed 7, allowed 5 */
	GROWN,			/* a reply of a later minor version */
	NO_FDS_LEFT,		/* this process can take one descriptor and no more */
};

struct mock_queue {
	bool used;
	uint32_t depth;
	uint32_t done;		/* index after the last completed */
	uint32_t looked;	/* what was completed when W was read last */
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	struct tdi_device_page *device;
	struct tdi_kernel_page *kernel;
	struct tdi_cqe *cq;
	size_t tenant_bytes;
	size_t device_bytes;
	int kick;
	int notice;
};

struct mock {
	char directory[64];
	char path[80];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int listener;
	int connection;		/* -1: none */
	bool ended;
	bool turn_away;		/* answer connections unasked, and close them */
	/* the next reply to a request of this type */
	enum tenon_msg_type lie_type;
	enum mock_lie lie;
	int refuse_error;
	/* what it saw */
	unsigned int requests[TENON_MSG_QUEUE_USAGE + 1];
	unsigned int wrong_requests;
	unsigned int buffers;
	uint32_t last_buffer;
	struct mock_queue queue[MOCK_QUEUES];
};

int mock_setup(void **state);
int mock_teardown(void **state);

/* The next reply to @type is wrong in this way. */
void mock_lie(struct mock *m, enum tenon_msg_type type, enum mock_lie lie);
/* As if it were killed: the connection and the notices end; what it wrote to the rings stays. */
void mock_die(struct mock *m);
/* Until it has noticed the end of the connection and released what belonged to it. */
void mock_settle(struct mock *m);
/* Before what makes the mock close things: ThreadSanitizer doesn't know that a packet orders two threads. */
void mock_sync(struct mock *m);
/* The device's side of the queue with this id, made by hand. */
struct mock_queue *mock_device(struct mock *m, const struct tenon_queue *queue);
/* Complete the next @count commands with @status; write a notice if one is due. Was it? */
bool mock_complete(struct mock_queue *q, uint32_t count, uint16_t status);
/* How many kicks came since the last look. */
uint64_t mock_kicks(struct mock_queue *q);

struct tenon_context *mock_open(struct mock *m);
unsigned int count_fds(void);

#endif /* TENON_TEST_MOCK_H */
