// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partitions: each is an auxiliary device below its controller, with a DRM device of its own, so that a
 * container is granted exactly one device number. (There is one, which owns all.)
 */
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "tenon.h"

/* Of auxiliary devices, in all controllers. */
static DEFINE_IDA(partition_ids);

#define to_partition(device) container_of(to_auxiliary_dev(device), struct tenon_partition, aux)

static ssize_t partition_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_partition(dev)->name);
}
static DEVICE_ATTR_RO(partition);

static ssize_t model_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_partition(dev)->controller->identify.model);
}
static DEVICE_ATTR_RO(model);

static ssize_t serial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_partition(dev)->controller->identify.serial);
}
static DEVICE_ATTR_RO(serial);

static ssize_t resets_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", to_partition(dev)->controller->resets);
}
static DEVICE_ATTR_RO(resets);

static ssize_t unproven_pages_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->controller->unproven));
}
static DEVICE_ATTR_RO(unproven_pages);

static ssize_t contexts_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct tenon_controller *c = to_partition(dev)->controller;
	struct tenon_context *x;
	unsigned long id;
	unsigned int count = 0;

	rcu_read_lock();
	xa_for_each(&c->contexts, id, x)
		count++;
	rcu_read_unlock();
	return sysfs_emit(buf, "%u\n", count);
}
static DEVICE_ATTR_RO(contexts);

static ssize_t buffer_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->bytes));
}
static DEVICE_ATTR_RO(buffer_bytes);

static struct attribute *partition_attrs[] = {
	&dev_attr_partition.attr,
	&dev_attr_model.attr,
	&dev_attr_serial.attr,
	&dev_attr_resets.attr,
	&dev_attr_unproven_pages.attr,
	&dev_attr_contexts.attr,
	&dev_attr_buffer_bytes.attr,
	NULL
};
ATTRIBUTE_GROUPS(partition);

static void partition_release(struct device *dev)
{
	struct tenon_partition *p = to_partition(dev);

	tenon_controller_put(p->controller);
	ida_free(&partition_ids, p->aux.id);
	kfree(p);
}

int tenon_partition_create(struct tenon_controller *c, const char *name, struct tenon_partition **result)
{
	struct tenon_partition *p;
	int ret;

	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	ret = ida_alloc(&partition_ids, GFP_KERNEL);
	if (ret < 0) {
		kfree(p);
		return ret;
	}
	p->aux.id = ret;
	p->aux.name = "partition";
	p->aux.dev.parent = c->dev;
	p->aux.dev.release = partition_release;
	p->aux.dev.groups = partition_groups;
	p->controller = c;
	strscpy(p->name, name, sizeof(p->name));
	/* Tenants can't take the host's memory; operators will be able to say how much they may. */
	p->bytes_max = (u64)(totalram_pages() / 2) << PAGE_SHIFT;
	kref_get(&c->ref);
	ret = auxiliary_device_init(&p->aux);
	if (ret) {
		tenon_controller_put(c);
		ida_free(&partition_ids, p->aux.id);
		kfree(p);
		return ret;
	}
	ret = auxiliary_device_add(&p->aux);
	if (!ret && !p->drm) {
		/* Its driver's error was logged. */
		auxiliary_device_delete(&p->aux);
		ret = -ENODEV;
	}
	if (ret) {
		auxiliary_device_uninit(&p->aux);
		return ret;
	}
	*result = p;
	return 0;
}

void tenon_partition_remove(struct tenon_partition *p)
{
	auxiliary_device_delete(&p->aux);
	auxiliary_device_uninit(&p->aux);
}

static int partition_probe(struct auxiliary_device *aux, const struct auxiliary_device_id *id)
{
	struct tenon_partition *p = container_of(aux, struct tenon_partition, aux);
	struct tenon_node *node;
	int ret;

	node = devm_drm_dev_alloc(&aux->dev, &tenon_drm_driver, struct tenon_node, drm);
	if (IS_ERR(node))
		return PTR_ERR(node);
	node->partition = p;
	ret = drm_dev_register(&node->drm, 0);
	if (ret)
		return ret;
	p->drm = &node->drm;
	return 0;
}

static void partition_unbind(struct auxiliary_device *aux)
{
	struct tenon_partition *p = container_of(aux, struct tenon_partition, aux);

	drm_dev_unplug(p->drm);
	p->drm = NULL;
}

static const struct auxiliary_device_id partition_ids_table[] = {
	{ .name = KBUILD_MODNAME ".partition" },
	{ }
};

/* What a partition is bound to isn't for sysfs to say. */
struct auxiliary_driver tenon_partition_driver = {
	.name = "partition",
	.id_table = partition_ids_table,
	.probe = partition_probe,
	.remove = partition_unbind,
	.driver.suppress_bind_attrs = true,
};
