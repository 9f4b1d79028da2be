/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share.
 *
 *	controller	one TDI device; pci.c finds it and is its transport
 *	partition	a slice of it with a node of its own (an auxiliary device and its DRM device)
 *	context		an open file of a node
 *	map, queue	what a context has on the device
 *
 * Locks, each taken before those below it:
 *
 *	tenon_config.lock	a configured partition's settings, and what is done because of them
 *	tenon_controller.partitions_lock  partitions are made and ended one at a time
 *	tenon_controller.lock	bring-up, reset and removal: one of them at a time; groups on the device
 *	tenon_controller.scan_lock  one round of asking the device what was used
 *	tenon_context.lock	a context's objects and its one admin command in flight; held while the device
 *				answers, which the admin time-out bounds
 *	tenon_gem.lock		an object's DMA mapping
 *	tenon_controller.log_lock  the page that the device writes logs to
 *	tenon_queue.end_lock	the kernel as writer of a dead queue's CQ
 *	config_lock		what is configured and what is there, and which belongs to which; never held
 *				while something is waited for
 *	tenon_controller.books_lock, tenon_memory.lock  spinlocks: what was used, of all
 *	tenon_controller.admin_lock  spinlock: the transport's admin queue, and whether it takes commands
 *	tenon_partition.gate	spinlock: who may come in
 *	xa_lock of the tables, tenon_queue.wait_lock  spinlocks; below them only that of the events
 *
 * configfs has locks of its own around all that it calls: mkdir and rmdir leave the work to a worker; a value
 * that is written to a live partition waits for the device's answer, which the admin time-out bounds.
 *
 * tenon_queue.doorbell_lock is taken in page faults, below mmap_lock, and nothing is taken below it.
 */
#ifndef TENON_H
#define TENON_H

#include <linux/auxiliary_bus.h>
#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/uuid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/tenon_drm.h>
#include <linux/tdi.h>

struct cgroup;
struct dma_pool;
struct drm_gem_object;
struct drm_printer;
struct eventfd_ctx;
struct tenon_controller;
struct tenon_partition;
struct vfsmount;
struct vm_area_struct;

/* ------------------------------------------------------------------------------------- parts */

/**
 * struct tenon_books - what was used; under books_lock
 * @sum: counters that never go back
 * @cut_ns: busy time that the device claimed beyond what can be; not in @sum
 */
struct tenon_books {
	struct tdi_usage sum;
	u64 cut_ns;
};

/**
 * struct tenon_limit - of a controller's busy time; under books_lock
 * @ns: all that there can have been until @at
 * @at: ktime_get_ns()
 */
struct tenon_limit {
	u64 ns;
	u64 at;
};

/**
 * struct tenon_flood - how many events there were lately; zeroed at first; under the lock of the events
 * @since: when the first of @count was told of
 * @count: within a second
 * @suppressed: since the last that was told of
 */
struct tenon_flood {
	u64 since;
	unsigned int count;
	unsigned int suppressed;
};

/**
 * struct tenon_memory - of buffers, over time
 * @lock: see the top
 * @pages: now
 * @at: until when they are summed up, ktime_get_ns()
 * @page_seconds: whole ones
 * @rest: the rest, pages x ns
 */
struct tenon_memory {
	spinlock_t lock;	/* see the top */
	u64 pages;
	u64 at;
	u64 page_seconds;
	u64 rest;
};

/* --------------------------------------------------------------------------------- transport */

/**
 * struct tenon_request - one admin command
 * @sqe: filled by the caller
 * @cqe: the answer, copied once; valid if @error is 0
 * @error: 0, or why there is no answer
 * @done: completed when either is known
 * @busy: submitted, and nobody has taken the answer yet; belongs to the one who may submit
 *
 * Embedded in what it is for, which must live until @done: the transport has a pointer to it.
 */
struct tenon_request {
	struct tdi_admin_sqe sqe;
	struct tdi_admin_cqe cqe;
	int error;
	bool busy;
	struct completion done;
};

