/* SPDX-License-Identifier: MIT */
/*
 * tenonctl partition save, restore: all settings in a file.
 *
 *   { "version": 1,
 *     "controllers": {
 *       "0000:04:00.0": {
 *         "overcommit": 0,
 *         "partitions": { "team-a": { "weight": 300, "priority": "high", ..., "enable": 1 } } } } }
 *
 * Settings that a file doesn't name stay as they are.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"

#define VERSION		1
#define DEFAULT_FILE	"/etc/tenon/partitions.json"
#define ENABLE		(ctl_setting_count - 1)

/* ------------------------------------------------------------------------------ saving */

/* In a new file that takes the old one's place: a crash leaves one or the other. */
static int write_file(const char *path, const char *text)
{
	char new[CTL_PATH_MAX], *slash;
	size_t length = strlen(text), done = 0;
	int fd, error = 0;

	if (!strcmp(path, "-"))
		return puts(text) < 0 ? -errno : 0;
	ctl_path(new, "%s", path);
	slash = strrchr(new, '/');
	if (slash && slash != new) {
		*slash = 0;
		mkdir(new, 0755);
	}
	ctl_path(new, "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	while (!error && done < length + 1) {
		ssize_t n = done < length ? write(fd, text + done, length - done) : write(fd, "\n", 1);

		if (n < 0)
			error = -errno;
		else
			done += (size_t)n;
	}
	if (!error && fsync(fd))
		error = -errno;
	close(fd);
	if (!error && rename(new, path))
		error = -errno;
	if (error)
		unlink(new);
	return error;
}

static void put_value(struct json_object *o, const char *directory, const char *name)
{
	char text[CTL_LINK_MAX], *end;
	uint64_t number;

	if (ctl_read(directory, name, text, sizeof(text)))
		return;
	number = strtoull(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end)
		ctl_json_number(o, name, number);
	else
		ctl_json_string(o, name, text);
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *m;

	if (json_object_object_get_ex(o, name, &m))
		return m;
	m = json_object_new_object();
	json_object_object_add(o, name, m);
	return m;
}

