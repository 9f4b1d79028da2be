// SPDX-License-Identifier: MIT
/*
 * Pages that a tenant may read and not write, mappings of what isn't his, and what memory holds when he gets it. If
 * this fails, a tenant forges completions, rings others' doorbells, or reads what another left behind.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "bystander.h"

FIXTURE(pages) {
	struct bystander bystander;
	int fd, victim_fd;
	struct queue q, victim;
	struct buffer a, treasure;
};

FIXTURE_SETUP(pages)
{
	ASSERT_TRUE(bystander_start(&self->bystander));
	self->victim_fd = node_open();
	self->fd = node_open();
	ASSERT_LE(0, self->victim_fd);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, queue_make(self->victim_fd, 8, -1, &self->victim));
	ASSERT_EQ(0, buffer_make(self->victim_fd, PAGE, RW, &self->treasure));
	ASSERT_EQ(0, queue_make(self->fd, 256, -1, &self->q));
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &self->a));
	ASSERT_TRUE(bystander_goes_on(&self->bystander, 1));
}

FIXTURE_TEARDOWN(pages)
{
	put_fill(&self->q, self->a.id, 0, PAGE, 0x66);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
	EXPECT_TRUE(all_bytes(self->a.data, 0x66, PAGE));
	put_fill(&self->victim, self->treasure.id, 0, PAGE, 0x77);
	EXPECT_EQ(TDI_SC_OK, run(&self->victim));
	EXPECT_TRUE(bystander_goes_on(&self->bystander, 5));
	EXPECT_TRUE(bystander_stop(&self->bystander));
}

/* errno of a mmap(), which is undone if it works. */
static int map(int fd, size_t bytes, int prot, int flags, uint64_t offset)
{
	void *at = mmap(NULL, bytes, prot, flags, fd, (off_t)offset);

	if (at == MAP_FAILED)
		return errno;
	munmap(at, bytes);
	return 0;
}

/* The device's pages, the kernel's and the CQ: by no way that root has. */
TEST_F(pages, read_only)
{
	const struct drm_tenon_queue_create *made = &self->q.made;
	size_t bytes = made->device_bytes;
	char *at = (char *)self->q.device, before[PAGE], after[PAGE], forged[PAGE];
	int mem = open("/proc/self/mem", O_RDWR), again;

	put(&self->q, TDI_OP_NOP);
	ASSERT_EQ(TDI_SC_OK, run(&self->q));
	memset(forged, 0xff, sizeof(forged));
	EXPECT_EQ(EACCES, map(self->fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made->device_offset));
	EXPECT_EQ(EACCES, map(self->fd, bytes, PROT_WRITE, MAP_SHARED, made->device_offset));
	EXPECT_EQ(EINVAL, map(self->fd, bytes, PROT_READ, MAP_PRIVATE, made->device_offset));
	EXPECT_EQ(EINVAL, map(self->fd, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, made->device_offset));
	EXPECT_EQ(-1, mprotect(at, bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	ASSERT_LE(0, mem);
	for (size_t page = 0; page < bytes; page += PAGE) {
		struct iovec from = { forged, sizeof(forged) }, to = { at + page, sizeof(forged) };
		pid_t child;

		memcpy(before, at + page, PAGE);
		EXPECT_EQ(-1, mprotect(at + page, PAGE, PROT_WRITE));
		EXPECT_EQ(-1, process_vm_writev(getpid(), &from, 1, &to, 1, 0));
		EXPECT_EQ(-1, pwrite(mem, forged, 8, (off_t)(uintptr_t)(at + page)));
		EXPECT_EQ(-1, read(open("/dev/zero", O_RDONLY), at + page, 8));
		/* As its debugger. */
		child = fork();
		if (!child) {
			int file = open("/proc/self/mem", O_RDONLY);

			(void)file;
			ptrace(PTRACE_TRACEME, 0, NULL, NULL);
			/* A child has no rings, but those that it maps itself. */
			if (mmap(at, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, self->fd, (off_t)made->device_offset) != at)
				_exit(1);
			raise(SIGSTOP);
			_exit(0);
		}
		{
			int status;

			ASSERT_EQ(child, waitpid(child, &status, 0));
			ASSERT_TRUE(WIFSTOPPED(status));
			EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, child, at + page, (void *)-1L));
			ptrace(PTRACE_KILL, child, NULL, NULL);
			kill(child, SIGKILL);
			ASSERT_EQ(child, waitpid(child, &status, 0));
		}
		memcpy(after, at + page, PAGE);
		if (!page) {
			/* The device itself says when it polls and when it sleeps. */
			const size_t flags = offsetof(struct tdi_device_page, flags);

			EXPECT_EQ(0, self->q.device->flags & ~(TDI_NEED_DOORBELL | TDI_NEED_KICK));
			memcpy(after + flags, before + flags, sizeof(self->q.device->flags));
		}
		EXPECT_EQ(0, memcmp(before, after, PAGE))
			TH_LOG("page %zu", page / PAGE);
	}
	/* Opened once more it is another context. */
	{
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
		again = open(path, O_RDWR);
		ASSERT_LE(0, again);
		EXPECT_EQ(EINVAL, map(again, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made->device_offset));
		EXPECT_EQ(EINVAL, map(again, made->tenant_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made->tenant_offset));
		close(again);
		/* Nor can it be read and written as a file. */
		EXPECT_EQ(-1, pwrite(self->fd, forged, 8, (off_t)made->device_offset));
		EXPECT_EQ(-1, pread(self->fd, forged, 8, (off_t)made->device_offset));
		EXPECT_EQ(-1, ftruncate(self->fd, 0));
	}
	close(mem);
}

