/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The drivers of msr.c and hypercall.c for the exit fast path: the same tables and handlers, with
 * interrupts off, and without what only the slow path can do. Included by exit_policy.h only, which
 * inlines them: a call with its saved registers takes a tenth of the time of an answer. The
 * caller advances RIP. An exit that is not answered leaves no change that the guest can see, except
 * that a TLB may have been flushed.
 */
#ifndef KHV_ANSWER_H
#define KHV_ANSWER_H

#include "khv/handlers.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/trace.h"

/* Return: KHV_FAST_OK, with RAX and RDX written by a read, or the reason for the slow path. */
static __always_inline enum khv_fast_result answer_msr(struct kvm_vcpu *vcpu, struct khv_vcpu *vp,
						       int row, bool write)
{
	unsigned long *regs = vcpu->arch.regs;
	u32 msr = regs[VCPU_REGS_RCX];
	struct khv_msr_access *a = &vp->msr_fast;
	enum khv_msr_result ret;
	u64 data;

	a->row = row;
	a->index = khv_msr_register(row, msr);
	if (write) {
		a->data = (u32)regs[VCPU_REGS_RAX] | (u64)regs[VCPU_REGS_RDX] << 32;
		if (a->data & khv_msrs[row].reserved)
			return KHV_FAST_REFUSED;
		ret = khv_msr_ops[row].write(a);
	} else {
		ret = khv_msr_ops[row].read(a);
	}
	if (ret != KHV_MSR_OK)
		return ret == KHV_MSR_SLOW ? KHV_FAST_SLOW : KHV_FAST_REFUSED;
	data = a->data;
	if (write) {
		vp->counts.msr_write_fast[row]++;
	} else {
		vp->counts.msr_read_fast[row]++;
		regs[VCPU_REGS_RAX] = (u32)data;
		regs[VCPU_REGS_RDX] = data >> 32;
	}
	trace_khv_msr(vcpu->vcpu_id, msr, data, write, false, false);
	return KHV_FAST_OK;
}

/*
 * Like gather(), with interrupts off. Reads guest memory once. Return: false if the memory is not
 * present or XMM registers are not loaded.
 */
static __always_inline bool gather_atomic(struct kvm_vcpu *vcpu, struct khv_hcall *hc,
					  const struct khv_hc_row *row)
{
	gpa_t gpa;

	hc->input_len = khv_hcall_input_len(hc, row);
	if (hc->fast) {
		memcpy(hc->input, &hc->in, sizeof(hc->in));
		memcpy(hc->input + sizeof(hc->in), &hc->out, sizeof(hc->out));
		return hc->input_len <= KHV_FAST_REGS_BYTES ||
		       khv_read_xmm_irqoff(hc->input + KHV_FAST_REGS_BYTES);
	}
	if (!hc->input_len)
		return true;
	gpa = unlikely(hc->l2) ? khv_nested_gpa_nofault(vcpu, hc->in) : hc->in;
	return gpa != INVALID_GPA && khv_read_guest_nofault(vcpu, &to_khv_vcpu(vcpu)->input_page,
							    gpa, (u64 *)hc->input, hc->input_len);
}

/*
 * By far the most frequent form: a 64-bit caller with nothing in the control word but the code and
 * perhaps the fast bit. It needs few checks besides whether the row allows the form.
 */
static __always_inline bool decode_plain(const struct kvm_vcpu *vcpu, struct khv_hcall *hc,
					 const struct khv_hc_row *row, bool longmode)
{
	const unsigned long *regs = vcpu->arch.regs;
	u64 control = regs[VCPU_REGS_RCX];

	if (!longmode || (control & ~KHV_CTL_FAST) != row->code || (row->flags & KHV_REP))
		return false;
	hc->fast = control & KHV_CTL_FAST;
	hc->in = regs[VCPU_REGS_RDX];
	if (!hc->fast && ((hc->in % sizeof(u64)) || offset_in_page(hc->in) + row->hdr > PAGE_SIZE))
		return false;
	hc->control = control;
	hc->out = regs[VCPU_REGS_R8];
	hc->code = row->code;
	hc->varhdr = 0;
	hc->rep_count = 0;
	hc->rep_start = 0;
	hc->reps_done = 0;
	hc->longmode = true;
	hc->output_len = 0;
	return true;
}

/* Return: KHV_FAST_OK, with the result registers written, or the reason for the slow path. */
static __always_inline enum khv_fast_result answer_call(struct kvm_vcpu *vcpu, struct khv_vcpu *vp,
							int id, bool longmode, bool l2)
{
	struct khv_hcall *hc = &vp->hcall;
	const struct khv_hc_row *row = &khv_hcs[id];
	u64 result;
	u16 status;

	if (!(vp->gate.hc & BIT_ULL(id)))
		return KHV_FAST_REFUSED;
	if (!decode_plain(vcpu, hc, row, longmode)) {
		struct khv_call_regs regs = khv_call_regs(vcpu, longmode);

		khv_hcall_decode(hc, &regs);
		if (khv_hcall_check(hc, row))
			return KHV_FAST_FORM;
		if (row->flags & KHV_REP)
			hc->reps_done = hc->rep_start;
	}
	if (hc->fast && (row->flags & KHV_XMM) && !vp->gate.xmm)
		return KHV_FAST_REFUSED;
	hc->l2 = l2;
	if (!gather_atomic(vcpu, hc, row))
		return hc->fast ? KHV_FAST_SLOW : KHV_FAST_FORM;

	hc->atomic = true;
	status = khv_hc_handlers[id](vcpu, hc);
	if (status == KHV_STATUS_SLOW || status == KHV_STATUS_TO_USER)
		return KHV_FAST_SLOW;
	if (unlikely(l2)) {
		/*
		 * L1 may hold a TLB lock: let the slow path tell it of the flush. Flushing again is
		 * harmless.
		 */
		if (!status && !khv_nested_tlb_unlocked_nofault(vcpu))
			return KHV_FAST_SLOW;
		vp->counts.hc_l2 += !status;
	}

	vp->counts.hc_fast[id]++;
	if (hc->fast && hc->input_len > KHV_FAST_REGS_BYTES)
		vp->counts.hc_xmm++;
	result = khv_hcall_result(hc, status);
	trace_khv_hypercall(vcpu->vcpu_id, hc);
	trace_khv_hypercall_done(vcpu->vcpu_id, hc, result);
	khv_set_result(vcpu, longmode, result);
	++vcpu->stat.hypercalls;
	return KHV_FAST_OK;
}

#endif
