// SPDX-License-Identifier: MIT
/* tenond --attach vfio-user: a VMM and a guest driver against a daemon of its own for each test. */
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <tenon/ring.h>

#define ALL	(TDI_F_TENSOR | TDI_F_EVENT_QUEUES)
#define OFFER	(ALL | TDI_F_FAIR)
#define BUFFER	TDI_BUFFER_ID(0, 1)
#define QUIET	30	/* ms in which nothing may come */
#define SOON	PATIENCE_MS	/* in which something must */

static int mapped(void **state)
{
	*state = vmm_start(VMM_MAPPED, NULL);
	return 0;
}

static int bare(void **state)
{
	*state = vmm_start(VMM_BARE, NULL);
	return 0;
}

static int msi(void **state)
{
	*state = vmm_start(VMM_MAPPED, "--msi-only");
	return 0;
}

static int stop(void **state)
{
	vmm_stop(*state);
	return 0;
}

static uint32_t status(struct vmm *v)
{
	return (uint32_t)vmm_read(v, 0, TDI_REG_STATUS, 4);
}

/* ------------------------------------------------------------------------ protocol and PCI */

/* Whatever a peer says, the worst that comes of it is the end of its connection; the next one is served. */
static void test_hostile(void **state)
{
	struct vmm *v = *state;
	static const struct {
		struct head head;
		bool version;		/* after VERSION */
		unsigned int fds;
		size_t extra;		/* bytes that follow the head */
	} lie[] = {
		{ { .command = VERSION, .size = 0 }, false, 0, 0 },
		{ { .command = VERSION, .size = 15 }, false, 0, 0 },
		{ { .command = VERSION, .size = 16 }, false, 0, 0 },
		{ { .command = VERSION, .size = 20 }, false, 0, 4 },
		{ { .command = VERSION, .size = 8192 }, false, 0, 0 },
		{ { .command = VERSION, .size = 0xffffffff }, false, 0, 0 },
		{ { .command = GET_INFO, .size = 32 }, false, 0, 16 },
		{ { .command = VERSION, .size = 24 }, true, 0, 8 },
		{ { .command = VERSION, .size = 24 }, false, 1, 8 },
		{ { .command = GET_INFO, .size = 20 }, true, 0, 4 },
		{ { .command = GET_INFO, .size = 32 }, true, 1, 16 },
		{ { .command = GET_INFO, .size = 32, .flags = 2 }, true, 0, 16 },
		{ { .command = GET_INFO, .size = 32, .flags = 0x80 }, true, 0, 16 },
		{ { .command = DMA_MAP, .size = 47 }, true, 0, 31 },
		{ { .command = DMA_UNMAP, .size = 16 }, true, 0, 0 },
		{ { .command = SET_IRQS, .size = 35 }, true, 0, 19 },
		{ { .command = SET_IRQS, .size = 36 }, true, 17, 20 },
		{ { .command = REGION_READ, .size = 33 }, true, 0, 17 },
		{ { .command = REGION_WRITE, .size = 40, .id = 7 }, true, 0, 24 },
		{ { .command = DEVICE_RESET, .size = 16 }, true, 1, 0 },
		{ { .command = DMA_READ, .size = 16, .flags = REPLY, .id = 99 }, true, 0, 0 },
		{ { .command = GET_INFO, .size = 16, .flags = REPLY }, true, 0, 0 },
	};
	uint8_t message[64] = { 0 };
	int fds[32];
	size_t i, j;

	for (i = 0; i < 32; i++)
		fds[i] = v->memfd;
	for (i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		if (lie[i].version)
			vmm_version(v);
		memcpy(message, &lie[i].head, sizeof(lie[i].head));
		vmm_send(v, message, sizeof(lie[i].head) + lie[i].extra, fds, lie[i].fds);
		vmm_expect_end(v);
		vmm_connect(v);
	}
	/* A major that isn't ours. */
	memcpy(message, &(struct head){ .command = VERSION, .size = 24 }, 16);
	message[16] = 1;
	vmm_send(v, message, 24, NULL, 0);
	vmm_expect_end(v);
	message[16] = 0;
	/* One that hangs up in the middle, at each place. */
	for (j = 1; j < 24; j++) {
		vmm_connect(v);
		vmm_send(v, message, j, NULL, 0);
		close(v->fd);
	}
	/* And one that is slow is served, while a second one is turned away. */
	vmm_connect(v);
	vmm_version(v);
	i = (size_t)v->fd;
	vmm_connect(v);
	vmm_expect_end(v);
	v->fd = (int)i;
	assert_int_equal(vmm_read(v, 0, TDI_REG_SIGNATURE, 8), TDI_SIGNATURE);
}