int ctl_partition_save(const struct ctl *ctl, char *const *args)
{
	const char *path = args[0] ? args[0] : DEFAULT_FILE;
	struct json_object *top = json_object_new_object(), *controllers, *c, *p;
	char directory[CTL_PATH_MAX];
	struct ctl_partition *all;
	int count, i, error, saved = 0;
	unsigned int j;

	ctl_config_path(directory, "", "");
	if (!ctl_exists(directory)) {
		fprintf(stderr, "tenonctl: %s is missing: is the module tenon loaded, configfs mounted?\n",
			directory);
		json_object_put(top);
		return EXIT_FAILED;
	}
	ctl_json_number(top, "version", VERSION);
	controllers = member(top, "controllers");
	count = ctl_partitions(&all);
	for (i = 0; i < count; i++) {
		if (!*all[i].config)
			continue;
		c = member(controllers, all[i].controller);
		ctl_config_path(directory, all[i].controller, "");
		put_value(c, directory, "overcommit");
		p = member(member(c, "partitions"), all[i].name);
		for (j = 1; j < ctl_setting_count; j++)
			put_value(p, all[i].config, ctl_settings[j].name);
		saved++;
	}
	free(all);
	error = count < 0 ? count : write_file(path, json_object_to_json_string_ext(top,
						JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(top);
	if (error) {
		fprintf(stderr, "tenonctl: %s: %s\n", path, strerror(-error));
		return EXIT_FAILED;
	}
	if (strcmp(path, "-")) {
		if (ctl->json) {
			top = json_object_new_object();
			ctl_json_string(top, "file", path);
			ctl_json_number(top, "saved", (uint64_t)saved);
			ctl_json_print(top);
		} else {
			printf("%d partition%s saved in %s\n", saved, saved == 1 ? "" : "s", path);
		}
	}
	return EXIT_OK;
}

/* ------------------------------------------------------------------------------ reading */

static struct json_object *read_file(const char *path)
{
	struct json_object *top;

	top = strcmp(path, "-") ? json_object_from_file(path) : json_object_from_fd(STDIN_FILENO);
	if (!top)
		fprintf(stderr, "tenonctl: %s", json_util_get_last_err() ? json_util_get_last_err() : path);
	if (!top && (!json_util_get_last_err() || !strchr(json_util_get_last_err(), '\n')))
		fputs("\n", stderr);
	return top;
}

static bool is_object(struct json_object *o, const char *what)
{
	if (json_object_is_type(o, json_type_object))
		return true;
	fprintf(stderr, "tenonctl: restore: %s isn't an object\n", what);
	return false;
}

/* The settings of one partition, or with @controller of a controller. */
static bool read_settings(struct json_object *o, const char *where, bool controller,
			  struct ctl_change *changes)
{
	char text[CTL_LINK_MAX], *args[] = { text, NULL };
	const struct ctl_setting *s;
	struct json_object_iter at;

	json_object_object_foreachC(o, at) {
		struct json_object *value = at.val;
		const char *name = at.key;

		if (controller && !strcmp(name, "partitions"))
			continue;
		s = ctl_setting(name);
		if (!s || strcmp(s->name, name) || controller != (s == ctl_settings) ||
		    !(json_object_is_type(value, json_type_int) ||
		      json_object_is_type(value, json_type_string))) {
			fprintf(stderr, "tenonctl: restore: %s: not a setting: %s\n", where, name);
			return false;
		}
		snprintf(text, sizeof(text), "%s=%s", name, json_object_get_string(value));
		if (ctl_settings_parse(args, changes)) {
			fprintf(stderr, "tenonctl: restore: in %s\n", where);
			return false;
		}
	}
	return true;
}

static bool safe(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') &&
		strlen(name) < sizeof(((struct ctl_partition *)0)->name);
}

/* All of it is looked at before anything is done. */
static bool check(struct json_object *top)
{
	struct ctl_change changes[CTL_CHANGES_MAX];
	struct json_object *version, *controllers, *partitions;
	struct json_object_iter outer, inner;

	if (!is_object(top, "the file"))
		return false;
	if (!json_object_object_get_ex(top, "version", &version) ||
	    json_object_get_int64(version) != VERSION) {
		fprintf(stderr, "tenonctl: restore: the file isn't of version %d\n", VERSION);
		return false;
	}
	if (!json_object_object_get_ex(top, "controllers", &controllers)) {
		fputs("tenonctl: restore: the file has no controllers\n", stderr);
		return false;
	}
	if (!is_object(controllers, "controllers"))
		return false;
	json_object_object_foreachC(controllers, outer) {
		struct json_object *controller = outer.val;
		const char *id = outer.key;

		memset(changes, 0, sizeof(changes));
		if (!safe(id) || !is_object(controller, id) || !read_settings(controller, id, true, changes))
			return false;
		if (!json_object_object_get_ex(controller, "partitions", &partitions))
			continue;
		if (!is_object(partitions, "partitions"))
			return false;
		json_object_object_foreachC(partitions, inner) {
			struct json_object *partition = inner.val;
			const char *name = inner.key;

			memset(changes, 0, sizeof(changes));
			if (!safe(name) || !is_object(partition, name) ||
			    !read_settings(partition, name, false, changes))
				return false;
		}
	}
	return true;
}

/* ------------------------------------------------------------------------------ restoring */

struct restore {
	const struct ctl *ctl;
	struct json_object *made, *changed, *deleted, *failed;
};

static void tell(struct restore *r, struct json_object *list, const char *what, const struct ctl_partition *p)
{
	char text[2 * sizeof(p->name) + 2];

	snprintf(text, sizeof(text), "%s%s%s", p->controller, *p->name ? "/" : "", p->name);
	json_object_array_add(list, json_object_new_string(text));
	if (!r->ctl->json)
		printf("%s: %s\n", text, what);
}

static void settings_of(struct json_object *o, bool controller, struct ctl_change *changes)
{
	memset(changes, 0, CTL_CHANGES_MAX * sizeof(*changes));
	read_settings(o, "", controller, changes);
}

static void named(struct ctl_partition *p, const char *controller, const char *name)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->controller, sizeof(p->controller), "%.63s", controller);
	snprintf(p->name, sizeof(p->name), "%.63s", name);
	ctl_config_path(p->config, p->controller, p->name);
}

static void prune(struct restore *r, struct json_object *controllers)
{
	struct json_object *controller, *partitions;
	char directory[CTL_PATH_MAX];
	struct ctl_partition *all;
	int count = ctl_partitions(&all), i;

	for (i = 0; i < count; i++) {
		if (!*all[i].config ||
		    (json_object_object_get_ex(controllers, all[i].controller, &controller) &&
		     json_object_object_get_ex(controller, "partitions", &partitions) &&
		     json_object_object_get_ex(partitions, all[i].name, NULL)))
			continue;
		if (rmdir(all[i].config)) {
			ctl_refused(&all[i], "rmdir", "", -errno);
			tell(r, r->failed, "failed", &all[i]);
			continue;
		}
		tell(r, r->deleted, "deleted", &all[i]);
		ctl_config_path(directory, all[i].controller, "");
		if (!json_object_object_get_ex(controllers, all[i].controller, NULL))
			rmdir(directory);
	}
	free(all);
}

