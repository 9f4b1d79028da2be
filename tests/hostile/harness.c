/* SPDX-License-Identifier: MIT */
/* See harness.h. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&t, NULL);
}

uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

pid_t spawn(void)
{
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(99);
	}
	return pid;
}

void join(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		print_error("process ended with status %#x\n", status);
	assert_int_equal(status, 0);
}

/* ---------------------------------------------------------------------------------- tenond */

static _Noreturn void daemon_exec(const struct daemon *d, const char *const *args, uid_t uid, int out)
{
	const char *argv[32];
	char attach[128];
	int argc = 0;

	snprintf(attach, sizeof(attach), "unix:%s", d->path);
	argv[argc++] = TENOND;
	argv[argc++] = "--attach";
	argv[argc++] = attach;
	argv[argc++] = "--mode";
	argv[argc++] = "0666";
	while (*args)
		argv[argc++] = *args++;
	argv[argc] = NULL;
	dup2(out, 1);
	if (uid && (setgroups(0, NULL) || setgid((gid_t)uid) || setuid(uid)))
		_exit(98);
	/* setuid() forgets it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(TENOND, (char *const *)(uintptr_t)argv);
	_exit(97);
}

void daemon_start(struct daemon *d, const char *const *args, uid_t uid)
{
	const char *tmp = getenv("TMPDIR");
	char line[32] = "";
	int out[2];

	snprintf(d->directory, sizeof(d->directory), "%.30s/tenon-hostile-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(d->directory));
	assert_int_equal(chmod(d->directory, 0777), 0);
	snprintf(d->path, sizeof(d->path), "%s/s", d->directory);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	d->pid = spawn();
	if (!d->pid)
		daemon_exec(d, args, uid, out[1]);
	close(out[1]);
	assert_true(read(out[0], line, sizeof(line) - 1) > 0);
	close(out[0]);
	assert_memory_equal(line, "tenond: ready", 13);
}

static void daemon_clean(struct daemon *d)
{
	unlink(d->path);
	assert_int_equal(rmdir(d->directory), 0);
	d->pid = 0;
}

void daemon_stop(struct daemon *d)
{
	assert_int_equal(kill(d->pid, SIGTERM), 0);
	join(d->pid);
	assert_int_equal(access(d->path, F_OK), -1);
	daemon_clean(d);
}

void daemon_kill(struct daemon *d)
{
	int status;

	assert_int_equal(kill(d->pid, SIGKILL), 0);
	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	daemon_clean(d);
}

static void look(const struct daemon *d, struct daemon_stats *stats)
{
	char path[64], line[512];
	struct dirent *entry;
	FILE *file;
	DIR *dir;

	memset(stats, 0, sizeof(*stats));
	snprintf(path, sizeof(path), "/proc/%d/status", d->pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %ld kB", &stats->rss_kib) != 1)
			sscanf(line, "Threads: %ld", &stats->threads);
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/maps", d->pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		stats->maps += strchr(line, '\n') != NULL;
	fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/fd", d->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		stats->fds += entry->d_name[0] != '.';
	closedir(dir);
}

void daemon_stats(const struct daemon *d, struct daemon_stats *stats)
{
	struct daemon_stats last;
	unsigned int same = 0;

	look(d, stats);
	while (same < 10) {
		last = *stats;
		sleep_ns(5000000);
		look(d, stats);
		same = last.fds == stats->fds && last.maps == stats->maps ? same + 1 : 0;
	}
}

/* ------------------------------------------------------------------------------ the other tenant */

#define BY_WORDS	16384		/* of src and dst */
#define BY_ROWS		16
#define BY_N		12		/* of the matrices */

struct by {
	struct bystander_page *page;
	struct tenon_context *context;
	struct tenon_queue *queue;
	struct tenon_buffer *src, *dst, *semaphore, *matrices;
	struct tenon_op *matmul;
	uint64_t submitted[TDI_USAGE_KINDS];
	uint64_t start;
};

static _Noreturn void by_fail(struct by *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(b->page->failure, sizeof(b->page->failure), format, args);
	va_end(args);
	_exit(1);
}

static void by_open(struct by *b, const char *path)
{
	const uint32_t rights = TDI_BUFFER_READ | TDI_BUFFER_WRITE;
	int err;

	err = tenon_open(path, NULL, &b->context);
	if (!err)
		err = tenon_queue_create(b->context, 32, NULL, &b->queue);
	if (!err)
		err = tenon_buffer_create(b->context, 8 * BY_WORDS, rights, &b->src);
	if (!err)
		err = tenon_buffer_create(b->context, 8 * BY_WORDS, rights, &b->dst);
	if (!err)
		err = tenon_buffer_create(b->context, 8, rights, &b->semaphore);
	if (!err)
		err = tenon_buffer_create(b->context, 3 * 4 * BY_N * BY_N, rights, &b->matrices);
	if (!err) {
		const struct tdi_op op = tenon_op_plain(TDI_TENSOR_MATMUL, 2);
		const uint32_t id = tenon_buffer_id(b->matrices);
		const struct tdi_tensor tensors[] = {
			matrix(id, 0, BY_N, BY_N),
			matrix(id, 4 * BY_N * BY_N, BY_N, BY_N),
			matrix(id, 8 * BY_N * BY_N, BY_N, BY_N),
		};

		err = tenon_op_create(b->context, &op, tensors, &b->matmul);
	}
	if (err)
		by_fail(b, "set-up: %d: %s", err, tenon_errstr(b->context));
}

static struct tdi_sqe *by_sqe(struct by *b, unsigned int kind)
{
	struct tdi_sqe *sqe = tenon_sqe_get(b->queue);

	if (!sqe)
		by_fail(b, "no room in an empty queue");
	b->submitted[kind]++;
	return sqe;
}

static void by_submit(struct by *b, uint64_t round)
{
	float *a = tenon_buffer_data(b->matrices);
	uint64_t tag = round << 8;
	unsigned int i;

	memset(tenon_buffer_data(b->dst), 0x5a, 8 * BY_WORDS);
	tenon_prep_fill(by_sqe(b, TDI_OP_FILL), b->src, 0, 8 * BY_WORDS, round * 0x9e3779b97f4a7c15ULL, 8,
			tag);
	tenon_prep_copy(by_sqe(b, TDI_OP_COPY), b->dst, 4096, b->src, 4096, 32768, tag + 1);
	tenon_prep_copy(by_sqe(b, TDI_OP_COPY), b->dst, 65536, b->src, 0, 1000, tag + 2);
	tenon_prep_signal(by_sqe(b, TDI_OP_SIGNAL), b->semaphore, 0, round, TDI_SIGNAL_MAX, tag + 3);
	tenon_prep_wait(by_sqe(b, TDI_OP_WAIT), b->semaphore, 0, round, SOON_NS, tag + 4);
	tenon_prep_nop(by_sqe(b, TDI_OP_NOP), tag + 5);
	/* The copy of rows. */
	b->queue->sq[(b->queue->sq_next - 4) & b->queue->mask].copy.rows = BY_ROWS;
	b->queue->sq[(b->queue->sq_next - 4) & b->queue->mask].copy.dst_pitch = 1504;
	b->queue->sq[(b->queue->sq_next - 4) & b->queue->mask].copy.src_pitch = 2000;
	for (i = 0; i < 2 * BY_N * BY_N; i++)
		a[i] = (float)((round * 31 + i * 7) % 17) - 8;
	tenon_prep_op(by_sqe(b, 6), b->matmul, tag + 6);
	if (tenon_submit(b->queue))
		by_fail(b, "round %llu: submit", (unsigned long long)round);
}

static void by_reap(struct by *b, uint64_t round)
{
	uint64_t tag = round << 8, start = now_ns(), took;
	const unsigned int count = 7;
	unsigned int i;
	int err = tenon_wait(b->queue, count, SOON_NS);

	took = now_ns() - start;
	if (err)
		by_fail(b, "round %llu: wait: %d", (unsigned long long)round, err);
	if (took > b->page->worst_ns)
		__atomic_store_n(&b->page->worst_ns, took, __ATOMIC_RELAXED);
	for (i = 0; i < count; i++) {
		const struct tdi_cqe *cqe = tenon_cqe_peek(b->queue);

		if (!cqe || cqe->user_data != tag + i || cqe->status || cqe->info)
			by_fail(b, "round %llu, command %u: status %u", (unsigned long long)round, i,
				cqe ? cqe->status : ~0u);
		tenon_cqe_seen(b->queue);
	}
}

static void by_verify(struct by *b, uint64_t round)
{
	const uint64_t pattern = round * 0x9e3779b97f4a7c15ULL;
	const uint64_t *src = tenon_buffer_data(b->src);
	const uint8_t *dst = tenon_buffer_data(b->dst), *bytes = (const uint8_t *)src;
	const float *a = tenon_buffer_data(b->matrices), *y = a + 2 * BY_N * BY_N;
	unsigned int i, row, column;
	float sum;

	for (i = 0; i < BY_WORDS; i++)
		if (src[i] != pattern)
			by_fail(b, "round %llu: FILL, word %u", (unsigned long long)round, i);
	if (!all_bytes(dst, 0x5a, 4096) || memcmp(dst + 4096, bytes + 4096, 32768) ||
	    !all_bytes(dst + 36864, 0x5a, 65536 - 36864))
		by_fail(b, "round %llu: COPY", (unsigned long long)round);
	for (row = 0; row < BY_ROWS; row++)
		if (memcmp(dst + 65536 + 1504 * row, bytes + 2000 * row, 1000) ||
		    !all_bytes(dst + 65536 + 1504 * row + 1000, 0x5a, 504))
			by_fail(b, "round %llu: COPY of rows, row %u", (unsigned long long)round, row);
	if (*(uint64_t *)tenon_buffer_data(b->semaphore) != round)
		by_fail(b, "round %llu: SIGNAL", (unsigned long long)round);
	for (row = 0; row < BY_N; row++) {
		for (column = 0; column < BY_N; column++) {
			for (sum = 0, i = 0; i < BY_N; i++)
				sum += a[row * BY_N + i] * a[BY_N * BY_N + i * BY_N + column];
			/* Small integers: every sum is exact in any order. */
			if (memcmp(&y[row * BY_N + column], &sum, sizeof(sum)))
				by_fail(b, "round %llu: MATMUL", (unsigned long long)round);
		}
	}
}

/* Its own work and nobody else's. [MET-7] */
static void by_usage(struct by *b)
{
	struct tdi_usage usage;
	unsigned int i;
	int err = tenon_context_usage(b->context, &usage);

	if (err)
		by_fail(b, "usage: %d", err);
	for (i = 0; i < TDI_USAGE_KINDS; i++)
		if (usage.commands[i] != b->submitted[i])
			by_fail(b, "usage: %llu commands of kind %u, not %llu",
				(unsigned long long)usage.commands[i], i,
				(unsigned long long)b->submitted[i]);
	if (usage.errors || usage.busy_ns > now_ns() - b->start)
		by_fail(b, "usage: %llu errors, busy %llu ns", (unsigned long long)usage.errors,
			(unsigned long long)usage.busy_ns);
}

static _Noreturn void by_main(struct bystander_page *page, const char *path)
{
	struct by b = { .page = page, .start = now_ns() };
	uint64_t round;

	by_open(&b, path);
	for (round = 1; !__atomic_load_n(&page->stop, __ATOMIC_RELAXED); round++) {
		by_submit(&b, round);
		by_reap(&b, round);
		by_verify(&b, round);
		if (round % 16 == 1)
			by_usage(&b);
		__atomic_store_n(&page->rounds, round, __ATOMIC_RELEASE);
		sleep_ns(500000);
	}
	by_usage(&b);
	tenon_close(b.context);
	_exit(0);
}

void bystander_start(struct bystander *b, const struct daemon *d)
{
	memset(b, 0, sizeof(*b));
	b->page = mmap(NULL, sizeof(*b->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(b->page != MAP_FAILED);
	b->pid = spawn();
	if (!b->pid)
		by_main(b->page, d->path);
	bystander_check(b);
}

void bystander_check(struct bystander *b)
{
	uint64_t deadline = now_ns() + SOON_NS, rounds;

	do {
		sleep_ns(1000000);
		rounds = __atomic_load_n(&b->page->rounds, __ATOMIC_ACQUIRE);
	} while (rounds < b->seen + 3 && !b->page->failure[0] && now_ns() < deadline);
	if (b->page->failure[0])
		print_error("the other tenant: %s\n", b->page->failure);
	assert_int_equal(b->page->failure[0], 0);
	assert_true(rounds >= b->seen + 3);
	assert_in_range(b->page->worst_ns, 0, LATENCY_NS);
	b->seen = rounds;
}

void bystander_stop(struct bystander *b)
{
	bystander_check(b);
	__atomic_store_n(&b->page->stop, 1, __ATOMIC_RELAXED);
	join(b->pid);
	assert_int_equal(b->page->failure[0], 0);
	munmap(b->page, sizeof(*b->page));
}

/* -------------------------------------------------------------------- a client without manners */

int raw_connect(const struct daemon *d)
{
	const struct timeval patience = { .tv_sec = SOON_NS / 1000000000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	strcpy(address.sun_path, d->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* One message with its descriptors; its size, 0 or -1 as recvmsg(). */
static ssize_t receive(int fd, void *to, size_t size, int *fds, unsigned int *count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(TENON_SOCKET_FDS * sizeof(int))];
	} control;
	struct iovec data = { .iov_base = to, .iov_len = size };
	struct msghdr msg = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t bytes;

	*count = 0;
	if (poll(&ready, 1, (int)(SOON_NS / 1000000)) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	do
		bytes = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (bytes < 0 && errno == ECONNRESET);
	if (bytes > 0 && CMSG_FIRSTHDR(&msg)) {
		*count = (unsigned int)((CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), *count * sizeof(int));
	}
	return bytes;
}

int raw_call(struct raw *r, uint16_t type, void *msg, size_t size, void *reply, size_t reply_size, int *fds,
	     unsigned int fd_count)
{
	struct tenon_msg *head = msg;
	union {
		struct tenon_reply head;
		char bytes[TENON_SOCKET_MAX];
	} answer;
	int got[TENON_SOCKET_FDS];
	unsigned int count;
	ssize_t bytes;

	*head = (struct tenon_msg){ .size = (uint32_t)size, .type = type, .id = ++r->id };
	if (send(r->fd, msg, size, MSG_NOSIGNAL) < 0)
		return -ENODEV;
	bytes = receive(r->fd, &answer, sizeof(answer), got, &count);
	if (bytes <= 0)
		return -ENODEV;
	/* [SOC-5] */
	assert_int_equal(bytes, answer.head.size);
	assert_int_equal(answer.head.type, type);
	assert_true(answer.head.id == r->id);
	assert_int_equal(answer.head.reserved, 0);
	assert_int_equal(answer.head.reserved1, 0);
	/* [SOC-8] */
	assert_int_equal(count, answer.head.error ? 0 : fd_count);
	if (answer.head.error)
		assert_int_equal(bytes, sizeof(answer.head));
	else
		assert_int_equal(bytes, reply_size);
	memset(reply, 0, reply_size);
	memcpy(reply, &answer, (size_t)bytes);
	if (count)
		memcpy(fds, got, count * sizeof(int));
	return answer.head.error;
}

void raw_open(struct raw *r, const struct daemon *d)
{
	struct tenon_msg_hello msg = { .major = TENON_SOCKET_MAJOR, .minor = TENON_SOCKET_MINOR };

	memset(r, 0, sizeof(*r));
	r->fd = raw_connect(d);
	assert_int_equal(
		raw_call(r, TENON_MSG_HELLO, &msg, sizeof(msg), &r->hello, sizeof(r->hello), NULL, 0), 0);
}

void raw_close(struct raw *r)
{
	close(r->fd);
}

bool raw_ended(int fd)
{
	uint64_t deadline = now_ns() + SOON_NS;
	int got[TENON_SOCKET_FDS];
	char bytes[TENON_SOCKET_MAX];
	unsigned int count;
	ssize_t n;

	do {
		n = receive(fd, bytes, sizeof(bytes), got, &count);
		while (count)
			close(got[--count]);
	} while (n > 0 && now_ns() < deadline);
	return !n || (n < 0 && errno == EPIPE);
}

void raw_buffer(struct raw *r, uint64_t bytes, uint32_t rights, struct raw_buffer *b)
{
	struct tenon_msg_buffer_create msg = { .bytes = bytes, .rights = rights };
	struct tenon_reply_buffer_create reply;

	assert_int_equal(
		raw_call(r, TENON_MSG_BUFFER_CREATE, &msg, sizeof(msg), &reply, sizeof(reply), &b->fd, 1), 0);
	b->id = reply.buffer;
	b->bytes = bytes;
	b->mapped = (bytes + 4095) & ~(size_t)4095;
	b->data = mmap(NULL, b->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	assert_true(b->data != MAP_FAILED);
}

int raw_buffer_destroy(struct raw *r, uint32_t id)
{
	struct tenon_msg_buffer_destroy msg = { .buffer = id };
	struct tenon_reply reply;

	return raw_call(r, TENON_MSG_BUFFER_DESTROY, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
}

void raw_buffer_unmap(struct raw_buffer *b)
{
	munmap(b->data, b->mapped);
	close(b->fd);
}

void raw_queue(struct raw *r, uint32_t depth, struct raw_queue *q)
{
	struct tenon_msg_queue_create msg = { .depth = depth };
	struct tenon_reply_queue_create reply;
	char *tenant, *device;

	memset(q, 0, sizeof(*q));
	assert_int_equal(raw_call(r, TENON_MSG_QUEUE_CREATE, &msg, sizeof(msg), &reply, sizeof(reply), q->fd,
				  TENON_SOCKET_FDS), 0);
	q->id = reply.queue;
	q->depth = depth;
	q->mask = depth - 1;
	q->next = q->head = reply.first;
	q->tenant_bytes = TDI_PAGE_SIZE + ((depth * sizeof(struct tdi_sqe) + 4095) & ~(size_t)4095);
	q->device_bytes = 2 * TDI_PAGE_SIZE + ((depth * sizeof(struct tdi_cqe) + 4095) & ~(size_t)4095);
	tenant = mmap(NULL, q->tenant_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd[TENON_FD_TENANT], 0);
	device = mmap(NULL, q->device_bytes, PROT_READ, MAP_SHARED, q->fd[TENON_FD_DEVICE], 0);
	assert_true(tenant != MAP_FAILED && device != MAP_FAILED);
	q->producer = (void *)tenant;
	q->sq = (void *)(tenant + TDI_PAGE_SIZE);
	q->device = (void *)device;
	q->kernel = (void *)(device + TDI_PAGE_SIZE);
	q->cq = (void *)(device + 2 * TDI_PAGE_SIZE);
}

int raw_queue_destroy(struct raw *r, uint32_t id)
{
	struct tenon_msg_queue_destroy msg = { .queue = id };
	struct tenon_reply reply;

	return raw_call(r, TENON_MSG_QUEUE_DESTROY, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0);
}

void raw_queue_unmap(struct raw_queue *q)
{
	unsigned int i;

	munmap(q->producer, q->tenant_bytes);
	munmap((void *)(uintptr_t)q->device, q->device_bytes);
	for (i = 0; i < TENON_SOCKET_FDS; i++)
		if (q->fd[i] >= 0)
			close(q->fd[i]);
}

void raw_status(struct raw *r, struct tdi_context_status *status)
{
	struct tenon_reply_status reply;
	struct tenon_msg msg;

	assert_int_equal(raw_call(r, TENON_MSG_STATUS, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0), 0);
	*status = reply.status;
}

const struct tdi_queue_status *status_of(const struct tdi_context_status *status, uint32_t queue)
{
	unsigned int i;

	for (i = 0; i < status->queues; i++)
		if (status->queue[i].queue == queue)
			return &status->queue[i];
	fail_msg("queue %u is not in the status", queue);
	return NULL;
}

void raw_usage(struct raw *r, struct tdi_usage *usage)
{
	struct tenon_reply_usage reply;
	struct tenon_msg msg;

	assert_int_equal(raw_call(r, TENON_MSG_USAGE, &msg, sizeof(msg), &reply, sizeof(reply), NULL, 0), 0);
	*usage = reply.usage;
}

struct tdi_sqe *raw_sqe(struct raw_queue *q)
{
	struct tdi_sqe *sqe = &q->sq[q->next & q->mask];

	assert_true(q->next - q->head < q->depth);
	q->next++;
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

void raw_kick(struct raw_queue *q)
{
	uint64_t one = 1;

	assert_int_equal(write(q->fd[TENON_FD_KICK], &one, sizeof(one)), sizeof(one));
}

void raw_submit(struct raw_queue *q)
{
	if (tenon_ring_publish(q->producer, q->device, q->kernel, q->next))
		raw_kick(q);
}

bool raw_reap(struct raw_queue *q, struct tdi_cqe *cqe, uint64_t ns)
{
	const struct tdi_cqe *slot = &q->cq[q->head & q->mask];
	uint64_t start = now_ns();

	while (!tenon_reached(tenon_load_acquire(&slot->sequence), q->head + 1)) {
		if (now_ns() - start >= ns)
			return false;
		sleep_ns(20000);
	}
	*cqe = *slot;
	/* [QUE-1, QUE-11] */
	assert_int_equal(cqe->sequence, q->head + 1);
	assert_int_equal(cqe->reserved, 0);
	q->head++;
	return true;
}

struct tdi_cqe raw_run(struct raw_queue *q)
{
	struct tdi_cqe cqe;

	raw_submit(q);
	assert_true(raw_reap(q, &cqe, SOON_NS));
	return cqe;
}

void put_copy(struct tdi_sqe *sqe, uint32_t dst, uint64_t dst_offset, uint32_t src, uint64_t src_offset,
	      uint64_t bytes)
{
	sqe->opcode = TDI_OP_COPY;
	sqe->copy = (struct tdi_copy){ .dst = dst,
				       .src = src,
				       .dst_offset = dst_offset,
				       .src_offset = src_offset,
				       .row_bytes = bytes,
				       .rows = 1 };
}

void put_fill(struct tdi_sqe *sqe, uint32_t dst, uint64_t offset, uint64_t bytes, uint64_t pattern,
	      uint32_t width)
{
	sqe->opcode = TDI_OP_FILL;
	sqe->fill = (struct tdi_fill){ .dst = dst, .width = width, .offset = offset, .bytes = bytes,
				       .pattern = pattern };
}

void put_signal(struct tdi_sqe *sqe, uint32_t buffer, uint64_t offset, uint64_t value)
{
	sqe->opcode = TDI_OP_SIGNAL;
	sqe->signal = (struct tdi_signal){ .buffer = buffer, .mode = TDI_SIGNAL_MAX, .offset = offset,
					   .value = value };
}

void put_wait(struct tdi_sqe *sqe, uint32_t buffer, uint64_t offset, uint64_t ref, uint64_t timeout_ns)
{
	sqe->opcode = TDI_OP_WAIT;
	sqe->wait =
		(struct tdi_wait){ .buffer = buffer, .offset = offset, .ref = ref, .timeout_ns = timeout_ns };
}

bool all_bytes(const void *data, uint8_t value, size_t bytes)
{
	const uint8_t *byte = data;

	return !bytes || (byte[0] == value && !memcmp(byte, byte + 1, bytes - 1));
}

struct tdi_tensor matrix(uint32_t buffer, uint64_t offset, uint32_t rows, uint32_t columns)
{
	return (struct tdi_tensor){ .buffer = buffer, .dtype = TDI_F32, .rank = 2, .offset = offset,
				    .shape = { rows, columns }, .stride = { 4ull * columns, 4 } };
}
