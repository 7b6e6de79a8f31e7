// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit fast path: kvm_x86_vcpu_run, KVM's static call to the vendor's function, is
 * replaced. When that returns from the guest with an exit that is a row's, the row's
 * handler is called at once, interrupts still off, and the guest entered again. In every
 * other case nothing is done, and KVM's slow path leads to the same handler. Nothing in
 * here sleeps, takes a mutex or waits for another CPU; a guest page is only looked at
 * where that cannot fault.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/static_call.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <asm/hypervisor.h>
#include <asm/perf_event.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#include "khv/fastpath.h"
#include "khv/parts.h"
#include "khv/port.h"

/* The module parameter of that name. */
bool khv_fastpath = true;

typedef fastpath_t khv_proto_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);
DEFINE_STATIC_CALL_NULL(khv_call_vcpu_run, khv_proto_vcpu_run);

static struct static_call_key *kvm_key;
static void *kvm_trampoline;
static const struct tracepoint *kvm_msr_event, *kvm_exit_event, *kvm_eoi_event;
/* kvm_amd's parameter; unused on Intel. */
static const int *nrips;

/*
 * One answer in so many leaves KVM's inner loop, where the host takes interrupts. A CPU
 * takes one that is pending at the VM entry; emulators were seen that do not, and there a
 * guest polling a register with its interrupts off would have the host's CPU for itself.
 */
#define LEAVE_EVERY 128

enum exit_kind {
	EXIT_OTHER,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_CALL,
};

/*
 * The first look at every exit of a VM of ours: most are KVM's. On Intel it lets pass what
 * has further bits beside the reason, or did not come from the guest at all; exit_kind()
 * looks closer.
 */
#define VMX_REASONS                                                       \
	(BIT_ULL(EXIT_REASON_MSR_READ) | BIT_ULL(EXIT_REASON_MSR_WRITE) | \
	 BIT_ULL(EXIT_REASON_VMCALL))

static __always_inline bool may_be_ours(const struct kvm_vcpu *vcpu, bool svm)
{
	u32 code;

	if (!svm)
		return VMX_REASONS >> (khv_vmread(VM_EXIT_REASON) % 64) & 1;
	code = khv_vmcb(vcpu)->control.exit_code;
	return code == SVM_EXIT_MSR || code == SVM_EXIT_VMMCALL;
}

static __always_inline enum exit_kind exit_kind(const struct kvm_vcpu *vcpu, bool svm)
{
	const struct vmcb_control_area *control;
	u32 reason;

	if (svm) {
		control = &khv_vmcb(vcpu)->control;
		if (control->exit_code == SVM_EXIT_VMMCALL)
			return EXIT_CALL;
		return control->exit_info_1 ? EXIT_WRMSR : EXIT_RDMSR;
	}
	/* The entry failed: the VMCS tells of the exit before. */
	if (khv_vmx_failed(vcpu))
		return EXIT_OTHER;
	reason = khv_vmread(VM_EXIT_REASON);
	if (reason == EXIT_REASON_MSR_READ)
		return EXIT_RDMSR;
	if (reason == EXIT_REASON_MSR_WRITE)
		return EXIT_WRMSR;
	return reason == EXIT_REASON_VMCALL ? EXIT_CALL : EXIT_OTHER;
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

/* As khv_may_hypercall(): protected mode, CPL 0. */
static __always_inline bool may_call(const struct kvm_vcpu *vcpu, bool svm)
{
	/* SVM need not intercept writes of CR0: KVM's copy may be old. */
	if (svm)
		return (khv_vmcb(vcpu)->save.cr0 & X86_CR0_PE) && !khv_vmcb(vcpu)->save.cpl;
	return (vcpu->arch.cr0 & X86_CR0_PE) && !VMX_AR_DPL(khv_vmread(GUEST_SS_AR_BYTES));
}

static __always_inline int event_on(const struct tracepoint *event)
{
	return atomic_read(&event->key.enabled);
}

bool khv_eoi_traced(void)
{
	return event_on(kvm_eoi_event);
}

/* A counter of retired instructions has to be told of the one that is skipped. */
static bool pmu_counts(const struct kvm_pmu *pmu)
{
	unsigned int i;

	if (pmu->fixed_ctr_ctrl)
		return true;
	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		if (pmu->gp_counters[i].eventsel & ARCH_PERFMON_EVENTSEL_ENABLE)
			return true;
	}
	return false;
}

