/* SPDX-License-Identifier: MIT */
/*
 * libtenon: inference accelerators for tenants.
 *
 * A context is one open device: it owns buffers and queues, and nothing in it can name what belongs to
 * another. A queue is a stream: its commands take effect and complete in order. Submitting and reaping are
 * inline, allocate nothing and, while the device is awake, make no system call.
 *
 * Functions return 0 or a negative errno unless they say otherwise. The library prints nothing, starts no
 * thread and installs no signal handler. Functions on different contexts may run at the same time.
 * Within one context, set-up calls (buffers, queues, operations) are serialised by the library; one queue
 * has one producer and one reaper at a time, which may be two threads. Callers that share a queue lock.
 *
 * A set-up call that times out or gets an answer that can't be right (-ETIMEDOUT, -EPROTO) ends the
 * connection, since a late answer could be taken for another: the context is dead as if the device had died.
 */
#ifndef TENON_TENON_H
#define TENON_TENON_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/tdi.h>
#include <tenon/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tenon_context;
struct tenon_buffer;
struct tenon_op;

/* ------------------------------------------------------------------------------- devices */

/**
 * struct tenon_device - one device as tenon_devices() finds it
 * @size: sizeof(struct tenon_device) as the library knows it
 * @path: what tenon_open() takes
 * @transport: "socket" or "drm"
 */
struct tenon_device {
	size_t size;
	const char *path;
	const char *transport;
};

/**
 * tenon_devices() - call a function for each device that the caller may see
 * @fn: called with a device that is valid during the call; a value other than 0 ends the walk
 * @arg: passed to @fn
 *
 * Looks at $TENON_DEVICE (a colon separated list), else at the nodes of the kernel's driver in /dev/accel,
 * then at the sockets in /run/tenon. What is there is listed, whether it can be opened or not; sysfs tells
 * whose a node is, and only where there is none, as in some containers, the node is opened and asked. Thread
 * safe as far as getenv() is.
 *
 * Return: 0, what @fn returned, or a negative errno.
 */
int tenon_devices(int (*fn)(const struct tenon_device *device, void *arg), void *arg);

/**
 * struct tenon_open_options - options of tenon_open()
 * @size: sizeof(struct tenon_open_options) of the caller
 * @flags: 0
 * @timeout_ms: longest wait for the device's answer to any set-up call, 0 for 30000; at a node of no
 *	effect: the kernel has the device's own limits
 */
struct tenon_open_options {
	size_t size;
	uint32_t flags;
	uint32_t timeout_ms;
};

/**
 * tenon_open() - open a device and make a context on it
 * @path: node of the kernel's driver, or socket of a tenond; NULL for the first that tenon_devices() finds
 * @options: NULL for defaults
 * @context: the result
 *
 * Blocks until the device answered; at a node the kernel does. Errors: -ENODEV no device found, or a node of
 * another driver; -EACCES, -ENOENT, -ECONNREFUSED, -ENAMETOOLONG from open() or connect(); -EPROTO the peer
 * speaks another version; -EUSERS the device's limit of contexts, in all or for this user; -ETIMEDOUT;
 * -ENOMEM; -EMFILE; -EINVAL unknown option.
 */
int tenon_open(const char *path, const struct tenon_open_options *options, struct tenon_context **context);

/**
 * tenon_close() - end the context and all that it owns
 * @context: may be NULL
 *
 * Queues, buffers and operations of the context are freed; pointers to them must not be used any more.
 * Commands still running are ended by the device. Doesn't wait for it. At a node that is so once each forked
 * child has called it too, has ended or has executed another program.
 */
void tenon_close(struct tenon_context *context);

/**
 * tenon_identify() - what the device told of itself
 * @context: an open context
 *
 * Return: valid until tenon_close(); never NULL. No system call.
 */
const struct tdi_identify *tenon_identify(const struct tenon_context *context);

/**
 * struct tenon_limits - what one context may have
 * @memory_bytes: all buffers together; at a node those of all contexts, in the host's pages
 * @buffers: number of buffers
 * @queues: number of queues
 * @depth: entries of one queue
 * @reserved: 0
 */
