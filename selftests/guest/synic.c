// SPDX-License-Identifier: GPL-2.0-only
/* VMs with a SynIC, and the guest's bounded waiting. */
#include "synic.h"

#define MIN_EXITS 100

struct hv_message *synic_messages[SYNIC_VCPUS];
u8 *synic_events[SYNIC_VCPUS];

static void give_synic(struct vm *vm, u32 cap)
{
	u32 i;

	ASSERT(vm->nr_vcpus <= SYNIC_VCPUS, "too many vCPUs");
	for (i = 0; i < vm->nr_vcpus; i++) {
		ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[i], cap, 0), 0);
		synic_messages[i] = vm_alloc(vm, PAGE_SIZE);
		synic_events[i] = vm_alloc(vm, PAGE_SIZE);
	}
}

struct vm *synic_vm_bare(u32 nr_vcpus, u32 cap)
{
	struct vm *vm = vm_create(nr_vcpus, 0);

	give_synic(vm, cap);
	return vm;
}

struct vm *synic_vm_flags(u32 nr_vcpus, u32 flags)
{
	struct vm *vm = vm_create(nr_vcpus, flags);
	u32 i;

	give_synic(vm, KVM_CAP_HYPERV_SYNIC2);
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIMP, synic_simp(i));
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SIEFP, synic_siefp(i));
	}
	return vm;
}

struct vm *synic_vm(u32 nr_vcpus)
{
	return synic_vm_flags(nr_vcpus, 0);
}

u32 synic_run(struct vcpu *v)
{
	u32 cmd;

	do {
		cmd = vcpu_run(v);
	} while (cmd == RUN_EXIT(KVM_EXIT_HYPERV) && v->run->hyperv.type == KVM_EXIT_HYPERV_SYNIC);
	return cmd;
}

void synic_run_sync(struct vcpu *v, u64 stage)
{
	u32 cmd = synic_run(v);

	if (cmd != GUEST_SYNC_CMD || v->cpu->msg.args[0] != stage) {
		vcpu_dump(v);
		FAIL("expected stage %llu, got 0x%x (stage %llu)", (unsigned long long)stage, cmd,
		     (unsigned long long)v->cpu->msg.args[0]);
	}
}

void synic_run_done(struct vcpu *v)
{
	u32 cmd = synic_run(v);

	if (cmd != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("expected the end, got 0x%x (stage %llu)", cmd,
		     (unsigned long long)v->cpu->msg.args[0]);
	}
}

/* --- guest code --------------------------------------------------------- */

bool guest_wait(volatile u32 *what, u32 value, u32 ms)
{
	u64 end = ref_now() + REF_MS(ms);
	u32 exits = 0;

	while (*what < value) {
		if (ref_now() >= end && ++exits > MIN_EXITS)
			return false;
	}
	return true;
}

void guest_settle(u32 ms)
{
	u64 end = ref_now() + REF_MS(ms);
	u32 exits = 0;

	while (ref_now() < end || ++exits < MIN_EXITS)
		;
}
