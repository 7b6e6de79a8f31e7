/* SPDX-License-Identifier: GPL-2.0-only */
/* Usage counters of a VP, for reports. */
#ifndef KHV_COUNTS_H
#define KHV_COUNTS_H

#include "khv/tables.h"

/**
 * enum khv_fast_result - result of an exit in the fast path
 * @KHV_FAST_OK: no reason for the slow path; as a count, answered
 * @KHV_FAST_STATE: the guest is single-stepped or debugged, in SMM, or has protected state
 * @KHV_FAST_FILTER: user space's MSR filter denies the access
 * @KHV_FAST_TRACED: a tracepoint of KVM's slow path is enabled: kvm_exit, kvm_msr
 * @KHV_FAST_ROW: no row, or the row is not atomic
 * @KHV_FAST_FORM: the hypercall is malformed, or its input page is not present
 * @KHV_FAST_REFUSED: the MSR access faults, or the hypercall is denied
 * @KHV_FAST_SLOW: the handler cannot answer without waiting this time, see KHV_MSR_SLOW
 * @KHV_FAST_SKIP: only KVM's emulator can skip the instruction
 * @KHV_FAST_PMU: the guest's PMU counts, and KVM can only count the instruction with interrupts on
 * @KHV_NR_FAST_RESULTS: number of the above
 */
enum khv_fast_result {
	KHV_FAST_OK,
	KHV_FAST_STATE,
	KHV_FAST_FILTER,
	KHV_FAST_TRACED,
	KHV_FAST_ROW,
	KHV_FAST_FORM,
	KHV_FAST_REFUSED,
	KHV_FAST_SLOW,
	KHV_FAST_SKIP,
	KHV_FAST_PMU,
	KHV_NR_FAST_RESULTS,
};

/**
 * struct khv_counts - usage counters of a VP
 * @msr_read: reads per MSR row, on the slow path
 * @msr_write: writes per MSR row, on the slow path
 * @hc: calls per hypercall row, on the slow path
 * @msr_read_fast: reads per MSR row, in the fast path
 * @msr_write_fast: writes per MSR row, in the fast path
 * @hc_fast: calls per hypercall row, in the fast path
 * @fast: exits that the fast path examined, by result
 * @hc_l2: hypercalls of an L2 that the module answered
 * @evmcs_entries: nested VM-Entries whose controls were checked
 * @clean_msr_bitmaps: nested VM-Entries at which L1 declares its MSR bitmap unchanged
 * @hc_xmm: hypercalls that carried XMM input
 * @hc_unknown: hypercalls without a row
 * @posts: posts of an L2 that are marked for L0
 * @posts_inter_partition: those that HypercallControls permitted
 * @posts_direct: those whose L2 had direct flush; the first one of a VP may be missing
 *
 * Written by the VP's thread only; read without a lock for reports.
 */
struct khv_counts {
	u64 msr_read[KHV_NR_MSR_ROWS];
	u64 msr_write[KHV_NR_MSR_ROWS];
	u64 hc[KHV_NR_HC_ROWS];
	u64 msr_read_fast[KHV_NR_MSR_ROWS];
	u64 msr_write_fast[KHV_NR_MSR_ROWS];
	u64 hc_fast[KHV_NR_HC_ROWS];
	u64 fast[KHV_NR_FAST_RESULTS];
	u64 hc_l2;
	u64 evmcs_entries;
	u64 clean_msr_bitmaps;
	u64 hc_xmm;
	u64 hc_unknown;
	u64 posts;
	u64 posts_inter_partition;
	u64 posts_direct;
};

/**
 * khv_counts_add() - add counters to a sum
 * @sum: the sum
 * @add: the counters to add; their VP may update them concurrently
 */
void khv_counts_add(struct khv_counts *sum, const struct khv_counts *add);

#endif