struct tenon_limits {
	uint64_t memory_bytes;
	uint32_t buffers;
	uint32_t queues;
	uint32_t depth;
	uint32_t reserved;
};

/**
 * tenon_limits() - limits of this context
 * @context: an open context
 *
 * Return: valid until tenon_close(); never NULL. No system call.
 */
const struct tenon_limits *tenon_limits(const struct tenon_context *context);

/**
 * tenon_context_status() - state of the context's queues as the device sees them
 * @context: an open context
 * @status: the result
 *
 * Asks the device. Errors: -ENODEV the device died; -ETIMEDOUT.
 */
int tenon_context_status(struct tenon_context *context, struct tdi_context_status *status);

/**
 * tenon_context_usage() - what this context has used since it was opened
 * @context: an open context
 * @usage: the result: the sum over its queues, destroyed ones included
 *
 * Asks the device. Errors: as tenon_context_status().
 */
int tenon_context_usage(struct tenon_context *context, struct tdi_usage *usage);

/**
 * tenon_errstr() - the library's words for the last failure of a set-up call on this context
 * @context: an open context, or NULL for the last tenon_open() of this thread
 *
 * Return: a text such as "memory: needed 4194304, allowed 1048576"; empty if nothing failed. Valid until the
 * next call on this context.
 */
const char *tenon_errstr(const struct tenon_context *context);

/* ------------------------------------------------------------------------------- buffers */

/**
 * tenon_buffer_create() - memory that the host and the device see
 * @context: an open context
 * @bytes: 1 to tenon_limits()->memory_bytes; rounded up to 4096, at a node to the host's pages, for the limit,
 *	not for the device's bounds
 * @rights: what the device may do: TDI_BUFFER_READ, TDI_BUFFER_WRITE or both
 * @buffer: the result
 *
 * The memory is zero. The host may read and write it. Errors: -EINVAL; -ENOMEM beyond memory_bytes;
 * -EFBIG beyond max_buffer_bytes of tenon_identify(), at a node; -ENOSPC beyond the number of buffers;
 * -EMFILE; -ENODEV; -ETIMEDOUT; -EPROTO.
 */
int tenon_buffer_create(struct tenon_context *context, uint64_t bytes, uint32_t rights,
			struct tenon_buffer **buffer);

/**
 * tenon_buffer_destroy() - unmap and free a buffer
 * @buffer: may be NULL
 *
 * When this returns 0 the device no longer accesses the memory and its id is stale: a command that names it
 * ends TDI_SC_BUFFER_ID, one under way too. The handle is gone in any case. Errors: -ENODEV, -ETIMEDOUT.
 */
int tenon_buffer_destroy(struct tenon_buffer *buffer);

/** tenon_buffer_data() - the host's address of the buffer; page aligned, valid until it is destroyed */
void *tenon_buffer_data(const struct tenon_buffer *buffer);
/** tenon_buffer_bytes() - its size as it was asked for */
uint64_t tenon_buffer_bytes(const struct tenon_buffer *buffer);
/** tenon_buffer_id() - its id in commands */
uint32_t tenon_buffer_id(const struct tenon_buffer *buffer);

/* -------------------------------------------------------------------------------- queues */

/**
 * struct tenon_queue - a queue; the members are the library's, for the inline functions below
 */
struct tenon_queue {
	/* producer */
	struct tdi_sqe *sq;
	struct tdi_producer_page *producer;
	const struct tdi_device_page *device;
	const struct tdi_kernel_page *kernel;	/* after the device's death a page of the library's own */
	uint32_t mask;
	uint32_t sq_next;	/* next entry to be handed out */
	uint32_t sq_submitted;	/* tail as the device was told; released to the reaper */
	uint32_t sq_limit;	/* entries below this are free, as last read from cq_head */
	/* reaper: on lines of its own, so that the two may be two threads */
	const struct tdi_cqe *cq __attribute__((aligned(128)));
	uint32_t cq_mask;
	uint32_t cq_head;	/* next entry to be reaped; released to the producer */
	uint32_t dead;		/* the device died: tenon_cqe_peek() asks the library */
};

