// SPDX-License-Identifier: MIT
/*
 * Descriptors and mappings that pass from hand to hand: fork, SCM_RIGHTS, PRIME, and every order of closing. An open
 * file is the context, whoever holds it, and it ends with the last of them. If this fails, a child scribbles on its
 * parent's rings, or a context dies under those who still hold it.
 */
#include <sys/socket.h>

#include "bystander.h"

FIXTURE(hands) {
	struct bystander bystander;
	int fd;
	struct queue q;
	struct buffer a;
};

FIXTURE_SETUP(hands)
{
	ASSERT_TRUE(bystander_start(&self->bystander));
	self->fd = node_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, queue_make(self->fd, 8, -1, &self->q));
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &self->a));
	ASSERT_TRUE(bystander_goes_on(&self->bystander, 1));
}

FIXTURE_TEARDOWN(hands)
{
	EXPECT_TRUE(bystander_goes_on(&self->bystander, 5));
	EXPECT_TRUE(bystander_stop(&self->bystander));
}

static bool works(struct queue *q, struct buffer *b, uint8_t value)
{
	put_fill(q, b->id, 0, PAGE, value);
	return run(q) == TDI_SC_OK && all_bytes(b->data, value, PAGE);
}

/* The same without any call: a file that nobody has any more still has its mappings. */
static bool works_alone(struct queue *q, struct buffer *b, uint8_t value)
{
	int64_t end = now_ns() + LONG;

	put_fill(q, b->id, 0, PAGE, value);
	tenon_store_release(&q->producer->tail, q->tail);
	TENON_SUBMIT_BARRIER();
	*q->doorbell = q->tail;
	while (!completed(q))
		if (now_ns() > end)
			return false;
	return take(q).status == TDI_SC_OK && all_bytes(b->data, value, PAGE);
}

/* How a child ended that did one thing: its exit status, or its signal + 1000. */
#define IN_CHILD(what) ({				\
	int status_ = 0;				\
	pid_t child_ = fork();				\
							\
	if (!child_)					\
		_exit(({ what; }));			\
	waitpid(child_, &status_, 0);			\
	WIFSIGNALED(status_) ? 1000 + WTERMSIG(status_) : WEXITSTATUS(status_);	\
})

TEST_F(hands, fork)
{
	struct queue *q = &self->q;

	EXPECT_EQ(1000 + SIGSEGV, IN_CHILD(q->producer->tail != 0));
	EXPECT_EQ(1000 + SIGSEGV, IN_CHILD(q->sq[0].opcode != 0));
	EXPECT_EQ(1000 + SIGSEGV, IN_CHILD(q->device->flags != 0));
	EXPECT_EQ(1000 + SIGSEGV, IN_CHILD(q->cq[0].sequence != 0));
	EXPECT_EQ(1000 + SIGSEGV, IN_CHILD((*q->doorbell = 1)));
	/* The descriptor it has, and may map them itself. */
	EXPECT_EQ(0, IN_CHILD(queue_map(q) || !works(q, &self->a, 0x21)));
	/* The child moved the ring on, which the parent hasn't followed. */
	q->tail++;
	q->head++;
	EXPECT_TRUE(works(q, &self->a, 0x22));
}