/**
 * struct tenon_transport_ops - how a controller is reached
 * @enable: from reset to where it takes admin commands; tells the features in force and sets max_queues
 * @event_arm: from here on notices arrive; under the controller's lock
 * @admin_submit: hand it a command, under admin_lock; -EAGAIN if the queue is full
 * @admin_cancel: forget the commands under way, under admin_lock; each ends with this error
 * @kick: tell it of a queue's new tail; doesn't sleep
 * @doorbell_pfn: page frame that a tenant may map to do so itself, or an error
 * @flush: every store to the device has arrived
 * @alive: 0, or -ENODEV gone, -EIO failed
 * @poll: look at what an interrupt tells of, in case one was lost; doesn't sleep
 * @fence_off: end all its access to memory, for good until enable(). 0: proven [EOA-6]
 *
 * All but admin_* may sleep unless they say otherwise.
 */
struct tenon_transport_ops {
	int (*enable)(struct tenon_controller *c, u64 *features);
	int (*event_arm)(struct tenon_controller *c, struct tenon_request *rq, u32 entries);
	int (*admin_submit)(struct tenon_controller *c, struct tenon_request *rq);
	void (*admin_cancel)(struct tenon_controller *c, int error);
	void (*kick)(struct tenon_controller *c, u32 queue, u32 tail);
	int (*doorbell_pfn)(struct tenon_controller *c, u32 queue, unsigned long *pfn);
	void (*flush)(struct tenon_controller *c);
	int (*alive)(struct tenon_controller *c);
	void (*poll)(struct tenon_controller *c);
	int (*fence_off)(struct tenon_controller *c);
};

/* -------------------------------------------------------------------------------- controller */

enum tenon_state {
	TENON_DOWN,	/* a reset is under way: no admin commands */
	TENON_STARTING,	/* those of the bring-up alone */
	TENON_LIVE,
	TENON_FAILED,	/* it can't be brought up */
	TENON_GONE,	/* removed, and stays so */
};

/**
 * struct tenon_controller - one TDI device
 * @ref: of the transport while bound, of each partition, of each context
 * @dev: does the DMA; valid until removed
 * @node: NUMA node of @dev, where rings are
 * @near: makes buffers on that node, or NULL: that is where they are anyway, or it can't be told
 * @ops: the transport
 * @transport: the transport's own; valid until removed
 * @admin_ms: time-out of admin commands
 * @identify: what the device told, checked; constant from the first bring-up
 * @max_contexts: ids are below this
 * @max_queues: ids are below this
 * @lock: see above
 * @state: under admin_lock; changes under lock as well
 * @admin_lock: see above
 * @admin_room: woken when an admin command has ended or the state has changed
 * @contexts: by id, each with a reference, from before CONTEXT_CREATE until all access has ended
 * @queues: by id, without a reference, for notices; a queue leaves it before its last reference goes
 * @next_context: where to look for the next id
 * @next_queue: where to look for the next id
 * @generation: of the object made last
 * @request: of bring-up and of the watchdog, under lock
 * @ladder: of the ladder of resets, under ladder_lock
 * @ladder_lock: like log_lock
 * @log: page that the device writes logs to, under log_lock
 * @log_dma: its address for the device
 * @log_request: its admin command, under log_lock
 * @log_lock: see above
 * @reset_work: fence off, end all contexts, bring up again
 * @watchdog: looks for a device that has failed or fallen asleep
 * @partitions: by group id, without a reference, from before GROUP_CREATE until after GROUP_DESTROY; under
 *	lock, and changes under partitions_lock as well
 * @partitions_lock: see above
 * @closing: no more partitions; under partitions_lock
 * @link: among all controllers
 * @resets: how many
 * @books: of all that was used; like the next under books_lock
 * @limit: of busy time
 * @books_lock: see the top
 * @scan_lock: of the next three
 * @scan: number of the round of questions
 * @scanned: the last round got to its end
 * @throttled: that round found a partition to be
 * @usage_flood: reports that were refused, and those that were cut
 * @last_pool: for the last reports of contexts
 * @tails: of all queues when the watchdog looked
 * @outstanding: a queue had something to do then
 * @cause: of the next one, NULL: somebody asks for it; under admin_lock
 * @told: that it was added, so its removal will be; of start and remove
 * @fenced: the last reset ended all access; under lock
 * @unproven: pages that the device might still access after fence_off() failed
 */
