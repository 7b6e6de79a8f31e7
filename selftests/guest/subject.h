/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM whose owner is asked for, by its guest alone.
 *
 * What tells the two apart is defect K4: stock drops a write of HYPERCALL while GUEST_OS_ID is 0,
 * the module keeps the GPFN.
 */
#ifndef KHV_SELFTEST_SUBJECT_H
#define KHV_SELFTEST_SUBJECT_H

#include "ops.h"

#define SUBJECT_OS_ID 0x8100000612340000ULL

struct subject {
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *p;
	u64 call_page;
};

struct subject subject_new(void);
struct guest_op subject_op(struct subject *s, struct guest_op o);
bool subject_is_stock(struct subject *s);
/* The everyday life of a guest, whoever answers. */
void subject_works(struct subject *s);

#endif
