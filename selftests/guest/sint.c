// SPDX-License-Identifier: GPL-2.0-only
/* See sint.h. */
#include "sint.h"

const u32 synic_registers[NR_REGISTERS] = {
	HV_X64_MSR_SCONTROL, HV_X64_MSR_SIEFP,	  HV_X64_MSR_SIMP,     HV_X64_MSR_SINT(0),
	HV_X64_MSR_SINT(1),  HV_X64_MSR_SINT(2),  HV_X64_MSR_SINT(3),  HV_X64_MSR_SINT(4),
	HV_X64_MSR_SINT(5),  HV_X64_MSR_SINT(6),  HV_X64_MSR_SINT(7),  HV_X64_MSR_SINT(8),
	HV_X64_MSR_SINT(9),  HV_X64_MSR_SINT(10), HV_X64_MSR_SINT(11), HV_X64_MSR_SINT(12),
	HV_X64_MSR_SINT(13), HV_X64_MSR_SINT(14), HV_X64_MSR_SINT(15),
};

void synic_run_guest(void (*entry)(void))
{
	struct vm *vm = synic_vm(1);

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

void route_all_sints(struct vm *vm, u32 vp)
{
	u32 sints[HV_SYNIC_SINTS], i;

	for (i = 0; i < HV_SYNIC_SINTS; i++)
		sints[i] = i;
	route_sints(vm, vp, sints, HV_SYNIC_SINTS);
}

struct vm *sint_vm(u32 nr_vcpus)
{
	struct vm *vm = synic_vm(nr_vcpus);

	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[FENCE] = guest_irq_count;
	return vm;
}
