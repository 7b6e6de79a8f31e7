/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel contract: what the module takes for granted about structures and constants, of KVM and
 * of the kernel, that its compiler cannot check against the kernel that it is loaded into. The
 * rows are compared with that kernel's BTF at load, and by "make check-kernel". Functions come from
 * the lists of this folder: the rows below are about those that KVM declares in another way.
 *
 * The module also depends on facts that BTF does not have: macros (KVM_REQ_*, HF_*, MSR_TYPE_*,
 * NESTED_EXIT_HOST), variables of KVM (tdp_enabled, enable_apicv, nrips, enable_unrestricted_guest,
 * enable_mediated_pmu; kvm_pmu_eventsel, whose first member is the event of retired instructions),
 * and what hardware and the TLFS lay down (VMCB, VMCS, enlightened VMCS), which no kernel changes.
 *
 * where: whose BTF it is: KERNEL, KVM, INTEL, AMD
 * KHV_FIELD(where, structure, member)           as in the headers that the module is built with,
 *                                               or in kvm_hv.h
 * KHV_FLEXIBLE(where, structure, member)        the same, of an array without a size
 * KHV_SIZEOF(where, structure)                  the same, a structure's size
 * KHV_CONSTANT(where, enumeration, constant)    the same, a constant
 * KHV_MIRROR(where, structure, member, mirror, mirror's member)
 *                                               as in a structure of kvm_private.h, which mirrors
 *                                               one that is in no header
 * KHV_AT(where, structure, member, offset, bytes)
 * KHV_DECLARED(where, function, "prototype")    another prototype of a function in the lists that
 *                                               will do, or one of a function in no list
 * KHV_OPERATION(where, structure, member, "prototype")
 *                                               a pointer to a function
 * KHV_UNDESCRIBED(where, function, "why")       BTF need not describe this function of the lists;
 *                                               any other without a description refuses the load
 *
 * Where the rows hold: those of KHV_MIRROR, KHV_AT and KHV_DECLARED on the kernels that the comment
 * above them tells; all others wherever the module compiles, as both sides come from the same
 * headers. They fail for a module that was built with other headers than the kernel's.
 */

/* Mirrors of KVM's own. */
#ifdef KHV_MIRROR
/* From Linux 6.1 on; 6.16 has guest_apic_protected before isr_count. */
KHV_MIRROR(KVM, kvm_lapic, base_address, khv_kvm_lapic, base_address)
KHV_MIRROR(KVM, kvm_lapic, lapic_timer, khv_kvm_lapic, lapic_timer)
KHV_MIRROR(KVM, kvm_lapic, lapic_timer.target_expiration, khv_kvm_lapic,
	   lapic_timer.target_expiration)
KHV_MIRROR(KVM, kvm_lapic, lapic_timer.tscdeadline, khv_kvm_lapic, lapic_timer.tscdeadline)
KHV_MIRROR(KVM, kvm_lapic, divide_count, khv_kvm_lapic, divide_count)
KHV_MIRROR(KVM, kvm_lapic, vcpu, khv_kvm_lapic, vcpu)
KHV_MIRROR(KVM, kvm_lapic, apicv_active, khv_kvm_lapic, apicv_active)
KHV_MIRROR(KVM, kvm_lapic, sw_enabled, khv_kvm_lapic, sw_enabled)
KHV_MIRROR(KVM, kvm_lapic, irr_pending, khv_kvm_lapic, irr_pending)
KHV_MIRROR(KVM, kvm_lapic, lvt0_in_nmi_mode, khv_kvm_lapic, lvt0_in_nmi_mode)
KHV_MIRROR(KVM, kvm_lapic, isr_count, khv_kvm_lapic, isr_count)
KHV_MIRROR(KVM, kvm_lapic, highest_isr_cache, khv_kvm_lapic, highest_isr_cache)
KHV_MIRROR(KVM, kvm_lapic, regs, khv_kvm_lapic, regs)
/* From Linux 6.1 on. */
KHV_MIRROR(AMD, vcpu_svm, vcpu, khv_vcpu_svm, vcpu)
KHV_MIRROR(AMD, vcpu_svm, vmcb, khv_vcpu_svm, vmcb)
/* From Linux 6.1 on; 6.16 has struct vcpu_vt between the two. */
KHV_MIRROR(INTEL, vcpu_vmx, vcpu, khv_vcpu_vmx, vcpu)
KHV_MIRROR(INTEL, vcpu_vmx, fail, khv_vcpu_vmx, fail)
#endif

#ifdef KHV_AT
/* All kernels: the layout of struct vmcs12 is fixed for migration. */
KHV_AT(INTEL, vmcs12, pin_based_vm_exec_control, KHV_VMCS12_PIN_BASED, 4)
KHV_AT(INTEL, vmcs12, cpu_based_vm_exec_control, KHV_VMCS12_PROC_BASED, 4)
KHV_AT(INTEL, vmcs12, vm_exit_controls, KHV_VMCS12_EXIT, 4)
KHV_AT(INTEL, vmcs12, vm_entry_controls, KHV_VMCS12_ENTRY, 4)
KHV_AT(INTEL, vmcs12, secondary_vm_exec_control, KHV_VMCS12_SECONDARY, 4)
KHV_AT(INTEL, vmcs12, vm_function_control, KHV_VMCS12_VM_FUNCTION, 8)
#endif

#ifdef KHV_FIELD
KHV_FIELD(KVM, kvm_vcpu, kvm)
KHV_FIELD(KVM, kvm_vcpu, vcpu_id)
KHV_FIELD(KVM, kvm_vcpu, vcpu_idx)
KHV_FIELD(KVM, kvm_vcpu, ____srcu_idx)
KHV_FIELD(KVM, kvm_vcpu, mode)
KHV_FIELD(KVM, kvm_vcpu, cpu)
KHV_FIELD(KVM, kvm_vcpu, requests)
KHV_FIELD(KVM, kvm_vcpu, guest_debug)
KHV_FIELD(KVM, kvm_vcpu, run)
KHV_FIELD(KVM, kvm_vcpu, stat)
KHV_FIELD(KVM, kvm_vcpu, dirty_ring)
KHV_FIELD(KVM, kvm_vcpu, wait)
KHV_FIELD(KVM, kvm_vcpu, arch.regs)
#ifdef KHV_HAVE_ARCH_RIP
KHV_FIELD(KVM, kvm_vcpu, arch.rip)
#endif
KHV_FIELD(KVM, kvm_vcpu, arch.regs_avail)
KHV_FIELD(KVM, kvm_vcpu, arch.regs_dirty)
KHV_FIELD(KVM, kvm_vcpu, arch.cr0)
KHV_FIELD(KVM, kvm_vcpu, arch.cr2)
KHV_FIELD(KVM, kvm_vcpu, arch.cr3)
KHV_FIELD(KVM, kvm_vcpu, arch.cr4)
KHV_FIELD(KVM, kvm_vcpu, arch.efer)
KHV_FIELD(KVM, kvm_vcpu, arch.hflags)
KHV_FIELD(KVM, kvm_vcpu, arch.apic_base)
KHV_FIELD(KVM, kvm_vcpu, arch.apic)
KHV_FIELD(KVM, kvm_vcpu, arch.apic_attention)
KHV_FIELD(KVM, kvm_vcpu, arch.tpr_access_reporting)
KHV_FIELD(KVM, kvm_vcpu, arch.ioapic_handled_vectors)
KHV_FIELD(KVM, kvm_vcpu, arch.hyperv)
KHV_FIELD(KVM, kvm_vcpu, arch.hyperv_enabled)
KHV_FIELD(KVM, kvm_vcpu, arch.mmu)
KHV_FIELD(KVM, kvm_vcpu, arch.root_mmu)
KHV_FIELD(KVM, kvm_vcpu, arch.guest_mmu)
KHV_FIELD(KVM, kvm_vcpu, arch.pmu)
KHV_FIELD(KVM, kvm_vcpu, arch.pv_eoi.msr_val)
KHV_FIELD(KVM, kvm_vcpu, arch.pv_eoi.data)
KHV_FIELD(KVM, kvm_vcpu, arch.apf.halted)
KHV_FIELD(KVM, kvm_vcpu, arch.pv.pv_unhalted)
KHV_FIELD(KVM, kvm_vcpu, arch.mp_state)
KHV_FIELD(KVM, kvm_vcpu, arch.virtual_tsc_khz)
KHV_FIELD(KVM, kvm_vcpu, arch.virtual_tsc_mult)
KHV_FIELD(KVM, kvm_vcpu, arch.virtual_tsc_shift)
KHV_FIELD(KVM, kvm_vcpu, arch.l1_tsc_offset)
KHV_FIELD(KVM, kvm_vcpu, arch.ia32_tsc_adjust_msr)
KHV_FIELD(KVM, kvm_vcpu, arch.tsc_offset_adjustment)
KHV_FIELD(KVM, kvm_vcpu, arch.this_tsc_write)
KHV_FIELD(KVM, kvm_vcpu, arch.tsc_offset)
KHV_FIELD(KVM, kvm_vcpu, arch.l1_tsc_scaling_ratio)
KHV_FIELD(KVM, kvm_vcpu, arch.tsc_scaling_ratio)
KHV_FIELD(KVM, kvm_vcpu, arch.tsc_catchup)
KHV_FIELD(KVM, kvm_vcpu, arch.last_vmentry_cpu)
KHV_FIELD(KVM, kvm_vcpu, arch.guest_state_protected)
KHV_FIELD(KVM, kvm_vcpu, arch.complete_userspace_io)
KHV_FIELD(KVM, kvm_vcpu_stat, tlb_flush)
KHV_FIELD(KVM, kvm_vcpu_stat, hypercalls)
KHV_FIELD(KVM, kvm_dirty_ring, dirty_index)
KHV_FIELD(KVM, kvm_dirty_ring, reset_index)
KHV_FIELD(KVM, kvm_dirty_ring, soft_limit)

KHV_FIELD(KVM, kvm, vcpu_array)
KHV_FIELD(KVM, kvm, online_vcpus)
KHV_FIELD(KVM, kvm, users_count)
KHV_FIELD(KVM, kvm, memslots)
KHV_FIELD(KVM, kvm, srcu)
KHV_FIELD(KVM, kvm, irq_srcu)
KHV_FIELD(KVM, kvm, irq_lock)
KHV_FIELD(KVM, kvm, irq_routing)
KHV_FIELD(KVM, kvm, irq_ack_notifier_list)
KHV_FIELD(KVM, kvm, dirty_ring_size)
KHV_FIELD(KVM, kvm, arch.hyperv)
#ifdef KHV_HAVE_VM_TYPE
KHV_FIELD(KVM, kvm, arch.vm_type)
#endif
#if !defined(KHV_HAVE_XEN_IN_XEN)
KHV_FIELD(KVM, kvm, arch.xen_hvm_config)
#elif IS_ENABLED(CONFIG_KVM_XEN)
KHV_FIELD(KVM, kvm, arch.xen.hvm_config)
#endif
KHV_FIELD(KVM, kvm, arch.msr_filter)
KHV_FIELD(KVM, kvm, arch.irqchip_mode)
KHV_FIELD(KVM, kvm, arch.apic_map)
KHV_FIELD(KVM, kvm, arch.apicv_update_lock)
KHV_FIELD(KVM, kvm, arch.tsc_write_lock)
KHV_FIELD(KVM, kvm, arch.pvclock_sc)
KHV_FIELD(KVM, kvm, arch.use_master_clock)
KHV_FIELD(KVM, kvm, arch.master_kernel_ns)
KHV_FIELD(KVM, kvm, arch.master_cycle_now)
KHV_FIELD(KVM, kvm, arch.kvmclock_offset)
KHV_FIELD(KVM, kvm, arch.backwards_tsc_observed)
#ifdef KHV_HAVE_APIC_BUS_CYCLE
KHV_FIELD(KVM, kvm, arch.apic_bus_cycle_ns)
#endif
KHV_FIELD(KVM, kvm_memslots, generation)
KHV_FIELD(KVM, gfn_to_hva_cache, generation)
KHV_FIELD(KVM, gfn_to_hva_cache, gpa)
KHV_FIELD(KVM, gfn_to_hva_cache, hva)
KHV_FIELD(KVM, gfn_to_hva_cache, len)
KHV_FIELD(KVM, gfn_to_hva_cache, memslot)
KHV_SIZEOF(KVM, gfn_to_hva_cache)
KHV_FIELD(KVM, kvm_apic_map, max_apic_id)
KHV_FLEXIBLE(KVM, kvm_apic_map, phys_map)
KHV_FIELD(KVM, kvm_irq_ack_notifier, link)
KHV_FIELD(KVM, kvm_irq_ack_notifier, gsi)
KHV_FIELD(KVM, kvm_irq_routing_table, nr_rt_entries)
KHV_FLEXIBLE(KVM, kvm_irq_routing_table, map)
KHV_FIELD(KVM, kvm_kernel_irq_routing_entry, gsi)
KHV_FIELD(KVM, kvm_kernel_irq_routing_entry, type)
KHV_FIELD(KVM, kvm_kernel_irq_routing_entry, hv_sint)
KHV_FIELD(KVM, kvm_kernel_irq_routing_entry, link)
KHV_FIELD(KVM, kvm_lapic_irq, vector)
KHV_FIELD(KVM, kvm_lapic_irq, delivery_mode)
KHV_SIZEOF(KVM, kvm_lapic_irq)
KHV_FIELD(KVM, msr_data, host_initiated)
KHV_FIELD(KVM, msr_data, index)
KHV_FIELD(KVM, msr_data, data)

/* Pages of translations. */
#ifdef KHV_HAVE_PAGEWALK
KHV_FIELD(KVM, kvm_mmu, w)
KHV_FIELD(KVM, kvm_pagewalk, get_guest_pgd)
KHV_FIELD(KVM, kvm_pagewalk, cpu_role)
#else
KHV_FIELD(KVM, kvm_mmu, get_guest_pgd)
KHV_FIELD(KVM, kvm_mmu, cpu_role)
#endif
KHV_FIELD(KVM, kvm_mmu, root)
KHV_FIELD(KVM, kvm_mmu, prev_roots)
KHV_FIELD(KVM, kvm_mmu, root_role)
KHV_FIELD(KVM, kvm_mmu_root_info, pgd)
KHV_SIZEOF(KVM, kvm_mmu_root_info)

KHV_FIELD(KVM, kvm_pmu, version)
KHV_FIELD(KVM, kvm_pmu, nr_arch_gp_counters)
KHV_FIELD(KVM, kvm_pmu, global_ctrl)
KHV_FIELD(KVM, kvm_pmu, fixed_ctr_ctrl)
KHV_FIELD(KVM, kvm_pmu, gp_counters)
KHV_FIELD(KVM, kvm_pmc, eventsel)
KHV_SIZEOF(KVM, kvm_pmc)

/* KVM's own state of the enlightenments. struct khv_vcpu embeds struct kvm_vcpu_hv. */
KHV_FIELD(KVM, kvm_hv, hv_lock)
KHV_FIELD(KVM, kvm_hv, hv_guest_os_id)
KHV_FIELD(KVM, kvm_hv, hv_hypercall)
KHV_FIELD(KVM, kvm_hv, hv_tsc_page)
KHV_FIELD(KVM, kvm_hv, hv_crash_ctl)
KHV_FIELD(KVM, kvm_hv, hv_reenlightenment_control)
KHV_FIELD(KVM, kvm_hv, hv_tsc_emulation_control)
KHV_FIELD(KVM, kvm_hv, hv_tsc_emulation_status)
KHV_FIELD(KVM, kvm_hv, num_mismatched_vp_indexes)
KHV_FIELD(KVM, kvm_hv, synic_auto_eoi_used)
KHV_FIELD(KVM, kvm_hv, conn_to_evt)
KHV_FIELD(KVM, kvm_hv, hv_syndbg)
KHV_FIELD(KVM, kvm_hv_syndbg, control.control)
KHV_FIELD(KVM, kvm_hv_syndbg, control.status)
KHV_FIELD(KVM, kvm_hv_syndbg, control.send_page)
KHV_FIELD(KVM, kvm_hv_syndbg, control.recv_page)
KHV_FIELD(KVM, kvm_hv_syndbg, control.pending_page)
KHV_FIELD(KVM, kvm_hv_syndbg, options)
#ifdef KHV_HAVE_TSC_INVARIANT
KHV_FIELD(KVM, kvm_hv, hv_invtsc_control)
#endif
KHV_FIELD(KVM, kvm_vcpu_hv, vcpu)
KHV_FIELD(KVM, kvm_vcpu_hv, vp_index)
KHV_FIELD(KVM, kvm_vcpu_hv, hv_vapic)
KHV_FIELD(KVM, kvm_vcpu_hv, runtime_offset)
KHV_FIELD(KVM, kvm_vcpu_hv, synic)
KHV_FIELD(KVM, kvm_vcpu_hv, exit)
KHV_FIELD(KVM, kvm_vcpu_hv, stimer)
KHV_FIELD(KVM, kvm_vcpu_hv, stimer_pending_bitmap)
KHV_FIELD(KVM, kvm_vcpu_hv, enforce_cpuid)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.features_eax)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.features_ebx)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.features_edx)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.enlightenments_eax)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.enlightenments_ebx)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.syndbg_cap_eax)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.nested_eax)
KHV_FIELD(KVM, kvm_vcpu_hv, cpuid_cache.nested_ebx)
#ifdef KHV_HAVE_FLUSH_FIFO
KHV_FIELD(KVM, kvm_vcpu_hv, tlb_flush_fifo)
KHV_FIELD(KVM, kvm_vcpu_hv_tlb_flush_fifo, write_lock)
KHV_FIELD(KVM, kvm_vcpu_hv_tlb_flush_fifo, entries)
#endif
#ifdef KHV_HAVE_L2_FLUSH
KHV_FIELD(KVM, kvm_vcpu_hv, vp_assist_page)
KHV_FIELD(KVM, kvm_vcpu_hv, nested.pa_page_gpa)
KHV_FIELD(KVM, kvm_vcpu_hv, nested.vm_id)
KHV_FIELD(KVM, kvm_vcpu_hv, nested.vp_id)
#endif
#ifdef KHV_HAVE_PRIVATE_HV
KHV_FIELD(KVM, kvm_vcpu_hv, sparse_banks)
KHV_FIELD(KVM, kvm_vcpu_hv, vcpu_mask)
#endif
KHV_SIZEOF(KVM, kvm_vcpu_hv)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, version)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, control)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, msg_page)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, evt_page)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, sint)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, sint_to_gsi)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, auto_eoi_bitmap)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, vec_bitmap)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, active)
KHV_FIELD(KVM, kvm_vcpu_hv_synic, dont_zero_synic_pages)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, timer)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, index)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, config)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, count)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, exp_time)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, msg)
KHV_FIELD(KVM, kvm_vcpu_hv_stimer, msg_pending)
KHV_SIZEOF(KVM, kvm_vcpu_hv_stimer)

