// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvFlushVirtualAddressList and its Ex form: which pages an entry names, in the plain and in the
 * extended format. TLFS chapter "Virtual MMU".
 */
#include "flush_pair.h"

/* --- one round: make stale, flush, look ---------------------------------- */

static void require_1g_pages(void)
{
	if (!has_1g_pages())
		ktap_skip("the CPU has no 1G pages");
}

/* --- lists ---------------------------------------------------------------- */

static void check_list_lengths(u64 code)
{
	static const u32 lengths[] = { 1, 2, 7, 15, 16, 17, 64, LIST_MAX };
	struct world *w = world_create();
	struct page stale[3];
	u32 i, n, form;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		n = list_of_pages(lengths[i], stale);
		for (form = 0; form < 2; form++) {
			struct call c = { .code = code,
					  .fast = form,
					  .space = w->vm->cr3,
					  .nr = lengths[i],
					  .list = list };

			if (c.fast && c.nr > 7)
				continue;
			c.targets = 2;
			judge(w, 1, &c, stale, n, "itself");
			judge(w, 0, &c, stale, n, "another");
			c.targets = call_is_ex(code) ? ALL : 3;
			judge(w, 1, &c, stale, n, "itself and others");
			c.targets = 0;
			c.flags = HV_FLUSH_ALL_PROCESSORS;
			c.format_all = call_is_ex(code);
			judge(w, 2, &c, stale, n, "all");
		}
	}
	world_free(w);
}

TEST(lists_of_every_length)
{
	check_list_lengths(HVCALL_FLUSH_LIST);
}

TEST(lists_of_every_length_ex)
{
	check_list_lengths(HVCALL_FLUSH_LIST_EX);
}

/* As many entries as fit the registers: 11, or 8 behind two banks. */
TEST(longest_fast_lists)
{
	struct world *w = world_create();
	struct page stale[3];
	struct call c = { .fast = true, .list = list };
	u32 n;

	c.code = HVCALL_FLUSH_LIST;
	c.targets = 1;
	c.nr = 11;
	n = list_of_pages(c.nr, stale);
	judge(w, 0, &c, stale, n, "mask");
	judge(w, 2, &c, stale, n, "mask");
	c.code = HVCALL_FLUSH_LIST_EX;
	c.targets = 6; /* banks 0 and 1 */
	c.nr = 8;
	n = list_of_pages(c.nr, stale);
	judge(w, 0, &c, stale, n, "set");
	judge(w, 2, &c, stale, n, "set");
	world_free(w);
}

/* Several calls before the target runs again: its queue must keep them all. */
TEST(calls_before_an_entry_add_up)
{
	struct world *w = world_create();
	struct page stale[STALE_MAX];
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 1, .nr = 1 };
	u32 calls, i;

	for (calls = 2; calls <= STALE_MAX; calls += 7) {
		for (i = 0; i < calls; i++)
			stale[i] = (struct page){ PAGE_4K, 10 * i };
		make_stale(w, 0, stale, calls);
		probes_read();
		for (i = 0; i < calls; i++) {
			list[0] = page_gva(stale[i]);
			c.list = list;
			ASSERT_EQ(vcpu_op(w->vm->vcpus[1], w->ops[1], call_op(w, &c)).result,
				  HV_CTL_REP(1));
		}
		for (i = 0; i < calls; i++)
			ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0],
					  (struct guest_op){ .op = OP_LOAD,
							     .arg0 = page_read_at(stale[i]) })
					  .result,
				  NEW_VALUE);
		probes_read();
		for (i = 0; i < calls; i++)
			ASSERT(invalidated(w->address[0], stale[i]), "call %u of %u is lost", i,
			       calls);
	}
	world_free(w);
}

