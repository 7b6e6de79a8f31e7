/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The partition's reference time, read by guests: TIME_REF_COUNT, and the reference TSC page
 * behind REFERENCE_TSC. Both show one clock, so a guest that mixes the register and the page, on
 * any vCPU, never sees time go back.
 */
#ifndef KHV_SELFTEST_REFCLOCK_H
#define KHV_SELFTEST_REFCLOCK_H

#include "vm.h"

#define MSR_IA32_TSC	    0x10u
#define MSR_IA32_TSC_ADJUST 0x3bu

#define REF_TSC_ENABLE	BIT64(0)
#define REF_TSC_RSVD	0xffeULL    /* 11:1, RsvdP */
#define SEQ_INVALID_OLD 0xffffffffu /* "invalid" up to TLFS 3 */

#define NS_PER_SEC  1000000000ULL
#define REF_PER_SEC 10000000ULL /* 100 ns */
#define REF_PER_MS  10000ULL
#define JUMP_SEC    1000ULL

#define GPA_FAULTING 0x60000000ULL /* a memslot whose pages are missing */

/* Part of the program's image, so it stays what it is when a VM ends: RAM that migrates. */
extern struct tsc_page ref_page;
extern struct tsc_page ref_page2;

static inline u64 ref_tsc(struct tsc_page *p)
{
	return gpa(p) | REF_TSC_ENABLE;
}

/* Without a TSC that the host itself trusts there is no master clock and no valid page. */
void require_tsc_clocksource(void);

/* Guest: the TLFS' reader; false: the page says to use the register. */
bool page_time(const struct tsc_page *p, u64 *t);
/* Guest: the page when it is valid, else the register. */
u64 guest_time(const struct tsc_page *p);

struct reading {
	bool valid; /* the page */
	u64 before, page, after;
};

extern volatile struct reading readings[3]; /* by vCPU */
extern u64 last_time;			    /* of whatever vCPU read it last */

/* Let the vCPU read the clock again and again, for read_clock(). */
void start_reader(struct vcpu *v);
/* One reading: register, page, register, in order and not before the last one. */
volatile struct reading *read_clock(struct vcpu *v);
/* Let the guest write @msr, then read the clock. */
void guest_write(struct vcpu *v, u32 msr, u64 val);
/* Read the clock on vCPUs 0 and 1 by turns. */
void alternate(struct vm *vm, u32 rounds);
bool seq_valid(u32 seq);
void assert_page_valid(struct vcpu *v);
/* A VM whose vCPUs read the clock, the page enabled by the guest. */
struct vm *vm_with_page(u32 nr_vcpus);

/* KVM_GET_CLOCK and KVM_SET_CLOCK. */
struct kvm_clock_data get_clock(struct vm *vm);
void set_clock(struct vm *vm, u64 ns);
void advance_clock(struct vm *vm, u64 seconds);
/* CLOCK_MONOTONIC in 100 ns. */
u64 host_time(void);
void assert_master_clock(struct vm *vm, bool on);
/* vCPU 1 gets another TSC: KVM's clock is no longer a function of one TSC. */
void lose_master_clock(struct vm *vm);

#endif
