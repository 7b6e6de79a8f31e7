/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_BITS_H
#define KHV_USER_BITS_H

#define BIT(n)		   (1UL << (n))
#define BIT_ULL(n)	   (1ULL << (n))
#define GENMASK(h, l)	   ((~0UL >> (63 - (h))) & (~0UL << (l)))
#define GENMASK_ULL(h, l)  ((~0ULL >> (63 - (h))) & (~0ULL << (l)))
#define BITS_PER_LONG	   64
#define BITS_PER_LONG_LONG 64

#endif
