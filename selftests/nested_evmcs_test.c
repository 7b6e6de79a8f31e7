// SPDX-License-Identifier: GPL-2.0-only
/*
 * The enlightened VMCS: what a hypervisor in the guest can get wrong with it and with the VP
 * assist page that names it, how it gets along with plain ones, and what the VMX capability
 * MSRs offer while it is enabled. TLFS chapter "Nested Virtualization". Every mistake is the
 * guest's own failure, and leaves nothing in the host's log.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested.h"

#define MAX_OPS 8

#define VM_FUNCTION_CONTROL  0x2018
#define MSR_KVM_PV_EOI_EN    0x4b564d04u
#define MSR_VMX_VMFUNC	     0x491u
#define SLOT_GPA	     0x40000000ULL /* a memory slot of its own */
#define EVMCS1_PERF_GLOBAL   CPUBIT(HV_LEAF_NESTED, EBX, 0)
#define EXIT_PERF_GLOBAL     BIT64(12)
#define ENTRY_PERF_GLOBAL    BIT64(13)
#define TSC_MULTIPLIER_SHIFT 48

static struct vcpu *v;
static struct nested *n;

/* A vCPU that is to run @l1 with an eVMCS, or with what @flags say. */
static void create(void (*l1)(void), u32 flags)
{
	if (host_is_amd())
		ktap_skip("VMX only");
	v = vm_create(1, 0)->vcpus[0];
	n = nested_create(v, flags, MAX_OPS);
	if (l1)
		vcpu_entry(v, l1);
}

static void run(void (*l1)(void))
{
	create(l1, NESTED_EVMCS);
	vcpu_run_done(v);
	vm_free(v->vm);
}

/* --- guest ---------------------------------------------------------------- */

static void prepare(void)
{
	n->assist[ASSIST_ENLIGHTEN] = 1;
	put64(n->assist, ASSIST_VMCS, gpa(n->evmcs));
	put32(n->evmcs, 0, 1);
	nested_vmx_on(n);
	nested_fill(n);
	/* L2 has nothing to do but to exit. */
	n->l2->nr = 1;
	n->l2->ops[0] = OP_L1;
}

static void set_assist(u64 val)
{
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, val);
}

static void must_run(void)
{
	enum nested_exit exit = nested_enter(n);

	GUEST_ASSERT_EQ(n->failure, 0);
	GUEST_ASSERT_EQ(exit, NESTED_CPUID);
}

/* VMLAUNCH and VMRESUME fail as @failure says. */
static void must_fail(u32 failure)
{
	bool launched = n->launched;
	u32 i;

	for (i = 0; i < 2; i++) {
		n->launched = i;
		GUEST_ASSERT_EQ(nested_enter(n), NESTED_FAILED);
		GUEST_ASSERT_EQ(n->failure, failure);
	}
	n->launched = launched;
}

/* --- the assist page ------------------------------------------------------- */

GUEST_CODE(l1_assist_never_enabled)
{
	guest_set_os_id();
	prepare();
	must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(n->assist) | ASSIST_ENABLE);
	/* Enabling clears nothing but the EOI part. */
	must_run();
}

TEST(assist_page_never_enabled)
{
	run(l1_assist_never_enabled);
}

GUEST_CODE(l1_assist_without_enlightenment)
{
	nested_assist_on(n);
	prepare();
	n->assist[ASSIST_ENLIGHTEN] = 0;
	must_fail(VMX_FAIL_INVALID);
	n->assist[ASSIST_ENLIGHTEN] = 1;
	must_run();
	/* Between exits; then nothing is current any more. */
	n->assist[ASSIST_ENLIGHTEN] = 0;
	must_fail(VMX_FAIL_INVALID);
	n->assist[ASSIST_ENLIGHTEN] = 1;
	must_run();
}

TEST(assist_page_without_enlightened_entry)
{
	run(l1_assist_without_enlightenment);
}

GUEST_CODE(l1_assist_outside_memory)
{
	guest_set_os_id();
	prepare();
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), GP_VECTOR);
	must_fail(VMX_FAIL_INVALID);
	/* Where it may be said, but is not enabled. */
	set_assist(GPA_NOWHERE);
	must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(n->assist) | ASSIST_ENABLE);
	must_run();
}

