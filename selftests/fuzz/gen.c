// SPDX-License-Identifier: GPL-2.0-only
/*
 * Draws a stream from a seed: numbers of the tables and beside them, values at the edges of what
 * a register or call takes, and now and then anything. What may not be in a stream is avoided
 * here and said where: it would make the two VMs differ by their time, or end the guest.
 */
#include <string.h>

#include "apic.h"
#include "gen.h"

/* Late enough for the guest to have armed it, and short. */
static void timer(struct fuzz_random *r, struct fuzz_op *o)
{
	u64 v = fuzz_draw_deliverable(r);
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
		o->w[2] = (u32)fuzz_icr_value(r);
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
	FUZZ_INTERFACE_BIT,
};
const u32 fuzz_nr_cpuid_bits = ARRAY_SIZE(fuzz_cpuid_bits);

static const struct {
	u32 weight, kind;
} kinds[] = {
	{ 52, FUZZ_RDMSR },    { 76, FUZZ_WRMSR },	 { 52, FUZZ_CALL },   { 5, FUZZ_CPUID },
	{ 4, FUZZ_LOAD },      { 4, FUZZ_STORE },	 { 14, FUZZ_WINDOW }, { 2, FUZZ_HALT },
	{ 2, FUZZ_TIMER },     { 4, FUZZ_TIME },	 { 10, FUZZ_APIC },   { 4, FUZZ_CR },
	{ 2, FUZZ_EOI_BY },    { 6, FUZZ_TAKE },	 { 4, FUZZ_GET_MSR }, { 8, FUZZ_SET_MSR },
	{ 3, FUZZ_CPUID_BIT }, { 1, FUZZ_ENFORCE },	 { 3, FUZZ_ROUTE },   { 4, FUZZ_IRQ },
	{ 3, FUZZ_EVENTFD },   { 1, FUZZ_SYNIC },	 { 4, FUZZ_FILTER },  { 1, FUZZ_CLOCK },
	{ 1, FUZZ_TSC_KHZ },   { 2, FUZZ_LAPIC },	 { 3, FUZZ_SLOT },    { 1, FUZZ_SMI },
	{ 1, FUZZ_OFFERED },   { 3, FUZZ_IRQFD },	 { 4, FUZZ_KICK },    { 3, FUZZ_NESTED },
	{ 1, FUZZ_TSC },       { 1, FUZZ_NESTED_STATE },
};

/* w[0] the first register, w[1] how it is denied, and from bit 8 on how many more. */
static void filter(struct fuzz_random *r, struct fuzz_op *o)
{
	u32 more = chance(r, 20) ? below(r, 16) : 0;

	r->nr_filtered = 0;
	o->w[0] = chance(r, 60) ? fuzz_draw_hot_msr(r) : fuzz_draw_msr(r);
	o->w[1] = below(r, 4);
	if (!o->w[1])
		return;
	o->w[1] |= (u64)more << 8;
	r->filtered = (u32)o->w[0];
	r->nr_filtered = 1 + more;
}

