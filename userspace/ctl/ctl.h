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

struct ctl {
	bool json;
	bool terminal;		/* stdout is one, and is for people */
	uint64_t copy_bytes;	/* 0: the default */
};

/* One for each subcommand; @device may be NULL. */
int ctl_list(const struct ctl *ctl, const char *device);
int ctl_info(const struct ctl *ctl, const char *device);
int ctl_validate(const struct ctl *ctl, const char *device);

/* open.c: opens @path, or the first device if it is NULL; *@opened is what was opened, to be freed. */
int ctl_open(const struct ctl *ctl, const char *path, struct tenon_context **context, char **opened);
void ctl_no_device(void);
const char *ctl_transport(const char *path);
const char *ctl_link(char *to, size_t size, const char *path);

/* text.c */
int64_t ctl_now(void);
const char *ctl_string(char *to, size_t size, const __u8 *from, size_t bytes);
const char *ctl_size(char *to, size_t size, uint64_t bytes);
const char *ctl_time(char *to, size_t size, uint64_t ns);
const char *ctl_feature(unsigned int bit);
const char *ctl_opcode(unsigned int opcode);
const char *ctl_tensor_op(unsigned int op);
const char *ctl_dtype(unsigned int dtype);
void ctl_json_print(struct json_object *object);

#endif /* TENON_CTL_H */
