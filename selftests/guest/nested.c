// SPDX-License-Identifier: GPL-2.0-only
/* The minimal hypervisor, guest side: see nested.h. */
#include "nested.h"
#include "nested_private.h"

#define MSR_VMX_BASIC 0x480
#define MSR_EFER      0xc0000080

#define FEATURE_LOCK_VMXON 5
#define EFER_SVME	   BIT64(12)
#define CR4_VMXE	   BIT64(13)

#define EXIT_HOST64	 BIT64(9)
#define ENTRY_GUEST64	 BIT64(9)
#define EVMCS_VERSION	 1
#define EPTP_WB_4_LEVELS 0x1e

#define SVM_EXIT_CPUID	 0x72
#define SVM_EXIT_MSR	 0x7c
#define SVM_EXIT_VMMCALL 0x81
#define VMX_EXIT_CPUID	 10
#define VMX_EXIT_VMCALL	 18
#define VMX_EXIT_RDMSR	 31
#define VMX_EXIT_WRMSR	 32

/* entry.S, as nested_vmrun(): 0, or why L2 did not run. */
u64 nested_vmenter(struct nested *n, u64 launched);
extern u8 nested_vmexit[];

static bool is_svm(void)
{
	return guest_use_vmmcall;
}

/* --- guest: VMX ----------------------------------------------------------- */

#define NESTED_FIELD(name, encoding, offset, bytes) { encoding, offset, bytes },
static const struct {
	u16 encoding, offset, bytes;
} fields[] = { NESTED_FIELDS(NESTED_FIELD) };
#undef NESTED_FIELD

u64 vmcs_read(struct nested *n, enum vmcs_field field)
{
	const u8 *at = n->evmcs + fields[field].offset;
	u64 value = fields[field].encoding;

	if (!(n->flags & NESTED_EVMCS)) {
		asm volatile("vmread %0, %0" : "+r"(value) : : "cc");
		return value;
	}
	switch (fields[field].bytes) {
	case 2:
		return *(const volatile u16 *)at;
	case 4:
		return *(const volatile u32 *)at;
	default:
		return *(const volatile u64 *)at;
	}
}

void vmcs_write(struct nested *n, enum vmcs_field field, u64 value)
{
	u32 at = fields[field].offset;

	if (!(n->flags & NESTED_EVMCS))
		asm volatile("vmwrite %0, %1"
			     :
			     : "r"(value), "r"((u64)fields[field].encoding)
			     : "cc", "memory");
	else if (fields[field].bytes == 2)
		put16(n->evmcs, at, (u16)value);
	else if (fields[field].bytes == 4)
		put32(n->evmcs, at, (u32)value);
	else
		put64(n->evmcs, at, value);
}

/* An instruction of VMX with a physical address; XOR clears the flags, too. */
#define VMX_INSN(insn)                                                  \
	asm volatile("xor %%r10d, %%r10d\n"                             \
		     "1: " insn " %[pa]\n"                              \
		     "2: pushf\n"                                       \
		     "pop %[flags]\n"                                   \
		     "mov %%r10, %[vector]\n" GUEST_EXTABLE("1b", "2b") \
		     : [vector] "=r"(vector), [flags] "=r"(flags)       \
		     : [pa] "m"(pa)                                     \
		     : "r10", "cc", "memory")

static u32 vmx_result(u64 vector, u64 flags)
{
	if (vector)
		return (u32)vector;
	if (flags & 1)
		return VMX_FAIL_INVALID;
	return flags & BIT64(6) ? VMX_FAIL_VALID : 0;
}

static u32 vmxon(u64 pa)
{
	u64 vector, flags;

	VMX_INSN("vmxon");
	return vmx_result(vector, flags);
}

static u32 vmclear(u64 pa)
{
	u64 vector, flags;

	VMX_INSN("vmclear");
	return vmx_result(vector, flags);
}

static u32 vmptrld(u64 pa)
{
	u64 vector, flags;

	VMX_INSN("vmptrld");
	return vmx_result(vector, flags);
}

void nested_vmx_on(struct nested *n)
{
	u64 cr4;

	if (!(rdmsr(MSR_FEATURE_CONTROL) & 1))
		wrmsr(MSR_FEATURE_CONTROL, FEATURE_LOCK_VMXON);
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_VMXE));
	put32(n->vmxon, 0, (u32)rdmsr(MSR_VMX_BASIC));
	put32(n->vmcs, 0, (u32)rdmsr(MSR_VMX_BASIC));
	GUEST_ASSERT_EQ(vmxon(gpa(n->vmxon)), 0);
}

