// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvFlushVirtualAddressSpace, -List and their Ex forms. The caller adds ranges to its targets'
 * queues (flush_queue.c). The call returns once every target has left the guest, or has not entered
 * it since. AddressSpace is ignored, because the CR3 of a running VP is not known. TLFS chapter
 * "Virtual MMU".
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include "khv/handlers.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/tlbflush.h"
#include "khv/trace.h"
#include "khv/vp.h"
#include "khv/vpset.h"

#define FLUSH_FLAGS                                                      \
	(HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES | \
	 HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY | HV_FLUSH_USE_EXTENDED_RANGE_FORMAT)

static u16 check_flags(const struct khv_vcpu *vp, const struct khv_hcall *hc, u64 flags)
{
	u64 known = FLUSH_FLAGS;

	if (!vp->gate.ext_ranges)
		known &= ~HV_FLUSH_USE_EXTENDED_RANGE_FORMAT;
	/* A list does not tell which of its mappings are global. */
	if (hc->rep_count)
		known &= ~HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY;
	return flags & ~known ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
}

/*
 * Must every vCPU be tested for being a target? An L2 names VPs of its own VM, which may run on any
 * vCPU. And if user space has set VP indices, two VPs may have the same one, of which
 * khv_next_target() would find one only.
 */
static bool ask_all(const struct kvm *kvm, bool l2)
{
	return l2 || atomic_read(&kvm->arch.hyperv.num_mismatched_vp_indexes);
}

static bool is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu, const struct khv_vpset *set,
		      bool l2)
{
	if (l2)
		return khv_nested_is_target(caller, vcpu, set);
	return khv_vpset_has(set, khv_vp_index(vcpu));
}

/*
 * @each: the result of ask_all() when the walk began; it may change meanwhile, the walk must not.
 * @kick: NULL for a caller that must not sleep
 */
static __always_inline struct kvm_vcpu *next_target(struct kvm_vcpu *caller,
						    struct khv_targets *targets, bool l2, bool each,
						    struct khv_kick *kick)
{
	struct kvm *kvm = caller->kvm;
	struct kvm_vcpu *vcpu;

	if (likely(!each))
		return khv_next_target(kvm, targets);
	while (targets->next < atomic_read(&kvm->online_vcpus)) {
		if (kick)
			khv_kick_resched(kick);
		vcpu = kvm_get_vcpu(kvm, targets->next++);
		if (is_target(caller, vcpu, &targets->set, l2))
			return vcpu;
	}
	return NULL;
}

static void flush_set(struct kvm_vcpu *caller, const struct khv_vpset *set,
		      const struct khv_flush *what, bool l2)
{
	struct khv_kick kick = { .cpus = to_khv_vcpu(caller)->kick_cpus };
	struct khv_targets targets = { .set = *set };
	bool each = ask_all(caller->kvm, l2);
	struct kvm_vcpu *vcpu;

	preempt_disable();
	while ((vcpu = next_target(caller, &targets, l2, each, &kick))) {
		khv_kick_request(&kick, vcpu, khv_flush_queue(vcpu, what, l2));
		if (!each)
			khv_kick_resched(&kick);
	}
	khv_kick_wait(&kick);
	preempt_enable();
}

/* Is the vCPU sure to see a request, made earlier, before it runs guest code again? */
static bool outside_guest(const struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->mode) == OUTSIDE_GUEST_MODE;
}

/* Each page is an INVVPID, which takes as long as a hundred instructions. */
static bool takes_long(const struct khv_flush *what)
{
	return !what->all && what->pages > KHV_FAST_PAGES && !khv_svm && *khv_tdp_enabled;
}

/*
 * Flush in the fast path: the caller flushes at once, and a target that is outside the guest
 * flushes before it enters. If any target is in the guest, the caller would have to wait: leave the
 * call to the slow path.
 */
