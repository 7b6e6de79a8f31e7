// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the exit fast path must leave true of registers and modes: XMM and XCR0, 32-bit code,
 * paging, SMM.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "fastpath.h"
#include "synic.h"

#define XMM_CALLS 50
#define XMM_WORDS 32 /* XMM0 to 15 */

static u64 xmm_in[XMM_WORDS], xmm_out[XMM_WORDS];

#define FOR_EACH_XMM(op)                                                                        \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
		op(14) op(15)
#define XMM_LOAD(n)  "movups 16*" #n "(%[from]), %%xmm" #n "\n"
#define XMM_STORE(n) "movups %%xmm" #n ", 16*" #n "(%[to])\n"
#define XMM_CALL(insn)                                                                             \
	asm volatile(FOR_EACH_XMM(XMM_LOAD) "xor %%r8d, %%r8d\n" insn "\n" FOR_EACH_XMM(XMM_STORE) \
		     : "+a"(rax), "+c"(control), "+d"(space)                                       \
		     : [from] "r"(xmm_in), [to] "r"(xmm_out)                                       \
		     : "r8", "r9", "r10", "r11", "cc", "memory")

/* A list of 11 pages, which takes all of XMM0 to 5, of itself and of a VP that never ran. */
GUEST_CODE(flushes_by_xmm)
{
	u32 i, j;

	guest_set_os_id();
	for (i = 0; i < XMM_CALLS; i++) {
		u64 control = HVCALL_FLUSH_LIST | HV_CTL_FAST | HV_CTL_REP(11);
		u64 space = 0, rax = 0xdead;

		for (j = 0; j < XMM_WORDS; j++)
			xmm_in[j] = (u64)(i * XMM_WORDS + j + 1) << 12;
		xmm_in[0] = i & 1 ? 1 : 3;
		if (guest_use_vmmcall)
			XMM_CALL("vmmcall");
		else
			XMM_CALL("vmcall");
		GUEST_ASSERT_EQ(rax, HV_CTL_REP(11));
		for (j = 0; j < XMM_WORDS; j++)
			GUEST_ASSERT_EQ(xmm_out[j], xmm_in[j]);
	}
}

TEST(xmm_registers_are_unharmed)
{
	struct vm *vm = vm_create(2, 0);
	u64 before = counted("FLUSH_VIRTUAL_ADDRESS_LIST ");

	vcpu_entry(vm->vcpus[0], flushes_by_xmm);
	vcpu_run_done(vm->vcpus[0]);
	/* A call that finds the guest's FPU not loaded takes the slow path. */
	expect_counted("FLUSH_VIRTUAL_ADDRESS_LIST ", before, XMM_CALLS / 2);
	vm_free(vm);
}

/* 32-bit code and real mode: read VP_INDEX and report to the host, with EDX copied to EBX. */
/* clang-format off */
asm(".pushsection .text\n"
	".macro	tell_vp_index\n"
	"	mov	$0x40000002, %ecx\n"
	"	rdmsr\n"
	"	mov	%edx, %ebx\n"
	"	mov	$0x4b48, %edx\n"
	"	out	%eax, %dx\n"
	"	hlt\n"
	".endm\n"
	".code32\n"
	"tell_in_32_bit: tell_vp_index\n"
	".code16\n"
	"tell_in_smm: tell_vp_index\n"
	"tell_in_smm_end:\n"
	".code64\n"
	".popsection\n");
/* clang-format on */
extern u8 tell_in_32_bit[], tell_in_smm[], tell_in_smm_end[];

#define AN_INDEX 38 /* no enum guest_cmd, and in the high half of a mask */

GUEST_CODE(be_known)
{
	guest_set_os_id();
	apic_enable();
}

/* CS.L is 0 in long mode: the registers of a call are those of 32-bit code. */
TEST(compatibility_mode_has_32_bit_registers)
{
	struct vm *vm = vm_create(1, 0);
	void (*code)(void) = guest_use_vmmcall ? guest_mode32_vmmcall : guest_mode32_vmcall;
	struct vcpu *v = vm->vcpus[0];
	struct kvm_lapic_state apic;
	struct regs32 *block;
	struct kvm_regs r;
	u64 before;
	u32 i;

	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, be_known);
	vcpu_run_done(v);

	block = vm_alloc(vm, sizeof(*block));
	block->edi = 1u << (AN_INDEX - 32);
	before = counted("SEND_IPI ");
	for (i = 0; i < TRIES && counted("SEND_IPI ") == before; i++) {
		block->eax = IPI_FAST;
		block->ecx = VEC;
		vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)code, (u64)(uintptr_t)block);
		vcpu_run_done(v);
	}
	expect_counted("SEND_IPI ", before, 1);
	ASSERT_EQ(block->eax, HV_STATUS_SUCCESS);
	ASSERT_EQ(block->edx, 0);
	ASSERT_EQ(block->ecx, VEC);
	vcpu_ioctl(v, KVM_GET_LAPIC, &apic);
	ASSERT(apic.regs[APIC_IRR + VEC / 32 * 0x10 + VEC % 32 / 8] & 1 << VEC % 8,
	       "the interrupt is not there");

	before = counted(ANSWERED);
	for (i = 0; i < TRIES && counted(ANSWERED) == before; i++) {
		vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)tell_in_32_bit, 0);
		ASSERT_EQ(vcpu_run(v), AN_INDEX);
	}
	expect_counted(ANSWERED, before, 1);
	vcpu_ioctl(v, KVM_GET_REGS, &r);
	ASSERT_EQ(r.rbx, 0);
	vm_free(vm);
}

