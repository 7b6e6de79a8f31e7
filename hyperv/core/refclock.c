// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic of the reference time. Pure.
 */
#include <linux/kernel.h>
#include <linux/math64.h>

#include "khv/refclock.h"

#define NS_PER_TICK	 100
#define NS_PER_SECOND	 1000000000ULL
#define TICKS_PER_SECOND (NS_PER_SECOND / NS_PER_TICK)

bool khv_ref_params_compute(struct khv_ref_params *p, const struct khv_pvclock *clock)
{
	u64 scale;

	/*
	 * One TSC tick is mul * 2^(shift - 32) ns, so the scale, a fraction of 2^64, is mul * 2^(32
	 * + shift) / 100. It fits into 64 bits if a tick is shorter than 100 ns.
	 */
	if (clock->shift > 31 || clock->shift < -31)
		return false;
	if (clock->shift >= 0 && clock->mul >= (u64)NS_PER_TICK << (32 - clock->shift))
		return false;

	scale = mul_u64_u32_div(1ULL << (32 + clock->shift), clock->mul, NS_PER_TICK);
	p->scale = scale;
	p->offset = div_s64(clock->ns, NS_PER_TICK) - mul_u64_u64_shr(clock->tsc, scale, 64);
	return true;
}

u64 khv_ref_at(const struct khv_ref_params *p, u64 tsc)
{
	return mul_u64_u64_shr(tsc, p->scale, 64) + p->offset;
}

u64 khv_ref_frequency(u64 scale)
{
	/* The quotient must fit into 64 bits: the CPU faults otherwise. */
	if (!(scale >> 32))
		return 0;
	return mul_u64_u64_div_u64(~0ULL, TICKS_PER_SECOND, scale);
}

u64 khv_ref_scale(u64 hz)
{
	if (hz <= TICKS_PER_SECOND)
		return 0;
	return mul_u64_u64_div_u64(~0ULL, TICKS_PER_SECOND, hz);
}

struct khv_cycles khv_cycles_compute(u32 khz)
{
	u64 hz = (u64)khz * 1000, base = NS_PER_SECOND;
	struct khv_cycles cycles = {};

	if (!hz)
		return cycles;
	/* Have hz / base in [1/2, 1), so that mul has all of its 32 bits. */
	for (; hz >= base; base <<= 1)
		cycles.shift++;
	for (; hz < base / 2; hz <<= 1)
		cycles.shift--;
	cycles.mul = mul_u64_u64_div_u64(hz, 1ULL << 32, base);
	return cycles;
}

u32 khv_ref_next_sequence(u32 sequence)
{
	sequence++;
	return sequence == 0 || sequence == ~0U ? 1 : sequence;
}
