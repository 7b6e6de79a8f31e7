// SPDX-License-Identifier: GPL-2.0-only
/* The module parameters extra_calls= and ext_capabilities=. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "khv/extended.h"
#include "khv/extra_calls.h"
#include "khv/tables.h"

static char *extra_calls = "";
module_param(extra_calls, charp, 0400);
MODULE_PARM_DESC(
	extra_calls,
	"Hypercalls to answer that no KVM has, by their names in hypercalls.rst, separated by commas; all: every one");

static int set_capabilities(const char *val, const struct kernel_param *kp)
{
	if (!param_set_ullong(val, kp))
		return 0;
	pr_err("ext_capabilities=%s is not a number; use the bits of HvExtCallQueryCapabilities, as in ext_capabilities=0x1\n",
	       val);
	return -EINVAL;
}

static const struct kernel_param_ops capabilities_ops = {
	.set = set_capabilities,
	.get = param_get_ullong,
};
module_param_cb(ext_capabilities, &capabilities_ops, &khv_ext_capabilities, 0400);
MODULE_PARM_DESC(
	ext_capabilities,
	"What HvExtCallQueryCapabilities tells a guest whose user space does not know the call: 0x1 boot-zeroed memory (of which there is none); other bits are the VMM's");

static void complain(const char *name, unsigned int len)
{
	char names[192] = "";
	int i, used = 0;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (khv_hcs[i].flags & KHV_HIDDEN)
			used += scnprintf(names + used, sizeof(names) - used, "%s, ",
					  khv_hcs[i].name);
	}
	pr_err("extra_calls=%s: there is no such call as '%.*s'; use %sor all\n", extra_calls,
	       (int)len, name, names);
}

int khv_extra_calls_init(void)
{
	unsigned int len;
	const char *bad = khv_hc_list(extra_calls, &len);

	if (!bad)
		return 0;
	complain(bad, len);
	return -EINVAL;
}
