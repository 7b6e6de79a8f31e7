// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partition reference time: HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_REFERENCE_TSC and
 * the one clock behind the register, the page and the timers. It follows KVM's master
 * clock; while there is none it is KVM's clock without the TSC. Readers take no lock.
 * Writers hold kvm->arch.hyperv.hv_lock. TLFS chapter "Timers".
 */
#include <linux/kvm_host.h>
#include <asm/pvclock-abi.h>

#include "khv/parts.h"
#include "khv/port.h"

#define TICK_NS 100

void khv_reftime_init(struct khv_vm *vm)
{
	seqcount_mutex_init(&vm->refclock.seq, &vm->kvm->arch.hyperv.hv_lock);
}

/* KVM's master clock, in one piece; false if there is none. */
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
 * Is this still KVM's master clock? Without its lock: who sees a part of a new one
 * asks get_kvmclock_ns(), which waits for the rest.
 */
static bool is_master_clock(const struct kvm *kvm, const struct khv_master_clock *master)
{
	return READ_ONCE(kvm->arch.use_master_clock) &&
	       READ_ONCE(kvm->arch.master_cycle_now) == master->cycle &&
	       READ_ONCE(kvm->arch.master_kernel_ns) == master->kernel_ns &&
	       READ_ONCE(kvm->arch.kvmclock_offset) == master->offset;
}

u64 khv_ref_time(struct kvm_vcpu *vcpu)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;
	struct khv_ref_params params;
	u64 tsc_ratio, tsc_offset;
	const struct kvm_vcpu *first;
	unsigned int seq;
	bool valid;

	do {
		seq = read_seqcount_begin(&clock->seq);
		valid = clock->valid &&
			(clock->adopted || is_master_clock(vcpu->kvm, &clock->master));
		params = clock->params;
		tsc_ratio = clock->tsc_ratio;
		tsc_offset = clock->tsc_offset;
		if (clock->adopted) {
			/*
			 * Without a master clock the first VP's, which may change. A vCPU has
			 * its file before its number: then the first VP is the one that asks.
			 */
			first = kvm_get_vcpu(vcpu->kvm, 0) ?: vcpu;
			tsc_ratio = READ_ONCE(first->arch.l1_tsc_scaling_ratio);
			tsc_offset = READ_ONCE(first->arch.l1_tsc_offset);
		}
	} while (read_seqcount_retry(&clock->seq, seq));

	/* Not this VP's own TSC: the guest may have set that, and the time is everybody's. */
	if (valid)
		return khv_ref_at(&params, khv_kvm_scale_tsc(rdtsc(), tsc_ratio) + tsc_offset);
	return div_u64(khv_get_kvmclock_ns(vcpu->kvm), TICK_NS);
}

/* The pair of read_seqcount_begin() in khv_ref_time(). */
static void set_clock(struct khv_refclock *clock, const struct kvm_vcpu *vcpu,
		      const struct khv_ref_params *params, const struct khv_master_clock *master)
{
	write_seqcount_begin(&clock->seq);
	clock->valid = params;
	clock->adopted = params && !master;
	if (params)
		clock->params = *params;
	if (master) {
		clock->master = *master;
		clock->tsc_ratio = vcpu->arch.l1_tsc_scaling_ratio;
		clock->tsc_offset = vcpu->arch.l1_tsc_offset;
	}
	write_seqcount_end(&clock->seq);
}

static gpa_t page_gpa(const struct kvm_hv *hv)
{
	return hv->hv_tsc_page & KHV_PAGE_GPFN;
}

/* A guest that runs on an emulated TSC counts on the page as it is; TLFS "Reenlightenment". */
static bool frozen(const struct khv_refclock *clock, const struct kvm_hv *hv)
{
	return READ_ONCE(hv->hv_tsc_emulation_control) && !clock->by_guest;
}

/*
 * The update protocol: sequence 0 while the rest changes, then a new one. With
 * @params NULL the page stays at sequence 0, and the guest reads the register.
 */
