/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections: HvPostMessage and HvSignalEvent. */
#ifndef KHV_CONNECTION_H
#define KHV_CONNECTION_H

#include "khv/state.h"

/**
 * khv_connection_eventfd() - handle KVM_HYPERV_EVENTFD
 * @kvm: an owned VM
 * @args: user space's arguments
 *
 * Return: 0, -EINVAL for unknown flags or a connection id beyond 24 bits, -EBADF or -EINVAL if the
 * file descriptor is not an eventfd, -EEXIST, -ENOENT, -ENOMEM.
 * Context: may sleep.
 */
int khv_connection_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args);

#endif
