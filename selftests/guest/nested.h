/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A minimal hypervisor for the bare guest, on SVM and on VMX, with a plain VMCS and with
 * the enlightened one. L2 shares L1's address space and descriptor tables and is the
 * interpreter of ops.h: its messages go past L1 to the host, which thus drives L2 with
 * vcpu_op() while the vCPU stays in guest mode. An operation OP_L1 makes L2 exit, and L1
 * runs a stream of its own before it goes on.
 */
#ifndef KHV_SELFTEST_NESTED_H
#define KHV_SELFTEST_NESTED_H

#include "ops.h"

/* nested_create() flags. */
#define NESTED_PAGING 1 /* NPT or EPT */
#define NESTED_EVMCS  2 /* VMX: the enlightened VMCS; nothing on SVM */
#define NESTED_DIRECT 4 /* direct flush in force from the start */

/* 512 pages that only L2 has, through nested paging; no memory of L1 is there. */
#define NESTED_WINDOW 0x60000000ULL

/* CPUID of this leaf in L2 makes L1 run its operations. */
#define NESTED_LEAF 0x4b480001u
#define OP_L1	    ((struct guest_op){ .op = OP_CPUID, .arg0 = NESTED_LEAF })

/* What L1 answers to a hypercall of L2 that reaches it. */
#define NESTED_REFLECTED 0x4c31ULL

/* Reasons that are not the CPU's. */
#define VMX_SYNTHETIC_FLUSH 0x10000031u
#define SVM_SYNTHETIC	    0xf0000000u
#define SVM_SYNTHETIC_FLUSH 1

enum nested_exit {
	NESTED_NONE,
	NESTED_FAILED, /* L2 was not entered: nested.failure */
	NESTED_CPUID,
	NESTED_HYPERCALL,
	NESTED_MSR,
	NESTED_SYNTHETIC,
	NESTED_OTHER,
};

/* Results of VMLAUNCH beside 0 and the vector of an exception. */
#define VMX_FAIL_INVALID 0x100
#define VMX_FAIL_VALID	 0x200

enum { L2_RAX, L2_RCX, L2_RDX, L2_RBX };

/* One per vCPU, in the VM's RAM. */
struct nested {
	u64 gpr[15]; /* of L2, without RSP; used by entry.S up to here and l1_rsp */
	u64 l1_rsp;

	u32 flags;
	bool no_hv; /* L1 has nothing of Hyper-V */
	/* The enlightenments, which L1 writes into the VMCB or eVMCS at each entry. */
	bool direct, msr_bitmap, npt_tlb;
	u32 vp_id, clean;
	u64 vm_id;

	/* VMCB; VMXON region, VMCS and eVMCS; all are pages. */
	u8 *vmcb, *hsave;
	u8 *vmxon, *vmcs, *evmcs;
	u8 *assist;		 /* VP assist page */
	u32 *lock_page;		 /* partition assist page: TlbLockCount */
	u8 *msrs;		 /* MSR bitmap */
	u64 *root, *window;	 /* nested paging: root table, entries of the window */
	u64 leaf;		 /* attributes of such an entry */
	u64 controls, controls2; /* VMX: further primary and secondary ones */
	u64 stack_top;
	bool launched;
	bool may_fail; /* entering L2, which ends L1 then */

	struct ops_page *l1, *l2;

	/* The last exit that was not OP_L1, and their number. */
	volatile u32 exits;
	volatile enum nested_exit exit;
	u32 failure;
	u64 reason, info;
	u64 call_rax; /* of L2's last hypercall: L1 answers in gpr */

	struct kvm_sregs sregs; /* L1's, as the host set them up */
};

/* Host: prepare the vCPU to run L1 with @max operations for each level. */
struct nested *nested_create(struct vcpu *v, u32 flags, u32 max);
/* Let both vCPUs have the same nested page tables. */
void nested_share_paging(struct nested *to, struct nested *from);
/* Run L1 until L2 waits for operations. */
void nested_start(struct vcpu *v);
/* One operation of L1, by the way of L2. */
struct guest_op nested_l1_op(struct vcpu *v, struct guest_op op);
/* Put the fields of struct nested in force: L2 exits and is entered again. */
void nested_reenter(struct vcpu *v);
/*
 * Move every vCPU, in L2 or not, into a new VM in the place of the old one, whose memory
 * and vCPUs it gets; pointers into its RAM stay good, struct vcpu and struct vm do not.
 */
struct vm *nested_move(struct vm *vm);
/* Give the vCPU, in L2, its own state again. */
void nested_restore_in_place(struct vcpu *v);
/* The table for the vCPU again, after its capabilities have changed. */
void nested_reload_cpuid(struct vcpu *v);
bool host_has_nested(void);

/* What a VM whose VPs are in L2 remembers from one nested_go_on() to the next. */
struct nested_memory {
	volatile u64 cell;
	u64 number, last_time;
};

