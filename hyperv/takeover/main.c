// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module init and exit. Each transition between these states logs one fixed line (the inner ones
 * with pr_debug):
 *
 *   state    host text  new VMs   rmmod
 *   IDLE     untouched  KVM's     -
 *   CHECKED  untouched  KVM's     -        all checks passed, KVM is pinned
 *   HOOKED   replaced   KVM's     -        all hooks are installed
 *   ACTIVE   replaced   owned     refused while there is an owned VM
 *
 * A failed load names everything that is missing in one message and stays IDLE.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/utsname.h>
#include <generated/utsrelease.h>

#include "khv/contract.h"
#include "khv/cpuid.h"
#include "khv/debugfs.h"
#include "khv/drivers.h"
#include "khv/events.h"
#include "khv/extra_calls.h"
#include "khv/fastpath.h"
#include "khv/hooks.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/tables.h"
#include "khv/takeover.h"

static int set_switch(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);
	/* A value written through sysfs ends with a newline. */
	int len = strcspn(val ?: "", "\n");

	if (!ret && kp->arg == &khv_fastpath)
		khv_fastpath_switched();
	if (!ret)
		return 0;
	if (kp->arg == &khv_takeover)
		pr_err("takeover=%.*s is not a boolean; use takeover=1 (the module owns new VMs) or takeover=0 (KVM keeps new VMs)\n",
		       len, val);
	else
		pr_err("fastpath=%.*s is not a boolean; use fastpath=1 (answer exits at once) or fastpath=0 (as KVM does)\n",
		       len, val);
	return ret;
}

static int set_nested_features(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_ullong(val, kp);

	if (ret)
		pr_err("nested_features=%s is not a number; use the bits of CPUID leaf 0x4000000A, EBX above EAX, as in nested_features=0x40000\n",
		       val);
	return ret;
}

static const struct kernel_param_ops nested_features_ops = {
	.set = set_nested_features,
	.get = param_get_ullong,
};

static int set_added_cpuid(const char *val, const struct kernel_param *kp)
{
	if (!param_set_uint(val, kp))
		return 0;
	pr_err("%s=%s is not a number of 32 bits; use bits of that register of CPUID, as in %s=0x20\n",
	       kp->name, val, kp->name);
	return -EINVAL;
}

static const struct kernel_param_ops added_cpuid_ops = {
	.set = set_added_cpuid,
	.get = param_get_hexint,
};

static const struct kernel_param_ops switch_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_switch,
	.get = param_get_bool,
};
module_param_cb(fastpath, &switch_ops, &khv_fastpath, 0600);
MODULE_PARM_DESC(
	fastpath,
	"Answer exits before KVM leaves its inner loop (default on; can be changed at any time)");

module_param_cb(takeover, &switch_ops, &khv_takeover, 0600);
MODULE_PARM_DESC(takeover,
		 "Take over VMs created from now on (default on; can be changed at any time)");

module_param_cb(nested_features, &nested_features_ops, &khv_nested_features, 0400);
MODULE_PARM_DESC(
	nested_features,
	"Bits added to CPUID leaf 0x4000000A of guests that have it, EBX above EAX, that user space does not know: 0x40000 GPA flush, 0x400000 enlightened NPT TLB, 0x100000000 PERF_GLOBAL_CTRL");

module_param_cb(features_eax, &added_cpuid_ops, &khv_added_cpuid[KHV_CPUID_FEATURES_EAX], 0400);
MODULE_PARM_DESC(
	features_eax,
	"Bits to add to CPUID 0x40000003.EAX of guests with Hyper-V leaves: 0x400 GUEST_IDLE");

module_param_cb(features_ebx, &added_cpuid_ops, &khv_added_cpuid[KHV_CPUID_FEATURES_EBX], 0400);
MODULE_PARM_DESC(features_ebx, "Likewise to EBX of CPUID leaf 0x40000003");

