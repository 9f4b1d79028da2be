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
 *	tenon_controller.lock	bring-up, reset and removal: one of them at a time
 *	tenon_context.lock	a context's objects and its one admin command in flight; held while the device
 *				answers, which the admin time-out bounds
 *	tenon_gem.lock		an object's DMA mapping
 *	tenon_controller.log_lock  the page that the device writes logs to
 *	tenon_queue.end_lock	the kernel as writer of a dead queue's CQ
 *	tenon_controller.admin_lock  spinlock: the transport's admin queue, and whether it takes commands
 *	xa_lock of the tables, tenon_queue.wait_lock  spinlocks, innermost
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
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/tenon_drm.h>
#include <linux/tdi.h>

struct drm_gem_object;
struct eventfd_ctx;
struct tenon_controller;
struct vm_area_struct;

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
 * @group_generation: of group 0, which is the partition's
 * @partition: the one that owns all
 * @resets: how many
 * @unproven: pages that the device might still access after fence_off() failed
 */
struct tenon_controller {
	struct kref ref;
	struct device *dev;
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
	u32 group_generation;
	struct tenon_partition *partition;
	unsigned int resets;
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
void tenon_controller_event(struct tenon_controller *c, const struct tdi_event *event);
bool tenon_controller_settled(struct tenon_controller *c);

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

/* --------------------------------------------------------------------------------- partition */

/**
 * struct tenon_partition - a slice of a controller
 * @aux: its device; owns the memory of this. The DRM device is its child, so it lives as long as an open file
 * @controller: with a reference
 * @name: unique in the controller
 * @drm: the node while there is one
 * @bytes_max: of buffers
 * @bytes: of buffers there are
 */
struct tenon_partition {
	struct auxiliary_device aux;
	struct tenon_controller *controller;
	char name[32];
	struct drm_device *drm;
	u64 bytes_max;
	atomic64_t bytes;
};

/**
 * struct tenon_node - a partition's DRM device
 * @drm: owns the memory of this; lives until the last file is closed
 * @partition: lives longer
 */
struct tenon_node {
	struct drm_device drm;
	struct tenon_partition *partition;
};

#define to_tenon_node(dev) container_of(dev, struct tenon_node, drm)

extern const struct drm_driver tenon_drm_driver;
extern struct auxiliary_driver tenon_partition_driver;

int tenon_partition_create(struct tenon_controller *c, const char *name, struct tenon_partition **result);
void tenon_partition_remove(struct tenon_partition *p);

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
 * @release: destroys it on the device
 */
struct tenon_context {
	struct kref ref;
	struct tenon_partition *partition;
	struct tenon_controller *controller;
	struct drm_device *drm;
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
int tenon_context_usage(struct tenon_context *x, struct tdi_usage *usage);
int tenon_context_status_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* ------------------------------------------------------------------------------------ buffer */

struct drm_gem_object *tenon_gem_create(struct drm_device *drm, size_t size);
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
 * @id: the device's
 * @generation: the device's
 * @first: first index
 * @mask: entries - 1
 * @listed: a tenant may name it; under the context's lock. Else the device may still know it, no more
 * @destroyed: waiters find no queue any more
 * @dead: the kernel is the writer of the CQ; under end_lock
 * @unproven: its pages are counted as such; under the context's lock
 * @ended: index after the last command that the kernel has ended; under end_lock
 * @end_lock: see above
 * @area: ring pages, until all access has ended and the last reference is gone
 * @wait: who waits in QUEUE_WAIT
 * @wait_lock: of armed
 * @armed: the kernel's wanted word
 * @eventfd: signalled with each notice, or NULL
 * @revoked: doorbell mappings lead to the context's dummy page
 * @doorbell_lock: of revoked
 * @stop: ends a queue that the device has stopped
 */
struct tenon_queue {
	struct kref ref;
	struct tenon_context *context;
	u32 id;
	u32 generation;
	u32 first;
	u32 mask;
	bool listed;
	bool destroyed;
	bool dead;
	bool revoked;
	bool unproven;
	u32 ended;
	u32 armed;
	struct mutex end_lock;	/* see the top */
	struct mutex doorbell_lock;	/* see the top */
	spinlock_t wait_lock;		/* see the top */
	wait_queue_head_t wait;
	struct eventfd_ctx *eventfd;
	struct tenon_area area[TENON_AREAS];
	struct work_struct stop;
};

int tenon_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_kick_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int tenon_queue_mmap(struct tenon_context *x, struct vm_area_struct *vma);
bool tenon_queue_owns_offset(const struct vm_area_struct *vma);
void tenon_queue_notice(struct tenon_controller *c, u32 id);
void tenon_queue_stopped(struct tenon_controller *c, u32 id);
bool tenon_queue_outstanding(struct tenon_queue *q);
bool tenon_queue_head(struct tenon_queue *q, __le32 *index);
void tenon_queue_kill(struct tenon_queue *q);
void tenon_queue_end(struct tenon_queue *q, bool proven);
void tenon_queue_status(struct tenon_queue *q, struct tdi_queue_status *status);
void tenon_queue_put(struct tenon_queue *q);

/* -------------------------------------------------------------------------------------- node */

int tenon_copy_sized(u64 pointer, u32 *size, const void *from, size_t bytes);

/* ------------------------------------------------------------------------------------ module */

extern struct workqueue_struct *tenon_wq;
extern struct pci_driver tenon_pci_driver;

#endif /* TENON_H */