/* What is refused, and changes nothing. */
static void test_refused(void **state)
{
	struct vmm *v = *state;
	struct vfio_irq_set set = { .argsz = sizeof(set), .index = VFIO_PCI_MSIX_IRQ_INDEX,
				    .flags = VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER };
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };
	uint64_t access[4] = { 0 };
	int other = memfd_create("unsealed", MFD_CLOEXEC), pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vmm_map(v, v->memfd, 0, RAM, TDI_PAGE_SIZE, 3), -EEXIST);
	assert_int_equal(vmm_map(v, v->memfd, 0, 0, 0, 3), -EINVAL);
	assert_int_equal(vmm_map(v, v->memfd, 0, 1, TDI_PAGE_SIZE, 3), -EINVAL);
	assert_int_equal(vmm_map(v, v->memfd, 0, 0, TDI_PAGE_SIZE, 4), -EINVAL);
	assert_int_equal(vmm_map(v, v->memfd, RAM_BYTES, 0, TDI_PAGE_SIZE, 3), -EINVAL);
	assert_int_equal(vmm_map(v, v->memfd, 0, -(uint64_t)TDI_PAGE_SIZE, 2 * TDI_PAGE_SIZE, 3), -EINVAL);
	assert_int_equal(vmm_map(v, v->memfd, -(uint64_t)TDI_PAGE_SIZE, 0, TDI_PAGE_SIZE, 3), -EINVAL);
	/* A range is unmapped whole or not at all. */
	assert_int_equal(vmm_unmap(v, RAM, TDI_PAGE_SIZE), -EINVAL);
	assert_int_equal(vmm_unmap(v, RAM + TDI_PAGE_SIZE, RAM_BYTES), -EINVAL);
	assert_int_equal(vmm_unmap(v, RAM, 0), -EINVAL);
	/* What the peer could truncate is never mapped, which is no error: QEMU has such ranges. */
	assert_int_equal(ftruncate(other, TDI_PAGE_SIZE), 0);
	assert_int_equal(vmm_map(v, other, 0, 0x1000, TDI_PAGE_SIZE, 3), 0);
	assert_int_equal(ftruncate(other, 0), 0);
	assert_int_equal(vmm_map(v, -1, 0, 0x2000, TDI_PAGE_SIZE, 3), 0);

	assert_int_equal(vmm_call(v, SET_IRQS, &set, sizeof(set), NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, v->irq, 1), -EINVAL);
	assert_int_equal(vmm_irqs(v, 5, 0, 0, NULL, 0), -EINVAL);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, 32, 1, v->irq, 1), -EINVAL);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, 0xffffffff, 2, v->irq, 2), -EINVAL);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, v->irq, 1), -EINVAL);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, &pipes[1], 1), -EINVAL);

	access[1] = 9 | 8ULL << 32;	/* region, count */
	assert_int_equal(vmm_call(v, REGION_READ, access, 16, NULL, 0, NULL, 0), -EINVAL);
	access[1] = 0 | 8ULL << 32;
	access[0] = 0x4000;
	assert_int_equal(vmm_call(v, REGION_READ, access, 16, NULL, 0, NULL, 0), -EINVAL);
	access[0] = UINT64_MAX;
	assert_int_equal(vmm_call(v, REGION_READ, access, 16, NULL, 0, NULL, 0), -EINVAL);
	access[0] = 0;
	access[1] = CONFIG | 4097ULL << 32;
	assert_int_equal(vmm_call(v, REGION_READ, access, 16, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vmm_call(v, DEVICE_FEATURE, access, 16, NULL, 0, NULL, 0), -ENOTTY);
	assert_int_equal(vmm_call(v, 77, NULL, 0, NULL, 0, NULL, 0), -EOPNOTSUPP);

	/* An access to it misses; if it were mapped, it would end tenond. */
	assert_true(guest_enable(v, ALL, 0));
	sqe.data.address = 0x1000;
	sqe.data.bytes = 512;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_ADDRESS);
	close(other);
	close(pipes[0]);
	close(pipes[1]);
}

static unsigned int find_capability(struct vmm *v, unsigned int id)
{
	unsigned int at = (unsigned int)vmm_read(v, CONFIG, PCI_CAPABILITY_LIST, 1);

	while (at && vmm_read(v, CONFIG, at, 1) != id)
		at = (unsigned int)vmm_read(v, CONFIG, at + 1, 1);
	return at;
}

/* What a VMM and a PCI core look at. [REG-1, REG-2, REG-19, REG-21] */
static void test_function(void **state)
{
	struct vmm *v = *state;
	uint32_t info[4] = { 0 };
	struct vfio_region_info region = { .argsz = sizeof(region) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX };
	unsigned int at, i;

	assert_int_equal(vmm_call(v, GET_INFO, info, sizeof(info), NULL, 0, info, sizeof(info)),
			 sizeof(info));
	assert_int_equal(info[1], VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(info[2], 9);
	assert_int_equal(info[3], 5);
	for (i = 0; i < 9; i++) {
		region = (struct vfio_region_info){ .argsz = sizeof(region), .index = i };
		assert_int_equal(vmm_call(v, GET_REGION_INFO, &region, sizeof(region), NULL, 0, &region,
					  sizeof(region)), sizeof(region));
		assert_int_equal(region.size, i == 0 ? 0x4000 : i == 2 ? 64 << 20 : i == CONFIG ? 4096 : 0);
		/* Trapped: a store that nobody notices isn't offered. */
		assert_int_equal(region.flags, region.size ? 3 : 0);
	}
	assert_int_equal(vmm_call(v, GET_IRQ_INFO, &irq, sizeof(irq), NULL, 0, &irq, sizeof(irq)),
			 sizeof(irq));
	assert_int_equal(irq.count, 32);
	assert_int_equal(irq.flags, VFIO_IRQ_INFO_EVENTFD);

	assert_int_equal(vmm_read(v, CONFIG, PCI_CLASS_REVISION, 4) >> 8, TDI_PCI_CLASS);
	/* BARs tell their size, type and no more. */
	for (i = 0; i < 6; i++)
		vmm_write(v, CONFIG, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0xffffffff);
	assert_int_equal(vmm_read(v, CONFIG, PCI_BASE_ADDRESS_0, 8), 0xffffffffffffc004ULL);
	assert_int_equal(vmm_read(v, CONFIG, PCI_BASE_ADDRESS_2, 8), 0xfffffffffc00000cULL);
	assert_int_equal(vmm_read(v, CONFIG, PCI_BASE_ADDRESS_4, 8), 0);
	vmm_write(v, CONFIG, PCI_VENDOR_ID, 4, 0);
	assert_int_equal(vmm_read(v, CONFIG, PCI_VENDOR_ID, 4), 0xacce1234);

	at = find_capability(v, PCI_CAP_ID_EXP);
	assert_true(at);
	assert_true(vmm_read(v, CONFIG, at + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	vmm_write(v, CONFIG, at + PCI_EXP_DEVCTL, 2, 0x7fff);
	assert_false(vmm_read(v, CONFIG, at + PCI_EXP_DEVCTL, 2) &
		     (PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_RELAX_EN));
	at = find_capability(v, PCI_CAP_ID_MSIX);
	assert_true(at);
	assert_int_equal(vmm_read(v, CONFIG, at + PCI_MSIX_FLAGS, 2), 31);
	assert_int_equal(vmm_read(v, CONFIG, at + PCI_MSIX_TABLE, 4), 0x2000);
	assert_false(find_capability(v, PCI_CAP_ID_MSI));
}

/* The variant with MSI; one vector is enough. [REG-19] */
static void test_msi(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_KEEP_ALIVE };

	assert_true(find_capability(v, PCI_CAP_ID_MSI));
	assert_false(find_capability(v, PCI_CAP_ID_MSIX));
	/* All away, and back one by one, as QEMU does it. */
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSI_IRQ_INDEX, 0, VECTORS, NULL, 0), 0);
	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(vmm_interrupts(v, 0, QUIET), 0);
	assert_int_equal(vmm_irqs(v, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, v->irq, 1), 0);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(vmm_interrupts(v, 0, SOON), 1);
}

/* ---------------------------------------------------------------------- registers, bring-up */

