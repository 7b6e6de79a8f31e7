/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the exit fast path share. */
#ifndef KHV_FASTPATH_EXIT_H
#define KHV_FASTPATH_EXIT_H

#include <linux/jump_label.h>
#include <linux/kvm_host.h>
#include <linux/static_call.h>

#include "compat/fastpath.h"
#include "khv/tables.h"

enum exit_kind {
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_CALL,
};

/* Top byte of the number of every synthetic MSR. */
#define SYNTHETIC (KHV_MSR_BASE >> 24)
static_assert(KHV_MSR_NESTED_BASE >> 24 == SYNTHETIC);

static __always_inline bool is_synthetic(const struct kvm_vcpu *vcpu)
{
	return (u32)vcpu->arch.regs[VCPU_REGS_RCX] >> 24 == SYNTHETIC;
}

/* fastpath.c */
DECLARE_STATIC_KEY_TRUE(khv_answering);

/*
 * Event selector of retired instructions if kvm_pmu_trigger_event() may be called with interrupts
 * off, else NULL. Constant from load on.
 */
extern const u64 *khv_insn_retired;

DECLARE_STATIC_CALL(khv_pmu_trigger_event, khv_proto_pmu_trigger_event);

/* Tell the guest's PMU of a skipped instruction. */
void khv_count_skipped(struct kvm_vcpu *vcpu);

/* fastpath_svm.c: does the CPU report the next RIP at a VM-Exit (NRIPS)? Before installation. */
void khv_fastpath_svm_nrips(bool nrips);

/* originals.c: KVM's vcpu_run() of the vendor. */
DECLARE_STATIC_CALL(khv_call_vcpu_run, khv_proto_vcpu_run);

/* Entry points in dispatch.S, and the replacements they jump to for a vCPU of an owned VM. */
extern typeof(khv_proto_vcpu_run) khv_vcpu_run_svm, khv_vcpu_run_vmx;
/* Spelled out: clang does not take __noendbr with a type by typeof(). */
__noendbr fastpath_t khv_hook_vcpu_run_svm(struct kvm_vcpu *vcpu, u64 run_flags);
__noendbr fastpath_t khv_hook_vcpu_run_vmx(struct kvm_vcpu *vcpu, u64 run_flags);

/* Outside 64-bit mode RIP wraps at 4 GB. */
#define KHV_WRAP_RIP(_vcpu, _rip, _next)                                                     \
	(unlikely((((_next) ^ (_rip)) >> 31) == 3) && !exit_is_64bit(_vcpu) ? (u32)(_next) : \
									      (_next))

#endif
