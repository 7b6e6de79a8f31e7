// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calling convention of hypercalls: checks the fields of a call against its row. Pure.
 * Documentation/hypercalls.rst specifies the order of the checks.
 */
#include <linux/kernel.h>

#include "khv/hcall.h"

/* Is a block in guest memory empty, or aligned and within one page? */
static bool block_valid(u64 gpa, u32 len)
{
	return !len || (!(gpa % sizeof(u64)) && (gpa & 0xfff) + len <= 4096);
}

static u16 check_fast(const struct khv_hcall *hc, const struct khv_hc_row *row, u32 len, u32 out)
{
	u32 room = row->flags & KHV_XMM ? KHV_FAST_MAX_BYTES : KHV_FAST_REGS_BYTES;

	if (!(row->flags & KHV_FAST))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (out) {
		/* Only 64-bit callers get output in registers. */
		if (!hc->longmode)
			return HV_STATUS_INVALID_HYPERCALL_INPUT;
		len = khv_fast_output_at(len) + out;
	}
	return len > room ? HV_STATUS_INVALID_HYPERCALL_INPUT : HV_STATUS_SUCCESS;
}

static u16 check_memory(const struct khv_hcall *hc, u32 len, u32 out)
{
	if (!block_valid(hc->in, len) || !block_valid(hc->out, out))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (len && out && hc->in < hc->out + out && hc->out < hc->in + len)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	return HV_STATUS_SUCCESS;
}

u16 khv_hcall_check(const struct khv_hcall *hc, const struct khv_hc_row *row)
{
	u32 len, out;

	if (hc->control & KHV_CTL_RSVDZ)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (!row)
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (row->flags & KHV_ANY_FORM)
		return HV_STATUS_SUCCESS;

	if (row->flags & KHV_REP) {
		if (hc->rep_start >= hc->rep_count)
			return HV_STATUS_INVALID_HYPERCALL_INPUT;
	} else if (hc->rep_count || hc->rep_start) {
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	}
	if (hc->varhdr > (row->flags & KHV_VARHDR ? row->varhdr ?: KHV_MAX_BANKS : 0))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;

	len = khv_hcall_input_len(hc, row);
	out = khv_hcall_output_len(hc, row);
	return hc->fast ? check_fast(hc, row, len, out) : check_memory(hc, len, out);
}
