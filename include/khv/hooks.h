/* SPDX-License-Identifier: GPL-2.0-only */
/* The hook table: KVM functions that the module replaces, and their installation and removal. */
#ifndef KHV_HOOKS_H
#define KHV_HOOKS_H

#include <linux/ftrace.h>
#include <linux/percpu.h>
#include <linux/static_call.h>

#include "compat/kvm_private.h"

/*
 * khv_orig_<hook>() calls a replaced function behind its ftrace site, and so does not meet the
 * hook.
 */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	_ret khv_hook_##_name _params;                            \
	DECLARE_STATIC_CALL(khv_call_##_name, khv_hook_##_name);  \
	static __always_inline _ret khv_orig_##_name _params      \
	{                                                         \
		return static_call(khv_call_##_name) _args;       \
	}
#include "compat/kvm_private.h"
#undef KHV_HOOK

/*
 * Does the call concern an owned VM? Called by dispatch.S for the rows of owner ASK and RUNNING.
 * Must not sleep.
 */
bool khv_asks_kvm_get_hv_cpuid(struct kvm_vcpu *vcpu);
bool khv_asks_kvm_arch_vm_ioctl(struct file *filp, unsigned int ioctl);
bool khv_asks_kvm_arch_dev_ioctl(struct file *filp, unsigned int ioctl);
bool khv_asks_nested_evmcs_check_controls(struct vmcs12 *vmcs12);

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) KHV_HOOK_##_name,
enum khv_hook_id {
#include "compat/kvm_private.h"
	KHV_NR_HOOKS,
};
#undef KHV_HOOK

#define KHV_SITE_BYTES MCOUNT_INSN_SIZE

/**
 * struct khv_hook - one replaced function
 * @module: name of the module that has the function
 * @name: name of the function
 * @why: what would break without the hook, for the error message
 * @returns: variable in which khv_dispatch looks up the address behind the site
 * @addr: address of the function, set by khv_hooks_find()
 * @site: address of its ftrace site, set by khv_hooks_find()
 * @before: text bytes of the site before it was hooked
 */
struct khv_hook {
	const char *module;
	const char *name;
	const char *why;
	unsigned long *returns;
	unsigned long addr;
	unsigned long site;
	u8 before[KHV_SITE_BYTES];
};

extern struct khv_hook khv_hooks[KHV_NR_HOOKS];

/**
 * struct khv_hook_hits - number of calls of the replaced functions on one CPU
 * @ours: calls in an owned VM, sent to the replacement
 * @passed: calls passed on to KVM
 *
 * Counted by dispatch.S.
 */
struct khv_hook_hits {
	u64 ours[KHV_NR_HOOKS];
	u64 passed[KHV_NR_HOOKS];
};

DECLARE_PER_CPU(struct khv_hook_hits, khv_hook_hits);

/**
 * khv_hook_wanted() - must this function be replaced on this host?
 * @id: the hook
 *
 * Functions of the other vendor's module are not, nor are functions that no table row and no
 * parameter needs, because each hook costs every VM. Constant from load to unload.
 *
 * Return: true if it is.
 */
bool khv_hook_wanted(enum khv_hook_id id);

/**
 * khv_function_wanted() - does the module need this function on this host?
 * @name: a function of KVM or of the kernel
 *
 * Before khv_hooks_find(), so also true for an optional hook whose function may not exist. Context:
 * module load, with khv_vendor set.
 *
 * Return: false if it is a function that is replaced on other hosts only.
 */
bool khv_function_wanted(const char *name);

/**
 * khv_hooks_nr() - number of functions that are replaced
 *
 * Return: the number.
 */
int khv_hooks_nr(void);

/**
 * khv_hooks_find() - find every function to be replaced, and its ftrace site
 * @report: called once per function that does not exist or has no site, with what it would break
 *
 * Call after khv_imports_find(). Context: may sleep.
 * Return: number of functions that cannot be replaced.
 */
int khv_hooks_find(void (*report)(const char *name, const char *why));

/**
 * khv_hooks_check() - check that every site can be hooked, without changing it
 * @report: called once per function that cannot be hooked, with the reason
 *
 * Call after khv_hooks_find() has succeeded. Context: may sleep.
 * Return: number of functions that cannot be hooked.
 */
int khv_hooks_check(void (*report)(const char *name, const char *why));

/**
 * khv_hooks_install() - replace all wanted functions, or none
 *
 * Context: may sleep.
 * Return: 0, or the errno of ftrace, with no function replaced.
 */
int khv_hooks_install(void);

/**
 * khv_hooks_remove() - restore all replaced functions
 *
 * Returns once no task is on its way into a replacement. Context: may sleep.
 * Return: 0, or the errno of ftrace; on error the functions still call khv_dispatch.
 */
int khv_hooks_remove(void);

/**
 * khv_hooks_restored() - compare the text bytes of all sites with those from before the hooks
 *
 * Return: number of sites that differ; 0 unless another ftrace user hooked one since.
 */
int khv_hooks_restored(void);

#endif
