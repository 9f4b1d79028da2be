// SPDX-License-Identifier: MIT
/* Transport addresses and buffer tables; see mem.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"
#include "mutant.h"

uint32_t tn_space_find(const struct tn_space *space, uint64_t address)
{
	uint32_t low = 0, high = space->regions;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (address - space->region[mid].base < space->region[mid].bytes ||
		    address < space->region[mid].base)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int tn_space_add_for(struct tn_space *space, uint64_t base, uint64_t bytes, void *host, uint32_t rights)
{
	uint32_t i = tn_space_find(space, base);
	uint64_t end;

	if (!bytes || __builtin_add_overflow(base, bytes - 1, &end))
		return -EINVAL;
	if (i < space->regions && space->region[i].base <= end)
		return -EEXIST;
	if (space->regions == space->room) {
		uint32_t room = space->room ? 2 * space->room : 16;
		struct tn_region *grown = reallocarray(space->region, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		space->region = grown;
		space->room = room;
	}
	memmove(&space->region[i + 1], &space->region[i], (space->regions - i) * sizeof(space->region[0]));
	space->region[i] = (struct tn_region){ .base = base, .bytes = bytes, .host = host, .rights = rights };
	space->regions++;
	return 0;
}

int tn_space_add(struct tn_space *space, uint64_t base, uint64_t bytes, void *host)
{
	return tn_space_add_for(space, base, bytes, host, TDI_BUFFER_READ | TDI_BUFFER_WRITE);
}

void tn_space_remove(struct tn_space *space, uint64_t base)
{
	uint32_t i = tn_space_find(space, base);

	if (i == space->regions || space->region[i].base != base)
		return;
	space->regions--;
	memmove(&space->region[i], &space->region[i + 1], (space->regions - i) * sizeof(space->region[0]));
}

void tn_space_free(struct tn_space *space)
{
	free(space->region);
	memset(space, 0, sizeof(*space));
}

void *tn_space_at(const struct tn_space *space, uint64_t address, uint32_t rights, uint64_t *bytes)
{
	uint32_t i = tn_space_find(space, address);
	const struct tn_region *region;

	if (i == space->regions || (space->region[i].base > address && !MUTANT(map_outside)) ||
	    ((space->region[i].rights & rights) != rights && !MUTANT(map_rights))) {
		if (space->missed && !MUTANT(miss_told))
			space->missed(space->owner, address);
		return NULL;
	}
	region = &space->region[i];
	*bytes = region->bytes - (address - region->base);
	return (char *)region->host + (address - region->base);
}

/* An IOMMU may show pages side by side that aren't: map each of them once more, in order. */
static int gather(const struct tn_space *space, struct tn_view *view, uint32_t rights)
{
	uint64_t bytes = (view->bytes + TDI_PAGE_SIZE - 1) & ~(uint64_t)(TDI_PAGE_SIZE - 1), done, left;
	char *to = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (to == MAP_FAILED)
		return -ENOMEM;
	for (done = 0; done < bytes; done += TDI_PAGE_SIZE) {
		void *page = tn_space_at(space, view->address + done, rights, &left);
		/* With an old size of 0 a shared mapping is not moved but made a second time. */
		void *mapped = page && left >= TDI_PAGE_SIZE ?
			mremap(page, 0, TDI_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to + done) : NULL;

		if (mapped != to + done) {
			munmap(to, bytes);
			return mapped == MAP_FAILED && errno == ENOMEM ? -ENOMEM : -EFAULT;
		}
	}
	view->host = to;
	view->mapped = bytes;
	return 0;
}

int tn_view_open(const struct tn_space *space, uint64_t address, uint64_t bytes, uint32_t rights,
		 struct tn_view *view)
{
	uint64_t left;

	*view = (struct tn_view){ .address = address, .bytes = bytes };
	view->host = tn_space_at(space, address, rights, &left);
	if (!view->host)
		return -EFAULT;
	if (left >= bytes)
		return 0;
	view->host = NULL;
	return gather(space, view, rights);
}

void tn_view_close(struct tn_view *view)
{
	if (view->mapped)
		munmap(view->host, view->mapped);
	memset(view, 0, sizeof(*view));
}

bool tn_view_overlaps(const struct tn_view *view, uint64_t base, uint64_t bytes)
{
	return view->bytes && (view->address - base < bytes || base - view->address < view->bytes);
}

static const struct tn_map *lookup(const struct tn_table *table, uint32_t id)
{
	uint32_t index = TDI_BUFFER_INDEX(id);
	const struct tn_map *map;

	if (index >= table->maps || !id)
		return NULL;
	map = &table->map[index];
	if (!map->id || (map->id != id && !MUTANT(buffer_generation)))
		return NULL;
	return map;
}

