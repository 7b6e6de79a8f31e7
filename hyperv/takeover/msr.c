// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MSR driver: find the row, check the gate, read-only and reserved bits, count, call the
 * handler, trace. The handlers are in the parts' files, but those of registers that are plain words
 * are here.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "compat/tlfs.h"
#include "khv/drivers.h"
#include "khv/handlers.h"
#include "khv/identity.h"
#include "khv/state.h"
#include "khv/trace.h"
#include "khv/vm.h"

#define KHV_STRUCT_KVM struct kvm
#define KHV_STRUCT_VM  struct khv_vm
#define KHV_STRUCT_VP  struct khv_vcpu

/* Place and size of the word, or array of words, of each row that has one. */
#define AT(_type, _m) offsetof(_type, _m), sizeof_field(_type, _m)
#define KHV_NO_NAME(_name)
#define KHV_NO_WORD(_name)		     0, 0
#define KHV_STORED_VM(_name)		     AT(struct khv_vm, stored._name)
#define KHV_STORED_VP(_name)		     AT(struct khv_vcpu, stored._name)
/* The row's name follows as an argument. */
#define KHV_AT_HANDLERS(_x)		     KHV_NO_WORD
#define KHV_AT_READER(_x)		     KHV_NO_WORD
#define KHV_AT_STORED(_where)		     KHV_STORED_##_where
#define KHV_AT_STORED_ARRAY(_where, _n)	     KHV_STORED_##_where
#define KHV_AT_WRITER(_x, _where, _m)	     AT(KHV_STRUCT_##_where, _m) KHV_NO_NAME
#define KHV_MSR(_name, _first, _access, ...) [KHV_MSR_ROW_##_name] = { KHV_AT_##_access(_name) },
static const struct {
	u32 at;
	u32 size;
} words[KHV_NR_MSR_ROWS] = {
#include "khv/msrs.def.h"
};
#undef KHV_MSR

/* Reads of these registers are frequent: only an array pays for its index. */
static u64 *word(void *base, const struct khv_msr_access *a)
{
	return base + words[a->row].at;
}

static u64 *word_of_array(void *base, const struct khv_msr_access *a)
{
	return word(base, a) + array_index_nospec(a->index, khv_msrs[a->row].count);
}

#define KHV_WORD_OPS(_name, _word, _base)                                                 \
	static enum khv_msr_result __maybe_unused read_##_name(struct khv_msr_access *a)  \
	{                                                                                 \
		a->data = READ_ONCE(*(_word)(_base, a));                                  \
		return KHV_MSR_OK;                                                        \
	}                                                                                 \
	static enum khv_msr_result __maybe_unused write_##_name(struct khv_msr_access *a) \
	{                                                                                 \
		WRITE_ONCE(*(_word)(_base, a), a->data);                                  \
		return KHV_MSR_OK;                                                        \
	}
KHV_WORD_OPS(KVM, word, a->vcpu->kvm)
KHV_WORD_OPS(VM, word, a->vm)
KHV_WORD_OPS(VP, word, a->vp)
KHV_WORD_OPS(array_VM, word_of_array, a->vm)
KHV_WORD_OPS(array_VP, word_of_array, a->vp)

#define KHV_OPS(_r, _w)			     ((struct khv_msr_ops){ .read = (_r), .write = (_w) })
#define KHV_OPS_HANDLERS(_x)		     KHV_OPS(khv_msr_##_x##_read, khv_msr_##_x##_write)
#define KHV_OPS_READER(_x)		     KHV_OPS(khv_msr_##_x##_read, NULL)
#define KHV_OPS_STORED(_where)		     KHV_OPS(read_##_where, write_##_where)
#define KHV_OPS_STORED_ARRAY(_where, _n)     KHV_OPS(read_array_##_where, write_array_##_where)
#define KHV_OPS_WRITER(_x, _where, _member)  KHV_OPS(read_##_where, khv_msr_##_x##_write)
#define KHV_MSR(_name, _first, _access, ...) [KHV_MSR_ROW_##_name] = KHV_OPS_##_access,
const struct khv_msr_ops khv_msr_ops[KHV_NR_MSR_ROWS] = {
#include "khv/msrs.def.h"
};
#undef KHV_MSR

