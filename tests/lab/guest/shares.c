// SPDX-License-Identifier: MIT
/*
 * shares DEVICE: an operator's side of the module in configfs, and tenants on the nodes that he makes. If this fails, a
 * tenant has more than was given to it, or reaches what belongs to the next.
 */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mount.h>

#include "bystander.h"
#include "operator.h"

FIXTURE(shares) {
	int none;
};

FIXTURE_SETUP(shares)
{
	ASSERT_TRUE(operator_begin());
}

FIXTURE_TEARDOWN(shares)
{
	EXPECT_TRUE(operator_end());
}

/* ------------------------------------------------------------------------------------------- life */

TEST_F(shares, values)
{
	static const struct {
		const char *name, *first, *good, *bad[4];
	} all[] = {
		{ "weight", "100", "10000", { "0", "10001", "-1", "many" } },
		{ "priority", "normal", "realtime", { "none", "2" } },
		{ "quantum_us", "0", "1000000", { "1000001", "x" } },
		{ "max_command_us", "0", "5000000", { "18446744073709551615" } },
		{ "busy_max", "0", "100", { "101" } },
		{ "busy_period_us", "100000", "10000000", { "999", "10000001", "0" } },
		{ "queues_max", "4096", "0", { "4097" } },
		{ "contexts_max", "1024", "0", { "1025" } },
		{ "allow_uid", "any", "4711", { "-1", "4294967295", "root" } },
		{ "enable", "0", "0", { "2", "yes" } },
	};
	static const char *const names[] = { ".a", "a b", "a:b", "-", "01234567890123456789012345678901" };

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(-1, mkdir(at(names[i]), 0755));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-1, mkdir(ROOT "/elsewhere", 0755));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, mkdir(at("a"), 0755));
	EXPECT_TRUE(is("a/state", "off"));
	EXPECT_TRUE(is("a/device", ""));
	EXPECT_TRUE(is("a/uuid", ""));
	/* First without a partition, then with one. */
	for (unsigned int live = 0; live < 2; live++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
			if (live && !strcmp(all[i].name, "enable"))
				continue;
			EXPECT_TRUE(is(of("a", all[i].name), all[i].first));
			for (unsigned int j = 0; j < 4 && all[i].bad[j]; j++)
				EXPECT_EQ(EINVAL, set(of("a", all[i].name), all[i].bad[j]));
			EXPECT_TRUE(is(of("a", all[i].name), all[i].first));
			EXPECT_EQ(0, set(of("a", all[i].name), all[i].good));
			EXPECT_TRUE(is(of("a", all[i].name), all[i].good));
			EXPECT_EQ(0, set(of("a", all[i].name), all[i].first));
		}
		EXPECT_EQ(0, set("a/pinned_max", "1M\n"));
		EXPECT_TRUE(is("a/pinned_max", "1048576"));
		EXPECT_EQ(EINVAL, set("a/pinned_max", "1X"));
		EXPECT_EQ(0, set("a/memory_max", "0"));
		EXPECT_EQ(EINVAL, set("a/memory_max", "4096"));
		EXPECT_EQ(ENOENT, set("a/allow_cgroup", "/no/such/group"));
		EXPECT_TRUE(is("a/allow_cgroup", ""));
		if (live)
			break;
		EXPECT_EQ(ENODEV, set("a/drain", "1"));
		EXPECT_EQ(ENODEV, set("a/recycle", "1"));
		ASSERT_EQ(0, set("a/enable", "1"));
		ASSERT_TRUE(becomes("a/state", "active"));
	}
	/* What is written to a live one is in force. */
	ASSERT_EQ(0, set("a/weight", "300"));
	EXPECT_EQ(300, shows("a", "limits/weight"));
	EXPECT_EQ(0, set("a/enable", "0"));
	EXPECT_TRUE(becomes("a/state", "off"));
	EXPECT_TRUE(is("a/device", ""));
	EXPECT_TRUE(is("a/weight", "300"));
}

