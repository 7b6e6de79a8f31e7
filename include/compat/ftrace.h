/* SPDX-License-Identifier: GPL-2.0-only */
/* Direct calls from ftrace sites, by one name on all kernels. */
#ifndef KHV_COMPAT_FTRACE_H
#define KHV_COMPAT_FTRACE_H

#include <linux/ftrace.h>
#include <asm/ibt.h>

/* Older kernels, such as 6.1, have other names for the functions that take an ftrace_ops. */
#ifdef KHV_HAVE_FTRACE_DIRECT_MULTI
#define khv_register_ftrace_direct(ops, addr)	register_ftrace_direct_multi(ops, addr)
#define khv_unregister_ftrace_direct(ops, addr) unregister_ftrace_direct_multi(ops, addr)
#else
#define khv_register_ftrace_direct(ops, addr)	register_ftrace_direct(ops, addr)
#define khv_unregister_ftrace_direct(ops, addr) unregister_ftrace_direct(ops, addr, false)
#endif

/* Does text begin with ENDBR, or with what the kernel has put in its place? */
static inline bool khv_is_endbr(unsigned long addr)
{
#if !IS_ENABLED(CONFIG_X86_KERNEL_IBT)
	return false;
#elif defined(KHV_HAVE_ENDBR_POINTER)
	/* is_endbr() takes a pointer, and is not exported. */
	return __is_endbr(*(u32 *)addr);
#else
	return is_endbr(*(u32 *)addr);
#endif
}

#endif
