/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long the host's CPU is kept from an interrupt, and from a thread: a thread of real-time
 * priority wakes up all the time, and the kernel's events of timers tell when each of its timers
 * was due and when the interrupt came. Samples: the longest stretch is hit somewhere in its
 * beginning, not at its first instruction.
 */
#ifndef KHV_SELFTEST_LATE_H
#define KHV_SELFTEST_LATE_H

#include "uapi.h"

/* In units of the TSC; the way from the timer to the interrupt, and to the thread, is in them. */
struct late {
	u32 irqs;   /* until the timer's interrupt is taken: how long interrupts were off */
	u32 thread; /* until the thread runs: how long there was no reschedule point */
	u32 samples;
};

/* Call @what with @arg again and again until there are @samples, once at least. */
struct late late_during(u32 samples, void (*what)(void *arg), void *arg);

#endif
