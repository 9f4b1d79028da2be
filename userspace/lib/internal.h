/* SPDX-License-Identifier: MIT */
/* libtenon's insides, for its own files and its unit tests. */
#ifndef TENON_INTERNAL_H
#define TENON_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* All else is hidden by the compiler's default, and what is here is named again in libtenon.map. */
#pragma GCC visibility push(default)
#include <tenon/tenon.h>
#pragma GCC visibility pop

#define DEFAULT_TIMEOUT_MS	30000
#define DEFAULT_SPIN_NS		20000

#define OP_SLOTS	64	/* one bit each in a u64 */
#define OP_SLOT_BYTES	TDI_OP_BYTES(TDI_TENSORS_MAX)

/* Larger sizes can't be mapped, nor rounded up to pages, whatever the device allows. */
#define MEMORY_MAX	((uint64_t)PTRDIFF_MAX - 0x10000)

#define FOR_EVER	INT64_MAX	/* as a deadline */

struct queue;

/*
 * What reaches a device: socket.c, node.c. Errors are in the terms of tenon.h, with the text set.
 *
 * open() .. usage() are called with the context's lock held and refuse, as tenon_context_usable() does, in a
 * forked child and after the death of the device. What create() half made is freed by the caller's
 * tenon_buffer_free() and tenon_queue_free(), which take back what lies in this process alone.
 */
struct transport {
	const char *name;	/* of struct tenon_device */
	/* Sets @fd, @identify and @limits of the context. */
	int (*open)(struct tenon_context *c, const char *path);
	/* The context is dead from now on; what can be done so that all who wait notice? May be NULL. */
	void (*hang_up)(struct tenon_context *c);
	/* Sets @data, @mapped and @id. */
	int (*buffer_create)(struct tenon_context *c, struct tenon_buffer *b, uint32_t rights);
	int (*buffer_destroy)(struct tenon_context *c, struct tenon_buffer *b);
	/* Sets the maps, the descriptors and @id, and calls tenon_queue_rings(). */
	int (*queue_create)(struct queue *q, uint32_t depth);
	int (*queue_destroy)(struct queue *q);
	int (*status)(struct tenon_context *c, struct tdi_context_status *status);
	/* @q NULL: of all. */
	int (*usage)(struct tenon_context *c, const struct queue *q, struct tdi_usage *usage);
	/* The device asked to be told of a new tail. */
	int (*kick)(struct queue *q);
	/* Has the device died without a word in the kernel page? */
	bool (*gone)(struct queue *q);
	/*
	 * The device is dead: 0 if the kernel ends what was submitted, at once or as soon as it can; else an
	 * error: then the library does.
	 */
	int (*finish)(struct queue *q);
	/* Forget notices that have come. */
	int (*drain)(struct queue *q);
	/* Sleep until @target is reached or until @deadline; may end early with 0. */
	int (*sleep)(struct queue *q, uint32_t target, int64_t deadline);
};

extern const struct transport tenon_socket, tenon_node;

struct tenon_buffer {
	struct tenon_context *context;
	LIST_ENTRY(tenon_buffer) link;
	void *data;
	uint64_t bytes;
	size_t mapped;
	uint32_t id;
	uint32_t handle;	/* node: of the GEM object */
};

struct tenon_op {
	struct op_chunk *chunk;
	struct tdi_op *descriptor;
	uint32_t bytes;
};

/* A buffer full of descriptors. */
struct op_chunk {
	SLIST_ENTRY(op_chunk) link;
	struct tenon_buffer *buffer;
	uint64_t used;
	struct tenon_op op[OP_SLOTS];
};

/* What callers see of a queue comes first and is part of the ABI. */
struct queue {
	struct tenon_queue pub;
	struct tenon_context *context;
	LIST_ENTRY(queue) link;
	const struct tdi_kernel_page *kernel;
	void *tenant_map;
	void *device_map;
	void *doorbell;		/* node: NULL if there is none to be mapped */
	size_t tenant_bytes;
	size_t device_bytes;
	size_t doorbell_bytes;
	uint32_t id;
	uint32_t spin_ns;
	int kick;		/* socket: eventfd to write to; else -1 */
	int notice;		/* what callers poll: a socket's own socket, a node's eventfd */
	struct tdi_cqe dead_cqe;
};

struct tenon_context {
	pthread_mutex_t lock;	/* of set-up calls; all below but dead */
	uint32_t dead;		/* atomic; never goes back */
	const struct transport *transport;
	int fd;
	pid_t owner;
	uint32_t timeout_ms;
	uint64_t next_id;
	struct tdi_identify identify;
	struct tenon_limits limits;
	LIST_HEAD(, tenon_buffer) buffers;
	LIST_HEAD(, queue) queues;
	SLIST_HEAD(, op_chunk) chunks;
	char error[160];
};

static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline size_t page_up(size_t bytes)
{
	return (bytes + TDI_PAGE_SIZE - 1) & ~(size_t)(TDI_PAGE_SIZE - 1);
}

static inline bool context_dead(const struct tenon_context *c)
{
	return __atomic_load_n(&c->dead, __ATOMIC_ACQUIRE);
}

static inline bool flagged_dead(const struct queue *q)
{
	return tenon_load_acquire((const __le32 *)&q->pub.dead) || context_dead(q->context) ||
	       (tenon_load_acquire(&q->kernel->flags) & TDI_KERNEL_DEAD);
}

/* context.c */
int tenon_fail(struct tenon_context *c, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int tenon_context_usable(struct tenon_context *c);
void tenon_context_kill(struct tenon_context *c);
int tenon_options_copy(void *to, size_t to_size, const void *from);
bool tenon_version_ok(uint32_t version);
int tenon_map(struct tenon_context *c, int fd, uint64_t offset, size_t bytes, int prot, void **address);
void tenon_unmap(struct tenon_context *c, void *address, size_t bytes);
void tenon_close_fds(int *fds, unsigned int count);

/* device.c */
int tenon_devices_in(const char *directory, const struct transport *transport,
		     int (*fn)(const struct tenon_device *device, void *arg), void *arg);
const struct transport *tenon_transport_of(const char *path);

/* buffer.c; the caller holds the lock */
int tenon_buffer_create_locked(struct tenon_context *c, uint64_t bytes, uint32_t rights,
			       struct tenon_buffer **buffer);
void tenon_buffer_free(struct tenon_buffer *b);

/* queue.c; the caller of the first two holds the lock */
bool tenon_queue_rings(struct queue *q, uint32_t first, uint32_t depth, size_t page);
void tenon_queue_free(struct queue *q);
void tenon_queue_kill(struct queue *q);
/* Ask for a notice of @target. 0: asked; 1: it is reached already; -ENODEV. */
int tenon_queue_ask(struct queue *q, uint32_t target);

/* node.c */
bool tenon_node_is_ours(const char *path, dev_t number);

#endif /* TENON_INTERNAL_H */
