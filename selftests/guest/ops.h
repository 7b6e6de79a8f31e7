/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that is an interpreter: the host writes an array of operations, fixed
 * guest code runs it and leaves the results in the same array. One stream of
 * operations thus runs unchanged on stock KVM and on the module, and tables of
 * expectations can be checked by the host.
 */
#ifndef KHV_SELFTEST_OPS_H
#define KHV_SELFTEST_OPS_H

#include "vm.h"

/* The stage of the interpreter's own message: all operations are done. */
#define OPS_STAGE 0x6f7073 /* "ops" */

enum guest_opcode {
	OP_END,
	OP_RDMSR,	  /* arg0 MSR -> result */
	OP_WRMSR,	  /* arg0 MSR, arg1 value */
	OP_CPUID,	  /* arg0 leaf, arg1 index -> EBX:EAX, EDX:ECX */
	OP_HYPERCALL,	  /* arg0 control, arg1 input, arg2 output -> RAX */
	OP_HYPERCALL_XMM, /* the same, XMM0..5 from *xmm */
	OP_LOAD,	  /* arg0 address -> result */
	OP_STORE,	  /* arg0 address, arg1 value */
	OP_RDTSC,	  /* -> result */
	OP_CALL,	  /* arg0 function, arg1 its argument -> result */
};

struct guest_op {
	u32 op;
	u32 vector; /* out: exception, 0 = none */
	u64 arg0, arg1, arg2;
	u64 result, result2; /* out */
	const struct xmm_block *xmm;
	u32 error;	 /* out: the exception's code */
	u32 exits;	 /* out: exits to user space during this operation */
	u32 exit_reason; /* out: of the last of them */
};

struct ops_page {
	u32 nr;
	volatile u32 current;
	struct guest_op ops[];
};

/* Prepare the vCPU to interpret; the stream may hold @max operations. */
struct ops_page *vcpu_ops_init(struct vcpu *vcpu, u32 max);
/* Run the first @nr operations of the page. Hyper-V exits get result 0 and go on. */
void vcpu_ops_run(struct vcpu *vcpu, struct ops_page *page, u32 nr);
/* One operation by itself. */
struct guest_op vcpu_op(struct vcpu *vcpu, struct ops_page *page, struct guest_op op);

/* Guest: the operations of one page; and the interpreter itself, which never returns. */
void guest_run_ops(struct ops_page *page);
void guest_interpret(void);

#define OP_RD(msr)	((struct guest_op){ .op = OP_RDMSR, .arg0 = (msr) })
#define OP_WR(msr, val) ((struct guest_op){ .op = OP_WRMSR, .arg0 = (msr), .arg1 = (val) })
#define OP_HC(ctl, in, out) \
	((struct guest_op){ .op = OP_HYPERCALL, .arg0 = (ctl), .arg1 = (in), .arg2 = (out) })

#endif
