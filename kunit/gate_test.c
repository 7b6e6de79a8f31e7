// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_CAP_HYPERV_ENFORCE_CPUID: every row with and without each of its privileges. The privileges
 * that the TLFS and KVM ask for are written out here once more, by leaf and bit, so that a row with
 * the wrong one is seen. A row that is not written out here, a prototype's, is tested by its own
 * columns, and named.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/tables.h"

#define NO_REG KHV_CPUID_NONE
#define F_EAX  KHV_CPUID_FEATURES_EAX
#define F_EBX  KHV_CPUID_FEATURES_EBX
#define F_EDX  KHV_CPUID_FEATURES_EDX
#define N_EAX  KHV_CPUID_NESTED_EAX
#define H_EAX  KHV_CPUID_HINTS_EAX
#define H_EBX  KHV_CPUID_HINTS_EBX
#define S_EAX  KHV_CPUID_SYNDBG_EAX

/* Rows that the lists below do not have, one bit each. */
static u64 unlisted_msrs(void);
static u64 unlisted_hcs(void);

/* Of these, rows that a guest must be shown in any case; calls that need nothing, or a debugger. */
static u64 unlisted_shown(void)
{
	u64 rows = 0;
	unsigned int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++)
		rows |= khv_msrs[i].flags & KHV_MSR_SHOWN ? 1ULL << i : 0;
	return rows & unlisted_msrs();
}

static u64 unlisted_free(bool debugger)
{
	u64 rows = 0;
	unsigned int i;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (!khv_hcs[i].need[0].reg ||
		    (!debugger && (khv_hcs[i].flags & KHV_NEED_IF_SYNDBG)))
			rows |= 1ULL << i;
	}
	return rows & unlisted_hcs();
}

/* A guest that is shown everything: every bit, and a spinlock retry count that means something. */
static struct khv_cpuid everything(void)
{
	struct khv_cpuid cpuid;

	memset(&cpuid, 0xff, sizeof(cpuid));
	cpuid.present = true;
	cpuid.reg[NO_REG] = 0;
	cpuid.reg[H_EBX] = 0xfff;
	return cpuid;
}

static u64 all(unsigned int rows)
{
	return rows == 64 ? ~0ULL : (1ULL << rows) - 1;
}

static bool msr_allowed(const struct khv_cpuid *cpuid, unsigned int row)
{
	struct khv_gate gate;

	khv_gate_compute(&gate, cpuid, true);
	return gate.msr >> row & 1;
}

static bool hc_allowed_by(const struct khv_cpuid *cpuid, unsigned int row)
{
	struct khv_gate gate;

	khv_gate_compute(&gate, cpuid, true);
	return gate.hc >> row & 1;
}

static void expect_shut(struct kunit *test, const struct khv_cpuid *cpuid, bool enforce)
{
	struct khv_gate gate;

	memset(&gate, 0xff, sizeof(gate));
	khv_gate_compute(&gate, cpuid, enforce);
	KUNIT_EXPECT_EQ(test, gate.msr, 0);
	KUNIT_EXPECT_EQ(test, gate.hc, 0);
	KUNIT_EXPECT_FALSE(test, gate.xmm);
	KUNIT_EXPECT_FALSE(test, gate.fast_output);
	KUNIT_EXPECT_FALSE(test, gate.lock);
	KUNIT_EXPECT_FALSE(test, gate.ext_ranges);
}

static void expect_open(struct kunit *test, const struct khv_cpuid *cpuid, bool enforce)
{
	struct khv_gate gate = {};

	khv_gate_compute(&gate, cpuid, enforce);
	KUNIT_EXPECT_EQ(test, gate.msr, all(KHV_NR_MSR_ROWS));
	KUNIT_EXPECT_EQ(test, gate.hc, all(KHV_NR_HC_ROWS));
	KUNIT_EXPECT_TRUE(test, gate.xmm);
	KUNIT_EXPECT_TRUE(test, gate.fast_output);
	KUNIT_EXPECT_TRUE(test, gate.lock);
	KUNIT_EXPECT_TRUE(test, gate.ext_ranges);
}

static void no_interface_no_access(struct kunit *test)
{
	struct khv_cpuid cpuid = everything();

	cpuid.present = false;
	expect_shut(test, &cpuid, false);
	expect_shut(test, &cpuid, true);
}