/* All that a tenant sees of the end: CQEs for what was submitted, ENODEV, and nobody else is touched. */
TEST_F(shares, deleted)
{
	struct bystander bystander;
	struct tdi_cqe cqe;
	char name[64], holder[64];
	struct buffer a;
	struct queue q;
	int fd, number;

	ASSERT_TRUE(create("a"));
	ASSERT_TRUE(create("b"));
	ASSERT_NE(number_of("a"), number_of("b"));
	chmod(node_of("a"), 0666);
	node_path = node_of("a");
	ASSERT_TRUE(bystander_start(&bystander));
	ASSERT_TRUE(bystander_goes_on(&bystander, 1));
	number = number_of("b");
	snprintf(name, sizeof(name), "/dev/accel/accel%d", number);
	fd = open(name, O_RDWR);
	ASSERT_LE(0, fd);
	snprintf(holder, sizeof(holder), "%d 0 shares", getpid());
	EXPECT_TRUE(is("b/holders", holder));
	ASSERT_EQ(0, buffer_make(fd, PAGE, RW, &a));
	ASSERT_EQ(0, queue_make(fd, 8, -1, &q));
	EXPECT_EQ(1, shows("b", "contexts"));
	EXPECT_EQ(1, shows("a", "contexts"));
	EXPECT_EQ(PAGE, shows("b", "buffer_bytes"));
	EXPECT_EQ(0, set("b/drain", "1"));
	EXPECT_TRUE(is("b/state", "draining"));
	EXPECT_EQ(-EBUSY, open_as(0, name));
	/* Who has a context goes on. */
	put_wait(&q, a.id, 0, 1, LONG);
	put(&q, TDI_OP_NOP);
	EXPECT_EQ(0, submit(&q));
	EXPECT_EQ(0, rmdir(at("b")));
	ASSERT_EQ(0, finish(&q, &cqe));
	EXPECT_EQ(TDI_SC_ABORTED, cqe.status);
	ASSERT_EQ(0, finish(&q, &cqe));
	EXPECT_EQ(TDI_SC_ABORTED, cqe.status);
	EXPECT_TRUE(q.kernel->flags & TDI_KERNEL_DEAD);
	EXPECT_EQ(ENODEV, buffer_map(&a, 0, PAGE, RW));
	ASSERT_TRUE(becomes_text(ROOT "/tombstones", (snprintf(name, sizeof(name), "%d", number), name)));
	EXPECT_EQ(-ENODEV, open_stale(number, "/stale", FOREIGN_UID));
	EXPECT_EQ(EBUSY, reap(number));
	/* The next one is another. */
	ASSERT_TRUE(create("b"));
	EXPECT_NE(number, number_of("b"));
	EXPECT_EQ(-ENODEV, open_stale(number, "/stale", FOREIGN_UID));
	EXPECT_TRUE(works("b"));
	EXPECT_TRUE(bystander_goes_on(&bystander, 3));
	EXPECT_TRUE(bystander_stop(&bystander));
	queue_unmap(&q);
	munmap(a.data, PAGE);
	close(fd);
	EXPECT_EQ(-ENODEV, open_stale(number, "/stale", FOREIGN_UID));
	EXPECT_EQ(0, reap(number));
	EXPECT_EQ(ENOENT, reap(number));
	EXPECT_EQ(EINVAL, put_text(ROOT "/reap", "x"));
	/* Only now. */
	ASSERT_TRUE(create("c"));
	EXPECT_EQ(number, number_of("c"));
}

/* The next of @q has ended like this, alone. */
static bool ends(struct queue *q, unsigned int status)
{
	struct tdi_cqe cqe = { 0 };
	uint32_t index = q->head;
	int error = finish(q, &cqe);

	if (!error && cqe.status == status && cqe.user_data == index && cqe.sequence == index + 1)
		return true;
	printf("# command %u: errno %d, status %#x, not %#x\n", index, error, cqe.status, status);
	return false;
}

/*
 * A command that never yields is stopped at max_command_us, and its context with it: all that was submitted has
 * ended, CONTEXT_STATUS says why, and a new file works. Nobody else sees anything: not a tenant of the same
 * partition, not one of another. [CMD-24, CMD-25]
 */
TEST_F(shares, hung)
{
	struct drm_tenon_context_status context;
	struct tdi_context_status status;
	struct bystander inside, outside;
	struct queue q, waits;
	struct buffer a;
	int64_t end = now_ns() + LONG;
	long long resets;
	int fd;

	ASSERT_TRUE(create("a"));
	ASSERT_TRUE(create("b"));
	resets = shows("a", "resets");
	EXPECT_EQ(0, set("a/max_command_us", "50000"));
	chmod(node_of("a"), 0666);
	chmod(node_of("b"), 0666);
	node_path = node_of("b");
	ASSERT_TRUE(bystander_start(&outside));
	node_path = node_of("a");
	ASSERT_TRUE(bystander_start(&inside));
	ASSERT_TRUE(bystander_goes_on(&outside, 1));
	ASSERT_TRUE(bystander_goes_on(&inside, 1));
	fd = node_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, buffer_make(fd, PAGE, RW, &a));
	ASSERT_EQ(0, queue_make(fd, 8, -1, &q));
	ASSERT_EQ(0, queue_make(fd, 8, -1, &waits));
	EXPECT_EQ(2, shows("a", "contexts"));
	put_wait(&waits, a.id, 0, 1, LONG);
	put(&waits, TDI_OP_NOP);
	ASSERT_EQ(0, submit(&waits));
	put_fill(&q, a.id, 8, 8, 0x21);
	put(&q, TDI_OP_EXEC);
	put_fill(&q, a.id, 16, 8, 0x22);
	ASSERT_TRUE(fault("hold"));
	ASSERT_EQ(0, submit(&q));

	EXPECT_TRUE(ends(&q, TDI_SC_OK));
	EXPECT_TRUE(ends(&q, TDI_SC_COMMAND_TIME));
	EXPECT_TRUE(ends(&q, TDI_SC_ABORTED));
	EXPECT_TRUE(ends(&waits, TDI_SC_ABORTED));
	EXPECT_TRUE(ends(&waits, TDI_SC_ABORTED));
	EXPECT_TRUE(all_bytes(a.data + 16, 0, 8));
	do {
		ASSERT_EQ(0, context_status(fd, &context, &status));
	} while (!(context.flags & DRM_TENON_CONTEXT_DEAD) && now_ns() < end);
	EXPECT_TRUE(context.flags & DRM_TENON_CONTEXT_DEAD);
	EXPECT_EQ(2, status.queues);
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(TDI_QUEUE_STOPPED, status.queue[i].state);
		EXPECT_EQ(TDI_STOP_HANG, status.queue[i].reason);
	}
	/* Nothing more, and what is submitted all the same ends by the kick that it asks for. */
	EXPECT_EQ(EIO, buffer_map(&a, 0, PAGE, RW));
	EXPECT_EQ(EIO, buffer_unmap(fd, a.id));
	EXPECT_EQ(EIO, queue_create(fd, 8, -1, &(struct queue){ 0 }));
	EXPECT_EQ(EIO, queue_destroy(fd, q.made.queue));
	put(&q, TDI_OP_NOP);
	EXPECT_EQ(0, submit(&q));
	EXPECT_TRUE(ends(&q, TDI_SC_ABORTED));

	EXPECT_TRUE(comes_to("a", "contexts", 1));
	EXPECT_TRUE(comes_to("a", "queues", 1));
	EXPECT_TRUE(works("a"));
	EXPECT_TRUE(bystander_goes_on(&inside, 3));
	EXPECT_TRUE(bystander_goes_on(&outside, 3));
	EXPECT_TRUE(bystander_stop(&inside));
	EXPECT_TRUE(bystander_stop(&outside));
	EXPECT_EQ(resets, shows("a", "resets"));
	queue_unmap(&q);
	queue_unmap(&waits);
	munmap(a.data, PAGE);
	close(fd);
	EXPECT_TRUE(comes_to("a", "pinned_bytes", 0));
}

