/* SPDX-License-Identifier: GPL-2.0-only */
/* What gen.c, gen_values.c and gen_call.c share: how values are drawn. */
#ifndef KHV_SELFTEST_FUZZ_GEN_H
#define KHV_SELFTEST_FUZZ_GEN_H

#include "fuzz.h"

static inline u32 below(struct fuzz_random *r, u32 n)
{
	return (u32)((fuzz_random(r) >> 32) * n >> 32);
}

static inline bool chance(struct fuzz_random *r, u32 percent)
{
	return below(r, 100) < percent;
}

#define PICK(r, ...)                                      \
	({                                                \
		static const u64 __v[] = { __VA_ARGS__ }; \
		__v[below(r, (u32)ARRAY_SIZE(__v))];      \
	})

/* Anything, but the edges of 64 bits more often. */
u64 fuzz_edge(struct fuzz_random *r);
/* A vector; and one that the local APIC delivers. */
u64 fuzz_draw_vector(struct fuzz_random *r);
u64 fuzz_draw_deliverable(struct fuzz_random *r);
u64 fuzz_icr_value(struct fuzz_random *r);
/* A register's number, and a value for it. */
u32 fuzz_draw_msr(struct fuzz_random *r);
u32 fuzz_draw_hot_msr(struct fuzz_random *r);
u64 fuzz_msr_value(struct fuzz_random *r, u32 msr);
void fuzz_draw_call(struct fuzz_random *r, struct fuzz_op *o);

#endif
