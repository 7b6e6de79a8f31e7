// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hypervisor in the guest (L1) and its own guest (L2): the VP assist page as a nested VM-Entry
 * reads it, the identity of an L2, hypercalls of an L2 that the module answers instead of L1
 * (direct flush), and flushes of translations that come from L1's second-level page tables. The
 * VP's thread writes identities; others read them without a lock. TLFS chapter "Nested
 * Virtualization".
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>
#include <asm/kvm_para.h>
#include <asm/svm.h>
#include <asm/vmx.h>

#include "khv/hooks.h"
#include "khv/parts.h"
#include "khv/port.h"

static_assert(offsetof(struct hv_enlightened_vmcs, hv_clean_fields) == KHV_EVMCS_IDENTITY);
static_assert(offsetof(struct hv_enlightened_vmcs, hv_vp_id) ==
	      KHV_EVMCS_IDENTITY + offsetof(struct khv_evmcs_identity, vp_id));
static_assert(offsetof(struct hv_enlightened_vmcs, partition_assist_page) ==
	      KHV_EVMCS_IDENTITY + offsetof(struct khv_evmcs_identity, partition_assist_page));
static_assert(offsetof(struct vmcb_control_area, clean) == KHV_VMCB_CLEAN);
static_assert(offsetof(struct vmcb_control_area, reserved_sw) == KHV_VMCB_IDENTITY);

/* The module parameter "nested_features". */
u64 khv_nested_features;

static const struct khv_priv msr_bitmap = KHV_PRIV(NESTED_EAX, MSR_BITMAP);

bool khv_assist_read(struct kvm_vcpu *vcpu, struct khv_vp_assist *assist)
{
	u64 reg = to_khv_vcpu(vcpu)->stock.hv_vapic;
	/*
	 * KVM's cache for PV EOI on this page. A guest can move PV EOI elsewhere, with a shorter
	 * length.
	 */
	struct gfn_to_hva_cache *cache = &vcpu->arch.pv_eoi.data;

	if (!(reg & KHV_VP_ASSIST_ENABLE))
		return false;
	if (cache->gpa == (reg & KHV_PAGE_GPFN) && cache->len >= sizeof(*assist))
		return khv_read_cached(vcpu->kvm, cache, 0, assist, sizeof(*assist));
	return !khv_kvm_read_guest(vcpu->kvm, reg & KHV_PAGE_GPFN, assist, sizeof(*assist));
}

void khv_nested_assist_off(struct khv_vcpu *vp)
{
#ifdef KHV_HAVE_L2_FLUSH
	/* KVM does not read a page that is not enabled, and would go on using its old copy. */
	memset(&vp->stock.vp_assist_page, 0, sizeof(vp->stock.vp_assist_page));
#endif
	vp->l2.direct = false;
}

/* Does the page say that L1 enters with an enlightened VMCS? */
static bool has_evmcs(const struct khv_vp_assist *assist)
{
	return assist->enlighten_vmentry && assist->current_nested_vmcs < KHV_EVMPTR_PENDING;
}

/* Do CPUID and the assist page allow the module to answer L2's hypercalls? */
static bool direct_allowed(const struct khv_vcpu *vp, const struct khv_vp_assist *assist)
{
	static const struct khv_priv direct = KHV_PRIV(NESTED_EAX, DIRECT_FLUSH);

	return khv_priv_held(&vp->cpuid, direct) &&
	       (assist->nested_features & KHV_ASSIST_DIRECT_HYPERCALL);
}

static void flush_l2(struct kvm_vcpu *vcpu)
{
	static const struct khv_flush everything = { .all = true };

	__kvm_make_request(khv_flush_queue(vcpu, &everything, true), vcpu);
}

/*
 * Record the identity of the VP's L2. If it is another L2 than before, flush the old one's
 * translations: a flush that names the old L2 would no longer include this VP.
 */
