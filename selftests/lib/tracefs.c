// SPDX-License-Identifier: GPL-2.0-only
/* Files of one line: see tracefs.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"
#include "tracefs.h"

int file_write(const char *path, const char *text, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

void file_must_write(const char *path, const char *text)
{
	int r = file_write(path, text, 0);

	ASSERT(!r, "%s: %s", path, strerror(-r));
}

void trace_clear(void)
{
	int r = file_write(TRACING "/trace", "", O_TRUNC);

	ASSERT(!r, "trace: %s", strerror(-r));
}
