// SPDX-License-Identifier: GPL-2.0-only
/*
 * Level-triggered interrupts, and resamplers of SINTs: who is told of the end of an interrupt.
 */
#include <unistd.h>

#include "apicv.h"
#include "rows.h"
#include "tracefs.h"

/* --- resamplers of SINTs -------------------------------------------------- */

/* The end of another vector acknowledges nothing. */
GUEST_CODE(sint_resampled)
{
	u32 i;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	for (i = 1; i <= NR_LEVELS; i++) {
		GUEST_SYNC(3 * i); /* raise it */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[LOW], i, WAIT_MS));
		irqs_off();
		GUEST_ASSERT(in_service(LOW));
		send_interrupt(0, HIGH, i % SELF_WAYS);
		irqs_window();
		eoi(target_eoi);
		GUEST_ASSERT(in_service(LOW) && !in_service(HIGH));
		GUEST_SYNC(3 * i + 1); /* no ack yet */
		eoi(target_eoi);
		GUEST_ASSERT(!in_service(LOW));
		GUEST_SYNC(3 * i + 2); /* one */
		eoi(target_eoi);
	}
}

/* With APICv, KVM does not tell the SynIC of an EOI by the APIC's own register. */
static void expect_acks(u64 acks, u64 expected)
{
	if (target_eoi == BY_REGISTER && host_has_apicv())
		ASSERT_KNOWN(acks == expected, "%llu acks, not %llu", (unsigned long long)acks,
			     (unsigned long long)expected);
	ASSERT_EQ(acks, expected);
}

/* By each EOI. */
#define RESAMPLE_CASE(name, test, mode, by) \
	test                                \
	{                                   \
		x2apic = mode;              \
		target_eoi = by;            \
		name();                     \
	}
