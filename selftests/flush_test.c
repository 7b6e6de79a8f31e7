// SPDX-License-Identifier: GPL-2.0-only
/*
 * The four flush calls, looked at for what they must not leave behind: guests
 * that read through a mapping, have the page table changed under them, use the
 * stale translation, flush, and must then see the new page. TLFS chapter
 * "Virtual MMU".
 *
 * A stale translation outlives an exit on a real CPU, but not on an emulated
 * one, which forgets them all when it enters a guest. So there are two judges:
 * what the guest reads, and what KVM told the CPU to invalidate before it let
 * the guest go on (probes on the vendor module's two functions for that).
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "apic.h"
#include "ops.h"
#include "probe.h"
#include "rows.h"

#define NR_VCPUS 3
#define ALL	 ((1u << NR_VCPUS) - 1)

/* GVAs under test: an entry of the PML4 of its own. Large pages lie above RAM. */
#define AREA	     BIT64(39)
#define OLD_LARGE    (5ULL << 30)
#define NEW_LARGE    (6ULL << 30)
#define LARGE_BACKED 16 /* 4K pages */

#define OLD_VALUE 0x6f6c646f6c646f6cULL
#define NEW_VALUE 0x6e65776e65776e65ULL

#define PTE_RW	   3ULL
#define PTE_LARGE  BIT64(7)
#define PTE_GLOBAL BIT64(8)

#define LIST_MAX      500
#define STALE_MAX     16
#define PREMISE_TRIES 100

/* An entry of the extended format: further pages, and which ones. */
#define EXT_2M(gva, more) ((gva) | BIT64(11) | (more))
#define EXT_1G(gva, more) ((gva) | BIT64(11) | BIT64(12) | (more))
#define EXT_4K(gva, more) ((gva) | (more))
/* With 48 and with 57 bits of address; the guests have 48, the CPU may know 57. */
#define LAST_CANONICAL_48 0x00007ffffffff000ULL
#define LAST_CANONICAL_57 0x00fffffffffff000ULL
#define NON_CANONICAL	  (LAST_CANONICAL_57 + PAGE_SIZE)
#define FORMAT_ALL	  1

enum page_size { PAGE_4K, PAGE_2M, PAGE_1G };

static const u32 page_shift[] = { 12, 21, 30 };

/* One page of the area, by its number among those of its size. */
struct page {
	enum page_size size;
	u32 nr;
};

struct world {
	struct vm *vm;
	u64 *pdpt, *pd_large, *pt;
	u64 small[2]; /* GPA of the old and of the new 4K page */
	u64 *input;
	struct xmm_block *xmm;
	struct ops_page *ops[NR_VCPUS];
	u64 address[NR_VCPUS]; /* of the struct kvm_vcpu, as the probes show it */
};

/* Neither a vCPU's number, nor all in one bank. */
static const u32 vp_index[NR_VCPUS] = { 9, 5, 70 };

struct call {
	u64 code;
	bool fast;
	u64 flags, space;
	u32 targets; /* vCPUs, by number */
	bool format_all;
	u32 start, nr;
	const u64 *list;
};

static u64 gpa(const void *p)
{
	return (u64)(uintptr_t)p;
}

/* --- what KVM told the CPU to forget ------------------------------------- */

static u64 page_gva(struct page p)
{
	static const u64 base[] = { AREA, AREA + BIT64(30), AREA + BIT64(31) };

	return base[p.size] + ((u64)p.nr << page_shift[p.size]);
}

static bool invalidated(u64 vcpu, struct page p)
{
	return invalidated_page(vcpu, page_gva(p), page_shift[p.size]);
}

/* --- the guests' memory -------------------------------------------------- */

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

/* Large pages are read at different offsets: the emulated TLB is indexed by bits 12 and up. */
static u64 page_read_at(struct page p)
{
	return page_gva(p) + (p.size == PAGE_4K ? 0 : p.nr % LARGE_BACKED * PAGE_SIZE);
}

static u64 *page_entry(struct world *w, struct page p)
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

static u64 page_pte(struct world *w, struct page p, bool new)
{
	u64 large = new ? NEW_LARGE : OLD_LARGE;

	return (p.size == PAGE_4K ? w->small[new] : large | PTE_LARGE) | PTE_RW;
}

/* --- calls --------------------------------------------------------------- */

static bool call_is_ex(u64 code)
{
	return code == HVCALL_FLUSH_SPACE_EX || code == HVCALL_FLUSH_LIST_EX;
}

static struct guest_op call_op(struct world *w, const struct call *c)
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

/* --- one round: make stale, flush, look ---------------------------------- */

static struct world *world_create(void)
{
	struct world *w = calloc(1, sizeof(*w));
	u32 i;

