// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct flush: L2's four flush calls are answered by L0, without L1, when L1 has allowed
 * it in the VP assist page, in the VMCB or eVMCS, and L0 in CPUID. TLFS chapter "Nested
 * Virtualization", "Direct Virtual Flush". Who is flushed is judged as in guest/flush.h.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested.h"
#include "probe.h"
#include "tracefs.h"

#define MAX_OPS 16
#define TRIES	100

/* The page under test, by an entry of the PML4 of its own. */
#define AREA	  BIT64(39)
#define OLD_VALUE 0x6f6c646f6c646f6cULL
#define NEW_VALUE 0x6e65776e65776e65ULL

#define MSR_KVM_PV_EOI_EN 0x4b564d04u

static const u32 vp_ids[] = { 5, 9 };
#define MASK(vcpu) BIT64(vp_ids[vcpu])

#define NR_VCPUS ARRAY_SIZE(vp_ids)

struct world {
	struct vm *vm;
	struct nested *n[NR_VCPUS];
	u64 address[NR_VCPUS]; /* of the struct kvm_vcpu, as the probes show it */
	u64 *pte, old, new;
	u64 *input, *hidden; /* what a slow call reads; the window's first page */
	struct xmm_block *xmm;
};

struct call {
	u64 code, mask;
	bool fast, all;
};

static const u64 codes[] = { HVCALL_FLUSH_SPACE, HVCALL_FLUSH_LIST, HVCALL_FLUSH_SPACE_EX,
			     HVCALL_FLUSH_LIST_EX };

static bool host_is_6_12(void)
{
	return !host_is_6_1();
}

/* --- the machine ---------------------------------------------------------- */

static void build_area(struct world *w)
{
	u64 *pml4 = (u64 *)(uintptr_t)w->vm->cr3, *pdpt = vm_alloc(w->vm, PAGE_SIZE);
	u64 *pd = vm_alloc(w->vm, PAGE_SIZE), *page;

	w->pte = vm_alloc(w->vm, PAGE_SIZE);
	pml4[1] = gpa(pdpt) | 3;
	pdpt[0] = gpa(pd) | 3;
	pd[0] = gpa(w->pte) | 3;
	page = vm_alloc(w->vm, PAGE_SIZE);
	*page = OLD_VALUE;
	w->old = gpa(page) | 3;
	page = vm_alloc(w->vm, PAGE_SIZE);
	*page = NEW_VALUE;
	w->new = gpa(page) | 3;
	*w->pte = w->new;
}

/* Nothing has run yet: cases may change what the vCPUs start with. */
static struct world *world_create(u32 flags)
{
	struct world *w = calloc(1, sizeof(*w));
	cpu_set_t set;
	u32 i;

	ASSERT(w, "memory");
	probes_require();
	/* A vCPU that changes its CPU is flushed for that. */
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
	w->vm = vm_create(NR_VCPUS, 0);
	build_area(w);
	w->input = vm_alloc(w->vm, PAGE_SIZE);
	w->hidden = vm_alloc(w->vm, PAGE_SIZE);
	w->xmm = vm_alloc(w->vm, PAGE_SIZE);
	for (i = 0; i < NR_VCPUS; i++) {
		w->n[i] = nested_create(w->vm->vcpus[i], flags, MAX_OPS);
		w->n[i]->vp_id = vp_ids[i];
		w->n[i]->window[0] = gpa(w->hidden) | w->n[i]->leaf;
	}
	return w;
}

static void find_vcpus(struct world *w)
{
	u32 i;

	for (i = 0; i < NR_VCPUS; i++) {
		probes_read();
		nested_reenter(w->vm->vcpus[i]);
		probes_read();
		ASSERT(nr_invalidations, "vCPU %u: L2's exit and entry invalidate nothing", i);
		w->address[i] = invalidations[0].vcpu;
	}
}

static void world_start(struct world *w)
{
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		nested_start(w->vm->vcpus[i]);
	find_vcpus(w);
}

static void world_move(struct world *w)
{
	w->vm = nested_move(w->vm);
}

