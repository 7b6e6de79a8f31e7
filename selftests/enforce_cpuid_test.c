// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_CAP_HYPERV_ENFORCE_CPUID: every MSR and every hypercall against the CPUID
 * bit that grants it. One table row each; the stages are made from the rows, and
 * each row gets a vCPU of its own, because CPUID is fixed once a vCPU has run.
 */
#include <string.h>

#include "ops.h"

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
	HV_X64_MSR_GUEST_IDLE, 0x400000f6, 0x40000109, 0x40000117, 0x40000119, 0x400001ff,
	0x40001002,
};
/* clang-format on */

/* Every privilege off; the debugger is the VMM's business and stays as @syndbg says. */
static void all_off(struct vcpu *v, bool syndbg)
{
	cpuid_zero(&v->cpuid, HV_LEAF_FEATURES);
	cpuid_zero(&v->cpuid, HV_LEAF_HINTS);
	cpuid_assign(&v->cpuid, HV_S_KERNEL_DEBUG, syndbg);
}

/* Everything that this kernel supports is on; it is the default of vm_create(). */
static struct vm *vm_of(u32 nr)
{
	struct vm *vm = vm_create(nr, VM_ENFORCE);
	u32 i;

	for (i = 0; i < nr; i++) {
		int r = __vcpu_enable_cap(vm->vcpus[i], KVM_CAP_HYPERV_SYNIC2, 0);

		ASSERT_EQ(r, 0);
	}
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return vm;
}

static void expect(struct vcpu *v, struct ops_page *p, const char *name, struct guest_op op,
		   u32 vector, const char *what)
{
	struct guest_op r = vcpu_op(v, p, op);

	ASSERT(r.vector == vector, "%s 0x%llx %s: vector %u, expected %u", name,
	       (unsigned long long)op.arg0, what, r.vector, vector);
}

static void expect_row(struct vcpu *v, struct ops_page *p, const struct msr_row *r, bool allowed,
		       const char *what)
{
	u32 i, rd = allowed && (r->access & RD) ? 0 : GP_VECTOR;
	u32 wr = allowed && (r->access & WR) ? 0 : GP_VECTOR;

	for (i = 0; i < r->count; i++) {
		expect(v, p, r->name, OP_RD(r->msr + i), rd, what);
		expect(v, p, r->name, OP_WR(r->msr + i, r->val), wr, what);
	}
}

TEST(msr_granted_by_its_bit)
{
	struct vm *vm = vm_of(ARRAY_SIZE(msrs));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		struct vcpu *v = vm->vcpus[i];

		if (row_is_missing(&msrs[i]))
			continue;
		all_off(v, msrs[i].need == HV_F_SYNDBG);
		vcpu_set_bit(v, msrs[i].need, true);
		expect_row(v, vcpu_ops_init(v, 1), &msrs[i], true, "with only its bit");
	}
	vm_free(vm);
}

TEST(msr_denied_without_its_bit)
{
	struct vm *vm = vm_of(ARRAY_SIZE(msrs));
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
	struct vm *vm = vm_of(1);
	struct ops_page *p;
	u32 i;

	all_off(vm->vcpus[0], true);
	vcpu_set_cpuid(vm->vcpus[0]);
	p = vcpu_ops_init(vm->vcpus[0], 1);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		expect_row(vm->vcpus[0], p, &msrs[i], false, "with no bits");
	vm_free(vm);
}

/* Without enforcement the bits do not matter, "Hv#1" alone does. */
TEST(msr_open_without_enforcement)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	u32 i;

	all_off(v, true);
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
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (!msrs[i].bad || row_is_missing(&msrs[i]))
			continue;
		for (j = 0; j < msrs[i].count; j++)
			expect(v, p, msrs[i].name, OP_WR(msrs[i].msr + j, msrs[i].bad), GP_VECTOR,
			       "reserved value");
	}
	vm_free(vm);
}

TEST_KNOWN_IF(tsc_invariant_row, "D7", host_is_6_1)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct guest_op r;

	all_off(v, false);
	vcpu_set_bit(v, HV_F_TSC_INVARIANT, true);
	r = vcpu_op(v, vcpu_ops_init(v, 1), OP_RD(HV_X64_MSR_TSC_INVARIANT_CONTROL));
	ASSERT_KNOWN(r.vector == 0, "vector %u", r.vector);
	vm_free(vm);
}

