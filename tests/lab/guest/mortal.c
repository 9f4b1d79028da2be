// SPDX-License-Identifier: MIT
/*
 * mortal DEVICE KIND ROUNDS: tenants under load are killed, or the device goes under them, by unbinding the driver,
 * by a function-level reset, by removal or by answering all ones, or the module goes after them. Of every command
 * that was submitted there is exactly one CQE, with a status that says what became of it; the next open has a device
 * that works; and memory is where it was. If this fails, a host leaks or hangs a little with each container that
 * dies and with each reset.
 */
#include <sys/syscall.h>

#include "bystander.h"
#include "memory.h"
#include "survivor.h"

static const char *address = "";
static unsigned int rounds;

/* The first rounds fill caches; the others are in two halves, with a look at memory before, between and after. */
#define PARTS	3
static struct memory look[PARTS];

static unsigned int rounds_of(unsigned int part)
{
	return part ? rounds / 2 : 4;
}

/* At the end of a part, when the last tenants are on their way out. */
static bool look_after(unsigned int part)
{
	int64_t end = now_ns() + LONG;

	/* So that the pages of the next look aren't new to us. */
	if (!part)
		memset(look, 1, sizeof(look));
	while ((attribute("contexts") || attribute("buffer_bytes")) && now_ns() < end)
		sleep_ms(10);
	if (attribute("contexts") || attribute("buffer_bytes") || attribute("unproven_pages")) {
		printf("# %lld contexts, %lld bytes, %lld pages unproven\n", attribute("contexts"),
		       attribute("buffer_bytes"), attribute("unproven_pages"));
		return false;
	}
	/* In few rounds chance is more than what would be lost. */
	return rounds < 50 || (memory_look(&look[part]) && (part < 2 || memory_kept(look, rounds_of(part))));
}

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

static bool kill_one(struct tenant *t, bool parked)
{
	pid_t child;
	int status;

	t->lives = 0;
	child = fork();
	if (!child)
		in_flight(t, parked);
	while (!__atomic_load_n(&t->lives, __ATOMIC_ACQUIRE) && !t->wrong)
		sleep_ms(1);
	if (t->wrong)
		printf("# killed: line %d, %d\n", t->wrong, t->detail);
	return !t->wrong && !kill(child, SIGKILL) && waitpid(child, &status, 0) == child && WIFSIGNALED(status);
}

TEST(killed)
{
	struct tenant *t = shared_tenants();
	struct bystander bystander;

	for (unsigned int part = 0; part < PARTS; part++) {
		for (unsigned int round = 0; round < rounds_of(part); round++) {
			bool last = round % 4 == 3 || round + 1 == rounds_of(part);

			ASSERT_TRUE(round % 4 || bystander_start(&bystander));
			ASSERT_TRUE(kill_one(t, round % 2));
			ASSERT_TRUE(usable());
			ASSERT_TRUE(bystander_goes_on(&bystander, 1));
			ASSERT_TRUE(!last || bystander_stop(&bystander));
		}
		ASSERT_TRUE(look_after(part));
	}
}

TEST(loaded)
{
	struct tenant *t = shared_tenants();

	for (unsigned int part = 0; part < PARTS; part++) {
		for (unsigned int round = 0; round < rounds_of(part); round++) {
			int module;

			ASSERT_TRUE(kill_one(t, round % 2));
			ASSERT_TRUE(usable());
			ASSERT_EQ(0, syscall(SYS_delete_module, "tenon", 0))
				TH_LOG("%s", strerror(errno));
			module = open("/modules/tenon/tenon.ko", O_RDONLY | O_CLOEXEC);
			ASSERT_EQ(0, syscall(SYS_finit_module, module, "", 0))
				TH_LOG("%s", strerror(errno));
			close(module);
			ASSERT_TRUE(usable());
		}
		ASSERT_TRUE(look_after(part));
	}
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

/*
 * All ones, which nobody tells but the watchdog, and whose end of access can't be proven; then it is back as after
 * power on, and bound anew or found anew, by turns, which proves it.
 */
static void gone_and_back(void)
{
	static unsigned int turn;
	int64_t end = now_ns() + LONG;

	if (!fault("gone"))
		return;
	while (attribute("unproven_pages") <= 0 && now_ns() < end)
		sleep_ms(10);
	if (!fault("back"))
		return;
	if (turn++ % 2)
		remove_and_rescan();
	else
		unbind();
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
	uint32_t aborted = 0;

	for (unsigned int part = 0; part < PARTS; part++) {
		memset(t, 0, TENANTS * sizeof(*t));
		for (unsigned int i = 0; i < TENANTS; i++) {
			child[i] = fork();
			if (!child[i])
				survive(&t[i]);
		}
		for (unsigned int round = 0; round < rounds_of(part) && good; round++) {
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
		if (!good || !look_after(part))
			return false;
	}
	printf("# %u commands were aborted\n", aborted);
	return aborted;
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

TEST(gone)
{
	EXPECT_TRUE(go(gone_and_back));
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
