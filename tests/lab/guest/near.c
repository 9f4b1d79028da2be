// SPDX-License-Identifier: MIT
/*
 * near NODE: the pages that a device uses are on NODE, whichever CPU its tenant is on. If this fails, a tenant's
 * commands cross to the other socket and back, and nobody sees why they are slow.
 */
#define _GNU_SOURCE
#include "tenon.h"

#define BYTES	(4 << 20)
#define DEPTH	1024

static int near;

/* Of the page frame: a zone of a node has all from one to another. */
static int node_of_frame(unsigned long frame)
{
	unsigned long first, count = 0;
	int node = -1, found = -1;
	char line[128];
	FILE *zones;

	zones = fopen("/proc/zoneinfo", "r");
	while (zones && fgets(line, sizeof(line), zones)) {
		if (sscanf(line, "Node %d, zone", &node) == 1)
			count = 0;
		else if (sscanf(line, " spanned %lu", &count) == 1)
			continue;
		else if (sscanf(line, " start_pfn: %lu", &first) == 1 && frame - first < count)
			found = node;
	}
	if (zones)
		fclose(zones);
	return found;
}

/* Whether all pages from @at on are there, and near. */
static bool all_near(const volatile char *at, size_t bytes)
{
	int map = open("/proc/self/pagemap", O_RDONLY), node;
	bool good = map >= 0;

	for (size_t offset = 0; good && offset < bytes; offset += PAGE) {
		uint64_t entry;

		(void)at[offset];
		good = pread(map, &entry, sizeof(entry), ((uintptr_t)at + offset) / PAGE * sizeof(entry)) ==
		       sizeof(entry) && entry >> 63;
		node = good ? node_of_frame(entry & ((1ULL << 55) - 1)) : -1;
		if (node != near)
			printf("# page %zu of %zu: node %d\n", offset / PAGE, bytes / PAGE, node);
		good &= node == near;
	}
	close(map);
	return good;
}

/* Bytes of a node's memory that are shared memory. */
static long long shared(int node)
{
	/* CPUs keep counts of their own, which this collects. */
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	bool fresh = fd >= 0 && write(fd, "1", 1) == 1;
	char path[64], line[128];
	long long kb = -1;
	FILE *info;

	close(fd);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	info = fopen(path, "r");
	while (fresh && info && fgets(line, sizeof(line), info))
		sscanf(line, "Node %*d Shmem: %lld", &kb);
	if (info)
		fclose(info);
	return kb * 1024;
}

FIXTURE(near) {
	int fd;
};

FIXTURE_VARIANT(near) {
	unsigned int cpu;
};

FIXTURE_VARIANT_ADD(near, cpu_0) { .cpu = 0 };
FIXTURE_VARIANT_ADD(near, cpu_1) { .cpu = 1 };

FIXTURE_SETUP(near)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(variant->cpu, &set);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(set), &set));
	self->fd = node_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(near)
{
	close(self->fd);
}

/* One that the tenant is the first to use, and one that the device is. Of its pages nobody tells the frames. */
TEST_F(near, buffers)
{
	struct buffer touched, mapped;
	long long before, all;

	before = shared(near);
	all = shared(0) + shared(1);
	ASSERT_EQ(0, buffer_make(self->fd, BYTES, 0, &touched));
	memset(touched.data, 1, BYTES);
	EXPECT_EQ(BYTES, shared(near) - before);
	ASSERT_EQ(0, buffer_make(self->fd, BYTES, RW, &mapped));
	EXPECT_EQ(2 * BYTES, shared(near) - before);
	EXPECT_EQ(2 * BYTES, shared(0) + shared(1) - all);
}

TEST_F(near, rings)
{
	struct queue q;

	ASSERT_EQ(0, queue_make(self->fd, DEPTH, -1, &q));
	EXPECT_TRUE(all_near((char *)q.producer, q.made.tenant_bytes));
	EXPECT_TRUE(all_near((char *)q.device, q.made.device_bytes));
}

int main(int argc, char **argv)
{
	char *run[] = { argv[0], NULL };

	if (argc != 2)
		return KSFT_FAIL;
	near = atoi(argv[1]);
	return test_harness_run(1, run);
}
