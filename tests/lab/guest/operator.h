/* SPDX-License-Identifier: MIT */
/*
 * An operator's side of the module: partitions in configfs and what they show in sysfs, their nodes and tombstones.
 */
#ifndef TESTS_OPERATOR_H
#define TESTS_OPERATOR_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tenon.h"

#define ROOT	"/sys/kernel/config/tenon"

/* Of the controller, for main() to set. */
HELPER const char *address = "";

/* The path of NAME below the controller's directory, in one of some buffers that take turns. */
HELPER const char *at(const char *name)
{
	static char path[8][192];
	static unsigned int turn;
	char *to = path[turn++ % 8];

	snprintf(to, sizeof(path[0]), ROOT "/%s/%s", address, name);
	return to;
}

HELPER int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		error = errno;
	close(fd);
	return error;
}

/* What a file has, without the last newline, in one of some buffers that take turns. */
HELPER const char *get_text(const char *path)
{
	static char text[8][4096];
	static unsigned int turn;
	char *to = text[turn++ % 8];
	int fd = open(path, O_RDONLY);
	ssize_t have = fd < 0 ? -1 : read(fd, to, sizeof(text[0]) - 1);

	if (fd >= 0)
		close(fd);
	to[have > 0 ? have : 0] = '\0';
	if (have > 0 && to[have - 1] == '\n')
		to[have - 1] = '\0';
	return to;
}

HELPER int set(const char *name, const char *value)
{
	return put_text(at(name), value);
}

HELPER bool is(const char *name, const char *value)
{
	const char *has = get_text(at(name));

	if (!strcmp(has, value))
		return true;
	printf("# %s: \"%s\", not \"%s\"\n", name, has, value);
	return false;
}

HELPER bool becomes_text(const char *path, const char *value)
{
	int64_t end = now_ns() + LONG;

	while (strcmp(get_text(path), value)) {
		if (now_ns() > end) {
			printf("# %s: \"%s\", not \"%s\"\n", path, get_text(path), value);
			return false;
		}
		sleep_ms(5);
	}
	return true;
}

HELPER bool becomes(const char *name, const char *value)
{
	return becomes_text(at(name), value);
}

HELPER char *of(const char *partition, const char *name)
{
	static char text[8][64];
	static unsigned int turn;
	char *to = text[turn++ % 8];

	snprintf(to, sizeof(text[0]), "%s/%s", partition, name);
	return to;
}

/* A number of the partition's in sysfs, or -1. */
HELPER long long shows(const char *partition, const char *name)
{
	long long value = -1;
	glob_t all;

	if (glob("/sys/bus/auxiliary/devices/tenon.partition.*", 0, NULL, &all))
		return -1;
	for (size_t i = 0; i < all.gl_pathc; i++) {
		char path[160];

		snprintf(path, sizeof(path), "%s/partition", all.gl_pathv[i]);
		if (strcmp(get_text(path), partition))
			continue;
		snprintf(path, sizeof(path), "%s/%s", all.gl_pathv[i], name);
		value = atoll(get_text(path));
	}
	globfree(&all);
	return value;
}

HELPER bool comes_to(const char *partition, const char *name, long long value)
{
	int64_t end = now_ns() + LONG;

	while (shows(partition, name) != value) {
		if (now_ns() > end) {
			printf("# %s %s: %lld, not %lld\n", partition, name, shows(partition, name), value);
			return false;
		}
		sleep_ms(5);
	}
	return true;
}

/* Number of the node, or -1. */
HELPER int number_of(const char *partition)
{
	const char *device = get_text(at(of(partition, "device")));

	return strncmp(device, "accel", 5) ? -1 : atoi(device + 5);
}

HELPER const char *node_of(const char *partition)
{
	static char path[8][64];
	static unsigned int turn;
	char *to = path[turn++ % 8];

	snprintf(to, sizeof(path[0]), "/dev/accel/accel%d", number_of(partition));
	return to;
}

