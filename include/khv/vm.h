/* SPDX-License-Identifier: GPL-2.0-only */
/* Creation and destruction of the state of owned VMs and of their VPs. */
#ifndef KHV_VM_H
#define KHV_VM_H

struct kvm;
struct kvm_vcpu;

/**
 * khv_vm_create() - take over a VM
 * @kvm: a VM under construction, with KVM's Hyper-V state initialised
 *
 * Takes a reference on this module. Context: may sleep.
 * Return: 0; on -ENOMEM, and on -ENODEV while the module is being unloaded, the VM stays with KVM.
 */
int khv_vm_create(struct kvm *kvm);

/**
 * khv_vm_destroy() - free the state of an owned VM
 * @kvm: an owned VM without vCPUs
 *
 * Drops the reference on this module. Context: may sleep.
 */
void khv_vm_destroy(struct kvm *kvm);

/**
 * khv_vcpu_create() - give a vCPU of an owned VM its VP, unless it has one
 * @vcpu: a vCPU of an owned VM
 *
 * Context: may sleep; vcpu->mutex held, or the vCPU not yet visible to user space.
 * Return: 0, or -ENOMEM.
 */
int khv_vcpu_create(struct kvm_vcpu *vcpu);

/**
 * khv_vcpu_put_aside() - detach a VP from its vCPU until khv_vcpu_create()
 * @vcpu: a vCPU of an owned VM; its VP is new, or it has none
 *
 * Does not free the VP, because other vCPUs may have found it. Context: as khv_vcpu_create().
 */
void khv_vcpu_put_aside(struct kvm_vcpu *vcpu);

/**
 * khv_vcpu_destroy() - free the VP of a vCPU
 * @vcpu: a vCPU of an owned VM that will not run again
 *
 * Context: may sleep.
 */
void khv_vcpu_destroy(struct kvm_vcpu *vcpu);

#endif
