/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest (several.c) and the host (several_host.c) share. */
#ifndef KHV_SELFTEST_FUZZ_SEVERAL_PRIVATE_H
#define KHV_SELFTEST_FUZZ_SEVERAL_PRIVATE_H

#include "several.h"

#define MESSAGE_SINT 2 /* of timers */
#define STEADY_SINT  3 /* its route stays; its signals come one after the other */
#define MOBILE_SINT  4 /* its route goes from VP to VP */
#define CONNECTION   7
#define WINDOW	     0x40000000ULL
#define FRAMES	     4 /* that the pages of one VP lead to, in turns */
/* VPs that never run, and that user space gives other indices. The first one's own is w.vps. */
#define SPARES	     2
/* The VPs go on until the host has done so much. */
#define LEAST_DEEDS  100
/* Denied by a filter now and then. */
#define FILTERED_MSR HV_X64_MSR_VP_INDEX

/* A word that the host changes: its state, and above it how often that has changed. */
enum several_filter { ALLOWED, DENIED, FILTER_CHANGES };
#define STATE_BITS 2

struct several_world {
	struct vm *vm;
	u32 vps, rounds;
	u64 seed[SEVERAL_MAX];
	u64 *ptes;
	u64 *frames[SEVERAL_MAX][FRAMES];
	u8 *input[SEVERAL_MAX];
	struct hv_message *messages[SEVERAL_MAX];
	struct tsc_page *clock;
	volatile u64 flushed[SEVERAL_MAX]; /* the last change that is flushed everywhere */
	volatile u32 sent[SEVERAL_MAX][SEVERAL_MAX], got[SEVERAL_MAX][SEVERAL_MAX];
	volatile u32 ticks[SEVERAL_MAX], taken[SEVERAL_MAX], pongs[SEVERAL_MAX];
	volatile u32 readings[SEVERAL_MAX];
	struct several_halts halts[SEVERAL_MAX];
	volatile u64 due[SEVERAL_MAX], latest;
	volatile u32 signals, done;

	/* A spare VP has the index, too, or soon will: nobody sends to it. */
	volatile u32 closed[SEVERAL_MAX];
	/* Those that send to it: none is left before it gets the index. */
	volatile u32 senders[SEVERAL_MAX];
	/* Signals of irqfds, and interrupts that came of them. */
	volatile u32 steady[SEVERAL_MAX], steady_taken[SEVERAL_MAX];
	volatile u32 mobile[SEVERAL_MAX], mobile_taken[SEVERAL_MAX];
	volatile u64 filter; /* enum several_filter and a number */
	volatile u32 deeds;  /* what the host has done */
	volatile u32 quiet;  /* the host does nothing any more */
};

extern struct several_world w;

void vp_of_several(void);
/* Set the handlers of all vectors. */
void several_handlers(void);

#endif
