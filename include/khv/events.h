/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM's tracepoints that only KVM's own code emits: while one is enabled, what it covers is left to
 * KVM.
 */
#ifndef KHV_EVENTS_H
#define KHV_EVENTS_H

#include <linux/atomic.h>
#include <linux/tracepoint-defs.h>
#include <linux/types.h>

#include "compat/tracepoint.h"

/*
 * Tracepoints kvm_exit, kvm_msr, kvm_nested_vmexit, kvm_eoi, kvm_apic, kvm_apic_ipi and
 * kvm_apic_accept_irq. Valid from khv_events_find() to unload.
 */
extern const struct tracepoint *khv_exit_event, *khv_msr_event, *khv_nested_vmexit_event,
	*khv_eoi_event, *khv_apic_event, *khv_apic_ipi_event, *khv_accept_event;

/**
 * khv_events_find() - find KVM's tracepoints
 * @report: called once if one is missing, with the purpose
 *
 * Call while khv_symbol() works for KVM. Context: module load, may sleep.
 * Return: 0, or 1 if one is missing.
 */
int khv_events_find(void (*report)(const char *name, const char *why));

/**
 * khv_event_on() - is a KVM tracepoint enabled?
 * @event: the tracepoint
 *
 * Return: nonzero if it is. Context: any.
 */
static __always_inline int khv_event_on(const struct tracepoint *event)
{
	return khv_tracepoint_enabled(event);
}

/**
 * khv_apic_traced() - is an access to KVM's local APIC traced?
 *
 * Return: true if so. kvm_eoi, kvm_apic and kvm_apic_ipi are emitted by KVM's local APIC only, so
 * the access must be left to it. Context: any.
 */
static __always_inline bool khv_apic_traced(void)
{
	return khv_event_on(khv_eoi_event) | khv_event_on(khv_apic_event) |
	       khv_event_on(khv_apic_ipi_event);
}

/**
 * khv_accept_traced() - is the acceptance of interrupts by KVM's local APICs traced?
 *
 * Return: true if so, see khv_apic_traced(). Context: any.
 */
static __always_inline bool khv_accept_traced(void)
{
	return khv_event_on(khv_accept_event);
}

#endif
