// SPDX-License-Identifier: GPL-2.0-only
/*
 * The most that one exit of a guest can cost the host, row by row: the largest sets of VPs, the
 * longest lists, messages to full slots, threads to wake up, many connections. In host instructions
 * (guest/cost.h), each below a limit of its own; Documentation/threat-model.rst has the table.
 *
 * A row of the exit fast path runs with interrupts off: its cost, with the world switch in it, is a
 * bound of that time. What a slow row does without interrupts, without preemption or under a
 * spinlock is a part of its cost.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bounds.h"
#include "cost.h"
#include "late.h"
#include "module.h"
#include "rows.h"
#include "synic.h"

#define SAMPLES	    15
#define FAST_VPS    192 /* that the fast path may walk */
#define SLEEPERS    64	/* that it may wake up */
#define LIST_MAX    ((PAGE_SIZE - 32) / 8)
#define FLUSH_PAGES 512 /* by address, more are a flush of all */
#define FAST_PAGES  64	/* by address in the fast path */

enum path { FAST, SLOW };

static u64 call_control, call_in, call_out;
static u8 *pages[2];
static volatile bool sleepers_end;

static u32 nothing, failures;

/* --- what is measured, by the guest ---------------------------------------------- */

static void measure_call(void)
{
	GUEST_ASSERT_EQ((u32)hypercall(call_control, call_in, call_out) & 0xffff, 0);
	COST_MEASURE(SAMPLES, hypercall(call_control, call_in, call_out));
}

static void measure_call_once(void)
{
	COST_MEASURE(1, hypercall(call_control, call_in, call_out));
}

/* Refused: there is no such call, or register. */
static void measure_no_call(void)
{
	COST_MEASURE(SAMPLES, hypercall(0x7f | HV_CTL_FAST, 0, 0));
}

static void measure_no_register(void)
{
	u64 val;

	COST_MEASURE(SAMPLES, __rdmsr(0x40000004, &val));
}

/* The overlay goes from one page to another, with what lies below. */
static void measure_hypercall_page(void)
{
	u32 page = 0;

	COST_MEASURE(SAMPLES, wrmsr(HV_X64_MSR_HYPERCALL,
				    (u64)(uintptr_t)pages[page ^= 1] | HV_HYPERCALL_ENABLE));
	wrmsr(HV_X64_MSR_HYPERCALL, 0);
}

static void measure_reference_tsc(void)
{
	u32 page = 0;

	COST_MEASURE(SAMPLES,
		     wrmsr(HV_X64_MSR_REFERENCE_TSC, (u64)(uintptr_t)pages[page ^= 1] | 1));
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
}

static void measure_assist_page(void)
{
	u32 page = 0;

	COST_MEASURE(SAMPLES,
		     wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, (u64)(uintptr_t)pages[page ^= 1] | 1));
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
}

/* AutoEOI of any VP switches APICv off for the VM. */
static void measure_auto_eoi(void)
{
	u64 vector = VECTOR;

	COST_MEASURE(SAMPLES, wrmsr(HV_X64_MSR_SINT(2), vector ^= HV_SINT_AUTO_EOI));
	wrmsr(HV_X64_MSR_SINT(2), HV_SINT_MASKED);
}

static void measure_eom(void)
{
	COST_MEASURE(SAMPLES, wrmsr(HV_X64_MSR_EOM, 0));
}

/* As long as a call to many VPs. */
static void measure_many_eoms(void)
{
	u32 i;

	for (i = 0; i < 5000; i++)
		wrmsr(HV_X64_MSR_EOM, 0);
}

static void measure_full_slots(void)
{
	u32 n;

	fill_slots();
	measure_eom();
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		wrmsr(HV_X64_MSR_STIMER_CONFIG(n), 0);
	empty_slots(FULL_SLOT);
}

/* All four are signalled in one exit: their messages find their slots empty. */
static void measure_four_messages(void)
{
	u32 i;

	for (i = 0; i < SAMPLES; i++) {
		u64 t;

		fill_slots();
		empty_slots(FULL_SLOT);
		t = rdtsc();
		wrmsr(HV_X64_MSR_EOM, 0);
		cost_deltas[i] = (u32)(rdtsc() - t);
		empty_slots(HV_MSG_TIMER_EXPIRED);
	}
}

/* A period of 100 ns: the host's timer is armed for the least that it takes. */
static void measure_start_of_a_storm(void)
{
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), 1);
	COST_MEASURE(SAMPLES, wrmsr(HV_X64_MSR_STIMER_CONFIG(0),
				    HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_DIRECT |
					    HV_STIMER_VECTOR(VECTOR)));
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0), 0);
}

static u32 woken;

