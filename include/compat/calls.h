/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions of KVM, by one name and prototype on all kernels. */
#ifndef KHV_COMPAT_CALLS_H
#define KHV_COMPAT_CALLS_H

#include <linux/kvm_host.h>

#include "khv/imports.h"

/* kvm_vcpu_kick(), which is inline since 6.16. */
static inline void khv_vcpu_kick(struct kvm_vcpu *vcpu)
{
#ifdef KHV_HAVE_TDX
	khv___kvm_vcpu_kick(vcpu, false);
#else
	khv_kvm_vcpu_kick(vcpu);
#endif
}

#endif
