// SPDX-License-Identifier: GPL-2.0-only
/*
 * BTF: places, constants and prototypes are read as the kernel means them, from a kernel and from a
 * module that continues it; and what is cut off, spoiled or in a circle is refused or comes to an
 * end.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "khv/btf.h"
#include "khv/contract.h"

#define STRUCTS BIT(BTF_KIND_STRUCT)

/* BTF that grows, word by word. */
struct maker {
	const struct khv_btf *base;
	u32 words[512];
	u32 nr_words;
	char strings[512];
	u32 nr_strings;
	u32 next_id;
};

static void make(struct maker *m, const struct khv_btf *base)
{
	memset(m, 0, sizeof(*m));
	m->base = base;
	m->nr_strings = 1;
	m->next_id = base ? base->end : 1;
}

static u32 string(struct maker *m, const char *s)
{
	u32 at = m->nr_strings + (m->base ? m->base->strings_len : 0);

	if (!*s)
		return 0;
	memcpy(m->strings + m->nr_strings, s, strlen(s) + 1);
	m->nr_strings += strlen(s) + 1;
	return at;
}

static void word(struct maker *m, u32 w)
{
	m->words[m->nr_words++] = w;
}

/* The fixed part of a type. Return: its id. */
static u32 type_of(struct maker *m, u32 kind, const char *its, u32 vlen, u32 size_or_type)
{
	word(m, string(m, its));
	word(m, kind << 24 | vlen);
	word(m, size_or_type);
	return m->next_id++;
}

#define FIELDS BIT(31) /* of btf_type.info: members may be bit fields */

static u32 integer(struct maker *m, const char *its, u32 bytes, u32 encoding)
{
	u32 id = type_of(m, BTF_KIND_INT, its, 0, bytes);

	word(m, encoding << 24 | 8 * bytes);
	return id;
}

static u32 pointer(struct maker *m, u32 to)
{
	return type_of(m, BTF_KIND_PTR, "", 0, to);
}

static u32 array(struct maker *m, u32 of, u32 nr)
{
	u32 id = type_of(m, BTF_KIND_ARRAY, "", 0, 0);

	word(m, of);
	word(m, of);
	word(m, nr);
	return id;
}

/* A member, or a parameter without an offset, of the type before. */
static void member(struct maker *m, const char *its, u32 type, u32 bits)
{
	word(m, string(m, its));
	word(m, type);
	word(m, bits);
}

static void parameter(struct maker *m, const char *its, u32 type)
{
	word(m, string(m, its));
	word(m, type);
}

static u8 made[4096] __aligned(4);
static u32 made_len;
static u32 index_of[2][sizeof(made) / KHV_BTF_MIN_TYPE];

/* Up to str_len, and what Linux 7.3 appends. */
#define OLD_HEADER 24
#define NEW_HEADER 32

/* Write the whole to "made", with a header of that length. */
static void finish_with(const struct maker *m, u32 header)
{
	struct btf_header head = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = header,
		.type_len = 4 * m->nr_words,
		.str_off = 4 * m->nr_words,
		.str_len = m->nr_strings,
	};

	memset(made, 0, NEW_HEADER);
	memcpy(made, &head, OLD_HEADER);
	memcpy(made + header, m->words, head.type_len);
	memcpy(made + header + head.str_off, m->strings, head.str_len);
	made_len = header + head.str_off + head.str_len;
}

static void finish(const struct maker *m)
{
	finish_with(m, OLD_HEADER);
}

/* Ids in the kernel of these tests. */
static struct {
	u32 u64, u32, s32, boolean, character, vcpu, wheel, color, wide, function, pointer, chain;
} id;

/* Parameters of a function whose prototype is longer than that of any row. */
#define NR_OF_LONG 12

/*
 * struct vcpu {
 *	u64 a;
 *	union { u32 low; struct { char pad[4]; u32 high; }; };
 *	struct { bool on; u32 bit : 3; } arch;
 *	u64 regs[17];
 * };
 */
