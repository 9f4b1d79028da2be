/* SPDX-License-Identifier: MIT */
/* The core commands: what each does, compared with a reference, what is refused and how, and semaphores. */
#include "harness.h"

#include <pthread.h>
#include <stdlib.h>

#define LONG_NS 3000000000000ULL
#define OFFSET(member) ((uint32_t)offsetof(struct tdi_sqe, member))

/* ------------------------------------------------------------------------------ buffers and their model */

#define PAGES		64
#define BYTES		(PAGES * TDI_PAGE_SIZE)
#define BLOCKS_MAX	24

enum { PLAIN, BLOCKS, SECOND, READ_ONLY, WRITE_ONLY, LARGE_BLOCKS, TINY, BUFFERS };

/* A buffer, and where each byte of it lies in the model's memory. */
struct model_buffer {
	uint32_t id, flags, shift;
	uint64_t first, length;
	uint32_t blocks;			/* 0: inline */
	uint32_t block[BLOCKS_MAX];		/* offsets of the blocks in the memory */
};

struct model {
	struct host *h;
	struct area memory, arrays;
	struct model_buffer buffer[BUFFERS];
	uint8_t byte[BYTES];
};

static uint32_t place(const struct model_buffer *b, uint64_t offset)
{
	uint64_t at = b->first + offset;

	if (!b->blocks)
		return (uint32_t)at;
	return b->block[at >> b->shift] + (uint32_t)(at & ((1u << b->shift) - 1));
}

static void model_map(struct model *m, int i)
{
	struct model_buffer *b = &m->buffer[i];
	uint64_t *array = (void *)(m->arrays.host + 512 * i);
	uint32_t j;

	for (j = 0; j < b->blocks; j++)
		array[j] = m->memory.address + b->block[j];
	if (b->blocks)
		map_blocks(m->h, 1, b->id, b->flags, m->arrays.address + 512u * (uint32_t)i, b->first,
			   b->length, b->shift);
	else
		map(m->h, 1, b->id, b->flags, &m->memory, b->first, b->length);
}

static struct model *model_open(struct host *h)
{
	struct model *m = calloc(1, sizeof(*m));
	uint32_t pages[PAGES], i, j;

	assert_non_null(m);
	m->h = h;
	/* Blocks of 16 KiB are to be aligned in transport addresses. */
	h->next_address = (h->next_address + 0xffff) & ~0xffffULL;
	area_open(h, &m->memory, BYTES, PROT_READ | PROT_WRITE);
	area_open(h, &m->arrays, 512 * BUFFERS, PROT_READ);
	for (i = 0; i < BYTES; i++)
		m->memory.host[i] = m->byte[i] = (uint8_t)random_u32();
	for (i = 0; i < PAGES; i++)
		pages[i] = i;
	for (i = PAGES - 1; i > 0; i--) {
		uint32_t other = random_below(i + 1), page = pages[i];

		pages[i] = pages[other];
		pages[other] = page;
	}
	m->buffer[PLAIN] = (struct model_buffer){ .flags = RW, .first = 100, .length = 50001 };
	m->buffer[BLOCKS] = (struct model_buffer){ .flags = RW, .shift = 12, .first = 1232, .length = 75000,
						   .blocks = 19 };
	m->buffer[SECOND] = (struct model_buffer){ .flags = RW, .shift = 12, .first = 4095, .length = 60002,
						   .blocks = 16 };
	m->buffer[READ_ONLY] = (struct model_buffer){ .flags = TDI_BUFFER_READ, .shift = 12, .first = 8,
						      .length = 20480 - 8, .blocks = 5 };
	m->buffer[WRITE_ONLY] = (struct model_buffer){ .flags = TDI_BUFFER_WRITE, .first = 200000,
						       .length = 30000 };
	m->buffer[LARGE_BLOCKS] = (struct model_buffer){ .flags = RW, .shift = 14, .first = 16000,
							 .length = 50000, .blocks = 5 };
	m->buffer[TINY] = (struct model_buffer){ .flags = RW, .first = 8 * 4096 + 16, .length = 1 };
	for (i = 0; i < BUFFERS; i++) {
		struct model_buffer *b = &m->buffer[i];

		b->id = TDI_BUFFER_ID(1 + 7 * i, 200 + i);
		/* Other pages in each; SECOND begins with the last of BLOCKS. */
		for (j = 0; j < b->blocks; j++)
			b->block[j] = b->shift == 14 ? (12 - 3 * j) * 16384 :
				      pages[(i * 18 + j) % PAGES] * TDI_PAGE_SIZE;
		model_map(m, (int)i);
	}
	return m;
}

static void model_close(struct model *m)
{
	area_close(&m->memory);
	area_close(&m->arrays);
	free(m);
}

static const struct model_buffer *model_find(const struct model *m, uint32_t id)
{
	int i;

	for (i = 0; i < BUFFERS; i++)
		if (m->buffer[i].id == id)
			return &m->buffer[i];
	return NULL;
}

static void assert_memory_is_model(const struct model *m, const char *after)
{
	uint32_t i;

	if (!memcmp(m->memory.host, m->byte, BYTES))
		return;
	for (i = 0; m->memory.host[i] == m->byte[i]; i++)
		;
	fail_msg("%s: byte 0x%x is 0x%02x, not 0x%02x", after, i, m->memory.host[i], m->byte[i]);
}

/* --------------------------------------------------------- the reference: the text, step by step [CMD-2] */

static int says(uint32_t *to, int status, uint32_t info)
{
	*to = info;
	return status;
}

static int check_operand(const struct model *m, uint32_t id, uint64_t offset, __uint128_t bytes,
			 uint32_t rights, uint32_t *info)
{
	const struct model_buffer *b = model_find(m, id);

	if (!b)
		return says(info, TDI_SC_BUFFER_ID, id);
	if (offset + bytes > b->length)
		return says(info, TDI_SC_BUFFER_BOUNDS, id);
	if ((b->flags & rights) != rights)
		return says(info, TDI_SC_BUFFER_RIGHTS, id);
	return TDI_SC_OK;
}

static int check_copy(const struct model *m, const struct tdi_sqe *sqe, uint32_t *info)
{
	const struct tdi_copy *c = &sqe->copy;
	__uint128_t dst_bytes, src_bytes;
	int status;

	if (c->reserved || (c->rows == 1 && (c->dst_pitch || c->src_pitch)))
		return TDI_SC_RESERVED;
	if (!c->row_bytes)
		return says(info, TDI_SC_FIELD, 40);
	if (!c->rows)
		return says(info, TDI_SC_FIELD, 48);
	if (c->rows > 1 && c->dst_pitch < c->row_bytes)
		return says(info, TDI_SC_FIELD, 52);
	if (c->rows > 1 && c->src_pitch < c->row_bytes)
		return says(info, TDI_SC_FIELD, 56);
	dst_bytes = (__uint128_t)(c->rows - 1) * c->dst_pitch + c->row_bytes;
	src_bytes = (__uint128_t)(c->rows - 1) * c->src_pitch + c->row_bytes;
	status = check_operand(m, c->dst, c->dst_offset, dst_bytes, TDI_BUFFER_WRITE, info);
	if (!status)
		status = check_operand(m, c->src, c->src_offset, src_bytes, TDI_BUFFER_READ, info);
	if (status)
		return status;
	if (c->dst == c->src && c->dst_offset < c->src_offset + src_bytes &&
	    c->src_offset < c->dst_offset + dst_bytes)
		return says(info, TDI_SC_OVERLAP, c->dst);
	return TDI_SC_OK;
}

static int check_fill(const struct model *m, const struct tdi_sqe *sqe, uint32_t *info)
{
	const struct tdi_fill *f = &sqe->fill;

	if (f->reserved[0] || f->reserved[1])
		return TDI_SC_RESERVED;
	if (f->width != 1 && f->width != 2 && f->width != 4 && f->width != 8)
		return says(info, TDI_SC_FIELD, 20);
	if (!f->bytes)
		return says(info, TDI_SC_FIELD, 32);
	if (f->offset % f->width || f->bytes % f->width)
		return TDI_SC_ALIGNMENT;
	return check_operand(m, f->dst, f->offset, f->bytes, TDI_BUFFER_WRITE, info);
}

