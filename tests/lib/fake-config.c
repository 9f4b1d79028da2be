/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into tenonctl: below $TENON_SYSFS/kernel/config/tenon a plain directory behaves as the kernel's
 * configfs. mkdir() makes the attributes, rmdir() removes them, write() refuses what the kernel refuses and
 * makes and ends partitions on the auxiliary bus. All that is written is logged in $FAKE_LOG, a line each.
 *
 * $FAKE_MEMORY: bytes that the device has. $FAKE_STATE: what becomes of `enable` in place of active. At
 * $TENON_EVENTS each read() gives one line of the file; a line GAP is EPIPE.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fake_mkdir(const char *path, mode_t mode) __asm__("mkdir");
int fake_rmdir(const char *path) __asm__("rmdir");
ssize_t fake_write(int fd, const void *data, size_t size) __asm__("write");
ssize_t fake_read(int fd, void *data, size_t size) __asm__("read");

#define REAL(name) (__extension__(__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *const attributes[][2] = {
	{ "weight", "100" }, { "priority", "normal" }, { "quantum_us", "0" }, { "max_command_us", "0" },
	{ "busy_max", "0" }, { "busy_period_us", "100000" }, { "memory_max", "0" },
	{ "pinned_max", "8388608" },
	{ "queues_max", "4096" }, { "contexts_max", "1024" }, { "allow_uid", "any" }, { "allow_cgroup", "" },
	{ "enable", "0" }, { "state", "off" }, { "device", "" }, { "uuid", "" }, { "drain", "" },
	{ "holders", "" }, { "recycle", "" },
};

static const char *env(const char *name, const char *without)
{
	const char *value = getenv(name);

	return value ? value : without;
}

static const char *sys(void)
{
	return env("TENON_SYSFS", "/nonexistent");
}

