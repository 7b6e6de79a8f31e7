/* SPDX-License-Identifier: GPL-2.0-only */
/* Page tables of a guest, walked without writing to them. Pure. */
#ifndef KHV_WALK_H
#define KHV_WALK_H

#include <linux/types.h>

#define KHV_NOWHERE (~0ULL)

/**
 * struct khv_tables - page tables in the 64-bit format, or EPT's
 * @below: tables that translate the addresses in these, or NULL
 * @root: physical address of the highest table; other bits are ignored
 * @need: bits that every entry on the way must have
 * @levels: 4 or 5; with fewer nothing is known
 * @ept: EPT's
 */
struct khv_tables {
	const struct khv_tables *below;
	u64 root;
	u64 need;
	int levels;
	bool ept;
};

/**
 * typedef khv_read_entry - read one entry
 * @context: of the caller of khv_walk()
 * @address: where the entry is, a multiple of 8
 * @entry: result
 *
 * Return: false if it is not at hand.
 */
typedef bool khv_read_entry(void *context, u64 address, u64 *entry);

/**
 * khv_walk() - look an address up
 * @t: the tables
 * @address: canonical
 * @read: reads an entry; called at most 35 times, for addresses that are multiples of 8
 * @context: for @read
 *
 * Return: what the address is translated to, or KHV_NOWHERE where that is not plain: an entry
 * cannot be read, lacks a bit of @need, or has a reserved one.
 */
u64 khv_walk(const struct khv_tables *t, u64 address, khv_read_entry *read, void *context);

#endif
