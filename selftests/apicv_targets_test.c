// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of every source to a target that spins, sleeps, or is in user space.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "apicv.h"
#include "rows.h"

#define PIN 20 /* one that the PIC has no part in */

/* --- a target that runs, and one that sleeps ------------------------------ */

#define NR_SENT 40
#define BURST	24

/* One at a time, each seen before the next. */
GUEST_CODE(sends_one_by_one)
{
	u32 way, i, n = 0;

	apic_start();
	for (way = 0; way < OTHER_WAYS; way++) {
		for (i = 0; i < NR_SENT; i++, n++) {
			send_interrupt(1, LOW, way);
			while (targets_got[1][LOW] == n)
				cpu_relax();
			GUEST_ASSERT_EQ(targets_got[1][LOW], n + 1);
		}
	}
	irqs_window();
	GUEST_ASSERT_EQ(targets_got[0][LOW], 0);
	GUEST_SYNC(1);
}

/* Many vectors in a row: each of them once, and none lost. */
GUEST_CODE(sends_bursts)
{
	u32 round, i, n = 0, sum;

	apic_start();
	for (round = 0; round < NR_SENT; round++) {
		for (i = 0; i < BURST; i++)
			send_interrupt(1, 0x30 + i, (round + i) % OTHER_WAYS);
		n++;
		do {
			for (i = 0, sum = 0; i < BURST; i++)
				sum += targets_got[1][0x30 + i];
			cpu_relax();
		} while (sum < n * BURST);
		for (i = 0; i < BURST; i++)
			GUEST_ASSERT_EQ(targets_got[1][0x30 + i], n);
	}
	GUEST_SYNC(1);
}

static void send_to_running(void (*sender)(void))
{
	struct vm *vm;
	u32 i;

	require_two_cpus();
	for (target_eoi = 0; target_eoi < NO_EOI; target_eoi++) {
		vm = two_vps();
		targets_stop = false;
		memset((void *)targets_got, 0, sizeof(targets_got));
		memset((void *)targets_up, 0, sizeof(targets_up));
		for (i = 0; i < BURST; i++)
			handle(0x30 + i, count_mine);
		start_target(vm, spins);
		vcpu_entry(vm->vcpus[0], sender);
		synic_run_sync(vm->vcpus[0], 1);
		stop_target(vm);
		vm_free(vm);
	}
}

IN_BOTH_MODES(to_a_running_vp)
{
	send_to_running(sends_one_by_one);
}

IN_BOTH_MODES(bursts_to_a_running_vp)
{
	send_to_running(sends_bursts);
}

/* One interrupt per turn. */
GUEST_CODE(sends_by_turns)
{
	u32 i;

	apic_start();
	for (i = 1;; i++) {
		GUEST_SYNC(i);
		send_interrupt(1, LOW, i % OTHER_WAYS);
	}
}

IN_BOTH_MODES(to_a_sleeping_vp)
{
	struct vm *vm = apic_vm(2);
	struct kvm_stat blocking = stat_open(vm->vcpus[1], "blocking");
	u32 i;

	vcpu_entry(vm->vcpus[0], sends_by_turns);
	synic_run_sync(vm->vcpus[0], 1);
	start_target(vm, sleeps);
	for (i = 1; i <= NR_SENT; i++) {
		target_eoi = i & 1;
		wait_halted(&blocking);
		ASSERT_EQ(targets_got[1][LOW], i - 1);
		synic_run_sync(vm->vcpus[0], i + 1);
		while (targets_got[1][LOW] < i)
			sched_yield();
	}
	stop_target(vm);
	stat_close(&blocking);
	vm_free(vm);
}

/* An interrupt to a VP outside of KVM_RUN stays in IRR until the VP runs. */
GUEST_CODE(takes_by_turns)
{
	u32 i;

	apic_start();
	for (i = 1;; i++) {
		GUEST_SYNC(i);
		irqs_window();
	}
}

IN_BOTH_MODES(to_a_vp_in_user_space)
{
	struct vm *vm = apic_vm(2);
	u32 i;

	handle(LOW, count_mine);
	vcpu_entry(vm->vcpus[0], sends_by_turns);
	vcpu_entry(vm->vcpus[1], takes_by_turns);
	synic_run_sync(vm->vcpus[0], 1);
	synic_run_sync(vm->vcpus[1], 1);
	for (i = 1; i <= NR_SENT; i++) {
		target_eoi = i & 1;
		synic_run_sync(vm->vcpus[0], i + 1);
		ASSERT_EQ(targets_got[1][LOW], i - 1);
		synic_run_sync(vm->vcpus[1], i + 1);
		ASSERT_EQ(targets_got[1][LOW], i);
	}
	vm_free(vm);
}

static void raise_sint(bool asleep)
{
	static const u32 sint = TEST_SINT;
	struct vm *vm = two_vps();
	struct kvm_stat blocking = stat_open(vm->vcpus[1], "blocking");
	u32 i;
	int fd;

	route_sints(vm, 1, &sint, 1);
	fd = irqfd_new(vm, GSI(0), NULL);
	start_target(vm, asleep ? sleeps_for_sint : spins_for_sint);
	for (i = 1; i <= NR_SENT; i++) {
		target_eoi = i & 1;
		if (asleep)
			wait_halted(&blocking);
		raise_and_wait(fd, i);
	}
	stop_target(vm);
	stat_close(&blocking);
	vm_free(vm);
}

IN_BOTH_MODES(sint_to_a_sleeping_vp)
{
	raise_sint(true);
}

IN_BOTH_MODES(sint_to_a_running_vp)
{
	/* On a host of one CPU only the host's timer tick lets its thread run. */
	raise_sint(false);
}

