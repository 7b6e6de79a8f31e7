/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Delivery by HvSendSyntheticClusterIpi and its Ex form (TLFS chapter "Virtual Interrupt
 * Control"): exactly the VPs named get exactly one interrupt, whatever their indices. The vCPUs
 * are run by turns, so an IPI waits in the target's local APIC until the target is run and every
 * case is the same each time. Statuses are hypercall_matrix_parameters_test's.
 */
#ifndef KHV_SELFTEST_IPI_H
#define KHV_SELFTEST_IPI_H

#include "apic.h"
#include "vm.h"

#define NR_VPS	      4
#define MAX_VPS	      8
#define FIRST	      0x40 /* vectors of the rows, one after the other */
#define NR_VECTORS    0x80
#define SPARSE	      0ULL
#define ALL	      1ULL
#define XMM_QWORDS    12
#define HALT_ROUNDS   20
#define X86_RFLAGS_IF BIT64(9)

enum { READY = 1, TAKEN };

/* Interrupts that each vCPU took, by vector. */
extern volatile u32 ipi_taken[NR_VPS][256];
extern volatile u64 ipi_taken_at[NR_VPS]; /* RIP that the last one interrupted */

/* What a vCPU is to do in its next turn. */
struct order {
	bool send, fast, apic_off, apic_on;
	u64 control, in, out;
	struct xmm_block xmm;
	u64 result;
	u32 vector;
};

extern struct order ipi_orders[NR_VPS];
/* Guest, handler: note the interrupt. */
void ipi_take(struct guest_frame *f);
/* Guest: carry out the order, take what is pending, tell the host. */
void takes_turns(void);

/* A VM of NR_VPS vCPUs that take turns. */
struct vm *vm_with_indices(const u32 *vp_index);

enum hc_form { MASK_SLOW, MASK_FAST, EX_SLOW, EX_XMM, NR_FORMS };

#define MASKS	(BIT64(MASK_SLOW) | BIT64(MASK_FAST))
#define EX	(BIT64(EX_SLOW) | BIT64(EX_XMM))
#define ANY	(MASKS | EX)
#define SLOW_EX BIT64(EX_SLOW)

extern const char *const ipi_form_names[NR_FORMS];

/* Either @format and the banks, or as a mask of the first 64 VPs. */
struct row {
	const char *name;
	u32 forms;
	u64 format;
	u64 banks;
	u64 contents[4]; /* the last one is that of all further banks */
	u32 expected;	 /* vCPUs, by number */
};

/* The order to make the call of the row. */
struct order order_of(const struct row *r, enum hc_form form, u32 vector, u64 *page);
/* All interrupts that the vCPU took. */
u32 taken_by(u32 cpu);
/* One call by @sender, a turn of every vCPU; true if all got what they should. */
bool send_once(struct vm *vm, u32 sender, const struct row *r, enum hc_form form, u32 vector,
	       u64 *page);
/* All rows in all of their forms, from vCPUs by turns. */
void send_rows(struct vm *vm, const struct row *rows, u32 nr);

#define CPU(n) (1u << (n))

/* VP 70 is bit 6 of bank 1, VP 129 is bit 1 of bank 2. */
extern const u32 spread_indices[NR_VPS];
/* One by one the four first VPs, in each form; cpus[n] has index n. */
void each_has(struct vm *vm, const u32 cpus[NR_VPS]);

#endif
