// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended hypercalls and HvCallRetargetDeviceInterrupt: user space answers them. No state. TLFS
 * chapter "Extended Hypercall Interface".
 */
#include <linux/kvm_host.h>
#include <linux/string.h>

#include "compat/tlfs.h"
#include "khv/extended.h"
#include "khv/handlers.h"

/* HvExtCallGetBootZeroedMemory, and its bit among the capabilities. */
#define GET_BOOT_ZEROED_MEMORY (HV_EXT_CALL_QUERY_CAPABILITIES + 1)
#define BOOT_ZEROED_MEMORY     BIT_ULL(0)

unsigned long long khv_ext_capabilities;

/* The exit to user space passes two parameters only, so refuse input in further registers. */
u16 khv_hc_ext_call(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	return hc->fast ? HV_STATUS_INVALID_PARAMETER : KHV_STATUS_TO_USER;
}

/*
 * Guests query the capabilities although CPUID does not offer it (D24). That no memory is known to
 * be zeroed is always true: a count of 0, which is all of the output that the guest then reads.
 */
u16 khv_ext_call_unknown(struct khv_hcall *hc)
{
	u64 value = 0;

	if (hc->code == HV_EXT_CALL_QUERY_CAPABILITIES)
		value = khv_ext_capabilities;
	else if (hc->code != GET_BOOT_ZEROED_MEMORY || !(khv_ext_capabilities & BOOT_ZEROED_MEMORY))
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (hc->out % sizeof(u64))
		return HV_STATUS_INVALID_ALIGNMENT;
	hc->output_len = sizeof(value);
	memcpy(hc->output, &value, sizeof(value));
	return HV_STATUS_SUCCESS;
}

/* TLFS "HvCallRetargetDeviceInterrupt": the device is user space's, and so is its interrupt. */
u16 khv_hc_retarget_device_interrupt(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	return KHV_STATUS_TO_USER;
}
