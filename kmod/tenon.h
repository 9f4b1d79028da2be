/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share.
 */
#ifndef TENON_H
#define TENON_H

#include <drm/drm_device.h>
#include <drm/drm_drv.h>

/**
 * struct tenon_device - a device and its node
 * @drm: the node; owns the memory of all this, which lives until the last file is closed
 * @tdi_version: TDI_VERSION() that the device follows
 */
struct tenon_device {
	struct drm_device drm;
	u32 tdi_version;
};

#define to_tenon_device(dev) container_of(dev, struct tenon_device, drm)

extern const struct drm_driver tenon_drm_driver;

#endif /* TENON_H */
