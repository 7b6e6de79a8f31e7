/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * HvPostMessage and HvSignalEvent of an L2 that marks them for L0 (bit 31 of the control word):
 * who answers, L0 or L1, and what user space and L1 get to see. TLFS chapter "Nested
 * Virtualization".
 */
#ifndef KHV_SELFTEST_NESTED_POST_H
#define KHV_SELFTEST_NESTED_POST_H

#include "connection.h"
#include "nested.h"

/* L2's calls. */
#define L2_POST	       (POST_SLOW | HV_CTL_NESTED)
#define L2_SIGNAL_SLOW (SIGNAL_SLOW | HV_CTL_NESTED)
#define L2_SIGNAL_FAST (SIGNAL_FAST | HV_CTL_NESTED)

/* Control words, without L2's mark, of calls that InterPartitionCommunication does not cover. */
extern const u64 post_other_calls[11];

/* VP assist page: NestedControl.HypercallControls, and its bit InterPartitionCommunication. */
#define PERMITTED 1u

#define ANSWER 0x123456789abcdef0ULL

/* One VP, its L2, and an eventfd for CONN. */
struct world {
	struct vm *vm;
	struct vcpu *v;
	struct nested *n;
	int fd;
	u8 *page;   /* L2 has it at the same address */
	u8 *hidden; /* L2 has it at NESTED_WINDOW */
};

/* Put a message for @conn at @at. Its first 8 bytes are an event for @conn. */
void write_post_input(void *at, u32 conn);

/* Nothing has run yet. The first vCPU is the world's VP; @flags are nested_create()'s. */
struct world post_world_create(u32 vcpus, u32 vm_flags, u32 flags, bool synic);
/* One VP, whose L1 permits @calls, and enters L2. */
struct world post_world_start(u32 flags, u32 calls);
void post_world_free(struct world *w);
/* L1 changes what it permits, and enters L2 again. */
void permit(struct world *w, u32 features, u32 calls);
/* One operation of L2. */
struct guest_op post_world_op(struct world *w, struct guest_op op);

/*
 * L0 has kept the call: L1 has had @exits, as before, and the call does not fault for want of an
 * intercept of L1.
 */
void assert_kept(struct world *w, u32 exits, u32 vector, const char *what);
/* L0 answers by itself. */
void answered(struct world *w, u64 control, u64 in, u64 status, const char *what);
/* Run L2's operation to the exit that hands its call to user space. */
void run_op_to_user(struct world *w, struct guest_op op);
/* User space sees the call as one of L1: a message by L1's address, an event in its fast form. */
void call_to_user(struct world *w, u64 control, u64 in, u64 param);
/* L2 goes on behind the call, with @result. */
void assert_goes_on(struct world *w, u64 result);
/* Hand the call to user space, which answers @result. */
void handed(struct world *w, u64 control, u64 in, u64 param, u64 result);
/* L1 gets the call with @rcx for a control word, and all else as L2 made it. */
void reflected_as(struct world *w, u64 control, u64 in, u64 rcx, const char *why);
/* L1 gets the call as L2 made it. */
void reflected(struct world *w, u64 control, u64 in, const char *why);

/* All three forms, with the @nested bit or without it. */
void all_reflected(struct world *w, u64 nested, const char *why);
void all_answered(struct world *w, const char *why);

/* A call of 32-bit code, its registers before and after; the operation's result is the vector. */
extern struct regs32 l2_regs32;
struct guest_op post_call32_op(u64 control, u64 in);

#endif
