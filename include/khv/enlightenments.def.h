/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Enlightenments, by the names of QEMU's hv-* flags. KVM_GET_SUPPORTED_HV_CPUID offers the bits of
 * each one that the module or KVM answers and whose condition holds.
 *
 * KHV_ENLIGHTENMENT(ID, "name", columns of struct khv_enl_row ...)
 */
#ifdef KHV_ENLIGHTENMENT
KHV_ENLIGHTENMENT(HYPERCALL, "hv-hypercall",
		  .offer = { KHV_PRIV(FEATURES_EAX, HYPERCALL) })
KHV_ENLIGHTENMENT(HYPERCALL_LOCK, "hv-hypercall-lock",
		  .offer = { KHV_PRIV(FEATURES_EDX, HYPERCALL_LOCK) })
KHV_ENLIGHTENMENT(RELAXED, "hv-relaxed",
		  .offer = { KHV_PRIV(HINTS_EAX, RELAXED_TIMING) })
KHV_ENLIGHTENMENT(VAPIC, "hv-vapic",
		  .offer = { KHV_PRIV(FEATURES_EAX, APIC_ACCESS),
			     KHV_PRIV(HINTS_EAX, APIC_ACCESS) })
KHV_ENLIGHTENMENT(SPINLOCKS, "hv-spinlocks",
		  .offer = { KHV_PRIV_WHOLE(HINTS_EBX) })
KHV_ENLIGHTENMENT(VPINDEX, "hv-vpindex",
		  .offer = { KHV_PRIV(FEATURES_EAX, VP_INDEX) })
KHV_ENLIGHTENMENT(RUNTIME, "hv-runtime",
		  .offer = { KHV_PRIV(FEATURES_EAX, VP_RUNTIME) })
/* QEMU has no flag for it: the module parameter features_eax shows it to guests. */
KHV_ENLIGHTENMENT(GUEST_IDLE, "hv-guest-idle",
		  .offer = { KHV_PRIV(FEATURES_EAX, GUEST_IDLE),
			     KHV_PRIV(FEATURES_EDX, GUEST_IDLE) },
		  .cond = KHV_COND_LAPIC)
KHV_ENLIGHTENMENT(CRASH, "hv-crash",
		  .offer = { KHV_PRIV(FEATURES_EDX, GUEST_CRASH) })
KHV_ENLIGHTENMENT(TIME, "hv-time",
		  .offer = { KHV_PRIV(FEATURES_EAX, REFERENCE_TSC),
			     KHV_PRIV(FEATURES_EAX, TIME_REF_COUNT) })
KHV_ENLIGHTENMENT(SYNIC, "hv-synic",
		  .offer = { KHV_PRIV(FEATURES_EAX, SYNIC) })
KHV_ENLIGHTENMENT(CONNECTIONS, "hv-connections",
		  .offer = { KHV_PRIV(FEATURES_EBX, POST_MESSAGES),
			     KHV_PRIV(FEATURES_EBX, SIGNAL_EVENTS) })
KHV_ENLIGHTENMENT(STIMER, "hv-stimer",
		  .offer = { KHV_PRIV(FEATURES_EAX, SYNTIMER) })
KHV_ENLIGHTENMENT(STIMER_DIRECT, "hv-stimer-direct",
		  .offer = { KHV_PRIV(FEATURES_EDX, STIMER_DIRECT) },
		  .cond = KHV_COND_LAPIC)
/*
 * QEMU has no flag for it: the module parameter features_edx shows it to guests. No VMM saves its
 * registers, so do not offer it to one that shows all that is offered.
 */
KHV_ENLIGHTENMENT(UNHALTED_TIMER, "hv-unhalted-timer",
		  .offer = { KHV_PRIV(FEATURES_EDX, UNHALTED_TIMER) },
		  .cond = KHV_COND_ASKED)
KHV_ENLIGHTENMENT(TLBFLUSH, "hv-tlbflush",
		  .offer = { KHV_PRIV(HINTS_EAX, REMOTE_TLB_FLUSH),
			     KHV_PRIV(HINTS_EAX, EX_PROCESSOR_MASKS) })
KHV_ENLIGHTENMENT(TLBFLUSH_EXT, "hv-tlbflush-ext",
		  .offer = { KHV_PRIV(FEATURES_EDX, EXT_GVA_RANGES) })
KHV_ENLIGHTENMENT(TLBFLUSH_DIRECT, "hv-tlbflush-direct",
		  .offer = { KHV_PRIV(NESTED_EAX, DIRECT_FLUSH) })
/*
 * QEMU has no flag for GPA_FLUSH and NPT_TLB: the module parameter nested_features shows them to
 * guests.
 */
