// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the exit fast path must leave true at the end of an instruction: single step, interrupts
 * and their shadow.
 */
#include <errno.h>

#include "fastpath.h"
#include "rows.h"
#include "synic.h"

/* --- single step ------------------------------------------------------------ */

/* Where a single step must stop: before, between and behind two exits. */
extern const u8 step_read[], step_call[], step_end[];

GUEST_CODE(stepped)
{
	guest_set_os_id();
	GUEST_SYNC(1);
	asm volatile(".globl step_read, step_call, step_end\n"
		     "	mov $0x40000002, %%ecx\n"
		     "step_read: rdmsr\n"
		     "step_call: mov $0x10008, %%ecx\n"
		     "step_end: nop\n"
		     :
		     :
		     : "rax", "rcx", "rdx", "memory");
}

TEST(single_step_stops_behind_an_answered_exit)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	bool before = false, behind = false;
	u32 i;

	vcpu_entry(v, stepped);
	vcpu_run_sync(v, 1);
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < 200 && !behind; i++) {
		ASSERT_EQ(__vcpu_run(v), 0);
		if (v->run->exit_reason != KVM_EXIT_DEBUG)
			continue;
		before |= v->run->debug.arch.pc == (u64)(uintptr_t)step_read;
		behind = v->run->debug.arch.pc == (u64)(uintptr_t)step_call;
		ASSERT(v->run->debug.arch.pc != (u64)(uintptr_t)step_end, "stepped over the read");
	}
	ASSERT(before && behind, "no stop at the read (%d) and behind it (%d)", before, behind);
	vm_free(vm);
}

/*
 * One instruction that exits, directly behind @prepare; @behind becomes the address
 * behind it, where whatever waits for its end has to show up.
 */
#define RUN_INSN(prepare, insn, rax, rcx, rdx, r8, behind)                         \
	do {                                                                       \
		u64 __a = (rax), __c = (rcx), __d = (rdx);                         \
		asm volatile("mov %[in8], %%r8\n"                                  \
			     "lea 1f(%%rip), %[at]\n" prepare insn "\n"            \
			     "1:\n"                                                \
			     : "+a"(__a), "+c"(__c), "+d"(__d), [at] "=&r"(behind) \
			     : [in8] "r"((u64)(r8))                                \
			     : "r8", "r9", "r10", "r11", "cc", "memory");          \
	} while (0)
#define RUN_READ(prepare, msr, behind) RUN_INSN(prepare, "rdmsr", 0, msr, 0, 0, behind)
#define RUN_WRITE(prepare, msr, val, behind) \
	RUN_INSN(prepare, "wrmsr", (u32)(val), msr, (val) >> 32, 0, behind)
#define RUN_CALL(prepare, control, in, out, behind)                                \
	do {                                                                       \
		if (guest_use_vmmcall)                                             \
			RUN_INSN(prepare, "vmmcall", 0, control, in, out, behind); \
		else                                                               \
			RUN_INSN(prepare, "vmcall", 0, control, in, out, behind);  \
	} while (0)

#define RFLAGS_TF  0x100
#define SET_TF	   "pushfq\norq $0x100, (%%rsp)\npopfq\n"
#define DR6_BS	   BIT64(14)
#define DR6_EMPTY  0xffff0ff0ULL
#define NR_TRAPPED 3

/* Where the last interrupt or #DB came, and how many did. */
static volatile u64 taken_at, debug_status;
static volatile u32 nr_taken;

static void on_debug(struct guest_frame *f)
{
	u64 dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	asm volatile("mov %0, %%dr6" : : "r"(DR6_EMPTY));
	debug_status = dr6;
	taken_at = f->rip;
	nr_taken++;
	f->rflags &= ~(u64)RFLAGS_TF;
}

GUEST_CODE(trapped)
{
	u64 behind;

	guest_set_os_id();
	RUN_READ(SET_TF, HV_X64_MSR_VP_INDEX, behind);
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);

	debug_status = 0;
	RUN_WRITE(SET_TF, HV_X64_MSR_TPR, 0ULL, behind);
	GUEST_ASSERT_EQ(nr_taken, 2);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);

	debug_status = 0;
	RUN_CALL(SET_TF, SPIN_FAST, 0, 0, behind);
	GUEST_ASSERT_EQ(nr_taken, NR_TRAPPED);
	GUEST_ASSERT_EQ(taken_at, behind);
	GUEST_ASSERT_EQ(debug_status & DR6_BS, DR6_BS);
}

/* The guest single-steps itself, by RFLAGS.TF. */
TEST(trap_flag_traps_behind_the_instruction)
{
	struct vm *vm = vm_create(1, 0);
	u64 before = counted(STATE);

	guest_irq_handlers[1] = on_debug;
	vcpu_entry(vm->vcpus[0], trapped);
	vcpu_run_done(vm->vcpus[0]);
	expect_counted(STATE, before, NR_TRAPPED);
	vm_free(vm);
}

/* --- interrupts ---------------------------------------------------------------- */

#define NR_INTERRUPTED 20

