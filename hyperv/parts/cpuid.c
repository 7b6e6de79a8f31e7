// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: KVM_GET_SUPPORTED_HV_CPUID, derived from the tables so that nothing is offered that is not
 * implemented, and each VP's copy of what user space set, for the gate. TLFS chapter "Feature and
 * Interface Discovery".
 */
#include <linux/cpu.h>
#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include "khv/cpuid.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"

/* Spinlock retries before the guest calls HvCallNotifyLongSpinWait; same value as Hyper-V 2016. */
#define SPINLOCK_RETRIES       0xfff
#define MAX_LOGICAL_PROCESSORS 64
#define EVMCS_VERSIONS	       GENMASK(15, 0)

static bool cond_holds(enum khv_cond cond, struct kvm_vcpu *vcpu, u16 evmcs)
{
	switch (cond) {
	case KHV_COND_LAPIC:
		return !vcpu || vcpu->arch.apic;
	case KHV_COND_EVMCS:
		return evmcs;
	case KHV_COND_NO_SMT:
		return !cpu_smt_possible();
	case KHV_COND_TDP:
		return *khv_tdp_enabled;
	case KHV_COND_NPT:
		return *khv_tdp_enabled && khv_svm;
	case KHV_COND_ALWAYS:
		break;
	}
	return true;
}

static void offer(u32 *reg, struct kvm_vcpu *vcpu, u16 evmcs)
{
	int i, j;

	for (i = 0; i < KHV_NR_ENLS; i++) {
		const struct khv_enl_row *enl = &khv_enls[i];

		if (!cond_holds(enl->cond, vcpu, evmcs))
			continue;
		for (j = 0; j < KHV_MAX_PRIVS && enl->offer[j].reg; j++) {
			if (enl->offer[j].bit != KHV_WHOLE_REG)
				reg[enl->offer[j].reg] |= BIT(enl->offer[j].bit);
		}
	}
	reg[KHV_CPUID_HINTS_EBX] = SPINLOCK_RETRIES;
	reg[KHV_CPUID_NESTED_EAX] |= evmcs & EVMCS_VERSIONS;
}

u64 khv_nested_features_offered(void)
{
	u32 reg[KHV_NR_CPUID_REGS] = {};

	offer(reg, NULL, 0);
	return (u64)reg[KHV_CPUID_NESTED_EBX] << 32 | reg[KHV_CPUID_NESTED_EAX];
}

static struct kvm_cpuid_entry2 signature_leaf(u32 leaf, u32 max)
{
	/* "Linux KVM Hv"; user space replaces it by the vendor that its guests expect. */
	return (struct kvm_cpuid_entry2){
		.function = leaf,
		.eax = max,
		.ebx = 0x756e694c,
		.ecx = 0x564b2078,
		.edx = 0x7648204d,
	};
}

static int copy_leaves(const u32 *reg, struct kvm_cpuid2 *cpuid,
		       struct kvm_cpuid_entry2 __user *entries)
{
	const struct kvm_cpuid_entry2 leaves[] = {
		signature_leaf(KHV_CPUID_LEAF_VENDOR, KHV_CPUID_LEAF_SYNDBG_CAPS),
		{ .function = KHV_CPUID_LEAF_INTERFACE, .eax = KHV_CPUID_SIGNATURE },
		/* Version 10.0, build 14393, as stock KVM. */
		{ .function = KHV_CPUID_LEAF_VERSION, .eax = 0x3839, .ebx = 0xa0000 },
		{ .function = KHV_CPUID_LEAF_FEATURES,
		  .eax = reg[KHV_CPUID_FEATURES_EAX],
		  .ebx = reg[KHV_CPUID_FEATURES_EBX],
		  .edx = reg[KHV_CPUID_FEATURES_EDX] },
		{ .function = KHV_CPUID_LEAF_HINTS,
		  .eax = reg[KHV_CPUID_HINTS_EAX],
		  .ebx = reg[KHV_CPUID_HINTS_EBX] },
		{ .function = KHV_CPUID_LEAF_LIMITS,
		  .eax = KVM_MAX_VCPUS,
		  .ebx = MAX_LOGICAL_PROCESSORS },
		signature_leaf(KHV_CPUID_LEAF_SYNDBG_VENDOR, 0),
		/* "VS#1" */
		{ .function = KHV_CPUID_LEAF_SYNDBG_INTERFACE, .eax = 0x31235356 },
		{ .function = KHV_CPUID_LEAF_SYNDBG_CAPS, .eax = reg[KHV_CPUID_SYNDBG_EAX] },
		{ .function = KHV_CPUID_LEAF_NESTED,
		  .eax = reg[KHV_CPUID_NESTED_EAX],
		  .ebx = reg[KHV_CPUID_NESTED_EBX] },
	};

