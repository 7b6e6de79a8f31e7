/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KHV_USER_STRING_H
#define KHV_USER_STRING_H

#include <string.h>

static inline long strscpy(char *to, const char *from, unsigned long size)
{
	unsigned long len = strlen(from);

	if (!size)
		return -7;
	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
	return from[len] ? -7 : (long)len;
}

#endif
