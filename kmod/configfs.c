// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an operator configures: a directory for a controller, in it one for each partition, see
 * Documentation/sharing.rst.
 *
 * A directory outlives the device that it is for. The settings are the item's; while there is a partition
 * they are applied to it as well. mkdir, rmdir and `enable` only say what is wanted, a worker makes and ends
 * partitions.
 */
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/configfs.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <drm/drm_file.h>

#include "tenon.h"

/* See tenon.h. No reference to an item or a partition is given up under it: that may free things. */
static DEFINE_MUTEX(config_lock);
static LIST_HEAD(controllers);	/* that are up */
static LIST_HEAD(configs);	/* struct tenon_config_controller */

/**
 * struct tenon_config_controller - a controller's directory
 * @group: its own
 * @link: in configs, until the last reference goes
 * @partitions: its partitions' directories and those on their way out
 * @controller: that it is for, with a reference, or NULL; like all below under config_lock
 * @dropped: the directory is gone
 * @overcommit: memory may be promised twice
 */
struct tenon_config_controller {
	struct config_group group;
	struct list_head link;
	struct list_head partitions;
	struct tenon_controller *controller;
	bool dropped;
	bool overcommit;
};

/**
 * struct tenon_config - a partition's directory
 * @item: its own
 * @parent: with a reference
 * @link: in the parent's, until the last reference goes; under config_lock, as the next three
 * @partition: with a reference, or NULL
 * @dropped: the directory is gone
 * @enable: it is wanted
 * @error: why there is none, though it is wanted
 * @by: who said last what is wanted; under config_lock
 * @lock: see tenon.h
 * @settings: under lock, and config_lock for those who read alone
 * @cgroup: the path that settings.allow_cgroup came from; under lock
 * @allow_changed: since the partition was made or recycled; under lock
 * @work: makes what is there what is wanted; with a reference to this and to the module while it is queued
 */
struct tenon_config {
	struct config_item item;
	struct tenon_config_controller *parent;
	struct list_head link;
	struct tenon_partition *partition;
	bool dropped;
	bool enable;
	int error;
	struct tenon_actor by;
	struct mutex lock;	/* see tenon.h */
	struct tenon_settings settings;
	char *cgroup;
	bool allow_changed;
	struct work_struct work;
};

static struct tenon_config *to_config(struct config_item *item)
{
	return container_of(item, struct tenon_config, item);
}

static struct tenon_config_controller *to_config_controller(struct config_item *item)
{
	return container_of(to_config_group(item), struct tenon_config_controller, group);
}

static bool is_default(const struct tenon_config *f)
{
	return !strcmp(f->item.ci_name, "default");
}

/* The partition, with a reference, or NULL. */
static struct tenon_partition *partition_get(struct tenon_config *f)
{
	struct tenon_partition *p;

	mutex_lock(&config_lock);
	p = f->partition ? tenon_partition_get(f->partition) : NULL;
	mutex_unlock(&config_lock);
	return p;
}

/* ------------------------------------------------------------------------------------ memory */

/* May @f have @max, with what the others were promised? Under config_lock. */
static int memory_fits(struct tenon_config *f, u64 max)
{
	struct tenon_config_controller *parent = f->parent;
	struct tenon_config *other;
	u64 sum = max, bytes;

	if (!parent->controller || !max)
		return 0;
	bytes = le64_to_cpu(parent->controller->identify.memory_bytes);
	if (!bytes)
		return -EINVAL;
	if (max > bytes)
		return -ENOSPC;
	if (parent->overcommit)
		return 0;
	list_for_each_entry(other, &parent->partitions, link) {
		if (other == f || !other->enable || other->dropped)
			continue;
		sum += min(READ_ONCE(other->settings.memory_max), bytes);
	}
	return sum > bytes ? -ENOSPC : 0;
}

/* ------------------------------------------------------------------------------------ worker */

static struct tenon_controller *controller_get(struct tenon_config *f)
{
	struct tenon_controller *c;

	mutex_lock(&config_lock);
	c = f->parent->controller;
	if (c)
		kref_get(&c->ref);
	mutex_unlock(&config_lock);
	return c;
}

/* The one that a controller starts with, under its partitions_lock. */
static struct tenon_partition *find_default(struct tenon_controller *c)
{
	struct tenon_partition *p, *found = NULL;
	unsigned long group;

