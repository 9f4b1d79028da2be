// SPDX-License-Identifier: MIT
/*
 * stream DEVICE DRIVER: reads /dev/tenon-events while the driver's device comes, goes, is reset, and a tenant runs
 * into a limit. If this fails, an operator isn't told what happened, or is told by anybody who likes.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "survivor.h"

static const char *address, *driver;

struct line {
	unsigned long long number, time;
	char type[32];
	char text[1100];
};

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

/* The next line, or a positive errno; EPROTO: it isn't as it should be. */
static int next(int fd, struct line *line)
{
	char *text = line->text;
	ssize_t bytes = read(fd, text, sizeof(line->text) - 1);
	int from = 0;

	if (bytes < 0)
		return errno;
	text[bytes] = '\0';
	if (!bytes || text[bytes - 1] != '\n' || strchr(text, '\n') != text + bytes - 1 || strstr(text, "  ") ||
	    sscanf(text, "%llu %llu %31s controller=%n", &line->number, &line->time, line->type, &from) != 3 || !from)
		return EPROTO;
	text[bytes - 1] = '\0';
	return 0;
}

static bool says(const struct line *line, const char *key, const char *value)
{
	char word[128];
	const char *at;

	snprintf(word, sizeof(word), " %s=%s", key, value);
	at = strstr(line->text, word);
	return at && (at[strlen(word)] == ' ' || !at[strlen(word)]);
}

static long long number_of(const struct line *line, const char *key)
{
	char word[64];
	const char *at;

	snprintf(word, sizeof(word), " %s=", key);
	at = strstr(line->text, word);
	return at ? atoll(at + strlen(word)) : -1;
}

/* A call that no device can answer well, and that it isn't asked. */
static void hit_limit(int fd)
{
	struct queue q;

	queue_create(fd, 1 << 20, -1, &q);
}

FIXTURE(stream) {
	int fd;
};

FIXTURE_SETUP(stream)
{
	self->fd = open("/dev/tenon-events", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(stream)
{
	close(self->fd);
}

/* From the first on: the device came, and its partition; numbers without gaps, times in order. */
TEST_F(stream, from_the_beginning)
{
	unsigned long long time = 0;
	struct line line;

	ASSERT_EQ(0, next(self->fd, &line));
	EXPECT_EQ(1, line.number);
	EXPECT_STREQ("controller-add", line.type);
	EXPECT_NE(NULL, strstr(line.text, address));
	EXPECT_NE(-1, number_of(&line, "units"));
	time = line.time;
	ASSERT_EQ(0, next(self->fd, &line));
	EXPECT_EQ(2, line.number);
	EXPECT_STREQ("create", line.type);
	EXPECT_TRUE(says(&line, "partition", "default"));
	EXPECT_TRUE(says(&line, "device", "accel0"));
	EXPECT_TRUE(says(&line, "uid", "0"));
	EXPECT_LT(0, number_of(&line, "pid"));
	EXPECT_LE(time, line.time);
	/* Times are those of CLOCK_BOOTTIME. */
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	EXPECT_GE(now.tv_sec * SECOND + now.tv_nsec, (long long)line.time);
}

/* A buffer that is too short takes nothing, nor does one that isn't there. */
TEST_F(stream, short_buffer)
{
	char *volatile nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct line line;
	char text[64];

	ASSERT_EQ(-1, read(self->fd, text, 20));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, read(self->fd, nowhere, sizeof(line.text)));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, next(self->fd, &line));
	EXPECT_EQ(1, line.number);
}

TEST_F(stream, seek)
{
	struct line line;

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(EAGAIN, next(self->fd, &line));
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	ASSERT_EQ(0, next(self->fd, &line));
	EXPECT_EQ(1, line.number);
	ASSERT_EQ(-1, lseek(self->fd, 1, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	ASSERT_EQ(-1, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, next(self->fd, &line));
	EXPECT_EQ(2, line.number);
}

static void *limit_soon(void *arg)
{
	sleep_ms(200);
	hit_limit(*(int *)arg);
	return NULL;
}

/* Who waits is woken, in poll() and in read(), and told who it was. */
TEST_F(stream, wait)
{
	struct pollfd wait = { .fd = self->fd, .events = POLLIN };
	int fd = node_open();
	pthread_t thread;
	struct line line;
	int i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, poll(&wait, 1, 0));
		ASSERT_EQ(0, pthread_create(&thread, NULL, limit_soon, &fd));
		if (i) {
			ASSERT_EQ(0, fcntl(self->fd, F_SETFL, 0));
		} else {
			ASSERT_EQ(1, poll(&wait, 1, LONG / 1000000));
		}
		ASSERT_EQ(0, next(self->fd, &line));
		pthread_join(thread, NULL);
		EXPECT_STREQ("limit", line.type);
		EXPECT_TRUE(says(&line, "partition", "default"));
		EXPECT_EQ(getpid(), number_of(&line, "pid"));
		EXPECT_EQ(1 << 20, number_of(&line, "needed"));
		EXPECT_EQ(limits(fd).depth, number_of(&line, "allowed"));
		EXPECT_EQ(EINVAL, number_of(&line, "errno"));
	}
	close(fd);
}

