// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypercall driver: check mode and CPL, decode, check gate and form, gather the input once,
 * call the handler, write output and result. Only khv_complete() and its counterpart in the fast
 * path, answer_call(), write the result.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>

#include "compat/kvm.h"
#include "khv/drivers.h"
#include "khv/extended.h"
#include "khv/handlers.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/trace.h"
#include "khv/vp.h"

#define KHV_HYPERCALL(_name, _code, _handler, ...) [KHV_HC_ROW_##_name] = khv_hc_##_handler,
const khv_hc_fn khv_hc_handlers[KHV_NR_HC_ROWS] = {
#include "khv/hypercalls.def.h"
};
#undef KHV_HYPERCALL

static int queue_ud(struct kvm_vcpu *vcpu)
{
	khv_kvm_queue_exception(vcpu, UD_VECTOR);
	return 1;
}

/* Gather the input in hc->input: from registers, XMM registers, or one read of guest memory. */
static u16 gather(struct kvm_vcpu *vcpu, struct khv_hcall *hc, const struct khv_hc_row *row)
{
	gpa_t gpa;

	hc->input_len = row->flags & KHV_ANY_FORM ? 0 : khv_hcall_input_len(hc, row);
	if (!hc->input_len)
		return HV_STATUS_SUCCESS;

	if (hc->fast) {
		memcpy(hc->input, &hc->in, sizeof(hc->in));
		memcpy(hc->input + sizeof(hc->in), &hc->out, sizeof(hc->out));
		if (hc->input_len > KHV_FAST_REGS_BYTES) {
			khv_read_xmm(hc->input + KHV_FAST_REGS_BYTES);
			to_khv_vcpu(vcpu)->counts.hc_xmm++;
		}
		return HV_STATUS_SUCCESS;
	}

	/* The block is within one page, so one translation suffices. */
	gpa = hc->l2 ? khv_nested_gpa(vcpu, hc->in) : hc->in;
	/* User space knows L1's addresses only. */
	hc->in = gpa;
	return gpa != INVALID_GPA && khv_read_guest(vcpu, &to_khv_vcpu(vcpu)->input_page, gpa,
						    hc->input, hc->input_len) ?
		       HV_STATUS_SUCCESS :
		       HV_STATUS_INVALID_HYPERCALL_INPUT;
}

static int khv_complete(struct kvm_vcpu *vcpu, const struct khv_hcall *hc, u64 result)
{
	trace_khv_hypercall_done(vcpu->vcpu_id, hc, result);
	khv_set_result(vcpu, hc->longmode, result);
	++vcpu->stat.hypercalls;
	return khv_kvm_skip_emulated_instruction(vcpu);
}

/*
 * Write output at an offset from where that of the call begins: in memory, or in the registers
 * after its input.
 */
static u16 put_output(struct kvm_vcpu *vcpu, const struct khv_hcall *hc, u32 offset)
{
	u32 at = khv_fast_output_at(hc->input_len) + offset, in_regs = 0;
	unsigned long *regs = vcpu->arch.regs;

	if (!hc->fast)
		return khv_kvm_write_guest(vcpu->kvm, hc->out + offset, hc->output,
					   hc->output_len) ?
			       HV_STATUS_INVALID_HYPERCALL_INPUT :
			       HV_STATUS_SUCCESS;
	if (!at) {
		in_regs = min_t(u32, hc->output_len, KHV_FAST_REGS_BYTES);
		memcpy(&regs[VCPU_REGS_RDX], hc->output, min_t(u32, in_regs, 8));
		if (in_regs > 8)
			memcpy(&regs[VCPU_REGS_R8], hc->output + 8, in_regs - 8);
		at = KHV_FAST_REGS_BYTES;
	}
	/* Where khv_hcall_check() is mispredicted, it lies behind the registers. */
	at = array_index_nospec(at, KHV_FAST_MAX_BYTES);
	if (hc->output_len > in_regs)
		khv_write_xmm(at - KHV_FAST_REGS_BYTES, hc->output + in_regs,
			      hc->output_len - in_regs);
	return HV_STATUS_SUCCESS;
}

/* User space does not know the call: the module may have to tell the guest of it. */
static u64 answer_for_user(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	u16 status = khv_ext_call_unknown(hc);

	return status ?: put_output(vcpu, hc, 0);
}

static int complete_from_user(struct kvm_vcpu *vcpu)
{
	struct khv_hcall *hc = &to_khv_vcpu(vcpu)->hcall;
	u64 result = READ_ONCE(vcpu->run->hyperv.u.hcall.result);

	if (result == HV_STATUS_INVALID_HYPERCALL_CODE)
		result = answer_for_user(vcpu, hc);
	return khv_complete(vcpu, hc, result);
}

/*
 * KVM_EXIT_HYPERV_HCALL with the registers as the guest passed them, except as in event_to_user().
 */
static int exit_to_user(struct kvm_vcpu *vcpu, const struct khv_hcall *hc)
{
	struct kvm_hyperv_exit *exit = &vcpu->run->hyperv;

	vcpu->run->exit_reason = KVM_EXIT_HYPERV;
	exit->type = KVM_EXIT_HYPERV_HCALL;
	exit->u.hcall.input = hc->control;
	exit->u.hcall.params[0] = hc->in;
	exit->u.hcall.params[1] = hc->out;
	/* User space may not know this exit, and run the VP again without an answer. */
	exit->u.hcall.result = HV_STATUS_INVALID_HYPERCALL_CODE;
	vcpu->arch.complete_userspace_io = complete_from_user;
	return 0;
}

