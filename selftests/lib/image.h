/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory as text, to be taken from the output of one process into another of the same program:
 * lines "state NAME PART OFFSET HEX" for what is not zero, and "state NAME end SUM" behind all.
 */
#ifndef KHV_SELFTEST_IMAGE_H
#define KHV_SELFTEST_IMAGE_H

#include <stdio.h>

#include "uapi.h"

struct image_part {
	const char *name;
	void *at;
	size_t size;
};

void image_print(const char *name, const struct image_part *parts, u32 nr);
/* Fail if the file has not all of @name. */
void image_load(FILE *f, const char *name, const struct image_part *parts, u32 nr);

#endif
