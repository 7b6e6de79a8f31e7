// SPDX-License-Identifier: GPL-2.0-only
/*
 * The synthetic debugger (SynDbg): its registers, which are there with the debugger's
 * CPUID leaves only, the exits to user space that two of them make, and the calls that
 * user space answers. What malformed debug calls answer, hypercall_matrix_form_test shows.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

#define USE_HCALLS BIT64(2)
#define CONTROL	   HV_X64_MSR_SYNDBG_CONTROL
#define STATUS	   HV_X64_MSR_SYNDBG_STATUS
#define SEND	   HV_X64_MSR_SYNDBG_SEND_BUFFER
#define RECV	   HV_X64_MSR_SYNDBG_RECV_BUFFER
#define PENDING	   HV_X64_MSR_SYNDBG_PENDING_BUFFER
#define OPTIONS	   HV_X64_MSR_SYNDBG_OPTIONS

static const u32 msrs[] = { CONTROL, STATUS, SEND, RECV, PENDING, OPTIONS };

static u64 value_of(u32 i)
{
	return 0x1122334455667000ULL * (i + 1) + i;
}

static struct vm *debugger_vm(u32 nr_vcpus, bool debugger)
{
	struct vm *vm = vm_create(nr_vcpus, 0);
	u32 i;

	for (i = 0; i < nr_vcpus; i++)
		vcpu_set_bit(vm->vcpus[i], HV_S_KERNEL_DEBUG, debugger);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return vm;
}

/* A guest's write that user space gets to see; the vCPU is left at the exit. */
static void write_to_exit(struct vcpu *v, struct ops_page *p, u32 msr, u64 val)
{
	p->ops[0] = OP_WR(msr, val);
	p->nr = 1;
	vcpu_run_exit(v, KVM_EXIT_HYPERV);
	ASSERT_EQ(v->run->hyperv.type, KVM_EXIT_HYPERV_SYNDBG);
	ASSERT_EQ(v->run->hyperv.u.syndbg.msr, msr);
}

static void end_of_exit(struct vcpu *v, struct ops_page *p, u64 status)
{
	v->run->hyperv.u.syndbg.status = status;
	ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	ASSERT_EQ(p->ops[0].vector, 0);
}

TEST(registers_fault_without_debugger)
{
	struct vm *vm = debugger_vm(1, false);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		ASSERT_EQ(vcpu_op(v, p, OP_RD(msrs[i])).vector, GP_VECTOR);
		ASSERT_EQ(vcpu_op(v, p, OP_WR(msrs[i], 0)).vector, GP_VECTOR);
		ASSERT_EQ(vcpu_op(v, p, OP_WR(msrs[i], value_of(i))).vector, GP_VECTOR);
	}
	/* User space restores them before it has set CPUID. */
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		ASSERT_EQ(vcpu_get_msr(v, msrs[i]), 0);
		vcpu_set_msr(v, msrs[i], value_of(i));
	}
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		ASSERT_EQ(vcpu_get_msr(v, msrs[i]), value_of(i));
		ASSERT_EQ(vcpu_op(v, p, OP_RD(msrs[i])).vector, GP_VECTOR);
	}
	vm_free(vm);
}

/* Between the registers there is nothing. */
TEST(no_other_registers)
{
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 msr;

	for (msr = PENDING + 1; msr < OPTIONS; msr++) {
		ASSERT_EQ(vcpu_op(v, p, OP_RD(msr)).vector, GP_VECTOR);
		ASSERT_EQ(vcpu_op(v, p, OP_WR(msr, 0)).vector, GP_VECTOR);
	}
	vm_free(vm);
}

/* One set of registers for the whole VM, any value, no exit but for two of them. */
TEST(registers_are_storage)
{
	struct vm *vm = debugger_vm(2, true);
	struct ops_page *p[2];
	struct guest_op o;
	u32 i, cpu;

	for (i = 0; i < 2; i++)
		p[i] = vcpu_ops_init(vm->vcpus[i], 1);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		o = vcpu_op(vm->vcpus[i % 2], p[i % 2], OP_RD(msrs[i]));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, 0);
	}
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		o = vcpu_op(vm->vcpus[i % 2], p[i % 2], OP_WR(msrs[i], value_of(i)));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.exits, msrs[i] == CONTROL || msrs[i] == PENDING);
	}
	for (cpu = 0; cpu < 2; cpu++) {
		for (i = 0; i < ARRAY_SIZE(msrs); i++) {
			o = vcpu_op(vm->vcpus[cpu], p[cpu], OP_RD(msrs[i]));
			ASSERT_EQ(o.vector, 0);
			ASSERT_EQ(o.exits, 0);
			ASSERT_EQ(o.result, value_of(i));
			ASSERT_EQ(vcpu_get_msr(vm->vcpus[cpu], msrs[i]), value_of(i));
		}
	}
	vm_free(vm);
}

