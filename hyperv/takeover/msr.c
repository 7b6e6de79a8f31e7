// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MSR driver: find the row, check the gate, read-only and reserved bits, count, call the
 * handler, trace. The handlers are in the parts' files.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include "khv/drivers.h"
#include "khv/handlers.h"
#include "khv/overlay.h"
#include "khv/state.h"
#include "khv/trace.h"

#define khv_msr_tsc_frequency_write  NULL
#define khv_msr_apic_frequency_write NULL
#define khv_msr_time_ref_count_write NULL

#define KHV_MSR(_name, _first, _ops, ...) \
	[KHV_MSR_ROW_##_name] = { khv_msr_##_ops##_read, khv_msr_##_ops##_write },
const struct khv_msr_ops khv_msr_ops[KHV_NR_MSR_ROWS] = {
#include "khv/msrs.def.h"
};
#undef KHV_MSR

/* Once per module load, so that a guest that probes MSRs cannot flood the log. */
static void report_unknown(u32 msr)
{
	pr_info_once("no row for MSR 0x%x; to add one: KHV_MSR(<NAME>, 0x%x, <ops>, .enl = ..., .need = { ... })\n",
		     msr, msr);
}

/* Fill in an access. Return: false for #GP. */
static bool open_access(struct khv_msr_access *a, struct kvm_vcpu *vcpu, u32 msr, bool host)
{
	if (!host && !vcpu->arch.hyperv_enabled)
		return false;
	if (khv_vcpu_create(vcpu))
		return false;

	a->vcpu = vcpu;
	a->vp = to_khv_vcpu(vcpu);
	a->vm = a->vp->vm;
	a->host = host;
	a->row = khv_msr_find(msr);
	if (a->row < 0) {
		report_unknown(msr);
		return false;
	}
	a->index = khv_msr_register(a->row, msr);
	return host || (a->vp->gate.msr & BIT_ULL(a->row));
}

static enum khv_msr_result read_row(struct khv_msr_access *a)
{
	if (!a->host)
		a->vp->counts.msr_read[a->row]++;
	return khv_msr_ops[a->row].read(a);
}

static enum khv_msr_result write_row(struct khv_msr_access *a)
{
	const struct khv_msr_row *row = &khv_msrs[a->row];
	enum khv_msr_result ret;

	if (!a->host)
		a->vp->counts.msr_write[a->row]++;
	if (!a->host && (row->flags & KHV_MSR_RO))
		return KHV_MSR_FAULT;
	if (a->data & row->reserved) {
		/* User space may restore what stock KVM let a guest set: drop the bits. */
		if (!a->host || !(row->flags & KHV_MSR_RESTORE_ANY))
			return KHV_MSR_FAULT;
		a->data &= ~row->reserved;
	}
	/*
	 * Accept and ignore a write by user space to a register without a write handler, for save
	 * and restore.
	 */
	if (!khv_msr_ops[a->row].write)
		return KHV_MSR_OK;
	ret = khv_msr_ops[a->row].write(a);
	if (ret == KHV_MSR_OK && (row->flags & KHV_MSR_OVERLAY))
		khv_hypercall_page_left(a->vcpu, a->was, a->data);
	return ret;
}

int khv_msr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *data, bool host)
{
	struct khv_msr_access a = { .data = 0 };
	enum khv_msr_result ret = KHV_MSR_FAULT;

	if (open_access(&a, vcpu, msr, host))
		ret = read_row(&a);
	trace_khv_msr(vcpu->vcpu_id, msr, a.data, false, host, ret);
	if (ret != KHV_MSR_OK)
		return 1;
	*data = a.data;
	return 0;
}

int khv_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host)
{
	struct khv_msr_access a = { .data = data };
	enum khv_msr_result ret = KHV_MSR_FAULT;

	if (open_access(&a, vcpu, msr, host))
		ret = write_row(&a);
	trace_khv_msr(vcpu->vcpu_id, msr, data, true, host, ret);
	return ret != KHV_MSR_OK;
}
