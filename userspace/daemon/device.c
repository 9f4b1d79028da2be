// SPDX-License-Identifier: MIT
/* The controller as a whole: making and ending it, its clock, kicks, and keeping workers out of a context. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "mutant.h"

uint64_t tn_device_now(struct tn_device *device)
{
	struct timespec now;

	if (device->options.virtual_clock)
		return __atomic_load_n(&device->virtual_now, __ATOMIC_RELAXED);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void tn_device_lock(struct tn_device *device)
{
	__atomic_fetch_add(&device->waiters, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&device->lock);
	__atomic_fetch_sub(&device->waiters, 1, __ATOMIC_RELAXED);
}

void tn_device_unlock(struct tn_device *device)
{
	pthread_mutex_unlock(&device->lock);
}

void tn_device_wake(struct tn_device *device)
{
	uint64_t one = 1;

	/* It can't fail: the counter is ours and is read back long before it is full. */
	if (write(device->wake, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* Those that run its queues come to the boundary. */
static void context_interrupt(struct tn_context *context)
{
	struct tn_device *device = context->device;
	uint32_t i;

	for (i = 0; i < device->options.workers; i++)
		if (device->worker[i].context == context)
			__atomic_store_n(&device->worker[i].interrupt, 1, __ATOMIC_RELAXED);
}

void tn_context_hold(struct tn_context *context)
{
	struct tn_device *device = context->device;

	context->holds++;
	context_interrupt(context);
	while (context->running)
		pthread_cond_wait(&device->boundary, &device->lock);
}

void tn_context_release(struct tn_context *context)
{
	context->holds--;
	if (!context->holds && !tn_list_empty(&context->active))
		tn_device_wake(context->device);
}

void tn_context_stop(struct tn_context *context, uint64_t now)
{
	struct tn_list *node;

	/* Once; and before the host can hear of it no queue is made there that runs. [CMD-25] */
	if (!context->stopped)
		tn_latch_set(context->device, &context->hang, 0, now);
	context->stopped = true;
	context_interrupt(context);
	for (node = context->queues.next; node != &context->queues; node = node->next) {
		struct tn_queue *queue = tn_entry(node, struct tn_queue, member);

		if (queue->state == TDI_QUEUE_RUNNING && !queue->running && !MUTANT(stop_context))
			tn_queue_stop(queue, TDI_STOP_HANG, now);
	}
}

void tn_device_freeze(struct tn_device *device)
{
	uint32_t i;

	tn_device_lock(device);
	for (i = 0; i < TN_MAX_CONTEXTS; i++)
		if (device->context[i] && !MUTANT(freeze_waits))
			tn_context_hold(device->context[i]);
}

void tn_device_thaw(struct tn_device *device)
{
	uint32_t i;

	for (i = 0; i < TN_MAX_CONTEXTS; i++)
		if (device->context[i] && !MUTANT(freeze_waits))
			tn_context_release(device->context[i]);
	tn_device_unlock(device);
}

void tn_device_fence(struct tn_device *device, bool fenced)
{
	uint32_t i;

	tn_device_freeze(device);
	device->fenced = fenced;
	tn_events_pause(device, device->fenced || device->quiesced);
	for (i = 0; i < TN_MAX_QUEUES && !fenced; i++)
		if (device->queue[i])
			tn_device_kick(device, i, device->queue[i]->generation);
	tn_device_thaw(device);
	tn_device_wake(device);
}

bool tn_device_lose(struct tn_device *device, uint64_t base, uint64_t bytes)
{
	uint64_t now = tn_device_now(device);
	bool whole = true;
	uint32_t i, j;

	for (i = 0; i < device->options.max_queues; i++) {
		struct tn_queue *queue = device->queue[i];

		for (j = 0; queue && j < 4; j++)
			if (queue->state == TDI_QUEUE_RUNNING &&
			    tn_view_overlaps(&queue->view[j], base, bytes) && !MUTANT(lose_queue))
				tn_queue_stop(queue, TDI_STOP_ADDRESS, now);
	}
	pthread_mutex_lock(&device->events.lock);
	for (i = 0; i < TN_MAX_EQS; i++) {
		struct tn_eq *eq = &device->events.eq[i];

		if (!eq->live || !tn_view_overlaps(&eq->ring, base, bytes))
			continue;
		tn_view_close(&eq->ring);
		whole = false;
	}
	pthread_mutex_unlock(&device->events.lock);
	return whole;
}

void tn_device_doorbell(struct tn_device *device, uint32_t id)
{
	tn_device_lock(device);
	if (id < TN_MAX_QUEUES && device->queue[id] && !MUTANT(doorbell)) {
		tn_device_kick(device, id, device->queue[id]->generation);
		tn_device_wake(device);
	}
	tn_device_unlock(device);
}

void tn_device_kick(struct tn_device *device, uint32_t id, uint32_t generation)
{
	struct tn_queue *queue = id < TN_MAX_QUEUES ? device->queue[id] : NULL;

	if (!queue || (queue->generation != generation && !MUTANT(kick_generation)))
		return;
	if (queue->parked)
		tn_queue_unpark(queue, tn_device_now(device));
	else if (tn_list_empty(&queue->active))
		tn_queue_activate(queue, tn_device_now(device));
}

int tn_device_kick_fd(struct tn_device *device, int fd, uint32_t queue, uint32_t generation)
{
	/*
	 * Edge triggered, and never read: each write by the peer is an event, and what the peer does to the
	 * counter or to the flags of the shared description can't hold us up.
	 */
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLET,
		.data.u64 = (uint64_t)generation << 32 | queue,
	};

	return epoll_ctl(device->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void tn_device_forget_fd(struct tn_device *device, int fd)
{
	/* Closing isn't enough: the peer's copy would keep the description, and so the event, alive. */
	epoll_ctl(device->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void tn_identify(const struct tn_device *device, struct tdi_identify *identify)
{
	memset(identify, 0, sizeof(*identify));
	identify->version = TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR);
	identify->features = device->accepted;
	identify->opcodes[0] = tn_exec_opcodes();
	if (device->accepted & TDI_F_TENSOR) {
		identify->tensor_ops = tn_tensor_ops();
		identify->dtypes = tn_tensor_dtypes();
	} else {
		identify->opcodes[0] &= ~(1ULL << TDI_OP_TENSOR);
	}
	if (device->accepted & TDI_F_EVENT_QUEUES)
		identify->max_eqs = TN_MAX_EQS;
	identify->max_groups = TN_MAX_GROUPS;
	identify->max_contexts = TN_MAX_CONTEXTS;
	identify->max_queues = device->options.max_queues;
	identify->max_buffers = TN_MAX_BUFFERS;
	identify->max_depth_log2 = TN_MAX_DEPTH_LOG2;
	identify->units = (__u16)device->options.workers;
	identify->max_buffer_bytes = TN_MAX_BUFFER_BYTES;
	identify->max_wait_ns = TN_MAX_WAIT_NS;
	identify->granularity_ns = TN_GRANULARITY_NS;
	identify->quantum_ns = TN_QUANTUM_NS;
	snprintf((char *)identify->serial, sizeof(identify->serial), "%s",
		 device->options.serial ? device->options.serial : "");
	snprintf((char *)identify->model, sizeof(identify->model), "Tenon reference engine%s",
		 device->options.virtual_clock ? ", virtual clock" : "");
	snprintf((char *)identify->firmware, sizeof(identify->firmware), "%s", TENON_VERSION);
	tn_fault_identify(identify);
}

static void stop_workers(struct tn_device *device, uint32_t started)
{
	uint32_t i;

	tn_device_lock(device);
	device->stopping = true;
	for (i = 0; i < started; i++)
		__atomic_store_n(&device->worker[i].interrupt, 1, __ATOMIC_RELAXED);
	tn_device_wake(device);
	tn_device_unlock(device);
	for (i = 0; i < started; i++)
		pthread_join(device->worker[i].thread, NULL);
}

int tn_device_create(const struct tn_device_options *options, struct tn_device **result)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = UINT64_MAX };
	struct tn_device *device;
	sigset_t all, old;
	uint32_t i = 0;
	int error;

	if (!options->workers || options->workers > TN_MAX_WORKERS ||
	    (options->virtual_clock && options->workers != 1))
		return -EINVAL;
	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	device->options = *options;
	if (options->virtual_clock)
		device->options.spin_ns = 0;	/* virtual time doesn't pass by polling */
	if (!device->options.max_queues)
		device->options.max_queues = TN_MAX_QUEUES;
	device->accepted = TDI_F_TENSOR;
	tn_events_init(&device->events);
	tn_list_init(&device->groups);
	tn_arbiter_init(device, &device->all);
	tn_list_init(&device->parked);
	pthread_mutex_init(&device->lock, NULL);
	pthread_cond_init(&device->boundary, NULL);
	device->wake = -1;
	device->worker = aligned_alloc(64, options->workers * sizeof(*device->worker));
	device->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (device->epoll >= 0)
		device->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = -errno;
	if (device->wake < 0)
		goto fail;
	error = -ENOMEM;
	if (!device->worker)
		goto fail;
	if (epoll_ctl(device->epoll, EPOLL_CTL_ADD, device->wake, &event)) {
		error = -errno;
		goto fail;
	}
	memset(device->worker, 0, options->workers * sizeof(*device->worker));
	/* Signals are for the thread that made the device. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < options->workers; i++) {
		device->worker[i].device = device;
		error = -pthread_create(&device->worker[i].thread, NULL, tn_worker_main, &device->worker[i]);
		if (error)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		stop_workers(device, i);
		goto fail;
	}
	*result = device;
	return 0;

fail:
	if (device->wake >= 0)
		close(device->wake);
	if (device->epoll >= 0)
		close(device->epoll);
	free(device->worker);
	free(device);
	return error;
}

void tn_device_destroy(struct tn_device *device)
{
	uint32_t i;

	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		struct tn_context *context = device->context[i];
		struct tdi_admin_cqe cqe;
		struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_DESTROY };

		if (!context)
			continue;
		sqe.generation = context->generation;
		sqe.context.context = i;
		tn_admin(device, &device->space, &sqe, &cqe);
	}
	stop_workers(device, device->options.workers);
	pthread_mutex_destroy(&device->events.lock);
	pthread_cond_destroy(&device->boundary);
	pthread_mutex_destroy(&device->lock);
	close(device->wake);
	close(device->epoll);
	tn_space_free(&device->space);
	free(device->worker);
	free(device);
}
