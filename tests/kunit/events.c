// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring of events: which are kept, what a reader finds who was overtaken, lines over the end of the ring,
 * and the limits on a partition's.
 */
#include "../../kmod/events.c"

#include <kunit/device.h>
#include <kunit/test.h>

#include "suites.h"

static struct tenon_controller *make(struct kunit *test)
{
	struct tenon_controller *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->dev = kunit_device_register(test, "tenon-kunit-events");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->dev);
	return c;
}

static struct reader *make_reader(struct kunit *test)
{
	struct reader *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->next = ring.next;
	return r;
}

static struct tenon_partition *make_partition(struct kunit *test, const char *name)
{
	struct tenon_partition *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	strscpy(p->name, name, sizeof(p->name));
	return p;
}

/* The next line has this number and says this, and nothing else of what the test says. */
static void expect_line(struct kunit *test, struct reader *r, const char *says)
{
	int n = next_line(r);
	char head[24];

	KUNIT_ASSERT_GT(test, n, 0);
	KUNIT_EXPECT_EQ(test, r->line[n - 1], '\n');
	r->line[n - 1] = '\0';
	KUNIT_EXPECT_EQ(test, strlen(r->line), n - 1);
	snprintf(head, sizeof(head), "%llu ", r->next);
	KUNIT_EXPECT_EQ(test, strncmp(r->line, head, strlen(head)), 0);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(r->line, says), "%s: no %s", r->line, says);
	r->next++;
}

/* 4,096 are kept; who was overtaken is told once and goes on with the oldest. */
static void overtaken(struct kunit *test)
{
	struct tenon_controller *c = make(test);
	struct reader *r = make_reader(test);
	u64 first = ring.next, i;
	char says[24];

	for (i = 0; i < 4096; i++)
		tenon_event(TENON_EVENT_RESET, c, NULL, "i=%llu.", i);
	expect_line(test, r, " i=0.");
	tenon_event(TENON_EVENT_RESET, c, NULL, "i=%llu.", i++);
	expect_line(test, r, " i=1.");
	tenon_event(TENON_EVENT_RESET, c, NULL, "i=%llu.", i++);
	tenon_event(TENON_EVENT_RESET, c, NULL, "i=%llu.", i++);
	KUNIT_EXPECT_EQ(test, next_line(r), -EPIPE);
	KUNIT_EXPECT_EQ(test, r->next, first + 3);
	for (i = 3; i < 4096 + 3; i++) {
		snprintf(says, sizeof(says), " i=%llu.", i);
		expect_line(test, r, says);
	}
	KUNIT_EXPECT_EQ(test, next_line(r), 0);
}

/* The longest texts: over the end of the ring wherever it comes, and each pushes out more than one. */
static void long_lines(struct kunit *test)
{
	struct tenon_controller *c = make(test);
	struct reader *r = make_reader(test);
	char *text = kunit_kzalloc(test, 2 * TEXT_MAX, GFP_KERNEL);
	unsigned int round, first, i;
	int n;

	KUNIT_ASSERT_NOT_NULL(test, text);
	for (round = 0; round < 2 * TEXT_BYTES / TEXT_MAX; round++) {
		for (i = 0; i < 2 * TEXT_MAX - 1; i++)
			text[i] = 'a' + (i + round) % 26;
		tenon_event(TENON_EVENT_CONTROLLER_REMOVE, c, NULL, "text=%s", text);
		n = next_line(r);
		KUNIT_ASSERT_GT(test, n, TEXT_MAX);
		KUNIT_ASSERT_LE(test, n, LINE_MAX_BYTES);
		r->line[n - 1] = '\0';
		first = strstr(r->line, "text=") + 5 - r->line;
		for (i = first; i < n - 1; i++)
			if (r->line[i] != 'a' + (i - first + round) % 26)
				break;
		KUNIT_EXPECT_EQ_MSG(test, i, n - 1, "round %u", round);
		r->next++;
		KUNIT_EXPECT_LE(test, ring.end - ring.event[ring.oldest % EVENTS].at, TEXT_BYTES);
	}
	KUNIT_EXPECT_LT(test, ring.next - ring.oldest, EVENTS);
}

/* One partition's flood: ten of it, and none of the others'. Later it says how many there were. */
static void floods(struct kunit *test)
{
	struct tenon_partition *loud = make_partition(test, "loud"), *quiet = make_partition(test, "quiet");
	struct tenon_controller *c = make(test);
	struct reader *r = make_reader(test);
	unsigned int i;
	int n;

	for (i = 0; i < 100; i++)
		tenon_event(TENON_EVENT_LIMIT, c, loud, "i=%u.", i);
	tenon_event(TENON_EVENT_LIMIT, c, quiet, "i=0.");
	tenon_event(TENON_EVENT_REFUSED_OPEN, c, loud, "i=0.");
	for (i = 0; i < 10; i++)
		expect_line(test, r, " partition=loud ");
	expect_line(test, r, "partition=quiet ");
	expect_line(test, r, "refused-open ");
	KUNIT_EXPECT_EQ(test, next_line(r), 0);
	loud->flood[TENON_EVENT_LIMIT].since -= NSEC_PER_SEC;
	tenon_event(TENON_EVENT_LIMIT, c, loud, "i=100.");
	expect_line(test, r, " suppressed=90 ");
	tenon_event(TENON_EVENT_LIMIT, c, loud, "i=101.");
	n = next_line(r);
	KUNIT_ASSERT_GT(test, n, 0);
	r->line[n - 1] = '\0';
	KUNIT_EXPECT_NULL(test, strstr(r->line, "suppressed"));
}

static void once(struct kunit *test)
{
	struct tenon_flood flood = { };

	KUNIT_EXPECT_TRUE(test, tenon_event_once(&flood));
	KUNIT_EXPECT_FALSE(test, tenon_event_once(&flood));
	flood.since -= NSEC_PER_SEC;
	KUNIT_EXPECT_TRUE(test, tenon_event_once(&flood));
	KUNIT_EXPECT_FALSE(test, tenon_event_once(&flood));
}

static void values(struct kunit *test)
{
	char to[4 * 8 + 1];

	tenon_event_value(to, sizeof(to), "Ab-9_=");
	KUNIT_EXPECT_STREQ(test, to, "Ab-9_=");
	tenon_event_value(to, sizeof(to), "a b\n\\\x80\x7f");
	KUNIT_EXPECT_STREQ(test, to, "a\\x20b\\x0a\\x5c\\x80\\x7f");
	tenon_event_value(to, sizeof(to), "\xff\xff\xff\xff\xff\xff\xff\xff");
	KUNIT_EXPECT_EQ(test, strlen(to), 32);
	tenon_event_value(to, sizeof(to), "");
	KUNIT_EXPECT_STREQ(test, to, "");
}

static struct kunit_case cases[] = {
	KUNIT_CASE(overtaken),
	KUNIT_CASE(long_lines),
	KUNIT_CASE(floods),
	KUNIT_CASE(once),
	KUNIT_CASE(values),
	{ }
};

struct kunit_suite tenon_events_suite = {
	.name = "tenon-events",
	.test_cases = cases,
};
