// SPDX-License-Identifier: GPL-2.0-only
/* What a stream has done so far, as far as known differences (known.c) depend on it. */
#include <string.h>

#include "apic.h"
#include "fuzz.h"

u64 fuzz_shadow_msr(const struct fuzz_shadow *sh, u32 side, u32 msr)
{
	int i = fuzz_msr_index(msr);

	return i < 0 ? 0 : sh->msr[side][i];
}

bool fuzz_writes(const struct fuzz_op *o, u32 msr)
{
	return (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR) && o->w[0] == msr;
}

/* The register's values may differ from here on, until they are equal again. */
void fuzz_taint(struct fuzz_shadow *sh, u32 msr, const char *id)
{
	int i = fuzz_msr_index(msr);

	if (i >= 0)
		sh->tainted[i] = id;
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

static void add_vector(struct fuzz_shadow *sh, u32 vector)
{
	sh->timer_vectors[vector / 64 % 4] |= BIT64(vector % 64);
}

/* With all that this timer can leave behind. */
void fuzz_note_timer(struct fuzz_shadow *sh, u64 config, const char *id)
{
	if (!id)
		return;
	if (!sh->timer)
		sh->timer = id;
	if (config & HV_STIMER_DIRECT)
		add_vector(sh, config >> 4 & 0xff);
	else
		sh->timer_sints |= 1u << (config >> 16 & 15);
}

/* What such a timer's interrupt is, by now. */
static void note_timer_vectors(struct fuzz_shadow *sh)
{
	u32 i, side;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		for (side = 0; side < 2 && (sh->timer_sints >> i & 1); side++)
			add_vector(sh, fuzz_shadow_msr(sh, side, HV_X64_MSR_SINT(i)) & 0xff);
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
				fuzz_note_timer(sh, config, undeliverable(sh, config));
			/* Compared signed here, unsigned by stock. */
			if (count >= BIT64(63))
				fuzz_note_timer(sh, config, "D12");
			/* The reference time of stock takes steps. */
			if (sh->rate)
				fuzz_note_timer(sh, config, "D48");
		}
	}
	note_timer_vectors(sh);
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
}

/* By KVM: not by user space, to which a filter hands it. */
static bool is_written(const struct fuzz_out *out)
{
	return !out->vector && !(out->nr_exits && out->exits[0].reason == KVM_EXIT_X86_WRMSR);
}

static void note_write(struct fuzz_shadow *sh, const struct fuzz_op *o,
		       const struct fuzz_out out[2])
{
	bool host = o->kind == FUZZ_SET_MSR;
	int i = fuzz_msr_index((u32)o->w[0]);
	u32 side;

	if (i < 0)
		return;
	for (side = 0; side < 2; side++)
		if (host ? out[side].ret == 1 : is_written(&out[side]))
			sh->msr[side][i] = o->w[1];
	note_roles(sh);
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

/* The page that is at this address if its slot is where it was, or was moved; else -1. */
static int page_of(u64 at)
{
	u64 from = at < FUZZ_MOVED ? FUZZ_GPA : FUZZ_MOVED, page = (at - from) / PAGE_SIZE;

	return at >= from && page < FUZZ_SLOTS * FUZZ_SLOT_PAGES ? (int)page : -1;
}

/* Something else than the module writes to this address, or moves it. */
static void note_left(struct fuzz_shadow *sh, u64 at)
{
	u64 tsc = fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC);
	int page = page_of(at);

	if (page < 0)
		return;
	if (fuzz_is_code(sh, at))
		sh->left[page] = true;
	if ((tsc & 1) && page_of(tsc) == page && at % PAGE_SIZE < FUZZ_TSC_PAGE_SIZE)
		sh->foreign_tsc = true;
}

/*
 * Does the operation have the hypercall page stay where it was? It does when the guest writes to
 * it, when user space writes the register or clears GUEST_OS_ID, and when the page's memory goes
 * away.
 */
static void note_leftovers(struct fuzz_shadow *sh, const struct fuzz_op *o)
{
	u64 reg = fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL);

	if (o->kind == FUZZ_STORE)
		note_left(sh, o->w[0]);
	if (o->kind == FUZZ_TAKE)
		note_left(sh, fuzz_shadow_msr(sh, 1, HV_X64_MSR_SIMP) & ~(PAGE_SIZE - 1));
	if (o->kind == FUZZ_SLOT) {
		note_left(sh, reg);
		note_left(sh, fuzz_shadow_msr(sh, 1, HV_X64_MSR_REFERENCE_TSC) & ~(PAGE_SIZE - 1));
	}
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_GUEST_OS_ID && !o->w[1])
		note_left(sh, reg);
	if (o->kind != FUZZ_SET_MSR || o->w[0] != HV_X64_MSR_HYPERCALL)
		return;
	note_left(sh, reg);
	/* Also where it goes to: what it lies over there is not kept. */
	if ((o->w[1] & HV_HYPERCALL_ENABLE) && page_of(o->w[1]) >= 0)
		sh->left[page_of(o->w[1])] = true;
}

