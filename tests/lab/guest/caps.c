// SPDX-License-Identifier: MIT
/*
 * caps DEVICE: a partition with busy_max, and one without. If this fails, a tenant gets more of the device than was
 * sold to it, or is held back by another's cap, or nobody sees why it is slow.
 */
#define _GNU_SOURCE
#include "operator.h"

#define BYTES		(64 * PAGE)
#define PERIOD_US	10000
#define PERIOD_NS	(PERIOD_US * 1000LL)

struct client {
	int fd;
	struct buffer a;
	struct queue q;
	int64_t busy, longest;
};

static bool client_open(struct client *c, const char *partition)
{
	memset(c, 0, sizeof(*c));
	c->fd = open(node_of(partition), O_RDWR | O_CLOEXEC);
	return c->fd >= 0 && !buffer_make(c->fd, BYTES, RW, &c->a) && !queue_make(c->fd, 64, -1, &c->q);
}

static void client_close(struct client *c)
{
	queue_unmap(&c->q);
	munmap(c->a.data, c->a.size);
	close(c->fd);
}

static bool throttled(const struct queue *q)
{
	return __atomic_load_n(&q->kernel->flags, __ATOMIC_ACQUIRE) & TDI_KERNEL_THROTTLED;
}

/* Never without a command, but for what one completion takes to be seen; one round of that. */
static bool work(struct client *c)
{
	struct tdi_cqe cqe;

	while (c->q.tail - c->q.head < 32)
		put_fill(&c->q, c->a.id, 0, BYTES, 0x11);
	if (submit(&c->q) || finish(&c->q, &cqe) || cqe.status != TDI_SC_OK)
		return false;
	c->busy += (int64_t)cqe.busy_ns;
	if ((int64_t)cqe.busy_ns > c->longest)
		c->longest = (int64_t)cqe.busy_ns;
	return true;
}

/* Works until its queue says, or says no more, that it is throttled. */
static bool works_until(struct client *c, bool wanted)
{
	int64_t end = now_ns() + LONG;

	while (throttled(&c->q) != wanted)
		if (!work(c) || now_ns() > end)
			return false;
	return true;
}

static bool all_done(struct client *c)
{
	while (c->q.head != c->q.tail) {
		struct tdi_cqe cqe;

		if (finish(&c->q, &cqe) || cqe.status != TDI_SC_OK)
			return false;
	}
	return true;
}

/* A line of /dev/tenon-events of this type and partition, from @fd on. */
static bool told(int fd, const char *type, const char *partition)
{
	char line[1300], head[64], name[64];
	int64_t end = now_ns() + LONG;
	ssize_t bytes;

	snprintf(head, sizeof(head), " %s controller=", type);
	snprintf(name, sizeof(name), " partition=%s ", partition);
	while (now_ns() < end) {
		bytes = read(fd, line, sizeof(line) - 1);
		line[bytes > 0 ? bytes : 0] = '\0';
		if (strstr(line, head) && strstr(line, name))
			return true;
		if (bytes <= 0)
			sleep_ms(10);
	}
	return false;
}

FIXTURE(caps) {
	struct client capped, other;
	int events;
};

FIXTURE_SETUP(caps)
{
	char period[16];

	ASSERT_TRUE(operator_begin());
	ASSERT_TRUE(create("capped"));
	ASSERT_TRUE(create("other"));
	snprintf(period, sizeof(period), "%d", PERIOD_US);
	ASSERT_EQ(0, set("capped/busy_period_us", period));
	ASSERT_EQ(0, set("capped/busy_max", "10"));
	self->events = open("/dev/tenon-events", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->events);
	lseek(self->events, 0, SEEK_END);
	ASSERT_TRUE(client_open(&self->capped, "capped"));
	ASSERT_TRUE(client_open(&self->other, "other"));
}

FIXTURE_TEARDOWN(caps)
{
	client_close(&self->capped);
	client_close(&self->other);
	close(self->events);
	EXPECT_TRUE(operator_end());
}

/*
 * Whatever the machine has to do besides: no more than a tenth of the time, the tokens of two periods and the command
 * that took the last of them. Of the time an eighth is allowed: a guest's clock runs as it was calibrated.
 */
TEST_F(caps, held)
{
	int64_t since = now_ns(), most;

	ASSERT_TRUE(works_until(&self->capped, true));
	while (shows("capped", "usage/throttled_ns") < 500 * PERIOD_NS / 10)
		ASSERT_TRUE(work(&self->capped));
	most = (now_ns() - since) / 8 + 2 * PERIOD_NS / 10 + self->capped.longest;
	EXPECT_GE(most, self->capped.busy);
	EXPECT_LT(0, self->capped.busy);
	EXPECT_TRUE(told(self->events, "throttle", "capped"));
}

/* The other works as well, and nothing of that is its own. [QUE-24] */
TEST_F(caps, alone)
{
	struct queue q;

	for (unsigned int i = 0; i < 1000 || !throttled(&self->capped.q); i++) {
		ASSERT_TRUE(work(&self->capped));
		ASSERT_TRUE(work(&self->other));
		ASSERT_FALSE(throttled(&self->other.q));
	}
	ASSERT_EQ(0, queue_make(self->capped.fd, 8, -1, &q));
	EXPECT_TRUE(throttled(&q));
	EXPECT_LT(0, shows("capped", "usage/throttled_ns"));
	EXPECT_EQ(0, shows("other", "usage/throttled_ns"));
	queue_unmap(&q);
}

/* Over when nothing is to be done any more, or when the operator says so. [QUE-24] */
TEST_F(caps, over)
{
	int64_t end = now_ns() + LONG;

	ASSERT_TRUE(works_until(&self->capped, true));
	ASSERT_TRUE(all_done(&self->capped));
	while (throttled(&self->capped.q) && now_ns() < end)
		sleep_ms(10);
	EXPECT_FALSE(throttled(&self->capped.q));
	ASSERT_TRUE(works_until(&self->capped, true));
	EXPECT_EQ(0, set("capped/busy_max", "0"));
	EXPECT_TRUE(works_until(&self->capped, false));
}

int main(int argc, char **argv)
{
	char *run[] = { argv[0], NULL };

	if (argc != 2)
		return KSFT_FAIL;
	address = argv[1];
	return test_harness_run(1, run);
}
