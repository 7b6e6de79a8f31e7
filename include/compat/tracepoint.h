/* SPDX-License-Identifier: GPL-2.0-only */
/* The key of a tracepoint on all kernels: a struct static_key, or one in a structure since 6.13. */
#ifndef KHV_COMPAT_TRACEPOINT_H
#define KHV_COMPAT_TRACEPOINT_H

#include <linux/jump_label.h>
#include <linux/tracepoint-defs.h>

static __always_inline int khv_tracepoint_enabled(const struct tracepoint *event)
{
	static_assert(sizeof(event->key) == sizeof(struct static_key));
	return atomic_read(&((const struct static_key *)&event->key)->enabled);
}

#endif
