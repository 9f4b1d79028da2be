// SPDX-License-Identifier: MIT
/* The PCI function; see pci.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "../device.h"
#include "../faults.h"
#include "../mutant.h"
#include "pci.h"

#define ADMIN_DEPTH_MIN	3
#define ADMIN_DEPTH_MAX	12
#define STRIDES		0x1f		/* 4 KiB to 64 KiB */
#define STRIDE_MAX	4
#define STRIDE(config)	((config) >> 8 & 0x1f)

/* 64-bit addresses; 10 s for each time-out, since a test may run us under a sanitizer. */
#define CAP (63ULL | STRIDES << 8 | 20ULL << 16 | 20ULL << 24 | 20ULL << 32 | (uint64_t)ADMIN_DEPTH_MAX << 40)

/* Capabilities in configuration space. */
#define AT_EXPRESS	0x40
#define AT_MSI		0x80		/* or MSI-X */
#define MSI_VECTORS_LOG2 5		/* TN_PCI_VECTORS */

struct tn_pci {
	struct tn_device *device;
	bool msi_only;
	/* registers */
	uint32_t status;
	uint32_t config;
	uint64_t accept;
	uint32_t admin_depth;
	uint64_t admin_sq, admin_cq;
	uint32_t admin_first;
	/* admin queue */
	uint32_t next;			/* index of the next command to take */
	uint32_t tail;
	uint8_t space[TN_PCI_CONFIG_BYTES];
	uint8_t writable[TN_PCI_CONFIG_BYTES];	/* bits of space that a write changes */
};

/* ------------------------------------------------------------------------------ memory */

bool tn_pci_masters(const struct tn_pci *pci)
{
	return (pci->space[PCI_COMMAND] & PCI_COMMAND_MASTER || MUTANT(bus_master)) &&
	       pci->status & TDI_STS_READY && (!(pci->status & TDI_STS_FATAL) || MUTANT(fatal));
}

/* After any change of what tn_pci_masters() looks at. */
static void fence(struct tn_pci *pci)
{
	bool fenced = !tn_pci_masters(pci);

	if (pci->device->fenced != fenced)
		tn_device_fence(pci->device, fenced);
}

void tn_pci_fatal(struct tn_pci *pci)
{
	struct tn_device *device = pci->device;

	if (tn_pci_masters(pci))
		tn_latch_set(device, &device->events.error, 0, tn_device_now(device));
	pci->status |= TDI_STS_FATAL;
	fence(pci);
}

/* --------------------------------------------------------------------------- registers */

/* [RST-1] and [RST-12]; the configuration space stays. */
static void controller_reset(struct tn_pci *pci)
{
	tn_admin_reset(pci->device);
	pci->status = 0;
	pci->config = 0;
	pci->accept = MUTANT(reset_registers) ? pci->accept : 0;
	pci->admin_depth = 0;
	pci->admin_sq = 0;
	pci->admin_cq = 0;
	pci->admin_first = 0;
	pci->next = 0;
	pci->tail = 0;
}

static void enable(struct tn_pci *pci)
{
	if (!(pci->status & TDI_STS_FEATURES_OK) || pci->admin_depth < ADMIN_DEPTH_MIN ||
	    pci->admin_depth > ADMIN_DEPTH_MAX || pci->admin_sq % TDI_PAGE_SIZE ||
	    pci->admin_cq % TDI_PAGE_SIZE || STRIDE(pci->config) > STRIDE_MAX) {
		tn_pci_fatal(pci);
		return;
	}
	if (FAULT(not_ready))
		return;
	pci->next = pci->admin_first;
	pci->tail = pci->admin_first;
	pci->device->accepted = pci->accept;
	pci->status |= TDI_STS_READY;
	fence(pci);
}

static void write_config(struct tn_pci *pci, uint32_t value)
{
	bool enabled = pci->config & TDI_CFG_ENABLE;

	if (enabled && !(value & TDI_CFG_ENABLE)) {
		if (!FAULT(no_reset))
			controller_reset(pci);
		return;
	}
	if (value & TDI_CFG_FEATURES_OK && !(pci->status & TDI_STS_FEATURES_OK) &&
	    !(pci->accept & ~TN_PCI_FEATURES) && !FAULT(no_features))
		pci->status |= TDI_STS_FEATURES_OK;
	if (enabled)
		return;
	pci->config = value & (TDI_CFG_ENABLE | TDI_CFG_FEATURES_OK | TDI_CFG_STRIDE(0x1fu));
	if (value & TDI_CFG_ENABLE)
		enable(pci);
}

