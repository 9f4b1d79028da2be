/* SPDX-License-Identifier: MIT */
/* What a client can't do by what it sends, doesn't read or doesn't say; and the limits of what it gets. */
#include "attacker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

union message {
	struct tenon_msg head;
	struct tenon_msg_hello hello;
	struct tenon_msg_buffer_create buffer_create;
	struct tenon_msg_buffer_destroy buffer_destroy;
	struct tenon_msg_queue_create queue_create;
	struct tenon_msg_queue_destroy queue_destroy;
	struct tenon_msg_queue_usage queue_usage;
	uint8_t bytes[TENON_SOCKET_MAX];
};

static const size_t size_of[] = {
	[TENON_MSG_HELLO] = sizeof(struct tenon_msg_hello),
	[TENON_MSG_BUFFER_CREATE] = sizeof(struct tenon_msg_buffer_create),
	[TENON_MSG_BUFFER_DESTROY] = sizeof(struct tenon_msg_buffer_destroy),
	[TENON_MSG_QUEUE_CREATE] = sizeof(struct tenon_msg_queue_create),
	[TENON_MSG_QUEUE_DESTROY] = sizeof(struct tenon_msg_queue_destroy),
	[TENON_MSG_STATUS] = sizeof(struct tenon_msg),
	[TENON_MSG_USAGE] = sizeof(struct tenon_msg),
	[TENON_MSG_QUEUE_USAGE] = sizeof(struct tenon_msg_queue_usage),
};

/* A request that would be granted, but for those that name an object. */
static union message good(uint16_t type)
{
	union message m = {
		.head = { .size = (uint32_t)size_of[type], .type = type, .id = 0x1122334455667788 }
	};

	switch (type) {
	case TENON_MSG_HELLO:
		m.hello.major = TENON_SOCKET_MAJOR;
		break;
	case TENON_MSG_BUFFER_CREATE:
		m.buffer_create.bytes = 100;
		m.buffer_create.rights = RW;
		break;
	case TENON_MSG_QUEUE_CREATE:
		m.queue_create.depth = 4;
		break;
	}
	return m;
}

static void opens_soon(void)
{
	uint64_t start = now_ns();
	struct raw r;

	raw_open(&r, &the_daemon);
	raw_close(&r);
	assert_in_range(now_ns() - start, 0, LATENCY_NS);
}

/* Send @size bytes as they are; what the refusal says, after it was seen to be one. */
static int refusal(int fd, const union message *m, size_t size)
{
	struct tenon_reply reply;

	assert_int_equal(send(fd, m, size, MSG_NOSIGNAL), size);
	assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
	/* [SOC-5, SOC-8] */
	assert_int_equal(reply.size, sizeof(reply));
	assert_int_equal(reply.type, m->head.type);
	assert_true(reply.id == m->head.id);
	assert_true(reply.error < 0);
	return reply.error;
}

/* The same by the attacker; or for HELLO, whose refusal is the end, by somebody new. [SOC-1] */
static int refusal_of(const struct fixture *f, const union message *m, size_t size)
{
	int fd, error;

	if (m->head.type != TENON_MSG_HELLO)
		return refusal(f->r.fd, m, size);
	fd = raw_connect(&the_daemon);
	error = refusal(fd, m, size);
	assert_true(raw_ended(fd));
	close(fd);
	return error;
}

