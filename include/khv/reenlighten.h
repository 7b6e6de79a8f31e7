/* SPDX-License-Identifier: GPL-2.0-only */
/* The reenlightenment interrupt. */
#ifndef KHV_REENLIGHTEN_H
#define KHV_REENLIGHTEN_H

#include <linux/kvm_host.h>

#include "khv/state.h"

/**
 * khv_reenlighten() - tell a restored guest of it, if this VP is the one to tell
 * @vp: a VP
 *
 * Sends the interrupt of HV_X64_MSR_REENLIGHTENMENT_CONTROL once for each restore. It waits for a
 * local APIC that is disabled. TLFS chapter "Nested Virtualization", "Reenlightenment".
 *
 * Context: the VP's thread inside KVM_RUN.
 */
void khv_reenlighten(struct khv_vcpu *vp);

/**
 * khv_reenlighten_soon() - have khv_reenlighten() called before the VP enters the guest
 * @vp: VP whose thread enters KVM_RUN, or whose local APIC has just been enabled
 *
 * Not at once: user space restores the local APIC, too, and may run the VP only to have KVM
 * complete an exit.
 *
 * Context: the VP's thread; an ioctl, too.
 */
static inline void khv_reenlighten_soon(struct khv_vcpu *vp)
{
	if (unlikely(READ_ONCE(vp->vm->restored)))
		kvm_make_request(KHV_REQ_PROCESS, vp->stock.vcpu);
}

#endif
