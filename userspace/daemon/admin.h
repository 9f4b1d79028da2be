/* SPDX-License-Identifier: MIT */
/* What the files of the admin commands share. */
#ifndef TN_ADMIN_H
#define TN_ADMIN_H

#include <stddef.h>

#include "device.h"

/* The command under way. */
struct admin {
	struct tn_device *device;
	struct tn_space *space;
	const struct tdi_admin_sqe *sqe;
	struct tdi_admin_cqe *cqe;
};

int tn_admin_field(struct admin *admin, size_t offset);
/* Are the bytes of the command from @offset on zero? */
bool tn_admin_zero_from(const struct tdi_admin_sqe *sqe, size_t offset);

#define FIELD(admin, member) tn_admin_field(admin, offsetof(struct tdi_admin_sqe, member))
#define ZERO_AFTER(sqe, member) \
	tn_admin_zero_from(sqe, offsetof(struct tdi_admin_sqe, member) + sizeof((sqe)->member))

enum object { GROUP, CONTEXT, QUEUE };

/* A struct tn_group, tn_context or tn_queue; NULL: not there, or of another generation, as *@status says. */
void *tn_admin_find(const struct admin *admin, enum object kind, uint32_t id, uint32_t generation,
		    int *status);

/* log.c */
int tn_admin_identify(struct admin *admin);
int tn_admin_get_log(struct admin *admin);
/* With the context held: what it has used, queues that are gone included. */
void tn_context_usage(const struct tn_context *context, struct tdi_usage *usage);
/* Of a DESTROY: write @usage to where it wants it or, if NULL, only see that it can be written. [MET-12] */
int tn_admin_last_usage(struct admin *admin, const struct tdi_usage *usage);

#endif /* TN_ADMIN_H */
