/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables of enlightenments, MSRs and hypercalls. The rows are in *.def.h beside this file
 * (X-macros); this header defines the type of a row and numbers the rows. Pure: no KVM, no locks.
 */
#ifndef KHV_TABLES_H
#define KHV_TABLES_H

#include <linux/nospec.h>

#include "compat/routes.h"
#include "khv/tlfs.h"

/**
 * enum khv_cpuid_reg - CPUID output registers that carry privileges and hints
 * @KHV_CPUID_NONE: no register; an all-zero &struct khv_priv needs nothing
 * @KHV_CPUID_FEATURES_EAX: leaf 0x40000003, partition privileges, low
 * @KHV_CPUID_FEATURES_EBX: leaf 0x40000003, partition privileges, high
 * @KHV_CPUID_FEATURES_EDX: leaf 0x40000003, features
 * @KHV_CPUID_HINTS_EAX: leaf 0x40000004, recommendations
 * @KHV_CPUID_HINTS_EBX: leaf 0x40000004, spinlock retries
 * @KHV_CPUID_NESTED_EAX: leaf 0x4000000A, nested features
 * @KHV_CPUID_NESTED_EBX: leaf 0x4000000A, nested features, second word
 * @KHV_CPUID_SYNDBG_EAX: leaf 0x40000082, synthetic debugger
 * @KHV_NR_CPUID_REGS: number of values above
 *
 * TLFS chapter "Feature and Interface Discovery".
 */
enum khv_cpuid_reg {
	KHV_CPUID_NONE,
	KHV_CPUID_FEATURES_EAX,
	KHV_CPUID_FEATURES_EBX,
	KHV_CPUID_FEATURES_EDX,
	KHV_CPUID_HINTS_EAX,
	KHV_CPUID_HINTS_EBX,
	KHV_CPUID_NESTED_EAX,
	KHV_CPUID_NESTED_EBX,
	KHV_CPUID_SYNDBG_EAX,
	KHV_NR_CPUID_REGS,
};

/**
 * struct khv_cpuid - the guest's Hyper-V CPUID, as user space set it
 * @present: leaf 0x40000001 shows "Hv#1"; without it the guest has no access to any row
 * @reg: register values, indexed by &enum khv_cpuid_reg
 */
struct khv_cpuid {
	bool present;
	u32 reg[KHV_NR_CPUID_REGS];
};

/* Not a bit but the whole register: held if it is neither 0 nor all ones (spinlock retries). */
#define KHV_WHOLE_REG 32

/**
 * struct khv_priv - one CPUID bit that a row needs or an enlightenment sets
 * @reg: &enum khv_cpuid_reg; KHV_CPUID_NONE ends a list
 * @bit: 0 to 31, or KHV_WHOLE_REG
 */
struct khv_priv {
	u8 reg;
	u8 bit;
};

#define KHV_MAX_PRIVS 4
/* clang-format takes these initialisers for blocks. */
/* clang-format off */
#define KHV_PRIV(_reg, _bit)	{ KHV_CPUID_##_reg, KHV_##_reg##_##_bit }
#define KHV_PRIV_WHOLE(_reg)	{ KHV_CPUID_##_reg, KHV_WHOLE_REG }
/* clang-format on */

/**
 * enum khv_answer - who answers an enlightenment
 * @KHV_ANSWER_MODULE: this module
 * @KHV_ANSWER_STOCK: KVM's own code, for an owned VM
 */
enum khv_answer {
	KHV_ANSWER_MODULE,
	KHV_ANSWER_STOCK,
};

