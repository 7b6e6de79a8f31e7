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

/* Types in a chain of typedefs and qualifiers, and structures within each other. */
#define MAX_CHAIN   32
#define MAX_DEPTH   16
/* Members that a look-up considers; struct kvm_vcpu_arch has two hundred. */
#define MAX_MEMBERS 10000

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

static u32 kind(const struct btf_type *t)
{
	return BTF_INFO_KIND(t->info);
}

static bool is_composite(const struct btf_type *t)
{
	return kind(t) == BTF_KIND_STRUCT || kind(t) == BTF_KIND_UNION;
}

int khv_btf_open(struct khv_btf *btf, const void *data, u32 len, const struct khv_btf *base,
		 u32 *at)
{
	const struct btf_header *head = data;
	u32 types_len, nr = 0, pos = 0, size;
	const struct btf_type *t;
	u64 types, strings;

	if (len < sizeof(*head) || head->magic != BTF_MAGIC || head->version != BTF_VERSION ||
	    head->hdr_len < sizeof(*head))
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
		if (!kind(t) || kind(t) >= NR_BTF_KINDS)
			return -EINVAL;
		size = sizeof(*t) + extra[kind(t)].fixed +
		       BTF_INFO_VLEN(t->info) * extra[kind(t)].each;
		if (types_len - pos < size)
			return -EINVAL;
		at[nr++] = pos;
	}
	btf->end = btf->first + nr;
	return 0;
}

/* Return: the type, or NULL for void and for an id that does not exist. */
static const struct btf_type *type(const struct khv_btf *btf, u32 id)
{
	while (btf && id < btf->first)
		btf = btf->base;
	if (!btf || id >= btf->end)
		return NULL;
	return btf->types + btf->at[id - btf->first];
}

/* Return: the name, "" for a type without one. */
static const char *name(const struct khv_btf *btf, u32 offset)
{
	while (btf && offset < btf->first_string)
		btf = btf->base;
	if (!btf || offset - btf->first_string >= btf->strings_len)
		return "";
	return btf->strings + (offset - btf->first_string);
}

