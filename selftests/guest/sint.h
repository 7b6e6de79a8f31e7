/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts of a SINT, raised by way of KVM_IRQ_ROUTING_HV_SINT and irqfd.
 *
 * An interrupt that must not arrive is proved with a fence: another SINT of a lower vector, raised
 * after it, which therefore would be taken after it.
 */
#ifndef KHV_SELFTEST_SINT_H
#define KHV_SELFTEST_SINT_H

#include "irqfd.h"
#include "synic.h"

#define NR_REGISTERS (3 + HV_SYNIC_SINTS) /* in synic_registers[] */

#define VEC	     0x61 /* of the SINT under test */
#define FENCE	     0x51 /* a lower priority class */
#define TEST_SINT    2
#define FENCE_SINT   3
#define WAIT_MS	     2000
#define RSVD_PAGE    0xffeULL /* SIMP and SIEFP, 11:1 */
#define NO_PAGE_HIGH 0xfffffffffffff000ULL

/* SCONTROL, SIEFP, SIMP and the SINTs. */
extern const u32 synic_registers[NR_REGISTERS];
/* Run @entry in a VM whose SynIC is on. */
void synic_run_guest(void (*entry)(void));

/* A whole test in a guest whose SynIC is on. */
#define SYNIC_TEST(name)                       \
	static void name##_guest(void);        \
	TEST(name)                             \
	{                                      \
		synic_run_guest(name##_guest); \
	}                                      \
	GUEST_CODE(name##_guest)

/* Route GSI(n) to SINT n of VP @vp, for all n. */
void route_all_sints(struct vm *vm, u32 vp);
/* synic_vm() that counts the interrupts of VEC and FENCE. */
struct vm *sint_vm(u32 nr_vcpus);

#endif
