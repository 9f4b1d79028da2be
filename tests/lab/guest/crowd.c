// SPDX-License-Identifier: MIT
/*
 * crowd DEVICE ROUNDS: partitions come, change, drain, are recycled and go under load, beside one that stays, and a
 * process holds the node of each to the end. If this fails, a busy host crashes or hangs when its operator changes
 * something, or a tenant of one partition notices what happens to another.
 */
#define _GNU_SOURCE
#include "bystander.h"
#include "operator.h"

static unsigned int rounds;

/* A tenant who opens, works and is thrown out, all the time; the errors are those that he must expect. */
static void tenant(const char *path, uint32_t *stop)
{
	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
		int fd = open(path, O_RDWR | O_CLOEXEC), error;
		struct buffer a = { 0 };
		struct queue q = { 0 };

		if (fd < 0) {
			if (errno != ENOENT && errno != ENODEV && errno != EBUSY && errno != EACCES && errno != ENXIO)
				_exit(1);
			sleep_ms(1);
			continue;
		}
		error = buffer_make(fd, PAGE, RW, &a);
		if (!error)
			error = queue_make(fd, 64, -1, &q);
		if (error && error != ENODEV && error != EIO && error != EBUSY && error != EINVAL && error != ENOSPC)
			_exit(2);
		for (unsigned int i = 0; i < 20 && !error; i++) {
			while (q.tail - q.head < 32)
				put_fill(&q, a.id, 0, PAGE, 0x55);
			error = submit(&q);
			while (!error && q.head != q.tail) {
				struct tdi_cqe cqe;

				error = finish(&q, &cqe);
				if (!error && cqe.status != TDI_SC_OK)
					error = cqe.status == TDI_SC_ABORTED ? EIO : EBADMSG;
			}
			if (error && error != EIO && error != ENODEV)
				_exit(3);
		}
		close(fd);
		if (q.producer && q.cq)
			queue_unmap(&q);
		if (a.data && a.data != MAP_FAILED)
			munmap(a.data, PAGE);
	}
	_exit(0);
}

/* Those who are there still were told to stop; false if one saw what he mustn't. */
static bool tenants_end(pid_t child[2])
{
	bool good = true;

	for (unsigned int i = 0; i < 2; i++) {
		int status = 0;

		if (child[i])
			good &= waitpid(child[i], &status, 0) == child[i] && !status;
		child[i] = 0;
	}
	return good;
}

TEST(crowd)
{
	uint32_t *stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct bystander bystander;
	char kept[64];

	ASSERT_TRUE(operator_begin());
	ASSERT_TRUE(create("kept"));
	snprintf(kept, sizeof(kept), "%s", node_of("kept"));
	chmod(kept, 0666);
	node_path = kept;
	ASSERT_TRUE(bystander_start(&bystander));
	for (unsigned int round = 0; round < rounds; round++) {
		char node[64], text[16];
		pid_t child[2];
		int held, number;

		ASSERT_TRUE(create("a"));
		number = number_of("a");
		snprintf(node, sizeof(node), "%s", node_of("a"));
		*stop = 0;
		for (unsigned int i = 0; i < 2; i++) {
			child[i] = fork();
			if (!child[i])
				tenant(node, stop);
		}
		held = open(node, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, held);
		if (round % 2)
			ASSERT_TRUE(works_on(held));
		snprintf(text, sizeof(text), "%u", 1 + round % 10000);
		EXPECT_EQ(0, set("a/weight", text));
		EXPECT_EQ(0, set("a/queues_max", round % 3 ? "4096" : "1"));
		sleep_ms(round % 16);
		if (round % 4 < 2) {
			EXPECT_EQ(0, set("a/drain", "1"));
			EXPECT_EQ(-EBUSY, open_as(0, node));
		}
		if (round % 4 == 0) {
			/* Recycled: the tenants end when they can open no more. */
			snprintf(text, sizeof(text), "%u", 1000 + round);
			EXPECT_EQ(0, set("a/allow_uid", text));
			*stop = 1;
			for (int64_t end = now_ns() + LONG; set("a/recycle", "1") == EBUSY && now_ns() < end;)
				sleep_ms(1);
			/* One who was about to open it would take the queue that works() is to have. */
			ASSERT_TRUE(tenants_end(child));
			EXPECT_EQ(0, set("a/allow_uid", "any"));
			EXPECT_TRUE(is("a/state", "active"));
			EXPECT_EQ(EIO, buffer_make(held, PAGE, 0, &(struct buffer){ 0 }));
			EXPECT_TRUE(works("a"));
		}
		/* Under load, but for the recycled. */
		EXPECT_EQ(0, round % 4 == 3 ? set("a/enable", "0") : rmdir(at("a")));
		if (round % 4 == 3) {
			EXPECT_TRUE(becomes("a/state", "off"));
			EXPECT_EQ(0, rmdir(at("a")));
		}
		snprintf(text, sizeof(text), "%d", number);
		ASSERT_TRUE(becomes_text(ROOT "/tombstones", text));
		*stop = 1;
		ASSERT_TRUE(tenants_end(child));
		EXPECT_EQ(EBUSY, reap(number));
		close(held);
		for (int64_t end = now_ns() + LONG; reap(number) == EBUSY && now_ns() < end;)
			sleep_ms(1);
		EXPECT_STREQ("", get_text(ROOT "/tombstones"));
		ASSERT_TRUE(bystander_goes_on(&bystander, 1));
	}
	EXPECT_TRUE(bystander_stop(&bystander));
	EXPECT_TRUE(operator_end());
}
int main(int argc, char **argv)
{
	char *run[] = { argv[0], NULL };

	if (argc != 3)
		return KSFT_FAIL;
	address = argv[1];
	rounds = (unsigned int)atoi(argv[2]);
	return test_harness_run(1, run);
}
