/* SPDX-License-Identifier: MIT */
/*
 * libtenon and a device, for real: each command end to end, waiting in all ways, limits in words, and the
 * ends of the device. The arguments are the path of tenond, which is started anew for each test, and ended
 * and killed; or those of a node and of its PCI device in sysfs, which is reset and at last removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tenon/tenon.h>

#define SECOND 1000000000LL

static const char *tenond, *node, *pci;

struct fixture {
	char directory[64];
	char path[80];
	pid_t pid;
	struct tenon_context *context;
	struct tenon_queue *queue;
};

/* Returns when it says that it is ready. */
static pid_t start(const char *path)
{
	char attach[100], line[256];
	int ready[2];
	pid_t pid;
	FILE *out;

	snprintf(attach, sizeof(attach), "unix:%s", path);
	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], STDOUT_FILENO);
		close(ready[0]);
		close(ready[1]);
		execl(tenond, "tenond", "--attach", attach, "--memory-max", "1M", "--queues-max", "3", NULL);
		_exit(127);
	}
	close(ready[1]);
	out = fdopen(ready[0], "r");
	if (!out || !fgets(line, sizeof(line), out) || !strstr(line, "ready"))
		pid = -1;
	if (out)
		fclose(out);
	return pid;
}

static int stop(struct fixture *f, int signal)
{
	int status = -1;

	kill(f->pid, signal);
	waitpid(f->pid, &status, 0);
	f->pid = 0;
	return status;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	if (node)
		return tenon_open(node, NULL, &f->context) ||
		       tenon_queue_create(f->context, 64, NULL, &f->queue);
	strcpy(f->directory, "/tmp/tenon-test-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/tenond", f->directory);
	f->pid = start(f->path);
	return f->pid < 0 || tenon_open(f->path, NULL, &f->context) ||
	       tenon_queue_create(f->context, 64, NULL, &f->queue);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tenon_close(f->context);
	if (f->pid > 0)
		stop(f, SIGTERM);
	if (!node) {
		unlink(f->path);
		rmdir(f->directory);
	}
	free(f);
	return 0;
}

static uint16_t run(struct tenon_queue *q)
{
	uint16_t status;

	assert_int_equal(tenon_submit(q), 0);
	assert_int_equal(tenon_wait(q, 1, 30 * SECOND), 0);
	status = tenon_cqe_peek(q)->status;
	tenon_cqe_seen(q);
	return status;
}

static struct tenon_buffer *buffer(struct fixture *f, uint64_t bytes)
{
	struct tenon_buffer *b;

	assert_int_equal(tenon_buffer_create(f->context, bytes, TDI_BUFFER_READ | TDI_BUFFER_WRITE, &b), 0);
	return b;
}

