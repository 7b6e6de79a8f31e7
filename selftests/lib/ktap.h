/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test cases: registration, isolation, KTAP.
 *
 * A case registers itself in the ELF section "khv_tests" and runs in a child
 * process of its own, so it may die at any point and its VMs die with it.
 * A case that is known to fail on stock KVM names its defect id. Only a check
 * written with ASSERT_KNOWN() (or GUEST_ASSERT_KNOWN()) may excuse it: any
 * other failure is a failure on stock too, and so is an unexpected success.
 */
#ifndef KHV_SELFTEST_KTAP_H
#define KHV_SELFTEST_KTAP_H

#include "uapi.h"

struct ktap_case {
	const char *name;
	void (*fn)(void);
	const char *known;	/* defect id on stock, NULL when stock is right */
	bool (*known_if)(void); /* NULL: on every stock kernel */
} __attribute__((aligned(32)));

#define __TEST(_name, _known, _if)                              \
	static void _name(void);                                \
	static const struct ktap_case __ktap_##_name            \
		__attribute__((section("khv_tests"), used)) = { \
			.name = #_name,                         \
			.fn = _name,                            \
			.known = _known,                        \
			.known_if = _if,                        \
		};                                              \
	static void _name(void)

#define TEST(name)		      __TEST(name, NULL, NULL)
#define TEST_KNOWN(name, id)	      __TEST(name, id, NULL)
#define TEST_KNOWN_IF(name, id, cond) __TEST(name, id, cond)

#define KTAP_EXIT_FAIL	1
#define KTAP_EXIT_SKIP	4
#define KTAP_EXIT_KNOWN 77

void ktap_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ktap_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void ktap_known(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void ktap_skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
int ktap_main(int argc, char **argv);

/* Called in the child before the case: arms the watchdog (vm.c). */
void ktap_case_setup(unsigned int seconds);
/* Seconds a case may take; a case may ask for more. */
void ktap_timeout(unsigned int seconds);

/* Of a clock that nobody sets. */
long now_seconds(void);
bool module_loaded(void);
bool host_kernel_before(unsigned int major, unsigned int minor);
bool host_is_6_1(void);

#define FAIL(fmt, ...) ktap_fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__)
#define ASSERT(cond, fmt, ...)                                                           \
	do {                                                                             \
		if (!(cond))                                                             \
			ktap_fail(__FILE__, __LINE__, "%s: " fmt, #cond, ##__VA_ARGS__); \
	} while (0)
#define ASSERT_EQ(a, b)                                                                     \
	do {                                                                                \
		u64 __a = (u64)(a), __b = (u64)(b);                                         \
		if (__a != __b)                                                             \
			ktap_fail(__FILE__, __LINE__, "%s == %s: 0x%llx vs 0x%llx", #a, #b, \
				  (unsigned long long)__a, (unsigned long long)__b);        \
	} while (0)
/* The defect itself; see the head of this file. */
#define ASSERT_KNOWN(cond, fmt, ...)                                                      \
	do {                                                                              \
		if (!(cond))                                                              \
			ktap_known(__FILE__, __LINE__, "%s: " fmt, #cond, ##__VA_ARGS__); \
	} while (0)

#endif
