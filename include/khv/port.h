/* SPDX-License-Identifier: GPL-2.0-only */
/* Access to a guest's registers and memory through KVM, and the kick of vCPUs. */
#ifndef KHV_PORT_H
#define KHV_PORT_H

#include <linux/kvm_host.h>
#include <linux/uaccess.h>
#include <asm/asm.h>

#include "compat/kvm_private.h"
#include "khv/imports.h"
#include "khv/state.h"
#include "khv/walk.h"

/**
 * khv_vmcb() - the current VMCB of a vCPU
 * @vcpu: a vCPU of kvm_amd
 *
 * Return: the VMCB of the last VM-Exit.
 * Context: the vCPU's thread.
 */
static __always_inline struct vmcb *khv_vmcb(const struct kvm_vcpu *vcpu)
{
	return container_of(vcpu, const struct khv_vcpu_svm, vcpu)->vmcb;
}

/**
 * khv_vmx_failed() - did the last VM-Entry fail, leaving the VMCS with the previous VM-Exit?
 * @vcpu: a vCPU of kvm_intel
 *
 * Return: true if it failed.
 * Context: the vCPU's thread.
 */
static __always_inline bool khv_vmx_failed(const struct kvm_vcpu *vcpu)
{
	return container_of(vcpu, const struct khv_vcpu_vmx, vcpu)->fail;
}

/**
 * khv_vmread() - read a field of the current VMCS
 * @field: its encoding
 *
 * A reboot takes every CPU out of VMX operation while VMs still run; VMREAD faults there.
 *
 * Return: the value, or @field itself on a CPU that left VMX operation. Context: the thread of a
 * vCPU of kvm_intel, with the vCPU loaded.
 */
static __always_inline unsigned long khv_vmread(unsigned long field)
{
	unsigned long value;

	asm volatile("1: vmread %0, %0\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : "=r"(value)
		     : "0"(field)
		     : "cc");
	return value;
}

/**
 * khv_vmwrite() - write a field of the current VMCS
 * @field: its encoding
 * @value: the value
 *
 * Does nothing on a CPU that left VMX operation. Context: as khv_vmread().
 */
static __always_inline void khv_vmwrite(unsigned long field, unsigned long value)
{
	asm volatile("1: vmwrite %0, %1\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     :
		     : "r"(value), "r"(field)
		     : "cc");
}

/**
 * khv_in_l2() - is the vCPU running a nested guest?
 * @vcpu: any vCPU of this host, owned or not
 *
 * Return: true between a nested VM-Entry and its VM-Exit. Context: the vCPU's thread.
 */
static inline bool khv_in_l2(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.hflags & HF_GUEST_MASK;
}

/**
 * khv_in_smm() - is the vCPU in system management mode?
 * @vcpu: any vCPU of this host, owned or not
 *
 * Return: true between an SMI and its RSM. Context: the vCPU's thread.
 */
static inline bool khv_in_smm(const struct kvm_vcpu *vcpu)
{
	/* Not defined without CONFIG_KVM_SMM. */
#ifdef HF_SMM_MASK
	return vcpu->arch.hflags & HF_SMM_MASK;
#else
	return false;
#endif
}

/**
 * khv_flush_guest() - flush all translations that come from the guest's page tables
 * @vcpu: the vCPU; in guest mode, L2's translations are flushed
 *
 * Context: the vCPU's thread before it enters the guest.
 */
void khv_flush_guest(struct kvm_vcpu *vcpu);

/**
 * khv_flush_non_global() - flush all translations of the guest's page tables but those of global
 * pages
 * @vcpu: the vCPU, with second-level page tables; in guest mode, L2's translations are flushed
 *
 * Return: false if the CPU cannot, and nothing was flushed. Context: the vCPU's thread before it
 * enters the guest, interrupts may be off.
 */
bool khv_flush_non_global(struct kvm_vcpu *vcpu);

/* Number of vCPUs after which a kick has a reschedule point. */
#define KHV_KICK_BATCH 128

/**
 * struct khv_kick - CPUs whose vCPUs must leave the guest
 * @cpus: the CPUs; undefined until @any is set
 * @any: @cpus is not empty
 * @vcpus: number of vCPUs that were looked at so far
 */
struct khv_kick {
	struct cpumask *cpus;
	bool any;
	u32 vcpus;
};

/**
 * khv_kick_request() - make a request that the vCPU honours before it runs guest code again
 * @kick: for khv_kick_wait(); zeroed at first, except for its mask
 * @vcpu: any vCPU of the caller's VM
 * @req: KVM_REQ_*
 *
 * Does not wake a halted vCPU. Until khv_kick_wait(), other CPUs see the vCPU in EXITING_GUEST_MODE
 * and send no IPI of their own, so preemption must stay disabled until then. Context: preemption
 * disabled.
 */
