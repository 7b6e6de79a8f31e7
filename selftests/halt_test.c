// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VP that is halted stays so until it has an interrupt that it can take, an NMI or the like,
 * and its CPU sleeps meanwhile: whatever becomes of its timers, of the reference time, or of a
 * KVM_RUN that user space breaks off.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "stimer.h"

#define CLOSING	   0x71 /* of the timer that closes a case */
#define NMI_VECTOR 2
#define PERIOD_MS  5
#define CLOSE_MS   300
#define SIGNALS	   30
#define SIGNAL_MS  10

#define REF_TSC_ENABLE BIT64(0)

static volatile u32 ends; /* of HLT */
static struct vm *vm;

static u8 ref_page[PAGE_SIZE] __attribute__((aligned(4096)));

static u64 now_us(clockid_t clock)
{
	struct timespec t;

	ASSERT_EQ(clock_gettime(clock, &t), 0);
	return (u64)t.tv_sec * 1000000 + (u64)t.tv_nsec / 1000;
}

/* Did this thread sleep? A busy machine takes time from the CPU of an emulated host, too. */
struct sleep {
	u64 cpu, wall;
};

static struct sleep sleep_begin(void)
{
	return (struct sleep){ now_us(CLOCK_THREAD_CPUTIME_ID), now_us(CLOCK_MONOTONIC) };
}

static bool slept(const struct sleep *begin)
{
	u64 cpu = now_us(CLOCK_THREAD_CPUTIME_ID) - begin->cpu;
	u64 wall = now_us(CLOCK_MONOTONIC) - begin->wall;

	ktap_log("%llu of %llu us of CPU time", (unsigned long long)cpu, (unsigned long long)wall);
	return cpu < wall / 4 * 3;
}

static struct vm *halt_vm(u32 nr_vcpus)
{
	timer_prepare();
	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[CLOSING] = guest_irq_count;
	guest_irq_handlers[NMI_VECTOR] = guest_irq_count_no_eoi;
	return synic_vm(nr_vcpus);
}

/* --- guest ---------------------------------------------------------------- */

/* Interrupts on: halted until the closing timer, which is the only one to be taken. */
static void halt_until_closed(void)
{
	start(3, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(CLOSING), in_ms(CLOSE_MS));
	while (!guest_irqs[CLOSING]) {
		irqs_halt();
		ends++;
	}
	GUEST_ASSERT_EQ(guest_irqs[CLOSING], 1);
}

/* Interrupts off: nothing but an NMI. */
static void halt_until_nmi(void)
{
	while (!guest_irqs[NMI_VECTOR]) {
		asm volatile("cli; hlt" : : : "memory");
		ends++;
	}
}

static enum obstacle obstacle;

GUEST_CODE(undeliverable)
{
	setup();
	block(obstacle);
	start(0, ONE_SHOT | PERIODIC, REF_MS(4 * PERIOD_MS));
	start(1, ONE_SHOT, in_ms(8 * PERIOD_MS));
	halt_until_closed();
	/* SCONTROL off has stock deliver (K5), which is not this test's. */
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_KNOWN_EQ(ends, 1);
	/* What waited comes when it can. */
	unblock(obstacle);
	irqs_on();
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
}

GUEST_CODE(slot_is_busy)
{
	setup();
	slot(SINT)->type = 1;
	start(0, ONE_SHOT | PERIODIC, REF_MS(PERIOD_MS));
	halt_until_closed();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_KNOWN_EQ(ends, 1);
}

/* Its interrupt is pending all the time, and cannot be taken. */
GUEST_CODE(interrupts_off)
{
	apic_enable();
	start(0, ON | PERIODIC | DIRECT, REF_MS(PERIOD_MS));
	start(1, ON | PERIODIC | HV_STIMER_LAZY | DIRECT, REF_MS(PERIOD_MS));
	GUEST_SYNC(1);
	halt_until_nmi();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_KNOWN_EQ(ends, 1);
	irqs_window();
	/* On a slow host the next tick is there already. */
	GUEST_ASSERT(guest_irqs[VEC] >= 1);
}

/* Nothing can be delivered before the APIC is enabled. */
GUEST_CODE(apic_off)
{
	apic_enable();
	apic_disable();
	start(0, ON | DIRECT, in_ms(1));
	start(1, ON | PERIODIC | DIRECT, REF_MS(PERIOD_MS));
	GUEST_SYNC(1);
	halt_until_nmi();
	GUEST_ASSERT_KNOWN_EQ(ends, 1);
	apic_enable();
	irqs_on();
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
}

/* A timer that is far away: no reason to wake up. */
GUEST_CODE(far_away)
{
	setup();
	start(0, ONE_SHOT, ref_now() + FAR);
	start(1, ON | PERIODIC | DIRECT, FAR);
	halt_until_closed();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(ends, 1);
}