static int check_semaphore(const struct model *m, uint32_t id, uint64_t offset, uint32_t rights,
			   uint32_t *info)
{
	int status;

	if (offset % 8)
		return TDI_SC_ALIGNMENT;
	status = check_operand(m, id, offset, 8, rights, info);
	if (status)
		return status;
	return place(model_find(m, id), offset) % 8 ? TDI_SC_ALIGNMENT : TDI_SC_OK;
}

static int check_signal(const struct model *m, const struct tdi_sqe *sqe, uint32_t *info)
{
	const struct tdi_signal *s = &sqe->signal;

	if (s->reserved[0] || s->reserved[1] || s->reserved[2])
		return TDI_SC_RESERVED;
	if (s->mode == TDI_SIGNAL_ADD && sqe->flags & TDI_SQE_IDEMPOTENT)
		return says(info, TDI_SC_FIELD, 1);
	if (s->mode > TDI_SIGNAL_ADD)
		return says(info, TDI_SC_FIELD, 20);
	return check_semaphore(m, s->buffer, s->offset, TDI_BUFFER_WRITE, info);
}

static int check_wait(const struct model *m, const struct tdi_sqe *sqe, uint32_t *info)
{
	const struct tdi_wait *w = &sqe->wait;

	if (w->reserved0 || w->reserved1[0] || w->reserved1[1])
		return TDI_SC_RESERVED;
	if (!w->timeout_ns)
		return says(info, TDI_SC_FIELD, 40);
	if (w->timeout_ns > TN_MAX_WAIT_NS)
		return TDI_SC_LIMIT;
	return check_semaphore(m, w->buffer, w->offset, TDI_BUFFER_READ, info);
}

static int check(const struct model *m, const struct tdi_sqe *sqe, uint32_t *info)
{
	int i;

	*info = 0;
	if (sqe->opcode > TDI_OP_WAIT)
		return TDI_SC_OPCODE;
	if (sqe->flags & ~(TDI_SQE_LINK | TDI_SQE_IDEMPOTENT) || sqe->reserved0 || sqe->reserved1)
		return TDI_SC_RESERVED;
	switch (sqe->opcode) {
	case TDI_OP_COPY:
		return check_copy(m, sqe, info);
	case TDI_OP_FILL:
		return check_fill(m, sqe, info);
	case TDI_OP_SIGNAL:
		return check_signal(m, sqe, info);
	case TDI_OP_WAIT:
		return check_wait(m, sqe, info);
	}
	for (i = 0; i < 6; i++)
		if (sqe->raw[i])
			return TDI_SC_RESERVED;
	return TDI_SC_OK;
}

/* Bytes of the memory that a command names as its destination. */
static void mark(const struct model *m, const struct tdi_copy *c, bool dst, uint8_t *marks, uint8_t bit)
{
	const struct model_buffer *b = model_find(m, dst ? c->dst : c->src);
	uint64_t offset = dst ? c->dst_offset : c->src_offset, pitch = dst ? c->dst_pitch : c->src_pitch;
	uint64_t row, column;

	for (row = 0; row < c->rows; row++)
		for (column = 0; column < c->row_bytes; column++)
			marks[place(b, offset + row * pitch + column)] |= bit;
}

static uint64_t get64(const struct model *m, const struct model_buffer *b, uint64_t offset)
{
	uint64_t value;

	memcpy(&value, &m->byte[place(b, offset)], 8);
	return value;
}

/*
 * What the command does to the model, given that it is valid; the status. Where source and destination are
 * the same memory under two ids the result isn't specified [CMD-16]: then all outside of the destination must
 * be as it was, and the destination is taken as it is found; such a command must be run alone.
 */
static int effect(struct model *m, const struct tdi_sqe *sqe, bool *unspecified)
{
	const struct model_buffer *b;
	uint64_t i, value;

	switch (sqe->opcode) {
	case TDI_OP_COPY: {
		static uint8_t marks[BYTES], before[BYTES];
		const struct tdi_copy *c = &sqe->copy;
		const struct model_buffer *from = model_find(m, c->src);
		uint64_t row;

		b = model_find(m, c->dst);
		memset(marks, 0, sizeof(marks));
		mark(m, c, true, marks, 1);
		mark(m, c, false, marks, 2);
		*unspecified = memchr(marks, 3, sizeof(marks)) != NULL;
		if (*unspecified)
			return TDI_SC_OK;
		memcpy(before, m->byte, sizeof(before));
		for (row = 0; row < c->rows; row++)
			for (i = 0; i < c->row_bytes; i++)
				m->byte[place(b, c->dst_offset + row * c->dst_pitch + i)] =
					before[place(from, c->src_offset + row * c->src_pitch + i)];
		return TDI_SC_OK;
	}
	case TDI_OP_FILL:
		b = model_find(m, sqe->fill.dst);
		for (i = 0; i < sqe->fill.bytes; i++)
			m->byte[place(b, sqe->fill.offset + i)] =
				(uint8_t)(sqe->fill.pattern >> (8 * (i % sqe->fill.width)));
		return TDI_SC_OK;
	case TDI_OP_SIGNAL:
		b = model_find(m, sqe->signal.buffer);
		value = get64(m, b, sqe->signal.offset);
		if (sqe->signal.mode == TDI_SIGNAL_ADD)
			value += sqe->signal.value;
		else if ((int64_t)(sqe->signal.value - value) > 0)
			value = sqe->signal.value;
		memcpy(&m->byte[place(b, sqe->signal.offset)], &value, 8);
		return TDI_SC_OK;
	case TDI_OP_WAIT:
		value = get64(m, model_find(m, sqe->wait.buffer), sqe->wait.offset);
		return (int64_t)(value - sqe->wait.ref) >= 0 ? TDI_SC_OK : TDI_SC_TIMEOUT;
	}
	return TDI_SC_OK;
}

/* ----------------------------------------------------------------------------------- random commands */

static uint32_t random_buffer(const struct model *m)
{
	return m->buffer[random_below(BUFFERS)].id;
}

static uint64_t random_offset(const struct model *m, uint32_t id)
{
	return random_below((uint32_t)model_find(m, id)->length);
}

static uint64_t random_bytes(const struct model *m, uint32_t id, uint64_t offset)
{
	uint32_t left = (uint32_t)(model_find(m, id)->length - offset);
	uint32_t most = random_below(4) ? 300 : 50000;

	return 1 + random_below(left < most ? left : most);
}

/* Valid more often than not. */
static struct tdi_sqe random_command(const struct model *m)
{
	uint32_t dst = random_buffer(m), src = random_buffer(m), width = 1u << random_below(4);
	uint64_t dst_offset = random_offset(m, dst), src_offset = random_offset(m, src);
	uint64_t bytes = random_bytes(m, dst, dst_offset);

	switch (random_below(8)) {
	case 0:
		return nop();
	case 1:
	case 2:
		return copy(dst, dst_offset, src, src_offset, bytes);
	case 3: {
		uint32_t row = 1 + random_below(100), rows = 1 + random_below(40);

		return copy_rows(dst, dst_offset, rows > 1 ? row + random_below(80) : 0, src, src_offset,
				 rows > 1 ? row + random_below(80) : 0, row, rows);
	}
	case 4:
	case 5:
		return fill(dst, dst_offset / width * width, (bytes + width - 1) / width * width,
			    random_u32() * 0x9e3779b97f4a7c15ULL, width);
	case 6:
		return sem_signal(dst, dst_offset / 8 * 8, random_u32() * 0x9e3779b97f4a7c15ULL,
				  random_below(2));
	default:
		return sem_wait(src, src_offset / 8 * 8, random_u32() * 0x9e3779b97f4a7c15ULL,
				1 + random_below(5000));
	}
}

/* Values around which checks go wrong. */
static uint64_t random_nasty(const struct model *m)
{
	static const uint64_t values[] = { 0, 1, 2, 3, 7, 8, 64, 4095, 4096, 1u << 31, 0xffffffff, 1ULL << 32,
					   1ULL << 63, ~0ULL, ~0ULL - 7, TN_MAX_WAIT_NS, TN_MAX_WAIT_NS + 1 };
	uint32_t choice = random_below(24);

	if (choice < sizeof(values) / sizeof(values[0]))
		return values[choice];
	if (choice == 17)
		return random_u32();
	if (choice == 18)
		return random_buffer(m) + (1u << 24);
	if (choice == 19)
		return random_buffer(m) + 1;
	return m->buffer[random_below(BUFFERS)].length + random_below(3) - 1;
}

