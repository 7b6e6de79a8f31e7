// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_VP_INDEX and HV_X64_MSR_VP_RUNTIME. TLFS chapter "Virtual Processors".
 */
#include <linux/kvm_host.h>
#include <linux/math64.h>

#include "khv/parts.h"
#include "khv/port.h"

/* KVM's own look-up, too, tries the vCPU of that number first: user space rarely renumbers. */
struct kvm_vcpu *khv_vcpu_by_index(struct kvm *kvm, u32 vp_index)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (vp_index >= KVM_MAX_VCPUS)
		return NULL;
	vcpu = kvm_get_vcpu(kvm, vp_index);
	if (vcpu && to_khv_vcpu(vcpu) && READ_ONCE(to_khv_vcpu(vcpu)->stock.vp_index) == vp_index)
		return vcpu;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (to_khv_vcpu(vcpu) && READ_ONCE(to_khv_vcpu(vcpu)->stock.vp_index) == vp_index)
			return vcpu;
	}
	return NULL;
}

enum khv_msr_result khv_msr_vp_index_read(struct khv_msr_access *a)
{
	a->data = a->vp->stock.vp_index;
	return KHV_MSR_OK;
}

/* User space only. KVM's own look-ups count the VPs whose index is not their number. */
enum khv_msr_result khv_msr_vp_index_write(struct khv_msr_access *a)
{
	atomic_t *mismatched = &a->vcpu->kvm->arch.hyperv.num_mismatched_vp_indexes;
	u32 number = a->vcpu->vcpu_idx;
	u32 old = a->vp->stock.vp_index;

	if (a->data >= KVM_MAX_VCPUS)
		return KHV_MSR_FAULT;
	if (a->data == old)
		return KHV_MSR_OK;

	if (old == number)
		atomic_inc(mismatched);
	else if (a->data == number)
		atomic_dec(mismatched);
	WRITE_ONCE(a->vp->stock.vp_index, a->data);
	return KHV_MSR_OK;
}

/* CPU time of the VP's thread inside KVM_RUN: the guest's and the kernel's on its behalf. */
static u64 runtime_100ns(const struct khv_vcpu *vp)
{
	u64 ns = vp->runtime_ns;

	if (vp->running)
		ns += khv_task_sched_runtime(current) - vp->run_start_ns;
	return div_u64(ns, 100);
}

enum khv_msr_result khv_msr_vp_runtime_read(struct khv_msr_access *a)
{
	a->data = a->vp->runtime_base + runtime_100ns(a->vp);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_vp_runtime_write(struct khv_msr_access *a)
{
	a->vp->runtime_base = a->data - runtime_100ns(a->vp);
	return KHV_MSR_OK;
}

int khv_run(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int ret;

	vp->run_start_ns = khv_task_sched_runtime(current);
	vp->running = true;
	ret = khv_orig_kvm_arch_vcpu_ioctl_run(vcpu);
	vp->running = false;
	vp->runtime_ns += khv_task_sched_runtime(current) - vp->run_start_ns;
	return ret;
}
