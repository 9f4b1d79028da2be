/* SPDX-License-Identifier: MIT */
/* tenonctl: opening a device, and saying what to do when that fails. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tenon/socket.h>

#include "ctl.h"

void ctl_no_device(void)
{
	const char *list = getenv("TENON_DEVICE");

	if (list && *list)
		fprintf(stderr,
			"tenonctl: no device found: is tenond running? no socket is at TENON_DEVICE '%s'\n",
			list);
	else
		fprintf(stderr,
			"tenonctl: no device found: is tenond running? looked in %s; set TENON_DEVICE\n",
			TENON_SOCKET_DIR);
}

static const char *advice(int error)
{
	switch (error) {
	case -EACCES:
		return ": its owner and group may use it; see tenond's --mode";
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
		fprintf(stderr, "tenonctl: %s: %s%s\n", *opened, tenon_errstr(NULL), advice(error));
		free(*opened);
		*opened = NULL;
	}
	return error;
}