static void put(const char *directory, const char *name, const char *format, ...)
{
	char path[1024], text[1024];
	va_list args;
	int fd;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	strcat(text, "\n");
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || REAL(write)(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static void get(const char *directory, const char *name, char *to, size_t size)
{
	char path[1024];
	ssize_t bytes;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY);
	bytes = fd < 0 ? 0 : REAL(read)(fd, to, size - 1);
	close(fd);
	to[bytes < 0 ? 0 : bytes] = 0;
	to[strcspn(to, "\n")] = 0;
}

static void note(const char *what, const char *path, const char *value)
{
	const char *log = getenv("FAKE_LOG");
	char text[2048];
	int fd;

	if (!log)
		return;
	snprintf(text, sizeof(text), "%s %s%s%s\n", what, path, *value ? " " : "", value);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (REAL(write)(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

/* The part of @path below the subsystem's directory, or NULL; how many names it has. */
static const char *below(const char *path, int *depth)
{
	char root[1024];
	const char *s;
	size_t length;

	length = (size_t)snprintf(root, sizeof(root), "%s/kernel/config/tenon/", sys());
	if (strncmp(path, root, length))
		return NULL;
	for (*depth = 1, s = path + length; *s; s++)
		*depth += *s == '/';
	return path + length;
}

/* ------------------------------------------------------------------------------ partitions */

/* The auxiliary device of the partition whose directory this is. */
static void auxiliary(const char *directory, char *to, size_t size)
{
	char device[64];

	get(directory, "device", device, sizeof(device));
	snprintf(to, size, "%s/bus/auxiliary/devices/tenon.partition.%s", sys(),
		 *device ? device + 5 : "none");
}

static void begin(const char *directory)
{
	static const char *const counters[] = {
		"busy_ns", "wait_ns", "bytes_read", "bytes_written", "errors", "throttled_ns",
		"commands_nop", "commands_copy",
		"commands_fill", "commands_signal", "commands_wait", "commands_exec", "commands_tensor",
		"commands_refused", "memory_byte_seconds", "cut_ns", "epoch",
	};
	const char *state = env("FAKE_STATE", "active");
	char path[1024], sub[1100], controller[64], name[64];
	const char *tail;
	unsigned int n, i;
	int depth;

	put(directory, "state", "%s", state);
	if (strcmp(state, "active"))
		return;
	tail = below(directory, &depth);
	sscanf(tail, "%63[^/]/%63s", controller, name);
	for (n = 0;; n++) {
		snprintf(path, sizeof(path), "%s/bus/auxiliary/devices/tenon.partition.%u", sys(), n);
		if (access(path, F_OK))
			break;
	}
	if (REAL(mkdir)(path, 0755))
		abort();
	put(path, "controller", "%s", controller);
	put(path, "partition", "%s", name);
	put(path, "state", "active");
	put(path, "uuid", "00000000-0000-4000-8000-%08x%04x", (unsigned int)getpid(), n);
	for (i = 0; i < 5; i++)
		put(path, ((const char *const[]){ "contexts", "queues", "buffer_bytes", "refused_opens",
						  "limit_hits" })[i],
		    "0");
	snprintf(sub, sizeof(sub), "%s/usage", path);
	REAL(mkdir)(sub, 0755);
	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		put(sub, counters[i], "0");
	snprintf(sub, sizeof(sub), "%s/accel", path);
	REAL(mkdir)(sub, 0755);
	snprintf(sub, sizeof(sub), "%s/accel/accel%u", path, n);
	REAL(mkdir)(sub, 0755);
	put(directory, "device", "accel%u", n);
	put(directory, "uuid", "00000000-0000-4000-8000-%08x%04x", (unsigned int)getpid(), n);
}

static void empty(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *entry;
	char path[1024];

	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%.200s", directory, entry->d_name);
		if (unlink(path)) {
			empty(path);
			REAL(rmdir)(path);
		}
	}
	if (d)
		closedir(d);
}

static void end(const char *directory)
{
	char path[1024], root[1024], device[64], stones[256];

	get(directory, "device", device, sizeof(device));
	if (*device) {
		auxiliary(directory, path, sizeof(path));
		empty(path);
		REAL(rmdir)(path);
		snprintf(root, sizeof(root), "%s/kernel/config/tenon", sys());
		get(root, "tombstones", stones, sizeof(stones) - 32);
		put(root, "tombstones", "%s%s%s", stones, *stones ? "," : "", device + 5);
	}
	put(directory, "state", "off");
	put(directory, "device", "");
	put(directory, "uuid", "");
}

static int memory(const char *directory, unsigned long long wanted)
{
	unsigned long long have = strtoull(env("FAKE_MEMORY", "0"), NULL, 10), sum = wanted;
	char parent[1024], path[1100], value[64];
	struct dirent *entry;
	DIR *d;

	if (!wanted)
		return 0;
	if (!have)
		return EINVAL;
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(directory, '/') - directory), directory);
	get(parent, "overcommit", value, sizeof(value));
	if (wanted > have)
		return ENOSPC;
	if (*value == '1')
		return 0;
	d = opendir(parent);
	while (d && (entry = readdir(d))) {
		snprintf(path, sizeof(path), "%.800s/%.200s", parent, entry->d_name);
		if (entry->d_name[0] == '.' || !strcmp(path, directory))
			continue;
		get(path, "enable", value, sizeof(value));
		if (*value != '1')
			continue;
		get(path, "memory_max", value, sizeof(value));
		sum += strtoull(value, NULL, 10);
	}
	closedir(d);
	return sum > have ? ENOSPC : 0;
}

/* ------------------------------------------------------------------------------ attributes */

static bool within(const char *value, unsigned long long low, unsigned long long high)
{
	char *stop;
	unsigned long long n = strtoull(value, &stop, 10);

	return *value && !*stop && n >= low && n <= high;
}

/* An attribute of a partition. 0 or an errno. */
static int store(const char *directory, const char *name, const char *value)
{
	char state[32], now[256];

	get(directory, "state", state, sizeof(state));
	if (!strcmp(name, "weight"))
		return within(value, 1, 10000) ? 0 : EINVAL;
	if (!strcmp(name, "busy_max"))
		return within(value, 0, 100) ? 0 : EINVAL;
	if (!strcmp(name, "quantum_us"))
		return within(value, 0, 1000000) ? 0 : EINVAL;
	if (!strcmp(name, "priority"))
		return strcmp(value, "normal") && strcmp(value, "high") && strcmp(value, "low") ? EINVAL : 0;
	if (!strcmp(name, "memory_max"))
		return within(value, 0, -1ULL) ? memory(directory, strtoull(value, NULL, 10)) : EINVAL;
	if (!strcmp(name, "allow_cgroup")) {
		put(directory, "../.allow", "1");
		return !*value || !strcmp(value, "/machine.slice") ? 0 : ENOENT;
	}
	if (!strcmp(name, "allow_uid")) {
		get(directory, name, now, sizeof(now));
		if (strcmp(now, value))
			put(directory, "../.allow", "1");
		return !strcmp(value, "any") || within(value, 0, 0xfffffffe) ? 0 : EINVAL;
	}
	if (!strcmp(name, "drain")) {
		if (strcmp(state, "active"))
			return ENODEV;
		put(directory, "../.allow", "0");
		put(directory, "state", "draining");
		return 0;
	}
	if (!strcmp(name, "recycle")) {
		get(directory, "../.allow", now, sizeof(now));
		if (strcmp(state, "draining") || *now != '1')
			return EINVAL;
		get(directory, "holders", now, sizeof(now));
		if (*now)
			return EBUSY;
		put(directory, "state", "active");
		put(directory, "uuid", "11111111-0000-4000-8000-000000000000");
		return 0;
	}
	if (!strcmp(name, "enable")) {
		get(directory, "enable", now, sizeof(now));
		if (!within(value, 0, 1))
			return EINVAL;
		if (*value == '1' && *now != '1') {
			get(directory, "memory_max", now, sizeof(now));
			if (memory(directory, strtoull(now, NULL, 10)))
				return ENOSPC;
			begin(directory);
		} else if (*value == '0' && *now == '1') {
			end(directory);
		}
	}
	return 0;
}

static int reap(const char *root, const char *value)
{
	char stones[256], *next = stones, *one, left[256] = "";
	bool found = false;

	get(root, "tombstones", stones, sizeof(stones));
	while ((one = strsep(&next, ","))) {
		if (!strcmp(one, value)) {
			found = true;
			continue;
		}
		if (*left)
			strcat(left, ",");
		strcat(left, one);
	}
	if (!found)
		return ENOENT;
	if (!strcmp(env("FAKE_BUSY", ""), value))
		return EBUSY;
	put(root, "tombstones", "%s", left);
	return 0;
}

ssize_t fake_write(int fd, const void *data, size_t size)
{
	char path[1024], link[64], value[512], *slash;
	const char *tail;
	ssize_t length;
	int depth, error = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length < 0 ? 0 : length] = 0;
	tail = below(path, &depth);
	if (!tail)
		return REAL(write)(fd, data, size);
	snprintf(value, sizeof(value), "%.*s", (int)size, (const char *)data);
	value[strcspn(value, "\n")] = 0;
	note("write", tail, value);
	slash = strrchr(path, '/');
	*slash = 0;
	if (depth == 3)
		error = store(path, slash + 1, value);
	else if (depth == 2)
		error = within(value, 0, 1) ? 0 : EINVAL;
	else
		error = reap(path, value);
	if (error) {
		errno = error;
		return -1;
	}
	if (strcmp(slash + 1, "drain") && strcmp(slash + 1, "recycle") && strcmp(slash + 1, "reap"))
		put(path, slash + 1, "%s", value);
	return (ssize_t)size;
}