/**
 * enum khv_cond - condition on the host or VM for offering an enlightenment
 * @KHV_COND_ALWAYS: nothing
 * @KHV_COND_LAPIC: an in-kernel local APIC
 * @KHV_COND_EVMCS: enlightened VMCS enabled or, for the system ioctl, possible
 * @KHV_COND_NO_SMT: SMT impossible on this host
 * @KHV_COND_TDP: guests run on EPT or NPT
 * @KHV_COND_NPT: guests run on NPT
 * @KHV_COND_ASKED: an in-kernel local APIC, and a module parameter names the first of its bits
 * @KHV_COND_CALL: a call that belongs to the enlightenment is not hidden
 * @KHV_COND_FAST_OUTPUT: a call that has output in its fast form is not hidden
 */
enum khv_cond {
	KHV_COND_ALWAYS,
	KHV_COND_LAPIC,
	KHV_COND_EVMCS,
	KHV_COND_NO_SMT,
	KHV_COND_TDP,
	KHV_COND_NPT,
	KHV_COND_ASKED,
	KHV_COND_CALL,
	KHV_COND_FAST_OUTPUT,
};

/**
 * struct khv_enl_row - an enlightenment
 * @id: name of its enumerator, for reports
 * @name: QEMU's flag for it
 * @offer: CPUID bits set in KVM_GET_SUPPORTED_HV_CPUID; the first one tells whether a guest is
 *	shown the enlightenment. Empty: always shown.
 * @cond: &enum khv_cond
 * @answer: &enum khv_answer; KHV_ANSWER_MODULE unless the row says otherwise
 */
struct khv_enl_row {
	const char *id;
	const char *name;
	struct khv_priv offer[KHV_MAX_PRIVS];
	u8 cond;
	u8 answer;
};

/**
 * enum khv_msr_flags - properties of an MSR row
 * @KHV_MSR_RO: a guest write is #GP; a write by user space reaches the write handler, or is
 *	accepted and ignored if the row has none
 * @KHV_MSR_VM: partition-wide (one value for all VPs)
 * @KHV_MSR_UNROUTED: this kernel's KVM does not route the number to its Hyper-V code; needs the
 *	hooks on kvm_{get,set}_msr_common()
 * @KHV_MSR_ATOMIC_RD: a guest read may be answered in the fast path: the handler does not sleep,
 *	take a mutex, access a guest page or wait for another CPU
 * @KHV_MSR_ATOMIC_WR: a guest write may be answered in the fast path, likewise
 * @KHV_MSR_RESTORE_ANY: reserved bits in a write by user space are dropped, because stock KVM lets
 *	guests set them
 * @KHV_MSR_OVERLAY: the register lays a page over guest memory, below the hypercall page
 * @KHV_MSR_SHOWN: a guest needs the privileges even without KVM_CAP_HYPERV_ENFORCE_CPUID: stock KVM
 *	has no such register, so no guest relies on one that it is not shown. With KHV_MSR_RO it is
 *	read-only for user space, too
 */
enum khv_msr_flags {
	KHV_MSR_RO = BIT(0),
	KHV_MSR_VM = BIT(1),
	KHV_MSR_UNROUTED = BIT(2),
	KHV_MSR_ATOMIC_RD = BIT(3),
	KHV_MSR_ATOMIC_WR = BIT(4),
	KHV_MSR_RESTORE_ANY = BIT(5),
	KHV_MSR_OVERLAY = BIT(6),
	KHV_MSR_SHOWN = BIT(7),
};

/**
 * struct khv_msr_row - a synthetic MSR, or an array of them
 * @name: TLFS name without HV_X64_MSR_
 * @first: number of the first register
 * @count: number of registers, at least 1
 * @stride: distance between their numbers, at least 1
 * @flags: &enum khv_msr_flags
 * @enl: &enum khv_enl that it belongs to
 * @reserved: bits that must be 0 in a write, else #GP
 * @need: privileges required under KVM_CAP_HYPERV_ENFORCE_CPUID, all of them
 */
struct khv_msr_row {
	const char *name;
	u32 first;
	u16 count;
	u8 stride;
	u8 flags;
	u8 enl;
	u64 reserved;
	struct khv_priv need[KHV_MAX_PRIVS];
};

