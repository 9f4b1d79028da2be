/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share. Each is one libFuzzer entry point; what must hold is checked by need(). */
#ifndef TN_FUZZ_H
#define TN_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define need(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
		abort(); \
	} \
} while (0)

/* Memory that the device may see, between guards that nothing may touch. */
#define FUZZ_GUARD	65536
#define FUZZ_MEMORY	65536
#define FUZZ_BASE	0x100000000ULL
#define FUZZ_READ_ONLY	(FUZZ_MEMORY / 4)	/* the first part belongs to a buffer that is only read */

struct fuzz_memory {
	_Alignas(4096) uint8_t before[FUZZ_GUARD];
	uint8_t memory[FUZZ_MEMORY];
	uint8_t after[FUZZ_GUARD];
};

static inline void fuzz_memory_init(struct fuzz_memory *m, const uint8_t *data, size_t size)
{
	memset(m->before, 0xa5, sizeof(m->before));
	memset(m->after, 0xa5, sizeof(m->after));
	memset(m->memory, 0, sizeof(m->memory));
	memcpy(m->memory, data, size < sizeof(m->memory) ? size : sizeof(m->memory));
}

static inline void fuzz_memory_check(const struct fuzz_memory *m, const uint8_t *data, size_t size)
{
	size_t i;

	for (i = 0; i < FUZZ_GUARD; i++)
		need(m->before[i] == 0xa5 && m->after[i] == 0xa5);
	for (i = 0; i < FUZZ_READ_ONLY; i++)
		need(m->memory[i] == (i < size ? data[i] : 0));
}

#endif /* TN_FUZZ_H */
