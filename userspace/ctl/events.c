/* SPDX-License-Identifier: MIT */
/* tenonctl events: what the kernel tells in /dev/tenon-events, for people or as JSON. */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

#define LINE	4096

/* A time since boot by the clock on the wall. */
static const char *wall(char *to, size_t size, uint64_t boot_ns)
{
	struct timespec real, boot;
	int64_t ns;
	time_t seconds;
	struct tm tm;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	ns = (int64_t)(real.tv_sec - boot.tv_sec) * 1000000000 + real.tv_nsec - boot.tv_nsec +
		(int64_t)boot_ns;
	seconds = (time_t)(ns / 1000000000);
	localtime_r(&seconds, &tm);
	length = strftime(to, size, "%F %T", &tm);
	snprintf(to + length, size - length, ".%03d", (int)(ns / 1000000 % 1000));
	return to;
}

static void gap(const struct ctl *ctl, uint64_t lost)
{
	if (ctl->json && lost)
		printf("{\"type\":\"gap\",\"lost\":%" PRIu64 "}\n", lost);
	else if (ctl->json)
		puts("{\"type\":\"gap\"}");
	else if (lost)
		printf("--- %" PRIu64 " event%s lost: they came faster than they were read\n", lost,
		       lost == 1 ? "" : "s");
	else
		puts("--- events were lost: they came faster than they were read");
}

static void pair(struct json_object *o, char *word)
{
	char *value = strchr(word, '='), *end;
	uint64_t number;

	if (!value)
		return;
	*value++ = 0;
	errno = 0;
	number = strtoull(value, &end, 10);
	/* Names may look like numbers. */
	if (*value >= '0' && *value <= '9' && !*end && !errno && strcmp(word, "partition") &&
	    strcmp(word, "serial") &&
	    strcmp(word, "model"))
		ctl_json_number(o, word, number);
	else
		ctl_json_string(o, word, value);
}

static void print(const struct ctl *ctl, uint64_t seq, uint64_t time_ns, const char *type, char *rest)
{
	/* A bill is kept longer than the kernel's clock runs. */
	bool bill = !strcmp(type, "usage");
	char when[64], boot[64], *word, *controller = NULL, *partition = NULL;
	struct json_object *o;

	if (ctl->json) {
		o = json_object_new_object();
		ctl_json_number(o, "seq", seq);
		ctl_json_number(o, "time_ns", time_ns);
		ctl_json_string(o, "type", type);
		if (bill) {
			ctl_boot_id(boot, sizeof(boot));
			ctl_json_string(o, "boot", boot);
		}
		while ((word = strsep(&rest, " ")))
			pair(o, word);
		puts(json_object_to_json_string_ext(o,
						    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
		return;
	}
	/* What it is about comes first, and with that its name. */
	for (word = rest; word;) {
		if (!strncmp(word, "controller=", 11))
			controller = word + 11;
		else if (!strncmp(word, "partition=", 10))
			partition = word + 10;
		word = strchr(word, ' ');
		word = word ? word + 1 : NULL;
	}
	printf("%s %-17s %.*s%s%.*s", wall(when, sizeof(when), time_ns), type,
	       controller ? (int)strcspn(controller, " ") : 0, controller ? controller : "",
	       partition ? "/" : "",
	       partition ? (int)strcspn(partition, " ") : 0, partition ? partition : "");
	if (bill) {
		ctl_boot_id(boot, sizeof(boot));
		printf(" boot=%s", boot);
	}
	while ((word = strsep(&rest, " ")))
		if (*word && strncmp(word, "controller=", 11) && strncmp(word, "partition=", 10))
			printf(" %s", word);
	puts("");
}

/* One event. Its number, or @last if it isn't one. */
static uint64_t event(const struct ctl *ctl, char *line, uint64_t last)
{
	uint64_t seq, time_ns;
	char type[64];
	int at = 0;
	char *s;

	/* The kernel has escaped what isn't printable; a terminal trusts nobody. */
	for (s = line; *s; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
	if (sscanf(line, "%" SCNu64 " %" SCNu64 " %63s %n", &seq, &time_ns, type, &at) < 3) {
		fprintf(stderr, "tenonctl: not an event: %s\n", line);
		return last;
	}
	if (last && seq > last + 1)
		gap(ctl, seq - last - 1);
	print(ctl, seq, time_ns, type, at ? line + at : line + strlen(line));
	return seq;
}

int ctl_events(const struct ctl *ctl, char *const *args)
{
	const char *path = ctl_root("TENON_EVENTS", "/dev/tenon-events");
	struct pollfd fd = { .events = POLLIN };
	char line[LINE + 1];
	uint64_t last = 0;
	ssize_t bytes;

	(void)args;
	fd.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd.fd < 0) {
		fprintf(stderr, "tenonctl: %s: %s%s\n", path, strerror(errno),
			errno == EACCES ? ": only root may read it" :
			errno == ENOENT ? ": is the module tenon loaded?" : "");
		return EXIT_FAILED;
	}
	for (;;) {
		bytes = read(fd.fd, line, LINE);
		if (bytes > 0) {
			line[bytes] = 0;
			line[strcspn(line, "\n")] = 0;
			last = event(ctl, line, last);
			continue;
		}
		/* The next one's number tells how many, unless there was none before. */
		if (bytes < 0 && errno == EPIPE) {
			if (!last)
				gap(ctl, 0);
			continue;
		}
		if (bytes < 0 && errno == EINTR)
			continue;
		if (!bytes || errno != EAGAIN || !ctl->follow)
			break;
		/* Whoever reads this has all before it waits. */
		if (fflush(stdout) || (poll(&fd, 1, -1) < 0 && errno != EINTR))
			break;
	}
	if (bytes < 0 && errno != EAGAIN)
		fprintf(stderr, "tenonctl: %s: %s\n", path, strerror(errno));
	close(fd.fd);
	return bytes < 0 && errno != EAGAIN ? EXIT_FAILED : EXIT_OK;
}
