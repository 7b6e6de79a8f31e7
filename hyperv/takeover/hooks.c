// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replaces KVM functions through their ftrace sites: one ftrace_ops makes all of them call
 * khv_dispatch directly. khv_dispatch tells them apart by the return address, and returns there or
 * into the replacement. The original is called behind its site, so that it does not meet the hook.
 * There is only one ftrace_ops, because each one costs ftrace several walks over all functions of
 * the kernel, and a grace period on removal.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/static_call.h>
#include <asm/nops.h>
#include <asm/text-patching.h>

#include "compat/ftrace.h"
#include "khv/cpuid.h"
#include "khv/drivers.h"
#include "khv/hooks.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/tables.h"

/* hyperv/takeover/originals.c */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	extern unsigned long khv_return_##_name;
#include "compat/kvm_private.h"
#undef KHV_HOOK

/* dispatch.S */
void khv_dispatch(void);

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	[KHV_HOOK_##_name] = { .module = KHV_MODULE_##_mod,       \
			       .name = #_name,                    \
			       .why = (_why),                     \
			       .returns = &khv_return_##_name },
struct khv_hook khv_hooks[KHV_NR_HOOKS] = {
#include "compat/kvm_private.h"
};
#undef KHV_HOOK

static struct ftrace_ops ops;

/* Is there a row that KVM does not route to its Hyper-V code, nor to its PMU's as unknown? */
static bool any_unrouted(void)
{
	int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (khv_msr_is_unrouted(khv_msrs[i].first))
			return true;
	}
	return false;
}

/* Is there a row that KVM_GET_MSR_INDEX_LIST must name, besides what KVM names? */
static bool any_listed(void)
{
	int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (khv_msr_is_listed(i))
			return true;
	}
	return false;
}

/* khv_hook_wanted() of a function that may not exist. */
static bool needed(enum khv_hook_id id)
{
	const char *module = khv_hooks[id].module;

	if (strcmp(module, KHV_MODULE_KVM) && strcmp(module, khv_vendor))
		return false;
	switch (id) {
	case KHV_HOOK_kvm_get_msr_common:
	case KHV_HOOK_kvm_set_msr_common:
		return any_unrouted();
	case KHV_HOOK_kvm_arch_dev_ioctl:
		return any_listed();
	case KHV_HOOK_nested_svm_vmrun:
		return khv_l2_calls_hooked;
	case KHV_HOOK_kvm_cpuid:
		return KHV_TSC_INVARIANT_ROUTE || khv_cpuid_adds();
	default:
		return true;
	}
}

bool khv_hook_wanted(enum khv_hook_id id)
{
	return needed(id) && (id != KHV_HOOK_vmmcall_interception || khv_hooks[id].addr);
}

bool khv_function_wanted(const char *name)
{
	int i;

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		if (!strcmp(khv_hooks[i].name, name))
			return needed(i);
	}
	return true;
}

int khv_hooks_nr(void)
{
	int i, nr = 0;

	for (i = 0; i < KHV_NR_HOOKS; i++)
		nr += khv_hook_wanted(i);
	return nr;
}