static void check_gaps(bool enforce)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	vcpu_enforce_cpuid(v, enforce);
	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		expect(v, p, "unknown", OP_RD(gaps[i]), GP_VECTOR, "read");
		expect(v, p, "unknown", OP_WR(gaps[i], 0), GP_VECTOR, "write");
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
	struct vm *vm = vm_of(1);
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

/* The gate is the guest's: the host saves and restores whatever CPUID says. */
TEST(host_is_not_gated)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;
	u64 val;

	all_off(v, true);
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

/* --- hypercalls --------------------------------------------------------- */

/* A sentinel for the one privilege that is a number: 4.EBX. */
#define NEED_SPIN 1ULL
#define CODE_MASK 0xffffULL

enum input { NO_PAGE, PAGE };

struct hcall_row {
	const char *name;
	u64 control;
	enum input input;
	u64 in, out;
	u64 need[2];
	u32 status; /* when granted */
	u32 reps;
	bool optional; /* only where the kernel offers the bit */
};

/* clang-format off */
#define HC(_name, _flags, ...)						\
	{ .name = #_name, .control = HVCALL_##_name | (_flags), __VA_ARGS__ }
/* clang-format on */

static const struct hcall_row hcalls[] = {
	HC(NOTIFY_LONG_SPIN_WAIT, HV_CTL_FAST, .need = { NEED_SPIN }),
	HC(POST_MESSAGE, 0, .input = PAGE, .need = { HV_F_POST_MESSAGES }),
	HC(SIGNAL_EVENT, HV_CTL_FAST, .in = 1, .need = { HV_F_SIGNAL_EVENTS }),
	HC(POST_DEBUG_DATA, 0, .input = PAGE, .need = { HV_F_DEBUGGING },
	   .status = HV_STATUS_OPERATION_DENIED),
	HC(RETRIEVE_DEBUG_DATA, 0, .input = PAGE, .need = { HV_F_DEBUGGING },
	   .status = HV_STATUS_OPERATION_DENIED),
	HC(RESET_DEBUG_SESSION, 0, .input = PAGE, .need = { HV_F_DEBUGGING },
	   .status = HV_STATUS_OPERATION_DENIED),
	HC(FLUSH_SPACE, 0, .input = PAGE, .need = { HV_H_TLBFLUSH }),
	HC(FLUSH_LIST, HV_CTL_REP(1), .input = PAGE, .need = { HV_H_TLBFLUSH }, .reps = 1),
	HC(FLUSH_SPACE_EX, 0, .input = PAGE, .need = { HV_H_TLBFLUSH, HV_H_EX_MASKS }),
	HC(FLUSH_LIST_EX, HV_CTL_REP(1), .input = PAGE, .need = { HV_H_TLBFLUSH, HV_H_EX_MASKS },
	   .reps = 1),
	HC(SEND_IPI, HV_CTL_FAST, .in = 0x40, .need = { HV_H_IPI }),
	HC(SEND_IPI_EX, 0, .input = PAGE, .need = { HV_H_IPI, HV_H_EX_MASKS }),
	HC(EXT_QUERY_CAPABILITIES, 0, .input = PAGE, .need = { HV_F_EXT_HYPERCALLS },
	   .optional = true),
};

static void need_assign(struct vcpu *v, u64 need, bool on, u32 spins)
{
	if (need == NEED_SPIN)
		cpuid_get(&v->cpuid, HV_LEAF_HINTS)->ebx = on ? 0xfff : spins;
	else if (need)
		cpuid_assign(&v->cpuid, need, on);
}

/* Input that each call accepts: all flags set where there are flags, no target. */
static void fill_input(u64 *page, u16 code)
{
	memset(page, 0, PAGE_SIZE);
	switch (code) {
	case HVCALL_FLUSH_SPACE:
	case HVCALL_FLUSH_LIST:
		page[1] = HV_FLUSH_ALL_SPACES;
		page[2] = 1;
		break;
	case HVCALL_FLUSH_SPACE_EX:
	case HVCALL_FLUSH_LIST_EX:
		page[1] = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES;
		page[2] = 1;
		break;
	case HVCALL_SEND_IPI_EX:
		page[0] = 0x40;
		break;
	case HVCALL_POST_MESSAGE:
		page[1] = 1;
		break;
	}
}

static void expect_hcall(struct vcpu *v, const struct hcall_row *r, u32 status, u32 reps,
			 const char *what)
{
	struct ops_page *p = vcpu_ops_init(v, 1);
	u64 *page = vm_alloc(v->vm, PAGE_SIZE);
	u64 in = r->input == PAGE ? (u64)(uintptr_t)page : r->in;
	struct guest_op o;

	fill_input(page, (u16)(r->control & CODE_MASK));
	o = vcpu_op(v, p, OP_HC(r->control, in, r->out));
	ASSERT(o.vector == 0, "%s %s: vector %u", r->name, what, o.vector);
	ASSERT(o.result == ((u64)reps << 32 | status),
	       "%s %s: result 0x%llx, expected 0x%x, %u reps", r->name, what,
	       (unsigned long long)o.result, status, reps);
}

static bool row_offered(const struct hcall_row *r)
{
	return !r->optional || hv_supported(r->need[0]);
}

TEST(hypercall_granted_by_its_bits)
{
	struct vm *vm = vm_of(ARRAY_SIZE(hcalls));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(hcalls); i++) {
		const struct hcall_row *r = &hcalls[i];
		struct vcpu *v = vm->vcpus[i];

		if (!row_offered(r)) {
			ktap_log("%s: not offered by this kernel", r->name);
			continue;
		}
		all_off(v, r->need[0] == HV_F_DEBUGGING);
		need_assign(v, r->need[0], true, 0);
		need_assign(v, r->need[1], true, 0);
		vcpu_set_cpuid(v);
		expect_hcall(v, r, r->status, r->reps, "with only its bits");
	}
	vm_free(vm);
}