/* How the exit fast path re-enters, and which register is which. */
KHV_CONSTANT(KVM, exit_fastpath_completion, EXIT_FASTPATH_NONE)
KHV_CONSTANT(KVM, exit_fastpath_completion, EXIT_FASTPATH_REENTER_GUEST)
KHV_CONSTANT(KVM, exit_fastpath_completion, EXIT_FASTPATH_EXIT_HANDLED)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RAX)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RCX)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RDX)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RBX)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RSI)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RDI)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_R8)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RSP)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_R15)
#ifdef KHV_HAVE_ARCH_RIP
KHV_CONSTANT(KVM, kvm_reg, VCPU_REG_RIP)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REG_CR0)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REG_CR3)
KHV_CONSTANT(KVM, kvm_reg, VCPU_REG_CR4)
#else
KHV_CONSTANT(KVM, kvm_reg, VCPU_REGS_RIP)
KHV_CONSTANT(KVM, kvm_reg, VCPU_EXREG_CR0)
KHV_CONSTANT(KVM, kvm_reg, VCPU_EXREG_CR3)
KHV_CONSTANT(KVM, kvm_reg, VCPU_EXREG_CR4)
#endif
#if !defined(KHV_HAVE_IOAPIC_OPTION) || IS_ENABLED(CONFIG_KVM_IOAPIC)
KHV_CONSTANT(KVM, kvm_irqchip_mode, KVM_IRQCHIP_KERNEL)
#endif
KHV_CONSTANT(KVM, kvm_apicv_inhibit, APICV_INHIBIT_REASON_HYPERV)

