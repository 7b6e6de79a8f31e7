/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts and their verbs: the drivers, and what each register's file offers.
 * MSR handlers are declared from the table, so a row without a handler does not link.
 */
#ifndef KHV_PARTS_H
#define KHV_PARTS_H

#include "khv/port.h"
#include "khv/state.h"
#include "khv/trace.h"
#include "khv/vpset.h"

/**
 * enum khv_msr_result - outcome of an MSR access
 * @KHV_MSR_OK: done
 * @KHV_MSR_FAULT: #GP for a guest, "not set" for user space; nothing changed
 * @KHV_MSR_SLOW: not in the fast path, this time; the handler is called again
 */
enum khv_msr_result {
	KHV_MSR_OK,
	KHV_MSR_FAULT,
	KHV_MSR_SLOW,
};

/* Handlers run in the vCPU thread with vcpu->mutex held; they may sleep unless atomic. */
typedef enum khv_msr_result (*khv_msr_fn)(struct khv_msr_access *a);

enum khv_msr_result khv_msr_guest_os_id_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_guest_os_id_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_hypercall_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_hypercall_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_index_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_index_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_runtime_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_runtime_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reset_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reset_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_frequency_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_apic_frequency_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_invariant_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_invariant_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_time_ref_count_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reference_tsc_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reference_tsc_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reenlightenment_control_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_reenlightenment_control_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_emulation_control_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_emulation_control_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_emulation_status_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tsc_emulation_status_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_eoi_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_eoi_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_icr_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_icr_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tpr_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_tpr_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_assist_page_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_vp_assist_page_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_scontrol_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_scontrol_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_sversion_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_sversion_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_siefp_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_siefp_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_simp_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_simp_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_eom_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_eom_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_sint_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_sint_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_stimer_config_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_stimer_config_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_stimer_count_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_stimer_count_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_syndbg_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_syndbg_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_p_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_p_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_ctl_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_ctl_write(struct khv_msr_access *a);

/*
 * Hypercall handlers: an input block in, HV_STATUS_*, KHV_STATUS_TO_USER or KHV_STATUS_SLOW
 * out. They may sleep unless hc->atomic.
 */
typedef u16 (*khv_hc_fn)(struct kvm_vcpu *vcpu, struct khv_hcall *hc);

