// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_REFERENCE_TSC and TIME_REF_COUNT, and what the reference time follows: KVM's master
 * clock; while KVM has none, KVM's clock without using the TSC; what the page says, if the guest
 * relies on that (HV_X64_MSR_TSC_EMULATION_CONTROL).
 * Writers hold kvm->arch.hyperv.hv_lock. TLFS chapter "Timers", "Partition Reference Time
 * Enlightenment".
 */
#include <linux/kvm_host.h>
#include <asm/pvclock-abi.h>

#include "compat/calls.h"
#include "khv/handlers.h"
#include "khv/hypercall_code.h"
#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/tsc_rate.h"

/* KVM's clock is a signed number of ns: leave half of its range for the time to come. */
#define TIME_MAX   (BIT_ULL(62) / KHV_TICK_NS)
/* Ignore a step of the clock up to 1 us: timers that are armed stay within that error. */
#define STEP_TICKS 10

/* Read a consistent copy of KVM's master clock. Return: false if KVM has none. */
static bool get_master_clock(struct kvm *kvm, struct khv_master_clock *master)
{
	struct kvm_arch *ka = &kvm->arch;
	unsigned int seq;
	bool has;

	do {
		seq = read_seqcount_begin(&ka->pvclock_sc);
		has = ka->use_master_clock;
		master->cycle = ka->master_cycle_now;
		master->kernel_ns = ka->master_kernel_ns;
		master->offset = ka->kvmclock_offset;
	} while (read_seqcount_retry(&ka->pvclock_sc, seq));
	return has;
}

/*
 * Is this still KVM's master clock? Reads without KVM's seqcount: a torn read differs, and the
 * caller looks again under hv_lock.
 */
static bool is_master_clock(const struct kvm *kvm, const struct khv_master_clock *master)
{
	return READ_ONCE(kvm->arch.use_master_clock) &&
	       READ_ONCE(kvm->arch.master_cycle_now) == master->cycle &&
	       READ_ONCE(kvm->arch.master_kernel_ns) == master->kernel_ns &&
	       READ_ONCE(kvm->arch.kvmclock_offset) == master->offset;
}

/*
 * Replace the source of the time. Pairs with the read_seqcount_begin() section in khv_ref_time().
 *
 * The time must not go back, unless user space has set the clock. A new master clock of KVM may lag
 * behind the old one, because KVM knows the TSC's rate with limited precision only, and so may
 * KVM's clock without a master clock: make up for the lag with @next->ahead. KVM_GET_CLOCK tells
 * of it, see khv_ref_lead(), so a clock that user space sets includes it. Return: true if the time
 * took a step.
 */
static bool set_source(struct kvm_vcpu *vcpu, struct khv_ref_source *next)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct khv_ref_source *source = &clock->source;
	s64 lag = S64_MAX, ahead = 0;
	unsigned long flags;
	u64 tsc, after;
	int i;

	/*
	 * Another vCPU's exit fast path may spin on the seqcount with interrupts off: let no
	 * interrupt delay its end.
	 */
	local_irq_save(flags);
	write_seqcount_begin(&clock->seq);
	next->ahead = 0;
	/*
	 * A delay between the two reads makes the lag too large, never too small: take the minimum.
	 */
	for (i = 0; i < KHV_CLOCK_LOOKS; i++) {
		tsc = rdtsc_ordered();
		after = khv_ref_source_read(next, vcpu, tsc);
		/*
		 * Without a TSC source, khv_ref_source_read() reads KVM's clock now: read the TSC
		 * for the old source after it.
		 */
		if (!next->valid)
			tsc = rdtsc_ordered();
		lag = min_t(s64, lag, khv_ref_source_read(source, vcpu, tsc) - after);
	}
	if (source->master.offset != next->master.offset)
		next->ahead = 0;
	else if (source->adopted || next->adopted || !(source->valid || next->valid) ||
		 khv_ref_is_jump(lag))
		next->ahead = source->ahead;
	else
		next->ahead = max_t(s64, lag, 0);
	if (!next->adopted)
		ahead = next->ahead;
	*source = *next;
	write_seqcount_end(&clock->seq);
	local_irq_restore(flags);
	return abs(ahead - lag) > STEP_TICKS;
}

