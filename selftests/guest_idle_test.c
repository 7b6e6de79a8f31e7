// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_GUEST_IDLE: a read idles the VP until an interrupt arrives, whether it can be taken or
 * not, and returns 0. Stock KVM has no such register.
 *
 * In most cases VP 1 idles in a thread of its own. The host waits until KVM has put that thread to
 * sleep, and then makes something happen, by VP 0 or by itself.
 *
 * Option: --kicks N, the rounds of no_wake_up_is_lost.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "apicv.h"
#include "ops.h"
#include "random.h"
#include "rows.h"
#include "stimer.h"
#include "tracefs.h"
#include "vmm.h"

#define KNOWN_ID "D61"

#define CPU_TSC_DEADLINE CPUBIT(1u, ECX, 24)
#define FASTPATH	 "/sys/module/kvm_hyperv/parameters/fastpath"

#define LVT_MASKED	  BIT64(16)
#define LVT_PERIODIC	  BIT64(17)
#define LVT_TSC_DEADLINE  BIT64(18)
#define ICR_NMI		  (ICR_ASSERT | 4 << 8)
#define ICR_INIT	  (ICR_ASSERT | 5 << 8)
#define ICR_STARTUP(page) (ICR_ASSERT | 6 << 8 | (page))

#define NMI_VECTOR 2
#define CLOSING	   0x81 /* of the timer that ends what nothing else does */
#define PIN	   20	/* one that the PIC has no part in */
#define SIPI_PAGE  8
#define IDLER	   1   /* the VP that idles, of two */
#define TIMER_MS   5   /* until a timer is due */
#define CLOSE_MS   50  /* until the closing timer is */
#define LONG_MS	   500 /* to measure what is spent meanwhile */
#define ROUNDS	   4
#define READS	   100
#define SIGNALS	   60
#define SIGNAL_MS  3
#define STEPS	   200
#define HOST_MS	   15000 /* the host's patience: less than the watchdog's */
#define NR_KICKS   2000
#define MAX_DELAY  17 /* 2^n loops between two kicks */

/* --- guest ---------------------------------------------------------------- */

enum irqs { IRQS_OFF, IRQS_ON, IRQS_BY_STI /* by the instruction before the read */ };

enum timer {
	LAPIC_ONE_SHOT,
	LAPIC_PERIODIC,
	LAPIC_DEADLINE,
	LAPIC_MASKED,
	STIMER_DIRECT,
	STIMER_MESSAGE,
	STIMER_MASKED
};

/* The address behind the read, and where the last interrupt came. */
static volatile u64 idle_behind, interrupted;
static volatile u32 returned, halting, ends;
static u64 runtime, time_idled;

/* For a guest, by the case. */
static enum irqs irqs;
static enum timer timer;
static u32 expected, tpr, serviced, sent_icr, rounds;
static bool pending_first;

static void on_irq(struct guest_frame *f)
{
	interrupted = f->rip;
	guest_irq_count(f);
}

static void on_nmi(struct guest_frame *f)
{
	interrupted = f->rip;
	guest_irq_count_no_eoi(f);
}

static bool irqs_enabled(void)
{
	u64 flags;

	asm volatile("pushfq; pop %0" : "=r"(flags) : : "memory");
	return flags & BIT64(9);
}

#define READ_IDLE(before)                                                                       \
	asm volatile("xor %%r10d, %%r10d\n"                                                     \
		     "lea 2f(%%rip), %[vector]\n"                                               \
		     "mov %[vector], %[behind]\n" before "1: rdmsr\n"                           \
		     "2: mov %%r10, %[vector]\n" GUEST_EXTABLE("1b", "2b")                      \
		     : "+a"(rax), "+d"(rdx), [vector] "=&r"(vector), [behind] "=m"(idle_behind) \
		     : "c"(HV_X64_MSR_GUEST_IDLE)                                               \
		     : "r10", "cc", "memory")

static void idle_with(enum irqs how)
{
	u64 rax = ~0ULL, rdx = ~0ULL, vector;

	if (how == IRQS_ON)
		irqs_on();
	if (how == IRQS_BY_STI)
		READ_IDLE("sti\n");
	else
		READ_IDLE("");
	GUEST_ASSERT_KNOWN_EQ(vector, 0);
	GUEST_ASSERT_EQ(rax, 0);
	GUEST_ASSERT_EQ(rdx, 0);
	GUEST_ASSERT_EQ(irqs_enabled(), how != IRQS_OFF);
	irqs_off();
}

static void idle(void)
{
	idle_with(IRQS_OFF);
}

static void send_icr(u32 dest, u32 low)
{
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, low);
}

static void send_to_self(u32 vector)
{
	send_icr(this_cpu()->id, (u32)ICR_ASSERT | vector);
}