/* Less first: others may need the memory that becomes free. An error comes again in restore_one(). */
static bool shrink(const struct ctl_partition *p, const struct ctl_change *changes)
{
	const struct ctl_change *memory = &changes[ctl_setting("memory_max") - ctl_settings];
	char text[64];

	return memory->wanted && !ctl_read(p->config, "memory_max", text, sizeof(text)) &&
	       strtoull(memory->value, NULL, 10) < strtoull(text, NULL, 10) &&
	       !ctl_write(p->config, "memory_max", memory->value);
}

static void restore_one(struct restore *r, const struct ctl_partition *p, struct ctl_change *changes,
			bool shrunk)
{
	unsigned int made;
	int error;

	if (ctl_partition_make(p, &made)) {
		tell(r, r->failed, "failed", p);
		return;
	}
	error = ctl_settings_write(p, changes, false);
	if (error < 0) {
		ctl_partition_unmake(p, made);
		tell(r, r->failed, made ? "wasn't made" : "nothing was changed", p);
		return;
	}
	if (made)
		tell(r, r->made, "made", p);
	else if (error || shrunk)
		tell(r, r->changed, "changed", p);
	/* What comes after the unit wants the nodes. */
	if (*p->name && changes[ENABLE].written && !strcmp(changes[ENABLE].value, "1") &&
	    ctl_partition_wait(r->ctl, p))
		tell(r, r->failed, "isn't there yet", p);
}

/* @what of each partition: 0 shrinks it, 1 makes it so. */
static void each(struct restore *r, struct json_object *controllers, struct json_object *shrunk, int what)
{
	struct ctl_change changes[CTL_CHANGES_MAX];
	struct json_object_iter outer, inner;
	struct json_object *partitions;
	struct ctl_partition p;
	char text[2 * sizeof(p.name) + 2];

	json_object_object_foreachC(controllers, outer) {
		struct json_object *controller = outer.val;
		const char *id = outer.key;

		if (what) {
			settings_of(controller, true, changes);
			named(&p, id, "");
			restore_one(r, &p, changes, false);
		}
		if (!json_object_object_get_ex(controller, "partitions", &partitions))
			continue;
		json_object_object_foreachC(partitions, inner) {
			struct json_object *partition = inner.val;
			const char *name = inner.key;

			settings_of(partition, false, changes);
			named(&p, id, name);
			snprintf(text, sizeof(text), "%s/%s", id, name);
			if (what) {
				restore_one(r, &p, changes, json_object_object_get_ex(shrunk, text, NULL));
				continue;
			}
			if (shrink(&p, changes))
				json_object_object_add(shrunk, text, NULL);
		}
	}
}

int ctl_partition_restore(const struct ctl *ctl, char *const *args)
{
	struct restore r = { .ctl = ctl };
	struct json_object *top = read_file(args[0] ? args[0] : DEFAULT_FILE), *controllers, *shrunk;
	bool failed;

	if (!top || !check(top)) {
		json_object_put(top);
		return EXIT_FAILED;
	}
	json_object_object_get_ex(top, "controllers", &controllers);
	r.made = json_object_new_array();
	r.changed = json_object_new_array();
	r.deleted = json_object_new_array();
	r.failed = json_object_new_array();
	shrunk = json_object_new_object();
	if (ctl->prune)
		prune(&r, controllers);
	each(&r, controllers, shrunk, 0);
	each(&r, controllers, shrunk, 1);
	json_object_put(shrunk);
	json_object_put(top);
	failed = json_object_array_length(r.failed);
	top = json_object_new_object();
	json_object_object_add(top, "made", r.made);
	json_object_object_add(top, "changed", r.changed);
	json_object_object_add(top, "deleted", r.deleted);
	json_object_object_add(top, "failed", r.failed);
	if (ctl->json) {
		ctl_json_print(top);
	} else {
		if (!failed && !json_object_array_length(r.made) && !json_object_array_length(r.changed) &&
		    !json_object_array_length(r.deleted))
			puts("all is as it should be");
		json_object_put(top);
	}
	return failed ? EXIT_FAILED : EXIT_OK;
}
