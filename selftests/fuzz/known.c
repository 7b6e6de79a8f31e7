// SPDX-License-Identifier: GPL-2.0-only
/*
 * Known differences between stock and module: the table at the end of this file. An entry has the
 * id of Documentation/divergences.rst or stock-defects.rst, and a function that says whether a
 * difference is this one, from the operation and from what the stream has done before. It must be
 * as narrow as the id's text: what it takes for known is not looked at.
 */
#include <string.h>

#include "apic.h"
#include "fuzz.h"

#define CRASH_BITS (HV_CRASH_NOTIFY | HV_CRASH_MESSAGE)
#define SYNDBG	   KVM_EXIT_HYPERV_SYNDBG

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

static bool is_config(u32 msr)
{
	return is_between(msr, HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER_COUNT(3)) && !(msr & 1);
}

/* --- registers ----------------------------------------------------------- */

static bool tainted(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d, const char **id)
{
	int i = is_value(o, d) ? fuzz_msr_index(register_of(o, d)) : -1;

	if (i < 0 || !sh->tainted[i])
		return false;
	*id = sh->tainted[i];
	return true;
}

/* GUEST_OS_ID 0 and HYPERCALL: stock drops the write, and nothing locks it. */
static bool d2(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	bool locked = fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL) & HV_HYPERCALL_LOCKED;
	bool no_id = !fuzz_shadow_msr(sh, 0, HV_X64_MSR_GUEST_OS_ID);

	if (is_value(o, d) && register_of(o, d) == HV_X64_MSR_HYPERCALL)
		return no_id || locked || (d->a ^ d->b) == HV_HYPERCALL_ENABLE;
	return locked && fuzz_writes(o, HV_X64_MSR_HYPERCALL) && d->what == FUZZ_OF_VECTOR;
}

/* The whole page is code here, and what it lay over comes back. */
static bool d1(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (d->what == FUZZ_OF_PAGE)
		return sh->role[d->index] & FUZZ_AS_HYPERCALL;
	if (d->what == FUZZ_OF_RESULT && (o->kind == FUZZ_LOAD || o->kind == FUZZ_STORE))
		return fuzz_role_of(sh, o->w[0]) & FUZZ_AS_HYPERCALL;
	return false;
}

/* The hypercall page or the reference TSC page, and another one on the same page. */
static bool d53(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u64 tsc = fuzz_shadow_msr(sh, 0, HV_X64_MSR_REFERENCE_TSC), at = 0;

	if (d->what == FUZZ_OF_PAGE)
		return (sh->role[d->index] & FUZZ_AS_TSC) && (sh->role[d->index] & ~FUZZ_AS_TSC);
	if (d->what == FUZZ_OF_RESULT && o->kind == FUZZ_TIME)
		at = tsc;
	if (d->what == FUZZ_OF_RESULT && o->kind == FUZZ_LOAD)
		at = o->w[0];
	if (at)
		return (fuzz_role_of(sh, at) & FUZZ_AS_TSC) &&
		       (fuzz_role_of(sh, at) & ~FUZZ_AS_TSC);
	return false;
}

/* The code shows again here when what lay on top of it goes; on stock there is nothing to call. */
static bool d53_call(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d)
{
	u32 role = fuzz_role_of(sh, fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL));

	(void)d;
	return o->kind == FUZZ_CALL && o->w[0] == FUZZ_BY_PAGE && (role & ~FUZZ_AS_HYPERCALL);
}

/* A message is taken from a page that has been code. */
static bool d1_take(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	(void)d;
	return o->kind == FUZZ_TAKE &&
	       (fuzz_role_of(sh, fuzz_shadow_msr(sh, 0, HV_X64_MSR_SIMP)) & FUZZ_AS_HYPERCALL);
}

/* What it lay over, or what a guest wrote into it, is another thing to call. */
static bool d1_call(struct fuzz_shadow *sh, const struct fuzz_op *o,
		    const struct fuzz_difference *d)
{
	(void)sh;
	return o->kind == FUZZ_CALL && o->w[0] == FUZZ_BY_PAGE && d->what == FUZZ_OF_RESULT &&
	       d->a == FUZZ_NO_PAGE;
}

