/* SPDX-License-Identifier: MIT */
/*
 * The transport: requests to a tenond over a unix socket.
 *
 * One request at a time, each with one reply. The daemon is not believed blindly: a reply of a wrong size, to
 * another request, with wrong descriptors or with values that can't be ends the connection, and so does
 * silence. After that nothing that comes late can be taken for the answer to something else. [SOC-11, SOC-12]
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

#define MEMORY_MAX	((uint64_t)INT64_MAX - TDI_PAGE_SIZE)

struct packet {
	union {
		struct tenon_reply head;
		char bytes[TENON_SOCKET_MAX];
	};
	size_t size;
	int flags;
	int fds[TENON_SOCKET_FDS];
	unsigned int fd_count;
};

void tenon_close_fds(int *fds, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* The peer broke the protocol. */
int tenon_socket_bad(struct tenon_context *c, const char *what)
{
	tenon_context_kill(c);
	return tenon_fail(c, -EPROTO, "the device's answer can't be right: %s", what);
}

static int wait_ready(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - now_ns();
		struct timespec t = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
		int n;

		if (left < 0)
			return -ETIMEDOUT;
		/* A signal doesn't end the call: the request is on its way and can't be taken back. */
		n = ppoll(&p, 1, &t, NULL);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int transmit(struct tenon_context *c, const void *msg, size_t size, int64_t deadline)
{
	int err;

	while (send(c->fd, msg, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EINTR)
			continue;
		/* The peer is gone, but may have said why before. */
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN)
			return -ENODEV;
		err = wait_ready(c->fd, POLLOUT, deadline);
		if (err)
			return err;
	}
	return 0;
}

static int receive(struct tenon_context *c, struct packet *p, int64_t deadline)
{
	union {
		char bytes[CMSG_SPACE(sizeof(p->fds))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = p->bytes, .iov_len = sizeof(p->bytes) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;
	int err;

	p->fd_count = 0;
	do {
		err = wait_ready(c->fd, POLLIN, deadline);
		if (err)
			return err;
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		/* ECONNRESET is reported once, before what was sent earlier. */
	} while (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ECONNRESET));
	if (n < 0)
		return -ENODEV;
	p->size = (size_t)n;
	p->flags = m.msg_flags;
	for (cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		/* Nothing else was asked for, and there is no room for more than one of these. */
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
		    count > TENON_SOCKET_FDS)
			continue;
		memcpy(p->fds, CMSG_DATA(cmsg), count * sizeof(int));
		p->fd_count = (unsigned int)count;
	}
	/* No packet of the protocol is empty: this is the end. */
	return n ? 0 : -ENODEV;
}

/* Is the reply one to this request, whatever it says? NULL if so, else what is wrong. */
static const char *check(const struct packet *p, const struct tenon_msg *request, size_t size,
			 unsigned int fds)
{
	const struct tenon_reply *r = &p->head;

	if (p->size < sizeof(*r) || (p->flags & MSG_TRUNC) || r->size != p->size)
		return "size";
	if (r->type != request->type || r->id != request->id)
		return "it belongs to another request";
	if (r->reserved || r->reserved1)
		return "reserved fields are used";
	if (r->error > 0 || r->error < -4095)
		return "error number";
	if (r->error)
		return r->size == sizeof(*r) && !p->fd_count && !(p->flags & MSG_CTRUNC) ? NULL : "refusal";
	if (r->size < size)
		return "size";
	/* Fewer than there is room for, and yet cut off: this process has none left. See the caller. */
	if ((p->flags & MSG_CTRUNC) && p->fd_count < fds)
		return NULL;
	if ((p->flags & MSG_CTRUNC) || p->fd_count != fds)
		return "number of descriptors";
	return NULL;
}

static int refused(struct tenon_context *c, enum tenon_msg_type type, const struct tenon_reply *r)
{
	static const char *const names[] = {
		[TENON_MSG_HELLO] = "open",
		[TENON_MSG_BUFFER_CREATE] = "create a buffer",
		[TENON_MSG_BUFFER_DESTROY] = "destroy a buffer",
		[TENON_MSG_QUEUE_CREATE] = "create a queue",
		[TENON_MSG_QUEUE_DESTROY] = "destroy a queue",
		[TENON_MSG_STATUS] = "status",
		[TENON_MSG_USAGE] = "usage",
	};
	const char *limit = NULL;

	if (r->error == -EUSERS)
		limit = "contexts";
	else if (r->error == -ENOMEM)
		limit = "memory";
	else if (r->error == -ENOSPC)
		limit = type == TENON_MSG_QUEUE_CREATE ? "queues" : "buffers";
	if (limit && r->needed)
		return tenon_fail(c, r->error, "%s: needed %llu, allowed %llu", limit,
				  (unsigned long long)r->needed, (unsigned long long)r->allowed);
	return tenon_fail(c, r->error, "%s: refused by the device: %s", names[type], strerror(-r->error));
}

static int lost(struct tenon_context *c, int err)
{
	tenon_context_kill(c);
	if (err == -ETIMEDOUT)
		return tenon_fail(c, err, "the device didn't answer within %u ms", c->timeout_ms);
	return tenon_fail(c, err, "the device closed the connection");
}

/*
 * Fills the head of @msg, sends it and waits for the reply. The daemon's own refusal is returned as it is;
 * -EMFILE with @reply's error 0 means that the device did it, but the descriptors couldn't be taken.
 */
