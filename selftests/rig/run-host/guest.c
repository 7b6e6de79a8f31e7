// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest of make run: start its QEMU, follow its console, recognise the hang that is the
 * emulator's own, move it to another QEMU, and end it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run-host.h"

#define MONITOR	    "/tmp/monitor"
#define MONITOR_2   "/tmp/monitor-2"
#define MAX_ARGS    128
#define MAX_CPUS    8
#define SAMPLES	    12
#define SAMPLE_MS   250
#define SILENT_MS   10000
#define KERNEL_TEXT 0xffffffff80000000ull
#define LOOP_BYTES  256
#define OFF_MS	    20000
#define MOVE_MS	    120000
#define MOVE_SOCKET "/tmp/move"
#define TAKEOVER    "/sys/module/kvm_hyperv/parameters/takeover"
#define VMS	    "/sys/kernel/debug/kvm-hyperv/vms"

struct qemu guest;
const char *guest_append = "";
static char line[4096];
static size_t line_len;

/* Put the frequency of the host's TSC where @arg asks for it. */
static char *with_tsc_frequency(char *arg)
{
	static char with[1024];
	static const char mark[] = "@host@";
	char *at = strstr(arg, mark);
	int kvm, vm, khz;

	if (!at)
		return arg;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	khz = ioctl(vm, KVM_GET_TSC_KHZ, 0);
	if (khz <= 0)
		fail("KVM_GET_TSC_KHZ: %d", khz);
	close(vm);
	close(kvm);
	snprintf(with, sizeof(with), "%.*s%d000%s", (int)(at - arg), arg, khz, at + strlen(mark));
	return with;
}