/* Call the handler, of a row with KHV_EACH for each element that is left. */
static u16 handle(struct kvm_vcpu *vcpu, struct khv_hcall *hc, int id)
{
	const struct khv_hc_row *row = &khv_hcs[id];
	u16 status = HV_STATUS_SUCCESS;

	if (!(row->flags & KHV_EACH)) {
		status = khv_hc_handlers[id](vcpu, hc);
		if (!status && hc->output_len)
			status = put_output(vcpu, hc, 0);
		return status;
	}
	hc->output_len = row->rep_out;
	while (!status && hc->reps_done < hc->rep_count) {
		status = khv_hc_handlers[id](vcpu, hc);
		if (!status && hc->output_len)
			status = put_output(vcpu, hc, hc->reps_done * row->rep_out);
		if (!status)
			hc->reps_done++;
		cond_resched();
		/* The guest goes on with the rest: the result tells it how much is done. */
		if (signal_pending(current) || khv_vp_dirty_ring_fills(vcpu))
			break;
	}
	return status;
}

/* May the module answer this call of an L2? */
static bool l2_may_call(struct kvm_vcpu *vcpu, struct khv_hcall *hc, const struct khv_hc_row *row)
{
	if (row && (row->flags & KHV_L2)) {
		khv_nested_call_seen(to_khv_vcpu(vcpu));
		return true;
	}
	if (!row || !(row->flags & KHV_L2_POST) || !(hc->control & KHV_CTL_NESTED) ||
	    !khv_nested_may_post(vcpu))
		return false;
	/* From here on it is a call of L1's VP, to user space, too. */
	hc->control &= ~KHV_CTL_NESTED;
	return true;
}

int khv_hypercall(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_hcall *hc = &vp->hcall;
	struct khv_call_regs regs;
	const struct khv_hc_row *row;
	bool locked = false;
	u16 status;
	int id, ret;

	if (!khv_may_hypercall(vcpu))
		return queue_ud(vcpu);

	regs = khv_call_regs(vcpu, khv_longmode(vcpu));
	khv_hcall_decode(hc, &regs);
	/*
	 * Beside Xen's hypercalls, the hypercall page sets bit 31 of EAX to tell its own ones
	 * apart. Outside of long mode that is a bit of the control word.
	 */
	if (!hc->longmode && khv_xen_hypercalls(vcpu->kvm))
		hc->control &= ~KHV_CTL_NESTED;
	hc->atomic = false;
	hc->l2 = khv_in_l2(vcpu);
	id = khv_hc_find(hc->code);
	row = id < 0 ? NULL : &khv_hcs[id];
	if (hc->l2 && !l2_may_call(vcpu, hc, row))
		return queue_ud(vcpu);

	trace_khv_hypercall(vcpu->vcpu_id, hc);

	if (row)
		vp->counts.hc[id]++;
	else
		vp->counts.hc_unknown++;

	/* The registers of a protected guest are not at hand. */
	if (row && (!(vp->gate.hc & BIT_ULL(id)) ||
		    ((row->flags & KHV_EACH) && vcpu->arch.guest_state_protected))) {
		status = HV_STATUS_ACCESS_DENIED;
		goto done;
	}
	/* As on stock, do not test whether this call really has input in XMM registers. */
	if (row && hc->fast && (row->flags & KHV_FAST) && !(hc->control & KHV_CTL_RSVDZ) &&
	    (((row->flags & KHV_XMM) && !vp->gate.xmm) ||
	     ((row->out || row->rep_out) && !vp->gate.fast_output)))
		return queue_ud(vcpu);
	status = khv_hcall_check(hc, row);
	if (status)
		goto done;
	/* Unless the handler changes it, no rep after the start index is done. */
	if (row->flags & KHV_REP)
		hc->reps_done = hc->rep_start;
	status = gather(vcpu, hc, row);
	if (!status)
		status = handle(vcpu, hc, id);
	if (status == KHV_STATUS_TO_USER)
		return exit_to_user(vcpu, hc);
	if (hc->l2 && !status && (row->flags & KHV_L2)) {
		vp->counts.hc_l2++;
		if (!khv_nested_tlb_locked(vcpu, &locked)) {
			status = HV_STATUS_INVALID_HYPERCALL_INPUT;
			hc->reps_done = 0;
		}
	}
done:
	ret = khv_complete(vcpu, hc, khv_hcall_result(hc, status));
	if (locked)
		khv_nested_synthetic_exit(vcpu);
	return ret;
}

/* TLFS "HvCallNotifyLongSpinWait": yield to a VP that was preempted in its kernel. */
u16 khv_hc_notify_long_spin_wait(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	/* The fast path only answers if no VP is preempted, so that there is none to yield to. */
	if (hc->atomic)
		return atomic_read(&to_khv_vm(vcpu->kvm)->preempted) ? KHV_STATUS_SLOW :
								       HV_STATUS_SUCCESS;
	khv_kvm_vcpu_on_spin(vcpu, true);
	return HV_STATUS_SUCCESS;
}
