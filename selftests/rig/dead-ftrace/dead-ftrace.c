// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls ftrace_kill(), as ftrace does when it finds text that is not what it left there: from then
 * on it changes nothing any more, until the host is booted again.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/static_call.h>

void kill(void);
DEFINE_STATIC_CALL_NULL(kill, kill);

static int __init dead_ftrace_init(void)
{
	/* Disabled: the address is looked up, the function is not touched. */
	struct kprobe probe = {
		.symbol_name = "ftrace_kill",
		.flags = KPROBE_FLAG_DISABLED,
	};
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	static_call_update(kill, (void *)probe.addr);
	unregister_kprobe(&probe);
	static_call(kill)();
	return 0;
}

static void __exit dead_ftrace_exit(void)
{
}

module_init(dead_ftrace_init);
module_exit(dead_ftrace_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("ftrace that has given up, for tests of kvm-hyperv");
