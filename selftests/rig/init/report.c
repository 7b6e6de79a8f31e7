// SPDX-License-Identifier: GPL-2.0-only
/*
 * What PID 1 says on the results channel (ttyS1), and the kernel log of the current step, which it
 * searches for complaints of the kernel and shows when the step went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define LOG_SIZE (256 * 1024)

static FILE *results;
static int kmsg = -1;

/* The kernel log since the start of the current step. */
static char log_text[LOG_SIZE];
static size_t log_len;
static size_t log_reported;
static unsigned int complaints;

void report(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(results, format, args);
	va_end(args);
	fputc('\n', results);
	fflush(results);
}

long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

int report_open(void)
{
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios tty;

	if (fd >= 0 && !tcgetattr(fd, &tty)) {
		cfmakeraw(&tty);
		tty.c_cflag |= CLOCAL;
		cfsetspeed(&tty, B115200);
		tcsetattr(fd, TCSANOW, &tty);
	}
	results = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!results) {
		/* Nobody will see an end marker: that is the failure. */
		dprintf(1, "rig: cannot open ttyS1: %s\n", strerror(errno));
		results = stdout;
	}

	/* Without a rate limit, so that no complaint is lost. */
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return kmsg < 0 ? -1 : 0;
}

void report_end(void)
{
	report("@ end");
	tcdrain(fileno(results));
	sync();
}

void power_off(void)
{
	const char *word = "Shutdown";

	report_end();
	/* Bochs has no ACPI power-off that Linux finds; it listens on this port instead. */
	if (!access("/etc/bochs", F_OK) && !iopl(3)) {
		while (*word)
			outb(*word++, 0x8900);
	}
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static bool is_complaint(const char *text)
{
	/* clang-format off */
	static const char *const words[] = {
		"BUG:", "BUG ", "kernel BUG at", "WARNING:", "Oops", "Kernel panic", "KASAN:",
		"UBSAN:", "general protection fault", "INFO: task ", "INFO: rcu", "rcu: INFO",
		"possible recursive locking", "possible circular locking",
		"inconsistent lock state", "suspicious RCU usage", "invalid wait context",
		"unchecked MSR access", "list_add corruption", "list_del corruption",
		"refcount_t:", "DEBUG_LOCKS_WARN_ON", "ODEBUG:",
		"bad: scheduling from the idle thread",
	};
	/* clang-format on */
	size_t i;

	/* A test program that died of a signal: its own exit status tells. */
	if (!strncmp(text, "traps:", 6))
		return false;
	/* The title names both functions: a race within stock code is not the module's. */
	if (strstr(text, "BUG: KCSAN:") && !strstr(text, "[kvm_hyperv]"))
		return false;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (strstr(text, words[i]))
			return true;
	}
	return false;
}

void kmsg_drain(void)
{
	char record[8192];
	ssize_t n;

	for (;;) {
		char *text, *end;

		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) {
			report("@ note kernel log records were lost");
			continue;
		}
		if (n <= 0)
			return;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';
		if (is_complaint(text)) {
			/* What came before in this step is no part of the story. */
			if (!complaints++)
				log_reported = log_len;
			if (complaints <= 5)
				report("@ kernel %s", text);
		}
		n = strlen(text);
		if (log_len + n + 2 > sizeof(log_text))
			continue;
		memcpy(log_text + log_len, text, n);
		log_len += n;
		log_text[log_len++] = '\n';
		log_text[log_len] = '\0';
	}
}

/* Forward the current step's part of the kernel log that was not forwarded yet. */
void kmsg_forward(void)
{
	char *line = log_text + log_reported;

	while (*line) {
		char *end = strchrnul(line, '\n');

		report("k %.*s", (int)(end - line), line);
		line = *end ? end + 1 : end;
	}
	log_reported = log_len;
}

void kmsg_forget(void)
{
	log_len = 0;
	log_reported = 0;
	log_text[0] = '\0';
}

void kmsg_new_step(void)
{
	kmsg_drain();
	kmsg_forget();
	complaints = 0;
}

bool kmsg_complained(void)
{
	return complaints;
}

bool kmsg_says(const char *text)
{
	return strstr(log_text, text);
}

void done(const char *id, const char *outcome, long start)
{
	kmsg_drain();
	if (complaints ||
	    (strcmp(outcome, "ok") && strcmp(outcome, "exit:0") && strcmp(outcome, "exit:4")))
		kmsg_forward();
	report("@ done %s %s %ld", id, outcome, now_ms() - start);
}

void done_error(const char *id, long start, const char *format, ...)
{
	char text[512] = "error:";
	va_list args;
	char *c;

	va_start(args, format);
	vsnprintf(text + 6, sizeof(text) - 6, format, args);
	va_end(args);
	for (c = text; *c; c++) {
		if (*c == ' ')
			*c = '_';
	}
	kmsg_drain();
	done(id, text, start);
}
