// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables walked with interrupts off: what is plain is found, and what a CPU would fault on, or
 * write to, is not.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/walk.h"

#define PAGES 24
#define WORDS 512

#define P      BIT_ULL(0)
#define RW     BIT_ULL(1)
#define A      BIT_ULL(5)
#define HUGE   BIT_ULL(7)
#define PAT    BIT_ULL(12) /* of a large page */
#define NX     BIT_ULL(63)
#define EPT_R  BIT_ULL(0)
#define EPT_A  BIT_ULL(8)
#define EPT_WB (6ULL << 3)

/* The lowest pages of the address space; tables are numbered by page. */
static u64 memory[PAGES][WORDS];
static u32 reads;

static bool read_memory(void *context, u64 address, u64 *entry)
{
	reads++;
	if (address >= sizeof(memory) || address % sizeof(*entry))
		return false;
	*entry = memory[address / sizeof(memory[0])][address % sizeof(memory[0]) / sizeof(*entry)];
	return true;
}

static u64 page(u64 number)
{
	return number << 12;
}

/* 0x1234'5678'9abc: four indices that differ, and an offset. */
#define ADDRESS 0x123456789abcULL

static u64 *entry_of(int level)
{
	return &memory[5 - level][ADDRESS >> (3 + 9 * level) & 511];
}

/* Tables 1 to 4 lead ADDRESS to @target, which is mapped at @level. */
static struct khv_tables tables(u64 bits, u64 target, int level)
{
	int i;

	memset(memory, 0, sizeof(memory));
	reads = 0;
	for (i = 4; i > level; i--)
		*entry_of(i) = page(6 - i) | bits;
	*entry_of(level) = target | bits | (level > 1 ? HUGE : 0);
	return (struct khv_tables){ .root = page(1), .need = bits, .levels = 4 };
}

static void expect(struct kunit *test, const struct khv_tables *t, u64 found)
{
	KUNIT_EXPECT_EQ(test, khv_walk(t, ADDRESS, read_memory, NULL), found);
}

static void pages_of_all_sizes(struct kunit *test)
{
	struct khv_tables t = tables(P, 0xabc000, 1);

	expect(test, &t, 0xabcabc);
	KUNIT_EXPECT_EQ(test, reads, 4);
	t = tables(P, 0x40000000, 2);
	expect(test, &t, 0x40000000 | (ADDRESS & 0x1fffff));
	t = tables(P, 0x80000000, 3);
	expect(test, &t, 0x80000000 | (ADDRESS & 0x3fffffff));
	/* There are none of 512 GB. */
	t = tables(P, 0, 4);
	expect(test, &t, KHV_NOWHERE);
}

static void five_levels(struct kunit *test)
{
	struct khv_tables t = tables(P, 0xabc000, 1);

	memory[6][0] = page(1) | P;
	t.root = page(6) | 0xfff;
	t.levels = 5;
	expect(test, &t, 0xabcabc);
	t.levels = 3;
	expect(test, &t, KHV_NOWHERE);
	t.levels = 0;
	expect(test, &t, KHV_NOWHERE);
}

static void bits_that_every_entry_needs(struct kunit *test)
{
	struct khv_tables t;
	int level;

	for (level = 1; level <= 4; level++) {
		t = tables(P | A, 0xabc000, 1);
		expect(test, &t, 0xabcabc);
		*entry_of(level) &= ~A;
		expect(test, &t, KHV_NOWHERE);
		*entry_of(level) ^= A | P;
		expect(test, &t, KHV_NOWHERE);
		/* Others say nothing of the address. */
		t = tables(P | A, 0xabc000, 1);
		*entry_of(level) |= RW | NX | GENMASK_ULL(62, 52);
		expect(test, &t, 0xabcabc);
	}
}

