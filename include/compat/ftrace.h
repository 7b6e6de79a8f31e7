/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Direct calls from ftrace sites, under one name on all kernels.
 */
#ifndef KHV_COMPAT_FTRACE_H
#define KHV_COMPAT_FTRACE_H

#include <linux/ftrace.h>

/* Until 6.6 the calls that take an ftrace_ops had another name. */
#ifdef KHV_HAVE_FTRACE_DIRECT_MULTI
#define khv_register_ftrace_direct(ops, addr)	register_ftrace_direct_multi(ops, addr)
#define khv_unregister_ftrace_direct(ops, addr) unregister_ftrace_direct_multi(ops, addr)
#else
#define khv_register_ftrace_direct(ops, addr)	register_ftrace_direct(ops, addr)
#define khv_unregister_ftrace_direct(ops, addr) unregister_ftrace_direct(ops, addr, false)
#endif

#endif