/* Vendor functions in KVM's tables; their prototypes are below. */
KHV_FIELD(KVM, kvm_x86_ops, vcpu_run)
KHV_FIELD(KVM, kvm_x86_ops, get_cpl)
KHV_FIELD(KVM, kvm_x86_ops, get_cs_db_l_bits)
KHV_FIELD(KVM, kvm_x86_ops, flush_tlb_gva)
KHV_FIELD(KVM, kvm_x86_ops, flush_tlb_guest)
KHV_FIELD(KVM, kvm_x86_ops, deliver_interrupt)
KHV_FIELD(KVM, kvm_x86_ops, patch_hypercall)
KHV_FIELD(KVM, kvm_x86_ops, get_exit_info)
KHV_FIELD(KVM, kvm_x86_ops, cache_reg)
KHV_FIELD(KVM, kvm_x86_ops, get_segment)
KHV_FIELD(KVM, kvm_x86_ops, get_idt)
KHV_FIELD(KVM, kvm_x86_ops, get_gdt)
KHV_FIELD(KVM, kvm_x86_ops, get_l2_tsc_offset)
KHV_FIELD(KVM, kvm_x86_ops, get_l2_tsc_multiplier)
KHV_FIELD(KVM, kvm_x86_ops, write_tsc_offset)
KHV_FIELD(KVM, kvm_x86_ops, write_tsc_multiplier)
#ifndef KHV_HAVE_NESTED_OPS
KHV_FIELD(KVM, kvm_x86_ops, nested_ops)
#endif
#ifdef KHV_HAVE_ICR_SPLIT
KHV_FIELD(KVM, kvm_x86_ops, x2apic_icr_is_split)
#endif
KHV_FIELD(KVM, kvm_x86_nested_ops, get_evmcs_version)
#ifdef KHV_HAVE_TRANSLATE_OP
KHV_FIELD(KVM, kvm_x86_nested_ops, translate_nested_gpa)
#endif
#ifdef KHV_HAVE_L2_FLUSH
KHV_FIELD(KVM, kvm_x86_nested_ops, hv_inject_synthetic_vmexit_post_tlb_flush)
#endif

