/* SPDX-License-Identifier: GPL-2.0-only */
/* What nested.c and nested_host.c share. */
#ifndef KHV_SELFTEST_NESTED_PRIVATE_H
#define KHV_SELFTEST_NESTED_PRIVATE_H

#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VM_HSAVE_PA	    0xc0010117

/* L1 as nested_create() starts it. */
void nested_l1(void);

#endif
