/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Switch and drain of the take-over, for hyperv/main.c.
 */
#ifndef KHV_TAKEOVER_H
#define KHV_TAKEOVER_H

#include <linux/types.h>

/* Whether new VMs become ours; may change at any time. */
extern bool khv_takeover;

/* Every hook stands; set and cleared by hyperv/main.c. */
extern bool khv_hooked;

/**
 * khv_takeover_drain() - wait until nobody is inside a replacement
 *
 * Call with the hooks removed. Context: may sleep.
 */
void khv_takeover_drain(void);

#endif
