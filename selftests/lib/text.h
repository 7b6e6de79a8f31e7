/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The code of the kernel's modules, as it stands in memory: remember it, compare it later. It needs
 * nothing of the other files here, because PID 1 of the rig (rig/init/) uses it, too.
 */
#ifndef KHV_SELFTEST_TEXT_H
#define KHV_SELFTEST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Some bytes that differ, all in one section of one module. */
struct text_difference {
	const char *module, *section;
	const char *function;	 /* "?" where none is */
	size_t at;		 /* the first of them, in the section */
	const uint8_t *was, *is; /* the whole section */
	size_t len;
};

/* Forget all. */
void text_forget(void);
/* Remember the code of /modules/@module.ko too, without that of its start: bytes, or -1. */
long text_remember(const char *module);
/*
 * The module was removed and inserted since, and may be elsewhere: compare its code there from now
 * on. What refers to it must refer to the same place in it as before. 0, or -1 if it is not there.
 */
int text_moved(const char *module);
/*
 * Compare; how many places differ for which @counts is true. Without @counts, all of them. A
 * section that cannot be read is one place, for which @counts is not asked.
 */
unsigned int text_compare(bool (*counts)(const struct text_difference *d));
/* Is it a static key that changed: a jump where there was none, or none where one was? */
bool text_is_static_key(const struct text_difference *d);

#endif
