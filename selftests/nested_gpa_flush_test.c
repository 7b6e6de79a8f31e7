// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvFlushGuestPhysicalAddressSpace and -List: L1 changes an entry of the page tables that
 * translate L2's guest physical addresses, calls, and L2 must see the new page, on every
 * processor. TLFS chapter "Nested Virtualization", "Second Level Address Translation".
 *
 * L0 shadows those tables, so what is stale here is no translation of the CPU: it stays
 * stale until L0 looks at the tables again, which is not before L2 is entered anew (SVM),
 * or not even then (VMX). Nothing of this depends on how a CPU is emulated.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nested.h"

#define MAX_OPS 8
#define TRIES	20

#define OLD_VALUE 0x6f6c646f6c646f6cULL
#define NEW_VALUE 0x6e65776e65776e65ULL

#define PAGES 8 /* of the window, that L2 reads */

/* vCPU 0 runs no L2: its entry would have L0 look at the tables. vCPU 1 does. */
struct world {
	struct vm *vm;
	struct vcpu *l1, *v2;
	struct ops_page *ops; /* of vCPU 0 */
	struct nested *n;     /* of vCPU 1 */
	u64 page[2];	      /* GPA of the old and of the new page */
	u64 *input;
	struct xmm_block *xmm;
};

static struct world *world_create(u32 vm_flags, u32 flags)
{
	struct world *w = calloc(1, sizeof(*w));
	u32 i;

	ASSERT(w, "memory");
	w->vm = vm_create(2, vm_flags);
	w->l1 = w->vm->vcpus[0];
	w->v2 = w->vm->vcpus[1];
	for (i = 0; i < 2; i++) {
		u64 *page = vm_alloc(w->vm, PAGE_SIZE);

		*page = i ? NEW_VALUE : OLD_VALUE;
		w->page[i] = gpa(page);
	}
	w->input = vm_alloc(w->vm, PAGE_SIZE);
	w->xmm = vm_alloc(w->vm, PAGE_SIZE);
	w->ops = vcpu_ops_init(w->l1, MAX_OPS);
	vcpu_set_msr(w->l1, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	w->n = nested_create(w->v2, NESTED_PAGING | flags, MAX_OPS);
	for (i = 0; i < PAGES; i++)
		w->n->window[i] = w->page[0] | w->n->leaf;
	return w;
}

static struct world *world_start(u32 flags)
{
	struct world *w = world_create(0, flags);

	nested_start(w->v2);
	return w;
}

static void world_free(struct world *w)
{
	vm_free(w->vm);
	free(w);
}

static struct guest_op l1_op(struct world *w, struct guest_op op)
{
	return vcpu_op(w->l1, w->ops, op);
}

static u64 l2_read(struct world *w, u32 page)
{
	return vcpu_op(w->v2, w->n->l2,
		       (struct guest_op){ .op = OP_LOAD, .arg0 = NESTED_WINDOW + page * PAGE_SIZE })
		.result;
}

static struct guest_op store_entry(struct world *w, u32 page, bool new)
{
	return (struct guest_op){ .op = OP_STORE,
				  .arg0 = gpa(&w->n->window[page]),
				  .arg1 = w->page[new] | w->n->leaf };
}

/* --- calls ---------------------------------------------------------------- */

struct call {
	bool fast;
	u64 space, flags;
	u32 start, nr; /* 0 = the whole space */
	u64 list[6];
};

static struct guest_op call_op(struct world *w, const struct call *c)
{
	u64 control = c->nr ? HVCALL_FLUSH_GPA_LIST | HV_CTL_REP(c->nr) | HV_CTL_START(c->start) :
			      HVCALL_FLUSH_GPA_SPACE;