/**
 * enum khv_hc_flags - form and properties of a hypercall row
 * @KHV_FAST: has a fast (register) form
 * @KHV_XMM: its fast form continues in XMM0 to XMM5
 * @KHV_VARHDR: takes a variable-sized header
 * @KHV_REP: rep hypercall: needs a rep count above the start index
 * @KHV_NEED_IF_SYNDBG: the privilege is required only if the guest's CPUID enables the debugger
 * @KHV_USER_EXIT: the handler may leave the call to user space
 * @KHV_ANY_FORM: the module does not check the form (fast bit, reps, headers, input); the handler
 *	or user space does
 * @KHV_L2: also answered for a nested guest if L1 enables direct flush
 * @KHV_L2_POST: also answered for a nested guest that marks it for L0 (KHV_CTL_NESTED) if L1
 *	permits it inter-partition communication
 * @KHV_NEED_ANY: one of the privileges suffices
 * @KHV_ATOMIC: may be answered in the fast path, fast or in memory, see &enum khv_msr_flags; not
 *	for a call with output
 * @KHV_HIDDEN: no KVM has the call: its code is unknown unless the module parameter extra_calls=
 *	lists the row. The row may need no privilege
 * @KHV_EACH: the handler does one rep element, that of index &khv_hcall.reps_done, and is called
 *	for each one until it fails
 */
enum khv_hc_flags {
	KHV_FAST = BIT(0),
	KHV_XMM = BIT(1),
	KHV_VARHDR = BIT(2),
	KHV_REP = BIT(3),
	KHV_NEED_IF_SYNDBG = BIT(4),
	KHV_USER_EXIT = BIT(5),
	KHV_ANY_FORM = BIT(6),
	KHV_ATOMIC = BIT(7),
	KHV_L2 = BIT(8),
	KHV_NEED_ANY = BIT(9),
	KHV_L2_POST = BIT(10),
	KHV_HIDDEN = BIT(11),
	KHV_EACH = BIT(12),
};

/**
 * struct khv_hc_row - a hypercall, or a range of call codes
 * @name: TLFS name without HVCALL_
 * @code: first call code
 * @count: number of codes, at least 1
 * @flags: &enum khv_hc_flags
 * @enl: &enum khv_enl that it belongs to
 * @hdr: bytes of fixed input header, 0 to 4096
 * @rep: bytes of one rep element, 0 for a simple hypercall
 * @out: bytes of output, 0 to KHV_OUTPUT_MAX_BYTES
 * @rep_out: bytes of output of one rep element, 0 to KHV_OUTPUT_MAX_BYTES; needs KHV_EACH. Element
 *	i lies at i * rep_out, and is written once it is done, whatever becomes of the next one
 * @varhdr: most units of a variable header; 0: KHV_MAX_BANKS. Needs KHV_VARHDR
 * @need: privileges required under KVM_CAP_HYPERV_ENFORCE_CPUID; all of them, but see KHV_NEED_ANY
 */
struct khv_hc_row {
	const char *name;
	u16 code;
	u16 count;
	u16 flags;
	u8 enl;
	u16 hdr;
	u16 rep;
	u16 out;
	u16 rep_out;
	u16 varhdr;
	struct khv_priv need[KHV_MAX_PRIVS];
};

/**
 * khv_enl_needs_lapic() - is the enlightenment there only with a local APIC in the kernel?
 * @enl: the row
 *
 * KVM learns of interrupts by it alone.
 *
 * Return: true if so. Context: any.
 */
static inline bool khv_enl_needs_lapic(const struct khv_enl_row *enl)
{
	return enl->cond == KHV_COND_LAPIC || enl->cond == KHV_COND_ASKED;
}

#define KHV_ENLIGHTENMENT(_id, _name, ...) KHV_ENL_##_id,
enum khv_enl {
#include "khv/enlightenments.def.h"
	KHV_NR_ENLS,
};
#undef KHV_ENLIGHTENMENT

