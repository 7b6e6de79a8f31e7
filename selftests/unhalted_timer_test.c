// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG and _COUNT: an interrupt after each period that the VP has
 * run for, by the clock of HV_X64_MSR_VP_RUNTIME. Stock KVM has no such registers.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "ops.h"
#include "stimer.h"
#include "vapic.h"

#define KNOWN_ID "D70"
#define OS_ID	 0x8100000000000001ULL

#undef CONFIG
#undef COUNT
#define CONFIG HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG
#define COUNT  HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT

#define ENABLE	     BIT64(8)
#define NMI_VECTOR   2
#define WAKE	     0x71    /* of the timer that ends a HLT */
#define EXPIRED	     56	     /* in the VP assist page */
#define PERIOD	     100000u /* 10 ms, in units of 100 ns */
#define SOONEST	     1000u   /* the module's least period */
#define PERIODS	     10
#define HALTS	     20
#define HALT_MS	     10
#define WAKE_NS	     200000u /* KVM's local APIC counts nanoseconds */
#define LVT_PERIODIC BIT64(17)

/* --- guest ---------------------------------------------------------------- */

static u8 *expired_field(void)
{
	return (u8 *)&assist + EXPIRED;
}

static void start_timer(u64 vector, u64 period)
{
	apic_enable();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	*expired_field() = 0;
	GUEST_ASSERT_KNOWN_EQ(__wrmsr(COUNT, period), 0);
	GUEST_ASSERT_EQ(__wrmsr(CONFIG, ENABLE | vector), 0);
	GUEST_ASSERT_EQ(rdmsr(COUNT), period);
	GUEST_ASSERT_EQ(rdmsr(CONFIG), ENABLE | vector);
}

/* Return: by how much the runtime has grown, at least @ticks. */
static u64 run_for(u64 ticks)
{
	u64 begin = rdmsr(HV_X64_MSR_VP_RUNTIME), now;

	do {
		cpu_relax();
		now = rdmsr(HV_X64_MSR_VP_RUNTIME);
	} while (now - begin < ticks);
	return now - begin;
}

static void counts_periods(u32 vector)
{
	u32 before = guest_irqs[vector], n;
	u64 run;

	start_timer(vector, PERIOD);
	irqs_on();
	run = run_for(PERIODS * PERIOD);
	irqs_off();
	n = guest_irqs[vector] - before;
	/* Late ones have one interrupt together. */
	GUEST_ASSERT(n >= 1);
	GUEST_ASSERT(n <= run / PERIOD + 1);
	GUEST_ASSERT_EQ(*expired_field(), 1);

	/* Only the guest resets the field. */
	*expired_field() = 0;
	irqs_on();
	run_for(3 * PERIOD);
	irqs_off();
	GUEST_ASSERT(guest_irqs[vector] > before + n);
	GUEST_ASSERT_EQ(*expired_field(), 1);
}

static void stays_silent(u32 vector)
{
	u32 n;

	irqs_window();
	n = guest_irqs[vector];
	*expired_field() = 0;
	irqs_on();
	run_for(3 * PERIOD);
	irqs_off();
	GUEST_ASSERT_EQ(guest_irqs[vector], n);
	GUEST_ASSERT_EQ(*expired_field(), 0);
}

GUEST_CODE(has_interrupts)
{
	counts_periods(VEC);
	wrmsr(CONFIG, VEC);
	stays_silent(VEC);
	wrmsr(CONFIG, ENABLE | VEC);
	counts_periods(VEC);
	wrmsr(COUNT, 0);
	stays_silent(VEC);
}

GUEST_CODE(has_nmis)
{
	counts_periods(NMI_VECTOR);
	wrmsr(CONFIG, 0);
	stays_silent(NMI_VECTOR);
}

/* The flag in the assist page is all that a VP without the page does not get. */
GUEST_CODE(has_no_assist_page)
{
	start_timer(VEC, PERIOD);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist));
	irqs_on();
	run_for(PERIODS * PERIOD);
	irqs_off();
	GUEST_ASSERT(guest_irqs[VEC] >= 1);
	GUEST_ASSERT_EQ(*expired_field(), 0);
}

