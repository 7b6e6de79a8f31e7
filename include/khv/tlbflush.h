/* SPDX-License-Identifier: GPL-2.0-only */
/* Queues of flushes that a VP does before it enters the guest. */
#ifndef KHV_TLBFLUSH_H
#define KHV_TLBFLUSH_H

#include "khv/state.h"

/**
 * khv_tlbflush_init() - initialise the flush queues of a new VP
 * @vp: not yet visible to other threads
 *
 * Return: 0 or -ENOMEM. Context: may sleep.
 */
int khv_tlbflush_init(struct khv_vcpu *vp);

/**
 * khv_tlbflush_uninit() - free what khv_tlbflush_init() allocated
 * @vp: no longer visible to other threads
 */
void khv_tlbflush_uninit(struct khv_vcpu *vp);

/**
 * khv_tlbflush_process() - do the flushes that other VPs queued for this vCPU
 * @vcpu: a vCPU of an owned VM
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_tlbflush_process(struct kvm_vcpu *vcpu);

/**
 * khv_flush_vp() - flush a VP's own addresses, or its nested guest's, before either runs again
 * @vcpu: vCPU of the calling thread
 * @what: ranges, or everything; addresses need not be canonical
 * @l2: the addresses are of the vCPU's nested guest
 *
 * Context: the vCPU's thread before it enters the guest, interrupts may be off.
 */
void khv_flush_vp(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2);

/**
 * khv_flush_all() - have a vCPU flush every translation, of its L2 as well
 * @vcpu: any vCPU of an owned VM
 *
 * Return: KVM's request that the caller still has to make. Context: any.
 */
unsigned int khv_flush_all(struct kvm_vcpu *vcpu);

/**
 * khv_flush_queue() - queue a flush for a vCPU
 * @vcpu: any vCPU of an owned VM; without a struct khv_vcpu everything is flushed
 * @what: ranges, or everything; merged with those that wait
 * @l2: the flush is of addresses of the vCPU's nested guest, not of its own
 *
 * Context: any.
 * Return: KVM_REQ_* that the caller must make afterwards, so that the vCPU does the flush before it
 * enters the guest.
 */
unsigned int khv_flush_queue(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2);

/**
 * khv_gpa_flush_all() - have a VP forget the shadows of second-level page tables, if any
 * @vp: state that is published next
 *
 * Context: any.
 */
void khv_gpa_flush_all(struct khv_vcpu *vp);

/**
 * khv_gpa_flush_process() - do the flushes of second-level page tables that were queued
 * @vcpu: any vCPU of an owned VM; without a VP, everything is flushed
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_gpa_flush_process(struct kvm_vcpu *vcpu);

#endif