TEST_F(shares, default_partition)
{
	int number;

	ASSERT_EQ(0, mkdir(at("default"), 0755));
	ASSERT_TRUE(becomes("default/state", "active"));
	EXPECT_TRUE(is("default/enable", "1"));
	number = number_of("default");
	EXPECT_EQ(0, set("default/queues_max", "7"));
	EXPECT_EQ(7, shows("default", "limits/queues_max"));
	EXPECT_TRUE(works("default"));
	/* It stays when its directory goes, with the settings that it began with. */
	EXPECT_EQ(0, rmdir(at("default")));
	EXPECT_TRUE(comes_to("default", "limits/queues_max", 4096));
	ASSERT_EQ(0, mkdir(at("default"), 0755));
	ASSERT_TRUE(becomes("default/state", "active"));
	EXPECT_EQ(number, number_of("default"));
	EXPECT_EQ(0, set("default/enable", "0"));
	ASSERT_TRUE(becomes("default/state", "off"));
	EXPECT_EQ(-1, shows("default", "contexts"));
	EXPECT_EQ(0, rmdir(at("default")));
	EXPECT_TRUE(comes_to("default", "contexts", 0));
	/* Switched off at once, before a worker has taken hold of it. */
	for (unsigned int i = 0; i < 10; i++) {
		ASSERT_EQ(0, mkdir(at("default"), 0755));
		EXPECT_EQ(0, set("default/enable", "0"));
		ASSERT_TRUE(becomes("default/state", "off"));
		EXPECT_EQ(-1, shows("default", "contexts"));
		EXPECT_EQ(0, rmdir(at("default")));
		ASSERT_TRUE(comes_to("default", "contexts", 0));
	}
}

TEST_F(shares, controller_goes)
{
	char driver[96];
	int number;

	ASSERT_TRUE(create("a"));
	EXPECT_EQ(0, set("a/weight", "700"));
	number = number_of("a");
	snprintf(driver, sizeof(driver), "/sys/bus/pci/drivers/tenon/%s", "unbind");
	ASSERT_EQ(0, put_text(driver, address));
	EXPECT_TRUE(is("state", "absent"));
	EXPECT_TRUE(is("a/state", "absent"));
	EXPECT_TRUE(is("a/device", ""));
	EXPECT_EQ(-ENODEV, open_stale(number, "/stale", 0));
	snprintf(driver, sizeof(driver), "/sys/bus/pci/drivers/tenon/%s", "bind");
	ASSERT_EQ(0, put_text(driver, address));
	ASSERT_TRUE(becomes("a/state", "active"));
	EXPECT_NE(number, number_of("a"));
	EXPECT_EQ(700, shows("a", "limits/weight"));
	EXPECT_TRUE(works("a"));
	/* A reset makes all groups anew. */
	snprintf(driver, sizeof(driver), "/sys/bus/pci/devices/%s/reset", address);
	ASSERT_EQ(0, put_text(driver, "1"));
	EXPECT_TRUE(works("a"));
}

