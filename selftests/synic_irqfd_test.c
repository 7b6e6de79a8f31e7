// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of SINTs: which SINTs interrupt, of which VP, and which routes lead nowhere.
 */
#include <sched.h>
#include <unistd.h>

#include "sint.h"

static u64 test_sint, test_scontrol = HV_SYNIC_ENABLE;
static bool expect_irq;

/* The host raises TEST_SINT, then FENCE_SINT. */
GUEST_CODE(take_fenced)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), test_sint);
	wrmsr(HV_X64_MSR_SINT(FENCE_SINT), FENCE);
	wrmsr(HV_X64_MSR_SCONTROL, test_scontrol);
	GUEST_SYNC(1);
	/* With the SynIC off the fence cannot arrive either. */
	if (!(test_scontrol & HV_SYNIC_ENABLE)) {
		irqs_on();
		guest_settle(5);
		irqs_off();
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[FENCE], 0);
		wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		GUEST_SYNC(2);
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
		return;
	}
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(guest_irqs[FENCE], 1);
	if (expect_irq)
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	else
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC) && !apic_vector(APIC_IRR, VEC));
}

static void raise_fenced(u64 sint, u64 scontrol, bool arrives)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, fence;

	test_sint = sint;
	test_scontrol = scontrol;
	expect_irq = arrives;
	route_all_sints(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	fence = irqfd_new(vm, GSI(FENCE_SINT), NULL);
	vcpu_entry(v, take_fenced);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	eventfd_signal(fence);
	if (!(scontrol & HV_SYNIC_ENABLE)) {
		synic_run_sync(v, 2);
		eventfd_signal(fd);
		eventfd_signal(fence);
	}
	synic_run_done(v);
	vm_free(vm);
}

TEST(sint_interrupts)
{
	raise_fenced(VEC, HV_SYNIC_ENABLE, true);
}

TEST(sint_interrupts_with_reserved_bits)
{
	raise_fenced(VEC | 0xff00, ~0ULL, true);
}

TEST(masked_sint_does_not_interrupt)
{
	raise_fenced(VEC | HV_SINT_MASKED, HV_SYNIC_ENABLE, false);
}

TEST_KNOWN(polling_sint_does_not_interrupt, "K5")
{
	raise_fenced(VEC | HV_SINT_POLLING, HV_SYNIC_ENABLE, false);
}

/* Raised while the SynIC is off it is lost; raised again when it is on it arrives. */
TEST_KNOWN(scontrol_zero_no_interrupt, "K5")
{
	raise_fenced(VEC, 0, false);
}

GUEST_CODE(take_all_sints)
{
	u32 i;

	apic_enable();
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		wrmsr(HV_X64_MSR_SINT(i), 0x90 + i);
	GUEST_SYNC(1);
	irqs_on();
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT(guest_wait(&guest_irqs[0x90 + i], 1, WAIT_MS));
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		GUEST_ASSERT_EQ(guest_irqs[0x90 + i], 1);
}

/* To a VP that is not the first, each SINT by its own route. */
TEST(every_sint_of_another_vp)
{
	struct vm *vm = sint_vm(2);
	struct vcpu *v = vm->vcpus[1];
	u32 i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		guest_irq_handlers[0x90 + i] = guest_irq_count;
	route_all_sints(vm, 1);
	vcpu_entry(v, take_all_sints);
	synic_run_sync(v, 1);
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		eventfd_signal(irqfd_new(vm, GSI(i), NULL));
	synic_run_done(v);
	vm_free(vm);
}

/* HLT is left for a SINT: the host raises the next one when it has seen the last taken. */
#define NR_HALTS 20

GUEST_CODE(halt_for_sint)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(1);
	while (guest_irqs[VEC] < NR_HALTS)
		irqs_halt();
}

TEST(sint_wakes_halted_vcpu)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;
	int fd;

	route_all_sints(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, halt_for_sint);
	synic_run_sync(v, 1);
	vcpu_start(v);
	/* If one is lost the watchdog ends the case. */
	for (i = 0; i < NR_HALTS; i++) {
		eventfd_signal(fd);
		while (guest_irqs[VEC] <= i)
			sched_yield();
	}
	vcpu_join(v);
	ASSERT_EQ(guest_irqs[VEC], NR_HALTS);
	vm_free(vm);
}

/* Routes to a VP or SINT that does not exist deliver nothing. */
TEST(bad_routes_do_nothing)
{
	static const struct {
		u32 vp, sint;
	} bad[] = {
		{ 77, TEST_SINT },     { 0xffffffff, TEST_SINT }, { 1, TEST_SINT },
		{ 0, HV_SYNIC_SINTS }, { 0, 0xffffffff },
	};
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	const u32 good = FENCE_SINT;
	int fd;
	u32 i;

	vm_add_vcpu(vm); /* VP 1 has no SynIC */
	test_sint = VEC;
	expect_irq = false;
	vcpu_entry(v, take_fenced);
	synic_run_sync(v, 1);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		route_sints(vm, bad[i].vp, &bad[i].sint, 1);
		fd = irqfd_new(vm, GSI(0), NULL);
		eventfd_signal(fd);
		eventfd_signal(fd);
		close(fd);
	}
	route_sints(vm, 0, &good, 1);
	eventfd_signal(irqfd_new(vm, GSI(0), NULL));
	synic_run_done(v);
	vm_free(vm);
}
