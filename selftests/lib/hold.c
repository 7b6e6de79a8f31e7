// SPDX-License-Identifier: GPL-2.0-only
/* See hold.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hold.h"
#include "ktap.h"
#include "tracefs.h"

#define GROUP	 "khv_hold"
#define INSTANCE TRACING "/instances/khv_hold"
#define HELD	 16 /* at a time */

struct probe {
	enum hold_kind kind;
	const char *event, *function;
	bool takes;
};

static const struct probe probes[] = {
	{ HOLD_SLEEPING, "take_mutex", "mutex_lock", true },
	{ HOLD_SLEEPING, "take_mutex_killable", "mutex_lock_killable", true },
	{ HOLD_SLEEPING, "take_mutex_interruptible", "mutex_lock_interruptible", true },
	{ HOLD_SLEEPING, "take_write", "down_write", true },
	{ HOLD_SLEEPING, "take_read", "down_read", true },
	{ HOLD_SLEEPING, "drop_mutex", "mutex_unlock", false },
	{ HOLD_SLEEPING, "drop_write", "up_write", false },
	{ HOLD_SLEEPING, "drop_read", "up_read", false },
	{ HOLD_SPINNING, "take_irqsave", "_raw_spin_lock_irqsave", true },
	{ HOLD_SPINNING, "drop_irqrestore", "_raw_spin_unlock_irqrestore", false },
};

static enum hold_kind traced;

static void remove_probes(void)
{
	char text[128];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(text, sizeof(text), "-:" GROUP "/%s", probes[i].event);
		file_write(TRACING "/kprobe_events", text, O_APPEND);
	}
}

void hold_begin(enum hold_kind kind)
{
	char text[192], filter[64];
	u32 i;
	int r;

	traced = kind;
	ASSERT(!mkdir(INSTANCE, 0700) || errno == EEXIST, "%s: %s", INSTANCE, strerror(errno));
	file_must_write(INSTANCE "/trace_clock", "x86-tsc");
	file_must_write(INSTANCE "/tracing_on", "0");
	remove_probes();
	snprintf(filter, sizeof(filter), "common_pid == %d", (int)syscall(SYS_gettid));
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		const struct probe *p = &probes[i];

		if (p->kind != kind)
			continue;
		snprintf(text, sizeof(text), "p:" GROUP "/%s %s lock=%%di:x64%s", p->event,
			 p->function, p->takes ? " by=$stack0:symbol" : "");
		r = file_write(TRACING "/kprobe_events", text, O_APPEND);
		ASSERT(!r, "%s: %s", text, strerror(-r));
		snprintf(text, sizeof(text), INSTANCE "/events/" GROUP "/%s/filter", p->event);
		file_must_write(text, filter);
		snprintf(text, sizeof(text), INSTANCE "/events/" GROUP "/%s/enable", p->event);
		file_must_write(text, "1");
	}
}

void hold_clear(void)
{
	int r = file_write(INSTANCE "/trace", "", O_TRUNC);

	ASSERT(!r, "trace: %s", strerror(-r));
	file_must_write(INSTANCE "/tracing_on", "1");
}

void hold_end(void)
{
	char text[128];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].kind != traced)
			continue;
		snprintf(text, sizeof(text), INSTANCE "/events/" GROUP "/%s/enable",
			 probes[i].event);
		file_must_write(text, "0");
	}
	rmdir(INSTANCE);
	remove_probes();
}

struct held {
	u64 lock, since;
	char by[64];
	bool interrupted;
};

static struct held held[HELD];
static u32 nr_held;

/* "symbol+offset/size [kvm_hyperv]", or another's that the module does not answer for. */
static void take(u64 lock, u64 when, const char *by)
{
	struct held *h = &held[nr_held];

	if (!strstr(by, "[kvm_hyperv]"))
		return;
	ASSERT(nr_held < HELD, "%u locks held", nr_held);
	h->lock = lock;
	h->since = when;
	h->interrupted = false;
	snprintf(h->by, sizeof(h->by), "%.*s", (int)strcspn(by, "+"), by);
	nr_held++;
}

static void drop(u64 lock, u64 when, struct hold *hold)
{
	u32 i;

	for (i = nr_held; i-- > 0;) {
		if (held[i].lock != lock)
			continue;
		hold->times++;
		if (!held[i].interrupted && when - held[i].since > hold->longest) {
			hold->longest = (u32)(when - held[i].since);
			memcpy(hold->where, held[i].by, sizeof(hold->where));
		}
		memmove(&held[i], &held[i + 1], (--nr_held - i) * sizeof(held[0]));
		return;
	}
}

/*
 * An interrupt comes between the probe and the lock, which is taken with interrupts off: the time
 * that it takes is not part of a hold.
 */
static void note_interrupt(struct hold *hold)
{
	u32 i;

	for (i = 0; i < nr_held; i++) {
		hold->interrupted += !held[i].interrupted;
		held[i].interrupted = true;
	}
}

/*
 * "TASK-PID [CPU] FLAGS TIME: EVENT: (FUNCTION+0x0/0x...) lock=0x... by=...", the third of FLAGS is
 * not '.' in an interrupt.
 */
struct hold hold_read(void)
{
	struct hold hold = { 0 };
	u32 there, written;
	char line[512];
	FILE *f;

	/* Reading takes locks itself. */
	file_must_write(INSTANCE "/tracing_on", "0");
	nr_held = 0;
	f = fopen(INSTANCE "/trace", "re");
	ASSERT(f, "trace: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char *event = strstr(line, ": take_"), *lock = strstr(line, " lock=0x");
		bool takes = event;
		char *by = strstr(line, " by="), *cpu = strstr(line, "] ");
		u64 when;

		/* What was overwritten would make a hold longer, or none. */
		if (sscanf(line, "# entries-in-buffer/entries-written: %u/%u", &there, &written) ==
		    2)
			ASSERT_EQ(there, written);
		event = event ?: strstr(line, ": drop_");
		if (*line == '#' || !event || !lock || !cpu)
			continue;
		if (cpu[4] != '.')
			note_interrupt(&hold);
		*event = '\0';
		when = strtoull(strrchr(line, ' ') + 1, NULL, 10);
		if (takes && by)
			take(strtoull(lock + 6, NULL, 16), when, by + 4);
		else
			drop(strtoull(lock + 6, NULL, 16), when, &hold);
	}
	fclose(f);
	ASSERT(!nr_held, "still held by %s", held[0].by);
	return hold;
}
