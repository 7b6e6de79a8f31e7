// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is counted, as text: the usage of each row, and the enlightenments that guests were shown
 * and who answers them; of one VM, or of all.
 */
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "khv/state.h"
#include "khv/tables.h"

#include "debugfs.h"

static const char *const answer_name[] = {
	[KHV_ANSWER_MODULE] = "module",
	[KHV_ANSWER_STOCK] = "stock",
};

const char *const khv_fast_result[KHV_NR_FAST_RESULTS] = {
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

static void collect_vm(struct khv_vm *vm, struct khv_counts *counts, u64 *shown)
{
	struct khv_vcpu *vp;

	mutex_lock(&vm->vps_lock);
	khv_counts_add(counts, &vm->ended);
	*shown |= vm->shown;
	list_for_each_entry(vp, &vm->vps, link)
		khv_counts_add(counts, &vp->counts);
	mutex_unlock(&vm->vps_lock);
}

void khv_counts_collect(struct khv_vm *only, struct khv_counts *counts, u64 *shown)
{
	struct khv_vm *vm;

	*shown = 0;
	if (only) {
		collect_vm(only, counts, shown);
		return;
	}
	mutex_lock(&khv_vms_lock);
	khv_counts_add(counts, &khv_ended_counts);
	*shown = khv_ended_shown;
	list_for_each_entry(vm, &khv_vms, link)
		collect_vm(vm, counts, shown);
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
	khv_counts_collect(m->private, counts, &shown);

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
	khv_counts_collect(m->private, counts, &shown);

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
		seq_printf(m, "%-32s %-10s %-6s %12llu\n", khv_fast_result[i], "", "",
			   counts->fast[i]);
	kfree(counts);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rows);

void khv_debugfs_add_counts(struct dentry *folder, struct khv_vm *vm)
{
	debugfs_create_file("enlightenments", 0400, folder, vm, &enlightenments_fops);
	debugfs_create_file("rows", 0400, folder, vm, &rows_fops);
}
