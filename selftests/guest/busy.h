/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A busy VM of two VPs, to be carried from one host to another: its VPs are stopped wherever they
 * are, with timers armed, messages unread, interrupts pending or in service, in HLT and in calls.
 * The guest checks itself all the time, and knows nothing of a move: each timer, message, interrupt
 * and event comes once and not early, the registers are what it wrote, and the reference time never
 * goes back.
 */
#ifndef KHV_SELFTEST_BUSY_H
#define KHV_SELFTEST_BUSY_H

#include "connection.h"
#include "migration.h"
#include "refclock.h"
#include "vapic.h"
#include "vmm.h"

/* What one VP did, and what came to it. Only this VP writes here. */
struct busy_vp {
	volatile u64 rounds;
	volatile u64 ipis_sent, ipis_taken;
	volatile u64 ticks[2], last_tick;
	volatile u64 armed[4], expired[4], count[4];
	volatile u64 host_messages;
	volatile u64 posted, signalled;
	volatile u64 spared; /* interrupts that ended without an EOI */
	volatile u64 begun, done;
	u64 begin;
	u64 seed;
};

/* All that the VM has beside its RAM: a part of the program's image, which moves with it. */
struct busy {
	struct busy_vp vps[MAX_VPS];
	volatile bool stop;
	volatile u64 shared_time;

	/* The VMM's. */
	volatile u64 posts_seen[MAX_VPS];
	u64 events_seen, messages_sent;
	u64 moves;
	u32 sequence; /* of the reference TSC page when it was carried */
	u32 pages_judged, pages_skipped;
	char from[64];

	struct assist_page assist[MAX_VPS] __attribute__((aligned(4096)));
	u8 call_page[PAGE_SIZE];
	struct tsc_page ref_page;
	struct post_input posts[MAX_VPS];
	u64 flush_inputs[MAX_VPS][8] __attribute__((aligned(4096)));
};

extern struct busy busy;

/* Once in a process, before its first VM. */
void busy_prepare(void);
/* Let the guest of a new VM begin. */
void busy_begin(struct vm *vm);
/* Let both VPs do a whole round at least, then stop them somewhere. */
void busy_live(struct vm *vm);
/* The last time: let the guest come to its end, and see that nothing was lost. */
void busy_end(struct vm *vm);

#endif
