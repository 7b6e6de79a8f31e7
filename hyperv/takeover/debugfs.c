// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports under /sys/kernel/debug/kvm-hyperv/: the hooks, each row and its usage, the
 * enlightenments that guests were shown and who answers them, and the VMs. Read-only. Takes
 * khv_vms_lock, which no hot path takes.
 */
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "khv/debugfs.h"
#include "khv/hooks.h"
#include "khv/state.h"

static struct dentry *root;

static const char *const answer_name[] = {
	[KHV_ANSWER_MODULE] = "module",
	[KHV_ANSWER_STOCK] = "stock",
};

static const char *const fast_result[KHV_NR_FAST_RESULTS] = {
	[KHV_FAST_OK] = "answered",
	[KHV_FAST_STATE] = "slow: stepped, SMM, hidden, PMU",
	[KHV_FAST_FILTER] = "slow: MSR filter",
	[KHV_FAST_TRACED] = "slow: kvm_msr or kvm_exit traced",
	[KHV_FAST_ROW] = "slow: row is not atomic",
	[KHV_FAST_FORM] = "slow: call in memory",
	[KHV_FAST_REFUSED] = "slow: faults or is denied",
	[KHV_FAST_SLOW] = "slow: has to wait",
	[KHV_FAST_SKIP] = "slow: instruction not at hand",
	[KHV_FAST_PMU] = "slow: PMU counts",
};

/* Accesses to a row that may be answered in the fast path. */
static const char *msr_atomic(const struct khv_msr_row *row)
{
	static const char *const name[] = { "-", "r", "w", "rw" };

	return name[!!(row->flags & KHV_MSR_ATOMIC_RD) + 2 * !!(row->flags & KHV_MSR_ATOMIC_WR)];
}

/* Sum over the VMs that exist and those that are destroyed. */
static void collect(struct khv_counts *counts, u64 *shown)
{
	struct khv_vm *vm;
	struct khv_vcpu *vp;

	mutex_lock(&khv_vms_lock);
	khv_counts_add(counts, &khv_ended_counts);
	*shown = khv_ended_shown;
	list_for_each_entry(vm, &khv_vms, link) {
		mutex_lock(&vm->vps_lock);
		khv_counts_add(counts, &vm->ended);
		*shown |= vm->shown;
		list_for_each_entry(vp, &vm->vps, link)
			khv_counts_add(counts, &vp->counts);
		mutex_unlock(&vm->vps_lock);
	}
	mutex_unlock(&khv_vms_lock);
}

static u64 reads(const struct khv_counts *c, int row)
{
	return c->msr_read[row] + c->msr_read_fast[row];
}

static u64 writes(const struct khv_counts *c, int row)
{
	return c->msr_write[row] + c->msr_write_fast[row];
}

static u64 calls(const struct khv_counts *c, int row)
{
	return c->hc[row] + c->hc_fast[row];
}

/* Number of uses of an enlightenment's rows, or of its own counter. */
static u64 count_enl(unsigned int enl, const struct khv_counts *counts)
{
	u64 uses = 0;
	int i;

	switch (enl) {
	case KHV_ENL_XMM_INPUT:
		return counts->hc_xmm;
	case KHV_ENL_TLBFLUSH_DIRECT:
		return counts->hc_l2;
	case KHV_ENL_EVMCS:
		return counts->evmcs_entries;
	case KHV_ENL_EMSR_BITMAP:
		return counts->clean_msr_bitmaps;
	}
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		if (khv_msrs[i].enl == enl)
			uses += reads(counts, i) + writes(counts, i);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (khv_hcs[i].enl == enl)
			uses += calls(counts, i);
	}
	return uses;
}

