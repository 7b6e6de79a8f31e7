/* SPDX-License-Identifier: GPL-2.0-only */
/* Decisions about a local APIC's registers, without KVM. Pure. */
#ifndef KHV_LAPIC_H
#define KHV_LAPIC_H

#include <linux/bitops.h>
#include <linux/types.h>

/* A bitmap of vectors has eight 32-bit words, this many bytes apart. */
#define KHV_LAPIC_WORD 0x10

/**
 * enum khv_eoi_effect - state that an EOI must update besides the ISR bit
 * @KHV_EOI_COUNT: KVM's count of interrupts in service, and its cache of the highest vector
 * @KHV_EOI_SVI: the CPU's copy of the highest vector (SVI in Intel's guest interrupt status)
 */
enum khv_eoi_effect {
	KHV_EOI_COUNT = BIT(0),
	KHV_EOI_SVI = BIT(1),
};

/**
 * khv_eoi_effects() - find which copies of the interrupt state an EOI must update
 * @apicv: the CPU delivers interrupts to the VP (APICv or AVIC), which neither AutoEOI nor another
 *	reason inhibits at the moment
 * @svm: the CPU is AMD's
 *
 * AVIC keeps no copy: VMRUN evaluates the APIC backing page itself (AMD APM 15.29).
 *
 * Return: &enum khv_eoi_effect bits.
 */
static inline unsigned int khv_eoi_effects(bool apicv, bool svm)
{
	if (!apicv)
		return KHV_EOI_COUNT;
	return svm ? 0 : KHV_EOI_SVI;
}

/**
 * khv_lapic_highest() - find the highest vector in a bitmap of an APIC page
 * @bitmap: first word of the bitmap
 *
 * Return: the vector, or -1.
 */
static inline int khv_lapic_highest(const void *bitmap)
{
	int i;

	for (i = 7; i >= 0; i--) {
		u32 word = *(const u32 *)(bitmap + i * KHV_LAPIC_WORD);

		if (word)
			return i * 32 + __fls(word);
	}
	return -1;
}

#endif
