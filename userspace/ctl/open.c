/* SPDX-License-Identifier: MIT */
/* tenonctl: opening a device, and saying what to do when that fails; by what else it is known. */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "ctl.h"

void ctl_no_device(void)
{
	const char *list = getenv("TENON_DEVICE");

	if (list && *list)
		fprintf(stderr,
			"tenonctl: no device found: neither a node nor a socket is at TENON_DEVICE '%s'\n",
			list);
	else
		fprintf(stderr,
			"tenonctl: no device found: is the module tenon loaded, or tenond running? "
			"looked in %s and %s; set TENON_DEVICE\n", CTL_NODE_DIR, TENON_SOCKET_DIR);
}

static bool node_number(const char *path, dev_t *number)
{
	struct stat st;

	if (stat(path, &st) || !S_ISCHR(st.st_mode))
		return false;
	*number = st.st_rdev;
	return true;
}

const char *ctl_transport(const char *path)
{
	dev_t number;

	return node_number(path, &number) ? "drm" : "socket";
}

/* The name that tells a node's place and partition, which stays the same from boot to boot; else "". */
const char *ctl_link(char *to, size_t size, const char *path)
{
	DIR *directory = opendir(CTL_NODE_DIR "/by-path");
	const struct dirent *entry;
	dev_t number, other;
	bool found = false;

	while (directory && node_number(path, &number) && !found && (entry = readdir(directory))) {
		snprintf(to, size, CTL_NODE_DIR "/by-path/%s", entry->d_name);
		found = node_number(to, &other) && other == number;
	}
	if (directory)
		closedir(directory);
	if (!found)
		*to = 0;
	return to;
}

static const char *advice(int error, const char *path)
{
	bool node = !strcmp(ctl_transport(path), "drm");

	switch (error) {
	case -EACCES:
		return node ? ": the node's group may use it, as a rule that is render" :
			      ": its owner and group may use it; see tenond's --mode";
	case -ENOENT:
		return ": is tenond running?";
	case -ECONNREFUSED:
		return ": nobody listens there: is tenond running?";
	case -EPROTOTYPE:
		return ": that is no tenond";
	case -EUSERS:
		return ": end another context, or see tenond's --contexts-max and --contexts-per-uid";
	case -ETIMEDOUT:
		return ": tenond is stopped or overloaded";
	default:
		return "";
	}
}

static void still_waiting(int signal)
{
	static const char text[] = "waiting for the device...\n";

	(void)signal;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		return;
}

static int first_path(const struct tenon_device *device, void *arg)
{
	*(char **)arg = strdup(device->path);
	return *(char **)arg ? 1 : -ENOMEM;
}

int ctl_open(const struct ctl *ctl, const char *path, struct tenon_context **context, char **opened)
{
	int error;

	*opened = NULL;
	if (path)
		*opened = strdup(path);
	else
		tenon_devices(first_path, opened);
	if (!*opened) {
		ctl_no_device();
		return -ENODEV;
	}
	if (ctl->terminal) {
		signal(SIGALRM, still_waiting);
		alarm(1);
	}
	error = tenon_open(*opened, NULL, context);
	alarm(0);
	if (error) {
		fprintf(stderr, "tenonctl: %s: %s%s\n", *opened, tenon_errstr(NULL), advice(error, *opened));
		free(*opened);
		*opened = NULL;
	}
	return error;
}
