// SPDX-License-Identifier: MIT
/*
 * drive msi|msix GROUP DEVICE: a driver in user mode, from reset to the end of access, as small as can be.
 * Asks for faults on the way and says on stdout what is wrong.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/tdi.h>
#include <linux/vfio.h>

#define BASE	0x10000000ULL		/* device address of our memory */
#define DATA	0x20000000ULL		/* and of the buffer, in a mapping of its own */
#define BYTES	(1u << 20)
#define PATIENCE_MS 20000
#define VECTORS	2

/* What lies where in our memory. */
enum {
	ADMIN_SQ = 0x0000, ADMIN_CQ = 0x1000, EQ = 0x2000, PRODUCER = 0x3000, SQ = 0x4000, PAGE = 0x5000,
	CQ = 0x6000,
};

#define LOG2	3
#define DEPTH	(1u << LOG2)
#define FIRST	TDI_FIRST_INDEX(DEPTH)

static int device, container;
static int irq[VECTORS];
static uint8_t *memory;
static uint32_t admin_tail = FIRST;

static void need(bool good, const char *what)
{
	if (good)
		return;
	printf("# drive: %s\n", what);
	exit(1);
}

#define NEED(condition) need(condition, #condition)

static uint64_t offset_of(uint32_t region)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = region };

	NEED(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info.offset;
}

static void poke(uint32_t region, uint64_t at, uint64_t value, size_t bytes)
{
	NEED(pwrite(device, &value, bytes, offset_of(region) + at) == (ssize_t)bytes);
}

static uint32_t peek(uint64_t at)
{
	uint32_t value;

	NEED(pread(device, &value, 4, offset_of(0) + at) == 4);
	return value;
}

/* Wait until the word at @offset is @value. */
static bool becomes(uint32_t offset, uint32_t value)
{
	int i;

	for (i = 0; i < PATIENCE_MS; i++) {
		if (__atomic_load_n((uint32_t *)(memory + offset), __ATOMIC_ACQUIRE) == value)
			return true;
		usleep(1000);
	}
	return false;
}

static bool interrupted(int vector)
{
	struct pollfd wait = { .fd = irq[vector], .events = POLLIN };
	uint64_t count;

	return poll(&wait, 1, PATIENCE_MS) == 1 && read(irq[vector], &count, sizeof(count)) == sizeof(count);
}

static int admin(const struct tdi_admin_sqe *sqe)
{
	uint32_t slot = admin_tail % DEPTH;
	const struct tdi_admin_cqe *cqe = (const void *)(memory + ADMIN_CQ + slot * sizeof(*cqe));

	memcpy(memory + ADMIN_SQ + slot * sizeof(*sqe), sqe, sizeof(*sqe));
	poke(0, TDI_REG_ADMIN_TAIL, ++admin_tail, 4);
	NEED(becomes(ADMIN_CQ + slot * sizeof(*cqe) + offsetof(struct tdi_admin_cqe, sequence), admin_tail));
	NEED(interrupted(0));
	return cqe->status;
}

/* The host's answer to a request. */
static bool fault(const char *words)
{
	FILE *in = fopen("/dev/ttyS1", "r");
	char line[256];
	bool good = false;

	NEED(in);
	dprintf(1, "FAULT %s\n", words);
	while (fgets(line, sizeof(line), in)) {
		good = !strncmp(line, "ok", 2);
		if (good || !strncmp(line, "error", 5))
			break;
	}
	fclose(in);
	return good;
}

static void map(uint64_t address, void *at, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)at, .iova = address, .size = bytes,
	};

	NEED(!ioctl(container, VFIO_IOMMU_MAP_DMA, &arg));
}

static void unmap(uint64_t address, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_unmap arg = { .argsz = sizeof(arg), .iova = address, .size = bytes };

	NEED(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &arg));
}

