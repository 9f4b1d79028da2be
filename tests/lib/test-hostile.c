/* SPDX-License-Identifier: MIT */
/*
 * libtenon against a daemon that lies. Each lie ends the connection with -EPROTO, takes no descriptor and no
 * mapping with it, and nothing is believed afterwards. [SOC-11, SOC-28]
 */
#include "mock.h"

#include <stdio.h>
#include <stdlib.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static unsigned int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int count = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "memfd:mock"))
			count++;
	fclose(maps);
	return count;
}

/* The call that sends a request of this type. */
static int call(struct tenon_context *c, enum tenon_msg_type type, struct tenon_buffer *b,
		struct tenon_queue *q)
{
	struct tdi_context_status status;
	struct tdi_usage usage;
	struct tenon_buffer *new_buffer;
	struct tenon_queue *new_queue;
	int err;

	switch (type) {
	case TENON_MSG_BUFFER_CREATE:
		err = tenon_buffer_create(c, 10000, TDI_BUFFER_READ, &new_buffer);
		assert_null(new_buffer);
		return err;
	case TENON_MSG_BUFFER_DESTROY:
		return tenon_buffer_destroy(b);
	case TENON_MSG_QUEUE_CREATE:
		err = tenon_queue_create(c, 128, NULL, &new_queue);
		assert_null(new_queue);
		return err;
	case TENON_MSG_QUEUE_DESTROY:
		return tenon_queue_destroy(q);
	case TENON_MSG_STATUS:
		return tenon_context_status(c, &status);
	case TENON_MSG_USAGE:
		return tenon_context_usage(c, &usage);
	case TENON_MSG_QUEUE_USAGE:
		return tenon_queue_usage(q, &usage);
	default:
		return -ENOSYS;
	}
}

static void lie_once(struct mock *m, enum tenon_msg_type type, enum mock_lie lie, int expected)
{
	struct tenon_open_options options = { .size = sizeof(options),
					      .timeout_ms = expected == -ETIMEDOUT ? 200 : 5000 };
	unsigned int fds = count_fds(), maps = count_maps();
	struct tenon_context *c;
	struct tenon_buffer *b;
	struct tenon_queue *q;
	struct tdi_usage usage;
	int err;

	if (type == TENON_MSG_HELLO) {
		mock_lie(m, type, lie);
		err = tenon_open(m->path, &options, &c);
		assert_null(c);
		if (expected == -EPROTO)
			assert_non_null(strstr(tenon_errstr(NULL), "the device's answer can't be right: "));
	} else {
		assert_int_equal(tenon_open(m->path, &options, &c), 0);
		assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), 0);
		assert_int_equal(tenon_queue_create(c, 8, NULL, &q), 0);
		mock_lie(m, type, lie);
		err = call(c, type, b, q);
		if (expected == -EPROTO)
			assert_non_null(strstr(tenon_errstr(c), "the device's answer can't be right: "));
		/* It is over, also for what comes late. */
		assert_int_equal(tenon_context_usage(c, &usage), -ENODEV);
		tenon_close(c);
	}
	if (err != expected)
		print_message("# request %d, lie %d: %d\n", type, lie, err);
	assert_int_equal(err, expected);
	mock_settle(m);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

static void test_any_reply(void **state)
{
	enum tenon_msg_type type;
	enum mock_lie lie;

	for (type = TENON_MSG_HELLO; type <= TENON_MSG_QUEUE_USAGE; type++)
		for (lie = LIE_NONE + 1; lie < LIE_ANY_END; lie++)
			lie_once(*state, type, lie, -EPROTO);
}

/* No answer, and one that comes too late for its own request and must not be taken for another's. [SOC-12] */
static void test_silence(void **state)
{
	enum tenon_msg_type type;

	for (type = TENON_MSG_HELLO; type <= TENON_MSG_QUEUE_USAGE; type++) {
		lie_once(*state, type, LIE_SILENT, -ETIMEDOUT);
		lie_once(*state, type, LIE_HANG_UP, -ENODEV);
	}
	lie_once(*state, TENON_MSG_BUFFER_CREATE, LIE_LATE, -ETIMEDOUT);
	lie_once(*state, TENON_MSG_QUEUE_CREATE, LIE_LATE, -ETIMEDOUT);
}

