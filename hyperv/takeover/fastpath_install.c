// SPDX-License-Identifier: GPL-2.0-only
/*
 * Installation of the exit fast path. It replaces kvm_x86_vcpu_run, KVM's static call to the
 * vendor's vcpu_run(). When the vendor's function returns with a VM-Exit that a table row covers,
 * the row's handler runs at once, with interrupts still off, and the guest is entered again. On any
 * other exit the fast path does nothing, and KVM's slow path calls the same handler. Nothing in it
 * sleeps, takes a mutex or waits for another CPU; guest memory is read only where the read cannot
 * fault.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/static_call.h>
#include <asm/hypervisor.h>

#include "khv/fastpath.h"
#include "khv/port.h"

#include "fastpath_exit.h"

static struct static_call_key *kvm_key;
static void *kvm_trampoline;
static void *pmu_trigger_event;
static const int *kvm_nrips;

/* Why this host cannot have a fast path, or NULL. The rest of the module works without it. */
static const char *unsupported(void)
{
	const bool *unrestricted;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return "a PREEMPT_RT kernel's spinlocks sleep";
	if (khv_svm)
		return NULL;
	/* KVM on Hyper-V may use an enlightened VMCS, which VMREAD does not read. */
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return "this host runs on Hyper-V";
	/*
	 * Without unrestricted guests KVM emulates real mode, and reports exits that are not in the
	 * VMCS.
	 */
	unrestricted = (void *)khv_symbol("kvm_intel", "enable_unrestricted_guest");
	if (!unrestricted || !*unrestricted)
		return "kvm_intel runs without unrestricted guests";
	return NULL;
}

int khv_fastpath_check(void (*report)(const char *name, const char *why))
{
	int missing = 0;

	kvm_key = (void *)khv_symbol("kvm", "__SCK__kvm_x86_vcpu_run");
	kvm_trampoline = (void *)khv_symbol("kvm", "__SCT__kvm_x86_vcpu_run");
	kvm_nrips = khv_svm ? (void *)khv_symbol("kvm_amd", "nrips") : NULL;
	pmu_trigger_event = khv_find_pmu_trigger_event(&khv_insn_retired);
	if (!pmu_trigger_event)
		khv_insn_retired = NULL;
	if (!kvm_key || !kvm_trampoline || !khv_x86_ops || !khv_x86_ops->vcpu_run) {
		report("kvm_x86_vcpu_run", "where the exit fast path begins");
		missing++;
	}
	if (khv_svm && !kvm_nrips) {
		report("nrips", "whether the CPU reports the next instruction's address");
		missing++;
	}
	return missing;
}

static bool installed;
const char *khv_fastpath_missing;

void khv_fastpath_install(void)
{
	khv_fastpath_missing = unsupported();
	if (khv_fastpath_missing) {
		pr_info("no exit fast path: %s; exits are answered where KVM answers them\n",
			khv_fastpath_missing);
		return;
	}
	khv_fastpath_svm_nrips(khv_svm && *kvm_nrips);
	if (khv_insn_retired)
		static_call_update(khv_pmu_trigger_event, pmu_trigger_event);
	static_call_update(khv_call_vcpu_run, khv_kvm_vcpu_run(khv_x86_ops));
	__static_call_update(kvm_key, kvm_trampoline,
			     khv_svm ? khv_vcpu_run_svm : khv_vcpu_run_vmx);
	installed = true;
}

void khv_fastpath_remove(void)
{
	if (!installed)
		return;
	__static_call_update(kvm_key, kvm_trampoline, khv_kvm_vcpu_run(khv_x86_ops));
	installed = false;
	/*
	 * KVM calls the static call with interrupts off, and dispatch.awk proves that a vCPU of
	 * another VM leaves the module by a jump, without a frame. So no CPU executes the
	 * replacement once each has had interrupts on. RCU counts guest mode as a quiescent state,
	 * too: a CPU in the guest of another VM has no frame of the module to return to.
	 */
	synchronize_rcu();
}
