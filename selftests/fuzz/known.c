// SPDX-License-Identifier: GPL-2.0-only
/*
 * Known differences between stock and module: the table at the end of this file. An entry has the
 * id of Documentation/divergences.rst or stock-defects.rst, and a function that says whether a
 * difference is this one, from the operation and from what the stream has done before. It must be
 * as narrow as the id's text: what it takes for known is not looked at.
 */
#include <errno.h>
#include <string.h>

#include "apic.h"
#include "call.h"

#define CRASH_BITS (HV_CRASH_NOTIFY | HV_CRASH_MESSAGE)
#define SYNDBG	   KVM_EXIT_HYPERV_SYNDBG
#define GP	   13u /* #GP */
#define UD	   6u  /* #UD */

/* Register that the operation, or the difference in the state, is about; 0: none. */
static u32 register_of(const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (d->what == FUZZ_OF_MSR)
		return fuzz_msr(d->index);
	if (o->kind == FUZZ_RDMSR || o->kind == FUZZ_WRMSR || o->kind == FUZZ_GET_MSR ||
	    o->kind == FUZZ_SET_MSR)
		return (u32)o->w[0];
	return 0;
}

/* The difference is the value of a register: read by the guest, by user space, or in the state. */
static bool is_value(const struct fuzz_op *o, const struct fuzz_difference *d)
{
	return (d->what == FUZZ_OF_MSR && !d->offset) ||
	       (d->what == FUZZ_OF_RESULT && (o->kind == FUZZ_RDMSR || o->kind == FUZZ_GET_MSR));
}

static bool is_between(u32 n, u32 first, u32 last)
{
	return n >= first && n <= last;
}

bool fuzz_is_config(u32 msr)
{
	return is_between(msr, HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER_COUNT(3)) && !(msr & 1);
}

static const struct fuzz_exit *last_exit(const struct fuzz_out *out)
{
	u32 n = out->nr_exits < FUZZ_EXITS ? out->nr_exits : FUZZ_EXITS;

	return &out->exits[n ? n - 1 : 0];
}

/* --- registers ----------------------------------------------------------- */

u64 fuzz_volatile_bits(u32 msr, u64 value)
{
	return fuzz_is_config(msr) && (value & (HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE)) ?
		       HV_STIMER_ENABLE :
		       0;
}

/* A register that differs already: each of them has the value that it should have. */
static bool tainted(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d, const char **id)
{
	u32 msr = register_of(o, d);
	int i = is_value(o, d) ? fuzz_msr_index(msr) : -1;
	const struct fuzz_taint *t = &sh->tainted[i < 0 ? 0 : i];

	if (i < 0 || !t->id || ((d->b ^ t->is[1]) & ~fuzz_volatile_bits(msr, t->is[1])) ||
	    (!t->any && ((d->a ^ t->is[0]) & ~fuzz_volatile_bits(msr, t->is[0]))))
		return false;
	*id = t->id;
	return true;
}

/* The guest may not write HYPERCALL any more. */
static bool d2(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	return o->kind == FUZZ_WRMSR && o->w[0] == HV_X64_MSR_HYPERCALL &&
	       d->what == FUZZ_OF_VECTOR && !d->a && d->b >> 32 == GP &&
	       (sh->hypercall[1] & HV_HYPERCALL_LOCKED);
}

/* User space restores reserved bits alone, which are dropped; to stock it is a timer. */
static bool d33(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	int row = fuzz_find_msr((u32)o->w[0]);

	return o->kind == FUZZ_SET_MSR && fuzz_is_config((u32)o->w[0]) && row >= 0 &&
	       d->what == FUZZ_OF_RET && !d->a && d->b == 1 && !sh->synic &&
	       !(o->w[1] & ~fuzz_msr_row((u32)row)->reserved);
}

/* --- pages --------------------------------------------------------------- */

/* The word of a page that the difference is about: its page, else -1. */
static int page_word(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, u32 *offset)
{
	if (d->what == FUZZ_OF_PAGE) {
		*offset = d->offset;
		return (int)d->index;
	}
	if (d->what != FUZZ_OF_RESULT || o->kind != FUZZ_LOAD || d->index)
		return -1;
	*offset = o->w[0] % PAGE_SIZE;
	return fuzz_page_at(sh->f[0], o->w[0] & ~(PAGE_SIZE - 1));
}

/* What the byte at @offset of the hypercall page is. */
static u8 code_at(u32 offset)
{
	return offset < 4 ? (u8)(fuzz_call_code() >> 8 * offset) : (u8)FUZZ_CODE_FILL;
}

/*
 * The whole page is code here, and what it lay over comes back; stock writes the call and RET
 * only, and leaves them. Byte by byte: some of what is written to a page has no more.
 */
static bool d1(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	bool code, is_on_top;
	u32 offset, i;
	int page = page_word(sh, o, d, &offset);

	if (page < 0 || !(sh->role[page] & FUZZ_AS_HYPERCALL))
		return false;
	is_on_top = fuzz_is_code(sh, fuzz_page_address(sh->f[0], (u32)page)) &&
		    !sh->changed[page] && sh->role[page] == FUZZ_AS_HYPERCALL;
	code = sh->left[page] || (sh->role[page] & ~FUZZ_AS_HYPERCALL) ||
	       fuzz_is_code(sh, fuzz_page_address(sh->f[0], (u32)page));
	for (i = 0; i < 8; i++) {
		u8 a = (u8)(d->a >> 8 * i), b = (u8)(d->b >> 8 * i), here = code_at(offset + i);

		/* Where the code is on top of nothing else, it is all that may be read. */
		if (a != b && !(code && b == here) &&
		    !(offset + i < 4 && a == here && (!is_on_top || b == here)))
			return false;
	}
	return true;
}

/* Is this the page of the reference TSC, and of something else, too? */
static bool is_shared_tsc(u32 role)
{
	return (role & FUZZ_AS_TSC) && (role & ~FUZZ_AS_TSC);
}

/* The guest could read the register, which went on; whatever the page held. */
static bool is_time_by_page(u64 result)
{
	return result == FUZZ_TIME_BY_REGISTER || result == FUZZ_TIME_BY_PAGE ||
	       result == FUZZ_TIME_TWO_CLOCKS;
}

/* The reference TSC page, which stock writes through what lies on it. */
static bool d53(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 offset;
	int page = page_word(sh, o, d, &offset);

	if (page >= 0)
		return is_shared_tsc(sh->role[page]) && offset < FUZZ_TSC_PAGE_SIZE;
	if (d->what != FUZZ_OF_RESULT || o->kind != FUZZ_TIME ||
	    !is_shared_tsc(fuzz_role_of(sh, fuzz_shadow_msr(sh, 0, HV_X64_MSR_REFERENCE_TSC))))
		return false;
	/* Not the time of the module, but what the guest reads in the place of the page. */
	return is_time_by_page(d->b) &&
	       (fuzz_tsc_is_foreign(sh) ||
		fuzz_is_code(sh, fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC)) ||
		d->b != FUZZ_TIME_TWO_CLOCKS);
}

/*
 * What the guest wrote over the code is code again once another page there goes, and then the RAM
 * that was there before the code, which mostly is 0.
 */
static bool d53_stored(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_difference *d)
{
	const u32 others = FUZZ_AS_SIMP | FUZZ_AS_SIEFP | FUZZ_AS_ASSIST;
	u32 offset, i;
	int page = page_word(sh, o, d, &offset);

	if (page < 0 || !(sh->role[page] & FUZZ_AS_HYPERCALL) || !(sh->role[page] & others))
		return false;
	/* KVM clears a page for SIMP and SIEFP; here the RAM below the code comes back. */
	if (!d->a && (sh->role[page] & (FUZZ_AS_SIMP | FUZZ_AS_SIEFP)))
		return true;
	/* Of three on a page, which is on top after one of them has gone, is not kept. */
	if (__builtin_popcount(sh->role[page] & others) > 1)
		return true;
	for (i = 0; i < FUZZ_OVER_CODE && i < sh->nr_over_code; i++) {
		if (fuzz_page_at(sh->f[0], sh->over_code[i].at & ~(PAGE_SIZE - 1)) == page &&
		    sh->over_code[i].at % PAGE_SIZE == offset && sh->over_code[i].value == d->a)
			return !d->b;
	}
	return false;
}

