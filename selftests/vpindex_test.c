// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_VP_INDEX: reading, who may write it, indices that differ from the
 * vCPU's number, the limit.
 */
#include "vm.h"

static u64 expected_index;

GUEST_CODE(read_index)
{
	for (;;) {
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), expected_index);
		GUEST_SYNC(1);
	}
}

/* The TLFS names the index as what identifies a VP: it never changes under a guest. */
GUEST_TEST(guest_write_faults)
{
	u64 val;

	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_INDEX, 5), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_INDEX, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &val), 0);
	GUEST_ASSERT_EQ(val, 0);
}

TEST(default_is_vcpu_number)
{
	struct vm *vm = vm_create(3, 0);
	u32 i;

	for (i = 0; i < 3; i++) {
		expected_index = i;
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX), i);
		vcpu_entry(vm->vcpus[i], read_index);
		vcpu_run_sync(vm->vcpus[i], 1);
	}
	vm_free(vm);
}

TEST(host_sets_index)
{
	static const u32 values[] = { 7, 63, 64, 65, 255, 1000, 0, 1 };
	struct vm *vm = vm_create(2, 0);
	int max = kvm_check_cap(KVM_CAP_MAX_VCPUS);
	u32 i;

	ASSERT(max > 0, "KVM_CAP_MAX_VCPUS %d", max);
	vcpu_entry(vm->vcpus[1], read_index);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		if (values[i] >= (u32)max)
			continue;
		vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, values[i]);
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX), values[i]);
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX), 0);
		expected_index = values[i];
		vcpu_run_sync(vm->vcpus[1], 1);
	}
	vm_free(vm);
}

TEST(host_write_beyond_the_limit_fails)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 max = (u64)kvm_check_cap(KVM_CAP_MAX_VCPUS);

	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, max - 1);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, max), 0);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, 0xffffffff), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_INDEX), max - 1);
	vm_free(vm);
}