	mutex_lock(&c->lock);
	xa_for_each(&c->partitions, group, p)
		if (!strcmp(p->name, "default"))
			found = p;
	mutex_unlock(&c->lock);
	return found;
}

static int make(struct tenon_config *f, struct tenon_controller *c, const struct tenon_actor *by)
{
	struct tenon_partition *p = NULL;
	int ret;

	mutex_lock(&config_lock);
	ret = memory_fits(f, f->settings.memory_max);
	mutex_unlock(&config_lock);
	if (ret)
		return ret;
	if (is_default(f))
		p = find_default(c);
	if (p) {
		ret = tenon_partition_modify(p, &f->settings);
		if (!ret)
			p->owner = f;
	} else {
		ret = tenon_partition_create(c, f->item.ci_name, &f->settings, f, by, &p);
	}
	if (ret)
		return ret;
	f->allow_changed = false;
	mutex_lock(&config_lock);
	/* If the controller is just going, it takes the partition along. */
	if (f->parent->controller == c)
		f->partition = tenon_partition_get(p);
	mutex_unlock(&config_lock);
	return 0;
}

/* The built-in settings for the built-in partition. */
static void give_back(struct tenon_config *f, struct tenon_controller *c, struct tenon_partition *p,
		      const struct tenon_actor *by)
{
	struct tenon_settings s;

	tenon_settings_init(&s);
	if (!p) {
		if (!find_default(c))
			tenon_partition_create(c, "default", &s, NULL, by, &p);
	} else if (p->owner == f) {
		tenon_partition_modify(p, &s);
		tenon_partition_drain(p, false);
		p->owner = NULL;
	}
}

static void end(struct tenon_config *f, struct tenon_controller *c, struct tenon_partition *p,
		const struct tenon_actor *by)
{
	struct tenon_partition *ends = p;

	if (f->dropped && is_default(f)) {
		give_back(f, c, p, by);
	} else {
		/* Switched off before it was taken hold of. */
		if (!p && is_default(f)) {
			ends = find_default(c);
			if (ends)
				ends->owner = f;
		}
		if (ends && ends->owner == f)
			tenon_partition_remove(ends, by);
	}
	mutex_lock(&config_lock);
	/* It may have been let go of because the controller goes. */
	if (f->partition == p)
		f->partition = NULL;
	else
		p = NULL;
	mutex_unlock(&config_lock);
	if (p)
		tenon_partition_put(p);
}

static void work(struct work_struct *work)
{
	struct tenon_config *f = container_of(work, struct tenon_config, work);
	struct tenon_controller *c = controller_get(f);
	struct tenon_partition *p;
	struct tenon_actor by;
	bool wanted;
	int ret;

	if (c) {
		mutex_lock(&f->lock);
		mutex_lock(&c->partitions_lock);
		mutex_lock(&config_lock);
		wanted = f->enable && !f->dropped;
		by = f->by;
		p = f->partition;
		if (p)
			tenon_partition_get(p);
		mutex_unlock(&config_lock);
		/* A controller that goes ends all of its own. */
		if (!c->closing) {
			if (wanted && !p) {
				ret = make(f, c, &by);
				WRITE_ONCE(f->error, ret);
				if (ret)
					dev_err(c->dev, "partition %s can't be made (%d)\n",
						f->item.ci_name, ret);
			} else if (!wanted) {
				end(f, c, p, &by);
			}
		}
		mutex_unlock(&c->partitions_lock);
		mutex_unlock(&f->lock);
		if (p)
			tenon_partition_put(p);
		tenon_controller_put(c);
	}
	config_item_put(&f->item);
	module_put(THIS_MODULE);
}

/* The caller has a reference to the item. */
static void queue(struct tenon_config *f)
{
	__module_get(THIS_MODULE);
	config_item_get(&f->item);
	if (!queue_work(tenon_wq, &f->work)) {
		config_item_put(&f->item);
		module_put(THIS_MODULE);
	}
}

/* Under config_lock: the caller says what is wanted. */
static void ask(struct tenon_config *f)
{
	f->by = (struct tenon_actor){ task_tgid_nr(current), current_uid() };
	queue(f);
}

/* ----------------------------------------------------------------------- settings of a partition */

