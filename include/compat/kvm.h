/* SPDX-License-Identifier: GPL-2.0-only */
/* Members of KVM's structures that only some kernels have. */
#ifndef KHV_COMPAT_KVM_H
#define KHV_COMPAT_KVM_H

#include <linux/kfifo.h>
#include <linux/kvm_host.h>

#include "compat/kvm_hv.h"

/* Length of a cycle of the APIC bus in ns. If KVM cannot be told another, it is 1. */
static inline u64 khv_apic_bus_cycle_ns(const struct kvm *kvm)
{
#ifdef KHV_HAVE_APIC_BUS_CYCLE
	return kvm->arch.apic_bus_cycle_ns;
#else
	return 1;
#endif
}

/* What user space set with KVM_XEN_HVM_CONFIG; nothing without CONFIG_KVM_XEN. */
#if !defined(KHV_HAVE_XEN_IN_XEN)
#define KHV_XEN_CONFIG(_kvm, _member) ((_kvm)->arch.xen_hvm_config._member)
#elif IS_ENABLED(CONFIG_KVM_XEN)
#define KHV_XEN_CONFIG(_kvm, _member) ((_kvm)->arch.xen.hvm_config._member)
#else
#define KHV_XEN_CONFIG(_kvm, _member) 0
#endif

/* Are the guest's hypercalls Xen's? */
static __always_inline bool khv_xen_hypercalls(const struct kvm *kvm)
{
	return KHV_XEN_CONFIG(kvm, flags) & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL;
}

/* Is this Xen's hypercall MSR, which may have any number that user space chooses? */
static __always_inline bool khv_xen_msr(const struct kvm *kvm, u32 msr)
{
	return KHV_XEN_CONFIG(kvm, msr) == msr;
}

/* The guest's RIP, as the vendor module will load it. */
static __always_inline void khv_set_rip(struct kvm_vcpu *vcpu, unsigned long rip)
{
#ifdef KHV_HAVE_ARCH_RIP
	vcpu->arch.rip = rip;
#else
	vcpu->arch.regs[VCPU_REGS_RIP] = rip;
#endif
}

/* The same where the vendor module reads and loads registers only if it must. */
static __always_inline void khv_set_cached_rip(struct kvm_vcpu *vcpu, unsigned long rip)
{
	khv_set_rip(vcpu, rip);
#ifdef KHV_HAVE_ARCH_RIP
	__set_bit(VCPU_REG_RIP, vcpu->arch.regs_avail);
	__set_bit(VCPU_REG_RIP, vcpu->arch.regs_dirty);
#else
	vcpu->arch.regs_avail |= BIT(VCPU_REGS_RIP);
	vcpu->arch.regs_dirty |= BIT(VCPU_REGS_RIP);
#endif
}

/*
 * A register that the vendor module may leave in the VMCS until it is read. Its cache_reg() also
 * marks the register as available.
 */
#ifdef KHV_HAVE_ARCH_RIP
#define KHV_LAZY_REG(_name)	   VCPU_REG_##_name
#define KHV_AVAILABLE(_vcpu, _reg) test_bit(_reg, (_vcpu)->arch.regs_avail)
#else
#define KHV_LAZY_REG(_name)	   VCPU_EXREG_##_name
#define KHV_AVAILABLE(_vcpu, _reg) ((_vcpu)->arch.regs_avail & BIT(_reg))
#endif

/* How guest page tables are walked: their format, and the address of the first table. */
#ifdef KHV_HAVE_PAGEWALK
#define KHV_WALK_OF(_mmu) ((_mmu)->w)
#else
#define KHV_WALK_OF(_mmu) (_mmu)
#endif

static inline union kvm_cpu_role khv_walk_role(const struct kvm_mmu *mmu)
{
	return KHV_WALK_OF(mmu)->cpu_role;
}

