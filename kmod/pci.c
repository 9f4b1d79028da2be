// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pci transport: devices that speak TDI over PCI Express, their registers, admin queue, event queue and
 * interrupt. Nothing else in the module knows a register.
 */
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iopoll.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/pci.h>

#include <linux/tdi.h>

#include "tenon.h"
#include "trace.h"

#define ADMIN_DEPTH_LOG2	6	/* slots fit in a u64 */
#define ADMIN_RESERVED		4	/* slots for what ends things [ADM-16] */
#define EVENTS_AT_ONCE		32

#define FEATURES_NEEDED	TDI_F_EVENT_QUEUES
#define FEATURES_WANTED	(TDI_F_TENSOR | TDI_F_FAIR | FEATURES_NEEDED)

/**
 * struct tenon_pci - a function
 * @pdev: while bound
 * @controller: with a reference
 * @regs: BAR0
 * @doorbells: BAR2
 * @doorbells_at: its address
 * @stride: log2 of the doorbell stride in units of 4 KiB
 * @cap: TDI_REG_CAP
 * @irq: vector 0, 0 until it is requested
 * @admin_sq: ring of 1 << @admin_log2 commands, as the next
 * @admin_cq: and their completions
 * @admin_sq_dma: address for the device
 * @admin_cq_dma: address for the device
 * @admin_log2: log2 of the depth
 * @admin_tail: index of the next command; like the next two under the controller's admin_lock
 * @admin_oldest: index of the oldest command without a completion
 * @admin_slot: who waits for the command in a slot
 * @eq: ring of 1 << @eq_log2 events; read by the interrupt's thread alone, once the queue is made
 * @eq_dma: address for the device
 * @eq_log2: log2 of the depth
 * @eq_head: index of the next event
 *
 * Lives from probe to remove. If the function can't be fenced off, the rings stay allocated for ever.
 */
struct tenon_pci {
	struct pci_dev *pdev;
	struct tenon_controller *controller;
	void __iomem *regs;
	void __iomem *doorbells;
	resource_size_t doorbells_at;
	unsigned int stride;
	u64 cap;
	int irq;
	struct tdi_admin_sqe *admin_sq;
	struct tdi_admin_cqe *admin_cq;
	dma_addr_t admin_sq_dma;
	dma_addr_t admin_cq_dma;
	unsigned int admin_log2;
	u32 admin_tail;
	u32 admin_oldest;
	struct tenon_request *admin_slot[1 << ADMIN_DEPTH_LOG2];
	struct tdi_event *eq;
	dma_addr_t eq_dma;
	unsigned int eq_log2;
	u32 eq_head;
};

/* --------------------------------------------------------------------------------- registers */

static u32 status(struct tenon_pci *t)
{
	return readl(t->regs + TDI_REG_STATUS);
}

/* Wait until STATUS has @bits and no others of @mask, for as long as the device said it may take. */
static int await_status(struct tenon_pci *t, u32 mask, u32 bits)
{
	u32 sts;
	int ret;

	ret = read_poll_timeout(status, sts, (sts & mask) == bits || sts == ~0u, 200,
				max(TDI_CAP_READY_MS(t->cap), 500ULL) * USEC_PER_MSEC, false, t);
	return sts == ~0u ? -ENODEV : ret;
}

static int reset(struct tenon_pci *t)
{
	writel(TDI_RESET_MAGIC, t->regs + TDI_REG_RESET);
	return await_status(t, ~0u, 0);
}

static int negotiate(struct tenon_pci *t, u64 *features)
{
	u64 offer = lo_hi_readq(t->regs + TDI_REG_OFFER);

	if ((offer & FEATURES_NEEDED) != FEATURES_NEEDED)
		return -EPROTO;
	*features = offer & FEATURES_WANTED;
	lo_hi_writeq(*features, t->regs + TDI_REG_ACCEPT);
	writel(TDI_CFG_FEATURES_OK, t->regs + TDI_REG_CONFIG);
	return status(t) & TDI_STS_FEATURES_OK ? 0 : -EPROTO;
}

/* The CQ looks as if the lap before had completed [QUE-4]. */
static void admin_init(struct tenon_pci *t)
{
	u32 n = 1 << t->admin_log2, first = TDI_FIRST_INDEX(n), j;

	memset(t->admin_sq, 0, n * sizeof(*t->admin_sq));
	memset(t->admin_cq, 0, n * sizeof(*t->admin_cq));
	for (j = 0; j < n; j++)
		t->admin_cq[(first + j) & (n - 1)].sequence = cpu_to_le32(first + j + 1 - n);
	t->admin_tail = first;
	t->admin_oldest = first;
}