#define KHV_MSR(_name, _first, _access, ...) KHV_MSR_ROW_##_name,
enum khv_msr_id {
#include "khv/msrs.def.h"
	KHV_NR_MSR_ROWS,
};
#undef KHV_MSR

#define KHV_HYPERCALL(_name, _code, _handler, ...) KHV_HC_ROW_##_name,
enum khv_hc_id {
#include "khv/hypercalls.def.h"
	KHV_NR_HC_ROWS,
};
#undef KHV_HYPERCALL

extern const struct khv_enl_row khv_enls[KHV_NR_ENLS];
extern const struct khv_msr_row khv_msrs[KHV_NR_MSR_ROWS];
extern const struct khv_hc_row khv_hcs[KHV_NR_HC_ROWS];

/**
 * khv_hc_list() - list hidden calls, so that they have their codes
 * @names: names of rows with KHV_HIDDEN, separated by commas; "all" is all of them
 * @len: set to the length of the name at the returned pointer
 *
 * Call before khv_tables_check(). Replaces the list of an earlier call. Context: any, no lock.
 *
 * Return: NULL, or the first name in @names that no hidden row has; nothing is listed then.
 */
const char *khv_hc_list(const char *names, unsigned int *len);

/**
 * khv_tables_check() - check the rows and build the look-up indices
 * @bad: set to the name of the offending row, or NULL
 *
 * Rows must be sorted and disjoint, flags consistent and privileges within
 * their registers. Call once, before any look-up. Context: any, no lock.
 *
 * Return: 0, or -EINVAL with @bad set.
 */
int khv_tables_check(const char **bad);

/*
 * Every MSR row lies in one of the two MSR spans: L0's registers, and the numbers by which a nested
 * root partition accesses them. Every hypercall except the extended ones lies in the hypercall
 * span.
 */
#define KHV_MSR_BASE	    0x40000000
#define KHV_MSR_SPAN	    0x120
#define KHV_MSR_NESTED_BASE 0x40001000
#define KHV_MSR_NESTED_SPAN 0xa0
#define KHV_HC_SPAN	    0x104

/* Entry 0 means no row, n means row n - 1. Written by khv_tables_check() only. */
extern u8 khv_msr_index[KHV_MSR_SPAN + KHV_MSR_NESTED_SPAN];
extern u8 khv_hc_index[KHV_HC_SPAN];

/*
 * Is there a row for hypercalls of an L2 that KVM does not route here itself, so that the functions
 * must be hooked that decide whose call it is? A KVM that implements direct flush routes the
 * flushes. Written by khv_tables_check() only.
 */
extern bool khv_l2_calls_hooked;

/* The hidden calls that are listed, one bit for each row. Written by khv_hc_list() only. */
extern u64 khv_hc_listed;

/**
 * khv_hc_shown() - does the row have its call code?
 * @row: &enum khv_hc_id
 *
 * Return: false for a hidden call that is not listed. Context: any, no lock.
 */
static inline bool khv_hc_shown(int row)
{
	return !(khv_hcs[row].flags & KHV_HIDDEN) || (khv_hc_listed & BIT_ULL(row));
}

/**
 * khv_enl_has_call() - is there a call of an enlightenment that is not hidden?
 * @enl: &enum khv_enl
 *
 * Return: true if so. Context: any, no lock, after khv_hc_list().
 */
bool khv_enl_has_call(unsigned int enl);

/**
 * khv_has_fast_output() - is there a call with output in its fast form that is not hidden?
 *
 * Return: true if so. Context: any, no lock, after khv_hc_list().
 */
bool khv_has_fast_output(void);

/**
 * khv_msr_find() - look up the row of an MSR
 * @msr: MSR number, chosen by the guest: bounds are checked, under speculation too
 *
 * Return: row number, or -1. Context: any, no lock, O(1).
 */
