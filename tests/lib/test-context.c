/* SPDX-License-Identifier: MIT */
/* libtenon: devices, contexts, buffers: what works, what is refused, and what a fork or exec inherits. */
#include "mock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

/* ------------------------------------------------------------------------ calls that fail */

/* In the test's thread, the call that counts this down to 0. _FILE_OFFSET_BITS makes mmap() mmap64(). */
static __thread int fail_mmap, fail_calloc, fail_aligned, fail_madvise;

void *__real_mmap64(void *address, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);

/* What the next recvmsg() fails with. */
static __thread int fail_recvmsg;

ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (!fail_recvmsg)
		return __real_recvmsg(fd, msg, flags);
	errno = fail_recvmsg;
	fail_recvmsg = 0;
	return -1;
}

static bool now(int *countdown)
{
	if (!*countdown || --*countdown)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_mmap64(void *address, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	return now(&fail_mmap) ? MAP_FAILED : __real_mmap64(address, bytes, prot, flags, fd, offset);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return now(&fail_calloc) ? NULL : __real_calloc(count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return now(&fail_aligned) ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
	return now(&fail_madvise) ? -1 : __real_madvise(address, bytes, advice);
}

static void test_no_memory(void **state)
{
	struct tdi_op op = tenon_op_plain(TDI_TENSOR_RELU, 0);
	struct mock *m = *state;
	struct tenon_context *c;
	struct tenon_buffer *b;
	struct tenon_queue *q;
	struct tenon_op *o;
	unsigned int fds = count_fds();

	fail_calloc = 1;
	assert_int_equal(tenon_open(m->path, NULL, &c), -ENOMEM);
	assert_null(c);
	assert_string_equal(tenon_errstr(NULL), "out of memory");
	c = mock_open(m);

	fail_calloc = 1;
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENOMEM);
	assert_int_equal(m->requests[TENON_MSG_BUFFER_CREATE], 0);
	fail_aligned = 1;
	assert_int_equal(tenon_queue_create(c, 8, NULL, &q), -ENOMEM);
	assert_int_equal(m->requests[TENON_MSG_QUEUE_CREATE], 0);
	fail_calloc = 1;
	assert_int_equal(tenon_op_create(c, &op, NULL, &o), -ENOMEM);
	fail_calloc = 2;
	assert_int_equal(tenon_op_create(c, &op, NULL, &o), -ENOMEM);
	assert_int_equal(m->requests[TENON_MSG_BUFFER_CREATE], 0);
	assert_string_equal(tenon_errstr(c), "out of memory");

	/* What the device made but this side can't map is given back. */
	fail_mmap = 1;
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENOMEM);
	fail_madvise = 1;
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENOMEM);
	assert_null(b);
	assert_int_equal(m->requests[TENON_MSG_BUFFER_DESTROY], 2);
	for (fail_mmap = 1; m->requests[TENON_MSG_QUEUE_DESTROY] < 2; fail_mmap = 2)
		assert_int_equal(tenon_queue_create(c, 8, NULL, &q), -ENOMEM);
	fail_madvise = 2;
	assert_int_equal(tenon_queue_create(c, 8, NULL, &q), -ENOMEM);
	assert_null(q);
	assert_int_equal(m->requests[TENON_MSG_QUEUE_DESTROY], 3);
	assert_string_equal(tenon_errstr(c), "out of address space");

	fail_mmap = fail_madvise = 0;
	assert_int_equal(tenon_queue_create(c, 8, NULL, &q), 0);
	tenon_close(c);
	mock_settle(m);
	assert_int_equal(count_fds(), fds);
}

/* ------------------------------------------------------------------------------------ devices */

struct seen {
	unsigned int count;
	char paths[256];
	int result;
};

static int see(const struct tenon_device *device, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(device->size, sizeof(*device));
	assert_string_equal(device->transport, "socket");
	seen->count++;
	strcat(seen->paths, strrchr(device->path, '/'));
	return seen->result;
}

