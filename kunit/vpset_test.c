// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets of VPs: what a walk names, in which order, and what a malformed set answers.
 */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/vpset.h"

struct wire {
	u64 format;
	u64 valid_bank_mask;
	u64 banks[64];
};

static u16 parse(struct khv_vpset *set, const struct wire *wire, u16 varhdr)
{
	struct khv_hcall hc = { .varhdr = varhdr };

	return khv_vpset_parse(set, (const struct khv_vp_set *)wire, &hc);
}

static void expect_vps(struct kunit *test, struct khv_vpset *set, const u32 *vps, int nr)
{
	u32 vp;
	int i;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_TRUE(test, khv_vpset_next(set, &vp));
		KUNIT_EXPECT_EQ(test, vp, vps[i]);
	}
	KUNIT_EXPECT_FALSE(test, khv_vpset_next(set, &vp));
	KUNIT_EXPECT_FALSE(test, khv_vpset_next(set, &vp));
}

static void plain_mask(struct kunit *test)
{
	static const u32 ends[] = { 0, 63 };
	struct khv_vpset set;

	khv_vpset_mask(&set, 0);
	KUNIT_EXPECT_FALSE(test, set.all);
	expect_vps(test, &set, NULL, 0);
	khv_vpset_mask(&set, BIT_ULL(63) | 1);
	expect_vps(test, &set, ends, 2);
}

static void banks_in_order(struct kunit *test)
{
	/* Bank 1 is valid and names nobody; bank 2 is not there. */
	static const u32 vps[] = { 5, 3 * 64, 3 * 64 + 63, 4095 };
	struct wire wire = {
		.valid_bank_mask = BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(3) | BIT_ULL(63),
		.banks = { BIT_ULL(5), 0, BIT_ULL(63) | 1, BIT_ULL(63) },
	};
	struct khv_vpset set;

	KUNIT_ASSERT_EQ(test, parse(&set, &wire, 4), HV_STATUS_SUCCESS);
	KUNIT_EXPECT_FALSE(test, set.all);
	expect_vps(test, &set, vps, ARRAY_SIZE(vps));
}

static void every_vp_there_can_be(struct kunit *test)
{
	struct wire wire = { .valid_bank_mask = ~0ULL };
	struct khv_vpset set;
	u32 vp, expected;

	memset(wire.banks, 0xff, sizeof(wire.banks));
	KUNIT_ASSERT_EQ(test, parse(&set, &wire, 64), HV_STATUS_SUCCESS);
	for (expected = 0; expected < 4096; expected++) {
		KUNIT_ASSERT_TRUE(test, khv_vpset_next(&set, &vp));
		KUNIT_ASSERT_EQ(test, vp, expected);
	}
	KUNIT_EXPECT_FALSE(test, khv_vpset_next(&set, &vp));
}

static void all_and_none(struct kunit *test)
{
	struct wire wire = { .format = 1 };
	struct khv_vpset set;

	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 0), HV_STATUS_SUCCESS);
	KUNIT_EXPECT_TRUE(test, set.all);
	wire.format = 0;
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 0), HV_STATUS_SUCCESS);
	KUNIT_EXPECT_FALSE(test, set.all);
	expect_vps(test, &set, NULL, 0);
}

/* Membership agrees with the walk, at the borders of every bank. */
static void has_every_named_vp(struct kunit *test)
{
	struct wire wire = { .valid_bank_mask = 0x8000000000000005ULL,
			     .banks = { 0x8000000000000001ULL, 0x2, 0x8000000000000000ULL } };
	struct khv_vpset set, walk;
	u32 vp, at = 0;

	KUNIT_ASSERT_EQ(test, parse(&set, &wire, 3), HV_STATUS_SUCCESS);
	walk = set;
	while (khv_vpset_next(&walk, &vp)) {
		for (; at < vp; at++)
			KUNIT_EXPECT_FALSE_MSG(test, khv_vpset_has(&set, at), "VP %u", at);
		KUNIT_EXPECT_TRUE_MSG(test, khv_vpset_has(&set, vp), "VP %u", vp);
		at = vp + 1;
	}
	KUNIT_EXPECT_EQ(test, at, 4096);
	KUNIT_EXPECT_FALSE(test, khv_vpset_has(&set, 4096));
	KUNIT_EXPECT_FALSE(test, khv_vpset_has(&set, ~0U));

	khv_vpset_mask(&set, 0x5);
	KUNIT_EXPECT_TRUE(test, khv_vpset_has(&set, 2));
	KUNIT_EXPECT_FALSE(test, khv_vpset_has(&set, 1));
	KUNIT_EXPECT_FALSE(test, khv_vpset_has(&set, 64));
	set.all = true;
	KUNIT_EXPECT_TRUE(test, khv_vpset_has(&set, ~0U));
}

/* How many VPs a walk may meet with interrupts off: three banks, or a VM of no more VPs. */
static void few_for_the_fast_path(struct kunit *test)
{
	struct khv_vpset set;

	khv_vpset_mask(&set, ~0ULL);
	KUNIT_EXPECT_TRUE(test, khv_vpset_few(&set, 4096));
	set = (struct khv_vpset){ .banks = 1 | BIT_ULL(20) | BIT_ULL(63) };
	KUNIT_EXPECT_TRUE(test, khv_vpset_few(&set, 4096));
	set.banks |= BIT_ULL(7);
	KUNIT_EXPECT_FALSE(test, khv_vpset_few(&set, 1));
	set.banks = ~0ULL;
	KUNIT_EXPECT_FALSE(test, khv_vpset_few(&set, 1));
	set = (struct khv_vpset){ .all = true };
	KUNIT_EXPECT_TRUE(test, khv_vpset_few(&set, 3 * 64));
	KUNIT_EXPECT_FALSE(test, khv_vpset_few(&set, 3 * 64 + 1));
	/* The banks of "all" are of no use. */
	set.banks = 1;
	KUNIT_EXPECT_FALSE(test, khv_vpset_few(&set, 4096));
}

static void malformed_sets_are_refused(struct kunit *test)
{
	struct wire wire = { .valid_bank_mask = 0x11 };
	struct khv_vpset set;

	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 1), HV_STATUS_INVALID_HYPERCALL_INPUT);
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 3), HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* The banks must match for "all", too, which has no use for them. */
	wire.format = 1;
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 0), HV_STATUS_INVALID_HYPERCALL_INPUT);
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 2), HV_STATUS_SUCCESS);
	wire.format = 2;
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 2), HV_STATUS_INVALID_PARAMETER);
	wire.format = ~0ULL;
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 2), HV_STATUS_INVALID_PARAMETER);
	wire.format = 1ULL << 32;
	KUNIT_EXPECT_EQ(test, parse(&set, &wire, 2), HV_STATUS_INVALID_PARAMETER);
}

static struct kunit_case vpset_cases[] = {
	KUNIT_CASE(plain_mask),
	KUNIT_CASE(banks_in_order),
	KUNIT_CASE(every_vp_there_can_be),
	KUNIT_CASE(all_and_none),
	KUNIT_CASE(has_every_named_vp),
	KUNIT_CASE(few_for_the_fast_path),
	KUNIT_CASE(malformed_sets_are_refused),
	{},
};

static struct kunit_suite vpset_suite = {
	.name = "khv_vpset",
	.test_cases = vpset_cases,
};

kunit_test_suites(&vpset_suite);