/* A value is about to change: a copy to change it in. change_end() follows. */
static struct tenon_settings change_begin(struct tenon_config *f)
{
	mutex_lock(&f->lock);
	return f->settings;
}

static bool same_tenant(const struct tenon_settings *a, const struct tenon_settings *b)
{
	return __kuid_val(a->allow_uid) == __kuid_val(b->allow_uid) && a->allow_cgroup == b->allow_cgroup;
}

/* Takes over the reference in @s to the cgroup if it is another; all or nothing of it. */
static int change_apply(struct tenon_config *f, const struct tenon_settings *s)
{
	struct tenon_partition *p = partition_get(f);
	int ret = 0;

	if (p) {
		ret = tenon_partition_modify(p, s);
		tenon_partition_put(p);
	}
	if (ret)
		return ret;
	f->allow_changed |= !same_tenant(&f->settings, s);
	mutex_lock(&config_lock);
	f->settings = *s;
	mutex_unlock(&config_lock);
	return 0;
}

static ssize_t change_end(struct tenon_config *f, const struct tenon_settings *s, size_t len)
{
	int ret = change_apply(f, s);

	mutex_unlock(&f->lock);
	return ret ?: len;
}

static int number(const char *page, u64 low, u64 high, u64 *value)
{
	return kstrtou64(page, 10, value) || *value < low || *value > high ? -EINVAL : 0;
}

#define SETTING(name, low, high) \
static ssize_t config_##name##_show(struct config_item *item, char *page) \
{ \
	return sprintf(page, "%llu\n", (u64)READ_ONCE(to_config(item)->settings.name)); \
} \
static ssize_t config_##name##_store(struct config_item *item, const char *page, size_t len) \
{ \
	struct tenon_config *f = to_config(item); \
	struct tenon_settings s; \
	u64 value; \
	if (number(page, low, high, &value)) \
		return -EINVAL; \
	s = change_begin(f); \
	s.name = value; \
	return change_end(f, &s, len); \
} \
CONFIGFS_ATTR(config_, name)

SETTING(weight, 1, TDI_WEIGHT_MAX);
SETTING(quantum_us, 0, USEC_PER_SEC);
SETTING(max_command_us, 0, U64_MAX / NSEC_PER_USEC);
SETTING(busy_max, 0, 100);
SETTING(busy_period_us, 1000, 10 * USEC_PER_SEC);
SETTING(queues_max, 0, 4096);
SETTING(contexts_max, 0, 1024);

static ssize_t config_priority_show(struct config_item *item, char *page)
{
	return sprintf(page, "%s\n", tenon_priorities[READ_ONCE(to_config(item)->settings.priority)]);
}

static ssize_t config_priority_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	struct tenon_settings s;
	int i = __sysfs_match_string(tenon_priorities, TDI_PRIORITY_REALTIME + 1, page);

	if (i < 0)
		return -EINVAL;
	/* As for the priorities of other DRM drivers' contexts. */
	if (i > TDI_PRIORITY_NORMAL && !capable(CAP_SYS_NICE))
		return -EPERM;
	s = change_begin(f);
	s.priority = i;
	return change_end(f, &s, len);
}
CONFIGFS_ATTR(config_, priority);

/* K, M and G are taken, too. */
static int size(const char *page, u64 *value)
{
	char *end;

	if (!isdigit(*page))
		return -EINVAL;
	*value = memparse(page, &end);
	return *end == '\n' ? end[1] : *end ? -EINVAL : 0;
}

static ssize_t config_pinned_max_show(struct config_item *item, char *page)
{
	return sprintf(page, "%llu\n", READ_ONCE(to_config(item)->settings.pinned_max));
}

static ssize_t config_pinned_max_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	struct tenon_settings s;
	u64 value;

	if (size(page, &value) || value > S64_MAX)
		return -EINVAL;
	s = change_begin(f);
	s.pinned_max = value;
	return change_end(f, &s, len);
}
CONFIGFS_ATTR(config_, pinned_max);

static ssize_t config_memory_max_show(struct config_item *item, char *page)
{
	return sprintf(page, "%llu\n", READ_ONCE(to_config(item)->settings.memory_max));
}

