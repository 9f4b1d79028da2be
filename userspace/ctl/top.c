/* SPDX-License-Identifier: MIT */
/*
 * tenonctl top: what partitions and the contexts in them use now. A frame is lines of text; curses only shows
 * them again and again, with keys.
 *
 * Contexts are found as any user of a DRM device is: by the fdinfo of open files, of those processes
 * whose files the caller may look at, with the pids of the /proc that is seen from here.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <ncurses.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

#define WIDTH		80
#define BAR		18
#define ACCEL_MAJOR	261

struct row {
	char controller[64];
	char name[64];		/* of the partition, or the process */
	char device[32];
	char state[16];
	unsigned int pid;	/* 0: a partition */
	uint64_t client;	/* of a context: unique over all DRM devices */
	uint64_t busy_ns;
	uint64_t memory;
	uint64_t contexts;
	uint64_t queues;
	uint64_t weight;
	uint64_t units;		/* what the device can be busy with at a time */
	double use;		/* part of the device's time */
};

struct sample {
	struct row *rows;	/* partitions, then contexts */
	size_t count;
	int64_t when;
};

/* ------------------------------------------------------------------------------ looking */

static struct row *row_add(struct sample *s)
{
	struct row *grown = realloc(s->rows, (s->count + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	s->rows = grown;
	grown += s->count++;
	memset(grown, 0, sizeof(*grown));
	return grown;
}

/* False if they aren't for this user. */
static bool partitions(struct sample *s)
{
	char path[CTL_PATH_MAX + 8], health[sizeof(((struct row *)NULL)->state)];
	struct ctl_partition *all;
	int count = ctl_partitions(&all), i;

	for (i = 0; i < count; i++) {
		const struct ctl_partition *p = &all[i];
		struct row *row;

		if (!*p->sysfs || !(row = row_add(s)))
			continue;
		if (!ctl_may_read_usage(p)) {
			free(all);
			return false;
		}
		strcpy(row->controller, p->controller);
		strcpy(row->name, p->name);
		strcpy(row->device, p->device);
		ctl_read(p->sysfs, "state", row->state, sizeof(row->state));
		row->memory = ctl_read_number(p->sysfs, "buffer_bytes");
		row->contexts = ctl_read_number(p->sysfs, "contexts");
		row->queues = ctl_read_number(p->sysfs, "queues");
		snprintf(path, sizeof(path), "%s/usage", p->sysfs);
		row->busy_ns = ctl_read_number(path, "busy_ns");
		snprintf(path, sizeof(path), "%s/limits", p->sysfs);
		row->weight = ctl_read_number(path, "weight");
		snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/tenon", ctl_root("TENON_SYSFS", "/sys"),
			 p->controller);
		row->units = ctl_read_number(path, "units");
		if (!row->units)
			row->units = 1;
		if (!ctl_read(path, "health", health, sizeof(health)) && strcmp(health, "ready"))
			strcpy(row->state, health);
	}
	free(all);
	return true;
}

/* What the file descriptor is open on: "accelN", or "". One in another mount namespace has its name there. */
static void device_of(const char *fd, char *to, size_t size)
{
	char link[CTL_PATH_MAX];
	struct stat st;
	ssize_t length;

	*to = 0;
	if (!stat(fd, &st)) {
		if (S_ISCHR(st.st_mode) && major(st.st_rdev) == ACCEL_MAJOR)
			snprintf(to, size, "accel%u", minor(st.st_rdev));
		return;
	}
	length = readlink(fd, link, sizeof(link) - 1);
	link[length < 0 ? 0 : length] = 0;
	if (!strncmp(link, CTL_NODE_DIR "/accel", strlen(CTL_NODE_DIR "/accel")))
		snprintf(to, size, "%.31s", link + strlen(CTL_NODE_DIR "/"));
}

/*
 * A context, if the file is one of the driver's, and not seen before: descriptors are duplicated
 * and passed on.
 */
static void context(struct sample *s, size_t first, const char *process, const char *fd, const char *device,
		    unsigned int pid)
{
	char directory[CTL_PATH_MAX], text[CTL_VALUE_MAX], partition[64] = "", *next = text, *line, *value;
	uint64_t client = 0, busy = 0, memory = 0, queues = 0;
	bool ours = false;
	struct row *row;
	size_t i;

	ctl_path(directory, "%s/fdinfo", process);
	if (ctl_read(directory, fd, text, sizeof(text)))
		return;
	while ((line = strsep(&next, "\n"))) {
		value = strchr(line, ':');
		if (!value)
			continue;
		*value++ = 0;
		value += strspn(value, " \t");
		if (!strcmp(line, "drm-driver"))
			ours = !strcmp(value, "tenon");
		else if (!strcmp(line, "drm-client-id"))
			client = strtoull(value, NULL, 10);
		else if (!strcmp(line, "tenon-partition"))
			snprintf(partition, sizeof(partition), "%.63s", value);
		else if (!strcmp(line, "tenon-queues"))
			queues = strtoull(value, NULL, 10);
		else if (!strncmp(line, "drm-engine-", 11) && strncmp(line, "drm-engine-capacity-", 20))
			busy += strtoull(value, NULL, 10);
		else if (!strncmp(line, "drm-total-", 10))
			memory += strtoull(value, NULL, 10) << (strstr(value, "KiB") ? 10 :
								strstr(value, "MiB") ? 20 : 0);
	}
	if (!ours)
		return;
	for (i = first; i < s->count; i++)
		if (s->rows[i].client == client)
			return;
	row = row_add(s);
	if (!row)
		return;
	row->pid = pid;
	row->client = client;
	row->busy_ns = busy;
	row->memory = memory;
	row->queues = queues;
	row->units = 1;
	strcpy(row->device, device);
	ctl_read(process, "comm", row->name, sizeof(row->name));
	ctl_string(row->name, sizeof(row->name), (const __u8 *)strdupa(row->name), sizeof(row->name));
	for (i = 0; i < first; i++) {
		if (strcmp(s->rows[i].device, device))
			continue;
		strcpy(row->controller, s->rows[i].controller);
		row->units = s->rows[i].units;
	}
	snprintf(row->state, sizeof(row->state), "%.15s", partition);
}

static void contexts(struct sample *s)
{
	const char *proc = ctl_root("TENON_PROC", "/proc");
	char process[CTL_PATH_MAX], fds[CTL_PATH_MAX], fd[CTL_PATH_MAX], device[32], **pids, **files;
	int count = ctl_names(proc, &pids), n, i, j;
	size_t first = s->count;

	for (i = 0; i < count; i++) {
		if (*pids[i] < '0' || *pids[i] > '9')
			continue;
		ctl_path(process, "%.200s/%.32s", proc, pids[i]);
		ctl_path(fds, "%.300s/fd", process);
		n = ctl_names(fds, &files);
		for (j = 0; j < n; j++) {
			ctl_path(fd, "%.400s/%.32s", fds, files[j]);
			device_of(fd, device, sizeof(device));
			if (*device)
				context(s, first, process, files[j], device,
					(unsigned int)strtoul(pids[i], NULL, 10));
		}
		ctl_names_free(files, n);
	}
	ctl_names_free(pids, count);
}

static bool look(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	s->when = ctl_now();
	if (!partitions(s))
		return false;
	contexts(s);
	return true;
}

static bool same(const struct row *a, const struct row *b)
{
	return a->pid ? a->client == b->client : !b->pid && !strcmp(a->controller, b->controller) &&
						 !strcmp(a->name, b->name) && !strcmp(a->device, b->device);
}

/* What was new between two looks, or whose counters started again, has its use from the next look on. */
static void compare(struct sample *now, const struct sample *before)
{
	double elapsed = (double)(now->when - before->when);
	size_t i, j;

	for (i = 0; i < now->count; i++) {
		struct row *row = &now->rows[i];

		for (j = 0; j < before->count; j++)
			if (same(row, &before->rows[j]) && row->busy_ns >= before->rows[j].busy_ns &&
			    elapsed > 0)
				row->use = (double)(row->busy_ns - before->rows[j].busy_ns) /
					   (elapsed * (double)row->units);
		/* The kernel reads the counters a little later than the clock is read here. */
		if (row->use > 1)
			row->use = 1;
	}
}

static const char *sort_key;

static int order(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (*sort_key == 'b' && x->use != y->use)
		return x->use < y->use ? 1 : -1;
	if (*sort_key == 'm' && x->memory != y->memory)
		return x->memory < y->memory ? 1 : -1;
	if (strcmp(x->name, y->name))
		return strverscmp(x->name, y->name);
	return x->pid != y->pid ? (x->pid > y->pid ? 1 : -1) : x->client > y->client;
}

/* Partitions stay in front of contexts. */
static size_t sort(struct sample *s, const char *key)
{
	size_t first = 0;

	while (first < s->count && !s->rows[first].pid)
		first++;
	sort_key = key;
	if (first)
		qsort(s->rows, first, sizeof(*s->rows), order);
	if (s->count > first)
		qsort(s->rows + first, s->count - first, sizeof(*s->rows), order);
	return first;
}

/* ------------------------------------------------------------------------------ showing */

struct frame {
	char (*lines)[WIDTH + 1];
	size_t count;
	size_t most;
};

static void put(struct frame *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct frame *f, const char *format, ...)
{
	va_list args;

	if (f->count == f->most)
		return;
	va_start(args, format);
	vsnprintf(f->lines[f->count++], WIDTH + 1, format, args);
	va_end(args);
}

static const char *bar(char *to, double use)
{
	int full = (int)(use * BAR + 0.5), i;

	for (i = 0; i < BAR; i++)
		to[i] = i < full ? '#' : '.';
	to[BAR] = 0;
	return to;
}

/* Each partition with its contexts below it. */
static void draw(struct frame *f, const struct sample *s, size_t first)
{
	char text[BAR + 1], memory[32], weight[24];
	size_t i, j;

	f->count = 0;
	put(f, "%-21s %-8s %-9s%6s%4s%4s %4s", "PARTITION / COMMAND", "NODE/PID", "STATE", "MEMORY", "CTX", "QUE",
	    "USE%");
	for (i = 0; i < first; i++) {
		const struct row *p = &s->rows[i];

		snprintf(weight, sizeof(weight), "%" PRIu64, p->contexts);
		put(f, "%-21.21s %-8.8s %-9.9s%6s%4.4s%4" PRIu64 " %4.0f [%s]", p->name, p->device, p->state,
		    ctl_short_size(memory, sizeof(memory), (double)p->memory), weight, p->queues,
		    100 * p->use,
		    bar(text, p->use));
		for (j = first; j < s->count; j++) {
			const struct row *c = &s->rows[j];

			if (strcmp(c->device, p->device))
				continue;
			put(f, "  %-19.19s %-8u %-9s%6s%4s%4" PRIu64 " %4.0f [%s]", c->name, c->pid, "",
			    c->memory ? ctl_short_size(memory, sizeof(memory), (double)c->memory) : "", "",
			    c->queues,
			    100 * c->use, bar(text, c->use));
		}
	}
}

static struct json_object *rows_json(const struct sample *s, const struct row *p, size_t from, size_t to)
{
	struct json_object *array = json_object_new_array(), *o;
	size_t i;

