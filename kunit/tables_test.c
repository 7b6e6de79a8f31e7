// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables as they are: rows sorted, disjoint and valid, every number found by its row and by no
 * other. What khv_tables_check() says of broken tables is tables_check_test.c's.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/tables.h"

static void msr_desc(const struct khv_msr_row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

static void hc_desc(const struct khv_hc_row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

static void enl_desc(const struct khv_enl_row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(msr, khv_msrs, msr_desc);
KUNIT_ARRAY_PARAM(hc, khv_hcs, hc_desc);
KUNIT_ARRAY_PARAM(enl, khv_enls, enl_desc);

static int suite_init(struct kunit_suite *suite)
{
	unsigned int len;
	const char *bad;

	return khv_hc_list("all", &len) ? -EINVAL : khv_tables_check(&bad);
}

static void tables_check_passes(struct kunit *test)
{
	const char *bad = "not set";

	KUNIT_EXPECT_EQ(test, khv_tables_check(&bad), 0);
	KUNIT_EXPECT_NULL(test, bad);
	/* The look-ups are built anew, not added to. */
	KUNIT_EXPECT_EQ(test, khv_tables_check(&bad), 0);
}

/* The search that the indices replace: which rows claim this number? */
static int claims_msr(u32 msr, unsigned int *count)
{
	int found = -1;
	unsigned int i;

	*count = 0;
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		const struct khv_msr_row *row = &khv_msrs[i];
		u32 distance = msr - row->first;

		if (msr < row->first || distance % row->stride ||
		    distance / row->stride >= row->count)
			continue;
		found = i;
		(*count)++;
	}
	return found;
}

static void msr_find_every_number(struct kunit *test)
{
	/* clang-format off */
	static const u32 far[] = { 0, 0x10, 0x174, 0x3fffffff, 0x40010000, 0x7fffffff, 0x80000000,
				   0x8000001b, 0xbfffffff, 0xc0000000, 0xc0000080, 0xffffffff };
	/* clang-format on */
	unsigned int claims, i;
	u32 msr;

	for (msr = 0x3ffffe00; msr < 0x40002000; msr++) {
		int row = claims_msr(msr, &claims);

		KUNIT_ASSERT_LE_MSG(test, claims, 1, "MSR 0x%x has several rows", msr);
		KUNIT_ASSERT_EQ_MSG(test, khv_msr_find(msr), row, "MSR 0x%x", msr);
	}
	for (i = 0; i < ARRAY_SIZE(far); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_msr_find(far[i]), -1, "MSR 0x%x", far[i]);
}

static void hc_find_every_code(struct kunit *test)
{
	u32 code;

	for (code = 0; code <= 0xffff; code++) {
		int row = -1;
		unsigned int i, claims = 0;

		for (i = 0; i < KHV_NR_HC_ROWS; i++) {
			if (code < khv_hcs[i].code || code - khv_hcs[i].code >= khv_hcs[i].count)
				continue;
			row = i;
			claims++;
		}
		KUNIT_ASSERT_LE_MSG(test, claims, 1, "code 0x%x has several rows", code);
		KUNIT_ASSERT_EQ_MSG(test, khv_hc_find(code), row, "code 0x%x", code);
	}
}

static u64 hidden_rows(void)
{
	unsigned int i;
	u64 rows = 0;

	for (i = 0; i < KHV_NR_HC_ROWS; i++)
		rows |= khv_hcs[i].flags & KHV_HIDDEN ? BIT_ULL(i) : 0;
	return rows;
}

/* List calls as the module parameter does: those that are hidden, and only those, depend on it. */
static void expect_listed(struct kunit *test, const char *names, u64 rows)
{
	const char *bad;
	unsigned int i, len;

	KUNIT_EXPECT_TRUE_MSG(test, !khv_hc_list(names, &len), "%s", names);
	KUNIT_EXPECT_EQ_MSG(test, khv_hc_listed, rows, "%s", names);
	KUNIT_ASSERT_EQ(test, khv_tables_check(&bad), 0);
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		bool shown = !(khv_hcs[i].flags & KHV_HIDDEN) || (rows & BIT_ULL(i));

		KUNIT_EXPECT_EQ_MSG(test, khv_hc_shown(i), shown, "%s", khv_hcs[i].name);
		KUNIT_EXPECT_EQ_MSG(test, khv_hc_find(khv_hcs[i].code), shown ? (int)i : -1, "%s",
				    khv_hcs[i].name);
	}
}

static void hidden_calls(struct kunit *test)
{
	const u64 get = BIT_ULL(KHV_HC_ROW_GET_VP_REGISTERS);
	const u64 apic = BIT_ULL(KHV_HC_ROW_GET_VP_INDEX_FROM_APIC_ID);
	const u64 retarget = BIT_ULL(KHV_HC_ROW_RETARGET_DEVICE_INTERRUPT);

	expect_listed(test, "", 0);
	KUNIT_EXPECT_FALSE(test, khv_has_fast_output());
	KUNIT_EXPECT_FALSE(test, khv_enl_has_call(KHV_ENL_VP_REGISTERS));
	KUNIT_EXPECT_FALSE(test, khv_enl_has_call(KHV_ENL_EXTRA_CALLS));
	KUNIT_EXPECT_TRUE(test, khv_enl_has_call(KHV_ENL_IPI));
	/* Neither has output in a fast form. */
	expect_listed(test, "RETARGET_DEVICE_INTERRUPT,SET_VP_REGISTERS",
		      retarget | BIT_ULL(KHV_HC_ROW_SET_VP_REGISTERS));
	KUNIT_EXPECT_FALSE(test, khv_has_fast_output());
	KUNIT_EXPECT_TRUE(test, khv_enl_has_call(KHV_ENL_VP_REGISTERS));
	expect_listed(test, "GET_VP_REGISTERS", get);
	KUNIT_EXPECT_TRUE(test, khv_has_fast_output());
	KUNIT_EXPECT_FALSE(test, khv_enl_has_call(KHV_ENL_EXTRA_CALLS));
	expect_listed(test, "GET_VP_INDEX_FROM_APIC_ID,GET_VP_REGISTERS,", get | apic);
	expect_listed(test, "all", hidden_rows());
	expect_listed(test, "GET_VP_REGISTERS,all", hidden_rows());
}

/* Nothing is listed by a list of which one name is wrong. */
static void names_that_are_not_hidden(struct kunit *test)
{
	static const struct {
		const char *names;
		unsigned int at, len;
	} bad[] = {
		{ "SEND_IPI", 0, 8 },
		{ "GET_VP_REGISTER", 0, 15 },
		{ "GET_VP_REGISTERS_", 0, 17 },
		{ "get_vp_registers", 0, 16 },
		{ "al", 0, 2 },
		{ "alll", 0, 4 },
		{ ",", 0, 0 },
		{ "GET_VP_REGISTERS, all", 17, 4 },
		{ "GET_VP_REGISTERS,,SET_VP_REGISTERS", 17, 0 },
	};
	unsigned int i, len;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_TRUE_MSG(test,
				      khv_hc_list(bad[i].names, &len) == bad[i].names + bad[i].at,
				      "%s", bad[i].names);
		KUNIT_EXPECT_EQ(test, len, bad[i].len);
		KUNIT_EXPECT_EQ(test, khv_hc_listed, 0);
	}
	suite_init(NULL);
}

