// SPDX-License-Identifier: GPL-2.0-only
/* Counts what was reached, row by row and outcome by outcome, on the second VM of each stream. */
#include "fuzz.h"

#define ROWS 64

enum msr_outcome { READ, READ_FAULT, WRITE, WRITE_FAULT, GET, SET, SET_REFUSED, MSR_OUTCOMES };

/* Statuses of calls, then what is none. */
static const u32 statuses[] = {
	HV_STATUS_SUCCESS,	     HV_STATUS_INVALID_HYPERCALL_CODE,
	HV_STATUS_INVALID_HYPERCALL_INPUT, HV_STATUS_INVALID_ALIGNMENT,
	HV_STATUS_INVALID_PARAMETER, HV_STATUS_ACCESS_DENIED,
	HV_STATUS_OPERATION_DENIED,
};
enum { CALL_OTHER = ARRAY_SIZE(statuses), CALL_UD, CALL_USER, CALL_OUTCOMES };

static u64 msrs[ROWS + 1][MSR_OUTCOMES], calls[ROWS + 1][CALL_OUTCOMES], kinds[FUZZ_KINDS];

static void count_msr(const struct fuzz_op *o, const struct fuzz_out *out)
{
	int row = fuzz_find_msr((u32)o->w[0]);
	u64 *n = msrs[row < 0 ? ROWS : row];

	switch (o->kind) {
	case FUZZ_RDMSR:
		n[out->vector ? READ_FAULT : READ]++;
		break;
	case FUZZ_WRMSR:
		n[out->vector ? WRITE_FAULT : WRITE]++;
		break;
	case FUZZ_GET_MSR:
		n[GET] += out->ret == 1;
		break;
	default:
		n[out->ret == 1 ? SET : SET_REFUSED]++;
	}
}

static void count_call(const struct fuzz_op *o, const struct fuzz_out *out)
{
	int row = fuzz_find_call((u32)o->w[1] & 0xffff);
	u64 *n = calls[row < 0 ? ROWS : row];
	u32 i;

	if (out->result == FUZZ_NO_PAGE)
		return;
	if (out->vector) {
		n[CALL_UD]++;
		return;
	}
	for (i = 0; i < out->nr_exits && i < FUZZ_EXITS; i++) {
		if (out->exits[i].reason == KVM_EXIT_HYPERV) {
			n[CALL_USER]++;
			return;
		}
	}
	for (i = 0; i < CALL_OTHER && statuses[i] != (out->result & 0xffff); i++)
		;
	n[i]++;
}

void fuzz_cover(const struct fuzz_op *o, const struct fuzz_out *out)
{
	kinds[o->kind]++;
	switch (o->kind) {
	case FUZZ_RDMSR:
	case FUZZ_WRMSR:
	case FUZZ_GET_MSR:
	case FUZZ_SET_MSR:
		count_msr(o, out);
		break;
	case FUZZ_CALL:
		count_call(o, out);
		break;
	default:
		break;
	}
}

u32 fuzz_cover_report(bool print)
{
	u32 i;

	if (!print)
		return 0;
	ktap_log("%-34s %7s %7s %7s %7s %7s %7s %7s", "register", "read", "#GP", "write", "#GP",
		 "get", "set", "refused");
	for (i = 0; i <= fuzz_nr_msr_rows; i++) {
		const u64 *n = msrs[i < fuzz_nr_msr_rows ? i : ROWS];

		ktap_log("%-34s %7llu %7llu %7llu %7llu %7llu %7llu %7llu",
			 i < fuzz_nr_msr_rows ? fuzz_msr_row(i)->name : "(none)",
			 (unsigned long long)n[0], (unsigned long long)n[1],
			 (unsigned long long)n[2], (unsigned long long)n[3],
			 (unsigned long long)n[4], (unsigned long long)n[5],
			 (unsigned long long)n[6]);
	}
	ktap_log("%-34s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s", "call", "ok", "code", "input",
		 "align", "param", "access", "denied", "other", "#UD", "user");
	for (i = 0; i <= fuzz_nr_call_rows; i++) {
		const u64 *n = calls[i < fuzz_nr_call_rows ? i : ROWS];

		ktap_log("%-34s %7llu %7llu %7llu %7llu %7llu %7llu %7llu %7llu %7llu %7llu",
			 i < fuzz_nr_call_rows ? fuzz_call_row(i)->name : "(none)",
			 (unsigned long long)n[0], (unsigned long long)n[1],
			 (unsigned long long)n[2], (unsigned long long)n[3],
			 (unsigned long long)n[4], (unsigned long long)n[5],
			 (unsigned long long)n[6], (unsigned long long)n[7],
			 (unsigned long long)n[8], (unsigned long long)n[9]);
	}
	for (i = 0; i < FUZZ_KINDS; i++)
		ktap_log("%-34s %7llu", fuzz_kind_name(i), (unsigned long long)kinds[i]);
	return 0;
}
