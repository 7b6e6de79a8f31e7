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

static void look_for_timers(struct fuzz_shadow *sh)
{
	const u64 enabled = HV_STIMER_ENABLE | HV_STIMER_AUTO_ENABLE;
	u32 i, side;

	for (i = 0; i < HV_SYNIC_STIMERS && !sh->timer; i++) {
		for (side = 0; side < 2; side++) {
			u64 config = fuzz_shadow_msr(sh, side, HV_X64_MSR_STIMER_CONFIG(i));
			u64 count = fuzz_shadow_msr(sh, side, HV_X64_MSR_STIMER_COUNT(i));

			if ((config & enabled) && count && count < FUZZ_FAR)
				sh->timer = undeliverable(sh, config);
			/* Compared signed here, unsigned by stock. */
			if ((config & enabled) && count >= BIT64(63) && !sh->timer)
				sh->timer = "D12";
		}
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
		if (host ? out[side].ret == 1 : !out[side].vector)
			sh->msr[side][i] = o->w[1];
	note_roles(sh);
}

void fuzz_shadow_op(struct fuzz_shadow *sh, const struct fuzz_op *o, const struct fuzz_out out[2])
{
	/* Stock drops the value; it differs until the register is written again. */
	if (fuzz_writes(o, HV_X64_MSR_HYPERCALL) &&
	    (!fuzz_shadow_msr(sh, 0, HV_X64_MSR_GUEST_OS_ID) ||
	     (fuzz_shadow_msr(sh, 1, HV_X64_MSR_HYPERCALL) & HV_HYPERCALL_LOCKED)))
		fuzz_taint(sh, HV_X64_MSR_HYPERCALL, "D2");
	if (o->kind == FUZZ_WRMSR || o->kind == FUZZ_SET_MSR)
		note_write(sh, o, out);
	if (o->kind == FUZZ_ENFORCE)
		sh->enforce = o->w[0];
	if (o->kind == FUZZ_APIC && o->w[0] && o->w[1] == APIC_SPIV)
		sh->apic_off = !(o->w[2] & 0x100);
	if ((o->kind == FUZZ_CLOCK || o->kind == FUZZ_TSC_KHZ) && !out[0].ret)
		sh->clock = "D48";
	/* The reference time of stock takes a step then, and timers expire by it. */
	if (o->kind == FUZZ_TSC_KHZ && o->w[0] != 100 && !out[0].ret)
		sh->timer = "D48";
	/* A signal between the write and its exit: stock loses the answer. */
	if (fuzz_writes(o, HV_X64_MSR_SYNDBG_CONTROL))
		fuzz_taint(sh, HV_X64_MSR_SYNDBG_STATUS, "D51");
	if (o->kind == FUZZ_TIMER && !sh->timer)
		sh->timer = undeliverable(sh, o->w[1]);
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
	sh->apic_off = !(sh->f[0]->state.apic[APIC_SPIV / 16] & 0x100);
}
