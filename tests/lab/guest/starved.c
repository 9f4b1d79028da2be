// SPDX-License-Identifier: MIT
/*
 * starved: of each call of a tenant's, and of the driver's binding, each allocation fails in turn, the first, then the
 * second, until there was none left to fail. The call then succeeds all the same, or ends ENOMEM and has changed
 * nothing; after many rounds memory is where it was. If this fails, a host that is short of memory loses more of it, or
 * a tenant's books are wrong.
 */
#include <sys/eventfd.h>

#include "memory.h"

#define DRIVER	"/sys/bus/pci/drivers/tenon"
#define MOST	2000	/* allocations of one call */
/* Rounds that fill caches, and each half of the others, with a look at memory before, between and after. */
#define FIRST	2
#define HALF	15

static struct starved {
	int fd, nth, event, prime, other;
	char fdinfo[64], node[64];
	struct buffer a, b;
	struct queue q, r;
	void *at;
} s;

struct state {
	long long contexts, bytes;
	char fdinfo[1024];
};

static void look(struct state *state)
{
	FILE *info = fopen(s.fdinfo, "r");
	size_t have = 0;

	memset(state, 0, sizeof(*state));
	state->contexts = info ? attribute("contexts") : -1;
	state->bytes = attribute("buffer_bytes");
	while (info && fgets(state->fdinfo + have, (int)(sizeof(state->fdinfo) - have), info)) {
		/* What was used comes to be known by and by. */
		if (strncmp(state->fdinfo + have, "drm-engine-compute:", strlen("drm-engine-compute:")))
			have += strlen(state->fdinfo + have);
		memset(state->fdinfo + have, 0, sizeof(state->fdinfo) - have);
	}
	if (info)
		fclose(info);
}

static bool is_as(const struct state *before)
{
	struct state now;
	int64_t end = now_ns() + LONG;

	/* A file's context ends after its close. */
	do {
		look(&now);
		if (now.contexts == before->contexts && now.contexts >= 0)
			break;
		sleep_ms(1);
	} while (now_ns() < end);
	if (!memcmp(&now, before, sizeof(now)))
		return true;
	printf("# %lld contexts, %lld bytes; were %lld, %lld\n# %s\n# %s\n", now.contexts, now.bytes, before->contexts,
	       before->bytes, before->fdinfo, now.fdinfo);
	return false;
}

static int nothing(void)
{
	return 0;
}

/* A call: what comes before and after it doesn't fail; @after gets what it returned. */
struct one {
	const char *name;
	int (*before)(void), (*call)(void);
	void (*after)(int error);
};

static int buffer_create(void)
{
	struct drm_tenon_buffer_create create = { .size = 3 * PAGE };
	int error = call(s.fd, DRM_IOCTL_TENON_BUFFER_CREATE, &create);

	s.b = (struct buffer){ .fd = s.fd, .handle = create.handle, .size = create.size };
	return error;
}

static int close_handle(void)
{
	return call(s.fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = s.b.handle });
}

static void end_create(int error)
{
	if (!error)
		close_handle();
}

static void end_close(int error)
{
	if (error)
		close_handle();
}

static int buffer_info(void)
{
	return call(s.fd, DRM_IOCTL_TENON_BUFFER_INFO, &(struct drm_tenon_buffer_info){ .handle = s.a.handle });
}

static void no_more(int)
{
}

static int map(void)
{
	return buffer_map(&s.b, 0, s.b.size, RW);
}

static void end_map(int error)
{
	if (!error)
		buffer_unmap(s.fd, s.b.id);
	close_handle();
}

static int mapped(void)
{
	int error = buffer_create();

	return error ? error : map();
}

static int unmap(void)
{
	return buffer_unmap(s.fd, s.b.id);
}

static void end_unmap(int error)
{
	end_map(error ? 0 : 1);
}

static int create_queue(void)
{
	return queue_create(s.fd, 8, s.event, &s.r);
}

static int destroy_queue(void)
{
	return queue_destroy(s.fd, s.r.made.queue);
}

static void end_queue(int error)
{
	if (!error)
		destroy_queue();
}

static void end_destroy(int error)
{
	if (error)
		destroy_queue();
}

static int kick(void)
{
	return queue_kick(s.fd, s.q.made.queue);
}

static int work(void)
{
	put(&s.q, TDI_OP_NOP);
	return submit(&s.q);
}

static int await(void)
{
	return queue_wait(s.fd, s.q.made.queue, s.q.tail, now_ns() + LONG);
}

