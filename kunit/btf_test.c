// SPDX-License-Identifier: GPL-2.0-only
/*
 * BTF: places and constants are read as the kernel means them, from a kernel and from a module that
 * continues it; and what is cut off, spoiled or in a circle is refused or comes to an end.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "khv/btf.h"
#include "made_btf.h"

#define STRUCTS BIT(BTF_KIND_STRUCT)

static void expect_place(struct kunit *test, const struct khv_btf *btf, const char *path,
			 u64 offset, u64 size)
{
	struct khv_btf_place place = {};

	KUNIT_EXPECT_EQ_MSG(test, khv_btf_member(btf, made_id.vcpu, path, &place), 0, "%s", path);
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

	made_open_kernel(test, &btf);
	expect_place(test, &btf, "a", 0, 64);
	expect_place(test, &btf, "low", 64, 32);
	expect_place(test, &btf, "high", 96, 32);
	expect_place(test, &btf, "arch", 128, 64);
	expect_place(test, &btf, "arch.on", 128, 8);
	expect_place(test, &btf, "arch.bit", 161, 3);
	expect_place(test, &btf, "regs", 192, 17 * 64);
	for (i = 0; i < ARRAY_SIZE(none); i++)
		KUNIT_EXPECT_EQ_MSG(test, khv_btf_member(&btf, made_id.vcpu, none[i], &place),
				    -ENOENT, "%s", none[i]);
	/* A pointer to the structure is not the structure. */
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, made_id.pointer, "a", &place), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, 0, "a", &place), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, btf.end, "a", &place), -ENOENT);
}

static void sizes(struct kunit *test)
{
	struct khv_btf btf;

	made_open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, made_id.vcpu), 160);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, made_id.pointer), 8);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, made_id.wide), 8);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, made_id.function), -ENOENT);
}

static void constants(struct kunit *test)
{
	struct khv_btf btf;
	s64 value = 0;

	made_open_kernel(test, &btf);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, made_id.color, "RED", &value), 0);
	KUNIT_EXPECT_EQ(test, value, 5);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, made_id.color, "BLUE", &value), 0);
	KUNIT_EXPECT_EQ(test, value, -1);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, made_id.wide, "WIDE", &value), 0);
	KUNIT_EXPECT_EQ(test, value, 0x100000007LL);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, made_id.color, "WIDE", &value), -ENOENT);
	KUNIT_EXPECT_EQ(test, khv_btf_constant(&btf, made_id.vcpu, "RED", &value), -ENOENT);
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

	made_open_kernel(test, &btf);
	khv_btf_find(&btf, list, ARRAY_SIZE(list));
	KUNIT_EXPECT_EQ(test, list[0].id, made_id.vcpu);
	KUNIT_EXPECT_EQ(test, list[1].id, 0);
	KUNIT_EXPECT_EQ(test, list[2].id, made_id.color);
	KUNIT_EXPECT_EQ(test, list[3].id, made_id.function);
	KUNIT_EXPECT_EQ(test, list[4].id, 0);
	KUNIT_EXPECT_EQ(test, list[6].id, 0);
	KUNIT_EXPECT_EQ(test, list[7].id, made_id.vcpu);
	/* Found already, in other types. */
	KUNIT_EXPECT_EQ(test, list[8].id, 1);
}

static u8 kernel_copy[MADE_LEN] __aligned(4);

/* A module whose types and names continue the kernel's. */
static void modules(struct kunit *test)
{
	struct khv_btf kernel, module;
	struct khv_btf_place place;
	struct khv_btf_name list[2];
	u32 svm;

	made_kernel(&made_maker);
	memcpy(kernel_copy, made_data, made_len);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&kernel, kernel_copy, made_len, NULL, made_index[0]), 0);
	made_begin(&made_maker, &kernel);
	svm = made_type(&made_maker, BTF_KIND_STRUCT, "svm", 2, 168);
	made_member(&made_maker, "vcpu", made_id.vcpu, 0);
	made_member(&made_maker, "vmcb", made_id.pointer, 8 * 160);
	made_finish(&made_maker);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&module, made_data, made_len, &kernel, made_index[1]),
			0);

	list[0] = (struct khv_btf_name){ &module, "svm", STRUCTS };
	list[1] = (struct khv_btf_name){ &module, "vcpu", STRUCTS };
	khv_btf_find(&module, list, 2);
	KUNIT_EXPECT_EQ(test, list[0].id, svm);
	KUNIT_EXPECT_EQ(test, list[1].id, 0);
	khv_btf_find(&kernel, list, 2);
	KUNIT_EXPECT_EQ(test, list[0].id, svm);
	KUNIT_EXPECT_EQ(test, list[1].id, made_id.vcpu);

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

	made_kernel(&made_maker);
	for (len = 0; len < made_len; len++)
		KUNIT_EXPECT_EQ_MSG(test, khv_btf_open(&btf, made_data, len, NULL, made_index[0]),
				    -EINVAL, "%u bytes", len);
}