static void note_host_op(struct fuzz_shadow *sh, const struct fuzz_op *o, s64 ret)
{
	u32 i;

	if (o->kind == FUZZ_ENFORCE)
		sh->enforce = o->w[0];
	if (ret)
		return;
	if (o->kind == FUZZ_CLOCK)
		sh->clock = true;
	if (o->kind == FUZZ_SLOT)
		sh->slots = true;
	if (o->kind == FUZZ_SYNIC)
		sh->synic = true;
	if (o->kind == FUZZ_ROUTE)
		sh->early_route = !sh->synic && !sh->s->setup.synic;
	if (o->kind == FUZZ_TSC_KHZ && o->w[0] != 100)
		sh->rate = true;
	/* As route() in host_ops.c. */
	for (i = 0; o->kind == FUZZ_ROUTE && i < FUZZ_EVENTFDS; i++) {
		u32 sint = i == o->w[0] % FUZZ_EVENTFDS ? (u32)o->w[1] : i + 1;

		sh->rerouted[i] |= sh->routed && (sh->sint[i] != sint || sh->renumbered);
		sh->sint[i] = sint;
	}
	sh->routed |= o->kind == FUZZ_ROUTE;
}

void fuzz_shadow_op(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_out out[2])
{
	bool locked = fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL) & HV_HYPERCALL_LOCKED;

	memcpy(sh->out, out, sizeof(sh->out));
	if (fuzz_in_l2(sh, o) && (o->kind == FUZZ_RDMSR || o->kind == FUZZ_WRMSR))
		return; /* L1 has answered it */
	/* Stock drops the value; it differs until the register is written again. */
	if (fuzz_writes(o, HV_X64_MSR_HYPERCALL) &&
	    (locked || !fuzz_shadow_msr(sh, 0, HV_X64_MSR_GUEST_OS_ID)))
		fuzz_taint(sh, HV_X64_MSR_HYPERCALL, "D2");
	if (fuzz_writes(o, HV_X64_MSR_GUEST_OS_ID) && !o->w[1] && locked)
		fuzz_taint(sh, HV_X64_MSR_HYPERCALL, "D41");
	note_leftovers(sh, o);
	if (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR)
		note_write(sh, o, out);
	if (o->kind == FUZZ_SET_MSR && o->w[0] == HV_X64_MSR_VP_INDEX)
		sh->renumbered = true;
	/* The module writes it anew, where it can. */
	if (o->kind == FUZZ_WRMSR && o->w[0] == HV_X64_MSR_REFERENCE_TSC && is_written(&out[1]))
		sh->foreign_tsc = !writable(sh, o->w[1]);
	if (fuzz_is_host(o->kind))
		note_host_op(sh, o, out[0].ret);
	if (o->kind == FUZZ_APIC && o->w[0] && o->w[1] == APIC_SPIV)
		sh->apic_off = !(o->w[2] & 0x100);
	sh->cr8 |= o->kind == FUZZ_CR && o->w[0] == 8;
	/* A signal between the write and its exit: stock loses the answer. */
	if (fuzz_writes(o, HV_X64_MSR_SYNDBG_CONTROL))
		fuzz_taint(sh, HV_X64_MSR_SYNDBG_STATUS, "D51");
	if (o->kind == FUZZ_TIMER) {
		sh->ticks[o->w[3] / 64 % 4] |= BIT64(o->w[3] % 64);
		fuzz_note_timer(sh, o->w[1], undeliverable(sh, o->w[1]));
		if (sh->rate)
			fuzz_note_timer(sh, o->w[1], "D48");
	}
	look_for_timers(sh);
}

void fuzz_shadow_look(struct fuzz_shadow *sh)
{
	u32 i, n = fuzz_nr_msrs();

	for (i = 0; i < n; i++) {
		sh->msr[0][i] = sh->f[0]->state.msr[i];
		sh->msr[1][i] = sh->f[1]->state.msr[i];
		if (sh->msr[0][i] == sh->msr[1][i])
			sh->tainted[i] = NULL;
	}
	note_roles(sh);
	if (sh->f[0]->state.apic[APIC_PPR / 16] == sh->f[1]->state.apic[APIC_PPR / 16])
		sh->cr8 = false;
	sh->apic_off = !(sh->f[0]->state.apic[APIC_SPIV / 16] & 0x100);
}
