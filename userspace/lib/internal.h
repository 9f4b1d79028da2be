/* SPDX-License-Identifier: MIT */
/* libtenon's insides, for its own files and its unit tests. */
#ifndef TENON_INTERNAL_H
#define TENON_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#include <tenon/socket.h>
/* All else is hidden by the compiler's default, and what is here is named again in libtenon.map. */
#pragma GCC visibility push(default)
#include <tenon/tenon.h>
#pragma GCC visibility pop

#define DEFAULT_TIMEOUT_MS	30000
#define DEFAULT_SPIN_NS		20000

#define OP_SLOTS	64	/* one bit each in a u64 */
#define OP_SLOT_BYTES	TDI_OP_BYTES(TDI_TENSORS_MAX)

struct tenon_buffer {
	struct tenon_context *context;
	LIST_ENTRY(tenon_buffer) link;
	void *data;
	uint64_t bytes;
	size_t mapped;
	uint32_t id;
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
	size_t tenant_bytes;
	size_t device_bytes;
	uint32_t id;
	uint32_t spin_ns;
	int kick;
	int notice;
	struct tdi_cqe dead_cqe;
};

struct tenon_context {
	pthread_mutex_t lock;	/* of set-up calls; all below but dead */
	uint32_t dead;		/* atomic; never goes back */
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

/* context.c */
int tenon_fail(struct tenon_context *c, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void tenon_context_kill(struct tenon_context *c);
int tenon_options_copy(void *to, size_t to_size, const void *from);

/* device.c */
int tenon_devices_in(const char *directory, int (*fn)(const struct tenon_device *device, void *arg),
		     void *arg);

/* buffer.c; the caller holds the lock */
int tenon_buffer_create_locked(struct tenon_context *c, uint64_t bytes, uint32_t rights,
			       struct tenon_buffer **buffer);
void tenon_buffer_free(struct tenon_buffer *b);

/* queue.c; the caller holds the lock */
void tenon_queue_free(struct queue *q);

/* socket.c; the caller holds the lock */
int tenon_socket_connect(struct tenon_context *c, const char *path);
int tenon_socket_hello(struct tenon_context *c);
int tenon_socket_call(struct tenon_context *c, enum tenon_msg_type type, void *msg, size_t msg_size,
		      void *reply, size_t reply_size, int *fds, unsigned int fd_count);
int tenon_socket_bad(struct tenon_context *c, const char *what);
int tenon_map(struct tenon_context *c, int fd, size_t bytes, int prot, void **address);
void tenon_unmap(struct tenon_context *c, void *address, size_t bytes);
void tenon_close_fds(int *fds, unsigned int count);

#endif /* TENON_INTERNAL_H */
