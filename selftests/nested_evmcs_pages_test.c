// SPDX-License-Identifier: GPL-2.0-only
/*
 * The enlightened VMCS: what a hypervisor in the guest can get wrong with it and with the VP
 * assist page that names it, and how it gets along with plain ones. TLFS chapter "Nested
 * Virtualization".
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "evmcs.h"

/* --- guest ---------------------------------------------------------------- */

static void set_assist(u64 val)
{
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, val);
}

/* --- the assist page ------------------------------------------------------- */

GUEST_CODE(l1_assist_never_enabled)
{
	guest_set_os_id();
	evmcs_prepare();
	l2_must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(evmcs_l1->assist) | ASSIST_ENABLE);
	/* Enabling clears nothing but the EOI part. */
	l2_must_run();
}

TEST(assist_page_never_enabled)
{
	evmcs_run(l1_assist_never_enabled);
}

GUEST_CODE(l1_assist_without_enlightenment)
{
	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 0;
	l2_must_fail(VMX_FAIL_INVALID);
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 1;
	l2_must_run();
	/* Clear EnlightenVmEntry between two exits: then no eVMCS is current. */
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 0;
	l2_must_fail(VMX_FAIL_INVALID);
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 1;
	l2_must_run();
}

TEST(assist_page_without_enlightened_entry)
{
	evmcs_run(l1_assist_without_enlightenment);
}

GUEST_CODE(l1_assist_outside_memory)
{
	guest_set_os_id();
	evmcs_prepare();
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), GP_VECTOR);
	l2_must_fail(VMX_FAIL_INVALID);
	/* Without Enable the register takes an address outside of memory. */
	set_assist(GPA_NOWHERE);
	l2_must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(evmcs_l1->assist) | ASSIST_ENABLE);
	l2_must_run();
}

TEST(assist_page_outside_memory)
{
	evmcs_run(l1_assist_outside_memory);
}

GUEST_CODE(l1_assist_moved)
{
	u8 *first = evmcs_l1->assist, *second = (u8 *)(uintptr_t)evmcs_l1->l1->ops[0].arg0;
	u8 *other = second + PAGE_SIZE;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	/* To a page that names no eVMCS, and back. */
	set_assist(gpa(second) | ASSIST_ENABLE);
	l2_must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(first) | ASSIST_ENABLE);
	l2_must_run();
	/* To one that names the same. */
	second[ASSIST_ENLIGHTEN] = 1;
	put64(second, ASSIST_VMCS, gpa(evmcs_l1->evmcs));
	set_assist(gpa(second) | ASSIST_ENABLE);
	l2_must_run();
	/* What the old page says no longer matters. */
	put64(first, ASSIST_VMCS, GPA_NOWHERE);
	l2_must_run();
	/* To another eVMCS: what is clean in the one is not in the other. */
	evmcs_l1->evmcs = other;
	put32(evmcs_l1->evmcs, 0, 1);
	nested_fill(evmcs_l1);
	put64(second, ASSIST_VMCS, gpa(evmcs_l1->evmcs));
	evmcs_l1->clean = EVMCS_CLEAN_ALL;
	l2_must_run();
	set_assist(0);
	l2_must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(second) | ASSIST_ENABLE);
	l2_must_run();
}

TEST(assist_page_moved)
{
	evmcs_create(l1_assist_moved, NESTED_EVMCS);
	evmcs_l1->l1->ops[0].arg0 = gpa(vm_alloc(evmcs_vcpu->vm, 2 * PAGE_SIZE));
	vcpu_run_done(evmcs_vcpu);
}

/* Its memory is taken away while L2 is active; L1 learns it at the next entry. */
GUEST_CODE(l1_assist_vanishes)
{
	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	GUEST_SYNC(1);
	l2_must_fail(VMX_FAIL_INVALID);
	GUEST_SYNC(2);
	l2_must_run();
}

