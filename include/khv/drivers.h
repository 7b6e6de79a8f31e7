/* SPDX-License-Identifier: GPL-2.0-only */
/* The drivers of MSRs and hypercalls, on the slow path. */
#ifndef KHV_DRIVERS_H
#define KHV_DRIVERS_H

#include "khv/cpuid.h"
#include "khv/handlers.h"
#include "khv/state.h"
#include "khv/tables.h"

/**
 * khv_msr_check() - check that the words of MSR rows fit the rows
 * @bad: set to the name of the offending row, or NULL
 *
 * Call once at load, after khv_tables_check().
 *
 * Return: 0, or -EINVAL with @bad set.
 */
int khv_msr_check(const char **bad);

/**
 * khv_msr_is_unrouted() - does KVM not bring accesses to this MSR to its Hyper-V code?
 * @msr: MSR number
 *
 * Return: true if a row says so; the hooks on kvm_{get,set}_msr_common() answer it then, or those
 * on KVM's PMU code, see khv_msr_is_shown(). Context: any.
 */
static inline bool khv_msr_is_unrouted(u32 msr)
{
	int row = khv_msr_find(msr);

	return row >= 0 &&
	       (khv_msrs[row].flags & (KHV_MSR_UNROUTED | KHV_MSR_SHOWN)) == KHV_MSR_UNROUTED;
}

/**
 * khv_msr_is_shown() - is this an MSR that no KVM has, and that the guest is shown?
 * @vcpu: a vCPU of an owned VM
 * @msr: MSR number
 *
 * Otherwise KVM answers it as any MSR that does not exist: kvm.ignore_msrs and
 * KVM_CAP_X86_USER_SPACE_MSR decide.
 *
 * Return: true if the row has KHV_MSR_SHOWN, the guest's CPUID shows it, and the VM has a local
 * APIC in the kernel if the enlightenment needs one. Context: the vCPU's thread.
 */
static inline bool khv_msr_is_shown(struct kvm_vcpu *vcpu, u32 msr)
{
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int row = khv_msr_find(msr);

	return row >= 0 && (khv_msrs[row].flags & KHV_MSR_SHOWN) && vp &&
	       (vp->gate.msr & BIT_ULL(row)) &&
	       (vcpu->arch.apic || !khv_enl_needs_lapic(&khv_enls[khv_msrs[row].enl]));
}

/**
 * khv_msr_is_listed() - does the module add a row to KVM_GET_MSR_INDEX_LIST?
 * @row: &enum khv_msr_id
 *
 * A VMM that saves what KVM names then saves it as well. Only a register that no KVM has, that user
 * space can write, and that guests may be shown: without a module parameter the list is KVM's own.
 *
 * Return: true if so. Context: any, from module load on.
 */
static inline bool khv_msr_is_listed(int row)
{
	return (khv_msrs[row].flags & KHV_MSR_SHOWN) && khv_msr_ops[row].write &&
	       khv_enl_is_asked(&khv_enls[khv_msrs[row].enl]);
}

/**
 * khv_msr_list_complete() - add rows to what KVM_GET_MSR_INDEX_LIST has returned
 * @list: user space's list, with KVM's numbers
 * @room: how many numbers fit into it
 *
 * Return: 0, -E2BIG with the number of all registers in @list, -EFAULT. Context: may sleep.
 */
int khv_msr_list_complete(struct kvm_msr_list __user *list, u32 room);

/**
 * khv_msr_read() - handle RDMSR and KVM_GET_MSRS in an owned VM
 * @vcpu: a vCPU of an owned VM; gets its struct khv_vcpu here if it has none
 * @msr: MSR number
 * @data: set to the value read
 * @host: access by user space, not by the guest
 *
 * Return: 0, or 1 for #GP (for user space "no such MSR").
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *data, bool host);

/**
 * khv_msr_write() - handle WRMSR and KVM_SET_MSRS in an owned VM
 * @vcpu: a vCPU of an owned VM; gets its struct khv_vcpu here if it has none
 * @msr: MSR number
 * @data: value to write
 * @host: access by user space, not by the guest
 *
 * Return: 0, or 1 for #GP (for user space "not set"); nothing is changed if 1.
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host);

/**
 * khv_hypercall() - handle VMCALL and VMMCALL in an owned VM
 * @vcpu: the vCPU; in guest mode only for a call of its L2 that is answered here
 *
 * Return: as KVM's exit handlers: 1 to resume the guest, 0 to exit to user space.
 * Context: the vCPU's thread, may sleep.
 */
int khv_hypercall(struct kvm_vcpu *vcpu);

#endif