/* Symbols of a module, and tracepoints. */
KHV_FIELD(KERNEL, module, state)
KHV_FIELD(KERNEL, module, name)
KHV_FIELD(KERNEL, module, core_kallsyms)
KHV_FIELD(KERNEL, mod_kallsyms, symtab)
KHV_FIELD(KERNEL, mod_kallsyms, num_symtab)
KHV_FIELD(KERNEL, mod_kallsyms, strtab)
KHV_FIELD(KERNEL, tracepoint, key)
KHV_FIELD(KERNEL, static_key, enabled)
KHV_FIELD(KERNEL, hrtimer, function)
KHV_SIZEOF(KERNEL, hrtimer)
#endif

#ifdef KHV_OPERATION
/* The headers' prototypes must be those of x86_ops.h: the compiler compares them. */
KHV_OPERATION(KVM, kvm_x86_ops, get_cpl, "int (struct kvm_vcpu *)")
KHV_OPERATION(KVM, kvm_x86_ops, get_cs_db_l_bits, "void (struct kvm_vcpu *, int *, int *)")
#ifdef KHV_HAVE_FLUSH_GVA_FULL
KHV_OPERATION(KVM, kvm_x86_ops, flush_tlb_gva, "void (struct kvm_vcpu *, gva_t, bool *)")
#else
KHV_OPERATION(KVM, kvm_x86_ops, flush_tlb_gva, "void (struct kvm_vcpu *, gva_t)")
#endif
KHV_OPERATION(KVM, kvm_x86_ops, flush_tlb_guest, "void (struct kvm_vcpu *)")
KHV_OPERATION(KVM, kvm_x86_ops, deliver_interrupt, "void (struct kvm_lapic *, int, int, int)")
KHV_OPERATION(KVM, kvm_x86_ops, patch_hypercall, "void (struct kvm_vcpu *, unsigned char *)")
KHV_OPERATION(KVM, kvm_x86_ops, update_cr8_intercept, "void (struct kvm_vcpu *, int, int)")
KHV_OPERATION(KVM, kvm_x86_ops, get_exit_info,
	      "void (struct kvm_vcpu *, u32 *, u64 *, u64 *, u32 *, u32 *)")
