// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work of the Linux guest of `make run` that a hypervisor can help with: wake-ups across CPUs,
 * shoot-downs of mappings, and, while the guest is moved from one QEMU to another, timers and the
 * time itself on each CPU. It ends the guest at once when something comes out wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "run-work.h"

#define VERSIONS   4096
#define REST_NS	   5000000
#define TIMER_NS   2000000ull
#define MIN_PASSED 10
#define STUCK_NS   60000000000ull

static int ncpu;
static volatile int stop;
static long rest;
static int ring[MAX_CPUS][2];
static volatile uint64_t rounds;
static volatile uint64_t *window; /* one page, of a file whose every page holds its number */
static volatile uint64_t mapped;  /* the page that is seen there, or a later one */
static volatile uint64_t lap;	  /* odd while the first page is mapped again */
static volatile uint64_t replaced;
static int file;
static pthread_t token[MAX_CPUS], mem[MAX_CPUS];

/*
 * Pass a byte round all CPUs: each hop wakes a task on another CPU, and each round sleeps once on
 * a timer.
 */
static void *pass_token(void *arg)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	int cpu = (intptr_t)arg;
	char c;

	pin(cpu);
	while (read(ring[cpu][0], &c, 1) == 1) {
		if (!cpu) {
			nanosleep(&ms, NULL);
			rounds++;
		}
		if (write(ring[(cpu + 1) % ncpu][1], &c, 1) != 1)
			die("pass");
		if (c == 'q')
			break;
	}
	return NULL;
}

/* Keep the window in the TLB of every CPU. Once a page is mapped, no earlier one may be seen. */
static void *look(void *arg)
{
	uint64_t before, seen, begun;

	pin((intptr_t)arg);
	while (!stop) {
		begun = lap;
		before = mapped;
		seen = *window;
		if (seen < before && !(begun & 1) && begun == lap) {
			errno = ESTALE;
			die("a translation outlived its flush");
		}
		sched_yield();
	}
	return NULL;
}

static void map_version(uint64_t i)
{
	if (mmap((void *)window, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, file, i * 4096) ==
	    MAP_FAILED)
		die("mmap");
}

/* Map one page after the other over the window, which has to reach the other CPUs' TLBs. */
static void *shoot(void *arg)
{
	struct timespec pause = { .tv_nsec = rest };
	uint64_t i = 0;

	pin((intptr_t)arg);
	while (!stop) {
		if (++i == VERSIONS) {
			i = 0;
			lap++;
			mapped = 0;
			map_version(0);
			lap++;
		} else {
			map_version(i);
			mapped = i;
		}
		replaced++;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void make_window(void)
{
	uint64_t page[512] = {};

	file = memfd_create("versions", 0);
	if (file < 0)
		die("memfd");
	for (page[0] = 0; page[0] < VERSIONS; page[0]++)
		if (write(file, page, sizeof(page)) != sizeof(page))
			die("memfd");
	window = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	if (window == MAP_FAILED)
		die("mmap");
}

static void start(pthread_t *thread, void *(*fn)(void *), intptr_t cpu)
{
	if (pthread_create(thread, NULL, fn, (void *)cpu))
		die("thread");
}

void busy_begin(int cpus, long rest_ns)
{
	ncpu = cpus;
	rest = rest_ns;
	stop = 0;
	replaced = 0;
	mapped = 0;
	make_window();
	for (int i = 0; i < ncpu; i++)
		if (pipe(ring[i]))
			die("pipe");
	for (int i = 0; i < ncpu; i++) {
		start(&token[i], pass_token, i);
		start(&mem[i], i ? look : shoot, i);
	}
	if (write(ring[0][1], "t", 1) != 1)
		die("token");
}

uint64_t busy_end(void)
{
	stop = 1;
	for (int i = 0; i < ncpu; i++)
		pthread_join(mem[i], NULL);
	if (write(ring[0][1], "q", 1) != 1)
		die("token");
	for (int i = 0; i < ncpu; i++)
		pthread_join(token[i], NULL);
	munmap((void *)window, 4096);
	close(file);
	return replaced;
}

/* ---- moved from one QEMU to another ---- */

/* All that must go on. */
struct passed {
	uint64_t rounds, replaced, timers[MAX_CPUS], interrupts[MAX_CPUS];
};

static volatile uint64_t timers[MAX_CPUS];
static uint64_t latest; /* time that any CPU has read */

/* Timers in a row on this CPU: none is early, and the time of no CPU is behind another's. */
static void *watch(void *arg)
{
	int cpu = (intptr_t)arg;
	uint64_t due, before, now;
	struct timespec at;

	pin(cpu);
	for (;;) {
		due = now_ns() + TIMER_NS;
		at.tv_sec = due / 1000000000;
		at.tv_nsec = due % 1000000000;
		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL))
			die("clock_nanosleep");
		before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
		now = now_ns();
		errno = ETIME;
		if (now < due)
			die("a timer came early");
		if (now < before)
			die("the time went back");
		while (before < now &&
		       !__atomic_compare_exchange_n(&latest, &before, now, 0, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
		timers[cpu]++;
	}
	return NULL;
}

static struct passed count(void)
{
	struct passed all = { .rounds = rounds, .replaced = replaced };

	for (int i = 0; i < ncpu; i++) {
		all.timers[i] = timers[i];
		all.interrupts[i] = interrupts("HVS:", i);
	}
	return all;
}

/* The least that any of it has gone on since @begin. */
static uint64_t least(const struct passed *begin, const struct passed *now)
{
	uint64_t least = now->rounds - begin->rounds;

#define LESS(n) (least = (n) < least ? (n) : least)
	LESS(now->replaced - begin->replaced);
	for (int i = 0; i < ncpu; i++) {
		LESS(now->timers[i] - begin->timers[i]);
		LESS(now->interrupts[i] - begin->interrupts[i]);
	}
#undef LESS
	return least;
}

void move_begin(int cpus)
{
	pthread_t thread;

	busy_begin(cpus, REST_NS);
	for (int i = 0; i < ncpu; i++)
		start(&thread, watch, i);
}

void move_check(void)
{
	struct timespec ms = { .tv_nsec = 10000000 };
	struct passed begin = count(), now;
	uint64_t end = now_ns() + STUCK_NS;
	unsigned long told = 0;

	do {
		nanosleep(&ms, NULL);
		now = count();
	} while (least(&begin, &now) < MIN_PASSED && now_ns() < end);
	printf("KHV-%s rounds %llu, mappings %llu,",
	       least(&begin, &now) < MIN_PASSED ? "STUCK" : "MOVED",
	       (unsigned long long)(now.rounds - begin.rounds),
	       (unsigned long long)(now.replaced - begin.replaced));
	for (int i = 0; i < ncpu; i++)
		told += interrupts("HRE:", i);
	printf(" told of a new TSC %lu times,", told);
	for (int i = 0; i < ncpu; i++)
		printf(" cpu%d timers %llu, interrupts %llu%s", i,
		       (unsigned long long)(now.timers[i] - begin.timers[i]),
		       (unsigned long long)(now.interrupts[i] - begin.interrupts[i]),
		       i < ncpu - 1 ? "," : "\n");
}
