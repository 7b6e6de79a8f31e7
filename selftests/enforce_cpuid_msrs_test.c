// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_CAP_HYPERV_ENFORCE_CPUID: every MSR against the CPUID bit that grants it. One table row
 * each; the stages are made from the rows.
 */
#include "enforce.h"
#include "tables.h"

enum { RD = 1, WR = 2, RW = 3 };

struct msr_row {
	const char *name;
	u32 msr;
	u32 count;
	u32 access; /* what the guest may do when it has the bit */
	u64 need;
	u64 val; /* a value that may be written */
	u64 bad; /* a value that must fault, 0 = none */
};

/* clang-format off */
#define MSR(_name, _count, _access, _need, _val, _bad)			\
	{ #_name, HV_X64_MSR_##_name, _count, _access, _need, _val, _bad }

static const struct msr_row msrs[] = {
	MSR(GUEST_OS_ID,		1, RW, HV_F_HYPERCALL, 0x1234, 0),
	MSR(HYPERCALL,			1, RW, HV_F_HYPERCALL, 0, 0),
	MSR(VP_INDEX,			1, RD, HV_F_VP_INDEX, 0, 0),
	MSR(RESET,			1, RW, HV_F_RESET, 0, 0),
	MSR(VP_RUNTIME,			1, RD, HV_F_VP_RUNTIME, 0, 0),
	MSR(TIME_REF_COUNT,		1, RD, HV_F_TIME_REF, 0, 0),
	MSR(REFERENCE_TSC,		1, RW, HV_F_REF_TSC, 0, 0),
	MSR(TSC_FREQUENCY,		1, RD, HV_F_FREQUENCY, 0, 0),
	MSR(APIC_FREQUENCY,		1, RD, HV_F_FREQUENCY, 0, 0),
	MSR(EOI,			1, WR, HV_F_APIC, 0, BIT64(32)),
	MSR(ICR,			1, RW, HV_F_APIC, 0x40, 0),
	MSR(TPR,			1, RW, HV_F_APIC, 0x20, BIT64(32)),
	MSR(VP_ASSIST_PAGE,		1, RW, HV_F_APIC, 0, GPA_NOWHERE | 1),
	MSR(SCONTROL,			1, RW, HV_F_SYNIC, 1, 0),
	MSR(SVERSION,			1, RD, HV_F_SYNIC, 1, 0),
	MSR(SIEFP,			1, RW, HV_F_SYNIC, 0, 0),
	MSR(SIMP,			1, RW, HV_F_SYNIC, 0, 0),
	MSR(EOM,			1, RW, HV_F_SYNIC, 0, 0),
	MSR(SINT0,			16, RW, HV_F_SYNIC, 0x10000, 0x5),
	MSR(STIMER0_CONFIG,		8, RW, HV_F_STIMER, 0, 0),
	MSR(SYNDBG_CONTROL,		5, RW, HV_F_SYNDBG, 0, 0),
	MSR(SYNDBG_OPTIONS,		1, RW, HV_F_SYNDBG, 0, 0),
	MSR(CRASH_P0,			5, RW, HV_F_CRASH, 7, 0),
	MSR(CRASH_CTL,			1, RW, HV_F_CRASH, 0, 0),
	MSR(REENLIGHTENMENT_CONTROL,	1, RW, HV_F_REENLIGHTENMENT, 0, 0),
	MSR(TSC_EMULATION_CONTROL,	1, RW, HV_F_REENLIGHTENMENT, 0, 0),
	MSR(TSC_EMULATION_STATUS,	1, RW, HV_F_REENLIGHTENMENT, 0, 2),
	MSR(TSC_INVARIANT_CONTROL,	1, RW, HV_F_TSC_INVARIANT, 1, 2),
};
/* clang-format on */

/* Stock 6.1 has no such register; its stage is a case of its own. */
static bool row_is_missing(const struct msr_row *r)
{
	return r->msr == HV_X64_MSR_TSC_INVARIANT_CONTROL && host_is_6_1() && !module_loaded();
}

/* clang-format off */
static const u32 gaps[] = {
	0x40000004, 0x4000000f, 0x40000011, 0x4000001f, 0x40000024, 0x40000040, 0x4000006f,
	0x40000074, 0x40000085, 0x4000008f, 0x400000a0, 0x400000af, 0x400000b8,
	0x400000f6, 0x40000109, 0x40000117, 0x40000119, 0x400001ff,
	0x40001002,
};
/* clang-format on */

static void expect_row(struct vcpu *v, struct ops_page *p, const struct msr_row *r, bool allowed,
		       const char *what)
{
	u32 i, rd = allowed && (r->access & RD) ? 0 : GP_VECTOR;
	u32 wr = allowed && (r->access & WR) ? 0 : GP_VECTOR;

	for (i = 0; i < r->count; i++) {
		expect_vector(v, p, r->name, OP_RD(r->msr + i), rd, what);
		expect_vector(v, p, r->name, OP_WR(r->msr + i, r->val), wr, what);
	}
}

TEST(msr_granted_by_its_bit)
{
	struct vm *vm = enforcing_vm(ARRAY_SIZE(msrs));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		struct vcpu *v = vm->vcpus[i];

		if (row_is_missing(&msrs[i]))
			continue;
		cpuid_all_off(v, msrs[i].need == HV_F_SYNDBG);
		vcpu_set_bit(v, msrs[i].need, true);
		expect_row(v, vcpu_ops_init(v, 1), &msrs[i], true, "with only its bit");
	}
	vm_free(vm);
}

