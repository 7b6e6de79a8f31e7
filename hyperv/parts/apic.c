// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual APIC: HV_X64_MSR_EOI, ICR and TPR, which access registers of KVM's local APIC in
 * whatever mode that is, and the VP assist page, whose first word KVM's local APIC uses for EOIs
 * without a VM-Exit. KVM's function for a write to the local APIC may take a mutex, to update its
 * map of APICs, and the I/O APIC's lock. The fast path therefore writes EOI, ICR and TPR here. TLFS
 * chapters "Virtual Interrupt Control" and "Virtual Processors", "VP Assist Page".
 */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>
#include <asm/kvm_para.h>
#include <asm/vmx.h>

#include "compat/kvm.h"
#include "khv/apic.h"
#include "khv/events.h"
#include "khv/handlers.h"
#include "khv/lapic.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/synic.h"

/* Must KVM's slow path first synchronise its local APIC with the assist page or the TPR shadow? */
static bool out_of_sync(const struct khv_msr_access *a)
{
	return a->atomic && (!a->vcpu->arch.apic || a->vcpu->arch.apic_attention);
}

static enum khv_msr_result lapic_read(struct khv_msr_access *a, u32 reg)
{
	return khv_kvm_hv_vapic_msr_read(a->vcpu, reg, &a->data) ? KHV_MSR_FAULT : KHV_MSR_OK;
}

static enum khv_msr_result lapic_write(struct khv_msr_access *a, u32 reg)
{
	return khv_kvm_hv_vapic_msr_write(a->vcpu, reg, a->data) ? KHV_MSR_FAULT : KHV_MSR_OK;
}

/*
 * Return: KVM's local APIC for use in the fast path, or NULL if only the slow path may access it.
 */
static struct khv_kvm_lapic *lapic_at_hand(const struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = (void *)a->vcpu->arch.apic;

	if (out_of_sync(a) || apic->vcpu != a->vcpu)
		return NULL;
	return apic;
}

/* Mirrors apic_find_highest_isr(). Return: the highest vector in service, or -1. */
static int highest_isr(struct khv_kvm_lapic *apic)
{
	/* Under APICv isr_count is 1 and highest_isr_cache is -1, whatever is in service. */
	if (!apic->isr_count)
		return -1;
	if (apic->highest_isr_cache != -1)
		return apic->highest_isr_cache;
	return khv_lapic_highest(khv_lapic_reg(apic, APIC_ISR));
}

/* Mirrors __apic_update_ppr(). */
static void update_ppr(struct khv_kvm_lapic *apic)
{
	u32 tpr = *khv_lapic_reg(apic, APIC_TASKPRI) & APIC_TPRI_MASK;
	u32 isr = max(highest_isr(apic), 0) & 0xf0;

	*khv_lapic_reg(apic, APIC_PROCPRI) = (tpr & 0xf0) >= isr ? tpr : isr;
}

/*
 * Mirrors the second half of apic_update_ppr(). A lower processor priority may unblock a pending
 * interrupt, and changes the TPR threshold of VMX, which refuses a VM-Entry with the TPR below it.
 * Under APICv the CPU does both.
 */
