// SPDX-License-Identifier: MIT
/*
 * Wrong calls: each ends with the errno that <drm/tenon_drm.h> gives it, and leaves the structure passed, the
 * context, the handles and what fdinfo tells as they were. If this fails, a tenant can do what the interface
 * doesn't say, or a future member of a structure can't be added, since programs pass garbage in it today.
 */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

#include "tenon.h"

/* What refused() tells if a call that failed left a trace. */
#define CHANGED	EUCLEAN

/* One of each structure, and room for a longer one. */
union argument {
	struct drm_tenon_query query;
	struct drm_tenon_buffer_create create;
	struct drm_tenon_buffer_info info;
	struct drm_tenon_buffer_map map;
	struct drm_tenon_buffer_unmap unmap;
	struct drm_tenon_queue_create queue;
	struct drm_tenon_queue_destroy destroy;
	struct drm_tenon_queue_kick kick;
	struct drm_tenon_queue_wait wait;
	struct drm_tenon_context_status status;
	unsigned char bytes[512];
};

FIXTURE(ioctl) {
	int fd, other;
	struct buffer a, foreign;
	struct queue q, foreign_queue;
	struct tdi_context_status room;
	unsigned char *readonly;	/* a page, and after it none */
};

struct state {
	uint32_t handle;	/* the lowest free one */
	struct drm_tenon_context_status context;
	struct tdi_context_status status;
	char fdinfo[1024];
};

static struct state state(int fd)
{
	struct drm_tenon_buffer_create create = { .size = 1 };
	struct drm_gem_close gem;
	struct state s;
	char path[40];
	int info;

	memset(&s, 0, sizeof(s));
	if (!call(fd, DRM_IOCTL_TENON_BUFFER_CREATE, &create)) {
		s.handle = create.handle;
		gem = (struct drm_gem_close){ .handle = create.handle };
		call(fd, DRM_IOCTL_GEM_CLOSE, &gem);
	}
	context_status(fd, &s.context, &s.status);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY);
	if (info < 0 || read(info, s.fdinfo, sizeof(s.fdinfo) - 1) <= 0 || !s.handle || !s.context.size)
		printf("# the state can't be seen\n");
	close(info);
	s.context.pointer = 0;
	return s;
}

/* errno of a call; CHANGED if it left a trace, in an argument of @bytes or elsewhere. */
static int refused(int fd, unsigned long cmd, void *arg, size_t bytes)
{
	struct state before = state(fd), after;
	unsigned char copy[sizeof(union argument)];
	int error;

	memcpy(copy, arg, bytes);
	error = call(fd, cmd, arg);
	after = state(fd);
	/* What was refused for a limit is told; that is looked at by whoever asks for too much. */
	after.context.needed = before.context.needed;
	after.context.allowed = before.context.allowed;
	if (memcmp(copy, arg, bytes) || memcmp(&before, &after, sizeof(before))) {
		printf("# nr %#lx, errno %d: changed the %s\n", _IOC_NR(cmd), error,
		       memcmp(copy, arg, bytes) ? "argument" : "context");
		return CHANGED;
	}
	return error;
}

FIXTURE_SETUP(ioctl)
{
	self->fd = node_open();
	self->other = node_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->other);
	ASSERT_EQ(0, buffer_make(self->fd, 2 * PAGE, RW, &self->a));
	ASSERT_EQ(0, queue_make(self->fd, 4, -1, &self->q));
	/* The other has more of all, so that it has ids that we haven't. */
	for (unsigned int i = 0; i < 10; i++) {
		ASSERT_EQ(0, buffer_make(self->other, PAGE, RW, &self->foreign));
		ASSERT_EQ(0, queue_make(self->other, 4, -1, &self->foreign_queue));
	}
	self->readonly = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->readonly);
	ASSERT_EQ(0, munmap(self->readonly + PAGE, PAGE));
}

FIXTURE_TEARDOWN(ioctl)
{
	/* Whatever was refused, both contexts still work. */
	put_fill(&self->q, self->a.id, 0, 2 * PAGE, 0x11);
	EXPECT_EQ(TDI_SC_OK, run(&self->q));
	EXPECT_TRUE(all_bytes(self->a.data, 0x11, 2 * PAGE));
	put_fill(&self->foreign_queue, self->foreign.id, 0, PAGE, 0x22);
	EXPECT_EQ(TDI_SC_OK, run(&self->foreign_queue));
	close(self->fd);
	close(self->other);
}

