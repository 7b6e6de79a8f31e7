// SPDX-License-Identifier: GPL-2.0-only
/* See late.h. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "ktap.h"
#include "late.h"
#include "random.h"
#include "tracefs.h"

#define INSTANCE      TRACING "/instances/khv_late"
/*
 * At random within these: with one period, a counting host and exits of one length the timer comes
 * at the same instruction again and again.
 */
#define PERIOD_MIN_NS 30000
#define PERIOD_MAX_NS 70000
/* Of the latest this one counts: the host's own work may be in the way of a few. */
#define LATEST	      5

struct latest {
	u64 ns[LATEST]; /* the first one most */
};

static volatile bool end;
static volatile u32 woken;
static volatile pid_t thread_id;
static struct latest of_thread;

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static void add(struct latest *l, u64 ns)
{
	u32 i;

	for (i = LATEST; i && ns > l->ns[i - 1]; i--) {
		if (i < LATEST)
			l->ns[i] = l->ns[i - 1];
		l->ns[i - 1] = ns;
	}
}

static void *watch(void *unused)
{
	struct sched_param param = { .sched_priority = 2 };
	u64 next, late, seed = 1;

	(void)unused;
	ASSERT(!sched_setscheduler(0, SCHED_FIFO, &param), "scheduler: %s", strerror(errno));
	thread_id = (pid_t)syscall(SYS_gettid);
	for (next = now_ns(); !end; woken++) {
		struct timespec ts;

		next += PERIOD_MIN_NS + random_below(&seed, PERIOD_MAX_NS - PERIOD_MIN_NS);
		ts.tv_sec = (time_t)(next / 1000000000);
		ts.tv_nsec = (long)(next % 1000000000);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		late = now_ns() - next;
		next += late;
		add(&of_thread, late);
	}
	return NULL;
}

static void set_events(const char *value)
{
	file_must_write(INSTANCE "/events/timer/hrtimer_start/enable", value);
	file_must_write(INSTANCE "/events/timer/hrtimer_expire_entry/enable", value);
}

static void events_begin(void)
{
	ASSERT(!mkdir(INSTANCE, 0700) || errno == EEXIST, "%s: %s", INSTANCE, strerror(errno));
	file_must_write(INSTANCE "/tracing_on", "0");
	ASSERT(!file_write(INSTANCE "/trace", "", O_TRUNC), "trace: %s", strerror(errno));
	set_events("1");
	file_must_write(INSTANCE "/tracing_on", "1");
}

/* The number behind @name in @line. */
static bool field(const char *line, const char *name, char *text, size_t size)
{
	const char *at = strstr(line, name);
	size_t len;

	if (!at)
		return false;
	at += strlen(name);
	len = strcspn(at, "\n ");
	if (len >= size)
		return false;
	memcpy(text, at, len);
	text[len] = '\0';
	return true;
}

/* How late each timer of the thread came, from its start to its interrupt. */
static u32 read_events(struct latest *l)
{
	char line[512], timer[32] = "", started[32], text[32], comm[32];
	u64 due = 0, now;
	u32 n = 0;
	FILE *f;

	file_must_write(INSTANCE "/tracing_on", "0");
	set_events("0");
	snprintf(comm, sizeof(comm), "-%d ", (int)thread_id);
	f = fopen(INSTANCE "/trace", "re");
	ASSERT(f, "trace: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (!field(line, " hrtimer=", timer, sizeof(timer)))
			continue;
		if (strstr(line, " hrtimer_start: ")) {
			if (!strstr(line, comm) || !field(line, " expires=", text, sizeof(text)))
				continue;
			due = strtoull(text, NULL, 10);
			memcpy(started, timer, sizeof(started));
		} else if (due && !strcmp(timer, started) &&
			   field(line, " now=", text, sizeof(text))) {
			now = strtoull(text, NULL, 10);
			ASSERT(now >= due, "a timer of %llu came at %llu", (unsigned long long)due,
			       (unsigned long long)now);
			add(l, now - due);
			due = 0;
			n++;
		}
	}
	fclose(f);
	rmdir(INSTANCE);
	return n;
}

struct late late_during(u32 samples, void (*what)(void *arg), void *arg)
{
	u64 ns, tsc;
	struct latest of_irq = { 0 };
	struct late late;
	pthread_t thread;

	end = false;
	woken = 0;
	memset(&of_thread, 0, sizeof(of_thread));
	events_begin();
	ns = now_ns();
	tsc = rdtsc();
	ASSERT(!pthread_create(&thread, NULL, watch, NULL), "pthread_create");
	do {
		what(arg);
	} while (woken < samples);
	end = true;
	pthread_join(thread, NULL);
	tsc = rdtsc() - tsc;
	ns = now_ns() - ns;
	late.samples = read_events(&of_irq);
	ASSERT(late.samples > LATEST, "the events told of %u timers", late.samples);
	late.irqs = (u32)(of_irq.ns[LATEST - 1] * tsc / ns);
	late.thread = (u32)(of_thread.ns[LATEST - 1] * tsc / ns);
	/* No timer wakes a thread up in less. */
	ASSERT(late.thread >= 1000, "the thread was %u late: not measured", late.thread);
	return late;
}
