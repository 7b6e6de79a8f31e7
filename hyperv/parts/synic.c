// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of the synthetic interrupt controller (SynIC): HV_X64_MSR_SCONTROL to EOM and SINT0 to
 * 15. They are kept in the stock struct, because inline functions of KVM read the bitmaps of
 * vectors there. Only the VP's thread writes them; khv_synic_set_irq() reads them in any context.
 * TLFS chapters "Inter-Partition Communication" and "Virtual Interrupt Control".
 */
#include <linux/bitmap.h>
#include <linux/kvm_host.h>

#include "khv/connection.h"
#include "khv/handlers.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/synic.h"

/*
 * AutoEOI of any VP inhibits APICv for the whole VM, because KVM must see the delivery of the
 * interrupt.
 */
static void count_auto_eoi(struct kvm *kvm, bool used)
{
	struct kvm_hv *hv = &kvm->arch.hyperv;

	down_write(&kvm->arch.apicv_update_lock);
	hv->synic_auto_eoi_used += used ? 1 : -1;
	khv___kvm_set_or_clear_apicv_inhibit(kvm, APICV_INHIBIT_REASON_HYPERV,
					     hv->synic_auto_eoi_used);
	up_write(&kvm->arch.apicv_update_lock);
}

void khv_synic_init(struct khv_vcpu *vp)
{
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	int i;

	synic->version = HV_SYNIC_VERSION_1;
	for (i = 0; i < ARRAY_SIZE(synic->sint); i++) {
		atomic64_set(&synic->sint[i], KHV_SINT_MASKED);
		atomic_set(&synic->sint_to_gsi[i], -1);
	}
}

void khv_synic_activate(struct khv_vcpu *vp, bool dont_zero_pages)
{
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;

	synic->dont_zero_synic_pages = dont_zero_pages;
	WRITE_ONCE(synic->control, KHV_SCONTROL_ENABLE);
	/* Pairs with smp_load_acquire() in khv_synic_set_irq(). */
	smp_store_release(&synic->active, true);
}

/*
 * Recompute the two bitmaps of vectors from the SINT registers; several SINTs may share a vector.
 */
static void update_vectors(struct khv_vcpu *vp)
{
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	bool auto_eoi = !bitmap_empty(synic->auto_eoi_bitmap, 256);
	DECLARE_BITMAP(connected, 256) = {};
	DECLARE_BITMAP(automatic, 256) = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(synic->sint); i++) {
		u64 sint_val = khv_sint(synic, i);
		u8 vector = sint_val & KHV_SINT_VECTOR;

		if ((sint_val & KHV_SINT_MASKED) || vector < KHV_SINT_FIRST_VECTOR)
			continue;
		__set_bit(vector, connected);
		/* A polled SINT raises no interrupt, so there is nothing to end automatically. */
		if ((sint_val & KHV_SINT_AUTO_EOI) && !(sint_val & KHV_SINT_POLLING))
			__set_bit(vector, automatic);
	}
	bitmap_copy(synic->vec_bitmap, connected, 256);
	/* As stock: have KVM recompute the vectors whose EOI is a VM-Exit under APICv. */
	if (*khv_enable_apicv)
		kvm_make_request(KVM_REQ_SCAN_IOAPIC, vp->stock.vcpu);
	bitmap_copy(synic->auto_eoi_bitmap, automatic, 256);
	if (auto_eoi != !bitmap_empty(automatic, 256))
		count_auto_eoi(vp->vm->kvm, !auto_eoi);
}

/* Request KVM_EXIT_HYPERV_SYNIC, after the MSR write completes: user space may map the pages. */
static void exit_to_user(const struct khv_msr_access *a, u32 msr)
{
	struct kvm_vcpu_hv *stock = &a->vp->stock;

	stock->exit.type = KVM_EXIT_HYPERV_SYNIC;
	stock->exit.u.synic.msr = msr;
	stock->exit.u.synic.control = stock->synic.control;
	stock->exit.u.synic.evt_page = stock->synic.evt_page;
	stock->exit.u.synic.msg_page = stock->synic.msg_page;
	kvm_make_request(KVM_REQ_HV_EXIT, a->vcpu);
}

/* Without KVM_CAP_HYPERV_SYNIC user space may read all registers, and write 0 as a reset would. */
static bool readable(const struct khv_msr_access *a)
{
	return a->vp->stock.synic.active || a->host;
}

static bool writable(const struct khv_msr_access *a)
{
	return a->vp->stock.synic.active || (a->host && !a->data);
}