/* Every byte is spoiled in some ways; right behind the input nothing may be read. */
static void any_spoiled_byte_is_harmless(struct kunit *test)
{
	static const u8 values[] = { 0, 1, 0x7f, 0x80, 0xff };
	u8 *last = kernel_copy + sizeof(kernel_copy), *copy;
	u32 pos, i, opened = 0;
	struct khv_btf btf;

	made_kernel(&made_maker);
	/* Padding of the strings, so that the copy is aligned at both ends. */
	while (made_len % 4) {
		made_data[made_len++] = 0;
		((struct btf_header *)made_data)->str_len++;
	}
	copy = last - made_len;
	for (pos = 0; pos < made_len; pos++) {
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			memcpy(copy, made_data, made_len);
			copy[pos] = values[i];
			if (khv_btf_open(&btf, copy, made_len, NULL, made_index[0]))
				continue;
			opened++;
			ask_everything(&btf);
		}
	}
	KUNIT_EXPECT_GT(test, opened, made_len);
}

static void circles_of_types_end(struct kunit *test)
{
	struct btf_maker *m = &made_maker;
	struct khv_btf_place place;
	struct khv_btf btf;
	char text[64];
	u32 a, b, i;

	made_begin(m, NULL);
	a = made_type(m, BTF_KIND_TYPEDEF, "a", 0, 2);
	made_type(m, BTF_KIND_TYPEDEF, "b", 0, 1);
	made_array(m, 3, 4);
	b = made_type(m, BTF_KIND_STRUCT, "circle", 32, 8);
	for (i = 0; i < 32; i++)
		made_member(m, "", b, 0);
	made_pointer(m, 5);
	made_type(m, BTF_KIND_FUNC_PROTO, "", 2, 5);
	made_parameter(m, "", 6);
	made_parameter(m, "", 1);
	made_finish(m);
	KUNIT_ASSERT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]), 0);
	KUNIT_EXPECT_EQ(test, khv_btf_size(&btf, a), -ENOENT);
	KUNIT_EXPECT_LT(test, khv_btf_size(&btf, 3), 0);
	KUNIT_EXPECT_EQ(test, khv_btf_member(&btf, b, "x", &place), -ENOENT);
	khv_btf_prototype(&btf, 6, text, sizeof(text));
	ask_everything(&btf);
}

static void kinds_of_another_time(struct kunit *test)
{
	struct khv_btf btf;

	made_begin(&made_maker, NULL);
	made_type(&made_maker, NR_BTF_KINDS, "new", 0, 0);
	made_finish(&made_maker);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]),
			-EINVAL);
	made_begin(&made_maker, NULL);
	made_type(&made_maker, BTF_KIND_UNKN, "none", 0, 0);
	made_finish(&made_maker);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]),
			-EINVAL);
}

/* pahole chooses the header, whatever the kernel's own one is. */
static void header_of_any_length(struct kunit *test)
{
	static struct btf_maker m;
	struct khv_btf btf;

	m = (struct btf_maker){ .nr_strings = 1 };
	made_finish_with(&m, OLD_HEADER);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]), 0);
	made_finish_with(&m, NEW_HEADER);
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]), 0);
	made_finish_with(&m, OLD_HEADER - (u32)sizeof(u32));
	KUNIT_EXPECT_EQ(test, khv_btf_open(&btf, made_data, made_len, NULL, made_index[0]),
			-EINVAL);
}

static struct kunit_case btf_cases[] = {
	KUNIT_CASE(header_of_any_length),
	KUNIT_CASE(members),
	KUNIT_CASE(sizes),
	KUNIT_CASE(constants),
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

kunit_test_suites(&btf_suite);