static const unsigned long ioctls[] = {
	DRM_IOCTL_TENON_QUERY, DRM_IOCTL_TENON_BUFFER_CREATE, DRM_IOCTL_TENON_BUFFER_INFO,
	DRM_IOCTL_TENON_BUFFER_MAP, DRM_IOCTL_TENON_BUFFER_UNMAP, DRM_IOCTL_TENON_QUEUE_CREATE,
	DRM_IOCTL_TENON_QUEUE_DESTROY, DRM_IOCTL_TENON_QUEUE_KICK, DRM_IOCTL_TENON_QUEUE_WAIT,
	DRM_IOCTL_TENON_CONTEXT_STATUS,
};

/* An argument that the call would take; what it names may be used up by it. */
static union argument good(FIXTURE_DATA(ioctl) *self, unsigned long cmd)
{
	union argument arg;

	memset(&arg, 0, sizeof(arg));
	switch (cmd) {
	case DRM_IOCTL_TENON_QUERY:
		arg.query = (struct drm_tenon_query){
			.type = DRM_TENON_QUERY_QUEUE_USAGE, .size = 64, .pointer = (uintptr_t)&self->room,
			.id = self->q.made.queue,
		};
		break;
	case DRM_IOCTL_TENON_BUFFER_CREATE:
		arg.create.size = 100;
		break;
	case DRM_IOCTL_TENON_BUFFER_INFO:
		arg.info.handle = self->a.handle;
		break;
	case DRM_IOCTL_TENON_BUFFER_MAP:
		arg.map = (struct drm_tenon_buffer_map){ .handle = self->a.handle, .flags = RW, .bytes = 100 };
		break;
	case DRM_IOCTL_TENON_BUFFER_UNMAP:
		arg.unmap.buffer = self->a.id;
		break;
	case DRM_IOCTL_TENON_QUEUE_CREATE:
		arg.queue = (struct drm_tenon_queue_create){ .depth = 4, .eventfd = -1 };
		break;
	case DRM_IOCTL_TENON_QUEUE_DESTROY:
	case DRM_IOCTL_TENON_QUEUE_KICK:
		arg.kick.queue = self->q.made.queue;
		break;
	case DRM_IOCTL_TENON_QUEUE_WAIT:
		/* As if the lap before had completed. */
		arg.wait = (struct drm_tenon_queue_wait){
			.queue = self->q.made.queue, .sequence = self->q.made.first,
		};
		break;
	case DRM_IOCTL_TENON_CONTEXT_STATUS:
		arg.status = (struct drm_tenon_context_status){ .pointer = (uintptr_t)&self->room, .size = 64 };
		break;
	}
	return arg;
}

/* Does the call, which works, and takes it back; or its errno. */
static int done(FIXTURE_DATA(ioctl) *self, unsigned long cmd, union argument *arg)
{
	int error = call(self->fd, cmd, arg);

	if (error)
		return error;
	switch (_IOC_NR(cmd)) {
	case _IOC_NR(DRM_IOCTL_TENON_BUFFER_CREATE):
		return call(self->fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = arg->create.handle });
	case _IOC_NR(DRM_IOCTL_TENON_BUFFER_MAP):
		return buffer_unmap(self->fd, arg->map.buffer);
	case _IOC_NR(DRM_IOCTL_TENON_BUFFER_UNMAP):
		return buffer_map(&self->a, 0, self->a.size, RW);
	case _IOC_NR(DRM_IOCTL_TENON_QUEUE_CREATE):
		return queue_destroy(self->fd, arg->queue.queue);
	case _IOC_NR(DRM_IOCTL_TENON_QUEUE_DESTROY):
		queue_unmap(&self->q);
		return queue_make(self->fd, 4, -1, &self->q);
	}
	return 0;
}

