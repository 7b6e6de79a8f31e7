/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the selftests need of the KVM uAPI and of the TLFS.
 *
 * Owns: constants that are newer than the uAPI headers of the build machine,
 * the numbers of the Hyper-V interface, and the notation for one CPUID bit.
 * It is a second reading of the TLFS on purpose: it must not include the
 * module's own headers, or a wrong number there would go unnoticed.
 */
#ifndef KHV_SELFTEST_UAPI_H
#define KHV_SELFTEST_UAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT64(n)      (1ULL << (n))
#define PAGE_SIZE     4096UL

#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237
#endif

/* A flag of KVM_HYPERV_EVENTFD that only the module has. */
#define EOM_EVENT 0x80000000u

/* Leaves. */
#define HV_LEAF_VENDOR	      0x40000000u
#define HV_LEAF_INTERFACE     0x40000001u
#define HV_LEAF_VERSION	      0x40000002u
#define HV_LEAF_FEATURES      0x40000003u
#define HV_LEAF_HINTS	      0x40000004u
#define HV_LEAF_LIMITS	      0x40000005u
#define HV_LEAF_NESTED	      0x4000000Au
#define HV_LEAF_SYNDBG_VENDOR 0x40000080u
#define HV_LEAF_SYNDBG_IFACE  0x40000081u
#define HV_LEAF_SYNDBG_CAPS   0x40000082u
#define HV_SIGNATURE	      0x31237648u /* "Hv#1" */

/* One bit of CPUID: leaf, register, bit number packed in a word. */
enum { KHV_EAX, KHV_EBX, KHV_ECX, KHV_EDX };
#define CPUBIT(leaf, reg, bit) (((u64)(leaf) << 32) | (KHV_##reg << 8) | (bit))
#define CPUBIT_LEAF(b)	       ((u32)((b) >> 32))
#define CPUBIT_REG(b)	       ((u32)((b) >> 8) & 3)
#define CPUBIT_MASK(b)	       (1u << ((b) % 32))
#define CPUBIT_NONE	       0ULL

#define HV_F_VP_RUNTIME	     CPUBIT(HV_LEAF_FEATURES, EAX, 0)
#define HV_F_TIME_REF	     CPUBIT(HV_LEAF_FEATURES, EAX, 1)
#define HV_F_SYNIC	     CPUBIT(HV_LEAF_FEATURES, EAX, 2)
#define HV_F_STIMER	     CPUBIT(HV_LEAF_FEATURES, EAX, 3)
#define HV_F_APIC	     CPUBIT(HV_LEAF_FEATURES, EAX, 4)
#define HV_F_HYPERCALL	     CPUBIT(HV_LEAF_FEATURES, EAX, 5)
#define HV_F_VP_INDEX	     CPUBIT(HV_LEAF_FEATURES, EAX, 6)
#define HV_F_RESET	     CPUBIT(HV_LEAF_FEATURES, EAX, 7)
#define HV_F_REF_TSC	     CPUBIT(HV_LEAF_FEATURES, EAX, 9)
#define HV_F_GUEST_IDLE	     CPUBIT(HV_LEAF_FEATURES, EAX, 10)
#define HV_F_FREQUENCY	     CPUBIT(HV_LEAF_FEATURES, EAX, 11)
#define HV_F_REENLIGHTENMENT CPUBIT(HV_LEAF_FEATURES, EAX, 13)
#define HV_F_TSC_INVARIANT   CPUBIT(HV_LEAF_FEATURES, EAX, 15)
#define HV_F_POST_MESSAGES   CPUBIT(HV_LEAF_FEATURES, EBX, 4)
#define HV_F_SIGNAL_EVENTS   CPUBIT(HV_LEAF_FEATURES, EBX, 5)
#define HV_F_DEBUGGING	     CPUBIT(HV_LEAF_FEATURES, EBX, 11)
#define HV_F_EXT_HYPERCALLS  CPUBIT(HV_LEAF_FEATURES, EBX, 20)
#define HV_F_XMM_INPUT	     CPUBIT(HV_LEAF_FEATURES, EDX, 4)
#define HV_F_IDLE_AVAILABLE  CPUBIT(HV_LEAF_FEATURES, EDX, 5)
#define HV_F_FREQ_MSRS	     CPUBIT(HV_LEAF_FEATURES, EDX, 8)
#define HV_F_CRASH	     CPUBIT(HV_LEAF_FEATURES, EDX, 10)
#define HV_F_SYNDBG	     CPUBIT(HV_LEAF_FEATURES, EDX, 11)
#define HV_F_EXT_GVA	     CPUBIT(HV_LEAF_FEATURES, EDX, 14)
#define HV_F_HYPERCALL_LOCK  CPUBIT(HV_LEAF_FEATURES, EDX, 18)
#define HV_F_STIMER_DIRECT   CPUBIT(HV_LEAF_FEATURES, EDX, 19)
#define HV_F_UNHALTED_TIMER  CPUBIT(HV_LEAF_FEATURES, EDX, 23)
#define HV_H_TLBFLUSH	     CPUBIT(HV_LEAF_HINTS, EAX, 2)
#define HV_H_APIC	     CPUBIT(HV_LEAF_HINTS, EAX, 3)
#define HV_H_RELAXED	     CPUBIT(HV_LEAF_HINTS, EAX, 5)
#define HV_H_NO_AEOI	     CPUBIT(HV_LEAF_HINTS, EAX, 9)
#define HV_H_IPI	     CPUBIT(HV_LEAF_HINTS, EAX, 10)
#define HV_H_EX_MASKS	     CPUBIT(HV_LEAF_HINTS, EAX, 11)
#define HV_H_EVMCS	     CPUBIT(HV_LEAF_HINTS, EAX, 14)
#define HV_H_NO_CORESHARING  CPUBIT(HV_LEAF_HINTS, EAX, 18)
#define HV_N_DIRECT_FLUSH    CPUBIT(HV_LEAF_NESTED, EAX, 17)
#define HV_N_GPA_FLUSH	     CPUBIT(HV_LEAF_NESTED, EAX, 18)
#define HV_N_MSR_BITMAP	     CPUBIT(HV_LEAF_NESTED, EAX, 19)
#define HV_N_NPT_TLB	     CPUBIT(HV_LEAF_NESTED, EAX, 22)
#define HV_S_KERNEL_DEBUG    CPUBIT(HV_LEAF_SYNDBG_CAPS, EAX, 1)
#define CPU_INVARIANT_TSC    CPUBIT(0x80000007u, EDX, 8)

