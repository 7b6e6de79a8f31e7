// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads BTF. Pure. The input is the running kernel's, or a file that somebody names: every offset,
 * id and length in it is checked before use, and what refers to itself comes to an end.
 */
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "khv/btf.h"

#include "btf_types.h"

/* Types in a chain of typedefs and qualifiers, and structures within each other. */
#define MAX_CHAIN   32
#define MAX_DEPTH   16
/* Members that a look-up considers; struct kvm_vcpu_arch has two hundred. */
#define MAX_MEMBERS 10000

/* What every header has; Linux 7.3 appends a section for new kinds. */
#define HEADER_LEN (offsetof(struct btf_header, str_len) + sizeof(u32))

/* What follows the fixed part of a type: so much for each of its @vlen, and so much in any case. */
static const struct {
	u8 fixed;
	u8 each;
} extra[NR_BTF_KINDS] = {
	[BTF_KIND_INT] = { sizeof(u32) },
	[BTF_KIND_ARRAY] = { sizeof(struct btf_array) },
	[BTF_KIND_STRUCT] = { 0, sizeof(struct btf_member) },
	[BTF_KIND_UNION] = { 0, sizeof(struct btf_member) },
	[BTF_KIND_ENUM] = { 0, sizeof(struct btf_enum) },
	[BTF_KIND_FUNC_PROTO] = { 0, sizeof(struct btf_param) },
	[BTF_KIND_VAR] = { sizeof(struct btf_var) },
	[BTF_KIND_DATASEC] = { 0, sizeof(struct btf_var_secinfo) },
	[BTF_KIND_DECL_TAG] = { sizeof(struct btf_decl_tag) },
	[BTF_KIND_ENUM64] = { 0, sizeof(struct btf_enum64) },
};

static bool is_composite(const struct btf_type *t)
{
	return khv_btf_kind(t) == BTF_KIND_STRUCT || khv_btf_kind(t) == BTF_KIND_UNION;
}

int khv_btf_open(struct khv_btf *btf, const void *data, u32 len, const struct khv_btf *base,
		 u32 *at)
{
	const struct btf_header *head = data;
	u32 types_len, nr = 0, pos = 0;
	const struct btf_type *t;
	u64 types, strings, size;

	/* The kernel's header need not be as long as the one of the headers: pahole decides. */
	if (len < HEADER_LEN || head->magic != BTF_MAGIC || head->version != BTF_VERSION ||
	    head->hdr_len < HEADER_LEN)
		return -EINVAL;
	types = (u64)head->hdr_len + head->type_off;
	strings = (u64)head->hdr_len + head->str_off;
	types_len = head->type_len;
	if (types % sizeof(u32) || types + types_len > len || !head->str_len ||
	    strings + head->str_len > len)
		return -EINVAL;
	*btf = (struct khv_btf){
		.base = base,
		.types = data + types,
		.strings = data + strings,
		.at = at,
		.strings_len = head->str_len,
		.first_string = base ? base->first_string + base->strings_len : 0,
		.first = base ? base->end : 1,
	};
	if (btf->strings[btf->strings_len - 1])
		return -EINVAL;

	for (; pos < types_len; pos += size) {
		if (types_len - pos < sizeof(*t))
			return -EINVAL;
		t = btf->types + pos;
		if (!khv_btf_kind(t) || khv_btf_kind(t) >= NR_BTF_KINDS)
			return -EINVAL;
		size = sizeof(*t) + extra[khv_btf_kind(t)].fixed +
		       (u64)khv_btf_vlen(t) * extra[khv_btf_kind(t)].each;
		if (types_len - pos < size)
			return -EINVAL;
		at[nr++] = pos;
	}
	btf->end = btf->first + nr;
	return 0;
}

const struct btf_type *khv_btf_type(const struct khv_btf *btf, u32 id)
{
	while (btf && id < btf->first)
		btf = btf->base;
	if (!btf || id >= btf->end)
		return NULL;
	return btf->types + btf->at[id - btf->first];
}

const char *khv_btf_name(const struct khv_btf *btf, u32 offset)
{
	while (btf && offset < btf->first_string)
		btf = btf->base;
	if (!btf || offset - btf->first_string >= btf->strings_len)
		return "";
	return btf->strings + (offset - btf->first_string);
}

const struct btf_type *khv_btf_resolve(const struct khv_btf *btf, u32 *id)
{
	const struct btf_type *t;
	int i;

	for (i = 0; i < MAX_CHAIN; i++) {
		t = khv_btf_type(btf, *id);
		if (!t)
			return NULL;
		switch (khv_btf_kind(t)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			*id = t->type;
			break;
		default:
			return t;
		}
	}
	return NULL;
}

#define BUCKETS 256

/* Names are chosen by whoever made the BTF: do not follow one for as long as the file. */
#define HASHED 64

static u8 hash(const char *string)
{
	u32 hash = 0;
	int i;

	for (i = 0; i < HASHED && string[i]; i++)
		hash = hash * 31 + (u8)string[i];
	return hash ^ hash >> 8;
}

/* The kernel has a hundred thousand names: most of them differ in the first two bytes. */
static u8 beginning(const char *string)
{
	return string[0] ? string[0] * 5 + string[1] : 0;
}