/* The page that REFERENCE_TSC of the module names, by its address now; else -1. */
static int tsc_page(const struct fuzz_shadow *sh)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);

	return tsc & 1 ? fuzz_page_at(sh->f[0], tsc & ~(PAGE_SIZE - 1)) : -1;
}

/* TSC_FREQUENCY tells of a rate that KVM_SET_TSC_KHZ has refused: from 90 to 110 % of the TSC's. */
#define ANY_RATE 5u

/* Is @scale that of a TSC with this rate, to one @part of it? */
static bool is_tsc_scale(u64 scale, u64 hz, u32 part)
{
	u64 want;
	s64 gap;

	if (!hz)
		return false;
	want = (u64)(((__uint128_t)10000000 << 64) / hz);
	gap = (s64)(scale - want);
	return gap < (s64)(want / part) && gap > -(s64)(want / part);
}

/*
 * A page that could not be written when a register named it is written when it can be; stock gives
 * it up, so that it has no sequence.
 */
static bool d21(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 offset;
	int page = page_word(sh, o, d, &offset), named = tsc_page(sh);

	if (page >= 0 && offset == 8)
		return (sh->tsc[page] & FUZZ_TSC_LATE) && is_tsc_scale(d->b, sh->hz, ANY_RATE);
	if (page >= 0)
		return (sh->tsc[page] & FUZZ_TSC_LATE) && offset < FUZZ_TSC_PAGE_SIZE &&
		       !(u32)d->a && (u32)d->b;
	/* What stock has given up is not its clock either when it is frozen. */
	if (o->kind == FUZZ_TSC && d->what == FUZZ_OF_RESULT)
		return named >= 0 && (sh->tsc[named] & FUZZ_TSC_LATE) && fuzz_tsc_is_frozen(sh) &&
		       d->a == FUZZ_TIME_BY_REGISTER && d->b == FUZZ_TIME_BACK;
	if (o->kind != FUZZ_TIME || d->what != FUZZ_OF_RESULT)
		return false;
	/* What the guest reads from a page that nobody can write is no time of the module. */
	if (fuzz_tsc_is_foreign(sh))
		return is_time_by_page(d->b);
	/* Stock has not invalidated a page either that was not there when the clock was set. */
	return named >= 0 && (sh->tsc[named] & FUZZ_TSC_LATE) &&
	       (d->a == FUZZ_TIME_BY_REGISTER || d->a == FUZZ_TIME_TWO_CLOCKS) &&
	       d->b == FUZZ_TIME_BY_PAGE;
}

/* Does another register of this side name the page of this one now? */
static bool is_covered(const struct fuzz_shadow *sh, u32 side, u64 reg)
{
	static const u32 others[] = { HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_SIMP, HV_X64_MSR_SIEFP,
				      HV_X64_MSR_VP_ASSIST_PAGE };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		u64 other = fuzz_shadow_msr(sh, side, others[i]);

		if ((other & 1) && !((other ^ reg) & ~(PAGE_SIZE - 1)))
			return true;
	}
	return false;
}

/*
 * One of them has nothing to call. That of the module is covered by what was enabled last, or has
 * been written to. That of stock has been overwritten by what was on top (D53), or stock has moved
 * what is locked here.
 */
static bool d53_call(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	u64 reg = sh->hypercall[1], stock = sh->hypercall[0];
	bool stock_has_page = sh->out[0].result != FUZZ_NO_PAGE;
	bool has_page = sh->out[1].result != FUZZ_NO_PAGE;
	int page = fuzz_page_at(sh->f[0], reg & ~(PAGE_SIZE - 1));

	(void)d;
	if (o->kind != FUZZ_CALL || o->w[0] != FUZZ_BY_PAGE || has_page == stock_has_page)
		return false;
	if (has_page)
		return (reg & HV_HYPERCALL_ENABLE) && page >= 0 &&
		       (reg != stock || (sh->role[page] & ~FUZZ_AS_HYPERCALL));
	return reg != stock || is_covered(sh, 1, reg) || (page >= 0 && sh->changed[page]);
}

/*
 * The registers of the two differ, and one of them names a page that is in no memory now: the guest
 * asks user space what is there, and finds no code.
 */
static bool d41_call(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	u32 side, i;

	if (o->kind != FUZZ_CALL || o->w[0] != FUZZ_BY_PAGE || d->what != FUZZ_OF_EXITS ||
	    sh->hypercall[0] == sh->hypercall[1] || sh->out[0].result != FUZZ_NO_PAGE ||
	    sh->out[1].result != FUZZ_NO_PAGE)
		return false;
	for (side = 0; side < 2; side++) {
		const struct fuzz_out *out = &sh->out[side];
		u64 reg = sh->hypercall[side];

		for (i = 0; i < out->nr_exits; i++)
			if (i >= FUZZ_EXITS || out->exits[i].reason != KVM_EXIT_MMIO ||
			    !(reg & HV_HYPERCALL_ENABLE) ||
			    (out->exits[i].field[0] ^ reg) & ~(PAGE_SIZE - 1))
				return false;
	}
	return true;
}

/*
 * A message is taken from a page that is, or was, code: its type is that of the code; but where the
 * VP assist page lies there, too, begins what KVM has written for EOIs: a word, and then its byte.
 */
static bool d1_take(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	u32 code = o->w[0] % HV_SYNIC_SINTS ? FUZZ_CODE_FILL : fuzz_call_code();
	u32 role = fuzz_role_of(sh, fuzz_shadow_msr(sh, 0, HV_X64_MSR_SIMP)), type = (u32)d->b;

	if (o->kind != FUZZ_TAKE || d->what != FUZZ_OF_RESULT || !(role & FUZZ_AS_HYPERCALL))
		return false;
	if ((role & FUZZ_AS_ASSIST) && !(o->w[0] % HV_SYNIC_SINTS) &&
	    (!(type & ~1u) || !((type ^ code) & ~0xffu)))
		return true;
	/* Of what the guest has written over the type, only the rest is code. */
	if (type == (u32)d->a && !(d->b >> 32 & ~0xccccccccULL))
		return true;
	return type == code || (u32)d->a == fuzz_call_code();
}

/* The bit for a message; and user space sees what the guest has written. */
static bool d6(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	bool guest = d->what == FUZZ_OF_RESULT && o->kind == FUZZ_RDMSR;

	return is_value(o, d) && register_of(o, d) == HV_X64_MSR_CRASH_CTL &&
	       d->a == sh->crash_ctl[0] &&
	       d->b == (!guest && sh->crash_notice ? sh->crash_notice : sh->crash_ctl[1]);
}

/* Refused here; cut to 32 bits by stock, whose VP is then another one for routes and IPIs. */
static bool d9(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_VP_INDEX &&
	       d->what == FUZZ_OF_RET && o->w[1] >> 32 && d->a == 1 && !d->b;
}

/* The guest's write is #GP here, so that the register stays what it was. */
static void note_refused(struct fuzz_shadow *sh, const struct fuzz_op *o, const char *id)
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 msr = (u32)o->w[0], n = (msr - HV_X64_MSR_STIMER0_CONFIG) / 2;
	u64 was = fuzz_shadow_msr(sh, 1, msr);

	fuzz_taint(sh, msr, id, o->w[1], was);
	if (!fuzz_is_config(msr))
		return;
	/* Two timers of one number: the one that is there, and that of stock. */
	if (o->w[1] & enabled)
		fuzz_note_timer(sh, n, o->w[1], id);
	if (was & enabled)
		fuzz_note_timer(sh, n, was, id);
}

/* Reserved bits are #GP for the guest. What user space restores is in shadow.c (D33). */
static bool reserved(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	int row = fuzz_find_msr((u32)o->w[0]);

	if (o->kind != FUZZ_WRMSR || row < 0 || !(o->w[1] & fuzz_msr_row((u32)row)->reserved) ||
	    !fuzz_msr_row((u32)row)->restore_any || d->what != FUZZ_OF_VECTOR || d->a ||
	    d->b >> 32 != GP)
		return false;
	*id = fuzz_is_config((u32)o->w[0]) ? "D18" : "D13";
	note_refused(sh, o, *id);
	return true;
}

