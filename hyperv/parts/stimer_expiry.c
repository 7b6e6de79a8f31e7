// SPDX-License-Identifier: GPL-2.0-only
/*
 * Expiry of synthetic timers: the VP's thread signals it before it enters the guest, or while it
 * waits for the end of a HLT. An expiry that cannot be signalled is kept (msg_pending) and retried
 * when a condition for it may have changed. TLFS chapter "Timers", "Synthetic Timers".
 */
#include <linux/hrtimer.h>
#include <linux/kvm_host.h>

#include "khv/apic.h"
#include "khv/lapic.h"
#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/stimer_math.h"
#include "khv/synic.h"
#include "khv/trace.h"
#include "khv/vp.h"

#include "stimer.h"

/*
 * Number of times in a row that a one-shot may be due when it is started, or not due when it is
 * woken, or a tick may wait for a period, before it is delayed.
 */
#define MAX_RUSH     16
/* Time until a timer looks again for the memory of its message: 10 ms. */
#define MEMORY_RETRY 100000

/*
 * A tick would be lost if the previous one is still pending in the local APIC's IRR. A timer that
 * is not lazy must not lose ticks.
 */
static bool direct_busy(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	u8 vector = t->config.apic_vector;
	u64 irr;

	if (!t->config.periodic || t->config.lazy || t->count < KHV_STIMER_MIN_CATCH_UP)
		return false;
	return !khv_kvm_hv_vapic_msr_read(vcpu, APIC_IRR + vector / 32 * KHV_LAPIC_WORD, &irr) &&
	       (irr & BIT(vector % 32));
}

static bool signal_direct(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	/* With a local APIC in user space the interrupt cannot be delivered: drop it. */
	if (!vcpu->arch.apic)
		return true;
	if (direct_busy(vcpu, t))
		return false;
	if (khv_apic_post(vcpu, t->config.apic_vector))
		return true;
	/* The local APIC is disabled. khv_stimer_apic_changed() retries once it is enabled. */
	to_khv_vcpu(vcpu)->apic_waits = true;
	return false;
}

static bool signal(struct kvm_vcpu *vcpu, struct kvm_vcpu_hv_stimer *t, u64 now)
{
	struct hv_timer_message_payload *payload = (void *)t->msg.u.payload;

	if (t->config.direct_mode)
		return signal_direct(vcpu, t);

	payload->expiration_time = t->exp_time;
	payload->delivery_time = now;
	return khv_synic_deliver(vcpu, t->config.sintx, &t->msg);
}

/*
 * Delay an expiry by @pause from the first call on. Return: true if the timer is armed for the rest
 * of that, but not for less than KHV_STIMER_MIN_PERIOD: under a slow clock the rest may never pass.
 */
static bool delay(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, u64 now, u64 pause)
{
	u64 *end = &vp->stimer_rush_end[t->index];
	s64 left;

	if (!*end)
		*end = now + pause;
	left = khv_ticks_until(*end, now);
	/* More than that is left only if user space has set the clock back. */
	if (left <= 0 || left > (s64)pause)
		return false;
	khv_stimer_arm(t, max_t(u64, left, KHV_STIMER_MIN_PERIOD));
	return true;
}

/*
 * Storm guard: a guest that starts a one-shot in the past from that timer's own handler would never
 * leave the handler. After MAX_RUSH times delay the expiry by KHV_STIMER_MIN_PERIOD, so that other
 * code of the guest runs. Starting the timer again does not begin it anew. Return: true if the
 * timer is armed for the rest of the delay.
 */
static bool delay_rush(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, u64 now)
{
	u8 *rush = &vp->stimer_rush[t->index];

	if (t->config.periodic || khv_ticks_until(t->exp_time, now) > 0) {
		*rush = 0;
		vp->stimer_rush_end[t->index] = 0;
		return false;
	}
	if (*rush < MAX_RUSH) {
		++*rush;
		return false;
	}
	return delay(vp, t, now, KHV_STIMER_MIN_PERIOD);
}

static bool by_message(const struct kvm_vcpu_hv_stimer *t)
{
	return t->config.periodic && !t->config.direct_mode;
}

/* A lazy timer skips the ticks for which the guest has no time. */
static bool is_skipped(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	return by_message(t) && t->config.lazy &&
	       khv_synic_slot_has(vcpu, t->config.sintx, &t->msg);
}

/*
 * Storm guard: if the handler of a periodic timer frees the slot only after a period or more, a
 * tick waits there each time. Sent at once, it leaves the guest no time for other code. After
 * MAX_RUSH such ticks in a row, send the next one half a period later. Return: true if the timer is
 * armed for the rest of that.
 */
static bool delay_waiting(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, u64 now)
{
	u8 *rush = &vp->stimer_rush[t->index];
	u64 period;

	if (!by_message(t) || !t->msg_pending ||
	    !khv_synic_slot_empty(vp->stock.vcpu, t->config.sintx))
		return false;
	period = khv_stimer_first(t->count, true, 0);
	/* The first look since the slot is free: for how long was it taken? */
	if (!vp->stimer_rush_end[t->index]) {
		if (khv_ticks_until(vp->stimer_sent[t->index] + period, now) > 0)
			return false;
		if (*rush < MAX_RUSH) {
			++*rush;
			return false;
		}
	}
	return delay(vp, t, now, max_t(u64, period / 2, KHV_STIMER_MIN_PERIOD));
}

