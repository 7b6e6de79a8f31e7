// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvPostMessage and HvSignalEvent of an L2 that is L1's root partition. The root marks a call for
 * L0 (KHV_CTL_NESTED), because L0 has the other end of its connections. L1 permits it on the VP
 * assist page, which it rewrites for each of its partitions: without that check any L2 could post
 * in the root's name. TLFS chapters "Nested Virtualization" and "Virtual Processors".
 */
#include <linux/kvm_host.h>

#include "compat/calls.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"

#include "nested.h"

bool khv_nested_posts_plain;

bool khv_nested_may_post(struct kvm_vcpu *vcpu)
{
	struct khv_vp_assist assist;

	if (!khv_nested_read_assist(vcpu, &assist))
		return false;
	return (assist.nested_hypercall_controls & KHV_ASSIST_INTER_PARTITION) ||
	       (khv_nested_posts_direct && khv_nested_is_direct(to_khv_vcpu(vcpu)));
}

/* The control word of the running L2's post, or NULL if the last exit is something else. */
static unsigned long *post_control(struct kvm_vcpu *vcpu)
{
	unsigned long *control =
		&vcpu->arch.regs[khv_longmode(vcpu) ? VCPU_REGS_RCX : VCPU_REGS_RAX];

	/* Leave KVM's and Xen's hypercalls to KVM, and to L1 what L0 would refuse with #UD. */
	if (!vcpu->arch.hyperv_enabled || !vcpu->kvm->arch.hyperv.hv_guest_os_id ||
	    khv_xen_hypercalls(vcpu->kvm) || !khv_may_hypercall(vcpu))
		return NULL;
	return khv_nested_is_post(*control) && khv_nested_last_exit_is_call(vcpu) ? control : NULL;
}

/* Count by which rule L1 permits a post: which one Windows follows under KVM is not known. */
static void count_post(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_vp_assist assist;

	vp->counts.posts++;
	if (khv_nested_read_assist(vcpu, &assist) &&
	    (assist.nested_hypercall_controls & KHV_ASSIST_INTER_PARTITION))
		vp->counts.posts_inter_partition++;
	if (khv_nested_is_direct(vp))
		vp->counts.posts_direct++;
	/* Have later entries look whether L2 has direct flush. */
	vp->l2.direct_used = true;
}

bool khv_nested_post_is_ours(struct kvm_vcpu *vcpu, bool count)
{
	if (!post_control(vcpu))
		return false;
	if (count)
		count_post(vcpu);
	return khv_nested_may_post(vcpu);
}

void khv_nested_do_unmark_post(struct kvm_vcpu *vcpu)
{
	unsigned long *control = post_control(vcpu);

	if (control)
		*control &= ~(unsigned long)KHV_CTL_NESTED;
}