static ssize_t config_memory_max_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	struct tenon_settings s;
	u64 value, before;
	int ret;

	if (size(page, &value))
		return -EINVAL;
	s = change_begin(f);
	before = s.memory_max;
	s.memory_max = value;
	mutex_lock(&config_lock);
	ret = memory_fits(f, value);
	/* At once: of two that are promised the rest, one must see the other. */
	if (!ret)
		f->settings.memory_max = value;
	mutex_unlock(&config_lock);
	if (!ret)
		ret = change_apply(f, &s);
	if (ret) {
		mutex_lock(&config_lock);
		f->settings.memory_max = before;
		mutex_unlock(&config_lock);
	}
	mutex_unlock(&f->lock);
	return ret ?: len;
}
CONFIGFS_ATTR(config_, memory_max);

static ssize_t config_allow_uid_show(struct config_item *item, char *page)
{
	kuid_t uid = to_config(item)->settings.allow_uid;

	if (!uid_valid(uid))
		return sprintf(page, "any\n");
	return sprintf(page, "%u\n", from_kuid_munged(current_user_ns(), uid));
}

static ssize_t config_allow_uid_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	kuid_t uid = INVALID_UID;
	struct tenon_settings s;
	u64 value;

	if (!sysfs_streq(page, "any")) {
		if (number(page, 0, U32_MAX - 1, &value))
			return -EINVAL;
		uid = make_kuid(current_user_ns(), value);
		if (!uid_valid(uid))
			return -EINVAL;
	}
	s = change_begin(f);
	s.allow_uid = uid;
	return change_end(f, &s, len);
}
CONFIGFS_ATTR(config_, allow_uid);

static ssize_t config_allow_cgroup_show(struct config_item *item, char *page)
{
	struct tenon_config *f = to_config(item);
	ssize_t len;

	mutex_lock(&f->lock);
	len = scnprintf(page, PAGE_SIZE, "%s\n", f->cgroup ?: "");
	mutex_unlock(&f->lock);
	return len;
}

/* The path is looked up now: a cgroup that is made again later under the same name is another. */
static ssize_t config_allow_cgroup_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	struct cgroup *cgroup = NULL, *old;
	struct tenon_settings s;
	char *path;
	int ret;

	path = kstrndup(page, len, GFP_KERNEL);
	if (!path)
		return -ENOMEM;
	path[strcspn(path, "\n")] = 0;
	if (*path) {
		cgroup = cgroup_get_from_path(path);
		if (IS_ERR(cgroup)) {
			kfree(path);
			return PTR_ERR(cgroup);
		}
	}
	s = change_begin(f);
	old = s.allow_cgroup;
	s.allow_cgroup = cgroup;
	ret = change_apply(f, &s);
	if (ret)
		old = cgroup;
	else
		swap(f->cgroup, path);
	mutex_unlock(&f->lock);
	kfree(path);
	if (old)
		cgroup_put(old);
	return ret ?: len;
}
CONFIGFS_ATTR(config_, allow_cgroup);

/* ---------------------------------------------------------------------------- life of a partition */

static ssize_t config_enable_show(struct config_item *item, char *page)
{
	return sprintf(page, "%d\n", READ_ONCE(to_config(item)->enable));
}

static ssize_t config_enable_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	int ret = 0;
	u64 value;

	if (number(page, 0, 1, &value))
		return -EINVAL;
	mutex_lock(&f->lock);
	mutex_lock(&config_lock);
	if (value && !f->partition && f->parent->controller) {
		if (!tenon_partition_room())
			ret = -ENOSPC;
		else
			ret = memory_fits(f, f->settings.memory_max);
	}
	if (!ret) {
		f->enable = value;
		f->error = 0;
		ask(f);
	}
	mutex_unlock(&config_lock);
	mutex_unlock(&f->lock);
	return ret ?: len;
}
CONFIGFS_ATTR(config_, enable);

static const char *state(struct tenon_config *f)
{
	if (f->partition)
		return f->enable && !READ_ONCE(f->partition->draining) ? "active" : "draining";
	/* It may be there until the worker gets to it. */
	if (!f->enable)
		return is_default(f) && work_busy(&f->work) ? "draining" : "off";
	if (!f->parent->controller)
		return "absent";
	/* If it is about to be made, it isn't yet. */
	return f->error ? "failed" : "off";
}

