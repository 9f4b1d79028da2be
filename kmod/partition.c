// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partitions: each is an auxiliary device below its controller, with a DRM device of its own, so that a
 * container is granted exactly one device number, and a group on the device. A controller starts with one,
 * which owns all; configfs.c makes others.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include <drm/drm_accel.h>
#include <drm/drm_print.h>

#include "tenon.h"

/* Of the core, for all drivers together; it would also hand out one more, which can't be opened. */
#define MINORS_MAX 256
/* Until an operator says something else. */
#define QUEUES_DEFAULT 4096
#define CONTEXTS_DEFAULT 1024

/* Those that are there, or about to be, and those that open files or tombstones keep. */
static atomic64_t minors;

/* Of auxiliary devices, in all controllers. */
static DEFINE_IDA(partition_ids);

#define to_partition(device) container_of(to_auxiliary_dev(device), struct tenon_partition, aux)

static const char *state_name(const struct tenon_partition *p)
{
	return READ_ONCE(p->draining) ? "draining" : "active";
}

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

/* What tenants do is for root to see, and not for other tenants. */
static ssize_t contexts_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->contexts));
}
static DEVICE_ATTR_ADMIN_RO(contexts);

static ssize_t queues_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->queues));
}
static DEVICE_ATTR_ADMIN_RO(queues);

static ssize_t buffer_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->bytes));
}
static DEVICE_ATTR_ADMIN_RO(buffer_bytes);

static ssize_t pinned_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->pinned));
}
static DEVICE_ATTR_ADMIN_RO(pinned_bytes);

static ssize_t refused_opens_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->refused_opens));
}
static DEVICE_ATTR_ADMIN_RO(refused_opens);

static ssize_t limit_hits_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_partition(dev)->limit_hits));
}
static DEVICE_ATTR_ADMIN_RO(limit_hits);

static ssize_t controller_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", dev_name(dev->parent));
}
static DEVICE_ATTR_RO(controller);

static ssize_t uuid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct tenon_partition *p = to_partition(dev);
	uuid_t uuid;

	spin_lock(&p->gate);
	uuid = p->uuid;
	spin_unlock(&p->gate);
	return sysfs_emit(buf, "%pUb\n", &uuid);
}
static DEVICE_ATTR_RO(uuid);

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", state_name(to_partition(dev)));
}
static DEVICE_ATTR_RO(state);

static struct attribute *partition_attrs[] = {
	&dev_attr_partition.attr,
	&dev_attr_model.attr,
	&dev_attr_serial.attr,
	&dev_attr_resets.attr,
	&dev_attr_unproven_pages.attr,
	&dev_attr_contexts.attr,
	&dev_attr_queues.attr,
	&dev_attr_buffer_bytes.attr,
	&dev_attr_pinned_bytes.attr,
	&dev_attr_refused_opens.attr,
	&dev_attr_limit_hits.attr,
	&dev_attr_controller.attr,
	&dev_attr_uuid.attr,
	&dev_attr_state.attr,
	NULL
};

static const struct attribute_group partition_group = {
	.attrs = partition_attrs,
};

/* The settings in force. */
#define LIMIT(name) \
static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf) \
{ \
	return sysfs_emit(buf, "%llu\n", (u64)READ_ONCE(to_partition(dev)->settings.name)); \
} \
static DEVICE_ATTR_RO(name)

LIMIT(weight);
LIMIT(quantum_us);
LIMIT(max_command_us);
LIMIT(busy_max);
LIMIT(busy_period_us);
LIMIT(memory_max);
LIMIT(pinned_max);
LIMIT(queues_max);
LIMIT(contexts_max);

static ssize_t priority_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", tenon_priorities[READ_ONCE(to_partition(dev)->settings.priority)]);
}
static DEVICE_ATTR_RO(priority);

static struct attribute *limits_attrs[] = {
	&dev_attr_weight.attr,
	&dev_attr_priority.attr,
	&dev_attr_quantum_us.attr,
	&dev_attr_max_command_us.attr,
	&dev_attr_busy_max.attr,
	&dev_attr_busy_period_us.attr,
	&dev_attr_memory_max.attr,
	&dev_attr_pinned_max.attr,
	&dev_attr_queues_max.attr,
	&dev_attr_contexts_max.attr,
	NULL
};