static void set_identity(struct kvm_vcpu *vcpu, const struct khv_l2 *l2)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	if (vp->l2.vm_id != l2->vm_id || vp->l2.vp_id != l2->vp_id)
		flush_l2(vcpu);
	WRITE_ONCE(vp->l2.vp_id, l2->vp_id);
	WRITE_ONCE(vp->l2.vm_id, l2->vm_id);
	WRITE_ONCE(vp->l2.unknown, false);
	vp->l2.partition_assist_page = l2->partition_assist_page;
	vp->l2.direct = l2->direct;
}

/* Count an entry at which L1 declares its MSR bitmap unchanged, so that KVM may skip reading it. */
static void count_msr_bitmap(struct khv_vcpu *vp, const struct khv_evmcs_identity *id)
{
	vp->counts.clean_msr_bitmaps +=
		(id->control & KHV_NESTED_MSR_BITMAP) &&
		(id->clean_fields & HV_VMX_ENLIGHTENED_CLEAN_FIELD_MSR_BITMAP);
}

/*
 * Cache the part of the enlightened VMCS or VMCB at @gpa, which L1 mostly reuses at the next entry.
 * Return: the cache, or NULL if @gpa is not in guest memory.
 */
static struct gfn_to_hva_cache *l2_control(struct kvm_vcpu *vcpu, gpa_t gpa, u32 len)
{
	struct gfn_to_hva_cache *cache = &to_khv_vcpu(vcpu)->l2_control;

	if (likely(cache->gpa == gpa))
		return cache;
	if (!khv_kvm_gfn_to_hva_cache_init(vcpu->kvm, cache, gpa, len))
		return cache;
	cache->gpa = 0;
	return NULL;
}

static bool read_evmcs(struct kvm_vcpu *vcpu, gpa_t evmcs, struct khv_evmcs_identity *id, u32 len)
{
	struct gfn_to_hva_cache *cache =
		l2_control(vcpu, (evmcs & PAGE_MASK) + KHV_EVMCS_IDENTITY, sizeof(*id));

	return cache && khv_read_cached(vcpu->kvm, cache, 0, id, len);
}

static void read_evmcs_identity(struct kvm_vcpu *vcpu, const struct khv_vp_assist *assist)
{
	struct khv_evmcs_identity id;
	struct khv_l2 l2;

	if (!has_evmcs(assist) || !read_evmcs(vcpu, assist->current_nested_vmcs, &id, sizeof(id)))
		memset(&id, 0, sizeof(id));
	l2 = (struct khv_l2){
		.vm_id = id.vm_id,
		.vp_id = id.vp_id,
		.partition_assist_page = id.partition_assist_page,
		.direct = (id.control & KHV_NESTED_FLUSH_HYPERCALL) &&
			  direct_allowed(to_khv_vcpu(vcpu), assist),
	};
	set_identity(vcpu, &l2);
	count_msr_bitmap(to_khv_vcpu(vcpu), &id);
}

/* Read from the VMCB that L1 passes to VMRUN; @at is KHV_VMCB_CLEAN or above. */
static bool read_vmcb12(struct kvm_vcpu *vcpu, u32 at, void *data, u32 len)
{
	gpa_t vmcb12 = khv_vmcb(vcpu)->save.rax & PAGE_MASK;
	struct gfn_to_hva_cache *cache =
		l2_control(vcpu, vmcb12 + KHV_VMCB_CLEAN,
			   KHV_VMCB_IDENTITY + sizeof(struct khv_vmcb_identity) - KHV_VMCB_CLEAN);

	return cache && khv_read_cached(vcpu->kvm, cache, at - KHV_VMCB_CLEAN, data, len);
}

static void count_vmcb_msr_bitmap(struct kvm_vcpu *vcpu, u32 control)
{
	u32 clean;

	if ((control & KHV_NESTED_MSR_BITMAP) &&
	    read_vmcb12(vcpu, KHV_VMCB_CLEAN, &clean, sizeof(clean)) &&
	    (clean & KHV_VMCB_CLEAN_NESTED))
		to_khv_vcpu(vcpu)->counts.clean_msr_bitmaps++;
}

