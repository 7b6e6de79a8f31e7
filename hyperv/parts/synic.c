// SPDX-License-Identifier: GPL-2.0-only
/*
 * The synthetic interrupt controller (SynIC): HV_X64_MSR_SCONTROL to EOM and SINT0 to 15, message
 * slots, and SINTs raised by user space. The registers are kept in the stock struct, because inline
 * functions of KVM read the bitmaps of vectors there. Only the VP's thread writes the registers;
 * khv_synic_set_irq() reads them in any context. TLFS chapters "Inter-Partition Communication" and
 * "Virtual Interrupt Control".
 */
#include <linux/bitmap.h>
#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/rculist.h>
#include <linux/srcu.h>

#include "khv/apic.h"
#include "khv/parts.h"
#include "khv/port.h"

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

static u64 read_sint(const struct kvm_vcpu_hv_synic *synic, u32 sint)
{
	return atomic64_read(&synic->sint[sint]);
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
		u64 sint = read_sint(synic, i);
		u8 vector = sint & KHV_SINT_VECTOR;

		if ((sint & KHV_SINT_MASKED) || vector < KHV_SINT_FIRST_VECTOR)
			continue;
		__set_bit(vector, connected);
		/* A polled SINT raises no interrupt, so there is nothing to end automatically. */
		if ((sint & KHV_SINT_AUTO_EOI) && !(sint & KHV_SINT_POLLING))
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

/* Does the vCPU's in-kernel local APIC accept interrupts? */
static bool apic_enabled(struct kvm_vcpu *vcpu)
{
	u64 spiv;

	return (vcpu->arch.apic_base & MSR_IA32_APICBASE_ENABLE) &&
	       !khv_kvm_hv_vapic_msr_read(vcpu, APIC_SPIV, &spiv) &&
	       (spiv & APIC_SPIV_APIC_ENABLED);
}

/* Return: the SINT's vector, or 0 if the SINT raises no interrupt. */
static u8 interrupt_vector(u64 sint)
{
	return sint & (KHV_SINT_MASKED | KHV_SINT_POLLING) ? 0 : sint & KHV_SINT_VECTOR;
}

/*
 * Return: 1 if delivered, 0 if lost in a disabled local APIC, -ENOENT if the SINT raises no
 * interrupt or there is no in-kernel local APIC.
 */
static int raise(struct kvm_vcpu *vcpu, u64 sint)
{
	u8 vector = interrupt_vector(sint);

	return vector && vcpu->arch.apic ? khv_apic_post(vcpu, vector) : -ENOENT;
}

/*
 * May a message be delivered? It waits until its slot may be written and its interrupt would not be
 * lost.
 */
static bool ready(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_synic *synic, u64 sint)
{
	if (!(synic->control & KHV_SCONTROL_ENABLE) || !(synic->msg_page & KHV_SIMP_ENABLE) ||
	    (sint & KHV_SINT_MASKED))
		return false;
	if ((sint & KHV_SINT_POLLING) || !vcpu->arch.apic)
		return true;
	if (apic_enabled(vcpu))
		return true;
	/* No write to a SynIC register ends this condition: have khv_synic_apic_changed() retry. */
	to_khv_vcpu(vcpu)->apic_waits = true;
	return false;
}

/* Set MessagePending, so that the guest writes EOM after it has emptied the slot. */
static void ask_for_eom(struct kvm_vcpu *vcpu, gpa_t slot)
{
	gpa_t gpa = slot + offsetof(struct hv_message, header.message_flags);
	const u8 pending = BIT(0);
	u8 flags;

	/* Read first: a needless write would dirty the page. */
	if (khv_kvm_read_guest(vcpu->kvm, gpa, &flags, sizeof(flags)) || flags != pending)
		khv_kvm_write_guest(vcpu->kvm, gpa, &pending, sizeof(pending));
}

static bool slot_empty(struct kvm_vcpu *vcpu, gpa_t slot)
{
	u32 type;

	return !khv_kvm_read_guest(vcpu->kvm, slot, &type, sizeof(type)) && type == HVMSG_NONE;
}

bool khv_synic_deliver(struct kvm_vcpu *vcpu, u32 sintx, const struct hv_message *msg)
{
	struct kvm_vcpu_hv_synic *synic = &to_khv_vcpu(vcpu)->stock.synic;
	u64 sint = read_sint(synic, sintx);
	gpa_t slot = (synic->msg_page & KHV_PAGE_GPFN) + sintx * sizeof(*msg);
	const u32 type = msg->header.message_type;

	if (!ready(vcpu, synic, sint))
		return false;

	if (!slot_empty(vcpu, slot)) {
		ask_for_eom(vcpu, slot);
		/*
		 * Another VP may have emptied the slot just before the flag became visible, and
		 * will then not write EOM. Pairs with the guest's barrier between emptying the slot
		 * and reading the flag.
		 */
		smp_mb();
		if (!slot_empty(vcpu, slot))
			return false;
	}

	/* Write the message type last: it marks the slot as full. */
	if (khv_kvm_write_guest(vcpu->kvm, slot + sizeof(type), (const u8 *)msg + sizeof(type),
				sizeof(msg->header) + msg->header.payload_size - sizeof(type)))
		return false;
	/* Pairs with the guest's read barrier between message_type and the rest of the message. */
	smp_wmb();
	if (khv_kvm_write_guest(vcpu->kvm, slot, &type, sizeof(type)))
		return false;
	raise(vcpu, sint);
	return true;
}

int khv_synic_set_irq(struct kvm *kvm, u32 vp_index, u32 sint)
{
	struct khv_vcpu *vp = khv_vp_by_index(kvm, vp_index);
	struct kvm_vcpu_hv_synic *synic;

	if (!vp || sint >= HV_SYNIC_SINT_COUNT)
		return -EINVAL;
	synic = &vp->stock.synic;
	/* Pairs with smp_store_release() in khv_synic_activate(). */
	if (!smp_load_acquire(&synic->active))
		return -EINVAL;
	if (!(READ_ONCE(synic->control) & KHV_SCONTROL_ENABLE))
		return -ENOENT;
	return raise(vp->stock.vcpu,
		     read_sint(synic, array_index_nospec(sint, HV_SYNIC_SINT_COUNT)));
}

/* Notify the irqfds with a resample eventfd that wait for the EOI of the SINT. */
static void notify_acked(struct kvm_vcpu *vcpu, const struct kvm_vcpu_hv_synic *synic, int sint)
{
	int gsi = atomic_read(&synic->sint_to_gsi[sint]);

	if (gsi >= 0)
		khv_kvm_notify_acked_gsi(vcpu->kvm, gsi);
}

bool khv_synic_anybody_waits(const struct khv_vcpu *vp)
{
	int i;

	for (i = 0; i < HV_SYNIC_SINT_COUNT; i++) {
		if (atomic_read(&vp->stock.synic.sint_to_gsi[i]) >= 0)
			return true;
	}
	return false;
}

/*
 * Does a resample eventfd wait for the EOI of this GSI? KVM requests a new scan of the vectors
 * whenever a resample eventfd comes or goes, but not if the I/O APIC is in user space: treat any
 * route as awaited there.
 */
static bool resampled(struct kvm *kvm, int gsi)
{
	const struct kvm_irq_ack_notifier *notifier;
	bool found = false;
	int idx;

	if (gsi < 0 || kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		return gsi >= 0;
	idx = srcu_read_lock(&kvm->irq_srcu);
	hlist_for_each_entry_srcu(notifier, &kvm->irq_ack_notifier_list, link,
				  srcu_read_lock_held(&kvm->irq_srcu)) {
		if (notifier->gsi == gsi)
			found = true;
	}
	srcu_read_unlock(&kvm->irq_srcu, idx);
	return found;
}

void khv_synic_awaited(const struct khv_vcpu *vp, unsigned long *vectors)
{
	const struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	int i;

	for (i = 0; i < HV_SYNIC_SINT_COUNT; i++) {
		u8 vector = interrupt_vector(read_sint(synic, i));

		if (vector && (resampled(vp->vm->kvm, atomic_read(&synic->sint_to_gsi[i])) ||
			       khv_stimer_waits(vp, i)))
			__set_bit(vector, vectors);
	}
}

void khv_synic_eoi(struct kvm_vcpu *vcpu, int vector)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	int i, idx;

	khv_stimers_retry(vp);
	idx = srcu_read_lock(&vcpu->kvm->irq_srcu);
	for (i = 0; i < ARRAY_SIZE(synic->sint); i++) {
		if (interrupt_vector(read_sint(synic, i)) == vector)
			notify_acked(vcpu, synic, i);
	}
	srcu_read_unlock(&vcpu->kvm->irq_srcu, idx);
}

void khv_synic_apic_changed(struct khv_vcpu *vp)
{
	if (!vp->apic_waits)
		return;
	vp->apic_waits = false;
	khv_stimers_retry(vp);
}

/* Does @gsi still route to this SINT? */
static bool routed(struct kvm_irq_routing_table *table, u32 gsi, u32 vp_index, u32 sint)
{
	struct kvm_kernel_irq_routing_entry *e;

	if (gsi >= table->nr_rt_entries)
		return false;
	hlist_for_each_entry(e, &table->map[gsi], link) {
		if (e->type == KVM_IRQ_ROUTING_HV_SINT && e->hv_sint.vcpu == vp_index &&
		    e->hv_sint.sint == sint)
			return true;
	}
	return false;
}

/* Have the vCPU recompute the vectors whose EOI is a VM-Exit under APICv, after a route changed. */
static void eoi_exits_changed(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_SCAN_IOAPIC, vcpu);
	khv_kvm_vcpu_kick(vcpu);
}