static unsigned int privs(const struct khv_priv *need)
{
	unsigned int n = 0;

	while (n < KHV_MAX_PRIVS && need[n].reg != KHV_CPUID_NONE)
		n++;
	return n;
}

static void expect_privs_valid(struct kunit *test, const struct khv_priv *need)
{
	unsigned int i, k, n = privs(need);

	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_LT(test, need[i].reg, KHV_NR_CPUID_REGS);
		KUNIT_EXPECT_LE(test, need[i].bit, KHV_WHOLE_REG);
		for (k = 0; k < i; k++)
			KUNIT_EXPECT_FALSE_MSG(test,
					       need[i].reg == need[k].reg &&
						       need[i].bit == need[k].bit,
					       "privilege %u is named twice", i);
	}
	/* Nothing stands behind the end of the list. */
	for (i = n; i < KHV_MAX_PRIVS; i++) {
		KUNIT_EXPECT_EQ(test, need[i].reg, KHV_CPUID_NONE);
		KUNIT_EXPECT_EQ(test, need[i].bit, 0);
	}
}

static void msr_row(struct kunit *test)
{
	const struct khv_msr_row *row = test->param_value;
	int id = row - khv_msrs;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, row->name);
	KUNIT_ASSERT_GE(test, row->count, 1);
	KUNIT_ASSERT_GE(test, row->stride, 1);
	KUNIT_EXPECT_GE(test, row->first, 0x40000000);
	KUNIT_EXPECT_LT(test, row->enl, KHV_NR_ENLS);
	KUNIT_EXPECT_GE_MSG(test, privs(row->need), 1, "no privilege guards it");
	expect_privs_valid(test, row->need);
	if (id > 0)
		KUNIT_EXPECT_GT(test, row->first, khv_msrs[id - 1].first);

	KUNIT_EXPECT_EQ(test,
			row->flags & ~(KHV_MSR_RO | KHV_MSR_VM | KHV_MSR_UNROUTED |
				       KHV_MSR_RESTORE_ANY | KHV_MSR_OVERLAY | KHV_MSR_ATOMIC_RD |
				       KHV_MSR_ATOMIC_WR | KHV_MSR_SHOWN),
			0);
	KUNIT_EXPECT_FALSE(test, (row->flags & KHV_MSR_RO) && (row->flags & KHV_MSR_ATOMIC_WR));
	/* Reserved bits are checked on a guest's write, which a read-only register has not. */
	if (row->flags & KHV_MSR_RO)
		KUNIT_EXPECT_EQ(test, row->reserved, 0);

	for (i = 0; i < row->count; i++)
		KUNIT_EXPECT_EQ(test, khv_msr_find(row->first + i * row->stride), id);
}