static void make_kernel(struct maker *m)
{
	u32 inner, both, arch, regs, pad, gpa, tag, proto, i;

	make(m, NULL);
	id.u64 = integer(m, "long unsigned int", 8, 0);
	id.u32 = integer(m, "unsigned int", 4, 0);
	id.s32 = integer(m, "int", 4, BTF_INT_SIGNED);
	id.boolean = integer(m, "_Bool", 1, BTF_INT_BOOL);
	id.character = integer(m, "char", 1, BTF_INT_SIGNED);
	pad = array(m, id.character, 4);
	regs = array(m, id.u64, 17);
	inner = type_of(m, BTF_KIND_STRUCT, "", 2, 8);
	member(m, "pad", pad, 0);
	member(m, "high", id.u32, 32);
	both = type_of(m, BTF_KIND_UNION, "", 2, 8);
	member(m, "low", id.u32, 0);
	member(m, "", inner, 0);
	arch = type_of(m, BTF_KIND_STRUCT, "", 2, 8);
	m->words[m->nr_words - 2] |= FIELDS;
	member(m, "on", id.boolean, 0);
	member(m, "bit", id.u32, 3 << 24 | 33);
	id.vcpu = type_of(m, BTF_KIND_STRUCT, "vcpu", 4, 160);
	member(m, "a", id.u64, 0);
	member(m, "", both, 64);
	member(m, "arch", arch, 128);
	member(m, "regs", regs, 192);

	id.color = type_of(m, BTF_KIND_ENUM, "color", 2, 4);
	parameter(m, "RED", 5);
	parameter(m, "BLUE", -1);
	id.wide = type_of(m, BTF_KIND_ENUM64, "wide", 1, 8);
	member(m, "WIDE", 7, 1);

	/* gpa_t f(const struct vcpu *vcpu, bool on, enum color c, char **names, ...) */
	gpa = type_of(m, BTF_KIND_TYPEDEF, "gpa_t", 0, id.u64);
	id.pointer = pointer(m, type_of(m, BTF_KIND_CONST, "", 0, id.vcpu));
	tag = pointer(m, pointer(m, id.character));
	proto = type_of(m, BTF_KIND_FUNC_PROTO, "", 5, gpa);
	parameter(m, "vcpu", id.pointer);
	parameter(m, "on", id.boolean);
	parameter(m, "c", id.color);
	parameter(m, "names", tag);
	parameter(m, "", 0);
	id.function = type_of(m, BTF_KIND_FUNC, "f", 0, proto);
	proto = type_of(m, BTF_KIND_FUNC_PROTO, "", NR_OF_LONG, 0);
	for (i = 0; i < NR_OF_LONG; i++)
		parameter(m, "", id.pointer);
	type_of(m, BTF_KIND_FUNC, "too_long", 0, proto);
	finish(m);
}

static struct maker maker;

static void open_kernel(struct kunit *test, struct khv_btf *btf)
{
	make_kernel(&maker);
	KUNIT_ASSERT_EQ(test, khv_btf_open(btf, made, made_len, NULL, index_of[0]), 0);
}

static void expect_place(struct kunit *test, const struct khv_btf *btf, const char *path,
			 u64 offset, u64 size)
{
	struct khv_btf_place place = {};

	KUNIT_EXPECT_EQ_MSG(test, khv_btf_member(btf, id.vcpu, path, &place), 0, "%s", path);
	KUNIT_EXPECT_EQ_MSG(test, place.offset, offset, "%s", path);
	KUNIT_EXPECT_EQ_MSG(test, place.size, size, "%s", path);
}

static void members(struct kunit *test)
{
	static const char *const none[] = { "",		"b",  "regs.a",	 "arch.", "arch.on.x",
					    "pad.high", "ar", "arch.of", ".a",	  "regs[0]" };
	struct khv_btf_place place;
	struct khv_btf btf;
	int i;

	open_kernel(test, &btf);
	expect_place(test, &btf, "a", 0, 64);
	expect_place(test, &btf, "low", 64, 32);
	expect_place(test, &btf, "high", 96, 32);
	expect_place(test, &btf, "arch", 128, 64);
	expect_place(test, &btf, "arch.on", 128, 8);
	expect_place(test, &btf, "arch.bit", 161, 3);
	expect_place(test, &btf, "regs", 192, 17 * 64);
	for (i = 0; i < ARRAY_SIZE(none); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_btf_member(&btf, id.vcpu, none[i], &place), -ENOENT,
				    "%s", none[i]);
	/* A pointer to the structure is not the structure. */
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, id.pointer, "a", &place), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, 0, "a", &place), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, btf.end, "a", &place), -ENOENT);
}

static void sizes(struct kunit *test)
{
	struct khv_btf btf;

	open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, id.vcpu), 160);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, id.pointer), 8);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, id.wide), 8);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, id.function), -ENOENT);
}

static void constants(struct kunit *test)
{
	struct khv_btf btf;
	s64 value = 0;

	open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, id.color, "RED", &value), 0);
	KUNIT_EXPECT_EQ(test, value, 5);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, id.color, "BLUE", &value), 0);
	KUNIT_EXPECT_EQ(test, value, -1);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, id.wide, "WIDE", &value), 0);
	KUNIT_EXPECT_EQ(test, value, 0x100000007LL);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, id.color, "WIDE", &value), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, id.vcpu, "RED", &value), -ENOENT);
}