/* A structure of another size: shorter only if it has grown since, longer if the rest is 0. */
TEST_F(ioctl, sizes)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++) {
		unsigned int size = _IOC_SIZE(ioctls[i]), dir = _IOC_DIR(ioctls[i]);

#define RESIZED(size) _IOC(dir, DRM_IOCTL_BASE, _IOC_NR(ioctls[i]), size)
		for (unsigned int shorter = 0; shorter < size; shorter += shorter < size - 4 ? 4 : 1) {
			union argument arg = good(self, ioctls[i]);

			if (ioctls[i] != DRM_IOCTL_TENON_QUERY || shorter < offsetof(struct drm_tenon_query, id)) {
				EXPECT_EQ(EINVAL, refused(self->fd, RESIZED(shorter), &arg, sizeof(arg)));
				continue;
			}
			/* The first version's programs: what follows in their memory isn't looked at. */
			arg.query.type = DRM_TENON_QUERY_USAGE;
			arg.query.id = 0;
			memset(arg.bytes + shorter, 0xff, sizeof(arg) - shorter);
			EXPECT_EQ(0, call(self->fd, RESIZED(shorter), &arg));
		}
		for (unsigned int longer = size + 1; longer <= sizeof(union argument); longer += 1 + longer / 3) {
			union argument arg = good(self, ioctls[i]);

			EXPECT_EQ(0, done(self, RESIZED(longer), &arg));
			arg = good(self, ioctls[i]);
			arg.bytes[longer - 1] = 1;
			EXPECT_EQ(E2BIG, refused(self->fd, RESIZED(longer), &arg, sizeof(arg)));
			arg = good(self, ioctls[i]);
			arg.bytes[size] = 0x80;
			EXPECT_EQ(E2BIG, refused(self->fd, RESIZED(longer), &arg, sizeof(arg)));
		}
		{
			union argument arg = good(self, ioctls[i]);

			EXPECT_EQ(0, done(self, ioctls[i], &arg));
		}
	}
}

/* A number of ours with another direction isn't our call. */
TEST_F(ioctl, directions)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++) {
		for (unsigned int dir = 0; dir < 4; dir++) {
			union argument arg = good(self, ioctls[i]);

			if (dir != _IOC_DIR(ioctls[i]))
				EXPECT_EQ(EINVAL, refused(self->fd, _IOC(dir, DRM_IOCTL_BASE, _IOC_NR(ioctls[i]),
									 _IOC_SIZE(ioctls[i])), &arg, sizeof(arg)));
		}
	}
}

