// SPDX-License-Identifier: MIT
/* See listen.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "listen.h"

/* The socket file of a daemon that is gone may stay behind; that of a living one is left alone. */
static int clear_path(const struct sockaddr_un *address, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)address, sizeof(*address))) {
		fprintf(stderr,
			"tenond: %s: another tenond serves it; stop that one or choose another path\n",
			address->sun_path);
		error = -EADDRINUSE;
	} else if (errno == ECONNREFUSED) {
		unlink(address->sun_path);
	}
	close(fd);
	return error;
}

int tn_listen(const char *path, int type, mode_t mode)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error, fd;
	mode_t mask;

	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "tenond: %s: longer than the %zu bytes that a socket's path may have\n", path,
			sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	error = clear_path(&address, type);
	if (error)
		return error;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode holds from the first moment on. */
	mask = umask(~mode & 0777);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 128))
		error = -errno;
	umask(mask);
	if (!error)
		return fd;
	fprintf(stderr, "tenond: %s: %s%s\n", path, strerror(-error),
		error == -ENOENT ? "; make its directory first" : "");
	if (fd >= 0)
		close(fd);
	return error;
}
