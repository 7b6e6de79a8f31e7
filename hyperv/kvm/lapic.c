// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts that parts send to KVM's local APIC. */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>

#include "khv/apic.h"
#include "khv/events.h"
#include "khv/lapic.h"
#include "khv/port.h"

/* Mirrors __apic_accept_irq() for APIC_DM_FIXED. */
bool khv_apic_post(struct kvm_vcpu *vcpu, u8 vector)
{
	struct khv_kvm_lapic *apic = (void *)vcpu->arch.apic;
	unsigned long *tmr;

	if (unlikely(!apic))
		return false;
	if (unlikely(apic->vcpu != vcpu || khv_accept_traced())) {
		struct kvm_lapic_irq irq = {
			.delivery_mode = APIC_DM_FIXED,
			.vector = vector,
		};

		return khv_kvm_apic_set_irq(vcpu, &irq, NULL);
	}
	if (!khv_apic_enabled(vcpu, apic))
		return false;
	tmr = (unsigned long *)khv_lapic_reg(apic, APIC_TMR + vector / 32 * KHV_LAPIC_WORD);
	if (unlikely(test_bit(vector % 32, tmr)))
		clear_bit(vector % 32, tmr);
	static_call(khv_x86_deliver_interrupt)((void *)apic, APIC_DM_FIXED, 0, vector);
	return true;
}
