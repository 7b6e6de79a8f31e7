// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rate of the TSC of a restored VM, HV_X64_MSR_TSC_EMULATION_STATUS, and the TSC that a guest
 * sets by HvCallRestorePartitionTime. A guest that has set HV_X64_MSR_TSC_EMULATION_CONTROL.Enabled
 * keeps the rate of before where the host can scale the TSC, until it lets go. Only the frozen
 * reference TSC page tells what that rate was. TLFS chapters "Nested Virtualization",
 * "Reenlightenment", and "Hypercall Reference".
 *
 * A change of the rate, or of the TSC: one VP takes hv_lock, makes a request of all VPs and has
 * them leave the guest, and notes the new rate, or TSC, and the instant. Each VP meets the request
 * before it enters the guest again, waits for hv_lock, and changes its own TSC under vcpu->mutex,
 * where nothing else of KVM changes it. The TSC of a VP outside of KVM_RUN is changed for it.
 */
#include <linux/kvm_host.h>
#include <linux/math64.h>
#include <linux/srcu.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "compat/calls.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/refclock.h"
#include "khv/reftime.h"
#include "khv/stimer.h"
#include "khv/tlfs.h"
#include "khv/tsc_rate.h"

/* Keep no rate more than 16 times the host's, or less than a 16th. */
#define MAX_FACTOR     16
/* Ignore a difference of up to 1 / 4000, which is 250 ppm, as KVM does. */
#define TOLERANCE      4000
/* How long to wait for ioctls of other threads, in jiffies. */
#define SETTLE_JIFFIES 20

/* Bits of a ratio behind the point: Intel SDM "TSC multiplier", AMD APM "TSC Ratio MSR". */
static u32 ratio_bits(void)
{
	return khv_svm ? 32 : 48;
}

static bool host_scales(struct kvm *kvm)
{
	return khv_kvm_vm_ioctl_check_extension(kvm, KVM_CAP_TSC_CONTROL) > 0;
}

static u64 host_hz(void)
{
	return (u64)tsc_khz * 1000;
}

/* Have all VPs leave the guest, under hv_lock. Each waits for it before it enters again. */
static void stop_vps(struct khv_vcpu *vp)
{
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	struct khv_kick kick = { .cpus = vp->kick_cpus };
	struct kvm_vcpu *vcpu;
	unsigned long i;

	lockdep_assert_held(&vp->vm->kvm->arch.hyperv.hv_lock);
	WRITE_ONCE(rate->generation, rate->generation + 1);
	/*
	 * Before the requests: a VP that meets one must see that it has to wait. Pairs with the
	 * barrier of kvm_check_request(), which the read in khv_tsc_rate_pending() follows.
	 */
	smp_wmb();
	preempt_disable();
	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		khv_kick_request(&kick, vcpu, KHV_REQ_PROCESS);
		khv_kick_resched(&kick);
	}
	khv_kick_wait(&kick);
	preempt_enable();
}

/*
 * KVM goes by the end of a one-shot or periodic local APIC timer as a time, and as a TSC, which it
 * takes whenever it loads the vCPU on another CPU. Move the latter with the TSC.
 */
static void move_deadline(struct kvm_vcpu *vcpu)
{
	struct khv_kvm_lapic *apic = (void *)vcpu->arch.apic;
	ktime_t end;
	s64 ns;

	/* A deadline of TSC-deadline mode is the guest's: see rearm_timer(). */
	if (khv_kvm_get_lapic_tscdeadline_msr(vcpu) || !apic || apic->vcpu != vcpu ||
	    !apic->lapic_timer.tscdeadline)
		return;
	do {
		end = READ_ONCE(apic->lapic_timer.target_expiration);
		ns = ktime_sub(end, ktime_get());
		apic->lapic_timer.tscdeadline =
			khv_guest_tsc(rdtsc(), vcpu) +
			(ns > 0 ? pvclock_scale_delta(ns, vcpu->arch.virtual_tsc_mult,
						      vcpu->arch.virtual_tsc_shift) :
				  0);
		/* A periodic one may expire meanwhile. */
	} while (end != READ_ONCE(apic->lapic_timer.target_expiration));
}

