/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints. Together they show the order of the end of access: what the device has acknowledged, or
 * fence_off, comes before the release of memory.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tenon

#if !defined(TENON_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define TENON_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

#include "tenon.h"

TRACE_EVENT(tenon_admin_submit,
	TP_PROTO(const struct tenon_controller *c, const struct tenon_request *rq),
	TP_ARGS(c, rq),
	TP_STRUCT__entry(
		__string(device, dev_name(c->dev))
		__field(u8, opcode)
		__field(u16, command)
		__field(u32, generation)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->opcode = rq->sqe.opcode;
		__entry->command = le16_to_cpu(rq->sqe.command);
		__entry->generation = le32_to_cpu(rq->sqe.generation);
	),
	TP_printk("%s command=%u opcode=%#x generation=%u", __get_str(device), __entry->command,
		  __entry->opcode, __entry->generation)
);

TRACE_EVENT(tenon_admin_complete,
	TP_PROTO(const struct tenon_request *rq),
	TP_ARGS(rq),
	TP_STRUCT__entry(
		__field(u8, opcode)
		__field(u16, command)
		__field(u16, status)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->opcode = rq->sqe.opcode;
		__entry->command = le16_to_cpu(rq->sqe.command);
		__entry->status = rq->error ? 0 : le16_to_cpu(rq->cqe.status);
		__entry->error = rq->error;
	),
	TP_printk("command=%u opcode=%#x status=%#x error=%d", __entry->command, __entry->opcode,
		  __entry->status, __entry->error)
);

TRACE_EVENT(tenon_context_create,
	TP_PROTO(const struct tenon_context *x),
	TP_ARGS(x),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, generation)
	),
	TP_fast_assign(
		__entry->context = x->id;
		__entry->generation = x->generation;
	),
	TP_printk("context=%u generation=%u", __entry->context, __entry->generation)
);

TRACE_EVENT(tenon_context_end,
	TP_PROTO(const struct tenon_context *x, bool proven),
	TP_ARGS(x, proven),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(bool, proven)
	),
	TP_fast_assign(
		__entry->context = x->id;
		__entry->proven = proven;
	),
	TP_printk("context=%u proven=%d", __entry->context, __entry->proven)
);

TRACE_EVENT(tenon_buffer_map,
	TP_PROTO(const struct tenon_context *x, u32 buffer, u64 pages),
	TP_ARGS(x, buffer, pages),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, buffer)
		__field(u64, pages)
	),
	TP_fast_assign(
		__entry->context = x->id;
		__entry->buffer = buffer;
		__entry->pages = pages;
	),
	TP_printk("context=%u buffer=%#x pages=%llu", __entry->context, __entry->buffer, __entry->pages)
);

TRACE_EVENT(tenon_buffer_unmap,
	TP_PROTO(const struct tenon_context *x, u32 buffer, int ret),
	TP_ARGS(x, buffer, ret),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, buffer)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->context = x->id;
		__entry->buffer = buffer;
		__entry->ret = ret;
	),
	TP_printk("context=%u buffer=%#x ret=%d", __entry->context, __entry->buffer, __entry->ret)
);

TRACE_EVENT(tenon_buffer_release,
	TP_PROTO(const struct tenon_context *x, u32 buffer),
	TP_ARGS(x, buffer),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, buffer)
	),
	TP_fast_assign(
		__entry->context = x->id;
		__entry->buffer = buffer;
	),
	TP_printk("context=%u buffer=%#x", __entry->context, __entry->buffer)
);

TRACE_EVENT(tenon_queue_create,
	TP_PROTO(const struct tenon_queue *q),
	TP_ARGS(q),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, queue)
		__field(u32, depth)
	),
	TP_fast_assign(
		__entry->context = q->context->id;
		__entry->queue = q->id;
		__entry->depth = q->mask + 1;
	),
	TP_printk("context=%u queue=%u depth=%u", __entry->context, __entry->queue, __entry->depth)
);

TRACE_EVENT(tenon_queue_destroy,
	TP_PROTO(const struct tenon_queue *q, int ret),
	TP_ARGS(q, ret),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, queue)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->context = q->context->id;
		__entry->queue = q->id;
		__entry->ret = ret;
	),
	TP_printk("context=%u queue=%u ret=%d", __entry->context, __entry->queue, __entry->ret)
);

TRACE_EVENT(tenon_queue_release,
	TP_PROTO(const struct tenon_queue *q),
	TP_ARGS(q),
	TP_STRUCT__entry(
		__field(u32, context)
		__field(u32, queue)
	),
	TP_fast_assign(
		__entry->context = q->context->id;
		__entry->queue = q->id;
	),
	TP_printk("context=%u queue=%u", __entry->context, __entry->queue)
);

TRACE_EVENT(tenon_fence_off,
	TP_PROTO(const struct tenon_controller *c, bool proven),
	TP_ARGS(c, proven),
	TP_STRUCT__entry(
		__string(device, dev_name(c->dev))
		__field(bool, proven)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->proven = proven;
	),
	TP_printk("%s proven=%d", __get_str(device), __entry->proven)
);

/* All that /dev/tenon-events has */
TRACE_EVENT(tenon_event,
	TP_PROTO(const char *type, const char *text),
	TP_ARGS(type, text),
	TP_STRUCT__entry(
		__string(type, type)
		__string(text, text)
	),
	TP_fast_assign(
		__assign_str(type);
		__assign_str(text);
	),
	TP_printk("%s %s", __get_str(type), __get_str(text))
);

#endif /* TENON_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