	ASSERT(w, "memory");
	probes_require();
	w->vm = vm_create(NR_VCPUS, 0);
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

static void world_free(struct world *w)
{
	vm_free(w->vm);
	free(w);
}

/* Let the vCPU fill its TLB, change the page table and use what is stale. */
static void make_stale(struct world *w, u32 vcpu, const struct page *p, u32 nr)
{
	/* Only this vCPU, or another's next entry begins with a full flush. */
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

/* The pages are stale on all targets; vCPU @caller makes the call. */
static void __judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
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

static void judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
		  const char *what)
{
	__judge(w, caller, c, p, nr, what, false);
}

static bool has_1g_pages(void)
{
	return cpuid(0x80000001, 0).edx & BIT64(26);
}

static void require_1g_pages(void)
{
	if (!has_1g_pages())
		ktap_skip("the CPU has no 1G pages");
}

/* --- HvFlushVirtualAddressSpace and its Ex form --------------------------- */

static void check_space_calls(bool fast)
{
	static const struct page pages[] = {
		{ PAGE_4K, 3 }, { PAGE_4K, 511 }, { PAGE_2M, 1 }, { PAGE_2M, 511 }, { PAGE_1G, 0 },
	};
	u32 nr = ARRAY_SIZE(pages) - !has_1g_pages(), t, caller;
	struct world *w = world_create();
	struct call c = { .code = HVCALL_FLUSH_SPACE, .fast = fast };

	for (t = 0; t < 4; t++) { /* none (which means all), the first, the second, both */
		c.targets = t;
		c.flags = t == 3 ? HV_FLUSH_ALL_SPACES : 0;
		c.space = w->vm->cr3;
		for (caller = 0; caller < 2; caller++)
			judge(w, caller, &c, pages, nr, "mask");
	}
	c.targets = 1;
	c.flags = HV_FLUSH_ALL_PROCESSORS;
	judge(w, 1, &c, pages, nr, "mask and all processors");

	c = (struct call){ .code = HVCALL_FLUSH_SPACE_EX, .fast = fast, .space = w->vm->cr3 };
	for (t = 1; t <= ALL; t++) {
		c.targets = t;
		judge(w, t % NR_VCPUS, &c, pages, nr, "set");
	}
	c.targets = 0;
	c.format_all = true;
	judge(w, 2, &c, pages, nr, "set of all");
	world_free(w);
}

TEST(space_slow)
{
	check_space_calls(false);
}

TEST(space_fast)
{
	check_space_calls(true);
}

/* User space has given two vCPUs the same index: both are that VP. */
TEST(two_vps_with_one_index)
{
	static const u64 codes[] = { HVCALL_FLUSH_SPACE, HVCALL_FLUSH_LIST, HVCALL_FLUSH_SPACE_EX,
				     HVCALL_FLUSH_LIST_EX };
	const struct page stale = { PAGE_4K, 5 };
	struct guest_op load = { .op = OP_LOAD, .arg0 = page_read_at(stale) };
	u64 entry = page_gva(stale);
	struct world *w = world_create();
	u32 i, t;

	for (i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		struct call c = {
			.code = codes[i / 2], .fast = i & 1, .targets = 2, .list = &entry
		};

		c.nr = c.code == HVCALL_FLUSH_LIST || c.code == HVCALL_FLUSH_LIST_EX;
		for (t = 1; t < NR_VCPUS; t++)
			make_stale(w, t, &stale, 1);
		/* Each of them is the one that came last, by turns. */
		vcpu_set_msr(w->vm->vcpus[1], HV_X64_MSR_VP_INDEX, vp_index[2]);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[1]);
		vcpu_set_msr(w->vm->vcpus[1], HV_X64_MSR_VP_INDEX, vp_index[1]);
		if (i & 2)
			vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[2]);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[1]);
		probes_read();
		ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result,
			  HV_CTL_REP(c.nr));
		for (t = 1; t < NR_VCPUS; t++)
			ASSERT_EQ(vcpu_op(w->vm->vcpus[t], w->ops[t], load).result, NEW_VALUE);
		probes_read();
		for (t = 1; t < NR_VCPUS; t++)
			ASSERT(invalidated(w->address[t], stale), "call 0x%llx: vCPU %u is missed",
			       (unsigned long long)c.code, t);
		vcpu_set_msr(w->vm->vcpus[2], HV_X64_MSR_VP_INDEX, vp_index[2]);
	}
	world_free(w);
}

/* --- lists ---------------------------------------------------------------- */

static u64 list[LIST_MAX];

/* Entries of 0 further pages for @nr pages; returns the first, a middle and the last. */
static u32 list_of_pages(u32 nr, struct page stale[3])
{
	u32 i;

	for (i = 0; i < nr; i++)
		list[i] = page_gva((struct page){ PAGE_4K, i });
	stale[0] = (struct page){ PAGE_4K, 0 };
	stale[1] = (struct page){ PAGE_4K, nr / 2 };
	stale[2] = (struct page){ PAGE_4K, nr - 1 };
	return nr < 3 ? nr : 3;
}

static void check_list_lengths(u64 code)
{
	static const u32 lengths[] = { 1, 2, 7, 15, 16, 17, 64, LIST_MAX };
	struct world *w = world_create();
	struct page stale[3];
	u32 i, n, form;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		n = list_of_pages(lengths[i], stale);
		for (form = 0; form < 2; form++) {
			struct call c = { .code = code,
					  .fast = form,
					  .space = w->vm->cr3,
					  .nr = lengths[i],
					  .list = list };

			if (c.fast && c.nr > 7)
				continue;
			c.targets = 2;
			judge(w, 1, &c, stale, n, "itself");
			judge(w, 0, &c, stale, n, "another");
			c.targets = call_is_ex(code) ? ALL : 3;
			judge(w, 1, &c, stale, n, "itself and others");
			c.targets = 0;
			c.flags = HV_FLUSH_ALL_PROCESSORS;
			c.format_all = call_is_ex(code);
			judge(w, 2, &c, stale, n, "all");
		}
	}
	world_free(w);
}

TEST(list_lengths)
{
	check_list_lengths(HVCALL_FLUSH_LIST);
}

TEST(list_lengths_ex)
{
	check_list_lengths(HVCALL_FLUSH_LIST_EX);
}

