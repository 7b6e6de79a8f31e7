// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the Linux guest (L2) of `make run`. Waits for a settled clocksource, makes every CPU do
 * work that a hypervisor can help with (wake-ups across CPUs, shoot-downs of mappings, short
 * timers), runs NESTED where there is one, prints what the guest itself says about Hyper-V, and
 * powers off when a line arrives on the console. With KHV_WORK=SECONDS in its environment (from the
 * kernel command line) it does the work of run-work.c instead, idle for so long, with
 * KHV_LOCKS=SECONDS it tortures a spinlock; with KHV_MOVES it
 * then works on (run-busy.c) and answers each line "check". It judges nothing: the host side reads
 * its lines.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "run-work.h"

#define WORK_NS	  1000000000ull
#define SETTLE_NS 10000000000ull
#define NESTED	  "/nested"
#define VMBUS	  "/hv_vmbus.ko"

/* The timers that each CPU is asked for: so many, so far apart. */
#define TIMERS	 100
#define TIMER_NS 5000000ull

static const char clocksource[] =
	"/sys/devices/system/clocksource/clocksource0/current_clocksource";

static int ncpu;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void die(const char *what)
{
	printf("KHV-GUEST failed %s: %s\n", what, strerror(errno));
	fflush(stdout);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("pin");
}

/*
 * VMBus talks to the host's QEMU: messages both ways, through the SynIC of each CPU. Where it is
 * built in it has done so by now.
 */
void connect_vmbus(void)
{
	int fd;

	if (access(VMBUS, F_OK))
		return;
	fd = open(VMBUS, O_RDONLY);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		die("hv_vmbus");
	close(fd);
}

/* The hypervisor in this guest, if the initramfs has one; it says by itself what it did. */
static void run_nested(void)
{
	int status = 0;
	pid_t pid;

	if (access(NESTED, X_OK))
		return;
	printf("KHV-NESTED step starts\n");
	pid = fork();
	if (!pid) {
		execl(NESTED, NESTED, NULL);
		_exit(127);
	}
	errno = ECHILD;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die(NESTED);
}

static void work(void)
{
	struct timespec ms = { .tv_nsec = 10000000 };
	uint64_t end = now_ns() + WORK_NS;

	busy_begin(ncpu, 100000);
	while (now_ns() < end)
		nanosleep(&ms, NULL);
	printf("KHV-FLUSH %llu mappings replaced under the other CPUs, none seen late\n",
	       (unsigned long long)busy_end());
}

static void read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "r");

	if (!f || !fgets(buf, len, f))
		die(path);
	fclose(f);
	buf[strcspn(buf, "\n")] = 0;
}

char *kernel_log(void)
{
	size_t len = klogctl(10, NULL, 0) + 4096;
	char *log = calloc(1, len);

	if (!log || klogctl(3, log, len - 1) < 0)
		die("klogctl");
	return log;
}

static void say_dmesg(void)
{
	char *log = kernel_log(), *save, *line;

	for (line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (*line == '<' && strchr(line, '>'))
			line = strchr(line, '>') + 1;
		if (strcasestr(line, "hyper-v") || strcasestr(line, "hyperv") ||
		    strcasestr(line, "hypercall") || strcasestr(line, "enlightened") ||
		    strcasestr(line, "vmbus"))
			printf("KHV-DMESG %s\n", line);
	}
	free(log);
}

static void say_interrupts(void)
{
	static const char *const rows[] = { "CPU", "HYP", "HRE", "HVS", "LOC",
					    "RES", "CAL", "TLB", NULL };
	char line[512];
	FILE *f = fopen("/proc/interrupts", "r");

	if (!f)
		die("/proc/interrupts");
	while (fgets(line, sizeof(line), f)) {
		char *p = line + strspn(line, " ");

		for (const char *const *row = rows; *row; row++)
			if (!strncmp(p, *row, 3))
				printf("KHV-IRQ %s", line);
	}
	fclose(f);
}

unsigned long interrupts(const char *row, int cpu)
{
	char line[512], *p;
	unsigned long n = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	if (!f)
		die("/proc/interrupts");
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, row);
		if (!p)
			continue;
		for (p += strlen(row); cpu >= 0; cpu--)
			n = strtoul(p, &p, 10);
		break;
	}
	fclose(f);
	return n;
}

/*
 * Ask a CPU for timers at a fixed rate. Each must come, and none before its time; by which clock
 * event device, its name and its interrupts tell.
 */
static void say_timers(int cpu)
{
	unsigned long before, early = 0;
	struct timespec ts;
	char path[80], name[64];
	uint64_t start, due;

	pin(cpu);
	snprintf(path, sizeof(path), "/sys/devices/system/clockevents/clockevent%d/current_device",
		 cpu);
	read_line(path, name, sizeof(name));

	before = interrupts("HVS:", cpu);
	start = now_ns();
	due = start;
	for (int i = 0; i < TIMERS; i++) {
		due += TIMER_NS;
		ts.tv_sec = due / 1000000000;
		ts.tv_nsec = due % 1000000000;
		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
			die("clock_nanosleep");
		early += now_ns() < due;
	}
	printf("KHV-TIMER cpu%d %s: %d timers of %llu us asked, took %llu us, ", cpu, name, TIMERS,
	       TIMER_NS / 1000, (unsigned long long)(now_ns() - start) / 1000);
	printf("%lu early, %lu interrupts\n", early, interrupts("HVS:", cpu) - before);
}

int main(void)
{
	const char *measured = getenv("KHV_WORK"), *moves = getenv("KHV_MOVES");
	const char *locks = getenv("KHV_LOCKS");
	struct termios tio;
	uint64_t end;
	char buf[128];

	if (measured)
		work_booted();
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		die("mount");
	/* Without it KVM's device has no node. What the archive has in /dev serves otherwise. */
	if (!access(NESTED, X_OK) && mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		die("mount");
	if (!tcgetattr(0, &tio)) {
		tio.c_lflag &= ~ECHO;
		tcsetattr(0, TCSANOW, &tio);
	}
	ncpu = sysconf(_SC_NPROCESSORS_ONLN);
	if (ncpu > MAX_CPUS)
		ncpu = MAX_CPUS;
	printf("KHV-GUEST begin %d CPUs\n", ncpu);

	/*
	 * The early TSC clock is replaced once the kernel has decided; a guest without one stays
	 * with what it has.
	 */
	end = now_ns() + SETTLE_NS;
	do {
		read_line(clocksource, buf, sizeof(buf));
	} while (strstr(buf, "early") && now_ns() < end);

	if (measured) {
		work_measured(atoi(measured));
	} else if (locks) {
		work_locks(ncpu, atoi(locks));
	} else {
		connect_vmbus();
		work();
		run_nested();
	}

	say_dmesg();
	read_line(clocksource, buf, sizeof(buf));
	printf("KHV-CLOCK %s\n", buf);
	for (int i = 0; i < ncpu && !measured && !locks; i++)
		say_timers(i);
	say_interrupts();
	if (moves)
		move_begin(ncpu);
	printf("KHV-GUEST up\n");

	while (fgets(buf, sizeof(buf), stdin) && !strncmp(buf, "check", 5))
		move_check();
	if (ferror(stdin) || feof(stdin))
		die("stdin");
	printf("KHV-GUEST off\n");
	reboot(RB_POWER_OFF);
	die("power off");
}
