/* SPDX-License-Identifier: MIT */
/* What a tenant can't do with the memory and the descriptors that it shares with tenond. */
#include "attacker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------ sealed memory */

static sigjmp_buf fault_return;

static void on_fault(int signal)
{
	siglongjmp(fault_return, 1);
}

/* Does a store there end in a fault? */
static bool store_faults(void *address)
{
	struct sigaction action = { .sa_handler = on_fault }, old;
	volatile bool faulted = false;

	sigaction(SIGSEGV, &action, &old);
	if (!sigsetjmp(fault_return, 1))
		*(volatile uint8_t *)address = 0xff;
	else
		faulted = true;
	sigaction(SIGSEGV, &old, NULL);
	return faulted;
}

/* Every way to write to the mapping of @bytes at @page, or to the descriptor that it comes from, is refused.
 */
static void refuse_writing(const struct raw_queue *q, uint8_t *page, int fd, size_t bytes)
{
	uint8_t byte = 0xff;
	struct iovec local = { &byte, 1 }, remote = { page, 1 };
	off_t at = 0;
	int pipes[2], mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	void *map;

	assert_true(store_faults(page));
	assert_int_equal(mprotect(page, bytes, PROT_READ | PROT_WRITE), -1);
	assert_true(store_faults(page));
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map == MAP_FAILED);
	map = mmap(NULL, bytes, PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map == MAP_FAILED);

	/* A private copy is no way either. */
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(map != MAP_FAILED);
	memset(map, 0xff, bytes);
	munmap(map, bytes);

	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, (off_t)bytes + 4096), -1);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes), -1);
	assert_int_equal(fallocate(fd, 0, 0, (off_t)q->device_bytes + 1), -1);
	assert_int_equal(write(fd, &byte, 1), -1);
	assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
	assert_int_equal(madvise(page, bytes, MADV_REMOVE), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(fcntl(fd, F_GET_SEALS),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE);
	assert_int_equal(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), -1);
	if (mem >= 0) {
		assert_int_equal(pwrite(mem, &byte, 1, (off_t)(uintptr_t)page), -1);
		close(mem);
	}
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(write(pipes[1], &byte, 1), 1);
	assert_int_equal(splice(pipes[0], NULL, fd, &at, 1, SPLICE_F_NONBLOCK), -1);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(sendfile(fd, q->fd[TENON_FD_TENANT], &at, 4096), -1);
}

/* [SOC-13, SOC-14, QUE-28, QUE-3] Device page, kernel page and CQ can't be written, whatever the tenant
 * tries. */
