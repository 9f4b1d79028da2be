// SPDX-License-Identifier: MIT
/* The faults that a test build of tenond has on request: each is there, and gone after it. */
#include "vmm.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <tenon/ring.h>

#define ALL	(TDI_F_TENSOR | TDI_F_EVENT_QUEUES)
#define BUFFER	TDI_BUFFER_ID(0, 1)
#define WINDOW	0x100000000ULL		/* of device addresses, mapped and unmapped by tests */
#define AT	PCI_EXP_DEVCTL		/* in the capability at 0x40 */
#define QUIET	30
#define SOON	PATIENCE_MS

static int control = -1;
static char said[1 << 20];

static void dial(struct vmm *v)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s.faults", v->path);
	control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(control, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Is @said complete: does its last line begin with ok or error? */
static bool complete(size_t bytes)
{
	const char *line;

	if (!bytes || said[bytes - 1] != '\n')
		return false;
	said[bytes - 1] = '\0';
	line = strrchr(said, '\n');
	line = line ? line + 1 : said;
	said[bytes - 1] = '\n';
	return !strncmp(line, "ok", 2) || !strncmp(line, "error", 5);
}

/* The answer to a request, in said; true if it is ok. */
static bool request(const char *line)
{
	struct pollfd wait = { .fd = control, .events = POLLIN };
	char text[512];
	size_t have = 0;
	ssize_t bytes;

	snprintf(text, sizeof(text), "%s\n", line);
	assert_int_equal(send(control, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	while (!complete(have)) {
		assert_int_equal(poll(&wait, 1, SOON), 1);
		bytes = recv(control, said + have, sizeof(said) - 1 - have, 0);
		assert_true(bytes > 0);
		have += (size_t)bytes;
		said[have] = '\0';
	}
	return strncmp(said, "error", 5) && !strstr(said, "\nerror");
}

static void fault(const char *line)
{
	assert_true(request(line));
}

/* How often the trace has this. */
static unsigned int traced(const char *text)
{
	unsigned int count = 0;
	const char *at;

	fault("trace");
	for (at = strstr(said, text); at; at = strstr(at + 1, text))
		count++;
	return count;
}

static int start(void **state)
{
	struct vmm *v = vmm_start(VMM_MAPPED, NULL);

	*state = v;
	dial(v);
	return 0;
}

static int start_two(void **state)
{
	struct vmm *v = vmm_start(VMM_MAPPED, "--workers=2");

	*state = v;
	dial(v);
	return 0;
}

static int stop(void **state)
{
	char path[96];

	close(control);
	snprintf(path, sizeof(path), "%s.faults", ((struct vmm *)*state)->path);
	unlink(path);
	vmm_stop(*state);
	return 0;
}

static uint32_t status(struct vmm *v)
{
	return (uint32_t)vmm_read(v, 0, TDI_REG_STATUS, 4);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* An enabled device with a queue and a buffer of 64 KiB; the buffer's address. */
static uint64_t work(struct vmm *v, struct eq *eq, struct queue *q)
{
	uint64_t at;

	assert_true(guest_enable(v, ALL, 0));
	guest_objects(v, eq);
	at = guest_alloc(v, 1 << 16);
	assert_int_equal(guest_buffer(v, BUFFER, at, 1 << 16), TDI_AS_OK);
	assert_int_equal(guest_queue(v, q, 1, 3, 0, 0), TDI_AS_OK);
	vmm_interrupts(v, 0, 0);
	return at;
}

static int alive(struct vmm *v)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_KEEP_ALIVE, .command = 77 };

	return guest_admin(v, &sqe);
}

/* Post a KEEP_ALIVE; not waited for. */
static void post_alive(struct vmm *v)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_KEEP_ALIVE, .command = 77 };

	guest_admin_post(v, &sqe);
	vmm_write(v, 0, TDI_REG_ADMIN_TAIL, 4, v->admin_tail);
}

static struct tdi_admin_cqe *admin_slot(struct vmm *v, uint32_t index)
{
	return &v->admin_cq[index & ((1u << ADMIN_LOG2) - 1)];
}

/* A command with user data 42; its CQE when its slot has @sequence. */
static const struct tdi_cqe *run(struct queue *q, uint32_t sequence)
{
	struct tdi_sqe sqe = { .opcode = TDI_OP_NOP, .user_data = 42 };
	const struct tdi_cqe *cqe = &q->cq[q->tail & (q->depth - 1)];
	uint64_t end = now_ms() + SOON;

	guest_submit(q, &sqe);
	while (tenon_load_acquire(&cqe->sequence) != sequence)
		assert_true(now_ms() < end);
	return cqe;
}

