// SPDX-License-Identifier: GPL-2.0-only
/*
 * The replacements. Each asks whether the VM is ours and, if not, jumps to the
 * original. That jump leaves no frame of this module on the stack, so that rmmod
 * need not wait for VMs of KVM's own (selftests/rig/check proves the jumps).
 * In a VM of ours a frame may stay: the VM holds a reference on the module.
 * Creation and destruction of a VM are the exception, and stand under khv_inflight;
 * the system ioctl is the other, and takes a reference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/srcu.h>
#include <asm/vmx.h>

#include "khv/hooks.h"
#include "khv/parts.h"
#include "khv/port.h"
#include "khv/takeover.h"

DEFINE_STATIC_SRCU(khv_inflight);

/* Whether new VMs become ours; the module parameter of that name. */
bool khv_takeover = true;

/* All hooks stand. Until then, and from the start of their removal, no VM becomes ours. */
bool khv_hooked;

void khv_takeover_drain(void)
{
	/*
	 * Removing a hook waited for tasks on the way in (RCU-tasks, in ftrace), so
	 * whoever is inside by now is inside the read section ...
	 */
	synchronize_srcu(&khv_inflight);
	/* ... but for the last instructions of a replacement, behind it. */
	synchronize_rcu_tasks();
}

static __always_inline bool ours(struct kvm_vcpu *vcpu)
{
	return to_khv_vm(vcpu->kvm);
}

void khv_hook_kvm_hv_init_vm(struct kvm *kvm)
{
	int idx = srcu_read_lock(&khv_inflight);
	int ret;

	khv_orig_kvm_hv_init_vm(kvm);
	if (READ_ONCE(khv_takeover) && READ_ONCE(khv_hooked)) {
		khv_hit_ours(kvm_hv_init_vm);
		ret = khv_vm_create(kvm);
		if (ret == -ENOMEM)
			pr_warn_ratelimited("out of memory: a new VM stays with KVM\n");
	} else {
		khv_hit_passed(kvm_hv_init_vm);
	}
	srcu_read_unlock(&khv_inflight, idx);
}

void khv_hook_kvm_hv_destroy_vm(struct kvm *kvm)
{
	int idx = srcu_read_lock(&khv_inflight);

	khv_orig_kvm_hv_destroy_vm(kvm);
	if (to_khv_vm(kvm)) {
		khv_hit_ours(kvm_hv_destroy_vm);
		khv_vm_destroy(kvm);
	} else {
		khv_hit_passed(kvm_hv_destroy_vm);
	}
	srcu_read_unlock(&khv_inflight, idx);
}

/*
 * KVM gives a vCPU its Hyper-V state when user space shows it Hyper-V's CPUID, and asks
 * again at every access to a register. Ours is there before, so that a hook on what is
 * asked so often is not needed: see porting.rst.
 */
int khv_hook_kvm_vcpu_ioctl_set_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid *cpuid,
				      struct kvm_cpuid_entry __user *entries)
{
	int ret;

	if (!ours(vcpu)) {
		khv_hit_passed(kvm_vcpu_ioctl_set_cpuid);
		return khv_orig_kvm_vcpu_ioctl_set_cpuid(vcpu, cpuid, entries);
	}
	khv_hit_ours(kvm_vcpu_ioctl_set_cpuid);
	ret = khv_vcpu_create(vcpu);
	return ret ? ret : khv_orig_kvm_vcpu_ioctl_set_cpuid(vcpu, cpuid, entries);
}

int khv_hook_kvm_vcpu_ioctl_set_cpuid2(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
				       struct kvm_cpuid_entry2 __user *entries)
{
	int ret;

	if (!ours(vcpu)) {
		khv_hit_passed(kvm_vcpu_ioctl_set_cpuid2);
		return khv_orig_kvm_vcpu_ioctl_set_cpuid2(vcpu, cpuid, entries);
	}
	khv_hit_ours(kvm_vcpu_ioctl_set_cpuid2);
	ret = khv_vcpu_create(vcpu);
	return ret ? ret : khv_orig_kvm_vcpu_ioctl_set_cpuid2(vcpu, cpuid, entries);
}

