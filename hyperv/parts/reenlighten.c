// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_REENLIGHTENMENT_CONTROL and its interrupt: tells a hypervisor in the guest that its VM
 * was restored, perhaps on a host whose TSC has another rate. TLFS chapter "Nested Virtualization",
 * "Reenlightenment".
 */
#include <linux/bitfield.h>
#include <linux/kvm_host.h>

#include "compat/calls.h"
#include "khv/apic.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/reenlighten.h"
#include "khv/tsc_rate.h"
#include "khv/vp.h"

enum khv_msr_result khv_msr_reenlightenment_control_write(struct khv_msr_access *a)
{
	bool enable = a->data & KHV_REENLIGHTENMENT_ENABLE;
	struct khv_vcpu *target;

	if (a->atomic && READ_ONCE(a->vm->restored))
		return KHV_MSR_SLOW;
	WRITE_ONCE(a->vcpu->kvm->arch.hyperv.hv_reenlightenment_control, a->data);
	/*
	 * User space writes an enabled control only to restore a VM, once or for each VP. Do not
	 * take KVM_SET_CLOCK or a write of the TSC for a sign: VMMs make them at a pause, too.
	 */
	if (a->host || !enable)
		WRITE_ONCE(a->vm->restored, a->host && enable);
	if (a->host)
		khv_tsc_rate_restored(a->vm, enable);
	if (a->host || !READ_ONCE(a->vm->restored))
		return KHV_MSR_OK;
	/* The guest moves an interrupt that waits: the new target may be in the guest. */
	target = khv_vp_by_index(a->vcpu->kvm, FIELD_GET(KHV_REENLIGHTENMENT_TARGET, a->data));
	if (target) {
		khv_reenlighten_soon(target);
		/* Have a thread that sleeps leave KVM's loop, and so look again. */
		kvm_make_request(KVM_REQ_UNBLOCK, target->stock.vcpu);
		khv_vcpu_kick(target->stock.vcpu);
	}
	return KHV_MSR_OK;
}

void khv_reenlighten(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	u64 control;
	u8 vector;

	if (likely(!READ_ONCE(vp->vm->restored)))
		return;
	control = READ_ONCE(vcpu->kvm->arch.hyperv.hv_reenlightenment_control);
	/* Another VP may have disabled it just now. */
	if (!(control & KHV_REENLIGHTENMENT_ENABLE) ||
	    FIELD_GET(KHV_REENLIGHTENMENT_TARGET, control) != READ_ONCE(vp->stock.vp_index))
		return;
	vector = FIELD_GET(KHV_REENLIGHTENMENT_VECTOR, control);
	/*
	 * A local APIC does not deliver the first 16 vectors. If it is disabled,
	 * khv_reenlighten_soon() has it tried again.
	 */
	if (vector < 16 || khv_apic_post(vcpu, vector))
		WRITE_ONCE(vp->vm->restored, false);
}
