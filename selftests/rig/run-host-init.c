// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the host (L1) of `make run`. Inserts the modules of /etc/khv-modules, starts the QEMU
 * of /etc/khv-qemu, follows the guest's console until the guest is up, and reports in lines "WORD
 * text" over the second serial port; the script on the other end formats and judges. The only hang
 * that is tried again is the emulator's own, recognised by its signature: a guest CPU that spins
 * with interrupts off. Environment (from the kernel command line): KHV_LIMIT, seconds for the
 * guest to come up; KHV_ATTEMPTS; KHV_STOCK=1, leave the project's module out. With
 * KHV_PHASES="stock module ..." the same guest is run once for each word, without the module and
 * with it, and every mark of khv-meter (meter/meter.c) is reported; a guest that is measured is not
 * looked at before its time is over.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TABLE	    "/sys/kernel/debug/kvm-hyperv/enlightenments"
#define ROWS	    "/sys/kernel/debug/kvm-hyperv/rows"
#define NESTED_RUN  "/sys/kernel/debug/kvm/nested_run"
#define MARKS	    "/sys/kernel/debug/khv-meter/marks"
#define OWN_MODULE  "/modules/kvm-hyperv.ko"
#define MONITOR	    "/tmp/monitor"
#define MAX_ARGS    128
#define MAX_CPUS    8
#define SAMPLES	    12
#define SAMPLE_MS   250
#define SILENT_MS   10000
#define KERNEL_TEXT 0xffffffff80000000ull
#define LOOP_BYTES  256
#define OFF_MS	    20000
#define BOCHS_PORT  0x8900

/* Numbers of marks; the guest's are in run-work.c. */
#define MARK_QEMU  1
#define MARK_ENTRY 2
#define MARK_LOOP  20
#define MARK_SLEEP 22
#define LOOPS	   10000000ul

static FILE *report;
static int measured;
static char line[4096];
static size_t line_len;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void say(const char *word, const char *fmt, ...)
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

static void say_marks(const char *phase);

static void fail(const char *fmt, ...)
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
static void insert(char *text)
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

static int guest_pid, guest_in, guest_out;

static void start_guest(void)
{
	static char text[16384];
	char *argv[MAX_ARGS + 1], *save, *p;
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
	argv[n] = NULL;

	unlink(MONITOR);
	if (pipe(in) || pipe(out))
		fail("pipe: %s", strerror(errno));
	guest_pid = fork();
	if (guest_pid < 0)
		fail("fork: %s", strerror(errno));
	if (!guest_pid) {
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
	guest_in = in[1];
	guest_out = out[0];
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

	snprintf(path, sizeof(path), "/proc/%d/task", guest_pid);
	dir = opendir(path);
	if (!dir)
		fail("%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) &&
		    sched_setscheduler(atoi(entry->d_name), SCHED_BATCH, &param))
			fail("SCHED_BATCH: %s", strerror(errno));
	closedir(dir);
}

static void end_guest(void)
{
	kill(guest_pid, SIGKILL);
	waitpid(guest_pid, NULL, 0);
	close(guest_in);
	close(guest_out);
}

/*
 * Next line of the guest's console, or NULL when there is none before the deadline or at the end
 * of file (*eof).
 */
static const char *guest_line(uint64_t deadline, int *eof)
{
	struct pollfd pfd = { .fd = guest_out, .events = POLLIN };
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
		n = read(guest_out, line + line_len, sizeof(line) - 1 - line_len);
		if (n <= 0) {
			*eof = 1;
			return NULL;
		}
		line_len += n;
	}
}

