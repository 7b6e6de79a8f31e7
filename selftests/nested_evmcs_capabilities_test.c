// SPDX-License-Identifier: GPL-2.0-only
/*
 * The enlightened VMCS: what the VMX capability MSRs offer while it is enabled, and TSC scaling.
 * TLFS chapter "Nested Virtualization".
 */
#include "evmcs.h"

/* --- capabilities ---------------------------------------------------------- */

/*
 * Controls that a CPU may have, but for which an eVMCS has no field (TLFS), in the high half of
 * each MSR. @by_cpuid: CPUID says whether they have one. @field: the controls in the VMCS, or -1.
 */
#define FROM(n) (~0u << (n))

static const struct {
	u32 msr, without, by_cpuid;
	int field;
} limits[] = {
	{ MSR_VMX_TRUE_PIN, FROM(6), 0, VMCS_PIN },
	{ 0x481, FROM(6), 0, -1 },
	/* Tertiary controls. */
	{ MSR_VMX_TRUE_PROC, BIT64(17), 0, VMCS_PROC },
	{ 0x482, BIT64(17), 0, -1 },
	/*
	 * APIC accesses, registers, delivery, PLE, VMFUNC, shadow VMCS, PML; VE, sub-page,
	 * PT, HLAT, PCONFIG, notification.
	 */
	{ MSR_VMX_PROC2,
	  BIT64(0) | BIT64(8) | BIT64(9) | BIT64(10) | BIT64(13) | BIT64(14) | BIT64(17) |
		  BIT64(18) | BIT64(21) | BIT64(23) | BIT64(24) | BIT64(27) | BIT64(28) |
		  BIT64(29) | BIT64(31),
	  PROC2_TSC_SCALING, VMCS_PROC2 },
	/* The preemption timer; PT, user interrupts, CET, PKRS. */
	{ MSR_VMX_TRUE_EXIT, BIT64(22) | FROM(25), EXIT_PERF_GLOBAL, VMCS_EXIT_CTL },
	{ 0x483, BIT64(22) | FROM(25), EXIT_PERF_GLOBAL, -1 },
	{ MSR_VMX_TRUE_ENTRY, BIT64(10) | BIT64(11) | FROM(18), ENTRY_PERF_GLOBAL, VMCS_ENTRY_CTL },
	{ 0x484, BIT64(10) | BIT64(11) | FROM(18), ENTRY_PERF_GLOBAL, -1 },
};

/* What L1 would be offered without an eVMCS. */
static u32 unfiltered[ARRAY_SIZE(limits)];

static void get_unfiltered(void)
{
	u32 i, refused = 0;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		/* What user space reads is not filtered. */
		unfiltered[i] = (u32)(vcpu_get_msr(evmcs_vcpu, limits[i].msr) >> 32);
		if (limits[i].field >= 0)
			refused += (u32)__builtin_popcount(unfiltered[i] & limits[i].without);
	}
	ktap_log("controls without a field: %u", refused);
	ASSERT(refused, "the host's CPU has none that could be hidden");
}

GUEST_CODE(l1_capabilities)
{
	u32 i, offered;
	u64 val;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		offered = (u32)(rdmsr(limits[i].msr) >> 32);
		GUEST_ASSERT_EQ(offered & ~limits[i].by_cpuid,
				unfiltered[i] & ~limits[i].without & ~limits[i].by_cpuid);
	}
	if (!__rdmsr(MSR_VMX_VMFUNC, &val))
		GUEST_ASSERT_EQ(val & 1, 0);
}

TEST(exactly_controls_without_a_field_are_hidden)
{
	evmcs_create(l1_capabilities, NESTED_EVMCS);
	get_unfiltered();
	vcpu_run_done(evmcs_vcpu);
	vm_free(evmcs_vcpu->vm);
}

GUEST_CODE(l1_takes_what_is_hidden)
{
	u32 i, bit, hidden;
	u64 without;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		if (limits[i].field < 0)
			continue;
		without = vmcs_read(evmcs_l1, (u32)limits[i].field);
		for (hidden = unfiltered[i] & limits[i].without; hidden; hidden &= hidden - 1) {
			bit = hidden & -hidden;
			vmcs_write(evmcs_l1, (u32)limits[i].field, without | bit);
			l2_must_fail(VMX_FAIL_VALID);
		}
		vmcs_write(evmcs_l1, (u32)limits[i].field, without);
	}
	l2_must_run();
}

