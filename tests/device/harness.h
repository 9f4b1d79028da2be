/* SPDX-License-Identifier: MIT */
/*
 * The host side of a device model in the same process: memory, admin commands, rings.
 *
 * All memory of the transport is mapped twice. The device's view has the rights that [QUE-3] gives the device
 * and inaccessible pages around it, so an access that no rule allows ends the test program; the test's own
 * view can always be read and written.
 *
 * Every completion, of admin commands and of commands, is checked for what must hold of all of them.
 */
#ifndef TESTS_DEVICE_HARNESS_H
#define TESTS_DEVICE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "device.h"
#include "mutant.h"

#define ROOM_QUEUES	256	/* ids that the harness follows */

#define CONTEXT_GEN(id)	(1000u + (id))
#define GROUP_GEN(id)	(2000u + (id))
#define QUEUE_GEN(id)	(3000u + (id))

#define RW (TDI_BUFFER_READ | TDI_BUFFER_WRITE)

/* Memory of the transport at @address. */
struct area {
	struct host *h;
	uint64_t address;
	size_t bytes;
	uint8_t *host;		/* our view */
	uint8_t *device;	/* the device's */
};

struct queue {
	struct host *h;
	uint32_t id, context;
	uint32_t depth, mask, depth_log2;
	uint32_t first;		/* index */
	uint32_t head, tail;	/* next to reap, next to submit */
	struct area producer_area, sq_area, page_area, cq_area;
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	struct tdi_device_page *page;
	struct tdi_cqe *cq;
	struct tdi_kernel_page kernel;	/* no memory of the transport: the device must not touch it */
	struct tdi_sqe *sent;		/* what was submitted, by slot */
	int kick;
	uint32_t notices;		/* atomic */
	uint32_t early;			/* atomic: notices before the CQE that makes them due */
	uint32_t stopped;		/* atomic: calls of stopped() */
	struct tdi_cqe cqe;		/* the last one reaped */
};

struct host {
	struct tn_device *device;
	struct tn_device_options options;
	uint64_t features;		/* in force besides those of a socket */
	void (*noticed)(struct host *h, struct queue *q);	/* in the device's thread, after a CQE */
	struct tn_space space;
	uint64_t next_address;
	uint16_t command;
	struct area data;		/* for IDENTIFY and GET_LOG */
	struct queue *queue[ROOM_QUEUES];
};

/* For cmocka_unit_test_setup_teardown(): *state is a struct host with group 1 and context 1 in it. */
int setup_real(void **state);		/* one worker that polls for 20 us */
int setup_sleepy(void **state);		/* one that never polls */
int setup_awake(void **state);		/* one that polls for minutes */
int setup_two(void **state);		/* two workers */
int setup_virtual(void **state);
int setup_fair(void **state);		/* setup_virtual(), setup_real() and setup_two() with TDI_F_FAIR */
int setup_fair_real(void **state);
int setup_fair_two(void **state);
int teardown(void **state);
/* A new device in place of one that was destroyed. */
void device_anew(struct host *h);

#define TEST_REAL(f)	cmocka_unit_test_setup_teardown(f, setup_real, teardown)
#define TEST_SLEEPY(f)	cmocka_unit_test_setup_teardown(f, setup_sleepy, teardown)
#define TEST_AWAKE(f)	cmocka_unit_test_setup_teardown(f, setup_awake, teardown)
#define TEST_TWO(f)	cmocka_unit_test_setup_teardown(f, setup_two, teardown)
#define TEST_VIRTUAL(f)	cmocka_unit_test_setup_teardown(f, setup_virtual, teardown)
#define TEST_FAIR(f)	cmocka_unit_test_setup_teardown(f, setup_fair, teardown)
#define TEST_FAIR_TWO(f) cmocka_unit_test_setup_teardown(f, setup_fair_two, teardown)

/* ------------------------------------------------------------------------------------ small things */

uint64_t now_ns(void);
void sleep_ns(uint64_t ns);
/* The same numbers in each run, and after each random_begin(). */
void random_begin(void);
uint32_t random_u32(void);
uint32_t random_below(uint32_t limit);
bool deadline_over(uint64_t since);	/* long beyond what anything takes on a loaded machine */

/* Wait until @condition, which is evaluated again and again. */
#define until(condition) do { \
		uint64_t since_ = now_ns(); \
		while (!(condition)) { \
			if (deadline_over(since_)) \
				fail_msg("never came: %s", #condition); \
			sleep_ns(20000); \
		} \
	} while (0)

/* ------------------------------------------------------------------------------------------ memory */

/* @prot: what the device may do, PROT_*. */
void area_open(struct host *h, struct area *area, size_t bytes, int prot);
void area_protect(struct area *area, int prot);		/* the device's view; the area stays where it is */
void area_close(struct area *area);

/* ------------------------------------------------------------------------------------------- admin */

/* Run it; the status, in *@cqe too if not NULL. */
int admin(struct host *h, const struct tdi_admin_sqe *sqe, struct tdi_admin_cqe *cqe);
void admin_ok(struct host *h, const struct tdi_admin_sqe *sqe);

