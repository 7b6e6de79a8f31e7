// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steers the streams by the code of the module that they run (rig/coverage/coverage.c counts it):
 * one that runs new code, or code more often than any other, is kept, and streams like it follow.
 */
#include <stdlib.h>

#include "gen.h"
#include "ktap.h"

#define FRESH	   "/sys/kernel/debug/khv-coverage/fresh"
#define MAX_KEPT   256u
/* Of 100 streams, how many are variants. */
#define OF_VARIANT 60

static struct fuzz_stream *kept[MAX_KEPT];
static u32 nr_kept;
/* Of drawn streams, and of variants. */
static struct {
	u64 streams, kept, code, counts;
} of[2];
static bool is_variant;

/* Code that ran for the first time; return that which ran so often for the first time. */
static u64 read_fresh(u64 *code)
{
	unsigned long long first, often;
	FILE *f = fopen(FRESH, "re");

	ASSERT(f && fscanf(f, "%llu %llu", &first, &often) == 2, FRESH);
	fclose(f);
	*code = first;
	return often;
}

bool fuzz_steer_begin(void)
{
	FILE *f = fopen(FRESH, "re");

	if (!f)
		return false;
	fclose(f);
	fuzz_steer_forget();
	return true;
}

void fuzz_steer_draw(struct fuzz_stream *s, u64 seed, u32 nr)
{
	struct fuzz_random r = { .s = ~seed };

	is_variant = nr_kept && chance(&r, OF_VARIANT);
	of[is_variant].streams++;
	if (!is_variant) {
		fuzz_generate(s, seed, nr);
		return;
	}
	*s = *kept[below(&r, nr_kept)];
	fuzz_mutate(s, kept[below(&r, nr_kept)], seed);
}

void fuzz_steer_judge(const struct fuzz_stream *s)
{
	struct fuzz_random r = { .s = s->seed };
	u64 code, n = read_fresh(&code);
	u32 at = nr_kept;

	if (!n)
		return;
	of[is_variant].kept++;
	of[is_variant].code += code;
	of[is_variant].counts += n;
	if (nr_kept == MAX_KEPT) {
		at = below(&r, MAX_KEPT);
	} else {
		kept[nr_kept] = malloc(sizeof(*s));
		ASSERT(kept[nr_kept], "memory");
		nr_kept++;
	}
	*kept[at] = *s;
}

void fuzz_steer_forget(void)
{
	u64 code;

	read_fresh(&code);
}

void fuzz_steer_report(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(of); i++)
		ktap_log("%llu %s, %llu kept: %llu pieces of code were new, %llu counts",
			 (unsigned long long)of[i].streams, i ? "variants" : "drawn streams",
			 (unsigned long long)of[i].kept, (unsigned long long)of[i].code,
			 (unsigned long long)of[i].counts);
}