/* MSRs. */
#define HV_X64_MSR_GUEST_OS_ID		   0x40000000u
#define HV_X64_MSR_HYPERCALL		   0x40000001u
#define HV_X64_MSR_VP_INDEX		   0x40000002u
#define HV_X64_MSR_RESET		   0x40000003u
#define HV_X64_MSR_VP_RUNTIME		   0x40000010u
#define HV_X64_MSR_TIME_REF_COUNT	   0x40000020u
#define HV_X64_MSR_REFERENCE_TSC	   0x40000021u
#define HV_X64_MSR_TSC_FREQUENCY	   0x40000022u
#define HV_X64_MSR_APIC_FREQUENCY	   0x40000023u
#define HV_X64_MSR_EOI			   0x40000070u
#define HV_X64_MSR_ICR			   0x40000071u
#define HV_X64_MSR_TPR			   0x40000072u
#define HV_X64_MSR_VP_ASSIST_PAGE	   0x40000073u
#define HV_X64_MSR_SCONTROL		   0x40000080u
#define HV_X64_MSR_SVERSION		   0x40000081u
#define HV_X64_MSR_SIEFP		   0x40000082u
#define HV_X64_MSR_SIMP			   0x40000083u
#define HV_X64_MSR_EOM			   0x40000084u
#define HV_X64_MSR_SINT0		   0x40000090u
#define HV_X64_MSR_STIMER0_CONFIG	   0x400000B0u
#define HV_X64_MSR_STIMER0_COUNT	   0x400000B1u
#define HV_X64_MSR_GUEST_IDLE		   0x400000F0u
#define HV_X64_MSR_SYNDBG_CONTROL	   0x400000F1u
#define HV_X64_MSR_SYNDBG_STATUS	   0x400000F2u
#define HV_X64_MSR_SYNDBG_SEND_BUFFER	   0x400000F3u
#define HV_X64_MSR_SYNDBG_RECV_BUFFER	   0x400000F4u
#define HV_X64_MSR_SYNDBG_PENDING_BUFFER   0x400000F5u
#define HV_X64_MSR_SYNDBG_OPTIONS	   0x400000FFu
#define HV_X64_MSR_CRASH_P0		   0x40000100u
#define HV_X64_MSR_CRASH_P4		   0x40000104u
#define HV_X64_MSR_CRASH_CTL		   0x40000105u
#define HV_X64_MSR_REENLIGHTENMENT_CONTROL 0x40000106u
#define HV_X64_MSR_TSC_EMULATION_CONTROL   0x40000107u
#define HV_X64_MSR_TSC_EMULATION_STATUS	   0x40000108u
#define HV_X64_MSR_TSC_INVARIANT_CONTROL   0x40000118u

