/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_CACHE_H
#define KHV_USER_CACHE_H

#define __read_mostly
#define __ro_after_init
#define ____cacheline_aligned

#endif
