/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of KUnit as the suites of this folder's parent use, for a user-space program. The runner
 * is user/main.c. An assertion that fails ends the case, an expectation does not; a suite or a
 * parametrised case that has nothing to run is a failure.
 */
#ifndef KHV_USER_KUNIT_TEST_H
#define KHV_USER_KUNIT_TEST_H

#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/types.h>

#define __printf(a, b) __attribute__((format(printf, a, b)))
#define __noreturn     __attribute__((noreturn))

#define KUNIT_PARAM_DESC_SIZE 128

struct kunit {
	void *priv;
	const char *name;
	const void *param_value;
	int param_index;
	bool failed;
	const char *skipped;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

struct kunit_suite {
	const char name[256];
	int (*suite_init)(struct kunit_suite *suite);
	void (*suite_exit)(struct kunit_suite *suite);
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
};

void khv_user_register(struct kunit_suite *const *suites, unsigned int count);
void khv_user_fail(struct kunit *test, const char *file, int line, const char *fmt, ...)
	__printf(4, 5);
void khv_user_abort(struct kunit *test) __noreturn;
void khv_user_skip(struct kunit *test, const char *why) __noreturn;

#define kunit_test_suites(...)                                             \
	static void __attribute__((constructor)) khv_user_suites(void)     \
	{                                                                  \
		static struct kunit_suite *const list[] = { __VA_ARGS__ }; \
		khv_user_register(list, ARRAY_SIZE(list));                 \
	}                                                                  \
	_Static_assert(1, "")
#define kunit_test_suite(suite) kunit_test_suites(&(suite))

/* clang-format off */
#define KUNIT_CASE(fn)			{ .run_case = fn, .name = #fn }
#define KUNIT_CASE_PARAM(fn, gen)	{ .run_case = fn, .name = #fn, .generate_params = gen }
/* clang-format on */

#define KUNIT_ARRAY_PARAM(name, array, get_desc)                                    \
	static const void *name##_gen_params(const void *prev, char *desc)          \
	{                                                                           \
		typeof(&(array)[0]) next = prev ? (typeof(next))prev + 1 : (array); \
		void (*describe)(typeof(next), char *) = get_desc;                  \
		if (next >= (array) + ARRAY_SIZE(array))                            \
			return NULL;                                                \
		if (describe)                                                       \
			describe(next, desc);                                       \
		return next;                                                        \
	}

#define kunit_info(test, fmt, ...) printf("    # %s: " fmt, (test)->name, ##__VA_ARGS__)
#define kunit_skip(test, why)	   khv_user_skip(test, why)

#define KHV_USER_CHECK(test, fatal, ok, fmt, ...)                            \
	do {                                                                 \
		if (ok)                                                      \
			break;                                               \
		khv_user_fail(test, __FILE__, __LINE__, fmt, ##__VA_ARGS__); \
		if (fatal)                                                   \
			khv_user_abort(test);                                \
	} while (0)

#define KHV_USER_CMP(test, fatal, l, op, r, fmt, ...)                                      \
	do {                                                                               \
		typeof(l) _l = (l);                                                        \
		typeof(r) _r = (r);                                                        \
		KHV_USER_CHECK(test, fatal, _l op _r,                                      \
			       "%s " #op " %s: %lld (0x%llx), %lld (0x%llx) " fmt, #l, #r, \
			       (long long)_l, (long long)_l, (long long)_r, (long long)_r, \
			       ##__VA_ARGS__);                                             \
	} while (0)

#define KUNIT_FAIL(test, fmt, ...) KHV_USER_CHECK(test, 0, 0, fmt, ##__VA_ARGS__)

#define KUNIT_EXPECT_TRUE(test, c)  KHV_USER_CHECK(test, 0, c, "%s", #c)
#define KUNIT_EXPECT_FALSE(test, c) KHV_USER_CHECK(test, 0, !(c), "!(%s)", #c)
#define KUNIT_EXPECT_TRUE_MSG(test, c, fmt, ...) \
	KHV_USER_CHECK(test, 0, c, "%s: " fmt, #c, ##__VA_ARGS__)
#define KUNIT_EXPECT_FALSE_MSG(test, c, fmt, ...) \
	KHV_USER_CHECK(test, 0, !(c), "!(%s): " fmt, #c, ##__VA_ARGS__)
#define KUNIT_EXPECT_NULL(test, p)     KHV_USER_CHECK(test, 0, !(p), "%s is not NULL", #p)
#define KUNIT_EXPECT_NOT_NULL(test, p) KHV_USER_CHECK(test, 0, p, "%s is NULL", #p)
#define KUNIT_EXPECT_STREQ(test, a, b) \
	KHV_USER_CHECK(test, 0, !strcmp(a, b), "%s: \"%s\", %s: \"%s\"", #a, a, #b, b)
#define KUNIT_EXPECT_STREQ_MSG(test, a, b, fmt, ...)                                        \
	KHV_USER_CHECK(test, 0, !strcmp(a, b), "%s: \"%s\", %s: \"%s\" " fmt, #a, a, #b, b, \
		       ##__VA_ARGS__)
#define KUNIT_EXPECT_EQ(test, l, r) KHV_USER_CMP(test, 0, l, ==, r, "")
#define KUNIT_EXPECT_EQ_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 0, l, ==, r, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_NE(test, l, r) KHV_USER_CMP(test, 0, l, !=, r, "")
#define KUNIT_EXPECT_NE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 0, l, !=, r, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_LT(test, l, r)		  KHV_USER_CMP(test, 0, l, <, r, "")
#define KUNIT_EXPECT_LT_MSG(test, l, r, fmt, ...) KHV_USER_CMP(test, 0, l, <, r, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_LE(test, l, r)		  KHV_USER_CMP(test, 0, l, <=, r, "")
#define KUNIT_EXPECT_LE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 0, l, <=, r, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_GT(test, l, r)		  KHV_USER_CMP(test, 0, l, >, r, "")
#define KUNIT_EXPECT_GT_MSG(test, l, r, fmt, ...) KHV_USER_CMP(test, 0, l, >, r, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_GE(test, l, r)		  KHV_USER_CMP(test, 0, l, >=, r, "")
#define KUNIT_EXPECT_GE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 0, l, >=, r, fmt, ##__VA_ARGS__)

#define KUNIT_ASSERT_TRUE(test, c)  KHV_USER_CHECK(test, 1, c, "%s", #c)
#define KUNIT_ASSERT_FALSE(test, c) KHV_USER_CHECK(test, 1, !(c), "!(%s)", #c)
#define KUNIT_ASSERT_TRUE_MSG(test, c, fmt, ...) \
	KHV_USER_CHECK(test, 1, c, "%s: " fmt, #c, ##__VA_ARGS__)
#define KUNIT_ASSERT_FALSE_MSG(test, c, fmt, ...) \
	KHV_USER_CHECK(test, 1, !(c), "!(%s): " fmt, #c, ##__VA_ARGS__)
#define KUNIT_ASSERT_NULL(test, p)     KHV_USER_CHECK(test, 1, !(p), "%s is not NULL", #p)
#define KUNIT_ASSERT_NOT_NULL(test, p) KHV_USER_CHECK(test, 1, p, "%s is NULL", #p)
#define KUNIT_ASSERT_STREQ(test, a, b) \
	KHV_USER_CHECK(test, 1, !strcmp(a, b), "%s: \"%s\", %s: \"%s\"", #a, a, #b, b)
#define KUNIT_ASSERT_STREQ_MSG(test, a, b, fmt, ...)                                        \
	KHV_USER_CHECK(test, 1, !strcmp(a, b), "%s: \"%s\", %s: \"%s\" " fmt, #a, a, #b, b, \
		       ##__VA_ARGS__)
#define KUNIT_ASSERT_EQ(test, l, r) KHV_USER_CMP(test, 1, l, ==, r, "")
#define KUNIT_ASSERT_EQ_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 1, l, ==, r, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_NE(test, l, r) KHV_USER_CMP(test, 1, l, !=, r, "")
#define KUNIT_ASSERT_NE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 1, l, !=, r, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_LT(test, l, r)		  KHV_USER_CMP(test, 1, l, <, r, "")
#define KUNIT_ASSERT_LT_MSG(test, l, r, fmt, ...) KHV_USER_CMP(test, 1, l, <, r, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_LE(test, l, r)		  KHV_USER_CMP(test, 1, l, <=, r, "")
#define KUNIT_ASSERT_LE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 1, l, <=, r, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_GT(test, l, r)		  KHV_USER_CMP(test, 1, l, >, r, "")
#define KUNIT_ASSERT_GT_MSG(test, l, r, fmt, ...) KHV_USER_CMP(test, 1, l, >, r, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_GE(test, l, r)		  KHV_USER_CMP(test, 1, l, >=, r, "")
#define KUNIT_ASSERT_GE_MSG(test, l, r, fmt, ...) \
	KHV_USER_CMP(test, 1, l, >=, r, fmt, ##__VA_ARGS__)

#endif
