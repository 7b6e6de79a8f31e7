// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of an interrupt: which ones exit for it, as kvm_exit tells, and AutoEOI, which
 * inhibits APICv.
 */
#include <string.h>

#include "apicv.h"
#include "tracefs.h"

/* --- exits for the end of an interrupt ------------------------------------ */

#define EOI_INDUCED  "45"
#define EXIT_EVENT   TRACING "/events/kvm/kvm_exit"
#define BY_HYPERV    BIT64(1)
#define NR_EOI_EXITS 20
#define MANY	     10000000

static void require_apicv(void)
{
	if (!host_has_apicv() || host_is_amd())
		ktap_skip("the end of an interrupt is an exit anyway, or none: no APICv");
}

static void count_exits_from_now(void)
{
	trace_clear();
	file_must_write(EXIT_EVENT "/filter", "exit_reason==" EOI_INDUCED);
	file_must_write(EXIT_EVENT "/enable", "1");
}

static bool is_exit(const char *line)
{
	return strstr(line, "kvm_exit:");
}

static u32 exits_since(void)
{
	u32 n = trace_count(is_exit);

	trace_clear();
	return n;
}

static void count_no_more(void)
{
	file_must_write(EXIT_EVENT "/enable", "0");
	file_must_write(EXIT_EVENT "/filter", "0");
}

/* Rounds of NR_EOI_EXITS interrupts, each raised by the host and ended by the APIC's register. */
GUEST_CODE(takes_sints)
{
	u32 round, i, n = 0;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	irqs_on();
	for (round = 1;; round++) {
		GUEST_SYNC(1000 * round);
		for (i = 1; i <= NR_EOI_EXITS; i++) {
			GUEST_SYNC(1000 * round + i);
			n++;
			while (targets_got[0][LOW] < n)
				cpu_relax();
		}
	}
}

static u32 eoi_exits(struct vcpu *v, u32 round, int fd)
{
	u32 i;

	trace_clear();
	for (i = 1; i <= NR_EOI_EXITS; i++) {
		synic_run_sync(v, 1000 * round + i);
		eventfd_signal(fd);
	}
	synic_run_sync(v, 1000 * (round + 1));
	return exits_since();
}

static void check_eoi_exits(void)
{
	static const u32 sints[] = { TEST_SINT, TEST_SINT };
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, resampled, ack;
	u32 alone, listened, again;

	require_apicv();
	handle(LOW, count_mine);
	target_eoi = BY_REGISTER;
	route_sints(vm, 0, sints, 2);
	fd = irqfd_new(vm, GSI(0), NULL);
	vcpu_entry(v, takes_sints);
	synic_run_sync(v, 1000);
	count_exits_from_now();
	alone = eoi_exits(v, 1, fd);
	resampled = irqfd_new(vm, GSI(1), &ack);
	listened = eoi_exits(v, 2, fd);
	irqfd_remove(vm, GSI(1), resampled);
	again = eoi_exits(v, 3, fd);
	count_no_more();
	ktap_log("%u exits for %u ends, %u with a resampler, %u without it again", alone,
		 NR_EOI_EXITS, listened, again);
	ASSERT_EQ(listened, NR_EOI_EXITS);
	ASSERT_KNOWN(!alone && !again, "nobody waits for the end of these interrupts");
	vm_free(vm);
}

TEST_KNOWN(no_exit_for_the_end_of_a_sint_xapic, "K9")
{
	x2apic = false;
	check_eoi_exits();
}

TEST_KNOWN(no_exit_for_the_end_of_a_sint_x2apic, "K9")
{
	x2apic = true;
	check_eoi_exits();
}

/* The same for messages of timers, and for direct timers. */
static bool timer_direct;

GUEST_CODE(takes_timers)
{
	u32 vector = timer_direct ? HIGH : LOW, i;
	u64 config = HV_STIMER_ENABLE;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	config |= timer_direct ? HV_STIMER_DIRECT | HV_STIMER_VECTOR(HIGH) :
				 HV_STIMER_SINT(TEST_SINT);
	GUEST_SYNC(1);
	for (i = 1; i <= NR_EOI_EXITS; i++) {
		wrmsr(HV_X64_MSR_STIMER0_COUNT, ref_now() + 1000);
		wrmsr(HV_X64_MSR_STIMER0_CONFIG, config);
		irqs_on();
		GUEST_ASSERT(guest_wait(&targets_got[0][vector], i, WAIT_MS));
		irqs_off();
		if (!timer_direct) {
			GUEST_ASSERT_EQ(synic_messages[0][TEST_SINT].type, HV_MSG_TIMER_EXPIRED);
			synic_messages[0][TEST_SINT].type = HV_MSG_NONE;
		}
	}
	GUEST_SYNC(2);
}