/* Makes one that is active. */
HELPER bool create(const char *partition)
{
	return !mkdir(at(partition), 0755) && !set(of(partition, "enable"), "1") &&
	       becomes(of(partition, "state"), "active");
}

/* open() as root or as @uid: a descriptor, or -errno. */
HELPER int open_as(uid_t uid, const char *path)
{
	int pair[2], fd = -1, error = 0, status;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &error, sizeof(error) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return -errno;
	child = fork();
	if (!child) {
		if (setgid(uid) || setuid(uid))
			_exit(1);
		fd = open(path, O_RDWR | O_CLOEXEC);
		error = fd < 0 ? errno : 0;
		if (fd < 0) {
			message.msg_control = NULL;
			message.msg_controllen = 0;
		} else {
			head->cmsg_level = SOL_SOCKET;
			head->cmsg_type = SCM_RIGHTS;
			head->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(head), &fd, sizeof(fd));
		}
		_exit(sendmsg(pair[1], &message, 0) != sizeof(error));
	}
	waitpid(child, &status, 0);
	if (status || recvmsg(pair[0], &message, 0) != sizeof(error))
		error = ECHILD;
	else if (!error)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	close(pair[0]);
	close(pair[1]);
	return error ? -error : fd;
}

/* Through a device file of one's own, as a container has that was made long ago. */
HELPER int open_stale(int number, const char *path, uid_t uid)
{
	int fd;

	unlink(path);
	if (mknod(path, S_IFCHR | 0666, makedev(261, (unsigned int)number)) || chmod(path, 0666))
		return -errno;
	fd = open_as(uid, path);
	unlink(path);
	return fd;
}

HELPER bool works_on(int fd)
{
	struct buffer a;
	struct queue q;
	bool good;

	if (buffer_make(fd, PAGE, RW, &a) || queue_make(fd, 8, -1, &q))
		return false;
	put_fill(&q, a.id, 0, PAGE, 0x21);
	good = run(&q) == TDI_SC_OK && all_bytes(a.data, 0x21, PAGE);
	queue_unmap(&q);
	queue_destroy(fd, q.made.queue);
	buffer_end(&a);
	return good;
}

HELPER bool works(const char *partition)
{
	int fd = open(node_of(partition), O_RDWR | O_CLOEXEC);
	bool good = fd >= 0 && works_on(fd);

	close(fd);
	return good;
}

/* All numbers that nobody has open. */
HELPER void reap_all(void)
{
	char text[16];

	for (int i = 0; i < 256; i++) {
		if (!*get_text(ROOT "/tombstones"))
			break;
		snprintf(text, sizeof(text), "%d", i);
		put_text(ROOT "/reap", text);
	}
}

HELPER int reap(int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d\n", number);
	return put_text(ROOT "/reap", text);
}

/* A controller that is configured; each test begins so. */
HELPER bool operator_begin(void)
{
	node_path = NULL;
	return !mkdir(at(""), 0755) && is("state", "present");
}

/* Nothing is left: all numbers can be had again. */
HELPER bool operator_end(void)
{
	glob_t all;

	if (!glob(at("*"), GLOB_ONLYDIR, NULL, &all)) {
		for (size_t i = 0; i < all.gl_pathc; i++)
			rmdir(all.gl_pathv[i]);
		globfree(&all);
	}
	if (rmdir(at("")))
		return false;
	for (int64_t end = now_ns() + LONG; now_ns() < end; sleep_ms(10)) {
		glob_t nodes;

		reap_all();
		/* Its tombstone is there before a node goes. */
		if (glob("/sys/class/accel/accel*", 0, NULL, &nodes))
			continue;
		if (nodes.gl_pathc == 1 && !*get_text(ROOT "/tombstones"))
			break;
		globfree(&nodes);
	}
	node_path = NULL;
	return !*get_text(ROOT "/tombstones");
}

#endif /* TESTS_OPERATOR_H */
