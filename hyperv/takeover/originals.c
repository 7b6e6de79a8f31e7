// SPDX-License-Identifier: GPL-2.0-only
/*
 * What dispatch.S and the replacements need of each hook: the address behind the ftrace site, the
 * call of the original, and the counters. Set by hyperv/takeover/hooks.c before any hook is
 * installed.
 */
#include <linux/static_call.h>

#include "khv/hooks.h"

#include "fastpath_exit.h"

/* khv_return_<function>: address behind the function's ftrace site. Read by khv_dispatch. */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	extern unsigned long khv_return_##_name;                  \
	unsigned long khv_return_##_name;
#include "compat/kvm_private.h"
#undef KHV_HOOK

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	DEFINE_STATIC_CALL_NULL(khv_call_##_name, khv_hook_##_name);
#include "compat/kvm_private.h"
#undef KHV_HOOK

DEFINE_STATIC_CALL_NULL(khv_call_vcpu_run, khv_proto_vcpu_run);

DEFINE_PER_CPU(struct khv_hook_hits, khv_hook_hits);
