// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device is told of a buffer, resolved as the device does it [BUF-9] and as the segments have it;
 * and the ids of buffers, over all laps.
 */
#include "../../kmod/buffer.c"

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/prandom.h>

#include "suites.h"

#define SEGMENTS 8

struct segment {
	u64 at;
	u64 bytes;
};

static struct tenon_context *make(struct kunit *test, u32 max_buffers)
{
	struct tenon_context *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	struct tenon_controller *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	static unsigned int number;
	char name[24];

	KUNIT_ASSERT_NOT_NULL(test, x);
	KUNIT_ASSERT_NOT_NULL(test, c);
	c->identify.max_buffers = cpu_to_le32(max_buffers);
	x->controller = c;
	/* By the name of which events are told. */
	snprintf(name, sizeof(name), "tenon-kunit-%u", number++);
	c->dev = kunit_device_register(test, name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->dev);
	x->id = 5;
	x->generation = 6;
	xa_init_flags(&x->maps, XA_FLAGS_ALLOC);
	x->map_lap = 1;
	return x;
}

/* ------------------------------------------------------------------------------------ blocks */

/* With a device that the array of blocks can be mapped for. */
static struct tenon_context *make_with_device(struct kunit *test)
{
	struct tenon_context *x = make(test, 16);
	struct device *dev = x->controller->dev;

	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	dev->dma_mask = &dev->coherent_dma_mask;
	return x;
}

/* Where byte @o is by the segments. */
static u64 by_segments(const struct segment *s, u64 o)
{
	for (; o >= s->bytes; s++)
		o -= s->bytes;
	return s->at + o;
}

/* And by what the device is told. */
static u64 by_device(struct kunit *test, const struct tenon_map *m, const struct tdi_admin_buffer *b, u64 o)
{
	u64 size = 1ULL << le32_to_cpu(b->shift), at = le64_to_cpu(b->first) + o, entry;

	if (le32_to_cpu(b->flags) & TDI_BUFFER_INLINE)
		return le64_to_cpu(b->address) + at;
	entry = at / size;
	if (entry >= m->blocks_bytes / 8) {
		KUNIT_FAIL(test, "byte %llu is in block %llu of %zu", o, entry, m->blocks_bytes / 8);
		return 0;
	}
	return le64_to_cpu(m->blocks[entry]) + at % size;
}

/*
 * @bytes of the @count segments, from @offset in the first page on. All bytes if @all, else those at the
 * edges of pages. Returns the shift.
 */
static u32 expect_described(struct kunit *test, struct tenon_context *x, const struct segment *s,
			    unsigned int count, u64 offset, u64 bytes, bool all)
{
	struct tenon_map m = { .id = TDI_BUFFER_ID(3, 4) };
	struct tdi_admin_buffer b = { };
	struct sg_table sgt;
	struct scatterlist *sg;
	unsigned int i;
	u64 o;

	KUNIT_ASSERT_EQ(test, sg_alloc_table(&sgt, count, GFP_KERNEL), 0);
	for_each_sg(sgt.sgl, sg, count, i) {
		sg_dma_address(sg) = s[i].at;
		sg_dma_len(sg) = s[i].bytes;
	}
	KUNIT_ASSERT_EQ(test, describe(x, &m, &sgt, offset, bytes, TDI_BUFFER_READ, &b), 0);

	KUNIT_EXPECT_EQ(test, le32_to_cpu(b.context), 5);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(b.context_generation), 6);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(b.buffer), TDI_BUFFER_ID(3, 4));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(b.length), bytes);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(b.flags), TDI_BUFFER_READ | (count == 1 ? TDI_BUFFER_INLINE : 0));
	KUNIT_EXPECT_GE(test, le32_to_cpu(b.shift), TDI_PAGE_SHIFT);
	/* In its first block, and an inline map in its only one [ADM-46]. */
	KUNIT_EXPECT_LT(test, le64_to_cpu(b.first), 1ULL << le32_to_cpu(b.shift));
	if (count == 1)
		KUNIT_EXPECT_LE(test, le64_to_cpu(b.first) + bytes, 1ULL << le32_to_cpu(b.shift));
	for (i = 0; m.blocks && i < m.blocks_bytes / 8; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(m.blocks[i]) % (1ULL << le32_to_cpu(b.shift)), 0);
	if (m.blocks)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(b.address), m.blocks_dma);

	for (o = 0; o < bytes; o++) {
		u64 in_page = (offset + o) % PAGE_SIZE;

		if (!all && o && o != bytes - 1 && in_page && in_page != PAGE_SIZE - 1)
			continue;
		if (by_device(test, &m, &b, o) != by_segments(s, offset + o)) {
			KUNIT_FAIL(test, "byte %llu is at %#llx for the device, at %#llx in truth", o,
				   by_device(test, &m, &b, o), by_segments(s, offset + o));
			break;
		}
	}
	if (m.blocks)
		unmap_blocks(x, &m);
	sg_free_table(&sgt);
	return le32_to_cpu(b.shift);
}

