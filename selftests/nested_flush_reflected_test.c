// SPDX-License-Identifier: GPL-2.0-only
/*
 * Flush calls of L2 that go to L1, and an L1 that single-steps L2 over one that does not. Stock
 * 6.1 has no direct flush (N0).
 */
#include "nested_flush.h"
#include "tracefs.h"

/* --- what goes to L1 ------------------------------------------------------ */

TEST(reflected_without_the_cpuid_bit)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);

	vcpu_set_bit(w->vm->vcpus[0], HV_N_DIRECT_FLUSH, false);
	direct_world_start(w);
	assert_all_reflected(w, "not in CPUID");
	direct_world_free(w);
}

TEST(reflected_unless_l1_sets_both_bits)
{
	struct world *w = direct_world_create(NESTED_EVMCS);

	direct_world_start(w);
	assert_all_reflected(w, "nothing allowed");
	w->n[0]->assist[ASSIST_DIRECT] = 1;
	nested_reenter(w->vm->vcpus[0]);
	assert_all_reflected(w, "allowed in the assist page only");
	w->n[0]->assist[ASSIST_DIRECT] = 0;
	w->n[0]->direct = true;
	nested_reenter(w->vm->vcpus[0]);
	assert_all_reflected(w, "allowed in the VMCB or eVMCS only");
	direct_world_free(w);
}

TEST(reflected_with_a_plain_vmcs)
{
	struct world *w;

	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
	w = direct_world_create(NESTED_DIRECT);
	direct_world_start(w);
	assert_all_reflected(w, "a plain VMCS");
	direct_world_free(w);
}

/* L1 changes its mind from one entry to the next. */
TEST_DIRECT(follows_l1_from_entry_to_entry)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(0) };
	u32 i;

	direct_world_start(w);
	for (i = 0; i < 3; i++) {
		direct_call(w, 0, &c);
		w->n[0]->direct = false;
		nested_reenter(w->vm->vcpus[0]);
		assert_all_reflected(w, "forbidden");
		w->n[0]->direct = true;
		w->n[0]->assist[ASSIST_DIRECT] = 0;
		nested_reenter(w->vm->vcpus[0]);
		assert_all_reflected(w, "forbidden in the assist page");
		w->n[0]->assist[ASSIST_DIRECT] = 1;
		nested_reenter(w->vm->vcpus[0]);
	}
	direct_world_free(w);
}

TEST(other_calls_are_reflected)
{
	static const u64 others[] = { HVCALL_SEND_IPI | HV_CTL_FAST,
				      HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST,
				      HVCALL_SIGNAL_EVENT | HV_CTL_FAST,
				      HVCALL_SEND_IPI_EX,
				      HVCALL_FLUSH_GPA_SPACE,
				      HVCALL_FLUSH_GPA_LIST | HV_CTL_REP(1),
				      HVCALL_EXT_QUERY_CAPABILITIES,
				      0x7fff };
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	u32 i;

	direct_world_start(w);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		assert_reflected(w, OP_HC(others[i], 0, 0), "no flush");
	direct_world_free(w);
}

/* --- L1 single-steps L2 --------------------------------------------------- */

#define PARAM	     "/sys/module/kvm_hyperv/parameters/fastpath"
#define PROC_MTF     BIT64(27)
#define VMX_EXIT_MTF 37

extern u8 behind_flush[];
static volatile u64 step_reason, step_rip;

/* L2: CPUID is where L1 begins, by stepping(). */
static __attribute__((noinline, noclone)) u64 flush_stepped(u64 cr3)
{
	u64 rax = NESTED_LEAF, rcx = HVCALL_FLUSH_SPACE | HV_CTL_FAST, rdx = cr3;
	register u64 r8 asm("r8") = HV_FLUSH_ALL_PROCESSORS;

	asm volatile("cpuid\n"
		     "vmcall\n"
		     "behind_flush: nop\n"
		     "nop\n"
		     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+r"(r8)
		     :
		     : "rbx", "memory");
	return rax;
}

/* L1, an operation of it: to the first monitor trap and no further. */
static u64 stepping(u64 unused)
{
	struct nested *n = this_cpu()->nested;
	u64 proc = vmcs_read(n, VMCS_PROC);

	(void)unused;
	vmcs_write(n, VMCS_RIP, vmcs_read(n, VMCS_RIP) + 2);
	vmcs_write(n, VMCS_PROC, proc | PROC_MTF);
	GUEST_ASSERT(nested_enter(n) != NESTED_FAILED);
	step_reason = n->reason;
	step_rip = vmcs_read(n, VMCS_RIP);
	vmcs_write(n, VMCS_PROC, proc);
	/* nested_loop() goes on behind what it takes for the CPUID. */
	vmcs_write(n, VMCS_RIP, step_rip - 2);
	return 0;
}

static void step_over_flush(struct world *w)
{
	struct nested *n = w->n[0];
	struct guest_op o;

	n->l1->ops[0] = (struct guest_op){ .op = OP_CALL, .arg0 = (u64)(uintptr_t)stepping };
	n->l1->nr = 1;
	o = l2_op(w, 0,
		  (struct guest_op){ .op = OP_CALL,
				     .arg0 = (u64)(uintptr_t)flush_stepped,
				     .arg1 = w->vm->cr3 });
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, 0);
}

static void assert_stepped(void)
{
	ASSERT_EQ(step_reason, VMX_EXIT_MTF);
	ASSERT_EQ(step_rip, gpa(behind_flush));
}

/* The call is one instruction of L2, whether L0 or L1 answers it. */
TEST_DIRECT(monitor_trap_behind_the_call)
{
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true, .all = true };
	struct world *w;

	if (host_is_amd())
		ktap_skip("VMX only");
	w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	if (!(vcpu_get_msr(w->vm->vcpus[0], MSR_VMX_TRUE_PROC) >> 32 & PROC_MTF))
		ktap_skip("the host's CPU has no monitor trap");
	direct_world_start(w);
	direct_call(w, 0, &c);
	step_over_flush(w);
	assert_stepped();
	if (module_loaded()) {
		file_must_write(PARAM, "0");
		step_over_flush(w);
		file_must_write(PARAM, "1");
		assert_stepped();
	}
	direct_world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
