/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module's own state: struct khv_vm beside struct kvm, and struct khv_vcpu around KVM's struct
 * kvm_vcpu_hv. A VM is "owned" if this module answers its enlightenments. khv_vm_create() decides
 * that once for the life of the VM; every path asks to_khv_vm(), which takes no lock. "Stock" is
 * KVM's own code and state.
 */
#ifndef KHV_STATE_H
#define KHV_STATE_H

#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/percpu.h>

#include "compat/kvm_hv.h"
#include "khv/counts.h"
#include "khv/flush.h"
#include "khv/hcall.h"
#include "khv/refclock.h"

/*
 * "Process timers and queued flushes": KVM answers this request by kvm_hv_process_stimers(), which
 * the module replaces.
 */
#define KHV_REQ_PROCESS KVM_REQ_HV_STIMER

/**
 * struct khv_overlay - an image that a register lays over a guest page
 * @gpa: address of the page, valid while @mapped
 * @mapped: the image is in guest memory
 * @saved: contents of the guest's RAM below it, or NULL if unknown
 * @image: the image
 *
 * Protected by the lock of the register. TLFS chapter "GPA Overlay Pages".
 */
struct khv_overlay {
	gpa_t gpa;
	bool mapped;
	u8 *saved;
	u8 *image;
};

/**
 * enum khv_tsc_page_state - state of the reference TSC page in guest memory
 * @KHV_TSC_PAGE_OFF: not enabled
 * @KHV_TSC_PAGE_STALE: must be written; also while the page is outside guest memory, or covered
 *	and out of date
 * @KHV_TSC_PAGE_INVALID: has sequence 0, because the time does not follow from one TSC, because the
 *	guest does not want it, or until its parameters are written
 * @KHV_TSC_PAGE_LIVE: has the parameters of the clock
 */
enum khv_tsc_page_state {
	KHV_TSC_PAGE_OFF,
	KHV_TSC_PAGE_STALE,
	KHV_TSC_PAGE_INVALID,
	KHV_TSC_PAGE_LIVE,
};

/**
 * struct khv_master_clock - identifies one of KVM's successive master clocks
 * @cycle: host TSC at its origin
 * @kernel_ns: host time at its origin, in ns
 * @offset: kvmclock_offset, from host time to KVM's clock, in ns; set by user space, and by
 *	HvCallRestorePartitionTime
 *
 * KVM replaces its master clock from time to time and then tells each vCPU in turn.
 */
struct khv_master_clock {
	u64 cycle;
	s64 kernel_ns;
	s64 offset;
};

/**
 * struct khv_ref_source - source of the reference time
 * @valid: the time follows from the guest's TSC by @params, until user space sets KVM's clock;
 *	otherwise it follows KVM's clock
 * @adopted: @params are those of a frozen reference TSC page and do not follow KVM's clock
 * @params: conversion of the guest's TSC to reference time, without @ahead
 * @master: the master clock that @params come from; @master.offset is valid without one, too
 * @tsc_ratio: ratio of the guest's TSC to the host's, as KVM scales it; not for an adopted page
 * @tsc_offset: offset of the guest's TSC, added after scaling
 * @origin: guest's TSC when the source was found; 0 for an adopted page
 * @ahead: lead of the reference time over KVM's clock, in units of 100 ns; keeps the time from
 *	going back
 */
struct khv_ref_source {
	bool valid;
	bool adopted;
	struct khv_ref_params params;
	struct khv_master_clock master;
	u64 tsc_ratio;
	u64 tsc_offset;
	u64 origin;
	u64 ahead;
};

/**
 * struct khv_refclock - reference clock of a VM
 * @seq: guards @source; writers hold hv_lock
 * @source: current source of the time
 * @sequence: last TscSequence of the page, under hv_lock
 * @page: &enum khv_tsc_page_state, written under hv_lock
 * @has_shown: the page was given the parameters of @source, or gets them once it can be written;
 *	TSC emulation has it keep them; written under hv_lock
 * @restored: user space wrote HV_X64_MSR_REFERENCE_TSC, and the page has not been looked at since,
 *	written under hv_lock
 * @covered: the hypercall page lies over the reference TSC page, written under hv_lock
 * @withheld: the guest restored its time with TscSequence 0: the page stays invalid until the
 *	register is written, or the time restored with another one; written under hv_lock
 */