static void close_in(u32 ms)
{
	start(3, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(CLOSING), in_ms(ms));
}

/* @vector waits, after @taken others of it, and is taken once interrupts are enabled. */
static void expect_waiting(u32 vector, u32 taken)
{
	GUEST_ASSERT(apic_vector(APIC_IRR, vector));
	GUEST_ASSERT_EQ(guest_irqs[vector], taken);
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[vector], taken + 1);
	GUEST_ASSERT(!apic_vector(APIC_IRR, vector));
}

/* Stock faults. Do this before the host runs the guest other than by vcpu_run(), which says so. */
static void idle_with_one_pending(void)
{
	u32 taken = guest_irqs[VEC];

	send_to_self(VEC);
	idle();
	expect_waiting(VEC, taken);
}

/* VP 0. */
GUEST_CODE(sends)
{
	apic_enable();
	send_icr(IDLER, sent_icr);
	guest_settle(SETTLE_MS);
}

GUEST_CODE(idles_until_taken)
{
	setup();
	if (pending_first)
		send_to_self(VEC);
	idle_with(irqs);
	GUEST_ASSERT_EQ(guest_irqs[expected], 1);
	GUEST_ASSERT_EQ(interrupted, idle_behind);
}

GUEST_CODE(idles_in_rounds)
{
	u32 i;

	setup();
	for (i = 0; i < rounds; i++) {
		idle();
		expect_waiting(VEC, i);
		returned = i + 1;
	}
}

GUEST_CODE(sends_by_each_way)
{
	u32 i;

	apic_enable();
	GUEST_SYNC(0);
	for (i = 0; i < OTHER_WAYS; i++) {
		send_interrupt(IDLER, VEC, i);
		GUEST_SYNC(i + 1);
	}
}

/* At the priority of the case; the pin is for the host to raise. */
GUEST_CODE(idles)
{
	u32 taken;

	setup();
	ioapic_write(IOAPIC_HIGH(PIN), this_cpu()->id << 24);
	ioapic_write(IOAPIC_LOW(PIN), VEC);
	if (serviced) {
		send_to_self(serviced);
		irqs_window();
		GUEST_ASSERT(apic_vector(APIC_ISR, serviced));
	}
	taken = guest_irqs[VEC];
	apic_write(APIC_TPR, tpr);
	idle();
	if (serviced || tpr) {
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[VEC], taken);
		/* KVM 6.1 on Intel would not survive a write of the APIC's register here (K18). */
		wrmsr(HV_X64_MSR_TPR, 0);
	}
	if (serviced)
		apic_eoi();
	expect_waiting(VEC, taken);
}

static void start_timer(u32 round)
{
	static const u32 lvt[] = {
		[LAPIC_PERIODIC] = LVT_PERIODIC,
		[LAPIC_DEADLINE] = LVT_TSC_DEADLINE,
		[LAPIC_MASKED] = LVT_MASKED,
	};

	if (timer >= STIMER_DIRECT) {
		if (timer == STIMER_MASKED)
			block(SINT_MASKED);
		start(0, timer == STIMER_DIRECT ? ON | DIRECT : ONE_SHOT, in_ms(TIMER_MS));
		return;
	}
	if (timer == LAPIC_PERIODIC && round)
		return;
	apic_write(APIC_TDCR, APIC_DIVIDE_BY_1);
	apic_write(APIC_LVTT, lvt[timer] | VEC);
	if (timer == LAPIC_DEADLINE)
		wrmsr(MSR_IA32_TSC_DEADLINE,
		      rdtsc() + rdmsr(HV_X64_MSR_TSC_FREQUENCY) / 1000 * TIMER_MS);
	else
		apic_write(APIC_TMICT, TIMER_MS * 1000000); /* KVM counts nanoseconds */
}

GUEST_CODE(idles_for_a_timer)
{
	u32 i, taken;

	setup();
	for (i = 0; i < ROUNDS; i++) {
		start_timer(i);
		taken = guest_irqs[VEC];
		idle();
		if (timer == STIMER_MESSAGE)
			GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_TIMER_EXPIRED);
		slot(SINT)->type = HV_MSG_NONE;
		GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
		GUEST_ASSERT_EQ(guest_irqs[VEC], taken);
		irqs_window();
		/* On a slow host the next period may be over already. */
		GUEST_ASSERT(guest_irqs[VEC] > taken);
	}
	GUEST_ASSERT(timer == LAPIC_PERIODIC || guest_irqs[VEC] == ROUNDS);
}

/* The timer is due before the closing one, and raises no interrupt. */
GUEST_CODE(idles_until_closed)
{
	setup();
	start_timer(0);
	close_in(CLOSE_MS);
	idle();
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
	expect_waiting(CLOSING, 0);
}