/* Use something of each level, and see that it goes on where it was. */
void nested_go_on(struct vcpu *v, struct nested_memory *m);

/* Guest, L1. nested_init() is the next four. */
void nested_assist_on(struct nested *n);
void nested_vmx_on(struct nested *n);
u32 nested_load_vmcs(struct nested *n); /* VMX: 0, VMX_FAIL_* or a vector */
void nested_fill(struct nested *n);
void nested_init(struct nested *n);
u32 nested_vmclear(u8 *region); /* as nested_load_vmcs() */
/* Enter L2 by VMRUN, or VMLAUNCH the first time, and come back. */
enum nested_exit nested_enter(struct nested *n);
/* SVM: VMRUN of @vmcb, wherever that is; 0 after L2's exit, or the vector of the exception. */
u64 nested_vmrun(struct nested *n, u64 vmcb);
/* Go on behind the instruction that made L2 exit. */
void nested_skip(struct nested *n);
/* L1 as nested_create() starts it, for an L1 that has done nested_init() by itself. */
void nested_loop(struct nested *n);

/* VMX: controls, their bits, what the CPU has of them. */
#define MSR_VMX_PROC2	   0x48bu
#define MSR_VMX_TRUE_PIN   0x48du
#define MSR_VMX_TRUE_PROC  0x48eu
#define MSR_VMX_TRUE_EXIT  0x48fu
#define MSR_VMX_TRUE_ENTRY 0x490u
#define PROC_TSC_OFFSET	   BIT64(3)
#define PROC_TPR_SHADOW	   BIT64(21)
#define PROC_MSR_BITMAP	   BIT64(28)
#define PROC_SECONDARY	   BIT64(31)
#define PROC2_EPT	   BIT64(1)
#define PROC2_X2APIC	   BIT64(4)
#define PROC2_VPID	   BIT64(5)
#define PROC2_TSC_SCALING  BIT64(25)

/* VMX: fields by name, in whichever VMCS is in use. FIELD(name, encoding, eVMCS offset, bytes) */
#define NESTED_FIELDS(FIELD)                  \
	FIELD(PIN, 0x4000, 92, 4)             \
	FIELD(PROC, 0x4002, 788, 4)           \
	FIELD(EXCEPTIONS, 0x4004, 792, 4)     \
	FIELD(EXIT_CTL, 0x400c, 96, 4)        \
	FIELD(ENTRY_CTL, 0x4012, 796, 4)      \
	FIELD(PROC2, 0x401e, 100, 4)          \
	FIELD(MSR_BITMAP, 0x2004, 120, 8)     \
	FIELD(TSC_OFFSET, 0x2010, 400, 8)     \
	FIELD(VAPIC, 0x2012, 408, 8)          \
	FIELD(EPTP, 0x201a, 624, 8)           \
	FIELD(TSC_MULT, 0x2032, 984, 8)       \
	FIELD(GUEST_PHYS, 0x2400, 680, 8)     \
	FIELD(LINK, 0x2800, 416, 8)           \
	FIELD(INSTR_ERROR, 0x4400, 688, 4)    \
	FIELD(REASON, 0x4402, 692, 4)         \
	FIELD(QUALIFICATION, 0x6400, 720, 8)  \
	FIELD(VPID, 0x0, 632, 2)              \
	FIELD(ES, 0x800, 128, 2)              \
	FIELD(CS, 0x802, 130, 2)              \
	FIELD(SS, 0x804, 132, 2)              \
	FIELD(DS, 0x806, 134, 2)              \
	FIELD(FS, 0x808, 136, 2)              \
	FIELD(GS, 0x80a, 138, 2)              \
	FIELD(LDTR, 0x80c, 140, 2)            \
	FIELD(TR, 0x80e, 142, 2)              \
	FIELD(ES_LIMIT, 0x4800, 144, 4)       \
	FIELD(CS_LIMIT, 0x4802, 148, 4)       \
	FIELD(SS_LIMIT, 0x4804, 152, 4)       \
	FIELD(DS_LIMIT, 0x4806, 156, 4)       \
	FIELD(FS_LIMIT, 0x4808, 160, 4)       \
	FIELD(GS_LIMIT, 0x480a, 164, 4)       \
	FIELD(TR_LIMIT, 0x480e, 172, 4)       \
	FIELD(GDTR_LIMIT, 0x4810, 176, 4)     \
	FIELD(IDTR_LIMIT, 0x4812, 180, 4)     \
	FIELD(ES_AR, 0x4814, 184, 4)          \
	FIELD(CS_AR, 0x4816, 188, 4)          \
	FIELD(SS_AR, 0x4818, 192, 4)          \
	FIELD(DS_AR, 0x481a, 196, 4)          \
	FIELD(FS_AR, 0x481c, 200, 4)          \
	FIELD(GS_AR, 0x481e, 204, 4)          \
	FIELD(LDTR_AR, 0x4820, 208, 4)        \
	FIELD(TR_AR, 0x4822, 212, 4)          \
	FIELD(CR0, 0x6800, 544, 8)            \
	FIELD(CR3, 0x6802, 552, 8)            \
	FIELD(CR4, 0x6804, 560, 8)            \
	FIELD(GS_BASE, 0x6810, 256, 8)        \
	FIELD(TR_BASE, 0x6814, 272, 8)        \
	FIELD(GDTR_BASE, 0x6816, 280, 8)      \
	FIELD(IDTR_BASE, 0x6818, 288, 8)      \
	FIELD(DR7, 0x681a, 568, 8)            \
	FIELD(RSP, 0x681c, 768, 8)            \
	FIELD(RIP, 0x681e, 816, 8)            \
	FIELD(RFLAGS, 0x6820, 776, 8)         \
	FIELD(HOST_CS, 0xc02, 10, 2)          \
	FIELD(HOST_SS, 0xc04, 12, 2)          \
	FIELD(HOST_TR, 0xc0c, 20, 2)          \
	FIELD(HOST_CR0, 0x6c00, 40, 8)        \
	FIELD(HOST_CR3, 0x6c02, 48, 8)        \
	FIELD(HOST_CR4, 0x6c04, 56, 8)        \
	FIELD(HOST_GS_BASE, 0x6c08, 584, 8)   \
	FIELD(HOST_TR_BASE, 0x6c0a, 592, 8)   \
	FIELD(HOST_GDTR_BASE, 0x6c0c, 600, 8) \
	FIELD(HOST_IDTR_BASE, 0x6c0e, 608, 8) \
	FIELD(HOST_RSP, 0x6c14, 616, 8)       \
	FIELD(HOST_RIP, 0x6c16, 80, 8)

