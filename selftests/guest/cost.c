// SPDX-License-Identifier: GPL-2.0-only
/* Counting host instructions: see cost.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apic.h"
#include "cost.h"
#include "ktap.h"

u32 cost_deltas[COST_SAMPLES];
u64 cost_loop;

void (*cost_row)(void);

GUEST_CODE_GLOBAL(cost_measurer)
{
	guest_set_os_id();
	apic_enable();
	for (;;) {
		cost_row();
		GUEST_SYNC(1);
	}
}

void cost_measure_nothing(void)
{
	u32 i;

	/* The least of a few: a timer tick may come between. */
	cost_loop = ~0ULL;
	for (i = 0; i < 10; i++) {
		u64 n = COST_LOOPS, t = rdtsc();

		asm volatile("1: dec %0\n jnz 1b" : "+r"(n));
		t = rdtsc() - t;
		if (t < cost_loop)
			cost_loop = t;
	}
	COST_MEASURE(COST_SAMPLES, asm volatile(""));
}

static int compare_u32(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

u32 cost_median(u32 n)
{
	qsort(cost_deltas, n, sizeof(cost_deltas[0]), compare_u32);
	return cost_deltas[n / 2];
}

u32 cost_check(void)
{
	u32 nothing = cost_median(COST_SAMPLES);

	/* Two instructions a turn. */
	if (cost_loop < 2 * COST_LOOPS || cost_loop > 3 * COST_LOOPS || nothing > 100)
		ktap_skip("the TSC does not count instructions here (%u empty turns: %llu)",
			  COST_LOOPS, (unsigned long long)cost_loop);
	return nothing;
}

bool cost_kernel_by_gcc14(void)
{
	FILE *f = fopen("/proc/version", "re");
	char line[512] = "";

	ASSERT(f && fgets(line, sizeof(line), f), "/proc/version: %s", strerror(errno));
	fclose(f);
	return strstr(line, "gcc-14");
}