TEST(assist_page_outside_memory)
{
	run(l1_assist_outside_memory);
}

GUEST_CODE(l1_assist_moved)
{
	u8 *first = n->assist, *second = (u8 *)(uintptr_t)n->l1->ops[0].arg0;
	u8 *other = second + PAGE_SIZE;

	nested_assist_on(n);
	prepare();
	must_run();
	/* To a page that names no eVMCS, and back. */
	set_assist(gpa(second) | ASSIST_ENABLE);
	must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(first) | ASSIST_ENABLE);
	must_run();
	/* To one that names the same. */
	second[ASSIST_ENLIGHTEN] = 1;
	put64(second, ASSIST_VMCS, gpa(n->evmcs));
	set_assist(gpa(second) | ASSIST_ENABLE);
	must_run();
	/* What the old one says has no meaning any more. */
	put64(first, ASSIST_VMCS, GPA_NOWHERE);
	must_run();
	/* To another eVMCS: what is clean in the one is not in the other. */
	n->evmcs = other;
	put32(n->evmcs, 0, 1);
	nested_fill(n);
	put64(second, ASSIST_VMCS, gpa(n->evmcs));
	n->clean = EVMCS_CLEAN_ALL;
	must_run();
	set_assist(0);
	must_fail(VMX_FAIL_INVALID);
	set_assist(gpa(second) | ASSIST_ENABLE);
	must_run();
}

TEST(assist_page_moved)
{
	create(l1_assist_moved, NESTED_EVMCS);
	n->l1->ops[0].arg0 = gpa(vm_alloc(v->vm, 2 * PAGE_SIZE));
	vcpu_run_done(v);
}

/* Its memory is taken away while L2 is active; L1 learns it at the next entry. */
GUEST_CODE(l1_assist_vanishes)
{
	nested_assist_on(n);
	prepare();
	must_run();
	GUEST_SYNC(1);
	must_fail(VMX_FAIL_INVALID);
	GUEST_SYNC(2);
	must_run();
}

TEST(assist_page_vanishes)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = SLOT_GPA };
	void *backing = aligned_alloc(PAGE_SIZE, PAGE_SIZE);

	ASSERT(backing, "memory");
	memset(backing, 0, PAGE_SIZE);
	create(l1_assist_vanishes, NESTED_EVMCS);
	slot.slot = v->vm->nr_slots;
	vm_add_memslot(v->vm, SLOT_GPA, backing, PAGE_SIZE, 0);
	n->assist = (u8 *)SLOT_GPA;
	vcpu_run_sync(v, 1);
	ASSERT_EQ(ioctl(v->vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	vcpu_run_sync(v, 2);
	vm_add_memslot(v->vm, SLOT_GPA, backing, PAGE_SIZE, 0);
	vcpu_run_done(v);
}

/*
 * KVM's own PV EOI shares a cache with the assist page; pointed elsewhere, it draws a
 * warning in the host's log at the next entry. What L1 gets is its own affair.
 */
GUEST_CODE(l1_pv_eoi_beside_assist)
{
	nested_assist_on(n);
	prepare();
	must_run();
	wrmsr(MSR_KVM_PV_EOI_EN, gpa(n->msrs + PAGE_SIZE) | 1);
	nested_enter(n);
	GUEST_ASSERT(!n->failure || n->failure == VMX_FAIL_INVALID);
	set_assist(gpa(n->assist) | ASSIST_ENABLE);
	must_run();
}

TEST(pv_eoi_beside_assist_page)
{
	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N4)");
	run(l1_pv_eoi_beside_assist);
}

/* --- the eVMCS ------------------------------------------------------------- */