static gpa_t page_gpa(const struct kvm_hv *hv)
{
	return hv->hv_tsc_page & KHV_PAGE_GPFN;
}

/*
 * Must the page stay as it is? A guest with TSC emulation enabled relies on that: TLFS
 * "Reenlightenment".
 */
static bool frozen(const struct khv_refclock *clock, const struct kvm_hv *hv)
{
	return READ_ONCE(hv->hv_tsc_emulation_control) && READ_ONCE(clock->has_shown);
}

/*
 * Begin an update of the page: set TscSequence to 0 while the rest changes; validate_page() sets a
 * new one. The source of the time changes in between, so that a guest never reads an older time
 * than before.
 */
static void invalidate_page(struct kvm *kvm, struct khv_refclock *clock)
{
	const u32 invalid = 0;

	WRITE_ONCE(clock->page, KHV_TSC_PAGE_STALE);
	if (clock->covered ||
	    khv_kvm_write_guest(kvm, page_gpa(&kvm->arch.hyperv), &invalid, sizeof(invalid)))
		return;
	WRITE_ONCE(clock->page, KHV_TSC_PAGE_INVALID);
	WRITE_ONCE(clock->restored, false);
}

/* What a page of this source has in it. */
static struct khv_ref_params page_params(const struct khv_ref_source *source)
{
	struct khv_ref_params params = source->params;

	if (!source->adopted)
		params.offset += source->ahead;
	return params;
}

static void validate_page(struct kvm *kvm, struct khv_refclock *clock)
{
	gpa_t gpa = page_gpa(&kvm->arch.hyperv);
	struct khv_ref_params params = page_params(&clock->source);
	struct ms_hyperv_tsc_page page = {
		.tsc_scale = params.scale,
		.tsc_offset = params.offset,
	};
	u32 sequence = khv_ref_next_sequence(clock->sequence);

	if (clock->withheld)
		return;
	WRITE_ONCE(clock->page, KHV_TSC_PAGE_STALE);
	WRITE_ONCE(clock->has_shown, true);
	/*
	 * Order sequence 0 before the parameters. Pairs with the guest's read barrier between the
	 * parameters and its second read of the sequence.
	 */
	smp_wmb();
	if (khv_kvm_write_guest(kvm, gpa, &page, sizeof(page)))
		return;
	/*
	 * Order the parameters before the new sequence. Pairs with the guest's read barrier between
	 * its first read of the sequence and the parameters.
	 */
	smp_wmb();
	clock->sequence = sequence;
	if (khv_kvm_write_guest(kvm, gpa, &sequence, sizeof(sequence)))
		return;
	WRITE_ONCE(clock->page, KHV_TSC_PAGE_LIVE);
}

/*
 * Look once at the page that user space has restored: if it is frozen, it determines the clock.
 * Nothing else is read from the page, so that neither what a guest writes to it nor what else lies
 * there becomes the time. Return: true if a frozen one must be followed.
 */
static bool look_at_restored(struct kvm_vcpu *vcpu, struct khv_refclock *clock,
			     struct khv_ref_params *params)
{
	struct kvm *kvm = vcpu->kvm;
	struct ms_hyperv_tsc_page page;

	/* User space may yet give it memory. */
	if (khv_kvm_read_guest(kvm, page_gpa(&kvm->arch.hyperv), &page, sizeof(page)))
		return false;
	WRITE_ONCE(clock->restored, false);
	if (!page.tsc_sequence)
		return false;
	clock->sequence = page.tsc_sequence;
	/* User space may have enabled the hypercall page there before. */
	if (khv_is_hypercall_code(vcpu, &page, sizeof(page)))
		return false;
	params->scale = page.tsc_scale;
	params->offset = page.tsc_offset;
	return true;
}

