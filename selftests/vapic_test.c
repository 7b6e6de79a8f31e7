// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: EOI, ICR and TPR as MSRs, beside xAPIC and beside x2APIC,
 * and the VP assist page with its "no EOI required" bit. Interrupts here are
 * edge-triggered unless a case says otherwise; counts are exact.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "apic.h"
#include "vm.h"

#define IOAPIC	     0xfec00000ULL
#define IOAPIC_LEVEL BIT64(15)
#define GSI	     20 /* a pin that the PIC has no part in */

#define ASSIST_ENABLE BIT64(0)
#define ASSIST_RSVD   0xffeULL /* 11:1, RsvdP */
#define NO_EOI	      1u       /* bit 0 of the page */

#define LOW  0x51u
#define HIGH 0x61u

struct assist_page {
	volatile u32 apic;
	volatile u8 rest[PAGE_SIZE - 4];
};

static struct assist_page assist __attribute__((aligned(4096)));
static struct assist_page assist2 __attribute__((aligned(4096)));

/* --- guest --------------------------------------------------------------- */

static void self_ipi(u32 vector)
{
	wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | vector);
}

static void count_and_eoi(struct guest_frame *f)
{
	GUEST_ASSERT(in_service(f->vector));
	guest_irqs[f->vector]++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

/* --- host ---------------------------------------------------------------- */

static void run_one(void (*entry)(void))
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

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
	/* Nothing in service: no fault, and nothing to see. */
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
	run_one(bad_accesses);
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
	/* Not again while in service, but afterwards. */
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
	run_one(eoi_order);
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
	/* By the APIC's own register: KVM's count would go below 0, which is a bug to it. */
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

/* To oneself, by shorthand and by number; the register reads back. */
GUEST_CODE(icr_to_self)
{
	const u64 values[] = {
		ICR_SELF | ICR_ASSERT | LOW,
		ICR_SELF | LOW,
		icr_to(0, LOW),
		ICR_ALL | ICR_ASSERT | LOW,
	};
	u32 i;

	guest_irq_handlers[LOW] = count_and_eoi;
	apic_start();
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		wrmsr(HV_X64_MSR_ICR, values[i]);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR), values[i]);
		GUEST_ASSERT(reg_vector(APIC_IRR, LOW));
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i + 1);
		GUEST_ASSERT(!in_service(LOW));
	}
	/* To nobody. */
	wrmsr(HV_X64_MSR_ICR, ICR_OTHERS | ICR_ASSERT | LOW);
	wrmsr(HV_X64_MSR_ICR, icr_to(7, LOW));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR), icr_to(7, LOW));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], i);
}

IN_BOTH_MODES(icr_self)
{
	run_one(icr_to_self);
}

/*
 * In xAPIC mode the MSR is the two registers of the APIC: what one way wrote, the other reads, and
 * an interrupt goes where the last of them said.
 */
static bool host_is_intel(void)
{
	return !host_is_amd();
}

static void agrees(u32 dest, u32 low)
{
	u64 msr = rdmsr(HV_X64_MSR_ICR);

	GUEST_ASSERT_EQ(apic_read(APIC_ICR), low);
	GUEST_ASSERT_EQ((u32)msr, low);
	GUEST_ASSERT_KNOWN_EQ(apic_read(APIC_ICR2), dest << 24);
	GUEST_ASSERT_KNOWN_EQ(msr >> 32, dest << 24);
}

