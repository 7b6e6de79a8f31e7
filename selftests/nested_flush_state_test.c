// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct flush when L2 is restored, and when a VP assist page, or the VMCB, goes away. Stock 6.1
 * has no direct flush (N0).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested_flush.h"

/* --- save and restore, in L2 ---------------------------------------------- */

/* The first call after the move, without any entry by L1 in between. */
TEST_KNOWN(first_call_after_migration_is_answered, "N1")
{
	struct world *w;
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0), .fast = true };
	struct guest_op o;
	u32 before;

	if (host_is_amd())
		ktap_skip("L1 is asked until it enters L2 again, and that is right");
	w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	direct_world_start(w);
	direct_call(w, 0, &c);
	*w->n[0]->lock_page = 1;
	direct_world_move(w);
	before = w->n[0]->exits;
	o = l2_op(w, 0, l2_call_op(w, &c));
	ASSERT_KNOWN(o.result == success_of(&o), "result 0x%llx", (unsigned long long)o.result);
	ASSERT_KNOWN(w->n[0]->exits == before + 1, "TlbLockCount is not seen");
	ASSERT_EQ(w->n[0]->exit, NESTED_SYNTHETIC);
	direct_world_free(w);
}

/*
 * When state is restored onto a vCPU in use, the former L2's identity must not apply: calls go to
 * L1 until it enters L2 again.
 */
TEST(state_restored_in_place_forgets_the_l2)
{
	struct world *w;
	u32 i;

	if (!host_is_amd())
		ktap_skip("the enlightened VMCS tells who L2 is, and is read again");
	w = direct_world_create(NESTED_DIRECT);
	direct_world_start(w);
	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i], .fast = true, .mask = MASK(0) };

		nested_restore_in_place(w->vm->vcpus[0]);
		assert_reflected(w, l2_call_op(w, &c), "restored in place");
	}
	direct_world_free(w);
}

/* vCPU 1 is in L2 ever since, vCPU 0 has gone through L1. */
TEST_KNOWN(restored_l2_is_a_target, "N2")
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(1) };
	u32 i;

	direct_world_start(w);
	direct_world_move(w);
	/* Discard the flushes that the move itself caused. */
	for (i = 0; i < NR_VCPUS; i++)
		l2_op(w, i, (struct guest_op){ .op = OP_RDTSC });
	probes_read();
	nested_reenter(w->vm->vcpus[0]);
	probes_read();
	w->address[0] = invalidations[0].vcpu;
	direct_call(w, 0, &c);
	l2_op(w, 1, (struct guest_op){ .op = OP_RDTSC });
	probes_read();
	for (i = 0; i < nr_invalidations; i++)
		if (invalidations[i].vcpu != w->address[0])
			break;
	ASSERT_KNOWN(i < nr_invalidations, "vCPU 1 keeps its translations");
	direct_world_free(w);
}

/* With everything known again, as before. */
TEST_DIRECT(answered_after_migration_and_entry)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT | NESTED_PAGING);
	struct call c = { .code = HVCALL_FLUSH_LIST };

	direct_world_start(w);
	direct_world_move(w);
	find_vcpus(w);
	c.mask = MASK(0);
	judge_direct(w, &c, 1);
	c.mask = MASK(1);
	judge_direct(w, &c, 2);
	check_locked(w, 0, &c);
	direct_world_free(w);
}

/* --- a VP assist page that goes away --------------------------------------- */

static struct world *world_of_svm(void)
{
	struct world *w;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_pages_test");
	w = direct_world_create(NESTED_DIRECT);
	direct_world_start(w);
	return w;
}

TEST(moved_assist_page_applies_at_once)
{
	struct world *w = world_of_svm();
	u64 other = gpa(vm_alloc(w->vm, PAGE_SIZE));

	nested_l1_op(w->vm->vcpus[0], OP_WR(HV_X64_MSR_VP_ASSIST_PAGE, other | ASSIST_ENABLE));
	assert_all_reflected(w, "the assist page is elsewhere");
	direct_world_free(w);
}

