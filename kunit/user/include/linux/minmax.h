/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_MINMAX_H
#define KHV_USER_MINMAX_H

/* clang-format off */
#define min(a, b)		({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define max(a, b)		({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define clamp(v, lo, hi)	min(max(v, lo), hi)
/* clang-format on */

#endif
