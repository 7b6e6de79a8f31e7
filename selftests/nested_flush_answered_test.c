// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct flushes that L0 answers: their forms, TlbLockCount, and who is a target, at which level
 * it may be. Stock 6.1 has no direct flush (N0).
 */
#include "nested_flush.h"

/* --- what L0 answers ------------------------------------------------------ */

static void check_forms(u32 flags)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT | flags);
	struct call c = { 0 };
	u32 i;

	direct_world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(direct_codes); i++) {
		c.code = direct_codes[i / 2];
		c.fast = i & 1;
		c.all = false;
		c.mask = MASK(0);
		judge_direct(w, &c, 1);
		c.mask = MASK(1);
		judge_direct(w, &c, 2);
		c.all = true;
		judge_direct(w, &c, 3);
	}
	direct_world_free(w);
}

TEST_DIRECT(answered_by_l0)
{
	check_forms(0);
}

TEST_DIRECT(answered_by_l0_with_nested_paging)
{
	check_forms(NESTED_PAGING);
}

/* The input of a slow call is at a GPA of L2, here one where L1 has no memory. */
TEST_DIRECT(input_is_at_an_address_of_l2)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT | NESTED_PAGING);
	struct guest_op o;
	u32 i;

	direct_world_start(w);
	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i], .mask = MASK(0) };

		direct_call(w, 0, &c);
		make_l2_stale(w, 0);
		probes_read();
		o = l2_op(w, 0, __l2_call_op(w, &c, w->hidden + 8, NESTED_WINDOW + 64));
		ASSERT_EQ(o.result, success_of(&o));
		ASSERT_EQ(l2_op(w, 0, (struct guest_op){ .op = OP_LOAD, .arg0 = AREA }).result,
			  NEW_VALUE);
		probes_read();
		ASSERT(invalidated_page(w->address[0], AREA, 12), "nothing was flushed");
		/* L2 has no page there, and L1 has: nothing of L1's is read. */
		o = l2_op(w, 0, __l2_call_op(w, &c, w->input, NESTED_WINDOW + PAGE_SIZE));
		ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
		/* L2 has a page there, and L1 has not. */
		w->n[0]->window[2] = GPA_NOWHERE | w->n[0]->leaf;
		o = l2_op(w, 0, __l2_call_op(w, &c, w->input, NESTED_WINDOW + 2 * PAGE_SIZE));
		ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	direct_world_free(w);
}

TEST_DIRECT(only_named_vps_of_the_same_vm)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { 0 };
	u32 i;

	direct_world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(direct_codes); i++) {
		c.code = direct_codes[i / 2];
		c.fast = i & 1;
		c.mask = BIT64(7);
		judge_direct(w, &c, 0);
		c.mask = MASK(0) | MASK(1) | BIT64(7);
		judge_direct(w, &c, 3);

		w->n[1]->vm_id = 2;
		nested_reenter(w->vm->vcpus[1]);
		judge_direct(w, &c, 1);
		c.all = true;
		judge_direct(w, &c, 1);
		c.all = false;
		c.mask = MASK(1);
		judge_direct(w, &c, 0);

		/* Both vCPUs are the same VP, which is for L1 to decide. */
		w->n[1]->vm_id = 1;
		w->n[1]->vp_id = vp_ids[0];
		nested_reenter(w->vm->vcpus[1]);
		c.mask = MASK(0);
		judge_direct(w, &c, 3);
		w->n[1]->vp_id = vp_ids[1];
		nested_reenter(w->vm->vcpus[1]);
	}
	direct_world_free(w);
}

/* --- TlbLockCount --------------------------------------------------------- */

TEST_DIRECT(tlb_lock_makes_a_synthetic_exit)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	u32 i;

	direct_world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i / 2], .fast = i & 1, .mask = MASK(0) };

		check_locked(w, 0, &c);
	}
	direct_world_free(w);
}