static void world_free(struct world *w)
{
	vm_free(w->vm);
	free(w);
}

/* --- calls ---------------------------------------------------------------- */

static struct guest_op __call_op(struct world *w, const struct call *c, u64 *in, u64 in_gpa)
{
	bool ex = c->code == HVCALL_FLUSH_SPACE_EX || c->code == HVCALL_FLUSH_LIST_EX;
	bool list = c->code == HVCALL_FLUSH_LIST || c->code == HVCALL_FLUSH_LIST_EX;
	u64 control = c->code;
	u32 n = 0;

	in[n++] = w->vm->cr3;
	in[n++] = c->all ? HV_FLUSH_ALL_PROCESSORS : 0;
	if (ex) {
		in[n++] = c->all; /* the format: 1 = all */
		in[n++] = c->all ? 0 : 1;
		if (!c->all)
			control |= HV_CTL_VARHDR(1);
	}
	if (!(ex && c->all))
		in[n++] = c->mask;
	if (list) {
		in[n++] = AREA;
		control |= HV_CTL_REP(1);
	}
	if (!c->fast)
		return OP_HC(control, in_gpa, 0);
	memcpy(w->xmm->q, &in[2], (n - 2) * 8);
	return (struct guest_op){ .op = OP_HYPERCALL_XMM,
				  .arg0 = control | HV_CTL_FAST,
				  .arg1 = in[0],
				  .arg2 = in[1],
				  .xmm = w->xmm };
}

static struct guest_op call_op(struct world *w, const struct call *c)
{
	return __call_op(w, c, w->input, gpa(w->input));
}

static u64 success(const struct guest_op *o)
{
	return o->arg0 & HV_CTL_REP(0xfff);
}

static struct guest_op l2_op(struct world *w, u32 vcpu, struct guest_op op)
{
	return vcpu_op(w->vm->vcpus[vcpu], w->n[vcpu]->l2, op);
}

/* One call of L2; it must come back without L1. */
static struct guest_op direct_call(struct world *w, u32 vcpu, const struct call *c)
{
	u32 before = w->n[vcpu]->exits;
	struct guest_op o = l2_op(w, vcpu, call_op(w, c));

	ASSERT_EQ(o.vector, 0);
	if (host_is_6_1())
		ASSERT_KNOWN(w->n[vcpu]->exits == before, "call 0x%llx goes to L1",
			     (unsigned long long)c->code);
	ASSERT(w->n[vcpu]->exits == before, "call 0x%llx goes to L1", (unsigned long long)c->code);
	return o;
}

/* L2 of @vcpu reads through a translation that is stale. */
static void make_stale(struct world *w, u32 vcpu)
{
	struct ops_page *p = w->n[vcpu]->l2;
	u32 try;

	for (try = 0; try < TRIES; try++) {
		p->ops[0] =
			(struct guest_op){ .op = OP_STORE, .arg0 = gpa(w->pte), .arg1 = w->old };
		p->ops[1] = OP_L1; /* and its way back flush everything */
		p->ops[2] = (struct guest_op){ .op = OP_LOAD, .arg0 = AREA };
		p->ops[3] =
			(struct guest_op){ .op = OP_STORE, .arg0 = gpa(w->pte), .arg1 = w->new };
		p->ops[4] = (struct guest_op){ .op = OP_LOAD, .arg0 = AREA };
		w->n[vcpu]->l1->nr = 0;
		vcpu_ops_run(w->vm->vcpus[vcpu], p, 5);
		ASSERT_EQ(p->ops[2].result, OLD_VALUE);
		if (p->ops[4].result == OLD_VALUE)
			return;
	}
	FAIL("L2 of vCPU %u never used a stale translation, so this shows nothing", vcpu);
}

