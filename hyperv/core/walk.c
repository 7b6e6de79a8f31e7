// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walk a guest's page tables for an address that the CPU has just used. KVM's walker may sleep: it
 * sets accessed bits, and tries again when it loses against another VP. Here an entry that would
 * have to be written, or is not plainly valid, ends the walk; the slow path uses KVM's. Pure.
 */
#include <linux/bits.h>
#include <linux/kernel.h>

#include "khv/walk.h"

#define PAGE_4K_SHIFT 12
#define ENTRY_ADDRESS GENMASK_ULL(51, PAGE_4K_SHIFT)
#define ENTRY_HUGE    BIT_ULL(7)
#define INDEX_BITS    9
#define MIN_LEVELS    4
#define MAX_HUGE      3 /* 1 GB */

/*
 * EPT: bits 6:3 are reserved in an entry that points to a table. In one that maps a page, bits 5:3
 * are the memory type.
 */
#define EPT_TABLE_RESERVED GENMASK_ULL(6, 3)
#define EPT_TYPE(entry)	   ((entry) >> 3 & 7)

static bool ept_type_valid(u64 entry)
{
	u64 type = EPT_TYPE(entry);

	return type != 2 && type != 3 && type != 7;
}

static u64 mapped(u64 entry, u64 address, int shift, bool ept)
{
	u64 offset = GENMASK_ULL(shift - 1, 0);
	u64 reserved = offset & ENTRY_ADDRESS;

	/* Bit 12 of a large page is PAT there. */
	if (!ept)
		reserved &= ~BIT_ULL(PAGE_4K_SHIFT);
	if ((entry & reserved) || (ept && !ept_type_valid(entry)))
		return KHV_NOWHERE;
	return (entry & ENTRY_ADDRESS & ~offset) | (address & offset);
}

static u64 below(const struct khv_tables *t, u64 address, khv_read_entry *read, void *context)
{
	if (!t->below || address == KHV_NOWHERE)
		return address;
	return khv_walk(t->below, address, read, context);
}

u64 khv_walk(const struct khv_tables *t, u64 address, khv_read_entry *read, void *context)
{
	u64 table = t->root & ENTRY_ADDRESS, entry, at;
	int level, shift;

	if (t->levels < MIN_LEVELS)
		return KHV_NOWHERE;
	for (level = t->levels; level > 0; level--) {
		shift = PAGE_4K_SHIFT + (level - 1) * INDEX_BITS;
		at = table + (address >> shift) % BIT(INDEX_BITS) * sizeof(entry);
		at = below(t, at, read, context);
		if (at == KHV_NOWHERE || !read(context, at, &entry) || (entry & t->need) != t->need)
			return KHV_NOWHERE;
		if (level == 1 || (entry & ENTRY_HUGE)) {
			if (level > MAX_HUGE)
				return KHV_NOWHERE;
			return below(t, mapped(entry, address, shift, t->ept), read, context);
		}
		if (t->ept && (entry & EPT_TABLE_RESERVED))
			return KHV_NOWHERE;
		table = entry & ENTRY_ADDRESS;
	}
	return KHV_NOWHERE;
}