/* The control socket itself. */
static void test_requests(void **state)
{
	struct vmm *v = *state;
	static const char *const wrong[] = {
		"", "stal", "stall 3", "dma write", "dma write x", "irq late", "irq lost 1x",
		"stall admin now", "0", "irq spurious 32",
	};
	char longer[400];
	size_t i;
	int old;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(request(wrong[i]));
	assert_true(request("help"));
	assert_non_null(strstr(said, " stall admin"));
	assert_non_null(strstr(said, " after-unmap"));
	/* The next test takes over from one that forgot to hang up. */
	old = control;
	dial(v);
	assert_true(request("go"));
	assert_int_equal(recv(old, longer, 1, 0), 0);
	close(old);
	/* A line without an end. */
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(send(control, longer, sizeof(longer), MSG_NOSIGNAL), sizeof(longer));
	while (recv(control, longer, sizeof(longer), 0) > 0)
		;
	close(control);
	dial(v);
	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(alive(v), TDI_AS_OK);
}

static void test_stall(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe reset = { .opcode = TDI_ADMIN_QUEUE_RESET, .generation = 1 };
	struct tdi_sqe sqe = fill(BUFFER, 4096, 5);
	struct eq eq;
	struct queue q;
	uint64_t at = work(v, &eq, &q), end = now_ms() + SOON;

	fault("stall");
	guest_submit(&q, &sqe);
	while (tenon_load(&q.page->fetched) != q.tail)
		assert_true(now_ms() < end);
	usleep(QUIET * 1000);
	assert_int_not_equal(tenon_load(&q.cq[0].sequence), q.tail);
	assert_int_equal(*(uint64_t *)guest_at(v, at), 0);
	/* Admin commands work, and one of them ends it. */
	assert_int_equal(alive(v), TDI_AS_OK);
	reset.queue.queue = 1;
	assert_int_equal(guest_admin(v, &reset), TDI_AS_OK);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_ABORTED);
	guest_submit(&q, &sqe);
	usleep(QUIET * 1000);
	fault("go");
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	assert_int_equal(*(uint64_t *)guest_at(v, at), 5);
}

static int context(struct vmm *v, uint32_t id)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_CREATE, .generation = 1 };

	sqe.context.context = id;
	sqe.context.group_generation = 1;
	return guest_admin(v, &sqe);
}

/* A queue of its own pages in a context, which guest_queue() makes in context 0. */
static void queue_in(struct vmm *v, uint32_t of, uint32_t id, struct queue *q)
{
	assert_int_equal(guest_queue(v, q, id, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_queue_end(q), TDI_AS_OK);
	q->context = of;
	assert_int_equal(guest_queue_create(q, 3, 0, 0), TDI_AS_OK);
}

static void max_command(struct vmm *v, uint64_t ns)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GROUP_MODIFY, .generation = 1 };

	sqe.group.max_command_ns = ns;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
}

static void fetched(struct queue *q, uint32_t index)
{
	uint64_t end = now_ms() + SOON;

	while (tenon_load(&q->page->fetched) != index)
		assert_true(now_ms() < end);
}

/* What CONTEXT_STATUS says of a queue of context 0. */
static struct tdi_queue_status queue_status(struct vmm *v, uint32_t id)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_GET_LOG, .generation = 1 };
	const struct tdi_context_status *all;
	uint32_t i;

	sqe.data.page = TDI_LOG_CONTEXT_STATUS;
	sqe.data.address = guest_alloc(v, sizeof(*all));
	sqe.data.bytes = sizeof(*all);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	all = guest_at(v, sqe.data.address);
	for (i = 0; i < all->queues && all->queue[i].queue != id; i++)
		;
	assert_true(i < all->queues);
	return all->queue[i];
}

/*
 * A command that never yields is stopped in time, and its context with it: what was fetched has one CQE, what was
 * not has none, and no queue of it runs again. Another context, of the same group, sees nothing of it but that it
 * has to wait. [CMD-24, CMD-25, EVQ-6, EVQ-7]
 */
