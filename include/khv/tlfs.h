/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wire layouts and constants of the TLFS that the module itself decodes, by the specification's
 * names. Independent of KVM, so that the pure core compiles in the module, under KUnit and in user
 * space.
 */
#ifndef KHV_TLFS_H
#define KHV_TLFS_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/types.h>

#ifdef __KERNEL__
#include "compat/tlfs.h"
#else
#define HV_STATUS_SUCCESS		  0x0000
#define HV_STATUS_INVALID_HYPERCALL_CODE  0x0002
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x0003
#define HV_STATUS_INVALID_ALIGNMENT	  0x0004
#define HV_STATUS_INVALID_PARAMETER	  0x0005
#define HV_STATUS_ACCESS_DENIED		  0x0006
#endif

/* Statuses that no header of all kernels has. */
#define KHV_STATUS_INVALID_PARTITION_ID	  0x000d
#define KHV_STATUS_INVALID_VP_INDEX	  0x000e
#define KHV_STATUS_INVALID_REGISTER_VALUE 0x0050

/* Hypercall input value, "Hypercall Inputs". */
#define KHV_CTL_CODE	  GENMASK_ULL(15, 0)
#define KHV_CTL_FAST	  BIT_ULL(16)
#define KHV_CTL_VARHDR	  GENMASK_ULL(26, 17)
#define KHV_CTL_NESTED	  BIT_ULL(31)
#define KHV_CTL_REP_COUNT GENMASK_ULL(43, 32)
#define KHV_CTL_REP_START GENMASK_ULL(59, 48)
/* IsNested is reserved until nested hypercalls are forwarded to L0. */
#define KHV_CTL_RSVDZ \
	(GENMASK_ULL(30, 27) | KHV_CTL_NESTED | GENMASK_ULL(47, 44) | GENMASK_ULL(63, 60))

/* Hypercall result value, "Hypercall Outputs". */
#define KHV_RESULT_REPS_SHIFT 32

/* Bytes of input of a fast call: RDX and R8, then XMM0 to XMM5. */
#define KHV_FAST_REGS_BYTES  16
#define KHV_FAST_XMM_BYTES   96
#define KHV_FAST_MAX_BYTES   (KHV_FAST_REGS_BYTES + KHV_FAST_XMM_BYTES)
/* An input block in memory lies within one page. */
#define KHV_INPUT_MAX_BYTES  4096
/* The output of a call, or of one rep element, fits in registers. */
#define KHV_OUTPUT_MAX_BYTES KHV_FAST_MAX_BYTES

/* HV_X64_MSR_HYPERCALL, "Establishing the Hypercall Interface". */
#define KHV_HYPERCALL_ENABLE BIT_ULL(0)
#define KHV_HYPERCALL_LOCKED BIT_ULL(1)
#define KHV_PAGE_GPFN	     GENMASK_ULL(63, 12)
#define KHV_PAGE_ENABLE	     BIT_ULL(0) /* in every register that names a page */

/* HV_X64_MSR_CRASH_CTL, "Guest Crash Enlightenment". */
#define KHV_CRASH_NOTIFY  BIT_ULL(63)
#define KHV_CRASH_MESSAGE BIT_ULL(62)

/* HV_X64_MSR_TSC_INVARIANT_CONTROL. */
#define KHV_TSC_INVARIANT_EXPOSE BIT_ULL(0)

/* HV_X64_MSR_REFERENCE_TSC, "Partition Reference TSC Mechanism". */
#define KHV_REFERENCE_TSC_ENABLE BIT_ULL(0)

/* HV_X64_MSR_REENLIGHTENMENT_CONTROL and TSC_EMULATION_*, "Nested Virtualization". */
#define KHV_REENLIGHTENMENT_RSVDZ     (GENMASK_ULL(15, 8) | GENMASK_ULL(31, 17))
#define KHV_REENLIGHTENMENT_VECTOR    GENMASK_ULL(7, 0)
#define KHV_REENLIGHTENMENT_ENABLE    BIT_ULL(16)
#define KHV_REENLIGHTENMENT_TARGET    GENMASK_ULL(63, 32)
#define KHV_TSC_EMULATION_RSVDZ	      GENMASK_ULL(63, 1)
#define KHV_TSC_EMULATION_IN_PROGRESS BIT_ULL(0)

/* The SynIC, "Virtual Interrupt Control". */
#define KHV_SCONTROL_ENABLE   BIT_ULL(0)
#define KHV_SIMP_ENABLE	      BIT_ULL(0) /* SIEFP too */
#define KHV_SINT_VECTOR	      GENMASK_ULL(7, 0)
#define KHV_SINT_MASKED	      BIT_ULL(16)
#define KHV_SINT_AUTO_EOI     BIT_ULL(17)
#define KHV_SINT_POLLING      BIT_ULL(18)
#define KHV_SINT_FIRST_VECTOR 16

