// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of every source to every kind of target, and their end by the synthetic registers:
 * the same with APICv, where the CPU itself keeps IRR, ISR and TPR, as without. One case compares
 * random sequences with a model of the local APIC; the others run a target that spins, sleeps, or
 * is in user space. What is EOI-exiting is watched by kvm_exit.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "irqfd.h"
#include "rows.h"
#include "synic.h"
#include "tracefs.h"

#define IOAPIC		  0xfec00000ULL
#define IOAPIC_LEVEL	  BIT64(15)
#define IOAPIC_REMOTE_IRR BIT64(14)
#define PIN		  20 /* one that the PIC has no part in */

#define LOW	   0x51u
#define HIGH	   0x71u
#define TEST_SINT  2
#define WAIT_MS	   3000
#define MESSAGE_MS 50 /* stock never sends some */
#define IPI_FAST   (HVCALL_SEND_IPI | HV_CTL_FAST)

/* --- guest ---------------------------------------------------------------- */

enum eoi_by { BY_MSR, BY_REGISTER, NO_EOI };

static void eoi(enum eoi_by how)
{
	if (how == BY_MSR)
		wrmsr(HV_X64_MSR_EOI, 0);
	else if (how == BY_REGISTER)
		reg_write(APIC_EOI, 0);
}

/* The input of calls in memory, one for each VP. */
static u64 call_input[2][8] __attribute__((aligned(64)));

enum send_by {
	BY_ICR_MSR,
	BY_ICR_REGISTER,
	BY_CALL,
	BY_CALL_IN_MEMORY,
	BY_EX_CALL,
	/* To oneself only. */
	BY_SHORTHAND,
	BY_SELF_IPI, /* x2APIC, or another ICR_MSR */
	SELF_WAYS,
	OTHER_WAYS = BY_SHORTHAND,
};

static void send(u32 dest, u32 vector, enum send_by how)
{
	u64 *in = call_input[this_cpu()->id];
	u64 icr = icr_to(dest, vector);

	switch (how) {
	case BY_ICR_REGISTER:
		if (x2apic) {
			wrmsr(MSR_X2APIC + APIC_ICR / 16, icr);
		} else {
			apic_write(APIC_ICR + 0x10, dest << 24);
			apic_write(APIC_ICR, ICR_ASSERT | vector);
		}
		break;
	case BY_CALL:
		GUEST_ASSERT_EQ(hypercall(IPI_FAST, vector, BIT64(dest)), 0);
		break;
	case BY_CALL_IN_MEMORY:
		in[0] = vector;
		in[1] = BIT64(dest);
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI, gpa(in), 0), 0);
		break;
	case BY_EX_CALL:
		in[0] = vector;
		in[1] = 0;
		in[2] = 1;
		in[3] = BIT64(dest);
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), gpa(in), 0), 0);
		break;
	case BY_SHORTHAND:
		wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | vector);
		break;
	case BY_SELF_IPI:
		wrmsr(x2apic ? MSR_X2APIC_SELF_IPI : HV_X64_MSR_ICR, x2apic ? vector : icr);
		break;
	default:
		wrmsr(HV_X64_MSR_ICR, icr);
	}
}

/* --- host ----------------------------------------------------------------- */

static void handle(u32 vector, guest_irq_fn fn)
{
	guest_irq_handlers[vector] = fn;
}

static struct vm *apic_vm(u32 nr)
{
	struct vm *vm = synic_vm(nr);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return vm;
}

