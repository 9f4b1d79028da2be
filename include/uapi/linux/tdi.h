/* SPDX-License-Identifier: MIT */
/*
 * Tenon Device Interface (TDI) 0.2: what host and controller share.
 *
 * The normative text is Documentation/tdi/; a rule there is named where it decides something here, as
 * [QUE-3]. All fields are little endian. A field called reserved is written as zero and checked by
 * whoever reads it. Versions 0.x are unstable.
 *
 * The same header compiles in the kernel, in C11 and in C++.
 */
#ifndef _UAPI_LINUX_TDI_H
#define _UAPI_LINUX_TDI_H

#include <linux/types.h>

#define TDI_VERSION_MAJOR	0
#define TDI_VERSION_MINOR	2
#define TDI_VERSION(major, minor) (((major) << 16) | (minor))

/* Every size and alignment of TDI is in units of this page, whatever the host's own page size is. */
#define TDI_PAGE_SIZE		4096
#define TDI_PAGE_SHIFT		12

/* ------------------------------------------------------------------ registers (BAR0) [REG] */

#define TDI_PCI_CLASS		0x120000	/* processing accelerator */
#define TDI_SIGNATURE		0x304944546e6f6e54ULL	/* "TnonTDI0" in memory order */

#define TDI_REG_SIGNATURE	0x00	/* u64, ro */
#define TDI_REG_VERSION		0x08	/* u32, ro: TDI_VERSION(major, minor) */
#define TDI_REG_STATUS		0x0c	/* u32, ro: TDI_STS_* */
#define TDI_REG_CAP		0x10	/* u64, ro: TDI_CAP_* */
#define TDI_REG_OFFER		0x18	/* u64, ro: features offered, TDI_F_* */
#define TDI_REG_ACCEPT		0x20	/* u64, rw while not enabled: features accepted */
#define TDI_REG_CONFIG		0x28	/* u32, rw: TDI_CFG_* */
#define TDI_REG_ADMIN_DEPTH	0x2c	/* u32, rw while not enabled: log2 of the admin queue's depth */
#define TDI_REG_ADMIN_SQ	0x30	/* u64, rw while not enabled: address, 4 KiB aligned */
#define TDI_REG_ADMIN_CQ	0x38	/* u64, rw while not enabled: address, 4 KiB aligned */
#define TDI_REG_ADMIN_FIRST	0x40	/* u32, rw while not enabled: first index, see TDI_FIRST_INDEX */
#define TDI_REG_ADMIN_TAIL	0x44	/* u32, wo: admin doorbell, the new tail */
#define TDI_REG_RESET		0x48	/* u32, wo: TDI_RESET_MAGIC starts a controller reset */
#define TDI_REG_EQ_HEAD(eq)	(0x1000 + 8 * (eq))	/* u32, wo: entries consumed */

/* Doorbells have a BAR of their own: a u32, wo, for each queue, alone in its 4 KiB << stride. [REG-15] */
#define TDI_DOORBELL_BAR	2
#define TDI_DOORBELL(queue, stride) ((__u64)(queue) << (TDI_PAGE_SHIFT + (stride)))

#define TDI_RESET_MAGIC		0x74736572	/* "rest" */

#define TDI_CAP_DMA_BITS(cap)	(((cap) & 0x3f) + 1)		/* width of a DMA address */
#define TDI_CAP_STRIDES(cap)	(((cap) >> 8) & 0x1f)		/* bit n: doorbell stride 4 KiB << n */
#define TDI_CAP_READY_MS(cap)	((((cap) >> 16) & 0xff) * 500)	/* enable, disable, reset */
#define TDI_CAP_ADMIN_MS(cap)	((((cap) >> 24) & 0xff) * 500)	/* any admin command */
#define TDI_CAP_QUIESCE_MS(cap)	((((cap) >> 32) & 0xff) * 500)	/* QUIESCE */
#define TDI_CAP_ADMIN_DEPTH(cap) (((cap) >> 40) & 0xf)		/* log2, largest admin queue */
#define TDI_CAP_P2P		(1ULL << 62)	/* reserved for peer-to-peer DMA: 0 */
#define TDI_CAP_PASID		(1ULL << 63)	/* reserved for PASID: 0 */