static void spoil(const struct model *m, struct tdi_sqe *sqe)
{
	uint32_t n = random_below(3), i;

	for (i = 0; i < n; i++) {
		uint64_t value = random_nasty(m);
		uint32_t at = random_below(12);

		if (random_below(16) == 0)
			at = 0;
		else if (random_below(16) == 0)
			sqe->flags = (uint8_t)value;
		else if (at >= 4)
			((uint32_t *)(void *)sqe)[at + 2] = (uint32_t)value;
		else
			sqe->raw[at] = value;
		if (at == 0 && random_below(8) == 0)
			sqe->opcode = (uint8_t)random_u32();
		if (sqe->opcode == TDI_OP_TENSOR)
			sqe->opcode = TDI_OP_EXEC;
	}
}

/*
 * Programs of random commands, right and wrong: status and info of each are what the text says, and after
 * each batch all of the memory is what the reference has: in order, no byte more and none less.
 * [CMD-2, CMD-3] [CMD-7, CMD-8, CMD-10, CMD-12, CMD-15, CMD-17] [QUE-10, QUE-13] [BUF-3, BUF-4, BUF-6, BUF-9]
 * [ERR-1]
 */
static void test_random_programs(void **state)
{
	struct host *h = *state;
	struct model *m = model_open(h);
	uint32_t round, counts[64] = { 0 };
	struct queue q;

	queue_open(h, &q, 10, 1, 3);
	for (round = 0; round < 5000; round++) {
		uint32_t n = 1 + random_below(8), i;
		uint32_t info[8];
		int status[8];

		for (i = 0; i < n; i++) {
			struct tdi_sqe sqe = random_command(m);
			bool unspecified = false;

			spoil(m, &sqe);
			sqe.flags &= (uint8_t)~TDI_SQE_LINK;
			status[i] = check(m, &sqe, &info[i]);
			if (!status[i])
				status[i] = effect(m, &sqe, &unspecified);
			if (unspecified) {
				static uint8_t marks[BYTES];
				uint32_t at;

				if (i)
					break;
				memset(marks, 0, sizeof(marks));
				mark(m, &sqe.copy, true, marks, 1);
				assert_int_equal(run(&q, &sqe), TDI_SC_OK);
				for (at = 0; at < BYTES; at++)
					if (marks[at])
						m->byte[at] = m->memory.host[at];
				break;
			}
			queue_push(&q, &sqe);
		}
		n = i;
		queue_publish(&q);
		/* [RST-13] */
		if (round % 8 == 0) {
			quiesce(h);
			resume(h);
		}
		for (i = 0; i < n && q.head != q.tail; i++) {
			const struct tdi_sqe *sqe = &q.sent[q.head & q.mask];
			int got = reap(&q);

			if (got != status[i] || q.cqe.info != info[i])
				fail_msg("opcode 0x%x: status 0x%x info 0x%x, not 0x%x info 0x%x",
					 sqe->opcode, got, q.cqe.info, status[i], info[i]);
			counts[status[i]]++;
		}
		assert_memory_is_model(m, "after a program");
	}
	/* The generator has reached all that can be reached. */
	assert_true(counts[TDI_SC_OK] > 5000);
	for (round = TDI_SC_OPCODE; round <= TDI_SC_BUFFER_RIGHTS; round++)
		assert_true(counts[round] > 20);
	assert_true(counts[TDI_SC_OVERLAP] > 20);
	assert_true(counts[TDI_SC_LIMIT] > 3);
	assert_true(counts[TDI_SC_TIMEOUT] > 20);
	queue_close(&q);
	model_close(m);
}

/* ------------------------------------------------------------------------------- refusals, one by one */

static void refused(struct model *m, struct queue *q, const struct tdi_sqe *sqe, int status, uint32_t info)
{
	int got = run(q, sqe);

	if (got != status || q->cqe.info != info)
		fail_msg("opcode 0x%x: status 0x%x info 0x%x, not 0x%x info 0x%x", sqe->opcode, got,
			 q->cqe.info, status, info);
	assert_int_equal(q->cqe.units, 0);
	assert_memory_is_model(m, "after a refused command");
}

/* One valid command of each opcode. */
static struct tdi_sqe valid(const struct model *m, int opcode)
{
	switch (opcode) {
	case TDI_OP_COPY:
		return copy_rows(m->buffer[PLAIN].id, 8, 16, m->buffer[BLOCKS].id, 16, 32, 16, 2);
	case TDI_OP_FILL:
		return fill(m->buffer[PLAIN].id, 8, 16, 0x0102030405060708ULL, 8);
	case TDI_OP_SIGNAL:
		return sem_signal(m->buffer[BLOCKS].id, 8, 1, TDI_SIGNAL_MAX);
	case TDI_OP_WAIT:
		return sem_wait(m->buffer[BLOCKS].id, 8, 0, 1000);
	}
	return nop();
}

/* Every byte that an opcode doesn't use. [ERR-4, CON-3, CMD-11, CMD-2] */
static void test_reserved(void **state)
{
	/* Of the bytes from 16 on, those in use: a bit for each. */
	static const uint64_t used[] = {
		[TDI_OP_NOP] = 0,
		[TDI_OP_COPY] = 0x0fffffffffff,
		[TDI_OP_FILL] = 0x0000ffffffff,
		[TDI_OP_SIGNAL] = 0x000000ffffff,
		[TDI_OP_WAIT] = 0x0000ffffff0f,
	};
	static const uint8_t values[] = { 0x01, 0x80, 0xff };
	struct host *h = *state;
	struct model *m = model_open(h);
	struct queue q;
	size_t byte, i;
	int opcode;

	queue_open(h, &q, 10, 1, 3);
	for (opcode = TDI_OP_NOP; opcode <= TDI_OP_WAIT; opcode++) {
		struct tdi_sqe sqe;

		for (byte = 2; byte < sizeof(sqe); byte++) {
			if ((byte >= 8 && byte < 16) || (byte >= 16 && used[opcode] >> (byte - 16) & 1))
				continue;
			for (i = 0; i < sizeof(values); i++) {
				sqe = valid(m, opcode);
				((uint8_t *)&sqe)[byte] = values[i];
				refused(m, &q, &sqe, TDI_SC_RESERVED, 0);
				/* Step 2 comes before step 6. */
				if (opcode != TDI_OP_NOP)
					sqe.copy.dst = 0xffffffff;
				refused(m, &q, &sqe, TDI_SC_RESERVED, 0);
			}
		}
		for (i = 2; i < 8; i++) {
			sqe = valid(m, opcode);
			sqe.flags = (uint8_t)(1 << i);
			refused(m, &q, &sqe, TDI_SC_RESERVED, 0);
		}
		/* Without any of that it is valid. */
		sqe = valid(m, opcode);
		assert_true(run(&q, &sqe) == TDI_SC_OK || q.cqe.status == TDI_SC_TIMEOUT);
		memcpy(m->byte, m->memory.host, BYTES);
	}
	queue_close(&q);
	model_close(m);
}

/* An opcode is known if and only if IDENTIFY says so. [NEG-3, NEG-5, NEG-6, ERR-2] */
static void test_opcodes(void **state)
{
	struct host *h = *state;
	struct model *m = model_open(h);
	struct tdi_admin_sqe sqe = { .opcode = TDI_ADMIN_IDENTIFY };
	struct tdi_identify id;
	struct queue q;
	int opcode;

	sqe.data.address = h->data.address;
	sqe.data.bytes = sizeof(id);
	admin_ok(h, &sqe);
	memcpy(&id, h->data.host, sizeof(id));
	assert_int_equal(id.opcodes[0] & 0x1f, 0x1f);
	assert_int_equal(id.opcodes[0] >> TDI_OP_EXEC & 1, !!(id.features & TDI_F_EXEC));
	assert_int_equal(id.opcodes[0] >> TDI_OP_TENSOR & 1, !!(id.features & TDI_F_TENSOR));
	queue_open(h, &q, 10, 1, 3);
	for (opcode = 0; opcode < 256; opcode++) {
		bool known = id.opcodes[opcode / 64] >> (opcode % 64) & 1;
		struct tdi_sqe command = nop();

		/* With all bytes wrong: what is unknown is told before all else. */
		memset(&command.raw, 0xff, sizeof(command.raw));
		command.opcode = (uint8_t)opcode;
		command.flags = 0xfc;
		command.reserved1 = 1;
		if (known)
			assert_int_not_equal(run(&q, &command), TDI_SC_OPCODE);
		else
			refused(m, &q, &command, TDI_SC_OPCODE, 0);
	}
	queue_close(&q);
	model_close(m);
}