/* Does the time follow from a single TSC? User space may give each vCPU another TSC rate. */
static bool one_tsc(struct kvm_vcpu *vcpu)
{
	u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
	struct kvm_vcpu *other;
	unsigned long i;

	if (!READ_ONCE(vcpu->kvm->arch.use_master_clock) || vcpu->arch.tsc_catchup)
		return false;
	kvm_for_each_vcpu(i, other, vcpu->kvm) {
		if (READ_ONCE(other->arch.l1_tsc_scaling_ratio) != ratio ||
		    READ_ONCE(other->arch.tsc_catchup))
			return false;
		/* Each REFERENCE_TSC write of the guest asks, of up to thousands of vCPUs. */
		cond_resched();
	}
	return true;
}

/* Offset of a vCPU's TSC, or the one that it gets when it follows what the guest has set. */
static u64 offset_of(const struct kvm_vcpu *vcpu)
{
	u64 offset = READ_ONCE(vcpu->arch.l1_tsc_offset);

	return offset + khv_tsc_step(vcpu, offset);
}

/* Does the source agree with KVM's clock and TSC parameters? */
static bool source_is_current(struct kvm_vcpu *vcpu, const struct khv_refclock *clock)
{
	const struct khv_ref_source *source = &clock->source;
	const struct kvm_vcpu *first = khv_first_vcpu(vcpu);
	struct kvm *kvm = vcpu->kvm;

	if (READ_ONCE(source->adopted))
		return frozen(clock, &kvm->arch.hyperv);
	if (!READ_ONCE(source->valid))
		return READ_ONCE(source->master.offset) == READ_ONCE(kvm->arch.kvmclock_offset) &&
		       !one_tsc(vcpu);
	/* A torn read is harmless: it differs, and the caller looks again under hv_lock. */
	return is_master_clock(kvm, &source->master) && !vcpu->arch.tsc_catchup &&
	       vcpu->arch.l1_tsc_scaling_ratio == READ_ONCE(source->tsc_ratio) &&
	       READ_ONCE(first->arch.l1_tsc_scaling_ratio) == READ_ONCE(source->tsc_ratio) &&
	       offset_of(first) == READ_ONCE(source->tsc_offset) && !khv_ref_source_wrapped(source);
}

static bool up_to_date(struct kvm_vcpu *vcpu, const struct khv_refclock *clock)
{
	return !khv_reftime_page_is_due(clock) && source_is_current(vcpu, clock);
}

/* Choose the source of the time: vCPU 0's TSC if KVM has a master clock, else KVM's clock. */
static void find_source(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock,
			struct khv_ref_source *source)
{
	const struct kvm_vcpu *first = khv_first_vcpu(vcpu);
	struct khv_pvclock pvclock = {
		/* All vCPUs have the same TSC rate, see one_tsc(). */
		.mul = hv_clock->tsc_to_system_mul,
		.shift = hv_clock->tsc_shift,
	};

	source->valid = get_master_clock(vcpu->kvm, &source->master) && one_tsc(vcpu);
	if (!source->valid)
		return;
	/* The vCPU's own ratio: @hv_clock is computed from it. */
	source->tsc_ratio = vcpu->arch.l1_tsc_scaling_ratio;
	source->tsc_offset = offset_of(first);
	pvclock.tsc = khv_ref_source_tsc(source, source->master.cycle);
	pvclock.ns = source->master.kernel_ns + source->master.offset;
	source->valid = khv_ref_params_compute(&source->params, &pvclock);
	/*
	 * A guest that set its TSC back since the master clock's origin has it wrapped around: the
	 * page's formula would take 2^64 ticks for passed.
	 */
	source->origin = khv_ref_source_tsc(source, rdtsc_ordered());
	if (khv_ref_wrapped(pvclock.tsc, source->origin))
		source->params.offset += source->params.scale;
}

/*
 * Have the clock go on by the frozen page where KVM's clock has left it, under hv_lock. Return:
 * false if there is none; else @stepped tells whether the time took a step.
 */
