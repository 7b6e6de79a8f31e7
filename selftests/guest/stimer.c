// SPDX-License-Identifier: GPL-2.0-only
/* Taking the messages of synthetic timers: see stimer.h. */
#include <sched.h>
#include <time.h>

#include "stimer.h"

/* The stage of timer_pause(): "pause". */
#define STAGE_PAUSE 0x7061757365ULL

volatile u32 nr_taken;
struct taken taken[MSG_SLOTS];
u32 last_flags;
u32 known_ms;

void timer_prepare(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	ASSERT(cpu >= 0, "sched_getcpu");
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	known_ms = module_loaded() ? WAIT_MS : KNOWN_MS;
	ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

struct vm *timer_vm(void)
{
	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	return synic_vm(1);
}

void timer_host_pause(u32 ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L };

	ASSERT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL), 0);
}

void timer_run_to_end(struct vcpu *v)
{
	u32 cmd;

	for (;;) {
		cmd = synic_run(v);
		if (cmd == GUEST_DONE)
			return;
		ASSERT_EQ(cmd, GUEST_SYNC_CMD);
		ASSERT_EQ(v->cpu->msg.args[0], STAGE_PAUSE);
		timer_host_pause((u32)v->cpu->msg.args[1]);
	}
}

void timer_run(void (*entry)(void))
{
	struct vm *vm = timer_vm();

	vcpu_entry(vm->vcpus[0], entry);
	timer_run_to_end(vm->vcpus[0]);
	vm_free(vm);
}

/* --- guest code --------------------------------------------------------- */

bool take(u32 sint)
{
	volatile struct hv_message *m = slot(sint);
	struct taken *t = &taken[nr_taken % MSG_SLOTS];
	u64 now;

	if (m->type == HV_MSG_NONE)
		return false;
	now = ref_now();
	GUEST_ASSERT_EQ(m->type, HV_MSG_TIMER_EXPIRED);
	GUEST_ASSERT_EQ(m->size, 24);
	GUEST_ASSERT_EQ(m->flags & ~HV_MSG_PENDING, 0);
	GUEST_ASSERT_EQ(m->rsvd, 0);
	GUEST_ASSERT_EQ(m->timer.rsvd, 0);
	t->index = m->timer.index;
	t->expiration = m->timer.expiration;
	t->delivery = m->timer.delivery;
	GUEST_ASSERT(t->index < HV_SYNIC_STIMERS);
	/* Never early, and not from the future. Signed: a count may lie behind the wrap. */
	GUEST_ASSERT((s64)(t->delivery - t->expiration) >= 0);
	GUEST_ASSERT(now >= t->delivery);
	nr_taken++;
	m->type = HV_MSG_NONE;
	asm volatile("mfence" : : : "memory");
	last_flags = m->flags;
	if (last_flags & HV_MSG_PENDING)
		wrmsr(HV_X64_MSR_EOM, 0);
	return true;
}

void on_message(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	take(SINT);
	apic_eoi();
}

void timer_pause(u32 ms)
{
	GUEST_SYNC_ARGS(STAGE_PAUSE, ms, 0);
	ref_now();
}

bool wait_slot(u32 sint)
{
	return guest_wait((volatile u32 *)&slot(sint)->type, 1, WAIT_MS);
}

bool wait_pending_flag(u32 sint)
{
	u64 end = in_ms(known_ms);
	u32 exits = 0;

	while (!(slot(sint)->flags & HV_MSG_PENDING))
		if (ref_now() >= end && ++exits > 100)
			return false;
	return true;
}

void setup(void)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(SINT), VEC);
}

void block(enum obstacle what)
{
	switch (what) {
	case SIMP_OFF:
		wrmsr(HV_X64_MSR_SIMP, synic_simp(0) & ~HV_SYNIC_ENABLE);
		break;
	case SIMP_NOWHERE:
		wrmsr(HV_X64_MSR_SIMP, GPA_NOWHERE | HV_SYNIC_ENABLE);
		break;
	case SINT_MASKED:
		wrmsr(HV_X64_MSR_SINT(SINT), VEC | HV_SINT_MASKED);
		break;
	case APIC_OFF:
		apic_disable();
		break;
	case SYNIC_OFF:
		wrmsr(HV_X64_MSR_SCONTROL, 0);
		break;
	}
}

void unblock(enum obstacle what)
{
	switch (what) {
	case SIMP_OFF:
	case SIMP_NOWHERE:
		wrmsr(HV_X64_MSR_SIMP, synic_simp(0));
		break;
	case SINT_MASKED:
		wrmsr(HV_X64_MSR_SINT(SINT), VEC);
		break;
	case APIC_OFF:
		apic_enable();
		break;
	case SYNIC_OFF:
		wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		break;
	}
}