u16 khv_hc_flush(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_flush_ex(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_flush_gpa(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_send_ipi(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_send_ipi_ex(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_debug_data(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_reset_debug_session(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_notify_long_spin_wait(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_ext_call(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_post_message(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_signal_event(struct kvm_vcpu *vcpu, struct khv_hcall *hc);

/**
 * struct khv_msr_ops - handlers of a row
 * @read: a read
 * @write: a write, or NULL where user space's is ignored
 */
struct khv_msr_ops {
	khv_msr_fn read;
	khv_msr_fn write;
};

/* By row, from msrs.def.h and hypercalls.def.h. */
extern const struct khv_msr_ops khv_msr_ops[KHV_NR_MSR_ROWS];
extern const khv_hc_fn khv_hc_handlers[KHV_NR_HC_ROWS];

/**
 * khv_msr_register() - which register of its row
 * @row: &enum khv_msr_id
 * @msr: a number of that row
 *
 * Return: from 0 up. Context: any.
 */
static inline unsigned int khv_msr_register(int row, u32 msr)
{
	const struct khv_msr_row *r = &khv_msrs[row];

	return r->count == 1 ? 0 : (msr - r->first) / r->stride;
}

/**
 * khv_msr_read() - driver of RDMSR and KVM_GET_MSRS in a VM of ours
 * @vcpu: the vCPU
 * @msr: MSR number
 * @data: the value read
 * @host: by user space
 *
 * Return: 0, or 1 for #GP (or for user space "no such MSR").
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *data, bool host);

/**
 * khv_msr_write() - driver of WRMSR and KVM_SET_MSRS in a VM of ours
 * @vcpu: the vCPU
 * @msr: MSR number
 * @data: value
 * @host: by user space
 *
 * Return: 0, or 1 for #GP (or for user space "not set"); nothing changed then.
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host);

/**
 * khv_hypercall() - driver of VMCALL and VMMCALL in a VM of ours
 * @vcpu: the vCPU, not in guest mode
 *
 * Return: as an exit handler of KVM: 1 to go on, 0 for user space.
 * Context: vCPU thread, may sleep.
 */
int khv_hypercall(struct kvm_vcpu *vcpu);

/**
 * khv_supported_cpuid() - KVM_GET_SUPPORTED_HV_CPUID, from the tables
 * @vcpu: the vCPU, or NULL for the system ioctl
 * @cpuid: user's header; nent says how many entries fit
 * @entries: user's array
 *
 * Return: 0, -E2BIG, -EFAULT. Context: may sleep.
 */
int khv_supported_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			struct kvm_cpuid_entry2 __user *entries);

/**
 * khv_cpuid_update() - take over a VP's new CPUID or enforcement
 * @vcpu: a vCPU of a VM of ours
 *
 * Context: vcpu->mutex held.
 */
void khv_cpuid_update(struct kvm_vcpu *vcpu);

/**
 * khv_tsc_invariant_hidden() - must CPUID 80000007.EDX.8 read 0?
 * @vp: the VP
 *
 * Return: true while the guest has the control and has not set it. Context: any.
 */
bool khv_tsc_invariant_hidden(const struct khv_vcpu *vp);

/**
 * khv_vp_init() - prepare what khv_run() needs
 * @vp: a new VP
 */
void khv_vp_init(struct khv_vcpu *vp);

/**
 * khv_run() - KVM_RUN of a VP of ours, with its CPU time taken
 * @vcpu: the vCPU
 *
 * Return: what KVM_RUN returns. Context: vCPU thread, vcpu->mutex held, sleeps.
 */
int khv_run(struct kvm_vcpu *vcpu);

/**
 * khv_vp_claim() - make a VP the one that its index names
 * @vp: the VP, its index set
 *
 * Of VPs with the same index, which only user space can bring about, the last one counts.
 *
 * Context: khv_vms_lock held.
 */
void khv_vp_claim(struct khv_vcpu *vp);

/**
 * khv_vp_disclaim() - take a VP out of the table of VP indices
 * @vp: the VP
 * @vp_index: the index it had
 *
 * Context: khv_vms_lock held.
 */
void khv_vp_disclaim(struct khv_vcpu *vp, u32 vp_index);

/**
 * khv_vp_by_index() - the VP of an index
 * @kvm: a VM of ours
 * @vp_index: HV_X64_MSR_VP_INDEX
 *
 * Return: the VP, or NULL. Context: any, no lock; O(1).
 */
struct khv_vcpu *khv_vp_by_index(struct kvm *kvm, u32 vp_index);

/**
 * struct khv_targets - a walk over the vCPUs that a hypercall names
 * @set: the VPs still to come
 * @next: next vCPU of a set that is "all"
 */
struct khv_targets {
	struct khv_vpset set;
	u32 next;
};

/**
 * khv_next_target() - the next vCPU of a walk
 * @kvm: a VM of ours
 * @targets: the walk; begins with its set filled in and the rest 0
 *
 * VPs that do not exist are passed over. A vCPU that never had anything to do with Hyper-V
 * has its number as its index.
 *
 * Return: the vCPU, which need not have state of ours, or NULL at the end. Context: any, no
 * lock; O(1) for each target.
 */
struct kvm_vcpu *khv_next_target(struct kvm *kvm, struct khv_targets *targets);

/**
 * khv_tlbflush_init() - the flush queue of a new VP
 * @vp: the VP
 */
void khv_tlbflush_init(struct khv_vcpu *vp);

/**
 * khv_tlbflush_process() - flush what other VPs asked for
 * @vcpu: a vCPU of a VM of ours
 *
 * Context: thread of this vCPU before it enters the guest.
 */
void khv_tlbflush_process(struct kvm_vcpu *vcpu);

/**
 * khv_flush_all() - have a vCPU flush every translation, of its L2 as well
 * @vcpu: any vCPU of a VM of ours
 *
 * Return: KVM's request that the caller still has to make. Context: any.
 */
unsigned int khv_flush_all(struct kvm_vcpu *vcpu);

/**
 * khv_flush_queue() - leave a flush for a vCPU
 * @vcpu: the vCPU
 * @what: the flush
 * @l2: of the addresses of its nested guest, not its own
 *
 * Context: any.
 * Return: the request to make, so that it looks before it enters the guest.
 */
unsigned int khv_flush_queue(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2);

/* Bits that the module adds to CPUID leaf 0x4000000A, EBX above EAX; the same from load on. */
extern u64 khv_nested_features;

/* What those bits may be on this host. Context: load, once KVM's symbols are known. */
u64 khv_nested_features_offered(void);

/**
 * khv_assist_read() - read the VP assist page
 * @vcpu: the vCPU; has state of ours
 * @assist: result
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the page is not enabled or not in memory.
 */
bool khv_assist_read(struct kvm_vcpu *vcpu, struct khv_vp_assist *assist);

/**
 * khv_nested_assist_off() - the VP assist page is disabled: what it allowed ends
 * @vp: the VP
 *
 * Context: the VP's thread.
 */
void khv_nested_assist_off(struct khv_vcpu *vp);

/**
 * khv_nested_svm_entry() - VMRUN of a VP of ours: note who enters
 * @vcpu: the vCPU; has state of ours
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if it fails because of the VP assist page; #GP is queued then.
 */
bool khv_nested_svm_entry(struct kvm_vcpu *vcpu);

#ifdef KHV_HAVE_L2_FLUSH
/**
 * khv_nested_get_assist_page() - bring KVM's copy of the VP assist page up to date
 * @vcpu: the vCPU; has state of ours
 *
 * Context: the vCPU's thread, may sleep.
 * Return: 0, or 1 for a page that is not enabled or not in memory: the entry fails then.
 */
int khv_nested_get_assist_page(struct kvm_vcpu *vcpu);
#else
/**
 * khv_nested_vmx_entry() - which enlightened VMCS is current, and who enters with it
 * @vcpu: the vCPU; has state of ours
 * @evmcs_gpa: set to its address, or to all ones
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false for none.
 */
bool khv_nested_vmx_entry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa);
#endif

/**
 * khv_nested_restored() - the VP's L2 is another one, and not known before it tells
 * @vp: user space has set its nested state
 *
 * Context: the vCPU's thread.
 */
void khv_nested_restored(struct khv_vcpu *vp);

/**
 * khv_nested_call_is_ours() - is this exit of an L2 a hypercall that is answered here?
 * @vp: its L1 has asked for that
 *
 * Return: true for a row with KHV_L2. Context: the vCPU's thread, in guest mode.
 */
bool khv_nested_call_is_ours(const struct khv_vcpu *vp);

/**
 * khv_apic_post() - send a VP a fixed, edge-triggered interrupt
 * @vcpu: any vCPU; one without a local APIC in the kernel loses it
 * @vector: its vector
 *
 * Return: false if the local APIC is disabled or absent. Context: any.
 */
bool khv_apic_post(struct kvm_vcpu *vcpu, u8 vector);

/**
 * khv_stimer_waits() - does a timer's message wait for the slot of a SINT?
 * @vp: the VP
 * @sint: the SINT
 *
 * Return: true if so. Context: the VP's thread.
 */
bool khv_stimer_waits(const struct khv_vcpu *vp, u32 sint);

/**
 * khv_synic_awaited() - vectors of SINTs for whose end somebody waits
 * @vp: the VP
 * @vectors: bitmap of 256, to which they are added
 *
 * That is an irqfd, or a timer's message. Context: the VP's thread.
 */
void khv_synic_awaited(const struct khv_vcpu *vp, unsigned long *vectors);

/**
 * khv_nested_call_seen() - KVM has brought a call of an L2 here
 * @vp: the VP
 *
 * Context: the VP's thread, in guest mode.
 */
void khv_nested_call_seen(struct khv_vcpu *vp);

/**
 * khv_nested_is_direct() - would KVM bring flush calls of this L2 here?
 * @vp: the VP
 *
 * TLFS chapter "Nested Virtualization", "Direct Virtual Flush".
 *
 * Return: true if L1 has asked for that, by its VP assist page and for this L2. false may mean
 * that it is not known yet. Context: the VP's thread, in guest mode; interrupts may be off.
 */
bool khv_nested_is_direct(struct khv_vcpu *vp);

/**
 * khv_nested_gpa() - address in L1's memory of one in L2's
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, may sleep.
 * Return: the address, or INVALID_GPA.
 */
gpa_t khv_nested_gpa(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_gpa_nofault() - khv_nested_gpa() where L1's page tables are present
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: the address, or INVALID_GPA.
 */
gpa_t khv_nested_gpa_nofault(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_tables() - L1's second-level page tables for the L2 that runs
 * @vcpu: a vCPU in guest mode
 * @t: result
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: false if there are none: L2's memory is L1's.
 */
bool khv_nested_tables(struct kvm_vcpu *vcpu, struct khv_tables *t);

/**
 * khv_nested_gpa_flush_all() - have a VP forget the shadows of second-level page tables, if any
 * @vp: state that is published next
 *
 * Context: any.
 */
void khv_nested_gpa_flush_all(struct khv_vcpu *vp);

/**
 * khv_nested_is_target() - does a flush that an L2 calls concern this vCPU?
 * @caller: the vCPU that calls, in guest mode
 * @vcpu: any vCPU of the VM
 * @set: VP ids, not walked
 *
 * Return: true if the vCPU's L2 is of the caller's VM and in the set. Context: any.
 */
bool khv_nested_is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu,
			  const struct khv_vpset *set);

/**
 * khv_nested_tlb_locked() - does L1 hold a lock for which it must see the flush?
 * @vcpu: a vCPU in guest mode
 * @locked: result
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the partition assist page is not in memory.
 */
bool khv_nested_tlb_locked(struct kvm_vcpu *vcpu, bool *locked);

/**
 * khv_nested_tlb_unlocked_nofault() - khv_nested_tlb_locked() with interrupts off
 * @vcpu: a vCPU in guest mode
 *
 * Context: the vCPU's thread.
 * Return: true if it is known that L1 holds no such lock.
 */
bool khv_nested_tlb_unlocked_nofault(struct kvm_vcpu *vcpu);

/**
 * khv_nested_synthetic_exit() - leave L2 for L1, which holds a TLB lock
 * @vcpu: a vCPU in guest mode, its call complete
 */
void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu);

/**
 * khv_nested_gpa_flush_process() - forget shadows of L1's second-level page tables
 * @vcpu: any vCPU
 * @all: of all of them
 * @space: root of the one to forget
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_nested_gpa_flush_process(struct kvm_vcpu *vcpu, bool all, u64 space);

/**
 * khv_evmcs_filter_msr() - hide what an enlightened VMCS has no field for
 * @vcpu: the vCPU
 * @msr: a VMX capability MSR
 * @data: its value, changed
 */
void khv_evmcs_filter_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data);

/**
 * khv_evmcs_check_controls() - may L1 enter with these controls?
 * @vcpu: the vCPU
 * @vmcs12: KVM's copy of L1's VMCS
 *
 * Return: 0, or -EINVAL: the entry fails. Context: the vCPU's thread.
 */
int khv_evmcs_check_controls(struct kvm_vcpu *vcpu, const void *vmcs12);

/**
 * khv_reftime_init() - the reference clock of a new VM
 * @vm: the VM
 */
void khv_reftime_init(struct khv_vm *vm);

/**
 * khv_ref_time() - partition reference time
 * @vcpu: any vCPU of a VM of ours
 *
 * TLFS chapter "Timers", "Partition Reference Time".
 *
 * Return: 100 ns since the partition was created. Context: any, no lock.
 */
u64 khv_ref_time(struct kvm_vcpu *vcpu);

/**
 * khv_ref_time_at_hand() - does khv_ref_time() read the TSC and no more?
 * @vcpu: a vCPU of a VM of ours
 *
 * Return: false where it asks KVM's clock, whose readers wait for its writers. Context: any.
 */
bool khv_ref_time_at_hand(const struct kvm_vcpu *vcpu);

/**
 * khv_reftime_update() - take over KVM's clock, and renew the reference TSC page
 * @vcpu: a vCPU of a VM of ours
 * @hv_clock: its new clock
 *
 * Does nothing when clock and page are as they should be.
 * Context: vCPU thread before it enters the guest, may sleep.
 */
void khv_reftime_update(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock);

/**
 * khv_reftime_cover() - the hypercall page comes over the reference TSC page, if that is there
 * @vcpu: a vCPU of a VM of ours
 * @gpa: where the hypercall page is
 *
 * The page is not written until khv_reftime_uncover(), or until the guest enables it anew.
 * Return: true if it was there and on top. Context: hv_lock held.
 */
bool khv_reftime_cover(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_uncover() - the hypercall page is gone: write what it covered
 * @vcpu: the same
 * @gpa: where it was
 *
 * Context: hv_lock held.
 */
void khv_reftime_uncover(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_synic_init() - reset values of a new VP's SynIC
 * @vp: the VP
 */
void khv_synic_init(struct khv_vcpu *vp);

/**
 * khv_synic_activate() - KVM_CAP_HYPERV_SYNIC and KVM_CAP_HYPERV_SYNIC2
 * @vcpu: a vCPU of a VM of ours
 * @dont_zero_pages: SYNIC2: pages keep what they hold when they are enabled
 *
 * Return: 0, -ENOMEM. Context: vcpu->mutex held, may sleep.
 */
int khv_synic_activate(struct kvm_vcpu *vcpu, bool dont_zero_pages);

/**
 * khv_synic_deliver() - put a message into a SINT's slot and raise its interrupt
 * @vcpu: the vCPU, SynIC active
 * @sintx: 0 to 15
 * @msg: the message; its type is not HVMSG_NONE
 *
 * A busy slot gets the MessagePending flag, so that the guest writes EOM.
 * TLFS chapter "Inter-Partition Communication", "SynIC Message Page".
 *
 * Return: false when it must be tried again: the slot is busy or not in memory, the
 * SINT is masked, the SynIC, its page or the local APIC is disabled.
 * Context: thread of this vCPU, may sleep.
 */
bool khv_synic_deliver(struct kvm_vcpu *vcpu, u32 sintx, const struct hv_message *msg);

/**
 * khv_synic_set_irq() - raise a SINT for user space (KVM_IRQ_ROUTING_HV_SINT)
 * @kvm: a VM of ours
 * @vp_index: of the VP
 * @sint: 0 to 15
 *
 * Return: 1 for delivered, 0 for lost in a disabled local APIC, -ENOENT for a SINT
 * that is masked or polled or a disabled SynIC, -EINVAL for no such SINT.
 * Context: any, no lock.
 */
int khv_synic_set_irq(struct kvm *kvm, u32 vp_index, u32 sint);

/**
 * khv_synic_eoi() - the guest ended an interrupt whose vector belongs to a SINT
 * @vcpu: the vCPU
 * @vector: the vector
 *
 * Context: vCPU thread.
 */
void khv_synic_eoi(struct kvm_vcpu *vcpu, int vector);

/**
 * khv_synic_anybody_waits() - does an irqfd wait for the end of a SINT's interrupt?
 * @vp: the VP
 *
 * Return: true if one of its SINTs has a route. Context: any.
 */
bool khv_synic_anybody_waits(const struct khv_vcpu *vp);

/**
 * khv_synic_apic_changed() - the VP's local APIC may have been enabled
 * @vp: the VP
 *
 * Expiries that waited for that are tried again. Context: the VP's thread.
 */
void khv_synic_apic_changed(struct khv_vcpu *vp);

/**
 * khv_synic_routing_update() - user space changed the interrupt routes
 * @kvm: a VM of ours
 *
 * Context: kvm->irq_lock held.
 */
void khv_synic_routing_update(struct kvm *kvm);

/**
 * khv_stimers_init() - the timers of a new VP
 * @vp: the VP
 */
void khv_stimers_init(struct khv_vcpu *vp);

/**
 * khv_stimers_uninit() - stop the timers for good
 * @vp: the VP
 *
 * Context: may sleep.
 */
void khv_stimers_uninit(struct khv_vcpu *vp);

/**
 * khv_stimers_process() - signal what has expired, arm what has not (KVM_REQ_HV_STIMER)
 * @vcpu: a vCPU of a VM of ours
 *
 * Context: thread of this vCPU before it enters the guest, may sleep.
 */
void khv_stimers_process(struct kvm_vcpu *vcpu);

/**
 * khv_stimers_woken() - the same for a VP that KVM has just woken from a HLT
 * @vcpu: a vCPU of a VM of ours that has its state
 *
 * Ends no HLT by itself: an interrupt does that. Context: thread of this vCPU, may sleep.
 */
void khv_stimers_woken(struct kvm_vcpu *vcpu);

/**
 * khv_stimers_halt() - the same for a VP that is about to halt
 * @vcpu: a vCPU of a VM of ours that has its state
 *
 * Ends the HLT where a timer cannot be served before an entry into the guest.
 * Context: thread of this vCPU, may sleep.
 */
void khv_stimers_halt(struct kvm_vcpu *vcpu);

/**
 * khv_stimers_retry() - something changed that expiries may have waited for
 * @vp: the VP
 *
 * Context: any, no lock; another CPU than the VP's has to kick it.
 */
void khv_stimers_retry(struct khv_vcpu *vp);

/**
 * khv_stimers_clock_changed() - the reference time took a step
 * @kvm: a VM of ours
 *
 * All deadlines are worked out again, also of VPs that are halted. Context: no lock, may not sleep.
 */
void khv_stimers_clock_changed(struct kvm *kvm);

/**
 * khv_connection_eventfd() - KVM_HYPERV_EVENTFD
 * @kvm: a VM of ours
 * @args: user's arguments
 *
 * Return: 0, -EINVAL for unknown flags or a connection beyond 24 bits, -EBADF or
 * -EINVAL for something that is no eventfd, -EEXIST, -ENOENT, -ENOMEM.
 * Context: may sleep.
 */
int khv_connection_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args);

/**
 * khv_hypercall_page_left() - a register of a guest page has changed
 * @vcpu: a vCPU of a VM of ours
 * @was: its old value: page, and enabled by bit 0
 * @is: its new one
 *
 * If its page lay over the hypercall page and does no more, the code shows again.
 * Context: may sleep, hv_lock not held.
 */
void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is);

/**
 * khv_syndbg_left() - KVM_RUN returns to user space
 * @vcpu: a vCPU of a VM of ours
 *
 * Where it does so with KVM_EXIT_HYPERV_SYNDBG, the next one begins with user space's answer.
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_syndbg_left(struct kvm_vcpu *vcpu);

/**
 * khv_overlay_map() - put an image into a guest page, where one may stand already
 * @kvm: the VM
 * @o: the overlay, not mapped or mapped at @gpa
 * @gpa: page-aligned address, of address space 0
 * @image: PAGE_SIZE bytes
 * @keep: remember what the RAM holds, to restore it on unmap
 *
 * Return: 0, -EFAULT for a page outside memory, -ENOMEM; nothing changed then.
 * Context: register's lock held, may sleep.
 */
int khv_overlay_map(struct kvm *kvm, struct khv_overlay *o, gpa_t gpa, const u8 *image, bool keep);

/**
 * khv_overlay_show() - put the image of a mapped overlay there once more
 * @kvm: the VM
 * @o: the overlay
 *
 * Context: register's lock held, may sleep.
 */
void khv_overlay_show(struct kvm *kvm, const struct khv_overlay *o);

/**
 * khv_overlay_unmap() - give the guest its RAM back
 * @kvm: the VM
 * @o: the overlay
 * @restore: write back what was remembered, if the image still stands untouched
 *
 * Context: register's lock held, may sleep.
 */
void khv_overlay_unmap(struct kvm *kvm, struct khv_overlay *o, bool restore);

/**
 * khv_overlay_free() - release the memory of an overlay, guest memory untouched
 * @o: the overlay
 */
void khv_overlay_free(struct khv_overlay *o);

/* Life of the module; see hyperv/main.c and hyperv/debugfs.c. */
void khv_debugfs_init(void);
void khv_debugfs_exit(void);

#endif