/* What fits the registers: 11 entries, or 8 behind two banks. */
TEST(longest_fast_lists)
{
	struct world *w = world_create();
	struct page stale[3];
	struct call c = { .fast = true, .list = list };
	u32 n;

	c.code = HVCALL_FLUSH_LIST;
	c.targets = 1;
	c.nr = 11;
	n = list_of_pages(c.nr, stale);
	judge(w, 0, &c, stale, n, "mask");
	judge(w, 2, &c, stale, n, "mask");
	c.code = HVCALL_FLUSH_LIST_EX;
	c.targets = 6; /* banks 0 and 1 */
	c.nr = 8;
	n = list_of_pages(c.nr, stale);
	judge(w, 0, &c, stale, n, "set");
	judge(w, 2, &c, stale, n, "set");
	world_free(w);
}

/* Several calls before the target runs again: nothing may fall out of its queue. */
TEST(many_calls_before_entry)
{
	struct world *w = world_create();
	struct page stale[STALE_MAX];
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 1, .nr = 1 };
	u32 calls, i;

	for (calls = 2; calls <= STALE_MAX; calls += 7) {
		for (i = 0; i < calls; i++)
			stale[i] = (struct page){ PAGE_4K, 10 * i };
		make_stale(w, 0, stale, calls);
		probes_read();
		for (i = 0; i < calls; i++) {
			list[0] = page_gva(stale[i]);
			c.list = list;
			ASSERT_EQ(vcpu_op(w->vm->vcpus[1], w->ops[1], call_op(w, &c)).result,
				  HV_CTL_REP(1));
		}
		for (i = 0; i < calls; i++)
			ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0],
					  (struct guest_op){ .op = OP_LOAD,
							     .arg0 = page_read_at(stale[i]) })
					  .result,
				  NEW_VALUE);
		probes_read();
		for (i = 0; i < calls; i++)
			ASSERT(invalidated(w->address[0], stale[i]), "call %u of %u is lost", i,
			       calls);
	}
	world_free(w);
}

/* Bits 11:0 of an entry. Emulated TLBs have one place for all pages 2048 apart: not two of them. */
TEST(additional_pages)
{
	static const u32 more[] = { 1, 2, 7, 63, 511, 512, 2047, 2049, 4095 };
	struct world *w = world_create();
	u32 i;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[] = { { PAGE_4K, 5 },
					{ PAGE_4K, 5 + more[i] / 3 },
					{ PAGE_4K, 5 + more[i] } };
		struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list };

		list[0] = page_gva(stale[0]) | more[i];
		judge(w, 1, &c, stale, 3, "one range");
		/* Between others, and not the first. */
		list[1] = list[0];
		list[0] = page_gva((struct page){ PAGE_4K, 1 });
		list[2] = page_gva((struct page){ PAGE_4K, 2 }) | 1;
		c.nr = 3;
		c.code = HVCALL_FLUSH_LIST_EX;
		c.fast = i & 1;
		judge(w, 0, &c, stale, 3, "a range between others");
	}
	world_free(w);
}

/* Any address of a large page is an address of that page. */
TEST(large_pages_by_any_address)
{
	static const u64 offsets[] = { 0, 0x1000, 0x123000, 0x1ff000 };
	struct world *w = world_create();
	u32 size, i;

	for (size = PAGE_2M; size <= (has_1g_pages() ? PAGE_1G : PAGE_2M); size++) {
		struct page stale = { size, 3 };

		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			struct call c = {
				.code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list
			};

			list[0] = page_gva(stale) + offsets[i] * (size == PAGE_1G ? 512 : 1);
			judge(w, i & 1, &c, &stale, 1, "an address inside");
			/* A range that begins before the page and ends in it. */
			list[0] = (page_gva(stale) - PAGE_SIZE) | 1;
			judge(w, i & 1, &c, &stale, 1, "a range into the page");
		}
	}
	world_free(w);
}

/* The entries before the start index were done by the call that is continued. */
TEST_KNOWN(start_index, "K3")
{
	static const u32 lengths[] = { 2, 8, 16, 64 };
	struct world *w = world_create();
	struct page stale[3];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		u32 nr = lengths[i], start = nr / 2;
		struct call c = { .code = HVCALL_FLUSH_LIST,
				  .targets = 2,
				  .nr = nr,
				  .start = start,
				  .list = list };

		list_of_pages(nr, stale);
		stale[0].nr = start;
		stale[1].nr = (start + nr - 1) / 2;
		__judge(w, 1, &c, stale, 3, "from the middle", true);
		c.code = HVCALL_FLUSH_LIST_EX;
		c.start = nr - 1;
		c.fast = nr == 8;
		__judge(w, 0, &c, &stale[2], 1, "only the last", true);
	}
	world_free(w);
}

/* 6.1 flushes everything for a list, which is slow, but never too little. */
TEST_KNOWN_IF(lists_are_no_full_flush, "K16", host_is_6_1)
{
	struct world *w = world_create();
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 8, .list = list };
	u32 try, all = 1;
	struct page stale[3];

	/* KVM may have reasons of its own for a full flush, but not each time. */
	for (try = 0; try < 5 && all; try++) {
		u32 n = list_of_pages(c.nr, stale);

		judge(w, 0, &c, stale, n, "eight pages");
		all = invalidated_all(w->address[0]) + invalidated_all(w->address[1]);
	}
	ASSERT_KNOWN(!all, "%u full flushes for a list", all);
	world_free(w);
}

/* --- the extended range format --------------------------------------------- */

/* Where a list is not a full flush anyway. */
static bool lists_by_page(void)
{
	return hv_supported(HV_F_EXT_GVA);
}