void khv_hook_kvm_hv_vcpu_uninit(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_vcpu_uninit);
		return khv_orig_kvm_hv_vcpu_uninit(vcpu);
	}
	khv_hit_ours(kvm_hv_vcpu_uninit);
	khv_vcpu_destroy(vcpu);
}

static noinline void set_cpuid(struct kvm_vcpu *vcpu, bool hyperv_enabled)
{
	/* The stock cache stays truthful: inline code reads it. */
	khv_orig_kvm_hv_set_cpuid(vcpu, hyperv_enabled);
	khv_cpuid_update(vcpu);
}

void khv_hook_kvm_hv_set_cpuid(struct kvm_vcpu *vcpu, bool hyperv_enabled)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_set_cpuid);
		return khv_orig_kvm_hv_set_cpuid(vcpu, hyperv_enabled);
	}
	khv_hit_ours(kvm_hv_set_cpuid);
	set_cpuid(vcpu, hyperv_enabled);
}

static int set_enforce_cpuid(struct kvm_vcpu *vcpu, bool enforce)
{
	int ret = khv_vcpu_create(vcpu);

	if (ret)
		return ret;
	to_khv_vcpu(vcpu)->stock.enforce_cpuid = enforce;
	khv_cpuid_update(vcpu);
	return 0;
}

int khv_hook_kvm_hv_set_enforce_cpuid(struct kvm_vcpu *vcpu, bool enforce)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_set_enforce_cpuid);
		return khv_orig_kvm_hv_set_enforce_cpuid(vcpu, enforce);
	}
	khv_hit_ours(kvm_hv_set_enforce_cpuid);
	return set_enforce_cpuid(vcpu, enforce);
}

/* Without a vCPU it is the system ioctl: it tells what the next VM may have. */
int khv_hook_kvm_get_hv_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			      struct kvm_cpuid_entry2 __user *entries)
{
	bool takes = vcpu ? ours(vcpu) : READ_ONCE(khv_takeover);
	int ret;

	/*
	 * It sleeps in copy_to_user() for as long as user space likes, with no VM
	 * holding the module: rmmod must be refused meanwhile, not wait.
	 */
	if (!takes || !try_module_get(THIS_MODULE)) {
		khv_hit_passed(kvm_get_hv_cpuid);
		return khv_orig_kvm_get_hv_cpuid(vcpu, cpuid, entries);
	}
	khv_hit_ours(kvm_get_hv_cpuid);
	ret = khv_supported_cpuid(vcpu, cpuid, entries);
	module_put(THIS_MODULE);
	return ret;
}

int khv_hook_kvm_hv_get_msr_common(struct kvm_vcpu *vcpu, u32 msr, u64 *pdata, bool host)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_get_msr_common);
		return khv_orig_kvm_hv_get_msr_common(vcpu, msr, pdata, host);
	}
	return khv_msr_read(vcpu, msr, pdata, host);
}

int khv_hook_kvm_hv_set_msr_common(struct kvm_vcpu *vcpu, u32 msr, u64 data, bool host)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_set_msr_common);
		return khv_orig_kvm_hv_set_msr_common(vcpu, msr, data, host);
	}
	return khv_msr_write(vcpu, msr, data, host);
}

int khv_hook_kvm_hv_hypercall(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_hypercall);
		return khv_orig_kvm_hv_hypercall(vcpu);
	}
	return khv_hypercall(vcpu);
}

void khv_hook_kvm_hv_process_stimers(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_process_stimers);
		return khv_orig_kvm_hv_process_stimers(vcpu);
	}
	khv_hit_ours(kvm_hv_process_stimers);
	khv_tlbflush_process(vcpu);
	khv_stimers_process(vcpu);
}

int khv_hook_kvm_hv_activate_synic(struct kvm_vcpu *vcpu, bool dont_zero_synic_pages)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_activate_synic);
		return khv_orig_kvm_hv_activate_synic(vcpu, dont_zero_synic_pages);
	}
	khv_hit_ours(kvm_hv_activate_synic);
	return khv_synic_activate(vcpu, dont_zero_synic_pages);
}