TEST(assist_page_vanishes)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = SLOT_GPA };
	void *backing = aligned_alloc(PAGE_SIZE, PAGE_SIZE);

	ASSERT(backing, "memory");
	memset(backing, 0, PAGE_SIZE);
	evmcs_create(l1_assist_vanishes, NESTED_EVMCS);
	slot.slot = evmcs_vcpu->vm->nr_slots;
	vm_add_memslot(evmcs_vcpu->vm, SLOT_GPA, backing, PAGE_SIZE, 0);
	evmcs_l1->assist = (u8 *)SLOT_GPA;
	vcpu_run_sync(evmcs_vcpu, 1);
	ASSERT_EQ(ioctl(evmcs_vcpu->vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	vcpu_run_sync(evmcs_vcpu, 2);
	vm_add_memslot(evmcs_vcpu->vm, SLOT_GPA, backing, PAGE_SIZE, 0);
	vcpu_run_done(evmcs_vcpu);
}

/*
 * KVM's own PV EOI shares a cache with the assist page; pointed elsewhere, it draws a
 * warning in the host's log at the next entry. What L1 gets is its own affair.
 */
GUEST_CODE(l1_pv_eoi_beside_assist)
{
	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	wrmsr(MSR_KVM_PV_EOI_EN, gpa(evmcs_l1->msrs + PAGE_SIZE) | 1);
	nested_enter(evmcs_l1);
	GUEST_ASSERT(!evmcs_l1->failure || evmcs_l1->failure == VMX_FAIL_INVALID);
	set_assist(gpa(evmcs_l1->assist) | ASSIST_ENABLE);
	l2_must_run();
}

TEST(pv_eoi_beside_assist_page)
{
	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N4)");
	evmcs_run(l1_pv_eoi_beside_assist);
}

/* --- the eVMCS ------------------------------------------------------------- */

GUEST_CODE(l1_evmcs_outside_memory)
{
	static const u64 nowhere[] = { GPA_NOWHERE, 0xfffffffffffff000ULL, BIT64(51) };
	u32 i;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		put64(evmcs_l1->assist, ASSIST_VMCS, nowhere[i]);
		l2_must_fail(UD_VECTOR);
		put64(evmcs_l1->assist, ASSIST_VMCS, gpa(evmcs_l1->evmcs));
		l2_must_run();
	}
	/* The two values that mean "none". */
	for (i = 0; i < 2; i++) {
		put64(evmcs_l1->assist, ASSIST_VMCS, ~0ULL - i);
		GUEST_ASSERT_EQ(nested_enter(evmcs_l1), NESTED_FAILED);
		put64(evmcs_l1->assist, ASSIST_VMCS, gpa(evmcs_l1->evmcs));
		l2_must_run();
	}
}

TEST(evmcs_outside_memory_fails_the_entry)
{
	evmcs_run(l1_evmcs_outside_memory);
}

GUEST_CODE(l1_bad_revision)
{
	static const u32 revisions[] = { 0, 2, 0x100, 0x80000001, ~0u };
	u8 *first = evmcs_l1->evmcs;
	u32 i;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	for (i = 0; i < ARRAY_SIZE(revisions); i++) {
		/* It is looked at when the pointer changes. */
		put32(first, 0, revisions[i]);
		l2_must_fail(VMX_FAIL_INVALID);
		put32(first, 0, 1);
		l2_must_run();
		put64(evmcs_l1->assist, ASSIST_VMCS, gpa(evmcs_l1->vmcs));
		put32(evmcs_l1->vmcs, 0, revisions[i]);
		l2_must_fail(VMX_FAIL_INVALID);
		put64(evmcs_l1->assist, ASSIST_VMCS, gpa(first));
		GUEST_ASSERT_EQ(nested_vmclear(first), 0);
	}
}

TEST(bad_revision_fails_the_entry)
{
	evmcs_run(l1_bad_revision);
}

static void refill(void)
{
	u32 at;

	for (at = 8; at < 1024; at += 8)
		put64(evmcs_l1->evmcs, at, 0);
	nested_fill(evmcs_l1);
}

