/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarations that KVM keeps in arch/x86/kvm/, which no headers package ships:
 * the functions that are replaced, with their return type, parameters, arguments
 * and the sentence to print when one is missing. The hook table is this list.
 *
 * KHV_HOOK(type, name, (parameters), (arguments), "what it would break")
 *
 * Origin: hyperv.h, lapic.h, x86.h, cpuid.h; the same on 6.1 and 6.12. The order is that in
 * which hyperv/hooks.c tells the functions apart: those of exits first. All are
 * replaced in one go.
 */
#ifdef KHV_HOOK
KHV_HOOK(int, kvm_hv_get_msr_common, (struct kvm_vcpu *vcpu, u32 msr, u64 *pdata, bool host),
	 (vcpu, msr, pdata, host),
	 "synthetic MSRs could not be read")
KHV_HOOK(int, kvm_hv_set_msr_common, (struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host),
	 (vcpu, msr, data, host),
	 "synthetic MSRs could not be written")
KHV_HOOK(int, kvm_hv_hypercall, (struct kvm_vcpu *vcpu), (vcpu),
	 "hypercalls could not be answered")
KHV_HOOK(int, kvm_hv_vcpu_init, (struct kvm_vcpu *vcpu), (vcpu),
	 "no VP could be given its state")
KHV_HOOK(void, kvm_hv_process_stimers, (struct kvm_vcpu *vcpu), (vcpu),
	 "synthetic timers would not expire")
KHV_HOOK(int, kvm_arch_vcpu_ioctl_run, (struct kvm_vcpu *vcpu), (vcpu),
	 "VP_RUNTIME could not tell the guest's time from the VMM's")
KHV_HOOK(void, kvm_recalculate_apic_map, (struct kvm *kvm), (kvm),
	 "a timer that expired while the local APIC was disabled would be lost")
KHV_HOOK(void, kvm_hv_synic_send_eoi, (struct kvm_vcpu *vcpu, int vector), (vcpu, vector),
	 "the end of a SINT's interrupt would go unnoticed")
KHV_HOOK(int, kvm_hv_synic_set_irq, (struct kvm *kvm, u32 vp_id, u32 sint), (kvm, vp_id, sint),
	 "user space could not raise a SINT")
#ifndef KHV_HAVE_TSC_INVARIANT
KHV_HOOK(int, kvm_get_msr_common, (struct kvm_vcpu *vcpu, struct msr_data *msr), (vcpu, msr),
	 "MSRs that this KVM does not route to its Hyper-V code could not be read")
KHV_HOOK(int, kvm_set_msr_common, (struct kvm_vcpu *vcpu, struct msr_data *msr), (vcpu, msr),
	 "MSRs that this KVM does not route to its Hyper-V code could not be written")
KHV_HOOK(bool, kvm_cpuid,
	 (struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx, bool exact_only),
	 (vcpu, eax, ebx, ecx, edx, exact_only),
	 "TSC_INVARIANT_CONTROL could not hide the invariant TSC")
#endif
KHV_HOOK(void, kvm_hv_vcpu_uninit, (struct kvm_vcpu *vcpu), (vcpu),
	 "the state of a VP would leak")
KHV_HOOK(void, kvm_hv_set_cpuid, (struct kvm_vcpu *vcpu, bool hyperv_enabled),
	 (vcpu, hyperv_enabled),
	 "the guest's privileges would stay unknown")
KHV_HOOK(int, kvm_hv_set_enforce_cpuid, (struct kvm_vcpu *vcpu, bool enforce), (vcpu, enforce),
	 "KVM_CAP_HYPERV_ENFORCE_CPUID would be ignored")
KHV_HOOK(int, kvm_get_hv_cpuid,
	 (struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid, struct kvm_cpuid_entry2 __user *entries),
	 (vcpu, cpuid, entries),
	 "KVM_GET_SUPPORTED_HV_CPUID would not tell what is implemented")
KHV_HOOK(int, kvm_hv_activate_synic, (struct kvm_vcpu *vcpu, bool dont_zero_synic_pages),
	 (vcpu, dont_zero_synic_pages),
	 "KVM_CAP_HYPERV_SYNIC would be ignored")
KHV_HOOK(void, kvm_hv_irq_routing_update, (struct kvm *kvm), (kvm),
	 "resample eventfds of SINTs would not fire")
KHV_HOOK(void, kvm_hv_setup_tsc_page,
	 (struct kvm *kvm, struct pvclock_vcpu_time_info *hv_clock), (kvm, hv_clock),
	 "the reference TSC page would not be written")
KHV_HOOK(void, kvm_hv_request_tsc_page_update, (struct kvm *kvm), (kvm),
	 "the reference time would not follow KVM's clock")
KHV_HOOK(int, kvm_vm_ioctl_hv_eventfd, (struct kvm *kvm, struct kvm_hyperv_eventfd *args),
	 (kvm, args),
	 "KVM_HYPERV_EVENTFD would be ignored")
KHV_HOOK(void, kvm_hv_destroy_vm, (struct kvm *kvm), (kvm),
	 "the state of a VM would leak")
KHV_HOOK(void, kvm_hv_init_vm, (struct kvm *kvm), (kvm),
	 "no VM could be taken over")
#endif
