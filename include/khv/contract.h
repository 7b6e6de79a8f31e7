/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel contract: what the module takes for granted about structures, constants and functions
 * of KVM and the kernel, in a form that can be compared with a kernel's BTF. The rows are in
 * include/compat/contract.def.h. They hold no pointers, so that "make check-kernel" can read them
 * from the module's file.
 */
#ifndef KHV_CONTRACT_H
#define KHV_CONTRACT_H

#include <linux/types.h>

#include "khv/btf.h"

/* Sections of the module with the rows; freed after load. */
#define KHV_CONTRACT_FIELDS    ".init.khv_fields"
#define KHV_CONTRACT_FUNCTIONS ".init.khv_functions"

/**
 * enum khv_contract_where - whose BTF has the type or the function
 * @KHV_WHERE_KERNEL: the kernel itself
 * @KHV_WHERE_KVM: kvm.ko
 * @KHV_WHERE_INTEL: kvm-intel.ko
 * @KHV_WHERE_AMD: kvm-amd.ko
 */
enum khv_contract_where {
	KHV_WHERE_KERNEL,
	KHV_WHERE_KVM,
	KHV_WHERE_INTEL,
	KHV_WHERE_AMD,
};

/**
 * enum khv_contract_what - what a row of &struct khv_field is about
 * @KHV_WHAT_FIELD: a member of a structure
 * @KHV_WHAT_SIZE: a structure's size
 * @KHV_WHAT_CONSTANT: a constant of an enumeration
 */
enum khv_contract_what {
	KHV_WHAT_FIELD,
	KHV_WHAT_SIZE,
	KHV_WHAT_CONSTANT,
};

/**
 * struct khv_field - a member, a size or a constant
 * @where: &enum khv_contract_where
 * @what: &enum khv_contract_what
 * @value: offset of the member in bytes, or the constant
 * @size: bytes; 0 in a row of a member whose size does not matter
 * @type: name of the structure or enumeration
 * @member: path of the member or name of the constant
 */
struct khv_field {
	u8 where;
	u8 what;
	u32 value;
	u32 size;
	char type[32];
	char member[44];
};

/**
 * struct khv_function - a function that is called or replaced
 * @where: &enum khv_contract_where
 * @undescribed: not a prototype, but leave for BTF not to describe the function
 * @type: the structure that has a pointer to it, or ""
 * @name: its name, or the pointer's
 * @declaration: its prototype, as khv_prototype() reads it; any of several rows of one name will
 *	do. With @undescribed: why BTF may lack it
 */
struct khv_function {
	u8 where;
	u8 undescribed;
	char type[22];
	char name[48];
	char declaration[144];
};

/**
 * struct khv_contract - all rows
 * @fields: members, sizes and constants
 * @functions: functions
 * @nr_fields: number of @fields
 * @nr_functions: number of @functions
 * @wanted: does this host need the function of that name? NULL: all are needed
 */
struct khv_contract {
	const struct khv_field *fields;
	const struct khv_function *functions;
	int nr_fields;
	int nr_functions;
	bool (*wanted)(const char *name);
};

/**
 * struct khv_contract_types - a kernel to compare with
 * @kernel: types of the kernel
 * @kvm: types of kvm.ko
 * @vendor: types of the vendor's module, or NULL
 * @vendor_is: KHV_WHERE_INTEL or KHV_WHERE_AMD
 */
struct khv_contract_types {
	const struct khv_btf *kernel;
	const struct khv_btf *kvm;
	const struct khv_btf *vendor;
	enum khv_contract_where vendor_is;
};

/* Called once per difference: what differs, and how. */
typedef void khv_contract_report(const char *name, const char *why);

/**
 * khv_contract_check() - compare the rows with a kernel
 * @c: the rows
 * @types: the kernel
 * @names: space for c->nr_fields + c->nr_functions names
 * @report: called once per difference
 *
 * Rows of the other vendor are left out, and so are functions that the host does not need. A
 * function that BTF does not describe is a difference, unless a row gives it leave.
 *
 * Return: number of differences.
 */
int khv_contract_check(const struct khv_contract *c, const struct khv_contract_types *types,
		       struct khv_btf_name *names, khv_contract_report *report);

#ifdef __KERNEL__
/**
 * khv_contract_compare() - compare the rows with the running kernel
 * @wanted: as in &struct khv_contract
 * @report: called once per difference
 *
 * Logs the reason where the kernel has no BTF to compare with. Context: module load, may sleep.
 * Return: number of differences, or -ENOMEM.
 */
int khv_contract_compare(bool (*wanted)(const char *name), khv_contract_report *report);
#endif

#endif
