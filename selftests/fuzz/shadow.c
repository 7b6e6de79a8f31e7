// SPDX-License-Identifier: GPL-2.0-only
/* What a stream has done so far, as far as known differences (known.c) depend on it. */
#include <string.h>

#include "apic.h"
#include "fuzz.h"

#define ICR_SHORTHAND (3ULL << 18)
#define ICR_LOGICAL   BIT64(11)
#define ICR_MODE      (7ULL << 8)
#define ICR_NMI	      (4ULL << 8)
#define NMI_VECTOR    2

u64 fuzz_shadow_msr(const struct fuzz_shadow *sh, u32 side, u32 msr)
{
	int i = fuzz_msr_index(msr);

	return i < 0 ? 0 : sh->msr[side][i];
}

bool fuzz_writes(const struct fuzz_op *o, u32 msr)
{
	return (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR) && o->w[0] == msr;
}

void fuzz_taint(struct fuzz_shadow *sh, u32 msr, const char *id, u64 stock, u64 module)
{
	int i = fuzz_msr_index(msr);

	if (i >= 0)
		sh->tainted[i] = (struct fuzz_taint){ .id = id, .is = { stock, module } };
}

static void note_role(struct fuzz_shadow *sh, u64 value, u32 role)
{
	int page = fuzz_page_at(sh->f[0], value & ~(PAGE_SIZE - 1));

	if ((value & 1) && page >= 0)
		sh->role[page] |= role;
}

u32 fuzz_role_of(const struct fuzz_shadow *sh, u64 at)
{
	int page = fuzz_page_at(sh->f[0], at & ~(PAGE_SIZE - 1));

	return page < 0 ? 0 : sh->role[page];
}

/* The page that is at this address if its slot is where it was, or was moved; else -1. */
static int page_of(u64 at)
{
	u64 from = at < FUZZ_MOVED ? FUZZ_GPA : FUZZ_MOVED, page = (at - from) / PAGE_SIZE;

	return at >= from && page < FUZZ_SLOTS * FUZZ_SLOT_PAGES ? (int)page : -1;
}

static bool writable(const struct fuzz_shadow *sh, u64 at)
{
	int page = fuzz_page_at(sh->f[0], at & ~(PAGE_SIZE - 1));

	return page >= 0 && !sh->f[0]->slot_readonly[(u32)page / FUZZ_SLOT_PAGES];
}

/*
 * A message of this timer cannot be sent, or its interrupt not be raised: the id of what stock does
 * then, or NULL.
 */
static const char *undeliverable(const struct fuzz_shadow *sh, u64 config)
{
	u64 simp = fuzz_shadow_msr(sh, 0, HV_X64_MSR_SIMP);
	u64 sint = fuzz_shadow_msr(sh, 0, HV_X64_MSR_SINT(config >> 16 & 15));

	if (config & HV_STIMER_DIRECT)
		return sh->apic_off ? "D17" : NULL;
	if (!(config >> 16 & 15))
		return "D18";
	if (!(fuzz_shadow_msr(sh, 0, HV_X64_MSR_SCONTROL) & 1) || (sint & HV_SINT_POLLING))
		return "D16";
	if (sh->apic_off || !(simp & 1) || !writable(sh, simp) || (sint & HV_SINT_MASKED) ||
	    (sint & 0xff) < 16)
		return "D17";
	/* The code that lay over the slot looks like a message. */
	if (fuzz_role_of(sh, simp) & FUZZ_AS_HYPERCALL)
		return "D53";
	return NULL;
}

static void add_vector(struct fuzz_raise *t, u32 vector)
{
	t->vectors[vector / 64 % 4] |= BIT64(vector % 64);
}

static void add_sint(const struct fuzz_shadow *sh, struct fuzz_raise *t, u32 sint)
{
	u32 side;

	t->sints |= 1u << sint;
	for (side = 0; side < 2; side++)
		add_vector(t, fuzz_shadow_msr(sh, side, HV_X64_MSR_SINT(sint)) & 0xff);
}

/* With all that this timer can leave behind. */
static void add_timer(struct fuzz_shadow *sh, u32 sides, u32 n, u64 config, const char *id)
{
	struct fuzz_raise *t = &sh->raises[n % HV_SYNIC_STIMERS];

	if (!id)
		return;
	if (!t->id)
		t->id = id;
	t->sides |= sides;
	if (config & HV_STIMER_DIRECT)
		add_vector(t, config >> 4 & 0xff);
	else
		add_sint(sh, t, config >> 16 & 15);
}

