// SPDX-License-Identifier: GPL-2.0-only
/*
 * khv_tables_check() over tables that are spoiled one row at a time: each must be refused by its
 * name. tables.c is compiled a second time here, under other names and with writable tables; what
 * it defines must not be mistaken for the real ones of core.c.
 */
#include <kunit/test.h>
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/string.h>

#include "khv/tables.h"

#define khv_enls	    spoiled_enls
#define khv_msrs	    spoiled_msrs
#define khv_hcs		    spoiled_hcs
#define khv_msr_index	    spoiled_msr_index
#define khv_hc_index	    spoiled_hc_index
#define khv_l2_calls_hooked spoiled_l2_calls_hooked
#define khv_hc_listed	    spoiled_hc_listed
#define khv_hc_list	    spoiled_list
#define khv_enl_has_call    spoiled_enl_has_call
#define khv_has_fast_output spoiled_has_fast_output
#define khv_tables_check    spoiled_check

int spoiled_check(char **bad);
char *spoiled_list(char *names, unsigned int *len);
bool spoiled_enl_has_call(unsigned int enl);
bool spoiled_has_fast_output(void);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdiscarded-qualifiers"
#define const
#include "hyperv/core/tables.c"
#undef const
#pragma GCC diagnostic pop

static struct khv_msr_row msrs_kept[KHV_NR_MSR_ROWS];
static struct khv_hc_row hcs_kept[KHV_NR_HC_ROWS];
static struct khv_enl_row enls_kept[KHV_NR_ENLS];

static int suite_init(struct kunit_suite *suite)
{
	memcpy(msrs_kept, spoiled_msrs, sizeof(msrs_kept));
	memcpy(hcs_kept, spoiled_hcs, sizeof(hcs_kept));
	memcpy(enls_kept, spoiled_enls, sizeof(enls_kept));
	return 0;
}

static void mend(struct kunit *test)
{
	memcpy(spoiled_msrs, msrs_kept, sizeof(msrs_kept));
	memcpy(spoiled_hcs, hcs_kept, sizeof(hcs_kept));
	memcpy(spoiled_enls, enls_kept, sizeof(enls_kept));
}

static void valid_as_they_are(struct kunit *test)
{
	char *bad = (char *)"";

	KUNIT_EXPECT_EQ(test, spoiled_check(&bad), 0);
	KUNIT_EXPECT_NULL(test, bad);
}

static void expect_bad(struct kunit *test, const char *name, const char *why)
{
	char *bad = NULL;

	KUNIT_EXPECT_EQ_MSG(test, spoiled_check(&bad), -EINVAL, "%s", why);
	if (bad)
		KUNIT_EXPECT_STREQ_MSG(test, bad, name, "(%s)", why);
	else
		KUNIT_FAIL(test, "%s: no row is named", why);
	mend(test);
	KUNIT_ASSERT_EQ_MSG(test, spoiled_check(&bad), 0, "after: %s", why);
}

