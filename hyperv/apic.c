// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: HV_X64_MSR_EOI, ICR and TPR, which are other names for registers of
 * KVM's local APIC in whatever mode it is, and the VP assist page, whose first word
 * KVM's APIC uses for EOIs without an exit. KVM's function for a write to the APIC may
 * take a mutex (to bring its map of APICs up to date) and the lock of the I/O APIC: in
 * the fast path EOI and TPR are written here. TLFS chapters "Virtual Interrupt Control"
 * and "Virtual Processors", "VP Assist Page".
 */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>
#include <asm/kvm_para.h>

#include "compat/kvm_private.h"
#include "khv/fastpath.h"
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
	return khv_kvm_hv_vapic_msr_write(a->vcpu, reg, a->data) ? KHV_MSR_FAULT : KHV_MSR_OK;
}

/* KVM's APIC for the fast path, or NULL where it is not to be touched from there. */
static struct khv_kvm_lapic *lapic_at_hand(const struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = (void *)a->vcpu->arch.apic;

	if (out_of_sync(a) || apic->vcpu != a->vcpu)
		return NULL;
	return apic;
}

static u32 *lapic_reg(struct khv_kvm_lapic *apic, u32 reg)
{
	return apic->regs + reg;
}

/* Vector of the highest interrupt in service; there is one. */
static int highest_isr(struct khv_kvm_lapic *apic)
{
	int i;

	if (apic->highest_isr_cache != -1)
		return apic->highest_isr_cache;
	for (i = 7; i >= 0; i--) {
		u32 word = *lapic_reg(apic, APIC_ISR + i * 0x10);

		if (word)
			return i * 32 + __fls(word);
	}
	return -1;
}

/* Would the end of this interrupt have to be told to somebody behind a lock? */
static bool eoi_is_awaited(const struct khv_msr_access *a, int vector)
{
	return test_bit(vector, a->vcpu->arch.ioapic_handled_vectors) ||
	       (test_bit(vector, a->vp->stock.synic.vec_bitmap) && khv_synic_anybody_waits(a->vp));
}

static enum khv_msr_result eoi_fast(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = lapic_at_hand(a);
	int vector;

	if (!apic || apic->apicv_active || khv_eoi_traced() || a->data > U32_MAX)
		return KHV_MSR_SLOW;
	if (!apic->isr_count)
		return KHV_MSR_OK;
	vector = highest_isr(apic);
	if (vector < 0 || eoi_is_awaited(a, vector))
		return KHV_MSR_SLOW;

	*lapic_reg(apic, APIC_ISR + vector / 32 * 0x10) &= ~BIT(vector % 32);
	apic->isr_count--;
	apic->highest_isr_cache = -1;
	khv_kvm_apic_update_ppr(a->vcpu);
	if (test_bit(vector, a->vp->stock.synic.vec_bitmap))
		khv_stimers_retry(a->vp);
	/* What is still waiting decides which writes of CR8 KVM has to see. */
	if (khv_kvm_lapic_find_highest_irr(a->vcpu) >= 0)
		kvm_make_request(KVM_REQ_EVENT, a->vcpu);
	return KHV_MSR_OK;
}

/* Write-only: KVM's APIC refuses the read. */
enum khv_msr_result khv_msr_eoi_read(struct khv_msr_access *a)
{
	return lapic_read(a, APIC_EOI);
}

enum khv_msr_result khv_msr_eoi_write(struct khv_msr_access *a)
{
	return a->atomic ? eoi_fast(a) : lapic_write(a, APIC_EOI);
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
	if (a->atomic && (out_of_sync(a) || !one_target(a->data)))
		return KHV_MSR_SLOW;
	return lapic_write(a, APIC_ICR);
}

/* User space may want to be told of each access to the TPR. */
static struct khv_kvm_lapic *tpr_at_hand(const struct khv_msr_access *a)
{
	return a->vcpu->arch.tpr_access_reporting ? NULL : lapic_at_hand(a);
}

enum khv_msr_result khv_msr_tpr_read(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic;

	if (!a->atomic)
		return lapic_read(a, APIC_TASKPRI);
	apic = tpr_at_hand(a);
	if (!apic)
		return KHV_MSR_SLOW;
	a->data = *lapic_reg(apic, APIC_TASKPRI);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_tpr_write(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic;

	if (!a->atomic)
		return lapic_write(a, APIC_TASKPRI);
	apic = tpr_at_hand(a);
	if (!apic || a->data > U32_MAX)
		return KHV_MSR_SLOW;
	*lapic_reg(apic, APIC_TASKPRI) = a->data & APIC_TPRI_MASK;
	khv_kvm_apic_update_ppr(a->vcpu);
	return KHV_MSR_OK;
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
		khv_nested_assist_off(a->vp);
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
