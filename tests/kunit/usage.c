// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arithmetic of the books: reports that go on, go back or reach the end of the numbers; busy time that
 * can be and that can't; sums.
 */
#include "../../kmod/usage.c"

#include <kunit/test.h>

#include "suites.h"

#define COUNTERS 95

static struct tenon_books *make(struct kunit *test)
{
	struct tenon_books *books = kunit_kzalloc(test, sizeof(*books), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, books);
	return books;
}

static struct tdi_usage *make_report(struct kunit *test, u64 first)
{
	struct tdi_usage *usage = kunit_kzalloc(test, sizeof(*usage), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, usage);
	KUNIT_ASSERT_EQ(test, sizeof(*usage), COUNTERS * 8);
	for (i = 0; i < COUNTERS; i++)
		((__le64 *)usage)[i] = cpu_to_le64(first + i);
	return usage;
}

/* Of each counter what came since, but for those that aren't the context's. */
static void since(struct kunit *test)
{
	struct tenon_books *books = make(test);
	struct tdi_usage *report = make_report(test, 1000);
	unsigned int i;

	KUNIT_ASSERT_TRUE(test, usage_since(report, books));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(report->busy_ns), 1000);
	usage_add(books, report, 0);
	report = make_report(test, 1000 + 7);
	KUNIT_ASSERT_TRUE(test, usage_since(report, books));
	for (i = 0; i < COUNTERS; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(((__le64 *)report)[i]), i == 4 || i == 6 ? 0 : 7);
	/* The same again is nothing more. */
	usage_add(books, report, 0);
	report = make_report(test, 1000 + 7);
	KUNIT_ASSERT_TRUE(test, usage_since(report, books));
	for (i = 0; i < COUNTERS; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(((__le64 *)report)[i]), 0);
}

/* One counter that goes back, by one or from the end of the numbers to their beginning, spoils the report. */
static void goes_back(struct kunit *test)
{
	static const u64 before[] = { 1, 1000, U64_MAX - COUNTERS, 1ULL << 63 };
	unsigned int i, j;

	for (j = 0; j < ARRAY_SIZE(before); j++) {
		for (i = 0; i < COUNTERS; i++) {
			struct tenon_books *books = make(test);
			struct tdi_usage *report = make_report(test, before[j]);

			KUNIT_ASSERT_TRUE(test, usage_since(report, books));
			usage_add(books, report, 0);
			report = make_report(test, before[j] + 1);
			((__le64 *)report)[i] = cpu_to_le64(before[j] + i - 1);
			KUNIT_EXPECT_EQ(test, usage_since(report, books), i == 4 || i == 6);
			report = make_report(test, before[j]);
			((__le64 *)report)[i] = 0;
			KUNIT_EXPECT_EQ(test, usage_since(report, books), i == 4 || i == 6);
			/* And what it says once it is right again counts from what was there. */
			report = make_report(test, before[j] + 1);
			KUNIT_EXPECT_TRUE(test, usage_since(report, books));
			KUNIT_EXPECT_EQ(test, le64_to_cpu(report->busy_ns), 1);
		}
	}
}

/* What was cut isn't claimed again. */
static void after_cut(struct kunit *test)
{
	struct tenon_books *books = make(test);
	struct tdi_usage *report = make_report(test, 1000);

	KUNIT_ASSERT_TRUE(test, usage_since(report, books));
	le64_add_cpu(&report->busy_ns, -400);
	usage_add(books, report, 400);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(books->sum.busy_ns), 600);
	report = make_report(test, 1000 + 10);
	KUNIT_ASSERT_TRUE(test, usage_since(report, books));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(report->busy_ns), 10);
	report = make_report(test, 999);
	KUNIT_EXPECT_FALSE(test, usage_since(report, books));
}

/* Sums stay at the end of the numbers. */
static void sums_end(struct kunit *test)
{
	struct tenon_books *books = make(test);
	struct tdi_usage *report = make_report(test, 1ULL << 63);
	unsigned int i;

	usage_add(books, report, 1ULL << 63);
	usage_add(books, report, 1ULL << 63);
	for (i = 0; i < COUNTERS; i++)
		KUNIT_EXPECT_EQ(test, le64_to_cpu(((__le64 *)&books->sum)[i]), U64_MAX);
	KUNIT_EXPECT_EQ(test, books->cut_ns, U64_MAX);
}