	w->input[0] = c->space;
	w->input[1] = c->flags;
	memcpy(&w->input[2], c->list, c->nr * 8);
	if (!c->fast)
		return OP_HC(control, gpa(w->input), 0);
	memcpy(w->xmm->q, c->list, c->nr * 8);
	return (struct guest_op){ .op = OP_HYPERCALL_XMM,
				  .arg0 = control | HV_CTL_FAST,
				  .arg1 = c->space,
				  .arg2 = c->flags,
				  .xmm = w->xmm };
}

static void assert_status(struct guest_op o, u64 expected, const char *what)
{
	ASSERT_EQ(o.vector, 0);
	ASSERT_KNOWN(o.result == expected, "%s: call 0x%llx: 0x%llx instead of 0x%llx", what,
		     (unsigned long long)o.arg0, (unsigned long long)o.result,
		     (unsigned long long)expected);
}

static void assert_success(struct guest_op o, const char *what)
{
	assert_status(o, o.arg0 & HV_CTL_REP(0xfff), what);
}

static void call(struct world *w, const struct call *c, const char *what)
{
	assert_success(l1_op(w, call_op(w, c)), what);
}

/* The address space as a hypervisor names it. */
static u64 space(struct world *w)
{
	return gpa(w->n->root);
}

/* --- what must come out ---------------------------------------------------- */

TEST_KNOWN(cpuid_offers_gpa_flush, "N0")
{
	ASSERT_KNOWN(hv_supported(HV_N_GPA_FLUSH), "4000000A.EAX.18 is not offered");
	if (host_is_amd())
		ASSERT_KNOWN(hv_supported(HV_N_NPT_TLB), "4000000A.EAX.22 is not offered");
	else
		ASSERT(!hv_supported(HV_N_NPT_TLB), "4000000A.EAX.22 is AMD's");
}

TEST_KNOWN(any_space_but_no_flag_is_accepted, "N0")
{
	struct world *w = world_start(0);
	struct call c = { 0 };
	u32 i, bit;

	for (i = 0; i < 4; i++) {
		c = (struct call){ .fast = i & 1, .nr = i & 2 ? 3 : 0, .space = space(w) };
		c.list[0] = NESTED_WINDOW;
		c.list[1] = NESTED_WINDOW + PAGE_SIZE;
		c.list[2] = ~0ULL;
		call(w, &c, "the space of L2");
		c.space = 0;
		call(w, &c, "no space");
		c.space = GPA_NOWHERE;
		call(w, &c, "a space that nobody uses");
		c.space = ~0ULL;
		call(w, &c, "no address at all");
		c.space = space(w);
		for (bit = 0; bit < 64; bit += bit < 4 ? 1 : 15) {
			c.flags = BIT64(bit);
			assert_status(l1_op(w, call_op(w, &c)), HV_STATUS_INVALID_PARAMETER,
				      "a reserved flag");
		}
		c.flags = 0;
		if (c.nr) {
			c.start = 2;
			call(w, &c, "from the middle");
			c.start = 0;
		}
		/* And by a hypervisor whose L2 is active. */
		assert_success(nested_l1_op(w->v2, call_op(w, &c)), "L1 of this L2");
	}
	world_free(w);
}

TEST_KNOWN(unreadable_input_is_refused, "N0")
{
	struct world *w = world_start(0);
	struct guest_op o = OP_HC(HVCALL_FLUSH_GPA_SPACE, GPA_NOWHERE, 0);

	assert_status(l1_op(w, o), HV_STATUS_INVALID_HYPERCALL_INPUT, "no memory there");
	o.arg1 = gpa(w->input) + 4;
	assert_status(l1_op(w, o), HV_STATUS_INVALID_ALIGNMENT, "not aligned");
	o.arg1 = gpa(w->input) + PAGE_SIZE - 8;
	assert_status(l1_op(w, o), HV_STATUS_INVALID_ALIGNMENT, "across a page");
	world_free(w);
}

/* A vCPU in L2 uses the old page although the entry is another, until the call. */
static void check_other(struct world *w, const struct call *c, u32 page, const char *what)
{
	u32 try;

	for (try = 0; try < TRIES; try++) {
		/* The entry as it was, and L0 has looked. */
		l1_op(w, store_entry(w, page, false));
		nested_reenter(w->v2);
		nested_l1_op(w->v2, call_op(w, &(struct call){ .space = space(w) }));
		ASSERT_KNOWN(l2_read(w, page) == OLD_VALUE, "%s: page %u is the new one still",
			     what, page);
		l1_op(w, store_entry(w, page, true));
		if (l2_read(w, page) == OLD_VALUE)
			break;
	}
	ASSERT(try < TRIES, "%s: L2 never used a stale page, so this shows nothing", what);
	call(w, c, what);
	ASSERT_EQ(l2_read(w, page), NEW_VALUE);
}

static void check_others(u32 flags, bool npt_tlb)
{
	struct world *w = world_create(0, flags);
	struct call c = { 0 };
	u32 i;

	w->n->npt_tlb = npt_tlb;
	nested_start(w->v2);
	for (i = 0; i < 4; i++) {
		c = (struct call){ .fast = i & 1, .space = space(w) };
		if (i & 2) /* what an EPT pointer has in its low bits */
			c.space |= 0x1e;
		check_other(w, &c, 0, "the space");
		c.nr = 1;
		c.list[0] = NESTED_WINDOW;
		check_other(w, &c, 0, "a list of one page");
		c.list[0] = NESTED_WINDOW + PAGE_SIZE * 2;
		c.list[1] = NESTED_WINDOW + PAGE_SIZE * 4 + 2; /* and two more */
		c.list[2] = NESTED_WINDOW + PAGE_SIZE;
		c.nr = 3;
		check_other(w, &c, 1, "the last of a list");
		check_other(w, &c, 6, "the end of a range");
		c.list[0] = NESTED_WINDOW | BIT64(11); /* 2 MB */
		c.nr = 1;
		check_other(w, &c, 7, "a large page");
	}
	world_free(w);
}

TEST_KNOWN(flushes_another_vp, "N0")
{
	check_others(0, false);
}

TEST_KNOWN(flushes_another_vp_with_evmcs, "N0")
{
	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
	check_others(NESTED_EVMCS, false);
}

/* L1 that has said so does without any flush of its own. */
TEST_KNOWN(enlightened_npt_tlb_needs_no_other_flush, "N0")
{
	if (!host_is_amd())
		ktap_skip("AMD's");
	check_others(0, true);
}

/* The caller's own L2. On VMX, L0 does not look at the tables at an entry either. */
TEST_KNOWN(flushes_the_callers_own_l2, "N0")
{
	struct world *w = world_start(0);
	struct call c = { .space = space(w) };
	u32 try, stale = 0;

	for (try = 0; try < TRIES; try++) {
		nested_l1_op(w->v2, store_entry(w, 0, false));
		assert_success(nested_l1_op(w->v2, call_op(w, &c)), "its own L2");
		ASSERT_EQ(l2_read(w, 0), OLD_VALUE);
		nested_l1_op(w->v2, store_entry(w, 0, true));
		stale += l2_read(w, 0) == OLD_VALUE;
		assert_success(nested_l1_op(w->v2, call_op(w, &c)), "its own L2");
		ASSERT_EQ(l2_read(w, 0), NEW_VALUE);
	}
	if (!host_is_amd())
		ASSERT(stale, "L2 never used a stale page, so this shows nothing");
	world_free(w);
}

static u64 pause_l1(u64 arg)
{
	GUEST_SYNC(arg);
	return 0;
}

/* A vCPU that is in L1 at the time of the call, and then enters L2 again. */
TEST_KNOWN(flushes_a_vp_that_is_in_l1, "N0")
{
	struct world *w = world_start(0);
	struct call c = { .space = space(w) };
	u32 try;

	for (try = 0; try < TRIES; try++) {
		l1_op(w, store_entry(w, 0, false));
		assert_success(nested_l1_op(w->v2, call_op(w, &c)), "its own L2");
		ASSERT_EQ(l2_read(w, 0), OLD_VALUE);

		w->n->l1->nr = 1;
		w->n->l1->ops[0] = (struct guest_op){ .op = OP_CALL,
						      .arg0 = gpa((void *)(uintptr_t)pause_l1),
						      .arg1 = 1 };
		w->n->l2->nr = 1;
		w->n->l2->ops[0] = OP_L1;
		vcpu_run_sync(w->v2, 1);
		l1_op(w, store_entry(w, 0, true));
		call(w, &c, "while it is in L1");
		vcpu_run_sync(w->v2, OPS_STAGE);
		ASSERT_EQ(l2_read(w, 0), NEW_VALUE);
	}
	world_free(w);
}

/* Into a new VM and on: the tables are the same, and so is the call. */
TEST_KNOWN(flushes_after_migration, "N0")
{
	struct world *w = world_start(NESTED_EVMCS);
	struct call c = { .space = space(w) };

	ASSERT_EQ(l2_read(w, 0), OLD_VALUE);
	w->vm = nested_move(w->vm);
	w->l1 = w->vm->vcpus[0];
	w->v2 = w->vm->vcpus[1];
	check_other(w, &c, 0, "a VM that was moved");
	world_free(w);
}

/* --- at the same time ------------------------------------------------------ */

#define ROUNDS 200

static struct {
	volatile u32 round; /* calls that have returned */
	volatile u32 reads;
	volatile bool changing; /* either page may be seen */
	volatile bool stop;
	volatile u64 *entry;
	u64 *input, values[2];
} race;

/* L2: what was flushed before a read began must not be seen by it. */
static u64 race_read(u64 arg)
{
	bool changing;
	u32 before;
	u64 value;

	(void)arg;
	while (!race.stop) {
		before = race.round;
		value = *(volatile u64 *)NESTED_WINDOW;
		/* In this order: the round ends before what says that it changes. */
		changing = race.changing;
		if (!changing && before == race.round)
			GUEST_ASSERT_EQ(value, before & 1 ? NEW_VALUE : OLD_VALUE);
		race.reads++;
	}
	return 0;
}

GUEST_CODE(race_flush)
{
	u32 i, seen;

	guest_set_os_id();
	for (i = 1; i <= ROUNDS; i++) {
		race.changing = true;
		*race.entry = race.values[i & 1];
		GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_GPA_SPACE, (u64)(uintptr_t)race.input, 0),
				0);
		race.round = i;
		race.changing = false;
		for (seen = race.reads; race.reads - seen < 3;)
			cpu_relax();
	}
	race.stop = true;
}

