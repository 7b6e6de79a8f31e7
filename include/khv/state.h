/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State of our own: struct khv_vm beside struct kvm, struct khv_vcpu around the
 * stock struct kvm_vcpu_hv. Who owns a VM is decided in khv_vm_create() and never
 * changes; every path asks to_khv_vm(), which takes no lock.
 */
#ifndef KHV_STATE_H
#define KHV_STATE_H

#include <linux/kvm_host.h>
#include <linux/list.h>

#include "khv/flush.h"
#include "khv/hcall.h"
#include "khv/refclock.h"

/**
 * enum khv_fast_result - what became of an exit in the fast path
 * @KHV_FAST_DONE: answered
 * @KHV_FAST_STATE: single step, SMM, or hidden guest state
 * @KHV_FAST_FILTER: user space's MSR filter denies the access
 * @KHV_FAST_TRACED: an event of KVM's slow path is on: kvm_exit, kvm_msr
 * @KHV_FAST_ROW: no row, or one that is not atomic
 * @KHV_FAST_FORM: a call whose input page is not at hand, or an ill-formed one
 * @KHV_FAST_REFUSED: the access faults, or the call is denied
 * @KHV_FAST_BUSY: atomic, but not this time: something to wait for
 * @KHV_FAST_SKIP: the instruction cannot be skipped without KVM's emulator
 * @KHV_FAST_PMU: the guest's PMU counts, and KVM can only be told with interrupts on
 * @KHV_NR_FAST_RESULTS: number of the above
 */
enum khv_fast_result {
	KHV_FAST_DONE,
	KHV_FAST_STATE,
	KHV_FAST_FILTER,
	KHV_FAST_TRACED,
	KHV_FAST_ROW,
	KHV_FAST_FORM,
	KHV_FAST_REFUSED,
	KHV_FAST_BUSY,
	KHV_FAST_SKIP,
	KHV_FAST_PMU,
	KHV_NR_FAST_RESULTS,
};

/**
 * struct khv_counts - how often each row was used
 * @msr_read: per MSR row, on the slow path
 * @msr_write: the same
 * @hc: per hypercall row, on the slow path
 * @msr_read_fast: per MSR row, in the fast path
 * @msr_write_fast: the same
 * @hc_fast: per hypercall row, in the fast path
 * @fast: exits that the fast path looked at, by what became of them
 * @hc_l2: hypercalls of an L2 that were answered here
 * @evmcs_entries: nested entries whose controls were checked
 * @clean_msr_bitmaps: nested entries whose hypervisor calls its MSR bitmap unchanged
 * @hc_xmm: hypercalls that carried XMM input
 * @hc_unknown: hypercalls without a row
 *
 * Written by the VP's own thread only; read without a lock for reports.
 */
struct khv_counts {
	u64 msr_read[KHV_NR_MSR_ROWS];
	u64 msr_write[KHV_NR_MSR_ROWS];
	u64 hc[KHV_NR_HC_ROWS];
	u64 msr_read_fast[KHV_NR_MSR_ROWS];
	u64 msr_write_fast[KHV_NR_MSR_ROWS];
	u64 hc_fast[KHV_NR_HC_ROWS];
	u64 fast[KHV_NR_FAST_RESULTS];
	u64 hc_l2;
	u64 evmcs_entries;
	u64 clean_msr_bitmaps;
	u64 hc_xmm;
	u64 hc_unknown;
};

/**
 * struct khv_overlay - a guest page that a register maps something over
 * @gpa: where it is, valid while @mapped
 * @mapped: the page stands in guest memory
 * @saved: what the guest's RAM held below it, or NULL when that is unknown
 * @image: what was written there
 *
 * Protected by the lock of the register it belongs to.
 * TLFS chapter "GPA Overlay Pages".
 */
struct khv_overlay {
	gpa_t gpa;
	bool mapped;
	u8 *saved;
	u8 *image;
};

/**
 * enum khv_tsc_page_state - the reference TSC page in guest memory
 * @KHV_TSC_PAGE_OFF: not enabled
 * @KHV_TSC_PAGE_STALE: to be written; also while it is outside memory
 * @KHV_TSC_PAGE_INVALID: written with sequence 0, because the time is not of one TSC
 * @KHV_TSC_PAGE_LIVE: written with the parameters of the clock
 */