static enum khv_tsc_page_state write_page(struct kvm *kvm, struct khv_refclock *clock,
					  const struct khv_ref_params *params)
{
	gpa_t gpa = page_gpa(&kvm->arch.hyperv);
	struct ms_hyperv_tsc_page page = {};
	const u32 invalid = 0;
	u32 sequence;

	if (clock->covered || khv_kvm_read_guest(kvm, gpa, &sequence, sizeof(sequence)) ||
	    khv_kvm_write_guest(kvm, gpa, &invalid, sizeof(invalid)))
		return KHV_TSC_PAGE_STALE;
	if (!params)
		return KHV_TSC_PAGE_INVALID;

	page.tsc_scale = params->scale;
	page.tsc_offset = params->offset;
	/* The guest reads the sequence before and after the rest: order as it does. */
	smp_wmb();
	if (khv_kvm_write_guest(kvm, gpa, &page, sizeof(page)))
		return KHV_TSC_PAGE_STALE;
	/* The same, for the end of the update. */
	smp_wmb();
	sequence = khv_ref_next_sequence(sequence ?: clock->sequence);
	clock->sequence = sequence;
	if (khv_kvm_write_guest(kvm, gpa, &sequence, sizeof(sequence)))
		return KHV_TSC_PAGE_STALE;
	return KHV_TSC_PAGE_LIVE;
}

/* After a restore the page is in memory already; a frozen one rules the clock. */
static bool adopt_page(struct kvm *kvm, const struct khv_refclock *clock,
		       struct khv_ref_params *params)
{
	struct ms_hyperv_tsc_page page;

	if (clock->covered ||
	    khv_kvm_read_guest(kvm, page_gpa(&kvm->arch.hyperv), &page, sizeof(page)) ||
	    !page.tsc_sequence)
		return false;
	params->scale = page.tsc_scale;
	params->offset = page.tsc_offset;
	return true;
}

/* Does the clock, or the page, have to be touched at all? */
static bool up_to_date(const struct kvm *kvm, const struct khv_refclock *clock,
		       const struct khv_ref_params *params)
{
	if (READ_ONCE(clock->page) == KHV_TSC_PAGE_STALE)
		return false;
	if (READ_ONCE(clock->adopted))
		return true;
	if (!params)
		return !READ_ONCE(clock->valid) && READ_ONCE(clock->page) != KHV_TSC_PAGE_LIVE &&
		       READ_ONCE(clock->kvm_offset) == READ_ONCE(kvm->arch.kvmclock_offset);
	if (READ_ONCE(clock->page) == KHV_TSC_PAGE_INVALID || !READ_ONCE(clock->valid))
		return false;
	/* A torn look is no harm: it differs, and is taken again under the lock. */
	return is_master_clock(kvm, &clock->master);
}

static void update(struct kvm_vcpu *vcpu, const struct khv_ref_params *params,
		   const struct khv_master_clock *master)
{
	struct kvm *kvm = vcpu->kvm;
	struct khv_refclock *clock = &to_khv_vm(kvm)->refclock;
	struct kvm_hv *hv = &kvm->arch.hyperv;
	struct khv_ref_params adopted;

	clock->kvm_offset = kvm->arch.kvmclock_offset;
	if (clock->page == KHV_TSC_PAGE_OFF) {
		set_clock(clock, vcpu, params, master);
	} else if (frozen(clock, hv) && adopt_page(kvm, clock, &adopted)) {
		set_clock(clock, vcpu, &adopted, NULL);
		clock->page = KHV_TSC_PAGE_LIVE;
	} else {
		clock->page = write_page(kvm, clock, params);
		set_clock(clock, vcpu, params, master);
		if (clock->page != KHV_TSC_PAGE_STALE)
			clock->by_guest = false;
	}
}