static void run_one(void (*entry)(void))
{
	struct vm *vm = apic_vm(1);

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- random sequences against a model ------------------------------------- */

#define SEEDS	    6
#define STEPS	    200
#define MAX_WINDOWS 100

static const u8 vectors[] = {
	0x21, 0x31, 0x35, 0x41, 0x4f, 0x51, 0x61, 0x6a, 0x81, 0xa1, 0xc1, 0xef
};

/* The model: IRR, ISR, TPR, and the interrupts that it has taken. */
static struct {
	u32 irr[8], isr[8], tpr;
	u8 taken[64];
	u32 nr_taken;
} model;

/* What the handler saw. */
static volatile u8 taken[64];
static volatile u32 nr_taken;
static enum eoi_by handler_eoi;

static u64 random_state;
static bool stock_6_1;

static u32 random_below(u32 n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (u32)(random_state >> 33) % n;
}

static void set_vector(u32 *set, u32 vector, bool on)
{
	if (on)
		set[vector / 32] |= 1u << vector % 32;
	else
		set[vector / 32] &= ~(1u << vector % 32);
}

/* 0 when there is none. */
static u32 highest(const u32 *set)
{
	u32 i;

	for (i = 8; i-- > 0;)
		if (set[i])
			return i * 32 + 31 - (u32)__builtin_clz(set[i]);
	return 0;
}

static u32 model_ppr(void)
{
	u32 isr = highest(model.isr);

	return (model.tpr & 0xf0) >= (isr & 0xf0) ? model.tpr : isr & 0xf0;
}

static u32 model_deliverable(void)
{
	u32 irr = highest(model.irr);

	return (irr & 0xf0) > (model_ppr() & 0xf0) ? irr : 0;
}

static void model_eoi(void)
{
	set_vector(model.isr, highest(model.isr), false);
}

/* Interrupts are on for a moment, and whatever can be delivered is. */
static void model_take(enum eoi_by how)
{
	u32 vector;

	while ((vector = model_deliverable())) {
		set_vector(model.irr, vector, false);
		set_vector(model.isr, vector, true);
		model.taken[model.nr_taken++ % sizeof(model.taken)] = (u8)vector;
		if (how != NO_EOI)
			model_eoi();
	}
}

static void note_and_eoi(struct guest_frame *f)
{
	taken[nr_taken++ % sizeof(taken)] = (u8)f->vector;
	eoi(handler_eoi);
}

static void compare(u32 seed, u32 step, u32 op)
{
	u32 i, irr, isr, bad = 0;

	for (i = 0; i < 8; i++) {
		irr = reg_read(APIC_IRR + 0x10 * i);
		isr = reg_read(APIC_ISR + 0x10 * i);
		if (irr == model.irr[i] && isr == model.isr[i])
			continue;
		guest_log("IRR, and of the model", irr, model.irr[i]);
		guest_log("ISR, and of the model", isr, model.isr[i]);
		bad++;
	}
	bad += nr_taken != model.nr_taken || reg_read(APIC_PPR) != model_ppr() ||
	       rdmsr(HV_X64_MSR_TPR) != model.tpr || read_cr8() != model.tpr >> 4 ||
	       reg_read(APIC_TPR) != model.tpr;
	for (i = 0; i < sizeof(taken); i++)
		bad += taken[i] != model.taken[i];
	if (!bad)
		return;
	guest_log("taken, and by the model", nr_taken, model.nr_taken);
	guest_log("the last one, and of the model", taken[(nr_taken - 1) % sizeof(taken)],
		  model.taken[(model.nr_taken - 1) % sizeof(taken)]);
	guest_log("PPR, and of the model", reg_read(APIC_PPR), model_ppr());
	guest_log("TPR, and of the model", rdmsr(HV_X64_MSR_TPR), model.tpr);
	guest_log("seed, step", seed, step);
	GUEST_ASSERT_EQ(op, ~0u);
}

/*
 * QEMU gives up when a guest of an AMD CPU writes CR8 while KVM waits for an interrupt window, and
 * KVM 6.1 enters an Intel guest with a threshold above a TPR that it wrote itself (K18).
 */
static bool way_is_safe(u32 way)
{
	return !highest(model.irr) || (guest_use_vmmcall ? way != 2 : way == 0 || !stock_6_1);
}

static void set_tpr(u32 tpr, u32 way)
{
	if (!way_is_safe(way))
		way = 0;
	model.tpr = tpr;
	if (way == 0)
		wrmsr(HV_X64_MSR_TPR, tpr);
	else if (way == 1)
		reg_write(APIC_TPR, tpr);
	else
		write_cr8(tpr >> 4);
}

static void one_step(u32 op)
{
	u32 vector = vectors[random_below(ARRAY_SIZE(vectors))], windows;

	if (op < 5) {
		send(0, vector, random_below(SELF_WAYS));
		set_vector(model.irr, vector, true);
	} else if (op < 7) {
		eoi(random_below(NO_EOI));
		model_eoi();
	} else if (op < 9) {
		set_tpr(random_below(3) ? 0 : random_below(16) << 4, random_below(3));
	} else if (op < 10 && model_deliverable()) {
		handler_eoi = random_below(NO_EOI);
		model_take(handler_eoi);
		while (nr_taken < model.nr_taken)
			irqs_halt();
	} else {
		handler_eoi = random_below(NO_EOI + 1);
		model_take(handler_eoi);
		for (windows = 0; windows < MAX_WINDOWS && nr_taken < model.nr_taken; windows++)
			irqs_window();
		irqs_window();
	}
}

GUEST_CODE(random_sequences_guest)
{
	u32 seed, step, op;

	apic_start();
	for (seed = 1; seed <= SEEDS; seed++) {
		random_state = seed * 0x9e3779b97f4a7c15ULL;
		for (step = 0; step < STEPS; step++) {
			op = random_below(12);
			one_step(op);
			compare(seed, step, op);
		}
		GUEST_SYNC(seed);
	}
	guest_log("interrupts, steps", nr_taken, SEEDS * STEPS);
	GUEST_ASSERT(nr_taken > SEEDS * STEPS / 5);
}

IN_BOTH_MODES(random_sequences)
{
	struct vm *vm = apic_vm(1);
	u32 i;

	stock_6_1 = host_is_6_1();
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		handle(vectors[i], note_and_eoi);
	vcpu_entry(vm->vcpus[0], random_sequences_guest);
	/* Thousands of exits, and a slow host is no fault: the limit is one of each sequence. */
	for (i = 1; i <= SEEDS; i++) {
		ktap_timeout(30);
		synic_run_sync(vm->vcpus[0], i);
	}
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- at once: before the next instruction --------------------------------- */

#define NR_AT_ONCE 20

static volatile u64 taken_at;

static void note_where(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	taken_at = f->rip;
	wrmsr(HV_X64_MSR_EOI, 0);
}

/* WRMSR; @behind is the address of the next instruction. */
#define WRITE_AND_TELL(msr, val, behind)                                       \
	asm volatile("lea 1f(%%rip), %0\n"                                     \
		     "wrmsr\n"                                                 \
		     "1:\n"                                                    \
		     : "=&r"(behind)                                           \
		     : "a"((u32)(val)), "c"(msr), "d"((u32)((u64)(val) >> 32)) \
		     : "memory")

GUEST_CODE(at_once_guest)
{
	u64 behind;
	u32 i;

	apic_start();
	irqs_on();
	for (i = 1; i <= NR_AT_ONCE; i++) {
		/* What TPR held back comes when it sinks. */
		wrmsr(HV_X64_MSR_TPR, 0x60);
		send(0, LOW, i % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 3);
		GUEST_ASSERT(requested(LOW));
		WRITE_AND_TELL(HV_X64_MSR_TPR, i & 1 ? 0 : 0x40, behind);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 2);
		GUEST_ASSERT_EQ(taken_at, behind);

		/* What one in service held back comes with its EOI. */
		wrmsr(HV_X64_MSR_TPR, 0);
		send(0, HIGH, (i + 1) % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT(in_service(HIGH));
		send(0, LOW, (i + 2) % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 2);
		WRITE_AND_TELL(HV_X64_MSR_EOI, 0, behind);
		GUEST_ASSERT(!in_service(HIGH));
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 1);
		GUEST_ASSERT_EQ(taken_at, behind);

		/* One that nothing holds back comes when it is sent. */
		WRITE_AND_TELL(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | LOW, behind);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i);
		GUEST_ASSERT_EQ(taken_at, behind);
		GUEST_ASSERT(!in_service(LOW));
	}
}

