// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic timers: periodic, by message and in direct mode, down to a period of 100 ns.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stimer.h"
#include "tracefs.h"

/* --- periodic ----------------------------------------------------------- */

#define PERIOD_MS 4
#define PERIODS	  25

static void periodic(u64 config)
{
	u64 begin, elapsed, last, period = REF_MS(PERIOD_MS);
	bool direct = config & HV_STIMER_DIRECT;
	u32 ticks, i;

	setup();
	irqs_on();
	begin = ref_now();
	start(0, config, period);
	/* The first period begins when the timer is enabled. */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(ref_now() >= begin + period);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], PERIODS, WAIT_MS));
	irqs_off();
	/* Never more ticks than periods. */
	ticks = guest_irqs[VEC];
	elapsed = ref_now() - begin;
	GUEST_ASSERT(ticks <= elapsed / period);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	GUEST_ASSERT_EQ(rdmsr(COUNT(0)), period);
	wrmsr(COUNT(0), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	irqs_on();
	guest_settle(2);
	ticks = guest_irqs[VEC];
	guest_settle(2 * PERIOD_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], ticks);
	if (direct)
		return;
	GUEST_ASSERT(taken[0].expiration >= begin + period);
	last = begin;
	for (i = 0; i < nr_taken; i++) {
		GUEST_ASSERT_EQ(taken[i].index, 0);
		GUEST_ASSERT(taken[i].expiration > last);
		last = taken[i].expiration;
	}
}

STIMER_TEST(periodic_messages)
{
	periodic(ONE_SHOT | PERIODIC);
}

STIMER_TEST(periodic_lazy_messages)
{
	periodic(ONE_SHOT | PERIODIC | HV_STIMER_LAZY);
}

STIMER_TEST(periodic_direct)
{
	periodic(ON | PERIODIC | DIRECT);
}

STIMER_TEST(periodic_direct_lazy)
{
	periodic(ON | PERIODIC | DIRECT | HV_STIMER_LAZY);
}

/* Four timers at once, each with a slot and a vector of its own. */
static void on_own_sint(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	take((u32)f->vector - VEC + SINT);
	apic_eoi();
}

GUEST_CODE(four_timers)
{
	u32 seen[HV_SYNIC_STIMERS] = { 0 }, i, n;

	apic_enable();
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		wrmsr(HV_X64_MSR_SINT(SINT + n), VEC + n);
	irqs_on();
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		start(n, ON | PERIODIC | HV_STIMER_SINT(SINT + n), REF_MS(3 + n));
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC + n], 10, WAIT_MS));
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		wrmsr(CONFIG(n), 0);
	irqs_off();
	GUEST_ASSERT(nr_taken < MSG_SLOTS);
	for (i = 0; i < nr_taken; i++)
		seen[taken[i].index]++;
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		GUEST_ASSERT(seen[n] >= 10);
}

TEST(four_periodic_timers)
{
	struct vm *vm = synic_vm(1);
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		guest_irq_handlers[VEC + n] = on_own_sint;
	vcpu_entry(vm->vcpus[0], four_timers);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

GUEST_CODE(on_each_vcpu)
{
	u32 id = this_cpu()->id;
	u64 count;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(SINT), VEC);
	count = in_ms(3);
	start(id, ONE_SHOT, count);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, id);
	GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, count);
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT_EQ(synic_messages[1 - id][SINT].type, HV_MSG_NONE);
	GUEST_ASSERT(take(SINT));
}

/* Timers belong to a VP: its own page, its own APIC. */
TEST(timers_are_per_vp)
{
	struct vm *vm = synic_vm(2);
	u32 i;

	for (i = 0; i < 2; i++) {
		vcpu_entry(vm->vcpus[i], on_each_vcpu);
		synic_run_done(vm->vcpus[i]);
	}
	vm_free(vm);
}

/* --- storms ------------------------------------------------------------- */