TEST(msr_denied_without_its_bit)
{
	struct vm *vm = enforcing_vm(ARRAY_SIZE(msrs));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		struct vcpu *v = vm->vcpus[i];

		vcpu_set_bit(v, msrs[i].need, false);
		expect_row(v, vcpu_ops_init(v, 1), &msrs[i], false, "with all but its bit");
	}
	vm_free(vm);
}

TEST(msr_denied_with_no_bits)
{
	struct vm *vm = enforcing_vm(1);
	struct ops_page *p;
	u32 i;

	cpuid_all_off(vm->vcpus[0], true);
	vcpu_set_cpuid(vm->vcpus[0]);
	p = vcpu_ops_init(vm->vcpus[0], 1);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		expect_row(vm->vcpus[0], p, &msrs[i], false, "with no bits");
	vm_free(vm);
}

/* Without enforcement the bits do not matter, "Hv#1" alone does. */
TEST(msr_open_without_enforcement)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	u32 i;

	cpuid_all_off(v, true);
	vcpu_set_cpuid(v);
	vcpu_enforce_cpuid(v, false);
	p = vcpu_ops_init(v, 1);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (!row_is_missing(&msrs[i]))
			expect_row(v, p, &msrs[i], true, "without enforcement");
	vm_free(vm);
}

TEST(msr_reserved_values_fault)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (!msrs[i].bad || row_is_missing(&msrs[i]))
			continue;
		for (j = 0; j < msrs[i].count; j++)
			expect_vector(v, p, msrs[i].name, OP_WR(msrs[i].msr + j, msrs[i].bad),
				      GP_VECTOR, "reserved value");
	}
	vm_free(vm);
}

TEST_KNOWN_IF(tsc_invariant_row, "D7", host_is_6_1)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct guest_op r;

	cpuid_all_off(v, false);
	vcpu_set_bit(v, HV_F_TSC_INVARIANT, true);
	r = vcpu_op(v, vcpu_ops_init(v, 1), OP_RD(HV_X64_MSR_TSC_INVARIANT_CONTROL));
	ASSERT_KNOWN(r.vector == 0, "vector %u", r.vector);
	vm_free(vm);
}

static void check_gaps(bool enforce)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	vcpu_enforce_cpuid(v, enforce);
	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		if (table_has(gaps[i], false)) {
			ktap_log("0x%x has a row now", gaps[i]);
			continue;
		}
		expect_vector(v, p, "unknown", OP_RD(gaps[i]), GP_VECTOR, "read");
		expect_vector(v, p, "unknown", OP_WR(gaps[i], 0), GP_VECTOR, "write");
	}
	vm_free(vm);
}

TEST(unknown_msr_faults)
{
	check_gaps(true);
}

TEST(unknown_msr_faults_without_enforcement)
{
	check_gaps(false);
}

TEST(nothing_without_signature)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	u32 i;

	cpuid_get(&v->cpuid, HV_LEAF_INTERFACE)->eax = 0;
	vcpu_set_cpuid(v);
	vcpu_enforce_cpuid(v, false);
	p = vcpu_ops_init(v, 1);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		expect_row(v, p, &msrs[i], false, "without Hv#1");
	vm_free(vm);
}