/* Direct mode with a vector that there is not; SINT 0. */
static bool d18(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 vector = o->w[1] >> 4 & 0xff, msr = register_of(o, d);

	if (o->kind == FUZZ_WRMSR && fuzz_is_config((u32)o->w[0]) && d->what == FUZZ_OF_VECTOR &&
	    !d->a && d->b >> 32 == GP && (o->w[1] & HV_STIMER_DIRECT) && vector < 16 &&
	    (vector || (o->w[1] & enabled))) {
		note_refused(sh, o, "D18");
		return true;
	}
	/* Disabled here, but not by stock: the rest of the value is the same. */
	return is_value(o, d) && fuzz_is_config(msr) && (d->a ^ d->b) == HV_STIMER_ENABLE &&
	       !(d->b & (HV_STIMER_ENABLE | HV_STIMER_DIRECT)) && !(d->b >> 16 & 15);
}

/* What may have raised this vector on this side, and the like below: its number, else -1. */
static int raiser(const struct fuzz_shadow *sh, u32 side, u32 vector)
{
	int n;

	for (n = 0; n < FUZZ_RAISES; n++) {
		const struct fuzz_raise *r = &sh->raises[n];

		if (r->id && (r->sides >> side & 1) &&
		    (r->vectors[vector / 64 % 4] >> vector % 64 & 1))
			return n;
	}
	return -1;
}

/* What may have raised, on one side, an interrupt that blocks @vector until its EOI; else -1. */
static int blocker(const struct fuzz_shadow *sh, u32 vector)
{
	u32 side, above;

	for (side = 0; side < 2; side++)
		for (above = vector & 0xf0; above < 256; above++)
			if (raiser(sh, side, above) >= 0)
				return raiser(sh, side, above);
	return -1;
}

static int timer_of_sint(const struct fuzz_shadow *sh, u32 sint)
{
	int n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		if (sh->raises[n].id && (sh->raises[n].sints >> sint % HV_SYNIC_SINTS & 1))
			return n;
	return -1;
}

/* The timer that this side has disabled, because it has expired. */
static int timer_of_config(const struct fuzz_shadow *sh, u32 side, u32 msr)
{
	u32 n = (msr - HV_X64_MSR_STIMER0_CONFIG) / 2;

	return fuzz_is_config(msr) && sh->raises[n].id && (sh->raises[n].sides >> side & 1) ?
		       (int)n :
		       -1;
}

/* The highest interrupt that was taken and may have come to one of them only; 0: none. */
static u32 taken_alone(const struct fuzz_shadow *sh, int *n)
{
	u32 side, i, top = 0;

	for (side = 0; side < 2; side++) {
		for (i = 0; i < sh->out[side].irqs; i++) {
			u8 vector = sh->out[side].taken[i];
			int alone = raiser(sh, side, vector);

			if (alone < 0 || vector < top)
				continue;
			*n = alone;
			top = vector;
		}
	}
	return top;
}

/* Interrupts that were taken, but for those, and for what @top blocks until its EOI. */
static u32 taken_by_both(const struct fuzz_shadow *sh, u32 side, u8 *taken, u32 top)
{
	const struct fuzz_out *out = &sh->out[side];
	u32 i, nr = 0;

	for (i = 0; i < out->irqs; i++)
		if (raiser(sh, side, out->taken[i]) < 0 && out->taken[i] >> 4 > top >> 4)
			taken[nr++] = out->taken[i];
	return nr;
}

/* Do they differ by interrupts only that may come to one of them? */
static int took_alone(const struct fuzz_shadow *sh)
{
	u8 taken[2][FUZZ_TAKEN];
	u32 nr[2], side, top;
	int n = -1;

	if (sh->out[0].irqs > FUZZ_TAKEN || sh->out[1].irqs > FUZZ_TAKEN)
		return -1;
	top = taken_alone(sh, &n);
	for (side = 0; side < 2; side++)
		nr[side] = taken_by_both(sh, side, taken[side], top);
	return nr[0] == nr[1] && !memcmp(taken[0], taken[1], nr[0]) ? n : -1;
}

/* Does a register of the APIC differ in the bits of such vectors only? */
static int apic_alone(const struct fuzz_shadow *sh, u32 reg, u64 a, u64 b)
{
	int n = -1;
	u32 i;

	if (reg < APIC_ISR || reg >= APIC_ISR + 3 * 0x80)
		return -1;
	for (i = 0; i < 32; i++) {
		if (!((a ^ b) >> i & 1))
			continue;
		n = raiser(sh, b >> i & 1, (reg % 0x80) / 16 * 32 + i);
		if (n < 0)
			return -1;
	}
	return n;
}

/* Is this a message of a timer, or none; or what lies over the page? */
static bool is_timer_message(const struct fuzz_shadow *sh, int page, u64 word)
{
	return !(u32)word || (u32)word == HV_MSG_TIMER_EXPIRED ||
	       (page >= 0 && (sh->role[page] & ~FUZZ_AS_SIMP));
}

/* Has one of them set MessagePending of the same message, because a timer's waits? */
static bool is_pending_alone(const struct fuzz_difference *d)
{
	const u32 flags = offsetof(struct hv_message, flags);

	return (d->a ^ d->b) == (u64)HV_MSG_PENDING << 8 * flags;
}

/* What has left this behind in one of them. */
static int by_which(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	u32 offset;
	int page;

	if (d->what == FUZZ_OF_IRQS)
		return took_alone(sh);
	/* User space may be asked for each EOI. */
	if (d->what == FUZZ_OF_EXITS && d->index == ~0u && !d->offset &&
	    sh->out[0].nr_exits - sh->out[1].nr_exits == sh->out[0].irqs - sh->out[1].irqs)
		return took_alone(sh);
	if (d->what == FUZZ_OF_APIC)
		return apic_alone(sh, d->index, d->a, d->b);
	if (is_value(o, d))
		return (d->a ^ d->b) == HV_STIMER_ENABLE ?
			       timer_of_config(sh, d->a & HV_STIMER_ENABLE, register_of(o, d)) :
			       -1;
	page = page_word(sh, o, d, &offset);
	if (page >= 0)
		return (sh->role[page] & FUZZ_AS_SIMP) &&
				       (offset % 256 || is_timer_message(sh, page, d->b) ||
					is_pending_alone(d)) ?
			       timer_of_sint(sh, offset / 256) :
			       -1;
	if (d->what != FUZZ_OF_RESULT || d->index)
		return -1;
	if (o->kind == FUZZ_APIC)
		return apic_alone(sh, (u32)o->w[1], d->a, d->b);
	page = fuzz_page_at(sh->f[0], fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP) & ~(PAGE_SIZE - 1));
	if (o->kind == FUZZ_TAKE)
		return is_timer_message(sh, page, d->b) ? timer_of_sint(sh, (u32)o->w[0]) : -1;
	/* It counts interrupts of its vector, whoever has raised them. */
	if (o->kind != FUZZ_TIMER)
		return -1;
	return blocker(sh, (u32)o->w[3]);
}

static bool by_one(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		   const char **id)
{
	int n = by_which(sh, o, d);

	if (n < 0)
		return false;
	*id = sh->raises[n].id;
	return true;
}

/*
 * A SINT that is polled or has no vector, or of a SynIC that is disabled, raises no interrupt.
 * Stock does, and tells KVM_IRQ_LINE_STATUS so.
 */
static bool d16(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 sint = sh->sint[o->w[0] % FUZZ_EVENTFDS];
	u64 value = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SINT(sint % HV_SYNIC_SINTS));

	if ((o->kind != FUZZ_IRQ && o->kind != FUZZ_KICK) || sint >= HV_SYNIC_SINTS ||
	    ((fuzz_shadow_msr(sh, 1, HV_X64_MSR_SCONTROL) & 1) && !(value & HV_SINT_POLLING) &&
	     (value & 0xff)))
		return false;
	if (d->what == FUZZ_OF_RET)
		return o->kind == FUZZ_IRQ && (s64)d->a >= 0 && (s64)d->b == -1;
	return d->what == FUZZ_OF_APIC && d->index >= APIC_IRR && d->index < APIC_IRR + 0x80 &&
	       d->index == APIC_IRR + (value & 0xff) / 32 * 16 &&
	       (d->a ^ d->b) == BIT64(value % 32) && (d->a & BIT64(value % 32));
}

/* What the module has to write to its page @page beside another rate of the TSC. */
static bool is_page_of_rate(const struct fuzz_shadow *sh, u32 page, u32 offset, u64 word)
{
	u32 sequence = *(u32 *)(sh->f[1]->pages + page * PAGE_SIZE);

	/* A TSC that KVM makes catch up has no page. */
	if (offset == 0)
		return !!(u32)word == fuzz_scales_tsc(sh);
	/* One that is frozen has the rate of before, or of what has been restored since. */
	return offset != 8 || !sequence || is_tsc_scale(word, sh->hz, 1000) ||
	       (fuzz_tsc_is_frozen(sh) &&
		is_tsc_scale(word, fuzz_shadow_msr(sh, 1, HV_X64_MSR_TSC_FREQUENCY), 1000));
}