static bool adopt(struct kvm_vcpu *vcpu, struct khv_refclock *clock, bool *stepped)
{
	struct khv_ref_source next = {
		.valid = true,
		.adopted = true,
		.params = page_params(&clock->source),
		.master.offset = READ_ONCE(vcpu->kvm->arch.kvmclock_offset),
	};
	bool restored = clock->restored && look_at_restored(vcpu, clock, &next.params);

	/* The guest may change TSC_EMULATION_CONTROL at any time: look once. */
	if (!READ_ONCE(vcpu->kvm->arch.hyperv.hv_tsc_emulation_control) ||
	    !(restored || clock->has_shown))
		return false;
	if (restored) {
		WRITE_ONCE(clock->has_shown, true);
		WRITE_ONCE(clock->page, KHV_TSC_PAGE_LIVE);
	}
	if (restored || !source_is_current(vcpu, clock))
		*stepped = set_source(vcpu, &next);
	return true;
}

/* Update the source and the page, under hv_lock. Return: true if the time took a step. */
static bool update(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock,
		   struct khv_refclock *clock)
{
	struct kvm *kvm = vcpu->kvm;
	struct khv_ref_source next = {};
	bool stepped = false, kept = adopt(vcpu, clock, &stepped);

	/* A frozen page is written only where it must be written again, with what it had. */
	if (!kept)
		WRITE_ONCE(clock->has_shown, false);
	else if (clock->page == KHV_TSC_PAGE_LIVE)
		return stepped;

	if (clock->page != KHV_TSC_PAGE_OFF)
		invalidate_page(kvm, clock);
	/* The guest may let go of it meanwhile, which the next update sees. */
	if (!kept && !source_is_current(vcpu, clock)) {
		find_source(vcpu, hv_clock, &next);
		stepped = set_source(vcpu, &next);
	}
	if (clock->page == KHV_TSC_PAGE_INVALID && clock->source.valid)
		validate_page(kvm, clock);
	if (clock->covered && clock->source.valid)
		WRITE_ONCE(clock->has_shown, true);
	return stepped;
}

void khv_reftime_update(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock)
{
	struct kvm *kvm = vcpu->kvm;
	struct khv_refclock *clock = &to_khv_vm(kvm)->refclock;
	struct mutex *lock = &kvm->arch.hyperv.hv_lock;
	bool stepped;

	/* Without a master clock, KVM calls this whenever a vCPU moves to another CPU. */
	if (up_to_date(vcpu, clock))
		return;
	mutex_lock(lock);
	stepped = !up_to_date(vcpu, clock) && update(vcpu, hv_clock, clock);
	mutex_unlock(lock);
	/* Call outside hv_lock. Deadlines were computed with the old time. */
	if (stepped)
		khv_stimer_clock_changed(kvm);
}

void khv_reftime_adopt(struct kvm_vcpu *vcpu)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct kvm_hv *hv = &vcpu->kvm->arch.hyperv;
	bool stepped = false;

	if (!READ_ONCE(hv->hv_tsc_emulation_control))
		return;
	/* Nothing to look at, and KVM's clock has not left what the page shows. */
	if (!READ_ONCE(clock->restored) &&
	    (!READ_ONCE(clock->has_shown) || source_is_current(vcpu, clock)))
		return;
	mutex_lock(&hv->hv_lock);
	adopt(vcpu, clock, &stepped);
	mutex_unlock(&hv->hv_lock);
	if (stepped)
		khv_stimer_clock_changed(vcpu->kvm);
}

static bool page_is_at(const struct kvm *kvm, const struct khv_refclock *clock, gpa_t gpa)
{
	return clock->page != KHV_TSC_PAGE_OFF && page_gpa(&kvm->arch.hyperv) == gpa;
}

