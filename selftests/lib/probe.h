/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM told the CPU to invalidate before it let a guest go on: kprobes on the vendor
 * module's two functions for that, and on this module's own. An emulated CPU forgets all
 * translations when it enters a guest, so what a guest reads cannot show a flush that is missing.
 */
#ifndef KHV_SELFTEST_PROBE_H
#define KHV_SELFTEST_PROBE_H

#include "uapi.h"

struct invalidation {
	u64 vcpu; /* address of the struct kvm_vcpu */
	u64 gva;
	bool all;
	bool non_global; /* all but global pages, which only the module does */
	u32 cpu;	 /* that did it */
};

/* What the last probes_read() found. */
extern struct invalidation invalidations[];
extern u32 nr_invalidations;
/* How often the CPU could keep global entries. */
extern u32 nr_kept;

/* By main(): ktap_main() with the probes installed. */
int probes_main(int argc, char **argv);
/* Skip the case where there are none. */
void probes_require(void);
/* Everything since the last look. */
void probes_read(void);

/* Was @gva's page (of 1 << @shift bytes), or everything, invalidated for @vcpu? */
/* Intel: flushes of one context of the CPU, and of all of them, of whatever VM; else 0. */
enum { HITS_CURRENT, HITS_EVERYTHING, NR_HITS };
void probes_hits(u64 hits[NR_HITS]);

bool invalidated_page(u64 vcpu, u64 gva, u32 shift);
u32 invalidated_all(u64 vcpu);
u32 invalidated_non_global(u64 vcpu);

#endif
