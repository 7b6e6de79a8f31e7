/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Save and restore: a guest's registers, local APIC, clock and pages from one VM into another.
 * With the module one process has VMs of either kind, by its parameter "takeover": each case
 * goes from stock to the module, back, and from the module to itself; without, from stock to
 * stock.
 */
#ifndef KHV_SELFTEST_MIGRATION_H
#define KHV_SELFTEST_MIGRATION_H

#include "stimer.h"

enum kind { STOCK, MODULE };

#define MAX_VPS 2

/* Pages that the guest may use, and how many VPs its VMs have. */
extern u8 *hypercall_page, *tsc_page, *assist_page;
extern u32 nr_vps;

/* The guest may ask where it comes from and where it is. */
extern enum kind migrated_from, migrated_to;
/* Run @first, save, and run @second in another VM, which has the state of the first. */
void migrate(void (*first)(void), void (*second)(void), bool reverse);

/* The order in which user space restores timers and SynIC must not matter. */
#define MIGRATE(name, first, second)           \
	TEST(name)                             \
	{                                      \
		migrate(first, second, false); \
	}                                      \
	TEST(name##_in_reverse)                \
	{                                      \
		migrate(first, second, true);  \
	}

#endif
