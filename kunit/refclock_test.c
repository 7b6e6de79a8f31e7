// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reference time arithmetic: the scale of real and odd TSC frequencies against a division in
 * full precision, offsets of both signs, wrap, a TSC that goes backwards a little, sequences.
 */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/math64.h>

#include "khv/refclock.h"

#define GHZ 1000000000ULL

/* KVM's pair for a frequency: ns = (tsc << shift) * mul >> 32, mul as large as it gets. */
static struct khv_pvclock clock_of(u64 hz)
{
	struct khv_pvclock clock = {};
	u64 scaled = hz;

	while (scaled > 2 * GHZ) {
		scaled >>= 1;
		clock.shift--;
	}
	while (scaled <= GHZ) {
		scaled <<= 1;
		clock.shift++;
	}
	clock.mul = div64_u64(GHZ << 32, scaled);
	return clock;
}

struct frequency {
	const char *name;
	u64 hz;
};

static const struct frequency frequencies[] = {
	{ "10.1 MHz", 10100000 }, { "100 MHz", 100000000 },	{ "999.999999 MHz", 999999999 },
	{ "1 GHz", GHZ },	  { "2.2 GHz", 2200000000ULL }, { "3.893 GHz", 3893000000ULL },
	{ "10 GHz", 10 * GHZ },
};

static void frequency_desc(const struct frequency *f, char *desc)
{
	strscpy(desc, f->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(frequency, frequencies, frequency_desc);

/* After an hour the time is right to 2 us: mul has 31 significant bits or more. */
static void rate_follows_the_frequency(struct kunit *test)
{
	const struct frequency *f = test->param_value;
	struct khv_pvclock clock = clock_of(f->hz);
	struct khv_ref_params p;
	u64 hour;

	KUNIT_ASSERT_TRUE(test, khv_ref_params_compute(&p, &clock));
	hour = khv_ref_at(&p, f->hz * 3600);
	KUNIT_EXPECT_LE(test, hour, 3600 * 10000000ULL);
	KUNIT_EXPECT_GE(test, hour, 3600 * 10000000ULL - 20);
}

static void offset_of_both_signs(struct kunit *test)
{
	static const s64 ns[] = { 0, 100, -100, 123456789012300LL, -123456789012300LL };
	struct khv_pvclock clock = clock_of(2 * GHZ);
	struct khv_ref_params p;
	unsigned int i;
	u64 later;

	clock.tsc = 0x123456789abcdULL;
	for (i = 0; i < ARRAY_SIZE(ns); i++) {
		clock.ns = ns[i];
		KUNIT_ASSERT_TRUE(test, khv_ref_params_compute(&p, &clock));
		KUNIT_EXPECT_EQ(test, khv_ref_at(&p, clock.tsc), (u64)(ns[i] / 100));
		/* A second later; rounded down. */
		later = khv_ref_at(&p, clock.tsc + 2 * GHZ) - khv_ref_at(&p, clock.tsc);
		KUNIT_EXPECT_GE(test, later, 9999999);
		KUNIT_EXPECT_LE(test, later, 10000000);
	}
}

/* A slow TSC has no scale: 10 MHz is the first frequency whose tick is 100 ns. */
static void slow_tsc_has_no_scale(struct kunit *test)
{
	static const u64 slow[] = { 10000000, 9999999, 1000000 };
	struct khv_ref_params p = { .scale = 1, .offset = 2 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(slow); i++) {
		struct khv_pvclock clock = clock_of(slow[i]);

		KUNIT_EXPECT_FALSE(test, khv_ref_params_compute(&p, &clock));
	}
	KUNIT_EXPECT_EQ(test, p.scale, 1);
	KUNIT_EXPECT_EQ(test, p.offset, 2);
}

/* KVM never makes such a pair, but no shift may be undefined: 2^31 / 2^32 ns, shifted. */
static void absurd_shift(struct kunit *test)
{
	struct khv_pvclock clock = { .mul = 0x80000000 };
	struct khv_ref_params p;
	int shift;

	/* A tick of 2^(shift - 1) ns is below 100 ns up to shift 7. */
	for (shift = -128; shift < 128; shift++) {
		clock.shift = shift;
		KUNIT_EXPECT_EQ(test, khv_ref_params_compute(&p, &clock),
				shift >= -31 && shift <= 7);
	}
}

static void backwards_by_a_little(struct kunit *test)
{
	struct khv_pvclock clock = clock_of(3 * GHZ);
	struct khv_ref_params p;
	u64 now, before;

	clock.tsc = 5 * GHZ;
	KUNIT_ASSERT_TRUE(test, khv_ref_params_compute(&p, &clock));
	now = khv_ref_at(&p, clock.tsc);
	before = khv_ref_at(&p, clock.tsc - 3000);
	KUNIT_EXPECT_EQ(test, (s64)(now - before), 10);
	/* Time before the partition: wraps, and differences stay right. */
	before = khv_ref_at(&p, 0);
	KUNIT_EXPECT_GE(test, (s64)(now - before), 16666666);
	KUNIT_EXPECT_LE(test, (s64)(now - before), 16666667);
}

static void tsc_that_wraps(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(5, 5));
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(5, 6));
	/* Read on another CPU just before. */
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(5, 4));
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(5, -5ULL));
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(-5ULL, -6ULL));
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(-5ULL, ~0ULL));
	KUNIT_EXPECT_TRUE(test, khv_ref_wrapped(-5ULL, 0));
	KUNIT_EXPECT_TRUE(test, khv_ref_wrapped(-5ULL, 60 * GHZ));
	/* An adopted page. */
	KUNIT_EXPECT_FALSE(test, khv_ref_wrapped(0, ~0ULL));
}

