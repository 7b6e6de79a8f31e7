// SPDX-License-Identifier: GPL-2.0-only
/*
 * IPIs by hypercall: how they arrive, at which vector, and at VPs that are disabled, halt or
 * call.
 */
#include <sched.h>
#include <string.h>

#include "ipi.h"

/* --- guest --------------------------------------------------------------- */

GUEST_CODE(halts)
{
	u32 cpu = this_cpu()->id;

	apic_enable();
	while (ipi_taken[cpu][FIRST] < HALT_ROUNDS)
		irqs_halt();
}

static volatile u64 after_call;

/* With interrupts on. */
static u64 call_to_self(u64 control, u64 vector, u64 mask)
{
	u64 rax = 0, rcx = control, rdx = vector;

#define SELF_IPI(insn)                                                           \
	asm volatile("mov %[mask], %%r8\n"                                       \
		     "lea 1f(%%rip), %%r9\n"                                     \
		     "mov %%r9, %[after]\n"                                      \
		     "sti\n"                                                     \
		     "nop\n" insn "\n"                                           \
		     "1: cli\n"                                                  \
		     : "+a"(rax), "+c"(rcx), "+d"(rdx), [after] "=m"(after_call) \
		     : [mask] "r"(mask)                                          \
		     : "r8", "r9", "r10", "r11", "cc", "memory")
	if (guest_use_vmmcall)
		SELF_IPI("vmmcall");
	else
		SELF_IPI("vmcall");
	return rax;
}

/* TLFS: the interrupt is taken before the instruction that follows the call. */
GUEST_CODE(sends_to_self)
{
	u64 *block = (u64 *)(uintptr_t)ipi_orders[0].in;
	u32 i;

	apic_enable();
	for (i = 1; i <= 20; i++) {
		after_call = 0;
		ipi_taken_at[0] = 0;
		GUEST_ASSERT_EQ(call_to_self(HVCALL_SEND_IPI | HV_CTL_FAST, FIRST, 1), 0);
		GUEST_ASSERT_EQ(ipi_taken[0][FIRST], i);
		GUEST_ASSERT_EQ(ipi_taken_at[0], after_call);
	}
	block[0] = FIRST + 1;
	block[1] = SPARSE;
	block[2] = 1;
	block[3] = 1;
	for (i = 1; i <= 20; i++) {
		ipi_taken_at[0] = 0;
		GUEST_ASSERT_EQ(call_to_self(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1),
					     (u64)(uintptr_t)block, 0),
				0);
		GUEST_ASSERT_EQ(ipi_taken[0][FIRST + 1], i);
		GUEST_ASSERT_EQ(ipi_taken_at[0], after_call);
	}
}

/* --- host ---------------------------------------------------------------- */

/* Both ends of the range of vectors; the rows of the other cases use those in between. */
TEST(lowest_and_highest_vector)
{
	static const struct row row = { "VPs 1 and 2", ANY, SPARSE, 1, { 6 }, CPU(1) | CPU(2) };
	static const u32 vectors[] = { 0x20, 0x10, 0xff };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form;

	guest_irq_handlers[0x10] = ipi_take;
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		for (form = 0; form < NR_FORMS; form++)
			ASSERT(send_once(vm, 0, &row, form, vectors[i], page) ||
				       send_once(vm, 0, &row, form, vectors[i], page),
			       "vector 0x%x, %s", vectors[i], ipi_form_names[form]);
	vm_free(vm);
}

