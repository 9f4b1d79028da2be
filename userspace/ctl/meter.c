/* SPDX-License-Identifier: MIT */
/* tenonctl meter: what each partition used, by the kernel's books. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

#define VERSION	1

static const char *const counters[] = {
	"busy_ns", "wait_ns", "throttled_ns", "cut_ns", "bytes_read", "bytes_written",
	"memory_byte_seconds", "errors",
	"commands_nop", "commands_copy", "commands_fill", "commands_signal", "commands_wait", "commands_exec",
	"commands_tensor", "commands_refused",
};

#define COUNTERS	(sizeof(counters) / sizeof(counters[0]))

static uint64_t get(struct json_object *o, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(o, name, &value) ? json_object_get_uint64(value) : 0;
}

static const char *get_string(struct json_object *o, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(o, name, &value) ? json_object_get_string(value) : "";
}

/* The books of all partitions, as they are kept in a state's file; NULL: they aren't for this user. */
static struct json_object *now(void)
{
	struct json_object *top = json_object_new_object(), *array = json_object_new_array(), *o, *usage;
	struct ctl_partition *all;
	char path[CTL_PATH_MAX + 8], boot[64], uuid[64], again[64];
	struct timespec t;
	int count, i;
	size_t j;

	clock_gettime(CLOCK_BOOTTIME, &t);
	ctl_json_number(top, "version", VERSION);
	ctl_boot_id(boot, sizeof(boot));
	ctl_json_string(top, "boot", boot);
	ctl_json_number(top, "time_ns", (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec);
	count = ctl_partitions(&all);
	for (i = 0; i < count; i++) {
		const struct ctl_partition *p = &all[i];

		if (!*p->sysfs || ctl_read(p->sysfs, "uuid", uuid, sizeof(uuid)))
			continue;
		if (!ctl_may_read_usage(p)) {
			json_object_put(top);
			json_object_put(array);
			free(all);
			return NULL;
		}
		o = json_object_new_object();
		usage = json_object_new_object();
		ctl_json_string(o, "controller", p->controller);
		ctl_json_string(o, "name", p->name);
		ctl_json_string(o, "device", p->device);
		ctl_json_string(o, "uuid", uuid);
		snprintf(path, sizeof(path), "%s/usage", p->sysfs);
		ctl_json_number(o, "epoch", ctl_read_number(path, "epoch"));
		for (j = 0; j < COUNTERS; j++)
			ctl_json_number(usage, counters[j], ctl_read_number(path, counters[j]));
		json_object_object_add(o, "usage", usage);
		/* If it was given to the next tenant meanwhile, these are the books of two. */
		if (ctl_read(p->sysfs, "uuid", again, sizeof(again)) || strcmp(uuid, again))
			json_object_put(o);
		else
			json_object_array_add(array, o);
	}
	free(all);
	json_object_object_add(top, "partitions", array);
	return top;
}

static struct json_object *find(struct json_object *state, struct json_object *like)
{
	struct json_object *array, *o;
	size_t i;

	if (!json_object_object_get_ex(state, "partitions", &array))
		return NULL;
	for (i = 0; i < json_object_array_length(array); i++) {
		o = json_object_array_get_idx(array, i);
		if (!strcmp(get_string(o, "controller"), get_string(like, "controller")) &&
		    !strcmp(get_string(o, "name"), get_string(like, "name")))
			return o;
	}
	return NULL;
}

static const char *reset_reason(struct json_object *then, struct json_object *now_)
{
	struct json_object *a, *b;
	size_t i;

	if (strcmp(get_string(then, "uuid"), get_string(now_, "uuid")))
		return "uuid";
	if (get(then, "epoch") != get(now_, "epoch"))
		return "epoch";
	if (!json_object_object_get_ex(then, "usage", &a) || !json_object_object_get_ex(now_, "usage", &b))
		return "counter";
	for (i = 0; i < COUNTERS; i++)
		if (get(b, counters[i]) < get(a, counters[i]))
			return "counter";
	return NULL;
}

/*
 * What was used since: the counters become differences. Where they started again in between there is no
 * difference: "reset" says why, and they stay what they are. One that is gone is told, too.
 */
static void subtract(struct json_object *state, struct json_object *since)
{
	struct json_object *array, *old, *o, *then, *a, *b;
	const char *reason;
	size_t i, j, living;

	json_object_object_get_ex(state, "partitions", &array);
	living = json_object_array_length(array);
	for (i = 0; i < living; i++) {
		o = json_object_array_get_idx(array, i);
		then = find(since, o);
		if (!then) {
			json_object_object_add(o, "new", json_object_new_boolean(true));
			continue;
		}
		reason = reset_reason(then, o);
		if (reason) {
			ctl_json_string(o, "reset", reason);
			continue;
		}
		json_object_object_get_ex(then, "usage", &a);
		json_object_object_get_ex(o, "usage", &b);
		for (j = 0; j < COUNTERS; j++)
			ctl_json_number(b, counters[j], get(b, counters[j]) - get(a, counters[j]));
	}
	if (json_object_object_get_ex(since, "partitions", &old)) {
		for (i = 0; i < json_object_array_length(old); i++) {
			then = json_object_array_get_idx(old, i);
			if (find(state, then))
				continue;
			o = json_object_new_object();
			ctl_json_string(o, "controller", get_string(then, "controller"));
			ctl_json_string(o, "name", get_string(then, "name"));
			ctl_json_string(o, "device", get_string(then, "device"));
			ctl_json_string(o, "uuid", get_string(then, "uuid"));
			ctl_json_string(o, "reset", "gone");
			json_object_array_add(array, o);
		}
	}
	/* Boot times of two boots have no difference. */
	if (!strcmp(get_string(state, "boot"), get_string(since, "boot")))
		ctl_json_number(state, "elapsed_ns", get(state, "time_ns") - get(since, "time_ns"));
}

static uint64_t sum(struct json_object *usage, const char *prefix)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < COUNTERS; i++)
		if (!strncmp(counters[i], prefix, strlen(prefix)))
			total += get(usage, counters[i]);
	return total;
}