static void test_commands(void **state)
{
	struct fixture *f = *state;
	struct tenon_buffer *a = buffer(f, 8192), *b = buffer(f, 100);
	unsigned char *data_a = tenon_buffer_data(a), *data_b = tenon_buffer_data(b);
	uint64_t *semaphore = (uint64_t *)(data_a + 4096);
	int i;

	tenon_prep_nop(tenon_sqe_get(f->queue), 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);

	tenon_prep_fill(tenon_sqe_get(f->queue), a, 2, 6, 0x2a2b, 2, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_memory_equal(data_a, "\0\0\x2b\x2a\x2b\x2a\x2b\x2a\0", 9);

	tenon_prep_copy(tenon_sqe_get(f->queue), b, 96, a, 2, 4, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_memory_equal(data_b + 95, "\0\x2b\x2a\x2b\x2a\0", 6);
	/* The bounds are those asked for, not those of the pages. */
	tenon_prep_copy(tenon_sqe_get(f->queue), b, 97, a, 2, 4, 0);
	assert_int_equal(run(f->queue), TDI_SC_BUFFER_BOUNDS);

	tenon_prep_signal(tenon_sqe_get(f->queue), a, 4096, 3, TDI_SIGNAL_ADD, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_int_equal(*semaphore, 3);
	tenon_prep_wait(tenon_sqe_get(f->queue), a, 4096, 3, 1, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	tenon_prep_wait(tenon_sqe_get(f->queue), a, 4096, 4, 1000000, 0);
	assert_int_equal(run(f->queue), TDI_SC_TIMEOUT);

	/* Many laps; every completion is this command's. */
	for (i = 0; i < (node ? 2000 : 20000); i++) {
		const struct tdi_cqe *cqe;

		tenon_prep_nop(tenon_sqe_get(f->queue), (uint64_t)i);
		assert_int_equal(tenon_submit(f->queue), 0);
		assert_int_equal(tenon_wait(f->queue, 1, 30 * SECOND), 0);
		cqe = tenon_cqe_peek(f->queue);
		assert_true(cqe->user_data == (uint64_t)i && cqe->status == TDI_SC_OK);
		tenon_cqe_seen(f->queue);
	}

	/* A buffer that was destroyed is no buffer. */
	tenon_prep_fill(tenon_sqe_get(f->queue), b, 0, 1, 0, 1, 0);
	assert_int_equal(tenon_buffer_destroy(b), 0);
	assert_int_equal(run(f->queue), TDI_SC_BUFFER_ID);
}

static void test_op(void **state)
{
	static const uint32_t shape[] = { 2, 2 };
	struct fixture *f = *state;
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_MATMUL, 2);
	struct tenon_buffer *b = buffer(f, 48);
	float *x = tenon_buffer_data(b);
	struct tdi_tensor t[] = {
		tenon_tensor(b, 0, TDI_F32, 2, shape),
		tenon_tensor(b, 16, TDI_F32, 2, shape),
		tenon_tensor(b, 32, TDI_F32, 2, shape),
	};
	static const float in[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const float out[] = { 19, 22, 43, 50 }, sum[] = { 6, 8, 10, 12 };
	struct tenon_op *prepared;

	memcpy(x, in, sizeof(in));
	assert_int_equal(tenon_op_create(f->context, &op, t, &prepared), 0);
	tenon_prep_op(tenon_sqe_get(f->queue), prepared, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_memory_equal(x + 8, out, sizeof(out));

	/* It can be changed between runs. */
	tenon_op_descriptor(prepared)->op = TDI_TENSOR_ADD;
	tenon_prep_op(tenon_sqe_get(f->queue), prepared, 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_memory_equal(x + 8, sum, sizeof(sum));

	tenon_prep_op(tenon_sqe_get(f->queue), prepared, 0);
	tenon_op_destroy(prepared);
	assert_int_not_equal(run(f->queue), TDI_SC_OK);
}

/* A WAIT that is parked, ended by the host, waited for asleep and through poll(). */
static void test_waits(void **state)
{
	struct fixture *f = *state;
	struct tenon_buffer *b = buffer(f, 8);
	uint64_t *semaphore = tenon_buffer_data(b), value;
	struct pollfd p = { .fd = tenon_queue_fd(f->queue), .events = POLLIN };

	for (value = 1; value <= 100; value++) {
		tenon_prep_wait(tenon_sqe_get(f->queue), b, 0, value, 30 * SECOND, value);
		assert_int_equal(tenon_submit(f->queue), 0);
		assert_int_equal(tenon_wait(f->queue, 1, value % 10 ? 0 : SECOND / 100), -ETIMEDOUT);
		assert_int_equal(tenon_queue_arm(f->queue, 1), 0);
		assert_int_equal(tenon_host_signal(f->queue, semaphore, value), 0);
		if (value & 1) {
			/* A notice of the one before may come late. */
			do
				assert_int_equal(poll(&p, 1, 30000), 1);
			while (!tenon_queue_arm(f->queue, 1));
		} else {
			assert_int_equal(tenon_wait(f->queue, 1, 30 * SECOND), 0);
		}
		assert_int_equal(tenon_cqe_peek(f->queue)->status, TDI_SC_OK);
		tenon_cqe_seen(f->queue);
	}
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	struct tenon_queue *q;
	struct tenon_buffer *b = buffer(f, 1000 << 10), *more;
	struct tdi_context_status status;
	struct tdi_usage usage;
	uint32_t i;

	assert_int_equal(tenon_buffer_create(f->context, 25 << 10, TDI_BUFFER_READ, &more), -ENOMEM);
	assert_string_equal(tenon_errstr(f->context), "memory: needed 1052672, allowed 1048576");
	assert_int_equal(tenon_buffer_destroy(b), 0);
	b = buffer(f, 1 << 20);
	assert_int_equal(tenon_buffer_destroy(b), 0);

	assert_int_equal(tenon_queue_create(f->context, 1, NULL, &q), 0);
	assert_int_equal(tenon_queue_create(f->context, tenon_limits(f->context)->depth, NULL, &q), 0);
	assert_int_equal(tenon_context_status(f->context, &status), 0);
	assert_int_equal(status.queues, 3);
	assert_int_equal(tenon_queue_create(f->context, 1, NULL, &q), -ENOSPC);
	assert_string_equal(tenon_errstr(f->context), "queues: needed 4, allowed 3");

	for (i = 0; i < tenon_limits(f->context)->buffers; i++)
		buffer(f, 1);
	assert_int_equal(tenon_buffer_create(f->context, 1, TDI_BUFFER_READ, &more), -ENOSPC);
	assert_non_null(strstr(tenon_errstr(f->context), "buffers: needed "));

	tenon_prep_nop(tenon_sqe_get(f->queue), 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_int_equal(tenon_context_usage(f->context, &usage), 0);
	assert_int_equal(usage.commands[TDI_OP_NOP], 1);
}

/* Of two queues with different work each has its own, and both add up to what the context has. */
static void test_usage(void **state)
{
	struct tdi_usage all, first, second;
	struct fixture *f = *state;
	struct tenon_queue *q;
	int i;

	assert_int_equal(tenon_queue_create(f->context, 8, NULL, &q), 0);
	for (i = 0; i < 5; i++) {
		tenon_prep_nop(tenon_sqe_get(i < 2 ? f->queue : q), 0);
		assert_int_equal(run(i < 2 ? f->queue : q), TDI_SC_OK);
	}
	assert_int_equal(tenon_queue_usage(f->queue, &first), 0);
	assert_int_equal(tenon_queue_usage(q, &second), 0);
	assert_int_equal(tenon_context_usage(f->context, &all), 0);
	assert_int_equal(first.commands[TDI_OP_NOP], 2);
	assert_int_equal(second.commands[TDI_OP_NOP], 3);
	assert_int_equal(all.commands[TDI_OP_NOP], 5);
	assert_int_equal(first.busy_ns + second.busy_ns, all.busy_ns);
	/* What a queue used stays its context's when it is gone. */
	assert_int_equal(tenon_queue_destroy(q), 0);
	assert_int_equal(tenon_context_usage(f->context, &second), 0);
	assert_int_equal(second.busy_ns, all.busy_ns);
}

/* What the partition shows in sysfs. */
static uint64_t attribute(const char *name)
{
	unsigned long long value;
	char path[160];
	glob_t found;
	FILE *file;

	snprintf(path, sizeof(path), "%s/tenon.partition.*/%s", pci, name);
	assert_int_equal(glob(path, 0, NULL, &found), 0);
	file = fopen(found.gl_pathv[0], "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu", &value), 1);
	fclose(file);
	globfree(&found);
	return value;
}

/* The kernel ends a context after its close(): until then it counts. */
static void await_other_contexts(void)
{
	int tries;

	for (tries = 0; attribute("contexts") != 1 && tries < 1000; tries++)
		usleep(10000);
	assert_int_equal(attribute("contexts"), 1);
}

/* The numbers are the kernel's, and the machine's. */
static void test_node_limits(void **state)
{
	const struct tenon_limits *limits;
	struct fixture *f = *state;
	struct tenon_buffer *b = buffer(f, 5000), *more;
	struct tdi_context_status status;
	struct tenon_queue *q;
	struct tdi_usage usage;
	char expected[120];
	uint32_t queues = 1;
	uint64_t bytes;
	int err;

	await_other_contexts();
	/* With two pages and a queue's rings in use all but one of those that are allowed are too many. */
	limits = tenon_limits(f->context);
	bytes = (limits->memory_bytes & ~4095ull) - 4096;
	snprintf(expected, sizeof(expected), "memory: needed %llu, allowed %llu",
		 (unsigned long long)(bytes + attribute("pinned_bytes")), (unsigned long long)limits->memory_bytes);
	assert_int_equal(tenon_buffer_create(f->context, bytes - 1, TDI_BUFFER_READ, &more), -ENOMEM);
	assert_string_equal(tenon_errstr(f->context), expected);
	assert_int_equal(tenon_buffer_destroy(b), 0);

	assert_int_equal(tenon_queue_create(f->context, limits->depth, NULL, &q), 0);
	assert_int_equal(tenon_queue_destroy(q), 0);
	while (!(err = tenon_queue_create(f->context, 1, NULL, &q)))
		queues++;
	assert_int_equal(err, -ENOSPC);
	snprintf(expected, sizeof(expected), "queues: needed %u, allowed %u", queues + 1, queues);
	assert_string_equal(tenon_errstr(f->context), expected);
	assert_int_equal(limits->queues, queues);
	assert_int_equal(tenon_context_status(f->context, &status), 0);
	assert_int_equal(status.queues, queues);

	tenon_prep_nop(tenon_sqe_get(f->queue), 0);
	assert_int_equal(run(f->queue), TDI_SC_OK);
	assert_int_equal(tenon_context_usage(f->context, &usage), 0);
	assert_int_equal(usage.commands[TDI_OP_NOP], 1);
}

/* What the device did and what the end left of it; then what comes too late. [SOC-23, TKO-13] */
static void check_ended(struct fixture *f, int waits)
{
	const struct tdi_cqe *cqe;
	uint64_t i;

	for (i = 0; i < 6; i++) {
		cqe = tenon_cqe_peek(f->queue);
		assert_non_null(cqe);
		assert_int_equal(cqe->user_data, i);
		assert_int_equal(cqe->status, i < 2 ? TDI_SC_OK : TDI_SC_ABORTED);
		tenon_cqe_seen(f->queue);
	}
	assert_null(tenon_cqe_peek(f->queue));
	for (i = 0; i < 200; i++) {
		tenon_prep_nop(tenon_sqe_get(f->queue), i);
		assert_int_equal(tenon_submit(f->queue), -ENODEV);
		assert_int_equal(tenon_wait(f->queue, 1, -1), waits);
		cqe = tenon_cqe_peek(f->queue);
		assert_int_equal(cqe->user_data, i);
		assert_int_equal(cqe->status, TDI_SC_ABORTED);
		tenon_cqe_seen(f->queue);
		assert_null(tenon_cqe_peek(f->queue));
	}
}

/* Two commands complete, one is parked and three wait behind it. */
static struct tenon_buffer *park(struct fixture *f)
{
	struct tenon_buffer *b = buffer(f, 8);
	uint64_t i;

	for (i = 0; i < 6; i++) {
		if (i == 2)
			tenon_prep_wait(tenon_sqe_get(f->queue), b, 0, 1, 60 * SECOND, i);
		else
			tenon_prep_nop(tenon_sqe_get(f->queue), i);
	}
	assert_int_equal(tenon_submit(f->queue), 0);
	assert_int_equal(tenon_wait(f->queue, 2, 30 * SECOND), 0);
	assert_int_equal(tenon_wait(f->queue, 3, SECOND / 20), -ETIMEDOUT);
	return b;
}

/* tenond ends. Whoever writes the CQEs, each command ends once and in order. */
static void die(struct fixture *f, int signal)
{
	struct tenon_buffer *b = park(f);
	int status;

	status = stop(f, signal);
	assert_int_equal(status, signal == SIGKILL ? SIGKILL : 0);

	/* A clean end wrote them all; else none of the last four is there. */
	assert_int_equal(tenon_wait(f->queue, 6, -1), signal == SIGKILL ? -ENODEV : 0);
	check_ended(f, -ENODEV);
	assert_int_equal(tenon_buffer_destroy(b), -ENODEV);
}

static void test_kill(void **state)
{
	die(*state, SIGKILL);
}

static void test_term(void **state)
{
	struct fixture *f = *state;

	die(f, SIGTERM);
	assert_int_equal(access(f->path, F_OK), -1);
}

/* The same at a node: whoever sleeps wakes, and the kernel writes what is missing. */
static void *tell_sysfs(void *arg)
{
	char path[160];
	FILE *file;

	usleep(100000);
	snprintf(path, sizeof(path), "%s/%s", pci, (const char *)arg);
	file = fopen(path, "w");
	if (!file || fputs("1", file) < 0 || fclose(file))
		perror(path);
	return NULL;
}

static void end_node(struct fixture *f, char *how)
{
	struct pollfd p = { .fd = tenon_queue_fd(f->queue), .events = POLLIN };
	struct tenon_buffer *b = park(f);
	pthread_t thread;

	assert_int_equal(tenon_queue_arm(f->queue, 6), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, tell_sysfs, how), 0);
	assert_int_equal(tenon_wait(f->queue, 6, 30 * SECOND), 0);
	assert_int_equal(poll(&p, 1, 30000), 1);
	pthread_join(thread, NULL);
	assert_int_equal(tenon_queue_arm(f->queue, 6), 1);
	check_ended(f, 0);
	assert_int_equal(tenon_buffer_destroy(b), -ENODEV);
}

static void test_reset(void **state)
{
	struct tenon_context *c;
	struct fixture *f = *state;
	struct tenon_queue *q;

	end_node(f, "reset");
	/* It is there again, for those who come anew. */
	assert_int_equal(tenon_open(node, NULL, &c), 0);
	assert_int_equal(tenon_queue_create(c, 1, NULL, &q), 0);
	tenon_prep_nop(tenon_sqe_get(q), 0);
	assert_int_equal(run(q), TDI_SC_OK);
	tenon_close(c);
}

static void test_remove(void **state)
{
	struct tenon_context *c;

	end_node(*state, "remove");
	assert_int_equal(tenon_open(node, NULL, &c), -ENOENT);
}

static int at_node(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_op, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_node_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_op, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_term, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc == 3) {
		node = argv[1];
		pci = argv[2];
		return at_node();
	}
	if (argc != 2)
		return 2;
	tenond = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