TEST(host_writes_do_not_exit)
{
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	struct guest_op o;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		vcpu_set_msr(v, msrs[i], value_of(i));
		o = vcpu_op(v, p, OP_RD(msrs[i]));
		ASSERT_EQ(o.exits, 0);
		ASSERT_EQ(o.result, value_of(i));
	}
	vm_free(vm);
}

/* Both exits show all registers, the new value among them. */
static void exits_show_registers(bool status)
{
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_hyperv_exit *exit = &v->run->hyperv;
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		vcpu_set_msr(v, msrs[i], value_of(i));
	write_to_exit(v, p, PENDING, 0xabcd000);
	ASSERT_EQ(exit->u.syndbg.control, value_of(0));
	ASSERT_EQ(exit->u.syndbg.send_page, value_of(2));
	ASSERT_EQ(exit->u.syndbg.recv_page, value_of(3));
	ASSERT_EQ(exit->u.syndbg.pending_page, 0xabcd000);
	if (status)
		ASSERT_KNOWN(exit->u.syndbg.status == value_of(1), "0x%llx",
			     (unsigned long long)exit->u.syndbg.status);
	end_of_exit(v, p, 99);

	write_to_exit(v, p, CONTROL, 3);
	ASSERT_EQ(exit->u.syndbg.control, 3);
	ASSERT_EQ(exit->u.syndbg.send_page, value_of(2));
	ASSERT_EQ(exit->u.syndbg.recv_page, value_of(3));
	ASSERT_EQ(exit->u.syndbg.pending_page, 0xabcd000);
	if (status)
		ASSERT_EQ(exit->u.syndbg.status, value_of(1));
	end_of_exit(v, p, 99);
	vm_free(vm);
}

TEST(exits_show_all_registers)
{
	exits_show_registers(false);
}

/* Stock leaves the field as it was. */
TEST_KNOWN(exits_show_status, "D32")
{
	exits_show_registers(true);
}

/* What user space leaves in the exit of CONTROL becomes STATUS; not so that of PENDING_BUFFER. */
TEST(status_comes_from_user_space)
{
	static const u64 values[] = { 1, 0, ~0ULL, 0x123456789abcdef0ULL };
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		write_to_exit(v, p, CONTROL, i);
		end_of_exit(v, p, values[i]);
		ASSERT_EQ(vcpu_op(v, p, OP_RD(STATUS)).result, values[i]);
		ASSERT_EQ(vcpu_get_msr(v, STATUS), values[i]);
		write_to_exit(v, p, PENDING, i << 12);
		end_of_exit(v, p, ~values[i]);
		ASSERT_EQ(vcpu_op(v, p, OP_RD(STATUS)).result, values[i]);
		ASSERT_EQ(vcpu_get_msr(v, CONTROL), i);
	}
	vm_free(vm);
}

/* Step to the next exit that is none. */
static u32 step_to_exit(struct vcpu *v)
{
	do {
		ASSERT_EQ(__vcpu_run(v), 0);
	} while (v->run->exit_reason == KVM_EXIT_DEBUG);
	return v->run->exit_reason;
}

/*
 * Something else may end KVM_RUN between the write and its exit. A single step does so each time,
 * and leaves data of its own where the answer will be.
 */
TEST_KNOWN(answer_after_a_step, "K36")
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u64 status;
	u32 round;

	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (round = 1; round <= 3; round++) {
		p->ops[0] = OP_WR(CONTROL, round);
		p->nr = 1;
		ASSERT_EQ(step_to_exit(v), KVM_EXIT_HYPERV);
		ASSERT_EQ(v->run->hyperv.type, KVM_EXIT_HYPERV_SYNDBG);
		ASSERT_EQ(v->run->hyperv.u.syndbg.control, round);
		v->run->hyperv.u.syndbg.status = value_of(round);
		ASSERT_EQ(step_to_exit(v), KVM_EXIT_IO);
		ASSERT_EQ(p->ops[0].vector, 0);
		status = vcpu_get_msr(v, STATUS);
		ASSERT_KNOWN(status == value_of(round), "0x%llx", (unsigned long long)status);
	}
	vm_free(vm);
}

