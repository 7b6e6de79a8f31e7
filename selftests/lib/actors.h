/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module comes and goes on a host that is at work: loads and removals that are judged by what
 * the others do meanwhile, who are VMs, tracers of KVM's functions, and the vendor's module.
 *
 * Each of them publishes a word: a state, and above it how often that has changed. Equal words
 * before and after something are the same state all the while; only one outcome is legal then. If
 * somebody moved, each may come.
 */
#ifndef KHV_SELFTEST_ACTORS_H
#define KHV_SELFTEST_ACTORS_H

#include "text.h"
#include "tracer.h"
#include "uapi.h"

enum { OUT, COMING, IN, GOING };	   /* a module */
enum { NO_VM, VM_CHANGES, STOCKS, OWNED }; /* VMs that come and go */
enum { OFF_SITE, SITE_CHANGES, ON_SITE };  /* what a slot's tracer has of a function */

/* Who attaches one tracer at a time. */
struct slot {
	u64 word;
	struct tracer *tracer;
	const char *function;
	bool takes_site;
};

enum { SLOT_A, SLOT_B, NR_SLOTS };

extern u64 module_word, vendor_word, vm_word;
extern struct slot slots[NR_SLOTS];

u32 state_of(u64 word);
void publish(u64 *word, u32 state);
u64 look(const u64 *word);

/* Who has to get on: whoever makes no step for a while has its stack printed. */
enum { ACTOR_MAIN, ACTOR_A, ACTOR_B, ACTOR_VMS, NR_ACTORS };

extern volatile u32 steps[NR_ACTORS];

/* What has come of it. */
struct outcomes {
	u32 loaded, refused, no_vendor; /* loads */
	u32 removed, kept;		/* removals */
};

extern struct outcomes met;
/* Times that each tracer was attached, with the module out and in. */
extern u32 attached[][2];

/*
 * In each case, before anything else: the module is out, no tracer is attached, and KVM's code is
 * as before the first load.
 */
void actors_begin(unsigned int seconds);
/* Insert the module; false if that was refused, and legal. */
bool load(void);
/* Remove it; false if it was kept, and that was legal. */
bool unload(void);

/* The functions that the module replaces, known after a load. */
extern char hooked[64][64];
extern u32 nr_hooked;
bool is_hooked(const char *function);

/* A tracer is never refused. */
void attach(struct slot *s, struct tracer *t, const char *function);
void detach(struct slot *s);

/* By its names as a module, and as a file. */
const char *vendor_module(void);
const char *vendor_file(void);
bool vendor_loaded(void);
/* Once, before the first removal: its parameters, which each insertion gives back. */
void vendor_remember(void);
/* 0 or -errno. */
int vendor_remove(void);
void vendor_insert(void);

/*
 * Remember the code of KVM, once, before the first load. No VM exists, and what others have left
 * settles.
 */
void code_remember(void);
/* It is as before, soon; while there are VMs, but for static keys. */
void code_is_as_before(void);
void code_is_as_before_but_static_keys(void);

#endif