static ssize_t config_state_show(struct config_item *item, char *page)
{
	const char *is;

	mutex_lock(&config_lock);
	is = state(to_config(item));
	mutex_unlock(&config_lock);
	return sprintf(page, "%s\n", is);
}
CONFIGFS_ATTR_RO(config_, state);

static ssize_t config_device_show(struct config_item *item, char *page)
{
	struct tenon_partition *p = partition_get(to_config(item));
	ssize_t len;

	len = p ? sprintf(page, "accel%d\n", p->minor) : sprintf(page, "\n");
	if (p)
		tenon_partition_put(p);
	return len;
}
CONFIGFS_ATTR_RO(config_, device);

static ssize_t config_uuid_show(struct config_item *item, char *page)
{
	struct tenon_partition *p = partition_get(to_config(item));
	uuid_t uuid;

	if (!p)
		return sprintf(page, "\n");
	spin_lock(&p->gate);
	uuid = p->uuid;
	spin_unlock(&p->gate);
	tenon_partition_put(p);
	return sprintf(page, "%pUb\n", &uuid);
}
CONFIGFS_ATTR_RO(config_, uuid);

static ssize_t config_drain_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_partition *p;
	u64 value;

	if (number(page, 1, 1, &value))
		return -EINVAL;
	p = partition_get(to_config(item));
	if (!p)
		return -ENODEV;
	tenon_partition_drain(p, true);
	tenon_partition_put(p);
	return len;
}
CONFIGFS_ATTR_WO(config_, drain);

/* A file's line: who used it last. */
static size_t holder(char *to, size_t room, struct drm_file *file)
{
	char comm[TASK_COMM_LEN];
	struct task_struct *task;
	size_t len = 0;
	struct pid *pid;
	kuid_t uid;

	rcu_read_lock();
	pid = rcu_dereference(file->pid);
	task = pid_task(pid, PIDTYPE_TGID);
	if (task) {
		uid = task_uid(task);
		get_task_comm(comm, task);
		len = scnprintf(to, room, "%d %u %*pE\n", pid_vnr(pid),
				from_kuid_munged(current_user_ns(), uid), (int)strlen(comm), comm);
	}
	rcu_read_unlock();
	return len;
}

static ssize_t config_holders_show(struct config_item *item, char *page)
{
	struct tenon_partition *p = partition_get(to_config(item));
	struct drm_device *drm;
	struct drm_file *file;
	size_t len = 0;

	if (!p)
		return 0;
	drm = tenon_partition_drm(p);
	tenon_partition_put(p);
	if (!drm)
		return 0;
	mutex_lock(&drm->filelist_mutex);
	list_for_each_entry(file, &drm->filelist, lhead) {
		if (PAGE_SIZE - len < 64)
			break;
		len += holder(page + len, PAGE_SIZE - len, file);
	}
	mutex_unlock(&drm->filelist_mutex);
	drm_dev_put(drm);
	return len;
}
CONFIGFS_ATTR_RO(config_, holders);

static ssize_t config_recycle_store(struct config_item *item, const char *page, size_t len)
{
	struct tenon_config *f = to_config(item);
	struct tenon_partition *p;
	ssize_t ret;
	u64 value;

	if (number(page, 1, 1, &value))
		return -EINVAL;
	mutex_lock(&f->lock);
	p = partition_get(f);
	if (!p)
		ret = -ENODEV;
	else if (!f->allow_changed)
		ret = -EINVAL;
	else
		ret = tenon_partition_recycle(p);
	if (!ret)
		f->allow_changed = false;
	mutex_unlock(&f->lock);
	if (p)
		tenon_partition_put(p);
	return ret ?: len;
}
CONFIGFS_ATTR_WO(config_, recycle);

/* -------------------------------------------------------------------------------- directories */

static struct configfs_attribute *config_attrs[] = {
	&config_attr_weight,
	&config_attr_priority,
	&config_attr_quantum_us,
	&config_attr_max_command_us,
	&config_attr_busy_max,
	&config_attr_busy_period_us,
	&config_attr_memory_max,
	&config_attr_pinned_max,
	&config_attr_queues_max,
	&config_attr_contexts_max,
	&config_attr_allow_uid,
	&config_attr_allow_cgroup,
	&config_attr_enable,
	&config_attr_state,
	&config_attr_device,
	&config_attr_uuid,
	&config_attr_drain,
	&config_attr_holders,
	&config_attr_recycle,
	NULL
};