enum khv_tsc_page_state {
	KHV_TSC_PAGE_OFF,
	KHV_TSC_PAGE_STALE,
	KHV_TSC_PAGE_INVALID,
	KHV_TSC_PAGE_LIVE,
};

/**
 * struct khv_master_clock - which one of KVM's master clocks it is
 * @cycle: host TSC at its origin
 * @kernel_ns: host time at its origin, ns
 * @offset: from host time to KVM's clock, ns; user space sets it
 *
 * KVM makes a new one now and then, and then tells every vCPU, one after the other.
 */
struct khv_master_clock {
	u64 cycle;
	s64 kernel_ns;
	s64 offset;
};

/**
 * struct khv_ref_source - where the reference time comes from
 * @valid: from the guest's TSC, by @params, until user space sets KVM's clock; else from KVM's
 *	clock
 * @adopted: @params are those of a frozen page, and do not follow KVM's clock
 * @params: reference time from the guest's TSC, without @ahead
 * @master: the master clock that they come from; its offset also without one
 * @tsc_ratio: that TSC from the host's, as KVM scales it; not of an adopted page
 * @tsc_offset: added after scaling
 * @ahead: what the time is ahead of KVM's clock, 100 ns, so that it never goes back
 */
struct khv_ref_source {
	bool valid;
	bool adopted;
	struct khv_ref_params params;
	struct khv_master_clock master;
	u64 tsc_ratio;
	u64 tsc_offset;
	u64 ahead;
};

/**
 * struct khv_refclock - reference time of a VM
 * @seq: guards @source; writers hold hv_lock
 * @source: what the time is now
 * @sequence: the last one of the page, under hv_lock
 * @page: &enum khv_tsc_page_state, under hv_lock
 * @by_guest: the guest wrote HV_X64_MSR_REFERENCE_TSC and the page did not follow
 *	yet, under hv_lock
 * @covered: the hypercall page lies over the page, under hv_lock
 */
struct khv_refclock {
	seqcount_mutex_t seq;
	struct khv_ref_source source;
	u32 sequence;
	enum khv_tsc_page_state page;
	bool by_guest;
	bool covered;
};

/**
 * struct khv_vm - a VM whose enlightenments are answered by this module
 * @kvm: the VM
 * @link: entry of khv_vms, under khv_vms_lock
 * @vps: its VPs, under khv_vms_lock
 * @aside: states that no VP has at the moment, see khv_vcpu_put_aside()
 * @id: number since load, for reports
 * @pid: process that created it, for reports
 * @shown: enlightenments that its VPs' CPUID ever showed, one bit each, for reports
 * @ended: counts of VPs that are gone, under khv_vms_lock
 * @hypercall_page: the page of HV_X64_MSR_HYPERCALL, under kvm->arch.hyperv.hv_lock
 * @crash_p: HV_X64_MSR_CRASH_P0 to P4, single words without a lock
 * @crash_ctl: what a read of HV_X64_MSR_CRASH_CTL shows, likewise
 * @crash_notice: what the guest last wrote to it, 0 for nothing, likewise
 * @tsc_invariant: HV_X64_MSR_TSC_INVARIANT_CONTROL, under hv_lock; read without
 * @refclock: see &struct khv_refclock
 * @preempted: VPs whose thread wants a CPU and has none
 * @by_index: its VPs by VP index, changed under khv_vms_lock, read without
 *
 * Freed in khv_vm_destroy(), when no vCPU is left.
 */
struct khv_vm {
	struct kvm *kvm;
	struct list_head link;
	struct list_head vps;
	struct list_head aside;
	u32 id;
	pid_t pid;
	u64 shown;
	struct khv_counts ended;
	struct khv_overlay hypercall_page;
	u64 crash_p[5];
	u64 crash_ctl;
	u64 crash_notice;
	u64 tsc_invariant;
	struct khv_refclock refclock;
	atomic_t preempted;
	struct khv_vcpu *by_index[KVM_MAX_VCPUS];
};

