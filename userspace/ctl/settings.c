/* SPDX-License-Identifier: MIT */
/* tenonctl: the settings of partitions and of controllers. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

const struct ctl_setting ctl_settings[] = {
	{ "overcommit", SETTING_NUMBER, NULL },	/* of a controller; all others are of a partition */
	{ "weight", SETTING_NUMBER, NULL },
	{ "priority", SETTING_WORD, NULL },
	{ "quantum_us", SETTING_TIME, "the device's own" },
	{ "max_command_us", SETTING_TIME, "no limit" },
	{ "busy_max", SETTING_PERCENT, "no cap" },
	{ "busy_period_us", SETTING_TIME, NULL },
	{ "memory_max", SETTING_BYTES, "no limit but the device's" },
	{ "pinned_max", SETTING_BYTES, NULL },
	{ "queues_max", SETTING_NUMBER, NULL },
	{ "contexts_max", SETTING_NUMBER, NULL },
	{ "allow_uid", SETTING_WORD, NULL },
	{ "allow_cgroup", SETTING_WORD, "any" },
	{ "enable", SETTING_NUMBER, NULL },
};
const unsigned int ctl_setting_count = sizeof(ctl_settings) / sizeof(ctl_settings[0]);

static_assert(sizeof(ctl_settings) / sizeof(ctl_settings[0]) <= CTL_CHANGES_MAX, "room for all");

/* By its name; those in microseconds also without the unit in it. */
const struct ctl_setting *ctl_setting(const char *name)
{
	unsigned int i;

	for (i = 0; i < ctl_setting_count; i++) {
		const struct ctl_setting *s = &ctl_settings[i];
		size_t length = strlen(name);

		if (!strcmp(s->name, name) ||
		    (s->kind == SETTING_TIME && !strncmp(s->name, name, length) &&
		     !strcmp(s->name + length, "_us")))
			return s;
	}
	return NULL;
}

/* What may follow a number, and what it makes of it. */
static const struct {
	int kind;
	const char *suffix;
	uint64_t factor;
} units[] = {
	{ SETTING_BYTES, "K", 1ULL << 10 },
	{ SETTING_BYTES, "M", 1ULL << 20 },
	{ SETTING_BYTES, "G", 1ULL << 30 },
	{ SETTING_PERCENT, "%", 1 },
	{ SETTING_TIME, "us", 1 },
	{ SETTING_TIME, "ms", 1000 },
	{ SETTING_TIME, "s", 1000000 },
};

static bool parse(const struct ctl_setting *setting, const char *text, char *to, size_t size)
{
	uint64_t value, factor = 1;
	char *end;
	size_t i;

	if (setting->kind == SETTING_WORD) {
		if (strlen(text) >= size || strchr(text, '\n'))
			return false;
		strcpy(to, text);
		return true;
	}
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (units[i].kind == (int)setting->kind && !strcmp(end, units[i].suffix))
				break;
		if (i == sizeof(units) / sizeof(units[0]))
			return false;
		factor = units[i].factor;
	}
	if (value > UINT64_MAX / factor)
		return false;
	snprintf(to, size, "%" PRIu64, value * factor);
	return true;
}

/* "key=value"s; @changes has room for all settings. 0, or it was said what is wrong. */
int ctl_settings_parse(char *const *args, struct ctl_change *changes)
{
	const struct ctl_setting *setting;
	struct ctl_change *change;
	const char *equals;
	char name[32];

	for (; *args; args++) {
		equals = strchr(*args, '=');
		snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - *args) : 31, *args);
		setting = equals ? ctl_setting(name) : NULL;
		if (!setting) {
			unsigned int i;

			fprintf(stderr, "tenonctl: not a setting: %s\nThese are:", *args);
			for (i = 0; i < ctl_setting_count; i++)
				fprintf(stderr, "%s%s", i == 7 ? "\n  " : " ", ctl_settings[i].name);
			fputs("\n", stderr);
			return -EINVAL;
		}
		change = &changes[setting - ctl_settings];
		change->setting = setting;
		if (change->wanted) {
			fprintf(stderr, "tenonctl: %s is there twice\n", setting->name);
			return -EINVAL;
		}
		if (!parse(setting, equals + 1, change->value, sizeof(change->value))) {
			static const char *const takes[] = { "a number", "a word", "bytes, such as 512M",
							     "a time, such as 500us or 2ms",
							     "percent, such as 20%" };

			fprintf(stderr, "tenonctl: %s: it takes %s\n", *args, takes[setting->kind]);
			return -EINVAL;
		}
		change->wanted = true;
	}
	return 0;
}