GUEST_CODE(l1_evmcs_outside_memory)
{
	static const u64 nowhere[] = { GPA_NOWHERE, 0xfffffffffffff000ULL, BIT64(51) };
	u32 i;

	nested_assist_on(n);
	prepare();
	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		put64(n->assist, ASSIST_VMCS, nowhere[i]);
		must_fail(UD_VECTOR);
		put64(n->assist, ASSIST_VMCS, gpa(n->evmcs));
		must_run();
	}
	/* The two values that mean "none". */
	for (i = 0; i < 2; i++) {
		put64(n->assist, ASSIST_VMCS, ~0ULL - i);
		GUEST_ASSERT_EQ(nested_enter(n), NESTED_FAILED);
		put64(n->assist, ASSIST_VMCS, gpa(n->evmcs));
		must_run();
	}
}

TEST(evmcs_outside_memory)
{
	run(l1_evmcs_outside_memory);
}

GUEST_CODE(l1_bad_revision)
{
	static const u32 revisions[] = { 0, 2, 0x100, 0x80000001, ~0u };
	u8 *first = n->evmcs;
	u32 i;

	nested_assist_on(n);
	prepare();
	for (i = 0; i < ARRAY_SIZE(revisions); i++) {
		/* It is looked at when the pointer changes. */
		put32(first, 0, revisions[i]);
		must_fail(VMX_FAIL_INVALID);
		put32(first, 0, 1);
		must_run();
		put64(n->assist, ASSIST_VMCS, gpa(n->vmcs));
		put32(n->vmcs, 0, revisions[i]);
		must_fail(VMX_FAIL_INVALID);
		put64(n->assist, ASSIST_VMCS, gpa(first));
		GUEST_ASSERT_EQ(nested_vmclear(first), 0);
	}
}

TEST(bad_revision)
{
	run(l1_bad_revision);
}

static void refill(void)
{
	u32 at;

	for (at = 8; at < 1024; at += 8)
		put64(n->evmcs, at, 0);
	nested_fill(n);
}

/* Garbage in every field at once, and in each: entries fail, L1 and the host stay. */
GUEST_CODE(l1_garbage)
{
	static const u64 patterns[] = { 0, ~0ULL, 0x5555555555555555ULL, 0xaaaaaaaaaaaaaaaaULL };
	u32 i, at;

	nested_assist_on(n);
	prepare();
	must_run();
	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		for (at = 8; at < 1024; at += 8)
			put64(n->evmcs, at, patterns[i]);
		nested_enter(n);
		GUEST_ASSERT(n->failure || n->reason & BIT64(31));
	}
	/* Only what says how to go on must be right; a triple fault of L2's is an exit, too. */
	for (at = 832; at < 1024; at += 8) {
		for (i = 1; i < ARRAY_SIZE(patterns); i++) {
			refill();
			put64(n->evmcs, at, patterns[i]);
			nested_enter(n);
		}
	}
	refill();
	must_run();
}

TEST(garbage)
{
	run(l1_garbage);
}

/* --- beside a plain VMCS --------------------------------------------------- */

GUEST_CODE(l1_switch_kinds)
{
	u32 i;

	nested_assist_on(n);
	prepare();
	n->l2->nr = 2;
	n->l2->ops[1] = OP_L1;
	for (i = 0; i < 3; i++) {
		must_run();
		GUEST_ASSERT_EQ(nested_vmclear(n->evmcs), 0);
		n->flags &= ~NESTED_EVMCS;
		GUEST_ASSERT_EQ(nested_load_vmcs(n), 0);
		nested_fill(n);
		must_run();
		nested_skip(n);
		must_run();
		GUEST_ASSERT_EQ(nested_vmclear(n->vmcs), 0);
		n->flags |= NESTED_EVMCS;
		GUEST_ASSERT_EQ(nested_load_vmcs(n), 0);
		nested_fill(n);
	}
	/* Named in the assist page, it is the eVMCS, whatever was loaded before. */
	n->flags &= ~NESTED_EVMCS;
	GUEST_ASSERT_EQ(nested_vmclear(n->evmcs), 0);
	GUEST_ASSERT_EQ(nested_load_vmcs(n), 0);
	nested_fill(n);
	must_run();
	n->flags |= NESTED_EVMCS;
	n->assist[ASSIST_ENLIGHTEN] = 1;
	nested_fill(n);
	must_run();
}

TEST(switching_kinds)
{
	run(l1_switch_kinds);
}