static void print(struct json_object *state)
{
	static const struct {
		const char *reason;
		const char *text;
	} reasons[] = {
		{ "uuid", "reset: made again or recycled; see its usage event" },
		{ "epoch", "reset: its books started again" },
		{ "counter", "reset: a counter went back" },
		{ "gone", "gone; see its usage event" },
	};
	struct json_object *array, *o, *p, *usage;
	char text[6][32];
	const char *controller = "", *reason;
	uint64_t total = 0;
	size_t i, j;

	json_object_object_get_ex(state, "partitions", &array);
	for (i = 0; i < json_object_array_length(array); i++) {
		o = json_object_array_get_idx(array, i);
		if (strcmp(controller, get_string(o, "controller"))) {
			controller = get_string(o, "controller");
			for (j = 0, total = 0; j < json_object_array_length(array); j++) {
				p = json_object_array_get_idx(array, j);
				if (!strcmp(controller, get_string(p, "controller")) &&
				    !*get_string(p, "reset") &&
				    json_object_object_get_ex(p, "usage", &usage))
					total += get(usage, "busy_ns");
			}
			printf("%s%s\n  %-20s %-8s%7s%7s%9s%7s%7s%6s%6s\n", i ? "\n" : "", controller,
			       "PARTITION", "NODE",
			       "BUSY", "SHARE", "COMMANDS", "BYTES", "HELD", "ERR", "CUT");
		}
		printf("  %-20.20s %-8.8s", get_string(o, "name"), get_string(o, "device"));
		reason = get_string(o, "reset");
		if (*reason) {
			for (j = 0; j < sizeof(reasons) / sizeof(reasons[0]); j++)
				if (!strcmp(reason, reasons[j].reason))
					printf(" %.48s", reasons[j].text);
			puts("");
			continue;
		}
		json_object_object_get_ex(o, "usage", &usage);
		printf("%7s%6.1f%%%9s%7s%7s%6s%6s\n",
		       ctl_short_time(text[0], sizeof(text[0]), (double)get(usage, "busy_ns")),
		       total ? 100 * (double)get(usage, "busy_ns") / (double)total : 0,
		       ctl_short_count(text[1], sizeof(text[1]), (double)sum(usage, "commands_")),
		       ctl_short_size(text[2], sizeof(text[2]), (double)sum(usage, "bytes_")),
		       ctl_short_time(text[3], sizeof(text[3]), (double)get(usage, "throttled_ns")),
		       ctl_short_count(text[4], sizeof(text[4]), (double)get(usage, "errors")),
		       ctl_short_time(text[5], sizeof(text[5]), (double)get(usage, "cut_ns")));
	}
}

static struct json_object *read_state(const char *path)
{
	struct json_object *since = json_object_from_file(path);

	if (since && get(since, "version") == VERSION && !get(since, "elapsed_ns") &&
	    !*get_string(since, "since"))
		return since;
	fprintf(stderr, "tenonctl: %s: %s\n", path, !since ? json_util_get_last_err() :
		"not counters that --state or --json wrote, without --since");
	json_object_put(since);
	return NULL;
}

int ctl_meter(const struct ctl *ctl, char *const *args)
{
	struct json_object *since = NULL, *state, *array;
	int status = EXIT_OK;

	(void)args;
	if (ctl->since) {
		since = read_state(ctl->since);
		if (!since)
			return EXIT_FAILED;
	}
	state = now();
	if (!state) {
		json_object_put(since);
		return EXIT_FAILED;
	}
	json_object_object_get_ex(state, "partitions", &array);
	/* Before it becomes a difference; also to the file that --since has just read. */
	if (ctl->state && json_object_to_file_ext(ctl->state, state, JSON_C_TO_STRING_PRETTY)) {
		fprintf(stderr, "tenonctl: %s\n", json_util_get_last_err());
		status = EXIT_FAILED;
	}
	if (since) {
		subtract(state, since);
		ctl_json_string(state, "since", ctl->since);
		json_object_put(since);
	}
	if (!json_object_array_length(array) && !ctl->json) {
		fputs("tenonctl: no partition: is the module tenon loaded, and a device there?\n", stderr);
		status = EXIT_FAILED;
	}
	if (ctl->json) {
		ctl_json_print(state);
		return status;
	}
	print(state);
	json_object_put(state);
	return status;
}
