// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node /dev/accel/accelN: a partition's DRM device, and what its file passes on.
 */
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include <drm/drm_accel.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>
#include <drm/tenon_drm.h>

#include "tenon.h"

/* -------------------------------------------------------------------------------------- query */

/*
 * As QUERY says: as much of @from as there is room for at @pointer, the rest of the room is 0; *@size is
 * @bytes then.
 */
int tenon_copy_sized(u64 pointer, u32 *size, const void *from, size_t bytes)
{
	void __user *to = u64_to_user_ptr(pointer);
	size_t copied = min_t(size_t, *size, bytes);

	if (pointer) {
		if (*size > 4096)
			return -E2BIG;
		if (copy_to_user(to, from, copied) || clear_user(to + copied, *size - copied))
			return -EFAULT;
	}
	*size = bytes;
	return 0;
}

static int query_usage(struct tenon_context *x, struct drm_tenon_query *query)
{
	bool of_queue = query->type == DRM_TENON_QUERY_QUEUE_USAGE;
	struct tdi_usage *usage;
	int ret = 0;

	usage = kzalloc(sizeof(*usage), GFP_KERNEL);
	if (!usage)
		return -ENOMEM;
	if (query->pointer)
		ret = of_queue ? tenon_usage_query_queue(x, query->id, usage) : tenon_usage_query(x, usage);
	if (!ret)
		ret = tenon_copy_sized(query->pointer, &query->size, usage, sizeof(*usage));
	kfree(usage);
	return ret;
}

static int tenon_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;
	const struct tdi_identify *id = &x->controller->identify;
	struct drm_tenon_query *query = data;
	struct drm_tenon_device device = { .tdi_version = le32_to_cpu(id->version) };
	struct drm_tenon_limits limits = {
		.memory_bytes = READ_ONCE(x->partition->settings.pinned_max),
		.buffers = tenon_buffer_max(x),
		.queues = min3(x->controller->max_queues, READ_ONCE(x->partition->settings.queues_max),
			       (u32)TDI_CONTEXT_QUEUES),
		.depth = 1U << le16_to_cpu(id->max_depth_log2),
	};

	if (query->reserved || (query->id && query->type != DRM_TENON_QUERY_QUEUE_USAGE))
		return -EINVAL;
	if (le64_to_cpu(id->features) & TDI_F_FAIR) {
		limits.weight = READ_ONCE(x->partition->settings.weight);
		limits.priority = READ_ONCE(x->partition->settings.priority);
		limits.busy_max = READ_ONCE(x->partition->settings.busy_max);
	}

	switch (query->type) {
	case DRM_TENON_QUERY_DEVICE:
		return tenon_copy_sized(query->pointer, &query->size, &device, sizeof(device));
	case DRM_TENON_QUERY_IDENTIFY:
		return tenon_copy_sized(query->pointer, &query->size, id, sizeof(*id));
	case DRM_TENON_QUERY_LIMITS:
		return tenon_copy_sized(query->pointer, &query->size, &limits, sizeof(limits));
	case DRM_TENON_QUERY_USAGE:
	case DRM_TENON_QUERY_QUEUE_USAGE:
		return query_usage(x, query);
	default:
		return -EINVAL;
	}
}

/* ------------------------------------------------------------------------------------- ioctls */

#define TENON_IOCTL(name, function) DRM_IOCTL_DEF_DRV(TENON_##name, function, 0)

static const struct drm_ioctl_desc tenon_ioctls[] = {
	TENON_IOCTL(QUERY, tenon_query),
	TENON_IOCTL(BUFFER_CREATE, tenon_buffer_create_ioctl),
	TENON_IOCTL(BUFFER_INFO, tenon_buffer_info_ioctl),
	TENON_IOCTL(BUFFER_MAP, tenon_buffer_map_ioctl),
	TENON_IOCTL(BUFFER_UNMAP, tenon_buffer_unmap_ioctl),
	TENON_IOCTL(QUEUE_CREATE, tenon_queue_create_ioctl),
	TENON_IOCTL(QUEUE_DESTROY, tenon_queue_destroy_ioctl),
	TENON_IOCTL(QUEUE_KICK, tenon_queue_kick_ioctl),
	TENON_IOCTL(QUEUE_WAIT, tenon_queue_wait_ioctl),
	TENON_IOCTL(CONTEXT_STATUS, tenon_context_status_ioctl),
};

/*
 * The core's own table is not made for accel nodes: GET_UNIQUE and GET_MAGIC follow drm_file.master, which
 * only a primary node has, FLINK and OPEN hand buffers to whoever guesses a name. So all that isn't wanted
 * stays outside.
 */
static bool core_ioctl_passes(unsigned int cmd)
{
	switch (_IOC_NR(cmd)) {
	case _IOC_NR(DRM_IOCTL_VERSION):
	case _IOC_NR(DRM_IOCTL_GET_CAP):
	case _IOC_NR(DRM_IOCTL_GEM_CLOSE):
	case _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD):
	case _IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE):
		return true;
	default:
		return false;
	}
}