static inline unsigned long khv_walk_root(struct kvm_vcpu *vcpu, const struct kvm_mmu *mmu)
{
	return KHV_WALK_OF(mmu)->get_guest_pgd(vcpu);
}

/* Is the I/O APIC KVM's, and not user space's? */
static inline bool khv_ioapic_in_kernel(const struct kvm *kvm)
{
#if defined(KHV_HAVE_IOAPIC_OPTION) && !IS_ENABLED(CONFIG_KVM_IOAPIC)
	return false;
#else
	return kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL;
#endif
}

/*
 * Is the VM, by its type, for a guest whose state KVM does not see? A TD's vCPU is no struct
 * vcpu_vmx, and has no VMCS. A VM of the default type that KVM_SEV_INIT or KVM_SEV_ES_INIT makes
 * one later is owned: of a guest with protected state the fast path answers nothing. Valid in
 * kvm_hv_init_vm().
 */
static inline bool khv_is_protected(const struct kvm *kvm)
{
#ifdef KHV_HAVE_VM_TYPE
	return kvm->arch.vm_type != KVM_X86_DEFAULT_VM &&
	       kvm->arch.vm_type != KVM_X86_SW_PROTECTED_VM;
#else
	return false;
#endif
}

/* Is the upper half of the ICR in ICR2 in x2APIC mode, too? */
static inline bool khv_x2apic_icr_is_split(const struct kvm_x86_ops *ops)
{
#ifdef KHV_HAVE_ICR_SPLIT
	return ops->x2apic_icr_is_split;
#else
	return false;
#endif
}

/* KVM's TSC_INVARIANT_CONTROL, which its CPUID code reads; @ours, the module's, on 6.1. */
static inline u64 *khv_invtsc_control(struct kvm *kvm, u64 *ours)
{
#ifdef KHV_HAVE_TSC_INVARIANT
	return &kvm->arch.hyperv.hv_invtsc_control;
#else
	return ours;
#endif
}

/*
 * Initialise KVM's own flush queues. They stay empty, but kvm_hv_vcpu_flush_tlb() reads them after
 * each switch between L1 and L2.
 */
static inline void khv_init_flush_fifos(struct kvm_vcpu_hv *hv)
{
#ifdef KHV_HAVE_FLUSH_FIFO
	int i;

	for (i = 0; i < HV_NR_TLB_FLUSH_FIFOS; i++) {
		INIT_KFIFO(hv->tlb_flush_fifo[i].entries);
		spin_lock_init(&hv->tlb_flush_fifo[i].write_lock);
	}
#endif
}

/*
 * Forget KVM's copy of the VP assist page: KVM does not read a page that is not enabled, and would
 * go on using the copy.
 */
static inline void khv_forget_assist_page(struct kvm_vcpu_hv *hv)
{
#ifdef KHV_HAVE_L2_FLUSH
	memset(&hv->vp_assist_page, 0, sizeof(hv->vp_assist_page));
#endif
}

/* May guests have return predictions that KVM must clear with each flush? */
static inline bool khv_has_eraps(void)
{
#ifdef X86_FEATURE_ERAPS
	return boot_cpu_has(X86_FEATURE_ERAPS);
#else
	return false;
#endif
}

/*
 * KVM's own identity of an L2. Return: false where KVM tracks none, and on Intel for an L2 that was
 * restored with an enlightened VMCS, until its next entry.
 */
static inline bool khv_stock_l2(const struct kvm_vcpu_hv *hv, bool svm, u64 *vm_id, u32 *vp_id,
				u64 *partition_assist_page)
{
#ifdef KHV_HAVE_L2_FLUSH
	u64 page = READ_ONCE(hv->nested.pa_page_gpa);

	if (!svm && page == INVALID_GPA)
		return false;
	*vm_id = READ_ONCE(hv->nested.vm_id);
	*vp_id = READ_ONCE(hv->nested.vp_id);
	*partition_assist_page = page;
	return true;
#else
	return false;
#endif
}

#endif
