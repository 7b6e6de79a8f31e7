// SPDX-License-Identifier: GPL-2.0-only
/* Counts what was reached, row by row and outcome by outcome, on the second VM of each stream. */
#include "../lib/rows.h"

#include "fuzz.h"
#include "module.h"

#define ROWS 64

enum msr_outcome { READ, READ_FAULT, WRITE, WRITE_FAULT, GET, SET, SET_REFUSED, MSR_OUTCOMES };

/* Statuses of calls, then what is none, and calls from 32-bit code, with any of these. */
static const u32 statuses[] = {
	HV_STATUS_SUCCESS,
	HV_STATUS_INVALID_HYPERCALL_CODE,
	HV_STATUS_INVALID_HYPERCALL_INPUT,
	HV_STATUS_INVALID_ALIGNMENT,
	HV_STATUS_INVALID_PARAMETER,
	HV_STATUS_ACCESS_DENIED,
	HV_STATUS_OPERATION_DENIED,
};
enum {
	CALL_OTHER = ARRAY_SIZE(statuses),
	CALL_UD,
	CALL_USER,
	CALL_CPL3, /* #UD as well */
	CALL_32_BIT,
	CALL_OUTCOMES,
};

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
		n[o->w[0] == FUZZ_CPL3 ? CALL_CPL3 : CALL_UD]++;
		return;
	}
	n[CALL_32_BIT] += o->w[0] == FUZZ_32_BIT;
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