/* vCPU 0 calls; exactly the vCPUs of @targets are flushed. */
static void __judge(struct world *w, const struct call *c, u32 targets, bool known)
{
	struct guest_op call, load = { .op = OP_LOAD, .arg0 = AREA };
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		if (targets & 1u << i)
			make_stale(w, i);
	probes_read();
	call = direct_call(w, 0, c);
	ASSERT_EQ(call.result, success(&call));
	for (i = 0; i < NR_VCPUS; i++) {
		struct guest_op o = l2_op(w, i, load);

		if (targets & 1u << i)
			ASSERT_EQ(o.result, NEW_VALUE);
	}
	probes_read();
	for (i = 0; i < NR_VCPUS; i++) {
		bool flushed = invalidated_page(w->address[i], AREA, 12);

		if (known && targets & 1u << i)
			ASSERT_KNOWN(flushed, "call 0x%llx: vCPU %u keeps its translation",
				     (unsigned long long)c->code, i);
		ASSERT(flushed == !!(targets & 1u << i), "call 0x%llx, fast %u: vCPU %u %s",
		       (unsigned long long)c->code, c->fast, i,
		       flushed ? "is flushed" : "keeps its translation");
	}
}

static void judge(struct world *w, const struct call *c, u32 targets)
{
	__judge(w, c, targets, false);
}

#define TEST_DIRECT(name) TEST_KNOWN_IF(name, "N0", host_is_6_1)

/* --- what L0 answers ------------------------------------------------------ */

static void check_forms(u32 flags)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT | flags);
	struct call c = { 0 };
	u32 i;

	world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		c.code = codes[i / 2];
		c.fast = i & 1;
		c.all = false;
		c.mask = MASK(0);
		judge(w, &c, 1);
		c.mask = MASK(1);
		judge(w, &c, 2);
		c.all = true;
		judge(w, &c, 3);
	}
	world_free(w);
}

TEST_DIRECT(answered_by_l0)
{
	check_forms(0);
}

TEST_DIRECT(answered_by_l0_with_nested_paging)
{
	check_forms(NESTED_PAGING);
}

/* A slow call's block is at a GPA of L2, here one that L1 has not. */
TEST_DIRECT(input_is_at_an_address_of_l2)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT | NESTED_PAGING);
	struct guest_op o;
	u32 i;

	world_start(w);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i], .mask = MASK(0) };

		direct_call(w, 0, &c);
		make_stale(w, 0);
		probes_read();
		o = l2_op(w, 0, __call_op(w, &c, w->hidden + 8, NESTED_WINDOW + 64));
		ASSERT_EQ(o.result, success(&o));
		ASSERT_EQ(l2_op(w, 0, (struct guest_op){ .op = OP_LOAD, .arg0 = AREA }).result,
			  NEW_VALUE);
		probes_read();
		ASSERT(invalidated_page(w->address[0], AREA, 12), "nothing was flushed");
		/* L2 has no page there, and L1 has: nothing of L1's is read. */
		o = l2_op(w, 0, __call_op(w, &c, w->input, NESTED_WINDOW + PAGE_SIZE));
		ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
		/* L2 has a page there, and L1 has not. */
		w->n[0]->window[2] = GPA_NOWHERE | w->n[0]->leaf;
		o = l2_op(w, 0, __call_op(w, &c, w->input, NESTED_WINDOW + 2 * PAGE_SIZE));
		ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	world_free(w);
}

TEST_DIRECT(only_the_same_machine_and_processor)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { 0 };
	u32 i;

	world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		c.code = codes[i / 2];
		c.fast = i & 1;
		c.mask = BIT64(7);
		judge(w, &c, 0);
		c.mask = MASK(0) | MASK(1) | BIT64(7);
		judge(w, &c, 3);

		w->n[1]->vm_id = 2;
		nested_reenter(w->vm->vcpus[1]);
		judge(w, &c, 1);
		c.all = true;
		judge(w, &c, 1);
		c.all = false;
		c.mask = MASK(1);
		judge(w, &c, 0);

		/* Both vCPUs are the same VP, which is for L1 to decide. */
		w->n[1]->vm_id = 1;
		w->n[1]->vp_id = vp_ids[0];
		nested_reenter(w->vm->vcpus[1]);
		c.mask = MASK(0);
		judge(w, &c, 3);
		w->n[1]->vp_id = vp_ids[1];
		nested_reenter(w->vm->vcpus[1]);
	}
	world_free(w);
}

