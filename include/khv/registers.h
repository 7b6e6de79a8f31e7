/* SPDX-License-Identifier: GPL-2.0-only */
/* Registers of a VP's processor, as KVM has them after a VM-Exit. */
#ifndef KHV_REGISTERS_H
#define KHV_REGISTERS_H

#include <linux/kvm_host.h>

/* Numbers of khv_read_gpr(). */
#define KHV_GPRS 16

/**
 * khv_read_gpr() - read a general purpose register
 * @vcpu: running vCPU
 * @reg: 0 to 15 in the order of the instruction set: RAX, RCX, RDX, RBX, RSP, ...
 *
 * Return: the value. Context: the vCPU's thread.
 */
u64 khv_read_gpr(struct kvm_vcpu *vcpu, unsigned int reg);

/**
 * khv_read_rip() - read RIP
 * @vcpu: running vCPU
 *
 * Return: address of the instruction that made the exit, within CS. Context: the vCPU's thread.
 */
u64 khv_read_rip(struct kvm_vcpu *vcpu);

/**
 * khv_read_cr() - read a control register
 * @vcpu: running vCPU, not in guest mode
 * @cr: 0, 2, 3, 4 or 8
 *
 * Return: the value as the guest reads it; 0 for another register. Context: the vCPU's thread.
 */
u64 khv_read_cr(struct kvm_vcpu *vcpu, unsigned int cr);

/**
 * khv_read_segment() - read a segment register
 * @vcpu: running vCPU
 * @seg: VCPU_SREG_*
 *
 * Return: the register. Context: the vCPU's thread.
 */
struct kvm_segment khv_read_segment(struct kvm_vcpu *vcpu, int seg);

/**
 * khv_read_table() - read IDTR or GDTR
 * @vcpu: running vCPU
 * @gdt: GDTR
 *
 * Return: base and limit. Context: the vCPU's thread.
 */
struct desc_ptr khv_read_table(struct kvm_vcpu *vcpu, bool gdt);

#endif
