/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarations from arch/x86/kvm/, which headers packages do not contain: structures, and the list
 * of the functions that the module replaces (the hook table). A row has the means to find the owner
 * of a call, return type, name, parameters, arguments, and the sentence to print if the function is
 * missing. All of it is compared with the kernel's BTF, see contract.def.h.
 *
 * KHV_HOOK(module, owner, type, name, (parameters), (arguments), "what it would break")
 * KHV_HOOK_TO(module, owner, type, name, (parameters), (arguments), function, "...")
 * KHV_HOOK_VP(module, owner, type, name, (parameters), (arguments), function, "...")
 * The replacement is khv_hook_<name>() in hyperv/takeover/takeover.c, which in a row of the second
 * kind only calls that function, with the same parameters. In one of the third kind it does so if
 * the vCPU "vcpu" has a struct khv_vcpu, and else calls KVM's.
 * owner: how hyperv/takeover/dispatch.S finds the VM of a call. VCPU, KVM: by the first argument.
 * KVM_2ND: by the second, for the one function that Kbuild.include names to dispatch.awk. RUNNING:
 * by the vCPU that this thread runs. ASK: khv_asks_<name>() tells. ANY: the VM has no owner yet.
 * The replacement gets the calls for owned VMs; all others go on to KVM. RUNNING and ASK preserve
 * three parameters only.
 *
 * Declared in hyperv.h, lapic.h, x86.h, cpuid.h, vmx/{hyperv,evmcs,nested}.h and svm/svm.h; the
 * same on all kernels unless the row says otherwise. hyperv/takeover/dispatch.S compares the
 * functions in this order: those that VM-Exits call come first. All wanted functions
 * (khv_hook_wanted()) are replaced at once; those of the vendor module that is not loaded are not.
 */
#ifndef KHV_COMPAT_KVM_PRIVATE_H
#define KHV_COMPAT_KVM_PRIVATE_H

#ifndef __ASSEMBLY__

#include <linux/hrtimer.h>
#include <linux/kvm_host.h>
#ifdef KHV_HAVE_TDX
#include <asm/posted_intr.h>
#endif

/* KVM's own KVM_MSR_RET_UNSUPPORTED: kvm.ignore_msrs decides. */
#define KHV_MSR_RET_UNSUPPORTED 2

/* Names of the modules that hooks and imports are from. */
#define KHV_MODULE_KERNEL NULL
#define KHV_MODULE_KVM	  "kvm"
#define KHV_MODULE_INTEL  "kvm_intel"
#define KHV_MODULE_AMD	  "kvm_amd"

struct vmcs12;

/*
 * The beginning of struct kvm_lapic, up to what ending and posting an interrupt needs; lapic.h.
 * Users must check that @vcpu is the expected one, in case the layout differs.
 */
struct khv_kvm_lapic {
	unsigned long base_address;
	const void *dev_ops;
	struct {
		struct hrtimer timer;
		s64 period;
		ktime_t target_expiration;
		u32 timer_mode;
		u32 timer_mode_mask;
		u64 tscdeadline;
		u64 expired_tscdeadline;
		u32 timer_advance_ns;
		atomic_t pending;
		bool hv_timer_in_use;
	} lapic_timer;
	u32 divide_count;
	struct kvm_vcpu *vcpu;
	bool apicv_active;
	bool sw_enabled;
	bool irr_pending;
	bool lvt0_in_nmi_mode;
#ifdef KHV_HAVE_TDX
	bool guest_apic_protected;
#endif
	s16 isr_count;
	int highest_isr_cache;
	void *regs;
};

/* The beginning of struct vcpu_svm, svm.h, the same on all kernels. @vmcb: the current VMCB. */
struct khv_vcpu_svm {
	struct kvm_vcpu vcpu;
	struct vmcb *vmcb;
};

/* struct vcpu_vt, vmx/common.h: what struct vcpu_vmx and a TD's vCPU share, since 6.16. */
#ifdef KHV_HAVE_TDX
struct khv_vcpu_vt {
	struct pi_desc pi_desc;
	struct list_head pi_wakeup_list;
	u32 exit_reason;
	unsigned long exit_qualification;
	u32 exit_intr_info;
	bool guest_state_loaded;
	bool emulation_required;
	u64 msr_host_kernel_gs_base;
};
#endif

