// SPDX-License-Identifier: GPL-2.0-only
/* See flush.h. */
#include <stdlib.h>
#include <string.h>

#include "flush.h"

static const u32 page_shift[] = { 12, 21, 30 };

const u32 vp_index[NR_VCPUS] = { 9, 5, 70 };

u64 page_gva(struct page p)
{
	static const u64 base[] = { AREA, AREA + BIT64(30), AREA + BIT64(31) };

	return base[p.size] + ((u64)p.nr << page_shift[p.size]);
}

bool invalidated(u64 vcpu, struct page p)
{
	return invalidated_page(vcpu, page_gva(p), page_shift[p.size]);
}

/*
 * 4K pages: 16 page tables' worth of addresses through one table. All 2M and
 * all 1G pages lead to the same memory, of which the first 4K pages are there.
 */
static void build_area(struct world *w)
{
	u64 *pml4 = (u64 *)(uintptr_t)w->vm->cr3, *pd = vm_alloc(w->vm, PAGE_SIZE), i, j;

	w->pdpt = vm_alloc(w->vm, PAGE_SIZE);
	w->pd_large = vm_alloc(w->vm, PAGE_SIZE);
	w->pt = vm_alloc(w->vm, PAGE_SIZE);
	pml4[1] = gpa(w->pdpt) | PTE_RW;
	w->pdpt[0] = gpa(pd) | PTE_RW;
	w->pdpt[1] = gpa(w->pd_large) | PTE_RW;
	for (i = 0; i < 16; i++)
		pd[i] = gpa(w->pt) | PTE_RW;
	for (i = 0; i < 2; i++) {
		u64 *page = vm_alloc(w->vm, LARGE_BACKED * PAGE_SIZE);

		for (j = 0; j < LARGE_BACKED; j++)
			page[j * PAGE_SIZE / 8] = i ? NEW_VALUE : OLD_VALUE;
		w->small[i] = gpa(page);
		vm_add_memslot(w->vm, i ? NEW_LARGE : OLD_LARGE, page, LARGE_BACKED * PAGE_SIZE, 0);
	}
}

u64 page_read_at(struct page p)
{
	return page_gva(p) + (p.size == PAGE_4K ? 0 : p.nr % LARGE_BACKED * PAGE_SIZE);
}

u64 *page_entry(struct world *w, struct page p)
{
	switch (p.size) {
	case PAGE_4K:
		return &w->pt[p.nr % 512];
	case PAGE_2M:
		return &w->pd_large[p.nr];
	default:
		return &w->pdpt[2 + p.nr];
	}
}

u64 page_pte(struct world *w, struct page p, bool new)
{
	u64 large = new ? NEW_LARGE : OLD_LARGE;

	return (p.size == PAGE_4K ? w->small[new] : large | PTE_LARGE) | PTE_RW;
}

bool call_is_ex(u64 code)
{
	return code == HVCALL_FLUSH_SPACE_EX || code == HVCALL_FLUSH_LIST_EX;
}

struct guest_op call_op(struct world *w, const struct call *c)
{
	u64 *in = w->input, control = c->code | HV_CTL_REP(c->nr) | HV_CTL_START(c->start);
	u64 bank[64] = { 0 }, valid = 0;
	u32 n = 0, i, banks = 0;

	for (i = 0; i < NR_VCPUS; i++) {
		if (!(c->targets & 1u << i))
			continue;
		bank[vp_index[i] / 64] |= BIT64(vp_index[i] % 64);
		valid |= BIT64(vp_index[i] / 64);
	}
	in[n++] = c->space;
	in[n++] = c->flags;
	if (call_is_ex(c->code)) {
		in[n++] = c->format_all ? FORMAT_ALL : 0;
		in[n++] = valid;
		for (i = 0; i < 64; i++) {
			if (!(valid & BIT64(i)))
				continue;
			in[n++] = bank[i];
			banks++;
		}
		control |= HV_CTL_VARHDR(banks);
	} else {
		ASSERT(!(valid & ~1ULL), "a mask has VP indices below 64 only");
		in[n++] = bank[0];
	}
	ASSERT(n + c->nr <= PAGE_SIZE / 8, "the list does not fit its page");
	for (i = 0; i < c->nr; i++)
		in[n++] = c->list[i];
	if (!c->fast)
		return OP_HC(control, gpa(in), 0);
	ASSERT(n - 2 <= ARRAY_SIZE(w->xmm->q), "the list does not fit the registers");
	memcpy(w->xmm->q, &in[2], (n - 2) * 8);
	return (struct guest_op){ .op = OP_HYPERCALL_XMM,
				  .arg0 = control | HV_CTL_FAST,
				  .arg1 = in[0],
				  .arg2 = in[1],
				  .xmm = w->xmm };
}

static u32 call_targets(const struct call *c)
{
	bool all = c->format_all || (c->flags & HV_FLUSH_ALL_PROCESSORS) ||
		   (!call_is_ex(c->code) && !c->targets);

	return all ? ALL : c->targets;
}

static const struct call flush_everything = { .code = HVCALL_FLUSH_SPACE,
					      .flags = HV_FLUSH_ALL_PROCESSORS |
						       HV_FLUSH_ALL_SPACES };

struct world *world_create(void)
{
	struct world *w = calloc(1, sizeof(*w));
	u32 i;

