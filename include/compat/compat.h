/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included ahead of every source file (-include): the supported range of kernels. Only this file
 * compares kernel versions. All other differences between kernels are KHV_HAVE_* flags of
 * Kbuild.include, or wrappers in this folder.
 */
#ifndef KHV_COMPAT_H
#define KHV_COMPAT_H

#include <linux/version.h>
#include <linux/kconfig.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#error "kvm-hyperv supports Linux 6.1 to 7.3; see Documentation/porting.rst for other kernels"
#endif

#if !IS_ENABLED(CONFIG_KVM_HYPERV) && LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#error "kvm-hyperv takes over code that needs CONFIG_KVM_HYPERV=y in this kernel"
#endif

#if IS_BUILTIN(CONFIG_KVM)
#error "kvm-hyperv needs KVM as a module, whose functions it replaces: CONFIG_KVM=m"
#endif

/* With LTO a replaced function may be inlined into its callers, even across files. */
#if IS_ENABLED(CONFIG_LTO_CLANG)
#error "kvm-hyperv replaces functions of KVM by their entry, which CONFIG_LTO_CLANG may inline"
#endif

#if !IS_ENABLED(CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) || !IS_ENABLED(CONFIG_KPROBES)
#error "kvm-hyperv needs CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y and CONFIG_KPROBES=y"
#endif

/* Variables of KVM are looked up by name. */
#if !IS_ENABLED(CONFIG_KALLSYMS_ALL)
#error "kvm-hyperv needs CONFIG_KALLSYMS_ALL=y"
#endif

#endif
