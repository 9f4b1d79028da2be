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

#include <tenon/socket.h>

#include "internal.h"

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

/* The peer broke the protocol. */
static int bad_answer(struct tenon_context *c, const char *what)
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
		[TENON_MSG_QUEUE_USAGE] = "usage of a queue",
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
static int call(struct tenon_context *c, enum tenon_msg_type type, void *msg, size_t msg_size, void *reply,
		size_t reply_size, int *fds, unsigned int fd_count)
{
	struct tenon_msg *head = msg;
	struct packet p;
	const char *bad;
	int64_t deadline = now_ns() + c->timeout_ms * 1000000LL;
	int err;

	memset(reply, 0, reply_size);
	err = tenon_context_usable(c);
	if (err)
		return err;
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
		return bad_answer(c, bad);
	memcpy(reply, p.bytes, p.head.error ? sizeof(p.head) : reply_size);
	if (p.head.error)
		return refused(c, type, &p.head);
	if (p.fd_count < fd_count)
		return tenon_fail(c, -EMFILE, "out of file descriptors");
	if (fd_count)
		memcpy(fds, p.fds, fd_count * sizeof(*fds));
	return 0;
}

static int connect_to(struct tenon_context *c, const char *path)
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

static int hello(struct tenon_context *c)
{
	struct tenon_msg_hello msg = { .major = TENON_SOCKET_MAJOR, .minor = TENON_SOCKET_MINOR };
	struct tenon_reply_hello reply;
	int err;

	err = call(c, TENON_MSG_HELLO, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
	if (err)
		return err;
	if (reply.major != TENON_SOCKET_MAJOR)
		return bad_answer(c, "it speaks another version of the socket protocol");
	if (!tenon_version_ok(reply.identify.version))
		return bad_answer(c, "it speaks another version of TDI");
	if (reply.reserved || reply.buffers > 1u << 24 || reply.queues > TDI_CONTEXT_QUEUES || !reply.depth ||
	    reply.depth > 1u << TDI_DEPTH_LOG2_MAX)
		return bad_answer(c, "limits");
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

static int socket_open(struct tenon_context *c, const char *path)
{
	int err = connect_to(c, path);

	return err ? err : hello(c);
}

/*
 * The socket is shut down, not closed: its number must not be used anew while others still look at it, and
 * whoever sleeps in tenon_wait() polls it and wakes up. It ends even if a forked child holds it open.
 */
static void socket_hang_up(struct tenon_context *c)
{
	shutdown(c->fd, SHUT_RDWR);
}

static int socket_status(struct tenon_context *c, struct tdi_context_status *status)
{
	struct tenon_reply_status reply;
	struct tenon_msg msg;
	int err;

	err = call(c, TENON_MSG_STATUS, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
	if (!err && reply.status.queues > TDI_CONTEXT_QUEUES)
		err = bad_answer(c, "more queues than there can be");
	if (!err)
		*status = reply.status;
	return err;
}

static int socket_usage(struct tenon_context *c, const struct queue *q, struct tdi_usage *usage)
{
	struct tenon_msg_queue_usage of_queue = { .queue = q ? q->id : 0 };
	struct tenon_reply_usage reply;
	struct tenon_msg msg;
	int err;

	if (q)
		err = call(c, TENON_MSG_QUEUE_USAGE, &of_queue, sizeof(of_queue), &reply,
			   sizeof(reply), NULL, 0);
	else
		err = call(c, TENON_MSG_USAGE, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
	if (!err)
		*usage = reply.usage;
	return err;
}

/* ------------------------------------------------------------------------------- memory */

/* Map what the daemon passed. A memfd that can't shrink never raises SIGBUS. */
static int map_sealed(struct tenon_context *c, int fd, size_t bytes, int prot, void **address)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	int seals, err;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & sealed) != sealed)
		return bad_answer(c, "memory that isn't sealed");
	if (fstat(fd, &st) || (uint64_t)st.st_size != bytes)
		return bad_answer(c, "size of the memory");
	err = tenon_map(c, fd, 0, bytes, prot, address);
	return err && err != -ENOMEM ? bad_answer(c, "memory that can't be mapped") : err;
}

static int destroy_buffer(struct tenon_context *c, uint32_t id)
{
	struct tenon_msg_buffer_destroy msg = { .buffer = id };
	struct tenon_reply reply;

	return call(c, TENON_MSG_BUFFER_DESTROY, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
}

static int socket_buffer_destroy(struct tenon_context *c, struct tenon_buffer *b)
{
	return destroy_buffer(c, b->id);
}

static int socket_buffer_create(struct tenon_context *c, struct tenon_buffer *b, uint32_t rights)
{
	struct tenon_msg_buffer_create msg = { .bytes = b->bytes, .rights = rights };
	struct tenon_reply_buffer_create reply;
	int err, fd = -1;

	b->mapped = page_up(b->bytes);
	err = call(c, TENON_MSG_BUFFER_CREATE, &msg, sizeof(msg), &reply, sizeof(reply), &fd, 1);
	if (!err && (!TDI_BUFFER_GEN(reply.buffer) || reply.reserved))
		err = bad_answer(c, "a buffer id that can't be one");
	if (!err)
		err = map_sealed(c, fd, b->mapped, PROT_READ | PROT_WRITE, &b->data);
	tenon_close_fds(&fd, 1);
	/* The device made it, but there was no room for it on this side. */
	if ((err == -ENOMEM || err == -EMFILE) && !reply.head.error)
		destroy_buffer(c, reply.buffer);
	b->id = reply.buffer;
	return err;
}

/* ------------------------------------------------------------------------------- queues */

/*
 * The kick must be something that a write can't raise a signal on or block, whatever the daemon passed: an
 * anonymous inode, which has no type, is neither a pipe nor a socket nor a file. The notice must be a socket:
 * that alone can be read without blocking, whoever else has it.
 */
static bool notices_ok(int kick, int notice)
{
	struct stat st;

	if (fstat(kick, &st) || (st.st_mode & S_IFMT) || fcntl(kick, F_SETFL, O_NONBLOCK))
		return false;
	return !fstat(notice, &st) && S_ISSOCK(st.st_mode);
}

static int map_queue(struct queue *q, const struct tenon_reply_queue_create *reply, uint32_t depth, int *fds)
{
	struct tenon_context *c = q->context;
	int err;

	if (reply->depth != depth || reply->reserved)
		return bad_answer(c, "depth of the queue");
	q->tenant_bytes = TDI_PAGE_SIZE + page_up(depth * sizeof(struct tdi_sqe));
	q->device_bytes = 2 * TDI_PAGE_SIZE + page_up(depth * sizeof(struct tdi_cqe));
	err = map_sealed(c, fds[TENON_FD_TENANT], q->tenant_bytes, PROT_READ | PROT_WRITE, &q->tenant_map);
	if (!err)
		err = map_sealed(c, fds[TENON_FD_DEVICE], q->device_bytes, PROT_READ, &q->device_map);
	if (err)
		return err;
	if (!tenon_queue_rings(q, reply->first, depth, TDI_PAGE_SIZE))
		return bad_answer(c, "the rings of a new queue");
	if (!notices_ok(fds[TENON_FD_KICK], fds[TENON_FD_NOTICE]))
		return bad_answer(c, "the descriptors of a queue");
	q->id = reply->queue;
	q->kick = fds[TENON_FD_KICK];
	q->notice = fds[TENON_FD_NOTICE];
	fds[TENON_FD_KICK] = fds[TENON_FD_NOTICE] = -1;
	return 0;
}

static int destroy_queue(struct tenon_context *c, uint32_t id)
{
	struct tenon_msg_queue_destroy msg = { .queue = id };
	struct tenon_reply reply;

	return call(c, TENON_MSG_QUEUE_DESTROY, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
}

static int socket_queue_destroy(struct queue *q)
{
	return destroy_queue(q->context, q->id);
}

static int socket_queue_create(struct queue *q, uint32_t depth)
{
	struct tenon_msg_queue_create msg = { .depth = depth };
	struct tenon_reply_queue_create reply;
	int fds[TENON_SOCKET_FDS] = { -1, -1, -1, -1 };
	struct tenon_context *c = q->context;
	int err;

	err = call(c, TENON_MSG_QUEUE_CREATE, &msg, sizeof(msg), &reply, sizeof(reply), fds,
		   TENON_SOCKET_FDS);
	if (!err)
		err = map_queue(q, &reply, depth, fds);
	tenon_close_fds(fds, TENON_SOCKET_FDS);
	/* The device made it, but there was no room for it on this side. */
	if ((err == -ENOMEM || err == -EMFILE) && !reply.head.error)
		destroy_queue(c, reply.queue);
	return err;
}

/* It can't block; if the counter is full, a kick is pending already. */
static int socket_kick(struct queue *q)
{
	uint64_t one = 1;

	return write(q->kick, &one, sizeof(one)) < 0 && errno != EAGAIN ? -ENODEV : 0;
}

/* Without events asked for, only an end of file on either shows. */
static bool socket_gone(struct queue *q)
{
	struct pollfd p[2] = { { .fd = q->notice }, { .fd = q->context->fd } };

	if (poll(p, 2, 0) <= 0)
		return false;
	if (p[1].revents)
		tenon_context_kill(q->context);
	return true;
}

/* There is no kernel: what the daemon didn't write before it went nobody writes. */
static int socket_finish(struct queue *q)
{
	return -ENODEV;
}

/*
 * -ENODEV at the end of the socket of notices. A peer that writes faster than this reads must not hold us
 * here: what is left makes poll() return at once.
 */
static int socket_drain(struct queue *q)
{
	char bytes[4096];
	int tries = 32;
	ssize_t n;

	do
		n = recv(q->notice, bytes, sizeof(bytes), MSG_DONTWAIT);
	while ((n == sizeof(bytes) || (n < 0 && errno == EINTR)) && --tries);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	tenon_queue_kill(q);
	return -ENODEV;
}

static int socket_sleep(struct queue *q, uint32_t target, int64_t deadline)
{
	struct pollfd p[2] = { { .fd = q->notice, .events = POLLIN }, { .fd = q->context->fd } };
	struct timespec t;
	int64_t left;
	int n;

	n = tenon_queue_ask(q, target);
	if (n)
		return n < 0 ? n : 0;
	left = deadline - now_ns();
	if (left <= 0)
		return -ETIMEDOUT;
	t.tv_sec = left / 1000000000;
	t.tv_nsec = left % 1000000000;
	n = ppoll(p, 2, deadline == FOR_EVER ? NULL : &t, NULL);
	if (n < 0)
		return -errno;
	/* The socket too: it ends when the context dies by another thread's failed call. */
	if (p[1].revents) {
		tenon_context_kill(q->context);
		tenon_queue_kill(q);
		return -ENODEV;
	}
	return 0;
}

const struct transport tenon_socket = {
	.name = "socket",
	.open = socket_open,
	.hang_up = socket_hang_up,
	.buffer_create = socket_buffer_create,
	.buffer_destroy = socket_buffer_destroy,
	.queue_create = socket_queue_create,
	.queue_destroy = socket_queue_destroy,
	.status = socket_status,
	.usage = socket_usage,
	.kick = socket_kick,
	.gone = socket_gone,
	.finish = socket_finish,
	.drain = socket_drain,
	.sleep = socket_sleep,
};
