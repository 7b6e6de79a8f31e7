/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers that look random, and come again with the same seed: for the host and for guests. */
#ifndef KHV_SELFTEST_RANDOM_H
#define KHV_SELFTEST_RANDOM_H

#include "uapi.h"

/* splitmix64: each seed gives a sequence of its own, 0 too. */
static inline u32 random_below(u64 *seed, u32 n)
{
	u64 z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (u32)((z ^ (z >> 31)) >> 32) % n;
}

#endif
