/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel has allocated, for a test that looks for what is not freed. */
#ifndef KHV_SELFTEST_SLAB_H
#define KHV_SELFTEST_SLAB_H

#include "uapi.h"

#define SLAB_CACHES 512

struct slab_counts {
	struct {
		char name[48];
		s64 objects;
	} caches[SLAB_CACHES];
	u32 nr;
	s64 vmalloc_kb, percpu_kb;
	s64 large_kb; /* kmalloc() of more than a slab has */
};

/* Nothing that the kernel could free at once is counted. 0 caches: it does not tell. */
void slab_read(struct slab_counts *c);
/* The same, once what the kernel frees later on is freed: to compare with. */
void slab_settle(struct slab_counts *c);
/* How many caches have grown by @objects or more from @a to @b. */
u32 slab_grown(const struct slab_counts *a, const struct slab_counts *b, s64 objects);
/* Log each of them, and what the other allocators have more. */
void slab_log(const struct slab_counts *a, const struct slab_counts *b, s64 objects);

#endif