/**
 * struct tenon_queue_options - options of tenon_queue_create()
 * @size: sizeof(struct tenon_queue_options) of the caller
 * @flags: 0
 * @spin_ns: how long tenon_wait() polls before it sleeps; 0 for 20000, UINT32_MAX never sleeps
 */
struct tenon_queue_options {
	size_t size;
	uint32_t flags;
	uint32_t spin_ns;
};

/**
 * tenon_queue_create() - make a queue
 * @context: an open context
 * @depth: entries, a power of two up to tenon_limits()->depth
 * @options: NULL for defaults
 * @queue: the result
 *
 * Errors: -EINVAL; -ENOSPC beyond the number of queues; -ENOMEM; -EMFILE; -ENODEV; -ETIMEDOUT; -EPROTO.
 */
int tenon_queue_create(struct tenon_context *context, uint32_t depth,
		       const struct tenon_queue_options *options, struct tenon_queue **queue);

/**
 * tenon_queue_destroy() - end a queue and its commands
 * @queue: may be NULL
 *
 * When this returns 0 no command of the queue has an effect any more. The handle is gone in any case.
 * Errors: -ENODEV, -ETIMEDOUT.
 */
int tenon_queue_destroy(struct tenon_queue *queue);

/**
 * tenon_queue_usage() - what this queue has used since it was made
 * @queue: the queue
 * @usage: the result; what all queues have used, destroyed ones included, adds up to tenon_context_usage()
 *
 * Errors: -ETIMEDOUT, -EPROTO, -ENOMEM; -ENODEV.
 */
int tenon_queue_usage(struct tenon_queue *queue, struct tdi_usage *usage);

/** tenon_queue_id() - the device's id of the queue, as in struct tdi_context_status */
uint32_t tenon_queue_id(const struct tenon_queue *queue);

/* Not for callers: the slow ends of the inline functions below. */
int tenon_queue_kick_(struct tenon_queue *queue);
const struct tdi_cqe *tenon_queue_dead_cqe_(struct tenon_queue *queue);

/**
 * tenon_sqe_get() - the next free submission entry
 * @queue: a queue
 *
 * The entry is zeroed. It is the device's only after tenon_submit(). Producer only; no system call.
 *
 * Return: NULL if as many commands are unreaped as the queue is deep.
 */
