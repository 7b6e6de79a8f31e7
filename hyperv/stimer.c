// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_STIMERn_CONFIG and _COUNT: an hrtimer per synthetic timer wakes the VP's
 * thread, which signals the expiry on its way into the guest, or where it waits for the
 * end of a HLT. An expiry that cannot be signalled is kept (msg_pending) and tried again
 * by whatever may have changed that. State is that of the stock struct, owned by the VP's
 * thread; other CPUs only set bits of &khv_vcpu.stimers_due. KVM takes a bit of the stock
 * struct's stimer_pending_bitmap for the end of a HLT: none is ever set there.
 * TLFS chapter "Timers", "Synthetic Timers".
 */
#include <linux/hrtimer.h>
#include <linux/kvm_host.h>

#include "khv/parts.h"
#include "khv/port.h"
#include "khv/stimer_math.h"
#include "khv/trace.h"

#define TICK_NS	     100
#define LONG_WAIT_NS (100 * NSEC_PER_MSEC)

/* So often may a one-shot be due when it begins, time after time, before it has to wait. */
#define MAX_RUSH 16

static struct kvm_vcpu *timer_vcpu(struct kvm_vcpu_hv_stimer *t)
{
	return container_of(t, struct kvm_vcpu_hv, stimer[t->index])->vcpu;
}

/* Have the VP's thread look at the timer before it enters the guest or halts. */
static void request(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	set_bit(t->index, &to_khv_vcpu(vcpu)->stimers_due);
	kvm_make_request(KVM_REQ_HV_STIMER, vcpu);
}

/* Have it look at once. A VP that is halted stays so, unless there is an interrupt then. */
static void wake(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_UNBLOCK, vcpu);
	khv_kvm_vcpu_kick(vcpu);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct kvm_vcpu_hv_stimer *t = container_of(timer, struct kvm_vcpu_hv_stimer, timer);
	struct kvm_vcpu *vcpu = timer_vcpu(t);

	request(vcpu, t);
	wake(vcpu);
	return HRTIMER_NORESTART;
}

void khv_stimers_init(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		struct kvm_vcpu_hv_stimer *t = &vp->stock.stimer[i];
		struct hv_timer_message_payload *payload = (void *)t->msg.u.payload;

		t->index = i;
		/* The reference time goes on while the host sleeps. */
		hrtimer_init(&t->timer, CLOCK_BOOTTIME, HRTIMER_MODE_ABS);
		t->timer.function = timer_fired;
		t->msg.header.message_type = HVMSG_TIMER_EXPIRED;
		t->msg.header.payload_size = sizeof(*payload);
		payload->timer_index = i;
	}
}

void khv_stimers_uninit(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++)
		hrtimer_cancel(&vp->stock.stimer[i].timer);
}

/*
 * An expiry that waits for its slot is tried again at the end of the SINT's interrupt, which is an
 * exit under APICv only while that is so: see khv_synic_awaited().
 */
static void set_waiting(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, bool waiting)
{
	if (t->msg_pending == waiting)
		return;
	t->msg_pending = waiting;
	if (!t->config.direct_mode && *khv_enable_apicv)
		kvm_make_request(KVM_REQ_SCAN_IOAPIC, vp->stock.vcpu);
}

static void stopped(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	clear_bit(t->index, &vp->stimers_due);
	clear_bit(t->index, &vp->stimers_started);
	set_waiting(vp, t, false);
	t->exp_time = 0;
}

static void stop(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	hrtimer_cancel(&t->timer);
	stopped(vp, t);
}

/* False: atomic, and the timer goes off on another CPU right now. */
static bool try_stop(const struct khv_msr_access *a, struct kvm_vcpu_hv_stimer *t)
{
	if (!a->atomic) {
		stop(a->vp, t);
		return true;
	}
	/* Not armed since it last went off, nor anything left of that: the common case. */
	if (!test_bit(t->index, &a->vp->stimers_started)) {
		if (test_bit(t->index, &a->vp->stimers_due))
			clear_bit(t->index, &a->vp->stimers_due);
		return true;
	}
	if (hrtimer_try_to_cancel(&t->timer) < 0)
		return false;
	stopped(a->vp, t);
	return true;
}

/*
 * NTP has the hrtimer's clock run faster or slower than the reference time, by some percent at
 * times: a long wait is made in pieces, each of most of the rest.
 */
static void arm(struct kvm_vcpu_hv_stimer *t, u64 ticks)
{
	ktime_t wait = ticks < KTIME_MAX / TICK_NS ? ticks * TICK_NS : KTIME_MAX;

	if (wait > LONG_WAIT_NS)
		wait -= wait / 8;
	hrtimer_start(&t->timer, ktime_add_safe(ktime_get_boottime(), wait), HRTIMER_MODE_ABS);
}

/*
 * A tick that meets the one before it still waiting in the APIC would be lost, and a
 * timer that is not lazy must not lose any.
 */
