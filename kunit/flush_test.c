// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of flush lists (K2), and the merging of flushes: never less than was asked for.
 */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/flush.h"
#include "khv/tlfs.h"

#define PAGES_2M 512ULL
#define PAGES_1G (512ULL * 512)

#define LARGE	0x800ULL
#define SIZE_1G 0x1000ULL

static void expect_range(struct kunit *test, u64 entry, bool extended, u64 start, u64 pages)
{
	struct khv_gva_range range = khv_flush_decode(entry, extended);

	KUNIT_EXPECT_EQ_MSG(test, range.start, start, "entry 0x%llx", (unsigned long long)entry);
	KUNIT_EXPECT_EQ_MSG(test, range.pages, pages, "entry 0x%llx", (unsigned long long)entry);
}

static void plain_entries(struct kunit *test)
{
	expect_range(test, 0, false, 0, 1);
	expect_range(test, 0x1000, false, 0x1000, 1);
	expect_range(test, 0x1fff, false, 0x1000, 4096);
	/* The two bits that the extended format gives another meaning. */
	expect_range(test, 0x40000000 | LARGE, false, 0x40000000, 2049);
	expect_range(test, 0x40000000 | SIZE_1G, false, 0x40001000, 1);
	expect_range(test, ~0ULL, false, ~0xfffULL, 4096);
}

static void extended_entries(struct kunit *test)
{
	expect_range(test, 0x7000, true, 0x7000, 1);
	expect_range(test, 0x77ff, true, 0x7000, 2048);
	/* Small pages: bit 12 is part of the address. */
	expect_range(test, SIZE_1G, true, 0x1000, 1);
	expect_range(test, 0x40000000 | LARGE, true, 0x40000000, PAGES_2M);
	expect_range(test, 0x40000000 | LARGE | 8, true, 0x40000000, 9 * PAGES_2M);
	expect_range(test, 0x40000000 | LARGE | SIZE_1G, true, 0x40000000, PAGES_1G);
	expect_range(test, 0x40000000 | LARGE | SIZE_1G | 1, true, 0x40000000, 2 * PAGES_1G);
	expect_range(test, 0x40000000 | LARGE | SIZE_1G | 0x7ff, true, 0x40000000, 2048 * PAGES_1G);
	/* Address bits below the page are no part of its address. */
	expect_range(test, 0x401fe000 | LARGE, true, 0x40000000, PAGES_2M);
	expect_range(test, 0x7fffe000 | LARGE | SIZE_1G, true, 0x40000000, PAGES_1G);
	expect_range(test, ~0ULL, true, ~0x3fffffffULL, 2048 * PAGES_1G);
}

static void lists_fit_or_flush_all(struct kunit *test)
{
	u64 entries[KHV_FLUSH_RANGES + 1] = {};
	struct khv_flush flush;
	int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++)
		entries[i] = i * 0x10000ULL;

	khv_flush_list(&flush, entries, 1, false);
	KUNIT_EXPECT_FALSE(test, flush.all);
	KUNIT_EXPECT_EQ(test, flush.nr, 1);
	KUNIT_EXPECT_EQ(test, flush.pages, 1);

	khv_flush_list(&flush, entries, KHV_FLUSH_RANGES, false);
	KUNIT_EXPECT_FALSE(test, flush.all);
	KUNIT_EXPECT_EQ(test, flush.nr, KHV_FLUSH_RANGES);
	for (i = 0; i < KHV_FLUSH_RANGES; i++)
		KUNIT_EXPECT_EQ(test, flush.range[i].start, entries[i]);

	khv_flush_list(&flush, entries, KHV_FLUSH_RANGES + 1, false);
	KUNIT_EXPECT_TRUE(test, flush.all);

	/* Too many pages in few entries. */
	entries[1] |= KHV_FLUSH_PAGES - 2;
	khv_flush_list(&flush, entries, 2, false);
	KUNIT_EXPECT_FALSE(test, flush.all);
	KUNIT_EXPECT_EQ(test, flush.pages, KHV_FLUSH_PAGES);
	khv_flush_list(&flush, entries, 3, false);
	KUNIT_EXPECT_TRUE(test, flush.all);
	entries[0] = LARGE | SIZE_1G | 0x7ff;
	khv_flush_list(&flush, entries, 1, true);
	KUNIT_EXPECT_TRUE(test, flush.all);
}

static void merging_fits_or_flushes_all(struct kunit *test)
{
	u64 entries[KHV_FLUSH_RANGES] = {};
	struct khv_flush to = {}, add;
	int i;

	for (i = 0; i < KHV_FLUSH_RANGES; i++)
		entries[i] = i * 0x1000ULL;
	khv_flush_list(&add, entries, KHV_FLUSH_RANGES - 1, false);
	khv_flush_merge(&to, &add);
	khv_flush_list(&add, &entries[KHV_FLUSH_RANGES - 1], 1, false);
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_FALSE(test, to.all);
	KUNIT_EXPECT_EQ(test, to.nr, KHV_FLUSH_RANGES);
	KUNIT_EXPECT_EQ(test, to.pages, KHV_FLUSH_RANGES);
	for (i = 0; i < KHV_FLUSH_RANGES; i++)
		KUNIT_EXPECT_EQ(test, to.range[i].start, entries[i]);
	/* No room for another range. */
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_TRUE(test, to.all);
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_TRUE(test, to.all);

	/* Nor for more pages than one flush may have. */
	memset(&to, 0, sizeof(to));
	entries[0] = KHV_FLUSH_PAGES - 1;
	khv_flush_list(&add, entries, 1, false);
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_FALSE(test, to.all);
	khv_flush_list(&add, &entries[1], 1, false);
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_TRUE(test, to.all);

	memset(&to, 0, sizeof(to));
	add.all = true;
	khv_flush_merge(&to, &add);
	KUNIT_EXPECT_TRUE(test, to.all);
}

static struct khv_flush merged(const struct khv_flush *a, const struct khv_flush *b)
{
	struct khv_flush to = {};

	khv_flush_merge(&to, a);
	khv_flush_merge(&to, b);
	return to;
}

/* Global entries stay only if nobody asks for them. */
static void merging_non_global(struct kunit *test)
{
	struct khv_flush non_global = { .all = true, .non_global = true }, full = { .all = true };
	struct khv_flush nothing = {}, list, is;
	u64 entry = 0x1000;

	khv_flush_list(&list, &entry, 1, false);
	KUNIT_EXPECT_FALSE(test, list.non_global);
	is = merged(&nothing, &non_global);
	KUNIT_EXPECT_TRUE(test, is.all && is.non_global);
	is = merged(&non_global, &non_global);
	KUNIT_EXPECT_TRUE(test, is.all && is.non_global);
	is = merged(&non_global, &full);
	KUNIT_EXPECT_TRUE(test, is.all && !is.non_global);
	is = merged(&full, &non_global);
	KUNIT_EXPECT_TRUE(test, is.all && !is.non_global);
	is = merged(&list, &non_global);
	KUNIT_EXPECT_TRUE(test, is.all && !is.non_global);
	is = merged(&non_global, &list);
	KUNIT_EXPECT_TRUE(test, is.all && !is.non_global);
}

static struct kunit_case flush_cases[] = {
	KUNIT_CASE(plain_entries),	    KUNIT_CASE(extended_entries),
	KUNIT_CASE(lists_fit_or_flush_all), KUNIT_CASE(merging_fits_or_flushes_all),
	KUNIT_CASE(merging_non_global),	    {},
};

static struct kunit_suite flush_suite = {
	.name = "khv_flush",
	.test_cases = flush_cases,
};

kunit_test_suites(&flush_suite);
