// SPDX-License-Identifier: MIT
/*
 * The control socket for faults, and the trace; see faults.h. Compiled with -Dfaults=true alone.
 *
 * A line is a request. The answer is lines that begin with a blank, if it has anything to show, and then a
 * line that begins with "ok" or "error".
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "attach/listen.h"
#include "attach/pci.h"
#include "attach/vfio-user.h"
#include "device.h"
#include "faults.h"

#define LASTS		(-1)		/* until "go" */
#define LATE_MAX	64
#define SEND_S		5		/* for a test that doesn't read */

struct late {
	uint64_t due;			/* ns */
	uint32_t vector;
};

static struct {
	struct tn_vfu *attach;
	struct tn_pci *pci;
	int epoll, listen, client, timer;
	char line[256];
	size_t have;
	uint32_t held;			/* index of the admin command that is held */
	uint64_t old;			/* address that an UNMAP or DESTROY ended, or is about to */
	enum { OLD_NONE, OLD_ENDING, OLD_ENDED } old_state;
	/* from any thread */
	int32_t armed[TN_FAULTS];	/* atomic: LASTS, or how many are left */
	uint32_t value[TN_FAULTS];	/* atomic */
	pthread_mutex_t lock;		/* of what follows; taken last */
	int trace;			/* -1: none */
	uint64_t lines;
	uint64_t held_until;		/* 0: no admin command is held */
	bool held_timer;		/* that time is still to come */
	bool old_due;			/* access it */
	struct late late[LATE_MAX];
	unsigned int late_count;
} faults = { .lock = PTHREAD_MUTEX_INITIALIZER, .client = -1, .trace = -1 };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------------ from any thread */

