/* SPDX-License-Identifier: GPL-2.0-only */
/* What the registers and the expiry of synthetic timers share. Context: the VP's thread. */
#ifndef KHV_PARTS_STIMER_H
#define KHV_PARTS_STIMER_H

#include "khv/state.h"

/* Arm the hrtimer for @ticks units of 100 ns from now, or for a part of a long wait. */
void khv_stimer_arm(struct kvm_vcpu_hv_stimer *t, u64 ticks);

/* Cancel the hrtimer and forget the expiry. May sleep. */
void khv_stimer_stop(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t);

/* Set whether an expiry waits until it can be signalled. */
void khv_stimer_set_waiting(struct khv_vcpu *vp, struct kvm_vcpu_hv_stimer *t, bool waiting);

#endif
