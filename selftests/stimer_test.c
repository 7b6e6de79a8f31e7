// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic timers: CONFIG and COUNT, one-shot and periodic, messages and
 * direct mode, the ways an expiry can be undeliverable (K1), catching up,
 * extreme values. Save and restore: migration_test.c.
 *
 * Time is the guest's reference time; a bound is never tighter than what an
 * emulated host under load can keep. "Nothing comes" means: not while some
 * milliseconds and a hundred exits passed after it was due.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "rows.h"
#include "stimer.h"

/* --- host side ---------------------------------------------------------- */

#define STAGE_PAUSE 0x7061757365ULL

/*
 * Do not run for @ms. Unlike guest_settle() it is certain afterwards that a
 * timer which was due is seen as expired: see host_pause().
 */
static void pause_vcpu(u32 ms)
{
	GUEST_SYNC_ARGS(STAGE_PAUSE, ms, 0);
	ref_now();
}

/*
 * The time in which a vCPU does not run. Sleeper and vCPU are one thread on one
 * CPU, whose timers expire in their order: a timer of the VM that was due before
 * the end of the sleep has expired when it returns.
 */
static void host_pause(u32 ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L };

	ASSERT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL), 0);
}

/* Run to the end; pauses in between are made. */
static void run_to_end(struct vcpu *v)
{
	u32 cmd;

	for (;;) {
		cmd = synic_run(v);
		if (cmd == GUEST_DONE)
			return;
		ASSERT_EQ(cmd, GUEST_SYNC_CMD);
		ASSERT_EQ(v->cpu->msg.args[0], STAGE_PAUSE);
		host_pause((u32)v->cpu->msg.args[1]);
	}
}

static void run_guest(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	vcpu_entry(vm->vcpus[0], entry);
	run_to_end(vm->vcpus[0]);
	vm_free(vm);
}

/* A whole test in one guest whose SynIC is on. */
#define STIMER_TEST(name)                \
	static void name##_guest(void);  \
	TEST(name)                       \
	{                                \
		run_guest(name##_guest); \
	}                                \
	GUEST_CODE(name##_guest)
#define STIMER_TEST_KNOWN(name, id)      \
	static void name##_guest(void);  \
	TEST_KNOWN(name, id)             \
	{                                \
		run_guest(name##_guest); \
	}                                \
	GUEST_CODE(name##_guest)

/* --- registers ---------------------------------------------------------- */

STIMER_TEST(registers_read_write)
{
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), 0);
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), 0);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		wrmsr(CONFIG(n), PERIODIC | HV_STIMER_LAZY | HV_STIMER_SINT(n + 2));
		wrmsr(COUNT(n), 0x123456789abcULL + n);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)),
				PERIODIC | HV_STIMER_LAZY | HV_STIMER_SINT(n + 2));
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), 0x123456789abcULL + n);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		wrmsr(CONFIG(n), HV_STIMER_DIRECT | HV_STIMER_VECTOR(0xf0 + n));
		wrmsr(COUNT(n), ~0ULL - n);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), HV_STIMER_DIRECT | HV_STIMER_VECTOR(0xf0 + n));
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), ~0ULL - n);
	}
}

static void count_zero(u64 config)
{
	wrmsr(COUNT(0), FAR);
	wrmsr(CONFIG(0), config | ON);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config | ON);
	wrmsr(COUNT(0), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	GUEST_ASSERT_EQ(rdmsr(COUNT(0)), 0);
	/* It does not come back by itself. */
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST(count_zero_stops)
{
	setup();
	irqs_on();
	count_zero(TO_SINT);
	count_zero(TO_SINT | PERIODIC);
	count_zero(DIRECT);
	count_zero(DIRECT | PERIODIC);
	guest_settle(SETTLE_MS);
	assert_quiet();
}

STIMER_TEST(auto_enable)
{
	const u64 config = HV_STIMER_AUTO_ENABLE | TO_SINT;

	setup();
	wrmsr(CONFIG(0), config);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	wrmsr(COUNT(0), FAR + ref_now());
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config | ON);
	wrmsr(COUNT(0), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	wrmsr(COUNT(0), in_ms(2));
	GUEST_ASSERT(wait_slot(SINT));
	/* Fired: off again, and on with the next count. */
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	GUEST_ASSERT(take(SINT));
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST(no_auto_enable)
{
	setup();
	wrmsr(CONFIG(0), TO_SINT);
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	irqs_on();
	guest_settle(SETTLE_MS);
	assert_quiet();
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

/* An enabled timer that is given SINT 0 is disabled at once, unless it is direct. */
STIMER_TEST(sint0_disables)
{
	start(0, ONE_SHOT, ref_now() + FAR);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	wrmsr(CONFIG(0), ON);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), 0);

	start(0, ONE_SHOT | PERIODIC, FAR);
	wrmsr(CONFIG(0), ON | PERIODIC | HV_STIMER_AUTO_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), PERIODIC | HV_STIMER_AUTO_ENABLE);

	start(0, ON | DIRECT, ref_now() + FAR);
	wrmsr(CONFIG(0), ON | DIRECT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ON | DIRECT);
}