static bool d6(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return is_value(o, d) && register_of(o, d) == HV_X64_MSR_CRASH_CTL &&
	       !((d->a ^ d->b) & ~CRASH_BITS);
}

static bool d9(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (o->kind != FUZZ_SET_MSR || o->w[0] != HV_X64_MSR_VP_INDEX || d->what != FUZZ_OF_RET ||
	    !(o->w[1] >> 32))
		return false;
	fuzz_taint(sh, HV_X64_MSR_VP_INDEX, "D9");
	return true;
}

/* Reserved bits: #GP for the guest, dropped from what user space restores. */
static bool reserved(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	int row = fuzz_find_msr((u32)o->w[0]);
	bool guest = o->kind == FUZZ_WRMSR;

	if (row < 0 || !(o->w[1] & fuzz_msr_row((u32)row)->reserved) ||
	    !fuzz_msr_row((u32)row)->restore_any)
		return false;
	if (guest && d->what == FUZZ_OF_VECTOR && !d->a) {
		*id = is_config((u32)o->w[0]) ? "D18" : "D13";
		fuzz_taint(sh, (u32)o->w[0], *id);
		if (is_config((u32)o->w[0]) && (o->w[1] & HV_STIMER_ENABLE))
			sh->timer = "D18";
		return true;
	}
	if (o->kind == FUZZ_SET_MSR && d->what == FUZZ_OF_MSR && fuzz_msr(d->index) == o->w[0]) {
		*id = "D33";
		fuzz_taint(sh, (u32)o->w[0], *id);
		return true;
	}
	return false;
}

/* Direct mode with a vector that there is not; SINT 0. */
static bool d18(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 vector = o->w[1] >> 4 & 0xff, msr = register_of(o, d);

	if (o->kind == FUZZ_WRMSR && is_config((u32)o->w[0]) && d->what == FUZZ_OF_VECTOR &&
	    !d->a && (o->w[1] & HV_STIMER_DIRECT) && vector < 16) {
		fuzz_taint(sh, (u32)o->w[0], "D18");
		sh->timer = "D18";
		return true;
	}
	/* Disabled here: the rest of the value is the same. */
	return is_value(o, d) && is_config(msr) && (d->a ^ d->b) == HV_STIMER_ENABLE &&
	       !(d->b & HV_STIMER_DIRECT) && !(d->b >> 16 & 15);
}

/* Anything that an expiry leaves behind. */
static bool by_timer(struct fuzz_shadow *sh, const struct fuzz_op *o,
		     const struct fuzz_difference *d, const char **id)
{
	bool of_timer;

	if (!sh->timer)
		return false;
	switch (d->what) {
	case FUZZ_OF_IRQS:
	case FUZZ_OF_APIC:
		of_timer = true;
		break;
	case FUZZ_OF_PAGE:
		of_timer = sh->role[d->index] & FUZZ_AS_SIMP;
		break;
	case FUZZ_OF_RESULT:
		of_timer = o->kind == FUZZ_TIMER || o->kind == FUZZ_TAKE || o->kind == FUZZ_LOAD ||
			   o->kind == FUZZ_APIC || is_value(o, d);
		break;
	default:
		of_timer = is_value(o, d);
	}
	if (is_value(o, d))
		of_timer = is_config(register_of(o, d));
	*id = sh->timer;
	return of_timer;
}

/* A SINT that is polled, or of a SynIC that is disabled, raises no interrupt. */
static bool d16(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	u32 i;

	if (o->kind != FUZZ_IRQ || (d->what != FUZZ_OF_RET && d->what != FUZZ_OF_APIC))
		return false;
	if (!(fuzz_shadow_msr(sh, 0, HV_X64_MSR_SCONTROL) & 1))
		return true;
	for (i = 0; i < HV_SYNIC_SINTS; i++)
		if (fuzz_shadow_msr(sh, 0, HV_X64_MSR_SINT(i)) & HV_SINT_POLLING)
			return true;
	return false;
}