static void tsc_near_its_end(struct kunit *test)
{
	struct khv_pvclock clock = clock_of(4 * GHZ);
	struct khv_ref_params p;

	clock.tsc = ~0ULL - 4 * GHZ;
	clock.ns = 7 * GHZ;
	KUNIT_ASSERT_TRUE(test, khv_ref_params_compute(&p, &clock));
	KUNIT_EXPECT_EQ(test, khv_ref_at(&p, clock.tsc), 70000000);
	KUNIT_EXPECT_GE(test, khv_ref_at(&p, ~0ULL), 79999999);
	KUNIT_EXPECT_LE(test, khv_ref_at(&p, ~0ULL), 80000000);
}

static void next_sequence_is_never_invalid(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, khv_ref_next_sequence(0), 1);
	KUNIT_EXPECT_EQ(test, khv_ref_next_sequence(1), 2);
	KUNIT_EXPECT_EQ(test, khv_ref_next_sequence(0xfffffffd), 0xfffffffe);
	KUNIT_EXPECT_EQ(test, khv_ref_next_sequence(0xfffffffe), 1);
	KUNIT_EXPECT_EQ(test, khv_ref_next_sequence(0xffffffff), 1);
}

static void frequency_of_a_scale(struct kunit *test)
{
	const struct frequency *f = test->param_value;
	u64 scale = khv_ref_scale(f->hz), back = khv_ref_frequency(scale);
	struct khv_pvclock clock = clock_of(f->hz);
	struct khv_ref_params p;

	KUNIT_EXPECT_GE(test, back, f->hz - 1);
	KUNIT_EXPECT_LE(test, back, f->hz + 1);
	/* The page's own, by KVM's pair, is that of the same frequency to 1 Hz in 2^30. */
	KUNIT_ASSERT_TRUE(test, khv_ref_params_compute(&p, &clock));
	KUNIT_EXPECT_LE(test, p.scale, scale);
	KUNIT_EXPECT_LE(test, scale - p.scale, scale >> 29);
}

/* The guest writes to its page what it likes: no quotient may be too large for the CPU. */
static void scales_of_no_frequency(struct kunit *test)
{
	static const u64 bad[] = { 0, 1, 10000000, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, khv_ref_frequency(bad[i]), 0);
	KUNIT_EXPECT_EQ(test, khv_ref_frequency(1ULL << 32), 42949672959999999ULL);
	KUNIT_EXPECT_EQ(test, khv_ref_frequency(~0ULL), 10000000);
	KUNIT_EXPECT_EQ(test, khv_ref_scale(0), 0);
	KUNIT_EXPECT_EQ(test, khv_ref_scale(10000000), 0);
	KUNIT_EXPECT_NE(test, khv_ref_scale(10000001), 0);
}

/* A second has as many ticks as the frequency says, up to 1 in 2^31. */
static void ticks_of_a_second(struct kunit *test)
{
	static const u32 khz[] = { 1, 1000, 999999, 1000000, 1000001, 2200000, 3893123, ~0U };
	struct khv_cycles cycles;
	u64 ns, hz;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(khz); i++) {
		cycles = khv_cycles_compute(khz[i]);
		hz = (u64)khz[i] * 1000;
		KUNIT_EXPECT_GE(test, cycles.mul, 1U << 31);
		ns = cycles.shift < 0 ? GHZ >> -cycles.shift : GHZ << cycles.shift;
		ns = mul_u64_u64_shr(ns, cycles.mul, 32);
		KUNIT_EXPECT_LE(test, ns, hz);
		/* What the shift drops of the time, too. */
		KUNIT_EXPECT_LE(test, hz - ns, (hz >> 31) + 2);
	}
}

static struct kunit_case refclock_cases[] = {
	KUNIT_CASE_PARAM(rate_follows_the_frequency, frequency_gen_params),
	KUNIT_CASE(offset_of_both_signs),
	KUNIT_CASE(slow_tsc_has_no_scale),
	KUNIT_CASE(absurd_shift),
	KUNIT_CASE(backwards_by_a_little),
	KUNIT_CASE(tsc_that_wraps),
	KUNIT_CASE(tsc_near_its_end),
	KUNIT_CASE(next_sequence_is_never_invalid),
	KUNIT_CASE_PARAM(frequency_of_a_scale, frequency_gen_params),
	KUNIT_CASE(scales_of_no_frequency),
	KUNIT_CASE(ticks_of_a_second),
	{},
};

static struct kunit_suite refclock_suite = {
	.name = "khv_refclock",
	.test_cases = refclock_cases,
};

kunit_test_suites(&refclock_suite);
