/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions of KVM, by one name and prototype on all kernels. */
#ifndef KHV_COMPAT_CALLS_H
#define KHV_COMPAT_CALLS_H

#include <linux/kvm_host.h>

#include "khv/imports.h"

/* Find KVM's table of nested operations. In kvm_x86_ops there is a pointer to it before 7.3. */
static inline const struct kvm_x86_nested_ops *khv_find_nested_ops(void)
{
#ifdef KHV_HAVE_NESTED_OPS
	return (const void *)khv_symbol("kvm", "kvm_nested_ops");
#else
	return khv_x86_ops->nested_ops;
#endif
}

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
 * The guest's own RDMSR and WRMSR without the MSR filter: call khv_kvm_msr_allowed() first. Return:
 * 0; otherwise the guest would get #GP, or user space the access.
 */
static inline int khv_guest_rdmsr(struct kvm_vcpu *vcpu, u32 msr, u64 *data)
{
#ifdef KHV_HAVE_GET_MSR
	return khv_kvm_get_msr(vcpu, msr, data);
#else
	return khv___kvm_emulate_msr_read(vcpu, msr, data);
#endif
}

static inline int khv_guest_wrmsr(struct kvm_vcpu *vcpu, u32 msr, u64 data)
{
#ifdef KHV_HAVE_GET_MSR
	return khv_kvm_set_msr(vcpu, msr, data);
#else
	return khv___kvm_emulate_msr_write(vcpu, msr, data);
#endif
}

/* Have the hardware take vcpu->arch.tsc_scaling_ratio, which a host without TSC scaling has not. */
static inline void khv_write_tsc_multiplier(struct kvm_vcpu *vcpu)
{
#ifdef KHV_HAVE_WRITE_TSC_VALUE
	khv_x86_ops->write_tsc_multiplier(vcpu, vcpu->arch.tsc_scaling_ratio);
#else
	khv_x86_ops->write_tsc_multiplier(vcpu);
#endif
}

/* Have the hardware take vcpu->arch.tsc_offset. */
static inline void khv_write_tsc_offset(struct kvm_vcpu *vcpu)
{
#ifdef KHV_HAVE_WRITE_TSC_VALUE
	khv_x86_ops->write_tsc_offset(vcpu, vcpu->arch.tsc_offset);
#else
	khv_x86_ops->write_tsc_offset(vcpu);
#endif
}

/* Flush the translation of one address. Intel only, where KVM never flushes more. */
static inline void khv_flush_gva(struct kvm_vcpu *vcpu, gva_t gva)
{
#ifdef KHV_HAVE_FLUSH_GVA_FULL
	static_call(khv_x86_flush_tlb_gva)(vcpu, gva, NULL);
#else
	static_call(khv_x86_flush_tlb_gva)(vcpu, gva);
#endif
}

/*
 * Does KVM take only the lower half of L1's RAX as the address of a VMCB, outside 64-bit mode?
 * Since 7.2, which moved RIP out of the registers.
 */
static inline bool khv_vmcb_address_by_mode(void)
{
#ifdef KHV_HAVE_ARCH_RIP
	return true;
#else
	return false;
#endif
}

/*
 * Translate an L2 guest-physical address to L1's, where L1 uses second-level page tables. Since 7.2
 * it is an operation of the vendor module, which wants to know the access rights in L2's own
 * tables, too: a hypercall's input has none.
 */
static inline gpa_t khv_translate_l2_gpa(struct kvm_vcpu *vcpu, gpa_t gpa)
{
#ifdef KHV_HAVE_TRANSLATE_OP
	return khv_nested_ops->translate_nested_gpa(vcpu, gpa, PFERR_GUEST_FINAL_MASK, NULL, 0);
#else
	return khv_translate_nested_gpa(vcpu, gpa, PFERR_GUEST_FINAL_MASK, NULL);
#endif
}

#endif
