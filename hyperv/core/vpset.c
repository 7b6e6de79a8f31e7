// SPDX-License-Identifier: GPL-2.0-only
/* Sets of VPs: parse a set and test membership. Pure: the caller finds out which VPs exist. */
#include <linux/bitops.h>
#include <linux/kernel.h>

#include "khv/vpset.h"

void khv_vpset_mask(struct khv_vpset *set, u64 mask)
{
	*set = (struct khv_vpset){ .vps = mask };
}

u16 khv_vpset_parse(struct khv_vpset *set, const struct khv_vp_set *wire,
		    const struct khv_hcall *hc)
{
	if (hc->varhdr != hweight64(wire->valid_bank_mask))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (wire->format != KHV_VP_SET_SPARSE_4K && wire->format != KHV_VP_SET_ALL)
		return HV_STATUS_INVALID_PARAMETER;

	*set = (struct khv_vpset){
		.all = wire->format == KHV_VP_SET_ALL,
		.banks = wire->valid_bank_mask,
		.contents = wire->bank_contents,
	};
	return HV_STATUS_SUCCESS;
}

bool khv_vpset_has(const struct khv_vpset *set, u32 vp_index)
{
	u32 bank = vp_index / VPS_PER_BANK;
	u64 vps = 0;

	if (set->all)
		return true;
	if (!set->banks)
		vps = bank ? 0 : set->vps;
	else if (bank < 64 && (set->banks & BIT_ULL(bank)))
		vps = set->contents[hweight64(set->banks & (BIT_ULL(bank) - 1))];
	return vps & BIT_ULL(vp_index % VPS_PER_BANK);
}
