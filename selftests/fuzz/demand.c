// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module must do whatever stock does, by the ids of Documentation/divergences.rst. A mend
 * of what stock has wrong, too, is lost without a difference when it is taken back: both are equal
 * then. Narrower than the texts: where another rule may come first, nothing is demanded.
 */
#include <string.h>

#include "apic.h"
#include "call.h"

#define GP_FAULT 13u
#define UD_FAULT 6u

static bool breaks(struct fuzz_difference *d, const char *id, u32 index, u64 must, u64 is)
{
	d->id = id;
	d->index = index;
	d->a = must;
	d->b = is;
	return false;
}

/* The MSR filter has it: user space is asked. */
static bool goes_to_user(const struct fuzz_out *b)
{
	return b->nr_exits && b->exits[0].reason == KVM_EXIT_X86_WRMSR;
}

/* A write that the guest must not make; NULL: it may. */
static const char *forbidden_write(const struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 msr = (u32)o->w[0], vector = o->w[1] >> 4 & 0xff;
	int row = fuzz_find_msr(msr);

	if (row < 0)
		return NULL;
	/* Under enforcement the lock binds only if CPUID shows it. */
	if (msr == HV_X64_MSR_HYPERCALL && sh->locked && !sh->enforce)
		return "D2";
	if (o->w[1] & fuzz_msr_row((u32)row)->reserved)
		return fuzz_is_config(msr) ? "D18" : "D13";
	if (fuzz_is_config(msr) && (o->w[1] & HV_STIMER_DIRECT) && vector < 16 &&
	    (vector || (o->w[1] & enabled)))
		return "D18";
	return NULL;
}

/* Has the call as many banks as its VP set names? Else that is what is wrong with it. */
static bool banks_match(const struct fuzz_call *c)
{
	u32 set = c->code == HVCALL_SEND_IPI_EX ? 1 : 2;

	return !c->row->varhdr || c->varhdr == (u32)__builtin_popcountll(c->w[set + 1]);
}

/* The status with which this call must be refused, and by which id; SUCCESS: it need not be. */
static u32 refusal(const struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_call *c,
		   const char **id)
{
	const struct {
		const char *id;
		u32 status;
	} rules[] = {
		{ "D14", sh->synic ? fuzz_message_status(c) : HV_STATUS_SUCCESS },
		{ "D15", fuzz_signal_status(c) },
		/* D26: vector 0 may be none at all. */
		{ "D26", c->w[0] ? fuzz_ipi_status(c) : HV_STATUS_SUCCESS },
		{ "D27", fuzz_flush_status(sh, c) },
		{ "D28", fuzz_vp_set_status(c) },
		{ "D37", fuzz_gpa_flush_status(c) },
	};
	u32 i;

	*id = "D29";
	if (fuzz_form_status(o, c))
		return fuzz_form_status(o, c);
	for (i = 0; i < ARRAY_SIZE(rules) && banks_match(c); i++) {
		*id = rules[i].id;
		if (rules[i].status)
			return rules[i].status;
	}
	return HV_STATUS_SUCCESS;
}

/* A status that comes before what is in the call. */
static bool is_earlier(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_call *c, u32 status)
{
	return (status == HV_STATUS_INVALID_HYPERCALL_CODE && c->code >= HVCALL_POST_DEBUG_DATA &&
		c->code <= HVCALL_RESET_DEBUG_SESSION) ||
	       (status == HV_STATUS_ACCESS_DENIED && sh->enforce) ||
	       (status == HV_STATUS_INVALID_HYPERCALL_INPUT && (o->w[1] & FUZZ_CONTROL_RESERVED));
}

bool fuzz_asks_user(const struct fuzz_out *out)
{
	u32 i;

	for (i = 0; i < out->nr_exits && i < FUZZ_EXITS; i++)
		if (out->exits[i].reason == KVM_EXIT_HYPERV)
			return true;
	return false;
}

static bool demands_call(const struct fuzz_shadow *sh, const struct fuzz_op *o,
			 const struct fuzz_call *c, struct fuzz_difference *d)
{
	const struct fuzz_out *b = &sh->out[1];
	const char *id = NULL;
	u32 status;

	/* Without an identity of the guest, or of the hypervisor, it is none of Hyper-V's. */
	if (fuzz_is_reflected(b) || b->result == FUZZ_NO_PAGE ||
	    !fuzz_shadow_msr(sh, 1, HV_X64_MSR_GUEST_OS_ID) ||
	    !cpuid_test(&sh->f[1]->v->cpuid, FUZZ_INTERFACE_BIT))
		return true;
	if (o->w[0] == FUZZ_CPL3)
		return (b->vector == UD_FAULT && !fuzz_asks_user(b)) ||
		       breaks(d, "CPL 3", c->code, UD_FAULT, b->vector);
	if (b->vector)
		return true;
	/* What is in these is not known, nor whether it is the guest's memory at all. */
	if (!c->row || (!fuzz_is_readable(o, c) && o->w[2] < GPA_NOWHERE) ||
	    (c->fast && c->len > 16 && !fuzz_has_xmm(o)))
		return true;
	if (is_earlier(sh, o, c, FUZZ_STATUS(b->result)) && !fuzz_asks_user(b))
		return true;
	status = refusal(sh, o, c, &id);
	if (status)
		return (FUZZ_STATUS(b->result) == status && !fuzz_asks_user(b)) ||
		       breaks(d, id, c->code, status, fuzz_asks_user(b) ? ~0ULL : b->result);
	if (fuzz_is_gpa_flush(c->code) && !fuzz_in_l2(sh, o) && b->result != (u64)c->reps << 32)
		return breaks(d, "D37", c->code, (u64)c->reps << 32, b->result);
	return true;
}

