/* SPDX-License-Identifier: MIT */
/* tenonctl partition: list, show, create, set, drain, delete, recycle, reap. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

#define SECOND		1000000000LL
#define PATIENCE	(10 * SECOND)

enum { MADE_CONTROLLER = 1, MADE_PARTITION = 2 };

/* ------------------------------------------------------------------------------ finding */

static void say_where(const char *what, char **names, int count)
{
	int i;

	fprintf(stderr, "%s", what);
	for (i = 0; i < count; i++)
		fprintf(stderr, " %s", names[i]);
	fputs("\n", stderr);
}

/* [CONTROLLER/]NAME into @p. One that there isn't is found if @create, where its controller is known. */
static int find(const char *text, bool create, struct ctl_partition *p)
{
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
	struct ctl_partition *all;
	int count = ctl_partitions(&all), found = 0, i;
	char **controllers;

	memset(p, 0, sizeof(*p));
	if (count < 0) {
		fprintf(stderr, "tenonctl: looking for partitions: %s\n", strerror(-count));
		free(all);
		return count;
	}
	for (i = 0; i < count; i++) {
		if (strcmp(all[i].name, name) ||
		    (slash && (strncmp(all[i].controller, text, (size_t)(slash - text)) ||
			       all[i].controller[slash - text])))
			continue;
		*p = all[i];
		found++;
	}
	free(all);
	if (found == 1)
		return 0;
	if (found) {
		fprintf(stderr, "tenonctl: %s is of several controllers: name one, as in %s/%s\n", name,
			p->controller,
			name);
		return -EINVAL;
	}
	if (!create) {
		fprintf(stderr, "tenonctl: no partition %s; see tenonctl partition list\n", text);
		return -ENOENT;
	}
	if (slash) {
		snprintf(p->controller, sizeof(p->controller), "%.*s", (int)(slash - text), text);
	} else {
		count = ctl_controllers(&controllers);
		if (count == 1) {
			snprintf(p->controller, sizeof(p->controller), "%.63s", controllers[0]);
		} else if (count > 1) {
			fprintf(stderr, "tenonctl: which controller? as in %s/%s", controllers[0], name);
			say_where("; there are", controllers, count);
		} else {
			fprintf(stderr, "tenonctl: no controller is there: is the module tenon loaded?\n"
				"  for one that comes later, name its PCI address: 0000:04:00.0/%s\n", name);
		}
		ctl_names_free(controllers, count);
		if (count != 1)
			return -ENODEV;
	}
	if (!*name || strlen(name) >= sizeof(p->name)) {
		fprintf(stderr, "tenonctl: no name for a partition: %s\n", text);
		return -EINVAL;
	}
	strcpy(p->name, name);
	ctl_config_path(p->config, p->controller, p->name);
	return 0;
}

/* What is to be written to must have a directory; the one that a controller starts with has none. */
static int find_configured(const char *text, struct ctl_partition *p, unsigned int *made)
{
	int error = find(text, false, p);

	*made = 0;
	if (error || *p->config)
		return error;
	ctl_config_path(p->config, p->controller, p->name);
	return ctl_partition_make(p, made);
}

/* ------------------------------------------------------------------------------ showing */

/* For root; others don't see them. */
static const char *const counts[] = { "contexts", "queues", "buffer_bytes", "refused_opens", "limit_hits" };

static const char *state_of(const struct ctl_partition *p, char *to, size_t size)
{
	if (!*p->config || ctl_read(p->config, "state", to, size))
		ctl_read(p->sysfs, "state", to, size);
	return to;
}

static int read_setting(const struct ctl_partition *p, const struct ctl_setting *s, char *to, size_t size)
{
	char limits[CTL_PATH_MAX + 8];

	*to = 0;
	if (*p->config)
		return ctl_read(p->config, s->name, to, size);
	snprintf(limits, sizeof(limits), "%s/limits", p->sysfs);
	return ctl_read(limits, s->name, to, size);
}

static void value_json(struct json_object *o, const char *name, const char *value)
{
	char *end;
	uint64_t number = strtoull(value, &end, 10);

	if (*value >= '0' && *value <= '9' && !*end)
		ctl_json_number(o, name, number);
	else
		ctl_json_string(o, name, value);
}