/* [SOC-6, SOC-8] Requests that aren't as they should be are refused and change nothing. */
static void test_bad_requests(void **state)
{
	struct fixture *f = *state;
	struct tdi_context_status status_before, status;
	struct tdi_usage usage_before, usage;
	struct daemon_stats before, after;
	union message m;
	uint16_t type;
	size_t byte;

	raw_status(&f->r, &status_before);
	raw_usage(&f->r, &usage_before);
	daemon_stats(&the_daemon, &before);
	for (type = TENON_MSG_HELLO; type <= TENON_MSG_QUEUE_USAGE; type++) {
		m = good(type);
		m.head.size++;
		assert_int_equal(refusal_of(f, &m, size_of[type]), -EINVAL);
		m = good(type);
		m.head.size = 0;
		assert_int_equal(refusal_of(f, &m, size_of[type]), -EINVAL);
		m = good(type);
		assert_int_equal(refusal_of(f, &m, size_of[type] + 1), -EINVAL);
		m.head.size++;
		assert_int_equal(refusal_of(f, &m, size_of[type] + 1), -EINVAL);
		m.head.size = TENON_SOCKET_MAX;
		assert_int_equal(refusal_of(f, &m, TENON_SOCKET_MAX), -EINVAL);
		if (size_of[type] > sizeof(m.head)) {
			m.head.size = (uint32_t)size_of[type] - 1;
			assert_int_equal(refusal_of(f, &m, size_of[type] - 1), -EINVAL);
			m.head.size = sizeof(m.head);
			assert_int_equal(refusal_of(f, &m, sizeof(m.head)), -EINVAL);
		}
		m = good(type);
		m.head.reserved = 0x8000;
		assert_int_equal(refusal_of(f, &m, size_of[type]), -EINVAL);
		if (size_of[type] == sizeof(m.head))
			continue;
		/* The reserved field is the last of each. */
		for (byte = size_of[type] - 4; byte < size_of[type]; byte++) {
			m = good(type);
			m.bytes[byte] = 0x10;
			assert_int_equal(refusal_of(f, &m, size_of[type]), -EINVAL);
		}
	}
	for (type = TENON_MSG_QUEUE_USAGE + 1; type; type = type < 32 ? type + 1 : type << 1) {
		m = good(TENON_MSG_STATUS);
		m.head.type = type;
		assert_int_equal(refusal_of(f, &m, sizeof(m.head)), -EOPNOTSUPP);
	}
	m.head.type = 0;
	assert_int_equal(refusal_of(f, &m, sizeof(m.head)), -EOPNOTSUPP);

	opens_soon();
	raw_status(&f->r, &status);
	raw_usage(&f->r, &usage);
	daemon_stats(&the_daemon, &after);
	assert_memory_equal(&status, &status_before, sizeof(status));
	assert_memory_equal(&usage, &usage_before, sizeof(usage));
	assert_int_equal(after.fds, before.fds);
	assert_int_equal(after.maps, before.maps);
	still_works(f);
}

/* Values that can't be. */
static void test_bad_values(void **state)
{
	struct fixture *f = *state;
	static const uint64_t bytes[] = { 0, UINT64_MAX, UINT64_MAX - 4094 };
	static const uint32_t rights[] = { 0, 4, 7, 0x80000001 };
	static const uint32_t depths[] = { 0, 3, 6, 65535, 65536, 1u << 31, UINT32_MAX };
	static const uint32_t ids[] = { 0, 1, 127, 128, 0xffffff, 0x01000000, 0x01ffffff, UINT32_MAX };
	union message m;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bytes); i++) {
		m = good(TENON_MSG_BUFFER_CREATE);
		m.buffer_create.bytes = bytes[i];
		assert_int_equal(refusal(f->r.fd, &m, sizeof(m.buffer_create)), -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(rights); i++) {
		m = good(TENON_MSG_BUFFER_CREATE);
		m.buffer_create.rights = rights[i];
		assert_int_equal(refusal(f->r.fd, &m, sizeof(m.buffer_create)), -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		m = good(TENON_MSG_QUEUE_CREATE);
		m.queue_create.depth = depths[i];
		assert_int_equal(refusal(f->r.fd, &m, sizeof(m.queue_create)), -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		m = good(TENON_MSG_BUFFER_DESTROY);
		m.buffer_destroy.buffer = ids[i];
		if (ids[i] != f->a.id)
			assert_int_equal(refusal(f->r.fd, &m, sizeof(m.buffer_destroy)), -ENOENT);
		m = good(TENON_MSG_QUEUE_DESTROY);
		m.queue_destroy.queue = ids[i];
		if (ids[i] != f->q.id)
			assert_int_equal(refusal(f->r.fd, &m, sizeof(m.queue_destroy)), -ENOENT);
		m = good(TENON_MSG_QUEUE_USAGE);
		m.queue_usage.queue = ids[i];
		if (ids[i] != f->q.id)
			assert_int_equal(refusal(f->r.fd, &m, sizeof(m.queue_usage)), -ENOENT);
	}
	still_works(f);
}

/* [SOC-1, SOC-2] Who doesn't introduce himself properly, or twice. */
static void test_no_hello(void **state)
{
	union message m;
	uint16_t type;
	int fd = raw_connect(&the_daemon);
	struct raw r;

	for (type = TENON_MSG_BUFFER_CREATE; type <= TENON_MSG_QUEUE_USAGE; type++) {
		m = good(type);
		assert_int_equal(refusal(fd, &m, size_of[type]), -EPROTO);
	}
	m = good(TENON_MSG_HELLO);
	m.hello.major++;
	assert_int_equal(refusal(fd, &m, sizeof(m.hello)), -EPROTO);
	assert_true(raw_ended(fd));
	close(fd);

	fd = raw_connect(&the_daemon);
	m = good(TENON_MSG_HELLO);
	m.hello.reserved = 1;
	assert_int_equal(refusal(fd, &m, sizeof(m.hello)), -EINVAL);
	assert_true(raw_ended(fd));
	close(fd);

	raw_open(&r, &the_daemon);
	m = good(TENON_MSG_HELLO);
	assert_int_equal(refusal(r.fd, &m, sizeof(m.hello)), -EINVAL);
	assert_true(raw_ended(r.fd));
	raw_close(&r);
}

/* [SOC-7] Packets that are no messages at all. */
static void test_bad_packets(void **state)
{
	static const size_t sizes[] = { 1, 4, 15, TENON_SOCKET_MAX + 1, 3 * TENON_SOCKET_MAX, 100000 };
	uint8_t *bytes = calloc(1, 100000);
	unsigned int i;
	int fd;

	assert_non_null(bytes);
	for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct raw r;

		/* Before HELLO and after it. */
		if (i & 1) {
			raw_open(&r, &the_daemon);
			fd = r.fd;
		} else {
			fd = raw_connect(&the_daemon);
		}
		assert_int_equal(send(fd, bytes, sizes[i / 2], MSG_NOSIGNAL), sizes[i / 2]);
		assert_true(raw_ended(fd));
		close(fd);
	}
	/* An empty packet can't be told from the end. */
	fd = raw_connect(&the_daemon);
	assert_int_equal(send(fd, bytes, 0, MSG_NOSIGNAL), 0);
	assert_true(raw_ended(fd));
	close(fd);
	free(bytes);
}

/* Send @m with @count copies of descriptor @carried. */
static void send_fds(int fd, const union message *m, size_t size, int carried, unsigned int count)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec data = { .iov_base = (void *)(uintptr_t)m, .iov_len = size };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	unsigned int i;

	memset(&control, 0, sizeof(control));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &carried, sizeof(int));
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), size);
}

