// SPDX-License-Identifier: MIT
/*
 * Attach point "unix": connections and messages; see unix.h, and Documentation/socket.rst for the protocol.
 * One thread runs all of this.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "../device.h"
#include "../mutant.h"
#include "client.h"
#include "listen.h"
#include "unix.h"

#define PAGE_BASE	TDI_PAGE_SIZE	/* of attach->page in the device's own space */

/* How long it may take to drop what a client sent, and the signal that ends it; by default it is ignored. */
#define DROP_NS		1000000
#define DROP_SIGNAL	SIGURG
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Of replies that a client hasn't read; see REPLY_ROOM. */
#define FDS_UNREAD	(8 * TENON_SOCKET_FDS)

/* ----------------------------------------------------------- descriptors that clients send */

static void interrupt(int signal)
{
}

/*
 * Nothing is taken of the descriptors that a client sends. But if the client has closed its own, the kernel
 * ends the file when we receive the message or close the socket, in this thread, and the end of a TCP socket
 * with SO_LINGER sleeps as long as the client asked for. A signal ends that sleep; again and again, since the
 * first may come too early.
 */
static void dropping(struct tn_unix *attach, bool on)
{
	struct itimerspec time = { 0 };

	if (on)
		time.it_value.tv_nsec = time.it_interval.tv_nsec = DROP_NS;
	if (attach->has_timer && !MUTANT(drop_in_time))
		timer_settime(attach->timer, 0, &time, NULL);
}

/* The signals come to the thread that calls this. */
static int timer_begin(struct tn_unix *attach)
{
	struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = DROP_SIGNAL };

	event.sigev_notify_thread_id = gettid();
	if (sigaction(DROP_SIGNAL, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &attach->timer))
		return -errno;
	attach->has_timer = true;
	return 0;
}

static void timer_end(struct tn_unix *attach)
{
	if (attach->has_timer)
		timer_delete(attach->timer);
	attach->has_timer = false;
}

static void drop_socket(struct tn_unix *attach, int fd)
{
	dropping(attach, true);
	close(fd);
	dropping(attach, false);
}

/* ------------------------------------------------------------------------------- contexts */

static int hello(struct client *client, const struct tenon_msg_hello *msg, struct answer *answer)
{
	struct tn_unix *attach = client->attach;
	const struct tn_unix_options *options = &attach->options;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_CREATE };
	uint32_t id = 0;
	int error;

	if (msg->reserved || client->hello)
		return -EINVAL;
	if (msg->major != TENON_SOCKET_MAJOR)
		return -EPROTO;
	while (attach->device->context[id])
		id++;
	client->buffer = calloc(options->buffers_max, sizeof(*client->buffer));
	client->ring = calloc(options->queues_max, sizeof(struct ring *));
	sqe.generation = ++attach->context_generation[id];
	sqe.context.context = id;
	sqe.context.group_generation = 1;
	error = client->buffer && client->ring ? tn_client_admin(attach, &client->space, &sqe) : -ENOMEM;
	if (error) {
		free(client->buffer);
		free(client->ring);
		client->buffer = NULL;
		client->ring = NULL;
		return error;
	}
	client->hello = true;
	client->context = id;
	client->generation = sqe.generation;
	answer->hello.major = TENON_SOCKET_MAJOR;
	answer->hello.minor = TENON_SOCKET_MINOR;
	answer->hello.context = id;
	answer->hello.memory_bytes = options->memory_max;
	answer->hello.buffers = options->buffers_max;
	answer->hello.queues = options->queues_max;
	answer->hello.depth = options->depth_max;
	tn_identify(attach->device, &answer->hello.identify);
	answer->bytes = sizeof(answer->hello);
	return 0;
}

/* A log page of the context or of one of its queues, as the device tells it. */
int tn_client_log(struct client *client, enum tdi_log_page page, uint32_t id, uint32_t generation, void *to,
		  uint32_t bytes)
{
	struct tn_unix *attach = client->attach;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG };
	int error;

	sqe.generation = generation;
	sqe.data.page = page;
	sqe.data.id = id;
	sqe.data.address = PAGE_BASE;
	sqe.data.bytes = bytes;
	error = tn_client_admin(attach, &attach->device->space, &sqe);
	if (!error)
		memcpy(to, attach->page, bytes);
	return error;
}

static void client_free(struct client *client)
{
	struct tn_unix *attach = client->attach;
	struct client **link = &attach->first;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	if (client->hello && !MUTANT(context_end)) {
		struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_DESTROY };

		sqe.generation = client->generation;
		sqe.context.context = client->context;
		tn_client_admin(attach, &client->space, &sqe);
		tn_client_end(client);
	}
	tn_space_free(&client->space);
	free(client->buffer);
	free(client->ring);
	drop_socket(attach, client->fd);
	free(client);
	attach->clients--;
	if (attach->deaf) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = attach };

		attach->deaf = epoll_ctl(attach->epoll, EPOLL_CTL_MOD, attach->listen, &event) != 0;
	}
}

/* -------------------------------------------------------------------------------- messages */

