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

u32 khv_added_cpuid[KHV_NR_CPUID_REGS];

/* Bits that only a parameter shows: what they stand for is not here. Documentation/nested.rst. */
static const u32 experiments[KHV_NR_CPUID_REGS] = {
	[KHV_CPUID_HINTS_EAX] = BIT(KHV_HINTS_EAX_NESTED),
};

bool khv_enl_is_asked(const struct khv_enl_row *enl)
{
	if (enl->cond == KHV_COND_CALL)
		return khv_enl_has_call(enl - khv_enls);
	return enl->cond != KHV_COND_ASKED ||
	       (khv_added_cpuid[enl->offer[0].reg] & BIT(enl->offer[0].bit));
}

static bool cond_holds(const struct khv_enl_row *enl, struct kvm_vcpu *vcpu, u16 evmcs)
{
	if (!khv_enl_is_asked(enl) || (khv_enl_needs_lapic(enl) && vcpu && !vcpu->arch.apic))
		return false;
	switch ((enum khv_cond)enl->cond) {
	case KHV_COND_EVMCS:
		return evmcs;
	case KHV_COND_NO_SMT:
		return !cpu_smt_possible();
	case KHV_COND_TDP:
		return *khv_tdp_enabled;
	case KHV_COND_NPT:
		return *khv_tdp_enabled && khv_svm;
	case KHV_COND_FAST_OUTPUT:
		return khv_has_fast_output();
	case KHV_COND_ALWAYS:
	case KHV_COND_LAPIC:
	case KHV_COND_ASKED:
	case KHV_COND_CALL:
		break;
	}
	return true;
}

static void offer(u32 *reg, struct kvm_vcpu *vcpu, u16 evmcs)
{
	int i, j;

	for (i = 0; i < KHV_NR_ENLS; i++) {
		const struct khv_enl_row *enl = &khv_enls[i];

		if (!cond_holds(enl, vcpu, evmcs))
			continue;
		for (j = 0; j < KHV_MAX_PRIVS && enl->offer[j].reg; j++) {
			if (enl->offer[j].bit != KHV_WHOLE_REG)
				reg[enl->offer[j].reg] |= BIT(enl->offer[j].bit);
		}
	}
	reg[KHV_CPUID_HINTS_EBX] = SPINLOCK_RETRIES;
	reg[KHV_CPUID_NESTED_EAX] |= evmcs & EVMCS_VERSIONS;
}

static u32 offered(enum khv_cpuid_reg which)
{
	u32 reg[KHV_NR_CPUID_REGS] = {};

	offer(reg, NULL, 0);
	return reg[which];
}

u32 khv_cpuid_addable(enum khv_cpuid_reg which)
{
	return offered(which) | experiments[which];
}

u64 khv_nested_features_offered(void)
{
	return (u64)offered(KHV_CPUID_NESTED_EBX) << 32 | offered(KHV_CPUID_NESTED_EAX);
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
		/* Nothing shows an enlightenment without bits but that it is there. */
		if (!khv_enls[i].offer[0].reg && !cond_holds(&khv_enls[i], vp->stock.vcpu, 0))
			continue;
		if (khv_priv_held(&vp->cpuid, khv_enls[i].offer[0]))
			vp->vm->shown |= BIT_ULL(i);
	}
	mutex_unlock(&vp->vm->vps_lock);
}

bool khv_cpuid_adds(void)
{
	return khv_nested_features || memchr_inv(khv_added_cpuid, 0, sizeof(khv_added_cpuid));
}

/* Where KVM caches each register of the guest's CPUID; its own code reads that, too. */
#define CACHED(_reg, _member) [KHV_CPUID_##_reg] = offsetof(struct kvm_vcpu_hv, cpuid_cache._member)
static const u16 cached[KHV_NR_CPUID_REGS] = {
	CACHED(FEATURES_EAX, features_eax),    CACHED(FEATURES_EBX, features_ebx),
	CACHED(FEATURES_EDX, features_edx),    CACHED(HINTS_EAX, enlightenments_eax),
	CACHED(HINTS_EBX, enlightenments_ebx), CACHED(NESTED_EAX, nested_eax),
	CACHED(NESTED_EBX, nested_ebx),	       CACHED(SYNDBG_EAX, syndbg_cap_eax),
};

static bool has_leaf(const struct kvm_vcpu *vcpu, u32 leaf)
{
	int i;

	for (i = 0; i < vcpu->arch.cpuid_nent; i++) {
		if (vcpu->arch.cpuid_entries[i].function == leaf)
			return true;
	}
	return false;
}

/*
 * What the module parameters add to the leaves that user space has set: of each register only what
 * this VP would be offered.
 */
static void find_added(struct kvm_vcpu *vcpu, u32 *added)
{
	u32 reg[KHV_NR_CPUID_REGS] = {};
	int i;

	memset(added, 0, sizeof(reg));
	if (!vcpu->arch.hyperv_enabled)
		return;
	offer(reg, vcpu, 0);
	if (has_leaf(vcpu, KHV_CPUID_LEAF_FEATURES)) {
		for (i = KHV_CPUID_FEATURES_EAX; i <= KHV_CPUID_FEATURES_EDX; i++)
			added[i] = khv_added_cpuid[i] & reg[i];
	}
	/* Only if user space shows features of nested guests at all. */
	if (to_khv_vcpu(vcpu)->stock.cpuid_cache.nested_eax) {
		reg[KHV_CPUID_HINTS_EAX] |= experiments[KHV_CPUID_HINTS_EAX];
		added[KHV_CPUID_NESTED_EAX] = khv_nested_features;
		added[KHV_CPUID_NESTED_EBX] = khv_nested_features >> 32;
	}
	if (has_leaf(vcpu, KHV_CPUID_LEAF_HINTS))
		added[KHV_CPUID_HINTS_EAX] = khv_added_cpuid[KHV_CPUID_HINTS_EAX] &
					     reg[KHV_CPUID_HINTS_EAX];
}

void khv_cpuid_update(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int i;

	if (!vp)
		return;

	find_added(vcpu, vp->added);
	vp->cpuid.present = vcpu->arch.hyperv_enabled;
	/* Copy from the stock cache, so that the two cannot disagree. */
	for (i = KHV_CPUID_NONE + 1; i < KHV_NR_CPUID_REGS; i++) {
		u32 *reg = (void *)&vp->stock + cached[i];

		*reg |= vp->added[i];
		vp->cpuid.reg[i] = *reg;
	}

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
	} else if (leaf == KHV_CPUID_LEAF_NESTED) {
		*eax |= vp->added[KHV_CPUID_NESTED_EAX];
		*ebx |= vp->added[KHV_CPUID_NESTED_EBX];
	} else if (leaf == KHV_CPUID_LEAF_FEATURES) {
		*eax |= vp->added[KHV_CPUID_FEATURES_EAX];
		*ebx |= vp->added[KHV_CPUID_FEATURES_EBX];
		*edx |= vp->added[KHV_CPUID_FEATURES_EDX];
	} else if (leaf == KHV_CPUID_LEAF_HINTS) {
		*eax |= vp->added[KHV_CPUID_HINTS_EAX];
	}
}
