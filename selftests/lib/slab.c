// SPDX-License-Identifier: GPL-2.0-only
/* See slab.h. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"
#include "slab.h"
#include "tracefs.h"

#define SLABS "/sys/kernel/slab"

/* The number of the first line of @path that has @format; -1 if there is none. */
static s64 number_in(const char *path, const char *format)
{
	FILE *f = fopen(path, "re");
	char line[256];
	long long n = -1;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, format, &n) == 1)
			break;
		n = -1;
	}
	if (f)
		fclose(f);
	return n;
}

void slab_read(struct slab_counts *c)
{
	struct dirent *e;
	char path[300];
	DIR *d;

	c->nr = 0;
	/* What waits for a grace period is freed in batches, each five seconds. */
	sleep(6);
	file_write("/proc/sys/vm/drop_caches", "3", 0);
	d = opendir(SLABS);
	while (d && c->nr < SLAB_CACHES && (e = readdir(d))) {
		/* The others are links to these. */
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), SLABS "/%s/shrink", e->d_name);
		file_write(path, "1", 0);
		snprintf(path, sizeof(path), SLABS "/%s/objects", e->d_name);
		snprintf(c->caches[c->nr].name, sizeof(c->caches[0].name), "%.47s", e->d_name);
		c->caches[c->nr++].objects = number_in(path, "%lld");
	}
	if (d)
		closedir(d);
	c->vmalloc_kb = number_in("/proc/meminfo", "VmallocUsed: %lld");
	c->percpu_kb = number_in("/proc/meminfo", "Percpu: %lld");
}

static s64 objects_of(const struct slab_counts *c, const char *name)
{
	u32 i;

	for (i = 0; i < c->nr; i++) {
		if (!strcmp(c->caches[i].name, name))
			return c->caches[i].objects;
	}
	return 0;
}

u32 slab_grown(const struct slab_counts *a, const struct slab_counts *b, s64 objects)
{
	u32 i, grown = 0;
	s64 more;

	for (i = 0; i < b->nr; i++) {
		more = b->caches[i].objects - objects_of(a, b->caches[i].name);
		if (more < objects)
			continue;
		ktap_log("%s: %lld objects, %lld more", b->caches[i].name,
			 (long long)b->caches[i].objects, (long long)more);
		grown++;
	}
	ktap_log("vmalloc: %lld kB more, per-CPU memory: %lld kB more",
		 (long long)(b->vmalloc_kb - a->vmalloc_kb),
		 (long long)(b->percpu_kb - a->percpu_kb));
	return grown;
}
