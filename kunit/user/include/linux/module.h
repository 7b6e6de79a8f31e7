/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_MODULE_H
#define KHV_USER_MODULE_H

#define MODULE_LICENSE(x)     _Static_assert(1, "")
#define MODULE_DESCRIPTION(x) _Static_assert(1, "")
#define MODULE_AUTHOR(x)      _Static_assert(1, "")

#endif