static inline void khv_kick_request(struct khv_kick *kick, struct kvm_vcpu *vcpu, unsigned int req)
{
	int cpu;

	__kvm_make_request(req, vcpu);
	/*
	 * The cmpxchg orders the request before the read of vcpu->mode. Pairs with
	 * smp_mb__after_srcu_read_unlock() in vcpu_enter_guest().
	 */
	if (likely(kvm_vcpu_exiting_guest_mode(vcpu) == OUTSIDE_GUEST_MODE))
		return;
	/* A vCPU that has left this CPU meanwhile has left the guest. */
	cpu = READ_ONCE(vcpu->cpu);
	if (cpu < 0)
		return;
	if (!kick->any)
		cpumask_clear(kick->cpus);
	kick->any = true;
	__cpumask_set_cpu(cpu, kick->cpus);
}

/**
 * khv_kick_wait() - wait until all vCPUs of a kick have left the guest
 * @kick: filled in by khv_kick_request()
 *
 * Context: preemption disabled, interrupts enabled; waits for other CPUs.
 */
void khv_kick_wait(const struct khv_kick *kick);

/**
 * khv_kick_resched() - have a reschedule point in a kick of many vCPUs
 * @kick: as for khv_kick_wait()
 *
 * A VM may have thousands of vCPUs. Call this once for each vCPU that is looked at, target or not:
 * every KHV_KICK_BATCH calls it waits as khv_kick_wait() does, and reschedules.
 *
 * Context: as khv_kick_wait(), but may sleep.
 */
static inline void khv_kick_resched(struct khv_kick *kick)
{
	if (likely(++kick->vcpus % KHV_KICK_BATCH))
		return;
	khv_kick_wait(kick);
	kick->any = false;
	preempt_enable();
	cond_resched();
	preempt_disable();
}

/**
 * khv_request_all() - have all vCPUs honour a request before they run guest code again
 * @kvm: an owned VM
 * @req: KVM_REQ_*; KVM_REQ_UNBLOCK has a halted one look again at what may wake it
 *
 * Does not wait for them. Context: may sleep.
 */
void khv_request_all(struct kvm *kvm, unsigned int req);

/**
 * khv_read_guest() - read guest memory; never SMRAM, even for a vCPU in SMM
 * @vcpu: running vCPU, kvm->srcu held
 * @page: cache of the page's host address; set @page->gpa to INVALID_GPA at first
 * @gpa: address; @gpa to @gpa + @len lies within one page
 * @data: destination, undefined on failure
 * @len: bytes
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false if no memory slot covers @gpa, or the page cannot be read.
 */
bool khv_read_guest(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa, void *data,
		    unsigned long len);

/**
 * khv_walk_nofault() - look an address up in a guest's page tables
 * @vcpu: running vCPU, its SRCU held and page faults off
 * @t: the tables
 * @addr: the address, canonical
 *
 * Context: any, interrupts may be off; does not sleep or write guest memory.
 * Return: guest-physical address in the VM's memory (L1's, for a nested guest), or INVALID_GPA if
 * the walk needs KVM's walker.
 */
gpa_t khv_walk_nofault(struct kvm_vcpu *vcpu, const struct khv_tables *t, u64 addr);

/**
 * khv_read_guest_nofault() - read guest memory once, without faulting
 * @vcpu: running vCPU, not in SMM
 * @page: cache of the page's host address; set @page->gpa to INVALID_GPA at first
 * @gpa: address, a multiple of 8; @gpa to @gpa + @len lies within one page
 * @data: destination, undefined on failure
 * @len: bytes, a multiple of 8
 *
 * Context: any, interrupts may be off; never sleeps. From 7.3 on the guest's PKRU may be loaded: a
 * guest can make the read fail.
 * Return: false if no memory slot covers @gpa, or the page is not present.
 */
bool khv_read_guest_nofault(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa,
			    u64 *data, unsigned long len);

/**
 * khv_read_cached() - read guest memory at an address that is read repeatedly
 * @kvm: the VM, kvm->srcu held
 * @cache: initialised by kvm_gfn_to_hva_cache_init(), within one page
 * @at: offset of the first byte from the cache's address
 * @data: destination
 * @len: bytes, a constant; @at + @len is at most the cache's length
 *
 * Mirrors kvm_read_guest_offset_cached(), inline while the memory slots have not changed. Of a
 * constant length the compiler knows whether it fits @data; CONFIG_HARDENED_USERCOPY looks up the
 * destination of any other copy.
 *
 * Context: may sleep.
 * Return: false if no memory slot covers the address, or the page cannot be read.
 */