static const char f_text[] = "u64 (struct vcpu *, bool, enum color, char **, ...)";

static void prototypes(struct kunit *test)
{
	char text[sizeof(f_text)], shorter[sizeof(f_text) - 1];
	struct khv_btf btf;

	open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, id.function, text, sizeof(text)), 0);
	KUNIT_EXPECT_STREQ(test, text, f_text);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, id.function, shorter, sizeof(shorter)),
			-E2BIG);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, id.function, NULL, 0), -E2BIG);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, id.vcpu, text, sizeof(text)), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_prototype(&btf, id.pointer, text, sizeof(text)), -ENOENT);
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

static void names(struct kunit *test)
{
	struct khv_btf btf;
	struct khv_btf_name list[] = {
		{ &btf, "vcpu", STRUCTS },
		{ &btf, "vcpu", BIT(BTF_KIND_ENUM) },
		{ &btf, "color", BIT(BTF_KIND_ENUM) },
		{ &btf, "f", BIT(BTF_KIND_FUNC) },
		{ &btf, "vcp", STRUCTS },
		{ &btf, "", STRUCTS },
		{ NULL, "vcpu", STRUCTS },
		{ &btf, "vcpu", STRUCTS | BIT(BTF_KIND_UNION) },
		{ &btf, "vcpu", STRUCTS, 1 },
	};

	open_kernel(test, &btf);
	khv_btf_find(&btf, list, ARRAY_SIZE(list));
	KUNIT_EXPECT_EQ(test, list[0].id, id.vcpu);
	KUNIT_EXPECT_EQ(test, list[1].id, 0);
	KUNIT_EXPECT_EQ(test, list[2].id, id.color);
	KUNIT_EXPECT_EQ(test, list[3].id, id.function);
	KUNIT_EXPECT_EQ(test, list[4].id, 0);
	KUNIT_EXPECT_EQ(test, list[6].id, 0);
	KUNIT_EXPECT_EQ(test, list[7].id, id.vcpu);
	/* Found already, in other types. */
	KUNIT_EXPECT_EQ(test, list[8].id, 1);
}

static u8 kernel_copy[sizeof(made)] __aligned(4);

/* A module whose types and names continue the kernel's. */
static void modules(struct kunit *test)
{
	struct khv_btf kernel, module;
	struct khv_btf_place place;
	struct khv_btf_name list[2];
	u32 svm;

	make_kernel(&maker);
	memcpy(kernel_copy, made, made_len);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&kernel, kernel_copy, made_len, NULL, index_of[0]), 0);
	make(&maker, &kernel);
	svm = type_of(&maker, BTF_KIND_STRUCT, "svm", 2, 168);
	member(&maker, "vcpu", id.vcpu, 0);
	member(&maker, "vmcb", id.pointer, 8 * 160);
	finish(&maker);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&module, made, made_len, &kernel, index_of[1]), 0);

	list[0] = (struct khv_btf_name){ &module, "svm", STRUCTS };
	list[1] = (struct khv_btf_name){ &module, "vcpu", STRUCTS };
	khv_btf_find(&module, list, 2);
	KUNIT_EXPECT_EQ(test, list[0].id, svm);
	KUNIT_EXPECT_EQ(test, list[1].id, 0);
	khv_btf_find(&kernel, list, 2);
	KUNIT_EXPECT_EQ(test, list[0].id, svm);
	KUNIT_EXPECT_EQ(test, list[1].id, id.vcpu);

	KUNIT_EXPECT_EQ(test, khv_btf_member(&module, svm, "vmcb", &place), 0);
	KUNIT_EXPECT_EQ(test, place.offset, 8 * 160);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&module, svm, "vcpu.high", &place), 0);
	KUNIT_EXPECT_EQ(test, place.offset, 96);
	/* The kernel does not know the module's. */
	KUNIT_EXPECT_EQ(test, khv_btf_member(&kernel, svm, "vmcb", &place), -ENOENT);
}

/* All that can be asked, of every type. */
static void ask_everything(const struct khv_btf *btf)
{
	struct khv_btf_name list[] = { { btf, "vcpu", STRUCTS }, { btf, "f", BIT(BTF_KIND_FUNC) } };
	struct khv_btf_place place;
	char text[64];
	s64 value;
	u32 i;

	khv_btf_find(btf, list, ARRAY_SIZE(list));
	for (i = 0; i <= btf->end; i++) {
		khv_btf_size(btf, i);
		khv_btf_member(btf, i, "arch.bit", &place);
		khv_btf_member(btf, i, "high", &place);
		khv_btf_constant(btf, i, "WIDE", &value);
		khv_btf_prototype(btf, i, text, sizeof(text));
	}
}

