// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_TSC_FREQUENCY, HV_X64_MSR_APIC_FREQUENCY, HV_X64_MSR_TSC_INVARIANT_CONTROL and
 * HvCallRestorePartitionTime. The reference time is in reftime.c. TLFS chapters "Timers" and
 * "Partition Properties".
 */
#include <linux/kvm_host.h>
#include <linux/math64.h>

#include "compat/kvm.h"
#include "khv/cpuid.h"
#include "khv/handlers.h"
#include "khv/hcall.h"
#include "khv/state.h"
#include "khv/tsc_rate.h"

enum khv_msr_result khv_msr_tsc_frequency_read(struct khv_msr_access *a)
{
	a->data = (u64)khv_tsc_khz(a->vp) * 1000;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_apic_frequency_read(struct khv_msr_access *a)
{
	a->data = div64_u64(NSEC_PER_SEC, khv_apic_bus_cycle_ns(a->vcpu->kvm));
	return KHV_MSR_OK;
}

/*
 * A KVM that implements the control reads it from struct kvm_hv in its CPUID code: keep it there.
 */
static u64 *tsc_invariant(struct khv_vm *vm)
{
	return khv_invtsc_control(vm->kvm, &vm->tsc_invariant);
}

enum khv_msr_result khv_msr_tsc_invariant_read(struct khv_msr_access *a)
{
	a->data = READ_ONCE(*tsc_invariant(a->vm));
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_tsc_invariant_write(struct khv_msr_access *a)
{
	struct mutex *lock = &a->vcpu->kvm->arch.hyperv.hv_lock;
	enum khv_msr_result ret = KHV_MSR_OK;
	u64 *control = tsc_invariant(a->vm);

	mutex_lock(lock);
	/* A guest cannot clear the control: its software may already rely on the CPUID bit. */
	if (!a->host && *control && !a->data)
		ret = KHV_MSR_FAULT;
	else
		WRITE_ONCE(*control, a->data);
	mutex_unlock(lock);
	return ret;
}

bool khv_tsc_invariant_hidden(const struct khv_vcpu *vp)
{
	static const struct khv_priv priv = KHV_PRIV(FEATURES_EAX, TSC_INVARIANT);

	return khv_priv_held(&vp->cpuid, priv) && !READ_ONCE(*tsc_invariant(vp->vm));
}

u16 khv_hc_restore_partition_time(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_restore_time_input *in = (const void *)hc->input;

	/* The host must not change the TSC of an isolated partition. */
	if (vcpu->arch.guest_state_protected)
		return HV_STATUS_ACCESS_DENIED;
	if (in->partition_id != KHV_PARTITION_SELF)
		return KHV_STATUS_INVALID_PARTITION_ID;
	if (in->rsvdz)
		return HV_STATUS_INVALID_PARAMETER;
	return khv_tsc_restore(to_khv_vcpu(vcpu), in->reference_time, in->tsc, in->tsc_sequence);
}
