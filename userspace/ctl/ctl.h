/* SPDX-License-Identifier: MIT */
/* tenonctl: what its files share. */
#ifndef TENON_CTL_H
#define TENON_CTL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#include <tenon/tenon.h>

enum exit_status {
	EXIT_OK		= 0,
	EXIT_FAILED	= 1,	/* no device, an error, or a check that failed */
	EXIT_USAGE	= 2,
};

#define CTL_NODE_DIR	"/dev/accel"
#define CTL_LINK_MAX	320	/* bytes of a link's path */
#define CTL_PATH_MAX	512	/* of another */
#define CTL_VALUE_MAX	4096	/* of an attribute's value */

struct ctl {
	bool json;
	bool terminal;		/* stdout is one, and is for people */
	bool all;
	bool prune;
	bool follow;
	bool once;
	uint64_t copy_bytes;	/* 0: the default */
	uint64_t interval_ns;
	const char *since;
	const char *state;
	const char *sort;
};

/* One for each subcommand; @args are what follows its name, NULL at the end. */
int ctl_list(const struct ctl *ctl, char *const *args);
int ctl_info(const struct ctl *ctl, char *const *args);
int ctl_validate(const struct ctl *ctl, char *const *args);
int ctl_partition_list(const struct ctl *ctl, char *const *args);
int ctl_partition_show(const struct ctl *ctl, char *const *args);
int ctl_partition_create(const struct ctl *ctl, char *const *args);
int ctl_partition_set(const struct ctl *ctl, char *const *args);
int ctl_partition_drain(const struct ctl *ctl, char *const *args);
int ctl_partition_delete(const struct ctl *ctl, char *const *args);
int ctl_partition_recycle(const struct ctl *ctl, char *const *args);
int ctl_partition_reap(const struct ctl *ctl, char *const *args);
int ctl_partition_save(const struct ctl *ctl, char *const *args);
int ctl_partition_restore(const struct ctl *ctl, char *const *args);
int ctl_meter(const struct ctl *ctl, char *const *args);
int ctl_events(const struct ctl *ctl, char *const *args);
int ctl_top(const struct ctl *ctl, char *const *args);

/* open.c: opens @path, or the first device if it is NULL; *@opened is what was opened, to be freed. */
int ctl_open(const struct ctl *ctl, const char *path, struct tenon_context **context, char **opened);
void ctl_no_device(void);
const char *ctl_transport(const char *path);
const char *ctl_link(char *to, size_t size, const char *path);

/*
 * sysfs.c: a partition as it is configured, as it lives, or both. Directories that aren't there are "".
 */
struct ctl_partition {
	char controller[64];
	char name[64];
	char device[32];		/* accelN, or "" */
	char config[CTL_PATH_MAX];	/* in configfs */
	char sysfs[CTL_PATH_MAX];	/* of the auxiliary device */
};

const char *ctl_root(const char *variable, const char *fallback);
void ctl_path(char *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ctl_config_path(char *to, const char *controller, const char *name);
int ctl_read(const char *directory, const char *name, char *to, size_t size);
uint64_t ctl_read_number(const char *directory, const char *name);
void ctl_boot_id(char *to, size_t size);
const char *ctl_health(char *to, size_t size, const char *path);
bool ctl_may_read_usage(const struct ctl_partition *p);
int ctl_write(const char *directory, const char *name, const char *value);
bool ctl_exists(const char *path);
int ctl_names(const char *directory, char ***names);
void ctl_names_free(char **names, int count);
int ctl_partitions(struct ctl_partition **partitions);
int ctl_controllers(char ***names);

/* settings.c: what can be configured of a partition, and the values that were there before. */
struct ctl_setting {
	const char *name;
	enum { SETTING_NUMBER, SETTING_WORD, SETTING_BYTES, SETTING_TIME, SETTING_PERCENT } kind;
	const char *none;	/* what 0, or nothing, means; NULL: that */
};

/* In the order in which they are written; enable, the last, makes a partition of them. */
extern const struct ctl_setting ctl_settings[];
extern const unsigned int ctl_setting_count;

struct ctl_change {
	const struct ctl_setting *setting;
	char value[CTL_LINK_MAX];	/* as the kernel takes it; "" unless @wanted */
	char before[CTL_LINK_MAX];
	bool wanted;
	bool written;
};

#define CTL_CHANGES_MAX	16

const struct ctl_setting *ctl_setting(const char *name);
int ctl_settings_parse(char *const *args, struct ctl_change *changes);
int ctl_settings_write(const struct ctl_partition *p, struct ctl_change *changes, bool again);
void ctl_settings_undo(const struct ctl_partition *p, struct ctl_change *changes);
void ctl_refused(const struct ctl_partition *p, const char *what, const char *value, int error);

/* partition.c: a directory, with its controller's; *@made tells which of both are new. */
int ctl_partition_make(const struct ctl_partition *p, unsigned int *made);
void ctl_partition_unmake(const struct ctl_partition *p, unsigned int made);
int ctl_partition_wait(const struct ctl *ctl, const struct ctl_partition *p);
void ctl_interruptible(void);

/* text.c */
int64_t ctl_now(void);
const char *ctl_string(char *to, size_t size, const __u8 *from, size_t bytes);
const char *ctl_size(char *to, size_t size, uint64_t bytes);
const char *ctl_time(char *to, size_t size, uint64_t ns);
const char *ctl_short_size(char *to, size_t size, double bytes);
const char *ctl_short_time(char *to, size_t size, double ns);
const char *ctl_short_count(char *to, size_t size, double count);
const char *ctl_feature(unsigned int bit);
const char *ctl_opcode(unsigned int opcode);
const char *ctl_tensor_op(unsigned int op);
const char *ctl_dtype(unsigned int dtype);
void ctl_json_print(struct json_object *object);
void ctl_json_string(struct json_object *object, const char *name, const char *value);
void ctl_json_number(struct json_object *object, const char *name, uint64_t value);

#endif /* TENON_CTL_H */
