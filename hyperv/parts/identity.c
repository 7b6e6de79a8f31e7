// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_GUEST_OS_ID and HV_X64_MSR_HYPERCALL: the guest's identity, and the hypercall page.
 * Both values are kept in the stock struct kvm_hv, because inline functions of KVM read them; its
 * hv_lock protects them. TLFS chapter "Establishing the Hypercall Interface".
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "compat/kvm.h"
#include "khv/handlers.h"
#include "khv/hypercall_code.h"
#include "khv/identity.h"
#include "khv/overlay.h"
#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"

/*
 * Does Locked forbid this write? It binds the guest only and, under enforcement of CPUID, only if
 * CPUID shows the bit.
 */
static bool page_locked(const struct khv_msr_access *a, const struct kvm_hv *hv)
{
	return !a->host && a->vp->gate.lock && (hv->hv_hypercall & KHV_HYPERCALL_LOCKED);
}

void khv_identity_vm_uninit(struct khv_vm *vm)
{
	khv_overlay_free(&vm->hypercall_page);
}

static void hide_page(struct khv_msr_access *a)
{
	struct khv_overlay *o = &a->vm->hypercall_page;
	struct kvm_vcpu *vcpu = a->vcpu;
	gpa_t gpa = o->gpa;
	bool uncovers;
	u32 skip, from;

	if (!o->mapped)
		return;
	uncovers = khv_reftime_covered(vcpu, gpa);
	skip = khv_reftime_room(vcpu, gpa);
	if (uncovers)
		khv_reftime_renew_begin(vcpu, gpa, a->host);
	from = khv_reftime_bytes(vcpu, gpa);
	khv_overlay_unmap(vcpu->kvm, o, !a->host, max(skip, from), from);
	if (uncovers)
		khv_reftime_renew_end(vcpu, gpa, a->host);
}

/*
 * Write the page's code at every write of the register, even if the page was enabled before: the
 * guest may have rebooted, or user space may have replaced its memory.
 */
static enum khv_msr_result show_page(struct khv_msr_access *a, gpa_t gpa)
{
	struct khv_overlay *o = &a->vm->hypercall_page, moved = {};
	bool stays = o->mapped && o->gpa == gpa;
	struct kvm_vcpu *vcpu = a->vcpu;
	u8 *page;
	int ret;

	page = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!page)
		return KHV_MSR_FAULT;
	khv_hypercall_code(vcpu, page, PAGE_SIZE);
	/*
	 * User space writes the register while it restores memory: the RAM's contents are then not
	 * what the page hides.
	 */
	ret = khv_overlay_map(vcpu->kvm, stays ? o : &moved, gpa, page, !a->host,
			      khv_reftime_room(vcpu, gpa));
	kfree(page);
	if (ret)
		return KHV_MSR_FAULT;
	if (!stays) {
		hide_page(a);
		*o = moved;
	}
	khv_reftime_cover(vcpu, gpa);
	return KHV_MSR_OK;
}

void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is, bool host)
{
	struct khv_overlay *o = &to_khv_vm(vcpu->kvm)->hypercall_page;
	struct mutex *lock = &vcpu->kvm->arch.hyperv.hv_lock;
	gpa_t gpa = was & KHV_PAGE_GPFN;
	bool on_top;

	if (!(was & KHV_PAGE_ENABLE) || !((was ^ is) & (KHV_PAGE_GPFN | KHV_PAGE_ENABLE)))
		return;
	mutex_lock(lock);
	on_top = !khv_reftime_covered(vcpu, gpa);
	if (on_top)
		khv_reftime_renew_begin(vcpu, gpa, host);
	if (!host && o->mapped && o->gpa == gpa)
		khv_overlay_show(vcpu->kvm, o, khv_reftime_bytes(vcpu, gpa));
	if (on_top)
		khv_reftime_renew_end(vcpu, gpa, host);
	mutex_unlock(lock);
}

enum khv_msr_result khv_msr_guest_os_id_write(struct khv_msr_access *a)
{
	struct kvm_hv *hv = &a->vcpu->kvm->arch.hyperv;

	mutex_lock(&hv->hv_lock);
	hv->hv_guest_os_id = a->data;
	if (!a->data && !page_locked(a, hv)) {
		hv->hv_hypercall &= ~KHV_HYPERCALL_ENABLE;
		hide_page(a);
	}
	mutex_unlock(&hv->hv_lock);
	return KHV_MSR_OK;
}

enum khv_msr_result khv_msr_hypercall_write(struct khv_msr_access *a)
{
	struct kvm_hv *hv = &a->vcpu->kvm->arch.hyperv;
	enum khv_msr_result ret = KHV_MSR_OK;

	mutex_lock(&hv->hv_lock);
	if (page_locked(a, hv)) {
		ret = KHV_MSR_FAULT;
		goto out;
	}
	/*
	 * A guest cannot enable the page before it sets its OS identity. It may have cleared that
	 * later, below a page that it has locked, which user space restores.
	 */
	if (!hv->hv_guest_os_id && !(a->host && (a->data & KHV_HYPERCALL_LOCKED)))
		a->data &= ~KHV_HYPERCALL_ENABLE;

	if (a->data & KHV_HYPERCALL_ENABLE)
		ret = show_page(a, a->data & KHV_PAGE_GPFN);
	else
		hide_page(a);
	if (ret == KHV_MSR_OK)
		hv->hv_hypercall = a->data;
out:
	mutex_unlock(&hv->hv_lock);
	return ret;
}
