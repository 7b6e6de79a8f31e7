// SPDX-License-Identifier: GPL-2.0-only
/* The local APIC's mode, and counting interrupt handlers of the bare guest. Guest code only. */
#include "apic.h"

bool x2apic;

void apic_start(void)
{
	if (!x2apic) {
		apic_enable();
		return;
	}
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | MSR_APIC_BASE_X2APIC);
	wrmsr(MSR_X2APIC + APIC_SPIV / 16, APIC_SPIV_ON);
}

volatile u32 guest_irqs[256];

void guest_irq_count(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	apic_eoi();
}

void guest_irq_count_no_eoi(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
}
