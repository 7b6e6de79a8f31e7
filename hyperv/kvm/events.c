// SPDX-License-Identifier: GPL-2.0-only
/* KVM's tracepoints, found by name at load. */
#include <linux/kvm_host.h>
#include <linux/tracepoint.h>

#include "khv/events.h"
#include "khv/port.h"

const struct tracepoint *khv_exit_event, *khv_msr_event, *khv_nested_vmexit_event, *khv_eoi_event,
	*khv_apic_event, *khv_apic_ipi_event, *khv_accept_event;

int khv_events_find(void (*report)(const char *name, const char *why))
{
	khv_exit_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_exit");
	khv_msr_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_msr");
	khv_nested_vmexit_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_nested_vmexit");
	khv_eoi_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_eoi");
	khv_apic_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_apic");
	khv_apic_ipi_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_apic_ipi");
	khv_accept_event = (void *)khv_symbol("kvm", "__tracepoint_kvm_apic_accept_irq");
	if (khv_exit_event && khv_msr_event && khv_nested_vmexit_event && khv_eoi_event &&
	    khv_apic_event && khv_apic_ipi_event && khv_accept_event)
		return 0;
	report("kvm_msr, kvm_exit, kvm_nested_vmexit, kvm_eoi, kvm_apic*",
	       "tracepoints that the fast path must not bypass");
	return 1;
}
