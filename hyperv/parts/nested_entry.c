// SPDX-License-Identifier: GPL-2.0-only
/*
 * What L1 tells at a nested VM-Entry: the VP assist page, and the part of the enlightened VMCS or
 * VMCB that identifies the L2. The VP's thread writes identities; others read them without a lock.
 * TLFS chapter "Nested Virtualization".
 */
#include <linux/kvm_host.h>
#include <asm/svm.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"
#include "khv/tlbflush.h"

#include "nested.h"

static_assert(offsetof(struct hv_enlightened_vmcs, hv_clean_fields) == KHV_EVMCS_IDENTITY);
static_assert(offsetof(struct hv_enlightened_vmcs, hv_vp_id) ==
	      KHV_EVMCS_IDENTITY + offsetof(struct khv_evmcs_identity, vp_id));
static_assert(offsetof(struct hv_enlightened_vmcs, partition_assist_page) ==
	      KHV_EVMCS_IDENTITY + offsetof(struct khv_evmcs_identity, partition_assist_page));
static_assert(offsetof(struct vmcb_control_area, clean) == KHV_VMCB_CLEAN);
static_assert(offsetof(struct vmcb_control_area, reserved_sw) == KHV_VMCB_IDENTITY);

/* The module parameter "nested_features". */
u64 khv_nested_features;

bool khv_nested_read_assist(struct kvm_vcpu *vcpu, struct khv_vp_assist *assist)
{
	u64 reg = to_khv_vcpu(vcpu)->stock.hv_vapic;
	/*
	 * KVM's cache for PV EOI on this page. A guest can move PV EOI elsewhere, with a shorter
	 * length.
	 */
	struct gfn_to_hva_cache *cache = &vcpu->arch.pv_eoi.data;

	if (!(reg & KHV_VP_ASSIST_ENABLE))
		return false;
	/* A WRMSR that fails leaves a cache of this address without a page. */
	if (cache->gpa == (reg & KHV_PAGE_GPFN) && cache->len >= sizeof(*assist) &&
	    khv_read_cached(vcpu->kvm, cache, 0, assist, sizeof(*assist)))
		return true;
	return !khv_kvm_read_guest(vcpu->kvm, reg & KHV_PAGE_GPFN, assist, sizeof(*assist));
}

void khv_nested_assist_off(struct khv_vcpu *vp)
{
	khv_forget_assist_page(&vp->stock);
	vp->l2.direct = false;
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

struct gfn_to_hva_cache *khv_nested_evmcs(struct kvm_vcpu *vcpu, gpa_t evmcs)
{
	return l2_control(vcpu, (evmcs & PAGE_MASK) + KHV_EVMCS_IDENTITY,
			  sizeof(struct khv_evmcs_identity));
}

void khv_nested_read_evmcs_identity(struct kvm_vcpu *vcpu, const struct khv_vp_assist *assist)
{
	struct khv_evmcs_identity id;
	struct khv_l2 l2;

	if (!khv_nested_has_evmcs(assist) ||
	    !khv_nested_read_evmcs(vcpu, assist->current_nested_vmcs, &id, sizeof(id)))
		memset(&id, 0, sizeof(id));
	l2 = (struct khv_l2){
		.vm_id = id.vm_id,
		.vp_id = id.vp_id,
		.partition_assist_page = id.partition_assist_page,
		.direct = (id.control & KHV_NESTED_FLUSH_HYPERCALL) &&
			  khv_nested_direct_allowed(to_khv_vcpu(vcpu), assist),
	};
	set_identity(vcpu, &l2);
	khv_nested_count_bitmap(to_khv_vcpu(vcpu), &id);
}

struct gfn_to_hva_cache *khv_nested_vmcb12(struct kvm_vcpu *vcpu)
{
	gpa_t vmcb12 = khv_vmcb(vcpu)->save.rax & PAGE_MASK;

	if (khv_vmcb_address_by_mode() && !khv_longmode(vcpu))
		vmcb12 = (u32)vmcb12;
	return l2_control(vcpu, vmcb12 + KHV_VMCB_CLEAN,
			  KHV_VMCB_IDENTITY + sizeof(struct khv_vmcb_identity) - KHV_VMCB_CLEAN);
}

void khv_nested_count_vmcb_bitmap(struct kvm_vcpu *vcpu, u32 control)
{
	u32 clean;

	if ((control & KHV_NESTED_MSR_BITMAP) &&
	    khv_nested_read_vmcb12(vcpu, KHV_VMCB_CLEAN, &clean, sizeof(clean)) &&
	    (clean & KHV_VMCB_CLEAN_NESTED))
		to_khv_vcpu(vcpu)->counts.clean_msr_bitmaps++;
}

bool khv_nested_svm_entry(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_vp_assist assist;
	struct khv_vmcb_identity id;
	struct khv_l2 l2 = {};
	bool readable = khv_nested_read_assist(vcpu, &assist);
	bool direct = readable && khv_nested_direct_allowed(vp, &assist);

	/* As a KVM that implements direct flush: D36. */
	if (!readable && khv_nested_assist_page_read(vp)) {
		khv_kvm_queue_exception_e(vcpu, GP_VECTOR, 0);
		return false;
	}
	/* VMRUN itself reports all other faults of the VMCB or the page. */
	if ((direct || khv_nested_shows_bitmap(vp)) &&
	    khv_nested_read_vmcb12(vcpu, KHV_VMCB_IDENTITY, &id, sizeof(id))) {
		if (direct)
			l2 = (struct khv_l2){
				.vm_id = id.vm_id,
				.vp_id = id.vp_id,
				.partition_assist_page = id.partition_assist_page,
				.direct = id.control & KHV_NESTED_FLUSH_HYPERCALL,
			};
		khv_nested_count_vmcb_bitmap(vcpu, id.control);
	}
	set_identity(vcpu, &l2);
	return true;
}

void khv_nested_run_begin(struct khv_vcpu *vp)
{
	if (likely(!kvm_test_request(KVM_REQ_GET_NESTED_STATE_PAGES, vp->stock.vcpu)))
		return;
	vp->l2.direct = false;
	/*
	 * On Intel an enlightened VMCS tells the identity at once, and an L2 with a plain VMCS has
	 * none.
	 */
	WRITE_ONCE(vp->l2.unknown, khv_svm);
	flush_l2(vp->stock.vcpu);
}