static const struct attribute_group limits_group = {
	.name = "limits",
	.attrs = limits_attrs,
};

static const struct attribute_group *partition_groups[] = {
	&partition_group,
	&limits_group,
	&tenon_usage_group,
	NULL
};

/* ---------------------------------------------------------------------------------- settings */

const char * const tenon_priorities[] = {
	[TDI_PRIORITY_LOW] = "low",
	[TDI_PRIORITY_NORMAL] = "normal",
	[TDI_PRIORITY_HIGH] = "high",
	[TDI_PRIORITY_REALTIME] = "realtime",
	NULL
};

void tenon_settings_init(struct tenon_settings *s)
{
	*s = (struct tenon_settings){
		.weight = 100,
		.priority = TDI_PRIORITY_NORMAL,
		.busy_period_us = 100000,
		.queues_max = QUEUES_DEFAULT,
		.contexts_max = CONTEXTS_DEFAULT,
		/* Tenants can't take the host's memory. */
		.pinned_max = (u64)(totalram_pages() / 2) << PAGE_SHIFT,
		.allow_uid = INVALID_UID,
	};
}

/* With references of its own; what @to had must have been freed. */
void tenon_settings_copy(struct tenon_settings *to, const struct tenon_settings *from)
{
	*to = *from;
	if (to->allow_cgroup)
		cgroup_get(to->allow_cgroup);
}

void tenon_settings_free(struct tenon_settings *s)
{
	if (s->allow_cgroup)
		cgroup_put(s->allow_cgroup);
	s->allow_cgroup = NULL;
}

/* ------------------------------------------------------------------------------------- group */

/* A group command with the settings of @p, under the controller's lock. Without FAIR a device knows none. */
static int group_admin(struct tenon_partition *p, enum tdi_admin_opcode opcode)
{
	struct tenon_controller *c = p->controller;
	const struct tenon_settings *s = &p->settings;
	struct tdi_admin_sqe *sqe = &c->request.sqe;
	u64 busy;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->generation = cpu_to_le32(p->group_generation);
	if (opcode == TDI_ADMIN_GROUP_DESTROY) {
		sqe->destroy.id = cpu_to_le32(p->group);
		return tenon_admin(c, &c->request);
	}
	sqe->group.group = cpu_to_le32(p->group);
	if (le64_to_cpu(c->identify.features) & TDI_F_FAIR) {
		sqe->group.weight = cpu_to_le16(s->weight);
		sqe->group.priority = s->priority;
		sqe->group.quantum_ns = cpu_to_le64((u64)s->quantum_us * NSEC_PER_USEC);
		sqe->group.max_command_ns = cpu_to_le64(s->max_command_us * NSEC_PER_USEC);
		if (s->busy_max) {
			busy = (u64)s->busy_period_us * NSEC_PER_USEC / 100 * s->busy_max;
			sqe->group.busy_max_ns = cpu_to_le64(busy * max(le16_to_cpu(c->identify.units), 1));
			sqe->group.busy_period_ns = cpu_to_le64((u64)s->busy_period_us * NSEC_PER_USEC);
		}
	}
	return tenon_admin(c, &c->request);
}

/* Under the controller's lock, when it takes admin commands. */
int tenon_group_create(struct tenon_partition *p)
{
	WRITE_ONCE(p->group_generation, tenon_generation(p->controller));
	return group_admin(p, TDI_ADMIN_GROUP_CREATE);
}

/* An id and the group, under partitions_lock. */
static int group_add(struct tenon_partition *p)
{
	struct tenon_controller *c = p->controller;
	int ret;

	mutex_lock(&c->lock);
	ret = xa_alloc(&c->partitions, &p->group, p, XA_LIMIT(0, le32_to_cpu(c->identify.max_groups) - 1),
		       GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto unlock;
	}
	ret = c->state == TENON_LIVE ? tenon_group_create(p) : -EIO;
	if (ret)
		xa_erase(&c->partitions, p->group);
	/* If it was made after all, it goes with the reset that this leads to. */
unlock:
	mutex_unlock(&c->lock);
	return ret;
}