static int pci_enable(struct tenon_controller *c, u64 *features)
{
	struct tenon_pci *t = c->transport;
	int ret;

	if (status(t)) {
		ret = reset(t);
		if (ret)
			return ret;
	}
	ret = negotiate(t, features);
	if (ret)
		return ret;
	admin_init(t);
	pci_set_master(t->pdev);
	writel(t->admin_log2, t->regs + TDI_REG_ADMIN_DEPTH);
	lo_hi_writeq(t->admin_sq_dma, t->regs + TDI_REG_ADMIN_SQ);
	lo_hi_writeq(t->admin_cq_dma, t->regs + TDI_REG_ADMIN_CQ);
	writel(t->admin_tail, t->regs + TDI_REG_ADMIN_FIRST);
	writel(TDI_CFG_STRIDE(t->stride) | TDI_CFG_FEATURES_OK, t->regs + TDI_REG_CONFIG);
	writel(TDI_CFG_STRIDE(t->stride) | TDI_CFG_FEATURES_OK | TDI_CFG_ENABLE, t->regs + TDI_REG_CONFIG);
	ret = await_status(t, TDI_STS_READY, TDI_STS_READY);
	if (ret)
		return ret;
	c->max_queues = min_t(u64, U32_MAX, pci_resource_len(t->pdev, TDI_DOORBELL_BAR) >>
			      (TDI_PAGE_SHIFT + t->stride));
	return 0;
}

static int pci_alive(struct tenon_controller *c)
{
	u32 sts = status(c->transport);

	if (sts == ~0u)
		return -ENODEV;
	return (sts & TDI_STS_READY) && !(sts & TDI_STS_FATAL) ? 0 : -EIO;
}

static void pci_flush(struct tenon_controller *c)
{
	status(c->transport);
}

/*
 * Bus mastering off, then a reset that is seen to have ended: of the controller, or if that can't be had of
 * the function. A function that was pulled out has no way to memory any more. [EOA-6]
 */
static int pci_fence_off(struct tenon_controller *c)
{
	struct tenon_pci *t = c->transport;
	struct pci_dev *pdev = t->pdev;
	u16 command;
	int ret;

	if (pdev->error_state == pci_channel_io_perm_failure)
		return 0;
	pci_clear_master(pdev);
	pci_read_config_word(pdev, PCI_COMMAND, &command);
	if (PCI_POSSIBLE_ERROR(command) || (command & PCI_COMMAND_MASTER))
		return -ENODEV;
	ret = reset(t);
	if (ret && ret != -ENODEV) {
		pci_save_state(pdev);
		ret = pcie_reset_flr(pdev, PCI_RESET_DO_RESET);
		pci_restore_state(pdev);
		if (!ret)
			ret = status(t) ? -EIO : 0;
	}
	return ret;
}

/* ---------------------------------------------------------------------------------- doorbells */

static unsigned int doorbell_page_shift = PAGE_SHIFT;
module_param(doorbell_page_shift, uint, 0444);
MODULE_PARM_DESC(doorbell_page_shift, "log2 of the page size assumed for doorbells (for tests)");

static unsigned int host_page_shift(void)
{
	return clamp_t(unsigned int, doorbell_page_shift, PAGE_SHIFT, 31);
}

static void pci_kick(struct tenon_controller *c, u32 queue, u32 tail)
{
	struct tenon_pci *t = c->transport;

	writel(tail, t->doorbells + TDI_DOORBELL(queue, t->stride));
}

static int pci_doorbell_pfn(struct tenon_controller *c, u32 queue, unsigned long *pfn)
{
	struct tenon_pci *t = c->transport;

	/* A page must not have the doorbells of two queues in it [REG-17]. */
	if (TDI_PAGE_SHIFT + t->stride < host_page_shift())
		return -EOPNOTSUPP;
	*pfn = PHYS_PFN(t->doorbells_at + TDI_DOORBELL(queue, t->stride));
	return 0;
}

/* -------------------------------------------------------------------------------- admin queue */

