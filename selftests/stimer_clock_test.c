// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic timers when time passes in another way than the guest sees: the vCPU does not run for a
 * while, user space sets the clock, the host sleeps.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "refclock.h"
#include "rows.h"
#include "stimer.h"

/* --- a vCPU that was not run for a while --------------------------------- */

#define GAP_MS	      150
#define GAP_PERIOD_MS 5
#define GAP_TICKS     (GAP_MS / GAP_PERIOD_MS)

static u64 gap_begin;

/* How many ticks are missing by the reference time; never negative. */
static s64 behind(void)
{
	u32 ticks = guest_irqs[VEC];
	s64 lost = (s64)((ref_now() - gap_begin) / REF_MS(GAP_PERIOD_MS)) - ticks;

	GUEST_ASSERT(lost >= 0);
	return lost;
}

static void gap(u64 config)
{
	setup();
	irqs_on();
	gap_begin = ref_now();
	start(0, config, REF_MS(GAP_PERIOD_MS));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	GUEST_SYNC(1);
}

/* Caught up by shorter periods: soon there are as many ticks as periods. */
static void gap_caught_up(void)
{
	u64 end = in_ms(known_ms);
	u32 exits = 0;
	s64 lost;

	do {
		lost = behind();
	} while (lost > 2 && (ref_now() < end || ++exits < 100));
	GUEST_ASSERT_KNOWN_EQ(lost <= 2, true);
}

GUEST_CODE(gap_messages)
{
	u32 i;

	gap(ONE_SHOT | PERIODIC);
	gap_caught_up();
	irqs_off();
	for (i = 1; i < nr_taken; i++)
		GUEST_ASSERT(taken[i].expiration > taken[i - 1].expiration);
}

GUEST_CODE(gap_direct)
{
	gap(ON | PERIODIC | DIRECT);
	gap_caught_up();
}

/* The same with a handler that takes a good part of the period, and frees the slot at its end. */
static u32 handler_us;

static void on_message_late(struct guest_frame *f)
{
	u64 end = ref_now() + 10ULL * handler_us;

	while (ref_now() < end)
		;
	on_message(f);
}

static void gap_skipped(u64 config)
{
	gap(config | HV_STIMER_LAZY);
	guest_settle(10 * GAP_PERIOD_MS);
	/* A lazy timer continues without the ticks of the gap. */
	GUEST_ASSERT(guest_irqs[VEC] >= 4);
	GUEST_ASSERT(behind() >= GAP_TICKS - 5);
}

GUEST_CODE(gap_lazy_messages)
{
	gap_skipped(ONE_SHOT | PERIODIC);
}

GUEST_CODE(gap_lazy_direct)
{
	gap_skipped(ON | PERIODIC | DIRECT);
}

static void run_with_gap(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	if (handler_us)
		guest_irq_handlers[VEC] = on_message_late;
	vcpu_entry(vm->vcpus[0], entry);
	synic_run_sync(vm->vcpus[0], 1);
	timer_host_pause(GAP_MS);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST_KNOWN(periodic_catches_up, "K1")
{
	run_with_gap(gap_messages);
}

TEST_KNOWN(periodic_direct_catches_up, "K1")
{
	run_with_gap(gap_direct);
}

/* Ticks that wait for such a handler, of which there are more than 16 in a row. */
TEST_KNOWN(busy_handler_catches_up, "K1")
{
	handler_us = GAP_PERIOD_MS * 1000 * 6 / 10;
	run_with_gap(gap_messages);
}

/*
 * Two timers of one SINT that expire together: the slot is taken whenever the second one does, but
 * for no longer than the handler of the first.
 */
#define SHARED_TICKS 32u
#define SHARED_MS    20u

GUEST_CODE(shared_sint)
{
	u32 i, n, late = 0;

	setup();
	irqs_on();
	start(0, ONE_SHOT | PERIODIC, REF_MS(SHARED_MS));
	start(1, ONE_SHOT | PERIODIC, REF_MS(SHARED_MS));
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&nr_taken, 2 * SHARED_TICKS, 4 * WAIT_MS), true);
	irqs_off();
	for (i = n = 0; i < nr_taken; i++) {
		if (taken[i].index != 1 || ++n <= SHARED_TICKS / 2)
			continue;
		late += taken[i].delivery - taken[i].expiration > REF_MS(SHARED_MS) / 3;
	}
	guest_log("shared SINT: ticks, late", n, late);
	GUEST_ASSERT_KNOWN_EQ(n >= SHARED_TICKS - 4 && late <= SHARED_TICKS / 4, true);
}

