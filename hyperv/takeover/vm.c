// SPDX-License-Identifier: GPL-2.0-only
/* Ownership of VMs, and creation and destruction of struct khv_vm and struct khv_vcpu. */
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "khv/connection.h"
#include "khv/crash.h"
#include "khv/debugfs.h"
#include "khv/identity.h"
#include "khv/nested.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/synic.h"
#include "khv/tlbflush.h"
#include "khv/unhalted.h"
#include "khv/vm.h"
#include "khv/vp.h"

int khv_vm_create(struct kvm *kvm)
{
	struct khv_vm *vm;

	/* Fails once the module is being unloaded; the VM then stays with KVM. */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;

	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm) {
		module_put(THIS_MODULE);
		return -ENOMEM;
	}
	vm->kvm = kvm;
	vm->pid = current->pid;
	vm->process = current->tgid;
	mutex_init(&vm->vps_lock);
	INIT_LIST_HEAD(&vm->vps);
	INIT_LIST_HEAD(&vm->aside);
	khv_crash_vm_init(vm);
	khv_reftime_vm_init(vm);

	mutex_lock(&khv_vms_lock);
	vm->id = khv_vms_created++;
	list_add_tail(&vm->link, &khv_vms);
	mutex_unlock(&khv_vms_lock);

	/* No barrier needed: the VM is not visible to any other thread yet. */
	WRITE_ONCE(kvm->arch.hyperv.hv_crash_ctl, (u64)vm);
	/* Create the files last: a reader must find an owned VM. */
	khv_debugfs_vm_create(vm);
	return 0;
}

void khv_vm_destroy(struct kvm *kvm)
{
	struct khv_vm *vm = to_khv_vm(kvm);

	khv_debugfs_vm_remove(vm);
	mutex_lock(&khv_vms_lock);
	WARN_ON_ONCE(!list_empty(&vm->vps) || !list_empty(&vm->aside));
	list_del(&vm->link);
	khv_counts_add(&khv_ended_counts, &vm->ended);
	khv_ended_shown |= vm->shown;
	mutex_unlock(&khv_vms_lock);

	WRITE_ONCE(kvm->arch.hyperv.hv_crash_ctl, 0);
	khv_identity_vm_uninit(vm);
	kvfree(vm);
	module_put(THIS_MODULE);
}

/* Return: the vCPU's VP that was put aside, or NULL. */
static struct khv_vcpu *find_aside(struct kvm_vcpu *vcpu)
{
	struct khv_vm *vm = to_khv_vm(vcpu->kvm);
	struct khv_vcpu *vp, *found = NULL;

	mutex_lock(&vm->vps_lock);
	list_for_each_entry(vp, &vm->aside, link) {
		if (vp->stock.vcpu == vcpu)
			found = vp;
	}
	mutex_unlock(&vm->vps_lock);
	return found;
}

static void publish(struct kvm_vcpu *vcpu, struct khv_vcpu *vp)
{
	mutex_lock(&vp->vm->vps_lock);
	list_move_tail(&vp->link, &vp->vm->vps);
	/*
	 * Enter the VP in by_index first: otherwise a look-up by its index could miss it. A VP that
	 * user space gave this index keeps it.
	 */
	if (!khv_vp_by_index(vcpu->kvm, vp->stock.vp_index))
		khv_vp_claim(vp);
	/* GPA flushes requested while the vCPU had no VP are in no queue. */
	khv_gpa_flush_all(vp);
	/*
	 * Pairs with READ_ONCE() in to_khv_vcpu(): other vCPUs that find the VP without a lock see
	 * it complete.
	 */
	smp_store_release(&vcpu->arch.hyperv, &vp->stock);
	mutex_unlock(&vp->vm->vps_lock);
	khv_synic_find_routes(vcpu->kvm);
}

int khv_vcpu_create(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp;

	if (to_khv_vcpu(vcpu))
		return 0;

	vp = find_aside(vcpu);
	if (vp) {
		publish(vcpu, vp);
		return 0;
	}
	vp = kzalloc(sizeof(*vp), GFP_KERNEL_ACCOUNT);
	if (!vp)
		return -ENOMEM;
	INIT_LIST_HEAD(&vp->link);
	vp->stock.vcpu = vcpu;
	vp->stock.vp_index = vcpu->vcpu_idx;
	vp->vm = to_khv_vm(vcpu->kvm);
	vp->msr_fast = (struct khv_msr_access){
		.vcpu = vcpu,
		.vp = vp,
		.vm = vp->vm,
		.atomic = true,
	};
	vp->input_page.gpa = INVALID_GPA;
	if (khv_tlbflush_init(vp)) {
		kfree(vp);
		return -ENOMEM;
	}
	khv_nested_init(vp);
	khv_synic_init(vp);
	khv_stimer_init(vp);
	khv_unhalted_init(vp);
	khv_vp_init(vp);

	publish(vcpu, vp);
	return 0;
}

void khv_vcpu_put_aside(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	if (!vp)
		return;
	mutex_lock(&vp->vm->vps_lock);
	list_move_tail(&vp->link, &vp->vm->aside);
	WRITE_ONCE(vcpu->arch.hyperv, NULL);
	khv_vp_disclaim(vp, vp->stock.vp_index);
	mutex_unlock(&vp->vm->vps_lock);
}

void khv_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu) ?: find_aside(vcpu);

	/*
	 * Remove the folder before the first vCPU goes: readers use vCPUs without a lock.
	 * users_count is 0 only when the VM ends, not when the creation of a vCPU fails.
	 */
	if (!refcount_read(&vcpu->kvm->users_count))
		khv_debugfs_vm_remove(to_khv_vm(vcpu->kvm));
	if (!vp)
		return;

	khv_stimer_uninit(vp);
	khv_unhalted_uninit(vp);

	mutex_lock(&vp->vm->vps_lock);
	list_del(&vp->link);
	khv_vp_disclaim(vp, vp->stock.vp_index);
	khv_counts_add(&vp->vm->ended, &vp->counts);
	mutex_unlock(&vp->vm->vps_lock);

	vcpu->arch.hyperv = NULL;
	khv_eom_event_uninit(vp);
	khv_tlbflush_uninit(vp);
	kfree(vp);
}
