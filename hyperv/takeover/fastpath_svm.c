// SPDX-License-Identifier: GPL-2.0-only
/* The exit fast path on AMD: accessors of the VMCB, and the replacement of svm_vcpu_run(). */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>
#include <asm/svm.h>

#include "compat/kvm.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/walk.h"

#include "fastpath_exit.h"

static DEFINE_STATIC_KEY_FALSE(nrips);

void khv_fastpath_svm_nrips(bool has)
{
	if (has)
		static_branch_enable(&nrips);
}

static __always_inline unsigned long exit_rflags(const struct kvm_vcpu *vcpu)
{
	return khv_vmcb(vcpu)->save.rflags;
}

static __always_inline bool exit_is_64bit(const struct kvm_vcpu *vcpu)
{
	return (vcpu->arch.efer & EFER_LMA) &&
	       (khv_vmcb(vcpu)->save.cs.attrib & SVM_SELECTOR_L_MASK);
}

static __always_inline bool exit_may_call(const struct kvm_vcpu *vcpu)
{
	/* SVM may not intercept writes to CR0, so that vcpu->arch.cr0 may be stale. */
	return (khv_vmcb(vcpu)->save.cr0 & X86_CR0_PE) && !khv_vmcb(vcpu)->save.cpl;
}

static __always_inline bool exit_is_stale(const struct kvm_vcpu *vcpu)
{
	return false;
}

/*
 * Without NRIPS KVM finds the next RIP with its emulator, which may sleep. Recognise RDMSR, WRMSR
 * and VMMCALL by their bytes instead. Return: the instruction's length, or 0 if its bytes cannot be
 * read without faulting or it has a prefix.
 */
static noinline unsigned int insn_length(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	static const u32 opcode[] = {
		[EXIT_RDMSR] = 0x320f,
		[EXIT_WRMSR] = 0x300f,
		[EXIT_CALL] = 0xd9010f,
	};
	unsigned int len = kind == EXIT_CALL ? 3 : 2;
	unsigned long rip = khv_kvm_get_linear_rip(vcpu);
	struct khv_tables t = {
		/*
		 * With NPT, CR3 writes are not intercepted; vcpu->arch.cr3 dates from the last slow
		 * exit.
		 */
		.root = *khv_tdp_enabled ? khv_vmcb(vcpu)->save.cr3 : vcpu->arch.cr3,
		.need = _PAGE_PRESENT,
		.levels = vcpu->arch.cr4 & X86_CR4_LA57 ? 5 : 4,
	};
	struct khv_tables below;
	u32 insn = 0;
	gpa_t gpa;
	int ret;

	if (khv_in_l2(vcpu) && khv_nested_tables(vcpu, &below))
		t.below = &below;
	if (!(vcpu->arch.efer & EFER_LMA) || offset_in_page(rip) + len > PAGE_SIZE)
		return 0;
	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	gpa = khv_walk_nofault(vcpu, &t, rip);
	ret = gpa == INVALID_GPA || khv_kvm_vcpu_read_guest_atomic(vcpu, gpa, &insn, len);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	return ret || insn != opcode[kind] ? 0 : len;
}

static __always_inline unsigned long exit_next_rip(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	const struct vmcb_control_area *control = &khv_vmcb(vcpu)->control;
	unsigned long rip, next;

	if (static_branch_likely(&nrips) && control->next_rip)
		return control->next_rip;
	rip = khv_vmcb(vcpu)->save.rip;
	next = insn_length(vcpu, kind);
	if (!next)
		return 0;
	next += rip;
	return KHV_WRAP_RIP(vcpu, rip, next);
}

static __always_inline void exit_skip_to(struct kvm_vcpu *vcpu, unsigned long next)
{
	khv_set_rip(vcpu, next);
	khv_vmcb(vcpu)->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

#include "exit_policy.h"

/* One function per kind of exit, so that the compiler drops the tests of the others. */
static noinline fastpath_t answer_rdmsr_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_RDMSR);
}

static noinline fastpath_t answer_wrmsr_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_WRMSR);
}

static noinline fastpath_t answer_call_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_CALL);
}

/*
 * Replacement of the vendor's vcpu_run() for a vCPU of an owned VM; dispatch.S passes other vCPUs
 * on to KVM. Every VM-Exit pays for each instruction here: khv_running is read twice, because
 * keeping a value in a register across the call costs more; there is no ftrace site; and there is
 * no ENDBR, because no indirect call targets it.
 */
__noendbr notrace fastpath_t khv_hook_vcpu_run_svm(struct kvm_vcpu *vcpu, u64 run_flags)
{
	const struct vmcb_control_area *control;
	fastpath_t ret;

	ret = static_call(khv_call_vcpu_run)(vcpu, run_flags);
	vcpu = this_cpu_read(khv_running);
	control = &khv_vmcb(vcpu)->control;
	if (control->exit_code == SVM_EXIT_MSR) {
		if (!is_synthetic(vcpu) || ret != EXIT_FASTPATH_NONE)
			return ret;
		return control->exit_info_1 ? answer_wrmsr_svm(vcpu) : answer_rdmsr_svm(vcpu);
	}
	/*
	 * Force two comparisons with memory: that is one instruction less than a load and two
	 * comparisons.
	 */
	barrier();
	if (likely(control->exit_code != SVM_EXIT_VMMCALL))
		return ret;
	return ret == EXIT_FASTPATH_NONE ? answer_call_svm(vcpu) : ret;
}