/* Vcpus take it while others are in the middle of theirs. */
static void on_wake_up(struct guest_frame *f)
{
	(void)f;
	__sync_fetch_and_add(&woken, 1);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(sleeper)
{
	apic_enable();
	while (!sleepers_end)
		irqs_halt();
}

/* --- by the host ------------------------------------------------------------------- */

static u64 answered_fast(u32 number)
{
	struct row_counts c = row_counts(number);

	return c.fast_reads + c.fast_writes;
}

/* On stock the numbers are told only. */
static void judge(const char *name, const char *kind, u32 cost, u32 limit, const char *why)
{
	if (!why && cost > limit)
		why = "ABOVE ITS LIMIT";
	if (!module_loaded())
		why = NULL;
	ktap_log("BOUND %-36s %s %8u of %8u  %s", name, kind, cost, limit, why ?: "");
	failures += !!why;
}

/* A row's exit: @number is that of its register or call, or 0 if it has no row. */
static void check(struct vm *vm, const char *name, u32 number, enum path path, u32 limit,
		  void (*what)(void))
{
	u64 fast = number ? answered_fast(number) : 0;
	const char *why = NULL;

	cost_row = what;
	synic_run_sync(vm->vcpus[0], 1);
	if (number)
		fast = answered_fast(number) - fast;
	if (path == FAST && fast < SAMPLES)
		why = "NOT ANSWERED IN THE FAST PATH";
	else if (path == SLOW && fast >= SAMPLES)
		why = "ANSWERED IN THE FAST PATH";
	judge(name, path == FAST ? "fast" : "slow", cost_median(SAMPLES) - nothing, limit, why);
}

static void check_call(struct vm *vm, const char *name, enum path path, u32 limit, u64 control,
		       const void *in)
{
	call_control = control;
	call_in = gpa(in);
	call_out = 0;
	check(vm, name, control & 0xffff, path, limit, measure_call);
}

static void calibrate(struct vm *vm)
{
	vcpu_entry(vm->vcpus[0], cost_measurer);
	cost_row = cost_measure_nothing;
	synic_run_sync(vm->vcpus[0], 1);
	nothing = cost_check();
	failures = 0;
}

/* --- how long an interrupt and another thread wait ------------------------------------ */

#define LATE_SAMPLES 400

struct repeated {
	struct vm *vm;
	void (*what)(struct vm *vm);
};

static void repeat(void *arg)
{
	struct repeated *r = arg;

	r->what(r->vm);
}

static void check_late_during(struct vm *vm, const char *name, u32 irqs, u32 thread,
			      void (*what)(struct vm *vm))
{
	struct repeated r = { vm, what };
	struct late late = late_during(LATE_SAMPLES, repeat, &r);

	judge(name, "irqs", late.irqs, irqs, NULL);
	judge(name, "late", late.thread, thread, NULL);
}

static void run_row(struct vm *vm)
{
	synic_run_sync(vm->vcpus[0], 1);
}

/* What was measured before, again. */
static void check_late(struct vm *vm, const char *name, u32 irqs, u32 thread, void (*what)(void))
{
	cost_row = what;
	check_late_during(vm, name, irqs, thread, run_row);
}

/* --- registers, and calls of one VP -------------------------------------------------- */

TEST(one_vp)
{
	u64 *signal, *self;
	struct vm *vm;

	vm = synic_vm(1);
	pages[0] = vm_alloc(vm, PAGE_SIZE);
	pages[1] = vm_alloc(vm, PAGE_SIZE);
	calibrate(vm);

	check(vm, "no such register", 0, SLOW, 6000, measure_no_register);
	check(vm, "no such call", 0, SLOW, 6000, measure_no_call);
	check(vm, "HYPERCALL, moved", HV_X64_MSR_HYPERCALL, SLOW, 60000, measure_hypercall_page);
	check(vm, "REFERENCE_TSC, moved", HV_X64_MSR_REFERENCE_TSC, SLOW, 20000,
	      measure_reference_tsc);
	check(vm, "VP_ASSIST_PAGE", HV_X64_MSR_VP_ASSIST_PAGE, SLOW, 20000, measure_assist_page);
	check(vm, "SINT, AutoEOI on and off, 1 VP", HV_X64_MSR_SINT0, SLOW, 40000,
	      measure_auto_eoi);
	check(vm, "EOM, nothing waits", HV_X64_MSR_EOM, FAST, 3000, measure_eom);
	check(vm, "EOM, four full slots", HV_X64_MSR_EOM, FAST, 20000, measure_full_slots);
	check(vm, "EOM, four messages", HV_X64_MSR_EOM, FAST, 20000, measure_four_messages);
	check(vm, "STIMER_CONFIG, period 1", HV_X64_MSR_STIMER0_CONFIG, FAST, 8000,
	      measure_start_of_a_storm);

	add_connections(vm);
	signal = vm_alloc(vm, PAGE_SIZE);
	signal[0] = CONN_LAST;
	check_call(vm, "SignalEvent, 4096 connections", FAST, 4000, HVCALL_SIGNAL_EVENT, signal);
	/* On AMD any list is a flush of all. */
	check_call(vm, "FlushListEx, self, 64 pages", FAST, 16000,
		   HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(16),
		   flush_input(vm, 1, 16, FAST_PAGES / 16 - 1));
	check_call(vm, "FlushListEx, self, 512 pages", host_is_amd() ? FAST : SLOW, 60000,
		   HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(16),
		   flush_input(vm, 1, 16, FLUSH_PAGES / 16 - 1));
	self = flush_input(vm, 1, LIST_MAX - 1, 0xfff);
	check_call(vm, "FlushListEx, self, longest list", FAST, 16000,
		   HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(LIST_MAX - 1), self);
	vm_free(vm);
	ASSERT(!failures, "%u rows", failures);
}

/* --- many VPs ------------------------------------------------------------------------ */

/* A timer in each, which is due in this century's last years. */
static void start_timers(u32 from, u32 to)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = { .head.nmsrs = 2,
		   .entries = { { .index = HV_X64_MSR_STIMER_COUNT(0), .data = ~0ULL >> 2 },
				{ .index = HV_X64_MSR_STIMER_CONFIG(0),
				  .data = HV_STIMER_ENABLE | HV_STIMER_DIRECT |
					  HV_STIMER_VECTOR(VECTOR) } } };
	struct kvm_enable_cap synic = { .cap = KVM_CAP_HYPERV_SYNIC2 };
	u32 i;

	for (i = from; i < to; i++) {
		ASSERT(!ioctl(idle[i], KVM_ENABLE_CAP, &synic), "SynIC: %s", strerror(errno));
		ASSERT_EQ(ioctl(idle[i], KVM_SET_MSRS, &msrs), 2);
	}
}