u32 nested_load_vmcs(struct nested *n)
{
	u32 r;

	n->launched = false;
	if (n->flags & NESTED_EVMCS) {
		put32(n->evmcs, 0, EVMCS_VERSION);
		n->assist[ASSIST_ENLIGHTEN] = 1;
		put64(n->assist, ASSIST_VMCS, gpa(n->evmcs));
		return 0;
	}
	n->assist[ASSIST_ENLIGHTEN] = 0;
	r = vmclear(gpa(n->vmcs));
	return r ? r : vmptrld(gpa(n->vmcs));
}

u32 nested_vmclear(u8 *region)
{
	return vmclear(gpa(region));
}

/* What the CPU wants in a word of controls, and @wanted, if it can. */
static u64 controls(u32 msr, u64 wanted)
{
	u64 caps = rdmsr(msr);

	GUEST_ASSERT_EQ(wanted & ~(caps >> 32), 0);
	return (wanted | caps) & 0xffffffff;
}

static void fill_vmx(struct nested *n)
{
	bool paging = n->flags & NESTED_PAGING;
	u64 proc2 = n->controls2 | (paging ? PROC2_EPT : 0), cr0, cr4;
	struct kvm_sregs *s = &n->sregs;
	u32 i;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	vmcs_write(n, VMCS_PIN, controls(MSR_VMX_TRUE_PIN, 0));
	vmcs_write(n, VMCS_PROC,
		   controls(MSR_VMX_TRUE_PROC,
			    n->controls | PROC_MSR_BITMAP | (proc2 ? PROC_SECONDARY : 0)));
	vmcs_write(n, VMCS_PROC2, proc2 ? controls(MSR_VMX_PROC2, proc2) : 0);
	vmcs_write(n, VMCS_VPID, proc2 & PROC2_VPID ? 1 : 0);
	vmcs_write(n, VMCS_EXIT_CTL, controls(MSR_VMX_TRUE_EXIT, EXIT_HOST64));
	vmcs_write(n, VMCS_ENTRY_CTL, controls(MSR_VMX_TRUE_ENTRY, ENTRY_GUEST64));
	vmcs_write(n, VMCS_EXCEPTIONS, 0);
	vmcs_write(n, VMCS_MSR_BITMAP, gpa(n->msrs));
	vmcs_write(n, VMCS_LINK, ~0ULL);
	if (paging)
		vmcs_write(n, VMCS_EPTP, gpa(n->root) | EPTP_WB_4_LEVELS);

	for (i = 0; i < 6; i++) { /* ES, CS, SS, DS, FS, GS */
		vmcs_write(n, VMCS_ES + i, i == 1 ? s->cs.selector : s->ss.selector);
		vmcs_write(n, VMCS_ES_LIMIT + i, ~0u);
		vmcs_write(n, VMCS_ES_AR + i, i == 1 ? 0xa09b : 0xc093);
	}
	vmcs_write(n, VMCS_LDTR_AR, 0x10000);
	vmcs_write(n, VMCS_TR, s->tr.selector);
	vmcs_write(n, VMCS_TR_LIMIT, s->tr.limit);
	vmcs_write(n, VMCS_TR_AR, 0x8b);
	vmcs_write(n, VMCS_TR_BASE, s->tr.base);
	vmcs_write(n, VMCS_GS_BASE, s->gs.base);
	vmcs_write(n, VMCS_GDTR_BASE, s->gdt.base);
	vmcs_write(n, VMCS_GDTR_LIMIT, s->gdt.limit);
	vmcs_write(n, VMCS_IDTR_BASE, s->idt.base);
	vmcs_write(n, VMCS_IDTR_LIMIT, s->idt.limit);
	vmcs_write(n, VMCS_CR0, cr0);
	vmcs_write(n, VMCS_CR3, s->cr3);
	vmcs_write(n, VMCS_CR4, cr4);
	vmcs_write(n, VMCS_DR7, 0x400);
	vmcs_write(n, VMCS_RFLAGS, 2);
	vmcs_write(n, VMCS_RSP, n->stack_top);
	vmcs_write(n, VMCS_RIP, gpa((void *)(uintptr_t)guest_interpret));

	vmcs_write(n, VMCS_HOST_CS, s->cs.selector);
	vmcs_write(n, VMCS_HOST_SS, s->ss.selector);
	vmcs_write(n, VMCS_HOST_TR, s->tr.selector);
	vmcs_write(n, VMCS_HOST_CR0, cr0);
	vmcs_write(n, VMCS_HOST_CR3, s->cr3);
	vmcs_write(n, VMCS_HOST_CR4, cr4);
	vmcs_write(n, VMCS_HOST_GS_BASE, s->gs.base);
	vmcs_write(n, VMCS_HOST_TR_BASE, s->tr.base);
	vmcs_write(n, VMCS_HOST_GDTR_BASE, s->gdt.base);
	vmcs_write(n, VMCS_HOST_IDTR_BASE, s->idt.base);
	/* The exit takes its stack pointer from here (entry.S). */
	vmcs_write(n, VMCS_HOST_RSP, gpa(&n->l1_rsp));
	vmcs_write(n, VMCS_HOST_RIP, gpa(nested_vmexit));
}

