// SPDX-License-Identifier: GPL-2.0-only
/*
 * Symbols of the host kernel that are found by name: the module links against no symbol of KVM.
 * They are resolved once, at load; the static calls do not change afterwards.
 */
#include <linux/kprobes.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/stringhash.h>

#include "compat/calls.h"
#include "compat/kvm_private.h"
#include "khv/port.h"

#define KHV_IMPORT(_mod, _ret, _name, _params, _args) \
	DEFINE_STATIC_CALL_NULL(khv_import_##_name, khv_proto_##_name);
#include "compat/imports.def.h"
#undef KHV_IMPORT

DEFINE_STATIC_CALL_NULL(khv_x86_get_cpl, khv_proto_get_cpl);
DEFINE_STATIC_CALL_NULL(khv_x86_get_cs_db_l_bits, khv_proto_get_cs_db_l_bits);
DEFINE_STATIC_CALL_NULL(khv_x86_flush_tlb_gva, khv_proto_flush_tlb_gva);
DEFINE_STATIC_CALL_NULL(khv_x86_flush_tlb_guest, khv_proto_flush_tlb_guest);
DEFINE_STATIC_CALL_NULL(khv_x86_deliver_interrupt, khv_proto_deliver_interrupt);

struct kvm_x86_ops *khv_x86_ops;
const struct kvm_x86_nested_ops *khv_nested_ops;
const char *khv_vendor;
bool khv_svm;
const bool *khv_tdp_enabled;
const bool *khv_enable_apicv;

/*
 * kallsyms_lookup_name() is not exported, but a kprobe finds its address. With IBT that address is
 * behind the function's ENDBR, where an indirect call must not land: use a static call, which is
 * direct.
 */
unsigned long khv_proto_lookup_name(const char *name);
DEFINE_STATIC_CALL_NULL(khv_lookup_name, khv_proto_lookup_name);

static int find_lookup_name(void)
{
	/* Disabled: register_kprobe() resolves the address, but does not patch the function. */
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

/*
 * Hash index of one module's symbols, during module load. KVM has eight thousand symbols, and the
 * kernel's own look-up by name compares them one by one.
 */
static struct symbol_index {
	const char *module;
	const struct mod_kallsyms *symbols;
	u32 mask;
	u32 *slot; /* symbol number; 0 for an empty slot, because symbol 0 has no name */
} indexes[2];

static u32 hash_name(const char *name)
{
	return hashlen_hash(hashlen_string(NULL, name));
}

static const char *symbol_name(const struct mod_kallsyms *symbols, u32 i)
{
	return symbols->strtab + symbols->symtab[i].st_name;
}

int khv_symbols_index(struct module *mod)
{
	struct symbol_index *index = &indexes[indexes[0].module ? 1 : 0];
	const struct mod_kallsyms *symbols;
	u32 i, at;

	/*
	 * Not mod->kallsyms: a module is live some time before that leaves the table of its init
	 * memory, which is then freed.
	 */
	symbols = &mod->core_kallsyms;
	/* Keep the table at most half full. */
	index->mask = roundup_pow_of_two(2 * symbols->num_symtab + 2) - 1;
	index->slot = kvcalloc(index->mask + 1, sizeof(*index->slot), GFP_KERNEL);
	if (!index->slot)
		return -ENOMEM;
	index->symbols = symbols;
	index->module = mod->name;
	for (i = 1; i < symbols->num_symtab; i++) {
		if (symbols->symtab[i].st_shndx == SHN_UNDEF)
			continue;
		at = hash_name(symbol_name(symbols, i));
		while (index->slot[at & index->mask])
			at++;
		index->slot[at & index->mask] = i;
	}
	return 0;
}

void khv_symbols_forget(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		kvfree(indexes[i].slot);
		indexes[i] = (struct symbol_index){};
	}
}

/* Return: the address of the first symbol of that name, as kallsyms does, or 0. */
static unsigned long find_symbol(const struct symbol_index *index, const char *name)
{
	u32 at, i;

	for (at = hash_name(name); (i = index->slot[at & index->mask]); at++) {
		if (!strcmp(symbol_name(index->symbols, i), name))
			return index->symbols->symtab[i].st_value;
	}
	return 0;
}

unsigned long khv_symbol(const char *module, const char *name)
{
	int i;

	if (!module)
		return static_call(khv_lookup_name)(name);
	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		if (indexes[i].module && !strcmp(indexes[i].module, module))
			return find_symbol(&indexes[i], name);
	}
	return 0;
}

