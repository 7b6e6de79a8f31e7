// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything of the host kernel that is found by name: no KVM symbol is linked
 * against. Resolved once at load; the static calls never change afterwards.
 */
#include <linux/kprobes.h>
#include <linux/static_call.h>

#include "khv/hooks.h"
#include "khv/port.h"

#define KHV_IMPORT(_mod, _ret, _name, _params, _args) \
	DEFINE_STATIC_CALL_NULL(khv_import_##_name, khv_proto_##_name);
#include "compat/imports.def.h"
#undef KHV_IMPORT

#define KHV_HOOK(_mod, _ret, _name, _params, _args, _why) \
	DEFINE_STATIC_CALL_NULL(khv_call_##_name, khv_hook_##_name);
#include "compat/kvm_private.h"
#undef KHV_HOOK

DEFINE_STATIC_CALL_NULL(khv_x86_get_cpl, khv_proto_get_cpl);
DEFINE_STATIC_CALL_NULL(khv_x86_get_cs_db_l_bits, khv_proto_get_cs_db_l_bits);
DEFINE_STATIC_CALL_NULL(khv_x86_flush_tlb_gva, khv_proto_flush_tlb_gva);
DEFINE_STATIC_CALL_NULL(khv_x86_flush_tlb_guest, khv_proto_flush_tlb_guest);

struct kvm_x86_ops *khv_x86_ops;
const char *khv_vendor;
bool khv_svm;
const bool *khv_tdp_enabled;

/*
 * kallsyms_lookup_name() is not exported, but a kprobe tells where it is. On hosts
 * with IBT that is behind its ENDBR, where an indirect call must not land: hence a
 * static call, which is a direct one.
 */
unsigned long khv_proto_lookup_name(const char *name);
DEFINE_STATIC_CALL_NULL(khv_lookup_name, khv_proto_lookup_name);

static int find_lookup_name(void)
{
	/* Disabled: the address is looked up, the function is not touched. */
	struct kprobe probe = {
		.symbol_name = "kallsyms_lookup_name",
		.flags = KPROBE_FLAG_DISABLED,
	};
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	static_call_update(khv_lookup_name, (void *)probe.addr);
	unregister_kprobe(&probe);
	return 0;
}

unsigned long khv_symbol(const char *module, const char *name)
{
	char full[128];

	if (!module)
		return static_call(khv_lookup_name)(name);
	if (snprintf(full, sizeof(full), "%s:%s", module, name) >= sizeof(full))
		return 0;
	return static_call(khv_lookup_name)(full);
}

static bool same_module(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Resolve the imports from one module, or from the kernel itself; count the missing. */
static int resolve_from(const char *module, void (*report)(const char *name, const char *why))
{
	unsigned long addr;
	int missing = 0;

#define KHV_IMPORT(_mod, _ret, _name, _params, _args)                         \
	if (same_module(_mod, module)) {                                      \
		addr = khv_symbol(_mod, #_name);                              \
		if (addr) {                                                   \
			static_call_update(khv_import_##_name, (void *)addr); \
		} else {                                                      \
			report(#_name, "a function that the module calls");   \
			missing++;                                            \
		}                                                             \
	}
#include "compat/imports.def.h"
#undef KHV_IMPORT
	return missing;
}

int khv_symbols_init(void (*report)(const char *name, const char *why))
{
	int ret = find_lookup_name();

	if (ret)
		return ret;
	return resolve_from(NULL, report) ? -EOPNOTSUPP : 0;
}

/* Until the sites are known the originals are entered through their front door. */
static int resolve_hooks(void (*report)(const char *name, const char *why))
{
	struct khv_hook *hook;
	int missing = 0;

#define KHV_HOOK(_mod, _ret, _name, _params, _args, _why)                         \
	hook = &khv_hooks[KHV_HOOK_##_name];                                      \
	if (khv_hook_wanted(KHV_HOOK_##_name)) {                                  \
		hook->addr = khv_symbol(KHV_MODULE_##_mod, #_name);               \
		if (hook->addr) {                                                 \
			static_call_update(khv_call_##_name, (void *)hook->addr); \
		} else {                                                          \
			report(#_name, _why);                                     \
			missing++;                                                \
		}                                                                 \
	}
#include "compat/kvm_private.h"
#undef KHV_HOOK
	return missing;
}

int khv_imports_resolve(void (*report)(const char *name, const char *why))
{
	int missing = resolve_from("kvm", report) + resolve_hooks(report);

	khv_svm = !strcmp(khv_vendor, KHV_MODULE_AMD);
	missing += resolve_from(khv_vendor, report);

	khv_tdp_enabled = (void *)khv_symbol("kvm", "tdp_enabled");
	if (!khv_tdp_enabled) {
		report("tdp_enabled", "whether guests run on EPT or NPT");
		missing++;
	}
	khv_x86_ops = (void *)khv_symbol("kvm", "kvm_x86_ops");
	if (!khv_x86_ops) {
		report("kvm_x86_ops", "KVM's table of vendor functions");
		return missing + 1;
	}
	if (!khv_x86_ops->get_cpl || !khv_x86_ops->get_cs_db_l_bits ||
	    !khv_x86_ops->flush_tlb_gva || !khv_x86_ops->flush_tlb_guest ||
	    !khv_x86_ops->patch_hypercall || !khv_x86_ops->get_exit_info ||
	    !khv_x86_ops->nested_ops) {
		report("kvm_x86_ops", "functions of the vendor module in it");
		return missing + 1;
	}
	static_call_update(khv_x86_get_cpl, khv_x86_ops->get_cpl);
	static_call_update(khv_x86_get_cs_db_l_bits, khv_x86_ops->get_cs_db_l_bits);
	static_call_update(khv_x86_flush_tlb_gva, khv_x86_ops->flush_tlb_gva);
	static_call_update(khv_x86_flush_tlb_guest, khv_x86_ops->flush_tlb_guest);
	return missing;
}