/* The guest asks for a tick every 100 ns, with interrupts off: it must make progress. */
static void storm(u64 config)
{
	u32 i;

	setup();
	start(0, config, 1);
	for (i = 0; i < 500; i++)
		ref_now();
	/* Open one window at a time. */
	for (i = 0; i < 100; i++) {
		irqs_window();
		ref_now();
	}
	GUEST_ASSERT(guest_irqs[VEC] >= 1);
	GUEST_SYNC(1);
	/* It is still running when the vCPU comes back after a pause. */
	i = guest_irqs[VEC];
	while (guest_irqs[VEC] < i + 2) {
		irqs_window();
		ref_now();
	}
}

GUEST_CODE(storm_direct)
{
	storm(ON | PERIODIC | DIRECT);
}

GUEST_CODE(storm_message)
{
	storm(ONE_SHOT | PERIODIC);
}

/* Free the VM with the timer running. */
static void run_storm(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_sync(vm->vcpus[0], 1);
	timer_host_pause(20);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(storm_of_period_1_direct)
{
	run_storm(storm_direct);
}

TEST(storm_of_period_1_message)
{
	run_storm(storm_message);
}

/*
 * The same with interrupts always on: the loop must run between the handlers, though not after each
 * of them where the host is slow.
 */
#define STORM_TICKS 50000
#define STORM_LOOPS 200

static volatile u32 storm_loops;

static void storm_tick(struct guest_frame *f)
{
	on_message(f);
	if (guest_irqs[f->vector] >= STORM_TICKS)
		GUEST_ASSERT(storm_loops >= STORM_LOOPS);
}

static void storm_on(u64 config)
{
	setup();
	start(0, config, 1);
	irqs_on();
	while (storm_loops < STORM_LOOPS) {
		cpuid(0, 0);
		storm_loops++;
	}
	irqs_off();
	guest_log("storm: ticks, loops", guest_irqs[VEC], storm_loops);
}

GUEST_CODE(storm_on_direct)
{
	storm_on(ON | PERIODIC | DIRECT);
}

GUEST_CODE(storm_on_message)
{
	storm_on(ONE_SHOT | PERIODIC);
}

static void run_storm_on(void (*entry)(void), void (*handler)(struct guest_frame *f))
{
	struct vm *vm = timer_vm();

	guest_irq_handlers[VEC] = handler;
	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(storm_leaves_time_direct)
{
	run_storm_on(storm_on_direct, storm_tick);
}

TEST(storm_leaves_time_message)
{
	run_storm_on(storm_on_message, storm_tick);
}

/*
 * A handler that takes longer than the period: the guest gets less than it asked for, but the loop
 * must run between the handlers.
 */
#define SLOW_PERIOD_US 4000u
#define SLOW_US	       5000u
#define SLOW_FROM      24u
#define SLOW_TICKS     64u

static volatile u32 loops_then, turns;

static void slow_tick(struct guest_frame *f)
{
	u64 end = ref_now() + 10ULL * SLOW_US;

	while (ref_now() < end)
		;
	on_message(f);
	/* Ticks before which the loop has run. */
	turns += guest_irqs[VEC] > SLOW_FROM && storm_loops != loops_then;
	loops_then = storm_loops;
	if (guest_irqs[VEC] == SLOW_TICKS)
		GUEST_ASSERT(turns >= (SLOW_TICKS - SLOW_FROM) / 2);
}

static void slow_handler(u64 config)
{
	setup();
	start(0, ONE_SHOT | PERIODIC | config, 10 * SLOW_PERIOD_US);
	irqs_on();
	while (guest_irqs[VEC] < SLOW_TICKS) {
		cpuid(0, 0);
		storm_loops++;
	}
	irqs_off();
	guest_log("slow handler: ticks, turns of the loop", guest_irqs[VEC], turns);
}

GUEST_CODE(slow_handler_of_a_timer)
{
	slow_handler(0);
}

GUEST_CODE(slow_handler_of_a_lazy_timer)
{
	slow_handler(HV_STIMER_LAZY);
}

TEST(slow_handler_leaves_time)
{
	run_storm_on(slow_handler_of_a_timer, slow_tick);
}

TEST(slow_handler_leaves_time_lazy)
{
	run_storm_on(slow_handler_of_a_lazy_timer, slow_tick);
}

/*
 * A frozen page is guest memory: the guest can make the reference time anything, but must not cause
 * a storm.
 */
static struct {
	u32 sequence, rsvd;
	u64 scale, offset;
} frozen __attribute__((aligned(4096)));

static void freeze_clock(struct vcpu *v, u64 scale, u64 offset)
{
	frozen.sequence = 1;
	frozen.scale = scale;
	frozen.offset = offset;
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)&frozen | 1);
}

