// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the TLFS says of each register and call, as far as known differences (known.c) depend on it:
 * chapters "Hypercall Interface" and "MSRs", and those that define each one. Written by hand: a row
 * of the module that is wrong must not explain the difference that it makes. Where Linux and
 * Windows do not agree with the TLFS, Documentation/divergences.rst has an id.
 */
#include <stdio.h>

#include "fuzz.h"

#define BITS(high, low) (~0ULL >> (63 - (high)) & ~0ULL << (low))

#define MSR(n, ...)                                                           \
	{                                                                     \
		.first = HV_X64_MSR_##n, .count = 1, .stride = 1, __VA_ARGS__ \
	}
#define MSRS(n, nr, ...)                                          \
	{                                                         \
		.first = HV_X64_MSR_##n, .count = nr, __VA_ARGS__ \
	}
#define CALL(n, ...)                                                      \
	{                                                                 \
		.first = HVCALL_##n, .count = 1, .stride = 1, __VA_ARGS__ \
	}

const struct fuzz_row fuzz_tlfs_msrs[] = {
	MSR(GUEST_OS_ID),
	MSR(HYPERCALL),
	MSR(VP_INDEX, .read_only = true),
	MSR(RESET),
	MSR(VP_RUNTIME, .read_only = true),
	MSR(TIME_REF_COUNT, .read_only = true),
	MSR(REFERENCE_TSC),
	MSR(TSC_FREQUENCY, .read_only = true),
	MSR(APIC_FREQUENCY, .read_only = true),
	MSR(EOI),
	MSR(ICR),
	MSR(TPR),
	MSR(VP_ASSIST_PAGE),
	MSR(SCONTROL),
	MSR(SVERSION, .read_only = true),
	MSR(SIEFP),
	MSR(SIMP),
	MSR(EOM),
	MSRS(SINT0, 16, .stride = 1),
	MSRS(STIMER0_CONFIG, 4, .stride = 2, .reserved = BITS(15, 13) | BITS(63, 20),
	     .restore_any = true),
	MSRS(STIMER0_COUNT, 4, .stride = 2),
	MSR(GUEST_IDLE, .read_only = true),
	MSR(SYNDBG_CONTROL),
	MSR(SYNDBG_STATUS),
	MSR(SYNDBG_SEND_BUFFER),
	MSR(SYNDBG_RECV_BUFFER),
	MSR(SYNDBG_PENDING_BUFFER),
	MSR(SYNDBG_OPTIONS),
	MSRS(CRASH_P0, 5, .stride = 1),
	MSR(CRASH_CTL),
	/* Vector, Enabled (16), TargetVp from 32 on. */
	MSR(REENLIGHTENMENT_CONTROL, .reserved = BITS(15, 8) | BITS(31, 17), .restore_any = true),
	MSR(TSC_EMULATION_CONTROL, .reserved = BITS(63, 1), .restore_any = true),
	MSR(TSC_EMULATION_STATUS, .reserved = BITS(63, 1), .restore_any = true),
	/* Vector, Enabled (8). */
	MSR(STIME_UNHALTED_TIMER_CONFIG, .reserved = BITS(63, 9)),
	MSR(STIME_UNHALTED_TIMER_COUNT),
	MSR(TSC_INVARIANT_CONTROL, .reserved = BITS(63, 1)),
};
const unsigned int fuzz_nr_tlfs_msrs = ARRAY_SIZE(fuzz_tlfs_msrs);

