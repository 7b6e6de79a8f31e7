/* SPDX-License-Identifier: GPL-2.0-only */
/* Several VPs of one VM at once: invariants, see several.c. */
#ifndef KHV_SELFTEST_FUZZ_SEVERAL_H
#define KHV_SELFTEST_FUZZ_SEVERAL_H

#include "fuzz.h"

#define SEVERAL_MAX 8

/* What ends a HLT. */
enum several_waker { SEVERAL_BY_TIMER, SEVERAL_BY_MESSAGE, SEVERAL_BY_IPI, SEVERAL_WAKERS };

/* HLTs of one VP. */
struct several_halts {
	u64 halts, ended[SEVERAL_WAKERS]; /* that the guest executed, and what it waited for */
	u64 exits, polled, woken;	  /* as KVM has counted them: it slept, or need not have */
};

/*
 * Run @vps VPs for @rounds operations each; a case fails where an invariant does. What each VP
 * slept is added to @halts.
 */
void several_run(u64 seed, u32 vps, u32 rounds, struct several_halts *halts);

#endif