static u32 timer_eoi_exits(bool direct)
{
	struct vm *vm = apic_vm(1);
	u32 n;

	require_apicv();
	handle(LOW, count_mine);
	handle(HIGH, count_mine);
	target_eoi = BY_REGISTER;
	timer_direct = direct;
	vcpu_entry(vm->vcpus[0], takes_timers);
	synic_run_sync(vm->vcpus[0], 1);
	count_exits_from_now();
	synic_run_sync(vm->vcpus[0], 2);
	n = exits_since();
	count_no_more();
	vm_free(vm);
	return n;
}

TEST_KNOWN(no_exit_for_the_end_of_a_timer, "K9")
{
	u32 n;

	x2apic = true;
	n = timer_eoi_exits(false);
	ASSERT_KNOWN(!n, "%u exits for %u timers", n, NR_EOI_EXITS);
}

TEST(no_exit_for_the_end_of_a_direct_timer)
{
	x2apic = true;
	ASSERT_EQ(timer_eoi_exits(true), 0);
}

/* --- AutoEOI -------------------------------------------------------------- */

/*
 * Turn AutoEOI on and off while one interrupt is in service and another one is pending: both must
 * survive the switch between the CPU's APIC and KVM's.
 */
GUEST_CODE(auto_eoi_comes_and_goes)
{
	u32 i;

	apic_start();
	for (i = 1; i <= NR_LEVELS; i++) {
		send_interrupt(0, LOW, i % SELF_WAYS);
		irqs_window();
		send_interrupt(0, 0x41, (i + 1) % SELF_WAYS);
		GUEST_ASSERT(in_service(LOW) && requested(0x41));

		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_AUTO_EOI);
		GUEST_ASSERT(in_service(LOW) && requested(0x41));
		GUEST_SYNC(2 * i); /* inhibited; raise it */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[HIGH], i, WAIT_MS));
		irqs_off();
		/* AutoEOI ended it at delivery; the interrupt below it is still in service. */
		GUEST_ASSERT(!in_service(HIGH) && in_service(LOW) && requested(0x41));
		GUEST_ASSERT_EQ(guest_irqs[0x41], i - 1);

		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_MASKED);
		GUEST_SYNC(2 * i + 1); /* not inhibited */
		GUEST_ASSERT(in_service(LOW) && requested(0x41));
		wrmsr(HV_X64_MSR_EOI, 0);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[0x41], i);
		eoi(i & 1);
		GUEST_ASSERT(!in_service(LOW) && !in_service(0x41) && !requested(0x41));
	}
}

IN_BOTH_MODES(auto_eoi_with_others_in_flight)
{
	static const u32 sint = TEST_SINT;
	bool told = module_loaded() || host_has_apicv();
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;
	int fd;

	handle(LOW, guest_irq_count_no_eoi);
	handle(0x41, guest_irq_count_no_eoi);
	handle(HIGH, guest_irq_count_no_eoi);
	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), NULL);
	trace_clear();
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "1");
	vcpu_entry(v, auto_eoi_comes_and_goes);
	for (i = 1; i <= NR_LEVELS; i++) {
		synic_run_sync(v, 2 * i);
		/* Without APICv, stock does not count AutoEOI SINTs. */
		ASSERT(!told || trace_hyperv_inhibits_apicv(), "not inhibited");
		eventfd_signal(fd);
		synic_run_sync(v, 2 * i + 1);
		ASSERT(!told || !trace_hyperv_inhibits_apicv(), "still inhibited");
	}
	synic_run_done(v);
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "0");
	vm_free(vm);
}

/*
 * AutoEOI goes while an interrupt is in service that came when APICv was inhibited, and the other
 * way round. The CPU ends what its own note (SVI) says, which KVM does not write meanwhile.
 */
GUEST_CODE(auto_eoi_goes_in_a_handler)
{
	u32 i, n = 0;

	apic_start();
	for (i = 1; i <= NR_LEVELS; i++) {
		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_AUTO_EOI);
		send_interrupt(0, LOW, i % SELF_WAYS);
		irqs_window();
		GUEST_ASSERT(in_service(LOW));
		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_MASKED);
		GUEST_ASSERT(in_service(LOW));
		eoi(BY_REGISTER);
		GUEST_ASSERT_KNOWN_EQ(in_service(LOW), false);
		/* Nothing is in service that would hold it back. */
		send_interrupt(0, 0x41, i % SELF_WAYS);
		irqs_window();
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[0x41], ++n);
		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_AUTO_EOI);
		eoi(BY_REGISTER);
		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_MASKED);
		GUEST_ASSERT(!in_service(0x41));
		send_interrupt(0, 0x31, i % SELF_WAYS);
		irqs_window();
		GUEST_ASSERT_KNOWN_EQ(guest_irqs[0x31], i);
		eoi(i & 1);
		GUEST_ASSERT(!in_service(0x31));
	}
}