u32 khv_reftime_bytes(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	const struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (clock->covered || !page_is_at(vcpu->kvm, clock, gpa))
		return 0;
	/* What is about to be written may be the clock's from before. */
	return clock->page == KHV_TSC_PAGE_INVALID ? sizeof(u32) :
						     sizeof(struct ms_hyperv_tsc_page);
}

u32 khv_reftime_room(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return khv_reftime_bytes(vcpu, gpa) ? sizeof(struct ms_hyperv_tsc_page) : 0;
}

void khv_reftime_cover(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (!page_is_at(vcpu->kvm, clock, gpa))
		return;
	WRITE_ONCE(clock->covered, true);
	/* What user space has restored there is the code. */
	WRITE_ONCE(clock->restored, false);
}

bool khv_reftime_covered(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	const struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	return clock->covered && page_is_at(vcpu->kvm, clock, gpa);
}

void khv_reftime_renew_begin(struct kvm_vcpu *vcpu, gpa_t gpa, bool host)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (!page_is_at(vcpu->kvm, clock, gpa))
		return;
	WRITE_ONCE(clock->covered, false);
	if (host)
		WRITE_ONCE(clock->page, KHV_TSC_PAGE_STALE);
	else
		invalidate_page(vcpu->kvm, clock);
	/* Order sequence 0 before what comes back. Pairs with the guest's read barriers. */
	smp_wmb();
}

void khv_reftime_renew_end(struct kvm_vcpu *vcpu, gpa_t gpa, bool host)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (!page_is_at(vcpu->kvm, clock, gpa))
		return;
	/* A source that KVM's clock has left is replaced at the next entry, as ever. */
	if (clock->page == KHV_TSC_PAGE_INVALID && clock->source.valid)
		validate_page(vcpu->kvm, clock);
	if (clock->page != KHV_TSC_PAGE_STALE)
		return;
	/* KVM calls khv_reftime_update() on each vCPU before it enters the guest. */
	if (host)
		khv_request_all(vcpu->kvm, KVM_REQ_CLOCK_UPDATE);
	else
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * Have a clock that was adopted follow KVM's clock at once, under hv_lock, rather than at the next
 * entry: a halted VP does not enter, and would compare its timers with the clock of before. Return:
 * true if the time took a step.
 */
static bool give_up(struct kvm_vcpu *vcpu)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct khv_ref_source kvm_clock = {
		.master.offset = READ_ONCE(vcpu->kvm->arch.kvmclock_offset),
	};

	return clock->source.adopted && set_source(vcpu, &kvm_clock);
}

u64 khv_reftime_frozen_scale(struct kvm_vcpu *vcpu)
{
	const struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	lockdep_assert_held(&vcpu->kvm->arch.hyperv.hv_lock);
	if (!clock->source.adopted || !frozen(clock, &vcpu->kvm->arch.hyperv))
		return 0;
	return clock->source.params.scale;
}

void khv_reftime_change_rate(struct kvm_vcpu *vcpu, u64 from, u64 ratio, u64 scale)
{
	struct khv_tsc_rate *rate = &to_khv_vm(vcpu->kvm)->tsc_rate;
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct khv_vcpu *first = to_khv_vcpu(kvm_get_vcpu(vcpu->kvm, 0) ?: vcpu);
	struct khv_ref_source *source = &clock->source;
	struct kvm *kvm = vcpu->kvm;
	unsigned long flags;
	u64 tsc, now;

	lockdep_assert_held(&kvm->arch.hyperv.hv_lock);
	/* A VP has it written before it enters the guest: user space may yet restore the memory. */
	if (scale && clock->page != KHV_TSC_PAGE_OFF)
		WRITE_ONCE(clock->page, KHV_TSC_PAGE_STALE);
	/* As in set_source(). */
	local_irq_save(flags);
	write_seqcount_begin(&clock->seq);
	tsc = rdtsc_ordered();
	now = khv_ref_source_read(source, vcpu, tsc);
	rate->moved += khv_kvm_scale_tsc(tsc, from) - khv_kvm_scale_tsc(tsc, ratio);
	rate->ratio = ratio;
	/*
	 * Without a frozen page the VPs find another source, once all have the same rate. Where
	 * user space has set VP 0's rate, that does not change.
	 */
	if (scale && frozen(clock, &kvm->arch.hyperv) && first && khv_tsc_rate_applies(first)) {
		source->valid = true;
		source->adopted = true;
		source->origin = 0;
		source->params.scale = scale;
		source->params.offset = 0;
		source->params.offset =
			now - khv_ref_at(&source->params, khv_guest_tsc(tsc, khv_first_vcpu(vcpu)));
	}
	write_seqcount_end(&clock->seq);
	local_irq_restore(flags);
}

