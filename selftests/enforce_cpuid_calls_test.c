// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_CAP_HYPERV_ENFORCE_CPUID: every hypercall against the CPUID bits that grant it. One table
 * row each; the stages are made from the rows.
 */
#include <string.h>

#include "enforce.h"
#include "tables.h"

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
	struct vm *vm = enforcing_vm(ARRAY_SIZE(hcalls));
	u32 i;

	for (i = 0; i < ARRAY_SIZE(hcalls); i++) {
		const struct hcall_row *r = &hcalls[i];
		struct vcpu *v = vm->vcpus[i];

		if (!row_offered(r)) {
			ktap_log("%s: not offered by this kernel", r->name);
			continue;
		}
		cpuid_all_off(v, r->need[0] == HV_F_DEBUGGING);
		need_assign(v, r->need[0], true, 0);
		need_assign(v, r->need[1], true, 0);
		vcpu_set_cpuid(v);
		expect_hcall(v, r, r->status, r->reps, "with only its bits");
	}
	vm_free(vm);
}

static void check_denied(u32 which, u32 spins)
{
	struct vm *vm = enforcing_vm(ARRAY_SIZE(hcalls));
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

/* The privilege check comes first: a malformed call without its privilege is denied. */
TEST(gate_comes_before_form)
{
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	struct guest_op o;

	cpuid_all_off(v, false);
	vcpu_set_cpuid(v);
	p = vcpu_ops_init(v, 1);
	o = vcpu_op(v, p, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | BIT64(60), 0, 0));
	ASSERT_EQ(o.result, HV_STATUS_ACCESS_DENIED);
	o = vcpu_op(v, p, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_REP(1), 0, 0));
	ASSERT_EQ(o.result, HV_STATUS_ACCESS_DENIED);
	vm_free(vm);
}

/* Without its CPUID bit the extended format's flag is an unknown flag. */
TEST_KNOWN(extended_ranges_need_their_bit, "K3")
{
	u64 flags = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_EXTENDED;
	struct vm *vm = enforcing_vm(2);
	struct guest_op o;
	u32 i;

	for (i = 0; i < 2; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct ops_page *p;

		cpuid_all_off(v, false);
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

/* Unknown codes need no privilege: they are reported as unknown. */
TEST(unknown_code_passes_gate)
{
	static const u32 codes[] = { 0, 7, 0x7777, 0xffff };
	struct vm *vm = enforcing_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p;
	u32 i;

	cpuid_all_off(v, false);
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
	struct vm *vm = enforcing_vm(2);
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

/* Without the XMM privilege a call is #UD, whatever else is wrong with it. */
static const u64 xmm_malformed[] = {
	HVCALL_FLUSH_LIST,
	HVCALL_FLUSH_LIST_EX,
	HVCALL_FLUSH_SPACE | HV_CTL_REP(1),
	HVCALL_FLUSH_SPACE | HV_CTL_VARHDR(1),
};
/* clang-format on */

static void check_xmm(bool offered)
{
	struct vm *vm = enforcing_vm(1);
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
		/* Reserved bits are checked before that. */
		o = vcpu_op(v, p, OP_HC(xmm_malformed[i] | HV_CTL_FAST | BIT64(27), 0, 0));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	/* A fast call that needs no XMM registers does not need the privilege. */
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

/* --- rows that no KVM has ------------------------------------------------------------ */

/* clang-format off */
/* One of the two is enough (TLFS, chapter "Nested Virtualization"). */
#define GPA_FLUSH { HV_N_GPA_FLUSH, HV_N_NPT_TLB }

static const struct table_row new_calls[] = {
	{ .name = "FLUSH_GPA_SPACE", .number = HVCALL_FLUSH_GPA_SPACE, .count = 1,
	  .flags = "need-any", .needs = GPA_FLUSH },
	{ .name = "FLUSH_GPA_LIST", .number = HVCALL_FLUSH_GPA_LIST, .count = 1,
	  .flags = "need-any", .needs = GPA_FLUSH },
};
/* clang-format on */

static bool in_list(u32 code)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(new_calls); i++) {
		if (code == new_calls[i].number)
			return true;
	}
	for (i = 0; i < ARRAY_SIZE(hcalls); i++) {
		if (code == (hcalls[i].control & CODE_MASK))
			return true;
	}
	return false;
}

/* The gate comes before the form: with a wrong form no handler says anything. */
static void expect_table_call(struct vcpu *v, const struct table_row *r, bool allowed,
			      const char *what)
{
	struct ops_page *p;
	u32 i;

	vcpu_set_cpuid(v);
	p = vcpu_ops_init(v, 1);
	for (i = 0; i < r->count; i++) {
		struct guest_op o = vcpu_op(v, p, OP_HC((r->number + i) | BIT64(60), 0, 0));

		ASSERT(!o.vector && o.result == (allowed ? HV_STATUS_INVALID_HYPERCALL_INPUT :
							   HV_STATUS_ACCESS_DENIED),
		       "%s %s: vector %u, result 0x%llx", r->name, what, o.vector,
		       (unsigned long long)o.result);
	}
}

static void check_table_call(const struct table_row *r)
{
	struct vm *vm = enforcing_vm(3 + MAX_NEEDS);
	struct vcpu **v = vm->vcpus;
	u32 i;

	cpuid_all_off(v[0], true);
	table_show(v[0], r, true);
	expect_table_call(v[0], r, true, "with only its bits");
	/* A hidden call may need nothing. */
	if (r->needs[0]) {
		table_show(v[1], r, false);
		expect_table_call(v[1], r, false, "with all but its bits");
	}
	table_show(v[2], r, false);
	vcpu_enforce_cpuid(v[2], false);
	expect_table_call(v[2], r, true, "without enforcement");
	for (i = 0; i < MAX_NEEDS && r->needs[i]; i++) {
		bool any = table_flag(r, "need-any");

		/* Of which one is enough, or must not be missing. */
		table_show(v[3 + i], r, !any);
		table_show_one(v[3 + i], r, i, any);
		expect_table_call(v[3 + i], r, any,
				  any ? "with one of its bits" : "without one of its bits");
	}
	vm_free(vm);
}

TEST(calls_that_no_kvm_has)
{
	u32 i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < ARRAY_SIZE(new_calls); i++)
		check_table_call(&new_calls[i]);
}

/* --- rows of the module that are not in the list ------------------------------------- */

TEST(rows_that_are_not_listed)
{
	static struct table_row rows[MAX_TABLE_ROWS];
	u32 n = table_unlisted(rows, true, in_list), i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < n; i++)
		check_table_call(&rows[i]);
}
