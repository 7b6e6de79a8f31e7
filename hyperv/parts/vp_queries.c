// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvCallGetVpIndexFromApicId and HvCallGetVpCpuidValues: hidden calls about VPs. No state, no lock.
 * TLFS chapter "Virtual Processors".
 */
#include <linux/kvm_host.h>
#include <linux/string.h>
#include <asm/apicdef.h>

#include "khv/apic.h"
#include "khv/handlers.h"
#include "khv/hcall.h"
#include "khv/imports.h"
#include "khv/state.h"
#include "khv/vp.h"

/* The id to which other VPs send interrupts. Without a local APIC here, that of user space. */
static u32 apic_id(const struct kvm_vcpu *vcpu)
{
	struct khv_kvm_lapic *apic = (void *)vcpu->arch.apic;

	if (!apic || apic->vcpu != vcpu || (READ_ONCE(vcpu->arch.apic_base) & X2APIC_ENABLE))
		return vcpu->vcpu_id;
	return READ_ONCE(*khv_lapic_reg(apic, APIC_ID)) >> 24;
}

static struct kvm_vcpu *find_by_apic_id(struct kvm *kvm, u32 id)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (khv_apic_map_find(kvm, id, &vcpu) && vcpu)
		return vcpu;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (apic_id(vcpu) == id)
			return vcpu;
		/* Each id of a list may take a walk over all vCPUs. */
		cond_resched();
	}
	return NULL;
}

u16 khv_hc_get_vp_index_from_apic_id(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_vp_index_input *in = (const void *)hc->input;
	const u32 *id = khv_element(hc, in->apic_ids, sizeof(*id));
	struct kvm_vcpu *found;
	u32 index;

	if (in->partition_id != KHV_PARTITION_SELF)
		return KHV_STATUS_INVALID_PARTITION_ID;
	if (!khv_vtl_is_0(in->target_vtl))
		return HV_STATUS_INVALID_PARAMETER;
	found = find_by_apic_id(vcpu->kvm, *id);
	if (!found)
		return HV_STATUS_INVALID_PARAMETER;
	index = khv_vp_index(found);
	memcpy(hc->output, &index, sizeof(index));
	return HV_STATUS_SUCCESS;
}

/* What the VP's own CPUID instruction gives: the features that it has enabled are in that. */
u16 khv_hc_get_vp_cpuid_values(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_cpuid_values_input *in = (const void *)hc->input;
	const struct khv_cpuid_leaf *leaf = khv_element(hc, in->leaves, sizeof(*leaf));
	u32 reg[4] = { leaf->leaf, 0, leaf->subleaf, 0 };

	if (in->partition_id != KHV_PARTITION_SELF)
		return KHV_STATUS_INVALID_PARTITION_ID;
	if (!khv_vp_is_self(khv_vp_index(vcpu), in->vp_index))
		return KHV_STATUS_INVALID_VP_INDEX;
	if ((in->flags & ~KHV_CPUID_VALUES_FLAGS) || in->rsvdz)
		return HV_STATUS_INVALID_PARAMETER;
	khv_kvm_cpuid(vcpu, &reg[0], &reg[1], &reg[2], &reg[3], false);
	memcpy(hc->output, reg, sizeof(reg));
	return HV_STATUS_SUCCESS;
}