TEST_F(shares, recycled)
{
	char node[64], uuid[64];
	struct buffer a, b;
	struct queue q;
	int old, idle, fd;

	ASSERT_TRUE(create("a"));
	EXPECT_EQ(0, set("a/allow_uid", "20002"));
	snprintf(node, sizeof(node), "%s", node_of("a"));
	chmod(node, 0666);
	old = open_as(20002, node);
	ASSERT_LE(0, old);
	idle = open_as(20002, node);
	ASSERT_LE(0, idle);
	ASSERT_EQ(0, buffer_make(old, PAGE, RW, &a));
	ASSERT_EQ(0, queue_make(old, 8, -1, &q));
	snprintf(uuid, sizeof(uuid), "%s", get_text(at("a/uuid")));
	EXPECT_EQ(EINVAL, set("a/recycle", "1"));
	EXPECT_EQ(0, set("a/drain", "1"));
	/* Still there. */
	EXPECT_EQ(0, set("a/allow_uid", "20003"));
	EXPECT_EQ(EBUSY, set("a/recycle", "1"));
	EXPECT_EQ(EBUSY, buffer_make(idle, PAGE, RW, &b));
	munmap(b.data, PAGE);
	EXPECT_TRUE(is("a/uuid", uuid));
	queue_unmap(&q);
	munmap(a.data, a.size);
	close(old);
	ASSERT_TRUE(comes_to("a", "contexts", 0));
	/* Only to another tenant. */
	EXPECT_EQ(0, set("a/recycle", "1"));
	EXPECT_TRUE(is("a/state", "active"));
	EXPECT_STREQ(node, node_of("a"));
	EXPECT_NE(0, strcmp(uuid, get_text(at("a/uuid"))));
	EXPECT_EQ(-EACCES, open_as(20002, node));
	fd = open_as(20003, node);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(works_on(fd));
	EXPECT_EQ(EIO, buffer_make(idle, PAGE, RW, &(struct buffer){ 0 }));
	EXPECT_EQ(EIO, queue_create(idle, 8, -1, &q));
	EXPECT_EQ(0, limits(idle).queues);
	EXPECT_TRUE(works_on(fd));
	close(fd);
	EXPECT_EQ(0, set("a/drain", "1"));
	ASSERT_TRUE(comes_to("a", "contexts", 0));
	EXPECT_EQ(EINVAL, set("a/recycle", "1"));
	close(idle);
}

/* Live ones and tombstones together: no more than there are numbers. */
TEST_F(shares, full)
{
	unsigned int made = 0;
	char text[32];

	ASSERT_EQ(0, mkdir(at("a"), 0755));
	for (; made < 300 && !set("a/enable", "1"); made++) {
		ASSERT_TRUE(becomes("a/state", "active"));
		ASSERT_EQ(0, set("a/enable", "0"));
		ASSERT_TRUE(becomes("a/state", "off"));
	}
	/* The default one has a number, too. */
	EXPECT_EQ(255, made);
	EXPECT_EQ(ENOSPC, set("a/enable", "1"));
	EXPECT_TRUE(is("a/enable", "0"));
	EXPECT_TRUE(is("a/state", "off"));
	snprintf(text, sizeof(text), "%s", get_text(ROOT "/tombstones"));
	EXPECT_NE(NULL, strstr(text, "-255"));
	EXPECT_EQ(0, reap(77));
	ASSERT_EQ(0, set("a/enable", "1"));
	ASSERT_TRUE(becomes("a/state", "active"));
	EXPECT_EQ(77, number_of("a"));
	EXPECT_TRUE(works("a"));
}

/* ----------------------------------------------------------------------------------------- limits */

static bool refused(int fd, uint64_t needed, uint64_t allowed)
{
	struct drm_tenon_context_status status;

	if (context_status(fd, &status, NULL) || status.needed != needed || status.allowed != allowed) {
		printf("# needed %llu, allowed %llu\n", (unsigned long long)status.needed,
		       (unsigned long long)status.allowed);
		return false;
	}
	return true;
}

