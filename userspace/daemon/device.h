/* SPDX-License-Identifier: MIT */
/*
 * The device model: a TDI controller in software, whatever it is attached to.
 *
 * The attach side issues TDI admin commands (tn_admin()) and passes kicks on; workers run commands. What is
 * here knows TDI and nothing of sockets.
 *
 * Locking: device->lock covers all lists, states and tables, and is never held while a command is stepped or
 * a call that may block is made. A worker that runs a queue owns
 * everything in struct tn_queue marked "runner", and may read the context's buffer table. Whoever changes a
 * table or a queue takes the context by tn_context_hold(), which waits until no worker runs in it, one unit
 * of work at most. device->events.lock covers event queues and latches; it is taken last, by workers too.
 */
#ifndef TN_DEVICE_H
#define TN_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/tdi.h>
#include <tenon/ring.h>

#include "engine/engine.h"
#include "list.h"
#include "mem.h"

#define TN_MAX_GROUPS		256
#define TN_MAX_CONTEXTS		1024
#define TN_MAX_QUEUES		16384
#define TN_MAX_BUFFERS		4096
#define TN_MAX_EQS		64
#define TN_MAX_BUFFER_BYTES	(1ULL << 40)
#define TN_MAX_DEPTH_LOG2	15
#define TN_MAX_WORKERS		64
#define TN_QUANTUM_NS		1000000
#define TN_GRANULARITY_NS	500000

#define TN_AGES_NS		(1ULL << 56)	/* two years: what the host sets beyond it is cut */

#define TN_NOTHING		0x10003	/* no command was submitted */

/* The virtual clock: what a command costs beside a nanosecond for each elementary operation. */
#define TN_VIRTUAL_COMMAND_NS	1000

struct tn_device;

/*
 * What the arbiter shares the device between. Lives until GROUP_DESTROY, which is refused while a context is
 * in it. What the host sets is above @usage.
 */
struct tn_group {
	bool live;
	uint32_t generation;
	uint32_t contexts;
	uint64_t quantum_ns;
	uint64_t max_command_ns;
	/* with TDI_F_FAIR */
	uint32_t weight;
	uint8_t priority;		/* enum tdi_priority */
	uint32_t units;			/* 0: all */
	uint64_t busy_max_ns;		/* per @busy_period_ns; 0: no cap */
	uint64_t busy_period_ns;
	struct tdi_usage usage;		/* of contexts that are gone, and throttled_ns */
	/* arbiter */
	struct tn_device *device;
	struct tn_list turns;		/* contexts with active queues, next first */
	struct tn_list ready;		/* in device->groups while @turns is not empty */
	bool idle;			/* had no ready queue, or no tokens, at the last look */
	uint32_t running;		/* workers in it */
	int64_t start;			/* start tag: busy time / weight */
	uint64_t rest;			/* busy time that is less than one of the tag */
	int64_t tokens;			/* ns; below 0: owed */
	uint64_t period_end;		/* when they are filled up */
	bool throttled;
	uint64_t throttled_from, throttled_until;
};

enum tn_latch_state {
	TN_LATCH_IDLE,
	TN_LATCH_DELAYED,	/* its entry must wait for moderation or RESUME; in eq->delayed */
	TN_LATCH_OUTSTANDING,	/* its entry isn't consumed yet */
	TN_LATCH_DUE,		/* and another one is due then */
};

/* What may have one entry at a time in an event queue: a type of event and its object. [EVQ-3, EVQ-6] */
struct tn_latch {
	uint8_t state;
	uint8_t type;			/* enum tdi_event_type */
	uint32_t id;
	uint32_t hint;
	uint32_t entry;			/* index of its entry */
	uint32_t moderation_ns;
	uint64_t next_at;		/* no entry sooner */
	struct tn_eq *eq;		/* NULL: there is none */
	struct tn_list delayed;
};

