// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is known of all owned VMs: their list and their counts, for reports, and the vCPU that a CPU
 * runs. No hot path takes khv_vms_lock. hyperv/takeover/vm.c fills the list.
 */
#include <linux/kvm_host.h>

#include "khv/state.h"

LIST_HEAD(khv_vms);
/* Protects khv_vms and the sums below. What all VMs wait for must not grow with the VPs of one. */
DEFINE_MUTEX(khv_vms_lock);
struct khv_counts khv_ended_counts;
u64 khv_ended_shown;
u32 khv_vms_created;

DEFINE_PER_CPU(struct kvm_vcpu *, khv_running);

void khv_counts_add(struct khv_counts *sum, const struct khv_counts *add)
{
	int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		sum->msr_read[i] += READ_ONCE(add->msr_read[i]);
		sum->msr_write[i] += READ_ONCE(add->msr_write[i]);
		sum->msr_read_fast[i] += READ_ONCE(add->msr_read_fast[i]);
		sum->msr_write_fast[i] += READ_ONCE(add->msr_write_fast[i]);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		sum->hc[i] += READ_ONCE(add->hc[i]);
		sum->hc_fast[i] += READ_ONCE(add->hc_fast[i]);
	}
	for (i = 0; i < KHV_NR_FAST_RESULTS; i++)
		sum->fast[i] += READ_ONCE(add->fast[i]);
	sum->hc_l2 += READ_ONCE(add->hc_l2);
	sum->evmcs_entries += READ_ONCE(add->evmcs_entries);
	sum->clean_msr_bitmaps += READ_ONCE(add->clean_msr_bitmaps);
	sum->hc_xmm += READ_ONCE(add->hc_xmm);
	sum->hc_unknown += READ_ONCE(add->hc_unknown);
	sum->posts += READ_ONCE(add->posts);
	sum->posts_inter_partition += READ_ONCE(add->posts_inter_partition);
	sum->posts_direct += READ_ONCE(add->posts_direct);
}
