// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: HV_X64_MSR_EOI, ICR and TPR, which are other names for registers of
 * KVM's local APIC in whatever mode it is, and the VP assist page, whose first word
 * KVM's APIC uses for EOIs without an exit. TLFS chapters "Virtual Interrupt Control"
 * and "Virtual Processors", "VP Assist Page".
 */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>
#include <asm/kvm_para.h>

#include "khv/parts.h"
#include "khv/port.h"

/* KVM brings its APIC in line with the assist page and the TPR shadow in the slow path. */
static bool out_of_sync(const struct khv_msr_access *a)
{
	return a->atomic && (!a->vcpu->arch.apic || a->vcpu->arch.apic_attention);
}

static enum khv_msr_result lapic_read(struct khv_msr_access *a, u32 reg)
{
	if (out_of_sync(a))
		return KHV_MSR_SLOW;
	return khv_kvm_hv_vapic_msr_read(a->vcpu, reg, &a->data) ? KHV_MSR_FAULT : KHV_MSR_OK;
}

static enum khv_msr_result lapic_write(struct khv_msr_access *a, u32 reg)
{
	if (out_of_sync(a))
		return KHV_MSR_SLOW;
	return khv_kvm_hv_vapic_msr_write(a->vcpu, reg, a->data) ? KHV_MSR_FAULT : KHV_MSR_OK;
}

/* Write-only: KVM's APIC refuses the read. */
enum khv_msr_result khv_msr_eoi_read(struct khv_msr_access *a)
{
	return lapic_read(a, APIC_EOI);
}

enum khv_msr_result khv_msr_eoi_write(struct khv_msr_access *a)
{
	return lapic_write(a, APIC_EOI);
}

enum khv_msr_result khv_msr_icr_read(struct khv_msr_access *a)
{
	return lapic_read(a, APIC_ICR);
}

/* As KVM does in its own fast path: a fixed interrupt to one physical destination. */
#define ICR_MANY (GENMASK_ULL(10, 8) | APIC_DEST_LOGICAL | APIC_DEST_ALLBUT)

static bool one_target(u64 icr)
{
	u32 dest = icr >> 32;

	/* 0xff is everybody in xAPIC mode, where it is in the top byte. */
	return !(icr & ICR_MANY) && dest != GENMASK(31, 0) && dest >> 24 != 0xff;
}

enum khv_msr_result khv_msr_icr_write(struct khv_msr_access *a)
{
	if (a->atomic && !one_target(a->data))
		return KHV_MSR_SLOW;
	return lapic_write(a, APIC_ICR);
}

enum khv_msr_result khv_msr_tpr_read(struct khv_msr_access *a)
{
	return lapic_read(a, APIC_TASKPRI);
}

enum khv_msr_result khv_msr_tpr_write(struct khv_msr_access *a)
{
	return lapic_write(a, APIC_TASKPRI);
}

enum khv_msr_result khv_msr_vp_assist_page_read(struct khv_msr_access *a)
{
	a->data = a->vp->stock.hv_vapic;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_vp_assist_page_write(struct khv_msr_access *a)
{
	gpa_t gpa = a->data & KHV_PAGE_GPFN;
	const u32 apic_assist = 0;

	if (!(a->data & KHV_VP_ASSIST_ENABLE)) {
		if (khv_kvm_lapic_set_pv_eoi(a->vcpu, 0, 0))
			return KHV_MSR_FAULT;
		a->vp->stock.hv_vapic = a->data;
		return KHV_MSR_OK;
	}

	/* Only this word: a restored page holds nested state behind it. */
	if (khv_kvm_vcpu_write_guest(a->vcpu, gpa, &apic_assist, sizeof(apic_assist)))
		return KHV_MSR_FAULT;
	if (khv_kvm_lapic_set_pv_eoi(a->vcpu, gpa | KVM_MSR_ENABLED,
				     sizeof(struct hv_vp_assist_page)))
		return KHV_MSR_FAULT;
	a->vp->stock.hv_vapic = a->data;
	return KHV_MSR_OK;
}
