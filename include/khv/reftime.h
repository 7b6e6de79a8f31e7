/* SPDX-License-Identifier: GPL-2.0-only */
/* Partition reference time. */
#ifndef KHV_REFTIME_H
#define KHV_REFTIME_H

#include "khv/port.h"
#include "khv/state.h"

/* Unit of the reference time and of timers, in ns. */
#define KHV_TICK_NS	100
/* Number of attempts to read two clocks together; at least one should not be interrupted. */
#define KHV_CLOCK_LOOKS 3

/**
 * khv_reftime_vm_init() - initialise the reference clock of a new VM
 * @vm: not yet visible to other threads, with KVM's clock initialised
 */
void khv_reftime_vm_init(struct khv_vm *vm);

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
 * khv_ref_lead() - lead of the reference time over KVM's clock
 * @kvm: an owned VM
 *
 * For KVM_GET_CLOCK: the time must not go back where a VM goes on from what that returns, after a
 * pause or on another host.
 *
 * Return: in ns; 0 for a VM of which no VP has the module's state, if the time lags behind KVM's
 * clock, and while it follows a frozen page. Context: any, no lock.
 */
u64 khv_ref_lead(struct kvm *kvm);

/**
 * khv_ref_is_jump() - has the guest's TSC jumped?
 * @lag: between two readings of the reference time by different sources, in units of 100 ns
 *
 * Return: true if the lag is more than a minute, which is not due to an inexact TSC rate. Context:
 * any.
 */
static inline bool khv_ref_is_jump(s64 lag)
{
	const s64 minute = 60 * (s64)(NSEC_PER_SEC / KHV_TICK_NS);

	return lag >= minute || lag <= -minute;
}

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
 * khv_tsc_step() - tell how far a vCPU's TSC has to go to what the guest has set
 * @vcpu: any vCPU of an owned VM
 * @offset: its l1_tsc_offset, which another thread may change
 *
 * Return: in ticks; 0 if the TSC has followed. Context: any; without hv_lock, outside of a read
 * section of the clock's seqcount, the result may be out of date or torn.
 */
u64 khv_tsc_step(const struct kvm_vcpu *vcpu, u64 offset);

/**
 * khv_guest_tsc() - convert the host's TSC to a vCPU's
 * @tsc: reading of RDTSC on the host, in ticks
 * @vcpu: any vCPU of an owned VM
 *
 * Return: the TSC that the vCPU's guest reads, outside of its L2, or will once it has followed a
 * change of the rate, or what the guest has set. Context: any; a caller that holds no lock must be
 * in a read section of the clock's seqcount.
 */
u64 khv_guest_tsc(u64 tsc, const struct kvm_vcpu *vcpu);

/**
 * khv_ref_source_tsc() - convert the host's TSC to the one that a source counts by
 * @source: a source that follows the TSC, not an adopted page
 * @tsc: the host's TSC
 *
 * Return: the guest's TSC by the parameters that VP 0 had when the source was found. Context: any.
 */
static inline u64 khv_ref_source_tsc(const struct khv_ref_source *source, u64 tsc)
{
	return khv_kvm_scale_tsc(tsc, source->tsc_ratio) + source->tsc_offset;
}

/**
 * khv_ref_source_wrapped() - does the page lack a wrap of the TSC?
 * @source: a source that follows the TSC, or an adopted page
 *
 * Return: true if the TSC has wrapped around since the source was found. Context: any; without a
 * lock the result may be out of date.
 */
static inline bool khv_ref_source_wrapped(const struct khv_ref_source *source)
{
	u64 origin = READ_ONCE(source->origin);

	return (s64)origin < 0 &&
	       khv_ref_wrapped(origin, khv_ref_source_tsc(source, rdtsc_ordered()));
}

/**
 * khv_reftime_page_is_due() - must the reference TSC page be written?
 * @clock: reference clock of a VM
 *
 * Return: true if it must, and can. Context: any; without hv_lock the result may be out of date.
 */