static void make_socket(const char *directory, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void test_devices(void **state)
{
	struct mock *m = *state;
	struct seen seen = { 0 };
	char list[512], path[128];

	/* A directory: sockets alone, in the order of their names. */
	make_socket(m->directory, "b");
	make_socket(m->directory, "a");
	make_socket(m->directory, ".hidden");
	snprintf(path, sizeof(path), "%s/file", m->directory);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(tenon_devices_in(m->directory, &tenon_socket, see, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.paths, "/a/b/tenond");
	assert_int_equal(tenon_devices_in("/nonexistent", &tenon_socket, see, &seen), 0);
	assert_int_equal(tenon_devices_in(path, &tenon_socket, see, &seen), -ENOTDIR);

	/* What the callback returns ends the walk. */
	seen = (struct seen){ .result = 42 };
	assert_int_equal(tenon_devices_in(m->directory, &tenon_socket, see, &seen), 42);
	assert_int_equal(seen.count, 1);

	/* The environment comes first: in its order, and what doesn't exist is not listed. */
	seen = (struct seen){ 0 };
	snprintf(list, sizeof(list), ":%s/b::%s/none:%s/file:%s/a", m->directory, m->directory, m->directory,
		 m->directory);
	setenv("TENON_DEVICE", list, 1);
	assert_int_equal(tenon_devices(see, &seen), 0);
	assert_string_equal(seen.paths, "/b/a");
	unsetenv("TENON_DEVICE");

	unlink(path);
	snprintf(path, sizeof(path), "%s/a", m->directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/b", m->directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/.hidden", m->directory);
	unlink(path);
}

/* ----------------------------------------------------------------------------------- contexts */

static void test_open(void **state)
{
	struct {
		struct tenon_open_options known;
		uint64_t more;
	} newer = { .known.size = sizeof(newer) };
	struct tenon_open_options options = { .size = sizeof(options), .timeout_ms = 1000 };
	struct mock *m = *state;
	struct tenon_context *c;
	unsigned int fds = count_fds();

	assert_int_equal(tenon_open(m->path, &options, &c), 0);
	assert_string_equal((const char *)tenon_identify(c)->model, "mock");
	assert_int_equal(tenon_limits(c)->memory_bytes, MOCK_MEMORY);
	assert_int_equal(tenon_limits(c)->buffers, MOCK_BUFFERS);
	assert_int_equal(tenon_limits(c)->queues, MOCK_QUEUES);
	assert_int_equal(tenon_limits(c)->depth, MOCK_DEPTH);
	assert_string_equal(tenon_errstr(c), "");
	assert_string_equal(tenon_errstr(NULL), "");
	tenon_close(c);
	mock_settle(m);

	/* A limit that no size can reach is cut to what sizes can be rounded up to. */
	mock_lie(m, TENON_MSG_HELLO, LIE_MEMORY);
	assert_int_equal(tenon_open(m->path, &options, &c), 0);
	assert_true(tenon_limits(c)->memory_bytes <= INT64_MAX - TDI_PAGE_SIZE);
	tenon_close(c);
	mock_settle(m);

	setenv("TENON_DEVICE", m->path, 1);
	assert_int_equal(tenon_open(NULL, NULL, &c), 0);
	tenon_close(c);
	mock_settle(m);
	unsetenv("TENON_DEVICE");

	/* A newer program's options, as long as it doesn't use them. */
	assert_int_equal(tenon_open(m->path, &newer.known, &c), 0);
	tenon_close(c);
	mock_settle(m);
	newer.more = 1;
	assert_int_equal(tenon_open(m->path, &newer.known, &c), -EINVAL);
	options.flags = 1;
	assert_int_equal(tenon_open(m->path, &options, &c), -EINVAL);
	options = (struct tenon_open_options){ .size = 4 };
	assert_int_equal(tenon_open(m->path, &options, &c), -EINVAL);
	assert_null(c);
	assert_string_equal(tenon_errstr(NULL), "unknown option");
	assert_int_equal(count_fds(), fds);
	tenon_close(NULL);
}

static void test_open_errors(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c;
	char path[256], expected[320];
	unsigned int fds = count_fds();

	setenv("TENON_DEVICE", "/nonexistent", 1);
	assert_int_equal(tenon_open(NULL, NULL, &c), -ENODEV);
	assert_string_equal(tenon_errstr(NULL), "no device found");
	unsetenv("TENON_DEVICE");

	snprintf(path, sizeof(path), "%s/none", m->directory);
	snprintf(expected, sizeof(expected), "connect to %s: No such file or directory", path);
	assert_int_equal(tenon_open(path, NULL, &c), -ENOENT);
	assert_string_equal(tenon_errstr(NULL), expected);

	make_socket(m->directory, "none");
	assert_int_equal(tenon_open(path, NULL, &c), -ECONNREFUSED);
	unlink(path);

	memset(path, 'x', 200);
	path[200] = 0;
	assert_int_equal(tenon_open(path, NULL, &c), -ENAMETOOLONG);

	m->refuse_error = -EUSERS;
	mock_lie(m, TENON_MSG_HELLO, REFUSE);
	assert_int_equal(tenon_open(m->path, NULL, &c), -EUSERS);
	assert_string_equal(tenon_errstr(NULL), "contexts: needed 7, allowed 5");
	mock_settle(m);
	m->refuse_error = -EPROTO;
	mock_lie(m, TENON_MSG_HELLO, REFUSE);
	assert_int_equal(tenon_open(m->path, NULL, &c), -EPROTO);
	assert_string_equal(tenon_errstr(NULL), "open: refused by the device: Protocol error");
	mock_settle(m);
	assert_null(c);
	assert_int_equal(count_fds(), fds);
}

/* A refusal that comes before the request, from a peer that is gone before or after that is sent. [SOC-3] */
static void test_turned_away(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c;
	unsigned int fds = count_fds();
	int i;

	pthread_mutex_lock(&m->lock);
	m->turn_away = true;
	pthread_mutex_unlock(&m->lock);
	for (i = 0; i < 500; i++) {
		assert_int_equal(tenon_open(m->path, NULL, &c), -EUSERS);
		assert_string_equal(tenon_errstr(NULL), "contexts: needed 3, allowed 2");
	}
	pthread_mutex_lock(&m->lock);
	m->turn_away = false;
	pthread_mutex_unlock(&m->lock);
	tenon_close(mock_open(m));
	mock_settle(m);
	assert_int_equal(count_fds(), fds);
}

/* What recvmsg() may say before it has the answer. ECONNRESET: the peer left with a request unread. */
static void test_not_yet(void **state)
{
	static const int errors[] = { EINTR, EAGAIN, ECONNRESET };
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tdi_usage usage;
	int i;

	for (i = 0; i < 3; i++) {
		fail_recvmsg = errors[i];
		assert_int_equal(tenon_context_usage(c, &usage), 0);
		assert_int_equal(fail_recvmsg, 0);
	}
	fail_recvmsg = ENOTCONN;
	assert_int_equal(tenon_context_usage(c, &usage), -ENODEV);
	tenon_close(c);
}

/* A daemon that is stopped: the backlog fills up, and connect() itself would wait for ever. */
static void test_open_backlog(void **state)
{
	struct tenon_open_options options = { .size = sizeof(options), .timeout_ms = 50 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct mock *m = *state;
	struct tenon_context *c;
	unsigned int fds = count_fds();
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), first;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/full", m->directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 0), 0);
	first = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof(address)), 0);

	assert_int_equal(tenon_open(address.sun_path, &options, &c), -ETIMEDOUT);
	close(first);
	close(fd);
	unlink(address.sun_path);
	assert_int_equal(count_fds(), fds);
}