static struct json_object *holders_json(const struct ctl_partition *p)
{
	struct json_object *array = json_object_new_array(), *o;
	char text[CTL_VALUE_MAX], *next = text, *line, comm[64];
	unsigned int pid, uid;

	ctl_read(p->config, "holders", text, sizeof(text));
	while ((line = strsep(&next, "\n"))) {
		*comm = 0;
		if (sscanf(line, "%u %u %63[^\n]", &pid, &uid, comm) < 2)
			continue;
		o = json_object_new_object();
		ctl_json_number(o, "pid", pid);
		ctl_json_number(o, "uid", uid);
		ctl_json_string(o, "comm", comm);
		json_object_array_add(array, o);
	}
	return array;
}

static struct json_object *partition_json(const struct ctl_partition *p)
{
	struct json_object *o = json_object_new_object(), *settings = json_object_new_object();
	char text[CTL_LINK_MAX];
	unsigned int i;

	ctl_json_string(o, "controller", p->controller);
	ctl_json_string(o, "name", p->name);
	ctl_json_string(o, "state", state_of(p, text, sizeof(text)));
	ctl_json_string(o, "device", p->device);
	if (!*p->config || ctl_read(p->config, "uuid", text, sizeof(text)))
		ctl_read(p->sysfs, "uuid", text, sizeof(text));
	ctl_json_string(o, "uuid", text);
	json_object_object_add(o, "configured", json_object_new_boolean(*p->config));
	for (i = 0; *p->sysfs && i < sizeof(counts) / sizeof(counts[0]); i++)
		if (!ctl_read(p->sysfs, counts[i], text, sizeof(text)))
			value_json(o, counts[i], text);
	for (i = 1; i < ctl_setting_count; i++)
		if (!read_setting(p, &ctl_settings[i], text, sizeof(text)))
			value_json(settings, ctl_settings[i].name, text);
	json_object_object_add(o, "settings", settings);
	if (*p->config)
		json_object_object_add(o, "holders", holders_json(p));
	return o;
}

static void show(const struct ctl *ctl, const struct ctl_partition *p)
{
	char text[CTL_VALUE_MAX], human[32], *next = text, *line;
	unsigned int i;

	if (ctl->json) {
		ctl_json_print(partition_json(p));
		return;
	}
	printf("%s/%s\n", p->controller, p->name);
	printf("  %-18s%s\n", "state", state_of(p, text, sizeof(text)));
	printf("  %-18s%s\n", "node", *p->device ? p->device : "-");
	if (!*p->config || ctl_read(p->config, "uuid", text, sizeof(text)))
		ctl_read(p->sysfs, "uuid", text, sizeof(text));
	printf("  %-18s%s\n", "uuid", *text ? text : "-");
	for (i = 1; i < ctl_setting_count; i++) {
		const struct ctl_setting *s = &ctl_settings[i];

		if (read_setting(p, s, text, sizeof(text)))
			continue;
		if (s->none && (!*text || !strcmp(text, "0")))
			strcpy(text, s->none);
		else if (s->kind == SETTING_BYTES)
			strcpy(text, ctl_size(human, sizeof(human), strtoull(text, NULL, 10)));
		else if (s->kind == SETTING_TIME)
			strcpy(text, ctl_time(human, sizeof(human), 1000 * strtoull(text, NULL, 10)));
		else if (s->kind == SETTING_PERCENT)
			strcat(text, " %");
		/* A time says its unit itself. */
		printf("  %-18.*s%s\n", (int)strlen(s->name) - (s->kind == SETTING_TIME ? 3 : 0), s->name, text);
	}
	for (i = 0; *p->sysfs && i < sizeof(counts) / sizeof(counts[0]); i++)
		printf("  %-18s%s\n", counts[i], ctl_read(p->sysfs, counts[i], text, sizeof(text)) ? "-" : text);
	if (!*p->config) {
		puts("  built in: it has no directory in configfs, set makes one");
		return;
	}
	ctl_read(p->config, "holders", text, sizeof(text));
	while ((line = strsep(&next, "\n")))
		if (*line)
			printf("  %-18s%.59s\n", "held by", line);
}