GUEST_CODE(reserved_bits)
{
	static const u8 bits[] = { 13, 14, 15, 20, 32, 63 };
	u32 i;

	wrmsr(CONFIG(0), TO_SINT);
	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(CONFIG(0), TO_SINT | BIT64(bits[i])), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
		/* An enabled timer goes on. */
		start(1, ONE_SHOT, ref_now() + FAR);
		GUEST_ASSERT_EQ(__wrmsr(CONFIG(1), ONE_SHOT | BIT64(bits[i])), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), ONE_SHOT);
	}
}

TEST_KNOWN(reserved_bits_fault, "K7")
{
	run_guest(reserved_bits);
}

STIMER_TEST_KNOWN(direct_vectors_below_16_fault, "K7")
{
	u64 config;
	u32 v;

	for (v = 0; v < 16; v++) {
		config = ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(v);
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(CONFIG(0), config), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), 0);
	}
	GUEST_ASSERT_EQ(__wrmsr(CONFIG(0), ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(16)), 0);
	/* Without direct mode the field means nothing. */
	GUEST_ASSERT_EQ(__wrmsr(CONFIG(1), TO_SINT | HV_STIMER_VECTOR(5)), 0);
}

TEST(host_never_auto_enables)
{
	const u64 config = HV_STIMER_AUTO_ENABLE | TO_SINT;
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, CONFIG(0), config);
	vcpu_set_msr(v, COUNT(0), 1);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG(0)), config);
	vcpu_set_msr(v, COUNT(1), 1);
	vcpu_set_msr(v, CONFIG(1), config);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG(1)), config);
	ASSERT_EQ(vcpu_get_msr(v, COUNT(1)), 1);
	vm_free(vm);
}

TEST(host_without_synic)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(__vcpu_set_msr(v, CONFIG(0), 0), 1);
	ASSERT_EQ(__vcpu_set_msr(v, COUNT(0), 0), 1);
	ASSERT_EQ(__vcpu_set_msr(v, CONFIG(0), ONE_SHOT), 0);
	ASSERT_EQ(__vcpu_set_msr(v, COUNT(0), 1), 0);
	vm_free(vm);
}

/* --- one-shot ----------------------------------------------------------- */

STIMER_TEST(one_shot_message)
{
	volatile struct hv_message *m = slot(SINT);
	u64 count, config = ONE_SHOT;
	u32 n;

	setup();
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		count = in_ms(5);
		start(n, config, count);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)) | ON, config);
		GUEST_ASSERT(wait_slot(SINT));
		GUEST_ASSERT(ref_now() >= count);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), config & ~ON);
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), count);
		GUEST_ASSERT_EQ(m->type, HV_MSG_TIMER_EXPIRED);
		GUEST_ASSERT_EQ(m->size, 24);
		GUEST_ASSERT_EQ(m->flags, 0);
		GUEST_ASSERT_EQ(m->origination, 0);
		GUEST_ASSERT_EQ(m->timer.index, n);
		GUEST_ASSERT_EQ(m->timer.expiration, count);
		GUEST_ASSERT(m->timer.delivery >= count);
		GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[VEC], n + 1);
		GUEST_ASSERT_EQ(nr_taken, n + 1);
	}
	/* Once is once. */
	irqs_on();
	guest_settle(10);
	GUEST_ASSERT_EQ(guest_irqs[VEC], HV_SYNIC_STIMERS);
	GUEST_ASSERT_EQ(m->type, HV_MSG_NONE);
}

