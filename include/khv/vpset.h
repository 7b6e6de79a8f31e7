/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets of VPs in a hypercall's input. A walk visits the named VPs only: its cost follows the number
 * of targets, not the number of vCPUs. Pure: the VPs need not exist. TLFS chapter "Virtual
 * Processors", "Virtual Processor Sets".
 */
#ifndef KHV_VPSET_H
#define KHV_VPSET_H

#include <linux/bitops.h>

#include "khv/hcall.h"

#define VPS_PER_BANK 64

/**
 * struct khv_vpset - a set of VPs, and the state of a walk over it
 * @all: all VPs; the other members are unused then
 * @banks: banks of 64 VPs that the walk has not begun, one bit each
 * @contents: bitmaps of VPs, one word per bit set in @banks
 * @vps: VPs of the current bank that the walk has not visited, one bit each
 * @base: VP index of bit 0 of @vps
 */
struct khv_vpset {
	bool all;
	u64 banks;
	const u64 *contents;
	u64 vps;
	u32 base;
};

/**
 * khv_vpset_mask() - build the set of a hypercall with a plain processor mask
 * @set: result
 * @mask: VPs 0 to 63, one bit each
 *
 * Context: any.
 */
void khv_vpset_mask(struct khv_vpset *set, u64 mask);

/**
 * khv_vpset_parse() - build the set of a hypercall with an HV_VP_SET
 * @set: result; points into @wire
 * @wire: the HV_VP_SET in the gathered input, followed by its banks
 * @hc: the hypercall; its variable header holds the banks
 *
 * Return: HV_STATUS_SUCCESS, HV_STATUS_INVALID_HYPERCALL_INPUT if the variable header does not
 * match the number of valid banks, HV_STATUS_INVALID_PARAMETER for a format that the TLFS does not
 * define. Context: any.
 */
u16 khv_vpset_parse(struct khv_vpset *set, const struct khv_vp_set *wire,
		    const struct khv_hcall *hc);

/**
 * khv_vpset_next() - advance to the next VP of a set that is not "all"
 * @set: the set, with the state of the walk
 * @vp_index: set to the VP's index, 0 to 4095
 *
 * Return: false at the end. Context: any.
 */
static inline bool khv_vpset_next(struct khv_vpset *set, u32 *vp_index)
{
	while (!set->vps) {
		if (!set->banks)
			return false;
		set->base = __ffs64(set->banks) * VPS_PER_BANK;
		set->banks &= set->banks - 1;
		set->vps = *set->contents++;
	}
	*vp_index = set->base + __ffs64(set->vps);
	set->vps &= set->vps - 1;
	return true;
}

/**
 * khv_vpset_has() - does a set contain this VP?
 * @set: parsed and not yet walked
 * @vp_index: VP index, any number
 *
 * Return: true if it does. Context: any.
 */
bool khv_vpset_has(const struct khv_vpset *set, u32 vp_index);

/* Number of VPs that the fast path may examine, and send an interrupt to, with interrupts off. */
#define KHV_FAST_TARGETS (3 * VPS_PER_BANK)

/**
 * khv_vpset_few() - is a set small enough to be walked with interrupts off?
 * @set: parsed and not yet walked
 * @vcpus: number of vCPUs of the VM
 *
 * Return: true if it names at most KHV_FAST_TARGETS VPs. Context: any.
 */
static inline bool khv_vpset_few(const struct khv_vpset *set, u32 vcpus)
{
	return set->all ? vcpus <= KHV_FAST_TARGETS :
			  hweight64(set->banks) <= KHV_FAST_TARGETS / VPS_PER_BANK;
}

#endif