/* Another version; memory that could vanish; rings that aren't as [QUE-4, SOC-13, SOC-18] want them. */
static void test_one_reply(void **state)
{
	static const struct {
		enum tenon_msg_type type;
		enum mock_lie lie;
	} lies[] = {
		{ TENON_MSG_HELLO, LIE_MAJOR },
		{ TENON_MSG_HELLO, LIE_TDI },
		{ TENON_MSG_HELLO, LIE_TDI_MINOR },
		{ TENON_MSG_HELLO, LIE_QUEUES },
		{ TENON_MSG_HELLO, LIE_BUFFERS },
		{ TENON_MSG_HELLO, LIE_DEPTH },
		{ TENON_MSG_HELLO, LIE_NO_DEPTH },
		{ TENON_MSG_BUFFER_CREATE, LIE_NO_FD },
		{ TENON_MSG_BUFFER_CREATE, LIE_GENERATION },
		{ TENON_MSG_BUFFER_CREATE, LIE_UNSEALED },
		{ TENON_MSG_BUFFER_CREATE, LIE_SMALL },
		{ TENON_MSG_BUFFER_CREATE, LIE_LARGE },
		{ TENON_MSG_BUFFER_CREATE, LIE_NO_MEMFD },
		{ TENON_MSG_BUFFER_CREATE, LIE_READ_ONLY },
		{ TENON_MSG_QUEUE_CREATE, LIE_NO_FD },
		{ TENON_MSG_QUEUE_CREATE, LIE_FEWER_FDS },
		{ TENON_MSG_QUEUE_CREATE, LIE_DEPTH },
		{ TENON_MSG_QUEUE_CREATE, LIE_UNSEALED },
		{ TENON_MSG_QUEUE_CREATE, LIE_SMALL },
		{ TENON_MSG_QUEUE_CREATE, LIE_LARGE },
		{ TENON_MSG_QUEUE_CREATE, LIE_NO_MEMFD },
		{ TENON_MSG_QUEUE_CREATE, LIE_READ_ONLY },
		{ TENON_MSG_QUEUE_CREATE, LIE_FIRST },
		{ TENON_MSG_QUEUE_CREATE, LIE_TAIL },
		{ TENON_MSG_QUEUE_CREATE, LIE_WANTED },
		{ TENON_MSG_QUEUE_CREATE, LIE_WANTED_KERNEL },
		{ TENON_MSG_QUEUE_CREATE, LIE_CQ },
		{ TENON_MSG_QUEUE_CREATE, LIE_KICK_PIPE },
		{ TENON_MSG_QUEUE_CREATE, LIE_NOTICE_EVENTFD },
		{ TENON_MSG_QUEUE_CREATE, LIE_NOTICE_PIPE },
		{ TENON_MSG_STATUS, LIE_STATUS_QUEUES },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lies); i++)
		lie_once(*state, lies[i].type, lies[i].lie, -EPROTO);
}

/* A refusal ends nothing, and its numbers become words. [SOC-8, SOC-9] */
static void test_refusals(void **state)
{
	static const enum tenon_msg_type types[] = { TENON_MSG_BUFFER_CREATE, TENON_MSG_QUEUE_CREATE,
						     TENON_MSG_STATUS, TENON_MSG_USAGE };
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	unsigned int fds = count_fds();
	struct tdi_usage usage;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		m->refuse_error = -EBUSY;
		mock_lie(m, types[i], REFUSE);
		assert_int_equal(call(c, types[i], NULL, NULL), -EBUSY);
		assert_non_null(strstr(tenon_errstr(c), ": refused by the device: Device or resource busy"));
		assert_int_equal(tenon_context_usage(c, &usage), 0);
	}
	m->refuse_error = -ENOSPC;
	mock_lie(m, TENON_MSG_QUEUE_CREATE, REFUSE);
	assert_int_equal(call(c, TENON_MSG_QUEUE_CREATE, NULL, NULL), -ENOSPC);
	assert_string_equal(tenon_errstr(c), "queues: needed 7, allowed 5");
	m->refuse_error = -ENOMEM;
	mock_lie(m, TENON_MSG_QUEUE_CREATE, REFUSE);
	assert_int_equal(call(c, TENON_MSG_QUEUE_CREATE, NULL, NULL), -ENOMEM);
	/* What was refused left nothing that would have to be given back. */
	assert_int_equal(m->requests[TENON_MSG_BUFFER_DESTROY] + m->requests[TENON_MSG_QUEUE_DESTROY], 0);
	assert_int_equal(count_fds(), fds);
	tenon_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_any_reply, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_silence, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_one_reply, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_refusals, mock_setup, mock_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
