/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flush calls, and what must not survive one: guests that read through a mapping, have the page
 * table changed under them, use the stale translation, flush, and must then see the new page.
 *
 * A stale translation outlives an exit on a real CPU, but not on an emulated one, which forgets
 * them all when it enters a guest. So there are two judges: what the guest reads, and what KVM told
 * the CPU to invalidate before it let the guest go on (probe.h).
 */
#ifndef KHV_SELFTEST_FLUSH_H
#define KHV_SELFTEST_FLUSH_H

#include "ops.h"
#include "probe.h"

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
#define PREMISE_TRIES 1000

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

/* One page of the area, by its number among those of its size. */
struct page {
	enum page_size size;
	u32 nr;
};

/* A VM with such an area, and what its guests need for their calls. */
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
extern const u32 vp_index[NR_VCPUS];

/* A call as the caller makes it. */
struct call {
	u64 code;
	bool fast;
	u64 flags, space;
	u32 targets; /* vCPUs, by number */
	bool format_all;
	u32 start, nr;
	const u64 *list;
};

/* Pages of the area: address, where it is read, entry of its table, and what that holds. */
u64 page_gva(struct page p);
/* Large pages are read at different offsets: the emulated TLB is indexed by bits 12 and up. */
u64 page_read_at(struct page p);
u64 *page_entry(struct world *w, struct page p);
u64 page_pte(struct world *w, struct page p, bool new);
/* Did the host invalidate the page for the vCPU at @vcpu? As probes_read() found. */
bool invalidated(u64 vcpu, struct page p);

bool call_is_ex(u64 code);
/* Write the input of @c, and make the operation of ops.h that calls. */
struct guest_op call_op(struct world *w, const struct call *c);

struct world *world_create(void);
void world_free(struct world *w);
/* Let the vCPU fill its TLB, change the page table and use what is stale. */
void make_stale(struct world *w, u32 vcpu, const struct page *p, u32 nr);
/*
 * Make the pages stale on all targets, let vCPU @caller make the call, and assert that every target
 * sees the new pages; with @known it may fail as on stock.
 */
void __judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
	     const char *what, bool known);
void judge(struct world *w, u32 caller, const struct call *c, const struct page *p, u32 nr,
	   const char *what);
bool has_1g_pages(void);

/* Where lists are built. */
extern u64 list[LIST_MAX];
/* Write entries of 0 further pages for @nr pages; returns the first, a middle and the last. */
u32 list_of_pages(u32 nr, struct page stale[3]);
/* Does KVM of this kernel flush by list, not everything? */
bool lists_by_page(void);

#endif
