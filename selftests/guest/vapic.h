/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual APIC: EOI, ICR and TPR as MSRs, beside xAPIC and beside x2APIC, and the VP assist
 * page with its "no EOI required" bit. Interrupts are edge-triggered unless a case says
 * otherwise; counts are exact.
 */
#ifndef KHV_SELFTEST_VAPIC_H
#define KHV_SELFTEST_VAPIC_H

#include "apic.h"
#include "vm.h"

#define ASSIST_ENABLE BIT64(0)
#define ASSIST_RSVD   0xffeULL /* 11:1, RsvdP */
#define NO_EOI	      1u       /* bit 0 of the page */

#define LOW  0x51u
#define HIGH 0x61u

struct assist_page {
	volatile u32 apic;
	volatile u8 rest[PAGE_SIZE - 4];
};

/* VP assist pages, parts of the program's image. */
extern struct assist_page assist, assist2;

/* Guest: has KVM said that the interrupt needs no EOI? */
static inline bool test_and_clear_no_eoi(struct assist_page *p)
{
	bool set;

	asm volatile("lock btrl $0, %0\n\tsetc %1" : "+m"(p->apic), "=qm"(set) : : "cc", "memory");
	return set;
}

/* Guest: send @vector to itself by HV_X64_MSR_ICR. */
void self_ipi(u32 vector);
/* Guest, handler: count the interrupt and end it by HV_X64_MSR_EOI. */
void count_and_eoi(struct guest_frame *f);
/* Host: run @entry on the one VP of a VM. */
void vapic_run(void (*entry)(void));

#endif
