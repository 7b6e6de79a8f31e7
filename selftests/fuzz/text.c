// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams as text: one line for the setup, one for each operation. fuzz_print() writes them,
 * fuzz_load() reads them. Lines that begin with # are comments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define SEPARATORS "\n "

#define NAME(name, words)  #name,
#define WORDS(name, words) words,

#define SETUP                                                                               \
	"setup x2apic %u fast %u synic %u enforce %u debugger %u shown %u smm %u exits %u " \
	"nested %u without %u %u %u"

static const char *const names[] = { FUZZ_GUEST_OPS(NAME) FUZZ_HOST_OPS(NAME) };
static const u32 words[] = { FUZZ_GUEST_OPS(WORDS) FUZZ_HOST_OPS(WORDS) };

const char *fuzz_kind_name(u32 kind)
{
	return kind < FUZZ_KINDS ? names[kind] : "?";
}

bool fuzz_is_host(u32 kind)
{
	return kind >= FUZZ_GUEST_KINDS;
}

void fuzz_print_op(char *buf, size_t size, const struct fuzz_op *o)
{
	u32 i, n = words[o->kind], used;

	while (n > 1 && !o->w[n - 1])
		n--;
	used = (u32)snprintf(buf, size, "%s", names[o->kind]);
	for (i = 0; i < n && used < size; i++)
		used += (u32)snprintf(buf + used, size - used, " %#llx",
				      (unsigned long long)o->w[i]);
	if (o->answer && used < size)
		used += (u32)snprintf(buf + used, size - used, " answer %#x", o->answer);
	if (o->l1 && used < size)
		snprintf(buf + used, size - used, " in-l1");
}

static void print_setup(char *buf, size_t size, const struct fuzz_setup *s)
{
	snprintf(buf, size, SETUP, s->x2apic, s->fast, s->synic, s->enforce, s->debugger, s->shown,
		 s->smm, s->exits, s->nested, s->without[0], s->without[1], s->without[2]);
}

void fuzz_print(FILE *f, const struct fuzz_stream *s)
{
	char line[512];
	u32 i;

	print_setup(line, sizeof(line), &s->setup);
	fprintf(f, "%s\n", line);
	for (i = 0; i < s->nr; i++) {
		fuzz_print_op(line, sizeof(line), &s->ops[i]);
		fprintf(f, "%s\n", line);
	}
}

static const char *load_setup(struct fuzz_setup *s, const char *line)
{
	u32 x2apic, fast, enforce, debugger, shown, smm, exits, nested;

	if (sscanf(line, SETUP, &x2apic, &fast, &s->synic, &enforce, &debugger, &shown, &smm,
		   &exits, &nested, &s->without[0], &s->without[1], &s->without[2]) != 12)
		return "the first line is no setup";
	s->x2apic = x2apic;
	s->fast = fast;
	s->enforce = enforce;
	s->debugger = debugger;
	s->shown = shown;
	s->smm = smm;
	s->exits = exits;
	s->nested = nested;
	if (s->synic > 2 || nested >= FUZZ_L1_KINDS || s->without[0] >= fuzz_nr_cpuid_bits ||
	    s->without[1] >= fuzz_nr_cpuid_bits || s->without[2] >= fuzz_nr_cpuid_bits)
		return "the setup has a value that there is not";
	return NULL;
}

static const char *load_op(struct fuzz_op *o, char *line)
{
	char *word = strtok(line, SEPARATORS), *end;
	u32 i, n = 0;

	memset(o, 0, sizeof(*o));
	for (i = 0; i < FUZZ_KINDS && word && strcmp(word, names[i]); i++)
		;
	if (!word || i == FUZZ_KINDS)
		return "there is no such operation";
	o->kind = i;
	for (word = strtok(NULL, SEPARATORS); word; word = strtok(NULL, SEPARATORS)) {
		bool answer = !strcmp(word, "answer");

		if (!strcmp(word, "in-l1")) {
			o->l1 = true;
			continue;
		}
		if (answer)
			word = strtok(NULL, SEPARATORS);
		if (!word)
			return "an answer without a value";
		if (!answer && n == words[i])
			return "the operation has more words than it takes";
		*(answer ? &(u64){ 0 } : &o->w[n]) = strtoull(word, &end, 0);
		if (*end)
			return "that is no number";
		if (answer)
			o->answer = (u32)strtoul(word, NULL, 0);
		else
			n++;
	}
	return NULL;
}

const char *fuzz_load(struct fuzz_stream *s, FILE *f, u32 *line_nr)
{
	const char *wrong = NULL;
	bool begun = false;
	long from;
	char line[512];

	memset(s, 0, sizeof(*s));
	for (from = ftell(f); !wrong && fgets(line, sizeof(line), f); from = ftell(f)) {
		bool setup = !strncmp(line, "setup ", 6);

		/* The next stream. */
		if (begun && setup) {
			fseek(f, from, SEEK_SET);
			break;
		}
		++*line_nr;
		if (*line == '#' || *line == '\n')
			continue;
		if (!begun)
			wrong = load_setup(&s->setup, line);
		else if (s->nr == FUZZ_MAX_OPS)
			wrong = "more operations than a stream may have";
		else
			wrong = load_op(&s->ops[s->nr++], line);
		begun = true;
	}
	return wrong ? wrong : begun ? NULL : "there is no stream";
}