/* Commands that end something, and so help others out [ADM-15]. */
static bool admin_ends(u8 opcode)
{
	switch (opcode) {
	case TDI_ADMIN_ABORT:
	case TDI_ADMIN_QUEUE_RESET:
	case TDI_ADMIN_CONTEXT_RESET:
	case TDI_ADMIN_EQ_DESTROY:
	case TDI_ADMIN_GROUP_DESTROY:
	case TDI_ADMIN_CONTEXT_DESTROY:
	case TDI_ADMIN_QUEUE_DESTROY:
	case TDI_ADMIN_BUFFER_UNMAP:
		return true;
	default:
		return false;
	}
}

static int pci_admin_submit(struct tenon_controller *c, struct tenon_request *rq)
{
	struct tenon_pci *t = c->transport;
	u32 n = 1 << t->admin_log2, slot = t->admin_tail & (n - 1);

	if (t->admin_tail - t->admin_oldest >= (admin_ends(rq->sqe.opcode) ? n : n - ADMIN_RESERVED))
		return -EAGAIN;
	rq->sqe.command = cpu_to_le16((u16)t->admin_tail);
	t->admin_sq[slot] = rq->sqe;
	t->admin_slot[slot] = rq;
	t->admin_tail++;
	writel(t->admin_tail, t->regs + TDI_REG_ADMIN_TAIL);
	return 0;
}

static void pci_admin_cancel(struct tenon_controller *c, int error)
{
	struct tenon_pci *t = c->transport;
	unsigned int slot;

	for (slot = 0; slot < ARRAY_SIZE(t->admin_slot); slot++) {
		if (t->admin_slot[slot])
			tenon_admin_complete(t->admin_slot[slot], error);
		t->admin_slot[slot] = NULL;
	}
}

/* Take the answers that are there: a bit for each slot. */
static u64 admin_collect(struct tenon_pci *t)
{
	u32 n = 1 << t->admin_log2, i;
	u64 done = 0;

	for (i = t->admin_oldest; i != t->admin_tail; i++) {
		const struct tdi_admin_cqe *cqe = &t->admin_cq[i & (n - 1)];
		struct tenon_request *rq = t->admin_slot[i & (n - 1)];

		if (!rq || le32_to_cpu(READ_ONCE(cqe->sequence)) != i + 1)
			continue;
		dma_rmb();
		rq->cqe = *cqe;
		done |= BIT_ULL(i & (n - 1));
	}
	return done;
}

/* Hand them out. False: one of them can't be an answer to what was asked. */
static bool admin_finish(struct tenon_pci *t, u64 done)
{
	u32 n = 1 << t->admin_log2, slot;
	bool good = true;

	for (slot = 0; slot < n; slot++) {
		struct tenon_request *rq = t->admin_slot[slot];

		if (!(done & BIT_ULL(slot)) || !rq)
			continue;
		if (rq->cqe.command != rq->sqe.command) {
			good = false;
			continue;
		}
		t->admin_slot[slot] = NULL;
		tenon_admin_complete(rq, 0);
	}
	while (t->admin_oldest != t->admin_tail && !t->admin_slot[t->admin_oldest & (n - 1)])
		t->admin_oldest++;
	return good;
}

/* -------------------------------------------------------------------------------- event queue */

/* The entries that are there, acknowledged before anything is looked at because of them [EVQ-11]. */
static unsigned int eq_take(struct tenon_pci *t, struct tdi_event *events)
{
	u32 mask = (1 << t->eq_log2) - 1;
	unsigned int count;

	for (count = 0; count < EVENTS_AT_ONCE; count++) {
		const struct tdi_event *event = &t->eq[t->eq_head & mask];

		if (le32_to_cpu(READ_ONCE(event->sequence)) != t->eq_head + 1)
			break;
		dma_rmb();
		events[count] = *event;
		t->eq_head++;
	}
	if (count)
		writel(t->eq_head, t->regs + TDI_REG_EQ_HEAD(0));
	return count;
}

static void eq_drain(struct tenon_pci *t)
{
	struct tdi_event events[EVENTS_AT_ONCE];
	unsigned int count, i;

	/* Pairs with eq_alloc(). */
	if (!smp_load_acquire(&t->eq))
		return;
	do {
		count = eq_take(t, events);
		for (i = 0; i < count; i++)
			tenon_controller_event(t->controller, &events[i]);
		cond_resched();
	} while (count);
}

