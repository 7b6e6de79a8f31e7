/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The exit fast path: installation. What it answers is said by the tables.
 */
#ifndef KHV_FASTPATH_H
#define KHV_FASTPATH_H

#include <linux/percpu.h>
#include <linux/tracepoint-defs.h>
#include <linux/types.h>

struct kvm_vcpu;

/* Whether exits are answered in the fast path; can be changed at any time. */
extern bool khv_fastpath;

/**
 * khv_fastpath_switched() - khv_fastpath was written
 *
 * Context: may sleep; calls do not overlap.
 */
void khv_fastpath_switched(void);

/*
 * The vCPU of ours that this CPU runs, or NULL. Written by khv_run() and its preempt notifier
 * with preemption off.
 */
DECLARE_PER_CPU(struct kvm_vcpu *, khv_running);

/* KVM's events kvm_eoi, kvm_apic, kvm_apic_ipi and kvm_apic_accept_irq. */
extern const struct tracepoint *khv_eoi_event, *khv_apic_event, *khv_apic_ipi_event,
	*khv_accept_event;

/**
 * khv_event_on() - is an event of KVM's traced?
 * @event: the event, found at load
 *
 * Return: not 0 if so. Context: any.
 */
static __always_inline int khv_event_on(const struct tracepoint *event)
{
	return atomic_read(&event->key.enabled);
}

/**
 * khv_apic_traced() - does somebody trace accesses to KVM's local APIC?
 *
 * Return: true if so: kvm_eoi, kvm_apic and kvm_apic_ipi come from KVM's APIC alone.
 * Context: any.
 */
static __always_inline bool khv_apic_traced(void)
{
	return khv_event_on(khv_eoi_event) | khv_event_on(khv_apic_event) |
	       khv_event_on(khv_apic_ipi_event);
}

/**
 * khv_accept_traced() - does somebody trace what KVM's local APICs accept?
 *
 * Return: true if so, see khv_apic_traced(). Context: any.
 */
static __always_inline bool khv_accept_traced(void)
{
	return khv_event_on(khv_accept_event);
}

/**
 * khv_fastpath_check() - find what the fast path needs, without changing anything
 * @report: called once per missing name, with what it is for
 *
 * After khv_imports_find(). Context: module load, may sleep.
 * Return: number of missing names.
 */
int khv_fastpath_check(void (*report)(const char *name, const char *why));

/**
 * khv_fastpath_install() - stand between KVM and its vendor module
 *
 * A host on which that is not safe is named in the log and goes without.
 * Context: may sleep.
 */
void khv_fastpath_install(void);

/**
 * khv_fastpath_remove() - put KVM's call back
 *
 * Returns when nobody is inside. No VM of ours exists. Context: may sleep.
 */
void khv_fastpath_remove(void);

#endif
