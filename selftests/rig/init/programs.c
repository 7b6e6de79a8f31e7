// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps that run programs: a test, in a process group of its own and within its time, and the
 * guests that a boot ends under.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "init.h"

/* Forward output line by line, so that a line of init's never lands inside one of a test's. */
struct lines {
	char buf[LINE_SIZE];
	size_t len;
	bool has_retry_text;
};

/* What "retry" said about the next test. */
static long retries;
static char retry_text[256];

static void lines_flush(struct lines *lines)
{
	lines->buf[lines->len] = '\0';
	if (retries && strstr(lines->buf, retry_text))
		lines->has_retry_text = true;
	report("| %s", lines->buf);
	lines->len = 0;
}

static void lines_add(struct lines *lines, const char *data, size_t n)
{
	while (n--) {
		if (*data == '\n' || lines->len == sizeof(lines->buf) - 1)
			lines_flush(lines);
		if (*data != '\n' && *data != '\r')
			lines->buf[lines->len++] = *data;
		data++;
	}
}

static void lines_end(struct lines *lines)
{
	if (lines->len)
		lines_flush(lines);
}

static void reap_orphans(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/*
 * A test learns its limit of @seconds, so that its own watchdog can say before where it hangs. 0:
 * there is none.
 */
static void child(char *program, char **argv, int out, long seconds)
{
	char limit[48];
	char *const envp[] = { "PATH=/bin", "HOME=/tmp", "TERM=dumb", seconds ? limit : NULL,
			       NULL };
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	if (seconds)
		snprintf(limit, sizeof(limit), "KHV_TEST_LIMIT=%ld", seconds);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (chdir("/tmp"))
		_exit(126);
	argv[0] = program;
	execve(program, argv, envp);
	dprintf(2, "cannot execute %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* Returns true when the test is to run again. */
static bool run_once(const char *id, char **words)
{
	long seconds = strtol(words[2], NULL, 0);
	long start = now_ms(), deadline = start + seconds * 1000;
	struct lines lines = { .has_retry_text = false };
	bool timed_out = false, exited = false, eof = false;
	char program[256], outcome[32];
	int fds[2], status = 0;
	long killed = 0;
	pid_t pid;

	/* Upstream's programs open their own ELF file by their first argument. */
	snprintf(program, sizeof(program), "/bin/%s", words[3]);
	if (pipe2(fds, O_CLOEXEC)) {
		done_error(id, start, "pipe: %s", strerror(errno));
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(program, words + 3, fds[1], seconds);
	close(fds[1]);

	for (;;) {
		struct pollfd pfd = { .fd = eof ? -1 : fds[0], .events = POLLIN };
		char data[4096];
		ssize_t n;

		if (poll(&pfd, 1, 20) > 0) {
			n = read(fds[0], data, sizeof(data));
			if (n > 0) {
				lines_add(&lines, data, n);
				/* What it wrote may take the serial line longer than its life. */
				if (exited)
					killed = now_ms();
			} else {
				eof = true;
			}
		}
		if (!exited && waitpid(pid, &status, WNOHANG) == pid) {
			exited = true;
			/* What it left behind ends with it, and lets go of the pipe. */
			kill(-pid, SIGKILL);
			killed = now_ms();
		}
		if (exited && (eof || now_ms() > killed + 2000))
			break;
		if (!exited && !timed_out && now_ms() > deadline) {
			timed_out = true;
			kmsg_drain();
			kill(-pid, SIGKILL);
			killed = now_ms();
		}
		if (!exited && timed_out && now_ms() > killed + 20000) {
			lines_end(&lines);
			done_error(id, start, "cannot be killed, giving the boot up");
			power_off();
		}
	}
	lines_end(&lines);
	close(fds[0]);
	reap_orphans();

	if (timed_out)
		snprintf(outcome, sizeof(outcome), "timeout");
	else if (WIFSIGNALED(status))
		snprintf(outcome, sizeof(outcome), "signal:%d", WTERMSIG(status));
	else
		snprintf(outcome, sizeof(outcome), "exit:%d", WEXITSTATUS(status));
	if (lines.has_retry_text && retries && strcmp(outcome, "exit:0")) {
		retries--;
		report("@ retry %s %s", id, outcome);
		return true;
	}
	done(id, outcome, start);
	return false;
}

void step_run(struct step *step)
{
	while (run_once(step->words[1], step->words))
		;
	retries = 0;
}

void step_retry(struct step *step)
{
	retries = strtol(step->words[1], NULL, 0);
	snprintf(retry_text, sizeof(retry_text), "%s", step->text);
}

/* ---- the end of a boot under running guests ---- */

/*
 * What kexec enters instead of a kernel: it says so on ttyS1 and turns the machine off, by the port
 * of Bochs and by that of QEMU's q35. Any other kernel would only take time to boot.
 */
extern const char kexec_code[], kexec_code_end[];
/* clang-format off */
asm(".pushsection .rodata\n"
	"kexec_code:\n"
	"	lea 8f(%rip), %rsi\n"
	"1:	mov $0x2fd, %edx\n"
	"	in %dx, %al\n"
	"	test $0x40, %al\n"
	"	jz 1b\n"
	"	mov $0x2f8, %edx\n"
	"	lodsb\n"
	"	out %al, %dx\n"
	"	cmp $'\\n', %al\n"
	"	jne 1b\n"
	"2:	mov $0x2fd, %edx\n"
	"	in %dx, %al\n"
	"	test $0x40, %al\n"
	"	jz 2b\n"
	"	mov $0x8900, %edx\n"
	"3:	lodsb\n"
	"	out %al, %dx\n"
	"	test %al, %al\n"
	"	jnz 3b\n"
	"	mov $0x604, %edx\n"
	"	mov $0x2000, %eax\n"
	"	out %ax, %dx\n"
	"4:	hlt\n"
	"	jmp 4b\n"
	"8:	.ascii \"@ kexec\\n\"\n"
	"	.asciz \"Shutdown\"\n"
	"kexec_code_end:\n"
	".popsection\n");
/* clang-format on */

#define KEXEC_ADDRESS 0x8000000UL

static int load_kexec(void)
{
	struct kexec_segment segment = {
		.buf = kexec_code,
		.bufsz = kexec_code_end - kexec_code,
		.mem = (void *)KEXEC_ADDRESS,
		.memsz = 4096,
	};

	return syscall(SYS_kexec_load, KEXEC_ADDRESS, 1, &segment, KEXEC_ARCH_DEFAULT);
}

/* Start the program; return when it says that it is ready, or with the reason why not. */
static const char *start_until_ready(char **words, long seconds)
{
	long deadline = now_ms() + seconds * 1000;
	char program[256], data[4096];
	size_t len = 0;
	int fds[2];
	ssize_t n;

	snprintf(program, sizeof(program), "/bin/%s", words[0]);
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return "pipe";
	fflush(NULL);
	if (!fork())
		child(program, words, fds[1], 0);
	close(fds[1]);
	while (now_ms() < deadline && len < sizeof(data) - 1) {
		struct pollfd pfd = { .fd = fds[0], .events = POLLIN };

		if (poll(&pfd, 1, 20) <= 0)
			continue;
		n = read(fds[0], data + len, sizeof(data) - 1 - len);
		if (n <= 0)
			break;
		len += n;
		data[len] = '\0';
		if (strstr(data, "ready\n"))
			return NULL;
	}
	if (len)
		report("| %.*s", (int)strcspn(data, "\n"), data);
	return "the program did not get ready";
}

void step_leave(struct step *step)
{
	static const struct {
		const char *name;
		unsigned int command;
	} ways[] = {
		{ "reboot", LINUX_REBOOT_CMD_RESTART },
		{ "poweroff", LINUX_REBOOT_CMD_POWER_OFF },
		{ "kexec", LINUX_REBOOT_CMD_KEXEC },
	};
	char **words = step->words;
	const char *id = words[1], *how = words[2], *why;
	long start = now_ms();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways) && strcmp(how, ways[i].name); i++)
		;
	if (i == ARRAY_SIZE(ways)) {
		done_error(id, start, "no way to leave is called %s", how);
		return;
	}
	if (!strcmp(how, "kexec") && load_kexec()) {
		done_error(id, start, "kexec_load: %s", strerror(errno));
		return;
	}
	why = start_until_ready(words + 4, strtol(words[3], NULL, 0));
	if (why) {
		done_error(id, start, "%s", why);
		return;
	}
	kmsg_drain();
	kmsg_forward();
	report("@ leave %s %s", id, how);
	report_end();
	dprintf(1, "rig: leaving by %s\n", how);
	/* The kernel's own words do not wait for a terminal's. */
	tcdrain(1);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, ways[i].command, NULL);
	dprintf(1, "rig: reboot: %s\n", strerror(errno));
}
