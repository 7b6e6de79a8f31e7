/* SPDX-License-Identifier: GPL-2.0-only */
/* The largest that a guest can ask for: VMs of many vCPUs, sets of VPs, lists, connections. */
#ifndef KHV_SELFTEST_BOUNDS_H
#define KHV_SELFTEST_BOUNDS_H

#include "vm.h"

#define WIDE	     1024 /* vCPUs */
#define CONNECTIONS  4096
#define CONN_LAST    0xffffff
#define VECTOR	     0x60
#define ALL_BANKS    ~0ULL
#define FULL_SLOT    0x12345678
/* Of the last of WIDE vCPUs alone. */
#define LAST_APIC_ID 0xff

/* File descriptors of idle vCPUs, by their place in the VM. */
extern int idle[WIDE];

/* Fill the VM up to @size with vCPUs that exist, accept interrupts and never run. */
void add_idle(struct vm *vm, u32 size);
void free_wide(struct vm *vm, u32 size);

/* IPI of VECTOR to the VPs of full banks, as the input in memory of SendIpiEx. */
u64 *ipi_input(struct vm *vm, u64 banks);
/* Input of FlushListEx with a list of @entries, each of @more pages beside the first. */
u64 *flush_input(struct vm *vm, u64 banks, u32 entries, u32 more);
/* CONNECTIONS of one eventfd, the last one CONN_LAST. */
void add_connections(struct vm *vm);

/* Guest: all timers have a message that waits for its slot. */
void fill_slots(void);
/* Guest: their slots hold messages of @type; empty them. */
void empty_slots(u32 type);

#endif