/* A tenant hits its limit as often as it can: ten lines a second are all that comes of it, and all are counted. */
TEST_F(stream, flood)
{
	int64_t start, end;
	unsigned int hits = 0, lines = 0, counted = 0;
	int fd = node_open(), status;
	struct line line;
	pid_t child;

	ASSERT_LE(0, fd);
	/* What was told in this second already. */
	sleep_ms(1100);
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	child = fork();
	if (!child) {
		if (setuid(FOREIGN_UID))
			_exit(1);
		for (hits = 0; hits < 5000; hits++)
			hit_limit(fd);
		sleep_ms(1100);
		hit_limit(fd);
		_exit(0);
	}
	start = now_ns();
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	end = now_ns();
	while (!next(self->fd, &line)) {
		EXPECT_STREQ("limit", line.type);
		EXPECT_EQ(FOREIGN_UID, number_of(&line, "uid"));
		EXPECT_EQ(child, number_of(&line, "pid"));
		lines++;
		counted += 1 + (number_of(&line, "suppressed") > 0 ? number_of(&line, "suppressed") : 0);
	}
	EXPECT_EQ(5001, counted);
	EXPECT_GE(10 * (1 + (end - start) / SECOND) + 1, lines);
	EXPECT_LE(11, lines);
	close(fd);
}

TEST_F(stream, device_goes_and_comes)
{
	static const char *const types[] = { "reset", "delete", "controller-remove", "controller-add", "create" };
	unsigned long long number = 0;
	char uuid[2][64] = { "" };
	struct line line;
	unsigned int i = 0;
	int64_t limit = now_ns() + LONG;

	while (!next(self->fd, &line))
		if (!strcmp(line.type, "create") && says(&line, "partition", "default"))
			sscanf(strstr(line.text, " uuid="), " uuid=%63s", uuid[0]);
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	put_word("1", "/sys/bus/pci/devices", strcat(strcpy(line.text, address), "/reset"));
	put_word(address, driver, "unbind");
	put_word(address, driver, "bind");
	while (i < ARRAY_SIZE(types) && now_ns() < limit) {
		if (next(self->fd, &line))
			continue;
		EXPECT_TRUE(!number || line.number == number + 1);
		number = line.number;
		if (strcmp(types[i], line.type))
			continue;
		i++;
		if (!strcmp(line.type, "reset")) {
			EXPECT_TRUE(says(&line, "cause", "asked-for"));
			EXPECT_TRUE(says(&line, "errno", "0"));
		}
		if (!strcmp(line.type, "delete"))
			EXPECT_TRUE(says(&line, "uuid", uuid[0]));
	}
	EXPECT_EQ(ARRAY_SIZE(types), i);
	/* Another life, another UUID. */
	sscanf(strstr(line.text, " uuid="), " uuid=%63s", uuid[1]);
	EXPECT_STRNE(uuid[0], uuid[1]);
}

/* ---------------------------------------------------------------- a partition that is configured */

static char config[96], directory[112];

/* The next line of this type about that partition; others are passed over. */
static bool told(int fd, const char *type, struct line *line)
{
	int64_t limit = now_ns() + LONG;

	while (now_ns() < limit) {
		if (next(fd, line))
			sleep_ms(5);
		else if (!strcmp(line->type, type) && says(line, "partition", "x"))
			return true;
	}
	return false;
}

/* In a process of its own, under another uid: what it asks for is done by a worker later. Its pid. */
static pid_t ask(bool make)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (setreuid(FOREIGN_UID, 0))
			_exit(1);
		if (make && mkdir(directory, 0755))
			_exit(2);
		if (make)
			put_word("1", directory, "enable");
		else if (rmdir(directory))
			_exit(3);
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && !status ? child : -1;
}

/* Its number is kept until nobody has the node. */
static bool reap(const struct line *line)
{
	char number[16];
	int64_t limit = now_ns() + LONG;
	ssize_t done = -1;
	int fd;

	snprintf(number, sizeof(number), "%lld", atoll(strstr(line->text, " device=accel") + strlen(" device=accel")));
	while (done < 0 && now_ns() < limit) {
		fd = open("/sys/kernel/config/tenon/reap", O_WRONLY);
		done = write(fd, number, strlen(number));
		close(fd);
		if (done < 0)
			sleep_ms(10);
	}
	return done > 0;
}

/* Then nothing configured is left. */
static bool clean_up(const struct line *line)
{
	return reap(line) && !rmdir(config);
}

