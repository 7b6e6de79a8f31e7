// SPDX-License-Identifier: GPL-2.0-only
/*
 * The work that `make bench` measures in a Linux guest: what two CPUs ask of a hypervisor when they
 * wake each other, drop each other's translations, wait for timers, do nothing, and talk to the
 * VMM. The amounts are fixed, so that stock KVM and the module do the same. A mark is a CPUID that
 * the host's khv-meter knows by RBX; it counts from one mark to another. Nothing is printed between
 * the marks: the console costs more exits than the work does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "run-work.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MAGIC	    0x4b48562d4d61726bul
#define MARK_BOOTED 3
#define MARK_EMPTY  10
#define MARK_WORK   100
#define MARK_LOCKS  200
/* Writers alone, and nothing but what they do. */
#define TORTURE	    "torture_type=spin_lock_irq nreaders_stress=0 stat_interval=0 " TORTURE_OFF
#define TORTURE_OFF "shuffle_interval=0 stutter=0 onoff_interval=0 verbose=0"
#define CPUS	    2
#define EMPTY_PAIRS 64
#define LOOPS	    10000000ul
#define ROUNDS	    2000
#define MAPPINGS    1500
#define MAP_PAGES   16
#define TIMERS	    3000
#define TIMER_NS    1000000
#define SETTLE	    5

static int to[2], fro[2];
static int idle;

static void mark(uint64_t number)
{
	uint64_t a = 0, b = MAGIC, c = 0, d;

	asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "=d"(d) : "S"(number) : "memory");
}

/* Between the two exits are three instructions. */
static void mark_twice(uint64_t number)
{
	/* A register of its own: the compiler knows that RBX has the same value, before. */
	register uint64_t again asm("r8") = MAGIC;
	uint64_t a = 0, b = MAGIC, c = 0, d, s = number;

	asm volatile("cpuid\n\t"
		     "mov %[again], %%rbx\n\t"
		     "inc %%rsi\n\t"
		     "xor %%eax, %%eax\n\t"
		     "cpuid"
		     : "+a"(a), "+b"(b), "+c"(c), "=&d"(d), "+S"(s), [again] "+r"(again)
		     :
		     : "memory");
}

void work_booted(void)
{
	mark(MARK_BOOTED);
}

/* Two instructions a turn: what the meter says of it is known before. */
static void loop(void)
{
	uint64_t n = LOOPS;

	asm volatile("1: dec %0\n\tjnz 1b" : "+r"(n));
}

static void on_both(void *(*fn)(void *))
{
	pthread_t thread[CPUS];

	for (intptr_t i = 0; i < CPUS; i++)
		if (pthread_create(&thread[i], NULL, fn, (void *)i))
			die("thread");
	for (int i = 0; i < CPUS; i++)
		pthread_join(thread[i], NULL);
}

static void *hand_over(void *arg)
{
	int cpu = (intptr_t)arg;
	char c = 0;

	pin(cpu);
	for (int i = 0; i < ROUNDS; i++) {
		if (!cpu && write(to[1], &c, 1) != 1)
			die("write");
		if (read(cpu ? to[0] : fro[0], &c, 1) != 1)
			die("read");
		if (cpu && write(fro[1], &c, 1) != 1)
			die("write");
	}
	return NULL;
}

static void hand_to_and_fro(void)
{
	on_both(hand_over);
}

static void *map_touch_unmap(void *arg)
{
	size_t len = MAP_PAGES * 4096;

	pin((intptr_t)arg);
	for (int i = 0; i < MAPPINGS; i++) {
		char *p =
			mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			die("mmap");
		for (size_t at = 0; at < len; at += 4096)
			p[at] = 1;
		if (munmap(p, len))
			die("munmap");
	}
	return NULL;
}

static void map_storm(void)
{
	on_both(map_touch_unmap);
}

static void *wait_for_timers(void *arg)
{
	struct timespec due;

	pin((intptr_t)arg);
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (int i = 0; i < TIMERS; i++) {
		due.tv_nsec += TIMER_NS;
		if (due.tv_nsec >= 1000000000) {
			due.tv_nsec -= 1000000000;
			due.tv_sec++;
		}
		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL))
			die("clock_nanosleep");
	}
	return NULL;
}

static void timers(void)
{
	on_both(wait_for_timers);
}

static void do_nothing(void)
{
	struct timespec ts = { .tv_sec = idle };

	if (nanosleep(&ts, NULL))
		die("nanosleep");
}

/*
 * Once: VMM and guest agree on a version, and the guest asks for offers. The guest's driver cannot
 * be taken out and inserted again: it waits for the answer to its UNLOAD for ever.
 */
static void connect_once(void)
{
	connect_vmbus();
}

static const struct {
	const char *name;
	void (*fn)(void);
} works[] = {
	{ "loop", loop },      { "vmbus", connect_once }, { "pipe", hand_to_and_fro },
	{ "mmap", map_storm }, { "timers", timers },	  { "idle", do_nothing },
};

void work_measured(int idle_seconds)
{
	struct timespec settle = { .tv_sec = SETTLE };

	idle = idle_seconds;
	if (pipe(to) || pipe(fro))
		die("pipe");
	pin(0);
	for (int i = 0; i < EMPTY_PAIRS; i++)
		mark_twice(MARK_EMPTY);
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		printf("KHV-WORK %d %s\n", MARK_WORK + 2 * (int)i, works[i].name);
		/* What the part before left to be done later, and the console. */
		nanosleep(&settle, NULL);
		pin(0);
		mark(MARK_WORK + 2 * i);
		works[i].fn();
		mark(MARK_WORK + 2 * i + 1);
	}
}

static void insert(const char *path, const char *args)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, args, 0))
		die(path);
	close(fd);
}

/* As often as it can, whatever the kernel's torture does beside that. */
void work_locks(int cpus, int seconds)
{
	struct timespec settle = { .tv_sec = SETTLE }, time = { .tv_sec = seconds };
	char args[256], *log, *total;

	insert("/torture.ko", "");
	nanosleep(&settle, NULL);
	pin(0);
	snprintf(args, sizeof(args), "%s nwriters_stress=%d", TORTURE, cpus);
	printf("KHV-WORK %d locks\n", MARK_LOCKS);
	mark(MARK_LOCKS);
	insert("/lock_torture.ko", args);
	nanosleep(&time, NULL);
	if (syscall(SYS_delete_module, "lock_torture", O_NONBLOCK))
		die("rmmod lock_torture");
	mark(MARK_LOCKS + 1);
	log = kernel_log();
	total = strstr(log, "Writes:  Total: ");
	if (!total || !strstr(log, "End of test: SUCCESS"))
		die("lock_torture has no result");
	printf("KHV-LOCKS %lu\n", strtoul(total + strlen("Writes:  Total: "), NULL, 10));
	free(log);
}
