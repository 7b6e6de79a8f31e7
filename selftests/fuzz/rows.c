// SPDX-License-Identifier: GPL-2.0-only
/*
 * See rows.h. What an access must answer is not taken from these tables: the two VMs say that.
 */
#include "../../hyperv/core/tables.c"

#include "rows.h"

#define MAX_ROWS 64

static struct fuzz_row msrs[MAX_ROWS], calls[MAX_ROWS];
static unsigned int numbers[KHV_MSR_SPAN], nr_numbers;
static unsigned short index_of[KHV_MSR_SPAN]; /* + 1 */
unsigned int fuzz_nr_msr_rows = KHV_NR_MSR_ROWS, fuzz_nr_call_rows = KHV_NR_HC_ROWS;

void fuzz_rows_init(void)
{
	unsigned int i, j;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		const struct khv_msr_row *r = &khv_msrs[i];

		msrs[i] = (struct fuzz_row){
			.name = r->name,
			.first = r->first,
			.count = r->count,
			.stride = r->stride,
			.reserved = r->reserved,
			.read_only = r->flags & KHV_MSR_RO,
			.restore_any = r->flags & KHV_MSR_RESTORE_ANY,
		};
		for (j = 0; j < r->count; j++) {
			numbers[nr_numbers++] = r->first + j * r->stride;
			index_of[r->first + j * r->stride - KHV_MSR_BASE] =
				(unsigned short)nr_numbers;
		}
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		const struct khv_hc_row *r = &khv_hcs[i];

		calls[i] = (struct fuzz_row){
			.name = r->name,
			.first = r->code,
			.count = r->count,
			.stride = 1,
			.fast = r->flags & KHV_FAST,
			.xmm = r->flags & KHV_XMM,
			.varhdr = r->flags & KHV_VARHDR,
			.rep = r->flags & KHV_REP,
			.user = r->flags & KHV_USER_EXIT,
			.any_form = r->flags & KHV_ANY_FORM,
			.hdr = r->hdr,
			.element = r->rep,
		};
	}
}

const struct fuzz_row *fuzz_msr_row(unsigned int i)
{
	return &msrs[i];
}

const struct fuzz_row *fuzz_call_row(unsigned int i)
{
	return &calls[i];
}

static int find(const struct fuzz_row *rows, unsigned int nr, unsigned int number)
{
	unsigned int i, at;

	for (i = 0; i < nr; i++) {
		at = number - rows[i].first;
		if (number >= rows[i].first && at % rows[i].stride == 0 &&
		    at / rows[i].stride < rows[i].count)
			return (int)i;
	}
	return -1;
}

int fuzz_find_msr(unsigned int msr)
{
	return find(msrs, KHV_NR_MSR_ROWS, msr);
}

int fuzz_find_call(unsigned int code)
{
	return find(calls, KHV_NR_HC_ROWS, code);
}

unsigned int fuzz_nr_msrs(void)
{
	return nr_numbers;
}

unsigned int fuzz_msr(unsigned int n)
{
	return numbers[n];
}

int fuzz_msr_index(unsigned int msr)
{
	return msr - KHV_MSR_BASE < KHV_MSR_SPAN ? (int)index_of[msr - KHV_MSR_BASE] - 1 : -1;
}