static const char *range(const char *name)
{
	static const char *const ranges[][2] = {
		{ "weight", "1 to 10000" },
		{ "priority", "low, normal, high or realtime" },
		{ "quantum_us", "0 (the device's own) to 1s" },
		{ "busy_max", "1% to 100%, or 0: no cap" },
		{ "busy_period_us", "1ms to 10s" },
		{ "memory_max", "bytes; 0 alone on a device without memory of its own" },
		{ "queues_max", "0 to 4096" },
		{ "contexts_max", "0 to 1024" },
		{ "allow_uid", "a number or any" },
		{ "enable", "0 or 1" },
		{ "overcommit", "0 or 1" },
	};
	size_t i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (!strcmp(ranges[i][0], name))
			return ranges[i][1];
	return NULL;
}

/* What the kernel refused, and what to do. */
void ctl_refused(const struct ctl_partition *p, const char *what, const char *value, int error)
{
	char root[CTL_PATH_MAX], config[CTL_PATH_MAX];

	fprintf(stderr, "tenonctl: %s%s%s: %s%s%s: %s\n", p->controller, *p->name ? "/" : "", p->name, what,
		*value ? " " : "", value, strerror(-error));
	ctl_config_path(root, "", "");
	snprintf(config, sizeof(config), "%.*s", (int)(strlen(root) - strlen("/tenon")), root);
	if (error == -EACCES || error == -EPERM) {
		fputs("  only root may: try sudo\n", stderr);
	} else if (!ctl_exists(config)) {
		fputs("  there is no configfs: is the module tenon loaded? modprobe tenon\n", stderr);
	} else if (!ctl_exists(root)) {
		fprintf(stderr, "  %s isn't there: modprobe tenon, and if configfs isn't mounted,\n"
			"  mount -t configfs none %s\n", root, config);
	} else if (error == -ENOSPC && !strcmp(what, "enable")) {
		fputs("  no number for a node is left (tenonctl partition reap --all gives back those that\n"
		      "  ended), or memory_max of all is more than the device has (see overcommit)\n",
		      stderr);
	} else if (error == -ENOSPC) {
		fprintf(stderr, "  all memory_max together are more than the device has: lower others, or\n"
			"  tenonctl partition set %s overcommit=1\n", p->controller);
	} else if (error == -ENOENT && !strcmp(what, "allow_cgroup")) {
		fputs("  there is no such cgroup v2: it is a path below /sys/fs/cgroup, such as\n"
		      "  /machine.slice, and must be there first\n", stderr);
	} else if (error == -EINVAL && !strcmp(what, "mkdir")) {
		fputs("  a name is of letters, digits and ._- , begins with one of the first and has at\n"
		      "  most 31; a controller is a PCI address such as 0000:04:00.0\n", stderr);
	} else if (error == -EINVAL && range(what)) {
		fprintf(stderr, "  it takes %s\n", range(what));
	} else if (error == -EIO) {
		fputs("  the device refused it: see the kernel's log\n", stderr);
	}
}

/* overcommit is the controller's. */
static const char *directory(const struct ctl_partition *p, const struct ctl_change *change, char *path)
{
	ctl_config_path(path, p->controller, change->setting == ctl_settings ? "" : p->name);
	return path;
}

/* The values that were there before, in reverse order. */
void ctl_settings_undo(const struct ctl_partition *p, struct ctl_change *changes)
{
	char path[CTL_PATH_MAX];
	unsigned int i;

	for (i = ctl_setting_count; i--;) {
		struct ctl_change *change = &changes[i];
		int error;

		if (!change->written)
			continue;
		error = ctl_write(directory(p, change, path), change->setting->name, change->before);
		if (error)
			fprintf(stderr, "tenonctl: %s/%s: %s can't be put back to %s: %s\n", p->controller,
				p->name,
				change->setting->name, change->before, strerror(-error));
		change->written = false;
	}
}

/*
 * All that are wanted and differ, or, with an error that was told, none. The number of those written. @again: a
 * cgroup's path is written though it is there: the kernel looked it up then, and it may be another one by now.
 */
int ctl_settings_write(const struct ctl_partition *p, struct ctl_change *changes, bool again)
{
	char path[CTL_PATH_MAX];
	int error, count = 0;
	unsigned int i;

	for (i = 0; i < ctl_setting_count; i++) {
		struct ctl_change *change = &changes[i];

		if (!change->wanted)
			continue;
		directory(p, change, path);
		error = ctl_read(path, change->setting->name, change->before, sizeof(change->before));
		if (!error && !strcmp(change->before, change->value) &&
		    !(again && *change->value && !strcmp(change->setting->name, "allow_cgroup")))
			continue;
		if (!error)
			error = ctl_write(path, change->setting->name, change->value);
		if (error) {
			ctl_refused(p, change->setting->name, change->value, error);
			ctl_settings_undo(p, changes);
			return error;
		}
		change->written = true;
		count++;
	}
	return count;
}