/* --- TlbLockCount --------------------------------------------------------- */

static void check_locked(struct world *w, u32 vcpu, const struct call *c)
{
	struct nested *n = w->n[vcpu];
	u32 before;
	struct guest_op o;

	direct_call(w, vcpu, c);
	*n->lock_page = 1;
	before = n->exits;
	o = l2_op(w, vcpu, call_op(w, c));
	ASSERT_EQ(n->exits - before, 1);
	ASSERT_EQ(n->exit, NESTED_SYNTHETIC);
	ASSERT_EQ(n->reason, host_is_amd() ? SVM_SYNTHETIC : VMX_SYNTHETIC_FLUSH);
	ASSERT_EQ(n->info, host_is_amd() ? SVM_SYNTHETIC_FLUSH : 0);
	/* The flush is done, and L2 is behind the call, with its result. */
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, success(&o));
	*n->lock_page = 0;
	direct_call(w, vcpu, c);
}

TEST_DIRECT(locked)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	u32 i;

	world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i / 2], .fast = i & 1, .mask = MASK(0) };

		check_locked(w, 0, &c);
	}
	world_free(w);
}

/* A call that fails has flushed nothing: no exit. */
TEST_DIRECT(locked_but_failed)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0) };
	struct guest_op o;
	u32 before;

	world_start(w);
	direct_call(w, 0, &c);
	*w->n[0]->lock_page = 1;
	before = w->n[0]->exits;
	o = l2_op(w, 0, __call_op(w, &c, w->input, GPA_NOWHERE));
	ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(w->n[0]->exits, before);
	world_free(w);
}

/* L1 promised a partition assist page and has none there. */
TEST_DIRECT(no_partition_assist_page)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0), .fast = true };
	struct guest_op o;

	world_start(w);
	direct_call(w, 0, &c);
	w->n[0]->lock_page = (u32 *)(uintptr_t)GPA_NOWHERE;
	nested_reenter(w->vm->vcpus[0]);
	o = l2_op(w, 0, call_op(w, &c));
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	world_free(w);
}

/* --- who is a target -------------------------------------------------------- */

/* 0 is a VmId and a VpId like any other. */
TEST_DIRECT(machine_zero)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(0) | MASK(1) };
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		w->n[i]->vm_id = 0;
	world_start(w);
	judge(w, &c, 3);
	c.fast = true;
	judge(w, &c, 3);
	c.mask = MASK(1);
	judge(w, &c, 2);
	check_locked(w, 0, &c);
	world_free(w);
}

/* An L2 whose hypervisor has said nothing about it is nobody's VP. */
TEST_DIRECT(nobody_is_no_target)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { 0 };
	u32 i;

	w->n[1]->direct = false;
	w->n[1]->vm_id = 0;
	w->n[1]->vp_id = 0;
	world_start(w);
	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		c.code = codes[i / 2];
		c.fast = i & 1;
		c.all = false;
		c.mask = MASK(0) | MASK(1) | 1;
		judge(w, &c, 1);
		c.all = true;
		judge(w, &c, 1);
	}
	world_free(w);
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
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT | flags);
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
		nested_l1_op(w->vm->vcpus[i], call_op(w, &c));
		probes_read();
		ASSERT(nr_invalidations, "vCPU %u: L1's flush of itself invalidates nothing", i);
		w->address[i] = invalidations[0].vcpu;
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
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i], .mask = MASK(1) };

		stop_in_l1(w, 1);
		direct_call(w, 0, &c);
		ASSERT(!flushed_until(w, 1, 2), "call 0x%llx: L1 is flushed",
		       (unsigned long long)c.code);
		ASSERT(flushed_until(w, 1, OPS_STAGE),
		       "call 0x%llx: L2 is entered with what it had", (unsigned long long)c.code);
	}
	world_free(w);
}

