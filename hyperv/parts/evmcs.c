// SPDX-License-Identifier: GPL-2.0-only
/*
 * The enlightened VMCS: the VMX controls that an L1 may use with it, namely those whose fields it
 * has. kvm_intel handles everything else, from the state that this module keeps up to date. The
 * only state is the controls of the last nested VM-Entry. TLFS chapter "Nested Virtualization",
 * "Enlightened VMCS".
 */
#include <linux/kvm_host.h>
#include <asm/vmx.h>

#include "compat/evmcs.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/state.h"

/*
 * A row per group of VMX controls. @msr, @true_msr: the capability MSRs. @at: offset of the control
 * in struct vmcs12. @no_field: controls that are refused, because KVM does not copy their fields
 * between the enlightened VMCS and its own, or there are none. @later_field: controls whose fields
 * were added later; refused unless L1 knows these fields. @unoffered: likewise not offered, but
 * accepted, as on stock KVM: some versions of Windows do not boot if they are offered
 * PERF_GLOBAL_CTRL without CPUID 4000000AH:EBX[0], and some use it although it is not offered.
 */
static const struct control {
	u32 msr;
	u32 true_msr;
	u16 at;
	u32 no_field;
	u32 later_field;
	u32 unoffered;
} controls[] = {
	{ MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS, KHV_VMCS12_PIN_BASED,
	  PIN_BASED_VMX_PREEMPTION_TIMER | PIN_BASED_POSTED_INTR },
	{ MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS, KHV_VMCS12_PROC_BASED,
	  CPU_BASED_ACTIVATE_TERTIARY_CONTROLS },
	{ MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS, KHV_VMCS12_EXIT,
	  VM_EXIT_SAVE_VMX_PREEMPTION_TIMER | VM_EXIT_LOAD_CET_STATE, 0,
	  VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL },
	{ MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS, KHV_VMCS12_ENTRY,
	  VM_ENTRY_LOAD_CET_STATE, 0, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_PROCBASED_CTLS2, KHV_VMCS12_SECONDARY,
	  SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | SECONDARY_EXEC_APIC_REGISTER_VIRT |
		  SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY | SECONDARY_EXEC_PAUSE_LOOP_EXITING |
		  SECONDARY_EXEC_ENABLE_VMFUNC | SECONDARY_EXEC_SHADOW_VMCS |
		  SECONDARY_EXEC_ENABLE_PML,
	  SECONDARY_EXEC_TSC_SCALING },
};

/*
 * Does CPUID tell L1 of the later fields? Hyper-V 2016 and 2019, which do not know them, would
 * enable TSC scaling and leave its field 0.
 */
static bool knows_later_fields(const struct khv_vcpu *vp)
{
	static const struct khv_priv later = KHV_PRIV(NESTED_EBX, PERF_GLOBAL_CTRL);

	return vp && khv_priv_held(&vp->cpuid, later);
}

void khv_evmcs_filter_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data)
{
	u32 hidden;
	int i;

	if (msr == MSR_IA32_VMX_VMFUNC)
		*data = 0;
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		if (msr != controls[i].msr && msr != controls[i].true_msr)
			continue;
		hidden = controls[i].no_field;
		if (!knows_later_fields(to_khv_vcpu(vcpu)))
			hidden |= controls[i].later_field | controls[i].unoffered;
		/* The upper half of the MSR holds the allowed-1 settings. */
		*data &= ~((u64)hidden << 32);
	}
}

static u32 asked_for(const void *vmcs12, const struct control *c)
{
	return *(const u32 *)(vmcs12 + c->at);
}

/* Record the controls of this entry, for a KVM that does not notice that they have changed. */
static void note_controls(struct kvm_vcpu *vcpu, const void *vmcs12)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	bool changed = false;
	u32 asked;
	int i;

	static_assert(ARRAY_SIZE(controls) == ARRAY_SIZE(vp->vmx_controls));
	if (!khv_trusts_clean_msr_bitmap())
		return;
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		asked = asked_for(vmcs12, &controls[i]);
		changed |= vp->vmx_controls[i] != asked;
		vp->vmx_controls[i] = asked;
	}
	if (changed)
		khv_merge_msr_bitmaps(vcpu);
}

int khv_evmcs_check_controls(struct kvm_vcpu *vcpu, const void *vmcs12)
{
	u32 no_field = 0, later_field = 0;
	const struct control *c;

	/* Each enlightened VM-Entry passes here, and CONFIG_UBSAN_BOUNDS checks each index. */
	for (c = controls; c < controls + ARRAY_SIZE(controls); c++) {
		no_field |= asked_for(vmcs12, c) & c->no_field;
		later_field |= asked_for(vmcs12, c) & c->later_field;
	}
	if (no_field || (later_field && !knows_later_fields(to_khv_vcpu(vcpu))))
		return -EINVAL;
	if (*(const u64 *)(vmcs12 + KHV_VMCS12_VM_FUNCTION))
		return -EINVAL;
	if (to_khv_vcpu(vcpu)) {
		to_khv_vcpu(vcpu)->counts.evmcs_entries++;
		note_controls(vcpu, vmcs12);
	}
	return 0;
}
