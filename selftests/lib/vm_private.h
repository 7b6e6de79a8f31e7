/* SPDX-License-Identifier: GPL-2.0-only */
/* What vm.c and vcpu.c share. */
#ifndef KHV_SELFTEST_VM_PRIVATE_H
#define KHV_SELFTEST_VM_PRIVATE_H

#include <signal.h>

#define SEL_CODE64  0x08
#define SEL_DATA    0x10
#define SEL_UCODE64 0x18
#define SEL_UDATA   0x20
#define SEL_CODE32  0x28
#define SEL_TSS	    0x30
#define STACK_SIZE  (4 * PAGE_SIZE)
#define TSS_SIZE    128

/* The case's time is over: a thread that returns from KVM_RUN reports and exits. */
extern volatile sig_atomic_t watchdog_fired;

#endif