TEST_DIRECT(l2_flushes_one_that_is_in_l1)
{
	check_l2_flush_of_l1(0);
}

TEST_DIRECT(l2_flushes_one_that_is_in_l1_with_nested_paging)
{
	check_l2_flush_of_l1(NESTED_PAGING);
}

/* L1's own flush, of a VP whose L2 runs. */
static void check_l1_flush_of_l2(u32 flags)
{
	struct world *w = world_of_vpid(flags);
	bool l2_flushed;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i], .mask = BIT64(1) };
		struct guest_op o = nested_l1_op(w->vm->vcpus[0], call_op(w, &c));

		ASSERT_EQ(o.result, success(&o));
		/* Still in L2, and then to L1 and back. */
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
	world_free(w);
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

/* --- what goes to L1 ------------------------------------------------------ */

static void assert_reflected(struct world *w, struct guest_op op, const char *why)
{
	u32 before = w->n[0]->exits;
	struct guest_op o = l2_op(w, 0, op);

	ASSERT(w->n[0]->exits == before + 1 && w->n[0]->exit == NESTED_HYPERCALL &&
		       o.result == NESTED_REFLECTED,
	       "%s: call 0x%llx: %u exits to L1, result 0x%llx", why, (unsigned long long)op.arg0,
	       w->n[0]->exits - before, (unsigned long long)o.result);
}

static void assert_all_reflected(struct world *w, const char *why)
{
	u32 i;

	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i / 2], .fast = i & 1, .mask = MASK(0) };

		assert_reflected(w, call_op(w, &c), why);
	}
}

TEST(not_in_cpuid)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);

	vcpu_set_bit(w->vm->vcpus[0], HV_N_DIRECT_FLUSH, false);
	world_start(w);
	assert_all_reflected(w, "not in CPUID");
	world_free(w);
}

TEST(not_allowed_by_l1)
{
	struct world *w = world_create(NESTED_EVMCS);

	world_start(w);
	assert_all_reflected(w, "nothing allowed");
	w->n[0]->assist[ASSIST_DIRECT] = 1;
	nested_reenter(w->vm->vcpus[0]);
	assert_all_reflected(w, "allowed in the assist page only");
	w->n[0]->assist[ASSIST_DIRECT] = 0;
	w->n[0]->direct = true;
	nested_reenter(w->vm->vcpus[0]);
	assert_all_reflected(w, "allowed in the VMCB or eVMCS only");
	world_free(w);
}

TEST(plain_vmcs)
{
	struct world *w;

	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
	w = world_create(NESTED_DIRECT);
	world_start(w);
	assert_all_reflected(w, "a plain VMCS");
	world_free(w);
}

/* L1 changes its mind from one entry to the next. */
TEST_DIRECT(allowed_and_forbidden)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(0) };
	u32 i;

	world_start(w);
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
	world_free(w);
}

TEST(other_calls)
{
	static const u64 others[] = { HVCALL_SEND_IPI | HV_CTL_FAST,
				      HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST,
				      HVCALL_SIGNAL_EVENT | HV_CTL_FAST,
				      HVCALL_SEND_IPI_EX,
				      HVCALL_FLUSH_GPA_SPACE,
				      HVCALL_FLUSH_GPA_LIST | HV_CTL_REP(1),
				      HVCALL_EXT_QUERY_CAPABILITIES,
				      0x7fff };
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	u32 i;

	world_start(w);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		assert_reflected(w, OP_HC(others[i], 0, 0), "no flush");
	world_free(w);
}

/* --- save and restore, in L2 ---------------------------------------------- */