GUEST_CODE(icr_and_icr2)
{
	const u32 low = ICR_ASSERT | LOW, others = ICR_OTHERS | ICR_ASSERT | LOW;
	u32 round;

	guest_irq_handlers[LOW] = count_and_eoi;
	apic_start();
	for (round = 0; round < 3; round++) {
		/* There is no other APIC. The shorthand is for the slow path. */
		wrmsr(HV_X64_MSR_ICR, icr_to(7, LOW));
		agrees(7, low);
		wrmsr(HV_X64_MSR_ICR, (u64)9 << 56 | others);
		agrees(9, others);
		apic_write(APIC_ICR2, 5 << 24);
		agrees(5, others);
		apic_write(APIC_ICR, low);
		agrees(5, low);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], round);

		/* The upper half by one way, the lower by the other. */
		wrmsr(HV_X64_MSR_ICR, icr_to(7, LOW));
		apic_write(APIC_ICR, low);
		irqs_window();
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[LOW], round);
		apic_write(APIC_ICR2, 0);
		apic_write(APIC_ICR, low);
		agrees(0, low);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], round + 1);
		/* And as user space sees it. */
		apic_write(APIC_ICR2, 11 << 24);
		GUEST_SYNC(round);
		agrees(13, low);
	}
}

TEST_KNOWN_IF(icr_is_the_apics_xapic, "K37", host_is_intel)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_lapic_state s;
	u32 round;

	x2apic = false;
	vcpu_entry(v, icr_and_icr2);
	for (round = 0; round < 3; round++) {
		vcpu_run_sync(v, round);
		ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_ICR), (u64)11 << 56 | ICR_ASSERT | LOW);
		vcpu_set_msr(v, HV_X64_MSR_ICR, (u64)13 << 56 | ICR_ASSERT | LOW);
		vcpu_ioctl(v, KVM_GET_LAPIC, &s);
		ASSERT_EQ(*(u32 *)(s.regs + APIC_ICR2), 13u << 24);
	}
	vcpu_run_done(v);
	vm_free(vm);
}

/* ICR2 has eight bits; the others stay 0, by whatever way they are written. */
GUEST_CODE(icr2_reserved)
{
	apic_start();
	apic_write(APIC_ICR2, 0x07ffffff);
	GUEST_ASSERT_EQ(apic_read(APIC_ICR2), 0x07000000);
	wrmsr(HV_X64_MSR_ICR, 0x09ffffffULL << 32 | ICR_ASSERT | LOW);
	GUEST_ASSERT_KNOWN_EQ(apic_read(APIC_ICR2), 0x09000000);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR) >> 32, 0x09000000);
	wrmsr(HV_X64_MSR_ICR, 0x0affffffULL << 32 | ICR_OTHERS | LOW);
	GUEST_ASSERT_EQ(apic_read(APIC_ICR2), 0x0a000000);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR) >> 32, 0x0a000000);
}

TEST_KNOWN(icr2_has_eight_bits_xapic, "K37")
{
	x2apic = false;
	run_one(icr2_reserved);
}

/* In x2APIC mode it is one register of 64 bits. */
GUEST_CODE(icr_is_wide)
{
	const u64 to = 0x12345678ULL << 32;

	apic_start();
	wrmsr(HV_X64_MSR_ICR, to | ICR_ASSERT | LOW);
	GUEST_ASSERT_EQ(rdmsr(MSR_X2APIC + APIC_ICR / 16), to | ICR_ASSERT | LOW);
	wrmsr(MSR_X2APIC + APIC_ICR / 16, 2 * to | ICR_OTHERS | ICR_ASSERT | LOW);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR), 2 * to | ICR_OTHERS | ICR_ASSERT | LOW);
	/* By the slow path. */
	wrmsr(HV_X64_MSR_ICR, to | ICR_OTHERS | ICR_ASSERT | LOW);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR), to | ICR_OTHERS | ICR_ASSERT | LOW);
}

TEST(icr_is_the_apics_x2apic)
{
	x2apic = true;
	run_one(icr_is_wide);
}

/* Destinations that no map of APICs reaches: nobody gets it, nor does the caller. */
GUEST_CODE(icr_to_nobody)
{
	static const u32 ids[] = { 1,	    0xfe,	0x100,	    0x101,	0xffff,
				   0x10000, 0x7fffffff, 0x80000000, 0xffffff00, 0xfffffffe };
	u32 i;

	guest_irq_handlers[LOW] = count_and_eoi;
	apic_start();
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		wrmsr(HV_X64_MSR_ICR, icr_to(ids[i], LOW));
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_ICR), icr_to(ids[i], LOW));
		GUEST_ASSERT(!requested(LOW));
		irqs_window();
	}
	GUEST_ASSERT_EQ(guest_irqs[LOW], 0);
}