static u64 host_us(void)
{
	struct timespec t;

	ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (u64)t.tv_sec * 1000000 + (u64)t.tv_nsec / 1000;
}

TEST(storm_under_any_clock)
{
	static const struct {
		u64 scale, offset;
	} clocks[] = {
		{ 0, 0 }, { 0, ~0ULL }, { 1, BIT64(63) }, { ~0ULL, 0 }, { ~0ULL, BIT64(63) - 1 }
	};
	struct vcpu *v;
	struct vm *vm;
	u64 us;
	u32 i;

	if (!module_loaded())
		ktap_skip("stock has no storm guard");
	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		vm = timer_vm();
		v = vm->vcpus[0];
		guest_irq_handlers[VEC] = storm_tick;
		storm_loops = 0;
		guest_irqs[VEC] = 0;
		freeze_clock(v, clocks[i].scale, clocks[i].offset);
		vcpu_entry(v, storm_on_direct);
		us = host_us();
		synic_run_done(v);
		us = host_us() - us;
		ASSERT(guest_irqs[VEC] <= us / 100 + 2, "%u ticks in %llu us", guest_irqs[VEC],
		       (unsigned long long)us);
		/* Check that the frozen clock was in use. */
		if (!clocks[i].scale)
			ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT), clocks[i].offset);
		vm_free(vm);
	}
}

#define CLOSING	 0x62
#define ARMED	 200u
#define INSTANCE TRACING "/instances/khv_stimer"

/*
 * Wait until timers of VPs have been armed so often; return how often of these by more than half of
 * the minimum: the host's clock goes on until the event is told.
 */
static u32 count_far(void)
{
	unsigned long long seconds, us, expires;
	u32 armed = 0, far = 0;
	char line[512], *at;
	FILE *f = fopen(INSTANCE "/trace_pipe", "re");

	ASSERT(f, INSTANCE);
	while (armed < ARMED && fgets(line, sizeof(line), f)) {
		at = strstr(line, ": hrtimer_start:");
		if (!at || !strstr(at, "timer_fired"))
			continue;
		while (at > line && at[-1] != ' ')
			at--;
		ASSERT(sscanf(at, "%llu.%llu:", &seconds, &us) == 2, "%s", line);
		at = strstr(line, " expires=");
		ASSERT(at && sscanf(at, " expires=%llu", &expires) == 1, "%s", line);
		armed++;
		far += (s64)(expires - (seconds * 1000000 + us) * 1000) > 50000;
	}
	fclose(f);
	return far;
}

GUEST_CODE(due_at_the_next_tick)
{
	setup();
	start(0, ON | DIRECT, ref_now() + 1);
	while (!guest_irqs[CLOSING])
		irqs_halt();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
}

/* The next tick of that clock never comes. */
TEST(one_shot_under_a_clock_that_stands_still)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = CLOSING };
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	u32 far;

	if (!module_loaded())
		ktap_skip("stock has no storm guard");
	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[CLOSING] = guest_irq_count;
	guest_irqs[VEC] = 0;
	guest_irqs[CLOSING] = 0;
	freeze_clock(v, 0, BIT64(40));
	ASSERT(!mkdir(INSTANCE, 0700) || errno == EEXIST, INSTANCE);
	file_must_write(INSTANCE "/trace_clock", "boot");
	file_must_write(INSTANCE "/events/timer/hrtimer_start/enable", "1");
	vcpu_entry(v, due_at_the_next_tick);
	vcpu_start(v);
	far = count_far();
	file_must_write(INSTANCE "/events/timer/hrtimer_start/enable", "0");
	ASSERT_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	vcpu_join(v);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT), frozen.offset);
	rmdir(INSTANCE);
	ktap_log("armed %u times, %u of them by more than 50 us", ARMED, far);
	ASSERT(far > ARMED / 2, "a storm");
	vm_free(vm);
}
