/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM_CAP_HYPERV_ENFORCE_CPUID: each row of a table gets a vCPU of its own, because CPUID is
 * fixed once a vCPU has run.
 */
#ifndef KHV_SELFTEST_ENFORCE_H
#define KHV_SELFTEST_ENFORCE_H

#include "ops.h"

/* Turn every privilege off; the debugger is the VMM's business: @syndbg. */
void cpuid_all_off(struct vcpu *v, bool syndbg);
/* A VM that enforces. All that this kernel supports is on, as by default in vm_create(). */
struct vm *enforcing_vm(u32 nr);
/* Let the guest do @op, and assert the @vector that comes of it. */
void expect_vector(struct vcpu *v, struct ops_page *p, const char *name, struct guest_op op,
		   u32 vector, const char *what);

#endif