static void draw(struct fuzz_random *r, struct fuzz_op *o)
{
	u32 i, n, sum = 0;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		sum += kinds[i].weight;
	n = below(r, sum);
	memset(o, 0, sizeof(*o));
	for (i = 0; n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	o->kind = kinds[i].kind;
	switch (o->kind) {
	case FUZZ_RDMSR:
	case FUZZ_GET_MSR:
		o->w[0] = fuzz_draw_msr(r);
		o->answer = below(r, 2);
		break;
	case FUZZ_WRMSR:
	case FUZZ_SET_MSR:
		o->w[0] = fuzz_draw_msr(r);
		o->w[1] = fuzz_msr_value(r, (u32)o->w[0]);
		o->answer = below(r, 3);
		break;
	case FUZZ_CPUID:
		o->w[0] = 0x40000000 + PICK(r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x81,
					    0x82, 0x83, 0x100);
		break;
	case FUZZ_LOAD:
	case FUZZ_STORE:
		o->w[0] = (chance(r, 90) ? FUZZ_GPA : FUZZ_MOVED) +
			  PAGE_SIZE * below(r, FUZZ_SLOTS * FUZZ_SLOT_PAGES) +
			  PICK(r, 0, 8, 0x100, 0x108, 0x110, 0x200, 0x210, 0xff8);
		o->w[1] = chance(r, 50) ? 0 : fuzz_edge(r);
		break;
	case FUZZ_CALL:
		fuzz_draw_call(r, o);
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
	case FUZZ_NESTED:
		/* Mostly direct calls that are allowed, and the first VP of the first VM. */
		o->w[0] = chance(r, 60) ? FUZZ_NESTED_DIRECT | FUZZ_NESTED_ALLOWED : below(r, 512);
		o->w[0] |= chance(r, 20) ? FUZZ_NESTED_LOCK : 0;
		break;
	case FUZZ_TSC:
		o->w[0] = below(r, FUZZ_TSCS);
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
	case FUZZ_KICK:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		break;
	case FUZZ_EVENTFD:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		o->w[1] = PICK(r, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5);
		break;
	case FUZZ_IRQFD:
		o->w[0] = below(r, FUZZ_EVENTFDS);
		o->w[1] = PICK(r, 0, 1, 2, 2);
		break;
	case FUZZ_SYNIC:
		o->w[0] = 1 + below(r, 2);
		break;
	case FUZZ_FILTER:
		filter(r, o);
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

/* Before the vCPU has run user space may change all that CPUID shows. */
static u32 before_entry(struct fuzz_random *r, struct fuzz_stream *s)
{
	u32 i, n = chance(r, 10) ? 1 + below(r, 4) : 0;

	for (i = 0; i < n && !s->setup.nested; i++)
		s->ops[i] = (struct fuzz_op){
			.kind = FUZZ_CPUID_BIT,
			.w = { fuzz_cpuid_bits[1 + below(r, fuzz_nr_cpuid_bits - 2)], below(r, 2) },
		};
	return i;
}

/* What a guest's start does; without it most of a stream would meet what is not set up. */
static u32 prologue(struct fuzz_random *r, struct fuzz_stream *s)
{
	const u64 start[][2] = {
		{ HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL },
		{ HV_X64_MSR_SCONTROL, 1 },
		{ HV_X64_MSR_SIMP, FUZZ_PAGE(0) | 1 },
		{ HV_X64_MSR_SIEFP, FUZZ_PAGE(1) | 1 },
		{ HV_X64_MSR_VP_ASSIST_PAGE, FUZZ_PAGE(FUZZ_ASSIST_PAGE) | 1 },
		{ HV_X64_MSR_REFERENCE_TSC, FUZZ_PAGE(6) | 1 },
		{ HV_X64_MSR_HYPERCALL, FUZZ_PAGE(4) | 1 },
	};
	u32 i, n = before_entry(r, s),
	       done = chance(r, 85) ? ARRAY_SIZE(start) : below(r, ARRAY_SIZE(start));

	s->ops[n++] = (struct fuzz_op){ .kind = FUZZ_APIC, .w = { 1, APIC_SPIV, APIC_SPIV_ON } };
	for (i = 0; i < done; i++) {
		/* L1 has set up its own, which allows direct calls. */
		if (s->setup.nested && start[i][0] == HV_X64_MSR_VP_ASSIST_PAGE)
			continue;
		s->ops[n++] =
			(struct fuzz_op){ .kind = FUZZ_WRMSR, .w = { start[i][0], start[i][1] } };
	}
	for (i = 1; i < 16 && done == ARRAY_SIZE(start); i++)
		s->ops[n++] = (struct fuzz_op){
			.kind = FUZZ_WRMSR,
			.w = { HV_X64_MSR_SINT(i), 0x40 + i % 3 },
		};
	return n;
}

/*
 * A guest, or user space, takes the guest's identity away, and gives it back after calls that find
 * none. The hypercall page goes with it. @room operations are left.
 */
static u32 anonymous(struct fuzz_random *r, struct fuzz_op *ops, u32 room)
{
	const u32 write = chance(r, 80) ? FUZZ_WRMSR : FUZZ_SET_MSR;
	u32 i, n = 0, calls = 1 + below(r, 4);

	if (room < calls + 3)
		return 0;
	ops[n++] = (struct fuzz_op){ .kind = write, .w = { HV_X64_MSR_GUEST_OS_ID, 0 } };
	for (i = 0; i < calls; i++) {
		ops[n] = (struct fuzz_op){ .kind = FUZZ_CALL };
		fuzz_draw_call(r, &ops[n++]);
	}
	ops[n++] = (struct fuzz_op){
		.kind = write,
		.w = { HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL },
	};
	ops[n++] = (struct fuzz_op){
		.kind = FUZZ_WRMSR,
		.w = { HV_X64_MSR_HYPERCALL, fuzz_msr_value(r, HV_X64_MSR_HYPERCALL) },
	};
	return n;
}

/* A message for a disabled SynIC, after a look at its slots. @room operations are left. */
static u32 silence(struct fuzz_random *r, struct fuzz_op *ops, u32 room)
{
	const u32 config = HV_X64_MSR_STIMER_CONFIG(below(r, HV_SYNIC_STIMERS));
	const struct fuzz_op all[] = {
		{ .kind = FUZZ_WRMSR, .w = { HV_X64_MSR_SCONTROL, 0 } },
		{ .kind = FUZZ_OFFERED, .w = { HV_LEAF_INTERFACE } },
		{ .kind = FUZZ_WRMSR, .w = { config, 0 } },
		{ .kind = FUZZ_WRMSR, .w = { config + 1, FUZZ_PAST } },
		{ .kind = FUZZ_WRMSR,
		  .w = { config, HV_STIMER_ENABLE | (1 + below(r, HV_SYNIC_SINTS - 1)) << 16 } },
		{ .kind = FUZZ_WINDOW },
	};

	if (room < ARRAY_SIZE(all))
		return 0;
	memcpy(ops, all, sizeof(all));
	return ARRAY_SIZE(all);
}

/* The clock on the code, and off it again. @room operations are left. */
static u32 cover(struct fuzz_random *r, struct fuzz_op *ops, u32 room)
{
	const u64 page = FUZZ_PAGE(below(r, FUZZ_SLOTS * FUZZ_SLOT_PAGES));
	const struct fuzz_op all[] = {
		{ .kind = FUZZ_WRMSR, .w = { HV_X64_MSR_HYPERCALL, page | HV_HYPERCALL_ENABLE } },
		{ .kind = FUZZ_WRMSR, .w = { HV_X64_MSR_REFERENCE_TSC, page | 1 } },
		{ .kind = FUZZ_OFFERED, .w = { HV_LEAF_INTERFACE } },
		{ .kind = FUZZ_WRMSR, .w = { HV_X64_MSR_REFERENCE_TSC, 0 } },
		{ .kind = FUZZ_OFFERED, .w = { HV_LEAF_INTERFACE } },
	};

	if (room < ARRAY_SIZE(all))
		return 0;
	memcpy(ops, all, sizeof(all));
	return ARRAY_SIZE(all);
}

/* What an L1 needs to get going; and no SMI, for which it would have to be prepared. */
static void make_nestable(struct fuzz_setup *setup)
{
	setup->enforce = false;
	setup->smm = false;
	memset(setup->without, 0, sizeof(setup->without));
}

/* May L1 do this in the place of L2? Not what waits for interrupts, which L2 takes. */
static bool in_l1(const struct fuzz_op *o)
{
	switch (o->kind) {
	case FUZZ_RDMSR:
	case FUZZ_WRMSR:
	case FUZZ_CPUID:
	case FUZZ_LOAD:
	case FUZZ_STORE:
	case FUZZ_CALL:
	case FUZZ_TAKE:
	case FUZZ_TIME:
		return true;
	default:
		return false;
	}
}

/* Where the operation runs; and what would end the guest soon. */
static void nest(struct fuzz_random *r, enum fuzz_nested nested, struct fuzz_op *o,
		 bool in_prologue)
{
	/* L2 is of little use by itself: what it does with registers ends in L1. */
	o->l1 = in_l1(o) && (in_prologue || chance(r, 70));
	/* Without its VP assist page L1 does not get into L2 again (D36). */
	if (o->kind == FUZZ_SLOT && !o->w[0] && chance(r, 90))
		o->w[0] = 1;
	/* Nor with another one on Intel, where that page names the VMCS. */
	if (nested == FUZZ_L1 && !host_is_amd() &&
	    (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR) &&
	    o->w[0] == HV_X64_MSR_VP_ASSIST_PAGE && chance(r, 90))
		o->w[1] = FUZZ_PAGE(FUZZ_ASSIST_PAGE) | ASSIST_ENABLE;
}

static u32 bit_number(u64 bit)
{
	u32 i = 0;

	while (fuzz_cpuid_bits[i] != bit)
		i++;
	return i;
}

void fuzz_generate(struct fuzz_stream *s, u64 seed, u32 nr)
{
	struct fuzz_random r = { .s = seed };
	u32 i, first;

	s->seed = seed;
	s->setup.x2apic = below(&r, 2);
	s->setup.fast = chance(&r, 85);
	s->setup.synic = chance(&r, 90) ? 1 + below(&r, 2) : 0;
	s->setup.enforce = chance(&r, 25);
	s->setup.debugger = chance(&r, 30);
	s->setup.smm = chance(&r, 20);
	s->setup.exits = chance(&r, 50);
	r.apart = chance(&r, 75);
	for (i = 0; i < FUZZ_WITHOUT; i++)
		s->setup.without[i] =
			chance(&r, s->setup.enforce ? 80 : 10) ?
				below(&r, fuzz_nr_cpuid_bits - (chance(&r, 97) ? 1 : 0)) :
				0;
	/* The debugger's calls are denied by this bit alone, if there is a debugger. */
	if (s->setup.enforce && s->setup.debugger && chance(&r, 40))
		s->setup.without[0] = bit_number(HV_F_DEBUGGING);
	s->setup.shown = chance(&r, 30);
	s->setup.nested = chance(&r, 15) && host_has_nested() ? FUZZ_L1 : FUZZ_NO_L1;
	if (s->setup.nested && !host_is_amd() && chance(&r, 20))
		s->setup.nested = FUZZ_L1_PLAIN_VMCS;
	if (s->setup.nested)
		make_nestable(&s->setup);
	first = prologue(&r, s);
	for (s->nr = first; s->nr < nr;) {
		if (chance(&r, 1))
			s->nr += anonymous(&r, &s->ops[s->nr], nr - s->nr);
		/* Stock delivers, which ends the stream. */
		if (!below(&r, 2000))
			s->nr += silence(&r, &s->ops[s->nr], nr - s->nr);
		if (!below(&r, 1000))
			s->nr += cover(&r, &s->ops[s->nr], nr - s->nr);
		if (s->nr < nr)
			draw(&r, &s->ops[s->nr++]);
	}
	for (i = 0; s->setup.nested && i < s->nr; i++)
		nest(&r, s->setup.nested, &s->ops[i], i < first);
}

/* Operations at once: as many as a batch, but mostly few. */
static u32 piece(struct fuzz_random *r, u32 room)
{
	u32 n = 1 + below(r, chance(r, 50) ? 4 : FUZZ_BATCH);

	return n < room ? n : room;
}

static void redraw(struct fuzz_random *r, struct fuzz_stream *s)
{
	u32 at = below(r, s->nr), n = piece(r, s->nr - at);

	for (; n; n--, at++) {
		draw(r, &s->ops[at]);
		if (s->setup.nested)
			nest(r, s->setup.nested, &s->ops[at], false);
	}
}

/* What the first of both does, and then the second. */
static void take_over(struct fuzz_random *r, struct fuzz_stream *s, const struct fuzz_stream *other)
{
	u32 from = below(r, other->nr), n = piece(r, other->nr - from), at = below(r, s->nr);

	if (other->setup.nested != s->setup.nested)
		return;
	if (n > s->nr - at)
		n = s->nr - at;
	memcpy(&s->ops[at], &other->ops[from], n * sizeof(s->ops[0]));
}

void fuzz_mutate(struct fuzz_stream *s, const struct fuzz_stream *other, u64 seed)
{
	struct fuzz_random r = { .s = seed };
	u32 changes = 1 + below(&r, 8);

	s->seed = seed;
	s->setup.fast = chance(&r, 85);
	r.apart = chance(&r, 75);
	for (; changes; changes--) {
		if (chance(&r, 40))
			take_over(&r, s, other);
		else
			redraw(&r, s);
	}
}
