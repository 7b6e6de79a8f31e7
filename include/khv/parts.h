/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions of the parts: the drivers of MSRs, hypercalls and CPUID, and what each part offers to
 * the others. Each MSR row names its handlers, so a row without a handler does not link.
 */
#ifndef KHV_PARTS_H
#define KHV_PARTS_H

#include "khv/port.h"
#include "khv/state.h"
#include "khv/trace.h"
#include "khv/vpset.h"

/**
 * enum khv_msr_result - outcome of an MSR access
 * @KHV_MSR_OK: the access succeeded
 * @KHV_MSR_FAULT: #GP for a guest, "no such MSR" or "not set" for user space; nothing changed
 * @KHV_MSR_SLOW: the fast path cannot answer now; nothing changed, and the slow path calls the
 *	handler again
 */
enum khv_msr_result {
	KHV_MSR_OK,
	KHV_MSR_FAULT,
	KHV_MSR_SLOW,
};

/*
 * MSR handlers run in the vCPU's thread with vcpu->mutex held. They may sleep unless a->atomic is
 * set.
 */
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
 * A hypercall handler reads the input block hc->input and returns HV_STATUS_*, KHV_STATUS_TO_USER
 * or KHV_STATUS_SLOW. It may sleep unless hc->atomic is set.
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
 * struct khv_msr_ops - handlers of an MSR row
 * @read: handles a read
 * @write: handles a write; NULL if a write by user space is accepted and ignored
 */
struct khv_msr_ops {
	khv_msr_fn read;
	khv_msr_fn write;
};

/* Handlers, indexed by row, from msrs.def.h and hypercalls.def.h. */
extern const struct khv_msr_ops khv_msr_ops[KHV_NR_MSR_ROWS];
extern const khv_hc_fn khv_hc_handlers[KHV_NR_HC_ROWS];

/**
 * khv_msr_register() - index of a register within its MSR row
 * @row: &enum khv_msr_id
 * @msr: a number of that row
 *
 * Return: the index, 0 for the first register. Context: any.
 */
static inline unsigned int khv_msr_register(int row, u32 msr)
{
	const struct khv_msr_row *r = &khv_msrs[row];

	return r->count == 1 ? 0 : (msr - r->first) / r->stride;
}

/**
 * khv_msr_read() - handle RDMSR and KVM_GET_MSRS in an owned VM
 * @vcpu: the vCPU
 * @msr: MSR number
 * @data: set to the value read
 * @host: access by user space, not by the guest
 *
 * Return: 0, or 1 for #GP (for user space "no such MSR").
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *data, bool host);

/**
 * khv_msr_write() - handle WRMSR and KVM_SET_MSRS in an owned VM
 * @vcpu: the vCPU
 * @msr: MSR number
 * @data: value to write
 * @host: access by user space, not by the guest
 *
 * Return: 0, or 1 for #GP (for user space "not set"); nothing is changed if 1.
 * Context: vcpu->mutex held, may sleep.
 */
int khv_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host);

/**
 * khv_hypercall() - handle VMCALL and VMMCALL in an owned VM
 * @vcpu: the vCPU; in guest mode only for a call of its L2 that is answered here
 *
 * Return: as KVM's exit handlers: 1 to resume the guest, 0 to exit to user space.
 * Context: the vCPU's thread, may sleep.
 */
int khv_hypercall(struct kvm_vcpu *vcpu);

/**
 * khv_supported_cpuid() - handle KVM_GET_SUPPORTED_HV_CPUID from the tables
 * @vcpu: the vCPU, or NULL for the system ioctl
 * @cpuid: user space's header; @cpuid->nent is the number of entries that fit, set to the number
 *	written
 * @entries: user space's array
 *
 * Return: 0, -E2BIG, -EFAULT. Context: may sleep.
 */
int khv_supported_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			struct kvm_cpuid_entry2 __user *entries);

