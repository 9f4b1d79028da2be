/* SPDX-License-Identifier: MIT */
/*
 * A tenant in its steady state: steady DEVICE submits and reaps 10,000 commands between two system calls that
 * can be told from all others. What strace sees between them is what a steady tenant costs. Where there is no
 * strace, steady DEVICE seccomp is killed by the first system call but those two.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tenon/tenon.h>

#define COMMANDS 10000u
#define DEPTH 128
#define BATCH 16

static void need(int good, const char *words)
{
	if (good)
		return;
	fprintf(stderr, "steady: %s\n", words);
	exit(1);
}

static void commands(struct tenon_queue *queue, unsigned int count)
{
	unsigned int submitted = 0, reaped = 0, i;
	const struct tdi_cqe *cqe;

	while (reaped < count) {
		if (submitted < count && submitted - reaped <= DEPTH - BATCH) {
			for (i = 0; i < BATCH && submitted < count; i++)
				tenon_prep_nop(tenon_sqe_get(queue), submitted++);
			need(!tenon_submit(queue), "tenon_submit");
		}
		while ((cqe = tenon_cqe_peek(queue)) != NULL) {
			need(cqe->user_data == reaped && cqe->status == TDI_SC_OK, "a wrong completion");
			tenon_cqe_seen(queue);
			reaped++;
		}
	}
}

/* No such descriptor: nothing is written, but strace shows it. */
static void mark(const char *words)
{
	need(write(-1, words, strlen(words)) < 0, "write");
}

/* From here on any system call but mark()'s and the end kills. */
static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 0, 3),
		/* A kick may be a write, too, but not to -1. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	     !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
}

int main(int argc, char **argv)
{
	struct tenon_context *context;
	struct tenon_queue *queue;

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "seccomp"))) {
		fprintf(stderr, "usage: steady DEVICE [seccomp]\n");
		return 2;
	}
	need(!tenon_open(argv[1], NULL, &context), "tenon_open");
	need(!tenon_queue_create(context, DEPTH, NULL, &queue), "tenon_queue_create");
	/* This wakes the device up. */
	commands(queue, BATCH);
	if (argc == 3)
		filter();
	mark("steady: begin");
	commands(queue, COMMANDS);
	mark("steady: end");
	if (argc == 3)
		_exit(0);
	tenon_close(context);
	return 0;
}
