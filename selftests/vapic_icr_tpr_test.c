// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: ICR and TPR as MSRs.
 */
#include "tracefs.h"
#include "vapic.h"

#define FASTPATH "/sys/module/kvm_hyperv/parameters/fastpath"

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
	vapic_run(icr_to_self);
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
		/* There is no other APIC. The shorthand takes the slow path. */
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
		/* User space reads the same, and writes another ID. */
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
	vapic_run(icr2_reserved);
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
	vapic_run(icr_is_wide);
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
	vapic_run(icr_to_nobody);
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
	/* None of them arrived here. */
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
	vapic_run(tpr_agrees);
}

GUEST_CODE(tpr_blocks)
{
	u32 i;

	guest_irq_handlers[LOW] = count_and_eoi;
	guest_irq_handlers[HIGH] = count_and_eoi;
	apic_start();
	for (i = 0; i < 10; i++) {
		/* TPR blocks the class of LOW, not the next one. */
		wrmsr(HV_X64_MSR_TPR, LOW & 0xf0);
		self_ipi(LOW);
		self_ipi(HIGH);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], 2 * i);
		GUEST_ASSERT_EQ(guest_irqs[HIGH], 2 * i + 1);
		GUEST_ASSERT(reg_vector(APIC_IRR, LOW));
		/* Raise TPR above both, then lower it: one class after the other arrives. */
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
	vapic_run(tpr_blocks);
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

/* The same while the APIC is disabled and LOW still requested: no KVM lowers the threshold then. */
GUEST_CODE(tpr_below_one_that_waits_in_a_disabled_apic)
{
	u32 tpr;

	apic_start();
	for (tpr = 0; tpr < 0x60; tpr += 0x10) {
		wrmsr(HV_X64_MSR_TPR, 0xf0);
		self_ipi(LOW); /* KVM sets the threshold */
		GUEST_ASSERT(requested(LOW));
		reg_write(APIC_SPIV, APIC_SPIV_OFF);
		wrmsr(HV_X64_MSR_TPR, tpr);
		irqs_window();
		GUEST_ASSERT_EQ(reg_read(APIC_TPR), tpr);
		/* KVM injects it at once if only SPIV disables the APIC, or later. */
		reg_write(APIC_SPIV, APIC_SPIV_ON);
		wrmsr(HV_X64_MSR_TPR, 0);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], tpr / 0x10 + 1);
	}
}

/* The APIC is off altogether, with what waits. */
GUEST_CODE(tpr_below_one_that_waits_in_an_apic_that_is_off)
{
	apic_start();
	wrmsr(HV_X64_MSR_TPR, 0xf0);
	self_ipi(LOW);
	GUEST_ASSERT(requested(LOW));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(MSR_APIC_BASE_X2APIC | MSR_APIC_BASE_ENABLE));
	wrmsr(HV_X64_MSR_TPR, 0);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 0);
}

/* The TPR goes up, and down again by CR8, for which KVM does not lower the threshold. */
GUEST_CODE(tpr_above_one_that_waits_in_a_disabled_apic)
{
	apic_start();
	self_ipi(LOW);
	GUEST_ASSERT(requested(LOW));
	reg_write(APIC_SPIV, APIC_SPIV_OFF);
	wrmsr(HV_X64_MSR_TPR, 0xf0);
	write_cr8(0);
	irqs_window();
	reg_write(APIC_SPIV, APIC_SPIV_ON);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
}

/* The TPR goes up in a disabled APIC, and down again by CR8 in one that is enabled. */
GUEST_CODE(tpr_above_one_that_waits_until_the_apic_is_enabled)
{
	apic_start();
	self_ipi(LOW);
	GUEST_ASSERT(requested(LOW));
	reg_write(APIC_SPIV, APIC_SPIV_OFF);
	wrmsr(HV_X64_MSR_TPR, 0xf0);
	irqs_window(); /* KVM has asked to be told of it */
	GUEST_ASSERT_EQ(guest_irqs[LOW], 0);
	reg_write(APIC_SPIV, APIC_SPIV_ON);
	write_cr8(0);
	irqs_window();
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[LOW], 1);
}