#define TDI_CFG_ENABLE		(1u << 0)
#define TDI_CFG_FEATURES_OK	(1u << 1)	/* host: ACCEPT is final */
#define TDI_CFG_STRIDE(n)	((n) << 8)	/* doorbell stride 4 KiB << n */

#define TDI_STS_READY		(1u << 0)
#define TDI_STS_FEATURES_OK	(1u << 1)	/* device: ACCEPT is taken */
#define TDI_STS_QUIESCED	(1u << 2)
#define TDI_STS_FATAL		(1u << 3)	/* only a controller reset helps */

/* Features. One that is not accepted is inert: its fields are reserved, its opcodes are unknown. [NEG-3] */
#define TDI_F_TENSOR		(1ULL << 0)	/* the tensor command set */
#define TDI_F_EXEC		(1ULL << 1)	/* programs and EXEC */
#define TDI_F_DEVICE_MEMORY	(1ULL << 2)	/* MEMORY_ALLOC / MEMORY_FREE */
#define TDI_F_FAIR		(1ULL << 3)	/* weights, priorities and caps of groups */
#define TDI_F_ENERGY		(1ULL << 4)	/* energy is metered */
#define TDI_F_RESTARTABLE	(1ULL << 5)	/* RESTARTABLE queues */
#define TDI_F_EVENT_QUEUES	(1ULL << 6)	/* event queues, unless the transport has its own notices */

/* ------------------------------------------------------------------------------ rings [QUE] */

#define TDI_DEPTH_LOG2_MAX	15
/* The first index of a new queue of n entries, so that every longer test crosses the wrap. [QUE-4] */
#define TDI_FIRST_INDEX(n)	(0u - 4u * (__u32)(n))

/**
 * struct tdi_producer_page - written by the tenant; @wanted_kernel by the kernel
 * @tail: index after the last submitted command; free running
 * @wanted: a notice is due when the completed sequence reaches this; one-shot [WAI-1]
 * @wanted_kernel: the same for the kernel's own waiters. Two waiters can't share one word: the later
 *	target, once displaced by an earlier one, would have to be put back in time [WAI-3]
 *
 * Each member that is polled has 128 bytes of its own: two cache lines, since adjacent lines are fetched
 * in pairs.
 */
struct tdi_producer_page {
	__le32 tail;
	__u8 reserved0[124];
	__le32 wanted;
	__le32 wanted_kernel;
	__u8 reserved1[120];
};

#define TDI_NEED_DOORBELL	(1u << 0)	/* store the tail to the doorbell */
#define TDI_NEED_KICK		(1u << 1)	/* call the transport's kick */

/**
 * struct tdi_device_page - written by the device
 * @fetched: index after the last command whose effects may have begun
 * @flags: TDI_NEED_*; 0 while the device polls
 */
struct tdi_device_page {
	__le32 fetched;
	__u8 reserved0[124];
	__le32 flags;
	__u8 reserved1[124];
};

#define TDI_KERNEL_DEAD		(1u << 0)	/* the device is gone: kick once more, then read CQEs */
#define TDI_KERNEL_FORCE_KICK	(1u << 1)	/* every submit kicks */
#define TDI_KERNEL_THROTTLED	(1u << 2)	/* over the partition's cap; information only */

/**
 * struct tdi_kernel_page - written by the kernel (on a socket: by tenond); the device never touches it
 * @flags: TDI_KERNEL_*
 * @generation: counts recoveries of the queue
 */
struct tdi_kernel_page {
	__le32 flags;
	__le32 generation;
	__u8 reserved[120];
};

/* --------------------------------------------------------------------------- commands [CMD] */

/* A buffer id: 24-bit index in the context's table and 8-bit generation, never 0. [BUF-2] */
#define TDI_BUFFER_ID(index, gen) (((__u32)(gen) << 24) | ((index) & 0xffffffu))
#define TDI_BUFFER_INDEX(id)	((id) & 0xffffffu)
#define TDI_BUFFER_GEN(id)	((__u32)(id) >> 24)

enum tdi_opcode {
	TDI_OP_NOP	= 0x00,
	TDI_OP_COPY	= 0x01,
	TDI_OP_FILL	= 0x02,
	TDI_OP_SIGNAL	= 0x03,
	TDI_OP_WAIT	= 0x04,
	TDI_OP_EXEC	= 0x05,	/* with TDI_F_EXEC */
	TDI_OP_TENSOR	= 0x10,	/* with TDI_F_TENSOR */
};