/* Also by the worker, as the last. */
static void config_release(struct config_item *item)
{
	struct tenon_config *f = to_config(item);

	mutex_lock(&config_lock);
	list_del(&f->link);
	mutex_unlock(&config_lock);
	/* Without a controller there was nothing for the worker to let go of. */
	if (f->partition)
		tenon_partition_put(f->partition);
	tenon_settings_free(&f->settings);
	config_item_put(&f->parent->group.cg_item);
	kfree(f->cgroup);
	kfree(f);
}

static struct configfs_item_operations config_ops = {
	.release = config_release,
};

static const struct config_item_type config_type = {
	.ct_item_ops = &config_ops,
	.ct_attrs = config_attrs,
	.ct_owner = THIS_MODULE,
};

/* [A-Za-z0-9][A-Za-z0-9._-]{0,30} */
static bool name_good(const char *name)
{
	const char *s;

	for (s = name; *s; s++)
		if (!isascii(*s) || (!isalnum(*s) && (s == name || !strchr("._-", *s))))
			return false;
	return s > name && s - name < sizeof_field(struct tenon_partition, name);
}

static struct config_item *config_make(struct config_group *group, const char *name)
{
	struct tenon_config_controller *parent = to_config_controller(&group->cg_item);
	struct tenon_config *f;

	if (!name_good(name))
		return ERR_PTR(-EINVAL);
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return ERR_PTR(-ENOMEM);
	mutex_init(&f->lock);
	INIT_WORK(&f->work, work);
	tenon_settings_init(&f->settings);
	config_item_init_type_name(&f->item, name, &config_type);
	config_item_get(&parent->group.cg_item);
	f->parent = parent;
	f->enable = is_default(f);
	mutex_lock(&config_lock);
	list_add(&f->link, &parent->partitions);
	/* The default partition is there: this takes hold of it. */
	if (f->enable)
		ask(f);
	mutex_unlock(&config_lock);
	return &f->item;
}

/* The item itself goes when the worker has ended its partition. */
static void config_drop(struct config_group *group, struct config_item *item)
{
	struct tenon_config *f = to_config(item);

	mutex_lock(&config_lock);
	f->dropped = true;
	ask(f);
	mutex_unlock(&config_lock);
	config_item_put(item);
}

static ssize_t controller_state_show(struct config_item *item, char *page)
{
	bool present = READ_ONCE(to_config_controller(item)->controller);

	return sprintf(page, "%s\n", present ? "present" : "absent");
}
CONFIGFS_ATTR_RO(controller_, state);

static ssize_t controller_overcommit_show(struct config_item *item, char *page)
{
	return sprintf(page, "%d\n", READ_ONCE(to_config_controller(item)->overcommit));
}

static ssize_t controller_overcommit_store(struct config_item *item, const char *page, size_t len)
{
	u64 value;

	if (number(page, 0, 1, &value))
		return -EINVAL;
	mutex_lock(&config_lock);
	to_config_controller(item)->overcommit = value;
	mutex_unlock(&config_lock);
	return len;
}
CONFIGFS_ATTR(controller_, overcommit);

static struct configfs_attribute *controller_attrs[] = {
	&controller_attr_state,
	&controller_attr_overcommit,
	NULL
};

static void controller_release(struct config_item *item)
{
	struct tenon_config_controller *f = to_config_controller(item);

	mutex_lock(&config_lock);
	list_del(&f->link);
	mutex_unlock(&config_lock);
	if (f->controller)
		tenon_controller_put(f->controller);
	kfree(f);
}

static struct configfs_item_operations controller_ops = {
	.release = controller_release,
};

static struct configfs_group_operations controller_group_ops = {
	.make_item = config_make,
	.drop_item = config_drop,
};

static const struct config_item_type controller_type = {
	.ct_item_ops = &controller_ops,
	.ct_group_ops = &controller_group_ops,
	.ct_attrs = controller_attrs,
	.ct_owner = THIS_MODULE,
};