static uint64_t read_register(struct tn_pci *pci, uint64_t offset)
{
	switch (offset) {
	case TDI_REG_SIGNATURE:
		return TDI_SIGNATURE;
	case TDI_REG_VERSION:
		return TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR);
	case TDI_REG_STATUS:
		return pci->status | (pci->device->quiesced ? TDI_STS_QUIESCED : 0);
	case TDI_REG_CAP:
		return CAP;
	case TDI_REG_OFFER:
		return TN_PCI_FEATURES;
	case TDI_REG_ACCEPT:
		return pci->accept;
	case TDI_REG_CONFIG:
		return pci->config;
	case TDI_REG_ADMIN_DEPTH:
		return pci->admin_depth;
	case TDI_REG_ADMIN_SQ:
		return pci->admin_sq;
	case TDI_REG_ADMIN_CQ:
		return pci->admin_cq;
	case TDI_REG_ADMIN_FIRST:
		return pci->admin_first;
	default:
		return 0;
	}
}

static void write_register(struct tn_pci *pci, uint64_t offset, uint64_t value)
{
	bool enabled = pci->config & TDI_CFG_ENABLE;

	TRACE("write %s 0x%llx", tn_fault_register(offset), (unsigned long long)value);
	switch (offset) {
	case TDI_REG_ACCEPT:
		if (!enabled && !(pci->status & TDI_STS_FEATURES_OK))
			pci->accept = value;
		break;
	case TDI_REG_CONFIG:
		write_config(pci, (uint32_t)value);
		break;
	case TDI_REG_ADMIN_DEPTH:
		if (!enabled)
			pci->admin_depth = (uint32_t)value;
		break;
	case TDI_REG_ADMIN_SQ:
		if (!enabled)
			pci->admin_sq = value;
		break;
	case TDI_REG_ADMIN_CQ:
		if (!enabled)
			pci->admin_cq = value;
		break;
	case TDI_REG_ADMIN_FIRST:
		if (!enabled)
			pci->admin_first = (uint32_t)value;
		break;
	case TDI_REG_ADMIN_TAIL:
		/* Run by tn_pci_run() when the store has been answered. A tail that can't be is ignored. */
		if (pci->status & TDI_STS_READY && (uint32_t)value - pci->next <= 1u << pci->admin_depth)
			pci->tail = (uint32_t)value;
		break;
	case TDI_REG_RESET:
		if (value == TDI_RESET_MAGIC && !FAULT(no_reset))
			controller_reset(pci);
		break;
	default:
		if (offset >= TDI_REG_EQ_HEAD(0) && offset < TDI_REG_EQ_HEAD(TN_MAX_EQS) && offset % 8 == 0)
			tn_eq_head(pci->device, (uint32_t)(offset - TDI_REG_EQ_HEAD(0)) / 8, (uint32_t)value);
		break;
	}
}

static bool is_wide(uint64_t offset)
{
	switch (offset) {
	case TDI_REG_SIGNATURE:
	case TDI_REG_CAP:
	case TDI_REG_OFFER:
	case TDI_REG_ACCEPT:
	case TDI_REG_ADMIN_SQ:
	case TDI_REG_ADMIN_CQ:
		return true;
	default:
		return false;
	}
}

/* Which register an access is to, and which bits of it; false: its form has no effect. [REG-4] */
static bool decode(uint64_t offset, uint32_t bytes, uint64_t *at, unsigned int *shift)
{
	uint64_t base = offset & ~7ULL;

	*shift = 0;
	*at = offset;
	if ((bytes != 4 && bytes != 8) || offset % bytes)
		return false;
	if (is_wide(base)) {
		*at = base;
		*shift = offset == base ? 0 : 32;
		return true;
	}
	return bytes == 4;
}

static void read_bar0(struct tn_pci *pci, uint64_t offset, void *data, uint32_t bytes)
{
	unsigned int shift;
	uint64_t at, value;

	if (!decode(offset, bytes, &at, &shift))
		return;
	value = read_register(pci, at) >> shift;
	memcpy(data, &value, bytes);
}

static void write_bar0(struct tn_pci *pci, uint64_t offset, const void *data, uint32_t bytes)
{
	uint64_t at, value = 0;
	unsigned int shift;

	if (!decode(offset, bytes, &at, &shift))
		return;
	memcpy(&value, data, bytes);
	if (is_wide(at) && bytes == 4)
		value = (read_register(pci, at) & ~(0xffffffffULL << shift)) | value << shift;
	write_register(pci, at, value);
}

