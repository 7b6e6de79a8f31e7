// SPDX-License-Identifier: GPL-2.0-only
/*
 * Draws a stream from a seed: numbers of the tables and beside them, values at the edges of what a
 * register or call takes, and now and then anything. What may not be in a stream is avoided here and
 * said where: it would make the two VMs differ by their time, or end the guest.
 */
#include <string.h>

#include "apic.h"
#include "fuzz.h"

u64 fuzz_random(struct fuzz_random *r)
{
	u64 z = (r->s += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static u32 below(struct fuzz_random *r, u32 n)
{
	return (u32)((fuzz_random(r) >> 32) * n >> 32);
}

static bool chance(struct fuzz_random *r, u32 percent)
{
	return below(r, 100) < percent;
}

#define PICK(r, ...)                                      \
	({                                                \
		static const u64 __v[] = { __VA_ARGS__ }; \
		__v[below(r, (u32)ARRAY_SIZE(__v))];      \
	})

static u64 edge(struct fuzz_random *r)
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

static u64 page(struct fuzz_random *r)
{
	switch (below(r, 20)) {
	case 0:
		return GPA_NOWHERE;
	case 1:
		return PICK(r, FUZZ_MOVED, FUZZ_MOVED + 5 * PAGE_SIZE, 0xfffffffffffff000ULL,
			    0xffffffffff000ULL, 0xfee00000);
	default:
		return FUZZ_PAGE(below(r, FUZZ_SLOTS * FUZZ_SLOT_PAGES));
	}
}

/*
 * Vectors that the CPU would take for an exception with an error code, and that of the way back from
 * CPL 3 and of the wake-up, are not the guest's to use.
 */
static u64 vector(struct fuzz_random *r)
{
	return PICK(r, 0x10, 0x12, 0x1f, 0x20, 0x31, 0x40, 0x41, 0x42, 0x61, 0x62, 0xef, 0xfd, 0xff,
		    0, 1, 5, 0xf);
}

static u64 deliverable(struct fuzz_random *r)
{
	return PICK(r, 0x20, 0x31, 0x40, 0x41, 0x61, 0x62, 0xef);
}

static u64 sint_value(struct fuzz_random *r)
{
	u64 v = chance(r, 80) ? deliverable(r) : vector(r);

	if (chance(r, 15))
		v |= HV_SINT_MASKED;
	if (chance(r, 15))
		v |= HV_SINT_AUTO_EOI;
	if (chance(r, 5))
		v |= HV_SINT_POLLING;
	if (chance(r, 5))
		v |= edge(r) & ~0xffULL & ~HV_SINT_MASKED;
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
		v |= HV_STIMER_DIRECT |
		     HV_STIMER_VECTOR(chance(r, 90) ? deliverable(r) : vector(r));
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
static u64 icr_value(struct fuzz_random *r)
{
	u64 v = (chance(r, 90) ? deliverable(r) : vector(r)) | ICR_ASSERT;

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

static u64 msr_value(struct fuzz_random *r, u32 msr)
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
		return icr_value(r);
	case HV_X64_MSR_GUEST_OS_ID:
		return chance(r, 92) ? 0x8100000000000001ULL + below(r, 3) :
		       chance(r, 50) ? 0 :
				       edge(r);
	case HV_X64_MSR_HYPERCALL:
		return page(r) | (chance(r, 75) ? HV_HYPERCALL_ENABLE : 0) |
		       (chance(r, 2) ? HV_HYPERCALL_LOCKED : 0) | (chance(r, 5) ? 0xff0 : 0);
	case HV_X64_MSR_REFERENCE_TSC:
	case HV_X64_MSR_VP_ASSIST_PAGE:
	case HV_X64_MSR_SIMP:
	case HV_X64_MSR_SIEFP:
		return page(r) | (chance(r, 80) ? 1 : 0) | (chance(r, 5) ? 0xffe : 0);
	case HV_X64_MSR_SCONTROL:
		return chance(r, 85) ? 1 : edge(r);
	case HV_X64_MSR_TPR:
		return chance(r, 80) ? below(r, 16) * 8 : edge(r);
	case HV_X64_MSR_EOI:
	case HV_X64_MSR_EOM:
		return chance(r, 85) ? 0 : edge(r);
	case HV_X64_MSR_RESET:
		return PICK(r, 0, 1, 2, 3, ~0ULL);
	case HV_X64_MSR_CRASH_CTL:
		return PICK(r, 0, HV_CRASH_NOTIFY, HV_CRASH_MESSAGE,
			    HV_CRASH_NOTIFY | HV_CRASH_MESSAGE, 1, ~0ULL);
	case HV_X64_MSR_TSC_INVARIANT_CONTROL:
		return PICK(r, 0, 1, 1, 2, 3, ~0ULL);
	default:
		break;
	}
	row = i < 0 ? NULL : fuzz_msr_row((u32)i);
	if (row && row->reserved && chance(r, 70))
		return edge(r) & ~row->reserved;
	return edge(r);
}

static u32 msr(struct fuzz_random *r)
{
	/* A number of no row beside the rows. */
	if (chance(r, 2))
		return (u32)PICK(r, 0x40000004, 0x40000011, 0x40000024, 0x40000074, 0x40000085,
				 0x400000a0, 0x400000b8, HV_X64_MSR_GUEST_IDLE, 0x400000f6,
				 0x40000109, 0x40000117, 0x40000119, 0x40001000, 0x40001080,
				 0x40001084, 0x400010a0, 0x3fffffff);
	if (chance(r, 45))
		return fuzz_msr(below(r, fuzz_nr_msrs()));
	{
		/* By rows: an array of sixteen is no more interesting than a single register. */
		const struct fuzz_row *row = fuzz_msr_row(below(r, fuzz_nr_msr_rows));

		return row->first + row->stride * below(r, row->count);
	}
}

/* --- hypercalls --------------------------------------------------------------------------------- */

static u64 vp_mask(struct fuzz_random *r)
{
	return PICK(r, 1, 1, 1, 0, 2, 3, ~0ULL, BIT64(63));
}

static u64 flush_flags(struct fuzz_random *r)
{
	if (chance(r, 4))
		return edge(r);
	return PICK(r, 0, 1, 2, 3, 7, 8, 9, 10, 4);
}

static u64 gva(struct fuzz_random *r)
{
	return PICK(r, 0x400000, 0x50000000, 0x50000003, 0x500007ff, 0x50000fff, 0, ~0ULL,
		    0x7ffffffff000ULL, 0xffff800000000000ULL, 0x800000000000ULL, 0x7ffffffffffeULL);
}

/* A VP set, with as many banks as it names, most of the time; *@varhdr gets their number. */
static u32 vp_set(struct fuzz_random *r, u64 *w, u64 *varhdr)
{
	u64 banks = PICK(r, 1, 1, 1, 0, 2, 3, BIT64(63), 0x11);
	u32 n = (u32)__builtin_popcountll(banks), i;

	w[0] = chance(r, 95) ? below(r, 2) : PICK(r, 2, 3, ~0ULL, BIT64(32));
	w[1] = banks;
	for (i = 0; i < n; i++)
		w[2 + i] = vp_mask(r);
	*varhdr = chance(r, 95) ? n : PICK(r, 0, 1, 2, 64, 65, 0x1ff, 0x3ff);
	return 2 + n;
}

static void call_input(struct fuzz_random *r, u32 code, u64 *w, u64 *reps, u64 *varhdr)
{
	u32 n = 0, i;

	*reps = 0;
	*varhdr = 0;
	switch (code) {
	case HVCALL_FLUSH_SPACE:
	case HVCALL_FLUSH_LIST:
		w[0] = edge(r);
		w[1] = flush_flags(r);
		w[2] = vp_mask(r);
		n = 3;
		break;
	case HVCALL_FLUSH_SPACE_EX:
	case HVCALL_FLUSH_LIST_EX:
		w[0] = edge(r);
		w[1] = flush_flags(r);
		n = 2 + vp_set(r, w + 2, varhdr);
		break;
	case HVCALL_SEND_IPI:
		w[0] = chance(r, 85) ? deliverable(r) : vector(r);
		w[0] |= chance(r, 3) ? BIT64(32 + below(r, 32)) : 0;
		w[1] = vp_mask(r);
		break;
	case HVCALL_SEND_IPI_EX:
		w[0] = chance(r, 85) ? deliverable(r) : vector(r);
		w[0] |= chance(r, 3) ? BIT64(32 + below(r, 32)) : 0;
		vp_set(r, w + 1, varhdr);
		break;
	case HVCALL_POST_MESSAGE:
		w[0] = below(r, 4);
		w[1] = (u64)(chance(r, 90) ? below(r, 240) : below(r, 300)) << 32 |
		       (chance(r, 90) ? 1 + below(r, 4) : PICK(r, 0, 0x80000000, 0x80000010));
		break;
	case HVCALL_SIGNAL_EVENT:
		w[0] = below(r, FUZZ_EVENTFDS + 2);
		w[0] |= chance(r, 10) ? BIT64(24 + below(r, 40)) : 0;
		break;
	default:
		for (i = 0; i < 4; i++)
			w[i] = edge(r);
	}
	if (code == HVCALL_FLUSH_LIST || code == HVCALL_FLUSH_LIST_EX) {
		*reps = 1 + below(r, chance(r, 80) ? 4 : 20);
		for (i = n; i < FUZZ_INPUT_WORDS; i++)
			w[i] = gva(r);
	}
}

static u32 call_code(struct fuzz_random *r)
{
	const struct fuzz_row *row = fuzz_call_row(below(r, fuzz_nr_call_rows));

	if (chance(r, 3))
		return (u32)PICK(r, 0, 1, 4, 0x16, 0x5b, 0x5e, 0x68, 0x6c, 0x7fff, 0x8000, 0x8042,
				 0xffff);
	return row->first + below(r, row->count);
}

/* One thing that is wrong with the control word or the address. */
static void spoil(struct fuzz_random *r, struct fuzz_op *o)
{
	switch (below(r, 8)) {
	case 0:
		o->w[1] |= BIT64(27 + below(r, 5));
		break;
	case 1:
		o->w[1] |= BIT64(44 + below(r, 4)) << (below(r, 2) ? 16 : 0);
		break;
	case 2:
		o->w[1] ^= HV_CTL_REP(1 + below(r, 3));
		break;
	case 3:
		o->w[1] |= HV_CTL_START(PICK(r, 1, 2, 0xfff));
		break;
	case 4:
		o->w[1] += HV_CTL_VARHDR(1);
		break;
	case 5:
		o->w[2] += PICK(r, 1, 4, 8, PAGE_SIZE - 8, PAGE_SIZE - 1);
		break;
	case 6:
		o->w[2] = PICK(r, GPA_NOWHERE, 0xfffffffffffff000ULL, GPA_NOWHERE + 4);
		break;
	default:
		o->w[1] ^= HV_CTL_FAST;
	}
}

static void call(struct fuzz_random *r, struct fuzz_op *o)
{
	u32 code = call_code(r), i;
	u64 reps, varhdr;
	int row = fuzz_find_call(code);
	u64 *w = o->w + 4;

	call_input(r, code, w, &reps, &varhdr);
	o->answer = (u32)PICK(r, 0, 0, 2, 5, 0x12);
	o->w[0] = below(r, 10) < 5 ? FUZZ_MEMORY : chance(r, 90) ? FUZZ_XMM : FUZZ_BY_PAGE;
	if (row >= 0 && !fuzz_call_row((u32)row)->xmm && o->w[0] == FUZZ_XMM)
		o->w[0] = FUZZ_REGISTERS;
	o->w[1] = code | HV_CTL_REP(reps) | HV_CTL_VARHDR(varhdr);
	o->w[2] = FUZZ_PAGE(FUZZ_IN_PAGE);
	o->w[3] = FUZZ_PAGE(FUZZ_OUT_PAGE);
	if (o->w[0] == FUZZ_XMM || o->w[0] == FUZZ_REGISTERS) {
		o->w[1] |= HV_CTL_FAST;
		o->w[2] = w[0];
		o->w[3] = w[1];
		for (i = 0; i + 2 < FUZZ_INPUT_WORDS; i++)
			w[i] = w[i + 2];
	}
	if (chance(r, 12))
		spoil(r, o);
}

/* --- streams -------------------------------------------------------------------------------------- */

/* As HC_RESET of a timer by the guest: enough for the emulators' own timers, and short. */
static void timer(struct fuzz_random *r, struct fuzz_op *o)
{
	u64 v = deliverable(r);
	u32 n = below(r, 4);

	o->w[0] = n;
	o->w[1] = HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(v);
	if (chance(r, 25))
		o->w[1] |= HV_STIMER_PERIODIC | (below(r, 2) ? HV_STIMER_LAZY : 0);
	o->w[2] = 3000 + below(r, 3000);
	o->w[3] = v;
}

static void apic(struct fuzz_random *r, struct fuzz_op *o)
{
	o->w[0] = chance(r, 40);
	o->w[1] = PICK(r, APIC_TPR, APIC_PPR, APIC_EOI, APIC_SPIV, APIC_ICR, APIC_ICR2, 0x280,
		       APIC_ISR + 0x20, APIC_IRR + 0x20, 0x20, 0x30, 0xd0);
	o->w[2] = 0;
	if (!o->w[0])
		return;
	switch (o->w[1]) {
	case APIC_SPIV:
		o->w[2] = chance(r, 80) ? APIC_SPIV_ON : APIC_SPIV_OFF;
		break;
	case APIC_ICR:
		o->w[2] = (u32)icr_value(r);
		break;
	case APIC_TPR:
		o->w[2] = below(r, 16) * 8;
		break;
	case APIC_EOI:
		break;
	default:
		o->w[0] = 0;
	}
}

const u64 fuzz_cpuid_bits[] = {
	0,
	HV_F_VP_RUNTIME,
	HV_F_TIME_REF,
	HV_F_SYNIC,
	HV_F_STIMER,
	HV_F_APIC,
	HV_F_HYPERCALL,
	HV_F_VP_INDEX,
	HV_F_RESET,
	HV_F_REF_TSC,
	HV_F_FREQUENCY,
	HV_F_REENLIGHTENMENT,
	HV_F_TSC_INVARIANT,
	HV_F_POST_MESSAGES,
	HV_F_SIGNAL_EVENTS,
	HV_F_DEBUGGING,
	HV_F_EXT_HYPERCALLS,
	HV_F_XMM_INPUT,
	HV_F_CRASH,
	HV_F_SYNDBG,
	HV_F_EXT_GVA,
	HV_F_STIMER_DIRECT,
	HV_H_TLBFLUSH,
	HV_H_IPI,
	HV_H_EX_MASKS,
	HV_N_DIRECT_FLUSH,
	HV_N_MSR_BITMAP,
	CPUBIT(HV_LEAF_HINTS, EBX, 0),
	CPUBIT(HV_LEAF_INTERFACE, EAX, 0),
};
const u32 fuzz_nr_cpuid_bits = ARRAY_SIZE(fuzz_cpuid_bits);

/* Weights: their sum is WEIGHTS. */
#define WEIGHTS 275
static const struct {
	u32 weight, kind;
} kinds[] = {
	{ 52, FUZZ_RDMSR },    { 76, FUZZ_WRMSR },  { 52, FUZZ_CALL },	 { 5, FUZZ_CPUID },
	{ 4, FUZZ_LOAD },      { 4, FUZZ_STORE },   { 14, FUZZ_WINDOW }, { 2, FUZZ_HALT },
	{ 2, FUZZ_TIMER },     { 4, FUZZ_TIME },    { 10, FUZZ_APIC },	 { 4, FUZZ_CR },
	{ 2, FUZZ_EOI_BY },    { 6, FUZZ_TAKE },    { 4, FUZZ_GET_MSR }, { 8, FUZZ_SET_MSR },
	{ 3, FUZZ_CPUID_BIT }, { 1, FUZZ_ENFORCE }, { 3, FUZZ_ROUTE },	 { 4, FUZZ_IRQ },
	{ 3, FUZZ_EVENTFD },   { 1, FUZZ_SYNIC },   { 2, FUZZ_FILTER },	 { 1, FUZZ_CLOCK },
	{ 1, FUZZ_TSC_KHZ },   { 2, FUZZ_LAPIC },   { 3, FUZZ_SLOT },	 { 1, FUZZ_SMI },
	{ 1, FUZZ_OFFERED },
};

static void draw(struct fuzz_random *r, struct fuzz_op *o)
{
	u32 i, n = below(r, WEIGHTS);

	memset(o, 0, sizeof(*o));
	for (i = 0; i + 1 < ARRAY_SIZE(kinds) && n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	o->kind = kinds[i].kind;
	switch (o->kind) {
	case FUZZ_RDMSR:
	case FUZZ_GET_MSR:
		o->w[0] = msr(r);
		break;
	case FUZZ_WRMSR:
	case FUZZ_SET_MSR:
		o->w[0] = msr(r);
		o->w[1] = msr_value(r, (u32)o->w[0]);
		o->answer = below(r, 3);
		break;
	case FUZZ_CPUID:
		o->w[0] = 0x40000000 + PICK(r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x81,
					    0x82, 0x83, 0x100);
		break;
	case FUZZ_LOAD:
	case FUZZ_STORE:
		o->w[0] = FUZZ_PAGE(below(r, FUZZ_SLOTS * FUZZ_SLOT_PAGES)) +
			  PICK(r, 0, 8, 0x100, 0x108, 0x110, 0x200, 0x210, 0xff8);
		o->w[1] = chance(r, 50) ? 0 : edge(r);
		break;
	case FUZZ_CALL:
		call(r, o);
		break;
	case FUZZ_TIMER:
		timer(r, o);
		break;
	case FUZZ_TAKE:
		o->w[0] = below(r, 16);
		break;
	case FUZZ_APIC:
		apic(r, o);
		break;
	case FUZZ_CR:
		o->w[0] = PICK(r, 0, 3, 4, 8, 9);
		o->w[1] = below(r, 16);
		break;
	case FUZZ_EOI_BY:
		o->w[0] = chance(r, 90) ? below(r, 2) : FUZZ_EOI_NONE;
		break;
	case FUZZ_CPUID_BIT:
		o->w[0] = fuzz_cpuid_bits[1 + below(r, fuzz_nr_cpuid_bits - 1)];
		o->w[1] = below(r, 2);
		break;
	case FUZZ_ENFORCE:
		o->w[0] = below(r, 2);
		break;
	case FUZZ_ROUTE:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		o->w[1] = below(r, chance(r, 90) ? 16 : 20);
		break;
	case FUZZ_IRQ:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		break;
	case FUZZ_EVENTFD:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		o->w[1] = below(r, 3);
		break;
	case FUZZ_SYNIC:
		o->w[0] = 1 + below(r, 2);
		break;
	case FUZZ_FILTER:
		o->w[0] = msr(r);
		o->w[1] = below(r, 4);
		break;
	case FUZZ_CLOCK:
		o->w[0] = PICK(r, 0, 1000000000, 60000000000);
		break;
	case FUZZ_TSC_KHZ:
		o->w[0] = chance(r, 80) ? 100 : 90 + below(r, 20);
		break;
	case FUZZ_LAPIC:
		o->w[0] = PICK(r, 0, 0, APIC_TPR, APIC_SPIV, APIC_SPIV);
		o->w[1] = o->w[0] == APIC_TPR ? below(r, 16) * 16 :
						PICK(r, APIC_SPIV_ON, APIC_SPIV_ON, APIC_SPIV_OFF);
		break;
	case FUZZ_SLOT:
		/* Back again soon: without its pages a stream has little to do. */
		o->w[0] = below(r, FUZZ_SLOTS);
		o->w[1] = chance(r, 55) ? 0 : 1 + below(r, 3);
		break;
	case FUZZ_OFFERED:
		o->w[0] = 0x40000000 + PICK(r, 0, 1, 2, 3, 4, 5, 6, 10, 0x80, 0x81, 0x82);
		break;
	default:
		break;
	}
}

/* What a guest's start does; without it most of a stream would meet what is not set up. */
static u32 prologue(struct fuzz_random *r, struct fuzz_stream *s)
{
	const u64 start[][2] = {
		{ HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL },
		{ HV_X64_MSR_SCONTROL, 1 },
		{ HV_X64_MSR_SIMP, FUZZ_PAGE(0) | 1 },
		{ HV_X64_MSR_SIEFP, FUZZ_PAGE(1) | 1 },
		{ HV_X64_MSR_VP_ASSIST_PAGE, FUZZ_PAGE(2) | 1 },
		{ HV_X64_MSR_REFERENCE_TSC, FUZZ_PAGE(3) | 1 },
		{ HV_X64_MSR_HYPERCALL, FUZZ_PAGE(4) | 1 },
	};
	u32 i, n = 0, done = chance(r, 85) ? ARRAY_SIZE(start) : below(r, ARRAY_SIZE(start));

	s->ops[n++] = (struct fuzz_op){ .kind = FUZZ_APIC, .w = { 1, APIC_SPIV, APIC_SPIV_ON } };
	for (i = 0; i < done; i++)
		s->ops[n++] =
			(struct fuzz_op){ .kind = FUZZ_WRMSR, .w = { start[i][0], start[i][1] } };
	for (i = 1; i < 16 && done == ARRAY_SIZE(start); i++)
		s->ops[n++] = (struct fuzz_op){
			.kind = FUZZ_WRMSR,
			.w = { HV_X64_MSR_SINT(i), 0x40 + i % 3 },
		};
	return n;
}

void fuzz_generate(struct fuzz_stream *s, u64 seed, u32 nr)
{
	struct fuzz_random r = { .s = seed };
	u32 i;

	s->seed = seed;
	s->setup.x2apic = below(&r, 2);
	s->setup.fast = chance(&r, 60);
	s->setup.synic = chance(&r, 90) ? 1 + below(&r, 2) : 0;
	s->setup.enforce = chance(&r, 25);
	s->setup.debugger = chance(&r, 30);
	s->setup.smm = chance(&r, 20);
	s->setup.exits = chance(&r, 50);
	for (i = 0; i < FUZZ_WITHOUT; i++)
		s->setup.without[i] =
			chance(&r, s->setup.enforce ? 80 : 10) ?
				below(&r, fuzz_nr_cpuid_bits - (chance(&r, 97) ? 1 : 0)) :
				0;
	s->nr = prologue(&r, s);
	while (s->nr < nr)
		draw(&r, &s->ops[s->nr++]);
}