TEST(icr_to_an_id_that_nobody_has)
{
	x2apic = true;
	run_one(icr_to_nobody);
}

#define IPIS 60

static volatile u32 receiver_up, receiver_stop;

/* A CPUID is an exit: interrupts get in, and a lone host CPU may run the other vCPU. */
GUEST_CODE(receiver)
{
	apic_start();
	receiver_up = 1;
	while (!receiver_stop) {
		irqs_window();
		cpuid(0, 0);
	}
}

GUEST_CODE(sender)
{
	const u64 values[] = { icr_to(1, LOW), ICR_OTHERS | ICR_ASSERT | LOW };
	u32 i;

	guest_irq_handlers[LOW] = count_and_eoi;
	guest_irq_handlers[HIGH] = count_and_eoi;
	apic_start();
	while (!receiver_up)
		cpuid(0, 0);
	/* One at a time, each seen before the next. */
	for (i = 0; i < IPIS; i++) {
		wrmsr(HV_X64_MSR_ICR, values[i % ARRAY_SIZE(values)]);
		while (guest_irqs[LOW] == i)
			cpuid(0, 0);
		GUEST_ASSERT_EQ(guest_irqs[LOW], i + 1);
	}
	/* None of them came here. */
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], IPIS);
	receiver_stop = 1;
}

IN_BOTH_MODES(icr_to_second_vcpu)
{
	struct vm *vm = vm_create(2, 0);

	vcpu_entry(vm->vcpus[0], sender);
	vcpu_entry(vm->vcpus[1], receiver);
	vcpu_start(vm->vcpus[1]);
	vcpu_start(vm->vcpus[0]);
	vcpu_join(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	vm_free(vm);
}

/* The MSR, the APIC's own register and CR8 are one. */
GUEST_CODE(tpr_agrees)
{
	u32 tpr;

	apic_start();
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), 0);
	for (tpr = 0; tpr < 0x100; tpr += 0x10) {
		wrmsr(HV_X64_MSR_TPR, tpr);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), tpr);
		GUEST_ASSERT_EQ(reg_read(APIC_TPR), tpr);
		GUEST_ASSERT_EQ(read_cr8(), tpr >> 4);

		reg_write(APIC_TPR, 0xf0 - tpr);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), 0xf0 - tpr);
		write_cr8(tpr >> 4);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), tpr);
	}
}

IN_BOTH_MODES(tpr_is_the_apics)
{
	run_one(tpr_agrees);
}

GUEST_CODE(tpr_blocks)
{
	u32 i;

	guest_irq_handlers[LOW] = count_and_eoi;
	guest_irq_handlers[HIGH] = count_and_eoi;
	apic_start();
	for (i = 0; i < 10; i++) {
		/* The class of LOW is held back, the next one is not. */
		wrmsr(HV_X64_MSR_TPR, LOW & 0xf0);
		self_ipi(LOW);
		self_ipi(HIGH);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], 2 * i);
		GUEST_ASSERT_EQ(guest_irqs[HIGH], 2 * i + 1);
		GUEST_ASSERT(reg_vector(APIC_IRR, LOW));
		/* Up: both; down: one class after the other. */
		wrmsr(HV_X64_MSR_TPR, 0xf0);
		self_ipi(HIGH);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], 2 * i + 1);
		wrmsr(HV_X64_MSR_TPR, LOW & 0xf0);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], 2 * i + 2);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 2 * i);
		wrmsr(HV_X64_MSR_TPR, (LOW & 0xf0) - 0x10);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], 2 * i + 1);
		wrmsr(HV_X64_MSR_TPR, 0);
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], 2 * i + 2);
	}
}

IN_BOTH_MODES(tpr_holds_back)
{
	run_one(tpr_blocks);
}

/*
 * The TPR goes below an interrupt that waits, and one in service still holds that back: the
 * threshold of the entry before may not stay. KVM 6.1 forgets it, and VMX refuses the entry.
 */