void fuzz_note_timer_of(struct fuzz_shadow *sh, u32 side, u32 n, u64 config, const char *id)
{
	add_timer(sh, 1u << side, n, config, id);
}

void fuzz_note_timer(struct fuzz_shadow *sh, u32 n, u64 config, const char *id)
{
	add_timer(sh, 3, n, config, id);
}

/* What such a timer's interrupt is, by now. */
static void note_timer_vectors(struct fuzz_shadow *sh)
{
	u32 n, i;

	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		for (i = 0; i < HV_SYNIC_SINTS; i++)
			if (sh->raises[n].sints >> i & 1)
				add_sint(sh, &sh->raises[n], i);
}

/*
 * The guest writes the APIC's ICR in xAPIC mode, where ICR2 differs (D52): the interrupt of one of
 * them goes elsewhere. The VP has ID 0, and no logical ID.
 */
static void note_icr(struct fuzz_shadow *sh, u64 icr)
{
	bool reaches[2];
	u32 side;

	if (sh->s->setup.x2apic || (icr & ICR_SHORTHAND))
		return;
	for (side = 0; side < 2; side++) {
		u64 id = sh->icr2[side] >> 24 & 0xff;

		reaches[side] = id == 0xff || (!id && !(icr & ICR_LOGICAL));
	}
	for (side = 0; side < 2; side++) {
		if (!reaches[side] || reaches[!side])
			continue;
		sh->raises[FUZZ_ICR + side].id = "D52";
		sh->raises[FUZZ_ICR + side].sides = 1u << side;
		add_vector(&sh->raises[FUZZ_ICR + side],
			   (icr & ICR_MODE) == ICR_NMI ? NMI_VECTOR : icr & 0xff);
	}
}

/* Did the guest enter with a TSC of this side that is going to wrap around? */
static bool is_wrapped(const struct fuzz_shadow *sh, u32 side)
{
	return sh->rate && (s64)sh->f[side]->state.tsc < 0;
}

static bool has_tsc_page(const struct fuzz_shadow *sh, u32 side)
{
	return fuzz_shadow_msr(sh, side, HV_X64_MSR_REFERENCE_TSC) & 1;
}

/*
 * By the page's formula such a TSC is far in the future, and so is the time of stock, when it looks
 * at its timers. That of the module is so by a page that is frozen.
 */
static void note_wrapped(struct fuzz_shadow *sh, u32 n, u64 config)
{
	if (is_wrapped(sh, 0) && has_tsc_page(sh, 0))
		fuzz_note_timer_of(sh, 0, n, config, "D48");
	if (is_wrapped(sh, 1) && fuzz_tsc_is_frozen(sh))
		fuzz_note_timer_of(sh, 1, n, config, "D13");
}

static void look_for_timers(struct fuzz_shadow *sh)
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 i, side;

	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		for (side = 0; side < 2; side++) {
			u64 config = fuzz_shadow_msr(sh, side, HV_X64_MSR_STIMER_CONFIG(i));
			u64 count = fuzz_shadow_msr(sh, side, HV_X64_MSR_STIMER_COUNT(i));

			if (!(config & enabled) || !count)
				continue;
			if (count < FUZZ_FAR)
				fuzz_note_timer(sh, i, config, undeliverable(sh, config));
			/* When the ticks of so short a period come depends on the host. */
			if (count < FUZZ_FAR && (config & HV_STIMER_PERIODIC)) {
				fuzz_note_timer(sh, i, config, "D19");
				sh->raises[i].short_period = true;
			}
			/* The time has made a step, to where this one has expired or not. */
			if (sh->steps[1])
				fuzz_note_timer(sh, i, config, "D48");
			else if (sh->steps[0])
				fuzz_note_timer_of(sh, count < FUZZ_FAR, i, config, "D48");
			/* Compared signed here, unsigned by stock. */
			if (count >= BIT64(63) && !(config & HV_STIMER_PERIODIC))
				fuzz_note_timer(sh, i, config, "D12");
			note_wrapped(sh, i, config);
		}
	}
	note_timer_vectors(sh);
}

bool fuzz_tsc_is_frozen_in(const struct fuzz_shadow *sh, u32 side)
{
	return fuzz_shadow_msr(sh, side, HV_X64_MSR_TSC_EMULATION_CONTROL) &&
	       (fuzz_shadow_msr(sh, side, HV_X64_MSR_REFERENCE_TSC) & 1);
}

bool fuzz_tsc_is_frozen(const struct fuzz_shadow *sh)
{
	return fuzz_tsc_is_frozen_in(sh, 1);
}

