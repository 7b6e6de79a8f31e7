/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions of the host kernel that are found by name at load, because they are KVM's, which the
 * module does not link against, or are not exported. Each becomes a static call khv_<name>(). All
 * are required: a missing name fails the load.
 *
 * KHV_IMPORT(module, return type, name, (parameters), (arguments))
 * module: KVM; INTEL or AMD, skipped unless that is the vendor; KERNEL
 *
 * Defined, with the same prototypes on all kernels unless an #ifdef or KHV_DECLARED says otherwise,
 * in kvm_main.c, x86.c, lapic.c, eventfd.c,
 * mmu/mmu.c, mmu/paging_tmpl.h, vmx/nested.c, vmx/vmx.c, svm/nested.c,
 * kernel/module/main.c, kernel/trace/ftrace.c, arch/x86/kernel/fpu/core.c.
 */
#ifdef KHV_IMPORT
KHV_IMPORT(KERNEL, int, ftrace_is_dead, (void), ())
KHV_IMPORT(KVM, int, kvm_gfn_to_hva_cache_init,
	   (struct kvm *kvm, struct gfn_to_hva_cache *ghc, gpa_t gpa, unsigned long len),
	   (kvm, ghc, gpa, len))
KHV_IMPORT(KVM, int, kvm_read_guest, (struct kvm *kvm, gpa_t gpa, void *data, unsigned long len),
	   (kvm, gpa, data, len))
KHV_IMPORT(KVM, int, kvm_write_guest,
	   (struct kvm *kvm, gpa_t gpa, const void *data, unsigned long len),
	   (kvm, gpa, data, len))
KHV_IMPORT(KVM, int, kvm_clear_guest, (struct kvm *kvm, gpa_t gpa, unsigned long len),
	   (kvm, gpa, len))
KHV_IMPORT(KVM, int, kvm_vcpu_read_guest_atomic,
	   (struct kvm_vcpu *vcpu, gpa_t gpa, void *data, unsigned long len),
	   (vcpu, gpa, data, len))
KHV_IMPORT(KVM, bool, kvm_msr_allowed, (struct kvm_vcpu *vcpu, u32 index, u32 type),
	   (vcpu, index, type))
#ifdef KHV_HAVE_GET_MSR
KHV_IMPORT(KVM, int, kvm_get_msr, (struct kvm_vcpu *vcpu, u32 index, u64 *data),
	   (vcpu, index, data))
KHV_IMPORT(KVM, int, kvm_set_msr, (struct kvm_vcpu *vcpu, u32 index, u64 data),
	   (vcpu, index, data))
#else
KHV_IMPORT(KVM, int, __kvm_emulate_msr_read, (struct kvm_vcpu *vcpu, u32 index, u64 *data),
	   (vcpu, index, data))
KHV_IMPORT(KVM, int, __kvm_emulate_msr_write, (struct kvm_vcpu *vcpu, u32 index, u64 data),
	   (vcpu, index, data))
#endif
/* Its hook answers this call, too. */
KHV_IMPORT(KVM, bool, kvm_cpuid,
	   (struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx, bool exact_only),
	   (vcpu, eax, ebx, ecx, edx, exact_only))
KHV_IMPORT(KVM, unsigned long, kvm_get_rflags, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, unsigned long, kvm_get_cr8, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, unsigned long, kvm_get_linear_rip, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, u64, kvm_scale_tsc, (u64 tsc, u64 ratio), (tsc, ratio))
KHV_IMPORT(KVM, u64, kvm_calc_nested_tsc_offset,
	   (u64 l1_offset, u64 l2_offset, u64 l2_multiplier), (l1_offset, l2_offset, l2_multiplier))
KHV_IMPORT(KVM, u64, kvm_calc_nested_tsc_multiplier, (u64 l1_multiplier, u64 l2_multiplier),
	   (l1_multiplier, l2_multiplier))
KHV_IMPORT(KVM, int, kvm_vm_ioctl_check_extension, (struct kvm *kvm, long ext), (kvm, ext))
KHV_IMPORT(KVM, u64, kvm_get_lapic_tscdeadline_msr, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, void, kvm_set_lapic_tscdeadline_msr, (struct kvm_vcpu *vcpu, u64 data),
	   (vcpu, data))