GUEST_CODE(tpr_below_one_that_waits)
{
	u32 tpr;

	apic_start();
	self_ipi(HIGH);
	irqs_window();
	GUEST_ASSERT(in_service(HIGH));
	for (tpr = 0; tpr < 0x60; tpr += 0x10) {
		wrmsr(HV_X64_MSR_TPR, 0xf0);
		self_ipi(LOW); /* KVM sets the threshold */
		GUEST_ASSERT(requested(LOW));
		wrmsr(HV_X64_MSR_TPR, tpr);
		irqs_window();
		GUEST_ASSERT_EQ(reg_read(APIC_PPR), 0x60);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 0);
	}
	wrmsr(HV_X64_MSR_TPR, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
}

static bool host_is_intel_6_1(void)
{
	return !host_is_amd() && host_is_6_1();
}

static void lower_tpr(bool mode)
{
	struct vm *vm = vm_create(1, 0);
	u32 cmd;

	x2apic = mode;
	guest_irq_handlers[HIGH] = guest_irq_count_no_eoi;
	guest_irq_handlers[LOW] = count_and_eoi;
	vcpu_entry(vm->vcpus[0], tpr_below_one_that_waits);
	cmd = vcpu_run(vm->vcpus[0]);
	ASSERT_KNOWN(cmd != RUN_EXIT(KVM_EXIT_FAIL_ENTRY), "the guest is dead");
	ASSERT_EQ(cmd, GUEST_DONE);
	vm_free(vm);
}

TEST(tpr_below_a_waiting_interrupt_xapic)
{
	if (host_is_intel_6_1() && !module_loaded())
		ktap_skip(
			"KVM_RUN never comes back; see the case beside x2APIC, where the CPU refuses");
	lower_tpr(false);
}

TEST_KNOWN_IF(tpr_below_a_waiting_interrupt_x2apic, "K18", host_is_intel_6_1)
{
	lower_tpr(true);
}

/* --- level-triggered: the EOI reaches the IOAPIC ------------------------- */

static void ioapic_write(u32 reg, u32 val)
{
	asm volatile("movl %0, (%1)" : : "a"(reg), "r"(IOAPIC) : "memory");
	asm volatile("movl %0, (%1)" : : "a"(val), "r"(IOAPIC + 0x10) : "memory");
}

/* To vCPU 0. */
static void ioapic_pin(u32 pin, u64 entry)
{
	ioapic_write(0x11 + 2 * pin, (u32)(entry >> 32));
	ioapic_write(0x10 + 2 * pin, (u32)entry);
}

static void level_handler(struct guest_frame *f)
{
	/* Not for a level-triggered interrupt: the IOAPIC has to hear of it. */
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	/* The second time the device is served. */
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

/* --- VP_ASSIST_PAGE: the register ---------------------------------------- */

GUEST_TEST(assist_reads_back)
{
	const u64 values[] = {
		gpa(&assist) | ASSIST_ENABLE,
		gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE,
		gpa(&assist) | ASSIST_RSVD,
		gpa(&assist2),
		gpa(&assist2) | ASSIST_ENABLE,
		GPA_NOWHERE,
		GPA_NOWHERE | ASSIST_RSVD,
		~ASSIST_ENABLE,
		0,
	};
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, values[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), values[i]);
	}
}

static void assert_page(struct assist_page *p, u32 apic, u8 rest)
{
	u32 i;

	GUEST_ASSERT_EQ(p->apic, apic);
	for (i = 0; i < sizeof(p->rest); i++)
		GUEST_ASSERT_EQ(p->rest[i], rest);
}

static void fill_page(struct assist_page *p, u8 val)
{
	u32 i;

	p->apic = val * 0x01010101u;
	for (i = 0; i < sizeof(p->rest); i++)
		p->rest[i] = val;
}

