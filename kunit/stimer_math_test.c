// SPDX-License-Identifier: GPL-2.0-only
/*
 * When timers expire: wrap, count 0, periods longer than a century, missed periods of lazy and
 * other timers, a clock that goes backwards a little.
 */
#include <kunit/test.h>
#include <linux/kernel.h>

#include "khv/stimer_math.h"

#define SECOND	10000000ULL
#define CENTURY (100 * 365 * 86400ULL * SECOND)
#define MSEC	(SECOND / 1000)

static void distance_is_signed(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, khv_ticks_until(100, 100), 0);
	KUNIT_EXPECT_EQ(test, khv_ticks_until(101, 100), 1);
	KUNIT_EXPECT_EQ(test, khv_ticks_until(99, 100), -1);
	KUNIT_EXPECT_EQ(test, khv_ticks_until(5, ~0ULL - 4), 10);
	KUNIT_EXPECT_EQ(test, khv_ticks_until(~0ULL - 4, 5), -10);
	KUNIT_EXPECT_EQ(test, khv_ticks_until(~0ULL, 0), -1);
	KUNIT_EXPECT_GT(test, khv_ticks_until(100 + (~0ULL >> 1), 100), 0);
	KUNIT_EXPECT_LT(test, khv_ticks_until(101 + (~0ULL >> 1), 100), 0);
}

static void first_expiry(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, khv_stimer_first(12345, false, 99999), 12345);
	KUNIT_EXPECT_EQ(test, khv_stimer_first(~0ULL, false, 99999), ~0ULL);
	KUNIT_EXPECT_EQ(test, khv_stimer_first(10, true, 99999), 100009);
	KUNIT_EXPECT_EQ(test, khv_stimer_first(10, true, ~0ULL - 4), 5);
	/* However long the period: not in the past. */
	KUNIT_EXPECT_GT(test, khv_ticks_until(khv_stimer_first(2 * CENTURY, true, 7), 7), 0);
	KUNIT_EXPECT_GT(test, khv_ticks_until(khv_stimer_first(1ULL << 63, true, 7), 7), 0);
	KUNIT_EXPECT_GT(test, khv_ticks_until(khv_stimer_first(~0ULL, true, 7), 7), 0);
}

static void clock_set_back(struct kunit *test)
{
	u64 expiry = khv_stimer_first(10 * MSEC, true, SECOND);

	KUNIT_EXPECT_FALSE(test, khv_stimer_set_back(expiry, 10 * MSEC, SECOND));
	KUNIT_EXPECT_FALSE(test, khv_stimer_set_back(expiry, 10 * MSEC, SECOND + 5 * MSEC));
	KUNIT_EXPECT_FALSE(test, khv_stimer_set_back(expiry, 10 * MSEC, 5 * SECOND));
	KUNIT_EXPECT_TRUE(test, khv_stimer_set_back(expiry, 10 * MSEC, SECOND - 1));
	KUNIT_EXPECT_TRUE(test, khv_stimer_set_back(expiry, 10 * MSEC, 0));
	/* Across the end of time, and with periods of which no end can be seen. */
	KUNIT_EXPECT_FALSE(test, khv_stimer_set_back(khv_stimer_first(9, true, ~0ULL), 9, ~0ULL));
	KUNIT_EXPECT_TRUE(test, khv_stimer_set_back(khv_stimer_first(9, true, 0), 9, ~0ULL));
	KUNIT_EXPECT_FALSE(test, khv_stimer_set_back(khv_stimer_first(~0ULL, true, 7), ~0ULL, 7));
	KUNIT_EXPECT_TRUE(test, khv_stimer_set_back(khv_stimer_first(~0ULL, true, 7), ~0ULL, 6));
	KUNIT_EXPECT_TRUE(test,
			  khv_stimer_set_back(khv_stimer_first(~0ULL, true, CENTURY), ~0ULL, 0));
}

static void next_in_time(struct kunit *test)
{
	int lazy;

	for (lazy = 0; lazy < 2; lazy++) {
		/* Served a little late, and across the end of time. */
		KUNIT_EXPECT_EQ(test, khv_stimer_next(1000000, 10 * MSEC, lazy, 1000003), 1100000);
		KUNIT_EXPECT_EQ(test, khv_stimer_next(~0ULL - 9, 10 * MSEC, lazy, 3),
				10 * MSEC - 10);
		KUNIT_EXPECT_EQ(test, khv_stimer_next(0, CENTURY, lazy, 5), CENTURY);
		KUNIT_EXPECT_GT(test, khv_ticks_until(khv_stimer_next(9, ~0ULL, lazy, 9), 9), 0);
	}
}