/* The value is a hint: the device reads the tail itself. [QUE-19] */
static void write_doorbell(struct tn_pci *pci, uint64_t offset, uint32_t bytes)
{
	unsigned int shift = TDI_PAGE_SHIFT + STRIDE(pci->config);

	if (bytes == 4 && pci->status & TDI_STS_READY && !(offset & ((1ULL << shift) - 1)))
		tn_device_doorbell(pci->device, (uint32_t)(offset >> shift));
}

/* -------------------------------------------------------------------------- admin queue */

static bool admin_complete(struct tn_pci *pci, uint32_t index, const struct tdi_admin_cqe *cqe)
{
	uint32_t slot = index & ((1u << pci->admin_depth) - 1);
	struct tdi_admin_cqe *to;
	uint64_t left;

	to = tn_space_at(&pci->device->space, pci->admin_cq + slot * sizeof(*to), TDI_BUFFER_WRITE, &left);
	if (!to) {
		tn_pci_fatal(pci);
		return false;
	}
	memcpy(to, cqe, offsetof(struct tdi_admin_cqe, sequence));
	tenon_store_release(&to->sequence, index + 1 + (FAULT(admin_skip) ? 1 : 0));
	return true;
}

bool tn_pci_run(struct tn_pci *pci)
{
	struct tn_device *device = pci->device;
	const struct tdi_admin_sqe *from;
	struct tdi_admin_cqe cqe;
	struct tdi_admin_sqe sqe;
	uint64_t left;
	uint32_t slot;

	/* Before the function is ready the depth may be anything. */
	if (pci->next == pci->tail || !tn_pci_masters(pci) || tn_fault_admin_held(pci->next))
		return false;
	slot = pci->next & ((1u << pci->admin_depth) - 1);
	from = tn_space_at(&device->space, pci->admin_sq + slot * sizeof(sqe), TDI_BUFFER_READ, &left);
	if (!from) {
		tn_pci_fatal(pci);
		return false;
	}
	memcpy(&sqe, from, sizeof(sqe));
	tn_fault_admin(device, &sqe);
	tn_admin(device, &device->space, &sqe, &cqe);
	tn_fault_admin_done(&cqe);
	if (MUTANT(admin_interrupt)) {
		device->options.interrupt(device->options.attach, 0);
		usleep(1000);	/* else it would be seen too seldom */
	}
	if (!admin_complete(pci, pci->next, &cqe))
		return false;
	pci->next++;
	if (FAULT(admin_twice))
		admin_complete(pci, pci->next, &cqe);
	device->options.interrupt(device->options.attach, 0);
	return true;
}

/* ------------------------------------------------------------------ configuration space */

static void put(struct tn_pci *pci, unsigned int at, unsigned int bytes, uint32_t value, uint32_t writable)
{
	memcpy(&pci->space[at], &value, bytes);
	memcpy(&pci->writable[at], &writable, bytes);
}

/* A 64-bit BAR with so many bytes, a power of two. Doorbells may lie above 4 GiB behind a bridge. */
static void put_bar(struct tn_pci *pci, unsigned int bar, uint64_t bytes, uint32_t prefetch)
{
	uint64_t mask = ~(bytes - 1);
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;

	put(pci, at, 4, PCI_BASE_ADDRESS_MEM_TYPE_64 | prefetch, (uint32_t)mask);
	put(pci, at + 4, 4, 0, (uint32_t)(mask >> 32));
}