/* The end of an interrupt has KVM look at the TPR, too. */
GUEST_CODE(eoi_above_one_that_waits_in_a_disabled_apic)
{
	apic_start();
	self_ipi(HIGH);
	irqs_window();
	GUEST_ASSERT(in_service(HIGH));
	self_ipi(LOW);
	GUEST_ASSERT(requested(LOW));
	reg_write(APIC_SPIV, APIC_SPIV_OFF);
	wrmsr(HV_X64_MSR_TPR, 0x60);
	wrmsr(HV_X64_MSR_EOI, 0);
	write_cr8(0);
	irqs_window();
	reg_write(APIC_SPIV, APIC_SPIV_ON);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], 1);
}

static bool host_is_intel_6_1(void)
{
	return !host_is_amd() && host_is_6_1();
}

static bool host_has_tpr_threshold(void)
{
	return !host_is_amd() && !host_has_apicv();
}

static void lower_tpr(bool mode, void (*code)(void))
{
	struct vm *vm = vm_create(1, 0);
	u32 cmd;

	x2apic = mode;
	guest_irqs[LOW] = 0;
	guest_irq_handlers[HIGH] = guest_irq_count_no_eoi;
	guest_irq_handlers[LOW] = count_and_eoi;
	vcpu_entry(vm->vcpus[0], code);
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
	lower_tpr(false, tpr_below_one_that_waits);
}

TEST_KNOWN_IF(tpr_below_a_waiting_interrupt_x2apic, "K18", host_is_intel_6_1)
{
	lower_tpr(true, tpr_below_one_that_waits);
}

TEST(tpr_below_a_waiting_interrupt_of_a_disabled_apic_xapic)
{
	if (host_is_intel_6_1() && !module_loaded())
		ktap_skip(
			"KVM_RUN never comes back; see the case beside x2APIC, where the CPU refuses");
	lower_tpr(false, tpr_below_one_that_waits_in_a_disabled_apic);
}

TEST_KNOWN_IF(tpr_below_a_waiting_interrupt_of_a_disabled_apic_x2apic, "K51",
	      host_has_tpr_threshold)
{
	lower_tpr(true, tpr_below_one_that_waits_in_a_disabled_apic);
}

TEST_KNOWN_IF(tpr_below_a_waiting_interrupt_of_an_apic_that_is_off, "K51", host_has_tpr_threshold)
{
	lower_tpr(true, tpr_below_one_that_waits_in_an_apic_that_is_off);
}

static bool host_raises_tpr_threshold(void)
{
	return host_has_tpr_threshold() && !host_is_6_1();
}

TEST_KNOWN_IF(tpr_above_a_waiting_interrupt_of_a_disabled_apic, "K51", host_raises_tpr_threshold)
{
	/* QEMU 7.2 ends at such a write of CR8 while a virtual interrupt waits. */
	if (host_is_amd())
		ktap_skip("SVM has no TPR threshold");
	lower_tpr(true, tpr_above_one_that_waits_in_a_disabled_apic);
}

static bool host_never_raises_tpr_threshold(void)
{
	return host_has_tpr_threshold() && host_is_6_1();
}

TEST_KNOWN_IF(tpr_above_a_waiting_interrupt_until_the_apic_is_enabled, "K18",
	      host_never_raises_tpr_threshold)
{
	if (host_is_amd())
		ktap_skip("SVM has no TPR threshold");
	lower_tpr(true, tpr_above_one_that_waits_until_the_apic_is_enabled);
}

/* The handler of KVM's slow path writes the TPR by KVM, which raises the threshold. */
TEST(tpr_of_a_disabled_apic_without_the_fast_path)
{
	if (host_is_amd())
		ktap_skip("SVM has no TPR threshold");
	if (!module_loaded())
		ktap_skip("stock has no fast path");
	file_must_write(FASTPATH, "0");
	lower_tpr(true, tpr_below_one_that_waits_in_a_disabled_apic);
	lower_tpr(true, tpr_below_one_that_waits_in_an_apic_that_is_off);
	lower_tpr(true, tpr_above_one_that_waits_in_a_disabled_apic);
	lower_tpr(true, tpr_above_one_that_waits_until_the_apic_is_enabled);
	lower_tpr(true, eoi_above_one_that_waits_in_a_disabled_apic);
	file_must_write(FASTPATH, "1");
}
