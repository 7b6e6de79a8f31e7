/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the exit fast path answered, by the counts in the module's debugfs. Each case holds on
 * stock KVM, which has no fast path for these exits.
 */
#ifndef KHV_SELFTEST_FASTPATH_H
#define KHV_SELFTEST_FASTPATH_H

#include "ops.h"

#define READS	 100
#define CONN	 0x1234
#define TRIES	 8 /* a single exit may find that it has to wait, or a page that is not at hand */
#define ANSWERED "answered"
#define STATE	 "slow: stepped, SMM, hidden, PMU"
#define TRACED	 "slow: kvm_msr or kvm_exit traced"
#define SKIP	 "slow: instruction not at hand"
#define PARAM	 "/sys/module/kvm_hyperv/parameters/fastpath"
#define MSRS	 TRACING "/events/kvm/kvm_msr/enable"
#define EXITS	 TRACING "/events/kvm/kvm_exit/enable"

#define VEC 0x51

#define SPIN_FAST (HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST)
#define IPI_FAST  (HVCALL_SEND_IPI | HV_CTL_FAST)

/* A count of the module's, by its name in debugfs; 0 on stock. */
u64 counted(const char *name);
/* Assert that it has risen by @nr at least, with the module. */
void expect_counted(const char *name, u64 before, u64 nr);
/* A VM whose vCPU runs up to READS operations; and READS reads of VP_INDEX. */
struct vm *reader(struct ops_page **p);
void read_vp_index(struct vcpu *v, struct ops_page *p);
/* How many of READS exits went where @name counts; READS on stock. */
u64 exits_by(const char *name, struct vcpu *v, struct ops_page *p);

#endif
