/* SPDX-License-Identifier: GPL-2.0-only */
/* HV_X64_MSR_GUEST_IDLE: a VP that sleeps until an interrupt arrives, whether enabled or not. */
#ifndef KHV_IDLE_H
#define KHV_IDLE_H

#include "khv/state.h"

/**
 * khv_is_idle() - does the VP sleep in HV_X64_MSR_GUEST_IDLE?
 * @vcpu: a vCPU of an owned VM
 *
 * Return: true if so. Context: the VP's thread, or its preempt notifiers.
 */
bool khv_is_idle(struct kvm_vcpu *vcpu);

/**
 * khv_idle_try_wake() - end the idle state if an interrupt waits, whether the VP accepts it or not
 * @vcpu: a vCPU of an owned VM
 *
 * KVM wakes a halted vCPU for an interrupt only if the vCPU accepts it.
 *
 * Return: true if the VP is now runnable. Context: any thread; false in one that is not the VP's.
 */
bool khv_idle_try_wake(struct kvm_vcpu *vcpu);

/**
 * khv_idle_run_begin() - forget an idle state that did not begin in this KVM_RUN
 * @vp: VP whose thread enters KVM_RUN
 *
 * L1 may have KVM store the register at a VM-Exit, which ioctls can cause. Context: the VP's
 * thread, vcpu->mutex held.
 */
static inline void khv_idle_run_begin(struct khv_vcpu *vp)
{
	vp->idle = false;
}

/**
 * khv_idle_run_end() - end the idle state of a VP that returns to user space
 * @vp: VP whose thread leaves KVM_RUN
 *
 * User space sees a runnable VP: a HLT that waits for a disabled interrupt would never end on
 * another host. The guest's read returns without an interrupt, of which the TLFS says nothing;
 * Linux looks at its lock again.
 *
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_idle_run_end(struct khv_vcpu *vp);

#endif