static void check_extended(struct world *w, u64 entry, const struct page *stale, u32 nr,
			   const char *what)
{
	struct call c = { .code = HVCALL_FLUSH_LIST,
			  .flags = HV_FLUSH_EXTENDED,
			  .targets = 2,
			  .nr = 1,
			  .list = list };
	u32 form;

	for (form = 0; form < 4; form++) {
		list[0] = entry;
		c.nr = 1;
		c.code = form & 2 ? HVCALL_FLUSH_LIST_EX : HVCALL_FLUSH_LIST;
		c.fast = form & 1;
		__judge(w, form & 1, &c, stale, nr, what, true);
	}
	/* The last of several. */
	list[2] = entry;
	list[0] = EXT_4K(page_gva((struct page){ PAGE_4K, 400 }), 3);
	list[1] = EXT_2M(page_gva((struct page){ PAGE_2M, 400 }), 1);
	c.nr = 3;
	__judge(w, 0, &c, stale, nr, what, true);
}

TEST_KNOWN_IF(extended_2m, "K2", lists_by_page)
{
	static const u32 more[] = { 0, 1, 7, 8, 15 };
	struct world *w = world_create();
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[STALE_MAX];

		for (j = 0; j <= more[i]; j++)
			stale[j] = (struct page){ PAGE_2M, 100 + j };
		check_extended(w, EXT_2M(page_gva(stale[0]), more[i]), stale, more[i] + 1,
			       "2M pages");
	}
	world_free(w);
}

/* 2M entries name addresses, not pages of that size: smaller ones there are flushed, too. */
TEST_KNOWN_IF(extended_2m_over_4k, "K2", lists_by_page)
{
	static const struct page stale[] = {
		{ PAGE_4K, 0 }, { PAGE_4K, 511 }, { PAGE_4K, 512 * 6 + 1 }, { PAGE_4K, 512 * 8 - 2 }
	};
	struct world *w = world_create();

	check_extended(w, EXT_2M(AREA, 7), stale, ARRAY_SIZE(stale), "4K pages in 2M ranges");
	world_free(w);
}

TEST_KNOWN_IF(extended_1g, "K2", lists_by_page)
{
	static const struct page stale[] = { { PAGE_1G, 1 }, { PAGE_1G, 2 }, { PAGE_1G, 3 } };
	struct world *w;
	u32 nr;

	require_1g_pages();
	w = world_create();
	for (nr = 1; nr <= ARRAY_SIZE(stale); nr++)
		check_extended(w, EXT_1G(page_gva(stale[0]), nr - 1), stale, nr, "1G pages");
	world_free(w);
}

/* As with 2M: one of each entry's pages of 1G holds smaller ones. */
TEST_KNOWN_IF(extended_1g_over_smaller, "K2", lists_by_page)
{
	static const struct page small[] = { { PAGE_4K, 0 },
					     { PAGE_4K, 700 },
					     { PAGE_4K, 512 * 15 + 511 } };
	static const struct page large[] = { { PAGE_2M, 1 }, { PAGE_2M, 300 }, { PAGE_2M, 511 } };
	struct world *w = world_create();

	check_extended(w, EXT_1G(AREA, 0), small, ARRAY_SIZE(small), "4K pages in a 1G range");
	check_extended(w, EXT_1G(AREA, 1), large, ARRAY_SIZE(large), "2M pages in 1G ranges");
	world_free(w);
}

/* 10:0 only, which is no different from the plain format. */
TEST(extended_4k)
{
	static const u32 more[] = { 0, 1, 7, 600, 2047 };
	struct world *w = world_create();
	u32 i, form;

	for (i = 0; i < ARRAY_SIZE(more); i++) {
		struct page stale[] = { { PAGE_4K, 9 },
					{ PAGE_4K, 9 + more[i] / 3 },
					{ PAGE_4K, 9 + more[i] } };

		for (form = 0; form < 2; form++) {
			struct call c = { .code = form ? HVCALL_FLUSH_LIST_EX : HVCALL_FLUSH_LIST,
					  .fast = form,
					  .flags = HV_FLUSH_EXTENDED,
					  .targets = 2,
					  .nr = 1,
					  .list = list };

			list[0] = EXT_4K(page_gva(stale[0]), more[i]);
			judge(w, form, &c, stale, 3, "4K pages");
		}
	}
	world_free(w);
}

/* --- addresses that are none ------------------------------------------------ */

static const u64 no_addresses[] = { LAST_CANONICAL_48 + PAGE_SIZE, NON_CANONICAL | 7,
				    0xfefffffffffff000ULL, 0x8000000000000fffULL };

TEST(non_canonical_is_skipped)
{
	struct world *w = world_create();
	struct page stale[] = { { PAGE_4K, 20 }, { PAGE_4K, 21 } };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 3, .list = list };
	u32 i, high;

	for (i = 0; i < ARRAY_SIZE(no_addresses); i++) {
		list[0] = page_gva(stale[0]);
		list[1] = no_addresses[i];
		list[2] = page_gva(stale[1]);
		judge(w, 0, &c, stale, 2, "in the middle");
		list[0] = no_addresses[i];
		list[1] = no_addresses[(i + 1) % ARRAY_SIZE(no_addresses)];
		list[2] = page_gva(stale[0]) | 1;
		c.fast = i & 1;
		judge(w, 1, &c, stale, 2, "first");
	}
	/* No instruction to invalidate takes such an address. */
	probes_read();
	list[0] = NON_CANONICAL | 15;
	list[1] = 0xfef0000000000000ULL;
	c.nr = 2;
	c.targets = 1;
	c.fast = false;
	ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result, HV_CTL_REP(2));
	probes_read();
	for (i = 0; i < nr_invalidations; i++) {
		high = (u32)(invalidations[i].gva >> 56);
		ASSERT(invalidations[i].all || high == 0 || high == 0xff, "0x%llx",
		       (unsigned long long)invalidations[i].gva);
	}
	world_free(w);
}

