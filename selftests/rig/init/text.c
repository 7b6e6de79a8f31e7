// SPDX-License-Identifier: GPL-2.0-only
/* Steps that compare the code of KVM before and after: see lib/text.h. */
#include <sched.h>
#include <string.h>

#include "../../lib/text.h"
#include "init.h"

static bool saved;

void step_text_save(struct step *step)
{
	const char *id = step->words[1];
	long start = now_ms(), bytes, sum = 0;
	char **m;

	for (m = step->words + 2; *m; m++) {
		bytes = text_remember(*m);
		if (bytes < 0) {
			done_error(id, start, "cannot read the code of %s", *m);
			return;
		}
		sum += bytes;
	}
	saved = true;
	report("| %ld bytes", sum);
	done(id, "ok", start);
}

#define MOST_REPORTED 20

static unsigned int reported;

static bool report_difference(const struct text_difference *d)
{
	if (reported++ < MOST_REPORTED)
		report("| %s, %s+0x%zx (%s): code differs from before the load", d->module,
		       d->section, d->at, d->function);
	return true;
}

void step_text_compare(struct step *step)
{
	long start = now_ms(), deadline = start + 5000;
	const char *id = step->words[1];
	unsigned int n;

	if (!saved) {
		done_error(id, start, "nothing was saved");
		return;
	}
	/* KVM turns some of its static keys back a second or so after a VM has ended. */
	while (text_compare(NULL) && now_ms() < deadline)
		sched_yield();
	reported = 0;
	n = text_compare(report_difference);
	if (n > reported)
		report("| %u sections cannot be read", n - reported);
	if (n)
		done_error(id, start, "code of KVM differs from before the load");
	else
		done(id, "ok", start);
}