/* [SOC-24] Descriptors are dropped; the request that they came with is served. */
static void test_descriptors(void **state)
{
	struct fixture *f = *state;
	static const unsigned int counts[] = { 1, 4, 5, 253 };
	struct daemon_stats before, after;
	struct tenon_reply_usage reply;
	union message m = good(TENON_MSG_USAGE);
	unsigned int i;
	int pipes[2];
	char byte;

	daemon_stats(&the_daemon, &before);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
		send_fds(f->r.fd, &m, sizeof(m.head), pipes[1], counts[i]);
		close(pipes[1]);
		assert_int_equal(recv(f->r.fd, &reply, sizeof(reply), 0), sizeof(reply));
		assert_int_equal(reply.head.error, 0);
		assert_int_equal(read(pipes[0], &byte, 1), 0);
		close(pipes[0]);
	}
	daemon_stats(&the_daemon, &after);
	assert_int_equal(after.fds, before.fds);
	still_works(f);
}

/* A TCP connection whose end takes long: there is data to be sent, nobody takes it, and SO_LINGER is set. */
static int slow_to_end(int *peer)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { .l_onoff = 1, .l_linger = 20 };
	socklen_t size = sizeof(address);
	static const char data[65536];
	int fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	*peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*peer >= 0);
	close(listener);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

/* Send @m with @count copies of a descriptor of which tenond will have the last reference; *@peer: its other
 * end. */