/* Something other than an interrupt ends the first one. */
GUEST_CODE(idles_twice)
{
	setup();
	idle();
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
	returned = 1;
	idle();
	expect_waiting(VEC, 0);
}

GUEST_CODE(idles_for_ever)
{
	setup();
	idle_with_one_pending();
	GUEST_SYNC(1);
	for (;;) {
		idle();
		returned++;
	}
}

GUEST_CODE(halts_after_idle)
{
	u32 nmis;

	setup();
	if (pending_first)
		send_to_self(VEC);
	idle_with(irqs);
	nmis = guest_irqs[NMI_VECTOR];
	/* Whatever ended the idle, HIGH waits now that interrupts are off. */
	send_to_self(HIGH);
	halting = 1;
	while (guest_irqs[NMI_VECTOR] == nmis) {
		asm volatile("hlt" : : : "memory");
		ends++;
	}
	GUEST_ASSERT_EQ(ends, 1);
	expect_waiting(HIGH, 0);
}

GUEST_CODE(sends_init_and_sipi)
{
	apic_enable();
	send_icr(IDLER, (u32)ICR_INIT);
	GUEST_SYNC(1);
	send_icr(IDLER, (u32)ICR_STARTUP(SIPI_PAGE));
}

/* Real mode: tell the host GUEST_DONE. */
/* clang-format off */
asm(".pushsection .text\n"
	".code16\n"
	"after_sipi:\n"
	"	mov	$1, %eax\n"
	"	mov	$0x4b48, %dx\n"
	"	out	%eax, %dx\n"
	"	hlt\n"
	"after_sipi_end:\n"
	".code64\n"
	".popsection\n");
/* clang-format on */
extern u8 after_sipi[], after_sipi_end[];

static u64 seed;

/* The next kick comes anywhere between the end of the last round and the sleep of this one. */
GUEST_CODE(kicks_at_random)
{
	u32 i, delay;

	apic_enable();
	for (i = 0; i < rounds; i++) {
		delay = random_below(&seed, 1u << random_below(&seed, MAX_DELAY));
		while (delay--)
			asm volatile("");
		send_interrupt(IDLER, VEC, i % OTHER_WAYS);
		GUEST_ASSERT(guest_wait(&returned, i + 1, WAIT_MS));
	}
}

GUEST_CODE(idles_for_long)
{
	setup();
	time_idled = ref_now();
	runtime = rdmsr(HV_X64_MSR_VP_RUNTIME);
	close_in(LONG_MS);
	idle();
	runtime = rdmsr(HV_X64_MSR_VP_RUNTIME) - runtime;
	time_idled = ref_now() - time_idled;
	expect_waiting(CLOSING, 0);
}

GUEST_CODE(is_stepped)
{
	setup();
	idle_with_one_pending();
	idle_behind = 0;
	GUEST_SYNC(1);
	idle();
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
}

GUEST_CODE(reads_with_one_pending)
{
	u32 i, taken = guest_irqs[VEC];

	setup();
	send_to_self(VEC);
	for (i = 0; i < READS; i++)
		idle();
	expect_waiting(VEC, taken);
}

/* --- host: running -------------------------------------------------------- */

static struct kvm_stat blocking; /* of the VP that runs in the other thread */
static u32 outcome;		 /* what its vcpu_run() returned */

static u64 now_us(clockid_t clock)
{
	struct timespec t;

	ASSERT_EQ(clock_gettime(clock, &t), 0);
	return (u64)t.tv_sec * 1000000 + (u64)t.tv_nsec / 1000;
}

static struct vm *idle_vm(u32 nr)
{
	struct vm *vm = synic_vm(nr);
	u32 i;

	for (i = 0; i < nr; i++) {
		cpuid_assign(&vm->vcpus[i]->cpuid, HV_F_IDLE_AVAILABLE, true);
		vcpu_set_bit(vm->vcpus[i], HV_F_GUEST_IDLE, true);
	}
	/* For hypercalls. */
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	handle(VEC, on_irq);
	handle(HIGH, on_irq);
	handle(CLOSING, on_irq);
	handle(NMI_VECTOR, on_nmi);
	if (serviced)
		handle(serviced, guest_irq_count_no_eoi);
	return vm;
}

