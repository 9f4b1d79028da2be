// SPDX-License-Identifier: MIT
/*
 * mortal DEVICE KIND ROUNDS: tenants under load are killed, or the device goes under them, by unbinding the driver,
 * by a function-level reset or by removal. Of every command that was submitted there is exactly one CQE, with a
 * status that says what became of it; the next open has a device that works; and memory is where it was. If this
 * fails, a host leaks or hangs a little with each container that dies and with each reset.
 */
#include "bystander.h"

#define DEPTH	1024
#define TENANTS	3
#define SLOT	64	/* bytes that a command fills */

static const char *address = "";
static unsigned int rounds;

static void put_word(const char *word, const char *format)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), format, address);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, word, strlen(word)) != (ssize_t)strlen(word))
		printf("# %s to %s: %s\n", word, path, strerror(errno));
	close(fd);
}

/* Free pages, when all that is only kept for later is given back and workers have had time for the rest. */
static long free_pages(void)
{
	char line[128];
	long kib = 0;
	FILE *info;

	for (unsigned int i = 0; i < 3; i++) {
		sleep_ms(200);
		put_word("3", "/proc/sys/vm/drop_caches");
	}
	info = fopen("/proc/meminfo", "r");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "MemFree: %ld", &kib) == 1)
			break;
	if (info)
		fclose(info);
	return kib / 4;
}

/*
 * What a round may leave: less than the smallest of its parts that are pages, a ring of one (the producer page), for
 * half of the rounds; and a constant for what the kernel keeps in per-CPU lists and partly used slabs, which is
 * there after few rounds or after many. A debug kernel keeps freed memory to find its use: there kmemleak looks.
 */
static bool nothing_lost(long before)
{
	long after = free_pages();

	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		return true;
	printf("# free pages: %ld, then %ld after %u rounds\n", before, after, rounds);
	return before - after < 256 + (long)rounds / 2;
}

/* ----------------------------------------------------------------------------------- the killed */

struct tenant {
	uint32_t stop;
	uint32_t lives;		/* files that it has had and seen to their end */
	uint32_t commands;
	uint32_t aborted;
	int32_t wrong;		/* line of what was wrong */
	int32_t detail;
};

#define WANT(good, what) do {						\
	if (!(good)) {							\
		t->detail = (int32_t)(what);				\
		__atomic_store_n(&t->wrong, __LINE__, __ATOMIC_RELEASE);	\
		_exit(1);						\
	}								\
} while (0)