static irqreturn_t pci_thread(int irq, void *data)
{
	struct tenon_pci *t = data;
	struct tenon_controller *c = t->controller;
	unsigned long flags;
	bool good;
	u64 done;

	spin_lock_irqsave(&c->admin_lock, flags);
	done = admin_collect(t);
	spin_unlock_irqrestore(&c->admin_lock, flags);

	/* Who waits for a QUEUE_DESTROY may use the id again, so its events go first [EVQ-12]. */
	eq_drain(t);

	spin_lock_irqsave(&c->admin_lock, flags);
	good = admin_finish(t, done);
	spin_unlock_irqrestore(&c->admin_lock, flags);
	if (!good)
		tenon_controller_reset(c, "an admin completion names another command");
	if (done)
		wake_up_all(&c->admin_room);
	return IRQ_HANDLED;
}

static size_t eq_bytes(struct tenon_pci *t)
{
	return max_t(size_t, PAGE_SIZE, sizeof(*t->eq) << t->eq_log2);
}

static void pci_poll(struct tenon_controller *c)
{
	struct tenon_pci *t = c->transport;

	irq_wake_thread(t->irq, t);
}

/* The ring is made once; its interrupt thread reads it from here on. */
static int eq_alloc(struct tenon_pci *t, u32 entries)
{
	struct tdi_event *eq;

	t->eq_log2 = order_base_2(entries);
	if (t->eq_log2 > TDI_DEPTH_LOG2_MAX)
		return -ENOSPC;
	eq = dma_alloc_coherent(&t->pdev->dev, eq_bytes(t), &t->eq_dma, GFP_KERNEL);
	if (!eq)
		return -ENOMEM;
	/* Pairs with eq_drain(): the ring and its depth are there. */
	smp_store_release(&t->eq, eq);
	return 0;
}

static int pci_event_arm(struct tenon_controller *c, struct tenon_request *rq, u32 entries)
{
	struct tenon_pci *t = c->transport;
	u32 n, j;
	int ret;

	/* Nobody looks at it meanwhile. */
	disable_irq(t->irq);
	if (!t->eq) {
		ret = eq_alloc(t, entries);
		if (ret) {
			enable_irq(t->irq);
			return ret;
		}
	}
	n = 1 << t->eq_log2;
	t->eq_head = TDI_FIRST_INDEX(n);
	for (j = 0; j < n; j++)
		t->eq[(t->eq_head + j) & (n - 1)].sequence = cpu_to_le32(t->eq_head + j + 1 - n);
	enable_irq(t->irq);

	memset(&rq->sqe, 0, sizeof(rq->sqe));
	rq->sqe.opcode = TDI_ADMIN_EQ_CREATE;
	rq->sqe.eq.depth_log2 = cpu_to_le32(t->eq_log2);
	rq->sqe.eq.address = cpu_to_le64(t->eq_dma);
	return tenon_admin(c, rq);
}

static const struct tenon_transport_ops pci_ops = {
	.enable = pci_enable,
	.event_arm = pci_event_arm,
	.admin_submit = pci_admin_submit,
	.admin_cancel = pci_admin_cancel,
	.kick = pci_kick,
	.doorbell_pfn = pci_doorbell_pfn,
	.flush = pci_flush,
	.alive = pci_alive,
	.poll = pci_poll,
	.fence_off = pci_fence_off,
};

/* ------------------------------------------------------------------------------------- probe */

static int pci_check(struct tenon_pci *t)
{
	struct pci_dev *pdev = t->pdev;
	struct device *dev = &pdev->dev;
	u64 signature;
	u32 version;

	/* Nothing may be written before this is right [REG-3]. The halves may be read one by one [REG-4]. */
	signature = lo_hi_readq(t->regs + TDI_REG_SIGNATURE);
	if (signature != TDI_SIGNATURE)
		return dev_err_probe(dev, -ENODEV, "not a TDI device: signature %#llx, not %#llx\n",
				     signature, TDI_SIGNATURE);
	version = readl(t->regs + TDI_REG_VERSION);
	if (version != TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR))
		return dev_err_probe(dev, -ENODEV, "speaks TDI %u.%u; this driver needs %u.%u\n",
				     version >> 16, version & 0xffff, TDI_VERSION_MAJOR, TDI_VERSION_MINOR);
	return 0;
}

/* The doorbell stride: the least that keeps doorbells of two queues in different pages, else the widest. */
static int pci_stride(struct tenon_pci *t)
{
	unsigned int least = host_page_shift() - TDI_PAGE_SHIFT;
	unsigned long strides = TDI_CAP_STRIDES(t->cap), wide;

	wide = strides >> least << least;
	if (!strides)
		return -EPROTO;
	t->stride = wide ? __ffs(wide) : __fls(strides);
	return 0;
}

