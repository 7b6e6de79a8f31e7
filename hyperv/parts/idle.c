// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_GUEST_IDLE. The read is a HLT that also ends for an interrupt that the VP has
 * disabled, by RFLAGS.IF or its priority: KVM's own HALTED state, with its timers, halt polling and
 * statistics, and two hooks that have KVM wake up. TLFS chapter "Virtual Processors", "Virtual
 * Processor Idle Sleep State".
 */
#include <linux/kvm_host.h>

#include "khv/apic.h"
#include "khv/handlers.h"
#include "khv/idle.h"
#include "khv/port.h"

/* kvm_cpu_has_interrupt() ignores vectors at or below PPR: look at IRR, too. */
static bool interrupt_waits(struct kvm_vcpu *vcpu)
{
	return khv_kvm_cpu_has_interrupt(vcpu) || khv_kvm_lapic_find_highest_irr(vcpu) >= 0;
}

enum khv_msr_result khv_msr_guest_idle_read(struct khv_msr_access *a)
{
	struct kvm_vcpu *vcpu = a->vcpu;

	a->data = 0;
	if (a->host)
		return KHV_MSR_OK;
	/* khv_msr_is_shown() */
	if (!vcpu->arch.apic)
		return KHV_MSR_SLOW;
	/* Only the PIC's interrupts could end it: do not sleep until an NMI. */
	if (!khv_apic_enabled(vcpu, (void *)vcpu->arch.apic))
		return KHV_MSR_OK;
	/* kvm_cpu_has_interrupt() may look for a page of Xen's, and sleep. */
	if (a->atomic)
		return khv_kvm_lapic_find_highest_irr(vcpu) >= 0 ? KHV_MSR_OK : KHV_MSR_SLOW;
	if (interrupt_waits(vcpu))
		return KHV_MSR_OK;
	/* KVM sees what arrives from here on before the thread sleeps: khv_idle_try_wake(). */
	a->vp->idle = true;
	a->vp->idle_since = vcpu->arch.last_guest_tsc;
	vcpu->arch.mp_state = KVM_MP_STATE_HALTED;
	/* KVM's emulator must not go on with the next instruction. */
	kvm_make_request(KVM_REQ_EVENT, vcpu);
	return KHV_MSR_OK;
}

bool khv_is_idle(struct kvm_vcpu *vcpu)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	return vp && vp->idle && vcpu->arch.mp_state == KVM_MP_STATE_HALTED &&
	       vcpu->arch.last_guest_tsc == vp->idle_since;
}

bool khv_idle_try_wake(struct kvm_vcpu *vcpu)
{
	if (!khv_is_idle(vcpu) || khv_kvm_get_running_vcpu() != vcpu || !interrupt_waits(vcpu))
		return false;
	/* vcpu_block() looks again by an inlined copy without the hook. */
	vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
	return true;
}

void khv_idle_run_end(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	if (khv_is_idle(vcpu))
		vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
	vp->idle = false;
}