void khv_reftime_update(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock)
{
	struct kvm *kvm = vcpu->kvm;
	struct khv_refclock *clock = &to_khv_vm(kvm)->refclock;
	struct mutex *lock = &kvm->arch.hyperv.hv_lock;
	struct khv_pvclock pvclock = {
		.tsc = hv_clock->tsc_timestamp,
		.ns = hv_clock->system_time,
		.mul = hv_clock->tsc_to_system_mul,
		.shift = hv_clock->tsc_shift,
	};
	struct khv_ref_params computed, *params = NULL;
	struct khv_master_clock master;
	bool changed = false;

	if ((hv_clock->flags & PVCLOCK_TSC_STABLE_BIT) &&
	    khv_ref_params_compute(&computed, &pvclock))
		params = &computed;

	/* Without a master clock this is called whenever a vCPU changes its CPU. */
	if (up_to_date(kvm, clock, params))
		return;

	mutex_lock(lock);
	/*
	 * KVM may have a new master clock since it worked out this vCPU's: it has told
	 * every vCPU then, and the first that follows brings the new one.
	 */
	if (params && (!get_master_clock(kvm, &master) ||
		       master.kernel_ns + master.offset != (s64)hv_clock->system_time)) {
		mutex_unlock(lock);
		return;
	}
	if (!up_to_date(kvm, clock, params)) {
		update(vcpu, params, params ? &master : NULL);
		changed = true;
	}
	mutex_unlock(lock);

	/* Outside of the lock: deadlines were worked out with the clock before. */
	if (changed)
		khv_stimers_clock_changed(kvm);
}

static bool page_is_at(const struct kvm *kvm, const struct khv_refclock *clock, gpa_t gpa)
{
	return clock->page != KHV_TSC_PAGE_OFF && page_gpa(&kvm->arch.hyperv) == gpa;
}

bool khv_reftime_cover(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (clock->covered || !page_is_at(vcpu->kvm, clock, gpa))
		return false;
	clock->covered = true;
	return true;
}

void khv_reftime_uncover(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct khv_refclock *clock = &to_khv_vm(vcpu->kvm)->refclock;

	if (!page_is_at(vcpu->kvm, clock, gpa))
		return;
	clock->covered = false;
	clock->page = KHV_TSC_PAGE_STALE;
	kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
}

void khv_reftime_stale(struct kvm *kvm)
{
	struct khv_refclock *clock = &to_khv_vm(kvm)->refclock;
	struct kvm_hv *hv = &kvm->arch.hyperv;

	mutex_lock(&hv->hv_lock);
	/* A frozen page rules on; what the guest's TSC is may have changed. */
	if (!frozen(clock, hv) || (clock->page != KHV_TSC_PAGE_LIVE && !clock->adopted))
		set_clock(clock, NULL, NULL, NULL);
	if (clock->page == KHV_TSC_PAGE_LIVE)
		clock->page = KHV_TSC_PAGE_STALE;
	mutex_unlock(&hv->hv_lock);
}

enum khv_msr_result khv_msr_time_ref_count_read(struct khv_msr_access *a)
{
	a->data = khv_ref_time(a->vcpu);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_reference_tsc_read(struct khv_msr_access *a)
{
	a->data = READ_ONCE(a->vcpu->kvm->arch.hyperv.hv_tsc_page);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_reference_tsc_write(struct khv_msr_access *a)
{
	struct khv_refclock *clock = &a->vm->refclock;
	struct kvm_hv *hv = &a->vcpu->kvm->arch.hyperv;
	bool enable = a->data & KHV_REFERENCE_TSC_ENABLE;
	bool adopted;
	u64 was;

	mutex_lock(&hv->hv_lock);
	was = hv->hv_tsc_page;
	WRITE_ONCE(hv->hv_tsc_page, a->data);
	clock->covered = false;
	clock->page = enable ? KHV_TSC_PAGE_STALE : KHV_TSC_PAGE_OFF;
	clock->by_guest = !a->host;
	/* Without its page a frozen clock has no more reason to be another than KVM's. */
	adopted = clock->adopted;
	if (!enable && adopted)
		set_clock(clock, NULL, NULL, NULL);
	mutex_unlock(&hv->hv_lock);
	khv_hypercall_page_left(a->vcpu, was, a->data);

	/* It may be another clock than before that the deadlines are measured by. */
	if (!enable && adopted)
		khv_stimers_clock_changed(a->vcpu->kvm);
	/* Leads to khv_reftime_update() before the guest goes on. */
	if (enable || adopted)
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, a->vcpu);
	return KHV_MSR_OK;
}
