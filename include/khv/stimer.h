/* SPDX-License-Identifier: GPL-2.0-only */
/* Synthetic timers. */
#ifndef KHV_STIMER_H
#define KHV_STIMER_H

#include "khv/state.h"

/**
 * khv_stimer_waits() - does a timer's message wait for the message slot of a SINT?
 * @vp: VP whose timers are examined
 * @sint: 0 to 15
 *
 * Return: true if one does. Context: the VP's thread.
 */
bool khv_stimer_waits(const struct khv_vcpu *vp, u32 sint);

/**
 * khv_stimer_init() - initialise the timers of a new VP
 * @vp: not yet visible to other threads
 */
void khv_stimer_init(struct khv_vcpu *vp);

/**
 * khv_stimer_uninit() - stop the timers for good
 * @vp: will not run again
 *
 * Context: may sleep.
 */
void khv_stimer_uninit(struct khv_vcpu *vp);

/**
 * khv_stimer_process() - signal timers that have expired, arm the others (KHV_REQ_PROCESS)
 * @vcpu: a vCPU of an owned VM
 *
 * Context: the vCPU's thread before it enters the guest, may sleep.
 */
void khv_stimer_process(struct kvm_vcpu *vcpu);

/**
 * khv_stimer_woken() - the same for a VP that KVM has just woken from a HLT
 * @vcpu: a vCPU of an owned VM, with a struct khv_vcpu
 *
 * Does not end the HLT itself; a signalled interrupt does. Context: the vCPU's thread, may sleep.
 */
void khv_stimer_woken(struct kvm_vcpu *vcpu);

/**
 * khv_stimer_halt() - the same for a VP that is about to halt
 * @vcpu: a vCPU of an owned VM, with a struct khv_vcpu
 *
 * Ends the HLT where a timer cannot be served before an entry into the guest.
 * Context: thread of this vCPU, may sleep.
 */
void khv_stimer_halt(struct kvm_vcpu *vcpu);

/**
 * khv_stimer_retry() - retry expiries after something they may have waited for changed
 * @vp: any VP of an owned VM
 *
 * Context: any, no lock. A caller outside the VP's thread must kick the vCPU.
 */
void khv_stimer_retry(struct khv_vcpu *vp);

/**
 * khv_stimer_apic_changed() - retry expiries that waited for the local APIC to be enabled
 * @vp: VP whose local APIC may have been enabled; a no-op unless an expiry waits for it
 *
 * Context: the VP's thread.
 */
void khv_stimer_apic_changed(struct khv_vcpu *vp);

/**
 * khv_stimer_clock_changed() - recompute all deadlines after the reference time took a step
 * @kvm: an owned VM
 *
 * Includes the deadlines of halted VPs. Context: may sleep.
 */
void khv_stimer_clock_changed(struct kvm *kvm);

#endif
