// SPDX-License-Identifier: MIT
/*
 * pull WORD FILE WORD FILE: writes the first word to the first file while a node is open, sees the open file
 * and the name end in the documented ways, then writes the second word to the second file, which brings the
 * device back, and sees the old file stay dead.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/tenon_drm.h>

/* Opens the one node, whatever its number: a dead one keeps its own until its last file is closed. */
static int open_node(void)
{
	glob_t nodes;
	int fd = -1;

	if (glob("/dev/accel/accel*", 0, NULL, &nodes)) {
		errno = ENOENT;
		return -1;
	}
	if (nodes.gl_pathc == 1)
		fd = open(nodes.gl_pathv[0], O_RDWR);
	else
		errno = EEXIST;
	globfree(&nodes);
	return fd;
}

static void put(const char *word, const char *path)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, word, strlen(word)) != (ssize_t)strlen(word)) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* want: 0 or an errno. */
static void expect(const char *what, int got, int want)
{
	int error = got < 0 ? errno : 0;

	if (error != want) {
		printf("# %s: errno %d (%s), not %d\n", what, error, strerror(error), want);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct drm_tenon_query query = { .type = DRM_TENON_QUERY_DEVICE };
	struct drm_version version = { 0 };
	struct drm_unique unique = { 0 };
	int fd;

	if (argc != 5)
		return 1;
	fd = open_node();
	expect("open", fd, 0);
	expect("QUERY", ioctl(fd, DRM_IOCTL_TENON_QUERY, &query), 0);
	put(argv[1], argv[2]);
	for (int back = 0; back < 2; back++) {
		expect("QUERY after it went", ioctl(fd, DRM_IOCTL_TENON_QUERY, &query), ENODEV);
		expect("VERSION after it went", ioctl(fd, DRM_IOCTL_VERSION, &version), ENODEV);
		expect("GET_UNIQUE after it went", ioctl(fd, DRM_IOCTL_GET_UNIQUE, &unique), ENOTTY);
		if (!back) {
			expect("open after it went", open_node(), ENOENT);
			put(argv[3], argv[4]);
		}
	}
	expect("open the new node", open_node(), 0);
	expect("close", close(fd), 0);
	return 0;
}