/* [REG-3] to [REG-7], [REG-16], and the registers' forms of access. */
static void test_registers(void **state)
{
	struct vmm *v = *state;
	uint64_t cap = vmm_read(v, 0, TDI_REG_CAP, 8);
	uint32_t offset;

	assert_int_equal(vmm_read(v, 0, TDI_REG_SIGNATURE, 8), TDI_SIGNATURE);
	assert_int_equal(vmm_read(v, 0, TDI_REG_SIGNATURE + 4, 4), TDI_SIGNATURE >> 32);
	assert_int_equal(vmm_read(v, 0, TDI_REG_VERSION, 4),
			 TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR));
	assert_int_equal(cap & ~0x00000fffffff1f3fULL, 0);
	assert_true(TDI_CAP_STRIDES(cap));
	/* Either half first. */
	vmm_write(v, 0, TDI_REG_ADMIN_SQ + 4, 4, 0x12345678);
	vmm_write(v, 0, TDI_REG_ADMIN_SQ, 4, 0x9abcdef0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), 0x123456789abcdef0ULL);
	/* Forms that have no effect and read zero. */
	vmm_write(v, 0, TDI_REG_ADMIN_SQ, 2, 0xffff);
	vmm_write(v, 0, TDI_REG_ADMIN_SQ + 2, 4, 0xffffffff);
	vmm_write(v, 0, TDI_REG_ADMIN_SQ + 4, 8, 0);
	vmm_write(v, 0, TDI_REG_CONFIG, 8, 1);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), 0x123456789abcdef0ULL);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 1), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_CONFIG, 8), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_VERSION, 8), 0);
	assert_int_equal(status(v), 0);
	/* Read-only, write-only and what there isn't. */
	vmm_write(v, 0, TDI_REG_SIGNATURE, 8, 0);
	vmm_write(v, 0, TDI_REG_OFFER, 8, ~0ULL);
	vmm_write(v, 0, TDI_REG_CAP, 8, ~0ULL);
	vmm_write(v, 0, TDI_REG_STATUS, 4, ~0u);
	assert_int_equal(vmm_read(v, 0, TDI_REG_SIGNATURE, 8), TDI_SIGNATURE);
	assert_int_equal(vmm_read(v, 0, TDI_REG_CAP, 8), cap);
	assert_int_equal(vmm_read(v, 0, TDI_REG_OFFER, 8), OFFER);
	for (offset = TDI_REG_ADMIN_TAIL; offset < 0x4000; offset += offset < 0x100 ? 4 : 0x3c) {
		if (offset == TDI_REG_RESET)
			continue;
		vmm_write(v, 0, offset, 4, 0xffffffff);
		assert_int_equal(vmm_read(v, 0, offset, 4), 0);
	}
	vmm_write(v, TDI_DOORBELL_BAR, 0, 4, 1);
	assert_int_equal(vmm_read(v, TDI_DOORBELL_BAR, 0, 4), 0);
	assert_int_equal(status(v), 0);

	/* While enabled nothing of the set-up changes. */
	assert_true(guest_enable(v, ALL, TDI_CFG_STRIDE(1)));
	cap = vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8);
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, 0);
	vmm_write(v, 0, TDI_REG_ADMIN_DEPTH, 4, 5);
	vmm_write(v, 0, TDI_REG_ADMIN_SQ, 8, 0);
	vmm_write(v, 0, TDI_REG_ADMIN_CQ, 8, 0);
	vmm_write(v, 0, TDI_REG_ADMIN_FIRST, 4, 0);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_STRIDE(3) | TDI_CFG_ENABLE);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ACCEPT, 8), ALL);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_DEPTH, 4), ADMIN_LOG2);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), cap);
	assert_int_not_equal(vmm_read(v, 0, TDI_REG_ADMIN_CQ, 8), 0);
	assert_int_not_equal(vmm_read(v, 0, TDI_REG_ADMIN_FIRST, 4), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_CONFIG, 4),
			 TDI_CFG_STRIDE(1) | TDI_CFG_ENABLE | TDI_CFG_FEATURES_OK);
}

/* [NEG-1, NEG-2, NEG-7], [REG-9, REG-10, REG-13, REG-14] */
static void test_bring_up(void **state)
{
	struct vmm *v = *state;
	static const struct {
		uint32_t depth, sq, cq, config;
	} wrong[] = {
		{ 2, 0, 0, TDI_CFG_FEATURES_OK },
		{ 13, 0, 0, TDI_CFG_FEATURES_OK },
		{ 3, 8, 0, TDI_CFG_FEATURES_OK },
		{ 3, 0, 2048, TDI_CFG_FEATURES_OK },
		{ 3, 0, 0, TDI_CFG_FEATURES_OK | TDI_CFG_STRIDE(5) },
		{ 3, 0, 0, 0 },
	};
	size_t i;

	assert_int_equal(vmm_read(v, 0, TDI_REG_OFFER, 8), OFFER);
	/* More than was offered isn't taken; less is. */
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, ALL | TDI_F_EXEC);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_FEATURES_OK);
	assert_int_equal(status(v), 0);
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, TDI_F_EVENT_QUEUES);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_FEATURES_OK);
	assert_int_equal(status(v), TDI_STS_FEATURES_OK);
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, ALL);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ACCEPT, 8), TDI_F_EVENT_QUEUES);

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
		assert_int_equal(status(v), 0);
		vmm_write(v, 0, TDI_REG_ACCEPT, 8, ALL);
		vmm_write(v, 0, TDI_REG_ADMIN_DEPTH, 4, wrong[i].depth);
		vmm_write(v, 0, TDI_REG_ADMIN_SQ, 8, RAM + wrong[i].sq);
		vmm_write(v, 0, TDI_REG_ADMIN_CQ, 8, RAM + wrong[i].cq);
		vmm_write(v, 0, TDI_REG_CONFIG, 4, wrong[i].config);
		vmm_write(v, 0, TDI_REG_CONFIG, 4, wrong[i].config | TDI_CFG_ENABLE);
		assert_true(status(v) & TDI_STS_FATAL);
		assert_false(status(v) & TDI_STS_READY);
		/* Nothing but the magic value helps. */
		vmm_write(v, 0, TDI_REG_RESET, 4, 1);
		assert_true(status(v) & TDI_STS_FATAL);
	}
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	assert_int_equal(status(v), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ACCEPT, 8), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_CONFIG, 4), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_OFFER, 8), OFFER);
	assert_true(guest_enable(v, ALL, 0));
}

/* ------------------------------------------------------------------------------ admin queue */

