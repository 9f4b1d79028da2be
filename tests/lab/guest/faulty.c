// SPDX-License-Identifier: MIT
/*
 * faulty DEVICE DRIVER KIND: tenond has each fault in turn, by the line protocol of Documentation/lab.rst, while
 * tenants are at work. "survived" are those that nobody notices but who is hit, "ended" those that end all contexts,
 * "unproven" those after which the device may still access memory, or which wait for its time-outs; "crashed" is
 * tenond's end. If this fails, one bad device, or one bad moment of a good one, takes down the host or all who use it.
 */
#include <stddef.h>

#include "survivor.h"

static const char *address, *driver;

static bool put_word(const char *word, const char *directory, const char *file)
{
	char path[128];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = open(path, O_WRONLY);
	good = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);
	if (fd >= 0)
		close(fd);
	return good;
}

/* A file of the function's in sysfs. */
static const char *address_file(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", address, name);
	return path;
}

static bool unbind(void)
{
	return put_word(address, driver, "unbind");
}

static bool bind(void)
{
	return put_word(address, driver, "bind");
}

struct team {
	struct tenant *t;
	pid_t child[TENANTS];
};

static bool team_wrong(const struct team *team)
{
	for (unsigned int i = 0; i < TENANTS; i++)
		if (__atomic_load_n(&team->t[i].wrong, __ATOMIC_ACQUIRE))
			return true;
	return false;
}

/* All of them do this many commands more, or see this many files more to their end; false after LONG. */
static bool team_goes_on(struct team *team, uint32_t commands, uint32_t lives)
{
	uint32_t done[TENANTS], seen[TENANTS];
	int64_t end = now_ns() + LONG;

	for (unsigned int i = 0; i < TENANTS; i++) {
		done[i] = team->t[i].commands;
		seen[i] = team->t[i].lives;
	}
	for (unsigned int i = 0; i < TENANTS; i++)
		while (__atomic_load_n(&team->t[i].commands, __ATOMIC_ACQUIRE) - done[i] < commands ||
		       __atomic_load_n(&team->t[i].lives, __ATOMIC_ACQUIRE) - seen[i] < lives) {
			if (team_wrong(team) || now_ns() > end)
				return false;
			sleep_ms(1);
		}
	return true;
}

static bool team_start(struct team *team)
{
	team->t = shared_tenants();
	for (unsigned int i = 0; i < TENANTS; i++) {
		team->child[i] = fork();
		if (!team->child[i])
			survive(&team->t[i]);
	}
	return team_goes_on(team, 100, 0);
}

static bool team_stop(struct team *team)
{
	bool good = true;

	for (unsigned int i = 0; i < TENANTS; i++) {
		int status = 0;

		__atomic_store_n(&team->t[i].stop, 1, __ATOMIC_RELEASE);
		waitpid(team->child[i], &status, 0);
		if (status)
			printf("# tenant %u: status %#x, line %d, %d\n", i, status, team->t[i].wrong, team->t[i].detail);
		good &= !status;
	}
	return good;
}

/* ------------------------------------------------------------------------- nobody but who is hit */

FIXTURE(survived) {
	int fd;
	struct buffer a;
	struct queue q;
};

FIXTURE_SETUP(survived)
{
	self->fd = node_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &self->a));
	ASSERT_EQ(0, queue_make(self->fd, 8, -1, &self->q));
	put(&self->q, TDI_OP_NOP);
	ASSERT_EQ(TDI_SC_OK, run(&self->q));
}

FIXTURE_TEARDOWN(survived)
{
	struct team team;

	EXPECT_TRUE(fault("go"));
	close(self->fd);
	EXPECT_TRUE(team_start(&team));
	EXPECT_TRUE(team_goes_on(&team, 100, 0));
	EXPECT_TRUE(team_stop(&team));
	EXPECT_TRUE(usable());
}

