// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replaces KVM functions through their ftrace sites: one ftrace_ops sends all of them
 * to khv_dispatch by a direct call, which tells them apart by the return address and
 * returns there, or into the replacement. The original is entered past its site, so it
 * never meets its own hook. One ops, because each costs ftrace several walks over all
 * functions of the kernel, and a grace period when it goes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/static_call.h>
#include <asm/ibt.h>
#include <asm/nops.h>
#include <asm/text-patching.h>

#include "compat/ftrace.h"
#include "khv/hooks.h"
#include "khv/parts.h"

/* khv_return_<function>: where its ftrace site returns to. Read by khv_dispatch. */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	extern unsigned long khv_return_##_name;                  \
	unsigned long khv_return_##_name;
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

DEFINE_PER_CPU(struct khv_hook_hits, khv_hook_hits);

/* Any register that KVM itself sends nowhere? */
static bool any_unrouted(void)
{
	int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (khv_msrs[i].flags & KHV_MSR_UNROUTED)
			return true;
	}
	return false;
}

/*
 * Calls of an L2 that KVM does not bring here by itself? The flushes it does, where it knows
 * direct flush.
 */
static bool any_l2_call(void)
{
	int i;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if ((khv_hcs[i].flags & KHV_L2) && khv_hcs[i].enl != KHV_STOCK_L2_CALLS)
			return true;
	}
	return false;
}

bool khv_hook_wanted(enum khv_hook_id id)
{
	const char *module = khv_hooks[id].module;

	if (strcmp(module, KHV_MODULE_KVM) && strcmp(module, khv_vendor))
		return false;
	switch (id) {
	case KHV_HOOK_kvm_get_msr_common:
	case KHV_HOOK_kvm_set_msr_common:
		return any_unrouted();
	case KHV_HOOK_nested_vmx_reflect_vmexit:
	case KHV_HOOK_nested_svm_exit_special:
	case KHV_HOOK_nested_svm_vmrun:
		return any_l2_call();
	case KHV_HOOK_vmmcall_interception:
		return any_l2_call() && khv_hooks[id].addr;
	case KHV_HOOK_kvm_cpuid:
		return KHV_TSC_INVARIANT_ROUTE || khv_nested_features;
	default:
		return true;
	}
}

int khv_hooks_nr(void)
{
	int i, nr = 0;

	for (i = 0; i < KHV_NR_HOOKS; i++)
		nr += khv_hook_wanted(i);
	return nr;
}

/* Static calls cannot be indexed, so each original is set by name. */
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
 * ftrace finds the site of a function by its address as well, but walks all symbols of the module
 * where the site is not right there. Behind ENDBR it is four bytes further.
 */
static unsigned long find_site(unsigned long addr)
{
	unsigned long site = 0;

	if (is_endbr(*(u32 *)addr))
		site = khv_ftrace_location(addr + ENDBR_INSN_SIZE);
	return site ?: khv_ftrace_location(addr);
}

int khv_hooks_find(void (*report)(const char *name, const char *why))
{
	int missing = 0;
	int i;

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		struct khv_hook *hook = &khv_hooks[i];

		/* One that is not there at all is named with the imports. */
		if (!khv_hook_wanted(i) || !hook->addr)
			continue;
		hook->site = find_site(hook->addr);
		if (!hook->site) {
			report(hook->name, "it has no ftrace site");
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

	/* Off, a registration succeeds without touching the site, and cannot be undone. */
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
			pr_err("cannot hook %s (%d): %s\n", khv_hooks[i].name, ret,
			       khv_hooks[i].why);
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
	 * Sysctl kernel.ftrace_enabled=0 would pull the hooks from under VMs of
	 * ours; a permanent user makes it answer -EBUSY.
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

	/* It would keep its users, and take from this one what it calls them by. */
	if (khv_ftrace_is_dead())
		return -ENODEV;
	ret = khv_unregister_ftrace_direct(&ops, (unsigned long)khv_dispatch);
	/* ftrace finds foreign bytes at a site, patches none, and says nothing but in the log. */
	for (i = 0; !ret && i < KHV_NR_HOOKS; i++) {
		if (khv_hooks[i].site && calls_us(&khv_hooks[i]))
			ret = -EIO;
	}
	/* While the sites still call, ftrace may look into the filter. */
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