/* [ADM-1, ADM-2, ADM-6], [REG-20], [NEG-4] */
static void test_admin(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };
	struct tdi_identify *page;
	unsigned int i, j;
	uint64_t at;

	assert_true(guest_enable(v, ALL, 0));
	at = guest_alloc(v, sizeof(*page));
	page = guest_at(v, at);
	sqe.command = 0xbeef;
	sqe.data.address = at;
	sqe.data.bytes = sizeof(*page);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(v->cqe.command, 0xbeef);
	assert_int_equal(vmm_interrupts(v, 0, SOON), 1);
	assert_int_equal(page->features, ALL);
	assert_int_equal(page->max_queues, 1024);
	assert_true(page->max_eqs > 0);

	/* More laps than one, in batches of up to a whole ring. */
	for (i = 0; i < 40; i++) {
		uint32_t count = i % (1u << ADMIN_LOG2) + 1;

		for (j = 0; j < count; j++) {
			struct tdi_admin_sqe alive = {
				.opcode = TDI_ADMIN_KEEP_ALIVE,
				.command = (__u16)(100 + j),
			};

			guest_admin_post(v, &alive);
		}
		vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
		assert_int_equal(guest_admin_wait(v), TDI_AS_OK);
		assert_int_equal(v->cqe.command, 100 + count - 1);
	}
	/* A tail that can't be. */
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail + 1000);
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail - 1);
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_KEEP_ALIVE };
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);

	/* Memory that isn't: refused, and told to the IOMMU. */
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_IDENTIFY };
	sqe.data.address = 0xdead0000;
	sqe.data.bytes = 512;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_ADDRESS);
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked(v, 0xdead0000));
}

/* What isn't accepted is inert. [NEG-3, NEG-6] */
static void test_inert(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_EQ_CREATE };
	struct tdi_sqe tensor = { .opcode = TDI_OP_TENSOR };
	struct tdi_identify *page;
	struct queue q;
	uint64_t at;

	assert_true(guest_enable(v, 0, 0));
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OPCODE);
	sqe.opcode = TDI_ADMIN_EQ_DESTROY;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OPCODE);
	at = guest_alloc(v, sizeof(*page));
	page = guest_at(v, at);
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_IDENTIFY };
	sqe.data.address = at;
	sqe.data.bytes = sizeof(*page);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(page->features, 0);
	assert_int_equal(page->tensor_ops, 0);
	assert_int_equal(page->max_eqs, 0);
	assert_false(page->opcodes[0] >> TDI_OP_TENSOR & 1);

	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	sqe.opcode = TDI_ADMIN_CONTEXT_CREATE;
	sqe.context.group_generation = 1;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 0, 2, 1, 0), TDI_AS_RESERVED);
	assert_int_equal(guest_queue(v, &q, 0, 2, 0, 1), TDI_AS_RESERVED);
	assert_int_equal(guest_queue(v, &q, 0, 2, 0, 0), TDI_AS_OK);
	q.producer->wanted = q.first + 1;
	guest_submit(&q, &tensor);
	assert_int_equal(guest_result(&q, q.first), TDI_SC_OPCODE);
}

/* [ADM-32, ADM-33], and [EVQ-8]: an event queue never promises more entries than it has. */
static void test_eq_limits(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };
	struct tdi_admin_sqe create = { .opcode = TDI_ADMIN_EQ_CREATE };
	struct eq eq, one;
	struct queue q[3];

	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	sqe.opcode = TDI_ADMIN_CONTEXT_CREATE;
	sqe.context.group_generation = 1;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_STATE);	/* no event queue 0 */
	create.eq.depth_log2 = 16;
	assert_int_equal(guest_admin(v, &create), TDI_AS_FIELD);
	assert_int_equal(v->cqe.info, offsetof(struct tdi_admin_sqe, eq.depth_log2));
	create.eq.depth_log2 = 3;
	create.eq.address = RAM + 16;
	assert_int_equal(guest_admin(v, &create), TDI_AS_FIELD);
	create.eq.address = RAM;
	create.eq.vector = 32;
	assert_int_equal(guest_admin(v, &create), TDI_AS_FIELD);
	create.eq.vector = 0;
	create.eq.eq = 64;
	assert_int_equal(guest_admin(v, &create), TDI_AS_ID);
	create.eq.eq = 0;
	create.eq.address = 0xdead0000;
	assert_int_equal(guest_admin(v, &create), TDI_AS_ADDRESS);
	assert_int_equal(guest_eq(v, &eq, 0, 0, 1, 0), TDI_AS_LIMIT);

	assert_int_equal(guest_eq(v, &eq, 0, 1, 1, 0), TDI_AS_OK);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_LIMIT);	/* 2 for the controller, none left */
	create = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_EQ_DESTROY };
	assert_int_equal(guest_admin(v, &create), TDI_AS_OK);
	assert_int_equal(guest_admin(v, &create), TDI_AS_ID);
	assert_int_equal(guest_eq(v, &eq, 0, 3, 1, 0), TDI_AS_OK);
	assert_int_equal(guest_eq(v, &eq, 0, 3, 1, 0), TDI_AS_EXISTS);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(guest_admin(v, &create), TDI_AS_BUSY);
	assert_int_equal(guest_eq(v, &one, 1, 1, 2, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q[0], 0, 2, 2, 0), TDI_AS_ID);
	assert_int_equal(guest_queue(v, &q[0], 0, 2, 1, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q[1], 1, 2, 1, 0), TDI_AS_LIMIT);
	assert_int_equal(guest_queue(v, &q[1], 1, 2, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q[2], 2, 2, 0, 0), TDI_AS_OK);
	create.eq.eq = 1;
	assert_int_equal(guest_admin(v, &create), TDI_AS_BUSY);

	/* An entry of a queue that is gone still takes its place, until it is consumed. */
	q[0].producer->wanted = q[0].first + 1;
	guest_submit(&q[0], &(struct tdi_sqe){ .opcode = TDI_OP_NOP });
	assert_int_equal(guest_event(&one, SOON, false).type, TDI_EVENT_DUE);
	assert_int_equal(guest_queue_end(&q[0]), TDI_AS_OK);
	assert_int_equal(guest_queue_create(&q[0], 2, 1, 0), TDI_AS_LIMIT);
	assert_int_equal(guest_event(&one, SOON, true).type, TDI_EVENT_DUE);
	q[0].first = q[0].tail;
	assert_int_equal(guest_queue_create(&q[0], 2, 1, 0), TDI_AS_OK);
}

/* ------------------------------------------------------------------------ queues and events */