static void check_denied(u32 which, u32 spins)
{
	struct vm *vm = vm_of(ARRAY_SIZE(hcalls));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(hcalls); i++) {
		const struct hcall_row *r = &hcalls[i];
		struct vcpu *v = vm->vcpus[i];

		if (!row_offered(r) || !r->need[which])
			continue;
		need_assign(v, r->need[which], false, spins);
		vcpu_set_cpuid(v);
		expect_hcall(v, r, HV_STATUS_ACCESS_DENIED, 0, "without its bit");
	}
	vm_free(vm);
}

TEST(hypercall_denied_without_first_bit)
{
	check_denied(0, 0);
}

TEST(hypercall_denied_without_second_bit)
{
	check_denied(1, 0);
}

/* 4.EBX of all ones: "never retry", so no notification either. */
TEST(spin_wait_denied_when_never)
{
	check_denied(0, 0xffffffff);
}

/* Which comes first: the gate. A malformed call that is not granted is denied. */
TEST(gate_comes_before_form)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	struct guest_op o;

	all_off(v, false);
	vcpu_set_cpuid(v);
	p = vcpu_ops_init(v, 1);
	o = vcpu_op(v, p, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | BIT64(60), 0, 0));
	ASSERT_EQ(o.result, HV_STATUS_ACCESS_DENIED);
	o = vcpu_op(v, p, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_REP(1), 0, 0));
	ASSERT_EQ(o.result, HV_STATUS_ACCESS_DENIED);
	vm_free(vm);
}

/* A format that the guest was not shown is an unknown flag. */
TEST_KNOWN(extended_ranges_need_their_bit, "K3")
{
	u64 flags = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_EXTENDED;
	struct vm *vm = vm_of(2);
	struct guest_op o;
	u32 i;

	for (i = 0; i < 2; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct ops_page *p;

		all_off(v, false);
		need_assign(v, HV_H_TLBFLUSH, true, 0);
		need_assign(v, HV_F_XMM_INPUT, true, 0);
		need_assign(v, HV_F_EXT_GVA, i == 0, 0);
		vcpu_set_cpuid(v);
		p = vcpu_ops_init(v, 1);
		o = vcpu_op(v, p,
			    OP_HC(HVCALL_FLUSH_SPACE | HV_CTL_FAST, 0, flags & ~HV_FLUSH_EXTENDED));
		ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
		o = vcpu_op(v, p, OP_HC(HVCALL_FLUSH_SPACE | HV_CTL_FAST, 0, flags));
		if (i == 0)
			ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
		else
			ASSERT_KNOWN(o.result == HV_STATUS_INVALID_PARAMETER, "status 0x%llx",
				     (unsigned long long)o.result);
	}
	vm_free(vm);
}

/* Codes that nobody knows pass the gate and are unknown. */
TEST(unknown_code_passes_gate)
{
	static const u32 codes[] = { 0, 7, 0x7777, 0xffff };
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	u32 i;

	all_off(v, false);
	vcpu_set_cpuid(v);
	p = vcpu_ops_init(v, 1);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		struct guest_op o = vcpu_op(v, p, OP_HC(codes[i] | HV_CTL_FAST, 0, 0));

		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_CODE);
	}
	vm_free(vm);
}

