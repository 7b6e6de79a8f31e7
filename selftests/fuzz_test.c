// SPDX-License-Identifier: GPL-2.0-only
/*
 * The differential fuzzer (fuzz/fuzz.h): streams of operations on a VM of stock KVM and on one of
 * the module, in one boot. Inserts and removes the module by itself.
 *
 *   fuzz_test [--seed N] [--ops N] [--length N] [--seconds N] [--fast 0|1] [--steer 0|1]
 *             [--replay FILE]
 *
 * --ops and --seconds end the run, whichever comes first; --length is that of one stream. Stream
 * i has the seed N + i; --steer varies those that ran new code, which the module counts
 * (COVERAGE=1). Documentation/fuzzing.rst has the rest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "lib/rows.h"
#include "module.h"
#include "several.h"

#define DEFAULT_SEED   20261128ULL
#define DEFAULT_OPS    20000u
#define DEFAULT_LENGTH 300u
/* So many must reach every row and outcome that there is. */
#define LONG_OPS       100000u
/* So many must see each known difference that is seen often. */
#define OFTEN_OPS      50000u
/* Of these, on stock beside stock. */
#define SAME_SHARE     10
/* Of so many streams, how many may differ now and then. */
#define MAX_ODD(n)     (2 + (n) / 50)
/*
 * Operations of all VPs of a VM of several, and how many of the others there are for each such
 * VM.
 */
#define SEVERAL_ROUNDS 400u
#define SEVERAL_OPS    20000u
#define MAX_SECONDS(n) (300 + 120 * (n))

static struct {
	u64 seed, ops, seconds;
	u32 length;
	int fast; /* -1: as drawn */
	bool steer;
	const char *replay;
} options = { .seed = DEFAULT_SEED, .ops = DEFAULT_OPS, .length = DEFAULT_LENGTH, .fast = -1 };

static struct fuzz_stream stream;

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static void print_stream(const struct fuzz_stream *s)
{
	char *text, *line, *rest;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ASSERT(f, "memory");
	fuzz_print(f, s);
	fclose(f);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		ktap_log("  %s", line);
	free(text);
}

/*
 * Workers of the host raise the lines of irqfds, and timers expire when they do: may the moment
 * have made this difference?
 */
static bool is_of_the_moment(const struct fuzz_stream *s, const struct fuzz_difference *d)
{
	u32 kind = s->ops[d->at].kind;

	switch (d->what) {
	case FUZZ_OF_IRQS:
	case FUZZ_OF_EVENTS:
	case FUZZ_OF_APIC:
	case FUZZ_OF_NESTED:
	case FUZZ_OF_END:
		return true;
	default:
		return kind == FUZZ_TIMER || kind == FUZZ_HALT || kind == FUZZ_APIC;
	}
}

/* A difference: does it come again? Then shrink it and print it as a file for --replay. */
static bool report(struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v)
{
	char what[256];
	struct fuzz_verdict again, found = { 0 };
	u32 i, n = 0;

	fuzz_describe(what, sizeof(what), &v->d);
	ktap_log("seed %llu: after operation %u: %s", (unsigned long long)s->seed, v->d.at, what);
	for (i = 0; i < 3; i++) {
		fuzz_run(s, who, &again);
		n += again.differs;
		if (again.differs)
			found = again;
	}
	if (!n || (n < 3 && is_of_the_moment(s, &v->d))) {
		ktap_log("it came again in %u of 3 runs: not counted", n);
		return false;
	}
	/* What comes now and then cannot be shrunk: leaving something out proves nothing. */
	*v = found;
	if (n == 3)
		fuzz_shrink(s, who, v);
	fuzz_describe(what, sizeof(what), &v->d);
	ktap_log("%s: %s, in %u of 3 runs; as a file for --replay:",
		 n == 3 ? "shortest" : "not shrunk", what, n);
	print_stream(s);
	return true;
}

