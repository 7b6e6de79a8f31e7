/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host instructions per exit, counted with RDTSC by the guest that exits. Means
 * something only where the TSC counts instructions: an emulator with exact counting
 * and one CPU. cost_check() tells.
 */
#ifndef KHV_SELFTEST_COST_H
#define KHV_SELFTEST_COST_H

#include "guest.h"

#define COST_SAMPLES 1000
#define COST_LOOPS   10000

extern u32 cost_deltas[COST_SAMPLES];
extern u64 cost_loop;

/* Guest: what each of @n runs of a statement takes. */
#define COST_MEASURE(n, stmt)                                    \
	do {                                                     \
		u32 __i;                                         \
		for (__i = 0; __i < (n); __i++) {                \
			u64 __t = rdtsc();                       \
			stmt;                                    \
			cost_deltas[__i] = (u32)(rdtsc() - __t); \
		}                                                \
	} while (0)

/* What cost_measurer() measures. */
extern void (*cost_row)(void);
/* Guest: run cost_row, again at each run of the vCPU, with an enabled local APIC. */
void cost_measurer(void);
/* Guest: measure an empty loop and nothing at all, for cost_check(). */
void cost_measure_nothing(void);

/* Host: the median of @n samples. */
u32 cost_median(u32 n);
/* Host: was its kernel built by gcc 14? */
bool cost_kernel_by_gcc14(void);
/* Host, after cost_measure_nothing(): what measuring costs, or skip the test. */
u32 cost_check(void);

#endif
