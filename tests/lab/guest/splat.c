// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module for the debug kernel that, when loaded, does one thing after the other that must be noticed. The
 * deadlock comes first and the use after free last: lockdep is off once there was a report of KASAN's.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);

/* Either order alone is fine; that both exist is the fault, so nothing hangs here. */
static void deadlock(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void sleep_in_atomic(void)
{
	spin_lock(&spin);
	might_sleep();
	spin_unlock(&spin);
}

static int dma(void)
{
	struct pci_dev *pci = pci_get_device(0x1234, 0x1111, NULL);
	dma_addr_t address;
	void *bytes;
	int ret = -ENOMEM;

	if (!pci)
		return -ENODEV;
	bytes = kmalloc(64, GFP_KERNEL);
	if (!bytes)
		goto out;
	address = dma_map_single(&pci->dev, bytes, 64, DMA_TO_DEVICE);
	if (dma_mapping_error(&pci->dev, address))
		goto out;
	dma_unmap_single(&pci->dev, address, 32, DMA_TO_DEVICE);
	ret = 0;
out:
	kfree(bytes);
	pci_dev_put(pci);
	return ret;
}

static int shift(void)
{
	int bits = 40;

	OPTIMIZER_HIDE_VAR(bits);
	return 1 << bits;
}

static int use_after_free(void)
{
	char *bytes = kmalloc(64, GFP_KERNEL);
	char *gone = bytes;

	if (!bytes)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(gone);
	kfree(bytes);
	return READ_ONCE(gone[7]) & 0;
}

static int __init splat_init(void)
{
	int ret;

	deadlock();
	sleep_in_atomic();
	ret = dma();
	if (ret)
		return ret;
	pr_info("splat: %d\n", shift());
	return use_after_free();
}
module_init(splat_init);

static void __exit splat_exit(void)
{
}
module_exit(splat_exit);

MODULE_DESCRIPTION("What a debug kernel must notice");
MODULE_LICENSE("GPL");
