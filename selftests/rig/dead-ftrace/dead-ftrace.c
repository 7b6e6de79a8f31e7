// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls ftrace_kill(), as ftrace does when it finds text that is not what it left there: from then
 * on it changes nothing any more, until the host is booted again.
 *
 * spoil=FUNCTION: replaces ftrace's call in FUNCTION by a nop instead, as a patch of another tool
 * would. The next change that ftrace has to make there fails for all functions at once, and only
 * the kernel log says so.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/static_call.h>

static char *spoil;
module_param(spoil, charp, 0);

void kill(void);
DEFINE_STATIC_CALL_NULL(kill, kill);
void *poke(void *addr, const void *opcode, size_t len);
DEFINE_STATIC_CALL_NULL(poke, poke);

/* Disabled: the address is looked up, the function is not touched. */
static void *address_of(const char *name)
{
	struct kprobe probe = {
		.symbol_name = name,
		.flags = KPROBE_FLAG_DISABLED,
	};
	int ret = register_kprobe(&probe);

	if (ret)
		return NULL;
	unregister_kprobe(&probe);
	return probe.addr;
}

static int spoil_call(void)
{
	static const u8 nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	void *text_poke_kgdb = address_of("text_poke_kgdb");
	u8 *site = address_of(spoil);

	if (!text_poke_kgdb || !site || *site != 0xe8)
		return -ENOENT;
	static_call_update(poke, text_poke_kgdb);
	static_call(poke)(site, nop, sizeof(nop));
	return 0;
}

static int __init dead_ftrace_init(void)
{
	void *ftrace_kill;

	if (spoil)
		return spoil_call();
	ftrace_kill = address_of("ftrace_kill");
	if (!ftrace_kill)
		return -ENOENT;
	static_call_update(kill, ftrace_kill);
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