/* Each has a slot of its own, the last one at the end of the page. */
STIMER_TEST(message_of_each_sint)
{
	u32 sint, other;

	setup();
	for (sint = 1; sint < HV_SYNIC_SINTS; sint++) {
		wrmsr(HV_X64_MSR_SINT(sint), VEC);
		start(0, ON | HV_STIMER_SINT(sint), 1);
		GUEST_ASSERT(wait_slot(sint));
		GUEST_ASSERT_EQ(slot(sint)->type, HV_MSG_TIMER_EXPIRED);
		GUEST_ASSERT_EQ(slot(sint)->timer.expiration, 1);
		for (other = 0; other < HV_SYNIC_SINTS; other++)
			GUEST_ASSERT(other == sint || slot(other)->type == HV_MSG_NONE);
		slot(sint)->type = HV_MSG_NONE;
		wrmsr(HV_X64_MSR_SINT(sint), HV_SINT_MASKED);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[VEC], sint);
	}
}

/* A count in the past fires at once. */
STIMER_TEST(one_shot_in_the_past)
{
	static const u64 counts[] = { 1, 2, 1000 };
	u64 now;
	u32 i;

	setup();
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		start(0, ONE_SHOT, counts[i]);
		GUEST_ASSERT(wait_slot(SINT));
		GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, counts[i]);
		GUEST_ASSERT(take(SINT));
		GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	}
	now = ref_now();
	start(0, ONE_SHOT, now);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, now);
	GUEST_ASSERT(take(SINT));
	/* CONFIG alone arms it again, with the same count. */
	wrmsr(CONFIG(0), ONE_SHOT);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, now);
	GUEST_ASSERT(take(SINT));
}

STIMER_TEST(disabled_does_not_fire)
{
	u64 count = in_ms(20);

	setup();
	irqs_on();
	start(0, ONE_SHOT, count);
	wrmsr(CONFIG(0), TO_SINT);
	start(1, ON | DIRECT, count);
	wrmsr(CONFIG(1), DIRECT);
	start(2, ONE_SHOT, count);
	wrmsr(COUNT(2), 0);
	guest_settle(30);
	assert_quiet();
}

/* Armed anew before it expires: only the later expiry exists. */
STIMER_TEST(rearm_moves_the_expiry)
{
	u64 count;

	setup();
	start(0, ONE_SHOT, ref_now() + FAR);
	count = in_ms(10);
	wrmsr(COUNT(0), count);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, count);
	GUEST_ASSERT(take(SINT));

	start(0, ONE_SHOT, in_ms(300));
	count = in_ms(600);
	wrmsr(COUNT(0), count);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, count);
	GUEST_ASSERT(take(SINT));
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

static void halt_until(u32 irqs)
{
	while (guest_irqs[VEC] < irqs)
		irqs_halt();
}

STIMER_TEST(wakes_from_halt)
{
	u64 count = 0;
	u32 i;

	setup();
	for (i = 0; i < 10; i++) {
		count = in_ms(3);
		start(0, i & 1 ? ONE_SHOT : ON | DIRECT, count);
		halt_until(i + 1);
		GUEST_ASSERT(ref_now() >= count);
	}
	GUEST_ASSERT_EQ(nr_taken, 5);
	start(0, ONE_SHOT | PERIODIC, REF_MS(3));
	halt_until(20);
}

/* --- direct mode -------------------------------------------------------- */

STIMER_TEST(direct_one_shot)
{
	u64 count;
	u32 n;

	setup();
	/* Neither the page nor a SINT plays a part. */
	wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_SIMP, 0);
	irqs_on();
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		count = in_ms(5);
		start(n, ON | DIRECT | (n & 1 ? TO_SINT : 0), count);
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], n + 1, WAIT_MS));
		GUEST_ASSERT(ref_now() >= count);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)) & ON, 0);
	}
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], HV_SYNIC_STIMERS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
	GUEST_ASSERT_EQ(nr_taken, 0);
}

/* Past counts fire at once in this mode, too, each exactly once. */
STIMER_TEST(direct_one_shot_in_the_past)
{
	u32 i;

	setup();
	irqs_on();
	for (i = 0; i < 20; i++) {
		start(i % 4, ON | DIRECT, 1 + i);
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], i + 1, WAIT_MS));
		GUEST_ASSERT_EQ(guest_irqs[VEC], i + 1);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(i % 4)), DIRECT);
	}
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 20);
}

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
	/* As many as periods began: never more. */
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