static void test_status_and_usage(void **state)
{
	struct tdi_context_status status;
	struct tdi_usage usage;
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tenon_queue *first, *second;

	assert_int_equal(tenon_context_status(c, &status), 0);
	assert_int_equal(status.queues, 1);
	assert_int_equal(status.queue[0].completed, 77);
	assert_int_equal(tenon_context_usage(c, &usage), 0);
	assert_int_equal(usage.busy_ns, 1234);

	assert_int_equal(tenon_queue_create(c, 8, NULL, &first), 0);
	assert_int_equal(tenon_queue_create(c, 8, NULL, &second), 0);
	assert_int_not_equal(tenon_queue_id(first), tenon_queue_id(second));
	assert_int_equal(tenon_queue_usage(first, &usage), 0);
	assert_int_equal(usage.busy_ns, 100 + tenon_queue_id(first));
	assert_int_equal(tenon_queue_usage(second, &usage), 0);
	assert_int_equal(usage.busy_ns, 100 + tenon_queue_id(second));

	mock_lie(m, TENON_MSG_USAGE, GROWN);
	usage.busy_ns = 0;
	assert_int_equal(tenon_context_usage(c, &usage), 0);
	assert_int_equal(usage.busy_ns, 1234);

	mock_die(m);
	assert_int_equal(tenon_context_status(c, &status), -ENODEV);
	assert_string_equal(tenon_errstr(c), "the device closed the connection");
	assert_int_equal(tenon_context_usage(c, &usage), -ENODEV);
	assert_string_equal(tenon_errstr(c), "the device died");
	tenon_close(c);
}