GUEST_CODE(halts)
{
	u64 began, reference, run;
	u32 i, n;

	start_timer(VEC, PERIOD);
	began = rdmsr(HV_X64_MSR_VP_RUNTIME);
	reference = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	for (i = 0; i < HALTS; i++) {
		u32 woken = guest_irqs[WAKE];

		start(0, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(WAKE), in_ms(HALT_MS));
		while (guest_irqs[WAKE] == woken)
			irqs_halt();
	}
	n = guest_irqs[VEC];
	run = rdmsr(HV_X64_MSR_VP_RUNTIME) - began;
	reference = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - reference;
	GUEST_ASSERT(reference >= (HALTS - 1) * HALT_MS * 10000ULL);
	GUEST_ASSERT(n <= run / PERIOD + 1);
	/* None is held back by a halt, but those of one halt are one. */
	GUEST_ASSERT(n >= 1 || run < 2 * PERIOD);
	/* It goes on with what the period has left. */
	irqs_on();
	run_for(2 * PERIOD);
	irqs_off();
	GUEST_ASSERT(guest_irqs[VEC] > n);
}

GUEST_CODE(asks_for_a_storm)
{
	u64 run;
	u32 n;

	start_timer(VEC, 1);
	irqs_on();
	run = run_for(PERIODS * PERIOD);
	irqs_off();
	n = guest_irqs[VEC];
	GUEST_ASSERT(n > PERIODS);
	GUEST_ASSERT(n <= run / SOONEST + 1);
	/* The longest period there is comes to nothing, and ends the storm. */
	GUEST_ASSERT_EQ(__wrmsr(COUNT, ~0ULL), 0);
	stays_silent(VEC);
}

GUEST_CODE(writes_what_is_invalid)
{
	u32 i;

	GUEST_ASSERT_KNOWN_EQ(__wrmsr(COUNT, PERIOD), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG), 0);
	for (i = 0; i < 256; i++) {
		bool valid = i == NMI_VECTOR || i >= 16;

		GUEST_ASSERT_EQ(__wrmsr(CONFIG, i), 0);
		GUEST_ASSERT_EQ(__wrmsr(CONFIG, ENABLE | i), valid ? 0 : GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG), valid ? ENABLE | i : i);
	}
	wrmsr(CONFIG, VEC);
	for (i = 9; i < 64; i++) {
		GUEST_ASSERT_EQ(__wrmsr(CONFIG, BIT64(i) | VEC), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG), VEC);
		GUEST_ASSERT_EQ(__wrmsr(COUNT, BIT64(i)), 0);
		GUEST_ASSERT_EQ(rdmsr(COUNT), BIT64(i));
	}
}

GUEST_CODE(is_saved)
{
	start_timer(VEC, PERIOD);
	GUEST_SYNC(1);
}

GUEST_CODE(is_stopped_by_a_reset)
{
	start_timer(VEC, PERIOD);
	GUEST_SYNC(1);
	stays_silent(VEC);
	GUEST_SYNC(2);
	stays_silent(VEC);
	wrmsr(CONFIG, ENABLE | VEC);
	counts_periods(VEC);
}

GUEST_CODE(is_restored)
{
	apic_enable();
	irqs_on();
	run_for(PERIODS * PERIOD);
	irqs_off();
	GUEST_ASSERT(guest_irqs[VEC] >= 1);
}

static volatile u32 closed;

/* The time that KVM polls before it sleeps counts, and nothing else runs in between. */
GUEST_CODE(halts_with_interrupts_off)
{
	start_timer(VEC, SOONEST);
	apic_write(APIC_LVTT, WAKE | LVT_PERIODIC);
	apic_write(APIC_TDCR, APIC_DIVIDE_BY_1);
	apic_write(APIC_TMICT, WAKE_NS);
	GUEST_SYNC(1);
	for (;;)
		asm volatile("cli; hlt" : : : "memory");
}

/* With an exit each time, as in halt_test. */
GUEST_CODE(takes_field_back)
{
	while (!closed) {
		*expired_field() = 0;
		ref_now();
	}
}

/* --- host ----------------------------------------------------------------- */

static void set_bits(struct vm *vm, bool privilege, bool availability)
{
	struct vcpu *v = vm->vcpus[0];

	cpuid_assign(&v->cpuid, HV_F_STIMER, privilege);
	vcpu_set_bit(v, HV_F_UNHALTED_TIMER, availability);
}

static struct vm *create_with(u32 vcpus, u32 flags)
{
	struct vm *vm = synic_vm_flags(vcpus, flags);

	memset((void *)guest_irqs, 0, sizeof(guest_irqs));
	memset(&assist, 0, sizeof(assist));
	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[WAKE] = guest_irq_count;
	guest_irq_handlers[NMI_VECTOR] = guest_irq_count_no_eoi;
	set_bits(vm, true, true);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, OS_ID);
	return vm;
}

