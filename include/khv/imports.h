/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions and variables of the host kernel, found by name. Parts call KVM through this header and
 * port.h only.
 */
#ifndef KHV_IMPORTS_H
#define KHV_IMPORTS_H

#include <linux/kvm_host.h>
#include <linux/static_call.h>

#include "compat/kvm_hv.h"
#include "compat/x86_ops.h"

/* Private to KVM; the module only passes NULL. */
struct dest_map;
struct x86_exception;

/* khv_<import>() calls a function of the host kernel; its address is patched in at load. */
#define KHV_IMPORT(_mod, _ret, _name, _params, _args)               \
	_ret khv_proto_##_name _params;                             \
	DECLARE_STATIC_CALL(khv_import_##_name, khv_proto_##_name); \
	static __always_inline _ret khv_##_name _params             \
	{                                                           \
		return static_call(khv_import_##_name) _args;       \
	}
#include "compat/imports.def.h"
#undef KHV_IMPORT

/* Vendor functions in kvm_x86_ops that hot paths call. */
DECLARE_STATIC_CALL(khv_x86_get_cpl, khv_proto_get_cpl);
DECLARE_STATIC_CALL(khv_x86_get_cs_db_l_bits, khv_proto_get_cs_db_l_bits);
DECLARE_STATIC_CALL(khv_x86_flush_tlb_gva, khv_proto_flush_tlb_gva);
DECLARE_STATIC_CALL(khv_x86_flush_tlb_guest, khv_proto_flush_tlb_guest);
DECLARE_STATIC_CALL(khv_x86_deliver_interrupt, khv_proto_deliver_interrupt);

/* KVM's table of vendor functions; valid from khv_imports_find() to unload. */
extern struct kvm_x86_ops *khv_x86_ops;

/* KVM's table of the vendor's functions for nested guests; valid likewise. */
extern const struct kvm_x86_nested_ops *khv_nested_ops;

/* Name of the vendor module; set before any symbol is looked up. */
extern const char *khv_vendor;

/* Does KVM use EPT or NPT? If not, it shadows the guest's page tables. */
extern const bool *khv_tdp_enabled;

/* May the CPU deliver interrupts (APICv or AVIC) where no inhibit reason forbids it? */
extern const bool *khv_enable_apicv;

/* Is khv_vendor kvm_amd? Set together with it. */
extern bool khv_svm;

/**
 * khv_symbols_init() - enable look-ups by name, and find the kernel's own functions
 * @report: called once per missing name, with its purpose
 *
 * Context: module load, may sleep.
 * Return: 0; -EOPNOTSUPP if a name is missing; the errno of the kprobe on kallsyms_lookup_name() if
 * names cannot be looked up at all.
 */
int khv_symbols_init(void (*report)(const char *name, const char *why));

/**
 * khv_imports_find() - find every function of KVM that the module calls
 * @report: called once per missing name, with its purpose
 *
 * Call after khv_symbols_init(), with KVM pinned. Context: module load, may sleep.
 * Return: number of missing names.
 */
int khv_imports_find(void (*report)(const char *name, const char *why));

/**
 * khv_imports_patch() - make the functions callable that khv_imports_find() found
 *
 * Separate from the look-ups because it takes longer than all of them, and a load that fails can do
 * without it.
 * Context: module load, may sleep.
 */
void khv_imports_patch(void);

/**
 * khv_kvm_is_as_built_for() - does kvm.ko have the structures that this module was built with?
 *
 * Compares the checksum (CRC) of the type of a function that kvm.ko exports, as the kernel does for
 * modules that link against it. Without CONFIG_MODVERSIONS there is no checksum and the check
 * passes. Call while khv_symbol() works for KVM.
 *
 * Return: false if the checksums differ. Context: module load.
 */
bool khv_kvm_is_as_built_for(void);

/**
 * khv_symbols_index() - index the symbols of a module by name
 * @mod: KVM or its vendor module, live and pinned
 *
 * Context: module load, may sleep.
 * Return: 0 or -ENOMEM.
 */
int khv_symbols_index(struct module *mod);

/**
 * khv_symbols_forget() - free the indices of khv_symbols_index()
 *
 * Context: end of module load, may sleep.
 */
void khv_symbols_forget(void);

/**
 * khv_symbol() - look up the address of a kernel or module symbol
 * @module: "kvm", the vendor module's name, or NULL for the kernel itself
 * @name: name of the symbol
 *
 * Call after khv_symbols_init() and, for a symbol of a module, between khv_symbols_index() and
 * khv_symbols_forget(). Do not call a function through the address, but by a static call: where
 * the kernel never takes it, IBT may have sealed the function's ENDBR.
 *
 * Return: the address, or 0. Context: module load, may sleep.
 */
unsigned long khv_symbol(const char *module, const char *name);

#endif
