/* SPDX-License-Identifier: GPL-2.0-only */
/* VP indices, the CPU time of a VP, and how the module ends its HLT. */
#ifndef KHV_VP_H
#define KHV_VP_H

#include "khv/state.h"
#include "khv/vpset.h"

/**
 * khv_vp_init() - initialise what khv_vp_run_begin() needs
 * @vp: not yet visible to other threads
 */
void khv_vp_init(struct khv_vcpu *vp);

/**
 * khv_vp_run_begin() - account CPU time from here on
 * @vp: VP whose thread enters KVM_RUN
 *
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_vp_run_begin(struct khv_vcpu *vp);

/**
 * khv_vp_run_end() - end what khv_vp_run_begin() began
 * @vp: VP whose thread leaves KVM_RUN
 *
 * Context: as khv_vp_run_begin().
 */
void khv_vp_run_end(struct khv_vcpu *vp);

/**
 * khv_vp_runtime() - CPU time of the VP's thread inside KVM_RUN
 * @vp: the VP
 *
 * Guest time, and kernel time on the guest's behalf; of a halt only what KVM polls.
 *
 * Return: in units of 100 ns, since the VP was created. Context: the VP's thread.
 */
u64 khv_vp_runtime(const struct khv_vcpu *vp);

/**
 * khv_vp_takes_interrupts() - may an interrupt be sent to a VP that is halted, or about to be?
 * @vcpu: the vCPU
 *
 * Return: false for one that waits for INIT or SIPI. Context: the VP's thread.
 */
static inline bool khv_vp_takes_interrupts(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.mp_state == KVM_MP_STATE_HALTED ||
	       vcpu->arch.mp_state == KVM_MP_STATE_RUNNABLE;
}

/**
 * khv_vp_dirty_ring_fills() - must user space empty the VP's dirty ring?
 * @vcpu: the vCPU
 *
 * KVM looks only before it enters the guest, and has room for what one exit writes. What writes
 * guest memory without an end, or outside of the guest, has to look by itself.
 *
 * Return: false where the VM has no rings. Context: the VP's thread.
 */
static inline bool khv_vp_dirty_ring_fills(const struct kvm_vcpu *vcpu)
{
	const struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

	return vcpu->kvm->dirty_ring_size &&
	       READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) >= ring->soft_limit;
}

/**
 * khv_vp_end_halt() - end a HLT, as KVM does
 * @vcpu: the vCPU
 *
 * Context: the VP's thread.
 */
static inline void khv_vp_end_halt(struct kvm_vcpu *vcpu)
{
	vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu->arch.pv.pv_unhalted = false;
	vcpu->arch.apf.halted = false;
}

/**
 * khv_vp_claim() - enter a VP in the table of VP indices
 * @vp: the VP, with stock.vp_index set
 *
 * Two VPs have the same index while user space has given both to one, or one the default index of
 * another that it adds later; the VP that user space gave it last wins.
 *
 * Context: &khv_vm.vps_lock held.
 */
void khv_vp_claim(struct khv_vcpu *vp);

/**
 * khv_vp_disclaim() - remove a VP from the table of VP indices
 * @vp: VP that gives the index up; a no-op if another VP has claimed it since
 * @vp_index: the index that the VP gives up
 *
 * Context: &khv_vm.vps_lock held.
 */
void khv_vp_disclaim(struct khv_vcpu *vp, u32 vp_index);

/**
 * khv_vp_index() - VP index of a vCPU
 * @vcpu: a vCPU of an owned VM, with a VP or without
 *
 * Return: HV_X64_MSR_VP_INDEX. Context: any; user space may change it.
 */
static inline u32 khv_vp_index(struct kvm_vcpu *vcpu)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	return vp ? READ_ONCE(vp->stock.vp_index) : vcpu->vcpu_idx;
}

/**
 * khv_vp_by_index() - look up a VP by its VP index
 * @kvm: an owned VM
 * @vp_index: HV_X64_MSR_VP_INDEX
 *
 * Return: the VP, or NULL. Context: any, no lock. O(1).
 */
struct khv_vcpu *khv_vp_by_index(struct kvm *kvm, u32 vp_index);

/**
 * struct khv_targets - iterator over the vCPUs that a hypercall names
 * @set: the VPs that are still to be visited
 * @next: the next vCPU if the set is "all"
 */
struct khv_targets {
	struct khv_vpset set;
	u32 next;
};

/**
 * khv_next_target() - advance to the next vCPU of a hypercall's targets
 * @kvm: an owned VM
 * @targets: the iterator; initialise @targets->set, and the rest to 0
 *
 * Skips VPs that do not exist. A vCPU without a struct khv_vcpu has its vcpu_idx as its VP index.
 *
 * Return: the vCPU, which may lack a struct khv_vcpu, or NULL at the end. Context: any, no lock.
 * O(1) per target.
 */
struct kvm_vcpu *khv_next_target(struct kvm *kvm, struct khv_targets *targets);

#endif