struct tenon_controller {
	struct kref ref;
	struct device *dev;
	int node;
	struct vfsmount *near;
	const struct tenon_transport_ops *ops;
	void *transport;
	unsigned int admin_ms;
	struct tdi_identify identify;
	u32 max_contexts;
	u32 max_queues;

	struct mutex lock;	/* see the top */
	enum tenon_state state;
	spinlock_t admin_lock;		/* see the top */
	wait_queue_head_t admin_room;
	struct xarray contexts;
	struct xarray queues;
	u32 next_context;
	u32 next_queue;
	atomic_t generation;

	struct tenon_request request;
	struct tenon_request ladder;
	struct mutex ladder_lock;	/* see the top */
	void *log;
	dma_addr_t log_dma;
	struct tenon_request log_request;
	struct mutex log_lock;	/* see the top */

	struct work_struct reset_work;
	struct delayed_work watchdog;
	struct xarray partitions;
	struct mutex partitions_lock;	/* see the top */
	bool closing;
	struct list_head link;
	unsigned int resets;

	struct tenon_books books;
	struct tenon_limit limit;
	spinlock_t books_lock;	/* see the top */
	struct mutex scan_lock;	/* see the top */
	u32 scan;
	bool scanned;
	bool throttled;
	struct tenon_flood usage_flood[2];
	struct dma_pool *last_pool;
	u32 tails;
	bool outstanding;

	const char *cause;
	bool told;
	bool fenced;
	atomic64_t unproven;
};

struct tenon_controller *tenon_controller_create(struct device *dev, const struct tenon_transport_ops *ops,
						 void *transport);
int tenon_controller_start(struct tenon_controller *c);
bool tenon_controller_remove(struct tenon_controller *c);
void tenon_controller_shutdown(struct tenon_controller *c);
void tenon_controller_put(struct tenon_controller *c);
void tenon_controller_reset(struct tenon_controller *c, const char *why);
void tenon_controller_reset_begin(struct tenon_controller *c);
void tenon_controller_reset_end(struct tenon_controller *c);
void tenon_controller_end_contexts(struct tenon_controller *c, struct tenon_partition *p);
void tenon_controller_event(struct tenon_controller *c, const struct tdi_event *event);
const char *tenon_controller_health(const struct tenon_controller *c);
bool tenon_controller_settled(struct tenon_controller *c);
struct tenon_context *tenon_controller_context(struct tenon_controller *c, unsigned long *index);

static inline u32 tenon_generation(struct tenon_controller *c)
{
	return (u32)atomic_inc_return(&c->generation);
}

/* ------------------------------------------------------------------------------------- admin */

void tenon_admin_init(struct tenon_request *rq);
int tenon_admin_submit(struct tenon_controller *c, struct tenon_request *rq);
int tenon_admin_wait(struct tenon_controller *c, struct tenon_request *rq, bool killable);
bool tenon_admin_unknown(int error);
int tenon_admin_result(struct tenon_controller *c, const struct tenon_request *rq);
int tenon_admin(struct tenon_controller *c, struct tenon_request *rq);
void tenon_admin_complete(struct tenon_request *rq, int error);
int tenon_admin_log(struct tenon_controller *c, const struct tdi_admin_sqe *sqe, void *to, size_t bytes);

/* ------------------------------------------------------------------------------------ events */

enum tenon_event_type {
	/* of which there are so many a second at most for each partition */
	TENON_EVENT_REFUSED_OPEN,
	TENON_EVENT_LIMIT,
	TENON_EVENT_FAULT,
	TENON_EVENT_HANG,
	TENON_EVENT_FLOODS,

	TENON_EVENT_THROTTLE = TENON_EVENT_FLOODS,
	TENON_EVENT_RESET,
	TENON_EVENT_USAGE,
	TENON_EVENT_CREATE,
	TENON_EVENT_DELETE,
	TENON_EVENT_CHANGE,
	TENON_EVENT_RECYCLE,
	TENON_EVENT_DRAIN,
	TENON_EVENT_CONTROLLER_ADD,
	TENON_EVENT_CONTROLLER_REMOVE,
};

