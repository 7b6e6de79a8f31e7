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
static const struct tracepoint *kvm_msr_event, *kvm_exit_event;
/* kvm_amd's parameter; unused on Intel. */
static const int *nrips;

/*
 * One answer in so many leaves KVM's inner loop, where the host takes interrupts. A CPU
 * takes one that is pending at the VM entry; emulators were seen that do not, and there a
 * guest polling a register with its interrupts off would have the host's CPU for itself.
 */
#define LEAVE_EVERY 128

#define RAX VCPU_REGS_RAX
#define RCX VCPU_REGS_RCX
#define RDX VCPU_REGS_RDX
#define RIP VCPU_REGS_RIP

enum exit_kind {
	EXIT_OTHER,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_CALL,
};

/*
 * What the exit was, without get_exit_info(), which costs more than the rest of an exit
 * that is not ours may. Both vendors keep what is needed right behind struct kvm_vcpu.
 */
static __always_inline struct vmcb *svm_vmcb(const struct kvm_vcpu *vcpu)
{
	return *(struct vmcb **)(vcpu + 1);
}

static __always_inline enum exit_kind svm_exit_kind(const struct kvm_vcpu *vcpu)
{
	const struct vmcb_control_area *control = &svm_vmcb(vcpu)->control;

	if (control->exit_code == SVM_EXIT_MSR)
		return control->exit_info_1 ? EXIT_WRMSR : EXIT_RDMSR;
	return control->exit_code == SVM_EXIT_VMMCALL ? EXIT_CALL : EXIT_OTHER;
}

static __always_inline enum exit_kind vmx_exit_kind(const struct kvm_vcpu *vcpu)
{
	unsigned long reason;

	/* The entry failed: the VMCS tells of the exit before. */
	if (*(const u8 *)(vcpu + 1))
		return EXIT_OTHER;
	asm volatile("vmread %1, %0" : "=r"(reason) : "r"((unsigned long)VM_EXIT_REASON) : "cc");
	switch ((u32)reason) {
	case EXIT_REASON_MSR_READ:
		return EXIT_RDMSR;
	case EXIT_REASON_MSR_WRITE:
		return EXIT_WRMSR;
	case EXIT_REASON_VMCALL:
		return EXIT_CALL;
	}
	return EXIT_OTHER;
}

static bool event_on(const struct tracepoint *event)
{
	return static_key_enabled(&event->key);
}

/* What the slow path would have to be taken for, whatever the row. */
static enum khv_fast_result look_at_guest(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	struct kvm_arch *ka = &vcpu->kvm->arch;

	if (vcpu->arch.guest_state_protected || vcpu->guest_debug ||
	    (vcpu->arch.hflags & HF_SMM_MASK))
		return KHV_FAST_STATE;
	if (khv_x86_ops->get_rflags(vcpu) & (X86_EFLAGS_TF | X86_EFLAGS_RF))
		return KHV_FAST_STATE;
	if (event_on(kvm_msr_event) || event_on(kvm_exit_event))
		return KHV_FAST_TRACED;
	if (kind != EXIT_CALL)
		return rcu_access_pointer(ka->msr_filter) ? KHV_FAST_FILTER : KHV_FAST_DONE;
	if (!vcpu->arch.hyperv_enabled || !ka->hyperv.hv_guest_os_id ||
	    (ka->xen_hvm_config.flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL))
		return KHV_FAST_REFUSED;
	return KHV_FAST_DONE;
}

/*
 * Where an AMD CPU does not say where the next instruction is, KVM asks its emulator,
 * which may sleep. RDMSR, WRMSR and VMMCALL are known by their bytes. Returns their
 * length, or 0 when they are not at hand or have a prefix.
 */
static unsigned int insn_length(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	static const u8 opcode[][3] = {
		[EXIT_RDMSR] = { 0x0f, 0x32 },
		[EXIT_WRMSR] = { 0x0f, 0x30 },
		[EXIT_CALL] = { 0x0f, 0x01, 0xd9 },
	};
	unsigned int len = kind == EXIT_CALL ? 3 : 2;
	unsigned long rip = khv_kvm_get_linear_rip(vcpu);
	u8 bytes[3];
	gpa_t gpa;
	int ret;

	if (offset_in_page(rip) + len > PAGE_SIZE)
		return 0;
	pagefault_disable();
	gpa = khv_kvm_mmu_gva_to_gpa_read(vcpu, rip, NULL);
	ret = gpa == INVALID_GPA || khv_kvm_vcpu_read_guest_atomic(vcpu, gpa, bytes, len);
	pagefault_enable();
	return ret || memcmp(bytes, opcode[kind], len) ? 0 : len;
}

/* Prepared before the handler is called, so that an answer is never taken back. */
static bool can_skip(struct kvm_vcpu *vcpu, enum exit_kind kind, bool svm, unsigned int *len)
{
	*len = 0;
	if (!svm || (*nrips && svm_vmcb(vcpu)->control.next_rip))
		return true;
	*len = insn_length(vcpu, kind);
	return *len;
}

