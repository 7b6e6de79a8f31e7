// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the host (L1) of `make run`. Inserts the modules of /etc/khv-modules, starts the QEMU
 * of /etc/khv-qemu, follows the guest's console until the guest is up, and reports in lines "WORD
 * text" over the second serial port; the script on the other end formats and judges. The only hang
 * that is tried again is the emulator's own, recognised by its signature: a guest CPU that spins
 * with interrupts off. Environment (from the kernel command line): KHV_LIMIT, seconds for the
 * guest to come up; KHV_ATTEMPTS; KHV_STOCK=1, leave the project's module out; KHV_MOVES, how often
 * the guest then goes to another QEMU, stock KVM's and the module's by turns. With
 * KHV_PHASES="stock module ..." the same guest is run once for each word, without the module and
 * with it, and every mark of khv-meter (meter/meter.c) is reported; a guest that is measured is not
 * looked at before its time is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "run-host.h"

#define TABLE	   "/sys/kernel/debug/kvm-hyperv/enlightenments"
#define NESTED_RUN "/sys/kernel/debug/kvm/nested_run"
#define BOCHS_PORT 0x8900

static FILE *report;

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

void say(const char *word, const char *fmt, ...)
{
	va_list ap;

	fprintf(report, "%s ", word);
	va_start(ap, fmt);
	vfprintf(report, fmt, ap);
	va_end(ap);
	fputc('\n', report);
	fflush(report);
}

static void power_off(void)
{
	static const char bochs[] = "Shutdown";

	say("END", "after %llu ms", (unsigned long long)now_ms());
	fflush(report);
	tcdrain(fileno(report));
	sync();
	/* Bochs knows no ACPI power-off; on QEMU nothing listens on this port. */
	if (!ioperm(BOCHS_PORT, 1, 1))
		for (const char *p = bochs; *p; p++)
			outb(*p, BOCHS_PORT);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say("FAIL", "%s", text);
	/* How far it came. */
	if (measured)
		say_marks("failed");
	power_off();
}

static void mount_at(const char *type, const char *path)
{
	mkdir(path, 0755);
	if (mount(type, path, type, 0, NULL) && errno != EBUSY)
		fail("mount %s: %s", path, strerror(errno));
}

/* TEXT: path of the module, then its parameters. */
void insert(char *text)
{
	char *args = text + strcspn(text, " ");
	int fd;

	if (*args)
		*args++ = 0;
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("%s: %s", text, strerror(errno));
	/* A dependency that is not for this machine may be there already or refuse. */
	if (syscall(SYS_finit_module, fd, args, 0) && errno != EEXIST)
		fail("insmod %s: %s", text, strerror(errno));
	close(fd);
	say("STEP", "inserted %s", strrchr(text, '/') + 1);
}

static void insert_modules(void)
{
	char buf[512];
	FILE *f = fopen("/etc/khv-modules", "r");

	if (!f)
		fail("/etc/khv-modules: %s", strerror(errno));
	while (fgets(buf, sizeof(buf), f)) {
		buf[strcspn(buf, "\n")] = 0;
		insert(buf);
	}
	fclose(f);
}

void say_file(const char *word, const char *path)
{
	char buf[512];
	FILE *f = fopen(path, "r");

	if (!f)
		fail("%s: %s", path, strerror(errno));
	while (fgets(buf, sizeof(buf), f)) {
		buf[strcspn(buf, "\n")] = 0;
		say(word, "%s", buf);
	}
	fclose(f);
}

/* What the tool says of the host, and of the guest that runs. */
static void say_tool(const char *word, char *command, char *option, char *value)
{
	static const char tool[] = "/busybox/kvm-hyperv", screen[] = "/tmp/screen";
	char *const args[] = { "kvm-hyperv", command, option, value, NULL };
	char *const env[] = { "PATH=/busybox", NULL };
	int status, pid = fork();

	if (!pid) {
		if (freopen(screen, "w", stdout) && dup2(1, 2) == 2)
			execve(tool, args, env);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork: %s", strerror(errno));
	say_file(word, screen);
	if (status)
		fail("kvm-hyperv %s ends with status 0x%x", command, status);
}

int main(void)
{
	char *phases = getenv("KHV_PHASES");
	const char *limit = getenv("KHV_LIMIT"), *attempts = getenv("KHV_ATTEMPTS");
	int stock = getenv("KHV_STOCK") && *getenv("KHV_STOCK") == '1';
	int max = attempts ? atoi(attempts) : 1, n;
	int moves = getenv("KHV_MOVES") ? atoi(getenv("KHV_MOVES")) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	report = fopen("/dev/ttyS1", "w");
	if (!report)
		report = stdout;
	signal(SIGPIPE, SIG_IGN);
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("tmpfs", "/tmp");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tracefs", "/sys/kernel/tracing");

	/*
	 * What the kernel complains of before this mark is the emulated machine's, not KVM's or
	 * the module's.
	 */
	printf("L1| init\n");
	say("STEP", "the host's init runs");
	insert_modules();
	if (phases) {
		measure(phases, (limit ? atoi(limit) : 60) * 1000ull);
		say("DONE", "measured");
		power_off();
	}
	for (n = 1; n <= max; n++) {
		say("STEP", "starting the guest");
		start_guest();
		if (wait_up((limit ? atoi(limit) : 60) * 1000ull))
			break;
		say("RETRY", "attempt %d of %d hung with the signature of the emulator's fault", n,
		    max);
		end_guest();
	}
	if (n > max)
		fail("the guest hung each time, a CPU spinning with interrupts off: %d attempts",
		     max);
	say("UP", "attempt %d", n);
	/* The tables are read while the guest lives: their rows are of running VMs too. */
	if (!stock) {
		say_file("TABLE", TABLE);
		say_file("ROW", ROWS);
		say_tool("STATUS", "status", "--interval", "2");
		say_tool("TOP", "top", "--count", "1");
	}
	say_file("ENTRIES", NESTED_RUN);
	/* The first VM is the module's, if it is there. */
	for (int nr = 1; nr <= moves; nr++)
		move_guest(nr, !stock && !(nr & 1), !stock);
	guest_off();
	say("DONE", "attempt %d", n);
	power_off();
}