static struct vm *create(void)
{
	return create_with(1, 0);
}

static void run_to_end(void (*entry)(void))
{
	struct vm *vm = create();
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, entry);
	vcpu_run_done(v);
	vm_free(vm);
}

#define TIMER_TEST(name, entry)    \
	TEST_KNOWN(name, KNOWN_ID) \
	{                          \
		run_to_end(entry); \
	}

TIMER_TEST(interrupt_after_each_period, has_interrupts)
TIMER_TEST(nmi_after_each_period, has_nmis)
TIMER_TEST(runs_without_the_assist_page, has_no_assist_page)
TIMER_TEST(halts_do_not_count, halts)
TIMER_TEST(shortest_period_is_no_storm, asks_for_a_storm)
TIMER_TEST(invalid_values_fault, writes_what_is_invalid)

/* Each expiry dirties the page again: the VP has to come back, though it never enters the guest. */
TEST(dirty_ring_fills)
{
	struct vm *vm;
	struct vcpu *v;

	if (!kvm_check_cap(KVM_CAP_DIRTY_LOG_RING))
		ktap_skip("no KVM_CAP_DIRTY_LOG_RING");
	if (!module_loaded())
		ktap_skip("stock has no such timer");
	vm = create_with(2, VM_DIRTY_RING);
	v = vm->vcpus[0];
	vcpu_entry(v, halts_with_interrupts_off);
	vcpu_run_sync(v, 1);
	vcpu_entry(vm->vcpus[1], takes_field_back);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_exit(v, KVM_EXIT_DIRTY_RING_FULL);
	closed = 1;
	vcpu_join(vm->vcpus[1]);
	vm_free(vm);
}

TEST_KNOWN(goes_on_in_another_vm, KNOWN_ID)
{
	struct vm *vm = create();
	struct vcpu *v = vm->vcpus[0];
	u64 config, period;

	vcpu_entry(v, is_saved);
	vcpu_run_sync(v, 1);
	config = vcpu_get_msr(v, CONFIG);
	period = vcpu_get_msr(v, COUNT);
	ASSERT_EQ(config, ENABLE | VEC);
	ASSERT_EQ(period, PERIOD);
	vm_free(vm);

	vm = create();
	v = vm->vcpus[0];
	vcpu_set_msr(v, CONFIG, config);
	vcpu_set_msr(v, COUNT, period);
	vcpu_entry(v, is_restored);
	vcpu_run_done(v);
	vm_free(vm);
}

/* VMMs do not know the registers: what a reset by theirs leaves must not reach the next guest. */
TEST_KNOWN(identity_of_0_stops_it, KNOWN_ID)
{
	struct vm *vm = create();
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, is_stopped_by_a_reset);
	vcpu_run_sync(v, 1);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0);
	vcpu_run_sync(v, 2);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG), VEC);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	vcpu_run_done(v);
	vm_free(vm);
}

/* User space meets the guest's limits. */
TEST_KNOWN(user_space_writes_what_the_guest_may, KNOWN_ID)
{
	struct vm *vm = create();
	struct vcpu *v = vm->vcpus[0];
	u64 value;

	ASSERT_KNOWN(__vcpu_set_msr(v, CONFIG, VEC) == 1, "no such register");
	ASSERT_EQ(__vcpu_set_msr(v, CONFIG, ENABLE | 3), 0);
	ASSERT_EQ(__vcpu_set_msr(v, CONFIG, BIT64(9)), 0);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG), VEC);
	set_bits(vm, true, false);
	ASSERT_EQ(__vcpu_get_msr(v, CONFIG, &value), 0);
	ASSERT_EQ(__vcpu_set_msr(v, CONFIG, 0), 0);
	vm_free(vm);
}

static void expect_no_registers(bool privilege, bool availability)
{
	static const u32 msrs[] = { CONFIG, COUNT };
	struct vm *vm;
	struct ops_page *p;
	u32 i, enforce;

	for (enforce = 0; enforce < 2; enforce++) {
		vm = vm_create(1, enforce ? VM_ENFORCE : 0);
		set_bits(vm, privilege, availability);
		p = vcpu_ops_init(vm->vcpus[0], 1);
		for (i = 0; i < ARRAY_SIZE(msrs); i++) {
			ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(msrs[i])).vector, GP_VECTOR);
			ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_WR(msrs[i], 0)).vector, GP_VECTOR);
		}
		vm_free(vm);
	}
}

TEST(faults_unless_shown)
{
	expect_no_registers(false, false);
	expect_no_registers(true, false);
	expect_no_registers(false, true);
}