static void *race_thread(void *arg)
{
	struct world *w = arg;

	vcpu_op(w->v2, w->n->l2,
		(struct guest_op){ .op = OP_CALL, .arg0 = gpa((void *)(uintptr_t)race_read) });
	return NULL;
}

TEST_KNOWN(flushes_a_running_l2, "N0")
{
	struct world *w;
	pthread_t thread;
	u32 i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("two vCPUs that run at the same time need two CPUs");
	w = world_start(0);
	call(w, &(struct call){ .space = space(w) }, "the call");
	memset(&race, 0, sizeof(race));
	race.entry = &w->n->window[0];
	race.input = w->input;
	race.input[0] = space(w);
	race.input[1] = 0;
	for (i = 0; i < 2; i++)
		race.values[i] = w->page[i] | w->n->leaf;
	vcpu_entry(w->l1, race_flush);
	ASSERT_EQ(pthread_create(&thread, NULL, race_thread, w), 0);
	vcpu_run_done(w->l1);
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	ktap_log("%u reads", race.reads);
	world_free(w);
}

/* --- enforce-cpuid --------------------------------------------------------- */

static void check_enforced(bool gpa_flush, bool npt_tlb, u64 expected)
{
	struct world *w = world_create(VM_ENFORCE, 0);
	struct call c = { .space = space(w) };

	cpuid_assign(&w->l1->cpuid, HV_N_NPT_TLB, npt_tlb);
	vcpu_set_bit(w->l1, HV_N_GPA_FLUSH, gpa_flush);
	assert_status(l1_op(w, call_op(w, &c)), expected, "enforced");
	c.nr = 1;
	assert_status(l1_op(w, call_op(w, &c)), expected ? expected : HV_CTL_REP(1), "enforced");
	world_free(w);
}

TEST_KNOWN(needs_its_cpuid_bit_when_enforced, "N0")
{
	check_enforced(false, false, HV_STATUS_ACCESS_DENIED);
	check_enforced(true, false, HV_STATUS_SUCCESS);
	/* Hyper-V on AMD shows only this one. */
	if (host_is_amd())
		check_enforced(false, true, HV_STATUS_SUCCESS);
}
