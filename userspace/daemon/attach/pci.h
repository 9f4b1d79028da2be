/* SPDX-License-Identifier: MIT */
/*
 * The PCI function in front of the device model: configuration space, registers, doorbells and the admin
 * queue, as Documentation/tdi/registers.rst says. Knows nothing of how its accesses get here; all calls come
 * from one thread.
 */
#ifndef TN_ATTACH_PCI_H
#define TN_ATTACH_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/tdi.h>

struct tn_device;
struct tn_pci;

/* Not registered with anybody: drivers find the function by its class. */
#define TN_PCI_VENDOR		0x1234
#define TN_PCI_DEVICE		0xacce

#define TN_PCI_VECTORS		32
#define TN_PCI_QUEUES		1024	/* with the widest stride 64 MiB of doorbells */
#define TN_PCI_FEATURES		(TDI_F_TENSOR | TDI_F_FAIR | TDI_F_EVENT_QUEUES)

#define TN_PCI_BAR0_BYTES	0x4000
#define TN_PCI_CONFIG_BYTES	0x1000
#define TN_PCI_MSIX_TABLE	0x2000	/* in BAR0 */
#define TN_PCI_MSIX_PBA		0x3000

/* Regions: BARs by number, and the configuration space. */
#define TN_PCI_CONFIG		7

int tn_pci_create(bool msi_only, struct tn_device *device, struct tn_pci **result);
void tn_pci_destroy(struct tn_pci *pci);
/* 0: there is no such region. */
uint64_t tn_pci_bytes(const struct tn_pci *pci, uint32_t region);
/* The range lies in the region. */
void tn_pci_read(struct tn_pci *pci, uint32_t region, uint64_t offset, void *data, uint32_t bytes);
void tn_pci_write(struct tn_pci *pci, uint32_t region, uint64_t offset, const void *data, uint32_t bytes);
/* Run an admin command; false: there is none. */
bool tn_pci_run(struct tn_pci *pci);
/* May the function access memory now? */
bool tn_pci_masters(const struct tn_pci *pci);
/* Function-level reset. */
void tn_pci_reset(struct tn_pci *pci);
/* It can't go on: until a reset it accesses no memory. */
void tn_pci_fatal(struct tn_pci *pci);

#endif /* TN_ATTACH_PCI_H */