static void set_clock(struct vm *vm)
{
	struct kvm_clock_data clock = { .clock = 1000000000000 };

	ASSERT(!ioctl(vm->fd, KVM_SET_CLOCK, &clock), "KVM_SET_CLOCK: %s", strerror(errno));
}

static void set_routes(struct vm *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[1];
	} routes = { .head.nr = 1,
		     .entries = { { .gsi = 1,
				    .type = KVM_IRQ_ROUTING_HV_SINT,
				    .u.hv_sint = { .vcpu = WIDE - 1, .sint = 3 } } } };

	ASSERT(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routes), "routes: %s", strerror(errno));
}

/* Two VPs of one index: from now on every vCPU is asked whether it is a target. */
static void share_index(struct vm *vm)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} msr = { .head.nmsrs = 1, .entries = { { HV_X64_MSR_VP_INDEX, 0, WIDE - 2 } } };

	(void)vm;
	ASSERT_EQ(ioctl(idle[WIDE - 1], KVM_SET_MSRS, &msr), 1);
}

/* As many VPs as the fast path takes, and sets of as many that are not there. */
TEST(few_vps)
{
	struct vm *vm = synic_vm(1);

	add_idle(vm, FAST_VPS);
	calibrate(vm);
	check_call(vm, "SendIpiEx, 192 VPs", FAST, 80000, HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(3),
		   ipi_input(vm, 7));
	check_call(vm, "SendIpiEx, 192 VPs that are not", FAST, 20000,
		   HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(3), ipi_input(vm, 7ULL << 61));
	check_call(vm, "FlushSpaceEx, 192 VPs", FAST, 80000,
		   HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(3), flush_input(vm, 7, 0, 0));
	check_call(vm, "FlushListEx, 192 VPs, 16 ranges", FAST, 80000,
		   HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(3) | HV_CTL_REP(16),
		   flush_input(vm, 7, 16, 0));
	/* With more VPs APICv is off for their ids. */
	check(vm, "SINT, AutoEOI on and off, 192 VPs", HV_X64_MSR_SINT0, SLOW, 150000,
	      measure_auto_eoi);
	free_wide(vm, FAST_VPS);
	ASSERT(!failures, "%u rows", failures);
}