/* The beginning of struct vcpu_vmx, vmx.h. @fail: the last VM-Entry failed. */
struct khv_vcpu_vmx {
	struct kvm_vcpu vcpu;
#ifdef KHV_HAVE_TDX
	struct khv_vcpu_vt vt;
#endif
	u8 fail;
};

/* Offsets in struct vmcs12, vmcs12.h, which are fixed for migration. */
#define KHV_VMCS12_VM_FUNCTION 296
#define KHV_VMCS12_PIN_BASED   744
#define KHV_VMCS12_PROC_BASED  748
#define KHV_VMCS12_EXIT	       768
#define KHV_VMCS12_ENTRY       780
#define KHV_VMCS12_SECONDARY   804

/*
 * What nested_svm_exit_special() returns so that KVM's own handler runs: NESTED_EXIT_HOST of svm.h,
 * a macro, the same on all kernels.
 */
#define KHV_NESTED_EXIT_HOST 0

#endif /* __ASSEMBLY__ */
#endif

#ifdef KHV_HOOK
#ifndef KHV_HOOK_TO
#define KHV_HOOK_TO(_mod, _owner, _ret, _name, _params, _args, _to, _why) \
	KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why)
#endif
#ifndef KHV_HOOK_VP
#define KHV_HOOK_VP KHV_HOOK_TO
#endif
/*
 * Exists in 7.1.3 and later, and in stable kernels of 6.12; in others kvm_emulate_hypercall()
 * handles the exit. First, because every hypercall passes it on the way to kvm_hv_hypercall().
 */
KHV_HOOK(AMD, VCPU, int, vmmcall_interception, (struct kvm_vcpu *vcpu), (vcpu),
	 "calls of a nested guest would be refused")
KHV_HOOK_TO(KVM, VCPU, int, kvm_hv_get_msr_common,
	 (struct kvm_vcpu *vcpu, u32 msr, u64 *pdata, bool host),
	 (vcpu, msr, pdata, host), khv_msr_read,
	 "synthetic MSRs could not be read")
KHV_HOOK_TO(KVM, VCPU, int, kvm_hv_set_msr_common,
	 (struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host),
	 (vcpu, msr, data, host), khv_msr_write,
	 "synthetic MSRs could not be written")
KHV_HOOK_TO(KVM, VCPU, int, kvm_hv_hypercall, (struct kvm_vcpu *vcpu), (vcpu), khv_hypercall,
	 "hypercalls could not be answered")
#ifdef KHV_HAVE_L2_FLUSH
/* Fills vp_assist_page in struct kvm_vcpu_hv; 6.1 has a different function of this name. */
KHV_HOOK_VP(KVM, VCPU, int, kvm_hv_get_assist_page, (struct kvm_vcpu *vcpu), (vcpu),
	 khv_nested_get_assist_page,
	 "the VP assist page could not be checked")
#endif
KHV_HOOK(INTEL, VCPU, bool, nested_vmx_reflect_vmexit, (struct kvm_vcpu *vcpu), (vcpu),
	 "calls of a nested guest would go to its hypervisor")
/* KVM's parameter is struct vcpu_svm, whose first member is the vCPU. */
KHV_HOOK(AMD, VCPU, int, nested_svm_exit_special, (struct kvm_vcpu *vcpu), (vcpu),
	 "calls of a nested guest would go to its hypervisor")
KHV_HOOK(AMD, VCPU, int, nested_svm_vmrun, (struct kvm_vcpu *vcpu), (vcpu),
	 "the module could not learn which L2 is entered")
KHV_HOOK(KVM, VCPU, void, kvm_hv_process_stimers, (struct kvm_vcpu *vcpu), (vcpu),
	 "synthetic timers would not expire")
#ifndef KHV_HAVE_L2_FLUSH
KHV_HOOK_VP(INTEL, VCPU, bool, nested_enlightened_vmentry, (struct kvm_vcpu *vcpu, u64 *evmcs_gpa),
	 (vcpu, evmcs_gpa), khv_nested_vmx_entry,
	 "the module could not learn which L2 is entered")
#endif
KHV_HOOK(INTEL, RUNNING, int, nested_evmcs_check_controls, (struct vmcs12 *vmcs12), (vmcs12),
	 "controls without a field in the enlightened VMCS would be let through")
