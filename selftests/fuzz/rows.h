/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module's tables as the fuzzer sees them: which numbers there are, which bits are reserved,
 * which form a call has. In types of the language: rows.c includes the module's headers, which
 * must not meet those of the selftests.
 */
#ifndef KHV_SELFTEST_FUZZ_ROWS_H
#define KHV_SELFTEST_FUZZ_ROWS_H

#include <stdbool.h>

struct fuzz_row {
	const char *name;
	unsigned int first, count, stride;
	/* MSRs */
	unsigned long long reserved;
	bool read_only, restore_any;
	/* calls; bytes of header and of one element */
	bool fast, xmm, varhdr, rep, user, any_form;
	unsigned int hdr, element;
};

extern unsigned int fuzz_nr_msr_rows, fuzz_nr_call_rows;
/* Fill in the tables; call once before all else. */
void fuzz_rows_init(void);
const struct fuzz_row *fuzz_msr_row(unsigned int i);
const struct fuzz_row *fuzz_call_row(unsigned int i);
/* Row of the register or call code, -1 when there is none. */
int fuzz_find_msr(unsigned int msr);
int fuzz_find_call(unsigned int code);
/* All registers of all rows, in the order of struct fuzz_state; and back, -1 for others. */
unsigned int fuzz_nr_msrs(void);
unsigned int fuzz_msr(unsigned int i);
int fuzz_msr_index(unsigned int msr);

#endif
