/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM whose vCPUs have a SynIC, and what a guest does with one: pages,
 * reference time, bounded waiting, messages by the TLFS's protocol.
 */
#ifndef KHV_SELFTEST_SYNIC_H
#define KHV_SELFTEST_SYNIC_H

#include "apic.h"
#include "vm.h"

#define SYNIC_VCPUS 4

/* The pages of each vCPU, in RAM that is zero at first. */
extern struct hv_message *synic_messages[SYNIC_VCPUS];
extern u8 *synic_events[SYNIC_VCPUS];

/* Host: a VM with @cap (KVM_CAP_HYPERV_SYNIC or _SYNIC2), pages allocated, nothing enabled. */
struct vm *synic_vm_bare(u32 nr_vcpus, u32 cap);
/* The same with KVM_CAP_HYPERV_SYNIC2, SCONTROL, SIMP and SIEFP enabled by the host. */
struct vm *synic_vm(u32 nr_vcpus);
/* The same with flags of vm_create(). */
struct vm *synic_vm_flags(u32 nr_vcpus, u32 flags);
/* As vcpu_run*(), but KVM_EXIT_HYPERV_SYNIC is answered by going on. */
u32 synic_run(struct vcpu *v);
void synic_run_sync(struct vcpu *v, u64 stage);
void synic_run_done(struct vcpu *v);

static inline u64 synic_simp(u32 vcpu)
{
	return (u64)(uintptr_t)synic_messages[vcpu] | HV_SYNIC_ENABLE;
}

static inline u64 synic_siefp(u32 vcpu)
{
	return (u64)(uintptr_t)synic_events[vcpu] | HV_SYNIC_ENABLE;
}

/* Guest: reference time is in 100 ns. */
#define REF_MS(n) (10000ULL * (n))

static inline u64 ref_now(void)
{
	return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

/*
 * Wait until *@what is at least @value; false if that took longer than @ms and
 * a good number of exits: a machine that stood still in between is no failure.
 */
bool guest_wait(volatile u32 *what, u32 value, u32 ms);
/* Let @ms pass with many exits, so that whatever is due has happened. */
void guest_settle(u32 ms);

#endif