/**
 * khv_cpuid_update() - adopt a VP's new CPUID or new enforcement of CPUID
 * @vcpu: a vCPU of an owned VM
 *
 * Context: vcpu->mutex held.
 */
void khv_cpuid_update(struct kvm_vcpu *vcpu);

/**
 * khv_tsc_invariant_hidden() - must CPUID 80000007H:EDX[8] read 0?
 * @vp: the VP
 *
 * Return: true while CPUID shows the VP HV_X64_MSR_TSC_INVARIANT_CONTROL and the register is 0.
 * Context: any.
 */
bool khv_tsc_invariant_hidden(const struct khv_vcpu *vp);

/**
 * khv_vp_init() - initialise what khv_vp_run_begin() needs
 * @vp: a new VP
 */
void khv_vp_init(struct khv_vcpu *vp);

/**
 * khv_vp_run_begin() - account CPU time from here on
 * @vp: the VP, whose thread is about to run it
 *
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_vp_run_begin(struct khv_vcpu *vp);

/**
 * khv_vp_run_end() - end what khv_vp_run_begin() began
 * @vp: the VP
 */
void khv_vp_run_end(struct khv_vcpu *vp);

/**
 * khv_vp_claim() - enter a VP in the table of VP indices
 * @vp: the VP, with stock.vp_index set
 *
 * Only user space can give two VPs the same index; the VP that claimed it last wins.
 *
 * Context: khv_vms_lock held.
 */
void khv_vp_claim(struct khv_vcpu *vp);

/**
 * khv_vp_disclaim() - remove a VP from the table of VP indices
 * @vp: the VP
 * @vp_index: the index that the VP gives up
 *
 * Context: khv_vms_lock held.
 */
void khv_vp_disclaim(struct khv_vcpu *vp, u32 vp_index);

/**
 * khv_vp_by_index() - look up a VP by its VP index
 * @kvm: an owned VM
 * @vp_index: HV_X64_MSR_VP_INDEX
 *
 * Return: the VP, or NULL. Context: any, no lock. O(1).
 */
struct khv_vcpu *khv_vp_by_index(struct kvm *kvm, u32 vp_index);

/**
 * struct khv_targets - iterator over the vCPUs that a hypercall names
 * @set: the VPs that are still to be visited
 * @next: the next vCPU if the set is "all"
 */
struct khv_targets {
	struct khv_vpset set;
	u32 next;
};

/**
 * khv_next_target() - advance to the next vCPU of a hypercall's targets
 * @kvm: an owned VM
 * @targets: the iterator; initialise @targets->set, and the rest to 0
 *
 * Skips VPs that do not exist. A vCPU without a struct khv_vcpu has its vcpu_idx as its VP index.
 *
 * Return: the vCPU, which may lack a struct khv_vcpu, or NULL at the end. Context: any, no lock.
 * O(1) per target.
 */
struct kvm_vcpu *khv_next_target(struct kvm *kvm, struct khv_targets *targets);

/**
 * khv_tlbflush_init() - initialise the flush queue of a new VP
 * @vp: the VP
 */
void khv_tlbflush_init(struct khv_vcpu *vp);

/**
 * khv_tlbflush_process() - do the flushes that other VPs queued for this vCPU
 * @vcpu: a vCPU of an owned VM
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_tlbflush_process(struct kvm_vcpu *vcpu);

/**
 * khv_flush_vp() - flush a VP's own addresses, or its nested guest's, before either runs again
 * @vcpu: the vCPU
 * @what: the flush
 * @l2: the addresses are of the vCPU's nested guest
 *
 * Context: the vCPU's thread before it enters the guest, interrupts may be off.
 */
void khv_flush_vp(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2);

/**
 * khv_flush_all() - have a vCPU flush every translation, of its L2 as well
 * @vcpu: any vCPU of a VM of ours
 *
 * Return: KVM's request that the caller still has to make. Context: any.
 */
unsigned int khv_flush_all(struct kvm_vcpu *vcpu);