struct tn_eq {
	bool live;
	uint32_t mask;
	uint32_t vector;
	uint32_t moderation_ns;
	uint64_t next_at;		/* no DUE entry sooner */
	uint32_t head;			/* consumed */
	uint32_t written;
	uint32_t reserved;		/* entries that its objects may need */
	uint32_t orphans;		/* entries not consumed whose object is gone */
	struct tn_view ring;		/* host NULL: the host took the memory away */
	struct tn_latch **owner;	/* by slot; NULL: an orphan's */
	struct tn_list delayed;
};

struct tn_events {
	pthread_mutex_t lock;
	bool paused;			/* QUIESCE, or no bus mastering: write nothing */
	uint32_t delayed;		/* atomic: latches in that state */
	struct tn_latch error;
	struct tn_eq eq[TN_MAX_EQS];
};

/* Lives from CONTEXT_CREATE to CONTEXT_DESTROY, which destroys its queues and maps first. */
struct tn_context {
	struct tn_device *device;
	uint32_t id;
	uint32_t generation;
	struct tn_group *group;
	struct tn_group *peers;		/* shares turns with it: its group; without TDI_F_FAIR all contexts */
	struct tn_table table;
	struct tn_list queues;		/* all, by tn_queue.member */
	uint32_t queue_count;
	uint32_t running;		/* workers in it */
	uint32_t holds;			/* no worker may enter while not 0 */
	bool stopped;			/* a command of it didn't yield: no queue of it runs again */
	struct tdi_usage usage;		/* of queues that are gone */
	struct tn_latch fault, hang;
	/* arbiter */
	struct tn_list active;		/* queues that are polled, by tn_queue.active */
	struct tn_list turn;		/* in peers->turns while @active is not empty */
};

/* Lives from QUEUE_CREATE to QUEUE_DESTROY. */
struct tn_queue {
	struct tn_context *context;
	uint32_t id;
	uint32_t generation;
	uint32_t depth;
	uint32_t mask;
	const struct tdi_producer_page *producer;
	const struct tdi_sqe *sq;
	struct tdi_device_page *page;
	struct tdi_cqe *cq;
	struct tn_view view[4];		/* where these four are */
	struct tn_latch due, stopped;
	struct tn_list member;

	uint8_t state;			/* enum tdi_queue_state */
	uint8_t reason;			/* enum tdi_stop_reason */
	bool running;			/* a worker has it */
	bool parked;			/* at a WAIT, in device->parked */
	uint64_t deadline;		/* of that WAIT; 0: not yet begun */
	struct tn_list active;		/* in context->active while it is polled */
	struct tn_list park;
	uint64_t idle_since;
	uint64_t spin_ns;		/* how long it is polled when idle; adapts */

	/* runner */
	uint32_t done;			/* index of the next command to complete */
	uint32_t tail;			/* the producer's, as last read */
	uint32_t noticed;		/* completed sequence at the last look at W */
	bool begun;			/* exec is the command with index done */
	bool unyielding;		/* it keeps its execution unit; nothing that this engine runs does */
	bool chain_failed;		/* the command before ended its LINK chain */
	uint64_t ready_at;		/* when the device could have begun the next command */
	uint64_t charged_ns;		/* of the command under way */
	uint64_t *aborts;		/* a bit per slot: ABORT came before the command's turn */
	struct tdi_usage usage;
	struct tn_exec exec;
};

struct tn_worker {
	struct tn_device *device;
	pthread_t thread;
	struct tn_context *context;	/* it runs a queue of */
	uint32_t interrupt;		/* atomic: come to the boundary */
	uint64_t max_command_ns;	/* of the group, for the turn under way; 0: none */
	int64_t charged;		/* to the start tag, for the turn under way */
	uint64_t granted;		/* and of the tokens */
	struct tn_scratch scratch;
};

