// SPDX-License-Identifier: MIT
/*
 * mortal DEVICE KIND ROUNDS: tenants under load are killed, or the device goes under them, by unbinding the driver,
 * by a function-level reset or by removal. Of every command that was submitted there is exactly one CQE, with a
 * status that says what became of it; the next open has a device that works; and memory is where it was. If this
 * fails, a host leaks or hangs a little with each container that dies and with each reset.
 */
#include "bystander.h"
#include "survivor.h"

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
	int64_t end = now_ns() + LONG;
	long after;

	/* The last of them are on their way out. */
	while ((attribute("contexts") || attribute("buffer_bytes")) && now_ns() < end)
		sleep_ms(10);
	if (attribute("contexts") || attribute("buffer_bytes") || attribute("unproven_pages")) {
		printf("# %lld contexts, %lld bytes, %lld pages unproven\n", attribute("contexts"),
		       attribute("buffer_bytes"), attribute("unproven_pages"));
		return false;
	}
	after = free_pages();

	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		return true;
	printf("# free pages: %ld, then %ld after %u rounds\n", before, after, rounds);
	return before - after < 256 + (long)rounds / 2;
}

/* ----------------------------------------------------------------------------------- the killed */

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

/* By the hot-plug controller, and another comes. */
static void unplug_and_plug(void)
{
	int64_t end = now_ns() + LONG;
	int fd = -1;

	if (!fault("unplug") || !fault("plug"))
		return;
	while (fd < 0 && now_ns() < end) {
		sleep_ms(10);
		fd = node_open();
	}
	close(fd);
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

TEST(unplugged)
{
	EXPECT_TRUE(go(unplug_and_plug));
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