static inline struct tdi_sqe *tenon_sqe_get(struct tenon_queue *queue)
{
	struct tdi_sqe *sqe;

	if (queue->sq_next == queue->sq_limit) {
		queue->sq_limit = tenon_load_acquire((const __le32 *)&queue->cq_head) + queue->mask + 1;
		if (queue->sq_next == queue->sq_limit)
			return NULL;
	}
	sqe = &queue->sq[queue->sq_next++ & queue->mask];
	tenon_prefetch_write(sqe);
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

/**
 * tenon_submit() - hand all entries got so far to the device
 * @queue: a queue
 *
 * One system call if the device sleeps and has no doorbell, else none. Producer only.
 *
 * Return: 0; -ENODEV the device is known to have died: each command still ends with one CQE.
 */
static inline int tenon_submit(struct tenon_queue *queue)
{
	const struct tdi_kernel_page *kernel = __atomic_load_n(&queue->kernel, __ATOMIC_RELAXED);
	uint32_t need;

	tenon_store_release((__le32 *)&queue->sq_submitted, queue->sq_next);
	need = tenon_ring_publish(queue->producer, queue->device, kernel, queue->sq_next);
	if (__builtin_expect(need != 0, 0))
		return tenon_queue_kick_(queue);
	return 0;
}

/**
 * tenon_cqe_peek() - the next completion, if it is there
 * @queue: a queue
 *
 * Reaper only; no system call. A caller that only polls learns of a device's death from tenon_wait().
 *
 * Return: valid until tenon_cqe_seen(); NULL if there is none.
 */
static inline const struct tdi_cqe *tenon_cqe_peek(struct tenon_queue *queue)
{
	const struct tdi_cqe *cqe = &queue->cq[queue->cq_head & queue->cq_mask];

	if (tenon_reached(tenon_load_acquire(&cqe->sequence), queue->cq_head + 1))
		return cqe;
	if (__builtin_expect(tenon_load((const __le32 *)&queue->dead) != 0, 0))
		return tenon_queue_dead_cqe_(queue);
	return NULL;
}

/** tenon_cqe_seen() - done with the completion that tenon_cqe_peek() gave: its slot is free again */
static inline void tenon_cqe_seen(struct tenon_queue *queue)
{
	tenon_store_release((__le32 *)&queue->cq_head, queue->cq_head + 1);
}

/**
 * tenon_wait() - wait until completions can be reaped
 * @queue: a queue
 * @count: how many, counted from the next one to be reaped; 1 to the depth
 * @timeout_ns: 0 looks once, negative waits for ever
 *
 * Polls for the queue's spin_ns, then sleeps. Reaper only.
 *
 * Return: 0 they are there; -ETIMEDOUT they aren't yet; -EINTR a signal came (at a node not if its handler
 * has SA_RESTART); -EINVAL bad count, or more than was submitted; -ENODEV the device died: what it left is
 * reaped as TDI_SC_ABORTED. At a node the kernel writes those completions, so that it can be 0 then, too.
 */
int tenon_wait(struct tenon_queue *queue, uint32_t count, int64_t timeout_ns);

/**
 * tenon_queue_fd() - a file descriptor for poll() and epoll
 * @queue: a queue
 *
 * Becomes readable after tenon_queue_arm() when the completions asked for are there; at the device's death it
 * does, too, or poll() reports POLLHUP. Owned by the queue; not to be read or closed.
 */
int tenon_queue_fd(const struct tenon_queue *queue);

/**
 * tenon_queue_arm() - ask for tenon_queue_fd() to become readable
 * @queue: a queue
 * @count: as in tenon_wait()
 *
 * One-shot; forgets earlier readiness. Reaper only.
 *
 * Return: 0 armed; 1 the completions are there already, nothing was armed; -EINVAL bad count, or more than
 * was submitted; -ENODEV the device died: what it left is reaped as TDI_SC_ABORTED. At a node the kernel
 * writes those completions, so that it can be 1 then, too, or 0 while it is at it.
 */
int tenon_queue_arm(struct tenon_queue *queue, uint32_t count);

/**
 * tenon_status_str() - words for a status
 * @status: enum tdi_status
 *
 * Return: never NULL.
 */
const char *tenon_status_str(unsigned int status);

/* ------------------------------------------------------------------------- core commands */

/**
 * tenon_prep_nop() - a command that does nothing
 * @sqe: from tenon_sqe_get()
 * @user_data: comes back in the completion
 */
static inline void tenon_prep_nop(struct tdi_sqe *sqe, uint64_t user_data)
{
	sqe->opcode = TDI_OP_NOP;
	sqe->user_data = user_data;
}

/**
 * tenon_prep_copy() - copy from a buffer to a buffer
 * @sqe: from tenon_sqe_get()
 * @dst: a buffer that the device may write
 * @dst_offset: where to, in bytes
 * @src: a buffer that the device may read; may be @dst if the ranges don't overlap
 * @src_offset: where from, in bytes
 * @bytes: how many
 * @user_data: comes back in the completion
 */
static inline void tenon_prep_copy(struct tdi_sqe *sqe, const struct tenon_buffer *dst, uint64_t dst_offset,
				   const struct tenon_buffer *src, uint64_t src_offset, uint64_t bytes,
				   uint64_t user_data)
{
	sqe->opcode = TDI_OP_COPY;
	sqe->user_data = user_data;
	sqe->copy.dst = tenon_buffer_id(dst);
	sqe->copy.src = tenon_buffer_id(src);
	sqe->copy.dst_offset = dst_offset;
	sqe->copy.src_offset = src_offset;
	sqe->copy.row_bytes = bytes;
	sqe->copy.rows = 1;
}

/**
 * tenon_prep_fill() - fill a part of a buffer with a pattern
 * @sqe: from tenon_sqe_get()
 * @dst: a buffer that the device may write
 * @offset: where to, in bytes
 * @bytes: how many
 * @pattern: its low @width bytes are repeated
 * @width: 1, 2, 4 or 8
 * @user_data: comes back in the completion
 */
static inline void tenon_prep_fill(struct tdi_sqe *sqe, const struct tenon_buffer *dst, uint64_t offset,
				   uint64_t bytes, uint64_t pattern, uint32_t width, uint64_t user_data)
{
	sqe->opcode = TDI_OP_FILL;
	sqe->user_data = user_data;
	sqe->fill.dst = tenon_buffer_id(dst);
	sqe->fill.width = width;
	sqe->fill.offset = offset;
	sqe->fill.bytes = bytes;
	sqe->fill.pattern = pattern;
}

/**
 * tenon_prep_signal() - change a semaphore and wake who waits for it
 * @sqe: from tenon_sqe_get()
 * @buffer: a buffer that the device may read and write
 * @offset: of the u64 in it, a multiple of 8
 * @value: with TDI_SIGNAL_MAX what it becomes if that is more, with TDI_SIGNAL_ADD what is added
 * @mode: TDI_SIGNAL_MAX or TDI_SIGNAL_ADD
 * @user_data: comes back in the completion
 */
static inline void tenon_prep_signal(struct tdi_sqe *sqe, const struct tenon_buffer *buffer, uint64_t offset,
				     uint64_t value, uint32_t mode, uint64_t user_data)
{
	sqe->opcode = TDI_OP_SIGNAL;
	sqe->user_data = user_data;
	sqe->signal.buffer = tenon_buffer_id(buffer);
	sqe->signal.mode = mode;
	sqe->signal.offset = offset;
	sqe->signal.value = value;
}

/**
 * tenon_prep_wait() - hold the queue until a semaphore is reached
 * @sqe: from tenon_sqe_get()
 * @buffer: a buffer that the device may read
 * @offset: of the u64 in it, a multiple of 8
 * @ref: go on when (int64_t)(value - @ref) is 0 or more
 * @timeout_ns: at the head of the queue, after which it ends TDI_SC_TIMEOUT; 1 to max_wait_ns of
 *	tenon_identify()
 * @user_data: comes back in the completion
 */
static inline void tenon_prep_wait(struct tdi_sqe *sqe, const struct tenon_buffer *buffer, uint64_t offset,
				   uint64_t ref, uint64_t timeout_ns, uint64_t user_data)
{
	sqe->opcode = TDI_OP_WAIT;
	sqe->user_data = user_data;
	sqe->wait.buffer = tenon_buffer_id(buffer);
	sqe->wait.offset = offset;
	sqe->wait.ref = ref;
	sqe->wait.timeout_ns = timeout_ns;
}

/**
 * tenon_host_signal() - raise a semaphore from the host
 * @queue: the queue whose WAIT may be held by it
 * @semaphore: in the host's mapping of a buffer, 8-byte aligned
 * @value: what it becomes; the caller sees to it that it doesn't go back
 *
 * Return: 0; -ENODEV.
 */
int tenon_host_signal(struct tenon_queue *queue, uint64_t *semaphore, uint64_t value);

/* ------------------------------------------------------------------------ tensor commands */

/**
 * tenon_tensor() - describe a dense, row-major tensor
 * @buffer: where it lies
 * @offset: of its first element, in bytes
 * @dtype: enum tdi_dtype
 * @rank: 0 to TDI_RANK_MAX
 * @shape: @rank extents, outermost first
 *
 * Return: the descriptor; its strides may be changed by the caller.
 */
struct tdi_tensor tenon_tensor(const struct tenon_buffer *buffer, uint64_t offset, enum tdi_dtype dtype,
			       unsigned int rank, const uint32_t *shape);

/**
 * tenon_op_create() - prepare a tensor operation
 * @context: an open context
 * @op: the operator and its attributes
 * @tensors: @op->inputs inputs, then @op->outputs outputs
 * @prepared: the result
 *
 * Copies the descriptor to memory that the device reads; it can be submitted any number of times, in any
 * queue of the context. The device checks it at each execution. Errors: -EINVAL too many tensors; -ENOMEM,
 * -ENOSPC, -EMFILE, -ETIMEDOUT, -EPROTO as tenon_buffer_create(): descriptors lie in buffers; -ENODEV.
 */
int tenon_op_create(struct tenon_context *context, const struct tdi_op *op, const struct tdi_tensor *tensors,
		    struct tenon_op **prepared);

/** tenon_op_destroy() - free it; no command that uses it may be under way; NULL is allowed */
void tenon_op_destroy(struct tenon_op *prepared);

/** tenon_op_descriptor() - the descriptor in device memory, then its tensors; changeable between runs */
struct tdi_op *tenon_op_descriptor(const struct tenon_op *prepared);

/**
 * tenon_prep_op() - run a prepared operation
 * @sqe: from tenon_sqe_get()
 * @prepared: from tenon_op_create() on the same context
 * @user_data: comes back in the completion
 */
void tenon_prep_op(struct tdi_sqe *sqe, const struct tenon_op *prepared, uint64_t user_data);

/** tenon_f32_bits() - the bits of @value, as descriptors carry them */
static inline uint32_t tenon_f32_bits(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/** tenon_op_plain() - MATMUL, ADD or RELU: operators without attributes */
static inline struct tdi_op tenon_op_plain(enum tdi_tensor_op op, unsigned int inputs)
{
	struct tdi_op d;

	memset(&d, 0, sizeof(d));
	d.op = (__u16)op;
	d.inputs = (__u8)inputs;
	d.outputs = 1;
	return d;
}

/** tenon_op_gemm() - Y = alpha op(A) op(B) [+ beta C]; @inputs 2 or 3; @flags TDI_GEMM_* */
static inline struct tdi_op tenon_op_gemm(unsigned int inputs, float alpha, float beta, unsigned int flags)
{
	struct tdi_op d = tenon_op_plain(TDI_TENSOR_GEMM, inputs);

	d.flags = (__u16)flags;
	d.alpha = tenon_f32_bits(alpha);
	d.beta = tenon_f32_bits(beta);
	return d;
}

/** tenon_op_axis() - SOFTMAX, GATHER or ARGMAX along @axis */
static inline struct tdi_op tenon_op_axis(enum tdi_tensor_op op, int32_t axis, unsigned int flags)
{
	struct tdi_op d = tenon_op_plain(op, op == TDI_TENSOR_GATHER ? 2 : 1);

	d.axis = (__u32)axis;
	d.flags = (__u16)flags;
	return d;
}

/** tenon_op_matmul_integer() - Y(i32) = (A(i8) - a_zero) (B(i8) - b_zero) */
static inline struct tdi_op tenon_op_matmul_integer(int32_t a_zero, int32_t b_zero)
{
	struct tdi_op d = tenon_op_plain(TDI_TENSOR_MATMUL_INTEGER, 2);

	d.a_zero = (__u32)a_zero;
	d.b_zero = (__u32)b_zero;
	return d;
}

/** tenon_op_qlinear_matmul() - the same, requantised to i8: @scale is a_scale * b_scale / y_scale */
static inline struct tdi_op tenon_op_qlinear_matmul(float scale, int32_t a_zero, int32_t b_zero,
						    int32_t y_zero)
{
	struct tdi_op d = tenon_op_matmul_integer(a_zero, b_zero);

	d.op = TDI_TENSOR_QLINEAR_MATMUL;
	d.y_zero = (__u32)y_zero;
	d.scale = tenon_f32_bits(scale);
	return d;
}

/** tenon_op_quantize() - Y(i8) = saturate(rint(X(f32) / scale) + y_zero) */
static inline struct tdi_op tenon_op_quantize(float scale, int32_t y_zero)
{
	struct tdi_op d = tenon_op_plain(TDI_TENSOR_QUANTIZE, 1);

	d.y_zero = (__u32)y_zero;
	d.scale = tenon_f32_bits(scale);
	return d;
}

/** tenon_op_dequantize() - Y(f32) = (X(i8 or i32) - x_zero) * scale */
static inline struct tdi_op tenon_op_dequantize(float scale, int32_t x_zero)
{
	struct tdi_op d = tenon_op_plain(TDI_TENSOR_DEQUANTIZE, 1);

	d.a_zero = (__u32)x_zero;
	d.scale = tenon_f32_bits(scale);
	return d;
}

#ifdef __cplusplus
}
#endif
#endif /* TENON_TENON_H */
