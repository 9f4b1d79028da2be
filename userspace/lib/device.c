/* SPDX-License-Identifier: MIT */
/* Which devices there are. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include <tenon/socket.h>

#include "internal.h"

#define NODE_DIR	"/dev/accel"

/* A character device is a node; all else is taken for a socket, and connect() says if it isn't one. */
const struct transport *tenon_transport_of(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISCHR(st.st_mode) ? &tenon_node : &tenon_socket;
}

/* @transport: what it must be reached by, and then a node must be the driver's; NULL for any. */
static int visit(const char *path, const struct transport *transport,
		 int (*fn)(const struct tenon_device *device, void *arg), void *arg)
{
	struct tenon_device device = { .size = sizeof(device), .path = path };
	const struct transport *found;
	struct stat st;

	if (stat(path, &st) || !(S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode)))
		return 0;
	found = S_ISCHR(st.st_mode) ? &tenon_node : &tenon_socket;
	if (transport && (found != transport ||
			  (found == &tenon_node && !tenon_node_is_ours(path, st.st_rdev))))
		return 0;
	device.transport = found->name;
	return fn(&device, arg);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* In the order of names, so that "the first one" is the same each time; accel10 comes after accel9. */
int tenon_devices_in(const char *directory, const struct transport *transport,
		     int (*fn)(const struct tenon_device *device, void *arg), void *arg)
{
	struct dirent **entries;
	int err = 0, count, i;

	count = scandir(directory, &entries, not_hidden, versionsort);
	if (count < 0)
		return errno == ENOENT ? 0 : -errno;
	for (i = 0; i < count; i++) {
		char *path = NULL;

		if (!err && asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0) {
			path = NULL;
			err = -ENOMEM;
		}
		if (!err)
			err = visit(path, transport, fn, arg);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return err;
}

/*
 * The next path of a list, as strsep(). A colon ends one only in front of what begins another, '/' or
 * '.', or of a colon or the end: links in by-path have colons in their names.
 */
static char *next_path(char **list)
{
	char *path = *list, *s;

	for (s = path; s && *s; s++)
		if (*s == ':' && (!s[1] || strchr("/.:", s[1])))
			break;
	*list = s && *s ? s + 1 : NULL;
	if (s)
		*s = 0;
	return path;
}

int tenon_devices(int (*fn)(const struct tenon_device *device, void *arg), void *arg)
{
	/* Not what the user set if the program has more privilege than the user. */
	const char *list = secure_getenv("TENON_DEVICE");
	char *copy, *path, *next;
	int err;

	if (!list || !*list) {
		err = tenon_devices_in(NODE_DIR, &tenon_node, fn, arg);
		return err ? err : tenon_devices_in(TENON_SOCKET_DIR, &tenon_socket, fn, arg);
	}
	copy = strdup(list);
	if (!copy)
		return -ENOMEM;
	err = 0;
	for (next = copy; !err && (path = next_path(&next));)
		if (*path)
			err = visit(path, NULL, fn, arg);
	free(copy);
	return err;
}
