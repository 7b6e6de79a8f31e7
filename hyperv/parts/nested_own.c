// SPDX-License-Identifier: GPL-2.0-only
/*
 * Identity of an L2 on a KVM without direct flush: the module reads it at each nested VM-Entry.
 * nested_kvm.c stands in for this file where KVM has direct flush.
 */
#include <linux/kvm_host.h>
#include <asm/svm.h>

#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"

#include "nested.h"

bool khv_nested_vmx_entry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa)
{
	struct khv_vp_assist assist = {};

	*evmcs_gpa = KHV_EVMPTR_NONE;
	if (!khv_nested_read_assist(vcpu, &assist))
		memset(&assist, 0, sizeof(assist));
	khv_nested_read_evmcs_identity(vcpu, &assist);
	if (!khv_nested_has_evmcs(&assist))
		return false;
	*evmcs_gpa = assist.current_nested_vmcs;
	return true;
}

void khv_nested_call_seen(struct khv_vcpu *vp)
{
}

bool khv_nested_is_direct(struct khv_vcpu *vp)
{
	return vp->l2.direct && (khv_svm || khv_nested_vmx_may_answer(vp->stock.vcpu));
}

void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu)
{
	struct vmcb_control_area *control;

	if (!khv_svm) {
		khv_nested_vmx_vmexit(vcpu, KHV_VMX_TRAP_AFTER_FLUSH, 0, 0);
		return;
	}
	control = &khv_vmcb(vcpu)->control;
	control->exit_code = KHV_SVM_SYNTHETIC_EXIT;
	control->exit_code_hi = 0;
	control->exit_info_1 = KHV_SVM_TRAP_AFTER_FLUSH;
	control->exit_info_2 = 0;
	khv_nested_svm_vmexit(vcpu);
}