/**
 * khv_flush_queue() - queue a flush for a vCPU
 * @vcpu: the vCPU
 * @what: the flush
 * @l2: the flush is of addresses of the vCPU's nested guest, not of its own
 *
 * Context: any.
 * Return: KVM_REQ_* that the caller must make afterwards, so that the vCPU does the flush before it
 * enters the guest.
 */
unsigned int khv_flush_queue(struct kvm_vcpu *vcpu, const struct khv_flush *what, bool l2);

/*
 * Bits that the module adds to CPUID leaf 0x4000000A, EBX in the upper half, EAX in the lower.
 * Constant from load on.
 */
extern u64 khv_nested_features;

/*
 * The bits of khv_nested_features that this host supports. Context: module load, after
 * khv_imports_find().
 */
u64 khv_nested_features_offered(void);

/**
 * khv_nested_assist_off() - end what the VP assist page allowed, after it is disabled
 * @vp: the VP
 *
 * Context: the VP's thread.
 */
void khv_nested_assist_off(struct khv_vcpu *vp);

/**
 * khv_nested_svm_entry() - record which L2 a VMRUN enters
 * @vcpu: the vCPU; has a struct khv_vcpu
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the VP assist page cannot be read; #GP is queued and VMRUN must not go on.
 */
bool khv_nested_svm_entry(struct kvm_vcpu *vcpu);

#ifdef KHV_HAVE_L2_FLUSH
/**
 * khv_nested_get_assist_page() - update KVM's copy of the VP assist page
 * @vcpu: the vCPU; has a struct khv_vcpu
 *
 * Context: the vCPU's thread, may sleep.
 * Return: 0, or 1 if the page is not enabled or not in guest memory, which fails the nested entry.
 * Always 0 in guest mode, where KVM calls it to restore L2.
 */
int khv_nested_get_assist_page(struct kvm_vcpu *vcpu);
#else
/**
 * khv_nested_vmx_entry() - find the current enlightened VMCS and record which L2 is entered
 * @vcpu: the vCPU; has a struct khv_vcpu
 * @evmcs_gpa: set to the address of the enlightened VMCS, or to all ones
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if there is no enlightened VMCS.
 */
bool khv_nested_vmx_entry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa);
#endif

/**
 * khv_nested_restored() - forget the identity of a VP's L2 after user space replaced the L2
 * @vp: the VP, whose nested state user space has set
 *
 * Context: the vCPU's thread.
 */
void khv_nested_restored(struct khv_vcpu *vp);

/**
 * khv_nested_call_is_ours() - is this exit of an L2 a hypercall that the module answers?
 * @vp: the VP; its L1 asked for direct flush
 *
 * Return: true if the call's row has KHV_L2. Context: the vCPU's thread, in guest mode.
 */
bool khv_nested_call_is_ours(const struct khv_vcpu *vp);

/**
 * khv_stimer_waits() - does a timer's message wait for the message slot of a SINT?
 * @vp: the VP
 * @sint: the SINT
 *
 * Return: true if one does. Context: the VP's thread.
 */
bool khv_stimer_waits(const struct khv_vcpu *vp, u32 sint);

/**
 * khv_synic_awaited() - find the SINT vectors whose EOI must be noticed
 * @vp: the VP
 * @vectors: bitmap of 256 bits; the vectors are added to it
 *
 * An irqfd with a resample eventfd, or a timer's message that waits for the slot, needs the EOI.
 * Context: the VP's thread.
 */
void khv_synic_awaited(const struct khv_vcpu *vp, unsigned long *vectors);

/**
 * khv_nested_call_seen() - record that KVM routed a hypercall of an L2 to the module
 * @vp: the VP
 *
 * Context: the VP's thread, in guest mode.
 */
void khv_nested_call_seen(struct khv_vcpu *vp);

