/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads BTF, the kernel's description of its types: where a member of a structure is, what
 * prototype a function has. Pure, and safe for any input: the same code runs at module load and in
 * "make check-kernel". Documentation/bpf/btf.rst of the kernel describes the format.
 */
#ifndef KHV_BTF_H
#define KHV_BTF_H

#include <linux/types.h>

/* The shortest type takes this many bytes. */
#define KHV_BTF_MIN_TYPE 12

/**
 * struct khv_btf - the types of the kernel, or of one of its modules
 * @base: the kernel's types, which those of a module continue; NULL for the kernel
 * @types: the types, one behind the other
 * @strings: their names, each with a terminating zero
 * @at: offset of each type in @types
 * @strings_len: bytes in @strings
 * @first_string: offset of the first of @strings, behind those of @base
 * @first: id of the first type; id 0 is void
 * @end: one more than the id of the last type
 */
struct khv_btf {
	const struct khv_btf *base;
	const void *types;
	const char *strings;
	u32 *at;
	u32 strings_len;
	u32 first_string;
	u32 first;
	u32 end;
};

/**
 * struct khv_btf_name - a name to look up
 * @in: the types that should have it, themselves or in their base; NULL if nobody needs it
 * @name: the name
 * @kinds: the kinds of type that it may be, as a mask of 1 << BTF_KIND_*
 * @id: id of the first such type, or 0
 * @next: for khv_btf_find()
 */
struct khv_btf_name {
	const struct khv_btf *in;
	const char *name;
	u32 kinds;
	u32 id;
	int next;
};

/**
 * struct khv_btf_place - place of a member in a structure
 * @offset: offset from the start of the structure, in bits
 * @size: size, in bits
 * @type: id of the member's type
 */
struct khv_btf_place {
	u64 offset;
	u64 size;
	u32 type;
};

/**
 * khv_btf_open() - check the format and index the types
 * @btf: to fill in; refers to the other arguments
 * @data: what /sys/kernel/btf/... or a section .BTF holds, aligned to 4 bytes
 * @len: bytes in @data
 * @base: the kernel's types, if these are a module's
 * @at: space for the index: @len / KHV_BTF_MIN_TYPE words
 *
 * Return: 0; -EINVAL if this is no BTF, or has types that this code does not know.
 */
int khv_btf_open(struct khv_btf *btf, const void *data, u32 len, const struct khv_btf *base,
		 u32 *at);

/**
 * khv_btf_find() - look up many names in one pass over the types
 * @btf: the types; those of its base are not searched
 * @names: the names; those of other types, and those that have an id already, are left alone
 * @count: number of @names
 */
void khv_btf_find(const struct khv_btf *btf, struct khv_btf_name *names, int count);

/**
 * khv_btf_size() - size of a type
 * @btf: the types
 * @id: the type
 *
 * Return: bytes, or a negative errno if the type has no size.
 */
s64 khv_btf_size(const struct khv_btf *btf, u32 id);

/**
 * khv_btf_member() - find a member of a structure
 * @btf: the types
 * @id: a structure or union
 * @path: names, separated by dots; unnamed members on the way are not mentioned
 * @place: to fill in
 *
 * Return: 0, or -ENOENT.
 */
int khv_btf_member(const struct khv_btf *btf, u32 id, const char *path,
		   struct khv_btf_place *place);

/**
 * khv_btf_constant() - find a constant of an enumeration
 * @btf: the types
 * @id: an enumeration
 * @name: the constant
 * @value: to fill in
 *
 * Return: 0, or -ENOENT.
 */
int khv_btf_constant(const struct khv_btf *btf, u32 id, const char *name, s64 *value);

/**
 * khv_btf_prototype() - write a function's prototype as text
 * @btf: the types
 * @id: a function, or a pointer to one
 * @text: the text, as khv_prototype() writes it
 * @size: bytes in @text
 *
 * Return: 0; -ENOENT if @id is no function; -E2BIG if the text is longer.
 */
int khv_btf_prototype(const struct khv_btf *btf, u32 id, char *text, u32 size);

/**
 * khv_prototype() - bring a declaration into the form of khv_btf_prototype()
 * @declaration: return type and parameters in C, such as "int (struct kvm *kvm, const u32 *msr)"
 * @text: "int (struct kvm *, u32 *)": without names and qualifiers, integers by their width
 * @size: bytes in @text
 *
 * Knows the integer types that declarations of KVM's functions use; takes any other single name for
 * a type of that name.
 *
 * Return: 0; -E2BIG if the text is longer; -EINVAL if this is no declaration.
 */
int khv_prototype(const char *declaration, char *text, u32 size);

#endif
