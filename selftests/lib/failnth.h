/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocations of the kernel that fail, one at a time: the fail-nth file of a thread, which a kernel
 * with fault injection has. Only this thread's allocations count.
 */
#ifndef KHV_SELFTEST_FAILNTH_H
#define KHV_SELFTEST_FAILNTH_H

#include "uapi.h"

/*
 * One of the two at a time: how often the slab allocator needs pages depends on its past, and an
 * allocation that is not always there shifts the number of all others.
 */
enum failnth_kind { FAILNTH_SLAB, FAILNTH_PAGES, NR_FAILNTH };
/* Whose function has to be on the stack. MODULES: of any module, as long as it is being loaded. */
enum failnth_stack { FAILNTH_ANY, FAILNTH_MODULE, FAILNTH_MODULES };

extern const char *const failnth_names[NR_FAILNTH];

/* Skip the case where the kernel cannot. */
void failnth_require(void);
void failnth_of(enum failnth_kind kind, enum failnth_stack stack);
/* Let the @n-th allocation from here on fail, the first one for 1. */
void failnth_arm(u32 n);
/* No more. True if it has failed. */
bool failnth_disarm(void);
/* @on: let all allocations of this thread below a function of the module fail, of both kinds. */
void failnth_all(bool on);

#endif