/* Run @entry on the one VP of a VM. */
static void run_alone(void (*entry)(void))
{
	struct vm *vm = idle_vm(1);

	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

static void *run_vp(void *arg)
{
	outcome = vcpu_run(arg);
	return NULL;
}

static void resume_idler(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[IDLER];

	blocking = stat_open(v, "blocking");
	ASSERT_EQ(pthread_create(&v->worker, NULL, run_vp, v), 0);
}

static void join_idler(struct vm *vm, u32 how)
{
	struct vcpu *v = vm->vcpus[IDLER];

	vcpu_join(v);
	stat_close(&blocking);
	if (outcome == how)
		return;
	vcpu_dump(v);
	FAIL("the VP ended with 0x%x, expected 0x%x", outcome, how);
}

/* A signal ends KVM_RUN. */
static void stop_idler(struct vm *vm)
{
	vcpu_stop(vm->vcpus[IDLER]);
	join_idler(vm, RUN_STOPPED);
}

static void end_idler(struct vm *vm)
{
	join_idler(vm, GUEST_DONE);
	vm_free(vm);
}

static void wait_asleep(const char *what)
{
	u64 end = now_us(CLOCK_MONOTONIC) + HOST_MS * 1000;

	while (!stat_read(&blocking)) {
		ASSERT(now_us(CLOCK_MONOTONIC) < end, "no sleep %s", what);
		sched_yield();
	}
}

static void wait_for(const volatile u32 *value, u32 at_least, const char *what)
{
	u64 end = now_us(CLOCK_MONOTONIC) + HOST_MS * 1000;

	while (*value < at_least) {
		ASSERT(now_us(CLOCK_MONOTONIC) < end, "%s: %u, not %u", what, *value, at_least);
		sched_yield();
	}
}

/* A VM whose IDLER runs @entry, and sleeps. */
static struct vm *idling_vm(void (*entry)(void))
{
	struct vm *vm = idle_vm(2);

	vcpu_entry(vm->vcpus[IDLER], entry);
	resume_idler(vm);
	wait_asleep("in idle");
	return vm;
}

static u32 mp_state(struct vcpu *v)
{
	struct kvm_mp_state state;

	vcpu_ioctl(v, KVM_GET_MP_STATE, &state);
	return state.mp_state;
}

/* --- host: what ends idle ------------------------------------------------ */

static void send_by_vp_0(struct vm *vm, u64 icr)
{
	sent_icr = (u32)icr;
	vcpu_entry(vm->vcpus[0], sends);
	vcpu_run_done(vm->vcpus[0]);
}

static void by_ipi(struct vm *vm)
{
	send_by_vp_0(vm, ICR_ASSERT | VEC);
}

/* Bochs 2.7 keeps NMIs masked for the next VP: emulator-faults.rst. 3.0 has APICv. */
static void require_nmis(void)
{
	if (!host_is_amd() && !host_has_apicv())
		ktap_skip("no APICv: may be Bochs 2.7, which keeps NMIs masked");
}

static void by_nmi(struct vm *vm)
{
	send_by_vp_0(vm, ICR_NMI);
}

static void by_line(struct vm *vm)
{
	struct kvm_irq_level l = { .irq = PIN, .level = 1 };

	ASSERT(!ioctl(vm->fd, KVM_IRQ_LINE, &l), "KVM_IRQ_LINE: %s", strerror(errno));
	l.level = 0;
	ASSERT(!ioctl(vm->fd, KVM_IRQ_LINE, &l), "KVM_IRQ_LINE: %s", strerror(errno));
}

static void by_irqfd(struct vm *vm)
{
	static const u32 sint = SINT;

	route_sints(vm, IDLER, &sint, 1);
	eventfd_signal(irqfd_new(vm, GSI(0), NULL));
}

static void by_msi(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000u | IDLER << 12, .data = VEC };

	ASSERT(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) > 0, "KVM_SIGNAL_MSI: %s", strerror(errno));
}

static void by_signal(struct vm *vm)
{
	stop_idler(vm);
	resume_idler(vm);
}

/* Run @entry to its end, with @wake once it idles. */
static void woken(void (*entry)(void), void (*wake)(struct vm *vm))
{
	struct vm *vm = idling_vm(entry);

	wake(vm);
	end_idler(vm);
}

static void taken_behind(enum irqs how, u32 vector, void (*wake)(struct vm *vm))
{
	if (vector == NMI_VECTOR)
		require_nmis();
	irqs = how;
	expected = vector;
	woken(idles_until_taken, wake);
}

static void at_priority(u32 of_tpr, u32 in_service)
{
	tpr = of_tpr;
	serviced = in_service;
	woken(idles, by_ipi);
}

static void by_timer(enum timer which, void (*entry)(void))
{
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];

	timer = which;
	if (timer == LAPIC_DEADLINE) {
		if (!kvm_check_cap(KVM_CAP_TSC_DEADLINE_TIMER))
			ktap_skip("no TSC deadline timer");
		vcpu_set_bit(v, CPU_TSC_DEADLINE, true);
	}
	vcpu_entry(v, entry);
	vcpu_run_done(v);
	vm_free(vm);
}