/* --- the message protocol, S4 ------------------------------------------- */

/* All four on one SINT: each message arrives once, by flag and EOM. */
STIMER_TEST(four_timers_share_a_slot)
{
	u32 seen = 0, i, n;

	setup();
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		start(n, ONE_SHOT, 1 + n);
	guest_settle(SETTLE_MS);
	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		GUEST_ASSERT(wait_slot(SINT));
		GUEST_ASSERT_EQ(!!(slot(SINT)->flags & HV_MSG_PENDING), i < HV_SYNIC_STIMERS - 1);
		n = slot(SINT)->timer.index;
		GUEST_ASSERT(!(seen & 1u << n));
		seen |= 1u << n;
		GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, 1 + n);
		GUEST_ASSERT(take(SINT));
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), TO_SINT);
		guest_settle(SETTLE_MS);
	}
	GUEST_ASSERT_EQ(seen, 0xf);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* Somebody else's message in the slot. */
static void occupy(void)
{
	slot(SINT)->size = 0;
	slot(SINT)->flags = 0;
	slot(SINT)->type = 1;
}

STIMER_TEST(busy_slot_one_shot_then_eom)
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	GUEST_ASSERT_EQ(slot(SINT)->flags, HV_MSG_PENDING);
	/* Not delivered yet: still enabled, no interrupt. */
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(last_flags, 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* An EOM while the slot is still busy changes nothing. */
STIMER_TEST(busy_slot_early_eom)
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	slot(SINT)->flags = 0;
	wrmsr(HV_X64_MSR_EOM, 0);
	/* Tried again, and the guest is told again. */
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* The busy message is the one whose interrupt is in service: its EOI frees the queue. */
static void busy_slot_then_eoi(u64 config)
{
	setup();
	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	/* The slot is not freed yet. */
	start(0, config, config & PERIODIC ? REF_MS(50) : 1);
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	slot(SINT)->type = HV_MSG_NONE;
	apic_eoi();
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 0);
	GUEST_ASSERT(take(SINT));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 2);
}

STIMER_TEST(busy_slot_one_shot_then_eoi)
{
	busy_slot_then_eoi(ONE_SHOT);
}

STIMER_TEST_KNOWN(s4_busy_slot_periodic_then_eoi, "K1")
{
	busy_slot_then_eoi(ONE_SHOT | PERIODIC);
}

/* A tick that finds the slot busy must say so, or the guest has no reason to write EOM. */
STIMER_TEST_KNOWN(s4_busy_slot_periodic_then_eom, "K1")
{
	u64 begin = ref_now(), period = REF_MS(50);
	u32 i;

	setup();
	occupy();
	start(0, ONE_SHOT | PERIODIC, period);
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	GUEST_ASSERT(ref_now() >= begin + period);
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	/* And on it goes. */
	irqs_on();
	for (i = 0; i < 3; i++)
		GUEST_ASSERT(guest_wait(&nr_taken, i + 1, WAIT_MS));
}

/*
 * The guest frees the slot and forgets EOM; interrupts are off, so there is no
 * EOI either. The next message to this SINT must bring the queue along.
 */
STIMER_TEST_KNOWN(s4_busy_slot_then_later_message, "K1")
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	slot(SINT)->flags = 0;
	slot(SINT)->type = HV_MSG_NONE;
	start(1, ONE_SHOT, 2);
	GUEST_ASSERT(wait_slot(SINT));
	/* One of the two is there, the other one is pending. */
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(last_flags, 0);
	GUEST_ASSERT_EQ(taken[0].index + taken[1].index, 1);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/*
 * With KVM_CAP_HYPERV_SYNIC2 it is user space that zeroes the page. Where it does not, the slots
 * are taken, and a timer waits as for any message that is not ours; it waits, and is not lost.
 */
