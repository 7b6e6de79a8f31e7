/* SPDX-License-Identifier: GPL-2.0-only */
/* A hypervisor in the guest (L1) and its own guest (L2). */
#ifndef KHV_NESTED_H
#define KHV_NESTED_H

#include "khv/state.h"

struct khv_tables;
struct khv_vpset;

/*
 * Bits that the module adds to CPUID leaf 0x4000000A, EBX in the upper half, EAX in the lower.
 * Constant from load on.
 */
extern u64 khv_nested_features;

/*
 * The bits of khv_nested_features that this host supports. Context: module load, after
 * khv_imports_find().
 */
u64 khv_nested_features_offered(void);

/**
 * khv_nested_assist_off() - end what the VP assist page allowed, after it is disabled
 * @vp: VP whose HV_X64_MSR_VP_ASSIST_PAGE has just lost its Enable bit
 *
 * Context: the VP's thread.
 */
void khv_nested_assist_off(struct khv_vcpu *vp);

/**
 * khv_nested_svm_entry() - record which L2 a VMRUN enters
 * @vcpu: the vCPU; has a struct khv_vcpu
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the VP assist page cannot be read; #GP is queued and VMRUN must not go on.
 */
bool khv_nested_svm_entry(struct kvm_vcpu *vcpu);

/**
 * khv_nested_get_assist_page() - update KVM's copy of the VP assist page
 * @vcpu: the vCPU; has a struct khv_vcpu
 *
 * Exists where KVM has direct flush, and khv_nested_vmx_entry() where it has not.
 *
 * Context: the vCPU's thread, may sleep.
 * Return: 0, or 1 if the page is not enabled or not in guest memory, which fails the nested entry.
 * Always 0 in guest mode, where KVM calls it to restore L2.
 */
int khv_nested_get_assist_page(struct kvm_vcpu *vcpu);

/**
 * khv_nested_vmx_entry() - find the current enlightened VMCS and record which L2 is entered
 * @vcpu: the vCPU; has a struct khv_vcpu
 * @evmcs_gpa: set to the address of the enlightened VMCS, or to all ones
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if there is no enlightened VMCS.
 */
bool khv_nested_vmx_entry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa);

/**
 * khv_nested_init() - initialise what a VP keeps of its L2
 * @vp: not yet visible to other threads
 */
void khv_nested_init(struct khv_vcpu *vp);

/**
 * khv_nested_run_begin() - forget the identity of a VP's L2 if user space has replaced the L2
 * @vp: its nested state may have been restored since the last KVM_RUN
 *
 * Context: the VP's thread at the beginning of KVM_RUN.
 */
void khv_nested_run_begin(struct khv_vcpu *vp);

/**
 * khv_nested_call_has_row() - is this exit of an L2 a hypercall whose row has KHV_L2?
 * @vcpu: a vCPU in guest mode
 *
 * Return: true if so. Context: the vCPU's thread.
 */
bool khv_nested_call_has_row(struct kvm_vcpu *vcpu);

/**
 * khv_nested_post_is_ours() - is this exit of an L2 a post marked for L0 that L1 permits?
 * @vcpu: a vCPU in guest mode
 * @count: count the post; once for each exit
 *
 * Return: true if so. Context: the vCPU's thread, may sleep.
 */
bool khv_nested_post_is_ours(struct kvm_vcpu *vcpu, bool count);

/* May this be the control word of HvPostMessage or HvSignalEvent that a guest marks for L0? */
static inline bool khv_nested_is_post(u64 control)
{
	return (control & KHV_CTL_NESTED) && ((control & KHV_CTL_CODE) == HVCALL_POST_MESSAGE ||
					      (control & KHV_CTL_CODE) == HVCALL_SIGNAL_EVENT);
}

/**
 * khv_nested_call_is_ours() - is this exit of an L2 a hypercall that the module answers?
 * @vcpu: a vCPU of an owned VM
 * @count: count it if it is a post; once for each exit
 *
 * Return: true if its L1 asked for direct flush and the call's row has KHV_L2, unless KVM decides
 * that itself, or if the call is marked for L0, its row has KHV_L2_POST and L1 permits it. Context:
 * the vCPU's thread, in guest mode, may sleep.
 */
static inline bool khv_nested_call_is_ours(struct kvm_vcpu *vcpu, bool count)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	const unsigned long *regs = vcpu->arch.regs;

	if (!vp)
		return false;
	if (khv_l2_calls_hooked && vp->l2.direct && khv_nested_call_has_row(vcpu))
		return true;
	/* Nearly no exit has a control word in the register of either convention. */
	return unlikely(khv_nested_is_post(regs[VCPU_REGS_RCX]) ||
			khv_nested_is_post(regs[VCPU_REGS_RAX])) &&
	       khv_nested_post_is_ours(vcpu, count);
}

