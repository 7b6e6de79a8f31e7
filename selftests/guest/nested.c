// SPDX-License-Identifier: GPL-2.0-only
/* The minimal hypervisor: see nested.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested.h"

#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_BASIC	    0x480
#define MSR_EFER	    0xc0000080
#define MSR_VM_HSAVE_PA	    0xc0010117

#define FEATURE_LOCK_VMXON 5
#define EFER_SVME	   BIT64(12)
#define CR4_VMXE	   BIT64(13)

#define EXIT_HOST64	 BIT64(9)
#define ENTRY_GUEST64	 BIT64(9)
#define EVMCS_VERSION	 1
#define EPTP_WB_4_LEVELS 0x1e
#define EPT_LEAF_WB	 0x30
#define TABLE		 7 /* present, all accesses, in either format */
#define LARGE		 BIT64(7)

#define SVM_EXIT_CPUID	 0x72
#define SVM_EXIT_MSR	 0x7c
#define SVM_EXIT_VMMCALL 0x81
#define VMX_EXIT_CPUID	 10
#define VMX_EXIT_VMCALL	 18
#define VMX_EXIT_RDMSR	 31
#define VMX_EXIT_WRMSR	 32

#define L2_STACK (4 * PAGE_SIZE)

/* entry.S, as nested_vmrun(): 0, or why L2 did not run. */
u64 nested_vmenter(struct nested *n, u64 launched);
extern u8 nested_vmexit[];

static u64 addr(const volatile void *p)
{
	return (u64)(uintptr_t)p;
}

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
	GUEST_ASSERT_EQ(vmxon(addr(n->vmxon)), 0);
}

u32 nested_load_vmcs(struct nested *n)
{
	u32 r;

	n->launched = false;
	if (n->flags & NESTED_EVMCS) {
		put32(n->evmcs, 0, EVMCS_VERSION);
		n->assist[ASSIST_ENLIGHTEN] = 1;
		put64(n->assist, ASSIST_VMCS, addr(n->evmcs));
		return 0;
	}
	n->assist[ASSIST_ENLIGHTEN] = 0;
	r = vmclear(addr(n->vmcs));
	return r ? r : vmptrld(addr(n->vmcs));
}

u32 nested_vmclear(u8 *region)
{
	return vmclear(addr(region));
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
	vmcs_write(n, VMCS_MSR_BITMAP, addr(n->msrs));
	vmcs_write(n, VMCS_LINK, ~0ULL);
	if (paging)
		vmcs_write(n, VMCS_EPTP, addr(n->root) | EPTP_WB_4_LEVELS);

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
	vmcs_write(n, VMCS_RIP, addr((void *)(uintptr_t)guest_interpret));

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
	vmcs_write(n, VMCS_HOST_RSP, addr(&n->l1_rsp));
	vmcs_write(n, VMCS_HOST_RIP, addr(nested_vmexit));
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
	put64(c, VMCB_MSRPM, addr(n->msrs));
	put32(c, VMCB_ASID, 1);
	if (n->flags & NESTED_PAGING) {
		put64(c, VMCB_NESTED_CTL, 1);
		put64(c, VMCB_NESTED_CR3, addr(n->root));
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
	put64(save, 0x178, addr((void *)(uintptr_t)guest_interpret));
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
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, addr(n->assist) | ASSIST_ENABLE);
}

void nested_init(struct nested *n)
{
	if (!n->no_hv)
		nested_assist_on(n);
	if (is_svm()) {
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
		wrmsr(MSR_VM_HSAVE_PA, addr(n->hsave));
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
		put64(n->vmcb, VMCB_ENLIGHTENED + 16, addr(n->lock_page));
	} else if (n->flags & NESTED_EVMCS) {
		put32(n->evmcs, EVMCS_CLEAN, n->clean);
		put32(n->evmcs, EVMCS_ENLIGHTENED, word);
		put32(n->evmcs, EVMCS_VP_ID, n->vp_id);
		put64(n->evmcs, EVMCS_VM_ID, n->vm_id);
		put64(n->evmcs, EVMCS_ASSIST, addr(n->lock_page));
	}
}