/* A worker makes and ends partitions, but it is told who wanted it. */
TEST_F(stream, who_asked)
{
	struct line line, before;
	pid_t maker, ender;

	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	ASSERT_EQ(0, mkdir(config, 0755));
	maker = ask(true);
	ASSERT_LT(0, maker);
	ASSERT_TRUE(told(self->fd, "create", &line));
	EXPECT_EQ(maker, number_of(&line, "pid"));
	EXPECT_EQ(FOREIGN_UID, number_of(&line, "uid"));
	put_word("50", directory, "weight");
	ASSERT_TRUE(told(self->fd, "change", &line));
	EXPECT_EQ(getpid(), number_of(&line, "pid"));
	EXPECT_EQ(0, number_of(&line, "uid"));
	before = line;
	/* It comes again with its device: nobody asked. */
	put_word(address, driver, "unbind");
	put_word(address, driver, "bind");
	ASSERT_TRUE(told(self->fd, "create", &line));
	EXPECT_EQ(-1, number_of(&line, "pid"));
	ender = ask(false);
	ASSERT_LT(0, ender);
	ASSERT_TRUE(told(self->fd, "delete", &line));
	EXPECT_EQ(ender, number_of(&line, "pid"));
	EXPECT_EQ(FOREIGN_UID, number_of(&line, "uid"));
	EXPECT_TRUE(reap(&before));
	EXPECT_TRUE(clean_up(&line));
}

static int uevents_open(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	int bytes = 8 << 20;

	/* None is lost while others are looked at. */
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
			bind(fd, (struct sockaddr *)&kernel, sizeof(kernel)))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* What a uevent says of a key, or "". */
static const char *key_of(const char *text, ssize_t bytes, const char *key)
{
	const char *at;

	for (at = text; at < text + bytes; at += strlen(at) + 1)
		if (!strncmp(at, key, strlen(key)) && at[strlen(key)] == '=')
			return at + strlen(key) + 1;
	return "";
}

/* The next uevent of a node, but for those of others: is it this? */
static bool uevent(int fd, const char *node, const char *action, const char *event, const char *state)
{
	int64_t limit = now_ns() + LONG;
	char text[4096];
	ssize_t bytes;

	while (now_ns() < limit) {
		bytes = recv(fd, text, sizeof(text) - 1, 0);
		if (bytes < 0) {
			sleep_ms(5);
			continue;
		}
		text[bytes] = '\0';
		if (strcmp(key_of(text, bytes, "SUBSYSTEM"), "accel") || strcmp(key_of(text, bytes, "DEVNAME"), node))
			continue;
		if (!strcmp(key_of(text, bytes, "ACTION"), action) && !strcmp(key_of(text, bytes, "TENON_EVENT"), event) &&
		    !strcmp(key_of(text, bytes, "TENON_STATE"), state))
			return true;
		printf("# %s of %s: %s, %s; not %s: %s, %s\n", key_of(text, bytes, "ACTION"), node,
		       key_of(text, bytes, "TENON_EVENT"), key_of(text, bytes, "TENON_STATE"), action, event, state);
		return false;
	}
	printf("# no uevent of %s\n", node);
	return false;
}

/* What the device's own attribute says. */
static bool health(const char *state)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/tenon/health", address);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	close(fd);
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, state))
		printf("# health: %s, not %s\n", text, state);
	return !strcmp(text, state);
}

/* Who watches a node, as udev does, is told of all that happens to it, in order, and of nothing else. */
TEST_F(stream, uevents)
{
	struct line line;
	char node[32];
	int fd = uevents_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lseek(self->fd, 0, SEEK_END));
	ASSERT_EQ(0, mkdir(config, 0755));
	ASSERT_LT(0, ask(true));
	ASSERT_TRUE(told(self->fd, "create", &line));
	snprintf(node, sizeof(node), "accel/accel%lld",
		 atoll(strstr(line.text, " device=accel") + strlen(" device=accel")));
	EXPECT_TRUE(uevent(fd, node, "add", "", ""));
	put_word("50", directory, "weight");
	EXPECT_TRUE(uevent(fd, node, "change", "change", "active"));
	put_word("1", directory, "drain");
	EXPECT_TRUE(uevent(fd, node, "change", "drain", "draining"));
	put_word("20002", directory, "allow_uid");
	EXPECT_TRUE(uevent(fd, node, "change", "change", "draining"));
	put_word("1", directory, "recycle");
	EXPECT_TRUE(uevent(fd, node, "change", "recycle", "active"));
	put_word("1", "/sys/bus/pci/devices", strcat(strcpy(line.text, address), "/reset"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "resetting"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "ready"));
	EXPECT_TRUE(health("ready"));
	/* One that can't be brought up, and then can. */
	ASSERT_TRUE(fault("no-features"));
	put_word("1", "/sys/bus/pci/devices", strcat(strcpy(line.text, address), "/reset"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "resetting"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "failed"));
	EXPECT_TRUE(health("failed"));
	ASSERT_TRUE(fault("go"));
	put_word("1", "/sys/bus/pci/devices", strcat(strcpy(line.text, address), "/reset"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "resetting"));
	EXPECT_TRUE(uevent(fd, node, "change", "health", "ready"));
	EXPECT_TRUE(health("ready"));
	ASSERT_LT(0, ask(false));
	EXPECT_TRUE(uevent(fd, node, "remove", "", ""));
	ASSERT_TRUE(told(self->fd, "delete", &line));
	EXPECT_TRUE(clean_up(&line));
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	address = argv[1];
	driver = argv[2];
	snprintf(config, sizeof(config), "/sys/kernel/config/tenon/%s", address);
	snprintf(directory, sizeof(directory), "%s/x", config);
	return test_harness_run(1, argv);
}
