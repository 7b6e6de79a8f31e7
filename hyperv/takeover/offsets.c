// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offsets of C structures for dispatch.S. Kbuild turns them into offsets.h; this file is not linked
 * into the module.
 */
#define COMPILE_OFFSETS
#include <linux/kbuild.h>
#include <linux/kvm_host.h>

#include "khv/hooks.h"

static void __used khv_offsets(void)
{
	OFFSET(KHV_VCPU_KVM, kvm_vcpu, kvm);
	OFFSET(KHV_KVM_OWNER, kvm, arch.hyperv.hv_crash_ctl);

#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why)        \
	OFFSET(KHV_OURS_##_name, khv_hook_hits, ours[KHV_HOOK_##_name]); \
	OFFSET(KHV_PASSED_##_name, khv_hook_hits, passed[KHV_HOOK_##_name]);
#include "compat/kvm_private.h"
#undef KHV_HOOK
}