bool fuzz_scales_tsc(const struct fuzz_shadow *sh)
{
	return vm_check_cap(sh->f[1]->vm, KVM_CAP_TSC_CONTROL) > 0;
}

/* The page that the reference TSC has in one of them, at its address or away from it; else -1. */
static int tsc_page(const struct fuzz_shadow *sh, u32 side)
{
	u64 tsc = fuzz_shadow_msr(sh, side, HV_X64_MSR_REFERENCE_TSC);

	return tsc & 1 ? page_of(tsc) : -1;
}

bool fuzz_tsc_is_foreign(const struct fuzz_shadow *sh)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);

	return (tsc & 1) && (sh->foreign_tsc || !writable(sh, tsc));
}

/* What keeps stock, or the module, from writing the page of the reference TSC as the other does. */
static void mark_tsc_pages(struct fuzz_shadow *sh)
{
	u32 side;

	for (side = 0; side < 2; side++) {
		int page = tsc_page(sh, side);

		if (page < 0)
			continue;
		if (!writable(sh, fuzz_shadow_msr(sh, side, HV_X64_MSR_REFERENCE_TSC)))
			sh->tsc[page] |= FUZZ_TSC_LATE;
		if (sh->rate)
			sh->tsc[page] |= FUZZ_TSC_RATED;
	}
}

/* The pages that registers name now. */
static void note_roles(struct fuzz_shadow *sh)
{
	static const struct {
		u32 msr, role;
	} roles[] = {
		{ HV_X64_MSR_HYPERCALL, FUZZ_AS_HYPERCALL },
		{ HV_X64_MSR_REFERENCE_TSC, FUZZ_AS_TSC },
		{ HV_X64_MSR_SIMP, FUZZ_AS_SIMP },
		{ HV_X64_MSR_SIEFP, FUZZ_AS_SIEFP },
		{ HV_X64_MSR_VP_ASSIST_PAGE, FUZZ_AS_ASSIST },
	};
	u32 i, side;

	for (i = 0; i < ARRAY_SIZE(roles); i++)
		for (side = 0; side < 2; side++)
			note_role(sh, fuzz_shadow_msr(sh, side, roles[i].msr), roles[i].role);
	mark_tsc_pages(sh);
}

/* By KVM: not by user space, to which a filter hands it. */
static bool is_written(const struct fuzz_out *out)
{
	return !out->vector && !(out->nr_exits && out->exits[0].reason == KVM_EXIT_X86_WRMSR);
}

static bool has_written(const struct fuzz_op *o, const struct fuzz_out *out)
{
	return o->kind == FUZZ_SET_MSR ? out->ret == 1 : is_written(out);
}

/*
 * HYPERCALL. Stock drops what is written without an identity of the guest; the module keeps it,
 * without Enable (D2). Without an identity the page is disabled, but the module's is not when it
 * is locked (D41). That the guest may not write a locked one the exception says.
 */
static void note_hypercall(struct fuzz_shadow *sh, const struct fuzz_op *o,
			   const struct fuzz_out out[2])
{
	bool locked = o->kind == FUZZ_WRMSR && (sh->hypercall[1] & HV_HYPERCALL_LOCKED);
	const char *id = "D2";

	if (fuzz_writes(o, HV_X64_MSR_HYPERCALL)) {
		/* Nor is it when user space restores such a one. */
		bool keeps = fuzz_shadow_msr(sh, 1, HV_X64_MSR_GUEST_OS_ID) ||
			     (o->kind == FUZZ_SET_MSR && (o->w[1] & HV_HYPERCALL_LOCKED));

		if (has_written(o, &out[0]) && fuzz_shadow_msr(sh, 0, HV_X64_MSR_GUEST_OS_ID))
			sh->hypercall[0] = o->w[1];
		if (has_written(o, &out[1]))
			sh->hypercall[1] = keeps ? o->w[1] : o->w[1] & ~HV_HYPERCALL_ENABLE;
	} else if (fuzz_writes(o, HV_X64_MSR_GUEST_OS_ID) && !o->w[1]) {
		if (has_written(o, &out[0]))
			sh->hypercall[0] &= ~HV_HYPERCALL_ENABLE;
		if (has_written(o, &out[1]) && !locked)
			sh->hypercall[1] &= ~HV_HYPERCALL_ENABLE;
		id = "D41";
	} else {
		return;
	}
	/* The whole code is written at each write, by whomever. */
	if (fuzz_writes(o, HV_X64_MSR_HYPERCALL) && has_written(o, &out[1]) &&
	    (sh->hypercall[1] & HV_HYPERCALL_ENABLE) && page_of(o->w[1]) >= 0)
		sh->changed[page_of(o->w[1])] = false;
	if (sh->hypercall[0] == sh->hypercall[1])
		id = NULL;
	fuzz_taint(sh, HV_X64_MSR_HYPERCALL, id, sh->hypercall[0], sh->hypercall[1]);
}

