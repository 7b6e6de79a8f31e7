// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the KUnit suites in user space, under ASAN and UBSAN, and prints KTAP as the kernel does.
 * Suites register themselves before main(). Exit status: 0 all passed, 1 something failed.
 * "--list" prints the suites and their cases.
 */
#include <kunit/test.h>

#include <setjmp.h>
#include <stdarg.h>

#define MAX_SUITES 64

static struct kunit_suite *suites[MAX_SUITES];
static unsigned int nr_suites;
static jmp_buf leave;

void khv_user_register(struct kunit_suite *const *list, unsigned int count)
{
	unsigned int i, at;

	for (i = 0; i < count; i++) {
		if (nr_suites == MAX_SUITES)
			abort();
		/* By name, so that the output does not depend on the order of linking. */
		for (at = nr_suites++; at && strcmp(suites[at - 1]->name, list[i]->name) > 0; at--)
			suites[at] = suites[at - 1];
		suites[at] = list[i];
	}
}

void khv_user_fail(struct kunit *test, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	test->failed = true;
	printf("    # %s: EXPECTATION FAILED at %s:%d\n    # ", test->name, file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void khv_user_abort(struct kunit *test)
{
	(void)test;
	longjmp(leave, 1);
}

void khv_user_skip(struct kunit *test, const char *why)
{
	test->skipped = why;
	longjmp(leave, 1);
}

/* One call of the case's function; a test struct of its own, as in the kernel. */
static void run_once(struct kunit_suite *suite, struct kunit_case *c, struct kunit *test)
{
	int err;

	if (suite->init) {
		err = suite->init(test);
		if (err) {
			khv_user_fail(test, __FILE__, __LINE__, "init of the suite: %d", err);
			return;
		}
	}
	if (!setjmp(leave))
		c->run_case(test);
	if (suite->exit)
		suite->exit(test);
}

static void result(const char *indent, bool failed, unsigned int n, const char *name,
		   const char *skipped)
{
	printf("%s%sok %u %s%s%s\n", indent, failed ? "not " : "", n, name,
	       skipped && !failed ? " # SKIP " : "", skipped && !failed ? skipped : "");
}

static bool run_case(struct kunit_suite *suite, struct kunit_case *c, unsigned int n)
{
	const char *skipped = NULL;
	const void *param = NULL;
	bool failed = false;
	unsigned int i = 0;

	if (!c->generate_params) {
		struct kunit test = { .name = c->name };

		run_once(suite, c, &test);
		failed = test.failed;
		skipped = test.skipped;
	} else {
		printf("        KTAP version 1\n        # Subtest: %s\n", c->name);
		for (;;) {
			char desc[KUNIT_PARAM_DESC_SIZE] = "";
			struct kunit test = { .name = c->name, .param_index = i };

			param = c->generate_params(param, desc);
			if (!param)
				break;
			test.param_value = param;
			run_once(suite, c, &test);
			result("        ", test.failed, ++i, desc, test.skipped);
			failed |= test.failed;
		}
		if (!i) {
			printf("    # %s: no parameters\n", c->name);
			failed = true;
		}
	}
	result("    ", failed, n, c->name, skipped);
	return !failed;
}

static unsigned int count_cases(const struct kunit_suite *suite)
{
	unsigned int n = 0;

	while (suite->test_cases[n].run_case)
		n++;
	return n;
}

static bool run_suite(struct kunit_suite *suite, unsigned int n)
{
	unsigned int i, count = count_cases(suite);
	bool passed = count > 0;

	printf("    KTAP version 1\n    # Subtest: %s\n    1..%u\n", suite->name, count);
	if (suite->suite_init && suite->suite_init(suite)) {
		printf("    # init of the suite failed\n");
		passed = false;
		count = 0;
	}
	for (i = 0; i < count; i++)
		passed &= run_case(suite, &suite->test_cases[i], i + 1);
	if (suite->suite_exit)
		suite->suite_exit(suite);
	result("", !passed, n, suite->name, NULL);
	return passed;
}

int main(int argc, char **argv)
{
	bool passed = nr_suites > 0;
	unsigned int i, k;

	if (argc > 1 && !strcmp(argv[1], "--list")) {
		for (i = 0; i < nr_suites; i++)
			for (k = 0; k < count_cases(suites[i]); k++)
				printf("%s.%s\n", suites[i]->name, suites[i]->test_cases[k].name);
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", nr_suites);
	for (i = 0; i < nr_suites; i++)
		passed &= run_suite(suites[i], i + 1);
	return passed ? 0 : 1;
}