/* @incoming: where QEMU gets its guest from, else NULL. */
static void start_qemu(struct qemu *qemu, const char *incoming)
{
	static char text[16384];
	char *argv[MAX_ARGS + 3], monitor[64], append[1024], *save, *p;
	int in[2], out[2], fd, n = 0;
	ssize_t len;

	fd = open("/etc/khv-qemu", O_RDONLY);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (len <= 0)
		fail("/etc/khv-qemu: %s", strerror(errno));
	close(fd);
	text[len] = 0;
	for (p = strtok_r(text, "\n", &save); p && n < MAX_ARGS; p = strtok_r(NULL, "\n", &save))
		argv[n++] = p;
	if (incoming) {
		argv[n++] = "-incoming";
		argv[n++] = (char *)incoming;
	}
	argv[n] = NULL;

	/* The QEMU that a guest leaves has its monitor still. */
	snprintf(qemu->monitor, sizeof(qemu->monitor), "%s",
		 incoming && !strcmp(guest.monitor, MONITOR) ? MONITOR_2 : MONITOR);
	snprintf(monitor, sizeof(monitor), "unix:%s,server=on,wait=off", qemu->monitor);
	for (p = argv[n = 0]; p; p = argv[++n]) {
		if (!strcmp(p, "-monitor")) {
			argv[n + 1] = monitor;
		} else if (!strcmp(p, "-cpu")) {
			argv[n + 1] = with_tsc_frequency(argv[n + 1]);
		} else if (!strcmp(p, "-append")) {
			snprintf(append, sizeof(append), "%s%s", argv[n + 1], guest_append);
			argv[n + 1] = append;
		}
	}
	unlink(qemu->monitor);
	if (pipe(in) || pipe(out))
		fail("pipe: %s", strerror(errno));
	qemu->pid = fork();
	if (qemu->pid < 0)
		fail("fork: %s", strerror(errno));
	if (!qemu->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		for (int i = 3; i < 32; i++)
			close(i);
		execv(argv[0], argv);
		printf("exec %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	qemu->in = in[1];
	qemu->out = out[0];
}

void start_guest(void)
{
	start_qemu(&guest, NULL);
	line_len = 0;
}

/*
 * Where the guest's CPUs share the host's only one, one that wakes another must not lose it to that
 * at once: it would often hold the very lock that the other needs next, which then spins until the
 * host's tick. Firmware is over by then: it spins with interrupts off until each CPU has come.
 */
static void let_guest_wake_without_preemption(void)
{
	struct sched_param param = { 0 };
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", guest.pid);
	dir = opendir(path);
	if (!dir)
		fail("%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) &&
		    sched_setscheduler(atoi(entry->d_name), SCHED_BATCH, &param))
			fail("SCHED_BATCH: %s", strerror(errno));
	closedir(dir);
}

void end_guest(void)
{
	kill(guest.pid, SIGKILL);
	waitpid(guest.pid, NULL, 0);
	close(guest.in);
	close(guest.out);
}

/*
 * Next line of the guest's console, or NULL when there is none before the deadline or at the end
 * of file (*eof).
 */
static const char *guest_line(uint64_t deadline, int *eof)
{
	struct pollfd pfd = { .fd = guest.out, .events = POLLIN };
	static char out[sizeof(line)];

	*eof = 0;
	for (;;) {
		char *nl = memchr(line, '\n', line_len);
		uint64_t now = now_ms();
		ssize_t n;

		if (nl || line_len == sizeof(line) - 1) {
			size_t len = nl ? (size_t)(nl - line) : line_len;

			memcpy(out, line, len);
			out[len] = 0;
			out[strcspn(out, "\r")] = 0;
			len += !!nl;
			line_len -= len;
			memmove(line, line + len, line_len);
			printf("L2| %s\n", out);
			return out;
		}
		if (now >= deadline || poll(&pfd, 1, deadline - now) <= 0)
			return NULL;
		n = read(guest.out, line + line_len, sizeof(line) - 1 - line_len);
		if (n <= 0) {
			*eof = 1;
			return NULL;
		}
		line_len += n;
	}
}

/* Ask QEMU's monitor; the answer ends with the next prompt. */
static int monitor(const struct qemu *qemu, const char *command, char *buf, size_t size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct pollfd pfd = { .events = POLLIN };
	size_t len = 0;
	int prompts = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", qemu->monitor);
	pfd.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(pfd.fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(pfd.fd);
		return -1;
	}
	while (prompts < 2 && poll(&pfd, 1, 5000) > 0) {
		ssize_t n = read(pfd.fd, buf + len, size - 1 - len);

		if (n <= 0)
			break;
		len += n;
		buf[len] = 0;
		/* The first prompt asks for the command, the second follows its answer. */
		if (len >= 7 && !strcmp(buf + len - 7, "(qemu) ")) {
			if (!prompts++) {
				len = 0;
				if (write(pfd.fd, command, strlen(command)) < 0)
					break;
			}
		}
	}
	close(pfd.fd);
	return prompts == 2 ? 0 : -1;
}

/*
 * The signature of the fault: the guest does not come up, and one of its CPUs has interrupts off,
 * without being halted, every time one looks, always inside the same small loop of the kernel. A
 * CPU that waits does it in HLT, or with interrupts on now and then; one that works with
 * interrupts off, as early boot does, moves about.
 */
static int has_signature(void)
{
	static char buf[65536];
	uint64_t low[MAX_CPUS], high[MAX_CPUS] = { 0 };
	int off[MAX_CPUS] = { 0 }, cpus = 0, hit = 0;

	memset(low, 0xff, sizeof(low));
	for (int s = 0; s < SAMPLES; s++) {
		struct timespec ts = { .tv_nsec = SAMPLE_MS * 1000000l };
		char *p = buf;

		if (monitor(&guest, "info registers -a\n", buf, sizeof(buf))) {
			say("NOTE", "the guest's QEMU does not answer on its monitor");
			return 0;
		}
		for (cpus = 0; cpus < MAX_CPUS && (p = strstr(p, "RIP=")); cpus++) {
			uint64_t rip = strtoull(p + 4, NULL, 16);
			char *flags = strstr(p, "RFL="), *halted = strstr(p, "HLT=");

			if (!flags || !halted)
				break;
			if (s == 0 || s == SAMPLES - 1)
				say("NOTE", "vCPU %d: RIP %llx RFLAGS %lx HLT %c", cpus,
				    (unsigned long long)rip, strtoul(flags + 4, NULL, 16),
				    halted[4]);
			off[cpus] += !(strtoul(flags + 4, NULL, 16) & 0x200) && halted[4] == '0';
			if (rip < low[cpus])
				low[cpus] = rip;
			if (rip > high[cpus])
				high[cpus] = rip;
			p = halted;
		}
		/* A sampling interval, not a synchronisation: the samples must lie apart. */
		nanosleep(&ts, NULL);
	}
	for (int i = 0; i < cpus; i++) {
		say("NOTE", "vCPU %d: interrupts off in %d of %d samples, RIP %llx..%llx", i,
		    off[i], SAMPLES, (unsigned long long)low[i], (unsigned long long)high[i]);
		hit |= off[i] == SAMPLES && low[i] >= KERNEL_TEXT && high[i] - low[i] <= LOOP_BYTES;
	}
	return hit;
}

/* What the guest says of itself goes to the report as it stands. */
static void say_told(const char *text)
{
	static const char *const words[] = { "DMESG", "CLOCK", "FLUSH", "TIMER",
					     "IRQ",   "LOCKS", NULL };
	char mark[16];

	for (const char *const *word = words; *word; word++) {
		int len = snprintf(mark, sizeof(mark), "KHV-%s ", *word);
		const char *told = strstr(text, mark);

		if (told)
			say(*word, "%s", told + len);
	}
}

/*
 * 1: up, 0: the emulator's hang; does not return on any other failure. A guest that falls silent is
 * looked at early: with the signature it is lost already, otherwise it may just be slow, up to the
 * limit.
 */
int wait_up(uint64_t limit_ms)
{
	uint64_t deadline = now_ms() + limit_ms, look;
	int status, eof, lines = 0;
	const char *p;

	for (;;) {
		look = lines && !measured ? now_ms() + SILENT_MS : deadline;
		p = guest_line(look < deadline ? look : deadline, &eof);
		if (!p && eof) {
			if (waitpid(guest.pid, &status, 0) != guest.pid)
				fail("the guest's QEMU cannot be waited for");
			fail("the guest's QEMU ended early, status %#x", status);
		}
		if (!p) {
			if (has_signature())
				return 0;
			if (now_ms() < deadline)
				continue;
			fail("no guest after %llu s, and not by the emulator's known fault",
			     (unsigned long long)limit_ms / 1000);
		}
		lines++;
		if (strstr(p, "KHV-GUEST up"))
			return 1;
		if (strstr(p, "KHV-GUEST failed") || strstr(p, "KHV-NESTED failed") ||
		    strstr(p, "Kernel panic"))
			fail("the guest: %s", p);
		if (strstr(p, "KHV-GUEST begin")) {
			say("STEP", "the guest's init runs: %s", strstr(p, "begin") + 6);
			if (measured)
				let_guest_wake_without_preemption();
		}
		say_told(p);
		if (strstr(p, "KHV-WORK ")) {
			say("STEP", "the guest works: %s", strstr(p, "KHV-WORK ") + 9);
			say("WORK", "%s", strstr(p, "KHV-WORK ") + 9);
		}
		if (strstr(p, "KHV-NESTED step "))
			say("STEP", "in the guest: %s", strstr(p, "step ") + 5);
		else if (strstr(p, "KHV-NESTED "))
			say("NESTED", "%s", strstr(p, "KHV-NESTED ") + 11);
	}
}

void guest_off(void)
{
	uint64_t deadline = now_ms() + OFF_MS;
	int status, eof = 0;

	if (write(guest.in, "off\n", 4) != 4)
		fail("the guest's console takes no input: %s", strerror(errno));
	while (guest_line(deadline, &eof))
		;
	if (!eof) {
		say("NOTE", "the guest did not power off within %d s", OFF_MS / 1000);
		has_signature();
		fail("the guest does not power off");
	}
	if (waitpid(guest.pid, &status, 0) != guest.pid || status)
		fail("the guest's QEMU ended with status %#x", status);
	say("STEP", "the guest has powered off");
}

/* ---- to another QEMU and back ---- */

/* Whose the VMs are that are created from now on. */
static void set_takeover(int on)
{
	int fd = open(TAKEOVER, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, on ? "1" : "0", 1) != 1)
		fail("%s: %s", TAKEOVER, strerror(errno));
	close(fd);
}

/* Does the module list a VM of this process? */
static int is_owned(int pid)
{
	char buf[512];
	FILE *f = fopen(VMS, "r");
	int found = 0, number;

	if (!f)
		fail("%s: %s", VMS, strerror(errno));
	/* Columns: VM, PID; before them a line and the heads. */
	while (fgets(buf, sizeof(buf), f))
		found |= sscanf(buf, "%*u %d", &number) == 1 && number == pid;
	fclose(f);
	return found;
}

/* The number that follows WORD in an answer of the monitor. */
static long number_after(const char *answer, const char *word)
{
	const char *at = strstr(answer, word);

	return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

/* Have the guest say that all of its work has gone on since. */
static void check_guest(const char *where, const char *how)
{
	uint64_t deadline = now_ms() + MOVE_MS;
	const char *p;
	int eof = 0;

	if (write(guest.in, "check\n", 6) != 6)
		fail("the guest's console takes no input: %s", strerror(errno));
	while ((p = guest_line(deadline, &eof))) {
		if (strstr(p, "KHV-MOVED ")) {
			say("MOVED", "%s: %s; %s", where, how, strstr(p, "KHV-MOVED ") + 10);
			return;
		}
		if (strstr(p, "KHV-STUCK") || strstr(p, "KHV-GUEST failed") || strstr(p, "BUG:") ||
		    strstr(p, "WARNING:") || strstr(p, "Kernel panic") || strstr(p, "unstable"))
			fail("the guest, %s: %s", where, p);
	}
	fail("the guest, %s: %s", where, eof ? "its QEMU has ended" : "no answer on its console");
}

void move_guest(int nr, int to_module, int with_module)
{
	static char answer[65536];
	struct timespec pause = { .tv_nsec = 100000000 };
	const char *to = to_module ? "the module" : "stock KVM";
	uint64_t deadline = now_ms() + MOVE_MS;
	struct qemu from = guest;
	char where[64], how[128];
	int status;

	snprintf(where, sizeof(where), "move %d, to %s", nr, to);
	if (with_module)
		set_takeover(to_module);
	unlink(MOVE_SOCKET);
	start_qemu(&guest, "unix:" MOVE_SOCKET);
	while (monitor(&guest, "info status\n", answer, sizeof(answer))) {
		if (now_ms() > deadline)
			fail("%s: the other QEMU does not answer on its monitor", where);
		nanosleep(&pause, NULL);
	}
	if (with_module && is_owned(guest.pid) != to_module)
		fail("%s: the VM is not that of %s", where, to);

	if (monitor(&from, "migrate -d unix:" MOVE_SOCKET "\n", answer, sizeof(answer)))
		fail("%s: the guest's QEMU does not answer on its monitor", where);
	do {
		nanosleep(&pause, NULL);
		if (monitor(&from, "info migrate\n", answer, sizeof(answer)))
			fail("%s: the guest's QEMU does not answer on its monitor", where);
		if (strstr(answer, "failed") || now_ms() > deadline) {
			printf("%s\n", answer);
			fail("%s: the migration %s", where,
			     strstr(answer, "failed") ? "failed" : "does not end");
		}
	} while (!strstr(answer, "completed"));
	snprintf(how, sizeof(how), "%ld ms in all, %ld ms stopped, %ld kbytes",
		 number_after(answer, "total time: "), number_after(answer, "downtime: "),
		 number_after(answer, "transferred ram: "));

	/* It ends before it answers. */
	monitor(&from, "quit\n", answer, sizeof(answer));
	if (waitpid(from.pid, &status, 0) != from.pid || status)
		fail("%s: the QEMU that the guest left ended with status %#x", where, status);
	close(from.in);
	close(from.out);
	check_guest(where, how);
}
