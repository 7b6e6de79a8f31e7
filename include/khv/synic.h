/* SPDX-License-Identifier: GPL-2.0-only */
/* The synthetic interrupt controller. */
#ifndef KHV_SYNIC_H
#define KHV_SYNIC_H

#include "khv/state.h"

/**
 * khv_synic_awaited() - find the SINT vectors whose EOI must be noticed
 * @vp: VP whose EOI exit bitmap is computed
 * @vectors: bitmap of 256 bits; the vectors are added to it
 *
 * An irqfd with a resample eventfd, or a timer's message that waits for the slot, needs the EOI.
 * Context: the VP's thread.
 */
void khv_synic_awaited(const struct khv_vcpu *vp, unsigned long *vectors);

/**
 * khv_sint() - read a SINT register
 * @synic: state of a VP that has a SynIC
 * @sint: 0 to 15
 *
 * Return: the register. Context: any.
 */
static inline u64 khv_sint(const struct kvm_vcpu_hv_synic *synic, u32 sint)
{
	return atomic64_read(&synic->sint[sint]);
}

/**
 * khv_sint_vector() - vector of the interrupt that a SINT raises
 * @sint_val: the SINT register
 *
 * Return: the vector, or 0 if the SINT is masked or polled.
 */
static inline u8 khv_sint_vector(u64 sint_val)
{
	return sint_val & (KHV_SINT_MASKED | KHV_SINT_POLLING) ? 0 : sint_val & KHV_SINT_VECTOR;
}

/**
 * khv_synic_init() - set the reset values of a new VP's SynIC
 * @vp: not yet visible to other threads
 */
void khv_synic_init(struct khv_vcpu *vp);

/**
 * khv_synic_activate() - enable KVM_CAP_HYPERV_SYNIC or KVM_CAP_HYPERV_SYNIC2
 * @vp: VP whose user space enables the capability
 * @dont_zero_pages: SYNIC2: keep the contents of SIMP and SIEFP when the guest enables them
 *
 * Context: vcpu->mutex held.
 */
void khv_synic_activate(struct khv_vcpu *vp, bool dont_zero_pages);

/**
 * khv_synic_slot_empty() - would a SINT take a message, and does its slot hold none?
 * @vcpu: vCPU with an active SynIC
 * @sint: 0 to 15
 *
 * Return: false also if the slot is not in guest memory. Context: as khv_synic_deliver().
 */
bool khv_synic_slot_empty(struct kvm_vcpu *vcpu, u32 sint);

/**
 * khv_synic_slot_has() - does a SINT's slot hold an earlier message of the same timer?
 * @vcpu: vCPU with an active SynIC
 * @sint: 0 to 15
 * @msg: message of a timer
 *
 * Return: true if so, and the SINT takes messages. Context: as khv_synic_deliver().
 */
bool khv_synic_slot_has(struct kvm_vcpu *vcpu, u32 sint, const struct hv_message *msg);

/**
 * khv_synic_deliver() - write a message to a SINT's slot and raise its interrupt
 * @vcpu: vCPU with an active SynIC
 * @sint: 0 to 15
 * @msg: the message; its type is not HVMSG_NONE
 *
 * Sets the MessagePending flag in a busy slot, so that the guest writes EOM. TLFS chapter
 * "Inter-Partition Communication", "SynIC Message Page".
 *
 * Return: false if the caller must retry later: the slot is busy or not in guest memory, the SINT
 * is masked, or the SynIC, its message page or the local APIC is disabled.
 * Context: the vCPU's thread, may sleep.
 */
bool khv_synic_deliver(struct kvm_vcpu *vcpu, u32 sint, const struct hv_message *msg);

/**
 * khv_synic_waits_for_memory() - may a message that was refused wait for memory only?
 * @vcpu: vCPU with an active SynIC
 * @sint: 0 to 15
 *
 * Nothing tells the VP when user space gives the message page a memslot again.
 *
 * Return: false if the slot is full and the guest will write EOM, or something else is in the way
 * that the VP is told of.
 * Context: the vCPU's thread, may sleep.
 */
bool khv_synic_waits_for_memory(struct kvm_vcpu *vcpu, u32 sint);

/**
 * khv_synic_set_irq() - raise a SINT for user space (KVM_IRQ_ROUTING_HV_SINT)
 * @kvm: an owned VM
 * @vp_index: VP index of the target
 * @sint: 0 to 15
 *
 * Return: 1 if delivered, 0 if lost in a disabled local APIC, -ENOENT if the SINT is masked or
 * polled or the SynIC is disabled, -EINVAL if there is no such VP, SynIC or SINT.
 * Context: any, no lock.
 */
int khv_synic_set_irq(struct kvm *kvm, u32 vp_index, u32 sint);

/**
 * khv_synic_set_route() - the same for a KVM that passes the route on (since Linux 6.17)
 * @e: the route
 * @kvm: an owned VM
 * @irq_source_id: ignored
 * @level: 0 does nothing: a SINT has no level
 * @line_status: ignored
 *
 * Return: as khv_synic_set_irq(), or -1 if @level is 0. Context: any, no lock.
 */
int khv_synic_set_route(const struct kvm_kernel_irq_routing_entry *e, struct kvm *kvm,
			int irq_source_id, int level, bool line_status);

/**
 * khv_synic_eoi() - handle the EOI of an interrupt whose vector belongs to a SINT
 * @vcpu: vCPU that wrote EOI, or whose CPU did so under APICv
 * @vector: vector whose ISR bit was cleared, 0 to 255
 *
 * Context: the vCPU's thread.
 */
void khv_synic_eoi(struct kvm_vcpu *vcpu, int vector);

/**
 * khv_synic_anybody_waits() - does an irqfd wait for the EOI of a SINT?
 * @vp: any VP of an owned VM
 *
 * Return: true if one of its SINTs has a route. Context: any.
 */
bool khv_synic_anybody_waits(const struct khv_vcpu *vp);

/**
 * khv_synic_notify_all() - notify the irqfds of all SINTs of an EOM
 * @vp: VP that wrote HV_X64_MSR_EOM
 *
 * Context: the VP's thread, may sleep.
 */
void khv_synic_notify_all(struct khv_vcpu *vp);

/**
 * khv_synic_routing_update() - adopt the interrupt routes after user space changed them
 * @kvm: an owned VM
 *
 * Context: kvm->irq_lock held, may sleep.
 */
void khv_synic_routing_update(struct kvm *kvm);

/**
 * khv_synic_find_routes() - adopt the routes that user space set before there was a VP
 * @kvm: an owned VM
 *
 * Context: may sleep; takes kvm->irq_lock.
 */
void khv_synic_find_routes(struct kvm *kvm);

#endif