void fuzz_cover(const struct fuzz_op *o, const struct fuzz_out *out, bool l2)
{
	kinds[o->kind]++;
	if (l2)
		return;
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

/* Can this be reached? By what a row says about itself, and by CPUID under enforcement. */
static bool msr_can(const struct fuzz_row *row, enum msr_outcome what)
{
	switch (what) {
	case READ:
	case GET:
		return row->first != HV_X64_MSR_EOI;
	case WRITE:
		return !row->read_only;
	case SET:
		/* No VMM has saved it. */
		return row->first != HV_X64_MSR_GUEST_IDLE;
	case SET_REFUSED:
		return false;
	default:
		return true;
	}
}

static bool call_can(const struct fuzz_row *row, u32 what)
{
	bool debug = row->first >= HVCALL_POST_DEBUG_DATA &&
		     row->first <= HVCALL_RESET_DEBUG_SESSION;
	bool always_user = row->user && row->first != HVCALL_SIGNAL_EVENT;

	if (what == CALL_CPL3 || what == CALL_32_BIT)
		return true;
	/* Nobody says what it does. */
	if (row->is_new)
		return false;
	if (row->hidden)
		return what < CALL_OTHER && (statuses[what] == HV_STATUS_INVALID_HYPERCALL_CODE ||
					     statuses[what] == HV_STATUS_INVALID_HYPERCALL_INPUT);
	switch (what >= CALL_OTHER ? ~0u : statuses[what]) {
	case HV_STATUS_SUCCESS:
		return !always_user;
	case HV_STATUS_INVALID_HYPERCALL_CODE:
	case HV_STATUS_OPERATION_DENIED:
		return debug;
	case HV_STATUS_INVALID_ALIGNMENT:
		return row->hdr;
	case HV_STATUS_INVALID_PARAMETER:
		/*
		 * A spin count and a connection have no wrong values; the last debug call has no
		 * input.
		 */
		return row->first != HVCALL_NOTIFY_LONG_SPIN_WAIT &&
		       row->first != HVCALL_SIGNAL_EVENT &&
		       row->first != HVCALL_RESET_DEBUG_SESSION;
	case HV_STATUS_INVALID_HYPERCALL_INPUT:
	case HV_STATUS_ACCESS_DENIED:
		return true;
	default:
		/*
		 * Nobody is offered GPA flushes here, so under enforcement they are refused
		 * before.
		 */
		return what == CALL_UD ? row->xmm && row->first < 0xaf :
					 what == CALL_USER && row->user;
	}
}

static u32 missing(bool print)
{
	static const char *const msr_names[] = { "read",      "read #GP", "write",
						 "write #GP", "get",	  "set" };
	static const char *const call_names[] = {
		"success",
		"INVALID_HYPERCALL_CODE",
		"INVALID_HYPERCALL_INPUT",
		"INVALID_ALIGNMENT",
		"INVALID_PARAMETER",
		"ACCESS_DENIED",
		"OPERATION_DENIED",
		"another status",
		"#UD",
		"exit to user space",
		"#UD at CPL 3",
		"from 32-bit code",
	};
	u32 i, j, n = 0;

	for (i = 0; i < fuzz_nr_msr_rows; i++)
		for (j = 0; j < SET_REFUSED; j++)
			if (!msrs[i][j] && msr_can(fuzz_msr_row(i), j) && ++n && print)
				ktap_log("not reached: %s: %s", fuzz_msr_row(i)->name,
					 msr_names[j]);
	for (i = 0; i < fuzz_nr_call_rows; i++)
		for (j = 0; j < CALL_OUTCOMES; j++)
			if (!calls[i][j] && call_can(fuzz_call_row(i), j) && ++n && print)
				ktap_log("not reached: %s: %s", fuzz_call_row(i)->name,
					 call_names[j]);
	for (i = 0; i < FUZZ_KINDS; i++)
		if (!kinds[i] && ++n && print)
			ktap_log("not reached: operation %s", fuzz_kind_name(i));
	return n;
}

static void print_row(const char *name, const u64 *counts, u32 nr)
{
	char line[160];
	u32 i, used = 0;

	for (i = 0; i < nr; i++)
		used += (u32)snprintf(line + used, sizeof(line) - used, " %7llu",
				      (unsigned long long)counts[i]);
	ktap_log("%-34s%s", name, line);
}

u32 fuzz_cover_report(bool print)
{
	u32 i;

	if (!print)
		return missing(false);
	ktap_log("%-34s %7s %7s %7s %7s %7s %7s %7s", "register", "read", "#GP", "write", "#GP",
		 "get", "set", "refused");
	for (i = 0; i < fuzz_nr_msr_rows; i++)
		print_row(fuzz_msr_row(i)->name, msrs[i], MSR_OUTCOMES);
	print_row("(none)", msrs[ROWS], MSR_OUTCOMES);
	ktap_log("%-34s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s %7s", "call", "ok", "code",
		 "input", "align", "param", "access", "denied", "other", "#UD", "user", "CPL 3",
		 "32 bit");
	for (i = 0; i < fuzz_nr_call_rows; i++)
		print_row(fuzz_call_row(i)->name, calls[i], CALL_OUTCOMES);
	print_row("(none)", calls[ROWS], CALL_OUTCOMES);
	for (i = 0; i < FUZZ_KINDS; i++)
		ktap_log("%-34s %7llu", fuzz_kind_name(i), (unsigned long long)kinds[i]);
	return missing(true);
}

static void fast_row(const char *name, const struct row_counts *c)
{
	ktap_log("%-34s %7llu %7llu %7llu %7llu", name, (unsigned long long)c->reads,
		 (unsigned long long)c->fast_reads, (unsigned long long)c->writes,
		 (unsigned long long)c->fast_writes);
}

static void add_counts(struct row_counts *sum, const struct row_counts *c)
{
	sum->reads += c->reads;
	sum->fast_reads += c->fast_reads;
	sum->writes += c->writes;
	sum->fast_writes += c->fast_writes;
}

static u32 percent(u64 part, u64 all)
{
	return all ? (u32)(part * 100 / all) : 0;
}

void fuzz_fast_report(void)
{
	static const char *const why[] = {
		"slow: stepped, SMM, hidden, PMU", "slow: MSR filter",
		"slow: row is not atomic",	   "slow: call in memory",
		"slow: faults or is denied",	   "slow: has to wait",
		"slow: instruction not at hand",
	};
	struct row_counts sum = { 0 }, all_calls = { 0 }, c;
	u32 i;

	ktap_log("%-34s %7s %7s %7s %7s", "by the guest (a call is a write)", "read", "fast",
		 "write", "fast");
	for (i = 0; i < fuzz_nr_msr_rows; i++) {
		c = row_counts(fuzz_msr_row(i)->first);
		fast_row(fuzz_msr_row(i)->name, &c);
		/* The guest waits for timers by it. */
		if (fuzz_msr_row(i)->first != HV_X64_MSR_TIME_REF_COUNT)
			add_counts(&sum, &c);
	}
	for (i = 0; i < fuzz_nr_call_rows; i++) {
		if (fuzz_call_row(i)->hidden)
			continue;
		c = row_counts(fuzz_call_row(i)->first);
		fast_row(fuzz_call_row(i)->name, &c);
		add_counts(&all_calls, &c);
	}
	for (i = 0; i < ARRAY_SIZE(why); i++)
		ktap_log("%-34s %7llu", why[i], module_count(why[i]));
	ktap_log("fast path: %u %% of reads (but TIME_REF_COUNT), %u %% of writes, %u %% of calls",
		 percent(sum.fast_reads, sum.reads), percent(sum.fast_writes, sum.writes),
		 percent(all_calls.fast_writes, all_calls.writes));
}