TEST_KNOWN(timers_of_one_sint, "K1")
{
	timer_run(shared_sint);
}

TEST(lazy_skips)
{
	run_with_gap(gap_lazy_messages);
}

TEST(lazy_direct_skips)
{
	run_with_gap(gap_lazy_direct);
}

GUEST_CODE(gap_one_shot)
{
	u64 count;

	setup();
	irqs_on();
	count = in_ms(GAP_MS / 2);
	start(0, ONE_SHOT, count);
	GUEST_SYNC(1);
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	GUEST_ASSERT_EQ(taken[0].expiration, count);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(nr_taken, 1);
}

/* It expires late, and once. */
TEST(one_shot_expires_in_a_gap)
{
	run_with_gap(gap_one_shot);
}

/* --- user space sets the clock ------------------------------------------ */

/* User space sets the reference time back: the next tick still comes one period later. */
GUEST_CODE(ticks_on)
{
	u32 ticks;

	apic_enable();
	irqs_on();
	start(0, ON | PERIODIC | DIRECT, REF_MS(10));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	GUEST_SYNC(1);
	ticks = guest_irqs[VEC];
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], ticks + 5, known_ms), true);
}

static void move_clock(struct vm *vm, s64 seconds)
{
	struct kvm_clock_data c = { 0 };

	ASSERT(!ioctl(vm->fd, KVM_GET_CLOCK, &c), "KVM_GET_CLOCK: %s", strerror(errno));
	c.clock += (u64)(seconds * 1000000000);
	c.flags = 0;
	ASSERT(!ioctl(vm->fd, KVM_SET_CLOCK, &c), "KVM_SET_CLOCK: %s", strerror(errno));
}

TEST_KNOWN(periodic_goes_on_when_the_clock_is_set_back, "D40")
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	move_clock(vm, 3600);
	vcpu_entry(v, ticks_on);
	synic_run_sync(v, 1);
	move_clock(vm, -1800);
	synic_run_done(v);
	vm_free(vm);
}

/* The same with a period that is as long as the register: it is not over by that. */
GUEST_CODE(ticks_never)
{
	apic_enable();
	irqs_on();
	start(0, ON | PERIODIC | DIRECT, BIT64(63) - 1);
	GUEST_SYNC(1);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ON | PERIODIC | DIRECT);
}

TEST(long_period_when_the_clock_is_set_back)
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	move_clock(vm, 3600);
	vcpu_entry(v, ticks_never);
	synic_run_sync(v, 1);
	move_clock(vm, -1800);
	synic_run_done(v);
	vm_free(vm);
}

/*
 * When the clock is set forward a timer expires before its hrtimer fires. The hrtimer must not end
 * a later HLT, whatever the guest does with the timer meanwhile.
 */
#define OLD_MS	  30
#define NEW_MS	  90
#define FORWARD_S 10

enum afterwards { LEAVE, DISABLE, REWRITE, NR_AFTERWARDS };