/* Who waits in the kernel comes back long before his deadline, if later than with an interrupt. */
TEST_F(survived, interrupt_lost)
{
	for (unsigned int i = 0; i < 3; i++) {
		int64_t deadline = now_ns() + 20 * SECOND;

		ASSERT_TRUE(fault("irq lost 1"));
		put(&self->q, TDI_OP_NOP);
		ASSERT_EQ(0, submit(&self->q));
		ASSERT_EQ(0, queue_wait(self->fd, self->q.made.queue, self->q.tail, deadline));
		EXPECT_GT(deadline, now_ns());
		take(&self->q);
	}
	/* That of an admin command. */
	ASSERT_TRUE(fault("irq lost 1"));
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
}

TEST_F(survived, interrupt_late_or_for_nothing)
{
	ASSERT_TRUE(fault("irq late 30"));
	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_TRUE(fault("irq spurious"));
		put(&self->q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(&self->q));
	}
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
}

TEST_F(survived, stall)
{
	struct tdi_cqe cqe;

	ASSERT_TRUE(fault("stall"));
	put_fill(&self->q, self->a.id, 0, PAGE, 1);
	ASSERT_EQ(0, submit(&self->q));
	EXPECT_EQ(ETIME, queue_wait(self->fd, self->q.made.queue, self->q.tail, now_ns() + SECOND / 20));
	/* What ends it doesn't wait for it, and then there is no access any more. */
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
	ASSERT_EQ(0, queue_destroy(self->fd, self->q.made.queue));
	ASSERT_TRUE(completed(&self->q));
	cqe = take(&self->q);
	EXPECT_TRUE(cqe.status == TDI_SC_ABORTED || cqe.status == TDI_SC_BUFFER_ID);
	ASSERT_TRUE(fault("go"));
	EXPECT_TRUE(all_bytes(self->a.data, 0, PAGE));
}

/* Completions that lie: the kernel takes nothing from them, only who is lied to may see wrong ones. */
TEST_F(survived, completions)
{
	static const char *const lies[] = { "cqe sequence 500", "cqe user-data", "cqe twice", "cqe early", "cqe unsubmitted" };

	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		struct queue q;

		ASSERT_EQ(0, queue_make(self->fd, 8, -1, &q));
		ASSERT_TRUE(fault(lies[i]));
		put(&q, TDI_OP_NOP);
		ASSERT_EQ(0, submit(&q));
		queue_wait(self->fd, q.made.queue, q.tail, now_ns() + SECOND / 10);
		EXPECT_EQ(0, queue_kick(self->fd, q.made.queue));
		EXPECT_EQ(0, queue_destroy(self->fd, q.made.queue));
		queue_unmap(&q);
		put(&self->q, TDI_OP_NOP);
		EXPECT_EQ(TDI_SC_OK, run(&self->q));
	}
}

/* Events that lie are hints to look at something that isn't there; the one that was lost for it comes late. */
TEST_F(survived, events)
{
	static const char *const lies[] = { "event id", "event id 1000", "event type", "event type 6" };

	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		struct tdi_cqe cqe;

		ASSERT_TRUE(fault(lies[i]));
		put(&self->q, TDI_OP_NOP);
		ASSERT_EQ(0, submit(&self->q));
		while (!completed(&self->q))
			sched_yield();
		ASSERT_EQ(0, finish(&self->q, &cqe));
	}
}

/* DMA to where nothing is mapped: the IOMMU stops it and says so. */
TEST_F(survived, dma)
{
	ASSERT_TRUE(fault("dma write 0xdead0000"));
	ASSERT_TRUE(fault("dma read 0xbeef0000"));
	put(&self->q, TDI_OP_NOP);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
}

/* A caller is killed while the device takes its time: the answer that nobody waits for is nobody else's. */
TEST_F(survived, admin_late)
{
	long long resets = attribute("resets");
	int64_t start, end = now_ns() + LONG;
	pid_t child;
	int status;

	ASSERT_TRUE(fault("late admin 1000"));
	child = fork();
	if (!child) {
		struct buffer b;

		buffer_make(node_open(), PAGE, RW, &b);
		_exit(0);
	}
	sleep_ms(300);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	/* He didn't wait for it. */
	EXPECT_TRUE(WIFSIGNALED(status));
	start = now_ns();
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
	EXPECT_LT(SECOND / 2, now_ns() - start);
	ASSERT_EQ(0, buffer_map(&self->a, 0, PAGE, RW));
	ASSERT_TRUE(fault("go"));
	while (attribute("contexts") > 1 && now_ns() < end)
		sleep_ms(10);
	EXPECT_EQ(1, attribute("contexts"));
	EXPECT_EQ(resets, attribute("resets"));
	put_fill(&self->q, self->a.id, 0, PAGE, 0x21);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
}

