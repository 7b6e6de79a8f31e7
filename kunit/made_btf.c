// SPDX-License-Identifier: GPL-2.0-only
/*
 * BTF written word by word, and the small kernel that the suites of BTF and of the contract ask.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "made_btf.h"

void made_begin(struct btf_maker *m, const struct khv_btf *base)
{
	memset(m, 0, sizeof(*m));
	m->base = base;
	m->nr_strings = 1;
	m->next_id = base ? base->end : 1;
}

static u32 string(struct btf_maker *m, const char *s)
{
	u32 at = m->nr_strings + (m->base ? m->base->strings_len : 0);

	if (!*s)
		return 0;
	memcpy(m->strings + m->nr_strings, s, strlen(s) + 1);
	m->nr_strings += strlen(s) + 1;
	return at;
}

static void word(struct btf_maker *m, u32 w)
{
	m->words[m->nr_words++] = w;
}

/* The fixed part of a type. Return: its id. */
u32 made_type(struct btf_maker *m, u32 kind, const char *its, u32 vlen, u32 size_or_type)
{
	word(m, string(m, its));
	word(m, kind << 24 | vlen);
	word(m, size_or_type);
	return m->next_id++;
}

#define FIELDS BIT(31) /* of btf_type.info: members may be bit fields */

static u32 made_integer(struct btf_maker *m, const char *its, u32 bytes, u32 encoding)
{
	u32 id = made_type(m, BTF_KIND_INT, its, 0, bytes);

	word(m, encoding << 24 | 8 * bytes);
	return id;
}

u32 made_pointer(struct btf_maker *m, u32 to)
{
	return made_type(m, BTF_KIND_PTR, "", 0, to);
}

u32 made_array(struct btf_maker *m, u32 of, u32 nr)
{
	u32 id = made_type(m, BTF_KIND_ARRAY, "", 0, 0);

	word(m, of);
	word(m, of);
	word(m, nr);
	return id;
}

/* A member, or a parameter without an offset, of the type before. */
void made_member(struct btf_maker *m, const char *its, u32 type, u32 bits)
{
	word(m, string(m, its));
	word(m, type);
	word(m, bits);
}

void made_parameter(struct btf_maker *m, const char *its, u32 type)
{
	word(m, string(m, its));
	word(m, type);
}

u8 made_data[MADE_LEN] __aligned(4);
u32 made_len;
u32 made_index[2][MADE_LEN / KHV_BTF_MIN_TYPE];
struct made_id made_id;
struct btf_maker made_maker;

/* Write the whole to "made_data", with a header of that length. */
void made_finish_with(const struct btf_maker *m, u32 header)
{
	struct btf_header head = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = header,
		.type_len = 4 * m->nr_words,
		.str_off = 4 * m->nr_words,
		.str_len = m->nr_strings,
	};

	memset(made_data, 0, NEW_HEADER);
	memcpy(made_data, &head, OLD_HEADER);
	memcpy(made_data + header, m->words, head.type_len);
	memcpy(made_data + header + head.str_off, m->strings, head.str_len);
	made_len = header + head.str_off + head.str_len;
}

void made_finish(const struct btf_maker *m)
{
	made_finish_with(m, OLD_HEADER);
}

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
void made_kernel(struct btf_maker *m)
{
	u32 inner, both, arch, regs, pad, gpa, tag, proto, i;

	made_begin(m, NULL);
	made_id.u64 = made_integer(m, "long unsigned int", 8, 0);
	made_id.u32 = made_integer(m, "unsigned int", 4, 0);
	made_id.s32 = made_integer(m, "int", 4, BTF_INT_SIGNED);
	made_id.boolean = made_integer(m, "_Bool", 1, BTF_INT_BOOL);
	made_id.character = made_integer(m, "char", 1, BTF_INT_SIGNED);
	pad = made_array(m, made_id.character, 4);
	regs = made_array(m, made_id.u64, 17);
	inner = made_type(m, BTF_KIND_STRUCT, "", 2, 8);
	made_member(m, "pad", pad, 0);
	made_member(m, "high", made_id.u32, 32);
	both = made_type(m, BTF_KIND_UNION, "", 2, 8);
	made_member(m, "low", made_id.u32, 0);
	made_member(m, "", inner, 0);
	arch = made_type(m, BTF_KIND_STRUCT, "", 2, 8);
	m->words[m->nr_words - 2] |= FIELDS;
	made_member(m, "on", made_id.boolean, 0);
	made_member(m, "bit", made_id.u32, 3 << 24 | 33);
	made_id.vcpu = made_type(m, BTF_KIND_STRUCT, "vcpu", 4, 160);
	made_member(m, "a", made_id.u64, 0);
	made_member(m, "", both, 64);
	made_member(m, "arch", arch, 128);
	made_member(m, "regs", regs, 192);

	made_id.color = made_type(m, BTF_KIND_ENUM, "color", 2, 4);
	made_parameter(m, "RED", 5);
	made_parameter(m, "BLUE", -1);
	made_id.wide = made_type(m, BTF_KIND_ENUM64, "wide", 1, 8);
	made_member(m, "WIDE", 7, 1);

	/* gpa_t f(const struct vcpu *vcpu, bool on, enum color c, char **names, ...) */
	gpa = made_type(m, BTF_KIND_TYPEDEF, "gpa_t", 0, made_id.u64);
	made_id.pointer = made_pointer(m, made_type(m, BTF_KIND_CONST, "", 0, made_id.vcpu));
	tag = made_pointer(m, made_pointer(m, made_id.character));
	proto = made_type(m, BTF_KIND_FUNC_PROTO, "", 5, gpa);
	made_parameter(m, "vcpu", made_id.pointer);
	made_parameter(m, "on", made_id.boolean);
	made_parameter(m, "c", made_id.color);
	made_parameter(m, "names", tag);
	made_parameter(m, "", 0);
	made_id.function = made_type(m, BTF_KIND_FUNC, "f", 0, proto);
	proto = made_type(m, BTF_KIND_FUNC_PROTO, "", NR_OF_LONG, 0);
	for (i = 0; i < NR_OF_LONG; i++)
		made_parameter(m, "", made_id.pointer);
	made_type(m, BTF_KIND_FUNC, "too_long", 0, proto);
	made_finish(m);
}

void made_open_kernel(struct kunit *test, struct khv_btf *btf)
{
	made_kernel(&made_maker);
	KUNIT_ASSERT_EQ(test, khv_btf_open(btf, made_data, made_len, NULL, made_index[0]), 0);
}