#define HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG 0x40000114u
#define HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT  0x40000115u

#define HV_X64_MSR_SINT(n)	    (HV_X64_MSR_SINT0 + (n))
#define HV_X64_MSR_STIMER_CONFIG(n) (HV_X64_MSR_STIMER0_CONFIG + 2 * (n))
#define HV_X64_MSR_STIMER_COUNT(n)  (HV_X64_MSR_STIMER0_COUNT + 2 * (n))

/* SynIC: registers, message slots. SCONTROL, SIMP and SIEFP share their enable bit. */
#define HV_SYNIC_ENABLE	 BIT64(0)
#define HV_SYNIC_SINTS	 16
#define HV_SYNIC_STIMERS 4
#define HV_SINT_MASKED	 BIT64(16)
#define HV_SINT_AUTO_EOI BIT64(17)
#define HV_SINT_POLLING	 BIT64(18)

/* KVM's own paravirtual EOI. */
#define MSR_KVM_PV_EOI_EN 0x4b564d04u

#define HV_MSG_NONE	     0u
#define HV_MSG_TIMER_EXPIRED 0x80000010u
#define HV_MSG_PENDING	     1 /* in flags */

/* One of the 16 slots of the SIMP. */
struct hv_message {
	u32 type;
	u8 size; /* of the payload */
	u8 flags;
	u16 rsvd;
	u64 origination;
	union {
		u64 payload[30];
		struct {
			u32 index;
			u32 rsvd;
			u64 expiration;
			u64 delivery;
		} timer;
	};
};

#define HV_STIMER_ENABLE      BIT64(0)
#define HV_STIMER_PERIODIC    BIT64(1)
#define HV_STIMER_LAZY	      BIT64(2)
#define HV_STIMER_AUTO_ENABLE BIT64(3)
#define HV_STIMER_VECTOR(v)   ((u64)(v) << 4)
#define HV_STIMER_DIRECT      BIT64(12)
#define HV_STIMER_SINT(n)     ((u64)(n) << 16)

#define HV_HYPERCALL_ENABLE BIT64(0)
#define HV_HYPERCALL_LOCKED BIT64(1)
#define HV_CRASH_NOTIFY	    BIT64(63)
#define HV_CRASH_MESSAGE    BIT64(62)

/* Hypercalls: codes and the control word. */
#define HVCALL_FLUSH_SPACE	      0x0002
#define HVCALL_FLUSH_LIST	      0x0003
#define HVCALL_NOTIFY_LONG_SPIN_WAIT  0x0008
#define HVCALL_SEND_IPI		      0x000B
#define HVCALL_FLUSH_SPACE_EX	      0x0013
#define HVCALL_FLUSH_LIST_EX	      0x0014
#define HVCALL_SEND_IPI_EX	      0x0015
#define HVCALL_POST_MESSAGE	      0x005C
#define HVCALL_SIGNAL_EVENT	      0x005D
#define HVCALL_POST_DEBUG_DATA	      0x0069
#define HVCALL_RETRIEVE_DEBUG_DATA    0x006A
#define HVCALL_RESET_DEBUG_SESSION    0x006B
#define HVCALL_FLUSH_GPA_SPACE	      0x00AF
#define HVCALL_FLUSH_GPA_LIST	      0x00B0
#define HVCALL_EXT_QUERY_CAPABILITIES 0x8001

#define HV_CTL_FAST		BIT64(16)
#define HV_CTL_NESTED		BIT64(31)
#define HV_CTL_VARHDR(n)	((u64)(n) << 17)
#define HV_CTL_REP(n)		((u64)(n) << 32)
#define HV_CTL_START(n)		((u64)(n) << 48)
#define HV_FLUSH_ALL_PROCESSORS BIT64(0)
#define HV_FLUSH_ALL_SPACES	BIT64(1)
#define HV_FLUSH_EXTENDED	BIT64(3)

#define HV_STATUS_SUCCESS		  0
#define HV_STATUS_INVALID_HYPERCALL_CODE  2
#define HV_STATUS_INVALID_HYPERCALL_INPUT 3
#define HV_STATUS_INVALID_ALIGNMENT	  4
#define HV_STATUS_INVALID_PARAMETER	  5
#define HV_STATUS_ACCESS_DENIED		  6
#define HV_STATUS_OPERATION_DENIED	  8
#define HV_STATUS_INVALID_PORT_ID	  0x11
#define HV_STATUS_INVALID_CONNECTION_ID	  0x12

#define UD_VECTOR 6
#define GP_VECTOR 13
#define PF_VECTOR 14

#endif
