/* SPDX-License-Identifier: MIT */
/*
 * The layout of every structure of TDI and of the socket protocol, as numbers: a change of one is a change of
 * the interface. Includes nothing; who includes it has included the two headers. [CON-1, CON-2]
 *
 * tests/abi/check compiles this with each toolchain that builds the headers, and sees to it that no structure
 * and no member is left out.
 */
#ifndef TDI_LAYOUT_H
#define TDI_LAYOUT_H

#if defined(__KERNEL__) || defined(__cplusplus)
#define LAYOUT_ASSERT(condition, text) static_assert(condition, text)
#else
#define LAYOUT_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#define SIZE(type, bytes) LAYOUT_ASSERT(sizeof(struct type) == (bytes), "size of struct " #type)

/* @at: offset of the member; @bytes: its size. */
#define MEMBER(type, member, at, bytes)									\
	LAYOUT_ASSERT(__builtin_offsetof(struct type, member) == (at), "offset of " #type "." #member);	\
	LAYOUT_ASSERT(sizeof(((struct type *)0)->member) == (bytes), "size of " #type "." #member)

/* ------------------------------------------------------------------ uapi/linux/tdi.h */

SIZE(tdi_producer_page, 256);
MEMBER(tdi_producer_page, tail, 0, 4);
MEMBER(tdi_producer_page, reserved0, 4, 124);
MEMBER(tdi_producer_page, wanted, 128, 4);
MEMBER(tdi_producer_page, wanted_kernel, 132, 4);
MEMBER(tdi_producer_page, reserved1, 136, 120);

SIZE(tdi_device_page, 256);
MEMBER(tdi_device_page, fetched, 0, 4);
MEMBER(tdi_device_page, reserved0, 4, 124);
MEMBER(tdi_device_page, flags, 128, 4);
MEMBER(tdi_device_page, reserved1, 132, 124);

SIZE(tdi_kernel_page, 128);
MEMBER(tdi_kernel_page, flags, 0, 4);
MEMBER(tdi_kernel_page, generation, 4, 4);
MEMBER(tdi_kernel_page, reserved, 8, 120);

SIZE(tdi_copy, 48);
MEMBER(tdi_copy, dst, 0, 4);
MEMBER(tdi_copy, src, 4, 4);
MEMBER(tdi_copy, dst_offset, 8, 8);
MEMBER(tdi_copy, src_offset, 16, 8);
MEMBER(tdi_copy, row_bytes, 24, 8);
MEMBER(tdi_copy, rows, 32, 4);
MEMBER(tdi_copy, dst_pitch, 36, 4);
MEMBER(tdi_copy, src_pitch, 40, 4);
MEMBER(tdi_copy, reserved, 44, 4);

SIZE(tdi_fill, 48);
MEMBER(tdi_fill, dst, 0, 4);
MEMBER(tdi_fill, width, 4, 4);
MEMBER(tdi_fill, offset, 8, 8);
MEMBER(tdi_fill, bytes, 16, 8);
MEMBER(tdi_fill, pattern, 24, 8);
MEMBER(tdi_fill, reserved, 32, 16);

SIZE(tdi_signal, 48);
MEMBER(tdi_signal, buffer, 0, 4);
MEMBER(tdi_signal, mode, 4, 4);
MEMBER(tdi_signal, offset, 8, 8);
MEMBER(tdi_signal, value, 16, 8);
MEMBER(tdi_signal, reserved, 24, 24);

SIZE(tdi_wait, 48);
MEMBER(tdi_wait, buffer, 0, 4);
MEMBER(tdi_wait, reserved0, 4, 4);
MEMBER(tdi_wait, offset, 8, 8);
MEMBER(tdi_wait, ref, 16, 8);
MEMBER(tdi_wait, timeout_ns, 24, 8);
MEMBER(tdi_wait, reserved1, 32, 16);

SIZE(tdi_exec, 48);
MEMBER(tdi_exec, program, 0, 4);
MEMBER(tdi_exec, args_buffer, 4, 4);
MEMBER(tdi_exec, args_offset, 8, 8);
MEMBER(tdi_exec, args_count, 16, 4);
MEMBER(tdi_exec, reserved0, 20, 4);
MEMBER(tdi_exec, reserved1, 24, 24);

SIZE(tdi_arg, 32);
MEMBER(tdi_arg, buffer, 0, 4);
MEMBER(tdi_arg, rights, 4, 4);
MEMBER(tdi_arg, offset, 8, 8);
MEMBER(tdi_arg, bytes, 16, 8);
MEMBER(tdi_arg, reserved, 24, 8);

SIZE(tdi_tensor_cmd, 48);
MEMBER(tdi_tensor_cmd, buffer, 0, 4);
MEMBER(tdi_tensor_cmd, bytes, 4, 4);
MEMBER(tdi_tensor_cmd, offset, 8, 8);
MEMBER(tdi_tensor_cmd, reserved, 16, 32);

SIZE(tdi_sqe, 64);
MEMBER(tdi_sqe, opcode, 0, 1);
MEMBER(tdi_sqe, flags, 1, 1);
MEMBER(tdi_sqe, reserved0, 2, 2);
MEMBER(tdi_sqe, reserved1, 4, 4);
MEMBER(tdi_sqe, user_data, 8, 8);
MEMBER(tdi_sqe, copy, 16, 48);
MEMBER(tdi_sqe, fill, 16, 48);
MEMBER(tdi_sqe, signal, 16, 48);
MEMBER(tdi_sqe, wait, 16, 48);
MEMBER(tdi_sqe, exec, 16, 48);
MEMBER(tdi_sqe, tensor, 16, 48);
MEMBER(tdi_sqe, raw, 16, 48);

SIZE(tdi_cqe, 32);
MEMBER(tdi_cqe, user_data, 0, 8);
MEMBER(tdi_cqe, busy_ns, 8, 8);
MEMBER(tdi_cqe, units, 16, 4);
MEMBER(tdi_cqe, info, 20, 4);
MEMBER(tdi_cqe, status, 24, 2);
MEMBER(tdi_cqe, reserved, 26, 2);
MEMBER(tdi_cqe, sequence, 28, 4);

SIZE(tdi_tensor, 128);
MEMBER(tdi_tensor, buffer, 0, 4);
MEMBER(tdi_tensor, dtype, 4, 1);
MEMBER(tdi_tensor, rank, 5, 1);
MEMBER(tdi_tensor, reserved0, 6, 2);
MEMBER(tdi_tensor, offset, 8, 8);
MEMBER(tdi_tensor, shape, 16, 32);
MEMBER(tdi_tensor, stride, 48, 64);
MEMBER(tdi_tensor, reserved1, 112, 16);

SIZE(tdi_op, 64);
MEMBER(tdi_op, op, 0, 2);
MEMBER(tdi_op, flags, 2, 2);
MEMBER(tdi_op, inputs, 4, 1);
MEMBER(tdi_op, outputs, 5, 1);
MEMBER(tdi_op, reserved0, 6, 2);
MEMBER(tdi_op, axis, 8, 4);
MEMBER(tdi_op, alpha, 12, 4);
MEMBER(tdi_op, beta, 16, 4);
MEMBER(tdi_op, a_zero, 20, 4);
MEMBER(tdi_op, b_zero, 24, 4);
MEMBER(tdi_op, y_zero, 28, 4);
MEMBER(tdi_op, scale, 32, 4);
MEMBER(tdi_op, reserved1, 36, 28);

SIZE(tdi_admin_data, 56);
MEMBER(tdi_admin_data, page, 0, 4);
MEMBER(tdi_admin_data, id, 4, 4);
MEMBER(tdi_admin_data, address, 8, 8);
MEMBER(tdi_admin_data, bytes, 16, 4);
MEMBER(tdi_admin_data, reserved, 20, 36);

SIZE(tdi_admin_feature, 56);
MEMBER(tdi_admin_feature, feature, 0, 4);
MEMBER(tdi_admin_feature, reserved0, 4, 4);
MEMBER(tdi_admin_feature, value, 8, 8);
MEMBER(tdi_admin_feature, reserved1, 16, 40);

SIZE(tdi_admin_abort, 56);
MEMBER(tdi_admin_abort, queue, 0, 4);
MEMBER(tdi_admin_abort, index, 4, 4);
MEMBER(tdi_admin_abort, reserved, 8, 48);

SIZE(tdi_admin_eq, 56);
MEMBER(tdi_admin_eq, eq, 0, 4);
MEMBER(tdi_admin_eq, depth_log2, 4, 4);
MEMBER(tdi_admin_eq, address, 8, 8);
MEMBER(tdi_admin_eq, vector, 16, 4);
MEMBER(tdi_admin_eq, moderation_ns, 20, 4);
MEMBER(tdi_admin_eq, reserved, 24, 32);

SIZE(tdi_admin_group, 56);
MEMBER(tdi_admin_group, group, 0, 4);
MEMBER(tdi_admin_group, weight, 4, 2);
MEMBER(tdi_admin_group, priority, 6, 1);
MEMBER(tdi_admin_group, reserved0, 7, 1);
MEMBER(tdi_admin_group, quantum_ns, 8, 8);
MEMBER(tdi_admin_group, max_command_ns, 16, 8);
MEMBER(tdi_admin_group, busy_max_ns, 24, 8);
MEMBER(tdi_admin_group, busy_period_ns, 32, 8);
MEMBER(tdi_admin_group, units, 40, 4);
MEMBER(tdi_admin_group, reserved1, 44, 4);
MEMBER(tdi_admin_group, reserved2, 48, 8);

SIZE(tdi_admin_destroy, 56);
MEMBER(tdi_admin_destroy, id, 0, 4);
MEMBER(tdi_admin_destroy, reserved0, 4, 4);
MEMBER(tdi_admin_destroy, usage, 8, 8);
MEMBER(tdi_admin_destroy, reserved1, 16, 40);

SIZE(tdi_admin_context, 56);
MEMBER(tdi_admin_context, context, 0, 4);
MEMBER(tdi_admin_context, group, 4, 4);
MEMBER(tdi_admin_context, group_generation, 8, 4);
MEMBER(tdi_admin_context, reserved0, 12, 4);
MEMBER(tdi_admin_context, reserved1, 16, 40);

SIZE(tdi_admin_queue, 56);
MEMBER(tdi_admin_queue, queue, 0, 4);
MEMBER(tdi_admin_queue, context, 4, 4);
MEMBER(tdi_admin_queue, context_generation, 8, 4);
MEMBER(tdi_admin_queue, first, 12, 4);
MEMBER(tdi_admin_queue, moderation_ns, 16, 4);
MEMBER(tdi_admin_queue, eq, 20, 2);
MEMBER(tdi_admin_queue, depth_log2, 22, 1);
MEMBER(tdi_admin_queue, flags, 23, 1);
MEMBER(tdi_admin_queue, producer, 24, 8);
MEMBER(tdi_admin_queue, sq, 32, 8);
MEMBER(tdi_admin_queue, device, 40, 8);
MEMBER(tdi_admin_queue, cq, 48, 8);

SIZE(tdi_admin_buffer, 56);
MEMBER(tdi_admin_buffer, context, 0, 4);
MEMBER(tdi_admin_buffer, context_generation, 4, 4);
MEMBER(tdi_admin_buffer, buffer, 8, 4);
MEMBER(tdi_admin_buffer, flags, 12, 4);
MEMBER(tdi_admin_buffer, length, 16, 8);
MEMBER(tdi_admin_buffer, first, 24, 8);
MEMBER(tdi_admin_buffer, address, 32, 8);
MEMBER(tdi_admin_buffer, shift, 40, 4);
MEMBER(tdi_admin_buffer, reserved0, 44, 4);
MEMBER(tdi_admin_buffer, reserved1, 48, 8);

SIZE(tdi_admin_memory, 56);
MEMBER(tdi_admin_memory, context, 0, 4);
MEMBER(tdi_admin_memory, context_generation, 4, 4);
MEMBER(tdi_admin_memory, address, 8, 8);
MEMBER(tdi_admin_memory, bytes, 16, 8);
MEMBER(tdi_admin_memory, reserved, 24, 32);

SIZE(tdi_admin_program, 56);
MEMBER(tdi_admin_program, context, 0, 4);
MEMBER(tdi_admin_program, context_generation, 4, 4);
MEMBER(tdi_admin_program, program, 8, 4);
MEMBER(tdi_admin_program, reserved0, 12, 4);
MEMBER(tdi_admin_program, address, 16, 8);
MEMBER(tdi_admin_program, bytes, 24, 8);
MEMBER(tdi_admin_program, reserved1, 32, 24);

SIZE(tdi_admin_sqe, 64);
MEMBER(tdi_admin_sqe, opcode, 0, 1);
MEMBER(tdi_admin_sqe, reserved, 1, 1);
MEMBER(tdi_admin_sqe, command, 2, 2);
MEMBER(tdi_admin_sqe, generation, 4, 4);
MEMBER(tdi_admin_sqe, data, 8, 56);
MEMBER(tdi_admin_sqe, feature, 8, 56);
MEMBER(tdi_admin_sqe, abort, 8, 56);
MEMBER(tdi_admin_sqe, eq, 8, 56);
MEMBER(tdi_admin_sqe, group, 8, 56);
MEMBER(tdi_admin_sqe, destroy, 8, 56);
MEMBER(tdi_admin_sqe, context, 8, 56);
MEMBER(tdi_admin_sqe, queue, 8, 56);
MEMBER(tdi_admin_sqe, buffer, 8, 56);
MEMBER(tdi_admin_sqe, memory, 8, 56);
MEMBER(tdi_admin_sqe, program, 8, 56);
MEMBER(tdi_admin_sqe, raw, 8, 56);

SIZE(tdi_admin_cqe, 32);
MEMBER(tdi_admin_cqe, result, 0, 8);
MEMBER(tdi_admin_cqe, reserved0, 8, 8);
MEMBER(tdi_admin_cqe, info, 16, 4);
MEMBER(tdi_admin_cqe, command, 20, 2);
MEMBER(tdi_admin_cqe, reserved1, 22, 2);
MEMBER(tdi_admin_cqe, status, 24, 2);
MEMBER(tdi_admin_cqe, reserved2, 26, 2);
MEMBER(tdi_admin_cqe, sequence, 28, 4);

SIZE(tdi_event, 16);
MEMBER(tdi_event, type, 0, 2);
MEMBER(tdi_event, reserved, 2, 2);
MEMBER(tdi_event, id, 4, 4);
MEMBER(tdi_event, hint, 8, 4);
MEMBER(tdi_event, sequence, 12, 4);

SIZE(tdi_identify, 512);
MEMBER(tdi_identify, version, 0, 4);
MEMBER(tdi_identify, vendor, 4, 2);
MEMBER(tdi_identify, device, 6, 2);
MEMBER(tdi_identify, features, 8, 8);
MEMBER(tdi_identify, opcodes, 16, 32);
MEMBER(tdi_identify, tensor_ops, 48, 8);
MEMBER(tdi_identify, dtypes, 56, 8);
MEMBER(tdi_identify, max_groups, 64, 4);
MEMBER(tdi_identify, max_contexts, 68, 4);
MEMBER(tdi_identify, max_queues, 72, 4);
MEMBER(tdi_identify, max_eqs, 76, 4);
MEMBER(tdi_identify, max_buffers, 80, 4);
MEMBER(tdi_identify, max_depth_log2, 84, 2);
MEMBER(tdi_identify, units, 86, 2);
MEMBER(tdi_identify, max_buffer_bytes, 88, 8);
MEMBER(tdi_identify, max_wait_ns, 96, 8);
MEMBER(tdi_identify, granularity_ns, 104, 8);
MEMBER(tdi_identify, quantum_ns, 112, 8);
MEMBER(tdi_identify, memory_bytes, 120, 8);
MEMBER(tdi_identify, serial, 128, 32);
MEMBER(tdi_identify, model, 160, 64);
MEMBER(tdi_identify, firmware, 224, 32);
MEMBER(tdi_identify, reserved, 256, 256);

SIZE(tdi_usage, 760);
MEMBER(tdi_usage, busy_ns, 0, 8);
MEMBER(tdi_usage, wait_ns, 8, 8);
MEMBER(tdi_usage, bytes_read, 16, 8);
MEMBER(tdi_usage, bytes_written, 24, 8);
MEMBER(tdi_usage, energy_nj, 32, 8);
MEMBER(tdi_usage, errors, 40, 8);
MEMBER(tdi_usage, throttled_ns, 48, 8);
MEMBER(tdi_usage, commands, 56, 64);
MEMBER(tdi_usage, wait_hist, 120, 320);
MEMBER(tdi_usage, service_hist, 440, 320);

SIZE(tdi_queue_status, 16);
MEMBER(tdi_queue_status, queue, 0, 4);
MEMBER(tdi_queue_status, state, 4, 1);
MEMBER(tdi_queue_status, reason, 5, 1);
MEMBER(tdi_queue_status, reserved0, 6, 2);
MEMBER(tdi_queue_status, completed, 8, 4);
MEMBER(tdi_queue_status, reserved1, 12, 4);

SIZE(tdi_context_status, 1040);
MEMBER(tdi_context_status, queues, 0, 4);
MEMBER(tdi_context_status, lost_buffers, 4, 4);
MEMBER(tdi_context_status, reserved, 8, 8);
MEMBER(tdi_context_status, queue, 16, 1024);

SIZE(tdi_controller_log, 64);
MEMBER(tdi_controller_log, busy_ns, 0, 8);
MEMBER(tdi_controller_log, late_completions, 8, 8);
MEMBER(tdi_controller_log, notices, 16, 8);
MEMBER(tdi_controller_log, stopped_queues, 24, 8);
MEMBER(tdi_controller_log, reserved, 32, 32);

/* -------------------------------------------------------------------- tenon/socket.h */

SIZE(tenon_msg, 16);
MEMBER(tenon_msg, size, 0, 4);
MEMBER(tenon_msg, type, 4, 2);
MEMBER(tenon_msg, reserved, 6, 2);
MEMBER(tenon_msg, id, 8, 8);

SIZE(tenon_reply, 40);
MEMBER(tenon_reply, size, 0, 4);
MEMBER(tenon_reply, type, 4, 2);
MEMBER(tenon_reply, reserved, 6, 2);
MEMBER(tenon_reply, id, 8, 8);
MEMBER(tenon_reply, error, 16, 4);
MEMBER(tenon_reply, reserved1, 20, 4);
MEMBER(tenon_reply, needed, 24, 8);
MEMBER(tenon_reply, allowed, 32, 8);

SIZE(tenon_msg_hello, 24);
MEMBER(tenon_msg_hello, head, 0, 16);
MEMBER(tenon_msg_hello, major, 16, 2);
MEMBER(tenon_msg_hello, minor, 18, 2);
MEMBER(tenon_msg_hello, reserved, 20, 4);

SIZE(tenon_reply_hello, 584);
MEMBER(tenon_reply_hello, head, 0, 40);
MEMBER(tenon_reply_hello, major, 40, 2);
MEMBER(tenon_reply_hello, minor, 42, 2);
MEMBER(tenon_reply_hello, context, 44, 4);
MEMBER(tenon_reply_hello, memory_bytes, 48, 8);
MEMBER(tenon_reply_hello, buffers, 56, 4);
MEMBER(tenon_reply_hello, queues, 60, 4);
MEMBER(tenon_reply_hello, depth, 64, 4);
MEMBER(tenon_reply_hello, reserved, 68, 4);
MEMBER(tenon_reply_hello, identify, 72, 512);

SIZE(tenon_msg_buffer_create, 32);
MEMBER(tenon_msg_buffer_create, head, 0, 16);
MEMBER(tenon_msg_buffer_create, bytes, 16, 8);
MEMBER(tenon_msg_buffer_create, rights, 24, 4);
MEMBER(tenon_msg_buffer_create, reserved, 28, 4);

SIZE(tenon_reply_buffer_create, 48);
MEMBER(tenon_reply_buffer_create, head, 0, 40);
MEMBER(tenon_reply_buffer_create, buffer, 40, 4);
MEMBER(tenon_reply_buffer_create, reserved, 44, 4);

SIZE(tenon_msg_buffer_destroy, 24);
MEMBER(tenon_msg_buffer_destroy, head, 0, 16);
MEMBER(tenon_msg_buffer_destroy, buffer, 16, 4);
MEMBER(tenon_msg_buffer_destroy, reserved, 20, 4);

SIZE(tenon_msg_queue_create, 24);
MEMBER(tenon_msg_queue_create, head, 0, 16);
MEMBER(tenon_msg_queue_create, depth, 16, 4);
MEMBER(tenon_msg_queue_create, reserved, 20, 4);

SIZE(tenon_reply_queue_create, 56);
MEMBER(tenon_reply_queue_create, head, 0, 40);
MEMBER(tenon_reply_queue_create, queue, 40, 4);
MEMBER(tenon_reply_queue_create, first, 44, 4);
MEMBER(tenon_reply_queue_create, depth, 48, 4);
MEMBER(tenon_reply_queue_create, reserved, 52, 4);

SIZE(tenon_msg_queue_destroy, 24);
MEMBER(tenon_msg_queue_destroy, head, 0, 16);
MEMBER(tenon_msg_queue_destroy, queue, 16, 4);
MEMBER(tenon_msg_queue_destroy, reserved, 20, 4);
SIZE(tenon_msg_queue_usage, 24);
MEMBER(tenon_msg_queue_usage, head, 0, 16);
MEMBER(tenon_msg_queue_usage, queue, 16, 4);
MEMBER(tenon_msg_queue_usage, reserved, 20, 4);

SIZE(tenon_reply_status, 1080);
MEMBER(tenon_reply_status, head, 0, 40);
MEMBER(tenon_reply_status, status, 40, 1040);

SIZE(tenon_reply_usage, 800);
MEMBER(tenon_reply_usage, head, 0, 40);
MEMBER(tenon_reply_usage, usage, 40, 760);

#endif /* TDI_LAYOUT_H */