/* Ask QEMU's monitor; the answer ends with the next prompt. */
static int monitor(const char *command, char *buf, size_t size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = MONITOR };
	struct pollfd pfd = { .events = POLLIN };
	size_t len = 0;
	int prompts = 0;

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

		if (monitor("info registers -a\n", buf, sizeof(buf))) {
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

/*
 * 1: up, 0: the emulator's hang; does not return on any other failure. A guest that falls silent is
 * looked at early: with the signature it is lost already, otherwise it may just be slow, up to the
 * limit.
 */
static int wait_up(uint64_t limit_ms)
{
	uint64_t deadline = now_ms() + limit_ms, look;
	int status, eof, lines = 0;
	const char *p;

	for (;;) {
		look = lines && !measured ? now_ms() + SILENT_MS : deadline;
		p = guest_line(look < deadline ? look : deadline, &eof);
		if (!p && eof) {
			if (waitpid(guest_pid, &status, 0) != guest_pid)
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
		if (strstr(p, "KHV-DMESG "))
			say("DMESG", "%s", strstr(p, "KHV-DMESG ") + 10);
		if (strstr(p, "KHV-CLOCK "))
			say("CLOCK", "%s", strstr(p, "KHV-CLOCK ") + 10);
		if (strstr(p, "KHV-FLUSH "))
			say("FLUSH", "%s", strstr(p, "KHV-FLUSH ") + 10);
		if (strstr(p, "KHV-TIMER "))
			say("TIMER", "%s", strstr(p, "KHV-TIMER ") + 10);
		if (strstr(p, "KHV-WORK ")) {
			say("STEP", "the guest works: %s", strstr(p, "KHV-WORK ") + 9);
			say("WORK", "%s", strstr(p, "KHV-WORK ") + 9);
		}
		if (strstr(p, "KHV-NESTED step "))
			say("STEP", "in the guest: %s", strstr(p, "step ") + 5);
		else if (strstr(p, "KHV-NESTED "))
			say("NESTED", "%s", strstr(p, "KHV-NESTED ") + 11);
		if (strstr(p, "KHV-IRQ "))
			say("IRQ", "%s", strstr(p, "KHV-IRQ ") + 8);
	}
}

static void say_file(const char *word, const char *path)
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

static void guest_off(void)
{
	uint64_t deadline = now_ms() + OFF_MS;
	int status, eof = 0;

	if (write(guest_in, "off\n", 4) != 4)
		fail("the guest's console takes no input: %s", strerror(errno));
	while (guest_line(deadline, &eof))
		;
	if (!eof) {
		say("NOTE", "the guest did not power off within %d s", OFF_MS / 1000);
		has_signature();
		fail("the guest does not power off");
	}
	if (waitpid(guest_pid, &status, 0) != guest_pid || status)
		fail("the guest's QEMU ended with status %#x", status);
	say("STEP", "the guest has powered off");
}

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

static void say_marks(const char *phase)
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

/* One guest after the other in the same boot, for each word of PHASES. */
static void measure(char *phases, uint64_t limit_ms)
{
	/* What the kernel puts off at boot is done by then; one loop was seen to take it in. */
	struct timespec settle = { .tv_sec = 10 };
	char own[] = OWN_MODULE, *save, *phase;
	int loaded = 0;

	nanosleep(&settle, NULL);
	check_meter();
	say_marks("host");
	for (phase = strtok_r(phases, " ,", &save); phase; phase = strtok_r(NULL, " ,", &save)) {
		int wanted = !strcmp(phase, "module");

		if (wanted && !loaded)
			insert(own);
		if (!wanted && loaded && syscall(SYS_delete_module, "kvm_hyperv", O_NONBLOCK))
			fail("rmmod kvm-hyperv: %s", strerror(errno));
		loaded = wanted;
		say("STEP", "starting the guest: %s", phase);
		tell_meter("mark", MARK_QEMU);
		tell_meter("arm", MARK_ENTRY);
		start_guest();
		if (!wait_up(limit_ms))
			fail("the guest hung, a CPU spinning with interrupts off");
		say_marks(phase);
		if (loaded)
			say_file("ROW", ROWS);
		guest_off();
	}
}

int main(void)
{
	char *phases = getenv("KHV_PHASES");
	const char *limit = getenv("KHV_LIMIT"), *attempts = getenv("KHV_ATTEMPTS");
	int stock = getenv("KHV_STOCK") && *getenv("KHV_STOCK") == '1';
	int max = attempts ? atoi(attempts) : 1, n;

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

	/*
	 * What the kernel complains of before this mark is the emulated machine's, not KVM's or
	 * the module's.
	 */
	printf("L1| init\n");
	say("STEP", "the host's init runs");
	insert_modules();
	if (phases) {
		measured = 1;
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
	}
	say_file("ENTRIES", NESTED_RUN);
	guest_off();
	say("DONE", "attempt %d", n);
	power_off();
}
