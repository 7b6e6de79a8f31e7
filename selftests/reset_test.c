// SPDX-License-Identifier: GPL-2.0-only
/* HV_X64_MSR_RESET: asks user space for a reset, reads as 0. */
#include "vm.h"

GUEST_CODE(request_reset)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_RESET), 0);
	wrmsr(HV_X64_MSR_RESET, 0);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_RESET, 1);
	/* The VMM may let the guest go on. */
	GUEST_SYNC(2);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_RESET), 0);
}

TEST(write_1_exits)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, request_reset);
	vcpu_run_sync(v, 1);
	vcpu_run_exit(v, KVM_EXIT_SYSTEM_EVENT);
	ASSERT_EQ(v->run->system_event.type, KVM_SYSTEM_EVENT_RESET);
	vcpu_run_sync(v, 2);
	vcpu_run_done(v);
	vm_free(vm);
}

/* User space may ask as well. */
TEST(host_write_1_exits)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_RESET, 1);
	vcpu_entry(v, request_reset);
	vcpu_run_exit(v, KVM_EXIT_SYSTEM_EVENT);
	ASSERT_EQ(v->run->system_event.type, KVM_SYSTEM_EVENT_RESET);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_RESET), 0);
	vcpu_run_sync(v, 1);
	vm_free(vm);
}

/* Save and restore write what was read, 0, and nothing happens. */
TEST(host_writes_0_without_exit)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_RESET), 0);
	vcpu_set_msr(v, HV_X64_MSR_RESET, 0);
	vcpu_entry(v, request_reset);
	vcpu_run_sync(v, 1);
	vm_free(vm);
}