static enum nested_exit enter_svm(struct nested *n)
{
	put64(n->vmcb, VMCB_RAX, n->gpr[L2_RAX]);
	n->failure = (u32)nested_vmrun(n, addr(n->vmcb));
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

GUEST_CODE(nested_l1)
{
	struct nested *n = this_cpu()->nested;

	nested_init(n);
	nested_loop(n);
}

/* --- host ----------------------------------------------------------------- */

bool host_has_nested(void)
{
	struct cpuid_table t = { .nent = MAX_CPUID };
	struct kvm_cpuid_entry2 *e;

	if (ioctl(kvm_fd(), KVM_GET_SUPPORTED_CPUID, &t) < 0)
		return false;
	e = cpuid_find(&t, host_is_amd() ? 0x80000001 : 1, 0);
	return e && e->ecx & (host_is_amd() ? BIT64(2) : BIT64(5));
}

void nested_reload_cpuid(struct vcpu *v)
{
	struct cpuid_table *hv = calloc(1, sizeof(*hv)), *t = &v->cpuid;

	ASSERT(hv, "memory");
	cpuid_hv(v, hv);
	cpuid_remove_hv(t);
	ASSERT(t->nent + hv->nent <= MAX_CPUID, "too many CPUID entries");
	memcpy(&t->entries[t->nent], hv->entries, hv->nent * sizeof(hv->entries[0]));
	t->nent += hv->nent;
	free(hv);
	vcpu_set_cpuid(v);
}

/* Identity map of the low 4 GB in 2 MB pages, except for the window, which is empty. */
static void build_paging(struct nested *n, struct vm *vm)
{
	u64 *pdpt = vm_alloc(vm, PAGE_SIZE), *pd, i, j;

	n->leaf = TABLE | (host_is_amd() ? 0 : EPT_LEAF_WB);
	n->root = vm_alloc(vm, PAGE_SIZE);
	n->window = vm_alloc(vm, PAGE_SIZE);
	n->root[0] = addr(pdpt) | TABLE;
	for (i = 0; i < 4; i++) {
		pd = vm_alloc(vm, PAGE_SIZE);
		pdpt[i] = addr(pd) | TABLE;
		for (j = 0; j < 512; j++)
			pd[j] = i << 30 | j << 21 | LARGE | n->leaf;
		if (i == NESTED_WINDOW >> 30)
			pd[NESTED_WINDOW >> 21 & 511] = addr(n->window) | TABLE;
	}
}

void nested_share_paging(struct nested *to, struct nested *from)
{
	to->root = from->root;
	to->window = from->window;
}

static void enable_evmcs(struct vcpu *v)
{
	u16 version = 0;

	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, addr(&version)), 0);
	ASSERT_EQ(version, 0x101);
	nested_reload_cpuid(v);
}

struct nested *nested_create(struct vcpu *v, u32 flags, u32 max)
{
	struct vm *vm = v->vm;
	struct nested *n;

	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	n = vm_alloc(vm, sizeof(*n));
	if (host_is_amd())
		flags &= ~NESTED_EVMCS;
	n->flags = flags;
	n->direct = flags & NESTED_DIRECT;
	n->no_hv = vm->flags & VM_NO_HV;
	n->vp_id = v->id;
	n->vm_id = 1;
	n->vmcb = vm_alloc(vm, PAGE_SIZE);
	n->hsave = vm_alloc(vm, PAGE_SIZE);
	n->vmxon = vm_alloc(vm, PAGE_SIZE);
	n->vmcs = vm_alloc(vm, PAGE_SIZE);
	n->evmcs = vm_alloc(vm, PAGE_SIZE);
	n->assist = vm_alloc(vm, PAGE_SIZE);
	n->lock_page = vm_alloc(vm, PAGE_SIZE);
	n->msrs = vm_alloc(vm, 2 * PAGE_SIZE);
	n->l1 = vm_alloc(vm, sizeof(*n->l1) + max * sizeof(n->l1->ops[0]));
	/* As a call leaves it. */
	n->stack_top = addr(vm_alloc(vm, L2_STACK)) + L2_STACK - 8;
	n->assist[ASSIST_DIRECT] = n->direct;
	build_paging(n, vm);
	if (flags & NESTED_EVMCS)
		enable_evmcs(v);
	n->l2 = vcpu_ops_init(v, max);
	v->cpu->nested = n;
	vcpu_entry(v, nested_l1);
	vcpu_ioctl(v, KVM_GET_SREGS, &n->sregs);
	return n;
}

void nested_start(struct vcpu *v)
{
	vcpu_ops_run(v, v->cpu->nested->l2, 0);
}

