// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of VP indices, and HV_X64_MSR_VP_RUNTIME. TLFS chapter "Virtual Processors".
 */
#include <linux/kvm_host.h>
#include <linux/math64.h>
#include <linux/nospec.h>
#include <linux/sched/clock.h>

#include "compat/sched.h"
#include "khv/handlers.h"
#include "khv/state.h"
#include "khv/vp.h"
#include "khv/vpset.h"

static struct khv_vcpu **slot_of(struct khv_vm *vm, u32 vp_index)
{
	return &vm->by_index[array_index_nospec(vp_index, KVM_MAX_VCPUS)];
}

void khv_vp_claim(struct khv_vcpu *vp)
{
	lockdep_assert_held(&vp->vm->vps_lock);
	/* Pairs with READ_ONCE() in khv_vp_by_index(): a VP found in the table is complete. */
	smp_store_release(slot_of(vp->vm, vp->stock.vp_index), vp);
}

void khv_vp_disclaim(struct khv_vcpu *vp, u32 vp_index)
{
	struct khv_vcpu **slot = slot_of(vp->vm, vp_index);
	struct khv_vcpu *other, *next = NULL;

	lockdep_assert_held(&vp->vm->vps_lock);
	if (*slot != vp)
		return;
	/* While each VP has the index of its vCPU, no two have the same. */
	if (atomic_read(&vp->vm->kvm->arch.hyperv.num_mismatched_vp_indexes)) {
		list_for_each_entry(other, &vp->vm->vps, link) {
			if (other != vp && other->stock.vp_index == vp_index)
				next = other;
		}
	}
	WRITE_ONCE(*slot, next);
}

struct khv_vcpu *khv_vp_by_index(struct kvm *kvm, u32 vp_index)
{
	if (vp_index >= KVM_MAX_VCPUS)
		return NULL;
	return READ_ONCE(*slot_of(to_khv_vm(kvm), vp_index));
}

static struct kvm_vcpu *target(struct kvm *kvm, u32 vp_index)
{
	struct khv_vcpu *vp = khv_vp_by_index(kvm, vp_index);
	struct kvm_vcpu *vcpu;

	if (vp)
		return vp->stock.vcpu;
	/* In older point releases kvm_get_vcpu() returns vCPU 0 for an index that is too high. */
	if (vp_index >= (u32)atomic_read(&kvm->online_vcpus))
		return NULL;
	vcpu = kvm_get_vcpu(kvm, vp_index);
	if (!vcpu)
		return NULL;
	/* The vCPU may have got a VP, with this or another index, since the look-up above. */
	vp = to_khv_vcpu(vcpu);
	return vp && READ_ONCE(vp->stock.vp_index) != vp_index ? NULL : vcpu;
}

struct kvm_vcpu *khv_next_target(struct kvm *kvm, struct khv_targets *targets)
{
	struct kvm_vcpu *vcpu;
	u32 vp_index;

	if (targets->set.all)
		return targets->next < atomic_read(&kvm->online_vcpus) ?
			       kvm_get_vcpu(kvm, targets->next++) :
			       NULL;
	while (khv_vpset_next(&targets->set, &vp_index)) {
		vcpu = target(kvm, vp_index);
		if (vcpu)
			return vcpu;
	}
	return NULL;
}

u64 khv_vp_runtime(const struct khv_vcpu *vp)
{
	u64 ns;

	/* sched_out() adds to runtime_ns: read both parts without being preempted. */
	preempt_disable();
	ns = vp->runtime_ns;
	if (vp->running)
		ns += local_clock() - vp->on_cpu_since;
	preempt_enable();
	return div_u64(ns, 100);
}

enum khv_msr_result khv_msr_vp_runtime_read(struct khv_msr_access *a)
{
	a->data = a->vp->runtime_base + khv_vp_runtime(a->vp);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_vp_runtime_write(struct khv_msr_access *a)
{
	a->vp->runtime_base = a->data - khv_vp_runtime(a->vp);
	return KHV_MSR_OK;
}

static void sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct khv_vcpu *vp = container_of(notifier, struct khv_vcpu, notifier);

	this_cpu_write(khv_running, vp->stock.vcpu);
	vp->on_cpu_since = local_clock();
	if (vp->preempted)
		atomic_dec(&vp->vm->preempted);
	vp->preempted = false;
}

/* A thread that is still runnable was preempted; one that is not has blocked, as in HLT. */
static void sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct khv_vcpu *vp = container_of(notifier, struct khv_vcpu, notifier);

	this_cpu_write(khv_running, NULL);
	vp->runtime_ns += local_clock() - vp->on_cpu_since;
	vp->preempted = khv_task_is_runnable(current);
	if (vp->preempted)
		atomic_inc(&vp->vm->preempted);
}

static struct preempt_ops preempt_ops = {
	.sched_in = sched_in,
	.sched_out = sched_out,
};

void khv_vp_init(struct khv_vcpu *vp)
{
	preempt_notifier_init(&vp->notifier, &preempt_ops);
}

void khv_vp_run_begin(struct khv_vcpu *vp)
{
	preempt_disable();
	preempt_notifier_register(&vp->notifier);
	vp->on_cpu_since = local_clock();
	vp->running = true;
	this_cpu_write(khv_running, vp->stock.vcpu);
	preempt_enable();
}

void khv_vp_run_end(struct khv_vcpu *vp)
{
	preempt_disable();
	this_cpu_write(khv_running, NULL);
	vp->running = false;
	vp->runtime_ns += local_clock() - vp->on_cpu_since;
	preempt_notifier_unregister(&vp->notifier);
	preempt_enable();
}