IN_BOTH_MODES(at_once)
{
	handle(LOW, note_where);
	handle(HIGH, guest_irq_count_no_eoi);
	run_one(at_once_guest);
}

/* --- asleep: not before the HLT ------------------------------------------- */

#define NR_HALTS 2000
#define STORM_NS 30000

extern char the_hlt[];

static volatile u32 before_hlt;

/* The shadow of STI was lost: the interrupt that ends the HLT has come before it. */
static void note_sleeper(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	if (f->rip == gpa(the_hlt)) {
		before_hlt++;
		f->rip++;
	}
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(halts_with_one_pending)
{
	u32 i;

	apic_start();
	for (i = 0; i < NR_HALTS; i++) {
		send(0, LOW, i % SELF_WAYS);
		asm volatile("sti\n"
			     ".globl the_hlt\n"
			     "the_hlt: hlt\n"
			     "cli"
			     :
			     :
			     : "memory");
		GUEST_ASSERT_EQ(guest_irqs[LOW], i + 1);
	}
	guest_log("interrupts, and before HLT", guest_irqs[LOW], before_hlt);
	GUEST_ASSERT_EQ(before_hlt, 0);
}

static volatile bool storm_over;

static void *storm(void *arg)
{
	struct timespec t = { .tv_nsec = STORM_NS };

	(void)arg;
	while (!storm_over)
		nanosleep(&t, NULL);
	return NULL;
}

/* The host's own interrupts take the VP out of the guest between STI and HLT now and then. */
IN_BOTH_MODES(sleeper_in_a_storm_of_the_host)
{
	pthread_t thread;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT(!sched_setaffinity(0, sizeof(cpu), &cpu), "affinity: %s", strerror(errno));
	handle(LOW, note_sleeper);
	storm_over = false;
	ASSERT_EQ(pthread_create(&thread, NULL, storm, NULL), 0);
	run_one(halts_with_one_pending);
	storm_over = true;
	ASSERT_EQ(pthread_join(thread, NULL), 0);
}

/* --- answered in the fast path -------------------------------------------- */

#define NR_FAST 40

static bool eoi_something;

GUEST_CODE(uses_registers)
{
	u32 i;

	apic_start();
	for (i = 0; i < NR_FAST; i++) {
		if (eoi_something) {
			wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | LOW);
			irqs_window();
			GUEST_ASSERT(in_service(LOW));
		}
		wrmsr(HV_X64_MSR_EOI, 0);
		GUEST_ASSERT(!in_service(LOW));
		wrmsr(HV_X64_MSR_TPR, i << 4 & 0xf0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), i << 4 & 0xf0);
		wrmsr(HV_X64_MSR_TPR, 0);
	}
}

