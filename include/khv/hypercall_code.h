/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in the hypercall page. */
#ifndef KHV_HYPERCALL_CODE_H
#define KHV_HYPERCALL_CODE_H

#include <linux/types.h>

struct kvm_vcpu;

/**
 * khv_hypercall_code() - write what the hypercall page begins with
 * @vcpu: any vCPU of an owned VM
 * @page: room for @len bytes
 * @len: at least 16
 *
 * TLFS chapter "Establishing the Hypercall Interface". Context: any.
 */
void khv_hypercall_code(struct kvm_vcpu *vcpu, u8 *page, u32 len);

/**
 * khv_is_hypercall_code() - is that what the hypercall page begins with?
 * @vcpu: any vCPU of an owned VM
 * @data: @len bytes
 * @len: 16 to 64
 *
 * Return: true if it is. Context: any.
 */
bool khv_is_hypercall_code(struct kvm_vcpu *vcpu, const void *data, u32 len);

#endif
