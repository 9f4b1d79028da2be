/* SPDX-License-Identifier: MIT */
/* Buffers: memory that host and device see. */
#include <stdlib.h>

#include "internal.h"

int tenon_buffer_create_locked(struct tenon_context *c, uint64_t bytes, uint32_t rights,
			       struct tenon_buffer **buffer)
{
	struct tenon_buffer *b;
	int err;

	if (!bytes)
		return tenon_fail(c, -EINVAL, "memory: needed 1 or more bytes, got 0");
	if (!rights || (rights & ~(TDI_BUFFER_READ | TDI_BUFFER_WRITE)))
		return tenon_fail(c, -EINVAL, "rights %#x: neither read nor write, or unknown", rights);
	if (bytes > c->limits.memory_bytes)
		return tenon_fail(c, -ENOMEM, "memory: needed %llu, allowed %llu", (unsigned long long)bytes,
				  (unsigned long long)c->limits.memory_bytes);
	b = calloc(1, sizeof(*b));
	if (!b)
		return tenon_fail(c, -ENOMEM, "out of memory");
	b->context = c;
	b->bytes = bytes;
	LIST_INSERT_HEAD(&c->buffers, b, link);
	err = c->transport->buffer_create(c, b, rights);
	if (err) {
		tenon_buffer_free(b);
		return err;
	}
	*buffer = b;
	return 0;
}

int tenon_buffer_create(struct tenon_context *c, uint64_t bytes, uint32_t rights,
			struct tenon_buffer **buffer)
{
	int err;

	*buffer = NULL;
	pthread_mutex_lock(&c->lock);
	err = tenon_buffer_create_locked(c, bytes, rights, buffer);
	pthread_mutex_unlock(&c->lock);
	return err;
}

void tenon_buffer_free(struct tenon_buffer *b)
{
	LIST_REMOVE(b, link);
	tenon_unmap(b->context, b->data, b->mapped);
	free(b);
}

int tenon_buffer_destroy(struct tenon_buffer *b)
{
	struct tenon_context *c;
	int err;

	if (!b)
		return 0;
	c = b->context;
	pthread_mutex_lock(&c->lock);
	err = c->transport->buffer_destroy(c, b);
	tenon_buffer_free(b);
	pthread_mutex_unlock(&c->lock);
	return err;
}

void *tenon_buffer_data(const struct tenon_buffer *b)
{
	return b->data;
}

uint64_t tenon_buffer_bytes(const struct tenon_buffer *b)
{
	return b->bytes;
}

uint32_t tenon_buffer_id(const struct tenon_buffer *b)
{
	return b->id;
}
