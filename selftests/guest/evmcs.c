// SPDX-License-Identifier: GPL-2.0-only
/* See evmcs.h. */
#include "evmcs.h"

struct vcpu *evmcs_vcpu;

struct nested *evmcs_l1;

void evmcs_create(void (*l1)(void), u32 flags)
{
	if (host_is_amd())
		ktap_skip("VMX only");
	evmcs_vcpu = vm_create(1, 0)->vcpus[0];
	evmcs_l1 = nested_create(evmcs_vcpu, flags, MAX_OPS);
	if (l1)
		vcpu_entry(evmcs_vcpu, l1);
}

void evmcs_run(void (*l1)(void))
{
	evmcs_create(l1, NESTED_EVMCS);
	vcpu_run_done(evmcs_vcpu);
	vm_free(evmcs_vcpu->vm);
}

void evmcs_prepare(void)
{
	evmcs_l1->assist[ASSIST_ENLIGHTEN] = 1;
	put64(evmcs_l1->assist, ASSIST_VMCS, gpa(evmcs_l1->evmcs));
	put32(evmcs_l1->evmcs, 0, 1);
	nested_vmx_on(evmcs_l1);
	nested_fill(evmcs_l1);
	/* L2 has nothing to do but to exit. */
	evmcs_l1->l2->nr = 1;
	evmcs_l1->l2->ops[0] = OP_L1;
}

void l2_must_run(void)
{
	enum nested_exit exit = nested_enter(evmcs_l1);

	GUEST_ASSERT_EQ(evmcs_l1->failure, 0);
	GUEST_ASSERT_EQ(exit, NESTED_CPUID);
}

void l2_must_fail(u32 failure)
{
	bool launched = evmcs_l1->launched;
	u32 i;

	for (i = 0; i < 2; i++) {
		evmcs_l1->launched = i;
		GUEST_ASSERT_EQ(nested_enter(evmcs_l1), NESTED_FAILED);
		GUEST_ASSERT_EQ(evmcs_l1->failure, failure);
	}
	evmcs_l1->launched = launched;
}