/* A case of one call. */
#define IDLE_TEST(name, call)      \
	TEST_KNOWN(name, KNOWN_ID) \
	{                          \
		call;              \
	}

IDLE_TEST(pending_interrupt_ends_idle_at_once, run_alone(reads_with_one_pending))
IDLE_TEST(enabled_interrupt_is_taken_behind_the_read, taken_behind(IRQS_ON, VEC, by_ipi))
IDLE_TEST(sti_before_the_read, taken_behind(IRQS_BY_STI, VEC, by_ipi))
IDLE_TEST(nmi_ends_idle, taken_behind(IRQS_OFF, NMI_VECTOR, by_nmi))
IDLE_TEST(nmi_ends_idle_with_interrupts_enabled, taken_behind(IRQS_ON, NMI_VECTOR, by_nmi))
IDLE_TEST(interrupt_below_the_tpr_ends_idle, at_priority(0xf0, 0))
IDLE_TEST(interrupt_of_the_tprs_class_ends_idle, at_priority(VEC & 0xf0, 0))
IDLE_TEST(interrupt_below_one_in_service_ends_idle, at_priority(0, HIGH))
IDLE_TEST(interrupt_of_the_vector_in_service_ends_idle, at_priority(0, VEC))
IDLE_TEST(irq_line_ends_idle, woken(idles, by_line))
IDLE_TEST(irqfd_ends_idle, woken(idles, by_irqfd))
IDLE_TEST(msi_ends_idle, woken(idles, by_msi))
IDLE_TEST(one_shot_lapic_timer_ends_idle, by_timer(LAPIC_ONE_SHOT, idles_for_a_timer))
IDLE_TEST(periodic_lapic_timer_ends_idle, by_timer(LAPIC_PERIODIC, idles_for_a_timer))
IDLE_TEST(tsc_deadline_ends_idle, by_timer(LAPIC_DEADLINE, idles_for_a_timer))
IDLE_TEST(direct_synthetic_timer_ends_idle, by_timer(STIMER_DIRECT, idles_for_a_timer))
IDLE_TEST(message_of_a_synthetic_timer_ends_idle, by_timer(STIMER_MESSAGE, idles_for_a_timer))
IDLE_TEST(masked_lapic_timer_does_not_end_idle, by_timer(LAPIC_MASKED, idles_until_closed))
IDLE_TEST(masked_sint_does_not_end_idle, by_timer(STIMER_MASKED, idles_until_closed))

TEST_KNOWN(sti_before_the_read_with_one_pending, KNOWN_ID)
{
	pending_first = true;
	irqs = IRQS_BY_STI;
	expected = VEC;
	run_alone(idles_until_taken);
}

TEST_KNOWN(ipi_of_each_kind_ends_idle, KNOWN_ID)
{
	struct vm *vm;
	u32 i;

	rounds = OTHER_WAYS;
	vm = idling_vm(idles_in_rounds);
	vcpu_entry(vm->vcpus[0], sends_by_each_way);
	vcpu_run_sync(vm->vcpus[0], 0);
	for (i = 0; i < OTHER_WAYS; i++) {
		wait_asleep("in idle");
		ASSERT_EQ(returned, i);
		vcpu_run_sync(vm->vcpus[0], i + 1);
		wait_for(&returned, i + 1, "idles that have ended");
	}
	end_idler(vm);
}

/* --- host: INIT, signals -------------------------------------------------- */

static void init_and_sipi(bool look_between)
{
	struct vm *vm = idling_vm(idles);

	vm_add_low(vm);
	memcpy(vm->low + SIPI_PAGE * PAGE_SIZE, after_sipi, (size_t)(after_sipi_end - after_sipi));
	vcpu_entry(vm->vcpus[0], sends_init_and_sipi);
	vcpu_run_sync(vm->vcpus[0], 1);
	if (look_between) {
		stop_idler(vm);
		ASSERT_EQ(mp_state(vm->vcpus[IDLER]), KVM_MP_STATE_INIT_RECEIVED);
		resume_idler(vm);
		wait_asleep("before SIPI");
	}
	vcpu_run_done(vm->vcpus[0]);
	end_idler(vm);
}

IDLE_TEST(init_and_sipi_restart_an_idle_vp, init_and_sipi(false))
IDLE_TEST(init_has_an_idle_vp_wait_for_sipi, init_and_sipi(true))