/* All units are busy all the time, by a clock that is a little fast: nothing is cut. */
static void busy_all_the_time(struct kunit *test)
{
	u32 units;

	for (units = 1; units <= 65535; units = 3 * units + 1) {
		struct tenon_limit limit = { .at = 12345 };
		u64 sum = 0, now = 12345, tick;

		for (tick = 0; tick < 1000; tick++) {
			/* In two parts. */
			u64 half = (NSEC_PER_SEC / 2 + NSEC_PER_SEC / 4000) * units;

			now += NSEC_PER_SEC;
			KUNIT_EXPECT_EQ(test, limit_excess(&limit, now, units, sum, half), 0);
			sum += half;
			KUNIT_EXPECT_EQ(test, limit_excess(&limit, now, units, sum, half), 0);
			sum += half;
			limit_settle(&limit, now, units, sum);
		}
	}
}

/* No more than has passed, however often it is asked and whatever it claims. */
static void claims_too_much(struct kunit *test)
{
	struct tenon_limit limit = { .at = 0 };
	u64 sum = 0, cut, now, claim = 10 * NSEC_PER_SEC, most;
	unsigned int i;

	for (i = 1; i <= 1000; i++) {
		now = i * (NSEC_PER_SEC / 10);
		cut = limit_excess(&limit, now, 2, sum, claim);
		KUNIT_EXPECT_LE(test, cut, claim);
		sum += claim - cut;
		if (i % 7 == 0)
			limit_settle(&limit, now, 2, sum);
		most = 2 * (now + now / 1000) + 20000;
		KUNIT_EXPECT_LE(test, sum, most);
		KUNIT_EXPECT_GE(test, sum, 2 * now);
	}
	KUNIT_EXPECT_EQ(test, limit_excess(&limit, now, U32_MAX, U64_MAX, U64_MAX), U64_MAX);
	KUNIT_EXPECT_EQ(test, limit_excess(&limit, U64_MAX, U32_MAX, 0, U64_MAX), 0);
}

/* An hour of idling isn't an hour to claim. */
static void idle_gives_nothing(struct kunit *test)
{
	struct tenon_limit limit = { .at = 0 };
	u64 hour = 3600 * NSEC_PER_SEC;

	limit_settle(&limit, hour, 1, 500);
	KUNIT_EXPECT_EQ(test, limit_excess(&limit, hour + 1000000, 1, 500, 10000000),
			10000000 - (1000000 + 1000000 / 1024 + 20000));
	/* A clock that goes back gives nothing, either. */
	KUNIT_EXPECT_EQ(test, limit_excess(&limit, 0, 1, 500, 10000000), 10000000 - 20000);
}

static void byte_seconds(struct kunit *test)
{
	struct tenon_memory m = { .pages = 1ULL << 34 };
	struct tenon_memory small = { .pages = 1 };
	unsigned int i;

	/* As much as there may be, for a day, looked at now and then. */
	for (i = 1; i <= 24 * 60; i++)
		memory_advance(&m, i * 60 * NSEC_PER_SEC + i);
	KUNIT_EXPECT_EQ(test, m.page_seconds, (1ULL << 34) * 86400 + ((1ULL << 34) * 1440 / NSEC_PER_SEC));
	/* One page, looked at each microsecond: nothing gets lost. */
	for (i = 1; i <= 2000000; i++)
		memory_advance(&small, i * 1000ULL);
	KUNIT_EXPECT_EQ(test, small.page_seconds, 2);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(since),
	KUNIT_CASE(goes_back),
	KUNIT_CASE(after_cut),
	KUNIT_CASE(sums_end),
	KUNIT_CASE(busy_all_the_time),
	KUNIT_CASE(claims_too_much),
	KUNIT_CASE(idle_gives_nothing),
	KUNIT_CASE(byte_seconds),
	{ }
};

struct kunit_suite tenon_usage_suite = {
	.name = "tenon-usage",
	.test_cases = cases,
};
