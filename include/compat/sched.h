/* SPDX-License-Identifier: GPL-2.0-only */
/* task_is_runnable() on all kernels. Since 6.12 a sleeping task may stay on the run queue. */
#ifndef KHV_COMPAT_SCHED_H
#define KHV_COMPAT_SCHED_H

#include <linux/sched.h>

#ifdef KHV_HAVE_TASK_IS_RUNNABLE
#define khv_task_is_runnable(task) task_is_runnable(task)
#else
#define khv_task_is_runnable(task) ((task)->on_rq)
#endif

#endif
