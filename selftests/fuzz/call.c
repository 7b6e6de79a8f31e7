// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "call.h"

bool fuzz_look_at_call(const struct fuzz_op *o, struct fuzz_call *c)
{
	u64 control = o->w[1];
	int row = fuzz_find_call(control & 0xffff);

	if (o->kind != FUZZ_CALL)
		return false;
	memset(c, 0, sizeof(*c));
	c->code = control & 0xffff;
	c->fast = control & HV_CTL_FAST;
	c->varhdr = control >> 17 & 0x3ff;
	c->reps = control >> 32 & 0xfff;
	c->start = control >> 48 & 0xfff;
	/* Beside stock the module has no parameters: to both a hidden call is unknown. */
	c->row = row < 0 || fuzz_call_row((u32)row)->hidden ? NULL : fuzz_call_row((u32)row);
	if (c->row)
		c->len = c->row->hdr + c->varhdr * 8 + c->reps * c->row->element;
	if (!c->fast) {
		memcpy(c->w, o->w + 4, FUZZ_INPUT_WORDS * 8);
	} else {
		c->w[0] = o->w[2];
		c->w[1] = o->w[3];
		memcpy(c->w + 2, o->w + 4, FUZZ_INPUT_WORDS * 8);
	}
	return true;
}

bool fuzz_has_xmm(const struct fuzz_op *o)
{
	return o->w[0] == FUZZ_XMM || o->w[0] == FUZZ_CPL3 || o->w[0] == FUZZ_32_BIT;
}

bool fuzz_is_flush(u32 code)
{
	return code == HVCALL_FLUSH_SPACE || code == HVCALL_FLUSH_LIST ||
	       code == HVCALL_FLUSH_SPACE_EX || code == HVCALL_FLUSH_LIST_EX;
}

bool fuzz_is_ipi(u32 code)
{
	return code == HVCALL_SEND_IPI || code == HVCALL_SEND_IPI_EX;
}

bool fuzz_is_gpa_flush(u32 code)
{
	return code == HVCALL_FLUSH_GPA_SPACE || code == HVCALL_FLUSH_GPA_LIST;
}

bool fuzz_is_reflected(const struct fuzz_out *out)
{
	return !out->vector && out->result == NESTED_REFLECTED;
}

/* Is the input's place wrong: not aligned, or across the end of a page? */
static bool misplaced(const struct fuzz_op *o, const struct fuzz_call *c)
{
	return !c->fast && c->len && (o->w[2] % 8 || o->w[2] % PAGE_SIZE + c->len > PAGE_SIZE);
}

/* Is the input in memory at all? */
bool fuzz_is_readable(const struct fuzz_op *o, const struct fuzz_call *c)
{
	return c->fast || !c->len ||
	       (o->w[2] >= FUZZ_PAGE(FUZZ_IN_PAGE) && o->w[2] < FUZZ_PAGE(FUZZ_PAGES));
}

u32 fuzz_form_status(const struct fuzz_op *o, const struct fuzz_call *c)
{
	const struct fuzz_row *row = c->row;

	if (!row || row->any_form)
		return HV_STATUS_SUCCESS;
	if (row->rep ? c->start >= c->reps : c->reps || c->start)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (c->varhdr > (row->varhdr ? 64 : 0))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (c->fast && (!row->fast || c->len > (row->xmm ? 112 : 16)))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (misplaced(o, c))
		return HV_STATUS_INVALID_ALIGNMENT;
	return fuzz_is_readable(o, c) ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_HYPERCALL_INPUT;
}

u32 fuzz_message_status(const struct fuzz_call *c)
{
	u32 type = (u32)c->w[1], size = (u32)(c->w[1] >> 32);

	return c->code == HVCALL_POST_MESSAGE && (!type || type >> 31 || size > 240) ?
		       HV_STATUS_INVALID_PARAMETER :
		       HV_STATUS_SUCCESS;
}

u32 fuzz_signal_status(const struct fuzz_call *c)
{
	return c->code == HVCALL_SIGNAL_EVENT && (c->w[0] & FUZZ_SIGNAL_RESERVED) ?
		       HV_STATUS_INVALID_HYPERCALL_INPUT :
		       HV_STATUS_SUCCESS;
}

u32 fuzz_ipi_status(const struct fuzz_call *c)
{
	if (!fuzz_is_ipi(c->code))
		return HV_STATUS_SUCCESS;
	if (c->w[0] >> 32)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	return (u32)c->w[0] < 16 || (u32)c->w[0] > 255 ? HV_STATUS_INVALID_PARAMETER :
							 HV_STATUS_SUCCESS;
}

u32 fuzz_flush_status(const struct fuzz_shadow *sh, const struct fuzz_call *c)
{
	bool bad = (c->w[1] & ~0xfULL) || (c->reps && (c->w[1] & BIT64(2))) ||
		   ((c->w[1] & BIT64(3)) && sh->enforce &&
		    !cpuid_test(&sh->f[1]->v->cpuid, HV_F_EXT_GVA));

	return fuzz_is_flush(c->code) && bad ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
}

u32 fuzz_vp_set_status(const struct fuzz_call *c)
{
	bool bad = (c->code == HVCALL_SEND_IPI_EX && c->w[1] > 1) ||
		   ((c->code == HVCALL_FLUSH_SPACE_EX || c->code == HVCALL_FLUSH_LIST_EX) &&
		    c->w[2] > 1);

	return bad ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
}

u32 fuzz_gpa_flush_status(const struct fuzz_call *c)
{
	return fuzz_is_gpa_flush(c->code) && c->w[1] ? HV_STATUS_INVALID_PARAMETER :
						       HV_STATUS_SUCCESS;
}