#define PTE_ACCESSED 0x20
#define NR_SPACES    100

static u64 own_cr3, left_cr3;

static void load_cr3(u64 cr3)
{
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/*
 * After a CR3 write the memory of the old page tables may be reused. The CR3 write itself does not
 * exit, so KVM learns of it only at the next exit.
 */
GUEST_CODE(leaves_address_space)
{
	volatile u64 *left = (volatile u64 *)(uintptr_t)left_cr3;
	u32 i;

	for (i = 0; i < NR_SPACES; i++) {
		load_cr3(left_cr3);
		cpuid(0, 0);
		load_cr3(own_cr3);
		*left &= ~(u64)PTE_ACCESSED;
		rdmsr(HV_X64_MSR_VP_INDEX);
		GUEST_ASSERT_EQ(*left & PTE_ACCESSED, 0);
	}
}

TEST(an_address_space_that_was_left_is_not_touched)
{
	struct vm *vm = vm_create(1, 0);
	u64 *pml4 = vm_alloc(vm, PAGE_SIZE);

	pml4[0] = *(u64 *)(uintptr_t)vm->cr3;
	own_cr3 = vm->cr3;
	left_cr3 = (u64)(uintptr_t)pml4;
	vcpu_entry(vm->vcpus[0], leaves_address_space);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* RDMSR and a return, which begin with the last byte of a page. */
static u8 across[2 * PAGE_SIZE] __attribute__((aligned(4096)));

GUEST_CODE(reads_across_pages)
{
	u32 i, eax, edx;

	for (i = 0; i < READS; i++) {
		asm volatile("call *%3"
			     : "=a"(eax), "=d"(edx)
			     : "c"(HV_X64_MSR_VP_INDEX), "r"(&across[PAGE_SIZE - 1])
			     : "memory");
		GUEST_ASSERT_EQ(eax, AN_INDEX);
		GUEST_ASSERT_EQ(edx, 0);
	}
}

/*
 * Without NRIPS the fast path reads the instruction from one page only, because KVM warns in the
 * host's log about a read that crosses a page.
 */
TEST(an_instruction_across_pages)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 before = counted(SKIP);

	memcpy(&across[PAGE_SIZE - 1], "\x0f\x32\xc3", 3);
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, reads_across_pages);
	vcpu_run_done(v);
	if (!host_tells_next_rip())
		expect_counted(SKIP, before, READS);
	vm_free(vm);
}

#define SMBASE	   0x30000
#define SMRAM_SIZE 0x10000
#define SMM_ENTRY  0x8000
#define SMM_SLOT   0x10000 /* the first of address space 1 */

TEST(smm_is_left_to_the_slow_path)
{
	struct kvm_userspace_memory_region smram = {
		.slot = SMM_SLOT,
		.guest_phys_addr = SMBASE,
		.memory_size = SMRAM_SIZE,
	};
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events events;
	u64 before = counted(STATE);
	u8 *ram;

	if (!vm_check_cap(vm, KVM_CAP_X86_SMM) || vm_check_cap(vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		ktap_skip("this KVM has no SMM");
	ram = mmap(NULL, SMRAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(ram != MAP_FAILED, "mmap");
	memcpy(ram + SMM_ENTRY, tell_in_smm, (size_t)(tell_in_smm_end - tell_in_smm));
	smram.userspace_addr = (u64)(uintptr_t)ram;
	ASSERT(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &smram), "SMRAM: %s", strerror(errno));
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, AN_INDEX);
	vcpu_entry(v, be_known);
	vcpu_ioctl(v, KVM_SMI, NULL);
	ASSERT_EQ(vcpu_run(v), AN_INDEX);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(events.smi.smm, 1);
	expect_counted(STATE, before, 1);
	vm_free(vm);
}