static inline bool khv_reftime_page_is_due(const struct khv_refclock *clock)
{
	return READ_ONCE(clock->page) == KHV_TSC_PAGE_STALE && !READ_ONCE(clock->covered);
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
 * khv_reftime_adopt() - take the time from a frozen page that KVM's clock has left
 * @vcpu: a vCPU of an owned VM
 *
 * For who looks at the time before the guest is entered, after KVM_SET_CLOCK or a restore: a halted
 * VP whose timers are due, and user space. khv_reftime_update() runs at an entry only.
 * Context: vcpu->mutex and kvm->srcu held; may sleep.
 */
void khv_reftime_adopt(struct kvm_vcpu *vcpu);

/**
 * khv_reftime_frozen_scale() - does the reference time follow from a frozen page?
 * @vcpu: any vCPU of an owned VM
 *
 * Return: the page's scale, or 0. Context: hv_lock held.
 */
u64 khv_reftime_frozen_scale(struct kvm_vcpu *vcpu);

/**
 * khv_reftime_change_rate() - change the rate of all TSCs, and what the page tells of it
 * @vcpu: a vCPU of an owned VM
 * @from: ratio of the TSCs to the host's, as KVM scales it
 * @ratio: the new one
 * @scale: the scale of a reference TSC page for the new rate, which a page that is frozen gets; 0
 *	if it is the one that it has
 *
 * TSCs and reference time go on from one instant. The VPs follow in their own threads.
 *
 * Context: hv_lock and kvm->srcu held; no VP is in the guest, nor enters it until it has followed.
 */
void khv_reftime_change_rate(struct kvm_vcpu *vcpu, u64 from, u64 ratio, u64 scale);

/**
 * khv_reftime_restorable() - can the reference time go on from another value?
 * @vcpu: any vCPU of an owned VM
 * @time: the other value, in units of 100 ns
 *
 * Return: false if the time, or KVM's clock, which takes the same step, would be negative or above
 * 2^62 ns. Context: hv_lock held.
 */
bool khv_reftime_restorable(struct kvm_vcpu *vcpu, u64 time);

/**
 * khv_reftime_restore() - let the reference time, and the TSC, go on from other values
 * @vcpu: the VP whose guest asks for it
 * @time: the reference time to be, in units of 100 ns; see khv_reftime_restorable()
 * @tsc: TSC of the VPs at that time, in ticks
 * @sequence: TscSequence of the reference TSC page will be a later one; 0: the page stays invalid
 *	until HV_X64_MSR_REFERENCE_TSC is written
 *
 * KVM's clock takes the same step, so that user space saves it. The VPs' TSCs follow by
 * &khv_tsc_set.
 * TLFS chapter "Hypercall Reference", "HvCallRestorePartitionTime".
 *
 * Context: hv_lock and kvm->srcu held; no VP is in the guest,
 * nor enters it until it has followed.
 */
void khv_reftime_restore(struct kvm_vcpu *vcpu, u64 time, u64 tsc, u32 sequence);

/**
 * khv_reftime_run_begin() - have KVM update its clock where it does not do so by itself
 * @vp: VP whose TSC user space may have changed since its last KVM_RUN
 *
 * The reference TSC page follows the frequency and the offset of the TSC, and its wrap. A page that
 * could not be written is tried again: user space may have given it memory.
 * Context: the VP's thread at the beginning of KVM_RUN.
 */
void khv_reftime_run_begin(struct khv_vcpu *vp);

/**
 * khv_reftime_run_end() - remember the TSC that the guest has
 * @vp: VP whose KVM_RUN ends
 *
 * A guest that sets its own TSC gets no new page by that. Context: the VP's thread at the end of
 * KVM_RUN.
 */
void khv_reftime_run_end(struct khv_vcpu *vp);

/**
 * khv_reftime_bytes() - what does the reference TSC page have at @gpa?
 * @vcpu: any vCPU of an owned VM
 * @gpa: page-aligned address
 *
 * Return: how many bytes at the beginning of the page are the clock's: its sequence of 0, or all
 * parameters, also if they must be written yet; 0 if it is not there, or is covered by the
 * hypercall page. Context: hv_lock held.
 */
u32 khv_reftime_bytes(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_room() - where may the reference TSC page have written at @gpa?
 * @vcpu: any vCPU of an owned VM
 * @gpa: page-aligned address
 *
 * A page with a sequence of 0 may have had parameters before.
 *
 * Return: bytes at the beginning of the page; 0 where khv_reftime_bytes() is. Context: hv_lock
 * held.
 */
u32 khv_reftime_room(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_cover() - note that the hypercall page now covers the reference TSC page, if it does
 * @vcpu: a vCPU of an owned VM
 * @gpa: address of the hypercall page
 *
 * The reference TSC page is not written until khv_reftime_renew_begin(), or until its register is
 * written.
 *
 * Context: hv_lock held.
 */
void khv_reftime_cover(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_covered() - does the hypercall page cover the reference TSC page?
 * @vcpu: any vCPU of an owned VM
 * @gpa: page-aligned address
 *
 * Return: true if both are there and the hypercall page is on top. Context: hv_lock held.
 */
bool khv_reftime_covered(struct kvm_vcpu *vcpu, gpa_t gpa);

/**
 * khv_reftime_renew_begin() - have the reference TSC page show again where another page leaves it
 * @vcpu: a vCPU of an owned VM
 * @gpa: address that the other page leaves; nothing happens unless the reference TSC page is there
 * @host: user space has it leave, and may have restored the memory: write nothing before the guest
 *	runs
 *
 * The page gets the sequence 0, so that no VP takes for the clock what comes back there. What the
 * memory holds is not looked at.
 *
 * Context: hv_lock held.
 */
void khv_reftime_renew_begin(struct kvm_vcpu *vcpu, gpa_t gpa, bool host);

/**
 * khv_reftime_renew_end() - write the parameters of the page again
 * @vcpu: as for khv_reftime_renew_begin()
 * @gpa: as for khv_reftime_renew_begin()
 * @host: as for khv_reftime_renew_begin()
 *
 * Where that fails, it is done before @vcpu enters the guest; where it may not be done yet, before
 * any vCPU does.
 *
 * Context: hv_lock held.
 */
void khv_reftime_renew_end(struct kvm_vcpu *vcpu, gpa_t gpa, bool host);

#endif
