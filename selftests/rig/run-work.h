/* SPDX-License-Identifier: GPL-2.0-only */
/* What the Linux guest of `make run` and `make bench` works on: run-busy.c, run-work.c. */
#ifndef RUN_WORK_H
#define RUN_WORK_H

#include <stdint.h>

#define MAX_CPUS 8

/* All of run-guest-init.c. */
void die(const char *what);
void pin(int cpu);
void connect_vmbus(void);
uint64_t now_ns(void);
/* Interrupts of a row of /proc/interrupts, "HVS:", that a CPU took. */
unsigned long interrupts(const char *row, int cpu);

/* Wake-ups across CPUs and shoot-downs of mappings, one each @rest_ns, until busy_end(). */
void busy_begin(int cpus, long rest_ns);
/* Return: how many mappings were replaced. */
uint64_t busy_end(void);

/* Work for a guest that is moved to another QEMU, until it powers off. */
void move_begin(int cpus);
/* Wait until all of that work has gone on, and say so. */
void move_check(void);

/* The kernel's log; free() it. */
char *kernel_log(void);

/* Have all CPUs take one spinlock of the kernel for so long, between two marks. */
void work_locks(int cpus, int seconds);

/* The first instruction of PID 1 that counts: the end of the guest's boot. */
void work_booted(void);
/* Do all the work, with a mark on both sides of each part. */
void work_measured(int idle_seconds);

#endif
