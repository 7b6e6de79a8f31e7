/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Synthetic timers as the bare guest uses them: one vCPU, messages of one SINT, taken
 * by the TLFS's protocol and checked.
 *
 * Time is the guest's reference time; a bound is never tighter than what an emulated host under
 * load can keep. "Nothing comes" means: not while some milliseconds and a hundred exits passed
 * after it was due.
 */
#ifndef KHV_SELFTEST_STIMER_H
#define KHV_SELFTEST_STIMER_H

#include "synic.h"

#define VEC	  0x61
#define SINT	  1
#define WAIT_MS	  3000 /* for what must come */
#define KNOWN_MS  400  /* for what is known not to come on stock */
#define SETTLE_MS 3    /* for what must not come */
#define MSG_SLOTS 2048

#define CONFIG(n) HV_X64_MSR_STIMER_CONFIG(n)
#define COUNT(n)  HV_X64_MSR_STIMER_COUNT(n)
#define ON	  HV_STIMER_ENABLE
#define PERIODIC  HV_STIMER_PERIODIC
#define TO_SINT	  HV_STIMER_SINT(SINT)
#define DIRECT	  (HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC))
#define ONE_SHOT  (ON | TO_SINT)
#define FAR	  REF_MS(3600 * 1000) /* an hour */
#define CENTURY	  31557600000000000ULL

struct taken {
	u32 index;
	u64 expiration, delivery;
};

extern volatile u32 nr_taken; /* messages taken so far */
extern struct taken taken[MSG_SLOTS];
extern u32 last_flags; /* of the last slot that was taken */

/*
 * How long to wait for what stock is known not to deliver. The emulator's own
 * timers may be late by hundreds of milliseconds: with the module that must not
 * look like a lost expiry, on stock it makes no difference.
 */
extern u32 known_ms;

/* Host: keep sleeper and vCPU on one CPU, and set known_ms. */
void timer_prepare(void);
/* Host: timer_prepare(), then a VM whose SynIC is on and whose messages are taken. */
struct vm *timer_vm(void);
/*
 * Host: let @ms pass in which the vCPU does not run. The sleeper and the vCPU are one thread on one
 * CPU, whose timers expire in order: a timer of the VM that was due before the end of the sleep has
 * expired when this returns.
 */
void timer_host_pause(u32 ms);
/* Host: run to the end, and make the pauses that the guest asks for by timer_pause(). */
void timer_run_to_end(struct vcpu *v);
/* Host: run @entry in a timer_vm(). */
void timer_run(void (*entry)(void));

/* A whole test in one guest whose SynIC is on. */
#define STIMER_TEST(name)                \
	static void name##_guest(void);  \
	TEST(name)                       \
	{                                \
		timer_run(name##_guest); \
	}                                \
	GUEST_CODE(name##_guest)
#define STIMER_TEST_KNOWN(name, id)      \
	static void name##_guest(void);  \
	TEST_KNOWN(name, id)             \
	{                                \
		timer_run(name##_guest); \
	}                                \
	GUEST_CODE(name##_guest)

/* Guest: take the message of @sint if there is one: check it, free the slot, tell if asked to. */
bool take(u32 sint);
/* Guest: handler of VEC: take the message of SINT. */
void on_message(struct guest_frame *f);
/*
 * Guest: do not run for @ms. Unlike after guest_settle(), a timer that was due is certain to be
 * seen as expired: see timer_host_pause().
 */
void timer_pause(u32 ms);
/* Guest: enable the local APIC and SINT. */
void setup(void);
/* Guest: put something in the way of a timer's interrupt, and take it away. */
enum obstacle { SIMP_OFF, SIMP_NOWHERE, SINT_MASKED, APIC_OFF, SYNIC_OFF };
void block(enum obstacle what);
void unblock(enum obstacle what);
bool wait_slot(u32 sint);
bool wait_pending_flag(u32 sint);

static inline volatile struct hv_message *slot(u32 sint)
{
	return &synic_messages[this_cpu()->id][sint];
}

static inline u64 in_ms(u32 ms)
{
	return ref_now() + REF_MS(ms);
}

static inline void start(u32 n, u64 config, u64 count)
{
	wrmsr(COUNT(n), count);
	wrmsr(CONFIG(n), config);
}

static inline void assert_quiet(void)
{
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

#endif