static bool same_module(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Addresses of the imports, until they are patched in. */
#define KHV_IMPORT(_mod, _ret, _name, _params, _args) KHV_IMPORT_##_name,
enum khv_import_id {
#include "compat/imports.def.h"
	KHV_NR_IMPORTS,
};
#undef KHV_IMPORT
static unsigned long import_addr[KHV_NR_IMPORTS];

/*
 * Look up the imports from one module, or from the kernel itself. Return: number of missing ones.
 */
static int find_imports(const char *module, void (*report)(const char *name, const char *why))
{
	int missing = 0;

#define KHV_IMPORT(_mod, _ret, _name, _params, _args)                         \
	if (same_module(KHV_MODULE_##_mod, module)) {                         \
		import_addr[KHV_IMPORT_##_name] = khv_symbol(module, #_name); \
		if (!import_addr[KHV_IMPORT_##_name]) {                       \
			report(#_name, "a function that the module calls");   \
			missing++;                                            \
		}                                                             \
	}
#include "compat/imports.def.h"
#undef KHV_IMPORT
	return missing;
}

static void patch_imports(const char *module)
{
#define KHV_IMPORT(_mod, _ret, _name, _params, _args) \
	if (same_module(KHV_MODULE_##_mod, module))   \
		static_call_update(khv_import_##_name, (void *)import_addr[KHV_IMPORT_##_name]);
#include "compat/imports.def.h"
#undef KHV_IMPORT
}

int khv_symbols_init(void (*report)(const char *name, const char *why))
{
	int ret = find_lookup_name();

	if (ret)
		return ret;
	if (find_imports(NULL, report))
		return -EOPNOTSUPP;
	patch_imports(NULL);
	return 0;
}

int khv_imports_find(void (*report)(const char *name, const char *why))
{
	int missing = find_imports("kvm", report);

	missing += find_imports(khv_vendor, report);

	khv_tdp_enabled = (void *)khv_symbol("kvm", "tdp_enabled");
	if (!khv_tdp_enabled) {
		report("tdp_enabled", "whether guests run on EPT or NPT");
		missing++;
	}
	khv_enable_apicv = (void *)khv_symbol("kvm", "enable_apicv");
	if (!khv_enable_apicv) {
		report("enable_apicv", "whether APICv or AVIC is on");
		missing++;
	}
	khv_x86_ops = (void *)khv_symbol("kvm", "kvm_x86_ops");
	if (!khv_x86_ops) {
		report("kvm_x86_ops", "KVM's table of vendor functions");
		return missing + 1;
	}
	khv_nested_ops = khv_find_nested_ops();
	if (!khv_x86_ops->get_cpl || !khv_x86_ops->get_cs_db_l_bits ||
	    !khv_x86_ops->flush_tlb_gva || !khv_x86_ops->flush_tlb_guest ||
	    !khv_x86_ops->deliver_interrupt || !khv_x86_ops->patch_hypercall ||
	    !khv_x86_ops->get_exit_info || !khv_x86_ops->cache_reg || !khv_x86_ops->get_segment ||
	    !khv_x86_ops->get_idt || !khv_x86_ops->get_gdt || !khv_x86_ops->get_l2_tsc_offset ||
	    !khv_x86_ops->get_l2_tsc_multiplier || !khv_x86_ops->write_tsc_offset ||
	    !khv_x86_ops->write_tsc_multiplier || !khv_nested_ops) {
		report("kvm_x86_ops", "it lacks functions of the vendor module");
		return missing + 1;
	}
	return missing;
}

void khv_imports_patch(void)
{
	patch_imports("kvm");
	patch_imports(khv_vendor);
	static_call_update(khv_x86_get_cpl, khv_x86_ops->get_cpl);
	static_call_update(khv_x86_get_cs_db_l_bits, khv_x86_ops->get_cs_db_l_bits);
	static_call_update(khv_x86_flush_tlb_gva, khv_x86_ops->flush_tlb_gva);
	static_call_update(khv_x86_flush_tlb_guest, khv_x86_ops->flush_tlb_guest);
	static_call_update(khv_x86_deliver_interrupt, khv_x86_ops->deliver_interrupt);
}

#ifdef KHV_KVM_CRC
bool khv_kvm_is_as_built_for(void)
{
	static const char built_for[] = "kvm_vcpu_halt=" KHV_KVM_CRC;
	const char *expected = built_for;
	const u32 *crc = (void *)khv_symbol(KHV_MODULE_KVM, "__crc_kvm_vcpu_halt");
	char found[sizeof(built_for)];

	if (!crc)
		return false;
	/*
	 * Compare with the string in the module file, which the compiler must not treat as a
	 * constant.
	 */
	OPTIMIZER_HIDE_VAR(expected);
	snprintf(found, sizeof(found), "kvm_vcpu_halt=0x%08x", *crc);
	return !strcmp(found, expected);
}
#else
bool khv_kvm_is_as_built_for(void)
{
	return true;
}
#endif
