/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hypercalls, sorted by call code.
 *
 * KHV_HYPERCALL(NAME, code, handler, columns of struct khv_hc_row ...)
 *
 * hyperv/takeover/hypercall.c binds handler to khv_hc_<handler>().
 */
#ifdef KHV_HYPERCALL
KHV_HYPERCALL(FLUSH_VIRTUAL_ADDRESS_SPACE, 0x0002, flush, .hdr = 24,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_L2 | KHV_XMM, .enl = KHV_ENL_TLBFLUSH,
	      .need = { KHV_PRIV(HINTS_EAX, REMOTE_TLB_FLUSH) })
KHV_HYPERCALL(FLUSH_VIRTUAL_ADDRESS_LIST, 0x0003, flush, .hdr = 24, .rep = 8,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_L2 | KHV_XMM | KHV_REP, .enl = KHV_ENL_TLBFLUSH,
	      .need = { KHV_PRIV(HINTS_EAX, REMOTE_TLB_FLUSH) })
/* The only input, the number of spins so far, is a hint that the handler does not read (D4). */
KHV_HYPERCALL(NOTIFY_LONG_SPIN_WAIT, 0x0008, notify_long_spin_wait, .hdr = 0,
	      .flags = KHV_FAST | KHV_ATOMIC, .enl = KHV_ENL_SPINLOCKS,
	      .need = { KHV_PRIV_WHOLE(HINTS_EBX) })
/* HvCallSendSyntheticClusterIpi */
KHV_HYPERCALL(SEND_IPI, 0x000b, send_ipi, .hdr = 16,
	      .flags = KHV_FAST | KHV_ATOMIC, .enl = KHV_ENL_IPI,
	      .need = { KHV_PRIV(HINTS_EAX, CLUSTER_IPI) })
KHV_HYPERCALL(FLUSH_VIRTUAL_ADDRESS_SPACE_EX, 0x0013, flush_ex, .hdr = 32,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_L2 | KHV_XMM | KHV_VARHDR,
	      .enl = KHV_ENL_TLBFLUSH,
	      .need = { KHV_PRIV(HINTS_EAX, REMOTE_TLB_FLUSH),
			KHV_PRIV(HINTS_EAX, EX_PROCESSOR_MASKS) })
KHV_HYPERCALL(FLUSH_VIRTUAL_ADDRESS_LIST_EX, 0x0014, flush_ex, .hdr = 32, .rep = 8,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_L2 | KHV_XMM | KHV_VARHDR | KHV_REP,
	      .enl = KHV_ENL_TLBFLUSH,
	      .need = { KHV_PRIV(HINTS_EAX, REMOTE_TLB_FLUSH),
			KHV_PRIV(HINTS_EAX, EX_PROCESSOR_MASKS) })
/* HvCallSendSyntheticClusterIpiEx */
KHV_HYPERCALL(SEND_IPI_EX, 0x0015, send_ipi_ex, .hdr = 24,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_XMM | KHV_VARHDR, .enl = KHV_ENL_IPI,
	      .need = { KHV_PRIV(HINTS_EAX, CLUSTER_IPI),
			KHV_PRIV(HINTS_EAX, EX_PROCESSOR_MASKS) })
KHV_HYPERCALL(GET_VP_REGISTERS, 0x0050, get_vp_registers, .hdr = 16, .rep = 4, .rep_out = 16,
	      .flags = KHV_FAST | KHV_XMM | KHV_REP | KHV_EACH | KHV_HIDDEN,
	      .enl = KHV_ENL_VP_REGISTERS,
	      .need = { KHV_PRIV(FEATURES_EBX, VP_REGISTERS) })
KHV_HYPERCALL(SET_VP_REGISTERS, 0x0051, set_vp_registers, .hdr = 16, .rep = 32,
	      .flags = KHV_FAST | KHV_XMM | KHV_REP | KHV_EACH | KHV_HIDDEN,
	      .enl = KHV_ENL_VP_REGISTERS,
	      .need = { KHV_PRIV(FEATURES_EBX, VP_REGISTERS) })
KHV_HYPERCALL(POST_MESSAGE, 0x005c, post_message, .hdr = 256,
	      .flags = KHV_USER_EXIT | KHV_L2_POST, .enl = KHV_ENL_CONNECTIONS,
	      .need = { KHV_PRIV(FEATURES_EBX, POST_MESSAGES) })
