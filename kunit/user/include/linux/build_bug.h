/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_BUILD_BUG_H
#define KHV_USER_BUILD_BUG_H

/* The kernel's takes the message as an option; so does this one. */
#undef static_assert
#define static_assert(expr, ...) khv_static_assert(expr, ##__VA_ARGS__, #expr)
#define khv_static_assert(expr, msg, ...) _Static_assert(expr, msg)
#define BUILD_BUG_ON(cond)		  _Static_assert(!(cond), #cond)
#define BUILD_BUG_ON_MSG(cond, msg)	  _Static_assert(!(cond), msg)

#endif