/*
 * TPR_THRESHOLD of the first time that AutoEOI inhibited APICv must not count in the second: the
 * CPU refuses an entry with the TPR below it, and KVM sets it anew only for an enabled APIC.
 */
GUEST_CODE(auto_eoi_comes_to_a_disabled_apic)
{
	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW | HV_SINT_AUTO_EOI);
	wrmsr(HV_X64_MSR_TPR, 0xf0);
	send_interrupt(0, HIGH, BY_ICR_MSR); /* KVM sets the threshold */
	GUEST_ASSERT(requested(HIGH));
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW | HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_TPR, 0);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[HIGH], 1);
	eoi(BY_MSR);
	reg_write(APIC_SPIV, APIC_SPIV_OFF);
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW | HV_SINT_AUTO_EOI);
	irqs_window();
	reg_write(APIC_SPIV, APIC_SPIV_ON);
	send_interrupt(0, HIGH, BY_ICR_MSR);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[HIGH], 2);
}

static bool host_has_apicv_on_intel(void)
{
	return !host_is_amd() && host_has_apicv();
}

TEST_KNOWN_IF(auto_eoi_beside_a_disabled_apic, "K52", host_has_apicv_on_intel)
{
	struct vm *vm = apic_vm(1);
	u32 cmd;

	x2apic = true;
	handle(HIGH, guest_irq_count_no_eoi);
	vcpu_entry(vm->vcpus[0], auto_eoi_comes_to_a_disabled_apic);
	cmd = vcpu_run(vm->vcpus[0]);
	ASSERT_KNOWN(cmd != RUN_EXIT(KVM_EXIT_FAIL_ENTRY), "the guest is dead");
	ASSERT_EQ(cmd, GUEST_DONE);
	vm_free(vm);
}

/*
 * A VP that has no Hyper-V shares the VM with one whose AutoEOI goes and comes: what waits below
 * its CR8 must come with a lower CR8, as by KVM's TPR_THRESHOLD.
 */
GUEST_CODE(waits_beside_auto_eoi)
{
	u32 i;

	apic_start();
	write_cr8(HIGH >> 4);
	send_interrupt(1, HIGH, BY_SELF_IPI);
	GUEST_ASSERT(requested(HIGH));
	reg_write(APIC_SPIV, APIC_SPIV_OFF);
	for (i = 1; i <= 3; i++)
		GUEST_SYNC(i);
	reg_write(APIC_SPIV, APIC_SPIV_ON);
	irqs_on();
	/* No exit from here on but those of the host, which look for no interrupt. */
	write_cr8(0);
	for (i = 0; !guest_irqs[HIGH] && i < MANY; i++)
		asm volatile("" : : : "memory");
	GUEST_ASSERT_EQ(guest_irqs[HIGH], 1);
}

TEST(auto_eoi_beside_a_vp_without_hyperv)
{
	struct vcpu *v, *plain;
	struct vm *vm;
	u64 stage;

	if (!host_has_apicv_on_intel())
		ktap_skip("AutoEOI changes nothing of another VP's without APICv, nor on AMD");
	vm = apic_vm(1);
	v = vm->vcpus[0];
	x2apic = true;
	vm->flags |= VM_NO_HV;
	plain = vm_add_vcpu(vm);
	handle(HIGH, guest_irq_count_no_eoi);
	vcpu_entry(plain, waits_beside_auto_eoi);
	for (stage = 1; stage <= 3; stage++) {
		vcpu_set_msr(v, HV_X64_MSR_SINT(TEST_SINT),
			     LOW | (stage & 1 ? HV_SINT_AUTO_EOI : HV_SINT_MASKED));
		vcpu_run_sync(plain, stage);
	}
	vcpu_run_done(plain);
	vm_free(vm);
}

static void auto_eoi_goes(bool x2)
{
	struct vm *vm;

	x2apic = x2;
	vm = apic_vm(1);
	handle(LOW, guest_irq_count_no_eoi);
	handle(0x41, guest_irq_count_no_eoi);
	handle(0x31, guest_irq_count_no_eoi);
	vcpu_entry(vm->vcpus[0], auto_eoi_goes_in_a_handler);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

static bool svi_is_lost(void)
{
	return host_is_6_1() && host_has_apicv();
}

TEST_KNOWN_IF(auto_eoi_goes_in_a_handler_xapic, "K43", svi_is_lost)
{
	auto_eoi_goes(false);
}

TEST_KNOWN_IF(auto_eoi_goes_in_a_handler_x2apic, "K43", svi_is_lost)
{
	auto_eoi_goes(true);
}
