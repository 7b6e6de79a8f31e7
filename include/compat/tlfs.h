/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own declarations of the TLFS. Since 6.14 they are the same for all architectures. */
#ifndef KHV_COMPAT_TLFS_H
#define KHV_COMPAT_TLFS_H

#ifdef KHV_HAVE_ASM_TLFS
#include <asm/hyperv-tlfs.h>
#else
#include <hyperv/hvhdk.h>
#endif

#endif
