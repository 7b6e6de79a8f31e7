/* SPDX-License-Identifier: GPL-2.0-only */
/* Crash and reset of the guest. */
#ifndef KHV_CRASH_H
#define KHV_CRASH_H

#include "khv/state.h"

/**
 * khv_crash_vm_init() - set the reset value of HV_X64_MSR_CRASH_CTL
 * @vm: not yet visible to other threads
 */
void khv_crash_vm_init(struct khv_vm *vm);

#endif
