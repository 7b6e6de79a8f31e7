/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections: HvPostMessage and HvSignalEvent. */
#ifndef KHV_CONNECTION_H
#define KHV_CONNECTION_H

#include "khv/state.h"

/*
 * A flag of KVM_HYPERV_EVENTFD that no KVM has: the eventfd is signalled whenever the VP with the
 * index conn_id writes HV_X64_MSR_EOM. TLFS chapter "Inter-Partition Communication"; features.rst.
 */
#define KHV_EVENTFD_EOM BIT(31)

/**
 * khv_connection_eventfd() - handle KVM_HYPERV_EVENTFD
 * @kvm: an owned VM
 * @args: user space's arguments
 *
 * Return: 0, -EINVAL for unknown flags or a connection id beyond 24 bits, -EBADF or -EINVAL if the
 * file descriptor is not an eventfd, -EEXIST, -ENOENT, also if there is no such VP, -ENOMEM.
 * Context: may sleep.
 */
int khv_connection_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args);

/**
 * khv_eom_event_signal() - tell user space of an EOM
 * @vp: VP whose guest writes HV_X64_MSR_EOM
 *
 * Context: the VP's thread, interrupts may be off.
 */
void khv_eom_event_signal(struct khv_vcpu *vp);

/**
 * khv_eom_event_uninit() - let go of the VP's eventfd, if it has one
 * @vp: no longer visible to other threads
 */
void khv_eom_event_uninit(struct khv_vcpu *vp);

#endif