/* A job, its data and its notice; a doorbell wakes a device that sleeps. [REG-15, REG-18], [QUE-19] */
static void test_job(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe copy = { .opcode = TDI_OP_COPY };
	struct tdi_sqe tensor = { .opcode = TDI_OP_TENSOR };
	struct tdi_event event;
	struct tdi_op *op;
	struct tdi_tensor *t;
	struct eq eq;
	struct queue q;
	uint64_t at;
	float *x;
	int i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, 1 << 20);
	assert_int_equal(guest_buffer(v, BUFFER, at, 1 << 20), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 5, 2, 0, 0), TDI_AS_OK);
	for (i = 0; i < 40; i++) {
		struct tdi_sqe sqe = fill(BUFFER, 4096, 0x1111111111111111ULL * (unsigned int)(i % 16));
		uint32_t index = q.tail;

		/* It sleeps: without the doorbell nothing would happen. */
		while (!tenon_load(&q.page->flags))
			usleep(100);
		q.producer->wanted = index + 1;
		guest_submit(&q, &sqe);
		assert_int_equal(guest_result(&q, index), TDI_SC_OK);
		assert_int_equal(*(uint64_t *)guest_at(v, at + 4088),
				 0x1111111111111111ULL * (unsigned int)(i % 16));
		assert_true(vmm_interrupts(v, 1, SOON) >= 1);
		event = guest_event(&eq, SOON, true);
		assert_int_equal(event.type, TDI_EVENT_DUE);
		assert_int_equal(event.id, 5);
		assert_int_equal(event.hint, index + 1);
	}
	copy.copy.dst = BUFFER;
	copy.copy.dst_offset = 8192;
	copy.copy.src = BUFFER;
	copy.copy.row_bytes = 4096;
	copy.copy.rows = 1;
	guest_submit(&q, &copy);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	assert_memory_equal(guest_at(v, at), guest_at(v, at + 8192), 4096);

	/* RELU of 4 numbers. */
	op = guest_at(v, at + 0x10000);
	t = (struct tdi_tensor *)(op + 1);
	x = guest_at(v, at);
	for (i = 0; i < 4; i++)
		x[i] = (float)i - 1.5f;
	op->op = TDI_TENSOR_RELU;
	op->inputs = 1;
	op->outputs = 1;
	t[0].buffer = BUFFER;
	t[0].dtype = TDI_F32;
	t[0].rank = 1;
	t[0].shape[0] = 4;
	t[0].stride[0] = 4;
	t[1] = t[0];
	t[1].offset = 4096;
	tensor.tensor.buffer = BUFFER;
	tensor.tensor.bytes = TDI_OP_BYTES(2);
	tensor.tensor.offset = 0x10000;
	guest_submit(&q, &tensor);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	x = guest_at(v, at + 4096);
	assert_true(x[0] == 0 && x[1] == 0 && x[2] == 0.5f && x[3] == 1.5f);

	/* Doorbells of queues that aren't, and values that lie, have no effect. */
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(6, 0), 4, 1);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(16383, 0), 4, 1);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(5, 0) + 4, 4, 1);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(5, 0), 4, q.tail + 77);
	guest_submit(&q, &(struct tdi_sqe){ .opcode = TDI_OP_NOP });
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	assert_int_equal(status(v), TDI_STS_READY | TDI_STS_FEATURES_OK);
}

static void submit_noticed(struct queue *q)
{
	q->producer->wanted = q->tail + 1;
	guest_submit(q, &(struct tdi_sqe){ .opcode = TDI_OP_NOP });
	assert_int_equal(guest_result(q, q->tail - 1), TDI_SC_OK);
}

/* IDLE, OUTSTANDING, DUE. [EVQ-1] to [EVQ-4], [EVQ-9, EVQ-10, EVQ-12] */
static void test_states(void **state)
{
	struct vmm *v = *state;
	struct tdi_event event;
	struct eq eq;
	struct queue q;
	unsigned int i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	submit_noticed(&q);
	assert_int_equal(vmm_interrupts(v, 1, SOON), 1);
	event = guest_event(&eq, SOON, false);
	assert_int_equal(event.type, TDI_EVENT_DUE);
	assert_int_equal(event.sequence, eq.head + 1);
	/* Not acknowledged: however many are due, there is no second entry. */
	for (i = 0; i < 20; i++)
		submit_noticed(&q);
	assert_int_equal(vmm_interrupts(v, 1, QUIET), 0);
	assert_int_equal(eq.ring[(eq.head + 1) & (eq.depth - 1)].sequence, eq.head + 2 - eq.depth);
	/* A head that can't be has no effect. */
	vmm_write(v, 0, TDI_REG_EQ_HEAD(0), 4, eq.head + 2);
	vmm_write(v, 0, TDI_REG_EQ_HEAD(0), 4, eq.head - 1);
	vmm_write(v, 0, TDI_REG_EQ_HEAD(9), 4, eq.head + 1);
	assert_int_equal(vmm_interrupts(v, 1, QUIET), 0);
	/* Acknowledged: the one that became due is written at once. */
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	assert_int_equal(vmm_interrupts(v, 1, SOON), 1);
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.type, TDI_EVENT_DUE);
	assert_int_equal(event.hint, q.tail);
	/* And then it is idle. */
	assert_int_equal(guest_event(&eq, QUIET, false).type, TDI_EVENT_NONE);
	/* Destroyed with an entry under way and one due; the next holder of the id begins idle. */
	submit_noticed(&q);
	submit_noticed(&q);
	assert_int_equal(guest_queue_end(&q), TDI_AS_OK);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	assert_int_equal(guest_event(&eq, QUIET, false).type, TDI_EVENT_NONE);
	q.first = q.tail;
	assert_int_equal(guest_queue_create(&q, 3, 0, 0), TDI_AS_OK);
	/* Many laps of the event queue. */
	for (i = 0; i < 200; i++) {
		submit_noticed(&q);
		event = guest_event(&eq, SOON, true);
		assert_int_equal(event.type, TDI_EVENT_DUE);
		assert_int_equal(event.id, 1);
	}
}

/*
 * The host acknowledges one entry, looks again, and only then, while its store is still under way, the second
 * is written: nobody has been told of that, so an interrupt must come with the store. [EVQ-9]
 */
static void test_late_entry(void **state)
{
	struct vmm *v = *state;
	struct tdi_event event;
	struct queue q, r;
	struct eq eq;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &r, 2, 3, 0, 0), TDI_AS_OK);
	submit_noticed(&q);
	assert_int_equal(guest_event(&eq, SOON, false).id, 1);
	submit_noticed(&r);
	/* After an answered call of the same queue the second entry is there, too. */
	submit_noticed(&r);
	assert_true(vmm_interrupts(v, 1, SOON) >= 1);
	vmm_interrupts(v, 1, QUIET);
	assert_int_equal(guest_event(&eq, SOON, true).id, 1);
	assert_int_equal(vmm_interrupts(v, 1, SOON), 1);
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.type, TDI_EVENT_DUE);
	assert_int_equal(event.id, 2);
}