#define TDI_SQE_LINK		(1u << 0)	/* if this one fails, the next ends CANCELED [CMD-6] */
#define TDI_SQE_IDEMPOTENT	(1u << 1)	/* may be run again after a death [RST-7] */

/** struct tdi_copy - @rows rows of @row_bytes, each pitch bytes after the one before; one row: 1-D */
struct tdi_copy {
	__le32 dst;
	__le32 src;
	__le64 dst_offset;
	__le64 src_offset;
	__le64 row_bytes;
	__le32 rows;
	__le32 dst_pitch;
	__le32 src_pitch;
	__le32 reserved;
};

/** struct tdi_fill - @bytes bytes from the low @width bytes of @pattern repeated; width 1, 2, 4 or 8 */
struct tdi_fill {
	__le32 dst;
	__le32 width;
	__le64 offset;
	__le64 bytes;
	__le64 pattern;
	__le64 reserved[2];
};

#define TDI_SIGNAL_MAX		0	/* *p = max(*p, value), as (s64)(value - *p) > 0 */
#define TDI_SIGNAL_ADD		1	/* *p += value */

/** struct tdi_signal - change the u64 at @offset (8-byte aligned) and wake its waiters */
struct tdi_signal {
	__le32 buffer;
	__le32 mode;
	__le64 offset;
	__le64 value;
	__le64 reserved[3];
};

/** struct tdi_wait - until (s64)(*p - @ref) >= 0, at most @timeout_ns at the head of the queue */
struct tdi_wait {
	__le32 buffer;
	__le32 reserved0;
	__le64 offset;
	__le64 ref;
	__le64 timeout_ns;
	__le64 reserved1[2];
};

/** struct tdi_exec - run program @program with @args_bytes of struct tdi_arg from a buffer */
struct tdi_exec {
	__le32 program;
	__le32 args_buffer;
	__le64 args_offset;
	__le32 args_count;
	__le32 reserved0;
	__le64 reserved1[3];
};

#define TDI_ARGS_MAX		256

/** struct tdi_arg - one buffer argument of EXEC */
struct tdi_arg {
	__le32 buffer;
	__le32 rights;		/* TDI_BUFFER_READ | TDI_BUFFER_WRITE */
	__le64 offset;
	__le64 bytes;
	__le64 reserved;
};

/** struct tdi_tensor_cmd - a tensor operation described by a struct tdi_op in a buffer */
struct tdi_tensor_cmd {
	__le32 buffer;
	__le32 bytes;		/* of the descriptor: TDI_OP_BYTES(tensors) */
	__le64 offset;		/* 8-byte aligned */
	__le64 reserved[4];
};

/** struct tdi_sqe - submission queue entry; the device copies it once and looks at nothing else [CMD-1] */
struct tdi_sqe {
	__u8 opcode;
	__u8 flags;
	__le16 reserved0;
	__le32 reserved1;
	__le64 user_data;
	union {
		struct tdi_copy copy;
		struct tdi_fill fill;
		struct tdi_signal signal;
		struct tdi_wait wait;
		struct tdi_exec exec;
		struct tdi_tensor_cmd tensor;
		__le64 raw[6];
	};
};

/* Statuses of commands. Each says what the command left behind in [ERR]. */
enum tdi_status {
	TDI_SC_OK		= 0x00,
	/* refused before any effect */
	TDI_SC_OPCODE		= 0x01,	/* unknown, or of a feature that was not accepted */
	TDI_SC_FIELD		= 0x02,	/* a value that is not allowed; info: byte offset of the field */
	TDI_SC_RESERVED		= 0x03,	/* a reserved field or flag is not zero */
	TDI_SC_ALIGNMENT	= 0x04,
	TDI_SC_BUFFER_ID	= 0x05,	/* info: the id; may also come later, after UNMAP [BUF-5] */
	TDI_SC_BUFFER_BOUNDS	= 0x06,	/* info: the id */
	TDI_SC_BUFFER_RIGHTS	= 0x07,	/* info: the id */
	TDI_SC_PROGRAM_ID	= 0x08,
	TDI_SC_DTYPE		= 0x09,	/* info: number of the tensor */
	TDI_SC_SHAPE		= 0x0a,	/* info: number of the tensor */
	TDI_SC_OP		= 0x0b,	/* tensor operator not supported */
	TDI_SC_OVERLAP		= 0x0c,	/* source and destination overlap */
	TDI_SC_LIMIT		= 0x0d,	/* beyond a limit that IDENTIFY tells */
	/* ended without being run */
	TDI_SC_CANCELED		= 0x20,	/* the LINK chain failed before it */
	/* ended on the way; effects may be partial */
	TDI_SC_ABORTED		= 0x30,
	TDI_SC_TIMEOUT		= 0x31,	/* WAIT: timeout_ns passed; nothing was changed */
	TDI_SC_COMMAND_TIME	= 0x32,	/* ran longer than max_command_ns; stops its context */
	TDI_SC_INDEX_RANGE	= 0x33,	/* a gathered index lies outside its axis; info: its position */
	TDI_SC_BUFFER_LOST	= 0x34,	/* device memory that did not survive a reset */
	TDI_SC_DEVICE		= 0x3f,	/* the device failed */
};