/*
 * The clock's page where the TSC has another rate: that of stock does not follow. That of the
 * module is one clock with the register.
 */
static bool d48(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	int page, named = tsc_page(sh);
	u32 offset;

	if (!sh->rate)
		return false;
	page = page_word(sh, o, d, &offset);
	if (page >= 0)
		return (sh->tsc[page] & FUZZ_TSC_RATED) && offset < FUZZ_TSC_PAGE_SIZE &&
		       (page != named || fuzz_tsc_is_foreign(sh) ||
			is_page_of_rate(sh, (u32)page, offset, d->b));
	if (o->kind != FUZZ_TIME || d->what != FUZZ_OF_RESULT)
		return false;
	if (fuzz_tsc_is_foreign(sh))
		return is_time_by_page(d->b);
	return d->b ==
	       (named < 0 || !fuzz_scales_tsc(sh) ? FUZZ_TIME_BY_REGISTER : FUZZ_TIME_BY_PAGE);
}

/* With a page the time of stock takes the step of the TSC that the guest sets. */
static bool d48_tsc(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	return o->kind == FUZZ_TSC && d->what == FUZZ_OF_RESULT && d->a == FUZZ_TIME_BACK &&
	       d->b == FUZZ_TIME_BY_REGISTER &&
	       (fuzz_shadow_msr(sh, 0, HV_X64_MSR_REFERENCE_TSC) & 1);
}

/* A guest does not set the TSC while the page is frozen: that of stock alone, by a reserved bit. */
static bool d13_tsc(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	const u32 msr = HV_X64_MSR_TSC_EMULATION_CONTROL;

	return o->kind == FUZZ_TSC && d->what == FUZZ_OF_RESULT &&
	       (fuzz_shadow_msr(sh, 0, msr) & 1) != (fuzz_shadow_msr(sh, 1, msr) & 1);
}

/* The module has written its page alone, with what follows from its clock. */
static bool writes_page(struct fuzz_shadow *sh, const struct fuzz_op *o,
			const struct fuzz_difference *d)
{
	u32 offset;
	int page = page_word(sh, o, d, &offset);

	return page >= 0 && (sh->tsc[page] & FUZZ_TSC_ALONE) && offset < FUZZ_TSC_PAGE_SIZE &&
	       (offset != 8 || is_tsc_scale(d->b, sh->hz, ANY_RATE));
}

/* The page of stock stays as it is, by a reserved bit that the module refuses. */
static bool d13_page(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	const u32 msr = HV_X64_MSR_TSC_EMULATION_CONTROL;

	if (writes_page(sh, o, d))
		return true;
	return fuzz_shadow_msr(sh, 0, msr) && !fuzz_shadow_msr(sh, 1, msr) && tsc_page(sh) >= 0 &&
	       o->kind == FUZZ_TIME && d->what == FUZZ_OF_RESULT && is_time_by_page(d->b) &&
	       (fuzz_tsc_is_foreign(sh) || d->b != FUZZ_TIME_TWO_CLOCKS);
}

/* The page follows KVM's clock once the guest lets go of it (K50); that of stock stays as it is. */
static bool d13_let_go(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_difference *d)
{
	u32 offset;
	int page;

	if (!sh->let_go)
		return false;
	page = page_word(sh, o, d, &offset);
	if (page >= 0)
		return page == (int)sh->let_go - 1 &&
		       (offset ? offset == 8 && is_tsc_scale(d->b, sh->hz, ANY_RATE) : !!(u32)d->b);
	return o->kind == FUZZ_TIME && d->what == FUZZ_OF_RESULT && d->b == FUZZ_TIME_BY_PAGE &&
	       tsc_page(sh) == (int)sh->let_go - 1;
}

/* What user space restored as a frozen page is the clock of stock, code as well. */
static bool d13_restored(struct fuzz_shadow *sh, const struct fuzz_op *o,
			 const struct fuzz_difference *d)
{
	if (!sh->restored_tsc || d->what != FUZZ_OF_RESULT)
		return false;
	if (o->kind == FUZZ_TIMER)
		return (d->b & 15) == FUZZ_TIMER_ONE;
	if (o->kind == FUZZ_TSC)
		return d->b == FUZZ_TIME_BY_REGISTER || (d->b == FUZZ_TIME_BACK && sh->steps[1]);
	return o->kind == FUZZ_TIME && (d->b == FUZZ_TIME_BY_PAGE || d->b == FUZZ_TIME_BY_REGISTER);
}

/* The reenlightenment interrupt, which stock does not send (K13). */
static bool d13_told(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	u32 word = sh->told / 32 * 16;

	(void)o;
	if (!sh->told)
		return false;
	if (d->what == FUZZ_OF_IRQS)
		return sh->out[1].irqs > sh->out[0].irqs;
	return d->what == FUZZ_OF_APIC &&
	       (d->index == APIC_IRR + word || d->index == APIC_ISR + word) &&
	       (d->a ^ d->b) == BIT64(sh->told % 32) && (d->b & BIT64(sh->told % 32));
}

/* It comes before one that stock takes, of which nothing is known then. */
static bool d13_first(struct fuzz_shadow *sh, const struct fuzz_op *o,
		      const struct fuzz_difference *d)
{
	(void)o;
	return sh->told && d->what == FUZZ_OF_IRQS && sh->out[1].irqs == sh->out[0].irqs &&
	       (sh->out[1].vectors & 0xff) == sh->told;
}

/*
 * The rate of a frozen page is kept after a restore, where the host can scale the TSC: registers
 * and page tell of it, and the TSC of stock runs at another one.
 */
static bool d69(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 offset, msr = register_of(o, d);
	int page;

	if (!sh->rate_kept)
		return false;
	if (msr == HV_X64_MSR_TSC_EMULATION_STATUS || msr == HV_X64_MSR_TSC_FREQUENCY)
		return !sh->rate_over;
	page = page_word(sh, o, d, &offset);
	if (page >= 0)
		return page == tsc_page(sh) && offset < FUZZ_TSC_PAGE_SIZE;
	return d->what == FUZZ_OF_RESULT &&
	       (o->kind == FUZZ_TIME || o->kind == FUZZ_TSC || o->kind == FUZZ_TIMER);
}

/* A clock that stands still, for its scale is 0: the guest waits for a timer without an end. */
static bool d13_still(struct fuzz_shadow *sh, const struct fuzz_op *o,
		      const struct fuzz_difference *d)
{
	int page = tsc_page(sh);

	return sh->restored_tsc && o->kind == FUZZ_TIMER && d->what == FUZZ_OF_EXITS && page >= 0 &&
	       !*(u64 *)(sh->f[1]->pages + (u32)page * PAGE_SIZE + 8) &&
	       sh->out[1].nr_exits == sh->out[0].nr_exits + 1 &&
	       last_exit(&sh->out[1])->reason == FUZZ_RUN_FAILED + EINTR;
}

/* The bits of rows that are not in tlfs.c, in a leaf: EAX and EBX, or ECX and EDX. */
static u64 new_bits_of(const struct fuzz_row *row, u32 leaf, u32 half)
{
	u64 bits = 0;
	u32 i;

	for (i = 0; row->is_new && i < row->nr_needs; i++) {
		if (row->needs[i].leaf == leaf && row->needs[i].reg / 2 == half)
			bits |= BIT64(row->needs[i].reg % 2 * 32 + row->needs[i].bit);
	}
	return bits;
}

static u64 new_bits(u32 leaf, u32 half)
{
	u64 bits = 0;
	u32 i;

	for (i = 0; i < fuzz_nr_msr_rows; i++)
		bits |= new_bits_of(fuzz_msr_row(i), leaf, half);
	for (i = 0; i < fuzz_nr_call_rows; i++)
		bits |= new_bits_of(fuzz_call_row(i), leaf, half);
	return bits;
}

/* A prototype's row, which stock does not have. */
static bool new_row(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d, const char **id)
{
	int row = fuzz_find_msr(register_of(o, d));
	struct fuzz_call c;

	(void)sh;
	*id = "new row";
	if (row >= 0 && fuzz_msr_row((u32)row)->is_new)
		return true;
	return fuzz_look_at_call(o, &c) && c.row && c.row->is_new;
}