module_param_cb(features_edx, &added_cpuid_ops, &khv_added_cpuid[KHV_CPUID_FEATURES_EDX], 0400);
MODULE_PARM_DESC(features_edx, "Likewise to EDX of CPUID leaf 0x40000003");

module_param_cb(hints_eax, &added_cpuid_ops, &khv_added_cpuid[KHV_CPUID_HINTS_EAX], 0400);
MODULE_PARM_DESC(hints_eax, "Likewise to EAX of CPUID leaf 0x40000004");

module_param_named(nested_posts_direct, khv_nested_posts_direct, bool, 0400);
MODULE_PARM_DESC(
	nested_posts_direct,
	"Answer HvPostMessage and HvSignalEvent with bit 31 of an L2 with direct flush, too, not only of one that HypercallControls permits");

module_param_named(nested_posts_plain, khv_nested_posts_plain, bool, 0400);
MODULE_PARM_DESC(
	nested_posts_plain,
	"Experiment: clear bit 31 of HvPostMessage and HvSignalEvent that L0 does not answer, before L1 sees them");

static char *require = "";
module_param(require, charp, 0400);
MODULE_PARM_DESC(require,
		 "Names of further KVM functions, separated by commas, without which not to load");

static struct module *kvm_module, *vendor_module;

/*
 * Missing names, for one log message: with reasons, or without where the reasons would not fit in
 * one line of the log.
 */
static char reasons[640];
static char names[800];

static void append(char *buf, size_t size, const char *name, const char *why)
{
	size_t len = strlen(buf);

	if (why)
		scnprintf(buf + len, size - len, "%s%s (%s)", len ? ", " : "", name, why);
	else
		scnprintf(buf + len, size - len, "%s%s", len ? ", " : "", name);
}

static void note_missing(const char *name, const char *why)
{
	append(reasons, sizeof(reasons), name, why);
	append(names, sizeof(names), name, NULL);
}

static const char *missing(void)
{
	return strlen(reasons) < sizeof(reasons) - 1 ? reasons : names;
}

static int check_required(void)
{
	char *copy = kstrdup(require, GFP_KERNEL);
	char *rest = copy, *name;
	int bad = 0;

	if (!copy)
		return -ENOMEM;
	while ((name = strsep(&rest, ",")) != NULL) {
		if (*name && !khv_symbol("kvm", name)) {
			note_missing(name, "named by require=");
			bad++;
		}
	}
	kfree(copy);
	return bad;
}

static struct module *pin(const char *name)
{
	struct module *mod;

	preempt_disable();
	mod = khv_find_module(name);
	/* A module that is still initialising may yet fail, although it is pinned. */
	if (mod && (mod->state != MODULE_STATE_LIVE || !try_module_get(mod)))
		mod = NULL;
	preempt_enable();
	return mod;
}

static void unpin(void)
{
	module_put(vendor_module);
	module_put(kvm_module);
	vendor_module = NULL;
	kvm_module = NULL;
}

static int pin_kvm(void)
{
	kvm_module = pin(KHV_MODULE_KVM);
	if (!kvm_module) {
		pr_err("kvm is not loaded; run 'modprobe kvm_intel' or 'modprobe kvm_amd' first\n");
		return -ENODEV;
	}
	khv_vendor = KHV_MODULE_INTEL;
	vendor_module = pin(khv_vendor);
	if (!vendor_module) {
		khv_vendor = KHV_MODULE_AMD;
		vendor_module = pin(khv_vendor);
		khv_svm = true;
	}
	if (!vendor_module) {
		pr_err("kvm is loaded without a vendor module; run 'modprobe kvm_intel' or 'modprobe kvm_amd' first\n");
		return -ENODEV;
	}
	return 0;
}