struct tdi_admin_sqe cmd_group(uint8_t opcode, uint32_t group);
struct tdi_admin_sqe cmd_context(uint8_t opcode, uint32_t context);	/* CREATE: in group 1 */
struct tdi_admin_sqe cmd_queue(uint8_t opcode, uint32_t queue);
struct tdi_admin_sqe cmd_abort(uint32_t queue, uint32_t index);
struct tdi_admin_sqe cmd_unmap(uint32_t context, uint32_t buffer);
/* An inline map of @length bytes at @first of @area. */
struct tdi_admin_sqe cmd_map(uint32_t context, uint32_t buffer, uint32_t flags, const struct area *area,
			     uint64_t first, uint64_t length);

void context_create(struct host *h, uint32_t context, uint32_t group);
void map(struct host *h, uint32_t context, uint32_t buffer, uint32_t flags, const struct area *area,
	 uint64_t first, uint64_t length);
/* A map of 2^@shift byte blocks, whose addresses are in @array. */
void map_blocks(struct host *h, uint32_t context, uint32_t buffer, uint32_t flags, uint64_t array,
		uint64_t first, uint64_t length, uint32_t shift);
void unmap(struct host *h, uint32_t context, uint32_t buffer);
void quiesce(struct host *h);
void resume(struct host *h);
/* Read a log page of an object whose generation is the harness's. */
void get_log(struct host *h, uint32_t page, uint32_t id, void *to, size_t bytes);
void queue_usage(struct host *h, uint32_t queue, struct tdi_usage *usage);
void context_usage(struct host *h, uint32_t context, struct tdi_usage *usage);
void group_usage(struct host *h, uint32_t group, struct tdi_usage *usage);
struct tdi_queue_status queue_status(struct queue *q);

/* Everything that a refused command must leave as it is: all pages of the log and all tables. */
struct snapshot {
	uint8_t *byte;
	size_t bytes, room;
};
void snapshot(struct host *h, struct snapshot *s);
void snapshot_free(struct snapshot *s);
bool snapshot_equal(const struct snapshot *a, const struct snapshot *b);

/* ------------------------------------------------------------------------------------------ queues */

/* Ring memory as [QUE-4, QUE-17] want it before QUEUE_CREATE. */
void queue_prepare(struct host *h, struct queue *q, uint32_t id, uint32_t context, uint32_t depth_log2);
struct tdi_admin_sqe queue_command(const struct queue *q);	/* QUEUE_CREATE */
void queue_created(struct queue *q);				/* after it: kicks are listened for */
void queue_open(struct host *h, struct queue *q, uint32_t id, uint32_t context, uint32_t depth_log2);
void queue_forget(struct queue *q);	/* the device has destroyed it: free all but the areas */
void queue_free_areas(struct queue *q);
void queue_close(struct queue *q);	/* QUEUE_DESTROY and free */

void queue_push(struct queue *q, const struct tdi_sqe *sqe);	/* write the entry, publish nothing */
void queue_publish(struct queue *q);				/* and kick if the flags say so */
void queue_tail(struct queue *q);				/* store the tail and tell nobody */
void queue_kick(struct queue *q);
/* Submit one; its index. */
uint32_t submit(struct queue *q, const struct tdi_sqe *sqe);
bool completed(const struct queue *q, uint32_t index);
uint32_t fetched(const struct queue *q);
/* Wait for the next CQE and check it: the status; the whole in q->cqe. */
int reap(struct queue *q);
/* Submit one, reap it. */
int run(struct queue *q, const struct tdi_sqe *sqe);
/* Wait until the queue is held by a WAIT, or until the command with @index has begun. */
void until_parked(struct queue *q);
void until_begun(struct queue *q, uint32_t index);

/* ---------------------------------------------------------------------------------------- commands */

struct tdi_sqe nop(void);
struct tdi_sqe copy(uint32_t dst, uint64_t dst_offset, uint32_t src, uint64_t src_offset, uint64_t bytes);
struct tdi_sqe copy_rows(uint32_t dst, uint64_t dst_offset, uint32_t dst_pitch, uint32_t src,
			 uint64_t src_offset, uint32_t src_pitch, uint64_t row_bytes, uint32_t rows);
struct tdi_sqe fill(uint32_t dst, uint64_t offset, uint64_t bytes, uint64_t pattern, uint32_t width);
struct tdi_sqe sem_signal(uint32_t buffer, uint64_t offset, uint64_t value, uint32_t mode);
struct tdi_sqe sem_wait(uint32_t buffer, uint64_t offset, uint64_t ref, uint64_t timeout_ns);
struct tdi_sqe linked(struct tdi_sqe sqe);
/* A command that is refused: RESERVED. */
struct tdi_sqe bad(void);

/*
 * A buffer of a TiB that lies in two blocks of 64 KiB, again and again: to fill it takes minutes, so a
 * command on it runs until it is ended from outside.
 */
struct endless {
	struct area block, array;
	uint32_t context, buffer;
	uint64_t bytes;
};
void endless_open(struct host *h, struct endless *e, uint32_t context, uint32_t buffer);
struct tdi_sqe endless_fill(const struct endless *e, uint8_t pattern);
void endless_close(struct endless *e);

int run_group(const char *name, const struct CMUnitTest *tests, size_t count);

#endif /* TESTS_DEVICE_HARNESS_H */