int tenon_socket_call(struct tenon_context *c, enum tenon_msg_type type, void *msg, size_t msg_size,
		      void *reply, size_t reply_size, int *fds, unsigned int fd_count)
{
	struct tenon_msg *head = msg;
	struct packet p;
	const char *bad;
	int64_t deadline = now_ns() + c->timeout_ms * 1000000LL;
	int err;

	memset(reply, 0, reply_size);
	if (c->owner != getpid())
		return tenon_fail(c, -ENODEV, "the context belongs to the process that opened it");
	if (context_dead(c))
		return tenon_fail(c, -ENODEV, "the device died");
	memset(head, 0, sizeof(*head));
	head->size = (uint32_t)msg_size;
	head->type = (uint16_t)type;
	/* HELLO is number 0, so that a refusal that came before it was sent is an answer to it. [SOC-3] */
	head->id = c->next_id++;
	err = transmit(c, msg, msg_size, deadline);
	if (err)
		return lost(c, err);
	err = receive(c, &p, deadline);
	if (err)
		return lost(c, err);
	bad = check(&p, head, reply_size, fd_count);
	if (bad || p.head.error || p.fd_count < fd_count)
		tenon_close_fds(p.fds, p.fd_count);
	if (bad)
		return tenon_socket_bad(c, bad);
	memcpy(reply, p.bytes, p.head.error ? sizeof(p.head) : reply_size);
	if (p.head.error)
		return refused(c, type, &p.head);
	if (p.fd_count < fd_count)
		return tenon_fail(c, -EMFILE, "out of file descriptors");
	if (fd_count)
		memcpy(fds, p.fds, fd_count * sizeof(*fds));
	return 0;
}

int tenon_socket_connect(struct tenon_context *c, const char *path)
{
	struct timeval timeout = { .tv_sec = c->timeout_ms / 1000, .tv_usec = c->timeout_ms % 1000 * 1000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int64_t deadline = now_ns() + c->timeout_ms * 1000000LL;
	int err;

	if (strlen(path) >= sizeof(address.sun_path))
		return tenon_fail(c, -ENAMETOOLONG, "%.32s...: a socket's path has at most %zu bytes", path,
				  sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return tenon_fail(c, -errno, "socket: %s", strerror(errno));
	/* connect() waits while the daemon's backlog is full; this bounds it. */
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	while (connect(c->fd, (struct sockaddr *)&address, sizeof(address))) {
		err = -errno;
		if (err == -EINTR && now_ns() < deadline)
			continue;
		if (err == -EAGAIN || err == -EINTR)
			err = -ETIMEDOUT;
		return tenon_fail(c, err, "connect to %s: %s", path, strerror(-err));
	}
	return 0;
}

/* 0.x versions promise nothing to each other. */
static bool version_ok(uint32_t version)
{
	if (version >> 16 != TDI_VERSION_MAJOR)
		return false;
	return TDI_VERSION_MAJOR || (version & 0xffff) == TDI_VERSION_MINOR;
}

int tenon_socket_hello(struct tenon_context *c)
{
	struct tenon_msg_hello msg = { .major = TENON_SOCKET_MAJOR, .minor = TENON_SOCKET_MINOR };
	struct tenon_reply_hello reply;
	int err;

	err = tenon_socket_call(c, TENON_MSG_HELLO, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
	if (err)
		return err;
	if (reply.major != TENON_SOCKET_MAJOR)
		return tenon_socket_bad(c, "it speaks another version of the socket protocol");
	if (!version_ok(reply.identify.version))
		return tenon_socket_bad(c, "it speaks another version of TDI");
	if (reply.reserved || reply.buffers > 1u << 24 || reply.queues > TDI_CONTEXT_QUEUES || !reply.depth ||
	    reply.depth > 1u << TDI_DEPTH_LOG2_MAX)
		return tenon_socket_bad(c, "limits");
	c->identify = reply.identify;
	c->limits = (struct tenon_limits){
		/* What is allowed must fit into off_t when it is rounded up. */
		.memory_bytes = reply.memory_bytes < MEMORY_MAX ? reply.memory_bytes : MEMORY_MAX,
		.buffers = reply.buffers,
		.queues = reply.queues,
		.depth = reply.depth,
	};
	return 0;
}

/*
 * Map what the daemon passed. A memfd that can't shrink never raises SIGBUS. A child that is forked gets
 * none of it: two processes on one ring would be two producers.
 */
int tenon_map(struct tenon_context *c, int fd, size_t bytes, int prot, void **address)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	int seals;
	void *p;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & sealed) != sealed)
		return tenon_socket_bad(c, "memory that isn't sealed");
	if (fstat(fd, &st) || (uint64_t)st.st_size != bytes)
		return tenon_socket_bad(c, "size of the memory");
	p = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return errno == ENOMEM ? tenon_fail(c, -ENOMEM, "out of address space") :
					 tenon_socket_bad(c, "memory that can't be mapped");
	if (madvise(p, bytes, MADV_DONTFORK)) {
		munmap(p, bytes);
		return tenon_fail(c, -ENOMEM, "out of address space");
	}
	*address = p;
	return 0;
}

/* In a forked child there is nothing of it, and what lies there now is something else. */
void tenon_unmap(struct tenon_context *c, void *address, size_t bytes)
{
	if (address && c->owner == getpid())
		munmap(address, bytes);
}