/**
 * struct tdi_cqe - completion queue entry
 * @user_data: that of the command
 * @busy_ns: execution time charged for the command
 * @units: work units that it took
 * @info: see the status
 * @status: enum tdi_status
 * @reserved: 0
 * @sequence: the command's index + 1; written last, read first [QUE-6]
 */
struct tdi_cqe {
	__le64 user_data;
	__le64 busy_ns;
	__le32 units;
	__le32 info;
	__le16 status;
	__le16 reserved;
	__le32 sequence;
};

/* --------------------------------------------------------------------- tensor command set [TEN] */

enum tdi_dtype {
	TDI_F32		= 1,	/* numbered as in ONNX TensorProto.DataType */
	TDI_I8		= 3,
	TDI_I32		= 6,
	TDI_I64		= 7,
};

enum tdi_tensor_op {
	TDI_TENSOR_MATMUL		= 1,	/* Y = A B */
	TDI_TENSOR_GEMM			= 2,	/* Y = alpha op(A) op(B) + beta C */
	TDI_TENSOR_ADD			= 3,
	TDI_TENSOR_RELU			= 4,
	TDI_TENSOR_SOFTMAX		= 5,
	TDI_TENSOR_GATHER		= 6,
	TDI_TENSOR_ARGMAX		= 7,
	TDI_TENSOR_MATMUL_INTEGER	= 8,	/* i8 x i8 -> i32 */
	TDI_TENSOR_QLINEAR_MATMUL	= 9,	/* i8 x i8 -> i8 by one multiplier */
	TDI_TENSOR_QUANTIZE		= 10,	/* QuantizeLinear, f32 -> i8 */
	TDI_TENSOR_DEQUANTIZE		= 11,	/* DequantizeLinear, i8 or i32 -> f32 */
};

#define TDI_RANK_MAX		8
#define TDI_TENSORS_MAX		8

/**
 * struct tdi_tensor - one operand
 * @buffer: buffer id
 * @dtype: enum tdi_dtype
 * @rank: 0 (scalar) to TDI_RANK_MAX
 * @reserved0: 0
 * @offset: of the first element, aligned to the element's size
 * @shape: extent of each axis, outermost first, at least 1; beyond @rank 0
 * @stride: distance in bytes between neighbours on each axis, a multiple of the element's size; 0 repeats
 *	one element (inputs only); beyond @rank 0
 * @reserved1: 0
 */
struct tdi_tensor {
	__le32 buffer;
	__u8 dtype;
	__u8 rank;
	__le16 reserved0;
	__le64 offset;
	__le32 shape[TDI_RANK_MAX];
	__le64 stride[TDI_RANK_MAX];
	__le64 reserved1[2];
};

#define TDI_GEMM_TRANS_A	(1u << 0)
#define TDI_GEMM_TRANS_B	(1u << 1)
#define TDI_ARGMAX_LAST		(1u << 0)	/* of equal maxima the last, else the first */