static int __init check_added_cpuid(void)
{
	static const struct {
		const char *name;
		enum khv_cpuid_reg reg;
	} params[] = {
		{ "features_eax", KHV_CPUID_FEATURES_EAX },
		{ "features_ebx", KHV_CPUID_FEATURES_EBX },
		{ "features_edx", KHV_CPUID_FEATURES_EDX },
		{ "hints_eax", KHV_CPUID_HINTS_EAX },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(params); i++) {
		u32 added = khv_added_cpuid[params[i].reg];
		u32 addable = khv_cpuid_addable(params[i].reg);

		if (added & ~addable) {
			pr_err("%s=0x%x: this host does not offer 0x%x; use only bits of 0x%x\n",
			       params[i].name, added, added & ~addable, addable);
			return -EINVAL;
		}
	}
	return 0;
}

/* IDLE -> CHECKED */
static int __init check(void)
{
	const char *row;
	u64 offered;
	int bad, ret;

	if (strcmp(utsname()->release, UTS_RELEASE)) {
		pr_err("built for Linux %s, this is %s; build it against this kernel's headers: make KDIR=/lib/modules/%s/build\n",
		       UTS_RELEASE, utsname()->release, utsname()->release);
		return -ENOEXEC;
	}
	ret = khv_extra_calls_init();
	if (ret)
		return ret;
	ret = khv_tables_check(&row) ?: khv_msr_check(&row);
	if (ret) {
		pr_err("table row %s is not valid (order, overlap, flags or privileges); correct include/khv/*.def.h and build again\n",
		       row);
		return ret;
	}
	ret = khv_symbols_init(note_missing);
	if (ret) {
		pr_err("cannot look up kernel symbols (%d); the kernel needs CONFIG_KPROBES=y and CONFIG_KALLSYMS_ALL=y: %s\n",
		       ret, missing());
		return ret;
	}
	ret = pin_kvm();
	if (ret)
		goto err_unpin;

	bad = khv_contract_compare(khv_function_wanted, note_missing);
	if (bad < 0) {
		ret = bad;
		/* khv_contract_compare() has said why. */
		if (ret == -ENOEXEC)
			goto err_unpin;
		pr_err("out of memory for the BTF of KVM (%d); free some and load again\n", bad);
		goto err_unpin;
	}
	if (bad) {
		pr_err("this kernel is not the one that this module was built for; build it against the running kernel: make KDIR=/lib/modules/%s/build; if it is, see Documentation/contract.rst; %d differ: %s\n",
		       utsname()->release, bad, missing());
		ret = -ENOEXEC;
		goto err_unpin;
	}
	ret = khv_symbols_index(kvm_module) ?: khv_symbols_index(vendor_module);
	if (ret) {
		pr_err("out of memory for the symbols of KVM (%d); free some and load again\n",
		       ret);
		goto err_unpin;
	}
	bad = khv_imports_find(note_missing);
	bad += khv_events_find(note_missing);
	bad += khv_fastpath_check(note_missing);
	bad += khv_hooks_find(note_missing);
	ret = check_required();
	if (ret < 0) {
		pr_err("out of memory for a copy of require= (%d); free some and load again\n",
		       ret);
		goto err_unpin;
	}
	bad += ret;
	if (bad) {
		pr_err("this KVM lacks what the module needs; use Linux 6.1 to 7.3, built with CONFIG_KVM_HYPERV; %d missing: %s\n",
		       bad, missing());
		ret = -EOPNOTSUPP;
		goto err_unpin;
	}
	if (!khv_kvm_is_as_built_for()) {
		pr_err("kvm.ko was built with other structures than this module (version of symbol kvm_vcpu_halt); build both from one kernel's sources and configuration\n");
		ret = -ENOEXEC;
		goto err_unpin;
	}
	offered = khv_nested_features_offered();
	if (khv_nested_features & ~offered) {
		pr_err("nested_features=0x%llx: this host does not offer 0x%llx; use only bits of 0x%llx\n",
		       khv_nested_features, khv_nested_features & ~offered, offered);
		ret = -EINVAL;
		goto err_unpin;
	}
	ret = check_added_cpuid();
	if (ret)
		goto err_unpin;
	bad = khv_hooks_check(note_missing);
	if (bad) {
		pr_err("cannot replace functions of KVM; stop what traces or patches them and load again; %d in use: %s\n",
		       bad, missing());
		ret = -EBUSY;
		goto err_unpin;
	}
	pr_debug("checked\n");
	return 0;

err_unpin:
	unpin();
	return ret;
}