/* --- guest: SVM ----------------------------------------------------------- */

static void vmcb_segment(u8 *vmcb, u32 at, const struct kvm_segment *s)
{
	u8 *p = vmcb + VMCB_SAVE + at;

	put16(p, 0, s->selector);
	put16(p, 2,
	      (u16)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->l << 9 | s->db << 10 |
		    s->g << 11));
	put32(p, 4, s->limit);
	put64(p, 8, s->base);
}

static void fill_svm(struct nested *n)
{
	struct kvm_sregs *s = &n->sregs;
	u8 *c = n->vmcb, *save = c + VMCB_SAVE;

	put32(c, VMCB_INTERCEPT3, (u32)(INTERCEPT3_CPUID | INTERCEPT3_MSR));
	put32(c, VMCB_INTERCEPT4, 3); /* VMRUN, as it must be, and VMMCALL */
	put64(c, VMCB_MSRPM, gpa(n->msrs));
	put32(c, VMCB_ASID, 1);
	if (n->flags & NESTED_PAGING) {
		put64(c, VMCB_NESTED_CTL, 1);
		put64(c, VMCB_NESTED_CR3, gpa(n->root));
	}
	vmcb_segment(c, 0x00, &s->es);
	vmcb_segment(c, 0x10, &s->cs);
	vmcb_segment(c, 0x20, &s->ss);
	vmcb_segment(c, 0x30, &s->ds);
	/* FS, GS, TR and the like are not VMRUN's: L2 has L1's. */
	put32(save, 0x64, s->gdt.limit);
	put64(save, 0x68, s->gdt.base);
	put32(save, 0x84, s->idt.limit);
	put64(save, 0x88, s->idt.base);
	put64(save, 0xd0, rdmsr(MSR_EFER));
	put64(save, 0x148, s->cr4);
	put64(save, 0x150, s->cr3);
	put64(save, 0x158, s->cr0);
	put64(save, 0x160, 0x400);
	put64(save, 0x168, 0xffff0ff0);
	put64(save, 0x170, 2);
	put64(save, 0x178, gpa((void *)(uintptr_t)guest_interpret));
	put64(save, 0x1d8, n->stack_top);
	put64(save, 0x268, 0x0007040600070406); /* the PAT of a reset */
}

#define VMCB_RAX (VMCB_SAVE + 0x1f8)

/* --- guest: both ---------------------------------------------------------- */

void nested_fill(struct nested *n)
{
	if (is_svm())
		fill_svm(n);
	else
		fill_vmx(n);
}

void nested_assist_on(struct nested *n)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(n->assist) | ASSIST_ENABLE);
}

void nested_init(struct nested *n)
{
	if (!n->no_hv)
		nested_assist_on(n);
	if (is_svm()) {
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
		wrmsr(MSR_VM_HSAVE_PA, gpa(n->hsave));
	} else {
		nested_vmx_on(n);
		GUEST_ASSERT_EQ(nested_load_vmcs(n), 0);
	}
	nested_fill(n);
}

static void write_enlightenments(struct nested *n)
{
	u32 word = (n->direct ? ENLIGHTENED_DIRECT : 0) | (n->msr_bitmap ? ENLIGHTENED_BITMAP : 0) |
		   (n->npt_tlb ? ENLIGHTENED_NPT_TLB : 0);

	if (is_svm()) {
		put32(n->vmcb, VMCB_CLEAN, n->clean);
		put32(n->vmcb, VMCB_ENLIGHTENED, word);
		put32(n->vmcb, VMCB_ENLIGHTENED + 4, n->vp_id);
		put64(n->vmcb, VMCB_ENLIGHTENED + 8, n->vm_id);
		put64(n->vmcb, VMCB_ENLIGHTENED + 16, gpa(n->lock_page));
	} else if (n->flags & NESTED_EVMCS) {
		put32(n->evmcs, EVMCS_CLEAN, n->clean);
		put32(n->evmcs, EVMCS_ENLIGHTENED, word);
		put32(n->evmcs, EVMCS_VP_ID, n->vp_id);
		put64(n->evmcs, EVMCS_VM_ID, n->vm_id);
		put64(n->evmcs, EVMCS_ASSIST, gpa(n->lock_page));
	}
}

