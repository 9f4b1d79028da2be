/* SPDX-License-Identifier: MIT */
/* See mock.h. */
#include "mock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct packet {
	union {
		struct tenon_reply head;
		struct tenon_reply_hello hello;
		struct tenon_reply_buffer_create buffer;
		struct tenon_reply_queue_create queue;
		struct tenon_reply_status status;
		struct tenon_reply_usage usage;
		char bytes[2 * TENON_SOCKET_MAX];
	};
	size_t size;
	int fds[16];
	unsigned int fd_count;
};

static const size_t request_size[] = {
	[TENON_MSG_HELLO] = sizeof(struct tenon_msg_hello),
	[TENON_MSG_BUFFER_CREATE] = sizeof(struct tenon_msg_buffer_create),
	[TENON_MSG_BUFFER_DESTROY] = sizeof(struct tenon_msg_buffer_destroy),
	[TENON_MSG_QUEUE_CREATE] = sizeof(struct tenon_msg_queue_create),
	[TENON_MSG_QUEUE_DESTROY] = sizeof(struct tenon_msg_queue_destroy),
	[TENON_MSG_STATUS] = sizeof(struct tenon_msg),
	[TENON_MSG_USAGE] = sizeof(struct tenon_msg),
	[TENON_MSG_QUEUE_USAGE] = sizeof(struct tenon_msg_queue_usage),
};

static void *must(void *p)
{
	if (!p || p == MAP_FAILED) {
		perror("mock");
		abort();
	}
	return p;
}

static int must_fd(int fd)
{
	if (fd < 0) {
		perror("mock");
		abort();
	}
	return fd;
}

static size_t page_up(size_t bytes)
{
	return (bytes + TDI_PAGE_SIZE - 1) & ~(size_t)(TDI_PAGE_SIZE - 1);
}

