/* SPDX-License-Identifier: MIT */
/*
 * Attach point "vfio-user": the device as a PCIe function of a virtual machine. This is the protocol
 * (framing, descriptors, regions, interrupts, the map of guest memory); what the function does is in pci.c.
 *
 * One VMM at a time. The memory it shares is accessed directly, where and while it maps it; an access
 * elsewhere fails, and is sent to the VMM as a message, so that the IOMMU which it plays reports a fault.
 */
#ifndef TN_ATTACH_VFIO_USER_H
#define TN_ATTACH_VFIO_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tn_device;
struct tn_vfu;

struct tn_vfu_options {
	const char *path;
	mode_t mode;
	bool msi_only;			/* MSI instead of MSI-X */
	const char *faults, *faults_trace; /* of test builds: see faults.h */
};

/* What a struct tn_device_options needs; @attach is the struct tn_vfu. */
void tn_vfu_notice(void *attach, uint32_t queue);
void tn_vfu_interrupt(void *attach, uint32_t vector);

/* Two steps, since device and attach point refer to each other. Errors are printed. */
int tn_vfu_create(const struct tn_vfu_options *options, struct tn_vfu **result);
int tn_vfu_start(struct tn_vfu *attach, struct tn_device *device);
/* Serve until @stop_fd is readable. */
int tn_vfu_serve(struct tn_vfu *attach, int stop_fd);
/* End the connection, remove the socket. The device must outlive this. */
void tn_vfu_destroy(struct tn_vfu *attach);
#ifdef TENON_FAULTS
/* Raise a vector whatever faults say; false: there is none. */
bool tn_vfu_raise(struct tn_vfu *attach, uint32_t vector);
/* Access 4 bytes: directly where that is allowed, else by a message, so that the VMM judges. */
int tn_vfu_dma(struct tn_vfu *attach, bool write, uint64_t address);
#endif

#endif /* TN_ATTACH_VFIO_USER_H */
