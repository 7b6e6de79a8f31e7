// SPDX-License-Identifier: GPL-2.0-only
/*
 * CRASH_P0..P4 and CRASH_CTL: parameters, what CTL offers, the notification,
 * the message bit.
 */
#include "vm.h"

#define P(n) (HV_X64_MSR_CRASH_P0 + (n))

GUEST_TEST(parameters_read_write)
{
	u32 i;

	for (i = 0; i < 5; i++)
		GUEST_ASSERT_EQ(rdmsr(P(i)), 0);
	for (i = 0; i < 5; i++)
		wrmsr(P(i), 0xfedcba9876543210ULL + i);
	for (i = 0; i < 5; i++)
		GUEST_ASSERT_EQ(rdmsr(P(i)), 0xfedcba9876543210ULL + i);
}

GUEST_CODE(read_parameters)
{
	u32 i;

	for (i = 0; i < 5; i++)
		GUEST_ASSERT_EQ(rdmsr(P(i)), 0x100 + i);
	for (i = 0; i < 5; i++)
		wrmsr(P(i), 0x200 + i);
}

/* The registers belong to the partition: the host and another vCPU see the same. */
TEST(parameters_partition_wide)
{
	struct vm *vm = vm_create(2, 0);
	u32 i;

	for (i = 0; i < 5; i++)
		vcpu_set_msr(vm->vcpus[0], P(i), 0x100 + i);
	vcpu_entry(vm->vcpus[1], read_parameters);
	vcpu_run_done(vm->vcpus[1]);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], P(i)), 0x200 + i);
	vm_free(vm);
}

GUEST_CODE(notify)
{
	u32 i;

	for (i = 0; i < 5; i++)
		wrmsr(P(i), 0x300 + i);
	/* Nothing to notify of. */
	wrmsr(HV_X64_MSR_CRASH_CTL, 0);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_CRASH_CTL, HV_CRASH_NOTIFY);
	GUEST_SYNC(2);
	wrmsr(HV_X64_MSR_CRASH_CTL, HV_CRASH_NOTIFY | HV_CRASH_MESSAGE);
	/* A guest may go on to write its dump. */
	GUEST_SYNC(3);
}

TEST(crash_notify_exits_to_user_space)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	vcpu_entry(v, notify);
	vcpu_run_sync(v, 1);
	vcpu_run_exit(v, KVM_EXIT_SYSTEM_EVENT);
	ASSERT_EQ(v->run->system_event.type, KVM_SYSTEM_EVENT_CRASH);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(vcpu_get_msr(v, P(i)), 0x300 + i);
	vcpu_run_sync(v, 2);
	vcpu_run_exit(v, KVM_EXIT_SYSTEM_EVENT);
	ASSERT_EQ(v->run->system_event.type, KVM_SYSTEM_EVENT_CRASH);
	ASSERT_EQ(vcpu_get_msr(v, P(3)), 0x303);
	ASSERT_EQ(vcpu_get_msr(v, P(4)), 0x304);
	vcpu_run_sync(v, 3);
	vcpu_run_done(v);
	vm_free(vm);
}

static u64 expected_ctl;

GUEST_CODE(read_ctl)
{
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_CRASH_CTL), expected_ctl);
}

/* As QEMU does: the VMM says what it supports, the guest reads it. */
TEST(ctl_shows_notify)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 val;

	vcpu_set_msr(v, HV_X64_MSR_CRASH_CTL, HV_CRASH_NOTIFY);
	val = vcpu_get_msr(v, HV_X64_MSR_CRASH_CTL);
	ASSERT(val & HV_CRASH_NOTIFY, "CTL 0x%llx", (unsigned long long)val);
	expected_ctl = val;
	vcpu_entry(v, read_ctl);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST_KNOWN(ctl_shows_message, "D6")
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	expected_ctl = HV_CRASH_NOTIFY | HV_CRASH_MESSAGE;
	vcpu_set_msr(v, HV_X64_MSR_CRASH_CTL, expected_ctl);
	ASSERT_KNOWN(vcpu_get_msr(v, HV_X64_MSR_CRASH_CTL) == expected_ctl, "CTL 0x%llx",
		     (unsigned long long)vcpu_get_msr(v, HV_X64_MSR_CRASH_CTL));
	vcpu_entry(v, read_ctl);
	vcpu_run_done(v);
	vm_free(vm);
}

/* What nobody implements is not offered, whatever the VMM writes. */
TEST(ctl_offers_nothing_else)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	__vcpu_set_msr(v, HV_X64_MSR_CRASH_CTL, ~0ULL);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_CRASH_CTL) & ~(HV_CRASH_NOTIFY | HV_CRASH_MESSAGE), 0);
	vm_free(vm);
}

static u64 ctl_before;

/* A write is a request; it does not change what CTL offers. */
GUEST_CODE(ctl_write_keeps)
{
	ctl_before = rdmsr(HV_X64_MSR_CRASH_CTL);
	wrmsr(HV_X64_MSR_CRASH_CTL, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_CRASH_CTL), ctl_before);
	wrmsr(HV_X64_MSR_CRASH_CTL, HV_CRASH_NOTIFY);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_CRASH_CTL), ctl_before);
}

TEST(guest_write_does_not_change_ctl)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_CRASH_CTL, HV_CRASH_NOTIFY);
	vcpu_entry(v, ctl_write_keeps);
	vcpu_run_exit(v, KVM_EXIT_SYSTEM_EVENT);
	vcpu_run_done(v);
	vm_free(vm);
}

/* P5 is CTL; below P0 is SYNDBG_OPTIONS, which is not there without a debugger. */
GUEST_CODE(around)
{
	u64 val;

	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_CRASH_P0 - 1, &val), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_CRASH_P0 - 1, 1), GP_VECTOR);
	wrmsr(P(0), 1);
	wrmsr(P(4), 5);
	GUEST_ASSERT_EQ(rdmsr(P(1)), 0);
	GUEST_ASSERT_EQ(rdmsr(P(3)), 0);
	GUEST_ASSERT_EQ(rdmsr(P(4)), 5);
	GUEST_ASSERT(rdmsr(HV_X64_MSR_CRASH_CTL) != 5);
}

TEST(neighbours_of_the_parameters)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_set_bit(vm->vcpus[0], HV_S_KERNEL_DEBUG, false);
	vcpu_entry(vm->vcpus[0], around);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
