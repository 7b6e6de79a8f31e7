// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run-time of the bare guest: exceptions, messages to the host, hypercalls.
 * Guest code only: nothing here may call libc.
 */
#include "guest.h"

u32 guest_use_vmmcall;
guest_irq_fn guest_irq_handlers[256];

struct guest_extable {
	u64 insn;
	u64 fixup;
};

extern const struct guest_extable __start_khv_guest_extable[];
extern const struct guest_extable __stop_khv_guest_extable[];

void guest_exit(enum guest_cmd cmd)
{
	outl(GUEST_PORT, cmd);
}

void guest_assert_failed(enum guest_cmd cmd, const char *file, u32 line, const char *text,
			 u32 nargs, u64 a, u64 b)
{
	struct guest_msg *m = &this_cpu()->msg;

	m->file = file;
	m->line = line;
	m->text = text;
	m->nargs = nargs;
	m->args[0] = a;
	m->args[1] = b;
	guest_exit(cmd);
}

void guest_sync(u64 stage, u64 a, u64 b)
{
	struct guest_msg *m = &this_cpu()->msg;

	m->args[0] = stage;
	m->args[1] = a;
	m->args[2] = b;
	guest_exit(GUEST_SYNC_CMD);
}

void guest_log(const char *text, u64 a, u64 b)
{
	struct guest_msg *m = &this_cpu()->msg;

	m->text = text;
	m->args[0] = a;
	m->args[1] = b;
	guest_exit(GUEST_LOG_CMD);
}

void guest_done(void)
{
	for (;;)
		guest_exit(GUEST_DONE);
}

void guest_exception(struct guest_frame *f);
void guest_exception(struct guest_frame *f)
{
	const struct guest_extable *e;
	struct guest_msg *m = &this_cpu()->msg;

	if (f->vector < 256 && guest_irq_handlers[f->vector]) {
		guest_irq_handlers[f->vector](f);
		return;
	}
	for (e = __start_khv_guest_extable; e < __stop_khv_guest_extable; e++) {
		if (e->insn == f->rip) {
			f->rip = e->fixup;
			f->r10 = f->vector;
			this_cpu()->error = f->error;
			return;
		}
	}
	m->args[0] = f->vector;
	m->args[1] = f->error;
	m->args[2] = f->rip;
	guest_exit(GUEST_EXCEPTION_CMD);
}

#define HYPERCALL_ASM(pre, insn)                                                     \
	asm volatile("mov %[out], %%r8\n" pre "xor %%r10d, %%r10d\n"                 \
		     "1: " insn "\n"                                                 \
		     "2: mov %%r10, %[vector]\n" GUEST_EXTABLE("1b", "2b")           \
		     : "+&a"(rax), "+&c"(control), "+&d"(in), [vector] "=&r"(vector) \
		     : [out] "r"(out), [xmm] "r"(xmm)                                \
		     : "r8", "r9", "r10", "r11", "cc", "memory")

#define LOAD_XMM                      \
	"movups   (%[xmm]), %%xmm0\n" \
	"movups 16(%[xmm]), %%xmm1\n" \
	"movups 32(%[xmm]), %%xmm2\n" \
	"movups 48(%[xmm]), %%xmm3\n" \
	"movups 64(%[xmm]), %%xmm4\n" \
	"movups 80(%[xmm]), %%xmm5\n"

u32 __hypercall(u64 control, u64 in, u64 out, u64 *result)
{
	const struct xmm_block *xmm = NULL;
	u64 rax = 0xdead, vector; /* RAX matters to KVM's own hypercalls only */

	if (guest_use_vmmcall)
		HYPERCALL_ASM("", "vmmcall");
	else
		HYPERCALL_ASM("", "vmcall");
	*result = rax;
	return (u32)vector;
}

u32 __hypercall_xmm(u64 control, u64 in, u64 out, const struct xmm_block *xmm, u64 *result)
{
	u64 rax = 0xdead, vector; /* RAX matters to KVM's own hypercalls only */

	if (guest_use_vmmcall)
		HYPERCALL_ASM(LOAD_XMM, "vmmcall");
	else
		HYPERCALL_ASM(LOAD_XMM, "vmcall");
	*result = rax;
	return (u32)vector;
}

u64 guest_call32_vmcall(struct regs32 *r);
u64 guest_call32_vmmcall(struct regs32 *r);

u32 __hypercall_32(struct regs32 *r, const struct xmm_block *xmm)
{
	/* Nothing else in a guest uses them. */
	asm volatile(LOAD_XMM : : [xmm] "r"(xmm) : "memory");
	return (u32)(guest_use_vmmcall ? guest_call32_vmmcall(r) : guest_call32_vmcall(r));
}

u64 hypercall(u64 control, u64 in, u64 out)
{
	u64 result;
	u32 vector = __hypercall(control, in, out, &result);

	GUEST_ASSERT_EQ(vector, 0);
	return result;
}

u32 __hypercall_page(void *page, u64 control, u64 in, u64 out, u64 *result)
{
	u64 rax = 0xdead, vector; /* RAX matters to KVM's own hypercalls only */

	/* A fault inside the page is not in the table: it ends the test. */
	asm volatile("mov %[out], %%r8\n"
		     "xor %%r10d, %%r10d\n"
		     "call *%[page]\n"
		     "mov %%r10, %[vector]\n"
		     : "+&a"(rax), "+&c"(control), "+&d"(in), [vector] "=&r"(vector)
		     : [out] "r"(out), [page] "r"(page)
		     : "r8", "r9", "r10", "r11", "cc", "memory");
	*result = rax;
	return (u32)vector;
}