/* HV_X64_MSR_STIMERn_CONFIG, "Synthetic Timers". */
#define KHV_STIMER_RSVDZ (GENMASK_ULL(15, 13) | GENMASK_ULL(63, 20))

/* HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, "Synthetic Time-Unhalted Timer". */
#define KHV_UNHALTED_VECTOR	    GENMASK_ULL(7, 0)
#define KHV_UNHALTED_ENABLE	    BIT_ULL(8)
#define KHV_UNHALTED_RSVDZ	    GENMASK_ULL(63, 9)
/* SyntheticTimeUnhaltedTimerExpired in HV_VP_ASSIST_PAGE. */
#define KHV_ASSIST_UNHALTED_EXPIRED 56

/* HV_X64_MSR_VP_ASSIST_PAGE, "VP Assist Page". */
#define KHV_VP_ASSIST_ENABLE BIT_ULL(0)

/* CPUID leaves of the interface, "Feature and Interface Discovery". */
#define KHV_CPUID_LEAF_VENDOR		0x40000000
#define KHV_CPUID_LEAF_INTERFACE	0x40000001
#define KHV_CPUID_LEAF_VERSION		0x40000002
#define KHV_CPUID_LEAF_FEATURES		0x40000003
#define KHV_CPUID_LEAF_HINTS		0x40000004
#define KHV_CPUID_LEAF_LIMITS		0x40000005
#define KHV_CPUID_LEAF_NESTED		0x4000000a
#define KHV_CPUID_LEAF_SYNDBG_VENDOR	0x40000080
#define KHV_CPUID_LEAF_SYNDBG_INTERFACE 0x40000081
#define KHV_CPUID_LEAF_SYNDBG_CAPS	0x40000082
#define KHV_CPUID_SIGNATURE		0x31237648 /* "Hv#1" */

/* Bits of those leaves that a table row names: KHV_<register>_<bit>. */
enum khv_cpuid_bits {
	KHV_FEATURES_EAX_VP_RUNTIME = 0,
	KHV_FEATURES_EAX_TIME_REF_COUNT = 1,
	KHV_FEATURES_EAX_SYNIC = 2,
	KHV_FEATURES_EAX_SYNTIMER = 3,
	KHV_FEATURES_EAX_APIC_ACCESS = 4,
	KHV_FEATURES_EAX_HYPERCALL = 5,
	KHV_FEATURES_EAX_VP_INDEX = 6,
	KHV_FEATURES_EAX_RESET = 7,
	KHV_FEATURES_EAX_REFERENCE_TSC = 9,
	KHV_FEATURES_EAX_GUEST_IDLE = 10,
	KHV_FEATURES_EAX_FREQUENCY = 11,
	KHV_FEATURES_EAX_REENLIGHTENMENT = 13,
	KHV_FEATURES_EAX_TSC_INVARIANT = 15,

	KHV_FEATURES_EBX_POST_MESSAGES = 4,
	KHV_FEATURES_EBX_SIGNAL_EVENTS = 5,
	KHV_FEATURES_EBX_DEBUGGING = 11,
	KHV_FEATURES_EBX_VP_REGISTERS = 17,
	KHV_FEATURES_EBX_FAST_OUTPUT = 19,
	KHV_FEATURES_EBX_EXTENDED_HYPERCALLS = 20,

	KHV_FEATURES_EDX_GUEST_DEBUGGING = 1,
	KHV_FEATURES_EDX_XMM_INPUT = 4,
	KHV_FEATURES_EDX_GUEST_IDLE = 5,
	KHV_FEATURES_EDX_FREQUENCY = 8,
	KHV_FEATURES_EDX_GUEST_CRASH = 10,
	KHV_FEATURES_EDX_DEBUG_MSRS = 11,
	KHV_FEATURES_EDX_EXT_GVA_RANGES = 14,
	KHV_FEATURES_EDX_XMM_OUTPUT = 15,
	KHV_FEATURES_EDX_HYPERCALL_LOCK = 18,
	KHV_FEATURES_EDX_STIMER_DIRECT = 19,
	KHV_FEATURES_EDX_UNHALTED_TIMER = 23,