/* Bits 11:0 of an entry. Emulated TLBs have one place for all pages 2048 apart: not two of them. */
TEST(additional_pages_are_flushed)
{
	static const u32 more[] = { 1, 2, 7, 63, 511, 512, 2047, 2049, 4095 };
	struct world *w = world_create();
	u32 i;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[] = { { PAGE_4K, 5 },
					{ PAGE_4K, 5 + more[i] / 3 },
					{ PAGE_4K, 5 + more[i] } };
		struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list };

		list[0] = page_gva(stale[0]) | more[i];
		judge(w, 1, &c, stale, 3, "one range");
		/* In the middle of a list. */
		list[1] = list[0];
		list[0] = page_gva((struct page){ PAGE_4K, 1 });
		list[2] = page_gva((struct page){ PAGE_4K, 2 }) | 1;
		c.nr = 3;
		c.code = HVCALL_FLUSH_LIST_EX;
		c.fast = i & 1;
		judge(w, 0, &c, stale, 3, "a range between others");
	}
	world_free(w);
}

/* Any address of a large page is an address of that page. */
TEST(large_pages_by_any_address)
{
	static const u64 offsets[] = { 0, 0x1000, 0x123000, 0x1ff000 };
	struct world *w = world_create();
	u32 size, i;

	for (size = PAGE_2M; size <= (has_1g_pages() ? PAGE_1G : PAGE_2M); size++) {
		struct page stale = { size, 3 };

		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			struct call c = {
				.code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list
			};

			list[0] = page_gva(stale) + offsets[i] * (size == PAGE_1G ? 512 : 1);
			judge(w, i & 1, &c, &stale, 1, "an address inside");
			/* A range that begins before the page and ends in it. */
			list[0] = (page_gva(stale) - PAGE_SIZE) | 1;
			judge(w, i & 1, &c, &stale, 1, "a range into the page");
		}
	}
	world_free(w);
}

/* Entries before the start index were flushed by the call that this one continues. */
TEST_KNOWN(entries_before_the_start_index_are_skipped, "K3")
{
	static const u32 lengths[] = { 2, 8, 16, 64 };
	struct world *w = world_create();
	struct page stale[3];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		u32 nr = lengths[i], start = nr / 2;
		struct call c = { .code = HVCALL_FLUSH_LIST,
				  .targets = 2,
				  .nr = nr,
				  .start = start,
				  .list = list };

		list_of_pages(nr, stale);
		stale[0].nr = start;
		stale[1].nr = (start + nr - 1) / 2;
		__judge(w, 1, &c, stale, 3, "from the middle", true);
		c.code = HVCALL_FLUSH_LIST_EX;
		c.start = nr - 1;
		c.fast = nr == 8;
		__judge(w, 0, &c, &stale[2], 1, "only the last", true);
	}
	world_free(w);
}

/* Full flushes of the two targets of a list of eight pages, the least of some tries. */
static u32 full_flushes_of_a_list(void)
{
	struct world *w = world_create();
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 8, .list = list };
	u32 try, all, least = ~0u;
	struct page stale[3];

	/* KVM may have reasons of its own for a full flush, but not each time. */
	for (try = 0; try < 5 && least; try++) {
		u32 n = list_of_pages(c.nr, stale);

		judge(w, 0, &c, stale, n, "eight pages");
		all = invalidated_all(w->address[0]) + invalidated_all(w->address[1]);
		if (all < least)
			least = all;
	}
	world_free(w);
	return least;
}

/* 6.1 flushes everything for a list, which is slow, but never too little. */
TEST_KNOWN_IF(lists_are_no_full_flush, "K16", host_is_6_1)
{
	u32 all;

	if (host_is_amd())
		ktap_skip("a list is a full flush on AMD, see lists_flush_all_on_amd");
	all = full_flushes_of_a_list();
	ASSERT_KNOWN(!all, "%u full flushes for a list", all);
}

/* INVLPGA has errata: KVM flushes by it from 6.2 to 7.1. */
static bool uses_invlpga(void)
{
	return host_is_amd() && !host_kernel_before(6, 2) && host_kernel_before(7, 2);
}

