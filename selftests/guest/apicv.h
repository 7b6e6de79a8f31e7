/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts of every source to a guest, and their end by either of the registers for that.
 */
#ifndef KHV_SELFTEST_APICV_H
#define KHV_SELFTEST_APICV_H

#include "irqfd.h"
#include "synic.h"

#define LOW	   0x51u
#define HIGH	   0x71u
#define TEST_SINT  2
#define WAIT_MS	   3000
#define NR_LEVELS  12
#define MESSAGE_MS 50 /* stock never sends some */
#define IPI_FAST   (HVCALL_SEND_IPI | HV_CTL_FAST)

enum eoi_by { BY_MSR, BY_REGISTER, NO_EOI };

/* Guest: end the interrupt in service. */
void eoi(enum eoi_by how);

enum send_by {
	BY_ICR_MSR,
	BY_ICR_REGISTER,
	BY_CALL,
	BY_CALL_IN_MEMORY,
	BY_EX_CALL,
	/* To oneself only. */
	BY_SHORTHAND,
	BY_SELF_IPI, /* x2APIC, or another ICR_MSR */
	SELF_WAYS,
	OTHER_WAYS = BY_SHORTHAND,
};

/* Guest: send @vector to the VP @dest. */
void send_interrupt(u32 dest, u32 vector, enum send_by how);

void handle(u32 vector, guest_irq_fn fn);
/* synic_vm() whose guest is known. */
struct vm *apic_vm(u32 nr);
/* Run @entry on the one VP of a VM. */
void run_one(void (*entry)(void));

/* Targets: to stop, their interrupts by VP and vector, who is there, and how they end one. */
extern volatile bool targets_stop;
extern volatile u32 targets_got[2][256], targets_up[2];
extern enum eoi_by target_eoi;
/* Handler: end the interrupt, then count it. */
void count_mine(struct guest_frame *f);
/* Target: without an exit of its own, so that an interrupt has to find it where it is. */
void spins(void);
/* Target: halted. */
void sleeps(void);

/* A VM of two VPs. PAUSE exits to nobody: an emulated CPU then lets the other one go on. */
struct vm *two_vps(void);
void start_target(struct vm *vm, void (*entry)(void));
/* Stop it, by an interrupt in case it sleeps. */
void stop_target(struct vm *vm);

/* The same targets, for SINTs that the host raises. */
void sleeps_for_sint(void);
void spins_for_sint(void);
/* Signal the irqfd @fd, and wait until the target has taken @nr interrupts. */
void raise_and_wait(int fd, u32 nr);

#endif
