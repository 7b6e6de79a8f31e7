// SPDX-License-Identifier: GPL-2.0-only
/* See extra.h. */
#include <string.h>

#include "extra.h"
#include "module.h"

/* Room for the one operation that waits, and some more. */
#define OPS 4

#define LOAD_XMM                                                                           \
	"movdqu 0(%[x]), %%xmm0\n\tmovdqu 16(%[x]), %%xmm1\n\tmovdqu 32(%[x]), %%xmm2\n\t" \
	"movdqu 48(%[x]), %%xmm3\n\tmovdqu 64(%[x]), %%xmm4\n\tmovdqu 80(%[x]), %%xmm5\n\t"
#define STORE_XMM                                                                          \
	"movdqu %%xmm0, 0(%[x])\n\tmovdqu %%xmm1, 16(%[x])\n\tmovdqu %%xmm2, 32(%[x])\n\t" \
	"movdqu %%xmm3, 48(%[x])\n\tmovdqu %%xmm4, 64(%[x])\n\tmovdqu %%xmm5, 80(%[x])\n\t"
#define CALL(insn)                                                                   \
	asm volatile(LOAD_XMM "xor %%r10d, %%r10d\n"                                 \
			      "1: " insn "\n"                                        \
			      "2: " STORE_XMM GUEST_EXTABLE("1b", "2b")              \
		     : "+a"(rax), "+c"(c->control), "+d"(c->in), "+r"(r8), "=r"(r10) \
		     : [x] "b"(&c->xmm)                                              \
		     : "r9", "r11", "memory")

/* Guest. */
static u64 make_call(u64 arg)
{
	struct extra_call *c = (void *)(uintptr_t)arg;
	register u64 r8 asm("r8") = c->out;
	register u64 r10 asm("r10");
	u64 rax = 0;

	if (guest_use_vmmcall)
		CALL("vmmcall");
	else
		CALL("vmcall");
	c->out = r8;
	c->rax = rax;
	c->vector = r10;
	return rax;
}

struct extra_world extra_world(u32 vcpus, u32 flags)
{
	struct extra_world w = { .vm = vm_create(vcpus, flags) };

	w.v = w.vm->vcpus[0];
	vcpu_set_msr(w.v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	w.call = vm_alloc(w.vm, PAGE_SIZE);
	w.in = vm_alloc(w.vm, PAGE_SIZE);
	w.out = vm_alloc(w.vm, PAGE_SIZE);
	w.ops = vcpu_ops_init(w.v, OPS);
	return w;
}

struct guest_op extra_op(struct extra_world *w, struct guest_op op)
{
	return vcpu_op(w->v, w->ops, op);
}

void extra_fill_output(struct extra_world *w)
{
	memset(w->out, 0xa5, PAGE_SIZE);
	memset(&w->call->xmm, 0xa5, sizeof(w->call->xmm));
}

static u64 run_call(struct extra_world *w)
{
	struct guest_op op = { .op = OP_CALL,
			       .arg0 = (u64)(uintptr_t)make_call,
			       .arg1 = gpa(w->call) };

	op = extra_op(w, op);
	ASSERT_EQ(op.vector, 0);
	return w->call->rax;
}

u64 extra_slow(struct extra_world *w, u64 control)
{
	extra_fill_output(w);
	w->call->control = control;
	w->call->in = gpa(w->in);
	w->call->out = gpa(w->out);
	return run_call(w);
}

u64 extra_fast(struct extra_world *w, u64 control, u32 len)
{
	extra_fill_output(w);
	w->call->control = control | HV_CTL_FAST;
	memcpy(&w->call->in, w->in, 8);
	memcpy(&w->call->out, w->in + 8, 8);
	if (len > FAST_REGS)
		memcpy(&w->call->xmm, w->in + FAST_REGS,
		       len < sizeof(w->call->xmm) + FAST_REGS ? len - FAST_REGS :
								sizeof(w->call->xmm));
	return run_call(w);
}

const void *extra_output(const struct extra_world *w, u32 len)
{
	return (const u8 *)&w->call->xmm + (len + 15) / 16 * 16 - FAST_REGS;
}

void extra_load(const char *params)
{
	module_start_clean();
	module_load_with(params);
}

void extra_end(struct extra_world *w)
{
	vm_free(w->vm);
	module_unload();
}
