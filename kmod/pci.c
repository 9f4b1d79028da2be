// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that speak TDI over PCI: finding them and letting go of them.
 */
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/pci.h>

#include <linux/tdi.h>

#include "tenon.h"

static int tenon_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *dev = &pdev->dev;
	struct tenon_device *tenon;
	void __iomem *regs;
	u64 signature;
	u32 version;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return dev_err_probe(dev, ret, "can't be enabled\n");
	if (!(pci_resource_flags(pdev, 0) & IORESOURCE_MEM) || pci_resource_len(pdev, 0) < TDI_REG_EQ_HEAD(1))
		return dev_err_probe(dev, -ENODEV, "not a TDI device: BAR0 has no room for the registers\n");
	regs = pcim_iomap_region(pdev, 0, "tenon");
	if (IS_ERR(regs))
		return dev_err_probe(dev, PTR_ERR(regs), "BAR0 can't be mapped\n");

	/* Nothing may be written before this is right [REG-3]. The halves may be read one by one [REG-4]. */
	signature = lo_hi_readq(regs + TDI_REG_SIGNATURE);
	if (signature != TDI_SIGNATURE)
		return dev_err_probe(dev, -ENODEV, "not a TDI device: signature %#llx, not %#llx\n",
				     signature, TDI_SIGNATURE);
	version = readl(regs + TDI_REG_VERSION);
	if (version != TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR))
		return dev_err_probe(dev, -ENODEV, "speaks TDI %u.%u; this driver needs %u.%u\n",
				     version >> 16, version & 0xffff, TDI_VERSION_MAJOR, TDI_VERSION_MINOR);

	tenon = devm_drm_dev_alloc(dev, &tenon_drm_driver, struct tenon_device, drm);
	if (IS_ERR(tenon))
		return PTR_ERR(tenon);
	tenon->tdi_version = version;
	pci_set_drvdata(pdev, tenon);
	return drm_dev_register(&tenon->drm, 0);
}

static void tenon_pci_remove(struct pci_dev *pdev)
{
	struct tenon_device *tenon = pci_get_drvdata(pdev);

	drm_dev_unplug(&tenon->drm);
}

static const struct pci_device_id tenon_pci_ids[] = {
	{ PCI_DEVICE_CLASS(TDI_PCI_CLASS, ~0) },
	{ }
};
MODULE_DEVICE_TABLE(pci, tenon_pci_ids);

static struct pci_driver tenon_pci_driver = {
	.name = "tenon",
	.id_table = tenon_pci_ids,
	.probe = tenon_pci_probe,
	.remove = tenon_pci_remove,
};
module_pci_driver(tenon_pci_driver);

MODULE_DESCRIPTION("Tenon: one interface to inference accelerators");
MODULE_LICENSE("GPL");
