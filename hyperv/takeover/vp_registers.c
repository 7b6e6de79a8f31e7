// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvCallGetVpRegisters and HvCallSetVpRegisters, of the calling VP only: routes the name of a
 * register to the MSR driver, to KVM's MSRs, to CPUID, or to the processor's registers. No state.
 * TLFS chapters "Virtual Processors" and "HV_REGISTER_NAME".
 */
#include <linux/kvm_host.h>
#include <linux/string.h>

#include "compat/calls.h"
#include "khv/drivers.h"
#include "khv/handlers.h"
#include "khv/hcall.h"
#include "khv/registers.h"
#include "khv/state.h"

/* Where a register is. */
enum place {
	/* An MSR of the tables; one that is not written here. */
	MSR,
	MSR_GET,
	/* An MSR of KVM's; likewise. */
	KVM_MSR,
	KVM_MSR_GET,
	LEAF,
	CONSTANT,
	GPR,
	RIP,
	RFLAGS,
	CR,
	SEGMENT,
	TABLE,
};

/* Names from @first on are numbers, with the same distance, from @number on. */
static const struct reg_range {
	u32 first;
	u16 count;
	u8 place;
	u32 number;
} ranges[] = {
	{ 0x00000100, 1, LEAF, KHV_CPUID_LEAF_VERSION },
	{ 0x00000200, 4, LEAF, KHV_CPUID_LEAF_FEATURES },
	{ 0x00000207, 2, LEAF, KHV_CPUID_LEAF_NESTED },
	{ 0x00000210, 5, MSR, HV_X64_MSR_CRASH_P0 },
	/* A write exits to user space. */
	{ 0x00000215, 1, MSR_GET, HV_X64_MSR_CRASH_CTL },
	{ 0x00000240, 2, MSR, HV_X64_MSR_TSC_FREQUENCY },
	{ 0x00020000, KHV_GPRS, GPR, 0 },
	{ 0x00020010, 1, RIP, 0 },
	{ 0x00020011, 1, RFLAGS, 0 },
	{ 0x00040000, 1, CR, 0 },
	{ 0x00040001, 3, CR, 2 },
	{ 0x00040004, 1, CR, 8 },
	{ 0x00060000, 6, SEGMENT, VCPU_SREG_ES },
	{ 0x00060006, 1, SEGMENT, VCPU_SREG_LDTR },
	{ 0x00060007, 1, SEGMENT, VCPU_SREG_TR },
	{ 0x00070000, 2, TABLE, 0 },
	{ 0x00080001, 1, KVM_MSR_GET, MSR_EFER },
	{ 0x00080004, 1, KVM_MSR, MSR_IA32_CR_PAT },
	{ 0x0008007b, 1, KVM_MSR, MSR_TSC_AUX },
	{ 0x00090000, 1, MSR, HV_X64_MSR_VP_RUNTIME },
	{ 0x00090001, 1, MSR, HV_X64_MSR_HYPERCALL },
	{ 0x00090002, 1, MSR, HV_X64_MSR_GUEST_OS_ID },
	{ 0x00090003, 1, MSR, HV_X64_MSR_VP_INDEX },
	{ 0x00090004, 1, MSR, HV_X64_MSR_TIME_REF_COUNT },
	/* Not EOI: it has no value, and a write may exit to an I/O APIC of user space. */
	{ 0x00090011, 3, MSR, HV_X64_MSR_ICR },
	{ 0x00090017, 1, MSR, HV_X64_MSR_REFERENCE_TSC },
	{ 0x000a0000, 16, MSR, HV_X64_MSR_SINT0 },
	/* A write exits to user space before the guest goes on: a second one would overwrite it. */
	{ 0x000a0010, 1, MSR_GET, HV_X64_MSR_SCONTROL },
	{ 0x000a0011, 3, MSR_GET, HV_X64_MSR_SVERSION },
	{ 0x000a0014, 1, MSR, HV_X64_MSR_EOM },
	{ 0x000b0000, 8, MSR, HV_X64_MSR_STIMER0_CONFIG },
	/* HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG and _COUNT */
	{ 0x000b0100, 2, MSR, 0x40000114 },
	/* VTL 0 is active, and the only one that is enabled. */
	{ 0x000d0003, 1, CONSTANT, BIT(16) },
	{ 0x000d0004, 1, CONSTANT, BIT(0) },
	{ 0x000d0007, 1, CONSTANT, 0 },
};

static_assert(HV_X64_MSR_APIC_FREQUENCY - HV_X64_MSR_TSC_FREQUENCY == 1);
static_assert(HV_X64_MSR_VP_ASSIST_PAGE - HV_X64_MSR_ICR == 2);
static_assert(HV_X64_MSR_SIMP - HV_X64_MSR_SVERSION == 2);
static_assert(HV_X64_MSR_STIMER3_COUNT - HV_X64_MSR_STIMER0_CONFIG == 7);
static_assert(VCPU_SREG_GS - VCPU_SREG_ES == 5);

/* Return: the range of a register that the guest names, with its number, or NULL. */
static const struct reg_range *find(u32 name, u32 *number)
{
	u32 i, index;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		index = name - ranges[i].first;
		if (index >= ranges[i].count)
			continue;
		*number = ranges[i].number + array_index_nospec(index, ranges[i].count);
		return &ranges[i];
	}
	return NULL;
}

