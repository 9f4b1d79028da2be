/* SPDX-License-Identifier: MIT */
/*
 * The ring protocol of TDI, once: libtenon, tenond, the model checker and the benchmarks include this file.
 *
 * Two pairs of "store mine, full barrier, load yours" keep a wake-up from being lost [QUE-5, WAI-2]:
 *
 *	tenant				device
 *	store tail			store NEED flag
 *	SUBMIT_BARRIER			PARK_BARRIER
 *	load NEED flag: kick if set	load tail: go on if it moved, else sleep
 *
 *	waiter				device
 *	store W				store CQE
 *	ARM_BARRIER			NOTICE_BARRIER
 *	load CQE: sleep if absent	load W: notice if due
 *
 * The four names exist so that a test can take one barrier out and see the wake-up lost.
 */
#ifndef TENON_RING_H
#define TENON_RING_H

#include <linux/tdi.h>

#ifdef __cplusplus
extern "C" {
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "TDI is little endian, and so must the host be"
#endif

#ifndef TENON_FULL_BARRIER
static inline __u32 tenon_load(const __le32 *p)
{
	return __atomic_load_n((const __u32 *)p, __ATOMIC_RELAXED);
}

static inline __u32 tenon_load_acquire(const __le32 *p)
{
	return __atomic_load_n((const __u32 *)p, __ATOMIC_ACQUIRE);
}

static inline void tenon_store(__le32 *p, __u32 value)
{
	__atomic_store_n((__u32 *)p, value, __ATOMIC_RELAXED);
}

static inline void tenon_store_release(__le32 *p, __u32 value)
{
	__atomic_store_n((__u32 *)p, value, __ATOMIC_RELEASE);
}

#define TENON_FULL_BARRIER() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#ifndef TENON_SUBMIT_BARRIER
#define TENON_SUBMIT_BARRIER() TENON_FULL_BARRIER()
#endif
#ifndef TENON_PARK_BARRIER
#define TENON_PARK_BARRIER() TENON_FULL_BARRIER()
#endif
#ifndef TENON_ARM_BARRIER
#define TENON_ARM_BARRIER() TENON_FULL_BARRIER()
#endif
#ifndef TENON_NOTICE_BARRIER
#define TENON_NOTICE_BARRIER() TENON_FULL_BARRIER()
#endif

/*
 * Ask for a line that is about to be written: a store by itself does so only when it is its turn, and a full
 * barrier that follows would wait for it. Without -mprfchw the compilers' builtin asks for a line to read,
 * which has to be asked for again: several times slower than nothing.
 */
static inline void tenon_prefetch_write(const void *line)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("prefetchw %0" : : "m" (*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* Has @sequence reached @target? Both are free running; a later lap counts as reached. [QUE-7] */
static inline int tenon_reached(__u32 sequence, __u32 target)
{
	return (__s32)(sequence - target) >= 0;
}

/* Tenant: make everything before index @tail visible to the device; what must be done to wake it, TDI_NEED_*. */
static inline __u32 tenon_ring_publish(struct tdi_producer_page *producer, const struct tdi_device_page *device,
				       const struct tdi_kernel_page *kernel, __u32 tail)
{
	__u32 need;

	tenon_store_release(&producer->tail, tail);
	TENON_SUBMIT_BARRIER();
	need = tenon_load(&device->flags) & (TDI_NEED_DOORBELL | TDI_NEED_KICK);
	if (tenon_load(&kernel->flags) & (TDI_KERNEL_DEAD | TDI_KERNEL_FORCE_KICK))
		need |= TDI_NEED_KICK;
	return need;
}

/* Device: before it stops polling. True if the tail moved meanwhile: then it must go on. [QUE-5] */
static inline int tenon_ring_park(const struct tdi_producer_page *producer, struct tdi_device_page *device,
				  __u32 need, __u32 seen)
{
	tenon_store(&device->flags, need);
	TENON_PARK_BARRIER();
	return tenon_load(&producer->tail) != seen;
}

/* The sequence in the completion slot of the command that completes @sequence, i.e. has index @sequence - 1. */
static inline __u32 tenon_ring_sequence(const struct tdi_cqe *cq, __u32 mask, __u32 sequence)
{
	return tenon_load_acquire(&cq[(sequence - 1) & mask].sequence);
}

/*
 * Waiter: ask in its own word of the producer page for a notice when @target is reached.
 * 1: reached already; 0: armed, sleep. [WAI-2, WAI-3]
 */
static inline int tenon_ring_arm(__le32 *wanted, const struct tdi_cqe *cq, __u32 mask, __u32 target)
{
	tenon_store(wanted, target);
	TENON_ARM_BARRIER();
	return tenon_reached(tenon_ring_sequence(cq, mask, target), target);
}

/* Device: is a notice due, having completed up to @now and last looked at W at @before? [WAI-1] */
static inline int tenon_ring_due(const struct tdi_producer_page *producer, __u32 before, __u32 now)
{
	TENON_NOTICE_BARRIER();
	return (__u32)(now - tenon_load(&producer->wanted)) < (__u32)(now - before) ||
	       (__u32)(now - tenon_load(&producer->wanted_kernel)) < (__u32)(now - before);
}

/* Device: publish @cqe as the completion with sequence @sequence. The sequence word goes last. [QUE-6] */
static inline void tenon_ring_complete(struct tdi_cqe *slot, const struct tdi_cqe *cqe, __u32 sequence)
{
	slot->user_data = cqe->user_data;
	slot->busy_ns = cqe->busy_ns;
	slot->units = cqe->units;
	slot->info = cqe->info;
	slot->status = cqe->status;
	slot->reserved = 0;
	tenon_store_release(&slot->sequence, sequence);
}

/* Kernel or tenond: fill a new CQ as if the lap before @first had completed. [QUE-4] */
static inline void tenon_ring_init_cq(struct tdi_cqe *cq, __u32 depth, __u32 first)
{
	__u32 j;

	for (j = 0; j < depth; j++)
		tenon_store_release(&cq[(first + j) & (depth - 1)].sequence, first + j + 1 - depth);
}

#ifdef __cplusplus
}
#endif
#endif /* TENON_RING_H */
