/* SPDX-License-Identifier: GPL-2.0-only */
/* HV_X64_MSR_GUEST_OS_ID and the hypercall page. */
#ifndef KHV_IDENTITY_H
#define KHV_IDENTITY_H

#include "khv/state.h"

/**
 * khv_identity_vm_uninit() - free the buffers of the hypercall page
 * @vm: its guest memory is gone
 */
void khv_identity_vm_uninit(struct khv_vm *vm);

#endif