/* The clock's page after user space has set the clock, or a rate. */
static bool d48(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (!sh->clock)
		return false;
	if (d->what == FUZZ_OF_PAGE)
		return (sh->role[d->index] & FUZZ_AS_TSC) && d->offset < 32;
	return (o->kind == FUZZ_TIME && d->what == FUZZ_OF_RESULT) || d->what == FUZZ_OF_TIME ||
	       (o->kind == FUZZ_LOAD && (fuzz_role_of(sh, o->w[0]) & FUZZ_AS_TSC));
}

/*
 * TSC emulation freezes the page. When user space sets the clock the module takes the time from
 * the frozen page, as after a restore, and a guest that has written to it gets what it wrote.
 * Stock goes on by its copy.
 */
static bool d13(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (!sh->clock || !fuzz_shadow_msr(sh, 1, HV_X64_MSR_TSC_EMULATION_CONTROL))
		return false;
	return d->what == FUZZ_OF_TIME || o->kind == FUZZ_TIMER || o->kind == FUZZ_TIME;
}

/* The bits of CPUID that only the module offers. */
static bool offers(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		   const char **id)
{
	u64 more = d->a ^ d->b;

	(void)sh;
	if (o->kind != FUZZ_OFFERED || d->what != FUZZ_OF_RESULT || (d->a & more))
		return false;
	*id = "D2";
	if (o->w[0] == HV_LEAF_FEATURES && d->index == 1)
		return more == BIT64(32 + 18);
	*id = "D37";
	return o->w[0] == HV_LEAF_NESTED && !d->index &&
	       !(more & ~(BIT64(18) | BIT64(22) | BIT64(32)));
}

static bool d32(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return d->what == FUZZ_OF_EXITS && d->index == 2 &&
	       (fuzz_writes(o, HV_X64_MSR_SYNDBG_CONTROL) ||
		fuzz_writes(o, HV_X64_MSR_SYNDBG_PENDING_BUFFER));
}

/* The upper half of ICR in xAPIC mode. */
static bool d52(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	if (sh->s->setup.x2apic)
		return false;
	if (is_value(o, d) && register_of(o, d) == HV_X64_MSR_ICR)
		return !(u32)(d->a ^ d->b);
	if (d->what == FUZZ_OF_APIC)
		return d->index == APIC_ICR2 || d->index == APIC_ICR2 + 4;
	return o->kind == FUZZ_APIC && o->w[1] == APIC_ICR2 && d->what == FUZZ_OF_RESULT;
}

/* --- calls --------------------------------------------------------------- */

struct call {
	u32 code, varhdr, reps, start, len;
	bool fast, memory;
	u64 flags;
	u64 w[3 + FUZZ_INPUT_WORDS];
	const struct fuzz_row *row;
};

/* The call of the operation, with its input as the hypervisor sees it. */
static bool look_at_call(const struct fuzz_op *o, struct call *c)
{
	u64 control = o->w[1];
	int row = fuzz_find_call(control & 0xffff);
	u32 i;

	if (o->kind != FUZZ_CALL)
		return false;
	memset(c, 0, sizeof(*c));
	c->code = control & 0xffff;
	c->fast = control & HV_CTL_FAST;
	c->memory = o->w[0] == FUZZ_MEMORY || o->w[0] == FUZZ_BY_PAGE;
	c->varhdr = control >> 17 & 0x3ff;
	c->reps = control >> 32 & 0xfff;
	c->start = control >> 48 & 0xfff;
	c->row = row < 0 ? NULL : fuzz_call_row((u32)row);
	if (c->row)
		c->len = c->row->hdr + c->varhdr * 8 + c->reps * c->row->element;
	if (!c->fast) {
		memcpy(c->w, o->w + 4, FUZZ_INPUT_WORDS * 8);
	} else {
		c->w[0] = o->w[2];
		c->w[1] = o->w[3];
		for (i = 0; i < FUZZ_INPUT_WORDS; i++)
			c->w[2 + i] = o->w[4 + i];
	}
	return true;
}