/* Members that must be 0, and bits of flags that mean nothing yet. */
TEST_F(ioctl, reserved)
{
#define MEMBER(nr, type, member) { \
		DRM_IOCTL_TENON_##nr, #type "." #member, offsetof(struct drm_tenon_##type, member), \
		8 * sizeof(((struct drm_tenon_##type *)0)->member), 0, \
	}
	static const struct {
		unsigned long cmd;
		const char *name;
		size_t offset;
		unsigned int bits;
		uint64_t known;		/* bits that mean something */
	} member[] = {
		MEMBER(QUERY, query, reserved),
		MEMBER(BUFFER_CREATE, buffer_create, flags),
		MEMBER(BUFFER_INFO, buffer_info, flags),
		MEMBER(BUFFER_INFO, buffer_info, size),
		MEMBER(BUFFER_INFO, buffer_info, offset),
		{ DRM_IOCTL_TENON_BUFFER_MAP, "buffer_map.flags", offsetof(struct drm_tenon_buffer_map, flags), 32, RW },
		MEMBER(BUFFER_MAP, buffer_map, buffer),
		MEMBER(BUFFER_MAP, buffer_map, reserved),
		MEMBER(BUFFER_UNMAP, buffer_unmap, reserved),
		MEMBER(QUEUE_CREATE, queue_create, flags),
		MEMBER(QUEUE_CREATE, queue_create, queue),
		MEMBER(QUEUE_CREATE, queue_create, first),
		MEMBER(QUEUE_CREATE, queue_create, tenant_offset),
		MEMBER(QUEUE_CREATE, queue_create, device_offset),
		MEMBER(QUEUE_CREATE, queue_create, doorbell_offset),
		MEMBER(QUEUE_CREATE, queue_create, tenant_bytes),
		MEMBER(QUEUE_CREATE, queue_create, device_bytes),
		MEMBER(QUEUE_DESTROY, queue_destroy, reserved),
		MEMBER(QUEUE_KICK, queue_kick, reserved),
		MEMBER(QUEUE_WAIT, queue_wait, flags),
		MEMBER(QUEUE_WAIT, queue_wait, reserved),
		MEMBER(CONTEXT_STATUS, context_status, flags),
		MEMBER(CONTEXT_STATUS, context_status, needed),
		MEMBER(CONTEXT_STATUS, context_status, allowed),
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(member); i++) {
		for (unsigned int bit = 0; bit < member[i].bits; bit++) {
			union argument arg = good(self, member[i].cmd);
			int error;

			/* Of flags each, of the others some: one bit takes its time. */
			if (member[i].known >> bit & 1 || (!strstr(member[i].name, "flags") && bit % (member[i].bits - 1) &&
							   bit != 12))
				continue;
			arg.bytes[member[i].offset + bit / 8] |= (unsigned char)(1 << bit % 8);
			error = refused(self->fd, member[i].cmd, &arg, sizeof(arg));
			EXPECT_EQ(EINVAL, error)
				TH_LOG("%s bit %u", member[i].name, bit);
		}
	}
}

TEST_F(ioctl, values)
{
	static const struct {
		int error;
		uint64_t offset, bytes;
	} range[] = {
		{ EINVAL, 0, 0 }, { EINVAL, 0, 2 * PAGE + 1 }, { EINVAL, 2 * PAGE, 1 }, { EINVAL, 1, 2 * PAGE },
		{ EINVAL, UINT64_MAX, 1 }, { EINVAL, UINT64_MAX, 2 }, { EINVAL, 1, UINT64_MAX },
		{ EINVAL, PAGE, UINT64_MAX - PAGE + 2 }, { EINVAL, 1ULL << 63, 1ULL << 63 },
	};
	static const uint32_t depth[] = { 0, 3, 5, 0xffff, 0x80000000, 0xffffffff };
	union argument arg;

	for (unsigned int i = 0; i < ARRAY_SIZE(range); i++) {
		arg = good(self, DRM_IOCTL_TENON_BUFFER_MAP);
		arg.map.offset = range[i].offset;
		arg.map.bytes = range[i].bytes;
		EXPECT_EQ(range[i].error, refused(self->fd, DRM_IOCTL_TENON_BUFFER_MAP, &arg, sizeof(arg)));
	}
	arg = good(self, DRM_IOCTL_TENON_BUFFER_MAP);
	arg.map.flags = 0;
	EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_BUFFER_MAP, &arg, sizeof(arg)));

	for (unsigned int i = 0; i < ARRAY_SIZE(depth); i++) {
		arg = good(self, DRM_IOCTL_TENON_QUEUE_CREATE);
		arg.queue.depth = depth[i];
		EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_QUEUE_CREATE, &arg, sizeof(arg)));
	}
	arg = good(self, DRM_IOCTL_TENON_QUEUE_CREATE);
	arg.queue.depth = 2 * limits(self->fd).depth;
	EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_QUEUE_CREATE, &arg, sizeof(arg)));
	arg = good(self, DRM_IOCTL_TENON_QUEUE_CREATE);
	arg.queue.eventfd = 9999;
	EXPECT_EQ(EBADF, refused(self->fd, DRM_IOCTL_TENON_QUEUE_CREATE, &arg, sizeof(arg)));
	arg.queue.eventfd = self->fd;
	EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_QUEUE_CREATE, &arg, sizeof(arg)));

	arg = good(self, DRM_IOCTL_TENON_BUFFER_CREATE);
	arg.create.size = 0;
	EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_BUFFER_CREATE, &arg, sizeof(arg)));

	for (uint32_t type = DRM_TENON_QUERY_QUEUE_USAGE + 1; type; type = type < 8 ? type + 1 : type << 1) {
		arg = good(self, DRM_IOCTL_TENON_QUERY);
		arg.query.type = type;
		EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
	}
	for (uint32_t type = 0; type <= DRM_TENON_QUERY_QUEUE_USAGE; type++) {
		arg = good(self, DRM_IOCTL_TENON_QUERY);
		arg.query.type = type;
		if (type != DRM_TENON_QUERY_QUEUE_USAGE) {
			arg.query.id = 0x10000;
			EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
			arg.query.id = 0;
		}
		arg.query.size = 4097;
		EXPECT_EQ(E2BIG, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
		arg.query.size = UINT32_MAX;
		EXPECT_EQ(E2BIG, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
	}
	arg = good(self, DRM_IOCTL_TENON_CONTEXT_STATUS);
	arg.status.size = 4097;
	EXPECT_EQ(E2BIG, refused(self->fd, DRM_IOCTL_TENON_CONTEXT_STATUS, &arg, sizeof(arg)));
	arg.status.size = UINT32_MAX;
	EXPECT_EQ(E2BIG, refused(self->fd, DRM_IOCTL_TENON_CONTEXT_STATUS, &arg, sizeof(arg)));
	arg.status.pointer = 0;
	EXPECT_EQ(EINVAL, refused(self->fd, DRM_IOCTL_TENON_CONTEXT_STATUS, &arg, sizeof(arg)));
}

/* Ids that nobody has, that were ours, and that another file has. */
TEST_F(ioctl, ids)
{
	struct buffer gone;
	struct queue gone_queue;

	ASSERT_EQ(0, buffer_make(self->fd, PAGE, RW, &gone));
	buffer_end(&gone);
	ASSERT_EQ(0, queue_make(self->fd, 4, -1, &gone_queue));
	queue_unmap(&gone_queue);
	ASSERT_EQ(0, queue_destroy(self->fd, gone_queue.made.queue));
	{
		const uint32_t handles[] = { 0, gone.handle, self->foreign.handle, 0x7fffffff, 0xffffffff };
		const uint32_t buffers[] = {
			0, gone.id, self->foreign.id, self->a.id ^ TDI_BUFFER_ID(0, 2), self->a.id & 0xffffff, 0xffffffff,
		};
		const uint32_t queues[] = {
			gone_queue.made.queue, self->foreign_queue.made.queue, 0x7fffffff, 0xffffffff,
		};
		union argument arg;

		for (unsigned int i = 0; i < ARRAY_SIZE(handles); i++) {
			arg = good(self, DRM_IOCTL_TENON_BUFFER_INFO);
			arg.info.handle = handles[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_BUFFER_INFO, &arg, sizeof(arg)));
			arg = good(self, DRM_IOCTL_TENON_BUFFER_MAP);
			arg.map.handle = handles[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_BUFFER_MAP, &arg, sizeof(arg)));
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(buffers); i++) {
			arg = good(self, DRM_IOCTL_TENON_BUFFER_UNMAP);
			arg.unmap.buffer = buffers[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_BUFFER_UNMAP, &arg, sizeof(arg)));
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(queues); i++) {
			arg = good(self, DRM_IOCTL_TENON_QUEUE_KICK);
			arg.kick.queue = queues[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_QUEUE_KICK, &arg, sizeof(arg)));
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_QUEUE_DESTROY, &arg, sizeof(arg)));
			arg = good(self, DRM_IOCTL_TENON_QUERY);
			arg.query.id = queues[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
			arg = good(self, DRM_IOCTL_TENON_QUEUE_WAIT);
			arg.wait.queue = queues[i];
			EXPECT_EQ(ENOENT, refused(self->fd, DRM_IOCTL_TENON_QUEUE_WAIT, &arg, sizeof(arg)));
		}
	}
}