static int __init khv_init(void)
{
	int ret;

	ret = check();
	if (ret) {
		khv_symbols_forget();
		return ret;
	}
	khv_imports_patch();

	/* CHECKED -> HOOKED -> ACTIVE: no VM is taken over before all hooks are installed. */
	ret = khv_hooks_install();
	if (ret)
		goto err_hooks;

	khv_fastpath_install();
	khv_symbols_forget();
	/* Last, because a load that fails must not remove files that may be open. */
	khv_debugfs_init();
	WRITE_ONCE(khv_hooked, true);

	pr_info("version %s active on %s and %s: %d functions replaced, %s\n", KHV_VERSION,
		kvm_module->name, vendor_module->name, khv_hooks_nr(),
		khv_takeover ? "owns new VMs" : "leaves new VMs to KVM (takeover=0)");
	return 0;

err_hooks:
	khv_symbols_forget();
	khv_takeover_drain();
	unpin();
	return ret;
}

/*
 * KVM's functions still call khv_dispatch, so the module's text must not be freed, but returning
 * from module exit frees it. No VM is owned or will be, and every call goes on to KVM.
 */
static void __noreturn stay(int err)
{
	pr_err("ftrace does not restore KVM's functions (%d), probably because it has disabled itself; KVM keeps all VMs, the module stays in memory and rmmod does not return; reboot the host\n",
	       err);
	for (;;) {
		set_current_state(TASK_IDLE | TASK_FREEZABLE);
		schedule();
	}
}

#ifdef CONFIG_MODULE_UNLOAD
static int users(void)
{
	return module_refcount(THIS_MODULE);
}
#else
static int users(void)
{
	return 0;
}
#endif

/* Only rmmod -f comes here while it has users: the vCPUs of an owned VM return to its code. */
static void wait_for_users(void)
{
	/* Let a host with such a VM suspend. */
	while (users() > 0) {
		set_current_state(TASK_IDLE | TASK_FREEZABLE);
		schedule_timeout(HZ / 10);
	}
}

static void tell_of_users(void)
{
	struct khv_vm *vm;

	if (users() <= 0)
		return;
	pr_err("removed by force while it has %d users: VMs, open files in debugfs, or tracing; VMs go on, new ones are KVM's; rmmod returns when all have ended\n",
	       users());
	mutex_lock(&khv_vms_lock);
	list_for_each_entry(vm, &khv_vms, link)
		pr_info("in use by VM %u, process %d\n", vm->id, vm->pid);
	mutex_unlock(&khv_vms_lock);
}

static void __exit khv_exit(void)
{
	int differ, ret;

	WRITE_ONCE(khv_hooked, false);
	/* Who has seen it true has a reference by then. */
	khv_takeover_settle();
	tell_of_users();
	wait_for_users();
	khv_fastpath_remove();
	ret = khv_hooks_remove();
	if (ret)
		stay(ret);
	khv_debugfs_exit();
	/* By force, the system ioctl and a file may still have been begun just before. */
	wait_for_users();
	khv_takeover_drain();

	differ = khv_hooks_restored();
	unpin();
	if (differ)
		pr_notice("unloaded; another user of ftrace or kprobes has hooked %d of the functions\n",
			  differ);
	else
		pr_info("unloaded; all %d functions are restored\n", khv_hooks_nr());
}

module_init(khv_init);
module_exit(khv_exit);
MODULE_AUTHOR("The kvm-hyperv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(KHV_VERSION);
MODULE_DESCRIPTION("Takes over KVM's Hyper-V enlightenments");
