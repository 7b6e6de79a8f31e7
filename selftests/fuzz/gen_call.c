// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls with their input: mostly what a guest would pass, with one thing wrong now and then.
 */
#include "gen.h"

static u64 vp_mask(struct fuzz_random *r)
{
	return PICK(r, 1, 1, 1, 0, 2, 3, ~0ULL, BIT64(63));
}

static u64 flush_flags(struct fuzz_random *r)
{
	if (chance(r, 4))
		return fuzz_edge(r);
	return PICK(r, 0, 1, 2, 3, 7, 8, 9, 10, 4);
}

static u64 gva(struct fuzz_random *r)
{
	u64 range = PICK(r, 0x400000, 0x50000000, 0x50000003, 0x500007ff, 0x50000fff, 0, ~0ULL,
			 0x7ffffffff000ULL, 0xffff800000000000ULL, 0x800000000000ULL,
			 0x7ffffffffffeULL);

	/* A range that ends where no address is canonical has stock warn on Intel (D31). */
	return range == 0x7ffffffffffeULL && !host_is_amd() ? 0x7fffffffe001ULL : range;
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
		w[0] = fuzz_edge(r);
		w[1] = flush_flags(r);
		w[2] = vp_mask(r);
		n = 3;
		break;
	case HVCALL_FLUSH_SPACE_EX:
	case HVCALL_FLUSH_LIST_EX:
		w[0] = fuzz_edge(r);
		w[1] = flush_flags(r);
		n = 2 + vp_set(r, w + 2, varhdr);
		break;
	case HVCALL_SEND_IPI:
		w[0] = chance(r, 85) ? fuzz_draw_deliverable(r) : fuzz_draw_vector(r);
		w[0] |= chance(r, 3) ? BIT64(32 + below(r, 32)) : 0;
		w[1] = vp_mask(r);
		break;
	case HVCALL_SEND_IPI_EX:
		w[0] = chance(r, 85) ? fuzz_draw_deliverable(r) : fuzz_draw_vector(r);
		w[0] |= chance(r, 3) ? BIT64(32 + below(r, 32)) : 0;
		vp_set(r, w + 1, varhdr);
		break;
	case HVCALL_POST_MESSAGE:
		w[0] = below(r, 4);
		w[1] = (chance(r, 85) ? below(r, 241) : PICK(r, 241, 242, 256, 0x10000, 0xffffffff))
			       << 32 |
		       (chance(r, 90) ? 1 + below(r, 4) : PICK(r, 0, 0x80000000, 0x80000010));
		break;
	case HVCALL_SIGNAL_EVENT:
		w[0] = below(r, FUZZ_EVENTFDS + 2);
		w[0] |= chance(r, 10) ? BIT64(24 + below(r, 40)) : 0;
		break;
	case HVCALL_GET_VP_REGISTERS:
	case HVCALL_SET_VP_REGISTERS:
	case HVCALL_GET_VP_INDEX_FROM_APIC_ID:
	case HVCALL_GET_VP_CPUID_VALUES:
		/* What a guest passes for itself, then names, APIC ids or leaves. */
		w[0] = ~0ULL;
		w[1] = 0xfffffffe;
		for (i = 2; i < FUZZ_INPUT_WORDS; i++)
			w[i] = PICK(r, 0, 1, 0x40000003, 0x90003, 0x000a0000000a0010ULL, ~0ULL);
		*reps = below(r, 5);
		break;
	case HVCALL_RESTORE_PARTITION_TIME:
		w[0] = chance(r, 80) ? ~0ULL : fuzz_edge(r);
		w[1] = chance(r, 80) ? below(r, 4) : fuzz_edge(r);
		w[2] = chance(r, 80) ? (u64)below(r, 1u << 30) << 10 : fuzz_edge(r);
		w[3] = chance(r, 80) ? (u64)below(r, 1u << 30) << 10 : fuzz_edge(r);
		break;
	case 0xaf: /* HvFlushGuestPhysicalAddressSpace, and -List */
	case 0xb0:
		w[0] = fuzz_edge(r);
		w[1] = chance(r, 80) ? 0 : fuzz_edge(r);
		n = 2;
		break;
	default:
		for (i = 0; i < 4; i++)
			w[i] = fuzz_edge(r);
	}
	if (code == HVCALL_FLUSH_LIST || code == HVCALL_FLUSH_LIST_EX || code == 0xb0) {
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

void fuzz_draw_call(struct fuzz_random *r, struct fuzz_op *o)
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
	/* Marked for L0, as by a nested root. */
	if ((code == HVCALL_POST_MESSAGE || code == HVCALL_SIGNAL_EVENT) && chance(r, 25))
		o->w[1] |= HV_CTL_NESTED;
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
	/* From where a guest's kernel does not call. */
	if (o->w[0] != FUZZ_BY_PAGE && chance(r, 12))
		o->w[0] = chance(r, 40) ? FUZZ_CPL3 : FUZZ_32_BIT;
}
