// SPDX-License-Identifier: MIT
/*
 * Fuzz: messages of a client. Input: messages, each behind two bytes: a length, and flags (1: say HELLO first,
 * 2: send a descriptor along). Each message that is long enough for a head gets one reply of its id and type or
 * the end of the connection; then a proper client is still served.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "attach/unix.h"
#include "fuzz.h"

static char path[64];
static struct tn_unix *attach;
static struct tn_device *device;

static void *serve(void *stop)
{
	need(!tn_unix_serve(attach, *(int *)stop));
	return NULL;
}

static void begin(void)
{
	static struct tn_unix_options options = {
		.mode = 0600, .memory_total = 64 << 20, .memory_max = 1 << 20, .contexts_max = 8,
		.contexts_per_uid = 8, .buffers_max = 4, .queues_max = 2, .depth_max = 1024,
	};
	static struct tn_device_options device_options = {
		.workers = 1, .notice = tn_unix_notice, .stopped = tn_unix_stopped,
	};
	static pthread_t thread;
	static int stop;

	snprintf(path, sizeof(path), "/tmp/tenon-fuzz-%d", (int)getpid());
	options.path = path;
	stop = eventfd(0, EFD_CLOEXEC);
	need(!tn_unix_create(&options, &attach));
	device_options.attach = attach;
	need(!tn_device_create(&device_options, &device));
	need(!tn_unix_start(attach, device));
	need(!pthread_create(&thread, NULL, serve, &stop));
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	need(fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)));
	return fd;
}

/* The reply, or its first bytes; descriptors are closed. 0: the connection has ended. */
static size_t receive(int fd, struct tenon_reply *reply)
{
	char control[CMSG_SPACE(TENON_SOCKET_FDS * sizeof(int))];
	uint8_t bytes[TENON_SOCKET_MAX];
	struct iovec data = { bytes, sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	struct cmsghdr *head;
	ssize_t n;

	need(poll(&readable, 1, 20000) == 1);
	n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return 0;
	for (head = CMSG_FIRSTHDR(&msg); head; head = CMSG_NXTHDR(&msg, head)) {
		unsigned int i, fds = (unsigned int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		int one;

		for (i = 0; i < fds; i++) {
			memcpy(&one, CMSG_DATA(head) + i * sizeof(int), sizeof(int));
			close(one);
		}
	}
	need((size_t)n >= sizeof(*reply));
	memcpy(reply, bytes, sizeof(*reply));
	need(reply->size == n && !reply->reserved && !reply->reserved1 && reply->error <= 0);
	need(!reply->error || n == sizeof(*reply));
	return (size_t)n;
}

static bool hello(int fd)
{
	struct tenon_msg_hello msg = {
		.head = { .size = sizeof(msg), .type = TENON_MSG_HELLO }, .major = TENON_SOCKET_MAJOR,
	};
	struct tenon_reply reply;

	return send(fd, &msg, sizeof(msg), MSG_NOSIGNAL) == sizeof(msg) && receive(fd, &reply) && !reply.error;
}

static ssize_t send_it(int fd, const void *bytes, size_t size, bool with_fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec data = { (void *)(uintptr_t)bytes, size };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1 };

	if (with_fd) {
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tenon_reply reply;
	struct tenon_msg head;
	int fd;

	if (!attach)
		begin();
	fd = dial();
	if (size >= 2 && data[1] & 1)
		need(hello(fd));
	while (size > 2) {
		size_t bytes = data[0] < size - 2 ? data[0] : size - 2;
		bool with_fd = data[1] & 2;

		data += 2;
		size -= 2;
		if (!bytes)
			continue;
		if (send_it(fd, data, bytes, with_fd) != (ssize_t)bytes)
			break;
		if (!receive(fd, &reply)) {
			break;
		}
		need(bytes >= sizeof(head));
		memcpy(&head, data, sizeof(head));
		need(reply.id == head.id && reply.type == head.type);
		data += bytes;
		size -= bytes;
	}
	close(fd);

	fd = dial();
	need(hello(fd));
	close(fd);
	return 0;
}