/* Whoever is told finds what he is told of. [REG-20], [EVQ-1, EVQ-9, EVQ-10] */
static void test_order(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe alive = { .opcode = TDI_ADMIN_KEEP_ALIVE };
	struct eq eq;
	struct queue q;
	int i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	/* The last one may come later than its CQE, but not than this answer. */
	status(v);
	assert_true(vmm_interrupts(v, 0, 0));
	for (i = 0; i < 20; i++) {
		const struct tdi_event *event = &eq.ring[eq.head & (eq.depth - 1)];
		const struct tdi_cqe *cqe = &q.cq[q.tail & (q.depth - 1)];

		/* The interrupt and then the CQE of an admin command. */
		guest_admin_post(v, &alive);
		vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
		assert_int_equal(vmm_interrupts(v, 0, SOON), 1);
		assert_int_equal(v->admin_cq[(v->admin_tail - 1) & ((1u << ADMIN_LOG2) - 1)].sequence,
				 v->admin_tail);
		/* The interrupt, then the entry, and then the CQE of a command. */
		q.producer->wanted = q.tail + 1;
		guest_submit(&q, &(struct tdi_sqe){ .opcode = TDI_OP_NOP });
		assert_int_equal(vmm_interrupts(v, 1, SOON), 1);
		assert_int_equal(tenon_load_acquire(&event->sequence), eq.head + 1);
		assert_int_equal(tenon_load_acquire(&cqe->sequence), q.tail);
		assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	}
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A moderated notice comes late, and it comes. [EVQ-5], [WAI-11] */
static void test_moderation(void **state)
{
	struct vmm *v = *state;
	const uint32_t least = 50000000;
	struct eq eq, one;
	struct queue q, r;
	uint64_t before;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	assert_int_equal(guest_eq(v, &one, 1, 4, 2, least), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, least), TDI_AS_OK);	/* by the queue */
	assert_int_equal(guest_queue(v, &r, 2, 3, 1, 0), TDI_AS_OK);		/* by the event queue */

	before = clock_ns();
	submit_noticed(&q);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	submit_noticed(&q);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	assert_true(clock_ns() - before >= least);
	before = clock_ns();
	submit_noticed(&r);
	assert_int_equal(guest_event(&one, SOON, true).type, TDI_EVENT_DUE);
	submit_noticed(&r);
	assert_int_equal(guest_event(&one, SOON, true).type, TDI_EVENT_DUE);
	assert_true(clock_ns() - before >= least);
	/* One that is delayed when its queue goes isn't written any more. */
	submit_noticed(&r);
	assert_int_equal(guest_queue_end(&r), TDI_AS_OK);
	assert_int_equal(guest_event(&one, 100, false).type, TDI_EVENT_NONE);
}

/* STOPPED goes to the queue's event queue, FAULT to 0, once. [EVQ-6, EVQ-7], [ERR-24] */
static void test_events(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe sqe = fill(BUFFER, 8, 1);
	struct tdi_event event;
	struct eq eq, one;
	struct queue q;
	int i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	assert_int_equal(guest_eq(v, &one, 1, 4, 2, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 3, 2, 1, 0), TDI_AS_OK);
	/* Memory that isn't there: the command fails, the context is told of, the IOMMU sees the address. */
	assert_int_equal(guest_buffer(v, BUFFER, 0xbad000, 4096), TDI_AS_OK);
	for (i = 0; i < 3; i++) {
		guest_submit(&q, &sqe);
		assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_DEVICE);
	}
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked(v, 0xbad000));
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.type, TDI_EVENT_FAULT);
	assert_int_equal(event.id, 0);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_FAULT);
	assert_int_equal(guest_event(&eq, QUIET, false).type, TDI_EVENT_NONE);
	/* A tail that lies. */
	tenon_store_release(&q.producer->tail, q.tail + 5);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(3, 0), 4, 0);
	event = guest_event(&one, SOON, true);
	assert_int_equal(event.type, TDI_EVENT_STOPPED);
	assert_int_equal(event.id, 3);
}

/* Quiet: no event is written until RESUME, and none is lost. [ADM-31] */
static void test_quiesce(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe quiesce = { .opcode = TDI_ADMIN_QUIESCE };
	struct tdi_admin_sqe resume = { .opcode = TDI_ADMIN_RESUME };
	struct tdi_sqe wait = { .opcode = TDI_OP_WAIT };
	struct eq eq;
	struct queue q;
	uint32_t flags;
	uint64_t at;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, 4096);
	assert_int_equal(guest_buffer(v, BUFFER, at, 4096), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	/* A WAIT whose time passes meanwhile. */
	wait.wait.buffer = BUFFER;
	wait.wait.ref = 1;
	wait.wait.timeout_ns = 1000000;
	submit_noticed(&q);
	submit_noticed(&q);	/* outstanding and due */
	while (!tenon_load(&q.page->flags))
		usleep(100);
	assert_int_equal(guest_admin(v, &quiesce), TDI_AS_OK);
	assert_true(status(v) & TDI_STS_QUIESCED);
	flags = tenon_load(&q.page->flags);
	q.producer->wanted = q.tail + 1;
	guest_submit(&q, &wait);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	assert_int_equal(guest_event(&eq, QUIET, false).type, TDI_EVENT_NONE);
	assert_int_equal(tenon_load(&q.page->flags), flags);
	assert_int_equal(tenon_load(&q.page->fetched), q.tail - 1);
	assert_int_equal(guest_admin(v, &resume), TDI_AS_OK);
	assert_false(status(v) & TDI_STS_QUIESCED);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_TIMEOUT);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
}

/* --------------------------------------------------------------------------- guest memory */