static inline int khv_msr_find(u32 msr)
{
	u32 i = msr - KHV_MSR_BASE;

	if (i >= KHV_MSR_SPAN) {
		i = msr - KHV_MSR_NESTED_BASE;
		if (i >= KHV_MSR_NESTED_SPAN)
			return -1;
		i += KHV_MSR_SPAN;
	}
	return (int)khv_msr_index[array_index_nospec(i, sizeof(khv_msr_index))] - 1;
}

/**
 * khv_hc_find() - look up the row of a hypercall
 * @code: call code, chosen by the guest: bounds are checked, under speculation too
 *
 * Return: row number, or -1. Context: any, no lock, O(1).
 */
static inline int khv_hc_find(u16 code)
{
	const struct khv_hc_row *ext = &khv_hcs[KHV_HC_ROW_EXT_CALL];

	if (code < KHV_HC_SPAN)
		return (int)khv_hc_index[array_index_nospec(code, KHV_HC_SPAN)] - 1;
	if (code >= ext->code && code - ext->code < ext->count)
		return KHV_HC_ROW_EXT_CALL;
	return -1;
}

/**
 * khv_msr_name() - name of the row of an MSR
 * @msr: MSR number
 *
 * Return: the name, empty without a row. Context: any, no lock.
 */
static inline const char *khv_msr_name(u32 msr)
{
	int row = khv_msr_find(msr);

	return row < 0 ? "" : khv_msrs[row].name;
}

/**
 * khv_hc_name() - name of the row of a hypercall
 * @code: call code
 *
 * Return: the name, empty without a row. Context: any, no lock.
 */
static inline const char *khv_hc_name(u16 code)
{
	int row = khv_hc_find(code);

	return row < 0 ? "" : khv_hcs[row].name;
}

/**
 * struct khv_gate - rows and features that a VP may use, derived from its CPUID
 * @msr: bit set: the MSR row is allowed
 * @hc: bit set: the hypercall row is allowed
 * @xmm: XMM fast input is allowed
 * @fast_output: output of fast calls is allowed
 * @lock: the Locked bit of HV_X64_MSR_HYPERCALL is allowed
 * @ext_ranges: HV_FLUSH_USE_EXTENDED_RANGE_FORMAT is allowed
 *
 * TLFS chapter "Partition Privilege Flags".
 */
struct khv_gate {
	u64 msr;
	u64 hc;
	bool xmm;
	bool fast_output;
	bool lock;
	bool ext_ranges;
};

static_assert(KHV_NR_MSR_ROWS <= 64 && KHV_NR_HC_ROWS <= 64 && KHV_NR_ENLS <= 64,
	      "struct khv_gate and khv_vm.shown: widen the masks");

/**
 * khv_priv_held() - does the guest's CPUID show this bit?
 * @cpuid: the guest's CPUID
 * @priv: the bit; KHV_CPUID_NONE is always held
 *
 * Return: true if it does. Context: any.
 */
static __always_inline bool khv_priv_held(const struct khv_cpuid *cpuid, struct khv_priv priv)
{
	u32 reg = cpuid->reg[priv.reg];

	if (priv.reg == KHV_CPUID_NONE)
		return true;
	if (priv.bit == KHV_WHOLE_REG)
		return reg && reg != U32_MAX;
	return reg & BIT(priv.bit);
}

/**
 * khv_gate_compute() - derive what a VP may use from its CPUID
 * @gate: result
 * @cpuid: the guest's CPUID
 * @enforce: KVM_CAP_HYPERV_ENFORCE_CPUID is on
 *
 * Without "Hv#1" nothing is allowed. With it, everything that is implemented is allowed unless
 * @enforce or KHV_MSR_SHOWN. Call after each change of CPUID or of @enforce, under vcpu->mutex.
 */
void khv_gate_compute(struct khv_gate *gate, const struct khv_cpuid *cpuid, bool enforce);

#endif