#define STORM_WRITES 300

static volatile bool storm_over;

static void *storm(void *arg)
{
	pthread_t *thread = arg;
	u32 i;

	for (i = 0; !storm_over; i++) {
		pthread_kill(*thread, SIGUSR1);
		usleep(200 + i % 7 * 30);
	}
	return NULL;
}

/* So may a signal; stock loses an answer now and then. */
TEST(answers_under_signals)
{
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	pthread_t self = pthread_self(), sender;
	u32 i, lost = 0;

	ASSERT_EQ(pthread_create(&sender, NULL, storm, &self), 0);
	for (i = 1; i <= STORM_WRITES; i++) {
		write_to_exit(v, p, CONTROL, i);
		/* What user space leaves behind is no answer to the next write. */
		end_of_exit(v, p, value_of(i));
		v->run->hyperv.u.syndbg.status = 0x6c6f7374;
		if (vcpu_op(v, p, OP_RD(STATUS)).result != value_of(i))
			lost++;
		ASSERT_EQ(vcpu_get_msr(v, CONTROL), i);
	}
	storm_over = true;
	ASSERT_EQ(pthread_join(sender, NULL), 0);
	ktap_log("%u of %u answers lost", lost, STORM_WRITES);
	if (module_loaded())
		ASSERT_EQ(lost, 0);
	vm_free(vm);
}

/* The choice of calls over registers is a bit of OPTIONS, whatever else is in there. */
TEST(calls_are_chosen_by_options)
{
	static const u64 with[] = { USE_HCALLS, ~0ULL }, without[] = { 0, ~USE_HCALLS };
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	struct guest_op o;
	u32 i, code;

	for (code = HVCALL_POST_DEBUG_DATA; code <= HVCALL_RESET_DEBUG_SESSION; code++) {
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(vcpu_op(v, p, OP_WR(OPTIONS, without[i])).vector, 0);
			o = vcpu_op(v, p, OP_HC(code, 0, 0));
			ASSERT_EQ(o.exits, 0);
			ASSERT_EQ(o.result, HV_STATUS_OPERATION_DENIED);

			ASSERT_EQ(vcpu_op(v, p, OP_WR(OPTIONS, with[i])).vector, 0);
			o = vcpu_op(v, p, OP_HC(code, 0, 0));
			ASSERT_EQ(o.exits, 1);
			ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
		}
	}
	vm_free(vm);
}

static void handed_over(struct vcpu *v, struct ops_page *p, u64 control, u64 in, u64 out,
			u64 result)
{
	struct kvm_hyperv_exit *exit = &v->run->hyperv;

	p->ops[0] = OP_HC(control, in, out);
	p->nr = 1;
	vcpu_run_exit(v, KVM_EXIT_HYPERV);
	ASSERT_EQ(exit->type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(exit->u.hcall.input, control);
	ASSERT_EQ(exit->u.hcall.params[0], in);
	ASSERT_EQ(exit->u.hcall.params[1], out);
	exit->u.hcall.result = result;
	ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	ASSERT_EQ(p->ops[0].vector, 0);
	ASSERT_EQ(p->ops[0].result, result);
}

/* The registers of the call as the guest set them, and user space's result as it is. */
TEST(calls_go_to_user_space)
{
	struct vm *vm = debugger_vm(1, true);
	struct vcpu *v = vm->vcpus[0];
	struct ops_page *p = vcpu_ops_init(v, 1);
	u64 in = 0x1234567890abcde1ULL, out = 0xfedcba0987654321ULL;
	u32 code;

	vcpu_set_msr(v, OPTIONS, USE_HCALLS);
	for (code = HVCALL_POST_DEBUG_DATA; code <= HVCALL_RESET_DEBUG_SESSION; code++) {
		handed_over(v, p, code, in, out, HV_STATUS_SUCCESS);
		handed_over(v, p, code, 0, 0, HV_STATUS_INVALID_PARAMETER);
		handed_over(v, p, code, GPA_NOWHERE, ~0ULL, 0x123456789abcdef0ULL);
	}
	handed_over(v, p, HVCALL_RESET_DEBUG_SESSION | HV_CTL_FAST, in, out,
		    HV_STATUS_INVALID_HYPERCALL_CODE);
	vm_free(vm);
}
