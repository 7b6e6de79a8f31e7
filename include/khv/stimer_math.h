/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Expiry times of synthetic timers. Pure. Times are reference time (units of 100 ns), which wraps.
 * Differences are signed: a time up to 2^63 - 1 ahead is in the future, every other time has
 * passed. TLFS chapter "Timers", "Synthetic Timers".
 */
#ifndef KHV_STIMER_MATH_H
#define KHV_STIMER_MATH_H

#include <linux/types.h>

/* Shortest time between two expiries of a periodic timer: 100 us. */
#define KHV_STIMER_MIN_PERIOD 1000

/*
 * Shortest period of a timer that can catch up: 200 us. Ticks come KHV_STIMER_MIN_PERIOD apart and
 * a little late, so one with a period about as short would fall ever farther behind.
 */
#define KHV_STIMER_MIN_CATCH_UP (2 * KHV_STIMER_MIN_PERIOD)

/* A non-lazy timer that is more than 10 s behind skips the expiries that it missed. */
#define KHV_STIMER_MAX_BACKLOG (10 * 10000000LL)

/**
 * khv_ticks_until() - signed distance to a point in time
 * @when: reference time
 * @now: reference time
 *
 * Return: ticks of 100 ns; 0 or negative if @when has come.
 */
static inline s64 khv_ticks_until(u64 when, u64 now)
{
	return (s64)(when - now);
}

/**
 * khv_stimer_first() - compute the first expiry of a timer that is started
 * @count: the COUNT register, not 0: an absolute time for one-shot, a period for periodic
 * @periodic: the Periodic bit of the CONFIG register
 * @now: reference time
 *
 * Return: reference time.
 */
u64 khv_stimer_first(u64 count, bool periodic, u64 now);

/**
 * khv_stimer_set_back() - was the reference time set back since a periodic timer was armed?
 * @expiry: the timer's next expiry
 * @period: the COUNT register, not 0
 * @now: reference time
 *
 * Return: true if the expiry is further away than one period.
 */
bool khv_stimer_set_back(u64 expiry, u64 period, u64 now);

/**
 * khv_stimer_next() - compute the next expiry of a periodic timer after one was signalled
 * @last: the expiry that was signalled
 * @period: the COUNT register, not 0
 * @lazy: the Lazy bit of the CONFIG register: skip missed expiries
 * @now: reference time, not before @last
 *
 * A non-lazy timer gets every expiry, so the result may have passed already. It skips expiries like
 * a lazy one if the period is below KHV_STIMER_MIN_CATCH_UP or the backlog above
 * KHV_STIMER_MAX_BACKLOG, because the guest cannot catch up.
 *
 * Return: reference time, a whole number of periods after @last.
 */
u64 khv_stimer_next(u64 last, u64 period, bool lazy, u64 now);

/**
 * khv_stimer_alarm() - compute the time until a timer must be processed again
 * @expiry: the timer's next expiry
 * @period: the COUNT register of a periodic timer, 0 for one-shot
 * @now: reference time
 *
 * A periodic timer that is behind gets periods of an eighth of the real one until it has caught up,
 * but never less than KHV_STIMER_MIN_PERIOD.
 *
 * Return: ticks of 100 ns from @now, at least 0.
 */
u64 khv_stimer_alarm(u64 expiry, u64 period, u64 now);

#endif
