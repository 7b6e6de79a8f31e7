/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arithmetic of the reference time: 100 ns units since the partition was created,
 * derived from the TSC. Pure. TLFS chapter "Timers", "Partition Reference Time".
 */
#ifndef KHV_REFCLOCK_H
#define KHV_REFCLOCK_H

#include <linux/types.h>

/**
 * struct khv_ref_params - how a TSC value becomes reference time
 * @scale: reference ticks per TSC tick, as a fraction of 2^64
 * @offset: reference ticks to add, modulo 2^64
 *
 * The two values of the reference TSC page.
 */
struct khv_ref_params {
	u64 scale;
	u64 offset;
};

/**
 * struct khv_pvclock - the same relation as KVM's clock tells it
 * @tsc: guest TSC at @ns
 * @ns: nanoseconds of KVM's clock at @tsc
 * @mul: nanoseconds per shifted TSC tick, as a fraction of 2^32
 * @shift: TSC ticks are shifted left by this, -31 to 31
 */
struct khv_pvclock {
	u64 tsc;
	s64 ns;
	u32 mul;
	s8 shift;
};

/**
 * khv_ref_params_compute() - reference time parameters of a clock
 * @p: result, unchanged on failure
 * @clock: KVM's clock
 *
 * Return: false when the TSC is slower than the reference time, so that the scale
 * does not fit. Context: any.
 */
bool khv_ref_params_compute(struct khv_ref_params *p, const struct khv_pvclock *clock);

/**
 * khv_ref_at() - reference time at a TSC value
 * @p: parameters
 * @tsc: guest TSC
 *
 * Return: reference time, 100 ns. Context: any.
 */
u64 khv_ref_at(const struct khv_ref_params *p, u64 tsc);

/**
 * khv_ref_next_sequence() - the sequence of a page that is written again
 * @sequence: the one before
 *
 * Return: another one that is neither 0 nor 0xFFFFFFFF, which mean "invalid" in
 * this and in older versions of the TLFS.
 */
u32 khv_ref_next_sequence(u32 sequence);

#endif
