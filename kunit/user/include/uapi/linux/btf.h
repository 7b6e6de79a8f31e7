/* SPDX-License-Identifier: GPL-2.0-only */
/* The C library's packages have the kernel's header under the name that user space knows. */
#ifndef KHV_USER_UAPI_BTF_H
#define KHV_USER_UAPI_BTF_H

#include <linux/btf.h>

#endif
