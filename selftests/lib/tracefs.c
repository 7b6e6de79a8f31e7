// SPDX-License-Identifier: GPL-2.0-only
/* Files of one line: see tracefs.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static FILE *trace_open(void)
{
	FILE *f = fopen(TRACING "/trace", "r");

	ASSERT(f, "trace: %s", strerror(errno));
	return f;
}

u32 trace_count(bool (*match)(const char *line))
{
	FILE *f = trace_open();
	char line[512];
	u32 n = 0;

	while (fgets(line, sizeof(line), f))
		n += match(line);
	fclose(f);
	return n;
}

bool trace_hyperv_inhibits_apicv(void)
{
	static const char event[] = "kvm_apicv_inhibit_changed: ", field[] = "inhibits=0x";
	const u64 by_hyperv = BIT64(1);
	FILE *f = trace_open();
	bool inhibits = false;
	char line[512], *text;

	while (fgets(line, sizeof(line), f)) {
		text = strstr(line, event);
		if (!text)
			continue;
		text = strstr(text, field);
		ASSERT(text, "an event of another form: %s", line);
		inhibits = strtoull(text + strlen(field), NULL, 16) & by_hyperv;
	}
	fclose(f);
	return inhibits;
}
