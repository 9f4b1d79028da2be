// SPDX-License-Identifier: MIT
/*
 * bill DEVICE DRIVER: adds up the busy time of each completion and compares it with what the kernel's books have for
 * the context, the partition and the controller. If this fails, tenants pay for what they didn't use, or don't pay.
 */
#include <stdlib.h>

#include "survivor.h"

#define ROUNDS	40
#define BYTES	(64 * PAGE)

static const char *address, *driver;

static void put_word(const char *word, const char *directory, const char *file)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, word, strlen(word)) != (ssize_t)strlen(word))
		printf("# %s to %s: %s\n", word, path, strerror(errno));
	close(fd);
}

static long long controller(const char *name)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/tenon/%s", address, name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atoll(text);
}

/* A line of /dev/tenon-events from @fd on, of this type and with this in it; what follows " KEY=" there. */
static bool told(int fd, const char *type, const char *what, const char *key, long long *value)
{
	char text[1300], word[64];
	int64_t end = now_ns() + 10 * SECOND;
	const char *at;
	ssize_t bytes;

	while (now_ns() < end) {
		bytes = read(fd, text, sizeof(text) - 1);
		if (bytes < 0) {
			sleep_ms(10);
			continue;
		}
		text[bytes] = '\0';
		snprintf(word, sizeof(word), " %s controller=", type);
		if (!strstr(text, word) || !strstr(text, what))
			continue;
		snprintf(word, sizeof(word), " %s=", key);
		at = strstr(text, word);
		if (at)
			*value = atoll(at + strlen(word));
		return at;
	}
	return false;
}

static int follow_events(void)
{
	int fd = open("/dev/tenon-events", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	lseek(fd, 0, SEEK_END);
	return fd;
}

static int query_usage(int fd, struct tdi_usage *usage)
{
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_USAGE, .size = sizeof(*usage), .pointer = (uintptr_t)usage,
	};

	return call(fd, DRM_IOCTL_TENON_QUERY, &query);
}

static int query_queue(int fd, const struct queue *q, struct tdi_usage *usage)
{
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_QUEUE_USAGE, .size = sizeof(*usage), .pointer = (uintptr_t)usage,
		.id = q->made.queue,
	};

	return call(fd, DRM_IOCTL_TENON_QUERY, &query);
}

struct client {
	int fd;
	struct buffer a, b;
	struct queue q;
	unsigned long long busy, commands, errors;
};

static int client_open(struct client *c)
{
	int error;

	memset(c, 0, sizeof(*c));
	c->fd = node_open();
	if (c->fd < 0)
		return errno;
	error = buffer_make(c->fd, BYTES, RW, &c->a);
	if (!error)
		error = buffer_make(c->fd, BYTES, RW, &c->b);
	return error ? error : queue_make(c->fd, 64, -1, &c->q);
}

static void client_close(struct client *c)
{
	queue_unmap(&c->q);
	munmap(c->a.data, c->a.size);
	munmap(c->b.data, c->b.size);
	close(c->fd);
}

/* Some of each kind, good ones and bad ones. */
static void put_mixed(struct client *c)
{
	put(&c->q, TDI_OP_NOP);
	put_fill(&c->q, c->a.id, 0, BYTES, 1);
	put_copy(&c->q, c->b.id, 0, c->a.id, 0, BYTES);
	put_signal(&c->q, c->a.id, 0, 5);
	put_wait(&c->q, c->a.id, 0, 5, SECOND);
	put_wait(&c->q, c->b.id, 8, 1ULL << 62, 1000);
	put_fill(&c->q, c->a.id, BYTES - 1, 2, 1);
	put_copy(&c->q, c->a.id ^ 1u << 24, 0, c->b.id, 0, 64);
	put(&c->q, 0x77);
}

static void reap(struct client *c)
{
	while (c->q.head != c->q.tail && completed(&c->q)) {
		struct tdi_cqe cqe = take(&c->q);

		c->busy += cqe.busy_ns;
		c->commands++;
		c->errors += cqe.status != TDI_SC_OK;
	}
}

static int run_mixed(struct client *c, unsigned int rounds)
{
	int error = 0;

	for (unsigned int i = 0; i < rounds && !error; i++) {
		put_mixed(c);
		error = submit(&c->q);
		if (!error)
			error = queue_wait(c->fd, c->q.made.queue, c->q.tail, now_ns() + LONG);
		reap(c);
	}
	return error;
}

/* Contexts that were closed have ended, those of others too. */
static bool all_ended(void)
{
	int64_t end = now_ns() + LONG;

	while (attribute("contexts") && now_ns() < end)
		sleep_ms(5);
	return !attribute("contexts");
}

FIXTURE(books) {
	struct client c;
	long long busy, commands, cut;
	int events;
};