static __always_inline bool khv_read_cached(struct kvm *kvm, struct gfn_to_hva_cache *cache, u32 at,
					    void *data, unsigned long len)
{
	BUILD_BUG_ON(!__builtin_constant_p(len));
	if (!check_copy_size(data, len, false))
		return false;
	if (unlikely(cache->generation != kvm_memslots(kvm)->generation) &&
	    khv_kvm_gfn_to_hva_cache_init(kvm, cache, cache->gpa, cache->len))
		return false;
	if (unlikely(kvm_is_error_hva(cache->hva)))
		return false;
	if (unlikely(!cache->memslot))
		return !khv_kvm_read_guest(kvm, cache->gpa + at, data, len);
	return !__copy_from_user(data, (const void __user *)cache->hva + at, len);
}

/**
 * khv_longmode() - does the guest use the 64-bit calling convention?
 * @vcpu: running vCPU
 *
 * Return: true in a 64-bit code segment, and for a guest with protected state (SEV-ES). Context:
 * the vCPU's thread.
 */
static inline bool khv_longmode(struct kvm_vcpu *vcpu)
{
	int db, l;

	if (vcpu->arch.guest_state_protected)
		return true;
	if (!(vcpu->arch.efer & EFER_LMA))
		return false;
	static_call(khv_x86_get_cs_db_l_bits)(vcpu, &db, &l);
	return l;
}

/**
 * khv_may_hypercall() - may the guest make hypercalls in its current mode and CPL?
 * @vcpu: running vCPU
 *
 * Return: false if the TLFS demands #UD ("Legal Hypercall Environments"). Context: the vCPU's
 * thread.
 */
static inline bool khv_may_hypercall(struct kvm_vcpu *vcpu)
{
	return (vcpu->arch.cr0 & X86_CR0_PE) && !static_call(khv_x86_get_cpl)(vcpu);
}

/**
 * khv_call_regs() - read the registers of a hypercall
 * @vcpu: running vCPU
 * @longmode: 64-bit calling convention
 *
 * Return: the registers, with the upper halves as they are, also for a 32-bit caller. Context: the
 * vCPU's thread.
 */
static inline struct khv_call_regs khv_call_regs(struct kvm_vcpu *vcpu, bool longmode)
{
	const unsigned long *regs = vcpu->arch.regs;

	return (struct khv_call_regs){
		.longmode = longmode,
		.ax = regs[VCPU_REGS_RAX],
		.bx = regs[VCPU_REGS_RBX],
		.cx = regs[VCPU_REGS_RCX],
		.dx = regs[VCPU_REGS_RDX],
		.si = regs[VCPU_REGS_RSI],
		.di = regs[VCPU_REGS_RDI],
		.r8 = regs[VCPU_REGS_R8],
	};
}

/**
 * khv_set_result() - write the result value of a hypercall to the guest's registers
 * @vcpu: running vCPU
 * @longmode: 64-bit calling convention
 * @result: result value
 *
 * Context: the vCPU's thread.
 */
static inline void khv_set_result(struct kvm_vcpu *vcpu, bool longmode, u64 result)
{
	unsigned long *regs = vcpu->arch.regs;

	if (longmode) {
		regs[VCPU_REGS_RAX] = result;
	} else {
		regs[VCPU_REGS_RDX] = result >> 32;
		regs[VCPU_REGS_RAX] = (u32)result;
	}
}

/**
 * khv_read_xmm() - read XMM0 to XMM5 of the running guest
 * @buf: KHV_FAST_XMM_BYTES bytes
 *
 * Context: the vCPU's thread, preemptible; loads the guest's FPU state if it is not in the
 * registers.
 */
void khv_read_xmm(u8 *buf);

/**
 * khv_read_xmm_irqoff() - khv_read_xmm() with interrupts off, after a VM-Exit
 * @buf: KHV_FAST_XMM_BYTES bytes
 *
 * Context: the vCPU's thread, interrupts off.
 * Return: false if the guest's FPU state is not in the registers; @buf is not written then.
 */
bool khv_read_xmm_irqoff(u8 *buf);

/**
 * khv_write_xmm() - write bytes of XMM0 to XMM5 of the running guest
 * @at: offset of the first byte from XMM0
 * @buf: the bytes
 * @len: number of bytes; @at + @len is at most KHV_FAST_XMM_BYTES
 *
 * Context: as khv_read_xmm().
 */
void khv_write_xmm(u32 at, const u8 *buf, u32 len);

#endif
