// SPDX-License-Identifier: GPL-2.0-only
/*
 * See rows.h. What an access must answer is not taken from the module's tables: the two VMs and
 * tlfs.c say that.
 */
#include "../../hyperv/core/tables.c"

#include "rows.h"

#define MAX_ROWS 64

/* As the module has them, and as the fuzzer uses them. */
static struct fuzz_row module_msrs[MAX_ROWS], module_calls[MAX_ROWS];
static struct fuzz_row msrs[MAX_ROWS], calls[MAX_ROWS];
static unsigned int numbers[KHV_MSR_SPAN + KHV_MSR_NESTED_SPAN], nr_numbers;
/* + 1; of registers of a hypervisor in the guest behind the others. */
static unsigned short index_of[KHV_MSR_SPAN + KHV_MSR_NESTED_SPAN];
unsigned int fuzz_nr_msr_rows = KHV_NR_MSR_ROWS, fuzz_nr_call_rows = KHV_NR_HC_ROWS;

/* Place of the register in index_of[]; its size for others. */
static unsigned int place(unsigned int msr)
{
	if (msr - KHV_MSR_BASE < KHV_MSR_SPAN)
		return msr - KHV_MSR_BASE;
	if (msr - KHV_MSR_NESTED_BASE < KHV_MSR_NESTED_SPAN)
		return KHV_MSR_SPAN + msr - KHV_MSR_NESTED_BASE;
	return KHV_MSR_SPAN + KHV_MSR_NESTED_SPAN;
}

static const struct fuzz_row *row_of(const struct fuzz_row *rows, unsigned int nr,
				     unsigned int first)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (rows[i].first == first)
			return &rows[i];
	return NULL;
}

const struct fuzz_row *fuzz_module_msr(unsigned int first)
{
	return row_of(module_msrs, KHV_NR_MSR_ROWS, first);
}

const struct fuzz_row *fuzz_module_call(unsigned int first)
{
	return row_of(module_calls, KHV_NR_HC_ROWS, first);
}

/* The TLFS's row under the module's name; a prototype's row as it is. */
static struct fuzz_row merge(const struct fuzz_row *row, const struct fuzz_row *tlfs)
{
	struct fuzz_row merged = tlfs ? *tlfs : *row;

	merged.name = row->name;
	merged.is_new = !tlfs;
	return merged;
}

static void add_needs(struct fuzz_row *row, const struct khv_priv *need)
{
	static const struct {
		unsigned int leaf, reg;
	} of[KHV_NR_CPUID_REGS] = {
		[KHV_CPUID_FEATURES_EAX] = { 0x40000003, 0 },
		[KHV_CPUID_FEATURES_EBX] = { 0x40000003, 1 },
		[KHV_CPUID_FEATURES_EDX] = { 0x40000003, 3 },
		[KHV_CPUID_HINTS_EAX] = { 0x40000004, 0 },
		[KHV_CPUID_NESTED_EAX] = { 0x4000000a, 0 },
		[KHV_CPUID_NESTED_EBX] = { 0x4000000a, 1 },
	};
	unsigned int i;

	for (i = 0; i < KHV_MAX_PRIVS && of[need[i].reg].leaf; i++) {
		row->needs[i].leaf = of[need[i].reg].leaf;
		row->needs[i].reg = of[need[i].reg].reg;
		row->needs[i].bit = need[i].bit;
		row->nr_needs++;
	}
}

static void read_module(void)
{
	unsigned int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		const struct khv_msr_row *r = &khv_msrs[i];

		module_msrs[i] = (struct fuzz_row){
			.name = r->name,
			.first = r->first,
			.count = r->count,
			.stride = r->stride,
			.reserved = r->reserved,
			.read_only = r->flags & KHV_MSR_RO,
			.restore_any = r->flags & KHV_MSR_RESTORE_ANY,
		};
		add_needs(&module_msrs[i], r->need);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		const struct khv_hc_row *r = &khv_hcs[i];

		module_calls[i] = (struct fuzz_row){
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
			.hidden = r->flags & KHV_HIDDEN,
			.hdr = r->hdr,
			.element = r->rep,
		};
		add_needs(&module_calls[i], r->need);
	}
}

void fuzz_rows_init(void)
{
	unsigned int i, j;

	read_module();
	nr_numbers = 0;
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		const struct fuzz_row *r = &msrs[i];

		msrs[i] = merge(&module_msrs[i],
				row_of(fuzz_tlfs_msrs, fuzz_nr_tlfs_msrs, module_msrs[i].first));
		for (j = 0; j < r->count; j++) {
			numbers[nr_numbers++] = r->first + j * r->stride;
			index_of[place(r->first + j * r->stride)] = (unsigned short)nr_numbers;
		}
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++)
		calls[i] = merge(&module_calls[i], row_of(fuzz_tlfs_calls, fuzz_nr_tlfs_calls,
							  module_calls[i].first));
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
	unsigned int at = place(msr);

	return at < ARRAY_SIZE(index_of) ? (int)index_of[at] - 1 : -1;
}