/* With APICv as without: an EOI must not cost more than one by the APIC's own register. */
static void check_fast(bool something)
{
	struct row_counts e = row_counts(HV_X64_MSR_EOI), t = row_counts(HV_X64_MSR_TPR), now;

	eoi_something = something;
	handle(LOW, guest_irq_count_no_eoi);
	run_one(uses_registers);
	if (!module_loaded())
		return;
	now = row_counts(HV_X64_MSR_TPR);
	ASSERT_EQ(now.writes - t.writes, 2 * NR_FAST);
	ASSERT(now.fast_writes - t.fast_writes >= NR_FAST, "TPR: %llu of %u writes fast",
	       (unsigned long long)(now.fast_writes - t.fast_writes), 2 * NR_FAST);
	ASSERT(now.fast_reads - t.fast_reads >= NR_FAST / 2, "TPR: %llu of %u reads fast",
	       (unsigned long long)(now.fast_reads - t.fast_reads), NR_FAST);
	now = row_counts(HV_X64_MSR_EOI);
	ASSERT_EQ(now.writes - e.writes, NR_FAST);
	ASSERT(now.fast_writes - e.fast_writes >= NR_FAST / 2, "EOI: %llu of %u fast",
	       (unsigned long long)(now.fast_writes - e.fast_writes), NR_FAST);
}