/* The old page no longer allows direct calls. */
TEST_KNOWN_IF(disabled_assist_page_allows_nothing, "N8", host_has_direct_flush)
{
	struct world *w = world_of_svm();
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true };

	nested_l1_op(w->vm->vcpus[0], OP_WR(HV_X64_MSR_VP_ASSIST_PAGE, 0));
	ASSERT_KNOWN(l2_op(w, 0, l2_call_op(w, &c)).result == NESTED_REFLECTED,
		     "direct flush without an assist page");
	assert_all_reflected(w, "the assist page is disabled");
	direct_world_free(w);
}

/*
 * VMRUN with a page that is enabled and whose memory is removed; L1 has written @msr first, unless
 * that is 0. Return: what KVM_RUN returns.
 */
static int vmrun_without_page(struct world *w, u32 msr)
{
	struct kvm_userspace_memory_region none = { 0 };
	struct nested *n = w->n[0];

	n->assist = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	memset(n->assist, 0, PAGE_SIZE);
	none.slot = w->vm->nr_slots;
	none.guest_phys_addr = 0x40000000;
	vm_add_memslot(w->vm, none.guest_phys_addr, n->assist, PAGE_SIZE, 0);
	n->assist = (u8 *)(uintptr_t)none.guest_phys_addr;
	nested_start(w->vm->vcpus[0]);
	if (msr)
		ASSERT_EQ(nested_l1_op(w->vm->vcpus[0], OP_WR(msr, 0)).vector, 0);

	ASSERT_EQ(ioctl(w->vm->fd, KVM_SET_USER_MEMORY_REGION, &none), 0);
	n->may_fail = true;
	n->l1->nr = 0;
	n->l2->ops[0] = OP_L1;
	n->l2->nr = 1;
	return __vcpu_run(w->vm->vcpus[0]);
}

/* This is L1's own mistake. */
TEST_KNOWN_IF(assist_page_unreadable_at_vmrun, "N3", host_has_direct_flush)
{
	struct world *w;
	int r;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_pages_test");
	w = direct_world_create(NESTED_DIRECT);
	r = vmrun_without_page(w, 0);
	ASSERT_KNOWN(!r, "KVM_RUN: %s", strerror(-r));
	ASSERT_EQ(w->vm->vcpus[0]->run->exit_reason, KVM_EXIT_IO);
	/* Stock 6.1 does not read the page. */
	if (host_is_6_1() && !module_loaded() && w->n[0]->exit == NESTED_NONE)
		return;
	ASSERT_EQ(w->n[0]->exit, NESTED_FAILED);
	ASSERT_EQ(w->n[0]->failure, GP_VECTOR);
	direct_world_free(w);
}

/* Without PV EOI the page is not read, so it need not be readable. */
TEST(assist_page_unreadable_without_pv_eoi)
{
	struct world *w;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_pages_test");
	w = direct_world_create(NESTED_DIRECT);
	ASSERT_EQ(vmrun_without_page(w, MSR_KVM_PV_EOI_EN), 0);
	ASSERT_EQ(w->n[0]->exit, NESTED_NONE);
	direct_world_free(w);
}

static u64 vmrun_at(u64 vmcb)
{
	return nested_vmrun(this_cpu()->nested, vmcb);
}

/*
 * Linux 7.x leaves a VMCB at an address that only has no memory to user space. Have L1 go on
 * behind the VMRUN, as if it had entered no L2.
 */