TEST_F(shares, limits)
{
	struct buffer a, b[3];
	struct queue q[3];
	int fd[3];

	ASSERT_TRUE(create("a"));
	for (unsigned int i = 0; i < 3; i++) {
		fd[i] = open(node_of("a"), O_RDWR);
		ASSERT_LE(0, fd[i]);
	}
	EXPECT_EQ(0, set("a/contexts_max", "2"));
	for (unsigned int i = 0; i < 3; i++)
		ASSERT_EQ(i < 2 ? 0 : ENOSPC, buffer_make(fd[i], PAGE, RW, &b[i]));
	EXPECT_TRUE(refused(fd[2], 3, 2));
	EXPECT_EQ(1, shows("a", "limit_hits"));
	/* Lowered below what is used: it stays, and no more come. */
	EXPECT_EQ(0, set("a/contexts_max", "1"));
	munmap(b[1].data, PAGE);
	close(fd[1]);
	ASSERT_TRUE(comes_to("a", "contexts", 1));
	EXPECT_EQ(ENOSPC, buffer_map(&b[2], 0, PAGE, RW));
	EXPECT_TRUE(refused(fd[2], 2, 1));
	EXPECT_EQ(0, set("a/contexts_max", "2"));
	EXPECT_EQ(0, buffer_map(&b[2], 0, PAGE, RW));

	/* Queues of all contexts together. */
	EXPECT_EQ(0, set("a/queues_max", "2"));
	EXPECT_EQ(2, limits(fd[0]).queues);
	ASSERT_EQ(0, queue_create(fd[0], 8, -1, &q[0]));
	ASSERT_EQ(0, queue_create(fd[2], 8, -1, &q[1]));
	EXPECT_EQ(2, shows("a", "queues"));
	EXPECT_EQ(ENOSPC, queue_create(fd[0], 8, -1, &q[2]));
	EXPECT_TRUE(refused(fd[0], 3, 2));
	ASSERT_EQ(0, queue_destroy(fd[2], q[1].made.queue));
	EXPECT_EQ(0, queue_create(fd[0], 8, -1, &q[2]));
	EXPECT_EQ(0, set("a/queues_max", "0"));
	EXPECT_EQ(ENOSPC, queue_create(fd[0], 8, -1, &q[1]));
	EXPECT_TRUE(refused(fd[0], 3, 0));
	ASSERT_EQ(0, queue_destroy(fd[0], q[0].made.queue));
	ASSERT_EQ(0, queue_destroy(fd[0], q[2].made.queue));
	EXPECT_EQ(0, shows("a", "queues"));
	EXPECT_EQ(0, set("a/queues_max", "4"));

	/* Bytes: two buffers of a page are there, and room for two more. */
	EXPECT_EQ(2 * PAGE, shows("a", "pinned_bytes"));
	EXPECT_EQ(0, set("a/pinned_max", "16K"));
	EXPECT_EQ(4 * PAGE, limits(fd[0]).memory_bytes);
	EXPECT_EQ(ENOMEM, buffer_make(fd[0], 2 * PAGE + 1, 0, &a));
	EXPECT_TRUE(refused(fd[0], 5 * PAGE, 4 * PAGE));
	/* The rings of a queue are five pages. */
	EXPECT_EQ(ENOMEM, queue_create(fd[0], 8, -1, &q[0]));
	EXPECT_TRUE(refused(fd[0], 7 * PAGE, 4 * PAGE));
	EXPECT_EQ(0, buffer_make(fd[0], 2 * PAGE, 0, &a));
	EXPECT_EQ(ENOMEM, buffer_make(fd[2], 1, 0, &b[1]));
	buffer_end(&a);
	EXPECT_EQ(0, buffer_make(fd[2], PAGE, 0, &b[1]));
	EXPECT_EQ(7, shows("a", "limit_hits"));
	EXPECT_EQ(0, shows("default", "limit_hits"));
	for (unsigned int i = 0; i < 3; i++)
		munmap(b[i].data, PAGE);
	close(fd[0]);
	close(fd[2]);
	EXPECT_TRUE(comes_to("a", "pinned_bytes", 0));
	EXPECT_TRUE(comes_to("a", "contexts", 0));
}

#define RACERS 6

static pthread_barrier_t race_begins;
static int race_kind, race_fd[RACERS];
static struct queue race_queue[RACERS];
static struct buffer race_buffer[RACERS];

static void *racer(void *arg)
{
	uintptr_t i = (uintptr_t)arg;

	pthread_barrier_wait(&race_begins);
	if (race_kind == 1)
		return (void *)(uintptr_t)queue_create(race_fd[i], 8, -1, &race_queue[i]);
	/* The first map makes the context. */
	return (void *)(uintptr_t)buffer_make(race_fd[i], PAGE, race_kind ? 0 : RW, &race_buffer[i]);
}

/* How many of all that begin together get theirs; -1 if one gets another error than it must. */
static int race(int kind)
{
	pthread_t thread[RACERS];
	int won = 0;

	race_kind = kind;
	for (uintptr_t i = 0; i < RACERS; i++)
		pthread_create(&thread[i], NULL, racer, (void *)i);
	for (unsigned int i = 0; i < RACERS; i++) {
		void *error;

		pthread_join(thread[i], &error);
		if (!error)
			won++;
		else if ((uintptr_t)error != (kind == 2 ? ENOMEM : ENOSPC))
			return -1;
		if (error && kind == 1)
			race_queue[i].fd = -1;
	}
	return won;
}

TEST_F(shares, races)
{
	char path[64];

	ASSERT_TRUE(create("a"));
	snprintf(path, sizeof(path), "%s", node_of("a"));
	pthread_barrier_init(&race_begins, NULL, RACERS);
	for (unsigned int round = 0; round < 10; round++) {
		memset(race_buffer, 0, sizeof(race_buffer));
		for (unsigned int i = 0; i < RACERS; i++)
			race_fd[i] = open(path, O_RDWR | O_CLOEXEC);
		EXPECT_EQ(0, set("a/contexts_max", "5"));
		EXPECT_EQ(RACERS - 1, race(0));
		EXPECT_EQ(0, set("a/contexts_max", "6"));
		EXPECT_EQ(0, set("a/queues_max", "5"));
		EXPECT_EQ(RACERS - 1, race(1));
		for (unsigned int i = 0; i < RACERS; i++)
			close(race_fd[i]);
		for (unsigned int i = 0; i < RACERS; i++)
			if (race_buffer[i].data && race_buffer[i].data != MAP_FAILED)
				munmap(race_buffer[i].data, PAGE);
		ASSERT_TRUE(comes_to("a", "contexts", 0));
		ASSERT_TRUE(comes_to("a", "queues", 0));
		ASSERT_TRUE(comes_to("a", "pinned_bytes", 0));
		for (unsigned int i = 0; i < RACERS; i++)
			race_fd[i] = open(path, O_RDWR | O_CLOEXEC);
		EXPECT_EQ(0, set("a/pinned_max", "20480"));
		EXPECT_EQ(RACERS - 1, race(2));
		EXPECT_EQ(0, set("a/pinned_max", "1G"));
		for (unsigned int i = 0; i < RACERS; i++) {
			if (race_buffer[i].data && race_buffer[i].data != MAP_FAILED)
				munmap(race_buffer[i].data, PAGE);
			close(race_fd[i]);
		}
		ASSERT_TRUE(comes_to("a", "pinned_bytes", 0));
	}
}