/* What the slow path would have to be taken for, whatever the row. */
static __always_inline enum khv_fast_result look_at_guest(struct kvm_vcpu *vcpu, bool svm)
{
	if (vcpu->arch.guest_state_protected || vcpu->guest_debug ||
	    (vcpu->arch.hflags & HF_SMM_MASK) ||
	    (rflags(vcpu, svm) & (X86_EFLAGS_TF | X86_EFLAGS_RF)))
		return KHV_FAST_STATE;
	if (vcpu->arch.pmu.version && pmu_counts(&vcpu->arch.pmu))
		return KHV_FAST_STATE;
	if (event_on(kvm_msr_event) | event_on(kvm_exit_event))
		return KHV_FAST_TRACED;
	return KHV_FAST_DONE;
}

static __always_inline enum khv_fast_result look_at_msr(struct kvm_vcpu *vcpu, u32 msr, int row,
							bool write)
{
	struct kvm_arch *ka = &vcpu->kvm->arch;

	if (!(khv_msrs[row].flags & (write ? KHV_MSR_ATOMIC_WR : KHV_MSR_ATOMIC_RD)))
		return KHV_FAST_ROW;
	/* User space may have made any number Xen's. */
	if (!(to_khv_vcpu(vcpu)->gate.msr & BIT_ULL(row)) ||
	    (write && msr == ka->xen_hvm_config.msr))
		return KHV_FAST_REFUSED;
	/* Most VMMs install a filter; KVM alone knows until when its verdict holds. */
	if (rcu_access_pointer(ka->msr_filter) &&
	    !khv_kvm_msr_allowed(vcpu, msr, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ))
		return KHV_FAST_FILTER;
	return KHV_FAST_DONE;
}

static __always_inline enum khv_fast_result look_at_call(struct kvm_vcpu *vcpu, u64 control,
							 int row, bool svm)
{
	const struct kvm_arch *ka = &vcpu->kvm->arch;

	if (row < 0 || !(khv_hcs[row].flags & KHV_ATOMIC))
		return KHV_FAST_ROW;
	if (!(control & KHV_CTL_FAST))
		return KHV_FAST_FORM;
	if (!ka->hyperv.hv_guest_os_id ||
	    (ka->xen_hvm_config.flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL) || !may_call(vcpu, svm))
		return KHV_FAST_REFUSED;
	return KHV_FAST_DONE;
}

/*
 * Where an AMD CPU does not say where the next instruction is, KVM asks its emulator,
 * which may sleep. RDMSR, WRMSR and VMMCALL are known by their bytes. Returns their
 * length, or 0 when they are not at hand or have a prefix.
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
	u32 insn = 0;
	gpa_t gpa;
	int ret;

	if (offset_in_page(rip) + len > PAGE_SIZE)
		return 0;
	/* Nobody intercepts writes of CR3 here, and KVM's copy is from the last slow exit. */
	if (*khv_tdp_enabled)
		vcpu->arch.cr3 = khv_vmcb(vcpu)->save.cr3;
	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	gpa = khv_kvm_mmu_gva_to_gpa_read(vcpu, rip, NULL);
	ret = gpa == INVALID_GPA || khv_kvm_vcpu_read_guest_atomic(vcpu, gpa, &insn, len);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	return ret || insn != opcode[kind] ? 0 : len;
}

/*
 * Where the guest goes on; found before the handler is called, so that an answer is never
 * taken back. Returns 0 where that is not known.
 */
static __always_inline unsigned long next_rip(struct kvm_vcpu *vcpu, enum exit_kind kind, bool svm)
{
	unsigned long rip, next;

	if (svm) {
		const struct vmcb_control_area *control = &khv_vmcb(vcpu)->control;

		if (*nrips && control->next_rip)
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
	/* Only at the end of the low 4 GB does it matter how wide RIP is. */
	if (unlikely(((next ^ rip) >> 31) == 3) && !is_64bit(vcpu, svm))
		next = (u32)next;
	return next;
}

/* As the vendors' skip_emulated_instruction(): the interrupt shadow ends, too. */
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
			asm volatile("vmwrite %0, %1"
				     :
				     : "r"((unsigned long)shadow),
				       "r"((unsigned long)GUEST_INTERRUPTIBILITY_INFO)
				     : "cc");
		}
	}
}