/*
 * The core takes any size, fills what is missing with zeros and ignores what is too much, and copies out
 * after the call has had its effect. Here a size means something, and the caller must be able to see the
 * result. One that has grown may be as short as it was at first: then the core's zeros are what is missing.
 */
static int check_argument(const struct drm_ioctl_desc *desc, unsigned int cmd, void __user *arg)
{
	size_t known = _IOC_SIZE(desc->cmd), size = _IOC_SIZE(cmd), first = known;
	int ret;

	if (desc->cmd == DRM_IOCTL_TENON_QUERY)
		first = offsetof(struct drm_tenon_query, id);
	if (_IOC_DIR(cmd) != _IOC_DIR(desc->cmd) || size < first)
		return -EINVAL;
	if (size > known) {
		ret = check_zeroed_user(arg + known, size - known);
		if (ret <= 0)
			return ret ?: -E2BIG;
	}
	if ((_IOC_DIR(cmd) & _IOC_READ) && fault_in_safe_writeable(arg, size))
		return -EFAULT;
	return 0;
}

/* KICK and WAIT pass the core by: they must work on when the device is unplugged, and be quick till then. */
static long direct_ioctl(struct file *file, const struct drm_ioctl_desc *desc, void __user *arg)
{
	struct drm_file *priv = file->private_data;
	union {
		struct drm_tenon_queue_kick kick;
		struct drm_tenon_queue_wait wait;
	} args;

	if (copy_from_user(&args, arg, _IOC_SIZE(desc->cmd)))
		return -EFAULT;
	return desc->func(priv->minor->dev, &args, priv);
}

/* The partition is another tenant's by now. */
static bool recycled(const struct drm_file *priv)
{
	return tenon_context_recycled(priv->driver_priv);
}

static long filter_ioctl(struct file *file, unsigned int cmd, unsigned long arg,
			 long (*core)(struct file *file, unsigned int cmd, unsigned long arg))
{
	unsigned int nr = _IOC_NR(cmd) - DRM_COMMAND_BASE;
	long ret;

	if (_IOC_TYPE(cmd) != DRM_IOCTL_BASE)
		return -ENOTTY;
	if (nr >= ARRAY_SIZE(tenon_ioctls))
		return core_ioctl_passes(cmd) ? core(file, cmd, arg) : -ENOTTY;
	nr = array_index_nospec(nr, ARRAY_SIZE(tenon_ioctls));
	ret = check_argument(&tenon_ioctls[nr], cmd, (void __user *)arg);
	if (ret)
		return ret;
	if (recycled(file->private_data))
		return -EIO;
	switch (nr) {
	case DRM_TENON_QUEUE_KICK:
	case DRM_TENON_QUEUE_WAIT:
		return direct_ioctl(file, &tenon_ioctls[nr], (void __user *)arg);
	default:
		return core(file, cmd, arg);
	}
}

static long tenon_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return filter_ioctl(file, cmd, arg, drm_ioctl);
}

#ifdef CONFIG_COMPAT
static long tenon_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return filter_ioctl(file, cmd, (unsigned long)compat_ptr(arg), drm_compat_ioctl);
}
#endif

/* --------------------------------------------------------------------------------------- file */

static int tenon_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct drm_file *priv = file->private_data;

	if (drm_dev_is_unplugged(priv->minor->dev))
		return -ENODEV;
	if (recycled(priv))
		return -EIO;
	if (tenon_queue_owns_offset(vma))
		return tenon_queue_mmap(priv->driver_priv, vma);
	return drm_gem_mmap(file, vma);
}

static void tenon_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct tenon_context *x = file->driver_priv;

	drm_printf(p, "tenon-partition:\t%s\n", x->partition->name);
	drm_printf(p, "tenon-queues:\t%u\n", READ_ONCE(x->queue_count));
	drm_printf(p, "tenon-maps:\t%u\n", READ_ONCE(x->map_count));
	tenon_usage_fdinfo(x, p);
	drm_show_memory_stats(p, file);
}

static const struct file_operations tenon_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = drm_release,
	.unlocked_ioctl = tenon_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = tenon_compat_ioctl,
#endif
	.mmap = tenon_mmap,
	.llseek = noop_llseek,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

const struct drm_driver tenon_drm_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM,
	.gem_create_object = tenon_gem_create,
	.open = tenon_context_open,
	.postclose = tenon_context_close,
	.release = tenon_node_release,
	.show_fdinfo = tenon_show_fdinfo,
	.fops = &tenon_fops,
	.ioctls = tenon_ioctls,
	.num_ioctls = ARRAY_SIZE(tenon_ioctls),
	.name = "tenon",
	.desc = "Tenon accelerator",
	.major = 0,
	.minor = 3,
};