/* A write to a buffer that was unmapped doesn't arrive, wherever the page is now. */
TEST_F(survived, after_unmap)
{
	memset(self->a.data, 0x42, PAGE);
	ASSERT_TRUE(fault("after-unmap"));
	ASSERT_EQ(0, buffer_unmap(self->fd, self->a.id));
	sleep_ms(50);
	EXPECT_TRUE(all_bytes(self->a.data, 0x42, PAGE));
	ASSERT_TRUE(fault("after-unmap"));
	ASSERT_EQ(0, queue_destroy(self->fd, self->q.made.queue));
	sleep_ms(50);
	EXPECT_EQ(TDI_FIRST_INDEX(8) + 1, self->q.device->fetched);
}

/* ------------------------------------------------------------------------- the end of all contexts */

FIXTURE(ended) {
	struct team team;
};

FIXTURE_SETUP(ended)
{
	ASSERT_TRUE(usable());
	ASSERT_TRUE(team_start(&self->team));
}

FIXTURE_TEARDOWN(ended)
{
	/* With the fault gone, and the driver bound anew if there was no other way, all works. */
	EXPECT_TRUE(team_goes_on(&self->team, 100, 0));
	EXPECT_TRUE(team_stop(&self->team));
	EXPECT_TRUE(usable());
}

TEST_F(ended, fatal)
{
	ASSERT_TRUE(fault("fatal"));
	EXPECT_TRUE(team_goes_on(&self->team, 0, 1));
}

/* All ones: the tenants are told; when it is back it is bound anew. [REG-8] */
TEST_F(ended, gone)
{
	ASSERT_TRUE(fault("gone"));
	EXPECT_TRUE(team_goes_on(&self->team, 0, 1));
	EXPECT_FALSE(usable());
	ASSERT_TRUE(fault("back"));
	ASSERT_TRUE(unbind());
	ASSERT_TRUE(bind());
}

/* An admin completion that can't be one: what it was for is unknown, so the controller is reset. */
TEST_F(ended, admin_lies)
{
	static const char *const lies[] = { "admin command", "admin status" };

	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		long long resets = attribute("resets");
		int64_t end = now_ns() + LONG;
		int fd = node_open(), error;
		struct buffer a;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, buffer_make(fd, PAGE, RW, &a));
		ASSERT_TRUE(fault(lies[i]));
		error = buffer_unmap(fd, a.id);
		EXPECT_TRUE(error == EIO || error == ETIMEDOUT || error == EPROTO || error == 0)
			TH_LOG("%s: %s", lies[i], strerror(error));
		/* Whoever it was that got the answer to another's question. */
		while (!i && attribute("resets") == resets && now_ns() < end)
			sleep_ms(10);
		EXPECT_TRUE(i || attribute("resets") > resets);
		close(fd);
		ASSERT_TRUE(fault("go"));
		EXPECT_TRUE(team_goes_on(&self->team, 100, 0));
	}
}

/* What IDENTIFY says, byte @at of which is made @value. */
static bool identify_byte(size_t at, uint8_t value)
{
	char words[40];

	snprintf(words, sizeof(words), "identify byte %zu", at * 256 + value);
	return fault(words);
}

#define FIELD(name)	{ #name, offsetof(struct tdi_identify, name), sizeof(((struct tdi_identify *)0)->name) }