/* A field that eVMCS has not, set in a plain VMCS whose controls do not use it. */
GUEST_CODE(l1_unused_vm_functions)
{
	guest_set_os_id();
	nested_vmx_on(n);
	GUEST_ASSERT_EQ(nested_load_vmcs(n), 0);
	nested_fill(n);
	n->l2->nr = 1;
	n->l2->ops[0] = OP_L1;
	asm volatile("vmwrite %0, %1" : : "r"(BIT64(32)), "r"((u64)VM_FUNCTION_CONTROL) : "cc");
	nested_enter(n);
	GUEST_ASSERT(!n->failure || n->failure == VMX_FAIL_VALID);
}

TEST(unused_vm_functions_in_a_plain_vmcs)
{
	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N5)");
	create(l1_unused_vm_functions, NESTED_EVMCS);
	n->flags &= ~NESTED_EVMCS;
	vcpu_run_done(v);
}

/* --- capabilities ---------------------------------------------------------- */

/* What the CPU may have, but an eVMCS has no field for: TLFS, in each MSR's high half. */
static const struct {
	u32 msr, forbidden, needed;
} limits[] = {
	{ MSR_VMX_TRUE_PIN, BIT64(6) | BIT64(7), 0 },
	{ 0x481, BIT64(6) | BIT64(7), 0 },
	{ MSR_VMX_TRUE_PROC, 0, PROC_MSR_BITMAP | PROC_SECONDARY },
	{ 0x482, 0, PROC_MSR_BITMAP | PROC_SECONDARY },
	/* APIC accesses, registers and delivery, PLE, VMFUNC, shadow VMCS, PML. */
	{ MSR_VMX_PROC2,
	  BIT64(0) | BIT64(8) | BIT64(9) | BIT64(10) | BIT64(13) | BIT64(14) | BIT64(17),
	  PROC2_EPT },
	{ MSR_VMX_TRUE_EXIT, BIT64(22), BIT64(9) },
	{ 0x483, BIT64(22), BIT64(9) },
	{ MSR_VMX_TRUE_ENTRY, 0, BIT64(9) },
	{ 0x484, 0, BIT64(9) },
};

GUEST_CODE(l1_capabilities)
{
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		val = rdmsr(limits[i].msr) >> 32;
		GUEST_ASSERT_EQ(val & limits[i].forbidden, 0);
		GUEST_ASSERT_EQ(val & limits[i].needed, limits[i].needed);
	}
	if (!__rdmsr(MSR_VMX_VMFUNC, &val))
		GUEST_ASSERT_EQ(val & 1, 0);
}