static u16 check_vp(struct kvm_vcpu *vcpu, const struct khv_vp_registers_input *in, u16 other_vp)
{
	if (memchr_inv(in->rsvdz, 0, sizeof(in->rsvdz)))
		return HV_STATUS_INVALID_PARAMETER;
	if (in->partition_id != KHV_PARTITION_SELF)
		return HV_STATUS_ACCESS_DENIED;
	if (!khv_vp_is_self(to_khv_vcpu(vcpu)->stock.vp_index, in->vp_index))
		return other_vp;
	return khv_vtl_is_0(in->input_vtl) ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
}

/* May the guest access this MSR by the instruction? The MSR filter, and the gate of its row. */
static bool msr_allowed(struct kvm_vcpu *vcpu, u32 msr, u32 type)
{
	int row = khv_msr_find(msr);

	if (row >= 0 && !(to_khv_vcpu(vcpu)->gate.msr & BIT_ULL(row)))
		return false;
	if (row >= 0 && (khv_msrs[row].flags & KHV_MSR_SHOWN) && !khv_msr_is_shown(vcpu, msr))
		return false;
	return khv_kvm_msr_allowed(vcpu, msr, type);
}

static u16 get_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *value)
{
	int ret;

	if (!msr_allowed(vcpu, msr, KVM_MSR_FILTER_READ))
		return HV_STATUS_ACCESS_DENIED;
	if (khv_msr_find(msr) >= 0)
		ret = khv_msr_read(vcpu, msr, value, false);
	else
		ret = khv_guest_rdmsr(vcpu, msr, value);
	return ret ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
}

static void read_leaf(struct kvm_vcpu *vcpu, u32 leaf, struct khv_register_value *value)
{
	u32 reg[4] = { leaf };

	/* A leaf that does not exist reads 0, not as the last one that does. */
	khv_kvm_cpuid(vcpu, &reg[0], &reg[1], &reg[2], &reg[3], true);
	memcpy(value, reg, sizeof(reg));
}

static void read_segment(struct kvm_vcpu *vcpu, int seg, struct khv_register_value *value)
{
	struct kvm_segment s = khv_read_segment(vcpu, seg);
	struct khv_segment_register segment = {
		.base = s.base,
		.limit = s.limit,
		.selector = s.selector,
		.attributes = s.type | s.s << 4 | s.dpl << 5 | s.present << 7 | s.avl << 12 |
			      s.l << 13 | s.db << 14 | s.g << 15,
	};

	memcpy(value, &segment, sizeof(segment));
}

static void read_table(struct kvm_vcpu *vcpu, bool gdt, struct khv_register_value *value)
{
	struct desc_ptr dt = khv_read_table(vcpu, gdt);
	struct khv_table_register table = { .limit = dt.size, .base = dt.address };

	memcpy(value, &table, sizeof(table));
}

static u16 read_register(struct kvm_vcpu *vcpu, u32 name, struct khv_register_value *value)
{
	u32 number;
	const struct reg_range *range = find(name, &number);

	if (!range)
		return HV_STATUS_INVALID_PARAMETER;
	switch ((enum place)range->place) {
	case MSR:
	case MSR_GET:
	case KVM_MSR:
	case KVM_MSR_GET:
		return get_msr(vcpu, number, &value->low);
	case LEAF:
		read_leaf(vcpu, number, value);
		break;
	case CONSTANT:
		value->low = number;
		break;
	case GPR:
		value->low = khv_read_gpr(vcpu, number);
		break;
	case RIP:
		value->low = khv_read_rip(vcpu);
		break;
	case RFLAGS:
		value->low = khv_kvm_get_rflags(vcpu);
		break;
	case CR:
		value->low = khv_read_cr(vcpu, number);
		break;
	case SEGMENT:
		read_segment(vcpu, number, value);
		break;
	case TABLE:
		read_table(vcpu, number, value);
		break;
	}
	return HV_STATUS_SUCCESS;
}

u16 khv_hc_get_vp_registers(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_get_vp_registers_input *in = (const void *)hc->input;
	const u32 *name = khv_element(hc, in->names, sizeof(*name));
	struct khv_register_value value = {};
	u16 status;

	status = check_vp(vcpu, &in->vp, HV_STATUS_ACCESS_DENIED) ?:
			 read_register(vcpu, *name, &value);
	memcpy(hc->output, &value, sizeof(value));
	return status;
}

static u16 set_msr(struct kvm_vcpu *vcpu, u32 msr, u64 value)
{
	int row = khv_msr_find(msr), ret;

	if (row >= 0 && (khv_msrs[row].flags & KHV_MSR_RO))
		return HV_STATUS_INVALID_PARAMETER;
	if (!msr_allowed(vcpu, msr, KVM_MSR_FILTER_WRITE))
		return HV_STATUS_ACCESS_DENIED;
	if (row >= 0)
		ret = khv_msr_write(vcpu, msr, value, false);
	else
		ret = khv_guest_wrmsr(vcpu, msr, value);
	return ret ? KHV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_SUCCESS;
}

u16 khv_hc_set_vp_registers(struct kvm_vcpu *vcpu, struct khv_hcall *hc)
{
	const struct khv_set_vp_registers_input *in = (const void *)hc->input;
	const struct khv_register_assoc *reg = khv_element(hc, in->registers, sizeof(*reg));
	const struct reg_range *range;
	u16 status;
	u32 number;

	status = check_vp(vcpu, &in->vp, KHV_STATUS_INVALID_VP_INDEX);
	if (status)
		return status;
	range = find(reg->name, &number);
	if (!range || (range->place != MSR && range->place != KVM_MSR) || reg->rsvdz || reg->rsvdz2)
		return HV_STATUS_INVALID_PARAMETER;
	if (reg->value.high)
		return KHV_STATUS_INVALID_REGISTER_VALUE;
	return set_msr(vcpu, number, reg->value.low);
}
