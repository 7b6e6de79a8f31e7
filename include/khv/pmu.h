/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does a guest's PMU count, so that KVM must be told of a skipped instruction? Pure over struct
 * kvm_pmu.
 */
#ifndef KHV_PMU_H
#define KHV_PMU_H

#include <linux/kvm_host.h>
#include <asm/perf_event.h>

/**
 * khv_pmu_counts() - may any counter of a guest be running?
 * @pmu: the guest's PMU
 *
 * Does not test which events the counters count; KVM does. The result only tells when KVM need not
 * be asked.
 *
 * Return: false if no counter is enabled. Context: the vCPU's thread.
 */
static __always_inline bool khv_pmu_counts(const struct kvm_pmu *pmu)
{
	unsigned int i;

	/* Version 1 has no global control: each counter has its own enable bit only. */
	if (!pmu->version || (pmu->version > 1 && !pmu->global_ctrl))
		return false;
	if (pmu->fixed_ctr_ctrl)
		return true;
	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		if (pmu->gp_counters[i].eventsel & ARCH_PERFMON_EVENTSEL_ENABLE)
			return true;
	}
	return false;
}

#endif
