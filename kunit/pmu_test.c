// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a guest's PMU has to be told of an instruction that was skipped. No emulator has
 * counters, so this is tested over states of struct kvm_pmu alone; in the kernel only, which
 * has that structure.
 */
#include <kunit/test.h>
#include <linux/slab.h>

#include "khv/pmu.h"

#define FIXED_INSNS_KERNEL 1 /* of MSR_CORE_PERF_FIXED_CTR_CTRL: counter 0 at CPL 0 */

static struct kvm_pmu *pmu_with(struct kunit *test, u8 version)
{
	struct kvm_pmu *pmu = kunit_kzalloc(test, sizeof(*pmu), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pmu);
	pmu->version = version;
	pmu->nr_arch_gp_counters = 4;
	pmu->nr_arch_fixed_counters = 3;
	/* As after reset: all counters are let run, and none is enabled. */
	pmu->global_ctrl = 0xf | 7ULL << 32;
	return pmu;
}

static void no_pmu(struct kunit *test)
{
	struct kvm_pmu *pmu = pmu_with(test, 0);

	/* What a guest had before user space took its PMU away. */
	pmu->gp_counters[0].eventsel = ARCH_PERFMON_EVENTSEL_ENABLE;
	pmu->fixed_ctr_ctrl = FIXED_INSNS_KERNEL;
	KUNIT_EXPECT_FALSE(test, khv_pmu_counts(pmu));
}

static void nothing_enabled(struct kunit *test)
{
	struct kvm_pmu *pmu = pmu_with(test, 2);

	/* Retired instructions (0xc0), at any CPL, but not enabled. */
	pmu->gp_counters[0].eventsel = 0xc0 | ARCH_PERFMON_EVENTSEL_USR | ARCH_PERFMON_EVENTSEL_OS;
	KUNIT_EXPECT_FALSE(test, khv_pmu_counts(pmu));
}

static void each_counter(struct kunit *test)
{
	struct kvm_pmu *pmu = pmu_with(test, 2);
	unsigned int i;

	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		pmu->gp_counters[i].eventsel = ARCH_PERFMON_EVENTSEL_ENABLE;
		KUNIT_EXPECT_TRUE_MSG(test, khv_pmu_counts(pmu), "counter %u", i);
		pmu->gp_counters[i].eventsel = 0;
	}
	/* One that the guest does not have. */
	pmu->gp_counters[i].eventsel = ARCH_PERFMON_EVENTSEL_ENABLE;
	KUNIT_EXPECT_FALSE(test, khv_pmu_counts(pmu));
	pmu->gp_counters[i].eventsel = 0;

	pmu->fixed_ctr_ctrl = FIXED_INSNS_KERNEL;
	KUNIT_EXPECT_TRUE(test, khv_pmu_counts(pmu));
}

static void global_control(struct kunit *test)
{
	struct kvm_pmu *pmu = pmu_with(test, 2);

	pmu->gp_counters[1].eventsel = ARCH_PERFMON_EVENTSEL_ENABLE;
	pmu->global_ctrl = 0;
	KUNIT_EXPECT_FALSE(test, khv_pmu_counts(pmu));
	/* Another counter's bit: KVM sorts out which. */
	pmu->global_ctrl = 1;
	KUNIT_EXPECT_TRUE(test, khv_pmu_counts(pmu));
	/* Version 1 has no such register. */
	pmu->version = 1;
	pmu->global_ctrl = 0;
	KUNIT_EXPECT_TRUE(test, khv_pmu_counts(pmu));
}

static struct kunit_case pmu_cases[] = {
	KUNIT_CASE(no_pmu),
	KUNIT_CASE(nothing_enabled),
	KUNIT_CASE(each_counter),
	KUNIT_CASE(global_control),
	{},
};

static struct kunit_suite pmu_suite = {
	.name = "khv_pmu",
	.test_cases = pmu_cases,
};

kunit_test_suites(&pmu_suite);