/* ----------------------------------------------------------------------------------------- memory */

#define GB	(1ULL << 30)

static int bind_anew(void)
{
	int error = put_text("/sys/bus/pci/drivers/tenon/unbind", address);

	return error ? error : put_text("/sys/bus/pci/drivers/tenon/bind", address);
}

/* As many bytes of the device's memory. */
static int promise(const char *partition, unsigned long long bytes)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", bytes);
	return set(of(partition, "memory_max"), text);
}

static const char *const racing[] = { "a", "b" };

static void *promiser(void *arg)
{
	const char *partition = racing[(uintptr_t)arg];
	char path[192];
	int error;

	/* at() isn't for two threads. */
	snprintf(path, sizeof(path), ROOT "/%s/%s/memory_max", address, partition);
	pthread_barrier_wait(&race_begins);
	error = put_text(path, "536870913");
	return (void *)(uintptr_t)error;
}

/* A device says that it has a GiB: to the byte, no more of that is promised, unless the operator wants it. */
TEST_F(shares, memory)
{
	size_t gigabyte = offsetof(struct tdi_identify, memory_bytes) + 3;
	char words[32];

	snprintf(words, sizeof(words), "identify byte %zu", gigabyte * 256 + 0x40);
	ASSERT_TRUE(fault(words));
	ASSERT_EQ(0, bind_anew());
	ASSERT_TRUE(create("a"));
	ASSERT_TRUE(create("b"));
	EXPECT_EQ(0, promise("a", GB / 4));
	EXPECT_EQ(ENOSPC, promise("b", 3 * (GB / 4) + 1));
	EXPECT_TRUE(is("b/memory_max", "0"));
	EXPECT_EQ(0, promise("b", 3 * (GB / 4)));
	EXPECT_EQ(ENOSPC, promise("a", GB / 4 + 1));
	EXPECT_EQ(GB / 4, shows("a", "limits/memory_max"));
	EXPECT_EQ(3 * (GB / 4), shows("b", "limits/memory_max"));

	/* One that isn't there yet has nothing; it can't come when there is nothing left. */
	ASSERT_EQ(0, mkdir(at("c"), 0755));
	EXPECT_EQ(ENOSPC, promise("c", 1));
	EXPECT_EQ(0, promise("a", GB / 4 - 1));
	EXPECT_EQ(0, promise("c", 1));
	EXPECT_EQ(0, promise("a", GB / 4));
	EXPECT_EQ(ENOSPC, set("c/enable", "1"));
	EXPECT_EQ(0, promise("a", GB / 4 - 1));
	EXPECT_EQ(0, set("c/enable", "1"));
	ASSERT_TRUE(becomes("c/state", "active"));
	ASSERT_EQ(0, rmdir(at("c")));

	/* What was promised twice stays so; more isn't. Nobody has more than there is. */
	EXPECT_EQ(0, set("overcommit", "1"));
	EXPECT_EQ(0, promise("a", GB));
	EXPECT_EQ(ENOSPC, promise("b", GB + 1));
	EXPECT_EQ(0, set("overcommit", "0"));
	EXPECT_TRUE(is("a/memory_max", "1073741824"));
	EXPECT_EQ(ENOSPC, promise("b", GB / 2));
	EXPECT_TRUE(works("a"));

	pthread_barrier_init(&race_begins, NULL, ARRAY_SIZE(racing));
	for (unsigned int round = 0; round < 50; round++) {
		pthread_t thread[ARRAY_SIZE(racing)];
		unsigned int won = 0;

		ASSERT_EQ(0, promise("a", 1));
		ASSERT_EQ(0, promise("b", 1));
		for (uintptr_t i = 0; i < ARRAY_SIZE(racing); i++)
			pthread_create(&thread[i], NULL, promiser, (void *)i);
		for (unsigned int i = 0; i < ARRAY_SIZE(racing); i++) {
			void *error;

			pthread_join(thread[i], &error);
			EXPECT_TRUE(!error || (uintptr_t)error == ENOSPC);
			won += !error;
		}
		ASSERT_EQ(1, won);
	}
	pthread_barrier_destroy(&race_begins);
	ASSERT_TRUE(fault("go"));
	ASSERT_EQ(0, bind_anew());
}

