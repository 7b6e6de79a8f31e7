// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shrinks a stream that makes a difference: whatever can be left out, is, as long as the
 * difference is of the same kind. First the setup gets plainer, then pieces get smaller from half
 * of the stream to one operation (delta debugging).
 */
#include <string.h>

#include "fuzz.h"

#define TRIES 300 /* pairs of VMs at most */

static bool same(const struct fuzz_stream *s, const struct fuzz_difference *a,
		 const struct fuzz_stream *t, const struct fuzz_difference *b)
{
	if (a->what != b->what)
		return false;
	/* A register must be the same one, and so must the operation of a result. */
	if (a->what == FUZZ_OF_MSR || a->what == FUZZ_OF_APIC)
		return a->index == b->index;
	if (a->what == FUZZ_OF_DEMAND)
		return !strcmp(a->id, b->id);
	if (a->what == FUZZ_OF_PAGE || a->what == FUZZ_OF_IRQS)
		return true;
	return s->ops[a->at].kind == t->ops[b->at].kind;
}

static bool still(const struct fuzz_stream *s, const struct fuzz_verdict *want,
		  const struct fuzz_stream *t, const enum fuzz_who who[2], struct fuzz_verdict *v)
{
	fuzz_run(t, who, v);
	return v->differs && same(s, &want->d, t, &v->d);
}

static void without(struct fuzz_stream *t, const struct fuzz_stream *s, u32 from, u32 n)
{
	*t = *s;
	memmove(t->ops + from, t->ops + from + n, (s->nr - from - n) * sizeof(t->ops[0]));
	t->nr -= n;
}

/* Replace what is drawn at random by what is plain. */
static u32 plainer(struct fuzz_stream *t, const struct fuzz_stream *s, u32 step)
{
	*t = *s;
	switch (step) {
	case 0:
		t->setup.without[0] = 0;
		break;
	case 1:
		t->setup.without[1] = 0;
		break;
	case 2:
		t->setup.without[2] = 0;
		break;
	case 3:
		t->setup.enforce = false;
		break;
	case 4:
		t->setup.debugger = false;
		break;
	case 5:
		t->setup.fast = false;
		break;
	case 6:
		t->setup.x2apic = false;
		break;
	case 7:
		t->setup.smm = false;
		break;
	case 8:
		t->setup.exits = false;
		break;
	case 9:
		t->setup.shown = false;
		break;
	case 10:
		t->setup.nested = FUZZ_NO_L1;
		break;
	default:
		return 0;
	}
	return 1;
}

/* Try without each piece of @n operations. Return: was one left out? */
static bool shorten(struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v,
		    u32 n, u32 *tries)
{
	static struct fuzz_stream t;
	struct fuzz_verdict w;
	bool shorter = false;
	u32 from = 0;

	while (from + n <= s->nr && s->nr > n && *tries < TRIES) {
		without(&t, s, from, n);
		++*tries;
		if (!still(s, v, &t, who, &w)) {
			from += n;
			continue;
		}
		*s = t;
		*v = w;
		s->nr = v->d.at + 1;
		shorter = true;
	}
	return shorter;
}

static void make_plainer(struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v,
			 u32 *tries)
{
	static struct fuzz_stream t;
	struct fuzz_verdict w;
	u32 step;

	for (step = 0; plainer(&t, s, step) && *tries < TRIES; step++) {
		if (!memcmp(&t.setup, &s->setup, sizeof(t.setup)))
			continue;
		++*tries;
		if (still(s, v, &t, who, &w)) {
			*s = t;
			*v = w;
			s->nr = v->d.at + 1;
		}
	}
}

void fuzz_shrink(struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v)
{
	u32 n, tries = 0;

	/* Nothing behind the difference matters. */
	s->nr = v->d.at + 1;
	make_plainer(s, who, v, &tries);
	for (n = s->nr / 2; n; n /= 2)
		shorten(s, who, v, n, &tries);
	/* What one operation needed may be needed no more once another is gone. */
	while (shorten(s, who, v, 1, &tries))
		;
	ktap_log("shrunk in %u runs", tries);
}