static void hc_row(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	int id = row - khv_hcs;

	KUNIT_ASSERT_NOT_NULL(test, row->name);
	KUNIT_ASSERT_GE(test, row->count, 1);
	KUNIT_EXPECT_LT(test, row->enl, KHV_NR_ENLS);
	if (!(row->flags & KHV_HIDDEN))
		KUNIT_EXPECT_GE_MSG(test, privs(row->need), 1, "no privilege guards it");
	expect_privs_valid(test, row->need);
	if (id > 0)
		KUNIT_EXPECT_GE(test, row->code, khv_hcs[id - 1].code + khv_hcs[id - 1].count);

	/* Rep calls have an element, simple calls have none. */
	KUNIT_EXPECT_EQ(test, !!(row->flags & KHV_REP), row->rep != 0);
	if (row->flags & KHV_XMM)
		KUNIT_EXPECT_TRUE(test, row->flags & KHV_FAST);
	if (row->flags & KHV_FAST)
		KUNIT_EXPECT_LE(test, row->hdr, row->flags & KHV_XMM ? 112 : 16);
	/* Whose form is not checked here has none here. */
	if (row->flags & KHV_ANY_FORM) {
		KUNIT_EXPECT_EQ(test, row->flags & (KHV_FAST | KHV_XMM | KHV_VARHDR | KHV_REP), 0);
		KUNIT_EXPECT_EQ(test, row->hdr + row->rep, 0);
	}
	/* A header is made of 8-byte units, an element of 4-byte ones; one page holds them. */
	KUNIT_EXPECT_EQ(test, row->hdr % 8, 0);
	KUNIT_EXPECT_EQ(test, row->rep % 4, 0);
	KUNIT_EXPECT_EQ(test, row->rep_out % 4, 0);
	if (row->rep_out)
		KUNIT_EXPECT_TRUE(test, row->flags & KHV_EACH);
	KUNIT_EXPECT_LE(test, row->hdr + row->rep, 4096);

	KUNIT_EXPECT_EQ(test, khv_hc_find(row->code), id);
	KUNIT_EXPECT_EQ(test, khv_hc_find(row->code + row->count - 1), id);
}

