// SPDX-License-Identifier: GPL-2.0-only
/* Compares the kernel contract with a kernel's BTF. Pure. */
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <uapi/linux/btf.h>

#include "khv/contract.h"

#define KINDS_STRUCT   (BIT(BTF_KIND_STRUCT) | BIT(BTF_KIND_UNION))
#define KINDS_ENUM     (BIT(BTF_KIND_ENUM) | BIT(BTF_KIND_ENUM64))
#define KINDS_FUNCTION BIT(BTF_KIND_FUNC)

/* A prototype, and the two of a report. */
#define TEXT 160

/* The types that a row is about, or NULL if it is the other vendor's. */
static const struct khv_btf *types_of(const struct khv_contract_types *types, u8 where)
{
	switch (where) {
	case KHV_WHERE_KERNEL:
		return types->kernel;
	case KHV_WHERE_KVM:
		return types->kvm;
	default:
		return where == types->vendor_is ? types->vendor : NULL;
	}
}

static bool field_agrees(const struct khv_field *f, const struct khv_btf_name *type,
			 khv_contract_report *report)
{
	struct khv_btf_place place;
	char name[sizeof(f->type) + sizeof(f->member) + 16], why[TEXT];

	snprintf(name, sizeof(name), "struct %s: %s", f->type, f->member);
	if (khv_btf_member(type->in, type->id, f->member, &place)) {
		report(name, "is not there");
		return false;
	}
	if (place.offset != 8ULL * f->value) {
		snprintf(why, sizeof(why), "is at %llu here, built for %u", place.offset / 8,
			 f->value);
		report(name, why);
		return false;
	}
	if (f->size && place.size != 8ULL * f->size) {
		snprintf(why, sizeof(why), "has %llu bytes here, built for %u", place.size / 8,
			 f->size);
		report(name, why);
		return false;
	}
	return true;
}

static bool size_agrees(const struct khv_field *f, const struct khv_btf_name *type,
			khv_contract_report *report)
{
	s64 size = khv_btf_size(type->in, type->id);
	char name[sizeof(f->type) + 8], why[TEXT];

	if (size == f->size)
		return true;
	snprintf(name, sizeof(name), "struct %s", f->type);
	snprintf(why, sizeof(why), "has %lld bytes here, built for %u", size, f->size);
	report(name, why);
	return false;
}

static bool constant_agrees(const struct khv_field *f, const struct khv_btf_name *type,
			    khv_contract_report *report)
{
	char why[TEXT];
	s64 value;

	if (khv_btf_constant(type->in, type->id, f->member, &value)) {
		report(f->member, "is not there");
		return false;
	}
	if (value == (s32)f->value)
		return true;
	snprintf(why, sizeof(why), "is %lld here, built for %d", value, (s32)f->value);
	report(f->member, why);
	return false;
}

static bool agrees(const struct khv_field *f, const struct khv_btf_name *type,
		   khv_contract_report *report)
{
	if (!type->in)
		return true;
	if (!type->id) {
		report(f->type, "is not there");
		return false;
	}
	switch (f->what) {
	case KHV_WHAT_FIELD:
		return field_agrees(f, type, report);
	case KHV_WHAT_SIZE:
		return size_agrees(f, type, report);
	default:
		return constant_agrees(f, type, report);
	}
}

/* What the kernel says of a function. Return: as khv_btf_prototype(). */
static int found_prototype(const struct khv_function *f, const struct khv_btf_name *type,
			   char *text)
{
	struct khv_btf_place place;
	u32 id = type->id;

	if (!id)
		return -ENOENT;
	if (*f->type) {
		if (khv_btf_member(type->in, id, f->name, &place))
			return -ENOENT;
		id = place.type;
	}
	return khv_btf_prototype(type->in, id, text, TEXT);
}

static bool same_function(const struct khv_function *a, const struct khv_function *b)
{
	return a->where == b->where && !strcmp(a->name, b->name) && !strcmp(a->type, b->type);
}

static bool may_be_undescribed(const struct khv_contract *c, const struct khv_function *f)
{
	int i;

	for (i = 0; i < c->nr_functions; i++) {
		if (c->functions[i].undescribed && same_function(&c->functions[i], f))
			return true;
	}
	return false;
}

/* Compare all rows of the function of row @first, unless an earlier row has done so. */
static bool function_agrees(const struct khv_contract *c, int first,
			    const struct khv_btf_name *type, khv_contract_report *report)
{
	const struct khv_function *f = &c->functions[first];
	char found[TEXT], built[TEXT], why[2 * TEXT + 32];
	int i, ret;

	if (f->undescribed || !type->in || (c->wanted && !c->wanted(f->name)))
		return true;
	for (i = 0; i < first; i++) {
		if (!c->functions[i].undescribed && same_function(&c->functions[i], f))
			return true;
	}
	ret = found_prototype(f, type, found);
	if (ret == -ENOENT) {
		if (may_be_undescribed(c, f))
			return true;
		report(f->name, "is not described by BTF");
		return false;
	}
	for (i = c->nr_functions - 1; i >= first; i--) {
		if (c->functions[i].undescribed || !same_function(&c->functions[i], f))
			continue;
		if (khv_prototype(c->functions[i].declaration, built, sizeof(built)))
			strscpy(built, c->functions[i].declaration, sizeof(built));
		/* What does not fit is longer than any row, and so no row's. */
		if (!ret && !strcmp(found, built))
			return true;
	}
	snprintf(why, sizeof(why), "is %s%s here, built for %s", found, ret ? "..." : "", built);
	report(f->name, why);
	return false;
}

static void look_up(const struct khv_contract *c, const struct khv_contract_types *types,
		    struct khv_btf_name *names)
{
	int i, count = c->nr_fields + c->nr_functions;

	for (i = 0; i < c->nr_fields; i++) {
		names[i] = (struct khv_btf_name){
			.in = types_of(types, c->fields[i].where),
			.name = c->fields[i].type,
			.kinds = c->fields[i].what == KHV_WHAT_CONSTANT ? KINDS_ENUM : KINDS_STRUCT,
		};
	}
	names += c->nr_fields;
	for (i = 0; i < c->nr_functions; i++) {
		const struct khv_function *f = &c->functions[i];

		names[i] = (struct khv_btf_name){
			.in = types_of(types, f->where),
			.name = *f->type ? f->type : f->name,
			.kinds = *f->type ? KINDS_STRUCT : KINDS_FUNCTION,
		};
	}
	names -= c->nr_fields;
	/* What a module shares with the kernel is described once, in the kernel. */
	khv_btf_find(types->kvm, names, count);
	if (types->vendor)
		khv_btf_find(types->vendor, names, count);
	khv_btf_find(types->kernel, names, count);
}

int khv_contract_check(const struct khv_contract *c, const struct khv_contract_types *types,
		       struct khv_btf_name *names, khv_contract_report *report)
{
	int i, differ = 0;

	look_up(c, types, names);
	for (i = 0; i < c->nr_fields; i++)
		differ += !agrees(&c->fields[i], &names[i], report);
	names += c->nr_fields;
	for (i = 0; i < c->nr_functions; i++)
		differ += !function_agrees(c, i, &names[i], report);
	return differ;
}