TEST(eoi_of_nothing_is_answered_at_once_xapic)
{
	x2apic = false;
	check_fast(false);
}

TEST(eoi_of_nothing_is_answered_at_once_x2apic)
{
	x2apic = true;
	check_fast(false);
}

TEST(eoi_is_answered_at_once_xapic)
{
	x2apic = false;
	check_fast(true);
}

TEST(eoi_is_answered_at_once_x2apic)
{
	x2apic = true;
	check_fast(true);
}

/* --- a target that runs, and one that sleeps ------------------------------ */

#define NR_SENT 40
#define BURST	24

static volatile bool stop;
static volatile u32 got[2][256], up[2];
static enum eoi_by target_eoi;

/* Counted when it is over. */
static void count_mine(struct guest_frame *f)
{
	eoi(target_eoi);
	got[this_cpu()->id][f->vector]++;
}

/* Without an exit of its own, so that an interrupt has to find it where it is. */
GUEST_CODE(spins)
{
	apic_start();
	irqs_on();
	up[this_cpu()->id] = 1;
	while (!stop)
		cpu_relax();
}

GUEST_CODE(sleeps)
{
	apic_start();
	up[this_cpu()->id] = 1;
	while (!stop)
		irqs_halt();
}

/* One at a time, each seen before the next. */
GUEST_CODE(sends_one_by_one)
{
	u32 way, i, n = 0;

	apic_start();
	for (way = 0; way < OTHER_WAYS; way++) {
		for (i = 0; i < NR_SENT; i++, n++) {
			send(1, LOW, way);
			while (got[1][LOW] == n)
				cpu_relax();
			GUEST_ASSERT_EQ(got[1][LOW], n + 1);
		}
	}
	irqs_window();
	GUEST_ASSERT_EQ(got[0][LOW], 0);
	GUEST_SYNC(1);
}

/* Many vectors in a row: each of them once, and none lost. */
GUEST_CODE(sends_bursts)
{
	u32 round, i, n = 0, sum;

	apic_start();
	for (round = 0; round < NR_SENT; round++) {
		for (i = 0; i < BURST; i++)
			send(1, 0x30 + i, (round + i) % OTHER_WAYS);
		n++;
		do {
			for (i = 0, sum = 0; i < BURST; i++)
				sum += got[1][0x30 + i];
			cpu_relax();
		} while (sum < n * BURST);
		for (i = 0; i < BURST; i++)
			GUEST_ASSERT_EQ(got[1][0x30 + i], n);
	}
	GUEST_SYNC(1);
}

/* PAUSE exits to nobody: an emulated CPU then lets the other one go on. */
static struct vm *two_vps(void)
{
	struct vm *vm = apic_vm(2);

	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE), 0);
	return vm;
}

static void start_target(struct vm *vm, void (*entry)(void))
{
	handle(LOW, count_mine);
	vcpu_entry(vm->vcpus[1], entry);
	vcpu_start(vm->vcpus[1]);
	while (!up[1])
		sched_yield();
}

/* By an interrupt, in case it sleeps. */
static void stop_target(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000u | 1 << 12, .data = LOW };

	stop = true;
	ASSERT(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %s", strerror(errno));
	vcpu_join(vm->vcpus[1]);
}

