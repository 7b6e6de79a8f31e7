/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUID, as the module offers it and as a guest sees it. */
#ifndef KHV_CPUID_H
#define KHV_CPUID_H

#include "khv/state.h"

/*
 * The module parameters features_eax=, features_ebx=, features_edx= and hints_eax=: bits added to
 * these registers of every guest that is shown Hyper-V. Other registers stay 0. Constant from load
 * on.
 */
extern u32 khv_added_cpuid[KHV_NR_CPUID_REGS];

/**
 * khv_cpuid_adds() - does a module parameter add a bit of CPUID?
 *
 * Return: true if so. Context: from module load on.
 */
bool khv_cpuid_adds(void);

/**
 * khv_enl_is_asked() - may guests be shown an enlightenment, as far as module parameters go?
 * @enl: the row
 *
 * Return: false if it waits for a parameter that does not name it. Context: from module load on.
 */
bool khv_enl_is_asked(const struct khv_enl_row *enl);

/**
 * khv_cpuid_addable() - the bits of a register that a module parameter may add
 * @which: the register
 *
 * What KVM_GET_SUPPORTED_HV_CPUID offers on this host, and experiments.
 *
 * Return: the bits. Context: module load, after khv_imports_find().
 */
u32 khv_cpuid_addable(enum khv_cpuid_reg which);

/**
 * khv_supported_cpuid() - handle KVM_GET_SUPPORTED_HV_CPUID from the tables
 * @vcpu: the vCPU, or NULL for the system ioctl
 * @cpuid: user space's header; @cpuid->nent is the number of entries that fit, set to the number
 *	written
 * @entries: user space's array
 *
 * Return: 0, -E2BIG, -EFAULT. Context: may sleep.
 */
int khv_supported_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			struct kvm_cpuid_entry2 __user *entries);

/**
 * khv_cpuid_update() - adopt a VP's new CPUID or new enforcement of CPUID
 * @vcpu: a vCPU of an owned VM
 *
 * Context: vcpu->mutex held.
 */
void khv_cpuid_update(struct kvm_vcpu *vcpu);

/**
 * khv_cpuid_show() - apply what depends on this module to a leaf that a guest reads
 * @vp: a VP whose CPUID shows Hyper-V
 * @leaf: the leaf; it exists
 * @eax: KVM's value of EAX
 * @ebx: of EBX
 * @edx: of EDX
 *
 * Context: the VP's thread.
 */
void khv_cpuid_show(const struct khv_vcpu *vp, u32 leaf, u32 *eax, u32 *ebx, u32 *edx);

/**
 * khv_tsc_invariant_hidden() - must CPUID 80000007H:EDX[8] read 0?
 * @vp: any VP of an owned VM
 *
 * Return: true while CPUID shows the VP HV_X64_MSR_TSC_INVARIANT_CONTROL and the register is 0.
 * Context: any.
 */
bool khv_tsc_invariant_hidden(const struct khv_vcpu *vp);

#endif