static u16 flush_set_atomic(struct kvm_vcpu *caller, const struct khv_vpset *set,
			    const struct khv_flush *what, bool l2)
{
	struct khv_targets look = { .set = *set }, targets = { .set = *set };
	u32 vcpus = atomic_read(&caller->kvm->online_vcpus);
	bool self = false, each = ask_all(caller->kvm, l2);
	struct kvm_vcpu *vcpu;

	if (each ? vcpus > KHV_FAST_TARGETS : !khv_vpset_few(set, vcpus))
		return KHV_STATUS_SLOW;
	while ((vcpu = next_target(caller, &look, l2, each, NULL))) {
		if (vcpu == caller ? takes_long(what) : !outside_guest(vcpu))
			return KHV_STATUS_SLOW;
	}
	while ((vcpu = next_target(caller, &targets, l2, each, NULL))) {
		if (vcpu == caller) {
			self = true;
			continue;
		}
		__kvm_make_request(khv_flush_queue(vcpu, what, l2), vcpu);
		/*
		 * Order the request before the read of vcpu->mode. Pairs with
		 * smp_mb__after_srcu_read_unlock() in vcpu_enter_guest(), between IN_GUEST_MODE and
		 * the check of requests.
		 */
		smp_mb__after_atomic();
		/* The slow path flushes all targets again, which is harmless. */
		if (!outside_guest(vcpu))
			return KHV_STATUS_SLOW;
	}
	if (self)
		khv_flush_vp(caller, what, l2);
	return HV_STATUS_SUCCESS;
}

/*
 * The first entry of a list that begins at @list, within hc->input. Masked: where khv_hcall_check()
 * is mispredicted, it lies behind the input.
 */
static const u64 *first_entry(const struct khv_hcall *hc, const u64 *list)
{
	size_t at = (const u8 *)(list + hc->rep_start) - hc->input;

	return (const u64 *)&hc->input[array_index_nospec(at, sizeof(hc->input))];
}

/* Do the flush for the targets in @set; @entries is the list of a rep hypercall. */
static u16 flush(struct kvm_vcpu *vcpu, struct khv_hcall *hc, u64 flags,
		 const struct khv_vpset *set, const u64 *entries)
{
	struct khv_flush what;

	if (hc->rep_count) {
		khv_flush_list(&what, first_entry(hc, entries), hc->rep_count - hc->rep_start,
			       flags & HV_FLUSH_USE_EXTENDED_RANGE_FORMAT);
	} else {
		what.all = true;
		what.non_global = flags & HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY;
		what.nr = 0;
	}
	if (hc->atomic) {
		u16 status = flush_set_atomic(vcpu, set, &what, hc->l2);

		if (status)
			return status;
	} else {
		flush_set(vcpu, set, &what, hc->l2);
	}
	hc->reps_done = hc->rep_count;
	trace_khv_targets(vcpu->vcpu_id, hc->code, 0, set);
	return HV_STATUS_SUCCESS;
}

u16 khv_hc_flush(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_flush_input *in = (const void *)hc->input;
	u16 status = check_flags(to_khv_vcpu(vcpu), hc, in->flags);
	struct khv_vpset set;

	if (status)
		return status;
	khv_vpset_mask(&set, in->processor_mask);
	/*
	 * Windows Server 2012 passes an empty mask and expects a flush, as KVM's authors found
	 * (D25).
	 */
	set.all = (in->flags & HV_FLUSH_ALL_PROCESSORS) || !in->processor_mask;
	return flush(vcpu, hc, in->flags, &set, in->gva_ranges);
}

u16 khv_hc_flush_ex(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_flush_ex_input *in = (const void *)hc->input;
	u16 status = check_flags(to_khv_vcpu(vcpu), hc, in->flags);
	struct khv_vpset set;

	if (!status)
		status = khv_vpset_parse(&set, &in->vp_set, hc);
	if (status)
		return status;
	if (in->flags & HV_FLUSH_ALL_PROCESSORS)
		set.all = true;
	return flush(vcpu, hc, in->flags, &set, in->vp_set.bank_contents + hc->varhdr);
}
