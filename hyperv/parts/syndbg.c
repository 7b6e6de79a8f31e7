// SPDX-License-Identifier: GPL-2.0-only
/*
 * The synthetic debugger: plain registers in the stock struct, written as single words; user space
 * does the work. TLFS chapter "Feature and Interface Discovery", leaves 0x40000080 to 0x40000082;
 * KVM's uAPI defines the registers.
 */
#include <linux/kvm_host.h>

#include "khv/handlers.h"
#include "khv/state.h"
#include "khv/syndbg.h"

static bool enabled(const struct khv_vcpu *vp)
{
	static const struct khv_priv allow = KHV_PRIV(SYNDBG_EAX, ALLOW_KERNEL_DEBUGGING);

	return khv_priv_held(&vp->cpuid, allow);
}

static struct kvm_hv_syndbg *syndbg(struct kvm_vcpu *vcpu)
{
	return &vcpu->kvm->arch.hyperv.hv_syndbg;
}

static u64 *storage(const struct khv_msr_access *a)
{
	struct kvm_hv_syndbg *s = syndbg(a->vcpu);

	switch (a->row) {
	case KHV_MSR_ROW_SYNDBG_CONTROL:
		return &s->control.control;
	case KHV_MSR_ROW_SYNDBG_STATUS:
		return &s->control.status;
	case KHV_MSR_ROW_SYNDBG_SEND_BUFFER:
		return &s->control.send_page;
	case KHV_MSR_ROW_SYNDBG_RECV_BUFFER:
		return &s->control.recv_page;
	case KHV_MSR_ROW_SYNDBG_PENDING_BUFFER:
		return &s->control.pending_page;
	default:
		return &s->options;
	}
}

static int complete_from_user(struct kvm_vcpu *vcpu)
{
	const struct kvm_hyperv_exit *exit = &vcpu->run->hyperv;

	if (READ_ONCE(exit->u.syndbg.msr) == khv_msrs[KHV_MSR_ROW_SYNDBG_CONTROL].first)
		WRITE_ONCE(syndbg(vcpu)->control.status, READ_ONCE(exit->u.syndbg.status));
	return 1;
}

/*
 * Request KVM_EXIT_HYPERV_SYNDBG, after the instruction completes. KVM_RUN may return for another
 * reason first (a signal, a single step, another request); khv_syndbg_run_end() takes user space's
 * answer only after this exit.
 */
static void tell_user(struct khv_msr_access *a)
{
	const struct kvm_hv_syndbg *s = syndbg(a->vcpu);
	struct kvm_hyperv_exit *exit = &a->vp->stock.exit;

	exit->type = KVM_EXIT_HYPERV_SYNDBG;
	exit->u.syndbg.msr = khv_msrs[a->row].first;
	exit->u.syndbg.control = s->control.control;
	exit->u.syndbg.status = s->control.status;
	exit->u.syndbg.send_page = s->control.send_page;
	exit->u.syndbg.recv_page = s->control.recv_page;
	exit->u.syndbg.pending_page = s->control.pending_page;
	a->vp->syndbg_exit = true;
	kvm_make_request(KVM_REQ_HV_EXIT, a->vcpu);
}

void khv_syndbg_run_end(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;

	if (!vp->syndbg_exit || kvm_test_request(KVM_REQ_HV_EXIT, vcpu))
		return;
	vp->syndbg_exit = false;
	vcpu->arch.complete_userspace_io = complete_from_user;
}

/* For the guest the registers exist only if CPUID has the debugger's leaves. */
enum khv_msr_result khv_msr_syndbg_read(struct khv_msr_access *a)
{
	if (!a->host && !enabled(a->vp))
		return KHV_MSR_FAULT;
	a->data = READ_ONCE(*storage(a));
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_syndbg_write(struct khv_msr_access *a)
{
	if (!a->host && !enabled(a->vp))
		return KHV_MSR_FAULT;
	WRITE_ONCE(*storage(a), a->data);
	if (!a->host &&
	    (a->row == KHV_MSR_ROW_SYNDBG_CONTROL || a->row == KHV_MSR_ROW_SYNDBG_PENDING_BUFFER))
		tell_user(a);
	return KHV_MSR_OK;
}

/* Exit to user space if the guest has chosen hypercalls over registers. */
u16 khv_hc_reset_debug_session(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	if (!enabled(to_khv_vcpu(vcpu)))
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (!(READ_ONCE(syndbg(vcpu)->options) & KHV_SYNDBG_USE_HCALLS))
		return HV_STATUS_OPERATION_DENIED;
	return KHV_STATUS_TO_USER;
}

/* HvCallPostDebugData and HvCallRetrieveDebugData pass pages, so they have no fast form. */
u16 khv_hc_debug_data(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	return hc->fast ? HV_STATUS_INVALID_PARAMETER : khv_hc_reset_debug_session(vcpu, hc);
}