/* A thousand commands in flight; every other time behind a WAIT, so that they certainly still are. */
static void in_flight(struct tenant *t, bool parked)
{
	struct buffer a;
	struct queue q;
	int fd = node_open();

	WANT(fd >= 0, errno);
	WANT(!setuid(FOREIGN_UID + 1), errno);
	WANT(!buffer_make(fd, 16 * PAGE, RW, &a), 0);
	WANT(!queue_make(fd, DEPTH, -1, &q), 0);
	if (parked)
		put_wait(&q, a.id, 0, 1, LONG);
	for (unsigned int i = parked; i < 1000; i++)
		put_fill(&q, a.id, PAGE, 15 * PAGE, (uint8_t)i);
	WANT(!submit(&q), errno);
	__atomic_store_n(&t->lives, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static bool usable(void)
{
	struct buffer a;
	struct queue q;
	bool good;
	int fd = node_open();

	if (fd < 0 || buffer_make(fd, PAGE, RW, &a) || queue_make(fd, 8, -1, &q)) {
		printf("# can't be used: %s\n", strerror(errno));
		return false;
	}
	put_fill(&q, a.id, 0, PAGE, 0x12);
	good = run(&q) == TDI_SC_OK && all_bytes(a.data, 0x12, PAGE);
	queue_unmap(&q);
	munmap(a.data, PAGE);
	close(fd);
	return good;
}

static struct tenant *shared_tenants(void)
{
	return mmap(NULL, TENANTS * sizeof(struct tenant), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

TEST(killed)
{
	struct tenant *t = shared_tenants();
	struct bystander bystander;
	long before = 0;

	for (unsigned int round = 0; round < rounds + 3; round++) {
		pid_t child;
		int status;

		/* The first rounds fill caches. */
		if (round == 3)
			before = free_pages();
		ASSERT_TRUE(round % 4 || bystander_start(&bystander));
		t->lives = 0;
		child = fork();
		if (!child)
			in_flight(t, round % 2);
		while (!__atomic_load_n(&t->lives, __ATOMIC_ACQUIRE) && !t->wrong)
			sleep_ms(1);
		ASSERT_EQ(0, t->wrong)
			TH_LOG("%d", t->detail);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_TRUE(usable());
		ASSERT_TRUE(bystander_goes_on(&bystander, 1));
		ASSERT_TRUE(round % 4 != 3 || bystander_stop(&bystander));
	}
	if ((rounds + 3) % 4)
		ASSERT_TRUE(bystander_stop(&bystander));
	EXPECT_TRUE(nothing_lost(before));
}

/* -------------------------------------------------------------------------------- the survivors */

static bool went(int error)
{
	return error == ENODEV || error == EIO || error == ETIMEDOUT;
}

/* The device is gone for this file: all that was submitted has ended or ends by one kick, and once. */
static void bury(struct tenant *t, struct queue *q, struct buffer *a)
{
	static struct tdi_cqe copy[DEPTH];
	bool aborted = false;
	uint32_t more = DEPTH - (q->tail - q->head);

	/* Some more, which the device may still run if it isn't fenced off yet. */
	for (uint32_t i = 0; i < more && i < 3; i++)
		put_fill(q, a->id, 0, SLOT, 0xff);
	tenon_store_release(&q->producer->tail, q->tail);
	TENON_SUBMIT_BARRIER();
	WANT(!queue_kick(q->fd, q->made.queue), errno);
	/* A kick while the kernel is still at it leaves the end to the kernel, who looks at the tail after. */
	while (q->head != q->tail) {
		uint32_t index = q->head;
		struct tdi_cqe cqe;
		int error = queue_wait(q->fd, q->made.queue, index + 1, now_ns() + LONG);

		WANT(!error, error);
		cqe = take(q);
		WANT(cqe.sequence == index + 1, cqe.sequence);
		WANT(cqe.user_data == index, cqe.user_data);
		WANT(cqe.status == TDI_SC_OK || cqe.status == TDI_SC_ABORTED, cqe.status);
		/* In order: what was done, then what wasn't. */
		WANT(cqe.status != TDI_SC_OK || !aborted, index);
		aborted |= cqe.status != TDI_SC_OK;
		t->aborted += cqe.status != TDI_SC_OK;
		t->commands++;
	}
	memcpy(copy, q->cq, sizeof(copy));
	WANT(!queue_kick(q->fd, q->made.queue), errno);
	sleep_ms(20);
	WANT(!memcmp(copy, q->cq, sizeof(copy)), 0);
	/* The file has nothing to come any more. */
	WANT(went(buffer_map(a, 0, PAGE, RW)), errno);
	WANT(went(queue_create(q->fd, 8, -1, &(struct queue){ 0 })), errno);
}

static void survive(struct tenant *t)
{
	int file = -1;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		struct buffer a = { 0 };
		struct queue q = { 0 };
		int error;

		file = node_open();
		if (file < 0) {
			WANT(errno == ENOENT || errno == ENODEV || errno == EEXIST || errno == ENXIO, errno);
			sleep_ms(1);
			continue;
		}
		error = buffer_make(file, DEPTH * SLOT, RW, &a);
		if (!error)
			error = queue_make(file, DEPTH, -1, &q);
		if (error) {
			WANT(went(error), error);
			close(file);
			continue;
		}
		while (!(__atomic_load_n(&q.kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_DEAD) &&
		       !__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
			while (q.tail - q.head < DEPTH - 8)
				put_fill(&q, a.id, q.tail % DEPTH * SLOT, SLOT, (uint8_t)(q.tail / DEPTH));
			WANT(!submit(&q), errno);
			error = queue_wait(q.fd, q.made.queue, q.head + 1, now_ns() + LONG);
			WANT(!error, error);
			while (q.head != q.tail && completed(&q)) {
				uint32_t index = q.head;
				struct tdi_cqe cqe = q.cq[index & q.mask];

				if (cqe.status != TDI_SC_OK)
					break;
				WANT(cqe.sequence == index + 1 && cqe.user_data == index, cqe.sequence);
				WANT(all_bytes(a.data + index % DEPTH * SLOT, (uint8_t)(index / DEPTH), SLOT), index);
				q.head++;
				t->commands++;
			}
			/* One that was ended by the kernel is for the burial. */
			if (completed(&q) && q.cq[q.head & q.mask].status != TDI_SC_OK)
				while (!(__atomic_load_n(&q.kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_DEAD))
					sched_yield();
		}
		if (q.kernel->flags & TDI_KERNEL_DEAD)
			bury(t, &q, &a);
		queue_unmap(&q);
		munmap(a.data, a.size);
		WANT(!close(file), errno);
		__atomic_add_fetch(&t->lives, 1, __ATOMIC_RELEASE);
	}
	_exit(0);
}

static void unbind(void)
{
	put_word(address, "/sys/bus/pci/drivers/tenon/unbind");
	put_word(address, "/sys/bus/pci/drivers/tenon/bind");
}

static void function_reset(void)
{
	put_word("1", "/sys/bus/pci/devices/%s/reset");
}

static void remove_and_rescan(void)
{
	put_word("1", "/sys/bus/pci/devices/%s/remove");
	put_word("1", "/sys/bus/pci/rescan");
}

/* Takes the device away and gives it back under load, @rounds times; false if something went wrong. */
static bool go(void (*away)(void))
{
	struct tenant *t = shared_tenants();
	pid_t child[TENANTS];
	bool good = true;
	long before = 0;
	uint32_t aborted = 0;

	for (unsigned int part = 0; part < 2; part++) {
		/* The first rounds fill caches. */
		unsigned int count = part ? rounds : 3;

		if (part)
			before = free_pages();
		memset(t, 0, TENANTS * sizeof(*t));
		for (unsigned int i = 0; i < TENANTS; i++) {
			child[i] = fork();
			if (!child[i])
				survive(&t[i]);
		}
		for (unsigned int round = 0; round < count && good; round++) {
			uint32_t lives[TENANTS], commands[TENANTS];

			/* All are at work when it goes. */
			for (unsigned int i = 0; i < TENANTS; i++) {
				commands[i] = t[i].commands;
				while (t[i].commands - commands[i] < 100 && !t[i].wrong)
					sleep_ms(1);
				lives[i] = t[i].lives;
			}
			away();
			for (unsigned int i = 0; i < TENANTS; i++)
				while (__atomic_load_n(&t[i].lives, __ATOMIC_ACQUIRE) == lives[i] && !t[i].wrong)
					sleep_ms(1);
			good = usable();
			for (unsigned int i = 0; i < TENANTS; i++)
				good &= !t[i].wrong;
		}
		for (unsigned int i = 0; i < TENANTS; i++) {
			int status = 0;

			__atomic_store_n(&t[i].stop, 1, __ATOMIC_RELEASE);
			waitpid(child[i], &status, 0);
			if (status || t[i].wrong)
				printf("# tenant %u: status %#x, line %d, %d (%s)\n", i, status, t[i].wrong, t[i].detail,
				       strerror(t[i].detail));
			good &= !status && !t[i].wrong;
			aborted += t[i].aborted;
		}
		if (!good)
			return false;
	}
	printf("# %u commands were aborted\n", aborted);
	return aborted && nothing_lost(before);
}

TEST(unbound)
{
	EXPECT_TRUE(go(unbind));
}

TEST(reset)
{
	EXPECT_TRUE(go(function_reset));
}

TEST(removed)
{
	EXPECT_TRUE(go(remove_and_rescan));
}

int main(int argc, char **argv)
{
	char *run[] = { argv[0], "-t", argc == 4 ? argv[2] : "", NULL };

	if (argc != 4)
		return KSFT_FAIL;
	address = argv[1];
	rounds = (unsigned int)atoi(argv[3]);
	return test_harness_run(3, run);
}
