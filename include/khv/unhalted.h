/* SPDX-License-Identifier: GPL-2.0-only */
/* The synthetic time-unhalted timer. */
#ifndef KHV_UNHALTED_H
#define KHV_UNHALTED_H

#include "khv/state.h"

/**
 * khv_unhalted_init() - initialise the timer of a VP
 * @vp: not yet visible to other threads
 */
void khv_unhalted_init(struct khv_vcpu *vp);

/**
 * khv_unhalted_uninit() - end the timer of a VP for good
 * @vp: VP that is being destroyed; nothing else uses it
 *
 * Context: may sleep.
 */
void khv_unhalted_uninit(struct khv_vcpu *vp);

/**
 * khv_unhalted_process() - send the interrupt if the period is over (KHV_REQ_PROCESS)
 * @vp: the VP
 *
 * TLFS chapter "Timers", "Synthetic Time-Unhalted Timer".
 *
 * Context: the VP's thread before it enters the guest, kvm->srcu held; may sleep.
 */
void khv_unhalted_process(struct khv_vcpu *vp);

/**
 * khv_unhalted_halt() - send the interrupt before a halt
 * @vp: the VP
 *
 * Context: the VP's thread before it halts; may sleep.
 */
void khv_unhalted_halt(struct khv_vcpu *vp);

#endif
