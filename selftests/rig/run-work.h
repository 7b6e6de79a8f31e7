/* SPDX-License-Identifier: GPL-2.0-only */
/* What the Linux guest of `make bench` does while its host counts instructions; see run-work.c. */
#ifndef RUN_WORK_H
#define RUN_WORK_H

/* All of run-guest-init.c. */
void die(const char *what);
void pin(int cpu);
void connect_vmbus(void);

/* The first instruction of PID 1 that counts: the end of the guest's boot. */
void work_booted(void);
/* Do all the work, with a mark on both sides of each part. */
void work_measured(int idle_seconds);

#endif
