/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The status matrix: every call in its slow and its register form, with each way to get the form
 * or a parameter wrong, against the answer of the TLFS (chapter "Hypercall Interface" and each
 * call's page) and, where it differs, against that of stock KVM. A cell with a defect's id must
 * be as declared on stock, too. Privileges are enforce_cpuid_*_test's; what a flush or an IPI
 * does, flush_*_test and ipi_*_test show.
 */
#ifndef KHV_SELFTEST_HYPERCALL_MATRIX_H
#define KHV_SELFTEST_HYPERCALL_MATRIX_H

#include "ops.h"

#define MAX_QWORDS  64
#define FAST_QWORDS 14
#define CONN	    0x1234u
#define VECTOR	    0x40ull
#define EXT_LAST    0x8041
#define USE_HCALLS  BIT64(2) /* in SYNDBG_OPTIONS */

/* Answers that are no status: user space gets the call; all of a list was done. */
#define USER	BIT64(63)
#define REPS(n) ((u64)(n) << 32)
#define OK	HV_STATUS_SUCCESS
#define CODE	HV_STATUS_INVALID_HYPERCALL_CODE
#define INPUT	HV_STATUS_INVALID_HYPERCALL_INPUT
#define ALIGN	HV_STATUS_INVALID_ALIGNMENT
#define PARAM	HV_STATUS_INVALID_PARAMETER
#define DENIED	HV_STATUS_OPERATION_DENIED

#define FLUSH_NON_GLOBAL BIT64(2)
#define SPARSE		 0ull
#define ALL		 1ull

struct answer {
	bool set;
	u64 right, stock, stock_6_1;
	const char *id;
};

#define SAME(a)                     \
	{                           \
		true, a, a, a, NULL \
	}
#define DIFF(id, a, stock)                \
	{                                 \
		true, a, stock, stock, id \
	}
#define DIFF2(id, a, s_612, s_61)        \
	{                                \
		true, a, s_612, s_61, id \
	}

enum { SLOW = 1, FAST = 2 };

/* What is wrong with a call; several variants each, see variants(). */
enum answers {
	GOOD,
	RESERVED,     /* 30:27, 47:44, 63:60 of the control word */
	NESTED,	      /* bit 31 */
	REP,	      /* a simple call with a rep count */
	START,	      /* a simple call with a rep start */
	COUNT_0,      /* a rep call without a count */
	START_END,    /* start at or behind the count */
	START_INSIDE, /* nothing is wrong with it */
	VARHDR,	      /* where there is none, or of the wrong size */
	UNALIGNED,
	ACROSS, /* aligned, but across the end of a page */
	OUTSIDE,
	COLUMNS
};

/* One call with one thing wrong, in the forms of @forms. */
struct row {
	const char *name;
	u32 forms;
	u64 control;
	u32 qwords;
	u64 block[MAX_QWORDS];
	struct answer answer;
};

enum debugger { NO_DEBUGGER, DEBUGGER_BY_MSRS, DEBUGGER_BY_CALLS };

/* One VM, and what its answers were. */
struct one {
	struct vm *vm;
	struct vcpu *vcpu;
	struct ops_page *ops;
	u8 *input; /* two pages */
	struct xmm_block *xmm;
	const char *id; /* the group that is checked */
	u32 nr, bad, wrong;
};

/* @id: the defect whose answers are checked, NULL for all without one. */
struct one matrix_vm(u32 flags, enum debugger debugger, const char *id);
/* Let the guest make the call: its status, or USER. */
u64 matrix_issue(struct one *o, u32 form, u64 control, const u64 *block, u32 qwords, u64 at);
/* Compare @got with the answer that is declared for this kernel. */
void matrix_judge(struct one *o, const char *name, const char *what, u32 form, u64 control, u64 got,
		  const struct answer *a);
/* At the end: all answers were right, or wrong as known. Frees the VM. */
void matrix_verdict(struct one *o);
bool matrix_in_group(const struct one *o, const struct answer *a);

#endif