struct tn_device_options {
	bool virtual_clock;
	uint32_t workers;		/* 1 to 64; 1 with the virtual clock */
	uint64_t spin_ns;		/* longest polling of an idle queue */
	const char *serial;
	uint32_t max_queues;		/* 0: TN_MAX_QUEUES */
	uint32_t vectors;		/* interrupts for event queues */
	/*
	 * Called by a worker, with or without the lock; must not block. The first two without, the third with
	 * event queues.
	 */
	void (*notice)(void *attach, uint32_t queue);
	void (*stopped)(void *attach, uint32_t queue);
	void (*interrupt)(void *attach, uint32_t vector);
	void *attach;
};

struct tn_device {
	pthread_mutex_t lock;
	uint32_t waiters;		/* atomic: others than workers that want the lock; they go first */
	pthread_cond_t boundary;	/* a context's last worker left it */
	struct tn_device_options options;
	struct tn_space space;		/* of IDENTIFY's and GET_LOG's data; the attach side's memory */
	uint64_t accepted;		/* features; changes only while there is no context */
	uint64_t virtual_now;		/* ns; with the virtual clock */
	bool stopping;
	bool quiesced;
	bool fenced;			/* must not access host memory */
	struct tn_events events;
	struct tn_list groups;		/* with active queues, in the order in which they are served */
	struct tn_group all;		/* without TDI_F_FAIR all contexts take turns in this */
	int64_t v[4];			/* by priority: the start tag of the group served last */
	struct tn_list parked;		/* queues at a WAIT */
	int epoll;			/* kicks, and wake */
	int wake;			/* eventfd: look at the lists again */
	uint32_t sleepers;		/* workers without a queue to poll */
	struct tdi_controller_log log;	/* busy_ns: of groups that are gone */
	struct tn_group group[TN_MAX_GROUPS];
	struct tn_context *context[TN_MAX_CONTEXTS];
	struct tn_queue *queue[TN_MAX_QUEUES];
	struct tn_worker *worker;
};

/* device.c */
int tn_device_create(const struct tn_device_options *options, struct tn_device **device);
void tn_device_destroy(struct tn_device *device);
uint64_t tn_device_now(struct tn_device *device);
void tn_device_wake(struct tn_device *device);
void tn_identify(const struct tn_device *device, struct tdi_identify *identify);
/* Keep workers out of a context until tn_context_release(); called with the lock, which it may drop. */
void tn_context_hold(struct tn_context *context);
void tn_context_release(struct tn_context *context);
/*
 * A command of it didn't yield. Its queues stop, but for those that a worker has: called again when that ends
 * its turn.
 */
void tn_context_stop(struct tn_context *context, uint64_t now);
/* Hold all contexts; takes the lock and keeps it. What a space holds may be changed in between. */
void tn_device_freeze(struct tn_device *device);
void tn_device_thaw(struct tn_device *device);
/* End all access to host memory, or allow it again. */
void tn_device_fence(struct tn_device *device, bool fenced);
/* While frozen: the addresses are going. Queues that lie there stop; false: so does an event queue. */
bool tn_device_lose(struct tn_device *device, uint64_t base, uint64_t bytes);
/* The doorbell of whatever queue has this id. */
void tn_device_doorbell(struct tn_device *device, uint32_t queue);
/* A kick for a queue: poll it again. A stale id is ignored. */
void tn_device_kick(struct tn_device *device, uint32_t queue, uint32_t generation);
/* Have writes to eventfd @fd kick a queue; the caller keeps it open until QUEUE_DESTROY has completed. */
int tn_device_kick_fd(struct tn_device *device, int fd, uint32_t queue, uint32_t generation);
void tn_device_forget_fd(struct tn_device *device, int fd);
/* For all but workers. */
void tn_device_lock(struct tn_device *device);
void tn_device_unlock(struct tn_device *device);

/* admin.c: run one admin command whose addresses are in @space. Blocks for one unit of work at most. */
void tn_admin(struct tn_device *device, struct tn_space *space, const struct tdi_admin_sqe *sqe,
	      struct tdi_admin_cqe *cqe);