static int dispatch(struct client *client, size_t bytes, struct answer *answer)
{
	const struct tenon_msg *head = (const void *)client->attach->received;
	static const size_t size[] = {
		[TENON_MSG_HELLO] = sizeof(struct tenon_msg_hello),
		[TENON_MSG_BUFFER_CREATE] = sizeof(struct tenon_msg_buffer_create),
		[TENON_MSG_BUFFER_DESTROY] = sizeof(struct tenon_msg_buffer_destroy),
		[TENON_MSG_QUEUE_CREATE] = sizeof(struct tenon_msg_queue_create),
		[TENON_MSG_QUEUE_DESTROY] = sizeof(struct tenon_msg_queue_destroy),
		[TENON_MSG_STATUS] = sizeof(struct tenon_msg),
		[TENON_MSG_USAGE] = sizeof(struct tenon_msg),
		[TENON_MSG_QUEUE_USAGE] = sizeof(struct tenon_msg_queue_usage),
	};

	if (head->reserved || head->size != bytes)
		return -EINVAL;
	if (head->type >= sizeof(size) / sizeof(size[0]) || !size[head->type])
		return -EOPNOTSUPP;
	if (bytes != size[head->type])
		return -EINVAL;
	if (head->type == TENON_MSG_HELLO)
		return hello(client, (const void *)head, answer);
	if (!client->hello && !MUTANT(hello_first))
		return -EPROTO;

	switch (head->type) {
	case TENON_MSG_BUFFER_CREATE:
		return tn_client_buffer_create(client, (const void *)head, answer);
	case TENON_MSG_BUFFER_DESTROY:
		return tn_client_buffer_destroy(client, (const void *)head, answer);
	case TENON_MSG_QUEUE_CREATE:
		return tn_client_queue_create(client, (const void *)head, answer);
	case TENON_MSG_QUEUE_DESTROY:
		return tn_client_queue_destroy(client, (const void *)head, answer);
	case TENON_MSG_STATUS:
		answer->bytes = sizeof(answer->status);
		return tn_client_log(client, TDI_LOG_CONTEXT_STATUS, client->context, client->generation,
				     &answer->status.status, sizeof(answer->status.status));
	case TENON_MSG_QUEUE_USAGE:
		return tn_client_queue_usage(client, (const void *)head, answer);
	default:
		answer->bytes = sizeof(answer->usage);
		return tn_client_log(client, TDI_LOG_CONTEXT_USAGE, client->context, client->generation,
				     &answer->usage.usage, sizeof(answer->usage.usage));
	}
}

/* Send and close the descriptors; false: the client doesn't read, or is gone. */
static bool reply(int socket, struct answer *answer)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(answer->fd))];
	} control;
	struct iovec data = { .iov_base = &answer->head, .iov_len = answer->bytes };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1 };
	unsigned int i;
	bool sent;

	answer->head.size = (__u32)answer->bytes;
	if (answer->fds) {
		memset(&control, 0, sizeof(control));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(answer->fds * sizeof(int));
		memcpy(CMSG_DATA(&control.head), answer->fd, answer->fds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(answer->fds * sizeof(int));
	}
	sent = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)answer->bytes;
	for (i = 0; i < answer->fds; i++)
		close(answer->fd[i]);
	return sent;
}

static void drop_fds(struct answer *answer)
{
	while (answer->fds)
		close(answer->fd[--answer->fds]);
}

/* One message, so that a client that floods gets one turn among the others. */
static void serve_client(struct client *client)
{
	const struct tenon_msg *head = (const void *)client->attach->received;
	struct answer answer;
	ssize_t bytes;
	int error;

	/* Without room for control data the kernel drops descriptors that the client sends. */
	dropping(client->attach, true);
	bytes = recv(client->fd, client->attach->received, sizeof(client->attach->received),
		     MSG_DONTWAIT | MSG_TRUNC);
	error = errno;
	dropping(client->attach, false);
	if (bytes < 0 && (error == EAGAIN || error == EINTR))
		return;
	if (bytes < (ssize_t)sizeof(*head) || (size_t)bytes > sizeof(client->attach->received)) {
		client_free(client);
		return;
	}
	memset(&answer, 0, sizeof(answer));
	error = dispatch(client, (size_t)bytes, &answer);
	if (error) {
		drop_fds(&answer);
		answer.bytes = sizeof(answer.head);
	}
	answer.head.type = head->type;
	answer.head.id = head->id;
	answer.head.error = error;
	if ((!reply(client->fd, &answer) && !MUTANT(unread)) || (head->type == TENON_MSG_HELLO && error))
		client_free(client);
}

/* A connection that can't be had: say why, unasked, with the type and id of HELLO. */
static void turn_away(struct tn_unix *attach, int fd, uint64_t needed, uint64_t allowed)
{
	struct answer answer;

	memset(&answer, 0, sizeof(answer));
	answer.bytes = sizeof(answer.head);
	answer.head.type = TENON_MSG_HELLO;
	answer.head.error = tn_client_refuse(&answer, -EUSERS, needed, allowed);
	reply(fd, &answer);
	drop_socket(attach, fd);
}

