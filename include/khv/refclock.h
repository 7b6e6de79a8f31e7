/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arithmetic of the partition reference time, which counts units of 100 ns since the partition was
 * created and is derived from the TSC. Pure. TLFS chapter "Timers", "Partition Reference Time".
 */
#ifndef KHV_REFCLOCK_H
#define KHV_REFCLOCK_H

#include <linux/types.h>

/**
 * struct khv_ref_params - conversion of a TSC value to reference time
 * @scale: reference ticks per TSC tick, as a fraction of 2^64
 * @offset: reference ticks to add, modulo 2^64
 *
 * These are TscScale and TscOffset of the reference TSC page.
 */
struct khv_ref_params {
	u64 scale;
	u64 offset;
};

/**
 * struct khv_pvclock - conversion of a TSC value to KVM's clock
 * @tsc: guest TSC value at @ns
 * @ns: KVM's clock at @tsc, in ns
 * @mul: ns per shifted TSC tick, as a fraction of 2^32
 * @shift: left shift of TSC ticks before multiplying, -31 to 31
 */
struct khv_pvclock {
	u64 tsc;
	s64 ns;
	u32 mul;
	s8 shift;
};

/**
 * khv_ref_params_compute() - derive reference time parameters from KVM's clock
 * @p: result, unchanged on failure
 * @clock: KVM's clock
 *
 * Return: false if the TSC is slower than the reference time, so that the scale does not fit into
 * 64 bits. Context: any.
 */
bool khv_ref_params_compute(struct khv_ref_params *p, const struct khv_pvclock *clock);

/**
 * khv_ref_at() - convert a TSC value to reference time
 * @p: parameters
 * @tsc: guest TSC
 *
 * Return: reference time, in units of 100 ns. Context: any.
 */
u64 khv_ref_at(const struct khv_ref_params *p, u64 tsc);

/**
 * khv_ref_frequency() - tell the TSC's frequency by the scale of a reference TSC page
 * @scale: any number: the page is guest memory
 *
 * Return: in Hz, to 1 Hz; 0 if it is 2^32 times the reference time's or more. Context: any.
 */
u64 khv_ref_frequency(u64 scale);

/**
 * khv_ref_scale() - compute the scale of a reference TSC page
 * @hz: frequency of the TSC, in Hz
 *
 * Return: &khv_ref_params.scale, rounded down; 0 if the TSC is not faster than the reference time,
 * so that there is none. Context: any.
 */
u64 khv_ref_scale(u64 hz);

/**
 * struct khv_cycles - conversion of time to TSC ticks
 * @mul: ticks per shifted ns, as a fraction of 2^32; at least 2^31
 * @shift: left shift of ns before multiplying, -31 to 31
 *
 * As KVM has it in virtual_tsc_mult and virtual_tsc_shift of struct kvm_vcpu_arch.
 */
struct khv_cycles {
	u32 mul;
	s8 shift;
};

/**
 * khv_cycles_compute() - derive a conversion of time to TSC ticks
 * @khz: frequency of the TSC, in kHz; not 0
 *
 * Return: the conversion. Context: any.
 */
struct khv_cycles khv_cycles_compute(u32 khz);

/**
 * khv_ref_wrapped() - has a TSC wrapped around?
 * @origin: guest TSC when the conversion to reference time was found
 * @tsc: guest TSC, at most 2^63 ticks away from @origin
 *
 * A guest may set its TSC to less than zero. The conversion multiplies an unsigned number, so it
 * lacks &khv_ref_params.scale units of the time from then on.
 *
 * Return: true if @tsc is later than @origin and the smaller number. Context: any.
 */
static inline bool khv_ref_wrapped(u64 origin, u64 tsc)
{
	return tsc < origin && (s64)(tsc - origin) > 0;
}

/**
 * khv_ref_next_sequence() - choose the next TscSequence of the reference TSC page
 * @sequence: the current one
 *
 * Return: a different one that is neither 0 nor 0xFFFFFFFF, which mean "invalid" in this and in
 * older versions of the TLFS. Context: any.
 */
u32 khv_ref_next_sequence(u32 sequence);

#endif
