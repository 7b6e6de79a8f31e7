/* SPDX-License-Identifier: GPL-2.0-only */
/* The exit fast path: switch, installation and removal. The tables say what it answers. */
#ifndef KHV_FASTPATH_H
#define KHV_FASTPATH_H

#include <linux/types.h>

/* Are exits answered in the fast path? May change at any time. */
extern bool khv_fastpath;

/**
 * khv_fastpath_switched() - make the fast path follow khv_fastpath after a write to it
 *
 * Context: may sleep. Calls must not overlap.
 */
void khv_fastpath_switched(void);

/**
 * khv_fastpath_check() - find the symbols that the fast path needs, without changing anything
 * @report: called once per missing name, with its purpose
 *
 * Call after khv_imports_find(). Context: module load, may sleep.
 * Return: number of missing names.
 */
int khv_fastpath_check(void (*report)(const char *name, const char *why));

/**
 * khv_fastpath_install() - replace KVM's static call to the vendor's vcpu_run()
 *
 * Where that is not safe, logs the reason and does nothing.
 * Context: may sleep.
 */
void khv_fastpath_install(void);

/* Why this host has no exit fast path, or NULL; valid from khv_fastpath_install() on. */
extern const char *khv_fastpath_missing;

/**
 * khv_fastpath_remove() - restore KVM's static call
 *
 * Returns once no CPU executes the replacement. No owned VM may exist. Context: may sleep.
 */
void khv_fastpath_remove(void);

#endif
