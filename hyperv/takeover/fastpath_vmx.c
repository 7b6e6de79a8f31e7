// SPDX-License-Identifier: GPL-2.0-only
/* The exit fast path on Intel: accessors of the VMCS, and the replacement of vmx_vcpu_run(). */
#include <linux/kvm_host.h>
#include <asm/vmx.h>

#include "compat/kvm.h"
#include "khv/port.h"
#include "khv/state.h"

#include "fastpath_exit.h"

static __always_inline unsigned long exit_rflags(const struct kvm_vcpu *vcpu)
{
	return khv_vmread(GUEST_RFLAGS);
}

static __always_inline bool exit_is_64bit(const struct kvm_vcpu *vcpu)
{
	return (vcpu->arch.efer & EFER_LMA) && (khv_vmread(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK);
}

static __always_inline bool exit_may_call(const struct kvm_vcpu *vcpu)
{
	return (vcpu->arch.cr0 & X86_CR0_PE) && !VMX_AR_DPL(khv_vmread(GUEST_SS_AR_BYTES));
}

static __always_inline bool exit_is_stale(const struct kvm_vcpu *vcpu)
{
	return khv_vmx_failed(vcpu);
}

static __always_inline unsigned long exit_next_rip(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	unsigned long rip = khv_vmread(GUEST_RIP);
	unsigned long next = rip + khv_vmread(VM_EXIT_INSTRUCTION_LEN);

	return KHV_WRAP_RIP(vcpu, rip, next);
}

static __always_inline void exit_skip_to(struct kvm_vcpu *vcpu, unsigned long next)
{
	u32 shadow = khv_vmread(GUEST_INTERRUPTIBILITY_INFO);

	khv_set_cached_rip(vcpu, next);
	if (unlikely(shadow & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))) {
		shadow &= ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
		khv_vmwrite(GUEST_INTERRUPTIBILITY_INFO, shadow);
	}
}

#include "exit_policy.h"

static noinline fastpath_t answer_rdmsr_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_RDMSR);
}

static noinline fastpath_t answer_wrmsr_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_WRMSR);
}

static noinline fastpath_t answer_call_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_CALL);
}

/*
 * The reason's low 6 bits select a bit of this mask. That quick test ignores the other bits of the
 * VM-Exit reason; the comparisons behind it do not.
 */
#define VMX_REASONS                                                       \
	(BIT_ULL(EXIT_REASON_MSR_READ) | BIT_ULL(EXIT_REASON_MSR_WRITE) | \
	 BIT_ULL(EXIT_REASON_VMCALL))

/* If VMREAD faults, khv_vmread() returns the field's encoding, which must select none of these. */
static_assert(!(VMX_REASONS >> (VM_EXIT_REASON % 64) & 1));

__noendbr notrace fastpath_t khv_hook_vcpu_run_vmx(struct kvm_vcpu *vcpu, u64 run_flags)
{
	fastpath_t ret;
	u64 reason;

	ret = static_call(khv_call_vcpu_run)(vcpu, run_flags);
	reason = khv_vmread(VM_EXIT_REASON);
	if (likely(!(VMX_REASONS >> (reason % 64) & 1)) || ret != EXIT_FASTPATH_NONE)
		return ret;
	vcpu = this_cpu_read(khv_running);
	if (reason == EXIT_REASON_VMCALL)
		return answer_call_vmx(vcpu);
	if (!is_synthetic(vcpu))
		return ret;
	if (reason == EXIT_REASON_MSR_READ)
		return answer_rdmsr_vmx(vcpu);
	return reason == EXIT_REASON_MSR_WRITE ? answer_wrmsr_vmx(vcpu) : ret;
}