static void test_hold(void **state)
{
	const uint64_t most = 50000000;
	struct vmm *v = *state;
	struct tdi_sqe wait = { .opcode = TDI_OP_WAIT }, next = { .opcode = TDI_OP_NOP };
	struct tdi_sqe first = { .opcode = TDI_OP_EXEC, .flags = TDI_SQE_LINK };
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_CONTEXT_DESTROY, .generation = 1 };
	bool stopped[5] = { false };
	struct queue q, waits, other, later;
	struct tdi_event event;
	unsigned int hangs = 0, i;
	struct eq eq;

	work(v, &eq, &q);
	assert_int_equal(guest_queue(v, &waits, 2, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(context(v, 1), TDI_AS_OK);
	queue_in(v, 1, 3, &other);
	max_command(v, most);
	wait.wait.buffer = BUFFER;
	wait.wait.ref = 1;
	wait.wait.timeout_ns = 1000000000ULL * 3600;
	guest_submit(&waits, &wait);
	guest_submit(&waits, &next);
	fetched(&waits, waits.first + 1);

	fault("hold");
	guest_submit(&q, &first);
	guest_submit(&q, &next);
	guest_submit(&q, &next);
	fetched(&q, q.first + 1);
	guest_submit(&other, &next);
	assert_int_equal(guest_result(&q, q.first), TDI_SC_COMMAND_TIME);
	assert_true(q.cq[q.first & (q.depth - 1)].busy_ns >= most);
	assert_int_equal(guest_result(&other, other.first), TDI_SC_OK);
	for (i = 0; i < 3; i++) {
		event = guest_event(&eq, SOON, true);
		if (event.type == TDI_EVENT_HANG) {
			assert_int_equal(event.id, 0);
			hangs++;
		} else {
			assert_int_equal(event.type, TDI_EVENT_STOPPED);
			assert_in_range(event.id, 1, 2);
			assert_false(stopped[event.id]);
			stopped[event.id] = true;
		}
	}
	assert_int_equal(hangs, 1);
	assert_int_equal(guest_result(&waits, waits.first), TDI_SC_ABORTED);
	for (i = 1; i <= 2; i++) {
		assert_int_equal(queue_status(v, i).state, TDI_QUEUE_STOPPED);
		assert_int_equal(queue_status(v, i).reason, TDI_STOP_HANG);
	}
	assert_int_equal(queue_status(v, 1).completed, q.first + 1);

	/* Later ones are as good as refused: no queue, neither of those nor a new one, takes anything more. */
	assert_int_equal(guest_queue(v, &later, 4, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(queue_status(v, 4).reason, TDI_STOP_HANG);
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.type, TDI_EVENT_STOPPED);
	assert_int_equal(event.id, 4);
	guest_submit(&q, &next);
	guest_submit(&waits, &next);
	guest_submit(&later, &next);
	for (i = 0; i < 3; i++) {
		guest_submit(&other, &next);
		assert_int_equal(guest_result(&other, other.tail - 1), TDI_SC_OK);
	}
	usleep(QUIET * 1000);
	assert_int_equal(tenon_load(&q.page->fetched), q.first + 1);
	assert_int_equal(tenon_load(&waits.page->fetched), waits.first + 1);
	assert_int_equal(tenon_load(&later.page->fetched), later.first);
	assert_int_equal(guest_event(&eq, QUIET, true).type, TDI_EVENT_NONE);

	/* The next holder of the id begins anew. */
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(context(v, 0), TDI_AS_OK);
	assert_int_equal(guest_queue(v, &q, 1, 3, 0, 0), TDI_AS_OK);
	run(&q, q.tail + 1);
	guest_submit(&other, &next);
	assert_int_equal(guest_result(&other, other.tail - 1), TDI_SC_OK);
}

/* The context has another execution unit at that time: it is taken from there, too, and told of once. [CMD-25] */
static void test_hold_two(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe held = { .opcode = TDI_OP_EXEC }, next = { .opcode = TDI_OP_NOP };
	struct tdi_admin_sqe abort = { .opcode = TDI_ADMIN_ABORT, .generation = 1 };
	struct queue q[2], other;
	unsigned int ended[2], events[8] = { 0 }, i;
	struct eq eq;

	work(v, &eq, &q[0]);
	assert_int_equal(guest_queue(v, &q[1], 2, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(context(v, 1), TDI_AS_OK);
	queue_in(v, 1, 3, &other);
	fault("hold 2");
	for (i = 0; i < 2; i++) {
		guest_submit(&q[i], &held);
		guest_submit(&q[i], &next);
	}
	for (i = 0; i < 2; i++)
		fetched(&q[i], q[i].first + 1);
	guest_submit(&other, &next);
	/* Both are held. The limit counts from their next turn on, which any command for the context brings. */
	max_command(v, 1000000);
	abort.abort.queue = 1;
	abort.abort.index = q[0].first + 5;
	assert_int_equal(guest_admin(v, &abort), TDI_AS_NOT_FOUND);
	for (i = 0; i < 2; i++)
		ended[i] = guest_result(&q[i], q[i].first);
	assert_true(ended[0] == TDI_SC_COMMAND_TIME || ended[1] == TDI_SC_COMMAND_TIME);
	for (i = 0; i < 2; i++)
		assert_true(ended[i] == TDI_SC_COMMAND_TIME || ended[i] == TDI_SC_ABORTED);
	for (i = 0; i < 3; i++) {
		struct tdi_event event = guest_event(&eq, SOON, true);

		assert_in_range(event.type, TDI_EVENT_HANG, TDI_EVENT_STOPPED);
		events[event.type]++;
	}
	assert_int_equal(events[TDI_EVENT_HANG], 1);
	assert_int_equal(events[TDI_EVENT_STOPPED], 2);
	assert_int_equal(guest_result(&other, other.first), TDI_SC_OK);
	guest_submit(&other, &next);
	assert_int_equal(guest_result(&other, other.tail - 1), TDI_SC_OK);
	usleep(QUIET * 1000);
	for (i = 0; i < 2; i++) {
		assert_int_equal(queue_status(v, 1 + i).reason, TDI_STOP_HANG);
		assert_int_equal(tenon_load(&q[i].page->fetched), q[i].first + 1);
	}
	assert_int_equal(guest_event(&eq, QUIET, true).type, TDI_EVENT_NONE);
}

/* Without a limit the host has to end it, and then the queue goes on. [ADM-44] */
static void test_hold_unlimited(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_QUEUE_RESET, .generation = 1 };
	struct tdi_sqe held = { .opcode = TDI_OP_EXEC };
	struct eq eq;
	struct queue q;

	work(v, &eq, &q);
	fault("hold");
	guest_submit(&q, &held);
	fetched(&q, q.tail);
	usleep(QUIET * 1000);
	assert_int_not_equal(tenon_load(&q.cq[(q.tail - 1) & (q.depth - 1)].sequence), q.tail);
	sqe.queue.queue = 1;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_ABORTED);
	run(&q, q.tail + 1);
	assert_int_equal(guest_event(&eq, QUIET, true).type, TDI_EVENT_NONE);
}

static void test_stall_admin(void **state)
{
	struct vmm *v = *state;
	uint64_t before;
	uint32_t was;
	struct eq eq;
	struct queue q;

	work(v, &eq, &q);
	was = admin_slot(v, v->admin_tail)->sequence;
	fault("stall admin");
	post_alive(v);
	assert_int_equal(vmm_interrupts(v, 0, QUIET), 0);
	assert_int_equal(admin_slot(v, v->admin_tail - 1)->sequence, was);
	/* Tenants go on. */
	run(&q, q.tail + 1);
	fault("go");
	assert_int_equal(guest_admin_wait(v), TDI_AS_OK);
	assert_int_equal(vmm_interrupts(v, 0, SOON), 1);
	/* What is held when a reset comes is lost. */
	fault("stall admin");
	was = admin_slot(v, v->admin_tail)->sequence;
	post_alive(v);
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	fault("go");
	assert_int_equal(vmm_interrupts(v, 0, QUIET), 0);
	assert_int_equal(admin_slot(v, v->admin_tail - 1)->sequence, was);

	assert_true(guest_enable(v, ALL, 0));
	fault("late admin 50");
	before = now_ms();
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_true(now_ms() - before >= 99);
	fault("late admin 100000");
	post_alive(v);
	usleep(QUIET * 1000);
	fault("go");
	assert_int_equal(guest_admin_wait(v), TDI_AS_OK);
}

static void test_interrupts(void **state)
{
	struct vmm *v = *state;
	uint64_t before, count;

	assert_true(guest_enable(v, ALL, 0));
	fault("irq lost 2");
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(vmm_interrupts(v, 0, QUIET), 0);
	assert_int_equal(traced("irq 0 lost"), 2);
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(vmm_interrupts(v, 0, SOON), 1);

	fault("irq late 50");
	before = now_ms();
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(alive(v), TDI_AS_OK);
	for (count = 0; count < 2;) {
		uint64_t more = vmm_interrupts(v, 0, SOON);

		assert_true(more && now_ms() - before >= 49);
		count += more;
	}
	/* Those that are under way come, whatever is said then. */
	assert_int_equal(alive(v), TDI_AS_OK);
	fault("go");
	assert_true(vmm_interrupts(v, 0, SOON) >= 1);

	fault("irq spurious 2");
	assert_int_equal(vmm_interrupts(v, 2, SOON), 1);
	fault("irq spurious");
	assert_true(vmm_interrupts(v, 0, SOON) >= 1);
}

static void test_completions(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe sqe = fill(BUFFER, 4096, 5);
	struct eq eq;
	struct queue q;
	uint64_t at = work(v, &eq, &q);
	const struct tdi_cqe *cqe;
	uint32_t was;

	fault("cqe sequence 500");
	run(&q, q.tail + 501);
	fault("cqe sequence");
	run(&q, q.tail + 1001);
	assert_int_equal(run(&q, q.tail + 1)->user_data, 42);

	fault("cqe user-data");
	assert_int_equal(run(&q, q.tail + 1)->user_data, ~42ULL);
	assert_int_equal(run(&q, q.tail + 1)->user_data, 42);

	/* The same again in the next slot. */
	fault("cqe twice");
	cqe = run(&q, q.tail + 1);
	usleep(QUIET * 1000);
	assert_int_equal(q.cq[q.tail & 7].sequence, q.tail);
	assert_int_equal(q.cq[q.tail & 7].user_data, cqe->user_data);
	was = q.cq[(q.tail + 1) & 7].sequence;
	run(&q, q.tail + 1);
	usleep(QUIET * 1000);
	assert_int_equal(q.cq[q.tail & 7].sequence, was);

	/* One for a command that was never submitted. */
	fault("cqe unsubmitted");
	run(&q, q.tail + 1);
	usleep(QUIET * 1000);
	assert_int_equal(q.cq[q.tail & 7].sequence, q.tail + 1);

	/* OK before the effect: with "stall", long before. */
	fault("stall");
	fault("cqe early");
	guest_submit(&q, &sqe);
	assert_int_equal(guest_result(&q, q.tail - 1), TDI_SC_OK);
	usleep(QUIET * 1000);
	assert_int_equal(*(uint64_t *)guest_at(v, at), 0);
	fault("go");
	run(&q, q.tail + 1);
	assert_int_equal(*(uint64_t *)guest_at(v, at), 5);
}

static void test_admin(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_cqe *next;
	uint64_t end = now_ms() + SOON;

	assert_true(guest_enable(v, ALL, 0));
	fault("admin command");
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(v->cqe.command, 77 ^ 0x5555);
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_int_equal(v->cqe.command, 77);

	fault("admin twice");
	assert_int_equal(alive(v), TDI_AS_OK);
	assert_true(vmm_interrupts(v, 0, SOON) >= 1);
	next = admin_slot(v, v->admin_tail);
	while (tenon_load_acquire(&next->sequence) != v->admin_tail + 1)
		assert_true(now_ms() < end);
	assert_int_equal(next->command, 77);
	assert_int_equal(alive(v), TDI_AS_OK);

	fault("admin skip");
	post_alive(v);
	next = admin_slot(v, v->admin_tail - 1);
	while (tenon_load_acquire(&next->sequence) != v->admin_tail + 1)
		assert_true(now_ms() < end);
	assert_int_equal(alive(v), TDI_AS_OK);

	fault("admin status 4660");
	assert_int_equal(alive(v), 4660);
	assert_int_equal(v->cqe.reserved2, 0xeeee);
	fault("admin status");
	assert_int_equal(alive(v), 0xeeee);
	assert_int_equal(alive(v), TDI_AS_OK);
}

static struct tdi_identify identify(struct vmm *v)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };

	sqe.data.address = guest_alloc(v, sizeof(struct tdi_identify));
	sqe.data.bytes = sizeof(struct tdi_identify);
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	return *(struct tdi_identify *)guest_at(v, sqe.data.address);
}