int khv_hook_kvm_hv_synic_set_irq(struct kvm *kvm, u32 vp_id, u32 sint)
{
	if (!to_khv_vm(kvm)) {
		khv_hit_passed(kvm_hv_synic_set_irq);
		return khv_orig_kvm_hv_synic_set_irq(kvm, vp_id, sint);
	}
	khv_hit_ours(kvm_hv_synic_set_irq);
	return khv_synic_set_irq(kvm, vp_id, sint);
}

void khv_hook_kvm_hv_synic_send_eoi(struct kvm_vcpu *vcpu, int vector)
{
	if (!ours(vcpu)) {
		khv_hit_passed(kvm_hv_synic_send_eoi);
		return khv_orig_kvm_hv_synic_send_eoi(vcpu, vector);
	}
	khv_hit_ours(kvm_hv_synic_send_eoi);
	khv_synic_eoi(vcpu, vector);
}

void khv_hook_kvm_hv_irq_routing_update(struct kvm *kvm)
{
	if (!to_khv_vm(kvm)) {
		khv_hit_passed(kvm_hv_irq_routing_update);
		return khv_orig_kvm_hv_irq_routing_update(kvm);
	}
	khv_hit_ours(kvm_hv_irq_routing_update);
	khv_synic_routing_update(kvm);
}

/*
 * Enabling a local APIC, by whatever register or ioctl, asks KVM to look for async page
 * faults that could not be signalled before. The same is true of timers.
 */
void khv_hook_kvm_check_async_pf_completion(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu)) {
		khv_hit_passed(kvm_check_async_pf_completion);
		return khv_orig_kvm_check_async_pf_completion(vcpu);
	}
	khv_hit_ours(kvm_check_async_pf_completion);
	khv_synic_apic_changed(to_khv_vcpu(vcpu));
	return khv_orig_kvm_check_async_pf_completion(vcpu);
}

/* KVM passes the clock inside its vCPU. */
void khv_hook_kvm_hv_setup_tsc_page(struct kvm *kvm, struct pvclock_vcpu_time_info *hv_clock)
{
	if (!to_khv_vm(kvm)) {
		khv_hit_passed(kvm_hv_setup_tsc_page);
		return khv_orig_kvm_hv_setup_tsc_page(kvm, hv_clock);
	}
	khv_hit_ours(kvm_hv_setup_tsc_page);
	khv_reftime_update(container_of(hv_clock, struct kvm_vcpu, arch.hv_clock));
}

void khv_hook_kvm_hv_request_tsc_page_update(struct kvm *kvm)
{
	if (!to_khv_vm(kvm)) {
		khv_hit_passed(kvm_hv_request_tsc_page_update);
		return khv_orig_kvm_hv_request_tsc_page_update(kvm);
	}
	khv_hit_ours(kvm_hv_request_tsc_page_update);
	khv_reftime_stale(kvm);
}

int khv_hook_kvm_vm_ioctl_hv_eventfd(struct kvm *kvm, struct kvm_hyperv_eventfd *args)
{
	if (!to_khv_vm(kvm)) {
		khv_hit_passed(kvm_vm_ioctl_hv_eventfd);
		return khv_orig_kvm_vm_ioctl_hv_eventfd(kvm, args);
	}
	khv_hit_ours(kvm_vm_ioctl_hv_eventfd);
	return khv_connection_eventfd(kvm, args);
}

int khv_hook_kvm_arch_vcpu_ioctl_run(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu) || !vcpu->arch.hyperv_enabled) {
		khv_hit_passed(kvm_arch_vcpu_ioctl_run);
		return khv_orig_kvm_arch_vcpu_ioctl_run(vcpu);
	}
	khv_hit_ours(kvm_arch_vcpu_ioctl_run);
	return khv_run(vcpu);
}

static bool unrouted(struct kvm_vcpu *vcpu, u32 msr)
{
	int row = khv_msr_find(msr);

	return row >= 0 && (khv_msrs[row].flags & KHV_MSR_UNROUTED) && ours(vcpu);
}

int khv_hook_kvm_get_msr_common(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!unrouted(vcpu, msr->index)) {
		khv_hit_passed(kvm_get_msr_common);
		return khv_orig_kvm_get_msr_common(vcpu, msr);
	}
	khv_hit_ours(kvm_get_msr_common);
	return khv_msr_read(vcpu, msr->index, &msr->data, msr->host_initiated);
}

