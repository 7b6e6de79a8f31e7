/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module's side of KVM: functions found by name, the originals behind the
 * hooks, and register access. Parts call KVM through this header only.
 */
#ifndef KHV_PORT_H
#define KHV_PORT_H

#include <linux/kvm_host.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/asm.h>

#include "khv/state.h"
#include "khv/walk.h"

/* Private to KVM; only ever passed as NULL. */
struct dest_map;
struct x86_exception;

/* khv_<import>(): the host kernel's function, patched in at load. */
#define KHV_IMPORT(_mod, _ret, _name, _params, _args)               \
	_ret khv_proto_##_name _params;                             \
	DECLARE_STATIC_CALL(khv_import_##_name, khv_proto_##_name); \
	static __always_inline _ret khv_##_name _params             \
	{                                                           \
		return static_call(khv_import_##_name) _args;       \
	}
#include "compat/imports.def.h"
#undef KHV_IMPORT

/* khv_orig_<hook>(): the replaced function, entered past its ftrace site. */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why) \
	_ret khv_hook_##_name _params;                            \
	DECLARE_STATIC_CALL(khv_call_##_name, khv_hook_##_name);  \
	static __always_inline _ret khv_orig_##_name _params      \
	{                                                         \
		return static_call(khv_call_##_name) _args;       \
	}
#include "compat/kvm_private.h"
#undef KHV_HOOK

/* Is the call ours? For the rows of owner ASK and RUNNING, by dispatch.S. They must not sleep. */
bool khv_asks_kvm_get_hv_cpuid(struct kvm_vcpu *vcpu);
bool khv_asks_kvm_arch_vm_ioctl(struct file *filp, unsigned int ioctl);
bool khv_asks_nested_evmcs_check_controls(struct vmcs12 *vmcs12);

/* Vendor functions behind kvm_x86_ops that hot paths need. */
int khv_proto_get_cpl(struct kvm_vcpu *vcpu);
void khv_proto_get_cs_db_l_bits(struct kvm_vcpu *vcpu, int *db, int *l);
void khv_proto_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t addr);
void khv_proto_flush_tlb_guest(struct kvm_vcpu *vcpu);
void khv_proto_deliver_interrupt(struct kvm_lapic *apic, int delivery_mode, int trig_mode,
				 int vector);
DECLARE_STATIC_CALL(khv_x86_get_cpl, khv_proto_get_cpl);
DECLARE_STATIC_CALL(khv_x86_get_cs_db_l_bits, khv_proto_get_cs_db_l_bits);
DECLARE_STATIC_CALL(khv_x86_flush_tlb_gva, khv_proto_flush_tlb_gva);
DECLARE_STATIC_CALL(khv_x86_flush_tlb_guest, khv_proto_flush_tlb_guest);
DECLARE_STATIC_CALL(khv_x86_deliver_interrupt, khv_proto_deliver_interrupt);

/* KVM's table of vendor functions, valid between khv_imports_find() and unload. */
extern struct kvm_x86_ops *khv_x86_ops;

/* Name of the vendor module, set before anything is resolved. */
extern const char *khv_vendor;

/* Whether the guest's TLB is filled from its own page tables alone: EPT or NPT. */
extern const bool *khv_tdp_enabled;

/* Whether KVM lets the CPU deliver interrupts where nothing forbids it: APICv or AVIC. */
extern const bool *khv_enable_apicv;

/* Whether it is kvm_amd; set with it. */
extern bool khv_svm;

/**
 * khv_vmcb() - the VMCB that runs
 * @vcpu: a vCPU of kvm_amd
 *
 * Return: the one that the last exit came from. Both vendors keep what is needed right
 * behind struct kvm_vcpu. Context: the vCPU's thread.
 */
static __always_inline struct vmcb *khv_vmcb(const struct kvm_vcpu *vcpu)
{
	return *(struct vmcb **)(vcpu + 1);
}

/**
 * khv_vmx_failed() - did the last entry fail, so that the VMCS tells of the exit before?
 * @vcpu: a vCPU of kvm_intel
 *
 * Return: true if so. Context: the vCPU's thread.
 */
static __always_inline bool khv_vmx_failed(const struct kvm_vcpu *vcpu)
{
	return *(const u8 *)(vcpu + 1);
}

/**
 * khv_vmread() - read a field of the current VMCS
 * @field: its encoding
 *
 * A reboot takes every CPU out of VMX operation under its VMs; there the instruction faults.
 *
 * Return: the value; @field itself on a CPU that left VMX operation. Context: the thread of a
 * vCPU of kvm_intel, which is loaded.
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
 * Context: as khv_vmread(); does nothing on a CPU that left VMX operation.
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
 * @vcpu: the vCPU
 *
 * Return: true between a nested entry and exit. Context: the vCPU's thread.
 */
static inline bool khv_in_l2(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.hflags & HF_GUEST_MASK;
}

/**
 * khv_in_smm() - is the vCPU in system management mode?
 * @vcpu: the vCPU
 *
 * Return: true between the SMI and RSM. Context: the vCPU's thread.
 */
static inline bool khv_in_smm(const struct kvm_vcpu *vcpu)
{
	/* Not there without CONFIG_KVM_SMM. */
#ifdef HF_SMM_MASK
	return vcpu->arch.hflags & HF_SMM_MASK;
#else
	return false;
#endif
}

/**
 * khv_flush_guest() - flush everything that the guest's page tables put into the TLB
 * @vcpu: the vCPU, not in guest mode
 *
 * Context: thread of this vCPU before it enters the guest.
 */
void khv_flush_guest(struct kvm_vcpu *vcpu);

/**
 * struct khv_kick - vCPUs that have to leave the guest
 * @cpus: CPUs that run them; undefined until @any
 * @any: there is one
 */
struct khv_kick {
	struct cpumask *cpus;
	bool any;
};

/**
 * khv_kick_request() - make a request that a vCPU honours before it runs guest code again
 * @kick: what khv_kick_wait() is told; zero but for its mask
 * @vcpu: any vCPU of the caller's VM
 * @req: KVM_REQ_*
 *
 * A halted vCPU is not woken. Until khv_kick_wait() others take it for told to leave:
 * preemption stays off so long. Context: preemption disabled.
 */
static inline void khv_kick_request(struct khv_kick *kick, struct kvm_vcpu *vcpu, unsigned int req)
{
	int cpu;

	__kvm_make_request(req, vcpu);
	/* Its cmpxchg orders the request before the look at the mode. */
	if (likely(kvm_vcpu_exiting_guest_mode(vcpu) == OUTSIDE_GUEST_MODE))
		return;
	/* Whoever has moved on meanwhile has left the guest. */
	cpu = READ_ONCE(vcpu->cpu);
	if (cpu < 0)
		return;
	if (!kick->any)
		cpumask_clear(kick->cpus);
	kick->any = true;
	__cpumask_set_cpu(cpu, kick->cpus);
}

/**
 * khv_kick_wait() - return when every one of them has left the guest
 * @kick: the vCPUs
 *
 * Context: preemption disabled, interrupts enabled; waits for other CPUs.
 */
void khv_kick_wait(const struct khv_kick *kick);

/**
 * khv_read_guest() - read guest memory; never SMRAM, also for a vCPU in SMM
 * @vcpu: running vCPU, its SRCU held
 * @page: where that page was last time; its gpa is INVALID_GPA at first
 * @gpa: address; @gpa to @gpa + @len lies within one page
 * @data: destination, undefined on failure
 * @len: bytes
 *
 * Context: the vCPU's thread, may sleep.
 * Return: false where there is no memory.
 */
bool khv_read_guest(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa, void *data,
		    unsigned long len);

/**
 * khv_walk_nofault() - look an address up in a guest's page tables
 * @vcpu: running vCPU, its SRCU held and page faults off
 * @t: the tables
 * @addr: the address, canonical
 *
 * Context: any, interrupts may be off; never sleeps, writes nothing.
 * Return: the address in the memory of the VM, or INVALID_GPA where that is not known.
 */
gpa_t khv_walk_nofault(struct kvm_vcpu *vcpu, const struct khv_tables *t, u64 addr);

/**
 * khv_read_guest_nofault() - read guest memory that is present, once
 * @vcpu: running vCPU, not in SMM
 * @page: where that page was last time; its gpa is INVALID_GPA at first
 * @gpa: address, a multiple of 8; @gpa to @gpa + @len lies within one page
 * @data: destination, undefined on failure
 * @len: bytes, a multiple of 8
 *
 * Context: any, interrupts may be off; never sleeps.
 * Return: false where there is no memory, or its page is not there right now.
 */
bool khv_read_guest_nofault(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa,
			    u64 *data, unsigned long len);

/**
 * khv_read_cached() - read guest memory at an address that is read again and again
 * @kvm: the VM, its SRCU held
 * @cache: from kvm_gfn_to_hva_cache_init(), within one page
 * @at: offset of the first byte in it
 * @data: destination
 * @len: bytes; @at + @len is no more than the cache is for
 *
 * Mirrors kvm_read_guest_offset_cached(), without a call where memory slots have not changed.
 *
 * Context: may sleep.
 * Return: false where there is no memory.
 */
static inline bool khv_read_cached(struct kvm *kvm, struct gfn_to_hva_cache *cache, u32 at,
				   void *data, unsigned long len)
{
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
 * khv_longmode() - is the caller using the 64-bit calling convention?
 * @vcpu: running vCPU
 *
 * Return: true for a 64-bit code segment, and for guests whose state is hidden.
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
 * khv_may_hypercall() - may the current mode and CPL make hypercalls?
 * @vcpu: running vCPU
 *
 * Return: false where the TLFS ("Legal Hypercall Environments") wants #UD.
 */
static inline bool khv_may_hypercall(struct kvm_vcpu *vcpu)
{
	return (vcpu->arch.cr0 & X86_CR0_PE) && !static_call(khv_x86_get_cpl)(vcpu);
}

/**
 * khv_call_regs() - read the registers that a hypercall uses
 * @vcpu: running vCPU
 * @longmode: the 64-bit calling convention
 *
 * Return: the registers.
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
 * khv_set_result() - write a hypercall's result value to its registers
 * @vcpu: running vCPU
 * @longmode: calling convention
 * @result: result value
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
 * Context: vCPU thread, preemptible; loads the guest's FPU state if it was put aside.
 */
void khv_read_xmm(u8 *buf);

/**
 * khv_read_xmm_irqoff() - khv_read_xmm() right after an exit
 * @buf: KHV_FAST_XMM_BYTES bytes
 *
 * Context: vCPU thread, interrupts off.
 * Return: false if the guest's FPU state was put aside; @buf is left alone.
 */
bool khv_read_xmm_irqoff(u8 *buf);

/**
 * khv_write_xmm() - write bytes of XMM0 to XMM5 of the running guest
 * @at: offset of the first byte from XMM0
 * @buf: the bytes
 * @len: how many; @at + @len is at most KHV_FAST_XMM_BYTES
 *
 * Context: as khv_read_xmm().
 */
void khv_write_xmm(u32 at, const u8 *buf, u32 len);

/**
 * khv_symbols_init() - make names resolvable, and resolve those of the kernel itself
 * @report: called once per missing name, with what it is for
 *
 * Context: module load, may sleep.
 * Return: 0; -EOPNOTSUPP when a name is missing; the errno of the probe on
 * kallsyms_lookup_name() when names cannot be looked up at all.
 */
int khv_symbols_init(void (*report)(const char *name, const char *why));

/**
 * khv_imports_find() - find every function of KVM that is called or replaced
 * @report: called once per missing name, with what it is for
 *
 * After khv_symbols_init(), with KVM pinned. Context: module load, may sleep.
 * Return: number of missing names.
 */
int khv_imports_find(void (*report)(const char *name, const char *why));

/**
 * khv_imports_patch() - make the functions that were found callable
 *
 * Patching takes more time than all look-ups: a load that fails is spared it.
 * Context: module load, may sleep.
 */
void khv_imports_patch(void);

/**
 * khv_kvm_is_as_built_for() - has kvm.ko the structures that this module was built with?
 *
 * By the checksum of an exported function's type, as the kernel compares it for a module that is
 * linked against one. Without CONFIG_MODVERSIONS there is none. Call it as khv_symbol().
 *
 * Return: false if not. Context: module load.
 */
bool khv_kvm_is_as_built_for(void);

/**
 * khv_symbols_index() - make the symbols of a module quick to find
 * @mod: kvm or the vendor module, live and pinned
 *
 * Context: module load, may sleep.
 * Return: 0 or -ENOMEM.
 */
int khv_symbols_index(struct module *mod);

/**
 * khv_symbols_forget() - free what khv_symbols_index() made
 *
 * Context: end of the load, may sleep.
 */
void khv_symbols_forget(void);

/**
 * khv_symbol() - address of a kernel or module symbol
 * @module: "kvm" or a vendor module, or NULL for the kernel itself
 * @name: its name
 *
 * After khv_symbols_init() and, for a module, between khv_symbols_index() and
 * khv_symbols_forget().
 *
 * Return: address, or 0.
 */
unsigned long khv_symbol(const char *module, const char *name);

#endif