KHV_OPERATION(KVM, kvm_x86_ops, cache_reg, "void (struct kvm_vcpu *, enum kvm_reg)")
KHV_OPERATION(KVM, kvm_x86_ops, get_segment,
	      "void (struct kvm_vcpu *, struct kvm_segment *, int)")
KHV_OPERATION(KVM, kvm_x86_ops, get_idt, "void (struct kvm_vcpu *, struct desc_ptr *)")
KHV_OPERATION(KVM, kvm_x86_ops, get_gdt, "void (struct kvm_vcpu *, struct desc_ptr *)")
KHV_OPERATION(KVM, kvm_x86_ops, get_l2_tsc_offset, "u64 (struct kvm_vcpu *)")
KHV_OPERATION(KVM, kvm_x86_ops, get_l2_tsc_multiplier, "u64 (struct kvm_vcpu *)")
#ifdef KHV_HAVE_WRITE_TSC_VALUE
KHV_OPERATION(KVM, kvm_x86_ops, write_tsc_offset, "void (struct kvm_vcpu *, u64)")
KHV_OPERATION(KVM, kvm_x86_ops, write_tsc_multiplier, "void (struct kvm_vcpu *, u64)")
#else
KHV_OPERATION(KVM, kvm_x86_ops, write_tsc_offset, "void (struct kvm_vcpu *)")
KHV_OPERATION(KVM, kvm_x86_ops, write_tsc_multiplier, "void (struct kvm_vcpu *)")
#endif
KHV_OPERATION(KVM, kvm_x86_nested_ops, get_evmcs_version, "u16 (struct kvm_vcpu *)")
#ifdef KHV_HAVE_TRANSLATE_OP
KHV_OPERATION(KVM, kvm_x86_nested_ops, translate_nested_gpa,
	      "gpa_t (struct kvm_vcpu *, gpa_t, u64, struct x86_exception *, u64)")
