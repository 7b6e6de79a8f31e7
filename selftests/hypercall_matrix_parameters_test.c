// SPDX-License-Identifier: GPL-2.0-only
/*
 * The status matrix: parameters of each call, two things wrong at once, and what user space
 * answers to extended calls.
 */
#include <string.h>

#include "hypercall_matrix.h"

/* --- the matrix ---------------------------------------------------------- */

static void check_row(struct one *o, const struct row *r, u64 at)
{
	u32 form;

	if (!matrix_in_group(o, &r->answer))
		return;
	for (form = SLOW; form <= FAST; form++)
		if (r->forms & form)
			matrix_judge(o, "row", r->name, form, r->control,
				     matrix_issue(o, form, r->control, r->block, r->qwords, at),
				     &r->answer);
}

static void check_rows(const struct row *r, u32 n, const char *id)
{
	struct one o = matrix_vm(0, NO_DEBUGGER, id);
	u32 i;

	for (i = 0; i < n; i++)
		check_row(&o, &r[i], (u64)(uintptr_t)o.input);
	matrix_verdict(&o);
}

/* --- two things wrong: which of them is told ----------------------------- */

/* clang-format off */

#define BOTH (SLOW | FAST)
#define SPIN HVCALL_NOTIFY_LONG_SPIN_WAIT

static const struct row order_rows[] = {
	{ "reserved bits, rep count", BOTH, SPIN | BIT64(27) | HV_CTL_REP(1), 1, { 0 },
	  SAME(INPUT) },
	{ "unknown, reserved bits", BOTH, 0x3f | BIT64(63), 1, { 0 }, SAME(INPUT) },
	{ "unknown, nested", BOTH, 0x3f | BIT64(31), 1, { 0 }, SAME(INPUT) },
	{ "unknown, rep, variable header", BOTH, 0x3f | HV_CTL_START(1) | HV_CTL_VARHDR(1), 1,
	  { 0 }, SAME(CODE) },
	{ "rep count, bad flags", BOTH, HVCALL_FLUSH_SPACE | HV_CTL_REP(1), 3, { 0, BIT64(4), 1 },
	  SAME(INPUT) },
	{ "variable header, bad vector", BOTH, HVCALL_SEND_IPI | HV_CTL_VARHDR(1), 2, { 5, 1 },
	  SAME(INPUT) },
	{ "banks and variable header differ, bad vector", BOTH,
	  HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4, { 5, SPARSE, 3, 1 }, SAME(INPUT) },
	{ "reserved byte, bad vector", BOTH, HVCALL_SEND_IPI, 2, { 5 | BIT64(63), 1 },
	  SAME(INPUT) },
};