	KHV_HINTS_EAX_REMOTE_TLB_FLUSH = 2,
	KHV_HINTS_EAX_APIC_ACCESS = 3,
	KHV_HINTS_EAX_RELAXED_TIMING = 5,
	KHV_HINTS_EAX_DEPRECATING_AEOI = 9,
	KHV_HINTS_EAX_CLUSTER_IPI = 10,
	KHV_HINTS_EAX_EX_PROCESSOR_MASKS = 11,
	KHV_HINTS_EAX_NESTED = 12,
	KHV_HINTS_EAX_ENLIGHTENED_VMCS = 14,
	KHV_HINTS_EAX_NO_NONARCH_CORESHARING = 18,
	KHV_HINTS_EAX_RESTORE_TIME_ON_RESUME = 20,

	KHV_NESTED_EAX_DIRECT_FLUSH = 17,
	KHV_NESTED_EAX_GPA_FLUSH = 18,
	KHV_NESTED_EAX_MSR_BITMAP = 19,
	KHV_NESTED_EAX_NPT_TLB = 22,
	KHV_NESTED_EBX_PERF_GLOBAL_CTRL = 0,

	KHV_SYNDBG_EAX_ALLOW_KERNEL_DEBUGGING = 1,
};

/* HV_VP_SET, "Virtual Processor Sets". */
#define KHV_VP_SET_SPARSE_4K 0
#define KHV_VP_SET_ALL	     1
#define KHV_MAX_BANKS	     64

struct khv_vp_set {
	u64 format;
	u64 valid_bank_mask;
	u64 bank_contents[];
};

/* HV_GVA_RANGE; EXT: with HV_FLUSH_USE_EXTENDED_RANGE_FORMAT. "Virtual MMU". */
#define KHV_GVA_MORE_PAGES     GENMASK_ULL(11, 0)
#define KHV_GVA_EXT_MORE_PAGES GENMASK_ULL(10, 0)
#define KHV_GVA_EXT_LARGE      BIT_ULL(11)
#define KHV_GVA_EXT_1G	       BIT_ULL(12)

/* Input of HvFlushVirtualAddressSpace and -List, and of their Ex forms. */
struct khv_flush_input {
	u64 address_space;
	u64 flags;
	u64 processor_mask;
	u64 gva_ranges[];
};

struct khv_flush_ex_input {
	u64 address_space;
	u64 flags;
	struct khv_vp_set vp_set;
};

/* Input of HvSendSyntheticClusterIpi and of its Ex form, "Virtual Interrupt Control". */
struct khv_send_ipi_input {
	u32 vector;
	u32 rsvdz;
	u64 processor_mask;
};

struct khv_send_ipi_ex_input {
	u32 vector;
	u32 rsvdz;
	struct khv_vp_set vp_set;
};

static_assert(sizeof(struct khv_flush_input) == 24);
static_assert(sizeof(struct khv_flush_ex_input) == 32);
static_assert(sizeof(struct khv_send_ipi_input) == 16);
static_assert(sizeof(struct khv_send_ipi_ex_input) == 24);

/* Input of HvFlushGuestPhysicalAddressSpace and -List, "Nested Virtualization". */
struct khv_gpa_flush_input {
	u64 address_space;
	u64 flags;
	u64 gpa_ranges[];
};

static_assert(sizeof(struct khv_gpa_flush_input) == 16);

/* The part of HV_VP_ASSIST_PAGE that a nested VM-Entry reads, "Virtual Processors". */
struct khv_vp_assist {
	u32 apic_assist;
	u32 rsvdz;
	u64 vtl_control[3];
	u32 nested_features;
	u32 nested_hypercall_controls;
	u8 enlighten_vmentry;
	u8 rsvdz2[7];
	u64 current_nested_vmcs;
};

#define KHV_ASSIST_DIRECT_HYPERCALL BIT(0) /* of nested_features */
#define KHV_ASSIST_INTER_PARTITION  BIT(0) /* of nested_hypercall_controls */
/* Two values of CurrentNestedVmcs that mean "no enlightened VMCS". */
#define KHV_EVMPTR_NONE		    U64_MAX
#define KHV_EVMPTR_PENDING	    (U64_MAX - 1)

/* Identity of a nested guest, in an enlightened VMCS and in a VMCB: "Direct Virtual Flush". */
struct khv_evmcs_identity {
	u32 clean_fields;
	u32 pad1;
	u32 synthetic_controls;
	u32 control;
	u32 vp_id;
	u32 pad2;
	u64 vm_id;
	u64 partition_assist_page;
};

struct khv_vmcb_identity {
	u32 control;
	u32 vp_id;
	u64 vm_id;
	u64 partition_assist_page;
};

