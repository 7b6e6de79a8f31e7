// SPDX-License-Identifier: GPL-2.0-only
/*
 * The replacements of KVM's functions. dispatch.S sends the calls here that concern an owned VM,
 * and passes all others on to KVM without a frame of this module on the stack, so that rmmod need
 * not wait for KVM's VMs. Calls for an owned VM may leave a frame, because the VM holds a reference
 * on the module. Two exceptions: creation and destruction of a VM run under khv_inflight, and the
 * system ioctls KVM_GET_SUPPORTED_HV_CPUID and KVM_GET_MSR_INDEX_LIST take a reference themselves.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <asm/vmx.h>

#include "compat/calls.h"
#include "compat/kvm.h"
#include "khv/apic.h"
#include "khv/connection.h"
#include "khv/cpuid.h"
#include "khv/drivers.h"
#include "khv/hooks.h"
#include "khv/idle.h"
#include "khv/nested.h"
#include "khv/port.h"
#include "khv/reenlighten.h"
#include "khv/reftime.h"
#include "khv/state.h"
#include "khv/stimer.h"
#include "khv/syndbg.h"
#include "khv/synic.h"
#include "khv/takeover.h"
#include "khv/tlbflush.h"
#include "khv/tsc_rate.h"
#include "khv/unhalted.h"
#include "khv/vm.h"
#include "khv/vp.h"

DEFINE_STATIC_SRCU(khv_inflight);

/* Does the module take over new VMs? The module parameter "takeover". */
bool khv_takeover = true;

/* All hooks are installed. No VM is taken over before that, nor once their removal has begun. */
bool khv_hooked;

void khv_takeover_settle(void)
{
	synchronize_srcu(&khv_inflight);
}

void khv_takeover_drain(void)
{
	/*
	 * Removing the hooks waited, by RCU-tasks in ftrace, for tasks on their way into a
	 * replacement and in khv_asks_*(), which do not sleep. Every task that is still inside a
	 * replacement is in an SRCU read section ...
	 */
	khv_takeover_settle();
	/* ... or executes the last instructions of the replacement, after srcu_read_unlock(). */
	synchronize_rcu_tasks();
}

/* The replacements that call one function, in the second case only for a VP that has its state. */
#define KHV_HOOK(_mod, _owner, _ret, _name, _params, _args, _why)
#define KHV_HOOK_TO(_mod, _owner, _ret, _name, _params, _args, _to, _why) \
	_ret khv_hook_##_name _params                                     \
	{                                                                 \
		return _to _args;                                         \
	}
#define KHV_HOOK_VP(_mod, _owner, _ret, _name, _params, _args, _to, _why)      \
	_ret khv_hook_##_name _params                                          \
	{                                                                      \
		return to_khv_vcpu(vcpu) ? _to _args : khv_orig_##_name _args; \
	}
#include "compat/kvm_private.h"
#undef KHV_HOOK

atomic_t khv_left[KHV_NR_LEFT];

/* Return: why the VM stays with KVM, or KHV_NR_LEFT if it is owned from now on. */
static enum khv_left take_over(struct kvm *kvm)
{
	int ret;

	if (!READ_ONCE(khv_hooked))
		return KHV_LEFT_UNLOADING;
	if (!READ_ONCE(khv_takeover))
		return KHV_LEFT_TAKEOVER;
	if (khv_is_protected(kvm))
		return KHV_LEFT_PROTECTED;
	ret = khv_vm_create(kvm);
	if (!ret)
		return KHV_NR_LEFT;
	if (ret != -ENOMEM)
		return KHV_LEFT_UNLOADING;
	pr_warn_ratelimited(
		"out of memory: a new VM stays with KVM; free some and start the guest again\n");
	return KHV_LEFT_MEMORY;
}

void khv_hook_kvm_hv_init_vm(struct kvm *kvm)
{
	int idx = srcu_read_lock(&khv_inflight);
	enum khv_left why;

	khv_orig_kvm_hv_init_vm(kvm);
	why = take_over(kvm);
	if (why == KHV_NR_LEFT) {
		this_cpu_inc(khv_hook_hits.ours[KHV_HOOK_kvm_hv_init_vm]);
	} else {
		this_cpu_inc(khv_hook_hits.passed[KHV_HOOK_kvm_hv_init_vm]);
		atomic_inc(&khv_left[why]);
	}
	srcu_read_unlock(&khv_inflight, idx);
}

