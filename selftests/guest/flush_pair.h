/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flushes while the target, vCPU 1, runs guest code of its own in another thread than the caller,
 * vCPU 0; the two share struct flush_pair.
 */
#ifndef KHV_SELFTEST_FLUSH_PAIR_H
#define KHV_SELFTEST_FLUSH_PAIR_H

#include "flush.h"

#define WAKE_VECTOR 0x51
#define NR_READ	    4

/* Shared by the host and the guests of a case. */
struct flush_pair {
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
};

extern struct flush_pair shared;

/* Guest: write the old or the new entries; read the pages into shared.seen[]. */
void guest_set_ptes(bool new);
void guest_read_pages(void);
/* How many pages showed @value when they were last read. */
u32 seen(u64 value);
/* Guest: use stale translations of all pages. */
void guest_make_stale(void);
/* Guest: wait until a round of the reader has begun and ended. PAUSE lets the other CPU go on. */
void guest_wait_round(void);

/* Host: vCPU 0 calls, vCPU 1 reads. Exits by PAUSE would empty the emulated TLB each time. */
struct world *world_of_two(const struct page *p, u32 nr);
/* Put @c into shared, for guest code that calls. */
void set_call(struct world *w, const struct call *c);
void pin_thread(pthread_t thread, int cpu);

extern const struct page read_pages[NR_READ];
/* A call of each kind that covers read_pages[]; the lists are long, or of ranges. */
u32 calls_for_pages(struct call calls[5]);
/* As guest_wait_round(). */
void host_wait_round(void);
/* The reader, vCPU 1, was told by the call to forget its pages, and sees the new ones. */
void expect_flushed(struct world *w, const struct call *c);
/* vCPU 0 makes the call. */
void host_call(struct world *w, const struct call *c);

#endif