static bool is_flush(u32 code)
{
	return code == HVCALL_FLUSH_SPACE || code == HVCALL_FLUSH_LIST ||
	       code == HVCALL_FLUSH_SPACE_EX || code == HVCALL_FLUSH_LIST_EX;
}

static bool is_ipi(u32 code)
{
	return code == HVCALL_SEND_IPI || code == HVCALL_SEND_IPI_EX;
}

static bool sends_ipi(const struct fuzz_op *o)
{
	return o->kind == FUZZ_CALL && is_ipi(o->w[1] & 0xffff);
}

/* Is the input's place wrong: not aligned, or across the end of a page? */
static bool misplaced(const struct fuzz_op *o, const struct call *c)
{
	return !c->fast && c->len && (o->w[2] % 8 || o->w[2] % PAGE_SIZE + c->len > PAGE_SIZE);
}

/*
 * What a call answers, does to user space, or leaves in the APIC. The words of the input are those
 * that were meant: with a spoiled address or form they are others, and that is K3 by itself.
 */
static bool k3(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;
	u32 room;

	(void)sh;
	if (!look_at_call(o, &c) || !c.row)
		return false;
	if (d->what != FUZZ_OF_RESULT && d->what != FUZZ_OF_EXITS)
		return false;
	room = c.row->xmm ? 112 : 16;
	return misplaced(o, &c) || (c.row->rep && c.start) || (c.fast && c.len > room) ||
	       c.varhdr > 64 || (!c.row->rep && (c.reps || c.start)) ||
	       (!c.row->varhdr && c.varhdr) || (c.row->user && c.fast);
}

static bool d27(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	if (!look_at_call(o, &c) || !is_flush(c.code) || d->what != FUZZ_OF_RESULT)
		return false;
	if (c.w[1] & ~0xfULL)
		return true;
	return (c.reps && (c.w[1] & BIT64(2))) || ((c.w[1] & BIT64(3)) && sh->enforce);
}

static bool d28(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	if (!look_at_call(o, &c) || d->what != FUZZ_OF_RESULT)
		return false;
	return (c.code == HVCALL_SEND_IPI_EX && c.w[1] > 1) ||
	       ((c.code == HVCALL_FLUSH_SPACE_EX || c.code == HVCALL_FLUSH_LIST_EX) && c.w[2] > 1);
}

static bool d26(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	if (!look_at_call(o, &c) || !is_ipi(c.code) || d->what != FUZZ_OF_RESULT)
		return false;
	return (u32)c.w[0] < 16 || (u32)c.w[0] > 255 || c.w[0] >> 32;
}

static bool d14(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;
	u32 type, size;

	(void)sh;
	if (!look_at_call(o, &c) || c.code != HVCALL_POST_MESSAGE ||
	    (d->what != FUZZ_OF_RESULT && d->what != FUZZ_OF_EXITS))
		return false;
	type = (u32)c.w[1];
	size = (u32)(c.w[1] >> 32);
	return c.fast || misplaced(o, &c) || !type || type >> 31 || size > 240 ||
	       o->w[2] < FUZZ_GPA || o->w[2] >= FUZZ_PAGE(FUZZ_PAGES) ||
	       o->w[2] != FUZZ_PAGE(FUZZ_IN_PAGE);
}

static bool d15(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	if (!look_at_call(o, &c) || c.code != HVCALL_SIGNAL_EVENT)
		return false;
	/* The exit has the fast form here. */
	if (d->what == FUZZ_OF_EXITS && d->index <= 2)
		return true;
	if (d->what != FUZZ_OF_RESULT && d->what != FUZZ_OF_EXITS)
		return false;
	/* Unreadable, or reserved bits beside a flag number. */
	return o->w[2] != FUZZ_PAGE(FUZZ_IN_PAGE) || (c.w[0] >> 24);
}