/**
 * struct tdi_op - descriptor of a tensor operation, followed by @inputs + @outputs struct tdi_tensor
 * @op: enum tdi_tensor_op
 * @flags: TDI_GEMM_*, TDI_ARGMAX_*
 * @inputs: number of input tensors
 * @outputs: number of output tensors
 * @reserved0: 0
 * @axis: of SOFTMAX, GATHER, ARGMAX; negative counts from the end
 * @alpha: GEMM
 * @beta: GEMM
 * @a_zero: zero point of the first input
 * @b_zero: zero point of the second input
 * @y_zero: zero point of the output
 * @scale: QLINEAR_MATMUL: a_scale * b_scale / y_scale; QUANTIZE: y_scale; DEQUANTIZE: x_scale
 * @reserved1: 0
 *
 * Fields that the operator does not use are 0. [TEN] has each operator's inputs, types and arithmetic.
 */
struct tdi_op {
	__le16 op;
	__le16 flags;
	__u8 inputs;
	__u8 outputs;
	__le16 reserved0;
	__le32 axis;
	__le32 alpha;		/* IEEE 754 binary32 */
	__le32 beta;		/* IEEE 754 binary32 */
	__le32 a_zero;
	__le32 b_zero;
	__le32 y_zero;
	__le32 scale;		/* IEEE 754 binary32 */
	__le32 reserved1[7];
};

#define TDI_OP_BYTES(tensors)	(sizeof(struct tdi_op) + (tensors) * sizeof(struct tdi_tensor))

/* ------------------------------------------------------------------------ admin queue [ADM] */

enum tdi_admin_opcode {
	TDI_ADMIN_IDENTIFY	= 0x01,
	TDI_ADMIN_GET_LOG	= 0x02,
	TDI_ADMIN_SET_FEATURE	= 0x03,
	TDI_ADMIN_KEEP_ALIVE	= 0x04,
	TDI_ADMIN_ABORT		= 0x05,
	TDI_ADMIN_QUIESCE	= 0x06,
	TDI_ADMIN_RESUME	= 0x07,
	TDI_ADMIN_EQ_CREATE	= 0x08,
	TDI_ADMIN_EQ_DESTROY	= 0x09,
	TDI_ADMIN_GROUP_CREATE	= 0x10,
	TDI_ADMIN_GROUP_MODIFY	= 0x11,
	TDI_ADMIN_GROUP_DESTROY	= 0x12,
	TDI_ADMIN_CONTEXT_CREATE = 0x18,
	TDI_ADMIN_CONTEXT_DESTROY = 0x19,
	TDI_ADMIN_CONTEXT_RESET	= 0x1a,
	TDI_ADMIN_QUEUE_CREATE	= 0x20,
	TDI_ADMIN_QUEUE_DESTROY	= 0x21,
	TDI_ADMIN_QUEUE_RESET	= 0x22,
	TDI_ADMIN_BUFFER_MAP	= 0x28,
	TDI_ADMIN_BUFFER_UNMAP	= 0x29,
	TDI_ADMIN_MEMORY_ALLOC	= 0x30,	/* with TDI_F_DEVICE_MEMORY */
	TDI_ADMIN_MEMORY_FREE	= 0x31,
	TDI_ADMIN_PROGRAM_LOAD	= 0x38,	/* with TDI_F_EXEC */
	TDI_ADMIN_PROGRAM_UNLOAD = 0x39,
};

enum tdi_identify_page {
	TDI_IDENTIFY_CONTROLLER	= 0,
};

enum tdi_log_page {
	TDI_LOG_GROUP_USAGE	= 1,	/* struct tdi_usage of group @id */
	TDI_LOG_QUEUE_USAGE	= 2,	/* struct tdi_usage of queue @id */
	TDI_LOG_CONTEXT_STATUS	= 3,	/* struct tdi_context_status of context @id */
	TDI_LOG_CONTROLLER	= 4,	/* struct tdi_controller_log */
	TDI_LOG_CONTEXT_USAGE	= 5,	/* struct tdi_usage of context @id, destroyed queues included */
};

/** struct tdi_admin_data - IDENTIFY and GET_LOG: @bytes of page @page of object @id to @address */
struct tdi_admin_data {
	__le32 page;
	__le32 id;
	__le64 address;
	__le32 bytes;
	__le32 reserved[9];
};

enum tdi_feature_id {
	TDI_FEATURE_POWER_CAP	= 1,	/* value: mW, 0 for none */
};

struct tdi_admin_feature {
	__le32 feature;
	__le32 reserved0;
	__le64 value;
	__le64 reserved1[5];
};

