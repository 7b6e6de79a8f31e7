/* SPDX-License-Identifier: GPL-2.0-only */
/* Eventfds, and those that raise a SINT: KVM_IRQFD and KVM_IRQ_ROUTING_HV_SINT. */
#ifndef KHV_SELFTEST_IRQFD_H
#define KHV_SELFTEST_IRQFD_H

#include "vm.h"

/* Above the pins of PIC and IOAPIC. */
#define GSI(n) (32 + (n))

int eventfd_new(void);
void eventfd_signal(int fd);
/* Times it was signalled since the last look. */
u64 eventfd_count(int fd);

/* The VM's routing table is now: GSI(n) is SINT @sints[n] of VP @vp. */
void route_sints(struct vm *vm, u32 vp, const u32 *sints, u32 nr);
/* An eventfd that raises @gsi; with @resample, *@resample is one that tells of the ack. */
int irqfd_new(struct vm *vm, u32 gsi, int *resample);
/* Take it off @gsi again. */
void irqfd_remove(struct vm *vm, u32 gsi, int fd);

#endif