void khv_btf_find(const struct khv_btf *btf, struct khv_btf_name *names, int count)
{
	bool begins[BUCKETS] = {};
	s16 head[BUCKETS];
	u32 kinds = 0, id;
	int i;

	memset(head, -1, sizeof(head));
	for (i = 0; i < count; i++) {
		if (names[i].id || !names[i].in || (names[i].in != btf && names[i].in->base != btf))
			continue;
		begins[beginning(names[i].name)] = true;
		names[i].next = head[hash(names[i].name)];
		head[hash(names[i].name)] = i;
		kinds |= names[i].kinds;
	}
	for (id = btf->first; id < btf->end; id++) {
		const struct btf_type *t = btf->types + btf->at[id - btf->first];
		const char *its;

		if (!(kinds & BIT(khv_btf_kind(t))))
			continue;
		its = khv_btf_name(btf, t->name_off);
		if (!begins[beginning(its)])
			continue;
		for (i = head[hash(its)]; i >= 0; i = names[i].next) {
			if (!names[i].id && (names[i].kinds & BIT(khv_btf_kind(t))) &&
			    !strcmp(names[i].name, its))
				names[i].id = id;
		}
	}
}

s64 khv_btf_size(const struct khv_btf *btf, u32 id)
{
	const struct btf_array *array;
	const struct btf_type *t;
	u64 count = 1;
	int i;

	for (i = 0; i < MAX_CHAIN; i++) {
		t = khv_btf_resolve(btf, &id);
		if (!t)
			return -ENOENT;
		switch (khv_btf_kind(t)) {
		case BTF_KIND_INT:
		case BTF_KIND_FLOAT:
		case BTF_KIND_ENUM:
		case BTF_KIND_ENUM64:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
			return count * t->size;
		case BTF_KIND_PTR:
			return count * sizeof(u64);
		case BTF_KIND_ARRAY:
			array = (const void *)(t + 1);
			count *= array->nelems;
			/* No member of a structure is larger than this. */
			if (count > U32_MAX)
				return -E2BIG;
			id = array->type;
			break;
		default:
			return -ENOENT;
		}
	}
	return -ENOENT;
}

/* A search in a structure. @budget: members to look at, as structures may be in a circle. */
struct search {
	const struct khv_btf *btf;
	const char *name;
	u32 len;
	u32 budget;
};

static int find_member(struct search *s, u32 id, int depth, struct khv_btf_place *place)
{
	const struct khv_btf *btf = s->btf;
	const struct btf_type *t = khv_btf_resolve(btf, &id);
	const struct btf_member *m, *end;
	u32 offset, bits;
	const char *its;
	s64 size;

	if (!t || !is_composite(t) || depth == MAX_DEPTH)
		return -ENOENT;
	m = (const void *)(t + 1);
	for (end = m + khv_btf_vlen(t); m < end; m++) {
		if (!s->budget)
			return -ENOENT;
		s->budget--;
		its = khv_btf_name(btf, m->name_off);
		offset = m->offset;
		bits = 0;
		if (BTF_INFO_KFLAG(t->info)) {
			offset = BTF_MEMBER_BIT_OFFSET(m->offset);
			bits = BTF_MEMBER_BITFIELD_SIZE(m->offset);
		}
		if (!*its) {
			if (find_member(s, m->type, depth + 1, place))
				continue;
			place->offset += offset;
			return 0;
		}
		if (strncmp(its, s->name, s->len) || its[s->len])
			continue;
		size = khv_btf_size(btf, m->type);
		if (size < 0)
			return -ENOENT;
		*place = (struct khv_btf_place){
			.offset = offset,
			.size = bits ? bits : 8 * size,
			.type = m->type,
		};
		return 0;
	}
	return -ENOENT;
}

int khv_btf_member(const struct khv_btf *btf, u32 id, const char *path, struct khv_btf_place *place)
{
	struct search s = { .btf = btf, .budget = MAX_MEMBERS };
	u64 offset = 0;

	for (;;) {
		s.name = path;
		s.len = strcspn(path, ".");
		if (!s.len || find_member(&s, id, 0, place))
			return -ENOENT;
		offset += place->offset;
		id = place->type;
		path += s.len;
		if (!*path)
			break;
		path++;
	}
	place->offset = offset;
	return 0;
}

int khv_btf_constant(const struct khv_btf *btf, u32 id, const char *constant, s64 *value)
{
	const struct btf_type *t = khv_btf_resolve(btf, &id);
	const struct btf_enum64 *wide;
	const struct btf_enum *e;
	u32 i;

	if (!t || (khv_btf_kind(t) != BTF_KIND_ENUM && khv_btf_kind(t) != BTF_KIND_ENUM64))
		return -ENOENT;
	e = (const void *)(t + 1);
	wide = (const void *)(t + 1);
	for (i = 0; i < khv_btf_vlen(t); i++) {
		if (khv_btf_kind(t) == BTF_KIND_ENUM) {
			if (strcmp(khv_btf_name(btf, e[i].name_off), constant))
				continue;
			*value = e[i].val;
		} else {
			if (strcmp(khv_btf_name(btf, wide[i].name_off), constant))
				continue;
			*value = (u64)wide[i].val_hi32 << 32 | wide[i].val_lo32;
		}
		return 0;
	}
	return -ENOENT;
}