struct khv_refclock {
	seqcount_mutex_t seq;
	struct khv_ref_source source;
	u32 sequence;
	enum khv_tsc_page_state page;
	bool has_shown;
	bool restored;
	bool covered;
	bool withheld;
};

/**
 * struct khv_tsc_set - a TSC that the guest has set on all VPs by HvCallRestorePartitionTime
 * @count: how often; 0: never
 * @at: host's TSC at that time
 * @tsc: TSC of the VPs at that time
 * @ratio: &khv_tsc_rate.ratio at that time
 * @moved: &khv_tsc_rate.moved at that time
 *
 * Written under hv_lock, in write sections of &khv_refclock.seq.
 */
struct khv_tsc_set {
	u32 count;
	u64 at;
	u64 tsc;
	u64 ratio;
	u64 moved;
};

/**
 * struct khv_tsc_rate - the rate of the TSC of a restored VM, while it keeps that of before, and a
 * TSC that the guest has set
 * @generation: changes with each restore, with the rate, and with @set: a VP whose own differs must
 *	look before it enters the guest; read without a lock
 * @restored: user space has restored the VM, and no VP has looked at its rate since
 * @kept: the VPs have the rate of before: InProgress
 * @khz: rate that the VPs must have, in kHz
 * @kept_khz: rate of before, in kHz, also when it is not kept any more; else 0; read without a lock
 * @native_khz: rate that user space has left or set, in kHz; read without a lock
 * @native_ratio: the same as a ratio to the host's TSC
 * @ratio: ratio that the VPs must have; 0 until a rate was kept
 * @moved: what the changes of the rate have added to the offset of each VP's TSC in all
 * @set: see &struct khv_tsc_set
 *
 * Written under hv_lock; @native_ratio, @ratio, @moved and @set in write sections of
 * &khv_refclock.seq as well.
 */
struct khv_tsc_rate {
	u32 generation;
	bool restored;
	bool kept;
	u32 khz;
	u32 kept_khz;
	u32 native_khz;
	u64 native_ratio;
	u64 ratio;
	u64 moved;
	struct khv_tsc_set set;
};

/*
 * The words of STORED() rows, by the names of the rows. Each struct has a member for every row;
 * those of the other one have no elements. 0 in a new VM or VP, accessed without a lock.
 */
#define KHV_WORDS_HANDLERS(_x)		      0
#define KHV_WORDS_READER(_x)		      0
#define KHV_WORDS_WRITER(_x, _where, _member) 0
#define KHV_WORDS_STORED(_where)	      KHV_IS_##_where
#define KHV_WORDS_STORED_ARRAY(_where, _n)    (KHV_IS_##_where * (_n))
#define KHV_MSR(_name, _first, _access, ...)  u64 _name[KHV_WORDS_##_access];
#define KHV_IS_VM			      1
#define KHV_IS_VP			      0
struct khv_vm_words {
#include "khv/msrs.def.h"
};
#undef KHV_IS_VM
#undef KHV_IS_VP
#define KHV_IS_VM 0
#define KHV_IS_VP 1
struct khv_vp_words {
#include "khv/msrs.def.h"
};
#undef KHV_IS_VM
#undef KHV_IS_VP
#undef KHV_MSR

