// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replaces KVM functions through their ftrace sites: one ftrace_ops sends all of them
 * to khv_dispatch by a direct call, which tells them apart by the return address,
 * drops it and jumps to the replacement. The original is entered past its site, so it
 * never meets its own hook. One ops, because each costs ftrace several walks over all
 * functions of the kernel, and a grace period when it goes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/objtool.h>
#include <linux/static_call.h>
#include <asm/bug.h>
#include <asm/ibt.h>
#include <asm/nops.h>

#include "compat/ftrace.h"
#include "khv/hooks.h"

/* khv_return_<function>: where its ftrace site returns to. Read by khv_dispatch. */
#define KHV_HOOK(_ret, _name, _params, _args, _why) \
	extern unsigned long khv_return_##_name;    \
	unsigned long khv_return_##_name;
#include "compat/kvm_private.h"
#undef KHV_HOOK

/*
 * RAX is free on entry to a function that has a fixed number of parameters. The list
 * is in the order of the hooks, so the hot ones are found first.
 */
/* clang-format off */
#define KHV_HOOK(_ret, _name, _params, _args, _why)		\
	    "	cmp khv_return_" #_name "(%rip), %rax\n"	\
	    "	jne 1f\n"					\
	    "	add $8, %rsp\n"					\
	    "	jmp khv_hook_" #_name "\n"			\
	    "1:\n"
asm(".pushsection .text, \"ax\", @progbits\n"
	".type khv_dispatch, @function\n"
	".globl khv_dispatch\n"
	"khv_dispatch:\n" ASM_ENDBR "	mov (%rsp), %rax\n"
#include "compat/kvm_private.h"
	ASM_UD2 "\n"
	".size khv_dispatch, . - khv_dispatch\n"
	".popsection\n");
#undef KHV_HOOK
/* clang-format on */
void khv_dispatch(void);
STACK_FRAME_NON_STANDARD(khv_dispatch);

#define KHV_HOOK(_ret, _name, _params, _args, _why) \
	[KHV_HOOK_##_name] = { .name = #_name, .why = (_why), .returns = &khv_return_##_name },
struct khv_hook khv_hooks[KHV_NR_HOOKS] = {
#include "compat/kvm_private.h"
};
#undef KHV_HOOK

static struct ftrace_ops ops;

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

int khv_hooks_install(void)
{
	int i, ret;

	set_originals();

	for (i = 0; i < KHV_NR_HOOKS; i++) {
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

void khv_hooks_remove(void)
{
	WARN_ON_ONCE(khv_unregister_ftrace_direct(&ops, (unsigned long)khv_dispatch));
}

int khv_hooks_restored(void)
{
	int i, differ = 0;

	for (i = 0; i < KHV_NR_HOOKS; i++)
		differ += !!memcmp(khv_hooks[i].before, (void *)khv_hooks[i].site, KHV_SITE_BYTES);
	return differ;
}