#define RESAMPLE_TEST(name)                                                                        \
	static void name(void);                                                                    \
	RESAMPLE_CASE(name, TEST(name##_by_msr_xapic), false, BY_MSR)                              \
	RESAMPLE_CASE(name, TEST(name##_by_msr_x2apic), true, BY_MSR)                              \
	RESAMPLE_CASE(name, TEST_KNOWN_IF(name##_by_register_xapic, "K17", host_has_apicv), false, \
		      BY_REGISTER)                                                                 \
	RESAMPLE_CASE(name, TEST_KNOWN_IF(name##_by_register_x2apic, "K17", host_has_apicv), true, \
		      BY_REGISTER)                                                                 \
	static void name(void)

RESAMPLE_TEST(sint_with_resampler)
{
	static const u32 sint = TEST_SINT;
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack;
	u32 i;

	handle(LOW, guest_irq_count_no_eoi);
	handle(HIGH, guest_irq_count_no_eoi);
	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), &ack);
	vcpu_entry(v, sint_resampled);
	for (i = 1; i <= NR_LEVELS; i++) {
		synic_run_sync(v, 3 * i);
		ASSERT_EQ(eventfd_count(ack), 0);
		eventfd_signal(fd);
		synic_run_sync(v, 3 * i + 1);
		ASSERT_EQ(eventfd_count(ack), 0);
		synic_run_sync(v, 3 * i + 2);
		expect_acks(eventfd_count(ack), 1);
	}
	synic_run_done(v);
	vm_free(vm);
}

/*
 * Add a resampler while the VP runs, and remove it again: the ends of interrupts must be reported
 * from then, and until then. Two routes lead to one SINT: one raises it, the other has the
 * resampler.
 */
static void resampler_comes_and_goes(void (*target)(void), bool asleep)
{
	static const u32 sints[] = { TEST_SINT, TEST_SINT };
	struct vm *vm = two_vps();
	struct kvm_stat blocking = stat_open(vm->vcpus[1], "blocking");
	int fd, resampled, ack;
	u32 round, i, n = 0;

	route_sints(vm, 1, sints, 2);
	fd = irqfd_new(vm, GSI(0), NULL);
	start_target(vm, target);
	for (round = 0; round < NR_LEVELS; round++) {
		if (asleep)
			wait_halted(&blocking);
		raise_and_wait(fd, ++n);
		if (asleep)
			wait_halted(&blocking);
		resampled = irqfd_new(vm, GSI(1), &ack);
		/* The resampler is signalled before the handler continues. */
		for (i = 0; i < 2; i++) {
			raise_and_wait(fd, ++n);
			expect_acks(eventfd_count(ack), 1);
		}
		irqfd_remove(vm, GSI(1), resampled);
		close(resampled);
		ASSERT_EQ(eventfd_count(ack), 0);
		close(ack);
	}
	stop_target(vm);
	stat_close(&blocking);
	vm_free(vm);
}

RESAMPLE_TEST(resampler_of_a_sleeping_vp)
{
	resampler_comes_and_goes(sleeps_for_sint, true);
}

RESAMPLE_TEST(resampler_of_a_running_vp)
{
	resampler_comes_and_goes(spins_for_sint, false);
}

/*
 * In every other round, add a second route to the SINT. It takes precedence over the first one,
 * which had a resampler.
 */
RESAMPLE_TEST(second_route_with_resampler)
{
	static const u32 sints[] = { TEST_SINT, TEST_SINT };
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack;
	u32 i;

	handle(LOW, guest_irq_count_no_eoi);
	handle(HIGH, guest_irq_count_no_eoi);
	route_sints(vm, 0, sints, 1);
	fd = irqfd_new(vm, GSI(0), NULL);
	irqfd_new(vm, GSI(1), &ack);
	vcpu_entry(v, sint_resampled);
	for (i = 1; i <= NR_LEVELS; i++) {
		synic_run_sync(v, 3 * i);
		route_sints(vm, 0, sints, i & 1 ? 1 : 2);
		eventfd_signal(fd);
		synic_run_sync(v, 3 * i + 1);
		ASSERT_EQ(eventfd_count(ack), 0);
		synic_run_sync(v, 3 * i + 2);
		if (i & 1)
			ASSERT_EQ(eventfd_count(ack), 0);
		else
			expect_acks(eventfd_count(ack), 1);
	}
	synic_run_done(v);
	vm_free(vm);
}

/* --- a message that waits for the end of an interrupt --------------------- */

/* No EOM: the message is sent when an interrupt of the SINT's current vector ends. */
GUEST_CODE(message_waits_for_new_vector)
{
	struct hv_message *slot = &synic_messages[0][TEST_SINT];
	u32 i, vector;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH);
	for (i = 1; i <= NR_LEVELS; i++) {
		vector = i & 1 ? LOW : HIGH;
		slot->flags = 0;
		*(volatile u32 *)&slot->type = 1; /* not a timer's */
		wrmsr(HV_X64_MSR_STIMER0_COUNT, i);
		wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_ENABLE | HV_STIMER_SINT(TEST_SINT));
		guest_settle(1);
		GUEST_ASSERT_EQ(*(volatile u8 *)&slot->flags, HV_MSG_PENDING);

		wrmsr(HV_X64_MSR_SINT(TEST_SINT), vector);
		send_interrupt(0, vector, i % SELF_WAYS);
		irqs_window();
		GUEST_ASSERT(in_service(vector));
		slot->flags = 0;
		*(volatile u32 *)&slot->type = HV_MSG_NONE;
		eoi(target_eoi);
		GUEST_ASSERT_KNOWN_EQ(guest_wait((volatile u32 *)&slot->type, 1, MESSAGE_MS), true);
		GUEST_ASSERT_EQ(slot->type, HV_MSG_TIMER_EXPIRED);
		GUEST_ASSERT_EQ(slot->timer.expiration, i);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE, 0);
		*(volatile u32 *)&slot->type = HV_MSG_NONE;
		irqs_window();
		GUEST_ASSERT(in_service(vector));
		eoi(target_eoi);
	}
	GUEST_ASSERT_EQ(guest_irqs[LOW] + guest_irqs[HIGH], 2 * NR_LEVELS);
}

RESAMPLE_TEST(waiting_message_and_new_vector)
{
	handle(LOW, guest_irq_count_no_eoi);
	handle(HIGH, guest_irq_count_no_eoi);
	run_one(message_waits_for_new_vector);
}

/* --- AutoEOI -------------------------------------------------------------- */

/* Add and remove the resampler while AutoEOI inhibits APICv, when KVM needs no EOI exits. */
GUEST_CODE(resampler_comes_while_inhibited)
{
	u32 i;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	for (i = 1; i <= NR_LEVELS; i++) {
		wrmsr(HV_X64_MSR_SINT(TEST_SINT + 1), HIGH | HV_SINT_AUTO_EOI);
		GUEST_SYNC(4 * i); /* inhibited; the resampler comes */
		wrmsr(HV_X64_MSR_SINT(TEST_SINT + 1), HIGH | HV_SINT_MASKED);
		GUEST_SYNC(4 * i + 1); /* not inhibited; raise it */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[LOW], i, WAIT_MS));
		irqs_off();
		GUEST_SYNC(4 * i + 2); /* no ack yet */
		eoi(target_eoi);
		GUEST_ASSERT(!in_service(LOW));
		GUEST_SYNC(4 * i + 3); /* one; the resampler goes */
	}
}

RESAMPLE_TEST(resampler_during_auto_eoi)
{
	static const u32 sint = TEST_SINT;
	bool told = module_loaded() || host_has_apicv();
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack;
	u32 i;

	handle(LOW, guest_irq_count_no_eoi);
	trace_clear();
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "1");
	vcpu_entry(v, resampler_comes_while_inhibited);
	for (i = 1; i <= NR_LEVELS; i++) {
		synic_run_sync(v, 4 * i);
		ASSERT(!told || trace_hyperv_inhibits_apicv(), "not inhibited");
		route_sints(vm, 0, &sint, 1);
		fd = irqfd_new(vm, GSI(0), &ack);
		synic_run_sync(v, 4 * i + 1);
		ASSERT(!told || !trace_hyperv_inhibits_apicv(), "still inhibited");
		eventfd_signal(fd);
		synic_run_sync(v, 4 * i + 2);
		ASSERT_EQ(eventfd_count(ack), 0);
		synic_run_sync(v, 4 * i + 3);
		expect_acks(eventfd_count(ack), 1);
		irqfd_remove(vm, GSI(0), fd);
		route_sints(vm, 0, &sint, 0);
		close(fd);
		close(ack);
	}
	synic_run_done(v);
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "0");
	vm_free(vm);
}
