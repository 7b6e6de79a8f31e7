/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls that the module answers by its parameter extra_calls= only, with their output: in memory,
 * or in the XMM registers behind the input. The guest is the interpreter of ops.h.
 */
#ifndef KHV_SELFTEST_EXTRA_H
#define KHV_SELFTEST_EXTRA_H

#include "ops.h"

#define PARTITION_SELF	~0ULL
#define VP_SELF		0xfffffffeu
/* What a call that writes nothing leaves behind. */
#define UNTOUCHED	0xa5a5a5a5a5a5a5a5ULL
#define FAST_REGS	16 /* bytes of RDX and R8 */
#define RESULT(s, reps) ((u64)(reps) << 32 | (s))

/* One call of the guest; all registers as they are after it. */
struct extra_call {
	u64 control, in, out;
	struct xmm_block xmm;
	u64 rax, vector;
};

struct extra_world {
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *ops;
	struct extra_call *call;
	u8 *in, *out; /* a page each, the input's and the output's */
};

/* A VM whose guest is known to Hyper-V, of the module or of stock as it is. */
struct extra_world extra_world(u32 vcpus, u32 flags);
/* Make a call whose input is in @w->in: in memory, or fast with @len bytes of it. */
u64 extra_slow(struct extra_world *w, u64 control);
u64 extra_fast(struct extra_world *w, u64 control, u32 len);
/* Output of a fast call, that begins behind @len bytes of input. */
const void *extra_output(const struct extra_world *w, u32 len);
/* Fill both, before a call. */
void extra_fill_output(struct extra_world *w);
struct guest_op extra_op(struct extra_world *w, struct guest_op op);

/* Load the module with parameters, and remove it, with the VM. */
void extra_load(const char *params);
void extra_end(struct extra_world *w);

#endif
