/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM's state as a VMM saves it, and its registers written in the order of one VMM or another.
 */
#ifndef KHV_SELFTEST_VMM_H
#define KHV_SELFTEST_VMM_H

#include "vm.h"

#define VMM_VPS	     2 /* of a VM whose state is saved */
#define MAX_MSRS     512
#define NESTED_SPACE (4 * PAGE_SIZE)

enum vmm { QEMU, CLOUD_HYPERVISOR, OPENVMM, NR_VMMS };

struct msr_list {
	struct kvm_msrs hdr;
	struct kvm_msr_entry entries[MAX_MSRS];
};

struct vp_state {
	struct cpuid_table cpuid;
	void (*entry)(void);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	union {
		struct kvm_nested_state nested; /* size 0: the host has none */
		u8 space[NESTED_SPACE];
	};
	/* All of Hyper-V's in the order of all_msrs(), then what else KVM names. */
	struct msr_list msrs;
};

struct vm_state {
	struct vp_state vps[VMM_VPS];
	struct kvm_clock_data clock;
	u64 ram_used;
	u8 ram[4UL << 20];
};

/* Let the instruction that led to user space end, as a VMM does before it looks. */
void vmm_complete(struct vcpu *v);
void vmm_save(struct vm *vm, struct vm_state *s);

/* Write all registers of the state, as the VMM does. */
extern void (*const vmm_write_registers[NR_VMMS])(struct vm *vm, const struct vm_state *s);
/* Let a new VM of the same form, at the same place, go on from the state. */
void vmm_restore(struct vm *vm, const struct vm_state *s, enum vmm order);

#endif