TEST(capabilities)
{
	run(l1_capabilities);
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

TEST(perf_global_ctrl)
{
	u64 all;

	create(l1_perf_global, NESTED_EVMCS);
	vcpu_set_bit(v, EVMCS1_PERF_GLOBAL, false);
	vcpu_run_sync(v, 1);
	vm_free(v->vm);

	create(l1_perf_global, NESTED_EVMCS);
	vcpu_set_bit(v, EVMCS1_PERF_GLOBAL, true);
	all = vcpu_get_msr(v, MSR_VMX_TRUE_EXIT) >> 32;
	vcpu_run_sync(v, 1);
	ASSERT_EQ(v->cpu->msg.args[1] & EXIT_PERF_GLOBAL, all & EXIT_PERF_GLOBAL);
	vm_free(v->vm);
}

#define EVMCS_GUEST_PERF 904
#define EVMCS_HOST_PERF	 976

/*
 * The fields are looked at if the controls ask for them: 0 is good on any CPU, a value with all
 * bits on none.
 */
GUEST_CODE(l1_loads_perf_global)
{
	nested_assist_on(n);
	prepare();
	vmcs_write(n, VMCS_EXIT_CTL, vmcs_read(n, VMCS_EXIT_CTL) | EXIT_PERF_GLOBAL);
	vmcs_write(n, VMCS_ENTRY_CTL, vmcs_read(n, VMCS_ENTRY_CTL) | ENTRY_PERF_GLOBAL);
	put64(n->evmcs, EVMCS_GUEST_PERF, 0);
	put64(n->evmcs, EVMCS_HOST_PERF, 0);
	must_run();
	put64(n->evmcs, EVMCS_HOST_PERF, ~0ULL);
	must_fail(VMX_FAIL_VALID);
}

static void perf_global_is_loaded(bool shown)
{
	u64 exit, entry;

	create(l1_loads_perf_global, NESTED_EVMCS);
	vcpu_set_bit(v, EVMCS1_PERF_GLOBAL, shown);
	/* What user space reads is not filtered. */
	exit = vcpu_get_msr(v, MSR_VMX_TRUE_EXIT) >> 32;
	entry = vcpu_get_msr(v, MSR_VMX_TRUE_ENTRY) >> 32;
	if (!(exit & EXIT_PERF_GLOBAL) || !(entry & ENTRY_PERF_GLOBAL))
		ktap_skip("the host's CPU cannot load PERF_GLOBAL_CTRL (exit 0x%llx, entry 0x%llx)",
			  (unsigned long long)exit, (unsigned long long)entry);
	vcpu_run_done(v);
	vm_free(v->vm);
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
	if (!(vcpu_get_msr(v, MSR_VMX_PROC2) >> 32 & PROC2_TSC_SCALING))
		ktap_skip("the host's CPU does not scale the TSC");
}

GUEST_CODE(l1_tsc_scaling_offered)
{
	u64 caps = rdmsr(MSR_VMX_PROC2) >> 32;

	GUEST_ASSERT_KNOWN_EQ(caps & PROC2_TSC_SCALING, PROC2_TSC_SCALING);
}

TEST_KNOWN(tsc_scaling_offered, "N0")
{
	create(l1_tsc_scaling_offered, NESTED_EVMCS);
	require_tsc_scaling();
	vcpu_run_done(v);
}

GUEST_CODE(l1_tsc_scaling)
{
	static const u64 times16[] = { 32, 8, 16 }; /* 2, 1/2, 1 */
	u64 before, after;
	u32 i;

	GUEST_ASSERT_KNOWN_EQ(rdmsr(MSR_VMX_PROC2) >> 32 & PROC2_TSC_SCALING, PROC2_TSC_SCALING);
	nested_assist_on(n);
	prepare();
	n->l2->nr = 2;
	n->l2->ops[0].op = OP_RDTSC;
	n->l2->ops[1] = OP_L1;
	for (i = 0; i < ARRAY_SIZE(times16); i++) {
		vmcs_write(n, VMCS_TSC_MULT, times16[i] << (TSC_MULTIPLIER_SHIFT - 4));
		vmcs_write(n, VMCS_TSC_OFFSET, 0);
		nested_fill(n);
		before = rdtsc();
		must_run();
		after = rdtsc();
		GUEST_ASSERT(n->l2->ops[0].result >= before / 16 * times16[i]);
		GUEST_ASSERT(n->l2->ops[0].result <= (after / 16 + 1) * times16[i]);
	}
}

/* Whoever is not told of the field must not ask for it. */
GUEST_CODE(l1_tsc_scaling_not_shown)
{
	u64 without;

	nested_assist_on(n);
	prepare();
	must_run();
	without = vmcs_read(n, VMCS_PROC2);
	vmcs_write(n, VMCS_PROC2, without | PROC2_TSC_SCALING);
	must_fail(VMX_FAIL_VALID);
	vmcs_write(n, VMCS_PROC2, without);
	must_run();
}

TEST(tsc_scaling_not_shown)
{
	create(l1_tsc_scaling_not_shown, NESTED_EVMCS);
	require_tsc_scaling();
	vcpu_set_bit(v, EVMCS1_PERF_GLOBAL, false);
	n->flags |= NESTED_PAGING;
	vcpu_run_done(v);
	vm_free(v->vm);
}

TEST_KNOWN(tsc_scaling, "N0")
{
	create(l1_tsc_scaling, NESTED_EVMCS);
	require_tsc_scaling();
	n->controls = PROC_TSC_OFFSET;
	n->controls2 = PROC2_TSC_SCALING;
	vcpu_run_done(v);
}