void khv_hook_kvm_hv_destroy_vm(struct kvm *kvm)
{
	int idx = srcu_read_lock(&khv_inflight);

	khv_orig_kvm_hv_destroy_vm(kvm);
	khv_vm_destroy(kvm);
	srcu_read_unlock(&khv_inflight, idx);
}

/*
 * KVM allocates a vCPU's Hyper-V state when user space sets a CPUID with Hyper-V leaves, and calls
 * the same function again at every MSR access. Allocate the state first, so that this hot function
 * needs no hook; see takeover.rst. If the CPUID turns out to have no Hyper-V leaves, take the state
 * away: KVM makes a request at each switch between L1 and L2 for a vCPU that has it. Checking the
 * entries beforehand would prove nothing, because user space may change them until KVM has copied
 * them.
 */
int khv_hook_kvm_vcpu_ioctl_set_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid *cpuid,
				      struct kvm_cpuid_entry __user *entries)
{
	bool is_new = !to_khv_vcpu(vcpu);
	int ret;

	ret = khv_vcpu_create(vcpu) ?: khv_orig_kvm_vcpu_ioctl_set_cpuid(vcpu, cpuid, entries);
	if (is_new && !vcpu->arch.hyperv_enabled)
		khv_vcpu_put_aside(vcpu);
	return ret;
}

int khv_hook_kvm_vcpu_ioctl_set_cpuid2(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
				       struct kvm_cpuid_entry2 __user *entries)
{
	bool is_new = !to_khv_vcpu(vcpu);
	int ret;

	ret = khv_vcpu_create(vcpu) ?: khv_orig_kvm_vcpu_ioctl_set_cpuid2(vcpu, cpuid, entries);
	if (is_new && !vcpu->arch.hyperv_enabled)
		khv_vcpu_put_aside(vcpu);
	return ret;
}

void khv_hook_kvm_hv_set_cpuid(struct kvm_vcpu *vcpu, bool hyperv_enabled)
{
	/* Keep the stock CPUID cache up to date: inline functions of KVM read it. */
	khv_orig_kvm_hv_set_cpuid(vcpu, hyperv_enabled);
	khv_cpuid_update(vcpu);
}

int khv_hook_kvm_hv_set_enforce_cpuid(struct kvm_vcpu *vcpu, bool enforce)
{
	int ret = khv_vcpu_create(vcpu);

	if (ret)
		return ret;
	to_khv_vcpu(vcpu)->stock.enforce_cpuid = enforce;
	khv_cpuid_update(vcpu);
	return 0;
}

/*
 * Without a vCPU this is the system ioctl, which tells what the next VM may have. It may sleep in
 * copy_to_user() for as long as user space likes, while no VM holds a reference on the module. Take
 * one, so that rmmod is refused meanwhile instead of waiting.
 */
bool khv_asks_kvm_get_hv_cpuid(struct kvm_vcpu *vcpu)
{
	if (vcpu)
		return to_khv_vm(vcpu->kvm);
	return READ_ONCE(khv_takeover) && try_module_get(THIS_MODULE);
}

int khv_hook_kvm_get_hv_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			      struct kvm_cpuid_entry2 __user *entries)
{
	int ret = khv_supported_cpuid(vcpu, cpuid, entries);

	if (!vcpu)
		module_put(THIS_MODULE);
	return ret;
}

/*
 * System ioctl: no VM holds the module, so take a reference. Owned VMs need the list as long as
 * there are any; a VMM asks again to save one. Without a lock: a VM that comes or goes meanwhile
 * belongs to another thread.
 */
bool khv_asks_kvm_arch_dev_ioctl(struct file *filp, unsigned int ioctl)
{
	return ioctl == KVM_GET_MSR_INDEX_LIST &&
	       (READ_ONCE(khv_takeover) || !list_empty(&khv_vms)) && try_module_get(THIS_MODULE);
}

long khv_hook_kvm_arch_dev_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg)
{
	struct kvm_msr_list __user *list = (void __user *)arg;
	long ret = -EFAULT;
	u32 room;

	/* Read the room first: KVM overwrites nmsrs. */
	if (!get_user(room, &list->nmsrs))
		ret = khv_orig_kvm_arch_dev_ioctl(filp, ioctl, arg);
	if (!ret || ret == -E2BIG)
		ret = khv_msr_list_complete(list, room);
	module_put(THIS_MODULE);
	return ret;
}