/* -------------------------------------------------------------------------------------------- who */

TEST_F(shares, uids)
{
	char node[64];
	int fd;

	ASSERT_TRUE(create("a"));
	snprintf(node, sizeof(node), "%s", node_of("a"));
	chmod(node, 0666);
	EXPECT_EQ(0, set("a/allow_uid", "20002"));
	EXPECT_EQ(-EACCES, open_as(0, node));
	EXPECT_EQ(-EACCES, open_as(20003, node));
	EXPECT_EQ(2, shows("a", "refused_opens"));
	fd = open_as(20002, node);
	ASSERT_LE(0, fd);
	/* Passed on, and used under other uids: all of it is the node's partition's. */
	EXPECT_TRUE(works_on(fd));
	EXPECT_EQ(1, shows("a", "contexts"));
	EXPECT_EQ(0, shows("default", "contexts"));
	{
		int status = -1;
		pid_t child = fork();

		if (!child) {
			struct queue q;

			_exit(setuid(20003) || !works_on(fd) || queue_create(fd, 8, -1, &q));
		}
		waitpid(child, &status, 0);
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(1, shows("a", "queues"));
	EXPECT_EQ(0, shows("default", "queues"));
	close(fd);
	EXPECT_EQ(0, set("a/allow_uid", "any"));
	fd = open_as(20003, node);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(2, shows("a", "refused_opens"));
}

#define NESTED_ROUNDS 100

enum way { WAY_NODE, WAY_OWN_NODE, WAY_PASSED, WAYS };

/* Shared with the one who is nested. */
struct nested {
	uint32_t ready, leave;
	unsigned long long busy;	/* of his completions */
	int32_t wrong, detail;
};

#define NESTED_WANT(good) do {		\
	if (!(good)) {			\
		n->detail = errno;	\
		n->wrong = __LINE__;	\
		_exit(1);		\
	}				\
} while (0)

/* What he adds up is what his completions say. */
static bool work_for(struct queue *q, uint32_t buffer, unsigned long long *busy)
{
	struct tdi_cqe cqe;

	for (unsigned int i = 0; i < NESTED_ROUNDS; i++) {
		put_fill(q, buffer, 0, PAGE, (uint8_t)i);
		if (submit(q) || finish(q, &cqe) || cqe.status != TDI_SC_OK)
			return false;
		*busy += cqe.busy_ns;
	}
	return true;
}

