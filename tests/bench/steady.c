/* SPDX-License-Identifier: MIT */
/*
 * A tenant in its steady state, for strace: steady SOCKET submits and reaps 10,000 commands between two
 * system calls that can be told from all others. What strace sees between them is what a steady tenant costs.
 */
#include <stdio.h>
#include <stdlib.h>
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

int main(int argc, char **argv)
{
	struct tenon_context *context;
	struct tenon_queue *queue;

	if (argc != 2) {
		fprintf(stderr, "usage: steady SOCKET\n");
		return 2;
	}
	need(!tenon_open(argv[1], NULL, &context), "tenon_open");
	need(!tenon_queue_create(context, DEPTH, NULL, &queue), "tenon_queue_create");
	/* This wakes the device up. */
	commands(queue, BATCH);
	mark("steady: begin");
	commands(queue, COMMANDS);
	mark("steady: end");
	tenon_close(context);
	return 0;
}