static void skip(struct kvm_vcpu *vcpu, unsigned int len)
{
	unsigned long *regs = vcpu->arch.regs;

	if (!len) {
		/* Without single step it always succeeds. */
		khv_kvm_skip_emulated_instruction(vcpu);
		return;
	}
	regs[RIP] += len;
	if (!khv_longmode(vcpu))
		regs[RIP] = (u32)regs[RIP];
	svm_vmcb(vcpu)->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

static enum khv_fast_result check(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	if (kind == EXIT_CALL)
		return khv_hypercall_fast_check(vcpu);
	return khv_msr_fast_check(vcpu, vcpu->arch.regs[RCX], kind == EXIT_WRMSR);
}

static enum khv_fast_result answer(struct kvm_vcpu *vcpu, enum exit_kind kind)
{
	unsigned long *regs = vcpu->arch.regs;
	enum khv_fast_result ret;
	u64 data;

	if (kind == EXIT_CALL)
		return khv_hypercall_fast(vcpu);

	data = (u32)regs[RAX] | (u64)regs[RDX] << 32;
	ret = khv_msr_fast(vcpu, regs[RCX], &data, kind == EXIT_WRMSR);
	if (ret == KHV_FAST_DONE && kind == EXIT_RDMSR) {
		regs[RAX] = (u32)data;
		regs[RDX] = data >> 32;
	}
	return ret;
}

static noinline fastpath_t answer_exit(struct kvm_vcpu *vcpu, enum exit_kind kind, bool svm)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	enum khv_fast_result ret;
	unsigned int len;
	u64 nr;

	/* Exits of a nested guest are its hypervisor's first; other MSRs are KVM's. */
	if (!vp || khv_in_l2(vcpu))
		return EXIT_FASTPATH_NONE;
	if (kind != EXIT_CALL && khv_msr_find(vcpu->arch.regs[RCX]) < 0)
		return EXIT_FASTPATH_NONE;

	kvm_vcpu_srcu_read_lock(vcpu);
	ret = look_at_guest(vcpu, kind);
	if (ret == KHV_FAST_DONE)
		ret = check(vcpu, kind);
	if (ret == KHV_FAST_DONE && !can_skip(vcpu, kind, svm, &len))
		ret = KHV_FAST_SKIP;
	if (ret == KHV_FAST_DONE)
		ret = answer(vcpu, kind);
	if (ret == KHV_FAST_DONE)
		skip(vcpu, len);
	nr = ++vp->counts.fast[ret];
	kvm_vcpu_srcu_read_unlock(vcpu);
	if (ret != KHV_FAST_DONE)
		return EXIT_FASTPATH_NONE;
	return nr % LEAVE_EVERY ? EXIT_FASTPATH_REENTER_GUEST : EXIT_FASTPATH_EXIT_HANDLED;
}

static __always_inline fastpath_t vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags, bool svm)
{
	enum exit_kind kind;
	fastpath_t ret;

	if (!to_khv_vm(vcpu->kvm) || !READ_ONCE(khv_fastpath))
		return static_call(khv_call_vcpu_run)(vcpu, run_flags);
	ret = static_call(khv_call_vcpu_run)(vcpu, run_flags);
	if (ret != EXIT_FASTPATH_NONE)
		return ret;
	kind = svm ? svm_exit_kind(vcpu) : vmx_exit_kind(vcpu);
	if (likely(kind == EXIT_OTHER))
		return ret;
	return answer_exit(vcpu, kind, svm);
}

static fastpath_t khv_hook_vcpu_run_svm(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return vcpu_run(vcpu, run_flags, true);
}

static fastpath_t khv_hook_vcpu_run_vmx(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return vcpu_run(vcpu, run_flags, false);
}

static bool svm;

/* Reasons for which a host has no fast path; everything else works without. */
static const char *unfit(void)
{
	const bool *unrestricted;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return "a PREEMPT_RT kernel's spinlocks sleep";
	if (svm)
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

int khv_fastpath_check(const char *vendor, void (*report)(const char *name, const char *why))
{
	int missing = 0;

	svm = !strcmp(vendor, "kvm_amd");
	kvm_key = (void *)khv_symbol("kvm", "__SCK__kvm_x86_vcpu_run");
	kvm_trampoline = (void *)khv_symbol("kvm", "__SCT__kvm_x86_vcpu_run");
	kvm_msr_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_msr");
	kvm_exit_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_exit");
	nrips = svm ? (void *)khv_symbol("kvm_amd", "nrips") : NULL;
	if (!kvm_key || !kvm_trampoline || !khv_x86_ops->vcpu_run || !khv_x86_ops->get_rflags) {
		report("kvm_x86_vcpu_run", "where the exit fast path begins");
		missing++;
	}
	if (!kvm_msr_event || !kvm_exit_event) {
		report("kvm_msr, kvm_exit", "tracepoints that the fast path must not starve");
		missing++;
	}
	if (svm && !nrips) {
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
			     svm ? khv_hook_vcpu_run_svm : khv_hook_vcpu_run_vmx);
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
