// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_STIMERn_CONFIG and HV_X64_MSR_STIMERn_COUNT. One hrtimer per synthetic timer wakes the
 * VP's thread, which signals the expiry (stimer_expiry.c). State is kept in the stock struct and
 * owned by the VP's thread; other CPUs only set bits in &khv_vcpu.stimers_due.
 * stimer_pending_bitmap of the stock struct stays 0, because KVM ends a HLT if one of its bits is
 * set. TLFS chapter "Timers", "Synthetic Timers".
 */
#include <linux/kvm_host.h>

#include "compat/calls.h"
#include "compat/hrtimer.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/stimer_math.h"

#include "stimer.h"

#define LONG_WAIT_NS (100 * NSEC_PER_MSEC)

static struct kvm_vcpu *timer_vcpu(struct kvm_vcpu_hv_stimer *t)
{
	return container_of(t, struct kvm_vcpu_hv, stimer[t->index])->vcpu;
}

/* Have the VP's thread process the timer before it enters the guest or halts. */
static void request(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_stimer *t)
{
	set_bit(t->index, &to_khv_vcpu(vcpu)->stimers_due);
	kvm_make_request(KHV_REQ_PROCESS, vcpu);
}

/*
 * Have the vCPU's thread process its requests at once. A halted VP stays halted unless an interrupt
 * is signalled.
 */
static void wake(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_UNBLOCK, vcpu);
	khv_vcpu_kick(vcpu);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct kvm_vcpu_hv_stimer *t = container_of(timer, struct kvm_vcpu_hv_stimer, timer);
	struct kvm_vcpu *vcpu = timer_vcpu(t);

	request(vcpu, t);
	wake(vcpu);
	return HRTIMER_NORESTART;
}

void khv_stimer_init(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		struct kvm_vcpu_hv_stimer *t = &vp->stock.stimer[i];
		struct hv_timer_message_payload *payload = (void *)t->msg.u.payload;

		t->index = i;
		/* CLOCK_BOOTTIME: the reference time also advances while the host is suspended. */
		khv_hrtimer_setup(&t->timer, timer_fired, CLOCK_BOOTTIME, HRTIMER_MODE_ABS);
		t->msg.header.message_type = HVMSG_TIMER_EXPIRED;
		t->msg.header.payload_size = sizeof(*payload);
		payload->timer_index = i;
	}
}

void khv_stimer_uninit(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++)
		hrtimer_cancel(&vp->stock.stimer[i].timer);
}

/*
 * An expiry that waits for its message slot is retried at the EOI of the SINT's vector. Under APICv
 * that EOI is a VM-Exit only while an expiry waits, see khv_synic_awaited(): have KVM load the
 * bitmap again.
 */
void khv_stimer_set_waiting(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, bool waiting)
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
	khv_stimer_set_waiting(vp, t, false);
	t->exp_time = 0;
}

void khv_stimer_stop(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	hrtimer_cancel(&t->timer);
	stopped(vp, t);
}

/*
 * Stop the timer. Return: false in the fast path if its hrtimer callback runs on another CPU right
 * now.
 */
static bool try_stop(const struct khv_msr_access *a, struct kvm_vcpu_hv_stimer *t)
{
	if (!a->atomic) {
		khv_stimer_stop(a->vp, t);
		return true;
	}
	/*
	 * The common case: not started since the last expiry, so that only a stale due bit may be
	 * left.
	 */
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
 * NTP adjusts the rate of the hrtimer's clock, at times by some percent, but not that of the
 * reference time. Split a long wait: wait for seven eighths of the rest each time.
 */
void khv_stimer_arm(struct kvm_vcpu_hv_stimer *t, u64 ticks)
{
	ktime_t wait = ticks < KTIME_MAX / KHV_TICK_NS ? ticks * KHV_TICK_NS : KTIME_MAX;

	if (wait > LONG_WAIT_NS)
		wait -= wait / 8;
	hrtimer_start(&t->timer, ktime_add_safe(ktime_get_boottime(), wait), HRTIMER_MODE_ABS);
}

void khv_stimer_retry(struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vp->stock.stimer); i++) {
		if (READ_ONCE(vp->stock.stimer[i].msg_pending))
			request(vp->stock.vcpu, &vp->stock.stimer[i]);
	}
}