#define NESTED_FIELD(name, encoding, offset, bytes) VMCS_##name,
enum vmcs_field { NESTED_FIELDS(NESTED_FIELD) };
#undef NESTED_FIELD

u64 vmcs_read(struct nested *n, enum vmcs_field field);
void vmcs_write(struct nested *n, enum vmcs_field field, u64 value);

/* Parts of the eVMCS that no VMCS has. */
#define EVMCS_CLEAN	   824
#define EVMCS_SYNTHETIC	   832
#define EVMCS_ENLIGHTENED  836
#define EVMCS_VP_ID	   840
#define EVMCS_VM_ID	   848
#define EVMCS_ASSIST	   856
#define EVMCS_CLEAN_BITMAP BIT64(1) /* of EVMCS_CLEAN: the MSR bitmap is unchanged */
#define EVMCS_CLEAN_ALL	   0xffff

/* VP assist page. */
#define ASSIST_ENABLE	 BIT64(0) /* of the MSR */
#define ASSIST_DIRECT	 32	  /* NestedControl.Features, bit 0 DirectHypercall */
#define ASSIST_CALLS	 36 /* NestedControl.HypercallControls, bit 0 InterPartitionCommunication */
#define ASSIST_ENLIGHTEN 40
#define ASSIST_VMCS	 48

/* VMCB: the control area and, from VMCB_SAVE on, the state. */
#define VMCB_INTERCEPT3	 0x0c
#define VMCB_INTERCEPT4	 0x10
#define VMCB_MSRPM	 0x48
#define VMCB_TSC_OFFSET	 0x50
#define VMCB_ASID	 0x58
#define VMCB_TLB	 0x5c
#define VMCB_EXIT_CODE	 0x70
#define VMCB_EXIT_INFO1	 0x78
#define VMCB_EXIT_INFO2	 0x80
#define VMCB_NESTED_CTL	 0x90
#define VMCB_NESTED_CR3	 0xb0
#define VMCB_CLEAN	 0xc0
#define VMCB_ENLIGHTENED 0x3e0 /* u32 control, u32 vp_id, u64 vm_id, u64 assist page */
#define VMCB_SAVE	 0x400
#define VMCB_RIP	 (VMCB_SAVE + 0x178)
#define VMCB_CLEAN_HV	 BIT64(31)

#define INTERCEPT3_CPUID BIT64(18)
#define INTERCEPT3_MSR	 BIT64(28)

/* Both vendors: bits of the word of enlightenments. */
#define ENLIGHTENED_DIRECT  1u
#define ENLIGHTENED_BITMAP  2u
#define ENLIGHTENED_NPT_TLB 4u

static inline void put16(void *base, u32 at, u16 val)
{
	*(volatile u16 *)((u8 *)base + at) = val;
}

static inline void put32(void *base, u32 at, u32 val)
{
	*(volatile u32 *)((u8 *)base + at) = val;
}

static inline void put64(void *base, u32 at, u64 val)
{
	*(volatile u64 *)((u8 *)base + at) = val;
}

static inline u32 get32(const void *base, u32 at)
{
	return *(const volatile u32 *)((const u8 *)base + at);
}

static inline u64 get64(const void *base, u32 at)
{
	return *(const volatile u64 *)((const u8 *)base + at);
}

#endif