	if (cpuid->nent < ARRAY_SIZE(leaves))
		return -E2BIG;
	cpuid->nent = ARRAY_SIZE(leaves);
	return copy_to_user(entries, leaves, sizeof(leaves)) ? -EFAULT : 0;
}

int khv_supported_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			struct kvm_cpuid_entry2 __user *entries)
{
	u32 reg[KHV_NR_CPUID_REGS] = {};
	u16 evmcs = 0;

	if (khv_nested_ops->get_evmcs_version)
		evmcs = khv_nested_ops->get_evmcs_version(vcpu);
	offer(reg, vcpu, evmcs);
	return copy_leaves(reg, cpuid, entries);
}

/* For reports: an enlightenment counts as shown once the first of its bits is set. */
static void note_shown(struct khv_vcpu *vp)
{
	int i;

	if (!vp->cpuid.present)
		return;
	mutex_lock(&vp->vm->vps_lock);
	for (i = 0; i < KHV_NR_ENLS; i++) {
		if (khv_priv_held(&vp->cpuid, khv_enls[i].offer[0]))
			vp->vm->shown |= BIT_ULL(i);
	}
	mutex_unlock(&vp->vm->vps_lock);
}

void khv_cpuid_update(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	u32 *reg;

	if (!vp)
		return;

	/* Add the bits of the module parameter to KVM's cache, too, which its own code reads. */
	if (vp->stock.cpuid_cache.nested_eax) {
		vp->stock.cpuid_cache.nested_eax |= (u32)khv_nested_features;
		vp->stock.cpuid_cache.nested_ebx |= khv_nested_features >> 32;
	}
	/* Copy from the stock cache, so that the two cannot disagree. */
	reg = vp->cpuid.reg;
	reg[KHV_CPUID_FEATURES_EAX] = vp->stock.cpuid_cache.features_eax;
	reg[KHV_CPUID_FEATURES_EBX] = vp->stock.cpuid_cache.features_ebx;
	reg[KHV_CPUID_FEATURES_EDX] = vp->stock.cpuid_cache.features_edx;
	reg[KHV_CPUID_HINTS_EAX] = vp->stock.cpuid_cache.enlightenments_eax;
	reg[KHV_CPUID_HINTS_EBX] = vp->stock.cpuid_cache.enlightenments_ebx;
	reg[KHV_CPUID_NESTED_EAX] = vp->stock.cpuid_cache.nested_eax;
	reg[KHV_CPUID_NESTED_EBX] = vp->stock.cpuid_cache.nested_ebx;
	reg[KHV_CPUID_SYNDBG_EAX] = vp->stock.cpuid_cache.syndbg_cap_eax;
	vp->cpuid.present = vcpu->arch.hyperv_enabled;

	khv_gate_compute(&vp->gate, &vp->cpuid, vp->stock.enforce_cpuid);
	note_shown(vp);
}

#define CPUID_LEAF_APM		0x80000007
#define CPUID_APM_INVARIANT_TSC BIT(8)

void khv_cpuid_show(const struct khv_vcpu *vp, u32 leaf, u32 *eax, u32 *ebx, u32 *edx)
{
	if (leaf == CPUID_LEAF_APM) {
		if (khv_tsc_invariant_hidden(vp))
			*edx &= ~CPUID_APM_INVARIANT_TSC;
	} else if (leaf == KHV_CPUID_LEAF_NESTED && *eax) {
		/* Only if user space shows the leaf at all. */
		*eax = vp->cpuid.reg[KHV_CPUID_NESTED_EAX];
		*ebx = vp->cpuid.reg[KHV_CPUID_NESTED_EBX];
	}
}
