// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partition reference time: the one clock that HV_X64_MSR_TIME_REF_COUNT, the reference TSC page
 * and the timers share. Readers take no lock. What the clock follows is chosen in tsc_page.c. TLFS
 * chapter "Timers", "Partition Reference Time".
 */
#include <linux/kvm_host.h>

#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/tsc_rate.h"

void khv_reftime_vm_init(struct khv_vm *vm)
{
	vm->refclock.source.master.offset = vm->kvm->arch.kvmclock_offset;
	seqcount_mutex_init(&vm->refclock.seq, &vm->kvm->arch.hyperv.hv_lock);
}

u64 khv_tsc_step(const struct kvm_vcpu *vcpu, u64 offset)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	const struct khv_tsc_rate *rate = &to_khv_vm(vcpu->kvm)->tsc_rate;
	u64 ratio = READ_ONCE(vcpu->arch.l1_tsc_scaling_ratio);

	if (likely(READ_ONCE(rate->set.count) == (vp ? READ_ONCE(vp->tsc_set) : 0)))
		return 0;
	if (vp && khv_tsc_rate_applies(vp)) {
		ratio = rate->set.ratio ?: ratio;
		offset += rate->set.moved - vp->tsc_moved;
	}
	return rate->set.tsc - (khv_kvm_scale_tsc(rate->set.at, ratio) + offset);
}

/* The vCPU's TSC by its own parameters, or by those that it has yet to follow. */
u64 khv_guest_tsc(u64 tsc, const struct kvm_vcpu *vcpu)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	const struct khv_tsc_rate *rate = &to_khv_vm(vcpu->kvm)->tsc_rate;
	u64 ratio = READ_ONCE(vcpu->arch.l1_tsc_scaling_ratio);
	u64 offset = READ_ONCE(vcpu->arch.l1_tsc_offset);

	offset += khv_tsc_step(vcpu, offset);
	if (vp && khv_tsc_rate_pending(vp) && khv_tsc_rate_applies(vp)) {
		ratio = rate->ratio;
		offset += rate->moved - vp->tsc_moved;
	}
	return khv_kvm_scale_tsc(tsc, ratio) + offset;
}

/* Reference time by @source at the host's @tsc, which was just read. */
static __always_inline u64 read_source(const struct khv_ref_source *source, struct kvm_vcpu *vcpu,
				       u64 tsc)
{
	struct kvm *kvm = vcpu->kvm;

	/* vCPU 0's current TSC parameters: without a master clock they may change. */
	if (source->valid && source->adopted)
		return khv_ref_at(&source->params, khv_guest_tsc(tsc, khv_first_vcpu(vcpu)));
	/*
	 * Use the saved TSC parameters, not this vCPU's: a guest may set a vCPU's TSC, but the time
	 * is the VM's. KVM may have another master clock by now; the source stays valid until
	 * update().
	 */
	if (source->valid && source->master.offset == READ_ONCE(kvm->arch.kvmclock_offset)) {
		tsc = khv_ref_source_tsc(source, tsc);
		return khv_ref_at(&source->params, tsc) + source->ahead +
		       (khv_ref_wrapped(source->origin, tsc) ? source->params.scale : 0);
	}
	/* A clock that user space has set includes the lead of the time before. */
	return div_u64(khv_get_kvmclock_ns(kvm), KHV_TICK_NS) +
	       (source->master.offset == READ_ONCE(kvm->arch.kvmclock_offset) ? source->ahead : 0);
}

u64 khv_ref_source_read(const struct khv_ref_source *source, struct kvm_vcpu *vcpu, u64 tsc)
{
	return read_source(source, vcpu, tsc);
}

bool khv_ref_time_at_hand(const struct kvm_vcpu *vcpu)
{
	const struct khv_ref_source *source = &to_khv_vm(vcpu->kvm)->refclock.source;

	return READ_ONCE(source->valid) &&
	       (READ_ONCE(source->adopted) ||
		READ_ONCE(source->master.offset) == READ_ONCE(vcpu->kvm->arch.kvmclock_offset));
}

u64 khv_ref_time(struct kvm_vcpu *vcpu)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	unsigned int seq;
	u64 now;

	/*
	 * Read the TSC inside the section: a TSC value read later, with the old source, could be
	 * ahead of the new one.
	 */
	do {
		seq = read_seqcount_begin(&clock->seq);
		now = read_source(&clock->source, vcpu, rdtsc_ordered());
	} while (read_seqcount_retry(&clock->seq, seq));
	return now;
}

u64 khv_ref_lead(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu = kvm_get_vcpu(kvm, 0);
	struct khv_refclock *clock = &to_khv_vm(kvm)->refclock;
	s64 lead = S64_MAX, ahead;
	unsigned int seq;
	bool adopted;
	u64 ns, now;
	int i;

	if (!vcpu || list_empty(&to_khv_vm(kvm)->vps))
		return 0;
	/* A delay between the two reads makes the lead too large: take the minimum. */
	for (i = 0; i < KHV_CLOCK_LOOKS; i++) {
		ns = khv_get_kvmclock_ns(kvm);
		do {
			seq = read_seqcount_begin(&clock->seq);
			adopted = clock->source.adopted;
			ahead = clock->source.ahead;
			now = read_source(&clock->source, vcpu, rdtsc_ordered());
		} while (read_seqcount_retry(&clock->seq, seq));
		/*
		 * A frozen page takes its time along. A VMM that lets VPs run meanwhile may meet
		 * both.
		 */
		if (adopted)
			return 0;
		lead = min_t(s64, lead, now * KHV_TICK_NS - ns);
	}
	if (khv_ref_is_jump(div_s64(lead, KHV_TICK_NS)))
		lead = ahead * KHV_TICK_NS;
	return max_t(s64, lead, 0);
}

void khv_reftime_run_begin(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	if (vp->tsc_ratio == vcpu->arch.l1_tsc_scaling_ratio &&
	    vp->tsc_offset == vcpu->arch.l1_tsc_offset &&
	    !khv_reftime_page_is_due(&vp->vm->refclock) &&
	    !khv_ref_source_wrapped(&vp->vm->refclock.source))
		return;
	WRITE_ONCE(vp->tsc_ratio, vcpu->arch.l1_tsc_scaling_ratio);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

void khv_reftime_run_end(struct khv_vcpu *vp)
{
	vp->tsc_offset = vp->stock.vcpu->arch.l1_tsc_offset;
}
