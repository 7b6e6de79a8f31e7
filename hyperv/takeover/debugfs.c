// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports under /sys/kernel/debug/kvm-hyperv/: the hooks, what the rows say of themselves, and the
 * VMs; debugfs_rows.c has what is counted, debugfs_vm.c the folder of each VM. Read-only. Takes
 * khv_vms_lock, which no hot path takes.
 */
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/log2.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "khv/debugfs.h"
#include "khv/fastpath.h"
#include "khv/hooks.h"
#include "khv/state.h"
#include "khv/takeover.h"

#include "debugfs.h"

static struct dentry *root;

static const char *const cpuid_reg[KHV_NR_CPUID_REGS] = {
	[KHV_CPUID_FEATURES_EAX] = "3.EAX", [KHV_CPUID_FEATURES_EBX] = "3.EBX",
	[KHV_CPUID_FEATURES_EDX] = "3.EDX", [KHV_CPUID_HINTS_EAX] = "4.EAX",
	[KHV_CPUID_HINTS_EBX] = "4.EBX",    [KHV_CPUID_NESTED_EAX] = "A.EAX",
	[KHV_CPUID_NESTED_EBX] = "A.EBX",   [KHV_CPUID_SYNDBG_EAX] = "82.EAX",
};

/* Names of flags, by their bits. */
static const char *const msr_flag[] = {
	[ilog2(KHV_MSR_RO)] = "ro",
	[ilog2(KHV_MSR_VM)] = "vm",
	[ilog2(KHV_MSR_UNROUTED)] = "unrouted",
	[ilog2(KHV_MSR_ATOMIC_RD)] = "atomic-read",
	[ilog2(KHV_MSR_ATOMIC_WR)] = "atomic-write",
	[ilog2(KHV_MSR_RESTORE_ANY)] = "restore-any",
	[ilog2(KHV_MSR_OVERLAY)] = "overlay",
	[ilog2(KHV_MSR_SHOWN)] = "shown",
};
static const char *const hc_flag[] = {
	[ilog2(KHV_FAST)] = "fast",
	[ilog2(KHV_XMM)] = "xmm",
	[ilog2(KHV_VARHDR)] = "varhdr",
	[ilog2(KHV_REP)] = "rep",
	[ilog2(KHV_NEED_IF_SYNDBG)] = "need-if-syndbg",
	[ilog2(KHV_USER_EXIT)] = "user-exit",
	[ilog2(KHV_ANY_FORM)] = "any-form",
	[ilog2(KHV_ATOMIC)] = "atomic",
	[ilog2(KHV_L2)] = "l2",
	[ilog2(KHV_NEED_ANY)] = "need-any",
	[ilog2(KHV_L2_POST)] = "l2-post",
	[ilog2(KHV_HIDDEN)] = "hidden",
	[ilog2(KHV_EACH)] = "each",
};

static void show_flags(struct seq_file *m, const char *const *names, unsigned int nr, u32 flags)
{
	const char *comma = "";
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (!(flags & BIT(i)))
			continue;
		seq_printf(m, "%s%s", comma, names[i]);
		comma = ",";
	}
	seq_puts(m, *comma ? " " : "- ");
}

/* The registers of khv_cpuid_reg are named by leaf; a whole register has no bit. */
static void show_needs(struct seq_file *m, const struct khv_priv *need)
{
	unsigned int i;

	for (i = 0; i < KHV_MAX_PRIVS && need[i].reg; i++) {
		seq_printf(m, "%s%s", i ? "," : "", cpuid_reg[need[i].reg]);
		if (need[i].bit != KHV_WHOLE_REG)
			seq_printf(m, ".%u", need[i].bit);
	}
	seq_puts(m, i ? "\n" : "-\n");
}

/* What the rows say of themselves: selftests look there for rows that they do not know. */
static int tables_show(struct seq_file *m, void *unused)
{
	int i;

	seq_puts(m, "register number count stride reserved enlightenment flags needs\n");
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		const struct khv_msr_row *r = &khv_msrs[i];

		/* In halves: as one number the bits may look like an address of the kernel. */
		seq_printf(m, "%s 0x%08x %u %u %08x:%08x %s ", r->name, r->first, r->count,
			   r->stride, upper_32_bits(r->reserved), lower_32_bits(r->reserved),
			   khv_enls[r->enl].name);
		show_flags(m, msr_flag, ARRAY_SIZE(msr_flag), r->flags);
		show_needs(m, r->need);
	}
	seq_puts(m, "hypercall code count input rep output rep-output enlightenment flags needs\n");
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		const struct khv_hc_row *r = &khv_hcs[i];

		if (!khv_hc_shown(i))
			continue;
		seq_printf(m, "%s 0x%04x %u %u %u %u %u %s ", r->name, r->code, r->count, r->hdr,
			   r->rep, r->out, r->rep_out, khv_enls[r->enl].name);
		show_flags(m, hc_flag, ARRAY_SIZE(hc_flag), r->flags);
		show_needs(m, r->need);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tables);

