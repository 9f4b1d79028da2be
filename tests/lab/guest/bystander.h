/* SPDX-License-Identifier: MIT */
/*
 * A tenant who minds his own business, under a uid of his own, while a test does its worst: fills and copies, and
 * looks at every byte of the result and at every completion.
 */
#ifndef TESTS_BYSTANDER_H
#define TESTS_BYSTANDER_H

#include <signal.h>
#include <sys/prctl.h>

#include "tenon.h"

#define BYSTANDER_BYTES	10000
#define BYSTANDER_DEPTH	8

struct bystander {
	pid_t pid;
	/* shared with the child */
	struct bystander_state {
		uint32_t stop;
		uint32_t rounds;	/* that ended well */
		int32_t wrong;		/* line number of what didn't */
		int32_t detail;
	} *state;
};

#define BYSTANDER_WANT(good, what) do {			\
	if (!(good)) {					\
		s->detail = (int32_t)(what);		\
		__atomic_store_n(&s->wrong, __LINE__, __ATOMIC_RELEASE); \
		_exit(1);				\
	}						\
} while (0)

HELPER void bystander_run(struct bystander_state *s)
{
	struct buffer a, b;
	struct queue q;
	int fd = node_open(), error;

	BYSTANDER_WANT(fd >= 0, errno);
	BYSTANDER_WANT(!setgid(FOREIGN_UID) && !setuid(FOREIGN_UID), errno);
	/* Which a change of uid has reset. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	error = buffer_make(fd, BYSTANDER_BYTES, RW, &a);
	BYSTANDER_WANT(!error, error);
	error = buffer_make(fd, BYSTANDER_BYTES, RW, &b);
	BYSTANDER_WANT(!error, error);
	error = queue_make(fd, BYSTANDER_DEPTH, -1, &q);
	BYSTANDER_WANT(!error, error);
	for (uint8_t value = 1; !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE); value++) {
		put_fill(&q, a.id, 0, BYSTANDER_BYTES, value);
		put_copy(&q, b.id, 0, a.id, 0, BYSTANDER_BYTES);
		put(&q, TDI_OP_NOP);
		error = run(&q);
		BYSTANDER_WANT(!error, error);
		BYSTANDER_WANT(all_bytes(a.data, value, BYSTANDER_BYTES), value);
		BYSTANDER_WANT(all_bytes(b.data, value, BYSTANDER_BYTES), value);
		BYSTANDER_WANT(!(q.kernel->flags & TDI_KERNEL_DEAD), q.kernel->flags);
		__atomic_add_fetch(&s->rounds, 1, __ATOMIC_RELEASE);
	}
	_exit(0);
}

/* As root, before the test gives up that. */
HELPER bool bystander_start(struct bystander *b)
{
	b->state = mmap(NULL, sizeof(*b->state), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	b->pid = fork();
	if (!b->pid)
		bystander_run(b->state);
	return b->pid > 0;
}

/* Has he gone on, from now, for @rounds more? False too if he has seen something wrong. */
HELPER bool bystander_goes_on(struct bystander *b, uint32_t rounds)
{
	uint32_t before = __atomic_load_n(&b->state->rounds, __ATOMIC_ACQUIRE);
	int64_t end = now_ns() + LONG;

	while (__atomic_load_n(&b->state->rounds, __ATOMIC_ACQUIRE) - before < rounds) {
		if (__atomic_load_n(&b->state->wrong, __ATOMIC_ACQUIRE) || now_ns() > end) {
			printf("# bystander: line %d, %d, after %u rounds\n", b->state->wrong, b->state->detail,
			       b->state->rounds);
			return false;
		}
		sleep_ms(1);
	}
	return true;
}

/* He ends by himself, and well. */
HELPER bool bystander_stop(struct bystander *b)
{
	int status = -1;

	__atomic_store_n(&b->state->stop, 1, __ATOMIC_RELEASE);
	waitpid(b->pid, &status, 0);
	if (status)
		printf("# bystander: status %#x, line %d, %d\n", status, b->state->wrong, b->state->detail);
	return !status;
}

#endif /* TESTS_BYSTANDER_H */
