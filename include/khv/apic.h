/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM's local APIC: its registers, and posting an interrupt to it. */
#ifndef KHV_APIC_H
#define KHV_APIC_H

#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/types.h>

#include "compat/kvm_hv.h"
#include "compat/kvm_private.h"

/**
 * khv_lapic_reg() - find a register of a local APIC
 * @apic: KVM's local APIC of a vCPU, not NULL
 * @reg: offset of the register in the APIC page, a multiple of 16
 *
 * Return: the register. Context: any; other threads may change it.
 */
static inline u32 *khv_lapic_reg(struct khv_kvm_lapic *apic, u32 reg)
{
	return apic->regs + reg;
}

/**
 * khv_apic_enabled() - mirrors kvm_lapic_enabled()
 * @vcpu: a vCPU
 * @apic: its local APIC, not NULL
 *
 * Return: false if SPIV or IA32_APIC_BASE disables it. Context: any; the vCPU's thread may change
 * it.
 */
static inline bool khv_apic_enabled(const struct kvm_vcpu *vcpu, const struct khv_kvm_lapic *apic)
{
	return apic->sw_enabled && (vcpu->arch.apic_base & MSR_IA32_APICBASE_ENABLE);
}

/**
 * khv_apic_map_find() - find the vCPU of an APIC id in KVM's map
 * @kvm: the VM
 * @id: any id; bounds are checked, under speculation too
 * @vcpu: set to the vCPU, or to NULL if the map has none for the id
 *
 * KVM has no map while two APICs have one id, nor of APICs in user space. A vCPU may not be in it
 * before it has enabled its APIC.
 *
 * Return: false if there is no map, or the id is beyond its end. Context: any; the vCPU lives as
 * long as its VM.
 */
static inline bool khv_apic_map_find(struct kvm *kvm, u32 id, struct kvm_vcpu **vcpu)
{
	const struct khv_kvm_lapic *apic = NULL;
	const struct kvm_apic_map *map;
	bool mapped;

	rcu_read_lock();
	map = rcu_dereference(kvm->arch.apic_map);
	mapped = map && id <= map->max_apic_id;
	if (mapped)
		apic = (void *)map->phys_map[array_index_nospec(id, map->max_apic_id + 1)];
	*vcpu = apic ? apic->vcpu : NULL;
	rcu_read_unlock();
	return mapped;
}

/**
 * khv_apic_post() - send a VP a fixed, edge-triggered interrupt
 * @vcpu: any vCPU; the interrupt is lost without an in-kernel local APIC
 * @vector: 0 to 255, not checked
 *
 * Return: false if the local APIC is disabled or absent. Context: any.
 */
bool khv_apic_post(struct kvm_vcpu *vcpu, u8 vector);

/**
 * khv_apic_apicv_changed() - set the fields of the VMCS that KVM did not maintain meanwhile
 * @vcpu: the vCPU; Intel only, KVM has just switched APICv on or off
 *
 * The CPU ends the interrupt in service by SVI while APICv is on, and refuses an entry with the TPR
 * below TPR_THRESHOLD while it is off: clear the latter, and have KVM set it anew, which it does if
 * the local APIC is enabled. In guest mode SVI is left alone.
 *
 * Context: the vCPU's thread, its VMCS loaded.
 */
void khv_apic_apicv_changed(struct kvm_vcpu *vcpu);

#endif
