// SPDX-License-Identifier: MIT
/* Admin commands that only read: IDENTIFY and the log pages. */
#include <string.h>

#include "admin.h"
#include "faults.h"

/* Write @data to @address or, if it is NULL, only see that it can be written there. */
static int put(struct admin *admin, uint64_t address, const void *data, size_t bytes)
{
	const char *from = data;
	uint64_t left;

	while (bytes) {
		void *to = tn_space_at(admin->space, address, TDI_BUFFER_WRITE, &left);

		if (!to)
			return TDI_AS_ADDRESS;
		if (left > bytes)
			left = bytes;
		if (from) {
			memcpy(to, from, left);
			from += left;
		}
		address += left;
		bytes -= left;
	}
	return TDI_AS_OK;
}

static int write_data(struct admin *admin, const void *data, size_t bytes)
{
	if (bytes > admin->sqe->data.bytes)
		bytes = admin->sqe->data.bytes;
	return put(admin, admin->sqe->data.address, data, bytes);
}

/* What a device tells that has a fault. */
static void lie_about(struct tdi_usage *usage)
{
	if (FAULT(usage_times))
		usage->busy_ns *= FAULT_VALUE(usage_times);
	if (FAULT(usage_back))
		usage->busy_ns = 0;
}

int tn_admin_last_usage(struct admin *admin, const struct tdi_usage *usage)
{
	uint64_t address = admin->sqe->destroy.usage;
	struct tdi_usage lie;

	if (usage) {
		lie = *usage;
		lie_about(&lie);
	}
	return address ? put(admin, address, usage ? &lie : NULL, sizeof(*usage)) : TDI_AS_OK;
}

int tn_admin_identify(struct admin *admin)
{
	struct tdi_identify page;

	if (admin->sqe->generation || !ZERO_AFTER(admin->sqe, data.bytes))
		return TDI_AS_RESERVED;
	if (admin->sqe->data.page != TDI_IDENTIFY_CONTROLLER)
		return FIELD(admin, data.page);
	if (admin->sqe->data.id)
		return FIELD(admin, data.id);
	tn_identify(admin->device, &page);
	return write_data(admin, &page, sizeof(page));
}

void tn_context_usage(const struct tn_context *context, struct tdi_usage *usage)
{
	const struct tn_list *node;

	tn_usage_add(usage, &context->usage);
	for (node = context->queues.next; node != &context->queues; node = node->next)
		tn_usage_add(usage, &tn_entry(node, struct tn_queue, member)->usage);
}

/* What a group has used, contexts that are gone included. */
static void group_usage(struct admin *admin, const struct tn_group *group, struct tdi_usage *usage)
{
	uint32_t i;

	tn_usage_add(usage, &group->usage);
	usage->throttled_ns += tn_arbiter_throttled_ns(group, tn_device_now(admin->device));
	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		struct tn_context *context = admin->device->context[i];

		if (!context || context->group != group)
			continue;
		tn_context_hold(context);
		tn_context_usage(context, usage);
		tn_context_release(context);
	}
}

/* The object of a log page. */
static void *logged(const struct admin *admin, enum object kind, int *status)
{
	return tn_admin_find(admin, kind, admin->sqe->data.id, admin->sqe->generation, status);
}

static int log_group_usage(struct admin *admin)
{
	struct tdi_usage usage = { 0 };
	int status;
	struct tn_group *group = logged(admin, GROUP, &status);

	if (!group)
		return status;
	group_usage(admin, group, &usage);
	return write_data(admin, &usage, sizeof(usage));
}

static int log_controller(struct admin *admin)
{
	struct tdi_controller_log page;
	uint32_t i;

	if (admin->sqe->generation)
		return TDI_AS_RESERVED;
	if (admin->sqe->data.id)
		return FIELD(admin, data.id);
	page = admin->device->log;
	page.notices = __atomic_load_n(&admin->device->log.notices, __ATOMIC_RELAXED);
	for (i = 0; i < TN_MAX_GROUPS; i++) {
		struct tdi_usage usage = { 0 };

		if (!admin->device->group[i].live)
			continue;
		group_usage(admin, &admin->device->group[i], &usage);
		page.busy_ns += usage.busy_ns;
	}
	return write_data(admin, &page, sizeof(page));
}

static int log_context_usage(struct admin *admin)
{
	struct tdi_usage usage = { 0 };
	int status;
	struct tn_context *context = logged(admin, CONTEXT, &status);

	if (!context)
		return status;
	tn_context_hold(context);
	tn_context_usage(context, &usage);
	tn_context_release(context);
	lie_about(&usage);
	return write_data(admin, &usage, sizeof(usage));
}

static int log_queue_usage(struct admin *admin)
{
	struct tdi_usage usage;
	int status;
	struct tn_queue *queue = logged(admin, QUEUE, &status);

	if (!queue)
		return status;
	tn_context_hold(queue->context);
	usage = queue->usage;
	tn_context_release(queue->context);
	lie_about(&usage);
	return write_data(admin, &usage, sizeof(usage));
}

static int log_context_status(struct admin *admin)
{
	struct tdi_context_status page = { 0 };
	struct tn_list *node;
	int status;
	struct tn_context *context = logged(admin, CONTEXT, &status);

	if (!context)
		return status;
	tn_context_hold(context);
	for (node = context->queues.next; node != &context->queues; node = node->next) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, member);

		page.queue[page.queues++] = (struct tdi_queue_status){
			.queue = queue->id,
			.state = queue->state,
			.reason = queue->reason,
			.completed = queue->done,
		};
	}
	tn_context_release(context);
	return write_data(admin, &page, sizeof(page));
}

int tn_admin_get_log(struct admin *admin)
{
	if (!ZERO_AFTER(admin->sqe, data.bytes))
		return TDI_AS_RESERVED;
	switch (admin->sqe->data.page) {
	case TDI_LOG_GROUP_USAGE:
		return log_group_usage(admin);
	case TDI_LOG_CONTEXT_USAGE:
		return log_context_usage(admin);
	case TDI_LOG_QUEUE_USAGE:
		return log_queue_usage(admin);
	case TDI_LOG_CONTEXT_STATUS:
		return log_context_status(admin);
	case TDI_LOG_CONTROLLER:
		return log_controller(admin);
	default:
		return FIELD(admin, data.page);
	}
}
