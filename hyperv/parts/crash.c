// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_CRASH_CTL and HV_X64_MSR_RESET: crash and reset of the guest. The values, and those of
 * HV_X64_MSR_CRASH_P0 to P4, are in struct khv_vm, single words without a lock, because the stock
 * word for CRASH_CTL holds the owner (state.h). TLFS chapter "Guest Crash Enlightenment".
 */
#include <linux/kvm_host.h>

#include "khv/crash.h"
#include "khv/handlers.h"
#include "khv/state.h"

void khv_crash_vm_init(struct khv_vm *vm)
{
	vm->crash_ctl = KHV_CRASH_NOTIFY | KHV_CRASH_MESSAGE;
}

/*
 * The guest reads the supported bits. User space reads, after a crash, what the guest wrote: with
 * KHV_CRASH_MESSAGE, P3 and P4 are the address and length of a text.
 */
enum khv_msr_result khv_msr_crash_ctl_read(struct khv_msr_access *a)
{
	u64 notice = READ_ONCE(a->vm->crash_notice);

	a->data = a->host && notice ? notice : READ_ONCE(a->vm->crash_ctl);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_crash_ctl_write(struct khv_msr_access *a)
{
	u64 known = a->data & (KHV_CRASH_NOTIFY | KHV_CRASH_MESSAGE);

	if (a->host) {
		WRITE_ONCE(a->vm->crash_ctl, known);
		WRITE_ONCE(a->vm->crash_notice, 0);
	} else if (known & KHV_CRASH_NOTIFY) {
		WRITE_ONCE(a->vm->crash_notice, known);
		kvm_make_request(KVM_REQ_HV_CRASH, a->vcpu);
	}
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_reset_read(struct khv_msr_access *a)
{
	a->data = 0;
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_reset_write(struct khv_msr_access *a)
{
	if (a->data == 1)
		kvm_make_request(KVM_REQ_HV_RESET, a->vcpu);
	return KHV_MSR_OK;
}
