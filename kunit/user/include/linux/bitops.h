/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_BITOPS_H
#define KHV_USER_BITOPS_H

#include <linux/bits.h>
#include <linux/types.h>

#define hweight64(x) ((unsigned int)__builtin_popcountll(x))
#define hweight32(x) ((unsigned int)__builtin_popcount(x))

static inline unsigned long __ffs64(u64 word)
{
	return __builtin_ctzll(word);
}

static inline int fls64(u64 word)
{
	return word ? 64 - __builtin_clzll(word) : 0;
}

static inline unsigned long __fls(unsigned long word)
{
	return 63 - __builtin_clzl(word);
}

#endif
