// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handling of guest registers, TLB and memory that is inline in KVM, so that there is no function
 * to import; and the kick of vCPUs.
 */
#include <linux/kvm_host.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include <asm/hypervisor.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/port.h"

/* Mirrors kvm_fpu_get(): load the guest's FPU state into the registers and keep it there. */
static void guest_fpu_lock(void)
{
	fpregs_lock();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		khv_switch_fpu_return();
}

static void store_xmm(u8 *buf)
{
	asm volatile("movdqu %%xmm0, 0(%0)\n\t"
		     "movdqu %%xmm1, 16(%0)\n\t"
		     "movdqu %%xmm2, 32(%0)\n\t"
		     "movdqu %%xmm3, 48(%0)\n\t"
		     "movdqu %%xmm4, 64(%0)\n\t"
		     "movdqu %%xmm5, 80(%0)"
		     :
		     : "r"(buf)
		     : "memory");
}

void khv_read_xmm(u8 *buf)
{
	guest_fpu_lock();
	store_xmm(buf);
	fpregs_unlock();
}

bool khv_read_xmm_irqoff(u8 *buf)
{
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		return false;
	store_xmm(buf);
	return true;
}

void khv_write_xmm(u32 at, const u8 *buf, u32 len)
{
	u8 xmm[KHV_FAST_XMM_BYTES];

	khv_read_xmm(xmm);
	memcpy(xmm + at, buf, len);
	guest_fpu_lock();
	asm volatile("movdqu 0(%0), %%xmm0\n\t"
		     "movdqu 16(%0), %%xmm1\n\t"
		     "movdqu 32(%0), %%xmm2\n\t"
		     "movdqu 48(%0), %%xmm3\n\t"
		     "movdqu 64(%0), %%xmm4\n\t"
		     "movdqu 80(%0), %%xmm5"
		     :
		     : "r"(xmm)
		     : "memory");
	fpregs_unlock();
}

void khv_flush_guest(struct kvm_vcpu *vcpu)
{
	/* KVM must synchronise its shadow page tables first: leave the flush to KVM. */
	if (!*khv_tdp_enabled) {
		kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, vcpu);
		return;
	}
	++vcpu->stat.tlb_flush;
	static_call(khv_x86_flush_tlb_guest)(vcpu);
}

/* Flush this CPU's non-global translations of @vpid. Return: false if INVVPID failed. */
static bool invvpid_non_global(u16 vpid)
{
	const struct {
		u64 vpid, gva;
	} operand = { .vpid = vpid };
	bool failed;

	/* Set carry: INVVPID faults on a CPU that left VMX operation, see khv_vmread(). */
	asm volatile("stc\n"
		     "1: invvpid %[operand], %[type]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : "=@ccbe"(failed)
		     : [operand] "m"(operand), [type] "r"((u64)VMX_VPID_EXTENT_SINGLE_NON_GLOBAL)
		     : "memory");
	return !failed;
}

static bool flush_non_global_vmx(struct kvm_vcpu *vcpu)
{
	bool done;
	u16 vpid;

	/* KVM on Hyper-V may use an enlightened VMCS, which VMREAD does not read. */
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return false;
	/* The one with which the CPU is entered next: L1's, or KVM's own for L2. */
	vpid = khv_vmread(VIRTUAL_PROCESSOR_ID);
	/* As flush_ranges(): this CPU's TLB only. Without a VPID each VM-Entry flushes. */
	preempt_disable();
	done = vpid && vcpu->arch.last_vmentry_cpu == smp_processor_id() &&
	       invvpid_non_global(vpid);
	preempt_enable();
	return done;
}

/* noinline: selftests probe it. */
noinline bool khv_flush_non_global(struct kvm_vcpu *vcpu)
{
	u8 *tlb_ctl;

	if (!khv_svm) {
		if (!flush_non_global_vmx(vcpu))
			return false;
	} else {
		/* KVM clears the guest's return predictions with its own flushes only. */
		if (!boot_cpu_has(X86_FEATURE_FLUSHBYASID) || khv_has_eraps())
			return false;
		tlb_ctl = &khv_vmcb(vcpu)->control.tlb_ctl;
		/* VMRUN flushes. Keep a wider flush of KVM's, which clears either afterwards. */
		if (*tlb_ctl == TLB_CONTROL_DO_NOTHING)
			*tlb_ctl = TLB_CONTROL_FLUSH_ASID_LOCAL;
	}
	++vcpu->stat.tlb_flush;
	return true;
}

/*
 * Find a page's host address, which changes only together with the generation of the memory slots.
 */
static bool find_page(struct kvm *kvm, struct gfn_to_hva_cache *page, gpa_t gpa)
{
	if (likely(page->gpa == gpa && page->generation == kvm_memslots(kvm)->generation))
		return true;
	if (!khv_kvm_gfn_to_hva_cache_init(kvm, page, gpa, PAGE_SIZE))
		return true;
	page->gpa = INVALID_GPA;
	return false;
}

bool khv_read_guest(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa, void *data,
		    unsigned long len)
{
	/* The cache does not work for read-only memory slots. */
	if (!find_page(vcpu->kvm, page, gpa & PAGE_MASK))
		return !khv_kvm_read_guest(vcpu->kvm, gpa, data, len);
	return !__copy_from_user(data, (const void __user *)(page->hva + offset_in_page(gpa)), len);
}

static bool read_words(const u64 __user *from, u64 *to, unsigned long len)
{
	unsigned long i;

	if (!user_access_begin(from, len))
		return false;
	for (i = 0; i < len / sizeof(*to); i++)
		unsafe_get_user(to[i], &from[i], fault);
	user_access_end();
	return true;
fault:
	user_access_end();
	return false;
}

static bool read_entry(void *vcpu, u64 address, u64 *entry)
{
	return !khv_kvm_vcpu_read_guest_atomic(vcpu, address, entry, sizeof(*entry));
}

gpa_t khv_walk_nofault(struct kvm_vcpu *vcpu, const struct khv_tables *t, u64 addr)
{
	static_assert(KHV_NOWHERE == INVALID_GPA);

	return khv_walk(t, addr, read_entry, vcpu);
}

bool khv_read_guest_nofault(struct kvm_vcpu *vcpu, struct gfn_to_hva_cache *page, gpa_t gpa,
			    u64 *data, unsigned long len)
{
	bool ok;

	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	if (find_page(vcpu->kvm, page, gpa & PAGE_MASK))
		ok = read_words((const u64 __user *)(page->hva + offset_in_page(gpa)), data, len);
	else
		/* The cache does not work for read-only memory slots. */
		ok = !khv_kvm_vcpu_read_guest_atomic(vcpu, gpa, data, len);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	return ok;
}

/* No-op: the IPI itself forces the VM-Exit. */
static void left_guest(void *unused)
{
}

void khv_request_all(struct kvm *kvm, unsigned int req)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		__kvm_make_request(req, vcpu);
		khv_vcpu_kick(vcpu);
		cond_resched();
	}
}

void khv_kick_wait(const struct khv_kick *kick)
{
	if (!kick->any)
		return;
	smp_call_function_many(kick->cpus, left_guest, NULL, true);
}