/**
 * khv_nested_may_post() - does L1 permit its L2 to post messages and signal events by L0?
 * @vcpu: a vCPU in guest mode
 *
 * TLFS chapter "Virtual Processors", HypercallControls of the VP assist page; with the module
 * parameter "nested_posts_direct" direct flush permits it, too.
 *
 * Return: true if so at this moment. Context: the vCPU's thread, may sleep.
 */
bool khv_nested_may_post(struct kvm_vcpu *vcpu);

/* Module parameters, constant from load on: Documentation/nested.rst. */
extern bool khv_nested_posts_direct, khv_nested_posts_plain;

void khv_nested_do_unmark_post(struct kvm_vcpu *vcpu);

/**
 * khv_nested_unmark_post() - clear the mark of a post that L0 does not answer
 * @vcpu: a vCPU in guest mode, whose exit goes to KVM, and mostly to L1
 *
 * With the module parameter "nested_posts_plain": an L1 that does not know the mark takes the call
 * for its own. Changes the guest's RCX, or RAX outside of long mode.
 *
 * Context: the vCPU's thread.
 */
static inline void khv_nested_unmark_post(struct kvm_vcpu *vcpu)
{
	if (unlikely(khv_nested_posts_plain) && to_khv_vcpu(vcpu))
		khv_nested_do_unmark_post(vcpu);
}

/**
 * khv_nested_call_seen() - record that KVM routed a hypercall of an L2 to the module
 * @vp: VP whose L2 made the call
 *
 * Context: the VP's thread, in guest mode.
 */
void khv_nested_call_seen(struct khv_vcpu *vp);

/**
 * khv_nested_is_direct() - would KVM route flush hypercalls of this L2 to the module?
 * @vp: VP that runs the L2
 *
 * TLFS chapter "Nested Virtualization", "Direct Virtual Flush".
 *
 * Return: true if L1 enabled direct flush in its VP assist page and for this L2; false may also
 * mean that this is not known yet. Context: the VP's thread, in guest mode; interrupts may be off.
 */
bool khv_nested_is_direct(struct khv_vcpu *vp);

/**
 * khv_nested_gpa() - translate an L2 guest-physical address to L1's
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, may sleep.
 * Return: the address, or INVALID_GPA.
 */
gpa_t khv_nested_gpa(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_gpa_nofault() - khv_nested_gpa() without faulting on L1's page tables
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: L1's guest-physical address; INVALID_GPA also if a table is not present.
 */
gpa_t khv_nested_gpa_nofault(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_tables() - describe the second-level page tables that L1 uses for the running L2
 * @vcpu: a vCPU in guest mode
 * @t: result
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: false if there are none; L2-physical addresses are then L1-physical.
 */
bool khv_nested_tables(struct kvm_vcpu *vcpu, struct khv_tables *t);

/**
 * khv_nested_is_target() - is this vCPU a target of a flush hypercall made by an L2?
 * @caller: the vCPU that makes the call, in guest mode
 * @vcpu: any vCPU of the VM
 * @set: VP ids within the L2's VM; parsed and not yet walked
 *
 * Return: true if the vCPU's L2 belongs to the caller's VM and is in the set, or if its identity is
 * unknown. Context: any.
 */
bool khv_nested_is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu,
			  const struct khv_vpset *set);

/**
 * khv_nested_tlb_locked() - does L1 hold a TLB lock, so that it must learn of the flush?
 * @vcpu: a vCPU in guest mode
 * @locked: set to true if L1 holds a TLB lock
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the partition assist page is not in guest memory.
 */
bool khv_nested_tlb_locked(struct kvm_vcpu *vcpu, bool *locked);

/**
 * khv_nested_tlb_unlocked_nofault() - can L1 be shown to hold no TLB lock, without faulting?
 * @vcpu: a vCPU in guest mode
 *
 * Context: the vCPU's thread.
 * Return: true if L1 holds no TLB lock; false if it holds one or the page cannot be read.
 */
bool khv_nested_tlb_unlocked_nofault(struct kvm_vcpu *vcpu);

/**
 * khv_nested_synthetic_exit() - exit from L2 to L1, which holds a TLB lock, after a flush
 * @vcpu: a vCPU in guest mode, its hypercall completed
 *
 * Context: the vCPU's thread, may sleep.
 */
void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu);

/**
 * khv_evmcs_filter_msr() - hide VMX controls that the enlightened VMCS has no field for
 * @vcpu: a vCPU of an owned VM that is offered the enlightened VMCS
 * @msr: a VMX capability MSR
 * @data: its value; bits are cleared
 *
 * Context: the vCPU's thread.
 */
void khv_evmcs_filter_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data);

/**
 * khv_evmcs_check_controls() - may L1 enter L2 with these VMX controls?
 * @vcpu: a vCPU of an owned VM whose L1 enters by an enlightened VMCS
 * @vmcs12: KVM's copy of L1's VMCS
 *
 * Return: 0, or -EINVAL, which fails the nested entry. Context: the vCPU's thread.
 */
int khv_evmcs_check_controls(struct kvm_vcpu *vcpu, const void *vmcs12);

#endif