static void expires_early(enum afterwards what, u64 config)
{
	u32 irqs = guest_irqs[VEC], waker = what != REWRITE;
	u64 count = in_ms(OLD_MS);

	start(0, config, count);
	GUEST_SYNC(1); /* set the clock */
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], irqs + 1, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	if (what == DISABLE)
		wrmsr(CONFIG(0), 0);
	count = in_ms(NEW_MS);
	start(waker, config, count);
	irqs_halt();
	GUEST_ASSERT(ref_now() >= count);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], irqs + 2);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(waker)), config & ~ON);
}

GUEST_CODE(expire_early)
{
	u32 i;

	setup();
	for (i = 0; i < 2 * NR_AFTERWARDS; i++)
		expires_early(i / 2, i & 1 ? ONE_SHOT : ON | DIRECT);
}

TEST(one_shot_and_halt_when_the_clock_is_set_forward)
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	vcpu_entry(v, expire_early);
	for (i = 0; i < 2 * NR_AFTERWARDS; i++) {
		synic_run_sync(v, 1);
		move_clock(vm, FORWARD_S);
	}
	synic_run_done(v);
	vm_free(vm);
}

/* The same with the VP halted all the time, so that only the host sees the clock change. */
#define FAR_AHEAD_S 30
#define SOON_S	    5

GUEST_CODE(halt_for_long)
{
	u64 count = in_ms(FAR_AHEAD_S * 1000);

	apic_enable();
	start(0, ON | DIRECT, count);
	GUEST_SYNC(1);
	irqs_halt();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT(ref_now() >= count);
	GUEST_ASSERT(ref_now() < count + REF_MS(2 * FAR_AHEAD_S * 1000));
}

static void assert_ends_soon(struct vcpu *v)
{
	struct timespec t;
	bool in_time;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += SOON_S;
	in_time = !pthread_timedjoin_np(v->worker, NULL, &t);
	ASSERT_KNOWN(in_time, "not within %u s", SOON_S);
}

TEST_KNOWN(one_shot_of_a_halted_vp_when_the_clock_is_set_forward, "K30")
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat blocking;

	blocking = stat_open(v, "blocking");
	vcpu_entry(v, halt_for_long);
	synic_run_sync(v, 1);
	vcpu_start(v);
	wait_halted(&blocking);
	move_clock(vm, 2 * FAR_AHEAD_S);
	assert_ends_soon(v);
	stat_close(&blocking);
	vm_free(vm);
}

/*
 * The same with a frozen reference TSC page, by which the guest's time goes on: the timers do not
 * follow the clock.
 */
#define CLOSING	   (VEC + 1)
#define CLOSING_MS 3000

GUEST_CODE(halt_with_a_frozen_page)
{
	u64 count = in_ms(FAR_AHEAD_S * 1000), closing, now;

	apic_enable();
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	start(0, ON | DIRECT, count);
	closing = in_ms(CLOSING_MS);
	start(1, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(CLOSING), closing);
	GUEST_SYNC(1);
	irqs_halt();
	now = ref_now();
	GUEST_ASSERT_EQ(guest_irqs[CLOSING], 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT(now >= closing && now < count);
}

static void frozen_page(s64 seconds)
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat blocking;

	require_tsc_clocksource();
	guest_irq_handlers[CLOSING] = guest_irq_count;
	blocking = stat_open(v, "blocking");
	move_clock(vm, 3600);
	vcpu_entry(v, halt_with_a_frozen_page);
	synic_run_sync(v, 1);
	vcpu_start(v);
	wait_halted(&blocking);
	move_clock(vm, seconds);
	vcpu_join(v);
	stat_close(&blocking);
	vm_free(vm);
}

TEST(timers_of_a_halted_vp_with_a_frozen_page_forward)
{
	frozen_page(2 * FAR_AHEAD_S);
}

TEST(timers_of_a_halted_vp_with_a_frozen_page_back)
{
	frozen_page(-2 * FAR_AHEAD_S);
}