/* Arguments and results where there is no memory, or none to write. */
TEST_F(ioctl, memory)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++) {
		unsigned int size = _IOC_SIZE(ioctls[i]);
		union argument arg = good(self, ioctls[i]);
		unsigned char *page = self->readonly;
		struct state before;

		ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ | PROT_WRITE));
		memcpy(page, &arg, size);
		memcpy(page + PAGE - size + 4, &arg, size - 4);
		ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ));
		before = state(self->fd);
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], NULL));
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], (void *)(uintptr_t)1));
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], (void *)-PAGE));
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], (void *)(UINTPTR_MAX / 2 + 1)));
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], page + PAGE));
		EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], page + PAGE - size + 4));
		if (_IOC_DIR(ioctls[i]) & _IOC_READ)
			EXPECT_EQ(EFAULT, call(self->fd, ioctls[i], page));
		{
			struct state after = state(self->fd);

			EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)))
				TH_LOG("ioctl %u", i);
		}
	}
	for (uint32_t type = 0; type <= DRM_TENON_QUERY_QUEUE_USAGE + 1; type++) {
		const uint64_t pointers[] = {
			1, (uintptr_t)self->readonly, (uintptr_t)self->readonly + PAGE, (uintptr_t)-PAGE, UINT64_MAX - 7,
			0xffff888000000000,
		};

		for (unsigned int i = 0; i < ARRAY_SIZE(pointers); i++) {
			union argument arg;

			memset(&arg, 0, sizeof(arg));
			if (type <= DRM_TENON_QUERY_QUEUE_USAGE) {
				arg.query = (struct drm_tenon_query){ .type = type, .size = 1024, .pointer = pointers[i] };
				if (type == DRM_TENON_QUERY_QUEUE_USAGE)
					arg.query.id = self->q.made.queue;
				EXPECT_EQ(EFAULT, refused(self->fd, DRM_IOCTL_TENON_QUERY, &arg, sizeof(arg)));
			} else {
				arg.status = (struct drm_tenon_context_status){ .size = 1024, .pointer = pointers[i] };
				EXPECT_EQ(EFAULT, refused(self->fd, DRM_IOCTL_TENON_CONTEXT_STATUS, &arg, sizeof(arg)));
			}
		}
	}
}