TEST(many_vps)
{
	struct vm *vm = synic_vm(1);
	u64 *all, *gpa_flush;

	ktap_timeout(200);
	pages[0] = vm_alloc(vm, PAGE_SIZE);
	pages[1] = vm_alloc(vm, PAGE_SIZE);
	add_idle(vm, WIDE);
	calibrate(vm);
	all = ipi_input(vm, 0);
	all[1] = 1;
	gpa_flush = vm_alloc(vm, PAGE_SIZE);
	/* Of 4096 VPs most are not there. */
	check_call(vm, "SendIpiEx, 4096 VPs", SLOW, 450000, HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(64),
		   ipi_input(vm, ALL_BANKS));
	check_late(vm, "SendIpiEx, 4096 VPs", 6000, 120000, measure_call);
	check_call(vm, "SendIpiEx, all", SLOW, 450000, HVCALL_SEND_IPI_EX, all);
	check_late(vm, "SendIpiEx, all", 6000, 20000, measure_call);
	check_call(vm, "FlushSpaceEx, 4096 VPs", SLOW, 400000,
		   HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(64), flush_input(vm, ALL_BANKS, 0, 0));
	check_late(vm, "FlushSpaceEx, 4096 VPs", 6000, 120000, measure_call);
	check_call(vm, "FlushListEx, 4096 VPs, 16 ranges", SLOW, 400000,
		   HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(64) | HV_CTL_REP(16),
		   flush_input(vm, ALL_BANKS, 16, 0));
	check_late(vm, "FlushListEx, 4096 VPs, 16 ranges", 6000, 120000, measure_call);
	check(vm, "REFERENCE_TSC, 1024 VPs", HV_X64_MSR_REFERENCE_TSC, SLOW, 1300000,
	      measure_reference_tsc);
	/* All of it is KVM's new master clock. */
	check_late(vm, "REFERENCE_TSC, 1024 VPs", 6000, 900000, measure_reference_tsc);
	check_late(vm, "EOM", 6000, 20000, measure_many_eoms);
	/* Stock does not know the call. */
	if (module_loaded()) {
		check_call(vm, "FlushGpaSpace, 1024 VPs", SLOW, 450000, HVCALL_FLUSH_GPA_SPACE,
			   gpa_flush);
		check_late(vm, "FlushGpaSpace, 1024 VPs", 6000, 60000, measure_call);
	}
	check_late_during(vm, "KVM_SET_GSI_ROUTING, 1024 VPs", 6000, 60000, set_routes);
	start_timers(vm->nr_vcpus, WIDE);
	/* Most of it is KVM's new clock, too. */
	check_late_during(vm, "KVM_SET_CLOCK, 1024 timers", 6000, 720000, set_clock);
	share_index(vm);
	check_call(vm, "FlushSpaceEx, VPs that are not, asked", SLOW, 400000,
		   HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1), flush_input(vm, 1ULL << 63, 0, 0));
	check_late(vm, "FlushSpaceEx, VPs that are not, asked", 6000, 60000, measure_call);
	free_wide(vm, WIDE);
	ASSERT(!failures, "%u rows", failures);
}

/* --- threads to wake up ------------------------------------------------------------ */

/* Threads that an interrupt wakes up must not run before the guest has measured it. */
static void be_urgent(bool on)
{
	struct sched_param param = { .sched_priority = on ? 1 : 0 };

	ASSERT(!sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &param), "scheduler: %s",
	       strerror(errno));
}

TEST(sleeping_vps)
{
	struct vm *vm = vm_create(1 + SLEEPERS, 0);
	struct kvm_stat blocking[1 + SLEEPERS];
	u32 cost[SAMPLES], i, n;
	u64 fast;

	ktap_timeout(120);
	guest_irq_handlers[VECTOR] = on_wake_up;
	add_idle(vm, FAST_VPS);
	calibrate(vm);
	for (i = 1; i <= SLEEPERS; i++) {
		vcpu_entry(vm->vcpus[i], sleeper);
		blocking[i] = stat_open(vm->vcpus[i], "blocking");
		vcpu_start(vm->vcpus[i]);
	}
	call_control = HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(3);
	call_in = gpa(ipi_input(vm, 7));
	fast = answered_fast(HVCALL_SEND_IPI_EX);
	cost_row = measure_call_once;
	for (n = 0; n < SAMPLES; n++) {
		while (__sync_fetch_and_add(&woken, 0) < n * SLEEPERS)
			sched_yield();
		for (i = 1; i <= SLEEPERS; i++)
			wait_halted(&blocking[i]);
		be_urgent(true);
		vcpu_run_sync(vm->vcpus[0], 1);
		be_urgent(false);
		cost[n] = cost_deltas[0];
	}
	fast = answered_fast(HVCALL_SEND_IPI_EX) - fast;
	memcpy(cost_deltas, cost, sizeof(cost));
	judge("SendIpiEx, 192 VPs, 64 asleep", "fast", cost_median(SAMPLES) - nothing, 250000,
	      fast < SAMPLES ? "NOT ANSWERED IN THE FAST PATH" : NULL);

	while (__sync_fetch_and_add(&woken, 0) < n * SLEEPERS)
		sched_yield();
	sleepers_end = true;
	vcpu_run_sync(vm->vcpus[0], 1);
	for (i = 1; i <= SLEEPERS; i++) {
		vcpu_join(vm->vcpus[i]);
		stat_close(&blocking[i]);
	}
	free_wide(vm, FAST_VPS);
	ASSERT(!failures, "%u rows", failures);
}
