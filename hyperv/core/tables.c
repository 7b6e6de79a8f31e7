// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables as data, their check and the look-up indices. Pure: compiled in the module, under
 * KUnit and in user space. khv_tables_check() writes the indices once; afterwards they are
 * read-only.
 */
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/tables.h"

#define KHV_ENLIGHTENMENT(_id, _name, ...) \
	[KHV_ENL_##_id] = { .id = #_id, .name = (_name), __VA_ARGS__ },
const struct khv_enl_row khv_enls[KHV_NR_ENLS] = {
#include "khv/enlightenments.def.h"
};
#undef KHV_ENLIGHTENMENT

/* Rows override these defaults on purpose: count and stride are 1 unless the row says otherwise. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"

#define KHV_MSR(_name, _first, _access, ...)                                            \
	[KHV_MSR_ROW_##_name] = {                                                       \
		.name = #_name, .first = (_first), .count = 1, .stride = 1, __VA_ARGS__ \
	},
const struct khv_msr_row khv_msrs[KHV_NR_MSR_ROWS] = {
#include "khv/msrs.def.h"
};
#undef KHV_MSR

#define KHV_HYPERCALL(_name, _code, _handler, ...) \
	[KHV_HC_ROW_##_name] = { .name = #_name, .code = (_code), .count = 1, __VA_ARGS__ },
const struct khv_hc_row khv_hcs[KHV_NR_HC_ROWS] = {
#include "khv/hypercalls.def.h"
};
#undef KHV_HYPERCALL

#pragma GCC diagnostic pop

u8 khv_msr_index[KHV_MSR_SPAN + KHV_MSR_NESTED_SPAN] __read_mostly;
u8 khv_hc_index[KHV_HC_SPAN] __read_mostly;
bool khv_l2_calls_hooked __read_mostly;
u64 khv_hc_listed __read_mostly;

static u64 hidden_by_name(const char *name, unsigned int len)
{
	u64 found = 0;
	unsigned int i;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (!(khv_hcs[i].flags & KHV_HIDDEN))
			continue;
		if ((len == 3 && !memcmp(name, "all", 3)) ||
		    (len == strlen(khv_hcs[i].name) && !memcmp(name, khv_hcs[i].name, len)))
			found |= BIT_ULL(i);
	}
	return found;
}

const char *khv_hc_list(const char *names, unsigned int *len)
{
	u64 listed = 0, found;

	khv_hc_listed = 0;
	while (*names) {
		*len = strcspn(names, ",");
		found = hidden_by_name(names, *len);
		if (!found)
			return names;
		listed |= found;
		names += *len;
		if (*names)
			names++;
	}
	khv_hc_listed = listed;
	return NULL;
}

bool khv_enl_has_call(unsigned int enl)
{
	unsigned int i;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (khv_hcs[i].enl == enl && khv_hc_shown(i))
			return true;
	}
	return false;
}

bool khv_has_fast_output(void)
{
	unsigned int i;

	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		const struct khv_hc_row *r = &khv_hcs[i];

		if ((r->flags & KHV_FAST) && (r->out || r->rep_out) && khv_hc_shown(i))
			return true;
	}
	return false;
}

static bool privs_valid(const struct khv_priv *priv)
{
	unsigned int i;

	for (i = 0; i < KHV_MAX_PRIVS; i++) {
		if (priv[i].reg >= KHV_NR_CPUID_REGS || priv[i].bit > KHV_WHOLE_REG)
			return false;
	}
	return true;
}

static bool msr_row_valid(unsigned int row)
{
	const struct khv_msr_row *r = &khv_msrs[row];
	unsigned int i;

	if (!r->count || !r->stride || r->enl >= KHV_NR_ENLS || !privs_valid(r->need))
		return false;
	if (!r->need[0].reg)
		return false;
	/* The fast path checks neither. */
	if ((r->flags & KHV_MSR_ATOMIC_WR) && (r->flags & (KHV_MSR_RO | KHV_MSR_OVERLAY)))
		return false;
	/* Only a register that no KVM has may be hidden. */
	if ((r->flags & KHV_MSR_SHOWN) && !(r->flags & KHV_MSR_UNROUTED))
		return false;
	if (row && r->first <= khv_msrs[row - 1].first)
		return false;

	for (i = 0; i < r->count; i++) {
		u32 msr = r->first + i * r->stride;
		u32 at = msr - KHV_MSR_BASE;

		if (at >= KHV_MSR_SPAN) {
			at = msr - KHV_MSR_NESTED_BASE;
			if (at >= KHV_MSR_NESTED_SPAN)
				return false;
			at += KHV_MSR_SPAN;
		}
		if (khv_msr_index[at])
			return false;
		khv_msr_index[at] = row + 1;
	}
	return true;
}

