// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls of a nested guest (L2) that the module answers instead of its hypervisor (L1), as L1
 * asks for (direct flush): which calls, where their input is, whom they name. TLFS chapter "Nested
 * Virtualization".
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>
#include <asm/hypervisor.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/handlers.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/vpset.h"
#include "khv/walk.h"

#include "nested.h"

bool khv_nested_posts_direct;

void khv_nested_init(struct khv_vcpu *vp)
{
	vp->lock_page.gpa = INVALID_GPA;
	/* Posts by direct flush need to know of it before the first flush, too. */
	vp->l2.direct_used = khv_nested_posts_direct;
}

bool khv_nested_last_exit_is_call(struct kvm_vcpu *vcpu)
{
	u32 reason, intr_info, error_code;
	u64 info1, info2;

	khv_x86_ops->get_exit_info(vcpu, &reason, &info1, &info2, &intr_info, &error_code);
	return reason == (khv_svm ? SVM_EXIT_VMMCALL : EXIT_REASON_VMCALL);
}

bool khv_nested_call_has_row(struct kvm_vcpu *vcpu)
{
	const unsigned long *regs = vcpu->arch.regs;
	int row;

	/* Leave KVM's own hypercalls, and Xen's, to KVM. */
	if (!vcpu->kvm->arch.hyperv.hv_guest_os_id || khv_xen_hypercalls(vcpu->kvm))
		return false;
	row = khv_hc_find(regs[khv_longmode(vcpu) ? VCPU_REGS_RCX : VCPU_REGS_RAX] & KHV_CTL_CODE);
	return row >= 0 && (khv_hcs[row].flags & KHV_L2) && khv_nested_last_exit_is_call(vcpu);
}

bool khv_nested_vmx_may_answer(struct kvm_vcpu *vcpu)
{
	/* KVM on Hyper-V may use an enlightened VMCS, which VMREAD does not read. */
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return false;
	/*
	 * L1 single-steps L2: leave the instruction to KVM, which must record that it is complete.
	 */
	if (khv_vmread(CPU_BASED_VM_EXEC_CONTROL) & CPU_BASED_MONITOR_TRAP_FLAG)
		return false;
	/*
	 * Without unrestricted guests, KVM may not have entered L2 and the VMCS may hold an earlier
	 * exit.
	 */
	return khv_nested_last_exit_is_call(vcpu);
}

/* Does L1 use second-level page tables for L2? If not, L2's memory is L1's. */
static bool own_tables(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.mmu == &vcpu->arch.guest_mmu;
}

gpa_t khv_nested_gpa(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	if (!own_tables(vcpu))
		return gpa;
	return khv_translate_l2_gpa(vcpu, gpa);
}

/*
 * Require the bits that the CPU would set during a walk: a walk that had to set them needs KVM's
 * walker.
 */
bool khv_nested_tables(struct kvm_vcpu *vcpu, struct khv_tables *t)
{
	struct kvm_mmu *mmu = vcpu->arch.mmu;
	union kvm_cpu_role role;

	if (!own_tables(vcpu))
		return false;
	role = khv_walk_role(mmu);
	t->below = NULL;
	t->levels = role.base.level;
	t->ept = !khv_svm;
	if (t->ept)
		t->need = VMX_EPT_READABLE_MASK | (role.base.ad_disabled ? 0 : VMX_EPT_ACCESS_BIT);
	else
		t->need = _PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED;
	t->root = khv_walk_root(vcpu, mmu);
	return true;
}

gpa_t khv_nested_gpa_nofault(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct khv_tables t;

	if (!khv_nested_tables(vcpu, &t))
		return gpa;
	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	gpa = khv_walk_nofault(vcpu, &t, gpa);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	return gpa;
}

bool khv_nested_is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu,
			  const struct khv_vpset *set)
{
	struct khv_l2 of_caller = khv_nested_identity(to_khv_vcpu(caller)), l2;
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	if (!vp)
		return false;
	if (READ_ONCE(vp->l2.unknown))
		return true;
	l2 = khv_nested_identity(vp);
	return l2.vm_id == of_caller.vm_id && khv_vpset_has(set, l2.vp_id);
}

bool khv_nested_tlb_locked(struct kvm_vcpu *vcpu, bool *locked)
{
	u64 gpa = khv_nested_identity(to_khv_vcpu(vcpu)).partition_assist_page;
	u32 count;

	if (khv_kvm_read_guest(vcpu->kvm, gpa, &count, sizeof(count)))
		return false;
	*locked = count;
	return true;
}

bool khv_nested_tlb_unlocked_nofault(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	u64 gpa = khv_nested_identity(vp).partition_assist_page, word;

	/* TlbLockCount is the lower half of the page's first 64-bit word. */
	return !(gpa % sizeof(word)) &&
	       khv_read_guest_nofault(vcpu, &vp->lock_page, gpa, &word, sizeof(word)) && !(u32)word;
}