static void end_work(int)
{
	struct tdi_cqe cqe;

	finish(&s.q, &cqe);
}

static int status(void)
{
	struct drm_tenon_context_status context;
	struct tdi_context_status of;

	return context_status(s.fd, &context, &of);
}

static int usage(void)
{
	struct tdi_usage usage;
	struct drm_tenon_query query = {
		.type = DRM_TENON_QUERY_USAGE, .size = sizeof(usage), .pointer = (uintptr_t)&usage,
	};

	return call(s.fd, DRM_IOCTL_TENON_QUERY, &query);
}

static int export(void)
{
	struct drm_prime_handle prime = { .handle = s.b.handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int error = call(s.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	s.prime = prime.fd;
	return error;
}

static void end_export(int error)
{
	if (!error)
		close(s.prime);
	close_handle();
}

static int exported(void)
{
	int error = buffer_create();

	if (error)
		return error;
	s.other = node_open();
	return s.other < 0 ? errno : export();
}

static int import(void)
{
	return call(s.other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &(struct drm_prime_handle){ .fd = s.prime });
}

static void end_import(int)
{
	close(s.other);
	end_export(0);
}

static int open_file(void)
{
	s.other = open(s.node, O_RDWR | O_CLOEXEC);
	return s.other < 0 ? errno : 0;
}

static void end_open(int error)
{
	if (!error)
		close(s.other);
}

/* What makes the context on the device. */
static int first_queue(void)
{
	return queue_create(s.other, 8, -1, &s.r);
}

static void end_first(int)
{
	close(s.other);
}

static int map_cpu(void)
{
	s.at = mmap(NULL, s.a.size, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, (off_t)s.a.offset);
	return s.at == MAP_FAILED ? errno : 0;
}

static int touch(void)
{
	*(volatile char *)s.at = 1;
	return 0;
}

static void end_touch(int)
{
	munmap(s.at, s.a.size);
}

static void end_map_cpu(int error)
{
	if (!error)
		munmap(s.at, s.a.size);
}

static int map_rings(void)
{
	s.at = mmap(NULL, s.q.made.tenant_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd,
		    (off_t)s.q.made.tenant_offset);
	return s.at == MAP_FAILED ? errno : 0;
}

static void end_map_rings(int error)
{
	if (!error)
		munmap(s.at, s.q.made.tenant_bytes);
}

static const struct one all[] = {
	{ "open", nothing, open_file, end_open },
	{ "first QUEUE_CREATE", open_file, first_queue, end_first },
	{ "QUERY", nothing, usage, no_more },
	{ "BUFFER_CREATE", nothing, buffer_create, end_create },
	{ "BUFFER_INFO", nothing, buffer_info, no_more },
	{ "BUFFER_MAP", buffer_create, map, end_map },
	{ "BUFFER_UNMAP", mapped, unmap, end_unmap },
	{ "GEM_CLOSE", buffer_create, close_handle, end_close },
	{ "QUEUE_CREATE", nothing, create_queue, end_queue },
	{ "QUEUE_DESTROY", create_queue, destroy_queue, end_destroy },
	{ "QUEUE_KICK", nothing, kick, no_more },
	{ "QUEUE_WAIT", work, await, end_work },
	{ "CONTEXT_STATUS", nothing, status, no_more },
	{ "PRIME_HANDLE_TO_FD", buffer_create, export, end_export },
	{ "PRIME_FD_TO_HANDLE", exported, import, end_import },
	{ "mmap of a buffer", nothing, map_cpu, end_map_cpu },
	{ "access to a buffer", map_cpu, touch, end_touch },
	{ "mmap of rings", nothing, map_rings, end_map_rings },
};

static bool nth_open(void)
{
	s.nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return s.nth >= 0;
}

static bool nth_set(unsigned int n)
{
	char text[16];
	int bytes = snprintf(text, sizeof(text), "%u", n);

	return pwrite(s.nth, text, (size_t)bytes, 0) == bytes;
}

/* How many are still to come until one fails, or -1. */
static int nth_left(void)
{
	char text[16] = "";

	return pread(s.nth, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : -1;
}

/*
 * Has the first @most of the call's allocations fail, if it has so many. Returns how many did, or -1; and how many
 * times so did the call, in @refused.
 */
static int starve(const struct one *one, unsigned int most, unsigned int *refused)
{
	struct state before, between;
	int error, left;

	*refused = 0;
	for (unsigned int n = 1; n <= most; n++) {
		look(&before);
		error = one->before();
		if (error) {
			printf("# %s: before it: %s\n", one->name, strerror(error));
			return -1;
		}
		look(&between);
		if (!nth_set(n))
			return -1;
		error = one->call();
		left = nth_left();
		nth_set(0);
		*refused += !!error;
		/* The context may be there now, though what it was made for is not. */
		if (error && one->call == first_queue)
			between.contexts = attribute("contexts");
		/* The core keeps a dma-buf with its object until the last handle is closed. */
		if (error && (error != ENOMEM || (one->call != export && !is_as(&between)))) {
			printf("# %s, allocation %u: %s\n", one->name, n, strerror(error));
			return -1;
		}
		one->after(error);
		if (!is_as(&before)) {
			printf("# %s, allocation %u: %s, and then\n", one->name, n, strerror(error));
			return -1;
		}
		if (left)
			return error || left < 0 ? -1 : (int)n - 1;
	}
	return (int)most;
}

static void write_to(const char *path, const char *word, int *error)
{
	int fd = open(path, O_WRONLY);

	*error = fd < 0 || write(fd, word, strlen(word)) != (ssize_t)strlen(word) ? errno : 0;
	close(fd);
}

/* The driver can't be bound, or it can, and then a tenant can use it. */
TEST(bound)
{
	char bound[64], device[16];
	int bind, error, left;
	unsigned int refused = 0, n;
	glob_t found;

	ASSERT_TRUE(nth_open());
	ASSERT_EQ(0, glob(DRIVER "/0000:*", 0, NULL, &found));
	snprintf(bound, sizeof(bound), "%s", found.gl_pathv[0]);
	snprintf(device, sizeof(device), "%s", strrchr(bound, '/') + 1);
	bind = open(DRIVER "/bind", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, bind);
	write_to(DRIVER "/unbind", device, &error);
	ASSERT_EQ(0, error);
	for (n = 1, left = 0; !left; n++) {
		ASSERT_TRUE(nth_set(n));
		error = write(bind, device, strlen(device)) < 0 ? errno : 0;
		left = nth_left();
		nth_set(0);
		/* Some functions of the core have other errors for it. */
		ASSERT_EQ(!error, !access(bound, F_OK))
			TH_LOG("allocation %u: %s", n, strerror(error));
		refused += !!error;
		if (error)
			continue;
		ASSERT_TRUE(usable())
			TH_LOG("allocation %u", n);
		write_to(DRIVER "/unbind", device, &error);
		ASSERT_EQ(0, error);
	}
	printf("# bind: %u allocations failed, %u calls\n", n - 2, refused);
	write_to(DRIVER "/bind", device, &error);
	ASSERT_EQ(0, error);
	EXPECT_TRUE(usable());
}

TEST(starved)
{
	unsigned int most[ARRAY_SIZE(all)], refusals = 0;
	static struct memory seen[3];
	char path[64];

	ASSERT_TRUE(nth_open());
	s.event = eventfd(0, EFD_CLOEXEC);
	s.fd = node_open();
	ASSERT_LE(0, s.fd);
	snprintf(s.fdinfo, sizeof(s.fdinfo), "/proc/self/fdinfo/%d", s.fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s.fd);
	ASSERT_LT(0, readlink(path, s.node, sizeof(s.node) - 1));
	ASSERT_EQ(0, buffer_make(s.fd, 3 * PAGE, RW, &s.a));
	ASSERT_EQ(0, queue_make(s.fd, 8, -1, &s.q));
	/* So that the pages of the next look aren't new to us. */
	memset(seen, 1, sizeof(seen));
	for (unsigned int round = 0; round < FIRST + 2 * HALF; round++) {
		if (round == FIRST || round == FIRST + HALF)
			ASSERT_TRUE(memory_look(&seen[round != FIRST]));
		for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
			unsigned int refused;
			int failed = starve(&all[i], round ? most[i] : MOST, &refused);

			ASSERT_LE(0, failed)
				TH_LOG("%s", all[i].name);
			if (!round) {
				ASSERT_GT(MOST, failed);
				most[i] = (unsigned int)failed;
				printf("# %s: %d allocations failed, %u calls\n", all[i].name, failed, refused);
			}
			refusals += refused;
		}
		put(&s.q, TDI_OP_NOP);
		ASSERT_EQ(TDI_SC_OK, run(&s.q));
	}
	/* Something was refused at all. */
	EXPECT_LT(10 * 2 * HALF, refusals);
	ASSERT_TRUE(memory_look(&seen[2]));
	EXPECT_TRUE(memory_kept(seen, HALF));
	ASSERT_TRUE(usable());
}

TEST_HARNESS_MAIN
