/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When a synthetic timer expires. Pure. Times are reference time (100 ns), which
 * wraps; their differences are signed, so that a time up to 2^63 - 1 ahead is in
 * the future and everything else has passed. TLFS chapter "Timers", "Synthetic Timers".
 */
#ifndef KHV_STIMER_MATH_H
#define KHV_STIMER_MATH_H

#include <linux/types.h>

/* The shortest time between two expiries of a periodic timer: 100 us. */
#define KHV_STIMER_MIN_PERIOD 1000

/* A non-lazy timer that is further behind than 10 s skips what it missed. */
#define KHV_STIMER_MAX_BACKLOG (10 * 10000000LL)

/**
 * khv_ticks_until() - signed distance to a time
 * @when: reference time
 * @now: reference time
 *
 * Return: ticks of 100 ns; 0 or less when @when has come.
 */
static inline s64 khv_ticks_until(u64 when, u64 now)
{
	return (s64)(when - now);
}

/**
 * khv_stimer_first() - first expiry of a timer that is started
 * @count: the COUNT register: absolute for one-shot, a period for periodic; not 0
 * @periodic: Periodic of the CONFIG register
 * @now: reference time
 *
 * Return: reference time.
 */
u64 khv_stimer_first(u64 count, bool periodic, u64 now);

/**
 * khv_stimer_set_back() - is a periodic timer further off than it ever is by itself?
 * @expiry: its next expiry
 * @period: the COUNT register, not 0
 * @now: reference time
 *
 * Return: true if the reference time was set back since.
 */
bool khv_stimer_set_back(u64 expiry, u64 period, u64 now);

/**
 * khv_stimer_next() - expiry of a periodic timer after one that was signalled
 * @last: the expiry that was signalled
 * @period: the COUNT register, not 0
 * @lazy: Lazy of the CONFIG register: missed expiries are skipped
 * @now: reference time, not before @last
 *
 * A non-lazy timer gets every expiry, so the result may have passed already. Periods
 * below KHV_STIMER_MIN_PERIOD, and a backlog above KHV_STIMER_MAX_BACKLOG, are skipped
 * like lazy ones: nobody can catch up with them.
 *
 * Return: reference time, a whole number of periods after @last.
 */
u64 khv_stimer_next(u64 last, u64 period, bool lazy, u64 now);

/**
 * khv_stimer_alarm() - how long to wait before the next look at a timer
 * @expiry: its next expiry
 * @period: the COUNT register of a periodic timer, 0 for one-shot
 * @now: reference time
 *
 * A periodic timer that is behind gets shortened periods, an eighth of the real one,
 * until it has caught up, but never less than KHV_STIMER_MIN_PERIOD.
 *
 * Return: ticks of 100 ns from @now, at least 0.
 */
u64 khv_stimer_alarm(u64 expiry, u64 period, u64 now);

#endif