/* Except KHV_MSR_SHOWN rows, which need their bit in any case. */
static void not_enforced_all_allowed(struct kunit *test)
{
	struct khv_cpuid shown = { .present = true }, nothing = shown, cpuid = everything();
	struct khv_gate gate;

	u64 hidden = 1ULL << KHV_MSR_ROW_GUEST_IDLE |
		     1ULL << KHV_MSR_ROW_STIME_UNHALTED_TIMER_CONFIG |
		     1ULL << KHV_MSR_ROW_STIME_UNHALTED_TIMER_COUNT;

	shown.reg[F_EAX] = 1U << 10 | 1U << 3;
	shown.reg[F_EDX] = 1U << 23;
	khv_gate_compute(&gate, &shown, false);
	KUNIT_EXPECT_EQ(test, gate.msr | unlisted_shown(), all(KHV_NR_MSR_ROWS));
	KUNIT_EXPECT_EQ(test, gate.hc, all(KHV_NR_HC_ROWS));
	khv_gate_compute(&gate, &nothing, false);
	KUNIT_EXPECT_EQ(test, gate.msr, all(KHV_NR_MSR_ROWS) & ~hidden & ~unlisted_shown());
	KUNIT_EXPECT_EQ(test, gate.hc, all(KHV_NR_HC_ROWS));
	expect_open(test, &cpuid, false);
	expect_open(test, &cpuid, true);
}

/* Hidden calls of which the TLFS names no privilege. */
static const u64 free_calls = 1ULL << KHV_HC_ROW_RETARGET_DEVICE_INTERRUPT |
			      1ULL << KHV_HC_ROW_GET_VP_INDEX_FROM_APIC_ID |
			      1ULL << KHV_HC_ROW_GET_VP_CPUID_VALUES;

/* All that remains beside these without a single bit are the calls that ask the debugger first. */
static void enforced_nothing_shown(struct kunit *test)
{
	struct khv_cpuid cpuid = { .present = true };
	struct khv_gate gate;
	u64 debug = 1ULL << KHV_HC_ROW_POST_DEBUG_DATA | 1ULL << KHV_HC_ROW_RETRIEVE_DEBUG_DATA |
		    1ULL << KHV_HC_ROW_RESET_DEBUG_SESSION;

	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_EQ(test, gate.msr, 0);
	KUNIT_EXPECT_EQ(test, gate.hc, debug | free_calls | unlisted_free(false));
	KUNIT_EXPECT_FALSE(test, gate.xmm);
	KUNIT_EXPECT_FALSE(test, gate.fast_output);
	KUNIT_EXPECT_FALSE(test, gate.lock);

	cpuid.reg[S_EAX] = 1U << 1;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_EQ(test, gate.hc, free_calls | unlisted_free(true));
	cpuid.reg[F_EBX] = 1U << 11;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_EQ(test, gate.hc & ~unlisted_hcs(), debug | free_calls);
}

static void single_bits(struct kunit *test)
{
	struct khv_cpuid cpuid = { .present = true };
	struct khv_gate gate;

	cpuid.reg[F_EDX] = 1U << 4;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_TRUE(test, gate.xmm);
	KUNIT_EXPECT_FALSE(test, gate.lock);
	cpuid.reg[F_EDX] = 1U << 18;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_FALSE(test, gate.xmm);
	KUNIT_EXPECT_TRUE(test, gate.lock);
	KUNIT_EXPECT_FALSE(test, gate.ext_ranges);
	cpuid.reg[F_EDX] = 1U << 14;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_FALSE(test, gate.lock);
	KUNIT_EXPECT_TRUE(test, gate.ext_ranges);
	/* Output takes the feature and the privilege. */
	cpuid.reg[F_EDX] = 1U << 15;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_FALSE(test, gate.fast_output);
	cpuid.reg[F_EBX] = 1U << 19;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_TRUE(test, gate.fast_output);
	cpuid.reg[F_EDX] = 0;
	khv_gate_compute(&gate, &cpuid, true);
	KUNIT_EXPECT_FALSE(test, gate.fast_output);
}

static void priv_held(struct kunit *test)
{
	struct khv_cpuid cpuid = {};
	unsigned int reg, bit;

	KUNIT_EXPECT_TRUE(test, khv_priv_held(&cpuid, (struct khv_priv){}));
	for (reg = 1; reg < KHV_NR_CPUID_REGS; reg++) {
		for (bit = 0; bit < 32; bit++) {
			struct khv_priv priv = { .reg = reg, .bit = bit };

			memset(&cpuid, 0, sizeof(cpuid));
			cpuid.reg[reg] = 1U << bit;
			KUNIT_EXPECT_TRUE_MSG(test, khv_priv_held(&cpuid, priv), "%u.%u", reg, bit);
			memset(&cpuid, 0xff, sizeof(cpuid));
			cpuid.reg[reg] &= ~(1U << bit);
			KUNIT_EXPECT_FALSE_MSG(test, khv_priv_held(&cpuid, priv), "%u.%u", reg,
					       bit);
		}
	}
}

