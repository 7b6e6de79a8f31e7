// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic of the reference time. Pure.
 */
#include <linux/kernel.h>
#include <linux/math64.h>

#include "khv/refclock.h"

#define NS_PER_TICK 100

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

u32 khv_ref_next_sequence(u32 sequence)
{
	sequence++;
	return sequence == 0 || sequence == ~0U ? 1 : sequence;
}
