/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The exit fast path: installation. What it answers is said by the tables.
 */
#ifndef KHV_FASTPATH_H
#define KHV_FASTPATH_H

#include <linux/percpu.h>
#include <linux/types.h>

struct kvm_vcpu;

/* Whether exits are answered in the fast path; can be changed at any time. */
extern bool khv_fastpath;

/*
 * The vCPU of ours that this CPU runs, or NULL. Written by khv_run() and its preempt notifier
 * with preemption off.
 */
DECLARE_PER_CPU(struct kvm_vcpu *, khv_running);

/**
 * khv_apic_traced() - does somebody trace accesses to KVM's local APIC?
 *
 * Return: true if so: kvm_eoi, kvm_apic and kvm_apic_ipi come from KVM's APIC alone.
 * Context: any.
 */
bool khv_apic_traced(void);

/**
 * khv_accept_traced() - does somebody trace what KVM's local APICs accept?
 *
 * Return: true if so, see khv_apic_traced(). Context: any.
 */
bool khv_accept_traced(void);

/**
 * khv_fastpath_check() - find what the fast path needs, without changing anything
 * @report: called once per missing name, with what it is for
 *
 * After khv_imports_resolve(). Context: module load, may sleep.
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
