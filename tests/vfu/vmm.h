/* SPDX-License-Identifier: MIT */
/* A small VMM and guest driver in one: the peer of tenond on a vfio-user socket, for tests. */
#ifndef VMM_H
#define VMM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <linux/tdi.h>
#include <linux/vfio.h>

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO = 7, SET_IRQS, REGION_READ,
       REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET = 13, DEVICE_FEATURE = 16 };

#define REPLY		1u
#define NO_REPLY	0x10u
#define FAILED		0x20u
#define CONFIG		7		/* region */

struct head {
	uint16_t id, command;
	uint32_t size, flags, error;
};

struct dma_map {
	uint32_t argsz, flags;
	uint64_t offset, iova, size;
};

struct dma_unmap {
	uint32_t argsz, flags;
	uint64_t iova, size;
};

/* How long what must come is waited for. Where a rule is broken on purpose it often doesn't. */
#ifdef TENON_MUTANTS
#define PATIENCE_MS	3000
#else
#define PATIENCE_MS	20000
#endif

/* Guest memory: byte o of the memfd is at address RAM + o, where it is mapped at all. */
#define RAM		0x40000000ULL
#define RAM_BYTES	(16u << 20)
#define VECTORS		4		/* that have an eventfd */
#define ADMIN_LOG2	3

struct vmm {
	char path[64];
	pid_t tenond;
	int fd;
	int memfd;
	uint8_t *ram;
	int irq[VECTORS];
	uint16_t id;
	/* DMA messages from the device */
	uint64_t asked[64];
	bool asked_write[64];
	unsigned int asked_count;
	/* guest driver */
	uint64_t next;			/* free memory */
	struct tdi_admin_sqe *admin_sq;
	struct tdi_admin_cqe *admin_cq;
	uint32_t admin_tail;
	struct tdi_admin_cqe cqe;	/* the last one */
};

struct queue {
	struct vmm *v;
	uint32_t id, context, depth, first, tail;
	uint64_t producer_at, sq_at, page_at, cq_at;
	struct tdi_producer_page *producer;
	struct tdi_sqe *sq;
	struct tdi_device_page *page;
	struct tdi_cqe *cq;
};

struct eq {
	struct vmm *v;
	uint32_t id, depth, head;
	uint64_t at;
	struct tdi_event *ring;
};

/* Set before vmm_start(): tenond also takes faults, at PATH.faults. */
extern bool vmm_faults;

/* tenond with options, a connection with memory and interrupts; VMM_BARE: just tenond. */
enum vmm_how { VMM_BARE, VMM_MAPPED };
struct vmm *vmm_start(enum vmm_how how, const char *option);
void vmm_stop(struct vmm *v);
void vmm_connect(struct vmm *v);
/* The connection was ended by tenond, which lives. */
void vmm_expect_end(struct vmm *v);
void vmm_send(struct vmm *v, const void *data, size_t bytes, const int *fds, unsigned int fd_count);
/* Send a command and wait for its reply: bytes of it in @reply, or -errno. */
int vmm_call(struct vmm *v, unsigned int command, const void *data, size_t bytes, const int *fds,
	     unsigned int fd_count, void *reply, size_t room);
/* Answer DMA messages for so long; stops at the first if @first. */
void vmm_listen(struct vmm *v, int ms, bool first);
bool vmm_asked(const struct vmm *v, uint64_t address);
bool vmm_asked_write(const struct vmm *v, uint64_t address);
void vmm_version(struct vmm *v);
int vmm_map(struct vmm *v, int fd, uint64_t offset, uint64_t iova, uint64_t size, uint32_t flags);
int vmm_unmap(struct vmm *v, uint64_t iova, uint64_t size);
int vmm_irqs(struct vmm *v, uint32_t index, uint32_t start, uint32_t count, const int *fds,
	     unsigned int fd_count);
/* Interrupts of a vector, waiting up to @ms for the first. */
uint64_t vmm_interrupts(struct vmm *v, unsigned int vector, int ms);

uint64_t vmm_read(struct vmm *v, uint32_t region, uint64_t offset, uint32_t bytes);
void vmm_write(struct vmm *v, uint32_t region, uint64_t offset, uint32_t bytes, uint64_t value);

/* The guest driver. */
uint64_t guest_alloc(struct vmm *v, uint64_t bytes);
void *guest_at(struct vmm *v, uint64_t address);
void guest_master(struct vmm *v, bool on);
/* Set up and enable; true: READY. */
bool guest_enable(struct vmm *v, uint64_t features, uint32_t config);
/* Run an admin command: its status; the completion is in v->cqe. */
int guest_admin(struct vmm *v, const struct tdi_admin_sqe *sqe);
void guest_admin_post(struct vmm *v, const struct tdi_admin_sqe *sqe);
int guest_admin_wait(struct vmm *v);
/* Group 0, event queue 0 of 64 entries on vector 1, context 0; all generations are 1. */
void guest_objects(struct vmm *v, struct eq *eq);
int guest_eq(struct vmm *v, struct eq *eq, uint32_t id, uint32_t depth_log2, uint32_t vector,
	     uint32_t moderation);
int guest_queue(struct vmm *v, struct queue *q, uint32_t id, uint32_t depth_log2, uint32_t eq,
		uint32_t moderation);
int guest_queue_create(struct queue *q, uint32_t depth_log2, uint32_t eq, uint32_t moderation);
int guest_queue_end(struct queue *q);
int guest_buffer(struct vmm *v, uint32_t id, uint64_t address, uint64_t bytes);
/* Submit, ring the doorbell if asked to. */
void guest_submit(struct queue *q, const struct tdi_sqe *sqe);
/* The status of command @index, waited for; -1: it doesn't come. */
int guest_result(struct queue *q, uint32_t index);
/* The next entry of an event queue, waited for; TDI_EVENT_NONE: none came. Consumes it if told. */
struct tdi_event guest_event(struct eq *eq, int ms, bool consume);
struct tdi_sqe fill(uint32_t buffer, uint64_t bytes, uint64_t value);

#endif /* VMM_H */