/* A mapping covers an area, all of it and nothing more. */
TEST_F(pages, offsets)
{
	const struct drm_tenon_queue_create *made = &self->q.made, *other = &self->victim.made;
	const uint64_t offset[] = { made->tenant_offset, made->device_offset, made->doorbell_offset };
	const size_t bytes[] = { made->tenant_bytes, made->device_bytes, PAGE };
	const uint64_t foreign[] = { other->tenant_offset, other->device_offset, other->doorbell_offset };
	const size_t foreign_bytes[] = { other->tenant_bytes, other->device_bytes, PAGE };
	static const int prot[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_WRITE };

	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(0, map(self->fd, bytes[i], prot[i], MAP_SHARED, offset[i]));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i] + PAGE, prot[i], MAP_SHARED, offset[i]));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i] + 1, prot[i], MAP_SHARED, offset[i]));
		EXPECT_EQ(EINVAL, map(self->fd, 1 << 24, prot[i], MAP_SHARED, offset[i]));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i], prot[i], MAP_PRIVATE, offset[i]));
		if (bytes[i] > PAGE) {
			EXPECT_EQ(EINVAL, map(self->fd, bytes[i] - PAGE, prot[i], MAP_SHARED, offset[i]));
			EXPECT_EQ(EINVAL, map(self->fd, bytes[i] - PAGE, prot[i], MAP_SHARED, offset[i] + PAGE));
			EXPECT_EQ(EINVAL, map(self->fd, PAGE, prot[i], MAP_SHARED, offset[i]));
		}
		/* That of another, of nobody, and next to one's own. */
		EXPECT_EQ(EINVAL, map(self->fd, foreign_bytes[i], prot[i], MAP_SHARED, foreign[i]));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i], prot[i], MAP_SHARED, offset[i] + PAGE));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i], prot[i], MAP_SHARED, offset[i] - PAGE));
		EXPECT_EQ(EINVAL, map(self->fd, bytes[i], prot[i], MAP_SHARED, offset[i] ^ 1ULL << 36));
	}
	for (unsigned int shift = 12; shift < 44; shift++)
		EXPECT_NE(0, map(self->fd, PAGE, PROT_READ, MAP_SHARED, 1ULL << shift));
	/* A buffer's offset is the same number in all files. */
	EXPECT_EQ(0, map(self->victim_fd, PAGE, PROT_READ, MAP_SHARED, self->treasure.offset));
	EXPECT_EQ(EACCES, map(self->fd, PAGE, PROT_READ, MAP_SHARED, self->treasure.offset));
	EXPECT_EQ(EACCES, map(self->fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->treasure.offset));
	/* With one's own buffer nothing comes along. */
	EXPECT_NE(0, map(self->fd, 2 * PAGE, PROT_READ, MAP_SHARED, self->a.offset));
}

