/* SPDX-License-Identifier: MIT */
/*
 * What the guest's kernel has allocated: the objects of each slab cache, and the pages that are neither free nor of
 * a slab. It takes slab_debug=F and slab_nomerge: else CPUs keep free objects that count as used, and caches of the
 * same size count as one.
 */
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include <stdio.h>

#include "survivor.h"

#define CACHES		1024
#define RCU_BARRIER	"/sys/module/rcutree/parameters/do_rcu_barrier"
/* Where KASAN keeps each call chain that allocates or frees, once and for ever, in pools of four pages. */
#define STACKDEPOT	"/sys/kernel/debug/stackdepot/stats"
#define POOL_PAGES	4

/* Of the kernel's own, bounded, and nothing that we hold: what we hold in these is seen elsewhere. */
static const char *const memory_ignored[] = {
	"iommu_iova",		/* addresses for each CPU and size; dma-debug sees at unbind what of ours stays mapped */
	"debug_objects_cache",	/* debugobjects' reserve; what is tracked is itself an object */
	"vmap_area",		/* of kernel stacks and the like, given back many at a time; their pages are counted */
};

/* By name, in no order. */
struct memory {
	unsigned int count;
	struct use {
		char name[64];
		long used;
	} use[CACHES];
};

HELPER bool memory_write(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);

	if (!good)
		printf("# %s to %s: %s\n", word, path, strerror(errno));
	close(fd);
	return good;
}

HELPER struct use *memory_of(struct memory *m, const char *name)
{
	for (unsigned int i = 0; i < m->count; i++)
		if (!strcmp(m->use[i].name, name))
			return &m->use[i];
	if (m->count == CACHES)
		return NULL;
	snprintf(m->use[m->count].name, sizeof(m->use->name), "%s", name);
	return &m->use[m->count++];
}

/* What is freed later is freed now, and what is only kept for later is given back; KASAN's quarantine, too. */
HELPER bool memory_settle(void)
{
	glob_t caches;
	bool good = true;

	/* What is freed after a grace period may in turn free so. */
	for (unsigned int i = 0; i < 3; i++) {
		sleep_ms(100);
		good &= memory_write(RCU_BARRIER, "1") && memory_write("/proc/sys/vm/drop_caches", "3");
	}
	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches))
		return false;
	for (size_t i = 0; i < caches.gl_pathc; i++)
		good &= memory_write(caches.gl_pathv[i], "1");
	globfree(&caches);
	return good & memory_write("/proc/sys/vm/stat_refresh", "1");
}

HELPER bool memory_read(struct memory *m)
{
	char line[512], name[64];
	long count, pages = 0;
	struct use *use;
	FILE *info;

	m->count = 0;
	info = fopen("/proc/slabinfo", "r");
	while (info && fgets(line, sizeof(line), info))
		if (line[0] != '#' && sscanf(line, "%63s %ld %*d", name, &count) == 2) {
			use = memory_of(m, name);
			if (use)
				use->used = count;
		}
	if (info)
		fclose(info);
	/* Of each zone; and what each CPU has of it. */
	info = fopen("/proc/zoneinfo", "r");
	while (info && fgets(line, sizeof(line), info)) {
		if (sscanf(line, " managed %ld", &count) == 1)
			pages += count;
		else if (sscanf(line, " pages free %ld", &count) == 1 || sscanf(line, " count: %ld", &count) == 1 ||
			 sscanf(line, " nr_slab_reclaimable %ld", &count) == 1 ||
			 sscanf(line, " nr_slab_unreclaimable %ld", &count) == 1)
			pages -= count;
	}
	if (info)
		fclose(info);
	info = fopen(STACKDEPOT, "r");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "pools: %ld", &count) == 1)
			pages -= count * POOL_PAGES;
	if (info)
		fclose(info);
	use = memory_of(m, "pages");
	if (use)
		use->used = pages;
	return m->count > 1 && use && pages > 0;
}

/* The least there is of each when nothing becomes less any more, or after ten seconds; false if that can't be seen. */
HELPER bool memory_look(struct memory *m)
{
	int64_t end = now_ns() + 10 * SECOND;
	char exact = 0;
	int fd = open("/sys/kernel/slab/kmalloc-64/sanity_checks", O_RDONLY);
	bool quiet = false;

	if (fd < 0 || read(fd, &exact, 1) != 1 || exact != '1') {
		printf("# without slab_debug=F objects can't be counted\n");
		return false;
	}
	close(fd);
	if (!memory_settle() || !memory_read(m))
		return false;
	while (!quiet && now_ns() < end) {
		static struct memory again;

		if (!memory_settle() || !memory_read(&again))
			return false;
		quiet = true;
		for (unsigned int i = 0; i < m->count; i++) {
			struct use *use = memory_of(&again, m->use[i].name);

			if (use && use->used < m->use[i].used) {
				m->use[i].used = use->used;
				quiet = false;
			}
		}
	}
	return true;
}

HELPER bool memory_counts(const char *name)
{
	for (size_t i = 0; i < sizeof(memory_ignored) / sizeof(*memory_ignored); i++)
		if (!strcmp(name, memory_ignored[i]))
			return false;
	return true;
}

/*
 * Nothing is lost. What is lost in every round is missing in the first half of the rounds and again in the second,
 * but for a quarter that chance may hide; what only fills up once, like a cache of the kernel's, isn't. Of pages it
 * takes two in a round: a queue that is lost is five, and the kernel takes one now and then.
 */
HELPER bool memory_kept(struct memory look[3], long half)
{
	bool good = true;

	for (unsigned int i = 0; i < look[2].count; i++) {
		const char *name = look[2].use[i].name;
		const struct use *before = memory_of(&look[0], name), *between = memory_of(&look[1], name);
		long first, second, least = strcmp(name, "pages") ? half * 3 / 4 : 2 * half;

		if (!before || !between || !memory_counts(name))
			continue;
		first = between->used - before->used;
		second = look[2].use[i].used - between->used;
		if (first > 0 && second > 0)
			printf("# %s: %ld more in %ld rounds, %ld more in the next\n", name, first, half, second);
		if (first >= least && second >= least) {
			printf("# lost: %s\n", name);
			good = false;
		}
	}
	return good;
}

#endif /* TESTS_MEMORY_H */
