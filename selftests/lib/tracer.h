/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All ways in which a host traces a function of KVM, one at a time for each of them: attach it to
 * the function, detach it again.
 */
#ifndef KHV_SELFTEST_TRACER_H
#define KHV_SELFTEST_TRACER_H

#include "uapi.h"

struct tracer {
	const char *name;
	/* It takes the function's ftrace site, which the module wants for itself. */
	bool takes_site;
	/* 0 or -errno. */
	int (*attach)(struct tracer *t, const char *function);
	int (*detach)(struct tracer *t);
	/* While it is attached: has it fired since then, or since it was asked last? */
	bool (*fired)(struct tracer *t);
	const char *event; /* of a tracepoint, or of an event of tracefs; the form of the latter */
	const char *form;
	bool bpf;
	int fd, program, statistics;
	const char *function; /* that it is on */
	u64 seen;	      /* hits that fired() has told of */
};

extern struct tracer tracers[];
extern const u32 nr_tracers;

/* Does this kernel have it? */
bool tracer_exists(struct tracer *t);
/* Once, before the first is attached: the host's own tracer, which comes back at each detach. */
void tracers_remember(void);
/* Let go of whatever a test that died has left. False if the host's own tracer is another now. */
bool tracers_reset(void);

#endif