/* Direct timers: the VP that armed it spins, or sleeps. */
#define NR_SHOTS 30

static bool timer_sleeps;

GUEST_CODE(direct_timers)
{
	u32 i;

	apic_start();
	for (i = 1; i <= NR_SHOTS; i++) {
		wrmsr(HV_X64_MSR_STIMER0_COUNT, ref_now() + 2000 * (i % 3));
		wrmsr(HV_X64_MSR_STIMER0_CONFIG,
		      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(LOW));
		if (timer_sleeps)
			while (targets_got[0][LOW] < i)
				irqs_halt();
		irqs_on();
		GUEST_ASSERT(guest_wait(&targets_got[0][LOW], i, WAIT_MS));
		irqs_off();
		GUEST_ASSERT_EQ(targets_got[0][LOW], i);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE, 0);
		GUEST_ASSERT(!in_service(LOW) && !requested(LOW));
	}
}

static void run_timers(bool asleep)
{
	timer_sleeps = asleep;
	handle(LOW, count_mine);
	for (target_eoi = 0; target_eoi < NO_EOI; target_eoi++) {
		memset((void *)targets_got, 0, sizeof(targets_got));
		run_one(direct_timers);
	}
}

IN_BOTH_MODES(direct_timer_of_a_sleeping_vp)
{
	run_timers(true);
}

IN_BOTH_MODES(direct_timer_of_a_running_vp)
{
	run_timers(false);
}

/* --- level-triggered ------------------------------------------------------ */

static bool remote_irr(void)
{
	return ioapic_read(IOAPIC_LOW(PIN)) & IOAPIC_REMOTE_IRR;
}

/*
 * While the pin's interrupt is in service, one of higher priority arrives: the first EOI ends that
 * one, the second the pin's.
 */
GUEST_CODE(level_guest)
{
	u32 i, how;

	apic_start();
	ioapic_write(IOAPIC_HIGH(PIN), 0);
	ioapic_write(IOAPIC_LOW(PIN), IOAPIC_LEVEL | LOW);
	for (i = 1; i <= NR_LEVELS; i++) {
		how = i % 3 == 0 ? BY_REGISTER : BY_MSR;
		GUEST_SYNC(4 * i); /* raise it; a worker of the host's does that */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[LOW], i, WAIT_MS));
		irqs_off();
		GUEST_ASSERT(in_service(LOW) && remote_irr());
		GUEST_SYNC(4 * i + 1); /* no ack yet */
		send_interrupt(0, HIGH, i % SELF_WAYS);
		irqs_window();
		GUEST_ASSERT(in_service(HIGH) && in_service(LOW));
		eoi(how);
		GUEST_ASSERT(!in_service(HIGH) && in_service(LOW) && remote_irr());
		GUEST_SYNC(4 * i + 2); /* nor now */
		eoi(how);
		GUEST_ASSERT(!in_service(LOW) && !remote_irr());
		GUEST_SYNC(4 * i + 3); /* acked, once */
		eoi(how);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
	}
}

IN_BOTH_MODES(level_triggered_with_resampler)
{
	struct vm *vm = apic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack;
	u32 i;

	handle(LOW, guest_irq_count_no_eoi);
	handle(HIGH, guest_irq_count_no_eoi);
	fd = irqfd_new(vm, PIN, &ack);
	vcpu_entry(v, level_guest);
	for (i = 1; i <= NR_LEVELS; i++) {
		synic_run_sync(v, 4 * i);
		ASSERT_EQ(eventfd_count(ack), 0);
		eventfd_signal(fd);
		synic_run_sync(v, 4 * i + 1);
		ASSERT_EQ(eventfd_count(ack), 0);
		synic_run_sync(v, 4 * i + 2);
		ASSERT_EQ(eventfd_count(ack), 0);
		synic_run_sync(v, 4 * i + 3);
		ASSERT_EQ(eventfd_count(ack), 1);
	}
	synic_run_done(v);
	ASSERT_EQ(eventfd_count(ack), 0);
	vm_free(vm);
}

/*
 * While the line is asserted each EOI brings the interrupt again; after it is deasserted none does.
 */
GUEST_CODE(level_stays_up)
{
	u32 i;

	apic_start();
	ioapic_write(IOAPIC_HIGH(PIN), 0);
	ioapic_write(IOAPIC_LOW(PIN), IOAPIC_LEVEL | LOW);
	GUEST_SYNC(1); /* up */
	for (i = 1; i <= NR_LEVELS; i++) {
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(in_service(LOW) && remote_irr());
		if (i == NR_LEVELS)
			GUEST_SYNC(2); /* down */
		wrmsr(HV_X64_MSR_EOI, 0);
		GUEST_ASSERT_EQ(requested(LOW), i < NR_LEVELS);
	}
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[LOW], NR_LEVELS);
	GUEST_ASSERT(!in_service(LOW) && !remote_irr());
}

static void set_line(struct vm *vm, u32 level)
{
	struct kvm_irq_level l = { .irq = PIN, .level = level };

	ASSERT(!ioctl(vm->fd, KVM_IRQ_LINE, &l), "KVM_IRQ_LINE: %s", strerror(errno));
}

IN_BOTH_MODES(level_that_stays_up)
{
	struct vm *vm = apic_vm(1);

	handle(LOW, guest_irq_count_no_eoi);
	vcpu_entry(vm->vcpus[0], level_stays_up);
	synic_run_sync(vm->vcpus[0], 1);
	set_line(vm, 1);
	synic_run_sync(vm->vcpus[0], 2);
	set_line(vm, 0);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}
