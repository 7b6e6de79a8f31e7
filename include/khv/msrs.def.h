/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Synthetic MSRs, sorted by their first number; rows with a stride may interleave.
 *
 * KHV_MSR(NAME, first, access, columns of struct khv_msr_row ...)
 *
 * access tells how hyperv/takeover/msr.c reads and writes the register:
 *   HANDLERS(x)              khv_msr_x_read(), khv_msr_x_write()
 *   READER(x)                khv_msr_x_read(); user space may write it, without effect
 *   STORED(where)            a 64-bit word that the row allots: member stored.<NAME> of where
 *   STORED_ARRAY(where, n)   n words, for a row of .count n
 *   WRITER(x, where, member) the word is read, khv_msr_x_write() writes it
 * where is VM (struct khv_vm), VP (struct khv_vcpu) or, for WRITER, KVM (struct kvm).
 */
#ifdef KHV_MSR
#define KHV_MSR_ATOMIC (KHV_MSR_ATOMIC_RD | KHV_MSR_ATOMIC_WR)
KHV_MSR(GUEST_OS_ID, 0x40000000, WRITER(guest_os_id, KVM, arch.hyperv.hv_guest_os_id),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC_RD, .enl = KHV_ENL_HYPERCALL,
	.need = { KHV_PRIV(FEATURES_EAX, HYPERCALL) })
KHV_MSR(HYPERCALL, 0x40000001, WRITER(hypercall, KVM, arch.hyperv.hv_hypercall),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC_RD, .enl = KHV_ENL_HYPERCALL,
	.need = { KHV_PRIV(FEATURES_EAX, HYPERCALL) })
KHV_MSR(VP_INDEX, 0x40000002, HANDLERS(vp_index), .flags = KHV_MSR_RO | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_VPINDEX,
	.need = { KHV_PRIV(FEATURES_EAX, VP_INDEX) })
KHV_MSR(RESET, 0x40000003, HANDLERS(reset), .flags = KHV_MSR_VM, .enl = KHV_ENL_RESET,
	.need = { KHV_PRIV(FEATURES_EAX, RESET) })
KHV_MSR(VP_RUNTIME, 0x40000010, HANDLERS(vp_runtime), .flags = KHV_MSR_RO | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_RUNTIME,
	.need = { KHV_PRIV(FEATURES_EAX, VP_RUNTIME) })
KHV_MSR(TIME_REF_COUNT, 0x40000020, READER(time_ref_count),
	.flags = KHV_MSR_VM | KHV_MSR_RO | KHV_MSR_ATOMIC_RD, .enl = KHV_ENL_TIME,
	.need = { KHV_PRIV(FEATURES_EAX, TIME_REF_COUNT) })
KHV_MSR(REFERENCE_TSC, 0x40000021, WRITER(reference_tsc, KVM, arch.hyperv.hv_tsc_page),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC_RD | KHV_MSR_OVERLAY, .enl = KHV_ENL_TIME,
	.need = { KHV_PRIV(FEATURES_EAX, REFERENCE_TSC) })
KHV_MSR(TSC_FREQUENCY, 0x40000022, READER(tsc_frequency), .flags = KHV_MSR_RO | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_FREQUENCIES,
	.need = { KHV_PRIV(FEATURES_EAX, FREQUENCY) })
KHV_MSR(APIC_FREQUENCY, 0x40000023, READER(apic_frequency), .flags = KHV_MSR_RO | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_FREQUENCIES,
	.need = { KHV_PRIV(FEATURES_EAX, FREQUENCY) })
KHV_MSR(EOI, 0x40000070, HANDLERS(eoi), .flags = KHV_MSR_ATOMIC_WR, .enl = KHV_ENL_VAPIC,
	.need = { KHV_PRIV(FEATURES_EAX, APIC_ACCESS) })
KHV_MSR(ICR, 0x40000071, HANDLERS(icr), .flags = KHV_MSR_ATOMIC, .enl = KHV_ENL_VAPIC,
	.need = { KHV_PRIV(FEATURES_EAX, APIC_ACCESS) })
KHV_MSR(TPR, 0x40000072, HANDLERS(tpr), .flags = KHV_MSR_ATOMIC, .enl = KHV_ENL_VAPIC,
	.need = { KHV_PRIV(FEATURES_EAX, APIC_ACCESS) })
KHV_MSR(VP_ASSIST_PAGE, 0x40000073, WRITER(vp_assist_page, VP, stock.hv_vapic),
	.flags = KHV_MSR_ATOMIC_RD | KHV_MSR_OVERLAY, .enl = KHV_ENL_VAPIC,
	.need = { KHV_PRIV(FEATURES_EAX, APIC_ACCESS) })