static void test_identify(void **state)
{
	struct vmm *v = *state;
	struct tdi_identify page;

	assert_true(guest_enable(v, ALL, 0));
	fault("identify zero");
	page = identify(v);
	assert_int_equal(page.max_queues, 0);
	assert_int_equal(page.max_depth_log2, 0);
	assert_int_equal(page.quantum_ns, 0);
	assert_int_equal(page.features, ALL);
	fault("go");
	fault("identify huge");
	page = identify(v);
	assert_int_equal(page.max_groups, 0xffffffff);
	assert_int_equal(page.max_depth_log2, 0xffff);
	assert_int_equal(page.memory_bytes, UINT64_MAX);
	assert_string_equal((char *)page.serial, "0");
	fault("go");
	fault("identify version");
	assert_int_equal(identify(v).version, 0x70007);
	fault("go");
	page = identify(v);
	assert_int_equal(page.version, TDI_VERSION(TDI_VERSION_MAJOR, TDI_VERSION_MINOR));
	assert_int_equal(page.max_queues, 1024);
}

static void submit_noticed(struct queue *q)
{
	q->producer->wanted = q->tail + 1;
	guest_submit(q, &(struct tdi_sqe){ .opcode = TDI_OP_NOP });
	assert_int_equal(guest_result(q, q->tail - 1), TDI_SC_OK);
}