static bool hc_row_valid(unsigned int row)
{
	const struct khv_hc_row *r = &khv_hcs[row];
	unsigned int i;

	if (!r->count || r->enl >= KHV_NR_ENLS || !privs_valid(r->need))
		return false;
	if ((!r->need[0].reg && !(r->flags & KHV_HIDDEN)) || r->hdr > 4096 ||
	    r->out > KHV_OUTPUT_MAX_BYTES || r->rep_out > KHV_OUTPUT_MAX_BYTES)
		return false;
	if (!(r->flags & KHV_REP) != !r->rep)
		return false;
	if ((r->varhdr && !(r->flags & KHV_VARHDR)) || (r->rep_out && !(r->flags & KHV_EACH)))
		return false;
	/* The driver calls the handler of each element, and writes one output for each. */
	if ((r->flags & KHV_EACH) &&
	    (!(r->flags & KHV_REP) || (r->flags & (KHV_USER_EXIT | KHV_ATOMIC)) || r->out))
		return false;
	/* What decides whose call of an L2 it is does not look at extra_calls=. */
	if ((r->flags & KHV_HIDDEN) && (r->flags & (KHV_L2 | KHV_L2_POST)))
		return false;
	/* The module must not read an input whose form it does not check. */
	if ((r->flags & KHV_ANY_FORM) && (!(r->flags & KHV_USER_EXIT) || r->hdr))
		return false;
	if ((r->flags & (KHV_XMM | KHV_ATOMIC)) && !(r->flags & KHV_FAST))
		return false;
	if ((r->flags & KHV_ATOMIC) && r->out)
		return false;
	/* The fast path copies 64-bit words, and does not check again that they fit. */
	if ((r->flags & KHV_ATOMIC) &&
	    (r->hdr > KHV_FAST_MAX_BYTES || (r->hdr | r->rep) % sizeof(u64)))
		return false;
	/* Without XMM the fast form has two registers only. */
	if ((r->flags & KHV_FAST) && !(r->flags & KHV_XMM) && r->hdr > KHV_FAST_REGS_BYTES)
		return false;
	if (row && r->code < khv_hcs[row - 1].code + khv_hcs[row - 1].count)
		return false;
	if (row == KHV_HC_ROW_EXT_CALL)
		return r->code >= KHV_HC_SPAN && !(r->flags & KHV_HIDDEN);

	for (i = 0; i < r->count; i++) {
		if (r->code + i >= KHV_HC_SPAN)
			return false;
		if (khv_hc_shown(row))
			khv_hc_index[r->code + i] = row + 1;
	}
	return true;
}

int khv_tables_check(const char **bad)
{
	unsigned int i;

	memset(khv_msr_index, 0, sizeof(khv_msr_index));
	memset(khv_hc_index, 0, sizeof(khv_hc_index));
	khv_l2_calls_hooked = false;

	for (i = 0; i < KHV_NR_ENLS; i++) {
		*bad = khv_enls[i].name;
		if (!privs_valid(khv_enls[i].offer))
			return -EINVAL;
	}
	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		*bad = khv_msrs[i].name;
		if (!msr_row_valid(i))
			return -EINVAL;
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		*bad = khv_hcs[i].name;
		if (!hc_row_valid(i))
			return -EINVAL;
		if ((khv_hcs[i].flags & KHV_L2) && khv_hcs[i].enl != KHV_STOCK_L2_CALLS)
			khv_l2_calls_hooked = true;
	}
	*bad = NULL;
	return 0;
}