/* Controller reset: forget all objects without another access to host memory. Leaves the device fenced. */
void tn_admin_reset(struct tn_device *device);

/* eventq.c */
void tn_events_init(struct tn_events *events);
void tn_latch_init(struct tn_latch *latch, enum tdi_event_type type, uint32_t id, struct tn_eq *eq,
		   uint32_t moderation_ns);
void tn_latch_drop(struct tn_device *device, struct tn_latch *latch);
void tn_latch_set(struct tn_device *device, struct tn_latch *latch, uint32_t hint, uint64_t now);
/* May @eq promise so many more entries? With the lock, and it does. */
bool tn_eq_reserve(struct tn_device *device, struct tn_eq *eq, uint32_t entries);
void tn_eq_unreserve(struct tn_device *device, struct tn_eq *eq, uint32_t entries);
void tn_eq_free(struct tn_device *device, struct tn_eq *eq);
/* The host has consumed entries up to @head. */
void tn_eq_head(struct tn_device *device, uint32_t eq, uint32_t head);
void tn_events_pause(struct tn_device *device, bool paused);
/* Write entries whose time has come; how long until the next one's does, -1 for ever. */
int64_t tn_events_expire(struct tn_device *device, uint64_t now);

/* queue.c; with the lock unless it says runner */
void tn_queue_activate(struct tn_queue *queue, uint64_t now);
/* Has it work? If not, and for long, it is no longer polled; if its tail lies, it is stopped. */
bool tn_queue_poll(struct tn_queue *queue, uint64_t now);
void tn_queue_end_current(struct tn_queue *queue, int status, uint64_t now);
/* With the context held: it is never run again. */
void tn_queue_stop(struct tn_queue *queue, enum tdi_stop_reason reason, uint64_t now);
/* Runner: fetch and check the next command: TN_MORE, a status, or TN_NOTHING. */
int tn_queue_begin(struct tn_queue *queue, uint64_t now);
/* Runner, or with the lock and no runner: write the CQE of the command under way. */
void tn_queue_complete(struct tn_queue *queue, int status, uint64_t now);
void tn_queue_park(struct tn_queue *queue, uint64_t now);	/* at a WAIT that isn't satisfied */
void tn_queue_unpark(struct tn_queue *queue, uint64_t now);
void tn_usage_add(struct tdi_usage *sum, const struct tdi_usage *usage);

/* worker.c */
void *tn_worker_main(void *worker);

/* arbiter/fair.c: which queue next, and for how long. With the lock. */
void tn_arbiter_init(struct tn_device *device, struct tn_group *group);
/* GROUP_CREATE, GROUP_MODIFY with TDI_F_FAIR. */
void tn_arbiter_set(struct tn_group *group, const struct tdi_admin_group *to, uint64_t now);
void tn_arbiter_add(struct tn_queue *queue);
void tn_arbiter_remove(struct tn_queue *queue);
/*
 * The next queue with work that no worker has and no one holds; NULL: none has, and *@left is how long until
 * there is one for which a group gets tokens, -1 for ever.
 */
struct tn_queue *tn_arbiter_next(struct tn_device *device, uint64_t now, int64_t *left);
/* Is there a queue to be polled that no worker has and no one holds? */
bool tn_arbiter_polled(struct tn_device *device);
/* Is there nothing to be looked at before some time has passed? Then the virtual clock may jump. */
bool tn_arbiter_waits(struct tn_device *device);
/* A worker takes the queue: for how long. Then what it was busy, up to @now. */
uint64_t tn_arbiter_begin(struct tn_worker *worker, struct tn_queue *queue);
void tn_arbiter_end(struct tn_worker *worker, struct tn_queue *queue, uint64_t busy, uint64_t now);
/* What throttled_ns has besides what is in the group's usage. */
uint64_t tn_arbiter_throttled_ns(const struct tn_group *group, uint64_t now);

#endif /* TN_DEVICE_H */