/* A call that fails has flushed nothing: no exit. */
TEST_DIRECT(failed_call_makes_no_synthetic_exit)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0) };
	struct guest_op o;
	u32 before;

	direct_world_start(w);
	direct_call(w, 0, &c);
	*w->n[0]->lock_page = 1;
	before = w->n[0]->exits;
	o = l2_op(w, 0, __l2_call_op(w, &c, w->input, GPA_NOWHERE));
	ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(w->n[0]->exits, before);
	direct_world_free(w);
}

/* L1 promised a partition assist page and has none there. */
TEST_DIRECT(missing_partition_assist_page_fails_the_call)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0), .fast = true };
	struct guest_op o;
	u32 i;

	direct_world_start(w);
	direct_call(w, 0, &c);
	w->n[0]->lock_page = (u32 *)(uintptr_t)GPA_NOWHERE;
	nested_reenter(w->vm->vcpus[0]);
	/* Without a word of how many reps are done. */
	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		c.code = direct_codes[i];
		o = l2_op(w, 0, l2_call_op(w, &c));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	direct_world_free(w);
}

/* --- who is a target -------------------------------------------------------- */

/* 0 is a VmId and a VpId like any other. */
TEST_DIRECT(vm_id_and_vp_id_may_be_zero)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(0) | MASK(1) };
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		w->n[i]->vm_id = 0;
	direct_world_start(w);
	judge_direct(w, &c, 3);
	c.fast = true;
	judge_direct(w, &c, 3);
	c.mask = MASK(1);
	judge_direct(w, &c, 2);
	check_locked(w, 0, &c);
	direct_world_free(w);
}

/* An L2 without identity (the enlightenment is off) is no target. */
TEST_DIRECT(l2_without_identity_is_no_target)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { 0 };
	u32 i;

	w->n[1]->direct = false;
	w->n[1]->vm_id = 0;
	w->n[1]->vp_id = 0;
	direct_world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(direct_codes); i++) {
		c.code = direct_codes[i / 2];
		c.fast = i & 1;
		c.all = false;
		c.mask = MASK(0) | MASK(1) | 1;
		judge_direct(w, &c, 1);
		c.all = true;
		judge_direct(w, &c, 1);
	}
	direct_world_free(w);
}

/* --- a target that is at the other level ------------------------------------ */

/* An operation of L1. */
static u64 stop(u64 stage)
{
	GUEST_SYNC(stage);
	return 0;
}

/* L2 of @vcpu exits, and L1 stops twice, at 1 and at 2, before it goes back. */
static void stop_in_l1(struct world *w, u32 vcpu)
{
	struct nested *n = w->n[vcpu];
	u32 i;

	for (i = 0; i < 2; i++)
		n->l1->ops[i] = (struct guest_op){ .op = OP_CALL,
						   .arg0 = (u64)(uintptr_t)stop,
						   .arg1 = i + 1 };
	n->l1->nr = 2;
	n->l2->ops[0] = OP_L1;
	n->l2->nr = 1;
	vcpu_run_sync(w->vm->vcpus[vcpu], 1);
}

/* Run to @stage. Return: was @vcpu flushed, by address, by VPID or by root, on the way? */
static bool flushed_until(struct world *w, u32 vcpu, u64 stage)
{
	u64 before[NR_HITS], after[NR_HITS];

	probes_read();
	probes_hits(before);
	vcpu_run_sync(w->vm->vcpus[vcpu], stage);
	probes_read();
	probes_hits(after);
	/* All contexts of the CPU, of other VMs, too. */
	ASSERT_EQ(after[HITS_EVERYTHING], before[HITS_EVERYTHING]);
	return after[HITS_CURRENT] > before[HITS_CURRENT] ||
	       invalidated_page(w->address[vcpu], AREA, 12);
}