static int pci_map(struct tenon_pci *t)
{
	struct pci_dev *pdev = t->pdev;
	struct device *dev = &pdev->dev;
	int ret;

	if (!(pci_resource_flags(pdev, 0) & IORESOURCE_MEM) || pci_resource_len(pdev, 0) < TDI_REG_EQ_HEAD(1))
		return dev_err_probe(dev, -ENODEV, "not a TDI device: BAR0 has no room for the registers\n");
	t->regs = pcim_iomap_region(pdev, 0, "tenon");
	if (IS_ERR(t->regs))
		return dev_err_probe(dev, PTR_ERR(t->regs), "BAR0 can't be mapped\n");
	ret = pci_check(t);
	if (ret)
		return ret;
	t->cap = lo_hi_readq(t->regs + TDI_REG_CAP);
	ret = pci_stride(t);
	if (ret || !(pci_resource_flags(pdev, TDI_DOORBELL_BAR) & IORESOURCE_MEM))
		return dev_err_probe(dev, -ENODEV, "has no doorbells\n");
	t->doorbells = pcim_iomap_region(pdev, TDI_DOORBELL_BAR, "tenon");
	if (IS_ERR(t->doorbells))
		return dev_err_probe(dev, PTR_ERR(t->doorbells), "BAR2 can't be mapped\n");
	t->doorbells_at = pci_resource_start(pdev, TDI_DOORBELL_BAR);
	return 0;
}

static int pci_dma(struct tenon_pci *t)
{
	struct device *dev = &t->pdev->dev;
	int ret;

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(TDI_CAP_DMA_BITS(t->cap)));
	if (ret)
		return dev_err_probe(dev, ret, "can't use %u-bit DMA addresses\n",
				     (unsigned int)TDI_CAP_DMA_BITS(t->cap));
	/* Tenants and device share memory, which a bounce buffer is not. */
	if (dma_max_mapping_size(dev) != SIZE_MAX)
		return dev_err_probe(dev, -EOPNOTSUPP, "memory would be copied for %u-bit DMA addresses\n",
				     (unsigned int)TDI_CAP_DMA_BITS(t->cap));
	dma_set_max_seg_size(dev, UINT_MAX);
	dma_set_seg_boundary(dev, ULONG_MAX);
	t->admin_log2 = min_t(unsigned int, ADMIN_DEPTH_LOG2, TDI_CAP_ADMIN_DEPTH(t->cap));
	if (t->admin_log2 < 3)
		return dev_err_probe(dev, -EPROTO, "has no room for an admin queue\n");
	t->admin_sq = dma_alloc_coherent(dev, PAGE_SIZE, &t->admin_sq_dma, GFP_KERNEL);
	if (!t->admin_sq)
		return -ENOMEM;
	t->admin_cq = dma_alloc_coherent(dev, PAGE_SIZE, &t->admin_cq_dma, GFP_KERNEL);
	return t->admin_cq ? 0 : -ENOMEM;
}

static void pci_free(struct tenon_pci *t)
{
	struct device *dev = &t->pdev->dev;

	if (t->eq)
		dma_free_coherent(dev, eq_bytes(t), t->eq, t->eq_dma);
	if (t->admin_cq)
		dma_free_coherent(dev, PAGE_SIZE, t->admin_cq, t->admin_cq_dma);
	if (t->admin_sq)
		dma_free_coherent(dev, PAGE_SIZE, t->admin_sq, t->admin_sq_dma);
}

static int tenon_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *dev = &pdev->dev;
	struct tenon_pci *t;
	bool proven;
	int ret;

	BUILD_BUG_ON(sizeof(*t->admin_sq) << ADMIN_DEPTH_LOG2 > PAGE_SIZE);
	t = devm_kzalloc(dev, sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	t->pdev = pdev;
	ret = pcim_enable_device(pdev);
	if (ret)
		return dev_err_probe(dev, ret, "can't be enabled\n");
	ret = pci_map(t);
	if (ret)
		return ret;
	ret = pci_dma(t);
	if (ret)
		goto free_dma;
	t->controller = tenon_controller_create(dev, &pci_ops, t);
	if (!t->controller) {
		ret = -ENOMEM;
		goto free_dma;
	}
	t->controller->admin_ms = max(TDI_CAP_ADMIN_MS(t->cap), 500ULL);
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX | PCI_IRQ_MSI);
	if (ret < 0) {
		dev_err_probe(dev, ret, "has no interrupt\n");
		goto remove_controller;
	}
	ret = request_threaded_irq(pci_irq_vector(pdev, 0), NULL, pci_thread, IRQF_ONESHOT, "tenon", t);
	if (ret)
		goto remove_controller;
	t->irq = pci_irq_vector(pdev, 0);
	pci_set_drvdata(pdev, t);
	ret = tenon_controller_start(t->controller);
	if (!ret)
		return 0;