void khv_hook_kvm_hv_process_stimers(struct kvm_vcpu *vcpu)
{
	/* Another VP may have queued a flush in the VP's state before that was put aside. */
	if (!to_khv_vcpu(vcpu))
		__kvm_make_request(khv_flush_all(vcpu), vcpu);
	khv_tlbflush_process(vcpu);
	/* Before the timers are looked at, and before the guest is told that it was restored. */
	if (to_khv_vcpu(vcpu))
		khv_tsc_rate_follow(to_khv_vcpu(vcpu), false);
	khv_stimer_process(vcpu);
	if (to_khv_vcpu(vcpu)) {
		khv_reenlighten(to_khv_vcpu(vcpu));
		khv_unhalted_process(to_khv_vcpu(vcpu));
	}
}

/* KVM processes requests only before VM-Entry: do so before a halt, too. */
static void look_before_halt(struct kvm_vcpu *vcpu)
{
	khv_unhalted_halt(to_khv_vcpu(vcpu));
	khv_tsc_rate_follow(to_khv_vcpu(vcpu), true);
	khv_reenlighten(to_khv_vcpu(vcpu));
	khv_stimer_halt(vcpu);
}

/*
 * KVM halts a VP in kvm_vcpu_halt() or kvm_vcpu_block(). They return whenever the HLT may have
 * ended, and KVM calls them again if it has not. Process due timers each time, while the VP is
 * still halted.
 */
void khv_hook_kvm_vcpu_halt(struct kvm_vcpu *vcpu)
{
	if (to_khv_vcpu(vcpu))
		look_before_halt(vcpu);
	khv_orig_kvm_vcpu_halt(vcpu);
	/*
	 * KVM checks next whether the HLT has ended. An expiry that is signalled only after that
	 * check costs another round through KVM's loop.
	 */
	if (to_khv_vcpu(vcpu))
		khv_stimer_woken(vcpu);
}

int khv_hook_kvm_arch_vcpu_runnable(struct kvm_vcpu *vcpu)
{
	/* First: vcpu_block() looks again by an inlined copy, which may answer otherwise. */
	return khv_idle_try_wake(vcpu) || khv_orig_kvm_arch_vcpu_runnable(vcpu);
}

/*
 * A thread that sleeps is woken by a posted interrupt only if KVM found it not blocked when the
 * thread went to sleep.
 */
bool khv_hook_vmx_interrupt_blocked(struct kvm_vcpu *vcpu)
{
	if (kvm_vcpu_is_blocking(vcpu) && khv_is_idle(vcpu))
		return false;
	return khv_orig_vmx_interrupt_blocked(vcpu);
}

bool khv_hook_kvm_vcpu_block(struct kvm_vcpu *vcpu)
{
	if (to_khv_vcpu(vcpu))
		look_before_halt(vcpu);
	return khv_orig_kvm_vcpu_block(vcpu);
}

int khv_hook_kvm_hv_activate_synic(struct kvm_vcpu *vcpu, bool dont_zero_synic_pages)
{
	int ret = khv_vcpu_create(vcpu);

	if (ret)
		return ret;
	khv_synic_activate(to_khv_vcpu(vcpu), dont_zero_synic_pages);
	return 0;
}

/*
 * Whenever a local APIC is enabled, by any register or ioctl, KVM looks for async page faults that
 * it could not signal before. Retry timers there, too, and have KVM look for interrupts: the TPR
 * may have changed without an exit, see clear_tpr_threshold().
 */
void khv_hook_kvm_check_async_pf_completion(struct kvm_vcpu *vcpu)
{
	if (to_khv_vcpu(vcpu)) {
		khv_stimer_apic_changed(to_khv_vcpu(vcpu));
		khv_reenlighten_soon(to_khv_vcpu(vcpu));
	}
	/* Without Hyper-V, too: another VP's AutoEOI clears TPR_THRESHOLD of all. */
	kvm_make_request(KVM_REQ_EVENT, vcpu);
	khv_orig_kvm_check_async_pf_completion(vcpu);
}

/* KVM passes the clock of the vCPU that is about to enter the guest: the running one. */
void khv_hook_kvm_hv_setup_tsc_page(struct kvm *kvm, struct pvclock_vcpu_time_info *hv_clock)
{
	khv_reftime_update(khv_kvm_get_running_vcpu(), hv_clock);
}