/* Known segments, and the largest blocks of which they can be made. */
static void shifts(struct kunit *test)
{
	static const struct {
		struct segment s[SEGMENTS];
		unsigned int count;
		u32 shift;
	} known[] = {
		/* One end after the other. */
		{ { { 0x1000, 0x1000 }, { 0x8000, 0x1000 } }, 2, 13 },
		{ { { 0x2000, 0x1000 }, { 0x8000, 0x1000 } }, 2, 12 },
		/* The first may begin, and the last end, within a block. */
		{ { { 0x1ff000, 0x1000 }, { 0x400000, 0x1000 } }, 2, 21 },
		{ { { 0x1fe000, 0x2000 }, { 0x400000, 0x3000 } }, 2, 21 },
		{ { { 0x1ff000, 0x1000 }, { 0x400000, 0x200000 }, { 0xa00000, 0x1000 } }, 3, 21 },
		/* Those in between may not. */
		{ { { 0x1ff000, 0x1000 }, { 0x400000, 0x1ff000 }, { 0xa00000, 0x1000 } }, 3, 12 },
		{ { { 0x1ff000, 0x1000 }, { 0x404000, 0x4000 }, { 0xa00000, 0x1000 } }, 3, 14 },
		{ { { 0xfffffffc0000, 0x40000 }, { 0x40000, 0x40000 }, { 0x100000, 0x40000 } }, 3, 18 },
	};
	struct tenon_context *x = make_with_device(test);
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		u64 bytes = 0;

		for (j = 0; j < known[i].count; j++)
			bytes += known[i].s[j].bytes;
		KUNIT_EXPECT_EQ_MSG(test, known[i].shift,
				    expect_described(test, x, known[i].s, known[i].count, 0, bytes, false),
				    "row %u", i);
		/* From and to the middle of a page. */
		expect_described(test, x, known[i].s, known[i].count, 1234, bytes - 2345, false);
	}
}

/* Each byte, of all that begins and ends in a few pages. */
static void bytes(struct kunit *test)
{
	static const struct segment s[] = { { 0x7000, 0x1000 }, { 0x18000, 0x2000 }, { 0x2000, 0x1000 } };
	static const u64 ends[] = { 0x2001, 0x2fff, 0x3000, 0x3001, 0x3fff, 0x4000 };
	static const u64 offsets[] = { 0, 1, 2047, 4095 };
	struct tenon_context *x = make_with_device(test);
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		for (j = 0; j < ARRAY_SIZE(ends); j++)
			expect_described(test, x, s, 3, offsets[i], ends[j] - offsets[i], true);
}

static void one_segment(struct kunit *test)
{
	static const u64 lengths[] = { 1, 2, 4095, 4096, 4097, 8192, 8193, 65535, 65536, 65537 };
	static const u64 offsets[] = { 0, 1, 2048, 4095 };
	struct segment s = { 0x123000, 0x20000 };
	struct tenon_context *x = make_with_device(test);
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		for (j = 0; j < ARRAY_SIZE(lengths); j++)
			expect_described(test, x, &s, 1, offsets[i], lengths[j], false);
}

static u32 below(struct rnd_state *rnd, u32 end)
{
	return prandom_u32_state(rnd) % end;
}