/**
 * struct khv_vm - an owned VM
 * @kvm: KVM's structure of it, which points here while the VM lives
 * @link: entry of khv_vms, under khv_vms_lock
 * @vps_lock: protects @vps, @aside, @shown, @ended and changes of @by_index; khv_ref_lead() asks
 *	without it whether there are @vps
 * @vps: its VPs
 * @aside: states of VPs that are put aside, see khv_vcpu_put_aside()
 * @id: serial number since module load, for reports
 * @pid: thread that created it, for reports
 * @process: process of that thread, for reports
 * @folder: its folder in debugfs, see khv_debugfs_vm_create()
 * @shown: enlightenments that the CPUID of its VPs has ever shown, one bit each, for reports
 * @ended: counts of destroyed VPs
 * @hypercall_page: overlay of HV_X64_MSR_HYPERCALL, under kvm->arch.hyperv.hv_lock
 * @stored: words of registers, as HV_X64_MSR_CRASH_P0 to P4; single words, accessed without a lock
 * @crash_ctl: value that the guest reads from HV_X64_MSR_CRASH_CTL, without a lock
 * @crash_notice: value that the guest last wrote to HV_X64_MSR_CRASH_CTL, or 0, without a lock
 * @tsc_invariant: HV_X64_MSR_TSC_INVARIANT_CONTROL; written under hv_lock, read without a lock
 * @refclock: see &struct khv_refclock
 * @tsc_rate: see &struct khv_tsc_rate
 * @restored: user space has restored the VM, and the guest must be told by the reenlightenment
 *	interrupt; without a lock
 * @preempted: number of VPs whose thread is runnable inside KVM_RUN but has no CPU
 * @by_index: its VPs by VP index; read without a lock
 *
 * Freed in khv_vm_destroy(), after all vCPUs are gone.
 */
struct khv_vm {
	struct kvm *kvm;
	struct list_head link;
	struct mutex vps_lock; /* for the lists of VPs, and what is added up of them */
	struct list_head vps;
	struct list_head aside;
	u32 id;
	pid_t pid;
	pid_t process;
	struct dentry *folder;
	u64 shown;
	struct khv_counts ended;
	struct khv_overlay hypercall_page;
	struct khv_vm_words stored;
	u64 crash_ctl;
	u64 crash_notice;
	u64 tsc_invariant;
	struct khv_refclock refclock;
	struct khv_tsc_rate tsc_rate;
	bool restored;
	atomic_t preempted;
	struct khv_vcpu *by_index[KVM_MAX_VCPUS];
};

/**
 * struct khv_l2 - identity of a VP's nested guest, as given by L1
 * @vm_id: the nested guest's VM
 * @partition_assist_page: address of the partition assist page with that VM's TlbLockCount
 * @vp_id: the VP within that VM
 * @unknown: user space restored the nested guest, and its identity is not known yet
 * @direct: L1 enabled direct flush: the module answers its flush hypercalls
 * @direct_used: on this VP the module has answered a hypercall of an L2 or met a post, or
 *	nested_posts_direct= needs to know of direct flush before the first call
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
 * struct khv_gpa_flush - pending flush of shadowed second-level page tables
 * @pending: a flush is pending
 * @all: flush the shadows of every address space
 * @space: otherwise, the root of the address space to flush
 */
struct khv_gpa_flush {
	bool pending;
	bool all;
	u64 space;
};

/**
 * struct khv_unhalted - the synthetic time-unhalted timer of a VP
 * @config: HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG
 * @period: HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT, in units of 100 ns
 * @begin: khv_vp_runtime() when the current period began
 * @timer: wakes up the VP's thread when the period may be over
 *
 * Under vcpu->mutex, but for @timer.
 */
struct khv_unhalted {
	u64 config;
	u64 period;
	u64 begin;
	struct hrtimer timer;
};

/**
 * struct khv_msr_access - one access to a synthetic MSR
 * @vcpu: vCPU whose register is accessed; its mutex is held
 * @vp: the vCPU's VP
 * @vm: the VP's VM
 * @row: &enum khv_msr_id
 * @index: index of the register within the row
 * @data: value to write, or the value read
 * @was: old value, set by the write handler of a row with KHV_MSR_OVERLAY
 * @host: access by user space (KVM_GET_MSRS, KVM_SET_MSRS), not by the guest
 * @atomic: called in the fast path, see &enum khv_msr_flags
 */