bool khv_reftime_restorable(struct kvm_vcpu *vcpu, u64 time)
{
	const struct khv_ref_source *source = &to_khv_vm(vcpu->kvm)->refclock.source;
	u64 ns = time * KHV_TICK_NS;

	if (time > TIME_MAX)
		return false;
	/* KVM's clock may be another one by far. */
	if (source->adopted)
		ns += khv_get_kvmclock_ns(vcpu->kvm) - khv_ref_time(vcpu) * KHV_TICK_NS;
	return ns <= TIME_MAX * KHV_TICK_NS;
}

void khv_reftime_restore(struct kvm_vcpu *vcpu, u64 time, u64 tsc, u32 sequence)
{
	struct khv_tsc_rate *rate = &to_khv_vm(vcpu->kvm)->tsc_rate;
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct khv_ref_source *source = &clock->source;
	struct kvm_arch *ka = &vcpu->kvm->arch;
	struct khv_tsc_set set = {
		.count = rate->set.count + 1,
		.tsc = tsc,
		.ratio = rate->ratio,
		.moved = rate->moved,
	};
	unsigned long flags;
	u64 step;

	lockdep_assert_held(&ka->hyperv.hv_lock);
	if (clock->page != KHV_TSC_PAGE_OFF)
		invalidate_page(vcpu->kvm, clock);
	/* Who writes the offset of KVM's clock holds it: KVM_SET_CLOCK. */
	raw_spin_lock_irqsave(&ka->tsc_write_lock, flags);
	write_seqcount_begin(&clock->seq);
	set.at = rdtsc_ordered();
	step = time - khv_ref_source_read(source, vcpu, set.at);
	/* The lead of the time before ends: KVM's clock is the same as the time. */
	if (!source->adopted) {
		if (source->master.offset == ka->kvmclock_offset)
			step += source->ahead;
		source->ahead = 0;
		if (source->valid)
			WRITE_ONCE(source->origin, tsc);
	}
	write_seqcount_begin(&ka->pvclock_sc);
	WRITE_ONCE(ka->kvmclock_offset, ka->kvmclock_offset + step * KHV_TICK_NS);
	write_seqcount_end(&ka->pvclock_sc);
	WRITE_ONCE(source->master.offset, source->master.offset + step * KHV_TICK_NS);
	rate->set = set;
	/* Keep the rate of the conversion. */
	WRITE_ONCE(source->tsc_offset, tsc - khv_kvm_scale_tsc(set.at, source->tsc_ratio));
	source->params.offset = 0;
	source->params.offset = time - khv_ref_at(&source->params, tsc);
	write_seqcount_end(&clock->seq);
	raw_spin_unlock_irqrestore(&ka->tsc_write_lock, flags);

	/*
	 * Take no sequence below the page's own: a VP may be in the middle of reading a page that
	 * had it before.
	 */
	if (sequence > clock->sequence && khv_ref_next_sequence(sequence) != clock->sequence)
		clock->sequence = sequence;
	WRITE_ONCE(clock->withheld, !sequence && clock->page != KHV_TSC_PAGE_OFF);
	WRITE_ONCE(clock->restored, false);
	/* Any other page is written before a VP enters the guest. */
	if (clock->page == KHV_TSC_PAGE_INVALID && source->valid && source_is_current(vcpu, clock))
		validate_page(vcpu->kvm, clock);
}

