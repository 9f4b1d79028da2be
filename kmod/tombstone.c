// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tombstones: nodes of ended partitions. The core hands out the lowest number that is free, and a container
 * may still have a device file and a cgroup rule for it; so the DRM device is kept, and its minor with it,
 * until an operator says that nobody has them any more. open() ends ENODEV meanwhile.
 */
#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include <drm/drm_accel.h>

#include "tenon.h"

/* Nothing is waited for under it. */
static DEFINE_MUTEX(tombstones_lock);
static LIST_HEAD(tombstones);

/* The caller has a reference to the module: each tombstone holds it, since its DRM device is the module's. */
void tenon_tombstone_add(struct drm_device *drm)
{
	__module_get(THIS_MODULE);
	drm_dev_get(drm);
	mutex_lock(&tombstones_lock);
	list_add(&to_tenon_node(drm)->tombstone, &tombstones);
	mutex_unlock(&tombstones_lock);
}

static struct drm_device *find(unsigned int minor)
{
	struct tenon_node *node;

	list_for_each_entry(node, &tombstones, tombstone)
		if (node->drm.accel->index == minor)
			return &node->drm;
	return NULL;
}

/* Give the number back. */
int tenon_tombstone_reap(unsigned int minor)
{
	struct drm_device *drm;
	int ret = 0;

	mutex_lock(&tombstones_lock);
	drm = find(minor);
	/* One that isn't unplugged yet is opened no more, too: but whoever is just doing it counts. */
	if (!drm)
		ret = -ENOENT;
	else if (!drm_dev_is_unplugged(drm) || atomic_read(&drm->open_count))
		ret = -EBUSY;
	else
		list_del_init(&to_tenon_node(drm)->tombstone);
	mutex_unlock(&tombstones_lock);
	if (ret)
		return ret;
	drm_dev_put(drm);
	module_put(THIS_MODULE);
	return 0;
}

ssize_t tenon_tombstone_show(char *page)
{
	DECLARE_BITMAP(numbers, 256) = { };
	struct tenon_node *node;

	mutex_lock(&tombstones_lock);
	list_for_each_entry(node, &tombstones, tombstone)
		__set_bit(node->drm.accel->index, numbers);
	mutex_unlock(&tombstones_lock);
	return scnprintf(page, PAGE_SIZE, "%*pbl\n", 256, numbers);
}