/** struct tdi_admin_abort - end the command with @index of queue @queue, running or not */
struct tdi_admin_abort {
	__le32 queue;
	__le32 index;
	__le64 reserved[6];
};

struct tdi_admin_eq {
	__le32 eq;
	__le32 depth_log2;
	__le64 address;
	__le32 vector;
	__le32 moderation_ns;
	__le64 reserved[4];
};

/**
 * struct tdi_admin_group - GROUP_CREATE, GROUP_MODIFY
 * @group: id, below max_groups
 * @weight: 1 to 10000; with TDI_F_FAIR, else 0
 * @priority: enum tdi_priority; with TDI_F_FAIR, else 0
 * @reserved0: 0
 * @quantum_ns: longest time that it holds the device while another queue waits, 0 for the default
 * @max_command_ns: longest execution of what can't yield, 0 for none
 * @busy_max_ns: per @busy_period_ns, 0 for no cap; with TDI_F_FAIR, else 0
 * @busy_period_ns: 0 if and only if @busy_max_ns is; with TDI_F_FAIR, else 0
 * @units: execution units that the group may use, 0 for all; with TDI_F_FAIR, else 0
 * @reserved1: 0
 * @reserved2: 0
 */
struct tdi_admin_group {
	__le32 group;
	__le16 weight;
	__u8 priority;
	__u8 reserved0;
	__le64 quantum_ns;
	__le64 max_command_ns;
	__le64 busy_max_ns;
	__le64 busy_period_ns;
	__le32 units;
	__le32 reserved1;
	__le64 reserved2;
};

enum tdi_priority {
	TDI_PRIORITY_LOW	= 0,
	TDI_PRIORITY_NORMAL	= 1,
	TDI_PRIORITY_HIGH	= 2,
	TDI_PRIORITY_REALTIME	= 3,
};

#define TDI_WEIGHT_MAX		10000

/**
 * struct tdi_admin_destroy - GROUP_DESTROY, CONTEXT_DESTROY, QUEUE_DESTROY
 * @id: of the object
 * @reserved0: 0
 * @usage: where its last struct tdi_usage goes, 0 for nowhere [MET-12]
 * @reserved1: 0
 */
struct tdi_admin_destroy {
	__le32 id;
	__le32 reserved0;
	__le64 usage;
	__le64 reserved1[5];
};

struct tdi_admin_context {
	__le32 context;
	__le32 group;
	__le32 group_generation;
	__le32 reserved0;
	__le64 reserved1[5];
};

#define TDI_QUEUE_RESTARTABLE	(1u << 0)	/* with TDI_F_RESTARTABLE */

/**
 * struct tdi_admin_queue - QUEUE_CREATE; RESET uses @queue alone
 * @queue: id, below max_queues; with the generation in the head of the command
 * @context: the context that it belongs to
 * @context_generation: that of the context
 * @first: first index
 * @moderation_ns: least time between two notices of this queue; with TDI_F_EVENT_QUEUES, else 0
 * @eq: event queue; with TDI_F_EVENT_QUEUES, else 0
 * @depth_log2: 0 to 15
 * @flags: TDI_QUEUE_*
 * @producer: address of the producer page
 * @sq: address of the submission ring, 4 KiB aligned
 * @device: address of the device page
 * @cq: address of the completion ring, 4 KiB aligned
 */
struct tdi_admin_queue {
	__le32 queue;
	__le32 context;
	__le32 context_generation;
	__le32 first;
	__le32 moderation_ns;
	__le16 eq;
	__u8 depth_log2;
	__u8 flags;
	__le64 producer;
	__le64 sq;
	__le64 device;
	__le64 cq;
};

#define TDI_BUFFER_READ		(1u << 0)	/* the device may read */
#define TDI_BUFFER_WRITE	(1u << 1)	/* the device may write */
#define TDI_BUFFER_INLINE	(1u << 2)	/* @address is the one block itself */
#define TDI_BUFFER_LOST		(1u << 3)	/* content is lost; with TDI_F_DEVICE_MEMORY [BUF-12] */

/**
 * struct tdi_admin_buffer - BUFFER_MAP; UNMAP uses @context, @context_generation and @buffer alone
 * @context: whose table
 * @context_generation: that of the context
 * @buffer: id; its index must be free and its generation not 0
 * @flags: TDI_BUFFER_*; READ, WRITE or both
 * @length: bytes, at least 1
 * @first: offset of the buffer's first byte in the first block, below the size of a block
 * @address: of the block, or of an array of ceil((first + length) / 2^shift) addresses (__le64)
 * @shift: a block is 2^shift bytes, 12 to 63; blocks are aligned to their size, but an inline one to 4 KiB
 * @reserved: 0
 */