static void recheck_irr(struct kvm_vcpu *vcpu, const struct khv_kvm_lapic *apic)
{
	if (READ_ONCE(apic->irr_pending) && !apic->apicv_active &&
	    khv_kvm_lapic_find_highest_irr(vcpu) >= 0)
		kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/* Does an EOI of this vector need a notification that takes a lock? */
static bool eoi_is_awaited(const struct khv_msr_access *a, int vector)
{
	return test_bit(vector, a->vcpu->arch.ioapic_handled_vectors) ||
	       (test_bit(vector, a->vp->stock.synic.vec_bitmap) && khv_synic_anybody_waits(a->vp));
}

/* Mirrors vmx_hwapic_isr_update(): the CPU compares new interrupts with SVI. */
static void set_svi(int vector)
{
	unsigned long status = khv_vmread(GUEST_INTR_STATUS);

	khv_vmwrite(GUEST_INTR_STATUS, (status & 0xff) | (vector < 0 ? 0 : vector << 8));
}

void khv_apic_apicv_changed(struct kvm_vcpu *vcpu)
{
	struct khv_kvm_lapic *apic = (void *)vcpu->arch.apic;

	if (!apic || apic->vcpu != vcpu)
		return;
	if (apic->apicv_active && !khv_in_l2(vcpu))
		set_svi(highest_isr(apic));
	if (khv_x86_ops->update_cr8_intercept) {
		khv_x86_ops->update_cr8_intercept(vcpu, 0, -1);
		kvm_make_request(KVM_REQ_EVENT, vcpu);
	}
}

/*
 * VMX refuses an entry with the TPR below TPR_THRESHOLD, which KVM updates before an entry only
 * while the APIC is enabled: clear it while it is not, for KVM's write of TPR or EOI may have
 * raised it. When the APIC is enabled again, khv_hook_kvm_check_async_pf_completion() has KVM look
 * for interrupts, as the exits of a threshold would. Never in guest mode in the fast path: KVM 7.3
 * would switch VMCSs.
 */
static void clear_tpr_threshold(struct kvm_vcpu *vcpu, struct khv_kvm_lapic *apic)
{
	if (!khv_apic_enabled(vcpu, apic) && !khv_svm && apic->vcpu == vcpu &&
	    !apic->apicv_active && khv_x86_ops->update_cr8_intercept)
		khv_x86_ops->update_cr8_intercept(vcpu, 0, -1);
}

/* Mirrors apic_set_eoi(). */
static enum khv_msr_result eoi_fast(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = lapic_at_hand(a);
	unsigned int effects;
	int vector;

	if (!apic || khv_apic_traced() || a->data > U32_MAX)
		return KHV_MSR_SLOW;
	vector = highest_isr(apic);
	if (vector < 0)
		return KHV_MSR_OK;
	if (eoi_is_awaited(a, vector))
		return KHV_MSR_SLOW;

	*khv_lapic_reg(apic, APIC_ISR + vector / 32 * KHV_LAPIC_WORD) &= ~BIT(vector % 32);
	effects = khv_eoi_effects(apic->apicv_active, khv_svm);
	if (effects & KHV_EOI_COUNT) {
		apic->isr_count--;
		apic->highest_isr_cache = -1;
	}
	if (effects & KHV_EOI_SVI)
		set_svi(highest_isr(apic));
	update_ppr(apic);
	if (test_bit(vector, a->vp->stock.synic.vec_bitmap))
		khv_stimer_retry(a->vp);
	recheck_irr(a->vcpu, apic);
	return KHV_MSR_OK;
}

/* Write-only: KVM's local APIC refuses the read. The row has no KHV_MSR_ATOMIC_RD. */
enum khv_msr_result khv_msr_eoi_read(struct khv_msr_access *a)
{
	return lapic_read(a, APIC_EOI);
}

static enum khv_msr_result eoi_slow(struct khv_msr_access *a)
{
	if (lapic_write(a, APIC_EOI) == KHV_MSR_FAULT)
		return KHV_MSR_FAULT;
	clear_tpr_threshold(a->vcpu, (void *)a->vcpu->arch.apic);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_eoi_write(struct khv_msr_access *a)
{
	return a->atomic ? eoi_fast(a) : eoi_slow(a);
}

/* ICR bits that a fixed, edge-triggered interrupt to a physical destination has clear. */
#define ICR_OTHER                                                                     \
	(GENMASK_ULL(31, 16) | APIC_INT_LEVELTRIG | BIT_ULL(13) | APIC_DEST_LOGICAL | \
	 GENMASK_ULL(10, 8))

/*
 * Mirrors kvm_irq_delivery_to_apic_fast() for one physical destination. Return: false if KVM's map
 * of APICs does not determine the target, or @icr may be a broadcast.
 */
static bool icr_send(struct kvm_vcpu *vcpu, u64 icr)
{
	u32 id = vcpu->arch.apic_base & X2APIC_ENABLE ? icr >> 32 : icr >> 56;
	struct kvm_vcpu *target;

	if (id == 0xff || id == U32_MAX || !khv_apic_map_find(vcpu->kvm, id, &target))
		return false;
	if (target)
		khv_apic_post(target, icr & APIC_VECTOR_MASK);
	return true;
}

static bool xapic_mode(const struct kvm_vcpu *vcpu)
{
	return !(vcpu->arch.apic_base & X2APIC_ENABLE);
}

/* Location of the upper half: ICR2 in xAPIC mode; in x2APIC mode it depends on the vendor. */
static u32 *icr_upper(const struct kvm_vcpu *vcpu, struct khv_kvm_lapic *apic)
{
	if (xapic_mode(vcpu) || khv_x2apic_icr_is_split(khv_x86_ops))
		return khv_lapic_reg(apic, APIC_ICR2);
	return khv_lapic_reg(apic, APIC_ICR + 4);
}

/* The bits that ICR2 implements. */
#define ICR2_DEST GENMASK(31, 24)

/* Is the upper half in ICR2? KVM's functions for the MSR assume x2APIC mode. */
static bool upper_is_icr2(const struct kvm_vcpu *vcpu, const struct khv_kvm_lapic *apic)
{
	return xapic_mode(vcpu) && apic->vcpu == vcpu;
}

static enum khv_msr_result icr_read_slow(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = (void *)a->vcpu->arch.apic;

	if (lapic_read(a, APIC_ICR) == KHV_MSR_FAULT)
		return KHV_MSR_FAULT;
	if (upper_is_icr2(a->vcpu, apic))
		a->data = (u32)a->data | (u64)*khv_lapic_reg(apic, APIC_ICR2) << 32;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_icr_read(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic;

	if (!a->atomic)
		return icr_read_slow(a);
	apic = lapic_at_hand(a);
	if (!apic || khv_apic_traced())
		return KHV_MSR_SLOW;
	a->data = *khv_lapic_reg(apic, APIC_ICR) | (u64)*icr_upper(a->vcpu, apic) << 32;
	return KHV_MSR_OK;
}

/* Mirrors kvm_x2apic_icr_write(), and handles ICR2 in xAPIC mode. */
static enum khv_msr_result icr_fast(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = lapic_at_hand(a);

	if (!apic || (a->data & ICR_OTHER) || khv_apic_traced() || !icr_send(a->vcpu, a->data))
		return KHV_MSR_SLOW;
	*khv_lapic_reg(apic, APIC_ICR) = a->data & ~APIC_ICR_BUSY;
	*icr_upper(a->vcpu, apic) = a->data >> 32 & (xapic_mode(a->vcpu) ? ICR2_DEST : U32_MAX);
	return KHV_MSR_OK;
}

static enum khv_msr_result icr_write_slow(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic = (void *)a->vcpu->arch.apic;

	if (lapic_write(a, APIC_ICR) == KHV_MSR_FAULT)
		return KHV_MSR_FAULT;
	if (upper_is_icr2(a->vcpu, apic))
		*khv_lapic_reg(apic, APIC_ICR2) = a->data >> 32 & ICR2_DEST;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_icr_write(struct khv_msr_access *a)
{
	return a->atomic ? icr_fast(a) : icr_write_slow(a);
}

/* KVM must report each access to the TPR if user space has asked for that. */
static struct khv_kvm_lapic *tpr_at_hand(const struct khv_msr_access *a)
{
	return a->vcpu->arch.tpr_access_reporting || khv_apic_traced() ? NULL : lapic_at_hand(a);
}

enum khv_msr_result khv_msr_tpr_read(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic;

	if (!a->atomic)
		return lapic_read(a, APIC_TASKPRI);
	apic = tpr_at_hand(a);
	if (!apic)
		return KHV_MSR_SLOW;
	a->data = *khv_lapic_reg(apic, APIC_TASKPRI);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_tpr_write(struct khv_msr_access *a)
{
	struct khv_kvm_lapic *apic;

	if (a->atomic) {
		apic = tpr_at_hand(a);
		if (!apic || a->data > U32_MAX)
			return KHV_MSR_SLOW;
		*khv_lapic_reg(apic, APIC_TASKPRI) = a->data & APIC_TPRI_MASK;
		update_ppr(apic);
	} else if (lapic_write(a, APIC_TASKPRI) == KHV_MSR_OK) {
		apic = (void *)a->vcpu->arch.apic;
	} else {
		return KHV_MSR_FAULT;
	}
	/* KVM before 6.12 does not update TPR_THRESHOLD after its own write, either. */
	recheck_irr(a->vcpu, apic);
	clear_tpr_threshold(a->vcpu, apic);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_vp_assist_page_write(struct khv_msr_access *a)
{
	gpa_t gpa = a->data & KHV_PAGE_GPFN;
	const u32 apic_assist = 0;

	a->was = a->vp->stock.hv_vapic;
	if (!(a->data & KHV_VP_ASSIST_ENABLE)) {
		/* Elsewhere it is KVM's own PV EOI (MSR_KVM_PV_EOI_EN), which stays on. */
		if (a->was & KHV_VP_ASSIST_ENABLE &&
		    a->vcpu->arch.pv_eoi.msr_val == ((a->was & KHV_PAGE_GPFN) | KVM_MSR_ENABLED) &&
		    khv_kvm_lapic_set_pv_eoi(a->vcpu, 0, 0))
			return KHV_MSR_FAULT;
		a->vp->stock.hv_vapic = a->data;
		khv_nested_assist_off(a->vp);
		return KHV_MSR_OK;
	}

	/* Clear this word only: behind it, a restored page holds nested state. */
	if (khv_kvm_write_guest(a->vcpu->kvm, gpa, &apic_assist, sizeof(apic_assist)))
		return KHV_MSR_FAULT;
	if (khv_kvm_lapic_set_pv_eoi(a->vcpu, gpa | KVM_MSR_ENABLED,
				     sizeof(struct hv_vp_assist_page)))
		return KHV_MSR_FAULT;
	a->vp->stock.hv_vapic = a->data;
	return KHV_MSR_OK;
}
