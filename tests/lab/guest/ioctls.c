// SPDX-License-Identifier: MIT
/* ioctls NODE: what the node passes on and what it must not. TAP; built for 64 and for 32 bit. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/tenon_drm.h>
#include <linux/tdi.h>

static const struct {
	const char *name;
	unsigned long cmd;
} core[] = {
#define NAME(name) { #name, name },
#include "names.h"	/* every DRM_IOCTL_ of <drm/drm.h> */
};

static int fd, number, failed;

static void ok(const char *what, bool good)
{
	number++;
	failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", number, what);
}

/* errno of an ioctl, or 0 */
static int error(unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

static bool passes(unsigned int nr)
{
	return nr == _IOC_NR(DRM_IOCTL_VERSION) || nr == _IOC_NR(DRM_IOCTL_GET_CAP) ||
	       nr == _IOC_NR(DRM_IOCTL_GEM_CLOSE) || nr == _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD) ||
	       nr == _IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE) ||
	       (nr >= DRM_COMMAND_BASE && nr <= _IOC_NR(DRM_IOCTL_TENON_CONTEXT_STATUS));
}

/* All by name; then all numbers with either direction and several sizes, since the core looks at nr alone. */
static void refusals(void)
{
	static const unsigned int sizes[] = { 0, 4, 8, 16, 64, 256 };
	char arg[1 << _IOC_SIZEBITS] = { 0 };
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < sizeof(core) / sizeof(core[0]); i++)
		if (!passes(_IOC_NR(core[i].cmd)))
			ok(core[i].name, error(core[i].cmd, arg) == ENOTTY);
	for (unsigned int nr = 0; nr < 256; nr++)
		for (unsigned int dir = 0; dir < 4; dir++)
			for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
				if (!passes(nr) &&
				    error(_IOC(dir, DRM_IOCTL_BASE, nr, sizes[i]), arg) != ENOTTY)
					wrong++;
	ok("other numbers of DRM are refused", !wrong);
	ok("another type is refused",
	   error(_IOWR('e', _IOC_NR(DRM_IOCTL_VERSION), struct drm_version), arg) == ENOTTY);
}

static void core_ioctls(void)
{
	char name[16] = "";
	struct drm_version version = { .name_len = sizeof(name) - 1, .name = name };
	struct drm_get_cap cap = { .capability = DRM_CAP_PRIME };
	struct drm_gem_close gem = { .handle = 1 };
	struct drm_prime_handle prime = { .handle = 1 };
	char line[256];
	FILE *fdinfo;
	bool found = false;

	ok("VERSION",
	   !error(DRM_IOCTL_VERSION, &version) && !strcmp(name, "tenon") && version.version_minor == 3);
	ok("GET_CAP",
	   !error(DRM_IOCTL_GET_CAP, &cap) && cap.value == (DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT));
	ok("GEM_CLOSE of no handle", error(DRM_IOCTL_GEM_CLOSE, &gem) == EINVAL);
	ok("PRIME_HANDLE_TO_FD of no handle", error(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) == ENOENT);
	prime.fd = -1;
	ok("PRIME_FD_TO_HANDLE of no file", error(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) == EBADF);
	prime.fd = fd;
	ok("PRIME_FD_TO_HANDLE of another file", error(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) == EINVAL);
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	fdinfo = fopen(line, "r");
	while (fdinfo && fgets(line, sizeof(line), fdinfo))
		found |= !strcmp(line, "drm-driver:\ttenon\n");
	ok("fdinfo", found);
	ok("nothing to map", mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
}

static void query(void)
{
	struct drm_tenon_device room[2];
	struct drm_tenon_query query = { .type = DRM_TENON_QUERY_DEVICE };
	uint32_t word;

	ok("QUERY of the size", !error(DRM_IOCTL_TENON_QUERY, &query) && query.size == sizeof(room[0]));
	memset(room, 0xff, sizeof(room));
	query.pointer = (uintptr_t)room;
	ok("QUERY", !error(DRM_IOCTL_TENON_QUERY, &query) && room[0].tdi_version == TDI_VERSION(0, 2) &&
	   room[0].reserved == 0 && room[1].reserved == 0xffffffff);
	memset(room, 0xff, sizeof(room));
	query.size = sizeof(word);
	ok("QUERY with less room", !error(DRM_IOCTL_TENON_QUERY, &query) && query.size == sizeof(room[0]) &&
	   room[0].tdi_version == TDI_VERSION(0, 2) && room[0].reserved == 0xffffffff);
	query.size = sizeof(room);
	ok("QUERY with more room", !error(DRM_IOCTL_TENON_QUERY, &query) && room[0].reserved == 0 &&
	   room[1].tdi_version == 0 && room[1].reserved == 0);
	memset(room, 0xff, sizeof(room));
	query.size = 4097;
	ok("QUERY with too much room", error(DRM_IOCTL_TENON_QUERY, &query) == E2BIG &&
	   room[0].tdi_version == 0xffffffff);
	query.size = sizeof(room);
	query.type = 99;
	ok("QUERY of an unknown type", error(DRM_IOCTL_TENON_QUERY, &query) == EINVAL &&
	   room[0].tdi_version == 0xffffffff);
	query.type = DRM_TENON_QUERY_DEVICE;
	query.pointer = 4096;
	ok("QUERY to no memory",
	   error(DRM_IOCTL_TENON_QUERY, &query) == EFAULT && query.size == sizeof(room));
}

int main(int argc, char **argv)
{
	fd = open(argc > 1 ? argv[1] : "", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror("open");
		return 1;
	}
	refusals();
	core_ioctls();
	query();
	/* The same file in the hands of a tenant. */
	if (setuid(20001)) {
		perror("setuid");
		return 1;
	}
	refusals();
	query();
	return failed != 0;
}