/* As the kernel writes the address of a PCI function. */
static bool address_good(const char *name)
{
	unsigned int domain, bus, slot, function;
	char canonical[32];

	if (sscanf(name, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
		return false;
	snprintf(canonical, sizeof(canonical), "%04x:%02x:%02x.%u", domain, bus, slot, function);
	return !strcmp(name, canonical);
}

static struct config_group *controller_make(struct config_group *group, const char *name)
{
	struct tenon_config_controller *f;
	struct tenon_controller *c;

	if (!address_good(name))
		return ERR_PTR(-EINVAL);
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&f->partitions);
	config_group_init_type_name(&f->group, name, &controller_type);
	mutex_lock(&config_lock);
	list_add(&f->link, &configs);
	list_for_each_entry(c, &controllers, link) {
		if (!strcmp(dev_name(c->dev), name)) {
			kref_get(&c->ref);
			f->controller = c;
		}
	}
	mutex_unlock(&config_lock);
	return &f->group;
}

static void controller_drop(struct config_group *group, struct config_item *item)
{
	mutex_lock(&config_lock);
	to_config_controller(item)->dropped = true;
	mutex_unlock(&config_lock);
	config_item_put(item);
}

static ssize_t root_tombstones_show(struct config_item *item, char *page)
{
	return tenon_tombstone_show(page);
}
CONFIGFS_ATTR_RO(root_, tombstones);

static ssize_t root_reap_store(struct config_item *item, const char *page, size_t len)
{
	u64 value;
	int ret;

	if (number(page, 0, U32_MAX, &value))
		return -EINVAL;
	ret = tenon_tombstone_reap(value);
	return ret ?: len;
}
CONFIGFS_ATTR_WO(root_, reap);

static struct configfs_attribute *root_attrs[] = {
	&root_attr_tombstones,
	&root_attr_reap,
	NULL
};

static struct configfs_group_operations root_group_ops = {
	.make_group = controller_make,
	.drop_item = controller_drop,
};

static const struct config_item_type root_type = {
	.ct_group_ops = &root_group_ops,
	.ct_attrs = root_attrs,
	.ct_owner = THIS_MODULE,
};

static struct configfs_subsystem subsystem = {
	.su_group.cg_item = {
		.ci_namebuf = "tenon",
		.ci_type = &root_type,
	},
};

/* --------------------------------------------------------------------------- coming and going */

/* Under config_lock: the directory of a controller. */
static struct tenon_config_controller *find_config(struct tenon_controller *c)
{
	struct tenon_config_controller *f;

	list_for_each_entry(f, &configs, link)
		if (!f->dropped && !strcmp(f->group.cg_item.ci_name, dev_name(c->dev)))
			return f;
	return NULL;
}

/*
 * A controller is up, under its partitions_lock: its partitions will be made. Returns whether nobody has said
 * what the default one is to be.
 */
bool tenon_config_bind(struct tenon_controller *c)
{
	struct tenon_config_controller *parent;
	struct tenon_config *f;
	bool builtin = true;

	mutex_lock(&config_lock);
	list_add(&c->link, &controllers);
	parent = find_config(c);
	if (parent) {
		kref_get(&c->ref);
		parent->controller = c;
		list_for_each_entry(f, &parent->partitions, link) {
			if (f->dropped)
				continue;
			builtin &= !is_default(f);
			f->error = 0;
			f->by.pid = 0;
			/* The directory has a reference. */
			queue(f);
		}
	}
	mutex_unlock(&config_lock);
	return builtin;
}

/* It goes, and takes its partitions along. */
void tenon_config_unbind(struct tenon_controller *c)
{
	struct tenon_config_controller *parent;
	struct tenon_config *f;

	mutex_lock(&config_lock);
	list_del_init(&c->link);
	list_for_each_entry(parent, &configs, link) {
		if (parent->controller != c)
			continue;
		parent->controller = NULL;
		list_for_each_entry(f, &parent->partitions, link) {
			/* If it is the last reference, nothing that is freed needs this lock. */
			if (f->partition)
				tenon_partition_put(f->partition);
			f->partition = NULL;
		}
		tenon_controller_put(c);
	}
	mutex_unlock(&config_lock);
}

int tenon_config_init(void)
{
	config_group_init(&subsystem.su_group);
	mutex_init(&subsystem.su_mutex);
	return configfs_register_subsystem(&subsystem);
}

void tenon_config_exit(void)
{
	configfs_unregister_subsystem(&subsystem);
}