/* Garbage in every field at once, and in each: entries fail, L1 and the host stay. */
GUEST_CODE(l1_garbage)
{
	static const u64 patterns[] = { 0, ~0ULL, 0x5555555555555555ULL, 0xaaaaaaaaaaaaaaaaULL };
	u32 i, at;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	l2_must_run();
	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		for (at = 8; at < 1024; at += 8)
			put64(evmcs_l1->evmcs, at, patterns[i]);
		nested_enter(evmcs_l1);
		GUEST_ASSERT(evmcs_l1->failure || evmcs_l1->reason & BIT64(31));
	}
	/*
	 * Only the fields that L1 needs to continue must be right; a triple fault of L2 is an exit,
	 * too.
	 */
	for (at = 832; at < 1024; at += 8) {
		for (i = 1; i < ARRAY_SIZE(patterns); i++) {
			refill();
			put64(evmcs_l1->evmcs, at, patterns[i]);
			nested_enter(evmcs_l1);
		}
	}
	refill();
	l2_must_run();
}

TEST(garbage_in_fields_harms_only_l2)
{
	evmcs_run(l1_garbage);
}

/* --- beside a plain VMCS --------------------------------------------------- */

GUEST_CODE(l1_switch_kinds)
{
	u32 i;

	nested_assist_on(evmcs_l1);
	evmcs_prepare();
	evmcs_l1->l2->nr = 2;
	evmcs_l1->l2->ops[1] = OP_L1;
	for (i = 0; i < 3; i++) {
		l2_must_run();
		GUEST_ASSERT_EQ(nested_vmclear(evmcs_l1->evmcs), 0);
		evmcs_l1->flags &= ~NESTED_EVMCS;
		GUEST_ASSERT_EQ(nested_load_vmcs(evmcs_l1), 0);
		nested_fill(evmcs_l1);
		l2_must_run();
		nested_skip(evmcs_l1);
		l2_must_run();
		GUEST_ASSERT_EQ(nested_vmclear(evmcs_l1->vmcs), 0);
		evmcs_l1->flags |= NESTED_EVMCS;
		GUEST_ASSERT_EQ(nested_load_vmcs(evmcs_l1), 0);
		nested_fill(evmcs_l1);
	}
	/* Named in the assist page, it is the eVMCS, whatever was loaded before. */
	evmcs_l1->flags &= ~NESTED_EVMCS;
	GUEST_ASSERT_EQ(nested_vmclear(evmcs_l1->evmcs), 0);
	GUEST_ASSERT_EQ(nested_load_vmcs(evmcs_l1), 0);
	nested_fill(evmcs_l1);
	l2_must_run();
	evmcs_l1->flags |= NESTED_EVMCS;
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 1;
	nested_fill(evmcs_l1);
	l2_must_run();
}

TEST(l1_switches_between_evmcs_and_plain_vmcs)
{
	evmcs_run(l1_switch_kinds);
}

/* A field that eVMCS has not, set in a plain VMCS whose controls do not use it. */
GUEST_CODE(l1_unused_vm_functions)
{
	guest_set_os_id();
	nested_vmx_on(evmcs_l1);
	GUEST_ASSERT_EQ(nested_load_vmcs(evmcs_l1), 0);
	nested_fill(evmcs_l1);
	evmcs_l1->l2->nr = 1;
	evmcs_l1->l2->ops[0] = OP_L1;
	asm volatile("vmwrite %0, %1" : : "r"(BIT64(32)), "r"((u64)VM_FUNCTION_CONTROL) : "cc");
	nested_enter(evmcs_l1);
	GUEST_ASSERT(!evmcs_l1->failure || evmcs_l1->failure == VMX_FAIL_VALID);
}

TEST(unused_vm_functions_in_a_plain_vmcs)
{
	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N5)");
	evmcs_create(l1_unused_vm_functions, NESTED_EVMCS);
	evmcs_l1->flags &= ~NESTED_EVMCS;
	vcpu_run_done(evmcs_vcpu);
}
