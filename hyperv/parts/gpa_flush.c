// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvFlushGuestPhysicalAddressSpace and -List: flushes of translations that come from L1's
 * second-level page tables, which KVM shadows. Each VP frees its shadows before it enters the guest
 * again. TLFS chapter "Nested Virtualization".
 */
#include <linux/kvm_host.h>

#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/tlbflush.h"

/* Does this root belong to the address space? The low bits depend on the format. */
static bool of_space(u64 root, u64 space)
{
	return !((root ^ space) & GENMASK_ULL(51, PAGE_SHIFT));
}

/* Free the shadow of one root, or of @all, of L1's second-level page tables. */
static void free_shadows(struct kvm_vcpu *vcpu, bool all, u64 space)
{
	struct kvm_mmu *mmu = &vcpu->arch.guest_mmu;
	ulong roots = 0;
	int i;

	/* kvm_mmu_free_roots() takes KVM's mmu_lock, whose holder may wait for this CPU. */
	lockdep_assert_irqs_enabled();
	/* KVM synchronises the shadow when it loads the root again. */
	if (all || of_space(mmu->root.pgd, space))
		roots |= KVM_MMU_ROOT_CURRENT;
	for (i = 0; i < KVM_MMU_NUM_PREV_ROOTS; i++) {
		if (all || of_space(mmu->prev_roots[i].pgd, space))
			roots |= KVM_MMU_ROOT_PREVIOUS(i);
	}
	if (roots)
		khv_kvm_mmu_free_roots(vcpu->kvm, mmu, roots);
}

void khv_gpa_flush_process(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_gpa_flush flush;
	unsigned long flags;

	if (!vp) {
		/* Without a queue, the request means "flush everything". */
		free_shadows(vcpu, true, 0);
		return;
	}
	if (!READ_ONCE(vp->gpa_flush.pending))
		return;
	raw_spin_lock_irqsave(&vp->flush_lock, flags);
	flush = vp->gpa_flush;
	vp->gpa_flush = (struct khv_gpa_flush){};
	raw_spin_unlock_irqrestore(&vp->flush_lock, flags);
	free_shadows(vcpu, flush.all, flush.space);
}

static bool queue(struct kvm_vcpu *vcpu, u64 space)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_gpa_flush *flush;
	unsigned long flags;

	/* Without a VP there is no queue: the request itself means "flush everything". */
	if (!vp)
		return false;
	flush = &vp->gpa_flush;
	raw_spin_lock_irqsave(&vp->flush_lock, flags);
	flush->all |= flush->pending && flush->space != space;
	flush->space = space;
	flush->pending = true;
	raw_spin_unlock_irqrestore(&vp->flush_lock, flags);
	return true;
}

void khv_gpa_flush_all(struct khv_vcpu *vp)
{
	unsigned long flags;

	/* Nothing is shadowed yet; khv_hc_flush_gpa() skips such a vCPU, too. */
	if (!READ_ONCE(vp->stock.vcpu->arch.guest_mmu.root_role.word))
		return;
	raw_spin_lock_irqsave(&vp->flush_lock, flags);
	vp->gpa_flush = (struct khv_gpa_flush){ .pending = true, .all = true };
	raw_spin_unlock_irqrestore(&vp->flush_lock, flags);
}

/* HvFlushGuestPhysicalAddressSpace and -List: like a single-context INVEPT on every VP. */
u16 khv_hc_flush_gpa(struct kvm_vcpu *caller, struct khv_hcall *hc)
{
	const struct khv_gpa_flush_input *in = (const void *)hc->input;
	struct khv_kick kick = { .cpus = to_khv_vcpu(caller)->kick_cpus };
	struct kvm_vcpu *vcpu;
	unsigned long i;
	bool queued;

	if (in->flags)
		return HV_STATUS_INVALID_PARAMETER;
	preempt_disable();
	kvm_for_each_vcpu(i, vcpu, caller->kvm) {
		khv_kick_resched(&kick);
		/*
		 * Zero before the vCPU shadows second-level page tables for the first time. Newer
		 * kernels set a bit with the CPUID: the request is harmless then.
		 */
		if (!READ_ONCE(vcpu->arch.guest_mmu.root_role.word))
			continue;
		queued = queue(vcpu, in->address_space);
		khv_kick_request(&kick, vcpu, KHV_REQ_PROCESS);
		/*
		 * The vCPU may have got its VP since queue(), and may already have
		 * processed the flush that publish() queued. Pairs with
		 * smp_mb__after_srcu_read_unlock() in vcpu_enter_guest(): if the VP is not visible
		 * here, its vCPU sees the request after publish().
		 */
		smp_mb();
		if (!queued && queue(vcpu, in->address_space))
			khv_kick_request(&kick, vcpu, KHV_REQ_PROCESS);
	}
	khv_kick_wait(&kick);
	preempt_enable();
	/* All ranges of the list are flushed, and more. */
	hc->reps_done = hc->rep_count;
	return HV_STATUS_SUCCESS;
}
