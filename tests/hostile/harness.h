/* SPDX-License-Identifier: MIT */
/*
 * What the hostile tests need: a real tenond in a process of its own, a tenant that behaves and checks its
 * results the while, and a client that isn't bound by what libtenon refuses to do.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include <tenon/socket.h>
#include <tenon/tenon.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Whatever is to happen at once, on a loaded machine under a sanitizer. */
#define SOON_NS 10000000000ULL

/* What the bystander's commands may take at worst while somebody else misbehaves. */
#define LATENCY_NS 5000000000ULL

#define AWAIT(condition) \
	do { \
		uint64_t await_end_ = now_ns() + SOON_NS; \
		while (!(condition)) { \
			assert_true(now_ns() < await_end_); \
			sleep_ns(20000); \
		} \
	} while (0)

uint64_t now_ns(void);
void sleep_ns(uint64_t ns);
uint64_t rnd(uint64_t *state);		/* xorshift; *state is not 0 */

/* -------------------------------------------------------------------------------- tenond */

struct daemon {
	pid_t pid;
	char directory[64];
	char path[96];
};

struct daemon_stats {
	long rss_kib, maps, fds, threads;
};

/* @args: options beside --attach, ended by NULL; @uid: whose process it becomes, 0 for ours */
void daemon_start(struct daemon *d, const char *const *args, uid_t uid);
/* By SIGTERM; it must end with status 0, that is without a sanitizer's report too. */
void daemon_stop(struct daemon *d);
void daemon_kill(struct daemon *d);
/* When it is done with those that went. */
void daemon_stats(const struct daemon *d, struct daemon_stats *stats);

/* A child that dies with us; 0 in the child. */
pid_t spawn(void);
/* Wait for it; its status must be 0. */
void join(pid_t pid);

/* ---------------------------------------------------------------------------- the other tenant */

/* What it tells, in memory shared with us. */
struct bystander_page {
	uint64_t rounds;
	uint64_t worst_ns;
	uint32_t stop;
	char failure[200];
};

struct bystander {
	pid_t pid;
	uint64_t seen;
	struct bystander_page *page;
};

void bystander_start(struct bystander *b, const struct daemon *d);
/* All its results were right so far, and came in time; and it gets on. */
void bystander_check(struct bystander *b);
void bystander_stop(struct bystander *b);

/* ------------------------------------------------------------------ a client without manners */

struct raw {
	int fd;
	uint64_t id;
	struct tenon_reply_hello hello;
};

struct raw_buffer {
	uint32_t id;
	int fd;
	uint64_t bytes;
	size_t mapped;
	uint8_t *data;
};

struct raw_queue {
	uint32_t id, depth, mask;
	uint32_t next, head;
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	const struct tdi_device_page *device;
	const struct tdi_kernel_page *kernel;
	const struct tdi_cqe *cq;
	size_t tenant_bytes, device_bytes;
	int fd[TENON_SOCKET_FDS];
};

int raw_connect(const struct daemon *d);
void raw_open(struct raw *r, const struct daemon *d);
void raw_close(struct raw *r);
/* Send @size bytes and take the reply: its error, or -ENODEV if the connection ended. @fds: exactly so many.
 */
int raw_call(struct raw *r, uint16_t type, void *msg, size_t size, void *reply, size_t reply_size, int *fds,
	     unsigned int fd_count);
/* Is the connection ended by tenond, now or soon? What it sent before is read and dropped. */
bool raw_ended(int fd);

void raw_buffer(struct raw *r, uint64_t bytes, uint32_t rights, struct raw_buffer *b);
int raw_buffer_destroy(struct raw *r, uint32_t id);
void raw_buffer_unmap(struct raw_buffer *b);
void raw_queue(struct raw *r, uint32_t depth, struct raw_queue *q);
int raw_queue_destroy(struct raw *r, uint32_t id);
void raw_queue_unmap(struct raw_queue *q);
void raw_status(struct raw *r, struct tdi_context_status *status);
const struct tdi_queue_status *status_of(const struct tdi_context_status *status, uint32_t queue);
void raw_usage(struct raw *r, struct tdi_usage *usage);

/* The next entry, zeroed. There must be room. */
struct tdi_sqe *raw_sqe(struct raw_queue *q);
void raw_kick(struct raw_queue *q);
void raw_submit(struct raw_queue *q);
/* Is there another completion? It must be the next one in order. Waits at most @ns. */
bool raw_reap(struct raw_queue *q, struct tdi_cqe *cqe, uint64_t ns);
/* Submit what was got and expect one completion. */
struct tdi_cqe raw_run(struct raw_queue *q);

/* As tenon_prep_*(), for ids. */
void put_copy(struct tdi_sqe *sqe, uint32_t dst, uint64_t dst_offset, uint32_t src, uint64_t src_offset,
	      uint64_t bytes);
void put_fill(struct tdi_sqe *sqe, uint32_t dst, uint64_t offset, uint64_t bytes, uint64_t pattern,
	      uint32_t width);
void put_signal(struct tdi_sqe *sqe, uint32_t buffer, uint64_t offset, uint64_t value);
void put_wait(struct tdi_sqe *sqe, uint32_t buffer, uint64_t offset, uint64_t ref, uint64_t timeout_ns);

bool all_bytes(const void *data, uint8_t value, size_t bytes);

/* A dense f32 tensor of two axes, for those who have only an id. */
struct tdi_tensor matrix(uint32_t buffer, uint64_t offset, uint32_t rows, uint32_t columns);

#endif /* HARNESS_H */
