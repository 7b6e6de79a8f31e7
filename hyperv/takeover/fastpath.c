// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit fast path. Replaces kvm_x86_vcpu_run, KVM's static call to the vendor's vcpu_run(). When
 * the vendor's function returns with a VM-Exit that a table row covers, the row's handler runs at
 * once, with interrupts still off, and the guest is entered again. On any other exit the fast path
 * does nothing, and KVM's slow path calls the same handler. Nothing here sleeps, takes a mutex or
 * waits for another CPU; guest memory is read only where the read cannot fault.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/jump_label.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/hypervisor.h>
#include <asm/perf_event.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#include "khv/events.h"
#include "khv/fastpath.h"
#include "khv/parts.h"
#include "khv/pmu.h"
#include "khv/port.h"

#include "answer.h"

/* The module parameter "fastpath", and the static key that follows it. */
bool khv_fastpath = true;
static DEFINE_STATIC_KEY_TRUE(answering);

void khv_fastpath_switched(void)
{
	if (khv_fastpath)
		static_branch_enable(&answering);
	else
		static_branch_disable(&answering);
}

typedef fastpath_t khv_proto_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);
DEFINE_STATIC_CALL_NULL(khv_call_vcpu_run, khv_proto_vcpu_run);

/* Entry points in dispatch.S, and the replacements they jump to for a vCPU of an owned VM. */
khv_proto_vcpu_run khv_vcpu_run_svm, khv_vcpu_run_vmx;
__noendbr khv_proto_vcpu_run khv_hook_vcpu_run_svm, khv_hook_vcpu_run_vmx;

/*
 * Event selector of retired instructions if kvm_pmu_trigger_event() may be called with interrupts
 * off, else NULL.
 */
static const u64 *insn_retired;
static void *pmu_trigger_event;
typedef void khv_proto_pmu_trigger_event(struct kvm_vcpu *vcpu, u64 eventsel);
DEFINE_STATIC_CALL_NULL(khv_pmu_trigger_event, khv_proto_pmu_trigger_event);

static struct static_call_key *kvm_key;
static void *kvm_trampoline;
/* Does the CPU report the next RIP at a VM-Exit (NRIPS)? Intel always does. */
static DEFINE_STATIC_KEY_FALSE(nrips);
static const int *kvm_nrips;

/*
 * Every LEAVE_EVERYth answer leaves KVM's inner loop, where the host takes interrupts. A CPU takes
 * a pending host interrupt at VM-Entry, but some emulators do not; without this a guest that polls
 * a register with its interrupts off would monopolise the host CPU there.
 */
#define LEAVE_EVERY 128

enum exit_kind {
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_CALL,
};

/* Top byte of the number of every synthetic MSR. */
#define SYNTHETIC (KHV_MSR_BASE >> 24)
static_assert(KHV_MSR_NESTED_BASE >> 24 == SYNTHETIC);

static __always_inline bool is_synthetic(const struct kvm_vcpu *vcpu)
{
	return (u32)vcpu->arch.regs[VCPU_REGS_RCX] >> 24 == SYNTHETIC;
}

static __always_inline unsigned long rflags(const struct kvm_vcpu *vcpu, bool svm)
{
	return svm ? khv_vmcb(vcpu)->save.rflags : khv_vmread(GUEST_RFLAGS);
}

