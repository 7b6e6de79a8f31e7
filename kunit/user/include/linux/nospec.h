/* SPDX-License-Identifier: GPL-2.0-only */
/* The architectural half of the kernel's: an index out of bounds becomes 0. */
#ifndef KHV_USER_NOSPEC_H
#define KHV_USER_NOSPEC_H

/* clang-format off */
#define array_index_nospec(index, size) \
	({ typeof(index) _i = (index); _i < (size) ? _i : 0; })
/* clang-format on */

#endif
