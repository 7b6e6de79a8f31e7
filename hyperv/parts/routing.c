// SPDX-License-Identifier: GPL-2.0-only
/*
 * Routes of interrupts to SINTs (KVM_IRQ_ROUTING_HV_SINT), and the EOI of a SINT's vector, for
 * which resample eventfds and timers wait.
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/rculist.h>
#include <linux/srcu.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/synic.h"
#include "khv/vp.h"

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

	if (gsi < 0 || !khv_ioapic_in_kernel(kvm))
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
		u8 vector = khv_sint_vector(khv_sint(synic, i));

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

	khv_stimer_retry(vp);
	idx = srcu_read_lock(&vcpu->kvm->irq_srcu);
	for (i = 0; i < ARRAY_SIZE(synic->sint); i++) {
		if (khv_sint_vector(khv_sint(synic, i)) == vector)
			notify_acked(vcpu, synic, i);
	}
	srcu_read_unlock(&vcpu->kvm->irq_srcu, idx);
}

void khv_synic_notify_all(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	int i, idx;

	idx = srcu_read_lock(&vcpu->kvm->irq_srcu);
	for (i = 0; i < HV_SYNIC_SINT_COUNT; i++)
		notify_acked(vcpu, &vp->stock.synic, i);
	srcu_read_unlock(&vcpu->kvm->irq_srcu, idx);
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
	khv_vcpu_kick(vcpu);
}

/*
 * Drop routes that are no longer in @table, or are another VP's that has the same index. Return:
 * true if there were any.
 */
static bool forget_routes(struct khv_vcpu *vp, struct kvm_irq_routing_table *table)
{
	struct kvm_vcpu_hv_synic *synic = &vp->stock.synic;
	u32 index = READ_ONCE(vp->stock.vp_index);
	bool hidden = khv_vp_by_index(vp->stock.vcpu->kvm, index) != vp;
	bool any = false;
	int i;

	for (i = 0; i < ARRAY_SIZE(synic->sint_to_gsi); i++) {
		int gsi = atomic_read(&synic->sint_to_gsi[i]);

		if (gsi < 0 || (!hidden && routed(table, gsi, index, i)))
			continue;
		atomic_set(&synic->sint_to_gsi[i], -1);
		any = true;
	}
	return any;
}

static void add_route(struct khv_vcpu *vp, u32 sint, u32 gsi)
{
	sint = array_index_nospec(sint, HV_SYNIC_SINT_COUNT);
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
		cond_resched();
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
		cond_resched();
	}
}

void khv_synic_find_routes(struct kvm *kvm)
{
	mutex_lock(&kvm->irq_lock);
	/* None before KVM_CREATE_IRQCHIP, on older kernels. */
	if (rcu_access_pointer(kvm->irq_routing))
		khv_synic_routing_update(kvm);
	mutex_unlock(&kvm->irq_lock);
}