KHV_ENLIGHTENMENT(GPA_FLUSH, "hv-gpa-flush",
		  .offer = { KHV_PRIV(NESTED_EAX, GPA_FLUSH) },
		  .cond = KHV_COND_TDP)
KHV_ENLIGHTENMENT(NPT_TLB, "hv-enlightened-npt-tlb",
		  .offer = { KHV_PRIV(NESTED_EAX, NPT_TLB) },
		  .cond = KHV_COND_NPT)
KHV_ENLIGHTENMENT(IPI, "hv-ipi",
		  .offer = { KHV_PRIV(HINTS_EAX, CLUSTER_IPI),
			     KHV_PRIV(HINTS_EAX, EX_PROCESSOR_MASKS) },
		  .cond = KHV_COND_LAPIC)
KHV_ENLIGHTENMENT(VENDOR_ID, "hv-vendor-id")
KHV_ENLIGHTENMENT(VERSION_ID, "hv-version-id")
KHV_ENLIGHTENMENT(RESET, "hv-reset",
		  .offer = { KHV_PRIV(FEATURES_EAX, RESET) })
KHV_ENLIGHTENMENT(FREQUENCIES, "hv-frequencies",
		  .offer = { KHV_PRIV(FEATURES_EAX, FREQUENCY),
			     KHV_PRIV(FEATURES_EDX, FREQUENCY) })
KHV_ENLIGHTENMENT(REENLIGHTENMENT, "hv-reenlightenment",
		  .offer = { KHV_PRIV(FEATURES_EAX, REENLIGHTENMENT) })
KHV_ENLIGHTENMENT(TSC_INVARIANT, "hv-tsc-invariant",
		  .offer = { KHV_PRIV(FEATURES_EAX, TSC_INVARIANT) })
KHV_ENLIGHTENMENT(EVMCS, "hv-evmcs",
		  .offer = { KHV_PRIV(HINTS_EAX, ENLIGHTENED_VMCS) },
		  .cond = KHV_COND_EVMCS)
KHV_ENLIGHTENMENT(EVMCS_PERF, "hv-evmcs-perf-global-ctrl",
		  .offer = { KHV_PRIV(NESTED_EBX, PERF_GLOBAL_CTRL) })
KHV_ENLIGHTENMENT(EMSR_BITMAP, "hv-emsr-bitmap",
		  .offer = { KHV_PRIV(NESTED_EAX, MSR_BITMAP) },
		  .answer = KHV_ANSWER_STOCK)
KHV_ENLIGHTENMENT(AVIC, "hv-avic",
		  .offer = { KHV_PRIV(HINTS_EAX, DEPRECATING_AEOI) })
KHV_ENLIGHTENMENT(NO_NONARCH_CORESHARING, "hv-no-nonarch-coresharing",
		  .offer = { KHV_PRIV(HINTS_EAX, NO_NONARCH_CORESHARING) },
		  .cond = KHV_COND_NO_SMT)
KHV_ENLIGHTENMENT(XMM_INPUT, "hv-xmm-input",
		  .offer = { KHV_PRIV(FEATURES_EDX, XMM_INPUT) })
KHV_ENLIGHTENMENT(EXT_HYPERCALLS, "hv-ext-hypercalls",
		  .offer = { KHV_PRIV(FEATURES_EBX, EXTENDED_HYPERCALLS) })
/* QEMU has no flags for these: the module parameter extra_calls lists calls that belong to them. */
KHV_ENLIGHTENMENT(VP_REGISTERS, "hv-vp-registers",
		  .offer = { KHV_PRIV(FEATURES_EBX, VP_REGISTERS) },
		  .cond = KHV_COND_CALL)
KHV_ENLIGHTENMENT(RESTORE_TIME, "hv-restore-time",
		  .offer = { KHV_PRIV(HINTS_EAX, RESTORE_TIME_ON_RESUME) },
		  .cond = KHV_COND_CALL)
KHV_ENLIGHTENMENT(XMM_OUTPUT, "hv-xmm-output",
		  .offer = { KHV_PRIV(FEATURES_EDX, XMM_OUTPUT),
			     KHV_PRIV(FEATURES_EBX, FAST_OUTPUT) },
		  .cond = KHV_COND_FAST_OUTPUT)
KHV_ENLIGHTENMENT(EXTRA_CALLS, "hv-extra-calls",
		  .cond = KHV_COND_CALL)
KHV_ENLIGHTENMENT(SYNDBG, "hv-syndbg",
		  .offer = { KHV_PRIV(FEATURES_EDX, DEBUG_MSRS),
			     KHV_PRIV(FEATURES_EDX, GUEST_DEBUGGING),
			     KHV_PRIV(FEATURES_EBX, DEBUGGING),
			     KHV_PRIV(SYNDBG_EAX, ALLOW_KERNEL_DEBUGGING) })
#endif
