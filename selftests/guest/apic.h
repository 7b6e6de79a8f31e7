/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local APIC as the bare guest uses it, and interrupt handlers that count. Guest code, but
 * for IN_BOTH_MODES().
 */
#ifndef KHV_SELFTEST_APIC_H
#define KHV_SELFTEST_APIC_H

#include "guest.h"

#define APIC_BASE     0xfee00000UL
#define APIC_ID	      0x20
#define APIC_TPR      0x80
#define APIC_PPR      0xa0
#define APIC_EOI      0xb0
#define APIC_SPIV     0xf0
#define APIC_ISR      0x100
#define APIC_IRR      0x200
#define APIC_ICR      0x300
#define APIC_ICR2     0x310
#define APIC_LVTT     0x320
#define APIC_TMICT    0x380
#define APIC_TDCR     0x3e0
#define APIC_SPIV_ON  0x1ff
#define APIC_SPIV_OFF 0x0ff

#define IOAPIC		  0xfec00000UL
#define IOAPIC_REMOTE_IRR BIT64(14)
#define IOAPIC_LEVEL	  BIT64(15)
/* The two words of a pin's entry. */
#define IOAPIC_LOW(pin)	  (0x10 + 2 * (pin))
#define IOAPIC_HIGH(pin)  (0x11 + 2 * (pin))

#define MSR_IA32_TSC_DEADLINE 0x6e0u
#define APIC_LVTT_DEADLINE    (2u << 17)
#define APIC_DIVIDE_BY_1      0xb
#define CPUID_TSC_DEADLINE    BIT64(24) /* of 1.ECX */

#define ICR_ASSERT BIT64(14)
#define ICR_SELF   BIT64(18)
#define ICR_ALL	   (2ULL << 18)
#define ICR_OTHERS (3ULL << 18)

/* The value of HV_X64_MSR_ICR, in xAPIC mode: an edge-triggered, fixed interrupt. */
#define ICR_TO(id, vector) ((u64)(id) << 56 | 1 << 14 | (vector))

#define MSR_APIC_BASE	     0x1bu
#define MSR_APIC_BASE_X2APIC BIT64(10)
#define MSR_APIC_BASE_ENABLE BIT64(11)
#define MSR_X2APIC	     0x800u
#define MSR_X2APIC_SELF_IPI  0x83fu

/* xAPIC, at its reset address. */

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

/* In the mode of the case. */

extern bool x2apic;

/* Enable it, and enter the mode. */
void apic_start(void);

static inline u32 reg_read(u32 reg)
{
	return x2apic ? (u32)rdmsr(MSR_X2APIC + reg / 16) : apic_read(reg);
}

static inline void reg_write(u32 reg, u32 val)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, val);
	else
		apic_write(reg, val);
}

/* Is @vector set in the 256 bits at @reg (APIC_ISR, APIC_IRR)? */
static inline bool reg_vector(u32 reg, u32 vector)
{
	return reg_read(reg + vector / 32 * 0x10) >> (vector % 32) & 1;
}

static inline bool in_service(u32 vector)
{
	return reg_vector(APIC_ISR, vector);
}

static inline bool requested(u32 vector)
{
	return reg_vector(APIC_IRR, vector);
}

/* An edge-triggered, fixed interrupt to the APIC with the ID @dest. */
static inline u64 icr_to(u32 dest, u32 vector)
{
	return (u64)dest << (x2apic ? 32 : 56) | ICR_ASSERT | vector;
}

static inline u64 read_cr8(void)
{
	u64 val;

	asm volatile("mov %%cr8, %0" : "=r"(val) : : "memory");
	return val;
}

static inline void write_cr8(u64 val)
{
	asm volatile("mov %0, %%cr8" : : "r"(val) : "memory");
}

/* Host code: two cases of one function. */
#define IN_BOTH_MODES(name)     \
	static void name(void); \
	TEST(name##_xapic)      \
	{                       \
		x2apic = false; \
		name();         \
	}                       \
	TEST(name##_x2apic)     \
	{                       \
		x2apic = true;  \
		name();         \
	}                       \
	static void name(void)

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

/* Guest: a register of the I/O APIC, by its index. */
static inline u32 ioapic_read(u32 reg)
{
	u32 val;

	asm volatile("movl %0, (%1)" : : "a"(reg), "r"(IOAPIC) : "memory");
	asm volatile("movl (%1), %0" : "=a"(val) : "r"(IOAPIC + 0x10) : "memory");
	return val;
}

static inline void ioapic_write(u32 reg, u32 val)
{
	asm volatile("movl %0, (%1)" : : "a"(reg), "r"(IOAPIC) : "memory");
	asm volatile("movl %0, (%1)" : : "a"(val), "r"(IOAPIC + 0x10) : "memory");
}

#endif
