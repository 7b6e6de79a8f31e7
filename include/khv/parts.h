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

/**
 * enum khv_msr_result - outcome of an MSR access
 * @KHV_MSR_OK: done
 * @KHV_MSR_FAULT: #GP for a guest, "not set" for user space; nothing changed
 */
enum khv_msr_result {
	KHV_MSR_OK,
	KHV_MSR_FAULT,
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
 */
struct khv_msr_access {
	struct kvm_vcpu *vcpu;
	struct khv_vcpu *vp;
	struct khv_vm *vm;
	int row;
	unsigned int index;
	u64 data;
	bool host;
};

/* Handlers run in the vCPU thread with vcpu->mutex held; they may sleep. */
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
enum khv_msr_result khv_msr_crash_p_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_p_write(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_ctl_read(struct khv_msr_access *a);
enum khv_msr_result khv_msr_crash_ctl_write(struct khv_msr_access *a);

/* Hypercall handlers: a typed input block in, HV_STATUS_* out. They may sleep. */
typedef u16 (*khv_hc_fn)(struct kvm_vcpu *vcpu, struct khv_hcall *hc);

u16 khv_hc_notify_long_spin_wait(struct kvm_vcpu *vcpu, struct khv_hcall *hc);
u16 khv_hc_ext_call(struct kvm_vcpu *vcpu, struct khv_hcall *hc);

/**
 * khv_msr_passes() - does an access to a VM of ours go straight to KVM's own code?
 * @vcpu: the vCPU
 * @msr: MSR number
 * @host: by user space
 * @write: a write
 *
 * Counts it if so. An access that has to be refused or traced takes the driver.
 *
 * Return: true for an allowed access to a row that is still KVM's.
 */
static __always_inline bool khv_msr_passes(struct kvm_vcpu *vcpu, u32 msr, bool host, bool write)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int row = khv_msr_find(msr);

	if (row < 0 || !vp || trace_khv_msr_enabled())
		return false;
	if (!(khv_msr_stock_rows & BIT_ULL(row)))
		return false;
	if (host)
		return true;
	if (!(vp->gate.msr & BIT_ULL(row)))
		return false;
	if (write)
		vp->counts.msr_write[row]++;
	else
		vp->counts.msr_read[row]++;
	return true;
}

/**
 * khv_count_hc() - count a hypercall
 * @vp: the VP
 * @row: its row
 * @control: its input value
 */
static __always_inline void khv_count_hc(struct khv_vcpu *vp, int row, u64 control)
{
	vp->counts.hc[row]++;
	if ((control & KHV_CTL_FAST) && (khv_hcs[row].flags & KHV_XMM))
		vp->counts.hc_xmm++;
}

/**
 * khv_hc_passes() - does a hypercall of a VM of ours go straight to KVM's own code?
 * @vcpu: the vCPU, not in guest mode
 *
 * Counts it if so. KVM's code has the same gate and knows the same unknown codes. In
 * long mode only the code segment tells which register holds the code, and asking for
 * it costs more than all the rest; it is needed only if the other register names a
 * call of ours, and then the driver asks. A call that is traced takes the driver, too.
 *
 * Return: true for a row that is still KVM's.
 */
static __always_inline bool khv_hc_passes(struct kvm_vcpu *vcpu)
{
	u64 control = vcpu->arch.regs[VCPU_REGS_RAX];
	int row = khv_hc_find(control & KHV_CTL_CODE);

	if (trace_khv_hypercall_enabled())
		return false;
	if (vcpu->arch.efer & EFER_LMA) {
		if (row >= 0 && !(khv_hc_stock_rows & BIT_ULL(row)))
			return false;
		control = vcpu->arch.regs[VCPU_REGS_RCX];
		row = khv_hc_find(control & KHV_CTL_CODE);
	}
	if (row < 0 || !(khv_hc_stock_rows & BIT_ULL(row)))
		return false;
	khv_count_hc(to_khv_vcpu(vcpu), row, control);
	return true;
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
 * khv_run() - KVM_RUN of a VP of ours, with its CPU time taken
 * @vcpu: the vCPU
 *
 * Return: what KVM_RUN returns. Context: vCPU thread, vcpu->mutex held, sleeps.
 */
int khv_run(struct kvm_vcpu *vcpu);

/**
 * khv_overlay_map() - put an image into a guest page
 * @vcpu: the vCPU
 * @o: the overlay, not mapped
 * @gpa: page-aligned address
 * @image: PAGE_SIZE bytes
 * @keep: remember what the RAM holds, to restore it on unmap
 *
 * Return: 0, -EFAULT for a page outside memory, -ENOMEM; nothing changed then.
 * Context: register's lock held, may sleep.
 */
int khv_overlay_map(struct kvm_vcpu *vcpu, struct khv_overlay *o, gpa_t gpa, const u8 *image,
		    bool keep);

/**
 * khv_overlay_unmap() - give the guest its RAM back
 * @vcpu: the vCPU
 * @o: the overlay
 * @restore: write back what was remembered, if the image still stands untouched
 *
 * Context: register's lock held, may sleep.
 */
void khv_overlay_unmap(struct kvm_vcpu *vcpu, struct khv_overlay *o, bool restore);

/**
 * khv_overlay_free() - release the memory of an overlay, guest memory untouched
 * @o: the overlay
 */
void khv_overlay_free(struct khv_overlay *o);

/* Life of the module; see hyperv/main.c and hyperv/debugfs.c. */
void khv_state_exit(void);
void khv_debugfs_init(void);
void khv_debugfs_exit(void);

#endif
