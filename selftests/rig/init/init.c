// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the emulated hosts: mount, carry out the steps of /etc/steps one by one, report each
 * on the results channel (ttyS1) and power the machine off. It judges nothing: report.awk decides
 * outside whether an outcome is right.
 *
 * Steps, one a line, words separated by blanks:
 *	load FILE [PARAMETERS]			insert /modules/FILE; the boot ends if it fails
 *	phase NAME				a mark for the report
 *	run ID SECONDS PROGRAM [ARGUMENTS]	a test, in a process group of its own
 *	retry COUNT TEXT			the next test may fail COUNT times if it prints TEXT
 *	insmod ID ERRNO MODULE [PARAMETERS]	insert; ERRNO 0 or a name such as EINVAL
 *	rmmod ID ERRNO MODULE			remove
 *	stay ID MODULE				remove, which never ends; the module stays
 *	log ID TEXT				the last step must have put TEXT into the kernel log
 *	cycle ID COUNT MODULE			insert and remove COUNT times
 *	kunit ID MODULE				insert a KUnit module, report its results, remove it
 *	text-save ID MODULE...			remember the code bytes of these modules
 *	text-compare ID				they must be the same again
 *	kmemleak-clear / kmemleak-scan ID	when the kernel has kmemleak
 *	write PATH VALUE			for example a sysctl
 *	leave ID HOW SECONDS PROGRAM [ARGUMENTS]	once it prints "ready", end the boot by
 *						reboot, poweroff or kexec; the last step
 *
 * Reports, one a line: "@ WORD ..." from here, "| ..." output of a test, "k ..." kernel log.
 *	@ begin RELEASE		@ phase NAME	@ start ID	@ done ID OUTCOME MILLISECONDS
 *	@ retry ID OUTCOME	it failed in the manner foreseen, and runs again
 *	@ kernel TEXT		a complaint of the kernel (oops, warning, lockdep ...)
 *	@ leave ID HOW		the last step; the console and the emulator's end tell the rest
 *	@ end			the last line: without it the log is cut
 * OUTCOME: exit:N, signal:N, timeout, ok, or error:TEXT (blanks as underscores).
 * When an insmod fails that should succeed, the rest of its phase is reported and not run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "init.h"

#define MAX_WORDS 64

/* The phase lost its module: nothing in it would mean anything. */
static bool phase_lost;

void phase_lose(void)
{
	phase_lost = true;
}

static void step_phase(struct step *step)
{
	phase_lost = false;
	report("@ phase %s", step->words[1]);
}

/* A step without an outcome of its own. */
#define SILENT	   1
/* It looks back at the kernel log of the step before. */
#define LOOKS_BACK 2

/* clang-format off */
static const struct kind {
	const char *name;
	int words; /* at least, with the name */
	unsigned int flags;
	void (*run)(struct step *step);
} kinds[] = {
	{ "phase",          2, SILENT,     step_phase },
	{ "load",           2, SILENT,     step_load },
	{ "write",          3, SILENT,     step_write },
	{ "retry",          3, SILENT,     step_retry },
	{ "kmemleak-clear", 1, SILENT,     step_kmemleak_clear },
	{ "run",            4, 0,          step_run },
	{ "insmod",         4, 0,          step_insmod },
	{ "rmmod",          4, 0,          step_rmmod },
	{ "stay",           3, 0,          step_stay },
	{ "log",            3, LOOKS_BACK, step_log },
	{ "cycle",          4, 0,          step_cycle },
	{ "kunit",          3, 0,          step_kunit },
	{ "text-save",      3, 0,          step_text_save },
	{ "text-compare",   2, 0,          step_text_compare },
	{ "kmemleak-scan",  2, 0,          step_kmemleak_scan },
	{ "leave",          5, 0,          step_leave },
};
/* clang-format on */

static const struct kind *find_kind(const char *name, int words)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(name, kinds[i].name) && words >= kinds[i].words)
			return &kinds[i];
	}
	return NULL;
}

static void carry_out(const char *line)
{
	char copy[LINE_SIZE], *words[MAX_WORDS + 1], *save, *word;
	struct step step = { .words = words };
	const struct kind *kind;
	int n = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (word = strtok_r(copy, " \t", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \t", &save))
		words[n++] = word;
	words[n] = NULL;
	if (!n || words[0][0] == '#')
		return;
	if (n > 2)
		step.text = line + (words[2] - copy);

	kind = find_kind(words[0], n);
	if (!kind) {
		report("@ note unknown step: %s", line);
		report("@ start steps");
		done_error("steps", now_ms(), "unknown step: %s", line);
		power_off();
	}
	dprintf(1, "rig: %s\n", line);
	if (!(kind->flags & LOOKS_BACK))
		kmsg_new_step();
	if (!(kind->flags & SILENT)) {
		report("@ start %s", words[1]);
		if (phase_lost) {
			report("@ done %s error:not_run,_the_module_is_not_there 0", words[1]);
			return;
		}
	}
	kind->run(&step);
}

int main(void)
{
	static const struct {
		const char *type, *where;
	} mounts[] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "tmpfs", "/tmp" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
	};
	struct utsname uts;
	char line[LINE_SIZE];
	FILE *steps;
	size_t i;
	int fd, unreported;

	for (i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    errno != EBUSY)
			dprintf(1, "rig: mount %s: %s\n", mounts[i].where, strerror(errno));
	}
	/* The console exists before /dev does only when the initramfs brings it. */
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
	}
	unreported = report_open();
	uname(&uts);
	report("@ begin %s", uts.release);

	steps = fopen("/etc/steps", "re");
	if (!steps || unreported) {
		report("@ start boot");
		done_error("boot", now_ms(), "no /etc/steps or no /dev/kmsg: %s", strerror(errno));
		power_off();
	}

	report("@ start boot");
	kmsg_drain();
	done("boot", "ok", now_ms());
	while (fgets(line, sizeof(line), steps)) {
		line[strcspn(line, "\n")] = '\0';
		carry_out(line);
	}
	kmsg_drain();
	power_off();
}