static void enl_row(struct kunit *test)
{
	const struct khv_enl_row *row = test->param_value;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, row->name);
	KUNIT_ASSERT_NOT_NULL(test, row->id);
	KUNIT_EXPECT_EQ(test, strncmp(row->name, "hv-", 3), 0);
	KUNIT_EXPECT_LE(test, row->cond, KHV_COND_FAST_OUTPUT);
	expect_privs_valid(test, row->offer);
	for (i = 0; &khv_enls[i] != row; i++)
		KUNIT_EXPECT_NE_MSG(test, strcmp(row->name, khv_enls[i].name), 0,
				    "name given twice");

	/* What has a row here is answered here. */
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (&khv_enls[khv_msrs[i].enl] == row)
			KUNIT_EXPECT_EQ(test, row->answer, KHV_ANSWER_MODULE);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (&khv_enls[khv_hcs[i].enl] == row)
			KUNIT_EXPECT_EQ(test, row->answer, KHV_ANSWER_MODULE);
	}
}

/*
 * What must not change by accident: the numbers are those of the TLFS. One line a register, the
 * first and the last of an array.
 */
static void msr_numbers(struct kunit *test)
{
	static const struct {
		u32 msr;
		unsigned int row;
	} known[] = {
		{ 0x40000000, KHV_MSR_ROW_GUEST_OS_ID },
		{ 0x40000001, KHV_MSR_ROW_HYPERCALL },
		{ 0x40000002, KHV_MSR_ROW_VP_INDEX },
		{ 0x40000003, KHV_MSR_ROW_RESET },
		{ 0x40000010, KHV_MSR_ROW_VP_RUNTIME },
		{ 0x40000020, KHV_MSR_ROW_TIME_REF_COUNT },
		{ 0x40000021, KHV_MSR_ROW_REFERENCE_TSC },
		{ 0x40000022, KHV_MSR_ROW_TSC_FREQUENCY },
		{ 0x40000023, KHV_MSR_ROW_APIC_FREQUENCY },
		{ 0x40000070, KHV_MSR_ROW_EOI },
		{ 0x40000071, KHV_MSR_ROW_ICR },
		{ 0x40000072, KHV_MSR_ROW_TPR },
		{ 0x40000073, KHV_MSR_ROW_VP_ASSIST_PAGE },
		{ 0x40000080, KHV_MSR_ROW_SCONTROL },
		{ 0x40000081, KHV_MSR_ROW_SVERSION },
		{ 0x40000082, KHV_MSR_ROW_SIEFP },
		{ 0x40000083, KHV_MSR_ROW_SIMP },
		{ 0x40000084, KHV_MSR_ROW_EOM },
		{ 0x40000090, KHV_MSR_ROW_SINT },
		{ 0x4000009f, KHV_MSR_ROW_SINT },
		{ 0x400000b0, KHV_MSR_ROW_STIMER_CONFIG },
		{ 0x400000b6, KHV_MSR_ROW_STIMER_CONFIG },
		{ 0x400000b1, KHV_MSR_ROW_STIMER_COUNT },
		{ 0x400000b7, KHV_MSR_ROW_STIMER_COUNT },
		{ 0x400000f1, KHV_MSR_ROW_SYNDBG_CONTROL },
		{ 0x400000ff, KHV_MSR_ROW_SYNDBG_OPTIONS },
		{ 0x40000100, KHV_MSR_ROW_CRASH_P },
		{ 0x40000104, KHV_MSR_ROW_CRASH_P },
		{ 0x40000105, KHV_MSR_ROW_CRASH_CTL },
		{ 0x40000106, KHV_MSR_ROW_REENLIGHTENMENT_CONTROL },
		{ 0x40000107, KHV_MSR_ROW_TSC_EMULATION_CONTROL },
		{ 0x40000108, KHV_MSR_ROW_TSC_EMULATION_STATUS },
		{ 0x40000118, KHV_MSR_ROW_TSC_INVARIANT_CONTROL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_msr_find(known[i].msr), known[i].row, "MSR 0x%x",
				    known[i].msr);
	/* Behind the spans. */
	KUNIT_EXPECT_EQ(test, khv_msr_find(KHV_MSR_BASE + KHV_MSR_SPAN), -1);
	KUNIT_EXPECT_EQ(test, khv_msr_find(KHV_MSR_NESTED_BASE + KHV_MSR_NESTED_SPAN), -1);
}

static void hc_codes(struct kunit *test)
{
	static const struct {
		u16 code;
		unsigned int row;
	} known[] = {
		{ 0x0002, KHV_HC_ROW_FLUSH_VIRTUAL_ADDRESS_SPACE },
		{ 0x0003, KHV_HC_ROW_FLUSH_VIRTUAL_ADDRESS_LIST },
		{ 0x0008, KHV_HC_ROW_NOTIFY_LONG_SPIN_WAIT },
		{ 0x000b, KHV_HC_ROW_SEND_IPI },
		{ 0x0013, KHV_HC_ROW_FLUSH_VIRTUAL_ADDRESS_SPACE_EX },
		{ 0x0014, KHV_HC_ROW_FLUSH_VIRTUAL_ADDRESS_LIST_EX },
		{ 0x0015, KHV_HC_ROW_SEND_IPI_EX },
		{ 0x0050, KHV_HC_ROW_GET_VP_REGISTERS },
		{ 0x0051, KHV_HC_ROW_SET_VP_REGISTERS },
		{ 0x005c, KHV_HC_ROW_POST_MESSAGE },
		{ 0x005d, KHV_HC_ROW_SIGNAL_EVENT },
		{ 0x0069, KHV_HC_ROW_POST_DEBUG_DATA },
		{ 0x006a, KHV_HC_ROW_RETRIEVE_DEBUG_DATA },
		{ 0x006b, KHV_HC_ROW_RESET_DEBUG_SESSION },
		{ 0x007e, KHV_HC_ROW_RETARGET_DEVICE_INTERRUPT },
		{ 0x009a, KHV_HC_ROW_GET_VP_INDEX_FROM_APIC_ID },
		{ 0x00f4, KHV_HC_ROW_GET_VP_CPUID_VALUES },
		{ 0x0103, KHV_HC_ROW_RESTORE_PARTITION_TIME },
		{ 0x8001, KHV_HC_ROW_EXT_CALL },
		{ 0x8041, KHV_HC_ROW_EXT_CALL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_hc_find(known[i].code), known[i].row, "code 0x%x",
				    known[i].code);
	KUNIT_EXPECT_EQ(test, khv_hc_find(0x0000), -1);
	KUNIT_EXPECT_EQ(test, khv_hc_find(0x8000), -1);
	KUNIT_EXPECT_EQ(test, khv_hc_find(0x8042), -1);
}

static struct kunit_case tables_cases[] = {
	KUNIT_CASE(tables_check_passes),
	KUNIT_CASE(msr_find_every_number),
	KUNIT_CASE(hc_find_every_code),
	KUNIT_CASE(hidden_calls),
	KUNIT_CASE(names_that_are_not_hidden),
	KUNIT_CASE(msr_numbers),
	KUNIT_CASE(hc_codes),
	KUNIT_CASE_PARAM(msr_row, msr_gen_params),
	KUNIT_CASE_PARAM(hc_row, hc_gen_params),
	KUNIT_CASE_PARAM(enl_row, enl_gen_params),
	{},
};

static struct kunit_suite tables_suite = {
	.name = "khv_tables",
	.suite_init = suite_init,
	.test_cases = tables_cases,
};

kunit_test_suites(&tables_suite);