static void send_slow(int fd, const union message *m, unsigned int count, int *peer)
{
	int status, slow = slow_to_end(peer);

	/* While tenond is stopped, lest ours be the last. */
	assert_int_equal(kill(the_daemon.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(the_daemon.pid, &status, WUNTRACED), the_daemon.pid);
	assert_true(WIFSTOPPED(status));
	send_fds(fd, m, m->head.size, slow, count);
	close(slow);
	assert_int_equal(kill(the_daemon.pid, SIGCONT), 0);
}

/*
 * [SOC-24, SOC-26] The last reference to a descriptor is the one in the message, and its end sleeps: in
 * tenond, as it receives the message, or as it closes a connection that has it unread. Nobody waits for that.
 */
static void test_slow_descriptors(void **state)
{
	struct fixture *f = *state;
	union message m = good(TENON_MSG_USAGE);
	struct tenon_reply_usage reply;
	uint64_t start = now_ns();
	unsigned int i;
	int peer;

	for (i = 0; i < 4; i++) {
		send_slow(f->r.fd, &m, i == 3 ? 253 : 1, &peer);
		opens_soon();
		assert_int_equal(recv(f->r.fd, &reply, sizeof(reply), 0), sizeof(reply));
		close(peer);
	}
	for (i = 0; i < 4; i++) {
		int fd = raw_connect(&the_daemon);

		/* HELLO of another major ends the connection before the next request is read. */
		union message bad = good(TENON_MSG_HELLO);

		bad.hello.major++;
		assert_int_equal(kill(the_daemon.pid, SIGSTOP), 0);
		assert_int_equal(send(fd, &bad, sizeof(bad.hello), MSG_NOSIGNAL), sizeof(bad.hello));
		send_slow(fd, &m, 1, &peer);
		opens_soon();
		assert_true(raw_ended(fd));
		close(fd);
		close(peer);
	}
	assert_in_range(now_ns() - start, 0, SOON_NS);
	still_works(f);
}

/* [SOC-10, SOC-25] Who doesn't read is disconnected before much is kept for him. */
static void test_unread_replies(void **state)
{
	static const uint16_t types[] = { TENON_MSG_STATUS, TENON_MSG_BUFFER_CREATE, TENON_MSG_QUEUE_CREATE };
	unsigned int i, sent, replies;
	struct raw r;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		union message m = good(types[i]);
		char bytes[TENON_SOCKET_MAX];

		raw_open(&r, &the_daemon);
		for (sent = 0; sent < 100000; sent++)
			if (send(r.fd, &m, size_of[types[i]], MSG_NOSIGNAL) < 0)
				break;
		assert_in_range(sent, 1, 99999);
		for (replies = 0;
		     recv(r.fd, bytes, sizeof(bytes), 0) > 0 || (!replies && errno == ECONNRESET);)
			replies++;
		assert_in_range(replies, 1, 16);
		close(r.fd);
	}
	opens_soon();
}