/*
 * A range that starts well and runs into the hole, or over the end of all
 * addresses. On Intel the CPU refuses such an address and stock KVM warns.
 */
TEST(range_into_the_hole)
{
	struct page stale[] = { { PAGE_4K, 30 }, { PAGE_2M, 30 } };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 3, .nr = 3, .list = list };
	struct world *w;
	u32 i;

	if (!module_loaded() && !host_is_amd() && lists_by_page())
		ktap_skip("stock KVM hands the CPU such an address, and warns in its log");
	w = world_create();
	for (i = 0; i < 4; i++) {
		u64 last = i & 2 ? LAST_CANONICAL_48 : LAST_CANONICAL_57;

		list[0] = (last - i * PAGE_SIZE) | (4 + i);
		list[1] = 0xfffffffffffff000ULL | (i & 1 ? 0xfff : 3);
		list[2] = page_gva(stale[0]);
		c.nr = 3;
		c.fast = i & 1;
		c.flags = 0;
		judge(w, i & 1, &c, stale, 1, "plain ranges");
		list[0] = EXT_2M(last & ~0x1fffffULL, i);
		list[1] = EXT_4K(last, 2 + i);
		list[2] = page_gva(stale[0]);
		list[3] = page_gva(stale[1]);
		c.nr = 4;
		c.flags = HV_FLUSH_EXTENDED;
		judge(w, i & 1, &c, stale, 2, "extended ranges");
	}
	world_free(w);
}

/* --- targets that run, halt, wait for a CPU, or are elsewhere ---------------- */

#define WAKE_VECTOR 0x51
#define NR_READ	    4

/* Shared by the host and the guests of a case. */
static struct {
	/* Set by the host. */
	u32 nr;
	volatile u64 *gva[STALE_MAX], *pte[STALE_MAX];
	u64 old_pte[STALE_MAX], new_pte[STALE_MAX];
	u64 reset_control, reset_input; /* a flush that needs no proof */
	u64 control, input;		/* the call under test */
	u64 other_cr3;
	bool pcid;
	/* Set by the guests. */
	volatile u64 seen[STALE_MAX];
	volatile u64 rounds;
	volatile bool stop, halting;
} shared;

static void guest_set_ptes(bool new)
{
	u32 i;

	for (i = 0; i < shared.nr; i++)
		*shared.pte[i] = new ? shared.new_pte[i] : shared.old_pte[i];
}

static void guest_read_pages(void)
{
	u32 i;

	for (i = 0; i < shared.nr; i++)
		shared.seen[i] = *shared.gva[i];
}

/* Pages of which the last look showed @value. */
static u32 seen(u64 value)
{
	u32 i, n = 0;

	for (i = 0; i < shared.nr; i++)
		n += shared.seen[i] == value;
	return n;
}

static void guest_make_stale(void)
{
	u32 try;

	for (try = 0; try < PREMISE_TRIES; try++) {
		guest_set_ptes(false);
		GUEST_ASSERT_EQ(hypercall(shared.reset_control, shared.reset_input, 0), 0);
		guest_read_pages();
		GUEST_ASSERT_EQ(seen(OLD_VALUE), shared.nr);
		guest_set_ptes(true);
		guest_read_pages();
		if (seen(OLD_VALUE) == shared.nr)
			return;
	}
	GUEST_ASSERT(!"a stale translation was used");
}

/* A round that begins after this moment has ended. PAUSE lets the other CPU go on. */
static void guest_wait_round(void)
{
	u64 now = shared.rounds;

	while (shared.rounds < now + 2)
		cpu_relax();
}

GUEST_CODE(reader)
{
	/* Interrupts on: the emulated Intel CPU does not preempt such a loop otherwise. */
	irqs_on();
	while (!shared.stop) {
		guest_read_pages();
		shared.rounds++;
		cpu_relax();
	}
}

/* The reader runs all the time, and is seen to use what is stale. */
GUEST_CODE(flush_running)
{
	u32 try, shown = 0;

	for (try = 0; try < PREMISE_TRIES && shown < 3; try++) {
		guest_set_ptes(false);
		GUEST_ASSERT_EQ(hypercall(shared.reset_control, shared.reset_input, 0), 0);
		guest_wait_round();
		GUEST_ASSERT_EQ(seen(OLD_VALUE), shared.nr);
		guest_set_ptes(true);
		guest_wait_round();
		if (seen(OLD_VALUE) == shared.nr)
			shown++;
		GUEST_ASSERT_EQ(hypercall(shared.control, shared.input, 0) & 0xffff, 0);
		guest_wait_round();
		GUEST_ASSERT_EQ(seen(NEW_VALUE), shared.nr);
	}
	GUEST_ASSERT_EQ(shown, 3);
}

/* vCPU 0 calls, vCPU 1 reads. Exits by PAUSE would empty the emulated TLB each time. */
static struct world *world_of_two(const struct page *p, u32 nr)
{
	struct call everything = { .code = HVCALL_FLUSH_SPACE_EX, .targets = 3 };
	struct world *w = world_create();
	struct guest_op op;
	u64 *input = w->input;
	u32 i;

