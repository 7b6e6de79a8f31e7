/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module counted, register by register and call by call, and what KVM counted for
 * one vCPU. On stock every count of the module's is 0.
 */
#ifndef KHV_SELFTEST_ROWS_H
#define KHV_SELFTEST_ROWS_H

#include "vm.h"

/* A hypercall counts as a write. */
struct row_counts {
	u64 reads, writes;
	u64 fast_reads, fast_writes; /* of these, in the exit fast path */
};

struct row {
	char name[40];
	u32 number; /* of its first register, or its call code */
	bool call;
	char atomic[8]; /* "r", "w", "rw" or "-": what the fast path may answer */
	struct row_counts counts;
};

/* All rows of the module's tables, as debugfs has them; how many. */
u32 rows_all(struct row *rows, u32 max);
/* The line of debugfs' rows with this number: that of a register, or a call's code. */
struct row_counts row_counts(u32 number);
/* Does the module say that it may answer this access in the fast path? */
bool row_is_atomic(u32 number, bool write);

/* One of the vCPU's binary statistics. Open it before the vCPU runs in another thread. */
struct kvm_stat {
	int fd;
	u64 offset;
};

struct kvm_stat stat_open(struct vcpu *vcpu, const char *name);
u64 stat_read(const struct kvm_stat *stat);
void stat_close(struct kvm_stat *stat);
/* Wait until a vCPU that runs in another thread sleeps in HLT; @stat is its "blocking". */
void wait_halted(const struct kvm_stat *stat);

#endif