/* ------------------------------------------------------------------------------------ buffers */

static void test_buffer(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tenon_buffer *b, *other;
	unsigned int fds = count_fds();
	struct tdi_usage usage;
	unsigned char *data;
	int i;

	assert_int_equal(tenon_buffer_create(c, 5000, TDI_BUFFER_READ | TDI_BUFFER_WRITE, &b), 0);
	assert_int_equal(tenon_buffer_bytes(b), 5000);
	assert_int_equal(tenon_buffer_id(b), m->last_buffer);
	data = tenon_buffer_data(b);
	assert_int_equal((uintptr_t)data % TDI_PAGE_SIZE, 0);
	for (i = 0; i < 8192; i++)
		assert_int_equal(data[i], 0);
	data[8191] = 1;
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &other), 0);
	assert_int_not_equal(tenon_buffer_id(b), tenon_buffer_id(other));
	/* Buffers keep no descriptor. The mock has closed its own when it answers the next request. */
	assert_int_equal(tenon_context_usage(c, &usage), 0);
	assert_int_equal(count_fds(), fds);

	assert_int_equal(tenon_buffer_destroy(b), 0);
	assert_int_equal(m->buffers, 1);
	assert_int_equal(tenon_buffer_destroy(NULL), 0);

	mock_die(m);
	assert_int_equal(tenon_buffer_destroy(other), -ENODEV);
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENODEV);
	assert_null(b);
	tenon_close(c);
}

static void test_buffer_errors(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tenon_buffer *b;

	assert_int_equal(tenon_buffer_create(c, 0, TDI_BUFFER_READ, &b), -EINVAL);
	assert_int_equal(tenon_buffer_create(c, 1, 0, &b), -EINVAL);
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ | TDI_BUFFER_INLINE, &b), -EINVAL);
	assert_int_equal(tenon_buffer_create(c, MOCK_MEMORY + 1, TDI_BUFFER_READ, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(c), "memory: needed 8388609, allowed 8388608");
	assert_int_equal(tenon_buffer_create(c, UINT64_MAX, TDI_BUFFER_READ, &b), -ENOMEM);
	assert_int_equal(m->requests[TENON_MSG_BUFFER_CREATE], 0);

	m->refuse_error = -ENOMEM;
	mock_lie(m, TENON_MSG_BUFFER_CREATE, REFUSE);
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENOMEM);
	assert_string_equal(tenon_errstr(c), "memory: needed 7, allowed 5");
	m->refuse_error = -ENOSPC;
	mock_lie(m, TENON_MSG_BUFFER_CREATE, REFUSE);
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -ENOSPC);
	assert_string_equal(tenon_errstr(c), "buffers: needed 7, allowed 5");
	/* A refusal is no reason to give back what was never there. */
	assert_int_equal(m->requests[TENON_MSG_BUFFER_DESTROY], 0);
	assert_null(b);

	/* A handle is gone even if the device refuses. */
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), 0);
	m->refuse_error = -ENOENT;
	mock_lie(m, TENON_MSG_BUFFER_DESTROY, REFUSE);
	assert_int_equal(tenon_buffer_destroy(b), -ENOENT);
	tenon_close(c);
}