/* The module may answer an L2's call of such a row, which stock gives to L1. */
static bool new_exit(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	struct fuzz_call c;
	u32 i;

	(void)o;
	*id = "new row";
	for (i = 0; d->what == FUZZ_OF_NESTED && i <= d->at; i++) {
		const struct fuzz_op *op = &sh->s->ops[i];

		if (fuzz_in_l2(sh, op) && fuzz_look_at_call(op, &c) && c.row && c.row->is_new)
			return true;
	}
	return false;
}

/* The bits of CPUID that only the module offers. */
static bool offers(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		   const char **id)
{
	u64 more = d->a ^ d->b;

	(void)sh;
	if (o->kind != FUZZ_OFFERED || d->what != FUZZ_OF_RESULT || (d->a & more))
		return false;
	*id = "new row";
	more &= ~new_bits((u32)o->w[0], d->index);
	if (!more)
		return true;
	*id = "D61";
	if (o->w[0] == HV_LEAF_FEATURES && !d->index)
		return more == BIT64(10);
	/* The Locked bit, of D2, and that there is the register of D61. */
	*id = "D2";
	if (o->w[0] == HV_LEAF_FEATURES && d->index == 1)
		return more == (BIT64(32 + 18) | BIT64(32 + 5));
	*id = "D37";
	return o->w[0] == HV_LEAF_NESTED && !d->index &&
	       !(more & ~(BIT64(18) | BIT64(22) | BIT64(32)));
}

static bool d32(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	return d->what == FUZZ_OF_EXITS && d->index == 2 && d->b == sh->shown_status &&
	       o->kind == FUZZ_WRMSR &&
	       (o->w[0] == HV_X64_MSR_SYNDBG_CONTROL ||
		o->w[0] == HV_X64_MSR_SYNDBG_PENDING_BUFFER);
}

/* The upper half of ICR in xAPIC mode is ICR2, with its eight bits. */
static bool d52(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (sh->s->setup.x2apic)
		return false;
	if (is_value(o, d) && register_of(o, d) == HV_X64_MSR_ICR)
		return !(u32)(d->a ^ d->b) && d->a >> 32 == sh->icr[0] && d->b >> 32 == sh->icr2[1];
	return ((d->what == FUZZ_OF_APIC && d->index == APIC_ICR2) ||
		(d->what == FUZZ_OF_RESULT && o->kind == FUZZ_APIC && o->w[1] == APIC_ICR2)) &&
	       d->a == sh->icr2[0] && d->b == sh->icr2[1];
}

/* The GSI whose resamplefd the difference is about; else -1. */
static int told_gsi(const struct fuzz_difference *d)
{
	u32 gsi = d->index - FUZZ_EVENTFDS;

	return d->what == FUZZ_OF_EVENTS && gsi < FUZZ_EVENTFDS ? (int)gsi : -1;
}

/* Does this side tell the GSI of the end of a SINT's interrupt that the other side does not? */
static bool tells_alone(const struct fuzz_shadow *sh, u32 side, int gsi)
{
	u32 i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		if (sh->gsi[side][i] == gsi + 1 && sh->gsi[!side][i] != gsi + 1)
			return true;
	return false;
}

/* How much more stock has told this GSI since the last look; the numbers are of the stream. */
static s64 told_more(const struct fuzz_shadow *sh, const struct fuzz_difference *d, int gsi)
{
	return (s64)(d->a - d->b) - sh->gap[gsi];
}

static bool is_told(struct fuzz_shadow *sh, const struct fuzz_difference *d, int gsi, bool known)
{
	if (known)
		sh->gap[gsi] = (s64)(d->a - d->b);
	return known;
}

/* Stock tells a resamplefd of a SINT whose route to its GSI is gone, too. */
static bool d55(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	int gsi = told_gsi(d);
	s64 more = gsi < 0 ? 0 : told_more(sh, d, gsi);

	(void)o;
	return gsi >= 0 && is_told(sh, d, gsi, !more || (more > 0 && tells_alone(sh, 0, gsi)));
}

/*
 * The end of another's interrupt, of a direct timer say, with the vector of a SINT that is polled:
 * the SINT has none here, so that nobody is told.
 */
static bool d16_told(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	int gsi = told_gsi(d);

	(void)o;
	return gsi >= 0 && sh->sint[gsi] < HV_SYNIC_SINTS &&
	       is_told(sh, d, gsi,
		       told_more(sh, d, gsi) > 0 &&
			       (fuzz_shadow_msr(sh, 1, HV_X64_MSR_SINT(sh->sint[gsi])) &
				HV_SINT_POLLING));
}

/* The GSI whose resamplefd the module has told of more EOIs; else -1. */
static int told_alone(const struct fuzz_shadow *sh, const struct fuzz_difference *d)
{
	int gsi = told_gsi(d);

	return gsi >= 0 && told_more(sh, d, gsi) < 0 ? gsi : -1;
}

/* A route to a SynIC enabled later, or to a VP that gets the index later: stock forgot it. */
static bool d60(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	int gsi = told_alone(sh, d);

	(void)o;
	return gsi >= 0 && is_told(sh, d, gsi, sh->synic && tells_alone(sh, 1, gsi));
}

/* A polled SINT with AutoEOI, on whose vector there is another: stock ends that one's interrupt. */
static bool d16_eoi(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	int gsi = told_alone(sh, d);

	(void)o;
	return gsi >= 0 && sh->sint[gsi] < HV_SYNIC_SINTS &&
	       is_told(sh, d, gsi, sh->twins >> sh->sint[gsi] & 1);
}

/* Is this the vector of a polled SINT with AutoEOI, or was it? What is in service may be older. */
static bool is_polled_auto(const struct fuzz_shadow *sh, u32 vector)
{
	return sh->polled_auto[vector / 64] >> vector % 64 & 1;
}

/* Is there such a vector from @vector on? */
static bool is_polled_auto_from(const struct fuzz_shadow *sh, u32 vector)
{
	while (vector < 256 && !is_polled_auto(sh, vector))
		vector++;
	return vector < 256;
}

/*
 * The guest may end an interrupt on such a vector by the VP assist page, in whose first byte KVM
 * says so; stock has ended it already.
 */
static bool d16_assist(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_difference *d)
{
	u64 assist = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);
	u32 offset;
	int page = page_word(sh, o, d, &offset);

	if (page < 0 || offset || (d->a ^ d->b) > 0xff || !(assist & ASSIST_ENABLE) ||
	    page != fuzz_page_at(sh->f[1], assist & ~(PAGE_SIZE - 1)))
		return false;
	return is_polled_auto_from(sh, 16);
}

/*
 * On such a vector, another interrupt is in service here until its EOI; stock has ended it, and so
 * takes those that it holds back, and an EOI ends one of these.
 */
static bool d16_served(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_difference *d)
{
	const struct fuzz_out *a = &sh->out[0], *b = &sh->out[1];
	u32 reg = d->what == FUZZ_OF_APIC ? d->index : (u32)o->w[1], i;

	/* User space may be asked for each EOI. */
	if (d->what == FUZZ_OF_IRQS ||
	    (d->what == FUZZ_OF_EXITS && d->index == ~0u && !d->offset)) {
		if (!b->irqs || b->irqs > a->irqs || a->irqs > FUZZ_TAKEN ||
		    memcmp(a->taken, b->taken, b->irqs) ||
		    (d->what == FUZZ_OF_EXITS && a->nr_exits - b->nr_exits != a->irqs - b->irqs))
			return false;
		for (i = 0; i < b->irqs; i++)
			if (is_polled_auto(sh, b->taken[i]))
				return true;
		return false;
	}
	/* Stock takes the timer's interrupts that the module holds back. */
	if (d->what == FUZZ_OF_RESULT && o->kind == FUZZ_TIMER)
		return !((d->a | d->b) & FUZZ_TIMER_EARLY) && d->a > d->b &&
		       is_polled_auto_from(sh, (u32)o->w[3] & 0xf0);
	if ((d->what != FUZZ_OF_APIC && (d->what != FUZZ_OF_RESULT || o->kind != FUZZ_APIC)) ||
	    reg < APIC_ISR || reg >= APIC_ISR + 0x80)
		return false;
	for (i = 0; i < 32; i++)
		if ((d->a ^ d->b) >> i & 1 &&
		    (!(d->b >> i & 1) || !is_polled_auto_from(sh, (reg - APIC_ISR) / 16 * 32 + i)))
			return false;
	return true;
}