remove_controller:
	proven = tenon_controller_remove(t->controller);
	if (t->irq)
		free_irq(t->irq, t);
	tenon_controller_put(t->controller);
	if (!proven)
		return ret;
free_dma:
	pci_free(t);
	return ret;
}

static void tenon_pci_remove(struct pci_dev *pdev)
{
	struct tenon_pci *t = pci_get_drvdata(pdev);
	bool proven;

	proven = tenon_controller_remove(t->controller);
	free_irq(t->irq, t);
	tenon_controller_put(t->controller);
	if (proven)
		pci_free(t);
}

static void tenon_pci_shutdown(struct pci_dev *pdev)
{
	struct tenon_pci *t = pci_get_drvdata(pdev);

	tenon_controller_shutdown(t->controller);
}

/* Somebody resets the function, by sysfs for example: what is on it ends, then it starts anew. */
static void tenon_pci_reset_prepare(struct pci_dev *pdev)
{
	struct tenon_pci *t = pci_get_drvdata(pdev);

	tenon_controller_reset_begin(t->controller);
}

static void tenon_pci_reset_done(struct pci_dev *pdev)
{
	struct tenon_pci *t = pci_get_drvdata(pdev);

	tenon_controller_reset_end(t->controller);
}

/* Totals of all its partitions are for root, as those of each are. */
static struct tenon_controller *to_controller(struct device *dev)
{
	struct tenon_pci *t = dev_get_drvdata(dev);

	return t->controller;
}

static ssize_t busy_ns_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return tenon_usage_show_busy(to_controller(dev), buf);
}
static DEVICE_ATTR_ADMIN_RO(busy_ns);

static ssize_t cut_ns_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return tenon_usage_show_cut(to_controller(dev), buf);
}
static DEVICE_ATTR_ADMIN_RO(cut_ns);

static ssize_t memory_bytes_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "%llu\n", le64_to_cpu(to_controller(dev)->identify.memory_bytes));
}
static DEVICE_ATTR_RO(memory_bytes);

static ssize_t units_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "%u\n", le16_to_cpu(to_controller(dev)->identify.units));
}
static DEVICE_ATTR_RO(units);

static ssize_t serial_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_controller(dev)->identify.serial);
}
static DEVICE_ATTR_RO(serial);

static ssize_t model_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_controller(dev)->identify.model);
}
static DEVICE_ATTR_RO(model);

static ssize_t health_show(struct device *dev, struct device_attribute *attribute, char *buf)
{
	return sysfs_emit(buf, "%s\n", tenon_controller_health(to_controller(dev)));
}
static DEVICE_ATTR_RO(health);

static struct attribute *controller_attrs[] = {
	&dev_attr_busy_ns.attr,
	&dev_attr_cut_ns.attr,
	&dev_attr_memory_bytes.attr,
	&dev_attr_units.attr,
	&dev_attr_serial.attr,
	&dev_attr_model.attr,
	&dev_attr_health.attr,
	NULL
};

static const struct attribute_group controller_group = {
	.name = "tenon",
	.attrs = controller_attrs,
};

/* There from the end of probe to the beginning of remove. */
static const struct attribute_group *controller_groups[] = {
	&controller_group,
	NULL
};

static const struct pci_error_handlers tenon_pci_errors = {
	.reset_prepare = tenon_pci_reset_prepare,
	.reset_done = tenon_pci_reset_done,
};

static const struct pci_device_id tenon_pci_ids[] = {
	{ PCI_DEVICE_CLASS(TDI_PCI_CLASS, ~0) },
	{ }
};
MODULE_DEVICE_TABLE(pci, tenon_pci_ids);

struct pci_driver tenon_pci_driver = {
	.name = "tenon",
	.id_table = tenon_pci_ids,
	.probe = tenon_pci_probe,
	.remove = tenon_pci_remove,
	.shutdown = tenon_pci_shutdown,
	.err_handler = &tenon_pci_errors,
	.dev_groups = controller_groups,
};