static long long commands(void)
{
	static const char *const kinds[] = { "nop", "copy", "fill", "signal", "wait", "exec", "tensor", "refused" };
	long long sum = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		char name[40];

		snprintf(name, sizeof(name), "usage/commands_%s", kinds[i]);
		sum += attribute(name);
	}
	return sum;
}

FIXTURE_SETUP(books)
{
	ASSERT_TRUE(all_ended());
	self->events = follow_events();
	ASSERT_LE(0, self->events);
	self->busy = attribute("usage/busy_ns");
	self->commands = commands();
	self->cut = attribute("usage/cut_ns");
	ASSERT_LE(0, self->busy);
	ASSERT_EQ(0, client_open(&self->c));
}

FIXTURE_TEARDOWN(books)
{
	EXPECT_TRUE(fault("go"));
	close(self->events);
}

/* Of several contexts, at each level and each time: what completions say. */
TEST_F(books, add_up)
{
	unsigned long long busy = 0, all = 0;
	struct client *c = &self->c;
	struct tdi_usage usage;
	long long before = controller("busy_ns") - attribute("usage/busy_ns");

	for (unsigned int i = 0; i < 3; i++) {
		unsigned long long sum = 0;

		ASSERT_EQ(0, run_mixed(c, ROUNDS));
		ASSERT_EQ(c->q.head, c->q.tail);
		/* One that has its queue destroyed under commands that are under way. */
		for (unsigned int j = 0; j < 7; j++)
			put_mixed(c);
		ASSERT_EQ(0, submit(&c->q));
		ASSERT_EQ(0, queue_destroy(c->fd, c->q.made.queue));
		reap(c);
		ASSERT_EQ(0, query_usage(c->fd, &usage));
		EXPECT_EQ(c->busy, usage.busy_ns);
		EXPECT_LT(0, usage.busy_ns);
		EXPECT_EQ(c->errors, usage.errors);
		for (unsigned int k = 0; k < TDI_USAGE_KINDS; k++)
			sum += usage.commands[k];
		EXPECT_EQ(c->commands, sum);
		EXPECT_LE(ROUNDS * 9, sum);
		busy += c->busy;
		all += c->commands;
		EXPECT_EQ(self->busy + (long long)busy, attribute("usage/busy_ns"));
		client_close(c);
		ASSERT_EQ(0, client_open(c));
	}
	ASSERT_EQ(0, run_mixed(c, 1));
	busy += c->busy;
	all += c->commands;
	client_close(c);
	ASSERT_TRUE(all_ended());
	EXPECT_EQ(self->busy + (long long)busy, attribute("usage/busy_ns"));
	EXPECT_EQ(self->commands + (long long)all, commands());
	EXPECT_EQ(before, controller("busy_ns") - attribute("usage/busy_ns"));
	EXPECT_EQ(self->cut, attribute("usage/cut_ns"));
	printf("# meter.sum_error_ns %lld\n", attribute("usage/busy_ns") - self->busy - (long long)busy);
}