TEST_KNOWN_IF(lists_flush_all_on_amd, "K39", uses_invlpga)
{
	if (!host_is_amd())
		ktap_skip("Intel flushes by address");
	ASSERT_KNOWN(full_flushes_of_a_list(), "by address");
}

/* --- the extended range format --------------------------------------------- */

static void check_extended(struct world *w, u64 entry, const struct page *stale, u32 nr,
			   const char *what)
{
	struct call c = { .code = HVCALL_FLUSH_LIST,
			  .flags = HV_FLUSH_EXTENDED,
			  .targets = 2,
			  .nr = 1,
			  .list = list };
	u32 form;

	for (form = 0; form < 4; form++) {
		list[0] = entry;
		c.nr = 1;
		c.code = form & 2 ? HVCALL_FLUSH_LIST_EX : HVCALL_FLUSH_LIST;
		c.fast = form & 1;
		__judge(w, form & 1, &c, stale, nr, what, true);
	}
	/* The last one of several. */
	list[2] = entry;
	list[0] = EXT_4K(page_gva((struct page){ PAGE_4K, 400 }), 3);
	list[1] = EXT_2M(page_gva((struct page){ PAGE_2M, 400 }), 1);
	c.nr = 3;
	__judge(w, 0, &c, stale, nr, what, true);
}

TEST_KNOWN_IF(extended_2m, "K2", lists_by_page)
{
	static const u32 more[] = { 0, 1, 7, 8, 15 };
	struct world *w = world_create();
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[STALE_MAX];

		for (j = 0; j <= more[i]; j++)
			stale[j] = (struct page){ PAGE_2M, 100 + j };
		check_extended(w, EXT_2M(page_gva(stale[0]), more[i]), stale, more[i] + 1,
			       "2M pages");
	}
	world_free(w);
}

/* 2M entries name addresses, not pages of that size: smaller ones there are flushed, too. */
TEST_KNOWN_IF(extended_2m_over_4k, "K2", lists_by_page)
{
	static const struct page stale[] = {
		{ PAGE_4K, 0 }, { PAGE_4K, 511 }, { PAGE_4K, 512 * 6 + 1 }, { PAGE_4K, 512 * 8 - 2 }
	};
	struct world *w = world_create();

	check_extended(w, EXT_2M(AREA, 7), stale, ARRAY_SIZE(stale), "4K pages in 2M ranges");
	world_free(w);
}

TEST_KNOWN_IF(extended_1g, "K2", lists_by_page)
{
	static const struct page stale[] = { { PAGE_1G, 1 }, { PAGE_1G, 2 }, { PAGE_1G, 3 } };
	struct world *w;
	u32 nr;

	require_1g_pages();
	w = world_create();
	for (nr = 1; nr <= ARRAY_SIZE(stale); nr++)
		check_extended(w, EXT_1G(page_gva(stale[0]), nr - 1), stale, nr, "1G pages");
	world_free(w);
}

/* As with 2M: one of each entry's pages of 1G holds smaller ones. */
TEST_KNOWN_IF(extended_1g_over_smaller, "K2", lists_by_page)
{
	static const struct page small[] = { { PAGE_4K, 0 },
					     { PAGE_4K, 700 },
					     { PAGE_4K, 512 * 15 + 511 } };
	static const struct page large[] = { { PAGE_2M, 1 }, { PAGE_2M, 300 }, { PAGE_2M, 511 } };
	struct world *w = world_create();

	check_extended(w, EXT_1G(AREA, 0), small, ARRAY_SIZE(small), "4K pages in a 1G range");
	check_extended(w, EXT_1G(AREA, 1), large, ARRAY_SIZE(large), "2M pages in 1G ranges");
	world_free(w);
}

