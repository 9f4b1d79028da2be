# SPDX-License-Identifier: MIT
# Gives DEVICE to vfio-pci, in the IOMMU group GROUP.
for name in irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci; do
	[ -d "/sys/module/$(echo $name | tr - _)" ] || check "load $name" insmod /modules/vfio/$name.ko
done
echo vfio-pci > "/sys/bus/pci/devices/$DEVICE/driver_override"
check 'vfio-pci takes it' sh -c "echo $DEVICE > /sys/bus/pci/drivers/vfio-pci/bind"
GROUP=$(basename "$(readlink "/sys/bus/pci/devices/$DEVICE/iommu_group")")