/* Drop routes that are no longer in @table. Return: true if there were any. */
static bool forget_routes(struct khv_vcpu *vp, struct kvm_irq_routing_table *table)
{
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	bool any = false;
	int i;

	for (i = 0; i < ARRAY_SIZE(synic->sint_to_gsi); i++) {
		int gsi = atomic_read(&synic->sint_to_gsi[i]);

		if (gsi < 0 || routed(table, gsi, vp->stock.vp_index, i))
			continue;
		atomic_set(&synic->sint_to_gsi[i], -1);
		any = true;
	}
	return any;
}

static void add_route(struct khv_vcpu *vp, u32 sint, u32 gsi)
{
	if (atomic_xchg(&vp->stock.synic.sint_to_gsi[sint], gsi) != gsi)
		eoi_exits_changed(vp->stock.vcpu);
}

void khv_synic_routing_update(struct kvm *kvm)
{
	struct kvm_irq_routing_table *table =
		srcu_dereference_check(kvm->irq_routing, &kvm->irq_srcu,
				       lockdep_is_held(&kvm->irq_lock));
	struct kvm_kernel_irq_routing_entry *e;
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *vp;
	unsigned long i;
	u32 gsi;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		vp = to_khv_vcpu(vcpu);
		if (vp && forget_routes(vp, table))
			eoi_exits_changed(vcpu);
	}
	for (gsi = 0; gsi < table->nr_rt_entries; gsi++) {
		hlist_for_each_entry(e, &table->map[gsi], link) {
			if (e->type != KVM_IRQ_ROUTING_HV_SINT ||
			    e->hv_sint.sint >= HV_SYNIC_SINT_COUNT)
				continue;
			vp = khv_vp_by_index(kvm, e->hv_sint.vcpu);
			if (vp)
				add_route(vp, e->hv_sint.sint, gsi);
		}
	}
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
	khv_stimers_retry(a->vp);
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
	u64 was = *reg;

	if (!writable(a))
		return KHV_MSR_FAULT;
	if ((a->data & KHV_SIMP_ENABLE) && !a->host && !a->vp->stock.synic.dont_zero_synic_pages &&
	    khv_kvm_clear_guest(a->vcpu->kvm, a->data & KHV_PAGE_GPFN, PAGE_SIZE))
		return KHV_MSR_FAULT;
	*reg = a->data;
	khv_hypercall_page_left(a->vcpu, was, a->data);
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
	khv_stimers_retry(a->vp);
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
	struct kvm *kvm = a->vcpu->kvm;
	int i, idx;
	bool waits;

	if (!writable(a))
		return KHV_MSR_FAULT;
	waits = khv_synic_anybody_waits(a->vp);
	if (waits && a->atomic)
		return KHV_MSR_SLOW;
	khv_stimers_retry(a->vp);
	if (!waits)
		return KHV_MSR_OK;
	idx = srcu_read_lock(&kvm->irq_srcu);
	for (i = 0; i < HV_SYNIC_SINT_COUNT; i++)
		notify_acked(a->vcpu, &a->vp->stock.synic, i);
	srcu_read_unlock(&kvm->irq_srcu, idx);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_sint_read(struct khv_msr_access *a)
{
	return read_value(a, read_sint(&a->vp->stock.synic, a->index));
}

enum khv_msr_result khv_msr_sint_write(struct khv_msr_access *a)
{
	if (!writable(a))
		return KHV_MSR_FAULT;
	/* User space may write 0, to reset the register, although vector 0 is not valid. */
	if (!a->host && !(a->data & KHV_SINT_MASKED) &&
	    (a->data & KHV_SINT_VECTOR) < KHV_SINT_FIRST_VECTOR)
		return KHV_MSR_FAULT;

	atomic64_set(&a->vp->stock.synic.sint[a->index], a->data);
	update_vectors(a->vp);
	khv_stimers_retry(a->vp);
	return KHV_MSR_OK;
}
