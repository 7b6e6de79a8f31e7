// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replaces KVM functions through their ftrace sites, one ftrace_ops with a direct
 * call each: the site calls the stub, the stub drops the return address into the
 * original and jumps to the replacement. The original is entered past its site,
 * so it never meets its own hook. Installed all or nothing.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/objtool.h>
#include <linux/static_call.h>
#include <asm/ibt.h>
#include <asm/nops.h>

#include "compat/ftrace.h"
#include "khv/hooks.h"

/* A line for each instruction, kept so by hand. */
/* clang-format off */
#define KHV_HOOK(_ret, _name, _params, _args, _why)			\
	asm(".pushsection .text, \"ax\", @progbits\n"			\
	    ".type khv_stub_" #_name ", @function\n"			\
	    ".globl khv_stub_" #_name "\n"				\
	    "khv_stub_" #_name ":\n"					\
	    ASM_ENDBR							\
	    "	add $8, %rsp\n"						\
	    "	jmp khv_hook_" #_name "\n"				\
	    ".size khv_stub_" #_name ", . - khv_stub_" #_name "\n"	\
	    ".popsection\n");						\
	void khv_stub_##_name(void);					\
	STACK_FRAME_NON_STANDARD(khv_stub_##_name);
/* clang-format on */
#include "compat/kvm_private.h"
#undef KHV_HOOK

#define KHV_HOOK(_ret, _name, _params, _args, _why) \
	[KHV_HOOK_##_name] = { .name = #_name, .why = (_why), .stub = khv_stub_##_name },
struct khv_hook khv_hooks[KHV_NR_HOOKS] = {
#include "compat/kvm_private.h"
};
#undef KHV_HOOK

DEFINE_PER_CPU(struct khv_hook_hits, khv_hook_hits);

/* Static calls cannot be indexed, so each original is set by name. */
static void set_originals(void)
{
#define KHV_HOOK(_ret, _name, _params, _args, _why) \
	static_call_update(khv_call_##_name,        \
			   (void *)(khv_hooks[KHV_HOOK_##_name].site + KHV_SITE_BYTES));
#include "compat/kvm_private.h"
#undef KHV_HOOK
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
		return KHV_NR_HOOKS;
	}

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		struct khv_hook *hook = &khv_hooks[i];

		hook->site = khv_ftrace_location(khv_symbol("kvm", hook->name));
		if (!hook->site) {
			report(hook->name, "it has no ftrace site");
			bad++;
			continue;
		}
		memcpy(hook->before, (void *)hook->site, KHV_SITE_BYTES);
		if (memcmp(hook->before, nop, KHV_SITE_BYTES)) {
			report(hook->name,
			       "another ftrace user (tracer, kprobe, livepatch) is on it");
			bad++;
		}
	}
	return bad;
}

static int install(struct khv_hook *hook)
{
	int ret;

	memset(&hook->ops, 0, sizeof(hook->ops));
	ret = ftrace_set_filter_ip(&hook->ops, hook->site, 0, 0);
	if (ret)
		return ret;
	ret = khv_register_ftrace_direct(&hook->ops, (unsigned long)hook->stub);
	if (ret) {
		ftrace_free_filter(&hook->ops);
		return ret;
	}
	hook->installed = true;
	memcpy(hook->hooked, (void *)hook->site, KHV_SITE_BYTES);
	/*
	 * Sysctl kernel.ftrace_enabled=0 would pull the hooks from under VMs of
	 * ours; a permanent user makes it answer -EBUSY.
	 */
	hook->ops.flags |= FTRACE_OPS_FL_PERMANENT;
	return 0;
}

int khv_hooks_install(void)
{
	int i, ret;

	set_originals();

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		ret = install(&khv_hooks[i]);
		if (ret) {
			pr_err("cannot hook %s (%d): %s; stop what traces or patches it and load again\n",
			       khv_hooks[i].name, ret, khv_hooks[i].why);
			khv_hooks_remove();
			return ret;
		}
	}
	return 0;
}

/* Does nobody but us stand on any of the sites? */
static bool alone(void)
{
	int i;

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		struct khv_hook *hook = &khv_hooks[i];

		if (hook->installed && memcmp((void *)hook->site, hook->hooked, KHV_SITE_BYTES))
			return false;
	}
	return true;
}

void khv_hooks_remove(void)
{
	bool together = alone();
	int i;

	for (i = KHV_NR_HOOKS - 1; i >= 0; i--) {
		struct khv_hook *hook = &khv_hooks[i];

		if (!hook->installed)
			continue;
		/*
		 * For a dynamic ops ftrace waits out a grace period of RCU-tasks, a
		 * tenth of a second, each time. One for all hooks is enough as long as
		 * no tracer shares a site: only then ftrace looks at what is freed here.
		 */
		if (together)
			hook->ops.flags &= ~FTRACE_OPS_FL_DYNAMIC;
		WARN_ON_ONCE(khv_unregister_ftrace_direct(&hook->ops, (unsigned long)hook->stub));
	}
	synchronize_rcu_tasks_rude();
	synchronize_rcu_tasks();

	for (i = 0; i < KHV_NR_HOOKS; i++) {
		if (khv_hooks[i].installed)
			ftrace_free_filter(&khv_hooks[i].ops);
		khv_hooks[i].installed = false;
	}
}

int khv_hooks_restored(void)
{
	int i, differ = 0;

	for (i = 0; i < KHV_NR_HOOKS; i++)
		differ += !!memcmp(khv_hooks[i].before, (void *)khv_hooks[i].site, KHV_SITE_BYTES);
	return differ;
}