static void on_interrupt(struct guest_frame *f)
{
	taken_at = f->rip;
	nr_taken++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void run_interrupted(void (*entry)(void), const char *name, u64 nr)
{
	struct vm *vm = vm_create(1, 0);
	u64 before = counted(name);

	guest_irq_handlers[VEC] = on_interrupt;
	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	expect_counted(name, before, nr);
	vm_free(vm);
}

GUEST_CODE(shadowed)
{
	u64 behind;
	u32 i;

	guest_set_os_id();
	apic_enable();
	for (i = 0; i < NR_INTERRUPTED; i++) {
		nr_taken = 0;
		wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
		RUN_READ("sti\n", HV_X64_MSR_VP_INDEX, behind);
		irqs_off();
		GUEST_ASSERT_EQ(nr_taken, 1);
		GUEST_ASSERT_EQ(taken_at, behind);

		wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
		RUN_CALL("sti\n", SPIN_FAST, 0, 0, behind);
		irqs_off();
		GUEST_ASSERT_EQ(nr_taken, 2);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

/* STI holds interrupts off for one instruction, and no longer if that one exits. */
TEST(interrupt_shadow_ends_with_the_instruction)
{
	run_interrupted(shadowed, "NOTIFY_LONG_SPIN_WAIT ", NR_INTERRUPTED);
}

#define SOME_PORT 0x80
#define RFLAGS_IF 0x200

GUEST_CODE(shadowed_by_the_host)
{
	u64 behind;

	apic_enable();
	wrmsr(HV_X64_MSR_ICR, ICR_TO(0, VEC));
	asm volatile("lea 1f(%%rip), %0\n"
		     "outb %%al, %1\n"
		     "nop\n"
		     "1:\n"
		     "nop\n"
		     "cli\n"
		     : "=&r"(behind)
		     : "i"(SOME_PORT)
		     : "memory");
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(taken_at, behind);
}

/* An exit between STI and the next instruction: the entry restores the shadow. */
TEST(interrupt_shadow_outlives_an_exit)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events events;
	struct kvm_regs regs;

	guest_irq_handlers[VEC] = on_interrupt;
	vcpu_entry(v, shadowed_by_the_host);
	vcpu_run_exit(v, KVM_EXIT_IO);
	/* The shadow lasts for one instruction. */
	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);

	vcpu_ioctl(v, KVM_GET_REGS, &regs);
	regs.rflags |= RFLAGS_IF;
	vcpu_ioctl(v, KVM_SET_REGS, &regs);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(events.interrupt.shadow, 0);
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &events);
	vcpu_run_done(v);
	vm_free(vm);
}

GUEST_CODE(sends_itself_by_icr)
{
	u64 behind;
	u32 i;

	apic_enable();
	irqs_on();
	for (i = 1; i <= NR_INTERRUPTED; i++) {
		RUN_WRITE("", HV_X64_MSR_ICR, ICR_TO(0, VEC), behind);
		GUEST_ASSERT_EQ(nr_taken, i);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

TEST(own_icr_interrupts_at_once)
{
	run_interrupted(sends_itself_by_icr, "ICR ", NR_INTERRUPTED);
}

GUEST_CODE(sends_itself_by_call)
{
	u64 behind;
	u32 i;

	guest_set_os_id();
	apic_enable();
	irqs_on();
	for (i = 1; i <= NR_INTERRUPTED; i++) {
		RUN_CALL("", IPI_FAST, VEC, 1, behind);
		GUEST_ASSERT_EQ(nr_taken, i);
		GUEST_ASSERT_EQ(taken_at, behind);
	}
}

TEST(own_ipi_interrupts_at_once)
{
	run_interrupted(sends_itself_by_call, "SEND_IPI ", NR_INTERRUPTED);
}

/* --- registers and modes ---------------------------------------------------- */

#define CR4_OSXSAVE BIT64(18)
#define HAS_XSAVE   BIT64(26) /* leaf 1, ECX */
#define XCR0_AVX    7u	      /* and what it needs: FP, SSE */

static u32 xcr0;

static u32 xgetbv0(void)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo;
}

GUEST_CODE(enables_avx)
{
	u64 cr4;
	u32 i;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE));
	GUEST_ASSERT_EQ(xgetbv0(), 1);
	xcr0 = cpuid(0xd, 0).eax & XCR0_AVX;
	asm volatile("xsetbv" : : "a"(xcr0), "d"(0), "c"(0));
	GUEST_ASSERT_EQ(xgetbv0(), xcr0);
	for (i = 0; i < NR_INTERRUPTED; i++) {
		rdmsr(HV_X64_MSR_VP_INDEX);
		GUEST_ASSERT_EQ(xgetbv0(), xcr0);
		outb(SOME_PORT, 0);
		GUEST_ASSERT_EQ(xgetbv0(), xcr0);
	}
}

/* KVM loads a guest's XCR0 where its own differs: for the fast path it stays loaded. */
TEST(xcr0_outlives_an_exit)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 before = row_counts(HV_X64_MSR_VP_INDEX).fast_reads;
	struct kvm_xcrs x;
	u32 i;

	if (!(cpuid_get(&v->cpuid, 1)->ecx & HAS_XSAVE))
		ktap_skip("this CPU has no XSAVE");
	vcpu_entry(v, enables_avx);
	for (i = 0; i < NR_INTERRUPTED; i++) {
		vcpu_run_exit(v, KVM_EXIT_IO);
		vcpu_ioctl(v, KVM_GET_XCRS, &x);
		ASSERT_EQ(x.xcrs[0].value, xcr0);
	}
	vcpu_run_done(v);
	if (module_loaded())
		ASSERT_EQ(row_counts(HV_X64_MSR_VP_INDEX).fast_reads - before, NR_INTERRUPTED);
	vm_free(vm);
}
