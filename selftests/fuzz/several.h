/* SPDX-License-Identifier: GPL-2.0-only */
/* Several VPs of one VM at once: invariants, see several.c. */
#ifndef KHV_SELFTEST_FUZZ_SEVERAL_H
#define KHV_SELFTEST_FUZZ_SEVERAL_H

#include "fuzz.h"

#define SEVERAL_MAX 8

/* What ends a HLT. */
enum several_waker {
	SEVERAL_BY_TIMER,
	SEVERAL_BY_MESSAGE,
	SEVERAL_BY_IPI,
	SEVERAL_BY_SIGNAL, /* of an irqfd */
	SEVERAL_WAKERS,
};

/* What the host does meanwhile. */
enum several_deed {
	SEVERAL_MOVE,	/* a thread to another CPU */
	SEVERAL_KICK,	/* a signal ends KVM_RUN */
	SEVERAL_CLOCK,	/* KVM_SET_CLOCK, forward */
	SEVERAL_ROUTES, /* KVM_SET_GSI_ROUTING */
	SEVERAL_IRQFD,	/* an irqfd comes or goes */
	SEVERAL_STEADY, /* a signal by a route that stays */
	SEVERAL_MOBILE, /* by one that comes and goes */
	SEVERAL_TWIN,	/* a spare VP gets the index of one that runs */
	SEVERAL_SPARE,	/* or one that only spare VPs have */
	SEVERAL_FILTER, /* KVM_X86_SET_MSR_FILTER */
	SEVERAL_SLOT,	/* a memslot comes or goes */
	SEVERAL_DEEDS,
};

struct several_report {
	/* HLTs of each VP. */
	struct several_halts {
		u64 halts, ended[SEVERAL_WAKERS]; /* that the guest executed and waited for */
		u64 exits, polled, woken;	  /* as KVM counts: it slept, or need not have */
	} halts[SEVERAL_MAX];
	u64 deeds[SEVERAL_DEEDS];
};

/*
 * Run @vps VPs for at least @rounds operations each; a case fails where an invariant does. What
 * happened meanwhile is added to @report.
 */
void several_run(u64 seed, u32 vps, u32 rounds, struct several_report *report);
/* Print it; the case fails if something never happened. */
void several_judge(const struct several_report *report, u32 vps);

#endif