TEST(hidden_controls_fail_the_entry)
{
	evmcs_create(l1_takes_what_is_hidden, NESTED_EVMCS);
	get_unfiltered();
	evmcs_l1->flags |= NESTED_PAGING;
	vcpu_run_done(evmcs_vcpu);
	vm_free(evmcs_vcpu->vm);
}

/*
 * PERF_GLOBAL_CTRL and TscMultiplier came later: they are there exactly if CPUID says so (and the
 * CPU has them).
 */
GUEST_CODE(l1_perf_global)
{
	bool shown = cpuid(HV_LEAF_NESTED, 0).ebx & 1;

	if (!shown) {
		GUEST_ASSERT_EQ(rdmsr(MSR_VMX_TRUE_EXIT) >> 32 & EXIT_PERF_GLOBAL, 0);
		GUEST_ASSERT_EQ(rdmsr(MSR_VMX_TRUE_ENTRY) >> 32 & ENTRY_PERF_GLOBAL, 0);
		GUEST_ASSERT_EQ(rdmsr(MSR_VMX_PROC2) >> 32 & PROC2_TSC_SCALING, 0);
	}
	GUEST_SYNC_ARGS(1, rdmsr(MSR_VMX_TRUE_EXIT) >> 32, rdmsr(MSR_VMX_TRUE_ENTRY) >> 32);
}

TEST(perf_global_ctrl_follows_cpuid)
{
	u64 all;

	evmcs_create(l1_perf_global, NESTED_EVMCS);
	vcpu_set_bit(evmcs_vcpu, EVMCS1_PERF_GLOBAL, false);
	vcpu_run_sync(evmcs_vcpu, 1);
	vm_free(evmcs_vcpu->vm);

	evmcs_create(l1_perf_global, NESTED_EVMCS);
	vcpu_set_bit(evmcs_vcpu, EVMCS1_PERF_GLOBAL, true);
	all = vcpu_get_msr(evmcs_vcpu, MSR_VMX_TRUE_EXIT) >> 32;
	vcpu_run_sync(evmcs_vcpu, 1);
	ASSERT_EQ(evmcs_vcpu->cpu->msg.args[1] & EXIT_PERF_GLOBAL, all & EXIT_PERF_GLOBAL);
	vm_free(evmcs_vcpu->vm);
}

#define EVMCS_GUEST_PERF 904
#define EVMCS_HOST_PERF	 976

/*
 * The fields are looked at if the controls ask for them: 0 is good on any CPU, a value with all
 * bits on none.
 */
GUEST_CODE(l1_loads_perf_global)
{
	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	vmcs_write(evmcs_l1, VMCS_EXIT_CTL, vmcs_read(evmcs_l1, VMCS_EXIT_CTL) | EXIT_PERF_GLOBAL);
	vmcs_write(evmcs_l1, VMCS_ENTRY_CTL,
		   vmcs_read(evmcs_l1, VMCS_ENTRY_CTL) | ENTRY_PERF_GLOBAL);
	put64(evmcs_l1->evmcs, EVMCS_GUEST_PERF, 0);
	put64(evmcs_l1->evmcs, EVMCS_HOST_PERF, 0);
	l2_must_run();
	put64(evmcs_l1->evmcs, EVMCS_HOST_PERF, ~0ULL);
	l2_must_fail(VMX_FAIL_VALID);
}

static void perf_global_is_loaded(bool shown)
{
	u64 exit, entry;

	evmcs_create(l1_loads_perf_global, NESTED_EVMCS);
	vcpu_set_bit(evmcs_vcpu, EVMCS1_PERF_GLOBAL, shown);
	/* What user space reads is not filtered. */
	exit = vcpu_get_msr(evmcs_vcpu, MSR_VMX_TRUE_EXIT) >> 32;
	entry = vcpu_get_msr(evmcs_vcpu, MSR_VMX_TRUE_ENTRY) >> 32;
	if (!(exit & EXIT_PERF_GLOBAL) || !(entry & ENTRY_PERF_GLOBAL))
		ktap_skip("the host's CPU cannot load PERF_GLOBAL_CTRL (exit 0x%llx, entry 0x%llx)",
			  (unsigned long long)exit, (unsigned long long)entry);
	vcpu_run_done(evmcs_vcpu);
	vm_free(evmcs_vcpu->vm);
}

