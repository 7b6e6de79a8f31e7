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
#include "khv/identity.h"
#include "khv/overlay.h"
#include "khv/port.h"
#include "khv/reftime.h"
#include "khv/state.h"

#define INSN_RET	0xc3
#define INSN_INT3	0xcc
#define INSN_VMCALL_LEN 3

/*
 * Does Locked forbid this write? It binds the guest only and, under enforcement of CPUID, only if
 * CPUID shows the bit.
 */
static bool page_locked(const struct khv_msr_access *a, const struct kvm_hv *hv)
{
	return !a->host && a->vp->gate.lock && (hv->hv_hypercall & KHV_HYPERCALL_LOCKED);
}

static void fill_page(struct kvm_vcpu *vcpu, u8 *page)
{
	/*
	 * or $0x80000000, %eax: distinguishes a Hyper-V hypercall from a Xen one if both are
	 * enabled.
	 */
	static const u8 not_xen[] = { 0x0d, 0x00, 0x00, 0x00, 0x80 };
	u8 *p = page;

	memset(page, INSN_INT3, PAGE_SIZE);
	if (khv_xen_hypercalls(vcpu->kvm)) {
		memcpy(p, not_xen, sizeof(not_xen));
		p += sizeof(not_xen);
	}
	khv_x86_ops->patch_hypercall(vcpu, p);
	p[INSN_VMCALL_LEN] = INSN_RET;
}

void khv_identity_vm_uninit(struct khv_vm *vm)
{
	khv_overlay_free(&vm->hypercall_page);
}

static void hide_page(struct khv_msr_access *a)
{
	struct khv_overlay *o = &a->vm->hypercall_page;
	bool covers, restored;
	gpa_t gpa = o->gpa;
	u32 tsc_bytes;

	if (!o->mapped)
		return;
	covers = khv_reftime_covers(a->vcpu, gpa, &tsc_bytes);
	/* The reference TSC page lies over it, and stays as it is. */
	if (tsc_bytes) {
		khv_overlay_unmap(a->vcpu->kvm, o, !a->host, tsc_bytes);
		return;
	}
	if (covers)
		khv_overlay_show(a->vcpu->kvm, o);
	restored = khv_overlay_unmap(a->vcpu->kvm, o, !a->host, 0);
	khv_reftime_uncover(a->vcpu, gpa, restored && !covers);
}

/*
 * Write the page's code at every write of the register, even if the page was enabled before: the
 * guest may have rebooted, or user space may have replaced its memory.
 */
static enum khv_msr_result show_page(struct khv_msr_access *a, gpa_t gpa)
{
	struct khv_overlay *o = &a->vm->hypercall_page, moved = {};
	bool stays = o->mapped && o->gpa == gpa, covered;
	u32 tsc_bytes = 0;
	u8 *page;
	int ret;

	page = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!page)
		return KHV_MSR_FAULT;
	fill_page(a->vcpu, page);
	/*
	 * User space writes the register while it restores memory: the RAM's contents are then not
	 * what the page hides.
	 */
	covered = stays && khv_reftime_covers(a->vcpu, gpa, &tsc_bytes);
	ret = khv_overlay_map(a->vcpu->kvm, stays ? o : &moved, gpa, page, !a->host, covered,
			      tsc_bytes);
	kfree(page);
	if (ret)
		return KHV_MSR_FAULT;
	if (!stays) {
		hide_page(a);
		*o = moved;
	}
	khv_reftime_cover(a->vcpu, gpa);
	return KHV_MSR_OK;
}

void khv_hypercall_page_left(struct kvm_vcpu *vcpu, u64 was, u64 is)
{
	struct khv_overlay *o = &to_khv_vm(vcpu->kvm)->hypercall_page;
	struct mutex *lock = &vcpu->kvm->arch.hyperv.hv_lock;

	if (!(was & KHV_PAGE_ENABLE) || !((was ^ is) & (KHV_PAGE_GPFN | KHV_PAGE_ENABLE)))
		return;
	mutex_lock(lock);
	if (o->mapped && o->gpa == (was & KHV_PAGE_GPFN))
		khv_overlay_show(vcpu->kvm, o);
	/*
	 * Show the reference TSC page again if it lies there and the hypercall page does not cover
	 * it.
	 */
	if (!to_khv_vm(vcpu->kvm)->refclock.covered)
		khv_reftime_uncover(vcpu, was & KHV_PAGE_GPFN, true);
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
	/* A guest cannot enable the page before it sets its OS identity. */
	if (!hv->hv_guest_os_id)
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