/* The parent goes first; the child's copy of the file keeps all alive. */
TEST_F(hands, parent_goes)
{
	int pipes[2];
	char good = 0;
	pid_t parent;

	ASSERT_EQ(0, pipe(pipes));
	parent = fork();
	if (!parent) {
		struct buffer b;
		struct queue q;
		int fd = node_open();

		if (fd < 0 || buffer_make(fd, PAGE, RW, &b) || queue_make(fd, 8, -1, &q) || !works(&q, &b, 1))
			_exit(1);
		parent = getpid();
		if (fork())
			_exit(0);
		while (getppid() == parent)
			sleep_ms(1);
		queue_map(&q);
		good = works(&q, &b, 2) && !queue_destroy(fd, q.made.queue) && !queue_make(fd, 8, -1, &q) &&
		       works(&q, &b, 3) ? 'y' : 'n';
		if (write(pipes[1], &good, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(pipes[1]);
	{
		int status;

		ASSERT_EQ(parent, waitpid(parent, &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_EQ(1, read(pipes[0], &good, 1));
	EXPECT_EQ('y', good);
}

static int send_fd(int socket, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : errno;
}

static int receive_fd(int socket)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd = -1;

	if (recvmsg(socket, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* What the receiver does, under another uid, with a file that came by a socket; 0 or the step that failed. */
static int receiver(int socket, const struct queue *sent, const struct buffer *sent_buffer, bool last)
{
	struct queue q = *sent;
	struct buffer b = *sent_buffer;
	char byte;
	int fd;

	/* What it got by fork must not be what works. */
	close(q.fd);
	if (setgid(FOREIGN_UID + 2) || setuid(FOREIGN_UID + 2))
		return 1;
	fd = receive_fd(socket);
	if (fd < 0)
		return 2;
	q.fd = fd;
	b.fd = fd;
	b.data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)b.offset);
	if (b.data == MAP_FAILED || queue_map(&q))
		return 3;
	if (!works(&q, &b, 0x31))
		return 4;
	/* The sender has closed his when this comes, or it is for the receiver to close first. */
	if (read(socket, &byte, 1) != 1)
		return 5;
	if (!last)
		return 0;
	if (!works(&q, &b, 0x32))
		return 6;
	return buffer_unmap(fd, b.id) || queue_destroy(fd, q.made.queue) ? 7 : 0;
}

static int pass(FIXTURE_DATA(hands) *self, bool receiver_last)
{
	int pair[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 100;
	child = fork();
	if (!child) {
		close(pair[0]);
		_exit(receiver(pair[1], &self->q, &self->a, receiver_last));
	}
	close(pair[1]);
	if (send_fd(pair[0], self->fd))
		return 101;
	if (receiver_last) {
		/* Perhaps it is still under way, and nobody has it but the socket. */
		munmap(self->a.data, PAGE);
		queue_unmap(&self->q);
		close(self->fd);
	}
	if (write(pair[0], "", 1) != 1)
		return 102;
	waitpid(child, &status, 0);
	close(pair[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 103;
}

TEST_F(hands, receiver_closes_first)
{
	EXPECT_EQ(0, pass(self, false));
	self->q.tail++;
	self->q.head++;
	EXPECT_TRUE(works(&self->q, &self->a, 0x41));
}

TEST_F(hands, sender_closes_first)
{
	EXPECT_EQ(0, pass(self, true));
}

/* The descriptor goes, mappings stay, then all but the rings, then all but the doorbell. */
TEST_F(hands, mappings_outlive_the_descriptor)
{
	struct queue *q = &self->q;

	ASSERT_EQ(0, close(self->fd));
	for (unsigned int i = 0; i < 50; i++)
		ASSERT_TRUE(works_alone(q, &self->a, (uint8_t)i));
	munmap(self->a.data, PAGE);
	put_fill(q, self->a.id, 0, PAGE, 5);
	tenon_store_release(&q->producer->tail, q->tail);
	TENON_SUBMIT_BARRIER();
	*q->doorbell = q->tail;
	while (!completed(q))
		sched_yield();
	EXPECT_EQ(TDI_SC_OK, take(q).status);
	munmap(q->producer, q->made.tenant_bytes);
	munmap((void *)q->device, q->made.device_bytes);
	*q->doorbell = 12345;
	munmap((void *)q->doorbell, PAGE);
}

/* The handle goes, the map stays; the mapping goes, the map stays; the map goes, the mapping stays. */
TEST_F(hands, parts_of_a_buffer)
{
	struct buffer b;

	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &b));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = b.handle }));
	EXPECT_TRUE(works(&self->q, &b, 0x51));
	munmap(b.data, PAGE);
	put_fill(&self->q, b.id, 0, PAGE, 0x52);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
	put_copy(&self->q, self->a.id, 0, b.id, 0, PAGE);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
	EXPECT_TRUE(all_bytes(self->a.data, 0x52, PAGE));
	EXPECT_EQ(0, buffer_unmap(self->fd, b.id));
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
	memset(self->a.data, 1, PAGE);
	put_fill(&self->q, self->a.id, 0, PAGE, 0x53);
	EXPECT_EQ(TDI_SC_BUFFER_ID, run(&self->q));
	EXPECT_TRUE(all_bytes(self->a.data, 1, PAGE));
}

/* A buffer given to another context by PRIME is there for both, and for the one who is left. */
TEST_F(hands, prime)
{
	struct drm_prime_handle prime = { .handle = self->a.handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	struct buffer b = { .size = PAGE };
	struct queue q;

	b.fd = node_open();
	ASSERT_LE(0, b.fd);
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	prime.handle = 0;
	ASSERT_EQ(0, call(b.fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	b.handle = prime.handle;
	ASSERT_EQ(0, close(prime.fd));
	ASSERT_EQ(0, buffer_map(&b, 0, PAGE, RW));
	ASSERT_EQ(0, queue_make(b.fd, 8, -1, &q));
	b.data = self->a.data;
	EXPECT_TRUE(works(&q, &b, 0x61));
	EXPECT_TRUE(works(&self->q, &self->a, 0x62));
	/* The id of the one isn't that of the other, once he has unmapped his. */
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
	EXPECT_TRUE(works(&q, &b, 0x63));
	queue_unmap(&self->q);
	munmap(self->a.data, PAGE);
	ASSERT_EQ(0, close(self->fd));
	{
		struct drm_tenon_buffer_info info = { .handle = b.handle };

		ASSERT_EQ(0, call(b.fd, DRM_IOCTL_TENON_BUFFER_INFO, &info));
		b.data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd, (off_t)info.offset);
		ASSERT_NE(MAP_FAILED, b.data);
	}
	EXPECT_TRUE(all_bytes(b.data, 0x63, PAGE));
	EXPECT_TRUE(works(&q, &b, 0x64));
}

TEST_HARNESS_MAIN
