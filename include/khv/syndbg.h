/* SPDX-License-Identifier: GPL-2.0-only */
/* The synthetic debugger. */
#ifndef KHV_SYNDBG_H
#define KHV_SYNDBG_H

#include "khv/state.h"

/**
 * khv_syndbg_run_end() - arrange for user space's answer to KVM_EXIT_HYPERV_SYNDBG
 * @vp: returns from KVM_RUN
 *
 * Called when KVM_RUN returns. If it returns with KVM_EXIT_HYPERV_SYNDBG, the next KVM_RUN begins
 * with user space's answer.
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_syndbg_run_end(struct khv_vcpu *vp);

#endif