/* The lies about one descriptor of memory. */
static int memory(enum mock_lie lie, size_t bytes, void **map)
{
	int fd, pipes[2];

	if (lie == LIE_NO_MEMFD) {
		must_fd(pipe2(pipes, O_CLOEXEC));
		close(pipes[1]);
		return pipes[0];
	}
	fd = must_fd(memfd_create("mock", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	must_fd(ftruncate(fd, (off_t)bytes - (lie == LIE_SMALL) + (lie == LIE_LARGE)));
	if (map)
		*map = must(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	if (lie != LIE_UNSEALED)
		must_fd(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	if (lie == LIE_READ_ONLY)
		must_fd(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	return fd;
}

static void hello(struct packet *p, enum mock_lie lie)
{
	p->size = sizeof(p->hello);
	p->hello.major = lie == LIE_MAJOR ? TENON_SOCKET_MAJOR + 1 : TENON_SOCKET_MAJOR;
	p->hello.minor = TENON_SOCKET_MINOR;
	p->hello.context = 1;
	p->hello.memory_bytes = lie == LIE_MEMORY ? UINT64_MAX : MOCK_MEMORY;
	p->hello.buffers = lie == LIE_BUFFERS ? UINT32_MAX : MOCK_BUFFERS;
	p->hello.queues = lie == LIE_QUEUES ? TDI_CONTEXT_QUEUES + 1 : MOCK_QUEUES;
	p->hello.depth = lie == LIE_DEPTH ? 1u << 16 : lie == LIE_NO_DEPTH ? 0 : MOCK_DEPTH;
	p->hello.identify.version = lie == LIE_TDI ? TDI_VERSION(TDI_VERSION_MAJOR + 1, 0) :
				    lie == LIE_TDI_MINOR ?
						     TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR + 1) :
						     TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR);
	strcpy((char *)p->hello.identify.model, "mock");
}

static void buffer_create(struct mock *m, struct packet *p, const struct tenon_msg_buffer_create *r,
			  enum mock_lie lie)
{
	p->size = sizeof(p->buffer);
	p->buffer.buffer = m->last_buffer = TDI_BUFFER_ID(m->last_buffer + 1, lie == LIE_GENERATION ? 0 : 1);
	p->fds[p->fd_count++] = memory(lie, page_up(r->bytes), NULL);
	m->buffers++;
}

static void queue_create(struct mock *m, struct packet *p, const struct tenon_msg_queue_create *r,
			 enum mock_lie lie)
{
	uint32_t id, first = TDI_FIRST_INDEX(r->depth);
	struct mock_queue *q;
	void *tenant, *device;
	int notice[2];

	for (id = 0; m->queue[id].used; id++)
		;
	q = &m->queue[id];
	memset(q, 0, sizeof(*q));
	q->used = true;
	q->depth = r->depth;
	q->done = q->looked = first;
	q->tenant_bytes = TDI_PAGE_SIZE + page_up(r->depth * sizeof(struct tdi_sqe));
	q->device_bytes = 2 * TDI_PAGE_SIZE + page_up(r->depth * sizeof(struct tdi_cqe));
	p->fds[TENON_FD_TENANT] = memory(lie == LIE_NO_MEMFD ? LIE_NONE : lie, q->tenant_bytes, &tenant);
	p->fds[TENON_FD_DEVICE] = memory(lie == LIE_READ_ONLY ? LIE_NONE : lie, q->device_bytes,
					 lie == LIE_NO_MEMFD ? NULL : &device);
	if (lie == LIE_NO_MEMFD)
		device = must(mmap(NULL, q->device_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0));
	q->producer = tenant;
	q->sq = (void *)((char *)tenant + TDI_PAGE_SIZE);
	q->device = device;
	q->kernel = (void *)((char *)device + TDI_PAGE_SIZE);
	q->cq = (void *)((char *)device + 2 * TDI_PAGE_SIZE);
	q->producer->tail = lie == LIE_TAIL ? first + 1 : first;
	q->producer->wanted = lie == LIE_WANTED ? first - 1 : first;
	q->producer->wanted_kernel = lie == LIE_WANTED_KERNEL ? first - 1 : first;
	q->device->fetched = first;
	q->device->flags = TDI_NEED_KICK;
	tenon_ring_init_cq(q->cq, r->depth, first);
	if (lie == LIE_CQ)
		q->cq[r->depth - 1].sequence += r->depth;

	/* Blocking, as a hostile peer could make it: the library must see to it that it isn't. */
	q->kick = must_fd(eventfd(0, EFD_CLOEXEC));
	must_fd(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, notice));
	q->notice = notice[1];
	p->fds[TENON_FD_KICK] = dup(q->kick);
	p->fds[TENON_FD_NOTICE] = notice[0];
	p->fd_count = TENON_SOCKET_FDS;
	if (lie == LIE_KICK_PIPE) {
		close(p->fds[TENON_FD_KICK]);
		must_fd(pipe2(notice, O_CLOEXEC));
		close(notice[0]);
		p->fds[TENON_FD_KICK] = notice[1];
	}
	if (lie == LIE_NOTICE_EVENTFD) {
		close(p->fds[TENON_FD_NOTICE]);
		p->fds[TENON_FD_NOTICE] = dup(q->kick);
	}
	if (lie == LIE_NOTICE_PIPE) {
		close(p->fds[TENON_FD_NOTICE]);
		must_fd(pipe2(notice, O_CLOEXEC));
		close(notice[1]);
		p->fds[TENON_FD_NOTICE] = notice[0];
	}
	p->size = sizeof(p->queue);
	p->queue.queue = id;
	p->queue.first = lie == LIE_FIRST ? first + 1 : first;
	p->queue.depth = lie == LIE_DEPTH ? 2 * r->depth : r->depth;
}

static void queue_release(struct mock_queue *q)
{
	if (!q->used)
		return;
	munmap(q->producer, q->tenant_bytes);
	munmap(q->device, q->device_bytes);
	close(q->kick);
	close(q->notice);
	q->used = false;
}

static void answer(struct mock *m, struct packet *p, const struct tenon_msg *r, enum mock_lie lie)
{
	p->size = sizeof(p->head);
	switch (r->type) {
	case TENON_MSG_HELLO:
		hello(p, lie);
		break;
	case TENON_MSG_BUFFER_CREATE:
		buffer_create(m, p, (const void *)r, lie);
		break;
	case TENON_MSG_BUFFER_DESTROY:
		m->buffers--;
		break;
	case TENON_MSG_QUEUE_CREATE:
		queue_create(m, p, (const void *)r, lie);
		break;
	case TENON_MSG_QUEUE_DESTROY:
		queue_release(&m->queue[((const struct tenon_msg_queue_destroy *)r)->queue]);
		break;
	case TENON_MSG_STATUS:
		p->size = sizeof(p->status);
		p->status.status.queues = lie == LIE_STATUS_QUEUES ? TDI_CONTEXT_QUEUES + 1 : 1;
		p->status.status.queue[0].completed = 77;
		break;
	case TENON_MSG_USAGE:
		p->size = sizeof(p->usage);
		p->usage.usage.busy_ns = 1234;
		break;
	case TENON_MSG_QUEUE_USAGE:
		p->size = sizeof(p->usage);
		p->usage.usage.busy_ns = 100 + ((const struct tenon_msg_queue_usage *)r)->queue;
		break;
	}
}

/* The lies that fit every reply. False: nothing is to be sent. */
static bool twist(struct mock *m, struct packet *p, enum mock_lie lie)
{
	switch (lie) {
	case LIE_SHORT:
		p->size = p->head.size = sizeof(p->head) - 4;
		break;
	case LIE_SIZE:
		p->head.size += 8;
		break;
	case LIE_TOO_LONG:
		p->size = TENON_SOCKET_MAX + 8;
		p->head.size = TENON_SOCKET_MAX;
		break;
	case LIE_TYPE:
		p->head.type++;
		break;
	case LIE_ID:
	case LIE_STUCK:
		p->head.id--;
		break;
	case LIE_RESERVED:
		p->head.reserved = 1;
		break;
	case LIE_RESERVED1:
		p->head.reserved1 = 1;
		break;
	case LIE_ERROR_POSITIVE:
		p->head.error = EINVAL;
		break;
	case LIE_ERROR_RANGE:
		p->head.error = INT32_MIN;
		break;
	case LIE_ERROR_LONG:
		p->head.error = -EINVAL;
		p->size += 8;
		p->head.size = (uint32_t)p->size;
		break;
	case LIE_ERROR_FD:
		p->head.error = -EINVAL;
		p->size = p->head.size = sizeof(p->head);
		if (!p->fd_count)
			p->fds[p->fd_count++] = dup(m->listener);
		break;
	case LIE_BODY:
		p->size -= 8;
		p->head.size = (uint32_t)p->size;
		break;
	case LIE_MANY_FDS:
	case LIE_EXTRA_FD:
		do
			p->fds[p->fd_count++] = dup(m->listener);
		while (lie == LIE_MANY_FDS && p->fd_count < 8);
		break;
	case LIE_NO_FD:
	case LIE_FEWER_FDS:
		do
			close(p->fds[--p->fd_count]);
		while (lie == LIE_NO_FD && p->fd_count);
		break;
	case GROWN:
		p->size += 64;
		p->head.size = (uint32_t)p->size;
		break;
	case LIE_LATE:
		usleep(400000);
		break;
	case LIE_SILENT:
		return false;
	case LIE_HANG_UP:
		shutdown(m->connection, SHUT_RDWR);
		return false;
	default:
		break;
	}
	return true;
}

static void send_packet(struct mock *m, struct packet *p, enum mock_lie lie)
{
	char control[CMSG_SPACE(sizeof(p->fds))];
	struct iovec iov = { .iov_base = p->bytes, .iov_len = p->size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	struct rlimit limit, few;
	unsigned int i;

	if (p->fd_count) {
		memset(control, 0, sizeof(control));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(p->fd_count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(p->fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), p->fds, p->fd_count * sizeof(int));
	}
	if (lie == NO_FDS_LEFT) {
		getrlimit(RLIMIT_NOFILE, &limit);
		few = limit;
		few.rlim_cur = (rlim_t)must_fd(dup(m->listener));
		close((int)few.rlim_cur);
		few.rlim_cur += m->lie_type == TENON_MSG_QUEUE_CREATE;
		setrlimit(RLIMIT_NOFILE, &few);
	}
	sendmsg(m->connection, &msg, MSG_NOSIGNAL);
	if (lie == NO_FDS_LEFT) {
		/* Until the test saw the failure and undid what it can. */
		usleep(100000);
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (i = 0; i < p->fd_count; i++)
		close(p->fds[i]);
	if (lie == LIE_STUCK)
		usleep(1500000);
}

static void serve(struct mock *m, const struct tenon_msg *r, size_t size)
{
	struct packet p;
	enum mock_lie lie = LIE_NONE;

	if (size < sizeof(*r) || r->size != size || !r->type || r->type > TENON_MSG_QUEUE_USAGE || r->reserved ||
	    size != request_size[r->type]) {
		m->wrong_requests++;
		return;
	}
	m->requests[r->type]++;
	if (m->lie_type == r->type) {
		lie = m->lie;
		m->lie = LIE_NONE;
	}
	memset(&p, 0, sizeof(p));
	if (lie == REFUSE) {
		p.size = sizeof(p.head);
		p.head.error = m->refuse_error;
		p.head.needed = 7;
		p.head.allowed = 5;
	} else {
		answer(m, &p, r, lie);
	}
	p.head.size = (uint32_t)p.size;
	p.head.type = r->type;
	p.head.id = r->id;
	pthread_mutex_unlock(&m->lock);
	if (twist(m, &p, lie))
		send_packet(m, &p, lie);
	else
		while (p.fd_count)
			close(p.fds[--p.fd_count]);
	pthread_mutex_lock(&m->lock);
}

/* Everything that belongs to the connection but the rings, which the test may still look at. */
static void connection_end(struct mock *m)
{
	int i;

	for (i = 0; i < MOCK_QUEUES; i++)
		queue_release(&m->queue[i]);
	m->buffers = 0;
	close(m->connection);
	m->connection = -1;
	m->ended = true;
	pthread_cond_broadcast(&m->changed);
}

static void *run(void *arg)
{
	union {
		struct tenon_msg head;
		char bytes[TENON_SOCKET_MAX];
	} r;
	struct mock *m = arg;
	unsigned int turn = 0;
	ssize_t n;
	int fd;

	while ((fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		pthread_mutex_lock(&m->lock);
		if (m->turn_away) {
			struct tenon_reply no = { .size = sizeof(no),
						  .type = TENON_MSG_HELLO,
						  .error = -EUSERS,
						  .needed = 3,
						  .allowed = 2 };

			pthread_mutex_unlock(&m->lock);
			/* Every other time when HELLO has come, and leave it unread. */
			if (turn++ & 1)
				recv(fd, &r, sizeof(r), MSG_PEEK);
			send(fd, &no, sizeof(no), MSG_NOSIGNAL);
			close(fd);
			continue;
		}
		m->connection = fd;
		m->ended = false;
		do {
			pthread_mutex_unlock(&m->lock);
			n = recv(fd, &r, sizeof(r), 0);
			pthread_mutex_lock(&m->lock);
			if (n > 0)
				serve(m, &r.head, (size_t)n);
		} while (n > 0);
		connection_end(m);
		pthread_mutex_unlock(&m->lock);
	}
	return NULL;
}

int mock_setup(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct mock *m = must(calloc(1, sizeof(*m)));

	strcpy(m->directory, "/tmp/tenon-test-XXXXXX");
	must(mkdtemp(m->directory));
	snprintf(m->path, sizeof(m->path), "%s/tenond", m->directory);
	strcpy(address.sun_path, m->path);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->connection = -1;
	m->ended = true;
	m->listener = must_fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	must_fd(bind(m->listener, (struct sockaddr *)&address, sizeof(address)));
	must_fd(listen(m->listener, 4));
	must_fd(-pthread_create(&m->thread, NULL, run, m));
	*state = m;
	return 0;
}

int mock_teardown(void **state)
{
	struct mock *m = *state;
	unsigned int wrong;

	mock_die(m);
	shutdown(m->listener, SHUT_RDWR);
	pthread_join(m->thread, NULL);
	close(m->listener);
	unlink(m->path);
	rmdir(m->directory);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	wrong = m->wrong_requests;
	free(m);
	return wrong ? -1 : 0;
}

void mock_lie(struct mock *m, enum tenon_msg_type type, enum mock_lie lie)
{
	pthread_mutex_lock(&m->lock);
	m->lie_type = type;
	m->lie = lie;
	pthread_mutex_unlock(&m->lock);
}

void mock_sync(struct mock *m)
{
	pthread_mutex_lock(&m->lock);
	pthread_mutex_unlock(&m->lock);
}

void mock_settle(struct mock *m)
{
	pthread_mutex_lock(&m->lock);
	while (!m->ended)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void mock_die(struct mock *m)
{
	pthread_mutex_lock(&m->lock);
	if (m->connection >= 0)
		shutdown(m->connection, SHUT_RDWR);
	pthread_mutex_unlock(&m->lock);
	mock_settle(m);
}

struct mock_queue *mock_device(struct mock *m, const struct tenon_queue *queue)
{
	return &m->queue[tenon_queue_id(queue)];
}

bool mock_complete(struct mock_queue *q, uint32_t count, uint16_t status)
{
	bool due;

	while (count--) {
		struct tdi_cqe cqe = {
			.user_data = q->sq[q->done & (q->depth - 1)].user_data,
			.busy_ns = 5,
			.status = status,
		};

		tenon_ring_complete(&q->cq[q->done & (q->depth - 1)], &cqe, q->done + 1);
		q->done++;
	}
	due = tenon_ring_due(q->producer, q->looked, q->done);
	q->looked = q->done;
	if (due && write(q->notice, "", 1) != 1)
		abort();
	return due;
}

uint64_t mock_kicks(struct mock_queue *q)
{
	uint64_t kicks = 0;

	return read(q->kick, &kicks, sizeof(kicks)) == sizeof(kicks) ? kicks : 0;
}

struct tenon_context *mock_open(struct mock *m)
{
	struct tenon_open_options options = { .size = sizeof(options), .timeout_ms = 2000 };
	struct tenon_context *c;

	assert_int_equal(tenon_open(m->path, &options, &c), 0);
	return c;
}

unsigned int count_fds(void)
{
	DIR *directory = must(opendir("/proc/self/fd"));
	unsigned int count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}