static int posts_show(struct seq_file *m, void *unused)
{
	struct khv_counts *counts = kzalloc(sizeof(*counts), GFP_KERNEL);
	u64 shown;

	if (!counts)
		return -ENOMEM;
	khv_counts_collect(NULL, counts, &shown);

	seq_printf(m, "%-32s %12s\n", "posts of nested guests to L0", "calls");
	seq_printf(m, "%-32s %12llu\n", "all", counts->posts);
	seq_printf(m, "%-32s %12llu\n", "with InterPartitionCommunication",
		   counts->posts_inter_partition);
	seq_printf(m, "%-32s %12llu\n", "with direct flush", counts->posts_direct);
	kfree(counts);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(posts);

static int hooks_show(struct seq_file *m, void *unused)
{
	int i, cpu;

	seq_printf(m, "%-28s %-6s %12s %12s\n", "function", "site", "ours", "passed");
	for (i = 0; i < KHV_NR_HOOKS; i++) {
		u64 ours = 0, passed = 0;

		if (!khv_hook_wanted(i))
			continue;
		for_each_possible_cpu(cpu) {
			ours += per_cpu(khv_hook_hits.ours[i], cpu);
			passed += per_cpu(khv_hook_hits.passed[i], cpu);
		}
		/* No address: it would tell where KASLR has put the kernel. */
		seq_printf(m, "%-28s +0x%-3lx %12llu %12llu\n", khv_hooks[i].name,
			   khv_hooks[i].site - khv_hooks[i].addr, ours, passed);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hooks);

static int vms_show(struct seq_file *m, void *unused)
{
	struct khv_vcpu *vp;
	struct khv_vm *vm;

	mutex_lock(&khv_vms_lock);
	seq_printf(m, "created %u\n", khv_vms_created);
	seq_printf(m, "%-6s %-8s %-6s %-18s %-18s %s\n", "vm", "pid", "vps", "guest-os-id",
		   "hypercall", "process");
	list_for_each_entry(vm, &khv_vms, link) {
		unsigned int vps = 0;

		mutex_lock(&vm->vps_lock);
		list_for_each_entry(vp, &vm->vps, link)
			vps++;
		mutex_unlock(&vm->vps_lock);
		seq_printf(m, "%-6u %-8d %-6u 0x%016llx 0x%016llx %d\n", vm->id, vm->pid, vps,
			   vm->kvm->arch.hyperv.hv_guest_os_id, vm->kvm->arch.hyperv.hv_hypercall,
			   vm->process);
	}
	mutex_unlock(&khv_vms_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vms);

static int left_show(struct seq_file *m, void *unused)
{
	static const char *const why[KHV_NR_LEFT] = {
		[KHV_LEFT_TAKEOVER] = "takeover was 0",
		[KHV_LEFT_PROTECTED] = "protected",
		[KHV_LEFT_MEMORY] = "out of memory",
		[KHV_LEFT_UNLOADING] = "module on its way out",
	};
	int i;

	seq_printf(m, "%-32s %12s\n", "left to KVM since the load", "vms");
	for (i = 0; i < KHV_NR_LEFT; i++)
		seq_printf(m, "%-32s %12u\n", why[i], atomic_read(&khv_left[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(left);

static int fast_path_show(struct seq_file *m, void *unused)
{
	if (khv_fastpath_missing)
		seq_printf(m, "none: %s\n", khv_fastpath_missing);
	else
		seq_printf(m, "%s\n", READ_ONCE(khv_fastpath) ? "on" : "off: fastpath=0");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fast_path);

void khv_debugfs_init(void)
{
	root = debugfs_create_dir("kvm-hyperv", NULL);
	khv_debugfs_vms_init(root);
	khv_debugfs_add_counts(root, NULL);
	debugfs_create_file("tables", 0400, root, NULL, &tables_fops);
	debugfs_create_file("posts", 0400, root, NULL, &posts_fops);
	debugfs_create_file("hooks", 0400, root, NULL, &hooks_fops);
	debugfs_create_file("vms", 0400, root, NULL, &vms_fops);
	debugfs_create_file("left", 0400, root, NULL, &left_fops);
	debugfs_create_file("fast_path", 0400, root, NULL, &fast_path_fops);
}

void khv_debugfs_exit(void)
{
	debugfs_remove(root);
}