/* The first process of a namespace in a namespace, under a uid of its own. The partition has room for one queue. */
static void nested(struct nested *n, enum way way, const char *node, int number, int passed)
{
	struct queue q, second;
	struct buffer a;
	int fd;

	NESTED_WANT(getpid() == 1);
	NESTED_WANT(!mount("tmpfs", "/nested", "tmpfs", 0, NULL));
	NESTED_WANT(!mknod("/nested/node", S_IFCHR | 0666, makedev(261, (unsigned int)number)));
	NESTED_WANT(!chmod("/nested/node", 0666));
	NESTED_WANT(!setgid(FOREIGN_UID) && !setuid(FOREIGN_UID));
	fd = way == WAY_PASSED ? passed : open(way == WAY_NODE ? node : "/nested/node", O_RDWR | O_CLOEXEC);
	NESTED_WANT(fd >= 0);
	NESTED_WANT(!buffer_make(fd, PAGE, RW, &a));
	NESTED_WANT(!queue_make(fd, 8, -1, &q));
	NESTED_WANT(queue_create(fd, 8, -1, &second) == ENOSPC);
	NESTED_WANT(refused(fd, 3, 2));
	NESTED_WANT(work_for(&q, a.id, &n->busy));
	__atomic_store_n(&n->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&n->leave, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	_exit(0);
}

/* In new pid and mount namespaces, and once more in those. */
static pid_t nest(struct nested *n, enum way way, const char *node, int number, int passed)
{
	pid_t child = fork();

	if (child)
		return child;
	for (unsigned int depth = 0; depth < 2; depth++) {
		int status = 0;

		NESTED_WANT(!unshare(CLONE_NEWPID | CLONE_NEWNS));
		NESTED_WANT(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
		child = fork();
		NESTED_WANT(child >= 0);
		if (child) {
			waitpid(child, &status, 0);
			_exit(status ? 1 : 0);
		}
	}
	nested(n, way, node, number, passed);
	return 0;
}

/* The programs here name no interpreter: a library that a container's runtime puts in between would not be run. */
static bool is_static(void)
{
	const ElfW(Phdr) *header = (const void *)getauxval(AT_PHDR);

	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		if (header[i].p_type == PT_INTERP)
			return false;
	return header;
}

/*
 * Whoever it is who uses it, what was opened is charged to the partition of its node, and bound by its limits: a
 * static binary, as the first process of nested pid and mount namespaces, under another uid, by the node, by a device
 * file of its own or by a descriptor that was passed.
 */
TEST_F(shares, nested)
{
	struct nested *n = mmap(NULL, WAYS * sizeof(*n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long long others = shows("default", "usage/commands_fill");
	unsigned long long busy = 0;
	char node[64];
	struct buffer a;
	struct queue q;
	int fd, status;

	ASSERT_TRUE(is_static());
	ASSERT_TRUE(!mkdir("/nested", 0755) || errno == EEXIST);
	ASSERT_TRUE(create("a"));
	snprintf(node, sizeof(node), "%s", node_of("a"));
	chmod(node, 0666);
	EXPECT_EQ(0, set("a/queues_max", "2"));
	fd = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, buffer_make(fd, PAGE, RW, &a));
	ASSERT_EQ(0, queue_make(fd, 8, -1, &q));
	for (enum way way = 0; way < WAYS; way++, n++) {
		int passed = way == WAY_PASSED ? open_as(20003, node) : -1;
		int64_t end = now_ns() + LONG;
		pid_t child = nest(n, way, node, number_of("a"), passed);

		if (way == WAY_PASSED) {
			ASSERT_LE(0, passed);
			close(passed);
		}
		while (!__atomic_load_n(&n->ready, __ATOMIC_ACQUIRE) && !n->wrong && now_ns() < end)
			sleep_ms(1);
		ASSERT_EQ(0, n->wrong)
			TH_LOG("way %d: %s", way, strerror(n->detail));
		/* He took the last one, from all. */
		EXPECT_EQ(2, shows("a", "queues"));
		EXPECT_EQ(2, shows("a", "contexts"));
		EXPECT_EQ(ENOSPC, queue_create(fd, 8, -1, &(struct queue){ 0 }));
		EXPECT_TRUE(refused(fd, 3, 2));
		EXPECT_EQ(0, shows("default", "queues"));
		EXPECT_EQ(0, shows("default", "contexts"));
		EXPECT_TRUE(work_for(&q, a.id, &busy));
		__atomic_store_n(&n->leave, 1, __ATOMIC_RELEASE);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		busy += n->busy;
		EXPECT_TRUE(comes_to("a", "contexts", 1));
		EXPECT_TRUE(comes_to("a", "queues", 1));
	}
	queue_unmap(&q);
	munmap(a.data, PAGE);
	close(fd);
	ASSERT_TRUE(comes_to("a", "contexts", 0));
	EXPECT_EQ(2 * WAYS * NESTED_ROUNDS, shows("a", "usage/commands_fill"));
	EXPECT_EQ((long long)busy, shows("a", "usage/busy_ns"));
	EXPECT_EQ(2 * WAYS, shows("a", "limit_hits"));
	EXPECT_EQ(others, shows("default", "usage/commands_fill"));
	rmdir("/nested");
}

/* open() from within a cgroup. */
static int open_within(const char *cgroup, const char *node)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/cgroup%s/cgroup.procs", cgroup);
	if (put_text(path, "0"))
		return -ECHILD;
	fd = open_as(0, node);
	if (fd >= 0)
		close(fd);
	return put_text("/cgroup/cgroup.procs", "0") ? -ECHILD : fd < 0 ? fd : 0;
}

TEST_F(shares, cgroups)
{
	char node[64];

	ASSERT_TRUE(create("a"));
	snprintf(node, sizeof(node), "%s", node_of("a"));
	ASSERT_EQ(0, mkdir("/cgroup/one", 0755));
	ASSERT_EQ(0, mkdir("/cgroup/one/nested", 0755));
	ASSERT_EQ(0, mkdir("/cgroup/two", 0755));
	EXPECT_EQ(0, set("a/allow_cgroup", "/one\n"));
	EXPECT_TRUE(is("a/allow_cgroup", "/one"));
	EXPECT_EQ(-EACCES, open_as(0, node));
	EXPECT_EQ(-EACCES, open_within("/two", node));
	EXPECT_EQ(0, open_within("/one", node));
	EXPECT_EQ(0, open_within("/one/nested", node));
	EXPECT_EQ(2, shows("a", "refused_opens"));
	/* Both must be right. */
	EXPECT_EQ(0, set("a/allow_uid", "20002"));
	EXPECT_EQ(-EACCES, open_within("/one", node));
	EXPECT_EQ(0, set("a/allow_uid", "any"));
	/* One of the same name that is made later is another. */
	ASSERT_EQ(0, rmdir("/cgroup/one/nested"));
	ASSERT_EQ(0, rmdir("/cgroup/one"));
	ASSERT_EQ(0, mkdir("/cgroup/one", 0755));
	EXPECT_EQ(-EACCES, open_within("/one", node));
	EXPECT_EQ(0, set("a/allow_cgroup", "/one"));
	EXPECT_EQ(0, open_within("/one", node));
	EXPECT_EQ(0, set("a/allow_cgroup", "\n"));
	EXPECT_EQ(0, open_within("/two", node));
	EXPECT_EQ(0, rmdir("/cgroup/one"));
	EXPECT_EQ(0, rmdir("/cgroup/two"));
}
int main(int argc, char **argv)
{
	char *run[] = { argv[0], NULL };

	if (argc != 2)
		return KSFT_FAIL;
	address = argv[1];
	return test_harness_run(1, run);
}