struct khv_msr_access {
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *vp;
	struct khv_vm *vm;
	int row;
	unsigned int index;
	u64 data;
	u64 was;
	bool host;
	bool atomic;
};

/**
 * struct khv_vcpu - a virtual processor (VP) of an owned VM
 * @stock: KVM's own state. First, because KVM's inline functions read it through vcpu->arch.hyperv
 *	and cannot be hooked; must be correct at every moment.
 * @vm: the VP's VM
 * @link: entry of &khv_vm.vps or &khv_vm.aside, under &khv_vm.vps_lock
 * @cpuid: the guest's Hyper-V CPUID, under vcpu->mutex
 * @added: bits of it that module parameters add to what user space has set, under vcpu->mutex
 * @gate: rows that the VP may use, derived from @cpuid, under vcpu->mutex
 * @counts: see &struct khv_counts
 * @runtime_ns: CPU time spent inside KVM_RUN, in ns; updated when the thread loses its CPU or
 *	leaves KVM_RUN
 * @on_cpu_since: local_clock() when the thread last got a CPU, in ns
 * @running: the thread is inside KVM_RUN; @on_cpu_since is valid
 * @notifier: called when the thread loses or gets a CPU, while @running
 * @preempted: counted in &khv_vm.preempted; VP's thread only
 * @runtime_base: added to the runtime to give VP_RUNTIME, in units of 100 ns; set by a write to
 *	VP_RUNTIME
 * @tsc_ratio: TSC scaling ratio of the vCPU at its last KVM_RUN, 0 before the first one; written by
 *	the VP's thread only
 * @tsc_offset: TSC offset of the vCPU at the end of its last KVM_RUN; VP's thread only
 * @tsc_generation: &khv_tsc_rate.generation that the VP has followed; written under hv_lock
 * @tsc_given: ratio that the VP's TSC was last given by &khv_tsc_rate; 0: it has user space's;
 *	written under hv_lock
 * @tsc_unwritten: the hardware has another TSC yet, under vcpu->mutex
 * @tsc_moved: &khv_tsc_rate.moved that its TSC has in it; written under hv_lock, in a write section
 *	of &khv_refclock.seq
 * @tsc_set: &khv_tsc_set.count of the one that its TSC has in it; written as @tsc_moved
 * @tsc_line: offset that the module last gave its TSC; written under hv_lock
 * @tsc_applied: &khv_tsc_rate.generation as of which its TSC is what KVM knows; written under
 *	hv_lock
 * @tsc_runs: the VP's thread is inside KVM_RUN, and has its TSC follow before it leaves; written by
 *	that thread
 * @stimers_started: timers that run, one bit each; written by the VP's thread only
 * @stimers_due: timers that the VP's thread must process, one bit each; any context sets bits
 * @stimer_rush: per timer, how often in a row a one-shot was due when it was started, or was not
 *	when it was woken, or how many ticks in a row have waited for a period, up to a limit
 * @stimer_rush_end: per timer, reference time at which a delay imposed on it ends, or 0
 * @stimer_sent: per periodic timer, reference time when its last message was sent, or when another
 *	one was last found in its slot
 * @idle: the VP has read HV_X64_MSR_GUEST_IDLE in this KVM_RUN, and is halted by that if it is
 *	halted at all and has not run since @idle_since; VP's thread only
 * @idle_since: guest's TSC when KVM had last run the VP
 * @unhalted: see &struct khv_unhalted
 * @stored: words of registers; single words, accessed without a lock
 * @eom_event: signalled by an EOM of the guest, or NULL; changed under hv_lock, used under RCU
 * @apic_waits: an expiry waits for the local APIC to be enabled; VP's thread only
 * @syndbg_exit: KVM_EXIT_HYPERV_SYNDBG is requested and has not reached user space; VP's thread
 *	only
 * @flush_lock: guards @flush and @gpa_flush
 * @flush: flushes that other VPs queued, done before the VP enters the guest; [0] is for the VP's
 *	own addresses, [1] for those of its nested guest
 * @gpa_flush: queued flush of second-level page tables
 * @l2: identity of its nested guest; written by the VP's thread, vm_id, vp_id and unknown read by
 *	others
 * @l2_control: cache of the part of L1's enlightened VMCS or VMCB that identifies the L2
 * @input_page: cache of the page that held the input of the last hypercall in memory
 * @lock_page: cache of the page that holds the TlbLockCount of L2's VM
 * @vmx_controls: VMX controls of the last nested VM-Entry
 * @kick_cpus: scratch mask for a flush that this VP requests, under vcpu->mutex
 * @msr_fast: MSR access in the fast path; only row, index and data ever change
 * @hcall: the hypercall in progress, under vcpu->mutex
 */