KHV_MSR(SCONTROL, 0x40000080, HANDLERS(scontrol), .flags = KHV_MSR_ATOMIC_RD, .enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(SVERSION, 0x40000081, HANDLERS(sversion), .flags = KHV_MSR_RO | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(SIEFP, 0x40000082, HANDLERS(siefp), .flags = KHV_MSR_ATOMIC_RD | KHV_MSR_OVERLAY,
	.enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(SIMP, 0x40000083, HANDLERS(simp), .flags = KHV_MSR_ATOMIC_RD | KHV_MSR_OVERLAY,
	.enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(EOM, 0x40000084, HANDLERS(eom), .flags = KHV_MSR_ATOMIC, .enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(SINT, 0x40000090, HANDLERS(sint), .count = 16, .flags = KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_SYNIC,
	.need = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_MSR(STIMER_CONFIG, 0x400000b0, HANDLERS(stimer_config), .count = 4, .stride = 2,
	.reserved = KHV_STIMER_RSVDZ, .flags = KHV_MSR_ATOMIC | KHV_MSR_RESTORE_ANY,
	.enl = KHV_ENL_STIMER,
	.need = { KHV_PRIV(FEATURES_EAX, SYNTIMER) })
KHV_MSR(STIMER_COUNT, 0x400000b1, HANDLERS(stimer_count), .count = 4, .stride = 2,
	.flags = KHV_MSR_ATOMIC, .enl = KHV_ENL_STIMER,
	.need = { KHV_PRIV(FEATURES_EAX, SYNTIMER) })
KHV_MSR(GUEST_IDLE, 0x400000f0, READER(guest_idle),
	.flags = KHV_MSR_RO | KHV_MSR_UNROUTED | KHV_MSR_ATOMIC_RD | KHV_MSR_SHOWN,
	.enl = KHV_ENL_GUEST_IDLE,
	.need = { KHV_PRIV(FEATURES_EAX, GUEST_IDLE) })
KHV_MSR(SYNDBG_CONTROL, 0x400000f1, HANDLERS(syndbg), .flags = KHV_MSR_VM, .enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(SYNDBG_STATUS, 0x400000f2, HANDLERS(syndbg), .flags = KHV_MSR_VM, .enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(SYNDBG_SEND_BUFFER, 0x400000f3, HANDLERS(syndbg), .flags = KHV_MSR_VM,
	.enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(SYNDBG_RECV_BUFFER, 0x400000f4, HANDLERS(syndbg), .flags = KHV_MSR_VM,
	.enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(SYNDBG_PENDING_BUFFER, 0x400000f5, HANDLERS(syndbg), .flags = KHV_MSR_VM,
	.enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(SYNDBG_OPTIONS, 0x400000ff, HANDLERS(syndbg), .flags = KHV_MSR_VM, .enl = KHV_ENL_SYNDBG,
	.need = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS) })
KHV_MSR(CRASH_P, 0x40000100, STORED_ARRAY(VM, 5), .count = 5,
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC, .enl = KHV_ENL_CRASH,
	.need = { KHV_PRIV(FEATURES_EDX, GUEST_CRASH) })
KHV_MSR(CRASH_CTL, 0x40000105, HANDLERS(crash_ctl), .flags = KHV_MSR_VM | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_CRASH,
	.need = { KHV_PRIV(FEATURES_EDX, GUEST_CRASH) })
KHV_MSR(REENLIGHTENMENT_CONTROL, 0x40000106,
	WRITER(reenlightenment_control, KVM, arch.hyperv.hv_reenlightenment_control),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC | KHV_MSR_RESTORE_ANY,
	.reserved = KHV_REENLIGHTENMENT_RSVDZ, .enl = KHV_ENL_REENLIGHTENMENT,
	.need = { KHV_PRIV(FEATURES_EAX, REENLIGHTENMENT) })
KHV_MSR(TSC_EMULATION_CONTROL, 0x40000107,
	WRITER(tsc_emulation_control, KVM, arch.hyperv.hv_tsc_emulation_control),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC | KHV_MSR_RESTORE_ANY,
	.reserved = KHV_TSC_EMULATION_RSVDZ, .enl = KHV_ENL_REENLIGHTENMENT,
	.need = { KHV_PRIV(FEATURES_EAX, REENLIGHTENMENT) })
KHV_MSR(TSC_EMULATION_STATUS, 0x40000108,
	WRITER(tsc_emulation_status, KVM, arch.hyperv.hv_tsc_emulation_status),
	.flags = KHV_MSR_VM | KHV_MSR_ATOMIC | KHV_MSR_RESTORE_ANY,
	.reserved = KHV_TSC_EMULATION_RSVDZ, .enl = KHV_ENL_REENLIGHTENMENT,
	.need = { KHV_PRIV(FEATURES_EAX, REENLIGHTENMENT) })
KHV_MSR(STIME_UNHALTED_TIMER_CONFIG, 0x40000114, HANDLERS(unhalted_config),
	.flags = KHV_MSR_UNROUTED | KHV_MSR_SHOWN, .reserved = KHV_UNHALTED_RSVDZ,
	.enl = KHV_ENL_UNHALTED_TIMER,
	.need = { KHV_PRIV(FEATURES_EAX, SYNTIMER),
		  KHV_PRIV(FEATURES_EDX, UNHALTED_TIMER) })
KHV_MSR(STIME_UNHALTED_TIMER_COUNT, 0x40000115, HANDLERS(unhalted_count),
	.flags = KHV_MSR_UNROUTED | KHV_MSR_SHOWN,
	.enl = KHV_ENL_UNHALTED_TIMER,
	.need = { KHV_PRIV(FEATURES_EAX, SYNTIMER),
		  KHV_PRIV(FEATURES_EDX, UNHALTED_TIMER) })
KHV_MSR(TSC_INVARIANT_CONTROL, 0x40000118, HANDLERS(tsc_invariant),
	.flags = KHV_MSR_VM | KHV_TSC_INVARIANT_ROUTE | KHV_MSR_ATOMIC_RD,
	.enl = KHV_ENL_TSC_INVARIANT, .reserved = ~KHV_TSC_INVARIANT_EXPOSE,
	.need = { KHV_PRIV(FEATURES_EAX, TSC_INVARIANT) })
#undef KHV_MSR_ATOMIC
#endif
