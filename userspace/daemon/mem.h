/* SPDX-License-Identifier: MIT */
/*
 * How the device reaches memory: transport addresses, and the buffer table of a context.
 *
 * Every access of the model to memory that it shares with a host goes through these functions; each checks
 * id, bounds and rights again, so that a buffer which is unmapped under a running command ends that command.
 */
#ifndef TN_MEM_H
#define TN_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/tdi.h>

/* A stretch of transport addresses and where this process sees it. */
struct tn_region {
	uint64_t base;
	uint64_t bytes;
	void *host;
	uint32_t rights;		/* TDI_BUFFER_READ, TDI_BUFFER_WRITE */
};

/*
 * What 64-bit addresses mean: sorted regions that don't overlap. Changed only while no command of a context
 * that uses the space is running (tn_context_hold()).
 */
struct tn_space {
	struct tn_region *region;
	uint32_t regions;
	uint32_t room;
	/* Told of each access that finds nothing, from any thread; must not block. May be NULL. */
	void (*missed)(void *owner, uint64_t address);
	void *owner;
};

int tn_space_add(struct tn_space *space, uint64_t base, uint64_t bytes, void *host);
int tn_space_add_for(struct tn_space *space, uint64_t base, uint64_t bytes, void *host, uint32_t rights);
void tn_space_remove(struct tn_space *space, uint64_t base);
void tn_space_free(struct tn_space *space);
/* The number of the first region that ends beyond @address; @space->regions: none does. */
uint32_t tn_space_find(const struct tn_space *space, uint64_t address);
/* The host's view of @address, in *@bytes how much follows it; NULL: nothing with these rights. */
void *tn_space_at(const struct tn_space *space, uint64_t address, uint32_t rights, uint64_t *bytes);

/* Memory of a space in one piece for as long as a ring needs it, wherever its pages lie. */
struct tn_view {
	uint64_t address;
	uint64_t bytes;
	void *host;
	uint64_t mapped;		/* bytes that were mapped for it alone */
};

/* 0, -EFAULT: it isn't all there, -ENOMEM. @address is 4 KiB aligned. */
int tn_view_open(const struct tn_space *space, uint64_t address, uint64_t bytes, uint32_t rights,
		 struct tn_view *view);
void tn_view_close(struct tn_view *view);
bool tn_view_overlaps(const struct tn_view *view, uint64_t base, uint64_t bytes);

/* One entry of a buffer table; id 0 is a free one. */
struct tn_map {
	uint32_t id;
	uint32_t flags;
	uint64_t length;
	uint64_t first;
	uint64_t address;
	uint32_t shift;
};

/* The buffer table of a context. Changed under the same condition as the space. */
struct tn_table {
	struct tn_space *space;
	struct tn_map *map;
	uint32_t maps;
};

/* TDI_SC_OK or the status that the command ends with. Nothing is accessed before all is checked. */
int tn_mem_check(const struct tn_table *table, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t rights);
/* *@bytes: in, how much is wanted (not 0); out, how much of it @host has in one piece (not 0). */
int tn_mem_span(const struct tn_table *table, uint32_t id, uint64_t offset, uint32_t rights, uint64_t *bytes,
		void **host);
int tn_mem_read(const struct tn_table *table, uint32_t id, uint64_t offset, void *to, uint64_t bytes);
int tn_mem_write(const struct tn_table *table, uint32_t id, uint64_t offset, const void *from,
		 uint64_t bytes);
/* The transport address of one byte of a buffer: what identifies a semaphore. */
int tn_mem_address(const struct tn_table *table, uint32_t id, uint64_t offset, uint64_t *address);

#endif /* TN_MEM_H */
