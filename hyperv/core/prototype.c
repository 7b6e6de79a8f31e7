// SPDX-License-Identifier: GPL-2.0-only
/*
 * Spells prototypes in one form, so that they can be compared as text: those of functions in BTF,
 * and those that declarations of this module state. Pure.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "khv/btf.h"

#include "btf_types.h"

/* A pointer to a pointer to a pointer ... */
#define MAX_STARS 16

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

	while ((t = khv_btf_resolve(btf, &id)) && khv_btf_kind(t) == BTF_KIND_PTR &&
	       stars < MAX_STARS) {
		stars++;
		id = t->type;
	}
	switch (t ? khv_btf_kind(t) : BTF_KIND_UNKN) {
	case BTF_KIND_UNKN:
		add(text, id ? "(unknown)" : "void");
		break;
	case BTF_KIND_INT:
		info = *(const u32 *)(t + 1);
		if (BTF_INT_ENCODING(info) & BTF_INT_BOOL)
			add(text, "bool");
		else if (!strcmp(khv_btf_name(btf, t->name_off), "char"))
			add(text, "char");
		else
			add_integer(text, t->size, BTF_INT_ENCODING(info) & BTF_INT_SIGNED);
		break;
	case BTF_KIND_STRUCT:
		add_named(text, "struct ", khv_btf_name(btf, t->name_off));
		break;
	case BTF_KIND_UNION:
		add_named(text, "union ", khv_btf_name(btf, t->name_off));
		break;
	case BTF_KIND_FWD:
		add_named(text, BTF_INFO_KFLAG(t->info) ? "union " : "struct ",
			  khv_btf_name(btf, t->name_off));
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		add_named(text, "enum ", khv_btf_name(btf, t->name_off));
		break;
	default:
		add(text, "(other)");
	}
	add_stars(text, stars);
}

int khv_btf_prototype(const struct khv_btf *btf, u32 id, char *buf, u32 size)
{
	struct text text = { .buf = buf, .size = size };
	const struct btf_type *t = khv_btf_resolve(btf, &id);
	const struct btf_param *param;
	u32 i;

	if (t && (khv_btf_kind(t) == BTF_KIND_FUNC || khv_btf_kind(t) == BTF_KIND_PTR)) {
		id = t->type;
		t = khv_btf_resolve(btf, &id);
	}
	if (!t || khv_btf_kind(t) != BTF_KIND_FUNC_PROTO)
		return -ENOENT;
	add_type(btf, &text, t->type);
	add(&text, " (");
	param = (const void *)(t + 1);
	for (i = 0; i < khv_btf_vlen(t) && text.len < size; i++) {
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