/* --- calls --------------------------------------------------------------- */

/* Has only one of them sent an IPI? */
static bool sends_alone(const struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	return o->kind == FUZZ_CALL && fuzz_is_ipi(o->w[1] & 0xffff) &&
	       !FUZZ_STATUS(sh->out[0].result) != !FUZZ_STATUS(sh->out[1].result);
}

/*
 * The module refuses the call with this status, and does nothing else; of the list no rep is done.
 * The difference is that stock does something else.
 */
static bool refuses(const struct fuzz_shadow *sh, const struct fuzz_difference *d,
		    const struct fuzz_call *c, u32 status)
{
	const struct fuzz_out *b = &sh->out[1];

	if (d->what != FUZZ_OF_RESULT && d->what != FUZZ_OF_EXITS)
		return false;
	return !b->vector && !fuzz_asks_user(b) && FUZZ_STATUS(b->result) == status && status &&
	       (b->result == status || b->result == (status | (u64)c->start << 32));
}

static bool d29(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	return fuzz_look_at_call(o, &c) && c.row && c.code != HVCALL_POST_MESSAGE &&
	       c.code != HVCALL_SIGNAL_EVENT && refuses(sh, d, &c, fuzz_form_status(o, &c));
}

static bool d27(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	if (!fuzz_look_at_call(o, &c) || !fuzz_is_flush(c.code))
		return false;
	if (refuses(sh, d, &c, fuzz_flush_status(sh, &c)))
		return true;
	/* A list that starts in its middle is none to stock; nor are its first reps done. */
	return c.start && c.row->rep && d->what == FUZZ_OF_RESULT &&
	       FUZZ_STATUS(d->a) == HV_STATUS_INVALID_HYPERCALL_INPUT &&
	       (d->b == (HV_STATUS_SUCCESS | (u64)c.reps << 32) ||
		d->b == (HV_STATUS_INVALID_HYPERCALL_INPUT | (u64)c.start << 32));
}

static bool d28(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	return fuzz_look_at_call(o, &c) && refuses(sh, d, &c, fuzz_vp_set_status(&c));
}

static bool d26(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	return fuzz_look_at_call(o, &c) && refuses(sh, d, &c, fuzz_ipi_status(&c));
}

/*
 * What of a message is wrong; stock hands it to user space, or sees first that there is no SynIC.
 */
static bool d14(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;
	u32 status;

	if (!fuzz_look_at_call(o, &c) || c.code != HVCALL_POST_MESSAGE)
		return false;
	status = fuzz_form_status(o, &c);
	if (!fuzz_asks_user(&sh->out[0]))
		return !sh->synic &&
		       FUZZ_STATUS(sh->out[0].result) == HV_STATUS_INVALID_HYPERCALL_INPUT &&
		       refuses(sh, d, &c, status);
	return refuses(sh, d, &c, status ? status : fuzz_message_status(&c));
}

static bool d15(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	if (!fuzz_look_at_call(o, &c) || c.code != HVCALL_SIGNAL_EVENT)
		return false;
	if (!fuzz_is_readable(o, &c))
		return FUZZ_STATUS(sh->out[0].result) == HV_STATUS_INVALID_ALIGNMENT &&
		       refuses(sh, d, &c, HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* Reserved bits beside a flag number. */
	return (c.w[0] & FUZZ_SIGNAL_FLAG) && fuzz_asks_user(&sh->out[0]) &&
	       refuses(sh, d, &c, fuzz_signal_status(&c));
}

/* The exit has the fast form here; the rest of it is the same. */
static bool d15_form(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	struct fuzz_call c;

	(void)sh;
	return fuzz_look_at_call(o, &c) && c.code == HVCALL_SIGNAL_EVENT &&
	       d->what == FUZZ_OF_EXITS && !d->index && !c.fast && d->b == (d->a | HV_CTL_FAST);
}

static bool d24(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;
	u32 status = FUZZ_STATUS(d->b);

	(void)sh;
	return fuzz_look_at_call(o, &c) && c.code == 0x8001 && d->what == FUZZ_OF_RESULT &&
	       o->answer == HV_STATUS_INVALID_HYPERCALL_CODE &&
	       d->a == HV_STATUS_INVALID_HYPERCALL_CODE && d->b == status &&
	       (status == HV_STATUS_SUCCESS || status == HV_STATUS_INVALID_ALIGNMENT ||
		status == HV_STATUS_INVALID_HYPERCALL_INPUT);
}

static bool d37(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	/* No call to stock, so it looks at neither form nor privilege. */
	if (!fuzz_look_at_call(o, &c) || !fuzz_is_gpa_flush(c.code) || d->what != FUZZ_OF_RESULT)
		return false;
	if (sh->enforce && FUZZ_STATUS(d->b) == HV_STATUS_ACCESS_DENIED)
		return true;
	if (FUZZ_STATUS(d->a) != HV_STATUS_INVALID_HYPERCALL_CODE)
		return false;
	return d->b == (u64)c.reps << 32 || refuses(sh, d, &c, fuzz_form_status(o, &c)) ||
	       refuses(sh, d, &c, fuzz_gpa_flush_status(&c));
}

static bool d11(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	return host_is_6_1() && fuzz_look_at_call(o, &c) && c.code >= 0x8001 && c.row &&
	       (d->what == FUZZ_OF_RESULT || d->what == FUZZ_OF_EXITS) && !sh->out[0].nr_exits &&
	       FUZZ_STATUS(sh->out[0].result) == HV_STATUS_INVALID_HYPERCALL_CODE;
}

static bool d7(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return host_is_6_1() && register_of(o, d) == HV_X64_MSR_TSC_INVARIANT_CONTROL;
}

/* Stock has no such register. */
static bool d61(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return register_of(o, d) == HV_X64_MSR_GUEST_IDLE;
}

static bool d70(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 msr = register_of(o, d);

	(void)sh;
	return msr == HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG ||
	       msr == HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT;
}

static bool d64(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return o->kind == FUZZ_EVENTFD && o->w[1] == FUZZ_EOM_EVENT && d->what == FUZZ_OF_RET;
}

/* --- L2 ------------------------------------------------------------------ */

/* A post of L2 that is marked for L0: stock has L1 answer it, whatever L1 permits. */
static bool d62(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u64 assist = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);
	int page = fuzz_page_at(sh->f[1], assist & ~(PAGE_SIZE - 1));
	struct fuzz_call c;

	(void)d;
	return fuzz_in_l2(sh, o) && fuzz_look_at_call(o, &c) && (o->w[1] & HV_CTL_NESTED) &&
	       (c.code == HVCALL_POST_MESSAGE || c.code == HVCALL_SIGNAL_EVENT) &&
	       (assist & ASSIST_ENABLE) && page >= 0 &&
	       (sh->f[1]->pages[(u32)page * PAGE_SIZE + ASSIST_CALLS] & 1) &&
	       fuzz_is_reflected(&sh->out[0]) && !fuzz_is_reflected(&sh->out[1]);
}

/* Flush calls of an L2: 6.1 has L1 answer them all; without an identity they are KVM's to stock. */
static bool d35(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	const struct fuzz_out *a = &sh->out[0], *b = &sh->out[1];
	struct fuzz_call c;

	(void)d;
	if (!fuzz_in_l2(sh, o) || !fuzz_look_at_call(o, &c) || !fuzz_is_flush(c.code))
		return false;
	if (host_is_6_1() && fuzz_is_reflected(a) && !fuzz_is_reflected(b))
		return true;
	return a->result == FUZZ_NO_CALL && fuzz_is_reflected(b) &&
	       !fuzz_shadow_msr(sh, 1, HV_X64_MSR_GUEST_OS_ID);
}

