// SPDX-License-Identifier: GPL-2.0-only
/* Expiry times of synthetic timers. Pure. See the header for the rules. */
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "khv/stimer_math.h"

#define CATCH_UP_SHARE 8

/*
 * Limit a period to half of the signed range: the rest is for a clock that user space sets back
 * afterwards. A longer one would lie in the past then.
 */
static u64 clamp_period(u64 period)
{
	return min_t(u64, period, S64_MAX / 2);
}

u64 khv_stimer_first(u64 count, bool periodic, u64 now)
{
	return periodic ? now + clamp_period(count) : count;
}

bool khv_stimer_set_back(u64 expiry, u64 period, u64 now)
{
	return khv_ticks_until(expiry, now) > (s64)clamp_period(period);
}

u64 khv_stimer_next(u64 last, u64 period, bool lazy, u64 now)
{
	u64 next = last + clamp_period(period);
	s64 behind = -khv_ticks_until(next, now);
	u64 into_period;

	if (behind < 0)
		return next;
	if (!lazy && period >= KHV_STIMER_MIN_CATCH_UP && behind <= KHV_STIMER_MAX_BACKLOG)
		return next;

	div64_u64_rem(behind, clamp_period(period), &into_period);
	return now + (clamp_period(period) - into_period);
}

u64 khv_stimer_alarm(u64 expiry, u64 period, u64 now)
{
	s64 wait = max_t(s64, khv_ticks_until(expiry, now), 0);
	u64 least = 0;

	if (period)
		least = max_t(u64, KHV_STIMER_MIN_PERIOD, wait ? 0 : period / CATCH_UP_SHARE);
	return max_t(u64, wait, least);
}