KHV_IMPORT(KVM, void, kvm_lapic_switch_to_sw_timer, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, u64, get_kvmclock_ns, (struct kvm *kvm), (kvm))
#ifdef KHV_HAVE_TDX
KHV_IMPORT(KVM, void, __kvm_vcpu_kick, (struct kvm_vcpu *vcpu, bool wait), (vcpu, wait))
#else
KHV_IMPORT(KVM, void, kvm_vcpu_kick, (struct kvm_vcpu *vcpu), (vcpu))
#endif
KHV_IMPORT(KVM, int, kvm_apic_set_irq,
	   (struct kvm_vcpu *vcpu, struct kvm_lapic_irq *irq, struct dest_map *dest_map),
	   (vcpu, irq, dest_map))
KHV_IMPORT(KVM, void, kvm_inject_nmi, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, int, kvm_hv_vapic_msr_read, (struct kvm_vcpu *vcpu, u32 reg, u64 *data),
	   (vcpu, reg, data))
KHV_IMPORT(KVM, int, kvm_hv_vapic_msr_write, (struct kvm_vcpu *vcpu, u32 reg, u64 data),
	   (vcpu, reg, data))
KHV_IMPORT(KVM, int, kvm_cpu_has_interrupt, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, int, kvm_lapic_find_highest_irr, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, int, kvm_lapic_set_pv_eoi, (struct kvm_vcpu *vcpu, u64 data, unsigned long len),
	   (vcpu, data, len))
KHV_IMPORT(KVM, void, __kvm_set_or_clear_apicv_inhibit,
	   (struct kvm *kvm, enum kvm_apicv_inhibit reason, bool set), (kvm, reason, set))
KHV_IMPORT(KVM, void, kvm_notify_acked_gsi, (struct kvm *kvm, int gsi), (kvm, gsi))
KHV_IMPORT(KVM, int, kvm_skip_emulated_instruction, (struct kvm_vcpu *vcpu), (vcpu))
KHV_IMPORT(KVM, void, kvm_queue_exception, (struct kvm_vcpu *vcpu, unsigned int nr), (vcpu, nr))
KHV_IMPORT(KVM, void, kvm_queue_exception_e,
	   (struct kvm_vcpu *vcpu, unsigned int nr, u32 error_code), (vcpu, nr, error_code))
KHV_IMPORT(KVM, struct kvm_vcpu *, kvm_get_running_vcpu, (void), ())
#ifndef KHV_HAVE_TRANSLATE_OP
KHV_IMPORT(KVM, gpa_t, translate_nested_gpa,
	   (struct kvm_vcpu *vcpu, gpa_t gpa, u64 access, struct x86_exception *exception),
	   (vcpu, gpa, access, exception))
#endif
KHV_IMPORT(KVM, void, kvm_mmu_free_roots,
	   (struct kvm *kvm, struct kvm_mmu *mmu, ulong roots_to_free), (kvm, mmu, roots_to_free))
#ifdef KHV_HAVE_L2_FLUSH
KHV_IMPORT(INTEL, bool, nested_evmcs_l2_tlb_flush_enabled, (struct kvm_vcpu *vcpu), (vcpu))
#else
KHV_IMPORT(INTEL, void, nested_vmx_vmexit,
	   (struct kvm_vcpu *vcpu, u32 reason, u32 intr_info, unsigned long qualification),
	   (vcpu, reason, intr_info, qualification))
KHV_IMPORT(INTEL, void, vmx_enable_intercept_for_msr,
	   (struct kvm_vcpu *vcpu, u32 msr, int type), (vcpu, msr, type))
/* KVM's parameter is struct vcpu_svm, whose first member is the vCPU. */
KHV_IMPORT(AMD, int, nested_svm_vmexit, (struct kvm_vcpu *vcpu), (vcpu))
#endif
KHV_IMPORT(KVM, void, kvm_vcpu_on_spin, (struct kvm_vcpu *vcpu, bool yield_to_kernel_mode),
	   (vcpu, yield_to_kernel_mode))
/* Exported up to 6.18; later for KVM's own modules only. */
KHV_IMPORT(KERNEL, void, switch_fpu_return, (void), ())
KHV_IMPORT(KERNEL, unsigned long, ftrace_location, (unsigned long ip), (ip))
KHV_IMPORT(KERNEL, struct module *, find_module, (const char *name), (name))
#endif
