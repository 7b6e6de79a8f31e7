// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor of the benchmark: answers RDMSR of three numbers that nobody else has right after
 * the exit, with nothing, and enters the guest again. What is left is what every answer has to
 * pay: the world switch, and the way to skip the instruction.
 *
 *   0x4b480000  the instruction's length is taken as known: the bare world switch
 *   0x4b480001  skipped by KVM, as KVM's own answers are
 *   0x4b480002  skipped after a look at its bytes, as kvm-hyperv does on CPUs without NRIPS
 *
 * For one guest of a benchmark on one CPU; it has no owner, no preflight and no mercy.
 */
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#define FIRST 0x4b480000
#define WAYS  3

struct x86_exception;

unsigned long lookup_name(const char *name);
fastpath_t vendor_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);
int skip_instruction(struct kvm_vcpu *vcpu);
unsigned long linear_rip(struct kvm_vcpu *vcpu);
gpa_t gva_to_gpa(struct kvm_vcpu *vcpu, gva_t gva, struct x86_exception *exception);
int read_guest(struct kvm_vcpu *vcpu, gpa_t gpa, void *data, unsigned long len);
DEFINE_STATIC_CALL_NULL(lookup, lookup_name);
DEFINE_STATIC_CALL_NULL(vendor, vendor_vcpu_run);
DEFINE_STATIC_CALL_NULL(skip, skip_instruction);
DEFINE_STATIC_CALL_NULL(rip, linear_rip);
DEFINE_STATIC_CALL_NULL(translate, gva_to_gpa);
DEFINE_STATIC_CALL_NULL(read, read_guest);

static struct static_call_key *key;
static void *trampoline;
static struct kvm_x86_ops *ops;
static bool svm;

static bool is_rdmsr(struct kvm_vcpu *vcpu)
{
	unsigned long reason;

	if (svm) {
		const struct vmcb *vmcb = *(struct vmcb **)(vcpu + 1);

		return vmcb->control.exit_code == SVM_EXIT_MSR && !vmcb->control.exit_info_1;
	}
	asm volatile("vmread %1, %0" : "=r"(reason) : "r"((unsigned long)VM_EXIT_REASON) : "cc");
	return (u32)reason == EXIT_REASON_MSR_READ;
}

static void advance(struct kvm_vcpu *vcpu)
{
	unsigned long at;

	if (svm) {
#ifdef FLOOR_ARCH_RIP
		vcpu->arch.rip += 2;
#else
		vcpu->arch.regs[VCPU_REGS_RIP] += 2;
#endif
		return;
	}
	asm volatile("vmread %1, %0" : "=r"(at) : "r"((unsigned long)GUEST_RIP) : "cc");
	asm volatile("vmwrite %0, %1" : : "r"(at + 2), "r"((unsigned long)GUEST_RIP) : "cc");
}

/* As kvm-hyperv's insn_length(), which is not there while this is. */
static noinline void look_and_advance(struct kvm_vcpu *vcpu)
{
	unsigned long at = static_call(rip)(vcpu);
	u32 insn = 0;
	gpa_t gpa;

	if (offset_in_page(at) + 2 > PAGE_SIZE)
		return;
	if (svm)
		vcpu->arch.cr3 = (*(struct vmcb **)(vcpu + 1))->save.cr3;
	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	gpa = static_call(translate)(vcpu, at, NULL);
	static_call(read)(vcpu, gpa, &insn, 2);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	if (insn == 0x320f)
		advance(vcpu);
}

static fastpath_t floor_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags)
{
	fastpath_t ret = static_call(vendor)(vcpu, run_flags);
	u32 way = (u32)vcpu->arch.regs[VCPU_REGS_RCX] - FIRST;

	if (ret != EXIT_FASTPATH_NONE || way >= WAYS || !is_rdmsr(vcpu))
		return ret;
	if (!way) {
		advance(vcpu);
		return EXIT_FASTPATH_REENTER_GUEST;
	}
	if (way == 2) {
		look_and_advance(vcpu);
		return EXIT_FASTPATH_REENTER_GUEST;
	}
	kvm_vcpu_srcu_read_lock(vcpu);
	static_call(skip)(vcpu);
	kvm_vcpu_srcu_read_unlock(vcpu);
	return EXIT_FASTPATH_REENTER_GUEST;
}

static void *find(const char *name)
{
	return (void *)static_call(lookup)(name);
}

static int __init floor_init(void)
{
	struct kprobe probe = {
		.symbol_name = "kallsyms_lookup_name",
		.flags = KPROBE_FLAG_DISABLED,
	};
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	static_call_update(lookup, (void *)probe.addr);
	unregister_kprobe(&probe);

	key = find("kvm:__SCK__kvm_x86_vcpu_run");
	trampoline = find("kvm:__SCT__kvm_x86_vcpu_run");
	ops = find("kvm:kvm_x86_ops");
	svm = boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
	if (!key || !trampoline || !ops || !ops->vcpu_run)
		return -ENOENT;
	/* kvm-hyperv asks for the same ones, and says so where they are missing. */
	static_call_update(skip, find("kvm:kvm_skip_emulated_instruction"));
	static_call_update(rip, find("kvm:kvm_get_linear_rip"));
	static_call_update(translate, find("kvm:kvm_mmu_gva_to_gpa_read"));
	static_call_update(read, find("kvm:kvm_vcpu_read_guest_atomic"));
	static_call_update(vendor, ops->vcpu_run);
	__static_call_update(key, trampoline, floor_vcpu_run);
	return 0;
}

static void __exit floor_exit(void)
{
	__static_call_update(key, trampoline, ops->vcpu_run);
	synchronize_rcu();
}

module_init(floor_init);
module_exit(floor_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What an exit from a KVM guest costs that is answered by doing nothing");