/*
 * Storm guard: under a clock that the guest holds still, a one-shot that is due at its next tick
 * would wake the VP without an end. A clock that is only slow needs a few attempts.
 */
static u64 after_early_wake(struct khv_vcpu *vp, const struct kvm_vcpu_hv_stimer *t, u64 wait)
{
	u8 *rush = &vp->stimer_rush[t->index];

	if (wait >= KHV_STIMER_MIN_PERIOD)
		return wait;
	if (*rush < MAX_RUSH) {
		++*rush;
		return wait;
	}
	return KHV_STIMER_MIN_PERIOD;
}

/*
 * Look again at an expiry that waits: a periodic timer at its next tick, because no other event may
 * come, and each timer soon if its message waits for memory, of which nobody tells.
 */
static void arm_retry(struct kvm_vcpu *vcpu, struct kvm_vcpu_hv_stimer *t)
{
	u64 wait = t->config.periodic ? min_t(u64, t->count, S64_MAX) : S64_MAX;

	if (!t->config.direct_mode && khv_synic_waits_for_memory(vcpu, t->config.sintx))
		wait = min_t(u64, wait, MEMORY_RETRY);
	if (wait != S64_MAX)
		khv_stimer_arm(t, max_t(u64, wait, KHV_STIMER_MIN_PERIOD));
}

/* Return: false if the expiry waits; the timer is armed then, unless an event tells of a retry. */
static bool send(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, u64 now)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	bool waited = t->msg_pending;

	if (delay_waiting(vp, t, now))
		return false;
	khv_stimer_set_waiting(vp, t, !signal(vcpu, t, now));
	trace_khv_stimer(vcpu->vcpu_id, t->index, t->exp_time, now, !t->msg_pending);
	vp->stimer_rush_end[t->index] = 0;
	if (!t->msg_pending) {
		vp->stimer_sent[t->index] = now;
		if (t->config.periodic && !waited)
			vp->stimer_rush[t->index] = 0;
		return true;
	}
	/* Do not count the time of another message than the timer's last one. */
	if (by_message(t) && !khv_synic_slot_has(vcpu, t->config.sintx, &t->msg))
		vp->stimer_sent[t->index] = now;
	arm_retry(vcpu, t);
	return false;
}

static void expire(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	bool periodic = t->config.periodic;
	u64 period = periodic ? t->count : 0;
	bool started;
	u64 now, wait;

	if (!t->config.enable)
		return;
	if (!t->count) {
		khv_stimer_stop(vp, t);
		return;
	}

	started = test_and_set_bit(t->index, &vp->stimers_started);
	/*
	 * test_and_set_bit() orders the started bit before this read of the time. Pairs with
	 * smp_mb() in khv_stimer_clock_changed().
	 */
	now = khv_ref_time(vcpu);
	if (!started) {
		t->exp_time = khv_stimer_first(t->count, periodic, now);
		if (delay_rush(vp, t, now))
			return;
	}
	if (periodic && khv_stimer_set_back(t->exp_time, period, now))
		t->exp_time = khv_stimer_first(t->count, true, now);

	if (khv_ticks_until(t->exp_time, now) <= 0) {
		if (is_skipped(vcpu, t))
			khv_stimer_set_waiting(vp, t, false);
		else if (!send(vp, t, now))
			return;
		if (!periodic) {
			/* The clock was set forward, and the hrtimer may still be armed. */
			hrtimer_try_to_cancel(&t->timer);
			t->config.enable = 0;
			clear_bit(t->index, &vp->stimers_started);
			return;
		}
		t->exp_time = khv_stimer_next(t->exp_time, period, t->config.lazy, now);
	}
	wait = khv_stimer_alarm(t->exp_time, period, now);
	if (started && !periodic)
		wait = after_early_wake(vp, t, wait);
	khv_stimer_arm(t, wait);
}

void khv_stimer_process(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int i;

	if (!vp)
		return;
	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		struct kvm_vcpu_hv_stimer *t = &vp->stock.stimer[i];

		if (test_and_clear_bit(i, &vp->stimers_due) || t->msg_pending)
			expire(vp, t);
	}
}

static bool due_in_halt(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(to_khv_vcpu(vcpu)->stimers_due) && khv_vp_takes_interrupts(vcpu);
}

/*
 * Only an entry into the guest updates a master clock that went backwards, and only then does user
 * space get to empty a full dirty ring.
 */
static bool needs_entry(struct kvm_vcpu *vcpu)
{
	return (vcpu->kvm->arch.backwards_tsc_observed &&
		kvm_test_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu)) ||
	       khv_vp_dirty_ring_fills(vcpu);
}

/* KHV_REQ_PROCESS stays: it is also the request for queued flushes. */
void khv_stimer_woken(struct kvm_vcpu *vcpu)
{
	int idx;

	if (!due_in_halt(vcpu) || needs_entry(vcpu))
		return;
	idx = srcu_read_lock(&vcpu->kvm->srcu);
	khv_reftime_adopt(vcpu);
	khv_stimer_process(vcpu);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
}

void khv_stimer_halt(struct kvm_vcpu *vcpu)
{
	khv_stimer_woken(vcpu);
	if (!due_in_halt(vcpu) || !needs_entry(vcpu))
		return;
	khv_vp_end_halt(vcpu);
}