/* The number of streams that differ in a way that is not known. */
static u32 run_streams(const enum fuzz_who who[2], u64 ops, bool steered)
{
	u64 done = 0, i, begin = now_ms(), took;
	struct fuzz_verdict v;
	u32 bad = 0, odd = 0;

	ktap_log("seed %llu", (unsigned long long)options.seed);
	for (i = 0; done < ops; i++) {
		if (options.seconds && now_ms() - begin > options.seconds * 1000)
			break;
		if (steered)
			fuzz_steer_draw(&stream, options.seed + i, options.length);
		else
			fuzz_generate(&stream, options.seed + i, options.length);
		if (options.fast >= 0)
			stream.setup.fast = options.fast;
		fuzz_run(&stream, who, &v);
		done += v.done;
		if (steered && !v.differs)
			fuzz_steer_judge(&stream);
		if (!v.differs)
			continue;
		if (report(&stream, who, &v))
			bad++;
		else
			odd++;
		if (bad >= 8)
			break;
		if (steered)
			fuzz_steer_forget();
	}
	took = now_ms() - begin;
	ktap_log("%llu operations in %llu streams, %llu ms: %llu a second",
		 (unsigned long long)done, (unsigned long long)i, (unsigned long long)took,
		 (unsigned long long)(took ? done * 1000 / took : 0));
	ASSERT(odd <= MAX_ODD(i), "%u of %llu streams differ, but not each time", odd,
	       (unsigned long long)i);
	return bad;
}

static void log_new_rows(u32 nr, const struct fuzz_row *(*row_of)(u32 i))
{
	u32 i;

	for (i = 0; i < nr; i++) {
		const struct fuzz_row *row = row_of(i);

		if (row->is_new)
			ktap_log("%s, 0x%x: not in the list: taken from the module", row->name,
				 row->first);
	}
}

/* What is known depends on the TLFS (fuzz/tlfs.c); the module's tables follow it. */
TEST(rows_are_the_tlfs)
{
	char wrong[128];

	fuzz_rows_init();
	log_new_rows(fuzz_nr_msr_rows, fuzz_msr_row);
	log_new_rows(fuzz_nr_call_rows, fuzz_call_row);
	ASSERT(fuzz_tlfs_check(wrong, sizeof(wrong)), "%s", wrong);
}

/* The streams are deterministic: stock beside itself has no difference at all. */
TEST(stock_is_like_itself)
{
	const enum fuzz_who who[2] = { FUZZ_STOCK, FUZZ_STOCK };

	if (options.replay)
		ktap_skip("one stream is replayed");
	fuzz_rows_init();
	ktap_timeout(3600 * 24);
	ASSERT_EQ(run_streams(who, options.ops / SAME_SHARE, false), 0);
}

TEST(module_is_like_stock)
{
	const enum fuzz_who who[2] = { FUZZ_STOCK, FUZZ_MODULE };
	u32 n, bad, missing;

	if (options.replay)
		ktap_skip("one stream is replayed");
	module_start_clean();
	fuzz_rows_init();
	ktap_timeout(3600 * 24);
	module_load();
	ASSERT(!options.steer || fuzz_steer_begin(), "the module does not count its code");
	bad = run_streams(who, options.ops, options.steer);
	if (options.steer)
		fuzz_steer_report();
	missing = fuzz_known_report();
	n = fuzz_cover_report(true);
	fuzz_fast_report();
	module_unload();
	ASSERT(!bad, "%u streams differ in a way that is not known", bad);
	/* The module does again as stock does: a mend is lost. */
	ASSERT(!missing || options.steer || options.seconds || options.ops < OFTEN_OPS ||
		       options.length < DEFAULT_LENGTH,
	       "%u known differences that are seen often were not", missing);
	/* A short run does not get everywhere, nor one that mostly varies what it has. */
	ASSERT(!n || options.steer || options.ops < LONG_OPS, "%u outcomes were not reached", n);
}

/*
 * Calls that stock does not have: the module beside itself, where they give the same and are
 * followed by the same. What they are to give, extra_calls_test and its neighbours say.
 */
TEST(hidden_calls_are_deterministic)
{
	const enum fuzz_who who[2] = { FUZZ_MODULE, FUZZ_MODULE };
	u32 i, bad, hidden = 0;

	if (options.replay)
		ktap_skip("one stream is replayed");
	module_start_clean();
	fuzz_rows_init();
	ktap_timeout(3600 * 24);
	module_load_with("extra_calls=all");
	bad = run_streams(who, options.ops / SAME_SHARE, false);
	for (i = 0; i < fuzz_nr_call_rows; i++) {
		const struct fuzz_row *row = fuzz_call_row(i);

		if (!row->hidden)
			continue;
		hidden++;
		ktap_log("%s: %llu calls", row->name,
			 (unsigned long long)row_counts(row->first).writes);
		ASSERT(row_counts(row->first).writes || options.ops < DEFAULT_OPS, "%s: no call",
		       row->name);
	}
	module_unload();
	ASSERT(hidden, "no call is hidden");
	ASSERT(!bad, "%u streams differ", bad);
}

