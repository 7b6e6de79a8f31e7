/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM's use of an enlightened VMCS. */
#ifndef KHV_COMPAT_EVMCS_H
#define KHV_COMPAT_EVMCS_H

#include <linux/kvm_host.h>
#include <asm/apicdef.h>
#include <asm/vmx.h>

#include "khv/imports.h"

/* Older kernels have another name. */
#ifndef SECONDARY_EXEC_ENABLE_XSAVES
#define SECONDARY_EXEC_ENABLE_XSAVES SECONDARY_EXEC_XSAVES
#endif

/*
 * Does KVM trust an MSR bitmap that L1 declares unchanged, even if the controls have changed? A KVM
 * with direct flush does not.
 */
static __always_inline bool khv_trusts_clean_msr_bitmap(void)
{
#ifdef KHV_HAVE_L2_FLUSH
	return false;
#else
	return true;
#endif
}

/* Make such a KVM merge the MSR bitmaps at this nested VM-Entry. */
static __always_inline void khv_merge_msr_bitmaps(struct kvm_vcpu *vcpu)
{
#ifndef KHV_HAVE_L2_FLUSH
	/* The same on all kernels that have the function: MSR_TYPE_RW of vmx/vmx.h and x86.h. */
	const int msr_type_rw = 3;

	/* The MSR is always intercepted: only the side effect is wanted. */
	khv_vmx_enable_intercept_for_msr(vcpu, APIC_BASE_MSR + (APIC_TMCCT >> 4), msr_type_rw);
#endif
}

#endif
