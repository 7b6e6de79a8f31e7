/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VP's state as KVM keeps it, and more that asm/kvm_host.h declares up to Linux 7.2, and later
 * arch/x86/kvm/{hyperv,lapic,x86}.h, which headers packages do not contain. Names and places are
 * KVM's: contract.def.h has a row for each member that is used.
 */
#ifndef KHV_COMPAT_KVM_HV_H
#define KHV_COMPAT_KVM_HV_H

#include <linux/kfifo.h>
#include <linux/kvm_host.h>

#include "compat/tlfs.h"

#ifdef KHV_HAVE_PRIVATE_HV

struct kvm_vcpu_hv_stimer {
	struct hrtimer timer;
	int index;
	union hv_stimer_config config;
	u64 count;
	u64 exp_time;
	struct hv_message msg;
	bool msg_pending;
};

struct kvm_vcpu_hv_synic {
	u64 version;
	u64 control;
	u64 msg_page;
	u64 evt_page;
	atomic64_t sint[HV_SYNIC_SINT_COUNT];
	atomic_t sint_to_gsi[HV_SYNIC_SINT_COUNT];
	DECLARE_BITMAP(auto_eoi_bitmap, 256);
	DECLARE_BITMAP(vec_bitmap, 256);
	bool active;
	bool dont_zero_synic_pages;
};

#define KVM_HV_TLB_FLUSH_FIFO_SIZE 16

/* One of L1's, one of L2's. */
#define HV_NR_TLB_FLUSH_FIFOS 2

struct kvm_vcpu_hv_tlb_flush_fifo {
	spinlock_t write_lock; /* of entries */
	DECLARE_KFIFO(entries, u64, KVM_HV_TLB_FLUSH_FIFO_SIZE);
};

struct kvm_vcpu_hv {
	struct kvm_vcpu *vcpu;
	u32 vp_index;
	u64 hv_vapic;
	s64 runtime_offset;
	struct kvm_vcpu_hv_synic synic;
	struct kvm_hyperv_exit exit;
	struct kvm_vcpu_hv_stimer stimer[HV_SYNIC_STIMER_COUNT];
	DECLARE_BITMAP(stimer_pending_bitmap, HV_SYNIC_STIMER_COUNT);
	bool enforce_cpuid;
	struct {
		u32 features_eax;
		u32 features_ebx;
		u32 features_edx;
		u32 enlightenments_eax;
		u32 enlightenments_ebx;
		u32 syndbg_cap_eax;
		u32 nested_eax;
		u32 nested_ebx;
	} cpuid_cache;
	struct kvm_vcpu_hv_tlb_flush_fifo tlb_flush_fifo[HV_NR_TLB_FLUSH_FIFOS];
	u64 sparse_banks[HV_MAX_SPARSE_VCPU_BANKS];
	DECLARE_BITMAP(vcpu_mask, KVM_MAX_VCPUS);
	struct hv_vp_assist_page vp_assist_page;
	struct {
		u64 pa_page_gpa;
		u64 vm_id;
		u32 vp_id;
	} nested;
};

/* APICs by their id. */
struct kvm_apic_map {
	struct rcu_head rcu;
	int logical_mode;
	u32 max_apic_id;
	struct kvm_lapic *logical_map[16][4];
	struct kvm_lapic *phys_map[];
};

/* The one reason that the module gives. */
enum kvm_apicv_inhibit {
	APICV_INHIBIT_REASON_HYPERV = 1,
};

#endif /* KHV_HAVE_PRIVATE_HV */
#endif