static void reserved_bits(struct kunit *test)
{
	struct khv_tables t;
	int bit;

	for (bit = 12; bit < 30; bit++) {
		t = tables(P, 0x80000000 | BIT_ULL(bit), 3);
		expect(test, &t, bit == 12 ? 0x80000000 | (ADDRESS & 0x3fffffff) : KHV_NOWHERE);
	}
	t = tables(P, 0x40000000 | PAT, 2);
	expect(test, &t, 0x40000000 | (ADDRESS & 0x1fffff));
}

static void tables_that_are_not_at_hand(struct kunit *test)
{
	struct khv_tables t;
	int level;

	for (level = 2; level <= 4; level++) {
		t = tables(P, 0xabc000, 1);
		*entry_of(level) = page(PAGES) | P;
		expect(test, &t, KHV_NOWHERE);
		*entry_of(level) = GENMASK_ULL(51, 12) | P;
		expect(test, &t, KHV_NOWHERE);
	}
	t = tables(P, 0xabc000, 1);
	t.root = GENMASK_ULL(63, 12);
	expect(test, &t, KHV_NOWHERE);
}

static void ept(struct kunit *test)
{
	struct khv_tables t;
	u64 type;
	int bit;

	for (type = 0; type < 8; type++) {
		t = tables(EPT_R, 0xabc000 | type << 3, 1);
		t.ept = true;
		expect(test, &t, type == 2 || type == 3 || type == 7 ? KHV_NOWHERE : 0xabcabc);
	}
	for (bit = 3; bit <= 6; bit++) {
		t = tables(EPT_R, 0xabc000 | EPT_WB, 1);
		t.ept = true;
		*entry_of(3) |= BIT_ULL(bit);
		expect(test, &t, KHV_NOWHERE);
	}
	t = tables(EPT_R | EPT_A, 0xabc000 | EPT_WB, 1);
	t.ept = true;
	expect(test, &t, 0xabcabc);
	*entry_of(2) &= ~EPT_A;
	expect(test, &t, KHV_NOWHERE);
	/* There bit 12 is an address bit, too. */
	t = tables(EPT_R, 0x40000000 | EPT_WB | PAT, 2);
	t.ept = true;
	expect(test, &t, KHV_NOWHERE);
}

/* Pages 10 and on: tables that map page n to n + 1, and 0xabc to 0xdef. */
static void tables_below(struct kunit *test)
{
	struct khv_tables lower = { .root = page(10), .need = P, .levels = 4 };
	struct khv_tables t = tables(P, 0xabc000, 1);
	int i;

	memmove(memory[2], memory[1], 4 * sizeof(memory[0]));
	memset(memory[1], 0, sizeof(memory[1]));
	memory[10][0] = page(11) | P;
	memory[11][0] = page(12) | P;
	for (i = 0; i < 8; i++)
		memory[12][i] = page(13) | P;
	for (i = 1; i < 9; i++)
		memory[13][i] = page(i + 1) | P;
	memory[12][0xabc >> 9] = page(14) | P;
	memory[14][0xabc & 511] = page(0xdef) | P;
	t.below = &lower;
	expect(test, &t, 0xdefabc);
	KUNIT_EXPECT_EQ(test, reads, 4 + 5 * 4);
	memory[13][4] = 0;
	expect(test, &t, KHV_NOWHERE);
	memory[13][4] = page(5) | P;
	memory[14][0xabc & 511] = 0;
	expect(test, &t, KHV_NOWHERE);
}

static struct kunit_case walk_cases[] = {
	KUNIT_CASE(pages_of_all_sizes),
	KUNIT_CASE(five_levels),
	KUNIT_CASE(bits_that_every_entry_needs),
	KUNIT_CASE(reserved_bits),
	KUNIT_CASE(tables_that_are_not_at_hand),
	KUNIT_CASE(ept),
	KUNIT_CASE(tables_below),
	{},
};

static struct kunit_suite walk_suite = {
	.name = "khv_walk",
	.test_cases = walk_cases,
};

kunit_test_suites(&walk_suite);
