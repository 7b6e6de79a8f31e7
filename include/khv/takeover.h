/* SPDX-License-Identifier: GPL-2.0-only */
/* Switches and drain of the takeover, for hyperv/takeover/main.c. */
#ifndef KHV_TAKEOVER_H
#define KHV_TAKEOVER_H

#include <linux/atomic.h>
#include <linux/types.h>

/* Does the module take over new VMs? May change at any time. */
extern bool khv_takeover;

/**
 * enum khv_left - why a new VM stays with KVM
 * @KHV_LEFT_TAKEOVER: the parameter takeover is 0
 * @KHV_LEFT_PROTECTED: the host cannot read its state, see khv_is_protected()
 * @KHV_LEFT_MEMORY: no memory for its state
 * @KHV_LEFT_UNLOADING: the module is not active yet, or is being removed
 * @KHV_NR_LEFT: number of the above
 */
enum khv_left {
	KHV_LEFT_TAKEOVER,
	KHV_LEFT_PROTECTED,
	KHV_LEFT_MEMORY,
	KHV_LEFT_UNLOADING,
	KHV_NR_LEFT,
};

/* VMs that were left to KVM since the load, for reports. */
extern atomic_t khv_left[KHV_NR_LEFT];

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