static void send_to_running(void (*sender)(void))
{
	struct vm *vm;
	u32 i;

	require_two_cpus();
	for (target_eoi = 0; target_eoi < NO_EOI; target_eoi++) {
		vm = two_vps();
		stop = false;
		memset((void *)got, 0, sizeof(got));
		memset((void *)up, 0, sizeof(up));
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

/* One in each turn. */
GUEST_CODE(sends_by_turns)
{
	u32 i;

	apic_start();
	for (i = 1;; i++) {
		GUEST_SYNC(i);
		send(1, LOW, i % OTHER_WAYS);
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
		ASSERT_EQ(got[1][LOW], i - 1);
		synic_run_sync(vm->vcpus[0], i + 1);
		while (got[1][LOW] < i)
			sched_yield();
	}
	stop_target(vm);
	stat_close(&blocking);
	vm_free(vm);
}

/* A VP that is not in KVM_RUN has it in its IRR, and takes it when it comes. */
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
		ASSERT_EQ(got[1][LOW], i - 1);
		synic_run_sync(vm->vcpus[1], i + 1);
		ASSERT_EQ(got[1][LOW], i);
	}
	vm_free(vm);
}

/* SINTs of the host's: the target sleeps, or spins. */
GUEST_CODE(sleeps_for_sint)
{
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	sleeps();
}

GUEST_CODE(spins_for_sint)
{
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	spins();
}

static void raise_and_wait(int fd, u32 nr)
{
	eventfd_signal(fd);
	while (got[1][LOW] < nr)
		sched_yield();
	ASSERT_EQ(got[1][LOW], nr);
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
	/* With one CPU the host's timer is what lets the host go on. */
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
			while (got[0][LOW] < i)
				irqs_halt();
		irqs_on();
		GUEST_ASSERT(guest_wait(&got[0][LOW], i, WAIT_MS));
		irqs_off();
		GUEST_ASSERT_EQ(got[0][LOW], i);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_STIMER0_CONFIG) & HV_STIMER_ENABLE, 0);
		GUEST_ASSERT(!in_service(LOW) && !requested(LOW));
	}
}