/**
 * struct khv_l2 - who the nested guest of a VP is, as its hypervisor says
 * @vm_id: its VM
 * @partition_assist_page: where that VM's TlbLockCount is
 * @vp_id: its VP in there
 * @unknown: user space restored it, and nothing has told yet who it is
 * @direct: its flushes are answered here
 * @direct_used: one was, on this VP, since it was created
 *
 * TLFS chapter "Nested Virtualization", "Direct Virtual Flush".
 */
struct khv_l2 {
	u64 vm_id;
	u64 partition_assist_page;
	u32 vp_id;
	bool unknown;
	bool direct;
	bool direct_used;
};

/**
 * struct khv_gpa_flush - second-level page tables whose shadows a VP has to forget
 * @pending: there are some
 * @all: of every address space
 * @space: root of the only one
 */
struct khv_gpa_flush {
	bool pending;
	bool all;
	u64 space;
};

/**
 * struct khv_msr_access - one access to a synthetic MSR
 * @vcpu: the vCPU
 * @vp: its state
 * @vm: its VM
 * @row: &enum khv_msr_id
 * @index: which register of the row
 * @data: value to write, or the value read
 * @host: by user space (KVM_GET_MSRS, KVM_SET_MSRS), not by the guest
 * @atomic: in the fast path, see &enum khv_msr_flags
 */
struct khv_msr_access {
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *vp;
	struct khv_vm *vm;
	int row;
	unsigned int index;
	u64 data;
	bool host;
	bool atomic;
};

/**
 * struct khv_vcpu - a virtual processor of a VM of ours
 * @stock: KVM's own state, first: inline code in KVM reads it through
 *	vcpu->arch.hyperv and cannot be hooked. Truthful at every moment.
 * @vm: its VM
 * @link: entry of &khv_vm.vps, under khv_vms_lock
 * @cpuid: Hyper-V CPUID of the guest, under vcpu->mutex
 * @gate: what the VP may use, follows @cpuid, under vcpu->mutex
 * @counts: see &struct khv_counts
 * @runtime_ns: CPU time spent inside KVM_RUN, up to when the thread last lost its CPU, ns
 * @on_cpu_since: when it last got one, clock of that CPU, ns
 * @running: inside KVM_RUN, so that @on_cpu_since is valid
 * @notifier: tells when the thread loses and gets its CPU, while @running
 * @preempted: counted in &khv_vm.preempted; the thread's own
 * @runtime_base: what user space set VP_RUNTIME to, 100 ns, minus what had passed
 * @tsc_ratio: rate of its TSC when it last was run, as KVM scales it; the thread's own
 * @stimers_started: timers that run, one bit each; written by the VP's thread
 * @stimers_due: timers that its thread has to look at, one bit each; set by anybody
 * @stimer_rush: how often in a row each timer was due when it began, up to a limit
 * @stimer_rush_end: reference time at which the wait of such a timer ends, or 0
 * @apic_waits: an expiry waits for the local APIC to be enabled; the thread's own
 * @syndbg_exit: KVM_EXIT_HYPERV_SYNDBG was asked for, and its answer not yet; likewise
 * @flush_lock: guards @flush and @gpa_flush
 * @flush: what other VPs want this one to flush before it enters the guest: of its own
 *	addresses, and of those of its nested guest
 * @gpa_flush: the same, of second-level page tables
 * @l2: its nested guest; written by its thread, ids read by others
 * @l2_control: the part of its enlightened VMCS, or of its VMCB, that says who its L2 is
 * @input_page: where the input of the last call in memory was
 * @lock_page: where the TlbLockCount of L2's VM was
 * @vmx_controls: VMX controls of the last nested entry
 * @kick_cpus: scratch of a flush that this VP calls, under vcpu->mutex
 * @msr_fast: the access in the fast path; but for row, index and data it never changes
 * @hcall: the call in flight, under vcpu->mutex
 */