struct tdi_admin_buffer {
	__le32 context;
	__le32 context_generation;
	__le32 buffer;
	__le32 flags;
	__le64 length;
	__le64 first;
	__le64 address;
	__le32 shift;
	__le32 reserved0;
	__le64 reserved1;
};

struct tdi_admin_memory {
	__le32 context;
	__le32 context_generation;
	__le64 address;		/* FREE: what ALLOC gave in result */
	__le64 bytes;
	__le64 reserved[4];
};

#define TDI_PROGRAM_IDEMPOTENT	(1u << 0)	/* in result of PROGRAM_LOAD: EXEC of it may be run again */

struct tdi_admin_program {
	__le32 context;
	__le32 context_generation;
	__le32 program;
	__le32 reserved0;
	__le64 address;
	__le64 bytes;
	__le64 reserved1[3];
};

/** struct tdi_admin_sqe - one admin command; @generation is that of the object that it names first */
struct tdi_admin_sqe {
	__u8 opcode;
	__u8 reserved;
	__le16 command;
	__le32 generation;
	union {
		struct tdi_admin_data data;
		struct tdi_admin_feature feature;
		struct tdi_admin_abort abort;
		struct tdi_admin_eq eq;
		struct tdi_admin_group group;
		struct tdi_admin_destroy destroy;
		struct tdi_admin_context context;
		struct tdi_admin_queue queue;
		struct tdi_admin_buffer buffer;
		struct tdi_admin_memory memory;
		struct tdi_admin_program program;
		__le64 raw[7];
	};
};

enum tdi_admin_status {
	TDI_AS_OK		= 0x00,
	TDI_AS_OPCODE		= 0x01,	/* unknown, or of a feature that was not accepted */
	TDI_AS_FIELD		= 0x02,	/* info: byte offset of the field */
	TDI_AS_RESERVED		= 0x03,
	TDI_AS_ID		= 0x04,	/* no such object, or an id beyond the limit */
	TDI_AS_EXISTS		= 0x05,	/* the id is in use */
	TDI_AS_GENERATION	= 0x06,	/* stale */
	TDI_AS_BUSY		= 0x07,	/* the object still holds others */
	TDI_AS_LIMIT		= 0x08,
	TDI_AS_ADDRESS		= 0x09,	/* the address space has no such memory */
	TDI_AS_STATE		= 0x0a,	/* not in this state */
	TDI_AS_NOT_FOUND	= 0x0b,	/* ABORT: that command has completed */
	TDI_AS_NO_MEMORY	= 0x0c,
	TDI_AS_DEVICE		= 0x3f,
};

struct tdi_admin_cqe {
	__le64 result;
	__le64 reserved0;
	__le32 info;
	__le16 command;
	__le16 reserved1;
	__le16 status;
	__le16 reserved2;
	__le32 sequence;	/* as in struct tdi_cqe */
};

/* ---------------------------------------------------------------------- event queues [EVQ] */

enum tdi_event_type {
	TDI_EVENT_NONE		= 0,
	TDI_EVENT_DUE		= 1,	/* a queue has a due notice; id: queue */
	TDI_EVENT_FAULT		= 2,	/* id: context */
	TDI_EVENT_HANG		= 3,	/* id: context; the device stopped it [CMD-25] */
	TDI_EVENT_THERMAL	= 4,	/* controller */
	TDI_EVENT_ERROR		= 5,	/* controller */
	TDI_EVENT_STOPPED	= 6,	/* id: queue; the device stopped it [QUE-8, CMD-25] */
};

struct tdi_event {
	__le16 type;
	__le16 reserved;
	__le32 id;
	__le32 hint;		/* of DUE: the queue's completed sequence, a hint only */
	__le32 sequence;	/* of the event queue; written last, read first */
};

/* ----------------------------------------------------------------- what the device tells */