static void test_events(void **state)
{
	struct vmm *v = *state;
	const struct tdi_event *slot;
	struct tdi_event event;
	struct eq eq;
	struct queue q;

	work(v, &eq, &q);
	fault("event id");
	submit_noticed(&q);
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.id, 0xfffffff0);
	assert_int_equal(event.type, TDI_EVENT_DUE);
	fault("event id 1000");
	submit_noticed(&q);
	assert_int_equal(guest_event(&eq, SOON, true).id, 1000);
	fault("event type");
	submit_noticed(&q);
	event = guest_event(&eq, SOON, true);
	assert_int_equal(event.type, 0x7777);
	assert_int_equal(event.id, 1);
	submit_noticed(&q);
	assert_int_equal(guest_event(&eq, SOON, true).type, TDI_EVENT_DUE);
	slot = &eq.ring[eq.head & (eq.depth - 1)];
	fault("event sequence 3");
	submit_noticed(&q);
	assert_true(vmm_interrupts(v, 1, SOON) >= 1);
	while (tenon_load_acquire(&slot->sequence) != eq.head + 4)
		usleep(100);
}

static void test_dma(void **state)
{
	struct vmm *v = *state;
	char line[40];
	uint64_t at;

	assert_true(guest_enable(v, ALL, 0));
	at = guest_alloc(v, 4096);
	snprintf(line, sizeof(line), "dma write 0x%llx", (unsigned long long)at + 8);
	fault(line);
	assert_int_equal(*(uint32_t *)guest_at(v, at + 4), 0);
	assert_int_equal(*(uint32_t *)guest_at(v, at + 8), 0xa5a5a5a5);
	assert_int_equal(*(uint32_t *)guest_at(v, at + 12), 0);
	assert_int_equal(v->asked_count, 0);
	/* Not mapped: the VMM judges. */
	fault("dma write 0xdead000");
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked_write(v, 0xdead000));
	fault("dma read 0xdeae000");
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked(v, 0xdeae000));
	assert_false(vmm_asked_write(v, 0xdeae000));
	assert_int_equal(status(v), TDI_STS_READY | TDI_STS_FEATURES_OK);
	assert_int_equal(traced("dma-answer refused"), 2);
	/* Nor does it write past the VMM when it isn't a master. */
	*(uint32_t *)guest_at(v, at + 8) = 0;
	guest_master(v, false);
	fault(line);
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked_write(v, at + 8));
	assert_int_equal(*(uint32_t *)guest_at(v, at + 8), 0);
}