/* Again what @p is now: it may have been made just now. */
static int show_now(const struct ctl *ctl, struct ctl_partition *p)
{
	char text[2 * sizeof(p->name) + 2];

	snprintf(text, sizeof(text), "%s/%s", p->controller, p->name);
	if (find(text, false, p))
		return EXIT_FAILED;
	show(ctl, p);
	return EXIT_OK;
}

int ctl_partition_show(const struct ctl *ctl, char *const *args)
{
	struct json_object *array = ctl->json ? json_object_new_array() : NULL;
	struct ctl_partition *all, one;
	int count, i;

	if (*args) {
		json_object_put(array);
		if (find(*args, false, &one))
			return EXIT_FAILED;
		show(ctl, &one);
		return EXIT_OK;
	}
	count = ctl_partitions(&all);
	for (i = 0; i < count; i++) {
		if (array)
			json_object_array_add(array, partition_json(&all[i]));
		else
			show(ctl, &all[i]);
	}
	free(all);
	if (array) {
		struct json_object *top = json_object_new_object();

		json_object_object_add(top, "partitions", array);
		ctl_json_print(top);
	}
	if (count <= 0)
		fprintf(stderr, "tenonctl: %s\n", count ? strerror(-count) :
			"no partition: is the module tenon loaded, and a device there?");
	return count > 0 ? EXIT_OK : EXIT_FAILED;
}

int ctl_partition_list(const struct ctl *ctl, char *const *args)
{
	char state[32], weight[32], priority[32], cap[32], allow[CTL_LINK_MAX], root[CTL_PATH_MAX];
	struct ctl_partition *all;
	int count, i;

	if (ctl->json)
		return ctl_partition_show(ctl, args);
	count = ctl_partitions(&all);
	for (i = 0; i < count; i++) {
		const struct ctl_partition *p = &all[i];

		if (!i)
			printf("%-13s %-20.20s %-8s %-9s%6s %-9s%4s %s\n", "CONTROLLER", "PARTITION",
			       "NODE", "STATE",
			       "WEIGHT", "PRIORITY", "CAP%", "FOR");
		read_setting(p, ctl_setting("weight"), weight, sizeof(weight));
		read_setting(p, ctl_setting("priority"), priority, sizeof(priority));
		read_setting(p, ctl_setting("busy_max"), cap, sizeof(cap));
		/* The cgroup says less in a column, so the uid is told first. */
		read_setting(p, ctl_setting("allow_uid"), allow, sizeof(allow));
		if (!*allow || !strcmp(allow, "any"))
			read_setting(p, ctl_setting("allow_cgroup"), allow, sizeof(allow));
		printf("%-13s %-20.20s %-8s %-9s%6s %-9s%4s %.6s\n", p->controller, p->name,
		       *p->device ? p->device : "-", state_of(p, state, sizeof(state)), weight, priority,
		       *cap && strcmp(cap, "0") ? cap : "-", *allow ? allow : "any");
	}
	free(all);
	ctl_config_path(root, "", "");
	if (!ctl_read(root, "tombstones", allow, sizeof(allow)) && *allow)
		printf("kept from reuse: accel %s; see reap in tenonctl(1)\n", allow);
	if (count <= 0)
		fprintf(stderr, "tenonctl: %s\n", count ? strerror(-count) :
			"no partition: is the module tenon loaded, and a device there?");
	return count > 0 ? EXIT_OK : EXIT_FAILED;
}

/* ------------------------------------------------------------------------------ making */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	interrupted = signal;
}