int khv_hook_kvm_set_msr_common(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!unrouted(vcpu, msr->index)) {
		khv_hit_passed(kvm_set_msr_common);
		return khv_orig_kvm_set_msr_common(vcpu, msr);
	}
	khv_hit_ours(kvm_set_msr_common);
	return khv_msr_write(vcpu, msr->index, msr->data, msr->host_initiated);
}

#define CPUID_LEAF_APM		0x80000007
#define CPUID_APM_INVARIANT_TSC BIT(8)

/* What a guest is shown that depends on this module. */
static noinline bool guest_cpuid(struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx,
				 bool exact)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	u32 leaf = *eax;
	bool found = khv_orig_kvm_cpuid(vcpu, eax, ebx, ecx, edx, exact);

	/* A leaf that is not there is answered from another one. */
	if (!found || !vp || !vcpu->arch.hyperv_enabled)
		return found;
	if (leaf == CPUID_LEAF_APM) {
		if (khv_tsc_invariant_hidden(vp))
			*edx &= ~CPUID_APM_INVARIANT_TSC;
	} else if (*eax) {
		/* Only where user space shows the leaf at all. */
		*eax = vp->cpuid.reg[KHV_CPUID_NESTED_EAX];
		*ebx = vp->cpuid.reg[KHV_CPUID_NESTED_EBX];
	}
	return found;
}

static bool shown_by_us(u32 leaf)
{
	return leaf == CPUID_LEAF_APM || leaf == KHV_CPUID_LEAF_NESTED;
}

bool khv_hook_kvm_cpuid(struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx,
			bool exact_only)
{
	if (!shown_by_us(*eax) || !ours(vcpu)) {
		khv_hit_passed(kvm_cpuid);
		return khv_orig_kvm_cpuid(vcpu, eax, ebx, ecx, edx, exact_only);
	}
	khv_hit_ours(kvm_cpuid);
	return guest_cpuid(vcpu, eax, ebx, ecx, edx, exact_only);
}

/* Exits of an L2: not for its hypervisor, so that KVM's own handler runs. */
#define NESTED_EXIT_HOST 0

static bool ours_in_l2(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);

	return ours(vcpu) && vp && vp->l2.direct && khv_nested_call_is_ours(vp);
}

bool khv_hook_nested_vmx_reflect_vmexit(struct kvm_vcpu *vcpu)
{
	if (!ours_in_l2(vcpu)) {
		khv_hit_passed(nested_vmx_reflect_vmexit);
		return khv_orig_nested_vmx_reflect_vmexit(vcpu);
	}
	khv_hit_ours(nested_vmx_reflect_vmexit);
	/* KVM's handler of the exit comes to khv_hook_kvm_hv_hypercall(). */
	return false;
}

int khv_hook_nested_svm_exit_special(struct kvm_vcpu *vcpu)
{
	if (!ours_in_l2(vcpu)) {
		khv_hit_passed(nested_svm_exit_special);
		return khv_orig_nested_svm_exit_special(vcpu);
	}
	khv_hit_ours(nested_svm_exit_special);
	/* The handler comes to khv_hook_kvm_hv_hypercall(), or to what follows. */
	return NESTED_EXIT_HOST;
}

/* Where KVM's handler has this name, it answers #UD to any call of an L2 but the flushes. */
int khv_hook_vmmcall_interception(struct kvm_vcpu *vcpu)
{
	if (!khv_in_l2(vcpu) || !ours_in_l2(vcpu)) {
		khv_hit_passed(vmmcall_interception);
		return khv_orig_vmmcall_interception(vcpu);
	}
	khv_hit_ours(vmmcall_interception);
	return khv_hypercall(vcpu);
}

/*
 * Under APICv KVM asks for an exit at the end of each SINT's interrupt, and then tells the SynIC
 * nothing (K9). Here there is one only where somebody waits, who is told. KVM loads nothing while
 * APICv is inhibited, and does not ask again when that ends: the VMCS is written here.
 */