static int unmap_buffer(struct vmm *v)
{
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_UNMAP };

	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(1, 1);
	return guest_admin(v, &sqe);
}

static void test_after_unmap(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe end = { .opcode = TDI_ADMIN_QUEUE_DESTROY, .generation = 1 };
	struct eq eq;
	struct queue q, r;
	uint64_t at;

	work(v, &eq, &q);
	at = guest_alloc(v, 8192);
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 8192, 3), 0);
	assert_int_equal(guest_buffer(v, TDI_BUFFER_ID(1, 1), WINDOW + 4096, 4096), TDI_AS_OK);
	fault("after-unmap");
	/* One that is refused ends nothing. */
	end.generation = 9;
	end.queue.queue = 1;
	assert_int_equal(guest_admin(v, &end), TDI_AS_GENERATION);
	fault("after-unmap");
	assert_int_equal(unmap_buffer(v), TDI_AS_OK);
	vmm_listen(v, QUIET, true);
	assert_int_equal(v->asked_count, 0);
	assert_int_equal(vmm_unmap(v, WINDOW, 8192), 0);
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked_write(v, WINDOW + 4096));
	assert_int_equal(*(uint32_t *)guest_at(v, at + 4096), 0);

	/* The same with a queue's ring; and not once more. */
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 8192, 3), 0);
	r = q;
	r.id = 2;
	r.cq_at = WINDOW;
	r.cq = guest_at(v, at);
	assert_int_equal(guest_queue_create(&r, 3, 0, 0), TDI_AS_OK);
	fault("after-unmap");
	assert_int_equal(guest_queue_end(&r), TDI_AS_OK);
	v->asked_count = 0;
	assert_int_equal(vmm_unmap(v, WINDOW, 8192), 0);
	vmm_listen(v, SOON, true);
	assert_true(vmm_asked_write(v, WINDOW));
	v->asked_count = 0;
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 8192, 3), 0);
	assert_int_equal(guest_queue_create(&r, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(guest_queue_end(&r), TDI_AS_OK);
	assert_int_equal(vmm_unmap(v, WINDOW, 8192), 0);
	vmm_listen(v, QUIET, true);
	assert_int_equal(v->asked_count, 0);
}

static void test_gone(void **state)
{
	struct vmm *v = *state;
	struct tdi_sqe sqe = fill(BUFFER, 4096, 5);
	uint8_t *was = malloc(RAM_BYTES);
	struct eq eq;
	struct queue q;

	assert_non_null(was);
	work(v, &eq, &q);
	fault("stall");
	guest_submit(&q, &sqe);
	guest_submit(&q, &sqe);
	fault("gone");
	fault("go");
	memcpy(was, v->ram, RAM_BYTES);
	assert_int_equal(status(v), 0xffffffff);
	assert_int_equal(vmm_read(v, 0, TDI_REG_SIGNATURE, 8), UINT64_MAX);
	assert_int_equal(vmm_read(v, CONFIG, PCI_VENDOR_ID, 4), 0xffffffff);
	post_alive(v);
	vmm_write(v, TDI_DOORBELL_BAR, TDI_DOORBELL(1, 0), 4, 0);
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	guest_master(v, true);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_FEATURES_OK);
	usleep(QUIET * 1000);
	assert_int_equal(status(v), 0xffffffff);
	v->admin_sq[(v->admin_tail - 1) & 7] = *(struct tdi_admin_sqe *)&was[(uint8_t *)v->admin_sq - v->ram +
									     ((v->admin_tail - 1) & 7) * 64];
	assert_memory_equal(was, v->ram, RAM_BYTES);
	assert_int_equal(vmm_interrupts(v, 0, QUIET), 0);

	fault("back");
	assert_int_equal(status(v), 0);
	assert_int_equal(vmm_read(v, CONFIG, PCI_COMMAND, 2), 0);
	assert_int_equal(vmm_read(v, 0, TDI_REG_ADMIN_SQ, 8), 0);
	v->next = RAM;
	guest_master(v, true);
	work(v, &eq, &q);
	run(&q, q.tail + 1);
	free(was);
}