/*
 * Change the VP's TSC, under hv_lock and vcpu->mutex, as far as KVM knows it: write_tsc() gives it
 * to the hardware.
 */
static void apply(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	const struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	struct khv_refclock *clock = &vp->vm->refclock;
	u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
	bool rated = khv_tsc_rate_applies(vp) &&
		     (ratio != rate->ratio || vp->tsc_moved != rate->moved);
	const struct khv_vcpu *first = to_khv_vcpu(khv_first_vcpu(vcpu));
	bool set = vp->tsc_set != rate->set.count;
	struct khv_cycles cycles;
	unsigned long flags;
	u64 step, delta;

	/* A VP that comes late does not go where VP 0 was before user space set its TSC. */
	if (!vp->tsc_set && set && first && first != vp && first->tsc_set == rate->set.count &&
	    READ_ONCE(first->stock.vcpu->arch.l1_tsc_offset) != first->tsc_line) {
		vp->tsc_set = rate->set.count;
		set = false;
	}
	/* As set_source() in tsc_page.c; pairs with the same read sections. */
	local_irq_save(flags);
	write_seqcount_begin(&clock->seq);
	step = khv_tsc_step(vcpu, vcpu->arch.l1_tsc_offset);
	delta = step + (rated ? rate->moved - vp->tsc_moved : 0);
	if (rated) {
		WRITE_ONCE(vcpu->arch.l1_tsc_scaling_ratio, rate->ratio);
		WRITE_ONCE(vp->tsc_given, rate->ratio);
	}
	WRITE_ONCE(vcpu->arch.l1_tsc_offset, vcpu->arch.l1_tsc_offset + delta);
	/* Without a set, the offset may be one that user space has given it since. */
	vp->tsc_line = set ? vcpu->arch.l1_tsc_offset : vp->tsc_line + delta;
	vp->tsc_moved = rate->moved;
	WRITE_ONCE(vp->tsc_set, rate->set.count);
	write_seqcount_end(&clock->seq);

	if (set) {
		/* As KVM does where a guest writes its TSC. */
		vcpu->arch.ia32_tsc_adjust_msr += step;
		/* Where KVM goes on from if the host's TSC becomes unstable. */
		vcpu->arch.this_tsc_write += step;
		/* That of before a suspend of the host, which KVM adds when it loads the vCPU. */
		vcpu->arch.tsc_offset_adjustment = 0;
	}
	if (rated) {
		cycles = khv_cycles_compute(rate->khz);
		WRITE_ONCE(vcpu->arch.virtual_tsc_khz, rate->khz);
		vcpu->arch.virtual_tsc_mult = cycles.mul;
		vcpu->arch.virtual_tsc_shift = cycles.shift;
	}
	if (set || rated) {
		vp->tsc_unwritten = true;
		/* No load of the vCPU may see the one without the other. */
		move_deadline(vcpu);
	}
	local_irq_restore(flags);
	WRITE_ONCE(vp->tsc_applied, rate->generation);
}

/*
 * Has the VP to run before it follows what the guest has set? User space may yet give the TSC of
 * one that is new its first value.
 */
static bool is_new(const struct khv_vcpu *vp)
{
	return !READ_ONCE(vp->tsc_ratio) &&
	       READ_ONCE(vp->tsc_set) != READ_ONCE(vp->vm->tsc_rate.set.count);
}

/* Change the TSC of each VP that can be had, under hv_lock and @vp's vcpu->mutex. */
static void apply_all(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *other;
	unsigned long i;

	apply(vp);
	/* Those that nobody uses: user space may save or set their TSC before they run again. */
	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		other = to_khv_vcpu(vcpu);
		if (other && other != vp && !is_new(other) && mutex_trylock(&vcpu->mutex)) {
			apply(other);
			mutex_unlock(&vcpu->mutex);
		}
		cond_resched();
	}
}