static void cut_off_data_is_refused(struct kunit *test)
{
	struct khv_btf btf;
	u32 len;

	make_kernel(&maker);
	for (len = 0; len < made_len; len++)
		KUNIT_EXPECT_EQ_MSG(test, khv_btf_open(&btf, made, len, NULL, index_of[0]), -EINVAL,
				    "%u bytes", len);
}

/* Every byte is spoiled in some ways; right behind the input nothing may be read. */
static void any_spoiled_byte_is_harmless(struct kunit *test)
{
	static const u8 values[] = { 0, 1, 0x7f, 0x80, 0xff };
	u8 *last = kernel_copy + sizeof(kernel_copy), *copy;
	u32 pos, i, opened = 0;
	struct khv_btf btf;

	make_kernel(&maker);
	/* Padding of the strings, so that the copy is aligned at both ends. */
	while (made_len % 4) {
		made[made_len++] = 0;
		((struct btf_header *)made)->str_len++;
	}
	copy = last - made_len;
	for (pos = 0; pos < made_len; pos++) {
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			memcpy(copy, made, made_len);
			copy[pos] = values[i];
			if (khv_btf_open(&btf, copy, made_len, NULL, index_of[0]))
				continue;
			opened++;
			ask_everything(&btf);
		}
	}
	KUNIT_EXPECT_GT(test, opened, made_len);
}

static void circles_of_types_end(struct kunit *test)
{
	struct maker *m = &maker;
	struct khv_btf_place place;
	struct khv_btf btf;
	char text[64];
	u32 a, b, i;

	make(m, NULL);
	a = type_of(m, BTF_KIND_TYPEDEF, "a", 0, 2);
	type_of(m, BTF_KIND_TYPEDEF, "b", 0, 1);
	array(m, 3, 4);
	b = type_of(m, BTF_KIND_STRUCT, "circle", 32, 8);
	for (i = 0; i < 32; i++)
		member(m, "", b, 0);
	pointer(m, 5);
	type_of(m, BTF_KIND_FUNC_PROTO, "", 2, 5);
	parameter(m, "", 6);
	parameter(m, "", 1);
	finish(m);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), 0);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, a), -ENOENT);
	KUNIT_EXPECT_LT(test, khv_btf_size(&btf, 3), 0);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, b, "x", &place), -ENOENT);
	khv_btf_prototype(&btf, 6, text, sizeof(text));
	ask_everything(&btf);
}

static void kinds_of_another_time(struct kunit *test)
{
	struct khv_btf btf;

	make(&maker, NULL);
	type_of(&maker, NR_BTF_KINDS, "new", 0, 0);
	finish(&maker);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), -EINVAL);
	make(&maker, NULL);
	type_of(&maker, BTF_KIND_UNKN, "none", 0, 0);
	finish(&maker);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), -EINVAL);
}

/* pahole chooses the header, whatever the kernel's own one is. */
static void header_of_any_length(struct kunit *test)
{
	static struct maker m;
	struct khv_btf btf;

	m = (struct maker){ .nr_strings = 1 };
	finish_with(&m, OLD_HEADER);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), 0);
	finish_with(&m, NEW_HEADER);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), 0);
	finish_with(&m, OLD_HEADER - (u32)sizeof(u32));
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made, made_len, NULL, index_of[0]), -EINVAL);
}

static struct kunit_case btf_cases[] = {
	KUNIT_CASE(header_of_any_length),
	KUNIT_CASE(members),
	KUNIT_CASE(sizes),
	KUNIT_CASE(constants),
	KUNIT_CASE(prototypes),
	KUNIT_CASE_PARAM(declaration_in_c, declaration_gen_params),
	KUNIT_CASE(no_declarations),
	KUNIT_CASE(names),
	KUNIT_CASE(modules),
	KUNIT_CASE(cut_off_data_is_refused),
	KUNIT_CASE(any_spoiled_byte_is_harmless),
	KUNIT_CASE(circles_of_types_end),
	KUNIT_CASE(kinds_of_another_time),
	{},
};

static struct kunit_suite btf_suite = {
	.name = "khv_btf",
	.test_cases = btf_cases,
};

/* The contract: rows against the kernel of these tests. */

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

	open_kernel(test, &btf);
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

kunit_test_suites(&btf_suite, &contract_suite);