/* Look through typedefs and qualifiers. */
static const struct btf_type *resolve(const struct khv_btf *btf, u32 *id)
{
	const struct btf_type *t;
	int i;

	for (i = 0; i < MAX_CHAIN; i++) {
		t = type(btf, *id);
		if (!t)
			return NULL;
		switch (kind(t)) {
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

		if (!(kinds & BIT(kind(t))))
			continue;
		its = name(btf, t->name_off);
		if (!begins[beginning(its)])
			continue;
		for (i = head[hash(its)]; i >= 0; i = names[i].next) {
			if (!names[i].id && (names[i].kinds & BIT(kind(t))) &&
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
		t = resolve(btf, &id);
		if (!t)
			return -ENOENT;
		switch (kind(t)) {
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
	const struct btf_type *t = resolve(btf, &id);
	const struct btf_member *m, *end;
	u32 offset, bits;
	const char *its;
	s64 size;

	if (!t || !is_composite(t) || depth == MAX_DEPTH)
		return -ENOENT;
	m = (const void *)(t + 1);
	for (end = m + BTF_INFO_VLEN(t->info); m < end; m++) {
		if (!s->budget)
			return -ENOENT;
		s->budget--;
		its = name(btf, m->name_off);
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
	const struct btf_type *t = resolve(btf, &id);
	const struct btf_enum64 *wide;
	const struct btf_enum *e;
	u32 i;

	if (!t || (kind(t) != BTF_KIND_ENUM && kind(t) != BTF_KIND_ENUM64))
		return -ENOENT;
	e = (const void *)(t + 1);
	wide = (const void *)(t + 1);
	for (i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		if (kind(t) == BTF_KIND_ENUM) {
			if (strcmp(name(btf, e[i].name_off), constant))
				continue;
			*value = e[i].val;
		} else {
			if (strcmp(name(btf, wide[i].name_off), constant))
				continue;
			*value = (u64)wide[i].val_hi32 << 32 | wide[i].val_lo32;
		}
		return 0;
	}
	return -ENOENT;
}

/* Text that grows; too much of it shows in @len. */
struct text {
	char *buf;
	u32 size;
	u32 len;
};

static void add_bytes(struct text *text, const char *bytes, u32 len)
{
	/* Not above the size, so that the sum cannot wrap. */
	len = min(len, text->size);
	if (text->len < text->size && len < text->size - text->len) {
		memcpy(text->buf + text->len, bytes, len);
		text->buf[text->len + len] = 0;
		text->len += len;
	} else {
		text->len = text->size;
	}
}

static void add(struct text *text, const char *string)
{
	add_bytes(text, string, strlen(string));
}

static void add_stars(struct text *text, int stars)
{
	if (stars)
		add(text, " ");
	while (stars--)
		add(text, "*");
}

static void add_integer(struct text *text, u32 bytes, bool is_signed)
{
	static const char *const names[][2] = {
		{ "u8", "s8" },
		{ "u16", "s16" },
		{ "u32", "int" },
		{ "u64", "s64" },
	};
	u32 i = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;

	add(text, names[i][is_signed]);
}

static void add_named(struct text *text, const char *what, const char *its)
{
	add(text, what);
	if (*its)
		add_bytes(text, its, strnlen(its, text->size));
	else
		add(text, "(unnamed)");
}

static void add_type(const struct khv_btf *btf, struct text *text, u32 id)
{
	const struct btf_type *t;
	int stars = 0;
	u32 info;

	while ((t = resolve(btf, &id)) && kind(t) == BTF_KIND_PTR && stars < MAX_DEPTH) {
		stars++;
		id = t->type;
	}
	switch (t ? kind(t) : BTF_KIND_UNKN) {
	case BTF_KIND_UNKN:
		add(text, id ? "(unknown)" : "void");
		break;
	case BTF_KIND_INT:
		info = *(const u32 *)(t + 1);
		if (BTF_INT_ENCODING(info) & BTF_INT_BOOL)
			add(text, "bool");
		else if (!strcmp(name(btf, t->name_off), "char"))
			add(text, "char");
		else
			add_integer(text, t->size, BTF_INT_ENCODING(info) & BTF_INT_SIGNED);
		break;
	case BTF_KIND_STRUCT:
		add_named(text, "struct ", name(btf, t->name_off));
		break;
	case BTF_KIND_UNION:
		add_named(text, "union ", name(btf, t->name_off));
		break;
	case BTF_KIND_FWD:
		add_named(text, BTF_INFO_KFLAG(t->info) ? "union " : "struct ",
			  name(btf, t->name_off));
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		add_named(text, "enum ", name(btf, t->name_off));
		break;
	default:
		add(text, "(other)");
	}
	add_stars(text, stars);
}

int khv_btf_prototype(const struct khv_btf *btf, u32 id, char *buf, u32 size)
{
	struct text text = { .buf = buf, .size = size };
	const struct btf_type *t = resolve(btf, &id);
	const struct btf_param *param;
	u32 i;

	if (t && (kind(t) == BTF_KIND_FUNC || kind(t) == BTF_KIND_PTR)) {
		id = t->type;
		t = resolve(btf, &id);
	}
	if (!t || kind(t) != BTF_KIND_FUNC_PROTO)
		return -ENOENT;
	add_type(btf, &text, t->type);
	add(&text, " (");
	param = (const void *)(t + 1);
	for (i = 0; i < BTF_INFO_VLEN(t->info) && text.len < size; i++) {
		if (i)
			add(&text, ", ");
		if (param[i].type)
			add_type(btf, &text, param[i].type);
		else
			add(&text, "...");
	}
	add(&text, i ? ")" : "void)");
	return text.len < size ? 0 : -E2BIG;
}

/* Integer types by name. hyperv/kvm/contract.c has the compiler check them. */
#define KHV_INTEGER(_type, _bytes, _signed) { #_type, _bytes, _signed },
static const struct {
	const char *name;
	u8 bytes;
	bool is_signed;
} integers[] = {
#include "compat/integers.def.h"
};
#undef KHV_INTEGER

/* Words of a declaration that change no argument's register. */
static bool is_qualifier(const char *word, u32 len)
{
	static const char *const qualifiers[] = { "const", "volatile", "__user" };
	int i;

	for (i = 0; i < ARRAY_SIZE(qualifiers); i++) {
		if (len == strlen(qualifiers[i]) && !memcmp(word, qualifiers[i], len))
			return true;
	}
	return false;
}

static bool is_tag(const char *word, u32 len)
{
	return (len == 6 && !memcmp(word, "struct", 6)) ||
	       (len == 5 && !memcmp(word, "union", 5)) || (len == 4 && !memcmp(word, "enum", 4));
}

static u32 word_len(const char *at)
{
	u32 len = 0;

	while (at[len] == '_' || (at[len] >= '0' && at[len] <= '9') ||
	       (at[len] >= 'a' && at[len] <= 'z') || (at[len] >= 'A' && at[len] <= 'Z'))
		len++;
	return len;
}

static const char *skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

/* Find the integer type whose name, one word or two, begins at @at. Return: -1 if there is none. */
static int integer_at(const char *at)
{
	u32 len, best = 0;
	int i, found = -1;

	for (i = 0; i < ARRAY_SIZE(integers); i++) {
		len = strlen(integers[i].name);
		if (len > best && !strncmp(at, integers[i].name, len) && !word_len(at + len)) {
			best = len;
			found = i;
		}
	}
	return found;
}

/* Add the type whose name begins at @at, of @len bytes or more. Return: behind the name. */
static const char *add_base(struct text *text, const char *at, u32 len)
{
	int i = integer_at(at);

	if (i >= 0) {
		add_integer(text, integers[i].bytes, integers[i].is_signed);
		return at + strlen(integers[i].name);
	}
	add_bytes(text, at, len);
	if (!is_tag(at, len))
		return at + len;
	at = skip_blanks(at + len);
	len = word_len(at);
	add(text, " ");
	add_bytes(text, at, len);
	return at + len;
}

/* Add what is declared at @at. Return: behind it and its name, or NULL if there is no type. */
static const char *add_declared(struct text *text, const char *at)
{
	bool has_type = false;
	int stars = 0;
	u32 len;

	for (;;) {
		at = skip_blanks(at);
		len = word_len(at);
		if (*at == '*') {
			stars++;
			at++;
		} else if (!len) {
			break;
		} else if (has_type || is_qualifier(at, len)) {
			at += len;
		} else {
			at = add_base(text, at, len);
			has_type = true;
		}
	}
	add_stars(text, stars);
	return has_type ? at : NULL;
}

int khv_prototype(const char *declaration, char *buf, u32 size)
{
	struct text text = { .buf = buf, .size = size };
	const char *at = add_declared(&text, declaration);

	if (!at || *at != '(')
		return -EINVAL;
	add(&text, " (");
	do {
		at = add_declared(&text, at + 1);
		if (!at)
			return -EINVAL;
		if (*at == ',')
			add(&text, ", ");
	} while (*at == ',');
	if (*at != ')')
		return -EINVAL;
	add(&text, ")");
	return text.len < size ? 0 : -E2BIG;
}
