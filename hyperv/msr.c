// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MSR driver: row, gate, read-only and reserved bits, count, handler, trace.
 * Handlers live with their part.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include "khv/hooks.h"
#include "khv/parts.h"
#include "khv/port.h"
#include "khv/trace.h"

struct khv_msr_ops {
	khv_msr_fn read;
	khv_msr_fn write;
};

#define khv_msr_tsc_frequency_write  NULL
#define khv_msr_apic_frequency_write NULL
#define khv_msr_time_ref_count_write NULL

#define KHV_MSR(_name, _first, _ops, ...) \
	[KHV_MSR_ROW_##_name] = { khv_msr_##_ops##_read, khv_msr_##_ops##_write },
static const struct khv_msr_ops msr_ops[KHV_NR_MSR_ROWS] = {
#include "khv/msrs.def.h"
};
#undef KHV_MSR

/* A guest that probes must not fill the log: one line for each load of the module. */
static void report_unknown(u32 msr)
{
	pr_info_once("no row for MSR 0x%x; to add one: KHV_MSR(<NAME>, 0x%x, <ops>, .enl = ..., .need = { ... })\n",
		     msr, msr);
}

/* Find the register in an access of which @row is set; false if the VP may not use it. */
static bool locate(struct khv_msr_access *a, u32 msr)
{
	const struct khv_msr_row *row = &khv_msrs[a->row];

	if (!a->host && !(a->vp->gate.msr & BIT_ULL(a->row)))
		return false;
	a->index = row->count == 1 ? 0 : (msr - row->first) / row->stride;
	return true;
}

/* Fill in an access; false means #GP. */
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
	return locate(a, msr);
}

static enum khv_msr_result read_row(struct khv_msr_access *a)
{
	if (!a->host)
		a->vp->counts.msr_read[a->row]++;
	khv_hit_ours(kvm_hv_get_msr_common);
	return msr_ops[a->row].read(a);
}

static enum khv_msr_result write_row(struct khv_msr_access *a)
{
	const struct khv_msr_row *row = &khv_msrs[a->row];

	if (!a->host)
		a->vp->counts.msr_write[a->row]++;
	khv_hit_ours(kvm_hv_set_msr_common);
	if (!a->host && (row->flags & KHV_MSR_RO))
		return KHV_MSR_FAULT;
	if (a->data & row->reserved)
		return KHV_MSR_FAULT;
	/* A value that nobody can set is accepted from user space, for save and restore. */
	if (!msr_ops[a->row].write)
		return KHV_MSR_OK;
	return msr_ops[a->row].write(a);
}

enum khv_fast_result khv_msr_fast_check(struct kvm_vcpu *vcpu, u32 msr, bool write)
{
	int row = khv_msr_find(msr);

	if (row < 0 || !(khv_msrs[row].flags & (write ? KHV_MSR_ATOMIC_WR : KHV_MSR_ATOMIC_RD)))
		return KHV_FAST_ROW;
	return vcpu->arch.hyperv_enabled ? KHV_FAST_DONE : KHV_FAST_REFUSED;
}

enum khv_fast_result khv_msr_fast(struct kvm_vcpu *vcpu, u32 msr, u64 *data, bool write)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	struct khv_msr_access a = {
		.vcpu = vcpu,
		.vp = vp,
		.vm = vp->vm,
		.row = khv_msr_find(msr),
		.data = *data,
		.atomic = true,
	};
	enum khv_msr_result ret;

	if (!locate(&a, msr) || (write && (a.data & khv_msrs[a.row].reserved)))
		return KHV_FAST_REFUSED;

	ret = write ? msr_ops[a.row].write(&a) : msr_ops[a.row].read(&a);
	if (ret != KHV_MSR_OK)
		return ret == KHV_MSR_SLOW ? KHV_FAST_BUSY : KHV_FAST_REFUSED;
	if (write) {
		vp->counts.msr_write[a.row]++;
		vp->counts.msr_write_fast[a.row]++;
	} else {
		vp->counts.msr_read[a.row]++;
		vp->counts.msr_read_fast[a.row]++;
		*data = a.data;
	}
	trace_khv_msr(vcpu->vcpu_id, msr, a.data, write, false, false);
	return KHV_FAST_DONE;
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