	for (i = from; i < to; i++) {
		const struct row *row = &s->rows[i];

		if (p && strcmp(row->device, p->device))
			continue;
		o = json_object_new_object();
		if (p) {
			ctl_json_number(o, "pid", row->pid);
			ctl_json_string(o, "comm", row->name);
			ctl_json_number(o, "client", row->client);
		} else {
			ctl_json_string(o, "controller", row->controller);
			ctl_json_string(o, "name", row->name);
			ctl_json_string(o, "device", row->device);
			ctl_json_string(o, "state", row->state);
			ctl_json_number(o, "weight", row->weight);
		}
		ctl_json_number(o, "busy_ns", row->busy_ns);
		json_object_object_add(o, "use", json_object_new_double(row->use));
		ctl_json_number(o, "memory_bytes", row->memory);
		ctl_json_number(o, "queues", row->queues);
		if (!p)
			json_object_object_add(o, "contexts", rows_json(s, row, to, s->count));
		json_object_array_add(array, o);
	}
	return array;
}

static int once(const struct ctl *ctl, const struct sample *s, size_t first)
{
	struct json_object *top;
	struct frame f = { .most = s->count + 1 };
	size_t i;

	if (ctl->json) {
		top = json_object_new_object();
		ctl_json_number(top, "version", 1);
		json_object_object_add(top, "partitions", rows_json(s, NULL, 0, first));
		ctl_json_print(top);
		return EXIT_OK;
	}
	f.lines = calloc(f.most, sizeof(*f.lines));
	if (!f.lines)
		return EXIT_FAILED;
	draw(&f, s, first);
	for (i = 0; i < f.count; i++)
		puts(f.lines[i]);
	free(f.lines);
	return EXIT_OK;
}

static void paint(const struct sample *s, size_t first, uint64_t interval, const char *key)
{
	int rows = LINES, i;
	struct frame f = { .most = s->count + 1 };

	f.lines = calloc(f.most, sizeof(*f.lines));
	if (!f.lines)
		return;
	draw(&f, s, first);
	erase();
	mvaddnstr(0, 0, f.lines[0], COLS);
	mvchgat(0, 0, -1, A_REVERSE, 0, NULL);
	for (i = 1; i < (int)f.count && i < rows - 1; i++)
		mvaddnstr(i, 0, f.lines[i], COLS);
	/* The last line tells what isn't shown, too. */
	mvprintw(rows - 1, 0, "sorted by %s (b n m), every %.1f s (+ -), q ends", key,
		 (double)interval / 1e9);
	if ((int)f.count > rows - 1)
		printw("; %d more", (int)f.count - (rows - 1));
	if (!first)
		mvaddstr(2, 0, "no partition: is the module tenon loaded, and a device there?");
	refresh();
	free(f.lines);
}

/* What a key does; false to end. */
static bool pressed(int c, const char **key, uint64_t *interval)
{
	switch (c) {
	case ERR:
		/* Nothing more can come from a terminal that has hung up. */
		return isatty(STDIN_FILENO);
	case 'q':
		return false;
	case 'b':
		*key = "busy";
		break;
	case 'n':
		*key = "name";
		break;
	case 'm':
		*key = "memory";
		break;
	case '+':
		*interval = *interval < 60000000000 ? 2 * *interval : *interval;
		break;
	case '-':
		*interval = *interval > 200000000 ? *interval / 2 : *interval;
		break;
	}
	return true;
}

static int live(const struct ctl *ctl)
{
	uint64_t interval = ctl->interval_ns;
	struct sample before = { 0 }, now;
	const char *key = ctl->sort;
	bool on = true, seen = true;
	int64_t left;

	if (!look(&now)) {
		free(now.rows);
		return EXIT_FAILED;
	}
	setlocale(LC_ALL, "");
	/* newterm(), since initscr() ends the program where the terminal is unknown. */
	if (!newterm(NULL, stdout, stdin)) {
		fputs("tenonctl: top: this terminal can't show it; try --once\n", stderr);
		free(now.rows);
		return EXIT_FAILED;
	}
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	while (on && seen) {
		compare(&now, &before);
		/* A key shows the same again, in another way: use is of whole intervals. */
		do {
			paint(&now, sort(&now, key), interval, key);
			left = now.when + (int64_t)interval - ctl_now();
			timeout(left > 0 ? (int)(left / 1000000) + 1 : 0);
			on = pressed(getch(), &key, &interval);
		} while (on && ctl_now() < now.when + (int64_t)interval);
		free(before.rows);
		before = now;
		now.rows = NULL;
		if (on)
			seen = look(&now);
	}
	free(before.rows);
	free(now.rows);
	endwin();
	delscreen(set_term(NULL));
	return seen ? EXIT_OK : EXIT_FAILED;
}

int ctl_top(const struct ctl *ctl, char *const *args)
{
	struct timespec pause = { .tv_sec = (time_t)(ctl->interval_ns / 1000000000),
				  .tv_nsec = (long)(ctl->interval_ns % 1000000000) };
	struct sample before, now;
	int status;

	(void)args;
	if (!ctl->once && !(ctl->terminal && isatty(STDIN_FILENO))) {
		fputs("tenonctl: top needs a terminal, or --once\n", stderr);
		return EXIT_USAGE;
	}
	if (!ctl->once)
		return live(ctl);
	if (!look(&before)) {
		free(before.rows);
		return EXIT_FAILED;
	}
	nanosleep(&pause, NULL);
	look(&now);
	compare(&now, &before);
	status = once(ctl, &now, sort(&now, ctl->sort));
	if (!now.count)
		fputs("tenonctl: no partition: is the module tenon loaded, and a device there?\n", stderr);
	free(before.rows);
	free(now.rows);
	return now.count ? status : EXIT_FAILED;
}
