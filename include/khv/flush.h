/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ranges that a TLB flush names, and the queue in which they wait for the VP. Pure. TLFS
 * chapter "Virtual MMU", "HvCallFlushVirtualAddressList".
 */
#ifndef KHV_FLUSH_H
#define KHV_FLUSH_H

#include <linux/types.h>

/* Flush the whole TLB beyond this many ranges, or this many 4 KB pages in them: that is cheaper. */
#define KHV_FLUSH_RANGES 16
#define KHV_FLUSH_PAGES	 512

/* Number of pages that the fast path flushes by address, with interrupts off. */
#define KHV_FAST_PAGES 64

/**
 * struct khv_gva_range - guest-virtual pages
 * @start: address of the first page, a multiple of 4096
 * @pages: number of 4 KB pages, at least 1
 */
struct khv_gva_range {
	u64 start;
	u64 pages;
};

/**
 * struct khv_flush - the translations that one VP has to flush
 * @all: all of them; @range is not valid then
 * @non_global: with @all: of global pages, none need be flushed
 * @nr: number of ranges
 * @pages: sum of their pages, at most KHV_FLUSH_PAGES
 * @range: the ranges
 */
struct khv_flush {
	bool all;
	bool non_global;
	u8 nr;
	u16 pages;
	struct khv_gva_range range[KHV_FLUSH_RANGES];
};

/**
 * khv_flush_decode() - decode one entry of a flush list
 * @entry: HV_GVA_RANGE
 * @extended: HV_FLUSH_USE_EXTENDED_RANGE_FORMAT: entries may name 2 MB and 1 GB pages
 *
 * Return: the range; its addresses need not be canonical. Context: any.
 */
struct khv_gva_range khv_flush_decode(u64 entry, bool extended);

/**
 * khv_flush_list() - decode a flush list
 * @flush: result
 * @entries: array of HV_GVA_RANGE
 * @nr: number of entries
 * @extended: see khv_flush_decode()
 *
 * Context: any.
 */
void khv_flush_list(struct khv_flush *flush, const u64 *entries, unsigned int nr, bool extended);

/**
 * khv_flush_merge() - add a flush to those that are pending
 * @to: the pending flush; becomes "all" if @add does not fit
 * @add: the flush to add
 *
 * Context: the lock that guards @to held; without it others may read whether @to is empty.
 */
void khv_flush_merge(struct khv_flush *to, const struct khv_flush *add);

#endif