#endif
#ifdef KHV_HAVE_PAGEWALK
KHV_OPERATION(KVM, kvm_pagewalk, get_guest_pgd, "unsigned long (struct kvm_vcpu *)")
#else
KHV_OPERATION(KVM, kvm_mmu, get_guest_pgd, "unsigned long (struct kvm_vcpu *)")
#endif
#ifdef KHV_HAVE_L2_FLUSH
KHV_OPERATION(KVM, kvm_x86_nested_ops, hv_inject_synthetic_vmexit_post_tlb_flush,
	      "void (struct kvm_vcpu *)")
#endif
/*
 * The second argument goes on to KVM as it comes. Without it: Linux 6.2 to 6.8; a bool: 6.9 to
 * 6.16.0; run_flags: from 6.16.1 on, and stable kernels of 6.1 and 6.12.
 */
KHV_OPERATION(KVM, kvm_x86_ops, vcpu_run, "enum exit_fastpath_completion (struct kvm_vcpu *)")
KHV_OPERATION(KVM, kvm_x86_ops, vcpu_run, "enum exit_fastpath_completion (struct kvm_vcpu *, bool)")
KHV_OPERATION(KVM, kvm_x86_ops, vcpu_run, "enum exit_fastpath_completion (struct kvm_vcpu *, u64)")
#endif

