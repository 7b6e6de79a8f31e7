/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hook table: which KVM functions are replaced, and how that is undone.
 */
#ifndef KHV_HOOKS_H
#define KHV_HOOKS_H

#include <linux/ftrace.h>
#include <linux/percpu.h>

#include "khv/port.h"

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) KHV_HOOK_##_name,
enum khv_hook_id {
#include "compat/kvm_private.h"
	KHV_NR_HOOKS,
};
#undef KHV_HOOK

#define KHV_SITE_BYTES MCOUNT_INSN_SIZE

/**
 * struct khv_hook - one replaced function
 * @module: module that has it
 * @name: KVM's function
 * @why: what would break without it, for the message
 * @returns: where khv_dispatch looks for the address behind the site
 * @addr: address of the function, found by khv_imports_find()
 * @site: address of the ftrace site, found by khv_hooks_find()
 * @before: bytes of the site before the hook stood
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
 * struct khv_hook_hits - calls of the replaced functions on one CPU
 * @ours: sent to the replacement
 * @passed: left to KVM
 *
 * Counted by dispatch.S.
 */
struct khv_hook_hits {
	u64 ours[KHV_NR_HOOKS];
	u64 passed[KHV_NR_HOOKS];
};

DECLARE_PER_CPU(struct khv_hook_hits, khv_hook_hits);

/**
 * khv_hook_wanted() - is this function to be replaced here?
 * @id: the hook
 *
 * Not those of the other vendor's module, and not those that nothing in the tables and
 * parameters needs: each costs every VM. The same from load to unload.
 *
 * Return: true if it is.
 */
bool khv_hook_wanted(enum khv_hook_id id);

/**
 * khv_hooks_nr() - how many functions are replaced
 *
 * Return: the number.
 */
int khv_hooks_nr(void);

/**
 * khv_hooks_find() - find the ftrace site of every target
 * @report: called once per target that has none
 *
 * After khv_imports_find(). Context: may sleep.
 * Return: number of targets without a site.
 */
int khv_hooks_find(void (*report)(const char *name, const char *why));

/**
 * khv_hooks_check() - look at every target without changing it
 * @report: called once per target that cannot be hooked, with the reason
 *
 * After khv_hooks_find() succeeded. Context: may sleep.
 * Return: number of targets that cannot be hooked.
 */
int khv_hooks_check(void (*report)(const char *name, const char *why));

/**
 * khv_hooks_install() - replace all functions, or none
 *
 * Context: may sleep.
 * Return: 0, or the errno of ftrace; nothing is replaced then.
 */
int khv_hooks_install(void);

/**
 * khv_hooks_remove() - put everything back
 *
 * Returns when no task is left on the way into a stub. Context: may sleep.
 * Return: 0, or the errno of ftrace; the functions still come here then.
 */
int khv_hooks_remove(void);

/**
 * khv_hooks_restored() - do the text bytes equal those before the hooks?
 *
 * Return: number of sites that differ; 0, unless another user hooked one meanwhile.
 */
int khv_hooks_restored(void);

#endif
