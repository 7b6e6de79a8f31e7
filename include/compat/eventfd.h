/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * eventfd_signal() on all kernels: until 6.7 it took a count.
 */
#ifndef KHV_COMPAT_EVENTFD_H
#define KHV_COMPAT_EVENTFD_H

#include <linux/eventfd.h>

#ifdef KHV_HAVE_EVENTFD_COUNT
#define khv_eventfd_signal(ctx) eventfd_signal(ctx, 1)
#else
#define khv_eventfd_signal(ctx) eventfd_signal(ctx)
#endif

#endif
