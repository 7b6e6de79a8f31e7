// SPDX-License-Identifier: GPL-2.0-only
/*
 * The targets of the flush calls: VPs that run, are preempted, or halt; and flushes against reads
 * for as long as it takes. TLFS chapter "Virtual MMU".
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "apic.h"
#include "flush_pair.h"

/* --- targets that run, halt, wait for a CPU, or are elsewhere ---------------- */

GUEST_CODE(reader)
{
	/* Interrupts on: the emulated Intel CPU does not preempt such a loop otherwise. */
	irqs_on();
	while (!shared.stop) {
		guest_read_pages();
		shared.rounds++;
		cpu_relax();
	}
}

/* The reader runs all the time, and is seen to use what is stale. */
GUEST_CODE(flush_running)
{
	u32 try, shown = 0;

	for (try = 0; try < PREMISE_TRIES && shown < 3; try++) {
		guest_set_ptes(false);
		GUEST_ASSERT_EQ(hypercall(shared.reset_control, shared.reset_input, 0), 0);
		guest_wait_round();
		GUEST_ASSERT_EQ(seen(OLD_VALUE), shared.nr);
		guest_set_ptes(true);
		guest_wait_round();
		if (seen(OLD_VALUE) == shared.nr)
			shown++;
		GUEST_ASSERT_EQ(hypercall(shared.control, shared.input, 0) & 0xffff, 0);
		guest_wait_round();
		GUEST_ASSERT_EQ(seen(NEW_VALUE), shared.nr);
	}
	GUEST_ASSERT_EQ(shown, 3);
}

TEST(flushes_a_running_target)
{
	struct world *w;
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;

	require_two_cpus();
	w = world_of_two(read_pages, NR_READ);
	/* The reader may be there first. */
	guest_set_ptes(false);
	for (i = 0; i < nr; i++) {
		shared.stop = false;
		set_call(w, &calls[i]);
		vcpu_entry(w->vm->vcpus[0], flush_running);
		vcpu_entry(w->vm->vcpus[1], reader);
		vcpu_start(w->vm->vcpus[1]);
		pin_thread(w->vm->vcpus[1]->worker, 1);
		pin_thread(pthread_self(), 0);
		vcpu_run_done(w->vm->vcpus[0]);
		shared.stop = true;
		vcpu_join(w->vm->vcpus[1]);
	}
	world_free(w);
}

/* The caller has taken the target's CPU from it, in the middle of the guest. */
TEST(flushes_a_preempted_target)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;
	struct guest_op op;

	pin_thread(pthread_self(), 0); /* inherited */
	vcpu_entry(v, reader);
	guest_set_ptes(false);
	vcpu_start(v);
	for (i = 0; i < nr; i++) {
		op = OP_HC(shared.reset_control, shared.reset_input, 0);
		guest_set_ptes(false);
		ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], op).result, HV_STATUS_SUCCESS);
		host_wait_round();
		ASSERT_EQ(seen(OLD_VALUE), NR_READ);
		guest_set_ptes(true);
		host_call(w, &calls[i]);
		host_wait_round();
		expect_flushed(w, &calls[i]);
	}
	shared.stop = true;
	vcpu_join(v);
	world_free(w);
}

GUEST_CODE(halter)
{
	apic_enable();
	guest_make_stale();
	shared.halting = true;
	irqs_halt();
	guest_read_pages();
}

/* Milliseconds until the target's own timer wakes it; the call must be made before that. */
static u32 own_ms;

GUEST_CODE(halter_with_timer)
{
	u32 before = guest_irqs[WAKE_VECTOR];

	apic_enable();
	guest_make_stale();
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), rdmsr(HV_X64_MSR_TIME_REF_COUNT) + own_ms * 10000ULL);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0),
	      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(WAKE_VECTOR));
	shared.halting = true;
	while (guest_irqs[WAKE_VECTOR] == before)
		irqs_halt();
	guest_read_pages();
}