/* Tenants that are killed in the middle: not less than what they have seen; and all of it is their partition's. */
TEST_F(books, killed)
{
	unsigned long long *seen = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long long before = controller("busy_ns") - attribute("usage/busy_ns"), busy;
	unsigned int i;

	client_close(&self->c);
	for (i = 0; i < 10; i++) {
		pid_t child = fork();

		if (!child) {
			struct client c;

			if (client_open(&c))
				_exit(1);
			for (;;) {
				put_mixed(&c);
				submit(&c.q);
				while (c.q.tail - c.q.head > 50)
					reap(&c);
				__atomic_store_n(&seen[i], c.busy, __ATOMIC_RELEASE);
			}
		}
		while (!__atomic_load_n(&seen[i], __ATOMIC_ACQUIRE) && !waitpid(child, NULL, WNOHANG))
			sleep_ms(1);
		sleep_ms(20);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	ASSERT_TRUE(all_ended());
	busy = attribute("usage/busy_ns") - self->busy;
	for (i = 0; i < 10; i++) {
		EXPECT_LT(0, seen[i]);
		busy -= (long long)seen[i];
	}
	EXPECT_LE(0, busy);
	EXPECT_EQ(before, controller("busy_ns") - attribute("usage/busy_ns"));
	EXPECT_EQ(self->cut, attribute("usage/cut_ns"));
}

/* Each queue has what its own completions say, and all that there were add up to the context. */
TEST_F(books, of_queues)
{
	unsigned long long busy = 0, commands = 0, errors = 0, gone = 0;
	struct tdi_usage usage, again, all;
	struct client *c = &self->c;
	struct queue q[3];

	q[0] = c->q;
	ASSERT_EQ(0, queue_make(c->fd, 64, -1, &q[1]));
	ASSERT_EQ(0, queue_make(c->fd, 64, -1, &q[2]));
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(q); i++) {
			unsigned long long sum = 0;

			if (round && i == 1)
				continue;
			c->q = q[i];
			c->busy = c->commands = c->errors = 0;
			ASSERT_EQ(0, query_queue(c->fd, &c->q, &again));
			ASSERT_EQ(0, run_mixed(c, i + 1));
			ASSERT_EQ(0, query_queue(c->fd, &c->q, &usage));
			EXPECT_EQ(c->busy, usage.busy_ns - again.busy_ns);
			EXPECT_LT(0, c->busy);
			EXPECT_EQ(c->errors, usage.errors - again.errors);
			for (unsigned int k = 0; k < TDI_USAGE_KINDS; k++)
				sum += usage.commands[k] - again.commands[k];
			EXPECT_EQ(c->commands, sum);
			EXPECT_EQ(9 * (i + 1), sum);
			busy += c->busy;
			commands += c->commands;
			errors += c->errors;
			q[i] = c->q;
		}
		ASSERT_EQ(0, query_usage(c->fd, &all));
		EXPECT_EQ(busy, all.busy_ns);
		EXPECT_EQ(errors, all.errors);
		for (unsigned int k = gone = 0; k < TDI_USAGE_KINDS; k++)
			gone += all.commands[k];
		EXPECT_EQ(commands, gone);
		if (round)
			break;
		ASSERT_EQ(0, query_queue(c->fd, &q[1], &usage));
		ASSERT_EQ(0, queue_destroy(c->fd, q[1].made.queue));
		EXPECT_EQ(ENOENT, query_queue(c->fd, &q[1], &usage));
		queue_unmap(&q[1]);
	}
	queue_unmap(&q[2]);
	c->q = q[0];
	client_close(c);
}

/* Without a question of anybody's, the watchdog's rounds bring books up to date. */
TEST_F(books, of_files)
{
	char path[64], text[1024] = "";
	int64_t end = now_ns() + LONG;
	unsigned long long busy = 0;
	int fd;

	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->c.fd);
	do {
		sleep_ms(50);
		fd = open(path, O_RDONLY);
		ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
		close(fd);
		ASSERT_NE(NULL, strstr(text, "\ndrm-engine-compute:\t"));
		sscanf(strstr(text, "\ndrm-engine-compute:\t"), " drm-engine-compute: %llu ns", &busy);
		ASSERT_LE(busy, self->c.busy);
	} while (busy != self->c.busy && now_ns() < end);
	EXPECT_EQ(self->c.busy, busy);
	EXPECT_NE(NULL, strstr(text, "\ndrm-engine-capacity-compute:\t"));
	EXPECT_NE(NULL, strstr(text, "\ndrm-driver:\ttenon\n"));
	client_close(&self->c);
}