/* Rings whose pages lie side by side for the device alone, as behind an IOMMU. [QUE-1], [EVQ-1] */
static void test_scattered(void **state)
{
	struct vmm *v = *state;
	const uint64_t window = 0x100000000ULL;
	const uint32_t pages = 8;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_CREATE, .generation = 1 };
	struct eq eq;
	struct queue q;
	uint64_t sq, cq;
	uint32_t i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	q = (struct queue){
		.v = v, .id = 1, .depth = 512, .first = TDI_FIRST_INDEX(512), .tail = TDI_FIRST_INDEX(512)};
	q.producer_at = guest_alloc(v, 4096);
	q.page_at = guest_alloc(v, 4096);
	q.producer = guest_at(v, q.producer_at);
	q.page = guest_at(v, q.page_at);
	/* Backwards, each page on its own; the SQ may only be read. */
	sq = guest_alloc(v, pages * 4096);
	cq = guest_alloc(v, 4 * 4096);
	for (i = 0; i < pages; i++)
		assert_int_equal(vmm_map(v, v->memfd, sq - RAM + (pages - 1 - i) * 4096, window + i * 4096,
					 4096, 1), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(vmm_map(v, v->memfd, cq - RAM + (3 - i) * 4096, window + (16 + i) * 4096,
					 4096, 3), 0);
	q.producer->tail = q.first;
	q.producer->wanted = q.first;
	q.producer->wanted_kernel = q.first;
	q.page->flags = TDI_NEED_DOORBELL;
	for (i = 0; i < 512; i++)
		((struct tdi_cqe *)guest_at(v, cq + (3 - i / 128) * 4096))[i % 128].sequence =
			q.first + i + 1 - 512;
	for (i = 0; i < 512; i++) {
		struct tdi_sqe *slot =
			&((struct tdi_sqe *)guest_at(v, sq + (pages - 1 - i / 64) * 4096))[i % 64];

		*slot = (struct tdi_sqe){ .opcode = TDI_OP_NOP, .user_data = i };
	}
	sqe.queue.queue = 1;
	sqe.queue.context_generation = 1;
	sqe.queue.first = q.first;
	sqe.queue.depth_log2 = 9;
	sqe.queue.producer = q.producer_at;
	sqe.queue.device = q.page_at;
	sqe.queue.sq = window;
	sqe.queue.cq = window + 4096;		/* read only, and no room */
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_ADDRESS);
	sqe.queue.cq = window + 17 * 4096;	/* ends too early */
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_ADDRESS);
	sqe.queue.cq = window + 16 * 4096;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	tenon_store_release(&q.producer->tail, q.first + 512);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(1, 0), 4, 0);
	for (i = 0; i < 512; i++) {
		const struct tdi_cqe *cqe =
			&((struct tdi_cqe *)guest_at(v, cq + (3 - i / 128) * 4096))[i % 128];
		int tries = 0;

		while (tenon_load_acquire(&cqe->sequence) != q.first + i + 1 && tries++ < 100000)
			usleep(100);
		assert_int_equal(cqe->sequence, q.first + i + 1);
		assert_int_equal(cqe->user_data, i);
		assert_int_equal(cqe->status, TDI_SC_OK);
	}
	/* The page of one CQE goes: the queue stops, and says so. [QUE-8] */
	assert_int_equal(vmm_unmap(v, window + 18 * 4096, 4096), 0);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_STOPPED);
	assert_int_equal(guest_queue_end(&q), TDI_AS_OK);
}

/* When the reply to DMA_UNMAP is there, no access happens any more, whatever runs. */
static void test_unmap_under_load(void **state)
{
	struct vmm *v = *state;
	const uint64_t window = 0x200000000ULL, bytes = 4 << 20;
	struct eq eq;
	struct queue q;
	uint8_t *data, *was = malloc(bytes);
	uint64_t at;
	int i, result;

	assert_non_null(was);
	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, bytes);
	data = guest_at(v, at);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_buffer(v, BUFFER, window, bytes), TDI_AS_OK);
	for (i = 0; i < 20; i++) {
		struct tdi_sqe sqe = fill(BUFFER, bytes, 0x0101010101010101ULL * (unsigned int)(i + 1));

		assert_int_equal(vmm_map(v, v->memfd, at - RAM, window, bytes, 3), 0);
		guest_submit(&q, &sqe);
		guest_submit(&q, &sqe);
		usleep((unsigned int)(i * 100));
		assert_int_equal(vmm_unmap(v, window, bytes), 0);
		memcpy(was, data, bytes);
		result = guest_result(&q, q.tail - 1);
		assert_true(result == TDI_SC_DEVICE || result == TDI_SC_OK);
		assert_memory_equal(was, data, bytes);
	}
	/* The queue's own memory is still there, and it works. */
	submit_noticed(&q);
	free(was);
}

/* Memory mapped for reading can be read and not written. */
static void test_read_only(void **state)
{
	struct vmm *v = *state;
	const uint64_t window = 0x300000000ULL;
	struct tdi_sqe copy = { .opcode = TDI_OP_COPY }, sqe;
	struct eq eq;
	struct queue q;
	uint64_t at;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, 8192);
	memset(guest_at(v, at), 0x77, 4096);
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, window, 4096, 1), 0);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_buffer(v, BUFFER, window, 4096), TDI_AS_OK);
	assert_int_equal(guest_buffer(v, TDI_BUFFER_ID(1, 1), at + 4096, 4096), TDI_AS_OK);
	copy.copy.dst = TDI_BUFFER_ID(1, 1);
	copy.copy.src = BUFFER;
	copy.copy.row_bytes = 4096;
	copy.copy.rows = 1;
	guest_submit(&q, &copy);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	assert_memory_equal(guest_at(v, at), guest_at(v, at + 4096), 4096);
	sqe = fill(BUFFER, 4096, 0);
	guest_submit(&q, &sqe);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_DEVICE);
	assert_memory_equal(guest_at(v, at), guest_at(v, at + 4096), 4096);
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked(v, window));
}

/* What lies beside a range in the VMM's memory isn't the guest's: no access changes it. [BUF-10] */
static void test_outside(void **state)
{
	struct vmm *v = *state;
	const uint64_t window = 0x300000000ULL;
	static const int beside[] = { -1, 2 };
	struct eq eq;
	struct queue q;
	uint64_t at;
	size_t i;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, 4 * TDI_PAGE_SIZE);
	memset(guest_at(v, at), 0x77, 4 * TDI_PAGE_SIZE);
	assert_int_equal(vmm_map(v, v->memfd, at - RAM + TDI_PAGE_SIZE, window, 2 * TDI_PAGE_SIZE, 3), 0);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	for (i = 0; i < 2; i++) {
		uint64_t address = window + (uint64_t)(int64_t)beside[i] * TDI_PAGE_SIZE;
		struct tdi_sqe sqe = fill(TDI_BUFFER_ID(i, 1), TDI_PAGE_SIZE, 0);
		const uint8_t *page = guest_at(v, at + (uint64_t)(beside[i] + 1) * TDI_PAGE_SIZE);

		assert_int_equal(guest_buffer(v, TDI_BUFFER_ID(i, 1), address, TDI_PAGE_SIZE), TDI_AS_OK);
		guest_submit(&q, &sqe);
		assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_DEVICE);
		assert_int_equal(page[0], 0x77);
		assert_memory_equal(page, page + 1, TDI_PAGE_SIZE - 1);
		vmm_listen(v, SOON, true);
		assert_true(vmm_asked(v, address));
	}
}

