// SPDX-License-Identifier: GPL-2.0-only
/* The contract: rows against a small kernel; what differs is named with both values. */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/btf.h"
#include "khv/contract.h"
#include "made_btf.h"

static char reported[4][400];
static int nr_reported;

static void note(const char *name, const char *why)
{
	if (nr_reported < ARRAY_SIZE(reported))
		snprintf(reported[nr_reported], sizeof(reported[0]), "%s %s", name, why);
	nr_reported++;
}

static bool wanted(const char *name)
{
	return strcmp(name, "unwanted");
}

static void expect_report(struct kunit *test, const struct khv_field *field,
			  const struct khv_function *functions, int nr_functions, const char *text)
{
	const struct khv_contract c = {
		.fields = field,
		.nr_fields = field ? 1 : 0,
		.functions = functions,
		.nr_functions = nr_functions,
		.wanted = wanted,
	};
	struct khv_btf btf;
	const struct khv_contract_types types = {
		.kernel = &btf,
		.kvm = &btf,
		.vendor = &btf,
		.vendor_is = KHV_WHERE_AMD,
	};
	struct khv_btf_name list[4];
	int differ;

	made_open_kernel(test, &btf);
	nr_reported = 0;
	differ = khv_contract_check(&c, &types, list, note);
	KUNIT_EXPECT_EQ(test, differ, text ? 1 : 0);
	KUNIT_EXPECT_EQ(test, nr_reported, differ);
	if (text && nr_reported == 1)
		KUNIT_EXPECT_STREQ(test, reported[0], text);
}

struct field_case {
	struct khv_field field;
	const char *text;
};

static const struct field_case field_cases[] = {
	{ { KHV_WHERE_KVM, KHV_WHAT_FIELD, 12, 4, "vcpu", "high" } },
	{ { KHV_WHERE_AMD, KHV_WHAT_FIELD, 24, 136, "vcpu", "regs" } },
	{ { KHV_WHERE_KERNEL, KHV_WHAT_FIELD, 24, 0, "vcpu", "regs" } },
	{ { KHV_WHERE_INTEL, KHV_WHAT_FIELD, 25, 0, "vcpu", "regs" } },
	{ { KHV_WHERE_INTEL, KHV_WHAT_FIELD, 0, 0, "nothing", "regs" } },
	{ { KHV_WHERE_KVM, KHV_WHAT_SIZE, 0, 160, "vcpu" } },
	{ { KHV_WHERE_KVM, KHV_WHAT_CONSTANT, 5, 0, "color", "RED" } },
	{ { KHV_WHERE_KVM, KHV_WHAT_CONSTANT, -1, 0, "color", "BLUE" } },
	{ { KHV_WHERE_KVM, KHV_WHAT_FIELD, 16, 4, "vcpu", "high" },
	  "struct vcpu: high is at 12 here, built for 16" },
	{ { KHV_WHERE_AMD, KHV_WHAT_FIELD, 24, 128, "vcpu", "regs" },
	  "struct vcpu: regs has 136 bytes here, built for 128" },
	{ { KHV_WHERE_KVM, KHV_WHAT_FIELD, 0, 0, "vcpu", "vmcb" },
	  "struct vcpu: vmcb is not there" },
	{ { KHV_WHERE_KERNEL, KHV_WHAT_FIELD, 0, 0, "color", "RED" }, "color is not there" },
	{ { KHV_WHERE_KVM, KHV_WHAT_SIZE, 0, 168, "vcpu" },
	  "struct vcpu has 160 bytes here, built for 168" },
	{ { KHV_WHERE_KVM, KHV_WHAT_CONSTANT, 6, 0, "color", "RED" },
	  "RED is 5 here, built for 6" },
	{ { KHV_WHERE_KVM, KHV_WHAT_CONSTANT, 6, 0, "color", "GREEN" }, "GREEN is not there" },
};

static void fields_agree(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(field_cases); i++)
		expect_report(test, &field_cases[i].field, NULL, 0, field_cases[i].text);
}