/* What can be delivered ends each HLT, and ends it once. */
GUEST_CODE(deliverable)
{
	u32 i, config;

	setup();
	for (i = 0; i < 20; i++) {
		config = i & 1 ? ONE_SHOT : ON | DIRECT;
		slot(SINT)->type = HV_MSG_NONE;
		start(i % 3, config, in_ms(2));
		while (guest_irqs[VEC] == i) {
			irqs_halt();
			ends++;
		}
		GUEST_ASSERT_EQ(ends, i + 1);
	}
}

/* --- host ----------------------------------------------------------------- */

/* Run to the end, most of which is asleep. */
static void run_asleep(struct vcpu *v)
{
	struct sleep begin = sleep_begin();

	synic_run_done(v);
	ASSERT(slept(&begin), "%u ends of HLT", ends);
}

static void one_end(void (*entry)(void))
{
	vm = halt_vm(1);
	vcpu_entry(vm->vcpus[0], entry);
	run_asleep(vm->vcpus[0]);
	vm_free(vm);
}

static void blocked(enum obstacle what)
{
	obstacle = what;
	one_end(undeliverable);
}

TEST_KNOWN(masked_sint_does_not_end_hlt, "K28")
{
	blocked(SINT_MASKED);
}

TEST_KNOWN(simp_off_does_not_end_hlt, "K28")
{
	blocked(SIMP_OFF);
}

TEST_KNOWN(simp_outside_memory_does_not_end_hlt, "K28")
{
	blocked(SIMP_NOWHERE);
}

TEST_KNOWN(synic_off_does_not_end_hlt, "K5")
{
	blocked(SYNIC_OFF);
}

TEST_KNOWN(busy_slot_does_not_end_hlt, "K28")
{
	one_end(slot_is_busy);
}

TEST(timer_not_yet_due_does_not_end_hlt)
{
	one_end(far_away);
}

TEST(each_interrupt_ends_one_hlt)
{
	vm = halt_vm(1);
	vcpu_entry(vm->vcpus[0], deliverable);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

static timer_t signals_start(void)
{
	struct itimerspec every = {
		.it_value.tv_nsec = SIGNAL_MS * 1000000L,
		.it_interval.tv_nsec = SIGNAL_MS * 1000000L,
	};
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;

	/* The handler of ktap_case_setup() does nothing. */
	ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	ASSERT_EQ(timer_settime(timer, 0, &every, NULL), 0);
	return timer;
}

/* One KVM_RUN after the other until @nr of them were broken off; how many came back at all. */
static u32 run_broken_off(struct vcpu *v, u32 nr)
{
	timer_t timer = signals_start();
	u32 runs = 0;
	int r;

	while (nr) {
		r = ioctl(v->fd, KVM_RUN, 0);
		runs++;
		ASSERT(r < 0 && (errno == EINTR || errno == EAGAIN), "KVM_RUN: %d, %s", r,
		       strerror(errno));
		nr -= errno == EINTR;
	}
	timer_delete(timer);
	return runs;
}

/* Break KVM_RUN off again and again while the VP is halted; an NMI closes the case. */
static void broken_off(void (*entry)(void))
{
	struct vcpu *v;

	vm = halt_vm(1);
	v = vm->vcpus[0];
	vcpu_entry(v, entry);
	synic_run_sync(v, 1);
	run_broken_off(v, SIGNALS);
	vcpu_ioctl(v, KVM_NMI, NULL);
	synic_run_done(v);
	vm_free(vm);
}

TEST_KNOWN(signals_do_not_end_hlt_with_interrupts_off, "K28")
{
	broken_off(interrupts_off);
}

TEST_KNOWN(signals_do_not_end_hlt_with_the_apic_disabled, "K28")
{
	broken_off(apic_off);
}

/* --- the clock ------------------------------------------------------------ */

#define CHANGES 30

/* Another VP writes the register, or the host sets the clock back, while this one is halted. */
GUEST_CODE(rewrite)
{
	u32 i;

	for (i = 0; i < CHANGES; i++) {
		wrmsr(HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)ref_page | REF_TSC_ENABLE);
		guest_settle(0);
	}
}

static void change_clock(struct vcpu *v)
{
	vcpu_entry(v, rewrite);
	synic_run_done(v);
}

static void move_clock(s64 ms)
{
	struct kvm_clock_data c = { 0 };

	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &c), 0);
	c.flags = 0;
	c.clock += (u64)(ms * 1000000);
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &c), 0);
}

/* Set back, the clock has a timer's alarm come too early. */
static void set_clock_back(struct vcpu *v)
{
	struct timespec t = { .tv_nsec = 1000000 };
	u32 i;

	(void)v;
	for (i = 0; i < CHANGES; i++) {
		move_clock(-10);
		nanosleep(&t, NULL);
	}
}

/* Longer than the changes take on any host: a second timer, far away, has to be looked at, too. */
GUEST_CODE(halted_meanwhile)
{
	setup();
	start(0, ONE_SHOT, ref_now() + FAR);
	start(3, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(CLOSING), in_ms(3000));
	GUEST_SYNC(1);
	while (!guest_irqs[CLOSING]) {
		irqs_halt();
		ends++;
	}
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(ends, 1);
}