/* The input's address is wrong, and something that is checked before or after it. */
static const struct row address_order_rows[] = {
	{ "rep count", SLOW, HVCALL_FLUSH_SPACE | HV_CTL_REP(1), 3, { 0, 0, 1 }, SAME(INPUT) },
	{ "reserved bits", SLOW, HVCALL_SEND_IPI | BIT64(44), 2, { VECTOR, 1 }, SAME(INPUT) },
	{ "unknown", SLOW, 0x3f, 2, { VECTOR, 1 }, SAME(CODE) },
	{ "variable header", SLOW, HVCALL_SIGNAL_EVENT | HV_CTL_VARHDR(1), 1, { CONN },
	  SAME(INPUT) },
	{ "bad flags", SLOW, HVCALL_FLUSH_SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", ALIGN, OK) },
	{ "bad vector", SLOW, HVCALL_SEND_IPI, 2, { 5, 1 }, DIFF("K3", ALIGN, INPUT) },
	{ "banks and variable header differ", SLOW, HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4,
	  { VECTOR, SPARSE, 3, 1 }, DIFF("K3", ALIGN, INPUT) },
	{ "bad connection", SLOW, HVCALL_SIGNAL_EVENT, 1, { ~0ULL }, SAME(ALIGN) },
};

/* --- parameters ---------------------------------------------------------- */

#define SPACE	 HVCALL_FLUSH_SPACE
#define SPACE_EX HVCALL_FLUSH_SPACE_EX
#define LIST	 HVCALL_FLUSH_LIST
#define LIST_EX	 HVCALL_FLUSH_LIST_EX
#define VARHDR_N HV_CTL_VARHDR
#define REP_N	 HV_CTL_REP

static const struct row flush_rows[] = {
	/* Whom */
	{ "nobody: all", BOTH, SPACE, 3, { 0, 0, 0 }, SAME(OK) },
	{ "nobody, list", BOTH, LIST | REP_N(2), 5, { 0, 0, 0, 0x1000, 0x2000 }, SAME(REPS(2)) },
	{ "VPs that do not exist", BOTH, SPACE, 3, { 0, 0, BIT64(63) | BIT64(1) }, SAME(OK) },
	{ "all", BOTH, SPACE, 3, { 0, HV_FLUSH_ALL_PROCESSORS, 0 }, SAME(OK) },
	{ "empty set", BOTH, SPACE_EX, 4, { 0, 0, SPARSE, 0 }, SAME(OK) },
	{ "empty set, list", BOTH, LIST_EX | REP_N(2), 6, { 0, 0, SPARSE, 0, 0x1000, 0x2000 },
	  SAME(REPS(2)) },
	{ "empty bank", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, SPARSE, 1, 0 }, SAME(OK) },
	{ "all of nobody", BOTH, SPACE_EX, 4, { 0, HV_FLUSH_ALL_PROCESSORS, SPARSE }, SAME(OK) },
	{ "set of all", BOTH, SPACE_EX, 4, { 0, 0, ALL, 0 }, SAME(OK) },
	{ "set of all, list", BOTH, LIST_EX | REP_N(2), 6, { 0, 0, ALL, 0, 0x1000, 0x2000 },
	  SAME(REPS(2)) },
	{ "set of all with banks", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, ALL, BIT64(9), 1 },
	  SAME(OK) },
	{ "set of all, banks differ", BOTH, SPACE_EX, 4, { 0, 0, ALL, 1 }, SAME(INPUT) },
	{ "set of all, banks differ, list", BOTH, LIST_EX | REP_N(1) | VARHDR_N(1), 6,
	  { 0, 0, ALL, 0, 1, 0x1000 }, SAME(INPUT) },
	{ "VPs of the highest bank", BOTH, SPACE_EX | VARHDR_N(1), 5,
	  { 0, 0, SPARSE, BIT64(63), ~0ULL }, SAME(OK) },
	{ "as many banks as fit", BOTH, SPACE_EX | VARHDR_N(10), 14, { 0, 0, SPARSE, 0x3ff },
	  SAME(OK) },
	{ "one bank too many", FAST, SPACE_EX | VARHDR_N(11), 15, { 0, 0, SPARSE, 0x7ff },
	  SAME(INPUT) },
	/* The flag of each set, with and without list. */
	{ "format 2", BOTH, SPACE_EX, 4, { 0, 0, 2, 0 }, DIFF("K15", PARAM, OK) },
	{ "format 2 with a bank", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, 2, 1, 1 },
	  DIFF("K15", PARAM, OK) },
	{ "format 2^32", BOTH, SPACE_EX, 4, { 0, 0, BIT64(32), 0 }, DIFF("K15", PARAM, OK) },
	{ "format -1, list", BOTH, LIST_EX | REP_N(1), 5, { 0, 0, ~0ULL, 0, 0x1000 },
	  DIFF("K15", PARAM, REPS(1)) },
	/* What */
	{ "known flags", BOTH, SPACE, 3, { ~0ULL, 0xf, 1 }, SAME(OK) },
	{ "known flags, Ex", BOTH, SPACE_EX, 4, { ~0ULL, 0xf, ALL, 0 }, SAME(OK) },
	{ "flags of a list", BOTH, LIST | REP_N(1), 4,
	  { 0, HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES | HV_FLUSH_EXTENDED, 0, 0x1000 },
	  SAME(REPS(1)) },
	{ "flags of a list, Ex", BOTH, LIST_EX | REP_N(1), 5,
	  { 0, HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES | HV_FLUSH_EXTENDED, ALL, 0, 0x1000 },
	  SAME(REPS(1)) },
	{ "flag 4", BOTH, SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 31", BOTH, SPACE, 3, { 0, BIT64(31), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 32", BOTH, SPACE, 3, { 0, BIT64(32) | 3, 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 63", BOTH, SPACE, 3, { 0, BIT64(63), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 4, Ex", BOTH, SPACE_EX, 4, { 0, BIT64(4), ALL, 0 }, DIFF("K3", PARAM, OK) },
	{ "flag 63, Ex", BOTH, SPACE_EX, 4, { 0, BIT64(63), SPARSE, 0 }, DIFF("K3", PARAM, OK) },
	{ "flag 4, list", BOTH, LIST | REP_N(1), 4, { 0, BIT64(4), 1, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "flag 63, list Ex", BOTH, LIST_EX | REP_N(1), 5, { 0, BIT64(63), ALL, 0, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "non-global only, list", BOTH, LIST | REP_N(1), 4, { 0, FLUSH_NON_GLOBAL, 1, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "non-global only, list Ex", BOTH, LIST_EX | REP_N(1), 5,
	  { 0, FLUSH_NON_GLOBAL, ALL, 0, 0x1000 }, DIFF("K3", PARAM, REPS(1)) },
	/* The length of the list. Stock takes one that is too long for a flush of everything. */
	{ "start in the middle", BOTH, LIST | REP_N(10) | HV_CTL_START(5), 13, { 0, 0, 1 },
	  DIFF("K3", REPS(10), INPUT) },
	{ "longest fast list", BOTH, LIST | REP_N(11), 14, { 0, 0, 1 }, SAME(REPS(11)) },
	{ "longest fast list, Ex", BOTH, LIST_EX | VARHDR_N(1) | REP_N(9), 14,
	  { 0, 0, SPARSE, 1, 1 }, SAME(REPS(9)) },
	{ "fast list, one entry too long", FAST, LIST | REP_N(12), 15, { 0, 0, 1 },
	  DIFF2("K3", INPUT, INPUT, REPS(12)) },
	{ "fast list, one entry too long, Ex", FAST, LIST_EX | VARHDR_N(1) | REP_N(10), 15,
	  { 0, 0, SPARSE, 1, 1 }, DIFF2("K3", INPUT, INPUT, REPS(10)) },
	{ "fast list, much too long", FAST, LIST | REP_N(16), 19, { 0, 0, 1 },
	  DIFF("K3", INPUT, REPS(16)) },
	{ "fast list, longest count", FAST, LIST | REP_N(0xfff), 19, { 0, 0, 1 },
	  DIFF("K3", INPUT, REPS(0xfff)) },
	{ "list longer than a page", SLOW, LIST | REP_N(0xfff), 3, { 0, 0, 1 },
	  DIFF("K3", ALIGN, REPS(0xfff)) },
	{ "list longer than a page by one", SLOW, LIST | REP_N(510), 3, { 0, 0, 1 },
	  DIFF("K3", ALIGN, REPS(510)) },
};

#define IPI	  HVCALL_SEND_IPI
#define IPI_EX	  HVCALL_SEND_IPI_EX
#define VTL(n)	  ((u64)(n) << 32)
#define PADDING(n) ((u64)(n) << 40)

static const struct row ipi_rows[] = {
	{ "lowest vector", BOTH, IPI, 2, { 0x10, 1 }, SAME(OK) },
	{ "highest vector", BOTH, IPI, 2, { 0xff, 1 }, SAME(OK) },
	{ "nobody", BOTH, IPI, 2, { VECTOR, 0 }, SAME(OK) },
	{ "VPs that do not exist", BOTH, IPI, 2, { VECTOR, ~1ULL }, SAME(OK) },
	{ "vector 15", BOTH, IPI, 2, { 0x0f, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 2", BOTH, IPI, 2, { 0x02, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 256", BOTH, IPI, 2, { 0x100, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0x140", BOTH, IPI, 2, { 0x140, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector -1", BOTH, IPI, 2, { 0xffffffff, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 1, nobody", BOTH, IPI, 2, { 1, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0", BOTH, IPI, 2, { 0, 1 }, SAME(INPUT) },
	{ "vector 0, nobody", BOTH, IPI, 2, { 0, 0 }, SAME(INPUT) },
	/* Stock looks at these in one form only. */
	{ "TargetVtl", FAST, IPI, 2, { VECTOR | VTL(1), 1 }, SAME(INPUT) },
	{ "TargetVtl", SLOW, IPI, 2, { VECTOR | VTL(1), 1 }, DIFF("K14", INPUT, OK) },
	{ "use of TargetVtl", SLOW, IPI, 2, { VECTOR | VTL(0x10), 1 }, DIFF("K14", INPUT, OK) },
	{ "padding", FAST, IPI, 2, { VECTOR | PADDING(1), 1 }, SAME(INPUT) },
	{ "padding", SLOW, IPI, 2, { VECTOR | PADDING(1), 1 }, DIFF("K14", INPUT, OK) },
	{ "last padding", SLOW, IPI, 2, { VECTOR | BIT64(63), 1 }, DIFF("K14", INPUT, OK) },

	{ "lowest vector, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0x10, SPARSE, 1, 1 }, SAME(OK) },
	{ "highest vector, Ex", BOTH, IPI_EX, 3, { 0xff, ALL, 0 }, SAME(OK) },
	{ "empty set", BOTH, IPI_EX, 3, { VECTOR, SPARSE, 0 }, SAME(OK) },
	{ "empty bank", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, SPARSE, 1, 0 }, SAME(OK) },
	{ "VPs that do not exist, Ex", BOTH, IPI_EX | VARHDR_N(2), 5,
	  { VECTOR, SPARSE, BIT64(17) | BIT64(63), ~0ULL, ~0ULL }, SAME(OK) },
	{ "all with banks", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, ALL, BIT64(9), 1 }, SAME(OK) },
	{ "all, banks differ", BOTH, IPI_EX, 3, { VECTOR, ALL, 1 }, SAME(INPUT) },
	{ "all, banks differ, too", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, ALL, 0, 1 },
	  SAME(INPUT) },
	{ "as many banks as fit", BOTH, IPI_EX | VARHDR_N(11), 14, { VECTOR, SPARSE, 0x7ff },
	  SAME(OK) },
	{ "one bank too many", FAST, IPI_EX | VARHDR_N(12), 15, { VECTOR, SPARSE, 0xfff },
	  SAME(INPUT) },
	{ "one bank too many, of all", FAST, IPI_EX | VARHDR_N(12), 15, { VECTOR, ALL, 0xfff },
	  DIFF("K3", INPUT, OK) },
	{ "format 2", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, 2, 1, 1 }, DIFF("K15", PARAM, OK) },
	{ "format 2, empty", BOTH, IPI_EX, 3, { VECTOR, 2, 0 }, DIFF("K15", PARAM, OK) },
	{ "format 2^32", BOTH, IPI_EX, 3, { VECTOR, BIT64(32), 0 }, DIFF("K15", PARAM, OK) },
	{ "vector 15, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0x0f, SPARSE, 1, 1 },
	  DIFF("K14", PARAM, INPUT) },
	{ "vector 256, all", BOTH, IPI_EX, 3, { 0x100, ALL, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 15, empty set", BOTH, IPI_EX, 3, { 0x0f, SPARSE, 0 }, DIFF("K14", PARAM, OK) },
	{ "vector 0, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0, SPARSE, 1, 1 },
	  DIFF("K14", PARAM, INPUT) },
	{ "vector 0, all", BOTH, IPI_EX, 3, { 0, ALL, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0, empty set", BOTH, IPI_EX, 3, { 0, SPARSE, 0 }, SAME(OK) },
	{ "TargetVtl, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR | VTL(1), SPARSE, 1, 1 },
	  DIFF("K14", INPUT, OK) },
	{ "padding, all", BOTH, IPI_EX, 3, { VECTOR | PADDING(1), ALL, 0 },
	  DIFF("K14", INPUT, OK) },
	{ "last padding, empty set", BOTH, IPI_EX, 3, { VECTOR | BIT64(63), SPARSE, 0 },
	  DIFF("K14", INPUT, OK) },
};

/* Without a local APIC in the kernel there is nobody to interrupt. */
static const struct row no_apic_rows[] = {
	{ "good", BOTH, IPI, 2, { VECTOR, 1 }, SAME(INPUT) },
	{ "nobody", BOTH, IPI, 2, { VECTOR, 0 }, SAME(INPUT) },
	{ "bad vector", BOTH, IPI, 2, { 5, 1 }, SAME(INPUT) },
	{ "good, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INPUT) },
	{ "all", BOTH, IPI_EX, 3, { VECTOR, ALL, 0 }, SAME(INPUT) },
	{ "empty set", BOTH, IPI_EX, 3, { VECTOR, SPARSE, 0 }, SAME(INPUT) },
	{ "a flush is no IPI", BOTH, SPACE, 3, { 0, 0, 0 }, SAME(OK) },
};

/* clang-format on */

TEST(order_of_checks)
{
	check_rows(order_rows, ARRAY_SIZE(order_rows), NULL);
}

static void check_address_order(const char *id)
{
	struct one o = matrix_vm(0, NO_DEBUGGER, id);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(address_order_rows); i++)
		check_row(&o, &address_order_rows[i], (u64)(uintptr_t)o.input + 4);
	matrix_verdict(&o);
}

TEST(order_of_checks_unaligned)
{
	check_address_order(NULL);
}

TEST_KNOWN(order_of_checks_unaligned_k3, "K3")
{
	check_address_order("K3");
}

/* Alignment is checked before the memory. */
TEST_KNOWN(unaligned_outside_memory, "K3")
{
	static const struct row row = {
		"unaligned", SLOW, SPACE, 3, { 0 }, DIFF("K3", ALIGN, INPUT)
	};
	static const u64 at[] = { GPA_NOWHERE + 1, GPA_NOWHERE + PAGE_SIZE - 8 };
	struct one o = matrix_vm(0, NO_DEBUGGER, "K3");
	u32 i;

	for (i = 0; i < ARRAY_SIZE(at); i++)
		check_row(&o, &row, at[i]);
	matrix_verdict(&o);
}

TEST(flush_parameters)
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), NULL);
}

TEST_KNOWN(flush_parameters_k3, "K3")
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), "K3");
}

TEST_KNOWN(flush_parameters_k15, "K15")
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), "K15");
}