/* What is mapped can be unmapped in part and moved, but not grown. */
TEST_F(pages, change)
{
	struct queue *q = &self->q;
	const struct drm_tenon_queue_create *made = &q->made;
	void *areas[] = { q->producer, (void *)q->device, (void *)q->doorbell };
	const size_t bytes[] = { made->tenant_bytes, made->device_bytes, PAGE };
	char *moved;

	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(MAP_FAILED, mremap(areas[i], bytes[i], bytes[i] + PAGE, 0));
		EXPECT_EQ(MAP_FAILED, mremap(areas[i], bytes[i], 4 * bytes[i], MREMAP_MAYMOVE));
		/* Of no bytes: a second mapping of the same. */
		moved = mremap(areas[i], 0, bytes[i] + PAGE, MREMAP_MAYMOVE);
		EXPECT_EQ(MAP_FAILED, moved);
	}
	/* The doorbell and the tail move: the ring works on. */
	moved = mremap((void *)q->doorbell, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ASSERT_NE(MAP_FAILED, moved);
	q->doorbell = (volatile uint32_t *)moved;
	for (unsigned int i = 0; i < 300; i++) {
		put(q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(q));
	}
	/* The end of the CQ and of the SQ go, where no command is. */
	munmap((char *)q->sq + 200 * sizeof(*q->sq) / PAGE * PAGE, PAGE);
	munmap((char *)q->cq + PAGE, PAGE);
	put(q, TDI_OP_NOP);
	ASSERT_EQ(TDI_SC_OK, run(q));
	/* All of it, with a command under way that ends without anybody. */
	put_wait(q, self->a.id, 0, 1, SECOND / 100);
	ASSERT_EQ(0, submit(q));
	queue_unmap(q);
	EXPECT_EQ(0, queue_wait(self->fd, made->queue, q->tail, now_ns() + LONG));
	ASSERT_EQ(0, queue_map(q));
	EXPECT_EQ(TDI_SC_TIMEOUT, take(q).status);
}

/* New memory is zero, whoever had it before. */
TEST_F(pages, nothing_left)
{
	struct buffer b[64];
	struct queue q[8];

	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(b); i++) {
			ASSERT_EQ(0, buffer_make(self->fd, 4 * PAGE, i % 2 ? RW : 0, &b[i]));
			ASSERT_TRUE(all_bytes(b[i].data, 0, b[i].size));
			memset(b[i].data, 0x5a, b[i].size);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(q); i++) {
			ASSERT_EQ(0, queue_make(self->fd, 256, -1, &q[i]));
			ASSERT_TRUE(all_bytes((unsigned char *)q[i].sq, 0, 256 * sizeof(*q[i].sq)));
			ASSERT_TRUE(all_bytes((unsigned char *)q[i].producer + 136, 0, PAGE - 136));
			ASSERT_TRUE(all_bytes((unsigned char *)q[i].device + 132, 0, PAGE - 132));
			ASSERT_TRUE(all_bytes((unsigned char *)q[i].kernel, 0, PAGE));
			for (unsigned int j = 0; j < 256; j++)
				ASSERT_TRUE(all_bytes((unsigned char *)&q[i].cq[j], 0, sizeof(*q[i].cq) - 4));
			memset(q[i].sq, 0x5a, 256 * sizeof(*q[i].sq));
			memset((char *)q[i].producer + 136, 0x5a, PAGE - 136);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(b); i++)
			buffer_end(&b[i]);
		for (unsigned int i = 0; i < ARRAY_SIZE(q); i++) {
			queue_unmap(&q[i]);
			ASSERT_EQ(0, queue_destroy(self->fd, q[i].made.queue));
		}
	}
}

/* The doorbell of a queue that has ended is memory that nobody reads: the device's own reads as 0. [QUE-23] */
TEST_F(pages, doorbell_taken_back)
{
	struct queue q;

	ASSERT_EQ(0, queue_make(self->fd, 64, -1, &q));
	*q.doorbell = 0x5a5a5a5a;
	ASSERT_EQ(0, *q.doorbell);
	ASSERT_EQ(0, queue_destroy(self->fd, q.made.queue));
	*q.doorbell = 0x5a5a5a5a;
	ASSERT_EQ(0x5a5a5a5a, *q.doorbell);
	queue_unmap(&q);
}

TEST_HARNESS_MAIN