#define SPOIL_MSR(_row, _stmt)                                                              \
	do {                                                                                \
		struct khv_msr_row __maybe_unused *row = &spoiled_msrs[KHV_MSR_ROW_##_row]; \
		_stmt;                                                                      \
		expect_bad(test, #_row, #_stmt);                                            \
	} while (0)

#define SPOIL_HC(_row, _stmt)                                                            \
	do {                                                                             \
		struct khv_hc_row __maybe_unused *row = &spoiled_hcs[KHV_HC_ROW_##_row]; \
		_stmt;                                                                   \
		expect_bad(test, #_row, #_stmt);                                         \
	} while (0)

static void msr_rows(struct kunit *test)
{
	SPOIL_MSR(VP_INDEX, row->count = 0);
	SPOIL_MSR(VP_INDEX, row->stride = 0);
	SPOIL_MSR(VP_INDEX, row->enl = KHV_NR_ENLS);
	SPOIL_MSR(VP_INDEX, row->need[0].reg = KHV_CPUID_NONE);
	SPOIL_MSR(VP_INDEX, row->need[0].reg = KHV_NR_CPUID_REGS);
	SPOIL_MSR(VP_INDEX, row->need[1].bit = KHV_WHOLE_REG + 1);
	/* Below its predecessor, the same as it, over its successor. */
	SPOIL_MSR(VP_INDEX, row->first = 0x40000000);
	SPOIL_MSR(VP_INDEX, row->first = 0x40000001);
	SPOIL_MSR(RESET, spoiled_msrs[KHV_MSR_ROW_VP_INDEX].count = 2);
	SPOIL_MSR(TPR, row->first = 0x40000060);
	/* An array that reaches into the next row, and one that reaches past all rows. */
	SPOIL_MSR(CRASH_CTL, spoiled_msrs[KHV_MSR_ROW_CRASH_P].count = 6);
	SPOIL_MSR(STIMER_COUNT, spoiled_msrs[KHV_MSR_ROW_STIMER_CONFIG].stride = 1);
	SPOIL_MSR(TSC_INVARIANT_CONTROL, row->count = 0x400);
	SPOIL_MSR(TSC_INVARIANT_CONTROL, row->first = 0x50000000);
	SPOIL_MSR(GUEST_OS_ID, row->first = 0x3fffffff);
	SPOIL_MSR(VP_INDEX, row->flags |= KHV_MSR_ATOMIC_WR);
	SPOIL_MSR(SIMP, row->flags |= KHV_MSR_ATOMIC_WR);
}

static void hc_rows(struct kunit *test)
{
	SPOIL_HC(SEND_IPI, row->count = 0);
	SPOIL_HC(SEND_IPI, row->enl = KHV_NR_ENLS);
	SPOIL_HC(SEND_IPI, row->need[0].reg = KHV_CPUID_NONE);
	SPOIL_HC(SEND_IPI, row->need[0].reg = KHV_NR_CPUID_REGS);
	SPOIL_HC(SEND_IPI, row->need[3].bit = KHV_WHOLE_REG + 1);
	SPOIL_HC(SEND_IPI, row->code = 0x0008);
	SPOIL_HC(SEND_IPI, row->code = 0x0001);
	SPOIL_HC(SEND_IPI, spoiled_hcs[KHV_HC_ROW_NOTIFY_LONG_SPIN_WAIT].count = 4);
	/* Flags that contradict each other or the sizes. */
	SPOIL_HC(SEND_IPI, row->hdr = 24);
	SPOIL_HC(SEND_IPI, row->rep = 8);
	SPOIL_HC(SEND_IPI, row->flags |= KHV_REP);
	SPOIL_HC(SEND_IPI_EX, row->flags &= ~KHV_FAST);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_LIST, row->rep = 0);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_LIST, row->flags &= ~KHV_REP);
	SPOIL_HC(POST_MESSAGE, row->hdr = 4097);
	SPOIL_HC(POST_MESSAGE, row->out = KHV_OUTPUT_MAX_BYTES + 1);
	/* What the fast path does not look at again: no output, whole words, room in registers. */
	SPOIL_HC(SEND_IPI, row->out = 8);
	SPOIL_HC(SEND_IPI, row->hdr = 12);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_LIST, row->rep = 12);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_SPACE_EX, row->hdr = KHV_FAST_MAX_BYTES + 8);
	SPOIL_HC(POST_MESSAGE, row->flags |= KHV_ATOMIC);
	SPOIL_HC(RESET_DEBUG_SESSION, row->code = KHV_HC_SPAN);
	SPOIL_HC(RESET_DEBUG_SESSION, row->count = 0x100);
	/* Who needs nothing must be hidden; hidden calls are no L2's, and in the index. */
	SPOIL_HC(GET_VP_CPUID_VALUES, row->flags &= ~KHV_HIDDEN);
	SPOIL_HC(GET_VP_REGISTERS, row->flags |= KHV_L2);
	SPOIL_HC(GET_VP_REGISTERS, row->flags |= KHV_L2_POST);
	SPOIL_HC(EXT_CALL, row->flags |= KHV_HIDDEN);
	/* Output of elements. */
	SPOIL_HC(GET_VP_REGISTERS, row->flags &= ~KHV_EACH);
	SPOIL_HC(GET_VP_REGISTERS, row->rep_out = KHV_OUTPUT_MAX_BYTES + 1);
	SPOIL_HC(GET_VP_REGISTERS, row->out = 8);
	SPOIL_HC(GET_VP_REGISTERS, row->flags |= KHV_USER_EXIT);
	SPOIL_HC(SET_VP_REGISTERS, row->flags |= KHV_ATOMIC);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_LIST, row->rep_out = 8);
	SPOIL_HC(FLUSH_VIRTUAL_ADDRESS_SPACE, row->flags |= KHV_EACH);
	SPOIL_HC(GET_VP_REGISTERS, row->varhdr = 8);
	SPOIL_HC(EXT_CALL, row->code = 0x0070);
	SPOIL_HC(EXT_CALL, row->hdr = 8);
	SPOIL_HC(EXT_CALL, row->flags &= ~KHV_USER_EXIT);
}

static void enl_rows(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < KHV_NR_ENLS; i++) {
		spoiled_enls[i].offer[KHV_MAX_PRIVS - 1].reg = KHV_NR_CPUID_REGS;
		expect_bad(test, spoiled_enls[i].name, "offer names no register");
		spoiled_enls[i].offer[0].bit = KHV_WHOLE_REG + 1;
		expect_bad(test, spoiled_enls[i].name, "offer names no bit");
	}
}

static struct kunit_case tables_check_cases[] = {
	KUNIT_CASE(valid_as_they_are),
	KUNIT_CASE(msr_rows),
	KUNIT_CASE(hc_rows),
	KUNIT_CASE(enl_rows),
	{},
};

static struct kunit_suite tables_check_suite = {
	.name = "khv_tables_check",
	.suite_init = suite_init,
	.exit = mend,
	.test_cases = tables_check_cases,
};

kunit_test_suites(&tables_check_suite);
