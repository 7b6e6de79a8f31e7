/* SPDX-License-Identifier: GPL-2.0-only */
/* hrtimer_setup() on all kernels. Before Linux 6.13 the function is set by hand. */
#ifndef KHV_COMPAT_HRTIMER_H
#define KHV_COMPAT_HRTIMER_H

#include <linux/hrtimer.h>

static inline void khv_hrtimer_setup(struct hrtimer *timer,
				     enum hrtimer_restart (*function)(struct hrtimer *),
				     clockid_t clock, enum hrtimer_mode mode)
{
#ifdef KHV_HAVE_HRTIMER_SETUP
	hrtimer_setup(timer, function, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = function;
#endif
}

#endif
