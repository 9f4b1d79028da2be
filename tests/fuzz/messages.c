// SPDX-License-Identifier: MIT
/*
 * What a client sends on its socket. The rest is tenond as it is, in this process.
 *
 * Input: messages, each with its length in two bytes before it; the highest bit says that a descriptor comes
 * along.
 *
 * Each message gets one reply that fits it, with the descriptors that it should have, or ends the connection
 * if it must; a client with manners is served after it as before; when the first is gone, nothing of it is
 * left. [SOC-4, SOC-5, SOC-7, SOC-8, SOC-24, SOC-26]
 */
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "attach/unix.h"

static struct tn_unix *attach;
static struct tn_device *device;
static int carried, neighbour;

static void begin(void)
{
	static const struct tn_unix_options options = {
		.memory_total = 16 << 20,
		.memory_max = 1 << 20,
		.contexts_max = 4,
		.contexts_per_uid = 4,
		.buffers_max = 8,
		.queues_max = 4,
		.depth_max = 64,
	};
	struct tn_device_options device_options = {
		.workers = 1, .spin_ns = 1000, .notice = tn_unix_notice, .stopped = tn_unix_stopped,
	};

	if (tn_unix_create(&options, &attach))
		bug("no attach point");
	device_options.attach = attach;
	if (tn_device_create(&device_options, &device) || tn_unix_start(attach, device))
		bug("no device");
	carried = eventfd(0, EFD_CLOEXEC);
}

/* Let tenond do what there is to do on the client's socket, once. */
static void serve(void)
{
	/* It is behind the socket in the list of what is ready, so the socket has its turn. */
	int stop = eventfd(1, EFD_CLOEXEC);

	if (stop < 0 || tn_unix_serve(attach, stop))
		bug("tenond ended");
	close(stop);
}

static void send_message(int fd, const void *message, size_t bytes, bool with_fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec data = { .iov_base = (void *)(uintptr_t)message, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1 };

	if (with_fd) {
		memset(&control, 0, sizeof(control));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &carried, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes)
		bug("can't send %zu bytes", bytes);
}

static unsigned int fds_of(const struct tenon_reply *reply)
{
	if (reply->error)
		return 0;
	return reply->type == TENON_MSG_BUFFER_CREATE ? 1 :
	       reply->type == TENON_MSG_QUEUE_CREATE ? TENON_SOCKET_FDS : 0;
}

/* The reply to a message of @bytes with @head; false: the connection has ended. */
static bool check_reply(int fd, const struct tenon_msg *head, size_t bytes)
{
	union {
		struct tenon_reply head;
		uint8_t bytes[TENON_SOCKET_MAX];
	} reply;
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * TENON_SOCKET_FDS * sizeof(int))];
	} control;
	struct iovec data = { .iov_base = &reply, .iov_len = sizeof(reply) };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	bool must_end = bytes < sizeof(*head) || bytes > TENON_SOCKET_MAX;
	unsigned int fds = 0, i;
	ssize_t got = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got <= 0) {
		if (!must_end)
			bug("no reply to a message of %zu bytes", bytes);
		if (got && errno == EAGAIN)
			bug("the connection goes on after %zu bytes", bytes);
		return false;
	}
	if (must_end)
		bug("a reply to %zu bytes", bytes);
	if (CMSG_FIRSTHDR(&msg)) {
		fds = (unsigned int)((CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (i = 0; i < fds; i++)
			close(((int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&msg)))[i]);
	}
	if (got < (ssize_t)sizeof(reply.head) || reply.head.size != got || reply.head.reserved ||
	    reply.head.reserved1 || reply.head.type != head->type || reply.head.id != head->id)
		bug("a reply that isn't one");
	if (reply.head.error > 0 || reply.head.error < -4095 || reply.head.error == -EIO)
		bug("error %d", reply.head.error);
	if (reply.head.error && got != sizeof(reply.head))
		bug("a refusal of %zd bytes", got);
	if (!reply.head.error)
		reached(head->type);
	if (fds != fds_of(&reply.head))
		bug("%u descriptors in a reply to %u", fds, head->type);
	/* A HELLO that is refused is the end, else there is no more. */
	must_end = reply.head.error && reply.head.type == TENON_MSG_HELLO;
	got = recv(fd, &reply, sizeof(reply), MSG_DONTWAIT);
	if (must_end ? got : got >= 0 || errno != EAGAIN)
		bug("%zd bytes after the reply", got);
	return !must_end;
}

/* Of contexts and queues, nothing is left but the neighbour's context. */
static void check_empty(void)
{
	unsigned int i, contexts = 0;

	tn_device_lock(device);
	for (i = 0; i < TN_MAX_CONTEXTS; i++)
		contexts += device->context[i] != NULL;
	if (contexts != 1)
		bug("%u contexts are left", contexts);
	for (i = 0; i < TN_MAX_QUEUES; i++)
		if (device->queue[i])
			bug("queue %u is left", i);
	tn_device_unlock(device);
}

static int connection(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) || tn_unix_adopt(attach, ends[1]))
		bug("no connection");
	return ends[0];
}

/* One that has a context from the first input on asks something and gets its answer. */
static void ask_neighbour(void)
{
	struct tenon_msg status = { .size = sizeof(status), .type = TENON_MSG_STATUS, .id = 77 };
	struct tenon_msg_hello hello = {
		.head = { .size = sizeof(hello), .type = TENON_MSG_HELLO }, .major = TENON_SOCKET_MAJOR,
	};
	struct tenon_reply_status reply;

	if (!neighbour) {
		neighbour = connection();
		send_message(neighbour, &hello, sizeof(hello), false);
		serve();
		if (!check_reply(neighbour, &hello.head, sizeof(hello)))
			bug("no context for the neighbour");
	}
	send_message(neighbour, &status, sizeof(status), false);
	serve();
	if (recv(neighbour, &reply, sizeof(reply), MSG_DONTWAIT) != sizeof(reply) || reply.head.error ||
	    reply.head.id != 77 || reply.status.queues)
		bug("the neighbour isn't served");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	static uint64_t message[0x8000 / 8];
	int fd;

	if (!attach)
		begin();
	ask_neighbour();
	fd = connection();
	while (in.left) {
		uint32_t length = take_u16(&in);
		size_t bytes = (length & 0x7fff) < in.left ? length & 0x7fff : in.left;

		take(&in, message, bytes);
		send_message(fd, message, bytes, length >> 15);
		serve();
		if (!check_reply(fd, (const void *)message, bytes))
			break;
	}
	ask_neighbour();
	close(fd);
	serve();
	check_empty();
	return 0;
}
