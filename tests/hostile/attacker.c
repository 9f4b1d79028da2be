/* SPDX-License-Identifier: MIT */
/* See attacker.h. */
#include "attacker.h"

#include <stdlib.h>

struct daemon the_daemon;
struct bystander bystander;

int group_setup(void **state)
{
	const char *const args[] = { "--memory-max", "64M", NULL };

	daemon_start(&the_daemon, args, 0);
	bystander_start(&bystander, &the_daemon);
	return 0;
}

int group_teardown(void **state)
{
	bystander_stop(&bystander);
	daemon_stop(&the_daemon);
	return 0;
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	unsigned int i;

	assert_non_null(f);
	raw_open(&f->r, &the_daemon);
	raw_queue(&f->r, 64, &f->q);
	raw_buffer(&f->r, 5000, RW, &f->a);
	raw_buffer(&f->r, 5000, RW, &f->b);
	raw_buffer(&f->r, 4096, TDI_BUFFER_READ, &f->readonly);
	raw_buffer(&f->r, 4096, TDI_BUFFER_WRITE, &f->writeonly);
	memset(f->a.data, 0xa1, f->a.mapped);
	memset(f->b.data, 0xb2, f->b.mapped);
	memset(f->readonly.data, 0xc3, f->readonly.mapped);
	memset(f->writeonly.data, 0xd4, f->writeonly.mapped);
	raw_open(&f->victim, &the_daemon);
	for (i = 0; i < ARRAY_SIZE(f->treasure); i++) {
		raw_buffer(&f->victim, 4096, RW, &f->treasure[i]);
		memset(f->treasure[i].data, 0x77, 4096);
	}
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(f->treasure); i++) {
		assert_true(all_bytes(f->treasure[i].data, 0x77, 4096));
		raw_buffer_unmap(&f->treasure[i]);
	}
	raw_close(&f->victim);
	raw_queue_unmap(&f->q);
	raw_buffer_unmap(&f->a);
	raw_buffer_unmap(&f->b);
	raw_buffer_unmap(&f->readonly);
	raw_buffer_unmap(&f->writeonly);
	raw_close(&f->r);
	free(f);
	bystander_check(&bystander);
	return 0;
}

void untouched(const struct fixture *f)
{
	assert_true(all_bytes(f->a.data, 0xa1, f->a.mapped));
	assert_true(all_bytes(f->b.data, 0xb2, f->b.mapped));
	assert_true(all_bytes(f->readonly.data, 0xc3, f->readonly.mapped));
	assert_true(all_bytes(f->writeonly.data, 0xd4, f->writeonly.mapped));
}

void expect(struct fixture *f, unsigned int status, uint32_t info)
{
	struct tdi_cqe cqe = raw_run(&f->q);

	assert_int_equal(cqe.status, status);
	assert_int_equal(cqe.info, info);
}

void still_works(struct fixture *f)
{
	put_fill(raw_sqe(&f->q), f->a.id, 0, 5000, 0xa1, 1);
	expect(f, TDI_SC_OK, 0);
}
