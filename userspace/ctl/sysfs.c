/* SPDX-License-Identifier: MIT */
/* tenonctl: attributes of configfs and sysfs; which partitions and controllers there are. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

const char *ctl_root(const char *variable, const char *fallback)
{
	const char *root = secure_getenv(variable);

	return root && *root ? root : fallback;
}

static const char *sysfs(void)
{
	return ctl_root("TENON_SYSFS", "/sys");
}

/* One that is too long is cut, and then isn't found. */
void ctl_path(char *to, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(to, CTL_PATH_MAX, format, args);
	va_end(args);
}

void ctl_config_path(char *to, const char *controller, const char *name)
{
	ctl_path(to, "%s/kernel/config/tenon%s%s%s%s", sysfs(), *controller ? "/" : "", controller,
		 *name ? "/" : "", name);
}

bool ctl_exists(const char *path)
{
	return !access(path, F_OK);
}

/* A value without the newline at its end; "" if there is an error. */
int ctl_read(const char *directory, const char *name, char *to, size_t size)
{
	char path[CTL_PATH_MAX];
	ssize_t bytes;
	int fd, error = 0;

	*to = 0;
	ctl_path(path, "%s/%s", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	bytes = read(fd, to, size - 1);
	if (bytes < 0) {
		error = -errno;
		bytes = 0;
	}
	close(fd);
	to[bytes] = 0;
	if (bytes && to[bytes - 1] == '\n')
		to[bytes - 1] = 0;
	return error;
}

uint64_t ctl_read_number(const char *directory, const char *name)
{
	char text[64];

	return ctl_read(directory, name, text, sizeof(text)) ? 0 : strtoull(text, NULL, 10);
}

/* Which run of this host's kernel it is: empty where nobody tells. */
void ctl_boot_id(char *to, size_t size)
{
	ctl_read("/proc/sys/kernel/random", "boot_id", to, size);
}

/* How the device behind a node is: ready, resetting or failed; "" where nobody tells. */
const char *ctl_health(char *to, size_t size, const char *path)
{
	char directory[CTL_PATH_MAX], *node = realpath(path, NULL);

	*to = 0;
	if (node) {
		ctl_path(directory, "%s/class/accel/%s/device/../tenon", sysfs(), strrchr(node, '/') + 1);
		ctl_read(directory, "health", to, size);
		free(node);
	}
	return to;
}

/* What was used is root's to read; another is told so. One that is just going isn't refused. */
bool ctl_may_read_usage(const struct ctl_partition *p)
{
	char path[CTL_PATH_MAX + 8], text[64];

	snprintf(path, sizeof(path), "%s/usage", p->sysfs);
	if (ctl_read(path, "busy_ns", text, sizeof(text)) != -EACCES)
		return true;
	fprintf(stderr, "tenonctl: %s/busy_ns: %s: what partitions used is for root to read "
		"(CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE)\n", path, strerror(EACCES));
	return false;
}

int ctl_write(const char *directory, const char *name, const char *value)
{
	char path[CTL_PATH_MAX], line[CTL_PATH_MAX];
	size_t length = strlen(value);
	int fd, error = 0;

	if (length > sizeof(line) - 2)
		return -ENAMETOOLONG;
	memcpy(line, value, length);
	line[length] = '\n';
	ctl_path(path, "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* In one piece: an attribute takes each write for a whole value. */
	if (write(fd, line, length + 1) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Names of what is in a directory, in order: accel10 after accel9. Their number, 0 without the directory. */
int ctl_names(const char *directory, char ***names)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, not_hidden, versionsort), i;

	*names = NULL;
	if (count < 0)
		return errno == ENOENT ? 0 : -errno;
	*names = calloc((size_t)count + 1, sizeof(**names));
	for (i = 0; i < count; i++) {
		if (*names)
			(*names)[i] = strdup(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	for (i = 0; i < count; i++) {
		if (!*names || !(*names)[i]) {
			ctl_names_free(*names, count);
			return -ENOMEM;
		}
	}
	return count;
}

void ctl_names_free(char **names, int count)
{
	int i;

	for (i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

static bool is_directory(const char *path)
{
	DIR *directory = opendir(path);

	if (directory)
		closedir(directory);
	return directory;
}

static int by_name(const void *a, const void *b)
{
	const struct ctl_partition *x = a, *y = b;
	int order = strverscmp(x->controller, y->controller);

	return order ? order : strverscmp(x->name, y->name);
}

static struct ctl_partition *add(struct ctl_partition **partitions, int *count)
{
	struct ctl_partition *grown = realloc(*partitions, ((size_t)*count + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	*partitions = grown;
	grown += (*count)++;
	memset(grown, 0, sizeof(*grown));
	return grown;
}

/* Those that live: auxiliary devices. */
static int living(struct ctl_partition **partitions, int *count)
{
	char bus[CTL_PATH_MAX], nodes[CTL_PATH_MAX], **names, **accel;
	int n, i, error = 0, found;

	ctl_path(bus, "%s/bus/auxiliary/devices", sysfs());
	n = ctl_names(bus, &names);
	for (i = 0; i < n && !error; i++) {
		struct ctl_partition *p;

		if (strncmp(names[i], "tenon.partition.", 16))
			continue;
		p = add(partitions, count);
		if (!p) {
			error = -ENOMEM;
			break;
		}
		ctl_path(p->sysfs, "%s/%s", bus, names[i]);
		/* It may have gone meanwhile. */
		if (ctl_read(p->sysfs, "controller", p->controller, sizeof(p->controller)) ||
		    ctl_read(p->sysfs, "partition", p->name, sizeof(p->name))) {
			(*count)--;
			continue;
		}
		ctl_path(nodes, "%s/accel", p->sysfs);
		found = ctl_names(nodes, &accel);
		if (found > 0)
			snprintf(p->device, sizeof(p->device), "%.31s", accel[0]);
		ctl_names_free(accel, found);
	}
	ctl_names_free(names, n);
	return n < 0 ? n : error;
}

/* Those that are configured: joined with those that live. */
static int configured(struct ctl_partition **partitions, int *count)
{
	char path[CTL_PATH_MAX], **controllers, **names;
	int n, m, i, j, k, error = 0, lived = *count;

	ctl_config_path(path, "", "");
	n = ctl_names(path, &controllers);
	for (i = 0; i < n; i++) {
		ctl_config_path(path, controllers[i], "");
		/* Attributes are here, too. */
		m = is_directory(path) ? ctl_names(path, &names) : 0;
		for (j = 0; j < m && !error; j++) {
			struct ctl_partition *p = NULL;

			ctl_config_path(path, controllers[i], names[j]);
			if (!is_directory(path))
				continue;
			for (k = 0; k < lived && !p; k++)
				if (!strcmp((*partitions)[k].controller, controllers[i]) &&
				    !strcmp((*partitions)[k].name, names[j]))
					p = &(*partitions)[k];
			if (!p)
				p = add(partitions, count);
			if (!p) {
				error = -ENOMEM;
				break;
			}
			snprintf(p->controller, sizeof(p->controller), "%.63s", controllers[i]);
			snprintf(p->name, sizeof(p->name), "%.63s", names[j]);
			strcpy(p->config, path);
		}
		if (m)
			ctl_names_free(names, m);
	}
	ctl_names_free(controllers, n);
	return n < 0 ? n : error;
}

/* All, by controller and name; their number, or an error. To be freed in any case. */
int ctl_partitions(struct ctl_partition **partitions)
{
	int count = 0, error;

	*partitions = NULL;
	error = living(partitions, &count);
	if (!error)
		error = configured(partitions, &count);
	if (error)
		return error;
	if (count)
		qsort(*partitions, (size_t)count, sizeof(**partitions), by_name);
	return count;
}

static int known(char **names, int count, const char *name)
{
	int i;

	for (i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* Those that are there, and those that are configured. */
int ctl_controllers(char ***names)
{
	char bus[CTL_PATH_MAX], path[CTL_PATH_MAX], **devices, **grown;
	int n, i, count = 0, kept = 0;

	ctl_config_path(path, "", "");
	count = ctl_names(path, names);
	for (i = 0; i < count; i++) {
		ctl_config_path(path, (*names)[i], "");
		if (is_directory(path))
			(*names)[kept++] = (*names)[i];
		else
			free((*names)[i]);
	}
	if (count < 0)
		return count;
	count = kept;
	ctl_path(bus, "%s/bus/pci/devices", sysfs());
	n = ctl_names(bus, &devices);
	grown = realloc(*names, (size_t)(count + (n > 0 ? n : 0) + 1) * sizeof(*grown));
	if (grown)
		*names = grown;
	for (i = 0; grown && i < n; i++) {
		ctl_path(path, "%s/%s/tenon", bus, devices[i]);
		if (is_directory(path) && !known(*names, count, devices[i]) &&
		    ((*names)[count] = strdup(devices[i])))
			count++;
	}
	ctl_names_free(devices, n);
	return count;
}