/* Return: false if the thread that has the vCPU must be waited for. */
static bool try_apply(struct khv_vcpu *vp)
{
	struct mutex *lock = &vp->vm->kvm->arch.hyperv.hv_lock;
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	/* Pairs with khv_tsc_rate_run_end(): a thread inside KVM_RUN sees the change. */
	smp_mb();
	if (READ_ONCE(vp->tsc_applied) == READ_ONCE(vp->vm->tsc_rate.generation) ||
	    READ_ONCE(vp->tsc_runs) || is_new(vp))
		return true;
	if (!mutex_trylock(&vcpu->mutex))
		return false;
	mutex_lock(lock);
	apply(vp);
	mutex_unlock(lock);
	mutex_unlock(&vcpu->mutex);
	return true;
}

/*
 * Wait for VPs whose threads apply_all() has met in an ioctl other than KVM_RUN: user space that
 * saves the VM next must see one TSC. An ioctl may wait for user space, and so for this thread:
 * give up then. Have VPs that are halted follow, too.
 */
static void settle(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *other;
	int rounds = SETTLE_JIFFIES;
	unsigned long i;

	khv_request_all(vp->vm->kvm, KVM_REQ_UNBLOCK);
	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		other = to_khv_vcpu(vcpu);
		while (other && other != vp && !try_apply(other)) {
			if (!rounds || fatal_signal_pending(current))
				break;
			rounds--;
			schedule_timeout_uninterruptible(1);
		}
		cond_resched();
	}
}

/* Change the rate, under hv_lock and the VP's vcpu->mutex. */
static void change(struct khv_vcpu *vp, u64 from, u64 ratio, u32 khz, u64 scale)
{
	stop_vps(vp);
	khv_reftime_change_rate(vp->stock.vcpu, from, ratio, scale);
	vp->vm->tsc_rate.khz = khz;
	apply_all(vp);
}

/* Ratio that the VP's TSC has, or has once it has followed. */
static u64 ratio_of(const struct khv_vcpu *vp)
{
	return khv_tsc_rate_applies(vp) ? vp->vm->tsc_rate.ratio :
					  READ_ONCE(vp->stock.vcpu->arch.l1_tsc_scaling_ratio);
}

/* Have all VPs the same rate, so that one change serves them all? */
static bool one_rate(struct khv_vcpu *vp)
{
	u64 ratio = ratio_of(vp);
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *other;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		other = to_khv_vcpu(vcpu);
		if (!other || READ_ONCE(vcpu->arch.tsc_catchup) || ratio_of(other) != ratio)
			return false;
		cond_resched();
	}
	return true;
}

/* Take the rate that all VPs have for the one that the guest goes on with. */
static void take_native(struct khv_vcpu *vp)
{
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	struct khv_refclock *clock = &vp->vm->refclock;
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *other;
	unsigned long flags, i;

	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		other = to_khv_vcpu(vcpu);
		/* User space has set the rate itself since the module last gave one. */
		if (other && !khv_tsc_rate_applies(other)) {
			WRITE_ONCE(other->tsc_given, 0);
			WRITE_ONCE(other->tsc_moved, rate->moved);
		}
		cond_resched();
	}
	/* khv_guest_tsc() must not take the ratio of an earlier change for the one to come. */
	local_irq_save(flags);
	write_seqcount_begin(&clock->seq);
	rate->native_ratio = vp->stock.vcpu->arch.l1_tsc_scaling_ratio;
	rate->ratio = rate->native_ratio;
	write_seqcount_end(&clock->seq);
	local_irq_restore(flags);
	WRITE_ONCE(rate->native_khz, vp->stock.vcpu->arch.virtual_tsc_khz);
}

/*
 * Must a rate of before be kept, that of the page? Return: it, in Hz, or 0. The page is guest
 * memory: a rate that is none, or that the guest cannot have had, is not kept.
 */
static u64 rate_of_before(struct kvm_vcpu *vcpu, u64 ratio)
{
	u64 now = khv_kvm_scale_tsc(host_hz(), ratio);
	u64 hz = khv_ref_frequency(khv_reftime_frozen_scale(vcpu));

	if (hz > host_hz() * MAX_FACTOR || hz < host_hz() / MAX_FACTOR)
		return 0;
	return (hz > now ? hz - now : now - hz) > now / TOLERANCE ? hz : 0;
}