/**
 * khv_nested_is_direct() - would KVM route flush hypercalls of this L2 to the module?
 * @vp: the VP
 *
 * TLFS chapter "Nested Virtualization", "Direct Virtual Flush".
 *
 * Return: true if L1 enabled direct flush in its VP assist page and for this L2; false may also
 * mean that this is not known yet. Context: the VP's thread, in guest mode; interrupts may be off.
 */
bool khv_nested_is_direct(struct khv_vcpu *vp);

/**
 * khv_nested_gpa() - translate an L2 guest-physical address to L1's
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, may sleep.
 * Return: the address, or INVALID_GPA.
 */
gpa_t khv_nested_gpa(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_gpa_nofault() - khv_nested_gpa() without faulting on L1's page tables
 * @vcpu: a vCPU in guest mode
 * @gpa: L2's guest-physical address
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: L1's guest-physical address; INVALID_GPA also if a table is not present.
 */
gpa_t khv_nested_gpa_nofault(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_nested_tables() - describe the second-level page tables that L1 uses for the running L2
 * @vcpu: a vCPU in guest mode
 * @t: result
 *
 * Context: the vCPU's thread, interrupts may be off.
 * Return: false if there are none; L2-physical addresses are then L1-physical.
 */
bool khv_nested_tables(struct kvm_vcpu *vcpu, struct khv_tables *t);

/**
 * khv_gpa_flush_all() - have a VP forget the shadows of second-level page tables, if any
 * @vp: state that is published next
 *
 * Context: any.
 */
void khv_gpa_flush_all(struct khv_vcpu *vp);

/**
 * khv_nested_is_target() - is this vCPU a target of a flush hypercall made by an L2?
 * @caller: the vCPU that makes the call, in guest mode
 * @vcpu: any vCPU of the VM
 * @set: VP ids within the L2's VM; parsed and not yet walked
 *
 * Return: true if the vCPU's L2 belongs to the caller's VM and is in the set, or if its identity is
 * unknown. Context: any.
 */
bool khv_nested_is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu,
			  const struct khv_vpset *set);

/**
 * khv_nested_tlb_locked() - does L1 hold a TLB lock, so that it must learn of the flush?
 * @vcpu: a vCPU in guest mode
 * @locked: set to true if L1 holds a TLB lock
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if the partition assist page is not in guest memory.
 */
bool khv_nested_tlb_locked(struct kvm_vcpu *vcpu, bool *locked);

/**
 * khv_nested_tlb_unlocked_nofault() - can L1 be shown to hold no TLB lock, without faulting?
 * @vcpu: a vCPU in guest mode
 *
 * Context: the vCPU's thread.
 * Return: true if L1 holds no TLB lock; false if it holds one or the page cannot be read.
 */
bool khv_nested_tlb_unlocked_nofault(struct kvm_vcpu *vcpu);

/**
 * khv_nested_synthetic_exit() - exit from L2 to L1, which holds a TLB lock, after a flush
 * @vcpu: a vCPU in guest mode, its hypercall completed
 */
void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu);

/**
 * khv_gpa_flush_process() - do the flushes of second-level page tables that were queued
 * @vcpu: any vCPU of an owned VM; without a VP, everything is flushed
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_gpa_flush_process(struct kvm_vcpu *vcpu);

/**
 * khv_evmcs_filter_msr() - hide VMX controls that the enlightened VMCS has no field for
 * @vcpu: the vCPU
 * @msr: a VMX capability MSR
 * @data: its value; bits are cleared
 */
void khv_evmcs_filter_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data);

/**
 * khv_evmcs_check_controls() - may L1 enter L2 with these VMX controls?
 * @vcpu: the vCPU
 * @vmcs12: KVM's copy of L1's VMCS
 *
 * Return: 0, or -EINVAL, which fails the nested entry. Context: the vCPU's thread.
 */
int khv_evmcs_check_controls(struct kvm_vcpu *vcpu, const void *vmcs12);

/* Unit of the reference time and of timers, in ns. */
#define KHV_TICK_NS 100