static void test_no_descriptors(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tenon_buffer *b;
	struct tenon_queue *q;
	unsigned int fds = count_fds();

	mock_lie(m, TENON_MSG_BUFFER_CREATE, NO_FDS_LEFT);
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), -EMFILE);
	assert_string_equal(tenon_errstr(c), "out of file descriptors");
	assert_int_equal(m->requests[TENON_MSG_BUFFER_DESTROY], 1);
	assert_int_equal(m->buffers, 0);
	mock_lie(m, TENON_MSG_QUEUE_CREATE, NO_FDS_LEFT);
	assert_int_equal(tenon_queue_create(c, 1, NULL, &q), -EMFILE);
	assert_int_equal(m->requests[TENON_MSG_QUEUE_DESTROY], 1);
	assert_int_equal(count_fds(), fds);

	/* The context survived. */
	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), 0);
	tenon_close(c);
}

/* ------------------------------------------------------------------------------- fork and exec */

static bool mapped(const void *address)
{
	unsigned char resident;

	return !mincore((void *)((uintptr_t)address & ~(uintptr_t)4095), 4096, &resident);
}

static void test_fork(void **state)
{
	struct mock *m = *state;
	struct tenon_context *c = mock_open(m);
	struct tdi_usage usage;
	struct tenon_buffer *b;
	struct tenon_queue *q;
	int status;
	pid_t pid;

	assert_int_equal(tenon_buffer_create(c, 1, TDI_BUFFER_READ, &b), 0);
	assert_int_equal(tenon_queue_create(c, 8, NULL, &q), 0);
	assert_true(mapped(tenon_buffer_data(b)) && mapped(q->sq) && mapped(q->cq));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		void *data = tenon_buffer_data(b), *here;

		if (mapped(data) || mapped(q->sq) || mapped(q->cq))
			_exit(1);
		if (tenon_context_usage(c, &usage) != -ENODEV)
			_exit(2);
		/* What the child maps where the buffer was is none of tenon_close()'s business. */
		here = __real_mmap64(data, 4096, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (here != data)
			_exit(3);
		tenon_close(c);
		_exit(mapped(data) ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(tenon_context_usage(c, &usage), 0);
	tenon_close(c);
	mock_settle(m);
}

/* Every descriptor that the library holds is closed by exec. */
static void test_exec(void **state)
{
	struct mock *m = *state;
	bool before[256];
	struct tenon_context *c;
	struct tenon_queue *q;
	struct tdi_usage usage;
	unsigned int ours = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	c = mock_open(m);
	assert_int_equal(tenon_queue_create(c, 8, NULL, &q), 0);
	assert_int_equal(tenon_context_usage(c, &usage), 0);
	for (fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (before[fd] || flags < 0)
			continue;
		assert_true(flags & FD_CLOEXEC);
		ours++;
	}
	/* The socket, the kick and the notice, and the mock's three ends of them. */
	assert_int_equal(ours, 6);
	tenon_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_memory, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_devices, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_open, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_open_errors, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_turned_away, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_not_yet, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_open_backlog, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_status_and_usage, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_buffer, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_buffer_errors, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_fork, mock_setup, mock_teardown),
		cmocka_unit_test_setup_teardown(test_exec, mock_setup, mock_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