/* Spinlock retries: 0 and "never" both mean that the guest was not told to call. */
static void whole_register(struct kunit *test)
{
	static const struct {
		u32 value;
		bool held;
	} cases[] = {
		{ 0, false },	 { 0xffffffff, false }, { 1, true },
		{ 0xfff, true }, { 0x80000000, true },	{ 0xfffffffe, true },
	};
	struct khv_cpuid cpuid = { .present = true };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cpuid.reg[H_EBX] = cases[i].value;
		KUNIT_EXPECT_EQ_MSG(test, hc_allowed_by(&cpuid, KHV_HC_ROW_NOTIFY_LONG_SPIN_WAIT),
				    cases[i].held, "retries 0x%x", cases[i].value);
	}
}

struct need {
	u32 number;
	u8 reg, bit, reg2, bit2;
	const char *name;
	u8 reg3, bit3;
};

/* clang-format off */
#define N(_number, _name, _reg, _bit) \
	{ .number = _number, .name = _name, .reg = _reg, .bit = _bit }
/* clang-format on */

static const struct need msr_needs[] = {
	N(0x40000000, "GUEST_OS_ID", F_EAX, 5),
	N(0x40000001, "HYPERCALL", F_EAX, 5),
	N(0x40000002, "VP_INDEX", F_EAX, 6),
	N(0x40000003, "RESET", F_EAX, 7),
	N(0x40000010, "VP_RUNTIME", F_EAX, 0),
	N(0x40000020, "TIME_REF_COUNT", F_EAX, 1),
	N(0x40000021, "REFERENCE_TSC", F_EAX, 9),
	N(0x40000022, "TSC_FREQUENCY", F_EAX, 11),
	N(0x40000023, "APIC_FREQUENCY", F_EAX, 11),
	N(0x40000070, "EOI", F_EAX, 4),
	N(0x40000071, "ICR", F_EAX, 4),
	N(0x40000072, "TPR", F_EAX, 4),
	N(0x40000073, "VP_ASSIST_PAGE", F_EAX, 4),
	N(0x40000080, "SCONTROL", F_EAX, 2),
	N(0x40000081, "SVERSION", F_EAX, 2),
	N(0x40000082, "SIEFP", F_EAX, 2),
	N(0x40000083, "SIMP", F_EAX, 2),
	N(0x40000084, "EOM", F_EAX, 2),
	N(0x40000090, "SINT0", F_EAX, 2),
	N(0x4000009f, "SINT15", F_EAX, 2),
	N(0x400000b0, "STIMER0_CONFIG", F_EAX, 3),
	N(0x400000b7, "STIMER3_COUNT", F_EAX, 3),
	N(0x400000f0, "GUEST_IDLE", F_EAX, 10),
	N(0x400000f1, "SYNDBG_CONTROL", F_EDX, 11),
	N(0x400000f2, "SYNDBG_STATUS", F_EDX, 11),
	N(0x400000f3, "SYNDBG_SEND_BUFFER", F_EDX, 11),
	N(0x400000f4, "SYNDBG_RECV_BUFFER", F_EDX, 11),
	N(0x400000f5, "SYNDBG_PENDING_BUFFER", F_EDX, 11),
	N(0x400000ff, "SYNDBG_OPTIONS", F_EDX, 11),
	N(0x40000100, "CRASH_P0", F_EDX, 10),
	N(0x40000105, "CRASH_CTL", F_EDX, 10),
	N(0x40000106, "REENLIGHTENMENT_CONTROL", F_EAX, 13),
	N(0x40000107, "TSC_EMULATION_CONTROL", F_EAX, 13),
	N(0x40000108, "TSC_EMULATION_STATUS", F_EAX, 13),
	{ 0x40000114, F_EAX, 3, F_EDX, 23, "STIME_UNHALTED_TIMER_CONFIG" },
	{ 0x40000115, F_EAX, 3, F_EDX, 23, "STIME_UNHALTED_TIMER_COUNT" },
	N(0x40000118, "TSC_INVARIANT_CONTROL", F_EAX, 15),
};