/**
 * khv_reftime_init() - initialise the reference clock of a new VM
 * @vm: the VM
 */
void khv_reftime_init(struct khv_vm *vm);

/**
 * khv_ref_time() - read the partition reference time
 * @vcpu: any vCPU of an owned VM
 *
 * TLFS chapter "Timers", "Partition Reference Time".
 *
 * Return: the time since the partition was created, in units of 100 ns. Context: any, no lock.
 */
u64 khv_ref_time(struct kvm_vcpu *vcpu);

/**
 * khv_ref_time_at_hand() - can khv_ref_time() do with the TSC alone?
 * @vcpu: a vCPU of an owned VM
 *
 * Return: false if it would read KVM's clock, whose readers wait for its writers. Context: any.
 */
bool khv_ref_time_at_hand(const struct kvm_vcpu *vcpu);

/**
 * khv_first_vcpu() - the vCPU whose TSC the reference TSC page describes
 * @vcpu: any vCPU of the VM
 *
 * KVM gives all vCPUs the same TSC, but a guest may write a single vCPU's.
 *
 * Return: vCPU 0, or @vcpu while there is none. Context: any.
 */
static inline const struct kvm_vcpu *khv_first_vcpu(const struct kvm_vcpu *vcpu)
{
	return kvm_get_vcpu(vcpu->kvm, 0) ?: vcpu;
}

/**
 * khv_guest_tsc() - convert the host's TSC to a vCPU's
 * @tsc: the host's TSC
 * @vcpu: the vCPU
 *
 * Return: the TSC that the vCPU's guest reads, outside of its L2. Context: any.
 */
static inline u64 khv_guest_tsc(u64 tsc, const struct kvm_vcpu *vcpu)
{
	return khv_kvm_scale_tsc(tsc, READ_ONCE(vcpu->arch.l1_tsc_scaling_ratio)) +
	       READ_ONCE(vcpu->arch.l1_tsc_offset);
}

/**
 * khv_ref_source_read() - reference time by a source
 * @source: the source, which need not be the VM's current one
 * @vcpu: any vCPU of an owned VM
 * @tsc: the host's TSC, read just now
 *
 * Return: the time, in units of 100 ns. Context: any; a caller that holds no lock must be in a read
 * section of the clock's seqcount.
 */
u64 khv_ref_source_read(const struct khv_ref_source *source, struct kvm_vcpu *vcpu, u64 tsc);

/**
 * khv_reftime_update() - follow KVM's clock and update the reference TSC page
 * @vcpu: a vCPU of an owned VM
 * @hv_clock: the vCPU's new clock
 *
 * Does nothing if the clock and the page are up to date.
 * Context: the vCPU's thread before it enters the guest, may sleep.
 */
void khv_reftime_update(struct kvm_vcpu *vcpu, const struct pvclock_vcpu_time_info *hv_clock);

/**
 * khv_reftime_check_rate() - have KVM update its clock after user space changed the TSC frequency
 * @vp: the VP
 *
 * KVM does not do so by itself. Context: the VP's thread at the beginning of KVM_RUN.
 */
void khv_reftime_check_rate(struct khv_vcpu *vp);

/**
 * khv_reftime_cover() - note that the hypercall page now covers the reference TSC page, if it does
 * @vcpu: a vCPU of an owned VM
 * @gpa: address of the hypercall page
 *
 * The reference TSC page is not written until khv_reftime_uncover(), or until the guest enables it
 * again.
 *
 * Return: true if it is at @gpa and was not covered. Context: hv_lock held.
 */