/* Several VPs at once, on the module: what must hold whatever the order (fuzz/several.c). */
static void several(u32 vps)
{
	struct several_report report = { 0 };
	u32 i, vms = 1 + (u32)(options.ops / SEVERAL_OPS);

	if (options.replay)
		ktap_skip("one stream is replayed");
	require_two_cpus();
	module_start_clean();
	/* A VP that is never woken up ends the case, and is shown. */
	ktap_timeout(MAX_SECONDS(vms));
	module_load();
	ktap_log("seed %llu", (unsigned long long)options.seed);
	for (i = 0; i < vms; i++) {
		fuzz_set_fast(options.fast >= 0 ? options.fast != 0 : (vps / 2 + i) % 2 != 0);
		several_run(options.seed + i, vps, SEVERAL_ROUNDS / vps, &report);
		ASSERT_EQ(module_vms_created(), i + 1);
	}
	ktap_log("%u operations or more on %u VPs in %u VMs", vms * SEVERAL_ROUNDS, vps, vms);
	several_judge(&report, vps);
	module_unload();
}

TEST(two_vps)
{
	several(2);
}

TEST(four_vps)
{
	several(4);
}

static bool replay_one(u32 line)
{
	const enum fuzz_who who[2] = { FUZZ_STOCK, FUZZ_MODULE };
	struct fuzz_verdict v;
	char what[256];

	fuzz_run(&stream, who, &v);
	if (!v.differs)
		return true;
	fuzz_describe(what, sizeof(what), &v.d);
	ktap_log("the stream to line %u: after operation %u: %s", line, v.d.at, what);
	return false;
}

TEST(replay)
{
	u32 line = 0, streams = 0, differ = 0;
	const char *wrong;
	FILE *f;

	if (!options.replay)
		ktap_skip("no stream is named (--replay FILE)");
	f = fopen(options.replay, "r");
	ASSERT(f, "%s: %s", options.replay, strerror(errno));
	module_start_clean();
	fuzz_rows_init();
	module_load();
	do {
		wrong = fuzz_load(&stream, f, &line);
		ASSERT(!wrong, "%s:%u: %s", options.replay, line, wrong);
		fuzz_tells = !streams++ && feof(f);
		if (fuzz_tells)
			print_stream(&stream);
		differ += !replay_one(line);
	} while (!feof(f));
	fclose(f);
	fuzz_known_report();
	ASSERT(!differ, "%u of %u streams differ", differ, streams);
	module_unload();
}

static u64 number(const char *name, const char *text)
{
	char *end;
	u64 n = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "fuzz_test: %s %s: that is no number\n", name, text);
		exit(2);
	}
	return n;
}

static bool option(const char *name, const char *value)
{
	if (!strcmp(name, "--module"))
		module_option = value;
	else if (!strcmp(name, "--replay"))
		options.replay = value;
	else if (!strcmp(name, "--seed"))
		options.seed = number(name, value);
	else if (!strcmp(name, "--ops"))
		options.ops = number(name, value);
	else if (!strcmp(name, "--seconds"))
		options.seconds = number(name, value);
	else if (!strcmp(name, "--length"))
		options.length = (u32)number(name, value);
	else if (!strcmp(name, "--fast"))
		options.fast = (int)number(name, value) != 0;
	else if (!strcmp(name, "--steer"))
		options.steer = number(name, value);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

		if (name[0] != '-')
			continue;
		i++;
		if (!option(name, value)) {
			fprintf(stderr, "fuzz_test: there is no option %s\n", name);
			return 2;
		}
	}
	if (options.length < 32 || options.length > FUZZ_MAX_OPS) {
		fprintf(stderr, "fuzz_test: --length is from 32 to %u\n", FUZZ_MAX_OPS);
		return 2;
	}
	return module_ktap_main(argc, argv);
}