KHV_HYPERCALL(SIGNAL_EVENT, 0x005d, signal_event, .hdr = 8,
	      .flags = KHV_FAST | KHV_ATOMIC | KHV_USER_EXIT | KHV_L2_POST,
	      .enl = KHV_ENL_CONNECTIONS,
	      .need = { KHV_PRIV(FEATURES_EBX, SIGNAL_EVENTS) })
/* User space reads the input of these calls: pages of packets, or nothing. */
KHV_HYPERCALL(POST_DEBUG_DATA, 0x0069, debug_data,
	      .flags = KHV_FAST | KHV_USER_EXIT | KHV_NEED_IF_SYNDBG, .enl = KHV_ENL_SYNDBG,
	      .need = { KHV_PRIV(FEATURES_EBX, DEBUGGING) })
KHV_HYPERCALL(RETRIEVE_DEBUG_DATA, 0x006a, debug_data,
	      .flags = KHV_FAST | KHV_USER_EXIT | KHV_NEED_IF_SYNDBG, .enl = KHV_ENL_SYNDBG,
	      .need = { KHV_PRIV(FEATURES_EBX, DEBUGGING) })
KHV_HYPERCALL(RESET_DEBUG_SESSION, 0x006b, reset_debug_session,
	      .flags = KHV_FAST | KHV_USER_EXIT | KHV_NEED_IF_SYNDBG, .enl = KHV_ENL_SYNDBG,
	      .need = { KHV_PRIV(FEATURES_EBX, DEBUGGING) })
/*
 * User space reads the input, too. Its end is an HV_VP_SET, whose mask of banks belongs to the
 * variable header here.
 */
KHV_HYPERCALL(RETARGET_DEVICE_INTERRUPT, 0x007e, retarget_device_interrupt, .hdr = 56,
	      .varhdr = 1 + KHV_MAX_BANKS, .flags = KHV_VARHDR | KHV_USER_EXIT | KHV_HIDDEN,
	      .enl = KHV_ENL_EXTRA_CALLS)
KHV_HYPERCALL(GET_VP_INDEX_FROM_APIC_ID, 0x009a, get_vp_index_from_apic_id, .hdr = 16, .rep = 4,
	      .rep_out = 4, .flags = KHV_FAST | KHV_XMM | KHV_REP | KHV_EACH | KHV_HIDDEN,
	      .enl = KHV_ENL_EXTRA_CALLS)
KHV_HYPERCALL(FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE, 0x00af, flush_gpa, .hdr = 16,
	      .flags = KHV_FAST | KHV_NEED_ANY, .enl = KHV_ENL_GPA_FLUSH,
	      .need = { KHV_PRIV(NESTED_EAX, GPA_FLUSH), KHV_PRIV(NESTED_EAX, NPT_TLB) })
KHV_HYPERCALL(FLUSH_GUEST_PHYSICAL_ADDRESS_LIST, 0x00b0, flush_gpa, .hdr = 16, .rep = 8,
	      .flags = KHV_FAST | KHV_XMM | KHV_REP | KHV_NEED_ANY, .enl = KHV_ENL_GPA_FLUSH,
	      .need = { KHV_PRIV(NESTED_EAX, GPA_FLUSH), KHV_PRIV(NESTED_EAX, NPT_TLB) })
KHV_HYPERCALL(GET_VP_CPUID_VALUES, 0x00f4, get_vp_cpuid_values, .hdr = 24, .rep = 8, .rep_out = 16,
	      .flags = KHV_FAST | KHV_XMM | KHV_REP | KHV_EACH | KHV_HIDDEN,
	      .enl = KHV_ENL_EXTRA_CALLS)
KHV_HYPERCALL(RESTORE_PARTITION_TIME, 0x0103, restore_partition_time, .hdr = 32,
	      .flags = KHV_FAST | KHV_XMM | KHV_HIDDEN, .enl = KHV_ENL_RESTORE_TIME,
	      .need = { KHV_PRIV(HINTS_EAX, RESTORE_TIME_ON_RESUME),
			KHV_PRIV(FEATURES_EAX, TIME_REF_COUNT),
			KHV_PRIV(FEATURES_EAX, REFERENCE_TSC) })
/* HvExtCallQueryCapabilities, and the 64 calls that its result has a bit for. */
KHV_HYPERCALL(EXT_CALL, 0x8001, ext_call, .count = 65,
	      .flags = KHV_USER_EXIT | KHV_ANY_FORM, .enl = KHV_ENL_EXT_HYPERCALLS,
	      .need = { KHV_PRIV(FEATURES_EBX, EXTENDED_HYPERCALLS) })
#endif