/* Without bus mastering no byte of memory changes, and nothing is lost. [REG-11] */
static void test_bus_master(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe alive = { .opcode = TDI_ADMIN_KEEP_ALIVE };
	struct eq eq;
	struct queue q;
	struct tdi_sqe sqe = fill(BUFFER, 1 << 20, 0x5a5a5a5a5a5a5a5aULL);
	uint8_t *was = malloc(RAM_BYTES);
	uint64_t at;
	int i;

	assert_non_null(was);
	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, &eq);
	at = guest_alloc(v, 1 << 20);
	assert_int_equal(guest_buffer(v, BUFFER, at, 1 << 20), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	for (i = 0; i < 10; i++) {
		guest_submit(&q, &sqe);
		guest_submit(&q, &sqe);
		usleep((unsigned int)(50 * i));
		guest_master(v, false);
		guest_submit(&q, &sqe);
		guest_admin_post(v, &alive);
		memcpy(was, v->ram, RAM_BYTES);
		vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(1, 0), 4, 0);
		vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
		vmm_interrupts(v, 0, 0);
		usleep(3000);
		assert_memory_equal(was, v->ram, RAM_BYTES);
		assert_int_equal(vmm_interrupts(v, 0, 0), 0);
		guest_master(v, true);
		assert_int_equal(guest_admin_wait(v), TDI_AS_OK);
		assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
		memset(guest_at(v, at), 0, 1 << 20);
	}
	free(was);
}

/* ----------------------------------------------------------------------------------- resets */

static void reset_by(struct vmm *v, int way)
{
	switch (way) {
	case 0:
		vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
		break;
	case 1:
		vmm_write(v, 0, TDI_REG_CONFIG, 4, 0);
		break;
	case 2:
		vmm_write(v, CONFIG, find_capability(v, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL, 2,
			  PCI_EXP_DEVCTL_BCR_FLR);
		break;
	case 3:
		assert_int_equal(vmm_call(v, DEVICE_RESET, NULL, 0, NULL, 0, NULL, 0), 0);
		break;
	default:
		/* With bus mastering off, as a host that fences off does it. */
		guest_master(v, false);
		vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
		break;
	}
}

/* What a reset loses is gone at once, under load. [REG-12, REG-13], [RST-1, RST-2, RST-12] */
static void test_reset(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe sqe = fill(BUFFER, 1 << 20, 0x3333333333333333ULL);
	uint8_t *was = malloc(RAM_BYTES);
	struct eq eq;
	struct queue q;
	uint64_t at;
	int way, i;

	assert_non_null(was);
	for (way = 0; way < 10; way++) {
		struct tdi_admin_sqe alive = { .opcode = TDI_ADMIN_KEEP_ALIVE };

		v->next = RAM;
		assert_true(guest_enable(v, ALL, 0));
		guest_objects(v, &eq);
		at = guest_alloc(v, 1 << 20);
		assert_int_equal(guest_buffer(v, BUFFER, at, 1 << 20), TDI_AS_OK);
		assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
		q.producer->wanted = q.first + 4;
		for (i = 0; i < 4; i++)
			guest_submit(&q, &sqe);
		for (i = 0; i < 7; i++)
			guest_admin_post(v, &alive);
		vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
		usleep((unsigned int)(way * 50));
		reset_by(v, way % 5);
		memcpy(was, v->ram, RAM_BYTES);
		assert_int_equal(status(v), 0);
		assert_int_equal(vmm_read(v, 0, TDI_REG_ACCEPT, 8), 0);
		assert_int_equal(vmm_read(v, 0, TDI_REG_CONFIG, 4), 0);
		assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), 0);
		vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(1, 0), 4, 0);
		usleep(3000);
		assert_memory_equal(was, v->ram, RAM_BYTES);
		if (way % 5 == 2 || way % 5 == 3)
			assert_int_equal(vmm_read(v, CONFIG, PCI_COMMAND, 2), 0);
		guest_master(v, true);
	}
	free(was);
}

/* The admin queue's memory goes: FATAL, until a reset. [REG-14] */
static void test_fatal(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe alive = { .opcode = TDI_ADMIN_KEEP_ALIVE };
	uint8_t *was = malloc(RAM_BYTES);

	assert_non_null(was);
	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(vmm_unmap(v, RAM, RAM_BYTES), 0);
	guest_admin_post(v, &alive);
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
	vmm_listen(v, 100, true);
	assert_true(status(v) & TDI_STS_FATAL);
	/* Not even when the memory is back. */
	memcpy(was, v->ram, RAM_BYTES);
	assert_int_equal(vmm_map(v, v->memfd, 0, RAM, RAM_BYTES, 3), 0);
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
	usleep(3000);
	assert_true(status(v) & TDI_STS_FATAL);
	assert_memory_equal(was, v->ram, RAM_BYTES);
	free(was);
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(guest_admin(v, &alive), TDI_AS_OK);
}

/* A VMM dies under load; the next one finds a fresh device, and memory of the first is not touched. */
static void test_reconnect(void **state)
{
	struct vmm *v = *state;
	int i;

	for (i = 0; i < 5; i++) {
		struct tdi_sqe sqe = fill(BUFFER, 1 << 20, 7);
		struct eq eq;
		struct queue q;
		uint64_t at;

		assert_true(guest_enable(v, ALL, 0));
		guest_objects(v, &eq);
		at = guest_alloc(v, 1 << 20);
		assert_int_equal(guest_buffer(v, BUFFER, at, 1 << 20), TDI_AS_OK);
		assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
		guest_submit(&q, &sqe);
		guest_submit(&q, &sqe);
		close(v->fd);
		vmm_connect(v);
		vmm_version(v);
		assert_int_equal(status(v), 0);
		assert_int_equal(vmm_read(v, CONFIG, PCI_COMMAND, 2), 0);
		assert_int_equal(vmm_map(v, v->memfd, 0, RAM, RAM_BYTES, 3), 0);
		v->next = RAM;
		guest_master(v, true);
	}
}

int main(int argc, char **argv)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(test_##name, setup, stop)
	const struct CMUnitTest tests[] = {
		T(hostile, bare), T(refused, mapped), T(function, mapped), T(msi, msi), T(registers, mapped),
		T(bring_up, mapped), T(admin, mapped), T(inert, mapped), T(eq_limits, mapped), T(job, mapped),
		T(states, mapped), T(order, mapped), T(late_entry, mapped), T(moderation, mapped),
		T(events, mapped), T(quiesce, mapped), T(scattered, mapped), T(unmap_under_load, mapped),
		T(read_only, mapped), T(outside, mapped), T(bus_master, mapped), T(reset, mapped),
		T(fatal, mapped), T(reconnect, mapped),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	/* One alone, also for tests/check-mutants. */
	if (argc > 1 || getenv("TEST"))
		cmocka_set_test_filter(argc > 1 ? argv[1] : getenv("TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
