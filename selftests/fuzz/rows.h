/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers and calls. Which numbers there are comes from the module's tables, so that a row of a
 * prototype is drawn, too. Which bits are reserved and which form a call has comes from tlfs.c. In
 * types of the language: rows.c includes the module's headers, which must not meet those of the
 * selftests.
 */
#ifndef KHV_SELFTEST_FUZZ_ROWS_H
#define KHV_SELFTEST_FUZZ_ROWS_H

#include <stdbool.h>
#include <stddef.h>

struct fuzz_row {
	const char *name;
	unsigned int first, count, stride;
	/* MSRs */
	unsigned long long reserved;
	bool read_only, restore_any;
	/* calls; bytes of header and of one element */
	bool fast, xmm, varhdr, rep, user, any_form;
	bool hidden; /* unknown without the module parameter extra_calls= */
	unsigned int hdr, element;
	/* Not in tlfs.c, a prototype's: stock does not have it, nor is known what it answers. */
	bool is_new;
	unsigned int nr_needs; /* of such a row: CPUID leaf, register in the order of EAX, bit */
	struct {
		unsigned int leaf, reg, bit;
	} needs[4];
};

/* The TLFS's rows, by number. */
extern const struct fuzz_row fuzz_tlfs_msrs[], fuzz_tlfs_calls[];
extern const unsigned int fuzz_nr_tlfs_msrs, fuzz_nr_tlfs_calls;
/* Do the module's rows say the same? Else @buf tells of the first that does not. */
bool fuzz_tlfs_check(char *buf, size_t size);
/* The module's row that begins at this number, as the module has it; NULL when there is none. */
const struct fuzz_row *fuzz_module_msr(unsigned int first);
const struct fuzz_row *fuzz_module_call(unsigned int first);

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