/* As many queues as LIMITS says, not one more, and as many again when they are gone. */
TEST_F(ioctl, queue_limit)
{
	uint32_t allowed = limits(self->fd).queues, queues[TDI_CONTEXT_QUEUES], count;
	struct drm_tenon_context_status context;
	struct queue q;

	ASSERT_LE(2, allowed);
	ASSERT_GE(TDI_CONTEXT_QUEUES, allowed);
	for (unsigned int round = 0; round < 2; round++) {
		for (count = 0; count < allowed - 1; count++) {
			ASSERT_EQ(0, queue_create(self->fd, 4, -1, &q));
			queues[count] = q.made.queue;
		}
		for (unsigned int i = 0; i < 3; i++) {
			union argument arg = good(self, DRM_IOCTL_TENON_QUEUE_CREATE);

			EXPECT_EQ(ENOSPC, refused(self->fd, DRM_IOCTL_TENON_QUEUE_CREATE, &arg, sizeof(arg)));
		}
		ASSERT_EQ(0, context_status(self->fd, &context, NULL));
		EXPECT_EQ(allowed, context.allowed);
		EXPECT_EQ(allowed + 1, context.needed);
		/* The other has its own. */
		ASSERT_EQ(0, queue_create(self->other, 4, -1, &q));
		ASSERT_EQ(0, queue_destroy(self->other, q.made.queue));
		while (count)
			ASSERT_EQ(0, queue_destroy(self->fd, queues[--count]));
	}
}

static int create(int fd, uint64_t size, uint32_t *handle)
{
	struct drm_tenon_buffer_create create = { .size = size };
	int error = call(fd, DRM_IOCTL_TENON_BUFFER_CREATE, &create);

	*handle = create.handle;
	return error;
}

/* As much memory as LIMITS says for both contexts together, not a page more, and as much again when it is gone. */
/* When what the tests before have closed is gone. */
static uint64_t pinned_bytes(void)
{
	long long last, now = attribute("pinned_bytes");

	do {
		last = now;
		sleep_ms(200);
		now = attribute("pinned_bytes");
	} while (attribute("contexts") > 2 || now != last);
	return (uint64_t)now;
}

