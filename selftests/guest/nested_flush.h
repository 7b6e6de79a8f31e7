/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Direct flush: L2's four flush calls are answered by L0, without L1, when L1 has allowed it in
 * the VP assist page, in the VMCB or eVMCS, and L0 in CPUID. TLFS chapter "Nested
 * Virtualization", "Direct Virtual Flush". Who is flushed is judged as in flush.h.
 */
#ifndef KHV_SELFTEST_NESTED_FLUSH_H
#define KHV_SELFTEST_NESTED_FLUSH_H

#include "nested.h"
#include "probe.h"

#define NR_VCPUS 2
#define NR_CODES 4

#define MAX_OPS 16
#define TRIES	100

/* The page under test, by an entry of the PML4 of its own. */
#define AREA	  BIT64(39)
#define OLD_VALUE 0x6f6c646f6c646f6cULL
#define NEW_VALUE 0x6e65776e65776e65ULL

extern const u32 vp_ids[NR_VCPUS];

#define MASK(vcpu) BIT64(vp_ids[vcpu])

/* A VM whose vCPUs are L1s with an L2 each, and the page under test. */
struct world {
	struct vm *vm;
	struct nested *n[NR_VCPUS];
	u64 address[NR_VCPUS]; /* of the struct kvm_vcpu, as the probes show it */
	u64 *pte, old, new;
	u64 *input, *hidden; /* what a slow call reads; the window's first page */
	struct xmm_block *xmm;
};

/* A flush call of L2. */
struct call {
	u64 code, mask;
	bool fast, all;
};

/* The four calls. */
extern const u64 direct_codes[NR_CODES];

bool host_has_direct_flush(void);

/* Nothing has run yet: cases may change what the vCPUs start with. */
struct world *direct_world_create(u32 flags);
void find_vcpus(struct world *w);
/* Let every L1 enter its L2. */
void direct_world_start(struct world *w);
/* nested_move(). */
void direct_world_move(struct world *w);
void direct_world_free(struct world *w);

/* The operation that makes the call; its input is written to @in, which L2 has at @in_gpa. */
struct guest_op __l2_call_op(struct world *w, const struct call *c, u64 *in, u64 in_gpa);
struct guest_op l2_call_op(struct world *w, const struct call *c);
/* The status that means success. */
u64 success_of(const struct guest_op *o);
struct guest_op l2_op(struct world *w, u32 vcpu, struct guest_op op);
/* Let L2 make one call; it must come back without L1. */
struct guest_op direct_call(struct world *w, u32 vcpu, const struct call *c);
/* Let L2 of @vcpu read through a translation that is stale. */
void make_l2_stale(struct world *w, u32 vcpu);
/* Let L2 of vCPU 0 call, and assert that exactly the vCPUs of @targets are flushed. */
void __judge_direct(struct world *w, const struct call *c, u32 targets, bool known);
void judge_direct(struct world *w, const struct call *c, u32 targets);

/* A case that needs direct flush. */
#define TEST_DIRECT(name) TEST_KNOWN_IF(name, "N0", host_is_6_1)

/* While TlbLockCount is set the call is done, and then L2 exits to L1 by a synthetic reason. */
void check_locked(struct world *w, u32 vcpu, const struct call *c);
/* Assert that L2's operation exits to L1. */
void assert_reflected(struct world *w, struct guest_op op, const char *why);
void assert_all_reflected(struct world *w, const char *why);

#endif