static __always_inline fastpath_t answer_exit(struct kvm_vcpu *vcpu, bool svm)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	enum exit_kind kind = exit_kind(vcpu, svm);
	const unsigned long *regs = vcpu->arch.regs;
	enum khv_fast_result ret;
	bool longmode = false;
	unsigned long next;
	u64 control = 0;
	int row;

	/* Exits of a nested guest are its hypervisor's first; other MSRs are KVM's. */
	if (!vp || khv_in_l2(vcpu) || kind == EXIT_OTHER)
		return EXIT_FASTPATH_NONE;
	if (kind == EXIT_CALL) {
		longmode = is_64bit(vcpu, svm);
		control = regs[longmode ? VCPU_REGS_RCX : VCPU_REGS_RAX];
		row = khv_hc_find(control & KHV_CTL_CODE);
	} else {
		row = khv_msr_find(regs[VCPU_REGS_RCX]);
		if (row < 0)
			return EXIT_FASTPATH_NONE;
	}

	ret = look_at_guest(vcpu, svm);
	if (ret == KHV_FAST_DONE)
		ret = kind == EXIT_CALL ?
			      look_at_call(vcpu, control, row, svm) :
			      look_at_msr(vcpu, regs[VCPU_REGS_RCX], row, kind == EXIT_WRMSR);
	if (ret == KHV_FAST_DONE) {
		next = next_rip(vcpu, kind, svm);
		if (unlikely(!next))
			ret = KHV_FAST_SKIP;
		else if (kind == EXIT_CALL)
			ret = khv_hypercall_fast(vcpu, row, longmode);
		else
			ret = khv_msr_fast(vcpu, row, kind == EXIT_WRMSR);
	}
	if (unlikely(ret != KHV_FAST_DONE)) {
		vp->counts.fast[ret]++;
		return EXIT_FASTPATH_NONE;
	}
	skip_to(vcpu, next, svm);
	if (unlikely(++vp->counts.fast[KHV_FAST_DONE] % LEAVE_EVERY == 0))
		return EXIT_FASTPATH_EXIT_HANDLED;
	return EXIT_FASTPATH_REENTER_GUEST;
}

static noinline fastpath_t answer_exit_svm(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, true);
}

static noinline fastpath_t answer_exit_vmx(struct kvm_vcpu *vcpu)
{
	return answer_exit(vcpu, false);
}

static __always_inline fastpath_t run_ours(struct kvm_vcpu *vcpu, u64 run_flags, bool svm)
{
	fastpath_t ret = static_call(khv_call_vcpu_run)(vcpu, run_flags);

	if (ret != EXIT_FASTPATH_NONE || likely(!may_be_ours(vcpu, svm)) ||
	    !READ_ONCE(khv_fastpath))
		return ret;
	return svm ? answer_exit_svm(vcpu) : answer_exit_vmx(vcpu);
}

/* Functions of their own, so that what is not ours pays for no stack frame. */
static noinline fastpath_t run_ours_svm(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return run_ours(vcpu, run_flags, true);
}

static noinline fastpath_t run_ours_vmx(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return run_ours(vcpu, run_flags, false);
}

static fastpath_t khv_hook_vcpu_run_svm(struct kvm_vcpu *vcpu, u64 run_flags)
{
	if (to_khv_vm(vcpu->kvm))
		return run_ours_svm(vcpu, run_flags);
	return static_call(khv_call_vcpu_run)(vcpu, run_flags);
}

static fastpath_t khv_hook_vcpu_run_vmx(struct kvm_vcpu *vcpu, u64 run_flags)
{
	if (to_khv_vm(vcpu->kvm))
		return run_ours_vmx(vcpu, run_flags);
	return static_call(khv_call_vcpu_run)(vcpu, run_flags);
}

/* Reasons for which a host has no fast path; everything else works without. */
static const char *unfit(void)
{
	const bool *unrestricted;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return "a PREEMPT_RT kernel's spinlocks sleep";
	if (khv_svm)
		return NULL;
	/* There the VMCS is Hyper-V's, and is not read by an instruction. */
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return "this host runs on Hyper-V";
	/* Without, KVM emulates real mode, and reports exits that the VMCS does not know. */
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
	kvm_msr_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_msr");
	kvm_exit_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_exit");
	kvm_eoi_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_eoi");
	nrips = khv_svm ? (void *)khv_symbol("kvm_amd", "nrips") : NULL;
	if (!kvm_key || !kvm_trampoline || !khv_x86_ops || !khv_x86_ops->vcpu_run) {
		report("kvm_x86_vcpu_run", "where the exit fast path begins");
		missing++;
	}
	if (!kvm_msr_event || !kvm_exit_event || !kvm_eoi_event) {
		report("kvm_msr, kvm_exit, kvm_eoi",
		       "tracepoints that the fast path must not starve");
		missing++;
	}
	if (khv_svm && !nrips) {
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
	static_call_update(khv_call_vcpu_run, khv_x86_ops->vcpu_run);
	__static_call_update(kvm_key, kvm_trampoline,
			     khv_svm ? khv_hook_vcpu_run_svm : khv_hook_vcpu_run_vmx);
	installed = true;
}

void khv_fastpath_remove(void)
{
	if (!installed)
		return;
	__static_call_update(kvm_key, kvm_trampoline, khv_x86_ops->vcpu_run);
	installed = false;
	/*
	 * KVM calls it with interrupts off, and a VM that is not ours leaves by a jump:
	 * when every CPU has had them on, nobody is inside.
	 */
	synchronize_rcu();
}