/* What is behind the first word may be worth keeping, on a restore above all. */
GUEST_TEST(assist_clears_one_word)
{
	fill_page(&assist, 0xff);
	fill_page(&assist2, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist));
	assert_page(&assist, 0xffffffff, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	assert_page(&assist, 0, 0xff);
	/* Moved: the same there, nothing here. */
	assist.apic = 0x12345678;
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist2) | ASSIST_ENABLE);
	assert_page(&assist, 0x12345678, 0xff);
	assert_page(&assist2, 0, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
	assert_page(&assist2, 0, 0xff);
}

static void refused(u64 val)
{
	u64 before = rdmsr(HV_X64_MSR_VP_ASSIST_PAGE);

	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, val), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), before);
}

GUEST_CODE(assist_nowhere)
{
	refused(GPA_NOWHERE | ASSIST_ENABLE);
	refused((GPA_NOWHERE + PAGE_SIZE) | ASSIST_ENABLE); /* read-only, see below */
	refused(0xfffffffffffff000ULL | ASSIST_ENABLE);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	assist.apic = 0x12345678;
	refused(GPA_NOWHERE | ASSIST_ENABLE);
	refused((GPA_NOWHERE + PAGE_SIZE) | ASSIST_ENABLE);
	refused(0xfffffffffffff000ULL | ASSIST_ENABLE);
	GUEST_ASSERT_EQ(assist.apic, 0x12345678);
}

TEST(assist_outside_memory_faults)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u32 *ro = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 before;

	ASSERT(ro != MAP_FAILED, "mmap");
	*ro = 0x5a5a5a5a;
	vm_add_memslot(vm, GPA_NOWHERE + PAGE_SIZE, ro, PAGE_SIZE, KVM_MEM_READONLY);
	vcpu_entry(v, assist_nowhere);
	vcpu_run_done(v);
	ASSERT_EQ(*ro, 0x5a5a5a5a);

	before = vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE), before);
	vm_free(vm);
}

GUEST_CODE(set_assist)
{
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
}

TEST(assist_belongs_to_the_vp)
{
	struct vm *vm = vm_create(2, 0);

	vcpu_entry(vm->vcpus[1], set_assist);
	vcpu_run_done(vm->vcpus[1]);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_VP_ASSIST_PAGE), 0);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_VP_ASSIST_PAGE),
		  gpa(&assist) | ASSIST_ENABLE);
	vm_free(vm);
}

/* --- PV EOI -------------------------------------------------------------- */

/* APICv and AVIC end interrupts without an exit, so KVM has no use for the bit then. */
static void require_pv_eoi(void)
{
	static const char *const files[] = {
		"/sys/module/kvm_intel/parameters/enable_apicv",
		"/sys/module/kvm_amd/parameters/avic",
	};
	char c;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		c = 0;
		ASSERT_EQ(read(fd, &c, 1), 1);
		close(fd);
		if (c == 'Y' || c == '1')
			ktap_skip("the APIC of this host needs no exit for an EOI");
	}
}

static bool test_and_clear_no_eoi(struct assist_page *p)
{
	bool set;

	asm volatile("lock btrl $0, %0\n\tsetc %1" : "+m"(p->apic), "=qm"(set) : : "cc", "memory");
	return set;
}

static volatile u32 without_eoi; /* how often the bit spared one */

/* The TLFS' way: an EOI unless told that none is required. */
static void lazy_eoi(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	if (test_and_clear_no_eoi(&assist))
		without_eoi++;
	else
		wrmsr(HV_X64_MSR_EOI, 0);
}

#define PV_EOIS 100

/*
 * An exit between delivery and handler takes the bit back, so not every one
 * counts; but a guest that relies on it never loses an interrupt.
 */
GUEST_CODE(ends_without_eoi)
{
	u32 i;

	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW));
		GUEST_ASSERT_EQ(assist.apic, 0);
	}
	guest_log("without EOI, of", without_eoi, PV_EOIS);
	GUEST_ASSERT(without_eoi > PV_EOIS / 2);

	/* Off: each one needs its EOI, and the page is left alone. */
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist));
	without_eoi = 0;
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], PV_EOIS + i);
		GUEST_ASSERT(!in_service(LOW));
	}
	GUEST_ASSERT_EQ(without_eoi, 0);
	GUEST_ASSERT_EQ(assist.apic, 0);
}

