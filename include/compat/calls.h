/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions of KVM, by one name and prototype on all kernels. */
#ifndef KHV_COMPAT_CALLS_H
#define KHV_COMPAT_CALLS_H

#include <linux/kvm_host.h>

#include "khv/imports.h"
#include "khv/synic.h"

/* kvm_vcpu_kick(), which is inline since 6.16. */
static inline void khv_vcpu_kick(struct kvm_vcpu *vcpu)
{
#ifdef KHV_HAVE_TDX
	khv___kvm_vcpu_kick(vcpu, false);
#else
	khv_kvm_vcpu_kick(vcpu);
#endif
}

/*
 * Flush the translation of one address. Return: true if KVM chose to flush all of the guest's, so
 * that no other address is left.
 */
static inline bool khv_flush_gva(struct kvm_vcpu *vcpu, gva_t gva)
{
#ifdef KHV_HAVE_FLUSH_GVA_FULL
	bool full = false;

	static_call(khv_x86_flush_tlb_gva)(vcpu, gva, &full);
	return full;
#else
	static_call(khv_x86_flush_tlb_gva)(vcpu, gva);
	return false;
#endif
}

/* kvm_hv_synic_set_irq() since 6.17, with what kvm_hv_set_sint() did before. */
static inline int khv_synic_set_route(const struct kvm_kernel_irq_routing_entry *e, struct kvm *kvm,
				      int irq_source_id, int level, bool line_status)
{
	return level ? khv_synic_set_irq(kvm, e->hv_sint.vcpu, e->hv_sint.sint) : -1;
}

#endif