/* Limits that can't be, and names without an end: not bound, which says why. What changes in a reset: not up again. */
TEST_F(ended, identify_lies)
{
	static const struct field {
		const char *name;
		size_t at, bytes;
	} zero[] = {
		FIELD(version), FIELD(max_groups), FIELD(max_contexts), FIELD(max_queues), FIELD(max_eqs),
		FIELD(max_buffers), FIELD(max_buffer_bytes),
	}, full[] = {
		FIELD(version), FIELD(features), FIELD(max_buffers), FIELD(max_depth_log2), FIELD(serial),
		FIELD(model), FIELD(firmware),
	}, changed[] = {
		FIELD(vendor), FIELD(device), FIELD(opcodes), FIELD(tensor_ops), FIELD(dtypes), FIELD(max_groups),
		FIELD(max_contexts), FIELD(max_queues), FIELD(max_eqs), FIELD(max_buffers), FIELD(units),
		FIELD(max_buffer_bytes), FIELD(max_wait_ns), FIELD(granularity_ns), FIELD(quantum_ns),
		FIELD(memory_bytes), FIELD(serial), FIELD(model), FIELD(firmware), FIELD(reserved),
	};
	union {
		struct tdi_identify identify;
		uint8_t byte[sizeof(struct tdi_identify)];
	} told;
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_IDENTIFY, .size = sizeof(told), .pointer = (uintptr_t)&told,
	};
	int fd = node_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, call(fd, DRM_IOCTL_TENON_QUERY, &query));
	close(fd);
	for (unsigned int i = 0; i < ARRAY_SIZE(zero) + ARRAY_SIZE(full); i++) {
		const struct field *f = i < ARRAY_SIZE(zero) ? &zero[i] : &full[i - ARRAY_SIZE(zero)];
		size_t at = f->at + f->bytes - 1, others = 0;

		/* One byte that makes it zero, or its last one that makes it far too big. */
		if (f == &zero[i]) {
			while (!told.byte[at])
				at--;
			for (size_t j = f->at; j < at; j++)
				others += told.byte[j];
			ASSERT_TRUE(!others || f == zero)
				TH_LOG("%s is no power of two", f->name);
		}
		ASSERT_TRUE(identify_byte(at, f == &zero[i] ? 0 : 0xff));
		ASSERT_TRUE(unbind());
		EXPECT_FALSE(bind())
			TH_LOG("%s, byte %zu", f->name, at);
		EXPECT_EQ(EPROTO, errno);
		EXPECT_GT(0, node_open());
		ASSERT_TRUE(fault("go"));
		ASSERT_TRUE(bind());
		ASSERT_TRUE(usable());
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(changed); i++) {
		ASSERT_TRUE(identify_byte(changed[i].at, told.byte[changed[i].at] ^ 1));
		ASSERT_TRUE(put_word("1", "/sys/bus/pci/devices", address_file("reset")));
		fd = node_open();
		ASSERT_LE(0, fd);
		EXPECT_EQ(EIO, queue_create(fd, 8, -1, &(struct queue){ 0 }))
			TH_LOG("%s", changed[i].name);
		close(fd);
		ASSERT_TRUE(fault("go"));
		ASSERT_TRUE(put_word("1", "/sys/bus/pci/devices", address_file("reset")));
		ASSERT_TRUE(usable());
	}
}

/* Reset when it doesn't come up again: who is there is told, who opens it is told; and when it does, it works. */
TEST_F(ended, never_ready)
{
	ASSERT_TRUE(fault("not-ready"));
	ASSERT_TRUE(fault("fatal"));
	EXPECT_TRUE(team_goes_on(&self->team, 0, 1));
	sleep_ms(100);
	EXPECT_FALSE(usable());
	ASSERT_TRUE(fault("go"));
	ASSERT_TRUE(unbind());
	ASSERT_TRUE(bind());
}

/* ------------------------------------------------------- what may still be accessed isn't given back */

FIXTURE(unproven) {
	struct team team;
};

FIXTURE_SETUP(unproven)
{
	ASSERT_TRUE(team_start(&self->team));
}

FIXTURE_TEARDOWN(unproven)
{
	EXPECT_TRUE(usable());
}

/*
 * The device fails, and neither a controller reset nor one of the function is seen to end: tenants are told as ever,
 * but nothing that the device knew of is free again, though all files are closed, until a reset works. [EOA-5, EOA-7]
 */