IN_BOTH_MODES(pv_eoi)
{
	require_pv_eoi();
	run_one(ends_without_eoi);
}

/* In the page that is enabled now, and in no other. */
static void lazy_eoi2(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	GUEST_ASSERT_EQ(assist.apic, 0);
	if (test_and_clear_no_eoi(&assist2))
		without_eoi++;
	else
		wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_moved)
{
	u32 i;

	guest_irq_handlers[LOW] = lazy_eoi2;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist2) | ASSIST_RSVD | ASSIST_ENABLE);
	/* Refused, so the old one stays in use. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), GP_VECTOR);
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW));
	}
	GUEST_ASSERT(without_eoi > PV_EOIS / 2);
}

TEST(pv_eoi_in_a_moved_page)
{
	require_pv_eoi();
	run_one(pv_eoi_moved);
}

/* Another one is waiting: its delivery hangs on the EOI. */
static void expect_no_bit(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_pending)
{
	u32 i;

	guest_irq_handlers[HIGH] = expect_no_bit;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 20; i++) {
		self_ipi(LOW);
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

TEST(pv_eoi_not_with_another_pending)
{
	run_one(pv_eoi_pending);
}

/* The other one arrives while the handler runs: a bit already set is taken back. */
static void send_then_eoi(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	self_ipi(LOW);
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_taken_back)
{
	u32 i;

	guest_irq_handlers[HIGH] = send_then_eoi;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 20; i++) {
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

TEST(pv_eoi_is_taken_back)
{
	run_one(pv_eoi_taken_back);
}

/* --- save and restore ---------------------------------------------------- */

struct image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	u64 assist;
	u8 ram[];
};

/* Stop the VM as a VMM does and start another one from what it was. */
static struct vm *move_vm(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[0];
	u64 size = vm->ram_size;
	struct image *m;

	/* Finish the instruction that the last exit belongs to. */
	v->run->immediate_exit = 1;
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	m = mmap(NULL, sizeof(*m) + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	ASSERT(m != MAP_FAILED, "mmap");
	vcpu_ioctl(v, KVM_GET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_GET_SREGS, &m->sregs);
	vcpu_ioctl(v, KVM_GET_LAPIC, &m->lapic);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &m->events);
	m->assist = vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE);
	memcpy(m->ram, vm->ram, size);
	vm_free(vm);

	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	ASSERT_EQ(vm->ram_size, size);
	memcpy(vm->ram, m->ram, size);
	vcpu_ioctl(v, KVM_SET_SREGS, &m->sregs);
	vcpu_ioctl(v, KVM_SET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_SET_LAPIC, &m->lapic);
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &m->events);
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, m->assist);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE), m->assist);
	munmap(m, sizeof(*m) + size);
	return vm;
}

GUEST_CODE(set_and_check_assist)
{
	fill_page(&assist, 0xee);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE),
			gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	assert_page(&assist, 0, 0xee);
}

TEST(assist_save_and_restore)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], set_and_check_assist);
	vcpu_run_sync(vm->vcpus[0], 1);
	vm = move_vm(vm);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* Moved in the middle of a handler, with another interrupt waiting or not. */
static volatile bool leave_pending;

static void move_then_lazy_eoi(struct guest_frame *f)
{
	if (leave_pending)
		self_ipi(LOW);
	GUEST_SYNC(2);
	GUEST_ASSERT(in_service(HIGH));
	lazy_eoi(f);
}

GUEST_CODE(moved_in_handler)
{
	u32 i;

	guest_irq_handlers[HIGH] = move_then_lazy_eoi;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 4; i++) {
		leave_pending = i & 1;
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], (i + 1) / 2);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

IN_BOTH_MODES(restore_in_a_handler)
{
	struct vm *vm = vm_create(1, 0);
	u32 i;

	vcpu_entry(vm->vcpus[0], moved_in_handler);
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[0], 2);
		vm = move_vm(vm);
	}
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