TEST(perf_global_ctrl_is_loaded)
{
	perf_global_is_loaded(true);
}

/* Some Windows asks for it although it was not offered, and does not boot if that is refused. */
TEST(perf_global_ctrl_is_loaded_unoffered)
{
	perf_global_is_loaded(false);
}

/* --- TSC scaling ----------------------------------------------------------- */

static void require_tsc_scaling(void)
{
	if (!(vcpu_get_msr(evmcs_vcpu, MSR_VMX_PROC2) >> 32 & PROC2_TSC_SCALING))
		ktap_skip("the host's CPU does not scale the TSC");
}

GUEST_CODE(l1_tsc_scaling_offered)
{
	u64 caps = rdmsr(MSR_VMX_PROC2) >> 32;

	GUEST_ASSERT_KNOWN_EQ(caps & PROC2_TSC_SCALING, PROC2_TSC_SCALING);
}

TEST_KNOWN(tsc_scaling_offered, "N0")
{
	evmcs_create(l1_tsc_scaling_offered, NESTED_EVMCS);
	require_tsc_scaling();
	vcpu_run_done(evmcs_vcpu);
}

GUEST_CODE(l1_tsc_scaling)
{
	static const u64 times16[] = { 32, 8, 16 }; /* 2, 1/2, 1 */
	u64 before, after;
	u32 i;

	GUEST_ASSERT_KNOWN_EQ(rdmsr(MSR_VMX_PROC2) >> 32 & PROC2_TSC_SCALING, PROC2_TSC_SCALING);
	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	evmcs_l1->l2->nr = 2;
	evmcs_l1->l2->ops[0].op = OP_RDTSC;
	evmcs_l1->l2->ops[1] = OP_L1;
	for (i = 0; i < ARRAY_SIZE(times16); i++) {
		vmcs_write(evmcs_l1, VMCS_TSC_MULT, times16[i] << (TSC_MULTIPLIER_SHIFT - 4));
		vmcs_write(evmcs_l1, VMCS_TSC_OFFSET, 0);
		nested_fill(evmcs_l1);
		before = rdtsc();
		l2_must_run();
		after = rdtsc();
		GUEST_ASSERT(evmcs_l1->l2->ops[0].result >= before / 16 * times16[i]);
		GUEST_ASSERT(evmcs_l1->l2->ops[0].result <= (after / 16 + 1) * times16[i]);
	}
}

/* An L1 that is not offered the field must not enable the control. */
GUEST_CODE(l1_tsc_scaling_not_shown)
{
	u64 without;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	without = vmcs_read(evmcs_l1, VMCS_PROC2);
	vmcs_write(evmcs_l1, VMCS_PROC2, without | PROC2_TSC_SCALING);
	l2_must_fail(VMX_FAIL_VALID);
	vmcs_write(evmcs_l1, VMCS_PROC2, without);
	l2_must_run();
}

TEST(tsc_scaling_fails_the_entry_unless_offered)
{
	evmcs_create(l1_tsc_scaling_not_shown, NESTED_EVMCS);
	require_tsc_scaling();
	vcpu_set_bit(evmcs_vcpu, EVMCS1_PERF_GLOBAL, false);
	evmcs_l1->flags |= NESTED_PAGING;
	vcpu_run_done(evmcs_vcpu);
	vm_free(evmcs_vcpu->vm);
}

TEST_KNOWN(tsc_scaling_scales_the_tsc_of_l2, "N0")
{
	evmcs_create(l1_tsc_scaling, NESTED_EVMCS);
	require_tsc_scaling();
	evmcs_l1->controls = PROC_TSC_OFFSET;
	evmcs_l1->controls2 = PROC2_TSC_SCALING;
	vcpu_run_done(evmcs_vcpu);
}