static int check(const struct tn_table *table, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t rights,
		 const struct tn_map **found)
{
	const struct tn_map *map = lookup(table, id);
	uint64_t end;

	if (!map)
		return TDI_SC_BUFFER_ID;
	if (MUTANT(bounds_wrap))
		end = offset + bytes;
	else if (__builtin_add_overflow(offset, bytes, &end))
		return TDI_SC_BUFFER_BOUNDS;
	if (end > map->length && !MUTANT(bounds))
		return TDI_SC_BUFFER_BOUNDS;
	if ((map->flags & rights) != rights && !MUTANT(rights))
		return TDI_SC_BUFFER_RIGHTS;
	*found = map;
	return TDI_SC_OK;
}

int tn_mem_check(const struct tn_table *table, uint32_t id, uint64_t offset, uint64_t bytes, uint32_t rights)
{
	const struct tn_map *map;

	return check(table, id, offset, bytes, rights, &map);
}

/* The transport address of @offset in @map, and how much of its block follows. */
static int resolve(const struct tn_table *table, const struct tn_map *map, uint64_t offset, uint64_t *address,
		   uint64_t *left)
{
	uint64_t at = map->first + offset;	/* BUFFER_MAP has checked that this can't wrap */
	uint64_t in, array, contiguous;
	__le64 *entry;

	/* Addresses don't go on from the last to the first. [BUF-10] */
	if (map->flags & TDI_BUFFER_INLINE) {
		*left = (1ULL << map->shift) - at;
		if (__builtin_add_overflow(map->address, at, address) && !MUTANT(address_wrap))
			return TDI_SC_DEVICE;
		return TDI_SC_OK;
	}
	if (__builtin_add_overflow(map->address, 8 * (at >> map->shift), &array))
		return TDI_SC_DEVICE;
	entry = tn_space_at(table->space, array, TDI_BUFFER_READ, &contiguous);
	if (!entry || contiguous < 8)
		return TDI_SC_DEVICE;
	in = at & ((1ULL << map->shift) - 1);
	*left = MUTANT(block_end) ? map->length - offset : (1ULL << map->shift) - in;
	if (__builtin_add_overflow(__atomic_load_n(entry, __ATOMIC_RELAXED), in, address))
		return TDI_SC_DEVICE;
	return TDI_SC_OK;
}

int tn_mem_span(const struct tn_table *table, uint32_t id, uint64_t offset, uint32_t rights, uint64_t *bytes,
		void **host)
{
	const struct tn_map *map;
	uint64_t address, left, contiguous;
	int status = check(table, id, offset, *bytes, rights, &map);

	if (status)
		return status;
	status = resolve(table, map, offset, &address, &left);
	if (status)
		return status;
	*host = tn_space_at(table->space, address, rights, &contiguous);
	if (!*host)
		return TDI_SC_DEVICE;
	if (*bytes > left)
		*bytes = left;
	if (*bytes > contiguous)
		*bytes = contiguous;
	return TDI_SC_OK;
}

static int transfer(const struct tn_table *table, uint32_t id, uint64_t offset, void *mine, uint64_t bytes,
		    uint32_t rights)
{
	const struct tn_map *map;
	int status = check(table, id, offset, bytes, rights, &map);

	while (!status && bytes) {
		uint64_t part = bytes;
		void *host;

		status = tn_mem_span(table, id, offset, rights, &part, &host);
		if (status)
			break;
		if (MUTANT(freeze_waits))
			usleep(5000);	/* else it would be seen too seldom */
		if (rights == TDI_BUFFER_WRITE)
			memcpy(host, mine, part);
		else
			memcpy(mine, host, part);
		mine = (char *)mine + part;
		offset += part;
		bytes -= part;
	}
	return status;
}

int tn_mem_read(const struct tn_table *table, uint32_t id, uint64_t offset, void *to, uint64_t bytes)
{
	return transfer(table, id, offset, to, bytes, TDI_BUFFER_READ);
}

int tn_mem_write(const struct tn_table *table, uint32_t id, uint64_t offset, const void *from, uint64_t bytes)
{
	return transfer(table, id, offset, (void *)(uintptr_t)from, bytes, TDI_BUFFER_WRITE);
}

int tn_mem_address(const struct tn_table *table, uint32_t id, uint64_t offset, uint64_t *address)
{
	const struct tn_map *map;
	uint64_t left;
	int status = check(table, id, offset, 1, 0, &map);

	return status ? status : resolve(table, map, offset, address, &left);
}
