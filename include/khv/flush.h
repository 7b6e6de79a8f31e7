/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a TLB flush names, and the queue in which it waits for its VP. Pure.
 * TLFS chapter "Virtual MMU", "HvCallFlushVirtualAddressList".
 */
#ifndef KHV_FLUSH_H
#define KHV_FLUSH_H

#include <linux/types.h>

/* Beyond so many ranges, or 4 KB pages in them, the whole TLB is cheaper to flush. */
#define KHV_FLUSH_RANGES 16
#define KHV_FLUSH_PAGES	 512

/**
 * struct khv_gva_range - guest-virtual pages
 * @start: address of the first, a multiple of 4096
 * @pages: how many of 4096 bytes, at least 1
 */
struct khv_gva_range {
	u64 start;
	u64 pages;
};

/**
 * struct khv_flush - what one VP has to flush
 * @all: everything; @range is then of no use
 * @nr: ranges
 * @pages: sum over them, at most KHV_FLUSH_PAGES
 * @range: the ranges
 */
struct khv_flush {
	bool all;
	u8 nr;
	u16 pages;
	struct khv_gva_range range[KHV_FLUSH_RANGES];
};

/**
 * khv_flush_decode() - the range of one entry of a list
 * @entry: HV_GVA_RANGE
 * @extended: HV_FLUSH_USE_EXTENDED_RANGE_FORMAT: pages of 2 MB and 1 GB, too
 *
 * Return: the range; its addresses need not be canonical. Context: any.
 */
struct khv_gva_range khv_flush_decode(u64 entry, bool extended);

/**
 * khv_flush_list() - what a list of entries names, in one struct
 * @flush: result
 * @entries: HV_GVA_RANGE
 * @nr: how many
 * @extended: see khv_flush_decode()
 */
void khv_flush_list(struct khv_flush *flush, const u64 *entries, unsigned int nr, bool extended);

/**
 * khv_flush_merge() - add a flush to those that wait
 * @to: what waits; becomes "all" when there is no more room
 * @add: the flush
 *
 * Context: the lock of @to.
 */
void khv_flush_merge(struct khv_flush *to, const struct khv_flush *add);

#endif