/*
 * Each refusal by name, at the edge. [ERR-3, ERR-5, ERR-6, ERR-7, ERR-8, ERR-13, ERR-14]
 * [CMD-7, CMD-8, CMD-9] [CMD-13, CMD-14, CMD-15, CMD-16, CMD-18, CMD-19] [SEM-1, SEM-3, SEM-10]
 * [BUF-2, BUF-4, BUF-6]
 */
static void test_refusals(void **state)
{
	struct host *h = *state;
	struct model *m = model_open(h);
	uint32_t plain = m->buffer[PLAIN].id, blocks = m->buffer[BLOCKS].id, second = m->buffer[SECOND].id;
	uint32_t ro = m->buffer[READ_ONLY].id, wo = m->buffer[WRITE_ONLY].id;
	uint64_t end = m->buffer[PLAIN].length, blocks_end = m->buffer[BLOCKS].length;
	uint32_t none = TDI_BUFFER_ID(2, 1), stale = plain + (1u << 24);
	struct queue q;
	const struct {
		struct tdi_sqe sqe;
		int status;
		uint32_t info;
	} cases[] = {
		{ copy(plain, 0, blocks, 0, 0), TDI_SC_FIELD, OFFSET(copy.row_bytes) },
		{ copy_rows(plain, 0, 0, blocks, 0, 0, 8, 0), TDI_SC_FIELD, OFFSET(copy.rows) },
		{ copy_rows(plain, 0, 8, blocks, 0, 8, 0, 0), TDI_SC_FIELD, OFFSET(copy.row_bytes) },
		{ copy_rows(plain, 0, 7, blocks, 0, 7, 8, 2), TDI_SC_FIELD, OFFSET(copy.dst_pitch) },
		{ copy_rows(plain, 0, 8, blocks, 0, 7, 8, 2), TDI_SC_FIELD, OFFSET(copy.src_pitch) },
		{ copy_rows(plain, 0, 8, blocks, 0, 0, 8, 1), TDI_SC_RESERVED, 0 },
		{ copy_rows(plain, 0, 0, blocks, 0, 8, 8, 1), TDI_SC_RESERVED, 0 },
		{ copy_rows(plain, 0, 0xffffffff, blocks, 0, 0xffffffff, 1ULL << 32, 2), TDI_SC_FIELD,
		  OFFSET(copy.dst_pitch) },
		{ copy(none, 0, 0, 0, 8), TDI_SC_BUFFER_ID, none },
		{ copy(stale, 0, blocks, 0, 8), TDI_SC_BUFFER_ID, stale },
		{ copy(plain & 0xffffff, 0, blocks, 0, 8), TDI_SC_BUFFER_ID, plain & 0xffffff },
		{ copy(0, 0, blocks, 0, 8), TDI_SC_BUFFER_ID, 0 },
		{ copy(0xffffffff, 0, blocks, 0, 8), TDI_SC_BUFFER_ID, 0xffffffff },
		{ copy(plain, 0, none, 0, 8), TDI_SC_BUFFER_ID, none },
		{ copy(plain, end - 7, none, 0, 8), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy(plain, end, blocks, 0, 1), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy(plain, ~0ULL, blocks, 0, 1), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy(plain, ~0ULL - 7, blocks, 0, 16), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy(plain, 0, blocks, blocks_end - 7, 8), TDI_SC_BUFFER_BOUNDS, blocks },
		{ copy(plain, 8, blocks, ~0ULL - 3, 8), TDI_SC_BUFFER_BOUNDS, blocks },
		{ copy(plain, 8, blocks, 0, ~0ULL), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy_rows(plain, 0, end, blocks, 0, 8, 8, 2), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy_rows(plain, 0, end - 7, blocks, 0, 8, 8, 2), TDI_SC_BUFFER_BOUNDS, plain },
		{ copy_rows(plain, 0, 8, blocks, 1, blocks_end - 8, 8, 2), TDI_SC_BUFFER_BOUNDS, blocks },
		{ copy_rows(plain, 0, 0xffffffff, blocks, 0, 0xffffffff, 0xffffffff, 0xffffffff),
		  TDI_SC_BUFFER_BOUNDS, plain },
		{ copy(ro, 0, none, 0, 8), TDI_SC_BUFFER_RIGHTS, ro },
		{ copy(ro, 1 << 20, none, 0, 8), TDI_SC_BUFFER_BOUNDS, ro },
		{ copy(plain, 0, wo, 0, 8), TDI_SC_BUFFER_RIGHTS, wo },
		{ copy(wo, 0, wo, 0, 8), TDI_SC_BUFFER_RIGHTS, wo },
		{ copy(plain, 0, plain, 0, 1), TDI_SC_OVERLAP, plain },
		{ copy(plain, 7, plain, 0, 8), TDI_SC_OVERLAP, plain },
		{ copy(plain, 0, plain, 7, 8), TDI_SC_OVERLAP, plain },
		{ copy_rows(plain, 0, 16, plain, 8, 16, 8, 3), TDI_SC_OVERLAP, plain },

		{ fill(plain, 0, 8, 0, 0), TDI_SC_FIELD, OFFSET(fill.width) },
		{ fill(plain, 0, 9, 0, 3), TDI_SC_FIELD, OFFSET(fill.width) },
		{ fill(plain, 0, 16, 0, 16), TDI_SC_FIELD, OFFSET(fill.width) },
		{ fill(plain, 1, 0, 0, 16), TDI_SC_FIELD, OFFSET(fill.width) },
		{ fill(plain, 1, 0, 0, 8), TDI_SC_FIELD, OFFSET(fill.bytes) },
		{ fill(none, 1, 2, 0, 2), TDI_SC_ALIGNMENT, 0 },
		{ fill(plain, 0, 3, 0, 2), TDI_SC_ALIGNMENT, 0 },
		{ fill(plain, 4, 8, 0, 8), TDI_SC_ALIGNMENT, 0 },
		{ fill(plain, 8, 12, 0, 8), TDI_SC_ALIGNMENT, 0 },
		{ fill(none, 0, 8, 0, 8), TDI_SC_BUFFER_ID, none },
		{ fill(plain, 0, end + 1, 0, 1), TDI_SC_BUFFER_BOUNDS, plain },
		{ fill(plain, ~0ULL, 1, 0, 1), TDI_SC_BUFFER_BOUNDS, plain },
		{ fill(plain, 0, ~0ULL, 0, 1), TDI_SC_BUFFER_BOUNDS, plain },
		{ fill(plain, ~0ULL - 7, 16, 0, 8), TDI_SC_BUFFER_BOUNDS, plain },
		{ fill(ro, 0, 8, 0, 8), TDI_SC_BUFFER_RIGHTS, ro },

		{ sem_signal(none, 4, 1, 2), TDI_SC_FIELD, OFFSET(signal.mode) },
		{ sem_signal(blocks, 0, 1, 0xffffffff), TDI_SC_FIELD, OFFSET(signal.mode) },
		{ sem_signal(none, 4, 1, 0), TDI_SC_ALIGNMENT, 0 },
		{ sem_signal(none, 8, 1, 0), TDI_SC_BUFFER_ID, none },
		{ sem_signal(blocks, blocks_end / 8 * 8, 1, 0), TDI_SC_BUFFER_BOUNDS, blocks },
		{ sem_signal(blocks, ~0ULL - 7, 1, 0), TDI_SC_BUFFER_BOUNDS, blocks },
		{ sem_signal(ro, 8, 1, 0), TDI_SC_BUFFER_RIGHTS, ro },
		/* Aligned in the buffer, not in transport addresses: after the buffer's own checks. */
		{ sem_signal(plain, 8, 1, 0), TDI_SC_ALIGNMENT, 0 },
		{ sem_signal(second, 8, 1, 0), TDI_SC_ALIGNMENT, 0 },
		{ sem_signal(plain, (end + 8) / 8 * 8, 1, 0), TDI_SC_BUFFER_BOUNDS, plain },

		{ sem_wait(none, 4, 0, 0), TDI_SC_FIELD, OFFSET(wait.timeout_ns) },
		{ sem_wait(none, 4, 0, TN_MAX_WAIT_NS + 1), TDI_SC_LIMIT, 0 },
		{ sem_wait(none, 4, 0, ~0ULL), TDI_SC_LIMIT, 0 },
		{ sem_wait(none, 4, 0, 1), TDI_SC_ALIGNMENT, 0 },
		{ sem_wait(none, 8, 0, 1), TDI_SC_BUFFER_ID, none },
		{ sem_wait(blocks, blocks_end / 8 * 8, 0, 1), TDI_SC_BUFFER_BOUNDS, blocks },
		{ sem_wait(wo, 8, 0, 1), TDI_SC_BUFFER_RIGHTS, wo },
		{ sem_wait(plain, 8, 0, 1), TDI_SC_ALIGNMENT, 0 },
	};
	struct tdi_sqe sqe;
	size_t i;

	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(m, &q, &cases[i].sqe, cases[i].status, cases[i].info);
	/* IDEMPOTENT: allowed everywhere but on a SIGNAL that adds. */
	for (i = TDI_OP_NOP; i <= TDI_OP_WAIT; i++) {
		sqe = valid(m, (int)i);
		sqe.flags = TDI_SQE_IDEMPOTENT;
		assert_true(run(&q, &sqe) == TDI_SC_OK || q.cqe.status == TDI_SC_TIMEOUT);
	}
	memcpy(m->byte, m->memory.host, BYTES);
	sqe = sem_signal(none, 4, 1, TDI_SIGNAL_ADD);
	sqe.flags = TDI_SQE_IDEMPOTENT;
	refused(m, &q, &sqe, TDI_SC_FIELD, 1);
	/* At the edge, and right. */
	sqe = copy_rows(plain, 0, (uint32_t)end - 8, second, 0, 8, 8, 2);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	sqe = copy(plain, 8, plain, 0, 8);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	sqe = fill(plain, end - 1, 1, 0, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	sqe = sem_wait(blocks, blocks_end / 8 * 8 - 8, 0, TN_MAX_WAIT_NS);
	assert_true(run(&q, &sqe) == TDI_SC_OK || q.cqe.status == TDI_SC_TIMEOUT);
	queue_close(&q);
	model_close(m);
}

/* --------------------------------------------------------------------------------------- buffer tables */

/*
 * Each index can be had, and names its own memory; a new holder isn't reached by the old id. [BUF-1, BUF-2]
 */
static void test_full_table(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint32_t i, round;

	area_open(h, &memory, TN_MAX_BUFFERS * 16, PROT_READ | PROT_WRITE);
	queue_open(h, &q, 10, 1, 6);
	for (round = 1; round <= 2; round++) {
		for (i = 0; i < TN_MAX_BUFFERS; i++)
			map(h, 1, TDI_BUFFER_ID(i, round), RW, &memory, 16 * i, 16);
		for (i = 0; i < TN_MAX_BUFFERS; i++) {
			struct tdi_sqe sqe = fill(TDI_BUFFER_ID(i, round), 0, 16, i * round, 8);

			if (q.tail - q.head == q.depth)
				assert_int_equal(reap(&q), TDI_SC_OK);
			submit(&q, &sqe);
		}
		while (q.head != q.tail)
			assert_int_equal(reap(&q), TDI_SC_OK);
		for (i = 0; i < TN_MAX_BUFFERS; i++) {
			uint64_t value[2];

			memcpy(value, memory.host + 16 * i, 16);
			assert_int_equal(value[0], i * round);
			assert_int_equal(value[1], i * round);
		}
		for (i = 0; i < TN_MAX_BUFFERS; i += 97) {
			struct tdi_sqe sqe = fill(TDI_BUFFER_ID(i, 3 - round), 0, 16, 1, 8);

			assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
			assert_int_equal(q.cqe.info, TDI_BUFFER_ID(i, 3 - round));
		}
		for (i = 0; i < TN_MAX_BUFFERS; i++)
			unmap(h, 1, TDI_BUFFER_ID(i, round));
		for (i = 0; i < TN_MAX_BUFFERS; i += 97) {
			struct tdi_sqe sqe = fill(TDI_BUFFER_ID(i, round), 0, 16, 1, 8);

			assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
		}
	}
	queue_close(&q);
	area_close(&memory);
}

/* The same id in two contexts, and an id that only the other has. [BUF-7] */
static void test_contexts_apart(void **state)
{
	struct host *h = *state;
	struct area mine, others;
	struct queue q, other;
	struct tdi_sqe sqe;
	uint32_t same = TDI_BUFFER_ID(0, 1), own = TDI_BUFFER_ID(5, 1);

	area_open(h, &mine, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	area_open(h, &others, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	context_create(h, 2, 1);
	map(h, 1, same, RW, &mine, 0, TDI_PAGE_SIZE);
	map(h, 2, same, RW, &others, 0, TDI_PAGE_SIZE);
	map(h, 2, own, RW, &others, 0, TDI_PAGE_SIZE);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &other, 11, 2, 3);
	memset(others.host, 0x5a, TDI_PAGE_SIZE);
	sqe = fill(same, 0, TDI_PAGE_SIZE, 0x11, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	assert_int_equal(mine.host[0], 0x11);
	assert_int_equal(others.host[0], 0x5a);
	sqe = fill(own, 0, 1, 0x11, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
	sqe = copy(same, 0, own, 0, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
	sqe = sem_signal(own, 0, 1, TDI_SIGNAL_ADD);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
	sqe = sem_wait(own, 0, 0, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
	assert_int_equal(mine.host[0], 0x11);
	assert_int_equal(others.host[0], 0x5a);
	sqe = fill(own, 0, 1, 0x22, 1);
	assert_int_equal(run(&other, &sqe), TDI_SC_OK);
	assert_int_equal(others.host[0], 0x22);
	queue_close(&q);
	queue_close(&other);
	area_close(&mine);
	area_close(&others);
}

/* Two maps of one memory: each access by the bounds and rights of its own. [BUF-11, BUF-6] */
static void test_two_maps(void **state)
{
	struct host *h = *state;
	uint32_t whole = TDI_BUFFER_ID(0, 1), part = TDI_BUFFER_ID(1, 1), look = TDI_BUFFER_ID(2, 1);
	struct area memory;
	struct queue q;
	struct tdi_sqe sqe;

	area_open(h, &memory, 2 * TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, whole, RW, &memory, 0, 8192);
	map(h, 1, part, RW, &memory, 100, 50);
	map(h, 1, look, TDI_BUFFER_READ, &memory, 100, 50);
	queue_open(h, &q, 10, 1, 3);
	sqe = fill(part, 0, 50, 0x33, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	sqe = fill(part, 0, 51, 0x44, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_BOUNDS);
	sqe = fill(look, 0, 50, 0x44, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_RIGHTS);
	sqe = copy(whole, 4096, look, 0, 50);
	assert_int_equal(run(&q, &sqe), TDI_SC_OK);
	assert_int_equal(memory.host[99], 0);
	assert_int_equal(memory.host[100], 0x33);
	assert_int_equal(memory.host[149], 0x33);
	assert_int_equal(memory.host[150], 0);
	assert_int_equal(memory.host[4096], 0x33);
	assert_int_equal(memory.host[4145], 0x33);
	assert_int_equal(memory.host[4146], 0);
	queue_close(&q);
	area_close(&memory);
}

/* Addresses of the host that lead nowhere, also by wrapping. [BUF-10, ADM-48, ERR-21] */
static void test_nowhere(void **state)
{
	struct host *h = *state;
	struct tdi_admin_sqe inl = cmd_unmap(1, TDI_BUFFER_ID(4, 1));
	struct area memory, low, array;
	uint64_t *entry;
	struct queue q;
	struct tdi_sqe sqe;
	uint32_t id = TDI_BUFFER_ID(1, 1), lost = TDI_BUFFER_ID(2, 1), good = TDI_BUFFER_ID(3, 1);
	uint32_t i;

	/* What an address that wraps would hit. */
	h->next_address = 0;
	area_open(h, &low, 4 * TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	h->next_address = 1ULL << 40;
	area_open(h, &memory, 4 * TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	area_open(h, &array, TDI_PAGE_SIZE, PROT_READ);
	entry = (void *)array.host;
	entry[0] = memory.address;
	entry[1] = 0x7777777000ULL;
	entry[2] = memory.address + 8192;
	entry[3] = ~0ULL - 8;
	map_blocks(h, 1, id, RW, array.address, 0, 4 * TDI_PAGE_SIZE, 12);
	map_blocks(h, 1, lost, RW, 0x7777778000ULL, 0, TDI_PAGE_SIZE, 12);
	map(h, 1, good, RW, &memory, 0, 4 * TDI_PAGE_SIZE);
	queue_open(h, &q, 10, 1, 3);

	for (i = 0; i < 4; i++) {
		memset(memory.host, 0x5a, memory.bytes);
		sqe = fill(id, i * TDI_PAGE_SIZE + 8, 16, 0x11, 1);
		assert_int_equal(run(&q, &sqe), i % 2 ? TDI_SC_DEVICE : TDI_SC_OK);
		sqe = sem_signal(id, i * TDI_PAGE_SIZE + 8, 1, TDI_SIGNAL_ADD);
		assert_int_equal(run(&q, &sqe), i % 2 ? TDI_SC_DEVICE : TDI_SC_OK);
		sqe = sem_wait(id, i * TDI_PAGE_SIZE + 8, 0, 1);
		assert_int_equal(run(&q, &sqe), i % 2 ? TDI_SC_DEVICE : TDI_SC_OK);
		sqe = copy(good, 4096, id, i * TDI_PAGE_SIZE + 8, 16);
		assert_int_equal(run(&q, &sqe), i % 2 ? TDI_SC_DEVICE : TDI_SC_OK);
		sqe = copy(id, i * TDI_PAGE_SIZE + 8, good, 4096, 16);
		assert_int_equal(run(&q, &sqe), i % 2 ? TDI_SC_DEVICE : TDI_SC_OK);
	}
	/* On the way: what comes before it may be done, what comes after it isn't. */
	memset(memory.host, 0x5a, memory.bytes);
	sqe = fill(id, 0, 3 * TDI_PAGE_SIZE, 0x11, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_DEVICE);
	for (i = TDI_PAGE_SIZE; i < 4 * TDI_PAGE_SIZE; i++)
		assert_int_equal(memory.host[i], 0x5a);
	/* The array itself. */
	sqe = fill(lost, 0, 16, 0x11, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_DEVICE);
	/* An array, and an inline block, that go on beyond the last address. */
	unmap(h, 1, lost);
	map_blocks(h, 1, lost, RW, ~0ULL - 7, 0, 2 * TDI_PAGE_SIZE, 12);
	*(uint64_t *)(void *)low.host = low.address + 8192;
	sqe = fill(lost, TDI_PAGE_SIZE, 16, 0x11, 1);
	assert_int_equal(run(&q, &sqe), TDI_SC_DEVICE);
	inl.opcode = TDI_ADMIN_BUFFER_MAP;
	inl.buffer.flags = RW | TDI_BUFFER_INLINE;
	inl.buffer.address = ~0ULL - 4095;
	inl.buffer.length = 4 * TDI_PAGE_SIZE;
	inl.buffer.shift = 20;
	if (admin(h, &inl, NULL) == TDI_AS_OK) {
		sqe = fill(inl.buffer.buffer, 2 * TDI_PAGE_SIZE, 16, 0x11, 1);
		assert_int_equal(run(&q, &sqe), TDI_SC_DEVICE);
		sqe = sem_signal(inl.buffer.buffer, 2 * TDI_PAGE_SIZE, 1, TDI_SIGNAL_ADD);
		assert_int_equal(run(&q, &sqe), TDI_SC_DEVICE);
	}
	for (i = 8; i < low.bytes; i++)
		assert_int_equal(low.host[i], 0);
	queue_close(&q);
	area_close(&low);
	area_close(&memory);
	area_close(&array);
}

/* ------------------------------------------------------------------------------------------ semaphores */

static uint64_t load64(const struct area *memory, uint64_t offset)
{
	return __atomic_load_n((uint64_t *)(void *)(memory->host + offset), __ATOMIC_ACQUIRE);
}

static void store64(const struct area *memory, uint64_t offset, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)(memory->host + offset), value, __ATOMIC_RELEASE);
}

#define SEM TDI_BUFFER_ID(0, 1)

static void semaphores_open(struct host *h, struct area *memory)
{
	area_open(h, memory, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(h, 1, SEM, RW, memory, 0, TDI_PAGE_SIZE);
}

/* Values at all distances, over the wrap. [SEM-2, SEM-3, SEM-6, SEM-11] */
static void test_signal_values(void **state)
{
	static const uint64_t values[] = { 0, 1, 2, 7, 0x7ffffffffffffffeULL, 0x7fffffffffffffffULL,
					   1ULL << 63, (1ULL << 63) + 1, ~0ULL - 1, ~0ULL };
	const size_t n = sizeof(values) / sizeof(values[0]);
	struct host *h = *state;
	struct area memory;
	struct queue q;
	size_t i, j;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++) {
			uint64_t old = values[i], value = values[j];
			bool later = (int64_t)(value - old) > 0;
			struct tdi_sqe sqe;

			store64(&memory, 8, old);
			store64(&memory, 0, 0x5a5a);
			store64(&memory, 16, 0xa5a5);
			sqe = sem_signal(SEM, 8, value, TDI_SIGNAL_MAX);
			assert_int_equal(run(&q, &sqe), TDI_SC_OK);
			assert_int_equal(load64(&memory, 8), later ? value : old);
			store64(&memory, 8, old);
			sqe = sem_signal(SEM, 8, value, TDI_SIGNAL_ADD);
			assert_int_equal(run(&q, &sqe), TDI_SC_OK);
			assert_int_equal(load64(&memory, 8), old + value);
			store64(&memory, 8, old);
			sqe = sem_wait(SEM, 8, value, 1);
			assert_int_equal(run(&q, &sqe),
					 (int64_t)(old - value) >= 0 ? TDI_SC_OK : TDI_SC_TIMEOUT);
			assert_int_equal(load64(&memory, 8), old);
			assert_int_equal(load64(&memory, 0), 0x5a5a);
			assert_int_equal(load64(&memory, 16), 0xa5a5);
		}
	}
	queue_close(&q);
	area_close(&memory);
}

/* SIGNALs of two contexts under two ids, at the same time: none is lost. [SEM-8] */
static void test_signals_are_atomic(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q[2];
	uint32_t other = TDI_BUFFER_ID(9, 9);
	uint64_t i, n = 4000;

	semaphores_open(h, &memory);
	context_create(h, 2, 1);
	map(h, 2, other, RW, &memory, 64, 64);
	queue_open(h, &q[0], 10, 1, 6);
	queue_open(h, &q[1], 11, 2, 6);
	for (i = 0; i < n; i++) {
		struct tdi_sqe add = sem_signal(SEM, 64, 3, TDI_SIGNAL_ADD);
		struct tdi_sqe other_add = sem_signal(other, 0, 1ULL << 32, TDI_SIGNAL_ADD);
		int j;

		submit(&q[0], &add);
		submit(&q[1], &other_add);
		for (j = 0; j < 2; j++)
			while (q[j].tail - q[j].head >= (i == n - 1 ? 1 : q[j].depth))
				assert_int_equal(reap(&q[j]), TDI_SC_OK);
	}
	assert_int_equal(load64(&memory, 64), n * 3 + (n << 32));
	queue_close(&q[0]);
	queue_close(&q[1]);
	area_close(&memory);
}

/*
 * By a SIGNAL from another queue, and from another context that has the memory under another id.
 * [SEM-7, SEM-13]
 */
static void test_wait_for_signal(void **state)
{
	struct host *h = *state;
	struct area memory, aside;
	struct queue waiter, same, foreign, blocked;
	uint32_t other = TDI_BUFFER_ID(9, 9), near = TDI_BUFFER_ID(7, 9);
	uint64_t i;

	semaphores_open(h, &memory);
	area_open(h, &aside, TDI_PAGE_SIZE, PROT_READ | PROT_WRITE);
	context_create(h, 2, 1);
	map(h, 2, other, RW, &memory, 64, 64);
	map(h, 2, near, RW, &aside, 0, 128);
	queue_open(h, &waiter, 10, 1, 3);
	queue_open(h, &same, 11, 1, 3);
	queue_open(h, &foreign, 12, 2, 3);
	queue_open(h, &blocked, 13, 1, 3);
	for (i = 1; i <= 60; i++) {
		struct queue *signaler = i % 2 ? &same : &foreign;
		struct tdi_sqe wait = sem_wait(SEM, 64, 2 * i, LONG_NS);
		struct tdi_sqe others_wait = sem_wait(SEM, 72, i, LONG_NS), follows = nop(), sqe;

		submit(&waiter, &wait);
		submit(&waiter, &follows);
		submit(&blocked, &others_wait);
		until_parked(&waiter);
		until_parked(&blocked);
		/* Not far enough; another word; another memory at the same offset. */
		sqe = i % 2 ? sem_signal(SEM, 64, 2 * i - 1, TDI_SIGNAL_MAX) :
			      sem_signal(other, 0, 2 * i - 1, TDI_SIGNAL_MAX);
		assert_int_equal(run(signaler, &sqe), TDI_SC_OK);
		sqe = sem_signal(near, 64, ~0ULL >> 1, TDI_SIGNAL_MAX);
		assert_int_equal(run(&foreign, &sqe), TDI_SC_OK);
		sqe = nop();
		assert_int_equal(run(signaler, &sqe), TDI_SC_OK);
		assert_false(completed(&waiter, waiter.head));
		/* Far enough. */
		sqe = i % 2 ? sem_signal(SEM, 64, 1, TDI_SIGNAL_ADD) :
			      sem_signal(other, 0, 2 * i, TDI_SIGNAL_MAX);
		assert_int_equal(run(signaler, &sqe), TDI_SC_OK);
		assert_int_equal(reap(&waiter), TDI_SC_OK);
		assert_int_equal(reap(&waiter), TDI_SC_OK);
		assert_false(completed(&blocked, blocked.head));
		sqe = sem_signal(SEM, 72, i, TDI_SIGNAL_MAX);
		assert_int_equal(run(&same, &sqe), TDI_SC_OK);
		assert_int_equal(reap(&blocked), TDI_SC_OK);
		/* There already: nothing parks. */
		assert_int_equal(run(&waiter, &wait), TDI_SC_OK);
	}
	queue_close(&waiter);
	queue_close(&same);
	queue_close(&foreign);
	queue_close(&blocked);
	area_close(&memory);
	area_close(&aside);
}

/* Several that wait for one word: one SIGNAL is enough for all that it satisfies. [SEM-7] */
static void test_many_waiters(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue waiter[6], signaler;
	struct tdi_sqe sqe;
	uint32_t i;

	semaphores_open(h, &memory);
	queue_open(h, &signaler, 20, 1, 3);
	for (i = 0; i < 6; i++) {
		queue_open(h, &waiter[i], 10 + i, 1, 3);
		sqe = sem_wait(SEM, 0, i < 4 ? 1 : 2, LONG_NS);
		submit(&waiter[i], &sqe);
		until_parked(&waiter[i]);
	}
	sqe = sem_signal(SEM, 0, 1, TDI_SIGNAL_ADD);
	assert_int_equal(run(&signaler, &sqe), TDI_SC_OK);
	for (i = 0; i < 4; i++)
		assert_int_equal(reap(&waiter[i]), TDI_SC_OK);
	for (i = 4; i < 6; i++)
		until_parked(&waiter[i]);
	assert_int_equal(run(&signaler, &sqe), TDI_SC_OK);
	for (i = 4; i < 6; i++)
		assert_int_equal(reap(&waiter[i]), TDI_SC_OK);
	for (i = 0; i < 6; i++)
		queue_close(&waiter[i]);
	queue_close(&signaler);
	area_close(&memory);
}

/*
 * What a WAIT orders: the commands behind it see all that was done before the SIGNAL, and that follows all
 * commands before it. [SEM-5, SEM-6]
 */
static void test_wait_orders(void **state)
{
	struct host *h = *state;
	struct area memory, from, to;
	struct queue a, b;
	uint64_t i;
	size_t j;

	semaphores_open(h, &memory);
	area_open(h, &from, 32768, PROT_READ | PROT_WRITE);
	area_open(h, &to, 32768, PROT_READ | PROT_WRITE);
	map(h, 1, TDI_BUFFER_ID(1, 1), RW, &from, 0, 32768);
	map(h, 1, TDI_BUFFER_ID(2, 1), RW, &to, 0, 32768);
	queue_open(h, &a, 10, 1, 3);
	queue_open(h, &b, 11, 1, 3);
	for (i = 1; i <= 400; i++) {
		struct tdi_sqe sqe;

		sqe = sem_wait(SEM, 0, i, LONG_NS);
		queue_push(&b, &sqe);
		sqe = copy(TDI_BUFFER_ID(2, 1), 0, TDI_BUFFER_ID(1, 1), 0, 32768);
		queue_push(&b, &sqe);
		sqe = sem_signal(SEM, 8, i, TDI_SIGNAL_MAX);
		queue_push(&b, &sqe);
		sqe = fill(TDI_BUFFER_ID(1, 1), 0, 32768, i, 8);
		queue_push(&a, &sqe);
		sqe = sem_signal(SEM, 0, i, TDI_SIGNAL_MAX);
		queue_push(&a, &sqe);
		sqe = sem_wait(SEM, 8, i, LONG_NS);
		queue_push(&a, &sqe);
		sqe = fill(TDI_BUFFER_ID(1, 1), 0, 32768, ~0ULL, 8);
		queue_push(&a, &sqe);
		queue_publish(i % 2 ? &a : &b);
		queue_publish(i % 2 ? &b : &a);
		for (j = 0; j < 3; j++)
			assert_int_equal(reap(&b), TDI_SC_OK);
		for (j = 0; j < 32768; j += 8)
			assert_int_equal(load64(&to, j), i);
		for (j = 0; j < 4; j++)
			assert_int_equal(reap(&a), TDI_SC_OK);
	}
	queue_close(&a);
	queue_close(&b);
	area_close(&memory);
	area_close(&from);
	area_close(&to);
}

/*
 * The host raises it: a kick is needed only if the flags say so, and no wake-up is lost.
 * [SEM-4, SEM-7, SEM-9]
 */
static void test_host_signal(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint64_t i;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	for (i = 1; i <= 3000; i++) {
		struct tdi_sqe sqe = sem_wait(SEM, 0, i, LONG_NS);
		uint32_t pause = random_below(3000), index = submit(&q, &sqe);
		uint64_t since = now_ns();

		while (pause--)
			__asm__ volatile("" ::: "memory");
		store64(&memory, 0, i);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (tenon_load(&q.page->flags))
			queue_kick(&q);
		while (!completed(&q, index))
			assert_false(deadline_over(since));
		assert_int_equal(reap(&q), TDI_SC_OK);
	}
	/* Parked, so both flags are set, and no store alone is seen. */
	for (i = 0; i < 3; i++) {
		struct tdi_sqe sqe = sem_wait(SEM, 8, i + 1, LONG_NS);

		submit(&q, &sqe);
		until_parked(&q);
		assert_int_equal(tenon_load(&q.page->flags), TDI_NEED_DOORBELL | TDI_NEED_KICK);
		store64(&memory, 8, i + 1);
		queue_kick(&q);
		assert_int_equal(reap(&q), TDI_SC_OK);
	}
	queue_close(&q);
	area_close(&memory);
}

/* In virtual time the time-out is exact: nothing else takes time. [SEM-11, ERR-17] */
static void test_timeout_exact(void **state)
{
	static const uint64_t times[] = { 1, 2, 999, 1000, 1000000, 123456789, TN_MAX_WAIT_NS };
	struct host *h = *state;
	struct area memory;
	struct queue q, late;
	struct tdi_sqe sqe;
	uint64_t before, busy;
	size_t i;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &late, 11, 1, 3);
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		before = tn_device_now(h->device);
		sqe = sem_wait(SEM, 0, 1, times[i]);
		assert_int_equal(run(&q, &sqe), TDI_SC_TIMEOUT);
		assert_int_equal(tn_device_now(h->device) - before, times[i]);
		assert_int_equal(load64(&memory, 0), 0);
	}
	/* Two at once, of which the one with less time ends first: the clock stops there. */
	quiesce(h);
	before = tn_device_now(h->device);
	sqe = sem_wait(SEM, 0, 1, 7000);
	queue_push(&q, &sqe);
	queue_tail(&q);
	sqe = sem_wait(SEM, 0, 1, 5000);
	queue_push(&late, &sqe);
	sqe = sem_signal(SEM, 0, 1, TDI_SIGNAL_MAX);
	queue_push(&late, &sqe);
	queue_tail(&late);
	resume(h);
	assert_int_equal(reap(&late), TDI_SC_TIMEOUT);
	busy = late.cqe.busy_ns;
	assert_int_equal(reap(&late), TDI_SC_OK);
	busy += late.cqe.busy_ns;
	assert_int_equal(reap(&q), TDI_SC_OK);
	busy += q.cqe.busy_ns;
	assert_int_equal(tn_device_now(h->device) - before, 5000 + busy);
	queue_close(&q);
	queue_close(&late);
	area_close(&memory);
}

static bool waits(struct queue *q)
{
	bool parked;

	tn_device_lock(q->h->device);
	parked = q->h->device->queue[q->id]->parked;
	tn_device_unlock(q->h->device);
	return parked;
}

/* In real time it never comes early; and a semaphore that is there at the end counts. [SEM-11, SEM-12] */
static void test_timeout_real(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	struct tdi_sqe sqe;
	uint64_t since, timeout;
	unsigned int status;
	bool late;
	int i;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < 5; i++) {
		sqe = sem_wait(SEM, 0, 1, 10000000);
		since = now_ns();
		assert_int_equal(run(&q, &sqe), TDI_SC_TIMEOUT);
		assert_true(now_ns() - since >= 10000000);
	}
	/* Raised without a kick: only the last look finds it. On a busy machine it may be raised too late. */
	for (timeout = 30000000;; timeout *= 2) {
		sqe = sem_wait(SEM, 0, 1, timeout);
		since = now_ns();
		submit(&q, &sqe);
		until(waits(&q) || completed(&q, q.head));
		store64(&memory, 0, 1);
		late = now_ns() - since >= timeout;
		status = reap(&q);
		assert_true(now_ns() - since >= timeout);
		if (!late)
			break;
		store64(&memory, 0, 0);
	}
	assert_int_equal(status, TDI_SC_OK);
	queue_close(&q);
	area_close(&memory);
}

/* The time runs on while quiesced, and the last look comes after RESUME. [SEM-15] */
static void test_timeout_quiesced(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q, there;
	struct tdi_sqe sqe;
	uint64_t timeout;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &there, 11, 1, 3);
	/* On a machine that is busy with others it may be over before all is quiet. */
	for (timeout = 10000000;; timeout *= 2) {
		sqe = sem_wait(SEM, 0, 1, timeout);
		submit(&q, &sqe);
		sqe = sem_wait(SEM, 8, 1, timeout);
		submit(&there, &sqe);
		until(waits(&q) || completed(&q, q.head));
		until(waits(&there) || completed(&there, there.head));
		quiesce(h);
		if (!completed(&q, q.head) && !completed(&there, there.head))
			break;
		resume(h);
		assert_int_equal(reap(&q), TDI_SC_TIMEOUT);
		assert_int_equal(reap(&there), TDI_SC_TIMEOUT);
	}
	sleep_ns(2 * timeout);
	store64(&memory, 8, 1);
	assert_false(completed(&q, q.head));
	assert_false(completed(&there, there.head));
	resume(h);
	assert_int_equal(reap(&q), TDI_SC_TIMEOUT);
	assert_int_equal(reap(&there), TDI_SC_OK);
	queue_close(&q);
	queue_close(&there);
	area_close(&memory);
}

/* A parked WAIT whose buffer goes away; others on other buffers stay. [SEM-14, BUF-5, ERR-6] */
static void test_wait_unmapped(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q, other;
	struct tdi_sqe sqe;
	uint32_t id = TDI_BUFFER_ID(1, 1), i;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	queue_open(h, &other, 11, 1, 3);
	for (i = 0; i < 20; i++) {
		map(h, 1, id, RW, &memory, 0, 64);
		sqe = sem_wait(id, 0, 1, LONG_NS);
		submit(&q, &sqe);
		sqe = sem_wait(SEM, 0, 1, LONG_NS);
		submit(&other, &sqe);
		until_parked(&q);
		until_parked(&other);
		unmap(h, 1, id);
		assert_int_equal(reap(&q), TDI_SC_BUFFER_ID);
		until_parked(&other);
		assert_false(completed(&other, other.head));
		/* Mapped anew under another generation: what was meant before is not what is there. */
		map(h, 1, id + (1u << 24), RW, &memory, 0, 64);
		sqe = sem_wait(id, 0, 0, LONG_NS);
		assert_int_equal(run(&q, &sqe), TDI_SC_BUFFER_ID);
		unmap(h, 1, id + (1u << 24));
		sqe = sem_signal(SEM, 0, 1, TDI_SIGNAL_MAX);
		assert_int_equal(run(&q, &sqe), TDI_SC_OK);
		assert_int_equal(reap(&other), TDI_SC_OK);
		store64(&memory, 0, 0);
	}
	queue_close(&q);
	queue_close(&other);
	area_close(&memory);
}

/* A SIGNAL is done or not done, never in part, whenever an ABORT comes. [ERR-23] */
static void test_signal_aborted(void **state)
{
	struct host *h = *state;
	struct area memory;
	struct queue q;
	uint64_t ok = 0, aborted = 0, step = 0x0101010101010101ULL;
	uint32_t i;

	semaphores_open(h, &memory);
	queue_open(h, &q, 10, 1, 3);
	for (i = 0; i < 1500; i++) {
		struct tdi_sqe sqe = sem_signal(SEM, 0, step, TDI_SIGNAL_ADD);
		struct tdi_admin_sqe abort = cmd_abort(10, submit(&q, &sqe));

		if (random_below(2))
			abort.abort.index = submit(&q, &sqe);
		admin(h, &abort, NULL);
		while (q.head != q.tail) {
			int status = reap(&q);

			assert_true(status == TDI_SC_OK || status == TDI_SC_ABORTED);
			ok += status == TDI_SC_OK;
			aborted += status == TDI_SC_ABORTED;
		}
		assert_int_equal(load64(&memory, 0) % step, 0);
		assert_true(load64(&memory, 0) / step >= ok);
		assert_true(load64(&memory, 0) / step <= ok + aborted);
		if (load64(&memory, 0) > 200 * step) {
			store64(&memory, 0, 0);
			ok = aborted = 0;
		}
	}
	queue_close(&q);
	area_close(&memory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_VIRTUAL(test_random_programs),
		TEST_VIRTUAL(test_reserved),
		TEST_REAL(test_opcodes),
		TEST_VIRTUAL(test_refusals),
		TEST_REAL(test_full_table),
		TEST_REAL(test_contexts_apart),
		TEST_REAL(test_two_maps),
		TEST_REAL(test_nowhere),
		TEST_VIRTUAL(test_signal_values),
		TEST_TWO(test_signals_are_atomic),
		TEST_REAL(test_wait_for_signal),
		TEST_REAL(test_many_waiters),
		TEST_TWO(test_wait_orders),
		TEST_REAL(test_host_signal),
		TEST_VIRTUAL(test_timeout_exact),
		TEST_REAL(test_timeout_real),
		TEST_REAL(test_timeout_quiesced),
		TEST_REAL(test_wait_unmapped),
		TEST_REAL(test_signal_aborted),
	};

	return run_group("core", tests, sizeof(tests) / sizeof(tests[0]));
}
