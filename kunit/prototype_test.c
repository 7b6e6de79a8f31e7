// SPDX-License-Identifier: GPL-2.0-only
/* Prototypes: of a function of BTF, and of a declaration in C, in the same words. */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/btf.h"
#include "made_btf.h"

static const char f_text[] = "u64 (struct vcpu *, bool, enum color, char **, ...)";

static void prototypes(struct kunit *test)
{
	char text[sizeof(f_text)], shorter[sizeof(f_text) - 1];
	struct khv_btf btf;

	made_open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, made_id.function, text, sizeof(text)), 0);
	KUNIT_EXPECT_STREQ(test, text, f_text);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, made_id.function, shorter, sizeof(shorter)),
			-E2BIG);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, made_id.function, NULL, 0), -E2BIG);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, made_id.vcpu, text, sizeof(text)), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, made_id.pointer, text, sizeof(text)),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, 0, text, sizeof(text)), -ENOENT);
}

struct declaration {
	const char *in;
	const char *out;
};

static const struct declaration declarations[] = {
	{ "int (void)", "int (void)" },
	{ "bool (struct kvm_vcpu *vcpu, bool)", "bool (struct kvm_vcpu *, bool)" },
	{ "struct kvm_vcpu * (void)", "struct kvm_vcpu * (void)" },
	{ "u64 (u64 tsc, const u64 *ratio)", "u64 (u64, u64 *)" },
	{ "gpa_t(gpa_t gpa,ulong roots,unsigned long len)", "u64 (u64, u64, u64)" },
	{ "long (unsigned int nr, unsigned char *b, s64 c)", "s64 (u32, u8 *, s64)" },
	{ "void (void *data, const void *from)", "void (void *, void *)" },
	{ "int (struct kvm_cpuid_entry2 __user *entries, char **s)",
	  "int (struct kvm_cpuid_entry2 *, char **)" },
	{ "enum color (enum color *color, union u u)", "enum color (enum color *, union u)" },
	{ "fastpath_t (integer i)", "fastpath_t (integer)" },
};

static void describe_declaration(const struct declaration *d, char *desc)
{
	strscpy(desc, d->in, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(declaration, declarations, describe_declaration);

static void declaration_in_c(struct kunit *test)
{
	const struct declaration *d = test->param_value;
	char text[80];
	u32 i;

	KUNIT_EXPECT_EQ(test, khv_prototype(d->in, text, sizeof(text)), 0);
	KUNIT_EXPECT_STREQ(test, text, d->out);
	for (i = 0; i <= strlen(d->out); i++)
		KUNIT_EXPECT_EQ(test, khv_prototype(d->in, text, i), -E2BIG);
}

static void no_declarations(struct kunit *test)
{
	static const char *const none[] = { "",
					    "int",
					    "int (",
					    "int (u32",
					    "int (u32,",
					    "int (u32,)",
					    "(void)",
					    "int ()",
					    "int (u32 (*f)(void))",
					    "int (u32 a[2])" };
	char text[80];
	int i;

	for (i = 0; i < ARRAY_SIZE(none); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_prototype(none[i], text, sizeof(text)), -EINVAL, "%s",
				    none[i]);
}

static struct kunit_case prototype_cases[] = {
	KUNIT_CASE(prototypes),
	KUNIT_CASE_PARAM(declaration_in_c, declaration_gen_params),
	KUNIT_CASE(no_declarations),
	{},
};

static struct kunit_suite prototype_suite = {
	.name = "khv_prototype",
	.test_cases = prototype_cases,
};

kunit_test_suites(&prototype_suite);