bool khv_asks_kvm_arch_vm_ioctl(struct file *filp, unsigned int ioctl)
{
	return (ioctl == KVM_SET_CLOCK || ioctl == KVM_GET_CLOCK) && to_khv_vm(filp->private_data);
}

static long add_lead(struct kvm *kvm, struct kvm_clock_data __user *data)
{
	u64 clock;

	if (get_user(clock, &data->clock) || put_user(clock + khv_ref_lead(kvm), &data->clock))
		return -EFAULT;
	return 0;
}

/*
 * KVM_GET_CLOCK tells user space of a reference time that is ahead of KVM's clock. KVM_SET_CLOCK is
 * a step of the time, which halted VPs would not notice.
 */
long khv_hook_kvm_arch_vm_ioctl(struct file *filp, unsigned int ioctl, unsigned long arg)
{
	long ret = khv_orig_kvm_arch_vm_ioctl(filp, ioctl, arg);
	struct kvm *kvm = filp->private_data;

	if (ioctl == KVM_SET_CLOCK)
		khv_stimer_clock_changed(kvm);
	else if (!(int)ret)
		ret = add_lead(kvm, (void __user *)arg);
	return ret;
}

int khv_hook_kvm_arch_vcpu_ioctl_run(struct kvm_vcpu *vcpu)
{
	struct khv_vcpu *vp = to_khv_vcpu(vcpu);
	int ret;

	if (!vp || !vcpu->arch.hyperv_enabled)
		return khv_orig_kvm_arch_vcpu_ioctl_run(vcpu);
	/* User space may have enabled the local APIC while the VP was halted. */
	khv_stimer_apic_changed(vp);
	khv_reftime_run_begin(vp);
	khv_nested_run_begin(vp);
	khv_idle_run_begin(vp);
	khv_reenlighten_soon(vp);
	khv_tsc_rate_run_begin(vp);
	khv_vp_run_begin(vp);
	ret = khv_orig_kvm_arch_vcpu_ioctl_run(vcpu);
	khv_idle_run_end(vp);
	khv_syndbg_run_end(vp);
	khv_tsc_rate_run_end(vp);
	khv_reftime_run_end(vp);
	khv_vp_run_end(vp);
	return ret;
}

/* Is this MSR one that the module adds to KVM_GET_MSR_INDEX_LIST? */
static bool is_named(u32 msr)
{
	int row = khv_msr_find(msr);

	return row >= 0 && khv_msr_is_listed(row);
}

bool khv_hook_kvm_pmu_is_valid_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return khv_msr_is_shown(vcpu, msr) || is_named(msr) ||
	       khv_orig_kvm_pmu_is_valid_msr(vcpu, msr);
}

/*
 * A register that the list names and this VM does not have: user space may read 0 and write 0, as
 * kvm_do_msr_access() has it for KVM's own. For a guest it does not exist.
 */
static int access_named(struct msr_data *msr)
{
	return msr->host_initiated && !msr->data ? 0 : KHV_MSR_RET_UNSUPPORTED;
}

int khv_hook_kvm_pmu_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (khv_msr_is_shown(vcpu, msr->index))
		return khv_msr_read(vcpu, msr->index, &msr->data, msr->host_initiated);
	if (!is_named(msr->index))
		return khv_orig_kvm_pmu_get_msr(vcpu, msr);
	msr->data = 0;
	return access_named(msr);
}

int khv_hook_kvm_pmu_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!khv_msr_is_shown(vcpu, msr->index))
		return is_named(msr->index) ? access_named(msr) :
					      khv_orig_kvm_pmu_set_msr(vcpu, msr);
	return khv_msr_write(vcpu, msr->index, msr->data, msr->host_initiated);
}

int khv_hook_kvm_get_msr_common(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!khv_msr_is_unrouted(msr->index))
		return khv_orig_kvm_get_msr_common(vcpu, msr);
	return khv_msr_read(vcpu, msr->index, &msr->data, msr->host_initiated);
}

int khv_hook_kvm_set_msr_common(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!khv_msr_is_unrouted(msr->index))
		return khv_orig_kvm_set_msr_common(vcpu, msr);
	return khv_msr_write(vcpu, msr->index, msr->data, msr->host_initiated);
}

