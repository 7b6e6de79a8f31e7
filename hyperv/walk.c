// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walk a guest's page tables with interrupts off, for an address that the CPU has just used. KVM's
 * walker may sleep: it sets accessed bits, and tries again when it loses against another VP. Here
 * an entry that would have to be written, or is not plainly valid, ends the walk, and KVM's own
 * does it on the slow path.
 */
#include <asm/vmx.h>

#include "khv/port.h"

#define ENTRY_ADDRESS GENMASK_ULL(51, PAGE_SHIFT)
#define ENTRY_HUGE    BIT_ULL(7)
#define INDEX_BITS    9
#define MIN_LEVELS    4
#define MAX_HUGE      3 /* 1 GB */

/* Of an entry that points to a table: 6:3 are reserved. Of one that maps: a memory type in 5:3. */
#define EPT_TABLE_RESERVED GENMASK_ULL(6, 3)

static bool ept_type_valid(u64 entry)
{
	u64 type = (entry & VMX_EPT_MT_MASK) >> VMX_EPT_MT_EPTE_SHIFT;

	return type != 2 && type != 3 && type != 7;
}

static gpa_t mapped(u64 entry, u64 addr, int shift, bool ept)
{
	u64 offset = GENMASK_ULL(shift - 1, 0);
	u64 reserved = offset & ENTRY_ADDRESS;

	/* Bit 12 of a large page is PAT there. */
	if (!ept && shift > PAGE_SHIFT)
		reserved &= ~BIT_ULL(PAGE_SHIFT);
	if ((entry & reserved) || (ept && !ept_type_valid(entry)))
		return INVALID_GPA;
	return (entry & ENTRY_ADDRESS & ~offset) | (addr & offset);
}

static gpa_t below(struct kvm_vcpu *vcpu, const struct khv_tables *t, gpa_t gpa)
{
	return t->below && gpa != INVALID_GPA ? khv_walk_nofault(vcpu, t->below, gpa) : gpa;
}

gpa_t khv_walk_nofault(struct kvm_vcpu *vcpu, const struct khv_tables *t, u64 addr)
{
	u64 table = t->root & ENTRY_ADDRESS, entry;
	int level, shift;
	gpa_t at;

	if (t->levels < MIN_LEVELS)
		return INVALID_GPA;
	for (level = t->levels; level > 0; level--) {
		shift = PAGE_SHIFT + (level - 1) * INDEX_BITS;
		at = below(vcpu, t, table + (addr >> shift) % BIT(INDEX_BITS) * sizeof(entry));
		if (at == INVALID_GPA ||
		    khv_kvm_vcpu_read_guest_atomic(vcpu, at, &entry, sizeof(entry)) ||
		    (entry & t->need) != t->need)
			return INVALID_GPA;
		if (level == 1 || (entry & ENTRY_HUGE)) {
			if (level > MAX_HUGE)
				return INVALID_GPA;
			return below(vcpu, t, mapped(entry, addr, shift, t->ept));
		}
		if (t->ept && (entry & EPT_TABLE_RESERVED))
			return INVALID_GPA;
		table = entry & ENTRY_ADDRESS;
	}
	return INVALID_GPA;
}