static void test_registers(void **state)
{
	struct vmm *v = *state;

	assert_true(guest_enable(v, ALL, 0));
	fault("fatal");
	assert_true(status(v) & TDI_STS_FATAL);
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	assert_int_equal(status(v), 0);

	fault("not-ready");
	assert_false(guest_enable(v, ALL, 0));
	assert_int_equal(status(v), TDI_STS_FEATURES_OK);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, 0);
	fault("go");
	assert_true(guest_enable(v, ALL, 0));

	fault("no-reset");
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, 0);
	assert_int_equal(status(v), TDI_STS_READY | TDI_STS_FEATURES_OK);
	assert_int_equal(alive(v), TDI_AS_OK);
	/* The bigger hammer helps, unless it is taken away, too. */
	fault("no-flr");
	vmm_write(v, CONFIG, 0x40 + AT, 2, PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(status(v), TDI_STS_READY | TDI_STS_FEATURES_OK);
	fault("go");
	fault("no-reset");
	vmm_write(v, CONFIG, 0x40 + AT, 2, PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(status(v), 0);
	fault("go");

	fault("no-features");
	vmm_write(v, 0, TDI_REG_ACCEPT, 8, ALL);
	vmm_write(v, 0, TDI_REG_CONFIG, 4, TDI_CFG_FEATURES_OK);
	assert_int_equal(status(v), 0);
	fault("go");
	guest_master(v, true);
	assert_true(guest_enable(v, ALL, 0));
}

/* The order of the driver's steps, and what it takes away too early. */
static void test_trace(void **state)
{
	struct vmm *v = *state;
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_BUFFER_MAP };
	const char *map, *unmap, *done;
	struct eq eq, second;
	struct queue q, r;
	uint64_t at, array;

	work(v, &eq, &q);
	assert_int_equal(traced("write ADMIN_SQ 0x"), 1);
	assert_int_equal(traced("config command 0x06"), 1);
	assert_int_equal(traced("admin QUEUE_CREATE command 0 id 1 generation 1"), 1);
	at = guest_alloc(v, 8192);
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 4096, 3), 0);
	assert_int_equal(vmm_map(v, v->memfd, at + 4096 - RAM, WINDOW + 4096, 4096, 3), 0);

	/* A driver that keeps the order. */
	assert_int_equal(guest_buffer(v, TDI_BUFFER_ID(1, 1), WINDOW, 8192), TDI_AS_OK);
	fault("trace clear");
	assert_int_equal(unmap_buffer(v), TDI_AS_OK);
	assert_int_equal(vmm_unmap(v, WINDOW, 4096), 0);
	assert_int_equal(traced("in use"), 0);
	map = strstr(said, "admin BUFFER_UNMAP command 0 id 0 generation 0 buffer 0x01000001");
	done = strstr(said, "admin-done command 0 status 0");
	unmap = strstr(said, "unmap 0x100000000-0x100000fff");
	assert_true(map && done && unmap && map < done && done < unmap);

	/* One that doesn't: an inline block, */
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 4096, 3), 0);
	assert_int_equal(guest_buffer(v, TDI_BUFFER_ID(1, 1), WINDOW, 4096), TDI_AS_OK);
	assert_int_equal(vmm_unmap(v, WINDOW + 4096, 4096), 0);
	assert_int_equal(traced("in use"), 0);
	assert_int_equal(vmm_unmap(v, WINDOW, 4096), 0);
	assert_int_equal(traced("in use: 0x100000000-0x100000fff by buffer 0x01000001 of context 0"), 1);
	assert_int_equal(unmap_buffer(v), TDI_AS_OK);
	/* a block of an array, or the array, */
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 4096, 3), 0);
	assert_int_equal(vmm_map(v, v->memfd, at + 4096 - RAM, WINDOW + 4096, 4096, 3), 0);
	array = guest_alloc(v, 4096);
	((uint64_t *)guest_at(v, array))[0] = RAM;
	((uint64_t *)guest_at(v, array))[1] = WINDOW;
	assert_int_equal(vmm_map(v, v->memfd, array - RAM, WINDOW + 8192, 4096, 1), 0);
	sqe.buffer.context_generation = 1;
	sqe.buffer.buffer = TDI_BUFFER_ID(1, 1);
	sqe.buffer.flags = TDI_BUFFER_READ;
	sqe.buffer.length = 8192;
	sqe.buffer.address = WINDOW + 8192;
	sqe.buffer.shift = 12;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	fault("trace clear");
	assert_int_equal(vmm_unmap(v, WINDOW + 4096, 4096), 0);
	assert_int_equal(traced("in use"), 0);
	assert_int_equal(vmm_unmap(v, WINDOW, 4096), 0);
	assert_int_equal(traced("in use: 0x100000000-0x100000fff by buffer 0x01000001"), 1);
	assert_int_equal(vmm_unmap(v, WINDOW + 8192, 4096), 0);
	assert_int_equal(traced("in use: 0x100002000-0x100002fff by buffer 0x01000001"), 1);
	assert_int_equal(unmap_buffer(v), TDI_AS_OK);
	/* a ring, */
	assert_int_equal(vmm_map(v, v->memfd, at - RAM, WINDOW, 4096, 3), 0);
	assert_int_equal(vmm_map(v, v->memfd, at + 4096 - RAM, WINDOW + 4096, 4096, 3), 0);
	r = q;
	r.id = 2;
	r.cq_at = WINDOW;
	r.cq = guest_at(v, at);
	assert_int_equal(guest_queue_create(&r, 3, 0, 0), TDI_AS_OK);
	assert_int_equal(vmm_unmap(v, WINDOW, 4096), 0);
	assert_int_equal(traced("in use: 0x100000000-0x100000fff by queue 2"), 1);
	assert_int_equal(guest_queue_end(&r), TDI_AS_OK);
	/* an event queue: which ends in FATAL. After the reset nothing is in use. */
	assert_int_equal(guest_eq(v, &second, 3, 3, 2, 0), TDI_AS_OK);
	sqe = (struct tdi_admin_sqe){ .opcode = TDI_ADMIN_EQ_CREATE };
	sqe.eq.eq = 4;
	sqe.eq.depth_log2 = 3;
	sqe.eq.address = WINDOW + 4096;
	assert_int_equal(guest_admin(v, &sqe), TDI_AS_OK);
	assert_int_equal(vmm_unmap(v, WINDOW + 4096, 4096), 0);
	assert_int_equal(traced("in use: 0x100001000-0x100001fff by event queue 4"), 1);
	assert_true(status(v) & TDI_STS_FATAL);
	fault("trace clear");
	vmm_write(v, 0, TDI_REG_RESET, 4, TDI_RESET_MAGIC);
	assert_int_equal(vmm_unmap(v, RAM, RAM_BYTES), 0);
	assert_int_equal(traced("in use"), 0);
	assert_int_equal(traced("write RESET 0x74736572"), 1);
}

