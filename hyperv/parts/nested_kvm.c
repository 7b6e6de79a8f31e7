// SPDX-License-Identifier: GPL-2.0-only
/*
 * Identity of an L2 on a KVM that implements direct flush, and so tracks identities itself. Built
 * where KVM does; nested_own.c stands in for it elsewhere.
 */
#include <linux/kvm_host.h>
#include <asm/vmx.h>

#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"

#include "nested.h"

/*
 * KVM calls this at each nested VM-Entry and when it restores L2, and tracks identities itself,
 * except for an L2 that is restored with an enlightened VMCS.
 */
int khv_nested_get_assist_page(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct kvm_vcpu_hv *stock = &vp->stock;
	struct khv_vp_assist *assist = (void *)&stock->vp_assist_page;
	struct khv_evmcs_identity id;
	bool in_l2 = khv_in_l2(vcpu);

	static_assert(sizeof(*assist) <= sizeof(stock->vp_assist_page));
	if (!khv_nested_read_assist(vcpu, assist)) {
		if (!in_l2) {
			vp->l2.direct = false;
			/* Positive: KVM returns a negative value to user space as an error. */
			return 1;
		}
		memset(assist, 0, sizeof(*assist));
	}

	if (khv_svm) {
		/* This is VMRUN, and nested_svm_vmrun() is not hooked. */
		if (!in_l2 && !khv_l2_calls_hooked) {
			bool bitmap = khv_nested_shows_bitmap(vp);
			u32 control = 0;

			/* KVM records the L2's identity. */
			WRITE_ONCE(vp->l2.unknown, false);
			if ((vp->l2.direct_used || bitmap) &&
			    khv_nested_read_vmcb12(vcpu, KHV_VMCB_IDENTITY, &control,
						   sizeof(control)) &&
			    bitmap)
				khv_nested_count_vmcb_bitmap(vcpu, control);
			vp->l2.direct = vp->l2.direct_used &&
					(control & KHV_NESTED_FLUSH_HYPERCALL) &&
					khv_nested_direct_allowed(vp, assist);
		} else if (in_l2) {
			vp->l2.direct = false;
		}
		return 0;
	}
	/* KVM tracks L2's identity itself; read it only when KVM does not handle the call. */
	if (in_l2 || khv_l2_calls_hooked)
		khv_nested_read_evmcs_identity(vcpu, assist);
	else if (khv_nested_shows_bitmap(vp) && khv_nested_has_evmcs(assist) &&
		 khv_nested_read_evmcs(vcpu, assist->current_nested_vmcs, &id,
				       offsetofend(struct khv_evmcs_identity, control)))
		khv_nested_count_bitmap(vp, &id);
	return 0;
}

/*
 * On AMD only KVM's private copy of the VMCB tells whether KVM routes hypercalls of the L2 here. A
 * call that arrives proves that it does, for the L2 that runs now; have later entries read the
 * VMCB, too.
 */
void khv_nested_call_seen(struct khv_vcpu *vp)
{
	vp->l2.direct_used = true;
	if (khv_svm)
		vp->l2.direct = true;
}

bool khv_nested_is_direct(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	if (khv_svm)
		return vp->l2.direct && khv_nested_assist_page_read(vp);
	return khv_nested_direct_allowed(vp, (void *)&vp->stock.vp_assist_page) &&
	       khv_nested_evmcs_l2_tlb_flush_enabled(vcpu) && khv_nested_vmx_may_answer(vcpu);
}

void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu)
{
	khv_nested_ops->hv_inject_synthetic_vmexit_post_tlb_flush(vcpu);
}