/*
 * What is told of the end of a SINT's interrupt. The routes name VP 0, and the module has them go
 * with that index.
 */
static void find_routes(struct fuzz_shadow *sh)
{
	u32 i;

	memset(sh->gsi[1], 0, sizeof(sh->gsi[1]));
	if (!sh->routed || fuzz_shadow_msr(sh, 1, HV_X64_MSR_VP_INDEX))
		return;
	for (i = 0; i < FUZZ_EVENTFDS; i++)
		if (sh->sint[i] < HV_SYNIC_SINTS)
			sh->gsi[1][sh->sint[i]] = (int)i + 1;
}

/* Stock keeps the routes that are gone (D55) and forgets what comes before the SynIC (D60). */
static void note_routes(struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	bool mine = sh->synic && !fuzz_shadow_msr(sh, 0, HV_X64_MSR_VP_INDEX);
	u32 i;

	sh->routed = true;
	for (i = 0; i < FUZZ_EVENTFDS; i++) {
		/* As route() in host_ops.c. */
		sh->sint[i] = i == o->w[0] % FUZZ_EVENTFDS ? (u32)o->w[1] : i + 1;
		if (mine && sh->sint[i] < HV_SYNIC_SINTS)
			sh->gsi[0][sh->sint[i]] = (int)i + 1;
	}
	find_routes(sh);
}

/* Bits that the module drops of what user space writes (D33). */
static u64 dropped(const struct fuzz_op *o)
{
	int row = fuzz_find_msr((u32)o->w[0]);

	return o->kind == FUZZ_SET_MSR && row >= 0 && fuzz_msr_row((u32)row)->restore_any ?
		       o->w[1] & fuzz_msr_row((u32)row)->reserved :
		       0;
}

static void note_write(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_out out[2])
{
	int i = fuzz_msr_index((u32)o->w[0]);
	u32 side;

	if (i < 0)
		return;
	for (side = 0; side < 2; side++)
		if (has_written(o, &out[side]))
			sh->msr[side][i] = o->w[1] & ~(side ? dropped(o) : 0);
	if (has_written(o, &out[0]) && has_written(o, &out[1]))
		fuzz_taint(sh, (u32)o->w[0], dropped(o) ? "D33" : NULL, sh->msr[0][i],
			   sh->msr[1][i]);
}

/* CRASH_CTL: stock has no bit for a message, and user space does not see what the guest wrote. */
static void note_crash(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_out out[2])
{
	if (!fuzz_writes(o, HV_X64_MSR_CRASH_CTL))
		return;
	if (o->kind == FUZZ_WRMSR) {
		if (is_written(&out[1]) && (o->w[1] & HV_CRASH_NOTIFY))
			sh->crash_notice = o->w[1] & (HV_CRASH_NOTIFY | HV_CRASH_MESSAGE);
		return;
	}
	if (out[0].ret == 1)
		sh->crash_ctl[0] = o->w[1] & HV_CRASH_NOTIFY;
	if (out[1].ret == 1) {
		sh->crash_ctl[1] = o->w[1] & (HV_CRASH_NOTIFY | HV_CRASH_MESSAGE);
		sh->crash_notice = 0;
	}
}

/* SYNDBG_STATUS of the module: user space answers the exit for SYNDBG_CONTROL by it. */
static void note_debugger(struct fuzz_shadow *sh, const struct fuzz_op *o,
			  const struct fuzz_out out[2])
{
	const struct fuzz_exit *x = &out[1].exits[0];

	sh->shown_status = sh->debug_status;
	if (fuzz_writes(o, HV_X64_MSR_SYNDBG_STATUS) && has_written(o, &out[1]))
		sh->debug_status = o->w[1];
	if (o->kind != FUZZ_WRMSR || o->w[0] != HV_X64_MSR_SYNDBG_CONTROL || !out[1].nr_exits ||
	    x->reason != KVM_EXIT_HYPERV || x->type != KVM_EXIT_HYPERV_SYNDBG)
		return;
	sh->debug_status = o->answer;
	/* A signal between the write and its exit: stock loses the answer. */
	fuzz_taint(sh, HV_X64_MSR_SYNDBG_STATUS, "D51", 0, sh->debug_status);
	sh->tainted[fuzz_msr_index(HV_X64_MSR_SYNDBG_STATUS)].any = true;
}

