// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG and _COUNT: an interrupt or NMI after each period that the
 * VP has run for, without the time that its thread sleeps in a halt. Its clock is that of
 * HV_X64_MSR_VP_RUNTIME. TLFS chapter "Timers", "Synthetic Time-Unhalted Timer".
 */
#include <linux/bitfield.h>
#include <linux/kvm_host.h>
#include <asm/trapnr.h>

#include "compat/calls.h"
#include "compat/hrtimer.h"
#include "khv/apic.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/unhalted.h"
#include "khv/vp.h"

#define TICK_NS	 100
/* In ticks: a guest cannot have interrupts more often, and no period overflows the hrtimer. */
#define SOONEST	 (100 * NSEC_PER_USEC / TICK_NS)
#define FARTHEST (NSEC_PER_SEC / TICK_NS)

static bool is_running(const struct khv_unhalted *t)
{
	return (t->config & KHV_UNHALTED_ENABLE) && t->period;
}

static u64 soonest(const struct khv_unhalted *t)
{
	return max_t(u64, t->period, SOONEST);
}

/*
 * The VP has run for no more than the time since the hrtimer was armed. If it was halted meanwhile,
 * khv_unhalted_process() arms it again for the rest.
 */
static enum hrtimer_restart fired(struct hrtimer *timer)
{
	struct khv_vcpu *vp = container_of(timer, struct khv_vcpu, unhalted.timer);
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	kvm_make_request(KHV_REQ_PROCESS, vcpu);
	/* The clock of a halted VP stands still, and was looked at before the halt. */
	if (!kvm_vcpu_is_blocking(vcpu))
		khv_vcpu_kick(vcpu);
	return HRTIMER_NORESTART;
}

static void arm(struct khv_unhalted *t, u64 ticks)
{
	ticks = clamp_t(u64, ticks, SOONEST, FARTHEST);
	hrtimer_start(&t->timer, ns_to_ktime(ticks * TICK_NS), HRTIMER_MODE_REL);
}

static void restart(struct khv_vcpu *vp)
{
	struct khv_unhalted *t = &vp->unhalted;

	hrtimer_cancel(&t->timer);
	if (!is_running(t))
		return;
	t->begin = khv_vp_runtime(vp);
	arm(t, t->period);
}

static void expire(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	u8 vector = FIELD_GET(KHV_UNHALTED_VECTOR, vp->unhalted.config);
	gpa_t gpa = (vp->stock.hv_vapic & KHV_PAGE_GPFN) + KHV_ASSIST_UNHALTED_EXPIRED;
	const u8 expired = 1;
	u8 value;

	/*
	 * Before the interrupt, whose handler reads it. Without a page there is no such field. Read
	 * first: a needless write would dirty the page.
	 */
	if ((vp->stock.hv_vapic & KHV_VP_ASSIST_ENABLE) &&
	    (khv_kvm_read_guest(vcpu->kvm, gpa, &value, sizeof(value)) || value != expired))
		khv_kvm_write_guest(vcpu->kvm, gpa, &expired, sizeof(expired));
	if (vector == X86_TRAP_NMI)
		khv_kvm_inject_nmi(vcpu);
	else
		khv_apic_post(vcpu, vector);
}

void khv_unhalted_process(struct khv_vcpu *vp)
{
	struct khv_unhalted *t = &vp->unhalted;
	u64 period, run;

	if (likely(!is_running(t)))
		return;
	/*
	 * VMMs do not know the registers, so that a reset leaves them alone: do not send the
	 * interrupts of the guest of before to the next one.
	 */
	if (!vp->vm->kvm->arch.hyperv.hv_guest_os_id) {
		t->config &= ~KHV_UNHALTED_ENABLE;
		return;
	}
	period = soonest(t);
	run = khv_vp_runtime(vp) - t->begin;
	if (run >= period) {
		expire(vp);
		/* Periods that are over together have one interrupt. */
		t->begin += run - run % period;
		run %= period;
	}
	if (!hrtimer_is_queued(&t->timer))
		arm(t, period - run);
}

void khv_unhalted_halt(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	struct kvm *kvm = vp->vm->kvm;
	int idx;

	if (likely(!is_running(&vp->unhalted)) || !khv_vp_takes_interrupts(vcpu))
		return;
	/* Each expiry may dirty a page, and a VP need not enter the guest between them. */
	if (khv_vp_dirty_ring_fills(vcpu)) {
		if (khv_vp_runtime(vp) - vp->unhalted.begin >= soonest(&vp->unhalted))
			khv_vp_end_halt(vcpu);
		return;
	}
	idx = srcu_read_lock(&kvm->srcu);
	khv_unhalted_process(vp);
	srcu_read_unlock(&kvm->srcu, idx);
}

void khv_unhalted_init(struct khv_vcpu *vp)
{
	khv_hrtimer_setup(&vp->unhalted.timer, fired, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}

void khv_unhalted_uninit(struct khv_vcpu *vp)
{
	hrtimer_cancel(&vp->unhalted.timer);
}

enum khv_msr_result khv_msr_unhalted_config_read(struct khv_msr_access *a)
{
	a->data = a->vp->unhalted.config;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_unhalted_config_write(struct khv_msr_access *a)
{
	u8 vector = FIELD_GET(KHV_UNHALTED_VECTOR, a->data);

	/* A local APIC does not deliver the first 16 vectors. */
	if ((a->data & KHV_UNHALTED_ENABLE) && vector < 16 && vector != X86_TRAP_NMI)
		return KHV_MSR_FAULT;
	a->vp->unhalted.config = a->data;
	restart(a->vp);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_unhalted_count_read(struct khv_msr_access *a)
{
	a->data = a->vp->unhalted.period;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_unhalted_count_write(struct khv_msr_access *a)
{
	a->vp->unhalted.period = a->data;
	restart(a->vp);
	return KHV_MSR_OK;
}