KHV_HOOK_TO(INTEL, VCPU, void, nested_evmcs_filter_control_msr,
	 (struct kvm_vcpu *vcpu, u32 msr_index, u64 *pdata), (vcpu, msr_index, pdata),
	 khv_evmcs_filter_msr,
	 "controls without a field in the enlightened VMCS would be offered")
KHV_HOOK(KVM, VCPU, void, kvm_vcpu_halt, (struct kvm_vcpu *vcpu), (vcpu),
	 "synthetic timers would not expire while a VP is halted")
KHV_HOOK(KVM, VCPU, int, kvm_arch_vcpu_runnable, (struct kvm_vcpu *vcpu), (vcpu),
	 "a VP that is idle could not be woken by an interrupt that it has disabled")
KHV_HOOK(INTEL, VCPU, bool, vmx_interrupt_blocked, (struct kvm_vcpu *vcpu), (vcpu),
	 "a posted interrupt that an idle VP has disabled could not wake it")
KHV_HOOK(KVM, VCPU, bool, kvm_vcpu_block, (struct kvm_vcpu *vcpu), (vcpu),
	 "synthetic timers would not expire while a VP waits for a page")
KHV_HOOK(KVM, VCPU, int, kvm_arch_vcpu_ioctl_run, (struct kvm_vcpu *vcpu), (vcpu),
	 "VP_RUNTIME could not tell the guest's time from the VMM's")
KHV_HOOK(KVM, VCPU, void, kvm_check_async_pf_completion, (struct kvm_vcpu *vcpu), (vcpu),
	 "a timer that expired while the local APIC was disabled would be lost")
KHV_HOOK(INTEL, VCPU, void, vmx_load_eoi_exitmap, (struct kvm_vcpu *vcpu, u64 *eoi_exit_bitmap),
	 (vcpu, eoi_exit_bitmap),
	 "each end of a SINT's interrupt would cost an exit under APICv")
KHV_HOOK(KVM, VCPU, void, kvm_apic_set_eoi_accelerated, (struct kvm_vcpu *vcpu, int vector),
	 (vcpu, vector),
	 "the end of a SINT's interrupt would go unnoticed under APICv")
KHV_HOOK_TO(KVM, VCPU, void, kvm_hv_synic_send_eoi, (struct kvm_vcpu *vcpu, int vector),
	 (vcpu, vector), khv_synic_eoi,
	 "the end of a SINT's interrupt would go unnoticed")
#ifdef KHV_HAVE_SYNIC_BY_SINT
KHV_HOOK_TO(KVM, KVM, int, kvm_hv_synic_set_irq, (struct kvm *kvm, u32 vp_id, u32 sint),
	 (kvm, vp_id, sint), khv_synic_set_irq,
	 "user space could not raise a SINT")
#else
KHV_HOOK_TO(KVM, KVM_2ND, int, kvm_hv_synic_set_irq,
	 (struct kvm_kernel_irq_routing_entry *e, struct kvm *kvm, int irq_source_id, int level,
	  bool line_status),
	 (e, kvm, irq_source_id, level, line_status), khv_synic_set_route,
	 "user space could not raise a SINT")
#endif
/*
 * KVM asks its PMU code last whether it knows an MSR: three functions that are seldom called, where
 * kvm_get_msr_common() would cost every VM.
 */
KHV_HOOK(KVM, VCPU, bool, kvm_pmu_is_valid_msr, (struct kvm_vcpu *vcpu, u32 msr), (vcpu, msr),
	 "registers that no KVM has could not be answered")
KHV_HOOK(KVM, VCPU, int, kvm_pmu_get_msr, (struct kvm_vcpu *vcpu, struct msr_data *msr),
	 (vcpu, msr),
	 "registers that no KVM has could not be read")
KHV_HOOK(KVM, VCPU, int, kvm_pmu_set_msr, (struct kvm_vcpu *vcpu, struct msr_data *msr),
	 (vcpu, msr),
	 "registers that no KVM has could not be written")
KHV_HOOK(KVM, VCPU, int, kvm_get_msr_common, (struct kvm_vcpu *vcpu, struct msr_data *msr),
	 (vcpu, msr),
	 "MSRs that this KVM does not route to its Hyper-V code could not be read")
KHV_HOOK(KVM, VCPU, int, kvm_set_msr_common, (struct kvm_vcpu *vcpu, struct msr_data *msr),
	 (vcpu, msr),
	 "MSRs that this KVM does not route to its Hyper-V code could not be written")
