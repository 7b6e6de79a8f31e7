/* SPDX-License-Identifier: GPL-2.0-only */
/* A warning of the code under test is the end of the program: it must not go unseen. */
#ifndef KHV_USER_BUG_H
#define KHV_USER_BUG_H

#include <linux/build_bug.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static inline bool khv_user_warn(bool bad, const char *what, const char *file, int line)
{
	if (bad) {
		printf("Bail out! %s:%d: %s\n", file, line, what);
		fflush(stdout);
		abort();
	}
	return bad;
}

#define WARN_ON(cond)		  khv_user_warn(!!(cond), #cond, __FILE__, __LINE__)
#define WARN_ON_ONCE(cond)	  WARN_ON(cond)
#define WARN_ONCE(cond, fmt, ...) khv_user_warn(!!(cond), fmt, __FILE__, __LINE__)

#endif
