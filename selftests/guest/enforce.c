// SPDX-License-Identifier: GPL-2.0-only
/* See enforce.h. */
#include "enforce.h"

void cpuid_all_off(struct vcpu *v, bool syndbg)
{
	cpuid_zero(&v->cpuid, HV_LEAF_FEATURES);
	cpuid_zero(&v->cpuid, HV_LEAF_HINTS);
	cpuid_assign(&v->cpuid, HV_S_KERNEL_DEBUG, syndbg);
}

struct vm *enforcing_vm(u32 nr)
{
	struct vm *vm = vm_create(nr, VM_ENFORCE);
	u32 i;

	for (i = 0; i < nr; i++) {
		int r = __vcpu_enable_cap(vm->vcpus[i], KVM_CAP_HYPERV_SYNIC2, 0);

		ASSERT_EQ(r, 0);
	}
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return vm;
}

void expect_vector(struct vcpu *v, struct ops_page *p, const char *name, struct guest_op op,
		   u32 vector, const char *what)
{
	struct guest_op r = vcpu_op(v, p, op);

	ASSERT(r.vector == vector, "%s 0x%llx %s: vector %u, expected %u", name,
	       (unsigned long long)op.arg0, what, r.vector, vector);
}