bool fuzz_in_l2(const struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	return sh->s->setup.nested && !o->l1 && !fuzz_is_host(o->kind);
}

u32 fuzz_call_code(void)
{
	/* VMMCALL or VMCALL, RET */
	return host_is_amd() ? 0xc3d9010f : 0xc3c1010f;
}

bool fuzz_is_code(const struct fuzz_shadow *sh, u64 at)
{
	u64 reg = fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL);

	return (reg & HV_HYPERCALL_ENABLE) && !((reg ^ at) & ~(PAGE_SIZE - 1));
}

/* Something else than the module writes to this address, or moves it. */
static void note_left(struct fuzz_shadow *sh, u64 at)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);
	int page = page_of(at);

	if (page < 0)
		return;
	if (fuzz_is_code(sh, at)) {
		sh->left[page] = true;
		sh->changed[page] = true;
	}
	if ((tsc & 1) && page_of(tsc) == page && at % PAGE_SIZE < FUZZ_TSC_PAGE_SIZE)
		sh->foreign_tsc = true;
}

/* Is that page's memory in this slot? */
static bool is_in_slot(u64 at, u64 slot)
{
	int page = page_of(at);

	return page >= 0 && (u32)page / FUZZ_SLOT_PAGES == slot % FUZZ_SLOTS;
}

/* Does the guest take the clock off the code, which comes back then? */
static void note_bared(struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);

	/* What user space has leave brings nothing back. */
	if (o->kind == FUZZ_SET_MSR || o->kind == FUZZ_SLOT)
		sh->bared = 0;
	if (o->kind == FUZZ_WRMSR && o->w[0] == HV_X64_MSR_REFERENCE_TSC &&
	    is_written(&sh->out[1]) && (tsc & 1) && fuzz_is_code(sh, tsc) && writable(sh, tsc))
		sh->bared = (u32)fuzz_page_at(sh->f[1], tsc & ~(PAGE_SIZE - 1)) + 1;
}

/* May the operation write to the message page, or have the SynIC deliver to it? */
static bool may_fill_slots(const struct fuzz_op *o)
{
	switch (o->kind) {
	case FUZZ_STORE:
	case FUZZ_SLOT:
	case FUZZ_SYNIC:
		return true;
	case FUZZ_WRMSR:
	case FUZZ_SET_MSR:
		/* These name a page, or let another one name it. */
		return o->w[0] == HV_X64_MSR_SCONTROL || o->w[0] == HV_X64_MSR_SIMP ||
		       o->w[0] == HV_X64_MSR_SIEFP || o->w[0] == HV_X64_MSR_HYPERCALL ||
		       o->w[0] == HV_X64_MSR_GUEST_OS_ID || o->w[0] == HV_X64_MSR_REFERENCE_TSC ||
		       o->w[0] == HV_X64_MSR_VP_ASSIST_PAGE;
	default:
		return false;
	}
}

/* The message page of a SynIC that is disabled, where nothing else is. */
static void look_at_slots(struct fuzz_shadow *sh)
{
	u64 simp = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP);
	int page = fuzz_page_at(sh->f[1], simp & ~(PAGE_SIZE - 1));
	u32 i;

	sh->hushed = (simp & 1) && page >= 0 && sh->role[page] == FUZZ_AS_SIMP &&
		     !(fuzz_shadow_msr(sh, 1, HV_X64_MSR_SCONTROL) & 1);
	for (i = 0; i < HV_SYNIC_SINTS && sh->hushed; i++)
		sh->slots[i] = *(u32 *)(sh->f[1]->pages + (u32)page * PAGE_SIZE + 256 * i);
}

/* The guest writes there, where the code is, too. */
static void note_over_code(struct fuzz_shadow *sh, u64 at, u64 value)
{
	u32 n = sh->nr_over_code % FUZZ_OVER_CODE;

	if (!fuzz_is_code(sh, at))
		return;
	sh->nr_over_code++;
	sh->over_code[n].at = at;
	sh->over_code[n].value = value;
}

/*
 * Does the operation have the hypercall page stay where it was? It does when the guest writes to
 * it, when user space writes the register or clears GUEST_OS_ID, and when the page's memory goes
 * away.
 */