/* The first call after the move, without any entry by L1 in between. */
TEST_KNOWN(restored_caller, "N1")
{
	struct world *w;
	struct call c = { .code = HVCALL_FLUSH_SPACE, .mask = MASK(0), .fast = true };
	struct guest_op o;
	u32 before;

	if (host_is_amd())
		ktap_skip("L1 is asked until it enters L2 again, and that is right");
	w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	world_start(w);
	direct_call(w, 0, &c);
	*w->n[0]->lock_page = 1;
	world_move(w);
	before = w->n[0]->exits;
	o = l2_op(w, 0, call_op(w, &c));
	ASSERT_KNOWN(o.result == success(&o), "result 0x%llx", (unsigned long long)o.result);
	ASSERT_KNOWN(w->n[0]->exits == before + 1, "TlbLockCount is not seen");
	ASSERT_EQ(w->n[0]->exit, NESTED_SYNTHETIC);
	world_free(w);
}

/*
 * Nothing of the L2 before counts for one that is restored onto a vCPU that is in use, until L1,
 * which is asked therefore, enters it again.
 */
TEST(restored_in_place)
{
	struct world *w;
	u32 i;

	if (!host_is_amd())
		ktap_skip("the enlightened VMCS tells who L2 is, and is read again");
	w = world_create(NESTED_DIRECT);
	world_start(w);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		struct call c = { .code = codes[i], .fast = true, .mask = MASK(0) };

		nested_restore_in_place(w->vm->vcpus[0]);
		assert_reflected(w, call_op(w, &c), "restored in place");
	}
	world_free(w);
}

/* vCPU 1 is in L2 ever since, vCPU 0 has gone through L1. */
TEST_KNOWN(restored_target, "N2")
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	struct call c = { .code = HVCALL_FLUSH_LIST, .mask = MASK(1) };
	u32 i;

	world_start(w);
	world_move(w);
	/* Whatever the move itself asked for. */
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
	world_free(w);
}

/* With everything known again, as before. */
TEST_DIRECT(restored_and_reentered)
{
	struct world *w = world_create(NESTED_EVMCS | NESTED_DIRECT | NESTED_PAGING);
	struct call c = { .code = HVCALL_FLUSH_LIST };

	world_start(w);
	world_move(w);
	find_vcpus(w);
	c.mask = MASK(0);
	judge(w, &c, 1);
	c.mask = MASK(1);
	judge(w, &c, 2);
	check_locked(w, 0, &c);
	world_free(w);
}

/* --- a VP assist page that goes away --------------------------------------- */

static struct world *world_of_svm(void)
{
	struct world *w;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_test");
	w = world_create(NESTED_DIRECT);
	world_start(w);
	return w;
}

TEST(assist_page_elsewhere)
{
	struct world *w = world_of_svm();
	u64 other = gpa(vm_alloc(w->vm, PAGE_SIZE));

	nested_l1_op(w->vm->vcpus[0], OP_WR(HV_X64_MSR_VP_ASSIST_PAGE, other | ASSIST_ENABLE));
	assert_all_reflected(w, "the assist page is elsewhere");
	world_free(w);
}

/* What was there allows nothing any more. */
TEST_KNOWN_IF(assist_page_disabled, "N8", host_is_6_12)
{
	struct world *w = world_of_svm();
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true };

	nested_l1_op(w->vm->vcpus[0], OP_WR(HV_X64_MSR_VP_ASSIST_PAGE, 0));
	ASSERT_KNOWN(l2_op(w, 0, call_op(w, &c)).result == NESTED_REFLECTED,
		     "direct flush without an assist page");
	assert_all_reflected(w, "the assist page is disabled");
	world_free(w);
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

/* L1's own fault. */
TEST_KNOWN_IF(assist_page_unreadable_at_vmrun, "N3", host_is_6_12)
{
	struct world *w;
	int r;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_test");
	w = world_create(NESTED_DIRECT);
	r = vmrun_without_page(w, 0);
	ASSERT_KNOWN(!r, "KVM_RUN: %s", strerror(-r));
	ASSERT_EQ(w->vm->vcpus[0]->run->exit_reason, KVM_EXIT_IO);
	/* Stock 6.1 does not read the page. */
	if (host_is_6_1() && !module_loaded() && w->n[0]->exit == NESTED_NONE)
		return;
	ASSERT_EQ(w->n[0]->exit, NESTED_FAILED);
	ASSERT_EQ(w->n[0]->failure, GP_VECTOR);
	world_free(w);
}