bool fuzz_demands_op(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		     struct fuzz_difference *d)
{
	const struct fuzz_out *b = &sh->out[1];
	struct fuzz_call c;
	const char *id;

	/* A guest that has ended may not have come to this operation. */
	if (sh->f[1]->ended)
		return true;
	if (fuzz_look_at_call(o, &c))
		return demands_call(sh, o, &c, d);
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_VP_INDEX && o->w[1] >> 32)
		return !b->ret || breaks(d, "D9", (u32)o->w[0], 0, (u64)b->ret);
	if (o->kind != FUZZ_WRMSR || fuzz_in_l2(sh, o))
		return true;
	id = forbidden_write(sh, o);
	return !id || b->vector == GP_FAULT || goes_to_user(b) ||
	       breaks(d, id, (u32)o->w[0], GP_FAULT, b->vector);
}

/* A register with a value that stock does not have keeps it until it is written. */
static bool demands_registers(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	const struct fuzz_state *state = &sh->f[1]->state;
	u32 i, n = fuzz_nr_msrs();

	for (i = 0; i < n; i++) {
		const struct fuzz_taint *t = &sh->tainted[i];
		u32 msr = fuzz_msr(i);
		u64 gap = (state->msr[i] ^ t->is[1]) & ~fuzz_volatile_bits(msr, t->is[1]);

		if (t->id && !t->loose && state->msr_ok[i] && gap)
			return breaks(d, t->id, msr, t->is[1], state->msr[i]);
	}
	return true;
}

/* A timer whose message goes to SINT 0 is not enabled. */
static bool demands_timers(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	u32 i;

	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		u32 msr = HV_X64_MSR_STIMER_CONFIG(i);
		u64 config = sh->f[1]->state.msr[fuzz_msr_index(msr)];

		if ((config & HV_STIMER_ENABLE) && !(config & HV_STIMER_DIRECT) &&
		    !(config >> 16 & 15))
			return breaks(d, "D18", msr, config & ~HV_STIMER_ENABLE, config);
	}
	return true;
}

/* In xAPIC mode the upper half of ICR is ICR2, with its eight bits. */
static bool demands_icr2(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	u32 icr2 = sh->f[1]->state.apic[APIC_ICR2 / 16];

	return sh->s->setup.x2apic || icr2 == sh->icr2[1] ||
	       breaks(d, "D52", APIC_ICR2, sh->icr2[1], icr2);
}

/* A disabled SynIC delivers no message. */
static bool demands_silence(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	u64 simp = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP);
	int page = fuzz_page_at(sh->f[1], simp & ~(PAGE_SIZE - 1));
	u32 i, type;

	for (i = 0; i < HV_SYNIC_SINTS && sh->hushed && page >= 0; i++) {
		type = *(u32 *)(sh->f[1]->pages + (u32)page * PAGE_SIZE + 256 * i);
		if (type && !sh->slots[i])
			return breaks(d, "D16", (u32)page * PAGE_SIZE + 256 * i, 0, type);
	}
	return true;
}

/* Was nothing put on the code, or only the clock, which the guest has taken off again? */
static bool shows_code(const struct fuzz_shadow *sh, u32 page)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);

	if (sh->role[page] == FUZZ_AS_HYPERCALL)
		return true;
	return sh->bared == page + 1 && sh->role[page] == (FUZZ_AS_HYPERCALL | FUZZ_AS_TSC) &&
	       (!(tsc & 1) || fuzz_page_at(sh->f[1], tsc & ~(PAGE_SIZE - 1)) != (int)page);
}

/* The whole hypercall page is code, where nothing else is. */
static bool demands_code(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	const u32 call = fuzz_call_code(), fill = FUZZ_CODE_FILL;
	u32 page, i;

	for (page = 0; page < FUZZ_SLOTS * FUZZ_SLOT_PAGES; page++) {
		const u32 *code = (u32 *)(sh->f[1]->pages + page * PAGE_SIZE);
		u64 at = fuzz_page_address(sh->f[1], page);

		if (!at || !fuzz_is_code(sh, at) || sh->changed[page] || !shows_code(sh, page))
			continue;
		for (i = 0; i < PAGE_SIZE / 4; i++)
			if (code[i] != (i ? fill : call))
				return breaks(d, sh->bared == page + 1 ? "D53" : "D1",
					      page * PAGE_SIZE + 4 * i, i ? fill : call, code[i]);
	}
	return true;
}

bool fuzz_demands_state(const struct fuzz_shadow *sh, struct fuzz_difference *d)
{
	/* An L1 sets itself up when it is entered first: what it has written is not known yet. */
	if (sh->s->setup.nested && !sh->met)
		return true;
	return demands_registers(sh, d) && demands_timers(sh, d) && demands_icr2(sh, d) &&
	       demands_silence(sh, d) && demands_code(sh, d);
}
