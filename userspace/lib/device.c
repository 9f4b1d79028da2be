/* SPDX-License-Identifier: MIT */
/* Which devices there are. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "internal.h"

static int visit(const char *path, int (*fn)(const struct tenon_device *device, void *arg), void *arg)
{
	struct tenon_device device = { .size = sizeof(device), .path = path, .transport = "socket" };
	struct stat st;

	if (stat(path, &st) || !S_ISSOCK(st.st_mode))
		return 0;
	return fn(&device, arg);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* In the order of names, so that "the first one" is the same each time. */
int tenon_devices_in(const char *directory, int (*fn)(const struct tenon_device *device, void *arg),
		     void *arg)
{
	struct dirent **entries;
	int err = 0, count, i;

	count = scandir(directory, &entries, not_hidden, alphasort);
	if (count < 0)
		return errno == ENOENT ? 0 : -errno;
	for (i = 0; i < count; i++) {
		char *path = NULL;

		if (!err && asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0) {
			path = NULL;
			err = -ENOMEM;
		}
		if (!err)
			err = visit(path, fn, arg);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return err;
}

int tenon_devices(int (*fn)(const struct tenon_device *device, void *arg), void *arg)
{
	/* Not what the user set if the program has more privilege than the user. */
	const char *list = secure_getenv("TENON_DEVICE");
	char *copy, *path, *next;
	int err = 0;

	if (!list || !*list)
		return tenon_devices_in(TENON_SOCKET_DIR, fn, arg);
	copy = strdup(list);
	if (!copy)
		return -ENOMEM;
	for (next = copy; !err && (path = strsep(&next, ":"));)
		if (*path)
			err = visit(path, fn, arg);
	free(copy);
	return err;
}
