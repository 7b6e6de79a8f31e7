// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the registered cases, one child process each, and prints KTAP.
 * Exit code: 0 all passed, 4 all skipped, 1 otherwise.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "ktap.h"
#include "vm.h"
#include "vm_private.h"

#define DEFAULT_TIMEOUT 30
/* What the watchdog and the end of a case that it ends may take, on a host that is slow. */
#define MARGIN(limit)	(3 + (limit) / 20)

extern const struct ktap_case __start_khv_tests[] __attribute__((weak));
extern const struct ktap_case __stop_khv_tests[] __attribute__((weak));
extern const struct guest_test __start_khv_guest_tests[] __attribute__((weak));
extern const struct guest_test __stop_khv_guest_tests[] __attribute__((weak));

/* Shared with the child: why it skipped. */
static char *skip_reason;
#define SKIP_REASON_SIZE 256

static void vreport(const char *file, int line, const char *fmt, va_list ap)
{
	char buf[512];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	if (file)
		printf("# %s:%d: %s\n", file, line, buf);
	else
		printf("# %s\n", buf);
	fflush(stdout);
}

void ktap_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(NULL, 0, fmt, ap);
	va_end(ap);
}

void ktap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(file, line, fmt, ap);
	va_end(ap);
	_exit(KTAP_EXIT_FAIL);
}

void ktap_known(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(file, line, fmt, ap);
	va_end(ap);
	_exit(KTAP_EXIT_KNOWN);
}

void ktap_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(skip_reason, SKIP_REASON_SIZE, fmt, ap);
	va_end(ap);
	fflush(stdout);
	_exit(KTAP_EXIT_SKIP);
}

bool module_loaded(void)
{
	return access("/sys/module/kvm_hyperv", F_OK) == 0;
}

bool host_kernel_before(unsigned int major, unsigned int minor)
{
	unsigned int a = 0, b = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &a, &b) != 2)
		FAIL("cannot read the kernel release");
	return a < major || (a == major && b < minor);
}

/* Named after the stock kernel whose gaps the TEST_KNOWN_IF cases describe. */
bool host_is_6_1(void)
{
	return host_kernel_before(6, 2);
}

static long started;

long now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static unsigned int timeout_seconds(void)
{
	const char *s = getenv("KHV_TEST_TIMEOUT");
	unsigned int v = s ? (unsigned int)strtoul(s, NULL, 10) : 0;

	return v ? v : DEFAULT_TIMEOUT;
}

/*
 * Whoever runs the program may end it after $KHV_TEST_LIMIT seconds, without a word: let the
 * watchdog speak before.
 */
static unsigned int within_limit(unsigned int seconds)
{
	const char *s = getenv("KHV_TEST_LIMIT");
	long limit, left;

	if (!s)
		return seconds;
	limit = strtol(s, NULL, 10);
	left = limit - MARGIN(limit) - (now_seconds() - started);
	if (left < 1)
		left = 1;
	return seconds < left ? seconds : (unsigned int)left;
}

void ktap_timeout(unsigned int seconds)
{
	if (!getenv("KHV_TEST_TIMEOUT"))
		ktap_case_setup(within_limit(seconds));
}

/* A guest that is a whole test: one vCPU, everything KVM supports on offer. */
static void run_guest_test(const struct guest_test *t)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], t->entry);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

enum outcome { PASSED, FAILED, SKIPPED };

static enum outcome run_case(unsigned int nr, const struct ktap_case *c, const struct guest_test *g)
{
	const char *name = c ? c->name : g->name;
	const char *known = c ? c->known : g->known;
	bool expect_defect = known && !module_loaded() && (!c || !c->known_if || c->known_if());
	int status, code;
	pid_t pid;

	skip_reason[0] = '\0';
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		printf("not ok %u %s # fork: %s\n", nr, name, strerror(errno));
		return FAILED;
	}
	if (!pid) {
		ktap_case_setup(within_limit(timeout_seconds()));
		if (c)
			c->fn();
		else
			run_guest_test(g);
		/* Its signal ends a sleep(), and what the case waited for is not there. */
		if (watchdog_fired)
			FAIL("watchdog: the case takes too long");
		fflush(stdout);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			printf("not ok %u %s # waitpid: %s\n", nr, name, strerror(errno));
			return FAILED;
		}
	}

	if (WIFSIGNALED(status)) {
		printf("not ok %u %s # killed by signal %d\n", nr, name, WTERMSIG(status));
		return FAILED;
	}
	code = WEXITSTATUS(status);
	if (code == KTAP_EXIT_SKIP) {
		printf("ok %u %s # SKIP %s\n", nr, name, skip_reason);
		return SKIPPED;
	}
	if (expect_defect && code == KTAP_EXIT_KNOWN) {
		printf("ok %u %s # XFAIL %s known to fail on stock\n", nr, name, known);
		return PASSED;
	}
	if (expect_defect && code == 0) {
		printf("not ok %u %s # expected to fail on stock (%s) but passed\n", nr, name,
		       known);
		return FAILED;
	}
	if (expect_defect && code) {
		printf("not ok %u %s # expected to fail on stock (%s), but not like this\n", nr,
		       name, known);
		return FAILED;
	}
	if (code) {
		printf("not ok %u %s\n", nr, name);
		return FAILED;
	}
	printf("ok %u %s\n", nr, name);
	return PASSED;
}

static bool selected(const char *name, int argc, char **argv)
{
	int i, named = 0;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] == '-') {
			/* Options with a value belong to the program. */
			i++;
			continue;
		}
		named++;
		if (!strcmp(argv[i], name))
			return true;
	}
	return !named;
}

int ktap_main(int argc, char **argv)
{
	unsigned int total = 0, nr = 0, count[3] = { 0 };
	const struct guest_test *g;
	const struct ktap_case *c;

	started = now_seconds();
	setvbuf(stdout, NULL, _IOLBF, 0);
	skip_reason = mmap(NULL, SKIP_REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skip_reason == MAP_FAILED) {
		perror("mmap");
		return 1;
	}

	for (c = __start_khv_tests; c < __stop_khv_tests; c++)
		total += selected(c->name, argc, argv);
	for (g = __start_khv_guest_tests; g < __stop_khv_guest_tests; g++)
		total += (g->flags & GUEST_TEST_AUTO) && selected(g->name, argc, argv);

	printf("TAP version 13\n1..%u\n", total);
	if (!total) {
		printf("# no such test\n");
		return 1;
	}
	for (c = __start_khv_tests; c < __stop_khv_tests; c++)
		if (selected(c->name, argc, argv))
			count[run_case(++nr, c, NULL)]++;
	for (g = __start_khv_guest_tests; g < __stop_khv_guest_tests; g++)
		if ((g->flags & GUEST_TEST_AUTO) && selected(g->name, argc, argv))
			count[run_case(++nr, NULL, g)]++;

	printf("# passed %u, failed %u, skipped %u\n", count[PASSED], count[FAILED],
	       count[SKIPPED]);
	if (count[FAILED])
		return 1;
	return count[PASSED] ? 0 : KTAP_EXIT_SKIP;
}

/* A program with options of its own defines main() itself. */
int __attribute__((weak)) main(int argc, char **argv)
{
	return ktap_main(argc, argv);
}