ssize_t fake_read(int fd, void *data, size_t size)
{
	const char *events = getenv("TENON_EVENTS");
	char path[1024], link[64], *newline;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length < 0 ? 0 : length] = 0;
	length = REAL(read)(fd, data, size);
	if (!events || strcmp(events, path) || length <= 0)
		return length;
	newline = memchr(data, '\n', (size_t)length);
	if (!newline)
		abort();
	lseek(fd, newline + 1 - (char *)data - length, SEEK_CUR);
	length = newline + 1 - (char *)data;
	if (!strncmp(data, "GAP", 3)) {
		errno = EPIPE;
		return -1;
	}
	return length;
}

/* ------------------------------------------------------------------------------ directories */

int fake_mkdir(const char *path, mode_t mode)
{
	const char *tail, *slash = strrchr(path, '/');
	int depth;
	size_t i;

	tail = below(path, &depth);
	if (!tail)
		return REAL(mkdir)(path, mode);
	if (depth > 2 || (depth == 1 && !strchr(tail, ':')) || slash[1] == '.' || strlen(slash + 1) > 31) {
		errno = EINVAL;
		return -1;
	}
	if (REAL(mkdir)(path, mode))
		return -1;
	note("mkdir", tail, "");
	if (depth == 1) {
		put(path, "state", "present");
		put(path, "overcommit", "0");
		return 0;
	}
	for (i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		put(path, attributes[i][0], "%s", attributes[i][1]);
	return 0;
}

int fake_rmdir(const char *path)
{
	const char *tail;
	char sub[1024];
	struct dirent *entry;
	DIR *d;
	int depth;

	tail = below(path, &depth);
	if (!tail)
		return REAL(rmdir)(path);
	if (depth == 1) {
		d = opendir(path);
		while (d && (entry = readdir(d))) {
			snprintf(sub, sizeof(sub), "%s/%.200s/enable", path, entry->d_name);
			if (!access(sub, F_OK)) {
				closedir(d);
				errno = ENOTEMPTY;
				return -1;
			}
		}
		closedir(d);
	} else {
		end(path);
	}
	note("rmdir", tail, "");
	empty(path);
	snprintf(sub, sizeof(sub), "%s/.allow", path);
	unlink(sub);
	return REAL(rmdir)(path);
}