/* User space has restored L2: stock on Intel forgets of whom, until L1 enters it again. */
static bool n1(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	const struct fuzz_out *a = &sh->out[0], *b = &sh->out[1];
	u64 assist = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);
	int page = fuzz_page_at(sh->f[1], assist & ~(PAGE_SIZE - 1));
	struct fuzz_call c;

	/* L1 must allow it. */
	if (sh->s->setup.nested != FUZZ_L1 || !(assist & ASSIST_ENABLE) || page < 0 ||
	    !sh->f[1]->nested->direct || !sh->f[1]->pages[(u32)page * PAGE_SIZE + ASSIST_DIRECT])
		return false;
	return d->what == FUZZ_OF_RESULT && sh->restored_l2 && !host_is_amd() &&
	       fuzz_in_l2(sh, o) && fuzz_look_at_call(o, &c) && fuzz_is_flush(c.code) &&
	       FUZZ_STATUS(b->result) == HV_STATUS_SUCCESS &&
	       (fuzz_is_reflected(a) ||
		FUZZ_STATUS(a->result) == HV_STATUS_INVALID_HYPERCALL_INPUT);
}

/* L1 runs while an interrupt waits in L2; the module's fault alone made KVM look for it anew. */
static bool n9(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct kvm_lapic_state apic;
	u32 vector, irr;

	(void)o;
	if (d->what != FUZZ_OF_IRQS || sh->s->setup.nested != FUZZ_L1 || host_is_amd() ||
	    !sh->faulted_in_l1 || sh->out[0].irqs >= sh->out[1].irqs)
		return false;
	vector = sh->out[1].vectors & 0xff;
	vcpu_ioctl(sh->f[0]->v, KVM_GET_LAPIC, &apic);
	memcpy(&irr, apic.regs + APIC_IRR + vector / 32 * 16, sizeof(irr));
	return irr >> vector % 32 & 1;
}

/*
 * The VP assist page is disabled, or user space has enabled another since, and so allows nothing;
 * stock goes by what it did.
 */
static bool n8(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct fuzz_call c;

	(void)d;
	return fuzz_in_l2(sh, o) && fuzz_look_at_call(o, &c) && fuzz_is_flush(c.code) &&
	       !fuzz_is_reflected(&sh->out[0]) && fuzz_is_reflected(&sh->out[1]) &&
	       (sh->assist_set ||
		!(fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE) & ASSIST_ENABLE));
}

/* Is the code at the VP assist page, or has it left there what stock has not? */
static bool assist_is_code(const struct fuzz_shadow *sh, u32 at)
{
	u64 assist = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);
	int page = fuzz_page_at(sh->f[0], assist & ~(PAGE_SIZE - 1));

	return (assist & ASSIST_ENABLE) && page >= 0 &&
	       (fuzz_is_code(sh, assist) ||
		(sh->left[page] &&
		 sh->f[1]->pages[(u32)page * PAGE_SIZE + at] == (u8)FUZZ_CODE_FILL));
}

/* The VP assist page is the hypercall page, too, whose code allows nothing here. */
static bool d1_direct(struct fuzz_shadow *sh, const struct fuzz_op *o,
		      const struct fuzz_difference *d)
{
	struct fuzz_call c;

	(void)d;
	return fuzz_in_l2(sh, o) && fuzz_look_at_call(o, &c) && fuzz_is_flush(c.code) &&
	       !fuzz_is_reflected(&sh->out[0]) && fuzz_is_reflected(&sh->out[1]) &&
	       assist_is_code(sh, ASSIST_DIRECT);
}

/* Is this page in memory that the guest may not write? */
static bool is_read_only(const struct fuzz_shadow *sh, u64 at)
{
	int page = fuzz_page_at(sh->f[0], at & ~(PAGE_SIZE - 1));

	return page >= 0 && (u32)page < FUZZ_SLOTS * FUZZ_SLOT_PAGES &&
	       sh->f[0]->slot_readonly[(u32)page / FUZZ_SLOT_PAGES];
}

/*
 * An L1 whose VP assist page is in read-only memory gets into L2 here. On stock KVM_RUN fails,
 * within the operation, or on Intel the entry, of which L1 tells before it ends.
 */
static bool d36_read(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	u64 page = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);
	const struct fuzz_exit *last = last_exit(&sh->out[0]);

	(void)o;
	return sh->s->setup.nested &&
	       (d->what == FUZZ_OF_VECTOR || d->what == FUZZ_OF_RESULT ||
		d->what == FUZZ_OF_EXITS) &&
	       sh->out[0].nr_exits == sh->out[1].nr_exits + 1 && (page & ASSIST_ENABLE) &&
	       is_read_only(sh, page) &&
	       (last->reason == FUZZ_RUN_FAILED + EFAULT ||
		(last->reason == FUZZ_FAULTED && sh->f[0]->nested->failure == VMX_FAIL_INVALID));
}

/*
 * The same page names the enlightened VMCS: code is the address of none, and L1 gets a #UD for its
 * VMRESUME, of which it tells before it ends, and before what it has done for L2 comes back.
 */
static bool d1_evmcs(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	(void)o;
	return sh->s->setup.nested == FUZZ_L1 && !host_is_amd() &&
	       (d->what == FUZZ_OF_EXITS ||
		((d->what == FUZZ_OF_VECTOR || d->what == FUZZ_OF_RESULT) && !d->b)) &&
	       sh->out[1].nr_exits == sh->out[0].nr_exits + 1 &&
	       last_exit(&sh->out[1])->reason == FUZZ_FAULTED && sh->f[1]->nested->failure == UD &&
	       assist_is_code(sh, ASSIST_VMCS);
}

/*
 * VMRUN with a VP assist page that is not in memory: KVM_RUN of stock fails, and L1 gets a #GP
 * here, of which it tells before it ends. Stock may have handed a call to user space before.
 */
static bool d36(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	const struct fuzz_exit *a = last_exit(&sh->out[0]), *b = last_exit(&sh->out[1]);
	u64 page = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);

	(void)o;
	return sh->s->setup.nested && d->what == FUZZ_OF_EXITS &&
	       sh->out[0].nr_exits >= sh->out[1].nr_exits &&
	       (a->reason == FUZZ_RUN_FAILED + EFAULT || a->reason == KVM_EXIT_INTERNAL_ERROR) &&
	       b->reason == FUZZ_FAULTED && sh->f[1]->nested->failure == GP &&
	       (page & ASSIST_ENABLE) && fuzz_page_at(sh->f[0], page & ~(PAGE_SIZE - 1)) < 0;
}

/* Under APICv stock is not told of the EOI that the guest writes to the APIC itself. */
static bool d39(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	int gsi = told_alone(sh, d);

	(void)o;
	return gsi >= 0 && (u64)-told_more(sh, d, gsi) <= sh->eois &&
	       is_told(sh, d, gsi, host_has_apicv());
}

/* Is APICv inhibited, by AutoEOI? */
static bool has_auto_eoi(const struct fuzz_shadow *sh)
{
	u32 i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		if (fuzz_shadow_msr(sh, 0, HV_X64_MSR_SINT(i)) & HV_SINT_AUTO_EOI)
			return true;
	return false;
}

/* A lower TPR ends the VP of stock, whose threshold stays where it was (K51). */
static bool d42(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)o;
	(void)d;
	return sh->out[0].nr_exits == sh->out[1].nr_exits + 1 &&
	       last_exit(&sh->out[0])->reason == KVM_EXIT_FAIL_ENTRY && sh->s->setup.x2apic &&
	       !host_is_amd() && (has_auto_eoi(sh) || !host_has_apicv());
}

/* Of two interrupts of a timer's vector, another one came before, or after, the timer began. */
static bool ticks_once(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_difference *d)
{
	const struct fuzz_out *a = &sh->out[0], *b = &sh->out[1];
	/* Where the filter keeps the guest from writing COUNT, any is early: is_wrong(). */
	const u64 mask = b->nr_exits ? (u64)FUZZ_TIMER_EARLY : 0;
	u64 began = d->b & ~mask;

	return o->kind == FUZZ_TIMER && d->what == FUZZ_OF_RESULT && !d->index &&
	       (d->a & ~(u64)FUZZ_TIMER_EARLY) >= FUZZ_TIMER_ONE &&
	       (began == FUZZ_TIMER_ONE || began == FUZZ_TIMER_SEVERAL) && a->irqs == b->irqs &&
	       a->vectors == b->vectors;
}

/*
 * The EOI of a timer's vector is told to the resamplefds of the SINTs that have it, too: how often,
 * depends on how many ticks there were before the guest ended them.
 */
static bool ticks_told(const struct fuzz_shadow *sh, const struct fuzz_difference *d)
{
	int gsi = told_gsi(d);
	u32 vector;

	if (gsi < 0 || sh->sint[gsi] >= HV_SYNIC_SINTS || !d->a || !d->b)
		return false;
	vector = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SINT(sh->sint[gsi])) & 0xff;
	return sh->ticks[vector / 64] >> vector % 64 & 1;
}