__printf(4, 5)
void tenon_event(enum tenon_event_type type, const struct tenon_controller *c, struct tenon_partition *p,
		 const char *format, ...);
bool tenon_event_once(struct tenon_flood *flood);
void tenon_event_value(char *to, size_t size, const char *from);
int tenon_events_init(void);
void tenon_events_exit(void);

/* --------------------------------------------------------------------------------- partition */

/**
 * struct tenon_actor - who asked for what a worker does
 * @pid: in the initial namespace; 0: nobody did
 * @uid: of the task
 */
struct tenon_actor {
	pid_t pid;
	kuid_t uid;
};

/**
 * struct tenon_settings - what an operator says of a partition
 * @weight: 1 to TDI_WEIGHT_MAX
 * @priority: enum tdi_priority
 * @quantum_us: 0: the device's own
 * @busy_max: percent of the device's time in each period, 0: no cap
 * @busy_period_us: the period
 * @queues_max: of all contexts together
 * @contexts_max: on the device
 * @max_command_us: 0: none
 * @memory_max: bytes of device memory, 0: no limit but the device's
 * @pinned_max: bytes of host memory in buffers and rings
 * @allow_uid: who may open the node; INVALID_UID: any
 * @allow_cgroup: from where, with a reference; NULL: from anywhere
 */
struct tenon_settings {
	u32 weight;
	u32 priority;
	u32 quantum_us;
	u32 busy_max;
	u32 busy_period_us;
	u32 queues_max;
	u32 contexts_max;
	u64 max_command_us;
	u64 memory_max;
	u64 pinned_max;
	kuid_t allow_uid;
	struct cgroup *allow_cgroup;
};

/**
 * struct tenon_partition - a slice of a controller
 * @aux: its device; owns the memory of this. The DRM device is its child, so it lives as long as an open file
 * @controller: with a reference
 * @name: unique among those of the controller that aren't on their way out
 * @owner: whose settings it has, as a name only; NULL: it is as controllers start. Under partitions_lock
 * @by: for whom a worker is making or ending it, else NULL; of the worker alone
 * @reserved: holds one of the accel minors, until @drm has it; of the maker alone
 * @group: id on the device
 * @group_generation: changes under the controller's lock while there are no contexts
 * @minor: accelN
 * @settings: change under the controller's lock and gate; a limit may be read without either
 * @gate: see above
 * @drm: the node while there is one; under gate
 * @gone: no more contexts on the device; under gate, as the next three
 * @draining: no more opens, nor contexts of files that have none
 * @life: how often it was recycled
 * @uuid: of this life
 * @contexts: on the device, from before CONTEXT_CREATE until all access has ended
 * @queues: like that
 * @pinned: bytes of buffers and rings, until they are freed
 * @bytes: of buffers there are
 * @refused_opens: by settings.allow_*
 * @limit_hits: calls that were refused for a limit of the partition
 * @books: of what it has used
 * @memory: of its buffers
 * @since: when they began, CLOCK_BOOTTIME
 * @epoch: how often they began anew; like the one before under books_lock
 * @group_seen: what the device said of its group last; like the next four under the controller's scan_lock
 * @group_seen_generation: of the group then
 * @scan: the round in which it was asked for
 * @moved: there may be something new of its contexts
 * @throttled: it was, when the device was asked last
 * @flood: of each type of event that there may be many of
 */
struct tenon_partition {
	struct auxiliary_device aux;
	struct tenon_controller *controller;
	char name[32];
	const void *owner;
	const struct tenon_actor *by;
	bool reserved;
	u32 group;
	u32 group_generation;
	int minor;
	struct tenon_settings settings;
	spinlock_t gate;	/* see the top */
	struct drm_device *drm;
	bool gone;
	bool draining;
	u32 life;
	uuid_t uuid;
	atomic64_t contexts;
	atomic64_t queues;
	atomic64_t pinned;
	atomic64_t bytes;
	atomic64_t refused_opens;
	atomic64_t limit_hits;
	struct tenon_books books;
	struct tenon_memory memory;
	u64 since;
	u32 epoch;
	struct tdi_usage group_seen;
	u32 group_seen_generation;
	u32 scan;
	bool moved;
	bool throttled;
	struct tenon_flood flood[TENON_EVENT_FLOODS];
};