/* Debug calls of a VM without debugger do not exist, granted or not. */
TEST(debug_calls_without_debugger)
{
	struct vm *vm = vm_of(2);
	u32 i, j;

	for (i = 0; i < 2; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct ops_page *p;

		cpuid_assign(&v->cpuid, HV_S_KERNEL_DEBUG, false);
		vcpu_set_bit(v, HV_F_DEBUGGING, i);
		p = vcpu_ops_init(v, 1);
		for (j = HVCALL_POST_DEBUG_DATA; j <= HVCALL_RESET_DEBUG_SESSION; j++) {
			struct guest_op o = vcpu_op(v, p, OP_HC(j, GPA_NOWHERE, 0));

			ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_CODE);
		}
	}
	vm_free(vm);
}

struct xmm_row {
	const char *name;
	u64 control, in, out;
	u64 xmm0;
	u32 reps;
};

/* clang-format off */
static const struct xmm_row xmm_rows[] = {
	{ "FLUSH_SPACE", HVCALL_FLUSH_SPACE, 0, HV_FLUSH_ALL_SPACES, 1, 0 },
	{ "FLUSH_LIST", HVCALL_FLUSH_LIST | HV_CTL_REP(1), 0, HV_FLUSH_ALL_SPACES, 1, 1 },
	{ "FLUSH_SPACE_EX", HVCALL_FLUSH_SPACE_EX, 0,
	  HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES, 1, 0 },
	{ "FLUSH_LIST_EX", HVCALL_FLUSH_LIST_EX | HV_CTL_REP(1), 0,
	  HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES, 1, 1 },
	{ "SEND_IPI_EX", HVCALL_SEND_IPI_EX, 0x40, 0, 0, 0 },
};

/* Who may not use XMM registers does not learn that something else is wrong as well. */
static const u64 xmm_malformed[] = {
	HVCALL_FLUSH_LIST,
	HVCALL_FLUSH_LIST_EX,
	HVCALL_FLUSH_SPACE | HV_CTL_REP(1),
	HVCALL_FLUSH_SPACE | HV_CTL_VARHDR(1),
};
/* clang-format on */

static void check_xmm(bool offered)
{
	struct vm *vm = vm_of(1);
	struct vcpu *v = vm->vcpus[0];
	struct xmm_block *xmm = vm_alloc(vm, sizeof(*xmm));
	struct ops_page *p;
	u32 i;

	vcpu_set_bit(v, HV_F_XMM_INPUT, offered);
	p = vcpu_ops_init(v, 1);
	for (i = 0; i < ARRAY_SIZE(xmm_rows); i++) {
		const struct xmm_row *r = &xmm_rows[i];
		struct guest_op o;

		memset(xmm, 0, sizeof(*xmm));
		xmm->q[0] = r->xmm0;
		o = vcpu_op(v, p,
			    (struct guest_op){ .op = OP_HYPERCALL_XMM,
					       .arg0 = r->control | HV_CTL_FAST,
					       .arg1 = r->in,
					       .arg2 = r->out,
					       .xmm = xmm });
		ASSERT(o.vector == (offered ? 0 : UD_VECTOR), "%s: vector %u", r->name, o.vector);
		if (offered)
			ASSERT(o.result == (u64)r->reps << 32, "%s: 0x%llx", r->name,
			       (unsigned long long)o.result);
	}
	for (i = 0; i < ARRAY_SIZE(xmm_malformed); i++) {
		struct guest_op o = vcpu_op(v, p, OP_HC(xmm_malformed[i] | HV_CTL_FAST, 0, 0));

		ASSERT(o.vector == (offered ? 0 : UD_VECTOR), "0x%llx: vector %u",
		       (unsigned long long)xmm_malformed[i], o.vector);
		if (offered)
			ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_INPUT);
		/* Reserved bits come before. */
		o = vcpu_op(v, p, OP_HC(xmm_malformed[i] | HV_CTL_FAST | BIT64(27), 0, 0));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	/* A fast call that needs no XMM registers has no part in this. */
	ASSERT_EQ(vcpu_op(v, p, OP_HC(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 0)).vector, 0);
	vm_free(vm);
}

TEST(xmm_form_with_bit)
{
	check_xmm(true);
}

TEST(xmm_form_without_bit_is_ud)
{
	check_xmm(false);
}