static __always_inline bool is_64bit(const struct kvm_vcpu *vcpu, bool svm)
{
	if (!(vcpu->arch.efer & EFER_LMA))
		return false;
	return svm ? khv_vmcb(vcpu)->save.cs.attrib & SVM_SELECTOR_L_MASK :
		     khv_vmread(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK;
}

/* Like khv_may_hypercall(): protected mode and CPL 0. */
static __always_inline bool may_call(const struct kvm_vcpu *vcpu, bool svm)
{
	/* SVM may not intercept writes to CR0, so that vcpu->arch.cr0 may be stale. */
	if (svm)
		return (khv_vmcb(vcpu)->save.cr0 & X86_CR0_PE) && !khv_vmcb(vcpu)->save.cpl;
	return (vcpu->arch.cr0 & X86_CR0_PE) && !VMX_AR_DPL(khv_vmread(GUEST_SS_AR_BYTES));
}

/* Conditions under which every exit needs the slow path, whatever its row. */
static __always_inline enum khv_fast_result check_guest(struct kvm_vcpu *vcpu, enum exit_kind kind,
							bool svm)
{
	if (vcpu->arch.guest_state_protected || vcpu->guest_debug || khv_in_smm(vcpu) ||
	    (rflags(vcpu, svm) & (X86_EFLAGS_TF | X86_EFLAGS_RF)))
		return KHV_FAST_STATE;
	if (unlikely(vcpu->arch.pmu.version) && !insn_retired && khv_pmu_counts(&vcpu->arch.pmu))
		return KHV_FAST_PMU;
	if (khv_event_on(khv_exit_event) || (kind != EXIT_CALL && khv_event_on(khv_msr_event)))
		return KHV_FAST_TRACED;
	return KHV_FAST_DONE;
}

static __always_inline enum khv_fast_result
check_msr(struct kvm_vcpu *vcpu, const struct khv_vcpu *vp, u32 msr, int row, bool write)
{
	struct kvm_arch *ka = &vcpu->kvm->arch;

	if (!(khv_msrs[row].flags & (write ? KHV_MSR_ATOMIC_WR : KHV_MSR_ATOMIC_RD)))
		return KHV_FAST_ROW;
	/* The Xen hypercall MSR may have any number that user space chooses. */
	if (!(vp->gate.msr & BIT_ULL(row)) || (write && msr == ka->xen_hvm_config.msr))
		return KHV_FAST_REFUSED;
	/*
	 * Most VMMs install an MSR filter. Do not cache the verdict: only KVM knows when it
	 * changes.
	 */
	if (rcu_access_pointer(ka->msr_filter) &&
	    !khv_kvm_msr_allowed(vcpu, msr, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ))
		return KHV_FAST_FILTER;
	return KHV_FAST_DONE;
}

static __always_inline enum khv_fast_result check_call(struct kvm_vcpu *vcpu, int row, bool svm)
{
	const struct kvm_arch *ka = &vcpu->kvm->arch;

	if (row < 0 || !(khv_hcs[row].flags & KHV_ATOMIC))
		return KHV_FAST_ROW;
	if (!ka->hyperv.hv_guest_os_id ||
	    (ka->xen_hvm_config.flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL) || !may_call(vcpu, svm))
		return KHV_FAST_REFUSED;
	return KHV_FAST_DONE;
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

/*
 * The RIP at which the guest resumes. Found before the handler runs, because an answer cannot be
 * taken back. Return: 0 if unknown.
 */
static __always_inline unsigned long next_rip(struct kvm_vcpu *vcpu, enum exit_kind kind, bool svm)
{
	unsigned long rip, next;

	if (svm) {
		const struct vmcb_control_area *control = &khv_vmcb(vcpu)->control;

		if (static_branch_likely(&nrips) && control->next_rip)
			return control->next_rip;
		rip = khv_vmcb(vcpu)->save.rip;
		next = insn_length(vcpu, kind);
		if (!next)
			return 0;
		next += rip;
	} else {
		rip = khv_vmread(GUEST_RIP);
		next = rip + khv_vmread(VM_EXIT_INSTRUCTION_LEN);
	}
	/* Outside 64-bit mode RIP wraps at 4 GB. */
	if (unlikely(((next ^ rip) >> 31) == 3) && !is_64bit(vcpu, svm))
		next = (u32)next;
	return next;
}

/* Mirrors the vendors' skip_emulated_instruction(): also end the interrupt shadow. */
static __always_inline void skip_to(struct kvm_vcpu *vcpu, unsigned long next, bool svm)
{
	vcpu->arch.regs[VCPU_REGS_RIP] = next;
	if (svm) {
		khv_vmcb(vcpu)->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	} else {
		u32 shadow = khv_vmread(GUEST_INTERRUPTIBILITY_INFO);

		vcpu->arch.regs_avail |= BIT(VCPU_REGS_RIP);
		vcpu->arch.regs_dirty |= BIT(VCPU_REGS_RIP);
		if (unlikely(shadow & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))) {
			shadow &= ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
			khv_vmwrite(GUEST_INTERRUPTIBILITY_INFO, shadow);
		}
	}
}

/*
 * Mirrors kvm_skip_emulated_instruction(): the guest's PMU counts the skipped instruction as
 * retired.
 */
static noinline void count_skipped(struct kvm_vcpu *vcpu)
{
	if (!khv_pmu_counts(&vcpu->arch.pmu))
		return;
	kvm_vcpu_srcu_read_lock(vcpu);
	static_call(khv_pmu_trigger_event)(vcpu, *insn_retired);
	kvm_vcpu_srcu_read_unlock(vcpu);
}

static __always_inline fastpath_t answer_exit(struct kvm_vcpu *vcpu, enum exit_kind kind, bool svm)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	const unsigned long *regs = vcpu->arch.regs;
	bool l2 = kind == EXIT_CALL && khv_in_l2(vcpu), longmode = false;
	enum khv_fast_result ret;
	unsigned long next;
	int row;

	/* After a failed VM-Entry the VMCS still describes the previous VM-Exit. */
	if (!static_branch_likely(&answering) || (!svm && khv_vmx_failed(vcpu)))
		return EXIT_FASTPATH_NONE;
	/*
	 * A VM-Exit of L2 belongs to L1, except for hypercalls that L1 leaves to the module (direct
	 * flush). If the vCPU then leaves the inner loop, KVM decides again whose exit this was, by
	 * the call code, before it sees that the exit is handled. In 64-bit mode RCX still holds
	 * the code; in 32-bit mode RAX holds the result by then, so leave 32-bit callers to the
	 * slow path.
	 */
	if (kind == EXIT_CALL) {
		longmode = is_64bit(vcpu, svm);
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

	ret = check_guest(vcpu, kind, svm);
	if (ret == KHV_FAST_DONE)
		ret = kind == EXIT_CALL ?
			      check_call(vcpu, row, svm) :
			      check_msr(vcpu, vp, regs[VCPU_REGS_RCX], row, kind == EXIT_WRMSR);
	if (ret == KHV_FAST_DONE) {
		next = next_rip(vcpu, kind, svm);
		if (unlikely(!next))
			ret = KHV_FAST_SKIP;
		else if (kind == EXIT_CALL)
			ret = answer_call(vcpu, vp, row, longmode, l2);
		else
			ret = answer_msr(vcpu, vp, row, kind == EXIT_WRMSR);
	}
	if (unlikely(ret != KHV_FAST_DONE)) {
		vp->counts.fast[ret]++;
		return EXIT_FASTPATH_NONE;
	}
	skip_to(vcpu, next, svm);
	/* No handler changes whether the PMU counts, so check_guest()'s verdict still holds. */
	if (unlikely(vcpu->arch.pmu.version))
		count_skipped(vcpu);
	if (unlikely(++vp->counts.fast[KHV_FAST_DONE] % LEAVE_EVERY == 0))
		return EXIT_FASTPATH_EXIT_HANDLED;
	return EXIT_FASTPATH_REENTER_GUEST;
}

/* One function per vendor and kind of exit, so that the compiler drops the tests of the others. */
static noinline fastpath_t answer_rdmsr_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_RDMSR, true);
}