static bool direct_busy(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	u8 vector = t->config.apic_vector;
	u64 irr;

	if (!t->config.periodic || t->config.lazy || t->count < KHV_STIMER_MIN_PERIOD)
		return false;
	return !khv_kvm_hv_vapic_msr_read(vcpu, APIC_IRR + vector / 32 * 0x10, &irr) &&
	       (irr & BIT(vector % 32));
}

static bool signal_direct(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	/* An APIC in user space cannot be asked; the interrupt has nowhere to go. */
	if (!vcpu->arch.apic)
		return true;
	if (direct_busy(vcpu, t))
		return false;
	if (khv_apic_post(vcpu, t->config.apic_vector))
		return true;
	/* The APIC is disabled; khv_synic_apic_changed() tells when it is not. */
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
 * Storm guard: a guest that arms a one-shot in the past from the timer's own handler would never
 * leave that again. It gets a period's time for its main loop. One that arms it again meanwhile
 * does not begin to wait anew. Return: true if the timer is armed for what is left of that.
 */
static bool rushes(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, u64 now)
{
	u64 *end = &vp->stimer_rush_end[t->index];
	u8 *rush = &vp->stimer_rush[t->index];
	s64 left;

	if (t->config.periodic || khv_ticks_until(t->exp_time, now) > 0) {
		*rush = 0;
		*end = 0;
		return false;
	}
	if (*rush < MAX_RUSH) {
		++*rush;
		return false;
	}
	if (!*end)
		*end = now + KHV_STIMER_MIN_PERIOD;
	left = khv_ticks_until(*end, now);
	/* More is left only where user space has set the clock back. */
	if (left <= 0 || left > KHV_STIMER_MIN_PERIOD)
		return false;
	arm(t, left);
	return true;
}

static void serve(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	bool periodic = t->config.periodic;
	u64 period = periodic ? t->count : 0;
	bool started;
	u64 now;

	if (!t->config.enable)
		return;
	if (!t->count) {
		stop(vp, t);
		return;
	}

	started = test_and_set_bit(t->index, &vp->stimers_started);
	/* Pairs with khv_stimers_clock_changed(): it finds the timer started from here on. */
	now = khv_ref_time(vcpu);
	if (!started) {
		t->exp_time = khv_stimer_first(t->count, periodic, now);
		if (rushes(vp, t, now))
			return;
	}
	if (periodic && khv_stimer_set_back(t->exp_time, period, now))
		t->exp_time = khv_stimer_first(t->count, true, now);

	if (khv_ticks_until(t->exp_time, now) <= 0) {
		set_waiting(vp, t, !signal(vcpu, t, now));
		trace_khv_stimer(vcpu->vcpu_id, t->index, t->exp_time, now, !t->msg_pending);
		if (!periodic) {
			vp->stimer_rush_end[t->index] = 0;
			if (!t->msg_pending) {
				/* A clock set forward got here before the hrtimer. */
				hrtimer_try_to_cancel(&t->timer);
				t->config.enable = 0;
				clear_bit(t->index, &vp->stimers_started);
			}
			return;
		}
		if (t->msg_pending) {
			/* The next tick is one more occasion; there may be no other. */
			arm(t, max_t(u64, min_t(u64, period, S64_MAX), KHV_STIMER_MIN_PERIOD));
			return;
		}
		t->exp_time = khv_stimer_next(t->exp_time, period, t->config.lazy, now);
	}
	arm(t, khv_stimer_alarm(t->exp_time, period, now));
}

void khv_stimers_process(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int i;

	if (!vp)
		return;
	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		struct kvm_vcpu_hv_stimer *t = &vp->stock.stimer[i];

		if (test_and_clear_bit(i, &vp->stimers_due) || t->msg_pending)
			serve(vp, t);
	}
}

/* Each message is written, and KVM makes room for that only on the way into the guest. */
static bool dirty_ring_fills(const struct kvm_vcpu *vcpu)
{
	const struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

	return vcpu->kvm->dirty_ring_size &&
	       READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) >= ring->soft_limit;
}

/* A VP that waits for INIT or SIPI has no interrupts. */
static bool due_in_halt(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(to_khv_vcpu(vcpu)->stimers_due) &&
	       (vcpu->arch.mp_state == KVM_MP_STATE_HALTED ||
		vcpu->arch.mp_state == KVM_MP_STATE_RUNNABLE);
}

/* No clock of KVM's holds until a VP enters the guest; only an entry has the ring emptied. */
static bool needs_entry(struct kvm_vcpu *vcpu)
{
	return (vcpu->kvm->arch.backwards_tsc_observed &&
		kvm_test_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu)) ||
	       dirty_ring_fills(vcpu);
}

/* KVM_REQ_HV_STIMER stays: it is also the request for queued flushes. */
void khv_stimers_woken(struct kvm_vcpu *vcpu)
{
	int idx;

	if (!due_in_halt(vcpu) || needs_entry(vcpu))
		return;
	idx = srcu_read_lock(&vcpu->kvm->srcu);
	khv_stimers_process(vcpu);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
}