/* So that what is half made can be undone. */
void ctl_interruptible(void)
{
	struct sigaction action = { .sa_handler = interrupt };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int make_directory(const struct ctl_partition *p, const char *path, unsigned int bit,
			  unsigned int *made)
{
	if (!mkdir(path, 0755)) {
		*made |= bit;
		return 0;
	}
	return errno == EEXIST ? 0 : -errno;
}

int ctl_partition_make(const struct ctl_partition *p, unsigned int *made)
{
	char path[CTL_PATH_MAX];
	int error;

	*made = 0;
	ctl_config_path(path, p->controller, "");
	error = make_directory(p, path, MADE_CONTROLLER, made);
	ctl_config_path(path, p->controller, p->name);
	if (!error && *p->name)
		error = make_directory(p, path, MADE_PARTITION, made);
	if (!error)
		return 0;
	ctl_refused(p, "mkdir", "", error);
	ctl_partition_unmake(p, *made);
	return error;
}

void ctl_partition_unmake(const struct ctl_partition *p, unsigned int made)
{
	char path[CTL_PATH_MAX];

	ctl_config_path(path, p->controller, p->name);
	if (made & MADE_PARTITION && rmdir(path))
		fprintf(stderr, "tenonctl: what was made is left: %s: %s\n", path, strerror(errno));
	ctl_config_path(path, p->controller, "");
	if (made & MADE_CONTROLLER && rmdir(path))
		fprintf(stderr, "tenonctl: what was made is left: %s: %s\n", path, strerror(errno));
}

/* Until the kernel has made it. One whose device isn't there is as it should be. */
int ctl_partition_wait(const struct ctl *ctl, const struct ctl_partition *p)
{
	static const struct timespec pause = { .tv_nsec = 20000000 };
	int64_t start = ctl_now(), now = start;
	char state[32] = "";
	bool told = false;

	for (; now - start < PATIENCE && !interrupted; now = ctl_now()) {
		int error = ctl_read(p->config, "state", state, sizeof(state));

		if (error) {
			ctl_refused(p, "state", "", error);
			return error;
		}
		if (!strcmp(state, "active") || !strcmp(state, "absent"))
			return 0;
		if (!strcmp(state, "failed")) {
			fprintf(stderr, "tenonctl: %s/%s: it can't be made: the kernel's log says why\n",
				p->controller, p->name);
			return -EIO;
		}
		if (ctl->terminal && !told && now - start >= SECOND) {
			fprintf(stderr, "waiting for %s/%s, which is %s...\n", p->controller, p->name, state);
			told = true;
		}
		nanosleep(&pause, NULL);
	}
	if (interrupted)
		fprintf(stderr, "tenonctl: %s/%s: interrupted\n", p->controller, p->name);
	else
		fprintf(stderr, "tenonctl: %s/%s: still %s after %lld s\n", p->controller, p->name, state,
			PATIENCE / SECOND);
	return interrupted ? -EINTR : -ETIMEDOUT;
}

int ctl_partition_create(const struct ctl *ctl, char *const *args)
{
	struct ctl_change changes[CTL_CHANGES_MAX] = { 0 };
	struct ctl_change *enable = &changes[ctl_setting_count - 1];
	struct ctl_partition p;
	unsigned int made;
	int error;

	if (ctl_settings_parse(args + 1, changes))
		return EXIT_USAGE;
	if (find(args[0], true, &p))
		return EXIT_FAILED;
	if (*p.config && ctl_exists(p.config)) {
		fprintf(stderr, "tenonctl: %s/%s is there already; see tenonctl partition set\n",
			p.controller, p.name);
		return EXIT_FAILED;
	}
	ctl_config_path(p.config, p.controller, p.name);
	if (!enable->wanted) {
		enable->setting = &ctl_settings[ctl_setting_count - 1];
		enable->wanted = true;
		strcpy(enable->value, "1");
	}
	ctl_interruptible();
	if (ctl_partition_make(&p, &made))
		return EXIT_FAILED;
	error = ctl_settings_write(&p, changes, true);
	if (error >= 0) {
		error = 0;
		if (!strcmp(enable->value, "1"))
			error = ctl_partition_wait(ctl, &p);
		/* A controller that was there before keeps what it had; a new one goes. */
		if (error && !(made & MADE_CONTROLLER) && changes[0].written) {
			memset(&changes[1], 0, sizeof(changes) - sizeof(changes[0]));
			ctl_settings_undo(&p, changes);
		}
	}
	if (error) {
		ctl_partition_unmake(&p, made);
		fprintf(stderr, "tenonctl: %s/%s wasn't made\n", p.controller, p.name);
		return EXIT_FAILED;
	}
	if (ctl->json)
		return show_now(ctl, &p);
	ctl_read(p.config, "device", p.device, sizeof(p.device));
	if (*p.device)
		printf("%s/%s\n", CTL_NODE_DIR, p.device);
	else
		printf("%s/%s is %s\n", p.controller, p.name,
		       strcmp(enable->value, "1") ? "off" : "absent: its node comes with the device");
	return EXIT_OK;
}

int ctl_partition_set(const struct ctl *ctl, char *const *args)
{
	struct ctl_change changes[CTL_CHANGES_MAX] = { 0 };
	unsigned int made, i;
	struct ctl_partition p = { 0 };
	int error;

	if (ctl_settings_parse(args + 1, changes))
		return EXIT_USAGE;
	/* Only addresses of controllers have colons. */
	if (!strchr(args[0], '/') && strchr(args[0], ':')) {
		for (i = 1; i < ctl_setting_count; i++) {
			if (changes[i].wanted) {
				fprintf(stderr, "tenonctl: %s is of partitions, not of controllers\n",
					changes[i].setting->name);
				return EXIT_USAGE;
			}
		}
		snprintf(p.controller, sizeof(p.controller), "%.63s", args[0]);
		ctl_config_path(p.config, p.controller, "");
		error = ctl_partition_make(&p, &made);
	} else {
		error = find_configured(args[0], &p, &made);
	}
	if (error)
		return EXIT_FAILED;
	error = ctl_settings_write(&p, changes, true);
	if (error < 0) {
		ctl_partition_unmake(&p, made);
		fputs("tenonctl: nothing was changed\n", stderr);
		return EXIT_FAILED;
	}
	if (changes[ctl_setting_count - 1].written && *changes[ctl_setting_count - 1].value == '1' &&
	    ctl_partition_wait(ctl, &p)) {
		ctl_settings_undo(&p, changes);
		return EXIT_FAILED;
	}
	return ctl->json && *p.name ? show_now(ctl, &p) : EXIT_OK;
}

/* ------------------------------------------------------------------------------ ending */

int ctl_partition_drain(const struct ctl *ctl, char *const *args)
{
	char text[CTL_VALUE_MAX], *next = text, *line;
	struct ctl_partition p;
	unsigned int made;
	int error;

	if (find_configured(args[0], &p, &made))
		return EXIT_FAILED;
	error = ctl_write(p.config, "drain", "1");
	if (error) {
		ctl_refused(&p, "drain", "", error);
		ctl_partition_unmake(&p, made);
		return EXIT_FAILED;
	}
	if (ctl->json)
		return show_now(ctl, &p);
	ctl_read(p.config, "holders", text, sizeof(text));
	if (!*text)
		puts("nobody holds it");
	while ((line = strsep(&next, "\n")))
		if (*line)
			printf("held by %s\n", line);
	return EXIT_OK;
}

int ctl_partition_delete(const struct ctl *ctl, char *const *args)
{
	char path[CTL_PATH_MAX], text[32];
	struct ctl_partition p;
	struct json_object *o;
	bool kept;

	if (find(args[0], false, &p))
		return EXIT_FAILED;
	if (!*p.config) {
		fprintf(stderr, "tenonctl: %s/%s is built in; to switch it off:\n"
			"  tenonctl partition set %s/%s enable=0\n", p.controller, p.name, p.controller,
			p.name);
		return EXIT_FAILED;
	}
	if (rmdir(p.config)) {
		ctl_refused(&p, "rmdir", "", -errno);
		return EXIT_FAILED;
	}
	/* The last one takes the controller's directory along, if that says nothing. */
	ctl_config_path(path, p.controller, "");
	if (!ctl_read(path, "overcommit", text, sizeof(text)) && !strcmp(text, "0"))
		rmdir(path);
	kept = *p.device && strcmp(p.name, "default");
	if (ctl->json) {
		o = json_object_new_object();
		ctl_json_string(o, "controller", p.controller);
		ctl_json_string(o, "name", p.name);
		ctl_json_string(o, "device", p.device);
		json_object_object_add(o, "kept", json_object_new_boolean(kept));
		ctl_json_print(o);
	} else if (kept) {
		printf("%s is kept from reuse; when no container has it any more:\n"
		       "  tenonctl partition reap %s\n", p.device,
		       p.device + strcspn(p.device, "0123456789"));
	}
	return EXIT_OK;
}

int ctl_partition_recycle(const struct ctl *ctl, char *const *args)
{
	struct ctl_change changes[CTL_CHANGES_MAX] = { 0 };
	char text[CTL_VALUE_MAX], *next = text, *line;
	struct ctl_partition p;
	int error;

	if (ctl_settings_parse(args + 1, changes))
		return EXIT_USAGE;
	if (changes[0].wanted || changes[ctl_setting_count - 1].wanted ||
	    (!changes[ctl_setting("allow_uid") - ctl_settings].wanted &&
	     !changes[ctl_setting("allow_cgroup") - ctl_settings].wanted)) {
		fputs("tenonctl: recycle needs allow_uid= or allow_cgroup= of the next tenant, and neither\n"
		      "enable= nor overcommit=\n", stderr);
		return EXIT_USAGE;
	}
	if (find(args[0], false, &p))
		return EXIT_FAILED;
	if (strcmp(state_of(&p, text, sizeof(text)), "draining")) {
		fprintf(stderr, "tenonctl: %s/%s is %s; first: tenonctl partition drain %s/%s\n",
			p.controller,
			p.name, text, p.controller, p.name);
		return EXIT_FAILED;
	}
	if (ctl_settings_write(&p, changes, true) < 0)
		return EXIT_FAILED;
	error = ctl_write(p.config, "recycle", "1");
	if (!error)
		return ctl->json ? show_now(ctl, &p) : EXIT_OK;
	ctl_refused(&p, "recycle", "", error);
	if (error == -EINVAL)
		fputs("  neither allow_uid nor allow_cgroup is another than before\n", stderr);
	if (error == -EBUSY && !ctl_read(p.config, "holders", text, sizeof(text)))
		while ((line = strsep(&next, "\n")))
			if (*line)
				fprintf(stderr, "  held by %s\n", line);
	ctl_settings_undo(&p, changes);
	return EXIT_FAILED;
}

static int reap(const char *root, unsigned long number, struct json_object *reaped)
{
	char text[32];
	int error;

	snprintf(text, sizeof(text), "%lu", number);
	error = ctl_write(root, "reap", text);
	if (!error) {
		if (reaped)
			json_object_array_add(reaped, json_object_new_uint64(number));
		else
			printf("accel%lu can be given out again\n", number);
		return 0;
	}
	fprintf(stderr, "tenonctl: accel%lu: %s%s\n", number, strerror(-error),
		error == -EBUSY ? ": a file of it is still open somewhere" :
		error == -ENOENT ? ": no ended partition had it" :
		error == -EACCES ? ": only root may" : "");
	return error;
}

int ctl_partition_reap(const struct ctl *ctl, char *const *args)
{
	struct json_object *top, *reaped = ctl->json ? json_object_new_array() : NULL;
	char root[CTL_PATH_MAX], text[CTL_VALUE_MAX], *next = text, *range, *end;
	unsigned long first, last;
	int error, failed = 0;

	ctl_config_path(root, "", "");
	if (!ctl->all == !*args) {
		fputs("tenonctl: reap takes a number, as 3 of accel3, or --all\n", stderr);
		json_object_put(reaped);
		return EXIT_USAGE;
	}
	if (*args) {
		range = *args + (strncmp(*args, "accel", 5) ? 0 : 5);
		first = strtoul(range, &end, 10);
		if (*range < '0' || *range > '9' || *end) {
			fprintf(stderr, "tenonctl: no number of a node: %s\n", *args);
			json_object_put(reaped);
			return EXIT_USAGE;
		}
		failed |= reap(root, first, reaped);
	} else {
		error = ctl_read(root, "tombstones", text, sizeof(text));
		if (error)
			fprintf(stderr, "tenonctl: %s/tombstones: %s: is the module tenon loaded?\n", root,
				strerror(-error));
		failed |= error;
		while ((range = strsep(&next, ","))) {
			first = strtoul(range, &end, 10);
			if (end == range)
				continue;
			last = *end == '-' ? strtoul(end + 1, NULL, 10) : first;
			for (; first <= last && last < 4096; first++)
				failed |= reap(root, first, reaped);
		}
	}
	if (reaped) {
		top = json_object_new_object();
		json_object_object_add(top, "reaped", reaped);
		ctl_json_print(top);
	}
	return failed ? EXIT_FAILED : EXIT_OK;
}