bool tn_fault(enum tn_fault fault)
{
	int32_t left = __atomic_load_n(&faults.armed[fault], __ATOMIC_RELAXED);

	while (left > 0)
		if (__atomic_compare_exchange_n(&faults.armed[fault], &left, left - 1, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	return left == LASTS;
}

uint32_t tn_fault_value(enum tn_fault fault)
{
	return __atomic_load_n(&faults.value[fault], __ATOMIC_RELAXED);
}

void tn_trace(const char *format, ...)
{
	va_list args;
	char line[160];

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	pthread_mutex_lock(&faults.lock);
	if (faults.trace >= 0)
		dprintf(faults.trace, " %llu %s\n", (unsigned long long)++faults.lines, line);
	pthread_mutex_unlock(&faults.lock);
}

/* With the lock, after a change of what is due: when to call tn_faults_serve(), besides for requests. */
static void set_timer(void)
{
	uint64_t at = faults.old_due ? 1 : faults.held_timer ? faults.held_until : 0;
	struct itimerspec timer = { 0 };
	unsigned int i;

	for (i = 0; i < faults.late_count; i++)
		if (!at || faults.late[i].due < at)
			at = faults.late[i].due;
	timer.it_value.tv_sec = (time_t)(at / 1000000000);
	timer.it_value.tv_nsec = (long)(at % 1000000000);
	timerfd_settime(faults.timer, TFD_TIMER_ABSTIME, &timer, NULL);
}

bool tn_fault_interrupt(uint32_t vector)
{
	bool late = false;

	if (FAULT(irq_lost)) {
		TRACE("irq %u lost", vector);
		return true;
	}
	if (!FAULT(irq_late))
		return false;
	pthread_mutex_lock(&faults.lock);
	if (faults.late_count < LATE_MAX) {
		faults.late[faults.late_count++] = (struct late){
			.due = now_ns() + FAULT_VALUE(irq_late) * 1000000ULL,
			.vector = vector,
		};
		set_timer();
		late = true;
	}
	pthread_mutex_unlock(&faults.lock);
	return late;
}

const char *tn_fault_register(uint64_t offset)
{
	static const char *const name[] = {
		[TDI_REG_ACCEPT] = "ACCEPT", [TDI_REG_CONFIG] = "CONFIG",
		[TDI_REG_ADMIN_DEPTH] = "ADMIN_DEPTH", [TDI_REG_ADMIN_SQ] = "ADMIN_SQ",
		[TDI_REG_ADMIN_CQ] = "ADMIN_CQ", [TDI_REG_ADMIN_FIRST] = "ADMIN_FIRST",
		[TDI_REG_ADMIN_TAIL] = "ADMIN_TAIL", [TDI_REG_RESET] = "RESET",
	};

	if (offset >= TDI_REG_EQ_HEAD(0))
		return "EQ_HEAD";
	return offset < sizeof(name) / sizeof(name[0]) && name[offset] ? name[offset] : "?";
}

/* ------------------------------------------------------------------------- admin commands */

bool tn_fault_admin_held(uint32_t index)
{
	bool held = true;

	if (FAULT(stall_admin))
		return true;
	pthread_mutex_lock(&faults.lock);
	if (!faults.held_until || faults.held != index) {
		held = FAULT(late_admin);
		faults.held = index;
		faults.held_until = held ? now_ns() + FAULT_VALUE(late_admin) * 1000000ULL : 0;
		faults.held_timer = held;
		set_timer();
	} else if (now_ns() >= faults.held_until) {
		faults.held_until = 0;
		held = false;
	}
	pthread_mutex_unlock(&faults.lock);
	return held;
}

/* An address that the command takes from the device, before it is run. */
static bool address_of(struct tn_device *device, const struct tdi_admin_sqe *sqe, uint64_t *address)
{
	if (sqe->opcode == TDI_ADMIN_QUEUE_DESTROY && sqe->queue.queue < TN_MAX_QUEUES &&
	    device->queue[sqe->queue.queue]) {
		*address = device->queue[sqe->queue.queue]->view[3].address;
		return true;
	}
	return sqe->opcode == TDI_ADMIN_BUFFER_UNMAP && sqe->buffer.context < TN_MAX_CONTEXTS &&
	       device->context[sqe->buffer.context] &&
	       !tn_mem_address(&device->context[sqe->buffer.context]->table, sqe->buffer.buffer, 0, address);
}

void tn_fault_admin(struct tn_device *device, const struct tdi_admin_sqe *sqe)
{
	static const char *const name[] = {
		[TDI_ADMIN_IDENTIFY] = "IDENTIFY", [TDI_ADMIN_GET_LOG] = "GET_LOG",
		[TDI_ADMIN_KEEP_ALIVE] = "KEEP_ALIVE", [TDI_ADMIN_ABORT] = "ABORT",
		[TDI_ADMIN_QUIESCE] = "QUIESCE", [TDI_ADMIN_RESUME] = "RESUME",
		[TDI_ADMIN_EQ_CREATE] = "EQ_CREATE", [TDI_ADMIN_EQ_DESTROY] = "EQ_DESTROY",
		[TDI_ADMIN_GROUP_CREATE] = "GROUP_CREATE", [TDI_ADMIN_GROUP_MODIFY] = "GROUP_MODIFY",
		[TDI_ADMIN_GROUP_DESTROY] = "GROUP_DESTROY", [TDI_ADMIN_CONTEXT_CREATE] = "CONTEXT_CREATE",
		[TDI_ADMIN_CONTEXT_DESTROY] = "CONTEXT_DESTROY", [TDI_ADMIN_CONTEXT_RESET] = "CONTEXT_RESET",
		[TDI_ADMIN_QUEUE_CREATE] = "QUEUE_CREATE", [TDI_ADMIN_QUEUE_DESTROY] = "QUEUE_DESTROY",
		[TDI_ADMIN_QUEUE_RESET] = "QUEUE_RESET", [TDI_ADMIN_BUFFER_MAP] = "BUFFER_MAP",
		[TDI_ADMIN_BUFFER_UNMAP] = "BUFFER_UNMAP",
	};
	const char *known = sqe->opcode < sizeof(name) / sizeof(name[0]) ? name[sqe->opcode] : NULL;
	char buffer[24] = "";

	if (sqe->opcode == TDI_ADMIN_BUFFER_MAP || sqe->opcode == TDI_ADMIN_BUFFER_UNMAP)
		snprintf(buffer, sizeof(buffer), " buffer 0x%08x", sqe->buffer.buffer);
	/* The id that every union member has first: but for buffers, whose context it is. */
	TRACE("admin %s command %u id %u generation %u%s", known ? known : "?", sqe->command, sqe->eq.eq,
	      sqe->generation, buffer);
	if (faults.old_state == OLD_NONE &&
	    __atomic_load_n(&faults.armed[TN_FAULT_after_unmap], __ATOMIC_RELAXED) &&
	    address_of(device, sqe, &faults.old) && FAULT(after_unmap))
		faults.old_state = OLD_ENDING;
}

void tn_fault_admin_done(struct tdi_admin_cqe *cqe)
{
	TRACE("admin-done command %u status %u", cqe->command, cqe->status);
	if (faults.old_state == OLD_ENDING)
		faults.old_state = cqe->status ? OLD_NONE : OLD_ENDED;
	if (FAULT(admin_command))
		cqe->command ^= 0x5555;
	if (FAULT(admin_status)) {
		memset(cqe, 0xee, offsetof(struct tdi_admin_cqe, sequence));
		cqe->status = (__u16)FAULT_VALUE(admin_status);
	}
}

void tn_fault_identify(struct tdi_identify *identify)
{
	const size_t from = offsetof(struct tdi_identify, max_groups);
	const size_t bytes = offsetof(struct tdi_identify, serial) - from;

	if (FAULT(identify_zero))
		memset((char *)identify + from, 0, bytes);
	if (FAULT(identify_huge))
		memset((char *)identify + from, 0xff, bytes);
	if (FAULT(identify_version))
		identify->version = FAULT_VALUE(identify_version);
	if (FAULT(identify_byte))
		((__u8 *)identify)[FAULT_VALUE(identify_byte) / 256 % sizeof(*identify)] =
			(__u8)FAULT_VALUE(identify_byte);
}

/* --------------------------------------------------------------------------------- memory */

static bool overlaps(uint64_t address, uint64_t bytes, uint64_t base, uint64_t last)
{
	return bytes && address <= last && address + (bytes - 1) >= base;
}

static bool map_uses(struct tn_context *context, const struct tn_map *map, uint64_t base, uint64_t last)
{
	uint64_t blocks = ((map->first + map->length - 1) >> map->shift) + 1, i, left;

	if (map->flags & TDI_BUFFER_INLINE)
		return overlaps(map->address + map->first, map->length, base, last);
	if (overlaps(map->address, 8 * blocks, base, last))
		return true;
	for (i = 0; i < blocks; i++) {
		uint64_t at = i ? 0 : map->first, end = map->first + map->length - (i << map->shift);
		const uint64_t *block;

		if (end > 1ULL << map->shift)
			end = 1ULL << map->shift;
		/* What isn't there any more has been reported when it went. */
		block = tn_space_at(context->table.space, map->address + 8 * i, TDI_BUFFER_READ, &left);
		if (block && left >= 8 && overlaps(*block + at, end - at, base, last))
			return true;
	}
	return false;
}

void tn_fault_unmap(struct tn_device *device, uint64_t base, uint64_t last)
{
	void (*missed)(void *owner, uint64_t address) = device->space.missed;
	uint32_t i = tn_space_find(&device->space, base), j;

	/* QEMU unmaps whole worlds where nothing is. */
	if (i == device->space.regions || device->space.region[i].base > last)
		return;
	TRACE("unmap 0x%llx-0x%llx", (unsigned long long)base, (unsigned long long)last);
	device->space.missed = NULL;
	for (i = 0; i < TN_MAX_QUEUES; i++)
		for (j = 0; device->queue[i] && j < 4; j++)
			if (overlaps(device->queue[i]->view[j].address, device->queue[i]->view[j].bytes, base,
				     last))
				TRACE("in use: 0x%llx-0x%llx by queue %u", (unsigned long long)base,
				      (unsigned long long)last, i);
	for (i = 0; i < TN_MAX_CONTEXTS; i++) {
		struct tn_context *context = device->context[i];

		for (j = 0; context && j < context->table.maps; j++)
			if (context->table.map[j].id && map_uses(context, &context->table.map[j], base, last))
				TRACE("in use: 0x%llx-0x%llx by buffer 0x%08x of context %u",
				      (unsigned long long)base, (unsigned long long)last,
				      context->table.map[j].id, i);
	}
	for (i = 0; i < TN_MAX_EQS; i++)
		if (device->events.eq[i].live && overlaps(device->events.eq[i].ring.address,
							  device->events.eq[i].ring.bytes, base, last))
			TRACE("in use: 0x%llx-0x%llx by event queue %u", (unsigned long long)base,
			      (unsigned long long)last, i);
	device->space.missed = missed;

	/* Not before the reply to this has been sent. */
	if (faults.old_state == OLD_ENDED && faults.old >= base && faults.old <= last) {
		faults.old_state = OLD_NONE;
		pthread_mutex_lock(&faults.lock);
		faults.old_due = true;
		set_timer();
		pthread_mutex_unlock(&faults.lock);
	}
}

/* ------------------------------------------------------------------------------- requests */

static void say(const char *text, size_t bytes)
{
	while (bytes && faults.client >= 0) {
		ssize_t sent = send(faults.client, text, bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return;
		if (sent > 0) {
			text += sent;
			bytes -= (size_t)sent;
		}
	}
}

static void release(void)
{
	uint32_t i;

	for (i = 0; i < TN_FAULTS; i++)
		if (i != TN_FAULT_gone)
			__atomic_store_n(&faults.armed[i], 0, __ATOMIC_RELAXED);
	faults.old_state = OLD_NONE;
	pthread_mutex_lock(&faults.lock);
	faults.held_until = 0;
	pthread_mutex_unlock(&faults.lock);
}

static int go(uint64_t number)
{
	release();
	return 0;
}

static int spurious(uint64_t vector)
{
	return tn_vfu_raise(faults.attach, (uint32_t)vector) ? 0 : -ENOENT;
}

static int dma_read(uint64_t address)
{
	return tn_vfu_dma(faults.attach, false, address);
}

static int dma_write(uint64_t address)
{
	return tn_vfu_dma(faults.attach, true, address);
}

static int gone(uint64_t number)
{
	tn_pci_reset(faults.pci);
	__atomic_store_n(&faults.armed[TN_FAULT_gone], LASTS, __ATOMIC_RELAXED);
	return 0;
}

static int back(uint64_t number)
{
	__atomic_store_n(&faults.armed[TN_FAULT_gone], 0, __ATOMIC_RELAXED);
	return 0;
}

static int fatal(uint64_t number)
{
	tn_pci_fatal(faults.pci);
	return 0;
}

static int crash(uint64_t number)
{
	_exit(1);
}

static int trace(uint64_t number)
{
	char part[4096];
	off_t at = 0;
	ssize_t bytes;

	while ((bytes = pread(faults.trace, part, sizeof(part), at)) > 0) {
		say(part, (size_t)bytes);
		at += bytes;
	}
	return 0;
}

static int trace_clear(uint64_t number)
{
	return ftruncate(faults.trace, 0) ? -errno : 0;
}

static int help(uint64_t number);

/* A number is in brackets if it may be left out; [N] is how many times. */
static const struct request {
	const char *words, *number, *what;
	int (*action)(uint64_t number);
	enum tn_fault fault;
	int32_t count;
	uint64_t standard;
} request[] = {
	{ "help", "", "this list", .action = help },
	{ "go", "", "end all that was asked for, but for \"gone\"", .action = go },
	{ "stall", "", "commands are fetched and don't end", .fault = TN_FAULT_stall, .count = LASTS },
	{ "stall admin", "", "no admin command is taken", .fault = TN_FAULT_stall_admin, .count = LASTS },
	{ "late admin", "MS", "each admin command takes so long",
	  .fault = TN_FAULT_late_admin, .count = LASTS },
	{ "hold", "[N]", "EXEC commands never yield: max_command_ns stops them, or an admin command",
	  .fault = TN_FAULT_hold, .standard = 1 },
	{ "irq lost", "[N]", "interrupts aren't raised", .fault = TN_FAULT_irq_lost, .standard = 1 },
	{ "irq late", "MS", "each interrupt comes so late", .fault = TN_FAULT_irq_late, .count = LASTS },
	{ "irq spurious", "[VECTOR]", "raise it now", .action = spurious },
	{ "cqe sequence", "[DELTA]", "the next command's CQE has another sequence",
	  .fault = TN_FAULT_cqe_sequence, .count = 1, .standard = 1000 },
	{ "cqe user-data", "[N]", "CQEs have another user_data",
	  .fault = TN_FAULT_cqe_user_data, .standard = 1 },
	{ "cqe twice", "[N]", "CQEs are written to the next slot, too",
	  .fault = TN_FAULT_cqe_twice, .standard = 1 },
	{ "cqe early", "[N]", "CQEs are written before the command is run, and once more after it",
	  .fault = TN_FAULT_cqe_early, .standard = 1 },
	{ "cqe unsubmitted", "[N]", "after a CQE that of the next command, submitted or not",
	  .fault = TN_FAULT_cqe_unsubmitted, .standard = 1 },
	{ "admin command", "[N]", "admin CQEs name another command",
	  .fault = TN_FAULT_admin_command, .standard = 1 },
	{ "admin twice", "[N]", "admin CQEs are written to the next slot, too, with its sequence",
	  .fault = TN_FAULT_admin_twice, .standard = 1 },
	{ "admin skip", "[N]", "admin CQEs have a sequence that is one too far", .fault = TN_FAULT_admin_skip,
	  .standard = 1 },
	{ "admin status", "[STATUS]", "the next admin CQE has this status and is garbage otherwise",
	  .fault = TN_FAULT_admin_status, .count = 1, .standard = 0xeeee },
	{ "identify zero", "", "all limits are 0", .fault = TN_FAULT_identify_zero, .count = LASTS },
	{ "identify huge", "", "all limits are all ones", .fault = TN_FAULT_identify_huge, .count = LASTS },
	{ "identify version", "[VERSION]", "another version than the register's",
	  .fault = TN_FAULT_identify_version, .count = LASTS, .standard = 0x70007 },
	{ "identify byte", "N", "byte N / 256 is N % 256", .fault = TN_FAULT_identify_byte, .count = LASTS },
	{ "usage times", "N", "contexts' reports have N times their busy time",
	  .fault = TN_FAULT_usage_times, .count = LASTS },
	{ "usage back", "", "and none at all", .fault = TN_FAULT_usage_back, .count = LASTS },
	{ "event id", "[ID]", "the next event names this object", .fault = TN_FAULT_event_id, .count = 1,
	  .standard = 0xfffffff0 },
	{ "event type", "[TYPE]", "the next event is of this type", .fault = TN_FAULT_event_type, .count = 1,
	  .standard = 0x7777 },
	{ "event sequence", "[DELTA]", "the next event has another sequence",
	  .fault = TN_FAULT_event_sequence, .count = 1, .standard = 1000 },
	{ "dma read", "ADDRESS", "read 4 bytes; \"dma-answer\" in the trace if it is by message",
	  .action = dma_read },
	{ "dma write", "ADDRESS", "write 4 bytes of 0xa5", .action = dma_write },
	{ "after-unmap", "",
	  "write to what the next BUFFER_UNMAP or QUEUE_DESTROY ended, once the VMM unmaps it",
	  .fault = TN_FAULT_after_unmap, .count = 1 },
	{ "gone", "", "pulled out: all reads are all ones, nothing has an effect, no DMA", .action = gone },
	{ "back", "", "plugged in again, as after power on", .action = back },
	{ "fatal", "", "STATUS.FATAL", .action = fatal },
	{ "not-ready", "", "ENABLE is never READY", .fault = TN_FAULT_not_ready, .count = LASTS },
	{ "no-features", "", "FEATURES_OK isn't taken", .fault = TN_FAULT_no_features, .count = LASTS },
	{ "no-reset", "", "RESET and ENABLE 0 have no effect", .fault = TN_FAULT_no_reset, .count = LASTS },
	{ "no-flr", "", "nor has a function-level reset", .fault = TN_FAULT_no_flr, .count = LASTS },
	{ "crash", "", "tenond exits with 1", .action = crash },
	{ "trace", "", "what the driver did", .action = trace },
	{ "trace clear", "", "forget it", .action = trace_clear },
};

#define REQUESTS (sizeof(request) / sizeof(request[0]))

static int help(uint64_t number)
{
	char line[160];
	size_t i;

	for (i = 0; i < REQUESTS; i++) {
		int bytes = snprintf(line, sizeof(line), " %-16s %-9s  %s\n", request[i].words,
				     request[i].number, request[i].what);

		say(line, (size_t)bytes);
	}
	return 0;
}

/* The request that @line begins with, and its number; NULL: there is none. */
static const struct request *parse(char *line, uint64_t *number)
{
	char *last = strrchr(line, ' '), *end;
	bool given = last && last[1] >= '0' && last[1] <= '9';
	size_t i;

	if (given) {
		*number = strtoull(last + 1, &end, 0);
		if (*end)
			return NULL;
		*last = '\0';
	}
	for (i = 0; i < REQUESTS; i++) {
		if (strcmp(line, request[i].words))
			continue;
		if (given ? !request[i].number[0] : request[i].number[0] && request[i].number[0] != '[')
			return NULL;
		if (!given)
			*number = request[i].standard;
		return &request[i];
	}
	return NULL;
}

static void serve_line(char *line)
{
	char answer[80] = "ok\n";
	uint64_t number = 0;
	const struct request *r;
	int error;

	TRACE("request %s", line);
	r = parse(line, &number);
	if (!r) {
		snprintf(answer, sizeof(answer), "error what? try \"help\"\n");
	} else if (r->action) {
		error = r->action(number);
		if (error)
			snprintf(answer, sizeof(answer), "error %s\n", strerror(-error));
	} else {
		int32_t count = r->count ? r->count : number > INT32_MAX ? INT32_MAX : (int32_t)number;

		__atomic_store_n(&faults.value[r->fault], (uint32_t)number, __ATOMIC_RELAXED);
		__atomic_store_n(&faults.armed[r->fault], count, __ATOMIC_RELAXED);
	}
	say(answer, strlen(answer));
}

static void hang_up(void)
{
	close(faults.client);
	faults.client = -1;
	faults.have = 0;
}

static void serve_client(void)
{
	ssize_t bytes = recv(faults.client, faults.line + faults.have, sizeof(faults.line) - faults.have,
			     MSG_DONTWAIT);
	char *end;

	if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (bytes <= 0) {
		hang_up();
		return;
	}
	faults.have += (size_t)bytes;
	while ((end = memchr(faults.line, '\n', faults.have))) {
		*end = '\0';
		serve_line(faults.line);
		faults.have -= (size_t)(end + 1 - faults.line);
		memmove(faults.line, end + 1, faults.have);
	}
	if (faults.have == sizeof(faults.line))
		hang_up();
}

static int watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(faults.epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* One test at a time: the one before is done. */
static void serve_listen(void)
{
	const struct timeval limit = { .tv_sec = SEND_S };
	int fd = accept4(faults.listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (faults.client >= 0)
		hang_up();
	faults.client = fd;
	if (watch(fd))
		hang_up();
}

/* Do what is due. An admin command that was held is run by the caller. */
static void serve_late(void)
{
	uint64_t now = now_ns();
	struct late due[LATE_MAX];
	unsigned int i, due_count = 0;
	bool old_due;

	pthread_mutex_lock(&faults.lock);
	for (i = 0; i < faults.late_count;) {
		if (faults.late[i].due > now) {
			i++;
			continue;
		}
		due[due_count++] = faults.late[i];
		memmove(&faults.late[i], &faults.late[i + 1],
			(--faults.late_count - i) * sizeof(faults.late[0]));
	}
	old_due = faults.old_due;
	faults.old_due = false;
	if (faults.held_until <= now)
		faults.held_timer = false;
	set_timer();
	pthread_mutex_unlock(&faults.lock);
	for (i = 0; i < due_count; i++)
		tn_vfu_raise(faults.attach, due[i].vector);
	if (old_due) {
		TRACE("after-unmap 0x%llx", (unsigned long long)faults.old);
		tn_vfu_dma(faults.attach, true, faults.old);
	}
}

void tn_faults_serve(void)
{
	struct epoll_event event[3];
	int i, n = epoll_wait(faults.epoll, event, 3, 0);

	for (i = 0; i < n; i++) {
		if (event[i].data.fd == faults.timer)
			serve_late();
		else if (event[i].data.fd == faults.listen)
			serve_listen();
		else if (event[i].data.fd == faults.client)
			serve_client();
	}
}

int tn_faults_open(const char *path, const char *trace_path, struct tn_vfu *attach, struct tn_pci *pci)
{
	if (!path)
		return -ENOENT;
	faults.attach = attach;
	faults.pci = pci;
	faults.epoll = epoll_create1(EPOLL_CLOEXEC);
	faults.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	faults.trace = trace_path ? open(trace_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644) :
		memfd_create("trace", MFD_CLOEXEC);
	if (faults.epoll < 0 || faults.timer < 0 || faults.trace < 0)
		return -errno;
	fcntl(faults.trace, F_SETFL, O_APPEND);
	faults.listen = tn_listen(path, SOCK_STREAM, 0600);
	if (faults.listen < 0)
		return faults.listen;
	if (watch(faults.timer) || watch(faults.listen))
		return -errno;
	return faults.epoll;
}