/* Whoever isn't root reads nothing of what tenants do, from a partition or its controller; what it is, he may. */
TEST_F(books, of_others)
{
	static const char *const secret[] = {
		"usage/busy_ns", "usage/wait_ns", "usage/bytes_read", "usage/bytes_written", "usage/errors",
		"usage/throttled_ns", "usage/commands_nop", "usage/commands_copy", "usage/commands_fill",
		"usage/commands_signal", "usage/commands_wait", "usage/commands_exec", "usage/commands_tensor",
		"usage/commands_refused", "usage/wait_hist", "usage/service_hist", "usage/cut_ns",
		"usage/memory_byte_seconds", "usage/epoch", "contexts", "queues", "buffer_bytes", "pinned_bytes",
		"refused_opens", "limit_hits",
	};
	pid_t child;
	int status;

	for (unsigned int i = 0; i < ARRAY_SIZE(secret); i++)
		EXPECT_LE(0, attribute(secret[i]));
	EXPECT_LE(0, controller("busy_ns"));
	child = fork();
	if (!child) {
		unsigned int seen = setgid(FOREIGN_UID) || setuid(FOREIGN_UID);

		for (unsigned int i = 0; i < ARRAY_SIZE(secret); i++)
			seen += attribute(secret[i]) != -1 || errno != EACCES;
		seen += controller("busy_ns") != -1 || errno != EACCES;
		seen += controller("cut_ns") != -1 || errno != EACCES;
		seen += controller("units") < 1 || attribute("limits/weight") < 1;
		_exit((int)seen);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	client_close(&self->c);
}

/* A function-level reset takes nothing away, and what was used before it is all there. */
TEST_F(books, reset)
{
	char file[64];

	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	snprintf(file, sizeof(file), "%s/reset", address);
	put_word("1", "/sys/bus/pci/devices", file);
	EXPECT_EQ(self->busy + (long long)self->c.busy, attribute("usage/busy_ns"));
	EXPECT_EQ(0, attribute("usage/epoch"));
	self->busy += (long long)self->c.busy;
	client_close(&self->c);
	ASSERT_EQ(0, client_open(&self->c));
	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	EXPECT_EQ(self->busy + (long long)self->c.busy, attribute("usage/busy_ns"));
	client_close(&self->c);
}

/* A device that claims a hundred thousand times what it did gets the time that has passed, and it is told. */
TEST_F(books, claims_too_much)
{
	long long units = controller("units"), cut = 0, start = now_ns(), gone;
	struct tdi_usage of_queue, of_context;

	ASSERT_TRUE(fault("usage times 100000"));
	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	EXPECT_LT(self->busy, attribute("usage/busy_ns"));
	EXPECT_LT(self->cut, attribute("usage/cut_ns"));
	/* Nor is it believed of a queue, which can't have had more than its context. */
	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	ASSERT_EQ(0, query_queue(self->c.fd, &self->c.q, &of_queue));
	ASSERT_EQ(0, query_usage(self->c.fd, &of_context));
	EXPECT_LT(0, of_queue.busy_ns);
	EXPECT_GE(of_context.busy_ns, of_queue.busy_ns);
	client_close(&self->c);
	ASSERT_TRUE(all_ended());
	/* The last second before the start may have been idle, but not proven to be. */
	gone = now_ns() - start + 3 * SECOND;
	EXPECT_GE(units * (gone + gone / 1000), attribute("usage/busy_ns") - self->busy);
	EXPECT_TRUE(told(self->events, "fault", "cause=usage-beyond-time", "cut_ns", &cut));
	EXPECT_LT(0, cut);
	EXPECT_EQ(attribute("usage/cut_ns"), controller("cut_ns"));
}

TEST_F(books, goes_back)
{
	struct tdi_usage of_queue, again;
	long long busy, zero = -1;

	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	busy = attribute("usage/busy_ns");
	EXPECT_EQ(self->busy + (long long)self->c.busy, busy);
	ASSERT_EQ(0, query_queue(self->c.fd, &self->c.q, &of_queue));
	ASSERT_TRUE(fault("usage back"));
	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	EXPECT_EQ(busy, attribute("usage/busy_ns"));
	ASSERT_EQ(0, query_queue(self->c.fd, &self->c.q, &again));
	EXPECT_EQ(0, memcmp(&of_queue, &again, sizeof(again)));
	EXPECT_TRUE(told(self->events, "fault", "cause=usage-goes-back", "cut_ns", &zero));
	EXPECT_EQ(0, zero);
	ASSERT_TRUE(fault("go"));
	ASSERT_EQ(0, run_mixed(&self->c, 1));
	EXPECT_EQ(self->busy + (long long)self->c.busy, attribute("usage/busy_ns"));
	client_close(&self->c);
}

TEST_F(books, memory)
{
	long long before, after, start = now_ns();
	struct buffer big;

	before = attribute("usage/memory_byte_seconds");
	ASSERT_EQ(0, buffer_make(self->c.fd, 4096 * PAGE, 0, &big));
	sleep_ms(500);
	after = attribute("usage/memory_byte_seconds");
	/* At least half a second of it; at most all there is, two small ones included, for all the time. */
	EXPECT_LE(4096LL * PAGE / 2 - PAGE, after - before);
	EXPECT_GE((double)(4096LL * PAGE + 2 * BYTES) * (double)(now_ns() - start) / 1e9 + PAGE, (double)(after - before));
	client_close(&self->c);
}

/* The final record has what was used up to the end, and the next life of the partition begins at 0. */
TEST_F(books, end)
{
	long long busy = 0, from, last;

	ASSERT_EQ(0, run_mixed(&self->c, ROUNDS));
	put_word(address, driver, "unbind");
	EXPECT_TRUE(told(self->events, "usage", " serial=", "busy_ns", &busy));
	EXPECT_EQ(self->busy + (long long)self->c.busy, busy);
	client_close(&self->c);
	put_word(address, driver, "bind");
	EXPECT_EQ(0, attribute("usage/busy_ns"));
	ASSERT_EQ(0, lseek(self->events, 0, SEEK_SET));
	EXPECT_TRUE(told(self->events, "usage", " memory_byte_seconds=", "from", &from));
	ASSERT_EQ(0, lseek(self->events, 0, SEEK_SET));
	EXPECT_TRUE(told(self->events, "usage", " epoch=0 ", "to", &last));
	EXPECT_LT(0, from);
	EXPECT_LT(from, last);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return KSFT_FAIL;
	address = argv[1];
	driver = argv[2];
	return test_harness_run(1, argv);
}