bool khv_reftime_cover(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_uncover() - write the reference TSC page again after the hypercall page has left it
 * @vcpu: a vCPU of an owned VM
 * @gpa: address that the hypercall page has left
 *
 * Context: hv_lock held.
 */
void khv_reftime_uncover(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_sint() - read a SINT register
 * @synic: the SynIC
 * @sint: 0 to 15
 *
 * Return: the register. Context: any.
 */
static inline u64 khv_sint(const struct kvm_vcpu_hv_synic *synic, u32 sint)
{
	return atomic64_read(&synic->sint[sint]);
}

/**
 * khv_sint_vector() - vector of the interrupt that a SINT raises
 * @value: the SINT register
 *
 * Return: the vector, or 0 if the SINT is masked or polled.
 */
static inline u8 khv_sint_vector(u64 value)
{
	return value & (KHV_SINT_MASKED | KHV_SINT_POLLING) ? 0 : value & KHV_SINT_VECTOR;
}

/**
 * khv_synic_init() - set the reset values of a new VP's SynIC
 * @vp: the VP
 */
void khv_synic_init(struct khv_vcpu *vp);

/**
 * khv_synic_activate() - enable KVM_CAP_HYPERV_SYNIC or KVM_CAP_HYPERV_SYNIC2
 * @vp: the VP
 * @dont_zero_pages: SYNIC2: keep the contents of SIMP and SIEFP when the guest enables them
 *
 * Context: vcpu->mutex held.
 */
void khv_synic_activate(struct khv_vcpu *vp, bool dont_zero_pages);

/**
 * khv_synic_deliver() - write a message to a SINT's slot and raise its interrupt
 * @vcpu: the vCPU, SynIC active
 * @sintx: 0 to 15
 * @msg: the message; its type is not HVMSG_NONE
 *
 * Sets the MessagePending flag in a busy slot, so that the guest writes EOM. TLFS chapter
 * "Inter-Partition Communication", "SynIC Message Page".
 *
 * Return: false if the caller must retry later: the slot is busy or not in guest memory, the SINT
 * is masked, or the SynIC, its message page or the local APIC is disabled.
 * Context: the vCPU's thread, may sleep.
 */
bool khv_synic_deliver(struct kvm_vcpu *vcpu, u32 sintx, const struct hv_message *msg);

/**
 * khv_synic_set_irq() - raise a SINT for user space (KVM_IRQ_ROUTING_HV_SINT)
 * @kvm: an owned VM
 * @vp_index: VP index of the target
 * @sint: 0 to 15
 *
 * Return: 1 if delivered, 0 if lost in a disabled local APIC, -ENOENT if the SINT is masked or
 * polled or the SynIC is disabled, -EINVAL if there is no such VP, SynIC or SINT.
 * Context: any, no lock.
 */
int khv_synic_set_irq(struct kvm *kvm, u32 vp_index, u32 sint);

/**
 * khv_synic_eoi() - handle the EOI of an interrupt whose vector belongs to a SINT
 * @vcpu: the vCPU
 * @vector: the vector
 *
 * Context: the vCPU's thread.
 */
void khv_synic_eoi(struct kvm_vcpu *vcpu, int vector);

/**
 * khv_synic_anybody_waits() - does an irqfd wait for the EOI of a SINT?
 * @vp: the VP
 *
 * Return: true if one of its SINTs has a route. Context: any.
 */
bool khv_synic_anybody_waits(const struct khv_vcpu *vp);

/**
 * khv_synic_notify_all() - notify the irqfds of all SINTs of an EOM
 * @vp: the VP
 *
 * Context: the VP's thread, may sleep.
 */
void khv_synic_notify_all(struct khv_vcpu *vp);

/**
 * khv_synic_routing_update() - adopt the interrupt routes after user space changed them
 * @kvm: an owned VM
 *
 * Context: kvm->irq_lock held.
 */
void khv_synic_routing_update(struct kvm *kvm);

/**
 * khv_stimers_init() - initialise the timers of a new VP
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
 * khv_stimers_process() - signal timers that have expired, arm the others (KVM_REQ_HV_STIMER)
 * @vcpu: a vCPU of an owned VM
 *
 * Context: the vCPU's thread before it enters the guest, may sleep.
 */
void khv_stimers_process(struct kvm_vcpu *vcpu);

/**
 * khv_stimers_woken() - the same for a VP that KVM has just woken from a HLT
 * @vcpu: a vCPU of a VM of ours that has its state
 *
 * Does not end the HLT itself; a signalled interrupt does. Context: the vCPU's thread, may sleep.
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
 * khv_stimers_retry() - retry expiries after something they may have waited for changed
 * @vp: the VP
 *
 * Context: any, no lock. A caller outside the VP's thread must kick the vCPU.
 */
void khv_stimers_retry(struct khv_vcpu *vp);

/**
 * khv_stimers_apic_changed() - retry expiries that waited for the local APIC to be enabled
 * @vp: the VP
 *
 * Context: the VP's thread.
 */
void khv_stimers_apic_changed(struct khv_vcpu *vp);

/**
 * khv_stimers_clock_changed() - recompute all deadlines after the reference time took a step
 * @kvm: an owned VM
 *
 * Includes the deadlines of halted VPs. Context: takes no lock, does not sleep.
 */
void khv_stimers_clock_changed(struct kvm *kvm);

/**
 * khv_connection_eventfd() - handle KVM_HYPERV_EVENTFD
 * @kvm: an owned VM
 * @args: user space's arguments
 *
 * Return: 0, -EINVAL for unknown flags or a connection id beyond 24 bits, -EBADF or -EINVAL if the
 * file descriptor is not an eventfd, -EEXIST, -ENOENT, -ENOMEM.
 * Context: may sleep.
 */
int khv_connection_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args);

/**
 * khv_hypercall_page_left() - restore the hypercall page after another overlay left it
 * @vcpu: a vCPU of an owned VM
 * @was: old value of the register that was written: page, and bit 0 for enabled
 * @is: its new value
 *
 * If the register's old page lay over the hypercall page and the new one does not, the guest sees
 * the code again.
 * Context: may sleep, hv_lock not held.
 */
void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is);