/*
 * Look once after a restore, under hv_lock. The VP itself has followed. Return: true if the VPs
 * have a rate to follow.
 */
static bool look(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	struct kvm_hv *hv = &vcpu->kvm->arch.hyperv;
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	u64 from = vcpu->arch.l1_tsc_scaling_ratio;
	u64 hz;

	rate->restored = false;
	/* User space has set another rate than the one that was kept. */
	if (!khv_tsc_rate_applies(vp))
		WRITE_ONCE(rate->kept, false);
	/* The VPs' TSCs move by what one CPU's TSC tells. */
	if (check_tsc_unstable())
		return false;
	/* To let go, a page that stays frozen needs a scale of the native rate. */
	hz = rate_of_before(vcpu, from);
	if (!hz || !khv_ref_scale(khv_kvm_scale_tsc(host_hz(), from)) || !host_scales(vcpu->kvm) ||
	    !one_rate(vp))
		return false;
	if (!rate->kept)
		take_native(vp);
	WRITE_ONCE(rate->kept_khz, div_u64(hz + 500, 1000));
	change(vp, from, mul_u64_u64_div_u64(1ULL << ratio_bits(), hz, host_hz()), rate->kept_khz,
	       0);
	WRITE_ONCE(rate->kept, true);
	WRITE_ONCE(hv->hv_tsc_emulation_status, KHV_TSC_EMULATION_IN_PROGRESS);
	return true;
}

/* Mirrors kvm_vcpu_write_tsc_multiplier() and kvm_vcpu_write_tsc_offset(). */
static void write_tsc(struct kvm_vcpu *vcpu)
{
	u64 multiplier;

	vcpu->arch.tsc_scaling_ratio = vcpu->arch.l1_tsc_scaling_ratio;
	vcpu->arch.tsc_offset = vcpu->arch.l1_tsc_offset;
	if (khv_in_l2(vcpu)) {
		multiplier = khv_x86_ops->get_l2_tsc_multiplier(vcpu);
		vcpu->arch.tsc_scaling_ratio =
			khv_kvm_calc_nested_tsc_multiplier(vcpu->arch.l1_tsc_scaling_ratio,
							   multiplier);
		vcpu->arch.tsc_offset =
			khv_kvm_calc_nested_tsc_offset(vcpu->arch.l1_tsc_offset,
						       khv_x86_ops->get_l2_tsc_offset(vcpu),
						       multiplier);
	}
	if (host_scales(vcpu->kvm))
		khv_write_tsc_multiplier(vcpu);
	khv_write_tsc_offset(vcpu);
}

/* Arm the local APIC's timer for the deadline that the guest has written, by the new TSC. */
static void rearm_timer(struct kvm_vcpu *vcpu, bool halts)
{
	u64 deadline = khv_kvm_get_lapic_tscdeadline_msr(vcpu);
	struct khv_kvm_lapic *apic = (void *)vcpu->arch.apic;

	/* It may have expired, and its interrupt be on its way. */
	if (!deadline || atomic_read(&apic->lapic_timer.pending))
		return;
	khv_kvm_set_lapic_tscdeadline_msr(vcpu, deadline);
	/* As KVM does before a halt: the VMX preemption timer runs in the guest only. */
	if (halts)
		khv_kvm_lapic_switch_to_sw_timer(vcpu);
}

void khv_tsc_rate_follow(struct khv_vcpu *vp, bool halts)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	struct mutex *lock = &vcpu->kvm->arch.hyperv.hv_lock;
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	bool changed, kept = false;
	int idx;

	if (likely(!khv_tsc_rate_pending(vp)))
		return;
	idx = srcu_read_lock(&vcpu->kvm->srcu);
	/* Have the time follow the frozen page of a restore before its rate is looked at. */
	if (READ_ONCE(rate->restored))
		khv_reftime_adopt(vcpu);
	mutex_lock(lock);
	apply(vp);
	if (rate->restored)
		kept = look(vp);
	WRITE_ONCE(vp->tsc_generation, rate->generation);
	mutex_unlock(lock);
	changed = vp->tsc_unwritten;
	vp->tsc_unwritten = false;
	if (changed)
		write_tsc(vcpu);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
	/* Have KVM's clock, and the reference TSC page, follow. */
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	if (changed)
		rearm_timer(vcpu, halts);
	/* A VP that is halted has its timers armed by the rate of before. */
	if (kept)
		settle(vp);
}

