/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: taking an input apart, and transport memory with five buffers in it,
 * surrounded by bytes that no command may touch.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says what is wrong and aborts, for libFuzzer to save the input. */
_Noreturn void bug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* With $FUZZ_REACHED set, what was done with success is told at exit: tests/fuzz/run asks it of the corpus.
 */
void reached(unsigned int what);

struct input {
	const uint8_t *at;
	size_t left;
};

/* Beyond its end an input goes on with zeros. */
void take(struct input *in, void *to, size_t bytes);
uint32_t take_u8(struct input *in);
uint32_t take_u16(struct input *in);

/* Is it one that a CQE may have? [ERR-22] */
bool known_status(unsigned int status);

#define ARENA_PAGES	24
#define ARENA_BYTES	(ARENA_PAGES * TDI_PAGE_SIZE)
#define ARENA_BASE	0x100000000ULL
#define ARRAY_BASE	0x200000000ULL
#define BUFFER_PAGES	4
#define BUFFER_MAX	((BUFFER_PAGES - 1) * TDI_PAGE_SIZE)

enum {
	BUFFER_DESCRIPTORS,	/* read and write */
	BUFFER_RW,
	BUFFER_READ,
	BUFFER_WRITE,
	BUFFER_ALIAS,		/* of BUFFER_RW: read and write */
	BUFFERS,
};

struct buffer {
	struct tn_map map;
	uint8_t page[BUFFER_PAGES];	/* of the arena */
};

struct world {
	struct tn_space space;
	uint8_t arena[ARENA_BYTES];
	uint8_t before[ARENA_BYTES];
	__le64 array[BUFFERS * BUFFER_PAGES];
	struct buffer buffer[BUFFERS];
};

/* Lengths, and offsets in the first block: four bytes of the input for each buffer but the alias. */
struct shape {
	uint16_t length[BUFFERS], first[BUFFERS];
};

void take_shape(struct input *in, struct shape *shape);
void world_init(struct world *w);
/* Place the buffers, in pages that are far from each other or in one piece, and fill them from @in. */
void world_begin(struct world *w, const struct shape *shape, bool scattered, struct input in);
/* Fails if a byte has changed that isn't in a buffer that may be written. */
void world_check(struct world *w);
/* Nothing at all has changed. */
void world_unchanged(const struct world *w);
/* A buffer's content; BUFFER_MAX bytes at most. */
size_t world_read(const struct world *w, unsigned int buffer, uint8_t *to);

#endif /* FUZZ_H */
