// SPDX-License-Identifier: MIT
/* See fuzz.h. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANARY 0xee

void bug(const char *format, ...)
{
	va_list args;

	fputs("BUG: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static uint64_t reached_mask;

static void tell_reached(void)
{
	printf("REACHED %#llx\n", (unsigned long long)reached_mask);
}

void reached(unsigned int what)
{
	if (!reached_mask && getenv("FUZZ_REACHED"))
		atexit(tell_reached);
	reached_mask |= 1ULL << what;
}

void take(struct input *in, void *to, size_t bytes)
{
	size_t part = bytes < in->left ? bytes : in->left;

	memset(to, 0, bytes);
	if (part)
		memcpy(to, in->at, part);
	in->at += part;
	in->left -= part;
}

uint32_t take_u8(struct input *in)
{
	uint8_t value;

	take(in, &value, sizeof(value));
	return value;
}

uint32_t take_u16(struct input *in)
{
	uint16_t value;

	take(in, &value, sizeof(value));
	return value;
}

bool known_status(unsigned int status)
{
	return status <= TDI_SC_LIMIT || status == TDI_SC_CANCELED ||
	       (status >= TDI_SC_ABORTED && status <= TDI_SC_BUFFER_LOST) || status == TDI_SC_DEVICE;
}

void take_shape(struct input *in, struct shape *shape)
{
	unsigned int i;

	for (i = 0; i < BUFFERS; i++) {
		if (i == BUFFER_ALIAS) {
			shape->length[i] = shape->length[BUFFER_RW];
			shape->first[i] = shape->first[BUFFER_RW];
			continue;
		}
		shape->length[i] = (uint16_t)(1 + take_u16(in) % BUFFER_MAX);
		shape->first[i] = (uint16_t)(take_u16(in) % TDI_PAGE_SIZE);
	}
}

void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	if (tn_space_add(&w->space, ARENA_BASE, ARENA_BYTES, w->arena) ||
	    tn_space_add(&w->space, ARRAY_BASE, sizeof(w->array), w->array))
		bug("no memory");
}

/* Where byte @offset of a buffer is in the arena, and how much follows there. */
static size_t place(const struct buffer *b, uint64_t offset, size_t *left)
{
	uint64_t at = b->map.first + offset;

	*left = TDI_PAGE_SIZE - at % TDI_PAGE_SIZE;
	if (*left > b->map.length - offset)
		*left = b->map.length - offset;
	return b->page[at / TDI_PAGE_SIZE] * TDI_PAGE_SIZE + at % TDI_PAGE_SIZE;
}

static void place_pages(struct world *w, unsigned int i, bool scattered)
{
	struct buffer *b = &w->buffer[i];
	unsigned int j;

	for (j = 0; j < BUFFER_PAGES; j++) {
		if (i == BUFFER_ALIAS)
			b->page[j] = w->buffer[BUFFER_RW].page[scattered ? BUFFER_PAGES - 1 - j : j];
		else if (scattered)
			b->page[j] = (uint8_t)((i * BUFFER_PAGES + j) * 7 % ARENA_PAGES);
		else
			b->page[j] = (uint8_t)(1 + i * (BUFFER_PAGES + 1) + j);
		w->array[i * BUFFER_PAGES + j] = ARENA_BASE + b->page[j] * TDI_PAGE_SIZE;
	}
	if (scattered) {
		b->map.shift = TDI_PAGE_SHIFT;
		b->map.address = ARRAY_BASE + i * BUFFER_PAGES * sizeof(w->array[0]);
	} else {
		b->map.flags |= TDI_BUFFER_INLINE;
		b->map.shift = 63;
		b->map.address = ARENA_BASE + b->page[0] * TDI_PAGE_SIZE;
	}
}

void world_begin(struct world *w, const struct shape *shape, bool scattered, struct input in)
{
	static const uint32_t rights[] = {
		[BUFFER_DESCRIPTORS] = TDI_BUFFER_READ | TDI_BUFFER_WRITE,
		[BUFFER_RW] = TDI_BUFFER_READ | TDI_BUFFER_WRITE,
		[BUFFER_READ] = TDI_BUFFER_READ,
		[BUFFER_WRITE] = TDI_BUFFER_WRITE,
		[BUFFER_ALIAS] = TDI_BUFFER_READ | TDI_BUFFER_WRITE,
	};
	unsigned int i;
	uint64_t offset;
	size_t left;

	memset(w->arena, CANARY, sizeof(w->arena));
	for (i = 0; i < BUFFERS; i++) {
		struct buffer *b = &w->buffer[i];

		b->map = (struct tn_map){ .id = TDI_BUFFER_ID(i + 1, 1), .flags = rights[i],
					  .length = shape->length[i], .first = shape->first[i] };
		place_pages(w, i, scattered);
		for (offset = 0; i != BUFFER_ALIAS && offset < b->map.length; offset += left) {
			uint8_t *at = &w->arena[place(b, offset, &left)];

			take(&in, at, left);
		}
	}
	memcpy(w->before, w->arena, sizeof(w->arena));
}

void world_check(struct world *w)
{
	unsigned int i;
	uint64_t offset;
	size_t left, at;

	for (i = 0; i < BUFFERS; i++) {
		const struct buffer *b = &w->buffer[i];

		if (!(b->map.flags & TDI_BUFFER_WRITE))
			continue;
		for (offset = 0; offset < b->map.length; offset += left) {
			at = place(b, offset, &left);
			memcpy(&w->before[at], &w->arena[at], left);
		}
	}
	world_unchanged(w);
}

void world_unchanged(const struct world *w)
{
	unsigned int i, j;
	size_t at;

	for (i = 0; i < BUFFERS; i++)
		for (j = 0; j < BUFFER_PAGES; j++)
			if (w->array[i * BUFFER_PAGES + j] !=
			    ARENA_BASE + w->buffer[i].page[j] * TDI_PAGE_SIZE)
				bug("the array of a map was written");
	if (!memcmp(w->before, w->arena, sizeof(w->arena)))
		return;
	for (at = 0; w->before[at] == w->arena[at]; at++)
		;
	bug("byte %zu of page %zu was written: %02x", at % TDI_PAGE_SIZE, at / TDI_PAGE_SIZE, w->arena[at]);
}

size_t world_read(const struct world *w, unsigned int buffer, uint8_t *to)
{
	const struct buffer *b = &w->buffer[buffer];
	uint64_t offset;
	size_t left;

	for (offset = 0; offset < b->map.length; offset += left) {
		size_t at = place(b, offset, &left);

		memcpy(to + offset, &w->arena[at], left);
	}
	return b->map.length;
}