/* TLFS: an interrupt to a disabled local APIC is lost, without an error. */
TEST(disabled_apic_is_ignored)
{
	static const struct row rows[] = {
		{ "VP 2, disabled", ANY, SPARSE, 1, { 4 }, 0 },
		{ "VP 2 and others", ANY, SPARSE, 1, { 0xf }, CPU(0) | CPU(1) | CPU(3) },
		{ "all", EX, ALL, 0, { 0 }, CPU(0) | CPU(1) | CPU(3) },
	};
	static const u32 same[] = { 0, 1, 2, 3 };
	struct vm *vm = vm_with_indices(NULL);

	ipi_orders[2].apic_off = true;
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	ipi_orders[2].apic_off = false;
	send_rows(vm, rows, 1);
	/* It sends, though. */
	ipi_orders[2].apic_on = true;
	memset((void *)ipi_taken, 0, sizeof(ipi_taken));
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	ASSERT_EQ(taken_by(2), 0);
	ipi_orders[2].apic_on = false;
	each_has(vm, same);

	ipi_orders[2].apic_off = true;
	vcpu_run_sync(vm->vcpus[2], TAKEN);
	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

/* Pending in its IRR until it runs, one interrupt of each vector however often it is sent. */
TEST(repeated_before_it_is_taken)
{
	struct row row = { "VP 1", ANY, SPARSE, 1, { 2 }, CPU(1) };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i, form;

	for (i = 0; i < 3; i++) {
		for (form = 0; form < NR_FORMS; form++) {
			ipi_orders[0] = order_of(&row, form, FIRST, page);
			vcpu_run_sync(vm->vcpus[0], TAKEN);
			ASSERT_EQ(ipi_orders[0].result, 0);
		}
	}
	ASSERT_EQ(taken_by(1), 0);
	vcpu_run_sync(vm->vcpus[1], TAKEN);
	ASSERT_EQ(ipi_taken[1][FIRST], 1);
	ASSERT_EQ(taken_by(1), 1);
	vm_free(vm);
}

TEST(self_ipi_before_the_next_instruction)
{
	struct vm *vm = vm_with_indices(NULL);

	ipi_orders[0].in = (u64)(uintptr_t)vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], sends_to_self);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* The host sets the mp_state to halted: KVM_RUN returns only if the IPI wakes the vCPU. */
static bool wakes_up(struct vm *vm, enum hc_form form, u64 *page)
{
	static const struct row row = { "a halted VP", ANY, SPARSE, 1, { 2 }, CPU(1) };
	struct kvm_mp_state halted = { .mp_state = KVM_MP_STATE_HALTED };
	struct kvm_regs regs;

	vcpu_ioctl(vm->vcpus[1], KVM_GET_REGS, &regs);
	regs.rflags |= X86_RFLAGS_IF;
	vcpu_ioctl(vm->vcpus[1], KVM_SET_REGS, &regs);
	vcpu_ioctl(vm->vcpus[1], KVM_SET_MP_STATE, &halted);
	return send_once(vm, 0, &row, form, FIRST + form, page);
}

TEST(halted_target_wakes_up)
{
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 form;

	for (form = 0; form < NR_FORMS; form++)
		ASSERT(wakes_up(vm, form, page) || wakes_up(vm, form, page), "%s",
		       ipi_form_names[form]);
	vm_free(vm);
}

/* A target that halts by itself, in a thread; the same call again and again. */
TEST(halting_target_wakes_up)
{
	struct row row = { "VP 70", EX, SPARSE, BIT64(1), { BIT64(6) }, CPU(1) };
	struct vm *vm = vm_with_indices(spread_indices);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 i;

	memset((void *)ipi_taken, 0, sizeof(ipi_taken));
	vcpu_entry(vm->vcpus[1], halts);
	vcpu_start(vm->vcpus[1]);
	for (i = 0; i < HALT_ROUNDS; i++) {
		while (ipi_taken[1][FIRST] < i)
			sched_yield();
		ipi_orders[0] = order_of(&row, i % 2 ? EX_SLOW : EX_XMM, FIRST, page);
		vcpu_run_sync(vm->vcpus[0], TAKEN);
		ASSERT_EQ(ipi_orders[0].result, 0);
	}
	vcpu_join(vm->vcpus[1]);
	ASSERT_EQ(taken_by(0), 0);
	vm_free(vm);
}