	memset(&shared, 0, sizeof(shared));
	shared.nr = nr;
	for (i = 0; i < nr; i++) {
		shared.gva[i] = (volatile u64 *)(uintptr_t)page_read_at(p[i]);
		shared.pte[i] = page_entry(w, p[i]);
		shared.old_pte[i] = page_pte(w, p[i], false);
		shared.new_pte[i] = page_pte(w, p[i], true);
	}
	w->input = vm_alloc(w->vm, PAGE_SIZE);
	op = call_op(w, &everything);
	w->input = input;
	shared.reset_control = op.arg0;
	shared.reset_input = op.arg1;
	return w;
}

static void set_call(struct world *w, const struct call *c)
{
	struct guest_op op = call_op(w, c);

	shared.control = op.arg0;
	shared.input = op.arg1;
}

static void pin(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ASSERT_EQ(pthread_setaffinity_np(thread, sizeof(set), &set), 0);
}

static void require_two_cpus(void)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("two vCPUs that run at the same time need two CPUs");
}

static const struct page read_pages[NR_READ] = {
	{ PAGE_4K, 0 },
	{ PAGE_4K, 40 },
	{ PAGE_2M, 9 },
	{ PAGE_2M, 10 },
};

/* A call of each kind that covers read_pages[]; the lists are long, or of ranges. */
static u32 calls_for_pages(struct call calls[5])
{
	u32 i;

	for (i = 0; i < 20; i++) {
		list[i] = page_gva((struct page){ PAGE_4K, 2 * i + 2 });
		list[20 + i] = page_gva((struct page){ PAGE_4K, 2 * i + 2 }) | 1;
	}
	list[0] = page_gva(read_pages[0]);
	list[8] = page_gva(read_pages[2]) + 0x1000;
	list[9] = page_gva(read_pages[3]);
	list[20] = page_gva(read_pages[0]) | 40;
	list[21] = page_gva(read_pages[2]) | 512;
	list[40] = EXT_2M(page_gva(read_pages[2]), 1);
	list[41] = EXT_4K(page_gva(read_pages[0]), 40);
	calls[0] = (struct call){ .code = HVCALL_FLUSH_SPACE, .targets = 2 };
	calls[1] = (struct call){ .code = HVCALL_FLUSH_SPACE_EX, .targets = 6 };
	calls[2] =
		(struct call){ .code = HVCALL_FLUSH_LIST_EX, .targets = 3, .nr = 20, .list = list };
	calls[3] = (struct call){
		.code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 2, .list = list + 20
	};
	calls[4] = (struct call){ .code = HVCALL_FLUSH_LIST_EX,
				  .targets = 2,
				  .flags = HV_FLUSH_EXTENDED,
				  .nr = 2,
				  .list = list + 40 };
	return 5;
}

TEST(target_runs)
{
	struct world *w;
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;

	require_two_cpus();
	w = world_of_two(read_pages, NR_READ);
	ASSERT_EQ(__vm_enable_cap(w->vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE),
		  0);
	/* The reader may be there first. */
	guest_set_ptes(false);
	for (i = 0; i < nr; i++) {
		shared.stop = false;
		set_call(w, &calls[i]);
		vcpu_entry(w->vm->vcpus[0], flush_running);
		vcpu_entry(w->vm->vcpus[1], reader);
		vcpu_start(w->vm->vcpus[1]);
		pin(w->vm->vcpus[1]->worker, 1);
		pin(pthread_self(), 0);
		vcpu_run_done(w->vm->vcpus[0]);
		shared.stop = true;
		vcpu_join(w->vm->vcpus[1]);
	}
	world_free(w);
}

static void host_wait_round(void)
{
	u64 now = shared.rounds;

	while (shared.rounds < now + 2)
		sched_yield();
}

/* The reader, vCPU 1, was told by the call to forget its pages, and sees the new ones. */
static void expect_flushed(struct world *w, const struct call *c)
{
	u32 i;

	probes_read();
	ASSERT(seen(NEW_VALUE) == NR_READ, "call 0x%llx: %u new pages", (unsigned long long)c->code,
	       seen(NEW_VALUE));
	for (i = 0; i < NR_READ; i++)
		ASSERT(invalidated(w->address[1], read_pages[i]), "call 0x%llx: keeps 0x%llx",
		       (unsigned long long)c->code, (unsigned long long)page_gva(read_pages[i]));
}

/* vCPU 0 makes the call. */
static void host_call(struct world *w, const struct call *c)
{
	struct guest_op op;

	probes_read();
	op = vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, c));
	ASSERT_EQ(op.result, HV_CTL_REP(c->nr));
}

/* The caller has taken the target's CPU from it, in the middle of the guest. */
TEST(target_is_preempted)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;
	struct guest_op op;

	pin(pthread_self(), 0); /* inherited */
	vcpu_entry(v, reader);
	guest_set_ptes(false);
	vcpu_start(v);
	for (i = 0; i < nr; i++) {
		op = OP_HC(shared.reset_control, shared.reset_input, 0);
		guest_set_ptes(false);
		ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], op).result, HV_STATUS_SUCCESS);
		host_wait_round();
		ASSERT_EQ(seen(OLD_VALUE), NR_READ);
		guest_set_ptes(true);
		host_call(w, &calls[i]);
		host_wait_round();
		expect_flushed(w, &calls[i]);
	}
	shared.stop = true;
	vcpu_join(v);
	world_free(w);
}

GUEST_CODE(halter)
{
	apic_enable();
	guest_make_stale();
	shared.halting = true;
	irqs_halt();
	guest_read_pages();
}

/* Its own timer wakes it so long after; the call has to come before that. */
static u32 own_ms;

