// SPDX-License-Identifier: GPL-2.0-only
/*
 * The example of Documentation/prototyping.rst, in a module of its own that this program inserts:
 * a nested register and a nested call, each one row and a handler.
 *
 *   prototype_test [--module FILE]
 */
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "nested.h"
#include "ops.h"

#define HV_X64_MSR_NESTED_VP_INDEX 0x40001002
#define HVCALL_VERIFY_NESTED_VP_ID 0x00f0

#define OUR_INDEX 77

static struct vm *new_vm(struct ops_page **p)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX, OUR_INDEX);
	*p = vcpu_ops_init(vm->vcpus[0], 4);
	vcpu_op(vm->vcpus[0], *p, OP_WR(HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL));
	return vm;
}

TEST(a_row_and_a_handler)
{
	struct ops_page *p;
	struct guest_op op;
	struct vm *vm;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	require_module_file();
	module_load();
	vm = new_vm(&p);

	op = vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX));
	ASSERT_EQ(op.vector, 0);
	ASSERT_EQ(op.result, OUR_INDEX);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_WR(HV_X64_MSR_NESTED_VP_INDEX, 1)).vector, GP_VECTOR);
	/* Its neighbours are still nobody's. */
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX + 1)).vector,
		  GP_VECTOR);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_NESTED_VP_INDEX), OUR_INDEX);

	/* The call is an L2's; its form is checked all the same. */
	op = vcpu_op(vm->vcpus[0], p, OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 0, 0));
	ASSERT_EQ(op.result, HV_STATUS_ACCESS_DENIED);
	op = vcpu_op(vm->vcpus[0], p,
		     OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST | HV_CTL_REP(1), 0, 0));
	ASSERT_EQ(op.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	vm_free(vm);
	module_unload();
}

/* The call comes from an L2, past its hypervisor, which has asked for that. */
TEST(an_l2_is_answered)
{
	u64 call = HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST;
	struct nested *n;
	struct vcpu *v;
	struct vm *vm;
	u32 before;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	require_module_file();
	module_load();
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	n = nested_create(v, NESTED_EVMCS | NESTED_DIRECT, 4);
	n->vp_id = 5;
	nested_start(v);
	before = n->exits;
	ASSERT_EQ(vcpu_op(v, n->l2, OP_HC(call, 5, 0)).result, HV_STATUS_SUCCESS);
	ASSERT_EQ(vcpu_op(v, n->l2, OP_HC(call, 6, 0)).result, HV_STATUS_INVALID_PARAMETER);
	ASSERT_EQ(n->exits, before);
	vm_free(vm);
	module_unload();
}

#define STEPS 1000

static bool at_vmmcall(u64 rip)
{
	return rip && !memcmp((void *)(uintptr_t)rip, "\x0f\x01\xd9", 3);
}

/* User space steps through the L2: the call is one instruction of it. */
TEST(an_l2_is_stepped)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	u64 rip = 0, before;
	struct nested *n;
	struct vcpu *v;
	struct vm *vm;
	u32 i;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	if (!host_is_amd())
		ktap_skip("VMX: the exit is that of KVM's own handler");
	require_module_file();
	module_load();
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	n = nested_create(v, NESTED_DIRECT, 4);
	n->vp_id = 5;
	nested_start(v);
	n->l2->ops[0] = OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 5, 0);
	n->l2->ops[0].result = HV_STATUS_INVALID_PARAMETER;
	n->l2->nr = 1;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < STEPS && !at_vmmcall(rip); i++) {
		vcpu_run_exit(v, KVM_EXIT_DEBUG);
		rip = v->run->debug.arch.pc;
	}
	ASSERT(at_vmmcall(rip), "%u steps, and no VMMCALL", i);
	before = n->exits;
	vcpu_run_exit(v, KVM_EXIT_DEBUG);
	ASSERT_EQ(v->run->debug.arch.pc, rip + 3);
	ASSERT_EQ(n->exits, before);
	debug.control = 0;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	vcpu_run_sync(v, OPS_STAGE);
	ASSERT_EQ(n->l2->ops[0].result, HV_STATUS_SUCCESS);
	vm_free(vm);
	module_unload();
}

/* Without the rows nothing of it is there: the example does not test itself. */
TEST(stock_has_neither)
{
	struct ops_page *p;
	struct vm *vm;

	if (module_loaded())
		ktap_skip("the module is loaded");
	vm = new_vm(&p);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 0, 0))
			  .result,
		  HV_STATUS_INVALID_HYPERCALL_CODE);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	static const char file[] = "/modules/prototype.ko";
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	else if (!access(file, R_OK))
		module_option = file;
	return module_ktap_main(argc, argv);
}