static enum nested_exit enter_svm(struct nested *n)
{
	put64(n->vmcb, VMCB_RAX, n->gpr[L2_RAX]);
	n->failure = (u32)nested_vmrun(n, gpa(n->vmcb));
	if (n->failure)
		return NESTED_FAILED;
	n->gpr[L2_RAX] = get64(n->vmcb, VMCB_RAX);
	n->reason = get64(n->vmcb, VMCB_EXIT_CODE);
	n->info = get64(n->vmcb, VMCB_EXIT_INFO1);
	switch (n->reason) {
	case SVM_EXIT_CPUID:
		return NESTED_CPUID;
	case SVM_EXIT_MSR:
		return NESTED_MSR;
	case SVM_EXIT_VMMCALL:
		return NESTED_HYPERCALL;
	case SVM_SYNTHETIC:
		return NESTED_SYNTHETIC;
	default:
		return NESTED_OTHER;
	}
}

static enum nested_exit enter_vmx(struct nested *n)
{
	n->failure = (u32)nested_vmenter(n, n->launched);
	if (n->failure)
		return NESTED_FAILED;
	n->launched = true;
	n->reason = vmcs_read(n, VMCS_REASON);
	n->info = vmcs_read(n, VMCS_QUALIFICATION);
	switch (n->reason) {
	case VMX_EXIT_CPUID:
		return NESTED_CPUID;
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		return NESTED_MSR;
	case VMX_EXIT_VMCALL:
		return NESTED_HYPERCALL;
	case VMX_SYNTHETIC_FLUSH:
		return NESTED_SYNTHETIC;
	default:
		return NESTED_OTHER;
	}
}

enum nested_exit nested_enter(struct nested *n)
{
	write_enlightenments(n);
	return is_svm() ? enter_svm(n) : enter_vmx(n);
}

void nested_skip(struct nested *n)
{
	u64 length = n->exit == NESTED_HYPERCALL ? 3 : 2;

	if (is_svm())
		put64(n->vmcb, VMCB_RIP, get64(n->vmcb, VMCB_RIP) + length);
	else
		vmcs_write(n, VMCS_RIP, vmcs_read(n, VMCS_RIP) + length);
}

static void answer(struct nested *n)
{
	struct cpuid_regs r;

	switch (n->exit) {
	case NESTED_CPUID:
		r = cpuid((u32)n->gpr[L2_RAX], (u32)n->gpr[L2_RCX]);
		n->gpr[L2_RAX] = r.eax;
		n->gpr[L2_RBX] = r.ebx;
		n->gpr[L2_RCX] = r.ecx;
		n->gpr[L2_RDX] = r.edx;
		break;
	case NESTED_HYPERCALL:
		n->call_rax = n->gpr[L2_RAX];
		n->gpr[L2_RAX] = NESTED_REFLECTED;
		break;
	case NESTED_MSR:
		n->gpr[L2_RAX] = NESTED_REFLECTED;
		n->gpr[L2_RDX] = 0;
		break;
	case NESTED_SYNTHETIC: /* behind the call already */
		return;
	default:
		guest_log("L2: reason, information", n->reason, n->info);
		if (!is_svm())
			guest_log("L2: error of VMX, address", vmcs_read(n, VMCS_INSTR_ERROR),
				  vmcs_read(n, VMCS_GUEST_PHYS));
		GUEST_ASSERT_EQ(n->failure, 0);
		GUEST_ASSERT_EQ(n->exit, NESTED_OTHER + 1);
	}
	nested_skip(n);
}

void nested_loop(struct nested *n)
{
	enum nested_exit exit;

	for (;;) {
		exit = nested_enter(n);
		if (exit == NESTED_CPUID && n->gpr[L2_RAX] == NESTED_LEAF) {
			enum nested_exit before = n->exit;

			guest_run_ops(n->l1);
			n->exit = exit;
			nested_skip(n);
			n->exit = before;
			continue;
		}
		n->exit = exit;
		n->exits++;
		if (exit == NESTED_FAILED && n->may_fail)
			return;
		answer(n);
	}
}

GUEST_CODE_GLOBAL(nested_l1)
{
	struct nested *n = this_cpu()->nested;

	nested_init(n);
	nested_loop(n);
}