static const struct need hc_needs[] = {
	N(0x0002, "FLUSH_VIRTUAL_ADDRESS_SPACE", H_EAX, 2),
	N(0x0003, "FLUSH_VIRTUAL_ADDRESS_LIST", H_EAX, 2),
	N(0x0008, "NOTIFY_LONG_SPIN_WAIT", H_EBX, 32),
	N(0x000b, "SEND_IPI", H_EAX, 10),
	{ 0x0013, H_EAX, 2, H_EAX, 11, "FLUSH_VIRTUAL_ADDRESS_SPACE_EX" },
	{ 0x0014, H_EAX, 2, H_EAX, 11, "FLUSH_VIRTUAL_ADDRESS_LIST_EX" },
	{ 0x0015, H_EAX, 10, H_EAX, 11, "SEND_IPI_EX" },
	N(0x0050, "GET_VP_REGISTERS", F_EBX, 17),
	N(0x0051, "SET_VP_REGISTERS", F_EBX, 17),
	N(0x005c, "POST_MESSAGE", F_EBX, 4),
	N(0x005d, "SIGNAL_EVENT", F_EBX, 5),
	N(0x0069, "POST_DEBUG_DATA", F_EBX, 11),
	N(0x006a, "RETRIEVE_DEBUG_DATA", F_EBX, 11),
	N(0x006b, "RESET_DEBUG_SESSION", F_EBX, 11),
	{ 0x0103, H_EAX, 20, F_EAX, 1, "RESTORE_PARTITION_TIME", F_EAX, 9 },
	N(0x8001, "EXT_QUERY_CAPABILITIES", F_EBX, 20),
	N(0x8041, "last extended call", F_EBX, 20),
};

/* One of the two is enough. */
static const struct need hc_needs_any[] = {
	{ 0x00af, N_EAX, 18, N_EAX, 22, "FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE" },
	{ 0x00b0, N_EAX, 18, N_EAX, 22, "FLUSH_GUEST_PHYSICAL_ADDRESS_LIST" },
};

static void one_of_two(struct kunit *test)
{
	unsigned int i, bit;

	for (i = 0; i < ARRAY_SIZE(hc_needs_any); i++) {
		int row = khv_hc_find(hc_needs_any[i].number);

		for (bit = 0; bit < 32; bit++) {
			struct khv_cpuid cpuid = { .present = true };

			cpuid.reg[N_EAX] = 1U << bit;
			KUNIT_EXPECT_EQ_MSG(test, hc_allowed_by(&cpuid, row),
					    bit == 18 || bit == 22, "%s, bit %u",
					    hc_needs_any[i].name, bit);
		}
	}
}

static void need_desc(const struct need *need, char *desc)
{
	strscpy(desc, need->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(msr, msr_needs, need_desc);
KUNIT_ARRAY_PARAM(hc, hc_needs, need_desc);

static void show(struct khv_cpuid *cpuid, unsigned int reg, unsigned int bit)
{
	if (reg != NO_REG)
		cpuid->reg[reg] |= bit == 32 ? 0xfff : 1U << bit;
}

static void hide(struct khv_cpuid *cpuid, unsigned int reg, unsigned int bit)
{
	if (reg != NO_REG)
		cpuid->reg[reg] &= bit == 32 ? 0 : ~(1U << bit);
}

/* What the row needs lets it pass alone; anything else together does not. */
static void row_gate(struct kunit *test, const struct need *need, unsigned int row,
		     bool (*allowed)(const struct khv_cpuid *, unsigned int), bool debugger)
{
	struct khv_cpuid cpuid = { .present = true };

	if (debugger)
		cpuid.reg[S_EAX] = 1U << 1;
	KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed without any bit");
	show(&cpuid, need->reg, need->bit);
	if (need->reg2 != NO_REG) {
		KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed by one of two bits");
		show(&cpuid, need->reg2, need->bit2);
	}
	if (need->reg3 != NO_REG) {
		KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed by two of three bits");
		show(&cpuid, need->reg3, need->bit3);
	}
	KUNIT_EXPECT_TRUE_MSG(test, allowed(&cpuid, row), "denied with what it needs");

	cpuid = everything();
	KUNIT_EXPECT_TRUE(test, allowed(&cpuid, row));
	hide(&cpuid, need->reg, need->bit);
	KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed without its bit");
	if (need->reg2 != NO_REG) {
		cpuid = everything();
		hide(&cpuid, need->reg2, need->bit2);
		KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed without its second");
	}
	if (need->reg3 != NO_REG) {
		cpuid = everything();
		hide(&cpuid, need->reg3, need->bit3);
		KUNIT_EXPECT_FALSE_MSG(test, allowed(&cpuid, row), "allowed without its third");
	}
}

static int suite_init(struct kunit_suite *suite)
{
	unsigned int len;
	const char *bad;

	return khv_hc_list("all", &len) ? -EINVAL : khv_tables_check(&bad);
}

static void msr_gate(struct kunit *test)
{
	const struct need *need = test->param_value;
	int row = khv_msr_find(need->number);

	KUNIT_ASSERT_GE(test, row, 0);
	row_gate(test, need, row, msr_allowed, false);
}

static void hc_gate(struct kunit *test)
{
	const struct need *need = test->param_value;
	int row = khv_hc_find(need->number);

	KUNIT_ASSERT_GE(test, row, 0);
	row_gate(test, need, row, hc_allowed_by, khv_hcs[row].flags & KHV_NEED_IF_SYNDBG);
}

static u64 bit_of(int row)
{
	return row < 0 ? 0 : 1ULL << row;
}

static u64 unlisted_msrs(void)
{
	u64 listed = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msr_needs); i++)
		listed |= bit_of(khv_msr_find(msr_needs[i].number));
	return all(KHV_NR_MSR_ROWS) & ~listed;
}

