// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decodes entries of flush lists into ranges of pages, and merges them into a queue. Pure. Flushing
 * too much is always correct, too little never is: what does not fit becomes "all".
 */
#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/flush.h"
#include "khv/tlfs.h"

#define PAGE_4K_SHIFT 12
#define PAGE_2M_SHIFT 21
#define PAGE_1G_SHIFT 30

struct khv_gva_range khv_flush_decode(u64 entry, bool extended)
{
	unsigned int shift = PAGE_4K_SHIFT;
	u64 more = entry & KHV_GVA_MORE_PAGES;

	if (extended) {
		more = entry & KHV_GVA_EXT_MORE_PAGES;
		if (entry & KHV_GVA_EXT_LARGE)
			shift = entry & KHV_GVA_EXT_1G ? PAGE_1G_SHIFT : PAGE_2M_SHIFT;
	}
	return (struct khv_gva_range){
		.start = entry >> shift << shift,
		.pages = (more + 1) << (shift - PAGE_4K_SHIFT),
	};
}

void khv_flush_list(struct khv_flush *flush, const u64 *entries, unsigned int nr, bool extended)
{
	u64 pages = 0;
	unsigned int i;

	flush->all = nr > KHV_FLUSH_RANGES;
	flush->non_global = false;
	flush->nr = 0;
	if (flush->all)
		return;
	for (i = 0; i < nr; i++) {
		flush->range[i] = khv_flush_decode(entries[i], extended);
		pages += flush->range[i].pages;
	}
	flush->all = pages > KHV_FLUSH_PAGES;
	flush->nr = nr;
	flush->pages = flush->all ? 0 : pages;
}

void khv_flush_merge(struct khv_flush *to, const struct khv_flush *add)
{
	/* Keep global pages only if every queued flush does. */
	if (add->all && add->non_global && !to->nr && (!to->all || to->non_global)) {
		to->non_global = true;
		WRITE_ONCE(to->all, true);
		return;
	}
	to->non_global = false;
	if (to->all)
		return;
	if (add->all || to->nr + add->nr > KHV_FLUSH_RANGES ||
	    to->pages + add->pages > KHV_FLUSH_PAGES) {
		WRITE_ONCE(to->all, true);
		return;
	}
	memcpy(&to->range[to->nr], add->range, add->nr * sizeof(add->range[0]));
	WRITE_ONCE(to->nr, to->nr + add->nr);
	to->pages += add->pages;
}