struct khv_vcpu {
	struct kvm_vcpu_hv stock;
	struct khv_vm *vm;
	struct list_head link;
	struct khv_cpuid cpuid;
	u32 added[KHV_NR_CPUID_REGS];
	struct khv_gate gate;
	struct khv_counts counts;
	u64 runtime_ns;
	u64 on_cpu_since;
	bool running;
	struct preempt_notifier notifier;
	bool preempted;
	u64 runtime_base;
	u64 tsc_ratio;
	u64 tsc_offset;
	u32 tsc_generation;
	u64 tsc_given;
	bool tsc_unwritten;
	u64 tsc_moved;
	u32 tsc_set;
	u64 tsc_line;
	u32 tsc_applied;
	bool tsc_runs;
	unsigned long stimers_started;
	unsigned long stimers_due;
	u8 stimer_rush[HV_SYNIC_STIMER_COUNT];
	u64 stimer_rush_end[HV_SYNIC_STIMER_COUNT];
	u64 stimer_sent[HV_SYNIC_STIMER_COUNT];
	bool idle;
	u64 idle_since;
	struct khv_unhalted unhalted;
	struct khv_vp_words stored;
	struct eventfd_ctx __rcu *eom_event;
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
 * to_khv_vm() - find the state of an owned VM
 * @kvm: any VM
 *
 * The pointer is kept in kvm->arch.hyperv.hv_crash_ctl. KVM's own code stores only 0 or bit 63
 * there, whatever a guest or user space writes, and neither is a kernel pointer; in an owned VM the
 * hooks keep crash MSRs away from that code. selftests/crash_test.c verifies this on stock KVM.
 *
 * Return: the VM's state, or NULL if KVM answers the VM's enlightenments. Context: any, no lock.
 */
static inline struct khv_vm *to_khv_vm(struct kvm *kvm)
{
	u64 word = READ_ONCE(kvm->arch.hyperv.hv_crash_ctl);

	/* The shift drops bit 63, which KVM may set. */
	return word << 1 ? (struct khv_vm *)word : NULL;
}

/**
 * to_khv_vcpu() - find the VP of a vCPU
 * @vcpu: a vCPU of an owned VM
 *
 * Return: the VP, or NULL if the vCPU does not use Hyper-V (yet).
 */
static inline struct khv_vcpu *to_khv_vcpu(const struct kvm_vcpu *vcpu)
{
	/*
	 * @stock is the first member, so NULL stays NULL. READ_ONCE(): an ioctl in another thread
	 * may publish the VP or put it aside. Pairs with smp_store_release() in publish().
	 */
	return container_of(READ_ONCE(vcpu->arch.hyperv), struct khv_vcpu, stock);
}

/*
 * The vCPU with a struct khv_vcpu that this CPU runs, or NULL. Written by
 * khv_vp_run_begin(), khv_vp_run_end() and the preempt notifier with preemption disabled.
 */
DECLARE_PER_CPU(struct kvm_vcpu *, khv_running);

/* All owned VMs, and the counts of those that ended; for reports. Under khv_vms_lock. */
extern struct list_head khv_vms;
extern struct mutex khv_vms_lock;
extern struct khv_counts khv_ended_counts;
extern u64 khv_ended_shown;
extern u32 khv_vms_created;

#endif