#ifdef KHV_DECLARED
/* All kernels; found by other means than the lists. */
KHV_DECLARED(KERNEL, kallsyms_lookup_name, "unsigned long (const char *)")
#ifdef KHV_HAVE_PMC_COUNTING
KHV_DECLARED(KVM, kvm_pmu_instruction_retired, "void (struct kvm_vcpu *)")
#else
KHV_DECLARED(KVM, kvm_pmu_trigger_event, "void (struct kvm_vcpu *, u64)")
#endif
/* All kernels. The vCPU is the first member of struct vcpu_svm, see above. */
KHV_DECLARED(AMD, nested_svm_exit_special, "int (struct vcpu_svm *)")
#ifndef KHV_HAVE_L2_FLUSH
KHV_DECLARED(AMD, nested_svm_vmexit, "int (struct vcpu_svm *)")
#endif
/* Since Linux 7.0. The module passes NULL. */
KHV_DECLARED(KVM, kvm_apic_set_irq,
	     "int (struct kvm_vcpu *, struct kvm_lapic_irq *, struct rtc_status *)")
/* Since Linux 6.4; leaves the upper half of RAX undefined, which the caller ignores. */
KHV_DECLARED(KVM, kvm_arch_vm_ioctl, "int (struct file *, unsigned int, unsigned long)")
#endif

#ifdef KHV_UNDESCRIBED
KHV_UNDESCRIBED(AMD, vmmcall_interception,
		"not in Linux 6.1 to 7.0 (stable 6.12 has it): its hook is not installed there")
#endif