static bool d24(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	return look_at_call(o, &c) && c.code == 0x8001 && o->answer == 2 &&
	       (d->what == FUZZ_OF_RESULT || d->what == FUZZ_OF_PAGE || d->what == FUZZ_OF_EXITS);
}

static bool d37(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	/* No call to stock, so it looks at neither form nor privilege. */
	return look_at_call(o, &c) && is_between(c.code, 0xaf, 0xb0) && d->what == FUZZ_OF_RESULT &&
	       ((d->a & 0xffff) == HV_STATUS_INVALID_HYPERCALL_CODE ||
		(d->b & 0xffff) == HV_STATUS_ACCESS_DENIED);
}

static bool d11(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	struct call c;

	(void)sh;
	return host_is_6_1() && look_at_call(o, &c) && c.code >= 0x8001 && c.row &&
	       (d->what == FUZZ_OF_RESULT || d->what == FUZZ_OF_EXITS);
}

static bool d7(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d)
{
	(void)sh;
	return host_is_6_1() && register_of(o, d) == HV_X64_MSR_TSC_INVARIANT_CONTROL;
}

/* --- the table ----------------------------------------------------------- */

static struct {
	const char *id;
	bool (*is)(struct fuzz_shadow *sh, const struct fuzz_op *o,
		   const struct fuzz_difference *d);
	bool cut;
	u64 seen;
} table[] = {
	{ "D1", d1, false, 0 },	    { "D2", d2, false, 0 },	{ "D6", d6, false, 0 },
	{ "D7", d7, false, 0 },	    { "D11", d11, false, 0 },	{ "D9", d9, false, 0 },
	{ "D14", d14, false, 0 },   { "D15", d15, false, 0 },	{ "D16", d16, true, 0 },
	{ "D18", d18, false, 0 },   { "D24", d24, false, 0 },	{ "D26", d26, false, 0 },
	{ "D27", d27, false, 0 },   { "D28", d28, false, 0 },	{ "D29", k3, false, 0 },
	{ "D32", d32, false, 0 },   { "D37", d37, false, 0 },	{ "D53", d53_call, true, 0 },
	{ "D1", d1_call, true, 0 }, { "D1", d1_take, true, 0 }, { "D13", d13, true, 0 },
	{ "D48", d48, false, 0 },   { "D52", d52, false, 0 },	{ "D53", d53, false, 0 },
};

/* The same for those that more than one id may be. */
static struct {
	const char *name;
	bool (*is)(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_difference *d,
		   const char **id);
	bool cut;
	u64 seen;
} several[] = {
	{ "a register that differs already", tainted, false, 0 },
	{ "what is offered (D2, D37, D38)", offers, false, 0 },
	{ "reserved bits (D13, D18, D33)", reserved, false, 0 },
	{ "an expiry that cannot be signalled (D12, D16, D17, D18, D53)", by_timer, true, 0 },
};

struct fuzz_known fuzz_known(struct fuzz_shadow *sh, const struct fuzz_op *o,
			     const struct fuzz_difference *d)
{
	struct fuzz_known known = { NULL, false };
	u32 i;

	/* Stock beside stock has none. */
	if (sh->f[1]->who == FUZZ_STOCK)
		return known;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (!table[i].is(sh, o, d))
			continue;
		table[i].seen++;
		/* An interrupt that only one of them has sent makes them different for good. */
		return (struct fuzz_known){ table[i].id, table[i].cut || sends_ipi(o) };
	}
	for (i = 0; i < ARRAY_SIZE(several); i++) {
		if (!several[i].is(sh, o, d, &known.id))
			continue;
		several[i].seen++;
		known.cut = several[i].cut;
		return known;
	}
	known.id = NULL;
	return known;
}

void fuzz_known_report(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		ktap_log("known difference %s: %llu", table[i].id,
			 (unsigned long long)table[i].seen);
	for (i = 0; i < ARRAY_SIZE(several); i++)
		ktap_log("known difference, %s: %llu", several[i].name,
			 (unsigned long long)several[i].seen);
}
