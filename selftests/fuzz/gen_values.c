// SPDX-License-Identifier: GPL-2.0-only
/* Values of registers: the edges of what they take, and now and then anything. */
#include "apic.h"
#include "gen.h"

u64 fuzz_random(struct fuzz_random *r)
{
	u64 z = (r->s += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

u64 fuzz_edge(struct fuzz_random *r)
{
	switch (below(r, 6)) {
	case 0:
		return PICK(r, 0, 1, 2, 3, 0xffffffff, 0x100000000ULL, ~0ULL, BIT64(63));
	case 1:
		return BIT64(below(r, 64));
	case 2:
		return ~BIT64(below(r, 64));
	case 3:
		return BIT64(below(r, 64)) - 1;
	case 4:
		return fuzz_random(r) & 0xffff;
	default:
		return fuzz_random(r);
	}
}

/*
 * Pages on top of one another are a matter of their own (D1, D53), and hide all else: in most
 * streams the hypercall page and the reference TSC page lie where no other page does.
 */
static u64 page(struct fuzz_random *r, u32 msr)
{
	u32 first = 0, nr = FUZZ_SLOTS * FUZZ_SLOT_PAGES;

	if (r->apart) {
		first = msr == HV_X64_MSR_HYPERCALL ? 4 : msr == HV_X64_MSR_REFERENCE_TSC ? 6 : 0;
		nr = first ? 2 : 4;
	}
	switch (below(r, 20)) {
	case 0:
		return GPA_NOWHERE;
	case 1:
		if (chance(r, 40))
			return FUZZ_MOVED + PAGE_SIZE * (first + below(r, nr));
		return PICK(r, 0xfffffffffffff000ULL, 0xffffffffff000ULL, 0xfee00000);
	default:
		return FUZZ_PAGE(first + below(r, nr));
	}
}

/*
 * Vectors that the CPU would take for an exception with an error code, and that of the way back
 * from CPL 3 and of the wake-up, are not the guest's to use.
 */
u64 fuzz_draw_vector(struct fuzz_random *r)
{
	return PICK(r, 0x10, 0x12, 0x1f, 0x20, 0x31, 0x40, 0x41, 0x42, 0x61, 0x62, 0xef, 0xfd, 0xff,
		    0, 1, 5, 0xf);
}

u64 fuzz_draw_deliverable(struct fuzz_random *r)
{
	return PICK(r, 0x20, 0x31, 0x40, 0x41, 0x61, 0x62, 0xef);
}

static u64 sint_value(struct fuzz_random *r)
{
	u64 v = chance(r, 80) ? fuzz_draw_deliverable(r) : fuzz_draw_vector(r);

	if (chance(r, 15))
		v |= HV_SINT_MASKED;
	if (chance(r, 15))
		v |= HV_SINT_AUTO_EOI;
	if (chance(r, 5))
		v |= HV_SINT_POLLING;
	if (chance(r, 5))
		v |= fuzz_edge(r) & ~0xffULL & ~HV_SINT_MASKED;
	return v;
}

/*
 * Timers 0 and 1 may be due at once and are never periodic; 2 and 3 may be periodic and are never
 * due: what comes by and by would come at another operation in each VM. FUZZ_TIMER has the rest.
 */
static u64 config_value(struct fuzz_random *r, u32 n)
{
	u64 v = chance(r, 60) ? HV_STIMER_ENABLE : 0;

	if (chance(r, 40))
		v |= HV_STIMER_DIRECT | HV_STIMER_VECTOR(chance(r, 90) ? fuzz_draw_deliverable(r) :
									 fuzz_draw_vector(r));
	else if (chance(r, 95))
		v |= HV_STIMER_SINT(1 + below(r, 15));
	if (chance(r, 25))
		v |= HV_STIMER_AUTO_ENABLE;
	if (chance(r, 20))
		v |= HV_STIMER_LAZY;
	if (n >= 2 && chance(r, 50))
		v |= HV_STIMER_PERIODIC;
	if (chance(r, 3))
		v |= BIT64(20 + below(r, 44)) | (below(r, 2) ? BIT64(13) : 0);
	return v;
}

static u64 count_value(struct fuzz_random *r, u32 n)
{
	if (n < 2 && chance(r, 50))
		return FUZZ_PAST;
	if (chance(r, 3))
		return PICK(r, BIT64(63) - 1, BIT64(63) + FUZZ_FAR, ~0ULL);
	return chance(r, 15) ? 0 : FUZZ_FAR + below(r, 1000);
}

/* No INIT, SIPI, SMI or ExtINT: they end the interpreter. */
u64 fuzz_icr_value(struct fuzz_random *r)
{
	u64 v = (chance(r, 90) ? fuzz_draw_deliverable(r) : fuzz_draw_vector(r)) | ICR_ASSERT;

	v |= PICK(r, ICR_SELF, ICR_SELF, ICR_ALL, 0, 0, ICR_OTHERS);
	v |= PICK(r, 0, 0, 0, 0, 1 << 8, 4 << 8);
	if (chance(r, 10))
		v |= BIT64(11) | BIT64(12);
	if (chance(r, 20))
		v |= fuzz_random(r) << 32;
	else if (chance(r, 10))
		v |= PICK(r, BIT64(56), 0xffULL << 56, BIT64(32), 0xffffffffULL << 32);
	return v;
}

u64 fuzz_msr_value(struct fuzz_random *r, u32 msr)
{
	const struct fuzz_row *row;
	int i = fuzz_find_msr(msr);

	if (msr >= HV_X64_MSR_SINT0 && msr < HV_X64_MSR_SINT(16))
		return sint_value(r);
	if (msr >= HV_X64_MSR_STIMER0_CONFIG && msr <= HV_X64_MSR_STIMER_COUNT(3)) {
		u32 n = (msr - HV_X64_MSR_STIMER0_CONFIG) / 2;

		return msr & 1 ? count_value(r, n) : config_value(r, n);
	}
	switch (msr) {
	case HV_X64_MSR_ICR:
		return fuzz_icr_value(r);
	case HV_X64_MSR_GUEST_OS_ID:
		return chance(r, 92) ? 0x8100000000000001ULL + below(r, 3) :
		       chance(r, 50) ? 0 :
				       fuzz_edge(r);
	case HV_X64_MSR_HYPERCALL:
		return page(r, msr) | (chance(r, 75) ? HV_HYPERCALL_ENABLE : 0) |
		       (chance(r, 2) ? HV_HYPERCALL_LOCKED : 0) | (chance(r, 5) ? 0xff0 : 0);
	case HV_X64_MSR_REFERENCE_TSC:
	case HV_X64_MSR_VP_ASSIST_PAGE:
	case HV_X64_MSR_SIMP:
	case HV_X64_MSR_SIEFP:
		return page(r, msr) | (chance(r, 80) ? 1 : 0) | (chance(r, 5) ? 0xffe : 0);
	case HV_X64_MSR_SCONTROL:
		return chance(r, 85) ? 1 : fuzz_edge(r);
	case HV_X64_MSR_TPR:
		return chance(r, 80) ? below(r, 16) * 8 : fuzz_edge(r);
	case HV_X64_MSR_EOI:
	case HV_X64_MSR_EOM:
		return chance(r, 85) ? 0 : fuzz_edge(r);
	case HV_X64_MSR_RESET:
		return PICK(r, 0, 1, 2, 3, ~0ULL);
	case HV_X64_MSR_CRASH_CTL:
		return PICK(r, 0, HV_CRASH_NOTIFY, HV_CRASH_MESSAGE,
			    HV_CRASH_NOTIFY | HV_CRASH_MESSAGE, 1, ~0ULL);
	case HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT:
		/* More than a day: stock has none of its interrupts. */
		return chance(r, 20) ? 0 : fuzz_edge(r) | BIT64(40);
	case HV_X64_MSR_TSC_INVARIANT_CONTROL:
		return PICK(r, 0, 1, 1, 2, 3, ~0ULL);
	default:
		break;
	}
	row = i < 0 ? NULL : fuzz_msr_row((u32)i);
	if (row && row->reserved && chance(r, 70))
		return fuzz_edge(r) & ~row->reserved;
	return fuzz_edge(r);
}

/* A register that guests use all the time, and that the exit fast path answers. */
u32 fuzz_draw_hot_msr(struct fuzz_random *r)
{
	return (u32)PICK(r, HV_X64_MSR_EOI, HV_X64_MSR_EOI, HV_X64_MSR_ICR, HV_X64_MSR_TPR,
			 HV_X64_MSR_EOM, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_VP_INDEX,
			 HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP, HV_X64_MSR_SINT(2),
			 HV_X64_MSR_STIMER_CONFIG(0), HV_X64_MSR_STIMER_COUNT(0),
			 HV_X64_MSR_STIMER_CONFIG(2), HV_X64_MSR_STIMER_COUNT(2),
			 HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_GUEST_OS_ID, HV_X64_MSR_CRASH_P0);
}

u32 fuzz_draw_msr(struct fuzz_random *r)
{
	/* What the filter denies, so that it is seen to. */
	if (r->nr_filtered && chance(r, 12))
		return r->filtered + below(r, r->nr_filtered);
	/* A number of no row beside the rows. */
	if (chance(r, 2))
		return (u32)PICK(r, 0x40000004, 0x40000011, 0x40000024, 0x40000074, 0x40000085,
				 0x400000a0, 0x400000b8, 0x400000f6, 0x40000109, 0x40000117,
				 0x40000119, 0x40001000, 0x40001080, 0x40001084, 0x400010a0,
				 0x3fffffff);
	if (chance(r, 45))
		return fuzz_msr(below(r, fuzz_nr_msrs()));
	{
		/* By rows: an array of sixteen is no more interesting than a single register. */
		const struct fuzz_row *row = fuzz_msr_row(below(r, fuzz_nr_msr_rows));

		return row->first + row->stride * below(r, row->count);
	}
}
