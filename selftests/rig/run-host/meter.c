// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that are measured: one after the other in one boot of a counting host, stock and with the
 * module, with the marks of khv-meter (meter/meter.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "run-host.h"

#define MARKS	   "/sys/kernel/debug/khv-meter/marks"
#define OWN_MODULE "/etc/khv-own" /* its path and parameters */

/* Numbers of marks; the guest's are in run-work.c. */
#define MARK_QEMU  1
#define MARK_ENTRY 2
#define MARK_LOOP  20
#define MARK_SLEEP 22
#define LOOPS	   10000000ul

int measured;

static void tell_meter(const char *word, unsigned long number)
{
	char text[32];
	int fd = open(MARKS, O_WRONLY | O_CLOEXEC), len;

	len = snprintf(text, sizeof(text), "%s %lu", word, number);
	if (fd < 0 || write(fd, text, len) != len)
		fail("%s: %s", MARKS, strerror(errno));
	close(fd);
}

/* Two instructions a turn, and a second in which nothing is executed: what the meter must say. */
static void check_meter(void)
{
	struct timespec second = { .tv_sec = 1 };
	uint64_t n = LOOPS;

	tell_meter("mark", MARK_LOOP);
	asm volatile("1: dec %0\n\tjnz 1b" : "+r"(n));
	tell_meter("mark", MARK_LOOP + 1);
	tell_meter("mark", MARK_SLEEP);
	nanosleep(&second, NULL);
	tell_meter("mark", MARK_SLEEP + 1);
}

void say_marks(const char *phase)
{
	static int told;
	char buf[512];
	FILE *f = fopen(MARKS, "r");
	int n = 0;

	if (!f) {
		measured = 0;
		fail("%s: %s", MARKS, strerror(errno));
	}
	while (fgets(buf, sizeof(buf), f)) {
		buf[strcspn(buf, "\n")] = 0;
		if (n++ >= told)
			say("MARK", "%s %s", phase, buf);
	}
	told = n;
	fclose(f);
}

/*
 * One guest after the other in the same boot, for each word of PHASES: "stock", "module", or
 * "nopvspin", with the module and a guest that spins where it could sleep.
 */
void measure(char *phases, uint64_t limit_ms)
{
	/* What the kernel puts off at boot is done by then; one loop was seen to take it in. */
	struct timespec settle = { .tv_sec = 10 };
	char own[256] = "", *save, *phase;
	int loaded = 0;

	FILE *f = fopen(OWN_MODULE, "r");

	if (!f || !fgets(own, sizeof(own), f))
		fail("%s: %s", OWN_MODULE, strerror(errno));
	fclose(f);
	own[strcspn(own, "\n")] = 0;
	measured = 1;
	nanosleep(&settle, NULL);
	check_meter();
	say_marks("host");
	for (phase = strtok_r(phases, " ,", &save); phase; phase = strtok_r(NULL, " ,", &save)) {
		int wanted = strcmp(phase, "stock");

		if (wanted && !loaded)
			insert(own);
		if (!wanted && loaded && syscall(SYS_delete_module, "kvm_hyperv", O_NONBLOCK))
			fail("rmmod kvm-hyperv: %s", strerror(errno));
		loaded = wanted;
		say("STEP", "starting the guest: %s", phase);
		tell_meter("mark", MARK_QEMU);
		tell_meter("arm", MARK_ENTRY);
		guest_append = strcmp(phase, "nopvspin") ? "" : " hv_nopvspin";
		start_guest();
		if (!wait_up(limit_ms))
			fail("the guest hung, a CPU spinning with interrupts off");
		say_marks(phase);
		if (loaded)
			say_file("ROW", ROWS);
		guest_off();
	}
}