GUEST_CODE(slots_of_stale_bytes)
{
	setup();
	irqs_on();
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(slot(SINT)->type, 0xaaaaaaaa);
	GUEST_ASSERT(slot(SINT)->flags & HV_MSG_PENDING);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

TEST(synic2_page_of_stale_bytes)
{
	struct vm *vm = timer_vm();

	memset(synic_messages[0], 0xaa, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], slots_of_stale_bytes);
	synic_run_sync(vm->vcpus[0], 1);
	memset(synic_messages[0], 0, PAGE_SIZE);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- an expiry that cannot be delivered --------------------------------- */

/* The obstacle keeps the message itself away, not only its interrupt. */
static bool keeps_message(enum obstacle what)
{
	return what == SIMP_OFF || what == SIMP_NOWHERE || what == SYNIC_OFF;
}

/* Expire with the obstacle in place, then take it away: an interrupt comes, once. */
static void blocked_one_shot(enum obstacle what, u64 config)
{
	bool direct = config & HV_STIMER_DIRECT;

	setup();
	irqs_on();
	block(what);
	start(0, config, in_ms(2));
	pause_vcpu(10);
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	if (keeps_message(what))
		GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	unblock(what);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
	GUEST_ASSERT_EQ(nr_taken, direct ? 0 : 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	/* No duplicate, not even for an EOM. */
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

static void blocked_periodic(enum obstacle what, u64 config)
{
	setup();
	irqs_on();
	start(0, config, REF_MS(3));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	irqs_off();
	block(what);
	irqs_window();
	take(SINT);
	guest_irqs[VEC] = 0;
	irqs_on();
	pause_vcpu(10);
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	if (keeps_message(what))
		GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	unblock(what);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 5, known_ms), true);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST_KNOWN(s1_simp_off_one_shot, "K1")
{
	blocked_one_shot(SIMP_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(s1_simp_off_periodic, "K1")
{
	blocked_periodic(SIMP_OFF, ONE_SHOT | PERIODIC);
}

/* The same where enabling zeroes the page: the message comes after that. */
TEST_KNOWN(s1_simp_off_one_shot_zeroed_page, "K1")
{
	struct vm *vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC);

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	memset(synic_messages[0], 0xee, PAGE_SIZE);
	/* slot() is looked at while the SIMP is off. */
	synic_messages[0][SINT].type = HV_MSG_NONE;
	vcpu_entry(vm->vcpus[0], s1_simp_off_one_shot_guest);
	run_to_end(vm->vcpus[0]);
	vm_free(vm);
}

STIMER_TEST_KNOWN(simp_outside_memory_one_shot, "K1")
{
	blocked_one_shot(SIMP_NOWHERE, ONE_SHOT);
}

STIMER_TEST_KNOWN(simp_outside_memory_periodic, "K1")
{
	blocked_periodic(SIMP_NOWHERE, ONE_SHOT | PERIODIC);
}

/* A guest that waits for interrupts needs one: the message alone would lie there for ever. */
STIMER_TEST_KNOWN(s2_sint_masked_one_shot, "K1")
{
	blocked_one_shot(SINT_MASKED, ONE_SHOT);
}

STIMER_TEST_KNOWN(s2_sint_masked_periodic, "K1")
{
	blocked_periodic(SINT_MASKED, ONE_SHOT | PERIODIC);
}

/* A guest that polls the slot: one message, and the timer is done. */
STIMER_TEST_KNOWN(s2_sint_masked_no_duplicate, "K1")
{
	setup();
	block(SINT_MASKED);
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	unblock(SINT_MASKED);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_KNOWN_EQ(rdmsr(CONFIG(0)), TO_SINT);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

STIMER_TEST_KNOWN(s2_sint_masked_eom_no_duplicate, "K1")
{
	setup();
	block(SINT_MASKED);
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	unblock(SINT_MASKED);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	GUEST_ASSERT_EQ(nr_taken, 1);
}

STIMER_TEST_KNOWN(s3_apic_off_message_one_shot, "K1")
{
	blocked_one_shot(APIC_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(s3_apic_off_message_periodic, "K1")
{
	blocked_periodic(APIC_OFF, ONE_SHOT | PERIODIC);
}

STIMER_TEST_KNOWN(s3_apic_off_direct_one_shot, "K1")
{
	blocked_one_shot(APIC_OFF, ON | DIRECT);
}

STIMER_TEST_KNOWN(s3_apic_off_direct_periodic, "K1")
{
	blocked_periodic(APIC_OFF, ON | PERIODIC | DIRECT);
}

STIMER_TEST_KNOWN(scontrol_zero_one_shot, "K5")
{
	blocked_one_shot(SYNIC_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(scontrol_zero_periodic, "K5")
{
	blocked_periodic(SYNIC_OFF, ONE_SHOT | PERIODIC);
}

/* Whatever stood in the way: a timer that is disabled meanwhile is forgotten. */
STIMER_TEST(disabled_while_blocked)
{
	setup();
	irqs_on();
	block(SIMP_OFF);
	start(0, ONE_SHOT, 1);
	start(1, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	wrmsr(CONFIG(0), TO_SINT);
	wrmsr(COUNT(1), 0);
	unblock(SIMP_OFF);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	assert_quiet();
}

/* --- a vCPU that was not run for a while --------------------------------- */

#define GAP_MS	      150
#define GAP_PERIOD_MS 5
#define GAP_TICKS     (GAP_MS / GAP_PERIOD_MS)

static u64 gap_begin;

/* Ticks behind those that the reference time asks for: never less than none. */
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

static void gap_skipped(u64 config)
{
	gap(config | HV_STIMER_LAZY);
	guest_settle(10 * GAP_PERIOD_MS);
	/* It goes on, without the ticks of the gap. */
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

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_sync(vm->vcpus[0], 1);
	host_pause(GAP_MS);
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

/* Late, but once. */
TEST(one_shot_expires_in_a_gap)
{
	run_with_gap(gap_one_shot);
}

/* --- storms and extreme values ------------------------------------------- */

/* The guest asks for a tick every 100 ns, with interrupts off: it must get on. */
static void storm(u64 config)
{
	u32 i;

	setup();
	start(0, config, 1);
	for (i = 0; i < 500; i++)
		ref_now();
	/* A window at a time. */
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

/* Torn down with the timer running. */
static void run_storm(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_sync(vm->vcpus[0], 1);
	host_pause(20);
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
 * The same with interrupts on all the time: the loop must get its turn between
 * the handlers, if not after each of them where the host is slow itself.
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

static void run_storm_on(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	guest_irq_handlers[VEC] = storm_tick;
	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST(storm_leaves_time_direct)
{
	run_storm_on(storm_on_direct);
}

TEST(storm_leaves_time_message)
{
	run_storm_on(storm_on_message);
}

/* A frozen page is the guest's memory: it makes the reference time what it likes, but no storm. */
static struct {
	u32 sequence, rsvd;
	u64 scale, offset;
} frozen __attribute__((aligned(4096)));

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
		frozen.sequence = 1;
		frozen.scale = clocks[i].scale;
		frozen.offset = clocks[i].offset;
		vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
		vcpu_set_msr(v, HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)&frozen | 1);
		vcpu_entry(v, storm_on_direct);
		us = host_us();
		synic_run_done(v);
		us = host_us() - us;
		ASSERT(guest_irqs[VEC] <= us / 100 + 2, "%u ticks in %llu us", guest_irqs[VEC],
		       (unsigned long long)us);
		/* It is that clock which ran, or stood. */
		if (!clocks[i].scale)
			ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT), clocks[i].offset);
		vm_free(vm);
	}
}

/* A count in the past, again and again. */
static void rearm(u64 config)
{
	u32 i;

	setup();
	wrmsr(CONFIG(0), (config & ~ON) | HV_STIMER_AUTO_ENABLE);
	irqs_on();
	for (i = 0; i < 500; i++) {
		wrmsr(COUNT(0), 1 + i);
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], i + 1, WAIT_MS));
	}
	GUEST_ASSERT_EQ(guest_irqs[VEC], 500);
}

STIMER_TEST(rearm_in_the_past_message)
{
	rearm(ONE_SHOT);
}

STIMER_TEST(rearm_in_the_past_direct)
{
	rearm(ON | DIRECT);
}

static void rearm_in_handler(struct guest_frame *f)
{
	if (++guest_irqs[f->vector] < 500)
		wrmsr(COUNT(0), 1);
	apic_eoi();
}

/* The handler does it, as a clock event device that is behind does. */
GUEST_CODE(rearm_from_handler_guest)
{
	setup();
	wrmsr(CONFIG(0), DIRECT | HV_STIMER_AUTO_ENABLE);
	irqs_on();
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 500, 5 * WAIT_MS));
}

TEST(rearm_from_handler)
{
	struct vm *vm = timer_vm();

	guest_irq_handlers[VEC] = rearm_in_handler;
	vcpu_entry(vm->vcpus[0], rearm_from_handler_guest);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* The same again and again, and never in the future: the main loop must get on. */
#define RUSH_IRQS  4000
#define RUSH_LOOPS 1000

static volatile u32 rush_loops;

static void rush_in_handler(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	take(SINT);
	if (rush_loops < RUSH_LOOPS && guest_irqs[f->vector] < RUSH_IRQS)
		wrmsr(COUNT(0), 1);
	apic_eoi();
}

static void rush(u64 config)
{
	setup();
	wrmsr(CONFIG(0), config | HV_STIMER_AUTO_ENABLE);
	wrmsr(COUNT(0), 1);
	irqs_on();
	/* Without an exit. */
	while (rush_loops < RUSH_LOOPS && guest_irqs[VEC] < RUSH_IRQS)
		rush_loops++;
	irqs_off();
	guest_log("rush: interrupts, loops", guest_irqs[VEC], rush_loops);
	GUEST_ASSERT_KNOWN_EQ(rush_loops >= RUSH_LOOPS, true);
}

GUEST_CODE(rush_direct)
{
	rush(DIRECT);
}

GUEST_CODE(rush_message)
{
	rush(TO_SINT);
}

static void run_rush(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	guest_irq_handlers[VEC] = rush_in_handler;
	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

TEST_KNOWN(rush_leaves_time_direct, "K32")
{
	run_rush(rush_direct);
}

TEST_KNOWN(rush_leaves_time_message, "K32")
{
	run_rush(rush_message);
}

/* Armed again by the main loop, faster than the guard lets it expire: it comes all the same. */
#define ARMED_IRQS 24
#define ARMED_MS   50 /* the guard's are 2.4, under the checkers of the debug hosts 14 */

GUEST_CODE(armed_again_and_again)
{
	u64 best = ~0ULL, began, took;
	u32 round, until;

	setup();
	wrmsr(CONFIG(0), DIRECT | HV_STIMER_AUTO_ENABLE);
	irqs_on();
	for (round = 0; round < 6; round++) {
		until = guest_irqs[VEC] + ARMED_IRQS;
		began = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		do {
			wrmsr(COUNT(0), 1);
			took = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - began;
		} while (guest_irqs[VEC] < until && took < REF_MS(1000));
		/* The first ones are not guarded. */
		if (round && took < best)
			best = took;
	}
	irqs_off();
	guest_log("best of the rounds", best, ARMED_IRQS);
	GUEST_ASSERT(best < REF_MS(ARMED_MS));
}

TEST(one_shot_armed_again_and_again)
{
	struct vm *vm = timer_vm();

	guest_irq_handlers[VEC] = guest_irq_count;
	vcpu_entry(vm->vcpus[0], armed_again_and_again);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* User space sets the reference time back: there is a tick a period later all the same. */
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

/*
 * Set forward, the clock has a timer expire before its hrtimer goes off, which must not end a HLT
 * of later. Whatever the guest does with the timer meanwhile.
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

/* The same, with the VP halted all the time: nobody but the host sees the clock change. */
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

TEST_KNOWN(one_shot_of_a_halted_vp_when_the_clock_is_set_forward, "K30")
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat blocking;
	struct timespec t;
	bool in_time;

	blocking = stat_open(v, "blocking");
	vcpu_entry(v, halt_for_long);
	synic_run_sync(v, 1);
	vcpu_start(v);
	wait_halted(&blocking);
	move_clock(vm, 2 * FAR_AHEAD_S);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += SOON_S;
	in_time = !pthread_timedjoin_np(v->worker, NULL, &t);
	ASSERT_KNOWN(in_time, "not within %u s", SOON_S);
	stat_close(&blocking);
	vm_free(vm);
}

/* The guest arms a timer while the host sets the clock: it is due whichever came first. */
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
	char line[256], clock[64] = "";
	bool found = false;
	FILE *f;

	vcpu_entry(vm->vcpus[0], leave_one_running);
	synic_run_sync(vm->vcpus[0], 1);
	/* Armed on the way into the guest, or in the fast path. */
	vcpu_start(vm->vcpus[0]);
	vcpu_join(vm->vcpus[0]);
	f = fopen("/proc/timer_list", "r");
	ASSERT(f, "/proc/timer_list: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " .get_time: %63s", clock) == 1)
			continue;
		found = strstr(line, module_loaded() ? "timer_fired" : "stimer_timer_callback");
	}
	fclose(f);
	ASSERT(found, "no hrtimer of a synthetic timer");
	ASSERT_KNOWN(!strcmp(clock, "ktime_get_boottime"), "by %s", clock);
	vm_free(vm);
}

STIMER_TEST(periodic_count_zero)
{
	static const u64 configs[] = {
		ONE_SHOT | PERIODIC,
		ONE_SHOT | PERIODIC | HV_STIMER_LAZY,
		ON | DIRECT | PERIODIC,
		ON | DIRECT | PERIODIC | HV_STIMER_LAZY,
		ONE_SHOT,
		ON | DIRECT,
	};
	u32 i;

	setup();
	irqs_on();
	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		start(0, configs[i], 0);
		guest_settle(SETTLE_MS);
		assert_quiet();
		wrmsr(CONFIG(0), 0);
	}
}

/* Far away, in a way that overflows nanoseconds or a signed number: no tick now. */
STIMER_TEST(counts_beyond_a_century)
{
	static const struct {
		u64 config, count;
	} t[] = {
		{ ONE_SHOT, BIT64(63) },
		{ ON | DIRECT, BIT64(63) },
		{ ONE_SHOT, 2 * CENTURY },
		{ ON | DIRECT, 2 * CENTURY },
		{ ONE_SHOT, BIT64(63) / 100 },
		{ ONE_SHOT, BIT64(63) / 50 },
		{ ONE_SHOT | PERIODIC, 2 * CENTURY },
		{ ON | DIRECT | PERIODIC, 2 * CENTURY },
		{ ONE_SHOT | PERIODIC, BIT64(63) },
		{ ON | DIRECT | PERIODIC, BIT64(63) },
		{ ONE_SHOT | PERIODIC, ~0ULL },
		{ ON | DIRECT | PERIODIC, ~0ULL },
		{ ONE_SHOT | PERIODIC | HV_STIMER_LAZY, ~0ULL },
		{ ONE_SHOT | PERIODIC, BIT64(63) - 1 },
		{ ONE_SHOT | PERIODIC, ~0ULL / 100 },
	};
	u32 i;

	setup();
	irqs_on();
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		start(i % 4, t[i].config, t[i].count);
		guest_settle(SETTLE_MS);
		assert_quiet();
		GUEST_ASSERT_EQ(rdmsr(CONFIG(i % 4)), t[i].config);
		GUEST_ASSERT_EQ(rdmsr(COUNT(i % 4)), t[i].count);
	}
}

/* The distance is signed: a count just behind the wrap is in the past, not far ahead. */
static void wrapped(u64 config)
{
	setup();
	irqs_on();
	start(0, config, ~0ULL);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	if (!(config & HV_STIMER_DIRECT))
		GUEST_ASSERT_EQ(taken[0].expiration, ~0ULL);
}

STIMER_TEST_KNOWN(one_shot_behind_the_wrap, "D12")
{
	wrapped(ONE_SHOT);
}

STIMER_TEST_KNOWN(one_shot_direct_behind_the_wrap, "D12")
{
	wrapped(ON | DIRECT);
}

/* A VM nobody asks any more, timers running, page gone: teardown must be quiet. */
GUEST_CODE(leave_all_running)
{
	setup();
	start(0, ONE_SHOT | PERIODIC, REF_MS(1));
	start(1, ON | DIRECT | PERIODIC, REF_MS(1));
	start(2, ONE_SHOT, in_ms(1));
	start(3, ONE_SHOT, ref_now() + FAR);
	wrmsr(HV_X64_MSR_SIMP, GPA_NOWHERE | HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SIMP, 0xfffffffffffff000ULL | HV_SYNIC_ENABLE);
	guest_settle(SETTLE_MS);
}

TEST(teardown_with_running_timers)
{
	struct vm *vm;
	u32 i;

	for (i = 0; i < 10; i++) {
		vm = timer_vm();
		vcpu_entry(vm->vcpus[0], leave_all_running);
		synic_run_done(vm->vcpus[0]);
		vm_free(vm);
	}
}