TEST(ipi_parameters)
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), NULL);
}

TEST_KNOWN(ipi_parameters_k3, "K3")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K3");
}

TEST_KNOWN(ipi_parameters_k14, "K14")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K14");
}

TEST_KNOWN(ipi_parameters_k15, "K15")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K15");
}

TEST(without_local_apic)
{
	struct one o = matrix_vm(VM_NO_IRQCHIP, NO_DEBUGGER, NULL);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(no_apic_rows); i++)
		check_row(&o, &no_apic_rows[i], (u64)(uintptr_t)o.input);
	matrix_verdict(&o);
}

/* The most banks and the longest list that a page holds, each in a page of its own. */
TEST(whole_page_of_input)
{
	struct one o = matrix_vm(0, NO_DEBUGGER, NULL);
	u64 *block = (u64 *)o.input;
	struct guest_op op;
	u32 i;

	block[0] = VECTOR;
	block[1] = SPARSE;
	block[2] = ~0ULL;
	for (i = 0; i < 64; i++)
		block[3 + i] = 0;
	op = vcpu_op(o.vcpu, o.ops, OP_HC(IPI_EX | VARHDR_N(64), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, OK);

	memset(block, 0, PAGE_SIZE);
	op = vcpu_op(o.vcpu, o.ops, OP_HC(LIST | REP_N(509), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, REPS(509));
	block[2] = ALL;
	op = vcpu_op(o.vcpu, o.ops, OP_HC(LIST_EX | REP_N(508), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, REPS(508));
	vm_free(o.vm);
}

/* --- extended calls: user space's answers --------------------------------- */

#define QUERY  ((u64)HVCALL_EXT_QUERY_CAPABILITIES)
#define CANARY 0x5a5a5a5a5a5a5a5aULL

/* One call to user space, which answers @answer; the guest's result. */
static u64 answered(struct one *o, u64 control, u64 in, u64 out, u64 answer)
{
	struct kvm_run *run = o->vcpu->run;
	u32 cmd;

	o->ops->ops[0] = OP_HC(control, in, out);
	o->ops->nr = 1;
	cmd = vcpu_run(o->vcpu);
	if (cmd == GUEST_SYNC_CMD)
		return o->ops->ops[0].result;
	ASSERT_EQ(cmd, RUN_EXIT(KVM_EXIT_HYPERV));
	ASSERT_EQ(run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(run->hyperv.u.hcall.input, control);
	ASSERT_EQ(run->hyperv.u.hcall.params[0], in);
	ASSERT_EQ(run->hyperv.u.hcall.params[1], out);
	run->hyperv.u.hcall.result = answer;
	ASSERT_EQ(vcpu_run(o->vcpu), GUEST_SYNC_CMD);
	ASSERT_EQ(o->ops->ops[0].vector, 0);
	return o->ops->ops[0].result;
}

TEST_KNOWN_IF(extended_calls_get_user_space_answers, "D11", host_is_6_1)
{
	static const u64 answers[] = { OK,
				       INPUT,
				       ALIGN,
				       PARAM,
				       HV_STATUS_ACCESS_DENIED,
				       DENIED,
				       REPS(7) | PARAM,
				       0x123456789abcdef0ULL };
	static const u64 controls[] = { QUERY, QUERY + 1, EXT_LAST,
					(QUERY + 1) | REP_N(3) | VARHDR_N(2) };
	struct one o = matrix_vm(0, NO_DEBUGGER, NULL);
	u64 *out = (u64 *)o.input, got;
	u32 i, j;

	out[1] = CANARY;
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		for (j = 0; j < ARRAY_SIZE(answers); j++) {
			got = answered(&o, controls[i], 0x1234567890abcdefULL,
				       (u64)(uintptr_t)&out[1], answers[j]);
			ASSERT_KNOWN(got == answers[j], "0x%llx instead of 0x%llx",
				     (unsigned long long)got, (unsigned long long)answers[j]);
		}
	}
	/* "Unknown" is passed on as well, except for the query. */
	for (i = 1; i < ARRAY_SIZE(controls); i++)
		ASSERT_EQ(answered(&o, controls[i], ~0ULL, (u64)(uintptr_t)&out[1], CODE), CODE);
	ASSERT_EQ(out[1], CANARY);
	vm_free(o.vm);
}

/* User space that does not know the exit at all, and runs the VP again. */
TEST_KNOWN(call_that_user_space_does_not_answer, "K41")
{
	struct one o = matrix_vm(0, NO_DEBUGGER, NULL);
	struct kvm_run *run = o.vcpu->run;
	u64 *message = (u64 *)o.input;

	message[0] = 0;
	message[1] = 1 | 8ULL << 32; /* type, size */
	o.ops->ops[0] = OP_HC(HVCALL_POST_MESSAGE, (u64)(uintptr_t)message, 0);
	o.ops->nr = 1;
	memset(&run->hyperv, 0, sizeof(run->hyperv));
	ASSERT_EQ(vcpu_run(o.vcpu), RUN_EXIT(KVM_EXIT_HYPERV));
	ASSERT_EQ(run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(vcpu_run(o.vcpu), GUEST_SYNC_CMD);
	ASSERT_KNOWN(o.ops->ops[0].result == CODE, "status 0x%llx",
		     (unsigned long long)o.ops->ops[0].result);
	vm_free(o.vm);
}

/* User space that does not know the query: there are no capabilities. */
TEST_KNOWN(query_that_user_space_does_not_know, "D24")
{
	struct one o = matrix_vm(0, NO_DEBUGGER, NULL);
	u64 *out = (u64 *)o.input, got;
	u32 i;

	/* The output may lie anywhere in a page. */
	for (i = 1; i < 512; i += 510) {
		out[i - 1] = CANARY;
		out[i] = CANARY;
		out[i + 1] = CANARY;
		got = answered(&o, QUERY, 0, (u64)(uintptr_t)&out[i], CODE);
		ASSERT_KNOWN(got == OK, "status 0x%llx", (unsigned long long)got);
		ASSERT_EQ(out[i], 0);
		ASSERT_EQ(out[i - 1], CANARY);
		ASSERT_EQ(out[i + 1], CANARY);
	}
	vm_free(o.vm);
}

TEST_KNOWN(query_with_a_bad_output_address, "D24")
{
	static const struct {
		u64 offset, status;
	} rows[] = { { 4, ALIGN }, { PAGE_SIZE - 4, ALIGN }, { 1, ALIGN } };
	struct one o = matrix_vm(0, NO_DEBUGGER, NULL);
	u64 base = (u64)(uintptr_t)o.input, got;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		got = answered(&o, QUERY, 0, base + rows[i].offset, CODE);
		ASSERT_KNOWN(got == rows[i].status, "status 0x%llx", (unsigned long long)got);
	}
	ASSERT_EQ(answered(&o, QUERY, 0, GPA_NOWHERE, CODE), INPUT);
	ASSERT_EQ(answered(&o, QUERY, 0, 0xfffffffffffff000ULL, CODE), INPUT);
	vm_free(o.vm);
}