static void put_space(struct tn_pci *pci)
{
	memset(pci->space, 0, sizeof(pci->space));
	memset(pci->writable, 0, sizeof(pci->writable));
	put(pci, PCI_VENDOR_ID, 2, TN_PCI_VENDOR, 0);
	put(pci, PCI_DEVICE_ID, 2, TN_PCI_DEVICE, 0);
	put(pci, PCI_COMMAND, 2, 0,
	    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
	    PCI_COMMAND_INTX_DISABLE);
	put(pci, PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0);
	put(pci, PCI_CLASS_REVISION, 4, TDI_PCI_CLASS << 8, 0);
	put(pci, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	put_bar(pci, 0, TN_PCI_BAR0_BYTES, 0);
	put_bar(pci, TDI_DOORBELL_BAR, tn_pci_bytes(pci, TDI_DOORBELL_BAR), PCI_BASE_ADDRESS_MEM_PREFETCH);
	put(pci, PCI_SUBSYSTEM_VENDOR_ID, 2, TN_PCI_VENDOR, 0);
	put(pci, PCI_SUBSYSTEM_ID, 2, TN_PCI_DEVICE, 0);
	put(pci, PCI_CAPABILITY_LIST, 1, AT_EXPRESS, 0);
	put(pci, PCI_INTERRUPT_LINE, 1, 0, 0xff);

	put(pci, AT_EXPRESS, 2, PCI_CAP_ID_EXP | AT_MSI << 8, 0);
	put(pci, AT_EXPRESS + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4, 0);
	put(pci, AT_EXPRESS + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR, 0);
	/* No-snoop and relaxed ordering read as zero and stay so. [REG-21] */
	put(pci, AT_EXPRESS + PCI_EXP_DEVCTL, 2, 0,
	    PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
	    PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ);
	put(pci, AT_EXPRESS + PCI_EXP_LNKCAP, 4, PCI_EXP_LNKCAP_SLS_2_5GB | 1 << 4, 0);
	put(pci, AT_EXPRESS + PCI_EXP_LNKSTA, 2, PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1, 0);

	if (pci->msi_only) {
		put(pci, AT_MSI, 2, PCI_CAP_ID_MSI, 0);
		put(pci, AT_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT | MSI_VECTORS_LOG2 << 1,
		    PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
		put(pci, AT_MSI + PCI_MSI_ADDRESS_LO, 4, 0, ~3u);
		put(pci, AT_MSI + PCI_MSI_ADDRESS_HI, 4, 0, ~0u);
		put(pci, AT_MSI + PCI_MSI_DATA_64, 2, 0, 0xffff);
	} else {
		put(pci, AT_MSI, 2, PCI_CAP_ID_MSIX, 0);
		put(pci, AT_MSI + PCI_MSIX_FLAGS, 2, TN_PCI_VECTORS - 1,
		    PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		put(pci, AT_MSI + PCI_MSIX_TABLE, 4, TN_PCI_MSIX_TABLE, 0);
		put(pci, AT_MSI + PCI_MSIX_PBA, 4, TN_PCI_MSIX_PBA, 0);
	}
}

static void write_space(struct tn_pci *pci, uint64_t offset, const uint8_t *data, uint32_t bytes)
{
	const uint64_t reset_at = AT_EXPRESS + PCI_EXP_DEVCTL + 1;
	uint32_t i;

	for (i = 0; i < bytes; i++) {
		uint8_t mask = pci->writable[offset + i];

		pci->space[offset + i] = (uint8_t)((pci->space[offset + i] & ~mask) | (data[i] & mask));
	}
	if (offset == PCI_COMMAND)
		TRACE("config command 0x%02x", pci->space[PCI_COMMAND]);
	if (offset <= reset_at && reset_at - offset < bytes &&
	    data[reset_at - offset] & PCI_EXP_DEVCTL_BCR_FLR >> 8 && !FAULT(no_flr)) {
		TRACE("flr");
		tn_pci_reset(pci);
	} else {
		fence(pci);
	}
}

/* --------------------------------------------------------------------------- from outside */

uint64_t tn_pci_bytes(const struct tn_pci *pci, uint32_t region)
{
	switch (region) {
	case 0:
		return TN_PCI_BAR0_BYTES;
	case TDI_DOORBELL_BAR:
		return TDI_DOORBELL(TN_PCI_QUEUES, STRIDE_MAX);
	case TN_PCI_CONFIG:
		return TN_PCI_CONFIG_BYTES;
	default:
		return 0;
	}
}

void tn_pci_read(struct tn_pci *pci, uint32_t region, uint64_t offset, void *data, uint32_t bytes)
{
	memset(data, FAULT(gone) ? 0xff : 0, bytes);
	if (FAULT(gone))
		return;
	if (region == 0)
		read_bar0(pci, offset, data, bytes);
	else if (region == TN_PCI_CONFIG)
		memcpy(data, &pci->space[offset], bytes);
}

void tn_pci_write(struct tn_pci *pci, uint32_t region, uint64_t offset, const void *data, uint32_t bytes)
{
	if (FAULT(gone))
		return;
	if (region == 0)
		write_bar0(pci, offset, data, bytes);
	else if (region == TN_PCI_CONFIG)
		write_space(pci, offset, data, bytes);
	else
		write_doorbell(pci, offset, bytes);
}

void tn_pci_reset(struct tn_pci *pci)
{
	controller_reset(pci);
	put_space(pci);
}

int tn_pci_create(bool msi_only, struct tn_device *device, struct tn_pci **result)
{
	struct tn_pci *pci = calloc(1, sizeof(*pci));

	if (!pci)
		return -ENOMEM;
	pci->msi_only = msi_only;
	pci->device = device;
	tn_pci_reset(pci);
	*result = pci;
	return 0;
}

void tn_pci_destroy(struct tn_pci *pci)
{
	controller_reset(pci);
	free(pci);
}
