/* SPDX-License-Identifier: MIT */
/*
 * Tenants under load who see their device go, and open the next: of all that they submitted there is one CQE each.
 */
#ifndef TESTS_SURVIVOR_H
#define TESTS_SURVIVOR_H

#include "tenon.h"

#define DEPTH	1024
#define TENANTS	3
#define SLOT	64	/* bytes that a command fills */

struct tenant {
	uint32_t stop;
	uint32_t lives;		/* files that it has had and seen to their end */
	uint32_t commands;
	uint32_t aborted;
	int32_t wrong;		/* line of what was wrong */
	int32_t detail;
};

#define WANT(good, what) do {						\
	if (!(good)) {							\
		t->detail = (int32_t)(what);				\
		__atomic_store_n(&t->wrong, __LINE__, __ATOMIC_RELEASE);	\
		_exit(1);						\
	}								\
} while (0)

HELPER bool usable(void)
{
	struct buffer a;
	struct queue q;
	bool good;
	int fd = node_open();

	if (fd < 0 || buffer_make(fd, PAGE, RW, &a) || queue_make(fd, 8, -1, &q)) {
		printf("# can't be used: %s\n", strerror(errno));
		return false;
	}
	put_fill(&q, a.id, 0, PAGE, 0x12);
	good = run(&q) == TDI_SC_OK && all_bytes(a.data, 0x12, PAGE);
	queue_unmap(&q);
	munmap(a.data, PAGE);
	close(fd);
	return good;
}

HELPER struct tenant *shared_tenants(void)
{
	return mmap(NULL, TENANTS * sizeof(struct tenant), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

HELPER bool went(int error)
{
	return error == ENODEV || error == EIO || error == ETIMEDOUT;
}

/*
 * The device is gone for this file: all that was submitted has ended or ends by one kick, and once, under its own
 * user data. [TKO-5, TKO-6, TKO-12]
 */
HELPER void bury(struct tenant *t, struct queue *q, struct buffer *a)
{
	static struct tdi_cqe copy[DEPTH];
	bool aborted = false;
	uint32_t more = DEPTH - (q->tail - q->head);

	/* Some more, which the device may still run if it isn't fenced off yet. */
	for (uint32_t i = 0; i < more && i < 3; i++)
		put_fill(q, a->id, 0, SLOT, 0xff);
	tenon_store_release(&q->producer->tail, q->tail);
	TENON_SUBMIT_BARRIER();
	WANT(!queue_kick(q->fd, q->made.queue), errno);
	/* A kick while the kernel is still at it leaves the end to the kernel, who looks at the tail after. */
	while (q->head != q->tail) {
		uint32_t index = q->head;
		struct tdi_cqe cqe;
		int error = queue_wait(q->fd, q->made.queue, index + 1, now_ns() + LONG);

		WANT(!error, error);
		cqe = take(q);
		WANT(cqe.sequence == index + 1, cqe.sequence);
		WANT(cqe.user_data == index, cqe.user_data);
		WANT(cqe.status == TDI_SC_OK || cqe.status == TDI_SC_ABORTED, cqe.status);
		/* In order: what was done, then what wasn't. */
		WANT(cqe.status != TDI_SC_OK || !aborted, index);
		aborted |= cqe.status != TDI_SC_OK;
		t->aborted += cqe.status != TDI_SC_OK;
		t->commands++;
	}
	memcpy(copy, q->cq, sizeof(copy));
	WANT(!queue_kick(q->fd, q->made.queue), errno);
	sleep_ms(20);
	WANT(!memcmp(copy, q->cq, sizeof(copy)), 0);
	/* The file has nothing to come any more. */
	WANT(went(buffer_map(a, 0, PAGE, RW)), errno);
	WANT(went(queue_create(q->fd, 8, -1, &(struct queue){ 0 })), errno);
}

HELPER void survive(struct tenant *t)
{
	int file = -1;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		struct buffer a = { 0 };
		struct queue q = { 0 };
		int error;

		file = node_open();
		if (file < 0) {
			WANT(errno == ENOENT || errno == ENODEV || errno == EEXIST || errno == ENXIO, errno);
			sleep_ms(1);
			continue;
		}
		error = buffer_make(file, DEPTH * SLOT, RW, &a);
		if (!error)
			error = queue_make(file, DEPTH, -1, &q);
		if (error) {
			WANT(went(error), error);
			close(file);
			continue;
		}
		while (!(__atomic_load_n(&q.kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_DEAD) &&
		       !__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
			while (q.tail - q.head < DEPTH - 8)
				put_fill(&q, a.id, q.tail % DEPTH * SLOT, SLOT, (uint8_t)(q.tail / DEPTH));
			WANT(!submit(&q), errno);
			error = queue_wait(q.fd, q.made.queue, q.head + 1, now_ns() + LONG);
			WANT(!error, error);
			while (q.head != q.tail && completed(&q)) {
				uint32_t index = q.head;
				struct tdi_cqe cqe = q.cq[index & q.mask];

				if (cqe.status != TDI_SC_OK)
					break;
				WANT(cqe.sequence == index + 1 && cqe.user_data == index, cqe.sequence);
				WANT(all_bytes(a.data + index % DEPTH * SLOT, (uint8_t)(index / DEPTH), SLOT), index);
				q.head++;
				t->commands++;
			}
			/* One that was ended by the kernel is for the burial. */
			if (completed(&q) && q.cq[q.head & q.mask].status != TDI_SC_OK)
				while (!(__atomic_load_n(&q.kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_DEAD))
					sched_yield();
		}
		if (q.kernel->flags & TDI_KERNEL_DEAD)
			bury(t, &q, &a);
		queue_unmap(&q);
		munmap(a.data, a.size);
		WANT(!close(file), errno);
		__atomic_add_fetch(&t->lives, 1, __ATOMIC_RELEASE);
	}
	_exit(0);
}

#endif /* TESTS_SURVIVOR_H */
