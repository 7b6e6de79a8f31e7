/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local APIC as the bare guest uses it (xAPIC, at its reset address), and
 * interrupt handlers that count. Guest code only.
 */
#ifndef KHV_SELFTEST_APIC_H
#define KHV_SELFTEST_APIC_H

#include "guest.h"

#define APIC_BASE     0xfee00000UL
#define APIC_EOI      0xb0
#define APIC_SPIV     0xf0
#define APIC_ISR      0x100
#define APIC_IRR      0x200
#define APIC_SPIV_ON  0x1ff
#define APIC_SPIV_OFF 0x0ff

static inline u32 apic_read(u32 reg)
{
	u32 val;

	/* KVM emulates the instruction: keep it the plainest there is. */
	asm volatile("movl (%1), %0" : "=a"(val) : "r"(APIC_BASE + reg) : "memory");
	return val;
}

static inline void apic_write(u32 reg, u32 val)
{
	asm volatile("movl %0, (%1)" : : "a"(val), "r"(APIC_BASE + reg) : "memory");
}

/* Is @vector set in the 256 bits at @reg (APIC_ISR, APIC_IRR)? */
static inline bool apic_vector(u32 reg, u32 vector)
{
	return apic_read(reg + (vector / 32) * 0x10) >> (vector % 32) & 1;
}

/* After reset the APIC is software-disabled. */
static inline void apic_enable(void)
{
	apic_write(APIC_SPIV, APIC_SPIV_ON);
}

static inline void apic_disable(void)
{
	apic_write(APIC_SPIV, APIC_SPIV_OFF);
}

static inline void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static inline void irqs_on(void)
{
	asm volatile("sti" : : : "memory");
}

static inline void irqs_off(void)
{
	asm volatile("cli" : : : "memory");
}

/* Take what is pending, and be off again. */
static inline void irqs_window(void)
{
	asm volatile("sti; nop; nop; cli" : : : "memory");
}

/* Halt until an interrupt was taken. */
static inline void irqs_halt(void)
{
	asm volatile("sti; hlt; cli" : : : "memory");
}

/* Interrupts taken, by vector; all vCPUs of the case together. */
extern volatile u32 guest_irqs[256];

/* For guest_irq_handlers[]. */
void guest_irq_count(struct guest_frame *f);	    /* count, EOI */
void guest_irq_count_no_eoi(struct guest_frame *f); /* count only */

#endif