/* When all contexts have ended, or will at the end of a reset that does away with groups as well. */
static void group_remove(struct tenon_partition *p)
{
	struct tenon_controller *c = p->controller;
	int ret;

	mutex_lock(&c->lock);
	if (c->state == TENON_LIVE) {
		ret = group_admin(p, TDI_ADMIN_GROUP_DESTROY);
		if (ret && !tenon_admin_unknown(ret))
			tenon_controller_reset(c, "a group can't be destroyed");
	}
	xa_erase(&c->partitions, p->group);
	mutex_unlock(&c->lock);
}

static bool same_share(const struct tenon_settings *a, const struct tenon_settings *b)
{
	return a->weight == b->weight && a->priority == b->priority && a->quantum_us == b->quantum_us &&
	       a->max_command_us == b->max_command_us && a->busy_max == b->busy_max &&
	       a->busy_period_us == b->busy_period_us;
}

static void set_settings(struct tenon_partition *p, const struct tenon_settings *s)
{
	spin_lock(&p->gate);
	p->settings = *s;
	spin_unlock(&p->gate);
}

static void tell_settings(enum tenon_event_type type, struct tenon_partition *p)
{
	const struct tenon_settings *s = &p->settings;

	tenon_event(type, p->controller, p,
		    "weight=%u priority=%s quantum_us=%u max_command_us=%llu busy_max=%u busy_period_us=%u memory_max=%llu pinned_max=%llu queues_max=%u contexts_max=%u",
		    s->weight, tenon_priorities[s->priority], s->quantum_us, s->max_command_us, s->busy_max,
		    s->busy_period_us, s->memory_max, s->pinned_max, s->queues_max, s->contexts_max);
}

/*
 * A uevent of the node, for udev and whoever else watches it, besides those of its coming and going. It says
 * what has happened, and to what state.
 */
void tenon_partition_announce(struct tenon_partition *p, const char *event, const char *state)
{
	struct drm_device *drm = tenon_partition_drm(p);
	char words[2][32], *env[] = { words[0], words[1], NULL };
	int cookie;

	if (!drm)
		return;
	scnprintf(words[0], sizeof(words[0]), "TENON_EVENT=%s", event);
	scnprintf(words[1], sizeof(words[1]), "TENON_STATE=%s", state);
	if (drm_dev_enter(drm, &cookie)) {
		/* Not before it has come. */
		if (device_is_registered(drm->accel->kdev))
			kobject_uevent_env(&drm->accel->kdev->kobj, KOBJ_CHANGE, env);
		drm_dev_exit(cookie);
	}
	drm_dev_put(drm);
}

/* From now on @p has @s, or if it fails what it had. */
int tenon_partition_modify(struct tenon_partition *p, const struct tenon_settings *s)
{
	struct tenon_controller *c = p->controller;
	struct tenon_settings old, new;
	int ret = 0;

	tenon_settings_copy(&new, s);
	mutex_lock(&c->lock);
	old = p->settings;
	set_settings(p, &new);
	if (c->state == TENON_LIVE && (le64_to_cpu(c->identify.features) & TDI_F_FAIR) &&
	    !READ_ONCE(p->gone) && !same_share(&old, &new))
		ret = group_admin(p, TDI_ADMIN_GROUP_MODIFY);
	/* If the device does it all the same: its time-out leads to a reset, which makes the group anew. */
	if (ret)
		set_settings(p, &old);
	else
		tell_settings(TENON_EVENT_CHANGE, p);
	mutex_unlock(&c->lock);
	tenon_settings_free(ret ? &new : &old);
	if (!ret)
		tenon_partition_announce(p, "change", state_name(p));
	return ret ? -EIO : 0;
}

/* -------------------------------------------------------------------------------------- gate */