/* The idle is over: user space must not see a VP that is halted with interrupts off. */
static void expect_over(struct vcpu *v)
{
	struct kvm_regs r;

	ASSERT_EQ(mp_state(v), KVM_MP_STATE_RUNNABLE);
	vcpu_ioctl(v, KVM_GET_REGS, &r);
	ASSERT_EQ(r.rip, idle_behind);
	ASSERT_EQ(r.rax, 0);
	ASSERT_EQ(r.rdx, 0);
	ASSERT_EQ(r.rflags & BIT64(9), 0);
}

/* Go on behind the first idle, without an interrupt; the second one is as ever. */
static void go_on(struct vm *vm)
{
	resume_idler(vm);
	wait_for(&returned, 1, "the VP that was stopped in idle does not go on");
	wait_asleep("in idle");
	by_ipi(vm);
	end_idler(vm);
}

TEST_KNOWN(signal_ends_idle, KNOWN_ID)
{
	struct vm *vm = idling_vm(idles_twice);

	stop_idler(vm);
	expect_over(vm->vcpus[IDLER]);
	go_on(vm);
}

TEST_KNOWN(idle_ends_in_another_vm, KNOWN_ID)
{
	static struct vm_state saved;
	struct vm *vm = idling_vm(idles_twice);

	stop_idler(vm);
	vmm_save(vm, &saved);
	vm_free(vm);
	vm = idle_vm(2);
	vmm_restore(vm, &saved, QEMU);
	expect_over(vm->vcpus[IDLER]);
	go_on(vm);
}

/* Signals that come anywhere around the read. */
TEST_KNOWN(signals_around_the_read, KNOWN_ID)
{
	struct itimerspec every = {
		.it_value.tv_nsec = SIGNAL_MS * 1000000L,
		.it_interval.tv_nsec = SIGNAL_MS * 1000000L,
	};
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];
	timer_t signals;
	u32 i;
	int r;

	vcpu_entry(v, idles_for_ever);
	vcpu_run_sync(v, 1);
	/* The handler of ktap_case_setup() does nothing. */
	ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &signals), 0);
	ASSERT_EQ(timer_settime(signals, 0, &every, NULL), 0);
	for (i = 0; i < SIGNALS; i++) {
		r = ioctl(v->fd, KVM_RUN, 0);
		ASSERT(r < 0 && (errno == EINTR || errno == EAGAIN), "KVM_RUN: %d, %s", r,
		       strerror(errno));
		ASSERT_EQ(mp_state(v), KVM_MP_STATE_RUNNABLE);
	}
	timer_delete(signals);
	ktap_log("%u signals, %u idles ended", i, returned);
	ASSERT(returned >= SIGNALS / 2, "%u idles have ended by %u signals", returned, SIGNALS);
	vm_free(vm);
}

/* --- host: HLT afterwards ------------------------------------------------- */

static void stays_halted(enum irqs how, void (*wake)(struct vm *vm))
{
	struct vm *vm;

	require_nmis();
	irqs = how;
	pending_first = !wake;
	/* With one pending this is the sleep in HLT already. */
	vm = idling_vm(halts_after_idle);
	if (wake)
		wake(vm);
	wait_for(&halting, 1, "the VP does not come to its HLT");
	wait_asleep("in HLT");
	by_ipi(vm);
	wait_asleep("in HLT, after an interrupt");
	by_nmi(vm);
	end_idler(vm);
}

IDLE_TEST(hlt_after_a_masked_interrupt_stays_halted, stays_halted(IRQS_OFF, by_ipi))
IDLE_TEST(hlt_after_one_that_was_pending_stays_halted, stays_halted(IRQS_OFF, NULL))
IDLE_TEST(hlt_after_an_enabled_interrupt_stays_halted, stays_halted(IRQS_ON, by_ipi))
IDLE_TEST(hlt_after_an_nmi_stays_halted, stays_halted(IRQS_OFF, by_nmi))
IDLE_TEST(hlt_after_a_signal_stays_halted, stays_halted(IRQS_OFF, by_signal))

/* --- host: privilege, user space ------------------------------------------ */

static void set_bits(struct vcpu *v, bool privilege, bool availability)
{
	cpuid_assign(&v->cpuid, HV_F_GUEST_IDLE, privilege);
	vcpu_set_bit(v, HV_F_IDLE_AVAILABLE, availability);
}

static void expect_no_register(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);

	ASSERT_EQ(vcpu_op(v, p, OP_RD(HV_X64_MSR_GUEST_IDLE)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_GUEST_IDLE, 0)).vector, GP_VECTOR);
	vm_free(vm);
}

static void faults_with(u32 flags, bool privilege, bool availability)
{
	struct vm *vm;
	u32 enforce;

	for (enforce = 0; enforce < 2; enforce++) {
		vm = vm_create(1, flags | (enforce ? VM_ENFORCE : 0));
		set_bits(vm->vcpus[0], privilege, availability);
		expect_no_register(vm);
	}
}

