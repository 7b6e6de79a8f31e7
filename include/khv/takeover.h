/* SPDX-License-Identifier: GPL-2.0-only */
/* Switches and drain of the takeover, for hyperv/takeover/main.c. */
#ifndef KHV_TAKEOVER_H
#define KHV_TAKEOVER_H

#include <linux/types.h>

/* Does the module take over new VMs? May change at any time. */
extern bool khv_takeover;

/* All hooks are installed. Set and cleared by hyperv/takeover/main.c. */
extern bool khv_hooked;

/**
 * khv_takeover_settle() - wait until no task creates or destroys a VM that it has begun to
 *
 * Who has seen khv_hooked set has taken over its VM by then. Context: may sleep.
 */
void khv_takeover_settle(void);

/**
 * khv_takeover_drain() - wait until no task executes a replacement
 *
 * Call after the hooks are removed. Context: may sleep.
 */
void khv_takeover_drain(void);

#endif