static u64 unlisted_hcs(void)
{
	u64 listed = free_calls;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hc_needs); i++)
		listed |= bit_of(khv_hc_find(hc_needs[i].number));
	for (i = 0; i < ARRAY_SIZE(hc_needs_any); i++)
		listed |= bit_of(khv_hc_find(hc_needs_any[i].number));
	return all(KHV_NR_HC_ROWS) & ~listed;
}

/* The rows that are not listed, by their own columns: with all, and without each that they need. */
static void own_gate(struct kunit *test, const char *name, const struct khv_priv *need, bool any,
		     unsigned int row, bool (*allowed)(const struct khv_cpuid *, unsigned int))
{
	struct khv_cpuid none = everything(), all_needs = { .present = true }, cpuid;
	unsigned int i;

	kunit_info(test, "%s is not in the list: taken from the module\n", name);
	all_needs.reg[S_EAX] = 1U << 1;
	for (i = 0; i < KHV_MAX_PRIVS && need[i].reg; i++) {
		hide(&none, need[i].reg, need[i].bit);
		show(&all_needs, need[i].reg, need[i].bit);
	}
	KUNIT_EXPECT_TRUE_MSG(test, allowed(&all_needs, row), "%s: denied with what it needs",
			      name);
	KUNIT_EXPECT_EQ_MSG(test, allowed(&none, row), !i, "%s: with all but what it needs", name);
	while (i--) {
		cpuid = any ? none : everything();
		if (any)
			show(&cpuid, need[i].reg, need[i].bit);
		else
			hide(&cpuid, need[i].reg, need[i].bit);
		KUNIT_EXPECT_EQ_MSG(test, allowed(&cpuid, row), any, "%s: need %u alone", name, i);
	}
}

static void rows_that_are_not_listed(struct kunit *test)
{
	u64 msrs = unlisted_msrs(), hcs = unlisted_hcs();
	unsigned int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (msrs >> i & 1)
			own_gate(test, khv_msrs[i].name, khv_msrs[i].need, false, i, msr_allowed);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (hcs >> i & 1)
			own_gate(test, khv_hcs[i].name, khv_hcs[i].need,
				 khv_hcs[i].flags & KHV_NEED_ANY, i, hc_allowed_by);
	}
}

/* What the lists have must be there: a row that is lost is not taken for one that is new. */
static void every_listed_row_exists(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msr_needs); i++)
		KUNIT_EXPECT_GE_MSG(test, khv_msr_find(msr_needs[i].number), 0, "%s",
				    msr_needs[i].name);
	for (i = 0; i < ARRAY_SIZE(hc_needs); i++)
		KUNIT_EXPECT_GE_MSG(test, khv_hc_find(hc_needs[i].number), 0, "%s",
				    hc_needs[i].name);
	for (i = 0; i < ARRAY_SIZE(hc_needs_any); i++)
		KUNIT_EXPECT_GE_MSG(test, khv_hc_find(hc_needs_any[i].number), 0, "%s",
				    hc_needs_any[i].name);
}

static struct kunit_case gate_cases[] = {
	KUNIT_CASE(no_interface_no_access),
	KUNIT_CASE(one_of_two),
	KUNIT_CASE(not_enforced_all_allowed),
	KUNIT_CASE(enforced_nothing_shown),
	KUNIT_CASE(single_bits),
	KUNIT_CASE(priv_held),
	KUNIT_CASE(whole_register),
	KUNIT_CASE(rows_that_are_not_listed),
	KUNIT_CASE(every_listed_row_exists),
	KUNIT_CASE_PARAM(msr_gate, msr_gen_params),
	KUNIT_CASE_PARAM(hc_gate, hc_gen_params),
	{},
};

static struct kunit_suite gate_suite = {
	.name = "khv_gate",
	.suite_init = suite_init,
	.test_cases = gate_cases,
};

kunit_test_suites(&gate_suite);
