/* SPDX-License-Identifier: MIT */
/*
 * Where most hostile tests begin: a tenond, a bystander that works all the while, a context for the attacker,
 * and one whose memory it would like to have.
 */
#ifndef ATTACKER_H
#define ATTACKER_H

#include "harness.h"

#define RW (TDI_BUFFER_READ | TDI_BUFFER_WRITE)
#define HOUR_NS 3600000000000ULL

extern struct daemon the_daemon;
extern struct bystander bystander;

struct fixture {
	struct raw r;
	struct raw_queue q;
	struct raw_buffer a, b;		/* 5000 bytes, both rights; filled with 0xa1 and 0xb2 */
	struct raw_buffer readonly, writeonly;	/* 4096 bytes of 0xc3 and 0xd4 */
	struct raw victim;
	struct raw_buffer treasure[8];	/* 4096 bytes of 0x77 */
};

int group_setup(void **state);
int group_teardown(void **state);
int setup(void **state);
/* The treasure is as it was, and the bystander's results are right. [SOC-26] */
int teardown(void **state);

/* Nothing of the attacker's own was written either. [CMD-3, CMD-10] */
void untouched(const struct fixture *f);
/* Run the entry that was got and filled last. */
void expect(struct fixture *f, unsigned int status, uint32_t info);
/* The queue is as good as before. */
void still_works(struct fixture *f);

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

#endif /* ATTACKER_H */