GUEST_CODE(halter_with_timer)
{
	u32 before = guest_irqs[WAKE_VECTOR];

	apic_enable();
	guest_make_stale();
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), rdmsr(HV_X64_MSR_TIME_REF_COUNT) + own_ms * 10000ULL);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0),
	      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(WAKE_VECTOR));
	shared.halting = true;
	while (guest_irqs[WAKE_VECTOR] == before)
		irqs_halt();
	guest_read_pages();
}

/* The only other thread of this process sleeps in the kernel. */
static bool other_thread_sleeps(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	bool sleeps = false;

	ASSERT(d, "/proc/self/task: %s", strerror(errno));
	while ((e = readdir(d))) {
		char path[300], state = '?';
		FILE *f;

		if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", e->d_name);
		f = fopen(path, "r");
		ASSERT(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
		fclose(f);
		sleeps = state == 'S';
	}
	closedir(d);
	return sleeps;
}

TEST(target_is_halted)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 1 << 12, .data = WAKE_VECTOR };
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i;

	guest_irq_handlers[WAKE_VECTOR] = guest_irq_count;
	for (i = 0; i < nr; i++) {
		shared.halting = false;
		vcpu_entry(v, halter);
		vcpu_start(v);
		while (!shared.halting || !other_thread_sleeps())
			sched_yield();
		host_call(w, &calls[i]);
		ASSERT_EQ(guest_irqs[WAKE_VECTOR], i);
		ASSERT_EQ(ioctl(w->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
		vcpu_join(v);
		ASSERT_EQ(guest_irqs[WAKE_VECTOR], i + 1);
		expect_flushed(w, &calls[i]);
	}
	world_free(w);
}

TEST(target_is_halted_until_its_timer)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i = 0, before;
	bool in_time;

	guest_irq_handlers[WAKE_VECTOR] = guest_irq_count;
	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	own_ms = 50;
	while (i < nr) {
		shared.halting = false;
		before = guest_irqs[WAKE_VECTOR];
		vcpu_entry(v, halter_with_timer);
		vcpu_start(v);
		while (!shared.halting ||
		       (!other_thread_sleeps() && guest_irqs[WAKE_VECTOR] == before))
			sched_yield();
		host_call(w, &calls[i]);
		in_time = guest_irqs[WAKE_VECTOR] == before;
		vcpu_join(v);
		if (in_time) {
			expect_flushed(w, &calls[i++]);
			continue;
		}
		/* A busy machine: once more, with more time. */
		own_ms *= 2;
		ASSERT(own_ms < 20000, "the timer comes before the call");
	}
	world_free(w);
}

#define CR4_PGE	      BIT64(7)
#define CR4_PCIDE     BIT64(17)
#define CR3_KEEP_PCID BIT64(63)

static void guest_load_cr3(u64 cr3)
{
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/* Leave the address space, and come back without a flush of its global pages. */
GUEST_CODE(switcher)
{
	u64 cr3, cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_PGE | (shared.pcid ? CR4_PCIDE : 0);
	asm volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	asm volatile("mov %%cr3, %0" : "=r"(cr3));
	guest_make_stale();
	guest_load_cr3(shared.other_cr3 | shared.pcid);
	GUEST_SYNC(1);
	guest_load_cr3(cr3 | (shared.pcid ? CR3_KEEP_PCID : 0));
	guest_read_pages();
}

/* A target's CR3 is no reason to spare it: this one comes back to what it still has. */
TEST(target_is_in_another_address_space)
{
	struct world *w = world_of_two(read_pages, NR_READ);
	struct vcpu *v = w->vm->vcpus[1];
	struct call calls[5];
	u32 nr = calls_for_pages(calls), i, j;
	u64 *pml4 = vm_alloc(w->vm, PAGE_SIZE);

	pml4[0] = *(u64 *)(uintptr_t)w->vm->cr3; /* without the area */
	shared.other_cr3 = gpa(pml4);
	shared.pcid = cpuid_test(&v->cpuid, CPUBIT(1, ECX, 17));
	if (!shared.pcid)
		ktap_log("no PCID: only global pages stay in the TLB when CR3 changes");
	for (j = 0; j < NR_READ; j++) {
		shared.old_pte[j] |= PTE_GLOBAL;
		shared.new_pte[j] |= PTE_GLOBAL;
	}
	for (i = 0; i < nr; i++) {
		calls[i].space = w->vm->cr3;
		vcpu_entry(v, switcher);
		vcpu_run_sync(v, 1);
		host_call(w, &calls[i]);
		vcpu_run_done(v);
		expect_flushed(w, &calls[i]);
	}
	world_free(w);
}

/* KVM_RUN as far as the requests; a signal that waits keeps the vCPU out of the guest. */
static void run_without_entry(struct vcpu *v)
{
	struct {
		struct kvm_signal_mask mask;
		u8 none[8];
	} unblocked = { .mask.len = sizeof(unblocked.none) };
	struct kvm_stat exits = stat_open(v, "exits");
	u64 before = stat_read(&exits);
	sigset_t signal;

	sigemptyset(&signal);
	sigaddset(&signal, SIGUSR1);
	ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &signal, NULL), 0);
	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, &unblocked);
	ASSERT_EQ(raise(SIGUSR1), 0);
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, NULL);
	ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &signal, NULL), 0);
	ASSERT_EQ(stat_read(&exits), before);
	stat_close(&exits);
}

static bool amd_by_page(void)
{
	return host_is_amd() && lists_by_page();
}

/*
 * The target's translations are on CPU 0, where it ran. Its thread is on CPU 1 when it finds the
 * flush, and back on CPU 0 before it enters the guest.
 */
