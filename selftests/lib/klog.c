// SPDX-License-Identifier: GPL-2.0-only
/* See klog.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "klog.h"
#include "ktap.h"

int klog_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	ASSERT(fd >= 0, "/dev/kmsg: %s", strerror(errno));
	return fd;
}

bool klog_next(int fd, char record[KLOG_RECORD])
{
	ssize_t len;

	do {
		len = read(fd, record, KLOG_RECORD - 1);
	} while (len < 0 && errno == EPIPE);
	if (len <= 0)
		return false;
	record[len] = '\0';
	return true;
}

bool klog_says(int fd, const char *text, const char *more)
{
	char record[KLOG_RECORD];
	bool says = false;

	while (klog_next(fd, record))
		says |= strstr(record, text) && (!more || strstr(record, more));
	return says;
}