/*
 * The VP assist page lies on the first message slot: its type is "no EOI required", which KVM takes
 * away at each exit and sets again if it can. An exit that the fast path answers leaves it.
 */
static bool eoi_hint(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	u64 simp = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP),
	    assist = fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_ASSIST_PAGE);

	*id = "EOI hint";
	return o->kind == FUZZ_TAKE && d->what == FUZZ_OF_RESULT && !(o->w[0] % HV_SYNIC_SINTS) &&
	       (simp & assist & 1) && !((simp ^ assist) & ~(PAGE_SIZE - 1)) && (d->a ^ d->b) == 1 &&
	       !(u32)(d->a & d->b);
}

static bool ticks(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		  const char **id)
{
	*id = "ticks";
	return ticks_once(sh, o, d) || ticks_told(sh, d);
}

/*
 * A flush that L2 has asked for ends in L1, for its TLB lock, unless it was refused: by the module,
 * or by stock (N1).
 */
static bool tlb_lock(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	(void)o;
	*id = sh->l2_refused;
	return sh->l2_refused && d->what == FUZZ_OF_NESTED &&
	       (d->a || (!d->index && !strcmp(sh->l2_refused, "N1")));
}

/* --- the table ----------------------------------------------------------- */

static struct {
	const char *id;
	bool (*is)(struct fuzz_shadow *sh, const struct fuzz_op *o,
		   const struct fuzz_difference *d);
	bool cut;
	bool often; /* each run of 50,000 operations sees it, on every host */
	u64 seen, cuts;
} table[] = {
	/* clang-format makes two columns of an even number of rows. */
	/* clang-format off */
	/* First: what differs beside a KVM_RUN that has failed follows from that. */
	{ "D36", d36, true, false, 0, 0 },
	{ "D36", d36_read, true, false, 0, 0 },
	{ "D42", d42, true, false, 0, 0 },
	{ "D1", d1, false, true, 0, 0 },
	{ "D2", d2, false, false, 0, 0 },
	{ "D6", d6, false, true, 0, 0 },
	{ "D7", d7, false, false, 0, 0 },
	{ "D11", d11, false, false, 0, 0 },
	{ "D9", d9, true, false, 0, 0 },
	{ "D14", d14, false, true, 0, 0 },
	{ "D15", d15, false, false, 0, 0 },
	{ "D15", d15_form, false, true, 0, 0 },
	{ "D16", d16, true, true, 0, 0 },
	{ "D18", d18, false, true, 0, 0 },
	{ "D24", d24, false, false, 0, 0 },
	{ "D26", d26, false, true, 0, 0 },
	{ "D27", d27, false, true, 0, 0 },
	{ "D28", d28, false, true, 0, 0 },
	{ "D29", d29, false, true, 0, 0 },
	{ "D32", d32, false, true, 0, 0 },
	{ "D37", d37, false, true, 0, 0 },
	{ "D53", d53_call, true, false, 0, 0 },
	{ "D1", d1_take, true, false, 0, 0 },
	{ "D48", d48, false, true, 0, 0 },
	{ "D52", d52, false, true, 0, 0 },
	{ "D53", d53, false, true, 0, 0 },
	{ "D53", d53_stored, false, false, 0, 0 },
	{ "D35", d35, true, false, 0, 0 },
	{ "N8", n8, true, false, 0, 0 },
	{ "D55", d55, false, true, 0, 0 },
	{ "D21", d21, false, false, 0, 0 },
	{ "D60", d60, true, false, 0, 0 },
	{ "D61", d61, false, false, 0, 0 },
	{ "D62", d62, true, false, 0, 0 },
	{ "D64", d64, false, false, 0, 0 },
	{ "D70", d70, false, false, 0, 0 },
	{ "D16", d16_eoi, true, false, 0, 0 },
	{ "D1", d1_direct, true, false, 0, 0 },
	{ "D16", d16_told, false, false, 0, 0 },
	{ "D16", d16_served, true, false, 0, 0 },
	{ "D41", d41_call, false, false, 0, 0 },
	{ "D48", d48_tsc, true, true, 0, 0 },
	{ "D13", d13_tsc, true, false, 0, 0 },
	{ "D13", d13_page, false, false, 0, 0 },
	{ "D1", d1_evmcs, true, false, 0, 0 },
	{ "N1", n1, false, false, 0, 0 },
	{ "N9", n9, true, false, 0, 0 },
	{ "D33", d33, false, false, 0, 0 },
	{ "D13", d13_still, true, false, 0, 0 },
	{ "D13", d13_told, true, false, 0, 0 },
	{ "D13", d13_first, true, false, 0, 0 },
	{ "D13", d13_let_go, false, false, 0, 0 },
	{ "D13", d13_restored, false, false, 0, 0 },
	{ "D69", d69, false, false, 0, 0 },
	{ "D39", d39, false, false, 0, 0 },
	{ "D16", d16_assist, true, false, 0, 0 },
	/* clang-format on */
};

/* The same for those that more than one id may be. */
static struct {
	const char *name;
	bool (*is)(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		   const char **id);
	bool cut, often;
	u64 seen, cuts;
} several[] = {
	{ "a register that differs already", tainted, false, true, 0, 0 },
	{ "what is offered (D2, D37, D38, D61)", offers, false, true, 0, 0 },
	{ "a row that is not in tlfs.c", new_row, false, false, 0, 0 },
	{ "exits of L2 after a call that is not in tlfs.c", new_exit, true, false, 0, 0 },
	{ "reserved bits (D13, D18)", reserved, false, true, 0, 0 },
	{ "an expiry that cannot be signalled (D12, D16, D17, D18, D48, D53), ICR (D52)", by_one,
	  true, false, 0, 0 },
	{ "a call of L2 that was refused (D27, D28, D29)", tlb_lock, true, false, 0, 0 },
	{ "the number of a timer's ticks", ticks, true, false, 0, 0 },
	{ "that an EOI is not required, after an exit of the fast path", eoi_hint, true, false, 0,
	  0 },
};

struct fuzz_known fuzz_known(struct fuzz_shadow *sh, const struct fuzz_op *o,
			     const struct fuzz_difference *d)
{
	struct fuzz_known known = { NULL, false };
	u32 i;

	/* Beside itself each has none, but when the ticks of a short period come, and how many. */
	if (sh->f[0]->who == sh->f[1]->who) {
		int n = by_which(sh, o, d);

		known.cut = (n >= 0 && sh->raises[n].short_period) || ticks(sh, o, d, &known.id);
		known.id = known.cut ? "D19" : NULL;
		return known;
	}
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (!table[i].is(sh, o, d))
			continue;
		known.id = table[i].id;
		/* An interrupt that only one of them has sent makes them different for good. */
		known.cut = table[i].cut || sends_alone(sh, o);
		if (o->kind == FUZZ_CALL && d->what == FUZZ_OF_RESULT && fuzz_in_l2(sh, o))
			sh->l2_refused = table[i].id;
		table[i].seen++;
		table[i].cuts += known.cut;
		return known;
	}
	for (i = 0; i < ARRAY_SIZE(several); i++) {
		if (!several[i].is(sh, o, d, &known.id))
			continue;
		known.cut = several[i].cut;
		several[i].seen++;
		several[i].cuts += known.cut;
		return known;
	}
	known.id = NULL;
	return known;
}

/* Return: is it missing? */
static bool report(const char *name, bool often, u64 seen, u64 cuts)
{
	ktap_log("known difference, %s: %llu, streams that ended by it: %llu%s", name,
		 (unsigned long long)seen, (unsigned long long)cuts,
		 often && !seen ? " (it is seen often)" : "");
	return often && !seen;
}

u32 fuzz_known_report(void)
{
	u32 i, missing = 0;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		missing += report(table[i].id, table[i].often, table[i].seen, table[i].cuts);
	for (i = 0; i < ARRAY_SIZE(several); i++)
		missing +=
			report(several[i].name, several[i].often, several[i].seen, several[i].cuts);
	ktap_log("streams that ended early: %llu by known differences, %llu by their guest",
		 (unsigned long long)fuzz_lost.cut, (unsigned long long)fuzz_lost.ended);
	ktap_log("operations that did not run: %llu", (unsigned long long)fuzz_lost.ops);
	return missing;
}