/* The numbers are the TLFS's, by the kernel's names for them. */
#define KHV_MSR(_name, _first, ...) enum { FIRST_##_name = (_first) };
#include "khv/msrs.def.h"
#undef KHV_MSR
static_assert(FIRST_GUEST_OS_ID == HV_X64_MSR_GUEST_OS_ID);
static_assert(FIRST_HYPERCALL == HV_X64_MSR_HYPERCALL);
static_assert(FIRST_VP_INDEX == HV_X64_MSR_VP_INDEX);
static_assert(FIRST_RESET == HV_X64_MSR_RESET);
static_assert(FIRST_VP_RUNTIME == HV_X64_MSR_VP_RUNTIME);
static_assert(FIRST_TIME_REF_COUNT == HV_X64_MSR_TIME_REF_COUNT);
static_assert(FIRST_REFERENCE_TSC == HV_X64_MSR_REFERENCE_TSC);
static_assert(FIRST_TSC_FREQUENCY == HV_X64_MSR_TSC_FREQUENCY);
static_assert(FIRST_APIC_FREQUENCY == HV_X64_MSR_APIC_FREQUENCY);
static_assert(FIRST_EOI == HV_X64_MSR_EOI);
static_assert(FIRST_ICR == HV_X64_MSR_ICR);
static_assert(FIRST_TPR == HV_X64_MSR_TPR);
static_assert(FIRST_VP_ASSIST_PAGE == HV_X64_MSR_VP_ASSIST_PAGE);
static_assert(FIRST_SCONTROL == HV_X64_MSR_SCONTROL);
static_assert(FIRST_SVERSION == HV_X64_MSR_SVERSION);
static_assert(FIRST_SIEFP == HV_X64_MSR_SIEFP);
static_assert(FIRST_SIMP == HV_X64_MSR_SIMP);
static_assert(FIRST_EOM == HV_X64_MSR_EOM);
static_assert(FIRST_SINT == HV_X64_MSR_SINT0);
static_assert(FIRST_STIMER_CONFIG == HV_X64_MSR_STIMER0_CONFIG);
static_assert(FIRST_STIMER_COUNT == HV_X64_MSR_STIMER0_COUNT);
static_assert(FIRST_CRASH_P == HV_X64_MSR_CRASH_P0);
static_assert(FIRST_CRASH_CTL == HV_X64_MSR_CRASH_CTL);
static_assert(FIRST_REENLIGHTENMENT_CONTROL == HV_X64_MSR_REENLIGHTENMENT_CONTROL);
static_assert(FIRST_TSC_EMULATION_CONTROL == HV_X64_MSR_TSC_EMULATION_CONTROL);
static_assert(FIRST_TSC_EMULATION_STATUS == HV_X64_MSR_TSC_EMULATION_STATUS);
static_assert(FIRST_TSC_INVARIANT_CONTROL == HV_X64_MSR_TSC_INVARIANT_CONTROL);

static bool write_is_plain(khv_msr_fn write)
{
	return write == write_VM || write == write_VP || write == write_array_VM ||
	       write == write_array_VP;
}

int khv_msr_check(const char **bad)
{
	int i;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		khv_msr_fn read = khv_msr_ops[i].read;
		bool array = read == read_array_VM || read == read_array_VP;
		bool many = khv_msrs[i].count > 1;

		*bad = khv_msrs[i].name;
		if (!words[i].size)
			continue;
		/* Each register must have a word of its own, within the member. */
		if (words[i].size != khv_msrs[i].count * sizeof(u64) || array != many)
			return -EINVAL;
		/* Nobody would set &khv_msr_access.was. */
		if ((khv_msrs[i].flags & KHV_MSR_OVERLAY) && write_is_plain(khv_msr_ops[i].write))
			return -EINVAL;
	}
	*bad = NULL;
	return 0;
}

/* Once per module load, so that a guest that probes MSRs cannot flood the log. */
static void report_unknown(u32 msr)
{
	pr_info_once("no row for MSR 0x%x: #GP; to add one: KHV_MSR(<NAME>, 0x%x, <access>, .enl = ..., .need = { ... })\n",
		     msr, msr);
}

/* Fill in an access. Return: false for #GP. */
static bool open_access(struct khv_msr_access *a, struct kvm_vcpu *vcpu, u32 msr, bool host)
{
	if (!host && !vcpu->arch.hyperv_enabled)
		return false;
	if (!to_khv_vcpu(vcpu) && khv_vcpu_create(vcpu))
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

static enum khv_msr_result write_overlay(struct khv_msr_access *a)
{
	enum khv_msr_result ret = khv_msr_ops[a->row].write(a);

	if (ret == KHV_MSR_OK)
		khv_hypercall_page_left(a->vcpu, a->was, a->data, a->host);
	return ret;
}

static enum khv_msr_result write_row(struct khv_msr_access *a)
{
	const struct khv_msr_row *row = &khv_msrs[a->row];

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
	 * and restore. No VMM saves one that stock KVM does not have.
	 */
	if (!khv_msr_ops[a->row].write)
		return row->flags & KHV_MSR_SHOWN ? KHV_MSR_FAULT : KHV_MSR_OK;
	if (row->flags & KHV_MSR_OVERLAY)
		return write_overlay(a);
	return khv_msr_ops[a->row].write(a);
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

int khv_msr_list_complete(struct kvm_msr_list __user *list, u32 room)
{
	u32 __user *to;
	u32 nr, total;
	int row, i;

	if (get_user(nr, &list->nmsrs))
		return -EFAULT;
	total = nr;
	for (row = 0; row < KHV_NR_MSR_ROWS; row++)
		total += khv_msr_is_listed(row) ? khv_msrs[row].count : 0;
	if (put_user(total, &list->nmsrs))
		return -EFAULT;
	/* Another thread may have changed what KVM has written there. */
	if (total < nr || room < total)
		return -E2BIG;
	to = list->indices + nr;
	for (row = 0; row < KHV_NR_MSR_ROWS; row++) {
		if (!khv_msr_is_listed(row))
			continue;
		for (i = 0; i < khv_msrs[row].count; i++) {
			if (put_user(khv_msrs[row].first + i * khv_msrs[row].stride, to++))
				return -EFAULT;
		}
	}
	return 0;
}