/* 10:0 only, which is no different from the plain format. */
TEST(extended_4k)
{
	static const u32 more[] = { 0, 1, 7, 600, 2047 };
	struct world *w = world_create();
	u32 i, form;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[] = { { PAGE_4K, 9 },
					{ PAGE_4K, 9 + more[i] / 3 },
					{ PAGE_4K, 9 + more[i] } };

		for (form = 0; form < 2; form++) {
			struct call c = { .code = form ? HVCALL_FLUSH_LIST_EX : HVCALL_FLUSH_LIST,
					  .fast = form,
					  .flags = HV_FLUSH_EXTENDED,
					  .targets = 2,
					  .nr = 1,
					  .list = list };

			list[0] = EXT_4K(page_gva(stale[0]), more[i]);
			judge(w, form, &c, stale, 3, "4K pages");
		}
	}
	world_free(w);
}

/* --- addresses that are none ------------------------------------------------ */

static const u64 no_addresses[] = { LAST_CANONICAL_48 + PAGE_SIZE, NON_CANONICAL | 7,
				    0xfefffffffffff000ULL, 0x8000000000000fffULL };

TEST(non_canonical_is_skipped)
{
	struct world *w = world_create();
	struct page stale[] = { { PAGE_4K, 20 }, { PAGE_4K, 21 } };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 3, .list = list };
	u32 i, high;

	for (i = 0; i < ARRAY_SIZE(no_addresses); i++) {
		list[0] = page_gva(stale[0]);
		list[1] = no_addresses[i];
		list[2] = page_gva(stale[1]);
		judge(w, 0, &c, stale, 2, "in the middle");
		list[0] = no_addresses[i];
		list[1] = no_addresses[(i + 1) % ARRAY_SIZE(no_addresses)];
		list[2] = page_gva(stale[0]) | 1;
		c.fast = i & 1;
		judge(w, 1, &c, stale, 2, "first");
	}
	/* Non-canonical addresses: no instruction that invalidates takes one. */
	probes_read();
	list[0] = NON_CANONICAL | 15;
	list[1] = 0xfef0000000000000ULL;
	c.nr = 2;
	c.targets = 1;
	c.fast = false;
	ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result, HV_CTL_REP(2));
	probes_read();
	for (i = 0; i < nr_invalidations; i++) {
		high = (u32)(invalidations[i].gva >> 56);
		ASSERT(invalidations[i].all || high == 0 || high == 0xff, "0x%llx",
		       (unsigned long long)invalidations[i].gva);
	}
	world_free(w);
}

/*
 * A range that starts well and runs into the hole, or over the end of all
 * addresses. On Intel the CPU refuses such an address and stock KVM warns.
 */
TEST(range_into_the_hole)
{
	struct page stale[] = { { PAGE_4K, 30 }, { PAGE_2M, 30 } };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 3, .list = list };
	struct world *w;
	u32 i;

	if (!module_loaded() && !host_is_amd() && lists_by_page())
		ktap_skip("stock KVM hands the CPU such an address, and warns in its log");
	w = world_create();
	for (i = 0; i < 4; i++) {
		u64 last = i & 2 ? LAST_CANONICAL_48 : LAST_CANONICAL_57;

		list[0] = (last - i * PAGE_SIZE) | (4 + i);
		list[1] = 0xfffffffffffff000ULL | (i & 1 ? 0xfff : 3);
		list[2] = page_gva(stale[0]);
		c.nr = 3;
		c.fast = i & 1;
		c.flags = 0;
		judge(w, i & 1, &c, stale, 1, "plain ranges");
		list[0] = EXT_2M(last & ~0x1fffffULL, i);
		list[1] = EXT_4K(last, 2 + i);
		list[2] = page_gva(stale[0]);
		list[3] = page_gva(stale[1]);
		c.nr = 4;
		c.flags = HV_FLUSH_EXTENDED;
		judge(w, i & 1, &c, stale, 2, "extended ranges");
	}
	world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