static void lazy_skips(struct kunit *test)
{
	u64 period = 10 * MSEC;

	/* 15 and a half periods missed: the next whole one, in phase. */
	KUNIT_EXPECT_EQ(test, khv_stimer_next(1000, period, true, 1000 + 155 * MSEC),
			1000 + 160 * MSEC);
	/* Exactly on an expiry: that one is missed, too, for its message cannot wait. */
	KUNIT_EXPECT_EQ(test, khv_stimer_next(1000, period, true, 1000 + 150 * MSEC),
			1000 + 160 * MSEC);
}

static void others_catch_up(struct kunit *test)
{
	u64 period = 10 * MSEC, now = 1000 + 155 * MSEC, last = 1000, due = 0;

	while (khv_ticks_until(khv_stimer_next(last, period, false, now), now) <= 0) {
		last = khv_stimer_next(last, period, false, now);
		due++;
	}
	KUNIT_EXPECT_EQ(test, due, 15);
	KUNIT_EXPECT_EQ(test, last, 1000 + 150 * MSEC);
}

/* What nobody can catch up with is skipped, in phase. */
static void hopeless_backlog(struct kunit *test)
{
	u64 now = 1000 + 3600 * SECOND + 1;

	KUNIT_EXPECT_EQ(test, khv_stimer_next(1000, 10 * MSEC, false, now),
			1000 + 3600 * SECOND + 10 * MSEC);
	KUNIT_EXPECT_EQ(test, khv_stimer_next(1000, 1, false, 5000), 5001);
	KUNIT_EXPECT_EQ(test, khv_stimer_next(1000, 7, false, 1000 + 7 * 100 + 3), 1000 + 7 * 101);
}

/* Each tick is served 10 us late: whoever gets all ticks must not fall behind by that. */
static void short_periods(struct kunit *test)
{
	static const u64 periods[] = { 1000, 1060, 1100, 1500, 1999, 2000, 3000 };
	u64 now, due;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(periods); i++) {
		due = khv_stimer_first(periods[i], true, 0);
		now = 0;
		for (n = 0; n < 100000; n++) {
			now += khv_stimer_alarm(due, periods[i], now) + 100;
			due = khv_stimer_next(due, periods[i], false, now);
		}
		KUNIT_EXPECT_LE(test, khv_ticks_until(now, due), 3 * (s64)periods[i]);
	}
}

static void next_look(struct kunit *test)
{
	u64 period = 10 * MSEC;

	/* One-shot: exactly, or at once. */
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(500, 0, 100), 400);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(500, 0, 500), 0);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(500, 0, 9000), 0);
	/* A clock that went back a little: the whole of what is left. */
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(500, 0, 90), 410);
	/* Periodic in time, behind, and too fast. */
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(1000 + period, period, 1000), period);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(1000, period, 2000), period / 8);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(1001, 1, 1000), KHV_STIMER_MIN_PERIOD);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(1000, 1, 1000), KHV_STIMER_MIN_PERIOD);
	KUNIT_EXPECT_EQ(test, khv_stimer_alarm(1000 + 2 * CENTURY, 2 * CENTURY, 1000), 2 * CENTURY);
}

/* However the guest chooses, the alarm is not in the past and not before the expiry. */
static void never_early(struct kunit *test)
{
	static const u64 values[] = {
		1,	     2,
		999,	     1000,
		1001,	     MSEC,
		SECOND,	     CENTURY,
		3 * CENTURY, (1ULL << 63) - 1,
		1ULL << 63,  (1ULL << 63) + 1,
		~0ULL - 1,   ~0ULL,
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		for (j = 0; j < ARRAY_SIZE(values); j++) {
			u64 now = values[j], count = values[i];
			u64 expiry = khv_stimer_first(count, true, now);
			u64 next = khv_stimer_next(expiry, count, false, expiry);

			KUNIT_EXPECT_GE(test, (s64)khv_stimer_alarm(expiry, count, now),
					khv_ticks_until(expiry, now));
			KUNIT_EXPECT_GT(test, khv_ticks_until(next, expiry), 0);
		}
	}
}

static struct kunit_case stimer_cases[] = {
	KUNIT_CASE(distance_is_signed),
	KUNIT_CASE(first_expiry),
	KUNIT_CASE(next_in_time),
	KUNIT_CASE(lazy_skips),
	KUNIT_CASE(others_catch_up),
	KUNIT_CASE(hopeless_backlog),
	KUNIT_CASE(short_periods),
	KUNIT_CASE(next_look),
	KUNIT_CASE(never_early),
	KUNIT_CASE(clock_set_back),
	{},
};

static struct kunit_suite stimer_suite = {
	.name = "khv_stimer_math",
	.test_cases = stimer_cases,
};

kunit_test_suites(&stimer_suite);