static noinline void load_eoi_exits(struct kvm_vcpu *vcpu)
{
	DECLARE_BITMAP(vectors, 256);
	int i;

	if (!*khv_enable_apicv)
		return;
	bitmap_copy(vectors, vcpu->arch.ioapic_handled_vectors, 256);
	if (to_khv_vcpu(vcpu))
		khv_synic_awaited(to_khv_vcpu(vcpu), vectors);
	/* Each field is 64 bits wide; the next one's number is 2 higher. */
	for (i = 0; i < BITS_TO_LONGS(256); i++)
		khv_vmwrite(EOI_EXIT_BITMAP0 + 2 * i, vectors[i]);
}

void khv_hook_vmx_load_eoi_exitmap(struct kvm_vcpu *vcpu, u64 *eoi_exit_bitmap)
{
	if (!ours(vcpu)) {
		khv_hit_passed(vmx_load_eoi_exitmap);
		return khv_orig_vmx_load_eoi_exitmap(vcpu, eoi_exit_bitmap);
	}
	khv_hit_ours(vmx_load_eoi_exitmap);
	load_eoi_exits(vcpu);
}

static noinline void eoi_accelerated(struct kvm_vcpu *vcpu, int vector)
{
	khv_synic_eoi(vcpu, vector);
	khv_orig_kvm_apic_set_eoi_accelerated(vcpu, vector);
}

void khv_hook_kvm_apic_set_eoi_accelerated(struct kvm_vcpu *vcpu, int vector)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu) ||
	    !test_bit(vector, to_khv_vcpu(vcpu)->stock.synic.vec_bitmap)) {
		khv_hit_passed(kvm_apic_set_eoi_accelerated);
		return khv_orig_kvm_apic_set_eoi_accelerated(vcpu, vector);
	}
	khv_hit_ours(kvm_apic_set_eoi_accelerated);
	eoi_accelerated(vcpu, vector);
}

int khv_hook_nested_svm_vmrun(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu)) {
		khv_hit_passed(nested_svm_vmrun);
		return khv_orig_nested_svm_vmrun(vcpu);
	}
	khv_hit_ours(nested_svm_vmrun);
	return khv_nested_svm_entry(vcpu) ? khv_orig_nested_svm_vmrun(vcpu) : 1;
}

#ifdef KHV_HAVE_L2_FLUSH
int khv_hook_kvm_hv_get_assist_page(struct kvm_vcpu *vcpu)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu)) {
		khv_hit_passed(kvm_hv_get_assist_page);
		return khv_orig_kvm_hv_get_assist_page(vcpu);
	}
	khv_hit_ours(kvm_hv_get_assist_page);
	return khv_nested_get_assist_page(vcpu);
}
#else
bool khv_hook_nested_enlightened_vmentry(struct kvm_vcpu *vcpu, u64 *evmcs_gpa)
{
	if (!ours(vcpu) || !to_khv_vcpu(vcpu)) {
		khv_hit_passed(nested_enlightened_vmentry);
		return khv_orig_nested_enlightened_vmentry(vcpu, evmcs_gpa);
	}
	khv_hit_ours(nested_enlightened_vmentry);
	return khv_nested_vmx_entry(vcpu, evmcs_gpa);
}
#endif

int khv_hook_nested_evmcs_check_controls(struct vmcs12 *vmcs12)
{
	struct kvm_vcpu *vcpu = khv_kvm_get_running_vcpu();

	if (!vcpu || !ours(vcpu)) {
		khv_hit_passed(nested_evmcs_check_controls);
		return khv_orig_nested_evmcs_check_controls(vmcs12);
	}
	khv_hit_ours(nested_evmcs_check_controls);
	return khv_evmcs_check_controls(vcpu, vmcs12);
}

void khv_hook_nested_evmcs_filter_control_msr(struct kvm_vcpu *vcpu, u32 msr_index, u64 *pdata)
{
	if (!ours(vcpu)) {
		khv_hit_passed(nested_evmcs_filter_control_msr);
		return khv_orig_nested_evmcs_filter_control_msr(vcpu, msr_index, pdata);
	}
	khv_hit_ours(nested_evmcs_filter_control_msr);
	khv_evmcs_filter_msr(vcpu, msr_index, pdata);
}