/* hdr: bytes of the fixed header; element: bytes of one rep. */
const struct fuzz_row fuzz_tlfs_calls[] = {
	CALL(FLUSH_SPACE, .hdr = 24, .fast = true, .xmm = true),
	CALL(FLUSH_LIST, .hdr = 24, .element = 8, .fast = true, .xmm = true, .rep = true),
	/* D4: its input, a spin count, is not read. */
	CALL(NOTIFY_LONG_SPIN_WAIT, .fast = true),
	CALL(SEND_IPI, .hdr = 16, .fast = true),
	CALL(FLUSH_SPACE_EX, .hdr = 32, .fast = true, .xmm = true, .varhdr = true),
	CALL(FLUSH_LIST_EX, .hdr = 32, .element = 8, .fast = true, .xmm = true, .varhdr = true,
	     .rep = true),
	CALL(SEND_IPI_EX, .hdr = 24, .fast = true, .xmm = true, .varhdr = true),
	CALL(GET_VP_REGISTERS, .hdr = 16, .element = 4, .fast = true, .xmm = true, .rep = true,
	     .hidden = true),
	CALL(SET_VP_REGISTERS, .hdr = 16, .element = 32, .fast = true, .xmm = true, .rep = true,
	     .hidden = true),
	CALL(POST_MESSAGE, .hdr = 256, .user = true),
	CALL(SIGNAL_EVENT, .hdr = 8, .fast = true, .user = true),
	/* User space reads the pages that these name. */
	CALL(POST_DEBUG_DATA, .fast = true, .user = true),
	CALL(RETRIEVE_DEBUG_DATA, .fast = true, .user = true),
	CALL(RESET_DEBUG_SESSION, .fast = true, .user = true),
	CALL(RETARGET_DEVICE_INTERRUPT, .hdr = 56, .varhdr = true, .user = true, .hidden = true),
	CALL(GET_VP_INDEX_FROM_APIC_ID, .hdr = 16, .element = 4, .fast = true, .xmm = true,
	     .rep = true, .hidden = true),
	CALL(FLUSH_GPA_SPACE, .hdr = 16, .fast = true),
	CALL(FLUSH_GPA_LIST, .hdr = 16, .element = 8, .fast = true, .xmm = true, .rep = true),
	CALL(GET_VP_CPUID_VALUES, .hdr = 24, .element = 8, .fast = true, .xmm = true, .rep = true,
	     .hidden = true),
	CALL(RESTORE_PARTITION_TIME, .hdr = 32, .fast = true, .xmm = true, .hidden = true),
	/* HvExtCallQueryCapabilities, and a call for each bit of its result. */
	{ .first = HVCALL_EXT_QUERY_CAPABILITIES,
	  .count = 65,
	  .stride = 1,
	  .user = true,
	  .any_form = true },
};
const unsigned int fuzz_nr_tlfs_calls = ARRAY_SIZE(fuzz_tlfs_calls);

static bool same(const struct fuzz_row *a, const struct fuzz_row *b)
{
	return a->first == b->first && a->count == b->count &&
	       (a->count == 1 || a->stride == b->stride) && a->reserved == b->reserved &&
	       a->read_only == b->read_only && a->restore_any == b->restore_any &&
	       a->fast == b->fast && a->xmm == b->xmm && a->varhdr == b->varhdr &&
	       a->rep == b->rep && a->user == b->user && a->any_form == b->any_form &&
	       a->hidden == b->hidden && a->hdr == b->hdr && a->element == b->element;
}

/* A row of the module that the table here does not have is a prototype's: it is not compared. */
static void compare(const char *what, const struct fuzz_row *rows, unsigned int nr,
		    const struct fuzz_row *(*of_module)(unsigned int first), char *buf, size_t size)
{
	unsigned int i;

	for (i = 0; i < nr && !*buf; i++) {
		const struct fuzz_row *row = of_module(rows[i].first);

		if (!row)
			snprintf(buf, size, "the module has no row of %s %#x", what, rows[i].first);
		else if (!same(row, &rows[i]))
			snprintf(buf, size,
				 "the module's row %s (%s %#x) is not what fuzz/tlfs.c has",
				 row->name, what, rows[i].first);
	}
}

bool fuzz_tlfs_check(char *buf, size_t size)
{
	*buf = '\0';
	compare("register", fuzz_tlfs_msrs, fuzz_nr_tlfs_msrs, fuzz_module_msr, buf, size);
	compare("call", fuzz_tlfs_calls, fuzz_nr_tlfs_calls, fuzz_module_call, buf, size);
	return !*buf;
}