/* Sixty who flood at a time, and some who say nothing. */
static void test_floods(void **state)
{
	struct fixture *f = *state;
	int fd[60];
	unsigned int i, round;

	for (i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = raw_connect(&the_daemon);
	for (round = 0; round < 40; round++) {
		for (i = 0; i < ARRAY_SIZE(fd); i++) {
			union message m = good(round ? TENON_MSG_HELLO + (round + i) % 7 : TENON_MSG_HELLO);

			if (i % 5)
				send(fd[i], &m, m.head.size, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		if (round % 10 == 5) {
			opens_soon();
			still_works(f);
		}
	}
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	opens_soon();
}

/* [SOC-4] What a connection had is gone when it ends: nothing is left of hundreds of them. */
static void test_nothing_left(void **state)
{
	struct daemon_stats before, after;
	unsigned int i;

	daemon_stats(&the_daemon, &before);
	for (i = 0; i < 300; i++) {
		struct raw_buffer buffer;
		struct raw_queue queue;
		struct raw r;

		raw_open(&r, &the_daemon);
		raw_buffer(&r, 100000, RW, &buffer);
		raw_queue(&r, 16, &queue);
		put_fill(raw_sqe(&queue), buffer.id, 0, 100000, 1, 1);
		put_wait(raw_sqe(&queue), buffer.id, 0, 0x0202020202020202, HOUR_NS);
		raw_submit(&queue);
		if (i % 3 == 1)
			shutdown(r.fd, SHUT_WR);
		if (i % 3 == 2)
			assert_int_equal(send(r.fd, "", 1, MSG_NOSIGNAL), 1);
		raw_close(&r);
		raw_buffer_unmap(&buffer);
		raw_queue_unmap(&queue);
	}
	daemon_stats(&the_daemon, &after);
	assert_int_equal(after.fds, before.fds);
	/* A sanitizer's allocator may map some more. */
	assert_in_range(after.maps, 0, before.maps + 16);
	assert_int_equal(after.threads, before.threads);
}

/* ----------------------------------------------------------------------------------- limits */

/* A tenond of one's own, with a bystander. */
struct own {
	struct daemon daemon;
	struct bystander bystander;
};

static void own_start(struct own *o, const char *const *args)
{
	daemon_start(&o->daemon, args, 0);
	bystander_start(&o->bystander, &o->daemon);
}

static void own_stop(struct own *o)
{
	bystander_stop(&o->bystander);
	daemon_stop(&o->daemon);
}

/* Open when the place that another one gave up is free: it is told later. */
static struct tenon_context *open_when_free(const struct daemon *d)
{
	uint64_t deadline = now_ns() + SOON_NS;
	struct tenon_context *c;
	int err;

	while ((err = tenon_open(d->path, NULL, &c)) == -EUSERS && now_ns() < deadline)
		sleep_ns(1000000);
	assert_int_equal(err, 0);
	return c;
}

/* [SOC-3, SOC-9] */
static void test_limit_of_contexts(void **state)
{
	const char *const args[] = { "--contexts-max", "6", NULL };
	struct tenon_context *c;
	struct tenon_reply reply;
	struct own own;
	unsigned int i;
	int fd[6];

	own_start(&own, args);
	/* They never say HELLO, and count all the same. */
	for (i = 0; i < 5; i++)
		fd[i] = raw_connect(&own.daemon);
	for (i = 0; i < 20; i++) {
		fd[5] = raw_connect(&own.daemon);
		assert_int_equal(recv(fd[5], &reply, sizeof(reply), 0), sizeof(reply));
		assert_int_equal(reply.size, sizeof(reply));
		assert_int_equal(reply.type, TENON_MSG_HELLO);
		assert_true(!reply.id);
		assert_int_equal(reply.error, -EUSERS);
		assert_int_equal(reply.needed, 7);
		assert_int_equal(reply.allowed, 6);
		assert_true(raw_ended(fd[5]));
		close(fd[5]);
		assert_int_equal(tenon_open(own.daemon.path, NULL, &c), -EUSERS);
		assert_string_equal(tenon_errstr(NULL), "contexts: needed 7, allowed 6");
	}
	bystander_check(&own.bystander);
	close(fd[0]);
	c = open_when_free(&own.daemon);
	tenon_close(c);
	for (i = 1; i < 5; i++)
		close(fd[i]);
	own_stop(&own);
}

/* In a process of user @uid: open @want contexts; then one more is refused, until one is closed. */
static void uid_main(const struct daemon *d, uid_t uid, unsigned int want)
{
	struct tenon_context *c[8], *more;
	char expected[64];
	unsigned int i;

	assert_false(uid && setuid(uid));
	for (i = 0; i < want; i++)
		assert_int_equal(tenon_open(d->path, NULL, &c[i]), 0);
	snprintf(expected, sizeof(expected), "contexts: needed %u, allowed %u", want + 1, want);
	assert_int_equal(tenon_open(d->path, NULL, &more), -EUSERS);
	assert_string_equal(tenon_errstr(NULL), expected);
	tenon_close(c[0]);
	more = open_when_free(d);
	tenon_close(more);
	for (i = 1; i < want; i++)
		tenon_close(c[i]);
}

/* [SOC-3] One user's contexts leave room for those of others; root's count only in all. */
static void test_limit_of_user(void **state)
{
	const char *const args[] = { "--contexts-max", "9", "--contexts-per-uid", "3", NULL };
	struct tenon_context *root[6];
	struct own own;
	unsigned int i;
	pid_t pid;

	own_start(&own, args);
	if (geteuid()) {
		uid_main(&own.daemon, 0, 2);	/* with the bystander */
		own_stop(&own);
		return;
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(tenon_open(own.daemon.path, NULL, &root[i]), 0);
	for (i = 0; i < 2; i++) {
		pid = spawn();
		if (!pid) {
			uid_main(&own.daemon, 54321 + i, 3);
			_exit(0);
		}
		join(pid);
	}
	/* 5 are root's; a user has what is left, up to his own limit. */
	for (i = 4; i < 6; i++)
		root[i] = open_when_free(&own.daemon);
	for (i = 0; i < 6; i++)
		tenon_close(root[i]);
	own_stop(&own);
}

static void refused(struct tenon_context *c, int err, int expected_err, const char *expected)
{
	assert_int_equal(err, expected_err);
	assert_string_equal(tenon_errstr(c), expected);
}

/* [SOC-9, SOC-27] Memory of one context, and of all. */
static void test_limit_of_memory(void **state)
{
	const char *const args[] = { "--memory-max", "1M", "--memory-total", "2M", NULL };
	struct tenon_buffer *half, *rest, *b;
	struct tenon_context *c[3];
	struct own own;
	unsigned int i;

	/* The bystander has 265 KiB of it: 2 of 128 KiB, 2 pages, and one page of descriptors or 74. */
	own_start(&own, args);
	for (i = 0; i < 3; i++)
		assert_int_equal(tenon_open(own.daemon.path, NULL, &c[i]), 0);
	assert_int_equal(tenon_limits(c[0])->memory_bytes, 1 << 20);
	assert_int_equal(tenon_buffer_create(c[0], 1 << 19, RW, &half), 0);
	assert_int_equal(tenon_buffer_create(c[0], (1 << 19) - 4095, RW, &rest), 0);
	refused(c[0], tenon_buffer_create(c[0], 1, RW, &b), -ENOMEM,
		"memory: needed 1052672, allowed 1048576");
	refused(c[0], tenon_buffer_create(c[0], 1 << 20, RW, &b), -ENOMEM,
		"memory: needed 2097152, allowed 1048576");
	refused(c[0], tenon_buffer_create(c[0], (1 << 20) + 1, RW, &b), -ENOMEM,
		"memory: needed 1048577, allowed 1048576");
	assert_int_equal(tenon_buffer_destroy(half), 0);
	assert_int_equal(tenon_buffer_create(c[0], 1 << 19, RW, &half), 0);

	/* Others have room, up to the sum. */
	assert_int_equal(tenon_buffer_create(c[1], 1 << 19, RW, &b), 0);
	assert_int_equal(tenon_buffer_create(c[2], 1 << 19, RW, &b), -ENOMEM);
	assert_non_null(strstr(tenon_errstr(c[2]), "allowed 2097152"));
	tenon_close(c[0]);
	for (i = 0; i < 2000 && tenon_buffer_create(c[2], 1 << 20, RW, &b); i++)
		sleep_ns(1000000);
	assert_in_range(i, 0, 1999);
	tenon_close(c[1]);
	tenon_close(c[2]);
	own_stop(&own);
}

/* [SOC-9, SOC-27] Numbers of buffers and queues. */
static void test_limit_of_numbers(void **state)
{
	const char *const args[] = { "--queues-max", "2", NULL };
	struct tenon_buffer *buffers[128], *b;
	struct tenon_queue *queues[2], *q;
	struct tenon_context *c, *other;
	struct own own;
	unsigned int i;

	own_start(&own, args);
	assert_int_equal(tenon_open(own.daemon.path, NULL, &c), 0);
	assert_int_equal(tenon_open(own.daemon.path, NULL, &other), 0);
	assert_int_equal(tenon_limits(c)->buffers, ARRAY_SIZE(buffers));
	for (i = 0; i < ARRAY_SIZE(buffers); i++)
		assert_int_equal(tenon_buffer_create(c, 1, RW, &buffers[i]), 0);
	refused(c, tenon_buffer_create(c, 1, RW, &b), -ENOSPC, "buffers: needed 129, allowed 128");
	assert_int_equal(tenon_buffer_create(other, 1, RW, &b), 0);
	assert_int_equal(tenon_buffer_destroy(buffers[77]), 0);
	assert_int_equal(tenon_buffer_create(c, 1, RW, &b), 0);
	refused(c, tenon_buffer_create(c, 1, RW, &b), -ENOSPC, "buffers: needed 129, allowed 128");

	assert_int_equal(tenon_limits(c)->queues, ARRAY_SIZE(queues));
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		assert_int_equal(tenon_queue_create(c, 1, NULL, &queues[i]), 0);
	refused(c, tenon_queue_create(c, 1, NULL, &q), -ENOSPC, "queues: needed 3, allowed 2");
	assert_int_equal(tenon_queue_create(other, 1, NULL, &q), 0);
	assert_int_equal(tenon_queue_destroy(queues[0]), 0);
	assert_int_equal(tenon_queue_create(c, 1, NULL, &q), 0);
	tenon_close(c);
	tenon_close(other);
	own_stop(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_requests), TEST(bad_values), TEST(no_hello), TEST(bad_packets), TEST(descriptors),
		TEST(slow_descriptors), TEST(unread_replies), TEST(floods), TEST(nothing_left),
		TEST(limit_of_contexts), TEST(limit_of_user), TEST(limit_of_memory), TEST(limit_of_numbers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sockets", tests, group_setup, group_teardown);
}
