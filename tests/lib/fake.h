/* SPDX-License-Identifier: MIT */
/*
 * The kernel module's node for the tests of libtenon, in the test's own process: /dev/null plays the node,
 * and ioctl(), mmap(), munmap(), madvise() and close() on it end here. What must be 0 by drm/tenon_drm.h is
 * checked; the device's part of the rings is the test's. Also to be preloaded, for programs.
 */
#ifndef TENON_TEST_FAKE_H
#define TENON_TEST_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tenon/tenon.h>

#define FAKE_NODE	"/dev/null"
#define FAKE_BUFFERS	8
#define FAKE_QUEUES	4
#define FAKE_DEPTH	64
#define FAKE_MEMORY	(8u << 20)
#define FAKE_REQUESTS	16	/* numbers of the driver's own, from DRM_TENON_QUERY on */

enum fake_death {
	ALIVE,
	RESET,		/* the kernel ended what was submitted, and does so with what still comes */
	TAKING_OVER,	/* it is at it: DEAD is set, completions come with fake_take_over() */
	UNPLUGGED,	/* as RESET, but then no call is answered */
	VANISHED,	/* nothing was ended, and no call is answered */
};

struct fake_buffer {
	uint64_t bytes;		/* 0: no such handle */
	int fd;
	uint32_t rights;	/* 0: not mapped for the device */
	uint64_t mapped;	/* bytes that the device may touch */
};

struct fake_queue {
	bool used;
	uint32_t depth;
	uint32_t done;		/* index after the last completed */
	uint32_t looked;	/* what was completed when W was read last */
	unsigned int kicks;
	int eventfd;
	int fds[3];		/* tenant, device, doorbell */
	size_t bytes[3];
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	struct tdi_device_page *device;
	struct tdi_kernel_page *kernel;
	struct tdi_cqe *cq;
	uint32_t *doorbell;
};

struct fake {
	/* what it is to be */
	const char *driver;
	bool no_doorbell;
	bool wrong_rings;
	uint32_t tdi_version;
	uint64_t memory_bytes;
	/* The call with this number fails with this error; after so many that don't. */
	int error[FAKE_REQUESTS];
	unsigned int after[FAKE_REQUESTS];
	unsigned int fail_mmap, fail_madvise;	/* the call that counts it down to 0 */
	uint64_t needed, allowed;
	bool context_dead;	/* what CONTEXT_STATUS says */
	/* what it saw */
	unsigned int calls[FAKE_REQUESTS];
	unsigned int versions;
	unsigned int mappings;
	unsigned int handles;
	unsigned int closed;	/* files */
	enum fake_death death;
	struct fake_buffer buffer[FAKE_BUFFERS];
	struct fake_queue queue[FAKE_QUEUES];
};

extern struct fake fake;

/* As after a boot. */
void fake_init(void);
struct fake_queue *fake_device(const struct tenon_queue *queue);
/* Complete the next @count commands with @status; signal if a notice is due. */
void fake_complete(struct fake_queue *q, uint32_t count, uint16_t status);
void fake_die(enum fake_death how);
void fake_take_over(void);

#endif /* TENON_TEST_FAKE_H */
