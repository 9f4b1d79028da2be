// SPDX-License-Identifier: MIT
/*
 * bar FILE [WORD...]: writes 32-bit words to the start of a BAR, or prints its first 8 KiB but for what is 0.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BYTES 8192

int main(int argc, char **argv)
{
	int fd = open(argc > 1 ? argv[1] : "", O_RDWR);
	volatile uint32_t *bar = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || bar == MAP_FAILED) {
		perror("bar");
		return 1;
	}
	for (int i = 2; i < argc; i++)
		bar[i - 2] = (uint32_t)strtoul(argv[i], NULL, 0);
	for (unsigned int i = 0; argc == 2 && i < BYTES / sizeof(*bar); i++)
		if (bar[i])
			printf("%#zx: %#x\n", i * sizeof(*bar), bar[i]);
	return 0;
}
