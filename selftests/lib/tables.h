/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rows of the module that is loaded say of themselves (debugfs' tables). A test states
 * independently what the TLFS says of each row that it knows; a row that it does not know, such as
 * a prototype's, is tested by its own words, and named in the log.
 */
#ifndef KHV_SELFTEST_TABLES_H
#define KHV_SELFTEST_TABLES_H

#include "vm.h"

#define MAX_NEEDS	4
#define MAX_TABLE_ROWS	64
/* A need that is a number of 4.EBX, not a bit. */
#define NEED_SPIN_COUNT 1ULL

struct table_row {
	char name[40], enlightenment[40];
	u32 number, count; /* of its first register or call code */
	bool call;
	u64 needs[MAX_NEEDS]; /* CPUID bits, up to a 0 */
	char flags[96];
	/* Of a register. */
	u32 stride;
	u64 reserved;
	/* Of a call: bytes of the fixed input, and of an element's; of the output likewise. */
	u32 input, element, output, element_output;
};

/* All rows, in the order of their numbers, registers first; 0 on stock. */
u32 table_rows(struct table_row rows[MAX_TABLE_ROWS]);
/* Only registers or only calls for which the test has no statement; each is named in the log. */
u32 table_unlisted(struct table_row rows[MAX_TABLE_ROWS], bool calls, bool (*listed)(u32 number));
/* Does the row have the flag of this name? */
bool table_flag(const struct table_row *row, const char *flag);
/* Has the module a row for this register, or call code? */
bool table_has(u32 number, bool call);
/* Change what the row needs in the vCPU's table: all of it, or its need @which. */
void table_show(struct vcpu *v, const struct table_row *row, bool on);
void table_show_one(struct vcpu *v, const struct table_row *row, u32 which, bool on);

#endif
