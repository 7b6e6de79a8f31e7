// SPDX-License-Identifier: GPL-2.0-only
/*
 * Flushes that other VPs queue for a VP, under the queue's spinlock; the VP flushes its own TLB
 * before it enters the guest again.
 */
#include <linux/kvm_host.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/tlbflush.h"

int khv_tlbflush_init(struct khv_vcpu *vp)
{
	if (!zalloc_cpumask_var(&vp->kick_cpus, GFP_KERNEL_ACCOUNT))
		return -ENOMEM;
	raw_spin_lock_init(&vp->flush_lock);
	khv_init_flush_fifos(&vp->stock);
	return 0;
}

void khv_tlbflush_uninit(struct khv_vcpu *vp)
{
	free_cpumask_var(vp->kick_cpus);
}

/*
 * KVM's flush for a guest leaves the other level's translations alone; on Intel nothing flushes
 * those later. Shadow page tables need it all the same: it has KVM sync them.
 */
unsigned int khv_flush_all(struct kvm_vcpu *vcpu)
{
	if (!*khv_tdp_enabled)
		kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, vcpu);
	return KVM_REQ_TLB_FLUSH;
}

unsigned int khv_flush_queue(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	unsigned long flags;

	if (!vp)
		return khv_flush_all(vcpu);
	raw_spin_lock_irqsave(&vp->flush_lock, flags);
	khv_flush_merge(&vp->flush[l2], what);
	raw_spin_unlock_irqrestore(&vp->flush_lock, flags);
	/* The module handles this request, see khv_hook_kvm_hv_process_stimers(). */
	return KHV_REQ_PROCESS;
}

static void flush_range(struct kvm_vcpu *vcpu, const struct khv_gva_range *range)
{
	u8 bits = vcpu->arch.cr4 & X86_CR4_LA57 ? 57 : 48;
	u64 gva = range->start;
	u64 i;

	/* The guest may pass any address, but INVVPID fails on a non-canonical one. */
	for (i = 0; i < range->pages; i++, gva += PAGE_SIZE) {
		if (__is_canonical_address(gva, bits))
			khv_flush_gva(vcpu, gva);
	}
}

/*
 * Flush by address, which affects this CPU's TLB only. The vCPU may have last run on another CPU
 * and return there before it enters the guest again; INVVPID here would leave that CPU's TLB as it
 * is, without KVM noticing. A flush on the CPU that last ran the vCPU stays valid wherever the
 * thread goes. Return: false if the vCPU last ran on another CPU.
 *
 * Not on AMD: INVLPGA has errata on Genoa and Turin, and Windows guests were reported to crash with
 * it on older processors. Since Linux 7.2 KVM uses it for shadow paging only.
 */
static bool flush_ranges(struct kvm_vcpu *vcpu, const struct khv_flush *what)
{
	bool here;
	int i;

	if (khv_svm)
		return false;
	preempt_disable();
	here = vcpu->arch.last_vmentry_cpu == smp_processor_id();
	for (i = 0; here && i < what->nr; i++)
		flush_range(vcpu, &what->range[i]);
	preempt_enable();
	if (here)
		vcpu->stat.tlb_flush += what->nr;
	return here;
}

/*
 * The VP is in L1 and the addresses are L2's, or the reverse. Free the other level's roots, so that
 * KVM flushes their translations when it loads the roots on the change of level. The current
 * level's translations stay, and so do other VMs'.
 */
static void flush_other_level(struct kvm_vcpu *vcpu)
{
	const ulong others = KVM_MMU_ROOTS_ALL & ~KVM_MMU_ROOT_CURRENT;
	struct kvm_mmu *const mmus[] = { &vcpu->arch.root_mmu, &vcpu->arch.guest_mmu };
	int i;

	/*
	 * On AMD, KVM flushes at every change of level: nested_svm_transition_tlb_flush(). It does
	 * not where L2 is left by force, as by KVM_SET_NESTED_STATE: there KVM's own flushes of the
	 * other level are lost, too.
	 */
	if (khv_svm)
		return;
	for (i = 0; i < ARRAY_SIZE(mmus); i++)
		khv_kvm_mmu_free_roots(vcpu->kvm, mmus[i],
				       mmus[i] == vcpu->arch.mmu ? others : KVM_MMU_ROOTS_ALL);
}

void khv_flush_vp(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2)
{
	/* The current level's translations are not those to be flushed. */
	bool elsewhere = khv_in_l2(vcpu) != l2;

	if (!*khv_tdp_enabled) {
		/*
		 * Shadow paging: KVM synchronises its shadow page tables, whichever level runs
		 * next.
		 */
		if (elsewhere)
			kvm_make_request(KVM_REQ_TLB_FLUSH, vcpu);
		khv_flush_guest(vcpu);
	} else if (elsewhere) {
		flush_other_level(vcpu);
	} else if (what->all) {
		if (!what->non_global || !khv_flush_non_global(vcpu))
			khv_flush_guest(vcpu);
	} else if (!flush_ranges(vcpu, what)) {
		khv_flush_guest(vcpu);
	}
}

/* Process one of the two queues: the VP's own addresses, or its nested guest's. */
static void process_queue(struct kvm_vcpu *vcpu, bool l2)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_flush *queue = &vp->flush[l2];
	struct khv_flush what;
	unsigned long flags;

	/* The queue was filled before the request was made, so an unlocked read suffices. */
	if (!READ_ONCE(queue->all) && !READ_ONCE(queue->nr))
		return;

	raw_spin_lock_irqsave(&vp->flush_lock, flags);
	what.all = queue->all;
	what.non_global = queue->non_global;
	what.nr = queue->nr;
	if (!what.all)
		memcpy(what.range, queue->range, what.nr * sizeof(what.range[0]));
	queue->all = false;
	queue->non_global = false;
	queue->nr = 0;
	queue->pages = 0;
	raw_spin_unlock_irqrestore(&vp->flush_lock, flags);
	khv_flush_vp(vcpu, &what, l2);
}

void khv_tlbflush_process(struct kvm_vcpu *vcpu)
{
	if (to_khv_vcpu(vcpu)) {
		process_queue(vcpu, false);
		process_queue(vcpu, true);
	}
	khv_gpa_flush_process(vcpu);
}