void khv_tsc_rate_run_end(struct khv_vcpu *vp)
{
	struct mutex *lock = &vp->vm->kvm->arch.hyperv.hv_lock;

	WRITE_ONCE(vp->tsc_runs, false);
	/* Pairs with try_apply(). */
	smp_mb();
	if (likely(!khv_tsc_rate_pending(vp)))
		return;
	mutex_lock(lock);
	apply(vp);
	mutex_unlock(lock);
}

void khv_tsc_rate_restored(struct khv_vm *vm, bool wants)
{
	struct mutex *lock = &vm->kvm->arch.hyperv.hv_lock;

	mutex_lock(lock);
	WRITE_ONCE(vm->tsc_rate.restored, wants);
	if (wants)
		WRITE_ONCE(vm->tsc_rate.generation, vm->tsc_rate.generation + 1);
	mutex_unlock(lock);
}

/* The guest lets go of the rate of before, or user space puts the VM back. */
static void let_go(struct khv_vcpu *vp)
{
	struct kvm_hv *hv = &vp->vm->kvm->arch.hyperv;
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	u64 native;
	bool kept;

	mutex_lock(&hv->hv_lock);
	kept = rate->kept;
	if (kept) {
		native = khv_kvm_scale_tsc(host_hz(), rate->native_ratio);
		change(vp, rate->ratio, rate->native_ratio, rate->native_khz,
		       khv_ref_scale(native));
		WRITE_ONCE(rate->kept, false);
	}
	WRITE_ONCE(hv->hv_tsc_emulation_status, 0);
	mutex_unlock(&hv->hv_lock);
	/* As in khv_tsc_rate_follow(). */
	if (kept)
		settle(vp);
}

/* Is the TSC of all VPs one that KVM leaves as it is set? */
static bool tsc_is_steady(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (check_tsc_unstable())
		return false;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (READ_ONCE(vcpu->arch.tsc_catchup))
			return false;
		cond_resched();
	}
	return true;
}

u16 khv_tsc_restore(struct khv_vcpu *vp, u64 time, u64 tsc, u32 sequence)
{
	struct kvm *kvm = vp->vm->kvm;
	bool fits;

	if (!tsc_is_steady(kvm))
		return HV_STATUS_ACCESS_DENIED;
	mutex_lock(&kvm->arch.hyperv.hv_lock);
	fits = khv_reftime_restorable(vp->stock.vcpu, time);
	if (fits) {
		stop_vps(vp);
		khv_reftime_restore(vp->stock.vcpu, time, tsc, sequence);
		apply_all(vp);
	}
	mutex_unlock(&kvm->arch.hyperv.hv_lock);
	if (!fits)
		return HV_STATUS_INVALID_PARAMETER;
	khv_request_all(kvm, KVM_REQ_CLOCK_UPDATE);
	/* Deadlines were computed with the old time. */
	khv_stimer_clock_changed(kvm);
	settle(vp);
	return HV_STATUS_SUCCESS;
}

enum khv_msr_result khv_msr_tsc_emulation_status_write(struct khv_msr_access *a)
{
	/* Only the hypervisor starts emulation; the guest ends it by writing 0. */
	if (a->data && !a->host)
		return KHV_MSR_FAULT;
	/* In the fast path: who keeps a rate has this VP leave the guest, and so waits for it. */
	if (a->atomic && !a->data && READ_ONCE(a->vm->tsc_rate.kept))
		return KHV_MSR_SLOW;
	if (!a->data && !a->atomic) {
		let_go(a->vp);
		return KHV_MSR_OK;
	}
	WRITE_ONCE(a->vcpu->kvm->arch.hyperv.hv_tsc_emulation_status, a->data);
	return KHV_MSR_OK;
}