static bool allowed(const struct tenon_settings *s)
{
	bool under;

	if (uid_valid(s->allow_uid) && !uid_eq(s->allow_uid, current_fsuid()))
		return false;
	if (!s->allow_cgroup)
		return true;
	rcu_read_lock();
	under = task_under_cgroup_hierarchy(current, s->allow_cgroup);
	rcu_read_unlock();
	return under;
}

/* May the caller open the node? If so, in which of its lives. */
int tenon_partition_enter(struct tenon_partition *p, u32 *life)
{
	int ret = 0;

	spin_lock(&p->gate);
	if (p->gone)
		ret = -ENODEV;
	else if (!allowed(&p->settings))
		ret = -EACCES;
	else if (p->draining)
		ret = -EBUSY;
	*life = p->life;
	spin_unlock(&p->gate);
	if (ret == -EACCES) {
		atomic64_inc(&p->refused_opens);
		tenon_event(TENON_EVENT_REFUSED_OPEN, p->controller, p, "errno=%d", -ret);
	}
	return ret;
}

void tenon_partition_drain(struct tenon_partition *p, bool drain)
{
	spin_lock(&p->gate);
	p->draining = drain;
	spin_unlock(&p->gate);
	tenon_event(TENON_EVENT_DRAIN, p->controller, p, "on=%d contexts=%lld", drain,
		    atomic64_read(&p->contexts));
	tenon_partition_announce(p, "drain", drain ? "draining" : "active");
}

/* To the next tenant: no context is left, and files of the last one stay dead. */
int tenon_partition_recycle(struct tenon_partition *p)
{
	int ret = 0;

	/* The bill of the tenant who leaves, under its UUID. While draining no context is made. */
	if (READ_ONCE(p->draining) && !READ_ONCE(p->gone) && !atomic64_read(&p->contexts))
		tenon_usage_renew(p);
	spin_lock(&p->gate);
	if (p->gone) {
		ret = -ENODEV;
	} else if (!p->draining) {
		ret = -EINVAL;
	} else if (atomic64_read(&p->contexts)) {
		ret = -EBUSY;
	} else {
		uuid_gen(&p->uuid);
		WRITE_ONCE(p->life, p->life + 1);
		p->draining = false;
	}
	spin_unlock(&p->gate);
	if (!ret) {
		tenon_event(TENON_EVENT_RECYCLE, p->controller, p, "life=%u", p->life);
		tenon_partition_announce(p, "recycle", "active");
	}
	return ret;
}

/* The node, with a reference, or NULL. */
struct drm_device *tenon_partition_drm(struct tenon_partition *p)
{
	struct drm_device *drm;

	spin_lock(&p->gate);
	drm = p->drm;
	if (drm)
		drm_dev_get(drm);
	spin_unlock(&p->gate);
	return drm;
}

/* ---------------------------------------------------------------------------------- lifetime */

static bool minor_reserve(void)
{
	return !tenon_charge(&minors, 1, MINORS_MAX);
}

/* Could one be made now? */
bool tenon_partition_room(void)
{
	return atomic64_read(&minors) < MINORS_MAX;
}

/* The last use of a node's number is over. */
void tenon_node_release(struct drm_device *drm)
{
	atomic64_dec(&minors);
}

static void partition_release(struct device *dev)
{
	struct tenon_partition *p = to_partition(dev);

	if (p->reserved)
		atomic64_dec(&minors);
	tenon_settings_free(&p->settings);
	tenon_controller_put(p->controller);
	ida_free(&partition_ids, p->aux.id);
	kfree(p);
}

/* Nothing of it is there but its memory. */
static struct tenon_partition *partition_alloc(struct tenon_controller *c, const char *name,
					       const struct tenon_settings *s, const void *owner)
{
	struct tenon_partition *p;
	int id, ret;

	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return ERR_PTR(-ENOMEM);
	id = ida_alloc(&partition_ids, GFP_KERNEL);
	if (id < 0) {
		kfree(p);
		return ERR_PTR(id);
	}
	p->aux.id = id;
	p->aux.name = "partition";
	p->aux.dev.parent = c->dev;
	p->aux.dev.release = partition_release;
	p->aux.dev.groups = partition_groups;
	p->controller = c;
	p->owner = owner;
	p->minor = -1;
	tenon_usage_partition(p);
	strscpy(p->name, name, sizeof(p->name));
	spin_lock_init(&p->gate);
	uuid_gen(&p->uuid);
	ret = auxiliary_device_init(&p->aux);
	if (ret) {
		ida_free(&partition_ids, id);
		kfree(p);
		return ERR_PTR(ret);
	}
	/* From here on partition_release() cleans up. */
	kref_get(&c->ref);
	tenon_settings_copy(&p->settings, s);
	return p;
}

