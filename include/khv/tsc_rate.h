/* SPDX-License-Identifier: GPL-2.0-only */
/* The rate of the TSC of a restored VM, and a TSC that its guest restores. */
#ifndef KHV_TSC_RATE_H
#define KHV_TSC_RATE_H

#include <linux/kvm_host.h>

#include "khv/state.h"

/**
 * khv_tsc_rate_restored() - note that user space has restored a VM, whose guest wants to know
 * @vm: the VM
 * @wants: HV_X64_MSR_REENLIGHTENMENT_CONTROL.Enabled; false takes it back
 *
 * The rate of its TSC is looked at before the first VP enters the guest: user space restores the
 * rest of the state, too.
 *
 * Context: may sleep.
 */
void khv_tsc_rate_restored(struct khv_vm *vm, bool wants);

/**
 * khv_tsc_rate_follow() - have a VP's TSC follow the rate of its VM, and what the guest has set
 * @vp: a VP
 * @halts: the VP halts, and does not enter the guest; kvm->srcu need not be held
 *
 * The first VP after a restore looks whether the rate of before must be kept. Waits for a VP that
 * changes the rate, or sets the TSC. TLFS chapter "Nested Virtualization", "Reenlightenment".
 *
 * Context: the VP's thread inside KVM_RUN, may sleep.
 */
void khv_tsc_rate_follow(struct khv_vcpu *vp, bool halts);

/**
 * khv_tsc_rate_pending() - has the VP to look at the rate of its VM's TSC, or at what is set?
 * @vp: a VP
 *
 * Return: true if it has. Context: any; without hv_lock the result may be out of date.
 */
static inline bool khv_tsc_rate_pending(const struct khv_vcpu *vp)
{
	return READ_ONCE(vp->tsc_generation) != READ_ONCE(vp->vm->tsc_rate.generation);
}

/**
 * khv_tsc_rate_applies() - is the VP's TSC one of those whose rate the module changes?
 * @vp: a VP
 *
 * Return: false if it never changed one, or user space has set another rate since. Context: as
 * khv_guest_tsc().
 */
static inline bool khv_tsc_rate_applies(const struct khv_vcpu *vp)
{
	const struct khv_tsc_rate *rate = &vp->vm->tsc_rate;

	return rate->ratio && READ_ONCE(vp->stock.vcpu->arch.l1_tsc_scaling_ratio) ==
				      (READ_ONCE(vp->tsc_given) ?: rate->native_ratio);
}

/**
 * khv_tsc_rate_run_begin() - have khv_tsc_rate_follow() called before the VP enters the guest
 * @vp: VP whose thread enters KVM_RUN
 *
 * Not at once: user space may run the VP only to have KVM complete an exit.
 *
 * Context: the VP's thread.
 */
static inline void khv_tsc_rate_run_begin(struct khv_vcpu *vp)
{
	WRITE_ONCE(vp->tsc_runs, true);
	if (unlikely(khv_tsc_rate_pending(vp)))
		kvm_make_request(KHV_REQ_PROCESS, vp->stock.vcpu);
}

/**
 * khv_tsc_rate_run_end() - have a VP that did not get to follow do so as far as user space sees
 * @vp: VP whose KVM_RUN ends
 *
 * Context: the VP's thread, may sleep.
 */
void khv_tsc_rate_run_end(struct khv_vcpu *vp);

/**
 * khv_tsc_restore() - let the TSCs of all VPs, and the reference time, go on from other values
 * @vp: VP whose guest asks for it
 * @time: the reference time to be, in units of 100 ns
 * @tsc: the TSC of each VP at that time, in ticks
 * @sequence: see khv_reftime_restore()
 *
 * IA32_TSC_ADJUST changes with the TSC. Timers that either clock ends are armed again. TLFS chapter
 * "Hypercall Reference", "HvCallRestorePartitionTime".
 *
 * Return: HV_STATUS_SUCCESS; HV_STATUS_ACCESS_DENIED if KVM itself changes the TSC of a vCPU;
 * HV_STATUS_INVALID_PARAMETER if KVM's clock has no such time; without success nothing has changed.
 * Context: the VP's thread inside KVM_RUN, kvm->srcu held, may sleep.
 */
u16 khv_tsc_restore(struct khv_vcpu *vp, u64 time, u64 tsc, u32 sequence);

/**
 * khv_tsc_khz() - rate that a VP's TSC has, or has once the guest lets go of the one of before
 * @vp: a VP
 *
 * Return: in kHz. Context: any; without hv_lock the result may be out of date.
 */
static inline u32 khv_tsc_khz(const struct khv_vcpu *vp)
{
	const struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	u32 khz = READ_ONCE(vp->stock.vcpu->arch.virtual_tsc_khz);

	if (unlikely(khz == READ_ONCE(rate->kept_khz)) && khv_tsc_rate_applies(vp) &&
	    (READ_ONCE(rate->kept) || khv_tsc_rate_pending(vp)))
		return READ_ONCE(rate->native_khz);
	return khz;
}

#endif
