// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: EOI as an MSR, also of a level-triggered interrupt, and accesses that fault.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vapic.h"

#define GSI 20 /* a pin that the PIC has no part in */

/* --- EOI, ICR, TPR ------------------------------------------------------- */

GUEST_CODE(bad_accesses)
{
	u64 val;
	u32 bit;

	apic_start();
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_EOI, &val), GP_VECTOR);
	wrmsr(HV_X64_MSR_TPR, 0x30);
	for (bit = 32; bit < 64; bit++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_EOI, BIT64(bit)), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TPR, BIT64(bit) | 0x50), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), 0x30);
	}
	wrmsr(HV_X64_MSR_TPR, 0);
	/* An EOI with nothing in service has no effect, and does not fault. */
	wrmsr(HV_X64_MSR_EOI, 0);

	/* A faulting EOI ends nothing. */
	guest_irq_handlers[LOW] = guest_irq_count_no_eoi;
	self_ipi(LOW);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_EOI, BIT64(32)), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_EOI, &val), GP_VECTOR);
	GUEST_ASSERT(in_service(LOW));
	wrmsr(HV_X64_MSR_EOI, 0);
	GUEST_ASSERT(!in_service(LOW));
}

IN_BOTH_MODES(bad_accesses_fault)
{
	vapic_run(bad_accesses);
}

GUEST_CODE(without_apic)
{
	static const u32 msrs[] = { HV_X64_MSR_EOI, HV_X64_MSR_ICR, HV_X64_MSR_TPR };
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		GUEST_ASSERT_EQ(__rdmsr(msrs[i], &val), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(msrs[i], 0), GP_VECTOR);
		GUEST_ASSERT_EQ(__wrmsr(msrs[i], ICR_SELF | LOW), GP_VECTOR);
	}
}

static void host_without_apic(struct vcpu *v)
{
	static const u32 msrs[] = { HV_X64_MSR_EOI, HV_X64_MSR_ICR, HV_X64_MSR_TPR };
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		ASSERT_EQ(__vcpu_get_msr(v, msrs[i], &val), 0);
		ASSERT_EQ(__vcpu_set_msr(v, msrs[i], 0), 0);
		ASSERT_EQ(__vcpu_set_msr(v, msrs[i], ICR_SELF | LOW), 0);
	}
}

/* Nobody there to answer: user space before and after the guest, which is known by then. */
TEST(without_in_kernel_apic)
{
	struct vm *vm = vm_create(1, VM_NO_IRQCHIP);

	host_without_apic(vm->vcpus[0]);
	vcpu_entry(vm->vcpus[0], without_apic);
	vcpu_run_done(vm->vcpus[0]);
	host_without_apic(vm->vcpus[0]);
	vm_free(vm);
}

/* EOI ends the highest one in service. */
GUEST_CODE(eoi_order)
{
	guest_irq_handlers[LOW] = guest_irq_count_no_eoi;
	guest_irq_handlers[HIGH] = guest_irq_count_no_eoi;
	apic_start();
	self_ipi(LOW);
	irqs_window();
	self_ipi(HIGH);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
	GUEST_ASSERT_EQ(guest_irqs[HIGH], 1);
	GUEST_ASSERT(in_service(LOW) && in_service(HIGH));
	/* The same vector arrives again only after the EOI. */
	self_ipi(LOW);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
	wrmsr(HV_X64_MSR_EOI, 0);
	GUEST_ASSERT(in_service(LOW) && !in_service(HIGH));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
	wrmsr(HV_X64_MSR_EOI, 0);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 2);
	wrmsr(HV_X64_MSR_EOI, 0);
	GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
}

IN_BOTH_MODES(eoi)
{
	vapic_run(eoi_order);
}

/* User space may say that anything is in service: each EOI ends one, and no more than there are. */
GUEST_CODE(end_all)
{
	u32 i, vector;

	apic_start();
	GUEST_SYNC(1);
	for (vector = 255; vector >= 16; vector--) {
		wrmsr(HV_X64_MSR_EOI, 0);
		/* A look at the APIC is an exit of its own. */
		if (vector % 37)
			continue;
		GUEST_ASSERT(!in_service(vector));
		GUEST_ASSERT(in_service(vector - 1));
	}
	for (i = 0; i < 40; i++)
		wrmsr(HV_X64_MSR_EOI, 0);
	/* By the APIC's own register: KVM's count would go below 0, which triggers its WARN. */
	guest_irq_handlers[LOW] = guest_irq_count;
	self_ipi(LOW);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
	GUEST_ASSERT(!in_service(LOW));
}

TEST(eoi_of_all_that_user_space_puts_in_service)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_lapic_state s;
	u32 i;

	vcpu_entry(vm->vcpus[0], end_all);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_ioctl(vm->vcpus[0], KVM_GET_LAPIC, &s);
	for (i = 0; i < 8; i++)
		*(u32 *)(s.regs + APIC_ISR + 0x10 * i) = i ? ~0u : ~0xffffu;
	vcpu_ioctl(vm->vcpus[0], KVM_SET_LAPIC, &s);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- level-triggered: the EOI reaches the IOAPIC ------------------------- */

/* To vCPU 0. */
static void ioapic_pin(u32 pin, u64 entry)
{
	ioapic_write(IOAPIC_HIGH(pin), (u32)(entry >> 32));
	ioapic_write(IOAPIC_LOW(pin), (u32)entry);
}

static void level_handler(struct guest_frame *f)
{
	/* The bit is not set for a level-triggered interrupt, whose EOI must reach the IOAPIC. */
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	/* The second time, deassert the line. */
	if (++guest_irqs[f->vector] == 2)
		GUEST_SYNC(2);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(level)
{
	guest_irq_handlers[HIGH] = level_handler;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	ioapic_pin(GSI, IOAPIC_LEVEL | HIGH);
	GUEST_SYNC(1);
	while (guest_irqs[HIGH] < 2)
		irqs_window();
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[HIGH], 2);
	GUEST_ASSERT(!in_service(HIGH));
}

static void irq_line(struct vm *vm, u32 gsi, bool up)
{
	struct kvm_irq_level l = { .irq = gsi, .level = up };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &l) < 0)
		FAIL("KVM_IRQ_LINE: %s", strerror(errno));
}

IN_BOTH_MODES(eoi_of_a_level_interrupt)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, level);
	vcpu_run_sync(v, 1);
	irq_line(vm, GSI, true);
	vcpu_run_sync(v, 2);
	irq_line(vm, GSI, false);
	vcpu_run_done(v);
	vm_free(vm);
}