/*
 * Does a KVM that implements direct flush read the page at VMRUN? Not if the guest has PV EOI
 * disabled.
 */
static bool assist_page_read(const struct khv_vcpu *vp)
{
	return (vp->stock.hv_vapic & KHV_VP_ASSIST_ENABLE) &&
	       (vp->stock.vcpu->arch.pv_eoi.msr_val & KVM_MSR_ENABLED);
}

bool khv_nested_svm_entry(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_vp_assist assist;
	struct khv_vmcb_identity id;
	struct khv_l2 l2 = {};
	bool readable = khv_assist_read(vcpu, &assist);
	bool direct = readable && direct_allowed(vp, &assist);

	/* As a KVM that implements direct flush: D36. */
	if (!readable && assist_page_read(vp)) {
		khv_kvm_queue_exception_e(vcpu, GP_VECTOR, 0);
		return false;
	}
	/* VMRUN itself reports all other faults of the VMCB or the page. */
	if ((direct || khv_priv_held(&vp->cpuid, msr_bitmap)) &&
	    read_vmcb12(vcpu, KHV_VMCB_IDENTITY, &id, sizeof(id))) {
		if (direct)
			l2 = (struct khv_l2){
				.vm_id = id.vm_id,
				.vp_id = id.vp_id,
				.partition_assist_page = id.partition_assist_page,
				.direct = id.control & KHV_NESTED_FLUSH_HYPERCALL,
			};
		count_vmcb_msr_bitmap(vcpu, id.control);
	}
	set_identity(vcpu, &l2);
	return true;
}

#ifdef KHV_HAVE_L2_FLUSH
/*
 * KVM calls this at each nested VM-Entry and when it restores L2, and tracks identities itself,
 * except for an L2 that is restored with an enlightened VMCS.
 */
int khv_nested_get_assist_page(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct kvm_vcpu_hv *stock = &vp->stock;
	struct khv_vp_assist *assist = (void *)&stock->vp_assist_page;
	struct khv_evmcs_identity id;
	bool in_l2 = khv_in_l2(vcpu);

	static_assert(sizeof(*assist) <= sizeof(stock->vp_assist_page));
	if (!khv_assist_read(vcpu, assist)) {
		if (!in_l2) {
			vp->l2.direct = false;
			/* Positive: KVM returns a negative value to user space as an error. */
			return 1;
		}
		memset(assist, 0, sizeof(*assist));
	}

	if (khv_svm) {
		/* This is VMRUN, and nested_svm_vmrun() is not hooked. */
		if (!in_l2 && !khv_hooks[KHV_HOOK_nested_svm_vmrun].site) {
			bool bitmap = khv_priv_held(&vp->cpuid, msr_bitmap);
			u32 control = 0;

			/* KVM records the L2's identity. */
			WRITE_ONCE(vp->l2.unknown, false);
			if ((vp->l2.direct_used || bitmap) &&
			    read_vmcb12(vcpu, KHV_VMCB_IDENTITY, &control, sizeof(control)) &&
			    bitmap)
				count_vmcb_msr_bitmap(vcpu, control);
			vp->l2.direct = vp->l2.direct_used &&
					(control & KHV_NESTED_FLUSH_HYPERCALL) &&
					direct_allowed(vp, assist);
		} else if (in_l2) {
			vp->l2.direct = false;
		}
		return 0;
	}
	/* KVM tracks L2's identity itself; read it only when KVM does not handle the call. */
	if (in_l2 || khv_hooks[KHV_HOOK_nested_vmx_reflect_vmexit].site)
		read_evmcs_identity(vcpu, assist);
	else if (khv_priv_held(&vp->cpuid, msr_bitmap) && has_evmcs(assist) &&
		 read_evmcs(vcpu, assist->current_nested_vmcs, &id,
			    offsetofend(struct khv_evmcs_identity, control)))
		count_msr_bitmap(vp, &id);
	return 0;
}