static int enlightenments_show(struct seq_file *m, void *unused)
{
	struct khv_counts *counts = kzalloc(sizeof(*counts), GFP_KERNEL);
	u64 uses, shown;
	int i;

	if (!counts)
		return -ENOMEM;
	collect(counts, &shown);

	seq_printf(m, "%-28s %-10s %-11s %-5s %12s\n", "enlightenment", "answered", "advertised",
		   "used", "uses");
	for (i = 0; i < KHV_NR_ENLS; i++) {
		uses = count_enl(i, counts);
		seq_printf(m, "%-28s %-10s %-11s %-5s %12llu\n", khv_enls[i].name,
			   answer_name[khv_enls[i].answer], shown & BIT_ULL(i) ? "yes" : "no",
			   uses ? "yes" : "-", uses);
	}
	kfree(counts);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(enlightenments);

static int rows_show(struct seq_file *m, void *unused)
{
	struct khv_counts *counts = kzalloc(sizeof(*counts), GFP_KERNEL);
	u64 shown;
	int i;

	if (!counts)
		return -ENOMEM;
	collect(counts, &shown);

	seq_printf(m, "%-32s %-10s %-6s %12s %12s %12s %12s\n", "msr", "number", "atomic", "reads",
		   "writes", "fast-reads", "fast-writes");
	for (i = 0; i < KHV_NR_MSR_ROWS; i++)
		seq_printf(m, "%-32s 0x%08x %-6s %12llu %12llu %12llu %12llu\n", khv_msrs[i].name,
			   khv_msrs[i].first, msr_atomic(&khv_msrs[i]), reads(counts, i),
			   writes(counts, i), counts->msr_read_fast[i], counts->msr_write_fast[i]);
	seq_printf(m, "\n%-32s %-10s %-6s %12s %12s\n", "hypercall", "code", "atomic", "calls",
		   "fast");
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (!khv_hc_shown(i))
			continue;
		seq_printf(m, "%-32s 0x%04x     %-6s %12llu %12llu\n", khv_hcs[i].name,
			   khv_hcs[i].code, khv_hcs[i].flags & KHV_ATOMIC ? "w" : "-",
			   calls(counts, i), counts->hc_fast[i]);
	}
	seq_printf(m, "%-32s %-10s %-6s %12llu\n", "(no row)", "", "", counts->hc_unknown);
	seq_printf(m, "\n%-32s %-10s %-6s %12s\n", "exits in the fast path", "", "", "exits");
	for (i = 0; i < KHV_NR_FAST_RESULTS; i++)
		seq_printf(m, "%-32s %-10s %-6s %12llu\n", fast_result[i], "", "", counts->fast[i]);
	kfree(counts);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rows);

static const char *const cpuid_reg[KHV_NR_CPUID_REGS] = {
	[KHV_CPUID_FEATURES_EAX] = "3.EAX", [KHV_CPUID_FEATURES_EBX] = "3.EBX",
	[KHV_CPUID_FEATURES_EDX] = "3.EDX", [KHV_CPUID_HINTS_EAX] = "4.EAX",
	[KHV_CPUID_HINTS_EBX] = "4.EBX",    [KHV_CPUID_NESTED_EAX] = "A.EAX",
	[KHV_CPUID_NESTED_EBX] = "A.EBX",   [KHV_CPUID_SYNDBG_EAX] = "82.EAX",
};

/* Names of flags, by their bits. */
static const char *const msr_flag[] = { "ro",		"vm",	       "unrouted", "atomic-read",
					"atomic-write", "restore-any", "overlay",  "shown" };
static const char *const hc_flag[] = { "fast",	    "xmm",	"varhdr", "rep", "need-if-syndbg",
				       "user-exit", "any-form", "atomic", "l2",	 "need-any",
				       "l2-post",   "hidden",	"each" };

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

		seq_printf(m, "%s 0x%08x %u %u 0x%llx %s ", r->name, r->first, r->count, r->stride,
			   r->reserved, khv_enls[r->enl].name);
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
	collect(counts, &shown);

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
	seq_printf(m, "%-6s %-8s %-6s %-18s %-18s\n", "vm", "pid", "vps", "guest-os-id",
		   "hypercall");
	list_for_each_entry(vm, &khv_vms, link) {
		unsigned int vps = 0;

		mutex_lock(&vm->vps_lock);
		list_for_each_entry(vp, &vm->vps, link)
			vps++;
		mutex_unlock(&vm->vps_lock);
		seq_printf(m, "%-6u %-8d %-6u 0x%016llx 0x%016llx\n", vm->id, vm->pid, vps,
			   vm->kvm->arch.hyperv.hv_guest_os_id, vm->kvm->arch.hyperv.hv_hypercall);
	}
	mutex_unlock(&khv_vms_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vms);

void khv_debugfs_init(void)
{
	root = debugfs_create_dir("kvm-hyperv", NULL);
	debugfs_create_file("enlightenments", 0400, root, NULL, &enlightenments_fops);
	debugfs_create_file("rows", 0400, root, NULL, &rows_fops);
	debugfs_create_file("tables", 0400, root, NULL, &tables_fops);
	debugfs_create_file("posts", 0400, root, NULL, &posts_fops);
	debugfs_create_file("hooks", 0400, root, NULL, &hooks_fops);
	debugfs_create_file("vms", 0400, root, NULL, &vms_fops);
}

void khv_debugfs_exit(void)
{
	debugfs_remove(root);
}
