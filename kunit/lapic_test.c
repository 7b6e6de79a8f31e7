// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ends of interrupts: which vector, and who has to learn of it. No emulator has AVIC, so its
 * decisions are tested here alone.
 */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/lapic.h"

static u32 isr[8 * KHV_LAPIC_WORD / sizeof(u32)];

static void set_vector(unsigned int vector)
{
	isr[vector / 32 * KHV_LAPIC_WORD / sizeof(u32)] |= 1u << vector % 32;
}

static void highest_vector_of_a_bitmap(struct kunit *test)
{
	unsigned int vector;

	memset(isr, 0, sizeof(isr));
	KUNIT_EXPECT_EQ(test, khv_lapic_highest(isr), -1);
	/* Words between those of the bitmap are other registers. */
	isr[1] = ~0u;
	isr[2] = ~0u;
	isr[3] = ~0u;
	KUNIT_EXPECT_EQ(test, khv_lapic_highest(isr), -1);
	for (vector = 0; vector < 256; vector++) {
		set_vector(vector);
		KUNIT_EXPECT_EQ(test, khv_lapic_highest(isr), (int)vector);
	}
}

static void effects_of_an_eoi(struct kunit *test)
{
	/* Without APICv KVM alone knows what is in service. */
	KUNIT_EXPECT_EQ(test, khv_eoi_effects(false, false), (unsigned int)KHV_EOI_COUNT);
	KUNIT_EXPECT_EQ(test, khv_eoi_effects(false, true), (unsigned int)KHV_EOI_COUNT);
	/* Intel's CPU has a copy, AMD's reads the page; neither needs KVM's look. */
	KUNIT_EXPECT_EQ(test, khv_eoi_effects(true, false), (unsigned int)KHV_EOI_SVI);
	KUNIT_EXPECT_EQ(test, khv_eoi_effects(true, true), 0u);
}

static struct kunit_case lapic_cases[] = {
	KUNIT_CASE(highest_vector_of_a_bitmap),
	KUNIT_CASE(effects_of_an_eoi),
	{},
};

static struct kunit_suite lapic_suite = {
	.name = "khv_lapic",
	.test_cases = lapic_cases,
};

kunit_test_suites(&lapic_suite);