static void test_sealed(void **state)
{
	struct fixture *f = *state;
	struct tdi_device_page *device;
	struct raw_queue *q = &f->q;
	uint8_t *before;
	char path[64];
	int again;

	still_works(f);
	sleep_ns(5000000);	/* it sleeps: nothing of the pages changes by itself */
	before = malloc(q->device_bytes);
	assert_non_null(before);
	memcpy(before, q->device, q->device_bytes);

	refuse_writing(q, (uint8_t *)(uintptr_t)q->device, q->fd[TENON_FD_DEVICE], q->device_bytes);
	refuse_writing(q, (uint8_t *)(uintptr_t)q->kernel, q->fd[TENON_FD_DEVICE], 4096);
	refuse_writing(q, (uint8_t *)(uintptr_t)q->cq, q->fd[TENON_FD_DEVICE], 4096);
	assert_true(store_faults((uint8_t *)(uintptr_t)q->cq + q->device_bytes - 2 * TDI_PAGE_SIZE - 1));

	/* Opened anew. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", q->fd[TENON_FD_DEVICE]);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again >= 0) {
		device = mmap(NULL, q->device_bytes, PROT_READ, MAP_SHARED, again, 0);
		assert_true(device != MAP_FAILED);
		refuse_writing(q, (uint8_t *)device, again, q->device_bytes);
		munmap(device, q->device_bytes);
		close(again);
	}
	assert_int_equal(open(path, O_RDWR | O_TRUNC | O_CLOEXEC), -1);
	assert_memory_equal(before, q->device, q->device_bytes);
	free(before);
	still_works(f);
}

/* [SOC-13] What the tenant may write keeps its size: nobody gets SIGBUS. */
static void test_sizes_sealed(void **state)
{
	struct fixture *f = *state;
	const int fds[] = { f->a.fd, f->q.fd[TENON_FD_TENANT], f->q.fd[TENON_FD_DEVICE] };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(ftruncate(fds[i], 0), -1);
		assert_int_equal(ftruncate(fds[i], 4096), -1);
		assert_int_equal(ftruncate(fds[i], 1 << 30), -1);
		assert_int_equal(fallocate(fds[i], FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -1);
		assert_int_equal(fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE), -1);
		assert_int_equal(fcntl(fds[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	}
	still_works(f);
}

struct puncher {
	pthread_t thread;
	uint32_t stop;
	void *at;
	size_t bytes;
};

static void *punch(void *arg)
{
	struct puncher *p = arg;

	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED))
		madvise(p->at, p->bytes, MADV_REMOVE);
	return NULL;
}

/* Holes in buffers while commands use them: they read as zero, and the device fills them. */
static void test_holes(void **state)
{
	struct fixture *f = *state;
	struct puncher punchers[2];
	struct tdi_context_status status;
	struct raw_buffer big;
	struct raw_queue q;
	struct tdi_cqe cqe;
	uint64_t end = now_ns() + 500000000;
	unsigned int i;

	raw_buffer(&f->r, 2 << 20, RW, &big);
	for (i = 0; i < ARRAY_SIZE(punchers); i++) {
		punchers[i] = (struct puncher){ .at = big.data, .bytes = big.mapped };
		assert_int_equal(pthread_create(&punchers[i].thread, NULL, punch, &punchers[i]), 0);
	}
	for (i = 0; i < 4 || now_ns() < end; i++) {
		if (i % 2)
			put_fill(raw_sqe(&f->q), big.id, 0, big.bytes, i, 8);
		else
			put_copy(raw_sqe(&f->q), big.id, 1 << 20, big.id, 0, 1 << 20);
		cqe = raw_run(&f->q);
		assert_int_equal(cqe.status, TDI_SC_OK);
	}
	for (i = 0; i < ARRAY_SIZE(punchers); i++) {
		__atomic_store_n(&punchers[i].stop, 1, __ATOMIC_RELAXED);
		assert_int_equal(pthread_join(punchers[i].thread, NULL), 0);
	}
	raw_buffer_unmap(&big);

	/* The rings themselves. With one entry the fifth command has index 0: then a hole is a tail that
	 * fits. */
	raw_queue(&f->r, 1, &q);
	for (i = 0; i < 4; i++) {
		raw_sqe(&q);
		raw_run(&q);
	}
	assert_int_equal(q.next, 0);
	punchers[0] = (struct puncher){ .at = q.producer, .bytes = q.tenant_bytes };
	assert_int_equal(pthread_create(&punchers[0].thread, NULL, punch, &punchers[0]), 0);
	end = now_ns() + 500000000;
	for (i = 0; i < 20 || now_ns() < end; i++) {
		raw_kick(&q);
		if (i % 20 == 0)
			raw_status(&f->r, &status);
	}
	__atomic_store_n(&punchers[0].stop, 1, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(punchers[0].thread, NULL), 0);
	raw_status(&f->r, &status);
	assert_int_equal(status_of(&status, q.id)->state, TDI_QUEUE_RUNNING);
	raw_sqe(&q);
	cqe = raw_run(&q);
	assert_int_equal(cqe.status, TDI_SC_OK);
	raw_queue_unmap(&q);

	/* In a queue that is 256 commands short of index 0 it is a lie. */
	raw_queue(&f->r, 64, &q);
	assert_int_equal(madvise(q.producer, q.tenant_bytes, MADV_REMOVE), 0);
	raw_kick(&q);
	AWAIT(tenon_load(&q.kernel->flags) & TDI_KERNEL_DEAD);
	raw_status(&f->r, &status);
	assert_int_equal(status_of(&status, q.id)->state, TDI_QUEUE_STOPPED);
	assert_int_equal(status_of(&status, q.id)->reason, TDI_STOP_TAIL_AHEAD);
	raw_queue_unmap(&q);
}

/* ------------------------------------------------------------------------------ kick and notice */

/* [SOC-19] Whatever is done to the kick's descriptor. */
static void test_kick(void **state)
{
	struct fixture *f = *state;
	uint64_t most = UINT64_MAX - 1, value;
	int fd = f->q.fd[TENON_FD_KICK], flags;
	struct tdi_cqe cqe;
	unsigned int i;

	sleep_ns(5000000);
	flags = fcntl(fd, F_GETFL);
	while (write(fd, &most, sizeof(most)) < 0)
		assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	/* The counter is full and the description blocks: tenond must not try to read or write it. */
	bystander_check(&bystander);
	memset(&f->q.sq[f->q.next & f->q.mask], 0, sizeof(*f->q.sq));
	tenon_store_release(&f->q.producer->tail, ++f->q.next);
	/* A tenant that takes its own kicks back harms itself at most. */
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	for (i = 0; i < 1000; i++) {
		value = UINT64_MAX - 2;
		assert_int_equal(write(fd, &value, sizeof(value)), sizeof(value));
		assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	}
	value = UINT64_MAX - 1;
	assert_int_equal(write(fd, &value, sizeof(value)), sizeof(value));
	assert_true(raw_reap(&f->q, &cqe, SOON_NS));
	assert_int_equal(cqe.status, TDI_SC_OK);
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(fcntl(fd, F_SETFL, flags | O_ASYNC), 0);
	assert_int_equal(fcntl(fd, F_SETOWN, getpid()), 0);
	still_works(f);

	/* Without it: what was kicked before goes on, the queue can be destroyed. */
	raw_sqe(&f->q);
	raw_submit(&f->q);
	close(fd);
	f->q.fd[TENON_FD_KICK] = -1;
	sleep_ns(5000000);
	assert_int_equal(raw_queue_destroy(&f->r, f->q.id), 0);
}

/* Ask for a notice of each of @count commands and run them. */
static void run_with_notices(struct fixture *f, unsigned int count)
{
	struct tdi_cqe cqe;

	while (count--) {
		tenon_store(&f->q.producer->wanted, f->q.next + 1);
		raw_sqe(&f->q);
		cqe = raw_run(&f->q);
		assert_int_equal(cqe.status, TDI_SC_OK);
	}
}

/* [SOC-20] Nobody reads the notices; the other end is shut, filled, closed. */
static void test_notices(void **state)
{
	struct fixture *f = *state;
	struct pollfd ready = { .fd = f->q.fd[TENON_FD_NOTICE], .events = POLLIN };
	struct daemon_stats before, after;
	char bytes[4096];
	struct tdi_cqe cqe;
	ssize_t got = 0, n;

	run_with_notices(f, 1);
	assert_int_equal(poll(&ready, 1, (int)(SOON_NS / 1000000)), 1);
	run_with_notices(f, 3000);
	do {
		n = recv(ready.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		got += n > 0 ? n : 0;
	} while (n > 0);
	assert_true(n < 0 && errno == EAGAIN);
	/* Little is kept of what isn't read. */
	assert_in_range(got, 1, 64);

	/* Nothing can be sent the other way, descriptors least of all. */
	daemon_stats(&the_daemon, &before);
	assert_int_equal(send(ready.fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT), -1);
	assert_int_equal(errno, EPIPE);
	daemon_stats(&the_daemon, &after);
	assert_int_equal(before.fds, after.fds);

	assert_int_equal(shutdown(ready.fd, SHUT_RD), 0);
	run_with_notices(f, 100);
	close(ready.fd);
	f->q.fd[TENON_FD_NOTICE] = -1;
	run_with_notices(f, 100);

	/* [WAI-13] Any value in W. */
	tenon_store(&f->q.producer->wanted, f->q.next - 12345);
	tenon_store(&f->q.producer->wanted_kernel, f->q.next + 1);
	raw_sqe(&f->q);
	cqe = raw_run(&f->q);
	assert_int_equal(cqe.status, TDI_SC_OK);
}

static void *read_notice(void *arg)
{
	void **to = arg;
	ssize_t n = read((int)(intptr_t)to[0], to[1], 4096);

	return (void *)(intptr_t)n;
}

/*
 * [SOC-20] A reader that doesn't get on: its page is never served, and with it whatever lock the kernel keeps
 * for the reader. The same can be had without privilege from a file on FUSE.
 */
static void test_stuck_reader(void **state)
{
	struct fixture *f = *state;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { 0 };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *page, *args[2], *result;
	pthread_t reader;

	run_with_notices(f, 1);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
		print_message("# this user may not serve his own page faults: not tried\n");
		return;
	}
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	range.range.start = zero.range.start = (uintptr_t)page;
	range.range.len = zero.range.len = 4096;
	assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &range), 0);
	args[0] = (void *)(intptr_t)f->q.fd[TENON_FD_NOTICE];
	args[1] = page;
	assert_int_equal(pthread_create(&reader, NULL, read_notice, args), 0);
	sleep_ns(50000000);
	run_with_notices(f, 20);
	bystander_check(&bystander);
	assert_int_equal(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
	assert_int_equal(pthread_join(reader, &result), 0);
	assert_true((intptr_t)result >= 1);
	munmap(page, 4096);
	close(uffd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sealed), TEST(sizes_sealed), TEST(holes), TEST(kick), TEST(notices),
		TEST(stuck_reader),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("shared", tests, group_setup, group_teardown);
}
