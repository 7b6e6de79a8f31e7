/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the nested part share. */
#ifndef KHV_NESTED_PRIVATE_H
#define KHV_NESTED_PRIVATE_H

#include <asm/kvm_para.h>

#include "compat/kvm.h"
#include "khv/port.h"
#include "khv/state.h"

/* Does the guest's CPUID offer L1 to declare its MSR bitmap unchanged? */
static inline bool khv_nested_shows_bitmap(const struct khv_vcpu *vp)
{
	static const struct khv_priv bitmap = KHV_PRIV(NESTED_EAX, MSR_BITMAP);

	return khv_priv_held(&vp->cpuid, bitmap);
}

/* Does the page say that L1 enters with an enlightened VMCS? */
static inline bool khv_nested_has_evmcs(const struct khv_vp_assist *assist)
{
	return assist->enlighten_vmentry && assist->current_nested_vmcs < KHV_EVMPTR_PENDING;
}

/* Do CPUID and the assist page allow the module to answer L2's hypercalls? */
static inline bool khv_nested_direct_allowed(const struct khv_vcpu *vp,
					     const struct khv_vp_assist *assist)
{
	static const struct khv_priv direct = KHV_PRIV(NESTED_EAX, DIRECT_FLUSH);

	return khv_priv_held(&vp->cpuid, direct) &&
	       (assist->nested_features & KHV_ASSIST_DIRECT_HYPERCALL);
}

/*
 * Does a KVM that implements direct flush read the page at VMRUN? Not if the guest has PV EOI
 * disabled.
 */
static inline bool khv_nested_assist_page_read(const struct khv_vcpu *vp)
{
	return (vp->stock.hv_vapic & KHV_VP_ASSIST_ENABLE) &&
	       (vp->stock.vcpu->arch.pv_eoi.msr_val & KVM_MSR_ENABLED);
}

/* Count an entry at which L1 declares its MSR bitmap unchanged, so that KVM may skip reading it. */
static inline void khv_nested_count_bitmap(struct khv_vcpu *vp, const struct khv_evmcs_identity *id)
{
	vp->counts.clean_msr_bitmaps +=
		(id->control & KHV_NESTED_MSR_BITMAP) &&
		(id->clean_fields & HV_VMX_ENLIGHTENED_CLEAN_FIELD_MSR_BITMAP);
}

/* nested_entry.c */

/* Read the VP assist page. Return: false if it is not enabled or not in guest memory. */
bool khv_nested_read_assist(struct kvm_vcpu *vcpu, struct khv_vp_assist *assist);

/* Cache of the identity in the enlightened VMCS at @evmcs; NULL if it is not in guest memory. */
struct gfn_to_hva_cache *khv_nested_evmcs(struct kvm_vcpu *vcpu, gpa_t evmcs);

/* Read the identity, or its first @len bytes, from the enlightened VMCS at @evmcs. */
static __always_inline bool khv_nested_read_evmcs(struct kvm_vcpu *vcpu, gpa_t evmcs,
						  struct khv_evmcs_identity *id, u32 len)
{
	struct gfn_to_hva_cache *cache = khv_nested_evmcs(vcpu, evmcs);

	return cache && khv_read_cached(vcpu->kvm, cache, 0, id, len);
}

/* Record which L2 is entered with the enlightened VMCS of the assist page, if any. */
void khv_nested_read_evmcs_identity(struct kvm_vcpu *vcpu, const struct khv_vp_assist *assist);

/* Cache of the VMCB that L1 passes to VMRUN, from KHV_VMCB_CLEAN; NULL if it is not in memory. */
struct gfn_to_hva_cache *khv_nested_vmcb12(struct kvm_vcpu *vcpu);

/* Read from the VMCB that L1 passes to VMRUN; @at is KHV_VMCB_CLEAN or above. */
static __always_inline bool khv_nested_read_vmcb12(struct kvm_vcpu *vcpu, u32 at, void *data,
						   u32 len)
{
	struct gfn_to_hva_cache *cache = khv_nested_vmcb12(vcpu);

	return cache && khv_read_cached(vcpu->kvm, cache, at - KHV_VMCB_CLEAN, data, len);
}

/* Is the last exit of the VP, which is in guest mode, a hypercall? */
bool khv_nested_last_exit_is_call(struct kvm_vcpu *vcpu);

/* Is the last exit a VMCALL of L2 that the fast path may complete? On VMX. */
bool khv_nested_vmx_may_answer(struct kvm_vcpu *vcpu);

/* As khv_nested_count_bitmap(), for a VMCB with this word of control bits. */
void khv_nested_count_vmcb_bitmap(struct kvm_vcpu *vcpu, u32 control);

/* Identity of the VP's L2: KVM's, where it tracks one, or else the module's. Context: any. */
static inline struct khv_l2 khv_nested_identity(const struct khv_vcpu *vp)
{
	struct khv_l2 l2 = {};

	if (khv_stock_l2(&vp->stock, khv_svm, &l2.vm_id, &l2.vp_id, &l2.partition_assist_page))
		return l2;
	l2.vm_id = READ_ONCE(vp->l2.vm_id);
	l2.vp_id = READ_ONCE(vp->l2.vp_id);
	l2.partition_assist_page = vp->l2.partition_assist_page;
	return l2;
}

#endif