static void halted_while(void (*change)(struct vcpu *v))
{
	vm = halt_vm(2);
	/* So that there is time to go back to. */
	move_clock(60000);
	vcpu_entry(vm->vcpus[0], halted_meanwhile);
	synic_run_sync(vm->vcpus[0], 1);
	vcpu_start(vm->vcpus[0]);
	change(vm->vcpus[1]);
	/* On a slow machine the closing timer may not wait for the last of them. */
	ktap_log("%u ends of HLT so far", ends);
	vcpu_join(vm->vcpus[0]);
	vm_free(vm);
}

TEST(written_reference_tsc_does_not_end_hlt)
{
	halted_while(change_clock);
}

/* Whether stock has the VP go on (K28) depends on how busy the host is. */
TEST(clock_set_back_does_not_end_hlt)
{
	if (!module_loaded())
		ktap_skip("stock may end the HLT, or not");
	halted_while(set_clock_back);
}

/* --- before the first SIPI ------------------------------------------------ */

GUEST_CODE(after_sipi)
{
	apic_enable();
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
}

/* A timer that is due already, and a VP that does not run: user space restored both. */
static void waits_in(u32 mp_state)
{
	struct kvm_mp_state state = { .mp_state = mp_state };
	struct sleep begin;
	struct vcpu *v;
	u32 runs;

	vm = halt_vm(2);
	v = vm->vcpus[1];
	vcpu_ioctl(v, KVM_SET_MP_STATE, &state);
	vcpu_set_msr(v, HV_X64_MSR_SINT(SINT), VEC);
	vcpu_set_msr(v, COUNT(0), 1);
	vcpu_set_msr(v, CONFIG(0), ONE_SHOT);
	vcpu_set_msr(v, COUNT(1), REF_MS(PERIOD_MS));
	vcpu_set_msr(v, CONFIG(1), ON | PERIODIC | DIRECT);
	begin = sleep_begin();
	runs = run_broken_off(v, SIGNALS);
	ASSERT_KNOWN(slept(&begin), "%u returns of KVM_RUN", runs);
	ASSERT_KNOWN(runs <= SIGNALS + 2 * HV_SYNIC_STIMERS, "%u returns of KVM_RUN", runs);
	vcpu_entry(v, after_sipi);
	synic_run_done(v);
	vm_free(vm);
}

TEST_KNOWN(vp_that_waits_for_init_sleeps, "K28")
{
	waits_in(KVM_MP_STATE_UNINITIALIZED);
}

TEST_KNOWN(vp_that_waits_for_sipi_sleeps, "K28")
{
	waits_in(KVM_MP_STATE_INIT_RECEIVED);
}

/* --- the dirty ring ------------------------------------------------------- */

static volatile u32 closed;

/* Timers that never find their slot empty, and a VP that nothing can wake. */
GUEST_CODE(busy_slot_and_interrupts_off)
{
	u32 n;

	setup();
	slot(SINT)->type = 1;
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		start(n, ONE_SHOT | PERIODIC, REF_MS(2));
	GUEST_SYNC(1);
	for (;;)
		asm volatile("cli; hlt" : : : "memory");
}

/* Each time the flag is gone, an expiry sets it: one more dirty page. */
GUEST_CODE(take_flag_back)
{
	volatile struct hv_message *message = &synic_messages[0][SINT];

	/* With an exit each time: a host of one CPU has to get on. */
	while (!closed) {
		message->flags = 0;
		ref_now();
	}
}

/*
 * Only user space can empty the ring: a VP that fills it has to come back, halted or not. That
 * ends its HLT, and no other wait: reset, it waits for INIT, asleep.
 */
TEST(dirty_ring_fills)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	struct sleep begin;
	struct vcpu *v;
	u32 runs;

	if (!kvm_check_cap(KVM_CAP_DIRTY_LOG_RING))
		ktap_skip("no KVM_CAP_DIRTY_LOG_RING");
	if (!module_loaded())
		ktap_skip("stock drops an expiry that finds its slot taken, and writes nothing");
	timer_prepare();
	vm = synic_vm_flags(2, VM_DIRTY_RING);
	v = vm->vcpus[0];
	vcpu_entry(v, busy_slot_and_interrupts_off);
	synic_run_sync(v, 1);
	vcpu_entry(vm->vcpus[1], take_flag_back);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_exit(v, KVM_EXIT_DIRTY_RING_FULL);
	closed = 1;
	vcpu_join(vm->vcpus[1]);
	vcpu_ioctl(v, KVM_SET_MP_STATE, &state);
	begin = sleep_begin();
	runs = run_broken_off(v, SIGNALS);
	ASSERT(slept(&begin), "%u returns of KVM_RUN", runs);
	vm_free(vm);
}