static enum khv_msr_result read_value(struct khv_msr_access *a, u64 value)
{
	if (!readable(a))
		return KHV_MSR_FAULT;
	a->data = value;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_scontrol_read(struct khv_msr_access *a)
{
	return read_value(a, a->vp->stock.synic.control);
}

enum khv_msr_result khv_msr_scontrol_write(struct khv_msr_access *a)
{
	if (!writable(a))
		return KHV_MSR_FAULT;
	WRITE_ONCE(a->vp->stock.synic.control, a->data);
	khv_stimer_retry(a->vp);
	if (!a->host)
		exit_to_user(a, HV_X64_MSR_SCONTROL);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_sversion_read(struct khv_msr_access *a)
{
	return read_value(a, a->vp->stock.synic.version);
}

enum khv_msr_result khv_msr_sversion_write(struct khv_msr_access *a)
{
	if (!writable(a))
		return KHV_MSR_FAULT;
	a->vp->stock.synic.version = a->data;
	return KHV_MSR_OK;
}

/* SIMP and SIEFP share one format. Clear a page that the guest enables, but not with SYNIC2. */
static enum khv_msr_result write_page_register(struct khv_msr_access *a, u64 *reg)
{
	if (!writable(a))
		return KHV_MSR_FAULT;
	if ((a->data & KHV_SIMP_ENABLE) && !a->host && !a->vp->stock.synic.dont_zero_synic_pages &&
	    khv_kvm_clear_guest(a->vcpu->kvm, a->data & KHV_PAGE_GPFN, PAGE_SIZE))
		return KHV_MSR_FAULT;
	a->was = *reg;
	*reg = a->data;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_siefp_read(struct khv_msr_access *a)
{
	return read_value(a, a->vp->stock.synic.evt_page);
}

enum khv_msr_result khv_msr_siefp_write(struct khv_msr_access *a)
{
	enum khv_msr_result ret = write_page_register(a, &a->vp->stock.synic.evt_page);

	if (ret == KHV_MSR_OK && !a->host)
		exit_to_user(a, HV_X64_MSR_SIEFP);
	return ret;
}

enum khv_msr_result khv_msr_simp_read(struct khv_msr_access *a)
{
	return read_value(a, a->vp->stock.synic.msg_page);
}

enum khv_msr_result khv_msr_simp_write(struct khv_msr_access *a)
{
	enum khv_msr_result ret = write_page_register(a, &a->vp->stock.synic.msg_page);

	if (ret != KHV_MSR_OK)
		return ret;
	khv_stimer_retry(a->vp);
	if (!a->host)
		exit_to_user(a, HV_X64_MSR_SIMP);
	return ret;
}

enum khv_msr_result khv_msr_eom_read(struct khv_msr_access *a)
{
	return read_value(a, 0);
}

enum khv_msr_result khv_msr_eom_write(struct khv_msr_access *a)
{
	bool waits;

	if (!writable(a))
		return KHV_MSR_FAULT;
	/* User space restores EOM without KVM_CAP_HYPERV_SYNIC, too: there is no message then. */
	waits = a->vp->stock.synic.active && khv_synic_anybody_waits(a->vp);
	if (waits && a->atomic)
		return KHV_MSR_SLOW;
	khv_stimer_retry(a->vp);
	if (!a->host)
		khv_eom_event_signal(a->vp);
	if (waits)
		khv_synic_notify_all(a->vp);
	return KHV_MSR_OK;
}

/* Masked: where khv_msr_find()'s check is mispredicted, a->index is any number. */
static u32 sint_of(const struct khv_msr_access *a)
{
	return a->index % HV_SYNIC_SINT_COUNT;
}

enum khv_msr_result khv_msr_sint_read(struct khv_msr_access *a)
{
	return read_value(a, khv_sint(&a->vp->stock.synic, sint_of(a)));
}

enum khv_msr_result khv_msr_sint_write(struct khv_msr_access *a)
{
	if (!writable(a))
		return KHV_MSR_FAULT;
	/* User space may write 0, to reset the register, although vector 0 is not valid. */
	if (!a->host && !(a->data & KHV_SINT_MASKED) &&
	    (a->data & KHV_SINT_VECTOR) < KHV_SINT_FIRST_VECTOR)
		return KHV_MSR_FAULT;

	atomic64_set(&a->vp->stock.synic.sint[sint_of(a)], a->data);
	update_vectors(a->vp);
	khv_stimer_retry(a->vp);
	return KHV_MSR_OK;
}
