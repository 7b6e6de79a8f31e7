/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets of VPs in a hypercall's input, walked by the VPs they name: the cost follows
 * the number of targets, never the number of vCPUs. Pure: the VPs need not exist.
 * TLFS chapter "Virtual Processors", "Virtual Processor Sets".
 */
#ifndef KHV_VPSET_H
#define KHV_VPSET_H

#include <linux/bitops.h>

#include "khv/hcall.h"

#define VPS_PER_BANK 64

/**
 * struct khv_vpset - a set of VPs, and where a walk over it stands
 * @all: every VP there is; the rest is unused
 * @banks: banks of 64 VPs not yet begun, one bit each
 * @contents: the VPs of the first of them, one word for each further one
 * @vps: VPs of the current bank not yet named, one bit each
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
 * khv_vpset_mask() - the set of the calls with a plain processor mask
 * @set: result
 * @mask: VPs 0 to 63, one bit each
 */
void khv_vpset_mask(struct khv_vpset *set, u64 mask);

/**
 * khv_vpset_parse() - the set of the calls with an HV_VP_SET
 * @set: result; refers to @wire
 * @wire: header of the set in the gathered input, its banks behind it
 * @hc: the call; its variable header is the banks
 *
 * Return: HV_STATUS_SUCCESS, HV_STATUS_INVALID_HYPERCALL_INPUT when the variable
 * header does not match the banks that are valid, HV_STATUS_INVALID_PARAMETER for
 * a format that the TLFS does not have. Context: any.
 */
u16 khv_vpset_parse(struct khv_vpset *set, const struct khv_vp_set *wire,
		    const struct khv_hcall *hc);

/**
 * khv_vpset_next() - the next VP of a set that is not "all"
 * @set: the set; the walk goes on where it stood
 * @vp_index: the VP, 0 to 4095
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
 * khv_vpset_has() - does a set name this VP?
 * @set: parsed and not yet walked
 * @vp_index: any number
 *
 * Return: true if it does. Context: any.
 */
bool khv_vpset_has(const struct khv_vpset *set, u32 vp_index);

/* So many VPs may be looked at, and sent an interrupt each, with interrupts off. */
#define KHV_FAST_TARGETS (3 * VPS_PER_BANK)

/**
 * khv_vpset_few() - no more VPs than may be walked with interrupts off?
 * @set: parsed and not yet walked
 * @vcpus: vCPUs of the VM
 *
 * Return: true for at most KHV_FAST_TARGETS of them.
 */
static inline bool khv_vpset_few(const struct khv_vpset *set, u32 vcpus)
{
	return set->all ? vcpus <= KHV_FAST_TARGETS :
			  hweight64(set->banks) <= KHV_FAST_TARGETS / VPS_PER_BANK;
}

#endif