/*
 * On AMD only KVM's private copy of the VMCB tells whether KVM routes hypercalls of the L2 here. A
 * call that arrives proves that it does, for the L2 that runs now; have later entries read the
 * VMCB, too.
 */
void khv_nested_call_seen(struct khv_vcpu *vp)
{
	vp->l2.direct_used = true;
	if (khv_svm)
		vp->l2.direct = true;
}

bool khv_nested_is_direct(struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	u32 reason, intr_info, error_code;
	u64 info1, info2;

	if (khv_svm)
		return vp->l2.direct && assist_page_read(vp);
	if (!direct_allowed(vp, (void *)&vp->stock.vp_assist_page) ||
	    !khv_nested_evmcs_l2_tlb_flush_enabled(vcpu))
		return false;
	/*
	 * L1 single-steps L2: leave the instruction to KVM, which must record that it is complete.
	 */
	if (khv_vmread(CPU_BASED_VM_EXEC_CONTROL) & CPU_BASED_MONITOR_TRAP_FLAG)
		return false;
	/*
	 * Without unrestricted guests, KVM may not have entered L2 and the VMCS may hold an earlier
	 * exit.
	 */
	khv_x86_ops->get_exit_info(vcpu, &reason, &info1, &info2, &intr_info, &error_code);
	return reason == EXIT_REASON_VMCALL;
}

static struct khv_l2 identity(const struct khv_vcpu *vp)
{
	/*
	 * L2 was restored with an enlightened VMCS: KVM has no identity for it until the next
	 * entry.
	 */
	if (!khv_svm && READ_ONCE(vp->stock.nested.pa_page_gpa) == INVALID_GPA)
		return vp->l2;
	return (struct khv_l2){
		.vm_id = READ_ONCE(vp->stock.nested.vm_id),
		.vp_id = READ_ONCE(vp->stock.nested.vp_id),
		.partition_assist_page = vp->stock.nested.pa_page_gpa,
	};
}

void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu)
{
	khv_x86_ops->nested_ops->hv_inject_synthetic_vmexit_post_tlb_flush(vcpu);
}
#else
bool khv_nested_vmx_entry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa)
{
	struct khv_vp_assist assist = {};

	*evmcs_gpa = KHV_EVMPTR_NONE;
	if (!khv_assist_read(vcpu, &assist))
		memset(&assist, 0, sizeof(assist));
	read_evmcs_identity(vcpu, &assist);
	if (!has_evmcs(&assist))
		return false;
	*evmcs_gpa = assist.current_nested_vmcs;
	return true;
}

void khv_nested_call_seen(struct khv_vcpu *vp)
{
}

bool khv_nested_is_direct(struct khv_vcpu *vp)
{
	return vp->l2.direct;
}

static struct khv_l2 identity(const struct khv_vcpu *vp)
{
	return (struct khv_l2){
		.vm_id = READ_ONCE(vp->l2.vm_id),
		.vp_id = READ_ONCE(vp->l2.vp_id),
		.partition_assist_page = vp->l2.partition_assist_page,
	};
}

void khv_nested_synthetic_exit(struct kvm_vcpu *vcpu)
{
	struct vmcb_control_area *control;

	if (!khv_svm) {
		khv_nested_vmx_vmexit(vcpu, KHV_VMX_TRAP_AFTER_FLUSH, 0, 0);
		return;
	}
	control = &khv_vmcb(vcpu)->control;
	control->exit_code = KHV_SVM_SYNTHETIC_EXIT;
	control->exit_code_hi = 0;
	control->exit_info_1 = KHV_SVM_TRAP_AFTER_FLUSH;
	control->exit_info_2 = 0;
	khv_nested_svm_vmexit(vcpu);
}
#endif

void khv_nested_restored(struct khv_vcpu *vp)
{
	vp->l2.direct = false;
	/*
	 * On Intel an enlightened VMCS tells the identity at once, and an L2 with a plain VMCS has
	 * none.
	 */
	WRITE_ONCE(vp->l2.unknown, khv_svm);
	flush_l2(vp->stock.vcpu);
}