static void note_leftovers(struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	const u64 direct = FUZZ_PAGE(FUZZ_ASSIST_PAGE) + ASSIST_DIRECT;
	u64 reg = fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL);

	if (o->kind == FUZZ_STORE)
		note_left(sh, o->w[0]);
	/* L1 writes there, wherever its register is by now. */
	if (o->kind == FUZZ_NESTED && sh->s->setup.nested) {
		note_left(sh, direct);
		note_over_code(sh, direct, !!(o->w[0] & FUZZ_NESTED_ALLOWED));
		note_left(sh, direct + ASSIST_CALLS - ASSIST_DIRECT);
		note_over_code(sh, direct + ASSIST_CALLS - ASSIST_DIRECT,
			       !!(o->w[0] & FUZZ_NESTED_POSTS));
	}
	if (o->kind == FUZZ_STORE && !sh->out[1].vector)
		note_over_code(sh, o->w[0], o->w[1]);
	if (o->kind == FUZZ_TAKE)
		note_left(sh, fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP) & ~(PAGE_SIZE - 1));
	if (o->kind == FUZZ_SLOT && is_in_slot(reg, o->w[0]))
		note_left(sh, reg);
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_GUEST_OS_ID && !o->w[1])
		note_left(sh, reg);
	if (o->kind != FUZZ_SET_MSR || o->w[0] != HV_X64_MSR_HYPERCALL)
		return;
	note_left(sh, reg);
	/* Also where it goes to: what it lies over there is not kept. */
	if ((o->w[1] & HV_HYPERCALL_ENABLE) && page_of(o->w[1]) >= 0)
		sh->left[page_of(o->w[1])] = true;
}

/*
 * With an entry of the guest the module's page follows another rate, and is written anew, where it
 * can be, if user space has set the clock.
 */
static void note_entry(struct fuzz_shadow *sh)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);

	if (fuzz_tsc_is_frozen(sh))
		return;
	sh->hz = fuzz_shadow_msr(sh, 1, HV_X64_MSR_TSC_FREQUENCY);
	if (sh->clock_set)
		sh->foreign_tsc = !writable(sh, tsc);
	sh->clock_set = false;
}

static void note_host_op(struct fuzz_shadow *sh, const struct fuzz_op *o, s64 ret)
{
	if (o->kind == FUZZ_ENFORCE)
		sh->enforce = o->w[0];
	if (ret)
		return;
	if (o->kind == FUZZ_TSC_KHZ && o->w[0] != 100)
		sh->rate = true;
	sh->clock_set |= o->kind == FUZZ_CLOCK;
	if (o->kind == FUZZ_SYNIC)
		sh->synic = true;
	if (o->kind == FUZZ_ROUTE)
		note_routes(sh, o);
	if (o->kind == FUZZ_SLOT || o->kind == FUZZ_TSC_KHZ)
		mark_tsc_pages(sh);
}

/* Stock ends the interrupt of a polled SINT with AutoEOI at once, and so that of its twins. */
static void note_twins(struct fuzz_shadow *sh)
{
	const u64 flags = HV_SINT_AUTO_EOI | HV_SINT_POLLING;
	u32 i, j;

	for (i = 0; i < HV_SYNIC_SINTS; i++) {
		u64 polled = fuzz_shadow_msr(sh, 1, HV_X64_MSR_SINT(i));

		if ((polled & flags) != flags || (polled & HV_SINT_MASKED))
			continue;
		sh->polled_auto[polled % 256 / 64] |= BIT64(polled % 64);
		for (j = 0; j < HV_SYNIC_SINTS; j++)
			if (j != i &&
			    !((polled ^ fuzz_shadow_msr(sh, 1, HV_X64_MSR_SINT(j))) & 0xff))
				sh->twins |= 1u << j;
	}
}

/* SIMP moves, or KVM clears the page: a slot is free, at which stock looks with the next EOI. */
static void note_freed(struct fuzz_shadow *sh)
{
	u32 i;

	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		u64 config = fuzz_shadow_msr(sh, 1, HV_X64_MSR_STIMER_CONFIG(i));

		if ((config & (HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE)) &&
		    fuzz_shadow_msr(sh, 1, HV_X64_MSR_STIMER_COUNT(i)) < FUZZ_FAR)
			fuzz_note_timer(sh, i, config, "D17");
	}
}