static void run_timers(bool asleep)
{
	timer_sleeps = asleep;
	handle(LOW, count_mine);
	for (target_eoi = 0; target_eoi < NO_EOI; target_eoi++) {
		memset((void *)got, 0, sizeof(got));
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

#define NR_LEVELS 12

static u32 ioapic_read(u32 reg)
{
	u32 val;

	asm volatile("movl %0, (%1)" : : "a"(reg), "r"(IOAPIC) : "memory");
	asm volatile("movl (%1), %0" : "=a"(val) : "r"(IOAPIC + 0x10) : "memory");
	return val;
}

static void ioapic_write(u32 reg, u32 val)
{
	asm volatile("movl %0, (%1)" : : "a"(reg), "r"(IOAPIC) : "memory");
	asm volatile("movl %0, (%1)" : : "a"(val), "r"(IOAPIC + 0x10) : "memory");
}

static bool remote_irr(void)
{
	return ioapic_read(0x10 + 2 * PIN) & IOAPIC_REMOTE_IRR;
}

/* In service, with another one above it: EOI ends that one first, and the pin's last. */
GUEST_CODE(level_guest)
{
	u32 i, how;

	apic_start();
	ioapic_write(0x11 + 2 * PIN, 0);
	ioapic_write(0x10 + 2 * PIN, IOAPIC_LEVEL | LOW);
	for (i = 1; i <= NR_LEVELS; i++) {
		how = i % 3 == 0 ? BY_REGISTER : BY_MSR;
		GUEST_SYNC(4 * i); /* raise it; a worker of the host's does that */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[LOW], i, WAIT_MS));
		irqs_off();
		GUEST_ASSERT(in_service(LOW) && remote_irr());
		GUEST_SYNC(4 * i + 1); /* no ack yet */
		send(0, HIGH, i % SELF_WAYS);
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

/* The line stays up: every EOI brings it back, and the one after it went down does not. */
GUEST_CODE(level_stays_up)
{
	u32 i;

	apic_start();
	ioapic_write(0x11 + 2 * PIN, 0);
	ioapic_write(0x10 + 2 * PIN, IOAPIC_LEVEL | LOW);
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
		send(0, HIGH, i % SELF_WAYS);
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

static void irqfd_remove(struct vm *vm, u32 gsi, int fd)
{
	struct kvm_irqfd f = { .gsi = gsi, .fd = (u32)fd, .flags = KVM_IRQFD_FLAG_DEASSIGN };

	ASSERT(!ioctl(vm->fd, KVM_IRQFD, &f), "KVM_IRQFD: %s", strerror(errno));
}

/*
 * A resampler that comes while the VP is there, and goes again: what ends an interrupt has to
 * follow. Two routes to one SINT: one raises it, the other is told of its end.
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
		/* An ack is told before the handler goes on. */
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

/* A second route, which wins, to one who waited before: in every other round. */
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

/* Without EOM: what ends is the interrupt of the SINT's vector as it is then. */
GUEST_CODE(message_waits_for_new_vector)
{
	struct hv_message *slot = &synic_messages[0][TEST_SINT];
	u32 i, vector;

	apic_start();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH);
	for (i = 1; i <= NR_LEVELS; i++) {
		vector = i & 1 ? LOW : HIGH;
		slot->flags = 0;
		*(volatile u32 *)&slot->type = 1; /* somebody else's */
		wrmsr(HV_X64_MSR_STIMER0_COUNT, i);
		wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_ENABLE | HV_STIMER_SINT(TEST_SINT));
		guest_settle(1);
		GUEST_ASSERT_EQ(*(volatile u8 *)&slot->flags, HV_MSG_PENDING);

		wrmsr(HV_X64_MSR_SINT(TEST_SINT), vector);
		send(0, vector, i % SELF_WAYS);
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

/* --- exits for the end of an interrupt ------------------------------------ */

#define EOI_INDUCED  "45"
#define EXIT_EVENT   TRACING "/events/kvm/kvm_exit"
#define BY_HYPERV    BIT64(1)
#define NR_EOI_EXITS 20

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
			while (got[0][LOW] < n)
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
		GUEST_ASSERT(guest_wait(&got[0][vector], i, WAIT_MS));
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
 * AutoEOI comes and goes in the middle of everything: one interrupt is in service, another one
 * waits, and both survive the change of hands between the CPU and KVM.
 */
GUEST_CODE(auto_eoi_comes_and_goes)
{
	u32 i;

	apic_start();
	for (i = 1; i <= NR_LEVELS; i++) {
		send(0, LOW, i % SELF_WAYS);
		irqs_window();
		send(0, 0x41, (i + 1) % SELF_WAYS);
		GUEST_ASSERT(in_service(LOW) && requested(0x41));

		wrmsr(HV_X64_MSR_SINT(TEST_SINT), HIGH | HV_SINT_AUTO_EOI);
		GUEST_ASSERT(in_service(LOW) && requested(0x41));
		GUEST_SYNC(2 * i); /* inhibited; raise it */
		irqs_on();
		GUEST_ASSERT(guest_wait(&guest_irqs[HIGH], i, WAIT_MS));
		irqs_off();
		/* Its end came with its delivery, and what was below it stays. */
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
		/* Stock does not count without such hardware. */
		ASSERT(!told || trace_hyperv_inhibits_apicv(), "not inhibited");
		eventfd_signal(fd);
		synic_run_sync(v, 2 * i + 1);
		ASSERT(!told || !trace_hyperv_inhibits_apicv(), "still inhibited");
	}
	synic_run_done(v);
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "0");
	vm_free(vm);
}

/* Who waits, and with which route, changes while KVM has no use for EOI exits. */
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