/* Under partitions_lock. ENOSPC comes before anything is made. @by: NULL if it comes with its controller. */
int tenon_partition_create(struct tenon_controller *c, const char *name, const struct tenon_settings *s,
			   const void *owner, const struct tenon_actor *by, struct tenon_partition **result)
{
	struct tenon_partition *p;
	int ret;

	if (c->closing)
		return -ENODEV;
	if (!minor_reserve())
		return -ENOSPC;
	p = partition_alloc(c, name, s, owner);
	if (IS_ERR(p)) {
		atomic64_dec(&minors);
		return PTR_ERR(p);
	}
	p->reserved = true;
	ret = group_add(p);
	if (ret)
		goto uninit;
	ret = auxiliary_device_add(&p->aux);
	if (ret)
		goto remove_group;
	if (!p->drm) {
		/* Its driver's error was logged. */
		ret = p->minor >= MINORS_MAX ? -ENOSPC : -ENODEV;
		auxiliary_device_delete(&p->aux);
		goto remove_group;
	}
	p->by = by;
	tell_settings(TENON_EVENT_CREATE, p);
	p->by = NULL;
	*result = p;
	return 0;

remove_group:
	group_remove(p);
uninit:
	auxiliary_device_uninit(&p->aux);
	return ret;
}

/* No new calls, and those that are inside the core have left. Under partitions_lock, as the next two. */
void tenon_partition_close(struct tenon_partition *p)
{
	spin_lock(&p->gate);
	p->gone = true;
	spin_unlock(&p->gate);
	tenon_event(TENON_EVENT_DELETE, p->controller, p, "buffer_bytes=%lld", atomic64_read(&p->bytes));
	auxiliary_device_delete(&p->aux);
}

/* Its contexts have ended, or its controller is off memory. */
void tenon_partition_free(struct tenon_partition *p)
{
	tenon_usage_final(p);
	group_remove(p);
	auxiliary_device_uninit(&p->aux);
}

/* End one while its controller goes on. */
void tenon_partition_remove(struct tenon_partition *p, const struct tenon_actor *by)
{
	p->by = by;
	tenon_partition_close(p);
	p->by = NULL;
	tenon_controller_end_contexts(p->controller, p);
	tenon_partition_free(p);
}

static int partition_probe(struct auxiliary_device *aux, const struct auxiliary_device_id *id)
{
	struct tenon_partition *p = container_of(aux, struct tenon_partition, aux);
	struct tenon_node *node;
	int ret;

	node = devm_drm_dev_alloc(&aux->dev, &tenon_drm_driver, struct tenon_node, drm);
	if (IS_ERR(node))
		return PTR_ERR(node);
	/* Now it is the node's. */
	p->reserved = false;
	node->partition = p;
	INIT_LIST_HEAD(&node->tombstone);
	p->minor = node->drm.accel->index;
	if (p->minor >= MINORS_MAX)
		return -ENOSPC;
	spin_lock(&p->gate);
	p->drm = &node->drm;
	spin_unlock(&p->gate);
	ret = drm_dev_register(&node->drm, 0);
	if (ret)
		p->drm = NULL;
	return ret;
}

static void partition_unbind(struct auxiliary_device *aux)
{
	struct tenon_partition *p = container_of(aux, struct tenon_partition, aux);
	struct drm_device *drm = p->drm;

	/* What was granted to a tenant by its number must not become another's. */
	if (p->owner)
		tenon_tombstone_add(drm);
	drm_dev_unplug(drm);
	spin_lock(&p->gate);
	p->drm = NULL;
	spin_unlock(&p->gate);
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