static void note_register(struct fuzz_shadow *sh, const struct fuzz_op *o,
			  const struct fuzz_out out[2])
{
	int hypercall = fuzz_msr_index(HV_X64_MSR_HYPERCALL);
	const bool frozen[2] = { fuzz_tsc_is_frozen_in(sh, 0), fuzz_tsc_is_frozen_in(sh, 1) };
	u32 side;

	note_write(sh, o, out);
	if (fuzz_tsc_is_frozen_in(sh, 0) && !fuzz_tsc_is_frozen_in(sh, 1) && tsc_page(sh, 0) >= 0)
		sh->tsc[tsc_page(sh, 0)] |= FUZZ_TSC_ALONE;
	/* That of stock alone may have been frozen, by a reserved bit. */
	for (side = 0; side < 2 && fuzz_writes(o, HV_X64_MSR_TSC_EMULATION_CONTROL); side++)
		if (frozen[side] && !fuzz_tsc_is_frozen_in(sh, side))
			sh->let_go = (u32)tsc_page(sh, side) + 1;
	/* Stock takes whatever lies there for its clock. */
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_REFERENCE_TSC &&
	    fuzz_tsc_is_frozen_in(sh, 0)) {
		sh->steps[0] = true;
		sh->restored_tsc = true;
	}
	if (fuzz_writes(o, HV_X64_MSR_SIMP) || fuzz_writes(o, HV_X64_MSR_SIEFP))
		note_freed(sh);
	if (fuzz_writes(o, HV_X64_MSR_VP_INDEX))
		find_routes(sh);
	note_twins(sh);
	note_hypercall(sh, o, out);
	for (side = 0; side < 2; side++)
		sh->msr[side][hypercall] = sh->hypercall[side];
	note_crash(sh, o, out);
	for (side = 0; side < 2 && fuzz_writes(o, HV_X64_MSR_ICR); side++) {
		if (!has_written(o, &out[side]))
			continue;
		sh->icr[side] = o->w[1] >> 32;
		/* Stock on Intel has an upper half of its own. */
		if (side)
			sh->icr2[side] = o->w[1] >> 32 & 0xff000000;
		else if (host_is_amd())
			sh->icr2[side] = o->w[1] >> 32;
	}
	/* The module writes it anew, where it can. */
	if (fuzz_writes(o, HV_X64_MSR_REFERENCE_TSC) && has_written(o, &out[1])) {
		if (o->kind == FUZZ_WRMSR || !fuzz_tsc_is_frozen(sh))
			sh->foreign_tsc = !writable(sh, o->w[1]);
	}
	note_roles(sh);
}

/* FUZZ_TIMER has left both registers 0, if the guest may write them. */
static void note_timer_stopped(struct fuzz_shadow *sh, u32 n, const struct fuzz_out out[2])
{
	u32 side, i, msr = HV_X64_MSR_STIMER_CONFIG(n % HV_SYNIC_STIMERS);

	for (i = 0; i < 2; i++)
		sh->tainted[fuzz_msr_index(msr + i)].loose = true;
	for (side = 0; side < 2; side++)
		if (out[side].result == FUZZ_TIMER_FAULTED || out[side].nr_exits)
			return;
	for (i = 0; i < 2; i++) {
		fuzz_taint(sh, msr + i, NULL, 0, 0);
		for (side = 0; side < 2; side++)
			sh->msr[side][fuzz_msr_index(msr + i)] = 0;
	}
}

/* What an L1 writes when it is entered first, before its operations: nested_assist_on(). */
static void note_l1(struct fuzz_shadow *sh)
{
	const struct {
		u32 msr;
		u64 value;
	} own[] = {
		{ HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL },
		{ HV_X64_MSR_VP_ASSIST_PAGE, FUZZ_PAGE(FUZZ_ASSIST_PAGE) | ASSIST_ENABLE },
	};
	u32 i, side;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		for (side = 0; side < 2; side++)
			sh->msr[side][fuzz_msr_index(own[i].msr)] = own[i].value;
}