KHV_HOOK(KVM, VCPU, bool, kvm_cpuid,
	 (struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx, bool exact_only),
	 (vcpu, eax, ebx, ecx, edx, exact_only),
	 "CPUID could not show what depends on this module")
KHV_HOOK(KVM, VCPU, int, kvm_vcpu_ioctl_set_cpuid,
	 (struct kvm_vcpu *vcpu, struct kvm_cpuid *cpuid, struct kvm_cpuid_entry __user *entries),
	 (vcpu, cpuid, entries),
	 "no VP could be given its state")
KHV_HOOK(KVM, VCPU, int, kvm_vcpu_ioctl_set_cpuid2,
	 (struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid, struct kvm_cpuid_entry2 __user *entries),
	 (vcpu, cpuid, entries),
	 "no VP could be given its state")
KHV_HOOK_TO(KVM, VCPU, void, kvm_hv_vcpu_uninit, (struct kvm_vcpu *vcpu), (vcpu), khv_vcpu_destroy,
	 "the state of a VP would leak")
KHV_HOOK(KVM, VCPU, void, kvm_hv_set_cpuid, (struct kvm_vcpu *vcpu, bool hyperv_enabled),
	 (vcpu, hyperv_enabled),
	 "the guest's privileges would stay unknown")
KHV_HOOK(KVM, VCPU, int, kvm_hv_set_enforce_cpuid, (struct kvm_vcpu *vcpu, bool enforce),
	 (vcpu, enforce),
	 "KVM_CAP_HYPERV_ENFORCE_CPUID would be ignored")
KHV_HOOK(KVM, ASK, int, kvm_get_hv_cpuid,
	 (struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid, struct kvm_cpuid_entry2 __user *entries),
	 (vcpu, cpuid, entries),
	 "KVM_GET_SUPPORTED_HV_CPUID would not tell what is implemented")
KHV_HOOK(KVM, VCPU, int, kvm_hv_activate_synic, (struct kvm_vcpu *vcpu, bool dont_zero_synic_pages),
	 (vcpu, dont_zero_synic_pages),
	 "KVM_CAP_HYPERV_SYNIC would be ignored")
KHV_HOOK_TO(KVM, KVM, void, kvm_hv_irq_routing_update, (struct kvm *kvm), (kvm),
	 khv_synic_routing_update,
	 "resample eventfds of SINTs would not fire")
KHV_HOOK(KVM, KVM, void, kvm_hv_setup_tsc_page,
	 (struct kvm *kvm, struct pvclock_vcpu_time_info *hv_clock), (kvm, hv_clock),
	 "the reference TSC page would not be written")
/* Returns int from 6.4 on, which leaves the upper half of RAX undefined; the caller ignores it. */
KHV_HOOK(KVM, ASK, long, kvm_arch_vm_ioctl,
	 (struct file *filp, unsigned int ioctl, unsigned long arg), (filp, ioctl, arg),
	 "timers of halted VPs would not follow KVM_SET_CLOCK, and KVM_GET_CLOCK would lag")
/* Only while a row is to be named, see khv_msr_is_listed(). */
KHV_HOOK(KVM, ASK, long, kvm_arch_dev_ioctl,
	 (struct file *filp, unsigned int ioctl, unsigned long arg), (filp, ioctl, arg),
	 "user space could not learn which registers of the module to save")
KHV_HOOK_TO(KVM, KVM, int, kvm_vm_ioctl_hv_eventfd,
	 (struct kvm *kvm, struct kvm_hyperv_eventfd *args),
	 (kvm, args), khv_connection_eventfd,
	 "KVM_HYPERV_EVENTFD would be ignored")
KHV_HOOK(INTEL, VCPU, void, vmx_refresh_apicv_exec_ctrl, (struct kvm_vcpu *vcpu), (vcpu),
	 "an interrupt in service when AutoEOI ends would never end under APICv, on older kernels")
KHV_HOOK(KVM, KVM, void, kvm_hv_destroy_vm, (struct kvm *kvm), (kvm),
	 "the state of a VM would leak")
KHV_HOOK(KVM, ANY, void, kvm_hv_init_vm, (struct kvm *kvm), (kvm),
	 "no VM could be taken over")
#undef KHV_HOOK_TO
#undef KHV_HOOK_VP
#endif
