// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of one VP: the same with APICv, where the CPU itself keeps IRR, ISR and TPR, as
 * without. Random sequences are compared with a model of the local APIC; at once means before
 * the next instruction.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apicv.h"
#include "random.h"
#include "rows.h"

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

/* Enable interrupts for a moment: the model takes all that can be delivered. */
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
	u32 vector = vectors[random_below(&random_state, ARRAY_SIZE(vectors))], windows;

	if (op < 5) {
		send_interrupt(0, vector, random_below(&random_state, SELF_WAYS));
		set_vector(model.irr, vector, true);
	} else if (op < 7) {
		eoi(random_below(&random_state, NO_EOI));
		model_eoi();
	} else if (op < 9) {
		set_tpr(random_below(&random_state, 3) ? 0 : random_below(&random_state, 16) << 4,
			random_below(&random_state, 3));
	} else if (op < 10 && model_deliverable()) {
		handler_eoi = random_below(&random_state, NO_EOI);
		model_take(handler_eoi);
		while (nr_taken < model.nr_taken)
			irqs_halt();
	} else {
		handler_eoi = random_below(&random_state, NO_EOI + 1);
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
		random_state = seed;
		for (step = 0; step < STEPS; step++) {
			op = random_below(&random_state, 12);
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
	/* There are thousands of exits: limit the time of each sequence, not of all. */
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
		/* An interrupt that TPR holds back arrives when TPR is lowered. */
		wrmsr(HV_X64_MSR_TPR, 0x60);
		send_interrupt(0, LOW, i % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 3);
		GUEST_ASSERT(requested(LOW));
		WRITE_AND_TELL(HV_X64_MSR_TPR, i & 1 ? 0 : 0x40, behind);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 2);
		GUEST_ASSERT_EQ(taken_at, behind);

		/* An interrupt below the one in service arrives at the EOI. */
		wrmsr(HV_X64_MSR_TPR, 0);
		send_interrupt(0, HIGH, (i + 1) % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT(in_service(HIGH));
		send_interrupt(0, LOW, (i + 2) % SELF_WAYS);
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 2);
		WRITE_AND_TELL(HV_X64_MSR_EOI, 0, behind);
		GUEST_ASSERT(!in_service(HIGH));
		GUEST_ASSERT_EQ(guest_irqs[LOW], 3 * i - 1);
		GUEST_ASSERT_EQ(taken_at, behind);

		/* Any other interrupt arrives when it is sent. */
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

/* STI's interrupt shadow was lost: the interrupt that should end the HLT came before it. */
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
		send_interrupt(0, LOW, i % SELF_WAYS);
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

/* Now and then the host's own interrupts cause an exit between STI and HLT. */
IN_BOTH_MODES(sleeper_in_a_storm_of_the_host)
{
	pthread_t thread;
	cpu_set_t cpu;

	/* The storm takes most of an emulated CPU's time. */
	ktap_timeout(90);
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