/**
 * struct tenon_node - a partition's DRM device
 * @drm: owns the memory of this; lives until the last file is closed, or a tombstone of it is reaped
 * @partition: lives longer
 * @tombstone: among all of them, with a reference and one to the module
 */
struct tenon_node {
	struct drm_device drm;
	struct tenon_partition *partition;
	struct list_head tombstone;
};

#define to_tenon_node(dev) container_of(dev, struct tenon_node, drm)

extern const struct drm_driver tenon_drm_driver;
extern struct auxiliary_driver tenon_partition_driver;

extern const char * const tenon_priorities[];	/* by enum tdi_priority, then NULL */

void tenon_settings_init(struct tenon_settings *s);
void tenon_settings_copy(struct tenon_settings *to, const struct tenon_settings *from);
void tenon_settings_free(struct tenon_settings *s);

bool tenon_partition_room(void);
int tenon_partition_create(struct tenon_controller *c, const char *name, const struct tenon_settings *s,
			   const void *owner, const struct tenon_actor *by, struct tenon_partition **result);
void tenon_partition_close(struct tenon_partition *p);
void tenon_partition_free(struct tenon_partition *p);
void tenon_partition_remove(struct tenon_partition *p, const struct tenon_actor *by);
int tenon_partition_modify(struct tenon_partition *p, const struct tenon_settings *s);
int tenon_partition_enter(struct tenon_partition *p, u32 *life);
void tenon_partition_drain(struct tenon_partition *p, bool drain);
int tenon_partition_recycle(struct tenon_partition *p);
void tenon_partition_announce(struct tenon_partition *p, const char *event, const char *state);
struct drm_device *tenon_partition_drm(struct tenon_partition *p);
int tenon_group_create(struct tenon_partition *p);
void tenon_node_release(struct drm_device *drm);

static inline struct tenon_partition *tenon_partition_get(struct tenon_partition *p)
{
	get_device(&p->aux.dev);
	return p;
}

static inline void tenon_partition_put(struct tenon_partition *p)
{
	put_device(&p->aux.dev);
}

/*
 * Take @amount of what is limited to @max. 0, or what would be needed: then nothing was taken. Of those who
 * come at the same time, as many as fit get theirs.
 */
static inline u64 tenon_charge(atomic64_t *used, u64 amount, u64 max)
{
	s64 old = atomic64_read(used);

	do {
		if (amount > max || (u64)old > max - amount)
			return old + amount;
	} while (!atomic64_try_cmpxchg(used, &old, old + amount));
	return 0;
}

/* --------------------------------------------------------------------------------- tombstone */

void tenon_tombstone_add(struct drm_device *drm);
int tenon_tombstone_reap(unsigned int minor);
ssize_t tenon_tombstone_show(char *page);

/* ---------------------------------------------------------------------------------- configfs */

int tenon_config_init(void);
void tenon_config_exit(void);
bool tenon_config_bind(struct tenon_controller *c);
void tenon_config_unbind(struct tenon_controller *c);

/* ----------------------------------------------------------------------------------- context */

enum tenon_context_state {
	TENON_CONTEXT_NEW,	/* the device doesn't know it */
	TENON_CONTEXT_LIVE,
	TENON_CONTEXT_DEAD,	/* the device failed, or it was destroyed: no more admin commands */
};