/* Static calls cannot be indexed, so set each original by name. */
static void set_originals(void)
{
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	if (khv_hook_wanted(KHV_HOOK_##_name))                    \
		static_call_update(khv_call_##_name,              \
				   (void *)(khv_hooks[KHV_HOOK_##_name].site + KHV_SITE_BYTES));
#include "compat/kvm_private.h"
#undef KHV_HOOK
}

/*
 * ftrace_location() finds a function's site by its entry, too, but walks all symbols of the module
 * if the site is not there. With IBT the site is four bytes further, behind ENDBR.
 */
static unsigned long find_site(unsigned long addr)
{
	unsigned long site = 0;

	if (khv_is_endbr(addr))
		site = khv_ftrace_location(addr + ENDBR_INSN_SIZE);
	return site ?: khv_ftrace_location(addr);
}

int khv_hooks_find(void (*report)(const char *name, const char *why))
{
	int missing = 0;
	int i;

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		struct khv_hook *hook = &khv_hooks[i];

		hook->addr = khv_symbol(hook->module, hook->name);
		if (!khv_hook_wanted(i))
			continue;
		hook->site = hook->addr ? find_site(hook->addr) : 0;
		if (!hook->site) {
			report(hook->name, hook->addr ? "it has no ftrace site" : hook->why);
			missing++;
		}
	}
	return missing;
}

int khv_hooks_check(void (*report)(const char *name, const char *why))
{
	static const u8 nop[KHV_SITE_BYTES] = { BYTES_NOP5 };
	const int *ftrace_enabled = (void *)khv_symbol(NULL, "ftrace_enabled");
	int bad = 0;
	int i;

	if (khv_ftrace_is_dead()) {
		report("all of them", "ftrace has disabled itself, see the log above: reboot");
		return khv_hooks_nr();
	}
	/*
	 * With ftrace_enabled off, registration succeeds without patching the site, and cannot be
	 * undone.
	 */
	if (!ftrace_enabled || !READ_ONCE(*ftrace_enabled)) {
		report("all of them", "function tracing is off: sysctl kernel.ftrace_enabled=1");
		return khv_hooks_nr();
	}

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		struct khv_hook *hook = &khv_hooks[i];

		if (!khv_hook_wanted(i))
			continue;
		memcpy(hook->before, (void *)hook->site, KHV_SITE_BYTES);
		if (memcmp(hook->before, nop, KHV_SITE_BYTES)) {
			report(hook->name,
			       "another ftrace user (tracer, kprobe, livepatch) is on it");
			bad++;
		}
	}
	return bad;
}

int khv_hooks_install(void)
{
	int i, ret;

	set_originals();

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		if (!khv_hook_wanted(i))
			continue;
		*khv_hooks[i].returns = khv_hooks[i].site + KHV_SITE_BYTES;
		ret = ftrace_set_filter_ip(&ops, khv_hooks[i].site, 0, 0);
		if (ret) {
			pr_err("cannot hook %s (%d), without which %s; nothing is replaced: stop what traces or patches it and load again\n",
			       khv_hooks[i].name, ret, khv_hooks[i].why);
			goto err_filter;
		}
	}
	ret = khv_register_ftrace_direct(&ops, (unsigned long)khv_dispatch);
	if (ret) {
		pr_err("cannot replace KVM's functions (%d); stop what traces or patches them and load again\n",
		       ret);
		goto err_filter;
	}
	/*
	 * Writing 0 to sysctl kernel.ftrace_enabled would remove the hooks while owned VMs run;
	 * with a permanent ops it returns -EBUSY.
	 */
	ops.flags |= FTRACE_OPS_FL_PERMANENT;
	return 0;

err_filter:
	ftrace_free_filter(&ops);
	return ret;
}

static bool calls_us(const struct khv_hook *hook)
{
	struct {
		u8 opcode;
		s32 offset;
	} __packed insn;

	memcpy(&insn, (void *)hook->site, sizeof(insn));
	return insn.opcode == CALL_INSN_OPCODE &&
	       hook->site + sizeof(insn) + insn.offset == (unsigned long)khv_dispatch;
}

int khv_hooks_remove(void)
{
	int i, ret;

	/*
	 * After ftrace has disabled itself, it leaves the sites as they are, but
	 * unregister_ftrace_direct() would still drop the direct function that they call.
	 */
	if (khv_ftrace_is_dead())
		return -ENODEV;
	ret = khv_unregister_ftrace_direct(&ops, (unsigned long)khv_dispatch);
	/*
	 * If ftrace finds unexpected bytes at a site, it does not patch it, and reports that in the
	 * log only.
	 */
	for (i = 0; !ret && i < KHV_NR_HOOKS; i++) {
		if (khv_hooks[i].site && calls_us(&khv_hooks[i]))
			ret = -EIO;
	}
	/* While a site still calls khv_dispatch, ftrace may use the filter. */
	if (!ret)
		ftrace_free_filter(&ops);
	return ret;
}

int khv_hooks_restored(void)
{
	int i, differ = 0;

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		if (khv_hook_wanted(i))
			differ += !!memcmp(khv_hooks[i].before, (void *)khv_hooks[i].site,
					   KHV_SITE_BYTES);
	}
	return differ;
}
