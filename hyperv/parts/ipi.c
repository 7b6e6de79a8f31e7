// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvSendSyntheticClusterIpi and its Ex form: send a fixed interrupt to each VP of a set. No state,
 * no lock. TLFS chapter "Virtual Interrupt Control".
 */
#include <linux/kvm_host.h>

#include "khv/apic.h"
#include "khv/handlers.h"
#include "khv/hcall.h"
#include "khv/trace.h"
#include "khv/vp.h"
#include "khv/vpset.h"

#define FIRST_VECTOR 0x10
#define LAST_VECTOR  0xff

/*
 * Waking a thread takes as long as ten interrupts to running vCPUs. For more than one bank, count
 * the blocked vCPUs before sending with interrupts off.
 */
static bool too_many_asleep(struct kvm *kvm, const struct khv_vpset *set)
{
	struct khv_targets targets = { .set = *set };
	struct kvm_vcpu *vcpu;
	u32 asleep = 0;

	if (set->all ? atomic_read(&kvm->online_vcpus) <= VPS_PER_BANK :
		       !(set->banks & (set->banks - 1)))
		return false;
	while ((vcpu = khv_next_target(kvm, &targets)))
		asleep += kvm_vcpu_is_blocking(vcpu);
	return asleep > VPS_PER_BANK;
}

static u16 send_set(struct kvm_vcpu *caller, const struct khv_hcall *hc,
		    const struct khv_vpset *set, u32 vector)
{
	struct khv_targets targets = { .set = *set };
	struct kvm_vcpu *vcpu;

	if (vector < FIRST_VECTOR || vector > LAST_VECTOR)
		return HV_STATUS_INVALID_PARAMETER;
	if (hc->atomic && (!khv_vpset_few(set, atomic_read(&caller->kvm->online_vcpus)) ||
			   too_many_asleep(caller->kvm, set)))
		return KHV_STATUS_SLOW;

	while ((vcpu = khv_next_target(caller->kvm, &targets))) {
		/* A disabled local APIC loses the interrupt, as on hardware. */
		khv_apic_post(vcpu, vector);
		/* There may be thousands of targets, each a thread to wake up. */
		if (!hc->atomic)
			cond_resched();
	}
	trace_khv_targets(caller->vcpu_id, hc->code, vector, set);
	return HV_STATUS_SUCCESS;
}

/* TargetVtl and the padding after it must be 0, because there is no other VTL. */
static bool ill_formed(struct kvm_vcpu *vcpu, u32 rsvdz)
{
	return !vcpu->arch.apic || rsvdz;
}

u16 khv_hc_send_ipi(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_send_ipi_input *in = (const void *)hc->input;
	struct khv_vpset set;

	/* An all-zero input gives the status of stock KVM, which existing tests expect (D26). */
	if (ill_formed(vcpu, in->rsvdz) || !in->vector)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	khv_vpset_mask(&set, in->processor_mask);
	return send_set(vcpu, hc, &set, in->vector);
}

u16 khv_hc_send_ipi_ex(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_send_ipi_ex_input *in = (const void *)hc->input;
	struct khv_vpset set;
	u16 status;

	if (ill_formed(vcpu, in->rsvdz))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	status = khv_vpset_parse(&set, &in->vp_set, hc);
	if (status)
		return status;
	/* As on stock KVM (D26): a call that names neither a vector nor a VP succeeds. */
	if (!in->vector && !set.all && !set.banks)
		return HV_STATUS_SUCCESS;
	return send_set(vcpu, hc, &set, in->vector);
}
