/* SPDX-License-Identifier: GPL-2.0-only */
/* Several VPs of one VM at once: invariants, see several.c. */
#ifndef KHV_SELFTEST_FUZZ_SEVERAL_H
#define KHV_SELFTEST_FUZZ_SEVERAL_H

#include "fuzz.h"

#define SEVERAL_MAX 8

/* Run @vps VPs for @rounds operations each; a case fails where an invariant does. */
void several_run(u64 seed, u32 vps, u32 rounds);

#endif