TEST_KNOWN_IF(flushed_where_it_ran, "K23", amd_by_page)
{
	const struct page stale = { PAGE_4K, 5 };
	struct call c = { .code = HVCALL_FLUSH_LIST, .targets = 2, .nr = 1, .list = list };
	struct guest_op load = { .op = OP_LOAD, .arg0 = page_read_at(stale) };
	bool flushed = false, elsewhere = false;
	struct world *w;
	u32 i;

	require_two_cpus();
	if (!host_is_amd())
		ktap_skip("KVM flushes everything of a vCPU that changes its CPU");
	w = world_create();
	pin(pthread_self(), 0);
	make_stale(w, 1, &stale, 1);
	list[0] = page_gva(stale);
	ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, &c)).result, HV_CTL_REP(1));
	probes_read();
	pin(pthread_self(), 1);
	run_without_entry(w->vm->vcpus[1]);
	pin(pthread_self(), 0);
	ASSERT_EQ(vcpu_op(w->vm->vcpus[1], w->ops[1], load).result, NEW_VALUE);
	probes_read();
	for (i = 0; i < nr_invalidations; i++) {
		const struct invalidation *inv = &invalidations[i];

		if (inv->vcpu != w->address[1])
			continue;
		elsewhere |= inv->cpu == 1;
		/* What flushes everything waits for the entry. */
		flushed |= inv->all || (inv->cpu == 0 && inv->gva == list[0]);
	}
	ASSERT(elsewhere, "the flush was not found on CPU 1, so this shows nothing");
	ASSERT_KNOWN(flushed, "CPU 0 keeps the translation");
	world_free(w);
}

/* --- stress ------------------------------------------------------------------ */

#define STRESS_ROUNDS 200
#define STRESS_CALLS  4

/* What the pages must show, above it a count of the changes. */
enum { CHANGING, EXPECT_OLD, EXPECT_NEW, STALE_ALLOWED, STATE_BITS = 2 };
#define STATE(word) ((word) & ((1 << STATE_BITS) - 1))

static struct {
	u64 control[STRESS_CALLS], input[STRESS_CALLS];
	volatile u64 state;
	/* Of the reader. */
	volatile u64 checked, stale_used;
} stress;

GUEST_CODE(stress_reader)
{
	u64 state, value;
	u32 i;

	irqs_on();
	while (!shared.stop) {
		for (i = 0; i < shared.nr; i++) {
			state = stress.state;
			value = *shared.gva[i];
			if (stress.state != state)
				continue;
			if (STATE(state) == STALE_ALLOWED) {
				/* Its low bit, above the state, is what it changes to. */
				stress.stale_used +=
					value != (state >> STATE_BITS & 1 ? NEW_VALUE : OLD_VALUE);
			} else if (STATE(state) != CHANGING) {
				GUEST_ASSERT_EQ(value,
						STATE(state) == EXPECT_NEW ? NEW_VALUE : OLD_VALUE);
				stress.checked++;
			}
		}
		shared.rounds++;
		cpu_relax();
	}
}

GUEST_CODE(stress_flusher)
{
	u64 i, status;

	for (i = 1; i <= STRESS_ROUNDS; i++) {
		stress.state = i << STATE_BITS | CHANGING;
		guest_set_ptes(i & 1);
		/* Now and then, let it be used. */
		if (i % 8 == 0) {
			stress.state = i << STATE_BITS | STALE_ALLOWED;
			guest_wait_round();
			stress.state = i << STATE_BITS | CHANGING;
		}
		status = hypercall(stress.control[i % STRESS_CALLS], stress.input[i % STRESS_CALLS],
				   0);
		GUEST_ASSERT_EQ(status & 0xffff, 0);
		stress.state = i << STATE_BITS | (i & 1 ? EXPECT_NEW : EXPECT_OLD);
		guest_wait_round();
	}
}

TEST(flush_against_reads)
{
	struct world *w;
	struct call calls[5];
	u32 i;

	require_two_cpus();
	w = world_of_two(read_pages, NR_READ);
	calls_for_pages(calls);
	if (!hv_supported(HV_F_EXT_GVA))
		calls[4] = calls[3];
	ASSERT_EQ(__vm_enable_cap(w->vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_PAUSE),
		  0);
	memset(&stress, 0, sizeof(stress));
	for (i = 0; i < STRESS_CALLS; i++) {
		w->input = vm_alloc(w->vm, PAGE_SIZE);
		set_call(w, &calls[i + 1]);
		stress.control[i] = shared.control;
		stress.input[i] = shared.input;
	}
	guest_set_ptes(false);
	vcpu_entry(w->vm->vcpus[0], stress_flusher);
	vcpu_entry(w->vm->vcpus[1], stress_reader);
	vcpu_start(w->vm->vcpus[1]);
	pin(w->vm->vcpus[1]->worker, 1);
	pin(pthread_self(), 0);
	vcpu_run_done(w->vm->vcpus[0]);
	shared.stop = true;
	vcpu_join(w->vm->vcpus[1]);
	ktap_log("%llu reads judged, %llu stale before the flush",
		 (unsigned long long)stress.checked, (unsigned long long)stress.stale_used);
	ASSERT(stress.checked >= STRESS_ROUNDS * NR_READ, "%llu reads",
	       (unsigned long long)stress.checked);
	ASSERT(stress.stale_used, "the reader never used a stale translation");
	world_free(w);
}

/* --- main ------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	int r;

	if (kvm_fd() < 0)
		return KTAP_EXIT_FAIL;
	probes_install();
	r = ktap_main(argc, argv);
	probes_remove();
	return r;
}
