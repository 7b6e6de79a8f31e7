/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions of KVM that the exit fast path calls: prototypes, see their rows in contract.def.h. */
#ifndef KHV_COMPAT_FASTPATH_H
#define KHV_COMPAT_FASTPATH_H

#include <linux/kvm_host.h>

/*
 * The vendor's vcpu_run() has no more than these parameters on any kernel. The second one goes on
 * to KVM as it comes; a function without it does not look.
 */
fastpath_t khv_proto_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);

static inline typeof(khv_proto_vcpu_run) *khv_kvm_vcpu_run(const struct kvm_x86_ops *ops)
{
	return (void *)ops->vcpu_run;
}

/* kvm_pmu_trigger_event(); khv_fastpath_check() tells what the second parameter is. */
void khv_proto_pmu_trigger_event(struct kvm_vcpu *vcpu, u64 eventsel);

#endif