TEST(read_faults_without_the_privilege)
{
	faults_with(0, false, false);
}

TEST(read_faults_with_the_availability_alone)
{
	faults_with(0, false, true);
}

TEST(read_faults_without_an_in_kernel_apic)
{
	faults_with(VM_NO_IRQCHIP, true, true);
}

TEST(read_faults_without_hyperv)
{
	struct vm *vm = vm_create(1, 0);

	set_bits(vm->vcpus[0], true, true);
	cpuid_get(&vm->vcpus[0]->cpuid, HV_LEAF_INTERFACE)->eax = 0;
	vcpu_set_cpuid(vm->vcpus[0]);
	expect_no_register(vm);
	expect_no_register(vm_create(1, VM_NO_HV));
}

/* Run an access of a guest that is not shown the register, where user space asked for @reason. */
static u32 hidden_access(struct guest_op op, u32 reason)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 cmd;

	set_bits(v, false, false);
	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, reason), 0);
	p->ops[0] = op;
	p->nr = 1;
	cmd = vcpu_run(v);
	if (cmd == RUN_EXIT(KVM_EXIT_X86_RDMSR) || cmd == RUN_EXIT(KVM_EXIT_X86_WRMSR)) {
		ASSERT_EQ(v->run->msr.reason, reason);
		ASSERT_EQ(v->run->msr.index, HV_X64_MSR_GUEST_IDLE);
	} else {
		ASSERT_EQ(p->ops[0].vector, GP_VECTOR);
	}
	vm_free(vm);
	return cmd;
}

/* To KVM it is an MSR that does not exist then, not one whose access is wrong. */
TEST(hidden_register_is_unknown)
{
	ASSERT_EQ(hidden_access(OP_RD(HV_X64_MSR_GUEST_IDLE), KVM_MSR_EXIT_REASON_UNKNOWN),
		  RUN_EXIT(KVM_EXIT_X86_RDMSR));
	ASSERT_EQ(hidden_access(OP_WR(HV_X64_MSR_GUEST_IDLE, 0), KVM_MSR_EXIT_REASON_UNKNOWN),
		  RUN_EXIT(KVM_EXIT_X86_WRMSR));
	ASSERT_EQ(hidden_access(OP_RD(HV_X64_MSR_GUEST_IDLE), KVM_MSR_EXIT_REASON_INVAL),
		  GUEST_SYNC_CMD);
	ASSERT_EQ(hidden_access(OP_WR(HV_X64_MSR_GUEST_IDLE, 0), KVM_MSR_EXIT_REASON_INVAL),
		  GUEST_SYNC_CMD);
}

TEST(write_faults)
{
	static const u64 values[] = { 0, 1, BIT64(32), ~0ULL };
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(values); i++)
		ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_GUEST_IDLE, values[i])).vector, GP_VECTOR);
	vm_free(vm);
}

static void granted(bool enforce)
{
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];

	set_bits(v, true, false);
	vcpu_enforce_cpuid(v, enforce);
	vcpu_entry(v, reads_with_one_pending);
	vcpu_run_done(v);
	vm_free(vm);
}

IDLE_TEST(privilege_alone_is_enough, granted(false))
IDLE_TEST(privilege_alone_is_enough_when_enforced, granted(true))

TEST_KNOWN(offered_beside_an_in_kernel_apic, KNOWN_ID)
{
	struct vm *vm = vm_create(1, 0);
	struct cpuid_table t;
	u32 i;

	for (i = 0; i < 2; i++) {
		cpuid_hv(i ? vm->vcpus[0] : NULL, &t);
		ASSERT_KNOWN(cpuid_test(&t, HV_F_GUEST_IDLE), "3.EAX.10");
		ASSERT(cpuid_test(&t, HV_F_IDLE_AVAILABLE), "3.EDX.5");
	}
	vm_free(vm);
}

TEST(not_offered_without_an_in_kernel_apic)
{
	struct vm *vm = vm_create(1, VM_NO_IRQCHIP);
	struct cpuid_table t;

	cpuid_hv(vm->vcpus[0], &t);
	ASSERT(!cpuid_test(&t, HV_F_GUEST_IDLE), "3.EAX.10");
	ASSERT(!cpuid_test(&t, HV_F_IDLE_AVAILABLE), "3.EDX.5");
	vm_free(vm);
}

static void expect_zero(struct vcpu *v)
{
	u64 val = ~0ULL;
	int r = __vcpu_get_msr(v, HV_X64_MSR_GUEST_IDLE, &val);

	ASSERT_KNOWN(r == 1, "KVM_GET_MSRS: %d", r);
	ASSERT_EQ(val, 0);
	ASSERT_EQ(mp_state(v), KVM_MP_STATE_RUNNABLE);
}

