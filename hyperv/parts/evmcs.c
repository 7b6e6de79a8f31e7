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
 * Controls without a field in the enlightened VMCS, and those whose fields KVM copies between it
 * and its own. KVM has the same list, EVMCS1_SUPPORTED_*, in no header that packages have:
 * contract-test compares the two. MODE_BASED_EPT_EXEC is in it since 7.2; no KVM before offers it.
 */
#define KNOWN_PIN_BASED                                                                          \
	(PIN_BASED_ALWAYSON_WITHOUT_TRUE_MSR | PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | \
	 PIN_BASED_VIRTUAL_NMIS)
#define KNOWN_PROC_BASED                                                                         \
	(CPU_BASED_ALWAYSON_WITHOUT_TRUE_MSR | CPU_BASED_INTR_WINDOW_EXITING |                   \
	 CPU_BASED_USE_TSC_OFFSETTING | CPU_BASED_HLT_EXITING | CPU_BASED_INVLPG_EXITING |       \
	 CPU_BASED_MWAIT_EXITING | CPU_BASED_RDPMC_EXITING | CPU_BASED_RDTSC_EXITING |           \
	 CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING | CPU_BASED_CR8_LOAD_EXITING | \
	 CPU_BASED_CR8_STORE_EXITING | CPU_BASED_TPR_SHADOW | CPU_BASED_NMI_WINDOW_EXITING |     \
	 CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING | CPU_BASED_USE_IO_BITMAPS |     \
	 CPU_BASED_MONITOR_TRAP_FLAG | CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_MONITOR_EXITING |   \
	 CPU_BASED_PAUSE_EXITING | CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
#define KNOWN_EXIT                                                                  \
	(VM_EXIT_ALWAYSON_WITHOUT_TRUE_MSR | VM_EXIT_SAVE_DEBUG_CONTROLS |          \
	 VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL |        \
	 VM_EXIT_ACK_INTR_ON_EXIT | VM_EXIT_SAVE_IA32_PAT | VM_EXIT_LOAD_IA32_PAT | \
	 VM_EXIT_SAVE_IA32_EFER | VM_EXIT_LOAD_IA32_EFER | VM_EXIT_CLEAR_BNDCFGS |  \
	 VM_EXIT_PT_CONCEAL_PIP)
#define KNOWN_ENTRY                                                                                \
	(VM_ENTRY_ALWAYSON_WITHOUT_TRUE_MSR | VM_ENTRY_LOAD_DEBUG_CONTROLS | VM_ENTRY_IA32E_MODE | \
	 VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL | VM_ENTRY_LOAD_IA32_PAT | VM_ENTRY_LOAD_IA32_EFER |  \
	 VM_ENTRY_LOAD_BNDCFGS | VM_ENTRY_PT_CONCEAL_PIP)
#define KNOWN_SECONDARY                                                                   \
	(SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_DESC | SECONDARY_EXEC_ENABLE_RDTSCP | \
	 SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | SECONDARY_EXEC_ENABLE_VPID |             \
	 SECONDARY_EXEC_WBINVD_EXITING | SECONDARY_EXEC_UNRESTRICTED_GUEST |              \
	 SECONDARY_EXEC_RDRAND_EXITING | SECONDARY_EXEC_ENABLE_INVPCID |                  \
	 SECONDARY_EXEC_ENCLS_EXITING | SECONDARY_EXEC_RDSEED_EXITING |                   \
	 SECONDARY_EXEC_PT_CONCEAL_VMX | SECONDARY_EXEC_ENABLE_XSAVES |                   \
	 SECONDARY_EXEC_MODE_BASED_EPT_EXEC | SECONDARY_EXEC_TSC_SCALING |                \
	 SECONDARY_EXEC_ENABLE_USR_WAIT_PAUSE | SECONDARY_EXEC_BUS_LOCK_DETECTION)

/*
 * Of CET's state the enlightened VMCS has fields, but KVM does not copy them. By number, because
 * older kernels do not have VM_EXIT_LOAD_CET_STATE and VM_ENTRY_LOAD_CET_STATE.
 */
static_assert(!(KNOWN_EXIT & BIT(28)));
static_assert(!(KNOWN_ENTRY & BIT(20)));

/*
 * A row per group of VMX controls. @msr, @true_msr: the capability MSRs. @at: offset of the control
 * in struct vmcs12. @known: see above. All others are refused, those that a later KVM offers
 * included: L1 could not set their fields. @later_field: controls whose fields were added later;
 * refused unless L1 knows these fields. @unoffered: likewise not offered, but accepted, as on stock
 * KVM: some versions of Windows do not boot if they are offered PERF_GLOBAL_CTRL without CPUID
 * 4000000AH:EBX[0], and some use it although it is not offered.
 */
static const struct control {
	u32 msr;
	u32 true_msr;
	u16 at;
	u32 known;
	u32 later_field;
	u32 unoffered;
} controls[] = {
	{ MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS, KHV_VMCS12_PIN_BASED,
	  KNOWN_PIN_BASED },
	{ MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS, KHV_VMCS12_PROC_BASED,
	  KNOWN_PROC_BASED },
	{ MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS, KHV_VMCS12_EXIT, KNOWN_EXIT, 0,
	  VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL },
	{ MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS, KHV_VMCS12_ENTRY, KNOWN_ENTRY, 0,
	  VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_PROCBASED_CTLS2, KHV_VMCS12_SECONDARY,
	  KNOWN_SECONDARY, SECONDARY_EXEC_TSC_SCALING },
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
		hidden = ~controls[i].known;
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
	u32 unknown = 0, later_field = 0;
	const struct control *c;

	/* Each enlightened VM-Entry passes here, and CONFIG_UBSAN_BOUNDS checks each index. */
	for (c = controls; c < controls + ARRAY_SIZE(controls); c++) {
		unknown |= asked_for(vmcs12, c) & ~c->known;
		later_field |= asked_for(vmcs12, c) & c->later_field;
	}
	if (unknown || (later_field && !knows_later_fields(to_khv_vcpu(vcpu))))
		return -EINVAL;
	if (*(const u64 *)(vmcs12 + KHV_VMCS12_VM_FUNCTION))
		return -EINVAL;
	if (to_khv_vcpu(vcpu)) {
		to_khv_vcpu(vcpu)->counts.evmcs_entries++;
		note_controls(vcpu, vmcs12);
	}
	return 0;
}