/* Intel: L1 has a VPID for L2, or KVM would flush at each change, as it does on AMD. */
static struct world *world_of_vpid(u32 flags)
{
	struct world *w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT | flags);
	u32 i;

	if (!host_is_amd()) {
		if (!(vcpu_get_msr(w->vm->vcpus[0], MSR_VMX_PROC2) >> 32 & PROC2_VPID))
			ktap_skip("no nested VPID here");
		for (i = 0; i < NR_VCPUS; i++)
			w->n[i]->controls2 |= PROC2_VPID;
	}
	/* Once more than to find the vCPUs: roots are loaded with a flush. */
	for (i = 0; i < NR_VCPUS; i++)
		nested_start(w->vm->vcpus[i]);
	for (i = 0; i < NR_VCPUS; i++) {
		struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = BIT64(i) };

		nested_reenter(w->vm->vcpus[i]);
		probes_read();
		nested_l1_op(w->vm->vcpus[i], l2_call_op(w, &c));
		probes_read();
		ASSERT(nr_invalidations, "vCPU %u: L1's flush of itself invalidates nothing", i);
		w->address[i] = invalidations[0].vcpu;
		nested_reenter(w->vm->vcpus[i]);
	}
	/* A new VP's first request also frees the roots, for flushes from before it was there. */
	for (i = 0; i < NR_VCPUS; i++) {
		struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = BIT64(i) };

		nested_l1_op(w->vm->vcpus[(i + 1) % NR_VCPUS], l2_call_op(w, &c));
		nested_reenter(w->vm->vcpus[(i + 1) % NR_VCPUS]);
		nested_reenter(w->vm->vcpus[i]);
	}
	return w;
}

static void check_l2_flush_of_l1(u32 flags)
{
	struct world *w = world_of_vpid(flags);
	u32 i;

	stop_in_l1(w, 1);
	/* Without any call, or this shows nothing. */
	ASSERT(!flushed_until(w, 1, 2), "L1 is flushed");
	ASSERT_EQ(flushed_until(w, 1, OPS_STAGE), host_is_amd());
	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i], .mask = MASK(1) };

		stop_in_l1(w, 1);
		direct_call(w, 0, &c);
		ASSERT(!flushed_until(w, 1, 2), "call 0x%llx: L1 is flushed",
		       (unsigned long long)c.code);
		ASSERT(flushed_until(w, 1, OPS_STAGE),
		       "call 0x%llx: L2 is entered with what it had", (unsigned long long)c.code);
	}
	direct_world_free(w);
}

TEST_DIRECT(l2_flushes_one_that_is_in_l1)
{
	check_l2_flush_of_l1(0);
}

TEST_DIRECT(l2_flushes_one_that_is_in_l1_with_nested_paging)
{
	check_l2_flush_of_l1(NESTED_PAGING);
}

/* L1 flushes a VP whose L2 runs. */
static void check_l1_flush_of_l2(u32 flags)
{
	struct world *w = world_of_vpid(flags);
	bool l2_flushed;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i], .mask = BIT64(1) };
		struct guest_op o = nested_l1_op(w->vm->vcpus[0], l2_call_op(w, &c));

		ASSERT_EQ(o.result, success_of(&o));
		/* First still in L2, then after an exit to L1. */
		w->n[1]->l2->nr = 0;
		l2_flushed = flushed_until(w, 1, OPS_STAGE);
		w->n[1]->l1->nr = 0;
		w->n[1]->l2->ops[0] = OP_L1;
		w->n[1]->l2->nr = 1;
		ASSERT_KNOWN(flushed_until(w, 1, OPS_STAGE),
			     "call 0x%llx: L1 goes on with what it had",
			     (unsigned long long)c.code);
		ASSERT(!l2_flushed || (host_is_6_1() && !module_loaded()),
		       "call 0x%llx: L2 is flushed", (unsigned long long)c.code);
	}
	direct_world_free(w);
}

static bool intel_6_1(void)
{
	return !host_is_amd() && host_is_6_1();
}

TEST_KNOWN_IF(l1_flushes_one_that_is_in_l2, "K24", intel_6_1)
{
	check_l1_flush_of_l2(0);
}

TEST_KNOWN_IF(l1_flushes_one_that_is_in_l2_with_nested_paging, "K24", intel_6_1)
{
	check_l1_flush_of_l2(NESTED_PAGING);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