/* The only other thread of this process sleeps in the kernel. */
static bool other_thread_sleeps(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	bool sleeps = false;

	ASSERT(d, "/proc/self/task: %s", strerror(errno));
	while ((e = readdir(d))) {
		char path[300], state = '?';
		FILE *f;

		if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
		f = fopen(path, "r");
		ASSERT(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
		fclose(f);
		sleeps = state == 'S';
	}
	closedir(d);
	return sleeps;
}

TEST(flushes_a_halted_target)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 1 << 12, .data = WAKE_VECTOR };
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;

	guest_irq_handlers[WAKE_VECTOR] = guest_irq_count;
	for (i = 0; i < nr; i++) {
		shared.halting = false;
		vcpu_entry(v, halter);
		vcpu_start(v);
		while (!shared.halting || !other_thread_sleeps())
			sched_yield();
		host_call(w, &calls[i]);
		ASSERT_EQ(guest_irqs[WAKE_VECTOR], i);
		ASSERT_EQ(ioctl(w->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
		vcpu_join(v);
		ASSERT_EQ(guest_irqs[WAKE_VECTOR], i + 1);
		expect_flushed(w, &calls[i]);
	}
	world_free(w);
}

TEST(flushes_a_target_woken_by_its_timer)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i = 0, before;
	bool in_time;

	guest_irq_handlers[WAKE_VECTOR] = guest_irq_count;
	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	own_ms = 50;
	while (i < nr) {
		shared.halting = false;
		before = guest_irqs[WAKE_VECTOR];
		vcpu_entry(v, halter_with_timer);
		vcpu_start(v);
		while (!shared.halting ||
		       (!other_thread_sleeps() && guest_irqs[WAKE_VECTOR] == before))
			sched_yield();
		host_call(w, &calls[i]);
		in_time = guest_irqs[WAKE_VECTOR] == before;
		vcpu_join(v);
		if (in_time) {
			expect_flushed(w, &calls[i++]);
			continue;
		}
		/* The machine was too busy: try again with more time. */
		own_ms *= 2;
		ASSERT(own_ms < 20000, "the timer comes before the call");
	}
	world_free(w);
}

/* --- stress ------------------------------------------------------------------ */

#define STRESS_ROUNDS 200
#define STRESS_CALLS  4

/* What the pages must show, above it a count of the changes. */
enum { CHANGING, EXPECT_OLD, EXPECT_NEW, STALE_ALLOWED, STATE_BITS = 2 };
#define STATE(word) ((word) & ((1 << STATE_BITS) - 1))

static struct {
	u64 control[STRESS_CALLS], input[STRESS_CALLS];
	volatile u64 state;
	/* Of the reader. */
	volatile u64 checked, stale_used;
} stress;

GUEST_CODE(stress_reader)
{
	u64 state, value;
	u32 i;

	irqs_on();
	while (!shared.stop) {
		for (i = 0; i < shared.nr; i++) {
			state = stress.state;
			value = *shared.gva[i];
			if (stress.state != state)
				continue;
			if (STATE(state) == STALE_ALLOWED) {
				/* Its low bit, above the state, is what it changes to. */
				stress.stale_used +=
					value != (state >> STATE_BITS & 1 ? NEW_VALUE : OLD_VALUE);
			} else if (STATE(state) != CHANGING) {
				GUEST_ASSERT_EQ(value,
						STATE(state) == EXPECT_NEW ? NEW_VALUE : OLD_VALUE);
				stress.checked++;
			}
		}
		shared.rounds++;
		cpu_relax();
	}
}

GUEST_CODE(stress_flusher)
{
	u64 i, status;

	for (i = 1; i <= STRESS_ROUNDS; i++) {
		stress.state = i << STATE_BITS | CHANGING;
		guest_set_ptes(i & 1);
		/* Now and then let the reader use what is stale. */
		if (i % 8 == 0) {
			stress.state = i << STATE_BITS | STALE_ALLOWED;
			guest_wait_round();
			stress.state = i << STATE_BITS | CHANGING;
		}
		status = hypercall(stress.control[i % STRESS_CALLS], stress.input[i % STRESS_CALLS],
				   0);
		GUEST_ASSERT_EQ(status & 0xffff, 0);
		stress.state = i << STATE_BITS | (i & 1 ? EXPECT_NEW : EXPECT_OLD);
		guest_wait_round();
	}
}

TEST(flush_against_reads)
{
	struct world *w;
	struct call calls[5];
	u32 i;

	require_two_cpus();
	w = world_of_two(read_pages, NR_READ);
	calls_for_pages(calls);
	if (!hv_supported(HV_F_EXT_GVA))
		calls[4] = calls[3];
	memset(&stress, 0, sizeof(stress));
	for (i = 0; i < STRESS_CALLS; i++) {
		w->input = vm_alloc(w->vm, PAGE_SIZE);
		set_call(w, &calls[i + 1]);
		stress.control[i] = shared.control;
		stress.input[i] = shared.input;
	}
	guest_set_ptes(false);
	vcpu_entry(w->vm->vcpus[0], stress_flusher);
	vcpu_entry(w->vm->vcpus[1], stress_reader);
	vcpu_start(w->vm->vcpus[1]);
	pin_thread(w->vm->vcpus[1]->worker, 1);
	pin_thread(pthread_self(), 0);
	vcpu_run_done(w->vm->vcpus[0]);
	shared.stop = true;
	vcpu_join(w->vm->vcpus[1]);
	ktap_log("%llu reads judged, %llu stale before the flush",
		 (unsigned long long)stress.checked, (unsigned long long)stress.stale_used);
	ASSERT(stress.checked >= STRESS_ROUNDS * NR_READ, "%llu reads",
	       (unsigned long long)stress.checked);
	ASSERT(stress.stale_used, "the reader never used a stale translation");
	world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
