/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long the module holds a lock: kprobes at the kernel's functions that take and drop one, with
 * the TSC for a clock. What one probe takes is in each number, and what all take on the way.
 */
#ifndef KHV_SELFTEST_HOLD_H
#define KHV_SELFTEST_HOLD_H

#include "uapi.h"

enum hold_kind {
	HOLD_SLEEPING, /* mutexes and rw_semaphores */
	HOLD_SPINNING, /* spinlocks that are taken with interrupts off */
	HOLD_KINDS,
};

struct hold {
	u32 longest;
	char where[64];	 /* the module's function that took the lock */
	u32 times;	 /* that any was taken */
	u32 interrupted; /* of these, not measured: an interrupt came on the way to the lock */
};

/* Trace all of @kind that the calling thread takes, until hold_end(). */
void hold_begin(enum hold_kind kind);
/* Forget what was traced so far. */
void hold_clear(void);
/* What the module held since hold_clear(). */
struct hold hold_read(void);
void hold_end(void);

#endif
