/* SPDX-License-Identifier: MIT */
/* Contexts: opening, closing, and what can be asked about one. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/* tenon_open() that fails has no context to keep the text in. */
static __thread char open_error[sizeof(((struct tenon_context *)NULL)->error)];

int tenon_fail(struct tenon_context *c, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	return err;
}

/* May set-up calls reach the device? */
int tenon_context_usable(struct tenon_context *c)
{
	if (c->owner != getpid())
		return tenon_fail(c, -ENODEV, "the context belongs to the process that opened it");
	if (context_dead(c))
		return tenon_fail(c, -ENODEV, "the device died");
	return 0;
}

/* Nothing more is said to the device or believed of it. */
void tenon_context_kill(struct tenon_context *c)
{
	__atomic_store_n(&c->dead, 1, __ATOMIC_RELEASE);
	if (c->transport->hang_up && c->owner == getpid())
		c->transport->hang_up(c);
}

/*
 * Map what belongs to the context. A child that is forked gets none of it: two processes on one ring would be
 * two producers.
 */
int tenon_map(struct tenon_context *c, int fd, uint64_t offset, size_t bytes, int prot, void **address)
{
	void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return errno == ENOMEM ? tenon_fail(c, -ENOMEM, "out of address space") :
					 tenon_fail(c, -errno, "mmap: %s", strerror(errno));
	if (madvise(p, bytes, MADV_DONTFORK)) {
		munmap(p, bytes);
		return tenon_fail(c, -ENOMEM, "out of address space");
	}
	*address = p;
	return 0;
}

/* In a forked child there is nothing of it, and what lies there now is something else. */
void tenon_unmap(struct tenon_context *c, void *address, size_t bytes)
{
	if (address && c->owner == getpid())
		munmap(address, bytes);
}

void tenon_close_fds(int *fds, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* Of TDI. 0.x versions promise nothing to each other. */
bool tenon_version_ok(uint32_t version)
{
	if (version >> 16 != TDI_VERSION_MAJOR)
		return false;
	return TDI_VERSION_MAJOR || (version & 0xffff) == TDI_VERSION_MINOR;
}

/*
 * Options start with the size that the caller knows. Of a newer caller's only what is zero can be ignored.
 * An older caller's missing end is zero.
 */
int tenon_options_copy(void *to, size_t to_size, const void *from)
{
	const unsigned char *bytes = from;
	size_t size, i;

	memset(to, 0, to_size);
	if (!from)
		return 0;
	memcpy(&size, from, sizeof(size));
	if (size < sizeof(size) || size > 4096)
		return -EINVAL;
	for (i = to_size; i < size; i++)
		if (bytes[i])
			return -EINVAL;
	memcpy(to, from, size < to_size ? size : to_size);
	return 0;
}

static int first_device(const struct tenon_device *device, void *arg)
{
	char **path = arg;

	*path = strdup(device->path);
	return *path ? 1 : -ENOMEM;
}

static int open_path(struct tenon_context *c, const char *path)
{
	char *found = NULL;
	int err;

	if (!path) {
		err = tenon_devices(first_device, &found);
		if (err < 0)
			return tenon_fail(c, err, "looking for devices: %s", strerror(-err));
		if (!found)
			return tenon_fail(c, -ENODEV, "no device found");
		path = found;
	}
	c->transport = tenon_transport_of(path);
	err = c->transport->open(c, path);
	free(found);
	return err;
}

int tenon_open(const char *path, const struct tenon_open_options *options, struct tenon_context **context)
{
	struct tenon_open_options o;
	struct tenon_context *c;
	int err;

	*context = NULL;
	err = tenon_options_copy(&o, sizeof(o), options);
	if (err || o.flags) {
		snprintf(open_error, sizeof(open_error), "unknown option");
		return -EINVAL;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		snprintf(open_error, sizeof(open_error), "out of memory");
		return -ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	LIST_INIT(&c->buffers);
	LIST_INIT(&c->queues);
	SLIST_INIT(&c->chunks);
	c->fd = -1;
	c->owner = getpid();
	c->timeout_ms = o.timeout_ms ? o.timeout_ms : DEFAULT_TIMEOUT_MS;
	err = open_path(c, path);
	memcpy(open_error, c->error, sizeof(open_error));
	if (err) {
		tenon_close(c);
		return err;
	}
	*context = c;
	return 0;
}

void tenon_close(struct tenon_context *c)
{
	struct op_chunk *chunk;

	if (!c)
		return;
	if (c->fd >= 0)
		tenon_context_kill(c);
	while (!LIST_EMPTY(&c->queues))
		tenon_queue_free(LIST_FIRST(&c->queues));
	while (!LIST_EMPTY(&c->buffers))
		tenon_buffer_free(LIST_FIRST(&c->buffers));
	while ((chunk = SLIST_FIRST(&c->chunks))) {
		SLIST_REMOVE_HEAD(&c->chunks, link);
		free(chunk);
	}
	if (c->fd >= 0)
		close(c->fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

const struct tdi_identify *tenon_identify(const struct tenon_context *c)
{
	return &c->identify;
}

const struct tenon_limits *tenon_limits(const struct tenon_context *c)
{
	return &c->limits;
}

int tenon_context_status(struct tenon_context *c, struct tdi_context_status *status)
{
	int err;

	pthread_mutex_lock(&c->lock);
	err = c->transport->status(c, status);
	pthread_mutex_unlock(&c->lock);
	return err;
}

int tenon_context_usage(struct tenon_context *c, struct tdi_usage *usage)
{
	int err;

	pthread_mutex_lock(&c->lock);
	err = c->transport->usage(c, NULL, usage);
	pthread_mutex_unlock(&c->lock);
	return err;
}

const char *tenon_errstr(const struct tenon_context *c)
{
	return c ? c->error : open_error;
}
