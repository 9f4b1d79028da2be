// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node /dev/accel/accelN: a DRM accel device and what its file passes on.
 */
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <drm/drm_accel.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/tenon_drm.h>

#include "tenon.h"

static int tenon_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_tenon_device device = { .tdi_version = to_tenon_device(drm)->tdi_version };
	struct drm_tenon_query *query = data;
	void __user *to = u64_to_user_ptr(query->pointer);
	size_t size = min_t(size_t, query->size, sizeof(device));

	if (query->type != DRM_TENON_QUERY_DEVICE)
		return -EINVAL;
	if (query->pointer) {
		if (query->size > 4096)
			return -E2BIG;
		if (copy_to_user(to, &device, size) || clear_user(to + size, query->size - size))
			return -EFAULT;
	}
	query->size = sizeof(device);
	return 0;
}

static const struct drm_ioctl_desc tenon_ioctls[] = {
	DRM_IOCTL_DEF_DRV(TENON_QUERY, tenon_query, 0),
};

/*
 * The core's own table is not made for accel nodes: GET_UNIQUE and GET_MAGIC follow drm_file.master, which
 * only a primary node has, FLINK and OPEN hand buffers to whoever guesses a name. So all that isn't wanted
 * stays outside.
 */
static bool tenon_ioctl_passes(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd);

	if (_IOC_TYPE(cmd) != DRM_IOCTL_BASE)
		return false;
	switch (nr) {
	case _IOC_NR(DRM_IOCTL_VERSION):
	case _IOC_NR(DRM_IOCTL_GET_CAP):
	case _IOC_NR(DRM_IOCTL_GEM_CLOSE):
	case _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD):
	case _IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE):
		return true;
	default:
		return nr >= DRM_COMMAND_BASE && nr - DRM_COMMAND_BASE < ARRAY_SIZE(tenon_ioctls);
	}
}

static long tenon_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return tenon_ioctl_passes(cmd) ? drm_ioctl(file, cmd, arg) : -ENOTTY;
}

#ifdef CONFIG_COMPAT
static long tenon_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return tenon_ioctl_passes(cmd) ? drm_compat_ioctl(file, cmd, arg) : -ENOTTY;
}
#endif

static const struct file_operations tenon_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = drm_release,
	.unlocked_ioctl = tenon_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = tenon_compat_ioctl,
#endif
	.llseek = noop_llseek,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

const struct drm_driver tenon_drm_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM,
	.fops = &tenon_fops,
	.ioctls = tenon_ioctls,
	.num_ioctls = ARRAY_SIZE(tenon_ioctls),
	.name = "tenon",
	.desc = "Tenon accelerator",
	.major = 0,
	.minor = 1,
};