static noinline fastpath_t answer_wrmsr_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_WRMSR, true);
}

static noinline fastpath_t answer_call_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_CALL, true);
}

static noinline fastpath_t answer_rdmsr_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_RDMSR, false);
}

static noinline fastpath_t answer_wrmsr_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_WRMSR, false);
}

static noinline fastpath_t answer_call_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, EXIT_CALL, false);
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

/* Why this host cannot have a fast path, or NULL. The rest of the module works without it. */
static const char *unfit(void)
{
	const bool *unrestricted;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return "a PREEMPT_RT kernel's spinlocks sleep";
	if (khv_svm)
		return NULL;
	/* KVM on Hyper-V may use an enlightened VMCS, which VMREAD does not read. */
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return "this host runs on Hyper-V";
	/*
	 * Without unrestricted guests KVM emulates real mode, and reports exits that are not in the
	 * VMCS.
	 */
	unrestricted = (void *)khv_symbol("kvm_intel", "enable_unrestricted_guest");
	if (!unrestricted || !*unrestricted)
		return "kvm_intel runs without unrestricted guests";
	return NULL;
}

int khv_fastpath_check(void (*report)(const char *name, const char *why))
{
	int missing = 0;

	kvm_key = (void *)khv_symbol("kvm", "__SCK__kvm_x86_vcpu_run");
	kvm_trampoline = (void *)khv_symbol("kvm", "__SCT__kvm_x86_vcpu_run");
	kvm_nrips = khv_svm ? (void *)khv_symbol("kvm_amd", "nrips") : NULL;
	/*
	 * A KVM that has kvm_pmu_eventsel, whose first member is the event of retired instructions,
	 * has a kvm_pmu_trigger_event() that takes an event selector, only counts, and makes a
	 * request. Older versions take a perf_hw_id and may sleep.
	 */
	pmu_trigger_event = (void *)khv_symbol("kvm", "kvm_pmu_trigger_event");
	insn_retired = pmu_trigger_event ? (void *)khv_symbol("kvm", "kvm_pmu_eventsel") : NULL;
	if (!kvm_key || !kvm_trampoline || !khv_x86_ops || !khv_x86_ops->vcpu_run) {
		report("kvm_x86_vcpu_run", "where the exit fast path begins");
		missing++;
	}
	if (khv_svm && !kvm_nrips) {
		report("nrips", "whether this CPU tells the next instruction");
		missing++;
	}
	return missing;
}

static bool installed;

void khv_fastpath_install(void)
{
	const char *why = unfit();

	if (why) {
		pr_info("no exit fast path: %s\n", why);
		return;
	}
	if (khv_svm && *kvm_nrips)
		static_branch_enable(&nrips);
	if (insn_retired)
		static_call_update(khv_pmu_trigger_event, pmu_trigger_event);
	static_call_update(khv_call_vcpu_run, khv_x86_ops->vcpu_run);
	__static_call_update(kvm_key, kvm_trampoline,
			     khv_svm ? khv_vcpu_run_svm : khv_vcpu_run_vmx);
	installed = true;
}

void khv_fastpath_remove(void)
{
	if (!installed)
		return;
	__static_call_update(kvm_key, kvm_trampoline, khv_x86_ops->vcpu_run);
	installed = false;
	/*
	 * KVM calls the static call with interrupts off, and dispatch.awk proves that a vCPU of
	 * another VM leaves the module by a jump, without a frame. So no CPU executes the
	 * replacement once each has had interrupts on. RCU counts guest mode as a quiescent state,
	 * too: a CPU in the guest of another VM has no frame of the module to return to.
	 */
	synchronize_rcu();
}
