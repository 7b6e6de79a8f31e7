// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes VMs of one process look like those whose state the host cannot see, on a host that has
 * neither SEV nor TDX. All that KVM and the vendor module do is done for a default VM; only what
 * kvm-hyperv looks at is changed.
 *
 *   pid=        the process
 *   type=       the type of its next VMs, from where vendor code has made a default VM of one until
 *               kvm_arch_init_vm() returns; kvm_hv_init_vm() is called in between
 *   protect=    KVM_GET_MP_STATE sets guest_state_protected of the vCPU to this. KVM reads it of a
 *               default VM, too, but where such a VM ends; the process must keep to 64-bit code
 *   slow=       (read) how many accesses of such vCPUs KVM's own exit handlers got
 *   registers=  (read) GPRs as the handler found them, in KVM's order, at the last of these
 *   rip=        (read) RIP, likewise; 0 if nobody has read it from the VMCS
 *
 * No function that kvm-hyperv replaces is probed: ftrace lets two users share none of them.
 */
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

#define NR_GPRS (VCPU_REGS_R15 + 1)

static int pid;
module_param(pid, int, 0);
static unsigned int type;
module_param(type, uint, 0);
static bool protect;
module_param(protect, bool, 0644);
static unsigned long slow;
module_param(slow, ulong, 0444);
static unsigned long registers[NR_GPRS];
module_param_array(registers, ulong, NULL, 0444);
static unsigned long rip;
module_param(rip, ulong, 0444);

static bool is_wanted(void)
{
	return current->tgid == pid;
}

#ifdef GUEST_HAVE_TYPE
/* Both functions have the VM as their first parameter. */
static int vm_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct kvm **)instance->data = (struct kvm *)regs_get_kernel_argument(regs, 0);
	return is_wanted() ? 0 : 1;
}

static int vendor_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kvm *kvm = *(struct kvm **)instance->data;

	if (!regs_return_value(regs))
		kvm->arch.vm_type = type;
	return 0;
}

static int init_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kvm *kvm = *(struct kvm **)instance->data;

	kvm->arch.vm_type = KVM_X86_DEFAULT_VM;
	return 0;
}

static struct kretprobe vendor_init = {
	.entry_handler = vm_entry,
	.handler = vendor_return,
	.data_size = sizeof(struct kvm *),
};
static struct kretprobe vm_init = {
	.kp.symbol_name = "kvm_arch_init_vm",
	.entry_handler = vm_entry,
	.handler = init_return,
	.data_size = sizeof(struct kvm *),
};

static int type_init(void)
{
	int ret = register_kretprobe(&vm_init);

	if (ret)
		return ret;
	vendor_init.kp.symbol_name = boot_cpu_has(X86_FEATURE_SVM) ? "svm_vm_init" : "vmx_vm_init";
	ret = register_kretprobe(&vendor_init);
	if (ret)
		unregister_kretprobe(&vm_init);
	return ret;
}

static void type_exit(void)
{
	unregister_kretprobe(&vendor_init);
	unregister_kretprobe(&vm_init);
}
#else
static int type_init(void)
{
	return type ? -EOPNOTSUPP : 0;
}

static void type_exit(void)
{
}
#endif

/* The ioctl holds the vCPU's mutex: it does not run. */
static int mp_state_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)regs_get_kernel_argument(regs, 0);

	if (is_wanted())
		vcpu->arch.guest_state_protected = protect;
	return 0;
}

static int handler_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)regs_get_kernel_argument(regs, 0);

	if (!is_wanted() || !vcpu->arch.guest_state_protected)
		return 0;
	memcpy(registers, vcpu->arch.regs, sizeof(registers));
#ifdef GUEST_ARCH_RIP
	rip = test_bit(VCPU_REG_RIP, vcpu->arch.regs_avail) ? vcpu->arch.rip : 0;
#else
	rip = vcpu->arch.regs_avail & BIT(VCPU_REGS_RIP) ? vcpu->arch.regs[VCPU_REGS_RIP] : 0;
#endif
	slow++;
	return 0;
}

static struct kprobe on_mp_state = {
	.symbol_name = "kvm_arch_vcpu_ioctl_get_mpstate",
	.pre_handler = mp_state_entry,
};
static struct kprobe on_rdmsr = {
	.symbol_name = "kvm_emulate_rdmsr",
	.pre_handler = handler_entry,
};
static struct kprobe on_wrmsr = {
	.symbol_name = "kvm_emulate_wrmsr",
	.pre_handler = handler_entry,
};
static struct kprobe on_call = {
	.symbol_name = "kvm_emulate_hypercall",
	.pre_handler = handler_entry,
};
static struct kprobe *probes[] = { &on_mp_state, &on_rdmsr, &on_wrmsr, &on_call };

static int __init protected_guest_init(void)
{
	int ret = type_init();

	if (ret)
		return ret;
	ret = register_kprobes(probes, ARRAY_SIZE(probes));
	if (ret)
		type_exit();
	return ret;
}

static void __exit protected_guest_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
	type_exit();
}

module_init(protected_guest_init);
module_exit(protected_guest_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VMs that look protected, for tests of kvm-hyperv");