struct khv_vcpu {
	struct kvm_vcpu_hv stock;
	struct khv_vm *vm;
	struct list_head link;
	struct khv_cpuid cpuid;
	struct khv_gate gate;
	struct khv_counts counts;
	u64 runtime_ns;
	u64 on_cpu_since;
	bool running;
	struct preempt_notifier notifier;
	bool preempted;
	u64 runtime_base;
	u64 tsc_ratio;
	unsigned long stimers_started;
	unsigned long stimers_due;
	u8 stimer_rush[HV_SYNIC_STIMER_COUNT];
	u64 stimer_rush_end[HV_SYNIC_STIMER_COUNT];
	bool apic_waits;
	bool syndbg_exit;
	raw_spinlock_t flush_lock; /* guards flush, gpa_flush */
	struct khv_flush flush[2];
	struct khv_gpa_flush gpa_flush;
	struct khv_l2 l2;
	struct gfn_to_hva_cache l2_control;
	struct gfn_to_hva_cache input_page;
	struct gfn_to_hva_cache lock_page;
	u32 vmx_controls[5];
	cpumask_var_t kick_cpus;
	struct khv_msr_access msr_fast;
	struct khv_hcall hcall;
};

static_assert(offsetof(struct khv_vcpu, stock) == 0);

/**
 * to_khv_vm() - is this VM ours?
 * @kvm: any VM
 *
 * The pointer lives in hv_crash_ctl. KVM's own code only ever stores 0 or
 * bit 63 there, whatever a guest or user space writes, and no kernel pointer
 * is either; in a VM of ours that code is never entered with a crash MSR.
 * selftests/crash_test.c pins the assumption on stock.
 *
 * Return: our state, or NULL for a VM of KVM's own. Context: any, no lock.
 */
static inline struct khv_vm *to_khv_vm(struct kvm *kvm)
{
	u64 word = READ_ONCE(kvm->arch.hyperv.hv_crash_ctl);

	/* Shifted, 0 and bit 63 are both 0. */
	return word << 1 ? (struct khv_vm *)word : NULL;
}

/**
 * to_khv_vcpu() - our state of a VP
 * @vcpu: a vCPU of a VM of ours
 *
 * Return: our state, or NULL while nothing of Hyper-V was asked for.
 */
static inline struct khv_vcpu *to_khv_vcpu(struct kvm_vcpu *vcpu)
{
	/* The member is the first one, so NULL stays NULL. Another thread may put it aside. */
	return container_of(READ_ONCE(vcpu->arch.hyperv), struct khv_vcpu, stock);
}

/* All VMs of ours, and the counts of those that ended; for reports. */
extern struct list_head khv_vms;
extern struct mutex khv_vms_lock;
extern struct khv_counts khv_ended_counts;
extern u64 khv_ended_shown;
extern u32 khv_vms_created;

/**
 * khv_counts_add() - add one set of counts to another
 * @sum: changed
 * @add: may be written at the same time by its VP
 */
void khv_counts_add(struct khv_counts *sum, const struct khv_counts *add);

/**
 * khv_vm_create() - make a VM ours
 * @kvm: a VM under construction, stock state initialised
 *
 * Takes a reference on this module. Context: may sleep.
 * Return: 0; -ENOMEM; -ENODEV while the module goes away. The VM is then KVM's own.
 */
int khv_vm_create(struct kvm *kvm);

/**
 * khv_vm_destroy() - forget a VM
 * @kvm: a VM of ours without vCPUs
 *
 * Drops the reference on this module. Context: may sleep.
 */
void khv_vm_destroy(struct kvm *kvm);

/**
 * khv_vcpu_create() - give a VP of a VM of ours its state, once
 * @vcpu: the vCPU
 *
 * Context: may sleep, vcpu->mutex held or the vCPU not yet visible.
 * Return: 0, or -ENOMEM.
 */
int khv_vcpu_create(struct kvm_vcpu *vcpu);

/**
 * khv_vcpu_put_aside() - take a VP's state from it until it is asked for again
 * @vcpu: a vCPU of a VM of ours whose state is new, or that has none
 *
 * Other vCPUs may have found the state: it is not freed. Context: as khv_vcpu_create().
 */
void khv_vcpu_put_aside(struct kvm_vcpu *vcpu);

/**
 * khv_vcpu_destroy() - free the state of a VP
 * @vcpu: a vCPU of a VM of ours that will not run again
 *
 * Context: may sleep.
 */
void khv_vcpu_destroy(struct kvm_vcpu *vcpu);

#endif