TEST_KNOWN(user_space_reads_0_and_does_not_idle_the_vp, KNOWN_ID)
{
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u64 val;

	expect_zero(v);
	for (val = 0; val < 2; val++) {
		/* Read-only, and not among those that a VMM saves. */
		ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_GUEST_IDLE, val), 0);
		expect_zero(v);
	}
	vcpu_entry(v, reads_with_one_pending);
	vcpu_run_done(v);
	expect_zero(v);
	vm_free(vm);
}

/* --- host: races, time, single step, the fast path ------------------------ */

static u32 kicks_option;

static void kick_often(bool poll)
{
	struct vm *vm;

	/* Both VPs on one CPU: the races are few, and a round may take a tick. */
	rounds = sysconf(_SC_NPROCESSORS_ONLN) < 2 ? NR_KICKS / 10 : NR_KICKS;
	if (kicks_option)
		rounds = kicks_option;
	ktap_timeout(120 + rounds / 100);
	vm = idling_vm(idles_in_rounds);
	if (!poll)
		ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_HALT_POLL, 0), 0);
	vcpu_entry(vm->vcpus[0], kicks_at_random);
	vcpu_run_done(vm->vcpus[0]);
	end_idler(vm);
	ktap_log("%u kicks", rounds);
}

TEST_KNOWN(no_wake_up_is_lost, KNOWN_ID)
{
	kick_often(true);
}

/* KVM polls before it sleeps, and may find there what would not wake it up. */
TEST_KNOWN(no_wake_up_is_lost_without_polling, KNOWN_ID)
{
	kick_often(false);
}

TEST_KNOWN(thread_sleeps_in_idle, KNOWN_ID)
{
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u64 cpu, wall;

	vcpu_entry(v, idles_for_long);
	cpu = now_us(CLOCK_THREAD_CPUTIME_ID);
	wall = now_us(CLOCK_MONOTONIC);
	vcpu_run_done(v);
	cpu = now_us(CLOCK_THREAD_CPUTIME_ID) - cpu;
	wall = now_us(CLOCK_MONOTONIC) - wall;
	ktap_log("%llu of %llu us of CPU time", (unsigned long long)cpu, (unsigned long long)wall);
	/* A busy machine takes time from the CPU of an emulated host, too. */
	ASSERT(cpu < wall / 2, "the thread does not sleep");
	vm_free(vm);
}

TEST_KNOWN(runtime_stands_still_in_idle, KNOWN_ID)
{
	run_alone(idles_for_long);
	ktap_log("runtime %llu of %llu", (unsigned long long)runtime,
		 (unsigned long long)time_idled);
	ASSERT(runtime < time_idled / 2, "the register goes on");
}

TEST_KNOWN(single_step_stops_behind_the_read, KNOWN_ID)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = idle_vm(1);
	struct vcpu *v = vm->vcpus[0];
	bool behind = false;
	u32 i;

	vcpu_entry(v, is_stepped);
	vcpu_run_sync(v, 1);
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < STEPS && !behind; i++) {
		vcpu_run_exit(v, KVM_EXIT_DEBUG);
		behind = idle_behind && v->run->debug.arch.pc == idle_behind;
	}
	ASSERT(behind, "%u steps, and no stop behind the read", i);
	expect_over(v);
	/* Bochs 2.7 keeps the trap of an instruction that KVM skips for later. */
	vcpu_run_exit(v, KVM_EXIT_DEBUG);
	debug.control = 0;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	vcpu_run_done(v);
	vm_free(vm);
}

static void read_often(bool fast)
{
	struct row_counts before = row_counts(HV_X64_MSR_GUEST_IDLE), now;
	u64 in_fast_path;

	run_alone(reads_with_one_pending);
	now = row_counts(HV_X64_MSR_GUEST_IDLE);
	in_fast_path = now.fast_reads - before.fast_reads;
	ktap_log("%llu of %u reads fast", (unsigned long long)in_fast_path, READS);
	ASSERT_EQ(now.reads - before.reads, READS);
	ASSERT(fast || !in_fast_path, "the fast path is off");
	if (fast && row_is_atomic(HV_X64_MSR_GUEST_IDLE, false))
		ASSERT(in_fast_path >= READS / 2, "not in the fast path");
}

TEST_KNOWN(many_reads_with_one_pending, KNOWN_ID)
{
	read_often(true);
	/* Stock, which has no fast path, does not come here. */
	file_must_write(FASTPATH, "0");
	read_often(false);
	file_must_write(FASTPATH, "1");
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--kicks"))
			kicks_option = (u32)strtoul(argv[i + 1], NULL, 10);
	return ktap_main(argc, argv);
}
