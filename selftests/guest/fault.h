/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest can make the host allocate or access, one operation at a time, in pages that the
 * host can take away without losing their contents; and the state that an operation may change.
 * A failed operation must leave that state as it was.
 */
#ifndef KHV_SELFTEST_FAULT_H
#define KHV_SELFTEST_FAULT_H

#include "ops.h"

#define FAULT_VPS 2
/* The memslot. The guest reaches it only by way of the host. */
#define FAULT_GPA 0x61000000ULL

enum fault_page {
	CALLS_PAGE,
	MOVED_PAGE,
	TSC_PAGE,
	ASSIST_PAGE,
	SIMP_PAGE,
	SIEFP_PAGE,
	INPUT_PAGE,
	OUTPUT_PAGE,
	NR_FAULT_PAGES
};

#define FAULT_SIZE   (NR_FAULT_PAGES * PAGE_SIZE)
#define FAULT_AT(n)  (FAULT_GPA + PAGE_SIZE * (n))
#define MAX_STEPS    6
#define MAX_CASE_MSR 64

struct fault_case {
	const char *name;
	struct guest_op before[MAX_STEPS], op, after[MAX_STEPS];
	u64 input[8];	/* at the start of INPUT_PAGE */
	u32 pages;	/* that the operation accesses, a bit for each */
	bool timed;	/* its pages have times in them */
	u32 gone;	/* the vector without these pages */
	u64 gone_stock; /* a hypercall's status without them: stock, then the module */
	u64 gone_status;
	bool amd; /* SVM only */
};

#define NR_FAULT_CASES 32
extern const struct fault_case fault_cases[NR_FAULT_CASES];

struct fault_world {
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *ops;
	struct kvm_lapic_state clean[FAULT_VPS];
	u8 *view; /* the pages, by a mapping that stays */
	u8 *hva;  /* the memslot's mapping */
	int memfd, conn;
	u32 slot;
	bool mapped; /* the memslot is there */
	u32 errors;  /* ioctls that failed */
	int error;   /* of the last of them */
};

struct fault_outcome {
	u32 vector, exits;
	u64 result;
};

struct fault_state {
	u64 msrs[MAX_CASE_MSR];
	u64 efer, apic_base, signals;
	u32 irr[FAULT_VPS]; /* interrupts that wait */
	u8 pages[FAULT_SIZE];
};

bool fault_case_here(const struct fault_case *c);
struct fault_world fault_world_create(void);
void fault_world_free(struct fault_world *w);
/* Let the memslot have @hva, or nothing. */
void fault_set_memory(struct fault_world *w, void *hva, u32 flags);
/* Take the pages out of the memslot's page table; what is in them stays. */
void fault_drop(struct fault_world *w);

/*
 * The guest makes the operation; KVM_RUN is repeated when it fails. OP_END: the VMM writes @arg1 to
 * register @arg0, or sets the clock to what it is if that is 0, and the guest runs. A write that is
 * refused counts as a #GP.
 */
struct fault_outcome fault_run(struct fault_world *w, const struct guest_op *op);
/* Fill the pages, and make the operations before the case's own. */
void fault_begin(struct fault_world *w, const struct fault_case *c);
void fault_end(struct fault_world *w, const struct fault_case *c);
bool fault_same_outcome(const struct fault_outcome *a, const struct fault_outcome *b);
struct fault_state *fault_state(struct fault_world *w, const struct fault_case *c);
/* Frees @is. */
void fault_expect_state(const struct fault_case *c, struct fault_state *is,
			const struct fault_state *was, const char *when);

#endif
