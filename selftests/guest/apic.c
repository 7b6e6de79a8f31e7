// SPDX-License-Identifier: GPL-2.0-only
/* Counting interrupt handlers of the bare guest. Guest code only. */
#include "apic.h"

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