static void vmrun_is_left_to_user_space(struct world *w, struct guest_op op)
{
	static const u8 vmrun[] = { 0x0f, 0x01, 0xd8 };
	struct vcpu *v = w->vm->vcpus[0];
	struct nested *n = w->n[0];
	struct kvm_regs r;

	n->l1->ops[0] = op;
	n->l1->nr = 1;
	n->l2->ops[0] = OP_L1;
	n->l2->nr = 1;
	vcpu_run_exit(v, KVM_EXIT_INTERNAL_ERROR);
	ASSERT_EQ(v->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);

	vcpu_ioctl(v, KVM_GET_REGS, &r);
	ASSERT(!memcmp((void *)(uintptr_t)r.rip, vmrun, sizeof(vmrun)), "no VMRUN at 0x%llx",
	       (unsigned long long)r.rip);
	ASSERT_EQ(r.rax, op.arg1);
	r.rip += sizeof(vmrun);
	vcpu_ioctl(v, KVM_SET_REGS, &r);
	vcpu_run_sync(v, OPS_STAGE);
	ASSERT_EQ(n->l1->ops[0].result, 0);
}

/* Nor is there anything to read at a VMCB that is nowhere, of which L2 it would be. */
TEST_DIRECT(vmrun_of_a_vmcb_outside_memory_faults)
{
	static const u64 nowhere[] = { GPA_NOWHERE, GPA_NOWHERE + PAGE_SIZE - 8, BIT64(40),
				       0x000ffffffffff000ULL, 0xfffffffffffff000ULL };
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true, .mask = MASK(0) };
	struct guest_op o = { .op = OP_CALL, .arg0 = (u64)(uintptr_t)vmrun_at };
	struct world *w = world_of_svm();
	u32 i;

	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		direct_call(w, 0, &c);
		o.arg1 = nowhere[i];
		if (nowhere[i] == GPA_NOWHERE && !host_kernel_before(7, 0))
			vmrun_is_left_to_user_space(w, o);
		else
			ASSERT_EQ(nested_l1_op(w->vm->vcpus[0], o).result, GP_VECTOR);
	}
	direct_call(w, 0, &c);
	direct_world_free(w);
}

/* See nested_evmcs_pages_test.c: the same cache, at VMRUN. */
TEST(pv_eoi_beside_assist_page)
{
	struct world *w;

	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N4)");
	w = world_of_svm();
	nested_l1_op(w->vm->vcpus[0], OP_WR(MSR_KVM_PV_EOI_EN, gpa(w->hidden) | 1));
	nested_reenter(w->vm->vcpus[0]);
	direct_world_free(w);
}

/* A register that keeps its value leaves the page as it is. */
TEST(pv_eoi_outside_memory_beside_assist_page)
{
	struct guest_op o = OP_WR(MSR_KVM_PV_EOI_EN, GPA_NOWHERE | 1);
	struct world *w;

	if (!module_loaded())
		ktap_skip("stock reads the page through that address, and KVM_RUN fails (N3)");
	w = world_of_svm();
	ASSERT_EQ(nested_l1_op(w->vm->vcpus[0], o).vector, GP_VECTOR);
	nested_reenter(w->vm->vcpus[0]);
	ASSERT_EQ(w->n[0]->exit, NESTED_NONE);
	direct_world_free(w);
}

#define MANY 300

/*
 * With PV EOI off KVM no longer reads the assist page: what it read for the former L2 must not
 * apply to this one.
 */
TEST_DIRECT(pv_eoi_off_forgets_the_assist_page)
{
	struct call c = { .fast = true, .mask = MASK(0) };
	struct world *w = world_of_svm();
	u64 rip;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		c.code = direct_codes[i];
		direct_call(w, 0, &c);
	}
	ASSERT_EQ(nested_l1_op(w->vm->vcpus[0], OP_WR(MSR_KVM_PV_EOI_EN, 0)).vector, 0);
	w->n[0]->direct = false;
	nested_reenter(w->vm->vcpus[0]);
	for (i = 0; i < MANY; i++) {
		c.code = direct_codes[i % ARRAY_SIZE(direct_codes)];
		assert_reflected(w, l2_call_op(w, &c), "PV EOI is off");
		/* L1 found the call at the exit's RIP, and has put it behind that. */
		rip = get64(w->n[0]->vmcb, VMCB_RIP);
		ASSERT(!memcmp((void *)(uintptr_t)(rip - 3), "\x0f\x01\xd9", 3),
		       "no VMMCALL before 0x%llx", (unsigned long long)rip);
	}
	direct_world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