/* Segments of any kind: unit tells how they are aligned, but for the first begin and the last end. */
static void random_segments(struct kunit *test)
{
	struct tenon_context *x = make_with_device(test);
	struct rnd_state rnd;
	unsigned int round, i;

	prandom_seed_state(&rnd, 1);
	for (round = 0; round < 1000; round++) {
		unsigned int count = 2 + below(&rnd, SEGMENTS - 1);
		u64 unit = PAGE_SIZE << below(&rnd, 4), sum = 0, offset, cut;
		struct segment s[SEGMENTS];
		u32 shift;

		for (i = 0; i < count; i++) {
			s[i].at = below(&rnd, 1 << 24) * unit;
			s[i].bytes = (1 + below(&rnd, 4)) * unit;
		}
		cut = below(&rnd, s[0].bytes >> PAGE_SHIFT) << PAGE_SHIFT;
		s[0].at += cut;
		s[0].bytes -= cut;
		cut = below(&rnd, s[count - 1].bytes >> PAGE_SHIFT) << PAGE_SHIFT;
		s[count - 1].bytes -= cut;
		for (i = 0; i < count; i++)
			sum += s[i].bytes;
		/* From somewhere in the first page to somewhere in the last: no others are mapped. */
		offset = below(&rnd, PAGE_SIZE);
		cut = offset + below(&rnd, PAGE_SIZE - offset);
		shift = expect_described(test, x, s, count, offset, sum - cut, false);
		KUNIT_EXPECT_LE(test, unit, 1ULL << shift);
	}
}

/* --------------------------------------------------------------------------------------- ids */

#define INDICES	4
#define GENERATIONS 255

/* Each id is new until all others of its index have been there; @held of the indices stay in use. */
static void expect_laps(struct kunit *test, u32 held)
{
	u32 fresh = (INDICES - held) * GENERATIONS, i;
	struct tenon_context *x = make(test, INDICES);
	struct tenon_map holding[INDICES] = { }, m = { };
	u32 *seen = kunit_kcalloc(test, INDICES << 8, sizeof(*seen), GFP_KERNEL);
	u32 *ids = kunit_kcalloc(test, 3 * fresh, sizeof(*ids), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, seen);
	KUNIT_ASSERT_NOT_NULL(test, ids);
	for (i = 0; i < held; i++)
		KUNIT_ASSERT_EQ(test, id_alloc(x, &holding[i]), 0);
	for (i = 0; i < 3 * fresh; i++) {
		u32 index, lap;

		KUNIT_ASSERT_EQ(test, id_alloc(x, &m), 0);
		ids[i] = m.id;
		index = m.id & 0xffffff;
		lap = m.id >> 24;
		KUNIT_ASSERT_LT(test, index, INDICES);
		KUNIT_ASSERT_GE(test, index, held);
		KUNIT_EXPECT_NE(test, lap, 0);
		/* Before it comes again, so many others have been there. */
		if (seen[index << 8 | lap])
			KUNIT_EXPECT_GE(test, i + 1 - seen[index << 8 | lap], fresh);
		seen[index << 8 | lap] = i + 1;
		KUNIT_EXPECT_EQ(test, x->map_count, held + 1);
		id_free(x, &m);
	}
	for (i = 0; i < held; i++)
		id_free(x, &holding[i]);
	KUNIT_EXPECT_EQ(test, x->map_count, 0);
	KUNIT_EXPECT_TRUE(test, xa_empty(&x->maps));
	xa_destroy(&x->maps);
}

static void id_laps(struct kunit *test)
{
	u32 held;

	for (held = 0; held < INDICES; held++)
		expect_laps(test, held);
}

/* Beyond the number of buffers nothing is taken, and the tenant is told why. */
static void id_limit(struct kunit *test)
{
	struct tenon_context *x = make(test, INDICES);
	struct tenon_map m[INDICES + 1] = { };
	unsigned int i;

	for (i = 0; i < INDICES; i++)
		KUNIT_ASSERT_EQ(test, id_alloc(x, &m[i]), 0);
	KUNIT_EXPECT_EQ(test, id_alloc(x, &m[INDICES]), -ENOSPC);
	KUNIT_EXPECT_EQ(test, x->map_count, INDICES);
	KUNIT_EXPECT_EQ(test, x->needed, INDICES + 1);
	KUNIT_EXPECT_EQ(test, x->allowed, INDICES);
	id_free(x, &m[2]);
	KUNIT_EXPECT_EQ(test, id_alloc(x, &m[INDICES]), 0);
	KUNIT_EXPECT_EQ(test, m[INDICES].id & 0xffffff, m[2].id & 0xffffff);
	KUNIT_EXPECT_NE(test, m[INDICES].id, m[2].id);
	xa_destroy(&x->maps);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(shifts),
	KUNIT_CASE(bytes),
	KUNIT_CASE(one_segment),
	KUNIT_CASE(random_segments),
	KUNIT_CASE(id_laps),
	KUNIT_CASE(id_limit),
	{ }
};

struct kunit_suite tenon_buffer_suite = {
	.name = "tenon-buffer",
	.test_cases = cases,
};
