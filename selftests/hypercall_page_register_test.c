// SPDX-License-Identifier: GPL-2.0-only
/*
 * GUEST_OS_ID and HYPERCALL: the rules between the two registers, the lock, the host's view
 * (save and restore).
 */
#include <string.h>

#include "hypercall_page.h"

GUEST_TEST(os_id_read_write)
{
	static const u64 values[] = { 1, OS_ID, 0x0001040a00003839ULL, ~0ULL, 0 };
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		wrmsr(HV_X64_MSR_GUEST_OS_ID, values[i]);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), values[i]);
	}
}

GUEST_CODE(enable_and_call)
{
	u64 result;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1000,
					 0, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, 0x7777 | HV_CTL_FAST, 0, 0, &result), 0);
	GUEST_ASSERT_EQ(result, HV_STATUS_INVALID_HYPERCALL_CODE);
}

TEST(enable_writes_page_and_call_works)
{
	struct vm *vm = vm_with_pages();

	memset(hc_page, 0xee, PAGE_SIZE);
	run_to_end(vm, enable_and_call);
}

/* GUEST_OS_ID, not the page, decides whether VMCALL or VMMCALL is a Hyper-V call. */
GUEST_TEST(call_without_page)
{
	GUEST_ASSERT(hypercall(0x7777 | HV_CTL_FAST, 0, 0) != HV_STATUS_INVALID_HYPERCALL_CODE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(hypercall(0x7777 | HV_CTL_FAST, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT(hypercall(0x7777 | HV_CTL_FAST, 0, 0) != HV_STATUS_INVALID_HYPERCALL_CODE);
}

GUEST_CODE(os_id_zero_clears)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page));
	/* Setting GUEST_OS_ID again does not enable the page. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page));
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
}

TEST(os_id_zero_clears_enable)
{
	run_to_end(vm_with_pages(), os_id_zero_clears);
}

GUEST_CODE(write_without_os_id)
{
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE), 0);
	GUEST_ASSERT_KNOWN_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page));
	/* Setting GUEST_OS_ID later does not set Enable. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page));
}

TEST_KNOWN(write_without_os_id_keeps_gpfn, "K4")
{
	struct vm *vm = vm_with_pages();

	memset(hc_page, 0xee, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], write_without_os_id);
	vcpu_run_done(vm->vcpus[0]);
	ASSERT_EQ(hc_page[0], 0xee);
	vm_free(vm);
}

GUEST_CODE(reserved_bits)
{
	u64 val = gpa(hc_page) | RSVD_BITS | HV_HYPERCALL_ENABLE;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, val), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(hc_page));
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, val & ~HV_HYPERCALL_ENABLE), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val & ~HV_HYPERCALL_ENABLE);
}

TEST(reserved_bits_preserved)
{
	run_to_end(vm_with_pages(), reserved_bits);
}

GUEST_CODE(page_nowhere)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);
	/* Far above any MAXPHYADDR. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, 0xfffffffffffff000ULL | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), 0);

	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	/* Disabled, it may point anywhere. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, GPA_NOWHERE), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), GPA_NOWHERE);
}

TEST(page_outside_memory_faults)
{
	run_to_end(vm_with_pages(), page_nowhere);
}

GUEST_CODE(move)
{
	u64 result;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page2) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page2));
	GUEST_ASSERT_EQ(__hypercall_page(hc_page2, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

TEST(move_of_the_page)
{
	run_to_end(vm_with_pages(), move);
}

GUEST_CODE(lock)
{
	u64 val = gpa(hc_page) | HV_HYPERCALL_LOCKED | HV_HYPERCALL_ENABLE;

	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, val);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page2) | HV_HYPERCALL_ENABLE),
			      GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page)), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(hc_page));
	/* Clearing GUEST_OS_ID does not change it either. */
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), val);
	GUEST_ASSERT(page_has_code(hc_page));
}

/* The lock does not apply to the host, which resets and restores. */
TEST_KNOWN(lock_stops_guest_writes, "K4")
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_bit(v, HV_F_HYPERCALL_LOCK, true);
	vcpu_entry(v, lock);
	vcpu_run_done(v);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vm_free(vm);
}

GUEST_CODE(use_restored)
{
	u64 result;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), OS_ID);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

TEST(host_restores_in_order)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_GUEST_OS_ID), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_GUEST_OS_ID), OS_ID);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), gpa(hc_page) | HV_HYPERCALL_ENABLE);
	run_to_end(vm, use_restored);
}

GUEST_CODE(enable_and_sync)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_SYNC(1);
	use_restored();
}

/* What one VM saved makes another go on; the second VM's RAM is empty before. */
TEST(save_and_restore_to_another_vm)
{
	struct vm *vm = vm_with_pages(), *vm2;
	u64 os_id, hypercall, offset = gpa(hc_page) - gpa(vm->ram);

	vcpu_entry(vm->vcpus[0], enable_and_sync);
	vcpu_run_sync(vm->vcpus[0], 1);
	os_id = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID);
	hypercall = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_HYPERCALL);
	vm_free(vm);

	vm2 = vm_with_pages();
	ASSERT_EQ(gpa(hc_page) - gpa(vm2->ram), offset);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_GUEST_OS_ID, os_id);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_HYPERCALL, hypercall);
	run_to_end(vm2, use_restored);
}

/* What GUEST_CODE(lock) leaves behind, on another VM: still locked, and there to be called. */
GUEST_CODE(uses_locked)
{
	u64 result;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0);
	GUEST_ASSERT(page_has_code(hc_page));
	wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE),
			GP_VECTOR);
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

TEST_KNOWN(locked_page_without_an_identity_is_restored, "K4")
{
	struct vm *vm = vm_with_pages(), *vm2;
	u64 hypercall;

	vcpu_set_bit(vm->vcpus[0], HV_F_HYPERCALL_LOCK, true);
	vcpu_entry(vm->vcpus[0], lock);
	vcpu_run_done(vm->vcpus[0]);
	hypercall = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_HYPERCALL);
	vm_free(vm);

	vm2 = vm_with_pages();
	vcpu_set_bit(vm2->vcpus[0], HV_F_HYPERCALL_LOCK, true);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0);
	vcpu_set_msr(vm2->vcpus[0], HV_X64_MSR_HYPERCALL, hypercall);
	ASSERT_EQ(vcpu_get_msr(vm2->vcpus[0], HV_X64_MSR_HYPERCALL), hypercall);
	run_to_end(vm2, uses_locked);
}

/* Both registers belong to the partition: every vCPU sees the same. */
GUEST_CODE(second_vcpu)
{
	use_restored();
}

TEST(partition_wide)
{
	struct vm *vm = vm_create(2, 0);

	hc_page = vm_alloc(vm, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], enable_and_sync);
	vcpu_entry(vm->vcpus[1], second_vcpu);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_run_done(vm->vcpus[1]);
	vm_free(vm);
}

/* A host write of a page outside of memory fails and leaves the register unchanged. */
TEST(host_write_outside_memory_fails)
{
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_HYPERCALL, GPA_NOWHERE | HV_HYPERCALL_ENABLE), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_HYPERCALL), 0);
	vm_free(vm);
}
