// SPDX-License-Identifier: GPL-2.0-only
/* See slab.h. */
#include <dirent.h>
#include <fcntl.h>
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

/* Of all caches, open from the first look on: to open them takes memory of some caches. */
static int shrinks[SLAB_CACHES + 1];
static u32 nr_shrinks;

static void open_shrink(const char *cache)
{
	char path[300];

	snprintf(path, sizeof(path), SLABS "/%s/shrink", cache);
	shrinks[nr_shrinks] = open(path, O_WRONLY | O_CLOEXEC);
	nr_shrinks += shrinks[nr_shrinks] >= 0;
}

static void open_shrinks(void)
{
	struct dirent *e;
	DIR *d = opendir(SLABS);

	while (d && nr_shrinks < SLAB_CACHES && (e = readdir(d))) {
		/* The others are links to these. */
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			open_shrink(e->d_name);
	}
	if (d)
		closedir(d);
	/*
	 * The kernel copies what is written to a file into an object of this cache, and the
	 * processor keeps all that is free of the object's slab at hand. So shrink it once more.
	 */
	open_shrink("kmalloc-8");
}

/* The lines of slabinfo, but for its two heads: a cache, its objects in use, and all its pages. */
static s64 read_caches(struct slab_counts *c)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	long long objects, pages, slabs;
	char line[512];
	s64 all = 0;

	c->nr = 0;
	while (f && c->nr < SLAB_CACHES && fgets(line, sizeof(line), f)) {
		if (*line == '#' ||
		    sscanf(line,
			   "%47s %lld %*d %*d %*d %lld : tunables %*d %*d %*d : slabdata %*d %lld",
			   c->caches[c->nr].name, &objects, &pages, &slabs) != 4)
			continue;
		c->caches[c->nr++].objects = objects;
		all += pages * slabs;
	}
	if (f)
		fclose(f);
	return all;
}

void slab_read(struct slab_counts *c)
{
	s64 pages;
	u32 i;

	if (!nr_shrinks)
		open_shrinks();
	file_write("/proc/sys/vm/drop_caches", "3", 0);
	/* What a processor has at hand of a cache counts as in use. */
	for (i = 0; i + 1 < nr_shrinks; i++) {
		if (write(shrinks[i], "1", 1) < 0)
			continue;
	}
	/* Each processor has counts of its own, which it adds to those of all from time to time. */
	file_write("/proc/sys/vm/stat_refresh", "1", 0);
	if (nr_shrinks && write(shrinks[nr_shrinks - 1], "1", 1) < 0)
		ktap_log("kmalloc-8 is not shrunk");
	pages = read_caches(c);
	/* The kernel counts both as slabs. */
	c->large_kb = number_in("/proc/meminfo", "Slab: %lld") - pages * (PAGE_SIZE / 1024);
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

	for (i = 0; i < b->nr; i++)
		grown += b->caches[i].objects - objects_of(a, b->caches[i].name) >= objects;
	return grown;
}

void slab_log(const struct slab_counts *a, const struct slab_counts *b, s64 objects)
{
	s64 more;
	u32 i;

	for (i = 0; i < b->nr; i++) {
		more = b->caches[i].objects - objects_of(a, b->caches[i].name);
		if (more >= objects)
			ktap_log("%s: %lld objects, %lld more", b->caches[i].name,
				 (long long)b->caches[i].objects, (long long)more);
	}
	ktap_log("large: %lld kB more, vmalloc: %lld kB more, per-CPU memory: %lld kB more",
		 (long long)(b->large_kb - a->large_kb), (long long)(b->vmalloc_kb - a->vmalloc_kb),
		 (long long)(b->percpu_kb - a->percpu_kb));
}

void slab_settle(struct slab_counts *c)
{
	/* What waits for a grace period is freed in batches, each five seconds; no file tells. */
	sleep(6);
	slab_read(c);
}
