/* SPDX-License-Identifier: MIT */
/*
 * Faults that a test build can be told to have, so that a driver is seen to survive them; see
 * Documentation/lab.rst for the control socket.
 *
 * With -Dfaults=true, FAULT(stall) is true while that fault is on, and uses up one of those that come by
 * number. TRACE() adds a line to the trace. In any other build FAULT() is constant false, and all of this
 * compiles to nothing.
 */
#ifndef TN_FAULTS_H
#define TN_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/tdi.h>

struct tn_device;
struct tn_pci;
struct tn_vfu;

enum tn_fault {
	/* commands of tenants */
	TN_FAULT_stall, TN_FAULT_hold, TN_FAULT_cqe_sequence, TN_FAULT_cqe_user_data, TN_FAULT_cqe_twice,
	TN_FAULT_cqe_early, TN_FAULT_cqe_unsubmitted,
	/* admin commands */
	TN_FAULT_stall_admin, TN_FAULT_late_admin, TN_FAULT_admin_command, TN_FAULT_admin_twice,
	TN_FAULT_admin_skip, TN_FAULT_admin_status, TN_FAULT_identify_zero, TN_FAULT_identify_huge,
	TN_FAULT_identify_version, TN_FAULT_identify_byte, TN_FAULT_usage_times, TN_FAULT_usage_back,
	/* interrupts and events */
	TN_FAULT_irq_lost, TN_FAULT_irq_late, TN_FAULT_event_id, TN_FAULT_event_type, TN_FAULT_event_sequence,
	/* registers */
	TN_FAULT_gone, TN_FAULT_not_ready, TN_FAULT_no_features, TN_FAULT_no_reset, TN_FAULT_no_flr,
	/* memory */
	TN_FAULT_after_unmap,
	TN_FAULTS
};

#ifdef TENON_FAULTS
#define FAULT(name)		tn_fault(TN_FAULT_##name)
#define FAULT_VALUE(name)	tn_fault_value(TN_FAULT_##name)
#define TRACE(...)		tn_trace(__VA_ARGS__)
#else
#define FAULT(name)		0
#define FAULT_VALUE(name)	0
#define TRACE(...)		((void)0)
#endif

/* From any thread. */
bool tn_fault(enum tn_fault fault);
uint32_t tn_fault_value(enum tn_fault fault);
__attribute__((format(printf, 1, 2))) void tn_trace(const char *format, ...);
/* True: the interrupt isn't to be raised, or by tn_faults_serve() when its time has come. */
bool tn_fault_interrupt(uint32_t vector);
const char *tn_fault_register(uint64_t offset);

/*
 * By the thread that serves. An open socket needs no closing: the test's daemon ends. The result is to be
 * watched with epoll, and served when it is readable; or it is -errno, or -ENOENT when @path is NULL. The
 * trace is added to the file @trace, or kept in memory if that is NULL.
 */
int tn_faults_open(const char *path, const char *trace, struct tn_vfu *attach, struct tn_pci *pci);
void tn_faults_serve(void);
/* May the admin command with this index not be run now? tn_faults_serve() is called when that changes. */
bool tn_fault_admin_held(uint32_t index);
void tn_fault_admin(struct tn_device *device, const struct tdi_admin_sqe *sqe);
void tn_fault_admin_done(struct tdi_admin_cqe *cqe);
void tn_fault_identify(struct tdi_identify *identify);
/* While the device is frozen: the VMM takes addresses away. Traces what still uses them. */
void tn_fault_unmap(struct tn_device *device, uint64_t base, uint64_t last);

#ifndef TENON_FAULTS
static inline bool tn_fault_none(void)
{
	return false;
}

#define tn_fault_interrupt(vector)		tn_fault_none()
#define tn_faults_open(path, trace, attach, pci) (-ENOENT)
#define tn_faults_serve()			((void)0)
#define tn_fault_admin_held(index)		tn_fault_none()
#define tn_fault_admin(device, sqe)		((void)0)
#define tn_fault_admin_done(cqe)		((void)0)
#define tn_fault_identify(identify)		((void)0)
#define tn_fault_unmap(device, base, last)	((void)0)
#endif

#endif /* TN_FAULTS_H */