/* Nobody reads it then, and nobody minds. */
TEST(assist_page_unreadable_without_pv_eoi)
{
	struct world *w;

	if (!host_is_amd())
		ktap_skip("VMX: see nested_evmcs_test");
	w = world_create(NESTED_DIRECT);
	ASSERT_EQ(vmrun_without_page(w, MSR_KVM_PV_EOI_EN), 0);
	ASSERT_EQ(w->n[0]->exit, NESTED_NONE);
	world_free(w);
}

static u64 vmrun_at(u64 vmcb)
{
	return nested_vmrun(this_cpu()->nested, vmcb);
}

/* Nor is there anything to read at a VMCB that is nowhere, of which L2 it would be. */
TEST_DIRECT(vmcb_outside_memory)
{
	static const u64 nowhere[] = { GPA_NOWHERE, GPA_NOWHERE + PAGE_SIZE - 8, BIT64(40),
				       0x000ffffffffff000ULL, 0xfffffffffffff000ULL };
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true, .mask = MASK(0) };
	struct world *w = world_of_svm();
	struct guest_op o;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		direct_call(w, 0, &c);
		o = nested_l1_op(w->vm->vcpus[0],
				 (struct guest_op){ .op = OP_CALL,
						    .arg0 = (u64)(uintptr_t)vmrun_at,
						    .arg1 = nowhere[i] });
		ASSERT_EQ(o.result, GP_VECTOR);
	}
	direct_call(w, 0, &c);
	world_free(w);
}

/* See nested_evmcs_test.c: the same cache, at VMRUN. */
TEST(pv_eoi_beside_assist_page)
{
	struct world *w;

	if (!module_loaded())
		ktap_skip("stock leaves a warning in the host's log (N4)");
	w = world_of_svm();
	nested_l1_op(w->vm->vcpus[0], OP_WR(MSR_KVM_PV_EOI_EN, gpa(w->hidden) | 1));
	nested_reenter(w->vm->vcpus[0]);
	world_free(w);
}

#define MANY 300

/* KVM reads no assist page any more: what it said of the L2 before is nothing of this one's. */
TEST_DIRECT(pv_eoi_off)
{
	struct call c = { .fast = true, .mask = MASK(0) };
	struct world *w = world_of_svm();
	u64 rip;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		c.code = codes[i];
		direct_call(w, 0, &c);
	}
	ASSERT_EQ(nested_l1_op(w->vm->vcpus[0], OP_WR(MSR_KVM_PV_EOI_EN, 0)).vector, 0);
	w->n[0]->direct = false;
	nested_reenter(w->vm->vcpus[0]);
	for (i = 0; i < MANY; i++) {
		c.code = codes[i % ARRAY_SIZE(codes)];
		assert_reflected(w, call_op(w, &c), "PV EOI is off");
		/* L1 found the call at the exit's RIP, and has put it behind that. */
		rip = get64(w->n[0]->vmcb, VMCB_RIP);
		ASSERT(!memcmp((void *)(uintptr_t)(rip - 3), "\x0f\x01\xd9", 3),
		       "no VMMCALL before 0x%llx", (unsigned long long)rip);
	}
	world_free(w);
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

/* A call is one instruction of L2's, whoever answers it. */
TEST_DIRECT(monitor_trap_behind_the_call)
{
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = true, .all = true };
	struct world *w;

	if (host_is_amd())
		ktap_skip("VMX only");
	w = world_create(NESTED_EVMCS | NESTED_DIRECT);
	if (!(vcpu_get_msr(w->vm->vcpus[0], MSR_VMX_TRUE_PROC) >> 32 & PROC_MTF))
		ktap_skip("the host's CPU has no monitor trap");
	world_start(w);
	direct_call(w, 0, &c);
	step_over_flush(w);
	assert_stepped();
	if (module_loaded()) {
		file_must_write(PARAM, "0");
		step_over_flush(w);
		file_must_write(PARAM, "1");
		assert_stepped();
	}
	world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