void fuzz_shadow_op(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_out out[2])
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 side;

	memcpy(sh->out, out, sizeof(sh->out));
	if (sh->s->setup.nested && !sh->entered && !fuzz_is_host(o->kind))
		note_l1(sh);
	if (o->kind == FUZZ_NESTED_STATE)
		sh->restored_l2 = sh->s->setup.nested && !out[1].ret;
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_VP_ASSIST_PAGE)
		sh->assist_set = true;
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_REENLIGHTENMENT_CONTROL) {
		sh->told = o->w[1] & BIT64(16) ? o->w[1] & 0xff : 0;
		sh->restored_vm = o->w[1] & BIT64(16);
		sh->rate_over = false;
	}
	/* A WRMSR of the guest: the module has looked at the rate before that entry. */
	if (o->kind == FUZZ_WRMSR && o->w[0] == HV_X64_MSR_TSC_EMULATION_STATUS && !o->w[1] &&
	    !out[1].vector && !out[1].nr_exits)
		sh->rate_over = true;
	if (sh->restored_vm && !sh->rate_kept && fuzz_tsc_is_frozen(sh))
		sh->rate_kept = fuzz_scales_tsc(sh);
	if (o->l1 || o->kind == FUZZ_NESTED) {
		sh->restored_l2 = false;
		sh->assist_set = false;
	}
	sh->faulted_in_l1 |= o->l1 && !out[0].vector && out[1].vector;
	sh->locked = sh->hypercall[1] & HV_HYPERCALL_LOCKED;
	if (!fuzz_is_host(o->kind)) {
		note_entry(sh);
		sh->entered = true;
	}
	if (fuzz_in_l2(sh, o) && (o->kind == FUZZ_RDMSR || o->kind == FUZZ_WRMSR))
		return; /* L1 has answered it */
	note_leftovers(sh, o);
	note_bared(sh, o);
	if (may_fill_slots(o))
		sh->hushed = false;
	if (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR)
		note_register(sh, o, out);
	note_debugger(sh, o, out);
	if (fuzz_is_host(o->kind))
		note_host_op(sh, o, out[0].ret);
	if (o->kind == FUZZ_APIC && o->w[0] && o->w[1] == APIC_SPIV)
		sh->apic_off = !(o->w[2] & 0x100);
	if (o->kind == FUZZ_APIC && o->w[0] && o->w[1] == APIC_ICR)
		note_icr(sh, o->w[2]);
	sh->eois += out[1].irqs + (o->kind == FUZZ_APIC && o->w[0] && o->w[1] == APIC_EOI);
	sh->cr8 |= (o->kind == FUZZ_CR && o->w[0] == 8) ||
		   (o->kind == FUZZ_APIC && sh->s->setup.x2apic && o->w[0] && o->w[1] == APIC_TPR);
	/* Stock takes each step of the TSC (D48), the module that of a frozen page. */
	for (side = 0; side < 2 && o->kind == FUZZ_TSC; side++)
		sh->steps[side] |= out[side].result != FUZZ_TIME_NONE &&
				   (sh->f[side]->who == FUZZ_STOCK || fuzz_tsc_is_frozen(sh));
	if (o->kind == FUZZ_TIMER) {
		u32 n = (u32)o->w[0];

		sh->ticks[o->w[3] / 64 % 4] |= BIT64(o->w[3] % 64);
		/* The filter may have kept the guest from writing CONFIG. */
		for (side = 0; side < 2; side++) {
			u64 config = fuzz_shadow_msr(sh, side, HV_X64_MSR_STIMER_CONFIG(n % 4));

			if (!out[side].nr_exits || !(config & enabled))
				continue;
			fuzz_note_timer(sh, n, config, undeliverable(sh, config));
			if (!(config & HV_STIMER_DIRECT))
				sh->timed_messages |= 1u << (config >> 16 & 15);
		}
		note_timer_stopped(sh, n, out);
		fuzz_note_timer(sh, n, o->w[1], undeliverable(sh, o->w[1]));
		/* The reference time of stock takes steps, or is what lay in the page. */
		if (sh->rate)
			fuzz_note_timer(sh, n, o->w[1], "D48");
		if (sh->restored_tsc)
			fuzz_note_timer(sh, n, o->w[1], "D13");
	}
	look_for_timers(sh);
}

void fuzz_shadow_begin(struct fuzz_shadow *sh)
{
	sh->enforce = sh->s->setup.enforce;
	sh->synic = sh->s->setup.synic;
	sh->apic_off = true;
	sh->crash_ctl[1] = HV_CRASH_NOTIFY | HV_CRASH_MESSAGE;
}

void fuzz_shadow_look(struct fuzz_shadow *sh)
{
	int hypercall = fuzz_msr_index(HV_X64_MSR_HYPERCALL);
	u32 i, n = fuzz_nr_msrs(), ppr;

	for (i = 0; i < n; i++) {
		sh->msr[0][i] = sh->f[0]->state.msr[i];
		sh->msr[1][i] = sh->f[1]->state.msr[i];
		if (sh->msr[0][i] == sh->msr[1][i])
			sh->tainted[i].id = NULL;
	}
	if (sh->msr[0][hypercall] == sh->msr[1][hypercall]) {
		sh->hypercall[0] = sh->msr[0][hypercall];
		sh->hypercall[1] = sh->hypercall[0];
	}
	sh->met = sh->entered;
	note_roles(sh);
	look_at_slots(sh);
	ppr = sh->f[0]->state.apic[APIC_PPR / 16];
	/* Both may be older ones. */
	if (ppr == sh->f[1]->state.apic[APIC_PPR / 16] &&
	    !((ppr ^ fuzz_ppr(&sh->f[0]->state)) & 0xf0))
		sh->cr8 = false;
	sh->apic_off = !(sh->f[0]->state.apic[APIC_SPIV / 16] & 0x100);
}