/* Privileges restrict the guest only: the host saves and restores whatever CPUID says. */
TEST(host_is_not_gated)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;
	u64 val;

	cpuid_all_off(v, true);
	vcpu_set_cpuid(v);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		int r;

		if (row_is_missing(&msrs[i]) || !(msrs[i].access & RD))
			continue;
		r = __vcpu_get_msr(v, msrs[i].msr, &val);
		ASSERT(r == 1, "%s: host read returned %d", msrs[i].name, r);
		r = __vcpu_set_msr(v, msrs[i].msr, val);
		ASSERT(r == 1, "%s: host write returned %d", msrs[i].name, r);
	}
	vm_free(vm);
}

/* --- rows that no KVM has ------------------------------------------------------------ */

/* clang-format off */
#define UNHALTED_TIMER { HV_F_STIMER, HV_F_UNHALTED_TIMER }

static const struct table_row new_msrs[] = {
	{ .name = "STIME_UNHALTED_TIMER_CONFIG", .number = HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG,
	  .count = 1, .stride = 1, .reserved = ~0ULL << 9, .flags = "shown",
	  .needs = UNHALTED_TIMER },
	{ .name = "STIME_UNHALTED_TIMER_COUNT", .number = HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT,
	  .count = 1, .stride = 1, .flags = "shown", .needs = UNHALTED_TIMER },
};
/* clang-format on */

static bool in_list(u32 number)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(new_msrs); i++) {
		if (number == new_msrs[i].number)
			return true;
	}
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (number >= msrs[i].msr && number < msrs[i].msr + msrs[i].count)
			return true;
	}
	/* A read of it halts the VP: guest_idle_test. */
	return number == HV_X64_MSR_GUEST_IDLE;
}

static void expect_table_row(struct vcpu *v, const struct table_row *r, bool allowed,
			     const char *what)
{
	u32 i, wr = allowed && !table_flag(r, "ro") ? 0 : GP_VECTOR;
	struct ops_page *p = vcpu_ops_init(v, 1);

	for (i = 0; i < r->count; i++) {
		u32 msr = r->number + i * r->stride;

		expect_vector(v, p, r->name, OP_RD(msr), allowed ? 0 : GP_VECTOR, what);
		expect_vector(v, p, r->name, OP_WR(msr, 0), wr, what);
		if (r->reserved) {
			expect_vector(v, p, r->name, OP_WR(msr, r->reserved & -r->reserved),
				      GP_VECTOR, "lowest reserved bit");
			expect_vector(v, p, r->name, OP_WR(msr, r->reserved), GP_VECTOR,
				      "reserved bits");
		}
	}
}

static void check_table_row(const struct table_row *r)
{
	struct vm *vm = enforcing_vm(3 + MAX_NEEDS);
	struct vcpu **v = vm->vcpus;
	u32 i;

	cpuid_all_off(v[0], true);
	table_show(v[0], r, true);
	vcpu_set_cpuid(v[0]);
	expect_table_row(v[0], r, true, "with only its bits");

	/* What no KVM has is there only for guests that are shown it. */
	table_show(v[1], r, false);
	vcpu_set_cpuid(v[1]);
	vcpu_enforce_cpuid(v[1], false);
	expect_table_row(v[1], r, !table_flag(r, "shown"), "without enforcement");
	vcpu_enforce_cpuid(v[2], false);
	table_show(v[2], r, true);
	vcpu_set_cpuid(v[2]);
	expect_table_row(v[2], r, true, "shown, without enforcement");

	for (i = 0; i < MAX_NEEDS && r->needs[i]; i++) {
		table_show(v[3 + i], r, true);
		table_show_one(v[3 + i], r, i, false);
		vcpu_set_cpuid(v[3 + i]);
		expect_table_row(v[3 + i], r, false, "with all but one of its bits");
	}
	vm_free(vm);
}

TEST(msrs_that_no_kvm_has)
{
	u32 i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < ARRAY_SIZE(new_msrs); i++)
		check_table_row(&new_msrs[i]);
}

/* --- rows of the module that are not in the list ------------------------------------- */

TEST(rows_that_are_not_listed)
{
	static struct table_row rows[MAX_TABLE_ROWS];
	u32 n = table_unlisted(rows, false, in_list), i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < n; i++)
		check_table_row(&rows[i]);
}