	ASSERT(w, "memory");
	probes_require();
	w->vm = vm_create(NR_VCPUS, VM_FREE_PAUSE);
	build_area(w);
	w->input = vm_alloc(w->vm, PAGE_SIZE);
	w->xmm = vm_alloc(w->vm, PAGE_SIZE);
	for (i = 0; i < NR_VCPUS; i++) {
		struct vcpu *v = w->vm->vcpus[i];
		struct guest_op op;

		vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, vp_index[i]);
		vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
		w->ops[i] = vcpu_ops_init(v, 4 + 4 * STALE_MAX);
		probes_read();
		op = vcpu_op(v, w->ops[i], call_op(w, &flush_everything));
		ASSERT_EQ(op.result, HV_STATUS_SUCCESS);
		/* Only this vCPU ran. */
		probes_read();
		ASSERT(nr_invalidations, "vCPU %u: a full flush invalidates nothing", i);
		w->address[i] = invalidations[0].vcpu;
	}
	return w;
}

void world_free(struct world *w)
{
	vm_free(w->vm);
	free(w);
}

void make_stale(struct world *w, u32 vcpu, const struct page *p, u32 nr)
{
	/* Flush this vCPU only, or the next entry of others begins with a full flush. */
	struct call itself = { .code = HVCALL_FLUSH_SPACE_EX, .targets = 1u << vcpu };
	struct guest_op *o = w->ops[vcpu]->ops;
	u32 try, i, n, shown;

	ASSERT(nr <= STALE_MAX, "too many pages");
	for (try = 0; try < PREMISE_TRIES; try++) {
		n = 0;
		for (i = 0; i < nr; i++)
			o[n++] = (struct guest_op){ .op = OP_STORE,
						    .arg0 = gpa(page_entry(w, p[i])),
						    .arg1 = page_pte(w, p[i], false) };
		o[n++] = call_op(w, &itself);
		for (i = 0; i < nr; i++)
			o[n++] = (struct guest_op){ .op = OP_LOAD, .arg0 = page_read_at(p[i]) };
		for (i = 0; i < nr; i++)
			o[n++] = (struct guest_op){ .op = OP_STORE,
						    .arg0 = gpa(page_entry(w, p[i])),
						    .arg1 = page_pte(w, p[i], true) };
		for (i = 0; i < nr; i++)
			o[n++] = (struct guest_op){ .op = OP_LOAD, .arg0 = page_read_at(p[i]) };
		vcpu_ops_run(w->vm->vcpus[vcpu], w->ops[vcpu], n);

		ASSERT_EQ(o[nr].result, HV_STATUS_SUCCESS);
		for (i = 0; i < nr; i++)
			ASSERT_EQ(o[nr + 1 + i].result, OLD_VALUE);
		/* An interrupt of the host in between may have emptied the TLB. */
		shown = 0;
		for (i = 0; i < nr; i++)
			shown += o[3 * nr + 1 + i].result == OLD_VALUE;
		if (shown == nr)
			return;
	}
	FAIL("vCPU %u never used a stale translation, so this shows nothing", vcpu);
}

#define JUDGE(cond, known, fmt, ...)                            \
	do {                                                    \
		if (known)                                      \
			ASSERT_KNOWN(cond, fmt, ##__VA_ARGS__); \
		else                                            \
			ASSERT(cond, fmt, ##__VA_ARGS__);       \
	} while (0)

void __judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
	     const char *what, bool known)
{
	u32 targets = call_targets(c), i, t;
	u64 status, expected = HV_CTL_REP(c->nr);

	for (t = 0; t < NR_VCPUS; t++)
		if (targets & 1u << t)
			make_stale(w, t, p, nr);

	probes_read();
	for (t = 0; t < NR_VCPUS; t++) {
		u32 vcpu = (caller + t) % NR_VCPUS, n = 0; /* the caller first */
		struct guest_op *o = w->ops[vcpu]->ops;

		if (!t)
			o[n++] = call_op(w, c);
		if (targets & 1u << vcpu)
			for (i = 0; i < nr; i++)
				o[n++] = (struct guest_op){ .op = OP_LOAD,
							    .arg0 = page_read_at(p[i]) };
		if (n)
			vcpu_ops_run(w->vm->vcpus[vcpu], w->ops[vcpu], n);
	}
	probes_read();

	status = w->ops[caller]->ops[0].result;
	JUDGE(status == expected, known && c->start, "%s: status 0x%llx, expected 0x%llx", what,
	      (unsigned long long)status, (unsigned long long)expected);
	for (t = 0; t < NR_VCPUS; t++) {
		struct guest_op *o = w->ops[t]->ops + (t == caller);

		for (i = 0; i < nr && targets & 1u << t; i++) {
			JUDGE(o[i].result == NEW_VALUE, known,
			      "%s: call 0x%llx by vCPU %u: vCPU %u reads 0x%llx at 0x%llx", what,
			      (unsigned long long)c->code, caller, t,
			      (unsigned long long)o[i].result, (unsigned long long)page_gva(p[i]));
			JUDGE(invalidated(w->address[t], p[i]), known,
			      "%s: call 0x%llx by vCPU %u: vCPU %u keeps 0x%llx (%u invalidations)",
			      what, (unsigned long long)c->code, caller, t,
			      (unsigned long long)page_gva(p[i]), nr_invalidations);
		}
	}
}

void judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
	   const char *what)
{
	__judge(w, caller, c, p, nr, what, false);
}

bool has_1g_pages(void)
{
	return cpuid(0x80000001, 0).edx & BIT64(26);
}

u64 list[LIST_MAX];

u32 list_of_pages(u32 nr, struct page stale[3])
{
	u32 i;

	for (i = 0; i < nr; i++)
		list[i] = page_gva((struct page){ PAGE_4K, i });
	stale[0] = (struct page){ PAGE_4K, 0 };
	stale[1] = (struct page){ PAGE_4K, nr / 2 };
	stale[2] = (struct page){ PAGE_4K, nr - 1 };
	return nr < 3 ? nr : 3;
}

bool lists_by_page(void)
{
	return hv_supported(HV_F_EXT_GVA) && (!host_is_amd() || host_kernel_before(7, 2));
}