enum khv_msr_result khv_msr_time_ref_count_read(struct khv_msr_access *a)
{
	if (a->atomic && !khv_ref_time_at_hand(a->vcpu))
		return KHV_MSR_SLOW;
	/* The guest will read a frozen page. One that is restored may not be in memory yet. */
	if (a->host && !READ_ONCE(a->vm->refclock.restored))
		khv_reftime_adopt(a->vcpu);
	a->data = khv_ref_time(a->vcpu);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_reference_tsc_write(struct khv_msr_access *a)
{
	struct khv_refclock *clock = &a->vm->refclock;
	struct kvm_hv *hv = &a->vcpu->kvm->arch.hyperv;
	bool enable = a->data & KHV_REFERENCE_TSC_ENABLE;
	bool stale, stepped = false;

	mutex_lock(&hv->hv_lock);
	/* VMMs that write the register of each VP write it once for all. */
	stale = hv->hv_tsc_page != a->data || clock->page != KHV_TSC_PAGE_STALE ||
		!clock->restored || clock->covered;
	/* A page below the hypercall page leaves nothing that must show again. */
	a->was = clock->covered ? 0 : hv->hv_tsc_page;
	WRITE_ONCE(hv->hv_tsc_page, a->data);
	WRITE_ONCE(clock->covered, false);
	WRITE_ONCE(clock->withheld, false);
	WRITE_ONCE(clock->page, enable ? KHV_TSC_PAGE_STALE : KHV_TSC_PAGE_OFF);
	WRITE_ONCE(clock->restored, a->host && enable);
	WRITE_ONCE(clock->has_shown, false);
	/* The page is disabled, or user space has loaded another state. */
	if (!enable || a->host)
		stepped = give_up(a->vcpu);
	mutex_unlock(&hv->hv_lock);

	/* KVM calls khv_reftime_update() before the guest resumes. */
	if (enable || !READ_ONCE(clock->source.valid))
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, a->vcpu);
	/* Until then a restored page is that of another clock: no VP may read it. */
	if (enable && stale && a->host)
		khv_request_all(a->vcpu->kvm, KVM_REQ_CLOCK_UPDATE);
	/*
	 * The clock by which deadlines were computed may have changed. A restored page is adopted
	 * before the timers are looked at, because KVM answers the requests above first.
	 */
	if (stepped)
		khv_stimer_clock_changed(a->vcpu->kvm);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_tsc_emulation_control_write(struct khv_msr_access *a)
{
	struct khv_refclock *clock = &a->vm->refclock;
	struct kvm_hv *hv = &a->vcpu->kvm->arch.hyperv;
	bool lets_go = READ_ONCE(hv->hv_tsc_emulation_control) && !a->data, stepped;

	WRITE_ONCE(hv->hv_tsc_emulation_control, a->data);
	if (!lets_go)
		return KHV_MSR_OK;
	/* The page need not stay as it is: have khv_reftime_update() follow KVM's clock. */
	if (!a->host) {
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, a->vcpu);
		return KHV_MSR_OK;
	}
	mutex_lock(&hv->hv_lock);
	/* Never freeze what the page shows now again. */
	WRITE_ONCE(clock->has_shown, false);
	stepped = give_up(a->vcpu);
	/* Nothing updates a page below the code. */
	if (clock->covered && clock->source.valid && source_is_current(a->vcpu, clock))
		WRITE_ONCE(clock->has_shown, true);
	/* A VP must not go on with its page beside another clock for longer than the kick takes. */
	if (clock->page != KHV_TSC_PAGE_OFF) {
		WRITE_ONCE(clock->page, KHV_TSC_PAGE_STALE);
		khv_request_all(a->vcpu->kvm, KVM_REQ_CLOCK_UPDATE);
	}
	mutex_unlock(&hv->hv_lock);
	if (stepped)
		khv_stimer_clock_changed(a->vcpu->kvm);
	return KHV_MSR_OK;
}