TEST_F(ioctl, memory_limit)
{
	/* Buffers, and the rings of queues. */
	uint64_t allowed = limits(self->fd).memory_bytes, used = pinned_bytes();
	const uint64_t sizes[] = { allowed - used + 1, allowed, allowed + 1, 1ULL << 40, 1ULL << 62 };
	struct drm_tenon_context_status context;
	uint32_t handle, piece[64];
	union argument arg;

	/* A page more can't be counted in 64 bits. */
	for (uint64_t size = UINT64_MAX; size > UINT64_MAX - PAGE; size -= PAGE / 3) {
		arg = good(self, DRM_IOCTL_TENON_BUFFER_CREATE);
		arg.create.size = size;
		EXPECT_EQ(ENOMEM, refused(self->fd, DRM_IOCTL_TENON_BUFFER_CREATE, &arg, sizeof(arg)));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		arg = good(self, DRM_IOCTL_TENON_BUFFER_CREATE);
		arg.create.size = sizes[i];
		EXPECT_EQ(ENOMEM, refused(self->fd, DRM_IOCTL_TENON_BUFFER_CREATE, &arg, sizeof(arg)));
		/* Once more, since the look at the state has closed a buffer meanwhile. */
		ASSERT_EQ(ENOMEM, create(self->fd, sizes[i], &handle));
		ASSERT_EQ(0, context_status(self->fd, &context, NULL));
		EXPECT_EQ(allowed, context.allowed);
		/* What can never be isn't added to what there is. */
		if (sizes[i] <= allowed) {
			EXPECT_EQ((sizes[i] + PAGE - 1) / PAGE * PAGE + used, context.needed);
		} else {
			EXPECT_LE(sizes[i], context.needed);
		}
	}
	for (unsigned int round = 0; round < 3; round++) {
		uint64_t bytes = (allowed - used) / ARRAY_SIZE(piece) / PAGE * PAGE, left = allowed - used;

		for (unsigned int i = 0; i < ARRAY_SIZE(piece); i++) {
			ASSERT_EQ(0, create(i % 2 ? self->other : self->fd, bytes, &piece[i]));
			left -= bytes;
		}
		EXPECT_EQ(ENOMEM, create(self->fd, left + 1, &handle));
		EXPECT_EQ(ENOMEM, create(self->other, left + 1, &handle));
		for (unsigned int i = 0; i < ARRAY_SIZE(piece); i++)
			ASSERT_EQ(0, call(i % 2 ? self->other : self->fd, DRM_IOCTL_GEM_CLOSE,
					  &(struct drm_gem_close){ .handle = piece[i] }));
	}
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void signals(int flags, unsigned int us)
{
	struct itimerval timer = { .it_interval.tv_usec = us, .it_value.tv_usec = us };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

TEST_F(ioctl, waits)
{
	struct queue *q = &self->q;
	uint32_t id = q->made.queue;
	int64_t deadline, deadlines[] = { INT64_MIN, -1, 0, 1, now_ns() };
	struct tdi_cqe cqe;

	/* Nothing is submitted. */
	for (uint32_t ahead = 1; ahead; ahead <<= 1)
		EXPECT_EQ(EINVAL, queue_wait(self->fd, id, q->tail + ahead, INT64_MAX));
	put_wait(q, self->a.id, 0, 1, LONG);
	ASSERT_EQ(0, submit(q));
	EXPECT_EQ(EINVAL, queue_wait(self->fd, id, q->tail + 1, INT64_MAX));
	EXPECT_EQ(0, queue_wait(self->fd, id, q->tail - 1, INT64_MAX));
	for (unsigned int i = 0; i < ARRAY_SIZE(deadlines); i++)
		EXPECT_EQ(ETIME, queue_wait(self->fd, id, q->tail, deadlines[i]));
	/* Signals restart it, and the deadline stays where it was. */
	signals(SA_RESTART, 3000);
	for (unsigned int i = 0; i < 10; i++) {
		deadline = now_ns() + SECOND / 20;
		EXPECT_EQ(ETIME, queue_wait(self->fd, id, q->tail, deadline));
		EXPECT_LE(deadline, now_ns());
	}
	signals(0, 3000);
	EXPECT_EQ(EINTR, queue_wait(self->fd, id, q->tail, now_ns() + LONG));
	EXPECT_EQ(EINTR, queue_wait(self->fd, id, q->tail, INT64_MAX));
	signals(0, 0);
	*(volatile uint64_t *)self->a.data = 1;
	ASSERT_EQ(0, queue_kick(self->fd, id));
	ASSERT_EQ(0, finish(q, &cqe));
	EXPECT_EQ(TDI_SC_OK, cqe.status);
	EXPECT_EQ(0, queue_wait(self->fd, id, q->tail, 0));
}

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Anything at all: nobody has to be pleased, but the kernel and both contexts live on. */
TEST_F(ioctl, garbage)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 4, PAGE, 0x7fffffff, 0xffffffff, 1ULL << 63, UINT64_MAX };
	void *room = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = node_open();
	uint64_t seed = 0x1234567;

	ASSERT_NE(MAP_FAILED, room);
	ASSERT_LE(0, fd);
	for (unsigned int i = 0; i < 4000; i++) {
		unsigned long cmd = ioctls[rnd(&seed) % ARRAY_SIZE(ioctls)];
		union argument arg = good(self, cmd);
		uint64_t value = rnd(&seed) % 2 ? odd[rnd(&seed) % ARRAY_SIZE(odd)] : rnd(&seed);
		unsigned int words = _IOC_SIZE(cmd) / 4;

		memcpy(arg.bytes + 4 * (rnd(&seed) % words), &value, rnd(&seed) % 2 ? 4 : 8);
		/* But a wait that lasts, or a result in the midst of this program. */
		if (cmd == DRM_IOCTL_TENON_QUEUE_WAIT)
			arg.wait.deadline_ns = 0;
		if (cmd == DRM_IOCTL_TENON_QUERY)
			arg.query.pointer = (uintptr_t)room;
		if (cmd == DRM_IOCTL_TENON_CONTEXT_STATUS)
			arg.status.pointer = (uintptr_t)room;
		call(fd, cmd, &arg);
	}
	EXPECT_EQ(0, close(fd));
}

TEST_HARNESS_MAIN