/**
 * struct tdi_identify - IDENTIFY page TDI_IDENTIFY_CONTROLLER
 * @version: TDI_VERSION()
 * @vendor: PCI vendor id, 0 for software
 * @device: PCI device id, 0 for software
 * @features: TDI_F_*
 * @opcodes: bit per enum tdi_opcode
 * @tensor_ops: bit per enum tdi_tensor_op
 * @dtypes: bit per enum tdi_dtype
 * @max_groups: ids are below this
 * @max_contexts: ids are below this
 * @max_queues: ids are below this
 * @max_eqs: ids are below this
 * @max_buffers: per context; indices are below this
 * @max_depth_log2: of a queue
 * @units: execution units
 * @max_buffer_bytes: length of one buffer
 * @max_wait_ns: longest WAIT
 * @granularity_ns: longest time between two points at which it yields
 * @quantum_ns: default quantum
 * @memory_bytes: device memory
 * @serial: NUL padded
 * @model: NUL padded
 * @firmware: NUL padded
 * @reserved: 0
 */
struct tdi_identify {
	__le32 version;
	__le16 vendor;
	__le16 device;
	__le64 features;
	__le64 opcodes[4];
	__le64 tensor_ops;
	__le64 dtypes;
	__le32 max_groups;
	__le32 max_contexts;
	__le32 max_queues;
	__le32 max_eqs;
	__le32 max_buffers;
	__le16 max_depth_log2;
	__le16 units;
	__le64 max_buffer_bytes;
	__le64 max_wait_ns;
	__le64 granularity_ns;
	__le64 quantum_ns;
	__le64 memory_bytes;
	__u8 serial[32];
	__u8 model[64];
	__u8 firmware[32];
	__u8 reserved[256];
};

#define TDI_USAGE_KINDS		8	/* commands[]: by opcode 0x00 to 0x05, [6] TENSOR, [7] refused */
#define TDI_USAGE_BUCKETS	40	/* histogram: bucket b counts times in [2^b, 2^(b+1)) ns, 0 in b 0 */

/** struct tdi_usage - counters since the object was made; they never go backwards [MET-1] */
struct tdi_usage {
	__le64 busy_ns;
	__le64 wait_ns;		/* from when a command could have begun to when it did */
	__le64 bytes_read;
	__le64 bytes_written;
	__le64 energy_nj;	/* with TDI_F_ENERGY */
	__le64 errors;		/* commands that did not end OK */
	__le64 throttled_ns;	/* group: it had a ready queue, but no tokens; else 0 [MET-13] */
	__le64 commands[TDI_USAGE_KINDS];
	__le64 wait_hist[TDI_USAGE_BUCKETS];
	__le64 service_hist[TDI_USAGE_BUCKETS];
};

enum tdi_queue_state {
	TDI_QUEUE_NONE		= 0,
	TDI_QUEUE_RUNNING	= 1,
	TDI_QUEUE_STOPPED	= 2,	/* [QUE-8, CMD-25]; only QUEUE_DESTROY follows */
};

enum tdi_stop_reason {
	TDI_STOP_NONE		= 0,
	TDI_STOP_TAIL_AHEAD	= 1,	/* tail - done > depth */
	TDI_STOP_TAIL_BEHIND	= 2,	/* tail - done < fetched - done */
	TDI_STOP_ADDRESS	= 3,	/* the ring's pages could not be reached */
	TDI_STOP_HANG		= 4,	/* a command of the context ended COMMAND_TIME [CMD-25] */
};

struct tdi_queue_status {
	__le32 queue;
	__u8 state;		/* enum tdi_queue_state */
	__u8 reason;		/* enum tdi_stop_reason */
	__le16 reserved0;
	__le32 completed;	/* index after the last completed command */
	__le32 reserved1;
};

#define TDI_CONTEXT_QUEUES	64	/* queues of one context at most */

/** struct tdi_context_status - log page TDI_LOG_CONTEXT_STATUS */
struct tdi_context_status {
	__le32 queues;
	__le32 lost_buffers;	/* buffers that are LOST */
	__le64 reserved;
	struct tdi_queue_status queue[TDI_CONTEXT_QUEUES];
};

/** struct tdi_controller_log - log page TDI_LOG_CONTROLLER */
struct tdi_controller_log {
	__le64 busy_ns;
	__le64 late_completions;
	__le64 notices;
	__le64 stopped_queues;
	__le64 reserved[4];
};

#endif /* _UAPI_LINUX_TDI_H */