static void test_crash(void **state)
{
	struct vmm *v = *state;
	const char line[] = "crash\n";
	char byte, path[96];
	int end;

	work(v, &(struct eq){ 0 }, &(struct queue){ 0 });
	assert_int_equal(send(control, line, strlen(line), 0), strlen(line));
	assert_int_equal(waitpid(v->tenond, &end, 0), v->tenond);
	assert_true(WIFEXITED(end) && WEXITSTATUS(end) == 1);
	assert_true(recv(v->fd, &byte, 1, 0) <= 0);
	/* What a crash leaves lying about is in nobody's way. */
	assert_int_equal(access(v->path, F_OK), 0);
	close(v->fd);
	close(control);
	snprintf(path, sizeof(path), "%s.faults", v->path);
	assert_int_equal(access(path, F_OK), 0);
	free(v);
	start(state);
	v = *state;
	assert_true(guest_enable(v, ALL, 0));
	assert_int_equal(alive(v), TDI_AS_OK);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, start, stop)
	const struct CMUnitTest tests[] = {
		T(requests), T(stall), T(hold), T(hold_unlimited),
		cmocka_unit_test_setup_teardown(test_hold_two, start_two, stop),
		T(stall_admin), T(interrupts), T(completions), T(admin), T(identify), T(events), T(dma),
		T(after_unmap), T(gone), T(registers), T(trace), T(crash),
	};

	vmm_faults = true;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	/* One alone, also for tests/check-mutants. */
	if (argc > 1 || getenv("TEST"))
		cmocka_set_test_filter(argc > 1 ? argv[1] : getenv("TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
