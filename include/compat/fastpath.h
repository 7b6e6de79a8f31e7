/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions of KVM that the exit fast path calls: prototypes, see their rows in contract.def.h. */
#ifndef KHV_COMPAT_FASTPATH_H
#define KHV_COMPAT_FASTPATH_H

#include <linux/kvm_host.h>

#include "compat/kvm_private.h"
#include "khv/imports.h"

/*
 * The vendor's vcpu_run() has no more than these parameters on any kernel. The second one goes on
 * to KVM as it comes; a function without it does not look.
 */
fastpath_t khv_proto_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);

static inline typeof(khv_proto_vcpu_run) *khv_kvm_vcpu_run(const struct kvm_x86_ops *ops)
{
	return (void *)ops->vcpu_run;
}

/*
 * kvm_pmu_trigger_event(). Since Linux 6.18 it is private; kvm_pmu_instruction_retired() stands in,
 * and does not look at a second parameter.
 */
void khv_proto_pmu_trigger_event(struct kvm_vcpu *vcpu, u64 eventsel);

/*
 * Find that function, and its second argument for a retired instruction. Return: NULL if KVM has
 * none that may be called there with interrupts off.
 */
static inline void *khv_find_pmu_trigger_event(const u64 **insn_retired)
{
#ifdef KHV_HAVE_PMC_COUNTING
	static const u64 none;
	/*
	 * With a mediated PMU (since 7.0) the guest's counters are in hardware while KVM's inner
	 * loop runs, and the function must not be called there.
	 */
	const bool *mediated = (void *)khv_symbol(KHV_MODULE_KVM, "enable_mediated_pmu");

	if (mediated && *mediated)
		return NULL;
	*insn_retired = &none;
	return (void *)khv_symbol(KHV_MODULE_KVM, "kvm_pmu_instruction_retired");
#else
	/*
	 * A KVM that has kvm_pmu_eventsel, whose first member is the event of retired instructions,
	 * has a kvm_pmu_trigger_event() that takes an event selector, only counts, and makes a
	 * request. Older versions take a perf_hw_id and may sleep.
	 */
	*insn_retired = (void *)khv_symbol(KHV_MODULE_KVM, "kvm_pmu_eventsel");
	return *insn_retired ? (void *)khv_symbol(KHV_MODULE_KVM, "kvm_pmu_trigger_event") : NULL;
#endif
}

#endif