bool khv_hook_kvm_cpuid(struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx,
			bool exact_only)
{
	u32 leaf = *eax;
	bool found = khv_orig_kvm_cpuid(vcpu, eax, ebx, ecx, edx, exact_only);

	/*
	 * For a leaf that does not exist, KVM returns the values of another leaf: leave them alone.
	 */
	if (found && to_khv_vcpu(vcpu) && vcpu->arch.hyperv_enabled)
		khv_cpuid_show(to_khv_vcpu(vcpu), leaf, eax, ebx, edx);
	return found;
}

bool khv_hook_nested_vmx_reflect_vmexit(struct kvm_vcpu *vcpu)
{
	/* KVM's handler of the exit calls khv_hook_kvm_hv_hypercall(). */
	if (khv_nested_call_is_ours(vcpu, true))
		return false;
	khv_nested_unmark_post(vcpu);
	return khv_orig_nested_vmx_reflect_vmexit(vcpu);
}

int khv_hook_nested_svm_exit_special(struct kvm_vcpu *vcpu)
{
	/*
	 * KVM's handler of the exit calls khv_hook_kvm_hv_hypercall() or
	 * khv_hook_vmmcall_interception().
	 */
	if (khv_nested_call_is_ours(vcpu, true))
		return KHV_NESTED_EXIT_HOST;
	khv_nested_unmark_post(vcpu);
	return khv_orig_nested_svm_exit_special(vcpu);
}

/* A KVM whose handler has this name answers #UD to every hypercall of an L2 except flushes. */
int khv_hook_vmmcall_interception(struct kvm_vcpu *vcpu)
{
	if (!khv_in_l2(vcpu) || !khv_nested_call_is_ours(vcpu, false))
		return khv_orig_vmmcall_interception(vcpu);
	return khv_hypercall(vcpu);
}

/*
 * Under APICv KVM requests a VM-Exit at the EOI of each SINT's vector, and then does not tell the
 * SynIC (K9). Request it only for vectors whose EOI the module waits for. While APICv is inhibited,
 * KVM does not load the bitmap, nor does it load it when the inhibition ends: write the VMCS
 * regardless.
 */
void khv_hook_vmx_load_eoi_exitmap(struct kvm_vcpu *vcpu, u64 *eoi_exit_bitmap)
{
	DECLARE_BITMAP(vectors, 256);
	int i;

	if (!*khv_enable_apicv)
		return;
	bitmap_copy(vectors, vcpu->arch.ioapic_handled_vectors, 256);
	if (to_khv_vcpu(vcpu))
		khv_synic_awaited(to_khv_vcpu(vcpu), vectors);
	/* The fields are 64 bits wide, and their encodings are 2 apart. */
	for (i = 0; i < BITS_TO_LONGS(256); i++)
		khv_vmwrite(EOI_EXIT_BITMAP0 + 2 * i, vectors[i]);
}

/*
 * APICv is on or off from now on, by AutoEOI too. Newer kernels load SVI when it is on again, 6.1
 * does not.
 */
void khv_hook_vmx_refresh_apicv_exec_ctrl(struct kvm_vcpu *vcpu)
{
	khv_orig_vmx_refresh_apicv_exec_ctrl(vcpu);
	khv_apic_apicv_changed(vcpu);
}

void khv_hook_kvm_apic_set_eoi_accelerated(struct kvm_vcpu *vcpu, int vector)
{
	if (to_khv_vcpu(vcpu) && test_bit(vector, to_khv_vcpu(vcpu)->stock.synic.vec_bitmap))
		khv_synic_eoi(vcpu, vector);
	khv_orig_kvm_apic_set_eoi_accelerated(vcpu, vector);
}

int khv_hook_nested_svm_vmrun(struct kvm_vcpu *vcpu)
{
	if (to_khv_vcpu(vcpu) && !khv_nested_svm_entry(vcpu))
		return 1;
	return khv_orig_nested_svm_vmrun(vcpu);
}

bool khv_asks_nested_evmcs_check_controls(struct vmcs12 *vmcs12)
{
	struct kvm_vcpu *vcpu = khv_kvm_get_running_vcpu();

	return vcpu && to_khv_vm(vcpu->kvm);
}

int khv_hook_nested_evmcs_check_controls(struct vmcs12 *vmcs12)
{
	struct kvm_vcpu *vcpu = this_cpu_read(khv_running) ?: khv_kvm_get_running_vcpu();

	return khv_evmcs_check_controls(vcpu, vmcs12);
}