int tn_unix_adopt(struct tn_unix *attach, int fd)
{
	const struct tn_unix_options *options = &attach->options;
	struct epoll_event event = { .events = EPOLLIN };
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(peer);
	struct client *client;
	uint32_t same = 1;
	int room = REPLY_ROOM;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ||
	    (!MUTANT(reply_room) && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)))) {
		drop_socket(attach, fd);
		return -EPERM;
	}
	for (client = attach->first; client; client = client->next)
		same += client->uid == peer.uid;
	if (attach->clients >= options->contexts_max && !MUTANT(contexts_max)) {
		turn_away(attach, fd, attach->clients + 1, options->contexts_max);
		return -EUSERS;
	}
	if (peer.uid && same > options->contexts_per_uid && !MUTANT(contexts_per_uid)) {
		turn_away(attach, fd, same, options->contexts_per_uid);
		return -EUSERS;
	}
	client = calloc(1, sizeof(*client));
	event.data.ptr = client;
	if (!client || epoll_ctl(attach->epoll, EPOLL_CTL_ADD, fd, &event)) {
		free(client);
		drop_socket(attach, fd);
		return -ENOMEM;
	}
	client->attach = attach;
	client->fd = fd;
	client->uid = peer.uid;
	client->address = SPACE_BASE;
	client->next = attach->first;
	attach->first = client;
	attach->clients++;
	return 0;
}

static void serve_listen(struct tn_unix *attach)
{
	struct epoll_event none = { .data.ptr = attach };
	int fd = accept4(attach->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		tn_unix_adopt(attach, fd);
	else if ((errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) &&
		 attach->clients)
		attach->deaf = !epoll_ctl(attach->epoll, EPOLL_CTL_MOD, attach->listen, &none);
}

static int serve(struct tn_unix *attach)
{
	struct epoll_event event[16];
	int i, n;

	for (;;) {
		n = epoll_wait(attach->epoll, event, 16, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < n; i++) {
			if (!event[i].data.ptr)
				return 0;
			if (event[i].data.ptr == attach)
				serve_listen(attach);
			else
				serve_client(event[i].data.ptr);
		}
	}
}

int tn_unix_serve(struct tn_unix *attach, int stop_fd)
{
	struct epoll_event stop = { .events = EPOLLIN };
	int error = timer_begin(attach);

	if (error)
		return error;
	if (epoll_ctl(attach->epoll, EPOLL_CTL_ADD, stop_fd, &stop))
		error = -errno;
	else
		error = serve(attach);
	timer_end(attach);
	return error;
}

/* ----------------------------------------------------------------------------- start and end */

static int listen_on(struct tn_unix *attach)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = attach };

	attach->listen = tn_listen(attach->options.path, SOCK_SEQPACKET, attach->options.mode);
	if (attach->listen < 0)
		return attach->listen;
	return epoll_ctl(attach->epoll, EPOLL_CTL_ADD, attach->listen, &event) ? -errno : 0;
}

int tn_unix_create(const struct tn_unix_options *options, struct tn_unix **result)
{
	/* Each queue keeps an eventfd and a socket; a context its socket, and what is in replies. */
	rlim_t each = 1 + 2 * (rlim_t)options->queues_max + FDS_UNREAD;
	rlim_t needed = options->contexts_max * each + 64;
	struct tn_unix *attach;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	if (limit.rlim_cur < needed) {
		limit.rlim_cur = needed;
		if (limit.rlim_max < needed)
			limit.rlim_max = needed;
		if (setrlimit(RLIMIT_NOFILE, &limit)) {
			fprintf(stderr,
				"tenond: needs %llu open files; raise LimitNOFILE or lower --contexts-max\n",
				(unsigned long long)needed);
			return -EMFILE;
		}
	}
	attach = aligned_alloc(TDI_PAGE_SIZE,
			       (sizeof(*attach) + TDI_PAGE_SIZE - 1) & ~(size_t)(TDI_PAGE_SIZE - 1));
	if (!attach)
		return -ENOMEM;
	memset(attach, 0, sizeof(*attach));
	attach->options = *options;
	attach->listen = -1;
	attach->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (attach->epoll < 0) {
		int error = -errno;

		free(attach);
		return error;
	}
	*result = attach;
	return 0;
}

int tn_unix_start(struct tn_unix *attach, struct tn_device *device)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_CREATE, .generation = 1 };
	int error;

	attach->device = device;
	error = tn_space_add(&device->space, PAGE_BASE, sizeof(attach->page), attach->page);
	if (!error)
		error = tn_client_admin(attach, &device->space, &sqe);
	if (!error && attach->options.path)
		error = listen_on(attach);
	return error;
}

void tn_unix_destroy(struct tn_unix *attach)
{
	/* Without a timer a client can delay the end, no more. */
	timer_begin(attach);
	if (attach->listen >= 0) {
		unlink(attach->options.path);
		drop_socket(attach, attach->listen);
		attach->listen = -1;
		attach->deaf = false;
	}
	while (attach->first)
		client_free(attach->first);
	timer_end(attach);
	close(attach->epoll);
	free(attach);
}
