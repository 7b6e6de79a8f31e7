/* SPDX-License-Identifier: GPL-2.0-only */
/* HV_X64_MSR_GUEST_OS_ID and the hypercall page. */
#ifndef KHV_IDENTITY_H
#define KHV_IDENTITY_H

#include "khv/state.h"

/**
 * khv_identity_vm_uninit() - free the buffers of the hypercall page
 * @vm: its guest memory is gone
 */
void khv_identity_vm_uninit(struct khv_vm *vm);

/**
 * khv_hypercall_page_left() - show what is below another register's page that has left
 * @vcpu: a vCPU of an owned VM
 * @was: old value of the register that was written: page, and bit 0 for enabled
 * @is: its new value
 * @host: user space wrote it, and may be restoring the memory
 *
 * If the register's old page lay over the hypercall page or the reference TSC page and the new one
 * does not, the guest sees those again.
 * Context: may sleep, hv_lock not held.
 */
void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is, bool host);

#endif