/**
 * struct tenon_context - an open file
 * @ref: of the file, of the controller's table, and of its release
 * @partition: lives as long as @drm
 * @controller: with a reference
 * @drm: with a reference: GEM objects need it
 * @life: of the partition when it was opened
 * @lock: see above
 * @state: under lock
 * @id: the device's, while in the controller's table
 * @generation: the device's
 * @request: the one admin command in flight, under lock
 * @queues: by id, each with a reference
 * @maps: by index of the buffer id
 * @queue_count: entries of @queues
 * @map_count: entries of @maps
 * @next_map: where to look for the next index
 * @map_lap: generation of new buffer ids: counts how often @next_map has wrapped, so that no id comes again
 *	before all others of 255 laps did
 * @needed: what the last call that was refused for a limit would have led to
 * @allowed: and the limit
 * @dummy: the page behind doorbells that were revoked
 * @throttled: its queues say so; changes under lock and the controller's scan_lock
 * @books: of what it has used
 * @queues_busy_ns: what its queues have of that in books of their own; under books_lock
 * @last: where the device writes its last report; as long as it may be there
 * @last_dma: its address for the device
 * @reason: enum tdi_stop_reason: why the device stopped it; under lock
 * @stop: destroys it on the device, while the file is open
 * @release: the same, when it is closed
 */
struct tenon_context {
	struct kref ref;
	struct tenon_partition *partition;
	struct tenon_controller *controller;
	struct drm_device *drm;
	u32 life;
	struct mutex lock;	/* see the top */
	enum tenon_context_state state;
	u32 id;
	u32 generation;
	struct tenon_request request;
	struct xarray queues;
	struct xarray maps;
	u32 queue_count;
	u32 map_count;
	u32 next_map;
	u8 map_lap;
	u64 needed;
	u64 allowed;
	struct page *dummy;
	bool throttled;
	struct tenon_books books;
	u64 queues_busy_ns;
	struct tdi_usage *last;
	dma_addr_t last_dma;
	u8 reason;
	struct work_struct stop;
	struct work_struct release;
};

int tenon_context_open(struct drm_device *drm, struct drm_file *file);
void tenon_context_close(struct drm_device *drm, struct drm_file *file);
void tenon_context_put(struct tenon_context *x);
int tenon_context_enter(struct tenon_context *x);
void tenon_context_leave(struct tenon_context *x);
int tenon_context_admin(struct tenon_context *x, const struct tdi_admin_sqe *sqe, bool killable);
void tenon_context_kill(struct tenon_context *x);
void tenon_context_end(struct tenon_context *x, bool proven);
void tenon_context_forget(struct tenon_context *x);
int tenon_context_refuse(struct tenon_context *x, int error, u64 needed, u64 allowed);
int tenon_context_limit(struct tenon_context *x, int error, u64 needed, u64 allowed);
bool tenon_context_recycled(const struct tenon_context *x);
void tenon_context_delete(struct tenon_context *x);
void tenon_context_stop(struct tenon_context *x);
int tenon_context_status_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* ------------------------------------------------------------------------------------- usage */

struct tenon_queue;

int tenon_usage_init(struct tenon_controller *c);
void tenon_usage_exit(struct tenon_controller *c, bool proven);
void tenon_usage_settle(struct tenon_controller *c, u64 then);
void tenon_usage_scan(struct tenon_controller *c, struct tenon_partition *p);
void tenon_usage_partition(struct tenon_partition *p);
void tenon_usage_final(struct tenon_partition *p);
void tenon_usage_renew(struct tenon_partition *p);
void tenon_usage_memory(struct tenon_partition *p, s64 bytes);
int tenon_usage_open(struct tenon_context *x);
void tenon_usage_last(struct tenon_context *x);
void tenon_usage_close(struct tenon_context *x);
int tenon_usage_query(struct tenon_context *x, struct tdi_usage *usage);
int tenon_usage_query_queue(struct tenon_context *x, u32 id, struct tdi_usage *usage);
int tenon_usage_queue(struct tenon_queue *q);
void tenon_usage_fdinfo(struct tenon_context *x, struct drm_printer *printer);
ssize_t tenon_usage_show_busy(struct tenon_controller *c, char *buf);
ssize_t tenon_usage_show_cut(struct tenon_controller *c, char *buf);

extern const struct attribute_group tenon_usage_group;

/* ------------------------------------------------------------------------------------ buffer */

struct drm_gem_object *tenon_gem_create(struct drm_device *drm, size_t size);
struct vfsmount *tenon_buffer_mount(int node);
int tenon_buffer_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_buffer_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_buffer_map_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_buffer_unmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
void tenon_buffer_end_all(struct tenon_context *x, bool proven);
u64 tenon_buffer_max(const struct tenon_context *x);

/* ------------------------------------------------------------------------------------- queue */

