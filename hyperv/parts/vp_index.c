// SPDX-License-Identifier: GPL-2.0-only
/* HV_X64_MSR_VP_INDEX. TLFS chapter "Virtual Processors". */
#include <linux/kvm_host.h>

#include "khv/handlers.h"
#include "khv/state.h"
#include "khv/synic.h"
#include "khv/vp.h"

enum khv_msr_result khv_msr_vp_index_read(struct khv_msr_access *a)
{
	a->data = a->vp->stock.vp_index;
	return KHV_MSR_OK;
}

/*
 * User space only. KVM's look-ups by VP index take num_mismatched_vp_indexes into account, the
 * number of VPs whose index is not their vcpu_idx.
 */
enum khv_msr_result khv_msr_vp_index_write(struct khv_msr_access *a)
{
	atomic_t *mismatched = &a->vcpu->kvm->arch.hyperv.num_mismatched_vp_indexes;
	u32 number = a->vcpu->vcpu_idx;
	u32 old = a->vp->stock.vp_index;

	if (a->data >= KVM_MAX_VCPUS)
		return KHV_MSR_FAULT;
	if (a->data == old)
		return KHV_MSR_OK;

	/* Increment first: a vCPU that sees the new index must see a nonzero count. */
	if (old == number)
		atomic_inc(mismatched);
	mutex_lock(&a->vm->vps_lock);
	WRITE_ONCE(a->vp->stock.vp_index, a->data);
	khv_vp_claim(a->vp);
	khv_vp_disclaim(a->vp, old);
	mutex_unlock(&a->vm->vps_lock);
	if (a->data == number)
		atomic_dec(mismatched);
	khv_synic_find_routes(a->vcpu->kvm);
	return KHV_MSR_OK;
}