TEST_F(unproven, kept)
{
	int64_t end = now_ns() + 2 * LONG;
	int fd;

	ASSERT_TRUE(fault("no-reset"));
	ASSERT_TRUE(fault("no-flr"));
	ASSERT_TRUE(fault("fatal"));
	while (attribute("unproven_pages") < TENANTS * 42 && now_ns() < end)
		sleep_ms(100);
	/* Of each tenant a buffer of 16 pages, and a queue of 1 + 16 + 1 + 8. */
	EXPECT_EQ(TENANTS * 42, attribute("unproven_pages"));
	EXPECT_TRUE(team_stop(&self->team));
	sleep_ms(500);
	EXPECT_EQ(TENANTS * 42, attribute("unproven_pages"));
	EXPECT_EQ(TENANTS * 16 * PAGE, attribute("buffer_bytes"));
	EXPECT_EQ(TENANTS, attribute("contexts"));
	fd = node_open();
	ASSERT_LE(0, fd);
	EXPECT_EQ(EIO, queue_create(fd, 8, -1, &(struct queue){ 0 }));
	close(fd);

	ASSERT_TRUE(fault("go"));
	ASSERT_TRUE(put_word("1", "/sys/bus/pci/devices", address_file("reset")));
	EXPECT_EQ(0, attribute("unproven_pages"));
	EXPECT_EQ(0, attribute("buffer_bytes"));
	EXPECT_EQ(0, attribute("contexts"));
}

/* No admin command is answered: who asks is told after the device's own time-out, and a reset follows. [ADM-18] */
TEST_F(unproven, admin_stalled)
{
	struct buffer a;
	int fd = node_open(), error;

	ASSERT_LE(0, fd);
	ASSERT_TRUE(fault("stall admin"));
	error = buffer_make(fd, PAGE, RW, &a);
	EXPECT_TRUE(went(error))
		TH_LOG("%s", strerror(error));
	close(fd);
	EXPECT_TRUE(team_goes_on(&self->team, 0, 1));
	ASSERT_TRUE(fault("go"));
	ASSERT_TRUE(unbind());
	ASSERT_TRUE(bind());
	EXPECT_TRUE(team_goes_on(&self->team, 100, 0));
	EXPECT_TRUE(team_stop(&self->team));
}

/*
 * The answer comes after the time-out, while the kernel tries what is less than a reset: it is then the answer to
 * what was asked, and nothing is reset. [ADM-18]
 */
TEST_F(unproven, admin_late)
{
	long long resets = attribute("resets");
	struct buffer a;
	pid_t child;
	int fd, status;

	/* Who has commands outstanding has the watchdog ask, too, and it asks once more for what they used. */
	ASSERT_TRUE(team_stop(&self->team));
	sleep_ms(3000);
	fd = node_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, buffer_make(fd, PAGE, RW, &a));
	ASSERT_TRUE(fault("late admin 12000"));
	child = fork();
	if (!child)
		_exit(buffer_unmap(fd, a.id));
	sleep_ms(11000);
	ASSERT_TRUE(fault("go"));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(resets, attribute("resets"));
	close(fd);
}

/* ----------------------------------------------------------------------------- tenond dies, another comes */

TEST(crashed)
{
	int64_t end = now_ns() + LONG;
	struct team team;

	ASSERT_TRUE(team_start(&team));
	ASSERT_TRUE(fault("crash"));
	EXPECT_TRUE(team_goes_on(&team, 0, 1));
	EXPECT_FALSE(usable());
	ASSERT_TRUE(fault("unplug"));
	EXPECT_GT(0, node_open());
	ASSERT_TRUE(fault("plug"));
	while (node_open() < 0 && now_ns() < end)
		sleep_ms(10);
	EXPECT_TRUE(team_goes_on(&team, 100, 0));
	EXPECT_TRUE(team_stop(&team));
	EXPECT_TRUE(usable());
}

int main(int argc, char **argv)
{
	/* The one that isn't a fixture is a test. */
	char *run[] = { argv[0], argc == 4 && !strcmp(argv[3], "crashed") ? "-t" : "-f", argc == 4 ? argv[3] : "", NULL };

	if (argc != 4)
		return KSFT_FAIL;
	address = argv[1];
	driver = argv[2];
	return test_harness_run(3, run);
}
