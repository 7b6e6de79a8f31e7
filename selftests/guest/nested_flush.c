// SPDX-License-Identifier: GPL-2.0-only
/* See nested_flush.h. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "nested_flush.h"

const u32 vp_ids[NR_VCPUS] = { 5, 9 };

const u64 direct_codes[NR_CODES] = { HVCALL_FLUSH_SPACE, HVCALL_FLUSH_LIST, HVCALL_FLUSH_SPACE_EX,
				     HVCALL_FLUSH_LIST_EX };

bool host_has_direct_flush(void)
{
	return !host_is_6_1();
}

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

struct world *direct_world_create(u32 flags)
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

void find_vcpus(struct world *w)
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

void direct_world_start(struct world *w)
{
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		nested_start(w->vm->vcpus[i]);
	find_vcpus(w);
}

void direct_world_move(struct world *w)
{
	w->vm = nested_move(w->vm);
}

void direct_world_free(struct world *w)
{
	vm_free(w->vm);
	free(w);
}

struct guest_op __l2_call_op(struct world *w, const struct call *c, u64 *in, u64 in_gpa)
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

struct guest_op l2_call_op(struct world *w, const struct call *c)
{
	return __l2_call_op(w, c, w->input, gpa(w->input));
}

u64 success_of(const struct guest_op *o)
{
	return o->arg0 & HV_CTL_REP(0xfff);
}

struct guest_op l2_op(struct world *w, u32 vcpu, struct guest_op op)
{
	return vcpu_op(w->vm->vcpus[vcpu], w->n[vcpu]->l2, op);
}

struct guest_op direct_call(struct world *w, u32 vcpu, const struct call *c)
{
	u32 before = w->n[vcpu]->exits;
	struct guest_op o = l2_op(w, vcpu, l2_call_op(w, c));

	ASSERT_EQ(o.vector, 0);
	if (host_is_6_1())
		ASSERT_KNOWN(w->n[vcpu]->exits == before, "call 0x%llx goes to L1",
			     (unsigned long long)c->code);
	ASSERT(w->n[vcpu]->exits == before, "call 0x%llx goes to L1", (unsigned long long)c->code);
	return o;
}

void make_l2_stale(struct world *w, u32 vcpu)
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

void __judge_direct(struct world *w, const struct call *c, u32 targets, bool known)
{
	struct guest_op call, load = { .op = OP_LOAD, .arg0 = AREA };
	u32 i;

	for (i = 0; i < NR_VCPUS; i++)
		if (targets & 1u << i)
			make_l2_stale(w, i);
	probes_read();
	call = direct_call(w, 0, c);
	ASSERT_EQ(call.result, success_of(&call));
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

void judge_direct(struct world *w, const struct call *c, u32 targets)
{
	__judge_direct(w, c, targets, false);
}

void check_locked(struct world *w, u32 vcpu, const struct call *c)
{
	struct nested *n = w->n[vcpu];
	u32 before;
	struct guest_op o;

	direct_call(w, vcpu, c);
	*n->lock_page = 1;
	before = n->exits;
	o = l2_op(w, vcpu, l2_call_op(w, c));
	ASSERT_EQ(n->exits - before, 1);
	ASSERT_EQ(n->exit, NESTED_SYNTHETIC);
	ASSERT_EQ(n->reason, host_is_amd() ? SVM_SYNTHETIC : VMX_SYNTHETIC_FLUSH);
	ASSERT_EQ(n->info, host_is_amd() ? SVM_SYNTHETIC_FLUSH : 0);
	/* The flush is done, and L2 is behind the call, with its result. */
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, success_of(&o));
	*n->lock_page = 0;
	direct_call(w, vcpu, c);
}

void assert_reflected(struct world *w, struct guest_op op, const char *why)
{
	u32 before = w->n[0]->exits;
	struct guest_op o = l2_op(w, 0, op);

	ASSERT(w->n[0]->exits == before + 1 && w->n[0]->exit == NESTED_HYPERCALL &&
		       o.result == NESTED_REFLECTED,
	       "%s: call 0x%llx: %u exits to L1, result 0x%llx", why, (unsigned long long)op.arg0,
	       w->n[0]->exits - before, (unsigned long long)o.result);
}

void assert_all_reflected(struct world *w, const char *why)
{
	u32 i;

	for (i = 0; i < 2 * ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i / 2], .fast = i & 1, .mask = MASK(0) };

		assert_reflected(w, l2_call_op(w, &c), why);
	}
}