static void open_device(const char *number, const char *name)
{
	char path[64];
	int group;

	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	group = open(path, O_RDWR);
	container = open("/dev/vfio/vfio", O_RDWR);
	NEED(group >= 0 && container >= 0);
	NEED(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	NEED(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	NEED(device >= 0);
}

static void take_interrupts(uint32_t index)
{
	struct {
		struct vfio_irq_set set;
		int fd[VECTORS];
	} arg = {
		.set = { .argsz = sizeof(arg), .index = index, .count = VECTORS,
			 .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER },
	};
	int i;

	for (i = 0; i < VECTORS; i++)
		irq[i] = arg.fd[i] = eventfd(0, 0);
	NEED(!ioctl(device, VFIO_DEVICE_SET_IRQS, &arg));
}

static void bring_up(void)
{
	uint32_t i;
	int tries;

	for (i = 0; i < DEPTH; i++) {
		((struct tdi_admin_cqe *)(memory + ADMIN_CQ))[i].sequence = FIRST + i + 1 - DEPTH;
		((struct tdi_event *)(memory + EQ))[i].sequence = FIRST + i + 1 - DEPTH;
		((struct tdi_cqe *)(memory + CQ))[i].sequence = FIRST + i + 1 - DEPTH;
	}
	poke(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	poke(0, TDI_REG_RESET, TDI_RESET_MAGIC, 4);
	NEED(!peek(TDI_REG_STATUS));
	poke(0, TDI_REG_ACCEPT, TDI_F_EVENT_QUEUES, 8);
	poke(0, TDI_REG_CONFIG, TDI_CFG_FEATURES_OK, 4);
	poke(0, TDI_REG_ADMIN_DEPTH, LOG2, 4);
	poke(0, TDI_REG_ADMIN_SQ, BASE + ADMIN_SQ, 8);
	poke(0, TDI_REG_ADMIN_CQ, BASE + ADMIN_CQ, 8);
	poke(0, TDI_REG_ADMIN_FIRST, FIRST, 4);
	poke(0, TDI_REG_CONFIG, TDI_CFG_FEATURES_OK | TDI_CFG_ENABLE, 4);
	for (tries = 0; tries < 1000 && !(peek(TDI_REG_STATUS) & TDI_STS_READY); tries++)
		usleep(1000);
	NEED(peek(TDI_REG_STATUS) == (TDI_STS_READY | TDI_STS_FEATURES_OK));
}

static void make_objects(void)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };

	NEED(!admin(&sqe));
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_EQ_CREATE };
	sqe.eq.depth_log2 = LOG2;
	sqe.eq.address = BASE + EQ;
	sqe.eq.vector = 1;
	NEED(!admin(&sqe));
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_CONTEXT_CREATE, .generation = 1 };
	sqe.context.group_generation = 1;
	NEED(!admin(&sqe));
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_BUFFER_MAP };
	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(0, 1);
	sqe.buffer.flags = TDI_BUFFER_READ | TDI_BUFFER_WRITE | TDI_BUFFER_INLINE;
	sqe.buffer.length = 8192;
	sqe.buffer.address = DATA;
	sqe.buffer.shift = 13;
	NEED(!admin(&sqe));
	*(uint32_t *)(memory + PRODUCER) = FIRST;
	((struct tdi_producer_page *)(memory + PRODUCER))->wanted = FIRST;
	((struct tdi_producer_page *)(memory + PRODUCER))->wanted_kernel = FIRST + 1;
	((struct tdi_device_page *)(memory + PAGE))->fetched = FIRST;
	((struct tdi_device_page *)(memory + PAGE))->flags = TDI_NEED_DOORBELL;
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_QUEUE_CREATE, .generation = 1 };
	sqe.queue.context_generation = 1;
	sqe.queue.first = FIRST;
	sqe.queue.depth_log2 = LOG2;
	sqe.queue.producer = BASE + PRODUCER;
	sqe.queue.sq = BASE + SQ;
	sqe.queue.device = BASE + PAGE;
	sqe.queue.cq = BASE + CQ;
	NEED(!admin(&sqe));
}

/* The status of command @index: fill @bytes of the buffer, from its start. */
static int fill(uint32_t index, uint64_t bytes)
{
	struct tdi_sqe *sqe = (struct tdi_sqe *)(memory + SQ) + index % DEPTH;
	uint32_t cqe = CQ + index % DEPTH * (uint32_t)sizeof(struct tdi_cqe);

	*sqe = (struct tdi_sqe){ .opcode = TDI_OP_FILL };
	sqe->fill.dst = TDI_BUFFER_ID(0, 1);
	sqe->fill.width = 8;
	sqe->fill.bytes = bytes;
	sqe->fill.pattern = 0x1122334455667788;
	__atomic_store_n((uint32_t *)(memory + PRODUCER), index + 1, __ATOMIC_SEQ_CST);
	poke(TDI_DOORBELL_BAR, TDI_DOORBELL(0, 0), index + 1, 4);
	NEED(becomes(cqe + offsetof(struct tdi_cqe, sequence), index + 1));
	return ((struct tdi_cqe *)(memory + cqe))->status;
}

int main(int argc, char **argv)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_UNMAP };
	bool msi = argc > 1 && !strcmp(argv[1], "msi");
	uint8_t *data;

	NEED(argc == 4);
	open_device(argv[2], argv[3]);
	memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(memory != MAP_FAILED);
	data = memory + BYTES / 2;
	map(BASE, memory, BYTES / 2);
	map(DATA, data, 8192);
	take_interrupts(msi ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX);
	bring_up();
	make_objects();

	/* Through the IOMMU, with an event and its interrupt. */
	NEED(fill(FIRST, 8192) == TDI_SC_OK);
	NEED(*(uint64_t *)(data + 8184) == 0x1122334455667788);
	NEED(becomes(EQ + FIRST % DEPTH * sizeof(struct tdi_event) + offsetof(struct tdi_event, sequence),
		     FIRST + 1));
	NEED(((struct tdi_event *)(memory + EQ))[FIRST % DEPTH].type == TDI_EVENT_DUE);
	NEED(interrupted(1));
	poke(0, TDI_REG_EQ_HEAD(0), FIRST + 1, 4);

	/* A device that writes where nothing is; where something was; where it is told to, wrongly. */
	NEED(fault("dma write 0xdead000"));
	NEED(fault("after-unmap"));
	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(0, 1);
	NEED(!admin(&sqe));
	memset(data, 0, 8192);
	unmap(DATA, 8192);
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_BUFFER_MAP };
	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(0, 1);
	sqe.buffer.flags = TDI_BUFFER_WRITE | TDI_BUFFER_INLINE;
	sqe.buffer.length = 4096;
	sqe.buffer.address = DATA + 8192;
	sqe.buffer.shift = 12;
	NEED(!admin(&sqe));
	NEED(fill(FIRST + 1, 4096) == TDI_SC_DEVICE);
	NEED(!*(uint64_t *)data && !*(uint64_t *)(data + 4096));
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_KEEP_ALIVE };
	NEED(!admin(&sqe));

	/* The end of access: bus mastering off, reset, and only then the memory. */
	poke(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	poke(0, TDI_REG_RESET, TDI_RESET_MAGIC, 4);
	NEED(!peek(TDI_REG_STATUS));
	unmap(BASE, BYTES / 2);
	NEED(fault("gone"));
	NEED(peek(TDI_REG_STATUS) == 0xffffffff);
	NEED(fault("back"));
	NEED(!peek(TDI_REG_STATUS));
	return 0;
}