static void functions_agree(struct kunit *test)
{
	static const struct khv_function right = {
		KHV_WHERE_KVM, false, "", "f",
		"gpa_t (struct vcpu *v, bool on, enum color c, char **s)"
	};
	static const struct khv_function several[] = {
		{ KHV_WHERE_KVM, false, "", "f", "int (struct vcpu *v)" },
		{ KHV_WHERE_INTEL, false, "", "f", "int (void)" },
		{ KHV_WHERE_KVM, true, "", "f", "assembly" },
		{ KHV_WHERE_KVM, false, "", "f", "void (struct vcpu *v, u32 on)" },
	};

	/* Without the dots at its end, which no row has. */
	expect_report(test, NULL, &right, 1,
		      "f is u64 (struct vcpu *, bool, enum color, char **, ...) here, built for u64 (struct vcpu *, bool, enum color, char **)");
	/* The other vendor's do not count. */
	expect_report(test, NULL, several + 1, 1, NULL);
	/* One report for all rows of a function, with what the first has. */
	expect_report(test, NULL, several, ARRAY_SIZE(several),
		      "f is u64 (struct vcpu *, bool, enum color, char **, ...) here, built for int (struct vcpu *)");
}

/* A function that BTF does not describe is named, unless a row says why, or nobody wants it. */
static void functions_undescribed(struct kunit *test)
{
	static const struct khv_function g[] = {
		{ KHV_WHERE_KVM, true, "", "g", "assembly" },
		{ KHV_WHERE_KVM, false, "", "g", "int (void)" },
		{ KHV_WHERE_KVM, false, "", "g", "void (void)" },
		{ KHV_WHERE_KVM, true, "", "g", "assembly" },
	};
	static const struct khv_function one_more[] = {
		{ KHV_WHERE_KERNEL, true, "", "g", "assembly, but another g" },
		{ KHV_WHERE_KVM, false, "", "g", "int (void)" },
	};
	static const struct khv_function others[] = {
		{ KHV_WHERE_INTEL, false, "", "g", "int (void)" },
		{ KHV_WHERE_KVM, false, "", "unwanted", "int (void)" },
	};
	static const struct khv_function pointers[] = {
		{ KHV_WHERE_KVM, false, "vcpu", "vcpu_run", "int (void)" },
		{ KHV_WHERE_KVM, false, "no_such", "vcpu_run", "int (void)" },
		{ KHV_WHERE_KVM, false, "vcpu", "a", "int (void)" },
	};

	expect_report(test, NULL, g + 1, 1, "g is not described by BTF");
	expect_report(test, NULL, g + 1, 2, "g is not described by BTF");
	expect_report(test, NULL, one_more, 2, "g is not described by BTF");
	expect_report(test, NULL, g, 3, NULL);
	expect_report(test, NULL, g + 1, 3, NULL);
	expect_report(test, NULL, others, 2, NULL);
	expect_report(test, NULL, pointers, 1, "vcpu_run is not described by BTF");
	expect_report(test, NULL, pointers + 1, 1, "vcpu_run is not described by BTF");
	expect_report(test, NULL, pointers + 2, 1, "a is not described by BTF");
}

/* What does not fit is no row's. */
static void functions_too_long(struct kunit *test)
{
	static const struct khv_function row = { KHV_WHERE_KVM, false, "", "too_long",
						 "void (struct vcpu *)" };

	expect_report(test, NULL, &row, 1,
		      "too_long is void (struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, struct vcpu *, ... here, built for void (struct vcpu *)");
}

static struct kunit_case contract_cases[] = {
	KUNIT_CASE(fields_agree),
	KUNIT_CASE(functions_agree),
	KUNIT_CASE(functions_undescribed),
	KUNIT_CASE(functions_too_long),
	{},
};

static struct kunit_suite contract_suite = {
	.name = "khv_contract",
	.test_cases = contract_cases,
};

kunit_test_suites(&contract_suite);
