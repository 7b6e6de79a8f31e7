/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which VM-Exits the fast path answers, and how. Included by fastpath_svm.c and fastpath_vmx.c
 * only, each of which first defines for its vendor:
 *   exit_rflags()     RFLAGS
 *   exit_is_64bit()   is the guest in 64-bit mode?
 *   exit_may_call()   protected mode and CPL 0, like khv_may_hypercall()
 *   exit_is_stale()   did the VM-Entry fail, so that the state describes the previous VM-Exit?
 *   exit_next_rip()   RIP behind the instruction, or 0 if unknown. Called before the handler,
 *                     because an answer cannot be taken back.
 *   exit_skip_to()    mirrors skip_emulated_instruction(): set RIP, end the interrupt shadow
 */
#ifndef KHV_EXIT_POLICY_H
#define KHV_EXIT_POLICY_H

#include "compat/kvm.h"
#include "khv/events.h"
#include "khv/handlers.h"
#include "khv/nested.h"
#include "khv/pmu.h"
#include "khv/port.h"
#include "khv/state.h"

#include "answer.h"

/*
 * Every LEAVE_EVERYth answer leaves KVM's inner loop, where the host takes interrupts. A CPU takes
 * a pending host interrupt at VM-Entry, but some emulators do not; without this a guest that polls
 * a register with its interrupts off would monopolise the host CPU there.
 */
#define LEAVE_EVERY 128

/* Conditions under which every exit needs the slow path, whatever its row. */
static __always_inline enum khv_fast_result check_guest(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	if (vcpu->arch.guest_state_protected || vcpu->guest_debug || khv_in_smm(vcpu) ||
	    (exit_rflags(vcpu) & (X86_EFLAGS_TF | X86_EFLAGS_RF)))
		return KHV_FAST_STATE;
	if (unlikely(vcpu->arch.pmu.version) && !khv_insn_retired &&
	    khv_pmu_counts(&vcpu->arch.pmu))
		return KHV_FAST_PMU;
	if (khv_event_on(khv_exit_event) || (kind != EXIT_CALL && khv_event_on(khv_msr_event)))
		return KHV_FAST_TRACED;
	return KHV_FAST_OK;
}

static __always_inline enum khv_fast_result
check_msr(struct kvm_vcpu *vcpu, const struct khv_vcpu *vp, u32 msr, int row, bool write)
{
	if (!(khv_msrs[row].flags & (write ? KHV_MSR_ATOMIC_WR : KHV_MSR_ATOMIC_RD)))
		return KHV_FAST_ROW;
	if (!(vp->gate.msr & BIT_ULL(row)) || (write && khv_xen_msr(vcpu->kvm, msr)))
		return KHV_FAST_REFUSED;
	/*
	 * Most VMMs install an MSR filter. Do not cache the verdict: only KVM knows when it
	 * changes.
	 */
	if (rcu_access_pointer(vcpu->kvm->arch.msr_filter) &&
	    !khv_kvm_msr_allowed(vcpu, msr, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ))
		return KHV_FAST_FILTER;
	return KHV_FAST_OK;
}

static __always_inline enum khv_fast_result check_call(struct kvm_vcpu *vcpu, int row)
{
	if (row < 0 || !(khv_hcs[row].flags & KHV_ATOMIC))
		return KHV_FAST_ROW;
	if (!vcpu->kvm->arch.hyperv.hv_guest_os_id || khv_xen_hypercalls(vcpu->kvm) ||
	    !exit_may_call(vcpu))
		return KHV_FAST_REFUSED;
	return KHV_FAST_OK;
}

static __always_inline fastpath_t answer_exit(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	const unsigned long *regs = vcpu->arch.regs;
	bool l2 = kind == EXIT_CALL && khv_in_l2(vcpu), longmode = false;
	enum khv_fast_result ret;
	unsigned long next;
	int row;

	/* After a failed VM-Entry the VMCS still describes the previous VM-Exit. */
	if (!static_branch_likely(&khv_answering) || exit_is_stale(vcpu))
		return EXIT_FASTPATH_NONE;
	/*
	 * A VM-Exit of L2 belongs to L1, except for hypercalls that L1 leaves to the module (direct
	 * flush). If the vCPU then leaves the inner loop, KVM decides again whose exit this was, by
	 * the call code and what L1 allows, before it sees that the exit is handled. In 64-bit mode
	 * RCX still holds the code; in 32-bit mode RAX holds the result by then, so leave 32-bit
	 * callers to the slow path. An L1 that takes its permission back in between gets the
	 * VMCALL, with RIP behind it: it harms its own L2 only.
	 */
	if (kind == EXIT_CALL) {
		longmode = exit_is_64bit(vcpu);
		row = khv_hc_find(regs[longmode ? VCPU_REGS_RCX : VCPU_REGS_RAX] & KHV_CTL_CODE);
		if (unlikely(l2) &&
		    (!longmode || row < 0 || !(khv_hcs[row].flags & KHV_L2) ||
		     khv_event_on(khv_nested_vmexit_event) || !khv_nested_is_direct(vp)))
			return EXIT_FASTPATH_NONE;
	} else {
		row = khv_msr_find(regs[VCPU_REGS_RCX]);
		if (row < 0 || unlikely(khv_in_l2(vcpu)))
			return EXIT_FASTPATH_NONE;
	}

	ret = check_guest(vcpu, kind);
	if (ret == KHV_FAST_OK)
		ret = kind == EXIT_CALL ?
			      check_call(vcpu, row) :
			      check_msr(vcpu, vp, regs[VCPU_REGS_RCX], row, kind == EXIT_WRMSR);
	if (ret == KHV_FAST_OK) {
		next = exit_next_rip(vcpu, kind);
		if (unlikely(!next))
			ret = KHV_FAST_SKIP;
		else if (kind == EXIT_CALL)
			ret = answer_call(vcpu, vp, row, longmode, l2);
		else
			ret = answer_msr(vcpu, vp, row, kind == EXIT_WRMSR);
	}
	if (unlikely(ret != KHV_FAST_OK)) {
		vp->counts.fast[ret]++;
		return EXIT_FASTPATH_NONE;
	}
	exit_skip_to(vcpu, next);
	/* No handler changes whether the PMU counts, so check_guest()'s verdict still holds. */
	if (unlikely(vcpu->arch.pmu.version))
		khv_count_skipped(vcpu);
	if (unlikely(++vp->counts.fast[KHV_FAST_OK] % LEAVE_EVERY == 0))
		return EXIT_FASTPATH_EXIT_HANDLED;
	/*
	 * KVM's inner loop calls kvm_vcpu_exit_request() before it enters the guest again, so a
	 * request that the handler made is honoured first.
	 */
	return EXIT_FASTPATH_REENTER_GUEST;
}

#endif
