/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hypervisor in the guest that uses the enlightened VMCS, and gets something wrong with it.
 * Every mistake is the guest's own failure, and leaves nothing in the host's log.
 */
#ifndef KHV_SELFTEST_EVMCS_H
#define KHV_SELFTEST_EVMCS_H

#include "nested.h"

#define MAX_OPS 8

#define VM_FUNCTION_CONTROL  0x2018
#define MSR_VMX_VMFUNC	     0x491u
#define SLOT_GPA	     0x40000000ULL /* a memory slot of its own */
#define EVMCS1_PERF_GLOBAL   CPUBIT(HV_LEAF_NESTED, EBX, 0)
#define EXIT_PERF_GLOBAL     BIT64(12)
#define ENTRY_PERF_GLOBAL    BIT64(13)
#define TSC_MULTIPLIER_SHIFT 48

/* The one vCPU of a case, and its L1. */
extern struct vcpu *evmcs_vcpu;
extern struct nested *evmcs_l1;

/* Host: prepare the vCPU to run @l1 with an eVMCS, or with what @flags say. */
void evmcs_create(void (*l1)(void), u32 flags);
/* Host: run @l1 with an eVMCS, to the end. */
void evmcs_run(void (*l1)(void));

/* L1: all that is right, up to the entry. */
void evmcs_prepare(void);
/* L1: L2 is entered, and exits. */
void l2_must_run(void);
/* L1: VMLAUNCH and VMRESUME fail as @failure says. */
void l2_must_fail(u32 failure);

#endif