bool khv_nested_call_is_ours(const struct khv_vcpu *vp)
{
	struct kvm_vcpu *vcpu = vp->stock.vcpu;
	const unsigned long *regs = vcpu->arch.regs;
	u32 reason, intr_info, error_code;
	u64 info1, info2;
	int row;

	/* Leave KVM's own hypercalls, and Xen's, to KVM. */
	if (!vcpu->kvm->arch.hyperv.hv_guest_os_id ||
	    (vcpu->kvm->arch.xen_hvm_config.flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL))
		return false;
	row = khv_hc_find(regs[khv_longmode(vcpu) ? VCPU_REGS_RCX : VCPU_REGS_RAX] & KHV_CTL_CODE);
	if (row < 0 || !(khv_hcs[row].flags & KHV_L2))
		return false;
	khv_x86_ops->get_exit_info(vcpu, &reason, &info1, &info2, &intr_info, &error_code);
	return reason == (khv_svm ? SVM_EXIT_VMMCALL : EXIT_REASON_VMCALL);
}

/* Does L1 use second-level page tables for L2? If not, L2's memory is L1's. */
static bool own_tables(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.walk_mmu == &vcpu->arch.nested_mmu;
}

gpa_t khv_nested_gpa(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	if (!own_tables(vcpu))
		return gpa;
	return khv_translate_nested_gpa(vcpu, gpa, PFERR_GUEST_FINAL_MASK, NULL);
}

/*
 * Require the bits that the CPU would set during a walk: a walk that had to set them needs KVM's
 * walker.
 */
bool khv_nested_tables(struct kvm_vcpu *vcpu, struct khv_tables *t)
{
	struct kvm_mmu *mmu = vcpu->arch.mmu;

	if (!own_tables(vcpu))
		return false;
	t->below = NULL;
	t->levels = mmu->cpu_role.base.level;
	t->ept = !khv_svm;
	if (t->ept)
		t->need = VMX_EPT_READABLE_MASK |
			  (mmu->cpu_role.base.ad_disabled ? 0 : VMX_EPT_ACCESS_BIT);
	else
		t->need = _PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED;
	t->root = mmu->get_guest_pgd(vcpu);
	return true;
}

gpa_t khv_nested_gpa_nofault(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct khv_tables t;

	if (!khv_nested_tables(vcpu, &t))
		return gpa;
	kvm_vcpu_srcu_read_lock(vcpu);
	pagefault_disable();
	gpa = khv_walk_nofault(vcpu, &t, gpa);
	pagefault_enable();
	kvm_vcpu_srcu_read_unlock(vcpu);
	return gpa;
}

bool khv_nested_is_target(struct kvm_vcpu *caller, struct kvm_vcpu *vcpu,
			  const struct khv_vpset *set)
{
	struct khv_l2 of_caller = identity(to_khv_vcpu(caller)), l2;
	const struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	if (!vp)
		return false;
	if (READ_ONCE(vp->l2.unknown))
		return true;
	l2 = identity(vp);
	return l2.vm_id == of_caller.vm_id && khv_vpset_has(set, l2.vp_id);
}

bool khv_nested_tlb_locked(struct kvm_vcpu *vcpu, bool *locked)
{
	u64 gpa = identity(to_khv_vcpu(vcpu)).partition_assist_page;
	u32 count;

	if (khv_kvm_read_guest(vcpu->kvm, gpa, &count, sizeof(count)))
		return false;
	*locked = count;
	return true;
}

bool khv_nested_tlb_unlocked_nofault(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	u64 gpa = identity(vp).partition_assist_page, word;

	/* TlbLockCount is the lower half of the page's first 64-bit word. */
	return !(gpa % sizeof(word)) &&
	       khv_read_guest_nofault(vcpu, &vp->lock_page, gpa, &word, sizeof(word)) && !(u32)word;
}