/* User space loads a state without a frozen page: the timer of a halted VP goes by KVM's clock. */
GUEST_CODE(halted_by_user_space)
{
	apic_enable();
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	start(0, ON | DIRECT, in_ms(FAR_AHEAD_S * 1000));
	GUEST_SYNC(1);
	asm volatile("sti" : : : "memory");
	GUEST_SYNC(2);
	asm volatile("cli" : : : "memory");
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
}

static void load_state(bool page)
{
	struct kvm_mp_state halted = { .mp_state = KVM_MP_STATE_HALTED };
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	require_tsc_clocksource();
	vcpu_entry(v, halted_by_user_space);
	synic_run_sync(v, 1);
	move_clock(vm, 2 * FAR_AHEAD_S);
	/* The time follows the page from here on. */
	synic_run_sync(v, 2);
	ref_page.sequence = 0;
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, page);
	if (page)
		vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	vcpu_ioctl(v, KVM_SET_MP_STATE, &halted);
	vcpu_start(v);
	assert_ends_soon(v);
	vm_free(vm);
}

TEST_KNOWN(timers_of_a_halted_vp_go_by_the_state_that_is_loaded, "K30")
{
	load_state(false);
}

/* The same with a page that has no parameters. */
TEST_KNOWN(timers_of_a_halted_vp_go_by_the_page_that_is_loaded, "K30")
{
	load_state(true);
}

/* The guest arms a timer while the host sets the clock: it must expire, whichever came first. */
#define RACE_ROUNDS 150

static volatile u32 race_round;

GUEST_CODE(arm_while_the_clock_is_set)
{
	u64 count;
	u32 i;

	apic_enable();
	irqs_on();
	for (i = 1; i <= RACE_ROUNDS; i++) {
		count = in_ms(FAR_AHEAD_S * 1000);
		race_round = i;
		start(i % 4, ON | DIRECT, count);
		GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], i, WAIT_MS), true);
		GUEST_ASSERT_EQ(guest_irqs[VEC], i);
	}
}

TEST_KNOWN(one_shot_begins_while_the_clock_is_set, "K30")
{
	struct vm *vm = timer_vm();
	u32 seen = 0;

	vcpu_entry(vm->vcpus[0], arm_while_the_clock_is_set);
	vcpu_start(vm->vcpus[0]);
	while (seen < RACE_ROUNDS) {
		if (race_round == seen)
			continue;
		seen = race_round;
		move_clock(vm, 2 * FAR_AHEAD_S);
	}
	vcpu_join(vm->vcpus[0]);
	vm_free(vm);
}

/* --- while the host sleeps ------------------------------------------------ */

#define HRTIMER_BASE_BOOTTIME 2 /* the kernel's */

/*
 * The reference time goes on while the host sleeps, so a timer's hrtimer has to count that in, too.
 * No emulated host sleeps: look which of the kernel's clocks it is on.
 */
GUEST_CODE(leave_one_running)
{
	apic_enable();
	start(0, ON | DIRECT, ref_now() + FAR);
	GUEST_SYNC(1);
}

TEST_KNOWN(counts_the_sleep_of_the_host, "K31")
{
	struct vm *vm = timer_vm();
	unsigned int base = 0;
	bool found = false;
	char line[256];
	FILE *f;

	vcpu_entry(vm->vcpus[0], leave_one_running);
	synic_run_sync(vm->vcpus[0], 1);
	/* Armed on the way into the guest, or in the fast path. */
	vcpu_start(vm->vcpus[0]);
	vcpu_join(vm->vcpus[0]);
	f = fopen("/proc/timer_list", "r");
	ASSERT(f, "/proc/timer_list: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " .index: %u", &base) == 1)
			continue;
		found = strstr(line, module_loaded() ? "timer_fired" : "stimer_timer_callback");
	}
	fclose(f);
	ASSERT(found, "no hrtimer of a synthetic timer");
	/* The bases are four clocks, twice. */
	ASSERT_KNOWN(base % 4 == HRTIMER_BASE_BOOTTIME, "by clock %u", base);
	vm_free(vm);
}