void khv_stimer_apic_changed(struct khv_vcpu *vp)
{
	if (!vp->apic_waits)
		return;
	vp->apic_waits = false;
	khv_stimer_retry(vp);
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

void khv_stimer_clock_changed(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	int bit;

	/*
	 * Order the new time before the reads of stimers_started. Pairs with test_and_set_bit() in
	 * expire() and start_at_once().
	 */
	smp_mb();
	kvm_for_each_vcpu(i, vcpu, kvm) {
		struct khv_vcpu *vp = to_khv_vcpu(vcpu);

		cond_resched();
		if (!vp || !READ_ONCE(vp->stimers_started))
			continue;
		for_each_set_bit(bit, &vp->stimers_started, ARRAY_SIZE(vp->stock.stimer))
			request(vcpu, &vp->stock.stimer[bit]);
		wake(vcpu);
	}
}

/*
 * The timers need an active SynIC; without it user space may still write back the 0 that it read.
 */
static bool accessible(const struct khv_msr_access *a)
{
	return a->vp->stock.synic.active || (a->host && !a->data);
}

/*
 * Start a timer in the fast path: one that is not due yet only needs its hrtimer armed, for which
 * the vCPU need not leave KVM's inner loop. Return: false if the timer is due or was started
 * before.
 */
static bool start_at_once(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t)
{
	bool periodic = t->config.periodic;
	u64 now, exp_time;

	if (!t->count || !khv_ref_time_at_hand(vp->stock.vcpu) ||
	    test_and_set_bit(t->index, &vp->stimers_started))
		return false;
	/*
	 * test_and_set_bit() above orders the started bit before this read of the time. Pairs with
	 * smp_mb() in khv_stimer_clock_changed().
	 */
	now = khv_ref_time(vp->stock.vcpu);
	exp_time = khv_stimer_first(t->count, periodic, now);
	if (khv_ticks_until(exp_time, now) <= 0) {
		clear_bit(t->index, &vp->stimers_started);
		return false;
	}
	t->exp_time = exp_time;
	vp->stimer_rush[t->index] = 0;
	vp->stimer_rush_end[t->index] = 0;
	khv_stimer_arm(t, khv_stimer_alarm(exp_time, periodic ? t->count : 0, now));
	return true;
}

static void start_if_enabled(struct khv_msr_access *a, struct kvm_vcpu_hv_stimer *t)
{
	/* TLFS: a message-mode timer on SINT0 is disabled. */
	if (!t->config.direct_mode && !t->config.sintx)
		t->config.enable = 0;
	if (t->config.enable && !(a->atomic && start_at_once(a->vp, t)))
		request(a->vcpu, t);
}

/* Vector 0 means "no vector", which is valid until the timer is enabled. */
static bool valid_vector(union hv_stimer_config config)
{
	return config.apic_vector >= KHV_SINT_FIRST_VECTOR ||
	       (!config.apic_vector && !config.enable && !config.auto_enable);
}

/* Masked: where khv_msr_find()'s check is mispredicted, a->index is any number. */
static struct kvm_vcpu_hv_stimer *accessed(const struct khv_msr_access *a)
{
	return &a->vp->stock.stimer[a->index % HV_SYNIC_STIMER_COUNT];
}

enum khv_msr_result khv_msr_stimer_config_read(struct khv_msr_access *a)
{
	a->data = accessed(a)->config.as_uint64;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_config_write(struct khv_msr_access *a)
{
	static const struct khv_priv direct = KHV_PRIV(FEATURES_EDX, STIMER_DIRECT);
	struct kvm_vcpu_hv_stimer *t = accessed(a);
	union hv_stimer_config config = { .as_uint64 = a->data };

	if (!accessible(a))
		return KHV_MSR_FAULT;
	/* Let user space restore any value that stock KVM lets a guest set. */
	if (config.direct_mode && !a->host && !valid_vector(config))
		return KHV_MSR_FAULT;
	if (config.direct_mode && !a->host && a->vp->stock.enforce_cpuid &&
	    !khv_priv_held(&a->vp->cpuid, direct))
		return KHV_MSR_FAULT;

	if (!try_stop(a, t))
		return KHV_MSR_SLOW;
	if (t->config.periodic != config.periodic) {
		a->vp->stimer_rush[t->index] = 0;
		a->vp->stimer_rush_end[t->index] = 0;
	}
	t->config = config;
	start_if_enabled(a, t);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_count_read(struct khv_msr_access *a)
{
	a->data = accessed(a)->count;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_stimer_count_write(struct khv_msr_access *a)
{
	struct kvm_vcpu_hv_stimer *t = accessed(a);

	if (!accessible(a))
		return KHV_MSR_FAULT;

	if (!try_stop(a, t))
		return KHV_MSR_SLOW;
	t->count = a->data;
	/*
	 * User space restores the two registers in any order: a write to one must not change the
	 * other.
	 */
	if (!a->host) {
		if (!t->count)
			t->config.enable = 0;
		else if (t->config.auto_enable)
			t->config.enable = 1;
	}
	start_if_enabled(a, t);
	return KHV_MSR_OK;
}