/**
 * struct tenon_area - pages of a queue, contiguous for the device
 * @page: the first; each has a reference of its own, so that a tenant's mapping may outlive the queue
 * @count: of pages
 * @dir: what the device may do
 * @dma: for the device; DMA_MAPPING_ERROR if it isn't mapped
 */
struct tenon_area {
	struct page *page;
	unsigned int count;
	enum dma_data_direction dir;
	dma_addr_t dma;
};

enum tenon_area_id {
	TENON_AREA_PRODUCER,
	TENON_AREA_SQ,
	TENON_AREA_DEVICE,
	TENON_AREA_KERNEL,	/* not for the device */
	TENON_AREA_CQ,
	TENON_AREAS,
};

/**
 * struct tenon_queue - a user mode queue
 * @ref: of the context's table and of who uses it without the context's lock
 * @context: lives as long as the queue is in its table
 * @partition: with a reference
 * @id: the device's
 * @generation: the device's
 * @first: first index
 * @mask: entries - 1
 * @listed: a tenant may name it; under the context's lock. Else the device may still know it, no more
 * @destroyed: waiters find no queue any more
 * @dead: the kernel is the writer of the CQ; under end_lock
 * @unproven: its pages are counted as such; under the context's lock
 * @charged: it is one of the partition's queues; under the context's lock
 * @ended: index after the last command that the kernel has ended; under end_lock
 * @end_lock: see above
 * @area: ring pages, until all access has ended and the last reference is gone
 * @wait: who waits in QUEUE_WAIT
 * @wait_lock: of armed
 * @armed: the kernel's wanted word
 * @eventfd: signalled with each notice, or NULL
 * @revoked: doorbell mappings lead to the context's dummy page
 * @doorbell_lock: of revoked
 * @books: of what it has used, from when somebody asked for it: set under the context's lock
 * @stop: ends a queue that the device has stopped
 */
struct tenon_queue {
	struct kref ref;
	struct tenon_context *context;
	struct tenon_partition *partition;
	u32 id;
	u32 generation;
	u32 first;
	u32 mask;
	bool listed;
	bool destroyed;
	bool dead;
	bool revoked;
	bool unproven;
	bool charged;
	u32 ended;
	u32 armed;
	struct mutex end_lock;	/* see the top */
	struct mutex doorbell_lock;	/* see the top */
	spinlock_t wait_lock;		/* see the top */
	wait_queue_head_t wait;
	struct eventfd_ctx *eventfd;
	struct tenon_area area[TENON_AREAS];
	struct tenon_books *books;
	struct work_struct stop;
};

int tenon_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_kick_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
struct tenon_queue *tenon_queue_lookup(struct tenon_context *x, u32 id);
void tenon_queue_notice(struct tenon_controller *c, u32 id);
void tenon_queue_stopped(struct tenon_controller *c, u32 id);
u32 tenon_queue_tail(const struct tenon_queue *q);
bool tenon_queue_outstanding(struct tenon_queue *q);
bool tenon_queue_head(struct tenon_queue *q, __le32 *index);
void tenon_queue_kill(struct tenon_queue *q);
void tenon_queue_throttle(struct tenon_queue *q, bool throttled);
void tenon_queue_end(struct tenon_queue *q, bool proven);
bool tenon_queue_on_device(const struct tenon_queue *q);

int tenon_queue_mmap(struct tenon_context *x, struct vm_area_struct *vma);
bool tenon_queue_owns_offset(const struct vm_area_struct *vma);
void tenon_queue_offsets(const struct tenon_queue *q, struct drm_tenon_queue_create *args);
void tenon_queue_revoke(struct tenon_queue *q);
void tenon_queue_status(struct tenon_queue *q, struct tdi_queue_status *status);
void tenon_queue_put(struct tenon_queue *q);

/* -------------------------------------------------------------------------------------- node */

int tenon_copy_sized(u64 pointer, u32 *size, const void *from, size_t bytes);

/* ------------------------------------------------------------------------------------ module */

extern struct workqueue_struct *tenon_wq;
extern struct pci_driver tenon_pci_driver;

#endif /* TENON_H */
