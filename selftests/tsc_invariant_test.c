// SPDX-License-Identifier: GPL-2.0-only
/*
 * TSC_INVARIANT_CONTROL: hides and shows CPUID 80000007.EDX.8. Stock 6.1 has
 * no such register.
 */
#include "vm.h"

#define KNOWN_ID "D7"

static bool invtsc_in_guest(void)
{
	return cpuid(0x80000007, 0).edx & (1u << 8);
}

/*
 * KVM hides only what its host has. A VMM cannot honestly offer the bit on a
 * host without it, so there is nothing to see in CPUID there.
 */
static void require_invtsc(void)
{
	struct vm *vm = vm_create(1, 0);
	bool has = cpuid_test(&vm->vcpus[0]->cpuid, CPU_INVARIANT_TSC);

	vm_free(vm);
	if (!has)
		ktap_skip("the CPU of this host has no invariant TSC");
}

static struct vm *vm_invtsc(u32 n)
{
	struct vm *vm = vm_create(n, 0);
	u32 i;

	for (i = 0; i < n; i++) {
		cpuid_assign(&vm->vcpus[i]->cpuid, HV_F_TSC_INVARIANT, true);
		vcpu_set_bit(vm->vcpus[i], CPU_INVARIANT_TSC, true);
	}
	return vm;
}

static void run_to_end(struct vm *vm, void (*entry)(void))
{
	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

GUEST_CODE(unmask)
{
	u64 val = ~0ULL;

	GUEST_ASSERT_KNOWN_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	GUEST_ASSERT_EQ(val, 0);
	GUEST_ASSERT(!invtsc_in_guest());
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 0);
	GUEST_ASSERT(!invtsc_in_guest());
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 1);
	GUEST_ASSERT(invtsc_in_guest());
}

TEST_KNOWN_IF(hidden_until_set, KNOWN_ID, host_is_6_1)
{
	require_invtsc();
	run_to_end(vm_invtsc(1), unmask);
}

GUEST_CODE(reserved_bits)
{
	u32 i;
	u64 val;

	GUEST_ASSERT_KNOWN_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	for (i = 1; i < 64; i++)
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, BIT64(i)), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 3), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 0);
}

TEST_KNOWN_IF(reserved_bits_fault, KNOWN_ID, host_is_6_1)
{
	run_to_end(vm_invtsc(1), reserved_bits);
}

GUEST_CODE(cannot_clear)
{
	u64 val;

	GUEST_ASSERT_KNOWN_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 1);
	/* Setting it again is no change. */
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
}

TEST_KNOWN_IF(guest_cannot_clear, KNOWN_ID, host_is_6_1)
{
	run_to_end(vm_invtsc(1), cannot_clear);
}

GUEST_CODE(unmask_and_wait)
{
	u64 val;

	GUEST_ASSERT_KNOWN_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	GUEST_ASSERT(!invtsc_in_guest());
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
	GUEST_SYNC(2);
}

GUEST_CODE(watch_other)
{
	GUEST_ASSERT(!invtsc_in_guest());
	GUEST_SYNC(1);
	GUEST_ASSERT(invtsc_in_guest());
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 1);
}

TEST_KNOWN_IF(visible_on_all_vcpus, KNOWN_ID, host_is_6_1)
{
	struct vm *vm;

	require_invtsc();
	vm = vm_invtsc(2);

	vcpu_entry(vm->vcpus[0], unmask_and_wait);
	vcpu_entry(vm->vcpus[1], watch_other);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_run_sync(vm->vcpus[1], 1);
	vcpu_run_sync(vm->vcpus[0], 2);
	vcpu_run_done(vm->vcpus[1]);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

GUEST_CODE(not_hidden)
{
	GUEST_ASSERT(invtsc_in_guest());
}

/* A VMM that does not offer the register gets the plain bit. */
TEST(not_hidden_without_privilege)
{
	struct vm *vm = vm_invtsc(1);

	vcpu_set_bit(vm->vcpus[0], HV_F_TSC_INVARIANT, false);
	run_to_end(vm, not_hidden);
}

GUEST_CODE(never_there)
{
	u64 val;

	GUEST_ASSERT_KNOWN_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	wrmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
	GUEST_ASSERT(!invtsc_in_guest());
}

/* The register unmasks the VMM's bit; it does not make one. */
TEST_KNOWN_IF(does_not_invent_the_bit, KNOWN_ID, host_is_6_1)
{
	struct vm *vm = vm_invtsc(1);

	vcpu_set_bit(vm->vcpus[0], CPU_INVARIANT_TSC, false);
	run_to_end(vm, never_there);
}

GUEST_CODE(restored)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 1);
	GUEST_SYNC_ARGS(1, invtsc_in_guest(), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL), 0);
	GUEST_SYNC_ARGS(2, invtsc_in_guest(), 0);
}

static struct vm *restore_and_run(void)
{
	struct vm *vm = vm_invtsc(1);
	struct vcpu *v = vm->vcpus[0];
	u64 val;

	ASSERT_KNOWN(__vcpu_get_msr(v, HV_X64_MSR_TSC_INVARIANT_CONTROL, &val) == 1, "no register");
	ASSERT_EQ(val, 0);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_TSC_INVARIANT_CONTROL, 2), 0);
	vcpu_set_msr(v, HV_X64_MSR_TSC_INVARIANT_CONTROL, 1);
	vcpu_entry(v, restored);
	vcpu_run_sync(v, 1);
	return vm;
}

/* The host may set it (restore) and clear it (reset), not the other bits. */
TEST_KNOWN_IF(host_sets_and_clears_it, KNOWN_ID, host_is_6_1)
{
	struct vm *vm = restore_and_run();

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TSC_INVARIANT_CONTROL, 0);
	vcpu_run_sync(vm->vcpus[0], 2);
	vm_free(vm);
}

TEST_KNOWN_IF(host_access_shows_and_hides, KNOWN_ID, host_is_6_1)
{
	struct vm *vm;

	require_invtsc();
	vm = restore_and_run();
	ASSERT_EQ(vm->vcpus[0]->cpu->msg.args[1], 1);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TSC_INVARIANT_CONTROL, 0);
	vcpu_run_sync(vm->vcpus[0], 2);
	ASSERT_EQ(vm->vcpus[0]->cpu->msg.args[1], 0);
	vm_free(vm);
}
