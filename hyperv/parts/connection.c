// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvPostMessage and HvSignalEvent. Signals events of connections that user space has bound to an
 * eventfd (KVM_HYPERV_EVENTFD). All messages and all other events exit to user space: a message as
 * the guest posted it, an event always in the fast form. Connections are kept in the stock struct,
 * changed under its hv_lock, and read and used under RCU. TLFS chapter "Inter-Partition
 * Communication". Also signals the eventfd of a VP's EOM.
 */
#include <linux/eventfd.h>
#include <linux/idr.h>
#include <linux/kvm_host.h>

#include "compat/eventfd.h"
#include "khv/connection.h"
#include "khv/handlers.h"
#include "khv/hcall.h"
#include "khv/vp.h"

/* HvSignalEvent's input, one 64-bit word. */
#define SIGNAL_FLAG_NUMBER GENMASK_ULL(47, 32)
#define SIGNAL_RSVDZ	   (GENMASK_ULL(63, 48) | GENMASK_ULL(31, 24))
static_assert((SIGNAL_RSVDZ & KVM_HYPERV_CONN_ID_MASK) == 0);

/* Message types with the top bit set are reserved for the hypervisor. */
#define MESSAGE_TYPE_HYPERVISOR BIT(31)

static int assign(struct kvm *kvm, u32 connection, int fd)
{
	struct kvm_hv *hv = &kvm->arch.hyperv;
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(fd);
	int ret;

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);

	mutex_lock(&hv->hv_lock);
	ret = idr_alloc(&hv->conn_to_evt, eventfd, connection, connection + 1, GFP_KERNEL_ACCOUNT);
	mutex_unlock(&hv->hv_lock);
	if (ret < 0)
		eventfd_ctx_put(eventfd);
	/* -ENOSPC: the only number that was allowed is in use. */
	if (ret == -ENOSPC)
		return -EEXIST;
	return ret < 0 ? ret : 0;
}

/* Release what was unlinked: -ENOENT if that was nothing. */
static int put_unlinked(struct eventfd_ctx *eventfd)
{
	if (!eventfd)
		return -ENOENT;

	/* Wait for readers that found the eventfd: they signal it within their RCU read section. */
	synchronize_rcu();
	eventfd_ctx_put(eventfd);
	return 0;
}

static int deassign(struct kvm *kvm, u32 connection)
{
	struct kvm_hv *hv = &kvm->arch.hyperv;
	struct eventfd_ctx *eventfd;

	mutex_lock(&hv->hv_lock);
	eventfd = idr_remove(&hv->conn_to_evt, connection);
	mutex_unlock(&hv->hv_lock);
	return put_unlinked(eventfd);
}

static int assign_eom(struct kvm *kvm, struct khv_vcpu *vp, int fd)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(fd);
	int ret = 0;

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	mutex_lock(&kvm->arch.hyperv.hv_lock);
	if (rcu_access_pointer(vp->eom_event))
		ret = -EEXIST;
	else
		rcu_assign_pointer(vp->eom_event, eventfd);
	mutex_unlock(&kvm->arch.hyperv.hv_lock);
	if (ret)
		eventfd_ctx_put(eventfd);
	return ret;
}

static int deassign_eom(struct kvm *kvm, struct khv_vcpu *vp)
{
	struct eventfd_ctx *eventfd;

	mutex_lock(&kvm->arch.hyperv.hv_lock);
	eventfd = rcu_replace_pointer(vp->eom_event, NULL,
				      lockdep_is_held(&kvm->arch.hyperv.hv_lock));
	mutex_unlock(&kvm->arch.hyperv.hv_lock);
	return put_unlinked(eventfd);
}

void khv_eom_event_signal(struct khv_vcpu *vp)
{
	struct eventfd_ctx *eventfd;

	rcu_read_lock();
	eventfd = rcu_dereference(vp->eom_event);
	if (unlikely(eventfd))
		khv_eventfd_signal(eventfd);
	rcu_read_unlock();
}

void khv_eom_event_uninit(struct khv_vcpu *vp)
{
	struct eventfd_ctx *eventfd = rcu_dereference_protected(vp->eom_event, true);

	if (eventfd)
		eventfd_ctx_put(eventfd);
}

int khv_connection_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args)
{
	struct khv_vcpu *vp;

	if ((args->flags & ~(KVM_HYPERV_EVENTFD_DEASSIGN | KHV_EVENTFD_EOM)) ||
	    (args->conn_id & ~KVM_HYPERV_CONN_ID_MASK))
		return -EINVAL;
	if (args->flags & KHV_EVENTFD_EOM) {
		vp = khv_vp_by_index(kvm, args->conn_id);
		if (!vp)
			return -ENOENT;
		return args->flags & KVM_HYPERV_EVENTFD_DEASSIGN ? deassign_eom(kvm, vp) :
								   assign_eom(kvm, vp, args->fd);
	}
	if (args->flags & KVM_HYPERV_EVENTFD_DEASSIGN)
		return deassign(kvm, args->conn_id);
	return assign(kvm, args->conn_id, args->fd);
}

/* Without an active SynIC user space cannot handle the call: do not exit to it. */
static u16 to_user(struct kvm_vcpu *vcpu)
{
	return to_khv_vcpu(vcpu)->stock.synic.active ? KHV_STATUS_TO_USER :
						       HV_STATUS_INVALID_HYPERCALL_INPUT;
}

/*
 * Exit with the fast form, whatever form the guest used. Some VMMs check the fast bit and read the
 * input from memory without it; others take the first parameter for the value, as stock KVM loads
 * it. Both handle the fast form the same way.
 */
static u16 event_to_user(struct kvm_vcpu *vcpu, struct khv_hcall *hc, u64 param)
{
	hc->control |= KHV_CTL_FAST;
	hc->in = param;
	return to_user(vcpu);
}

u16 khv_hc_signal_event(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	struct eventfd_ctx *eventfd;
	u64 param = *(const u64 *)hc->input;

	if (param & SIGNAL_RSVDZ)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	/* An eventfd represents the first event flag of its connection only. */
	if (param & SIGNAL_FLAG_NUMBER)
		return event_to_user(vcpu, hc, param);

	rcu_read_lock();
	eventfd = idr_find(&vcpu->kvm->arch.hyperv.conn_to_evt, param);
	if (eventfd)
		khv_eventfd_signal(eventfd);
	rcu_read_unlock();
	return eventfd ? HV_STATUS_SUCCESS : event_to_user(vcpu, hc, param);
}

u16 khv_hc_post_message(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_post_message_input *in = (const void *)hc->input;

	if (!to_khv_vcpu(vcpu)->stock.synic.active)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (!in->message_type || (in->message_type & MESSAGE_TYPE_HYPERVISOR) ||
	    in->payload_size > sizeof(in->payload))
		return HV_STATUS_INVALID_PARAMETER;
	return KHV_STATUS_TO_USER;
}