void khv_stimers_halt(struct kvm_vcpu *vcpu)
{
	khv_stimers_woken(vcpu);
	if (!due_in_halt(vcpu) || !needs_entry(vcpu))
		return;
	/* As KVM ends a HLT. */
	vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu->arch.apf.halted = false;
}

void khv_stimers_retry(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		if (READ_ONCE(vp->stock.stimer[i].msg_pending))
			request(vp->stock.vcpu, &vp->stock.stimer[i]);
	}
}

bool khv_stimer_waits(const struct khv_vcpu *vp, u32 sint)
{
	const struct kvm_vcpu_hv_stimer *t = vp->stock.stimer;
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		if (t[i].msg_pending && !t[i].config.direct_mode && t[i].config.sintx == sint)
			return true;
	}
	return false;
}

void khv_stimers_clock_changed(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	int bit;

	/* The new time before the look at who has started. Pairs with serve(), start_at_once(). */
	smp_mb();
	kvm_for_each_vcpu(i, vcpu, kvm) {
		struct khv_vcpu *vp = to_khv_vcpu(vcpu);

		if (!vp || !READ_ONCE(vp->stimers_started))
			continue;
		for_each_set_bit(bit, &vp->stimers_started, ARRAY_SIZE(vp->stock.stimer))
			request(vcpu, &vp->stock.stimer[bit]);
		wake(vcpu);
	}
}

/* Without a SynIC there are no timers; user space may still write what it read: 0. */
static bool accessible(const struct khv_msr_access *a)
{
	return a->vp->stock.synic.active || (a->host && !a->data);
}

/*
 * In the fast path: a timer that is not due yet needs nothing but its hrtimer, and the VP need not
 * leave KVM's inner loop for that. False: it is due, or began before.
 */
static bool start_at_once(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	bool periodic = t->config.periodic;
	u64 now, exp_time;

	if (!t->count || !khv_ref_time_at_hand(vp->stock.vcpu) ||
	    test_and_set_bit(t->index, &vp->stimers_started))
		return false;
	/* Whoever changes the clock from here on finds the timer started. */
	now = khv_ref_time(vp->stock.vcpu);
	exp_time = khv_stimer_first(t->count, periodic, now);
	if (khv_ticks_until(exp_time, now) <= 0) {
		clear_bit(t->index, &vp->stimers_started);
		return false;
	}
	t->exp_time = exp_time;
	vp->stimer_rush[t->index] = 0;
	vp->stimer_rush_end[t->index] = 0;
	arm(t, khv_stimer_alarm(exp_time, periodic ? t->count : 0, now));
	return true;
}

static void restart(struct khv_msr_access *a, struct kvm_vcpu_hv_stimer *t)
{
	/* SINT0 is not for timers: TLFS, "the timer is disabled". */
	if (!t->config.direct_mode && !t->config.sintx)
		t->config.enable = 0;
	if (t->config.enable && !(a->atomic && start_at_once(a->vp, t)))
		request(a->vcpu, t);
}

/* Vector 0 is none at all, which a timer may have until it is enabled. */
static bool valid_vector(union hv_stimer_config config)
{
	return config.apic_vector >= KHV_SINT_FIRST_VECTOR ||
	       (!config.apic_vector && !config.enable && !config.auto_enable);
}

enum khv_msr_result khv_msr_stimer_config_read(struct khv_msr_access *a)
{
	a->data = a->vp->stock.stimer[a->index].config.as_uint64;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_config_write(struct khv_msr_access *a)
{
	static const struct khv_priv direct = KHV_PRIV(FEATURES_EDX, STIMER_DIRECT);
	struct kvm_vcpu_hv_stimer *t = &a->vp->stock.stimer[a->index];
	union hv_stimer_config config = { .as_uint64 = a->data };

	if (!accessible(a))
		return KHV_MSR_FAULT;
	/* User space may restore what stock KVM let a guest set. */
	if (config.direct_mode && !a->host && !valid_vector(config))
		return KHV_MSR_FAULT;
	if (config.direct_mode && !a->host && a->vp->stock.enforce_cpuid &&
	    !khv_priv_held(&a->vp->cpuid, direct))
		return KHV_MSR_FAULT;

	if (!try_stop(a, t))
		return KHV_MSR_SLOW;
	t->config = config;
	restart(a, t);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_count_read(struct khv_msr_access *a)
{
	a->data = a->vp->stock.stimer[a->index].count;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_count_write(struct khv_msr_access *a)
{
	struct kvm_vcpu_hv_stimer *t = &a->vp->stock.stimer[a->index];

	if (!accessible(a))
		return KHV_MSR_FAULT;

	if (!try_stop(a, t))
		return KHV_MSR_SLOW;
	t->count = a->data;
	/* User space restores two registers in any order: one must not change the other. */
	if (!a->host) {
		if (!t->count)
			t->config.enable = 0;
		else if (t->config.auto_enable)
			t->config.enable = 1;
	}
	restart(a, t);
	return KHV_MSR_OK;
}