#define KHV_EVMCS_IDENTITY	   824
#define KHV_VMCB_CLEAN		   0xc0
#define KHV_VMCB_IDENTITY	   0x3e0
/* Bits of control, in both. */
#define KHV_NESTED_FLUSH_HYPERCALL BIT(0)
#define KHV_NESTED_MSR_BITMAP	   BIT(1)
/* VMCB clean bit: the enlightenment fields and the MSR bitmap are unchanged. */
#define KHV_VMCB_CLEAN_NESTED	   BIT(31)
/* Synthetic VM-Exit after a direct flush if L1 holds a TLB lock. */
#define KHV_VMX_TRAP_AFTER_FLUSH   0x10000031
#define KHV_SVM_SYNTHETIC_EXIT	   0xf0000000
#define KHV_SVM_TRAP_AFTER_FLUSH   1

static_assert(sizeof(struct khv_vp_assist) == 56);
static_assert(offsetof(struct khv_vp_assist, enlighten_vmentry) == 40);
static_assert(sizeof(struct khv_vmcb_identity) == 24);

/* HV_X64_MSR_SYNDBG_OPTIONS. */
#define KHV_SYNDBG_USE_HCALLS BIT_ULL(2)

/* A call's own partition and VP, "Partitions" and "Virtual Processors". */
#define KHV_PARTITION_SELF U64_MAX
#define KHV_VP_INDEX_SELF  0xfffffffeU

/* HV_INPUT_VTL. Without the second, the VTL is that of the caller. */
#define KHV_INPUT_VTL	  GENMASK(3, 0)
#define KHV_INPUT_USE_VTL BIT(4)

/* Does an HV_INPUT_VTL name the only VTL that there is? */
static inline bool khv_vtl_is_0(u8 input_vtl)
{
	return !(input_vtl & ~(KHV_INPUT_VTL | KHV_INPUT_USE_VTL)) &&
	       !((input_vtl & KHV_INPUT_USE_VTL) && (input_vtl & KHV_INPUT_VTL));
}

/* Does an input name the VP that makes the call, whose index is @own? */
static inline bool khv_vp_is_self(u32 own, u32 vp_index)
{
	return vp_index == KHV_VP_INDEX_SELF || vp_index == own;
}

/* Input of HvGetVpRegisters and HvSetVpRegisters, "Virtual Processors". */
struct khv_vp_registers_input {
	u64 partition_id;
	u32 vp_index;
	u8 input_vtl;
	u8 rsvdz[3];
};

struct khv_get_vp_registers_input {
	struct khv_vp_registers_input vp;
	u32 names[];
};

/* HV_REGISTER_VALUE, and HV_REGISTER_ASSOC. */
struct khv_register_value {
	u64 low;
	u64 high;
};

struct khv_register_assoc {
	u32 name;
	u32 rsvdz;
	u64 rsvdz2;
	struct khv_register_value value;
};

struct khv_set_vp_registers_input {
	struct khv_vp_registers_input vp;
	struct khv_register_assoc registers[];
};

/* HV_X64_SEGMENT_REGISTER and HV_X64_TABLE_REGISTER, two values of registers. */
struct khv_segment_register {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attributes;
};

struct khv_table_register {
	u16 pad[3];
	u16 limit;
	u64 base;
};

static_assert(sizeof(struct khv_vp_registers_input) == 16);
static_assert(sizeof(struct khv_register_assoc) == 32);
static_assert(sizeof(struct khv_segment_register) == sizeof(struct khv_register_value));
static_assert(sizeof(struct khv_table_register) == sizeof(struct khv_register_value));

/* Input of HvCallGetVpIndexFromApicId. Only the VTL is significant of its word. */
struct khv_vp_index_input {
	u64 partition_id;
	u8 target_vtl;
	u8 pad[7];
	u32 apic_ids[];
};

/* Input of HvCallGetVpCpuidValues. */
struct khv_cpuid_values_input {
	u64 partition_id;
	u32 vp_index;
	u32 flags;
	u64 rsvdz;
	struct khv_cpuid_leaf {
		u32 leaf;
		u32 subleaf;
	} leaves[];
};

/* UseVpXfemXss and ApplyRegisteredIntercepts. */
#define KHV_CPUID_VALUES_FLAGS GENMASK(1, 0)

static_assert(sizeof(struct khv_vp_index_input) == 16);
static_assert(sizeof(struct khv_cpuid_values_input) == 24);

/* Input of HvCallRestorePartitionTime. */
struct khv_restore_time_input {
	u64 partition_id;
	u32 tsc_sequence;
	u32 rsvdz;
	u64 reference_time;
	u64 tsc;
};

static_assert(sizeof(struct khv_restore_time_input) == 32);

/* HvPostMessage's input, "Messages". */
struct khv_post_message_input {
	u32 connection_id;
	u32 rsvdz;
	u32 message_type;
	u32 payload_size;
	u8 payload[240];
};

static_assert(sizeof(struct khv_post_message_input) == 256);
static_assert(KHV_FAST_MAX_BYTES == 112);

#endif
