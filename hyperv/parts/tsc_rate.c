// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rate of the TSC of a restored VM, and HV_X64_MSR_TSC_EMULATION_STATUS. A guest that has set
 * HV_X64_MSR_TSC_EMULATION_CONTROL.Enabled keeps the rate of before where the host can scale the
 * TSC, until it lets go. Only the frozen reference TSC page tells what that rate was. TLFS chapter
 * "Nested Virtualization", "Reenlightenment".
 *
 * A change of the rate: one VP takes hv_lock, makes a request of all VPs and has them leave the
 * guest, and notes the new rate and the instant. Each VP meets the request before it enters the
 * guest again, waits for hv_lock, and changes its own TSC under vcpu->mutex, where nothing else of
 * KVM changes it. That of a VP outside of KVM_RUN is changed for it.
 */
#include <linux/kvm_host.h>
#include <linux/math64.h>
#include <linux/srcu.h>
#include <asm/tsc.h>

#include "compat/calls.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/refclock.h"
#include "khv/reftime.h"
#include "khv/tsc_rate.h"

/* Keep no rate more than 16 times the host's, or less than a 16th. */
#define MAX_FACTOR 16
/* Ignore a difference of up to 1 / 4000, which is 250 ppm, as KVM does. */
#define TOLERANCE  4000

/* Bits of a ratio behind the point: Intel SDM "TSC multiplier", AMD APM "TSC Ratio MSR". */
static u32 ratio_bits(void)
{
	return khv_svm ? 32 : 48;
}

static u64 host_hz(void)
{
	return (u64)tsc_khz * 1000;
}

/* Have all VPs leave the guest. Each waits for hv_lock before it enters again. */
static void stop_vps(struct khv_vcpu *vp)
{
	struct khv_kick kick = { .cpus = vp->kick_cpus };
	struct kvm_vcpu *vcpu;
	unsigned long i;

	preempt_disable();
	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		khv_kick_request(&kick, vcpu, KHV_REQ_PROCESS);
		khv_kick_resched(&kick);
	}
	khv_kick_wait(&kick);
	preempt_enable();
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
	struct khv_cycles cycles;
	unsigned long flags;
	bool changes;

	changes = khv_tsc_rate_applies(vp) &&
		  (ratio != rate->ratio || vp->tsc_moved != rate->moved);
	/* As set_source() in tsc_page.c; pairs with the same read sections. */
	local_irq_save(flags);
	write_seqcount_begin(&clock->seq);
	if (changes) {
		WRITE_ONCE(vcpu->arch.l1_tsc_scaling_ratio, rate->ratio);
		WRITE_ONCE(vcpu->arch.l1_tsc_offset,
			   vcpu->arch.l1_tsc_offset + rate->moved - vp->tsc_moved);
		WRITE_ONCE(vp->tsc_given, rate->ratio);
	}
	vp->tsc_moved = rate->moved;
	write_seqcount_end(&clock->seq);
	local_irq_restore(flags);
	if (!changes)
		return;

	cycles = khv_cycles_compute(rate->khz);
	WRITE_ONCE(vcpu->arch.virtual_tsc_khz, rate->khz);
	vcpu->arch.virtual_tsc_mult = cycles.mul;
	vcpu->arch.virtual_tsc_shift = cycles.shift;
	vp->tsc_unwritten = true;
}

/* Change the rate, under hv_lock and the VP's vcpu->mutex. */
static void change(struct khv_vcpu *vp, u64 from, u64 ratio, u32 khz, u64 scale)
{
	struct khv_tsc_rate *rate = &vp->vm->tsc_rate;
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *other;
	unsigned long i;

	lockdep_assert_held(&vp->vm->kvm->arch.hyperv.hv_lock);
	WRITE_ONCE(rate->generation, rate->generation + 1);
	/*
	 * Before the requests: a VP that meets one must see that it has to wait. Pairs with the
	 * barrier of kvm_check_request(), which the read in khv_tsc_rate_pending() follows.
	 */
	smp_wmb();
	stop_vps(vp);
	khv_reftime_change_rate(vp->stock.vcpu, from, ratio, scale);
	rate->khz = khz;
	apply(vp);
	/* Those that nobody uses: user space may save or set their TSC before they run again. */
	kvm_for_each_vcpu(i, vcpu, vp->vm->kvm) {
		other = to_khv_vcpu(vcpu);
		if (other && other != vp && mutex_trylock(&vcpu->mutex)) {
			apply(other);
			mutex_unlock(&vcpu->mutex);
		}
		cond_resched();
	}
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
	if (!hz || !khv_ref_scale(khv_kvm_scale_tsc(host_hz(), from)) ||
	    khv_kvm_vm_ioctl_check_extension(vcpu->kvm, KVM_CAP_TSC_CONTROL) <= 0 || !one_rate(vp))
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
	khv_write_tsc(vcpu);
}

/* Arm the deadline of the local APIC's timer by the new rate. */
static void rearm_deadline(struct kvm_vcpu *vcpu, bool halts)
{
	u64 deadline = khv_kvm_get_lapic_tscdeadline_msr(vcpu);

	if (!deadline)
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
		rearm_deadline(vcpu, halts);
	/* A VP that is halted has its timers armed by the rate of before. */
	if (kept)
		khv_request_all(vcpu->kvm, KVM_REQ_UNBLOCK);
}

void khv_tsc_rate_run_end(struct khv_vcpu *vp)
{
	struct mutex *lock = &vp->vm->kvm->arch.hyperv.hv_lock;

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
		khv_request_all(vp->vm->kvm, KVM_REQ_UNBLOCK);
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