/**
 * khv_syndbg_left() - arrange for user space's answer to KVM_EXIT_HYPERV_SYNDBG
 * @vcpu: a vCPU of an owned VM
 *
 * Called when KVM_RUN returns. If it returns with KVM_EXIT_HYPERV_SYNDBG, the next KVM_RUN begins
 * with user space's answer.
 * Context: the VP's thread, vcpu->mutex held.
 */
void khv_syndbg_left(struct kvm_vcpu *vcpu);

/**
 * khv_overlay_map() - write an image over a guest page, replacing an earlier image
 * @kvm: the VM
 * @o: the overlay, either not mapped or mapped at @gpa
 * @gpa: page-aligned address in address space 0
 * @image: PAGE_SIZE bytes
 * @keep: save the RAM's contents, to restore them on unmap
 *
 * Return: 0, -EFAULT for a page outside guest memory, -ENOMEM; nothing is changed on error.
 * Context: the register's lock held, may sleep.
 */
int khv_overlay_map(struct kvm *kvm, struct khv_overlay *o, gpa_t gpa, const u8 *image, bool keep);

/**
 * khv_overlay_show() - write the image of a mapped overlay again
 * @kvm: the VM
 * @o: the overlay
 *
 * Context: the register's lock held, may sleep.
 */
void khv_overlay_show(struct kvm *kvm, const struct khv_overlay *o);

/**
 * khv_overlay_unmap() - remove the image from guest memory
 * @kvm: the VM
 * @o: the overlay
 * @restore: write back the saved contents if the guest has not changed the image
 *
 * Context: the register's lock held, may sleep.
 */
void khv_overlay_unmap(struct kvm *kvm, struct khv_overlay *o, bool restore);

/**
 * khv_overlay_free() - free an overlay's buffers without touching guest memory
 * @o: the overlay
 */
void khv_overlay_free(struct khv_overlay *o);

/* debugfs files; see hyperv/takeover/debugfs.c. Called by hyperv/takeover/main.c. */
void khv_debugfs_init(void);
void khv_debugfs_exit(void);

#endif