void nested_reenter(struct vcpu *v)
{
	v->cpu->nested->l1->nr = 0;
	vcpu_op(v, v->cpu->nested->l2, OP_L1);
}

struct guest_op nested_l1_op(struct vcpu *v, struct guest_op op)
{
	struct nested *n = v->cpu->nested;

	op.vector = 0;
	n->l1->ops[0] = op;
	n->l1->nr = 1;
	vcpu_op(v, n->l2, OP_L1);
	return n->l1->ops[0];
}

/* --- host: save and restore ------------------------------------------------ */

/* The identity first, VP_ASSIST_PAGE and FEATURE_CONTROL before the nested state. */
static const u32 moved_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,
	HV_X64_MSR_VP_INDEX,
	HV_X64_MSR_VP_ASSIST_PAGE,
};

struct moved_vcpu {
	u64 msrs[ARRAY_SIZE(moved_msrs)], vendor_msr;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	struct cpuid_table cpuid;
	union {
		struct kvm_nested_state nested;
		u8 space[4 * PAGE_SIZE];
	};
	void (*entry)(void);
};

static u32 vendor_msr(void)
{
	return host_is_amd() ? MSR_VM_HSAVE_PA : MSR_FEATURE_CONTROL;
}

static void save_vcpu(struct vcpu *v, struct moved_vcpu *m)
{
	u32 i;

	/* The exit to user space is half of an instruction: do the other half. */
	v->run->immediate_exit = 1;
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	v->run->immediate_exit = 0;
	for (i = 0; i < ARRAY_SIZE(moved_msrs); i++)
		m->msrs[i] = vcpu_get_msr(v, moved_msrs[i]);
	m->vendor_msr = vcpu_get_msr(v, vendor_msr());
	m->nested.size = sizeof(m->space);
	vcpu_ioctl(v, KVM_GET_NESTED_STATE, &m->nested);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &m->events);
	vcpu_ioctl(v, KVM_GET_MP_STATE, &m->mp);
	vcpu_ioctl(v, KVM_GET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_GET_SREGS, &m->sregs);
	m->cpuid = v->cpuid;
	m->entry = v->entry;
}

static void restore_state(struct vcpu *v, struct moved_vcpu *m)
{
	u32 i;

	vcpu_ioctl(v, KVM_SET_SREGS, &m->sregs);
	for (i = 0; i < ARRAY_SIZE(moved_msrs); i++)
		vcpu_set_msr(v, moved_msrs[i], m->msrs[i]);
	vcpu_set_msr(v, vendor_msr(), m->vendor_msr);
	vcpu_ioctl(v, KVM_SET_MP_STATE, &m->mp);
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &m->events);
	vcpu_ioctl(v, KVM_SET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_SET_NESTED_STATE, &m->nested);
}

static void restore_vcpu(struct vcpu *v, struct moved_vcpu *m)
{
	u16 version;

	if (v->cpu->nested && v->cpu->nested->flags & NESTED_EVMCS)
		ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, addr(&version)), 0);
	v->cpuid = m->cpuid;
	v->entry = m->entry;
	vcpu_set_cpuid(v);
	restore_state(v, m);
}

void nested_restore_in_place(struct vcpu *v)
{
	struct moved_vcpu *m = calloc(1, sizeof(*m));

	ASSERT(m, "memory");
	save_vcpu(v, m);
	restore_state(v, m);
	free(m);
}

struct vm *nested_move(struct vm *vm)
{
	u32 nr = vm->nr_vcpus, flags = vm->flags, i;
	u64 size = vm->ram_size, used = vm->ram_used, cr3 = vm->cr3;
	struct moved_vcpu *m = calloc(nr, sizeof(*m));
	u8 *ram = malloc(size), *old = vm->ram;

	ASSERT(m && ram, "memory");
	for (i = 0; i < nr; i++)
		save_vcpu(vm->vcpus[i], &m[i]);
	memcpy(ram, vm->ram, size);
	vm_free(vm);

	vm = vm_create(nr, flags);
	ASSERT(vm->ram == old && vm->ram_size == size && vm->cr3 == cr3, "a VM of another form");
	memcpy(vm->ram, ram, size);
	vm->ram_used = used;
	for (i = 0; i < nr; i++)
		restore_vcpu(vm->vcpus[i], &m[i]);
	free(ram);
	free(m);
	return vm;
}
