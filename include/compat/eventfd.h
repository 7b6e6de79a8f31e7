/* SPDX-License-Identifier: GPL-2.0-only */
/* eventfd_signal() on all kernels. It takes a count before Linux 6.8. */
#ifndef KHV_COMPAT_EVENTFD_H
#define KHV_COMPAT_EVENTFD_H

#include <linux/eventfd.h>

#ifdef KHV_HAVE_EVENTFD_COUNT
#define khv_eventfd_signal(ctx) eventfd_signal(ctx, 1)
#else
#define khv_eventfd_signal(ctx) eventfd_signal(ctx)
#endif

#endif
